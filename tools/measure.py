"""Measure a generator and the baselines on a folder of test photos; write the run files that figures are made from.

python tools/measure.py PHOTO_FOLDER --slow                 the shipped generator, into models/runs/
python tools/measure.py PHOTO_FOLDER --generator FILE --output FOLDER --count 50
python tools/measure.py PHOTO_FOLDER --name closer_look --count 50 --slow --vgg19 imagenet
"""

import argparse
import json
import os
import platform
import time
from pathlib import Path

import inpaint_utils.quiet  # noqa: F401  Keras without its backend's start-up messages, before anything loads it
from inpaint_utils import build_perceptual, evaluate, find_photos, load_generator, open_photos
from inpaint_utils import prepare_photos
from inpaint_utils.evaluation import check_disjoint
from inpaint_utils.files import write_atomically
from inpaint_utils.inference import baselines

ROOT = Path(__file__).resolve().parents[1]


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of test photos, used for nothing else")
    parser.add_argument("--generator", type=Path, help="a .keras file; the shipped one if not given")
    parser.add_argument("--output", type=Path, default=ROOT / "models" / "runs")
    parser.add_argument("--prepared", type=Path, default=ROOT / "outputs" / "test_photos", help="where they are kept")
    parser.add_argument("--count", type=int, help="measure the first so many photos")
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--name", default="evaluation", help="of the files written")
    parser.add_argument(
        "--slow",
        action="store_true",
        help="biharmonic and PatchMatch, too: up to a second a picture, needs the extra benchmark",
    )
    parser.add_argument("--vgg19", help='"imagenet" or a file of weights: adds the feature distance')
    parser.add_argument("--trained-on", type=Path, help="notebook 1's output folder: refuse photos that are in it")
    options = parser.parse_args(arguments)

    paths, skipped = find_photos(options.photos)
    photos = prepare_photos(
        paths, options.prepared, image_size=options.image_size, validation_share=0, test_share=0, skipped=skipped
    )
    if options.trained_on:
        check_disjoint(photos, open_photos(options.trained_on))
    fills = {"mean colour": baselines.mean_fill, "Telea": baselines.telea_fill}
    fills["Navier–Stokes"] = baselines.navier_stokes_fill
    if options.slow:
        fills |= {"biharmonic": baselines.biharmonic_fill, "PatchMatch": baselines.patch_fill}
    fills["smooth fill"] = baselines.smooth_fill
    fills["generator"] = load_generator(options.generator)
    perceptual = build_perceptual(options.vgg19) if options.vgg19 else None
    started = time.perf_counter()
    result = evaluate(fills, photos.images, count=options.count, perceptual=perceptual)
    result.write(options.output, options.name)
    minutes = round((time.perf_counter() - started) / 60, 1)
    machine = {
        "minutes": minutes,
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "photo_folder": options.photos.name,
    }
    write_atomically(options.output / f"{options.name}_machine.json", json.dumps(machine, indent=1) + "\n")
    print(result.to_markdown())


if __name__ == "__main__":
    main()
