"""Callbacks: history, best networks, time budget, and no accident that costs the last good weights."""

import csv
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from tiny import build_tiny_gan, make_batches, read_weights, same_bits

from inpaint_utils import ThrottledAdam, files
from inpaint_utils.training import callbacks
from inpaint_utils.training.callbacks import SaveBest, TimeBudget, TrainingMonitor, plan_learning_rate
from inpaint_utils.training.resume import Resume

VALIDATION = make_batches(4, fixed=True)
BOTH = ("generator_best.keras", "discriminator_best.keras")


class AtEpochEnd(keras.callbacks.Callback):
    """Do something at the end of every epoch."""

    def __init__(self, action):
        super().__init__()
        self.action = action

    def on_epoch_end(self, epoch, logs=None):
        self.action(epoch, logs)


def as_in_the_notebooks(folder, train, patience=5, max_hours=None, extra=(), averaged=False):
    watched = dict(monitor="val_hole_l1", mode="min")
    counting = [
        keras.callbacks.EarlyStopping(patience=patience, **watched),
        keras.callbacks.ReduceLROnPlateau(patience=2, factor=0.5, **watched),
        TrainingMonitor(folder, VALIDATION[0][0]),
        SaveBest(folder),
    ]
    # Not before the monitor: after the last swap Keras 3.15 on JAX has each array twice, and a prediction deletes it.
    if averaged:
        counting.insert(3, keras.callbacks.SwapEMAWeights(swap_on_epoch=True))
    return [
        *extra,
        keras.callbacks.TerminateOnNaN(),
        *counting,
        Resume(folder, train, counting, {"seed": 0}),
        TimeBudget(max_hours),
    ]


def train_in(folder, epochs=3, gan=None, train=None, **settings):
    train = train or make_batches(4)
    gan = gan or build_tiny_gan()
    used = as_in_the_notebooks(folder, train, **settings)
    history = gan.fit(train, validation_data=VALIDATION, epochs=epochs, callbacks=used, verbose=0)
    return gan, used, history


def read_history(folder):
    with open(folder / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    return folder, *train_in(folder)


def test_the_history_file_has_a_row_an_epoch_with_every_measure_and_no_duty_of_validation(finished):
    folder, _, used, history = finished
    rows = read_history(folder)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert set(rows[0]) == {"epoch", "seconds", *history.history} - {"val_duty"}
    assert {"duty", "discriminator_loss", "val_hole_l1", "learning_rate"} <= set(rows[0])
    assert [float(row["duty"]) for row in rows] == pytest.approx(history.history["duty"])
    assert used[3].rows[-1]["val_hole_l1"] == pytest.approx(history.history["val_hole_l1"][-1])
    assert (folder / "training.png").read_bytes().startswith(b"\x89PNG")


def test_the_best_networks_open_with_plain_keras_and_score_what_the_history_says(finished):
    folder, _, used, history = finished
    best = used[4]
    assert best.best_epoch == 1 + int(np.argmin(history.history["val_hole_l1"]))
    opened = build_tiny_gan()
    for network, name in zip((opened.generator, opened.discriminator), BOTH, strict=True):
        network.set_weights(keras.models.load_model(folder / name, compile=False).get_weights())
    measured = opened.evaluate(VALIDATION, verbose=0, return_dict=True)["hole_l1"]
    assert measured == pytest.approx(min(history.history["val_hole_l1"]), rel=1e-5)


def test_nothing_is_left_over_after_a_complete_training(finished):
    assert sorted(path.name for path in finished[0].iterdir()) == sorted([*BOTH, "history.csv", "training.png"])


@pytest.mark.parametrize("values", [[3.0, 2.0, 2.5, 2.0], [3.0, float("nan"), 4.0], [float("inf"), 1.0]])
def test_only_a_smaller_finite_measure_replaces_the_best(tmp_path, monkeypatch, values):
    saved = []
    monkeypatch.setattr(callbacks, "save_model", lambda model, path: saved.append(path.name))
    best = SaveBest(tmp_path, monitor="measure")
    best.set_model(build_tiny_gan())
    best.on_train_begin()
    expected = 0
    for epoch, value in enumerate(values):
        best.on_epoch_end(epoch, {"measure": value})
        finite = [v for v in values[: epoch + 1] if np.isfinite(v)]
        expected += bool(np.isfinite(value)) and finite.index(min(finite)) == len(finite) - 1
        assert len(saved) == 2 * expected and best.best == min(finite, default=None)


def test_a_measure_that_is_not_in_the_history_is_named(tmp_path):
    with pytest.raises(ValueError, match="SaveBest looks at 'val_hole_l1', but the history has only"):
        build_tiny_gan().fit(make_batches(4), epochs=1, callbacks=[SaveBest(tmp_path)], verbose=0)


def test_a_training_that_kept_nothing_says_so_instead_of_ending_quietly(tmp_path):
    train = make_batches(4)
    train.photos = np.full(train.photos.shape, np.nan, np.float32)
    train.draw_sample = lambda place: {
        "photo": train.photos[0],
        "mask": np.ones((32, 32, 1), np.float32),
        "edges": np.ones((32, 32, 1), np.float32),
    }
    used = [keras.callbacks.TerminateOnNaN(), SaveBest(tmp_path)]
    with pytest.raises(RuntimeError, match="No networks were kept: no epoch ended with a finite val_hole_l1"):
        build_tiny_gan().fit(train, validation_data=train, epochs=2, callbacks=used, verbose=0)


def test_cosine_starts_at_the_rate_and_ends_near_zero_and_resumes_by_the_epoch_alone():
    plan = plan_learning_rate("cosine", 1e-3, epochs=4)
    rates = [plan.schedule(epoch, 123.0) for epoch in range(4)]
    assert rates == pytest.approx([1e-3, 0.8536e-3, 0.5e-3, 0.1464e-3], rel=1e-3)


def test_plateau_is_keras_own_and_another_plan_is_refused():
    plan = plan_learning_rate("plateau", 1e-3, epochs=4, patience=3, monitor="loss", mode="min")
    assert type(plan) is keras.callbacks.ReduceLROnPlateau and (plan.patience, plan.factor) == (3, 0.5)
    with pytest.raises(ValueError, match="learning_rate_decay is 'linear', expected 'plateau' or 'cosine'"):
        plan_learning_rate("linear", 1e-3, epochs=4)


class Poisoned(type(VALIDATION)):
    """Batches one of which holds a NaN."""

    def __getitem__(self, number):
        batch = {name: part.astype(np.float32) for name, part in super().__getitem__(number)[0].items()}
        if (self.epoch, number) == (1, 1):
            batch["photo"][0, 0, 0, 0] = np.nan
        return (batch,)


def test_a_nan_in_one_batch_ends_the_training_with_a_message_and_the_last_good_weights(tmp_path, capsys):
    good, kept = {}, []
    train = Poisoned(make_batches(4).photos, batch_size=4)

    def remember(epoch, logs):
        if epoch == 0:
            kept.extend(path.read_bytes() for path in map(tmp_path.joinpath, BOTH))
            good.update(np.load(tmp_path / "resume.npz"))

    gan = build_tiny_gan()
    used = [*as_in_the_notebooks(tmp_path, train), AtEpochEnd(remember)]
    gan.fit(train, validation_data=VALIDATION, epochs=4, callbacks=used, verbose=0)
    assert "Invalid loss" in capsys.readouterr().out and not np.isfinite(read_weights(gan)[0]).all()
    assert [row["epoch"] for row in read_history(tmp_path)] == ["1", "2"]
    assert kept == [(tmp_path / name).read_bytes() for name in BOTH]
    backup = np.load(tmp_path / "resume.npz")
    assert json.loads(str(backup["state"]))["epoch"] == 1
    assert all(
        np.array_equal(backup[name], good[name]) and np.isfinite(good[name]).all() for name in good if name != "state"
    )


def test_a_full_disk_is_reported_and_leaves_the_last_good_files(tmp_path, capsys, monkeypatch):
    real, kept = files.os.replace, []

    def fill_disk(epoch, logs):
        if epoch == 0:
            kept.extend((tmp_path / name).read_bytes() for name in (*BOTH, "history.csv", "resume.npz"))

            def fail(part, path):
                raise OSError(errno.ENOSPC, "No space left on device")

            monkeypatch.setattr(files.os, "replace", fail)

    gan = build_tiny_gan()
    train = make_batches(4)
    used = [*as_in_the_notebooks(tmp_path, train), AtEpochEnd(fill_disk)]
    gan.fit(train, validation_data=VALIDATION, epochs=3, callbacks=used, verbose=0)
    monkeypatch.setattr(files.os, "replace", real)
    said = capsys.readouterr().out
    for name in (*BOTH, "history.csv", "training.png", "resume.npz"):
        assert f"Could not write {tmp_path / name} ([Errno 28] No space left on device): training goes on" in said
    assert kept[:3] == [(tmp_path / name).read_bytes() for name in (*BOTH, "history.csv")]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".part")]


LIMITED = """
import resource, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
import keras
from tiny import build_tiny_generator
from inpaint_utils.training.callbacks import write_or_report
from inpaint_utils.files import save_model, write_atomically
folder, model = Path(sys.argv[1]), build_tiny_generator()
assert write_or_report(save_model, model, folder / "best.keras")
before = (folder / "best.keras").read_bytes()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
assert not write_or_report(save_model, model, folder / "best.keras")
assert not write_or_report(write_atomically, folder / "resume.npz", b"0" * 5000)
assert (folder / "best.keras").read_bytes() == before and [p.name for p in folder.iterdir()] == ["best.keras"]
print("kept")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits on file sizes are POSIX")
def test_a_write_that_really_fails_half_way_leaves_the_old_file_and_no_part(tmp_path):
    here = Path(__file__).parent
    command = [sys.executable, "-c", LIMITED, tmp_path, here, here.parent]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.endswith("kept\n"), done.stdout + done.stderr
    assert done.stdout.count("Could not write") == 2


@pytest.mark.parametrize("make", [TrainingMonitor, SaveBest, lambda folder, batches: Resume(folder, batches)])
def test_a_folder_that_cannot_be_written_to_ends_the_training_before_it_starts(tmp_path, make):
    (tmp_path / "file").write_text("")
    extra = (VALIDATION[0][0],) if make is TrainingMonitor else () if make is SaveBest else (VALIDATION,)
    callback = make(tmp_path / "file" / "folder", *extra)
    with pytest.raises(OSError, match=r"Nothing can be written to '.*folder' .*choose another output folder"):
        callback.on_train_begin()


def test_a_read_only_folder_is_named(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(files, "open", fail, raising=False)
    with pytest.raises(OSError, match="Nothing can be written to .*Read-only file system"):
        SaveBest(tmp_path).on_train_begin()
    assert not list(tmp_path.iterdir())


def test_the_time_budget_ends_in_time_and_a_later_run_ends_where_an_unlimited_one_would(tmp_path, capsys):
    whole, _, _ = train_in(tmp_path / "whole", epochs=3)
    gan, used, history = train_in(tmp_path / "parts", epochs=3, max_hours=1e-9)
    assert len(history.history["loss"]) == 1 and (tmp_path / "parts" / "resume.npz").is_file()
    assert (
        "Ending after epoch 1: the next would pass max_hours = 1e-09. Run again to continue." in capsys.readouterr().out
    )
    assert all((tmp_path / "parts" / name).is_file() for name in BOTH)
    again, used, history = train_in(tmp_path / "parts", epochs=3, gan=build_tiny_gan())
    assert len(history.history["loss"]) == 2 and len(used[3].rows) == 3
    assert same_bits(read_weights(whole), read_weights(again))


class Average(keras.callbacks.Callback):
    """The exponential moving average of the generator's weights, computed anew from the weights of every step."""

    def on_train_begin(self, logs=None):
        self.values = None

    def on_train_batch_end(self, batch, logs=None):
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()
        now = [weight.astype("float64") for weight in self.model.generator.get_weights()]
        old = now if self.values is None else self.values
        self.values = [0.9 * a + 0.1 * b for a, b in zip(old, now, strict=True)]


def test_averaged_weights_are_validated_and_kept_and_survive_a_resume(tmp_path):
    def build():
        return build_tiny_gan(ThrottledAdam(1e-2, use_ema=True, ema_momentum=0.9))

    average = Average()
    train_in(tmp_path / "whole", gan=build(), averaged=True, extra=[average])
    rows = read_history(tmp_path / "whole")
    assert min(rows, key=lambda row: float(row["val_hole_l1"])) == rows[-1]  # what is kept is the last epoch's
    kept = keras.models.load_model(tmp_path / "whole" / BOTH[0], compile=False)
    for ours, reference in zip(kept.get_weights(), average.values, strict=True):
        np.testing.assert_allclose(ours, reference, atol=1e-6)
    gan = build_tiny_gan()
    gan.generator.set_weights(kept.get_weights())
    assert float(rows[-1]["val_hole_l1"]) == pytest.approx(
        gan.evaluate(VALIDATION, verbose=0, return_dict=True)["hole_l1"], rel=1e-5
    )

    train_in(tmp_path / "parts", gan=build(), averaged=True, max_hours=1e-9)
    train_in(tmp_path / "parts", gan=build(), averaged=True)
    resumed = keras.models.load_model(tmp_path / "parts" / BOTH[0], compile=False)
    assert same_bits(kept.get_weights(), resumed.get_weights())


def test_the_time_budget_reckons_with_the_longest_epoch(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(callbacks.time, "perf_counter", lambda: clock[0])
    budget = TimeBudget(max_hours=10)
    budget.set_params({"epochs": 100})
    budget.set_model(build_tiny_gan())
    budget.model.stop_training = False
    budget.on_train_begin()
    ended = []
    for epoch, hours in enumerate([1, 2.5, 1, 1, 1, 1, 1]):
        budget.on_epoch_begin(epoch)
        clock[0] += hours * 3600
        budget.on_epoch_end(epoch)
        ended.append(budget.model.stop_training)
    assert ended == [False] * 6 + [True]  # after 8.5 hours the next may take 2.5 again: over 10


def test_a_backup_of_other_settings_or_other_networks_is_refused(tmp_path):
    train_in(tmp_path, epochs=3, max_hours=1e-9)
    train, gan = make_batches(4), build_tiny_gan()
    with pytest.raises(ValueError, match="was made with seed = 0, but it is now 1: set it back"):
        gan.fit(train, callbacks=[Resume(tmp_path, train, settings={"seed": 1})], verbose=0)
    gan = build_tiny_gan()
    gan.add_weight(shape=(3,), name="more")
    with pytest.raises(ValueError, match="was made with other networks"):
        gan.fit(train, callbacks=[Resume(tmp_path, train, settings={"seed": 0})], verbose=0)
