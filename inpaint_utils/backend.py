"""Say in one sentence why Keras could not be imported."""

BACKENDS = ("tensorflow", "jax", "jaxlib", "torch", "openvino")


def name_backend(error):
    """What to raise in place of an error that importing Keras gave.

    Returns: an ImportError that says what to install, if it failed for want of its backend; else `error` itself.
    """
    if isinstance(error, ModuleNotFoundError) and str(error.name).split(".")[0] in BACKENDS:
        backend = error.name.split(".")[0].removesuffix("lib")
    elif str(error).startswith("Unable to import backend"):
        backend = str(error).rpartition(":")[2].strip()
    else:
        return error
    if backend == "tensorflow":
        return ImportError(
            "Keras needs TensorFlow or JAX, and finds neither: run pip install tensorflow, or pip install jax and set "
            "KERAS_BACKEND=jax."
        )
    return ImportError(
        f"Keras is told to run on {backend!r}, which cannot be imported: set KERAS_BACKEND to tensorflow or jax, and "
        "install that one with pip."
    )
