"""Fill the holes of one photo file: upright, with its alpha channel, in its 8 or 16 bits."""

import os

# OpenCV reads this once, when it is loaded: a picture of more pixels is refused before its memory is asked for.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", "100000000")

from pathlib import Path  # noqa: E402

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from ..data.images import load_image  # noqa: E402
from ..data.masks import check_mask, create_mask, load_mask  # noqa: E402
from ..files import write_atomically  # noqa: E402

KEEPS_16_BITS = (".png", ".tif", ".tiff")
KEEPS_ALPHA = (".png", ".tif", ".tiff", ".webp")


def fill_file(generator, photo, mask, edges, output, difficulty=None, seed=0, detail=1.0, grow=0):
    """Fill the holes of one photo file and write it: upright, with its alpha channel, in its 8 or 16 bits.

    Args:
        generator: from `load_generator`. photo, output: paths; only a format without loss keeps the kept pixels' bits.
        mask: path, white = keep, black = remove; None to draw one of `difficulty` with `seed`.
        edges: path of a sketch (see `load_sketch`), or None.
        detail, grow: as in `inpaint`, which gets the seed, too.

    Raises: OSError or ValueError, one sentence.
    """
    from ..inference.inpaint import grow_holes, inpaint  # here, so that mistakes are found before Keras is loaded

    pixels = read_pixels(photo)
    _check_format(output, pixels)
    highest = np.float32(np.iinfo(pixels.dtype).max)
    image = pixels[..., :3] / highest
    hole_map = create_mask(image.shape, seed=seed, difficulty=difficulty) if mask is None else load_mask(mask)
    try:
        hole_map = grow_holes(check_mask(hole_map, image.shape), grow)
        sketch = None if edges is None else load_sketch(edges)
        filled = inpaint(generator, image, hole_map, sketch, detail=detail, seed=seed)
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
