"""Where the code runs (Kaggle, Colab, a machine of one's own), and its folders, photo sets and accelerators there."""

import contextlib
import functools
import importlib.util
import os
from pathlib import Path

import keras

from .data.photos import sample_photos

# The variables are there for tests: a copy of Kaggle's layout, and outputs that do not mix with somebody's own.
KAGGLE_FOLDER = Path(os.environ.get("INPAINT_KAGGLE_FOLDER", "/kaggle"))
INPUT_FOLDER = KAGGLE_FOLDER / "input"
PROFILES = ("auto", "full", "quick")
PRECISIONS = ("auto", "float32", "mixed_float16", "mixed_bfloat16")
PHOTO_SETS = {  # landscape photos on Kaggle, a data set and a competition, and the folder of their photos
    "theblackmamba31/landscape-image-colorization": "landscape Images/color",
    "gan-getting-started": "photo_jpg",
}
MOUNT_DEPTH = 4  # input/<slug>, input/competitions/<slug>, input/{datasets,notebooks}/<owner>/<slug>, and one inside


def find_host():
    """ "kaggle", "colab" or "local"."""
    if (KAGGLE_FOLDER / "working").is_dir():
        return "kaggle"
    return "colab" if "COLAB_RELEASE_TAG" in os.environ else "local"


def is_interactive():
    """True where somebody watches: then progress bars are drawn. False headless (our runner, Kaggle's Save & Run)."""
    return "INPAINT_HEADLESS" not in os.environ and os.environ.get("KAGGLE_KERNEL_RUN_TYPE") != "Batch"


def find_output_folder():
    """The folder for results: /kaggle/working on Kaggle, else outputs/ in the repository or the working folder."""
    if "INPAINT_OUTPUT_FOLDER" in os.environ:
        return Path(os.environ["INPAINT_OUTPUT_FOLDER"])
    if (KAGGLE_FOLDER / "working").is_dir():
        return KAGGLE_FOLDER / "working"
    root = Path(__file__).parents[1]  # the repository's, when the package runs from a checkout
    return (root if (root / "notebooks").is_dir() else Path.cwd()) / "outputs"


def choose_output_folder(name, folder=""):
    """The folder a notebook writes to, created: `folder`/name, or `/kaggle/working`/name, or `outputs`/name."""
    path = Path(folder or find_output_folder()) / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def find_in_inputs(path):
    """Where a path is in what a Kaggle notebook has as inputs, however they are mounted: sorted, nearest first.

    Every file of large inputs takes minutes to list, so nothing deeper than MOUNT_DEPTH folders is looked at.
    """
    return [found for depth in range(MOUNT_DEPTH + 1) for found in sorted(INPUT_FOLDER.glob("*/" * depth + path))]


def find_photo_folder(folder=""):
    """Where the photos are.

    Args:
        folder: a folder to use; "kaggle:OWNER/NAME" for a data set, or "kaggle:NAME" for a competition, that
            `kagglehub` attaches or downloads; "" for one of PHOTO_SETS among the inputs of a Kaggle notebook. Where
            there is none, `kagglehub` is asked for the first of them on Kaggle and Colab, which have it. Otherwise it
            is the sample photos that come with the package.

    Returns: Path.
    Raises:
        FileNotFoundError: if a folder or data set was given and is not there.
    """
    if str(folder).startswith("kaggle:"):
        return _download(str(folder).removeprefix("kaggle:"))
    if folder:
        if not Path(folder).is_dir():
            raise FileNotFoundError(
                f"photo_folder is {str(folder)!r}, which is not a folder: give the folder that holds the photos, "
                'or "" for the sample photos.'
            )
        return Path(folder)
    for name, inside in PHOTO_SETS.items():
        for found in find_in_inputs(f"{Path(name).name}/{inside}"):
            return found
    if find_host() != "local" and importlib.util.find_spec("kagglehub"):
        try:
            return _download(next(iter(PHOTO_SETS)))
        except FileNotFoundError as error:
            print(f"{error} Until then the sample photos are used.")
    return sample_photos()[0].parent


def _download(name):
    """The folder of a Kaggle data set or competition: kagglehub attaches it on Kaggle and downloads it elsewhere."""
    try:
        import kagglehub

        download = kagglehub.dataset_download if "/" in name else kagglehub.competition_download
        folder = Path(download(name))
    except Exception as error:  # what it raises without internet, account or accepted rules differs from case to case
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise FileNotFoundError(
            f"kagglehub could not get {name!r} ({reason}): add it as an input of the notebook, or set photo_folder "
            "to a folder of photos."
        ) from error
    return folder / PHOTO_SETS.get(name, "")


def set_up_devices(precision="auto"):
    """Settle what the training runs on, and print it.

    All GPUs of this machine are used: by `tf.distribute.MirroredStrategy` on TensorFlow, by
    `keras.distribution.DataParallel` on JAX; on JAX also those of the other processes, if the variables
    KERAS_DISTRIBUTION_JOB_ADDRESSES, …_NUM_PROCESSES and …_PROCESS_ID are set (docs/TRAINING_AT_SCALE.md).

    Args:
        precision: "float32", "mixed_float16" (T4 and newer), "mixed_bfloat16" (A100 and newer), or "auto": the
            fitting one of the first two.

    Returns: a context manager in which to build the networks (the strategy's scope), which can be entered repeatedly.
    Raises:
        ValueError: for another precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}, expected one of {', '.join(map(repr, PRECISIONS))}.")
    gpus, devices, scope = _count_gpus(), 1, contextlib.nullcontext()
    if keras.backend.backend() == "tensorflow":
        scope = _Scope() if gpus > 1 else scope
    elif keras.backend.backend() == "jax":
        devices = len(keras.distribution.list_devices())
        if devices > 1:  # `auto_shard_dataset` is for tf.data; here each process draws its own share
            keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    if precision == "auto":
        precision = "mixed_float16" if gpus else "float32"
    keras.config.set_dtype_policy(precision)
    device = f"{gpus} GPU{'s' * (gpus > 1)}" if gpus else "CPU" if devices == 1 else f"{devices} CPU devices"
    number, count = find_process()
    process = f", process {number} of {count}" if count > 1 else ""
    print(f"{find_host()}, {keras.backend.backend()} on {device}, {precision}{process}")
    return scope


class _Scope:
    """A strategy's scope for one cell after another: TensorFlow's own can be entered only once."""

    def __init__(self):
        self.strategy, self.entered = _find_strategy(), []

    def __enter__(self):
        self.entered.append(self.strategy.scope())
        return self.entered[-1].__enter__()

    def __exit__(self, *error):
        return self.entered.pop().__exit__(*error)


@functools.cache  # two of them in one process, as after "Run all" again, would mix up what their devices exchange
def _find_strategy():
    import tensorflow as tf

    return tf.distribute.MirroredStrategy()


def choose_profile(profile="auto"):
    """ "full" or "quick"; "auto" is full where a GPU is visible, quick otherwise.

    Raises: ValueError for any other name.
    """
    if profile not in PROFILES:
        raise ValueError(f"profile is {profile!r}, expected 'auto', 'full' or 'quick'.")
    if profile == "auto":
        return "full" if _count_gpus() else "quick"
    return profile


def find_process():
    """This process's number and how many train together: `PhotoBatches(share=find_process())`. (0, 1) if alone."""
    if keras.backend.backend() != "jax":
        return 0, 1
    import jax

    _join_processes()
    return jax.process_index(), jax.process_count()


def _count_gpus():
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return len(tf.config.list_physical_devices("GPU"))
    _join_processes()
    try:
        return len(keras.distribution.list_devices("gpu"))
    except RuntimeError:  # JAX raises where it has no GPU platform
        return 0


def _join_processes():
    """Meet the other processes of a training over several; JAX can only before its first look at the devices."""
    if keras.backend.backend() != "jax" or "KERAS_DISTRIBUTION_JOB_ADDRESSES" not in os.environ:
        return
    import jax

    if not jax.distributed.is_initialized():
        keras.distribution.initialize()
