"""People decide: two fills of the same hole side by side, and one question, which of them looks real."""

import contextlib
import math
import os
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from scipy.stats import binomtest

from .. import figures
from ..host import is_interactive

REPEATED = 0.25  # of the pairs, shown a second time with the sides changed
SIDES = ("left", "right")
QUESTION = "Which looks real?"


class Judging:
    """Pairs of pictures to judge: order and sides at random, some pairs twice, each answer a line of a CSV file.

    Args:
        fills: {name: pictures} of two methods, (H, W, 3) RGB in [0, 1]; pictures of the same place make a pair.
        path: the CSV file; answers are added to what it holds.
        seed: int, for the order and the sides.

    `trials` lists what is asked, and `answers` what was said so far.
    Raises: ValueError unless there are two methods with equally many pictures, one at least.
    """

    def __init__(self, fills, path, seed=0):
        counts = {name: len(pictures) for name, pictures in fills.items()}
        if len(counts) != 2 or len(set(counts.values())) != 1 or 0 in counts.values():
            raise ValueError(f"The fills are {counts}, expected two methods with a picture each of the same places.")
        self.fills, self.path, self.answers = fills, Path(path), []
        self.started = time.strftime("%Y-%m-%d %H:%M:%S")
        rng, names = np.random.default_rng(seed), list(fills)
        places = rng.permutation(next(iter(counts.values()))).tolist()
        self.trials = [(place, *rng.permutation(names).tolist(), False) for place in places]
        again = self.trials[: math.ceil(REPEATED * len(places))]  # the first ones, which are longest ago
        self.trials += [(place, right, left, True) for place, left, right, _ in again]

    def pictures(self):
        """The two pictures to choose from now, left and right; None when all is judged."""
        if len(self.answers) == len(self.trials):
            return None
        place, left, right, _ = self.trials[len(self.answers)]
        return self.fills[left][place], self.fills[right][place]

    def choose(self, side):
        """Note that the picture on this side, "left" or "right", looks real, and go on to the next pair.

        Raises: OSError if the file cannot be written; nothing is noted then, and the same pair can be judged again.
        """
        if side not in SIDES:
            raise ValueError(f"The side is {side!r}, expected one of {SIDES}.")
        if self.pictures() is None:
            raise ValueError(f"All {len(self.trials)} pairs are judged: make a new Judging with another seed.")
        place, left, right, repeat = self.trials[len(self.answers)]
        row = dict(sitting=self.started, picture=place, left=left, right=right, repeat=int(repeat))
        row["real"] = left if side == "left" else right
        size = self.path.stat().st_size if self.path.exists() else 0
        try:
            pd.DataFrame([row]).to_csv(self.path, mode="a", header=not size, index=False)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.truncate(self.path, size)  # half a line may have been written
            raise OSError(
                f"{self.path} cannot be written ({error.strerror or error}), and the answer is not noted: check its "
                "folder and close the file elsewhere, then choose again."
            ) from error
        self.answers.append(row)

    def describe(self):
        """What this sitting says, in two sentences; pairs that came again count for the second one only."""
        first = {row["picture"]: row["real"] for row in self.answers if not row["repeat"]}
        again = [row["real"] == first[row["picture"]] for row in self.answers if row["repeat"]]
        name = list(self.fills)[-1]
        wins = sum(real == name for real in first.values())
        # Wilson 1927: it stays within [0, 1] and is honest for few trials, too.
        interval = binomtest(wins, len(first)).proportion_ci(method="wilson") if first else (0, 1)
        low, high = (100 * end for end in interval)
        return (
            f"“{name}” looked real in {wins} of {len(first)} pairs (95 % interval {low:.0f} to {high:.0f} %). "
            f"You said the same again of {sum(again)} of {len(again)} pairs that came twice."
        )

    def show(self):
        """Two buttons under each pair; where nobody watches, or without ipywidgets, the first pair as a picture."""
        try:
            import ipywidgets as widgets
        except ImportError:
            widgets = None
        if widgets is None or not is_interactive():
            repeats = sum(repeat for *_, repeat in self.trials)
            print(f"{len(self.trials) - repeats} pairs to judge, {repeats} of them twice. {QUESTION}")
            return figures.show(figures.draw_pictures([self.pictures()], columns=SIDES, width=2.6))
        from IPython.display import display

        images, text = [widgets.Image(format="png", width=320) for _ in SIDES], widgets.Label()
        buttons = [widgets.Button(description=f"The {side} one") for side in SIDES]
        pairs = widgets.HBox([widgets.VBox(pair) for pair in zip(images, buttons, strict=True)])

        def draw():
            pair = self.pictures()
            text.value = f"{len(self.answers) + 1} of {len(self.trials)}. {QUESTION}" if pair else self.describe()
            pairs.layout.display = None if pair else "none"
            for image, picture in zip(images, pair or (), strict=False):
                pixels = np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8)
                image.value = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes()

        def answer(button):
            try:
                self.choose(SIDES[buttons.index(button)])
            except OSError as error:
                text.value = str(error)
            else:
                draw()

        for button in buttons:
            button.on_click(answer)
        draw()
        display(widgets.VBox([text, pairs]))
