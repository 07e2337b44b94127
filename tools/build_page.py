"""Build the page that needs no server: one HTML file with the generator and a runtime for it, in outputs/page/.

    python tools/build_page.py                          the shipped generator
    python tools/build_page.py --generator my.keras     one of your own, or a .onnx file of all sizes

The sources are in web/. ONNX Runtime Web is downloaded from npm once and checked. The page opens from a folder or from
any web server, and a policy in its head forbids it to send or load anything.
"""

import argparse
import base64
import csv
import gzip
import hashlib
import io
import re
import sys
import tarfile
import tempfile
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import inpaint_utils.quiet  # noqa: F401
from inpaint_utils.app.command import run_tool
from inpaint_utils.files import replacing
from inpaint_utils.inference.export import export_generator
from inpaint_utils.inference.inpaint import find_generator, load_generator

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "web"
SCRIPTS = ("pictures.js", "edges.js", "detail.js", "fill.js", "page.js")
SAMPLE = "meadow_rock_01.jpg"
RUNTIME = "onnxruntime-web-1.30.0"
RUNTIME_ADDRESS = f"https://registry.npmjs.org/onnxruntime-web/-/{RUNTIME}.tgz"
RUNTIME_SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
RUNTIME_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
LARGEST_PAGE = 20  # MB


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generator", type=Path, help="a .keras or .onnx file; the shipped one if left out")
    parser.add_argument("--folder", type=Path, default=ROOT / "outputs" / "page")
    options = parser.parse_args(arguments)
    path = options.generator or find_generator()
    if path is None or not path.is_file():
        parser.error(f"there is no generator at {str(path or 'models/')!r}: pass --generator.")
    library, runtime = get_runtime()
    page = build_page(library, runtime, export_bytes(path))
    with replacing(options.folder / "index.html") as part:
        part.write_text(page, encoding="utf-8")
    megabytes = (options.folder / "index.html").stat().st_size / 1e6
    print(f"{options.folder / 'index.html'}: {megabytes:.1f} MB")
    if megabytes > LARGEST_PAGE:
        print(f"The page has {megabytes:.1f} MB, expected {LARGEST_PAGE} at most.", file=sys.stderr)
        return 1
    return 0


def export_bytes(path):
    """The generator as an ONNX file with 8-bit weights, for pictures of all sizes; ValueError if it takes but one."""
    generator = load_generator(path)
    side = generator.input_shape[1]
    if side is not None:
        raise ValueError(
            f"{str(path)!r} takes pictures of {side}×{side} pixels alone, expected a generator of all sizes: give its "
            "weights to build_generator(None) and save that."
        )
    if path.suffix == ".onnx":
        return path.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / "generator.onnx"
        return export_generator(generator, exported, image_size=None, quantize=True).read_bytes()


def get_runtime():
    """ONNX Runtime Web: its JavaScript as text, and its WebAssembly as bytes."""
    archive = ROOT / "outputs" / "downloads" / f"{RUNTIME}.tgz"
    if not archive.is_file():
        with urllib.request.urlopen(RUNTIME_ADDRESS, timeout=60) as answer, replacing(archive) as part:
            part.write_bytes(answer.read())
    packed = archive.read_bytes()
    if base64.b64encode(hashlib.sha512(packed).digest()).decode() != RUNTIME_SHA512:
        raise ValueError(f"{str(archive)!r} is not {RUNTIME} as npm publishes it: delete it and try again.")
    with tarfile.open(fileobj=io.BytesIO(packed)) as files:
        library, runtime = (files.extractfile(f"package/dist/{name}").read() for name in RUNTIME_FILES)
    return library.decode(), runtime


def build_page(library, runtime, generator):
    """The page as text: sources, library and data in one."""
    library = re.sub(r"//# sourceMappingURL=\S*", "", library)
    names = dict(pair.split(" as ")[::-1] for pair in re.search(r"export\{([^}]*)\};?\s*$", library)[1].split(","))
    library = re.sub(r"export\{[^}]*\};?\s*$", "", library)
    wanted = ", ".join(f"{name}: {names[name]}" for name in ("InferenceSession", "Tensor", "env"))
    # A scope of its own: its short names must not meet those of the page.
    script = f"const ort = (() => {{\n{library}\nreturn {{ {wanted} }};\n}})();\n"
    script += "\n".join((SOURCES / name).read_text(encoding="utf-8") for name in SCRIPTS)
    if "</script" in script:
        raise ValueError("The scripts hold the text '</script', which would end them: write it in two parts.")
    parts = {
        "hash": f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
        "style": (SOURCES / "style.css").read_text(encoding="utf-8"),
        "largest": re.search(r"LARGEST_PHOTO = (\d+)", script)[1],
        "credit": credit_sample(),
        "licence": (ROOT / "LICENSE").read_text(encoding="utf-8").split("\n", 1)[1].strip(),
        "runtime": pack(runtime),
        "generator": pack(generator),
        "sample": base64.b64encode((ROOT / "inpaint_utils" / "sample_photos" / SAMPLE).read_bytes()).decode(),
        "script": script,
    }
    page = (SOURCES / "index.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], page)


def credit_sample():
    with (ROOT / "inpaint_utils" / "sample_photos" / "photos.csv").open(encoding="utf-8", newline="") as file:
        row = next(row for row in csv.DictReader(file) if SAMPLE in row.values())
    return f"Sample photo: {row['author']}, {row['licence']}, cropped and resized"


def pack(data):
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()


if __name__ == "__main__":
    run_tool(main)
