"""Edge maps guide the generator: Canny on contrast-equalised luminance, blind to everything under the hole.

EdgeConnect (Nazeri et al. 2019, arXiv 1901.00212) gives an inpainting network the edges of the missing part.
Taken from the complete photo they are part of the answer ("guided" mode: a user may sketch them). Real use is
"blind": there the map comes from kept pixels only and the hole is 0.5 = unknown.
"""

from pathlib import Path

import cv2
import numpy as np

from .masks import check_mask
from .pictures import read_picture

# With these, edges are 8.8 % of the pixels of 583 landscape photos at 256x256 (middle half: 4.8 to 11.9 %).
CANNY_LOW = 80
CANNY_HIGH = 160
CLAHE_CLIP_LIMIT = 2.0
CLAHE_TILES = (8, 8)
SMOOTHING_WINDOW = (5, 5)  # Canny's smoothing step, which cv2.Canny leaves to its caller
SMOOTHING_SIGMA = 1.4
# Pixels around the hole where an edge may be the hole's own: smoothing reaches 2 pixels, the gradient 1 more.
RIM = 3
UNKNOWN = 0.5


def detect_edges(image, mask=None):
    """Find the edges of an image: of all of it, or blind, of its kept pixels only.

    image: float (H, W, 3), RGB in [0, 1].
    mask: None, or 1 = keep, 0 = remove in any form `check_mask` accepts. What lies under the hole is never
        read: the result does not change by one bit with it.

    Returns float32 (H, W, 1): 1 edge, 0 no edge, and with a mask 0.5 = unknown in the hole; kept pixels
    up to 3 pixels from the hole are 0. Raises ValueError for another shape, integer pixels or values outside
    [0, 1].
    """
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0 or image.dtype.kind != "f":
        raise ValueError(
            f"The image has shape {image.shape} and type {image.dtype}, but edges need float RGB of shape "
            "(H, W, 3) in [0, 1]: read it with load_image."
        )
    if mask is None:
        return _find_edges(_to_luminance(image)).astype(np.float32)[..., np.newaxis]
    keep = check_mask(mask, image.shape)[..., 0] == 1
    if not keep.any():
        return np.full((*keep.shape, 1), UNKNOWN, np.float32)
    # The hidden pixels leave before anything is computed. The constant that replaces them keeps CLAHE's tiles
    # from being pulled to black at the rim.
    luminance = _to_luminance(np.where(keep[..., np.newaxis], image, 0))
    luminance[~keep] = round(float(luminance[keep].mean()))
    edges = _find_edges(luminance)
    near = cv2.dilate((~keep).view(np.uint8), np.ones((2 * RIM + 1, 2 * RIM + 1), np.uint8))
    edges[near == 1] = 0
    return np.where(keep, edges, UNKNOWN).astype(np.float32)[..., np.newaxis]


def combine_edges(image, mask, edges=None):
    """The generator's edge channel: kept pixels as in the blind map, the hole as given or unknown.

    image, mask: as in `detect_edges`.
    edges: None (blind), or (H, W) or (H, W, 1): 1 edge, 0 no edge, 0.5 unknown; only its hole part is used.

    Returns float32 (H, W, 1). Raises ValueError when edges have another size or other values.
    """
    blind = detect_edges(image, mask)
    if edges is None:
        return blind
    edges = check_edges(edges, blind.shape)
    return np.where(check_mask(mask, image.shape) == 1, blind, edges).astype(np.float32)


def load_sketch(path):
    """Read an edge map from a picture file: white = edge, black = no edge, gray or transparent = unknown.

    Args:
        path: file name.

    Returns: float32 (H, W, 1) of 1, 0 and 0.5.
    Raises: FileNotFoundError or ValueError for whatever is not a complete picture.
    """
    try:
        picture = read_picture(Path(path))
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"{path} {error}") from None
    highest = np.iinfo(picture.pixels.dtype).max
    gray = picture.rgb.mean(axis=-1, keepdims=True, dtype=np.float32) / highest
    edges = np.where(gray > 0.75, 1, np.where(gray < 0.25, 0, UNKNOWN)).astype(np.float32)
    if picture.alpha is not None:
        edges[picture.alpha < highest / 2] = UNKNOWN
    return edges


def check_edges(edges, shape):
    """Edges as (H, W, 1) of that shape; raises ValueError for another size or a value other than 0, 0.5 and 1."""
    edges = np.asarray(edges)
    edges = edges[..., np.newaxis] if edges.ndim == 2 else edges
    if edges.shape != shape:
        raise ValueError(
            f"The edges have shape {edges.shape}, but this image needs {shape}: make them with "
            "detect_edges(image) or draw them at the image's size."
        )
    strange = edges[~((edges == 0) | (edges == UNKNOWN) | (edges == 1))]
    if strange.size:
        raise ValueError(
            f"The edges hold the value {strange[0].item()}, but only 0 (none), 0.5 (unknown) and 1 (edge) are allowed: "
            "threshold them first."
        )
    return edges


def _to_luminance(image):
    low, high = image.min(), image.max()
    if not (low >= 0 and high <= 1):  # NaN fails both comparisons
        raise ValueError(f"The image's values run from {low} to {high}, not within [0, 1]: read it with load_image.")
    pixels = cv2.convertScaleAbs(np.ascontiguousarray(image, np.float32), alpha=255)
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)


def _find_edges(luminance):
    """uint8 (H, W) luminance -> uint8 (H, W), 1 = edge."""
    # Made anew each time because one CLAHE object must not be used by several threads.
    clahe = cv2.createCLAHE(clipLimit=CLAHE_CLIP_LIMIT, tileGridSize=CLAHE_TILES)
    smooth = cv2.GaussianBlur(clahe.apply(luminance), SMOOTHING_WINDOW, SMOOTHING_SIGMA)
    return cv2.Canny(smooth, CANNY_LOW, CANNY_HIGH, L2gradient=True) // 255
