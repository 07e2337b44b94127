"""The two networks: a U-Net generator and a 70×70 PatchGAN discriminator, in stock Keras layers only."""

import math

import keras
import numpy as np
from keras import layers, ops

from .smooth_fill import FILLS, fill_smoothly

ENCODER = (1, 2, 4, 8, 8, 8, 8)  # filters of the seven encoder blocks, in units of base_filters
DECODER = (8, 8, 8, 4, 2, 1, 1)  # filters of the seven decoder blocks
SIZE_MULTIPLE = 2 ** len(ENCODER)  # seven halvings: height and width must be multiples of 128
SEEN = ("discriminator_shades", "discriminator_detail", "discriminator_seen")  # in float32: little is left of a photo
FLOAT32_LAYERS = ("fill_", "noise_", "generator_change", "discriminator_logits", *SEEN)  # and "raw": in every precision
HOLE_FILLS = (*FILLS, "black")
INITIALIZATIONS = ("normal", "he")
NORMALIZATIONS = ("instance", "batch", "none")
UPSAMPLINGS = ("smooth", "resize", "transposed")


def build_generator(
    image_size=256,
    base_filters=64,
    dropout=0.5,
    hole_fill="smooth",
    normalization="instance",
    upsampling="smooth",
    noise=True,
    seed=0,
):
    """Build the U-Net generator: seven encoder blocks (64→512), seven decoder blocks (512→64), skip connections.

    Input: float32 (B, H, W, 4) in [0, 1], the RGB of the kept pixels (all zero in the hole) and the edge map
    (1 edge, 0 none, ½ unknown), as `build_input` makes it. Output, "raw": float32 (B, H, W, 3) RGB in (0, 1).

    The network finds the hole by itself (RGB all zero). With `hole_fill="smooth"` it lays an average of the
    colours at the hole's rim into it first (`fill_smoothly`, without parameters) and learns what to add to that;
    `"pull_push"` averages over all kept pixels, `"black"` is the plain form: everything is learned from a black hole.
    U-Net: Ronneberger et al. 2015, arXiv 1505.04597; as an image-to-image generator with dropout in the
    decoder: Isola et al. 2017, arXiv 1611.07004. Instance normalization: Ulyanov et al. 2016, arXiv 1607.08022.

    Args:
        image_size: int, height and width, a multiple of 128; None for any such size (fully convolutional).
        base_filters: filters of the first block; 64 gives the full 30 M parameters.
        dropout: share of activations dropped in the first three decoder blocks while training.
        hole_fill: "smooth", "pull_push" or "black".
        normalization: "instance", "batch" or "none".
        upsampling: how a decoder block doubles the size, "resize" (each pixel twice, then a 3×3 convolution: an even
            surface stays even, Odena et al. 2016), "smooth" (the same, with a 3×3 mean before the convolution: no
            streaks along rows and columns either) or "transposed" (the plain form, a 4×4 transposed convolution).
        noise: let every decoder block add fixed random noise to its channels, each by a weight that starts at 0. In a
            large hole the start is nearly constant, and convolutions alone can make texture there only from the phase
            of their sampling, in rows and columns (Karras et al. 2019, arXiv 1812.04948, section 3.2).
        seed: int, for the initial weights, the noise and dropout.

    Returns: a `keras.Model` named "generator"; it opens with plain `keras.models.load_model`.
    Raises: ValueError for an image_size, base_filters, hole_fill, normalization or upsampling that is none of these.
    """
    _check_sizes(image_size, base_filters)
    if image_size is not None and (image_size < SIZE_MULTIPLE or image_size % SIZE_MULTIPLE):
        raise ValueError(
            f"image_size is {image_size}, expected a multiple of {SIZE_MULTIPLE} (seven halvings): "
            f"use {max(1, round(image_size / SIZE_MULTIPLE)) * SIZE_MULTIPLE} instead."
        )
    if hole_fill not in HOLE_FILLS:
        raise ValueError(f"hole_fill is {hole_fill!r}, expected one of {HOLE_FILLS}.")
    if upsampling not in UPSAMPLINGS:
        raise ValueError(f"upsampling is {upsampling!r}, expected one of {UPSAMPLINGS}.")
    make = Block("generator", normalization, seed)

    inputs = keras.Input((image_size, image_size, 4), name="rgb_and_edges")
    rgb, edges = inputs[..., :3], inputs[..., 3:]
    keep = ops.cast(ops.max(rgb, axis=-1, keepdims=True) > 0, "float32")
    start = rgb if hole_fill == "black" else fill_smoothly(rgb, keep, hole_fill)
    guide = layers.Concatenate(name="generator_guide")([start * 2 - 1, edges, keep])

    x, skips = guide, []
    for level, multiple in enumerate(ENCODER, start=1):
        innermost = level == len(ENCODER)  # 1×1 at 128 px: nothing to normalize over
        x = make.down(x, base_filters * multiple, f"encoder_{level}", normalize=level > 1 and not innermost)
        skips.append(x)
    skips = [guide, *skips[:-1]]
    ones = layers.AveragePooling2D(SIZE_MULTIPLE, name="noise_tiles")(keep) * 0 + 1 if noise else None
    for level, multiple in enumerate(DECODER, start=1):
        full_size = level == len(DECODER)  # the costliest map to normalize, and the one that carries colour
        x = make.up(
            x,
            base_filters * multiple,
            f"decoder_{level}",
            upsampling,
            dropout=dropout if level <= 3 else 0,
            normalize=not full_size,
            noise=make.noise(ones, level) if noise else None,
        )
        x = layers.Concatenate(name=f"generator_skip_{level}")([x, skips.pop()])

    change = layers.Conv2D(
        3, 3, padding="same", kernel_initializer=make.initializer(), dtype="float32", name="generator_change"
    )(x)
    if hole_fill != "black":  # logit and sigmoid are inverses: no change returns the fill itself
        start = ops.clip(start, 1 / 256, 255 / 256)
        change = change + ops.log(start / (1 - start))
    raw = layers.Activation("sigmoid", dtype="float32", name="raw")(change)
    return keras.Model(inputs, raw, name="generator")


def build_discriminator(
    image_size=256,
    base_filters=64,
    normalization="instance",
    initialization="normal",
    sees_hole=False,
    detail_gain=0.0,
    seed=1,
):
    """Build the PatchGAN discriminator: four convolutional blocks, then one logit for each 70×70 patch.

    Input: float32 (B, H, W, 3) RGB in [0, 1]. Output: float32 logits (B, H/8 − 2, W/8 − 2, 1), positive for
    "a photo", negative for "made by the generator"; each sees 70×70 pixels. Isola et al. 2017, arXiv 1611.07004.

    Args:
        image_size: int, height and width, or None for any size of at least 32.
        base_filters: filters of the first block (then ×2, ×4, ×8).
        normalization: "instance", "batch" or "none".
        initialization: of the weights, "normal" with deviation 0.02 as in pix2pix, or "he" (He et al. 2015, arXiv
            1502.01852). Without normalization use "he": after "normal" the logits hardly depend on the picture.
        sees_hole: whether it takes a fourth channel, 1 in the hole, so that it need not find the hole first.
        detail_gain: float; above 0 the first block also sees the picture minus its mean over 5×5 pixels, this many
            times as large. Colours and shades differ far more than textures do, so that it looks at these first.
        seed: int, for the initial weights.

    Raises: ValueError for an image_size, base_filters, normalization, initialization or detail_gain that is none of
        these.
    """
    _check_sizes(image_size, base_filters)
    if not 0 <= detail_gain < math.inf:
        raise ValueError(f"detail_gain is {detail_gain}, expected 0 (no detail beside the picture) or more, such as 8.")
    make = Block("discriminator", normalization, seed, initialization)
    image = keras.Input((image_size, image_size, 4 if sees_hole else 3), name="image")
    x = image * 2 - 1
    if detail_gain:
        shades, detail, seen = SEEN
        shades = layers.AveragePooling2D(5, 1, padding="same", dtype="float32", name=shades)(x)
        detail = layers.Subtract(dtype="float32", name=detail)([x, shades])[..., :3] * detail_gain
        x = layers.Concatenate(dtype="float32", name=seen)([x, detail])
    for level, (multiple, strides) in enumerate(((1, 2), (2, 2), (4, 2), (8, 1)), start=1):
        x = make.down(x, base_filters * multiple, f"block_{level}", normalize=level > 1, strides=strides, pad=True)
    x = layers.ZeroPadding2D(1, name="discriminator_pad_logits")(x)
    logits = layers.Conv2D(1, 4, kernel_initializer=make.initializer(), dtype="float32", name="discriminator_logits")(x)
    return keras.Model(image, logits, name="discriminator")


def _check_sizes(image_size, base_filters):
    """Refuse what is no whole number, such as a shape in place of a size."""
    for name, value in (("image_size", image_size), ("base_filters", base_filters)):
        if not (isinstance(value, (int, np.integer)) and value >= 1 or value is None and name == "image_size"):
            raise ValueError(f"{name} is {value!r}, expected a whole number of at least 1.")


def change_precision(network, policy):
    """A copy of one of the two networks that computes in another precision, with the same float32 weights.

    The smooth fill and the outputs stay in float32, as when the network is built in that precision.

    Args:
        network: from `build_generator` or `build_discriminator`, or such a one from a file.
        policy: "float32", "mixed_float16" or "mixed_bfloat16".
    """

    def clone(layer):
        config = layer.get_config()
        if isinstance(layer, layers.Layer):  # and not one of the operations between them, which have no precision
            exact = layer.name == "raw" or layer.name.startswith(FLOAT32_LAYERS)
            config["dtype"] = "float32" if exact else policy
        return type(layer).from_config(config)

    copy = keras.models.clone_model(network, clone_function=clone)
    copy.set_weights(network.get_weights())
    return copy


class Block:
    """Makes the convolution blocks both networks are built of, with one naming scheme and one seed."""

    def __init__(self, name, normalization, seed, initialization="normal"):
        if normalization not in NORMALIZATIONS:
            raise ValueError(f"normalization is {normalization!r}, expected one of {NORMALIZATIONS}.")
        if initialization not in INITIALIZATIONS:
            raise ValueError(f"initialization is {initialization!r}, expected one of {INITIALIZATIONS}.")
        self.name, self.normalization, self.initialization = name, normalization, initialization
        self.random = np.random.default_rng(seed)

    def initializer(self):
        """Normal with deviation 0.02, as pix2pix uses for GANs, or He's; a seed of its own for every layer."""
        if self.initialization == "he":
            return keras.initializers.HeNormal(seed=self.next_seed())
        return keras.initializers.RandomNormal(stddev=0.02, seed=self.next_seed())

    def next_seed(self):
        return int(self.random.integers(2**31))

    def down(self, x, filters, name, normalize=True, strides=2, pad=False):
        """Convolution 4×4, normalization, leaky ReLU; `pad` by one pixel on each side, as in pix2pix."""
        if pad:
            x = layers.ZeroPadding2D(1, name=f"{self.name}_pad_{name}")(x)
        x = layers.Conv2D(
            filters,
            4,
            strides=strides,
            padding="valid" if pad else "same",
            use_bias=not self._normalizes(normalize),
            kernel_initializer=self.initializer(),
            name=f"{self.name}_{name}",
        )(x)
        return layers.LeakyReLU(0.2, name=f"{self.name}_act_{name}")(self._normalize(x, name, normalize))

    def noise(self, ones, level):
        """Normal noise in the size of decoder block `level`, the same for every picture, in tiles of 128 input pixels.

        A frozen transposed convolution lays its kernel, which is the noise, over a map of ones: stock layers only. It
        stays in float32: CPUs are forty times slower at it in bfloat16, a tenth of a training step.
        """
        side = 2**level
        return layers.Conv2DTranspose(
            1,
            side,
            strides=side,
            use_bias=False,
            kernel_initializer=keras.initializers.RandomNormal(stddev=1.0, seed=self.next_seed()),
            trainable=False,
            dtype="float32",
            name=f"noise_{level}",
        )(ones)

    def up(self, x, filters, name, upsampling, dropout=0.0, normalize=True, noise=None):
        """Twice the size, by resize and convolution 3×3 or transposed convolution 4×4; normalization, dropout, ReLU."""
        settings = dict(
            padding="same",
            use_bias=not self._normalizes(normalize),
            kernel_initializer=self.initializer(),
            name=f"{self.name}_{name}",
        )
        if upsampling == "transposed":  # its stride divides its kernel
            x = layers.Conv2DTranspose(filters, 4, strides=2, **settings)(x)
        else:
            x = layers.UpSampling2D(2, name=f"{self.name}_resize_{name}")(x)
            if upsampling == "smooth":
                x = layers.AveragePooling2D(3, strides=1, padding="same", name=f"{self.name}_mean_{name}")(x)
            x = layers.Conv2D(filters, 3, **settings)(x)
        x = self._normalize(x, name, normalize)
        if noise is not None:
            own = layers.Conv2D(
                filters, 1, use_bias=False, kernel_initializer="zeros", name=f"{self.name}_noise_{name}"
            )
            x = layers.Add(name=f"{self.name}_add_{name}")([x, own(noise)])
        if dropout:
            x = layers.Dropout(dropout, seed=self.next_seed(), name=f"{self.name}_drop_{name}")(x)
        return layers.ReLU(name=f"{self.name}_act_{name}")(x)

    def _normalizes(self, normalize):
        return normalize and self.normalization != "none"

    def _normalize(self, x, name, normalize):
        if not self._normalizes(normalize):
            return x
        if self.normalization == "batch":
            return layers.BatchNormalization(momentum=0.9, name=f"{self.name}_norm_{name}")(x)
        # Each channel of each picture by itself: results do not depend on what else is in the batch.
        return layers.GroupNormalization(groups=-1, epsilon=1e-5, name=f"{self.name}_norm_{name}")(x)
