"""VGG19 features: Keras's own preprocessing and layers, and a plain sentence where the weights are missing."""

import h5py
import keras
import numpy as np
import pytest

from inpaint_utils.networks.perceptual import (
    LAYERS,
    build_perceptual,
    compare_textures,
    compute_gram,
    perceptual_distance,
)

IMAGES = np.random.default_rng(0).random((3, 32, 32, 3)).astype("float32")


@pytest.fixture(scope="module")
def vgg():
    """VGG19 with random weights: the real ones cannot be had in a test."""
    keras.utils.set_random_seed(0)
    model = keras.applications.VGG19(include_top=False, weights=None)
    for layer in model.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, np.random.default_rng(1).normal(0, 5, bias.shape)])
    return model


@pytest.fixture(scope="module")
def npz(vgg, tmp_path_factory):
    path = tmp_path_factory.mktemp("vgg") / "vgg19.npz"
    arrays = {}
    for layer in vgg.layers[: vgg.layers.index(vgg.get_layer("block3_conv4")) + 1]:
        if layer.weights:
            arrays[f"{layer.name}/kernel"], arrays[f"{layer.name}/bias"] = layer.get_weights()
    np.savez(path, **arrays)
    return path


def test_features_are_those_of_keras_vgg19_after_keras_own_preprocessing(vgg, npz):
    reference = keras.Model(vgg.input, [vgg.get_layer(name).output for name in LAYERS])
    expected = reference.predict_on_batch(keras.applications.vgg19.preprocess_input(IMAGES * 255))
    features = build_perceptual(npz)
    measured = features.predict_on_batch(IMAGES)
    assert len(measured) == 3 and not features.trainable_variables
    for ours, theirs in zip(measured, expected, strict=True):
        assert np.abs(theirs).max() > 1
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


def test_the_h5_file_that_keras_publishes_is_read_too(vgg, npz, tmp_path):
    path = tmp_path / "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
    with h5py.File(path, "w") as file:  # that file's layout: layers in order, each with its names of weights
        file.attrs["layer_names"] = [layer.name.encode() for layer in vgg.layers]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.0.0"
        for layer in vgg.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}_{kind}:0".encode() for kind in ("W", "b")] if layer.weights else []
            group.attrs["weight_names"] = names
            for name, value in zip(names, layer.get_weights(), strict=True):
                group.create_dataset(name.decode(), data=value)
    for ours, theirs in zip(
        build_perceptual(path).predict_on_batch(IMAGES), build_perceptual(npz).predict_on_batch(IMAGES), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def assert_one_sentence_with_three_ways_out(error):
    text = str(error.value)
    assert "\n" not in text and text.endswith(".") and text.count(". ") == 0
    for way in ("switch the internet on", "_notop.h5", "vgg19_weights to 'none'"):
        assert way in text


def test_without_internet_one_sentence_says_the_three_ways_out(monkeypatch):
    def fail(**_):
        raise Exception("URL fetch failure on https://storage.googleapis.com/…: None -- Name or service not known")

    monkeypatch.setattr(keras.applications, "VGG19", fail)
    with pytest.raises(FileNotFoundError, match="they could not be downloaded") as error:
        build_perceptual("imagenet")
    assert_one_sentence_with_three_ways_out(error)


def test_a_missing_file_is_named_with_the_three_ways_out(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file '.*missing\.npz'") as error:
        build_perceptual(tmp_path / "missing.npz")
    assert_one_sentence_with_three_ways_out(error)


def test_none_means_none():
    assert build_perceptual(None) is None


def test_a_layer_that_vgg19_does_not_have_is_refused(npz):
    with pytest.raises(ValueError, match="expected names of VGG19 layers"):
        build_perceptual(npz, layer_names=("block9_conv1",))


@pytest.mark.parametrize("name", ["broken.npz", "broken.h5"])
def test_a_broken_file_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"not weights")
    with pytest.raises(ValueError, match=rf"'.*{name}' holds no VGG19 weights"):
        build_perceptual(tmp_path / name)


def test_a_file_that_lacks_a_layer_is_refused(npz, tmp_path):
    with np.load(npz) as arrays:
        np.savez(tmp_path / "part.npz", **{name: arrays[name] for name in arrays if "block2_conv1/bias" not in name})
    with pytest.raises(ValueError, match="has no array 'block2_conv1/bias'"):
        build_perceptual(tmp_path / "part.npz")


def test_the_distance_is_zero_for_equals_and_grows_with_the_difference(npz):
    features = build_perceptual(npz)
    distances = [
        np.asarray(perceptual_distance(features, np.clip(IMAGES + noise, 0, 1), IMAGES)) for noise in (0.0, 0.02, 0.2)
    ]
    assert distances[0].shape == (3,) and (distances[0] == 0).all()
    assert (distances[1] > 0).all() and (distances[1] < distances[2]).all() and (distances[2] < 2).all()


def test_the_distance_is_that_of_the_formula_and_of_each_picture_alone(npz):
    features, other = build_perceptual(npz), 1 - IMAGES
    expected = 0
    for ours, theirs in zip(features.predict_on_batch(other), features.predict_on_batch(IMAGES), strict=True):
        difference = np.abs(ours - theirs).mean(axis=(1, 2, 3))
        expected = expected + difference / np.abs(theirs).mean(axis=(1, 2, 3)) / 3
    np.testing.assert_allclose(np.asarray(perceptual_distance(features, other, IMAGES)), expected, rtol=1e-4)
    alone = [np.asarray(perceptual_distance(features, other[i : i + 1], IMAGES[i : i + 1]))[0] for i in range(3)]
    np.testing.assert_allclose(alone, expected, rtol=1e-4)


def test_gram_matrix_is_the_mean_product_of_channels():
    features = np.array([[[[1.0, 2.0], [3.0, 0.0]]]], "float32")  # two places, two channels
    assert np.asarray(compute_gram(features)).tolist() == [[[5.0, 1.0], [1.0, 2.0]]]


def test_texture_is_the_same_wherever_it_lies():
    maps = np.random.default_rng(0).random((2, 8, 8, 4)).astype("float32")
    moved, other = np.roll(maps, 3, axis=1), np.random.default_rng(1).normal(0, 1, maps.shape).astype("float32")
    assert np.asarray(compare_textures([moved], [maps])) == pytest.approx([0, 0], abs=1e-6)
    assert (np.asarray(compare_textures([other], [maps])) > 0.5).all()
