"""Networks and data so small that a training test takes seconds; also used by the tests' own processes."""

import keras
import numpy as np
from keras import layers

from inpaint_utils.data.batches import PhotoBatches
from inpaint_utils.training.gan import InpaintingGAN, ThrottledAdam


def make_photos(count=8, size=32, seed=0):
    """Random colour fields with a little noise, uint8 (count, size, size, 3)."""
    random = np.random.default_rng(seed)
    coarse = np.kron(random.random((count, 4, 4, 3)), np.ones((1, size // 4, size // 4, 1)))
    return (np.clip(coarse + random.normal(0, 0.05, coarse.shape), 0, 1) * 255).astype(np.uint8)


def make_batches(batch_size=4, count=8, size=32, **settings):
    return PhotoBatches(make_photos(count, size), batch_size=batch_size, **settings)


def build_tiny_generator(seed=0, dropout=0.0):
    image = keras.Input((None, None, 4))
    x = layers.Conv2D(6, 3, padding="same", activation="relu", kernel_initializer=Start(seed), name="generator_1")(
        image
    )
    x = layers.Dropout(dropout, seed=seed)(x)
    x = layers.Conv2D(3, 3, padding="same", kernel_initializer=Start(seed + 1), name="generator_2", dtype="float32")(x)
    return keras.Model(image, layers.Activation("sigmoid", dtype="float32")(x), name="generator")


def build_tiny_discriminator(seed=7):
    image = keras.Input((None, None, 3))
    x = layers.Conv2D(6, 4, strides=2, kernel_initializer=Start(seed), name="discriminator_1")(image)
    x = layers.LeakyReLU(0.2)(x)
    x = layers.Conv2D(1, 4, kernel_initializer=Start(seed + 1), name="discriminator_2", dtype="float32")(x)
    return keras.Model(image, x, name="discriminator")


def build_tiny_gan(optimizer=None, dropout=0.0, **settings):
    """A compiled `InpaintingGAN` of the tiny networks; without perceptual loss if none is given."""
    settings = {"perceptual_weight": 0, **settings}
    gan = InpaintingGAN(build_tiny_generator(dropout=dropout), build_tiny_discriminator(), **settings)
    gan.compile(optimizer=optimizer or ThrottledAdam(1e-2))
    return gan


def read_weights(network):
    return [keras.ops.convert_to_numpy(variable) for variable in network.trainable_variables]


def same_bits(before, after):
    """True if two lists of arrays agree bit for bit (-0.0 and 0.0 differ, equal NaNs do not)."""
    return all(a.tobytes() == b.tobytes() for a, b in zip(before, after, strict=True))


@keras.saving.register_keras_serializable("tiny")
class Start(keras.initializers.Initializer):
    """Initial weights that are the same on every backend."""

    def __init__(self, seed):
        self.seed = seed

    def __call__(self, shape, dtype=None):
        return keras.ops.convert_to_tensor(np.random.default_rng(self.seed).normal(0, 0.1, shape).astype("float32"))

    def get_config(self):
        return {"seed": self.seed}


NETWORKS = ("generator", "discriminator")
RECIPE = dict(
    hole_weight=6.0, colour_weight=2.0, cells_weight=20.0, style_weight=5.0, matching_weight=3.0, judged_size=96
)
THRESHOLD = 0.687  # amid the losses of the first 60 steps


def build_tiny_features():
    """Stands in for VGG19's features: two maps of a picture."""
    image = keras.Input((None, None, 3))
    first = layers.Conv2D(4, 3, activation="relu", kernel_initializer=Start(20))(image)
    second = layers.Conv2D(4, 3, strides=2, activation="relu", kernel_initializer=Start(21))(first)
    model = keras.Model(image, [first, second])
    model.trainable = False
    return model
