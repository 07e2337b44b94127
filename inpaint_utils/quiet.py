"""Import Keras without its backend's start-up messages: `import inpaint_utils.quiet` before anything that loads Keras.

TensorFlow's C++ code writes to the process's stderr ("Could not find cuda drivers …") before any logger can be told not
to; in a notebook those lines, with their time stamps, would stand in the output of the first cell. Python errors still
show. Set TF_CPP_MIN_LOG_LEVEL=0 to see everything.
"""

import contextlib
import os
import sys

from .backend import name_backend


@contextlib.contextmanager
def silence_stderr():
    """Send what the process writes to file descriptor 2 to nowhere, for the duration of a `with` block.

    With TF_CPP_MIN_LOG_LEVEL=0 nothing is sent away.
    """
    everything = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "0"
    if everything or sys.stderr is None:  # the second: a process without a stderr
        yield
        return
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


try:
    with silence_stderr():
        import keras

        if keras.backend.backend() == "tensorflow":
            import tensorflow

            tensorflow.config.list_physical_devices("GPU")  # the first look at the devices is what talks
except (ImportError, ValueError) as error:
    raise name_backend(error) from error


def set_random_seed(seed):
    """Seed Python, NumPy and Keras in silence: `keras.utils.set_random_seed` also loads a TensorFlow beside JAX.

    Args:
        seed: an integer of at least 0.
    """
    with silence_stderr():
        keras.utils.set_random_seed(seed)


__all__ = ["keras", "set_random_seed", "silence_stderr"]
