"""What an earlier notebook left: its photos, its networks, or what stands in for them where it has not run."""

import dataclasses
from pathlib import Path

import cv2
import keras
import numpy as np

from .data.photos import find_photos, open_photos, prepare_photos
from .host import INPUT_FOLDER, choose_output_folder, find_photo_folder
from .inference.inpaint import find_generator, load_generator
from .networks.models import build_discriminator, build_generator, change_precision


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


def _shrink(photos, image_size):
    size = (image_size, image_size)
    images = np.stack([cv2.resize(photo, size, interpolation=cv2.INTER_AREA) for photo in photos.images])
    return dataclasses.replace(photos, images=images)
