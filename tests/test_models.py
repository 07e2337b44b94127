"""The networks have the architecture that they claim, computed from their layers."""

import cv2
import keras
import numpy as np
import pytest

from inpaint_utils import build_discriminator, build_generator
from inpaint_utils.files import save_model
from inpaint_utils.inference import baselines
from inpaint_utils.networks.models import SIZE_MULTIPLE, Block, change_precision
from inpaint_utils.networks.smooth_fill import LEVELS, fill_smoothly


@pytest.fixture(scope="module")
def small():
    return build_generator(None, 4)


def convolutions(model, kind):
    return [layer for layer in model.layers if type(layer) is kind]


def test_generator_has_seven_blocks_each_way_of_64_to_512_filters():
    generator = build_generator()
    encoder = [layer for layer in convolutions(generator, keras.layers.Conv2D) if "encoder" in layer.name]
    decoder = [layer for layer in convolutions(generator, keras.layers.Conv2D) if "_decoder" in layer.name]
    decoder = [layer for layer in decoder if "noise" not in layer.name]
    assert [layer.filters for layer in encoder] == [64, 128, 256, 512, 512, 512, 512]
    assert [layer.filters for layer in decoder] == [512, 512, 512, 256, 128, 64, 64]
    assert all(layer.strides == (2, 2) for layer in encoder)
    assert [layer.output.shape[1] for layer in decoder] == [4, 8, 16, 32, 64, 128, 256]
    smoothed = [layer.output.shape[1] for layer in generator.layers if "mean_decoder" in layer.name]
    assert smoothed == [4, 8, 16, 32, 64, 128, 256], "the default form takes a mean after each doubling"
    assert len(convolutions(generator, keras.layers.Dropout)) == 3
    assert 30e6 < generator.count_params() < 31e6
    assert 2**LEVELS == SIZE_MULTIPLE, "the smooth fill halves as often as the encoder"
    assert generator.input_shape == (None, 256, 256, 4) and generator.output_shape == (None, 256, 256, 3)


def test_the_plain_form_has_transposed_convolutions():
    generator = build_generator(upsampling="transposed", hole_fill="black", noise=False)
    decoder = convolutions(generator, keras.layers.Conv2DTranspose)
    assert [layer.filters for layer in decoder] == [512, 512, 512, 256, 128, 64, 64]
    assert all(layer.strides == (2, 2) for layer in decoder)
    assert 41e6 < generator.count_params() < 42e6


def three_doublings(upsampling, surface, alone=False):
    """The inner part of what three decoder blocks make of a surface; `alone`: by convolutions that change nothing."""
    x = inputs = keras.Input(surface.shape)
    make = Block("generator", "instance", seed=0)
    for level in range(3):
        x = make.up(x, 16 if not alone else surface.shape[-1], f"decoder_{level}", upsampling, normalize=False)
    model = keras.Model(inputs, x)
    if alone:
        for layer in convolutions(model, keras.layers.Conv2D):
            kernel, bias = (np.zeros_like(weights) for weights in layer.get_weights())
            kernel[1, 1] = np.eye(surface.shape[-1])
            layer.set_weights([kernel, bias])
    return model.predict_on_batch(surface[np.newaxis])[0, 64:-64, 64:-64]


@pytest.mark.parametrize("upsampling", ["smooth", "resize"])
def test_resize_keeps_a_surface_even_where_transposed_makes_a_grid(upsampling):
    surface = np.ones((24, 24, 4), np.float32)
    even, grid = three_doublings(upsampling, surface), three_doublings("transposed", surface)
    assert even.max() > 0 and np.ptp(even, axis=(0, 1)).max() < 1e-6 * even.max()
    assert np.ptp(grid, axis=(0, 1)).max() > 0.1 * grid.max()


def test_smooth_doublings_keep_a_slope_where_resize_makes_stairs():
    slope = np.broadcast_to(np.arange(24, dtype=np.float32)[:, np.newaxis, np.newaxis], (24, 24, 1))
    steps, stairs = (np.diff(three_doublings(form, slope, alone=True), axis=0) for form in ("smooth", "resize"))
    assert steps.min() > 0.03 and steps.max() < 0.2, "1/8 a pixel, never level and never steep"
    assert stairs.min() == 0 and stairs.max() == 1


def test_every_encoder_block_but_the_innermost_feeds_a_skip_connection(small):
    image = np.random.default_rng(0).random((1, 128, 128, 4), np.float32)
    names = [layer.name for layer in small.layers]
    skips = [name for name in names if name.startswith("generator_skip_")]
    assert len(skips) == 7
    shapes = keras.Model(small.input, [small.get_layer(name).output for name in skips]).predict(image, verbose=0)
    assert [shape.shape[1] for shape in shapes] == [2, 4, 8, 16, 32, 64, 128]


def test_discriminator_sees_patches_of_70_pixels():
    discriminator = build_discriminator()
    layers = convolutions(discriminator, keras.layers.Conv2D)
    seen = 1
    for layer in reversed(layers):  # the receptive field of one output, layer by layer back to the picture
        seen = (seen - 1) * layer.strides[0] + layer.kernel_size[0]
    assert seen == 70
    assert len(layers) == 5, "four convolutional layers before the patch map"
    assert [layer.filters for layer in layers] == [64, 128, 256, 512, 1]


def test_a_pixel_changes_only_logits_whose_patch_holds_it():
    # Without normalization, whose averages see the whole picture, the field can be measured on the network itself.
    discriminator = build_discriminator(None, 4, normalization="none")
    image = np.full((1, 160, 160, 3), 0.5, np.float32)
    changed = image.copy()
    changed[0, 80, 80] = 1.0
    difference = np.abs(discriminator.predict(image, verbose=0) - discriminator.predict(changed, verbose=0))[0, ..., 0]
    places = np.argwhere(difference > 0)
    assert np.ptp(places[:, 0]) + 1 in (8, 9)


def test_discriminator_returns_logits_not_probabilities():
    discriminator = build_discriminator(128, 4)
    assert discriminator.layers[-1].activation is keras.activations.linear
    logits = discriminator.predict(np.random.default_rng(0).random((2, 128, 128, 3)), verbose=0)
    assert logits.min() < 0 or logits.max() > 1


@pytest.mark.parametrize("hole_fill", ["smooth", "black"])
def test_generator_answers_in_the_range_of_pictures_at_any_multiple_of_128(hole_fill):
    generator = build_generator(None, 4, hole_fill=hole_fill)
    for height, width in ((128, 128), (128, 256)):
        raw = generator.predict(np.random.default_rng(1).random((1, height, width, 4)), verbose=0)
        assert raw.shape == (1, height, width, 3) and raw.dtype == np.float32
        assert raw.min() >= 0 and raw.max() <= 1


def test_answers_do_not_depend_on_what_else_is_in_the_batch(small):
    batch = np.random.default_rng(2).random((3, 128, 128, 4), np.float32)
    together = small.predict_on_batch(batch)
    alone = small.predict_on_batch(batch[1:2])
    np.testing.assert_allclose(together[1:2], alone, atol=1e-5)


def test_without_dropout_training_and_testing_mode_agree():
    generator = build_generator(128, 4, dropout=0)
    batch = np.random.default_rng(3).random((2, 128, 128, 4), np.float32)
    training, testing = (keras.ops.convert_to_numpy(generator(batch, training=mode)) for mode in (True, False))
    np.testing.assert_array_equal(training, testing)


def test_same_seed_same_weights_and_another_seed_others():
    first, again, other = (build_generator(128, 4, seed=seed).get_weights() for seed in (5, 5, 6))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_saved_generator_opens_with_plain_keras(small, tmp_path):
    small.save(tmp_path / "generator.keras")
    opened = keras.models.load_model(tmp_path / "generator.keras", compile=False)
    image = np.random.default_rng(4).random((1, 128, 128, 4), np.float32)
    image[:, 30:60, 30:90, :3] = 0
    np.testing.assert_array_equal(small.predict_on_batch(image), opened.predict_on_batch(image))


def smooth_fill(rgb, keep, method="smooth"):
    colours, weights = keras.Input((None, None, 3)), keras.Input((None, None, 1))
    model = keras.Model([colours, weights], fill_smoothly(colours, weights, method))
    return model.predict_on_batch([rgb[np.newaxis], keep[np.newaxis]])[0]


def harmonic_fill(image, hole):
    """The solution of Laplace's equation in a hole that does not touch the border: each pixel its neighbours' mean."""
    places = np.argwhere(hole)
    number = {tuple(place): index for index, place in enumerate(places)}
    matrix, known = np.eye(len(places)), np.zeros((len(places), 3))
    for index, (y, x) in enumerate(places):
        for neighbour in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if neighbour in number:
                matrix[index, number[neighbour]] -= 0.25
            else:
                known[index] += image[neighbour] / 4
    filled = image.copy()
    filled[hole] = np.linalg.solve(matrix, known)
    return filled


def box_hole(top=40, bottom=72, left=30, right=70):
    keep = np.ones((128, 128, 1), np.float32)
    keep[top:bottom, left:right] = 0
    return keep


@pytest.mark.parametrize("method", ["smooth", "pull_push"])
def test_smooth_fill_keeps_kept_pixels_and_continues_a_plain_colour(method):
    colour = np.array([0.2, 0.5, 0.8], np.float32)
    keep = box_hole(10, 120, 10, 120)
    filled = smooth_fill(np.broadcast_to(colour, (128, 128, 3)) * keep, keep, method)
    np.testing.assert_allclose(filled, np.broadcast_to(colour, filled.shape), atol=1e-3)
    image = np.random.default_rng(6).random((128, 128, 3), np.float32)
    filled = smooth_fill(image * keep, keep, method)
    np.testing.assert_allclose(filled * keep, image * keep, atol=1e-6)


@pytest.mark.parametrize("method", ["smooth", "pull_push"])
def test_smooth_fill_takes_the_nearer_colour(method):
    image = np.zeros((128, 128, 3), np.float32)
    image[:, 64:] = 1.0  # black left, white right
    keep = box_hole(32, 96, 16, 112)
    filled = smooth_fill(image * keep, keep, method)
    assert filled[64, 20].mean() < 0.35 < 0.65 < filled[64, 108].mean()


def test_smooth_fill_comes_near_the_harmonic_fill():
    rng = np.random.default_rng(7)
    coarse = rng.random((4, 4, 3), np.float32)
    image = cv2.resize(coarse, (128, 128), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    keep = box_hole()
    hole = keep[..., 0] == 0
    reference = harmonic_fill(image, hole)[hole]
    distances = {
        method: np.abs(smooth_fill(image * keep, keep, method)[hole] - reference).mean()
        for method in ("smooth", "pull_push")
    }
    assert distances["smooth"] < 0.01  # 0.0107 without the means on every level
    assert distances["smooth"] < distances["pull_push"] / 2


@pytest.mark.parametrize("reaches_a_corner", [False, True])
def test_the_baseline_smooth_fill_is_a_generator_s_start(reaches_a_corner):
    image = np.random.default_rng(10).uniform(0.05, 0.95, (128, 128, 3)).astype(np.float32)
    keep = box_hole()
    if reaches_a_corner:
        keep[90:, 70:] = 0
    start = baselines.smooth_fill(image, keep)
    np.testing.assert_allclose(start, smooth_fill(image * keep, keep), atol=1e-4)
    np.testing.assert_array_equal(start[keep[..., 0] == 1], image[keep[..., 0] == 1])


def test_smooth_fill_asks_the_rim_alone():
    image = np.random.default_rng(8).random((128, 128, 3), np.float32)
    keep = box_hole()
    recoloured = np.ones_like(image)
    recoloured[39:73, 29:71] = image[39:73, 29:71]  # the hole and one pixel around it
    hole = keep[..., 0] == 0
    ours, theirs = (smooth_fill(picture * keep, keep)[hole] for picture in (image, recoloured))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_smooth_fill_without_a_hole_is_the_photo_and_without_a_photo_black():
    image = np.random.default_rng(9).random((128, 128, 3), np.float32)
    everything = np.ones((128, 128, 1), np.float32)
    np.testing.assert_allclose(smooth_fill(image, everything), image, atol=1e-6)
    np.testing.assert_array_equal(smooth_fill(0 * image, 0 * everything), 0 * image)


def test_untrained_smooth_generator_starts_near_its_smooth_fill():
    rng = np.random.default_rng(5)
    image = np.full((128, 128, 3), 0.4, np.float32) + rng.normal(0, 0.02, (128, 128, 3)).astype(np.float32)
    keep = np.ones((128, 128, 1), np.float32)
    keep[40:90, 40:90] = 0
    inputs = np.concatenate([image * keep, np.full((128, 128, 1), 0.5, np.float32)], axis=-1)[np.newaxis]
    smooth = build_generator(128, 4, hole_fill="smooth").predict_on_batch(inputs)[0]
    black = build_generator(128, 4, hole_fill="black").predict_on_batch(inputs)[0]
    hole = keep[..., 0] == 0
    assert np.abs(smooth - image)[hole].mean() < 0.08
    assert np.abs(black - image)[hole].mean() > np.abs(smooth - image)[hole].mean()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(image_size=200), "image_size is 200, expected a multiple of 128.*use 256"),
        (dict(image_size=0), "image_size is 0"),
        (dict(image_size=(128, 128, 4)), r"image_size is \(128, 128, 4\), expected a whole number"),
        (dict(image_size=128, base_filters=0), "base_filters is 0"),
        (dict(image_size=128, base_filters=8.0), "base_filters is 8.0"),
        (dict(image_size=128, hole_fill="gray"), "hole_fill is 'gray'"),
        (dict(image_size=128, normalization="layer"), "normalization is 'layer'"),
        (dict(image_size=128, upsampling="bilinear"), "upsampling is 'bilinear'"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_generator(**{"base_filters": 4, **arguments})


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_the_smooth_fill_is_exact_in_mixed_precision(small, policy):
    mixed = change_precision(small, policy)
    assert mixed.get_layer("generator_encoder_2").compute_dtype == policy.removeprefix("mixed_")
    change = mixed.get_layer("generator_change")
    change.set_weights([np.zeros_like(weights) for weights in change.get_weights()])  # leaves the fill as it is
    photo = np.random.default_rng(0).uniform(0.2, 0.8, (1, 128, 128, 3)).astype("float32")
    keep = np.ones((1, 128, 128, 1), "float32")
    keep[:, 30:90, 40:100] = 0
    raw = mixed.predict_on_batch(np.concatenate([photo * keep, keep], axis=-1))
    np.testing.assert_allclose(raw, fill_smoothly(photo * keep, keep), atol=1e-5)


@pytest.mark.parametrize("build", [build_generator, build_discriminator])
def test_changing_the_precision_gives_what_building_in_it_gives(build):
    plain = build(None, 4)
    mixed = change_precision(plain, "mixed_bfloat16")
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        built = build(None, 4)
    finally:
        keras.config.set_dtype_policy("float32")
    assert {layer.name: layer.compute_dtype for layer in mixed.layers if layer.weights} == {
        layer.name: layer.compute_dtype for layer in built.layers if layer.weights
    }
    image = np.random.default_rng(0).random((1, 128, 128, plain.input_shape[-1]), np.float32)
    np.testing.assert_array_equal(mixed.predict_on_batch(image), built.predict_on_batch(image))  # the same seed
    back = change_precision(mixed, "float32")
    np.testing.assert_array_equal(back.predict_on_batch(image), plain.predict_on_batch(image))


def test_the_noise_stays_in_float32_which_is_fast_on_cpus(small):
    mixed = change_precision(small, "mixed_bfloat16")
    assert {layer.compute_dtype for layer in mixed.layers if layer.name.startswith("noise_")} == {"float32"}


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_a_network_of_half_precision_is_saved_as_one_that_runs_in_float32(small, policy, tmp_path):
    save_model(change_precision(small, policy), tmp_path / "generator.keras")
    opened = keras.models.load_model(tmp_path / "generator.keras", compile=False)
    assert {layer.compute_dtype for layer in opened.layers if layer.weights} == {"float32"}
    image = np.random.default_rng(0).random((1, 128, 128, 4), np.float32)
    np.testing.assert_array_equal(opened.predict_on_batch(image), small.predict_on_batch(image))


def set_noise_weights(generator, value):
    for layer in generator.layers:
        if layer.name.startswith("generator_noise_"):
            layer.set_weights([np.full_like(weights, value) for weights in layer.get_weights()])


def fill_gray_photo(generator):
    picture = np.full((2, 128, 128, 4), 0.5, "float32")
    picture[:, 32:96, 32:96, :3] = 0
    return generator.predict_on_batch(picture)


def test_noise_is_silent_until_its_weights_are_learned(small):
    before = fill_gray_photo(small)
    frozen = [layer for layer in small.layers if layer.name.startswith("noise_") and layer.weights]
    assert len(frozen) == 7 and not any(layer.trainable_weights for layer in frozen)
    kernels = [layer.get_weights() for layer in frozen]
    for layer in frozen:
        layer.set_weights([weights * 9 for weights in layer.get_weights()])
    assert np.array_equal(before, fill_gray_photo(small))
    for layer, kernel in zip(frozen, kernels, strict=True):
        layer.set_weights(kernel)


def test_noise_makes_texture_in_a_flat_hole_and_the_same_in_every_picture(tmp_path):
    generator = build_generator(128, 4, dropout=0.0)
    set_noise_weights(generator, 1.0)
    with_noise = fill_gray_photo(generator)
    set_noise_weights(generator, 0.0)
    without = fill_gray_photo(generator)
    inside = (slice(None), slice(56, 72), slice(56, 72))
    assert with_noise[inside].std() > 3 * without[inside].std()
    assert np.allclose(with_noise[0], with_noise[1], atol=1e-6)
    set_noise_weights(generator, 1.0)
    generator.save(tmp_path / "g.keras")
    opened = keras.models.load_model(tmp_path / "g.keras", compile=False)
    assert np.allclose(fill_gray_photo(opened), with_noise, atol=1e-6)
    assert len(opened.trainable_variables) == len(generator.trainable_variables)


def test_he_start_answers_photos_with_logits_that_vary():
    photos = np.random.default_rng(0).random((4, 128, 128, 3)).astype("float32")
    photos[2:] = np.linspace(0, 1, 128, dtype="float32")[:, None, None]
    spreads = [
        build_discriminator(128, 8, "none", initialization).predict_on_batch(photos).std()
        for initialization in ("normal", "he")
    ]
    assert spreads[0] < 0.01 < 0.1 < spreads[1]


def test_a_discriminator_that_sees_the_hole_takes_a_fourth_channel():
    assert build_discriminator(128, 4, sees_hole=True).input_shape == (None, 128, 128, 4)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_discriminator_sees_fine_detail_magnified(policy, tmp_path):
    built = change_precision(build_discriminator(None, 4, sees_hole=True, detail_gain=8.0), policy)
    save_model(built, tmp_path / "judge.keras")
    judge = keras.models.load_model(tmp_path / "judge.keras", compile=False)
    flat = np.full((1, 64, 64, 4), 0.7, np.float32)
    fine = flat.copy()
    fine[0, 32, 32, :3] += 0.1  # one pixel: less its mean over 25, of a picture in [-1, 1], eight times
    seen = keras.Model(judge.input, judge.get_layer("discriminator_seen").output)
    shown = [np.asarray(seen(picture)) for picture in (flat, fine)]
    assert shown[0].shape == (1, 64, 64, 7) and np.abs(shown[0][..., 4:]).max() < 1e-5, "nothing, at the sides too"
    np.testing.assert_allclose(shown[1][0, 32, 32, 4:], 8 * 2 * 0.1 * 24 / 25, rtol=1e-4)
    np.testing.assert_allclose(shown[1][..., :4], fine * 2 - 1, atol=1e-6)
    assert judge(fine).shape == build_discriminator(None, 4)(fine[..., :3]).shape


def test_a_detail_gain_that_is_none_is_refused():
    for gain in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"detail_gain is {gain}, expected 0 .* or more"):
            build_discriminator(None, 4, detail_gain=gain)


def test_an_unknown_initialization_is_refused():
    with pytest.raises(ValueError, match="initialization is 'zeros', expected one of"):
        build_discriminator(128, 4, initialization="zeros")


def test_a_discriminator_of_sizes_that_are_none_is_refused():
    for told, words in (({"image_size": (128, 128)}, "image_size is"), ({"base_filters": 0}, "base_filters is 0")):
        with pytest.raises(ValueError, match=words):
            build_discriminator(**told)
