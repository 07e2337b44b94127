"""What every test run needs: quiet and headless notebooks that write into a temporary folder, not into outputs/."""

import importlib.util
import os
import tempfile
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["INPAINT_HEADLESS"] = "1"
_folder = tempfile.TemporaryDirectory(prefix="inpaint_test_")
os.environ["INPAINT_OUTPUT_FOLDER"] = _folder.name

# For a test's own process on JAX, which spends most of its time compiling. What a program computes stays the same; the
# comparison with TensorFlow's numbers, in test_backends.py, goes without.
QUICK_JAX = {"KERAS_BACKEND": "jax", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}


def load_tool(name):
    """A script of tools/ as a module."""
    place = Path(__file__).parent / "tools" / f"{name}.py"
    tool = importlib.util.module_from_spec(spec := importlib.util.spec_from_file_location(name, place))
    spec.loader.exec_module(tool)
    return tool


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The package's wheel, built once."""
    try:
        return load_tool("publish_kaggle").build_wheel(tmp_path_factory.mktemp("wheel"))
    except RuntimeError as error:
        if "Could not find a version that satisfies the requirement setuptools" in str(error):
            pytest.skip("setuptools cannot be fetched here")
        raise
