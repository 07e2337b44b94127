"""Fill the holes of one photo file: upright, in 8 or 16 bits, with its alpha channel, profile and camera data."""

from pathlib import Path

import numpy as np

from ..data.edges import load_sketch
from ..data.images import read_photo
from ..data.masks import create_mask, grow_holes, read_mask
from ..data.pictures import KEEPS_16_BITS, KEEPS_ALPHA, write_picture


def fill_file(generator, photo, mask, edges, output, difficulty=None, seed=0, invert=False, detail=1.0, grow=0):
    """Fill the holes of one photo file and write it: upright, with its alpha channel, in its 8 or 16 bits.

    A photo whose visible kept pixels are gray is filled with gray. Colour profile, camera data and resolution are
    carried over.

    Args:
        generator: from `load_generator`. photo, output: paths; only a format without loss keeps the kept pixels' bits.
        mask: path, white = keep, black = remove (see `load_mask`); None to draw one of `difficulty` with `seed`.
        edges: path of a sketch (see `load_sketch`), or None.
        invert: True if the mask's white removes.
        detail, grow: as in `inpaint`, which gets the seed, too.

    Returns: a list of sentences that the user should read: what was split, guessed or left out.
    Raises: OSError or ValueError, one sentence.
    """
    photo, output = Path(photo), Path(output)
    picture = read_photo(photo)
    _fit_format(output, picture)
    notes = [f"{photo} {note}" for note in picture.notes]
    if output.suffix.lower() == ".bmp" and (picture.icc_profile or picture.exif):
        notes.append(f"{output} cannot hold the photo's colour profile and camera data; .png can.")
    if mask is not None:
        keep, read = read_mask(mask, invert=invert)
        _check_side(photo, picture, mask, keep.shape)
        if keep.all() or not keep.any():
            raise ValueError(read[-1])
        notes += read
    try:
        if mask is None:
            keep = create_mask(picture.pixels.shape[:2], seed=seed, difficulty=difficulty)
        keep = grow_holes(keep, grow)
    except ValueError as error:
        raise ValueError(f"{photo}: {error}") from None
    guide = None
    if edges is not None:
        guide = load_sketch(edges)
        _check_side(photo, picture, edges, guide.shape)
        drawn = np.mean(guide[keep == 0] == 1)
        if drawn > 0.5:
            notes.append(
                f"{edges} says that {drawn:.0%} of the hole is edge, because white = edge: for lines on white paper, "
                "swap black and white."
            )
    highest = np.float32(np.iinfo(picture.pixels.dtype).max)
    try:
        filled = fill_visible(generator, picture.rgb / highest, keep, guide, picture.alpha, detail=detail, seed=seed)
    except ValueError as error:
        raise ValueError(f"{photo}: {error}") from None
    hole, channels = keep[..., 0] == 0, 1 if picture.pixels.shape[2] < 3 else 3
    picture.pixels[hole, :channels] = np.rint(filled[hole, :channels] * highest).astype(picture.pixels.dtype)
    write_picture(output, picture)
    return notes


def fill_visible(generator, image, mask, edges=None, alpha=None, **chosen):
    """`inpaint` for a photo with transparency: colours under an alpha of 0 are unknown to the generator, yet kept.

    Args:
        image, mask, edges: as for `inpaint`. alpha: (H, W), 0 = transparent, or None.
        chosen: other arguments of `inpaint`.

    Returns: float32 (H, W, 3); gray if what is kept and visible is gray.
    Raises: ValueError as `inpaint` does, and if nothing that is kept is visible.
    """
    from ..inference.inpaint import inpaint  # here, so that mistakes are found before Keras is loaded

    known = mask if alpha is None else mask * (alpha > 0)[..., np.newaxis]
    if mask.any() and not known.any():
        raise ValueError("All that the mask keeps is transparent, expected some visible pixels: draw a smaller hole.")
    filled = inpaint(generator, image, known, edges, **chosen)
    seen = known[..., 0] == 1
    if ((image[..., 0] == image[..., 1]) & (image[..., 1] == image[..., 2]) | ~seen).all():
        filled[~seen] = filled[~seen] @ np.float32([[0.299], [0.587], [0.114]])
    return np.where(mask == 1, image, filled)


def _fit_format(output, picture):
    """Refuse an output format that would lose something; an alpha channel that hides nothing may go."""
    ending, highest = output.suffix.lower(), np.iinfo(picture.pixels.dtype).max
    if highest > 255 and ending not in KEEPS_16_BITS:
        raise ValueError(f"{output} cannot hold the photo's 16 bits: choose {', '.join(KEEPS_16_BITS)}.")
    if picture.alpha is not None and ending not in KEEPS_ALPHA:
        if picture.alpha.min() < highest:
            raise ValueError(f"{output} cannot hold the photo's alpha channel: choose {', '.join(KEEPS_ALPHA)}.")
        picture.pixels = np.ascontiguousarray(picture.pixels[..., :-1])


def _check_side(photo, picture, path, shape):
    """Refuse a mask or sketch of another size than the photo, with advice that fits."""
    (height, width), (high, wide) = picture.pixels.shape[:2], shape[:2]
    if (height, width) == (high, wide):
        return
    if (height, width) == (wide, high):
        advice = "turn it by 90 degrees"
        if picture.turned:
            advice += ", because the camera noted a turn, which was applied to the photo"
    elif abs(width * high - height * wide) <= max(width, height, wide, high):
        advice = f"resize it to {width}×{height} with nearest-neighbour interpolation"
    else:
        advice = "draw it on this photo"
    raise ValueError(f"{path} has {wide}×{high} pixels, but {photo} has {width}×{height}: {advice}.")
