"""The first steps of a stranger: what a wheel holds, and what is said where Keras has no backend."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from inpaint_utils.backend import name_backend

ROOT = Path(__file__).parents[1]
GENERATOR = "inpainting_generator_best.keras"


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder with the unpacked wheel, as pip would install it."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder)
    return folder


def run_python(code, folder, **variables):
    environment = {name: value for name, value in os.environ.items() if name not in ("KERAS_BACKEND", "PYTHONPATH")}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**environment, **{name: str(value) for name, value in variables.items()}},
        capture_output=True,
        text=True,
    )


def test_a_wheel_holds_every_module_the_sample_photos_and_the_generator(installed):
    package = ROOT / "inpaint_utils"
    expected = {path.relative_to(package) for path in package.rglob("*") if path.suffix in (".py", ".jpg", ".csv")}
    there = installed / "inpaint_utils"
    assert not {path for path in expected if not (there / path).is_file()}
    assert (there / "models" / GENERATOR).read_bytes() == (ROOT / "models" / GENERATOR).read_bytes()


def test_the_repository_holds_the_generator_once():
    assert [path.parent.name for path in ROOT.glob("*/" + GENERATOR)] == ["models"]
    assert not list((ROOT / "inpaint_utils").rglob("*.keras"))


def test_an_installed_copy_fills_a_photo_away_from_the_repository(installed, tmp_path):
    code = (
        "import sys, inpaint_utils; from inpaint_utils.app.command import main\n"
        "assert 'installed' in inpaint_utils.__file__\n"
        "from inpaint_utils import sample_photos\n"
        "sys.exit(main([str(sample_photos()[0]), '-o', 'out.png', '--make-mask', 'easy']))"
    )
    done = run_python(code, tmp_path, PYTHONPATH=installed)
    assert (done.returncode, done.stderr) == (0, "") and (tmp_path / "out.png").is_file()


@pytest.mark.parametrize("backend", ["openvino", "tensorfow"])
def test_a_backend_that_is_not_there_is_one_sentence_of_the_command(tmp_path, backend):
    code = (
        "import sys; from inpaint_utils import sample_photos; from inpaint_utils.app.command import main\n"
        "sys.modules['openvino'] = None\n"
        "sys.exit(main([str(sample_photos()[0]), '-o', 'out.png', '--make-mask', 'easy']))"
    )
    done = run_python(code, tmp_path, PYTHONPATH=ROOT, KERAS_BACKEND=backend)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert f"'{backend}', which cannot be imported: set KERAS_BACKEND to tensorflow or jax" in done.stderr


def test_without_any_backend_the_snippet_says_what_to_install(tmp_path):
    code = (
        "import sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'tensorflow':\n"
        "            raise ModuleNotFoundError(\"No module named 'tensorflow'\", name='tensorflow')\n"
        "sys.meta_path.insert(0, Hidden())\n"
        "from inpaint_utils import create_mask, load_image\n"
        "create_mask((64, 64), 0.2)\n"
        "from inpaint_utils import load_generator"
    )
    done = run_python(code, tmp_path, PYTHONPATH=ROOT, KERAS_BACKEND="tensorflow")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: Keras needs TensorFlow or JAX") and "pip install tensorflow" in last


def test_other_errors_are_left_as_they_are():
    for error in (ValueError("a size"), ModuleNotFoundError("No module named 'cv2'", name="cv2")):
        assert name_backend(error) is error
