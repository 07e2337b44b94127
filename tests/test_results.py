"""Published numbers are those of their run files, and `make figures` makes all of results/ from what is committed."""

import importlib.util
import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def load_tool(name):
    place = ROOT / "tools" / f"{name}.py"
    tool = importlib.util.module_from_spec(spec := importlib.util.spec_from_file_location(name, place))
    spec.loader.exec_module(tool)
    return tool


@pytest.fixture(scope="module")
def tool():
    return load_tool("make_figures")


PAGES = [ROOT / "README.md", ROOT / "models" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_table_of_numbers_is_what_its_run_file_says(tool, page):
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"<!-- numbers (\w+) -->", text)
    assert text.count("<!-- /numbers -->") == len(blocks) and set(blocks) <= set(tool.TABLES)
    assert tool.fill_in_numbers(text) == text, "run make figures"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_result_stands_outside_of_those_tables(page):
    prose = re.sub(r"<!-- numbers (\w+) -->.*?<!-- /numbers -->", "", page.read_text(encoding="utf-8"), flags=re.S)
    assert not re.findall(r"\d+\.\d+ ?(?:dB|%)", prose)


def test_a_changed_number_is_found(tool):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"<!-- numbers hole_psnr -->.*?<!-- /numbers -->", text, flags=re.S).group()
    number = re.search(r"\d\d\.\d\d", block).group()
    wrong = text.replace(block, block.replace(number, "99.99", 1))
    assert wrong != text and tool.fill_in_numbers(wrong) == text


def test_all_of_results_comes_back_from_what_is_committed(tool, tmp_path, monkeypatch):
    for page in tool.PAGES:
        (tmp_path / page).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / page, tmp_path / page)
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    monkeypatch.setattr(tool, "RESULTS", tmp_path / "results")
    tool.main()

    def list_files(folder):
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

    made = list_files(tmp_path / "results")
    assert made == list_files(ROOT / "results")
    assert len([name for name in made if name.startswith("sample_outputs/")]) >= 15
    for name in ("banner.jpg", "training_comparison.png", "difficulty_comparison.png", "hard_example.jpg"):
        assert name in made
    first = {name: (tmp_path / "results" / name).read_bytes() for name in made}
    tool.draw_study()
    tool.draw_difficulties(tool.read_run(tool.RUNS / "evaluation.json")["table"])
    assert all((tmp_path / "results" / name).read_bytes() == content for name, content in first.items())


def test_the_study_takes_names_of_runs_before_and_after_its_options(capsys):
    for arguments in (["--vgg19", "weights.npz", "nonsense"], ["nonsense", "--vgg19", "weights.npz"]):
        with pytest.raises(SystemExit):
            load_tool("study").main(["photos", "test_photos", *arguments])
        assert "there is no run nonsense, expected some of unbalanced_0" in capsys.readouterr().err
