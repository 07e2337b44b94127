"""Edges: where the contrast is, blind to the hole, guided only inside it."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inpaint_utils.data.edges import combine_edges, detect_edges
from inpaint_utils.data.masks import MASK_KINDS, create_mask


def soft_noise(height, width, seed=0):
    """A picture with edges everywhere."""
    noise = np.random.default_rng(seed).random((height, width, 3), np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), 3)
    return (noise - noise.min()) / (noise.max() - noise.min())


def two_halves(height=64, width=64):
    """Dark on the left, bright on the right: one edge, at width / 2."""
    image = np.full((height, width, 3), 0.3, np.float32)
    image[:, width // 2 :] = 0.7
    return image


def test_an_edge_is_found_where_the_picture_changes_and_nowhere_else():
    edges = detect_edges(two_halves())
    assert edges.shape == (64, 64, 1) and edges.dtype == np.float32
    assert np.array_equal(np.unique(edges), [0, 1])
    columns = np.flatnonzero(edges[..., 0].any(axis=0))
    assert columns.min() >= 30 and columns.max() <= 33
    assert edges[:, 30:34].any(axis=1).all()


def test_weak_local_contrast_counts_too():
    faint = 0.3 + 0.6 * soft_noise(128, 128)
    luminance = cv2.cvtColor((faint * 255).astype(np.uint8), cv2.COLOR_RGB2GRAY)
    smooth = cv2.GaussianBlur(luminance, (5, 5), 1.4)
    assert not cv2.Canny(smooth, 80, 160, L2gradient=True).any()  # nothing without CLAHE
    assert detect_edges(faint).mean() > 0.01


@settings(max_examples=40, deadline=None)
@given(
    st.integers(24, 150),
    st.integers(24, 150),
    st.floats(0.02, 0.98),
    st.integers(0, 2**32),
    st.sampled_from(MASK_KINDS),
)
def test_the_blind_map_does_not_change_by_one_bit_with_the_hidden_pixels(height, width, coverage, seed, kind):
    image = soft_noise(height, width, seed)
    mask = create_mask(image.shape, coverage, seed, kind=kind)
    blind = detect_edges(image, mask)
    for hidden in (np.float32(0), np.float32(1), np.float32(np.nan), 1 - image):
        assert np.array_equal(blind, detect_edges(np.where(mask == 1, image, hidden), mask))
        assert np.array_equal(blind, combine_edges(np.where(mask == 1, image, hidden), mask))


def test_the_hole_is_unknown_and_kept_pixels_are_known():
    image, mask = soft_noise(80, 90), create_mask((80, 90), 0.3)
    edges = detect_edges(image, mask)
    assert (edges[mask == 0] == 0.5).all()
    assert np.isin(edges[mask == 1], [0, 1]).all() and (edges[mask == 1] == 1).any()


@pytest.mark.parametrize("kind", MASK_KINDS)
@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_the_hole_itself_makes_no_edges(kind, level):
    ramp = np.linspace(level - 0.1, level + 0.1, 128, dtype=np.float32)
    image = np.repeat(np.tile(ramp, (128, 1))[..., np.newaxis], 3, axis=2)
    assert not detect_edges(image).any()
    for seed in range(10):
        mask = create_mask(image.shape, 0.3, seed, kind=kind)
        assert not detect_edges(image, mask)[mask == 1].any()


def test_no_edge_is_left_within_three_pixels_of_the_hole():
    image = soft_noise(96, 96)
    mask = np.ones((96, 96, 1), np.float32)
    mask[40:60, 30:70] = 0
    edges = detect_edges(image, mask)
    edges[40:60, 30:70] = 0
    assert not edges[37:63, 27:73].any()
    assert edges[36:64, 26:74].any()  # the rim is no wider than it has to be


def test_far_from_the_hole_blind_and_full_maps_nearly_agree():
    image = soft_noise(256, 256)
    mask = np.ones((256, 256, 1), np.float32)
    mask[100:130, 100:130] = 0
    far = np.ones((256, 256), bool)
    far[60:170, 60:170] = False  # CLAHE's tiles are 32 pixels wide and reach to the next one's centre
    assert np.array_equal(detect_edges(image)[far], detect_edges(image, mask)[far])


def test_a_mask_that_keeps_all_knows_all_and_one_that_removes_all_nothing():
    image = soft_noise(64, 64)
    assert np.array_equal(detect_edges(image, np.ones((64, 64))), detect_edges(image))
    assert (detect_edges(image, np.zeros((64, 64))) == 0.5).all()


def test_guidance_enters_the_hole_only():
    image, mask = soft_noise(80, 90), create_mask((80, 90), 0.3)
    guided = combine_edges(image, mask, detect_edges(1 - image[::-1]))
    assert np.array_equal(guided[mask == 1], detect_edges(image, mask)[mask == 1])
    assert np.array_equal(guided[mask == 0], detect_edges(1 - image[::-1])[mask == 0])
    sketch = np.full((80, 90), 0.5)
    assert np.array_equal(combine_edges(image, mask, sketch), detect_edges(image, mask))


@pytest.mark.parametrize("shape", [(16, 16), (30, 40), (40, 30), (17, 300)])
def test_small_pictures_work(shape):
    image, mask = soft_noise(*shape), create_mask(shape, 0.3)
    assert detect_edges(image, mask).shape == detect_edges(image).shape == (*shape, 1)


def test_many_threads_find_the_same_edges_as_one():
    jobs = [(soft_noise(120, 100, seed), create_mask((120, 100), 0.3, seed)) for seed in range(24)]
    with ThreadPoolExecutor(8) as pool:
        threaded = list(pool.map(lambda job: detect_edges(*job), jobs))
    assert all(np.array_equal(found, detect_edges(*job)) for found, job in zip(threaded, jobs, strict=True))


@pytest.mark.parametrize(
    ("image", "named"),
    [
        ((soft_noise(32, 32) * 255).astype(np.uint8), "uint8.*load_image"),
        (soft_noise(32, 32)[..., 0], r"\(32, 32\)"),
        (soft_noise(32, 32) * 255, "255.0.*load_image"),
        (np.full((32, 32, 3), np.nan), "nan"),
        (np.zeros((0, 32, 3), np.float32), r"\(0, 32, 3\)"),
    ],
    ids=["uint8", "gray", "0..255", "NaN", "empty"],
)
def test_images_of_another_form_are_refused(image, named):
    with pytest.raises(ValueError, match=named):
        detect_edges(image)


def test_guiding_edges_of_another_form_are_refused():
    image, mask = soft_noise(32, 32), create_mask((32, 32), 0.3)
    with pytest.raises(ValueError, match=r"\(16, 32, 1\).*\(32, 32, 1\)"):
        combine_edges(image, mask, np.zeros((16, 32)))
    for value in (0.3, np.nan, 255):
        with pytest.raises(ValueError, match=f"{value}.*threshold"):
            combine_edges(image, mask, np.full((32, 32), value))
    with pytest.raises(ValueError, match="threshold"):
        combine_edges(image, mask * 0.5)
