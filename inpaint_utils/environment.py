"""Where a notebook runs and what it finds there: host, folders, photos, accelerators."""

import contextlib
import dataclasses
import os
from pathlib import Path

import cv2
import keras
import numpy as np

from .folders import INPUT_FOLDER, KAGGLE_FOLDER, find_output_folder
from .inference import find_generator, load_generator
from .models import build_discriminator, build_generator, change_precision
from .photos import find_photos, open_photos, prepare_photos, sample_photos

DATASETS = (  # landscape photo datasets on Kaggle, and where their photos lie
    "landscape-image-colorization/landscape Images/color",
    "gan-getting-started/photo_jpg",
)


def find_host():
    """ "kaggle", "colab" or "local"."""
    if (KAGGLE_FOLDER / "working").is_dir():
        return "kaggle"
    return "colab" if "COLAB_RELEASE_TAG" in os.environ else "local"


def is_interactive():
    """True where somebody watches: then progress bars are drawn. False headless (our runner, Kaggle's Save & Run)."""
    return "INPAINT_HEADLESS" not in os.environ and os.environ.get("KAGGLE_KERNEL_RUN_TYPE") != "Batch"


def choose_output_folder(name, folder=""):
    """The folder a notebook writes to, created: `folder`/name, or `/kaggle/working`/name, or `outputs`/name."""
    path = Path(folder or find_output_folder()) / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def find_output(name, file, folder=""):
    """What an earlier notebook wrote: its path below this run's outputs, or in an added Kaggle input, or None.

    Args:
        name: the notebook's output folder, such as "01_data_preprocessing".
        file: a file in it. folder: as in `choose_output_folder`.
    """
    own = choose_output_folder("", folder) / name / file
    if own.is_file():
        return own
    found = sorted(INPUT_FOLDER.rglob(f"{name}/{file}")) if INPUT_FOLDER.is_dir() else []
    return found[0] if found else None


def find_photo_folder(folder=""):
    """Where the photos are.

    Args:
        folder: a folder to use; "" to look for a landscape dataset under `/kaggle/input` (see DATASETS), and to
            fall back on the sample photos that come with the package.

    Returns: Path.
    Raises: FileNotFoundError if a folder was given and is not there.
    """
    if folder:
        if not Path(folder).is_dir():
            raise FileNotFoundError(
                f"photo_folder is {str(folder)!r}, which is not a folder: give the folder that holds the photos, "
                'or "" for the sample photos.'
            )
        return Path(folder)
    for dataset in DATASETS:
        name, _, inside = dataset.partition("/")
        # Kaggle mounts a dataset at input/<name> or, since 2025, at input/datasets/<owner>/<name>.
        for root in (
            INPUT_FOLDER / name,
            *sorted(INPUT_FOLDER.glob(f"*/{name}")),
            *sorted(INPUT_FOLDER.glob(f"*/*/{name}")),
        ):
            if (root / inside).is_dir():
                return root / inside
    return sample_photos()[0].parent


def open_or_prepare(folder, image_size, seed):
    """The photos that notebook 1 prepared in this size, from its outputs or a Kaggle input; else prepare them now.

    Says which. Args: folder: as in `choose_output_folder`. image_size: pixels. seed: of the split.
    """
    manifest = find_output("01_data_preprocessing", "manifest.json", folder)
    if manifest is not None:
        photos = open_photos(manifest.parent)
        if photos.image_size >= image_size:
            print(f"photos: {len(photos.records)} prepared by notebook 1")
            return photos if photos.image_size == image_size else _shrink(photos, image_size)
        print(f"notebook 1 prepared {photos.image_size} px, {image_size} px are needed: ", end="")
    source = find_photo_folder()
    paths, skipped = find_photos(source)
    output = choose_output_folder(f"photos_{image_size}", folder)
    photos = prepare_photos(
        paths, output, image_size=image_size, seed=seed, limit=2000, skipped=skipped, progress=False
    )
    print(f"photos: {len(photos.records)} of {source.name}/ prepared now")
    return photos


def open_networks(folder, seed):
    """Generator and discriminator to fine-tune: notebook 2's best, else the shipped generator and a new discriminator.

    Says which. They compute in the precision that `set_up_devices` settled. Args: folder: as in
    `choose_output_folder`. seed: of a new network's weights.
    """
    path = find_output("02_model_training", "generator_best.keras", folder)
    discriminator = None
    if path is not None:
        generator = load_generator(path)
        discriminator = keras.models.load_model(path.with_name("discriminator_best.keras"), compile=False)
        print("networks: the best of notebook 2")
    elif find_generator() is not None:
        generator = load_generator()
        print("networks: the generator that ships with the project, a new discriminator")
    else:
        generator = build_generator(None, 16, seed=seed)
        print("networks: new and untrained, because notebook 2 has not run and no generator ships")
    networks = generator, discriminator or build_discriminator(None, 16, seed=seed + 1)
    policy = keras.config.dtype_policy().name
    return networks if policy == "float32" else tuple(change_precision(network, policy) for network in networks)


def open_tested_generator(path, folder):
    """The generator to test: the file at `path`, else the shipped one, else the best of notebook 3 or 2. Says which."""
    places = [("the shipped one", find_generator())]
    for notebook in ("03_model_finetuning", "02_model_training"):
        places.append((f"the best of {notebook}", find_output(notebook, "generator_best.keras", folder)))
    if path:
        places = [(Path(path).name, path)]
    for name, place in places:
        if place is not None:
            print(f"generator: {name}")
            return load_generator(place)
    return load_generator()  # raises, and says what to do


def set_up_devices(precision="auto"):
    """Settle what the training runs on, and print it.

    All GPUs of this machine are used: by `tf.distribute.MirroredStrategy` on TensorFlow, by
    `keras.distribution.DataParallel` on JAX; on JAX also those of the other processes, if the variables
    KERAS_DISTRIBUTION_JOB_ADDRESSES, …_NUM_PROCESSES and …_PROCESS_ID are set (docs/TRAINING_AT_SCALE.md).

    Args:
        precision: "float32", "mixed_float16" (T4 and newer), "mixed_bfloat16" (A100 and newer), or "auto": the
            fitting one of the first two.

    Returns: a context manager in which to build the networks (the strategy's scope).
    """
    gpus, devices, scope = _count_gpus(), 1, contextlib.nullcontext()
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        scope = tf.distribute.MirroredStrategy().scope() if gpus > 1 else scope
    elif keras.backend.backend() == "jax":
        devices = len(keras.distribution.list_devices())
        if devices > 1:  # `auto_shard_dataset` is for tf.data; here each process draws its own share
            keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    if precision == "auto":
        precision = "mixed_float16" if gpus else "float32"
    keras.config.set_dtype_policy(precision)
    device = f"{gpus} GPU{'s' * (gpus > 1)}" if gpus else "CPU" if devices == 1 else f"{devices} CPU devices"
    number, count = find_process()
    process = f", process {number} of {count}" if count > 1 else ""
    print(f"{find_host()}, {keras.backend.backend()} on {device}, {precision}{process}")
    return scope


def choose_profile(profile="auto"):
    """ "full" or "quick"; "auto" is full where a GPU is visible, quick otherwise.

    Raises: ValueError for any other name.
    """
    if profile == "auto":
        return "full" if _count_gpus() else "quick"
    if profile not in ("full", "quick"):
        raise ValueError(f"profile is {profile!r}, expected 'auto', 'full' or 'quick'.")
    return profile


def find_process():
    """This process's number and how many train together: `PhotoBatches(share=find_process())`. (0, 1) if alone."""
    if keras.backend.backend() != "jax":
        return 0, 1
    import jax

    _join_processes()
    return jax.process_index(), jax.process_count()


def _count_gpus():
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return len(tf.config.list_physical_devices("GPU"))
    _join_processes()
    try:
        return len(keras.distribution.list_devices("gpu"))
    except RuntimeError:  # JAX raises where it has no GPU platform
        return 0


def _join_processes():
    """Meet the other processes of a training over several; JAX can only before its first look at the devices."""
    if keras.backend.backend() != "jax" or "KERAS_DISTRIBUTION_JOB_ADDRESSES" not in os.environ:
        return
    import jax

    if not jax.distributed.is_initialized():
        keras.distribution.initialize()


def _shrink(photos, image_size):
    size = (image_size, image_size)
    images = np.stack([cv2.resize(photo, size, interpolation=cv2.INTER_AREA) for photo in photos.images])
    return dataclasses.replace(photos, images=images)
