"""Masks: the coverage asked for, the same mask from the same seed, and only real masks accepted."""

import hashlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from inpaint_utils.data.masks import DIFFICULTIES, MASK_KINDS, check_mask, create_mask, load_mask, read_mask

SIDES = st.integers(16, 300)


def removed_pixels(mask):
    return int(np.count_nonzero(mask == 0))


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, st.floats(0.001, 0.999), st.integers(0, 2**32), st.sampled_from(MASK_KINDS))
def test_coverage_is_exact_to_the_pixel_at_any_size(height, width, coverage, seed, kind):
    mask = create_mask((height, width), coverage, seed, kind=kind)
    assert mask.shape == (height, width, 1) and mask.dtype == np.float32
    assert set(np.unique(mask)) == {0.0, 1.0}
    assert removed_pixels(mask) == min(max(round(coverage * (height * width)), 1), height * width - 1)


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, st.integers(0, 2**32), st.sampled_from(sorted(DIFFICULTIES)), st.sampled_from(MASK_KINDS))
def test_a_difficulty_keeps_every_mask_strictly_inside_its_band(height, width, seed, difficulty, kind):
    low, high = DIFFICULTIES[difficulty]
    share = removed_pixels(create_mask((height, width, 3), seed=seed, difficulty=difficulty, kind=kind))
    assert low < share / (height * width) < high


@pytest.mark.parametrize("shape", [(16, 16), (16, 400), (400, 16), (40, 30), (1024, 1365)])
@pytest.mark.parametrize("kind", MASK_KINDS)
def test_odd_sizes_work(shape, kind):
    assert removed_pixels(create_mask(shape, 0.3, kind=kind)) == round(0.3 * shape[0] * shape[1])


def test_without_coverage_and_difficulty_the_whole_range_is_drawn_evenly():
    shares = [1 - create_mask((32, 32), seed=[4, i]).mean() for i in range(300)]
    assert 0.10 < min(shares) < 0.12 and 0.48 < max(shares) < 0.50
    counts, _ = np.histogram(shares, bins=4, range=(0.1, 0.5))
    assert counts.min() > 45  # of 75 expected in each quarter


def test_the_same_seed_gives_the_same_mask_and_another_seed_another():
    mask = create_mask((64, 64), 0.3, seed=[3, 1, 2])
    assert np.array_equal(mask, create_mask((64, 64), 0.3, seed=(3, 1, 2)))
    assert np.array_equal(mask, create_mask((64, 64), 0.3, seed=np.array([3, 1, 2])))
    assert not np.array_equal(mask, create_mask((64, 64), 0.3, seed=[3, 1, 3]))


def test_seeded_masks_are_the_ones_that_published_numbers_were_measured_on():
    digest = hashlib.sha256()
    for kind in MASK_KINDS:
        for seed in range(20):
            for shape in ((256, 256), (60, 91)):
                digest.update(create_mask(shape, seed=[seed, 7], kind=kind).astype(np.uint8).tobytes())
    assert digest.hexdigest() == "65a5a6c4923a324268795907f69905d69a7da1568f1350103d2c8e6490829b4d"


def test_brush_holes_are_thinner_than_boxes_and_mixed_masks_hold_both():
    def depth(kind, seed):  # of the hole's innermost pixel, in pixels
        hole = create_mask((128, 128), 0.3, seed, kind=kind)[..., 0] == 0
        return cv2.distanceTransform(hole.view(np.uint8), cv2.DIST_L2, 5).max()

    brush, box, mixed = ([depth(kind, seed) for seed in range(30)] for kind in ("brush", "box", "mixed"))
    assert np.median(brush) < 0.7 * np.median(box)
    assert min(mixed) < np.median(brush) < np.median(box) < max(mixed)


def test_brush_strokes_neither_avoid_the_sides_nor_pile_up_along_them():
    holes = np.mean([create_mask((96, 96), 0.3, seed, kind="brush")[..., 0] == 0 for seed in range(200)], axis=0)
    sides = np.mean([holes[0], holes[-1], holes[:, 0], holes[:, -1]])
    assert 0.2 < sides < 0.4


@pytest.mark.parametrize("kind", MASK_KINDS)
def test_holes_are_a_few_solid_shapes_and_not_dust(kind):
    for seed in range(20):
        hole = (create_mask((128, 128), 0.25, seed, kind=kind)[..., 0] == 0).astype(np.uint8)
        assert cv2.connectedComponents(hole)[0] - 1 <= 12
        opened = cv2.morphologyEx(hole, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        assert opened.sum() > 0.95 * hole.sum()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"coverage": 0}, "coverage=0 "),
        ({"coverage": 1.0}, "coverage=1.0 "),
        ({"coverage": float("nan")}, "coverage=nan"),
        ({"coverage": 30}, "coverage=30"),
        ({"coverage": 0.3, "difficulty": "easy"}, "pass one of them"),
        ({"difficulty": "extreme"}, "'extreme'.*easy, medium, hard"),
        ({"kind": "blob"}, "'blob'.*brush, box, mixed"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": None}, "seed=None"),
        ({"seed": 1.5}, "seed=1.5"),
        ({"shape": (15, 64)}, r"\(15, 64\).*at least 16"),
        ({"shape": (64,)}, r"\(64,\)"),
    ],
)
def test_bad_arguments_are_named(arguments, named):
    with pytest.raises(ValueError, match=named):
        create_mask(**{"shape": (64, 64), **arguments})


EXPECTED = create_mask((20, 30), 0.4)
KEEP = EXPECTED == 1


@pytest.mark.parametrize(
    "mask",
    [
        KEEP,
        KEEP[..., 0],
        KEEP.astype(np.uint8),
        KEEP.astype(np.uint8) * 255,
        KEEP[..., 0].astype(np.float64),
        KEEP.astype(np.int64),
        np.repeat(KEEP.astype(np.uint8) * 255, 3, axis=2),
        KEEP.astype(int).tolist(),
    ],
    ids=["bool", "bool HW", "uint8 0/1", "uint8 0/255", "float64 HW", "int64", "three channels", "list"],
)
def test_every_usual_form_of_a_mask_is_understood(mask):
    checked = check_mask(mask, (20, 30, 3))
    assert checked.dtype == np.float32 and np.array_equal(checked, EXPECTED)


@pytest.mark.parametrize("value", [0, 1])
def test_a_mask_of_one_value_has_the_right_form(value):
    assert np.array_equal(check_mask(np.full((20, 30), value), (20, 30)), np.full((20, 30, 1), value))


def with_pixel(value, dtype=np.float32):
    mask = KEEP.astype(dtype)
    mask[3, 4] = value
    return mask


@pytest.mark.parametrize(
    ("mask", "named"),
    [
        (with_pixel(0.5), "0.5.*threshold"),
        (with_pixel(np.nan), "nan.*threshold"),
        (with_pixel(-1), "-1.0.*threshold"),
        (with_pixel(254, np.uint8), "254.*threshold"),
        (with_pixel(255, np.uint8), "value 1,.*threshold"),
        (KEEP[:-1], r"\(19, 30, 1\).*\(20, 30, 1\)"),
        (np.concatenate([KEEP, KEEP, ~KEEP], axis=2), "channels differ"),
        (KEEP.astype(str), "type"),
    ],
    ids=["gray", "NaN", "negative", "almost white", "1 and 255", "wrong size", "colours", "text"],
)
def test_what_is_not_a_mask_is_refused(mask, named):
    if "value 1," in named:
        mask[mask == 0] = 255 if mask.max() < 255 else 0
    with pytest.raises(ValueError, match=named):
        check_mask(mask, (20, 30, 3))


@pytest.mark.parametrize("shape", [(20,), (0, 30, 3), ()])
def test_a_mask_of_no_image_is_refused(shape):
    with pytest.raises(ValueError, match=r"The image has shape \("):
        check_mask(np.zeros(shape), shape)


def write_picture(path, pixels):
    assert cv2.imwrite(str(path), pixels)
    return path


def test_a_saved_mask_is_read_back(tmp_path):
    picture = KEEP[..., 0].astype(np.uint8) * 255
    assert np.array_equal(load_mask(write_picture(tmp_path / "mask.png", picture)), EXPECTED)
    assert np.array_equal(load_mask(write_picture(tmp_path / "colour.bmp", cv2.merge([picture] * 3))), EXPECTED)


def test_jpeg_noise_is_cleaned_away(tmp_path):
    picture = np.full((64, 64), 255, np.uint8)
    picture[16:48, 8:40] = 0
    noise = np.random.default_rng(0).integers(0, 16, picture.shape, dtype=np.uint8)
    noisy = np.where(picture == 255, picture - noise, noise)
    mask = load_mask(write_picture(tmp_path / "mask.png", noisy))
    assert np.array_equal(mask[..., 0] * 255, picture)


def test_a_mask_is_cut_and_resized_like_an_image(tmp_path):
    picture = np.full((64, 128), 255, np.uint8)
    picture[:, :32] = 0  # outside of the centred square
    picture[32:, 32:64] = 0
    mask = load_mask(write_picture(tmp_path / "mask.png", picture), size=16)
    expected = np.ones((16, 16, 1))
    expected[8:, :8] = 0
    assert np.array_equal(mask, expected)


def test_files_that_are_no_masks_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing.png"):
        load_mask(tmp_path / "missing.png")
    for name, content in [("empty.png", b""), ("text.png", b"not a picture")]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=name):
            load_mask(tmp_path / name)
    with pytest.raises(ValueError, match="folder"):
        load_mask(tmp_path)
    with pytest.raises(ValueError, match="gray.png.*100%.*100.*threshold"):
        load_mask(write_picture(tmp_path / "gray.png", np.full((20, 20), 100, np.uint8)))
    for size in (0, -3, 3.5, True):
        with pytest.raises(ValueError, match="size is"):
            load_mask(write_picture(tmp_path / "mask.png", np.full((20, 20), 255, np.uint8)), size=size)


# Masks of every convention: DRAWN is what the painter meant, True = keep.

DRAWN = np.ones((60, 80), bool)
DRAWN[20:40, 30:60] = False
cv2.circle(DRAWN.view(np.uint8), (20, 20), 9, 0, -1)
GRAY = DRAWN.astype(np.uint8) * 255
HARD = cv2.dilate(cv2.Canny(GRAY, 50, 100), np.ones((5, 5))) == 0  # away from the rims


def layer(colour, opacity=255, background=0, noise=0):
    """RGBA: painted in one colour on a transparent layer."""
    pixels = np.zeros((*DRAWN.shape, 4), np.uint8)
    pixels[..., :3] = np.where(DRAWN[..., np.newaxis], background, colour)
    pixels[..., 3] = np.where(DRAWN, noise, opacity)
    return pixels


def palette():
    image = Image.fromarray(np.where(DRAWN, 1, 0).astype(np.uint8), "P")
    image.putpalette([0, 0, 0, 255, 255, 255])
    return image


def on_transparency():
    """Black and white paint where there is any, the rest transparent."""
    pixels = cv2.cvtColor(GRAY, cv2.COLOR_GRAY2RGBA)
    pixels[45:, :, 3] = 0
    pixels[45:, :, :3] = 0
    return pixels


CONVENTIONS = {
    "black on white": GRAY,
    "three channels": np.dstack([GRAY] * 3),
    "opaque alpha": np.dstack([GRAY] * 3 + [np.full_like(GRAY, 255)]),
    "16 bits": GRAY.astype(np.uint16) * 257,
    "16 bits that hold 8": GRAY.astype(np.uint16),
    "labels 0 and 1": DRAWN.astype(np.uint8),
    "labels 0 and 1, 16 bits": DRAWN.astype(np.uint16),
    "one bit": Image.fromarray(GRAY).convert("1"),
    "palette": palette(),
    "canvas noise": np.clip(GRAY.astype(int) + np.random.default_rng(0).integers(-3, 4, GRAY.shape), 0, 255),
    "white on transparent white": layer(255, background=255),
    "white on transparent black": layer(255),
    "black on transparent black": layer(0),
    "black on transparent white": layer(0, background=255),
    "red on transparent": layer((255, 0, 0)),
    "half-transparent pink": layer((229, 0, 125), opacity=110),
    "faint alpha everywhere": layer((229, 0, 125), noise=1),
    "black and white on transparent": on_transparency(),
    "gray and alpha": Image.fromarray(layer(255)).convert("LA"),
}


LAYERS = {name for name in CONVENTIONS if "transparent" in name or "alpha" in name}
LAYERS -= {"opaque alpha", "black and white on transparent"}


@pytest.mark.parametrize("name", CONVENTIONS)
@pytest.mark.parametrize("ending", [".png", ".tif", ".webp"])
def test_a_mask_of_any_convention_is_what_was_drawn(tmp_path, name, ending):
    pixels = CONVENTIONS[name]
    image = pixels if isinstance(pixels, Image.Image) else None
    path = tmp_path / f"mask{ending}"
    if image is None and pixels.dtype == np.uint16:
        if ending == ".webp":
            return
        write_picture(path, pixels)
    else:
        image = image or Image.fromarray(pixels.astype(np.uint8))
        image.save(path, **({"lossless": True, "exact": True} if ending == ".webp" else {}))
    for invert in (False, True):
        mask, notes = read_mask(path, invert=invert)
        assert np.array_equal((mask[..., 0] == 1) != invert, DRAWN)
        assert not any("gray" in note for note in notes)
        is_layer = name in LAYERS
        painted, white = ("kept", "removes") if invert else ("removed", "keeps")
        convention = f"what is painted on it is {painted}" if is_layer else f"white {white} and black"
        assert not is_layer or any(f"read as a mask; {convention}." in note for note in notes)
        large = [note for note in notes if "of the photo: " in note]  # the hole that was drawn is small
        assert len(large) == invert and all(convention in n and "leave the inverting out" in n for n in large)


@pytest.mark.filterwarnings("ignore:.*pixels of the mask are gray")
@pytest.mark.parametrize("quality", [30, 50, 75, 90, 100])
@pytest.mark.parametrize("kind", ["L", "RGB"])
def test_a_mask_saved_as_jpeg_of_any_quality_is_the_one_that_was_drawn(tmp_path, kind, quality):
    Image.fromarray(GRAY).convert(kind).save(tmp_path / "mask.jpg", quality=quality)
    mask = load_mask(tmp_path / "mask.jpg")[..., 0] == 1
    assert np.array_equal(mask[HARD], DRAWN[HARD]) and np.mean(mask != DRAWN) < 0.01


@pytest.mark.filterwarnings("ignore:.*the transparent layer was read")
def test_the_soft_rim_of_a_brush_is_split_at_128_and_counted(tmp_path):
    soft = cv2.GaussianBlur(GRAY, (7, 7), 0)
    grays = int(np.count_nonzero((soft > 16) & (soft < 239)))
    for name, pixels in (
        ("gray.png", soft),
        ("layer.png", np.dstack([np.full((60, 80, 3), 255, np.uint8), 255 - soft])),
    ):
        Image.fromarray(pixels).save(tmp_path / name)
        with pytest.warns(UserWarning, match=rf"{name}: {grays:,} of 4,800 pixels of the mask are gray"):
            mask = load_mask(tmp_path / name)
        assert np.array_equal(mask[..., 0] == 1, soft >= 128)


@pytest.mark.parametrize(
    ("name", "pixels", "words"),
    [
        ("a photo", np.random.default_rng(0).integers(30, 220, (60, 80), dtype=np.uint8), "gray, such as"),
        ("red on white", layer((255, 0, 0), background=255)[..., :3], r"colours, such as RGB \(255, 0, 0\)"),
        ("red on black", layer((255, 0, 0))[..., :3], "colours"),
        (
            "a photo with a transparent hole",
            np.random.default_rng(0).integers(30, 220, (60, 80, 4), dtype=np.uint8),
            "",
        ),
    ],
)
def test_what_is_ambiguous_is_refused_in_the_words_of_the_convention(tmp_path, name, pixels, words):
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    with pytest.raises(ValueError, match=rf"mask\.png: .*{words}.*white.*keep.*black.*remove"):
        load_mask(tmp_path / "mask.png")


@pytest.mark.filterwarnings("ignore:.*the transparent layer was read")
def test_an_empty_layer_removes_nothing(tmp_path):
    Image.fromarray(layer(0, opacity=0)).save(tmp_path / "mask.png")
    with pytest.warns(UserWarning, match="mask.png removes nothing: what is painted on it is removed, so invert it"):
        assert load_mask(tmp_path / "mask.png").all()


def test_a_mask_that_may_be_the_other_way_round_is_questioned(tmp_path):
    Image.fromarray(255 - GRAY).save(tmp_path / "mask.png")
    removed = f"{DRAWN.mean():.0%}"
    with pytest.warns(UserWarning, match=f"mask.png removes {removed} of the photo: white keeps and black removes, so"):
        load_mask(tmp_path / "mask.png")
    Image.fromarray(np.zeros_like(GRAY)).save(tmp_path / "mask.png")
    with pytest.warns(UserWarning, match="mask.png removes every pixel: white keeps"):
        assert not load_mask(tmp_path / "mask.png").any()


@pytest.mark.parametrize("shape", [256, None, "256", (8, 300), (1, 2, 3, 4)])
def test_what_is_no_shape_is_named(shape):
    with pytest.raises(ValueError, match="is no size for a mask: pass"):
        create_mask(shape)


def test_a_thin_stroke_survives_when_its_mask_is_shrunk(tmp_path):
    large = np.full((1024, 1024), 255, np.uint8)
    cv2.line(large, (10, 40), (1000, 900), 0, 3)
    cv2.imwrite(str(tmp_path / "mask.png"), large)
    small = load_mask(tmp_path / "mask.png", size=128)[..., 0]
    touched = (large.reshape(128, 8, 128, 8) == 0).any(axis=(1, 3))
    assert np.array_equal(small == 0, touched)
    assert np.array_equal(load_mask(tmp_path / "mask.png", size=2048)[::2, ::2, 0] == 0, large == 0)


@pytest.mark.parametrize("shape", [(64, 64, 4), (64, 60, 2), (1, 64, 64, 1), (64,)])
def test_a_mask_of_several_channels_is_told_to_be_one(shape):
    with pytest.raises(ValueError, match=r"expected \(64, 64, 1\): pass one channel, or read its file by load_mask"):
        check_mask(np.ones(shape, np.uint8), (64, 64, 3))
