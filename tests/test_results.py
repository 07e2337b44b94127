"""Published numbers are those of their run files, and `make figures` makes all of results/ from what is committed."""

import functools
import json
import re
import shutil
from pathlib import Path

import cv2
import keras
import numpy as np
import pandas as pd
import pytest

from conftest import load_tool
from inpaint_utils import build_discriminator, build_generator, evaluate, load_generator, prepare_photos, sample_photos
from inpaint_utils.app.command import run_tool
from inpaint_utils.files import save_model
from inpaint_utils.training.recipe import DISCRIMINATOR, TEXTURE

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tool():
    return load_tool("make_figures")


STUDY_PAGE = ROOT / "results" / "runs" / "study" / "README.md"
OWN_PAGES = [STUDY_PAGE, ROOT / "results" / "runs" / "ingredients" / "README.md"]
PAGES = [ROOT / "README.md", ROOT / "models" / "README.md", *OWN_PAGES, *sorted((ROOT / "docs").glob("*.md"))]


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
    block = re.search(r"<!-- numbers headline -->.*?<!-- /numbers -->", text, flags=re.S).group()
    number = re.search(r"\d\d\.\d\d", block).group()
    wrong = text.replace(block, block.replace(number, "99.99", 1))
    assert wrong != text and tool.fill_in_numbers(wrong) == text


def test_gains_are_over_the_best_untrained_method_and_over_the_start(tool):
    table = json.loads((ROOT / "results" / "runs" / "evaluation.json").read_text(encoding="utf-8"))["table"]
    psnr = {}
    for row in table:
        psnr.setdefault((row["kind"], row["difficulty"]), {})[row["fill"], row["mode"]] = row["hole_psnr"]
    classical = ("mean colour", "Telea", "Navier–Stokes", "biharmonic", "PatchMatch")
    best, start, guided = [], [], []
    for cell in psnr.values():
        blind = cell["generator", "blind"]
        best.append(blind - max(cell[name, "blind"] for name in classical))
        start.append(blind - cell["smooth fill", "blind"])
        guided.append(cell["generator", "guided"] - blind)
    lines = tool.tabulate_gains().splitlines()[2:]
    found = [[float(text) for text in re.findall(r"\| ([+-]\d+\.\d\d) ", line)] for line in lines]
    np.testing.assert_allclose(found, [best, start, guided], atol=0.006)


def test_gains_leave_out_what_detail_adds(tool, monkeypatch):
    expected, pictures = tool.tabulate_gains(), tool.read_pictures(tool.RUNS / "evaluation_pictures.csv")
    added = [pictures[pictures["fill"] == name].assign(fill=f"{name} + detail") for name in ("Telea", "generator")]
    added[0]["hole_psnr"] += 9
    monkeypatch.setattr(tool, "read_pictures", lambda path: pd.concat([pictures, *added]))
    assert tool.tabulate_gains() == expected


def test_the_ring_is_around_the_epoch_that_was_kept(tool, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(tool.figures, "draw_curves", lambda figure, rows, decides: drawn.update({len(rows): decides}))
    monkeypatch.setattr(tool.figures, "save_figure", lambda *_: None)
    monkeypatch.setattr(tool, "list_stages", lambda: [("texture_training", {}), ("colour_finetuning", {})])
    tool.draw_history()
    assert drawn == {9: "val_visual_distance", 6: "val_distance"}


def test_texture_table_waits_for_its_run_and_then_shows_it(tool, tmp_path, monkeypatch):
    monkeypatch.setattr(tool, "RUNS", tmp_path)
    assert tool.tabulate_texture() == "Not measured yet."
    cell = {"kind": "box", "difficulty": "hard", "mode": "blind", "hole_psnr": 16.5, "texture_distance": 0.2}
    rows = [
        {**cell, "fill": "Telea", "sharpness": 0.11, "kid": 25.0},
        {**cell, "fill": "generator", "sharpness": None, "kid": 9.5},
    ]
    (tmp_path / "texture.json").write_text(json.dumps({"table": rows}))
    head, _, telea, generator = tool.tabulate_texture().splitlines()
    assert head == "| texture distance · sharpness · hole PSNR, dB · KID × 1000 | box hard |"
    assert telea == "| Telea | 0.200 · 0.11 · 16.50 · 25.0 |"
    assert generator == "| **generator** | 0.200 · – · 16.50 · 9.5 |"
    (tmp_path / "texture.json").write_text(json.dumps({"table": [{k: v for k, v in rows[0].items() if k != "kid"}]}))
    assert "KID" not in tool.tabulate_texture()


def test_all_of_results_comes_back_from_what_is_committed(tool, tmp_path, monkeypatch):
    for page in tool.PAGES:
        (tmp_path / page).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / page, tmp_path / page)
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    monkeypatch.setattr(tool, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(tool, "add_detail", lambda image, answer, *_, **__: answer)  # half of the time
    monkeypatch.setattr(tool, "inpaint", functools.partial(tool.inpaint, detail=0))
    tool.main([])

    def list_files(folder):
        files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        return sorted(str(path) for path in files if path.parts[0] != "runs")

    made = list_files(tmp_path / "results")
    assert made == list_files(ROOT / "results")
    assert len([name for name in made if name.startswith("sample_outputs/")]) >= 15
    for name in ("banner.jpg", "training_comparison.png", "difficulty_comparison.png", "hard_example.jpg"):
        assert name in made
    first = {name: (tmp_path / "results" / name).read_bytes() for name in made}
    tool.draw_study()
    tool.draw_difficulties()
    assert all((tmp_path / "results" / name).read_bytes() == content for name, content in first.items())


def test_the_study_takes_names_of_runs_before_and_after_its_options(capsys):
    for arguments in (["--vgg19", "weights.npz", "nonsense"], ["nonsense", "--vgg19", "weights.npz"]):
        with pytest.raises(SystemExit):
            load_tool("run_study").main(["photos", "test_photos", *arguments])
        assert "there is no run nonsense, expected some of unbalanced_0" in capsys.readouterr().err


def test_a_generator_is_measured_anew_beside_the_rows_that_stay(tmp_path):
    tool, photos = load_tool("evaluate"), np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), np.uint8)
    choice = dict(kinds=("box",), difficulties=("easy",), progress=False)
    fills = {
        "mean colour": tool.METHODS["mean colour"],
        "Telea": lambda image, mask: image * np.nan,  # its flag is "nan"
        "generator": lambda image, mask: image,
        "another": lambda image, mask: image / 2,
    }
    evaluate(dict(reversed(fills.items())), photos, **choice).write(tmp_path)
    better = evaluate({"generator": tool.METHODS["Telea"]}, photos, **choice)
    tool.add_rows(better, tmp_path, "evaluation").write(tmp_path)
    together = evaluate({**fills, "generator": tool.METHODS["Telea"]}, photos, **choice)
    together.write(tmp_path / "together")
    for end in (".csv", ".json", ".md", "_pictures.csv"):
        assert (tmp_path / f"evaluation{end}").read_text() == (tmp_path / "together" / f"evaluation{end}").read_text()
    others = evaluate(fills, photos[::-1], **choice)
    with pytest.raises(ValueError, match="measure all methods again"):
        tool.add_rows(others, tmp_path, "evaluation")


def test_rows_added_one_by_one_stay_and_the_minutes_say_whose_they_are(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in sample_photos()[:3]:
        shutil.copy(path, photos)
    small = ["--image-size", "128", "--difficulties", "easy", "--modes", "blind", "--prepared", tmp_path / "prepared"]
    for method, update in (("mean", []), ("Telea", ["--update"])):
        given = [photos, "--output", tmp_path / "runs", "--methods", method, *small, *update]
        load_tool("evaluate").main([str(one) for one in given])
    run, machine = (json.loads((tmp_path / "runs" / f"evaluation{end}.json").read_text()) for end in ("", "_machine"))
    assert run["settings"]["fills"] == ["mean colour", "Telea"] and machine["measured"] == ["Telea"]


@pytest.fixture(scope="module")
def run_evaluate(tmp_path_factory):
    """A function that runs tools/evaluate.py on three photos under easy holes; without VGG19's real weights."""
    photos = tmp_path_factory.mktemp("evaluate") / "photos"
    photos.mkdir()
    for path in sample_photos()[::15]:
        shutil.copy(path, photos)
    tool = load_tool("evaluate")
    tool.load_generator = functools.cache(tool.load_generator)

    def run(output, *arguments):
        chosen = ["--image-size", "128", "--difficulties", "easy", "--prepared", photos.parent / "prepared"]
        tool.main([str(one) for one in (photos, "--output", output, *chosen, *arguments)])

    run.tool, run.photos = tool, photos
    return run


@pytest.fixture(scope="module")
def two_measured(run_evaluate, tmp_path_factory):
    """A folder with results of mean colour and of a generator."""
    run_evaluate(folder := tmp_path_factory.mktemp("runs"), "--methods", "mean", "generator")
    return folder


@pytest.fixture
def measured(run_evaluate, two_measured, tmp_path, monkeypatch):
    """A copy of that folder, and from now on nothing may be measured."""
    monkeypatch.setattr(run_evaluate.tool, "evaluate", lambda *_, **__: pytest.fail("a fill was run"))
    return shutil.copytree(two_measured, tmp_path, dirs_exist_ok=True)


def add_column(path, name):
    table = pd.read_csv(path)
    table.assign(**{name: 0.5}).to_csv(path, index=False)


@pytest.mark.parametrize(
    ("change", "arguments", "named"),
    [
        (lambda f: (f / "evaluation.json").unlink(), [], r"no .*evaluation\.json to add rows to: check --output"),
        (lambda f: (f / "evaluation.csv").unlink(), [], r"no .*evaluation\.csv to add rows to: check --output"),
        (lambda f: (f / "evaluation.json").write_text("{"), [], r"evaluation\.json is no file that evaluate wrote"),
        (lambda f: (f / "evaluation_pictures.csv").write_text("a\n1\n"), [], r"pictures\.csv is no file that evaluate"),
        (lambda f: None, ["--count", "2"], r"evaluation\.json has photos 3, this run 2: give the options"),
        (lambda f: None, ["--image-size", "256"], r"has image_shape \[128, 128, 3\], this run \[256, 256, 3\]"),
        (lambda f: None, ["--difficulties", "hard"], "has difficulties .*easy.*, this run .*hard"),
        (
            lambda f: add_column(f / "evaluation.csv", "texture_distance"),
            [],
            "column texture_distance, which would be lost for all methods: give --vgg19",
        ),
        (lambda f: add_column(f / "evaluation.csv", "kid"), [], "column kid, which would .* all methods: give --kid"),
        (lambda f: None, ["--kid", "weights.h5"], "no column kid, which would be lost for this run: leave out --kid"),
        (lambda f: None, ["--modes", "blind"], "guided rows of generator, which would be lost: add guided to --modes"),
    ],
)
def test_an_update_that_cannot_fit_is_refused_before_measuring(run_evaluate, measured, change, arguments, named):
    change(measured)
    before = {path.name: path.read_bytes() for path in measured.iterdir()}
    with pytest.raises(ValueError, match=named) as caught:
        run_evaluate(measured, "--methods", "generator", "--update", *arguments)
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in measured.iterdir()} == before


def edit(folder, **settings):
    path = folder / "evaluation.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["settings"] |= settings
    path.write_text(json.dumps(content), encoding="utf-8")


def test_an_update_of_another_method_keeps_what_modes_there_are(run_evaluate, two_measured, tmp_path):
    shutil.copytree(two_measured, tmp_path, dirs_exist_ok=True)
    run_evaluate(tmp_path, "--methods", "mean", "--modes", "blind", "--update")
    content = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    assert content["settings"]["modes"] == ["blind", "guided"]
    assert {(row["fill"], row["mode"]) for row in content["table"]} == {
        ("mean colour", "blind"),
        ("generator", "blind"),
        ("generator", "guided"),
    }


def test_what_was_measured_is_kept_where_the_files_changed_meanwhile(run_evaluate, tmp_path, monkeypatch):
    run_evaluate(tmp_path, "--methods", "mean")

    def evaluate_slowly(*arguments, **options):
        edit(tmp_path, masks_sha256="a")
        return evaluate(*arguments, **options)

    monkeypatch.setattr(run_evaluate.tool, "evaluate", evaluate_slowly)
    with pytest.raises(ValueError, match=r"has masks_sha256 a.*the methods measured now .*evaluation_new\.csv\.$"):
        run_evaluate(tmp_path, "--methods", "Telea", "--update")
    assert pd.read_csv(tmp_path / "evaluation_new.csv")["fill"].unique().tolist() == ["Telea"]
    assert pd.read_csv(tmp_path / "evaluation.csv")["fill"].unique().tolist() == ["mean colour"]
    machines = [json.loads((tmp_path / f"evaluation{end}_machine.json").read_text()) for end in ("", "_new")]
    assert [machine["measured"] for machine in machines] == [["mean colour"], ["Telea"]]


def test_photos_saved_again_are_no_test_photos(run_evaluate, tmp_path):
    (tmp_path / "photos").mkdir()
    for path in run_evaluate.photos.iterdir():
        pixels = cv2.imread(str(path))
        cv2.imwrite(str(tmp_path / "photos" / path.name), pixels, [cv2.IMWRITE_JPEG_QUALITY, 80])
    prepare_photos(sorted((tmp_path / "photos").iterdir()), tmp_path / "trained", 256, progress=False)
    with pytest.raises(ValueError, match="^3 of 3 test photos are also training photos"):
        run_evaluate(tmp_path, "--methods", "mean", "--trained-on", tmp_path / "trained")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "nowhere does not exist"),
        ([None, "--count", "3000"], "count=3000 photos were asked for and 3 are"),
    ],
)
def test_wrong_photos_and_counts_end_in_one_sentence(run_evaluate, tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    words = [str(word or run_evaluate.photos) for word in arguments]
    given = [*words, "--methods", "mean", "--image-size", "128", "--prepared", "prepared", "--output", "runs"]
    with pytest.raises(SystemExit) as stopped:
        run_tool(lambda: run_evaluate.tool.main(given))
    assert sentence in stopped.value.code and "\n" not in stopped.value.code
    assert not any(tmp_path.glob("runs/*"))


def train_by_stages(folder):
    """Run tools/train_shipped.py with notebooks that only take the networks at hand one step further; returns calls."""
    calls = []

    def run_notebook(number, parameters, executed):
        calls.append((number, parameters))
        folder = Path(parameters["output_folder"])
        if number == "01":
            (folder / "01_data_preprocessing").mkdir(parents=True)
            (folder / "01_data_preprocessing" / "manifest.json").write_text("{}")
            return
        assert (folder / "01_data_preprocessing" / "manifest.json").is_file()
        generator, discriminator = build_generator(None, 4, hole_fill="black"), build_discriminator(None, 4)
        if number == "03":
            start = folder / "02_model_training"
            generator = keras.models.load_model(start / "generator_best.keras", compile=False)
            assert (start / "discriminator_best.keras").is_file() == (folder.name != "third"), "new where the form is"
        generator.set_weights([weights + 1 for weights in generator.get_weights()])
        trained = folder / {"02": "02_model_training", "03": "03_model_finetuning"}[number]
        save_model(generator, trained / "generator_best.keras")
        save_model(discriminator, trained / "discriminator_best.keras")
        (trained / "history.csv").write_text(f"epoch\n{len(calls)}\n")

    options = {"--settings": "settings.json", "--output": "out", "--histories": "runs", "--ship-to": "shipped.keras"}
    given = [text for name, path in options.items() for text in (name, str(folder / path))]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "tools")
        tool = load_tool("train_shipped")
        patch.setattr(tool, "run_notebook", run_notebook)
        tool.main([str(folder / "photos"), *given])
    return calls


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with all stages trained, and the calls that it took."""
    folder = tmp_path_factory.mktemp("stages")
    settings = {
        "photos": {"photo_limit": 0},
        "common": {"epochs": 3},
        "stages": {
            "first": {"hole_fill": "black"},
            "second": {"epochs": 1},
            "third": {"form": {"upsampling": "resize"}},
        },
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    return folder, train_by_stages(folder)


def test_stages_train_on_what_the_one_before_has_learned_and_ship_it(trained):
    folder, calls = trained
    assert [number for number, _ in calls] == ["01", "02", "03", "03"]
    assert calls[1][1] == {"output_folder": folder / "out" / "first", "epochs": 3, "hole_fill": "black"}
    assert calls[2][1]["epochs"] == 1 and "form" not in calls[3][1]
    assert (folder / "runs" / "third_history.csv").read_text() == "epoch\n4\n"
    shipped = load_generator(folder / "shipped.keras")
    names = {layer.name for layer in shipped.layers}
    assert "fill_colour_1" in names and "generator_mean_decoder_1" not in names, "the last stage's form"
    start = {weight.path: weight.numpy() for weight in build_generator(None, 4, hole_fill="black").weights}
    for weight in shipped.weights:
        np.testing.assert_allclose(weight.numpy(), start[weight.path] + 3, atol=0.03)  # rounded to bfloat16


def test_stages_that_are_done_are_not_trained_again(trained, tmp_path):
    folder = shutil.copytree(trained[0], tmp_path / "stages")
    (folder / "out" / "third" / "done").unlink()
    assert [number for number, _ in train_by_stages(folder)] == ["03"]


def test_a_training_has_its_settings_and_the_command_line_comes_last():
    tool, file = load_tool("train"), ROOT / "results" / "runs" / "full_scale" / "settings.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    given = ["--photos", "photos", "--output", "out", "--settings", str(file), "--training"]
    for name, training in settings["trainings"].items():
        found = vars(tool.read_settings([*given, name]))
        expected = {**tool.SETTINGS, **settings["common"], **training}
        assert {key: found[key] for key in tool.SETTINGS} == expected
        assert file.with_name(f"{name}.csv").is_file()
    assert tool.read_settings([*given, "style_alone", "--epochs", "3"]).epochs == 3


def test_a_settings_file_with_a_strange_name_is_refused(tmp_path, capsys):
    tool, file = load_tool("train"), tmp_path / "settings.json"
    file.write_text('{"common": {"epoch": 3}, "trainings": {"mine": {}}}')
    for training, message in (("mine", "sets epoch, which no training has"), ("other", "expected one of mine")):
        given = ["--photos", "photos", "--output", "out", "--settings", str(file), "--training", training]
        with pytest.raises(SystemExit):
            tool.read_settings(given)
        assert message in capsys.readouterr().err


def test_the_ingredients_are_what_their_settings_file_says():
    folder = ROOT / "results" / "runs" / "ingredients"
    study = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    assert set(study["rows"]) == {*study["runs"], "start", "telea"} and set(study["shown"]) <= set(study["runs"])
    for path in set(folder.glob("*.json")) - {folder / "settings.json"}:
        run = json.loads(path.read_text(encoding="utf-8"))
        assert run["measured"]["photos"] == study["measured_photos"]
        if path.stem in study["runs"]:
            assert run["settings"] == {**study["common"], **study["runs"][path.stem]}
            assert len(pd.read_csv(path.with_suffix(".csv"))) == run["settings"]["epochs"]
    today = {**study["common"], **study["runs"]["sees_detail_style"]}
    assert {name: today[name] for name in TEXTURE} == TEXTURE
    assert today["detail_gain"] == DISCRIMINATOR["detail_gain"]


def test_vgg19_chooses_a_better_epoch_than_the_loss():
    folder = ROOT / "results" / "runs" / "ingredients"
    for path in (folder / "chosen").glob("*.json"):
        chosen, last = (json.loads(file.read_text(encoding="utf-8")) for file in (path, folder / path.name))
        rows = pd.read_csv(folder / f"{path.stem}.csv")
        assert rows["epoch"][rows["val_distance"].idxmin()] == chosen["epoch"] < len(rows)
        assert (rows["val_perceptual"] + rows["val_style"]).idxmin() == len(rows) - 1
        assert chosen["measured"] == last["measured"]
        kid = [np.array([cell["kid"] for cell in run["cells"]]) for run in (chosen, last)]
        assert (kid[1] < kid[0]).all()


def test_what_notebook_2_says_of_six_seeds_is_in_its_run_file():
    rows = pd.read_csv(ROOT / "results" / "runs" / "small_balance.csv").set_index("arm")["hole_error_last_four_epochs"]
    cells = json.loads((ROOT / "notebooks" / "02_model_training.ipynb").read_text(encoding="utf-8"))["cells"]
    (text,) = [text for cell in cells if "We tried seeds" in (text := "".join(cell["source"]).replace("\n", " "))]
    stayed, fell = rows["unbalanced"], sorted(rows["balanced"])
    numbers = r"(0\.\d\d)"
    for pattern, expected in (
        (f"Unbalanced, the error stayed at {numbers} to {numbers}", [stayed.min(), stayed.max()]),
        (f"it fell to {numbers} to {numbers} with four seeds", [fell[0], fell[3]]),
        (f"and stayed at {numbers} and {numbers} with two", fell[4:]),
        (f"The mean was {numbers} unbalanced", [stayed.mean()]),
        (f"{numbers} with the lower rate alone", [rows["rate alone"].mean()]),
        (f"{numbers} with the throttle alone", [rows["throttle alone"].mean()]),
        (f"and {numbers} with both", [np.mean(fell)]),
    ):
        found = [float(number) for number in re.search(pattern, text).groups()]
        np.testing.assert_allclose(found, expected, atol=0.00501)
