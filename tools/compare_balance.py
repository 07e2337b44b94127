"""Which helps, the discriminator's lower rate or its throttle: notebook 2's small trainings with four arms.

    python tools/compare_balance.py PREPARED_PHOTOS      about twelve minutes of two cores

The folder holds the photos that notebook 1 prepared. Writes results/runs/small_balance.csv, a row a training.
"""

import argparse
import csv
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import inpaint_utils.quiet  # noqa: I001  (first: Keras without start-up messages)
import numpy as np

from inpaint_utils import InpaintingGAN, PhotoBatches, ThrottledAdam, build_discriminator, build_generator
from inpaint_utils import choose_weights, open_photos
from inpaint_utils.app.command import run_tool

ROOT = Path(__file__).parents[1]
ARMS = {  # the discriminator's rate ÷ the generator's, and the loss below which it is throttled
    "unbalanced": (1.0, 0.0),
    "rate alone": (0.4, 0.0),
    "throttle alone": (1.0, 0.65),
    "balanced": (0.4, 0.65),
}


def train(photos, seed, ratio, threshold, epochs):
    """The history of one training, as in notebook 2's section "When the discriminator wins"."""
    inpaint_utils.quiet.set_random_seed(seed)
    held_out = photos.split("validation")[:8]
    seen = PhotoBatches(photos.images, photos.split("train"), 8, seed, guidance=0.5, crop_size=128, samples=64)
    few = PhotoBatches(photos.images, held_out, len(held_out), seed + 1, fixed=True, guidance=0.5)
    generator = build_generator(None, 8, hole_fill="black", seed=seed)
    told = dict(normalization="none", initialization="he", sees_hole=True)
    discriminator = build_discriminator(None, 16, **told, seed=seed + 1)
    weights = choose_weights(None, adversarial_weight=20, colour_weight=0)
    gan = InpaintingGAN(generator, discriminator, **weights, throttle_threshold=threshold)
    gan.compile(optimizer=ThrottledAdam(5e-4, discriminator_ratio=ratio))
    return gan.fit(seen, validation_data=few, epochs=epochs, verbose=0).history


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", help="the folder that notebook 1 wrote")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=18)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "results" / "runs" / "small_balance.csv")
    options = parser.parse_args(arguments)
    photos, rows = open_photos(options.photos), []
    for seed in range(options.seeds):
        for arm, (ratio, threshold) in ARMS.items():
            history = train(photos, seed, ratio, threshold, options.epochs)
            rows.append(
                {
                    "seed": seed,
                    "arm": arm,
                    "lowest_discriminator_loss": f"{min(history['discriminator_loss']):.2f}",
                    "smallest_duty_cycle": f"{min(history['duty']):.2f}",
                    "mean_duty_cycle": f"{np.mean(history['duty']):.2f}",
                    "highest_adversarial_loss": f"{max(history['adversarial']):.2f}",
                    "hole_error_last_four_epochs": f"{np.mean(history['val_hole_l1'][-4:]):.3f}",
                    "hole_error_last_epoch": f"{history['val_hole_l1'][-1]:.3f}",
                }
            )
            print(*rows[-1].values(), flush=True)
    with open(options.output, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, rows[0], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


if __name__ == "__main__":
    run_tool(main)
