"""Run the notebooks headless, in order, through papermill; refuse a parameter that no notebook has.

python tools/run_notebooks.py                               all four, into outputs/notebooks/
python tools/run_notebooks.py 02 03 -p epochs 5             some of them, with a parameter changed
python tools/run_notebooks.py 01 -p photo_folder ~/photos   a path counts from the folder that you are in
python tools/run_notebooks.py --save                        all four, and keep their outputs in notebooks/ itself
"""

import argparse
import difflib
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("INPAINT_HEADLESS", "1")  # no progress bars: nobody watches

import nbformat
import papermill

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
# Errors only: a kernel of this machine need not warn that it talks to us without encryption.
KERNEL = ["--IPKernelApp.log_level=40"]
PATHS = ("_folder", "_path", "_photo", "_mask")  # how the names of parameters end that hold a path


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", help="first characters of file names, such as 02; none: all four")
    parser.add_argument("-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    parser.add_argument("-o", "--output", type=Path, default=NOTEBOOKS.parent / "outputs" / "notebooks")
    parser.add_argument("--save", action="store_true", help="keep the outputs in notebooks/ itself")
    options = parser.parse_args(arguments)
    try:
        paths = choose_notebooks(options.notebooks)
        parameters = read_parameters(options.parameter, paths)
    except ValueError as error:
        parser.error(str(error))
    options.output.mkdir(parents=True, exist_ok=True)
    for path in paths:
        started = time.perf_counter()
        done = options.output / path.name
        own = {name: value for name, value in parameters.items() if name in papermill.inspect_notebook(str(path))}
        try:
            papermill.execute_notebook(
                str(path),
                str(done),
                own,
                cwd=str(NOTEBOOKS),
                kernel_name="python3",
                progress_bar=False,
                extra_arguments=KERNEL,
            )
        except papermill.PapermillExecutionError as error:
            print(f"{path.name} failed with {error.ename}: {error.evalue} See {done}.", file=sys.stderr)
            return 1
        print(f"{path.name}: {time.perf_counter() - started:.0f} s, executed copy in {done}", flush=True)
        if options.save:
            save_outputs(done, path)
    return 0


def choose_notebooks(starts):
    """The notebooks whose names start as asked, in order; all of them if nothing was asked."""
    paths = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
    for start in starts:
        if not any(path.name.startswith(start) for path in paths):
            raise ValueError(f"there is no notebook {start!r}, expected one of {', '.join(p.name for p in paths)}.")
    return [path for path in paths if not starts or path.name.startswith(tuple(starts))]


def read_parameters(pairs, paths):
    """{"epochs": 5} from [("epochs", "5")], each value of the type that the notebook's own value has.

    Paths are those of the folder this command was called in, not of the notebooks' own.
    """
    known = {}
    for path in paths:
        known |= papermill.inspect_notebook(str(path))
    parameters = {}
    for name, text in pairs:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(sorted(known))}."
            raise ValueError(f"no notebook chosen has a parameter {name!r}: {hint}")
        kind = {"int": int, "float": float, "str": str}[known[name]["inferred_type_name"]]
        try:
            parameters[name] = kind(text)
        except ValueError:
            raise ValueError(f"{name} is {text!r}, expected a value of type {kind.__name__}.") from None
        is_path = name.endswith(PATHS) or (name == "vgg19_weights" and Path(text).expanduser().is_file())
        if text and is_path and not text.startswith("kaggle:"):  # the notebooks themselves run in notebooks/
            parameters[name] = os.path.abspath(Path(text).expanduser())
    return parameters


def save_outputs(executed, path):
    """Keep an executed notebook without what differs from run to run: times, paths, ids."""
    notebook = nbformat.read(executed, as_version=4)
    notebook.metadata.pop("papermill", None)
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        cell.metadata = {"tags": tags} if tags else {}
        for output in cell.get("outputs", []):
            output.pop("transient", None)
    nbformat.write(notebook, path)


if __name__ == "__main__":
    sys.exit(main())
