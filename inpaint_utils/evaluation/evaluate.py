"""Evaluation measures how well holes are filled: generators and baselines on the same photos and masks."""

import hashlib
import inspect
import itertools
import json
import math
import warnings
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from ..data.edges import combine_edges, detect_edges
from ..data.masks import DIFFICULTIES, MASK_KINDS, create_mask
from ..files import format_csv, write_atomically
from ..inference.baselines import biharmonic_fill, mean_fill, navier_stokes_fill, telea_fill
from .feature_measures import FEWEST_PHOTOS, compare, describe, embed, kernel_distance, split_kernel_distance
from .measures import MEASURES, check_hole, measure

MODES = ("blind", "guided")
RESAMPLES = 1000  # of the bootstrap
GRAY_LEVEL = 1 / 255


def generator_fill(generator):
    """Turn a 4-channel Keras generator into a fill of batches: fill(images, masks, edges) -> raws."""
    from ..inference.inpaint import build_input

    def fill(images, masks, edges):
        inputs = [build_input(*inputs) for inputs in zip(images, masks, edges, strict=True)]
        return np.asarray(generator.predict_on_batch(np.stack(inputs)))

    return fill


def stored_masks(shape, kind, difficulty, count, seed=0):
    """The masks of `evaluate` for its first `count` photos: uint8 (count, H, W, 1), 1 = keep."""
    masks = [_draw_mask(shape, kind, difficulty, seed, i) for i in range(count)]
    return np.stack(masks).astype(np.uint8)


def check_disjoint(records, other_records):
    """Raise ValueError if a photo of `records`, or a near duplicate of it, is also in `other_records`.

    Both are PhotoSets or their lists of records. The pixels' hashes and the groups of duplicates are
    compared.
    """
    records, other_records = (getattr(photos, "records", photos) for photos in (records, other_records))
    for key in ("sha256", "group"):
        others = {record[key]: record["file"] for record in other_records if key in record}
        for record in records:
            if record.get(key) in others:
                raise ValueError(
                    f"The test photo {record['file']} is also a training photo ({others[record[key]]}): "
                    "remove one of them, or the result will look better than it is."
                )


def paired_difference(ours, other, seed=0):
    """The mean of ours − other, picture by picture, and its 95 % bootstrap interval: (mean, low, high).

    Args:
        ours, other: numbers of the same pictures in the same order. Pairs with a nan are left out.
    """
    difference = np.array(ours, float) - np.array(other, float)
    difference = difference[~np.isnan(difference)]
    rng = np.random.default_rng(seed)
    means = [difference[rng.integers(len(difference), size=len(difference))].mean() for _ in range(RESAMPLES)]
    return float(difference.mean()), *map(float, np.quantile(means, [0.025, 0.975]))


@dataclass
class Evaluation:
    """What `evaluate` found.

    rows: one dict a picture. table: one dict a fill, mask kind, difficulty and mode: the mean of every measure, over
    the pictures where it is a number, with its 95 % bootstrap interval (_low, _high); kid, which is of a set and not
    a mean, with 1.96 standard errors to each side (kid_part, in rows, is a picture's part in it); the best and worst
    picture by hole PSNR. settings: the masks' hash and all else that the numbers depend on.
    """

    rows: list
    table: list
    settings: dict

    def to_markdown(self):
        """The table as Markdown text: mean (95 % interval); nothing where there is no number."""
        names = [name for name in MEASURES if name in self.table[0]]
        units = {name: f" [{unit}]" for name, (unit, _) in MEASURES.items() if unit}
        keys = ["fill", "mode", "kind", "difficulty", "photos", *names, "best", "worst", "flags"]
        lines = ["| " + " | ".join(key.replace("_", " ") + units.get(key, "") for key in keys) + " |"]
        lines.append("|---" * len(keys) + "|")
        for row in self.table:
            cells = {key: row[key] for key in keys}
            for name in names:
                digits = MEASURES[name][1]
                mean, low, high = (f"{row[name + end]:.{digits}f}" for end in ("", "_low", "_high"))
                cells[name] = "" if mean == "nan" else f"{mean} ({low} to {high})"
            lines.append("| " + " | ".join(str(cell) for cell in cells.values()) + " |")
        return "\n".join(lines) + "\n"

    def write(self, folder, name="evaluation"):
        """Write <name>.csv, .json (with the settings), .md and <name>_pictures.csv; returns their paths."""
        table, rows = ([{k: _tidy(v) for k, v in row.items()} for row in rows] for rows in (self.table, self.rows))
        texts = {
            f"{name}.csv": format_csv(table),
            f"{name}.json": json.dumps({"settings": self.settings, "table": table}, indent=1) + "\n",
            f"{name}.md": self.to_markdown(),
            f"{name}_pictures.csv": format_csv(rows),
        }
        for file, text in texts.items():
            write_atomically(Path(folder, file), text)
        return [Path(folder, file) for file in texts]


def evaluate(
    fills,
    photos,
    split="test",
    count=None,
    masks=None,
    kinds=("brush", "box"),
    difficulties=tuple(DIFFICULTIES),
    modes=MODES,
    seed=0,
    batch_size=8,
    perceptual=None,
    deep_features=None,
    progress=True,
):
    """Measure fills on photos under seeded masks: every fill sees the same photos, masks and hidden pixels.

    Args:
        fills: dict of row name -> fill, which is a function fill(image, mask) -> raw, or fill(image, mask, edges)
            -> raw (measured in "guided" mode, too), or a Keras generator. Images are float32 (H, W, 3) in [0, 1]
            with the hole set to 0: hidden pixels never reach a fill. Guided edges are the truth's in the hole.
        photos: a PhotoSet, of which `split` is used (and shares nothing with the others), or uint8 (N, H, W, 3).
        count: use the first `count` photos only.
        masks: None draws them (kinds x difficulties, see `stored_masks`); or one for each photo, kind "given".
        perceptual: None, or the model of `build_perceptual`, for the columns feature_distance and texture_distance
            (see `compare` in feature_measures.py).
        deep_features: None, or a model of `build_perceptual` with layer_names=("block4_conv4", "block5_conv4"), which
            no loss trains on, for the table's column kid: 1000 times the `kernel_distance` of a cell's pictures
            from the photos. Needs at least 50 photos.

    Returns: an Evaluation. Flags, counted in its table: "nan", the answer is not finite and left out of the means;
        "range", values were outside [0, 1] and clipped; "alters kept", the raw answer differs from the photo in kept
        pixels (the filled one has them put back); "equals photo", the answer is the photo to a tenth of a gray level
        in a hole that is not flat, which only a fill that has seen the photo can give; "not repeatable", the same
        call gave another answer (tried blind on the first photo of each cell).
    Raises: ValueError for arguments outside of these.
    """
    images, indices, names = _choose_photos(photos, split, count)
    if masks is not None and len(masks) != len(indices):
        raise ValueError(f"{len(masks)} masks were given for {len(indices)} photos: give one for each photo.")
    fills = {n: generator_fill(f) if hasattr(f, "predict_on_batch") else f for n, f in fills.items()}
    guidable = [name for name, fill in fills.items() if "edges" in inspect.signature(fill).parameters]
    runs = [(mode, name) for mode in modes for name in (guidable if mode == "guided" else fills)]
    if not runs or not set(modes) <= set(MODES):
        raise ValueError(
            f"modes={modes} leaves nothing to do for the fills {list(fills)}: choose from {', '.join(MODES)} "
            "and at least one fill, with a parameter named edges for guided."
        )
    if deep_features is not None and len(indices) < FEWEST_PHOTOS:
        raise ValueError(
            f"KID compares sets of pictures, and {len(indices)} photos are too few: use at least {FEWEST_PHOTOS}, or "
            "leave deep_features out."
        )
    cells = [(kind, level) for kind in kinds for level in difficulties] if masks is None else [("given",) * 2]
    rows, mask_hash, photo_hash = [], hashlib.sha256(), hashlib.sha256()
    deep = defaultdict(list)  # what `embed` finds, of one batch after the other
    bar = tqdm(total=len(cells) * len(runs) * len(indices), unit="picture", disable=not progress)
    with ThreadPoolExecutor() as pool, bar:
        for (kind, level), start in itertools.product(cells, range(0, len(indices), batch_size)):
            some = range(start, min(start + batch_size, len(indices)))
            pixels = [np.ascontiguousarray(images[indices[i]]) for i in some]
            truths = [np.float32(photo) / np.float32(255) for photo in pixels]
            if masks is None:
                keeps = list(pool.map(partial(_draw_mask, images.shape[1:], kind, level, seed), some))
            else:
                keeps = [check_hole(masks[i], images.shape[1:]) for i in some]
            for photo, keep in zip(pixels, keeps, strict=True):
                photo_hash.update(photo)
                mask_hash.update(np.packbits(keep == 1))
            if perceptual is not None:
                described = describe(perceptual, truths, keeps)
            if deep_features is not None:
                deep[kind, level].append(embed(deep_features, truths, keeps))
            for mode, name in runs:
                bar.set_postfix_str(f"{kind} {level}: {name}, {mode}")
                guided = mode == "guided"
                raws = _run(fills[name], *_hide(truths, keeps, guided, name in guidable, pool), pool)
                found = list(pool.map(partial(_judge, name), raws, truths, keeps))
                filled = [_put_back(*pictures) for pictures in zip(raws, truths, keeps, strict=True)]
                if perceptual is not None:
                    for values, fill, photo in zip(found, describe(perceptual, filled, keeps), described, strict=True):
                        distances = compare(fill, photo)
                        values |= dict.fromkeys(distances, math.nan) if "nan" in values["flags"] else distances
                if deep_features is not None:
                    deep[name, kind, level, mode].append(embed(deep_features, filled, keeps))
                if start == 0 and not guided:
                    inputs = _hide(truths[:1], keeps[:1], False, name in guidable, pool)
                    found[0]["flags"] += _check_repeatable(fills[name], *inputs, pool)
                for i, values in zip(some, found, strict=True):
                    cell = {"fill": name, "kind": kind, "difficulty": level, "mode": mode, "photo": names[i]}
                    rows.append({**cell, **values})
                bar.update(len(some))
    order = {key: i for i, key in enumerate((n, *cell, m) for n in fills for cell in cells for m in modes)}
    rows.sort(key=lambda row: order[_cell_of(row)])
    settings = {
        "photos": len(indices),
        "image_shape": list(images.shape[1:]),
        "kinds": list(dict.fromkeys(kind for kind, _ in cells)),
        "difficulties": {level: DIFFICULTIES.get(level) for _, level in cells},
        "modes": list(modes),
        "fills": list(fills),
        "seed": int(seed),
        "bootstrap_resamples": RESAMPLES,
        "masks_sha256": mask_hash.hexdigest(),
        "photos_sha256": photo_hash.hexdigest(),
    }
    return Evaluation(rows, _summarize(rows, deep, seed), settings)


def _draw_mask(shape, kind, difficulty, seed, index):
    if kind not in MASK_KINDS or difficulty not in DIFFICULTIES:
        raise ValueError(
            f"The masks {kind!r}, {difficulty!r} are unknown: choose kinds of {', '.join(MASK_KINDS)} and "
            f"difficulties of {', '.join(DIFFICULTIES)}."
        )
    seeds = [seed, MASK_KINDS.index(kind), list(DIFFICULTIES).index(difficulty), index]
    return create_mask(shape, seed=seeds, difficulty=difficulty, kind=kind)


def _choose_photos(photos, split, count):
    """Returns the image array, the indices to use and a name for each of them."""
    if hasattr(photos, "records"):
        images, indices = photos.images, photos.split(split)
        chosen = [photos.records[i] for i in indices]
        check_disjoint(chosen, [record for record in photos.records if record["split"] != split])
        names = [record["file"] for record in chosen]
    else:
        images, indices = np.asanyarray(photos), range(len(photos))
        names = [str(i) for i in indices]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"The photos are {images.dtype} of shape {images.shape}: pass uint8 RGB (N, H, W, 3).")
    if not len(indices) or (count is not None and not 0 < count <= len(indices)):
        raise ValueError(
            f"count={count} photos were asked for and {len(indices)} are there: ask for fewer or add some."
        )
    return images, indices[:count], names[:count]


def _hide(truths, keeps, guided, with_edges, pool):
    """What a fill may see: images without their hidden pixels, masks, and edges where the fill takes them."""
    images = [np.where(keep == 1, truth, np.float32(0)) for truth, keep in zip(truths, keeps, strict=True)]
    if not with_edges:
        return images, keeps, None
    guides = pool.map(detect_edges, truths) if guided else [None] * len(truths)
    return images, keeps, list(pool.map(combine_edges, images, keeps, guides))


def _run(fill, images, masks, edges, pool):
    """The answers of a fill, one for each picture."""
    arguments = [images, masks] if edges is None else [images, masks, edges]
    if "images" in inspect.signature(fill).parameters:
        return list(fill(*arguments))
    # Our own fills may run side by side; a stranger's is called in order, one picture at a time.
    run = pool.map if fill in (mean_fill, telea_fill, navier_stokes_fill, biharmonic_fill) else map
    return [np.asarray(answer) for answer in run(fill, *arguments)]


def _check_repeatable(fill, images, masks, edges, pool):
    """A list of flags: whether the same call twice gives different answers."""
    first, again = (_run(fill, images, masks, edges, pool)[0] for _ in range(2))
    return [] if np.array_equal(first, again, equal_nan=True) else ["not repeatable"]


def _judge(name, raw, truth, keep):
    """The measures and flags of one answer."""
    try:
        values = measure(raw, truth, keep)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    flags = []
    if not np.isfinite(raw).all():
        return {**dict.fromkeys(values, math.nan), "flags": ["nan"]}
    if raw.min() < -GRAY_LEVEL or raw.max() > 1 + GRAY_LEVEL:
        flags.append("range")
    error = np.abs(raw - truth)
    kept = keep[..., 0] == 1
    if error[kept].max() > 1.5 * GRAY_LEVEL:  # a generator's input lifts black by one level
        flags.append("alters kept")
    if error[~kept].max() < 0.1 * GRAY_LEVEL and np.ptp(truth[~kept], axis=0).max() > 8 * GRAY_LEVEL:
        flags.append("equals photo")  # nobody guesses a hole that is not flat to a tenth of a gray level
    return {**values, "flags": flags}


def _put_back(raw, truth, keep):
    """The filled picture: the answer in the hole, clipped to [0, 1] (0 where it is not finite), else the photo."""
    return np.where(keep == 1, truth, np.clip(np.nan_to_num(raw), 0, 1)).astype(np.float32)


def _cell_of(row):
    return row["fill"], row["kind"], row["difficulty"], row["mode"]


def _summarize(rows, deep, seed):
    """One dict for each fill, kind, difficulty and mode. deep: lists of what `embed` found, or empty."""
    table = []
    names = [name for name in MEASURES if name in rows[0]]
    for (fill, kind, difficulty, mode), cell in itertools.groupby(rows, _cell_of):
        cell = list(cell)
        sound = [row for row in cell if "nan" not in row["flags"]]
        counts = Counter(flag for row in cell for flag in row["flags"])
        summary = {"fill": fill, "kind": kind, "difficulty": difficulty, "mode": mode}
        summary |= {"photos": len(sound), "excluded": len(cell) - len(sound)}
        summary["flags"] = "; ".join(f"{flag} {counts[flag]}" for flag in sorted(counts))
        ranked = sorted(sound, key=lambda row: row["hole_psnr"])
        summary["best"], summary["worst"] = (ranked[i]["photo"] if sound else "" for i in (-1, 0))
        values = np.array([[row[name] for name in names] for row in sound]).reshape(len(sound), len(names))
        summary |= mean_and_interval(values, names, seed)
        if deep:
            summary |= _kernel_distance(cell, deep[fill, kind, difficulty, mode], deep[kind, difficulty])
        table.append(summary)
    return table


def _kernel_distance(cell, fills, photos):
    """1000 times the `kernel_distance` of a cell's sound pictures and its interval; nan if they are too few.

    Each sound picture's row gets its part, kid_part, to compare two fills picture by picture.
    """
    sound = ["nan" not in row["flags"] for row in cell]
    if sum(sound) < FEWEST_PHOTOS:
        return dict.fromkeys(("kid", "kid_low", "kid_high"), math.nan)
    sets = [[np.concatenate(layer)[sound] for layer in zip(*batches, strict=True)] for batches in (fills, photos)]
    distance, error = kernel_distance(*sets)
    for row, part in zip(itertools.compress(cell, sound), split_kernel_distance(*sets), strict=True):
        row["kid_part"] = 1000 * float(part)
    low, high = distance - 1.96 * error, distance + 1.96 * error
    return {"kid": 1000 * distance, "kid_low": 1000 * low, "kid_high": 1000 * high}


def mean_and_interval(values, names, seed):
    """Column means of (pictures, measures) and the 2.5 % and 97.5 % quantiles of the bootstrapped means; no nan in."""
    if not len(values):
        return {name + end: math.nan for name in names for end in ("", "_low", "_high")}
    rng = np.random.default_rng(seed)  # the same resamples for every fill
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice|All-NaN slice", RuntimeWarning)
        mean = np.nanmean(values, axis=0)
        means = [np.nanmean(values[rng.integers(len(values), size=len(values))], axis=0) for _ in range(RESAMPLES)]
        low, high = np.nanquantile(means, [0.025, 0.975], axis=0, method="inverted_cdf")  # no inf - inf
    result = {}
    for i, name in enumerate(names):
        result |= {
            name: float(mean[i]),
            name + "_low": float(low[i]),
            name + "_high": float(high[i]),
        }
    return result


def _tidy(value):
    """A value as it stands in a file: four decimals, "inf", nothing for nan, flags as one text."""
    if isinstance(value, list):
        return "; ".join(value)
    if not isinstance(value, float):
        return value
    return None if math.isnan(value) else round(value, 4) if math.isfinite(value) else "inf"
