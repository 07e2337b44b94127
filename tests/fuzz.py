"""Throw thousands of strange inputs at the public functions, the command and the page; pytest does not collect this.

    python tests/fuzz.py --cases 10000 --seed 0
    python tests/fuzz.py --cases 500 --only read_file resume

Half of the cases are picture, network and backup files with flipped, lost, added or zeroed bytes; the others are
arguments of every form. A case fails if it ends with anything but the errors that a docstring names, each raised by the
project itself and one sentence long, if it takes more than 10 seconds of processor time, or if it opens a file for
writing outside its output folder. Ends with 1 if one failed.
"""

import argparse
import collections
import contextlib
import copy
import faulthandler
import io
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from pathlib import Path

ROOT = Path(tempfile.mkdtemp(prefix="inpaint_fuzz_"))
IN, OUT, TEMPORARY = (ROOT / name for name in ("in", "out", "tmp"))
for folder in (IN, OUT, TEMPORARY):
    folder.mkdir()
tempfile.tempdir, os.environ["TMPDIR"] = str(TEMPORARY), str(TEMPORARY)
os.environ |= {"INPAINT_HEADLESS": "1", "INPAINT_MAX_MEGAPIXELS": "4", "INPAINT_OUTPUT_FOLDER": str(OUT)}
PROJECT = Path(__file__).parents[1]
sys.path[:0] = [str(Path(__file__).parent), str(PROJECT)]

import inpaint_utils.quiet  # noqa: E402, F401, I001
import keras  # noqa: E402
import numpy as np  # noqa: E402
from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from PIL import Image  # noqa: E402
from tiny import build_tiny_gan, build_tiny_generator, make_batches, make_photos  # noqa: E402

import inpaint_utils as iu  # noqa: E402
from inpaint_utils.app import command, page  # noqa: E402
from inpaint_utils.data.edges import load_sketch  # noqa: E402
from inpaint_utils.data.pictures import Picture, write_picture  # noqa: E402
from inpaint_utils.evaluation.measures import measure  # noqa: E402
from inpaint_utils.files import save_model  # noqa: E402
from inpaint_utils.inference.baselines import telea_fill  # noqa: E402
from inpaint_utils.inference.detail import add_detail  # noqa: E402
from inpaint_utils.inference.tiling import plan_tiles, plan_windows  # noqa: E402
from inpaint_utils.training.recipe import make_callbacks  # noqa: E402

SECONDS = 10  # of processor time, for one case
MEMORY = 8 << 30  # bytes of heap; beyond them an allocation fails
LONGEST = 600  # characters of an error


class Hang(BaseException):
    """A case that takes too long; no `except Exception` may swallow it."""


def stop(*_):
    raise Hang


# Who writes where


watching = False
outside = []


def watch(event, arguments):
    """An audit hook: note what is opened for writing, renamed, made or removed outside the output folder."""
    if not watching:
        return
    paths = []
    if event == "open":
        path, mode, flags = arguments
        if isinstance(path, (str, bytes, os.PathLike)) and (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            paths = [path]
    elif event in ("os.rename", "os.link", "os.symlink", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"):
        paths = [path for path in arguments[:2] if isinstance(path, (str, bytes, os.PathLike))]
    for path in paths:
        path = os.path.abspath(os.fsdecode(path))
        if not path.startswith((f"{OUT}", f"{TEMPORARY}", os.devnull)):
            outside.append(f"{event} {path}")


# Inputs


class Form:
    """A recipe for an array, short enough to print."""

    KINDS = ("float32",) * 5 + ("float64", "float16", "uint8", "uint8", "uint16", "int64", "bool", "complex64", "U1")
    VALUES = ("unit",) * 5 + ("binary",) * 5 + ("bytes", "0/255", "zeros", "ones", "half", "nan", "inf", "-1", "1e30")

    def __init__(self, shape, kind="float32", values="unit", number=0):
        self.shape, self.kind, self.values, self.number = shape, kind, values, number

    def __repr__(self):
        return f"Form({self.shape}, {self.kind!r}, {self.values!r}, {self.number})"

    def make(self):
        rng = np.random.default_rng(self.number)
        array = rng.random(self.shape)
        if self.values in ("binary", "0/255"):
            array = (array > rng.random()) * (255.0 if self.values == "0/255" else 1.0)
        elif self.values == "bytes":
            array = np.rint(array * 255)
        elif self.values in ("zeros", "ones", "half"):
            array[...] = {"zeros": 0, "ones": 1, "half": 0.5}[self.values]
        elif self.values != "unit" and array.size:
            array[tuple(rng.integers(array.shape))] = float(self.values)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return array.astype(self.kind)


NUMBERS = st.integers(0, 2**20)
FLOATS = st.one_of(st.floats(), st.sampled_from([0, 1, 2**40, -(2**70), 1e300, np.float32(0.5), np.int64(3)]))
WHOLE = st.one_of(st.integers(-3, 300), st.sampled_from([2**40, -(2**70), np.int64(3), np.uint8(200)]))
STRANGE = st.one_of(
    st.integers(-3, 300),
    st.floats(),
    st.sampled_from([None, True, "", "1", 2**40, -(2**70), 1e300, np.float32(0.5), np.int64(3), [1, 2], ()]),
)


def often(usual, *others, times=4):
    """A strategy that draws `usual` most of the time."""
    return st.sampled_from([usual] * times + [*others]).flatmap(lambda chosen: chosen)


@st.composite
def scenes(draw, longest=48, least=1):
    """Forms of an image, a mask and edges, mostly ones that fit each other."""
    height, width = draw(st.integers(least, longest)), draw(st.integers(least, longest))
    shape = (height, width)
    if draw(st.integers(0, 19)) == 0:
        shape = draw(st.sampled_from([(0, width), (height, 0), (), (height,), (width, height), (2, height, width)]))
    kinds, values = (
        (st.just(usual) if draw(st.integers(0, 3)) else st.sampled_from(all_of))
        for usual, all_of in (("float32", Form.KINDS), ("unit", Form.VALUES))
    )
    image = Form((*shape, *draw(st.sampled_from([(3,)] * 12 + [(), (1,), (4,), (0,)]))), draw(kinds), draw(values))
    other = shape if draw(st.integers(0, 9)) else (width, height)
    channels = draw(st.sampled_from([(1,)] * 6 + [(), (), (3,), (4,), (1, 1)]))
    form = (draw(st.sampled_from(Form.KINDS)), draw(st.sampled_from(Form.VALUES)))
    mask = Form((*other, *channels), *(form if draw(st.integers(0, 2)) == 0 else ("float32", "binary")))
    edges = None
    if draw(st.booleans()):
        values = draw(st.sampled_from(["binary"] * 4 + ["half", *Form.VALUES]))
        edges = Form((*other, *draw(st.sampled_from([(1,)] * 4 + [(), (3,)]))), "float32", values)
    for form in (image, mask, edges):
        if form is not None:
            form.number = draw(NUMBERS)
    return image, mask, edges


@st.composite
def damages(draw, most=4):
    """Changes of a file's bytes: (what, where as a share of the file or a place in its first bytes, length, value)."""
    what = st.sampled_from(["flip", "set", "zeros", "cut", "insert", "remove", "double", "number", "start"])
    where = st.one_of(st.integers(0, 160), st.floats(0, 1, exclude_max=True))
    one = st.tuples(what, where, st.integers(1, 64), st.integers(0, 255))
    return draw(st.lists(one, max_size=most))


STARTS = (
    b"\xff\xd8\xff\xe0",
    b"\x89PNG\r\n\x1a\n",
    b"II*\0",
    b"MM\0*",
    b"RIFF\0\0\0\0WEBP",
    b"GIF89a",
    b"BM",
    b"PK\3\4",
)
STARTS += (b"\x89HDF\r\n\x1a\n", b"\0\0\0\x18ftypavif", b"\0\0\0\x18ftypheic", b"version https://git-lfs", b"", b"[[[[")
WORDS = (b"0", b"-1", b"99999999999", b"1e999", b"NaN", b"null", b"[]", b"{}", b'"x"', b"true")


def damage(data, changes):
    data = bytearray(data)
    for what, where, length, value in changes:
        place = min(int(where * len(data)) if isinstance(where, float) else where, max(len(data) - 1, 0))
        some = slice(place, place + length)
        if what == "flip" and data:
            data[place] ^= 1 << value % 8
        elif what == "set":
            data[some] = bytes([value]) * len(data[some])
        elif what == "zeros":
            data[place : place + 16 * length] = bytes(len(data[place : place + 16 * length]))
        elif what == "cut":
            del data[place:]
        elif what == "insert":
            data[place:place] = np.random.default_rng(value).bytes(length)
        elif what == "remove":
            del data[some]
        elif what == "double":
            data[some] = data[some] * 2
        elif what == "number":  # another number in a text, or in its place anything that JSON knows
            found = list(re.finditer(rb"-?\d[\d.e+-]*", data[place : place + 400]))
            if found:
                chosen = found[length % len(found)]
                data[place + chosen.start() : place + chosen.end()] = WORDS[value % len(WORDS)]
        elif what == "start":
            start = STARTS[value % len(STARTS)]
            data[: len(start)] = start
    return bytes(data)


def make_pictures():
    """Real files of every kind that is read: {name: bytes}."""
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "camera"
    files = {}
    rgb = (np.kron(rng.random((5, 6, 3)), np.ones((8, 8, 1))) * 255).astype(np.uint8)
    alpha = np.dstack([rgb, np.where(rgb[..., 0] > 99, 255, 0).astype(np.uint8)])
    profile = b"\0" * 16 + b"RGB " + b"\0" * 108
    for name, pixels, kind, more in (
        ("photo.jpg", rgb, "JPEG", {"exif": exif, "icc_profile": profile, "dpi": (300, 300)}),
        ("progressive.jpg", rgb, "JPEG", {"progressive": True}),
        ("gray.jpg", rgb[..., 0], "JPEG", {}),
        ("photo.png", rgb, "PNG", {"exif": exif, "icc_profile": profile}),
        ("alpha.png", alpha, "PNG", {}),
        ("photo.webp", rgb, "WEBP", {"exif": exif}),
        ("alpha.webp", alpha, "WEBP", {"lossless": True}),
        ("photo.tif", rgb, "TIFF", {"compression": "tiff_lzw"}),
        ("plain.tif", rgb, "TIFF", {"exif": exif}),
        ("photo.gif", rgb[..., 0], "GIF", {}),
        ("photo.bmp", rgb, "BMP", {}),
        ("photo.avif", rgb, "AVIF", {}),
        ("photo.jp2", rgb, "JPEG2000", {}),
    ):
        file = io.BytesIO()
        with contextlib.suppress(KeyError, OSError):  # this Pillow cannot write it
            Image.fromarray(pixels).save(file, kind, **more)
            files[name] = file.getvalue()
    file = io.BytesIO()
    Image.fromarray(rgb).quantize(16).save(file, "PNG", transparency=3)
    files["palette.png"] = file.getvalue()
    file = io.BytesIO()
    Image.fromarray(rgb).convert("CMYK").save(file, "JPEG")
    files["cmyk.jpg"] = file.getvalue()
    for name in ("deep.png", "deep.tif"):
        write_picture(OUT / name, Picture(rgb.astype(np.uint16) * 257, profile, exif.tobytes(), (72, 72)))
        files[name] = (OUT / name).read_bytes()
    mask = np.full((40, 48), 255, np.uint8)
    mask[10:25, 12:30] = 0
    for name in ("mask.png", "mask.jpg", "mask.tif"):
        file = io.BytesIO()
        Image.fromarray(mask).save(file, {"png": "PNG", "jpg": "JPEG", "tif": "TIFF"}[name[-3:]])
        files[name] = file.getvalue()
    return files


@contextlib.contextmanager
def unwatched():
    """What the fuzzer itself writes is no finding."""
    global watching
    before, watching = watching, False
    yield
    watching = before


def put(data, name):
    with unwatched():
        (IN / name).parent.mkdir(exist_ok=True)
        (IN / name).write_bytes(data)
    return IN / name


def empty(*folders):
    with unwatched():
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()


# What is tried: functions with a number of cases among 10,000, the errors that their docstrings name, and their inputs


TARGETS = {}


def target(share, errors=(ValueError,), /, **inputs):
    def add(function):
        TARGETS[function.__name__] = (share, errors, inputs, function)
        return function

    return add


PICTURES = make_pictures()
FILES = st.sampled_from(sorted(PICTURES))
MASKS = often(st.just("mask.png"), FILES, times=3)
GENERATORS = {}


def prepare():
    """Networks, prepared photos and a backup that the cases share."""
    GENERATORS[None] = build_tiny_generator()
    picture = keras.Input((128, 128, 4))
    convolution = keras.layers.Conv2D(3, 3, padding="same", activation="sigmoid")(picture)
    GENERATORS[128] = keras.Model(picture, convolution, name="generator")
    command.open_generator = lambda path: GENERATORS[None]
    for name, size in (("any.keras", None), ("fixed.keras", 128)):
        save_model(GENERATORS[size], OUT / name)
        PICTURES[name] = (OUT / name).read_bytes()
    (OUT / "photos").mkdir()
    for i, photo in enumerate(make_photos(6, 64)):
        Image.fromarray(photo).save(OUT / "photos" / f"{i}.png")
    prepared = iu.prepare_photos(
        iu.find_photos(OUT / "photos")[0], OUT / "prepared", 32, test_share=0.2, validation_share=0.2, progress=False
    )
    for name in ("manifest.json", "photos.npy"):
        PICTURES[name] = (OUT / "prepared" / name).read_bytes()
    gan, train, fixed = build_tiny_gan(), make_batches(4), make_batches(4, fixed=True)
    with contextlib.redirect_stdout(io.StringIO()):
        used, _, _ = make_callbacks(gan, OUT / "trained", train, fixed, 3, max_hours=1e-9)
        gan.fit(train, validation_data=fixed, epochs=3, callbacks=used, verbose=0)
    PICTURES["resume.npz"] = (OUT / "trained" / "resume.npz").read_bytes()
    GENERATORS["training"] = gan, train, fixed
    GENERATORS["photos"] = prepared
    with contextlib.suppress(ImportError):
        import gradio  # noqa: F401

        (OUT / "answers").mkdir()
        functions = page.build_page(GENERATORS[None], OUT / "answers").fns.values()
        GENERATORS["page"] = [function.fn for function in functions if function.concurrency_id == "generator"]


@target(4300, (ValueError, FileNotFoundError), name=FILES, changes=damages(), size=often(st.none(), st.integers(1, 64)))
def read_file(name, changes, size):
    path = put(damage(PICTURES[name], changes), f"damaged{Path(name).suffix}")
    for read in (lambda: iu.load_image(path, size), lambda: iu.load_mask(path, size), lambda: load_sketch(path)):
        with expecting(ValueError):
            found = read()
            assert found.dtype == np.float32 and found.ndim == 3 and found.size and 0 <= found.min() <= found.max() <= 1
            assert size is None or found.shape[:2] in ((size, size), (40, 48), (48, 40)) or read.__code__.co_names[-1]


@target(
    900,
    (),
    photo=FILES,
    mask=MASKS,
    changes=st.tuples(damages(2), damages(2)),
    output=st.sampled_from(["o.png", "o.png", "o.jpg", "o.tif", "o.webp", "o.bmp", "new/o.png", "o", "o.gif"]),
    more=st.lists(
        st.sampled_from(
            [
                "--invert",
                "--edges=EDGES",
                "--detail=0",
                "--detail=nan",
                "--grow=2",
                "--grow=-1",
                "--seed=-1",
                "--nothing",
            ]
        ),
        max_size=2,
    ),
)
def run_command(photo, mask, changes, output, more):
    paths = [
        put(damage(PICTURES[n], c), f"{i}{n}") for i, (n, c) in enumerate(zip((photo, mask), changes, strict=True))
    ]
    (OUT / output).unlink(missing_ok=True)
    more = [word.replace("EDGES", str(paths[1])) for word in more]
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            code = command.main([str(paths[0]), str(paths[1]), "-o", str(OUT / output), *more])
        except SystemExit as error:
            assert error.code == 2
            return
    assert code in (0, 1) and (OUT / output).is_file() == (code == 0) and (code == 0 or said.getvalue())
    for line in said.getvalue().splitlines():
        check_sentence(line)
    if code == 0:
        iu.load_image(OUT / output)


@target(40, (), names=st.lists(FILES, min_size=1, max_size=3), changes=damages(2))
def run_command_on_a_folder(names, changes):
    empty(IN / "folder", OUT / "folder")
    for name in names:
        put(damage(PICTURES[name], changes), f"folder/{name}")
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()) as said:
        mask = put(PICTURES["mask.png"], "mask.png")
        code = command.main([str(IN / "folder"), str(mask), "-o", str(OUT / "folder"), "--detail", "0"])
    assert code in (0, 1) and (code == 1 or "photos were filled" in said.getvalue())


@target(300, (), photo=FILES, mask=MASKS, edges=often(st.none(), FILES), changes=st.tuples(damages(2), damages(1)))
def upload_to_the_page(photo, mask, edges, changes):
    if "page" not in GENERATORS:
        return
    first, second = (put(damage(PICTURES[n], c), f"up{n}") for n, c in zip((photo, mask), changes, strict=True))
    with on_the_page():
        answer = GENERATORS["page"][1](str(first), str(second), edges and str(put(PICTURES[edges], f"e{edges}")))
        iu.load_image(answer)
        os.unlink(answer)


@target(200, (), size=st.tuples(*[st.integers(1, 60)] * 2), layers=st.lists(NUMBERS, max_size=2), number=NUMBERS)
def paint_on_the_page(size, layers, number):
    if "page" not in GENERATORS:
        return
    background = Form((*size, 4), "uint8", ["bytes", "0/255", "zeros"][number % 3], number).make()
    some = [Form((*(size[::-1] if n % 9 == 0 else size), 4), "uint8", "0/255", n).make() for n in layers]
    with on_the_page():
        chosen = (number % 11 / 10, number % 33, (1, 3)[number % 2])
        filled, compared, _, *rest = GENERATORS["page"][0]({"background": background, "layers": some}, *chosen)
        for answer in (filled, *compared, *rest):
            assert answer.shape[:2] == size and answer.dtype == np.uint8


@target(400, (ValueError,), name=st.sampled_from(["any.keras", "fixed.keras"]), changes=damages(3), part=NUMBERS)
def open_network(name, changes, part):
    data = PICTURES[name]
    if part % 3:  # inside the archive, where no checksum finds it
        data = change_archive(
            data, ("config.json", "config.json", "model.weights.h5", "metadata.json")[part % 4], changes
        )
        changes = []
    path = put(damage(data, changes), "damaged.keras")
    generator = iu.load_generator(path)
    assert generator.input_shape[-1] == 4


@target(500, (ValueError,), name=st.sampled_from(["manifest.json"] * 3 + ["photos.npy"]), changes=damages(3))
def open_prepared(name, changes):
    for file in ("manifest.json", "photos.npy"):
        put(damage(PICTURES[file], changes if file == name else []), f"prepared/{file}")
    photos = iu.open_photos(IN / "prepared")
    assert photos.images.shape == (len(photos.records), photos.image_size, photos.image_size, 3)
    for split in ("train", "validation", "test"):
        photos.images[photos.split(split)]


@target(500, (ValueError,), changes=damages(3), inside=st.booleans())
def resume(changes, inside):
    gan, train, fixed = GENERATORS["training"]
    empty(OUT / "again")
    data = PICTURES["resume.npz"]
    data = change_backup(data, changes) if inside else damage(data, changes)
    (OUT / "again" / "resume.npz").write_bytes(data)
    used, _, _ = make_callbacks(gan, OUT / "again", train, fixed, 3)
    with contextlib.redirect_stdout(io.StringIO()):
        for callback in used:
            callback.set_model(gan)
            callback.set_params({"epochs": 3, "steps": 2})
            callback.on_train_begin()
    assert gan._initial_epoch is None or gan._initial_epoch >= 0


@target(200, (ValueError,), changes=damages(3))
def read_table_beside_photos(changes):
    text = "file,original\n" + "".join(f"{i}.png,{i // 2}.jpg\n" for i in range(6))
    (OUT / "photos" / "photos.csv").write_bytes(damage(text.encode(), changes))
    paths = sorted((OUT / "photos").glob("*.png"))
    from inpaint_utils.data.splits import group_photos

    assert len(group_photos(paths, [str(i) for i in range(6)], np.zeros((6, 8, 8, 3), np.uint8))) == 6


@target(400, image=scenes(), other=st.tuples(*[st.integers(0, 60)] * 2))
def check_masks(image, other):
    _, mask, _ = image
    found = iu.check_mask(mask.make(), other if image[0].number % 5 == 0 else mask.shape[:2])
    assert found.dtype == np.float32 and found.shape[2] == 1 and np.isin(found, (0, 1)).all()


SHAPES = often(st.tuples(*[st.integers(16, 90)] * 2), st.lists(st.integers(-2, 40), max_size=4).map(tuple))


@target(
    500,
    shape=SHAPES,
    coverage=often(st.none(), st.floats(0, 1), st.floats()),
    number=often(NUMBERS, STRANGE, st.lists(NUMBERS, max_size=3)),
    difficulty=often(st.none(), st.sampled_from(["easy", "medium", "hard", "none"])),
    kind=st.sampled_from(["brush", "box", "mixed", "mixed", "other"]),
)
def draw_mask(shape, coverage, number, difficulty, kind):
    mask = iu.create_mask(shape, coverage, number, difficulty, kind)
    removed = 1 - mask.mean(dtype=np.float64)
    assert mask.shape == (*shape[:2], 1) and 0 < removed < 1
    assert coverage is None or abs(removed - coverage) * mask.size < 1.01


@target(500, scene=scenes(), blind=st.booleans())
def edges(scene, blind):
    image, mask, drawn = (form and form.make() for form in scene)
    found = iu.detect_edges(image, mask if blind else None)
    assert found.shape == (*image.shape[:2], 1) and np.isin(found, (0, 0.5, 1)).all()
    found = iu.combine_edges(image, mask, drawn)
    assert found.shape == (*image.shape[:2], 1) and np.isin(found, (0, 0.5, 1)).all()


@target(150, scene=scenes())
def generator_input(scene):
    image, mask, drawn = (form and form.make() for form in scene)
    found = iu.build_input(image, mask, drawn)
    assert found.dtype == np.float32 and found.shape[2] == 4 and 0 <= found.min() <= found.max() <= 1


@target(
    350,
    scene=often(scenes(), scenes(200, 129), times=6),
    fixed=st.sampled_from([None, 128]),
    detail=often(st.sampled_from([0, 1, 0.5]), FLOATS),
    grow=often(st.integers(0, 3), FLOATS, times=6),
    number=often(NUMBERS, WHOLE, times=6),
)
def fill(scene, fixed, detail, grow, number):
    image, mask, drawn = (form and form.make() for form in scene)
    filled = iu.inpaint(GENERATORS[fixed], image, mask, drawn, detail, grow, number)
    keep = iu.check_mask(mask, image.shape)[..., 0] == 1
    if grow == 0:
        assert filled[keep].tobytes() == np.float32(image)[keep].tobytes()
    assert filled.dtype == np.float32 and (keep.all() or np.isfinite(filled[~keep]).all())


@target(150, shape=st.tuples(*[st.integers(1, 700)] * 2), number=NUMBERS, size=st.sampled_from([128, 256]))
def plan(shape, number, size):
    rng = np.random.default_rng(number)
    keep = rng.random(shape) > rng.choice([1e-4, 1e-2, 0.5, 0.99])
    if number % 3 == 0 and min(shape) >= 16:
        keep = iu.create_mask(shape, seed=number)[..., 0] == 1
    keep[tuple(rng.integers(shape))] = True
    pictures, rest = plan_tiles(keep, size)
    covered = keep.copy()
    for tile in (tile for tiles in pictures for tile in tiles):
        covered[tuple(slice(max(part.start, 0), part.stop) for part in tile.window)] = True
    for piece, window in plan_windows(rest, size) if not rest.all() else []:
        covered[piece] = True
        assert keep[window].any()
    assert covered.all()


@target(100, scene=scenes(64, 4), scale=st.floats(1, 4), number=NUMBERS)
def detail(scene, scale, number):
    shape = (*scene[1].shape[:2], 3)
    if len(shape) != 3 or min(shape) < 1:
        return
    image, answer = (Form(shape, "float32", "unit", number + i).make() for i in (0, 1))
    keep = Form(shape[:2], "bool", "binary", number).make()
    found = add_detail(image, answer, keep, scale=scale, seed=number)
    assert np.array_equal(found[keep], image[keep]) and 0 <= found.min() <= found.max() <= 1


@target(150, scene=scenes(), method=st.sampled_from(["mean_fill", "telea_fill", "navier_stokes_fill"]))
def baseline(scene, method):
    image, mask, _ = (form and form.make() for form in scene)
    if image.dtype != np.float32 or image.ndim != 3 or image.shape[2] != 3 or not (0 <= image.min(initial=0) <= 1):
        return  # the docstring asks for it
    if not (image.max(initial=0) <= 1):
        return
    assert getattr(iu, method)(image, mask).shape == image.shape


@target(150, scene=scenes(), number=NUMBERS)
def measures(scene, number):
    image, mask, _ = (form and form.make() for form in scene)
    if image.dtype.kind != "f" or image.ndim != 3 or image.shape[2] != 3 or not np.isfinite(image).all():
        return
    values = measure(Form(image.shape, "float32", "unit", number).make(), np.clip(image, 0, 1), mask)
    assert all(isinstance(value, float) for value in values.values())


@target(
    20,
    count=often(st.integers(1, 2), WHOLE),
    kinds=st.sampled_from([("brush",), ("box", "brush"), ("x",), ()]),
    modes=st.sampled_from([("blind",), ("blind", "guided"), ("x",), ()]),
    photos=st.sampled_from([Form((2, 32, 32, 3), "uint8", "bytes"), Form((2, 32, 32, 3)), Form((0, 9)), "set"]),
    masks=often(st.none(), st.lists(st.just(Form((32, 32), "bool", "binary", 3)), max_size=3)),
)
def evaluate(count, kinds, modes, photos, masks):
    given = GENERATORS["photos"] if photos == "set" else photos.make()
    masks = masks and [mask.make() for mask in masks]
    result = iu.evaluate(
        {"telea": telea_fill, "g": GENERATORS[None]},
        given,
        count=count,
        masks=masks,
        kinds=kinds,
        modes=modes,
        difficulties=("easy",),
        progress=False,
    )
    result.write(OUT / "evaluation")


@target(
    200,
    photos=often(st.just(Form((5, 32, 32, 3), "uint8", "bytes")), st.just(Form((5, 32, 32, 3))), st.just(Form((0,)))),
    inputs=st.fixed_dictionaries(
        {},
        optional={
            "batch_size": often(st.integers(1, 5), st.integers(-2, 9), WHOLE),
            "crop_size": often(st.integers(16, 32), WHOLE),
            "samples": often(st.integers(0, 9), st.integers(-9, 300)),
            "share": st.sampled_from([(0, 1), (1, 2), (2, 2), (0, 0), (-1, 1)]),
            "coverage": st.sampled_from([(0.1, 0.5), (0.5, 0.1), (0, 0), (-1, 2), 0.3]),
            "mask_kind": st.sampled_from(["brush", "box", "other"]),
            "indices": st.lists(st.integers(-6, 6), max_size=6),
            "seed": often(NUMBERS, WHOLE),
            "fixed": st.booleans(),
        },
    ),
)
def batches(photos, inputs):
    drawn = iu.PhotoBatches(photos.make(), **inputs)
    if len(drawn):
        parts = drawn[0][0]
        assert {name: part.dtype for name, part in parts.items()}.keys() == {"photo", "mask", "edges", "focus"}


@target(
    40,
    (ValueError, OSError),
    size=often(st.just(32), STRANGE),
    limit=often(st.none(), WHOLE),
    share=often(st.floats(0, 0.5), FLOATS),
    number=often(NUMBERS, WHOLE),
    changes=damages(2),
)
def prepare_photo_set(size, limit, share, number, changes):
    (OUT / "photos" / "photos.csv").unlink(missing_ok=True)
    (OUT / "photos" / "0.png").write_bytes(damage(PICTURES["photo.png"], changes))
    if isinstance(size, int) and size > 5000:
        return
    paths, skipped = iu.find_photos(OUT / "photos")
    photos = iu.prepare_photos(
        paths, OUT / "again_prepared", size, share, share, number, limit, skipped, progress=False
    )
    assert len(photos.records) >= 3


@target(
    250,
    (ValueError, OSError),
    scene=scenes(),
    name=st.sampled_from(
        ["a.png", "a.jpg", "a.tif", "a.webp", "a.bmp", "a", "a.xyz", ".png", "b/a.png", "ä\udcff.png"]
    ),
)
def save(scene, name):
    image = scene[0].make()
    iu.save_image(OUT / "saved" / name, image)
    assert iu.load_image(OUT / "saved" / name).shape == image.shape


@target(
    250,
    values=st.dictionaries(
        st.sampled_from(
            [
                "epochs",
                "image_size",
                "precision",
                "profile",
                "max_hours",
                "seed",
                "guidance",
                "photo_folder",
                "l1_weight",
            ]
        ),
        STRANGE,
    ),
)
def settings_of_a_notebook(values):
    iu.check_settings(values)


@target(
    30,
    (ValueError,),
    size=st.sampled_from([None, 128, 256, 100, 0, -128]),
    word=st.sampled_from(["smooth", "black", "instance", "batch", "none", "other", "transposed"]),
    number=NUMBERS,
)
def networks(size, word, number):
    with expecting(ValueError):
        iu.build_discriminator(None, 2, normalization=word)
    iu.build_generator(size, 1, hole_fill=word) if word in ("smooth", "black", "other") else iu.build_generator(
        size, 1, normalization=word, upsampling=word, seed=number
    )


@target(60, (TypeError,), names=st.dictionaries(st.sampled_from(["l1_weight", "style_weight", "x"]), st.floats(-1, 9)))
def weights_of_the_loss(names):
    iu.choose_weights(None, **names)


@target(
    60,
    (ValueError, FileNotFoundError, ImportError, OSError),
    path=st.sampled_from(["", ".", "none.keras", "a\0b.keras", "x" * 300, "x.onnx", "x.tflite", "any.h5"]),
    changes=damages(2),
)
def open_by_name(path, changes):
    if "." in path[1:] and "\0" not in path and len(path) < 99:
        put(damage(PICTURES["photo.png"], changes), path)
    iu.load_generator(IN / path)


@target(40, (ValueError, OSError), folder=st.sampled_from(["", ".", "none", "in", "photo.png", "a\0b", "é" * 200]))
def look_for_photos(folder):
    with expecting(OSError):
        iu.find_photo_folder(str(ROOT / folder))
    iu.find_photos(ROOT / folder)


# Running them


class UndocumentedError(Exception):
    """An error that no docstring names, or that is not a sentence of the project's own."""


def check_sentence(text):
    if not text or "\n" in text or len(text) > LONGEST or not text.rstrip().endswith("."):
        raise UndocumentedError(f"no sentence: {text[:200]!r}")


def check_error(error, errors):
    """Raise UndocumentedError unless it is one of these errors, raised by the project or the system, in a sentence."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    if not isinstance(error, errors):
        raise UndocumentedError(f"{type(error).__name__}: {error}") from error
    if isinstance(error, OSError) and error.errno is not None:
        return  # the system's own, with the name of the file
    if not last.filename.startswith(str(PROJECT / "inpaint_utils")):
        raise UndocumentedError(f"{type(error).__name__} from {last.filename}: {error}") from error
    check_sentence(str(error))


@contextlib.contextmanager
def expecting(*errors):
    try:
        yield
    except errors as error:
        check_error(error, errors)


@contextlib.contextmanager
def on_the_page():
    """What is wrong with the input must come as Gradio's error, which holds the sentence."""
    import gradio

    try:
        yield
    except gradio.Error as error:
        check_sentence(error.message)
        if error.__context__ is not None:
            check_error(error.__context__, (OSError, ValueError, MemoryError))


def read_memory():
    """Megabytes in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def run(cases, start, only):
    """Returns (cases run, {where: (what, inputs, times)}, memory after a fifth, memory at the end)."""
    global watching
    found, count, slowest, memory = {}, 0, (0, ""), []
    shares = {name: entry for name, entry in TARGETS.items() if not only or name in only}
    total = sum(share for share, *_ in shares.values())
    spent, passed = collections.Counter(), collections.Counter()

    def try_case(name, errors, function, inputs):
        nonlocal count, slowest
        global watching
        count += 1
        shown = ", ".join(f"{key}={value!r}" for key, value in inputs.items())
        inputs, problem = copy.deepcopy(inputs), None
        began = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        faulthandler.dump_traceback_later(60 * SECONDS, exit=True)
        watching = True
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                warnings.simplefilter("error", RuntimeWarning)
                function(**inputs)
            passed[name] += 1
        except Hang as error:
            problem = error
        except Exception as error:
            try:
                if isinstance(error, UndocumentedError):
                    raise error
                check_error(error, errors or ())
            except UndocumentedError as undocumented:
                problem = undocumented
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            watching = False
        seconds = time.process_time() - began
        spent[name] += seconds
        slowest = max(slowest, (seconds, f"{name}({shown})"))
        for sentence in outside:
            found.setdefault(f"{name}: written outside: {sentence}", ["", shown, 0])[2] += 1
        outside.clear()
        if problem is not None:
            cause = problem.__cause__ or problem
            frames = [
                f for f in traceback.extract_tb(cause.__traceback__) if str(PROJECT / "inpaint_utils") in f.filename
            ]
            place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "its own check"
            what = f"{type(cause).__name__} {str(problem)[:300]!r}"
            found.setdefault(f"{name}: {type(cause).__name__} at {place}", [what, shown, 0])[2] += 1
        if len(memory) <= 5 * count // cases:
            memory.append(read_memory())

    for name, (share, errors, strategies, function) in shares.items():
        wanted = max(1, round(cases * share / total))

        def try_many(inputs):
            try_case(name, errors, function, inputs)  # noqa: B023  called at once

        limits = settings(
            max_examples=wanted,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        seed(start)(limits(given(inputs=st.fixed_dictionaries(strategies))(try_many)))()
        print(f"  {name}: {wanted} cases, {passed[name]} without an error, {spent[name]:.0f} s", flush=True)
    print(f"slowest: {slowest[0]:.1f} s, {slowest[1][:300]}")
    return count, found, memory


def change_archive(data, name, changes):
    """An archive with a damaged member, whose checksum is right."""
    target_file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(target_file, "w") as archive:
        for part in source.namelist():
            content = source.read(part)
            archive.writestr(part, damage(content, changes) if part == name else content)
    return target_file.getvalue()


def change_backup(data, changes):
    """A backup whose JSON part is damaged."""
    with np.load(io.BytesIO(data)) as backup:
        parts = dict(backup)
    parts["state"] = np.array(damage(str(parts["state"]).encode(), changes).decode("utf-8", "replace"))
    file = io.BytesIO()
    np.savez(file, **parts)
    return file.getvalue()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=TARGETS, help=", ".join(TARGETS))
    options = parser.parse_args()
    began = time.monotonic(), time.process_time()
    try:
        prepare()
        signal.signal(signal.SIGPROF, stop)
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        sys.addaudithook(watch)
        before = {path.name for path in TEMPORARY.iterdir()}
        count, found, memory = run(options.cases, options.seed, options.only)
        left = sorted(path.name for path in TEMPORARY.iterdir() if path.name not in before)
        left = [name for name in left if not name.startswith("__autograph")]  # TensorFlow removes them at its end
    finally:
        shutil.rmtree(ROOT, ignore_errors=True)
    for where, (what, inputs, times) in found.items():
        print(f"\n{where} ({times} times)\n  {what}\n  {inputs[:1500]}")
    minutes, processor = (time.monotonic() - began[0]) / 60, (time.process_time() - began[1]) / 60
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(
        f"\n{count} cases, seed {options.seed}, {processor:.1f} minutes of one core ({minutes:.1f} by the clock), "
        f"{len(found)} undocumented errors, largest memory {peak:.0f} MB (in use after each fifth: "
        f"{', '.join(f'{value:.0f}' for value in memory)}), {len(left)} temporary files left {left[:3]}"
        + ("" if "page" in GENERATORS else "; without the page: Gradio is not installed")
    )
    return 1 if found or left else 0


if __name__ == "__main__":
    sys.exit(main())
