"""Kill -9 at every dangerous moment: the resumed training ends with the very weights of one left in peace."""

import csv
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tiny  # noqa: F401  (its initializer, which the saved networks name)
from worker import EPOCHS, POINTS

from conftest import QUICK_JAX

NO_JAX = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")


@pytest.fixture(scope="module", params=["tensorflow", pytest.param("jax", marks=NO_JAX)])
def folder(request, tmp_path_factory):
    """Train once in peace, in a process of its own, and once killed at every point in turn, then to the end."""
    folder = tmp_path_factory.mktemp(f"kill_{request.param}")
    environment = {**os.environ, **QUICK_JAX, "KERAS_BACKEND": request.param, "TF_CPP_MIN_LOG_LEVEL": "3"}
    # All of them compile the same step: JAX keeps the first one's.
    environment |= {"JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")}
    environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    for job, run in (("train", "whole"), ("kill", "killed")):
        (folder / run).mkdir()
        command = [sys.executable, Path(__file__).with_name("worker.py"), job, folder / run]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_all_numbers_are_those_of_the_uninterrupted_run_bit_for_bit(folder):
    whole, killed = (dict(np.load(folder / name / "final.npz")) for name in ("whole", "killed"))
    assert whole.keys() == killed.keys()
    assert [name for name in whole if whole[name].tobytes() != killed[name].tobytes()] == []


def test_the_history_is_that_of_the_uninterrupted_run(folder):
    def read(name):
        with open(folder / name / "history.csv", newline="") as file:
            return [{key: row[key] for key in row if key != "seconds"} for row in csv.DictReader(file)]

    assert len(read("whole")) == EPOCHS and read("whole") == read("killed")
    assert len({row["learning_rate"] for row in read("whole")}) > 1  # ReduceLROnPlateau did count
    assert 0 < float(read("whole")[-1]["duty"]) < 1  # and so did the throttle


def test_the_callbacks_counted_on(folder):
    whole, killed = (json.loads((folder / name / "counters.json").read_text()) for name in ("whole", "killed"))
    assert whole == killed


def test_the_best_networks_are_those_of_the_uninterrupted_run(folder):
    for name in ("generator_best.keras", "discriminator_best.keras"):
        whole, killed = (keras.models.load_model(folder / run / name, compile=False) for run in ("whole", "killed"))
        assert all(np.array_equal(a, b) for a, b in zip(whole.get_weights(), killed.get_weights(), strict=True))


def test_a_backup_is_there_after_every_kill_and_nothing_is_left_over(folder):
    left = json.loads((folder / "left.json").read_text())
    assert all("resume.npz" in left[point] for point in POINTS)
    names = sorted(path.name for path in (folder / "killed").iterdir())
    assert "resume.npz" in names and not [name for name in names if name.startswith(".part_")]
    assert not [name for name in names if ".1." in name]  # the run that was killed first is no earlier training
