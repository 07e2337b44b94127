"""Write files in one piece: a reader never meets half a file, and a failure leaves the old one."""

import csv
import io
import os
import zipfile
from pathlib import Path


def write_atomically(path, content):
    """Write bytes or text under a temporary name in the same folder, then rename it to `path`.

    The folder is created. Raises OSError, naming the path, if it can't be written; what stood there stays.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".part_{path.name}")
    try:
        with open(part, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def save_model(model, path):
    """Write a Keras model as a `.keras` file in one piece; a mixed-precision one as float32, which runs anywhere.

    Its weights are float32 in either case. Saved as it is, a model trained in float16 would compute in float16 wherever
    it is opened: slow on a CPU, and less exact.

    Args:
        model: any Keras model. path: file name ending in `.keras`; its folder is created.

    Raises: OSError if it cannot be written; what stood there before stays.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".part_{path.name}")
    try:
        model.save(part)
        with zipfile.ZipFile(part) as saved:
            mixed = b'"mixed_' in saved.read("config.json")
        if mixed:
            part.write_bytes(_name_float32(part))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _name_float32(path):
    """The bytes of a `.keras` file with "float32" in place of its mixed-precision policies."""
    rewritten = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(rewritten, "w") as target:
        for part in source.infolist():
            content = source.read(part)
            if part.filename == "config.json":
                for policy in (b"mixed_float16", b"mixed_bfloat16"):
                    content = content.replace(b'"%s"' % policy, b'"float32"')
            target.writestr(part, content)
    return rewritten.getvalue()


def format_csv(rows):
    """CSV text of a list of dicts: columns in order of first appearance, missing values empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
