"""Make a trained generator small enough to ship: weights rounded to bfloat16 precision, the file's parts deflated.

    python tools/ship_weights.py outputs/03_model_finetuning/generator_best.keras

It still opens with plain `keras.models.load_model`. Half of every float32 is zeros afterwards, which deflate removes.
"""

import argparse
import hashlib
import io
import sys
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import inpaint_utils.quiet  # noqa: F401  Keras without its backend's start-up messages, before anything loads it
import ml_dtypes
import numpy as np
from inpaint_utils import load_generator
from inpaint_utils.app.command import run_tool
from inpaint_utils.files import save_model, write_atomically

SHIPPED = Path(__file__).resolve().parents[1] / "models" / "inpainting_generator_best.keras"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generator", type=Path, help="a .keras file, from notebook 2 or 3")
    parser.add_argument(
        "--output", type=Path, default=SHIPPED, help="file to write (default: the one in models/, which is replaced)"
    )
    options = parser.parse_args(arguments)

    generator = load_generator(options.generator)
    probe = np.random.default_rng(0).random((1, 256, 256, 4), np.float32)
    probe[:, 60:190, 80:200, :3] = 0
    before = np.asarray(generator.predict_on_batch(probe))
    generator.set_weights(round_weights(generator))
    save_model(generator, options.output)
    write_atomically(options.output, deflate(options.output))

    after = np.asarray(load_generator(options.output).predict_on_batch(probe))
    size, digest = options.output.stat().st_size, hashlib.sha256(options.output.read_bytes()).hexdigest()
    print(f"{options.output.name}: {size / 1e6:.1f} MB (was {options.generator.stat().st_size / 1e6:.1f} MB)")
    print(f"largest change of an answer by rounding: {np.abs(after - before).max():.4f}")
    print(f"sha256 {digest}")


def round_weights(generator):
    """The weights in bfloat16 precision, as float32."""
    return [w.astype(ml_dtypes.bfloat16).astype(w.dtype) for w in generator.get_weights()]


def deflate(path):
    """The same zip with every part compressed and dated alike, so that equal weights give equal files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target:
        for name in source.namelist():
            target.writestr(zipfile.ZipInfo(name), source.read(name), zipfile.ZIP_DEFLATED, compresslevel=9)
    return packed.getvalue()


if __name__ == "__main__":
    run_tool(main)
