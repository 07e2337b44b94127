"""README and docs tell the truth: their code runs, their links lead somewhere, and they are short."""

import importlib.util
import math
import re
import shutil
from pathlib import Path

import keras
import nbformat
import numpy as np
import pytest

import inpaint_utils
from inpaint_utils import build_discriminator, build_generator, create_mask, load_image, sample_photos, save_image
from inpaint_utils.inference.inpaint import build_input
from inpaint_utils.networks.perceptual import LAYERS

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "models/README.md")),
    *(ROOT / "results" / "runs" / name / "README.md" for name in ("study", "ingredients")),
    *sorted((ROOT / "docs").glob("*.md")),
]
CODE = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.S)


@pytest.mark.parametrize("code", CODE, ids=[code.split("\n")[0][:40] for code in CODE])
def test_quick_start_runs_as_it_stands(code, tmp_path, monkeypatch):
    save_image(tmp_path / "photo.jpg", load_image(sample_photos()[3], size=256))
    save_image(tmp_path / "mask.png", np.repeat(create_mask((256, 256), coverage=0.2, seed=1), 3, axis=-1))
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
    assert len(CODE) == 2 and "inpaint(" in CODE[0] and "load_model" in CODE[1]


def test_plain_keras_snippet_feeds_what_the_network_was_trained_on(tmp_path, monkeypatch):
    image = load_image(sample_photos()[3], size=256)
    image[100:120] = 0  # black kept pixels must not look like a hole
    save_image(tmp_path / "photo.png", image)
    monkeypatch.chdir(tmp_path)
    names = {}
    code = CODE[1].replace("photo.jpg", "photo.png")
    lines = [line for line in code.split("\n") if not line.startswith(("generator =", "raw =", "save_image"))]
    exec("\n".join(lines), names)
    np.testing.assert_array_equal(names["inputs"][0], build_input(names["image"], names["mask"]))


def test_example_of_a_discriminator_of_ones_own_runs():
    page = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", page, flags=re.S).group(1)
    names = {
        "keras": keras,
        **{
            name: getattr(inpaint_utils, name)
            for name in re.findall(r"\b[A-Za-z]\w+", code)
            if hasattr(inpaint_utils, name)
        },
    }
    exec(code, names)
    assert len(names["gan"].optimizer.discriminator_variables) == 4


def test_floor_under_the_discriminators_loss_is_what_the_page_says():
    size, stride, patch, padding = 256, 8, 70, 23  # of the PatchGAN on 256×256 pixels
    starts = np.arange(size // stride - 2) * stride - padding
    floors = []
    for share in (0.10, 0.15, 0.30, 0.45):
        side = round(size * share**0.5)
        meets = [((starts < at + side) & (starts + patch > at)).mean() for at in range(size - side + 1)]
        kept = 1 - np.mean(meets) ** 2  # share of the patches that show nothing of the hole
        # The best answer for such a patch is 1 / (1 + kept): "photo" is its label once, "filled" `kept` times.
        floors.append(f"{(np.log(1 + kept) + kept * np.log((1 + kept) / kept)) / 2:.2f}")
    page = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert f"{', '.join(floors[:3])} and {floors[3]}" in page


def count_multiply_adds(network):
    """Of all convolutions, for one picture, in billions."""
    convolutions = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    return sum(math.prod([*layer.kernel.shape, *layer.output.shape[1:3]]) for layer in convolutions) / 1e9


# Forward, and back to weights and inputs. VGG19, and the discriminator where it judges, go back to inputs only.
TIMES = (3, 8, 3)


def count_step(filters):
    """Of generator, discriminator and VGG19, for one picture of 256 pixels, of which 128 are judged, in billions."""
    vgg = keras.applications.VGG19(include_top=False, weights=None, input_shape=(128, 128, 3))
    seen = keras.Model(vgg.inputs, vgg.get_layer(LAYERS[-1]).output)
    networks = (build_generator(256, filters), build_discriminator(128, filters, sees_hole=True), seen)
    return [count_multiply_adds(network) for network in networks]


def test_minutes_to_make_it_yours_follow_from_the_count_of_operations():
    cells = nbformat.read(ROOT / "notebooks" / "03_model_finetuning.ipynb", as_version=4).cells
    (text,) = [cell.source for cell in cells if cell.source.startswith("## Make it yours")]
    filters = inpaint_utils.load_generator().get_layer("generator_encoder_1").filters
    minutes = 10 * 2000 * 2e9 * np.dot(TIMES, count_step(filters)) / 6.5e12 / 60
    assert f"by count of operations {math.ceil(minutes)} minutes on a T4" in text.replace("\n", " ")
    for pictures, few, many in ((50, "50×", "500×"), (200, "12×", "120×"), (2000, "1×", "12×")):
        assert f"| {pictures:,} | {few}, {many} |" in text
        assert int(many[:-1]) == pytest.approx(10 * 2000 / (0.81 * pictures), rel=0.05)


def test_minutes_on_kaggle_follow_from_the_count_of_operations():
    page = (ROOT / "docs" / "KAGGLE.md").read_text(encoding="utf-8").replace("\n", " ")
    times, counts = TIMES, count_step(64)
    terms = [f"{number} × {count:.1f}" for number, count in zip(times, counts, strict=True)]
    assert "{} (generator) + {} (discriminator) + {} (VGG19) = 65 G".format(*terms) in page
    assert np.dot(times, counts) == pytest.approx(65, abs=1)
    rows = re.findall(r"\| full, [\d,]+ \| ([\d,]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|", page)
    for photos, *minutes in rows:
        work = int(photos.replace(",", "")) * 0.13
        assert minutes == [f"{work / speed / 60:.1f}" for speed in (9.75, 6.5, 3)]
    assert len(rows) == 2


def test_readme_shows_picture_and_code_on_its_first_screen():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").split("\n")
    assert len(lines) - 1 <= 90
    assert [i for i, line in enumerate(lines) if line.startswith("![")][0] < 25
    assert lines.index("```python") < 35


def read_page(path):
    """A page as it is read, without the front matter of the model card."""
    return re.sub(r"\A---\n.*?\n---\n", "", path.read_text(encoding="utf-8"), flags=re.S)


def read_prose(page):
    """A page without the tables that are written from run files."""
    return re.sub(r"<!-- numbers (\w+) -->.*?<!-- /numbers -->\n?", "", read_page(page), flags=re.S)


def test_docs_are_short():
    lengths = {"docs/ARCHITECTURE.md": 80, "docs/TRAINING_STORY.md": 90, "docs/RESULTS_ANALYSIS.md": 110}
    lengths |= {"models/README.md": 40, "docs/TRAINING_AT_SCALE.md": 60}
    for page, most in lengths.items():
        assert read_prose(ROOT / page).count("\n") <= most, page
    words = [len(re.findall(r"\S*\w\S*", read_page(page))) for page in (ROOT / "docs").glob("*.md")]
    assert sum(words) <= 6500


def list_anchors(page):
    """The names that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page):
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    missing = []
    for target in targets:
        path, _, anchor = target.partition("#")
        place = page.parent / path if path else page
        if not target.startswith("http") and not (place.exists() and (not anchor or anchor in list_anchors(place))):
            missing.append(target)
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_in_backticks_exists(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    paths = [path for path in re.findall(r"`([\w./-]+/[\w./-]*)`", text) if not path.startswith(("/", "outputs"))]
    known = {"notebooks", "inpaint_utils", "models", "results", "docs", "tests", "tools"}
    missing = [p for p in paths if p.split("/")[0] in known and not (ROOT / p).exists()]
    assert not missing


def test_every_make_target_that_is_named_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    targets = set(re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)", pages, flags=re.M))
    for target in {name for pair in targets for name in pair if name}:
        assert f"\n{target}:" in makefile


def test_ci_runs_the_command_that_the_readme_gives():
    assert "exec make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "run: make test" in (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    assert "make test" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_badges_lead_to_the_notebooks_and_are_replaced_not_repeated(tmp_path, monkeypatch):
    place = ROOT / "tools" / "add_badges.py"
    tool = importlib.util.module_from_spec(spec := importlib.util.spec_from_file_location("add_badges", place))
    spec.loader.exec_module(tool)
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    shutil.copy(ROOT / "README.md", tmp_path)
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    tool.main(["none"])
    unpublished = {
        path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "notebooks").glob("[0-9]*.ipynb")
    }
    assert "[![" not in "".join(unpublished.values())
    assert (tmp_path / "README.md").read_bytes() == (ROOT / "README.md").read_bytes()  # as it is committed
    for repository in ("first/place", "someone/landscapes"):
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
    assert (tmp_path / "README.md").read_bytes() == (ROOT / "README.md").read_bytes()
    for name, text in unpublished.items():
        assert (tmp_path / "notebooks" / name).read_text(encoding="utf-8") == text
