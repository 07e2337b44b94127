"""Fit the shipped generator to other pictures, and measure what that gained and what was forgotten.

    python tools/adapt.py LANDSCAPES city=FOLDER paintings=FOLDER large=FOLDER

Every FOLDER holds two folders of photos, train and test. LANDSCAPES are test photos of the shipped generator's own
kind. What is done with each name stands in results/runs/domains/settings.json: notebook 3 adapts, notebook 2 trains
from scratch for as many steps, tools/evaluate.py measures both beside the shipped generator and methods without
training. At the end the adapted generators fill the landscapes. All results go to results/runs/domains/.

A run that was killed goes on where it was. What has a result of this generator and these settings is not run again.
"""

import argparse
import hashlib
import json
import os
import platform
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import inpaint_utils.quiet  # noqa: F401  Keras without its backend's start-up messages, before anything loads it
import evaluate
from inpaint_utils import inpaint, load_generator, load_image, open_photos, save_image
from inpaint_utils.app.command import run_tool
from inpaint_utils.files import write_atomically
from inpaint_utils.inference.inpaint import find_generator
from make_figures import draw_hole, read_history, read_run
from run_study import run_notebook

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results" / "runs" / "domains"
NOTEBOOKS = {"adapted": ("03", "03_make_it_yours"), "from scratch": ("02", "02_model_training")}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("landscapes", type=Path, help="folder of test photos of the shipped generator")
    parser.add_argument("domains", nargs="+", metavar="NAME=FOLDER", help="a name in the settings, and its photos")
    parser.add_argument("--settings", type=Path, default=RESULTS / "settings.json")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the run files")
    parser.add_argument("--output", type=Path, default=ROOT / "outputs" / "domains", help="folder for the trainings")
    parser.add_argument("--vgg19", default="imagenet", help='"imagenet" or a file of weights')
    options = parser.parse_intermixed_args(arguments)
    settings = read_run(options.settings)
    folders = read_folders(options.domains, settings["domains"], parser.error)
    for folder in (options.landscapes, *(folder / part for folder in folders.values() for part in ("train", "test"))):
        if not folder.is_dir():
            parser.error(f"{str(folder)!r} is not a folder: give the folders of photos.")

    adapted = {}
    for name, folder in folders.items():
        adapted[name] = run_domain(name, settings, folder.resolve(), options)
    measure_forgotten(adapted, settings["forgotten"], options)


def read_folders(pairs, known, fail):
    """{"city": Path("photos/city")} from ["city=photos/city"]."""
    folders = {}
    for pair in pairs:
        name, separator, folder = pair.partition("=")
        if not separator or name not in known:
            fail(f"{pair!r} is no NAME=FOLDER with a name of the settings: {', '.join(known)}.")
        folders[name] = Path(folder)
    return folders


def run_domain(name, settings, folder, options):
    """Adapt, train from scratch and measure, as far as that is not done; returns the adapted generator's path."""
    domain = settings["domains"][name]
    arms = {arm: {**settings["common"], **settings[arm], **domain.get(arm, {})} for arm in domain["arms"]}
    mark = make_mark(arms, domain)
    output = options.output.resolve() / f"{name}_{mark}"  # another generator or other settings: another folder
    best, scale = {"unadapted": find_generator()}, {}
    for arm, given in arms.items():
        trained = train(arm, given, folder / "train", output / arm.replace(" ", "_"), options.vgg19)
        best[arm] = trained / "generator_best.keras"
        scale[arm] = describe_scale(trained, given)
        history = (trained / "history.csv").read_text(encoding="utf-8")
        write_atomically(options.results / f"{name}_{arm.replace(' ', '_')}.csv", history)
    if not is_done(options.results / f"{name}_runs.json", mark):
        beside = [text for pair in best.items() for text in ("--beside", *map(str, pair))]
        photos = output / "adapted" / "photos_of_yours"
        given = [*domain["evaluate"], "--vgg19", options.vgg19, "--modes", "blind", "--trained-on", str(photos)]
        measure(folder / "test", name, output / "test_photos", [*beside, *given], options.results)
        draw_fills(name, domain, arms["adapted"]["image_size"], folder / "test", best["adapted"], options.results)
        machine = f"{os.cpu_count()} cores, {platform.machine()}"
        result = {"mark": mark, "generator_sha256": hash_file(best["unadapted"]), "machine": machine}
        write_result(options.results / f"{name}_runs.json", {**result, "settings": arms, "scale": scale})
    print(f"{name}: done", flush=True)
    return best["adapted"]


def make_mark(*parts):
    """Eight letters that change with the shipped generator and with whatever is given."""
    text = json.dumps([hash_file(find_generator()), *parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def hash_file(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def is_done(path, mark):
    return path.is_file() and read_run(path)["mark"] == mark


def train(arm, settings, photos, output, vgg19):
    """One training by its notebook, if it is not done; returns the folder of its best networks."""
    number, folder = NOTEBOOKS[arm]
    if not (output / "done").is_file():
        output.mkdir(parents=True, exist_ok=True)
        given = {**settings, "output_folder": output}
        given |= {"vgg19_weights": vgg19} if "vgg19_weights" in settings else {}
        if number == "03":
            given["photo_folder"] = photos
        elif not (output / "01_data_preprocessing" / "manifest.json").is_file():
            prepared = {"photo_folder": photos, "output_folder": output, "image_size": settings["image_size"]}
            run_notebook("01", prepared, output / "notebooks")
        run_notebook(number, given, output / "notebooks")
        write_atomically(output / "done", "")
    return output / folder


def describe_scale(trained, settings):
    """How much was trained: photos, photos shown, minutes of all epochs with their validation, weights."""
    prepared = trained.parent / ("photos_of_yours" if trained.name.startswith("03") else "01_data_preprocessing")
    seconds = read_history(trained / "history.csv")["seconds"]
    return {
        "photos": len(open_photos(prepared).split("train")),
        "photos_shown": len(seconds) * (settings["samples"] // settings["batch_size"]) * settings["batch_size"],
        "minutes": round(seconds.sum() / 60, 1),
        "weights": load_generator(trained / "generator_best.keras").count_params(),
    }


def measure(photos, name, prepared, arguments, results):
    evaluate.main([str(photos), "--name", name, "--output", str(results), "--prepared", str(prepared), *arguments])


def draw_fills(name, domain, size, photos, generator, results):
    """The pictures that may be shown, and what the adapted generator puts into their holes: see tools/make_figures."""
    generator = load_generator(generator)
    for number, file in enumerate(domain.get("shown", [])):
        picture, path = load_image(photos / file, size=size), results / "pictures" / f"{name}_{number}.jpg"
        save_image(path, picture)
        picture = load_image(path)  # as it is drawn: a JPEG changes every pixel a little
        mask = draw_hole(picture.shape, number)
        save_image(path.with_stem(f"{path.stem}_adapted"), inpaint(generator, picture, mask, detail=0))


def measure_forgotten(adapted, settings, options):
    """The adapted generators on the landscapes, beside the shipped one."""
    marks = {name: path.parents[2].name for name, path in adapted.items()}
    mark = make_mark(marks, settings)
    if is_done(options.results / "forgotten_runs.json", mark):
        return
    rows = {"unadapted": find_generator(), **{f"adapted to {name}": path for name, path in adapted.items()}}
    beside = [text for pair in rows.items() for text in ("--beside", *map(str, pair))]
    given = [*settings["evaluate"], "--vgg19", options.vgg19, "--modes", "blind", "--count", str(settings["photos"])]
    measure(options.landscapes, "forgotten", options.output / "landscapes", [*beside, *given], options.results)
    write_result(options.results / "forgotten_runs.json", {"mark": mark, "adapted": marks})


def write_result(path, result):
    write_atomically(path, json.dumps(result, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    run_tool(main)
