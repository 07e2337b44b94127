"""Export: the exported generator answers like Keras, and nothing of it is needed before it is asked for."""

import importlib.util
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from inpaint_utils.data.masks import create_mask
from inpaint_utils.inference.export import ExportedGenerator, export_generator, open_exported
from inpaint_utils.inference.inpaint import build_input, inpaint, load_generator
from inpaint_utils.networks.models import build_generator
from inpaint_utils.quiet import keras

# Largest difference of any pixel from Keras's answer, in [0, 1].
KINDS = {
    "onnx": ("g.onnx", False, 1e-3),
    "onnx, 8 bits": ("q.onnx", True, 3e-2),
    "litert": ("g.tflite", False, 1e-3),
    "8 bits": ("q.tflite", True, 3e-2),
}
NEEDED = {kind: ("tf2onnx", "onnxruntime") if "onnx" in kind else ("ai_edge_litert",) for kind in KINDS}
needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports are made with the TensorFlow backend"
)


@pytest.fixture(scope="module")
def generator():
    """Untrained, with weights so large that the network and its noise, not only its smooth fill, make the answer."""
    generator, rng = build_generator(None, 4), np.random.default_rng(0)
    generator.set_weights([5 * weight if weight.ndim == 4 else weight for weight in generator.get_weights()])
    weighed = [layer for layer in generator.layers if "_noise_" in layer.name]
    assert weighed
    for layer in weighed:
        layer.set_weights([rng.normal(0, 0.2, weight.shape) for weight in layer.get_weights()])
    return generator


@pytest.fixture(scope="module")
def exported(generator, tmp_path_factory):
    """Export each kind once: exported(kind) -> path."""
    paths, folder = {}, tmp_path_factory.mktemp("exported")

    def export(kind):
        missing = [module for module in NEEDED[kind] if importlib.util.find_spec(module) is None]
        if missing:
            pytest.skip(f"{' and '.join(missing)} not installed: pip install '.[fast]'")
        if kind not in paths:
            name, quantize, _ = KINDS[kind]
            paths[kind] = export_generator(generator, folder / name, 128, quantize)
        return paths[kind]

    return export


def draw_input(seed, side=128):
    image = np.random.default_rng(seed).random((side, side, 3), np.float32)
    return build_input(image, create_mask((side, side), 0.3, seed))


@needs_tensorflow
@pytest.mark.parametrize("kind", KINDS)
def test_an_exported_generator_answers_like_keras(generator, exported, kind):
    inputs = np.stack([draw_input(seed) for seed in range(3)])
    expected = np.asarray(generator.predict_on_batch(inputs))
    untouched = np.asarray(build_generator(None, 4).predict_on_batch(inputs))
    assert np.abs(expected - untouched).max() > 0.1, "the network has no say in this answer"
    answer = load_generator(exported(kind))(inputs, training=False)
    assert answer.shape == expected.shape and answer.dtype == np.float32
    assert np.abs(answer - expected).max() <= KINDS[kind][2]


@needs_tensorflow
@pytest.mark.parametrize("kind", KINDS)
def test_a_photo_of_any_size_is_inpainted_by_an_exported_generator(exported, kind):
    image = np.random.default_rng(0).random((300, 170, 3), np.float32)
    mask = create_mask(image.shape, 0.2, 3)
    filled = inpaint(load_generator(exported(kind)), image, mask)
    assert filled.shape == image.shape and filled.dtype == np.float32 and np.isfinite(filled).all()
    assert np.array_equal(filled[mask[..., 0] == 1], image[mask[..., 0] == 1])


@needs_tensorflow
@pytest.mark.parametrize(("small", "large"), [("8 bits", "litert"), ("onnx, 8 bits", "onnx")])
def test_8_bit_weights_make_a_smaller_file(exported, small, large):
    saved = exported(large).stat().st_size - exported(small).stat().st_size
    assert saved > 0.65 * 4 * build_generator(None, 4).count_params()


@needs_tensorflow
def test_an_onnx_file_for_all_sizes_answers_like_keras(generator, tmp_path):
    for module in ("tf2onnx", "onnxruntime"):
        pytest.importorskip(module, reason=f"{module} not installed: pip install 'inpaint-utils[fast]'")
    opened = load_generator(export_generator(generator, tmp_path / "any.onnx", image_size=None))
    assert opened.input_shape == (None, None, None, 4) and opened.output_shape[1:3] == (None, None)
    for side in (128, 256):
        inputs = draw_input(side, side)[np.newaxis]
        assert np.abs(opened(inputs) - np.asarray(generator.predict_on_batch(inputs))).max() <= KINDS["onnx"][2]


def test_threads_that_share_an_exported_generator_take_turns():
    inside = threading.Semaphore(1)

    def run(picture):
        assert inside.acquire(blocking=False), "two threads are in one interpreter"
        time.sleep(0.005)
        inside.release()
        return picture[..., :3]

    generator = ExportedGenerator(run, (1, 8, 8, 4), (1, 8, 8, 3))
    inputs = np.random.default_rng(0).random((12, 2, 8, 8, 4), np.float32)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(generator, inputs))
    assert np.array_equal(answers, inputs[..., :3])


@needs_tensorflow
@pytest.mark.parametrize("kind", KINDS)
def test_threads_get_the_answers_that_one_thread_gets(exported, kind):
    generator = load_generator(exported(kind))
    inputs = [draw_input(seed)[np.newaxis] for seed in range(6)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(generator, inputs))
    assert all(np.array_equal(a, generator(b)) for a, b in zip(together, inputs, strict=True))


def test_the_module_needs_no_extra_until_one_is_used():
    code = (
        "import sys, inpaint_utils.quiet, inpaint_utils.inference.inpaint, inpaint_utils.inference.export;"
        "print({'gradio', 'onnxruntime', 'tf2onnx', 'onnx', 'ai_edge_litert'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


@needs_tensorflow
@pytest.mark.parametrize(("module", "name"), [("tf2onnx", "g.onnx")])
def test_an_absent_exporter_is_named_with_the_extra_that_brings_it(generator, tmp_path, monkeypatch, module, name):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"{module} is not installed: run pip install '\.\[fast\]'"):
        export_generator(generator, tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("module", "name"), [("onnxruntime", "g.onnx"), ("ai_edge_litert.interpreter", "g.tflite")])
def test_an_absent_runtime_is_named_with_the_extra_that_brings_it(tmp_path, monkeypatch, module, name):
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / name).write_bytes(b"whatever")
    with pytest.raises(ImportError, match=r"is not installed: run pip install '\.\[fast\]'"):
        load_generator(tmp_path / name)


@pytest.mark.parametrize(("module", "name"), [("onnxruntime", "g.onnx"), ("ai_edge_litert", "g.tflite")])
def test_a_damaged_file_is_refused_in_one_sentence(tmp_path, module, name):
    pytest.importorskip(module, reason=f"{module} not installed: pip install '.[fast]'")
    (tmp_path / name).write_bytes(b"not a network")
    with pytest.raises(ValueError, match="export it again") as caught:
        open_exported(tmp_path / name)
    assert "\n" not in str(caught.value)


@needs_tensorflow
@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("g.h5", {}, "expected .onnx or .tflite"),
        ("g.tflite", {"image_size": 200}, "multiple of 128"),
        ("g.tflite", {"image_size": None}, "is for .onnx files"),
    ],
)
def test_wrong_arguments_are_refused_and_nothing_is_written(generator, tmp_path, name, arguments, words):
    with pytest.raises(ValueError, match=words):
        export_generator(generator, tmp_path / name, **arguments)
    assert not list(tmp_path.iterdir())


@needs_tensorflow
def test_a_generator_of_an_own_size_that_cannot_be_exported_is_named(tmp_path):
    image = keras.Input((64, 64, 4))
    with pytest.raises(ValueError, match="The generator's own size is 64, but exports need a multiple of 128"):
        export_generator(keras.Model(image, keras.layers.Conv2D(3, 1)(image)), tmp_path / "g.tflite")


@needs_tensorflow
def test_a_failed_export_leaves_the_old_file(tmp_path):
    class Failing:
        input_shape = (None, 128, 128, 4)

        def export(self, path, **_):
            path.write_bytes(b"half")
            raise OSError("No space left on device")

    (tmp_path / "g.tflite").write_bytes(b"old")
    with pytest.raises(OSError, match="No space"):
        export_generator(Failing(), tmp_path / "g.tflite")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]
