"""Use a trained generator: load it, build its input, inpaint a photo."""

import json
import shutil
import tempfile
import zipfile
from pathlib import Path

import cv2
import keras
import numpy as np

from ..data.edges import check_edges, combine_edges
from ..data.masks import check_mask
from ..host import INPUT_FOLDER
from ..networks.models import SIZE_MULTIPLE
from .export import EXPORT_ENDINGS, open_exported
from .tiling import plan_windows

SIDE_MARGIN = 16  # pixels; a hole nearer to a side than this gets room beyond it
LARGEST_SIDE = 512  # pixels a generator of no fixed size sees at once: twice what it was trained with
BEYOND = 0.01  # of the value range: how far an answer may miss [0, 1], as one of 8-bit weights may
GENERATOR_FILE = "inpainting_generator_best.keras"


def load_generator(path=None):
    """Open a generator.

    Args:
        path: a `.keras` file, or one that `export_generator` wrote (`.onnx`, `.tflite`); None for the `.keras` file
            that ships with the project, looked for in `models/` beside the package, in the installed package, in
            `models/` below the working folder, and under `/kaggle/input`.

    Returns: a `keras.Model`, or what `open_exported` returns: (B, H, W, 4) → (B, H, W, 3), all in [0, 1].
    Raises: FileNotFoundError if there is none, ValueError if the file is not a generator or answers one picture of
        noise with values outside [0, 1], ImportError if the extra `fast`, which runs an exported one, is not installed.
    """
    ships = path is None
    path = find_generator() if ships else Path(path)
    if path is None or not path.is_file():
        raise FileNotFoundError(
            f"There is no generator at {str(path or 'models/' + GENERATOR_FILE)!r}: pass the path of a .keras file "
            "that notebook 02 or 03 wrote, or get the project's models/ folder."
        )
    generator = open_exported(path) if path.suffix.lower() in EXPORT_ENDINGS else _open_keras(path)
    _check_shapes(generator, path)
    if not ships:
        _check_answer(generator, path)
    return generator


def _open_keras(path):
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(b"version https://git-lfs"):
        raise ValueError(f"{str(path)!r} is a Git LFS pointer in place of the file: run git lfs pull, or get it again.")
    if not start.startswith(b"\x89HDF") and not zipfile.is_zipfile(path):
        what = "cut off" if start.startswith(b"PK") else "no .keras file"
        raise ValueError(f"{str(path)!r} is {what}: get it again, or train a generator with notebook 02.")
    try:
        if path.suffix in (".keras", ".h5", ".hdf5"):
            return keras.models.load_model(path, compile=False)
        with tempfile.TemporaryDirectory() as folder:  # Keras goes by the ending
            named = Path(folder, "generator.h5" if start.startswith(b"\x89HDF") else "generator.keras")
            shutil.copy(path, named)
            return keras.models.load_model(named, compile=False)
    except Exception as error:  # a damaged file raises whatever its reader stumbles on
        version, reason = _read_version(path), str(error).split("\n")[0]
        cause = f"Keras {version} wrote it" if version not in (None, keras.__version__) else reason[:120]
        raise ValueError(
            f"{str(path)!r} is not a generator that Keras {keras.__version__} can open ({cause}): get it again, "
            "or train one with notebook 02."
        ) from error


def _read_version(path):
    """The version of Keras that wrote a `.keras` file, or None."""
    try:
        with zipfile.ZipFile(path) as file:
            return str(json.loads(file.read("metadata.json"))["keras_version"])[:20]
    except Exception:  # what is asked for only to explain an error must not raise another one
        return None


def _check_shapes(generator, path):
    takes, gives = generator.input_shape, generator.output_shape
    if not all(isinstance(shape, tuple) and len(shape) == 4 for shape in (takes, gives)):
        raise ValueError(f"{str(path)!r} maps {takes} to {gives}, expected one picture with 4 channels to one with 3.")
    if takes[-1] != 4 or gives[-1] != 3:
        raise ValueError(
            f"{str(path)!r} maps {takes} to {gives}, expected a generator from 4 channels (RGB and edges) to 3: is "
            "it a discriminator?"
        )
    if takes[1] != takes[2]:
        raise ValueError(f"{str(path)!r} takes pictures of {takes[1:3]}, expected square ones or any size: (S, S, 4).")


def _check_answer(generator, path):
    """Fill one picture of noise, dark above and bright below; ValueError if the answer is no picture in [0, 1]."""
    side = generator.input_shape[1] or SIZE_MULTIPLE
    probe = np.random.default_rng(0).random((1, side, side, 4), np.float32) / 2
    probe[..., :3] += np.linspace(0, 0.5, side, dtype=np.float32)[:, np.newaxis, np.newaxis]
    probe[..., 3] = 0
    probe[:, side // 4 : side // 2, side // 4 : side // 2] = (0, 0, 0, 0.5)
    try:
        answer = np.asarray(keras.ops.convert_to_numpy(generator(probe, training=False)), np.float32)
    except Exception as error:  # whatever its layers stumble on
        reason = str(error).split("\n")[0][:120]
        raise ValueError(f"{str(path)!r} cannot fill a picture of {side}×{side} pixels ({reason}).") from error
    if answer.shape != (1, side, side, 3):
        raise ValueError(
            f"{str(path)!r} answers a picture of {side}×{side} pixels with the shape {answer.shape}, expected "
            f"(1, {side}, {side}, 3)."
        )
    low, high = float(answer.min()), float(answer.max())
    if not (low >= -BEYOND and high <= 1 + BEYOND):  # this way round NaN is refused, too
        raise ValueError(
            f"{str(path)!r} answers with values from {low:.2f} to {high:.2f}, expected 0 to 1: if it ends with a tanh, "
            "add keras.layers.Rescaling(0.5, 0.5), and save it again."
        )


def find_generator():
    """Path of the generator that ships with the project, or None."""
    here = Path(__file__)
    folders = [here.parents[2] / "models", here.parents[1] / "models", Path("models"), Path("../models")]
    found = [folder / GENERATOR_FILE for folder in folders if (folder / GENERATOR_FILE).is_file()]
    if not found and INPUT_FOLDER.is_dir():
        found = sorted(INPUT_FOLDER.rglob(GENERATOR_FILE))
    return found[0] if found else None


def build_input(image, mask, edges=None):
    """Build what the generator sees: nothing of the hidden pixels enters it.

    Args:
        image: (H, W, 3) RGB in [0, 1]; what it holds in the hole does not matter.
        mask: (H, W, 1), 1 keep, 0 remove.
        edges: (H, W, 1) to guide the filling, 1 edge, 0 none, ½ unknown (only its part in the hole is used); None
            for blind filling.

    Returns: float32 (H, W, 4): kept RGB (at least 1/255; 0 in the hole) and edges.
    Raises: ValueError if mask or edges do not fit the image.
    """
    mask = check_mask(mask, image.shape)
    kept = np.where(mask == 1, np.maximum(image, np.float32(1 / 255)), np.float32(0)).astype(np.float32)
    return np.concatenate([kept, combine_edges(image, mask, edges)], axis=-1)


def inpaint(generator, image, mask, edges=None):
    """Fill the holes of a photo of any size; kept pixels come back bit for bit.

    A photo of up to 512 pixels a side (or up to the generator's own size) is filled as a whole, padded by reflection
    (to a multiple of 128, and beyond a side that a hole comes near to).
    In a larger one each hole is filled in a window with context around it (see `plan_windows`), at the photo's own
    resolution where the window has up to 512 pixels; the answer of a larger window comes back enlarged.

    Args:
        generator: from `load_generator` or `build_generator`.
        image: (H, W, 3) float32 RGB in [0, 1], any size; what it holds in the holes does not matter.
        mask: (H, W, 1), 1 keep, 0 remove.
        edges: see `build_input`.

    Returns: float32 (H, W, 3), same size.
    Raises: ValueError if mask or edges do not fit the image, or nothing is kept.
    """
    image = np.asarray(image, np.float32)
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"The image has shape {image.shape}, expected (height, width, 3): read it with load_image.")
    mask = check_mask(mask, image.shape)
    edges = None if edges is None else check_edges(edges, mask.shape)  # before any of them is shrunk or left out
    keep = mask[..., 0] == 1
    if not keep.any():
        raise ValueError("The mask removes every pixel, expected some to be kept: draw a smaller hole.")
    filled, size = image.copy(), generator.input_shape[1] or LARGEST_SIDE
    whole = (slice(0, image.shape[0]), slice(0, image.shape[1]))
    for piece, window in [(whole, whole)] if max(image.shape[:2]) <= size else plan_windows(keep, size):
        if keep[piece].all():
            continue
        guide = None if edges is None else edges[window]
        answer = _fill_window(generator, filled[window], keep[window], guide, size)
        inside = tuple(slice(p.start - w.start, p.stop - w.start) for p, w in zip(piece, window, strict=True))
        filled[piece] = np.where(keep[piece][..., np.newaxis], filled[piece], answer[inside])
        keep[piece] = True  # the next pieces see this one's answer
    return filled


def _fill_window(generator, image, keep, edges, size):
    """The generator's picture of a window, (H, W, 3), shrunk for it to `size` pixels where it is larger."""
    height, width = keep.shape
    shrink = max(height, width) / size
    if shrink <= 1:
        return _run(generator, image, keep, edges)
    small = (max(1, round(width / shrink)), max(1, round(height / shrink)))
    share = _shrink(keep, small)
    small_keep = share >= min(0.5, share.max())  # a cell is known where half of it is
    # Averaged over kept pixels only: nothing hidden enters, and no black bleeds in at the rim.
    colours = _shrink(np.where(keep[..., np.newaxis], image, 0), small) / np.maximum(share, 1e-6)[..., np.newaxis]
    colours = np.clip(colours, 0, 1)
    if edges is not None:  # a line of the sketch must not get lost
        drawn, unknown = _shrink(edges == 1, small) > 0, _shrink(edges == 0.5, small) >= 0.5
        edges = np.where(drawn, 1, np.where(unknown, 0.5, 0)).astype(np.float32)[..., np.newaxis]
    raw = _run(generator, colours, small_keep, edges)
    answer = np.where(small_keep[..., np.newaxis], colours, raw)
    answer = cv2.resize(answer, (width, height), interpolation=cv2.INTER_CUBIC)
    return _feather(answer, image, keep, round(2 * (shrink - 1)))


def _shrink(part, size):
    return cv2.resize(part.astype(np.float32), size, interpolation=cv2.INTER_AREA)


def _feather(answer, image, keep, width):
    """Blend the answer with the kept colours nearby, from the rim inwards over `width` pixels of the hole."""
    window = (2 * width + 1, 2 * width + 1)
    near = cv2.blur(np.where(keep[..., np.newaxis], image, 0), window)
    near /= np.maximum(cv2.blur(keep.astype(np.float32), window), 1e-6)[..., np.newaxis]
    distance = cv2.distanceTransform((~keep).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    weight = np.clip(1 - distance / (width + 1), 0, 1)[..., np.newaxis]
    return np.clip(answer + weight * (near - answer), 0, 1)


def _run(generator, image, keep, edges):
    """The generator's picture, (H, W, 3), of a picture no larger than it takes."""
    padding = [_share_padding(_missing(part, generator.input_shape[1])) for part in (keep, keep.T)]
    parts = (image, keep[..., np.newaxis].astype(np.float32), edges)
    # The mask is mirrored with the photo, or the padding would show a dark copy of the hole as something kept.
    padded = [None if part is None else np.pad(part, (*padding, (0, 0)), mode="symmetric") for part in parts]
    raw = keras.ops.convert_to_numpy(generator(build_input(*padded)[np.newaxis], training=False))[0]
    (top, _), (left, _) = padding
    return np.clip(raw[top : top + keep.shape[0], left : left + keep.shape[1]], 0, 1)


def _missing(keep, fixed):
    """Rows to add: up to the generator's own size, or to a multiple of 128.

    Where a hole is near the first or last row, enough of them to keep SIDE_MARGIN between it and the zeros that
    convolutions see beyond the picture: they would leave a faint line in it.
    """
    if fixed is not None:
        return fixed - len(keep)
    missing = -len(keep) % SIZE_MULTIPLE
    near_a_side = not (keep[:SIDE_MARGIN].all() and keep[-SIDE_MARGIN:].all())
    return missing + SIZE_MULTIPLE if near_a_side and missing < 2 * SIDE_MARGIN else missing


def _share_padding(missing):
    return missing // 2, missing - missing // 2
