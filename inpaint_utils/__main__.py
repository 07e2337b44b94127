"""The command: `python -m inpaint_utils photo.jpg mask.png -o out.png` removes what the mask paints black."""

import os

# OpenCV reads this once, when it is loaded: a picture of more pixels is refused before its memory is asked for.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", "100000000")

import argparse  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from tqdm import tqdm  # noqa: E402

from .files import write_atomically  # noqa: E402
from .images import PHOTO_EXTENSIONS, load_image  # noqa: E402
from .masks import DIFFICULTIES, create_mask, load_mask  # noqa: E402
from .photos import find_photos  # noqa: E402

KEEPS_16_BITS = (".png", ".tif", ".tiff")
KEEPS_ALPHA = (".png", ".tif", ".tiff", ".webp")


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
            fill_file(generator, *job, difficulty=options.make_mask, seed=[options.seed, i])
        except (OSError, ValueError, MemoryError) as error:
            reasons.append(str(error) or f"{job[0]} does not fit into the memory: make it smaller.")
    for reason in reasons:
        print(reason, file=sys.stderr)
    if options.photo.is_dir():
        print(f"{count - len(reasons)} of {count} photos were filled, into {options.output}.")
    return 1 if reasons else 0


def fill_file(generator, photo, mask, edges, output, difficulty=None, seed=0):
    """Fill the holes of one photo file and write it: upright, with its alpha channel, in its 8 or 16 bits.

    Args:
        generator: from `load_generator`. photo, output: paths; only a format without loss keeps the kept pixels' bits.
        mask: path, white = keep, black = remove; None to draw one of `difficulty` with `seed`.
        edges: path of a sketch (see `load_sketch`), or None.

    Raises: OSError or ValueError, one sentence.
    """
    from .inference import inpaint  # here, so that mistakes are found before Keras is loaded

    pixels = read_pixels(photo)
    _check_format(output, pixels)
    highest = np.float32(np.iinfo(pixels.dtype).max)
    image = pixels[..., :3] / highest
    hole_map = create_mask(image.shape, seed=seed, difficulty=difficulty) if mask is None else load_mask(mask)
    try:
        filled = inpaint(generator, image, hole_map, None if edges is None else load_sketch(edges))
    except ValueError as error:
        raise ValueError(f"{photo}: {error}") from None
    hole = hole_map[..., 0] == 0
    pixels[hole, :3] = np.rint(filled[hole] * highest).astype(pixels.dtype)
    order = cv2.COLOR_RGBA2BGRA if pixels.shape[2] == 4 else cv2.COLOR_RGB2BGR
    write_atomically(output, cv2.imencode(output.suffix.lower(), cv2.cvtColor(pixels, order))[1].tobytes())


def read_pixels(path):
    """Read a photo as it is, but upright: uint8 or uint16 RGB, or RGBA where it has an alpha channel, (H, W, 3 or 4).

    Raises FileNotFoundError or ValueError as `load_image` does, also for more than 100 megapixels.
    """
    path = Path(path)
    try:
        image = load_image(path)
    except ValueError:
        _check_pixel_count(path)
        raise
    raw = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)  # alpha, but not turned
    image *= np.float32(np.iinfo(raw.dtype).max)  # in place: 50 megapixels are 600 MB
    pixels = np.rint(image, out=image).astype(raw.dtype)
    if raw.ndim != 3 or raw.shape[2] != 4:
        return pixels
    for turns in range(4):  # OpenCV turned the colours as the file says: find out how
        for turned in (np.rot90(raw, turns), np.rot90(raw, turns)[:, ::-1]):
            if np.array_equal(turned[..., 2::-1], pixels):
                return np.concatenate([pixels, turned[..., 3:]], axis=-1)
    raise ValueError(f"{path} has an alpha channel that does not fit its colours: save it as PNG again.")


def load_sketch(path):
    """Read an edge map from a picture: white = edge, black = no edge, gray = unknown; returns float32 (H, W, 1)."""
    gray = load_image(path).mean(axis=-1, keepdims=True)
    return np.where(gray > 0.75, 1, np.where(gray < 0.25, 0, 0.5)).astype(np.float32)


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
    add("--seed", type=int, default=0, help="seed of --make-mask (default 0)")
    add("--generator", type=Path, help=".keras, .onnx or .tflite file (default: the one in models/)")
    return parser


def _load_generator(path):
    from . import quiet  # noqa: F401  TensorFlow's messages are not the command's
    from .inference import load_generator

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


def _check_format(output, pixels):
    if pixels.dtype == np.uint16 and output.suffix.lower() not in KEEPS_16_BITS:
        raise ValueError(f"{output} cannot hold the photo's 16 bits: choose {', '.join(KEEPS_16_BITS)}.")
    if pixels.shape[2] == 4 and output.suffix.lower() not in KEEPS_ALPHA:
        raise ValueError(f"{output} cannot hold the photo's alpha channel: choose {', '.join(KEEPS_ALPHA)}.")


def _check_pixel_count(path):
    try:
        cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        if "MAX_IMAGE_PIXELS" in str(error) or "MAX_IMAGE" in str(error):
            limit = int(os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"]) // 1_000_000
            raise ValueError(f"{path} has more than {limit} megapixels: make it smaller.") from None


if __name__ == "__main__":
    sys.exit(main())
