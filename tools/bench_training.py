"""How fast the engine is, as ratios measured in one run: `make bench`, or `python tools/bench_training.py --help`.

Times differ between machines and minutes; what is compared with each other is therefore measured in turns.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import inpaint_utils.quiet  # noqa: F401, I001  (first: Keras without start-up messages)
import keras
import numpy as np
from keras import ops

from inpaint_utils import InpaintingGAN, PhotoBatches, ThrottledAdam, build_discriminator, build_generator
from inpaint_utils import build_perceptual, decode_batch
from inpaint_utils.app.command import run_tool
from inpaint_utils.training.recipe import TEXTURE


def make_photos(count, size):
    coarse = np.random.default_rng(0).random((count, 8, 8, 3))
    return (np.kron(coarse, np.ones((1, size // 8, size // 8, 1))) * 255).astype(np.uint8)


def build_gan(size, filters, perceptual=None, **weights):
    weights = {"perceptual_weight": 0 if perceptual is None else 1, "hole_weight": 1, **weights}
    judged = weights.get("judged_size") or size
    gan = InpaintingGAN(build_generator(size, filters), build_discriminator(judged, filters), perceptual, **weights)
    gan.compile(optimizer=ThrottledAdam(5e-5))
    return gan


def build_two_tapes(gan):
    """The usual way to write the same training on TensorFlow: two tapes, two optimizers, a `tf.function`.

    It knows no throttle, no strategy and no other backend; the networks and losses are those of `gan`.
    """
    import tensorflow as tf

    generator, discriminator = gan.generator, gan.discriminator
    g_adam, d_adam = keras.optimizers.Adam(5e-5, beta_1=0.5), keras.optimizers.Adam(2e-5, beta_1=0.5)
    cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)

    @tf.function
    def step(batch):
        photo, mask, inputs = decode_batch(batch)
        with tf.GradientTape() as g_tape, tf.GradientTape() as d_tape:
            raw = generator(inputs, training=True)
            filled = mask * photo + (1 - mask) * raw
            on_photo, on_filled = discriminator(photo, training=True), discriminator(filled, training=True)
            adversarial = cross_entropy(tf.ones_like(on_filled), on_filled)
            l1 = tf.reduce_mean(tf.abs(raw - photo))
            g_loss = gan.adversarial_weight * adversarial + gan.l1_weight * l1
            fake = cross_entropy(tf.zeros_like(on_filled), on_filled)
            d_loss = (cross_entropy(tf.ones_like(on_photo), on_photo) + fake) / 2
        g_weights, d_weights = generator.trainable_variables, discriminator.trainable_variables
        g_adam.apply(g_tape.gradient(g_loss, g_weights), g_weights)
        d_adam.apply(d_tape.gradient(d_loss, d_weights), d_weights)
        return {"generator_loss": g_loss, "discriminator_loss": d_loss, "l1": l1, "adversarial": adversarial}

    return step


def time_in_turns(steps, rounds):
    """Seconds each call of several functions took, an array of `rounds` turns for each."""
    for step in steps.values():
        step()
        step()
    times = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in times.items()}


def make_step(gan, batch):
    """One step of stock `fit` on one batch, waited for; what `fit` adds around a step is in it."""
    gan.make_train_function()
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        data = iter(tf.data.Dataset.from_tensors((batch,)).repeat())
        return lambda: float(gan.train_function(data)["loss"])
    return lambda: gan.train_on_batch(batch)


class TimedBatches(PhotoBatches):
    """Notes when each batch was ready."""

    ready = {}

    def __getitem__(self, batch):
        drawn = super().__getitem__(batch)
        self.ready[self.epoch, batch] = time.perf_counter()
        return drawn


class Clock(keras.callbacks.Callback):
    """The share of an epoch's time that passes between a step's begin and the moment its batch is ready."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch, self.begun = epoch, []

    def on_train_batch_begin(self, batch, logs=None):
        self.begun.append(time.perf_counter())

    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])  # on TensorFlow and JAX alike: wait for the device
        self.ended = time.perf_counter()

    def share(self):
        ready = [self.batches.ready[self.epoch, batch] for batch in range(len(self.begun))]
        waits = [max(0.0, there - begun) for there, begun in zip(ready, self.begun, strict=True)]
        return sum(waits[1:]) / (self.ended - self.begun[1])  # no step runs while the first batch is drawn


def make_product(size=2048):
    """A matrix product in float32 (or the policy's precision), to compare with, and its FLOP."""
    a = ops.cast(ops.ones((size, size)), keras.config.dtype_policy().compute_dtype)
    return (lambda: float(ops.sum(ops.cast(ops.matmul(a, a), "float32")))), 2 * size**3


def judge(value, most):
    return f"(at most {most} wanted: {'passed' if value <= most else 'MISSED'})"


def count_operations(network):
    """FLOP of one picture's forward pass: two for each multiplication of its convolutions."""
    total = 0
    for layer in network.layers:
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.Conv2DTranspose)):
            places = layer.input if isinstance(layer, keras.layers.Conv2DTranspose) else layer.output
            total += 2 * int(np.prod(places.shape[1:3])) * int(np.prod(layer.kernel.shape))
    return total


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--base-filters", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=15, help="turns of which the median is taken")
    parser.add_argument("--workers", type=int, default=2, help="threads that draw batches")
    parser.add_argument("--precision", default="float32")
    given = parser.parse_args(arguments)
    size, batch_size = given.image_size, given.batch_size
    keras.config.set_dtype_policy(given.precision)
    print(f"{keras.backend.backend()}, {given.precision}, {size} px, {given.base_filters} filters, batch {batch_size}")

    photos = make_photos(16 * batch_size, size)
    batches = PhotoBatches(photos, batch_size=batch_size, workers=given.workers)
    start = time.perf_counter()
    for number in range(len(batches)):
        batch = batches[number][0]
    rate = len(photos) / (time.perf_counter() - start)
    print(f"pipeline alone, one thread        {rate:8.1f} samples/s")

    with tempfile.TemporaryDirectory() as folder:  # random weights are as fast as ImageNet's
        path = Path(folder) / "vgg19.weights.h5"
        keras.applications.VGG19(include_top=False, weights=None).save_weights(path)
        perceptual = build_perceptual(path)
    plain = build_gan(size, given.base_filters)
    steps = {"plain": make_step(plain, batch)}
    steps["with VGG19"] = make_step(build_gan(size, given.base_filters, perceptual), batch)
    square = {**TEXTURE, "judged_size": min(TEXTURE["judged_size"], size // 2)}
    steps["recipe for texture"] = make_step(build_gan(size, given.base_filters, perceptual, **square), batch)
    if keras.backend.backend() == "tensorflow":
        two_tapes = build_two_tapes(build_gan(size, given.base_filters))
        tensors = {name: ops.convert_to_tensor(part) for name, part in batch.items()}
        steps["two tapes"] = lambda: float(two_tapes(tensors)["generator_loss"])
    steps["matrix product"], product_flop = make_product()
    times = time_in_turns(steps, given.rounds)
    product = times.pop("matrix product")
    for name, turns in times.items():
        seconds, against = np.median(turns), f"{np.median(turns / times['plain']):.2f} × plain"
        print(f"step, {name:27} {seconds:8.3f} s   {batch_size / seconds:8.1f} samples/s   {against}")
    if "two tapes" in times:
        ratio = np.median(times["plain"] / times["two tapes"])  # turn by turn: the machine's mood cancels out
        print(f"ours / two tapes                  {ratio:8.2f}   {judge(ratio, 1.05)}")
    ratio = np.median(times["recipe for texture"] / times["plain"])
    print(f"recipe for texture / plain        {ratio:8.2f}   {judge(ratio, 3)}")

    timed = TimedBatches(photos, batch_size=batch_size, workers=given.workers)
    clock = Clock(timed)
    plain.fit(timed, epochs=2, callbacks=[clock], verbose=0)  # the second epoch, with everything compiled
    print(f"time that steps wait for data     {clock.share():8.2%}   {judge(clock.share(), 0.02)}")

    # Forward and backward: generator 3 × once; discriminator 3 × twice for its own loss, 2 × once for the generator's.
    flop = batch_size * (3 * count_operations(plain.generator) + 8 * count_operations(plain.discriminator))
    print(f"arithmetic of the plain step      {flop / np.median(times['plain']) / 1e12:8.3f} TFLOP/s")
    of_product = np.median(flop / times["plain"] * product / product_flop)  # turn by turn, as above
    print(f"of a large matrix product's rate  {of_product:8.0%}   (small products may come out ahead)")


if __name__ == "__main__":
    run_tool(main)
