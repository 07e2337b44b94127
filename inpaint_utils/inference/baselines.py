"""Baselines fill holes without learning: what a generator has to beat.

Each is fill(image, mask) -> float32 (H, W, 3). image: float32 (H, W, 3) RGB in [0, 1]; what it holds in the hole does
not matter. mask: (H, W, 1), 1 keep, 0 remove. Raises ValueError for a mask that does not fit the image, or keeps
nothing.
"""

import math
from functools import cache

import cv2
import numpy as np

from ..data.masks import check_mask


def mean_fill(image, mask):
    """Fill the hole with the mean colour of the kept pixels: the simplest answer."""
    hole = _find_hole(image, mask)
    return np.where(hole, image[~hole[..., 0]].mean(axis=0), image).astype(np.float32)


def telea_fill(image, mask):
    """Fill by fast marching from the rim inwards (Telea 2004, as in OpenCV, radius 3)."""
    return _opencv_fill(image, mask, cv2.INPAINT_TELEA)


def navier_stokes_fill(image, mask):
    """Fill by continuing lines of equal brightness (Bertalmio et al. 2001, as in OpenCV, radius 3)."""
    return _opencv_fill(image, mask, cv2.INPAINT_NS)


def biharmonic_fill(image, mask):
    """Fill with the smoothest surface through the rim (Damelin and Hoang 2018); needs scikit-image."""
    from skimage.restoration import inpaint_biharmonic

    hole = _find_hole(image, mask)
    filled = inpaint_biharmonic(image.astype(np.float64), hole[..., 0], channel_axis=-1)
    return np.clip(filled, 0, 1).astype(np.float32)


def patch_fill(image, mask):
    """Fill with patches from elsewhere in the picture (PatchMatch, Barnes 2009); needs pypatchmatch."""
    from patchmatch import patch_match

    patch_match.set_random_seed(0)
    hole = _find_hole(image, mask)
    blank = _to_uint8(np.where(hole, 0, image))
    filled = patch_match.inpaint(blank, hole.astype(np.uint8) * 255, patch_size=3)
    return np.where(hole, np.float32(filled) / 255, image)


def smooth_fill(image, mask):
    """Fill from the colours at the hole's rim: what a generator starts from before it has learned anything.

    See `fill_smoothly` in networks/smooth_fill.py; it comes near the harmonic fill, which solves Laplace's equation in
    the hole.
    """
    from .inpaint import LARGEST_SIDE, SIZE_MULTIPLE, inpaint

    size = math.ceil(max(image.shape[:2]) / SIZE_MULTIPLE) * SIZE_MULTIPLE
    return inpaint(_untaught_generator(min(size, LARGEST_SIDE)), image, mask, detail=0)


@cache
def _untaught_generator(size):
    """A generator whose change to its start is zero everywhere.

    Of a fixed size, so that `inpaint` makes no room beyond the sides: it is there for convolutions, and would move
    the start away from the one that `evaluate` measures the generator with.
    """
    from ..networks.models import build_generator

    generator = build_generator(size, base_filters=1)
    change = generator.get_layer("generator_change")
    change.set_weights([np.zeros_like(weights) for weights in change.get_weights()])
    return generator


def _find_hole(image, mask):
    """Where the mask removes, bool (H, W, 1)."""
    hole = check_mask(mask, image.shape) == 0
    if hole.all():
        raise ValueError("The mask removes every pixel, expected some to be kept: draw a smaller hole.")
    return hole


def _opencv_fill(image, mask, method):
    hole = _find_hole(image, mask)
    blank = _to_uint8(np.where(hole, 0, image))  # OpenCV reads hidden pixels and lets them through
    return np.where(hole, np.float32(cv2.inpaint(blank, hole.astype(np.uint8), 3, method)) / 255, image)


def _to_uint8(image):
    return np.rint(image * 255).astype(np.uint8)
