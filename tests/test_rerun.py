"""A training that is run again: nothing finished is lost, and no changed setting is ignored."""

import contextlib
import errno
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure
from tiny import build_tiny_gan, build_tiny_generator, make_batches, make_photos, read_weights, same_bits

from conftest import QUICK_JAX
from inpaint_utils import InpaintingGAN, PhotoBatches, ThrottledAdam, files
from inpaint_utils.training import callbacks, resume
from inpaint_utils.training.callbacks import SaveBest
from inpaint_utils.training.recipe import make_callbacks

VALIDATION = make_batches(4, fixed=True)
FILES = ("generator_best.keras", "discriminator_best.keras", "history.csv")
ALL = (*FILES, "resume.npz", "training.png")


def train_in(folder, epochs, gan=None, train=None, validation=VALIDATION, extra=(), **settings):
    """Train as the notebooks do; returns the GAN, the monitor and what keeps the best."""
    train, gan = train or make_batches(4), gan or build_tiny_gan()
    used, monitor, best = make_callbacks(gan, folder, train, validation, epochs, **settings)
    gan.run_eagerly = True  # tracing would take longest; test_resume.py does without
    gan.fit(train, validation_data=validation, epochs=epochs, callbacks=[*used, *extra], verbose=0)
    return gan, monitor, best


def start_again(folder, epochs=3, gan=None, train=None):
    """What a training that is run again finds, without training: the epoch it would start after."""
    gan, train = gan or build_tiny_gan(), train or make_batches(4)
    used, _, _ = make_callbacks(gan, folder, train, VALIDATION, epochs)
    for callback in used:
        callback.set_model(gan)
        callback.set_params({"epochs": epochs})
        callback.on_train_begin()
    return gan._initial_epoch


def edit_state(folder, change):
    """Change the JSON part of a backup."""
    with np.load(folder / "resume.npz") as backup:
        parts = dict(backup)
    state = json.loads(str(parts.pop("state")))
    change(state)
    np.savez(folder / "resume.npz", state=json.dumps(state), **parts)


def read_files(folder, names=FILES, number=None):
    """Contents of files, of those that were set aside under a number."""
    names = [name.replace(".", f".{number}.") for name in names] if number else names
    return [(folder / name).read_bytes() for name in names]


@pytest.fixture(scope="module")
def both_stages(tmp_path_factory):
    """Folders of one training: ended by its time budget after epoch 1 of 3, and complete."""
    begun, complete = tmp_path_factory.mktemp("begun"), tmp_path_factory.mktemp("complete")
    train_in(begun, 3, max_hours=1e-9)
    shutil.copytree(begun, complete, dirs_exist_ok=True)
    train_in(complete, 3)
    return begun, complete


@pytest.fixture
def begun(both_stages, tmp_path):
    return shutil.copytree(both_stages[0], tmp_path / "begun")


@pytest.fixture
def complete(both_stages, tmp_path):
    return shutil.copytree(both_stages[1], tmp_path / "complete")


def test_a_complete_training_says_so_and_changes_no_file(complete, capsys):
    before = read_files(complete, ALL)
    gan, monitor, best = train_in(complete, 3)
    expected = "This training is complete (3 epochs, best 3): raise epochs to train on, or delete resume.npz to start"
    assert expected in capsys.readouterr().out
    assert read_files(complete, ALL) == before
    assert len(monitor.rows) == 3 and best.best == monitor.rows[2]["val_distance"]
    train_in(complete, 3, gan=gan)  # the same cell once more
    assert read_files(complete) == before[:3]


def test_a_changed_rate_of_a_complete_training_is_not_passed_over(complete, capsys):
    start_again(complete, gan=build_tiny_gan(ThrottledAdam(1e-4)))
    assert "Until then the changed learning_rate has no effect." in capsys.readouterr().out


def test_with_more_epochs_a_complete_training_goes_on_to_the_last_bit(complete, tmp_path):
    whole, _, _ = train_in(tmp_path / "whole", 4)
    gan, monitor, _ = train_in(complete, 4)
    assert [row["epoch"] for row in monitor.rows] == [1, 2, 3, 4]
    assert same_bits(read_weights(whole), read_weights(gan))


def test_with_more_patience_a_training_that_stopped_early_goes_on(tmp_path, capsys):
    def build():
        return build_tiny_gan(ThrottledAdam(1e-30))  # makes no progress

    _, monitor, _ = train_in(tmp_path, 9, gan=build(), patience=1)
    assert len(monitor.rows) == 2
    _, monitor, _ = train_in(tmp_path, 9, gan=build(), patience=1)
    assert "complete (2 epochs, best 1): raise epochs or patience" in capsys.readouterr().out and len(monitor.rows) == 2
    _, monitor, _ = train_in(tmp_path, 9, gan=build(), patience=2)
    assert len(monitor.rows) == 3


def test_fewer_epochs_than_are_trained_already_are_told(begun, capsys):
    edit_state(begun, lambda state: state.update(epoch=2))
    assert start_again(begun, epochs=1) == 2
    assert "epochs is 1, but 2 are trained already: raise it to train on." in capsys.readouterr().out


def test_a_new_training_keeps_the_files_of_the_earlier_one(complete, capsys):
    before = read_files(complete)
    for number in (1, 2):
        (complete / "resume.npz").unlink()
        train_in(complete, 1, gan=build_tiny_gan(ThrottledAdam(1e-3 * number)))
        assert f"stay as generator_best.{number}.keras and discriminator_best.{number}.keras" in capsys.readouterr().out
    assert read_files(complete, number=1) == before and (complete / "history.2.csv").is_file()
    assert len((complete / "history.csv").read_text().splitlines()) == 2


def test_beside_a_complete_training_one_with_other_settings_starts_anew(complete, capsys):
    before = read_files(complete, ALL)
    _, monitor, _ = train_in(complete, 1, train=make_batches(4, seed=1))
    said = capsys.readouterr().out
    assert "is complete and had seed = 0, but it is now 1: a new one starts, and keeps its networks." in said
    assert [row["epoch"] for row in monitor.rows] == [1]
    assert read_files(complete, ALL, number=1) == before
    assert start_again(complete, epochs=1, train=make_batches(4, seed=1)) == 1  # the new one is what counts now
    assert "This training is complete (1 epoch, best 1)" in capsys.readouterr().out


def test_without_a_discriminator_no_file_of_one_stays_beside_the_generator(tmp_path):
    (tmp_path / "discriminator_best.keras").write_bytes(b"of another training")
    best = SaveBest(tmp_path, monitor="measure")
    best.set_model(SimpleNamespace(generator=build_tiny_generator(), discriminator=None))
    best.on_train_begin()
    best.on_epoch_end(0, {"measure": 1.0})
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["discriminator_best.1.keras", "generator_best.keras"] and best.best == 1.0


def build_without_discriminator():
    gan = InpaintingGAN(build_tiny_generator(), adversarial_weight=0, perceptual_weight=0)
    gan.compile(optimizer=ThrottledAdam(1e-2))
    return gan


def test_a_gan_without_a_discriminator_is_shown_kept_and_resumed(tmp_path, capsys):
    train_in(tmp_path, 2, gan=build_without_discriminator(), max_hours=1e-9)
    _, monitor, _ = train_in(tmp_path, 2, gan=build_without_discriminator())
    assert [row["epoch"] for row in monitor.rows] == [1, 2] and "discriminator" not in capsys.readouterr().out
    assert (tmp_path / "training.png").is_file() and not (tmp_path / "discriminator_best.keras").exists()
    edit_state(tmp_path, lambda state: state.update(complete=False))
    with pytest.raises(ValueError, match="another discriminator: go back to it"):
        train_in(tmp_path, 3)


def test_a_lower_rate_and_other_weights_are_taken_and_told(begun, capsys):
    gan = build_tiny_gan(ThrottledAdam(1e-3), l1_weight=50.0, throttle_every=5)
    _, monitor, _ = train_in(begun, 3, gan=gan)
    said = capsys.readouterr().out
    for sentence in ("learning_rate was 0.01 and is 0.001", "l1_weight was 100.0 and is 50.0", "throttle_every was 3"):
        assert sentence in said
    assert [row["learning_rate"] for row in monitor.rows] == pytest.approx([1e-2, 1e-3, 1e-3])
    assert monitor.rows[1]["generator_loss"] < 0.7 * monitor.rows[0]["generator_loss"]


def test_where_the_measure_has_other_values_the_best_epoch_is_chosen_anew(begun, capsys):
    before = read_files(begun, callbacks.NETWORKS)
    gan = build_tiny_gan(l1_weight=500.0)
    _, monitor, best = train_in(begun, 3, gan=gan)
    assert "the best epoch is chosen anew." in capsys.readouterr().out
    assert best.best_epoch > 1 and best.best == min(row["val_distance"] for row in monitor.rows[1:])
    assert best.best > monitor.rows[0]["val_distance"], "by the old measure the old epoch would have stayed"
    assert read_files(begun, callbacks.NETWORKS, number=1) == before
    assert keras.models.load_model(begun / FILES[0], compile=False).get_weights()[0] != pytest.approx(
        keras.models.load_model(begun / "generator_best.1.keras", compile=False).get_weights()[0]
    )


@pytest.mark.parametrize("setting", [{"adversarial_weight": 3.0}, {"throttle_every": 5}])
def test_where_the_measure_stays_the_best_epoch_does_too(begun, capsys, setting):
    _, _, best = train_in(begun, 2, gan=build_tiny_gan(**setting))
    assert "chosen anew" not in capsys.readouterr().out and not (begun / "generator_best.1.keras").exists()
    assert best.best_epoch in (1, 2)


@pytest.mark.parametrize("policies", [("mixed_float16", "float32"), ("float32", "mixed_float16")])
def test_a_training_goes_on_in_another_precision(tmp_path, capsys, policies):
    for policy, hours in zip(policies, (1e-9, None), strict=True):  # what mixed_float16 adds is the scale of its loss
        keras.config.set_dtype_policy(policy)
        try:
            gan, monitor, _ = train_in(tmp_path, 3, max_hours=hours)
        finally:
            keras.config.set_dtype_policy("float32")
    said = capsys.readouterr().out
    assert f"precision was {policies[0]} and is {policies[1]} from here on." in said
    assert [row["epoch"] for row in monitor.rows] == [1, 2, 3] and int(gan.step) == 6
    assert monitor.rows[1]["val_distance"] < monitor.rows[0]["val_distance"]


def build_from_other_weights():
    gan = build_tiny_gan()
    gan.generator.set_weights(build_tiny_generator(seed=5).get_weights())
    return gan


REFUSED = {
    "batch size": ({"train": lambda: make_batches(2)}, "batch_size = 4, but it is now 2"),
    "seed": ({"train": lambda: make_batches(4, seed=1)}, "seed = 0, but it is now 1"),
    "masks": ({"train": lambda: make_batches(4, coverage=(0.2, 0.3))}, r"coverage = \[0.1, 0.5\], but it is now"),
    "photos": (
        {"train": lambda: PhotoBatches(make_photos(8, seed=3), batch_size=4)},
        "was made with other training photos: go back to them",
    ),
    "another split": (
        {"train": lambda: PhotoBatches(make_photos(8), [0, 1, 2, 3, 4, 5, 6, 6], batch_size=4)},
        "was made with other training photos",
    ),
    "validation": (
        {"validation": lambda: PhotoBatches(make_photos(8, seed=3), batch_size=4, fixed=True)},
        "was made with other validation photos",
    ),
    "networks": ({"gan": lambda: build_tiny_gan(dropout=0.5)}, "was made with another generator: go back to it"),
    "starting weights": ({"gan": build_from_other_weights}, "was made with other starting weights"),
    "averaging": (
        {"gan": lambda: build_tiny_gan(ThrottledAdam(1e-2, use_ema=True))},
        "callbacks = .*, but it is now .*SwapAverages",
    ),
    "decay": ({"decay": lambda: "cosine"}, "callbacks = .*ReduceLROnPlateau.*LearningRateScheduler"),
    "a setting of one's own": ({"settings": lambda: {"note": 1}}, "note = None, but it is now 1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_make_it_another_training_is_refused_by_name(begun, name):
    changed, words = REFUSED[name]
    before = read_files(begun, (*FILES, "resume.npz"))
    with pytest.raises(ValueError, match=words):
        train_in(begun, 3, **{key: make() for key, make in changed.items()})
    assert read_files(begun, (*FILES, "resume.npz")) == before


def test_after_a_backup_of_an_earlier_version_the_networks_are_kept(begun):
    edit_state(begun, lambda state: state.pop("training"))
    before = read_files(begun)
    with pytest.raises(ValueError, match="or of an earlier version .*: delete the file to start a new training, which"):
        start_again(begun)
    (begun / "resume.npz").unlink()
    train_in(begun, 1)
    assert read_files(begun, number=1) == before


def test_a_damaged_backup_is_named(begun):
    data = (begun / "resume.npz").read_bytes()
    damages = [data[: len(data) // 2], data[:2000] + bytes(400) + data[2400:], b"", b"\0" + data[1:]]
    damages += [data[:71] + bytes(4) + data[75:], data[:160] + b"4" * 20 + data[180:]]
    for damaged in damages:
        (begun / "resume.npz").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"resume\.npz' is damaged or .*: delete the file to start a new training"):
            start_again(begun)


@pytest.mark.parametrize(
    "change", [{"epoch": "x"}, {"variables": -1}, {"callbacks": [1]}, {"callbacks": []}, {"complete": None}]
)
def test_numbers_that_no_training_writes_are_damage(begun, change):
    edit_state(begun, lambda state: state.update(change))
    with pytest.raises(ValueError, match=r"resume\.npz' is damaged"):
        start_again(begun)


class Interrupt(keras.callbacks.Callback):
    """Press the stop button in the first epoch."""

    def on_train_batch_end(self, batch, logs=None):
        raise KeyboardInterrupt


def test_interrupted_in_the_first_epoch_it_says_what_it_goes_on_from(tmp_path, capsys):
    gan = build_tiny_gan()
    with pytest.raises(KeyboardInterrupt):
        train_in(tmp_path, 1, gan=gan, extra=[Interrupt()])
    train_in(tmp_path, 1, gan=gan)
    assert "These networks have already made 1 training step and go on from there" in capsys.readouterr().out


def test_a_run_that_is_stopped_in_its_first_epoch_changes_no_file(complete, capsys):
    before = read_files(complete, ALL)
    with pytest.raises(KeyboardInterrupt):
        train_in(complete, 1, train=make_batches(4, seed=1), extra=[Interrupt()])
    assert read_files(complete, ALL) == before and len(list(complete.iterdir())) == len(ALL)
    train_in(complete, 3)
    assert "This training is complete (3 epochs, best 3)" in capsys.readouterr().out


def train_until(moment, folder, epochs=1, **settings):
    """Train until `Resume` is about to do something for the first time, and end there as if killed."""

    def die(*args):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(resume.Resume, moment, die)
        train_in(folder, epochs, **settings)


def test_killed_before_its_first_backup_a_training_starts_again(complete, capsys):
    before = read_files(complete, ALL)
    for _ in range(2):
        train_until("on_epoch_end", complete, train=make_batches(4, seed=1))  # its networks are written
    train_in(complete, 1, train=make_batches(4, seed=1))
    assert "An earlier run ended before its first backup: this training starts again." in capsys.readouterr().out
    assert read_files(complete, ALL, number=1) == before and not list(complete.glob("*.2.*"))


def test_networks_of_a_killed_training_are_never_taken_for_anothers(complete, capsys):
    first, other = read_files(complete, ALL), make_batches(4, seed=1)
    train_until("on_epoch_end", complete, train=other)
    fragment = read_files(complete, ALL)
    assert fragment[0] != first[0] and read_files(complete, ALL, number=1) == first
    capsys.readouterr()
    _, monitor, best = train_in(complete, 3)
    said = capsys.readouterr().out
    assert "complete" not in said and "stay as generator_best.2.keras and discriminator_best.2.keras" in said
    assert len(monitor.rows) == best.best_epoch == 3 and read_files(complete, ALL, number=2) == fragment
    again = read_files(complete, ALL)
    train_in(complete, 1, train=other)
    said = capsys.readouterr().out
    assert "is complete and had seed = 0, but it is now 1" in said and "stay as generator_best.3.keras" in said
    assert [read_files(complete, ALL, number) for number in (1, 2, 3)] == [first, fragment, again]


def write_an_epoch(folder, train, until=None):
    """Write what a new training's first epoch writes; returns the names in order. Ends before file number `until`."""
    gan, names, real = build_tiny_gan(), [], os.replace
    used, _, _ = make_callbacks(gan, folder, train, VALIDATION, 2)

    def replace(part, path):
        if len(names) == until:
            raise KeyboardInterrupt
        names.append(Path(path).name)
        real(part, path)

    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(files.os, "replace", replace)
        patch.setattr(callbacks, "draw_training", lambda *args: Figure())
        for callback in used:
            callback.set_model(gan)
            callback.set_params({"epochs": 2})
            callback.on_train_begin()
        gan.stop_training = False
        for callback in used:
            callback.on_epoch_begin(0)
        for callback in used:
            callback.on_epoch_end(0, {"loss": 1.0, "val_distance": 1.0})
    return names


def test_a_kill_between_any_two_files_loses_none_and_mixes_none(complete, tmp_path, capsys):
    before, other = read_files(complete, ALL), make_batches(4, seed=1)
    order = write_an_epoch(shutil.copytree(complete, tmp_path / "whole"), other)
    assert order[-1] == "resume.npz" and order.count("resume.npz") == 2 and "resume.1.npz" in order
    for until, name in enumerate(order):
        folder = shutil.copytree(complete, tmp_path / f"until_{until}")
        assert write_an_epoch(folder, other, until) == order[:until]
        assert set(before) <= {path.read_bytes() for path in folder.iterdir()}, name
        capsys.readouterr()
        start_again(folder)
        ours = "This training is complete" in capsys.readouterr().out
        assert ours == (order[:until].count("resume.npz") == 0), name
        assert not ours or read_files(folder, ALL) == before, name


def fail(*args):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_where_nothing_can_be_set_aside_nothing_is_replaced(complete, capsys, monkeypatch):
    before = read_files(complete, ALL)
    monkeypatch.setattr(callbacks.os, "link", fail)
    monkeypatch.setattr(callbacks.shutil, "copy2", fail)
    with pytest.raises(RuntimeError, match="No networks were kept: .* a writable disk"):
        train_in(complete, 2, train=make_batches(4, seed=1))
    assert f"Could not write {complete} ([Errno 28]" in capsys.readouterr().out
    assert read_files(complete, ALL) == before and len(list(complete.iterdir())) == len(ALL)
    monkeypatch.setattr(callbacks.shutil, "copy2", shutil.copyfile)  # a disk without hard links
    train_in(complete, 1, train=make_batches(4, seed=1))
    assert read_files(complete, ALL, number=1) == before


def test_where_no_backup_can_be_written_nothing_is_replaced(complete, monkeypatch):
    before = read_files(complete, ALL)
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="No networks were kept"):
        patch.setattr(resume, "write_atomically", fail)
        train_in(complete, 2, train=make_batches(4, seed=1))
    assert read_files(complete, ALL) == read_files(complete, ALL, number=1) == before
    assert not list(complete.glob("*.2.*")) and start_again(complete) == 3


def test_without_a_backup_no_trained_networks_are_replaced(complete, monkeypatch, capsys):
    first, real = read_files(complete, ALL), resume.write_atomically

    def write(path, content):
        with np.load(io.BytesIO(content)) as backup:
            return fail() if json.loads(str(backup["state"]))["epoch"] else real(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(resume, "write_atomically", write)
        train_in(complete, 2, train=make_batches(4, seed=1))
    second = read_files(complete)
    assert second[0] != first[0] and not (complete / "resume.npz").exists()
    train_in(complete, 1)
    assert "This training is complete" not in capsys.readouterr().out
    assert read_files(complete, ALL, number=1) == first and read_files(complete, number=2) == second


def test_a_run_of_other_settings_that_ended_in_its_first_epoch_gives_way(tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt):
        train_in(tmp_path, 1, extra=[Interrupt()])
    train_in(tmp_path, 1, train=make_batches(4, seed=1))
    assert "earlier run" not in capsys.readouterr().out
    assert "complete" not in capsys.readouterr().out and start_again(tmp_path, 1, train=make_batches(4, seed=1)) == 1


ON_JAX = """
import sys; sys.path[:0] = sys.argv[2:]
from test_rerun import *
gan = build_tiny_gan(ThrottledAdam(1e-2, use_ema=True, ema_momentum=0.9))
try:
    train_in(Path(sys.argv[1]), 2, gan=gan, extra=[Interrupt()])
except KeyboardInterrupt:
    _, monitor, _ = train_in(Path(sys.argv[1]), 2, gan=gan)
    print(keras.backend.backend(), len(monitor.rows), "epochs")
"""


def test_an_interrupted_average_goes_on_with_jax(tmp_path):
    pytest.importorskip("jax")
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", ON_JAX, tmp_path, here, here.parent],
        env={**os.environ, **QUICK_JAX},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.endswith("jax 2 epochs\n"), done.stdout + done.stderr
