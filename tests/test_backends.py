"""TensorFlow, TensorFlow on two replicas, and JAX: the same losses, gradients, decisions, and files."""

import csv
import importlib.util
import json
import os
import runpy
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tiny

from conftest import QUICK_JAX
from inpaint_utils.data.photos import prepare_photos, sample_photos
from inpaint_utils.networks.models import build_discriminator, build_generator
from inpaint_utils.training.gan import METRICS

HERE = Path(__file__).parent
NO_JAX = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
REFERENCE = "tensorflow_1"
OTHERS = ["tensorflow_2", pytest.param("jax_1", marks=NO_JAX)]
ALL = [REFERENCE, *OTHERS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One process after another, so that few are in memory: each writes its losses and gradients of the same batch."""
    folder = tmp_path_factory.mktemp("backends")
    for network in (build_generator(128, 4, dropout=0.0), build_discriminator(None, 4)):
        network.save(folder / f"{network.name}.keras")
    names = [REFERENCE, "tensorflow_2"] + ["jax_1"] * (importlib.util.find_spec("jax") is not None)
    for name in names:
        backend, replicas = name.split("_")
        environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
        # Two replicas on one CPU are the tests' stand-in for two GPUs, which know no oneDNN. On some processors its
        # convolution of an empty batch, a replica's share of too few photos, comes out in the shape of its input.
        environment["TF_ENABLE_ONEDNN_OPTS"] = "0"
        command = [sys.executable, HERE / "worker.py", "compare", folder, replicas]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def read(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


@pytest.mark.parametrize("name", OTHERS)
def test_losses_agree(folder, name):
    ours, reference = read(folder, name)["losses"], read(folder, REFERENCE)["losses"]
    assert set(reference) == {*METRICS, "loss"} and reference["perceptual"] > 0.01
    assert ours == pytest.approx(reference, rel=1e-4)


@pytest.mark.parametrize("name", OTHERS)
def test_gradients_of_every_weight_agree(folder, name):
    ours, reference = np.load(folder / f"{name}.npz"), np.load(folder / f"{REFERENCE}.npz")
    assert sorted(ours) == sorted(reference) and len(reference.files) > 40
    for path in sorted(set(reference) - {"raw"}):
        size = np.linalg.norm(reference[path])
        assert size > 0 and np.linalg.norm(ours[path] - reference[path]) <= 1e-4 * size, path


@pytest.mark.parametrize("name", ALL)
def test_the_throttle_decides_alike_on_60_steps_around_its_threshold(folder, name):
    found = read(folder, name)
    losses, decisions = np.array(found["d_losses"]), found["decisions"]
    assert len(decisions) == 60 and np.count_nonzero(np.diff(losses < tiny.THRESHOLD)) >= 4
    too_strong = np.array([0.6931, *losses[:-1]]) < tiny.THRESHOLD
    assert decisions == [int(not strong or step % 3 == 0) for step, strong in enumerate(too_strong)]
    assert 20 < sum(decisions) < 60
    if name.startswith("tensorflow"):  # JAX rounds otherwise, and after some steps the losses part
        assert decisions == read(folder, REFERENCE)["decisions"]
        assert losses == pytest.approx(read(folder, REFERENCE)["d_losses"], rel=1e-2)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("name", ALL)
def test_mixed_precision_trains_with_float32_outputs_and_the_same_throttle(folder, name, policy):
    found = read(folder, name)[policy]
    assert all(np.isfinite(value) for value in found["losses"].values()) and found["weights_are_finite"]
    assert found["layer_dtype"] == policy.removeprefix("mixed_") and found["output_dtypes"] == ["float32"] * 2
    assert found["optimizer"] == ("LossScaleOptimizer" if policy == "mixed_float16" else "ThrottledAdam")
    assert found["losses"]["duty"] == pytest.approx(1 / 3)
    assert found["losses"]["l1"] == pytest.approx(read(folder, REFERENCE)[policy]["losses"]["l1"], rel=0.02)


@pytest.mark.parametrize("name", ALL)
def test_fewer_photos_than_replicas_can_be_evaluated(folder, name):
    ours, reference = (read(folder, which)["mixed_bfloat16"]["alone"] for which in (name, REFERENCE))
    assert ours["hole_l1"] == pytest.approx(reference["hole_l1"], rel=0.05) and np.isfinite(ours["loss"])


def test_the_notebooks_train_and_go_on_where_two_gpus_are_found(tmp_path):
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, HERE / "worker.py", "notebooks", tmp_path]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tensorflow on 2 GPUs" in done.stdout and "Continuing after epoch 1" in done.stdout
    for name, epochs in (("02_model_training", 2), ("03_model_finetuning", 1)):
        assert len((tmp_path / name / "history.csv").read_text().splitlines()) == 1 + epochs
        assert (tmp_path / name / "generator_best.keras").is_file() and (tmp_path / name / "training.png").is_file()


@NO_JAX
def test_generator_files_are_interchangeable(folder):
    ours, jax = (np.load(folder / f"{name}.npz")["raw"] for name in (REFERENCE, "jax_1"))
    np.testing.assert_allclose(ours, jax, atol=1e-5)  # JAX opened the file that TensorFlow wrote
    generator = keras.models.load_model(folder / "from_jax.keras", compile=False)
    image = np.full((1, 128, 128, 4), 0.5, "float32")
    assert np.isfinite(generator.predict_on_batch(image)).all()
    assert [w.shape for w in generator.weights] == [w.shape for w in build_generator(128, 4).weights]
    assert tiny.NETWORKS[0] == generator.name


SCRIPT = HERE.parent / "tools" / "train.py"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, without_tensorflow):
    """Train by the documented commands: as two processes on loopback that share every batch, then as one."""
    folder = tmp_path_factory.mktemp("processes")
    settings = dict(image_size=128, limit=18, progress=False)  # 12 to train, 4 to validate
    prepare_photos(sample_photos(), folder / "photos", **settings)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = ["--base-filters", "4", "--batch-size", "4", "--epochs", "2", "--vgg19-weights", "none"]
    address = {"KERAS_DISTRIBUTION_JOB_ADDRESSES": f"127.0.0.1:{port}", "KERAS_DISTRIBUTION_NUM_PROCESSES": "2"}
    # Without any optimization XLA exchanges each gradient by itself, which takes seconds a step.
    quick = {"XLA_FLAGS": "--xla_backend_optimization_level=1 --xla_llvm_disable_expensive_passes=true"}
    quick["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "0"
    shares = [address | quick | {"KERAS_DISTRIBUTION_PROCESS_ID": number} for number in ("0", "1")]
    whole = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}  # without them it rounds otherwise, and that is not compared here
    for output, variables in (("two", shares), ("one", [whole])):  # while the port is free
        command = [sys.executable, SCRIPT, "--photos", folder / "photos", "--output", folder / output, *common]
        command += ["--drawers", "1"] if output == "one" else []  # draws in a process what others draw in threads
        logs, started = [folder / f"{output}_{number}.log" for number in range(len(variables))], []
        try:
            for log, own in zip(logs, variables, strict=True):
                with open(log, "w") as file:
                    environment = {**os.environ, **QUICK_JAX, **without_tensorflow, **own}
                    started.append(subprocess.Popen(command, env=environment, stdout=file, stderr=file))
            for log, process in zip(logs, started, strict=True):
                assert process.wait(timeout=900) == 0, log.read_text()
        finally:
            for process in started:
                process.kill()
    return folder


@NO_JAX
def test_two_processes_train_to_the_weights_of_one_with_the_whole_batch(trained):
    for name, rate in (("generator_best.keras", 5e-5), ("discriminator_best.keras", 2e-5)):
        one, two = (keras.models.load_model(trained / run / name, compile=False) for run in ("one", "two"))
        pairs = zip(one.get_weights(), two.get_weights(), strict=True)
        apart = np.sqrt(np.mean(np.concatenate([(a - b).ravel() ** 2 for a, b in pairs])))
        travel = rate * 2 * 3  # what Adam can move a weight by in 2 epochs of 3 steps
        print(f"{name}: apart {apart:.1e}, {apart / travel:.1e} of the way")
        assert apart < 0.03 * travel


@NO_JAX
def test_two_processes_write_one_set_of_files_and_the_history_of_one(trained):
    names = sorted(path.name for path in (trained / "two").iterdir())
    assert names == [
        *(f"{name}.keras" for name in ("discriminator_best", "generator_best", "generator_last")),
        "history.csv",
        "resume.npz",
    ]
    histories = []
    for run in ("one", "two"):
        with open(trained / run / "history.csv", newline="") as file:
            histories.append(list(csv.DictReader(file)))
    assert len(histories[0]) == len(histories[1]) == 2
    for one, two in zip(*histories, strict=True):
        for name in set(one) - {"seconds"}:
            assert float(two[name]) == pytest.approx(float(one[name]), rel=1e-4), name
    assert "process 1 of 2" in (trained / "two_1.log").read_text()
    assert "Could not write" not in (trained / "two_1.log").read_text()


@NO_JAX
def test_processes_that_draw_end_in_silence_with_the_training(trained):
    log = (trained / "one_0.log").read_text()
    assert "epoch   2/2" in log and "Traceback" not in log


@NO_JAX
def test_a_training_goes_on_from_the_best_networks_of_another(trained):
    tool = runpy.run_path(str(SCRIPT))
    given = ["--photos", "photos", "--output", "out", "--start", str(trained / "one")]
    networks = tool["open_networks"](tool["read_settings"](given))
    for name, network in zip(("generator_best.keras", "discriminator_best.keras"), networks, strict=True):
        saved = keras.models.load_model(trained / "one" / name, compile=False)
        assert all(map(np.array_equal, network.get_weights(), saved.get_weights()))


@NO_JAX
def test_a_training_goes_on_from_a_generators_file_alone(trained):
    tool = runpy.run_path(str(SCRIPT))
    given = ["--photos", "photos", "--output", "out", "--start", str(trained / "one" / "generator_best.keras")]
    generator, seeing = tool["open_networks"](tool["read_settings"](given))
    judge = tool["open_networks"](tool["read_settings"]([*given, "--vgg19-weights", "none"]))[1]
    saved = keras.models.load_model(trained / "one" / "generator_best.keras", compile=False)
    assert all(map(np.array_equal, generator.get_weights(), saved.get_weights()))
    learned = keras.models.load_model(trained / "one" / "discriminator_best.keras", compile=False)
    first, new = learned.get_weights()[0], judge.get_weights()[0]
    assert first.shape == new.shape and not np.array_equal(first, new)
    channels = [network.get_weights()[0].shape[2] for network in (seeing, judge)]
    assert channels == [7, 4], "with VGG19 it sees fine detail, too, and without only the picture and the hole"


@NO_JAX
def test_a_wrong_start_is_refused_before_any_work(trained, tmp_path, capsys):
    read = runpy.run_path(str(SCRIPT))["read_settings"]
    shutil.copy(trained / "one" / "generator_best.keras", tmp_path)
    given = ["--photos", "photos", "--output", "out", "--start", str(tmp_path)]
    alone = ["--adversarial-weight", "0", "--matching-weight", "0"]
    assert read([*given, *alone]).start == tmp_path, "where no discriminator is trained, none is needed"
    file, broken = tmp_path / "settings.json", tmp_path / "broken.json"
    broken.write_text("[]")
    wide, fitting = ({"common": {"base_filters": n}, "trainings": {"first": {}}} for n in (8, 4))
    file.write_text(json.dumps(fitting))
    assert read([*given, *alone, "--settings", str(file), "--training", "first"]).base_filters == 4
    file.write_text(json.dumps(wide))
    for more, message in (
        ([], "discriminator_best.keras"),
        ([*alone, "--base-filters", "8"], "--base-filters is for new"),
        ([*alone, "--settings", str(file), "--training", "first"], "8 base filters, but the networks"),
        ([*alone, "--settings", str(file), "--training", "second"], "'second', expected one of first"),
        (["--settings", str(broken), "--training", "first"], "is no file of trainings"),
        (["--settings", "missing.json", "--training", "first"], "is no file of trainings"),
        (["--start", str(file)], "settings.json is no .keras file"),
    ):
        with pytest.raises(SystemExit):
            read([*given, *more])
        assert message in capsys.readouterr().err
