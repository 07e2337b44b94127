"""Evaluation: known answers get known numbers, no hidden pixel is shown, and the same call writes the same bytes."""

import hashlib
import itertools
import json
import math

import cv2
import keras
import numpy as np
import pandas as pd
import pytest
import scipy.stats
import tiny

from inpaint_utils.data.masks import DIFFICULTIES, create_mask
from inpaint_utils.data.photos import PhotoSet, prepare_photos, sample_photos
from inpaint_utils.evaluation import evaluate as evaluation
from inpaint_utils.evaluation.evaluate import check_disjoint, draw_mask, evaluate, generator_fill
from inpaint_utils.evaluation.feature_measures import (
    compare,
    crop_around_hole,
    describe,
    embed,
    kernel_distance,
    split_kernel_distance,
)
from inpaint_utils.evaluation.measures import directedness, fine_detail, measure
from inpaint_utils.inference.baselines import (
    biharmonic_fill,
    mean_fill,
    navier_stokes_fill,
    patch_fill,
    smooth_fill,
    telea_fill,
)


def draw_photos(count, side=48):
    """Smooth random pictures, uint8 (count, side, side, 3)."""
    rng = np.random.default_rng(5)
    photos = [cv2.GaussianBlur(rng.random((side, side, 3)), (0, 0), 4) for _ in range(count)]
    return np.stack([cv2.normalize(photo, None, 0, 255, cv2.NORM_MINMAX) for photo in photos]).astype(np.uint8)


PHOTOS = draw_photos(5)


def to_image(photo):
    return np.float32(photo) / np.float32(255)


def make_oracle(photos):
    """A fill that has seen the photos: it recognises them by their kept pixels."""

    def oracle(image, mask):
        truths = [to_image(photo) for photo in photos]
        return next(truth for truth in truths if np.array_equal(np.where(mask == 1, truth, 0), image))

    return oracle


def run(fills, photos=PHOTOS, **arguments):
    arguments = {"kinds": ("brush",), "difficulties": ("easy",), "progress": False, **arguments}
    return evaluate(fills, photos, **arguments)


def test_an_oracle_is_perfect_and_flagged():
    (row,) = run({"oracle": make_oracle(PHOTOS)}).table.to_dict("records")
    assert (row["accuracy_raw"], row["accuracy_filled"], row["hole_accuracy"]) == (100, 100, 100)
    assert row["hole_psnr"] == row["psnr"] == row["hole_psnr_low"] == np.inf
    assert row["ssim"] == pytest.approx(1, abs=1e-12)
    assert row["flags"] == "equals photo 5"


def test_mean_fill_scores_what_is_computed_by_hand():
    # 12 kept pixels of 0.2, 0.4 and 0.6 in red, green and blue; 4 removed ones of 0.5, 0.4 and 0.2.
    image = np.empty((4, 4, 3), np.float32)
    image[:] = (0.2, 0.4, 0.6)
    image[1:3, 1:3] = (0.5, 0.4, 0.2)
    mask = np.ones((4, 4, 1), np.float32)
    mask[1:3, 1:3] = 0
    raw = mean_fill(np.where(mask == 1, image, 0), mask)
    assert np.allclose(raw[1:3, 1:3], (0.2, 0.4, 0.6), atol=1e-7)
    values = measure(raw, image, mask)
    # The error in the hole, a quarter of the picture, is 0.3, 0 and 0.4: mean 0.7 / 3, mean square 0.25 / 3.
    assert values["hole_accuracy"] == pytest.approx(100 * (1 - 0.7 / 3), abs=1e-4)
    assert values["accuracy_filled"] == values["accuracy_raw"] == pytest.approx(100 * (1 - 0.7 / 12), abs=1e-4)
    assert values["hole_psnr"] == pytest.approx(10 * np.log10(12), abs=1e-5)
    assert values["psnr"] == pytest.approx(10 * np.log10(48), abs=1e-5)
    assert np.isnan(values["ssim"])  # its window is larger than the picture


def test_ssim_is_the_formula_of_wang_et_al_in_its_one_window():
    rng = np.random.default_rng(1)
    image, raw = rng.random((2, 11, 11, 3), np.float32)
    mask = np.zeros((11, 11, 1), np.float32)
    mask[0, 0] = 1
    raw[0, 0] = image[0, 0]
    x = np.arange(-5, 6)
    weights = np.exp(-(x**2 + x[:, np.newaxis] ** 2) / (2 * 1.5**2))[..., np.newaxis]

    def mean(values):
        return (weights * values).sum(axis=(0, 1)) / weights.sum()

    a, b = image.astype(float), raw.astype(float)
    covariance = mean(a * b) - mean(a) * mean(b)
    variances = mean(a * a) - mean(a) ** 2 + mean(b * b) - mean(b) ** 2
    luminance = (2 * mean(a) * mean(b) + 0.01**2) / (mean(a) ** 2 + mean(b) ** 2 + 0.01**2)
    expected = luminance * (2 * covariance + 0.03**2) / (variances + 0.03**2)
    assert measure(raw, image, mask)["ssim"] == pytest.approx(expected.mean(), abs=1e-9)


def to_lab(rgb):
    """CIELAB of sRGB values in [0, 1] at white point D65, after IEC 61966-2-1 and CIE 15."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = linear @ np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]).T
    xyz = xyz / (0.9505, 1, 1.089)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def test_colour_measures_are_distances_of_a_and_b_of_mean_and_pixels():
    rng = np.random.default_rng(2)
    image = rng.uniform(0.1, 0.9, (32, 32, 3)).astype(np.float32)
    raw = np.clip(image * (0.9, 1.0, 1.1), 0, 1).astype(np.float32)  # bluish, in kept pixels, too
    mask = np.ones((32, 32, 1), np.float32)
    mask[8:24, 4:20] = 0
    hole = mask[..., 0] == 0
    colours = (to_lab(raw[hole].astype(float)) - to_lab(image[hole].astype(float)))[:, 1:]
    cast, error = np.hypot(*colours.mean(axis=0)), np.hypot(*colours.T).mean()
    assert 3 < cast < error - 0.5
    values = measure(raw, image, mask)
    assert values["colour_cast"] == pytest.approx(cast, abs=0.05)
    assert values["colour_error"] == pytest.approx(error, abs=0.05)


def test_colour_measures_leave_lightness_out_and_the_cast_place_too():
    image = np.repeat(np.random.default_rng(3).random((32, 32, 1), np.float32), 3, axis=-1)
    mask = np.ones((32, 32, 1), np.float32)
    mask[8:24, 4:20] = 0
    lighter = measure(1 - image, image, mask)
    assert (lighter["colour_cast"], lighter["colour_error"]) == pytest.approx((0, 0), abs=0.05)
    colours = np.random.default_rng(3).random((32, 32, 3), np.float32)
    moved = colours.copy()
    moved[8:24, 4:20] = colours[8:24, 4:20][::-1, ::-1]
    elsewhere = measure(moved, colours, mask)
    assert elsewhere["colour_cast"] == pytest.approx(0, abs=1e-3)
    assert elsewhere["colour_error"] > 10


NOISE = np.random.default_rng(4).random((64, 64, 3), np.float32)
BOX = np.ones((64, 64, 1), np.float32)
BOX[16:48, 16:48] = 0


def detail_of(fill, photo=NOISE, mask=BOX):
    values = measure(fill.astype(np.float32), photo, mask)
    return values["sharpness"], values["anisotropy"]


def test_the_photo_itself_is_as_sharp_and_as_directed_as_the_photo():
    assert detail_of(NOISE) == (1, 1)


def test_fog_has_a_sharpness_near_zero_and_half_the_contrast_has_half():
    assert detail_of(cv2.GaussianBlur(NOISE, (0, 0), 8))[0] < 0.02
    assert detail_of(0.5 * NOISE + 0.25)[0] == pytest.approx(0.5, abs=1e-4)
    sharpened = np.clip(0.5 + 3 * (NOISE - 0.5), 0, 1)
    assert detail_of(sharpened)[0] > 1.5


def test_fine_detail_is_what_a_gaussian_of_1_5_pixels_takes_away():
    dot = np.zeros((65, 65, 3))
    dot[32, 32] = 1
    where = np.zeros((65, 65), bool)
    where[32, 32] = True
    # The middle of a Gaussian of σ 1.5: 1 / Σ exp(−x² / 2σ²) along each axis, Σ = σ √(2π) to six decimals.
    assert fine_detail(dot, where) == pytest.approx(1 - 1 / (1.5**2 * 2 * np.pi), abs=1e-4)


def test_straight_streaks_raise_anisotropy_and_diagonal_ones_lower_it():
    rows, columns = np.mgrid[:64, :64]
    inside = np.zeros((64, 64), bool)
    inside[19:45, 19:45] = True

    def waves(*phases):
        gray = sum(0.2 * np.sin(2 * np.pi * phase / 8) for phase in phases)
        return np.repeat(gray[..., np.newaxis], 3, axis=2) + 0.5

    # A sine of step angle t has second differences of 2 (1 − cos t) times itself: 0 along the stripes, and t = 2π / 8
    # across them and along both diagonals of stripes along rows, but twice that across diagonal ones.
    assert directedness(waves(rows), inside) == pytest.approx(0.5, abs=1e-6)
    expected = (1 - np.cos(np.pi / 4)) * 2 / (1 - np.cos(np.pi / 2))
    assert directedness(waves(rows + columns), inside) == pytest.approx(expected, abs=1e-6)
    # Fine horizontal and vertical lines, every second one: ±4 and ±4 along the axes, diagonals return to the start.
    lattice = 0.5 + 0.1 * ((-1.0) ** rows + (-1.0) ** columns)[..., np.newaxis] * np.ones(3)
    assert detail_of(lattice)[1] > detail_of(NOISE)[1] > detail_of(waves(rows + columns, rows - columns))[1]
    assert directedness(NOISE.astype(float), inside) == pytest.approx(1, abs=0.05)


def test_detail_is_measured_off_the_border_and_left_out_where_none_is():
    seam = NOISE.copy()
    seam[16:48, 16:48] = 0.5
    seam[19:45, 19:45] = NOISE[19:45, 19:45]
    assert detail_of(seam)[1] == pytest.approx(1, abs=0.05)
    thin = np.ones((64, 64, 1), np.float32)
    thin[30:36] = 0  # six rows: three pixels from both borders leave none
    assert np.isnan(detail_of(NOISE, mask=thin)).all()
    thin[30:37] = 0
    assert detail_of(NOISE, mask=thin) == (1, 1)
    flat = np.full((64, 64, 3), 0.4, np.float32)
    assert np.isnan(detail_of(NOISE, photo=flat)).all()
    sharpness, anisotropy = detail_of(flat)
    assert sharpness < 0.1 and np.isnan(anisotropy)


def test_raw_and_filled_are_kept_apart():
    def shifted(image, mask):
        return np.where(mask == 1, np.clip(image + 0.1, 0, 1), 0.5).astype(np.float32)

    (row,) = run({"shifted": shifted}).table.to_dict("records")
    assert row["accuracy_raw"] < row["accuracy_filled"] - 5
    assert row["flags"] == "alters kept 5"


def test_hidden_pixels_never_reach_a_fill():
    seen = []

    def spy(image, mask, edges):
        seen.append(bool(np.all(image[mask[..., 0] == 0] == 0) and np.all(edges[mask == 0] == 0.5)))
        return mean_fill(image, mask)

    evaluation_ = run({"spy": spy}, modes=("blind",))
    assert len(seen) >= 5 and all(seen)
    assert evaluation_.table["flags"][0] == ""


def test_guided_edges_are_the_truth_s_and_only_fills_with_edges_get_them():
    holes = []

    def spy(image, mask, edges):
        holes.append(np.unique(edges[mask == 0]))
        return mean_fill(image, mask)

    table = run({"spy": spy, "mean fill": mean_fill}).table
    methods = [["spy", "blind"], ["spy", "guided"], ["mean fill", "blind"]]
    assert table[["fill", "mode"]].to_numpy().tolist() == methods
    guided = np.concatenate([hole for hole in holes if 0.5 not in hole])
    assert set(guided) == {0.0, 1.0}


def test_an_answer_that_changes_from_call_to_call_is_flagged():
    rng = np.random.default_rng(0)

    def dice(image, mask):
        return np.where(mask == 1, image, rng.random(image.shape, np.float32))

    assert "not repeatable 1" in run({"dice": dice}).table["flags"][0]


def test_answers_that_are_not_finite_are_reported_and_not_averaged():
    calls = []

    def broken_once(image, mask):
        calls.append(image)
        answer = mean_fill(image, mask)
        if np.array_equal(image, calls[0]):
            answer[0, 0, 0] = np.nan
        return answer

    result, sound = run({"broken": broken_once}), run({"mean fill": mean_fill})
    assert result.table["photos"][0] == 4 and result.table["excluded"][0] == 1
    assert result.table["flags"][0] == "nan 1" and "nan" in result.rows["flags"][0]
    assert result.table["hole_psnr"][0] == pytest.approx(sound.rows["hole_psnr"][1:].mean())
    all_broken = run({"broken": lambda image, mask: image * np.nan})
    assert all_broken.table["photos"][0] == 0 and "| nan 5 |" in all_broken.to_markdown()


def test_values_out_of_range_are_flagged_and_clipped():
    (row,) = run({"bright": lambda image, mask: np.where(mask == 1, image, np.float32(7))}).table.to_dict("records")
    (clipped,) = run({"white": lambda image, mask: np.where(mask == 1, image, np.float32(1))}).table.to_dict("records")
    assert row["flags"] == "range 5" and clipped["flags"] == ""
    assert row["hole_psnr"] == clipped["hole_psnr"]


def test_the_same_call_writes_the_same_bytes(tmp_path):
    for folder in ("a", "b"):
        paths = run({"mean fill": mean_fill, "Telea": telea_fill}, kinds=("brush", "box")).write(tmp_path / folder)
    names = ["evaluation.csv", "evaluation.json", "evaluation.md", "evaluation_pictures.csv"]
    assert [path.name for path in paths] == names
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == names  # nothing temporary is left


def test_the_batch_size_changes_nothing(tmp_path):
    by_two, at_once = (run({"Telea": telea_fill}, batch_size=size) for size in (2, 8))
    assert by_two.rows.equals(at_once.rows) and by_two.settings == at_once.settings


def test_the_files_agree_with_each_other(tmp_path):
    result = run({"mean fill": mean_fill, "oracle": make_oracle(PHOTOS)})
    result.write(tmp_path, "test")
    content = json.loads((tmp_path / "test.json").read_text(encoding="utf-8"))
    table, pictures = (pd.read_csv(tmp_path / name) for name in ("test.csv", "test_pictures.csv"))
    assert table["hole_psnr"][1] == np.inf
    assert table["hole_psnr"].replace(np.inf, None).to_list() == [row["hole_psnr"] for row in content["table"]]
    mean = pictures.groupby("fill")["hole_psnr"].mean()["mean fill"]
    assert table["hole_psnr"][0] == pytest.approx(mean, abs=1e-3)
    assert f"| {table['hole_psnr'][0]:.2f} (" in (tmp_path / "test.md").read_text(encoding="utf-8")


def test_best_and_worst_picture_and_the_interval_of_the_mean():
    result = run({"mean fill": mean_fill})
    scores = result.rows["hole_psnr"].to_list()
    (row,) = result.table.to_dict("records")
    assert row["best"] == str(np.argmax(scores)) and row["worst"] == str(np.argmin(scores))
    assert min(scores) < row["hole_psnr_low"] < row["hole_psnr"] < row["hole_psnr_high"] < max(scores)


def test_the_bootstrap_interval_is_the_one_of_scipy():
    values = np.random.default_rng(0).normal(20, 3, 400)
    mean, low, high = evaluation.mean_and_interval([*values, np.nan], seed=5)
    told = dict(n_resamples=evaluation.RESAMPLES, method="percentile", random_state=np.random.default_rng(5))
    expected = scipy.stats.bootstrap((values,), np.mean, **told).confidence_interval
    assert mean == values.mean() and (low, high) == pytest.approx(tuple(expected), abs=0.005)


def test_the_interval_of_one_number_is_that_number_and_of_none_nan():
    assert evaluation.mean_and_interval([2.5]) == (2.5, 2.5, 2.5)
    assert evaluation.mean_and_interval([2.5, np.inf])[1:] == (2.5, np.inf)
    assert np.isnan(evaluation.mean_and_interval([np.nan])).all()


def test_the_masks_have_the_size_asked_for_and_the_seed_changes_them():
    seen = []

    def spy(image, mask):
        seen.append(mask)
        return mean_fill(image, mask)

    of_three = run({"spy": spy}, kinds=("box",), difficulties=("medium",), seed=3).settings["masks_sha256"]
    low, high = DIFFICULTIES["medium"]
    assert all(low < 1 - mask.mean() < high for mask in seen)
    of_four = run({"mean fill": mean_fill}, kinds=("box",), difficulties=("medium",), seed=4).settings["masks_sha256"]
    assert of_four != of_three


@pytest.mark.parametrize("fill", [telea_fill, navier_stokes_fill])
def test_opencvs_fills_of_an_even_surface_stay_even_at_sides_and_corners(fill):
    image, mask = np.full((64, 80, 3), 0.6, np.float32), np.ones((64, 80, 1), np.float32)
    mask[:8] = mask[:, -8:] = 0  # an L along two sides
    mask[30, ::4] = 0  # single pixels
    np.testing.assert_allclose(fill(image * mask, mask), image, atol=6.5 / 255)
    ramp = np.repeat(np.linspace(0.2, 0.8, 80, dtype=np.float32)[np.newaxis, :, np.newaxis], 3, -1) + np.zeros_like(
        image
    )
    single = np.ones_like(mask)
    single[10:50:5, 10:70:5] = 0
    np.testing.assert_allclose(fill(ramp * single, single), ramp, atol=2.5 / 255)


FILLS = [mean_fill, telea_fill, navier_stokes_fill, smooth_fill, biharmonic_fill, patch_fill]


@pytest.mark.parametrize("fill", FILLS)
def test_baselines_fill_the_hole_keep_the_rest_and_ignore_hidden_pixels(fill):
    if fill is patch_fill:
        pytest.importorskip("patchmatch")
    image, mask = to_image(PHOTOS[0]), create_mask((48, 48), 0.2)
    answers = [fill(np.where(mask == 1, image, np.float32(hidden)), mask) for hidden in (0, 0.7)]
    for answer in answers:
        assert answer.dtype == np.float32 and answer.min() >= 0 and answer.max() <= 1
        assert np.abs(np.where(mask == 1, answer - image, 0)).max() < 1e-6
        assert measure(answer, image, mask)["hole_psnr"] > 10
    assert np.array_equal(*answers)
    with pytest.raises(ValueError, match="removes every pixel, expected some to be kept"):
        fill(image, np.zeros_like(mask))


def test_a_generator_is_run_in_batches_blind_and_guided():
    inference = pytest.importorskip("inpaint_utils.inference.inpaint")
    batches = []

    class Generator:
        def predict_on_batch(self, inputs):
            batches.append(inputs)
            return inputs[..., :3] + (inputs[..., :3] == 0) * inputs[..., 3:]

    table = run({"generator": Generator()}, batch_size=2).table
    assert table["mode"].to_list() == ["blind", "guided"]
    assert {batch.shape for batch in batches} == {(2, 48, 48, 4), (1, 48, 48, 4)}
    mask = create_mask((48, 48), difficulty="easy", seed=[0, 0, 0, 0], kind="brush")
    assert np.array_equal(batches[0][0], inference.build_input(to_image(PHOTOS[0]), mask))
    assert table["flags"].to_list() == ["", ""]
    assert generator_fill(Generator())([to_image(PHOTOS[0])], [mask], [None]).shape == (1, 48, 48, 3)


def test_the_feature_distance_is_zero_for_the_truth_and_ranks_fills():
    pytest.importorskip("keras")
    fills = {"oracle": make_oracle(PHOTOS), "Telea": telea_fill, "mean fill": mean_fill}

    def features(images):
        images = np.asarray(images)
        return [images, images[:, 1:] - images[:, :-1]]

    oracle, telea, mean = run(fills, perceptual=features).table.to_dict("records")
    assert oracle["feature_distance"] == 0
    assert 0 < telea["feature_distance"] < mean["feature_distance"]
    assert oracle["texture_distance"] == 0 < telea["texture_distance"] < mean["texture_distance"]
    assert not {"feature_distance", "texture_distance"} & set(run({"mean fill": mean_fill}).table)


def test_the_feature_distance_is_perceptual_distance_s():
    perceptual = pytest.importorskip("inpaint_utils.networks.perceptual")
    features, image, mask = tiny.build_tiny_features(), to_image(PHOTOS[0]), given_masks()[0]
    fill = telea_fill(image, mask)
    expected = perceptual.perceptual_distance(features, fill[np.newaxis], image[np.newaxis])
    described = [describe(features, [picture], [mask])[0] for picture in (fill, image)]
    assert compare(*described)["feature_distance"] == pytest.approx(float(expected[0]), rel=1e-5)


def test_the_texture_distance_compares_the_hole_s_box_and_eight_pixels():
    # A 32 × 32 photo, hole rows 12 to 15 and columns 2 to 3: its box with eight pixels around is [4:24, 0:12], and
    # [2:12, 0:6] in a layer of half the size. One channel: a Gram matrix is the mean square. The fill differs in one
    # corner of the box, of 4 out of 240 pixels and 1 out of 60, and everywhere around it, which does not count.
    photo, fill, mask = np.zeros((32, 32, 3), np.float32), np.ones((32, 32, 3), np.float32), np.ones((32, 32, 1))
    mask[12:16, 2:4] = 0
    photo[4:24, 0:12] = fill[4:24, 0:12] = 0.5
    fill[4:6, 10:12] = 0.75

    def features(images):
        return [images[..., :1], images[:, ::2, ::2, :1] ** 2]

    described = describe(features, [photo, fill], [mask, mask])
    assert [gram.item() for gram in described[0].grams] == [0.5**2, 0.5**4]
    # (0.75² − 0.5²) / 0.5² = 1.25 and (0.75⁴ − 0.5⁴) / 0.5⁴ = 4.0625
    expected = (1.25 * 4 / 240 + 4.0625 / 60) / 2
    assert compare(described[1], described[0])["texture_distance"] == pytest.approx(expected, rel=1e-4)


def test_a_gram_matrix_says_which_channels_go_together_and_not_where():
    maps = np.array([[[1, 2], [3, 0]]], np.float32)  # two pixels of two channels
    described = describe(lambda images: [np.stack([maps, maps[:, ::-1]])], [NOISE] * 2, [BOX] * 2)
    for one in described:
        np.testing.assert_array_equal(one.grams[0], [[5, 1], [1, 2]])
    assert compare(*described)["texture_distance"] == 0 < compare(*described)["feature_distance"]


def test_the_distance_of_sets_is_that_of_a_plain_double_loop():
    rng = np.random.default_rng(6)
    fills, photos = ([rng.random((7, 3)), 100 * rng.random((7, 5))] for _ in range(2))
    scales = [np.sqrt((layer**2).mean()) for layer in photos]
    x, y = (np.hstack([layer / scale for layer, scale in zip(s, scales, strict=True)]) for s in (fills, photos))

    def kernel(a, b):
        return (sum(p * q for p, q in zip(a, b, strict=True)) / 8 + 1) ** 3

    pairs = [(i, j) for i in range(7) for j in range(7) if i != j]
    expected = sum(kernel(x[i], x[j]) + kernel(y[i], y[j]) - 2 * kernel(x[i], y[j]) for i, j in pairs) / 42
    assert kernel_distance(fills, photos)[0] == pytest.approx(expected, rel=1e-9)


def test_the_distance_of_sets_is_near_zero_for_like_ones_and_grows():
    rng = np.random.default_rng(7)
    photos = [rng.random((200, 16))]
    assert kernel_distance(photos, photos) == pytest.approx((0, 0), abs=1e-12)
    trials = [kernel_distance([rng.random((200, 16))], [rng.random((200, 16))])[0] for _ in range(40)]
    assert min(trials) < 0 < max(trials) < 0.03 and abs(np.mean(trials)) < 0.005
    near, far = (kernel_distance([rng.random((200, 16)) + shift], photos)[0] for shift in (0.1, 0.2))
    assert 0.02 < near < far / 2
    assert np.isnan(kernel_distance([photos[0][:1]], [photos[0][:1]])).all()


def test_parts_of_kid_tell_two_fills_of_the_same_photos_apart():
    rng, apart = np.random.default_rng(2), []
    for _ in range(60):
        photos = [rng.random((50, 16))]
        near, far = ([photos[0] * 0.8 + shift + 0.02 * rng.random((50, 16))] for shift in (0.1, 0.11))
        parts = [split_kernel_distance(fills, photos) for fills in (near, far)]
        distances, errors = zip(*(kernel_distance(fills, photos) for fills in (near, far)), strict=True)
        np.testing.assert_allclose([part.mean() for part in parts], distances)
        difference = parts[1] - parts[0]
        apart.append((difference.mean(), 2 * difference.std(ddof=1) / np.sqrt(50), np.hypot(*errors)))
    found, paired, unpaired = np.array(apart).T
    assert np.mean(paired) < 0.5 * np.mean(unpaired)
    assert np.std(found) == pytest.approx(np.mean(paired), rel=0.5), "the error is what repetitions show"


def test_the_standard_error_of_the_distance_is_how_much_draws_vary():
    rng = np.random.default_rng(8)

    def draw():
        photos = rng.random((60, 4))
        photos /= np.sqrt((photos**2).mean(axis=1, keepdims=True))  # so that the scale is the same for all draws
        return kernel_distance([photos * 0.7 + 0.1 * rng.random((60, 4))], [photos])

    distances, errors = np.transpose([draw() for _ in range(200)])
    assert np.mean(errors) == pytest.approx(np.std(distances), rel=0.25)


def test_sets_are_compared_on_a_square_around_the_hole_and_in_the_picture():
    mask = np.ones((300, 200, 1), np.float32)
    mask[140:160, 90:110] = 0
    assert crop_around_hole(mask) == (slice(86, 214), slice(36, 164))
    mask[:] = 1
    mask[:10, 195:] = 0
    assert crop_around_hole(mask) == (slice(0, 128), slice(72, 200))
    assert crop_around_hole(mask[:40, 100:]) == (slice(0, 40), slice(60, 100))
    image = np.zeros((300, 200, 3), np.float32)
    image[:128, 72:] = 0.25
    (layer,) = embed(lambda images: [images], [image], [mask])
    np.testing.assert_array_equal(layer, [[0.25, 0.25, 0.25]])


def deep(images):
    """Stands in for VGG19's deep layers: colours, and how much they change."""
    images = np.asarray(images)
    return [images, np.abs(images[:, 1:] - images[:, :-1])]


def test_kid_is_zero_for_the_photos_and_larger_for_the_worse_fill():
    photos = draw_photos(50, side=32)
    fills = {"oracle": make_oracle(photos), "Telea": telea_fill, "mean fill": mean_fill}
    result = run(fills, photos, deep_features=deep)
    oracle, telea, mean = result.table.to_dict("records")
    assert [oracle[name] for name in ("kid", "kid_low", "kid_high")] == pytest.approx([0, 0, 0], abs=1e-9)
    assert telea["kid_low"] < telea["kid"] < telea["kid_high"]
    assert telea["kid"] < mean["kid"]
    assert "kid [× 1000] |" in result.to_markdown() and "kid" not in result.rows
    by_all = run(fills, photos, deep_features=deep, batch_size=50).table
    np.testing.assert_allclose(by_all["kid"], result.table["kid"], rtol=1e-5, atol=1e-9)


def test_kid_is_left_out_where_answers_that_are_not_finite_leave_too_few():
    photos = draw_photos(51, side=32)

    def broken(count):
        broken_photos = [to_image(photo) for photo in photos[:count]]

        def fill(image, mask):
            is_broken = any(np.array_equal(np.where(mask == 1, photo, 0), image) for photo in broken_photos)
            return image * np.nan if is_broken else mean_fill(image, mask)

        return fill

    one, two = run({"one": broken(1), "two": broken(2)}, photos, deep_features=deep).table.to_dict("records")
    assert np.isnan(two["kid"]) and two["photos"] == 49
    rest = run({"mean fill": mean_fill}, photos, deep_features=deep)
    assert one["kid"] > 0 and one["kid"] != rest.table["kid"][0]


def test_a_measure_without_a_number_for_some_is_a_mean_of_the_others():
    photos = PHOTOS.copy()
    photos[2] = 128  # flat
    result = run({"Telea": telea_fill}, photos, kinds=("box",), difficulties=("medium",))
    sharpness = result.rows["sharpness"].to_list()
    assert np.isnan(sharpness).tolist() == [False, False, True, False, False]
    assert result.table["photos"][0] == 5
    assert result.table["sharpness"][0] == pytest.approx(np.nanmean(sharpness))
    assert result.table["sharpness_low"][0] < result.table["sharpness"][0] < result.table["sharpness_high"][0]


class Photos:
    """As much of a PhotoSet as an evaluation uses."""

    images = PHOTOS
    records = [
        {"file": f"{i}.jpg", "sha256": str(i), "file_sha256": str(i), "group": str(i), "split": split}
        for i, split in enumerate(["train", "test", "validation", "test", "train"])
    ]

    def split(self, name):
        return np.array([i for i, record in enumerate(self.records) if record["split"] == name], dtype=int)


def test_only_the_split_asked_for_is_used():
    rows = run({"mean fill": mean_fill}, Photos()).rows
    assert rows["photo"].to_list() == ["1.jpg", "3.jpg"]
    direct = run({"mean fill": mean_fill}, PHOTOS[[1, 3]]).rows
    assert rows["hole_psnr"].equals(direct["hole_psnr"])
    assert len(run({"mean fill": mean_fill}, Photos(), count=1).rows) == 1


def test_a_split_without_photos_is_named():
    photos = Photos()
    photos.records = [{**record, "split": "train"} for record in Photos.records]
    with pytest.raises(ValueError, match="no photos in the split 'test' of the photo set, expected at least one"):
        run({"mean fill": mean_fill}, photos)


@pytest.mark.parametrize("key", ["sha256", "file_sha256", "group"])
def test_a_test_photo_that_was_trained_on_is_found(key):
    check_disjoint(Photos.records[:2], Photos.records[2:])
    copied = [*Photos.records[2:], {**Photos.records[4], "file": "copy.jpg", key: "1"}]
    with pytest.raises(ValueError, match=r"1\.jpg.*copy\.jpg"):
        check_disjoint(Photos.records[:2], copied)
    photos = Photos()
    photos.records = [*Photos.records[:4], {**Photos.records[4], key: "1"}]
    with pytest.raises(ValueError, match=r"1\.jpg.*4\.jpg"):
        run({"mean fill": mean_fill}, photos)


@pytest.fixture(scope="module")
def trained_on(tmp_path_factory):
    """Every sample photo, prepared as a training's at 128 and at 256 pixels."""
    folder = tmp_path_factory.mktemp("trained")
    return {size: prepare_photos(sample_photos(), folder / str(size), size, progress=False) for size in (128, 256)}


def resave(folder, change=lambda pixels: pixels):
    """Six of the sample photos, of which no two show one scene, as JPEG files of quality 80."""
    folder.mkdir()
    for path in sample_photos()[::7]:
        cv2.imwrite(str(folder / path.name), change(cv2.imread(str(path))), [cv2.IMWRITE_JPEG_QUALITY, 80])
    return sorted(folder.iterdir())


@pytest.mark.parametrize(
    "change",
    [lambda pixels: pixels, lambda pixels: pixels[:, ::-1], lambda pixels: cv2.resize(pixels, None, fx=0.5, fy=0.5)],
    ids=["saved again", "mirrored", "smaller"],
)
def test_photos_saved_again_are_found_in_the_other_set_at_any_size(tmp_path, trained_on, change):
    paths = resave(tmp_path / "photos", change)
    for size in (128, 256):
        test = prepare_photos(paths, tmp_path / str(size), size, progress=False)
        for trained in trained_on.values():
            with pytest.raises(ValueError, match=r"^6 of 6 test photos are also training photos, or near") as caught:
                check_disjoint(test, trained)
            assert all(f"{path.name} ({path.name})" in str(caught.value) for path in paths[:3])


def test_one_file_is_found_in_sets_of_two_sizes_by_its_hash_alone(tmp_path, trained_on):
    test = prepare_photos(sample_photos()[:3], tmp_path, 128, progress=False)
    with pytest.raises(ValueError, match="^3 of 3 test photos"):
        check_disjoint([{**record, "group": ""} for record in test.records], trained_on[256].records)


@pytest.mark.parametrize("sizes", [(128, 256), (256, 128), (128, 128)])
def test_sample_photos_of_other_groups_are_no_leak(trained_on, sizes):
    parts = []
    for size, is_test in zip(sizes, (True, False), strict=True):
        photos = trained_on[size]
        chosen = [i for i, record in enumerate(photos.records) if (record["split"] == "test") == is_test]
        parts.append(PhotoSet(photos.images[chosen], [photos.records[i] for i in chosen], []))
    assert min(len(part.records) for part in parts) >= 3
    check_disjoint(*parts)


@pytest.mark.parametrize("side", [100, 192, 384])
def test_a_size_no_generator_takes_is_told_before_anything_is_measured(side):
    models = pytest.importorskip("inpaint_utils.networks.models")
    calls = []

    def spy(image, mask):
        calls.append(mask)
        return mean_fill(image, mask)

    generator = models.build_generator(256 if side == 384 else None, 4)
    expected = "256×256" if side == 384 else "a multiple of 128 pixels"
    with pytest.raises(ValueError, match=f"'wide' cannot fill photos of {side}×{side}, .* of {expected}: prepare"):
        run({"spy": spy, "wide": generator}, draw_photos(1, side))
    assert calls == []


def test_an_exported_generator_of_another_size_is_told_at_once():
    class Exported:
        input_shape = (1, 256, 256, 4)

        def predict_on_batch(self, inputs):
            pytest.fail("it was run")

    with pytest.raises(ValueError, match="'small' cannot fill photos of 48×48, .* photos of 256×256: prepare them"):
        run({"small": Exported()})


def test_a_network_whose_answer_is_no_picture_is_told_at_once():
    with pytest.raises(ValueError, match="'judge' cannot fill photos of 48×48, expected one of 4 channels to 3"):
        run({"judge": tiny.build_tiny_discriminator()})
    assert len(run({"tiny": tiny.build_tiny_generator()}).table) == 2  # one that takes any size

    class OfItsOwn(keras.Model):
        def call(self, inputs, training=False):
            return keras.ops.convert_to_tensor(keras.ops.convert_to_numpy(inputs)[..., :3])  # no symbol gets through

        def predict_on_batch(self, inputs):
            return np.asarray(self.call(inputs))

    assert len(run({"own": OfItsOwn()}).table) == 2


def test_the_hashes_are_those_of_the_masks_and_photos(capsys):
    chosen = dict(count=3, kinds=("brush", "box"), difficulties=("easy", "hard"), modes=("blind",), seed=3)
    result = evaluate({"mean fill": mean_fill}, PHOTOS, **chosen, progress=None)
    assert "picture/s" not in capsys.readouterr().err, "a bar in a log"
    cells = itertools.product(chosen["kinds"], chosen["difficulties"])
    masks = [draw_mask(PHOTOS[0].shape, *cell, 3, i) == 1 for cell in cells for i in range(3)]
    expected = hashlib.sha256(b"".join(np.packbits(mask).tobytes() for mask in masks)).hexdigest()
    assert result.settings["masks_sha256"] == expected
    assert result.settings["photos_sha256"] == hashlib.sha256(4 * PHOTOS[:3].tobytes()).hexdigest()


def test_a_photo_name_that_is_no_utf_8_loses_no_result(tmp_path):
    result = run({"mean fill": mean_fill})
    for table, columns in ((result.rows, ["photo"]), (result.table, ["best", "worst"])):
        table[columns] = "b\udce9.jpg"
    result.table.loc[0, ["hole_psnr", "hole_psnr_high"]] = math.nan, math.inf
    result.write(tmp_path)
    row = json.loads((tmp_path / "evaluation.json").read_text())["table"][0]
    assert row["best"] == "b\udce9.jpg" and row["hole_psnr"] is row["hole_psnr_high"] is None
    assert b"b\xe9.jpg" in (tmp_path / "evaluation_pictures.csv").read_bytes()


def given_masks(value=None, shape=(48, 48)):
    masks = [create_mask(shape, 0.2, seed=i) for i in range(5)]
    if value is not None:
        masks[3] = np.full((*shape, 1), value, np.float32)
    return masks


def test_given_masks_are_used():
    result = run({"mean fill": mean_fill}, masks=given_masks())
    assert len(result.table) == 1 and result.table["kind"][0] == "given"
    assert result.rows["hole_psnr"][2] == pytest.approx(
        measure(mean_fill(to_image(PHOTOS[2]), given_masks()[2]), to_image(PHOTOS[2]), given_masks()[2])["hole_psnr"]
    )


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"masks": given_masks(shape=(40, 48))}, r"\(40, 48, 1\).*\(48, 48, 1\)"),
        ({"masks": given_masks(0)}, "removes every pixel"),
        ({"masks": given_masks(1)}, "keeps every pixel"),
        ({"masks": given_masks(0.5)}, "0.5.*threshold"),
        ({"masks": given_masks()[:4]}, "4 masks.*5 photos"),
        ({"count": 6}, "count=6.*5 are there"),
        ({"count": 0}, "count=0"),
        ({"deep_features": lambda images: [images]}, "5 photos are too few: use at least 50"),
        ({"photos": PHOTOS[:0]}, r"no photos in an array of \(0, 48, 48, 3\)"),
        ({"photos": PHOTOS / 255}, "float64"),
        ({"fills": {}}, "at least one fill"),
        ({"modes": ("guided",)}, "parameter named edges"),
        ({"kinds": ()}, r"kinds=\(\).*nothing to do"),
        ({"modes": ("seeing",)}, "seeing.*blind, guided"),
        ({"kinds": ("blob",)}, "blob.*brush, box, mixed"),
        ({"difficulties": ("extreme",)}, "extreme.*easy, medium, hard"),
        ({"fills": {"half": lambda image, mask: image[::2]}}, r"half: .*\(24, 48, 3\).*\(48, 48, 3\)"),
        ({"fills": {"bytes": lambda image, mask: np.uint8(image * 255)}}, "bytes: .*uint8"),
    ],
)
def test_bad_input_is_named_and_refused(arguments, named):
    with pytest.raises(ValueError, match=named):
        run(**{"fills": {"mean fill": mean_fill}, **arguments})


def test_a_progress_bar_counts_the_pictures(capsys):
    run({"mean fill": mean_fill}, progress=True)
    assert "5/5" in capsys.readouterr().err
    run({"mean fill": mean_fill}, progress=False)
    assert capsys.readouterr().err == ""


def test_a_mask_drawn_alone_is_the_one_that_evaluate_used():
    seen = []

    def spy(image, mask):
        seen.append(mask)
        return image

    evaluate({"spy": spy}, PHOTOS[:2], kinds=("box",), difficulties=("hard",), modes=("blind",), seed=3, progress=False)
    assert np.array_equal(seen[1], draw_mask(PHOTOS[0].shape, "box", "hard", 3, 1))
