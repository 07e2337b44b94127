"""Callbacks beside Keras's own: watch a training, keep its best networks, end it in time."""

import contextlib
import io
import itertools
import math
import os
import shutil
import sys
import time
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from ..figures import draw_training, is_notebook, save_figure, show_live
from ..files import format_csv, replacing, save_model, write_atomically
from ..host import find_process, is_interactive

BEST_BY = "val_distance"  # the measure that every choice goes by: best epoch, early stop, lower learning rates
# With a style loss and a discriminator. The distance holds L1, which rises while texture comes, and is least too early:
# in two trainings it kept the second and the third of four epochs, and the last had a lower KID
# (results/runs/ingredients/chosen).
BEST_BY_TEXTURE = "val_visual_distance"
EPOCHS_SHOWN = 20  # lines below each other in a notebook; history.csv has them all
NETWORKS = ("generator_best.keras", "discriminator_best.keras")
HISTORY = ("history.csv", "training.png")


class TrainingMonitor(keras.callbacks.Callback):
    """Show how a training goes: a progress bar, one line an epoch, and a picture that is refreshed.

    In a notebook, the bar and the lines are one text that is replaced, and the picture below them is another. In a
    terminal the bar is the last line. Where nobody watches (`is_interactive`), there is one printed line an epoch. Call
    `fit` with `verbose=0`: Keras's own bar would report the same numbers a second time.

    After every epoch `history.csv` and `training.png` (curves and sample pictures) are written. A history of an earlier
    training in the folder is kept under a number, as `history.1.csv`.

    Args:
        folder: where the two files are written.
        samples: a dict batch as `PhotoBatches` yields it; its first four pictures are followed.
        monitor: the measure to show, a key of the history.

    Attributes:
        rows: the history, one dict an epoch, also of the epochs before a resume (`fit`'s own History starts anew).
    """

    def __init__(self, folder, samples, monitor=BEST_BY):
        super().__init__()
        self.folder, self.samples = Path(folder), {name: part[:4] for name, part in samples.items()}
        self.monitor, self.rows, self.bar = monitor, [], None

    def on_train_begin(self, logs=None):
        check_writable(self.folder)
        self.make_room = lambda: len(self.rows) > 1 or write_or_report(set_aside, self.folder, HISTORY)
        if self.bar is not None:
            self.bar.close()  # of a training that was interrupted
        self.bar = self.text = self.picture = None
        self.watched = find_process()[0] == 0 and is_interactive()

    def on_epoch_begin(self, epoch, logs=None):
        self.started, self.rows = time.perf_counter(), self.rows[:epoch]
        if self.watched and self.bar is None:
            self.bar = self._start_bar(epoch)
        if self.bar is not None:
            self.bar.set_description_str(f"epoch {epoch + 1}/{self.params['epochs']}")
            self.steps_before = self.bar.n

    def on_train_batch_end(self, batch, logs=None):
        if self.bar is None:
            return
        if time.perf_counter() - self.drawn > self.bar.mininterval:
            self.drawn = time.perf_counter()
            self.bar.set_postfix_str("  ".join(_describe_losses(self.model, logs or {})), refresh=False)
        self.bar.update(self.steps_before + batch + 1 - self.bar.n)

    def on_epoch_end(self, epoch, logs=None):
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}}
        row.pop("val_duty", None)  # nothing trains while validating
        row["seconds"] = round(time.perf_counter() - self.started, 2)
        self.rows = [*self.rows, row]
        self._show_epoch()
        if not self.make_room():
            return
        write_or_report(write_atomically, self.folder / "history.csv", format_csv(self.rows))
        if find_process()[1] > 1:
            return  # JAX would want every process to draw, each a share of the pictures
        figure = draw_training(self.rows, self.samples, self.model, self.monitor)
        write_or_report(save_figure, figure, self.folder / "training.png")
        self.picture = show_live(figure, self.picture)

    def on_train_end(self, logs=None):
        if self.bar is not None:
            self.bar.close()
            self.bar = None
            self._show_text("")

    def _start_bar(self, epoch):
        steps = self.params.get("steps")
        settings = dict(
            total=steps and steps * self.params["epochs"],
            initial=steps * epoch if steps else 0,
            bar_format="{desc} |{bar:10}| step {n_fmt}/{total_fmt}, {remaining} left{postfix}",
            mininterval=0.5,
        )
        self.drawn = 0.0
        if is_notebook():
            return _TextBar(self._show_text, **settings)
        if sys.stderr is not None and sys.stderr.isatty():
            return tqdm(leave=False, dynamic_ncols=True, **settings)
        return None

    def _show_epoch(self):
        if isinstance(self.bar, _TextBar):
            self._show_text(str(self.bar))
            return
        with tqdm.external_write_mode() if self.bar is not None else contextlib.nullcontext():
            print(describe_epoch(self.rows[-1], self.params["epochs"], self.model, self.monitor), flush=True)

    def _show_text(self, bar):
        """In a notebook: one line for each epoch so far, and the bar, in place of what was shown before."""
        if not is_notebook():
            return
        lines = [describe_epoch(row, self.params["epochs"], self.model, self.monitor) for row in self.rows]
        if len(lines) > EPOCHS_SHOWN:
            lines[:-EPOCHS_SHOWN] = [f"({len(lines) - EPOCHS_SHOWN} earlier epochs are in history.csv)"]
        self.text = show_live("\n".join([*lines, *([bar] if bar else [])]), self.text)


class _TextBar(tqdm):
    """tqdm's bar as a text for a function that shows it, instead of characters on a stream."""

    monitor_interval = 0  # no thread that redraws: a notebook would not know whose output that is

    def __init__(self, show, **settings):
        self.show = show
        super().__init__(file=io.StringIO(), gui=True, ascii=False, **settings)

    def display(self, *args, **kwargs):
        self.show(str(self))


def describe_epoch(row, epochs, gan=None, monitor=BEST_BY):
    """One line of a training log, for people.

    Args:
        row: the epoch's measures.
        epochs: of the whole training.
        gan: the `InpaintingGAN`, to leave out what is switched off in it.
        monitor: the measure of the validation photos to name.
    """
    parts = [f"epoch {row['epoch']:>3}/{epochs}", *_describe_losses(gan, row)]
    if monitor in row:
        name = monitor.replace("val_", "validation ").replace("_", " ").replace("l1", "L1")
        parts.append(f"{name} {row[monitor]:#.4g}")
    return "  ".join([*parts, f"{row['seconds']:3.0f} s"])


def _describe_losses(gan, measures):
    """At most three numbers: the generator's loss, and where there is a discriminator its loss and duty cycle."""
    parts = [f"generator {float(measures['generator_loss']):6.3f}"] if "generator_loss" in measures else []
    if getattr(gan, "discriminator", True) is None:
        return parts
    if "discriminator_loss" in measures:
        duty = f" on {float(measures['duty']):4.0%} of steps" if "duty" in measures else ""
        parts.append(f"discriminator {float(measures['discriminator_loss']):.3f}{duty}")
    return parts


class SaveBest(keras.callbacks.Callback):
    """Keep the networks of the best epoch so far: `generator_best.keras` and `discriminator_best.keras`.

    Each file is replaced in one piece, opens with plain `keras.models.load_model(path, compile=False)`, and an
    epoch whose measure is not a number never replaces it. Networks that an earlier training left in the folder are
    kept under a number, as `generator_best.1.keras`. Where the GAN has no discriminator, or the disk is full once the
    generator is written, no discriminator of another epoch stays beside it.

    Args:
        folder: where the two files are written.
        monitor: the measure to make small, a key of the history.

    Attributes:
        best, best_epoch: the smallest measure so far and its epoch, counted from 1; None before the first.
    """

    def __init__(self, folder, monitor=BEST_BY):
        super().__init__()
        self.folder, self.monitor, self.best, self.best_epoch = Path(folder), monitor, None, None

    def on_train_begin(self, logs=None):
        self.best = self.best_epoch = None
        self.make_room = lambda: self.best is not None or write_or_report(set_aside, self.folder, NETWORKS)
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
        generator, discriminator = (self.folder / name for name in NETWORKS)
        if not self.make_room() or not write_or_report(save_model, self.model.generator, generator):
            return
        self.best, self.best_epoch = value, epoch + 1
        judge = self.model.discriminator
        if judge is None or not write_or_report(save_model, judge, discriminator):
            write_or_report(Path.unlink, discriminator, True)  # it is of another epoch than this generator

    def on_train_end(self, logs=None):
        if self.best is None:
            raise RuntimeError(
                f"No networks were kept: no epoch ended with a finite {self.monitor} and a writable disk. Lower the "
                'learning rates, set precision to "float32", or free some space, and run again.'
            )


class SwapAverages(keras.callbacks.SwapEMAWeights):
    """Keras's `SwapEMAWeights(swap_on_epoch=True)`, which leaves the last epoch to `KeepAverages`.

    Keras's own gives up the weights that training would go on with, before `Resume` can keep them.
    """

    def __init__(self):
        super().__init__(swap_on_epoch=True)

    def on_epoch_end(self, epoch, logs=None):
        if not self._ema_weights_in_model:
            self._swap_variables()
            self._ema_weights_in_model = True


class KeepAverages(keras.callbacks.Callback):
    """Let `fit` end with the averaged weights in the model, whatever ends it; the last of its callbacks."""

    def __init__(self, swap):
        super().__init__()
        self.swap = swap

    def on_train_begin(self, logs=None):
        if (self.model._initial_epoch or 0) >= self.params["epochs"]:  # nothing is trained
            self._keep()

    def on_epoch_end(self, epoch, logs=None):
        if self.model.stop_training or epoch + 1 >= self.params["epochs"]:
            self._keep()

    def _keep(self):
        if self.swap._ema_weights_in_model:  # `fit` ends by writing the optimizer's averages over the model's weights
            self.swap._finalize_ema_values()


def plan_learning_rate(decay, start, epochs, patience=2, **watched):
    """The stock callback for one of two ways to lower the learning rate, which moves both networks.

    Args:
        decay: "plateau" halves the rate after `patience` epochs without improvement; "cosine" lowers it epoch by epoch
            from `start` towards zero (Loshchilov and Hutter 2016, arXiv 1608.03983, without restarts).
        start: the generator's rate in the first epoch.
        epochs: int, of the whole training.
        patience: int, epochs.
        watched: monitor and mode of `keras.callbacks.ReduceLROnPlateau`.

    Raises:
        ValueError: for another decay.
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

    Put it after `Resume` in `fit`'s list: the backup then stays, and a later run continues. Of several processes that
    train together, the first one's clock counts.

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
        over = now - self.started + self.longest > self.max_hours * 3600
        if find_process()[1] > 1:  # one that went on alone would wait for the others for ever: the first decides
            from jax.experimental.multihost_utils import broadcast_one_to_all

            over = broadcast_one_to_all(np.float32(over)) > 0
        if over:
            print(
                f"Ending after epoch {epoch + 1}: the next would pass max_hours = {self.max_hours}. "
                "Run again to continue."
            )
            self.model.stop_training = True


def set_aside(folder, names=(*NETWORKS, *HISTORY, "resume.npz")):
    """Keep files of an earlier training under a number (`history.1.csv`), so that new ones can take their names.

    The old names stay until new files replace them, so that a reader always finds one.

    Args:
        folder: Path.
        names: of the files, those of one training; a file that is not there is no error.
    """

    def number(path, count):
        return path.with_suffix(f".{count}{path.suffix}")

    old = [folder / name for name in names if (folder / name).is_file()]
    free = next(n for n in itertools.count(1) if not any(number(folder / name, n).exists() for name in names))
    for path in old:
        with replacing(number(path, free)) as part:
            try:
                os.link(path, part)  # takes no room, and whoever writes `path` puts a new file in its place
            except OSError:  # a disk without hard links
                shutil.copy2(path, part)
    if kept := [number(path, free).name for path in old if path.name in NETWORKS]:
        with tqdm.external_write_mode():
            print(f"The networks of an earlier training stay as {' and '.join(kept)}.", flush=True)


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
