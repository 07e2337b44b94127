"""Plan which parts of a large photo the generator looks at: one window with context for each hole.

A generator trained on small pictures fills a hole best that it sees at about the size it was trained with, so a
window is as large as the hole needs, not as the photo is. Specks, scratches and wires need far less than a window:
they are cut into small tiles, and many tiles are packed into one picture, so that the cost follows what is hidden.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np

CELL = 32  # pixels; holes are grouped on a grid this coarse, so that a million specks cost no more than one hole
LARGEST_SHRINK = 2  # a thin hole whose window would have to shrink more than this is filled piece by piece
THIN = 16  # pixels across; a hole thinner than this is filled in tiles
TILE_MARGIN = 8  # pixels of context around a tile's piece, and 1 more for each pixel that the hole is thick there
TILE_PIECES = (40, 104, 232)  # pixels a side that a hole may be cut into: the one with the fewest pixels to look at


class Tile(NamedTuple):
    """A part of the photo, (rows, columns) as two slices, and its upper left corner in a packed picture."""

    window: tuple
    corner: tuple


def plan_tiles(keep, size):
    """Cut the thin holes into small tiles and pack these into square pictures.

    A tile holds a piece of a hole and a margin of context. Tiles of one hole overlap by their margins, so that their
    answers can be blended (see `weigh_tile`).

    Args:
        keep: bool (H, W), False in the holes.
        size: int, side in pixels of a packed picture.

    Returns: (pictures, rest): a list of lists of `Tile`, one list for each picture, and bool (H, W), True where a
    pixel is kept or lies in a hole that the tiles fill; `plan_windows(rest, …)` plans what is left.
    """
    hole = ~keep
    # Beyond the photo nothing is hidden, so a strip along a side is as thin as it looks.
    framed = cv2.copyMakeBorder(hole.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    depth = cv2.distanceTransform(framed, cv2.DIST_L2, 3)[1:-1, 1:-1]
    rest, tiles = keep.copy(), []
    for box, own in _group_holes(hole, TILE_MARGIN):
        inside = _slices(box)
        part = hole[inside] & own
        thickness = 2 * depth[inside] * part
        if thickness.max() >= THIN:
            continue
        largest = size - 2 * (TILE_MARGIN + math.ceil(thickness.max()))
        plans = [_cut_evenly(box, thickness, length) for length in TILE_PIECES if length <= largest]
        plan = min(plans, key=lambda plan: sum(_area(window) for window in plan), default=[])
        if plan and all(keep[_slices(_clip(window, keep.shape))].any() for window in plan):
            tiles += plan
            rest[inside] |= part
    return _pack(tiles, size), rest


def weigh_tile(height, width):
    """Weights for blending the answers of overlapping tiles: float32 (height, width), least along the sides."""
    ramps = [np.minimum(np.arange(n) + 1, n - np.arange(n)).astype(np.float32) for n in (height, width)]
    return np.minimum.outer(*ramps) ** 2


def cut_out(picture, window):
    """The part of a picture in a window that may reach over its sides, where the picture is mirrored."""
    (top, bottom), (left, right) = ((part.start, part.stop) for part in window)
    height, width = picture.shape[:2]
    rows, columns = _mirror(np.arange(top, bottom), height), _mirror(np.arange(left, right), width)
    return picture[rows[:, np.newaxis], columns]


def _mirror(places, length):
    places = places % (2 * length)
    return np.minimum(places, 2 * length - 1 - places)


def _cut_evenly(box, thickness, length):
    """Windows, ((top, bottom), (left, right)), around the pieces of a hole, `length` pixels a side at most.

    thickness: of the hole in the box, (H, W), 0 beside it.
    """
    starts = [np.arange(0, size, length) for size in thickness.shape]
    largest = np.maximum.reduceat(np.maximum.reduceat(thickness, starts[0], axis=0), starts[1], axis=1)
    windows = []
    for row, column in zip(*np.nonzero(largest), strict=True):
        top, left = row * length, column * length
        piece = thickness[top : top + length, left : left + length]
        rows, columns = np.flatnonzero(piece.any(axis=1)), np.flatnonzero(piece.any(axis=0))
        first = (box[0][0] + top, box[1][0] + left)
        margin = TILE_MARGIN + math.ceil(largest[row, column])
        windows.append(
            tuple(
                (int(start + hidden[0]) - margin, int(start + hidden[-1]) + 1 + margin)
                for start, hidden in zip(first, (rows, columns), strict=True)
            )
        )
    return windows


def _clip(window, shape):
    return [(max(start, 0), min(end, length)) for (start, end), length in zip(window, shape, strict=True)]


def _area(window):
    return math.prod(end - start for start, end in window)


def _pack(windows, size):
    """Lay windows side by side in rows, and rows into pictures of `size` pixels a side: lists of `Tile`."""
    pictures, top, left, high = [], 0, 0, 0
    for window in sorted(windows, key=lambda window: window[0][0] - window[0][1]):  # the highest first, order kept
        height, width = (end - start for start, end in window)
        if left + width > size:
            top, left, high = top + high, 0, 0
        if not pictures or top + height > size:
            pictures.append([])
            top, left, high = 0, 0, 0
        high = max(high, height)
        pictures[-1].append(Tile(_slices(window), (top, left)))
        left += width
    return pictures


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
    for box, _ in _group_holes(hole, size // 8):
        near = hole[_slices([(max(0, start - 1), end + 1) for start, end in box])]
        thickness = 2 * float(cv2.distanceTransform(near.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5).max())
        margin = max(size // 8, math.ceil(thickness))
        for piece in _cut(box, hole, size, thickness, margin):
            windows.append((_slices(piece), _slices(_surround(piece, keep.shape, size, margin))))
    return windows


def _slices(box):
    return tuple(slice(start, end) for start, end in box)


def _group_holes(hole, margin):
    """Groups of holes whose contexts of `margin` pixels meet.

    Returns: list of (box, own): ((top, bottom), (left, right)), and bool of the box's size, True in the group's cells.
    """
    height, width = hole.shape
    padded = np.pad(hole, ((0, -height % CELL), (0, -width % CELL)))
    cells = padded.reshape(padded.shape[0] // CELL, CELL, -1, CELL).any(axis=(1, 3)).view(np.uint8)
    reach = 2 * math.ceil(margin / CELL) + 1
    near = cv2.dilate(cells, np.ones((reach, reach), np.uint8))
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(near, connectivity=8)
    groups = []
    for label in range(1, count):
        left, top, wide, high = (int(value) for value in boxes[label][:4])
        part = (slice(top, top + high), slice(left, left + wide))
        own = (labels[part] == label) & (cells[part] == 1)
        own = np.repeat(np.repeat(own, CELL, axis=0), CELL, axis=1)[: height - top * CELL, : width - left * CELL]
        coarse = (slice(top * CELL, (top + high) * CELL), slice(left * CELL, (left + wide) * CELL))
        rows, columns = _bounds(hole[coarse] & own)
        box = [tuple(first * CELL + end for end in ends) for first, ends in ((top, rows), (left, columns))]
        groups.append((box, own[slice(*rows), slice(*columns)]))
    return groups


def _bounds(part):
    """The first row and column that hold something, and the ones behind the last: ((top, bottom), (left, right))."""
    lines = (np.flatnonzero(part.any(axis=axis)) for axis in (1, 0))
    return tuple((int(line[0]), int(line[-1]) + 1) for line in lines)


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
