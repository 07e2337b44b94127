"""Callbacks beside Keras's own: watch a training, keep its best networks, end it in time."""

import math
import time
from pathlib import Path

import keras

from ..figures import draw_training, save_figure, show_live
from ..files import format_csv, save_model, write_atomically
from ..host import find_process


class TrainingMonitor(keras.callbacks.Callback):
    """After every epoch: one printed line, `history.csv`, and `training.png` with curves and sample pictures.

    In a notebook the picture is shown below the cell and refreshed. `rows` holds the history, one dict an
    epoch, also of the epochs before a resume (`fit`'s own History starts anew).

    Args:
        folder: where `history.csv` and `training.png` are written.
        samples: a dict batch as `PhotoBatches` yields it; its first four pictures are followed.
    """

    def __init__(self, folder, samples):
        super().__init__()
        self.folder, self.samples = Path(folder), {name: part[:4] for name, part in samples.items()}
        self.rows, self.display = [], None

    def on_train_begin(self, logs=None):
        check_writable(self.folder)

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}}
        row.pop("val_duty", None)  # nothing trains while validating
        row["seconds"] = round(time.perf_counter() - self.started, 2)
        self.rows = [*self.rows[:epoch], row]
        print(describe_epoch(row, self.params["epochs"]), flush=True)
        write_or_report(write_atomically, self.folder / "history.csv", format_csv(self.rows))
        if find_process()[1] > 1:
            return  # JAX would want every process to draw, each a share of the pictures
        figure = draw_training(self.rows, self.samples, self.model)
        write_or_report(save_figure, figure, self.folder / "training.png")
        self.display = show_live(figure, self.display)


def describe_epoch(row, epochs):
    """One line of a training log, for people."""
    parts = [f"epoch {row['epoch']:>3}/{epochs}", f"generator {row['generator_loss']:.3f}"]
    parts += [f"discriminator {row['discriminator_loss']:.3f}", f"trained on {row['duty']:.0%} of steps"]
    if "val_hole_l1" in row:
        parts.append(f"validation hole L1 {row['val_hole_l1']:.4f}")
    return "  ".join([*parts, f"{row['seconds']:.0f} s"])


class SaveBest(keras.callbacks.Callback):
    """Keep the networks of the best epoch so far: `generator_best.keras` and `discriminator_best.keras`.

    Each file is replaced in one piece, opens with plain `keras.models.load_model(path, compile=False)`, and an
    epoch whose measure is not a number never replaces it.

    Args:
        folder: where the two files are written.
        monitor: the measure to make small, a key of the history.
    """

    def __init__(self, folder, monitor="val_hole_l1"):
        super().__init__()
        self.folder, self.monitor, self.best, self.best_epoch = Path(folder), monitor, None, None

    def on_train_begin(self, logs=None):
        self.best = self.best_epoch = None
        check_writable(self.folder)

    def on_epoch_end(self, epoch, logs=None):
        if self.monitor not in (logs or {}):
            raise ValueError(
                f"SaveBest looks at {self.monitor!r}, but the history has only {', '.join(logs or {})}: pass "
                "validation_data to fit, or the name of another measure as monitor."
            )
        value = float(logs[self.monitor])
        if not math.isfinite(value) or (self.best is not None and value >= self.best):
            return
        saved = [
            write_or_report(save_model, self.model.generator, self.folder / "generator_best.keras"),
            write_or_report(save_model, self.model.discriminator, self.folder / "discriminator_best.keras"),
        ]
        if all(saved):
            self.best, self.best_epoch = value, epoch + 1

    def on_train_end(self, logs=None):
        if self.best is None:
            raise RuntimeError(
                f"No networks were kept: no epoch ended with a finite {self.monitor} and a writable disk. Lower the "
                'learning rates, set precision to "float32", or free some space, and run again.'
            )


def plan_learning_rate(decay, start, epochs, patience=2, **watched):
    """The stock callback for one of two ways to lower the learning rate, which moves both networks.

    Args:
        decay: "plateau" halves the rate after `patience` epochs without improvement; "cosine" lowers it epoch by epoch
            from `start` towards zero (Loshchilov and Hutter 2016, arXiv 1608.03983, without restarts).
        start: the generator's rate in the first epoch. epochs: int, of the whole training.
        watched: monitor and mode of `keras.callbacks.ReduceLROnPlateau`.

    Raises: ValueError for another decay.
    """
    if decay == "plateau":
        return keras.callbacks.ReduceLROnPlateau(patience=patience, factor=0.5, **watched)
    if decay == "cosine":
        return keras.callbacks.LearningRateScheduler(
            lambda epoch, rate: start * (1 + math.cos(math.pi * epoch / epochs)) / 2
        )
    raise ValueError(f"learning_rate_decay is {decay!r}, expected 'plateau' or 'cosine'.")


class TimeBudget(keras.callbacks.Callback):
    """End training after an epoch when the next one would not end within `max_hours` of wall-clock time.

    Put it after `Resume` in `fit`'s list: the backup then stays, and a later run continues.

    Args:
        max_hours: hours from the start of `fit`; None for no limit.
    """

    def __init__(self, max_hours=None):
        super().__init__()
        self.max_hours = max_hours

    def on_train_begin(self, logs=None):
        self.started, self.longest = time.perf_counter(), 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch_started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        now = time.perf_counter()
        self.longest = max(self.longest, now - self.epoch_started)
        if self.max_hours is None or epoch + 1 >= self.params["epochs"]:
            return
        if now - self.started + self.longest > self.max_hours * 3600:
            print(
                f"Ending after epoch {epoch + 1}: the next would pass max_hours = {self.max_hours}. "
                "Run again to continue."
            )
            self.model.stop_training = True


def write_or_report(write, *args):
    """Write; a full or read-only disk is reported in one sentence and does not end the training."""
    if find_process()[0] > 0:
        return True
    try:
        write(*args)
        return True
    except OSError as error:
        path = next(arg for arg in args if isinstance(arg, Path))
        print(f"Could not write {path} ({error}): training goes on, free some space or stop it.", flush=True)
        return False


def check_writable(folder):
    """Find out before hours of training, not after them."""
    if find_process()[0] > 0:
        return  # writes nothing
    try:
        write_atomically(folder / ".writable", "")
        (folder / ".writable").unlink()
    except OSError as error:
        raise OSError(f"Nothing can be written to {str(folder)!r} ({error}): choose another output folder.") from error
