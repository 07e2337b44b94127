"""Notebooks find their photos, networks and folders wherever they run, and say what they found."""

import shutil

import keras
import numpy as np
import pytest

from inpaint_utils import build_discriminator, build_generator, host, sample_photos, stages
from inpaint_utils.files import save_model
from inpaint_utils.networks.models import change_precision


@pytest.fixture
def kaggle(tmp_path, monkeypatch):
    (tmp_path / "working").mkdir()
    monkeypatch.setattr(host, "KAGGLE_FOLDER", tmp_path)
    for module in (host, stages):
        monkeypatch.setattr(module, "INPUT_FOLDER", tmp_path / "input")
    return tmp_path


def add_photos(folder, count=4):
    folder.mkdir(parents=True)
    for photo in sample_photos()[:count]:
        shutil.copy(photo, folder)
    return folder


def test_without_a_dataset_the_sample_photos_are_used():
    assert host.find_photo_folder() == sample_photos()[0].parent


@pytest.mark.parametrize("root", ["input", "input/datasets/somebody"])
@pytest.mark.parametrize("inside", host.DATASETS)
def test_kaggle_datasets_are_found_in_both_layouts(kaggle, root, inside):
    folder = add_photos(kaggle / root / inside)
    assert host.find_photo_folder() == folder


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.*not a folder: give the folder"):
        host.find_photo_folder(tmp_path / "nowhere")


def test_prepared_photos_are_found_shrunk_or_prepared_anew(tmp_path, capsys):
    first = stages.open_or_prepare(tmp_path, 128, seed=0)
    assert "prepared now" in capsys.readouterr().out
    (tmp_path / "photos_128").rename(tmp_path / "01_data_preprocessing")
    again = stages.open_or_prepare(tmp_path, 128, seed=0)
    assert "prepared by notebook 1" in capsys.readouterr().out
    np.testing.assert_array_equal(first.images[:3], again.images[:3])
    small = stages.open_or_prepare(tmp_path, 64, seed=0)
    assert small.images.shape[1:] == (64, 64, 3)
    assert list(small.split("test")) == list(again.split("test"))
    means = [photos.images.mean(axis=(1, 2)) for photos in (small, again)]
    np.testing.assert_allclose(means[0], means[1], atol=1)


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


def test_without_notebook_2_the_shipped_generator_is_tuned(tmp_path, capsys):
    generator, _ = stages.open_networks(tmp_path, seed=0)
    assert "the generator that ships" in capsys.readouterr().out
    assert isinstance(generator, keras.Model)


def test_earlier_outputs_are_found_in_a_kaggle_input(kaggle):
    folder = kaggle / "input" / "my-run" / "02_model_training"
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
