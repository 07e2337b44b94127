"""Measures of one filled picture: of the whole, and of the hole alone."""

import math

import cv2
import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from ..data.masks import check_mask

# Unit and number of decimals of each measure. Perfect are 100 %, infinity, 0 (cast, error, distances, KID) and 1.
MEASURES = {
    "accuracy_raw": ("%", 2),
    "accuracy_filled": ("%", 2),
    "hole_accuracy": ("%", 2),
    "hole_psnr": ("dB", 2),
    "colour_cast": ("a*b*", 2),
    "colour_error": ("a*b*", 2),
    "psnr": ("dB", 2),
    "ssim": ("", 3),
    "sharpness": ("", 2),
    "anisotropy": ("", 2),
    "feature_distance": ("", 3),
    "texture_distance": ("", 3),
    "kid": ("× 1000", 1),
}
SSIM_WINDOW = 11  # pixels, of the Gaussian that Wang et al. 2004 weight with

BLUR_SIGMA = 1.5  # pixels; what this Gaussian takes away is a picture's fine detail
RIM = 3  # pixels along the hole's border and the picture's sides that sharpness and anisotropy leave out
FLAT = 0.5 / 255  # a photo with less fine detail than that shows the rounding to gray levels and nothing else


def measure(raw, image, mask):
    """Compare a fill's answer with the truth.

    Args:
        raw: float (H, W, 3) RGB in [0, 1], the answer; values outside are clipped. image: the true picture, same
            form. mask: (H, W, 1), 1 = keep, 0 = remove.

    Returns: a dict of floats. Of the answer itself, over the whole picture:
        accuracy_raw: 100 · (1 − mean absolute error).
        All others measure the filled picture, which has the kept pixels put back; over the whole of it:
        accuracy_filled: 100 · (1 − mean absolute error). psnr (dB).
        ssim: structural similarity (Wang et al. 2004); nan below 11 pixels.
        In the hole only:
        hole_accuracy, hole_psnr (dB).
        colour_cast: how far the mean hue is off: the distance of the mean a*, b* from the photo's (CIELAB of sRGB,
            lightness left out; a colour difference of 2.3 is just noticeable, Mahy et al. 1994).
        colour_error: the mean over pixels of that distance, where spots of one tint do not make up for others.
        sharpness: fine detail ÷ that of the photo (see `fine_detail`). 1 is right, fog is near 0.
        anisotropy: share of changes along rows and columns ÷ that of the photo (see `directedness`). 1 is right,
            streaks are above, smooth fills below.
        The last two leave out 3 pixels along the hole's border and the picture's sides. They are nan where that
        leaves nothing; sharpness is nan where the photo is flat, anisotropy where the photo or the fill is.

    Raises: ValueError for sizes that differ and for a mask that keeps or removes everything.
    """
    if raw.shape != image.shape or raw.dtype.kind != "f":
        raise ValueError(
            f"The answer has shape {raw.shape} and type {raw.dtype}, but its photo needs float RGB in [0, 1] "
            f"of shape {image.shape}: change the fill."
        )
    hole = check_hole(mask, image.shape)[..., 0] == 0
    truth = image.astype(np.float64)
    raw = np.clip(raw, 0, 1, dtype=np.float64)
    filled = np.where(hole[..., np.newaxis], raw, truth)
    error, colours = filled - truth, _colours(filled[hole]) - _colours(truth[hole])
    return {
        "accuracy_raw": 100 * (1 - np.abs(raw - truth).mean()),
        "accuracy_filled": 100 * (1 - np.abs(error).mean()),
        "hole_accuracy": 100 * (1 - np.abs(error[hole]).mean()),
        "hole_psnr": _psnr(truth[hole], filled[hole]),
        "colour_cast": float(np.linalg.norm(colours.mean(axis=0))),
        "colour_error": float(np.linalg.norm(colours, axis=1).mean()),
        "psnr": _psnr(truth, filled),
        "ssim": _ssim(truth, filled),
        **_compare_detail(filled, truth, hole),
    }


def fine_detail(picture, where):
    """Mean |x − Gauss(x, σ 1.5 pixels)| over the pixels `where` and the three colours.

    picture: (H, W, 3). where: bool (H, W), with at least one pixel.
    """
    return float(np.abs(picture - cv2.GaussianBlur(picture, (0, 0), BLUR_SIGMA))[where].mean())


def directedness(picture, where):
    """How much of a texture runs along rows and columns rather than along diagonals.

    The mean |x[p − s] − 2·x[p] + x[p + s]| over the pixels p in `where` and the three colours, for steps s along rows
    and columns, ÷ the same along the two diagonals. White noise has 1, a smooth surface about 0.5, landscapes about
    0.7; the patterns that strided convolutions leave have more.

    picture: (H, W, 3). where: bool (H, W), with at least one pixel and none at the picture's sides.
    Returns a float; nan if nothing changes along the diagonals.
    """
    rows, columns = np.nonzero(where)

    def change(down, right):
        before, after = picture[rows - down, columns - right], picture[rows + down, columns + right]
        return np.abs(before - 2 * picture[rows, columns] + after).mean()

    diagonal = change(1, 1) + change(1, -1)
    return float((change(0, 1) + change(1, 0)) / diagonal) if diagonal > 1e-6 else math.nan


def _compare_detail(filled, truth, hole):
    """Sharpness and anisotropy of two (H, W, 3) pictures away from the border of the hole, bool (H, W)."""
    square = np.ones((2 * RIM + 1,) * 2, np.uint8)
    inside = cv2.erode(hole.astype(np.uint8), square, borderType=cv2.BORDER_CONSTANT, borderValue=0) == 1
    if not inside.any():
        return {"sharpness": math.nan, "anisotropy": math.nan}
    detail = fine_detail(truth, inside)
    return {
        "sharpness": fine_detail(filled, inside) / detail if detail > FLAT else math.nan,
        "anisotropy": directedness(filled, inside) / (directedness(truth, inside) or math.nan),
    }


def check_hole(mask, image_shape):
    """The mask, as `check_mask` has it; ValueError if it keeps or removes everything, too."""
    mask = check_mask(mask, image_shape)
    if mask.all() or not mask.any():
        raise ValueError(
            f"The mask {'keeps' if mask.all() else 'removes'} every pixel, which leaves nothing to measure: "
            "use a mask with kept and removed pixels."
        )
    return mask


def _psnr(truth, answer):
    with np.errstate(divide="ignore"):  # infinite where the two are equal
        return float(peak_signal_noise_ratio(truth, answer, data_range=1))


def _colours(pixels):
    """a* and b* (CIELAB) of (N, 3) sRGB values in [0, 1]: (N, 2)."""
    return cv2.cvtColor(pixels[np.newaxis].astype(np.float32), cv2.COLOR_RGB2LAB)[0, :, 1:].astype(np.float64)


def _ssim(truth, answer):
    if min(truth.shape[:2]) < SSIM_WINDOW:
        return math.nan
    as_published = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    return float(structural_similarity(truth, answer, data_range=1, channel_axis=-1, **as_published))
