"""Picture files with all that belongs to them: upright pixels with alpha, in 8 or 16 bits, colour profile, camera data.

Pillow reads and writes what has 8 bits a channel; OpenCV reads the pixels of 16-bit PNG and TIFF files, which Pillow
would cut to 8. Turning, colour profile and camera data are Pillow's for both.
"""

import contextlib
import io
import os
import re
import struct
import sys
import tempfile
import threading
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, features

from ..files import write_atomically

try:
    import pillow_heif

    pillow_heif.register_heif_opener()
    READS_HEIC = True
except ImportError:
    READS_HEIC = False

OUTPUT_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
# AVIF and JPEG 2000 where this Pillow was built with them, HEIC where pillow-heif is installed.
PHOTO_EXTENSIONS = (
    *OUTPUT_EXTENSIONS,
    *(".jfif", ".gif"),
    *((".avif",) if features.check("avif") else ()),
    *((".jp2",) if features.check("jpg_2000") else ()),
    *((".heic", ".heif") if READS_HEIC else ()),
)
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "AVIF", "JPEG2000", *(("HEIF",) if READS_HEIC else ()))
NO_HEIC = "HEIC, which needs pillow-heif; run pip install pillow-heif, or save it as JPEG or PNG"
MAX_MEGAPIXELS = float(os.environ.get("INPAINT_MAX_MEGAPIXELS", 100))
Image.MAX_IMAGE_PIXELS = int(MAX_MEGAPIXELS * 1e6)  # Pillow itself refuses twice that

KEEPS_16_BITS = (".png", ".tif", ".tiff")
KEEPS_ALPHA = (".png", ".tif", ".tiff", ".webp")

# What says something about the photo, not about how this file stores it. A thumbnail, a maker's note (it may hold a
# preview) and the size would tell of the photo before it was filled.
_EXIF_KEPT = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x013C, 0x8298, *range(0x9C9B, 0x9CA0))
_CAMERA, _GPS = 0x8769, 0x8825
_CAMERA_LEFT_OUT = (0x927C, 0xA002, 0xA003, 0xA005)
_ORIENTATION, _RESOLUTION, _UNIT = 0x0112, (0x011A, 0x011B), 0x0128
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_stderr_lock = threading.Lock()


@dataclass(eq=False)
class Picture:
    """A picture file: upright pixels, and what is carried over to another file.

    Attributes:
        pixels: uint8 or uint16 (H, W, C), with C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA.
        icc_profile: bytes of the colour profile, or None.
        exif: bytes of the camera data without the turn, the thumbnail and the maker's note, or None.
        dpi: (horizontal, vertical) dots an inch, or None.
        turned: whether the file asked for a turn that the pixels have had.
        notes: what the reader of the file should know, each a sentence's end ("is CMYK, …").
    """

    pixels: np.ndarray
    icc_profile: bytes | None = None
    exif: bytes | None = None
    dpi: tuple | None = None
    turned: bool = False
    notes: list = field(default_factory=list)

    @property
    def alpha(self):
        """The alpha channel, (H, W), or None."""
        return self.pixels[..., -1] if self.pixels.shape[2] in (2, 4) else None

    @property
    def rgb(self):
        """The colours, (H, W, 3) of the file's own number type; gray as three equal channels."""
        colours = self.pixels[..., : 1 if self.pixels.shape[2] < 3 else 3]
        return np.repeat(colours, 3, axis=2) if colours.shape[2] == 1 else colours


def write_picture(path, picture):
    """Write a picture with its profile, camera data and resolution; the ending of `path` chooses the format.

    Raises: ValueError if the format cannot hold it, OSError where it cannot write.
    """
    path = Path(path)
    try:
        data = _encode(picture, path.suffix.lower())
    except (ValueError, OSError, struct.error, cv2.error):
        shape = picture.pixels.shape
        raise ValueError(f"An image of shape {shape} cannot be written as {path.suffix}; choose .png.") from None
    try:
        write_atomically(path, data)
    except OSError as error:
        raise OSError(f"{path} cannot be written ({error.strerror}); choose another place for it.") from error


def read_picture(path):
    """Read a file as a `Picture`.

    Raises: FileNotFoundError or ValueError with the reason only, such as "is an empty file; …": callers put the name
        before it.
    """
    if not path.exists():
        raise FileNotFoundError("does not exist; check the path.")
    if path.is_dir():
        raise ValueError("is a folder, not a photo; list its photos with find_photos.")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be opened ({error.strerror}); check its permissions.") from None
    if not data:
        raise ValueError("is an empty file; copy or download it again.")
    image = _open(data)
    megapixels = image.width * image.height / 1e6
    if megapixels > MAX_MEGAPIXELS:
        raise ValueError(_name_limit())
    try:
        bits, frames = _count_bits(data, image), getattr(image, "n_frames", 1)
    except Exception:  # a damaged file raises whatever its reader stumbles on
        raise ValueError(_name_damage(image.format)) from None
    if bits > 8 and not (bits == 16 and image.format in ("PNG", "TIFF")):
        raise ValueError(f"holds {bits} bits a channel as {image.format}; save it with 8, or with 16 as PNG or TIFF.")
    notes = []
    if image.format != "MPO" and frames > 1:
        notes.append(f"holds {frames} pictures; only the first was used.")
    orientation = find_orientation(image)
    kind, transparency = image.mode, "transparency" in image.info
    upright = _decode(image, data)
    profile = image.info.get("icc_profile")
    if bits == 16:
        if kind == "CMYK" or transparency:
            raise ValueError("is CMYK or has one transparent colour, in 16 bits; save it as RGB or RGBA.")
        pixels = _decode_16_bits(data, image, upright, orientation if image.format == "PNG" else 1)
    elif kind in _CHANNELS or transparency:
        if kind == "CMYK":
            notes.append("is CMYK; its colours were turned into RGB without its colour profile.")
            profile = None
        elif kind == "LAB":
            raise ValueError("holds Lab colours; save it as RGB.")
        pixels = _to_array(upright, transparency)
    else:
        raise ValueError(f"holds values of kind {kind}; save it as gray or RGB with 8 or 16 bits a channel.")
    # Pillow's upright copy of a TIFF has lost its camera data.
    return Picture(pixels, profile, _keep_exif(image), _find_dpi(image, orientation), orientation > 1, notes)


# Pillow's modes that are read, and the modes that they become.
_CHANNELS = {
    **{"1": "L", "L": "L", "P": "RGB", "RGB": "RGB", "RGBX": "RGB", "YCbCr": "RGB", "CMYK": "RGB", "LAB": "RGB"},
    **{"LA": "LA", "La": "LA", "PA": "RGBA", "RGBA": "RGBA", "RGBa": "RGBA"},
}


def _open(data):
    """The opened, not yet decoded Pillow image."""
    if data[4:8] == b"ftyp" and b"avif" in data[:64]:
        if not features.check("avif"):
            raise ValueError("is an AVIF photo, which this Pillow cannot read; save it as JPEG or PNG.")
    elif data[4:8] == b"ftyp" and data[8:12] in _HEIC and not READS_HEIC:
        raise ValueError(f"is {NO_HEIC}.")
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise ValueError(_name_limit()) from None
    except MemoryError:
        raise
    except Exception:  # a damaged file raises whatever its reader stumbles on
        kind = "JPEG" if data.startswith(b"\xff\xd8") else "TIFF" if data[:4] in (b"II*\0", b"MM\0*") else ""
        raise ValueError(_name_damage(kind)) from None


def _name_limit():
    return f"has more than {MAX_MEGAPIXELS:g} megapixels: make it smaller, or set INPAINT_MAX_MEGAPIXELS to allow more."


def _name_damage(kind):
    if kind in ("JPEG", "MPO"):
        return "is a truncated or damaged JPEG; copy or download it again."
    if kind == "TIFF":
        return "is a damaged TIFF, or one of values that cannot be read, such as float; save it as PNG."
    return "is not a complete picture that can be read; expected JPEG, PNG, BMP, TIFF, WebP or GIF."


def _count_bits(data, image):
    """Bits a channel, which Pillow's mode does not always tell."""
    if image.format == "PNG":
        return data[24]
    if image.format == "TIFF":
        return max(image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
    if image.format == "JPEG2000" and (place := data.find(b"ihdr")) > 0:
        return (data[place + 14] & 0x7F) + 1
    if image.format == "AVIF" and (place := data.find(b"av1C")) > 0:
        return 10 if data[place + 6] & 0x40 else 8
    return image.info.get("bit_depth", 8) if image.format == "HEIF" else 8


def find_orientation(image):
    """1 to 8 of a Pillow image's camera data; 1 for none, and for anything else."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # camera data that cannot be read
        return 1
    return orientation if orientation in range(1, 9) else 1


def _decode(image, data):
    """Decode with Pillow and turn upright; ValueError for a damaged file."""
    try:
        with _watch_stderr() as complaints:
            image.load()
            if image.format in ("JPEG", "MPO"):
                # Pillow passes over what libjpeg complains about; OpenCV lets it be heard. An eighth is enough to hear.
                cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
        if any(_is_damage(line) for line in complaints) or image.format == "PNG" and not _has_whole_chunks(data):
            raise ValueError("Its data is not what was written.")
    except MemoryError:
        raise
    except Exception:
        raise ValueError(_name_damage(image.format)) from None
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # camera data that cannot be read: it says nothing about a turn, then
        return image


def _is_damage(line):
    """Whether libjpeg's line tells of lost picture data; a few bytes of padding at the end are common and harmless."""
    padding = re.search(r"(\d+) extraneous bytes before marker 0xd9", line)
    return "Corrupt JPEG data" in line and not (padding and int(padding[1]) <= 16)


def _has_whole_chunks(data):
    """Whether the checksums of a PNG's picture data are right; Pillow does not look at them."""
    place = 8
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        end = place + 8 + length
        name = data[place + 4 : place + 8]
        if name == b"IDAT" and zlib.crc32(data[place + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return False
        place = end + 4
    return True


def _decode_16_bits(data, image, upright, orientation):
    """uint16 pixels of a PNG or TIFF by OpenCV, checked against the upper 8 bits that Pillow read."""
    with _watch_stderr():
        try:
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error:
            pixels = None
    if pixels is not None and pixels.dtype == np.uint16:
        if pixels.ndim == 2:
            pixels = pixels[..., np.newaxis]
        elif pixels.shape[2] > 2:
            pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
        pixels = _turn(pixels, orientation)  # OpenCV turns a TIFF itself
        white_is_zero = image.format == "TIFF" and image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0
        seen = np.asarray(upright)
        seen = seen if seen.ndim == 3 else seen[..., np.newaxis]
        if np.array_equal(seen, pixels if seen.dtype.itemsize > 1 else pixels >> 8):
            # Of 8 bits Pillow turns "white is zero" round, of 16 neither it nor OpenCV does.
            return 65535 - pixels if white_is_zero else np.ascontiguousarray(pixels)
    raise ValueError("has 16 bits a channel in a form that OpenCV cannot read; save it as 16-bit PNG.")


def _turn(pixels, orientation):
    """Turn pixels upright as the EXIF standard says."""
    pixels = pixels.swapaxes(0, 1) if orientation > 4 else pixels
    return pixels[:: -1 if orientation in (3, 4, 7, 8) else 1, :: -1 if orientation in (2, 3, 6, 7) else 1]


def _to_array(image, transparency):
    """uint8 (H, W, C) of a Pillow image."""
    mode = _CHANNELS.get(image.mode, "RGBA")
    if transparency:
        mode = "LA" if mode == "L" else "RGBA"
    pixels = np.array(image if image.mode == mode else image.convert(mode))
    return pixels if pixels.ndim == 3 else pixels[..., np.newaxis]


def _keep_exif(image):
    """Bytes of the camera data that are still true of the upright picture, or None."""
    try:
        found, kept = image.getexif(), Image.Exif()
        for tag in _EXIF_KEPT:
            if tag in found:
                kept[tag] = found[tag]
        for place, left_out in ((_CAMERA, _CAMERA_LEFT_OUT), (_GPS, ())):
            values = {tag: value for tag, value in found.get_ifd(place).items() if tag not in left_out}
            if values:
                kept[place] = values
        return kept.tobytes() if len(kept) else None
    except Exception:  # camera data that cannot be read, or not written again
        return None


def _find_dpi(image, orientation):
    try:
        dpi = image.info.get("dpi")
        if dpi is None and image.format == "WEBP":  # which has no other place for it
            found = image.getexif()
            dpi = [found[tag] * (2.54 if found.get(_UNIT) == 3 else 1) for tag in _RESOLUTION]
        dpi = tuple(float(value) for value in dpi)
    except Exception:  # camera data that cannot be read
        return None
    if len(dpi) != 2 or not all(1 <= value <= 1e5 for value in dpi):
        return None
    return dpi[::-1] if orientation > 4 else dpi


def _encode(picture, ending):
    """Bytes of the file. JPEG has quality 95, the other formats no loss."""
    pixels = picture.pixels
    if ending in (".tif", ".tiff"):
        return _encode_tiff(picture)
    if pixels.dtype == np.uint16:
        return _encode_16_bit_png(picture)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    exif = picture.exif
    if ending == ".webp" and picture.dpi:  # the format has no other place for it
        exif = Image.Exif()
        exif.load(picture.exif or b"")
        exif[_RESOLUTION[0]], exif[_RESOLUTION[1]], exif[_UNIT] = *picture.dpi, 2
    channels = 3 if ending == ".webp" else pixels.shape[2]
    carried = {"icc_profile": _find_profile(picture, channels), "exif": exif, "dpi": picture.dpi}
    settings = {
        ".jpg": {"format": "JPEG", "quality": 95},
        ".jpeg": {"format": "JPEG", "quality": 95},
        ".png": {"format": "PNG", "compress_level": 1},
        ".webp": {"format": "WEBP", "lossless": True, "exact": True},  # exact: colours under alpha 0, too
        ".bmp": {"format": "BMP"},
    }[ending]
    file = io.BytesIO()
    image.save(file, **settings, **{name: value for name, value in carried.items() if value})
    return file.getvalue()


def _find_profile(picture, channels):
    """The colour profile if it is for as many channels: one for gray says nothing about RGB, nor the reverse."""
    profile = picture.icc_profile
    if profile and profile[16:20] in (b"GRAY", b"RGB ") and (profile[16:20] == b"GRAY") != (channels < 3):
        return None
    return profile


def _encode_16_bit_png(picture):
    """OpenCV writes the pixels; what belongs to them follows the header as chunks of their own."""
    pixels = picture.pixels
    if pixels.shape[2] == 2:  # OpenCV knows no gray with alpha
        pixels = np.concatenate([picture.rgb, pixels[..., 1:]], axis=2)
    if pixels.shape[2] > 2:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    data = cv2.imencode(".png", pixels)[1].tobytes()
    chunks = []
    if profile := _find_profile(picture, 1 if pixels.ndim < 3 else pixels.shape[2]):
        chunks.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile)))
    if picture.dpi:
        chunks.append((b"pHYs", struct.pack(">IIB", *(round(value / 0.0254) for value in picture.dpi), 1)))
    if picture.exif:
        chunks.append((b"eXIf", picture.exif.removeprefix(b"Exif\0\0")))
    packed = [
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    ]
    return data[:33] + b"".join(packed) + data[33:]  # 33 bytes: signature and IHDR


def _encode_tiff(picture):
    """Deflated strips after Pillow's own directory: Pillow has no mode for 16-bit pixels, and its compressed files no
    place for camera data.
    """
    pixels = picture.pixels.astype("<u2") if picture.pixels.dtype == np.uint16 else picture.pixels.copy()
    height, width, channels = pixels.shape
    pixels[:, 1:] -= pixels[:, :-1].copy()  # what tag 317 says: differences are smaller numbers
    rows = max(1, 2**20 // (pixels.nbytes // height))
    strips = [zlib.compress(pixels[top : top + rows].tobytes(), 1) for top in range(0, height, rows)]
    tags = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
    exif = Image.Exif()
    exif.load(picture.exif or b"")
    for tag, value in exif.items():
        tags[tag] = exif.get_ifd(tag) if tag in (_CAMERA, _GPS) else value
    tags[256], tags[257], tags[258] = width, height, (8 * pixels.itemsize,) * channels
    tags[259], tags[317] = 8, 2  # deflate, of differences
    tags[262], tags[277], tags[278] = (1 if channels < 3 else 2), channels, rows
    tags[273] = tuple(int(place) for place in np.cumsum([0, *map(len, strips[:-1])]))
    tags[279] = tuple(map(len, strips))
    if channels in (2, 4):
        tags[338] = 2  # alpha that the colours are not multiplied with
    if picture.dpi:
        tags[282], tags[283], tags[296] = *picture.dpi, 2
    if profile := _find_profile(picture, channels):
        tags.tagtype[34675], tags[34675] = 7, profile
    file = io.BytesIO()
    tags.save(file)
    file.write(b"".join(strips))
    return file.getvalue()


@contextlib.contextmanager
def _watch_stderr():
    """Collect what C libraries write to file descriptor 2 while a picture is decoded; give back what is not theirs.

    Yields: a list that holds the lines when the block is left.
    """
    lines = []
    with _stderr_lock, contextlib.ExitStack() as opened:
        try:
            file = opened.enter_context(tempfile.TemporaryFile())
            kept = os.dup(2)
        except OSError:  # no place for a temporary file, or a process without a stderr
            yield lines
            return
        with contextlib.suppress(AttributeError, ValueError, OSError):
            sys.stderr.flush()
        os.dup2(file.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            written = file.read().decode(errors="replace")
            lines.extend(written.splitlines())
            others = [line for line in written.splitlines(keepends=True) if not _LIBRARIES.search(line)]
            if others:
                with contextlib.suppress(OSError):
                    os.write(2, "".join(others).encode(errors="replace"))


# How the lines of libjpeg, libpng, libtiff and OpenCV begin; libtiff's name the function, or a file that is none.
_LIBRARIES = re.compile(
    r"^(Corrupt|Premature|Invalid SOS|Unsupported marker|Inconsistent|Warning|lib(jpeg|png|tiff)|tempfile"
    r"|\[ ?(WARN|ERROR)|\w*(TIFF|Decode|LZW|Fax|Zip|JPEG|OpenCV|imgcodecs)\w*)"
)
