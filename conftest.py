"""What every test run needs: quiet and headless notebooks that write into a temporary folder, not into outputs/."""

import importlib.util
import os
import re
import sys
import tempfile
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["INPAINT_HEADLESS"] = "1"
_folder = tempfile.TemporaryDirectory(prefix="inpaint_test_")
os.environ["INPAINT_OUTPUT_FOLDER"] = _folder.name
WORKER = "PYTEST_XDIST_WORKER" in os.environ
if WORKER:  # as many workers as cores, so that a second thread of one would only take turns with the other
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy's threads wait by spinning: four times as long

# For a test's own process on JAX, which spends most of its time compiling. What a program computes stays the same; the
# comparison with TensorFlow's numbers, in test_backends.py, goes without.
QUICK_JAX = {"KERAS_BACKEND": "jax", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}

# What takes minutes comes first, so that no worker begins with it when the other has nothing left to do.
LONGEST = ("notebooks", "tests/test_backends.py", "tests/test_notebooks.py", "tests/test_inference.py")

# The committed notebooks run again with fewer epochs, set as papermill would set them. What a training prints is not
# compared, all else is. `make notebooks` and `make save-notebooks` train as the notebooks say.
FEWER = {"02_model_training": {"epochs": 5, "balance_epochs": 2}, "03_model_finetuning": {"epochs": 2}}


def name_share(nodeid):
    """What stays in one worker: a file's tests, which share fixtures, or the notebooks, which read one another."""
    file = nodeid.split("::")[0]
    return "notebooks" if file.endswith(".ipynb") else file


def set_parameters(cell, values):
    """Put other values into the cell of a notebook's parameters. Raises ValueError if it lacks one of them."""
    for name, value in values.items():
        cell.source, count = re.subn(rf"(?m)^({name}: \w+ = )\S+", rf"\g<1>{value}", cell.source)
        if count != 1:
            raise ValueError(f"{name} is set {count} times among the parameters, expected once: see FEWER.")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.stem in FEWER and "parameters" in item.cell.metadata.get("tags", []):
            set_parameters(item.cell, FEWER[item.path.stem])
    if WORKER:
        order = {share: place for place, share in enumerate(LONGEST)}
        items.sort(key=lambda item: order.get(name_share(item.nodeid), len(LONGEST)))


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist, which a run in one process does not need
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return name_share(nodeid)

    config.option.loadscopereorder = False  # the order is that of LONGEST, not that of the number of tests
    return Scheduling(config, log)


def load_tool(name):
    """A script of tools/ as a module."""
    place = Path(__file__).parent / "tools" / f"{name}.py"
    if str(place.parent) not in sys.path:  # where a script finds the others
        sys.path.append(str(place.parent))
    tool = importlib.util.module_from_spec(spec := importlib.util.spec_from_file_location(name, place))
    spec.loader.exec_module(tool)
    return tool


@pytest.fixture(scope="session")
def without_tensorflow(tmp_path_factory):
    """Environment variables of a process that finds no TensorFlow: JAX needs none, and loading it takes seconds."""
    folder = tmp_path_factory.mktemp("without_tensorflow")
    (folder / "tensorflow.py").write_text("raise ImportError('there is none')\n")
    return {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The package's wheel, built once."""
    try:
        return load_tool("publish_kaggle").build_wheel(tmp_path_factory.mktemp("wheel"))
    except RuntimeError as error:
        if "Could not find a version that satisfies the requirement setuptools" in str(error):
            pytest.skip("setuptools cannot be fetched here")
        raise
