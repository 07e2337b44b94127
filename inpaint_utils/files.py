"""Write files in one piece: a reader never meets half a file, and a failure leaves the old one."""

import contextlib
import csv
import io
import os
import platform
import threading
import zipfile
import zlib
from pathlib import Path


@contextlib.contextmanager
def replacing(path):
    """Write a file under a temporary name; when the `with` block ends well, it takes the place of `path`.

    Several threads and processes may do so for one path at a time: the last one stays, and nobody reads half a file.

    Args:
        path: file name; its folder is created.

    Yields: the temporary name, a Path in the same folder with the same ending. Where the block raises, what stood at
        `path` before stays, and the temporary file goes.
    """
    path = Path(path)
    path = path.resolve() if path.is_symlink() else path  # the link stays, and its file is written
    part = name_part(path)
    try:
        yield part
        with open(part, "rb" if os.name == "posix" else "rb+") as file:
            os.fsync(file.fileno())  # else a power cut may leave the new name with nothing in it
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def name_part(path):
    """A temporary name for a file that will become `path`, of this machine, process and thread; its folder is created.

    What writers left that no longer run (killed, out of power) is deleted.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    whose = f"{zlib.crc32(f'{platform.node()}/{path.name}'.encode(errors='surrogateescape')):08x}"
    for stale in path.parent.glob(f".part_{whose}_*"):
        process = stale.name.split("_")[2]
        if process.isdigit() and not _is_running(int(process)):
            stale.unlink(missing_ok=True)
    return path.with_name(f".part_{whose}_{os.getpid()}_{threading.get_ident()}{path.suffix[-16:]}")


def _is_running(process):
    if os.name != "posix":  # elsewhere os.kill ends a process in place of asking for it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it runs, but is somebody else's
        pass
    return True


def write_atomically(path, content):
    """Write bytes or text under a temporary name in the same folder, then rename it to `path`.

    Text becomes UTF-8; file names in it that are none stay the bytes that they are. The folder is created. Raises
    OSError, naming the path, if it can't be written; what stood there stays.
    """
    with replacing(path) as part, open(part, "wb") as file:
        file.write(content.encode(errors="surrogateescape") if isinstance(content, str) else content)


def save_model(model, path):
    """Write a Keras model as a `.keras` file in one piece; a mixed-precision one as float32, which runs anywhere.

    Its weights are float32 in either case. Saved as it is, a model trained in float16 would compute in float16 wherever
    it is opened: slow on a CPU, and less exact.

    Args:
        model: any Keras model. path: file name ending in `.keras`; its folder is created.

    Raises: OSError if it cannot be written; what stood there before stays.
    """
    with replacing(path) as part:
        model.save(part)
        with zipfile.ZipFile(part) as saved:
            mixed = b'"mixed_' in saved.read("config.json")
        if mixed:
            part.write_bytes(_name_float32(part))


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


def format_markdown(head, rows):
    """Markdown text of a table: a list of column titles and lists of cells."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
