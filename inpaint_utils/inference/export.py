"""Export a generator to ONNX (fast on a CPU) or LiteRT (phones), and open what was exported.

Needs the extra `fast`: ONNX Runtime and tf2onnx for .onnx, ai-edge-litert to run .tflite.
"""

import importlib
import os
import threading
from pathlib import Path

import numpy as np

from ..files import replacing
from ..quiet import keras, silence_stderr

EXPORT_ENDINGS = {".onnx": "onnx", ".tflite": "litert"}


def export_generator(generator, path, image_size=256, quantize=False):
    """Write a generator for pictures of one size, by Keras's own `export`; the file appears complete or not at all.

    Args:
        generator: from `load_generator` or `build_generator`; the backend must be TensorFlow.
        path: file name ending in .onnx (needs tf2onnx) or .tflite (LiteRT).
        image_size: int, side in pixels, a multiple of 128, for a generator of no fixed size; one that has a size
            keeps its own. `inpaint` then works on photos of any size in windows of this one.
        quantize: bool, LiteRT only: weights in 8 bits, a quarter of the file, and slightly other answers.

    Returns: the path. Raises: ValueError for another ending, size or backend, ImportError without tf2onnx.
    """
    path = Path(path)
    if path.suffix not in EXPORT_ENDINGS:
        raise ValueError(f"{path.name!r} ends in {path.suffix!r}, expected {' or '.join(EXPORT_ENDINGS)}: rename it.")
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"Keras runs on {keras.backend.backend()}, but exports need TensorFlow: set KERAS_BACKEND=tensorflow."
        )
    if quantize and path.suffix != ".tflite":
        raise ValueError(f"quantize=True is for .tflite files, but {path.name!r} was asked for: leave it out.")
    size = generator.input_shape[1] or image_size
    if size < 128 or size % 128:
        raise ValueError(f"image_size is {image_size}, expected a multiple of 128: use 256.")
    options = {"input_signature": [keras.InputSpec(shape=(1, size, size, 4), dtype="float32", name="rgb_and_edges")]}
    if path.suffix == ".onnx":
        import_extra("tf2onnx")
    elif quantize:
        import tensorflow

        options["optimizations"] = [tensorflow.lite.Optimize.DEFAULT]
    with replacing(path) as part, silence_stderr():  # the converters' C++ code reports every step
        generator.export(part, format=EXPORT_ENDINGS[path.suffix], verbose=False, **options)
    return path


def open_exported(path):
    """Open a .onnx or .tflite file as a generator that is called like a Keras one.

    Raises: ImportError without the library that runs it, ValueError if the library cannot open the file.
    """
    path = Path(path)
    try:
        return (_open_onnx if path.suffix.lower() == ".onnx" else _open_litert)(path)
    except ImportError:
        raise
    except Exception as error:  # a damaged file raises whatever its reader stumbles on
        reason = str(error).split("\n")[0]
        raise ValueError(f"{str(path)!r} is not a generator that can be opened ({reason}): export it again.") from error


class ExportedGenerator:
    """A function from one (1, S, S, 4) array to (1, S, S, 3), with what the project uses of a Keras model.

    Several threads may call it; they take turns, because a LiteRT interpreter holds one picture at a time.
    """

    def __init__(self, run, input_shape, output_shape):
        self._run, self._turn = run, threading.Lock()
        self.input_shape = (None, *input_shape[1:])
        self.output_shape = (None, *output_shape[1:])

    def __call__(self, inputs, training=False):
        """float32 (B, S, S, 4) → (B, S, S, 3), one picture at a time; `training` is there for Keras's sake."""
        with self._turn:
            return np.concatenate([self._run(picture[np.newaxis]) for picture in np.asarray(inputs, np.float32)])

    predict_on_batch = __call__


def _open_onnx(path):
    runtime = import_extra("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name, shape = session.get_inputs()[0].name, session.get_inputs()[0].shape
    return ExportedGenerator(
        lambda picture: session.run(None, {name: picture})[0], shape, session.get_outputs()[0].shape
    )


def _open_litert(path):
    interpreter = import_extra("ai_edge_litert.interpreter").Interpreter(str(path), num_threads=os.cpu_count())
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def run(picture):
        interpreter.set_tensor(source["index"], picture)
        interpreter.invoke()
        return interpreter.get_tensor(target["index"])

    return ExportedGenerator(run, tuple(source["shape"].tolist()), tuple(target["shape"].tolist()))


def import_extra(module, extra="fast"):
    """Import what an optional extra of the project brings, or say in one sentence how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.split(".")[0].replace("_", "-")
        raise ImportError(
            f"{name} is not installed: run pip install '.[{extra}]' in a clone of the project."
        ) from error
