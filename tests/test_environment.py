"""Notebooks find their photos, networks and folders wherever they run, and say what they found."""

import os
import shutil
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import keras
import numpy as np
import pandas as pd
import pytest

from inpaint_utils import build_discriminator, build_generator, find_photos, host, prepare_photos, sample_photos, stages
from inpaint_utils.files import save_model
from inpaint_utils.inference.inpaint import find_generator
from inpaint_utils.networks.models import change_precision


@pytest.fixture
def kaggle(tmp_path, monkeypatch):
    (tmp_path / "working").mkdir()
    monkeypatch.setattr(host, "KAGGLE_FOLDER", tmp_path)
    monkeypatch.setattr(host, "INPUT_FOLDER", tmp_path / "input")
    return tmp_path


def add_photos(folder, count=4):
    folder.mkdir(parents=True)
    for photo in sample_photos()[:count]:
        shutil.copy(photo, folder)
    return folder


def test_without_a_dataset_the_sample_photos_are_used():
    assert host.find_photo_folder() == sample_photos()[0].parent


@pytest.mark.parametrize("root", ["input", "input/datasets/somebody", "input/competitions", "input/notebooks/me/run"])
@pytest.mark.parametrize("name", host.PHOTO_SETS)
def test_kaggles_landscape_photos_are_found_in_every_layout(kaggle, root, name):
    folder = add_photos(kaggle / root / Path(name).name / host.PHOTO_SETS[name])
    assert host.find_photo_folder() == folder


@pytest.fixture
def kagglehub(tmp_path, monkeypatch):
    """A module in kagglehub's place: what it was asked for, in order, and a folder for every answer."""
    asked = []

    def make_download(kind):
        def download(name):
            asked.append((kind, name))
            inside = host.PHOTO_SETS.get(name)
            if inside is None and name != "me/mine":
                raise ConnectionError("404\nof many lines")
            folder = tmp_path / "hub" / name
            (folder / (inside or "")).mkdir(parents=True, exist_ok=True)
            return str(folder)

        return download

    module = ModuleType("kagglehub")
    module.__spec__ = ModuleSpec("kagglehub", None)
    module.dataset_download, module.competition_download = make_download("data set"), make_download("competition")
    monkeypatch.setitem(sys.modules, "kagglehub", module)
    return asked


def test_kagglehub_brings_the_photos_where_none_were_added(kaggle, kagglehub):
    name = "theblackmamba31/landscape-image-colorization"
    assert host.find_photo_folder() == kaggle / "hub" / name / "landscape Images" / "color"
    assert kagglehub == [("data set", name)]
    added = add_photos(kaggle / "input" / "competitions" / "gan-getting-started" / "photo_jpg")
    assert host.find_photo_folder() == added and len(kagglehub) == 1, "what was added comes first"


def test_kagglehub_downloads_to_ones_own_machine_only_when_asked(tmp_path, kagglehub):
    assert host.find_photo_folder() == sample_photos()[0].parent and not kagglehub
    assert host.find_photo_folder("kaggle:me/mine") == tmp_path / "hub" / "me" / "mine"
    found = host.find_photo_folder("kaggle:gan-getting-started")
    assert found == tmp_path / "hub" / "gan-getting-started" / "photo_jpg"
    assert kagglehub == [("data set", "me/mine"), ("competition", "gan-getting-started")]


def test_what_kagglehub_cannot_get_is_one_sentence(kaggle, kagglehub, monkeypatch, capsys):
    with pytest.raises(FileNotFoundError, match=r"could not get 'me/typo' \(404\): add it as an input of the notebook"):
        host.find_photo_folder("kaggle:me/typo")
    monkeypatch.setitem(sys.modules["kagglehub"].__dict__, "dataset_download", None)
    assert host.find_photo_folder() == sample_photos()[0].parent
    assert capsys.readouterr().out.count("\n") == 1


def test_without_kagglehub_a_kaggle_data_set_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(FileNotFoundError, match="kagglehub could not get 'me/mine'"):
        host.find_photo_folder("kaggle:me/mine")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.*not a folder: give the folder"):
        host.find_photo_folder(tmp_path / "nowhere")


def test_prepared_photos_are_found_shrunk_or_prepared_anew(tmp_path, capsys):
    first = stages.open_or_prepare(tmp_path, 128)
    assert "prepared now" in capsys.readouterr().out
    (tmp_path / "photos_128").rename(tmp_path / "01_data_preprocessing")
    again = stages.open_or_prepare(tmp_path, 128)
    assert "prepared by notebook 1" in capsys.readouterr().out
    np.testing.assert_array_equal(first.images[:3], again.images[:3])
    small = stages.open_or_prepare(tmp_path, 64)
    assert small.images.shape[1:] == (64, 64, 3)
    assert list(small.split("test")) == list(again.split("test"))
    means = [photos.images.mean(axis=(1, 2)) for photos in (small, again)]
    np.testing.assert_allclose(means[0], means[1], atol=1)


def deal(photos):
    return {record["file"]: record["split"] for record in photos.records}


@pytest.mark.parametrize("first", [None, 128, 256])
def test_notebooks_that_run_alone_deal_photos_alike(tmp_path, first):
    """Whichever size notebook 1 prepared, or if it did not run: notebook 2 (128 px) and 4 (256 px) have one split."""
    if first:
        paths = find_photos(host.find_photo_folder())[0]
        prepare_photos(paths, tmp_path / "01_data_preprocessing", image_size=first, progress=False)
    quick, tested = (stages.open_or_prepare(tmp_path, size) for size in (128, 256))
    assert quick.image_size == 128 and tested.image_size == 256
    assert deal(quick) == deal(tested)
    assert deal(tested) == deal(stages.open_or_prepare(tmp_path / "alone", 256))


def test_shares_of_notebook_1_hold_where_photos_are_prepared_anew(tmp_path, kaggle):
    folder = add_photos(kaggle / "input" / "landscape-image-colorization" / "landscape Images" / "color", count=38)
    paths = find_photos(folder)[0]
    settings = dict(image_size=64, validation_share=0.4, test_share=0, seed=3, progress=False)
    small = prepare_photos(paths, tmp_path / "01_data_preprocessing", **settings)
    larger = stages.open_or_prepare(tmp_path, 128)
    assert larger.image_size == 128 and deal(larger) == deal(small) and len(larger.split("test")) == 0


def test_photos_of_notebook_1_that_are_not_found_again_are_not_replaced(tmp_path):
    add_photos(tmp_path / "mine")
    for path in list((tmp_path / "mine").iterdir()):
        path.rename(path.with_name(f"mine {path.name}"))
    paths = find_photos(tmp_path / "mine")[0]
    prepare_photos(paths, tmp_path / "01_data_preprocessing", image_size=64, progress=False)
    with pytest.raises(ValueError, match="photos of 64 pixels from another folder .* again with image_size = 128"):
        stages.open_or_prepare(tmp_path, 128)


@pytest.mark.parametrize("name", ["validation", "test"])
def test_an_empty_split_is_told_where_it_is_needed(tmp_path, name):
    settings = {"validation_share": 0, "test_share": 0, "image_size": 64, "progress": False}
    photos = prepare_photos(sample_photos()[:4], tmp_path, **settings)
    assert list(stages.take_split(photos, "train")) == [0, 1, 2, 3]
    with pytest.raises(ValueError, match=f"kept no {name} photos: run it again with {name}_share above 0"):
        stages.take_split(photos, name)


def test_networks_of_notebook_2_come_first(tmp_path, capsys):
    folder = tmp_path / "02_model_training"
    save_model(build_generator(None, 4, seed=9), folder / "generator_best.keras")
    save_model(build_discriminator(None, 4, seed=9), folder / "discriminator_best.keras")
    generator, discriminator = stages.open_networks(tmp_path, seed=0)
    assert "the best of notebook 2" in capsys.readouterr().out
    np.testing.assert_array_equal(generator.get_weights()[0], build_generator(None, 4, seed=9).get_weights()[0])
    assert discriminator.output_shape[-1] == 1


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float32"])
def test_networks_are_tuned_in_the_precision_of_this_machine(tmp_path, policy):
    folder = tmp_path / "02_model_training"
    trained = build_generator(None, 4, seed=9)
    save_model(change_precision(trained, "mixed_float16"), folder / "generator_best.keras")  # as a GPU leaves it
    save_model(build_discriminator(None, 4, seed=9), folder / "discriminator_best.keras")
    keras.config.set_dtype_policy(policy)
    try:
        networks = stages.open_networks(tmp_path, seed=0)
    finally:
        keras.config.set_dtype_policy("float32")
    layers = [
        network.get_layer(name)
        for network, name in zip(networks, ("generator_encoder_2", "discriminator_block_2"), strict=True)
    ]
    assert [layer.compute_dtype for layer in layers] == [policy.removeprefix("mixed_")] * 2
    for ours, reference in zip(networks[0].get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, reference)


@pytest.mark.parametrize(("perceptual", "channels"), [(True, 7), (False, 4)])
def test_a_new_discriminator_sees_fine_detail_only_beside_vgg19(tmp_path, perceptual, channels):
    save_model(build_generator(None, 4, seed=9), tmp_path / "02_model_training" / "generator_best.keras")
    _, discriminator = stages.open_networks(tmp_path, seed=0, perceptual=perceptual)
    assert discriminator.get_layer("discriminator_block_1").kernel.shape[2] == channels


def test_a_generator_without_its_discriminator_gets_a_new_one(tmp_path, capsys):
    save_model(build_generator(None, 4, seed=9), tmp_path / "02_model_training" / "generator_best.keras")
    generator, discriminator = stages.open_networks(tmp_path, seed=0)
    assert "a new discriminator (there is no discriminator_best.keras beside it)" in capsys.readouterr().out
    assert generator.count_params() == build_generator(None, 4).count_params() and discriminator.count_params()


def first_weight(generator):
    return generator.get_weights()[0].ravel()[0]


def test_the_newest_generator_is_tested_beside_the_shipped_one(tmp_path, capsys):
    assert list(stages.open_tested_generators("", tmp_path)) == ["generator"]
    assert capsys.readouterr().out == "generator: the shipped one\n"
    own = {number: build_generator(None, 4, seed=number) for number in (2, 3)}
    for number, name in ((2, "02_model_training"), (3, "03_model_finetuning")):
        save_model(own[number], tmp_path / name / "generator_best.keras")
        found = stages.open_tested_generators("", tmp_path)
        assert capsys.readouterr().out == f"generator: the best of notebook {number}, beside the shipped one\n"
        assert list(found) == ["generator", "shipped"]
        assert first_weight(found["generator"]) == first_weight(own[number])
        assert found["shipped"].count_params() != own[number].count_params()
    path = tmp_path / "02_model_training" / "generator_best.keras"
    found = stages.open_tested_generators(path, tmp_path)
    assert first_weight(found["generator"]) == first_weight(own[2])
    assert list(stages.open_tested_generators(find_generator(), tmp_path)) == ["generator"]


def test_without_notebook_2_the_shipped_generator_is_tuned(tmp_path, capsys):
    generator, _ = stages.open_networks(tmp_path, seed=0)
    assert "the generator that ships" in capsys.readouterr().out
    assert isinstance(generator, keras.Model)


@pytest.mark.parametrize("mount", ["my-run", "notebooks/me/my-run", "datasets/me/my-run", "datasets/me/my-run/inside"])
def test_earlier_outputs_are_found_in_a_kaggle_input(kaggle, mount):
    folder = kaggle / "input" / mount / "02_model_training"
    folder.mkdir(parents=True)
    (folder / "history.csv").write_text("epoch\n")
    found = stages.find_output("02_model_training", "history.csv", kaggle / "working")
    assert found == folder / "history.csv"
    assert stages.find_output("02_model_training", "nothing.csv", kaggle / "working") is None


def test_profiles():
    assert host.choose_profile("full") == "full"
    assert host.choose_profile("auto") in ("full", "quick")
    with pytest.raises(ValueError, match="profile is 'fast', expected 'auto', 'full' or 'quick'"):
        host.choose_profile("fast")


# Settings of the notebooks


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("epochs", "5", 5),
        ("epochs", 2.0, 2),
        ("patience", "1", 1),
        ("image_size", "128", 128),
        ("image_size", 0, 0),
        ("max_hours", "1", 1.0),
        ("max_hours", 1, 1.0),
        ("generator_learning_rate", 0, 0.0),
        ("test_share", "0", 0.0),
        ("own_photo", Path("a=b.jpg"), "a=b.jpg"),
    ],
)
def test_a_setting_gets_the_type_it_should_have(name, value, right):
    values = {"profile": "auto", name: value, "something_else": "5"}
    stages.check_settings(values)
    assert values == {"profile": "auto", name: right, "something_else": "5"}
    assert type(values[name]) is type(right)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("epochs", 0, "a whole number of at least 1"),
        ("epochs", -1, "a whole number of at least 1"),
        ("epochs", "many", "a whole number of at least 1"),
        ("epochs", 2.5, "a whole number of at least 1"),
        ("epochs", True, "a whole number of at least 1"),
        ("epochs", None, "a whole number of at least 1"),
        ("batch_size", 0, "a whole number of at least 1"),
        ("image_size", 100, "a multiple of 128, or 0 for what the profile says"),
        ("image_size", -128, "a multiple of 128, or 0 for what the profile says"),
        ("generator_learning_rate", float("nan"), "a number above 0, at most 1, or 0 for what the profile says"),
        ("precision", "float16", "one of 'auto', 'float32', 'mixed_float16', 'mixed_bfloat16'"),
        ("profile", "fast", "one of 'auto', 'full', 'quick'"),
        ("learning_rate_decay", "linear", "one of 'plateau', 'cosine'"),
        ("normalization", "layer", "one of 'auto', 'instance', 'batch', 'none'"),
        ("test_share", 1, "a share from 0 to below 1"),
        ("guidance", 1.5, "a share from 0 to 1"),
        ("max_hours", 0, "a number above 0"),
        ("l1_weight", -2, "a number, 0 or more, or -1 for the recipe's"),
        ("seed", 2**32, "a whole number from 0 to 4294967295"),
        ("photo_folder", 3, "a text in quotes"),
    ],
)
def test_a_setting_that_cannot_be_is_named_with_what_was_expected(name, value, expected):
    with pytest.raises(ValueError) as caught:
        stages.check_settings({"profile": "auto", name: value})
    assert str(caught.value) == f"{name} is {value!r}, expected {expected}."


def test_without_profiles_a_size_of_zero_is_refused():
    with pytest.raises(ValueError, match="image_size is 0, expected a multiple of 128."):
        stages.check_settings({"image_size": 0})


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="precision is 'float16', expected one of 'auto', 'float32'"):
        host.set_up_devices("float16")


def test_photos_between_the_least_and_the_largest_size_stay_as_they_are(tmp_path, capsys):
    prepare_photos(sample_photos()[:12], tmp_path / "01_data_preprocessing", image_size=128, progress=False)
    assert stages.open_or_prepare(tmp_path, 128, largest=256).image_size == 128
    assert stages.open_or_prepare(tmp_path, 64).image_size == 64
    assert capsys.readouterr().out.count("prepared by notebook 1") == 2


def test_a_table_in_short_has_the_best_blind_value_in_bold():
    rows = [
        {"fill": fill, "mode": mode, "kind": "box", "difficulty": "hard", "hole_psnr": psnr, "sharpness": 0.5}
        for fill, mode, psnr in (("Telea", "blind", 15.0), ("ours", "blind", 16.25), ("ours", "guided", 17.0))
    ]
    assert stages.tabulate(pd.DataFrame(rows)).splitlines() == [
        "| method | box hard |",
        "| --- | --- |",
        "| Telea | 15.00 · 0.50 |",
        "| ours, blind | **16.25** · 0.50 |",
        "| ours, guided | 17.00 · 0.50 |",
    ]


def test_keras_is_imported_quietly_in_a_process_without_a_stderr():
    code = "import sys; assert sys.stderr is None; import inpaint_utils.quiet; print('imported')"
    command = ["sh", "-c", f'exec "$0" -c "{code}" 2>&-', sys.executable]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert done.stdout == "imported\n"
