"""How long one picture takes on this machine's CPU: predict, a compiled function, ONNX Runtime and LiteRT, in one run.

Beside them stands the arithmetic limit: the network's operations at the rate of a large matrix product, measured in
the same rounds, so that a busy machine slows all alike. Run it with `python tools/bench_inference.py`; it needs the
extras `tensorflow` and `fast`.

`python tools/bench_inference.py --photos` times whole calls of `inpaint` instead: 256×256 pixels, and the large photos
with specks, scratches, wires, frames and large holes for which the windows are planned. KERAS_BACKEND=jax works, too.
"""

import argparse
import math
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from inpaint_utils.app.command import run_tool  # noqa: E402
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


def draw_cases():
    """Name -> (height, width, a function that paints the holes into a uint8 mask of 255) of the photos of --photos."""

    def draw_boxes(*boxes):
        def draw(mask):
            for top, left, high, wide in boxes:
                mask[top : top + high, left : left + wide] = 0

        return draw

    def draw_lines(count, thickness):
        def draw(mask):
            (height, width), rng = mask.shape, np.random.default_rng(0)
            for _ in range(count):
                ends = [(int(rng.integers(width)), int(rng.integers(height))) for _ in range(2)]
                cv2.line(mask, *ends, 0, thickness)

        return draw

    def draw_specks(mask):
        (height, width), rng = mask.shape, np.random.default_rng(0)
        for _ in range(3000):
            place = int(rng.integers(3, width - 3)), int(rng.integers(3, height - 3))
            cv2.circle(mask, place, int(rng.integers(1, 4)), 0, -1)

    def draw_rows(mask):
        mask[::2] = 0

    def draw_wires(mask):
        for i in range(8):
            left, right = (0, 150 + 150 * i), (mask.shape[1] - 1, 250 + 140 * i)
            cv2.line(mask, left, right, 0, 4)

    def draw_frame(thickness):
        def draw(mask):
            mask[:thickness], mask[-thickness:], mask[:, :thickness], mask[:, -thickness:] = 0, 0, 0, 0

        return draw

    five = ((0, 0, 200, 300), (3700, 5800, 300, 200), (1000, 2000, 900, 700), (2500, 100, 40, 40))
    return {
        "256×256, a box": (256, 256, draw_boxes((60, 70, 120, 110))),
        "400×300": (300, 400, draw_boxes((100, 150, 70, 80))),
        "300×400": (400, 300, draw_boxes((100, 150, 70, 80))),
        "640×480": (480, 640, draw_boxes((100, 150, 70, 80))),
        "20 MP, 3,000 specks": (3648, 5472, draw_specks),
        "12 MP, 20 scratches": (3000, 4000, draw_lines(20, 3)),
        "3 MP, 8 wires": (1500, 2000, draw_wires),
        "3 MP, every second row": (1500, 2000, draw_rows),
        "18 MP panorama, strips": (1500, 12000, draw_boxes((0, 0, 60, 12000), (1440, 0, 60, 12000))),
        "24 MP, frame of 30 px": (4000, 6000, draw_frame(30)),
        "24 MP, five holes": (4000, 6000, draw_boxes(*five, (2000, 4000, 500, 1200))),
        "24 MP, 1,500-px hole": (4000, 6000, draw_boxes((1200, 2200, 1500, 1500))),
    }


def measure_photos(generator, names, detail):
    """Print the seconds of `inpaint` for each case; the photo is a sample photo, enlarged, with grain of its own."""
    from inpaint_utils import inpaint, load_image, sample_photos

    options = {} if detail is None else {"detail": detail}
    photo = load_image(sample_photos()[10])
    for name, (height, width, draw) in draw_cases().items():
        if names and not any(part in name for part in names):
            continue
        image = cv2.resize(photo, (width, height))
        image += np.random.default_rng(0).normal(0, 0.02, (height, width, 1)).astype(np.float32)
        image.clip(0, 1, out=image)
        mask = np.full((height, width), 255, np.uint8)
        draw(mask)
        start, own = time.perf_counter(), time.process_time()
        filled = inpaint(generator, image, mask[..., np.newaxis], **options)
        seconds, own, peak = time.perf_counter() - start, time.process_time() - own, read_peak()
        inside = cv2.erode((mask == 0).astype(np.uint8), np.ones((7, 7), np.uint8), borderValue=0) == 1
        sharpness = see_detail(filled, inside) / see_detail(image, inside) if inside.any() else math.nan
        print(f"{name:26}{seconds:8.1f} s{own:8.1f} s of processors{peak:7.2f} GB at most   sharpness {sharpness:.2f}")


def read_peak():
    """The most memory that the process has held so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def see_detail(picture, inside):
    """Mean absolute difference to its blur."""
    return float(np.abs(picture - cv2.GaussianBlur(picture, (0, 0), 1.5))[inside].mean())


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--generator", type=Path, help=".keras file (default: an untrained one of --filters)")
    parser.add_argument("--filters", type=int, default=64, help="of the untrained generator (default 64)")
    parser.add_argument("--size", type=int, default=256, help="pixels a side, a multiple of 128 (default 256)")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--photos", nargs="*", help="time inpaint on photos instead: parts of their names, or all")
    parser.add_argument("--detail", type=float, help="detail of --photos (default: as inpaint has it)")
    parser.add_argument("-o", "--output", type=Path, help="CSV file to write")
    options = parser.parse_args(arguments)
    if options.size < 128 or options.size % 128:
        parser.error(f"--size is {options.size}, expected a multiple of 128")
    for part in options.photos or ():
        if not any(part in name for name in draw_cases()):
            parser.error(f"--photos {part!r} is in none of the names: {'; '.join(draw_cases())}")
    from inpaint_utils.data.masks import create_mask
    from inpaint_utils.inference.inpaint import build_input, load_generator
    from inpaint_utils.networks.models import build_generator

    if options.photos is not None:
        return measure_photos(load_generator(options.generator), options.photos, options.detail)
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
    run_tool(main)
