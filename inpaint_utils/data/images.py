"""Images in and out: a photo file read as float RGB, or written."""

import os
from pathlib import Path

import cv2
import numpy as np

from .pictures import OUTPUT_EXTENSIONS, Picture, read_picture, write_picture


def load_image(path, size=None):
    """Read a photo as RGB.

    EXIF rotation is applied, gray becomes three equal channels, alpha is dropped and 16-bit files keep their precision.

    Args:
        path: a JPEG, PNG, BMP, TIFF, WebP or GIF file; AVIF and JPEG 2000 where Pillow can read them,
            HEIC where pillow-heif is installed.
        size: None, or pixels: the photo is centre-cropped to a square and resized to (size, size, 3).

    Returns: float32 RGB in [0, 1], (H, W, 3).
    Raises: FileNotFoundError or ValueError for whatever is not a complete photo.
    """
    if size is not None:
        check_size(size)
    return crop_and_resize(read_photo(path).rgb, size)


def read_photo(path):
    """Read a photo as a `Picture`, with its alpha channel; errors begin with the path."""
    try:
        return read_picture(Path(path))
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"{path} {error}") from None


def save_image(path, image):
    """Write an image; the file name's ending chooses the format.

    The folder is created; the file appears complete or not at all.

    Args:
        path: file name. image: (H, W, 3) RGB as float in [0, 1] or as uint8.

    Raises: ValueError for a wrong image or ending, OSError where it cannot write.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ValueError(f"The path is of type {type(path).__name__}; call save_image(path, image).")
    path, image = Path(path), np.asarray(image)
    if path.suffix.lower() not in OUTPUT_EXTENSIONS:
        raise ValueError(f"{path.name} ends in {path.suffix!r}; expected one of {', '.join(OUTPUT_EXTENSIONS)}.")
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"The image has shape {image.shape}; expected (height, width, 3) in RGB order.")
    if np.issubdtype(image.dtype, np.floating):
        low, high = float(image.min()), float(image.max())
        if not (low >= -1e-5 and high <= 1 + 1e-5):  # this way round NaN is refused, too
            raise ValueError(f"The image's values span {low:g} to {high:g}; scale them to [0, 1], without NaN, first.")
        image = np.rint(np.clip(image, 0, 1).astype(np.float32) * 255).astype(np.uint8)
    elif image.dtype != np.uint8:
        raise ValueError(f"The image is {image.dtype}; expected float values in [0, 1] or uint8.")
    write_picture(path, Picture(image))


def check_size(size):
    """Raise ValueError if `size` is not a whole number of pixels of at least 1."""
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
        raise ValueError(f"size is {size!r}; expected a whole number of pixels of at least 1.")


def read_pixels(path):
    """Decode a file to uint8 or uint16 RGB; errors hold the reason only, callers put the name before it."""
    return read_picture(path).rgb


def crop_and_resize(pixels, size):
    """uint8 or uint16 (H, W, 3) to float32 in [0, 1]; with `size` the centre square, resized to (size, size, 3)."""
    if size is not None:
        height, width = pixels.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        pixels = pixels[top : top + side, left : left + side]
        if side != size:
            # Before the change to float: that clips cubic overshoot and takes a quarter of the memory.
            method = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
            pixels = cv2.resize(pixels, (size, size), interpolation=method)
    return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
