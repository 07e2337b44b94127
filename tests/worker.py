"""Trainings that need a process of their own: another backend, two replicas, or one that gets killed.

python worker.py compare FOLDER REPLICAS, python worker.py train FOLDER, python worker.py kill FOLDER, or python
worker.py notebooks FOLDER, with KERAS_BACKEND set.
"""

import contextlib
import json
import os
import signal
import sys
import traceback
from pathlib import Path

JAX = os.environ.get("KERAS_BACKEND") == "jax"
sys.path.insert(0, str(Path(__file__).parents[1]))
if JAX:
    sys.modules["tensorflow"] = None  # importing it raises: nothing may need it

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tiny  # noqa: E402

from inpaint_utils import files, host  # noqa: E402
from inpaint_utils.networks.models import build_discriminator, build_generator  # noqa: E402
from inpaint_utils.training import callbacks, resume  # noqa: E402
from inpaint_utils.training.gan import InpaintingGAN, ThrottledAdam  # noqa: E402


class Steps(keras.callbacks.Callback):
    """Each step's own measures, from the running means in the logs."""

    def on_train_begin(self, logs=None):
        self.sums, self.values = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.sums.append({name: float(value) * (batch + 1) for name, value in logs.items()})
        before = self.sums[-2] if batch else dict.fromkeys(logs, 0.0)
        self.values.append({name: self.sums[-1][name] - before[name] for name in logs})


def compare(folder, replicas):
    """Write what one step gives (losses, gradients), 60 throttle decisions, and steps in mixed precision."""
    scope = contextlib.nullcontext
    if not JAX:
        strategy = split_the_cpu()
        if replicas > 1:
            scope = strategy(["CPU:0", "CPU:1"]).scope
    found = {}
    name = f"{keras.backend.backend()}_{replicas}"

    # The real networks, one step of plain gradient descent: what a weight moves by is its gradient.
    rate = 1e4  # so large that the weights' own rounding is nothing beside the step
    with scope():
        networks = [keras.models.load_model(folder / f"{part}.keras", compile=False) for part in tiny.NETWORKS]
        gan = InpaintingGAN(*networks, tiny.build_tiny_features(), **tiny.RECIPE)
        gan.compile(optimizer=keras.optimizers.SGD(rate))
    batches = tiny.make_batches(4, count=4, size=128)
    raw = gan.generator.predict_on_batch(np.full((1, 128, 128, 4), 0.5, "float32"))
    before = tiny.read_weights(gan)
    history = gan.fit(batches, epochs=1, verbose=0).history
    found["losses"] = {name: value[0] for name, value in history.items()}
    after = tiny.read_weights(gan)
    gradients = {v.path: (b - a) / rate for v, b, a in zip(gan.trainable_variables, before, after, strict=True)}
    np.savez(folder / f"{name}.npz", raw=raw, **{path.replace("/", "|"): value for path, value in gradients.items()})

    # The throttle around its threshold.
    with scope():
        adam = ThrottledAdam(2e-3, discriminator_ratio=5, epsilon=1e-3)
        gan = tiny.build_tiny_gan(adam, throttle_threshold=tiny.THRESHOLD)
    steps = Steps()
    gan.fit(tiny.make_batches(4, count=240), epochs=1, verbose=0, callbacks=[steps])
    found["decisions"] = [round(step["duty"]) for step in steps.values]
    found["d_losses"] = [step["discriminator_loss"] for step in steps.values]

    # Mixed precision, and an evaluation of fewer photos than replicas.
    for policy in ("mixed_float16", "mixed_bfloat16"):
        keras.config.set_dtype_policy(policy)
        with scope():
            gan = tiny.build_tiny_gan(throttle_threshold=99.0)
        history = gan.fit(tiny.make_batches(4, count=24), epochs=1, verbose=0).history
        alone = gan.evaluate(tiny.make_batches(1, count=1, fixed=True), verbose=0, return_dict=True)
        outputs = [build_generator(128, 4).output, build_discriminator(128, 4).output]
        found[policy] = {
            "losses": {name: value[0] for name, value in history.items()},
            "alone": alone,
            "weights_are_finite": all(np.isfinite(value).all() for value in tiny.read_weights(gan)),
            "output_dtypes": [keras.backend.standardize_dtype(output.dtype) for output in outputs],
            "layer_dtype": gan.generator.layers[1].compute_dtype,
            "optimizer": type(gan.optimizer).__name__,
        }
    keras.config.set_dtype_policy("float32")
    if JAX:
        networks[0].save(folder / "from_jax.keras")
    (folder / f"{name}.json").write_text(json.dumps(found))


def split_the_cpu():
    """Two devices out of one; returns the strategy that trains on several."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    return tf.distribute.MirroredStrategy


SMALL = dict(image_size=128, base_filters=2, batch_size=4, samples=8, ema_momentum=0.9)


def run_notebooks(folder):
    """Run the cells of notebook 2, once more with another epoch, and of notebook 3, as where two GPUs are found."""
    import tensorflow as tf

    strategy = split_the_cpu()
    tf.distribute.MirroredStrategy = lambda: strategy(["CPU:0", "CPU:1"])
    host._count_gpus = lambda: 2
    os.environ |= {"INPAINT_OUTPUT_FOLDER": str(folder), "INPAINT_HEADLESS": "1"}
    for name, epochs in (("02_model_training", 1), ("02_model_training", 2), ("03_model_finetuning", 1)):
        notebook = Path(__file__).parents[1] / "notebooks" / f"{name}.ipynb"
        values = {}
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
            source = "".join(cell["source"])
            if cell["cell_type"] == "code" and "%pip" not in source:
                exec(compile(source, name, "exec"), values)
                if "parameters" in cell["metadata"].get("tags", ()):
                    chosen = dict(SMALL, profile="quick", precision="float32", epochs=epochs, balance_epochs=2 - epochs)
                    values |= {key: value for key, value in chosen.items() if key in values}
        strategies = {str(variable.value.distribute_strategy) for variable in values["gan"].trainable_variables}
        assert len(strategies) == 1 and "Mirrored" in strategies.pop(), "the networks were built for one device"


EPOCHS, STEPS = 4, 4


def train(folder, kill):
    """Train as the notebooks do; `kill` names the point at which the process ends itself by SIGKILL, or "never"."""
    die = lambda: os.kill(os.getpid(), signal.SIGKILL)  # noqa: E731
    epoch_now = [0]

    class Killer(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            epoch_now[0] = epoch

        def on_train_batch_end(self, batch, logs=None):
            if kill == "in an epoch" and (epoch_now[0], batch) == (1, 2):
                die()

    real_replace, real_write = files.os.replace, resume.write_atomically

    def replace(part, path):
        if kill == "before the history is renamed" and (epoch_now[0], Path(path).name) == (2, "history.csv"):
            die()
        if kill == "between the two best files" and Path(path).name == "discriminator_best.keras":
            die()
        real_replace(part, path)

    def write(path, content):
        if path.name == "resume.npz" and kill == "half-way through the backup" and epoch_now[0] == 1:
            files.name_part(path).write_bytes(content[: len(content) // 2])
            die()
        real_write(path, content)
        if path.name == "resume.npz" and kill == "after the last backup" and epoch_now[0] == EPOCHS - 1:
            die()

    files.os.replace, resume.write_atomically = replace, write
    batches, validation = tiny.make_batches(4, count=4 * STEPS, seed=5), tiny.make_batches(4, fixed=True)
    gan = tiny.build_tiny_gan(ThrottledAdam(2e-2), dropout=0.3, throttle_threshold=0.6915, hole_weight=6.0)
    watched = dict(monitor="val_hole_l1", mode="min", min_delta=0.05)  # so large that patience runs out
    counting = [
        keras.callbacks.EarlyStopping(patience=9, **watched),
        keras.callbacks.ReduceLROnPlateau(patience=1, factor=0.5, **watched),
        callbacks.TrainingMonitor(folder, validation[0][0]),
        callbacks.SaveBest(folder),
    ]
    gan.fit(
        batches,
        validation_data=validation,
        epochs=EPOCHS,
        callbacks=[Killer(), keras.callbacks.TerminateOnNaN(), *counting, resume.Resume(folder, batches, counting)],
        verbose=0,
    )
    optimizer = [keras.ops.convert_to_numpy(variable) for variable in gan.optimizer.variables]
    model = [keras.ops.convert_to_numpy(v) for v in (*gan.trainable_variables, gan.step, gan.last_d_loss)]
    np.savez(folder / "final.npz", *model, *optimizer)
    (folder / "counters.json").write_text(json.dumps([counting[0].wait, counting[1].wait, counting[3].best_epoch]))


def train_killed(folder):
    """Train in one process after another, each killed at the next of POINTS, and in a last one to the end.

    They are forks of this process, which has imported Keras and computed nothing: six imports would take longer than
    what they train. Writes left.json beside the folder: its files after each kill.
    """
    left = {}
    for point in (*POINTS, "never"):
        if (child := os.fork()) == 0:
            try:
                train(folder, point)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code == (0 if point == "never" else -signal.SIGKILL), f"{point}: the training ended with {code}"
        left[point] = sorted(path.name for path in folder.iterdir())
    (folder.parent / "left.json").write_text(json.dumps(left))


POINTS = (
    "between the two best files",
    "in an epoch",
    "half-way through the backup",
    "before the history is renamed",
    "after the last backup",
)


if __name__ == "__main__":
    job, folder = sys.argv[1], Path(sys.argv[2])
    if job == "compare":
        compare(folder, int(sys.argv[3]))
    elif job == "kill":
        train_killed(folder)
    elif job == "notebooks":
        run_notebooks(folder)
    else:
        train(folder, "never")
