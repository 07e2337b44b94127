"""Cut squares of 1024 pixels out of large photos with a free licence, for the runs at 512 and 1024 pixels.

    apt-get download lomiri-wallpapers-16.04 sddm-theme-maldives
    for package in *.deb; do dpkg -x $package unpacked; done
    python tools/cut_large_photos.py unpacked outputs/large_photos

results/runs/domains/large_photos.csv names the photos, their authors and licences, and whether one is to train or to
test with. Of each come squares side by side in its own resolution, and its centre square shrunk, which is the whole
scene. They go to train/ and test/, each with a photos.csv, by which all crops of one photo stay in one split.
"""

import argparse
import csv
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import cv2
import numpy as np
from inpaint_utils import load_image, save_image
from inpaint_utils.app.command import run_tool
from inpaint_utils.files import format_csv, write_atomically

ROOT = Path(__file__).resolve().parents[1]
SIDE = 1024  # pixels


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("unpacked", type=Path, help="folder with the packages' files")
    parser.add_argument("output", type=Path, help="folder for train/ and test/")
    parser.add_argument("--list", type=Path, default=ROOT / "results" / "runs" / "domains" / "large_photos.csv")
    options = parser.parse_args(arguments)
    with open(options.list, encoding="utf-8", newline="") as file:
        photos = list(csv.DictReader(file))
    missing = [photo["path"] for photo in photos if not (options.unpacked / photo["path"]).is_file()]
    if missing:
        parser.error(f"{options.unpacked} has no {missing[0]}: unpack the packages that the first lines name.")
    records = {"train": [], "test": []}
    for photo in photos:
        image = load_image(options.unpacked / photo["path"])
        for number, (crop, square) in enumerate(cut_squares(image)):
            name = f"{Path(photo['path']).stem.split('_by_')[0].lower()}_{number:02d}.jpg"
            save_image(options.output / photo["split"] / name, square)
            records[photo["split"]].append({"file": name, "original": photo["path"], "crop": crop, **photo})
    for split, rows in records.items():
        write_atomically(options.output / split / "photos.csv", format_csv(rows))
        print(f"{split}: {len(rows)} squares of {len({row['original'] for row in rows})} photos")


def cut_squares(image):
    """The whole scene and the details of a float photo: pairs of ("x, y, width, height", (1024, 1024, 3))."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    whole = image[top : top + side, left : left + side]
    yield f"{left},{top},{side},{side}", cv2.resize(whole, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    for top in spread(height):
        for left in spread(width):
            yield f"{left},{top},{SIDE},{SIDE}", image[top : top + SIDE, left : left + SIDE]


def spread(length):
    """Where squares begin that lie side by side, from one end to the other."""
    count = length // SIDE
    return [int(start) for start in np.linspace(0, length - SIDE, count)] if count > 1 else [(length - SIDE) // 2]


if __name__ == "__main__":
    run_tool(main)
