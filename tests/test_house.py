"""A room of the package imports only from rooms that stand before it in ROOMS, or from its own.

The order is that of the lessons. `host` knows the machine and falls back on the sample photos, so it follows `data`.
`figures` stands before `training`, whose monitor draws every epoch, and `inference` before `evaluation`, which measures
the baselines. Only `stages`, which opens what an earlier notebook left, and the app use all of it.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "inpaint_utils"
TOOLS = sorted((PACKAGE.parent / "tools").glob("*.py"))
ROOMS = [
    *("backend", "files", "quiet", "data", "networks", "host", "figures", "inference", "training"),
    *("evaluation", "stages", "app", "__main__"),
]
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


def parse(module):
    return ast.parse((PACKAGE / module).read_text(encoding="utf-8"))


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_imports_only_from_earlier_rooms_or_its_own(module):
    here = module.with_suffix("").parts[0]
    for node in ast.walk(parse(module)):
        if isinstance(node, ast.ImportFrom) and node.level == len(module.parts):
            for name in [node.module] if node.module else [alias.name for alias in node.names]:
                there = name.split(".")[0]
                assert ROOMS.index(there) < ROOMS.index(here) or there == here


@pytest.mark.parametrize("module", [module for module in MODULES if module.stem not in ("host", "stages")], ids=str)
def test_only_host_knows_kaggle(module):
    tree = parse(module)
    for node in ast.walk(tree):  # what is said about Kaggle in a docstring or a comment is no knowledge of the code
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
            node.body[0] = ast.Pass()
    assert "kaggle" not in ast.unparse(tree).lower()


def test_every_public_name_is_where_the_package_looks_for_it():
    import inpaint_utils

    assert all(getattr(inpaint_utils, name) is not None for name in inpaint_utils.__all__)


def test_masks_and_edges_do_not_wait_for_keras():
    code = "import sys; from inpaint_utils import create_mask, detect_edges; print('keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent)
    assert done.stdout == "False\n", done.stderr


def test_a_photo_is_filled_without_what_evaluation_alone_imports():
    code = (
        "import sys; sys.modules.update(pandas=None, skimage=None)\n"
        "import numpy as np; from inpaint_utils import create_mask, inpaint, load_generator\n"
        "image, mask = np.full((128, 128, 3), 0.5, np.float32), create_mask((128, 128), 0.2)\n"
        "print(inpaint(load_generator(), image, mask).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent)
    assert done.stdout == "(128, 128, 3)\n", done.stderr


@pytest.mark.parametrize(
    "path", [p for p in TOOLS if "\nfrom inpaint_utils" in p.read_text("utf-8")], ids=lambda p: p.name
)
def test_a_tool_imports_the_package_of_its_own_checkout(path, monkeypatch):
    body = ast.parse(path.read_text(encoding="utf-8")).body
    first = next(i for i, node in enumerate(body) if ast.unparse(node).startswith(("import inpaint", "from inpaint")))
    monkeypatch.setattr(sys, "path", list(sys.path))
    exec(compile(ast.Module(body[:first], []), str(path), "exec"), {"__file__": str(path)})
    assert sys.path[0] == str(PACKAGE.parent)


@pytest.mark.parametrize("path", sorted(Path(__file__).parent.glob("test_*.py")), ids=lambda path: path.name)
def test_names_of_tests_are_at_most_70_characters_long(path):
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    names = [node.name for node in nodes if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    assert [name for name in names if len(name) > 70] == []
