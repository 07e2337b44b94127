"""Helpers for landscape photo inpainting with a GAN: masks, edges, networks, training, inference, evaluation.

Every public name can be imported from here; a module is loaded when its first name is used, so that masks and
edges do not wait for Keras.
"""

import importlib

__version__ = "0.1.0"

_MODULES = {
    "images": ("load_image", "save_image"),
    "photos": ("PhotoSet", "find_photos", "open_photos", "prepare_photos", "sample_photos"),
    "masks": ("DIFFICULTIES", "MASK_KINDS", "check_mask", "create_mask", "load_mask"),
    "edges": ("combine_edges", "detect_edges"),
    "batches": ("PhotoBatches",),
    "models": ("build_discriminator", "build_generator"),
    "perceptual": ("build_perceptual", "perceptual_distance"),
    "gan": ("InpaintingGAN", "ThrottledAdam", "decode_batch"),
    "inference": ("build_input", "inpaint", "load_generator"),
    "evaluation": ("evaluate",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}
__all__ = sorted(_HOME)


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"inpaint_utils has no {name!r}; it has {', '.join(__all__)}.")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


def __dir__():
    return __all__
