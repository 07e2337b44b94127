"""Use a trained generator: load it, build its input, inpaint a photo."""

import json
import math
import numbers
import operator
import shutil
import tempfile
import warnings
import weakref
import zipfile
from functools import cache
from pathlib import Path

import cv2
import keras
import numpy as np
from PIL import ExifTags, Image
from tqdm.auto import tqdm

from ..data.batches import DARKEST
from ..data.edges import check_edges, combine_edges, load_sketch
from ..data.images import crop_and_resize, read_photo
from ..data.masks import check_mask, grow_holes, load_mask
from ..data.pictures import find_orientation
from ..host import find_in_inputs, is_interactive
from ..networks.models import SIZE_MULTIPLE
from .detail import add_detail
from .export import EXPORT_ENDINGS, open_exported
from .tiling import cut_out, plan_tiles, plan_windows, weigh_tile

SIDE_MARGIN = 16  # pixels; a hole nearer to a side than this gets room beyond it
LARGEST_SIDE = 512  # pixels a generator of no fixed size sees at once: twice what it was trained with
BEYOND = 0.01  # of the value range: how far an answer may miss [0, 1], as one of 8-bit weights may
PACKED_SIDE = 256  # pixels a side of a picture in which small holes are packed
FINE = 8  # pixels across; a thinner hole in a large photo has no room for fog, and keeps the generator's answer
MANY_WINDOWS = 4  # from here on a photo may show its progress; a notebook keeps every bar that it was ever shown
LONG_WAIT = 3  # seconds that a photo may take before its progress is shown
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
    found = found or find_in_inputs(GENERATOR_FILE)
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
    edges, mask = combine_edges(image, mask, edges), check_mask(mask, image.shape)
    kept = np.where(mask == 1, np.maximum(image, np.float32(DARKEST)), np.float32(0)).astype(np.float32)
    return np.concatenate([kept, edges], axis=-1)


def inpaint(generator=None, image=None, mask=None, edges=None, detail=1.0, grow=0, seed=0, largest_side=None):
    """Fill the holes of a photo of any size; kept pixels come back bit for bit.

    `inpaint("photo.jpg", "mask.png")` is enough: the generator may be left out, and the one that ships is loaded once.

    A photo of up to 512 pixels a side (or up to the generator's own size) is filled as a whole, padded by reflection
    (to a multiple of 128, on JAX to a square of a multiple of 256, and beyond a side that a hole comes near to). In a
    larger one, specks and thin lines are cut into small tiles, many of which are packed into one picture for the
    generator (see `plan_tiles`). Every other hole is filled in a window with context around it (see `plan_windows`), at
    the photo's own resolution where the window has up to 512 pixels; the answer of a larger window comes back enlarged.
    The detail is always taken from the photo at its own resolution (see `add_detail`). Tiles thinner than 8 pixels get
    none: the generator's answer is nearer to the photo there.

    Args:
        generator: from `load_generator` or `build_generator`; None, or nothing before the image, for the one that
            ships.
        image: (H, W, 3) float32 RGB in [0, 1], any size, a PIL picture or a path; what it holds in the holes does not
            matter. What is transparent in a file or a PIL picture is not shown to the generator, and comes back.
        mask: (H, W, 1), 1 keep, 0 remove, a PIL picture or a path (see `load_mask`).
        edges: see `build_input`; a PIL picture or a path, too (see `load_sketch`).
        detail: float in [0, 1], how much of the photo's own fine detail is laid onto the generator's answer; 0 is
            the generator alone.
        grow: int, pixels by which the holes are enlarged first: for a mask whose border shows what was to go.
        seed: int from 0 up, or a sequence of them; another one gives another choice of detail.
        largest_side: int, pixels a side that the generator sees at once, where it takes any size; None for 512. Twice
            what it was trained with is a good choice.

    Returns: float32 (H, W, 3), same size. Warns of a mask that removes nothing.
    Raises: ValueError if mask or edges do not fit the image, nothing is kept, or detail, grow, seed or
        largest_side are out of their range.
    """
    if isinstance(generator, (str, Path)) and Path(generator).suffix in (".keras", *EXPORT_ENDINGS):
        raise ValueError(f"{generator} is the file of a generator: pass load_generator({str(generator)!r}).")
    if generator is not None and not callable(generator):  # the generator was left out
        pictures = [generator, *(given for given in (image, mask, edges) if given is not None)]
        generator, image, mask, edges = None, *pictures, *[None] * (3 - len(pictures))
    if image is None or mask is None:
        raise ValueError("There is no image or no mask: call inpaint(generator, image, mask) or inpaint(image, mask).")
    if not isinstance(detail, numbers.Real) or not 0 <= detail <= 1:
        raise ValueError(f"detail is {detail!r}, expected a number from 0 (the generator alone) to 1.")
    image, alpha = _read_photo(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype.kind not in "fiub":
        raise ValueError(
            f"The image has shape {image.shape} and type {image.dtype}, expected (height, width, 3) in [0, 1]: "
            "read it with load_image."
        )
    image = image.astype(np.float32, copy=False)
    mask = grow_holes(check_mask(_read(mask, load_mask), image.shape), grow)
    if edges is not None:  # before any of them is shrunk or left out
        edges = check_edges(_read(edges, load_sketch), mask.shape)
    keep = mask[..., 0] == 1
    if not keep.any():
        raise ValueError("The mask removes every pixel, expected some to be kept: draw a smaller hole.")
    if keep.all():
        warnings.warn(
            "The mask removes nothing, so the photo comes back as it was: 1 (white) keeps and 0 (black) removes.",
            stacklevel=2,
        )
        return image.copy()
    known = keep if alpha is None else keep & (alpha > 0)
    if not known.any():
        raise ValueError("All that the mask keeps is transparent, expected some visible pixels: draw a smaller hole.")
    seed = _check_seed(seed)
    generator = _shipped_generator() if generator is None else generator
    size = _choose_size(generator.input_shape[1], largest_side)
    if max(image.shape[:2]) <= size:
        whole = (slice(0, image.shape[0]), slice(0, image.shape[1]))
        pictures, rest, windows = [], known.copy(), [(whole, whole)]
    else:
        pictures, rest = plan_tiles(known, min(size, PACKED_SIDE))
        windows = plan_windows(rest, size) if not rest.all() else []
    filled = image.copy()
    total = len(pictures) + len(windows)
    hidden = True if total < MANY_WINDOWS or not is_interactive() else None  # None: where no terminal would show it
    with tqdm(total=total, delay=LONG_WAIT, disable=hidden, leave=False, unit="window") as bar:
        detailed = _fill_tiles(generator, filled, known, rest, edges, pictures, detail, seed, bar)
        _fill_windows(generator, filled, detailed, rest, known, edges, windows, size, seed, bar)
    answer = filled if detailed is None else detailed
    if 0 < detail < 1:
        answer *= np.float32(detail)
        answer += np.float32(1 - detail) * filled
    if alpha is not None or 0 < detail < 1:
        np.copyto(answer, image, where=keep[..., np.newaxis])
    return answer


def _check_seed(seed):
    """The seed as a list of whole numbers."""
    try:
        whole = [operator.index(number) for number in np.atleast_1d(seed).tolist()]
        np.random.SeedSequence(whole)
    except (TypeError, ValueError):
        raise ValueError(f"seed is {seed!r}, expected a whole number from 0 up, or a sequence of them.") from None
    return whole


def _choose_size(fixed, largest_side):
    """Pixels a side that the generator sees at once; `fixed` is its own size, or None where it takes any."""
    if largest_side is None:
        return fixed or LARGEST_SIDE
    if largest_side < SIZE_MULTIPLE or largest_side % SIZE_MULTIPLE or fixed not in (None, largest_side):
        expected = fixed or f"a multiple of {SIZE_MULTIPLE}"
        raise ValueError(f"largest_side is {largest_side}, expected {expected} for this generator, or None.")
    return int(largest_side)


def _read_photo(picture):
    """RGB as an array, and the alpha channel, (H, W), of a file or a PIL picture that has one, or None."""

    def load(path):
        photo = read_photo(path)
        return crop_and_resize(photo.rgb, None), photo.alpha

    read = _read(picture, load)
    return read if isinstance(read, tuple) else (np.asarray(read), None)


def _read(picture, load):
    """An array as it is; a path or a PIL picture through `load`, which reads a file."""
    if isinstance(picture, (str, Path)):
        return load(picture)
    if not hasattr(picture, "getexif"):
        return picture
    if picture.mode in ("I;16B", "I;16L", "I;16N"):  # which Pillow would cut to 8 bits
        picture = Image.fromarray(np.asarray(picture).astype(np.uint16))
    if picture.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):  # what a PNG file can hold
        try:
            converted = picture.convert({"PA": "RGBA", "I": "I;16"}.get(picture.mode, "RGB"))
        except ValueError:
            converted = None
        if converted is None or picture.mode == "F":
            raise ValueError(f"The picture's mode is {picture.mode}, expected RGB or L: convert it first.")
        picture = converted
    turn = Image.Exif()  # and no other camera data: of some cameras' Pillow can read more than it can write
    turn[ExifTags.Base.Orientation] = find_orientation(picture)
    with tempfile.TemporaryDirectory() as folder:  # as its file would be read: alpha, palette, 16 bits, orientation
        picture.save(Path(folder) / "picture.png", exif=turn, compress_level=1)
        return load(Path(folder) / "picture.png")


@cache
def _shipped_generator():
    return load_generator()


def _fill_tiles(generator, filled, keep, rest, edges, pictures, detail, seed, bar):
    """Fill the thin holes from packed pictures; changes `filled`, and returns it with detail, None without any."""
    thin = rest & ~keep
    detailed = filled.copy() if detail and pictures else None
    outputs = [filled] if detailed is None else [filled, detailed]
    if pictures:
        image, weights = filled.copy(), np.zeros(keep.shape, np.float32)
        for output in outputs:
            output[thin] = 0
        for tiles in pictures:
            packed, known, source, sketch = _pack_tiles(image, keep, edges, tiles, generator.input_shape[1])
            answers = [_run(generator, packed, known, sketch)]
            if detailed is not None:
                fine = _find_fine(~known)
                packed = np.where(fine[..., np.newaxis], answers[0], packed)
                answers.append(
                    add_detail(packed, answers[0], known | fine, source & known, _find_lines(sketch), seed=seed)
                )
            for tile in tiles:
                here, there = _place_tile(tile, keep.shape)
                weight = weigh_tile(*(part.stop - part.start for part in here)) * thin[there]
                weights[there] += weight
                for output, answer in zip(outputs, answers, strict=True):
                    output[there] += weight[..., np.newaxis] * answer[here]
            bar.update()
        for output in outputs:
            output[thin] /= weights[thin][:, np.newaxis]
    if detail and detailed is None:  # with all of it nobody asks for the generator's answer again
        detailed = filled if detail == 1 else filled.copy()
    return detailed


def _find_fine(hole):
    """Where a hole is too thin for a disc of FINE pixels, bool (H, W)."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (FINE, FINE))
    wide = cv2.morphologyEx(hole.view(np.uint8), cv2.MORPH_OPEN, disc)
    return hole & (cv2.dilate(wide, disc) == 0)


def _find_lines(edges):
    return None if edges is None else edges[..., 0] == 1


def _place_tile(tile, shape):
    """Where the part of a tile inside the photo lies in the packed picture, and in the photo: two pairs of slices."""
    here, there = [], []
    for part, first, length in zip(tile.window, tile.corner, shape, strict=True):
        start, stop = max(part.start, 0), min(part.stop, length)
        here.append(slice(first + start - part.start, first + stop - part.start))
        there.append(slice(start, stop))
    return tuple(here), tuple(there)


def _pack_tiles(image, keep, edges, tiles, fixed):
    """The packed picture of some tiles: image (S, S, 3), keep (S, S), source (S, S), edges (S, S, 1) or None.

    Between the tiles there is their mean colour, as something kept. The source of detail lies within the tiles, less a
    row and a column of each, so that no patch reaches into the next tile. S is at most the generator's `fixed` size.
    """
    side = max(max(c + w.stop - w.start for c, w in zip(tile.corner, tile.window, strict=True)) for tile in tiles)
    side = min(side + -side % SIZE_MULTIPLE, fixed or math.inf)
    packed, known = np.zeros((side, side, 3), np.float32), np.zeros((side, side), bool)
    sketch = None if edges is None else np.full((side, side, 1), 0.5, np.float32)
    free, source = np.ones((side, side), bool), np.zeros((side, side), bool)
    for window, (top, left) in tiles:
        height, width = (part.stop - part.start for part in window)
        here = (slice(top, top + height), slice(left, left + width))
        packed[here], known[here], free[here] = cut_out(image, window), cut_out(keep, window), False
        source[top + 1 : top + height, left + 1 : left + width] = True
        if sketch is not None:
            sketch[here] = cut_out(edges, window)
    packed[free] = packed[known].mean(axis=0)
    return packed, known | free, source, sketch


def _fill_windows(generator, filled, detailed, known, source, edges, windows, size, seed, bar):
    """Fill the holes of `windows` one after the other, each seeing the ones before it; changes the first three."""
    done = known.copy()
    for piece, window in windows:
        inside = tuple(slice(p.start - w.start, p.stop - w.start) for p, w in zip(piece, window, strict=True))
        if not known[piece].all():
            guide = None if edges is None else edges[window]
            answer = _fill_window(generator, filled[window], known[window], guide, size)
            filled[piece] = np.where(known[piece][..., np.newaxis], filled[piece], answer[inside])
            known[piece] = True  # the next pieces see this one's answer
        bar.update()
    if detailed is None:
        return
    np.copyto(detailed, filled, where=~done[..., np.newaxis])
    for piece, window in windows:
        if done[piece].all():
            continue
        inside = tuple(slice(p.start - w.start, p.stop - w.start) for p, w in zip(piece, window, strict=True))
        scale = max(1, max(part.stop - part.start for part in window) / size)
        lines = None if edges is None else _find_lines(edges[window])
        answer = add_detail(detailed[window], filled[window], done[window], source[window], lines, scale, seed)
        detailed[piece] = np.where(done[piece][..., np.newaxis], detailed[piece], answer[inside])
        done[piece] = True


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
    padding = [share_padding(_missing(part, generator.input_shape[1])) for part in (keep, keep.T)]
    if keras.backend.backend() == "jax" and generator.input_shape[1] is None:  # which compiles for every size anew
        padding = _pad_to_a_square(padding, keep.shape)
    parts = (image, keep[..., np.newaxis].astype(np.float32), edges)
    # The mask is mirrored with the photo, or the padding would show a dark copy of the hole as something kept.
    padded = [None if part is None else np.pad(part, (*padding, (0, 0)), mode="symmetric") for part in parts]
    raw = np.asarray(_compile(generator)(build_input(*padded)[np.newaxis]))[0]
    (top, _), (left, _) = padding
    return np.clip(raw[top : top + keep.shape[0], left : left + keep.shape[1]], 0, 1)


def _pad_to_a_square(padding, shape):
    """More padding below and to the right, up to 256 pixels, or to a multiple of them, for both sides."""
    totals = [length + sum(pair) for length, pair in zip(shape, padding, strict=True)]
    side = max(totals) + -max(totals) % 256
    return [(before, after + side - total) for (before, after), total in zip(padding, totals, strict=True)]


_COMPILED = weakref.WeakKeyDictionary()  # generator → its compiled function


def _compile(generator):
    """A function from float32 (1, H, W, 4) to the generator's answer, compiled where the backend can.

    TensorFlow traces it once for all sizes, JAX compiles it for every size it meets.
    """
    if not isinstance(generator, keras.Model):
        return lambda inputs: generator(inputs, training=False)
    if generator not in _COMPILED:
        _COMPILED[generator] = _compile_keras(generator)
    return _COMPILED[generator]


def _compile_keras(generator):
    known = weakref.ref(generator)  # or the function would keep its own key alive
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        side = generator.input_shape[1]
        signature = [tensorflow.TensorSpec((1, side, side, 4), tensorflow.float32)]
        return tensorflow.function(lambda inputs: known()(inputs, training=False), input_signature=signature)
    if keras.backend.backend() == "jax":
        import jax

        run = jax.jit(lambda weights, fixed, inputs: known().stateless_call(weights, fixed, inputs, training=False)[0])
        return lambda inputs: run(
            [weight.value for weight in known().trainable_variables],
            [weight.value for weight in known().non_trainable_variables],
            inputs,
        )
    return lambda inputs: keras.ops.convert_to_numpy(known()(inputs, training=False))


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


def share_padding(missing):
    """How many of the missing rows come before the picture, and how many behind it."""
    return missing // 2, missing - missing // 2
