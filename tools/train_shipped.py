"""Train the generator that ships: the stages of results/runs/shipped.json, one after the other, by notebooks 2 and 3.

    python tools/train_shipped.py PHOTOS

The first stage is notebook 2. The others are notebook 3 on the best networks of the one before. A stage with a `form`
takes the weights, layer by layer, into a generator built with these arguments (the defaults for what is not named),
with a new discriminator. Each stage writes results/runs/NAME_history.csv. The generator of the last stage is shipped. A
killed training goes on where it was.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import inpaint_utils.quiet  # noqa: F401  Keras without its backend's start-up messages, before anything loads it
import ship_weights
from inpaint_utils import build_generator, load_generator
from inpaint_utils.app.command import run_tool
from inpaint_utils.files import save_model, write_atomically
from run_study import remember_settings, run_notebook

ROOT = Path(__file__).resolve().parents[1]


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of training photos")
    parser.add_argument("--settings", type=Path, default=ROOT / "results" / "runs" / "shipped.json")
    parser.add_argument("--output", type=Path, default=ROOT / "outputs" / "shipped", help="folder of all stages")
    parser.add_argument("--ship-to", type=Path, default=ship_weights.SHIPPED, help="the .keras file to write")
    parser.add_argument("--vgg19", default="imagenet", help='"imagenet" or a file, for the stages that use VGG19')
    parser.add_argument("--histories", type=Path, default=ROOT / "results" / "runs", help="folder for the histories")
    options = parser.parse_args(arguments)
    settings = json.loads(options.settings.read_text(encoding="utf-8"))

    photos = options.output.resolve() / "01_data_preprocessing"
    if not (photos / "manifest.json").is_file():
        given = {"photo_folder": options.photos.resolve(), "output_folder": options.output, **settings["photos"]}
        run_notebook("01", given, options.output / "notebooks")
    given = {"vgg19_weights": options.vgg19}
    before = None
    for name, stage in settings["stages"].items():
        stage = {**settings["common"], **stage}
        stage |= given if "vgg19_weights" in stage else {}
        before = run_stage(name, stage, options.output.resolve() / name, photos, before)
        history = (before / "history.csv").read_text(encoding="utf-8")
        write_atomically(options.histories / f"{name}_history.csv", history)
    ship_weights.main([str(before / "generator_best.keras"), "--output", str(options.ship_to)])


def run_stage(name, settings, folder, photos, before):
    """One stage, if it is not done; returns the folder of its best networks."""
    form, start = settings.pop("form", None), folder / "02_model_training"
    trained = folder / "03_model_finetuning" if before else start
    done = folder / "done"
    remember_settings(folder, {"form": form, **settings})
    if not done.is_file():
        if not (folder / photos.name).exists():
            (folder / photos.name).symlink_to(photos, target_is_directory=True)
        if before:
            hand_over(before, start, form, settings.get("seed", 1))
        run_notebook("03" if before else "02", {"output_folder": folder, **settings}, folder / "notebooks")
        write_atomically(done, "")
    print(f"{name}: done", flush=True)
    return trained


def hand_over(before, start, form, seed):
    """Copy a stage's best networks to where the next one looks for them, or the weights into another form.

    Without a discriminator there notebook 3 builds a new one.
    """
    start.mkdir(exist_ok=True)
    if form is None:
        for path in before.glob("*_best.keras"):
            shutil.copy(path, start / path.name)
        return
    learned = load_generator(before / "generator_best.keras")
    learned.set_weights(ship_weights.round_weights(learned))  # as they were between two shipped files
    generator = build_generator(None, learned.get_layer("generator_encoder_1").filters, **form, seed=seed)
    known = {layer.name: layer.get_weights() for layer in learned.layers if layer.weights}
    for layer in generator.layers:  # what the older form has not, such as noise, stays as it starts
        if layer.name in known:
            layer.set_weights(known[layer.name])
    save_model(generator, start / "generator_best.keras")


if __name__ == "__main__":
    run_tool(main)
