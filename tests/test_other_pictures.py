"""Pictures of another kind and of another size: notebook 3 on a stranger's folder, its tools, and larger windows."""

import importlib.util
import json
import shutil
from pathlib import Path

import cv2
import nbformat
import numpy as np
import pytest
from test_notebooks import OFFLINE, printed, run_notebooks
from tiny import build_tiny_generator, make_photos

from inpaint_utils import build_generator, create_mask, inpaint, load_generator, sample_photos, save_image, stages
from inpaint_utils.files import save_model
from inpaint_utils.stages import measure_gain, open_networks, prepare_yours
from inpaint_utils.training.recipe import choose_weights

ROOT = Path(__file__).parents[1]


def load_tool(name):
    place = ROOT / "tools" / f"{name}.py"
    tool = importlib.util.module_from_spec(spec := importlib.util.spec_from_file_location(name, place))
    spec.loader.exec_module(tool)
    return tool


def fill_folder(folder):
    """30 files as somebody has them: 20 photos, and others that are none or look odd."""
    (folder / "holiday").mkdir(parents=True)
    for index, path in enumerate(sample_photos()[::2]):
        shutil.copy(path, folder / ("holiday" if index % 3 else ".") / f"IMG {index} Straße.JPG")
    photo = cv2.imread(str(sample_photos()[1]))
    whole = sample_photos()[3].read_bytes()
    odd = {
        "broken.jpg": whole[: len(whole) // 3],
        "letter.jpg": b"Dear photo, I am a text.",
        "empty.png": b"",
        "notes.txt": b"not a photo, and nobody takes it for one",
        "film.mp4": b"nor this",
        "raw.cr2": b"II*\0 a camera's own format",
        "tiny.png": cv2.imencode(".png", photo[:20, :20])[1].tobytes(),
        "gray.png": cv2.imencode(".png", cv2.cvtColor(photo[100:], cv2.COLOR_BGR2GRAY))[1].tobytes(),
        "huge.jpg": cv2.imencode(".jpg", cv2.resize(photo[:, ::-1], (7000, 5000)))[1].tobytes(),
        "panorama.png": cv2.imencode(".png", np.tile(photo[:90], (1, 4, 1)))[1].tobytes(),
        "copy.bmp": cv2.imencode(".bmp", photo)[1].tobytes(),
    }
    for name, content in odd.items():
        (folder / name).write_bytes(content)
    return len(list(folder.rglob("*.*")))


def test_second_half_of_notebook_3_runs_on_a_strangers_folder(tmp_path):
    assert fill_folder(tmp_path / "pictures") == 30
    before = {path: path.read_bytes() for path in (tmp_path / "pictures").rglob("*.*")}
    (tmp_path / "out" / "01_data_preprocessing").mkdir(parents=True)
    (tmp_path / "out" / "01_data_preprocessing" / "manifest.json").write_text("notebook 1's, which nobody reads")
    small = ["-p", "epochs", 1, "-p", "samples", 8, "-p", "batch_size", 4, "-p", "vgg19_weights", "none"]
    given = ["-p", "photo_folder", tmp_path / "pictures", "-p", "output_folder", tmp_path / "out"]
    status, text = run_notebooks("03", "-o", tmp_path / "run", *small, *given, "-p", "image_size", 128, **OFFLINE)
    assert status == 0, text
    text = printed(tmp_path / "run" / "03_model_finetuning.ipynb")
    for name in ("broken.jpg", "letter.jpg", "empty.png", "raw.cr2", "tiny.png"):
        assert f"left out: {name}: " in text
    assert "notes.txt" not in text and "film.mp4" not in text
    assert "networks: the generator that ships with the project, a new discriminator" in text
    assert "photos: 23 of pictures/ at 128 px: " in text
    assert text.count("hole PSNR") == 2 and "photo_folder is not set" not in text
    yours = tmp_path / "out" / "03_make_it_yours"
    assert {"generator_best.keras", "before_after.png", "yours.png"} <= {path.name for path in yours.iterdir()}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "01_data_preprocessing",
        "03_make_it_yours",
        "photos_of_yours",
    ]
    assert {path: path.read_bytes() for path in (tmp_path / "pictures").rglob("*.*")} == before


def test_without_a_folder_notebook_3_reads_what_it_always_read():
    cells = nbformat.read(ROOT / "notebooks" / "03_model_finetuning.ipynb", as_version=4).cells
    (parameters,) = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    values = {}
    exec(parameters.source, values)
    assert values["photo_folder"] == "" and values["prepared_size"] == 0
    starts = ("quick, yours =", "generator_learning_rate = ")
    choosing = [cell.source for cell in cells[3:] if cell.cell_type == "code" and any(s in cell.source for s in starts)]
    assert len(choosing) == len(starts)
    lines = "\n".join(source.split("with scope")[0] for source in choosing)
    for profile, size, samples, rate in (("quick", 128, 200, 2e-4), ("full", 256, 0, 8e-5)):
        chosen = {**values, "profile": profile}
        exec(lines, chosen)
        found = [chosen[name] for name in ("image_size", "samples", "generator_learning_rate")]
        assert found == [size, samples, rate]
        chosen = {**values, "profile": profile, "photo_folder": "pictures"}
        exec(lines, chosen)
        assert chosen["image_size"] == 256 and chosen["vgg19_weights"] == "imagenet"


def test_photos_of_yours_are_checked_before_the_work(tmp_path):
    with pytest.raises(ValueError, match="prepared_size is 256, expected at least image_size, which is 512"):
        prepare_yours(tmp_path, tmp_path / "out", 512, 256)
    with pytest.raises(FileNotFoundError, match="which is not a folder: give the folder that holds the photos"):
        prepare_yours(tmp_path / "nowhere", tmp_path / "out", 128)
    with pytest.raises(ValueError, match="prepared_size is 100, expected a multiple of 128"):
        stages.check_settings({"profile": "quick", "prepared_size": 100})
    for index in range(4):
        save_image(tmp_path / "alike" / f"{index}.png", np.full((64, 64, 3), 100 + index, np.uint8))
    with pytest.raises(ValueError, match="are near duplicates of each other: at least three different scenes"):
        prepare_yours(tmp_path / "alike", tmp_path / "out", 128)


def test_notebook_2_is_passed_over_where_the_shipped_one_is_asked_for(tmp_path, capsys):
    trained = tmp_path / "02_model_training"
    trained.mkdir()
    save_model(build_generator(None, 4), trained / "generator_best.keras")
    generator, _ = open_networks(tmp_path, 0, shipped=True)
    assert "ships with the project" in capsys.readouterr().out
    assert generator.count_params() == load_generator().count_params()
    assert open_networks(tmp_path, 0)[0].count_params() < generator.count_params()


def test_recipe_for_other_pictures_needs_no_discriminator():
    weights = choose_weights("features", adapting=True, cells_weight=7)
    assert weights["adversarial_weight"] == weights["matching_weight"] == 0 and weights["cells_weight"] == 7
    assert choose_weights(None, adapting=True) == choose_weights(None)


def test_gain_is_told_with_its_interval(capsys):
    photos = make_photos(4, 128)
    good, bad = build_generator(128, 4), build_tiny_generator()
    gains = measure_gain({"shipped": bad, "yours": good}, photos)
    before, after, change, low, high = gains["box", "hole_psnr"]
    assert after > before and low <= change <= high and change == pytest.approx(after - before)
    assert f"box   hole PSNR        {before:.2f} → {after:.2f}: {change:+.2f} (" in capsys.readouterr().out


def test_a_generator_sees_as_much_at_once_as_it_is_told(monkeypatch):
    sizes = []

    def look(inputs, training=False):
        sizes.append(inputs.shape[1:3])
        return inputs[..., :3]

    look.input_shape = (None, None, None, 4)
    image = np.full((512, 512, 3), 0.5, np.float32)
    mask = np.ones((512, 512, 1), np.float32)
    mask[100:400, 100:400] = 0
    for side in (128, 256, 512):
        inpaint(look, image, mask, detail=0, largest_side=side)
    assert sizes == [(128, 128), (256, 256), (512, 512)]
    with pytest.raises(ValueError, match="largest_side is 100, expected a multiple of 128"):
        inpaint(look, image, mask, largest_side=100)
    with pytest.raises(ValueError, match="largest_side is 256, expected 128 for this generator"):
        inpaint(build_generator(128, 4), image, mask, largest_side=256)


def test_large_photos_are_cut_side_by_side_and_keep_their_origin(tmp_path, capsys):
    tool = load_tool("cut_large_photos")
    rng = np.random.default_rng(0)
    save_image(tmp_path / "unpacked" / "a_by_Somebody.png", rng.integers(0, 256, (1100, 2100, 3), np.uint8))
    (tmp_path / "list.csv").write_text("path,split,author\na_by_Somebody.png,test,Somebody\n")
    tool.main([str(tmp_path / "unpacked"), str(tmp_path / "out"), "--list", str(tmp_path / "list.csv")])
    assert "test: 3 squares of 1 photos" in capsys.readouterr().out
    rows = (tmp_path / "out" / "test" / "photos.csv").read_text().splitlines()
    assert rows[0].startswith("file,original,crop") and len(rows) == 4 and '"1076,38,1024,1024"' in rows[3]
    (tmp_path / "list.csv").write_text("path,split\nb.png,test\n")
    with pytest.raises(SystemExit):
        tool.main([str(tmp_path / "unpacked"), str(tmp_path / "out"), "--list", str(tmp_path / "list.csv")])
    assert "has no b.png: unpack the packages" in capsys.readouterr().err


@pytest.fixture
def domains(tmp_path, monkeypatch):
    """Runs tools/adapt.py on random pictures, with notebooks that only write the networks."""
    monkeypatch.syspath_prepend(ROOT / "tools")
    tool, calls = load_tool("adapt"), []
    for folder in ("city/train", "city/test", "landscapes"):
        for index, photo in enumerate(make_photos(4, 128, seed=len(folder))):
            save_image(tmp_path / folder / f"{index}.png", photo)
    settings = {
        "common": {"image_size": 128, "samples": 9, "batch_size": 4},
        "adapted": {"generator_learning_rate": 0.5},
        "from scratch": {"base_filters": 4},
        "domains": {
            "city": {
                "arms": ["adapted", "from scratch"],
                "evaluate": ["--methods", "Telea", "--image-size", "128", "--difficulties", "easy"],
                "shown": ["1.png"],
            }
        },
        "forgotten": {"photos": 2, "evaluate": ["--methods", "Telea", "--image-size", "128", "--difficulties", "easy"]},
    }
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    save_model(build_generator(None, 4), tmp_path / "shipped.keras")
    monkeypatch.setattr(tool, "find_generator", lambda: tmp_path / "shipped.keras")
    monkeypatch.setattr(tool.evaluate, "build_perceptual", lambda *choice: None)

    def run_notebook(number, given, executed):
        calls.append((number, given))
        folder = given["output_folder"]
        if number != "02":
            prepare_yours(given["photo_folder"], folder, 128)
        if number == "01":
            (folder / "photos_of_yours").rename(folder / "01_data_preprocessing")
        if number != "01":
            trained = folder / {"02": "02_model_training", "03": "03_make_it_yours"}[number]
            trained.mkdir()
            save_model(build_generator(None, 4, seed=int(number)), trained / "generator_best.keras")
            (trained / "history.csv").write_text("epoch,seconds\n1,60\n2,30\n")

    monkeypatch.setattr(tool, "run_notebook", run_notebook)
    options = {"--settings": "settings.json", "--results": "runs", "--output": "out"}
    given = [text for name, path in options.items() for text in (name, str(tmp_path / path))]

    def run(*more):
        calls.clear()
        tool.main([str(tmp_path / "landscapes"), f"city={tmp_path / 'city'}", *given, *more])
        return [number for number, _ in calls]

    return tmp_path, run


def test_domains_are_adapted_measured_and_not_run_again(domains, capsys):
    folder, run = domains
    assert run() == ["03", "01", "02"]
    runs = folder / "runs"
    table = json.loads((runs / "city.json").read_text())["table"]
    assert {row["fill"] for row in table} == {"Telea", "unadapted", "adapted", "from scratch"}
    found = json.loads((runs / "city_runs.json").read_text())
    assert found["scale"]["adapted"]["photos_shown"] == 16 and found["scale"]["adapted"]["minutes"] == 1.5
    assert found["settings"]["from scratch"] == {"image_size": 128, "samples": 9, "batch_size": 4, "base_filters": 4}
    forgotten = json.loads((runs / "forgotten.json").read_text())
    assert forgotten["settings"]["photos"] == 2
    assert forgotten["settings"]["fills"] == ["Telea", "unadapted", "adapted to city"]
    assert sorted(path.name for path in (runs / "pictures").iterdir()) == ["city_0.jpg", "city_0_adapted.jpg"]
    assert "city: done" in capsys.readouterr().out
    written = (runs / "city.json").stat().st_mtime_ns
    assert run() == [] and (runs / "city.json").stat().st_mtime_ns == written
    save_model(build_generator(None, 4, seed=5), folder / "shipped.keras")
    assert run() == ["03", "01", "02"], "another generator ships"


def test_domains_are_checked_before_the_work(domains, capsys):
    folder, run = domains
    for more, words in (
        (["town=photos"], "is no NAME=FOLDER with a name of the settings: city"),
        (["city=x"], "is not"),
    ):
        with pytest.raises(SystemExit):
            run(*more)
        assert words in capsys.readouterr().err


def test_settings_of_the_domains_are_parameters_of_the_notebooks():
    settings = json.loads((ROOT / "results" / "runs" / "domains" / "settings.json").read_text())
    for arm, number in (("adapted", "03_model_finetuning"), ("from scratch", "02_model_training")):
        cells = nbformat.read(ROOT / "notebooks" / f"{number}.ipynb", as_version=4).cells
        (parameters,) = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
        values = {}
        exec(parameters.source, values)
        for domain in settings["domains"].values():
            if arm in domain["arms"]:
                chosen = {**settings["common"], **settings[arm], **domain.get(arm, {})}
                assert set(chosen) <= set(values)
                stages.check_settings(dict(chosen))


def test_a_photo_larger_than_the_windows_is_measured_for_every_side():
    tool = load_tool("evaluate")
    photo = make_photos(1, 256)[0].astype(np.float32) / 255
    mask = create_mask(photo.shape, 0.2, seed=1)
    fills, clocks = tool.see_sides({"Telea": tool.METHODS["Telea"], "own": build_generator(None, 4)}, [128, 256])
    assert list(fills) == list(clocks) == ["Telea", "own, 128 px", "own, 256 px"]
    answers = [fill(photo, mask) for fill in fills.values()]
    assert all(answer.shape == photo.shape for answer in answers) and all(len(times) == 1 for times in clocks.values())
    assert not np.array_equal(answers[1], answers[2])


def test_tables_of_the_domains_wait_for_their_runs_and_then_show_them(tmp_path, monkeypatch):
    tool = load_tool("make_figures")
    folder = tmp_path / "domains"
    folder.mkdir()
    shutil.copy(ROOT / "results" / "runs" / "domains" / "settings.json", folder)
    monkeypatch.setattr(tool, "RUNS", tmp_path)
    monkeypatch.setattr(tool, "DOMAINS", folder)
    names = ("domains", "domain_gains", "domain_scale", "forgotten", "sizes")
    assert {tool.TABLES[name]() for name in names} == {"Not measured yet."}
    lines, table = ["fill,kind,difficulty,hole_psnr,texture_distance"], []
    for fill, psnr in (("unadapted", 20.0), ("adapted", 21.0), ("adapted to city", 19.5)):
        for kind, difficulty in (("brush", "medium"), ("box", "medium"), ("box", "hard")):
            cell = {"fill": fill, "kind": kind, "difficulty": difficulty}
            table.append({**cell, "mode": "blind", "hole_psnr": psnr, "texture_distance": psnr / 100})
            lines += [f"{fill},{kind},{difficulty},{psnr + extra},{psnr / 100}" for extra in (0, 1)]
    for name in ("city", "forgotten", "large"):
        (folder / f"{name}_pictures.csv").write_text("\n".join(lines))
        (folder / f"{name}.json").write_text(json.dumps({"table": table}))
    gains = tool.TABLES["domain_gains"]().splitlines()
    assert gains[0] == "| adapted − unadapted | brush medium | box medium | box hard |" and len(gains) == 4
    assert gains[2].startswith("| city: dB | +1.00 (+1.00 to +1.00) |") and "| city: texture | +0.010" in gains[3]
    forgotten = tool.TABLES["forgotten"]().splitlines()
    assert forgotten[0] == "| adapted to | brush medium | box medium |" and "| city: dB | -0.50" in forgotten[2]
    assert "| adapted | 21.00 · 0.210 |" in tool.TABLES["domains"]()
    seconds = {"seconds_a_photo": dict.fromkeys(("unadapted", "adapted", "adapted to city"), 1.25)}
    (folder / "large_machine.json").write_text(json.dumps(seconds))
    sizes = tool.TABLES["sizes"]().splitlines()
    assert sizes[0].endswith("| box hard | seconds a photo |") and sizes[2].endswith("| 20.00 · 0.200 | 1.2 |")
    scale = {"adapted": {"photos": 170, "photos_shown": 2400, "minutes": 9.5}}
    runs = {"scale": scale, "settings": {"adapted": {"image_size": 256}}}
    (folder / "city_runs.json").write_text(json.dumps(runs))
    assert tool.TABLES["domain_scale"]().splitlines()[2] == "| city, adapted | 170 | 256 | 2,400 | 9.5 |"
