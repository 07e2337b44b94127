"""Train without a notebook: on one device, on all GPUs of a machine, or over several machines (JAX).

Prepared photos come from notebook 1. docs/TRAINING_AT_SCALE.md has the commands.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import inpaint_utils.quiet  # noqa: F401, I001  (first: Keras without start-up messages)
import keras

from inpaint_utils import InpaintingGAN, PhotoBatches, ThrottledAdam, build_discriminator, build_generator
from inpaint_utils import build_perceptual, find_process, make_callbacks, open_photos, set_up_devices, take_split


def read_settings(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--photos", required=True, help="folder that notebook 1 wrote, with manifest.json")
    parser.add_argument("--output", required=True, help="folder for results; one that all processes see")
    parser.add_argument("--base-filters", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=8, help="photos a step, over all devices and processes")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--generator-learning-rate", type=float, default=5e-5)
    parser.add_argument("--discriminator-learning-rate", type=float, default=2e-5)
    parser.add_argument("--hole-weight", type=float, default=6.0)
    parser.add_argument("--colour-weight", type=float, default=2.0)
    parser.add_argument("--vgg19-weights", default="imagenet", help='"imagenet", a file, or "none"')
    parser.add_argument("--patience", type=int, default=5, help="epochs without improvement before it stops early")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--max-hours", type=float)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def train(settings):
    keras.utils.set_random_seed(settings.seed)
    scope = set_up_devices(settings.precision)
    photos, output = open_photos(Path(settings.photos)), Path(settings.output)
    share, held_out = find_process(), take_split(photos, "validation")
    train = PhotoBatches(photos.images, photos.split("train"), settings.batch_size, settings.seed, share=share)
    size = min(settings.batch_size, len(held_out) // share[1] * share[1])  # every process draws its part
    validation = PhotoBatches(photos.images, held_out, size, settings.seed + 1, fixed=True, share=share)
    weights = None if settings.vgg19_weights == "none" else settings.vgg19_weights
    with scope:
        gan = InpaintingGAN(
            build_generator(photos.image_size, settings.base_filters, seed=settings.seed),
            build_discriminator(photos.image_size, settings.base_filters, seed=settings.seed + 1),
            build_perceptual(weights),
            perceptual_weight=0 if weights is None else 1,
            hole_weight=settings.hole_weight,
            colour_weight=settings.colour_weight,
        )
        ratio = settings.discriminator_learning_rate / settings.generator_learning_rate
        gan.compile(optimizer=ThrottledAdam(settings.generator_learning_rate, discriminator_ratio=ratio))
    callbacks, _, _ = make_callbacks(
        gan, output, train, validation, settings.epochs, patience=settings.patience, max_hours=settings.max_hours
    )
    gan.fit(train, validation_data=validation, epochs=settings.epochs, callbacks=callbacks, verbose=0)


if __name__ == "__main__":
    train(read_settings())
