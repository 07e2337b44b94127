"""Evaluation measures how well holes are filled: generators and baselines on the same photos and masks."""

import hashlib
import inspect
import itertools
import json
import math
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ..data.edges import combine_edges, detect_edges
from ..data.masks import DIFFICULTIES, MASK_KINDS, create_mask
from ..data.photos import make_thumbnail
from ..data.splits import find_near_duplicates
from ..files import format_markdown, write_atomically
from ..inference.baselines import biharmonic_fill, mean_fill, navier_stokes_fill, telea_fill
from .feature_measures import FEWEST_PHOTOS, compare, describe, embed, kernel_distance, split_kernel_distance
from .measures import MEASURES, check_hole, measure

MODES = ("blind", "guided")
KINDS = ("brush", "box")
CELL = ["fill", "kind", "difficulty", "mode"]  # what a mean is taken within
RESAMPLES = 1000  # of the bootstrap
GRAY_LEVEL = 1 / 255


def generator_fill(generator):
    """Turn a 4-channel Keras generator into a fill of batches: fill(images, masks, edges) -> raws."""
    from ..inference.inpaint import build_input

    def fill(images, masks, edges):
        inputs = [build_input(*inputs) for inputs in zip(images, masks, edges, strict=True)]
        # Built under a strategy, it answers once for each replica.
        return np.asarray(generator.predict_on_batch(np.stack(inputs)))[: len(inputs)]

    return fill


def draw_mask(shape, kind, difficulty, seed, index):
    """The mask under which `evaluate` measures its photo number `index`: float32 (H, W, 1), 1 = keep, 0 = remove.

    Raises: ValueError for a kind or difficulty that is unknown.
    """
    if kind not in MASK_KINDS or difficulty not in DIFFICULTIES:
        raise ValueError(
            f"The masks {kind!r}, {difficulty!r} are unknown: choose kinds of {', '.join(MASK_KINDS)} and "
            f"difficulties of {', '.join(DIFFICULTIES)}."
        )
    seeds = [seed, MASK_KINDS.index(kind), list(DIFFICULTIES).index(difficulty), index]
    return create_mask(shape, seed=seeds, difficulty=difficulty, kind=kind)


def check_disjoint(photos, others):
    """Raise ValueError if a test photo, or a near duplicate of it, is also a training photo.

    The hashes of pixels and files and the names of groups are compared. A group's name holds within one set only: of
    two PhotoSets, which may differ in size, every test photo is looked for among the near duplicates of the others.

    Args:
        photos, others: two PhotoSets, of test photos and of training photos, or lists of one set's records.
    """
    tests, trained = (getattr(photo_set, "records", photo_set) for photo_set in (photos, others))
    leaks = {}  # a test photo's file -> the training photo that it is
    for key in ("sha256", "file_sha256", "group"):
        known = {record[key]: record["file"] for record in trained if key in record}
        leaks |= {record["file"]: known[record[key]] for record in tests if record.get(key) in known}
    if hasattr(photos, "images") and hasattr(others, "images"):
        with ThreadPoolExecutor() as pool:
            small = [np.stack(list(pool.map(make_thumbnail, photo_set.images))) for photo_set in (photos, others)]
        leaks |= {tests[test]["file"]: trained[other]["file"] for test, other in find_near_duplicates(*small)}
    if leaks:
        pairs = [f"{file} ({other})" for file, other in leaks.items()]
        raise ValueError(
            f"{len(leaks)} of {len(tests)} test photos are also training photos, or near duplicates of them: "
            f"{', '.join(pairs[:3])}{', …' if len(pairs) > 3 else ''}; take them out of one of the two, or the result "
            "will look better than it is."
        )


def mean_and_interval(values, seed=0):
    """The mean of numbers and its 95 % bootstrap interval: (mean, low, high).

    nan is left out, and of nothing all three are nan. Fills with equally many numbers get the same resamples.
    `scipy.stats.bootstrap` has no interval where a number is infinite (the PSNR of a perfect fill) and none for one
    picture alone.
    """
    values = np.asarray(values, float)
    values = values[~np.isnan(values)]
    if not len(values):
        return (math.nan,) * 3
    means = values[np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975], method="inverted_cdf")  # no inf - inf
    return float(values.mean()), float(low), float(high)


@dataclass
class Evaluation:
    """What `evaluate` found, as two pandas DataFrames.

    rows: a row a picture. table: a row a fill, mask kind, difficulty and mode: the mean of every measure, over
    the pictures where it is a number, with its 95 % bootstrap interval (_low, _high); kid, which is of a set and not
    a mean, with 1.96 standard errors to each side (kid_part, in rows, is a picture's part in it); the best and worst
    picture by hole PSNR. settings: the masks' hash and all else that the numbers depend on.
    """

    rows: pd.DataFrame
    table: pd.DataFrame
    settings: dict

    def to_markdown(self):
        """The table as Markdown text: mean (95 % interval); nothing where there is no number."""
        text = self.table[["fill", "mode", "kind", "difficulty", "photos"]].copy()
        for name, (unit, digits) in MEASURES.items():
            if name in self.table:
                text[name.replace("_", " ") + (unit and f" [{unit}]")] = [
                    "" if math.isnan(mean) else f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
                    for mean, low, high in self.table[[name, f"{name}_low", f"{name}_high"]].to_numpy()
                ]
        text = text.join(self.table[["best", "worst", "flags"]])
        return format_markdown(list(text), text.to_numpy()) + "\n"

    def to_dict(self):
        """Settings and table as JSON has them: four decimals, None where a number is missing or infinite."""
        table = self.table.round(4).replace([math.inf, -math.inf], math.nan).astype(object)
        return {"settings": self.settings, "table": table.where(table.notna(), None).to_dict("records")}

    def write(self, folder, name="evaluation"):
        """Write <name>.csv, .json (with the settings), .md and <name>_pictures.csv; returns their paths."""
        texts = {
            f"{name}.csv": self.table.round(4).to_csv(index=False, lineterminator="\n"),
            f"{name}.json": json.dumps(self.to_dict(), indent=1) + "\n",
            f"{name}.md": self.to_markdown(),
            f"{name}_pictures.csv": self.rows.round(4).to_csv(index=False, lineterminator="\n"),
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
    kinds=KINDS,
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
        masks: None draws them, kinds x difficulties; or one for each photo, kind "given".
        perceptual: None, or the model of `build_perceptual`, for the columns feature_distance and texture_distance
            (see `compare` in feature_measures.py).
        deep_features: None, or a model of `build_perceptual` with layer_names=("block4_conv4", "block5_conv4"), which
            no loss trains on, for the table's column kid: 1000 times the `kernel_distance` of a cell's pictures
            from the photos. Needs at least 50 photos.
        progress: whether to draw a bar; None draws one in a terminal only, and none into a log file.

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
    masks = masks if masks is None else [check_hole(mask, images.shape[1:]) for mask in masks]
    for name, fill in fills.items():
        if hasattr(fill, "predict_on_batch"):
            _check_generator(name, fill, images.shape[1:])
    fills = {n: generator_fill(f) if hasattr(f, "predict_on_batch") else f for n, f in fills.items()}
    guidable = [name for name, fill in fills.items() if "edges" in inspect.signature(fill).parameters]
    runs = [(mode, name) for mode in modes for name in (guidable if mode == "guided" else fills)]
    cells = [(kind, level) for kind in kinds for level in difficulties] if masks is None else [("given",) * 2]
    if not runs or not cells or not set(modes) <= set(MODES):
        raise ValueError(
            f"modes={modes}, kinds={kinds} and difficulties={difficulties} leave nothing to do for the fills "
            f"{list(fills)}: choose modes of {', '.join(MODES)}, a kind and a difficulty of holes, and at least one "
            "fill, with a parameter named edges for guided."
        )
    if deep_features is not None and len(indices) < FEWEST_PHOTOS:
        raise ValueError(
            f"KID compares sets of pictures, and {len(indices)} photos are too few: use at least {FEWEST_PHOTOS}, or "
            "leave deep_features out."
        )
    judged = {(name, *cell, mode): [] for name in fills for cell in cells for mode in modes if (mode, name) in runs}
    mask_hash, photo_hash = hashlib.sha256(), hashlib.sha256()
    deep = defaultdict(list)  # what `embed` finds, of one batch after the other
    hidden = None if progress is None else not progress
    bar = tqdm(total=len(cells) * len(runs) * len(indices), unit="picture", disable=hidden)
    with ThreadPoolExecutor() as pool, bar:
        for (kind, level), start in itertools.product(cells, range(0, len(indices), batch_size)):
            some = range(start, min(start + batch_size, len(indices)))
            pixels = [np.ascontiguousarray(images[indices[i]]) for i in some]
            truths = [np.float32(photo) / np.float32(255) for photo in pixels]
            if masks is None:
                keeps = list(pool.map(partial(draw_mask, images.shape[1:], kind, level, seed), some))
            else:
                keeps = [masks[i] for i in some]
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
                judged[name, kind, level, mode] += [
                    {"photo": names[i], **values} for i, values in zip(some, found, strict=True)
                ]
                bar.update(len(some))
    rows = pd.DataFrame(
        {**dict(zip(CELL, cell, strict=True)), **values} for cell, found in judged.items() for values in found
    )
    rows["flags"] = rows["flags"].str.join("; ")
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
    table = _summarize(rows, deep, seed)
    return Evaluation(rows, table, settings)


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
    if not len(indices):
        where = f"the split {split!r} of the photo set" if hasattr(photos, "records") else f"an array of {images.shape}"
        raise ValueError(f"There are no photos in {where}, expected at least one: choose others to measure on.")
    if count is not None and not 0 < count <= len(indices):
        raise ValueError(
            f"count={count} photos were asked for and {len(indices)} are there: ask for fewer or add some."
        )
    return images, indices[:count], names[:count]


def _check_generator(name, generator, shape):
    """ValueError if a generator cannot fill photos of this shape: it would be found out only at its turn."""
    import keras

    fixed = getattr(generator, "input_shape", (None, None, None, 4))[1:3]
    fits = all(side in (None, length) for side, length in zip(fixed, shape, strict=False))
    if fits and isinstance(generator, keras.Model) and getattr(generator, "inputs", None):  # whose shapes are known
        try:
            fits = generator.compute_output_spec(keras.KerasTensor((1, *shape[:2], 4))).shape == (1, *shape)
        except Exception:  # whatever its layers stumble on
            fits = False
    if not fits:
        sizes = "a multiple of 128 pixels" if None in fixed else "×".join(map(str, fixed))
        raise ValueError(
            f"The generator {name!r} cannot fill photos of {shape[0]}×{shape[1]}, expected one of 4 channels to 3 and "
            f"photos of {sizes}: prepare them so (image_size), or measure it through inpaint, which takes any."
        )


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


def _summarize(rows, deep, seed):
    """One row for each fill, kind, difficulty and mode; where `deep` has what `embed` found, `rows` get kid_part."""
    table, parts, names = [], [], [name for name in MEASURES if name in rows]
    for cell, pictures in rows.groupby(CELL, sort=False):
        is_sound = ~pictures["flags"].str.contains("nan")
        sound = pictures[is_sound]
        ranked = sound.sort_values("hole_psnr", kind="stable")["photo"].to_list() or [""]
        counts = pictures["flags"].str.get_dummies("; ").sum()
        summary = {
            **dict(zip(CELL, cell, strict=True)),
            "photos": len(sound),
            "excluded": len(pictures) - len(sound),
            "flags": "; ".join(f"{flag} {count}" for flag, count in counts.items()),
            "best": ranked[-1],
            "worst": ranked[0],
        }
        for name in names:
            summary |= zip((name, f"{name}_low", f"{name}_high"), mean_and_interval(sound[name], seed), strict=True)
        if deep:
            distance = error = math.nan
            if len(sound) >= FEWEST_PHOTOS:
                batches = deep[cell], deep[cell[1:3]]
                sets = [[np.concatenate(layer)[is_sound] for layer in zip(*some, strict=True)] for some in batches]
                distance, error = kernel_distance(*sets)
                parts.append(pd.Series(1000 * split_kernel_distance(*sets), sound.index))
            ends = {"kid": 0, "kid_low": -1.96, "kid_high": 1.96}
            summary |= {name: 1000 * (distance + errors * error) for name, errors in ends.items()}
        table.append(summary)
    if parts:
        rows["kid_part"] = pd.concat(parts)
    return pd.DataFrame(table)
