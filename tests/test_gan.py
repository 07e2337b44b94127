"""The GAN: its losses against NumPy, each network's own gradient, the throttle exact to the bit."""

import importlib.util
import random
from pathlib import Path

import keras
import numpy as np
import pytest
from tiny import build_tiny_gan, make_batches, read_weights, same_bits

from inpaint_utils.inference.inpaint import build_input
from inpaint_utils.training.gan import CHANCE, InpaintingGAN, ThrottledAdam, decode_batch

STEPS = 12


class Watch(keras.callbacks.Callback):
    """After every step: both networks' weights, and all of the optimizer's memory of the discriminator."""

    def __init__(self):
        super().__init__()
        self.generator, self.discriminator, self.memory = [], [], []

    def on_train_begin(self, logs=None):
        self.model.optimizer.build(self.model.trainable_variables)
        self.keep()

    def on_train_batch_end(self, batch, logs=None):
        self.keep()

    def keep(self):
        self.generator.append(read_weights(self.model.generator))
        self.discriminator.append(read_weights(self.model.discriminator))
        optimizer = self.model.optimizer
        places = [variable for variable in optimizer.variables if "discriminator" in variable.path]
        places += list(getattr(optimizer, "_updates", {}).values())
        self.memory.append([variable.numpy() for variable in places])

    def moved(self, what):
        kept = getattr(self, what)
        return [not same_bits(a, b) for a, b in zip(kept, kept[1:], strict=False)]


def watch_training(gan, steps=STEPS):
    watch = Watch()
    history = gan.fit(make_batches(2, count=2 * steps), epochs=1, callbacks=[watch], verbose=0).history
    return watch, history


@pytest.fixture(scope="module")
def too_strong():
    return watch_training(build_tiny_gan(throttle_threshold=99.0))


def test_always_too_strong_the_discriminator_trains_on_exactly_one_step_of_three(too_strong):
    watch, history = too_strong
    assert watch.moved("discriminator") == [step % 3 == 0 for step in range(STEPS)]
    assert history["duty"] == pytest.approx([1 / 3])


def test_a_skipped_step_leaves_weights_moments_and_counts_of_the_discriminator_as_they_were_bit_for_bit(too_strong):
    watch, _ = too_strong
    assert len(watch.memory[0]) == 2 * len(watch.discriminator[0]) + len(watch.discriminator[0])
    assert watch.moved("memory") == watch.moved("discriminator") == [step % 3 == 0 for step in range(STEPS)]


def test_the_generator_trains_on_every_step(too_strong):
    assert all(too_strong[0].moved("generator"))


def test_never_too_strong_the_discriminator_trains_on_every_step():
    watch, history = watch_training(build_tiny_gan(throttle_threshold=0))
    assert all(watch.moved("discriminator")) and history["duty"] == [1.0]


@pytest.mark.parametrize("every", [1, 5])
def test_throttle_every_is_the_share_of_steps_while_too_strong(every):
    watch, _ = watch_training(build_tiny_gan(throttle_threshold=99.0, throttle_every=every), steps=6)
    assert watch.moved("discriminator") == [step % every == 0 for step in range(6)]


@pytest.mark.parametrize(("loss", "trains"), [(0.4, False), (0.4999, False), (0.5, True), (0.6, True)])
def test_too_strong_means_that_the_loss_of_the_step_before_was_below_the_threshold(loss, trains):
    gan = build_tiny_gan(throttle_threshold=0.5)
    gan.step.assign(1)  # not its turn
    gan.last_d_loss.assign(loss)
    before = read_weights(gan.discriminator)
    gan.train_on_batch(make_batches()[0][0])
    assert same_bits(before, read_weights(gan.discriminator)) is not trains


def test_the_first_step_knows_no_loss_and_counts_as_chance():
    assert np.float32(CHANCE) == float(build_tiny_gan().last_d_loss) == pytest.approx(np.log(2), abs=1e-4)


def test_validation_neither_trains_nor_moves_the_throttle():
    gan = build_tiny_gan(throttle_threshold=99.0)
    before = read_weights(gan)
    gan.evaluate(make_batches(fixed=True), verbose=0)
    assert int(gan.step) == 0 and float(gan.last_d_loss) == np.float32(CHANCE) and same_bits(before, read_weights(gan))


def test_the_order_of_the_batches_is_theirs_and_not_that_of_pythons_random_generator():
    trained = []
    for seed in (1, 2):
        random.seed(seed)
        gan = build_tiny_gan()
        gan.fit(make_batches(2, count=16), epochs=1, verbose=0)
        trained.append(read_weights(gan))
    assert same_bits(*trained)


# Plain gradient descent with rate 1 shows the gradients themselves: what a network moved by.


def one_plain_step(**settings):
    gan = build_tiny_gan(keras.optimizers.SGD(1.0), **settings)
    before = read_weights(gan.generator), read_weights(gan.discriminator)
    gan.train_on_batch(make_batches(4)[0][0])
    after = read_weights(gan.generator), read_weights(gan.discriminator)
    return [[b - a for b, a in zip(*pair, strict=True)] for pair in zip(before, after, strict=True)]


def test_the_discriminator_never_moves_from_the_generators_loss():
    plain = one_plain_step(adversarial_weight=0.0, l1_weight=0.0)
    strong = one_plain_step(adversarial_weight=1000.0, l1_weight=100.0)
    assert any(np.abs(gradient).max() > 1e-4 for gradient in plain[1])
    assert same_bits(plain[1], strong[1])


def test_the_generator_never_moves_from_the_discriminators_loss():
    generator, discriminator = one_plain_step(adversarial_weight=0.0, l1_weight=0.0)
    assert all((gradient == 0).all() for gradient in generator)
    assert all((gradient != 0).any() for gradient in discriminator)


def test_the_adversarial_term_reaches_the_generator_through_the_discriminator():
    generator, _ = one_plain_step(adversarial_weight=1.0, l1_weight=0.0)
    assert all((gradient != 0).any() for gradient in generator)


def cross_entropy(logits, label):
    probability = 1 / (1 + np.exp(-logits.astype(np.float64)))
    return -(label * np.log(probability) + (1 - label) * np.log(1 - probability)).mean(axis=(1, 2, 3))


def test_losses_are_those_of_the_formulas_in_numpy():
    gan = build_tiny_gan(adversarial_weight=2.0, l1_weight=50.0, hole_weight=6.0, colour_weight=3.0)
    batch = make_batches(4)[0][0]
    photo, hole = batch["photo"] / 255.0, 1.0 - batch["mask"]
    raw = gan.predict_on_batch(batch)
    filled = np.where(hole == 1, raw, photo)
    on_photo, on_filled = (gan.discriminator.predict_on_batch(x.astype("float32")) for x in (photo, filled))
    error = np.abs(raw - photo).mean(axis=-1, keepdims=True)
    weight = np.where(hole == 1, 6.0, 1.0)

    red, green, blue = (raw[..., [channel]] - photo[..., [channel]] for channel in range(3))
    colour_error = (np.abs(green - red) + np.abs(blue - green)) / 2

    adversarial = cross_entropy(on_filled, 1).mean()
    l1, colour = (
        ((weight * pixels).sum(axis=(1, 2, 3)) / weight.sum(axis=(1, 2, 3))).mean() for pixels in (error, colour_error)
    )
    expected = {
        "adversarial": adversarial,
        "l1": l1,
        "colour": colour,
        "hole_l1": np.mean([errors[holes == 1].mean() for errors, holes in zip(error, hole, strict=True)]),
        "generator_loss": 2 * adversarial + 50 * (l1 + 3 * colour),
        "discriminator_loss": (cross_entropy(on_photo, 1).mean() + cross_entropy(on_filled, 0).mean()) / 2,
        "perceptual": 0.0,
    }
    expected["loss"] = expected["generator_loss"] + expected["discriminator_loss"]
    measured = gan.test_on_batch(batch, return_dict=True)
    assert {name: measured[name] for name in expected} == pytest.approx(expected, rel=1e-5)


def test_hole_weight_1_is_the_plain_mean_over_the_picture():
    batch, gan = make_batches(4)[0][0], build_tiny_gan(hole_weight=1.0)
    mean = np.abs(gan.predict_on_batch(batch) - batch["photo"] / 255.0).mean()
    assert gan.test_on_batch(batch, return_dict=True)["l1"] == pytest.approx(mean, rel=1e-5)


def test_what_a_photo_costs_does_not_depend_on_its_batch_mates():
    gan, batch = build_tiny_gan(hole_weight=6.0), make_batches(4)[0][0]
    together = gan.test_on_batch(batch, return_dict=True)
    alone = [
        gan.test_on_batch({name: part[i : i + 1] for name, part in batch.items()}, return_dict=True) for i in range(4)
    ]
    for name in ("l1", "colour", "hole_l1", "adversarial", "discriminator_loss", "loss"):
        assert together[name] == pytest.approx(np.mean([one[name] for one in alone]), rel=1e-5)


def test_training_sees_exactly_what_inference_will_see():
    batch = make_batches(4, guidance=0.5)[0][0]
    photo, mask, inputs = (np.asarray(part) for part in decode_batch(batch))
    for index in range(4):
        expected = build_input(photo[index], mask[index], batch["edges"][index].astype("float32") / 2)
        assert np.array_equal(inputs[index][..., :3], expected[..., :3])
        in_hole = mask[index][..., 0] == 0
        assert np.array_equal(inputs[index][in_hole], expected[in_hole])


@pytest.mark.parametrize(("perceptual", "weight"), [(None, 1.0), ("features", 0)])
def test_a_perceptual_weight_without_features_or_features_without_a_weight_are_refused(perceptual, weight):
    with pytest.raises(ValueError, match="perceptual_weight is .* but perceptual is"):
        InpaintingGAN(None, None, perceptual, perceptual_weight=weight)


def test_the_benchmarks_two_tapes_are_the_same_training():
    place = Path(__file__).parents[1] / "benchmarks" / "bench.py"
    bench = importlib.util.module_from_spec(spec := importlib.util.spec_from_file_location("bench", place))
    spec.loader.exec_module(bench)
    ours, other = (build_tiny_gan(ThrottledAdam(5e-5), throttle_threshold=0) for _ in range(2))
    step = bench.build_two_tapes(other)
    for number in range(3):
        batch = make_batches(2, count=6)[number][0]
        measured = ours.train_on_batch(batch, return_dict=True)
        expected = {name: float(value) for name, value in step(batch).items()}
        assert {name: measured[name] for name in expected} == pytest.approx(expected, rel=1e-5)
    for a, b in zip(read_weights(ours), read_weights(other), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7)


# The optimizer by itself, against plain Adam.

PATTERNS = ["111111", "100100", "011010", "000111", "110000"]


def named_variable(name, value):
    with keras.name_scope(name):  # a variable of the layer `name`
        return keras.Variable(value, name="kernel")


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_discriminator_gets_plain_adam_on_the_steps_it_trained_at_its_own_rate(pattern):
    random = np.random.default_rng(int(pattern, 2))
    start = random.normal(size=(5, 3)).astype("float32")
    ours = [named_variable("generator_1", start), named_variable("discriminator_1", start)]
    g_alone, d_alone = keras.Variable(start), keras.Variable(start)
    optimizer = ThrottledAdam(0.01, discriminator_ratio=0.4)
    g_adam, d_adam = keras.optimizers.Adam(0.01, beta_1=0.5), keras.optimizers.Adam(0.004, beta_1=0.5)
    for step, trains in enumerate(pattern):
        if step == 4:  # as ReduceLROnPlateau does
            optimizer.learning_rate, g_adam.learning_rate, d_adam.learning_rate = 0.005, 0.005, 0.002
        gradient = random.normal(size=(5, 3)).astype("float32")
        optimizer.apply([keras.ops.array(gradient), keras.ops.array(gradient * int(trains))], ours)
        g_adam.apply([keras.ops.array(gradient)], [g_alone])
        if trains == "1":
            d_adam.apply([keras.ops.array(gradient)], [d_alone])
        np.testing.assert_array_equal(ours[0].numpy(), g_alone.numpy())
        np.testing.assert_allclose(ours[1].numpy(), d_alone.numpy(), rtol=2e-5, atol=1e-6)


def test_a_paused_discriminator_keeps_even_the_sign_of_zero():
    variable = named_variable("discriminator_1", np.array([-0.0, 0.0, 1e-40], "float32"))
    optimizer = ThrottledAdam(0.01)
    optimizer.build([variable])
    before = [item.numpy() for item in (variable, *optimizer.variables) if item.path != "iteration"]
    optimizer.apply([keras.ops.zeros(3)], [variable])
    assert same_bits(before[:1], [variable.numpy()])


def test_the_optimizer_survives_its_config():
    optimizer = ThrottledAdam(3e-4, discriminator_ratio=0.7, beta_1=0.4, clipnorm=1.0)
    copy = ThrottledAdam.from_config(optimizer.get_config())
    assert copy.get_config() == optimizer.get_config()
    assert (copy.discriminator_ratio, copy.beta_1, copy.clipnorm) == (0.7, 0.4, 1.0)


@pytest.mark.parametrize("option", [{"amsgrad": True}, {"weight_decay": 0.01}])
def test_options_that_would_touch_a_paused_network_are_refused(option):
    with pytest.raises(ValueError, match="paused network"):
        ThrottledAdam(**option)
