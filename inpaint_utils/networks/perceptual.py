"""VGG19 features: what a picture shows rather than what its pixels are, for the perceptual loss and distance."""

from pathlib import Path

import keras
import numpy as np
from keras import ops

# One layer of each of the first three blocks: texture at 2, 4 and 10 pixels' distance (Johnson et al. 2016).
LAYERS = ("block1_conv2", "block2_conv2", "block3_conv4")
CAFFE_MEAN = (103.939, 116.779, 123.68)  # BGR, as keras.applications.vgg19.preprocess_input subtracts it


def build_perceptual(weights="imagenet", layer_names=LAYERS):
    """Build the frozen VGG19 feature extractor.

    Perceptual loss: Johnson et al. 2016, arXiv 1603.08155. VGG19: Simonyan & Zisserman 2014, arXiv 1409.1556.

    Args:
        weights: "imagenet" (downloaded once by `keras.applications`), a file (`.h5` as Keras publishes it without
            top, `.npz` with arrays "block1_conv1/kernel", "block1_conv1/bias", …), or None for no perceptual loss.
        layer_names: VGG19 layers whose outputs are returned.

    Returns: a `keras.Model` from float32 (B, H, W, 3) RGB in [0, 1] to the list of feature maps; None for None.
    Raises: FileNotFoundError if the weights can't be had, with the three ways out; ValueError for a file that
        lacks a layer or has another shape.
    """
    if weights is None:
        return None
    is_file = str(weights) != "imagenet"
    if is_file and not Path(weights).is_file():
        raise FileNotFoundError(_no_weights(f"there is no file {str(weights)!r}"))
    try:
        vgg = keras.applications.VGG19(include_top=False, weights=None if is_file else "imagenet")
    except Exception as error:  # what the download raises differs from host to host
        raise FileNotFoundError(_no_weights("they could not be downloaded")) from error
    image = keras.Input((None, None, 3), name="image")
    x = ops.flip(image * 255.0, axis=-1) - np.asarray(CAFFE_MEAN, "float32")
    features = []
    for layer in vgg.layers[1:]:
        x = layer(x)
        if layer.name in layer_names:
            features.append(x)
        if len(features) == len(layer_names):
            break
    if len(features) < len(layer_names):
        raise ValueError(f"layer_names is {layer_names}, expected names of VGG19 layers such as {LAYERS}.")
    model = keras.Model(image, features, name="vgg19_features")
    if is_file:
        try:
            _load_npz(model, weights) if Path(weights).suffix == ".npz" else vgg.load_weights(weights)
        except Exception as error:  # what a broken or foreign file raises depends on where it breaks
            reason = str(error).strip().split("\n")[0]
            raise ValueError(f"{str(weights)!r} holds no VGG19 weights ({reason}): download it again.") from error
    model.trainable = False
    return model


def perceptual_distance(features, a, b):
    """Mean over layers of mean |features(a) − features(b)|, each layer in units of its own mean activation on b.

    Dividing by the layer's own scale weighs the layers alike and makes the number comparable between pictures:
    0 is identical, about 1 is unrelated.

    Args:
        features: a model from `build_perceptual`. a, b: (B, H, W, 3) RGB in [0, 1]; b is the reference.

    Returns: float32 (B,).
    """
    return compare_features(features(a), features(ops.stop_gradient(b)))


def compare_features(of_a, of_b):
    """Mean over layers of mean |a − b|, each layer in units of its own mean activation on b.

    Args:
        of_a, of_b: lists of feature maps (B, H, W, C), one a layer; b is the reference.

    Returns: float32 (B,).
    """
    distances = []
    for a, b in zip(of_a, of_b, strict=True):
        a, b = ops.cast(a, "float32"), ops.cast(b, "float32")
        scale = ops.mean(ops.abs(b), axis=(1, 2, 3)) + 1e-6
        distances.append(ops.mean(ops.abs(a - b), axis=(1, 2, 3)) / scale)
    return sum(distances) / len(distances)


def compare_textures(of_a, of_b):
    """Mean over layers of Σ|G(a) − G(b)| ÷ Σ|G(b)|, G the Gram matrix: which features occur together, wherever.

    Style loss: Gatys et al. 2015, arXiv 1505.07376. 0 is the same texture, about 1 none in common.

    Args:
        of_a, of_b: as in `compare_features`; both may differ in height and width.

    Returns: float32 (B,).
    """
    distances = []
    for a, b in zip(of_a, of_b, strict=True):
        a, b = compute_gram(a), compute_gram(b)
        distances.append(ops.sum(ops.abs(a - b), axis=(1, 2)) / (ops.sum(ops.abs(b), axis=(1, 2)) + 1e-6))
    return sum(distances) / len(distances)


def compute_gram(features):
    """Mean over the places of the products of every two channels: (B, H, W, C) → float32 (B, C, C)."""
    height, width, channels = ops.shape(features)[1:]
    flat = ops.reshape(ops.cast(features, "float32"), (-1, height * width, channels))
    return ops.matmul(ops.transpose(flat, (0, 2, 1)), flat) / ops.cast(height * width, "float32")


def _load_npz(model, path):
    with np.load(path) as arrays:
        for layer in model.layers:
            if not layer.weights:
                continue
            names = [f"{layer.name}/kernel", f"{layer.name}/bias"]
            missing = [name for name in names if name not in arrays]
            if missing:
                raise ValueError(f"{str(path)!r} has no array {missing[0]!r}: expected one pair for each VGG19 layer.")
            layer.set_weights([arrays[name].astype("float32") for name in names])


def _no_weights(problem):
    return (
        f"VGG19's ImageNet weights are needed for the perceptual loss, but {problem}: switch the internet on, "
        "or pass the path of a downloaded vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5 (or .npz) as "
        "vgg19_weights, or set vgg19_weights to 'none' (build_perceptual: None) to train without."
    )
