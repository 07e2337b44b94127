"""Draw every figure of results/ and rewrite the number tables of README and docs, from run files, weights and photos.

    python tools/make_figures.py

Nothing is measured here. Numbers come from results/runs/, and pictures are the shipped generator's answers on the
sample photos. A table stands between <!-- numbers NAME --> and <!-- /numbers -->, in the front matter of the model card
each with "# " before it. Running it twice changes nothing.
"""

import argparse
import hashlib
import json
import re
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import inpaint_utils.quiet  # noqa: F401  Keras without its backend's start-up messages, before anything loads it
import cv2
import numpy as np
import pandas as pd
from inpaint_utils import create_mask, detect_edges, figures, inpaint, load_generator, load_image, sample_photos
from inpaint_utils.app.command import run_tool
from inpaint_utils.evaluation.evaluate import mean_and_interval
from inpaint_utils.inference.baselines import telea_fill
from inpaint_utils.files import format_markdown, write_atomically
from inpaint_utils.inference.detail import add_detail
from inpaint_utils.training.callbacks import BEST_BY, BEST_BY_TEXTURE
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
MODELS, RESULTS = ROOT / "models", ROOT / "results"
RUNS, STUDY, DOMAINS = RESULTS / "runs", RESULTS / "runs" / "study", RESULTS / "runs" / "domains"
INGREDIENTS = RUNS / "ingredients"
DOCS = ("RESULTS_ANALYSIS", "TRAINING_AT_SCALE", "TRAINING_STORY", "USE_IT")
OWN_PAGES = ("results/runs/study/README.md", "results/runs/ingredients/README.md")
PAGES = ("README.md", "models/README.md", *OWN_PAGES, *(f"docs/{name}.md" for name in DOCS))
CLASSICAL = ("mean colour", "Telea", "Navier–Stokes", "biharmonic", "PatchMatch")
ARMS = ("unbalanced", "balanced")
BALANCE = {"equal_rates": "fast", "throttled": "slow and throttled"}  # full_scale's files, and their rows
FORMS = {"": "", "plain_": ", pix2pix variant"}  # how the names of the study's runs start, and what that means
# Photos that show their scene at a glance, two for each difficulty; the outputs use every second sample photo.
FAILURES = (10, 11, 24, 26, 28)
EXAMPLES = {"easy": (16, 35), "medium": (2, 31), "hard": (12, 0)}
# Things one would really remove: the photo, its title, and the corners of the hole at 256×256 pixels.
BANNER = (
    (11, "a palm leaf", ((130, 0), (232, 0), (232, 30), (190, 88), (162, 86), (138, 40))),
    (21, "a fir tree", ((188, 186), (200, 204), (224, 256), (154, 256), (172, 204))),
    (15, "a rock", ((176, 158), (186, 147), (222, 147), (242, 180), (238, 206), (204, 222), (174, 210), (182, 186))),
)


# Before and after: every sample photo of these, and as many paintings as there are.
GALLERY = (2, 9, 13, 18, 25, 32)


def main(arguments=None):
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(
        arguments
    )
    generator = load_generator()
    photos = [load_image(path, size=256) for path in sample_photos()]
    steps = {
        "banner": partial(draw_banner, generator, photos),
        "examples": partial(draw_examples, generator, photos),
        "sample outputs": partial(draw_outputs, generator, photos),
        "failures": partial(draw_failures, generator, photos),
        "gallery": partial(draw_gallery, generator, photos),
        "other pictures": partial(draw_domains, generator),
        "difficulties": draw_difficulties,
        "training histories": draw_history,
        "study": draw_study,
        "number tables": rewrite_tables,
    }
    for number, (name, step) in enumerate(steps.items(), start=1):
        print(f"{number} of {len(steps)}: {name}", flush=True)
        step()


def rewrite_tables():
    for page in PAGES:
        path = ROOT / page
        write_atomically(path, fill_in_numbers(path.read_text(encoding="utf-8")))


EXAMPLE_COLUMNS = ["hole", "Telea", "generator alone", "with detail", "guided", "photo"]


def fill_example(generator, image, difficulty, kind, seed):
    """Hole, Telea, the generator alone, with detail, guided with detail, photo."""
    mask = create_mask(image.shape, difficulty=difficulty, kind=kind, seed=seed)
    guided = inpaint(generator, image, mask, edges=detect_edges(image))
    alone, detailed = inpaint(generator, image, mask, detail=0), inpaint(generator, image, mask)
    return [image * mask, telea_fill(image * mask, mask), alone, detailed, guided, image]


def draw_examples(generator, photos):
    for difficulty, places in EXAMPLES.items():
        kinds = ("brush", "box")
        rows = [fill_example(generator, photos[p], difficulty, k, [7, p]) for p, k in zip(places, kinds, strict=True)]
        figure = figures.draw_pictures(rows, EXAMPLE_COLUMNS, kinds)
        figures.save_figure(figure, RESULTS / f"{difficulty}_example.jpg", dpi=100)


def draw_outputs(generator, photos):
    for number, place in enumerate(range(0, len(photos), 2), start=1):
        difficulty = list(EXAMPLES)[number % 3]
        kind = ("brush", "box")[number // 3 % 2]
        hole, _, _, blind, _, photo = fill_example(generator, photos[place], difficulty, kind, [11, place])
        figure = figures.draw_pictures([[hole, blind, photo]], [f"{difficulty} {kind} hole", "filled, blind", "photo"])
        figures.save_figure(figure, RESULTS / "sample_outputs" / f"{number:02d}_{difficulty}_{kind}.jpg", dpi=100)


def draw_banner(generator, photos):
    """Three photos with something cut out, and the same three filled."""
    holes, filled = [], []
    for place, _, corners in BANNER:
        mask = np.ones((256, 256, 1), np.float32)
        cv2.fillPoly(mask, [np.array(corners, np.int32)], 0)
        holes.append(photos[place] * mask)
        filled.append(inpaint(generator, photos[place], mask))
    titles = [f"without {thing}" for _, thing, _ in BANNER]
    figure = figures.draw_pictures([holes, filled], titles, ("hole", "filled"), width=2.6)
    figures.save_figure(figure, RESULTS / "banner.jpg", dpi=100)


def draw_failures(generator, photos):
    """The five sample photos whose hard boxes came out worst, as seen on a sheet of all 38."""
    rows = []
    for place in FAILURES:
        mask = create_mask(photos[place].shape, difficulty="hard", kind="box", seed=[5, place])
        alone, detailed = (inpaint(generator, photos[place], mask, detail=share) for share in (0, 1))
        rows.append([photos[place] * mask, alone, detailed, photos[place]])
    figure = figures.draw_pictures(rows, ["hard box hole", "generator alone", "with detail", "photo"], width=2)
    figures.save_figure(figure, RESULTS / "failures.jpg", dpi=100)


def draw_gallery(generator, photos):
    """Before and after, as `inpaint` does it: sample photos, and paintings by the generator adapted to them."""
    pairs = []
    for number, place in enumerate(GALLERY):
        mask = draw_hole(photos[place].shape, number)
        pairs.append((photos[place] * mask, inpaint(generator, photos[place], mask)))
    for picture, mask, answer in list_shown("paintings"):
        pairs.append((picture * mask, add_detail(picture, answer, mask[..., 0] == 1)))
    rows = [[*pairs[i], *pairs[i + 1]] for i in range(0, len(pairs) - 1, 2)]
    figure = figures.draw_pictures(rows, ["before", "after"] * 2, width=2.6)
    figures.save_figure(figure, RESULTS / "gallery.jpg", dpi=100)


def draw_domains(generator):
    """What the shipped generator and the adapted one put into the same holes, without detail."""
    for name in ("paintings", "large"):
        rows = [
            [picture * mask, inpaint(generator, picture, mask, detail=0), answer, picture]
            for picture, mask, answer in list_shown(name)
        ]
        if rows:
            width = 2.2 * rows[0][0].shape[0] / 256
            figure = figures.draw_pictures(rows, ["hole", "unadapted", "adapted", "picture"], width=width)
            figures.save_figure(figure, RESULTS / f"{name}_adapted.jpg", dpi=100)


def draw_hole(shape, number):
    """The hole of a picture in the gallery."""
    return create_mask(shape, difficulty="medium", kind=("brush", "box")[number % 2], seed=[17, number])


def list_shown(name):
    """The pictures of a domain that may be shown: lists of picture, mask and the adapted generator's answer."""
    paths = sorted((DOMAINS / "pictures").glob(f"{name}_[0-9].jpg"))
    shown = []
    for number, path in enumerate(paths):
        picture = load_image(path)
        shown.append((picture, draw_hole(picture.shape, number), load_image(path.with_stem(f"{path.stem}_adapted"))))
    return shown


def draw_difficulties():
    """The methods of notebook 4; the tables have the others."""
    figure = figures.draw_difficulties(read_table("evaluation").query("fill not in ('biharmonic', 'PatchMatch')"))
    figures.save_figure(figure, RESULTS / "difficulty_comparison.png")


def draw_history():
    """Losses and duty cycle of the trainings behind the shipped weights; one epoch alone makes no curve."""
    for name, _ in list_stages():
        rows = read_history(RUNS / f"{name}_history.csv")
        if len(rows) > 1:
            figure = Figure(figsize=(9.6, 2.6), layout="constrained")
            judged = "val_style" in rows and rows["val_style"].any() and rows["discriminator_loss"].any()
            figures.draw_curves(figure, rows.to_dict("records"), BEST_BY_TEXTURE if judged else BEST_BY)
            figures.save_figure(figure, RESULTS / f"{name}_history.png")


def draw_study():
    """Unbalanced against balanced training: one row a variant, one panel a measure, every seed a line."""
    panels = {
        "generator_loss": "generator loss",
        "discriminator_loss": "discriminator loss",
        "duty": "duty cycle",
        "val_hole_l1": "validation: hole error",
    }
    names = [name for form in FORMS for arm in ARMS for name in list_seeds(form + arm)]
    histories = {name: read_history(STUDY / f"{name}.csv") for name in names}
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    for row, (form, title) in zip(figure.subfigures(len(FORMS), 1), FORMS.items(), strict=True):
        row.suptitle(title.strip(", ") or "this project's networks, three seeds", x=0.01, ha="left", fontsize=11)
        for axes, (measure, text) in zip(row.subplots(1, len(panels)), panels.items(), strict=True):
            for arm, colour in zip(ARMS, figures.COLOURS, strict=False):
                for name, line in zip(list_seeds(form + arm), ("-", "--", ":"), strict=False):
                    rows = histories[name]
                    label = arm if line == "-" else None
                    axes.plot(rows["epoch"], rows[measure], line, color=colour, linewidth=1.4, label=label)
            axes.set_title(text, fontsize=10, color=figures.INK, loc="left")
            axes.set_xlabel("epoch", fontsize=9)
            axes.tick_params(labelsize=9)
            axes.spines[["top", "right"]].set_visible(False)
            if measure == "duty":
                axes.set_ylim(0, 1.05)
            if measure == "discriminator_loss":
                axes.axhline(0.693, color=figures.QUIET, linewidth=0.8, linestyle=":")
        row.axes[0].legend(fontsize=9, frameon=False)
    figures.save_figure(figure, RESULTS / "training_comparison.png")
    rows = pd.concat(histories, names=["run"]).reset_index("run")
    write_atomically(RESULTS / "training_comparison.csv", rows.to_csv(index=False, lineterminator="\n"))
    settings = {name: read_run(STUDY / f"{name}.json")["settings"] for name in names}
    write_atomically(RESULTS / "training_comparison.json", json.dumps(settings, indent=1) + "\n")


def read_run(path):
    return json.loads(path.read_text(encoding="utf-8"))


def read_table(run):
    return name_holes(pd.DataFrame(read_run(RUNS / f"{run}.json")["table"]))


def read_pictures(path):
    return name_holes(pd.read_csv(path))


def name_holes(rows):
    return rows.assign(hole=rows["kind"] + " " + rows["difficulty"])


def read_history(path):
    return pd.read_csv(path, dtype=float)


def list_seeds(arm):
    return [path.stem for path in sorted(STUDY.glob(f"{arm}_[0-9].json"))]


def fill_in_numbers(text):
    """A page's text with every table between its markers made anew from the run files."""

    def make_block(found):
        name = found.group(1)
        return f"<!-- numbers {name} -->\n{TABLES[name]()}\n{found.group(2)}<!-- /numbers -->"

    return re.sub(r"<!-- numbers (\w+) -->.*?((?:# )?)<!-- /numbers -->", make_block, text, flags=re.S)


def name_method(fill, mode):
    """A row's name, ours in bold; mode: what to say of the mode, None where a table has one only."""
    if fill not in ("generator", "generator + detail"):
        return fill
    return f"**{fill}**" if mode is None else f"**{fill}, {mode}**"


def tabulate(run, make_cell, corner, methods=None, holes=None):
    """A table of an evaluation: a row for each method, a column for each kind and difficulty of hole."""
    table, lines = read_table(run), []
    holes = holes or list(table["hole"].unique())
    for (fill, mode), rows in table.groupby(["fill", "mode"], sort=False):
        if methods is None or fill in methods:
            cells = rows.set_index("hole").loc[holes].apply(make_cell, axis=1)
            lines.append([name_method(fill, mode if table["mode"].nunique() > 1 else None), *cells])
    return format_markdown([corner, *holes], lines)


def show_psnr_with_interval(row):
    return f"{row['hole_psnr']:.2f} ({row['hole_psnr_low']:.2f}–{row['hole_psnr_high']:.2f})"


def tabulate_texture(run="texture"):
    """Texture, sharpness, error and KID side by side: no one of them alone says whether a fill looks right."""
    if not (RUNS / f"{run}.json").is_file():
        return "Not measured yet."
    digits = {"texture_distance": 3, "sharpness": 2, "hole_psnr": 2, "kid": 1}
    table = read_table(run)
    digits = {measure: count for measure, count in digits.items() if measure in table}

    def make_cell(row):
        return " · ".join("–" if pd.isna(row[m]) else f"{row[m]:.{count}f}" for m, count in digits.items())

    names = {"hole_psnr": "hole PSNR, dB", "kid": "KID × 1000"}
    corner = " · ".join(names.get(m, m.replace("_", " ")) for m in digits)
    return tabulate(run, make_cell, corner)


def tabulate_gains():
    """Generator against the best classical row, and guided against blind, picture by picture with 95 % intervals."""
    pictures = read_pictures(RUNS / "evaluation_pictures.csv")
    pictures = pictures[pictures["fill"].isin(("generator", "smooth fill", *CLASSICAL))]
    pictures.loc[pictures["mode"] == "guided", "fill"] = "guided"
    gains = {"blind − best classical method": [], "blind − smooth fill, its start": [], "guided − blind": []}
    for _, rows in pictures.groupby("hole", sort=False):
        psnr = rows.groupby("fill")["hole_psnr"].mean()
        classical = psnr[psnr.index.isin(CLASSICAL)].idxmax()
        pairs = ("generator", classical), ("generator", "smooth fill"), ("guided", "generator")
        for cells, (ours, other) in zip(gains.values(), pairs, strict=True):
            cells += describe_differences(rows, ours, other, "hole_psnr", 2)
    return format_markdown(["hole PSNR, dB", *pictures["hole"].unique()], [[n, *cells] for n, cells in gains.items()])


def describe_differences(pictures, ours, other, measure, digits, widen=1):
    """Ours − other picture by picture: a cell for each hole, mean with 95 % interval, `widen` times as wide."""
    cells = []
    for _, rows in pictures.groupby("hole", sort=False):
        values, others = (rows.loc[rows["fill"] == fill, measure].to_numpy() for fill in (ours, other))
        mean, low, high = mean_and_interval(values - others)
        low, high = (mean + widen * (end - mean) for end in (low, high))
        cells.append(f"{mean:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})")
    return cells


def tabulate_domains():
    """Every method on pictures of another kind: hole PSNR and texture distance side by side."""
    names = [name for name in ("city", "paintings") if (DOMAINS / f"{name}.json").is_file()]
    tables = [tabulate(f"domains/{n}", show_both, f"{n}: dB · texture", holes=HEADLINE["holes"][::2]) for n in names]
    return "\n\n".join(tables) or "Not measured yet."


def show_both(row):
    return f"{row['hole_psnr']:.2f} · {row['texture_distance']:.3f}"


def tabulate_domain_gains():
    """Adapted minus unadapted, picture by picture with 95 % intervals, on each domain's own test pictures."""
    names = {"city": "city", "paintings": "paintings", "paintings, more L1": "paintings_more_l1"}
    return tabulate_changes("adapted − unadapted", [(text, run, "adapted") for text, run in names.items()])


def tabulate_forgotten():
    """The adapted generators minus the shipped one, on landscapes."""
    names = read_run(DOMAINS / "settings.json")["domains"]
    rows = [(name, "forgotten", f"adapted to {name}") for name in names]
    return tabulate_changes("adapted to", rows, levels=("medium",))


def tabulate_changes(corner, rows, levels=("easy", "medium", "hard")):
    """Differences from the unadapted generator: two lines for each of rows, which are (text, run, fill)."""
    lines, head = [], []
    for text, run, fill in rows:
        path = DOMAINS / f"{run}_pictures.csv"
        if not path.is_file():
            continue
        pictures = read_pictures(path).query("difficulty in @levels")
        if not {fill, "unadapted"} <= set(pictures["fill"]):
            continue
        head = [corner, *pictures["hole"].unique()]
        for measure, unit, digits in (("hole_psnr", "dB", 2), ("texture_distance", "texture", 3)):
            cells = describe_differences(pictures, fill, "unadapted", measure, digits)
            lines.append([f"{text}: {unit}", *cells])
    return format_markdown(head, lines) if lines else "Not measured yet."


def tabulate_scale():
    """How much was trained for each of the domains' generators."""
    lines = []
    for name in read_run(DOMAINS / "settings.json")["domains"]:
        run = read_run(DOMAINS / f"{name}_runs.json") if (DOMAINS / f"{name}_runs.json").is_file() else {"scale": {}}
        for arm, scale in run["scale"].items():
            size = run["settings"][arm]["image_size"]
            cells = [scale["photos"], size, f"{scale['photos_shown']:,}", scale["minutes"]]
            lines.append([f"{name}, {arm}", *cells])
    head = ["training", "different pictures", "pixels", "pictures shown", "minutes"]
    return format_markdown(head, lines) if lines else "Not measured yet."


def tabulate_sizes():
    """Photos of 1024 pixels, filled by a generator that sees 256, 512 or 1024 pixels at once."""
    if not (DOMAINS / "large.json").is_file():
        return "Not measured yet."
    seconds = read_run(DOMAINS / "large_machine.json")["seconds_a_photo"]
    head, line, *lines = tabulate("domains/large", show_both, "dB · texture").split("\n")
    names = read_table("domains/large")["fill"].unique()
    lines = [f"{text} {seconds[name]:.1f} |" for name, text in zip(names, lines, strict=True)]
    return "\n".join([f"{head} seconds a photo |", f"{line} --- |", *lines])


def tabulate_discriminator():
    """What the discriminator changes: two trainings that differ in nothing else, on the same photos and masks."""
    digits = {"kid_part": 0, "anisotropy": 2, "texture_distance": 3, "feature_distance": 3, "hole_psnr": 2}
    names = {"kid_part": "KID × 1000", "hole_psnr": "hole PSNR, dB"}
    pictures, lines = read_pictures(RUNS / "discriminator_pictures.csv"), []
    for measure, count in digits.items():
        # A part of KID belongs to two photos: see `split_kernel_distance`.
        told = dict(digits=count, widen=2 if measure == "kid_part" else 1)
        cells = describe_differences(pictures, LONG["with_discriminator"], LONG["style_alone"], measure, **told)
        lines.append([names.get(measure, measure.replace("_", " ")), *cells])
    return format_markdown(["with − without discriminator", *pictures["hole"].unique()], lines)


LONG = {"style_alone": "style alone", "with_discriminator": "with discriminator", "heavier_discriminator": "heavier"}


def tabulate_trainings():
    """The long trainings at full scale, which one seed, photos and masks make comparable: last epoch."""
    settings, lines = read_run(RUNS / "full_scale" / "settings.json"), []
    for name, text in LONG.items():
        own = {**settings["common"], **settings["trainings"][name]}
        last = read_history(RUNS / "full_scale" / f"{name}.csv").iloc[-1]
        cells = [text, *(f"{own[weight]:.0f}" for weight in ("adversarial_weight", "matching_weight"))]
        cells += [f"{own['style_weight']:g}"]
        judged = own["adversarial_weight"] > 0
        cells += [f"{last[m]:.2f}" if judged else "–" for m in ("discriminator_loss", "duty", "adversarial")]
        lines.append([*cells, *(f"{last[m]:.3f}" for m in ("val_hole_l1", "val_perceptual", "val_style"))])
    weights = ["adversarial weight", "matching", "style"]
    head = ["training", *weights, "D loss", "duty cycle", "adversarial loss", "validation hole error", "VGG19 distance"]
    return format_markdown([*head, "style loss"], lines)


def tabulate_balance():
    """A fast discriminator without throttle against a slow one with it: last epoch, mean and range of the seeds."""
    lines = []
    for arm, name in BALANCE.items():
        ends = [read_history(path).iloc[-1] for path in sorted((RUNS / "full_scale").glob(f"{arm}_[0-9].csv"))]
        cells = [name, len(ends)]
        measures = {"discriminator_loss": 3, "adversarial": 2, "duty": 2, "val_hole_l1": 4, "val_perceptual": 3}
        for measure, digits in {**measures, "val_style": 3, "val_distance": 2}.items():
            cells.append(describe([row[measure] for row in ends], digits))
        lines.append(cells)
    head = ["training", "seeds", "D loss", "adversarial loss", "duty cycle", "validation hole error", "VGG19 distance"]
    return format_markdown([*head, "style loss", "`val_distance`"], lines)


def tabulate_accuracy():
    """The usual headline: 1 − MAE over the whole picture, with edges of the complete photo."""
    chosen = ("mean colour", "Telea", "generator")
    corner = "accuracy (1 − MAE), whole picture, %"
    return tabulate("evaluation", lambda row: f"{row['accuracy_filled']:.2f}", corner, chosen)


def tabulate_arms():
    """The study's arms over their seeds: last epoch and test photos, mean and range."""
    lines = []
    for arm, text in ((form + arm, arm + title) for form, title in FORMS.items() for arm in ARMS):
        names = list_seeds(arm)
        histories = [read_history(STUDY / f"{name}.csv") for name in names]
        cells = [text, len(names)]
        for measure, digits in (("discriminator_loss", 3), ("duty", 2), ("adversarial", 2)):
            cells.append(describe([rows[measure].iloc[-1] for rows in histories], digits))
        cells.append(describe([rows["val_hole_l1"].min() for rows in histories], 4))
        for kind in ("brush", "box"):
            cells.append(describe([read_mean(name, kind) for name in names], 2))
        lines.append(cells)
    head = ["training", "seeds", "D loss", "duty cycle", "adversarial loss", "best validation hole error"]
    return format_markdown([*head, "test hole PSNR, brush, dB", "box, dB"], lines)


def tabulate_ingredients(told=False):
    """Short trainings that differ in one ingredient, on validation photos: means over medium and hard holes.

    told: only the rows and measures that the story tells of.
    """
    digits = {"texture_distance": 3, "sharpness": 2, "anisotropy": 2, "feature_distance": 3, "hole_psnr": 2, "kid": 0}
    digits = {name: places for name, places in digits.items() if not told or name not in ("anisotropy", "sharpness")}
    lines, study = [], read_run(INGREDIENTS / "settings.json")
    for name in study["told"] if told else study["rows"]:
        if not (INGREDIENTS / f"{name}.json").is_file():
            continue
        means = pd.DataFrame(read_run(INGREDIENTS / f"{name}.json")["cells"]).groupby("kind")[list(digits)].mean()
        cells = [" · ".join(f"{means[m][kind]:.{n}f}" for kind in ("brush", "box")) for m, n in digits.items()]
        lines.append([study["rows"][name], *cells])
    names = {"hole_psnr": "hole PSNR, dB", "kid": "KID × 1000"}
    return format_markdown(["brush · box", *(names.get(m, m.replace("_", " ")) for m in digits)], lines)


def tabulate_ablations():
    """One change each from the reference run, same seed, photos, masks and epochs."""
    lines = []
    for name, text in read_run(STUDY / "settings.json")["ablations"].items():
        if not (STUDY / f"{name}.json").is_file():
            continue
        cells = [f"{read_mean(name, kind):.2f}" for kind in ("brush", "box")]
        best = read_history(STUDY / f"{name}.csv")["val_hole_l1"].min()
        lines.append([text, f"{best:.4f}", *cells])
    head = ["run", "best validation hole error", "brush, dB", "box, dB"]
    return format_markdown(head, lines)


def read_mean(name, kind):
    """A study run's hole PSNR on the test photos, mean over the three difficulties."""
    table = pd.DataFrame(read_run(STUDY / f"{name}.json")["evaluation"]["table"])
    return table.query("kind == @kind and mode == 'blind'")["hole_psnr"].mean()


def describe(values, digits):
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{np.mean(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def tabulate_speed():
    """Milliseconds of one 256×256 picture by every path, best of its rounds, for the shipped generator."""
    names = {"path": "path", "best_ms": "ms", "times_the_limit": "× limit", "max_difference": "largest difference"}
    rows = pd.read_csv(RUNS / "inference.csv", dtype=str, keep_default_na=False)
    return format_markdown(list(names.values()), rows[list(names)].to_numpy())


def list_stages():
    """The trainings that the shipped weights went through, each with its settings, in order."""
    return read_run(RUNS / "shipped.json")["stages"].items()


def tabulate_stages():
    """The trainings behind the shipped weights, from their settings and histories."""
    lines = []
    for name, stage in list_stages():
        rows, text = read_history(RUNS / f"{name}_history.csv"), f"`{name}`"
        if len(rows) > 1:  # as in draw_history
            text = f"[{text}](../results/{name}_history.png)"
        minutes = rows["seconds"].sum() / 60
        photos = len(rows) * stage.get("samples", PHOTOS_AN_EPOCH)
        has_style = rows.get("val_style", pd.Series()).any()
        best = rows.loc[rows["val_visual_distance" if has_style else "val_hole_l1"].idxmin()]
        style = f"{best['val_style']:.3f}" if has_style else "–"
        error, weight = f"{best['val_hole_l1']:.4f}", f"{stage.get('adversarial_weight', 1.0):.0f}"
        rate = f"{stage['generator_learning_rate']:.1e}"
        lines.append([text, f"{photos:,}", stage["image_size"], f"{minutes:.0f}", rate, weight, error, style])
    head = ["training", "photos shown", "pixels", "minutes", "learning rate", "adversarial weight"]
    return format_markdown([*head, "validation hole error", "validation style"], lines)


def tabulate_gpu():
    """Training speed of the whole recipe at full size on a GPU, and what part of the card's matrix products that is."""
    speed, lines = read_run(RUNS / "full_scale" / "speed.json"), []
    for row in speed["rows"]:
        rate = row["photos_a_second"] * speed["gflop_a_photo"] / 1000
        share = f"{rate / row['matrix_product_tflops']:.0%}"
        lines.append([row["precision"], row["photos_a_second"], f"{rate:.0f}", row["matrix_product_tflops"], share])
    return format_markdown(
        ["precision", "photos a second", "TFLOP/s", "large matrix products, TFLOP/s", "share"], lines
    )


def describe_weights():
    path = MODELS / "inpainting_generator_best.keras"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"`{path.name}`: {path.stat().st_size / 1e6:.1f} MB, sha256 `{digest}`"


def add_up_training():
    """Minutes of the trainings that the histories record, and grams of CO₂, estimated: nothing was metered."""
    minutes = sum(read_history(RUNS / f"{name}_history.csv")["seconds"].sum() for name, _ in list_stages()) / 60
    return minutes, minutes / 60 * WATTS / 1000 * GRAMS_A_KWH


def describe_training_cost():
    minutes, grams = add_up_training()
    return (
        f"Training took {minutes:.0f} minutes on two CPU cores. At an assumed {WATTS} W and {GRAMS_A_KWH} g of CO₂ a "
        f"kWh that is {grams:.0f} g. Nothing was metered."
    )


def write_model_index():
    """Measures of the generator, alone and blind, and emissions, as YAML for the front matter of the model card."""
    rows = read_table("evaluation").query("fill == 'generator' and mode == 'blind'").set_index("hole")
    lines = ["model-index:", "- name: inpainting_generator_best", "  results:"]
    for hole in HEADLINE["holes"]:
        row = rows.loc[hole]
        lines += [
            "  - task:",
            "      type: image-to-image",
            "      name: Image inpainting",
            "    dataset:",
            "      type: landscape-photos",
            f"      name: {row['photos']} held-out landscape photos at 256 px, {row['difficulty']} {row['kind']} holes",
            "    metrics:",
            "    - type: psnr",
            "      name: Hole PSNR, dB",
            f"      value: {row['hole_psnr']:.2f}",
            "    - type: ssim",
            "      name: SSIM of the whole picture",
            f"      value: {row['ssim']:.4f}",
        ]
    minutes, grams = add_up_training()
    return "\n".join(
        [
            *lines,
            "co2_eq_emissions:",
            f"  emissions: {grams:.0f}",
            f"  source: estimated from {minutes:.0f} minutes at {WATTS} W and {GRAMS_A_KWH} g a kWh",
            "  training_type: from scratch",
            "  hardware_used: two CPU cores",
        ]
    )


PHOTOS_AN_EPOCH = 5240  # where a training shows every photo once, in whole batches
WATTS, GRAMS_A_KWH = 30, 400  # two cores of a server under load, and about the world's mix of electricity
HEADLINE = dict(
    methods=("Telea", "PatchMatch", "smooth fill", "generator", "generator + detail"),
    holes=["brush medium", "box medium", "box hard"],
)
TABLES = {
    "headline": partial(tabulate, "texture", show_both, "hole PSNR, dB · texture distance", **HEADLINE),
    "hole_psnr_intervals": partial(
        tabulate,
        "evaluation",
        show_psnr_with_interval,
        "hole PSNR, dB",
        ("mean colour", "Telea", "PatchMatch", "smooth fill", "generator"),
    ),
    "texture": tabulate_texture,
    "discriminator": tabulate_discriminator,
    "trainings": tabulate_trainings,
    "balance": tabulate_balance,
    "candidates": partial(tabulate_texture, "full_scale/validation"),
    "gpu": tabulate_gpu,
    "gains": tabulate_gains,
    "accuracy": tabulate_accuracy,
    "arms": tabulate_arms,
    "ablations": tabulate_ablations,
    "ingredients": tabulate_ingredients,
    "ingredients_told": partial(tabulate_ingredients, told=True),
    "speed": tabulate_speed,
    "stages": tabulate_stages,
    "weights": describe_weights,
    "training_cost": describe_training_cost,
    "model_index": write_model_index,
    "domains": tabulate_domains,
    "domain_gains": tabulate_domain_gains,
    "domain_scale": tabulate_scale,
    "forgotten": tabulate_forgotten,
    "sizes": tabulate_sizes,
}


if __name__ == "__main__":
    run_tool(main)
