"""The notebooks run on Kaggle's layout with changed parameters, and what is committed of them can be checked."""

import contextlib
import hashlib
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from importlib.machinery import PathFinder
from pathlib import Path
from unittest import mock

import keras
import nbformat
import pytest

from conftest import QUICK_JAX, load_tool
from inpaint_utils import create_mask, load_image, sample_photos, save_image, stages
from inpaint_utils.training.recipe import DISCRIMINATOR, TEXTURE

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
TINY = ["-p", "epochs", "1", "-p", "base_filters", "4", "-p", "image_size", "128", "-p", "batch_size", "4"]
TINY += ["-p", "ema_momentum", "0.9"]  # the committed notebooks run without
TINY += ["-p", "balance_epochs", "1"]


# Whoever asks for anything beyond this machine is refused at once.
OFFLINE = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy")} | {"PIP_NO_INDEX": "1"}

# Of pytest's: a kernel that finds it keeps what C++ code writes to stderr out of the notebook.
UNSEEN = ("PYTEST_CURRENT_TEST",)


def run_notebooks(*arguments, **environment):
    """Run tools/run_notebooks.py, in this process to save a second one; returns (exit status, all that it printed)."""
    text = io.StringIO()
    with (
        mock.patch.dict(os.environ, environment),
        contextlib.redirect_stdout(text),
        contextlib.redirect_stderr(text),
    ):
        for name in UNSEEN:
            os.environ.pop(name, None)
        try:
            status = load_tool("run_notebooks").main([str(argument) for argument in arguments])
        except SystemExit as stop:
            status = stop.code
    return status, text.getvalue()


def run_as_a_command(*arguments, folder=ROOT, python=None, **environment):
    """The same in a process of its own, with all that the notebooks' kernels print past it.

    Args:
        folder: the checkout it belongs to. python: a `make_python` folder, which has no inpaint_utils.
    """
    unseen = UNSEEN if python is None else (*UNSEEN, "PYTHONPATH")
    inherited = {name: value for name, value in os.environ.items() if name not in unseen}
    done = subprocess.run(
        [python / "bin" / "python" if python else sys.executable, folder / "tools" / "run_notebooks.py"]
        + [str(argument) for argument in arguments],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=900,
    )
    return done.returncode, done.stdout + done.stderr


def printed(path):
    """All text that an executed notebook printed."""
    cells = nbformat.read(path, as_version=4).cells
    return "\n".join(o.text for c in cells if c.cell_type == "code" for o in c.outputs if o.output_type == "stream")


def complaints(path):
    """All that an executed notebook shows in red boxes."""
    cells = nbformat.read(path, as_version=4).cells
    outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    return [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]


def fingerprint(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def copy_notebooks(folder, inputs):
    """The notebooks and their runner in a folder of their own, with `inputs` in place of /kaggle/input."""
    (folder / "tools").mkdir(parents=True)
    (folder / "notebooks").mkdir()
    shutil.copy(ROOT / "tools" / "run_notebooks.py", folder / "tools")
    for path in NOTEBOOKS:
        text = path.read_text(encoding="utf-8")
        assert text.count('\\"/kaggle/input\\"') == 1
        (folder / "notebooks" / path.name).write_text(text.replace("/kaggle/input", str(inputs)), encoding="utf-8")
    return folder


def make_python(folder):
    """A Python with all that this one has but inpaint_utils, as on Kaggle; what it installs stays in the folder."""
    venv.create(folder)
    libraries = next((folder / "lib").glob("python*/site-packages"))
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "inpaint_utils" not in path.name:
            (libraries / path.name).symlink_to(path)
    return folder / "bin" / "python"


def add_photos(folder, count):
    """Colour photos, and gray twins that are no pictures, so that reading one shows."""
    (folder / "color").mkdir(parents=True)
    (folder / "gray").mkdir()
    for index, photo in enumerate(sample_photos()[::3][:count]):
        shutil.copy(photo, folder / "color" / f"{index}.jpg")
        (folder / "gray" / f"{index}.jpg").write_bytes(b"a gray twin that nobody may open")
    return folder


@pytest.fixture(scope="module")
def kaggle(tmp_path_factory, wheel):
    """A copy of Kaggle's layout: photos and the wheel as data sets, and the notebooks without the project."""
    root = tmp_path_factory.mktemp("kaggle")
    add_photos(root / "input" / "datasets" / "somebody" / "landscape-image-colorization" / "landscape Images", 12)
    (root / "input" / "datasets" / "me" / "inpaint-utils").mkdir(parents=True)
    shutil.copy(wheel, root / "input" / "datasets" / "me" / "inpaint-utils")
    (root / "working").mkdir()
    copy_notebooks(root / "copy", root / "input")
    make_python(root / "python")
    return root


@pytest.fixture(scope="module")
def kaggle_run(kaggle, tmp_path_factory):
    before = fingerprint(kaggle / "input")
    for folder, _, files in os.walk(kaggle / "input"):
        for path in (Path(folder), *(Path(folder) / name for name in files)):
            path.chmod(0o555 if path.is_dir() else 0o444)
    environment = {"INPAINT_KAGGLE_FOLDER": str(kaggle), "INPAINT_OUTPUT_FOLDER": str(kaggle / "working")}
    executed = tmp_path_factory.mktemp("executed")
    settings = ["-o", executed, *TINY, "-p", "photo_limit", 12, "-p", "detail_gain", 4]
    status, text = run_as_a_command(
        *settings, **environment, **OFFLINE, folder=kaggle / "copy", python=kaggle / "python"
    )
    after = fingerprint(kaggle / "input")
    for folder, _, _ in os.walk(kaggle / "input"):
        Path(folder).chmod(0o755)  # so that the temporary folder can be removed
    return status, text, executed, before == after


def test_all_four_notebooks_run_on_kaggles_layout_with_the_wheel_only(kaggle, kaggle_run):
    status, text, executed, input_unchanged = kaggle_run
    assert status == 0, text
    assert len(list(executed.glob("*.ipynb"))) == 4
    assert input_unchanged
    assert list((kaggle / "python").rglob("inpaint_utils/__init__.py")), "the wheel was installed"
    assert "host: kaggle" in printed(executed / NOTEBOOKS[0].name)
    assert "photos: color/" in printed(executed / NOTEBOOKS[0].name)
    working = kaggle / "working"
    for file in (
        "01_data_preprocessing/manifest.json",
        "02_model_training/generator_best.keras",
        "02_model_training/history.csv",
        "03_model_finetuning/generator_best.keras",
        "04_testing_inference/evaluation.csv",
        "04_testing_inference/examples.png",
    ):
        assert (working / file).is_file(), file


def test_kagglehub_brings_photos_to_a_notebook_without_inputs(tmp_path):
    """A module in kagglehub's place, which answers as it does on Kaggle: with the folder of what it attached."""
    photos = add_photos(tmp_path / "mounted" / "landscape Images", 4).parent
    (tmp_path / "modules").mkdir()
    code = f"def dataset_download(handle):\n    print('attached', handle)\n    return {str(photos)!r}\n"
    (tmp_path / "modules" / "kagglehub.py").write_text(code)
    (tmp_path / "working").mkdir()
    environment = {"INPAINT_KAGGLE_FOLDER": str(tmp_path), "INPAINT_OUTPUT_FOLDER": str(tmp_path / "working")}
    known = os.environ.get("PYTHONPATH", "")
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path / "modules"), *([known] if known else [])])
    status, text = run_notebooks("01", "-o", tmp_path / "executed", "-p", "image_size", "128", **environment, **OFFLINE)
    assert status == 0, text
    text = printed(tmp_path / "executed" / NOTEBOOKS[0].name)
    assert "attached theblackmamba31/landscape-image-colorization\nhost: kaggle\nphotos: color/" in text
    assert "4 photos of 128×128 pixels" in text


def test_no_gray_twin_is_read(kaggle, kaggle_run):
    manifest = json.loads((kaggle / "working" / "01_data_preprocessing" / "manifest.json").read_text())
    assert len(manifest["records"]) == 12
    assert not any("gray" in record["file"] for record in manifest["records"])
    assert not any("not a" in entry["reason"] for entry in manifest["skipped"]), "a gray twin was opened"


def test_each_notebook_says_where_its_inputs_come_from(kaggle_run):
    _, _, executed, _ = kaggle_run
    assert "prepared by notebook 1" in printed(executed / NOTEBOOKS[1].name)
    assert "networks: the best of notebook 2" in printed(executed / NOTEBOOKS[2].name)
    assert "generator: " in printed(executed / NOTEBOOKS[3].name)


def test_changed_parameters_arrive(kaggle, kaggle_run):
    _, _, executed, _ = kaggle_run
    assert "128 px, 4 filters" in printed(executed / NOTEBOOKS[1].name)
    rows = (kaggle / "working" / "02_model_training" / "history.csv").read_text().splitlines()
    assert len(rows) == 2, "one epoch"
    path = kaggle / "working" / "02_model_training" / "discriminator_best.keras"
    discriminator = keras.models.load_model(path, compile=False)
    assert "discriminator_detail" in [layer.name for layer in discriminator.layers]


def test_the_saved_quick_training_beats_one_mean_colour_for_each_hole():
    text = printed(NOTEBOOKS[1])
    reached, mean_colour = (float(re.search(rf"{name} (0\.\d+)", text)[1]) for name in ("best epoch", "mean colour:"))
    assert reached < 0.8 * mean_colour, "a reader would see gray in the holes"


def test_notebook_2_trains_unbalanced_and_balanced_side_by_side(kaggle_run):
    _, _, executed, _ = kaggle_run
    text = printed(executed / NOTEBOOKS[1].name)
    assert all(f"{name:10}: lowest loss " in text for name in ("unbalanced", "balanced"))
    cells = nbformat.read(executed / NOTEBOOKS[1].name, as_version=4).cells
    (drawn,) = [cell for cell in cells if cell.cell_type == "code" and "draw_side_by_side(" in cell.source]
    assert "image/jpeg" in drawn.outputs[0].data


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_notebooks_run_on_jax(tmp_path):
    """One training, which is what differs; INPAINT_SLOW=1 runs all four notebooks (minutes of JAX's compiling)."""
    slow = "INPAINT_SLOW" in os.environ
    small = [*TINY, "-p", "samples", "8", "-p", "output_folder", tmp_path / "out"]
    small += ["-p", "photo_limit", "12"] if slow else ["-p", "balance_epochs", "0"]
    status, text = run_notebooks(*([] if slow else ["02"]), "-o", tmp_path / "executed", *small, **QUICK_JAX)
    assert status == 0, text
    assert "jax on CPU" in printed(tmp_path / "executed" / NOTEBOOKS[1].name)
    assert not complaints(tmp_path / "executed" / NOTEBOOKS[1].name), "nor does a TensorFlow beside it talk"
    opened = keras.models.load_model(tmp_path / "out" / "02_model_training" / "generator_best.keras", compile=False)
    assert keras.backend.backend() == "tensorflow" and opened.output_shape == (None, None, None, 3)


ALONE = {  # as little as each can do
    "02": ["-p", "epochs", "1", "-p", "samples", "8", "-p", "image_size", "128", "-p", "base_filters", "4"]
    + ["-p", "balance_epochs", "0"],
    "03": ["-p", "epochs", "1", "-p", "samples", "8", "-p", "image_size", "128"],
    "04": ["-p", "photo_limit", "1", "-p", "image_size", "128"],
}


@pytest.mark.parametrize("start", ALONE)
def test_each_notebook_runs_alone(start, tmp_path):
    places = ["-o", tmp_path / "executed", "-p", "output_folder", tmp_path / "out"]
    status, text = run_as_a_command(start, *places, *ALONE[start])
    assert status == 0, text
    assert "without encryption" not in text
    assert "prepared now" in printed(next((tmp_path / "executed").glob("*.ipynb")))


def read_set_up(path):
    """The cell of a notebook that finds the module."""
    cells = nbformat.read(path, as_version=4).cells
    (code,) = [cell.source for cell in cells if cell.cell_type == "code" and "repository =" in cell.source]
    return code


def test_set_up_is_eight_lines_the_same_in_all_and_needs_no_library():
    codes = {read_set_up(path) for path in NOTEBOOKS}
    assert len(codes) == 1
    lines = [line for line in codes.pop().splitlines() if line.strip()]
    assert len(lines) <= 8
    imports = [line for line in lines if line.startswith(("import", "from"))]
    assert imports == ["import glob, importlib.util, os, sys"]


@pytest.fixture
def set_up(tmp_path, monkeypatch):
    """Runs the set-up cell in a notebook's shell whose %pip only notes what it is told.

    Returns: a function of the address of the published project; it returns the error, if any, what %pip was told, and
        where a module inpaint_utils would be imported from.
    """
    from IPython.core.interactiveshell import InteractiveShell

    alone = tmp_path / "alone" / "notebooks"
    alone.mkdir(parents=True)
    monkeypatch.chdir(alone)
    monkeypatch.setattr(sys, "path", list(sys.path))
    elsewhere = list(sys.path)  # where inpaint_utils may be installed, which is not looked at

    def find_module(name):
        return PathFinder.find_spec(name, [folder for folder in sys.path if folder not in elsewhere])

    monkeypatch.setattr(importlib.util, "find_spec", find_module)
    shell, told = InteractiveShell(), []
    shell.register_magic_function(told.append, magic_name="pip")

    def run(repository="", path=NOTEBOOKS[0]):
        code = read_set_up(path).replace('repository = ""', f'repository = "{repository}"')
        result = shell.run_cell(code.replace("/kaggle/input", str(tmp_path / "input")), silent=True)
        spec = find_module("inpaint_utils")
        return result.error_in_exec, told, spec and Path(spec.origin).parent

    return run


MOUNTS = ["mine", "datasets/me/mine", "competitions/mine", "notebooks/me/mine", "datasets/me/mine/inside"]


def add_module(folder):
    (folder / "inpaint_utils").mkdir(parents=True)
    (folder / "inpaint_utils" / "__init__.py").touch()
    return folder / "inpaint_utils"


@pytest.mark.parametrize("mount", MOUNTS)
def test_module_is_found_in_every_layout_of_inputs(tmp_path, set_up, mount):
    module = add_module(tmp_path / "input" / mount)
    assert set_up() == (None, [], module)


@pytest.mark.parametrize("mount", MOUNTS)
def test_wheel_is_installed_from_every_layout_of_inputs(tmp_path, set_up, mount):
    wheel = tmp_path / "input" / mount / "inpaint_utils-0.1.0-py3-none-any.whl"
    wheel.parent.mkdir(parents=True)
    wheel.touch()
    error, told, _ = set_up("https://example.org/me/inpainting")
    assert error is None and told == [f'install --quiet --no-deps "{wheel}"']


def test_module_above_the_notebook_comes_before_one_in_the_inputs(tmp_path, set_up):
    add_module(tmp_path / "input" / "mine")
    module = add_module(tmp_path / "alone")
    assert set_up() == (None, [], module)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_without_the_project_installs_it_or_says_what_to_do(path, set_up):
    error, told, _ = set_up(path=path)
    assert "put the project beside this notebook, or add it as an input" in str(error) and not told
    error, told, _ = set_up("https://example.org/me/inpainting", path)
    assert error is None and told == ['install --quiet --no-deps "git+https://example.org/me/inpainting"']


def test_an_unknown_parameter_is_refused_before_anything_runs(tmp_path):
    status, text = run_notebooks("02", "-o", tmp_path, "-p", "epoch", "1")
    assert status == 2
    assert "no notebook chosen has a parameter 'epoch': did you mean epochs?" in text
    assert not list(tmp_path.glob("*.ipynb"))
    status, text = run_notebooks("02", "-o", tmp_path, "-p", "zoom", "2")
    assert status == 2 and "no notebook chosen has a parameter 'zoom': expected one of" in text


def test_paths_are_those_of_the_folder_the_command_is_called_in(tmp_path, monkeypatch):
    run = load_tool("run_notebooks")
    (tmp_path / "photos").mkdir()
    (tmp_path / "vgg.h5").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    pairs = [("photo_folder", "photos"), ("output_folder", "~/out"), ("own_photo", ""), ("profile", "quick")]
    assert run.read_parameters([*pairs, ("vgg19_weights", "vgg.h5")], NOTEBOOKS) == {
        "photo_folder": str(tmp_path / "photos"),
        "output_folder": str(tmp_path / "home" / "out"),
        "own_photo": "",
        "profile": "quick",
        "vgg19_weights": str(tmp_path / "vgg.h5"),
    }
    assert run.read_parameters([("vgg19_weights", "none")], NOTEBOOKS) == {"vgg19_weights": "none"}


@pytest.mark.parametrize(("name", "value"), [("epochs", "many"), ("l1_weight", "heavy")])
def test_a_parameter_of_the_wrong_type_is_refused(name, value, tmp_path):
    status, text = run_notebooks("02", "-o", tmp_path, "-p", name, value)
    assert status == 2 and f"{name} is '{value}', expected a value of type" in text


def test_a_photo_folder_that_is_not_there_stops_with_one_sentence(tmp_path):
    status, text = run_notebooks("01", "-o", tmp_path, "-p", "photo_folder", tmp_path / "nowhere")
    assert status == 1
    assert "which is not a folder: give the folder that holds the photos" in text


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name[:2])
def test_committed_notebooks_hold_outputs_that_are_compared(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells), "every cell was run"
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "in order, from a fresh start"
    assert not complaints(path)
    compared = [
        cell
        for cell in cells
        if "nbval-ignore-output" not in cell.metadata.get("tags", [])
        and any(o.output_type == "stream" and o.text.strip() for o in cell.outputs)
    ]
    assert len(compared) >= 5, f"only {len(compared)} cells of {path.name} have text that nbval compares"
    pictures = [o for cell in cells for o in cell.outputs if "image/jpeg" in o.get("data", {})]
    assert len(pictures) >= 2
    assert path.stat().st_size < 1_000_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name[:2])
def test_notebooks_carry_no_path_of_a_machine(path):
    text = path.read_text(encoding="utf-8")
    assert not any(place in text for place in ("/home/", "/root/", "/tmp/", "/Users/"))


def read_code(path):
    """The code of each cell but the settings."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    return [cell.source for cell in cells if "parameters" not in cell.metadata.get("tags", [])]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name[:2])
def test_cells_have_at_most_15_lines_and_a_picture_comes_within_40(path):
    cells = read_code(path)
    for source in cells:
        assert len(source.splitlines()) <= 15, source
    first = next(i for i, source in enumerate(cells) if "figures.show(" in source)
    assert len([line for source in cells[: first + 1] for line in source.splitlines() if line.strip()]) <= 40


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name[:2])
def test_no_line_of_code_is_cut_off_in_jupyterlab(path):
    """104 characters are seen in a window of 1280 pixels, beside the list of files."""
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [line for source in cells for line in source.splitlines() if len(line) > 104] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name[:2])
def test_every_parameter_is_typed_and_explained(path):
    cells = nbformat.read(path, as_version=4).cells
    (parameters,) = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    lines = [line for line in parameters.source.splitlines() if line and not line.startswith("# ")]
    assert lines
    for line in lines:  # the others are blank, or the name of a group
        assert line.split("=")[0].count(":") == 1 and "  # " in line, line


def read_defaults(path):
    """The settings that a notebook begins with, and their types."""
    cells = nbformat.read(path, as_version=4).cells
    (parameters,) = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    values = {}
    exec(parameters.source, values)
    del values["__builtins__"]
    types = values.pop("__annotations__")
    return values, types


def test_notebook_2_builds_the_discriminator_of_the_recipe():
    values, _ = read_defaults(NOTEBOOKS[1])
    told = dict(normalization=values["discriminator_normalization"], initialization=values["initialization"])
    assert values["detail_gain"] == -1 and 'detail_gain = 0.0 if vgg19_weights == "none" else 8.0' in "\n".join(
        read_code(NOTEBOOKS[1])
    )
    assert told | dict(sees_hole=values["sees_hole"] == "on", detail_gain=8.0) == DISCRIMINATOR


# What may differ when a training is repeated, and what matters only where there is a discriminator.
FREE = {"output_folder", "photo_folder", "prepared_size", "vgg19_weights", "precision", "max_hours"}
JUDGING = {"discriminator_normalization", "initialization", "sees_hole", "detail_gain", "discriminator_learning_rate"}


def test_settings_files_leave_nothing_to_defaults_which_may_change():
    """Else a training that is repeated would be another one, without a word."""
    runs = ROOT / "results" / "runs"
    names = ("shipped.json", "study/settings.json", "domains/settings.json", "full_scale/settings.json")
    shipped, study, domains, scale = (json.loads((runs / name).read_text(encoding="utf-8")) for name in names)
    first, *others = ({**shipped["common"], **stage} for stage in shipped["stages"].values())
    trainings = [(1, first), *((2, stage) for stage in others)]
    trainings += [(1, {**study["common"], **run}) for run in study["runs"].values()]
    trainings += [(n, {**domains["common"], **domains[arm]}) for n, arm in ((1, "from scratch"), (2, "adapted"))]
    named = [(set(read_defaults(NOTEBOOKS[number])[0]), settings) for number, settings in trainings]
    chosen = set(load_tool("train").SETTINGS)
    named += [(chosen, {**scale["common"], **training}) for training in scale["trainings"].values()]
    for needed, settings in named:
        judged = settings["adversarial_weight"] or settings["matching_weight"]
        assert needed - FREE - (set() if judged else JUDGING) <= set(settings), settings
        assert all(settings[name] >= 0 for name in TEXTURE), settings


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name[:2])
def test_every_parameter_is_checked_and_its_value_passes(path):
    values, types = read_defaults(path)
    assert set(values) == set(types) <= set(stages.SETTINGS)
    before = dict(values)
    stages.check_settings(values)
    assert values == before and {name: type(value) for name, value in values.items()} == types


def test_a_red_square_stays_red_from_file_to_file(tmp_path):
    """Load, inpaint, save: were BGR and RGB mixed up anywhere, the square would come out blue."""
    import numpy as np
    from matplotlib.image import imread, imsave  # reads and writes RGB without OpenCV

    from inpaint_utils import build_generator, inpaint

    photo = np.full((128, 128, 3), 0.5)
    photo[:, :, 0], photo[:, :, 1:] = 0.8, 0.1
    imsave(tmp_path / "red.png", photo)
    image = load_image(tmp_path / "red.png")
    mask = create_mask(image.shape, coverage=0.2, seed=3)
    save_image(tmp_path / "filled.png", inpaint(build_generator(128, 4), image, mask))
    filled = imread(tmp_path / "filled.png")[..., :3]
    kept = mask[..., 0] == 1
    np.testing.assert_allclose(filled[kept], np.broadcast_to([0.8, 0.1, 0.1], filled[kept].shape), atol=1 / 255)
    assert filled[~kept][:, 0].mean() > filled[~kept][:, 2].mean() + 0.3, "the filled part is red, too"


def test_a_path_counts_from_the_folder_of_the_caller(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name, text, expected in (
        ("photo_folder", "myphotos", tmp_path / "myphotos"),
        ("photo_folder", "~/photos", tmp_path / "home" / "photos"),
        ("output_folder", "", ""),
        ("own_photo", "a.jpg", tmp_path / "a.jpg"),
        ("generator_path", str(tmp_path / "x.keras"), tmp_path / "x.keras"),
        ("profile", "quick", "quick"),
    ):
        assert load_tool("run_notebooks").read_parameters([(name, text)], NOTEBOOKS) == {name: str(expected)}


def test_photos_that_do_not_open_stop_nothing_in_notebook_1(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for index, path in enumerate(sample_photos()[::4]):
        shutil.copy(path, photos / f"{index}.jpg")
    for name in ("0b.jpg", "4b.jpg", "9b.jpg"):  # among the first, in the middle and at the end
        (photos / name).write_bytes((photos / "0.jpg").read_bytes()[:5000])
    tiny = ["-p", "image_size", "128", "-p", "photo_folder", photos, "-p", "output_folder", tmp_path / "out"]
    status, text = run_notebooks("01", "-o", tmp_path / "run", *tiny)
    assert status == 0, text
    text = printed(tmp_path / "run" / NOTEBOOKS[0].name)
    assert "left out: 4b.jpg: is a truncated or damaged JPEG" in text and "10 photos of 128×128 pixels" in text
