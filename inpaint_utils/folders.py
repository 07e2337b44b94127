"""Where notebooks read and write: Kaggle's folders on Kaggle, `outputs/` elsewhere."""

import os
from pathlib import Path

# The variables are there for tests: a copy of Kaggle's layout, and outputs that do not mix with somebody's own.
KAGGLE_FOLDER = Path(os.environ.get("INPAINT_KAGGLE_FOLDER", "/kaggle"))
INPUT_FOLDER = KAGGLE_FOLDER / "input"


def find_output_folder():
    """The folder for results: /kaggle/working on Kaggle, else outputs/ in the repository or the working folder."""
    if "INPAINT_OUTPUT_FOLDER" in os.environ:
        return Path(os.environ["INPAINT_OUTPUT_FOLDER"])
    if (KAGGLE_FOLDER / "working").is_dir():
        return KAGGLE_FOLDER / "working"
    root = Path(__file__).parents[1]  # the repository's, when the package runs from a checkout
    return (root if (root / "notebooks").is_dir() else Path.cwd()) / "outputs"
