"""One recipe of callbacks for every training: notebooks 2 and 3, and the training without a notebook."""

import keras

from .callbacks import (
    BEST_BY,
    BEST_BY_TEXTURE,
    KeepAverages,
    SaveBest,
    SwapAverages,
    TimeBudget,
    TrainingMonitor,
    plan_learning_rate,
)
from .resume import Resume, remember_start


def make_callbacks(
    gan,
    output,
    batches,
    validation,
    epochs,
    patience=5,
    decay="plateau",
    plateau_patience=2,
    max_hours=None,
    monitor=None,
    settings=None,
):
    """The callbacks of a training, in the order that they need.

    A broken loss ends the training, no progress ends it early, the learning rates fall, the monitor shows and records
    every epoch, the best networks are kept, a killed training can be resumed, and it ends before `max_hours`.

    Args:
        gan: the compiled `InpaintingGAN`. An optimizer with `use_ema` is validated and kept with its averaged weights.
        output: folder for the history, the pictures, the networks and the backup.
        batches: the training `PhotoBatches`.
        validation: the validation `PhotoBatches`; its first pictures are followed.
        epochs: int, as passed to `fit`.
        patience: epochs without improvement before training stops early.
        decay: "plateau" or "cosine", see `plan_learning_rate`.
        plateau_patience: epochs without improvement before the learning rates are halved.
        max_hours: float, or None for no limit.
        monitor: the measure that decides all of this, to be made small; None for "val_visual_distance" with a style
            loss and a discriminator, else "val_distance".
        settings: dict of JSON values that a resumed training must share, beside those that `Resume` reads itself.

    Returns: (callbacks, monitor, best): the list for `fit`, and of it the `TrainingMonitor`, which has the history, and
        the `SaveBest`, which has the best measure and its epoch.
    Raises:
        ValueError: for another decay.
    """
    by_texture = gan.style_weight and gan.discriminator is not None
    monitor = monitor or (BEST_BY_TEXTURE if by_texture else BEST_BY)
    watched = dict(monitor=monitor, mode="min")
    start = remember_start(gan)
    shown, best = TrainingMonitor(output, validation[0][0], monitor), SaveBest(output, monitor)
    counting = [
        keras.callbacks.EarlyStopping(patience=patience, **watched),
        plan_learning_rate(decay, start["learning_rate"], epochs, patience=plateau_patience, **watched),
        *(swaps := [SwapAverages()] if start.get("use_ema") else []),
        shown,
        best,
    ]
    resume = Resume(output, batches, counting, settings, validation)
    last = [resume, TimeBudget(max_hours), *map(KeepAverages, swaps)]
    return [keras.callbacks.TerminateOnNaN(), *counting, *last], shown, best


# Weights of the loss, as `InpaintingGAN` takes them. Without VGG19 L1 decides the hole, and leaves fog in a large one.
PIXELS = dict(
    adversarial_weight=1.0,
    l1_weight=100.0,
    hole_weight=6.0,
    colour_weight=2.0,
    cells_weight=0.0,
    perceptual_weight=0.0,
    style_weight=0.0,
    matching_weight=0.0,
    judged_size=0,
)
# With it L1 keeps the kept pixels, cells the colours and the layout, and the style asks for texture. The discriminator
# adds to that, shown with half this style weight: docs/TRAINING_STORY.md.
TEXTURE = dict(
    adversarial_weight=3.0,
    l1_weight=5.0,
    hole_weight=0.25,
    colour_weight=2.0,
    cells_weight=30.0,
    perceptual_weight=1.0,
    style_weight=10.0,
    matching_weight=5.0,
    judged_size=128,
)

# The discriminator of these weights, as `build_discriminator` takes it.
DISCRIMINATOR = dict(normalization="none", initialization="he", sees_hole=True, detail_gain=8.0)

# To fit a trained generator to other pictures in minutes. A new discriminator would learn too late, and more L1 in the
# hole keeps the PSNR while the style loss brings the pictures' own texture.
ADAPTING = {
    **TEXTURE,
    **dict(adversarial_weight=0.0, matching_weight=0.0, l1_weight=12.0, hole_weight=1.0, style_weight=5.0),
}


def choose_weights(perceptual, adapting=False, **given):
    """The weights of a training's loss: the recipe that fits, with what is given in place of its values.

    Args:
        perceptual: VGG19 features from `build_perceptual`, or None.
        adapting: whether a generator that has learned texture is fitted to pictures of another kind.
        given: weights by name; -1 leaves the recipe's.

    Returns: dict of arguments of `InpaintingGAN`.
    Raises:
        TypeError: for a name that is no weight of the recipes.
    """
    unknown = set(given) - set(TEXTURE)
    if unknown:
        raise TypeError(
            f"{', '.join(sorted(unknown))} is no weight of the loss, expected some of {', '.join(TEXTURE)}."
        )
    weights = PIXELS if perceptual is None else ADAPTING if adapting else TEXTURE
    return {**weights, **{name: value for name, value in given.items() if value >= 0}}
