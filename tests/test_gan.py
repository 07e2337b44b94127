"""The GAN: its losses against NumPy, each network's own gradient, the throttle exact to the bit."""

import importlib.util
import random
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
from tiny import (
    build_tiny_features,
    build_tiny_gan,
    build_tiny_generator,
    make_batches,
    read_weights,
    same_bits,
)

import inpaint_utils.training.gan as gan_module
from inpaint_utils.inference.inpaint import build_input
from inpaint_utils.networks.models import build_discriminator, build_generator
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
        self.memory.append([variable.numpy() for variable in self.list_memory()])

    def list_memory(self):
        """What the optimizer keeps of the discriminator: two moments of each variable, and how often it was updated."""
        kept = self.model.optimizer.variables
        return [variable for variable in kept if "discriminator" in variable.path or "updates" in variable.path]

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


def test_always_too_strong_the_discriminator_trains_one_step_of_three(too_strong):
    watch, history = too_strong
    assert watch.moved("discriminator") == [step % 3 == 0 for step in range(STEPS)]
    assert history["duty"] == pytest.approx([1 / 3])


def test_a_skipped_step_leaves_weights_moments_and_counts_bit_for_bit(too_strong):
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
def test_too_strong_means_a_loss_below_the_threshold_the_step_before(loss, trains):
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


def test_the_order_of_the_batches_does_not_ask_pythons_random_generator():
    trained = []
    for seed in (1, 2):
        random.seed(seed)
        gan = build_tiny_gan()
        gan.fit(make_batches(2, count=16), epochs=1, verbose=0)
        trained.append(read_weights(gan))
    assert same_bits(*trained)


# Plain gradient descent with rate 1 shows the gradients themselves: what a network moved by.


RECIPE = {"adversarial_weight": 1.0, "matching_weight": 2.0}


def one_plain_step(**settings):
    gan = build_tiny_gan(keras.optimizers.SGD(1.0), **settings)
    before = read_weights(gan.generator), read_weights(gan.discriminator)
    gan.train_on_batch(make_batches(4)[0][0])
    after = read_weights(gan.generator), read_weights(gan.discriminator)
    return [[b - a for b, a in zip(*pair, strict=True)] for pair in zip(before, after, strict=True)]


def test_discriminator_never_moves_from_generators_loss():
    weak = one_plain_step(**RECIPE)
    strong = one_plain_step(**{name: 1000 * value for name, value in RECIPE.items()}, l1_weight=1e5)
    assert any(np.abs(gradient).max() > 1e-4 for gradient in weak[1])
    assert same_bits(weak[1], strong[1])


def test_generator_never_moves_from_discriminators_loss():
    generator, discriminator = one_plain_step(**RECIPE, warm_up_steps=1)
    assert all((gradient == 0).all() for gradient in generator)
    assert all((gradient != 0).any() for gradient in discriminator)


@pytest.mark.parametrize("term", ["adversarial_weight", "matching_weight"])
def test_each_term_of_the_discriminator_reaches_the_generator(term):
    weights = {"adversarial_weight": 0.0, "matching_weight": 0.0, term: 1.0}
    generator, _ = one_plain_step(l1_weight=0.0, **weights)
    assert any((gradient != 0).any() for gradient in generator)


def test_generator_waits_while_discriminator_warms_up():
    watch, _ = watch_training(build_tiny_gan(warm_up_steps=4, throttle_threshold=0))
    assert watch.moved("generator") == [step >= 4 for step in range(STEPS)]
    assert all(watch.moved("discriminator"))


def test_without_a_discriminator_only_the_generator_trains():
    gan = InpaintingGAN(build_tiny_generator(), None, adversarial_weight=0, perceptual_weight=0)
    gan.compile(optimizer=ThrottledAdam(1e-2))
    before = read_weights(gan)
    history = gan.fit(make_batches(), epochs=1, verbose=0).history
    assert not same_bits(before, read_weights(gan)) and len(before) == len(gan.generator.trainable_variables)
    assert history["duty"] == history["discriminator_loss"] == history["adversarial"] == [0.0]


def cross_entropy(logits, patches, label):
    probability = 1 / (1 + np.exp(-logits.astype(np.float64)))
    errors = -(label * np.log(probability) + (1 - label) * np.log(1 - probability))
    return (errors * patches).sum(axis=(1, 2, 3)) / patches.sum(axis=(1, 2, 3))


def relative(ours, theirs):
    """Mean over feature maps of mean |a - b| by mean |b|, for one photo after the other."""
    return np.mean(
        [np.abs(a - b).mean((1, 2, 3)) / np.abs(b).mean((1, 2, 3)) for a, b in zip(ours, theirs, strict=True)], axis=0
    )


def grams(maps):
    return [np.einsum("bhwc,bhwd->bcd", part, part) for part in maps]


def test_losses_are_those_of_the_formulas_in_numpy():
    weights = dict(adversarial_weight=2.0, l1_weight=50.0, hole_weight=6.0, colour_weight=3.0, cells_weight=7.0)
    weights |= dict(perceptual_weight=4.0, style_weight=5.0, matching_weight=9.0)
    features = build_tiny_features()
    gan = build_tiny_gan(**weights, perceptual=features)
    batch = make_batches(4)[0][0]
    photo, hole = batch["photo"] / 255.0, 1.0 - batch["mask"]
    raw = gan.predict_on_batch(batch)
    filled = np.where(hole == 1, raw, photo)
    (map_of_photo, on_photo), (map_of_filled, on_filled) = (
        gan.judge.predict_on_batch(x.astype("float32")) for x in (photo, filled)
    )
    of_photo, of_filled = (features.predict_on_batch(x.astype("float32")) for x in (photo, filled))
    difference = raw - photo
    tint = difference[..., 1:] - difference[..., :-1]
    weight = np.where(hole == 1, 6.0, 1.0)

    def average(pixels):  # weighted over the picture
        pixels = np.abs(pixels).mean(axis=-1, keepdims=True)
        return ((weight * pixels).sum(axis=(1, 2, 3)) / weight.sum(axis=(1, 2, 3))).mean()

    def average_cells(pixels):  # 32 pixels are four cells of 8
        cells = (pixels * hole).reshape(4, 4, 8, 4, 8, -1).sum(axis=(2, 4))
        return (np.abs(cells).mean(axis=-1).sum(axis=(1, 2)) / hole.sum(axis=(1, 2, 3))).mean()

    # Twelve logits a side with a stride of 2: each own cell is 2 pixels, the outer two on each side have none.
    cells = hole.reshape(4, 16, 2, 16, 2, 1).mean(axis=(2, 4))[:, 2:14, 2:14]
    patches = cells > 0.05
    ours, theirs = grams(of_filled), grams(of_photo)
    pairs = zip(ours, theirs, strict=True)
    expected = {
        "adversarial": cross_entropy(on_filled, patches, 1).mean(),
        "matching": relative([map_of_filled], [map_of_photo]).mean(),
        "l1": average(difference),
        "colour": average(tint),
        "cells": average_cells(difference),
        "perceptual": relative(of_filled, of_photo).mean(),
        "style": np.mean([np.abs(a - b).sum((1, 2)) / np.abs(b).sum((1, 2)) for a, b in pairs]),
        "hole_l1": np.mean([np.abs(d).mean(-1)[h == 1].mean() for d, h in zip(difference, hole[..., 0], strict=True)]),
        "discriminator_loss": (cross_entropy(on_photo, patches, 1).mean() + cross_entropy(on_filled, patches, 0).mean())
        / 2,
    }
    expected["distance"] = (
        50 * (expected["l1"] + 3 * expected["colour"])
        + 7 * (expected["cells"] + 3 * average_cells(tint))
        + 4 * expected["perceptual"]
        + 5 * expected["style"]
    )
    expected["visual_distance"] = expected["perceptual"] + expected["style"]
    expected["generator_loss"] = expected["distance"] + 2 * expected["adversarial"] + 9 * expected["matching"]
    expected["loss"] = expected["generator_loss"] + expected["discriminator_loss"]
    measured = gan.test_on_batch(batch, return_dict=True)
    assert set(measured) == {*expected, "duty"}
    assert {name: measured[name] for name in expected} == pytest.approx(expected, rel=5e-4)


def test_patches_of_kept_pixels_count_for_neither_network():
    batch = make_batches(1, coverage=(0.1, 0.1), mask_kind="box")[0][0]
    measured = build_tiny_gan().test_on_batch(batch, return_dict=True)
    changed = {**batch, "photo": batch["photo"].copy()}
    reach = cv2.dilate(1 - batch["mask"][0, ..., 0], np.ones((25, 25)))  # the hole and the patches that meet it
    changed["photo"][0][reach == 0] = 255 - changed["photo"][0][reach == 0]
    assert (reach == 0).any()
    gan = build_tiny_gan()
    # The generator fills the hole from what it sees around it, which is the same: so is what patches of the hole show.
    assert gan.test_on_batch(changed, return_dict=True)["discriminator_loss"] == pytest.approx(
        measured["discriminator_loss"], rel=1e-6
    )
    everywhere = build_tiny_gan(patch_labels="all")
    of_photo, of_changed = (everywhere.test_on_batch(x, return_dict=True) for x in (batch, changed))
    assert of_photo["discriminator_loss"] != pytest.approx(of_changed["discriminator_loss"], rel=1e-6)


def test_patches_that_meet_the_hole_are_those_whose_own_pixels_do():
    """A perfect one: certain where it sees the hole, and at even odds where filled and photo are the same."""
    hole = np.zeros((1, 256, 256, 1), "float32")
    hole[:, 88:168, 88:168] = 1  # 10 % of the picture
    patches = np.asarray(gan_module.find_patches(keras.ops.array(hole), (1, 30, 30, 1)))
    assert patches.mean() == pytest.approx(10 * 10 / 900)  # of the 30x30 patches, those whose own 8x8 pixels meet it


@pytest.mark.parametrize(("focus", "first"), [((0, 0), (0, 0)), ((31, 31), (16, 16)), ((10, 17), (2, 9))])
def test_judged_square_lies_around_its_focus_inside_the_picture(focus, first):
    pictures = np.arange(2 * 32 * 32, dtype="float32").reshape(2, 32, 32, 1)
    square = gan_module.find_square(keras.ops.array([focus, focus], "int32"), pictures.shape, 16)
    cut = np.asarray(gan_module.cut_square(keras.ops.array(pictures), square))
    top, left = first
    assert np.array_equal(cut, pictures[:, top : top + 16, left : left + 16])


def test_judged_size_changes_what_networks_see_and_not_the_l1():
    batch, settings = make_batches(4)[0][0], dict(perceptual=build_tiny_features(), perceptual_weight=1.0)
    whole, square = (
        build_tiny_gan(**settings, judged_size=size).test_on_batch(batch, return_dict=True) for size in (0, 16)
    )
    assert whole["l1"] == square["l1"] and whole["cells"] == square["cells"]
    assert whole["perceptual"] != pytest.approx(square["perceptual"], rel=1e-3)


def test_hole_weight_1_is_the_plain_mean_over_the_picture():
    batch, gan = make_batches(4)[0][0], build_tiny_gan(hole_weight=1.0)
    mean = np.abs(gan.predict_on_batch(batch) - batch["photo"] / 255.0).mean()
    assert gan.test_on_batch(batch, return_dict=True)["l1"] == pytest.approx(mean, rel=1e-5)


def test_what_a_photo_costs_does_not_depend_on_its_batch_mates():
    gan, batch = build_tiny_gan(hole_weight=6.0), make_batches(4)[0][0]

    def measure(batch):
        gan.reset_metrics()  # Keras 3.13 averages over the calls before, too
        return gan.test_on_batch(batch, return_dict=True)

    together = measure(batch)
    alone = [measure({name: part[i : i + 1] for name, part in batch.items()}) for i in range(4)]
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


@pytest.mark.parametrize(
    ("networks", "weights", "message"),
    [
        ((None, None), {"adversarial_weight": 0}, "but perceptual is None"),
        ((None, "features"), {"perceptual_weight": 0, "adversarial_weight": 0}, "but perceptual is features"),
        ((None, None), {"perceptual_weight": 0, "style_weight": 5, "adversarial_weight": 0}, "but perceptual is None"),
        ((None, None), {"perceptual_weight": 0}, "but discriminator is None"),
        (("network", None), {"perceptual_weight": 0, "adversarial_weight": 0}, "nobody listens to"),
    ],
)
def test_weights_and_networks_that_contradict_each_other_are_refused(networks, weights, message):
    discriminator, perceptual = networks
    with pytest.raises(ValueError, match=message):
        InpaintingGAN(None, discriminator, perceptual, **weights)


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", keras.optimizers.SGD(0.1, momentum=0.9)])
@pytest.mark.parametrize("told", [{}, {"throttle_threshold": 0, "warm_up_steps": 2}])
def test_an_optimizer_that_cannot_pause_the_discriminator_is_refused(optimizer, told):
    gan = build_tiny_gan(**told)
    with pytest.raises(ValueError, match="moves a network that pauses: pass ThrottledAdam"):
        gan.compile(optimizer=optimizer)
    gan.compile()
    assert isinstance(gan.optimizer, ThrottledAdam)
    build_tiny_gan(throttle_threshold=0).compile(optimizer=optimizer)


def test_a_square_larger_than_the_photos_is_refused():
    gan = build_tiny_gan(judged_size=40)
    with pytest.raises(ValueError, match="judged_size is 40, but the photos have 32 pixels a side"):
        gan.fit(make_batches(2, count=2), epochs=1, verbose=0)


def test_a_discriminator_of_another_size_than_the_square_is_refused():
    with pytest.raises(ValueError, match="judged_size is 96, but the discriminator takes pictures of 128 pixels only"):
        InpaintingGAN(None, build_discriminator(128, 4), perceptual_weight=0, judged_size=96)


def test_unknown_patch_labels_are_refused():
    with pytest.raises(ValueError, match="patch_labels is 'some', expected one of"):
        build_tiny_gan(patch_labels="some")


def build_own_discriminator():
    """The example of docs/ARCHITECTURE.md: no name in it says "discriminator"."""
    return keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.Conv2D(8, 4, strides=2),
            keras.layers.LeakyReLU(0.2),
            keras.layers.Conv2D(1, 4, dtype="float32"),
        ]
    )


def test_a_discriminator_of_other_names_is_throttled_all_the_same():
    gan = InpaintingGAN(build_tiny_generator(), build_own_discriminator(), perceptual_weight=0, throttle_threshold=99.0)
    gan.compile(optimizer=ThrottledAdam(1e-2))
    watch, history = watch_training(gan)
    assert watch.moved("discriminator") == [step % 3 == 0 for step in range(STEPS)]
    updates = [variable for variable in gan.optimizer.variables if "updates" in variable.path]
    assert len(updates) == 4 and history["duty"] == pytest.approx([1 / 3])


def test_an_optimizer_that_does_not_know_the_discriminator_is_refused():
    variable = keras.Variable(np.zeros(3))
    with pytest.raises(ValueError, match="was not told which variables"):
        ThrottledAdam().build([variable])
    with pytest.raises(ValueError, match="1 of the discriminator's 1 variables are not among the 1"):
        ThrottledAdam(discriminator_variables=[keras.Variable(np.zeros(3))]).build([variable])


def test_the_benchmarks_two_tapes_are_the_same_training():
    place = Path(__file__).parents[1] / "tools" / "bench_training.py"
    bench = importlib.util.module_from_spec(spec := importlib.util.spec_from_file_location("bench", place))
    spec.loader.exec_module(bench)
    ours, other = (build_tiny_gan(ThrottledAdam(5e-5), throttle_threshold=0, patch_labels="all") for _ in range(2))
    step = bench.build_two_tapes(other)
    for number in range(3):
        batch = make_batches(2, count=6)[number][0]
        ours.reset_metrics()  # Keras 3.13 averages over the calls before, too
        measured = ours.train_on_batch(batch, return_dict=True)
        expected = {name: float(value) for name, value in step(batch).items()}
        assert {name: measured[name] for name in expected} == pytest.approx(expected, rel=1e-5)
    for a, b in zip(read_weights(ours), read_weights(other), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7)


# The optimizer by itself, against plain Adam.

PATTERNS = ["111111", "100100", "011010", "000111", "110000"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_discriminator_gets_plain_adam_at_its_own_rate_where_it_trains(pattern):
    random = np.random.default_rng(int(pattern, 2))
    start = random.normal(size=(5, 3)).astype("float32")
    ours = [keras.Variable(start), keras.Variable(start)]
    g_alone, d_alone = keras.Variable(start), keras.Variable(start)
    optimizer = ThrottledAdam(0.01, discriminator_ratio=0.4, discriminator_variables=ours[1:])
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


def test_after_a_warm_up_the_generator_gets_plain_adam_from_its_first_step():
    random = np.random.default_rng(0)
    ours, alone = (keras.Variable(np.ones((5, 3), "float32")) for _ in range(2))
    optimizer, adam = ThrottledAdam(0.01, discriminator_variables=[]), keras.optimizers.Adam(0.01, beta_1=0.5)
    optimizer.generator_pauses = True
    for step in range(40):
        gradient = random.normal(size=(5, 3)).astype("float32")
        optimizer.apply([keras.ops.array(gradient * (step >= 30))], [ours])
        if step >= 30:
            adam.apply([keras.ops.array(gradient)], [alone])
        np.testing.assert_allclose(ours.numpy(), alone.numpy(), rtol=2e-5, atol=1e-6)


def test_only_a_generator_that_warms_up_later_counts_its_own_steps():
    for steps, counted in ((0, 4), (3, 8)):  # variables of the tiny discriminator, and of both networks
        gan = build_tiny_gan(warm_up_steps=steps)
        gan.optimizer.build(gan.trainable_variables)
        assert sum("updates_" in variable.path for variable in gan.optimizer.variables) == counted


def test_the_average_of_a_short_training_is_not_its_start():
    variable, average = keras.Variable(np.zeros(2, "float32")), 0.0
    optimizer = ThrottledAdam(0.1, discriminator_variables=[], use_ema=True, ema_momentum=0.8)
    for step in range(60):
        optimizer.apply([keras.ops.array(np.full(2, -1, "float32"))], [variable])
        kept = min(0.8, (1 + step) / (10 + step)) if step else 0
        average = kept * average + (1 - kept) * float(variable.numpy()[0])
        assert optimizer._model_variables_moving_average[0].numpy() == pytest.approx([average] * 2, rel=1e-5)
    assert (1 + step) / (10 + step) > 0.8


def test_a_paused_discriminator_keeps_even_the_sign_of_zero():
    variable = keras.Variable(np.array([-0.0, 0.0, 1e-40], "float32"))
    optimizer = ThrottledAdam(0.01, discriminator_variables=[variable])
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


def test_the_optimizer_does_not_count_the_networks_weights_as_its_own():
    """JAX would be given them twice, and every backup would hold them twice."""
    gan = build_tiny_gan()
    gan.optimizer.build(gan.trainable_variables)
    own = {id(variable) for variable in gan.optimizer.variables}
    assert not own & {id(variable) for variable in gan.trainable_variables}


def test_photos_of_a_size_that_no_generator_takes_are_refused():
    gan = InpaintingGAN(build_generator(None, 2), adversarial_weight=0, perceptual_weight=0)
    gan.compile()
    with pytest.raises(ValueError, match="cannot take photos of 100×100 pixels.*crop_size.*multiples of 128"):
        gan.fit(make_batches(size=128, crop_size=100), epochs=1, verbose=0)
