"""Resume a training that was killed, from one file and to the last bit."""

import hashlib
import inspect
import io
import json
import math
import weakref
from pathlib import Path

import keras
import numpy as np

from ..files import write_atomically
from .callbacks import NETWORKS, SaveBest, check_writable, set_aside, write_or_report

# What the callbacks count, and which weights SwapAverages left in the model: all that a resumed training needs.
COUNTERS = ("wait", "best", "best_epoch", "stopped_epoch", "cooldown_counter", "rows", "_ema_weights_in_model")
ANEW = {"wait": 0, "best": None, "cooldown_counter": 0}  # of callbacks whose measure has changed
NOT_SETTINGS = ("name", "workers", "share")  # change nothing that is learned
_STARTS = weakref.WeakKeyDictionary()  # how each optimizer was set, and what weights each network had, before training


class Resume(keras.callbacks.Callback):
    """Make a training survive being killed: started again, it continues as if nothing had happened.

    After every epoch all state goes into one file, `resume.npz`, replaced in one piece: the weights of both
    networks, the optimizer's moments and rate, the throttle's counter, dropout's random state, the history and
    what the other callbacks counted. (Stock `BackupAndRestore` writes weights and epoch as two files and forgets
    callbacks and random state, so a kill between the two writes resumes wrongly.)

    What an earlier training left in the folder, its `resume.npz` too, is kept under a number when the first epoch of a
    new one has ended; to go back to it, take the number out of its files' names. Before that epoch writes anything,
    `resume.npz` says which training it is: what lies beside it is then never taken for another's.

    The file stays when training is complete. Started again with the same `epochs`, a complete training says so and
    nothing is trained; with more epochs, or more patience after an early stop, it goes on.

    A setting that changed in the meantime is never ignored. Loss weights, the throttle, the precision and the
    optimizer's settings, such as a lower learning rate, are taken from the next epoch on, and printed. Where the
    measure that decides then has other values, the best epoch is chosen anew, and the networks kept so far stay under
    a number. Anything else (other photos, masks, networks or starting weights) makes it another training: refused while
    the earlier one is unfinished, begun anew once that is complete. All of it is read from the model, its optimizer and
    the batches: every argument of their constructors that is a number, a word or a pair of them.

    Args:
        folder: where `resume.npz` is kept.
        batches: the training `PhotoBatches`, told which epoch comes next.
        callbacks: the callbacks whose counters are kept; put this one after them in `fit`'s list.
        settings: dict of JSON values that also must not change.
        validation: the validation `PhotoBatches`, which must not change either.

    Raises:
        ValueError: in `fit`, if the file is of an unfinished training with other settings, or damaged.
    """

    def __init__(self, folder, batches, callbacks=(), settings=None, validation=None):
        super().__init__()
        self.path, self.batches, self.validation = Path(folder) / "resume.npz", batches, validation
        self.callbacks, self.settings = list(callbacks), settings or {}

    def on_train_begin(self, logs=None):
        check_writable(self.path.parent)
        self.model._initial_epoch = None  # of a training that was interrupted
        optimizer = self.model.optimizer
        if not optimizer.built:
            optimizer.build(self.model.trainable_variables)
        self.training = self._describe()
        state = self._load() if self.path.is_file() else None
        new, folder = state is None, self.path.parent
        self.before = [lambda: write_or_report(set_aside, folder), lambda: self._write(0, False)] if new else []
        self.backed_up = not new and state["epoch"] > 0
        for callback in self.callbacks:
            if hasattr(callback, "make_room"):
                callback.make_room = self.make_room
        if state is not None and state["epoch"]:
            self._continue(state)
        elif steps := _count_steps(optimizer):
            if keras.backend.backend() == "jax":  # an interrupted `fit` leaves averages and weights in one array
                for variable in optimizer.variables:
                    variable.assign(keras.ops.copy(variable))
            print(
                f"These networks have already made {_count(steps, 'training step')} and go on from there, as no epoch "
                "of theirs was kept; for a fresh start, build them again first.",
                flush=True,
            )
        elif state is not None:
            print("An earlier run ended before its first backup: this training starts again.", flush=True)

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.start_epoch(epoch)

    def on_epoch_end(self, epoch, logs=None):
        if not math.isfinite(float((logs or {}).get("loss", 0.0))):
            return  # the last good epoch stays
        if not self.make_room():
            return
        if self._write(epoch + 1, bool(self.model.stop_training) or epoch + 1 >= self.params["epochs"]):
            self.backed_up = True
        elif not self.backed_up:  # started again, it would replace networks that have trained for longer
            write_or_report(Path.unlink, self.path, True)

    def make_room(self):
        """Before a new training's first file: keep those of an earlier one under a number, and note whose come now.

        Returns: whether both succeeded. Until then nothing may be written, and what lies here is the earlier one's.
        """
        while self.before and self.before[0]():
            del self.before[0]
        return not self.before

    def _write(self, epoch, complete):
        """Write the file after so many epochs; after none it holds only which training this is."""
        kept = [
            {name: _to_plain(value) for name, value in vars(callback).items() if name in COUNTERS}
            for callback in self.callbacks
        ]
        arrays = {
            f"variable_{index}": keras.ops.convert_to_numpy(variable)
            for index, variable in enumerate(self._variables() if epoch else [])
        }
        state = dict(
            epoch=epoch,
            epochs=self.params["epochs"],
            complete=complete,
            callbacks=kept,
            variables=len(arrays),
            training=self.training,
        )
        buffer = io.BytesIO()
        np.savez(buffer, state=json.dumps(state), **arrays)
        return write_or_report(write_atomically, self.path, buffer.getvalue())

    def on_train_end(self, logs=None):
        self.model._initial_epoch = None

    def _load(self):
        """Put the file's numbers into the variables; returns its state, or None if it is of another training."""
        try:
            with np.load(self.path, allow_pickle=False) as backup:
                state = json.loads(str(backup["state"]))
                _check_state(state)
                difference = self._find_difference(state)
                arrays = [] if difference else [backup[f"variable_{index}"] for index in range(state["variables"])]
        except Exception as error:  # a damaged file raises whatever its reader stumbles on
            reason = str(error).split("\n")[0][:120]
            raise ValueError(
                f"{str(self.path)!r} is damaged or of an earlier version ({reason}): delete the file to start a new "
                "training, which keeps the networks."
            ) from error
        if state["epoch"] == 0:  # ended before its first backup
            return None if difference else state
        if difference and state["complete"]:
            print(
                f"The training in {self.path.parent.name}/ is complete and had {difference[0]}: "
                "a new one starts, and keeps its networks.",
                flush=True,
            )
            return None
        if difference:
            raise ValueError(
                f"{str(self.path)!r} was made with {difference[0]}: {difference[1]} to continue that training, "
                "or delete the file to start a new one."
            )
        variables = self._variables()
        if state["training"]["taken"]["precision"] != self.training["taken"]["precision"]:
            shared = min(len(arrays), len(variables))  # a scale of the loss comes last, and begins anew
            arrays, variables = arrays[:shared], variables[:shared]
        if [array.shape for array in arrays] != [tuple(variable.shape) for variable in variables]:
            raise ValueError(
                f"{str(self.path)!r} was made with other networks: build the same ones to continue that training, "
                "or delete the file to start a new one."
            )
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
        for callback, kept in zip(self.callbacks, state["callbacks"], strict=True):
            vars(callback).update(kept)
        return state

    def _continue(self, state):
        """Say and settle where the training goes on, and what has changed."""
        done, planned, epochs = state["epoch"], state["epochs"], self.params["epochs"]
        before, now = state["training"]["taken"], self.training["taken"]
        changed = [name for name in now if name in before and now[name] != before[name]]
        stopper = next((c for c in self.callbacks if isinstance(c, keras.callbacks.EarlyStopping)), None)
        stopped_early = stopper is not None and done < planned
        if stopped_early and state["complete"] and epochs > planned:
            stopper.wait = 0  # who asks for more epochs does not want none
        if state["complete"] and epochs <= planned and not (stopped_early and stopper.wait < stopper.patience):
            best = next((f", best {c.best_epoch}" for c in self.callbacks if isinstance(c, SaveBest)), "")
            more = "epochs or patience" if stopped_early else "epochs"
            idle = f" Until then the changed {' and '.join(changed)} has no effect." if changed else ""
            print(
                f"This training is complete ({_count(done, 'epoch')}{best}): raise {more} to train on, or delete "
                f"{self.path.name} to start a new one.{idle}",
                flush=True,
            )
            self.model._initial_epoch = max(done, epochs)
            return
        self.model._initial_epoch = done
        if done >= epochs:
            print(f"epochs is {epochs}, but {done} are trained already: raise it to train on.", flush=True)
            return
        print(f"Continuing after epoch {done} of an earlier run ({self.path.name}).", flush=True)
        for name in changed:
            print(f"{name} was {before[name]} and is {now[name]} from here on.", flush=True)
            if name == "learning_rate" and not isinstance(now[name], dict):
                _innermost(self.model.optimizer).learning_rate = now[name]
        if any(_is_part(name, getattr(callback, "monitor", "")) for name in changed for callback in self.callbacks):
            print("Measures before and after that cannot be compared: the best epoch is chosen anew.", flush=True)
            self.before = [lambda: write_or_report(set_aside, self.path.parent, NETWORKS)]
            for callback in self.callbacks:
                vars(callback).update({name: value for name, value in ANEW.items() if hasattr(callback, name)})

    def _variables(self):
        """All variables of the training; those that scale the loss in mixed precision come last."""
        inner, optimizer = _innermost(self.model.optimizer).variables, self.model.optimizer.variables
        known = {id(variable) for variable in inner}
        return [*self.model.variables, *inner, *(variable for variable in optimizer if id(variable) not in known)]

    def _describe(self):
        """What makes this training this one, as JSON values: what must not change, and what may."""
        remember_start(self.model)
        optimizer = dict(_STARTS[self.model.optimizer])
        fixed = {
            "use_ema": optimizer.pop("use_ema", False),
            "callbacks": [
                f"{type(callback).__name__} {getattr(callback, 'monitor', '')}".strip() for callback in self.callbacks
            ],
            **read_settings(self.batches),
        }
        hashes = {"training photos": _hash_photos(self.batches)}
        if self.validation is not None:
            fixed |= {f"validation {name}": value for name, value in read_settings(self.validation).items()}
            hashes["validation photos"] = _hash_photos(self.validation)
        start = []
        for name in ("generator", "discriminator"):
            network = getattr(self.model, name, None)
            hashes[name] = network and _hash_network(network)
            start += _STARTS[network] if network is not None else []
        taken = {"precision": self.model.dtype_policy.name, **read_settings(self.model), **optimizer}
        return json.loads(json.dumps(dict(fixed={**fixed, **self.settings}, taken=taken, hashes=hashes, start=start)))

    def _find_difference(self, state):
        """What makes the state that of another training, and what to do about it, in words; None for the same."""
        before, now = (
            {**kept["hashes"], "starting weights": kept["start"], **kept["fixed"]}
            for kept in (state["training"], self.training)
        )
        for name in sorted(before.keys() | now.keys()):
            then, here = before.get(name), now.get(name)
            if then == here or (name == "starting weights" and _are_close(then, here)):
                continue
            if name.endswith(("photos", "weights")):
                return f"other {name}", "go back to them"
            if name in ("generator", "discriminator"):
                return f"another {name}", "go back to it"
            return f"{name} = {then!r}, but it is now {here!r}", "set it back"
        return None


def _are_close(weights, others):
    return len(weights) == len(others) and np.allclose(weights, others, rtol=1e-3, atol=1e-6)


def _check_state(state):
    """ValueError for what no `Resume` has written, as far as it is used."""
    whole = all(type(state[name]) is int and state[name] >= 0 for name in ("epoch", "epochs", "variables"))
    whole = whole and isinstance(state["complete"], bool) and isinstance(state["training"]["taken"], dict)
    whole = whole and len(state["callbacks"]) == len(state["training"]["fixed"]["callbacks"])
    whole = whole and "precision" in state["training"]["taken"]
    if not (whole and all(kept.keys() <= set(COUNTERS) for kept in state["callbacks"])):
        raise ValueError("its numbers are none that a training writes")


def remember_start(model):
    """Note, before a training starts, how the optimizer is set and what weights the networks have.

    Training changes both. Called again, it keeps what it noted first.

    Args:
        model: a compiled `InpaintingGAN`.

    Returns: dict, the optimizer's settings, such as "learning_rate".
    """
    optimizer = model.optimizer
    if optimizer not in _STARTS or (optimizer.built and _count_steps(optimizer) == 0):
        inner = _innermost(optimizer)
        config = {name: value for name, value in inner.get_config().items() if name not in NOT_SETTINGS}
        _STARTS[optimizer] = {
            name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in config.items()
        }
    for network in (getattr(model, "generator", None), getattr(model, "discriminator", None)):
        if network is not None and network not in _STARTS:
            # Two values of each variable: enough to tell other networks by, and devices round the last digits anew.
            values = [keras.ops.convert_to_numpy(variable).ravel()[:2] for variable in network.trainable_variables]
            _STARTS[network] = [float(f"{value:.6g}") for pair in values for value in pair]
    return _STARTS[optimizer]


def read_settings(thing):
    """The arguments of a thing's constructor that are numbers, words or pairs of them, as the thing kept them."""
    plain = (bool, int, float, str)
    settings = {}
    for name in inspect.signature(type(thing).__init__).parameters:
        value = getattr(thing, name, None)
        value = value.item() if isinstance(value, np.generic) else value
        values = value if isinstance(value, (tuple, list)) else [value]
        if name not in NOT_SETTINGS and all(isinstance(one, plain) for one in values):
            settings[name] = value
    return settings


def _is_part(setting, measure):
    """Whether a measure of the history has other values once this argument of `InpaintingGAN` is another one."""
    by_discriminator = setting in ("adversarial_weight", "matching_weight", "patch_labels")
    weighted = setting.endswith("_weight") or by_discriminator
    return {
        "val_visual_distance": setting == "judged_size",
        "val_distance": setting == "judged_size" or (weighted and not by_discriminator),
        "val_loss": setting == "judged_size" or weighted,
        "val_generator_loss": setting == "judged_size" or weighted,
    }.get(measure, False)


def _count_steps(optimizer):
    return int(keras.ops.convert_to_numpy(optimizer.iterations))  # also where each replica has it


def _innermost(optimizer):
    """The optimizer itself, out of the one that scales the loss in mixed precision."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def _hash_photos(batches):
    """A hash of which photos are drawn from: some pixels of each of them, as reading all would take too long."""
    digest = hashlib.sha256()
    for index in getattr(batches, "indices", ()):
        digest.update(np.ascontiguousarray(np.asarray(batches.photos[index])[::16, ::16]).tobytes())
    return digest.hexdigest()[:16]


def _hash_network(network):
    """A hash of how a network is built, whatever its weights, precision and automatic names."""

    def clean(value):
        if isinstance(value, dict):
            left_out = ("name", "dtype", "seed", "shared_object_id")
            return {key: clean(part) for key, part in value.items() if key not in left_out}
        return [clean(part) for part in value] if isinstance(value, (list, tuple)) else value

    parts = []
    for operation in getattr(network, "operations", ()):
        try:
            config = operation.get_config()
        except NotImplementedError:
            config = {}
        parts.append([type(operation).__name__, clean(config)])
    text = json.dumps(parts, default=lambda value: type(value).__name__)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _count(number, word):
    return f"{number} {word}{'s' * (number != 1)}"


def _to_plain(value):
    """A NumPy or backend scalar as a Python number, everything else as it is."""
    return value if isinstance(value, (list, int, float, type(None))) else float(value)
