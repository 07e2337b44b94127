"""The README tells the truth: its code runs as it stands, its links and paths exist."""

import importlib.util
import re
import shutil
from pathlib import Path

import nbformat
import numpy as np
import pytest

from inpaint_utils import create_mask, load_image, sample_photos

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "models" / "README.md"]
CODE = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.S)


@pytest.mark.parametrize("code", CODE, ids=[code.split("\n")[0][:40] for code in CODE])
def test_quick_start_runs_as_it_stands(code, tmp_path, monkeypatch):
    shutil.copy(sample_photos()[3], tmp_path / "photo.jpg")
    (tmp_path / "models").symlink_to(ROOT / "models")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    kept = create_mask((256, 256), coverage=0.2, seed=1)[..., 0] == 1
    photo, filled = load_image("photo.jpg", size=256), load_image("filled.png")
    assert filled.shape == photo.shape
    assert np.abs(filled - photo)[kept].max() <= 0.5 / 255 + 1e-6, "kept pixels are the photo's own"
    assert np.abs(filled - photo)[~kept].mean() < 0.25, "the hole holds something plausible"
    assert filled[~kept].mean() > 0.02, "the hole is not black"


def test_readme_has_both_quick_starts():
    assert len(CODE) == 2 and "load_generator" in CODE[0] and "load_model" in CODE[1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#\s]+)", text) + re.findall(r'src="([^"]+)"', text)
    missing = [t for t in targets if not t.startswith("http") and not (page.parent / t).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_in_backticks_exists(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    paths = [path for path in re.findall(r"`([\w./-]+/[\w./-]*)`", text) if not path.startswith(("/", "outputs"))]
    known = {path.split("/")[0] for path in ("notebooks/", "inpaint_utils/", "models/", "results/", "docs/", "tests/")}
    missing = [p for p in paths if p.split("/")[0] in known and not (ROOT / p).exists()]
    assert not missing


def test_make_targets_in_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"make ([a-z-]+)", (ROOT / "README.md").read_text(encoding="utf-8")):
        if target not in ("and",):
            assert f"\n{target}:" in makefile


def test_ci_runs_the_command_that_the_readme_gives():
    assert "exec make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "make test" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_badges_lead_to_the_notebooks_and_are_replaced_not_repeated(tmp_path, monkeypatch):
    place = ROOT / "tools" / "add_badges.py"
    tool = importlib.util.module_from_spec(spec := importlib.util.spec_from_file_location("add_badges", place))
    spec.loader.exec_module(tool)
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    shutil.copy(ROOT / "README.md", tmp_path)
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    for repository in ("first/place", "none", "someone/landscapes"):
        tool.main([repository])
    for path in sorted((tmp_path / "notebooks").glob("[0-9]*.ipynb")):
        before = nbformat.read(ROOT / "notebooks" / path.name, as_version=4).cells
        after = nbformat.read(path, as_version=4).cells
        changed = [(a.source, b.source) for a, b in zip(before[1:], after[1:], strict=True) if a != b]
        address = 'repository = "https://github.com/someone/landscapes"'
        assert [(a.replace('repository = ""', address), b) for a, b in changed] == [(changed[0][1],) * 2]
        assert "first/place" not in after[0].source
        address = f"/someone/landscapes/blob/main/notebooks/{path.name})"
        assert f"https://colab.research.google.com/github{address}" in after[0].source
        assert f"https://kaggle.com/kernels/welcome?src=https://github.com{address}" in after[0].source
    assert (tmp_path / "README.md").read_text(encoding="utf-8").count("colab-badge.svg") == 1
    with pytest.raises(SystemExit):
        tool.main(["not a repository"])
    tool.main(["none"])
    for path in (ROOT / "README.md", *sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))):  # as they are committed
        assert (tmp_path / path.relative_to(ROOT)).read_text(encoding="utf-8") == path.read_text(encoding="utf-8")
