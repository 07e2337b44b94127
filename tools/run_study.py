"""Run the study: the trainings that docs/TRAINING_STORY.md compares, by notebook 2, from its settings.json.

    python tools/run_study.py PHOTOS TEST_PHOTOS                       every run that has no result yet
    python tools/run_study.py PHOTOS TEST_PHOTOS balanced_0 black      some of them

Each run writes its history, results/runs/study/NAME.csv, and its settings, scale and measures on the test photos,
NAME.json. A run that was killed goes on where it was.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import inpaint_utils.quiet  # noqa: F401  Keras without its backend's start-up messages, before anything loads it
import keras
from inpaint_utils import evaluate, find_photos, load_generator, open_photos, prepare_photos
from inpaint_utils.app.command import run_tool
from inpaint_utils.inference.baselines import mean_fill, navier_stokes_fill, telea_fill
from inpaint_utils.evaluation.evaluate import check_disjoint
from inpaint_utils.files import write_atomically

ROOT = Path(__file__).resolve().parents[1]
RESULTS, OUTPUTS = ROOT / "results" / "runs" / "study", ROOT / "outputs" / "study"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of training photos")
    parser.add_argument("test_photos", type=Path, help="folder of test photos")
    parser.add_argument("runs", nargs="*", help="names of runs in settings.json; none: all that have no result")
    parser.add_argument(
        "--vgg19", default="imagenet", help='"imagenet" or a file of weights, for the runs that use them'
    )
    options = parser.parse_intermixed_args(arguments)
    study = json.loads((RESULTS / "settings.json").read_text(encoding="utf-8"))
    unknown = set(options.runs) - set(study["runs"])
    if unknown:
        parser.error(f"there is no run {', '.join(sorted(unknown))}, expected some of {', '.join(study['runs'])}.")

    photos = OUTPUTS / "01_data_preprocessing"
    if not (photos / "manifest.json").is_file():
        run_notebook("01", {"photo_folder": options.photos.resolve(), "output_folder": OUTPUTS, **study["photos"]})
    size = study["photos"]["image_size"]
    paths, skipped = find_photos(options.test_photos)
    shares = dict(validation_share=0, test_share=0)
    test = prepare_photos(paths, OUTPUTS / "test", image_size=size, skipped=skipped, progress=None, **shares)
    check_disjoint(test, open_photos(photos))
    if not (RESULTS / "baselines.json").is_file():
        fills = {"mean colour": mean_fill, "Telea": telea_fill, "Navier–Stokes": navier_stokes_fill}
        write_result("baselines", measure_fills(fills, test, study))
    for name in options.runs or [n for n in study["runs"] if not (RESULTS / f"{n}.json").is_file()]:
        run(name, study, photos, test, options.vgg19)


def run(name, study, photos, test, vgg19):
    """One training by notebook 2 and its measures."""
    settings, folder = {**study["common"], **study["runs"][name]}, OUTPUTS / name
    remember_settings(folder, settings)
    if not (folder / photos.name).exists():
        (folder / photos.name).symlink_to(photos, target_is_directory=True)
    given = {"vgg19_weights": vgg19} if "vgg19_weights" in settings else {}
    run_notebook("02", {"output_folder": folder, **settings, **given})
    trained = folder / "02_model_training"
    history = (trained / "history.csv").read_text(encoding="utf-8")
    write_atomically(RESULTS / f"{name}.csv", history)
    generator = load_generator(trained / "generator_best.keras")
    scale = {
        "photos": len(open_photos(photos).split("train")),
        "weights": generator.count_params(),
        "backend": keras.backend.backend(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
    }
    write_result(name, {"settings": settings, "scale": scale, **measure_fills({"generator": generator}, test, study)})


def remember_settings(folder, settings):
    """Note what a folder's training is made with; ValueError if that were other settings than these.

    A finished training is not repeated: its networks would be recorded as made with these settings.
    """
    path = folder / "settings.json"
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != settings:
        raise ValueError(f"{folder} holds a training with other settings: delete it to train anew, or go back to them.")
    write_atomically(path, json.dumps(settings, indent=1))


def measure_fills(fills, test, study):
    return {"evaluation": evaluate(fills, test.images, count=study["test_photos"], progress=False).to_dict()}


def write_result(name, result):
    write_atomically(RESULTS / f"{name}.json", json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(f"{name}: done", flush=True)


def run_notebook(number, parameters, executed=OUTPUTS / "notebooks"):
    """Run one notebook by tools/run_notebooks.py, its own settings the defaults; `executed` gets the executed copy."""
    command = [sys.executable, ROOT / "tools" / "run_notebooks.py", number, "-o", executed]
    if number == "02":  # its two short trainings are for those who read it
        parameters = {"balance_epochs": 0, **parameters}
    for key, value in parameters.items():
        command += ["-p", key, str(value)]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    run_tool(main)
