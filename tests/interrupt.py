"""Kill -9 at random moments, full and read-only disks, two runs in one folder; pytest does not collect this.

    python tests/interrupt.py --kills 20 --seed 0

Five jobs on small networks and photos: preprocessing, training, fine-tuning, evaluation and a folder of photos filled
by the command. Each runs once in peace, to compare with. Then it is killed, at a moment drawn from the seed, half of
the time in a folder that holds the result of an earlier run. Every file that lies there must be whole. And it runs once
more, which must end with the result of the run in peace, and lose no networks that the earlier run had made. Prints a
table; ends with 1 if one case did not recover.
"""

import argparse
import contextlib
import csv
import ctypes
import hashlib
import json
import os
import random
import re
import resource
import runpy
import shutil
import signal
import sys
import tempfile
import time
import warnings
import zipfile
from pathlib import Path

os.environ["INPAINT_HEADLESS"] = "1"
PROJECT = Path(__file__).parents[1]
sys.path[:0] = [str(Path(__file__).parent), str(PROJECT)]

# Imported, but never run here: each job is a fork of this process, so that it need not load Keras again.
import inpaint_utils.quiet  # noqa: E402, F401, I001
import keras  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
from tiny import build_tiny_discriminator, build_tiny_generator  # noqa: E402

from inpaint_utils import InpaintingGAN, PhotoBatches, ThrottledAdam, find_photos  # noqa: E402
from inpaint_utils import load_image, make_callbacks, open_photos, prepare_photos, save_image  # noqa: E402
from inpaint_utils.app import command  # noqa: E402

EVALUATE = runpy.run_path(str(PROJECT / "tools" / "evaluate.py"))["main"]
EPOCHS = 3
FULL = 6000  # bytes that a file may have on the full disk


def make_inputs(root):
    rng = np.random.default_rng(0)
    for i in range(12):
        photo = np.kron(rng.random((4, 5, 3)), np.ones((40, 40, 1))) * 0.9 + rng.random((160, 200, 3)) * 0.1
        save_image(root / "photos" / f"{i:02}.jpg", photo)
    mask = np.full((160, 200), 255, np.uint8)
    mask[50:90, 70:120] = 0
    Image.fromarray(mask).save(root / "mask.png")


def make_networks(root):
    build_tiny_generator().save(root / "generator.keras")
    build_tiny_discriminator().save(root / "discriminator.keras")
    prepare_photos(find_photos(root / "photos")[0], root / "prepared", 128, 0.2, 0.2, progress=False)


# The jobs: functions of the folder with the inputs, the output folder, and whether it is the earlier run


def preprocess(root, output, earlier):
    paths = find_photos(root / "photos")[0]
    prepare_photos(paths[:6] if earlier else paths, output, 128, progress=False)
    print("prepared", len(open_photos(output).records))


def train(root, output, earlier, rate=1e-2):
    photos = open_photos(root / "prepared")
    networks = [keras.models.load_model(root / f"{name}.keras") for name in ("generator", "discriminator")]
    gan = InpaintingGAN(*networks, perceptual_weight=0)
    gan.compile(optimizer=ThrottledAdam(rate / 2 if earlier else rate), run_eagerly=True)  # tracing would take longest
    batches = PhotoBatches(photos.images, photos.split("train"), 4, seed=int(earlier))
    validation = PhotoBatches(photos.images, photos.split("validation"), 2, fixed=True)
    used, _, _ = make_callbacks(gan, output, batches, validation, EPOCHS, patience=9)
    gan.fit(batches, validation_data=validation, epochs=EPOCHS, callbacks=used, verbose=0)
    if earlier:
        (output / "resume.npz").unlink()  # else it would be complete, which is another case


def tune(root, output, earlier):
    train(root / "tuned", output, earlier, 1e-3)


def evaluate(root, output, earlier):
    words = f"{root}/photos --generator {root}/generator.keras --output {output} --prepared {output}/prepared".split()
    EVALUATE([*words, "--image-size", "128", "--count", str(2 + earlier), "--methods", "telea", "generator"])


def fill_folder(root, output, earlier):
    words = f"{root}/photos {root}/mask.png -o {output} --generator {root}/generator.keras --seed {earlier:d}".split()
    code = command.main([*words, "--grow", "3"] if earlier else words)
    if code:
        raise SystemExit(code)


JOBS = {
    "preprocessing": preprocess,
    "training": train,
    "fine-tuning": tune,
    "evaluation": evaluate,
    "folder of photos": fill_folder,
}


# Running them


class Run:
    """A job in a process of its own; what it prints goes to a file."""

    def __init__(self, job, root, output, earlier=False, limit=None):
        self.said_file = root / f"said_{time.monotonic_ns()}.txt"
        ready, begin = os.pipe()
        self.process = os.fork()
        if self.process == 0:
            self._run(job, root, output, earlier, limit, begin)
        os.close(begin)
        os.read(ready, 1)
        os.close(ready)
        self.began = time.monotonic()

    def _run(self, job, root, output, earlier, limit, begin):
        code = 1
        try:
            file = os.open(self.said_file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
            os.dup2(file, 1)
            os.dup2(file, 2)
            sys.stdout, sys.stderr = (os.fdopen(os.dup(file), "w", buffering=1) for _ in range(2))
            warnings.simplefilter("ignore")
            if limit is not None:
                limit()
            os.write(begin, b"!")
            job(root, output, earlier)
            code = 0
        except SystemExit as error:
            code = error.code
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        finally:
            sys.stderr.flush()
            sys.stdout.flush()
            os._exit(code)

    def wait(self):
        """The exit code, negative for a signal; and the seconds it took."""
        _, status = os.waitpid(self.process, 0)
        return os.waitstatus_to_exitcode(status), time.monotonic() - self.began

    def kill_after(self, seconds):
        """Kill it then; whether it was still running."""
        time.sleep(max(0, self.began + seconds - time.monotonic()))
        os.kill(self.process, signal.SIGKILL)
        return self.wait()[0] == -signal.SIGKILL

    @property
    def said(self):
        lines = self.said_file.read_text(errors="replace").splitlines()
        return [line for line in lines if line.strip() and not re.search(r"\d+%\|", line)]  # no progress bars


def obey_permissions():
    """Give up what lets root write anywhere: Linux's capset, version 3, with no capability left."""
    if os.geteuid() == 0:
        nothing = (ctypes.c_uint32 * 6)()
        if ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522, 0), nothing):
            raise OSError("root cannot be kept from writing here: run it as another user")


def list_files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []


def find_broken(folder):
    """Names of files that are not whole, temporary ones left out: nobody reads those."""
    broken = []
    for path in list_files(folder):
        if path.name.startswith("."):
            continue
        try:
            if path.suffix == ".keras":
                assert zipfile.ZipFile(path).testzip() is None
            elif path.suffix == ".npz":
                assert len(dict(np.load(path)))
            elif path.suffix == ".npy":
                np.load(path)
            elif path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".png":
                load_image(path)
            else:
                assert path.read_text().endswith("\n")
        except Exception as error:
            broken.append(f"{path.name} ({error})")
    return broken


def describe(path):
    """What must be the same in two runs: weights, measures without times, pictures, bytes."""
    if path.suffix == ".keras":
        return zipfile.ZipFile(path).read("model.weights.h5")
    if path.name.startswith("history"):
        rows = csv.DictReader(path.read_text().splitlines())
        return json.dumps([{key: value for key, value in row.items() if key != "seconds"} for row in rows]).encode()
    return path.read_bytes()


def describe_all(folder):
    """{name: hash} of a run's results; without what differs from run to run: times, a drawing with them, the backup."""
    left_out = ("training.png", "resume.npz")
    return {
        str(path.relative_to(folder)): hashlib.sha256(describe(path)).hexdigest()
        for path in list_files(folder)
        if path.name not in left_out and not path.name.startswith(("training.", "evaluation_machine"))
    }


def count_files(folder):
    files = list_files(folder)
    parts = sum(path.name.startswith(".part_") for path in files)
    names = ", ".join(path.name for path in files if not path.name.startswith("."))
    names = names if len(names) < 90 else f"{len(files) - parts} files"
    return (names or "nothing") + (f", {parts} half-written under a temporary name" if parts else "")


class Bench:
    """Runs cases, prints their rows and counts what did not recover."""

    def __init__(self, root):
        self.root, self.rows, self.peace, self.seconds, self.earlier = root, [], {}, {}, {}

    def prepare(self, name):
        """Run a job in peace, and the earlier run whose results lie in the folder when it is killed."""
        job = JOBS[name]
        for earlier, kept in ((False, self.peace), (True, self.earlier)):
            folder = self.root / name.replace(" ", "_") / ("earlier" if earlier else "peace")
            run = Run(job, self.root, folder, earlier)
            code, seconds = run.wait()
            if code:
                raise RuntimeError(f"{name} failed in peace: {run.said}")
            kept[name] = describe_all(folder)
            if not earlier:
                self.seconds[name] = seconds
        if name == "training":
            (self.root / "tuned").mkdir()
            for part in ("generator", "discriminator"):
                best = self.root / "training" / "peace" / f"{part}_best.keras"
                shutil.copy(best, self.root / "tuned" / f"{part}.keras")
            shutil.copytree(self.root / "prepared", self.root / "tuned" / "prepared")

    def add(self, name, happened, on_disk, said, problems):
        self.rows.append(problems)
        said = said.replace(str(self.root), "…").replace("|", "/")[:160]
        recovered = "no: " + "; ".join(problems) if problems else "yes"
        print(f"| {name} | {happened} | {on_disk} | {said} | {recovered} |", flush=True)

    def check(self, name, folder, run, code, known):
        """What is wrong after the last run, in words. known: results of the earlier run that must still be there."""
        problems = [f"exit code {code}: {run.said[-1:]}"] if code else []
        problems += [f"broken: {path}" for path in find_broken(folder)]
        found = describe_all(folder)
        problems += [f"differs: {path}" for path, value in self.peace[name].items() if found.get(path) != value]
        if "generator_best.keras" in known:  # networks are replaced by no others; the other jobs' results are
            problems += [f"lost: {path}" for path, value in known.items() if value not in found.values()]
        problems += [f"left over: {path.name}" for path in list_files(folder) if path.name.startswith(".")]
        return problems

    def kill(self, name, share, number, over_earlier):
        folder, known = self.root / name.replace(" ", "_") / f"killed_{number}", {}
        if over_earlier:
            shutil.copytree(self.root / name.replace(" ", "_") / "earlier", folder)
            known = self.earlier[name]
        while True:
            seconds = share * self.seconds[name]
            if Run(JOBS[name], self.root, folder).kill_after(seconds):
                break
            self.seconds[name] *= 0.8  # it had ended before
            shutil.rmtree(folder)
            if over_earlier:
                shutil.copytree(self.root / name.replace(" ", "_") / "earlier", folder)
        on_disk, problems = count_files(folder), find_broken(folder)
        run = Run(JOBS[name], self.root, folder)
        code, _ = run.wait()
        problems += self.check(name, folder, run, code, known)
        happened = f"killed after {seconds:.1f} s" + (", over an earlier result" if over_earlier else "")
        self.add(name, happened, on_disk, next(iter(run.said), ""), problems)

    def fill_disk(self, name):
        folder = self.root / name.replace(" ", "_") / "full"
        shutil.copytree(self.root / name.replace(" ", "_") / "earlier", folder)

        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (FULL, FULL))

        run = Run(JOBS[name], self.root, folder, limit=limit)
        code, _ = run.wait()
        problems = ["it ended as if all were well"] if code == 0 else []
        problems += [] if run.said and "Traceback" not in "".join(run.said) else ["no sentence"]
        problems += find_broken(folder)
        problems += [f"left over: {path.name}" for path in list_files(folder) if path.name.startswith(".")]
        said, on_disk = next(iter(run.said), ""), count_files(folder)
        run = Run(JOBS[name], self.root, folder)
        code, _ = run.wait()
        self.add(name, "full disk", on_disk, said, problems + self.check(name, folder, run, code, self.earlier[name]))

    def forbid_writing(self, name):
        folder = self.root / name.replace(" ", "_") / "read_only"
        shutil.copytree(self.root / name.replace(" ", "_") / "earlier", folder)
        before = describe_all(folder)
        for path in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
            path.chmod(0o555)

        run = Run(JOBS[name], self.root, folder, limit=obey_permissions)
        code, _ = run.wait()
        problems = ["it ended as if all were well"] if code == 0 else []
        problems += [] if run.said and "Traceback" not in "".join(run.said) else ["no sentence"]
        problems += ["the earlier result changed"] if describe_all(folder) != before else []
        self.add(name, "read-only folder", "the earlier result", next(iter(run.said), ""), problems)

    def run_two(self, name):
        folder = self.root / name.replace(" ", "_") / "two"
        runs = [Run(JOBS[name], self.root, folder) for _ in range(2)]
        codes = [run.wait()[0] for run in runs]
        problems = self.check(name, folder, runs[0], codes[0], {}) + ([f"{runs[1].said[-1:]}"] if codes[1] else [])
        self.add(name, "two runs at once", count_files(folder), next(iter(runs[1].said), ""), problems)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=JOBS, default=list(JOBS))
    options = parser.parse_args()
    draw, began = random.Random(options.seed), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="inpaint_interrupt_") as folder:
        os.chmod(folder, 0o755)
        root = Path(folder)
        make_inputs(root)
        with contextlib.suppress(ChildProcessError):
            run = Run(lambda root, *_: make_networks(root), root, root)
            if run.wait()[0]:
                raise RuntimeError(f"the networks could not be made: {run.said}")
        bench = Bench(root)
        names = [
            name for name in JOBS if name in options.only or (name == "training" and "fine-tuning" in options.only)
        ]
        for name in names:
            bench.prepare(name)
        print("| job | what happened | on disk then | it or the next run said | recovered |")
        print("| --- | --- | --- | --- | --- |", flush=True)
        for number in range(options.kills):
            bench.kill(options.only[number % len(options.only)], draw.uniform(0.02, 0.98), number, number % 10 >= 5)
        for name in options.only:
            bench.fill_disk(name)
            bench.forbid_writing(name)
            bench.run_two(name)
    failed = sum(map(bool, bench.rows))
    minutes = (time.monotonic() - began) / 60
    print(f"\n{len(bench.rows)} cases, seed {options.seed}, {minutes:.1f} minutes, {failed} not recovered")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
