"""Callbacks beside Keras's own: watch a training, keep its best networks, resume it, end it in time."""

import io
import json
import math
import time
from pathlib import Path

import keras
import numpy as np

from .figures import draw_training, save_figure, show_live
from .files import format_csv, save_model, write_atomically

# What the callbacks count, and which weights SwapEMAWeights left in the model: all that a resumed training needs.
COUNTERS = ("wait", "best", "best_epoch", "stopped_epoch", "cooldown_counter", "rows", "_ema_weights_in_model")


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
        _check_writable(self.folder)

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}}
        row.pop("val_duty", None)  # nothing trains while validating
        row["seconds"] = round(time.perf_counter() - self.started, 2)
        self.rows = [*self.rows[:epoch], row]
        print(describe_epoch(row, self.params["epochs"]), flush=True)
        _try(write_atomically, self.folder / "history.csv", format_csv(self.rows))
        if _find_process()[1] > 1:
            return  # JAX would want every process to draw, each a share of the pictures
        figure = draw_training(self.rows, self.samples, self.model)
        _try(save_figure, figure, self.folder / "training.png")
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
        _check_writable(self.folder)

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
            _try(save_model, self.model.generator, self.folder / "generator_best.keras"),
            _try(save_model, self.model.discriminator, self.folder / "discriminator_best.keras"),
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


class Resume(keras.callbacks.Callback):
    """Make a training survive being killed: started again, it continues as if nothing had happened.

    After every epoch all state goes into one file, `resume.npz`, replaced in one piece: the weights of both
    networks, the optimizer's moments and rate, the throttle's counter, dropout's random state, the history and
    what the other callbacks counted. (Stock `BackupAndRestore` writes weights and epoch as two files and forgets
    callbacks and random state, so a kill between the two writes resumes wrongly.) The file goes once training
    is complete.

    Args:
        folder: where `resume.npz` is kept.
        batches: the training `PhotoBatches`, told which epoch comes next.
        callbacks: the callbacks whose counters are kept; put this one after them in `fit`'s list.
        settings: dict of JSON values; a backup made with other settings is refused.

    Raises: ValueError in `fit` if the backup was made with other settings.
    """

    def __init__(self, folder, batches, callbacks=(), settings=None):
        super().__init__()
        self.path, self.batches = Path(folder) / "resume.npz", batches
        self.callbacks, self.settings = list(callbacks), settings or {}
        self.complete = False

    def on_train_begin(self, logs=None):
        self.complete = False
        _check_writable(self.path.parent)
        if not self.path.is_file():
            return
        with np.load(self.path, allow_pickle=False) as backup:
            state = json.loads(str(backup["state"]))
            self._check_settings(state["settings"])
            variables = self._variables()
            if [backup[f"variable_{index}"].shape for index in range(state["variables"])] != [
                tuple(variable.shape) for variable in variables
            ]:
                raise ValueError(
                    f"{str(self.path)!r} was made with other networks: build the same ones to continue that training, "
                    "or delete the file to start a new one."
                )
            for index, variable in enumerate(variables):
                variable.assign(backup[f"variable_{index}"])
        self.complete = state["complete"]  # killed after its last epoch: nothing is left to do but to tidy up
        for callback, kept in zip(self.callbacks, state["callbacks"], strict=True):
            vars(callback).update(kept)
        self.model._initial_epoch = self.params["epochs"] if state["complete"] else state["epoch"]
        print(f"Continuing after epoch {state['epoch']} of an earlier run ({self.path.name}).", flush=True)

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.start_epoch(epoch)

    def on_epoch_end(self, epoch, logs=None):
        if not math.isfinite(float((logs or {}).get("loss", 0.0))):
            return  # the last good epoch stays
        self.complete = bool(self.model.stop_training) or epoch + 1 >= self.params["epochs"]
        kept = [
            {name: _to_plain(value) for name, value in vars(callback).items() if name in COUNTERS}
            for callback in self.callbacks
        ]
        arrays = {
            f"variable_{index}": keras.ops.convert_to_numpy(variable)
            for index, variable in enumerate(self._variables())
        }
        state = dict(
            epoch=epoch + 1, complete=self.complete, callbacks=kept, settings=self.settings, variables=len(arrays)
        )
        buffer = io.BytesIO()
        np.savez(buffer, state=json.dumps(state), **arrays)
        _try(write_atomically, self.path, buffer.getvalue())

    def on_train_end(self, logs=None):
        self.model._initial_epoch = None
        if self.complete and _find_process()[0] == 0:
            self.path.unlink(missing_ok=True)

    def _variables(self):
        optimizer = self.model.optimizer
        if not optimizer.built:
            optimizer.build(self.model.trainable_variables)
        return [*self.model.variables, *optimizer.variables]

    def _check_settings(self, kept):
        ours = json.loads(json.dumps(self.settings))
        for name in sorted({*ours, *kept}):
            if ours.get(name) != kept.get(name):
                raise ValueError(
                    f"{str(self.path)!r} was made with {name} = {kept.get(name)!r}, but it is now {ours.get(name)!r}: "
                    "set it back to continue that training, or delete the file to start a new one."
                )


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


def _try(write, *args):
    """Write; a full or read-only disk is reported in one sentence and does not end the training."""
    if _find_process()[0] > 0:
        return True
    try:
        write(*args)
        return True
    except OSError as error:
        path = next(arg for arg in args if isinstance(arg, Path))
        print(f"Could not write {path} ({error}): training goes on, free some space or stop it.", flush=True)
        return False


def _check_writable(folder):
    """Find out before hours of training, not after them."""
    if _find_process()[0] > 0:
        return  # writes nothing
    try:
        write_atomically(folder / ".writable", "")
        (folder / ".writable").unlink()
    except OSError as error:
        raise OSError(f"Nothing can be written to {str(folder)!r} ({error}): choose another output folder.") from error


def _find_process():
    """(number, count): where several processes train together (JAX), the first writes the files and all read them."""
    if keras.backend.backend() != "jax":
        return 0, 1
    import jax

    return jax.process_index(), jax.process_count()


def _to_plain(value):
    """A NumPy or backend scalar as a Python number, everything else as it is."""
    return value if isinstance(value, (list, int, float, type(None))) else float(value)
