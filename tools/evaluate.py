"""Measure a generator and the baselines on a folder of test photos; write the run files that figures are made from.

python tools/evaluate.py PHOTO_FOLDER --slow                 the shipped generator, into results/runs/
python tools/evaluate.py PHOTO_FOLDER --generator FILE --output FOLDER --count 50
python tools/evaluate.py PHOTO_FOLDER --name texture --methods telea generator --vgg19 imagenet --kid imagenet
python tools/evaluate.py PHOTO_FOLDER --methods generator --update    a new generator; the other rows stay
python tools/evaluate.py LARGE_PHOTOS --image-size 1024 --sides 256 512 1024 --name sizes --methods Telea generator
"""

import argparse
import json
import os
import platform
import sys
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import numpy as np
import pandas as pd
import inpaint_utils.quiet  # noqa: F401  Keras without its backend's start-up messages, before anything loads it
from inpaint_utils import DIFFICULTIES, build_perceptual, evaluate, find_photos, inpaint, load_generator, open_photos
from inpaint_utils import prepare_photos
from inpaint_utils.app.command import run_tool
from inpaint_utils.evaluation.evaluate import MODES, Evaluation, check_disjoint
from inpaint_utils.evaluation.feature_measures import DEEP_LAYERS
from inpaint_utils.files import write_atomically
from inpaint_utils.inference import baselines
from inpaint_utils.inference.detail import add_detail

ROOT = Path(__file__).resolve().parents[1]
METHODS = {
    "mean colour": baselines.mean_fill,
    "Telea": baselines.telea_fill,
    "Navier–Stokes": baselines.navier_stokes_fill,
    "biharmonic": baselines.biharmonic_fill,
    "PatchMatch": baselines.patch_fill,
    "smooth fill": baselines.smooth_fill,
    "Telea + detail": lambda image, mask: add_detail(image, baselines.telea_fill(image, mask), mask[..., 0] == 1),
    "generator": lambda generator: generator,
    "generator + detail": lambda generator: partial(inpaint, generator),
}
OWN = ("generator", "generator + detail")  # made from the generator
SLOW = ("biharmonic", "PatchMatch")
ADDED_BY = {"feature_distance": "vgg19", "texture_distance": "vgg19", "kid": "kid"}  # a measure -> the option for it


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of test photos, used for nothing else")
    parser.add_argument("--generator", type=Path, help="a .keras file; the shipped one if not given")
    parser.add_argument(
        "--output",
        type=Path,
        default=ROOT / "results" / "runs",
        help="folder to write to (default: results/runs, replacing what README's tables are made from)",
    )
    parser.add_argument("--prepared", type=Path, default=ROOT / "outputs" / "test_photos", help="where they are kept")
    parser.add_argument("--count", type=int, help="measure the first so many photos")
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--name", default="evaluation", help="of the files written")
    parser.add_argument(
        "--slow",
        action="store_true",
        help="biharmonic and PatchMatch, too: up to a second a picture, PatchMatch needs the extra benchmark",
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        metavar="NAME",
        help=f"measure these only, the first letters are enough: {', '.join(METHODS)}",
    )
    parser.add_argument(
        "--beside",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "FILE"),
        help="another generator, measured too, in a row of this name",
    )
    parser.add_argument("--difficulties", nargs="+", choices=DIFFICULTIES, default=tuple(DIFFICULTIES))
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES, help="blind, guided, or both")
    parser.add_argument("--vgg19", help='"imagenet" or a file of weights: adds feature distance and texture distance')
    parser.add_argument(
        "--kid", help='"imagenet" or a file of weights of all VGG19 layers: adds KID, from 50 photos up'
    )
    parser.add_argument(
        "--update",
        action="store_true",
        help="keep the rows of other methods that these files have, of the same photos and masks",
    )
    parser.add_argument(
        "--sides",
        nargs="+",
        type=int,
        metavar="PIXELS",
        help="a row for each of these: inpaint without detail, the generator seeing at most so many pixels a side",
    )
    parser.add_argument("--trained-on", type=Path, help="notebook 1's output folder: refuse photos that are in it")
    options = parser.parse_args(arguments)
    names = choose_methods(options.methods, options.slow, parser.error)
    options.output.mkdir(parents=True, exist_ok=True)
    earlier = read_earlier(options.output, options.name) if options.update else None
    generator = load_generator(options.generator) if set(names) & set(OWN) else None
    fills = {name: METHODS[name](generator) if name in OWN else METHODS[name] for name in names}
    fills |= {name: load_generator(path) for name, path in options.beside}
    clocks = {}
    if options.sides:
        fills, clocks = see_sides(fills, options.sides)

    paths, skipped = find_photos(options.photos)
    shares = dict(validation_share=0, test_share=0)
    photos = prepare_photos(
        paths, options.prepared, image_size=options.image_size, skipped=skipped, progress=None, **shares
    )
    if options.trained_on:
        check_disjoint(photos, open_photos(options.trained_on))
    chosen = dict(count=options.count, modes=options.modes, difficulties=options.difficulties)
    if options.update:
        shape, difficulties = photos.images.shape[1:], {level: DIFFICULTIES[level] for level in options.difficulties}
        told = {"photos": options.count or len(photos.images), "image_shape": shape, "difficulties": difficulties}
        check_settings(earlier, told, options.name)
        check_columns(earlier, fills, options)
    perceptual, deep_features = build_perceptual(options.vgg19), build_perceptual(options.kid, DEEP_LAYERS)
    started = time.perf_counter()
    measures = dict(perceptual=perceptual, deep_features=deep_features)
    batch_size = max(1, 8 * 256**2 // options.image_size**2)  # VGG19's maps of large pictures fill the memory
    result = evaluate(fills, photos.images, **chosen, **measures, batch_size=batch_size, progress=None)
    name, problem = options.name, None
    if options.update:
        try:
            result = add_rows(result, options.output, options.name)
        except Exception as error:  # whatever has happened to the files meanwhile, what was measured is kept
            name, problem = f"{options.name}_new", error
    result.write(options.output, name)
    minutes = round((time.perf_counter() - started) / 60, 1)
    machine = {
        "minutes": minutes,
        "measured": list(fills),  # with --update other rows were measured before
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "photo_folder": options.photos.name,
    }
    if clocks:
        machine["seconds_a_photo"] = {name: round(float(np.median(times)), 2) for name, times in clocks.items()}
    write_atomically(options.output / f"{name}_machine.json", json.dumps(machine, indent=1) + "\n")
    print(result.to_markdown())
    if problem is not None:
        reason = str(problem).split("\n")[0].rstrip(".")
        raise ValueError(f"{reason}; the methods measured now stand in {options.output / name}.csv.") from problem


def see_sides(fills, sides):
    """Each generator through `inpaint` without detail, once for each side; other methods as they are, too.

    Returns: (fills, clocks): dicts by row name; clocks get the seconds of every call.
    """
    seen, clocks = {}, {}

    def add_timed(name, fill):
        def run(image, mask):
            started = time.perf_counter()
            answer = fill(image, mask)
            clocks[name].append(time.perf_counter() - started)
            return answer

        seen[name], clocks[name] = run, []

    for name, fill in fills.items():
        if not hasattr(fill, "predict_on_batch"):
            add_timed(name, fill)
            continue
        for side in sides:
            add_timed(f"{name}, {side} px", partial(inpaint, fill, detail=0, largest_side=side))
    return seen, clocks


def read_earlier(folder, name):
    """What files written earlier hold, as an Evaluation. Raises ValueError if one is missing or damaged."""
    texts = ("fill", "photo", "best", "worst", "flags")
    told = dict(dtype=dict.fromkeys(texts, str), keep_default_na=False, na_values=[""])  # one flag is "nan"
    try:
        path = folder / f"{name}.json"
        settings = json.loads(path.read_text(encoding="utf-8"))["settings"]
        tables = []
        for path, columns in ((folder / f"{name}_pictures.csv", ["photo"]), (folder / f"{name}.csv", ["best"])):
            tables.append(pd.read_csv(path, **told).fillna(dict.fromkeys(texts, "")))
            tables[-1][["fill", "mode", *columns]]  # what is no table of ours lacks them
    except FileNotFoundError:
        raise ValueError(
            f"There is no {path} to add rows to: check --output and --name, or leave --update out."
        ) from None
    except Exception as error:  # a damaged file raises whatever its reader stumbles on
        raise ValueError(
            f"{path} is no file that evaluate wrote: leave --update out, to measure all methods again."
        ) from error
    return Evaluation(*tables, settings)


def check_settings(earlier, settings, name):
    """Raise ValueError if an Evaluation is of other photos or masks than these settings, as far as they are known."""
    numbers = ("photos", "image_shape", "kinds", "difficulties", "seed", "bootstrap_resamples")
    for key in (*numbers, "photos_sha256", "masks_sha256"):
        before, now = earlier.settings.get(key), json.loads(json.dumps(settings.get(key)))
        if key in settings and before != now:
            raise ValueError(
                f"{name}.json has {key} {before}, this run {now}: give the options that it was made with, or "
                "measure all methods again, without --update."
            )


def check_columns(earlier, fills, options):
    """Raise ValueError if measures, or modes of a method, would be lost by adding the rows of this run."""
    for measure, option in ADDED_BY.items():
        is_there, will_be = measure in earlier.table, getattr(options, option) is not None
        if is_there != will_be:
            raise ValueError(
                f"{options.name}.csv has {'a' if is_there else 'no'} column {measure}, which would be lost for "
                f"{'all methods: give' if is_there else 'this run: leave out'} --{option}, or measure all methods "
                "again, without --update."
            )
    of_these = earlier.table[earlier.table["fill"].isin(fills)]
    lost = [mode for mode in MODES if mode in set(of_these["mode"]) - set(options.modes)]
    if lost:
        raise ValueError(
            f"{options.name}.csv has {lost[0]} rows of {', '.join(of_these['fill'].unique())}, which would be lost: "
            f"add {lost[0]} to --modes, or measure all methods again, without --update."
        )


def add_rows(result, folder, name):
    """The result, and with its rows those that files written earlier have of other methods, in the order of METHODS.

    Only measures stay that both have. Raises ValueError if the files are of other photos or masks.
    """
    earlier = read_earlier(folder, name)
    check_settings(earlier, result.settings, name)
    measured, joined = result.settings["fills"], []
    others = [fill for fill in earlier.settings["fills"] if fill not in measured]
    known = [fill for fill in METHODS if fill in (*others, *measured)]
    fills = [*known, *(fill for fill in (*others, *measured) if fill not in METHODS)]
    for new, old in ((result.rows, earlier.rows), (result.table, earlier.table)):
        old = old[~old["fill"].isin(measured)]
        rows = new if old.empty else pd.concat([old, new], join="inner", ignore_index=True)
        order = rows["fill"].map(fills.index)
        joined.append(rows.iloc[order.argsort(kind="stable")].reset_index(drop=True))
    modes = [mode for mode in MODES if mode in (*earlier.settings["modes"], *result.settings["modes"])]
    return Evaluation(*joined, {**result.settings, "modes": modes, "fills": fills})


def choose_methods(words, slow, fail):
    """Names of METHODS that begin with one of the words, in METHODS' order; without words all, or all but SLOW."""
    if not words:
        return [name for name in METHODS if slow or name not in SLOW]
    chosen = set()
    for word in words:
        fitting = [name for name in METHODS if name.lower() == word.lower()]
        fitting = fitting or [name for name in METHODS if name.lower().startswith(word.lower())]
        if not fitting:
            fail(f"{word!r} is not a method: choose from {', '.join(METHODS)}.")
        chosen.update(fitting)
    return [name for name in METHODS if name in chosen]


if __name__ == "__main__":
    run_tool(main)
