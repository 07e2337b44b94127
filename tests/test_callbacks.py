"""Callbacks: history, best networks, time budget, and no accident that costs the last good weights."""

import csv
import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import nbclient
import nbformat
import numpy as np
import pytest
from matplotlib.figure import Figure
from tiny import build_tiny_gan, build_tiny_generator, make_batches, read_weights, same_bits

from inpaint_utils import InpaintingGAN, ThrottledAdam, files
from inpaint_utils.figures import SIDE_BY_SIDE, draw_curves, draw_side_by_side
from inpaint_utils.training import callbacks
from inpaint_utils.training.callbacks import SaveBest, TimeBudget, TrainingMonitor, describe_epoch, plan_learning_rate
from inpaint_utils.training.recipe import make_callbacks
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


def train_in(folder, epochs=3, gan=None, train=None, extra=(), **settings):
    """Train as the notebooks do; `extra` callbacks come first."""
    train, gan = train or make_batches(4), gan or build_tiny_gan()
    used = [*extra, *make_callbacks(gan, folder, train, VALIDATION, epochs, **settings)[0]]
    history = gan.fit(train, validation_data=VALIDATION, epochs=epochs, callbacks=used, verbose=0)
    return gan, used, history


def read_history(folder):
    with open(folder / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    return folder, *train_in(folder)


def test_the_history_file_has_a_row_an_epoch_with_every_measure(finished):
    folder, _, used, history = finished
    rows = read_history(folder)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert set(rows[0]) == {"epoch", "seconds", *history.history} - {"val_duty"}
    assert {"duty", "discriminator_loss", "val_hole_l1", "learning_rate"} <= set(rows[0])
    assert [float(row["duty"]) for row in rows] == pytest.approx(history.history["duty"])
    assert used[3].rows[-1]["val_hole_l1"] == pytest.approx(history.history["val_hole_l1"][-1])
    assert (folder / "training.png").read_bytes().startswith(b"\x89PNG")


def test_a_discriminator_and_a_style_loss_are_judged_by_vgg19(tmp_path):
    image = keras.Input((None, None, 3))
    perceptual = keras.Model(image, [keras.layers.AveragePooling2D(side)(image) for side in (2, 4)])
    style = dict(perceptual=perceptual, perceptual_weight=1.0, style_weight=1.0)
    alone = InpaintingGAN(build_tiny_generator(), None, adversarial_weight=0, **style)
    alone.compile()
    for name, gan, expected in (
        ("both", build_tiny_gan(**style), "val_visual_distance"),
        ("no discriminator", alone, "val_distance"),
        ("no style", build_tiny_gan(**{**style, "style_weight": 0.0}), "val_distance"),
    ):
        gan, used, history = train_in(tmp_path / name, 1, gan, train=make_batches(1))
        decide = [callback.monitor for callback in used if hasattr(callback, "monitor")]
        assert decide == [expected] * 4
        assert used[4].best == pytest.approx(history.history[expected][0])


def test_the_best_networks_open_with_plain_keras_and_score_as_told(finished):
    folder, _, used, history = finished
    best = used[4]
    assert best.best_epoch == 1 + int(np.argmin(history.history["val_distance"]))
    opened = build_tiny_gan()
    for network, name in zip((opened.generator, opened.discriminator), BOTH, strict=True):
        network.set_weights(keras.models.load_model(folder / name, compile=False).get_weights())
    measured = opened.evaluate(VALIDATION, verbose=0, return_dict=True)["hole_l1"]
    assert measured == pytest.approx(history.history["val_hole_l1"][best.best_epoch - 1], rel=1e-5)


def test_a_complete_training_leaves_five_files(finished):
    names = sorted(path.name for path in finished[0].iterdir())
    assert names == sorted([*BOTH, "history.csv", "resume.npz", "training.png"])


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


@pytest.mark.parametrize(
    ("fails", "last", "left"),
    [("discriminator", 0.8, ["0.5", None]), ("generator", 1.2, ["1.0", "1.0"]), ("discriminator", 0.4, ["0.4", "0.4"])],
)
def test_after_a_failed_write_the_best_generator_and_its_own_judge_stay(
    tmp_path, monkeypatch, capsys, fails, last, left
):
    def save(network, path):
        if (fails, value) == (network, 0.5):
            raise OSError(errno.ENOSPC, "No space left on device")
        path.write_text(str(value))

    monkeypatch.setattr(callbacks, "save_model", save)
    best = SaveBest(tmp_path, monitor="measure")
    best.set_model(SimpleNamespace(generator="generator", discriminator="discriminator"))
    best.on_train_begin()
    for epoch, value in enumerate([1.0, 0.5, last]):  # noqa: B007
        best.on_epoch_end(epoch, {"measure": value})
    paths = [tmp_path / name for name in BOTH]
    assert [path.read_text() if path.exists() else None for path in paths] == left
    assert best.best == float(left[0]) == [1.0, 0.5, last][best.best_epoch - 1]
    assert f"Could not write {tmp_path / fails}_best.keras ([Errno 28]" in capsys.readouterr().out


def test_networks_of_another_training_are_kept_without_resume_too(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(callbacks, "save_model", lambda network, path: files.write_atomically(path, network))
    for name in BOTH:
        (tmp_path / name).write_text("old")
    best = SaveBest(tmp_path, monitor="measure")
    best.set_model(SimpleNamespace(generator="new", discriminator="new"))
    best.on_train_begin()
    for epoch in range(2):
        best.on_epoch_end(epoch, {"measure": 1.0 - epoch})
    assert capsys.readouterr().out.count("The networks of an earlier training stay as generator_best.1.keras and") == 1
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        **dict.fromkeys(BOTH, "new"),
        **dict.fromkeys((name.replace(".", ".1.") for name in BOTH), "old"),
    }


def test_a_measure_that_is_not_in_the_history_is_named(tmp_path):
    with pytest.raises(ValueError, match="SaveBest looks at 'val_distance', but the history has only"):
        build_tiny_gan().fit(make_batches(4), epochs=1, callbacks=[SaveBest(tmp_path)], verbose=0)


def test_a_training_that_kept_nothing_says_so(tmp_path):
    train = make_batches(4)
    train.photos = np.full(train.photos.shape, np.nan, np.float32)
    train.draw_sample = lambda place: {
        "photo": train.photos[0],
        "mask": np.ones((32, 32, 1), np.float32),
        "edges": np.ones((32, 32, 1), np.float32),
    }
    used = [keras.callbacks.TerminateOnNaN(), SaveBest(tmp_path)]
    with pytest.raises(RuntimeError, match="No networks were kept: no epoch ended with a finite val_distance"):
        build_tiny_gan().fit(train, validation_data=train, epochs=2, callbacks=used, verbose=0)


def test_cosine_falls_to_near_zero_and_depends_on_the_epoch_alone():
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


def test_a_nan_ends_the_training_and_leaves_the_last_good_weights(tmp_path, capsys):
    good, kept = {}, []
    train = Poisoned(make_batches(4).photos, batch_size=4)

    def remember(epoch, logs):
        if epoch == 0:
            kept.extend(path.read_bytes() for path in map(tmp_path.joinpath, BOTH))
            good.update(np.load(tmp_path / "resume.npz"))

    gan = build_tiny_gan()
    used = [*make_callbacks(gan, tmp_path, train, VALIDATION, 4)[0], AtEpochEnd(remember)]
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
    used = [*make_callbacks(gan, tmp_path, train, VALIDATION, 3)[0], AtEpochEnd(fill_disk)]
    gan.fit(train, validation_data=VALIDATION, epochs=3, callbacks=used, verbose=0)
    monkeypatch.setattr(files.os, "replace", real)
    said = capsys.readouterr().out
    for name in (BOTH[0], "history.csv", "training.png", "resume.npz"):
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
def test_a_write_that_fails_half_way_leaves_the_old_file_and_no_part(tmp_path):
    here = Path(__file__).parent
    command = [sys.executable, "-c", LIMITED, tmp_path, here, here.parent]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.endswith("kept\n"), done.stdout + done.stderr
    assert done.stdout.count("Could not write") == 2


@pytest.mark.parametrize("make", [TrainingMonitor, SaveBest, lambda folder, batches: Resume(folder, batches)])
def test_an_unwritable_folder_ends_the_training_before_it_starts(tmp_path, make):
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


def test_the_time_budget_ends_in_time_and_a_later_run_goes_on(finished, tmp_path, capsys):
    whole = finished[1]  # the same training, in one piece
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
        self.values, self.steps = None, 0

    def on_train_batch_end(self, batch, logs=None):
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()
        now = [weight.astype("float64") for weight in self.model.generator.get_weights()]
        old = now if self.values is None else self.values
        kept = min(0.5, (1 + self.steps) / (10 + self.steps))
        self.values = [kept * a + (1 - kept) * b for a, b in zip(old, now, strict=True)]
        self.steps += 1


def test_averaged_weights_are_validated_and_kept_and_survive_a_resume(tmp_path):
    def build():
        return build_tiny_gan(ThrottledAdam(1e-2, use_ema=True, ema_momentum=0.5))

    average = Average()
    trained, _, _ = train_in(tmp_path / "whole", epochs=6, gan=build(), extra=[average])
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

    assert average.steps > 9, "so many steps that the momentum has reached its own value"
    assert same_bits(kept.get_weights(), trained.generator.get_weights())

    gan, _, _ = train_in(tmp_path / "parts", epochs=6, gan=build(), max_hours=1e-9)
    ended = keras.models.load_model(tmp_path / "parts" / BOTH[0], compile=False)
    assert same_bits(ended.get_weights(), gan.generator.get_weights()), "also where it ends before its last epoch"
    train_in(tmp_path / "parts", epochs=2, gan=build())  # complete, and then given more epochs
    gan, _, _ = train_in(tmp_path / "parts", epochs=6, gan=build())
    resumed = keras.models.load_model(tmp_path / "parts" / BOTH[0], compile=False)
    assert same_bits(kept.get_weights(), resumed.get_weights())
    again, _, _ = train_in(tmp_path / "parts", epochs=6, gan=build())  # trains nothing
    assert same_bits(kept.get_weights(), again.generator.get_weights())


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


def test_of_several_processes_the_first_decides_when_to_end(monkeypatch):
    multihost = pytest.importorskip("jax.experimental.multihost_utils")
    monkeypatch.setattr(callbacks, "find_process", lambda: (1, 2))
    for first_says, hours in ((0.0, 1e-9), (1.0, 1000)):  # against its own clock
        asked = []
        answer = lambda ours, asked=asked, said=first_says: asked.append(ours) or np.asarray(said)  # noqa: E731
        monkeypatch.setattr(multihost, "broadcast_one_to_all", answer)
        budget = TimeBudget(hours)
        budget.set_params({"epochs": 2})
        budget.set_model(SimpleNamespace(stop_training=False))
        budget.on_train_begin()
        for epoch in range(2):
            budget.on_epoch_begin(epoch)
            budget.on_epoch_end(epoch)
        assert asked == [hours < 1] and budget.model.stop_training == bool(first_says)


# What is seen of a training


def test_without_a_viewer_there_is_one_printed_line_an_epoch(tmp_path, capfd):
    train_in(tmp_path, epochs=2)
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert [line[:11] for line in lines] == ["epoch   1/2", "epoch   2/2"] and "|" not in err
    for words in ("generator ", "discriminator ", " on 100% of steps", "validation distance "):
        assert words in lines[0]


ROW = {"epoch": 3, "generator_loss": 9.5, "discriminator_loss": 0.7, "duty": 0.5, "val_distance": 0.05, "seconds": 2}


def test_a_line_leaves_out_what_is_switched_off():
    gan = SimpleNamespace(discriminator=object())
    assert "discriminator 0.700 on  50% of steps" in describe_epoch(ROW, 20, gan)
    line = describe_epoch(ROW, 20, SimpleNamespace(discriminator=None))
    assert line == "epoch   3/20  generator  9.500  validation distance 0.05000    2 s"
    assert "validation hole L1 0.1000" in describe_epoch({**ROW, "val_hole_l1": 0.1}, 20, gan, "val_hole_l1")


def test_a_line_of_a_long_training_fits_into_jupyterlab():
    """104 characters are what its output has room for in a window of 1280 pixels, beside the list of files."""
    row = {**ROW, "epoch": 100, "generator_loss": 43.5989, "duty": 1.0, "val_distance": 43.5989, "seconds": 100}
    assert len(describe_epoch(row, 100, SimpleNamespace(discriminator=object()))) <= 104


def test_in_a_notebook_bar_and_lines_are_one_text_that_is_replaced(tmp_path, monkeypatch):
    shown = []

    def show(content, display=None):
        shown.append((content, display))
        return display or f"display {len(shown)}"

    monkeypatch.setattr(callbacks, "is_interactive", lambda: True)
    monkeypatch.setattr(callbacks, "is_notebook", lambda: True)
    monkeypatch.setattr(callbacks, "show_live", show)
    train_in(tmp_path, epochs=2)
    texts = [content for content, _ in shown if isinstance(content, str)]
    assert "epoch 1/2" in texts[0] and "step 0/4" in texts[0] and "left" in texts[0]
    last_of_first = next(text for text in texts if text.startswith("epoch   1/2"))
    assert len(last_of_first.splitlines()) == 2 and "step 2/4" in last_of_first.splitlines()[1]
    assert [line[:11] for line in texts[-1].splitlines()] == ["epoch   1/2", "epoch   2/2"]  # the bar is gone
    assert len({display for _, display in shown if display}) == 2  # one for the text, one for the pictures
    assert [display for _, display in shown].count(None) == 2


IN_A_NOTEBOOK = """
import sys; sys.path[:0] = {paths!r}
import inpaint_utils.quiet
from tiny import build_tiny_gan, make_batches
from inpaint_utils import make_callbacks
train, validation, gan = make_batches(4), make_batches(4, fixed=True), build_tiny_gan()
used, monitor, best = make_callbacks(gan, {folder!r}, train, validation, 3)
gan.fit(train, validation_data=validation, epochs=3, callbacks=used, verbose=0);
"""


def test_a_real_notebook_shows_one_text_and_one_picture(tmp_path, monkeypatch):
    here = Path(__file__).parent
    monkeypatch.delenv("INPAINT_HEADLESS")
    code = IN_A_NOTEBOOK.format(paths=[str(here), str(here.parent)], folder=str(tmp_path))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(notebook, kernel_name="python3", timeout=300).execute()
    outputs = notebook.cells[0].outputs
    assert [output.output_type for output in outputs] == ["display_data"] * 2
    lines = outputs[0].data["text/plain"].splitlines()
    assert [line[:11] for line in lines] == ["epoch   1/3", "epoch   2/3", "epoch   3/3"]
    assert "image/jpeg" in outputs[1].data


@pytest.mark.parametrize("last", [1, 2, 7])
def test_training_curves_are_labelled_in_words_with_whole_epochs(last):
    row = {"generator_loss": 3.0, "val_generator_loss": 4.0, "hole_l1": 0.1, "val_hole_l1": 0.2}
    rows = [{**row, "epoch": epoch, "discriminator_loss": 0.6, "duty": 1.0} for epoch in range(1, last + 1)]
    figure = Figure()
    draw_curves(figure, rows)
    labels = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in figure.axes]
    assert labels == [["training", "validation"], ["training", "validation"], ["loss", "duty cycle"]]
    assert all(float(tick).is_integer() for axes in figure.axes for tick in axes.get_xticks())
    assert all(np.ptp(axes.get_xlim()) < last + 1 for axes in figure.axes)


def test_training_curves_ring_the_best_epoch_in_the_panel_of_what_decides():
    """With texture hole error and loss may rise while the distance falls, and the distance chooses the epoch."""
    row = {"generator_loss": 3.0, "val_generator_loss": 4.0, "hole_l1": 0.1, "val_hole_l1": 0.2, "distance": 5.0}
    rows = [{**row, "epoch": epoch, "val_distance": value} for epoch, value in ((1, 6.0), (2, 5.2), (3, 5.5))]
    judged = [{**row, "discriminator_loss": 0.6, "duty": 1.0} for row in rows]
    for history, decides, titles, panel, ring in (
        (judged, "val_distance", ["generator loss", "mean error inside the hole", "distance, decides"], 2, (2, 5.2)),
        (rows, "val_distance", ["generator loss, decides", "mean error inside the hole"], 0, (2, 4.0)),
        (judged, "val_hole_l1", ["generator loss", "mean error inside the hole, decides"], 1, (1, 0.2)),
    ):
        figure = Figure()
        draw_curves(figure, history, decides)
        shown = [axes.get_title(loc="left") for axes in figure.axes]
        assert shown == titles + ["discriminator"] * (history is judged)
        rings = {
            i: line for i, axes in enumerate(figure.axes) for line in axes.get_lines() if line.get_fillstyle() == "none"
        }
        assert list(rings) == [panel] and tuple(float(part[0]) for part in rings[panel].get_data()) == ring


def test_two_trainings_stand_side_by_side_with_chance_and_their_fills():
    unbalanced = {"loss": [2.0, 3.0], "discriminator_loss": [0.6, 0.2], "duty": [1.0, 1.0]}
    unbalanced |= {"adversarial": [0.9, 2.5], "val_hole_l1": [0.28, 0.31]}
    balanced = {**unbalanced, "discriminator_loss": [0.7, 0.6], "val_hole_l1": [0.28, 0.22]}
    pictures, columns = [np.zeros((8, 8, 3))] * 3, ["hole", "unbalanced", "balanced"]
    figure = draw_side_by_side({"unbalanced": unbalanced, "balanced": balanced}, pictures, columns)
    curves, shown = figure.axes[:4], figure.axes[4:]
    assert [axes.get_title(loc="left") for axes in curves] == list(SIDE_BY_SIDE.values())
    lines = [[list(line.get_ydata()) for line in axes.get_lines()[:2]] for axes in curves]
    assert lines == [[unbalanced[name], balanced[name]] for name in SIDE_BY_SIDE]
    chance = curves[0].get_lines()[2]
    assert chance.get_linestyle() == "--" and set(chance.get_ydata()) == {0.693}
    assert [axes.get_title() for axes in shown] == columns
    for broken in ({**balanced, "duty": [1.0]}, {name: balanced[name] for name in balanced if name != "val_hole_l1"}):
        with pytest.raises(ValueError, match="the history of 'balanced' has . epochs of .*, expected 2: train"):
            draw_side_by_side({"unbalanced": unbalanced, "balanced": broken}, pictures)
