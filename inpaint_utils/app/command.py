"""The command: `python -m inpaint_utils photo.jpg mask.png -o out.png` removes what the mask paints black."""

import argparse
import os
import sys
from pathlib import Path

from tqdm import tqdm

from .photo_files import fill_file  # isort: skip  (first: it sets a limit that OpenCV reads when it is loaded)
from ..data.images import PHOTO_EXTENSIONS
from ..data.masks import DIFFICULTIES
from ..data.photos import find_photos


def main(arguments=None):
    """Run the command.

    Returns the exit code: 0 done, 1 something failed (one sentence for it on stderr). Wrong usage ends in argparse's
    exit with 2.
    """
    parser = _build_parser()
    options = parser.parse_args(arguments)
    if (options.mask is None) == (options.make_mask is None):
        parser.error("give a mask or --make-mask, one of the two")
    if options.seed < 0:
        parser.error(f"--seed is {options.seed}, expected 0 or more")
    try:
        # Before Keras is loaded, which takes seconds: most mistakes are in the names.
        jobs, reasons = (_pair_folder if options.photo.is_dir() else _pair_file)(options)
        generator = _load_generator(options.generator) if jobs else None
    except (OSError, ValueError, ImportError) as error:
        print(error, file=sys.stderr)
        return 1
    count = len(jobs) + len(reasons)
    for i, job in enumerate(tqdm(jobs, unit="photo", disable=not options.photo.is_dir())):
        try:
            chosen = {"difficulty": options.make_mask, "detail": options.detail, "grow": options.grow}
            fill_file(generator, *job, **chosen, seed=[options.seed, i])
        except (OSError, ValueError, MemoryError) as error:
            reasons.append(str(error) or f"{job[0]} does not fit into the memory: make it smaller.")
    for reason in reasons:
        print(reason, file=sys.stderr)
    if options.photo.is_dir():
        print(f"{count - len(reasons)} of {count} photos were filled, into {options.output}.")
    return 1 if reasons else 0


def _build_parser():
    parser = argparse.ArgumentParser(
        prog="python -m inpaint_utils",
        description="Remove what a mask paints black from a photo, or from each photo of a folder.",
        epilog="Exit codes: 0 done, 1 something failed, 2 wrong usage.",
    )
    add = parser.add_argument
    add("photo", type=Path, help="a photo, or a folder of photos")
    add("mask", type=Path, nargs="?", help="white = keep, black = remove; a folder if PHOTO is one, paired by name")
    add("-o", "--output", type=Path, required=True, help="file to write, or folder for a .png of each photo")
    add("--edges", type=Path, help="sketch to guide the filling: white = edge, black = none, gray = unknown")
    add("--make-mask", choices=DIFFICULTIES, help="draw a random mask instead, to try")
    add("--detail", type=float, default=1, help="share of the photo's own fine detail, 0 to 1 (default 1)")
    add("--grow", type=int, default=0, help="pixels by which the holes are enlarged first (default 0)")
    add("--seed", type=int, default=0, help="another one gives another detail, and mask of --make-mask (default 0)")
    add("--generator", type=Path, help=".keras, .onnx or .tflite file (default: the one in models/)")
    return parser


def _load_generator(path):
    from .. import quiet  # noqa: F401  TensorFlow's messages are not the command's
    from ..inference.inpaint import load_generator

    return load_generator(path)


def _pair_file(options):
    """The one job, (photo, mask, edges, output), and no reason why others are left out."""
    inputs = (options.photo, options.mask, options.edges)
    for path in inputs:
        if path is not None and not path.is_file():
            raise FileNotFoundError(f"{path} is not a file: check the path, or give folders for all of them.")
        if path is not None and options.output.exists() and os.path.samefile(path, options.output):
            raise ValueError(f"{options.output} is an input, which is never overwritten: choose another -o.")
    if options.output.suffix.lower() not in PHOTO_EXTENSIONS:
        raise ValueError(f"{options.output} does not end in one of {', '.join(PHOTO_EXTENSIONS)}: choose another -o.")
    return [(*inputs, options.output)], []


def _pair_folder(options):
    """The jobs of a folder, and a sentence for each photo that is left out."""
    names = ("mask", "edges")
    for path in (options.mask, options.edges):
        if path is not None and not path.is_dir():
            raise ValueError(f"{path} is not a folder, but {options.photo} is: give folders for all of them.")
    inputs = [path for path in (options.photo, options.mask, options.edges) if path is not None]
    if any(options.output.resolve().is_relative_to(path.resolve()) for path in inputs):
        raise ValueError(f"{options.output} lies in an input folder: choose another -o.")
    photos, skipped = find_photos(options.photo)
    reasons = [f"{options.photo / entry['file']} was left out: {entry['reason']}." for entry in skipped]
    others = [_name_files(folder) for folder in (options.mask, options.edges)]
    jobs, seen = [], {}
    for photo in photos:
        stem = photo.relative_to(options.photo).with_suffix("")
        missing = [name for name, files in zip(names, others, strict=True) if files is not None and stem not in files]
        if missing:
            reasons.append(f"{photo} has no {missing[0]} of its name: add {stem}.png.")
        elif stem in seen:
            reasons.append(f"{photo} has the name of {seen[stem]}: rename one of them.")
        else:
            seen[stem] = photo
            paths = [None if files is None else files[stem] for files in others]
            jobs.append((photo, *paths, options.output / f"{stem}.png"))
    return jobs, reasons


def _name_files(folder):
    """Pictures of a folder by their path in it without its ending; None for no folder."""
    if folder is None:
        return None
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in PHOTO_EXTENSIONS]
    return {path.relative_to(folder).with_suffix(""): path for path in paths}
