"""Draw every figure of results/ and rewrite the README's number table, from run files, weights and sample photos.

    python tools/make_figures.py

Nothing is measured here: numbers come from models/runs/, pictures are the shipped generator's answers on the sample
photos. Running it twice changes nothing.
"""

import csv
import json
import re
from pathlib import Path

import inpaint_utils.quiet  # noqa: F401  Keras without its backend's start-up messages, before anything loads it
import numpy as np
from inpaint_utils import create_mask, detect_edges, figures, inpaint, load_generator, load_image, sample_photos
from inpaint_utils.evaluation import telea_fill
from inpaint_utils.files import write_atomically
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
RUNS, RESULTS = ROOT / "models" / "runs", ROOT / "results"
# Photos that show their scene at a glance, two for each difficulty; the outputs use every second sample photo.
EXAMPLES = {"easy": (16, 35), "medium": (2, 31), "hard": (12, 0)}


def main():
    generator = load_generator()
    photos = [load_image(path, size=256) for path in sample_photos()]
    draw_examples(generator, photos)
    draw_outputs(generator, photos)
    draw_banner(generator, photos)
    table = json.loads((RUNS / "evaluation.json").read_text(encoding="utf-8"))
    draw_difficulties(table["table"])
    draw_history()
    write_readme_table(table)


def fill_example(generator, image, difficulty, kind, seed):
    """Hole, Telea, blind, guided, photo."""
    mask = create_mask(image.shape, difficulty=difficulty, kind=kind, seed=seed)
    guided = inpaint(generator, image, mask, edges=detect_edges(image))
    return [image * mask, telea_fill(image * mask, mask), inpaint(generator, image, mask), guided, image]


def draw_examples(generator, photos):
    for difficulty, places in EXAMPLES.items():
        kinds = ("brush", "box")
        rows = [fill_example(generator, photos[p], difficulty, k, [7, p]) for p, k in zip(places, kinds, strict=True)]
        figure = figures.draw_pictures(rows, ["hole", "Telea", "blind", "guided", "photo"], kinds)
        figures.save_figure(figure, RESULTS / f"{difficulty}_example.jpg", dpi=100)


def draw_outputs(generator, photos):
    for number, place in enumerate(range(0, len(photos), 2), start=1):
        difficulty = list(EXAMPLES)[number % 3]
        kind = ("brush", "box")[number // 3 % 2]
        hole, _, blind, _, photo = fill_example(generator, photos[place], difficulty, kind, [11, place])
        figure = figures.draw_pictures([[hole, blind, photo]], [f"{difficulty} {kind} hole", "filled, blind", "photo"])
        figures.save_figure(figure, RESULTS / "sample_outputs" / f"{number:02d}_{difficulty}_{kind}.jpg", dpi=100)


def draw_banner(generator, photos):
    """A strip of three photos, each melting from hole to filled."""
    pairs = []
    for place in (18, 33, 6):
        hole, _, blind, _, _ = fill_example(generator, photos[place], "medium", "brush", [3, place])
        pairs += [hole, blind]
    strip = np.concatenate(pairs, axis=1)
    figure = Figure(figsize=(strip.shape[1] / 100, strip.shape[0] / 100))
    figure.figimage(np.clip(strip, 0, 1), resize=False)
    figures.save_figure(figure, RESULTS / "banner.jpg", dpi=100)


def draw_difficulties(table):
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    for place, kind in zip(figure.subplots(1, 2, sharey=True), ("brush", "box"), strict=True):
        values, intervals = figures.select_measure(table, "hole_psnr", kind)
        figures.draw_bars_into(place, values, intervals, f"Inside {kind} holes (higher is better)", "hole PSNR, dB")
    figures.save_figure(figure, RESULTS / "difficulty_comparison.png")


def draw_history():
    """Losses and duty cycle of the training behind the shipped weights."""
    for path in sorted(RUNS.glob("*_history.csv")):
        with open(path, newline="", encoding="utf-8") as file:
            rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
        figure = Figure(figsize=(9.6, 2.6), layout="constrained")
        figures.draw_curves(figure, rows)
        figures.save_figure(figure, RESULTS / f"{path.stem}.png")


def write_readme_table(run):
    """Blind and guided hole PSNR and whole-picture accuracy, between the README's two markers."""
    cells = [(kind, level) for kind in run["settings"]["kinds"] for level in run["settings"]["difficulties"]]
    head = [f"{kind} {level}" for kind, level in cells]
    lines = ["| hole PSNR, dB | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
    names = dict.fromkeys((row["fill"], row["mode"]) for row in run["table"])
    for fill, mode in names:
        found = {(r["kind"], r["difficulty"]): r for r in run["table"] if (r["fill"], r["mode"]) == (fill, mode)}
        name = f"**{fill}, {mode}**" if fill == "generator" else fill
        lines.append(f"| {name} | " + " | ".join(f"{found[cell]['hole_psnr']:.2f}" for cell in cells) + " |")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = "<!-- numbers -->\n" + "\n".join(lines) + "\n<!-- /numbers -->"
    write_atomically(ROOT / "README.md", re.sub(r"<!-- numbers -->.*<!-- /numbers -->", block, text, flags=re.S))


if __name__ == "__main__":
    main()
