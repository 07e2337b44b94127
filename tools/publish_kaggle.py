"""Write what Kaggle needs to outputs/kaggle/: the module as a data set, and the notebooks, fed by those before them.

python tools/publish_kaggle.py OWNER           writes it, and prints the commands that publish it
python tools/publish_kaggle.py OWNER --push    runs these commands, too, and waits for every notebook to be complete

OWNER is the name in the address of your Kaggle profile. The command `kaggle` comes with `pip install kaggle`.
"""

import argparse
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "outputs" / "kaggle"
MODULE = "inpaint-utils"  # the data set that holds the wheel
PHOTOS = ("theblackmamba31/landscape-image-colorization", "gan-getting-started")  # a data set, a competition
WITHOUT_GPU = ("01",)
SECONDS_BETWEEN_LOOKS = 60
MOST_FAILED_LOOKS = 5  # in a row


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("owner", help="your name on Kaggle")
    parser.add_argument("--photos", choices=PHOTOS, default=PHOTOS[0], help="the competition wants its rules accepted")
    parser.add_argument("--first", type=int, default=1, choices=range(1, 5), help="the notebook to begin with")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--push", action="store_true", help="publish: private, in your name")
    options = parser.parse_args(arguments)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*", options.owner):
        parser.error(f"the owner is {options.owner!r}, expected the name in your profile's address, such as jane-doe.")
    if options.push and not shutil.which("kaggle"):
        parser.error(
            "there is no command kaggle on the PATH: pip install kaggle, with a token from kaggle.com/settings."
        )
    try:
        data = write_module(options.output, options.owner)
        kernels = write_kernels(options.output, options.owner, options.photos)[options.first - 1 :]
        if options.push:
            push(data, kernels)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    if not options.push:
        for command in list_commands(data, kernels):
            print(*command)
        print("Push a notebook when the one before it is complete, or run this again with --push.")
    return 0


def write_module(folder, owner):
    """The data set with the wheel, its licence and the table of the sample photos' licences; returns its folder."""
    data = folder / MODULE
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    build_wheel(data)
    shutil.copy(ROOT / "LICENSE", data)
    shutil.copy(ROOT / "inpaint_utils" / "sample_photos" / "README.md", data / "sample_photos_licences.md")
    # Kaggle knows one licence for all: the code is MIT, the sample photos in the wheel are CC BY.
    write_json(
        data / "dataset-metadata.json",
        {"title": MODULE, "id": f"{owner}/{MODULE}", "licenses": [{"name": "other"}]},
    )
    return data


def build_wheel(folder):
    """Build the package's wheel into a folder and return its path; the checkout stays as it is.

    Raises: RuntimeError, with the first error that pip names.
    """
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder)]
    if has_setuptools():  # pip fetches it otherwise
        command.append("--no-build-isolation")
    with tempfile.TemporaryDirectory() as copy:
        for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, copy)
        for name in ("inpaint_utils", "models"):
            shutil.copytree(ROOT / name, Path(copy, name), ignore=shutil.ignore_patterns("__pycache__"))
        done = subprocess.run([*command, copy], capture_output=True, text=True)
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["pip says nothing"]
        reason = next((line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")), lines[-1])
        raise RuntimeError(f"The wheel could not be built ({reason}): pip install 'setuptools>=77', or go online.")
    return next(Path(folder).glob("*.whl"))


def has_setuptools():
    try:
        return int(importlib.metadata.version("setuptools").split(".")[0]) >= 77
    except importlib.metadata.PackageNotFoundError:
        return False


def write_kernels(folder, owner, photos=PHOTOS[0]):
    """A folder for each notebook, with its kernel-metadata.json; returns them in order."""
    folders, earlier = [], []
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        number, words = path.stem.split("_", 1)
        title = f"Landscape inpainting {int(number)} {words.replace('_', ' ')}"
        kernel = {
            "id": f"{owner}/{title.lower().replace(' ', '-')}",  # Kaggle wants the title's own slug
            "title": title,
            "code_file": path.name,
            "language": "python",
            "kernel_type": "notebook",
            "is_private": True,
            "enable_gpu": number not in WITHOUT_GPU,
            **({} if number in WITHOUT_GPU else {"machine_shape": "NvidiaTeslaT4"}),  # two of them
            "enable_internet": True,
            "docker_image_pinning_type": "original",
            "dataset_sources": [f"{owner}/{MODULE}", *([photos] if "/" in photos else [])],
            "competition_sources": [] if "/" in photos else [photos],
            "kernel_sources": list(earlier),
            "model_sources": [],
        }
        folders.append(folder / path.stem)
        folders[-1].mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folders[-1])
        write_json(folders[-1] / "kernel-metadata.json", kernel)
        earlier.append(kernel["id"])
    return folders


def write_json(path, content):
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_id(folder):
    return json.loads(next(folder.glob("*-metadata.json")).read_text(encoding="utf-8"))["id"]


def list_commands(data, kernels, exists=False):
    """The commands that publish what was written, as lists of words."""
    places = [os.path.relpath(folder) for folder in (data, *kernels)]
    first = ["version", "-m", "update"] if exists else ["create"]
    return [
        ["kaggle", "datasets", *first, "-p", places[0]],
        *(["kaggle", "kernels", "push", "-p", place] for place in places[1:]),
    ]


def push(data, kernels):
    """Publish the data set, then one notebook after the other. Raises RuntimeError where Kaggle says no."""
    exists = ask("datasets", "status", read_id(data)).returncode == 0
    for folder, command in zip((data, *kernels), list_commands(data, kernels, exists), strict=True):
        print(*command, flush=True)
        refusal = find_refusal(ask(*command[1:]), "" if folder == data else "successfully pushed")
        if refusal:
            raise RuntimeError(f"kaggle refused {folder.name} ({refusal}): mend that, then go on with --first.")
        wait("datasets" if folder == data else "kernels", read_id(folder))


def find_refusal(done, expected):
    """The line in which kaggle refuses, whose exit status may be 0 all the same; empty where it agrees.

    expected: what it says when it agrees.
    """
    lines = read_lines(done)
    for line in lines:  # an owner or a file may have the word in its name
        if re.search(r"(?<![\w/-])errors?(?![\w/-])|not valid", line, flags=re.I):
            return line
    return "" if done.returncode == 0 and expected in done.stdout else lines[-1]


def wait(kind, name):
    """Until Kaggle calls it ready or complete. Raises RuntimeError where that will not happen, or cannot be seen."""
    failed = 0
    while True:
        done = ask(kind, "status", name)
        failed = failed + 1 if done.returncode else 0
        if failed == MOST_FAILED_LOOKS:
            raise RuntimeError(
                f"kaggle did not tell the status of {name} {failed} times in a row ({read_lines(done)[-1]}): "
                "look at it on Kaggle, then go on with --first."
            )
        status = "" if failed else read_status(done.stdout)
        if re.fullmatch("ready|complete", status, flags=re.I):
            return
        if re.match("error|cancel|fail", status, flags=re.I):
            raise RuntimeError(f"{name} did not finish ({status}): look at its log on Kaggle, then go on with --first.")
        time.sleep(SECONDS_BETWEEN_LOOKS)


def read_status(said):
    """The status alone: a notebook's follows its name, which may hold any word, and a data set's is the last line."""
    found = re.search(r'has status "?(?:\w+\.)?(\w+)', said)
    return found[1] if found else said.strip().rpartition("\n")[2]


def read_lines(done):
    """What a command said, its errors last; at least one line."""
    said = f"{done.stdout}\n{done.stderr}".splitlines()
    return [line.strip().rstrip(".") for line in said if line.strip()] or ["it says nothing"]


def ask(*words):
    return subprocess.run(["kaggle", *words], capture_output=True, text=True)


if __name__ == "__main__":
    sys.exit(main())
