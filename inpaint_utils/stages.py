"""What notebooks begin with: their settings, checked, and what an earlier notebook left, or what stands in for it."""

import dataclasses
import json
import math
from functools import partial
from pathlib import Path

import cv2
import keras
import numpy as np

from .data.photos import SPLITS, find_photos, open_photos, prepare_photos
from .data.splits import SPLIT_SEED
from .evaluation.evaluate import evaluate, mean_and_interval
from .evaluation.measures import MEASURES
from .files import format_markdown
from .host import PRECISIONS, PROFILES, choose_output_folder, find_in_inputs, find_photo_folder, is_interactive
from .inference.inpaint import find_generator, inpaint, load_generator
from .networks import models
from .training.gan import PATCH_LABELS
from .training.recipe import DISCRIMINATOR, TEXTURE

# What a setting of the notebooks may be: one of some words, or its type, a test of its value, and the test in words.
TEXT = (str, lambda text: True, "a text in quotes")
COUNT = (int, lambda number: number >= 1, "a whole number of at least 1")
COUNT_OR_NONE = (int, lambda number: number >= 0, "a whole number, 0 or more")
SEED = (int, lambda number: 0 <= number < 2**32, "a whole number from 0 to 4294967295")
SIZE = (
    int,
    lambda number: number >= models.SIZE_MULTIPLE and number % models.SIZE_MULTIPLE == 0,
    f"a multiple of {models.SIZE_MULTIPLE}",
)
RATE = (float, lambda number: 0 < number <= 1, "a number above 0, at most 1")
WEIGHT = (float, lambda number: number >= 0, "a number, 0 or more")
RECIPE_WEIGHT = (float, lambda number: number >= 0 or number == -1, "a number, 0 or more, or -1 for the recipe's")
SWITCH = ("on", "off")
SHARE = (float, lambda number: 0 <= number < 1, "a share from 0 to below 1")
SETTINGS = {
    "profile": PROFILES,
    "precision": PRECISIONS,
    "learning_rate_decay": ("plateau", "cosine"),
    "hole_fill": ("auto", *models.HOLE_FILLS),
    "patch_labels": PATCH_LABELS,
    "initialization": models.INITIALIZATIONS,
    **dict.fromkeys(("noise", "sees_hole"), SWITCH),
    "upsampling": models.UPSAMPLINGS,
    "normalization": ("auto", *models.NORMALIZATIONS),
    "discriminator_normalization": models.NORMALIZATIONS,
    **dict.fromkeys(("photo_folder", "output_folder", "vgg19_weights", "generator_path"), TEXT),
    **dict.fromkeys(("own_photo", "own_mask"), TEXT),
    **dict.fromkeys(("base_filters", "batch_size", "epochs", "throttle_every"), COUNT),
    **dict.fromkeys(("photo_limit", "patience", "plateau_patience", "warm_up_steps", "balance_epochs"), COUNT_OR_NONE),
    "samples": COUNT_OR_NONE,
    **dict.fromkeys(("seed", "split_seed"), SEED),
    **dict.fromkeys(("image_size", "prepared_size"), SIZE),
    **dict.fromkeys(("generator_learning_rate", "discriminator_learning_rate"), RATE),
    **dict.fromkeys((*set(TEXTURE) - {"judged_size"}, "detail_gain"), RECIPE_WEIGHT),
    "judged_size": (int, lambda number: number >= -1, "a whole number, 0 or more, or -1 for the recipe's"),
    "throttle_threshold": WEIGHT,
    **dict.fromkeys(("validation_share", "test_share"), SHARE),
    "ema_momentum": (float, lambda share: 0 <= share < 1 or share == -1, "a share from 0 to below 1, or -1"),
    "guidance": (float, lambda number: 0 <= number <= 1, "a share from 0 to 1"),
    "max_hours": (float, lambda number: number > 0, "a number above 0"),
}
# Of these 0 means "as the profile says", in a notebook that has profiles.
BY_PROFILE = ("image_size", "prepared_size", "base_filters", "generator_learning_rate", "discriminator_learning_rate")
LIMIT = 2000  # photos that are prepared at most, where notebook 1 has not run
NAMED = 10  # photos that were left out and are named; the manifest has them all


def check_settings(values):
    """Check a notebook's settings before any work, and give each the type it should have: "5" and 5.0 become 5.

    Args:
        values: dict that is changed in place, the notebook's `globals()`; names that are no settings are left alone.

    Raises:
        ValueError: for the first setting of another type or out of its range, in a sentence with its name.
    """
    for name, rule in SETTINGS.items():
        if name in values:
            values[name] = _check_setting(name, values[name], rule, "profile" in values and name in BY_PROFILE)


def _check_setting(name, value, rule, zero_is_fine):
    if isinstance(rule[0], str):
        kind, accepts, expected = str, rule.__contains__, f"one of {', '.join(map(repr, rule))}"
    else:
        kind, accepts, expected = rule
    converted = _convert(value, kind)
    if converted is None or not (accepts(converted) or (zero_is_fine and converted == 0)):
        expected += ", or 0 for what the profile says" if zero_is_fine else ""
        raise ValueError(f"{name} is {value!r}, expected {expected}.")
    return converted


def _convert(value, kind):
    """The value as an int, a float or a str, where that is the same value; None where it is not."""
    if kind is str:
        return str(value) if isinstance(value, (str, Path)) else None
    try:
        number = None if isinstance(value, bool) else float(value)
        if number is None or not math.isfinite(number) or (kind is int and not number.is_integer()):
            return None
        return kind(number)
    except (TypeError, ValueError):
        return None


def find_output(name, file, folder=""):
    """What an earlier notebook wrote: its path below this run's outputs, or in an added Kaggle input, or None.

    Args:
        name: the notebook's output folder, such as "01_data_preprocessing".
        file: a file in it. folder: as in `choose_output_folder`.
    """
    own = choose_output_folder("", folder) / name / file
    if own.is_file():
        return own
    return next(iter(find_in_inputs(f"{name}/{file}")), None)


def open_or_prepare(folder, image_size, split_seed=SPLIT_SEED, largest=None):
    """The photos that notebook 1 prepared, from its outputs or a Kaggle input; else prepare them now. Says which.

    The photos are dealt to training, validation and test as notebook 1 would deal them, in whatever size and in
    whichever notebook: so no photo is tested that another notebook trained on.

    Args:
        folder: as in `choose_output_folder`.
        image_size: pixels that are needed at least.
        split_seed: of the split. Not the notebook's own seed: all notebooks need the same.
        largest: pixels; larger photos of notebook 1 are shrunk to it, and photos prepared now have it. None for
            image_size.

    Returns: PhotoSet.
    Raises:
        ValueError: if notebook 1 prepared smaller photos, and they are not in the folder where photos are looked for.
    """
    largest = largest or image_size
    manifest, shares, known = find_output("01_data_preprocessing", "manifest.json", folder), {}, set()
    if manifest is not None:
        photos = open_photos(manifest.parent)
        if photos.image_size >= image_size:
            print(f"photos: {len(photos.records)} prepared by notebook 1")
            return photos if photos.image_size <= largest else _shrink(photos, largest)
        print(f"notebook 1 prepared {photos.image_size} px, {image_size} px are needed: ", end="")
        settings = json.loads(manifest.read_text(encoding="utf-8"))
        shares = {name: settings[name] for name in ("validation_share", "test_share") if name in settings}
        split_seed, known = settings.get("seed", split_seed), {Path(record["file"]).name for record in photos.records}
    source = find_photo_folder()
    paths, skipped = find_photos(source)
    if known and not known & {path.name for path in paths}:
        raise ValueError(
            f"Notebook 1 prepared photos of {photos.image_size} pixels from another folder than {source.name}/: "
            f"run it again with image_size = {image_size}."
        )
    output = choose_output_folder(f"photos_{largest}", folder)
    photos = prepare_photos(
        paths, output, image_size=largest, seed=split_seed, limit=LIMIT, skipped=skipped, progress=False, **shares
    )
    print(f"photos: {len(photos.records)} of {source.name}/ prepared now")
    return photos


def prepare_yours(photo_folder, folder, image_size, prepared_size=0):
    """Photos of one's own, prepared apart from notebook 1's, and dealt 81 : 9 : 10 to training, validation and test.

    Says how many there are, and which files were left out and why. Of more than 2,000 photos so many are drawn.

    Args:
        photo_folder: as in `find_photo_folder`, not "".
        folder: as in `choose_output_folder`. They are written to `photos_of_yours` in it, in place of earlier ones.
        image_size: pixels a side that training sees.
        prepared_size: pixels a side they are prepared with; 0 for image_size.

    Returns: PhotoSet.
    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: for a prepared_size below image_size, or if there is no photo, or too few different ones for three
            splits.
    """
    size = prepared_size or image_size
    if size < image_size:
        raise ValueError(
            f"prepared_size is {prepared_size}, expected at least image_size, which is {image_size}, or 0 for the same."
        )
    source = find_photo_folder(photo_folder)
    paths, skipped = find_photos(source)
    output = choose_output_folder("photos_of_yours", folder)
    chosen = dict(image_size=size, limit=LIMIT, skipped=skipped, progress=is_interactive())
    photos = prepare_photos(paths, output, **chosen)
    for entry in photos.skipped[:NAMED]:
        print(f"left out: {entry['file']}: {entry['reason']}")
    if len(photos.skipped) > NAMED:
        print(f"left out: {len(photos.skipped) - NAMED} more, see manifest.json in {output.name}/")
    counts = {name: len(photos.split(name)) for name in SPLITS}
    if not all(counts.values()):
        raise ValueError(
            f"The {len(photos.records)} photos of {source.name}/ are near duplicates of each other: at least three "
            "different scenes are needed, to train, to validate and to test."
        )
    drawn = f" (drawn from {len(paths)})" if len(paths) > LIMIT else ""
    dealt = ", ".join(f"{count} {name}" for name, count in counts.items())
    print(f"photos: {len(photos.records)} of {source.name}/{drawn} at {size} px: {dealt}")
    return photos


def measure_gain(generators, photos, perceptual=None, seed=0):
    """What a fine-tuning has changed on the test photos, which it has not seen: two lines for each kind of hole.

    Both fill the same medium holes, blind and without the detail that `inpaint` lays on. A change comes with its 95 %
    interval over the photos, which means little for fewer than about 20 of them.

    Args:
        generators: dict of two generators, the earlier one first.
        photos: uint8 (N, H, W, 3).
        perceptual: None, or the model of `build_perceptual` for the texture distance.
        seed: of the masks.

    Returns: dict of (kind, measure) → (before, after, change, low, high).
    """
    batch_size = max(1, 8 * 256**2 // photos[0, ..., 0].size)  # VGG19's maps of large pictures fill the memory
    chosen = dict(difficulties=("medium",), modes=("blind",), seed=seed, perceptual=perceptual, batch_size=batch_size)
    fills = {name: partial(inpaint, generator, detail=0) for name, generator in generators.items()}
    rows, gains = evaluate(fills, photos, **chosen, progress=is_interactive()).rows, {}
    for kind in ("brush", "box"):
        for measure in ("hole_psnr", "texture_distance") if perceptual else ("hole_psnr",):
            cells = rows[rows["kind"] == kind].groupby("fill", sort=False)[measure]
            before, after = (values.to_numpy() for _, values in cells)
            change, low, high = mean_and_interval(after - before)
            gains[kind, measure] = gain = (np.mean(before), np.mean(after), change, low, high)
            texts = [f"{value:{sign}.{MEASURES[measure][1]}f}" for value, sign in zip(gain, "  +++", strict=True)]
            name = measure.replace("_", " ").replace("psnr", "PSNR")
            print("{:5} {:16} {} → {}: {} ({} to {})".format(kind, name, *map(str.strip, texts)))
    return gains


def tabulate(table, measures=("hole_psnr", "sharpness")):
    """An evaluation's table in short, as Markdown: a line for each method, a column for each kind of hole.

    Args:
        table: of an `Evaluation`.
        measures: what a cell holds; the highest blind value of the first one in a column is bold.
    """
    blind, holes = table["mode"] == "blind", table["kind"] + " " + table["difficulty"]
    digits = [MEASURES[measure][1] for measure in measures]
    texts = [table[name].map(f"{{:.{places}f}}".format) for name, places in zip(measures, digits, strict=True)]
    best = blind & (table[measures[0]] == table[measures[0]].where(blind).groupby(holes).transform("max"))
    texts[0] = texts[0].mask(best, "**" + texts[0] + "**")
    guidable = table["fill"].isin(table["fill"][~blind])
    methods = table["fill"].mask(guidable, table["fill"] + ", " + table["mode"])
    cells = texts[0].str.cat(texts[1:], sep=" · ").groupby([methods, holes], sort=False).first().unstack()
    cells = cells[holes.unique()].loc[methods.unique()]
    return format_markdown(["method", *cells.columns], cells.reset_index().to_numpy()) + "\n"


def take_split(photos, name):
    """The indices of the photos in a split that is needed.

    Args:
        photos: PhotoSet.
        name: "train", "validation" or "test".

    Returns: ascending int array.
    Raises:
        ValueError: if notebook 1 left none.
    """
    indices = photos.split(name)
    if len(indices) == 0:
        share = "test_share" if name == "test" else "validation_share"
        raise ValueError(f"Notebook 1 kept no {name} photos: run it again with {share} above 0, or with more photos.")
    return indices


def open_networks(folder, seed, shipped=False, perceptual=True):
    """Generator and discriminator to fine-tune: notebook 2's best, else the shipped generator and a new discriminator.

    Says which. They compute in the precision that `set_up_devices` settled.

    Args:
        folder: as in `choose_output_folder`.
        seed: of a new network's weights.
        shipped: pass notebook 2's over.
        perceptual: whether VGG19 is in the loss; without it a new discriminator that sees fine detail is too strong.

    Returns: (generator, discriminator).
    """
    path, discriminator = find_output("02_model_training", "generator_best.keras", folder), None
    if path is not None and not shipped:
        generator, judge = load_generator(path), path.with_name("discriminator_best.keras")
        if judge.is_file():
            discriminator = keras.models.load_model(judge, compile=False)
            print("networks: the best of notebook 2")
        else:
            print(
                f"networks: the best generator of notebook 2, a new discriminator (there is no {judge.name} beside it)"
            )
    elif find_generator() is not None:
        generator = load_generator()
        print("networks: the generator that ships with the project, a new discriminator")
    else:
        generator = models.build_generator(None, 16, seed=seed)
        print("networks: new and untrained, because notebook 2 has not run and no generator ships")
    if discriminator is None:
        filters = generator.get_layer("generator_encoder_1").filters
        choice = DISCRIMINATOR if perceptual else {**DISCRIMINATOR, "detail_gain": 0.0}
        discriminator = models.build_discriminator(None, filters, **choice, seed=seed + 1)
    networks = generator, discriminator
    policy = keras.config.dtype_policy().name
    return networks if policy == "float32" else tuple(models.change_precision(part, policy) for part in networks)


def open_tested_generators(path, folder):
    """The generator to test, the newest there is, and the shipped one to compare it with. Says which they are.

    The newest is the best of notebook 3, else that of notebook 2, else the shipped one.

    Args:
        path: a file to test instead; "" for the newest.
        folder: as in `choose_output_folder`.

    Returns: dict of generators for `evaluate`: "generator", and "shipped" if that is another one and there.
    Raises:
        FileNotFoundError: if there is none.
    """
    shipped, chosen, name = find_generator(), path or None, Path(path).name
    for notebook, place in (("3", "03_model_finetuning"), ("2", "02_model_training")):
        if chosen is None:
            chosen, name = find_output(place, "generator_best.keras", folder), f"the best of notebook {notebook}"
    if chosen is None:
        print("generator: the shipped one")
        return {"generator": load_generator(shipped)}
    if shipped is None or Path(chosen).resolve() == shipped.resolve():
        print(f"generator: {name}")
        return {"generator": load_generator(chosen)}
    print(f"generator: {name}, beside the shipped one")
    return {"generator": load_generator(chosen), "shipped": load_generator(shipped)}


def _shrink(photos, image_size):
    size = (image_size, image_size)
    images = np.stack([cv2.resize(photo, size, interpolation=cv2.INTER_AREA) for photo in photos.images])
    return dataclasses.replace(photos, images=images)
