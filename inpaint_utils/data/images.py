"""Images in and out: one file read as RGB, or written."""

import re
from pathlib import Path

import cv2
import numpy as np

from ..files import write_atomically

PHOTO_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")  # without stuffed bytes, restarts and padding


def load_image(path, size=None):
    """Read a photo as float32 RGB in [0, 1], shape (H, W, 3).

    EXIF rotation is applied (for WebP only by OpenCV newer than 4.11), gray becomes three equal channels,
    alpha is dropped and 16-bit files keep their precision. With `size` (pixels) the photo is centre-cropped
    to a square and resized to (size, size, 3). Raises FileNotFoundError or ValueError for whatever is not a
    complete photo.
    """
    if size is not None:
        check_size(size)
    try:
        pixels = read_pixels(Path(path))
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"{path} {error}") from None
    return crop_and_resize(pixels, size)


def save_image(path, image):
    """Write `image`, (H, W, 3) RGB as float in [0, 1] or as uint8; the file name's ending chooses the format.

    The folder is created; the file appears complete or not at all. Raises ValueError for a wrong image or
    ending and OSError where it cannot write.
    """
    path, image = Path(path), np.asarray(image)
    if path.suffix.lower() not in PHOTO_EXTENSIONS:
        raise ValueError(f"{path.name} ends in {path.suffix!r}; expected one of {', '.join(PHOTO_EXTENSIONS)}.")
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"The image has shape {image.shape}; expected (height, width, 3) in RGB order.")
    if np.issubdtype(image.dtype, np.floating):
        low, high = float(image.min()), float(image.max())
        if not (low >= -1e-5 and high <= 1 + 1e-5):  # this way round NaN is refused, too
            raise ValueError(f"The image's values span {low:g} to {high:g}; scale them to [0, 1], without NaN, first.")
        image = np.rint(np.clip(image, 0, 1).astype(np.float32) * 255).astype(np.uint8)
    elif image.dtype != np.uint8:
        raise ValueError(f"The image is {image.dtype}; expected float values in [0, 1] or uint8.")
    try:
        _, data = cv2.imencode(path.suffix.lower(), np.ascontiguousarray(image[..., ::-1]))
    except cv2.error:
        raise ValueError(f"An image of shape {image.shape} cannot be written as {path.suffix}; choose .png.") from None
    try:
        write_atomically(path, data.tobytes())
    except OSError as error:
        raise OSError(f"{path} cannot be written ({error.strerror}); choose another place for it.") from error


def check_size(size):
    """Raise ValueError if `size` is not a whole number of pixels of at least 1."""
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
        raise ValueError(f"size is {size!r}; expected a whole number of pixels of at least 1.")


def read_pixels(path):
    """Decode a file to uint8 or uint16 RGB; errors hold the reason only, callers put the name before it."""
    if not path.exists():
        raise FileNotFoundError("does not exist; check the path.")
    if path.is_dir():
        raise ValueError("is a folder, not a photo; list its photos with find_photos.")
    try:
        data = path.read_bytes()  # cv2.imread fails on non-ASCII names on Windows
    except OSError as error:
        raise ValueError(f"cannot be opened ({error.strerror}); check its permissions.") from None
    if not data:
        raise ValueError("is an empty file; copy or download it again.")
    if data.startswith(b"\xff\xd8") and not _is_complete_jpeg(data):
        raise ValueError("is a truncated or damaged JPEG; copy or download it again.")
    try:
        # These two flags together give three channels and EXIF rotation without cutting 16 bits to 8.
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise ValueError("is not a complete picture that OpenCV can read; expected JPEG, PNG, BMP, TIFF or WebP.")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"holds {pixels.dtype} values; save it with 8 or 16 bits a channel.")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


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


def _is_complete_jpeg(data):
    """Whether the end marker follows the picture data; OpenCV fills what is missing with gray and only warns.

    Walks from segment to segment because a thumbnail inside one has an end marker of its own, and cameras
    append anything at all after the true one.
    """
    position = 2
    while match := _JPEG_MARKER.search(data, position):
        if match[0] == b"\xff\xd9":
            return True
        position = match.end() + int.from_bytes(data[match.end() : match.end() + 2], "big")
    return False
