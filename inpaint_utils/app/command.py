"""The command: `python -m inpaint_utils photo.jpg mask.png -o out.png` removes what the mask paints black."""

import argparse
import logging
import os
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from pathlib import Path

from tqdm import tqdm

from ..data.masks import DIFFICULTIES
from ..data.photos import find_photos
from ..data.pictures import OUTPUT_EXTENSIONS, PHOTO_EXTENSIONS
from .photo_files import fill_file

STOPPED = 130  # the exit code of what Ctrl+C ended, as shells count


def main(arguments=None):
    """Run the command.

    Returns the exit code: 0 done, 1 something failed (one sentence for it on stderr), 130 stopped by Ctrl+C. Wrong
    usage ends in argparse's exit with 2.
    """
    parser = _build_parser()
    options = parser.parse_args(arguments)
    if (options.mask is None) == (options.make_mask is None):
        parser.error("give a mask or --make-mask, one of the two")
    if options.invert and options.mask is None:
        parser.error("--invert is for a mask that is given, not for --make-mask")
    if not 0 <= options.detail <= 1:
        parser.error(f"--detail is {options.detail}, expected 0 to 1")
    for name in ("seed", "grow"):
        if (value := getattr(options, name)) < 0:
            parser.error(f"--{name} is {value}, expected 0 or more")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name that the terminal's encoding lacks must not end in a traceback
            stream.reconfigure(errors="backslashreplace")
    warnings.filterwarnings("ignore", module="PIL")  # what is wrong with a file is told in one sentence
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    filled, stopped = [], []

    def stop(*_):
        stopped.append(True)  # a library may swallow the exception, but not this
        raise KeyboardInterrupt

    in_main_thread = threading.current_thread() is threading.main_thread()  # elsewhere signals cannot be heard
    before = signal.signal(signal.SIGINT, stop) if in_main_thread else None
    try:
        return _run(options, filled, stopped)
    except KeyboardInterrupt:
        print(f"Stopped: {len(filled)} photos were filled; each file that was written is complete.", file=sys.stderr)
        return STOPPED
    finally:
        if in_main_thread:
            signal.signal(signal.SIGINT, before)


def _run(options, filled, stopped):
    """Fill what was asked for until `stopped` holds something, append each output to `filled`; return the exit code."""
    try:
        # Before Keras is loaded, which takes seconds: most mistakes are in the names.
        jobs, reasons = (_pair_folder if options.photo.is_dir() else _pair_file)(options)
        generator = open_generator(options.generator) if jobs else None
    except (OSError, ValueError, ImportError) as error:
        print(error, file=sys.stderr)
        return 1
    count, notes = len(jobs) + len(reasons), []
    for i, job in enumerate(tqdm(jobs, unit="photo", disable=None if options.photo.is_dir() else True)):
        if stopped:
            raise KeyboardInterrupt
        seed = [options.seed, i]
        try:
            chosen = {"difficulty": options.make_mask, "detail": options.detail, "grow": options.grow}
            notes += fill_file(generator, *job, **chosen, seed=seed, invert=options.invert)
            filled.append(job[-1])
        except (OSError, ValueError, MemoryError) as error:
            reasons.append(str(error) or f"{job[0]} does not fit into the memory: make it smaller.")
    for sentence in dict.fromkeys(notes + reasons):  # one mask for many photos says its sentence once
        print(sentence, file=sys.stderr)
    if options.photo.is_dir():
        print(f"{len(filled)} of {count} photos were filled, into {options.output}.")
    elif filled:
        print(f"{options.output} is written.")
    return 1 if reasons else 0


def run_tool(main):
    """Run a script's `main`, and exit with what it returns, or with 1 and one sentence for what the user can mend.

    That is a file that cannot be read or written, a missing library, and a ValueError of this project. The errors of
    a library keep their traceback.
    """
    try:
        sys.exit(main())
    except (OSError, ImportError, ValueError) as error:
        raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename).parent
        if isinstance(error, ValueError) and not {"inpaint_utils", "tools"} & {raised_in.name, raised_in.parent.name}:
            raise
        sys.exit(str(error))
    except subprocess.CalledProcessError as error:  # which has said why
        sys.exit(error.returncode)


def _build_parser():
    parser = argparse.ArgumentParser(
        prog="python -m inpaint_utils",
        description="Remove what a mask paints black from a photo, or from each photo of a folder.",
        epilog="A mask may have gray (split at 128), the labels 0 and 1, or be a transparent layer: what is painted on "
        "it is removed. Exit codes: 0 done, 1 something failed, 2 wrong usage, 130 stopped by Ctrl+C.",
    )
    add = parser.add_argument
    add("photo", type=Path, help="a photo, or a folder of photos")
    add(
        "mask",
        type=Path,
        nargs="?",
        help="white = keep, black = remove; for a folder of photos one mask for all, or a folder paired by name",
    )
    add("-o", "--output", type=Path, required=True, help="file to write, or folder for a .png of each photo")
    add("--invert", action="store_true", help="read the mask the other way round: white = remove")
    add("--edges", type=Path, help="sketch to guide the filling: white = edge, black = none, gray = unknown")
    add("--make-mask", choices=DIFFICULTIES, help="draw a random mask instead, to try")
    add("--detail", type=float, default=1, help="share of the photo's own fine detail, 0 to 1 (default 1)")
    add("--grow", type=int, default=0, help="pixels by which the holes are enlarged first (default 0)")
    add("--seed", type=int, default=0, help="another one gives another detail, and mask of --make-mask (default 0)")
    add("--generator", type=Path, help=".keras, .onnx or .tflite file (default: the one that ships)")
    return parser


def open_generator(path):
    """The generator of a file, or the shipped one for None; Keras is loaded only now."""
    from .. import quiet  # noqa: F401  TensorFlow's messages are not the command's
    from ..inference.inpaint import load_generator

    return load_generator(path)


def _pair_file(options):
    """The one job, (photo, mask, edges, output), and no reason why others are left out."""
    inputs = (options.photo, options.mask, options.edges)
    for path in inputs:
        if path is not None and not path.is_file():
            raise FileNotFoundError(f"{path} is not a file: check the path, or give a folder of photos.")
        _check_output(path, options.output)
    if options.output.suffix.lower() not in OUTPUT_EXTENSIONS:
        raise ValueError(f"{options.output} does not end in one of {', '.join(OUTPUT_EXTENSIONS)}: choose another -o.")
    return [(*inputs, options.output)], []


def _pair_folder(options):
    """The jobs of a folder, and a sentence for each photo that is left out."""
    for path in (options.mask, options.edges):
        if path is not None and not path.exists():
            raise FileNotFoundError(f"{path} does not exist: check the path.")
    inputs = [path for path in (options.photo, options.mask, options.edges) if path is not None and path.is_dir()]
    if any(options.output.resolve().is_relative_to(path.resolve()) for path in inputs):
        raise ValueError(f"{options.output} lies in an input folder: choose another -o.")
    if options.output.is_file():
        raise ValueError(f"{options.output} is a file, expected a folder for the filled photos: choose another -o.")
    photos, skipped = find_photos(options.photo)
    left_out = [entry for entry in skipped if not entry["reason"].startswith("hidden")]
    reasons = [f"{options.photo / entry['file']} was left out: {entry['reason']}." for entry in left_out]
    others = {"mask": _name_files(options.mask), "edges": _name_files(options.edges)}
    jobs, seen = [], {}
    for photo in photos:
        stem = photo.relative_to(options.photo).with_suffix("")
        output = options.output / f"{stem}.png"
        try:
            paths = [_choose(name, files, stem, photo) for name, files in others.items()]
            for path in paths:
                _check_output(path, output)
            if stem in seen:
                raise ValueError(f"{photo} has the name of {seen[stem]}: rename one of them.")
        except ValueError as error:
            reasons.append(str(error))
            continue
        seen[stem] = photo
        jobs.append((photo, *paths, output))
    return jobs, reasons


def _check_output(path, output):
    if path is not None and output.exists() and os.path.samefile(path, output):
        raise ValueError(f"{output} is an input, which is never overwritten: choose another -o.")


def _choose(name, files, stem, photo):
    """The mask or sketch of a photo, out of what `_name_files` returned."""
    if not isinstance(files, dict):
        return files
    if stem not in files:
        raise ValueError(f"{photo} has no {name} of its name: add {stem}.png.")
    if len(files[stem]) > 1:
        raise ValueError(f"{photo} has more than one {name}, {' and '.join(map(str, files[stem]))}: keep one of them.")
    return files[stem][0]


def _name_files(path):
    """Pictures of a folder by their path in it without its ending; one file, which is for all photos, as it is."""
    if path is None or not path.is_dir():
        return path
    named = {}
    for file in sorted(path.rglob("*")):
        if file.suffix.lower() in PHOTO_EXTENSIONS and not file.name.startswith("."):
            named.setdefault(file.relative_to(path).with_suffix(""), []).append(file)
    return named
