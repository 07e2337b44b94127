"""Figures: every picture that the notebooks show or `results/` holds is drawn and saved here."""

import base64
import io
import itertools
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .files import write_atomically

INK, QUIET = "#1f2933", "#9aa5b1"
COLOURS = ("#2463a6", "#d1661f", "#3a8f5c", "#8a4fa3", "#b8902c", "#5f6c7b")
SIDE_BY_SIDE = {  # what two trainings are compared by: names in the history, and what the reader sees
    "discriminator_loss": "discriminator's loss",
    "duty": "duty cycle",
    "adversarial": "adversarial loss",
    "val_hole_l1": "validation: hole error",
}


def draw_pictures(rows, columns=(), names=(), width=2.2):
    """A grid of pictures.

    Args:
        rows: list of lists of (H, W, 3) RGB or (H, W, 1) gray pictures in [0, 1].
        columns, names: titles above the columns and beside the rows.
        width: of one picture, in inches.

    Returns: a matplotlib Figure.
    """
    height = width * rows[0][0].shape[0] / rows[0][0].shape[1]
    size = (width * len(rows[0]) + (0.4 if names else 0), height * len(rows) + (0.3 if columns else 0))
    figure = Figure(figsize=size, layout="constrained")
    _draw_grid(figure, rows, columns, names)
    return figure


def draw_training(rows, samples, gan, decides="val_distance"):
    """Curves of a training so far, and what the generator makes of the sample pictures now.

    Args:
        rows: the history, one dict an epoch, as `TrainingMonitor` keeps it.
        samples: a dict batch as `PhotoBatches` yields it, four pictures or fewer.
        gan: the `InpaintingGAN`.
        decides: the measure that the best epoch is chosen by.
    """
    from .data.batches import decode_batch  # here, so that drawing pictures does not need Keras

    inputs = to_numpy(decode_batch(samples)[2])
    raw = np.asarray(gan.generator.predict_on_batch(inputs))[: len(inputs)]  # under a strategy each replica answers
    photo, mask = samples["photo"] / 255, samples["mask"]
    pictures = np.concatenate([photo * mask, np.where(mask == 1, photo, raw), photo], axis=2)
    count = len(pictures)
    figure = Figure(figsize=(9.6, 2.6 + 1.6 * ((count + 1) // 2)), layout="constrained", dpi=72)
    upper, lower = figure.subfigures(2, 1, height_ratios=[2.6, 1.6 * ((count + 1) // 2)])
    draw_curves(upper, rows, decides)
    for place, picture in zip(lower.subplots((count + 1) // 2, 2, squeeze=False).flat, [*pictures, None], strict=False):
        place.axis("off")
        if picture is not None:
            place.imshow(np.clip(picture, 0, 1))
    lower.suptitle("hole · filled · photo", fontsize=9, color=INK)
    return figure


def draw_curves(figure, rows, decides="val_distance"):
    """A training's history in panels: generator's loss, hole error, what decides, and the discriminator's part.

    Without a discriminator the last is left out, and a distance that decides is the generator's loss itself.

    Args:
        rows: the history, one dict an epoch.
        decides: the measure that the best epoch is chosen by, to be small; around that epoch is a ring.
    """
    epochs = [row["epoch"] for row in rows]
    judged = any(row.get("discriminator_loss") for row in rows)
    panels = {"generator_loss": "generator loss", "hole_l1": "mean error inside the hole"}
    name = decides.removeprefix("val_")
    name = "generator_loss" if name == "distance" and not judged else name
    if decides in rows[0]:
        panels[name] = f"{panels.get(name, name.replace('_', ' '))}, decides"
    places = figure.subplots(1, len(panels) + judged)
    for place, (measure, title) in zip(places, panels.items(), strict=False):
        _draw_lines(place, epochs, rows, {measure: "training", f"val_{measure}": "validation"}, title)
        if measure == name and decides in rows[0]:
            best = min(rows, key=lambda row: row.get(decides, np.inf))
            shown = best.get(f"val_{measure}", best[decides])
            place.plot(best["epoch"], shown, "o", color=INK, fillstyle="none", markersize=9)
    if not judged:
        return
    duty = places[-1]
    _draw_lines(duty, epochs, rows, {"discriminator_loss": "loss", "duty": "duty cycle"}, "discriminator")
    duty.set_ylim(bottom=0)
    duty.axhline(0.693, color=QUIET, linewidth=0.8, linestyle=":")
    duty.annotate("chance 0.693", (epochs[0], 0.693), fontsize=8, color=QUIET, va="bottom")


def draw_side_by_side(histories, pictures, columns=()):
    """Trainings of the same networks side by side: both curves in every panel, and below what each made of a photo.

    The panels are the discriminator's loss (dashed: chance), the duty cycle, the generator's adversarial loss, and the
    mean error inside the hole of the validation photos.

    Args:
        histories: {name: history} of trainings of `InpaintingGAN` with validation photos, a history as `fit` returns
            it: dict of lists, one float an epoch.
        pictures: list of (H, W, 3) RGB pictures in [0, 1], a row below the curves.
        columns: titles above the pictures.

    Returns: a matplotlib Figure.
    Raises:
        ValueError: if a history lacks one of the four measures, or has another number of epochs than the first.
    """
    epochs = len(next(iter(histories.values())).get("loss", ()))
    for name, history in histories.items():
        for measure in SIDE_BY_SIDE:
            if len(history.get(measure, ())) != epochs:
                raise ValueError(
                    f"the history of {name!r} has {len(history.get(measure, ()))} epochs of {measure}, expected "
                    f"{epochs}: train an InpaintingGAN with validation_data, as many epochs as the others."
                )
    height = 9.6 / len(pictures) * pictures[0].shape[0] / pictures[0].shape[1] + 0.3
    figure = Figure(figsize=(9.6, 2.4 + height), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=[2.4, height])
    for place, (measure, title) in zip(upper.subplots(1, len(SIDE_BY_SIDE)), SIDE_BY_SIDE.items(), strict=True):
        rows = [{name: history[measure][epoch] for name, history in histories.items()} for epoch in range(epochs)]
        _draw_lines(place, range(1, epochs + 1), rows, {name: name for name in histories}, title)
        if measure != "duty":
            place.get_legend().remove()
        if measure in ("duty", "discriminator_loss"):
            place.set_ylim(0, max(0.85, place.get_ylim()[1]))
        if measure == "discriminator_loss":
            place.axhline(0.693, color=QUIET, linewidth=0.8, linestyle="--")
            place.text(0.04, 0.04, "dashed: chance, 0.693", transform=place.transAxes, fontsize=8, color=QUIET)
    _draw_grid(lower, [pictures], columns)
    return figure


def draw_difficulties(table):
    """Hole PSNR by difficulty, a panel for each kind of mask: a dot and its 95 % interval for each fill and mode.

    Args:
        table: that of an `Evaluation`, or some of its rows.

    Returns: a matplotlib Figure.
    """
    kinds, levels = table["kind"].unique(), list(table["difficulty"].unique())
    modes = table.groupby("fill")["mode"].nunique()
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for place, kind in zip(panels, kinds, strict=True):
        methods = table[table["kind"] == kind].groupby(["fill", "mode"], sort=False)
        shifts = min(0.11, 0.8 / len(methods)) * (np.arange(len(methods)) - (len(methods) - 1) / 2)
        looks = itertools.cycle(itertools.product("os^", COLOURS))
        for shift, (marker, colour), ((fill, mode), rows) in zip(shifts, looks, methods, strict=False):
            left = [levels.index(level) + shift for level in rows["difficulty"]]
            errors = [rows["hole_psnr"] - rows["hole_psnr_low"], rows["hole_psnr_high"] - rows["hole_psnr"]]
            name = f"{fill}, {mode}" if modes[fill] > 1 else fill
            place.errorbar(left, rows["hole_psnr"], errors, fmt=marker, ms=5, color=colour, label=name)
        place.set_xticks(range(len(levels)), levels)
        place.set_title(f"{kind} holes", fontsize=10, color=INK, loc="left")
        place.spines[["top", "right"]].set_visible(False)
        place.grid(axis="y", color="#e4e7eb", linewidth=0.8)
    panels[0].set_ylabel("hole PSNR, dB (higher is better)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", fontsize=8, frameon=False)
    return figure


def draw_histogram(shares, bands):
    """How much of a picture the masks remove, with the bands of the three difficulties shaded.

    Args:
        shares: removed shares in [0, 1]. bands: {name: (low, high)}.
    """
    figure = Figure(figsize=(6, 2.4), layout="constrained")
    place = figure.subplots()
    place.hist(100 * np.asarray(shares), bins=np.arange(8, 54, 2), color=COLOURS[0], edgecolor="white")
    for colour, (name, (low, high)) in zip(COLOURS[1:], bands.items(), strict=False):
        place.axvspan(100 * low, 100 * high, color=colour, alpha=0.15, label=name)
    place.set(xlabel="removed pixels, %", ylabel="masks")
    place.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper right", fontsize=8, frameon=False, ncols=3)
    return figure


def save_figure(figure, path, dpi=110):
    """Write a figure as PNG or JPEG in one piece, without a date in the file, so that equal runs give equal files."""
    path, buffer = Path(path), io.BytesIO()
    options = {"metadata": {"Software": None}} if path.suffix == ".png" else {"pil_kwargs": {"quality": 88}}
    figure.savefig(buffer, format=path.suffix[1:], dpi=dpi, **options)
    write_atomically(path, buffer.getvalue())


def show(figure, path=None, dpi=80):
    """Show a figure in a notebook, and write it to `path` if one is given."""
    if path is not None:
        save_figure(figure, path)
    show_live(figure, None, dpi)


def show_live(content, display=None, dpi=72):
    """Show a figure or a text below a notebook's cell, or put it in place of one shown before; no-op in a script.

    Args:
        content: a matplotlib Figure, or str.
        display: what the call before returned; None to show anew.
        dpi: of a figure.

    Returns: the display to pass to the next call.
    """
    if not is_notebook():
        return None
    from IPython.display import display as show_in_notebook

    if isinstance(content, str):
        data = {"text/plain": content}
    else:
        buffer = io.BytesIO()
        content.savefig(buffer, format="jpeg", dpi=dpi, pil_kwargs={"quality": 85})  # a fifth of a PNG's size
        data = {"image/jpeg": base64.b64encode(buffer.getvalue()).decode()}
        data["text/plain"] = "<IPython.core.display.Image object>"
    if display is None:
        return show_in_notebook(data, raw=True, display_id=True)
    display.update(data, raw=True)
    return display


def is_notebook():
    """True where this code runs in a notebook's kernel."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return get_ipython() is not None and "IPKernelApp" in get_ipython().config


def to_numpy(tensor):
    """A backend's tensor as a NumPy array."""
    from keras import ops

    return ops.convert_to_numpy(tensor)


def _draw_grid(figure, rows, columns=(), names=()):
    """The pictures of `draw_pictures` in a figure or a part of one."""
    axes = figure.subplots(len(rows), len(rows[0]), squeeze=False)
    for place, picture in (
        (place, picture) for row in zip(axes, rows, strict=True) for place, picture in zip(*row, strict=False)
    ):
        place.imshow(np.squeeze(np.clip(picture, 0, 1)), cmap="gray", vmin=0, vmax=1)
        place.set(xticks=[], yticks=[])
        place.spines[:].set_visible(False)
    for place, title in zip(axes[0], columns, strict=False):
        place.set_title(title, fontsize=9, color=INK)
    for place, name in zip(axes[:, 0], names, strict=False):
        place.set_ylabel(name, fontsize=9, color=INK)


def _draw_lines(place, epochs, rows, labels, title):
    """Lines over the epochs in one axes; labels: {name in the history: what the reader sees}."""
    for (name, label), colour in zip(labels.items(), COLOURS, strict=False):
        if name in rows[0]:
            place.plot(epochs, [row.get(name) for row in rows], "o-", markersize=2.5, color=colour, label=label)
    place.set_title(title, fontsize=9, color=INK, loc="left")
    place.set_xlabel("epoch", fontsize=8)
    place.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    place.tick_params(labelsize=8)
    place.spines[["top", "right"]].set_visible(False)
    place.legend(fontsize=8, frameon=False)
