"""Train without a notebook: on one device, on all GPUs of a machine, or over several machines (JAX).

    python tools/train.py --photos outputs/01_data_preprocessing --output outputs/train --epochs 5

Settings have the names that notebook 2 gives them, and the values of its full profile, unless a settings file or the
command line says otherwise. docs/TRAINING_AT_SCALE.md has more commands.
"""

import argparse
import atexit
import functools
import json
import multiprocessing
import os
import sys
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import inpaint_utils.quiet  # noqa: I001  (first: Keras without start-up messages)
import cv2
import keras

from inpaint_utils import InpaintingGAN, PhotoBatches, ThrottledAdam, build_discriminator, build_generator
from inpaint_utils import build_perceptual, check_settings, choose_weights, find_process
from inpaint_utils import (
    find_photos,
    load_generator,
    make_callbacks,
    open_photos,
    prepare_photos,
    set_up_devices,
    take_split,
)
from inpaint_utils.app.command import run_tool
from inpaint_utils.files import save_model
from inpaint_utils.networks.models import change_precision
from inpaint_utils.training.recipe import DISCRIMINATOR, TEXTURE

LONGEST_DRAW = 300  # seconds
SETTINGS = {
    "seed": 0,
    "image_size": 256,
    "base_filters": 64,
    "batch_size": 8,
    "epochs": 20,
    "samples": 0,
    "guidance": 0.5,
    "generator_learning_rate": 4e-4,
    "discriminator_learning_rate": 1.6e-4,
    "warm_up_steps": 0,
    "throttle_threshold": 0.6,
    "throttle_every": 3,
    "patience": 5,
    "learning_rate_decay": "plateau",
    "plateau_patience": 2,
    "ema_momentum": 0.999,
    "precision": "auto",
    "max_hours": 1e6,
    "vgg19_weights": "imagenet",
    "patch_labels": "hole",
    **dict.fromkeys((*TEXTURE, "detail_gain"), -1.0),
}


def read_settings(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True, help="folder that notebook 1 wrote, or any folder of photos")
    parser.add_argument("--output", required=True, help="folder for results; one that all processes see")
    parser.add_argument("--settings", type=Path, help="settings file such as results/runs/full_scale/settings.json")
    parser.add_argument("--training", help="which training of the settings file")
    parser.add_argument(
        "--start", type=Path, help="folder of a training whose best networks train on, or a generator's file"
    )
    parser.add_argument("--drawers", type=int, default=0, help="processes that draw batches; 0: threads of this one")
    for name, value in SETTINGS.items():
        shown = "as the recipe says" if value == -1 else value
        parser.add_argument(f"--{name.replace('_', '-')}", help=f"default: {shown}", default=argparse.SUPPRESS)
    options = vars(parser.parse_args(arguments))
    chosen, given = {**SETTINGS}, {}
    if options["training"] and not options["settings"]:
        parser.error(f"--training {options['training']} needs --settings, the file that has it.")
    if options["settings"]:
        try:
            file = json.loads(options["settings"].read_text(encoding="utf-8"))
            common, trainings = file["common"], file["trainings"]
        except (OSError, ValueError, KeyError, TypeError):
            parser.error(
                f"{options['settings']} is no file of trainings: expected one such as "
                "results/runs/full_scale/settings.json."
            )
        if options["training"] not in trainings:
            parser.error(f"--training is {options['training']!r}, expected one of {', '.join(trainings)}.")
        given = {**common, **trainings[options["training"]]}
        if unknown := set(given) - set(SETTINGS):
            parser.error(f"{options['settings']} sets {', '.join(sorted(unknown))}, which no training has.")
        chosen |= given
    chosen |= options
    check_settings(chosen)
    chosen = argparse.Namespace(**chosen)
    if (Path(chosen.photos) / "manifest.json").is_file():
        prepared = open_photos(chosen.photos).image_size
        if "image_size" in {**given, **options} and chosen.image_size != prepared:
            parser.error(
                f"image_size is {chosen.image_size}, but {chosen.photos} has photos prepared at {prepared} pixels: "
                "leave it out, or give the folder of the photos themselves."
            )
    elif int(os.environ.get("KERAS_DISTRIBUTION_NUM_PROCESSES", 1)) > 1:
        parser.error(
            f"{chosen.photos} is not prepared, expected the folder that notebook 1 wrote: all processes read it."
        )
    if chosen.start:
        if "base_filters" in options:
            parser.error("--base-filters is for new networks, but --start opens trained ones: leave one out.")
        try:
            generator = find_networks(chosen)[0]
            filters = read_filters(generator)
        except FileNotFoundError as error:
            parser.error(str(error))
        except (zipfile.BadZipFile, KeyError):
            parser.error(f"{generator} is no .keras file: --start is a file of a generator, or a training's folder.")
        if filters not in (None, given.get("base_filters", filters)):
            parser.error(
                f"{options['settings']} asks for {given['base_filters']} base filters, but the networks of --start "
                f"have {filters}: take base_filters out of the file."
            )
    return chosen


def train(settings):
    inpaint_utils.quiet.set_random_seed(settings.seed)
    scope = set_up_devices(settings.precision)
    weights = None if settings.vgg19_weights == "none" else settings.vgg19_weights
    output, folder = Path(settings.output), find_prepared(settings)
    photos = open_photos(folder)
    share, held_out = find_process(), take_split(photos, "validation")
    size = min(settings.batch_size, len(held_out) // share[1] * share[1])  # every process draws its part
    common = dict(guidance=settings.guidance, share=share)
    choices = (
        dict(indices=take_split(photos, "train"), batch_size=settings.batch_size, samples=settings.samples),
        dict(indices=held_out, batch_size=size, fixed=True),
    )
    choices = [{**choice, **common, "seed": settings.seed + number} for number, choice in enumerate(choices)]
    if settings.drawers:
        train, validation = draw_elsewhere(settings.drawers, folder, choices)
    else:
        train, validation = (PhotoBatches(photos.images, **choice) for choice in choices)
    with scope:
        perceptual = build_perceptual(weights)
        loss = choose_weights(perceptual, **{name: getattr(settings, name) for name in TEXTURE})
        generator, judge = open_networks(settings)
        gan = InpaintingGAN(
            generator,
            judge if loss["adversarial_weight"] or loss["matching_weight"] else None,
            perceptual,
            **loss,
            patch_labels=settings.patch_labels,
            warm_up_steps=settings.warm_up_steps,
            throttle_threshold=settings.throttle_threshold,
            throttle_every=settings.throttle_every,
        )
        ratio = settings.discriminator_learning_rate / settings.generator_learning_rate
        averaging = dict(use_ema=True, ema_momentum=settings.ema_momentum) if settings.ema_momentum else {}
        gan.compile(optimizer=ThrottledAdam(settings.generator_learning_rate, discriminator_ratio=ratio, **averaging))
    callbacks, *_ = make_callbacks(
        gan,
        output,
        train,
        validation,
        settings.epochs,
        patience=settings.patience,
        decay=settings.learning_rate_decay,
        plateau_patience=settings.plateau_patience,
        max_hours=settings.max_hours,
    )
    gan.fit(train, validation_data=validation, epochs=settings.epochs, callbacks=callbacks, verbose=0)
    if share[0] == 0:
        save_model(gan.generator, output / "generator_last.keras")  # the best stands beside it


def find_prepared(settings):
    """The folder of prepared photos; photos that are not are prepared as notebook 1 does, none of them for a test.

    They are prepared again where a training goes on, so that `Resume` refuses it if they are others.
    """
    folder = Path(settings.photos)
    if (folder / "manifest.json").is_file():
        return folder
    paths, skipped = find_photos(folder)
    folder = Path(settings.output) / "photos"
    chosen = dict(image_size=settings.image_size, test_share=0.0, skipped=skipped, progress=None)
    prepare_photos(paths, folder, **chosen)
    return folder


def open_networks(settings):
    """Generator and discriminator: new, or from `start`, then None for a discriminator that none needs."""
    if settings.start:
        policy = keras.config.dtype_policy().name
        first, *others = find_networks(settings)
        networks = [load_generator(first), *(keras.models.load_model(path, compile=False) for path in others)]
        networks = [change_precision(network, policy) for network in networks]
        if len(networks) == 2 or not settings.start.is_file():
            return [*networks, None][:2]
    else:
        networks = [build_generator(None, settings.base_filters, seed=settings.seed)]
    filters = networks[0].get_layer("generator_encoder_1").filters
    gain = settings.detail_gain
    if gain < 0:  # without VGG19 it would be too strong
        gain = 0.0 if settings.vgg19_weights == "none" else DISCRIMINATOR["detail_gain"]
    told = {**DISCRIMINATOR, "detail_gain": gain}
    return *networks, build_discriminator(None, filters, **told, seed=settings.seed + 1)


def find_networks(settings):
    """The files to start from: the generator's, and from a folder the discriminator's where its loss counts."""
    if settings.start.is_file():
        return [settings.start]
    names = ["generator"]
    vgg19 = None if settings.vgg19_weights == "none" else settings.vgg19_weights
    weights = choose_weights(vgg19, **{name: getattr(settings, name) for name in TEXTURE})
    if weights["adversarial_weight"] or weights["matching_weight"]:
        names.append("discriminator")
    paths = [settings.start / f"{name}_best.keras" for name in names]
    if missing := [str(path) for path in paths if not path.is_file()]:
        raise FileNotFoundError(
            f"There is no {missing[0]}: --start is the folder that a finished training wrote, or a generator's .keras "
            "file, which gets a new discriminator."
        )
    return paths


def read_filters(path):
    """Filters of the first block of a generator's file; None where it has no such block."""
    with zipfile.ZipFile(path) as file:
        layers = json.loads(file.read("config.json"))["config"].get("layers", ())
    settings = [layer["config"] for layer in layers]
    return next((each["filters"] for each in settings if each.get("name") == "generator_encoder_1"), None)


class DrawnElsewhere(PhotoBatches):
    """The same batches as `PhotoBatches`, from the processes of `draw_elsewhere`."""

    @functools.wraps(PhotoBatches.__init__)  # `Resume` reads the settings by the names of its arguments
    def __init__(self, *args, pool, number, **kwargs):
        super().__init__(*args, **kwargs)
        self.pool, self.number = pool, number

    def __getitem__(self, batch):
        try:
            return self.pool.apply_async(draw, (self.number, self.epoch, batch)).get(LONGEST_DRAW)
        except multiprocessing.TimeoutError:  # a pool starts a new process for one that died, and forgets its batch
            raise RuntimeError(
                f"A process of --drawers has not drawn a batch in {LONGEST_DRAW} s. It may have been killed for want "
                "of memory: start again with fewer. The training goes on after its last epoch."
            ) from None


def draw_elsewhere(count, folder, choices):
    """Batches drawn by `count` processes: threads share one interpreter, and a fast GPU would wait for them.

    Args:
        count: of the processes.
        folder: of prepared photos.
        choices: a dict of arguments of `PhotoBatches` for each kind of batches.

    Returns: list of `PhotoBatches`, one for each choice.
    """
    own = {name: os.environ.get(name) for name in ("CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS")}
    os.environ.update(CUDA_VISIBLE_DEVICES="", JAX_PLATFORMS="cpu")  # the GPU is not theirs
    pool = multiprocessing.get_context("spawn").Pool(count, start_drawing, (folder, choices))
    atexit.register(pool.terminate)  # at the very end its pipes are closed, and it would say so in a traceback
    for name, value in own.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})
    photos, workers = open_photos(Path(folder)).images, count + 1
    return [
        DrawnElsewhere(photos, **choice, workers=workers, pool=pool, number=number)
        for number, choice in enumerate(choices)
    ]


def start_drawing(folder, choices):
    cv2.setNumThreads(1)
    photos = open_photos(Path(folder)).images
    start_drawing.batches = [PhotoBatches(photos, **choice) for choice in choices]


def draw(number, epoch, batch):
    batches = start_drawing.batches[number]
    if batches.epoch != epoch:
        batches.start_epoch(epoch)
    return batches[batch]


if __name__ == "__main__":
    run_tool(lambda: train(read_settings()))
