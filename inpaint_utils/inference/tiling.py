"""Plan which parts of a large photo the generator looks at: one window with context for each hole.

A generator trained on small pictures fills a hole best that it sees at about the size it was trained with, so a
window is as large as the hole needs, not as the photo is.
"""

import math
from itertools import pairwise

import cv2
import numpy as np

CELL = 32  # pixels; holes are grouped on a grid this coarse, so that a million specks cost no more than one hole
LARGEST_SHRINK = 2  # a thin hole whose window would have to shrink more than this is filled piece by piece


def plan_windows(keep, size):
    """Plan the windows that together fill every hole.

    Holes nearer to each other than their smallest contexts share a window. A window reaches around its piece of hole
    by the hole's thickness, and by size / 8 at least; it has at least min(size, 256) pixels a side. It may be larger
    than `size`: shrink it then. A long thin hole (a wire, a brush stroke) is cut into pieces instead, which should be
    filled in order, each seeing the ones before it.

    Args:
        keep: bool (H, W), False in the holes; at least one pixel is kept.
        size: int, side in pixels of the largest picture the generator takes.

    Returns: list of (piece, window), each a pair of slices (rows, columns) of the photo. The pieces cover every hole,
    and every window holds its piece and some kept pixels.
    """
    windows, hole = [], ~keep
    for box in _group_holes(hole, size // 8):
        near = hole[_slices([(max(0, start - 1), end + 1) for start, end in box])]
        thickness = 2 * float(cv2.distanceTransform(near.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5).max())
        margin = max(size // 8, math.ceil(thickness))
        for piece in _cut(box, hole, size, thickness, margin):
            windows.append((_slices(piece), _slices(_surround(piece, keep.shape, size, margin))))
    return windows


def _slices(box):
    return tuple(slice(start, end) for start, end in box)


def _group_holes(hole, margin):
    """Boxes, ((top, bottom), (left, right)), of groups of holes whose contexts of `margin` pixels meet."""
    height, width = hole.shape
    padded = np.pad(hole, ((0, -height % CELL), (0, -width % CELL)))
    cells = padded.reshape(padded.shape[0] // CELL, CELL, -1, CELL).any(axis=(1, 3)).view(np.uint8)
    reach = 2 * math.ceil(margin / CELL) + 1
    count, labels = cv2.connectedComponents(cv2.dilate(cells, np.ones((reach, reach), np.uint8)), connectivity=8)
    boxes = []
    for label in range(1, count):
        rows, columns = np.nonzero((labels == label) & (cells == 1))
        coarse = [(int(part.min()) * CELL, (int(part.max()) + 1) * CELL) for part in (rows, columns)]
        boxes.append(_tighten(coarse, hole))
    return boxes


def _tighten(box, hole):
    """The smallest box around the hole pixels in `box`, None if there are none."""
    inside = hole[_slices(box)]
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not rows.size:
        return None
    return [
        (start + int(part[0]), start + int(part[-1]) + 1) for (start, _), part in zip(box, (rows, columns), strict=True)
    ]


def _cut(box, hole, size, thickness, margin):
    """Cut the box of a large thin hole into pieces; any other stays whole."""
    if max(end - start for start, end in box) + 2 * margin <= LARGEST_SHRINK * size:
        return [box]
    longest = max(size / 2, 4 * thickness)
    inside = hole[_slices(box)]
    rows, columns = (_place_cuts(*box[axis], inside.sum(axis=1 - axis), longest) for axis in (0, 1))
    pieces = [_tighten((some_rows, some_columns), hole) for some_rows in rows for some_columns in columns]
    return [piece for piece in pieces if piece is not None]


def _place_cuts(start, end, removed, longest):
    """Cut start..end into parts of about `longest` pixels, where little of the hole is cut through.

    removed: (end - start,) hole pixels in each row (or column).
    """
    count = math.ceil((end - start) / longest)
    reach = max(1, (end - start) // count // 4)
    evenly = [(end - start) * i // count for i in range(1, count)]
    cuts = [cut - reach + int(removed[cut - reach : cut + reach].argmin()) for cut in evenly]
    return list(pairwise([start, *(start + cut for cut in cuts), end]))


def _surround(piece, shape, size, margin):
    """A square window around the piece, moved into the photo, or cut to it where the photo is smaller."""
    side = max(min(size, 256), max(end - start for start, end in piece) + 2 * margin)
    if side < size:
        side = min(size, side + -side % 128)  # real context costs no more than padding
    window = []
    for (start, end), length in zip(piece, shape, strict=True):
        first = min(max((start + end - side) // 2, 0), max(length - side, 0))
        window.append((first, min(first + side, length)))
    return window
