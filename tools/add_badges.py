"""Make the "Open in Colab" and "Open in Kaggle" badges of README and notebooks lead to where the project is published.

    python tools/add_badges.py OWNER/REPOSITORY        or without it: the address of the git remote "origin"

Run it once after publishing, or again after a move. Until then there are no badges. The notebooks learn the address,
too: opened without the project they fetch it from there.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import nbformat
from inpaint_utils.app.command import run_tool
from inpaint_utils.files import write_atomically

ROOT = Path(__file__).resolve().parents[1]
START, END = "<!-- badges -->", "<!-- /badges -->"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", nargs="?", help='OWNER/REPOSITORY on GitHub, "none" for an unpublished copy')
    parser.add_argument("--branch", default="main")
    options = parser.parse_args(arguments)
    repository = options.repository or find_repository()
    if repository == "none":
        repository = ""
    elif not re.fullmatch(r"[\w.-]+/[\w.-]+", repository or ""):
        parser.error(f"the repository is {repository!r}, expected OWNER/REPOSITORY on GitHub.")
    notebooks = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
    for path in notebooks:
        notebook = nbformat.read(path, as_version=4)
        title = notebook.cells[0]
        title.source = put(title.source, make_badges(repository, options.branch, path.name))
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.source = tell(cell.source, repository)
        write_atomically(path, nbformat.writes(notebook) + "\n")
    readme = ROOT / "README.md"
    badges = make_badges(repository, options.branch, notebooks[-1].name)
    write_atomically(readme, put(readme.read_text(encoding="utf-8"), badges))
    print(f"badges for {repository or 'an unpublished copy'} in README.md and {len(notebooks)} notebooks")


def find_repository():
    """OWNER/REPOSITORY of the remote "origin", if that is on GitHub."""
    asked = subprocess.run(["git", "-C", ROOT, "remote", "get-url", "origin"], capture_output=True, text=True)
    found = re.search(r"github\.com[:/](.+?)(?:\.git)?/?$", asked.stdout.strip())
    return found.group(1) if found else None


def make_badges(repository, branch, notebook):
    """Markdown of the two badges of a notebook; nothing for an unpublished copy."""
    if not repository:
        return ""
    place = f"{repository}/blob/{branch}/notebooks/{notebook}"
    colab = f"https://colab.research.google.com/github/{place}"
    kaggle = f"https://kaggle.com/kernels/welcome?src=https://github.com/{place}"
    return (
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab})\n"
        f"[![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)]({kaggle})"
    )


def put(text, badges):
    """The text with the badges below its title, instead of those that were there."""
    text = re.sub(rf"{START}.*?{END}\n\n?", "", text, flags=re.S)
    title, rest = text.split("\n", 1)
    block = f"{START}\n{badges}\n{END}\n\n" if badges else ""
    return f"{title}\n\n{block}{rest.lstrip()}"


def tell(code, repository):
    """The set-up cell with the address to fetch the project from; any other cell as it is."""
    address = f"https://github.com/{repository}" if repository else ""
    return re.sub(r'^repository = "[^"]*"', f'repository = "{address}"', code, flags=re.M)


if __name__ == "__main__":
    run_tool(main)
