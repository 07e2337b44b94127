"""Helpers for landscape photo inpainting with a GAN: masks, edges, networks, training, inference, evaluation.

Every public name can be imported from here; a module is loaded when its first name is used, so that masks and
edges do not wait for Keras.
"""

import importlib

from .backend import name_backend

__version__ = "0.1.0"

_MODULES = {
    "data.images": ("load_image", "save_image"),
    "data.photos": ("PhotoSet", "find_photos", "open_photos", "prepare_photos", "sample_photos"),
    "data.masks": ("DIFFICULTIES", "MASK_KINDS", "check_mask", "create_mask", "load_mask"),
    "data.edges": ("combine_edges", "detect_edges"),
    "data.batches": ("PhotoBatches", "decode_batch"),
    "networks.models": ("build_discriminator", "build_generator"),
    "networks.perceptual": ("build_perceptual", "perceptual_distance"),
    "training.gan": ("InpaintingGAN", "ThrottledAdam"),
    "training.callbacks": ("SaveBest", "TimeBudget", "TrainingMonitor", "plan_learning_rate"),
    "training.resume": ("Resume",),
    "training.recipe": ("choose_weights", "make_callbacks"),
    "inference.inpaint": ("build_input", "inpaint", "load_generator"),
    "inference.baselines": (
        "biharmonic_fill",
        "mean_fill",
        "navier_stokes_fill",
        "patch_fill",
        "smooth_fill",
        "telea_fill",
    ),
    "inference.export": ("export_generator",),
    "evaluation.evaluate": ("draw_mask", "evaluate"),
    "evaluation.judging": ("Judging",),
    "host": (
        "choose_output_folder",
        "choose_profile",
        "find_host",
        "find_photo_folder",
        "find_process",
        "is_interactive",
        "set_up_devices",
    ),
    "stages": (
        "check_settings",
        "measure_gain",
        "open_networks",
        "open_or_prepare",
        "open_tested_generators",
        "prepare_yours",
        "tabulate",
        "take_split",
    ),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}
__all__ = sorted(_HOME)


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"inpaint_utils has no {name!r}; it has {', '.join(__all__)}.")
    try:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    except (ImportError, ValueError) as error:
        raise name_backend(error) from error


def __dir__():
    return __all__
