"""The scripts of tools/ refuse wrong input in one sentence, before they work."""

import json
import subprocess
import sys
import time
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import pytest
from tiny import build_tiny_features

from conftest import load_tool
from inpaint_utils.app.command import run_tool
from inpaint_utils.data.masks import create_mask
from inpaint_utils.data.photos import open_photos, prepare_photos, sample_photos
from inpaint_utils.files import save_model
from inpaint_utils.inference.inpaint import load_generator
from inpaint_utils.networks.models import build_generator

TOOLS = sorted((Path(__file__).parents[1] / "tools").glob("*.py"))
EXIT_THEMSELVES = ("publish_kaggle", "publish_model", "run_notebooks")  # the last runs without the package


@pytest.mark.parametrize("path", [path for path in TOOLS if path.stem not in EXIT_THEMSELVES], ids=lambda p: p.stem)
def test_every_script_ends_through_run_tool_and_takes_arguments(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("    run_tool(") == 1 and "argparse" in text


@pytest.mark.parametrize(
    ("main", "code"),
    [
        (lambda: None, None),
        (lambda: 1, 1),
        (lambda: create_mask((32, 32), kind="star"), "kind='star' is not a kind of mask: choose one of"),
        (lambda: open_photos("nowhere"), "does not exist; run notebook 01"),
        (lambda: Path("nowhere").read_bytes(), "No such file or directory: 'nowhere'"),
        (lambda: subprocess.run([sys.executable, "-c", "raise SystemExit(3)"], check=True), 3),
    ],
)
def test_a_script_ends_with_its_code_or_one_sentence(main, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        run_tool(main)
    assert stopped.value.code == code or code in stopped.value.code and "\n" not in stopped.value.code


def test_an_error_that_the_user_cannot_mend_keeps_its_traceback():
    with pytest.raises(ValueError, match="could not be broadcast"):
        run_tool(lambda: np.ones((2, 3)) + np.ones((4, 5)))


@pytest.fixture
def folders(tmp_path):
    """Two folders of photos, with links to different sample photos of the same names."""
    for name, step in (("a", 3), ("b", 4)):
        (tmp_path / name).mkdir()
        for index, path in enumerate(sample_photos()[::step][:6]):
            (tmp_path / name / f"{index}.jpg").symlink_to(path)
    return tmp_path


def test_a_training_that_goes_on_sees_the_photos_it_is_given(folders):
    tool = load_tool("train")
    common = ["--output", str(folders / "out"), "--image-size", "128"]
    seen = {}
    for name in ("a", "b", "a"):
        settings = tool.read_settings(["--photos", str(folders / name), *common])
        images = open_photos(tool.find_prepared(settings)).images.copy()
        assert np.array_equal(images, seen.setdefault(name, images)), name
    assert not np.array_equal(seen["a"], seen["b"])


def test_what_train_would_ignore_is_refused(folders, capsys, monkeypatch):
    read = load_tool("train").read_settings
    photos = sample_photos()[::3][:6]
    prepare_photos(photos, folders / "prepared", image_size=128, progress=False)
    given = ["--output", "out", "--photos", str(folders / "prepared")]
    assert read(given).photos == str(folders / "prepared")
    assert read([*given, "--image-size", "128"]).image_size == 128
    (folders / "file.json").write_text(json.dumps({"common": {"image_size": 256}, "trainings": {"first": {}}}))
    monkeypatch.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", "2")
    for arguments, message in (
        ([*given, "--image-size", "256"], "has photos prepared at 128 pixels: leave it out"),
        ([*given, "--settings", str(folders / "file.json"), "--training", "first"], "prepared at 128 pixels"),
        ([*given, "--training", "first"], "--training first needs --settings"),
        (["--output", "out", "--photos", str(folders / "a")], "is not prepared, expected the folder that notebook 1"),
    ):
        with pytest.raises(SystemExit):
            read(arguments)
        assert message in capsys.readouterr().err


def test_a_drawer_that_was_killed_does_not_stop_the_training_for_ever(monkeypatch):
    tool = load_tool("train")
    monkeypatch.setattr(tool, "LONGEST_DRAW", 0.01)
    with ThreadPool(1) as pool:
        monkeypatch.setattr(tool, "draw", lambda *_: time.sleep(0.5))
        batches = tool.DrawnElsewhere(np.zeros((4, 32, 32, 3), np.uint8), batch_size=2, pool=pool, number=0)
        with pytest.raises(RuntimeError, match="has not drawn a batch in 0.01 s.* start again with fewer"):
            batches[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--size", "200"], "--size is 200, expected a multiple of 128"), (["--photos", "12 GP"], "in none of the names")],
)
def test_the_benchmark_refuses_what_it_cannot_measure(arguments, message, capsys):
    with pytest.raises(SystemExit):
        load_tool("bench_inference").main(arguments)
    assert message in capsys.readouterr().err


def test_ingredients_are_compared_and_a_killed_comparison_goes_on(tmp_path, monkeypatch, capsys):
    tool = load_tool("compare_ingredients")
    study = json.loads((tool.RESULTS / "settings.json").read_text(encoding="utf-8"))
    study["photos"] |= {"image_size": 128, "validation_share": 0.4}
    study["common"] |= {"batch_size": 2, "samples": 4, "epochs": 1, "judged_size": 96, "precision": "float32"}
    study |= {"measured_photos": 2, "shown": {"style_alone_0": "alone"}}
    study["runs"] = {name: study["runs"][name] for name in ("style_alone_0", "no_noise")}
    for name in ("results", "outputs", "photos"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(tool, name.upper(), tmp_path / name, raising=False)
    (tmp_path / "results" / "settings.json").write_text(json.dumps(study))
    monkeypatch.setattr("inpaint_utils.evaluation.evaluate.FEWEST_PHOTOS", 2)
    monkeypatch.setattr(tool, "build_perceptual", lambda *_: build_tiny_features())
    for path in sample_photos()[:6]:
        (tmp_path / "photos" / path.name).symlink_to(path)
    save_model(build_generator(None, 2, noise=False), tmp_path / "start.keras")
    given = [str(tmp_path / "photos"), "--start", str(tmp_path / "start.keras"), "--chosen-by", "val_hole_l1"]

    tool.main([*given, "no_noise"])
    out, errors = capsys.readouterr()
    assert "fills.jpg stays as it is: style_alone_0 were not trained here" in out and "photo/s" not in errors
    (tmp_path / "results" / "no_noise.json").unlink()  # as if killed while measuring
    tool.main(given)

    assert (tmp_path / "results" / "fills.jpg").is_file()
    assert len((tmp_path / "outputs" / "no_noise" / "history.csv").read_text().splitlines()) == 2, "trained once"
    cells = {}
    for name in study["runs"]:
        result = json.loads((tmp_path / "results" / f"{name}.json").read_text(encoding="utf-8"))
        assert result["settings"] == {**study["common"], **study["runs"][name]}
        trained = load_generator(tmp_path / "outputs" / name / "generator_last.keras")
        assert any("noise" in layer.name for layer in trained.layers) == (name != "no_noise")
        cells[name] = result.pop("cells")
        chosen = json.loads((tmp_path / "results" / "chosen" / f"{name}.json").read_text(encoding="utf-8"))
        assert chosen == {"epoch": 1, "by": "val_hole_l1", "measured": result["measured"], "cells": cells[name]}
        assert len(cells[name]) == 4 and all(row[measure] > 0 for row in cells[name] for measure in tool.MEASURES)
    assert cells["style_alone_0"] != cells["no_noise"]

    study["runs"]["no_noise"] |= {"style_weight": 50.0}
    (tmp_path / "results" / "settings.json").write_text(json.dumps(study))
    before = (tmp_path / "results" / "no_noise.json").read_bytes()
    with pytest.raises(ValueError, match="no_noise holds a training with other settings: delete it to train anew"):
        tool.main([*given, "no_noise"])
    assert (tmp_path / "results" / "no_noise.json").read_bytes() == before
