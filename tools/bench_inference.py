"""How long one picture takes on this machine's CPU: predict, a compiled function, ONNX Runtime and LiteRT, in one run.

Beside them stands the arithmetic limit: the network's operations at the rate of a large matrix product, measured in
the same rounds, so that a busy machine slows all alike. Run it with `python tools/bench_inference.py`; it needs the
extras `tensorflow` and `fast`.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np  # noqa: E402

from inpaint_utils.files import format_csv, write_atomically  # noqa: E402
from inpaint_utils.quiet import keras, silence_stderr  # noqa: E402

MATRIX = 2048


def count_operations(generator, size):
    """Multiplications and additions of a generator's convolutions for one picture of `size` pixels a side."""
    sized, total = generator, 0
    if generator.input_shape[1] is None:
        sized = keras.models.clone_model(generator, input_tensors=keras.Input((size, size, 4)))
    for layer in sized.layers:
        if isinstance(layer, keras.layers.Conv2DTranspose):
            total += 2 * np.prod(layer.kernel.shape) * np.prod(layer.input.shape[1:3])
        elif isinstance(layer, keras.layers.Conv2D):
            total += 2 * np.prod(layer.kernel.shape) * np.prod(layer.output.shape[1:3])
    return int(total)


def build_paths(generator, size, folder):
    """The ways to run it: name -> function of a float32 (1, size, size, 4) array."""
    import tensorflow as tf

    from inpaint_utils.inference.export import export_generator, open_exported

    compiled = tf.function(lambda picture: generator(picture, training=False))
    paths = {
        "predict": lambda picture: generator.predict(picture, verbose=0),
        "call": lambda picture: generator(picture, training=False).numpy(),
        "tf.function": lambda picture: compiled(picture).numpy(),
    }
    for name, file, quantize in (
        ("ONNX Runtime", "generator.onnx", False),
        ("LiteRT", "generator.tflite", False),
        ("LiteRT, 8-bit weights", "quantized.tflite", True),
    ):
        with silence_stderr():
            paths[name] = open_exported(export_generator(generator, Path(folder) / file, size, quantize))
    return paths


def measure(paths, operations, picture, rounds):
    """Rows of the table; each round runs every path once, so that all meet the same load."""
    matrix = np.random.default_rng(0).random((MATRIX, MATRIX), np.float32)
    own, paths = paths, {"arithmetic limit": lambda picture: matrix @ matrix, **paths}
    answers = {name: run(picture) for name, run in paths.items()}  # warms up
    seconds = {name: [] for name in paths}
    for _ in range(rounds):
        for name, run in paths.items():
            start = time.perf_counter()
            run(picture)
            seconds[name].append(time.perf_counter() - start)
    share = operations / (2 * MATRIX**3)  # of the matrix product
    seconds["arithmetic limit"] = [second * share for second in seconds["arithmetic limit"]]
    best = {name: min(times) for name, times in seconds.items()}
    change = {name: np.abs(answer - answers["predict"]).max() for name, answer in answers.items() if name in own}
    return [
        {
            "path": name,
            "best_ms": round(1000 * best[name], 1),
            "median_ms": round(1000 * statistics.median(seconds[name]), 1),
            "times_faster_than_predict": round(best["predict"] / best[name], 2),
            "times_the_limit": round(best[name] / best["arithmetic limit"], 2),
            "max_difference": f"{change[name]:.1e}" if name in change else "",
        }
        for name in paths
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--generator", type=Path, help=".keras file (default: an untrained one of --filters)")
    parser.add_argument("--filters", type=int, default=64, help="of the untrained generator (default 64)")
    parser.add_argument("--size", type=int, default=256, help="pixels a side, a multiple of 128 (default 256)")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("-o", "--output", type=Path, help="CSV file to write")
    options = parser.parse_args()
    from inpaint_utils.data.masks import create_mask
    from inpaint_utils.inference.inpaint import build_input, load_generator
    from inpaint_utils.networks.models import build_generator

    generator = load_generator(options.generator) if options.generator else build_generator(None, options.filters)
    shape = (options.size, options.size)
    photo = np.random.default_rng(0).random((*shape, 3), np.float32)
    picture = build_input(photo, create_mask(shape, difficulty="medium"))[np.newaxis]
    operations = count_operations(generator, options.size)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(build_paths(generator, options.size, folder), operations, picture, options.rounds)
    print(
        f"{operations / 1e9:.1f} billion operations, {generator.count_params() / 1e6:.1f} million parameters, "
        f"{options.size}×{options.size}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    for row in rows:
        print(
            "{path:24}{best_ms:>9} ms best{median_ms:>9} ms median{times_faster_than_predict:>7}× predict"
            "{times_the_limit:>7}× limit   max |Δ| {max_difference}".format(**row)
        )
    if options.output:
        write_atomically(options.output, format_csv(rows))


if __name__ == "__main__":
    main()
