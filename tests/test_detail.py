"""Detail from the photo itself: the hole gets the photo's own texture, and nothing else changes."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inpaint_utils.data.masks import create_mask
from inpaint_utils.inference.detail import Canvas, add_detail
from inpaint_utils.inference.inpaint import inpaint

HOLE = (slice(60, 130), slice(50, 140))


class Fog:
    """A generator that answers with the blurred colours of what it sees: all structure, no detail."""

    input_shape = (None, None, None, 4)

    def __call__(self, inputs, training):
        seen = (inputs[0, ..., :3].max(axis=-1, keepdims=True) > 0).astype(np.float32)
        colours = cv2.GaussianBlur(inputs[0, ..., :3], (0, 0), 20)
        return (colours / np.maximum(cv2.GaussianBlur(seen, (0, 0), 20)[..., np.newaxis], 1e-3))[np.newaxis]


def draw_meadow(height=192, width=192, seed=0):
    """A flat sky above grass: vertical strokes of many greens."""
    rng = np.random.default_rng(seed)
    blades = cv2.GaussianBlur(rng.random((height, width, 1), np.float32), (0, 0), sigmaX=0.6, sigmaY=2)
    grass = np.float32([0.3, 0.5, 0.1]) + 1.5 * (blades[..., np.newaxis] - 0.5)
    sky = np.float32([0.5, 0.6, 0.8])
    return np.where(np.arange(height)[:, np.newaxis, np.newaxis] < height // 3, sky, np.clip(grass, 0, 1))


def cut_hole(image, hole=HOLE):
    mask = np.ones((*image.shape[:2], 1), np.float32)
    mask[hole] = 0
    return mask


def see_detail(picture):
    """Mean absolute difference to its blur."""
    return float(np.abs(picture - cv2.GaussianBlur(picture, (0, 0), 1.5)).mean())


def test_grass_comes_back_as_sharp_as_the_photos():
    image = draw_meadow()
    mask = cut_hole(image, (slice(90, 160), slice(50, 140)))
    foggy, sharp = (inpaint(Fog(), image, mask, detail=detail)[95:155, 55:135] for detail in (0, 1))
    truth = see_detail(image[95:155, 55:135])
    assert see_detail(foggy) < 0.3 * truth
    assert 0.7 * truth < see_detail(sharp) < 1.2 * truth
    assert np.abs(sharp.mean(axis=(0, 1)) - foggy.mean(axis=(0, 1))).max() < 0.03, "the colour stays the generator's"


def test_a_flat_sky_stays_flat():
    image = draw_meadow()
    mask = cut_hole(image, (slice(5, 45), slice(50, 140)))
    assert see_detail(inpaint(Fog(), image, mask)[8:35, 55:135]) < 1 / 255


def test_a_large_hole_filled_at_half_the_size_gets_detail_of_full_size():
    image = draw_meadow(1200, 1200)
    mask = cut_hole(image, (slice(550, 1000), slice(350, 800)))
    foggy, sharp = (inpaint(Fog(), image, mask, detail=detail)[600:950, 400:750] for detail in (0, 1))
    truth = see_detail(image[600:950, 400:750])
    assert see_detail(foggy) < 0.3 * truth
    assert see_detail(sharp) > 0.7 * truth


@pytest.mark.parametrize("side", [192, 700])
def test_what_lies_under_the_hole_never_reaches_the_detail(side):
    image = draw_meadow(side, side)
    mask = cut_hole(image)
    mask[20:23, 5 : side - 5] = 0  # a wire, which the larger photo has in tiles
    answer = inpaint(Fog(), image, mask)
    for hidden in (1 - image, np.full_like(image, np.nan)):
        assert np.array_equal(answer, inpaint(Fog(), np.where(mask == 1, image, hidden), mask))
    kept = mask[..., 0] == 1
    assert answer[kept].tobytes() == image[kept].tobytes()


def test_a_seed_repeats_its_answer_and_another_gives_another():
    image = draw_meadow()
    mask = cut_hole(image)
    first, again, other = (inpaint(Fog(), image, mask, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert np.abs(first - other)[HOLE].mean() > 0.005
    assert see_detail(other[HOLE]) == pytest.approx(see_detail(first[HOLE]), rel=0.2)


@pytest.mark.parametrize("side", [192, 700])
def test_half_the_detail_lies_half_way(side):
    image = draw_meadow(side, side)
    mask = cut_hole(image)
    none, half, all_of_it = (inpaint(Fog(), image, mask, detail=detail) for detail in (0, 0.5, 1))
    np.testing.assert_allclose(half, (none + all_of_it) / 2, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    hidden=st.sampled_from(("brush", "box", "specks", "all but one", "all but a frame", "one", "all")),
    seed=st.integers(0, 99),
)
def test_any_size_and_hole_gives_a_whole_picture(height, width, hidden, seed):
    rng = np.random.default_rng(seed)
    image, answer = rng.random((2, height, width, 3), np.float32)
    keep = np.ones((height, width), bool)
    if hidden in ("brush", "box"):
        keep = create_mask((max(16, height), max(16, width)), 0.4, seed, kind=hidden)[:height, :width, 0] == 1
    elif hidden == "specks":
        keep = rng.random((height, width)) > 0.1
    elif hidden.startswith("all"):
        keep[1:-1, 1:-1] = False
        keep &= hidden == "all but a frame"
        keep[0, 0] = hidden != "all"
    else:
        keep[height // 2, width // 2] = False
    filled = add_detail(image, answer, keep, seed=seed)
    assert filled.shape == image.shape and filled.dtype == np.float32
    assert np.isfinite(filled).all() and filled.min() >= 0 and filled.max() <= 1
    assert filled[keep].tobytes() == image[keep].tobytes()


def test_with_nothing_to_copy_the_answer_stays_as_it_is():
    image, answer = np.random.default_rng(0).random((2, 60, 60, 3), np.float32)
    keep = np.zeros((60, 60), bool)
    keep[::3] = True  # no row of patches is kept
    assert np.array_equal(add_detail(image, answer, keep)[~keep], answer[~keep])
    framed = np.ones((1000, 1000), bool)
    framed[9:-9, 9:-9] = False  # in the sizes in which patches are looked for the frame is too thin for one
    image, answer = np.random.default_rng(0).random((2, 1000, 1000, 3), np.float32)
    assert np.array_equal(add_detail(image, answer, framed)[~framed], answer[~framed])
    small = np.ones((3, 3), bool)
    small[1, 1] = False
    assert np.array_equal(add_detail(image[:3, :3], answer[:3, :3], small)[1, 1], answer[1, 1])


def test_a_drawn_line_is_not_broken():
    image = draw_meadow()
    mask = cut_hole(image)
    answer, edges = inpaint(Fog(), image, mask, detail=0), np.full(mask.shape, 0.5, np.float32)
    answer[94:97, 50:140], edges[95, 50:140] = 0, 1
    lines = (edges[..., 0] == 1) & (mask[..., 0] == 0)
    filled = add_detail(image, answer, mask[..., 0] == 1, lines=lines)
    assert np.abs(filled[95, 55:135]).max() < 0.1
    assert see_detail(filled[105:125, 55:135]) > 2 * see_detail(answer[105:125, 55:135])


def test_a_pattern_goes_on_through_a_stroke():
    rows, columns = np.mgrid[:128, :128]
    stripes = 0.5 + 0.3 * np.sin((rows + 2 * columns) / 3)
    image = np.repeat(stripes[..., np.newaxis], 3, axis=-1).astype(np.float32)
    mask = cut_hole(image, (slice(60, 70), slice(20, 110)))
    off = [np.abs(inpaint(Fog(), image, mask, detail=detail) - image)[62:68, 25:105].mean() for detail in (0, 1)]
    assert off[1] < 0.03 < 0.1 < off[0]


def test_patches_come_from_the_source_alone():
    rng = np.random.default_rng(0)
    image = rng.random((96, 96, 3), np.float32) * np.float32([0.2, 1, 0.2])
    image[:, 60:, 0] += 0.8 * rng.random((96, 36), np.float32)  # red, and kept, but no source
    keep, source = np.ones((96, 96), bool), np.ones((96, 96), bool)
    keep[30:60, 30:58], source[:, 60:] = False, False
    answer = np.broadcast_to(np.float32([0.5, 0.5, 0.1]), image.shape)
    reds = [add_detail(image, answer, keep, part)[30:60, 30:58, 0].std() for part in (source, None)]
    assert reds[0] < 0.1 < reds[1], "the coarse red is the answer's, a fine one could only be copied"


def test_a_thick_hole_starts_from_blocks_and_from_none_over_and_over():
    rng = np.random.default_rng(0)
    picture = rng.random((90, 90, 3), np.float32)
    hole = np.zeros((90, 90), np.float32)
    hole[30:70, 30:70] = 1
    planes = [np.ones((90, 90), np.float32)] * 3
    picture[hole == 1] = 0.5
    together, most = [], []
    for in_blocks in (True, False):
        canvas = Canvas(picture.copy(), hole, 1 - hole, *planes, rng=rng)
        canvas.start(in_blocks)
        away = np.full((*canvas.shape, 2), 999)
        away[canvas.rows, canvas.columns] = np.stack([canvas.y - canvas.rows, canvas.x - canvas.columns], axis=-1)
        beside = away[canvas.rows, np.minimum(canvas.columns + canvas.step, canvas.shape[1] - 1)]
        together.append((beside == away[canvas.rows, canvas.columns]).all(axis=-1).mean())
        most.append(np.unique(np.stack([canvas.y, canvas.x]), axis=1, return_counts=True)[1].max())
    print(f"patches that lie together: {together[0]:.0%} and {together[1]:.0%}, the same patch: {most} times at most")
    assert together[0] > 0.5 and most[0] <= 6 < most[1]


def test_each_size_goes_on_from_the_patches_of_the_one_before(monkeypatch):
    called = []

    def watch(name):
        original = getattr(Canvas, name)

        def watched(self, *args, **kwargs):
            called.append((name, self.hole.shape))
            return original(self, *args, **kwargs)

        monkeypatch.setattr(Canvas, name, watched)

    watch("start")
    watch("take_over")
    keep = np.ones((192, 192), bool)
    keep[40:160, 40:160] = False
    add_detail(draw_meadow(), np.full((192, 192, 3), 0.4, np.float32), keep)
    assert called == [("start", (48, 48)), ("take_over", (96, 96)), ("take_over", (192, 192))]


def test_the_answers_colour_counts_the_more_the_deeper_in_the_hole():
    rng = np.random.default_rng(0)
    picture = np.repeat(0.2 * rng.random((90, 90, 1), np.float32), 3, axis=-1)
    picture[:, 45:] += 0.6  # dark here and bright there
    hole = np.zeros((90, 90), np.float32)
    hole[30:60, 10:35] = 1
    picture[hole == 1] = 0.7  # the answer is bright
    planes = [np.zeros((90, 90), np.float32)] * 2
    bright = []
    for near in (1, 0):
        canvas = Canvas(picture.copy(), hole, 1 - hole, *planes, np.full((90, 90), near, np.float32), rng=rng)
        canvas.picture[hole == 1] = 0.1  # and what was painted since is dark, as all around
        canvas.start(in_blocks=False)
        canvas.paint(search=True)
        bright.append((canvas.x >= 45).mean())
    print(f"bright patches near the border and deep inside: {bright[0]:.0%} and {bright[1]:.0%}")
    assert bright[0] < 0.1 and bright[1] > 0.3


def test_fog_is_not_copied_where_the_surroundings_are_lively():
    image = draw_meadow()
    image[150:] = np.float32([0.3, 0.5, 0.1])  # as the fog that the generator draws
    mask = cut_hole(image, (slice(85, 125), slice(60, 130)))
    filled = inpaint(Fog(), image, mask)[90:120, 65:125]
    assert see_detail(filled) > 0.6 * see_detail(image[90:120, 65:125])


def test_the_coarse_colours_are_the_answers():
    image = draw_meadow()
    keep = cut_hole(image, (slice(80, 180), slice(40, 150)))[..., 0] == 1
    answer = np.broadcast_to(np.float32([0.45, 0.5, 0.25]), image.shape)  # redder and bluer than any grass
    filled = add_detail(image, answer, keep)[100:160, 60:130]
    assert np.abs(filled.mean(axis=(0, 1)) - answer[0, 0]).max() < 0.02


def test_a_sky_that_changes_slowly_gets_no_steps():
    slope = np.linspace(0.4, 0.7, 192, dtype=np.float32)
    image = np.repeat((0.5 * slope[:, np.newaxis] + 0.5 * slope)[..., np.newaxis], 3, axis=-1)
    keep = cut_hole(image, (slice(40, 150), slice(40, 150)))[..., 0] == 1
    bumps = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 0.1, image.shape).astype(np.float32), (0, 0), 2)
    filled = add_detail(image, np.clip(image + bumps, 0, 1), keep)[50:140, 50:140]
    steps = max(float(np.abs(np.diff(filled, axis=axis)).max()) for axis in (0, 1))
    print(f"largest step {steps:.4f}")
    assert steps < 0.012
