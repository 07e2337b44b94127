"""What each ingredient of the recipe does: trainings for texture from one start that differ in one thing.

    git show e40faa9^:models/inpainting_generator_best.keras > start.keras      the generator before it learned texture
    python tools/compare_ingredients.py PHOTOS --start start.keras --vgg19 imagenet                   all without result
    python tools/compare_ingredients.py PHOTOS --start start.keras --vgg19 imagenet recipe_0 no_style

About a quarter of an hour of two cores each. Each run of results/runs/ingredients/settings.json writes its history,
NAME.csv, and what its last epoch's generator was measured at on validation photos, NAME.json. A run that was killed
goes on where it was. After them fills.jpg shows sample photos, filled by the runs that the settings' "shown" names.
With --chosen-by that measure chooses the epoch that is kept, and chosen/NAME.json says what it was measured at.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import inpaint_utils.quiet  # noqa: I001  (first: Keras without start-up messages)
import keras

from inpaint_utils import InpaintingGAN, PhotoBatches, ThrottledAdam, build_discriminator, build_generator
from inpaint_utils import build_perceptual, choose_weights, evaluate, figures, find_photos, inpaint, load_generator
from inpaint_utils import load_image, make_callbacks, prepare_photos, sample_photos, set_up_devices
from inpaint_utils.app.command import run_tool
from inpaint_utils.evaluation.evaluate import draw_mask
from inpaint_utils.files import save_model, write_atomically
from inpaint_utils.inference.baselines import telea_fill
from inpaint_utils.networks.models import change_precision
from inpaint_utils.training.recipe import TEXTURE
from run_study import remember_settings

ROOT = Path(__file__).resolve().parents[1]
RESULTS, OUTPUTS = ROOT / "results" / "runs" / "ingredients", ROOT / "outputs" / "ingredients"
MEASURES = ("hole_psnr", "texture_distance", "sharpness", "anisotropy", "feature_distance", "colour_error", "kid")
DEEP_LAYERS = ("block4_conv4", "block5_conv4")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of training photos")
    parser.add_argument("runs", nargs="*", help="names of runs in settings.json; none: all that have no result")
    parser.add_argument("--start", type=Path, required=True, help="the generator that all start from")
    parser.add_argument("--vgg19", default="imagenet", help='"imagenet" or a file of weights')
    parser.add_argument("--chosen-by", metavar="MEASURE", help="such as val_distance: the epoch with the least is kept")
    options = parser.parse_intermixed_args(arguments)
    study = json.loads((RESULTS / "settings.json").read_text(encoding="utf-8"))
    if unknown := set(options.runs) - set(study["runs"]):
        parser.error(f"there is no run {', '.join(sorted(unknown))}, expected some of {', '.join(study['runs'])}.")
    start = load_generator(options.start)
    paths, skipped = find_photos(options.photos)
    photos = prepare_photos(paths, OUTPUTS / "photos", skipped=skipped, progress=None, **study["photos"])
    if not (RESULTS / "start.json").is_file():
        write_result("start", measure({"generator": start}, photos, study, options.vgg19))
        write_result("telea", measure({"Telea": telea_fill}, photos, study, options.vgg19))
    for name in options.runs or [name for name in study["runs"] if not (RESULTS / f"{name}.json").is_file()]:
        settings = {**study["common"], **study["runs"][name]}
        epoch = train(settings, OUTPUTS / name, start, photos, options.vgg19, options.chosen_by)
        history = (OUTPUTS / name / "history.csv").read_text(encoding="utf-8")
        write_atomically(RESULTS / f"{name}.csv", history)
        set_up_devices("float32")
        results = {"last": (name, {"settings": settings, "backend": keras.backend.backend()})}
        if options.chosen_by:
            results["best"] = (f"chosen/{name}", {"epoch": epoch, "by": options.chosen_by})
        for which, (place, result) in results.items():
            generator = change_precision(load_generator(OUTPUTS / name / f"generator_{which}.keras"), "float32")
            write_result(place, {**result, **measure({"generator": generator}, photos, study, options.vgg19)})
    missing = [name for name in study["shown"] if not (OUTPUTS / name / "generator_last.keras").is_file()]
    if missing:
        print(f"fills.jpg stays as it is: {', '.join(missing)} were not trained here.")
    else:
        draw_fills(study["shown"])


def train(settings, folder, start, photos, vgg19, monitor=None):
    """One training; a finished one is not repeated. Returns the epoch that `monitor` kept."""
    remember_settings(folder, settings)
    set_up_devices(settings["precision"])
    inpaint_utils.quiet.set_random_seed(settings["seed"])
    held_out, size = photos.split("validation")[:80], settings["batch_size"]
    choice = dict(samples=settings["samples"], guidance=settings["guidance"])
    seen = PhotoBatches(photos.images, photos.split("train"), size, settings["seed"], **choice)
    kept = PhotoBatches(photos.images, held_out, size, 1, fixed=True, guidance=settings["guidance"])
    perceptual = build_perceptual(vgg19)
    generator = take_weights(start, noise=settings["noise"], seed=settings["seed"])
    told = {name: settings[name] for name in ("initialization", "sees_hole")}
    told["detail_gain"] = settings.get("detail_gain", 0.0)
    judge = build_discriminator(None, settings["base_filters"], normalization="none", **told, seed=settings["seed"] + 1)
    weights = choose_weights(perceptual, **{name: settings[name] for name in TEXTURE})
    heard = weights["adversarial_weight"] or weights["matching_weight"]
    steps = {name: settings[name] for name in ("patch_labels", "warm_up_steps", "throttle_threshold")}
    gan = InpaintingGAN(generator, judge if heard else None, perceptual, **weights, **steps)
    average = dict(use_ema=True, ema_momentum=settings["ema_momentum"]) if settings["ema_momentum"] else {}
    rates = dict(learning_rate=settings["learning_rate"], discriminator_ratio=settings["discriminator_ratio"])
    gan.compile(optimizer=ThrottledAdam(**rates, **average))
    epochs = settings["epochs"]
    choice = dict(patience=epochs, decay="cosine", monitor=monitor)
    callbacks, _, best = make_callbacks(gan, folder, seen, kept, epochs, **choice)
    gan.fit(seen, validation_data=kept, epochs=epochs, callbacks=callbacks, verbose=0)
    save_model(gan.generator, folder / "generator_last.keras")
    return best.best_epoch


def take_weights(start, noise, seed):
    """A generator with the weights of one that may lack noise."""
    generator = build_generator(None, start.get_layer("generator_encoder_1").filters, noise=noise, seed=seed)
    for layer in generator.layers:
        if layer.weights and not layer.name.startswith(("noise", "generator_noise")):
            layer.set_weights(start.get_layer(layer.name).get_weights())
    return generator


def measure(fills, photos, study, vgg19):
    """Means of one fill on validation photos, blind, for medium and hard holes."""
    models = dict(perceptual=build_perceptual(vgg19), deep_features=build_perceptual(vgg19, DEEP_LAYERS))
    choice = dict(count=study["measured_photos"], difficulties=("medium", "hard"), modes=("blind",))
    evaluation = evaluate(fills, photos, "validation", **choice, **models, progress=False).to_dict()
    kept = ("photos", "seed", "masks_sha256", "photos_sha256")
    return {
        "measured": {key: evaluation["settings"][key] for key in kept},
        "cells": [{key: row[key] for key in ("kind", "difficulty", *MEASURES)} for row in evaluation["table"]],
    }


def write_result(name, result):
    write_atomically(RESULTS / f"{name}.json", json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(f"{name}: done", flush=True)


def draw_fills(shown):
    """A sheet of every ninth sample photo's hard box, blind and without detail, a column for each run of `shown`."""
    generators = [load_generator(OUTPUTS / name / "generator_last.keras") for name in shown]
    rows = []
    for number, path in list(enumerate(sample_photos()))[::9]:
        photo = load_image(path, size=256)
        mask = draw_mask(photo.shape[:2], "box", "hard", seed=0, index=number)
        fills = [inpaint(generator, photo, mask, detail=0) for generator in generators]
        rows.append([photo * mask, *fills, photo])
    figure = figures.draw_pictures(rows, columns=["hole", *shown.values(), "photo"], width=1.3)
    figures.save_figure(figure, RESULTS / "fills.jpg")


if __name__ == "__main__":
    run_tool(main)
