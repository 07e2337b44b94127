"""Write a folder ready for a model hub: the generator as Keras keeps it there, its card and its licence.

    python tools/publish_model.py FOLDER                         the shipped generator
    python tools/publish_model.py FOLDER --generator my.keras    one of your own, with the card to be edited

Then `hf upload OWNER/NAME FOLDER`, or `kagglehub.model_upload("OWNER/NAME/keras/base32", FOLDER, license_name="MIT")`.
`keras.saving.load_model("hf://OWNER/NAME", compile=False)` opens it.
"""

import argparse
import re
import shutil
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GENERATOR = ROOT / "models" / "inpainting_generator_best.keras"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a new or empty folder")
    parser.add_argument("--generator", type=Path, default=GENERATOR, help="a .keras file")
    parser.add_argument("--repository", default="", help="OWNER/NAME on GitHub, where the card's links then lead")
    options = parser.parse_args(arguments)
    if options.folder.exists() and (not options.folder.is_dir() or any(options.folder.iterdir())):
        parser.error(f"the folder is {str(options.folder)!r}, which is not empty: give a new one.")
    if not is_model(options.generator):
        parser.error(f"the generator is {str(options.generator)!r}, expected a .keras file, such as notebook 2 writes.")
    with zipfile.ZipFile(options.generator) as file:  # Keras opens the same parts in a folder, as hubs show them
        file.extractall(options.folder)
    card = (ROOT / "models" / "README.md").read_text(encoding="utf-8")
    (options.folder / "README.md").write_text(redirect_links(card, options.repository), encoding="utf-8")
    shutil.copy(ROOT / "LICENSE", options.folder)
    size = sum(path.stat().st_size for path in options.folder.iterdir()) / 1e6
    print(f"{options.folder}: {', '.join(sorted(path.name for path in options.folder.iterdir()))}, {size:.0f} MB")
    return 0


def is_model(path):
    """Whether a file is a zip with what Keras opens; .npz and others are zips, too."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as file:
        return {"config.json", "model.weights.h5"} <= set(file.namelist())


def redirect_links(card, repository=""):
    """The card with its links into the repository as links to the published one, or as text where there is none."""

    def redirect(found):
        text, target = found.groups()
        if target == "../LICENSE":
            return f"[{text}](LICENSE)"
        return f"[{text}](https://github.com/{repository}/blob/main/{target[3:]})" if repository else text

    return re.sub(r"\[([^\]]+)\]\((\.\./[^)]+)\)", redirect, card)


if __name__ == "__main__":
    sys.exit(main())
