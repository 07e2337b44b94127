"""Export a generator to ONNX (fast on a CPU) or LiteRT (phones), and open what was exported.

Needs the extra `fast`: ONNX Runtime and tf2onnx for .onnx, ai-edge-litert to run .tflite.
"""

import importlib
import math
import os
import threading
from pathlib import Path

import numpy as np

from ..files import replacing
from ..quiet import keras, silence_stderr

EXPORT_ENDINGS = {".onnx": "onnx", ".tflite": "litert"}
FEW_WEIGHTS = 1000  # arrays smaller than this stay in 32 bits


def export_generator(generator, path, image_size=256, quantize=False):
    """Write a generator, by Keras's own `export`; the file appears complete or not at all.

    Args:
        generator: from `load_generator` or `build_generator`; the backend must be TensorFlow.
        path: file name ending in .onnx (needs tf2onnx) or .tflite (LiteRT).
        image_size: int, side in pixels, a multiple of 128, for a generator of no fixed size; one that has a size
            keeps its own. `inpaint` then works on photos of any size in windows of this one. None, .onnx only: it
            takes all multiples of 128, as the generator does.
        quantize: bool, weights in 8 bits: a quarter of the file, and slightly other answers.

    Returns: the path. Raises: ValueError for another ending, size or backend, ImportError without tf2onnx.
    """
    path = Path(path)
    if path.suffix not in EXPORT_ENDINGS:
        raise ValueError(f"{path.name!r} ends in {path.suffix!r}, expected {' or '.join(EXPORT_ENDINGS)}: rename it.")
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"Keras runs on {keras.backend.backend()}, but exports need TensorFlow: set KERAS_BACKEND=tensorflow."
        )
    size = generator.input_shape[1] or image_size
    if size is None and path.suffix != ".onnx":
        raise ValueError(f"image_size=None is for .onnx files, but {path.name!r} was asked for: use 256.")
    if size is not None and (size < 128 or size % 128):
        whose = "The generator's own size" if generator.input_shape[1] else "image_size"
        raise ValueError(f"{whose} is {size}, but exports need a multiple of 128: use 256.")
    options = {"input_signature": [keras.InputSpec(shape=(1, size, size, 4), dtype="float32", name="rgb_and_edges")]}
    if path.suffix == ".onnx":
        import_extra("tf2onnx")
    elif quantize:
        import tensorflow

        options["optimizations"] = [tensorflow.lite.Optimize.DEFAULT]
    with replacing(path) as part, silence_stderr():  # the converters' C++ code reports every step
        generator.export(part, format=EXPORT_ENDINGS[path.suffix], verbose=False, **options)
        if quantize and path.suffix == ".onnx":
            _quantize_onnx(part)
    return path


def _quantize_onnx(path):
    """Keep the large weights of a .onnx file in 8 bits, with a scale for each slice along their first axis.

    A cast and a product in front of each turn them into floats once, when a runtime opens the file: it computes as
    before. Integer convolutions would round the activations, too.
    """
    onnx = import_extra("onnx")
    model = onnx.load(path)
    graph, nodes = model.graph, []
    for weight in list(graph.initializer):
        if weight.data_type != onnx.TensorProto.FLOAT or len(weight.dims) < 2 or math.prod(weight.dims) < FEW_WEIGHTS:
            continue
        name, values = weight.name, onnx.numpy_helper.to_array(weight)
        scale = np.abs(values).max(axis=tuple(range(1, values.ndim)), keepdims=True) / np.float32(127)
        scale = np.maximum(scale, np.finfo(np.float32).tiny)
        graph.initializer.remove(weight)
        parts = {f"{name}_8bit": np.rint(values / scale).astype(np.int8), f"{name}_scale": scale}
        graph.initializer.extend(onnx.numpy_helper.from_array(part, label) for label, part in parts.items())
        nodes.append(onnx.helper.make_node("Cast", [f"{name}_8bit"], [f"{name}_cast"], to=onnx.TensorProto.FLOAT))
        nodes.append(onnx.helper.make_node("Mul", [f"{name}_cast", f"{name}_scale"], [name]))
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, path)


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
        self.input_shape, self.output_shape = (
            (None, *(size if isinstance(size, int) else None for size in shape[1:]))  # a size left open has a name
            for shape in (input_shape, output_shape)
        )

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


def import_extra(module, extra="fast", oldest=0):
    """Import what an optional extra of the project brings, or say in one sentence how to get it.

    oldest: the first number of the oldest version that fits.
    """
    name, advice = module.split(".")[0].replace("_", "-"), f"run pip install '.[{extra}]' in a clone of the project."
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"{name} is not installed: {advice}") from error
    version = getattr(found, "__version__", "")
    if version and int(version.split(".")[0]) < oldest:
        raise ImportError(f"{name} {version} is installed, expected {oldest} or newer: {advice}")
    return found
