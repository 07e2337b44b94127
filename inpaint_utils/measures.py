"""Measures of one filled picture: of the whole, and of the hole alone."""

import math

import cv2
import numpy as np

from .data.masks import check_mask

# Unit and number of decimals of each measure. Perfect are 100 %, infinity, 0 (cast, error, distance) and 1.
MEASURES = {
    "accuracy_raw": ("%", 2),
    "accuracy_filled": ("%", 2),
    "hole_accuracy": ("%", 2),
    "hole_psnr": ("dB", 2),
    "colour_cast": ("a*b*", 2),
    "colour_error": ("a*b*", 2),
    "psnr": ("dB", 2),
    "ssim": ("", 3),
    "feature_distance": ("", 3),
}
SSIM_WINDOW, SSIM_SIGMA = (11, 11), 1.5  # Wang et al. 2004; the tails end where scikit-image cuts them


def measure(raw, image, mask):
    """Compare a fill's answer with the truth.

    raw: (H, W, 3) RGB in [0, 1], the answer. image: the true picture, same form. mask: 1 = keep, 0 = remove.

    Returns a dict of floats: accuracy_raw and accuracy_filled, 100 * (1 - mean absolute error) over the whole
    picture, of the answer itself and of the filled picture, which has the kept pixels put back. All others
    measure the filled one: hole_accuracy and hole_psnr (dB) in the hole only; colour_cast, how far the hole's mean
    hue is off: the distance of its mean a*, b* from the photo's (CIELAB of sRGB, lightness left out; a colour
    difference of 2.3 is just noticeable, Mahy et al. 1994); colour_error, the mean over its pixels of that distance,
    where spots of one tint do not make up for those of another; psnr (dB) and ssim (Wang et al. 2004; nan below 11
    pixels) over the whole picture. Values outside [0, 1] are clipped. Raises ValueError for sizes that differ and
    for a mask that keeps or removes everything.
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
        "hole_psnr": _psnr(error[hole]),
        "colour_cast": float(np.linalg.norm(colours.mean(axis=0))),
        "colour_error": float(np.linalg.norm(colours, axis=1).mean()),
        "psnr": _psnr(error),
        "ssim": _ssim(filled, truth),
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


def _psnr(error):
    mean_square = float(np.square(error).mean())
    return math.inf if mean_square == 0 else -10 * math.log10(mean_square)


def _colours(pixels):
    """a* and b* (CIELAB) of (N, 3) sRGB values in [0, 1]: (N, 2)."""
    return cv2.cvtColor(pixels[np.newaxis].astype(np.float32), cv2.COLOR_RGB2LAB)[0, :, 1:].astype(np.float64)


def _ssim(a, b):
    """Structural similarity of two (H, W, 3) pictures in [0, 1], as scikit-image has it (Gaussian window)."""
    if min(a.shape[:2]) < SSIM_WINDOW[0]:
        return math.nan

    def blur(x):
        return cv2.GaussianBlur(x, SSIM_WINDOW, SSIM_SIGMA, borderType=cv2.BORDER_REFLECT)

    mean_a, mean_b = blur(a), blur(b)
    squares = blur(a * a + b * b) - mean_a**2 - mean_b**2  # the two variances
    product = blur(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_a * mean_b + c1) * (2 * product + c2) / ((mean_a**2 + mean_b**2 + c1) * (squares + c2))
    rim = SSIM_WINDOW[0] // 2  # where the window reaches over the picture's sides
    return float(similarity[rim:-rim, rim:-rim].mean())
