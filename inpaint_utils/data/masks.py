"""Masks say which pixels to keep (1) and which to remove (0): draw them from a seed, check them, load them.

The holes are irregular brush strokes (as in partial convolutions, Liu et al. 2018, arXiv 1804.07723, and the
free-form masks of gated convolutions, Yu et al. 2019, arXiv 1806.03589) and large boxes and ellipses.
Everything is drawn with integers, so a seed gives the same mask on every machine.
"""

import math
import numbers
import warnings
from pathlib import Path

import cv2
import numpy as np

from .images import check_size
from .pictures import read_picture

# Share of removed pixels, 0..1, of each difficulty; a mask lies strictly inside its band.
DIFFICULTIES = {"easy": (0.10, 0.20), "medium": (0.25, 0.35), "hard": (0.40, 0.50)}
MASK_KINDS = ("brush", "box", "mixed")
SMALLEST_SIDE = 16
ANY_COVERAGE = (0.10, 0.50)
MAX_STROKES = 400  # a stop for extreme shapes: whatever is still missing is grown from the strokes
NOISE = 16  # levels of 255 by which a saved mask may miss black, white or its one colour
COLOURFUL = 64  # levels between a pixel's channels from which it has a colour
LARGE_HOLE = 0.5  # share of a picture from which its mask may have been meant the other way round


def create_mask(shape, coverage=None, seed=0, difficulty=None, kind="mixed"):
    """Draw a random mask whose removed share is the one asked for, exact to the pixel.

    shape: (H, W) or the shape of an image, sides from 16 pixels up.
    coverage: share of removed pixels, between 0 and 1; None draws it evenly from the difficulty's band
        (see DIFFICULTIES), or from 0.10 to 0.50 without one.
    seed: a non-negative int, or a sequence of them such as [seed, epoch, index].
    difficulty: "easy", "medium", "hard" or None.
    kind: "brush" (irregular strokes), "box" (one to three boxes and ellipses) or "mixed" (either or both).

    Returns float32 (H, W, 1): 1 = keep, 0 = remove. Raises ValueError for an argument outside of these.
    """
    height, width = _check_size(shape)
    if kind not in MASK_KINDS:
        raise ValueError(f"kind={kind!r} is not a kind of mask: choose one of {', '.join(MASK_KINDS)}.")
    rng = _make_rng(seed)
    area = _choose_area(height * width, coverage, difficulty, rng)
    # The choice is drawn for every kind, so that the three kinds differ in nothing but their shapes.
    choice = int(rng.integers(3))
    draw_boxes, draw_brush = {"brush": (False, True), "box": (True, False)}.get(
        kind, ((True, False), (False, True), (True, True))[choice]
    )
    hole = np.zeros((height, width), np.uint8)
    if draw_boxes:
        hole = _draw_boxes((height, width), area // 2 if draw_brush else area, rng)
    if draw_brush:
        hole = _draw_strokes(hole, area, rng)
    hole = _set_area(hole, area)
    return (~hole).astype(np.float32)[..., np.newaxis]


def check_mask(mask, image_shape):
    """Turn a mask of any usual form into the project's own, and refuse what is not a mask of this image.

    mask: bool, 0/1 or 0/255 of any number type; (H, W), (H, W, 1), or (H, W, 3) with three equal channels.
    image_shape: the image's shape, (H, W) or (H, W, channels).

    Returns float32 (H, W, 1): 1 = keep, 0 = remove. A mask that keeps or removes everything passes: its form
    is right. Raises ValueError for gray values, NaN, unequal channels and a size other than the image's.
    """
    mask = np.asarray(mask)
    if len(image_shape) not in (2, 3) or min(image_shape) < 1:
        raise ValueError(
            f"The image has shape {tuple(image_shape)}, expected (height, width, 3): read it with load_image."
        )
    height, width = image_shape[:2]
    if mask.ndim == 3 and mask.shape[2] == 3:
        if not (np.array_equal(mask[..., 0], mask[..., 1]) and np.array_equal(mask[..., 0], mask[..., 2])):
            raise ValueError("The mask's three channels differ, but a mask has no colours: pass one channel.")
        mask = mask[..., :1]
    if mask.ndim == 2:
        mask = mask[..., np.newaxis]
    if mask.ndim != 3 or mask.shape[2] != 1:
        raise ValueError(
            f"The mask has shape {mask.shape}, expected ({height}, {width}, 1): pass one channel, or read its file by "
            "load_mask."
        )
    if mask.shape != (height, width, 1):
        advice = "resize the mask to the image with nearest-neighbour interpolation."
        if mask.shape[:2] == (width, height):
            advice = "the sides are swapped, so turn the mask by 90 degrees."
        raise ValueError(f"The mask has shape {mask.shape}, but its image needs ({height}, {width}, 1): {advice}")
    if mask.dtype == bool:
        return mask.astype(np.float32)
    if mask.dtype.kind not in "uif":
        raise ValueError(f"The mask's type is {mask.dtype}, but it must be bool or a number type: convert it.")
    highest = mask.max()
    white = 255 if highest == 255 else 1
    # A comparison with NaN is false, so NaN counts as "neither" too.
    strange = mask[~((mask == 0) | (mask == white))]
    if strange.size:
        raise ValueError(
            f"The mask holds the value {strange[0].item()}, but only 0 (remove) and 1 or 255 (keep) are "
            "allowed: threshold it first."
        )
    return (mask == white).astype(np.float32)


def grow_holes(mask, pixels):
    """Enlarge the holes of a mask, (H, W, 1), 1 keep, 0 remove, by so many pixels in every direction."""
    if not isinstance(pixels, numbers.Real) or not 0 <= pixels < math.inf or pixels != int(pixels):
        raise ValueError(f"grow is {pixels!r}, expected a whole number of pixels from 0 up.")
    if not pixels or not mask.any():
        return mask
    distance = cv2.distanceTransform((mask != 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    keep = distance > min(int(pixels), sum(mask.shape))  # a number that float32 holds
    if not keep.any():
        raise ValueError(f"grow is {pixels}, and the holes then cover every pixel: choose fewer pixels.")
    return keep.astype(np.float32)[..., np.newaxis]


def load_mask(path, size=None, invert=False):
    """Read a mask from a picture file: white = keep, black = remove, gray split at 128.

    A file of the labels 0 and 1 means 0 = remove, 1 = keep. Where transparency varies and the paint has one colour
    (a brush on an empty layer), what is painted is removed; otherwise the picture is laid over white.

    Args:
        path: file name.
        size: None keeps the picture's size; a number of pixels cuts the largest centred square, as `load_image`
            does, and resizes it to (size, size); a pixel is kept where the picture's pixels under it all are.
        invert: True to read the opposite: white, the label 1, or what is not painted = remove.

    Returns: float32 (H, W, 1): 1 = keep, 0 = remove. Warns of the pixels that were neither black nor white, and of a
        mask that removes nothing, or more than half of the picture.
    Raises: FileNotFoundError without a file there, ValueError when it is no picture, has colours, or is mostly gray.
    """
    mask, notes = read_mask(path, size, invert)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return mask


def read_mask(path, size=None, invert=False):
    """What `load_mask` returns, and a list of sentences about how the file was understood, in place of warnings."""
    if size is not None:
        check_size(size)
    path = Path(path)
    try:
        picture = read_picture(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no mask file {path}: check the path.") from None
    except ValueError as error:
        raise ValueError(f"The mask file {path} {error}") from None
    try:
        levels, is_layer = _find_levels(picture)
        notes = picture.notes + _count_grays(levels, invert)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    mask = ((levels >= 128) != invert).astype(np.float32)
    convention = f"white {'removes and black keeps' if invert else 'keeps and black removes'}"
    if is_layer:
        convention = f"what is painted on it is {'kept' if invert else 'removed'}"
        notes.append(f"the transparent layer was read as a mask; {convention}.")
    if size is not None:
        side = min(mask.shape)
        top, left = (mask.shape[0] - side) // 2, (mask.shape[1] - side) // 2
        method = cv2.INTER_AREA if side > size else cv2.INTER_NEAREST
        mask = cv2.resize(mask[top : top + side, left : left + side], (size, size), interpolation=method)
        mask = (mask > 1 - 1e-4).astype(np.float32)
    notes, removed = [f"{path}: {note}" for note in notes], 1 - mask.mean(dtype=np.float64)
    if removed == 0 or removed > LARGE_HOLE:
        much = {0: "nothing", 1: "every pixel"}.get(removed, f"{removed:.0%} of the photo")
        advice = "leave the inverting out" if invert else "invert it (--invert, or invert=True)"
        notes.append(f"{path} removes {much}: {convention}, so {advice} if the mask means the opposite.")
    return mask[..., np.newaxis], notes


def _find_levels(picture):
    """uint8 (H, W) from 0 = remove to 255 = keep, and whether it is paint on a transparent layer."""
    pixels = picture.pixels
    if pixels.dtype == np.uint16:  # some programs write 0 and 255, or 0 and 1, with 16 bits
        pixels = pixels if pixels.max() <= 255 else np.rint(pixels / 257)
    pixels = pixels.astype(np.uint8)
    has_alpha = picture.alpha is not None
    colours, alpha = (pixels[..., :-1], pixels[..., -1]) if has_alpha else (pixels, None)
    if has_alpha and alpha.max() <= NOISE:  # an empty layer
        return np.full(alpha.shape, 255, np.uint8), True
    if has_alpha and np.ptp(alpha) > NOISE:
        opacity = alpha / np.float32(alpha.max())  # of the brush itself, whose strongest paint may be transparent, too
        if np.ptp(colours[opacity > 0.5], axis=0).max() <= 2 * NOISE:
            return np.rint(255 - opacity * 255).astype(np.uint8), True
        share = alpha[..., np.newaxis] / np.float32(255)
        colours = np.rint(255 - share * (255 - colours)).astype(np.uint8)
    if colours.max() == 1:
        return colours.max(axis=-1) * np.uint8(255), False
    colourful = np.ptp(colours, axis=-1) > COLOURFUL
    if colourful.mean() > 0.01:
        raise ValueError(
            f"the mask has colours, such as RGB {tuple(colours[colourful][0].tolist())}, expected white (keep) and "
            "black (remove): paint it in black on white."
        )
    return np.rint(colours.mean(axis=-1)).astype(np.uint8), False


def _count_grays(levels, invert):
    """A sentence about the pixels that are neither black nor white, in a list; ValueError if that is half of them."""
    gray = (levels > NOISE) & (levels < 255 - NOISE)
    count = int(np.count_nonzero(gray))
    if count > levels.size / 2:
        raise ValueError(
            f"{count / levels.size:.0%} of the mask's pixels are gray, such as {levels[gray][0]}, expected white "
            "(keep) and black (remove): threshold it first."
        )
    if not count:
        return []
    fate = "removed" if invert else "kept"
    return [f"{count:,} of {levels.size:,} pixels of the mask are gray; those of 128 and more were {fate}."]


def _check_size(shape):
    if np.ndim(shape) != 1 or len(shape) not in (2, 3) or min(shape[:2]) < SMALLEST_SIDE:
        raise ValueError(
            f"shape={shape!r} is no size for a mask: pass (H, W) or an image's shape, "
            f"with both sides at least {SMALLEST_SIDE} pixels."
        )
    return int(shape[0]), int(shape[1])


def _make_rng(seed):
    try:
        if seed is None:
            raise TypeError
        return np.random.default_rng(seed)
    except (TypeError, ValueError):
        raise ValueError(
            f"seed={seed!r} is not a seed: pass a whole number from 0 up, or a sequence of them."
        ) from None


def _choose_area(pixels, coverage, difficulty, rng):
    """The number of pixels to remove."""
    if difficulty is not None and difficulty not in DIFFICULTIES:
        raise ValueError(f"difficulty={difficulty!r} is unknown: choose one of {', '.join(DIFFICULTIES)}.")
    if coverage is not None and difficulty is not None:
        raise ValueError(
            f"coverage={coverage} and difficulty={difficulty!r} were both given, but one follows from the "
            "other: pass one of them."
        )
    if coverage is None:
        low, high = DIFFICULTIES[difficulty] if difficulty else ANY_COVERAGE
        margin = 1 + pixels // 10_000  # so that no later rounding reaches the band's ends
        return int(rng.integers(math.ceil(low * pixels) + margin, math.floor(high * pixels) - margin + 1))
    if not 0 < coverage < 1:
        raise ValueError(f"coverage={coverage} is not between 0 and 1: pass the share of pixels to remove.")
    return min(max(round(coverage * pixels), 1), pixels - 1)


def _draw_strokes(hole, area, rng):
    """Add random walks of a round brush to the hole (uint8, 255 = removed) until `area` pixels are gone."""
    height, width = hole.shape
    side = min(height, width)
    thin, thick = max(2, side // 24), max(3, side // 8)
    short, long = max(2, side // 16), max(3, side // 3)
    outside = side // 8  # walks leave the picture a little, or its sides would be hit too rarely
    # Nothing is drawn across the canvas's sides: where they cut a line, OpenCV's versions differ.
    margin = outside + thick
    canvas = np.pad(hole, margin)
    picture = canvas[margin:-margin, margin:-margin]
    low, right, bottom = thick, width + margin + outside, height + margin + outside
    for _ in range(MAX_STROKES):
        vertices = int(rng.integers(4, 13))
        x, y = int(rng.integers(low, right)), int(rng.integers(low, bottom))
        brush = int(rng.integers(thin, thick + 1))
        angle = int(rng.integers(360))
        turns = rng.integers(-75, 76, vertices).tolist()
        lengths = rng.integers(short, long + 1, vertices).tolist()
        swells = rng.integers(-brush // 4, brush // 4 + 1, vertices).tolist()
        for turn, length, swell in zip(turns, lengths, swells, strict=True):
            angle += turn
            step_x = round(length * math.cos(math.radians(angle)))
            step_y = round(length * math.sin(math.radians(angle)))
            if not low <= x + step_x < right:  # turn back before getting lost
                step_x, angle = -step_x, 180 - angle
            if not low <= y + step_y < bottom:
                step_y, angle = -step_y, -angle
            next_x, next_y = x + step_x, y + step_y
            brush = min(max(brush + swell, thin), thick)
            cv2.line(canvas, (x, y), (next_x, next_y), 255, brush)  # OpenCV rounds the ends of thick lines
            if cv2.countNonZero(picture) >= area:
                return picture
            x, y = next_x, next_y
    return picture


def _draw_boxes(shape, area, rng):
    """One to three boxes or ellipses, upright or turned, of about `area` pixels together; 255 = removed."""
    height, width = shape
    boxes = []
    for _ in range(int(rng.integers(1, 4))):
        is_ellipse, is_turned = (bool(draw) for draw in rng.integers(2, size=2))
        centre = tuple(int(rng.integers(end // 5, end - end // 5)) for end in (width, height))
        angle = int(rng.integers(1, 90)) if is_turned else 0
        stretch = math.sqrt(3.0 ** (int(rng.integers(-100, 101)) / 100))  # sides from 1:3 to 3:1
        weight = math.sqrt(int(rng.integers(50, 151)) / 100)
        boxes.append((is_ellipse, centre, angle, weight * stretch, weight / stretch))
    # The boxes overlap and leave the picture, so a few rounds are needed to find their common scale.
    scale = math.sqrt(area / len(boxes))
    for _ in range(6):
        hole = _fill_boxes(shape, boxes, scale)
        drawn = cv2.countNonZero(hole)
        if abs(drawn - area) <= area // 50:
            break
        scale *= math.sqrt(area / drawn)
    return hole


def _fill_boxes(shape, boxes, scale):
    hole = np.zeros(shape, np.uint8)
    for is_ellipse, centre, angle, wide, high in boxes:
        half = (max(1, round(scale * wide / 2)), max(1, round(scale * high / 2)))
        if is_ellipse:
            cv2.ellipse(hole, centre, half, angle, 0, 360, 255, cv2.FILLED)
            continue
        cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        corners = [(-half[0], -half[1]), (half[0], -half[1]), (half[0], half[1]), (-half[0], half[1])]
        turned = [(round(x * cosine - y * sine), round(x * sine + y * cosine)) for x, y in corners]
        cv2.fillConvexPoly(hole, np.array(turned, np.int32) + np.array(centre, np.int32), 255)
    return hole


def _set_area(hole, area):
    """Grow or shrink the hole (uint8) evenly along its border to exactly `area` pixels; returns bool (H, W).

    The pixels that change sides are those nearest to the border. Squared distances are whole numbers, equal
    on every machine; among equal ones the first in reading order go.
    """
    missing = area - cv2.countNonZero(hole)
    if missing == 0:
        return hole > 0
    if missing > 0:
        growing, final = hole, area
    else:
        growing, final = 255 - hole, hole.size - area
        if not growing.any():
            growing[0, 0] = 255  # everything was removed: something must be there to grow from
    distance = cv2.distanceTransform(255 - growing, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    squares = np.rint(np.square(distance, dtype=np.float64)).astype(np.int64).ravel()
    nearer = np.cumsum(np.bincount(squares))  # pixels at most that far away
    last_square = np.searchsorted(nearer, final)
    grown = squares < last_square
    equal = np.flatnonzero(squares == last_square)
    grown[equal[: final - np.count_nonzero(grown)]] = True
    grown = grown.reshape(hole.shape)
    return grown if missing > 0 else ~grown
