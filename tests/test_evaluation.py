"""Evaluation: known answers get known numbers, no hidden pixel is shown, and the same call writes the same bytes."""

import csv
import json

import cv2
import numpy as np
import pytest

from inpaint_utils import evaluation
from inpaint_utils.baselines import (
    biharmonic_fill,
    mean_fill,
    navier_stokes_fill,
    patch_fill,
    smooth_fill,
    telea_fill,
)
from inpaint_utils.evaluation import check_disjoint, evaluate, generator_fill, stored_masks
from inpaint_utils.masks import DIFFICULTIES, create_mask
from inpaint_utils.measures import measure


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
    (row,) = run({"oracle": make_oracle(PHOTOS)}).table
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


@pytest.mark.parametrize("shape", [(48, 48), (64, 33), (11, 11), (256, 256)])
def test_psnr_and_ssim_equal_scikit_image_s(shape):
    metrics = pytest.importorskip("skimage.metrics")
    rng = np.random.default_rng(1)
    image = cv2.GaussianBlur(rng.random((*shape, 3)), (0, 0), 2).astype(np.float32)
    raw = np.clip(image + 0.2 * rng.standard_normal(image.shape), 0, 1).astype(np.float32)
    mask = np.ones((*shape, 1), np.float32)
    mask[3:-3, 3:-3] = 0
    values = measure(raw, image, mask)
    filled, truth = np.where(mask == 1, image, raw).astype(np.float64), image.astype(np.float64)
    assert values["psnr"] == pytest.approx(metrics.peak_signal_noise_ratio(truth, filled, data_range=1), abs=1e-9)
    hole = mask[..., 0] == 0
    assert values["hole_psnr"] == pytest.approx(
        metrics.peak_signal_noise_ratio(truth[hole], filled[hole], data_range=1), abs=1e-9
    )
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": -1}
    expected = metrics.structural_similarity(truth, filled, data_range=1, **settings)
    assert values["ssim"] == pytest.approx(expected, abs=1e-6)


def to_lab(rgb):
    """CIELAB of sRGB values in [0, 1] at white point D65, after IEC 61966-2-1 and CIE 15."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = linear @ np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]).T
    xyz = xyz / (0.9505, 1, 1.089)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def test_colour_measures_are_distances_of_a_and_b_of_the_mean_and_of_each_pixel():
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


def test_raw_and_filled_are_kept_apart():
    def shifted(image, mask):
        return np.where(mask == 1, np.clip(image + 0.1, 0, 1), 0.5).astype(np.float32)

    (row,) = run({"shifted": shifted}).table
    assert row["accuracy_raw"] < row["accuracy_filled"] - 5
    assert row["flags"] == "alters kept 5"


def test_hidden_pixels_never_reach_a_fill():
    seen = []

    def spy(image, mask, edges):
        seen.append(bool(np.all(image[mask[..., 0] == 0] == 0) and np.all(edges[mask == 0] == 0.5)))
        return mean_fill(image, mask)

    evaluation_ = run({"spy": spy}, modes=("blind",))
    assert len(seen) >= 5 and all(seen)
    assert evaluation_.table[0]["flags"] == ""


def test_guided_edges_are_the_truth_s_in_the_hole_and_only_fills_with_edges_are_guided():
    holes = []

    def spy(image, mask, edges):
        holes.append(np.unique(edges[mask == 0]))
        return mean_fill(image, mask)

    table = run({"spy": spy, "mean fill": mean_fill}).table
    assert [(row["fill"], row["mode"]) for row in table] == [
        ("spy", "blind"),
        ("spy", "guided"),
        ("mean fill", "blind"),
    ]
    guided = np.concatenate([hole for hole in holes if 0.5 not in hole])
    assert set(guided) == {0.0, 1.0}


def test_an_answer_that_changes_from_call_to_call_is_flagged():
    rng = np.random.default_rng(0)

    def dice(image, mask):
        return np.where(mask == 1, image, rng.random(image.shape, np.float32))

    assert "not repeatable 1" in run({"dice": dice}).table[0]["flags"]


def test_answers_that_are_not_finite_are_reported_and_left_out_of_the_means():
    calls = []

    def broken_once(image, mask):
        calls.append(image)
        answer = mean_fill(image, mask)
        if np.array_equal(image, calls[0]):
            answer[0, 0, 0] = np.nan
        return answer

    result, sound = run({"broken": broken_once}), run({"mean fill": mean_fill})
    assert result.table[0]["photos"] == 4 and result.table[0]["excluded"] == 1
    assert result.table[0]["flags"] == "nan 1" and "nan" in result.rows[0]["flags"]
    assert result.table[0]["hole_psnr"] == pytest.approx(np.mean([row["hole_psnr"] for row in sound.rows[1:]]))
    all_broken = run({"broken": lambda image, mask: image * np.nan})
    assert all_broken.table[0]["photos"] == 0 and "| nan 5 |" in all_broken.to_markdown()


def test_values_out_of_range_are_flagged_and_clipped():
    (row,) = run({"bright": lambda image, mask: np.where(mask == 1, image, np.float32(7))}).table
    (clipped,) = run({"white": lambda image, mask: np.where(mask == 1, image, np.float32(1))}).table
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
    assert by_two.rows == at_once.rows and by_two.settings == at_once.settings


def test_the_files_agree_with_each_other(tmp_path):
    result = run({"mean fill": mean_fill, "oracle": make_oracle(PHOTOS)})
    result.write(tmp_path, "test")
    content = json.loads((tmp_path / "test.json").read_text(encoding="utf-8"))
    with open(tmp_path / "test.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["hole_psnr"] for row in rows] == [str(row["hole_psnr"]) for row in content["table"]]
    assert rows[1]["hole_psnr"] == "inf"
    with open(tmp_path / "test_pictures.csv", encoding="utf-8", newline="") as file:
        pictures = [float(row["hole_psnr"]) for row in csv.DictReader(file) if row["fill"] == "mean fill"]
    assert float(rows[0]["hole_psnr"]) == pytest.approx(np.mean(pictures), abs=1e-3)
    assert f"| {float(rows[0]['hole_psnr']):.2f} (" in (tmp_path / "test.md").read_text(encoding="utf-8")


def test_best_and_worst_picture_and_the_interval_of_the_mean():
    result = run({"mean fill": mean_fill})
    scores = [row["hole_psnr"] for row in result.rows]
    (row,) = result.table
    assert row["best"] == str(np.argmax(scores)) and row["worst"] == str(np.argmin(scores))
    assert min(scores) < row["hole_psnr_low"] < row["hole_psnr"] < row["hole_psnr_high"] < max(scores)


def test_the_bootstrap_interval_has_the_width_that_theory_gives():
    values = np.random.default_rng(0).normal(20, 3, (400, 1))
    interval = evaluation._mean_and_interval(values, ["x"], seed=0)
    expected = 1.96 * values.std() / np.sqrt(400)
    assert interval["x_high"] - interval["x"] == pytest.approx(expected, rel=0.12)
    assert interval["x"] - interval["x_low"] == pytest.approx(expected, rel=0.12)


def test_stored_masks_are_the_ones_used():
    seen = []

    def spy(image, mask):
        seen.append(mask)
        return mean_fill(image, mask)

    run({"spy": spy}, kinds=("box",), difficulties=("medium",), seed=3)
    masks = stored_masks((48, 48), "box", "medium", 5, seed=3)
    assert masks.dtype == np.uint8 and masks.shape == (5, 48, 48, 1)
    assert np.array_equal(np.stack(seen)[:5], masks)
    low, high = DIFFICULTIES["medium"]
    assert all(low < 1 - mask.mean() < high for mask in masks)
    other = run({"mean fill": mean_fill}, seed=4).settings["masks_sha256"]
    assert run({"mean fill": mean_fill}, seed=3).settings["masks_sha256"] != other


FILLS = [mean_fill, telea_fill, navier_stokes_fill, smooth_fill, biharmonic_fill, patch_fill]


@pytest.mark.parametrize("fill", FILLS)
def test_baselines_fill_the_hole_keep_the_rest_and_ignore_hidden_pixels(fill):
    if fill is biharmonic_fill:
        pytest.importorskip("skimage")
    if fill is patch_fill:
        pytest.importorskip("patchmatch")
    image, mask = to_image(PHOTOS[0]), create_mask((48, 48), 0.2)
    answers = [fill(np.where(mask == 1, image, np.float32(hidden)), mask) for hidden in (0, 0.7)]
    for answer in answers:
        assert answer.dtype == np.float32 and answer.min() >= 0 and answer.max() <= 1
        assert np.abs(np.where(mask == 1, answer - image, 0)).max() < 1e-6
        assert measure(answer, image, mask)["hole_psnr"] > 10
    assert np.array_equal(*answers)


def test_a_generator_is_run_in_batches_blind_and_guided():
    inference = pytest.importorskip("inpaint_utils.inference")
    batches = []

    class Generator:
        def predict_on_batch(self, inputs):
            batches.append(inputs)
            return inputs[..., :3] + (inputs[..., :3] == 0) * inputs[..., 3:]

    table = run({"generator": Generator()}, batch_size=2).table
    assert [row["mode"] for row in table] == ["blind", "guided"]
    assert {batch.shape for batch in batches} == {(2, 48, 48, 4), (1, 48, 48, 4)}
    mask = create_mask((48, 48), difficulty="easy", seed=[0, 0, 0, 0], kind="brush")
    assert np.array_equal(batches[0][0], inference.build_input(to_image(PHOTOS[0]), mask))
    assert table[0]["flags"] == table[1]["flags"] == ""
    assert generator_fill(Generator())([to_image(PHOTOS[0])], [mask], [None]).shape == (1, 48, 48, 3)


def test_the_feature_distance_is_zero_for_the_truth_and_smaller_for_the_better_fill():
    pytest.importorskip("keras")
    fills = {"oracle": make_oracle(PHOTOS), "Telea": telea_fill, "mean fill": mean_fill}

    def features(images):
        images = np.asarray(images)
        return [images, images[:, 1:] - images[:, :-1]]

    oracle, telea, mean = run(fills, perceptual=features).table
    assert oracle["feature_distance"] == 0
    assert 0 < telea["feature_distance"] < mean["feature_distance"]
    assert "feature_distance" not in run({"mean fill": mean_fill}).table[0]


class Photos:
    """As much of a PhotoSet as an evaluation uses."""

    images = PHOTOS
    records = [
        {"file": f"{i}.jpg", "sha256": str(i), "group": str(i), "split": split}
        for i, split in enumerate(["train", "test", "validation", "test", "train"])
    ]

    def split(self, name):
        return np.array([i for i, record in enumerate(self.records) if record["split"] == name], dtype=int)


def test_only_the_split_asked_for_is_used():
    rows = run({"mean fill": mean_fill}, Photos()).rows
    assert [row["photo"] for row in rows] == ["1.jpg", "3.jpg"]
    direct = run({"mean fill": mean_fill}, PHOTOS[[1, 3]]).rows
    assert [row["hole_psnr"] for row in rows] == [row["hole_psnr"] for row in direct]
    assert len(run({"mean fill": mean_fill}, Photos(), count=1).rows) == 1


@pytest.mark.parametrize("key", ["sha256", "group"])
def test_a_test_photo_that_was_trained_on_is_found(key):
    check_disjoint(Photos.records[:2], Photos.records[2:])
    copied = [*Photos.records[2:], {**Photos.records[4], "file": "copy.jpg", key: "1"}]
    with pytest.raises(ValueError, match=r"1\.jpg.*copy\.jpg"):
        check_disjoint(Photos.records[:2], copied)
    photos = Photos()
    photos.records = [*Photos.records[:4], {**Photos.records[4], key: "1"}]
    with pytest.raises(ValueError, match=r"1\.jpg.*4\.jpg"):
        run({"mean fill": mean_fill}, photos)


def given_masks(value=None, shape=(48, 48)):
    masks = [create_mask(shape, 0.2, seed=i) for i in range(5)]
    if value is not None:
        masks[3] = np.full((*shape, 1), value, np.float32)
    return masks


def test_given_masks_are_used():
    result = run({"mean fill": mean_fill}, masks=given_masks())
    assert len(result.table) == 1 and result.table[0]["kind"] == "given"
    assert result.rows[2]["hole_psnr"] == pytest.approx(
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
        ({"photos": PHOTOS[:0]}, "0 are there"),
        ({"photos": PHOTOS / 255}, "float64"),
        ({"fills": {}}, "at least one fill"),
        ({"modes": ("guided",)}, "parameter named edges"),
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
