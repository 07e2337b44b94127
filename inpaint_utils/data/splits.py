"""Splits: near duplicates found, and dealt to training, validation and test as whole groups."""

import csv
import hashlib
from collections import Counter

import numpy as np

# Root-mean-square difference of two 8x8 thumbnails in 1/255. Among 5,827 landscapes one pair is at 7.0 (one
# scene twice), the next at 11.5; copies rescaled and saved as JPEG of quality 60 stay below 3. (The usual
# choice, a 64-bit difference hash within 3 bits, missed 2 % of the copies and paired 200 different photos.)
NEAR_DUPLICATE = 8.0

# One split for every notebook and every training, whatever their own seeds: see `prepare_photos`.
SPLIT_SEED = 0


def group_photos(paths, hashes, thumbnails):
    """Name each photo's group after the smallest hash in it; chains of near duplicates are one group.

    Args:
        paths: of the photos.
        hashes: a text a photo, the same in whatever size the photos are prepared.
        thumbnails: uint8 (N, 8, 8, 3), from one fixed size, too.

    Returns: list of str, a group's name for each photo.
    """
    originals, seen, same = read_originals(paths), {}, []  # pairs of photos that belong together
    for i, path in enumerate(paths):
        if path in originals:
            same.append((seen.setdefault(originals[path], i), i))
    first, second = np.concatenate([find_near_duplicates(thumbnails, thumbnails), np.array(same, int).reshape(-1, 2)]).T
    label = np.arange(len(paths))
    while True:  # every photo takes the smallest number it can reach
        before = label.copy()
        np.minimum.at(label, first, before[second])
        np.minimum.at(label, second, before[first])
        label = label[label]
        if np.array_equal(label, before):
            break
    smallest = {}
    for i, sha256 in zip(label, hashes, strict=True):
        smallest[i] = min(sha256, smallest.get(i, sha256))
    return [smallest[i][:16] for i in label]


def find_near_duplicates(thumbnails, others):
    """Pairs of near duplicates, mirrored ones too: int (P, 2), a row of `thumbnails` and one of `others` each.

    Args:
        thumbnails, others: uint8 (N, 8, 8, 3) and (M, 8, 8, 3), from one fixed size.
    """
    small, large = (pixels.astype(np.float32) - 128 for pixels in (thumbnails, others))
    small, size = small.reshape(len(small), -1), small[0].size
    pairs = [np.zeros((0, 2), int)]
    for other in (large, large[:, :, ::-1]):
        other = other.reshape(len(other), -1)
        square = (other**2).sum(axis=1)
        for start in range(0, len(small), 1024):
            rows = small[start : start + 1024]
            distance = (rows**2).sum(axis=1)[:, None] + square - 2 * rows @ other.T
            pairs.append(np.argwhere(distance <= NEAR_DUPLICATE**2 * size) + (start, 0))
    return np.concatenate(pairs)


def deal_groups(groups, validation_share, test_share, seed):
    """Map each group to its split, in an order drawn from `seed` and the groups' names.

    Test comes first in that order, then validation, then training: where some photos are added or left out, a
    test photo may become a validation photo, but hardly a training photo.

    A group that would overshoot the share is passed over; at the end the smallest one left is added if that
    brings the split nearer to its share or if the split is still empty.
    """
    sizes = Counter(groups)
    order = sorted(sizes, key=lambda group: hashlib.sha256(f"{seed} {group}".encode()).digest())
    splits, count = {}, len(groups)
    # With too few groups, training is served first, then validation.
    reserved = {"test": 1 + (validation_share > 0), "validation": 1}
    for name, share in (("test", test_share), ("validation", validation_share)):
        goal, taken, rest = share * count, 0, []
        spare = len(order) - reserved[name] if share > 0 else 0
        for group in order:
            if spare > 0 and taken + sizes[group] <= goal:
                splits[group], taken, spare = name, taken + sizes[group], spare - 1
            else:
                rest.append(group)
        if spare > 0:
            smallest = min(rest, key=sizes.get)
            if taken == 0 or taken + sizes[smallest] - goal < goal - taken:
                splits[smallest], taken = name, taken + sizes[smallest]
                rest.remove(smallest)
        order, count = rest, count - taken
    return {group: splits.get(group, "train") for group in sizes}


def read_originals(paths):
    """Map each path that a photos.csv beside it names to (folder, original); a blank original says nothing.

    Raises: ValueError if a photos.csv cannot be read.
    """
    originals = {}
    for folder in {path.parent for path in paths}:
        table = folder / "photos.csv"
        if table.is_file():
            try:
                with table.open(encoding="utf-8-sig", errors="replace", newline="") as file:
                    rows = csv.DictReader(file, restval="")
                    names = rows.fieldnames or ()
                    if "original" not in names and any("original" in name.replace("\0", "") for name in names):
                        raise csv.Error(f"its first line is {','.join(names)!r}: columns need commas, and UTF-8")
                    if {"file", "original"} <= set(names):
                        named = [row for row in rows if row["original"].strip()]
                        originals |= {folder / row["file"]: (folder, row["original"]) for row in named}
            except (OSError, csv.Error) as error:
                raise ValueError(
                    f"{table} cannot be read ({getattr(error, 'strerror', None) or error}), expected a table that says "
                    "which photos are crops of one original: mend it, or take it out of the folder."
                ) from error
    return originals
