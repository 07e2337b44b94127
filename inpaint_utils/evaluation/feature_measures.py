"""Measures on VGG19 features: whether a hole has the photo's parts, its texture, and the looks of photos as a set."""

import math
from typing import NamedTuple

import numpy as np

MARGIN = 8  # pixels around the hole's bounding box that count as its texture, too
CROP_SIDE = 128  # pixels, of the crop around the hole that KID looks at
DEEP_LAYERS = ("block4_conv4", "block5_conv4")  # deeper than the layers that any loss here trains on
FEWEST_PHOTOS = 50  # of a KID: with fewer its standard error is as large as the differences of interest


class Description(NamedTuple):
    """One picture as VGG19 sees it. maps: a float32 (h, w, C) a layer. grams: a float32 (C, C) a layer."""

    maps: list
    grams: list


def describe(features, images, masks):
    """Feature maps of whole pictures, and the Gram matrices of the part with the hole.

    The part is the hole's bounding box and 8 pixels around, cut out of the feature maps and not of the picture: one
    pass through VGG19 serves both distances, whatever the size of the hole.

    Args:
        features: a model from `build_perceptual`. images: a list of float32 (H, W, 3) RGB in [0, 1].
        masks: a list of (H, W, 1), 1 = keep, 0 = remove.

    Returns: one `Description` for each picture.
    """
    layers = _extract(features, np.stack(images))
    described = []
    for i, mask in enumerate(masks):
        maps = [layer[i] for layer in layers]
        described.append(Description(maps, [gram_matrix(_cut_hole(part, mask)) for part in maps]))
    return described


def compare(fill, photo):
    """Both distances of a filled picture from its photo, each a `Description`.

    Returns: a dict of floats, 0 for the same picture and about 1 for an unrelated one. feature_distance: that of
        `perceptual_distance`, on the whole picture. texture_distance: the same formula on Gram matrices (Gatys et al.
        2015, arXiv 1505.07376), which say what the hole's texture is and not where anything lies.
    """
    return {
        "feature_distance": relative_distance(fill.maps, photo.maps),
        "texture_distance": relative_distance(fill.grams, photo.grams),
    }


def relative_distance(arrays, references):
    """Mean over layers of Σ|a − b| ÷ Σ|b|, b the reference: two lists of arrays of the same shapes -> float."""
    distances = [
        float(np.abs(a - b).mean() / (np.abs(b).mean() + 1e-6)) for a, b in zip(arrays, references, strict=True)
    ]
    return sum(distances) / len(distances)


def gram_matrix(maps):
    """Mean over pixels of the products of each two channels: (h, w, C) -> (C, C)."""
    pixels = maps.reshape(-1, maps.shape[-1])
    return pixels.T @ pixels / len(pixels)


def embed(features, images, masks):
    """What KID compares: features of the square around the hole, averaged over its pixels.

    Args:
        features: a model from `build_perceptual`, of layers that no loss was trained on, such as DEEP_LAYERS.
        images, masks: as in `describe`. The square has 128 pixels a side (or the picture's shorter side, if that is
            less) and its centre in the hole's centre of mass, but never reaches over the picture's sides.

    Returns: a list of float32 (B, C), one for each layer.
    """
    crops = [image[crop_around_hole(mask)] for image, mask in zip(images, masks, strict=True)]
    return [maps.mean(axis=(1, 2)) for maps in _extract(features, np.stack(crops))]


def kernel_distance(fills, photos):
    """Kernel inception distance of filled pictures from their photos, with VGG19 in Inception's place.

    The squared maximum mean discrepancy of two sets with the kernel (x·y / d + 1)³ (Bińkowski et al. 2018, arXiv
    1801.01401). Each layer is divided by the root mean square of its values on the photos, so that all weigh alike,
    and d is the number of values of all layers. A fill and its own photo share the kept pixels; the unbiased estimate
    for pairs leaves the product of the two out (Gretton et al. 2012, "A kernel two-sample test", equation 4).

    Args:
        fills, photos: lists of (N, C), one for each layer, from `embed`; row n of both is the same photo.

    Returns: two floats, the distance and its standard error over photos. The distance is 0 for the photos
        themselves and may be below 0 for sets that differ by less than chance; both are nan for N < 2.
    """
    parts = split_kernel_distance(fills, photos)
    if len(parts) < 2:
        return math.nan, math.nan
    # A term belongs to two photos, hence the 2 (the variance of a U-statistic, Hoeffding 1948).
    return float(parts.mean()), float(2 * parts.std(ddof=1) / math.sqrt(len(parts)))


def split_kernel_distance(fills, photos):
    """Each photo's part in the `kernel_distance`, which is their mean: float64 (N,). For paired comparisons.

    The distances of two fills from the same photos differ by the mean of the differences of their parts. Its standard
    error is twice their standard deviation ÷ √N.

    Args:
        fills, photos: as in `kernel_distance`.
    """
    photos, fills = ([np.asarray(layer, np.float64) for layer in layers] for layers in (photos, fills))
    scales = [np.sqrt(np.square(layer).mean()) + 1e-12 for layer in photos]
    x, y = (np.hstack([a / scale for a, scale in zip(arrays, scales, strict=True)]) for arrays in (fills, photos))
    across = _kernel(x, y)
    terms = _kernel(x, x) + _kernel(y, y) - across - across.T
    np.fill_diagonal(terms, 0)
    return terms.sum(axis=1) / max(len(terms) - 1, 1)


def crop_around_hole(mask, side=CROP_SIDE):
    """The square around the hole's centre of mass, moved into the picture: two slices, of rows and of columns."""
    side = min(side, *mask.shape[:2])
    slices = []
    for positions, length in zip(np.nonzero(mask[..., 0] == 0), mask.shape[:2], strict=True):
        start = min(max(round(positions.mean() - (side - 1) / 2), 0), length - side)
        slices.append(slice(start, start + side))
    return tuple(slices)


def _kernel(x, y):
    return (x @ y.T / x.shape[1] + 1) ** 3


def _extract(features, images):
    return [np.asarray(layer, np.float32) for layer in features(images)]


def _cut_hole(maps, mask):
    """The cells of feature maps (h, w, C) that meet the hole's bounding box and the margin around it."""
    slices = []
    for positions, length, cells in zip(np.nonzero(mask[..., 0] == 0), mask.shape, maps.shape[:2], strict=False):
        first, last = max(positions.min() - MARGIN, 0), min(positions.max() + MARGIN + 1, length)
        slices.append(slice(first * cells // length, -(-last * cells // length)))  # rounded down and up
    return maps[tuple(slices)]
