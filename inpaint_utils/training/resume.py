"""Resume a training that was killed, from one file and to the last bit."""

import io
import json
import math
from pathlib import Path

import keras
import numpy as np

from ..files import write_atomically
from ..host import find_process
from .callbacks import check_writable, write_or_report

# What the callbacks count, and which weights SwapEMAWeights left in the model: all that a resumed training needs.
COUNTERS = ("wait", "best", "best_epoch", "stopped_epoch", "cooldown_counter", "rows", "_ema_weights_in_model")


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
        check_writable(self.path.parent)
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
        write_or_report(write_atomically, self.path, buffer.getvalue())

    def on_train_end(self, logs=None):
        self.model._initial_epoch = None
        if self.complete and find_process()[0] == 0:
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


def _to_plain(value):
    """A NumPy or backend scalar as a Python number, everything else as it is."""
    return value if isinstance(value, (list, int, float, type(None))) else float(value)
