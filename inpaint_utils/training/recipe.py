"""One recipe of callbacks for every training: notebooks 2 and 3, and the training without a notebook."""

import keras

from .callbacks import BEST_BY, SaveBest, TimeBudget, TrainingMonitor, plan_learning_rate
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
    monitor=BEST_BY,
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
        monitor: the measure that decides all of this, to be made small.
        settings: dict of JSON values that a resumed training must share, beside those that `Resume` reads itself.

    Returns: (callbacks, monitor, best): the list for `fit`, and of it the `TrainingMonitor`, which has the history, and
        the `SaveBest`, which has the best measure and its epoch.
    Raises:
        ValueError: for another decay.
    """
    watched = dict(monitor=monitor, mode="min")
    start = remember_start(gan)
    shown, best = TrainingMonitor(output, validation[0][0], monitor), SaveBest(output, monitor)
    counting = [
        keras.callbacks.EarlyStopping(patience=patience, **watched),
        plan_learning_rate(decay, start["learning_rate"], epochs, patience=plateau_patience, **watched),
        shown,
        # Not before the monitor: after the last swap Keras on JAX has each array twice, and a prediction deletes it.
        *([keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if start.get("use_ema") else []),
        best,
    ]
    resume = Resume(output, batches, counting, settings, validation)
    return [keras.callbacks.TerminateOnNaN(), *counting, resume, TimeBudget(max_hours)], shown, best
