"""The command: files and folders in, files out, clear sentences, and inputs that are never touched."""

import hashlib
import os
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from inpaint_utils.app import command
from inpaint_utils.app.command import main
from inpaint_utils.data.masks import create_mask
from inpaint_utils.networks.models import build_generator

GENERATOR = build_generator(None, 4)
# For a process of its own; this one's OpenCV has set its limit already.
FRESH = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
FRESH.pop("OPENCV_IO_MAX_IMAGE_PIXELS", None)
HOLE = (slice(20, 50), slice(30, 70))


@pytest.fixture(scope="module")
def generator_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "generator.keras"
    GENERATOR.save(path)
    return path


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the command in a folder of its own: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "_load_generator", lambda path: GENERATOR)  # opening the file takes a second

    def run(*arguments):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return run


def draw_photo(height=80, width=100, channels=3, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, endpoint=True)


def write(path, pixels):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def write_mask(path, height=80, width=100, hole=HOLE):
    pixels = np.full((height, width), 255, np.uint8)
    pixels[hole] = 0
    write(path, pixels)


def read(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def split(pixels, hole=HOLE):
    """Kept pixels and hole pixels."""
    inside = np.zeros(pixels.shape[:2], bool)
    inside[hole] = True
    return pixels[~inside], pixels[inside]


def tag_orientation(jpeg, orientation):
    """Put an EXIF orientation into the bytes of a JPEG."""
    entry = b"\x01\x12\x00\x03\x00\x00\x00\x01" + orientation.to_bytes(2, "big") + b"\x00\x00"
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01" + entry + b"\x00\x00\x00\x00"
    return jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:]


def list_files(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("channels", "dtype", "ending"),
    [(3, np.uint8, ".png"), (4, np.uint8, ".png"), (3, np.uint16, ".png"), (4, np.uint16, ".png"),
     (3, np.uint16, ".tif"), (3, np.uint8, ".bmp")],
)  # fmt: skip
def test_kept_pixels_alpha_and_bit_depth_come_back_exactly_and_the_hole_is_filled(run, channels, dtype, ending):
    photo = draw_photo(channels=channels, dtype=dtype)
    write(f"photo{ending}", photo)
    write_mask("mask.png")
    before = list_files(".")
    code, _, errors = run(f"photo{ending}", "mask.png", "-o", f"new/out{ending}")
    assert (code, errors) == (0, "")
    out = read(f"new/out{ending}")
    assert out.dtype == dtype and out.shape == photo.shape
    (kept, hole), (kept_before, hole_before) = split(out), split(photo)
    assert np.array_equal(kept, kept_before)
    assert not np.array_equal(hole[:, :3], hole_before[:, :3])
    assert np.array_equal(out[..., 3:], photo[..., 3:])
    assert {path: before.get(path) for path in before} == {path: list_files(".")[path] for path in before}
    assert not list(Path("new").glob(".*")), "a temporary file stayed behind"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photo_is_filled_upright(run, orientation):
    lying = cv2.imencode(".jpg", cv2.resize(draw_photo(8, 10), (100, 80), interpolation=cv2.INTER_CUBIC))[1].tobytes()
    Path("photo.jpg").write_bytes(tag_orientation(lying, orientation))
    upright = cv2.imread("photo.jpg")  # OpenCV turns colour pictures
    assert upright.shape == ((100, 80, 3) if orientation > 4 else (80, 100, 3))
    write_mask("mask.png", *upright.shape[:2])
    assert run("photo.jpg", "mask.png", "-o", "out.png")[0] == 0
    assert np.array_equal(split(read("out.png"))[0], split(upright)[0])


def test_a_sketch_changes_the_answer_in_the_hole_only(run):
    write("photo.png", draw_photo())
    write_mask("mask.png")
    sketch = np.full((80, 100), 128, np.uint8)
    cv2.line(sketch, (30, 20), (70, 50), 255, 3)
    write("sketch.png", sketch)
    assert run("photo.png", "mask.png", "-o", "blind.png")[0] == 0
    assert run("photo.png", "mask.png", "-o", "guided.png", "--edges", "sketch.png")[0] == 0
    (kept, hole), (kept_guided, hole_guided) = split(read("blind.png")), split(read("guided.png"))
    assert np.array_equal(kept, kept_guided) and not np.array_equal(hole, hole_guided)


def test_make_mask_draws_the_stated_mask_from_the_seed(run):
    photo = draw_photo()
    write("photo.png", photo)
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        assert run("photo.png", "-o", f"{name}.png", "--make-mask", "medium", "--seed", seed)[0] == 0
    a, b, c = (read(f"{name}.png") for name in "abc")
    assert np.array_equal(a, b) and not np.array_equal(a, c)
    keep = create_mask(photo.shape, difficulty="medium", seed=[7, 0])[..., 0] == 1
    assert np.array_equal(a[keep], photo[keep]) and (a[~keep] != photo[~keep]).any(axis=-1).mean() > 0.9


def test_a_folder_is_paired_by_name_and_goes_on_after_bad_pairs(run):
    for name in ("a.png", "b.jpg", "deep/c.png", "no_mask.png", "other_size.png", "gray.png"):
        write(f"photos/{name}", draw_photo())
        if name != "no_mask.png":
            write_mask(f"masks/{Path(name).with_suffix('.png')}", width=99 if name == "other_size.png" else 100)
    write("masks/gray.png", np.full((80, 100), 128, np.uint8))
    Path("photos/broken.jpg").write_bytes(b"\xff\xd8 nothing")
    write_mask("masks/broken.png")
    Path("photos/empty.png").touch()
    code, out, errors = run("photos", "masks", "-o", "filled")
    assert code == 1
    assert sorted(path.as_posix() for path in Path("filled").rglob("*.*")) == [
        "filled/a.png",
        "filled/b.png",
        "filled/deep/c.png",
    ]
    assert "3 of 8 photos were filled" in out
    sentences = [line for line in errors.splitlines() if line.startswith(("photos/", "masks/"))]
    assert len(sentences) == 5
    for name, words in (("no_mask", "no mask"), ("other_size", "resize"), ("gray", "128"), ("broken", "JPEG"),
                        ("empty", "empty file")):  # fmt: skip
        assert any(name in sentence and words in sentence for sentence in sentences), (name, sentences)
    assert np.array_equal(split(read("filled/deep/c.png"))[0], split(draw_photo())[0])
    assert "100%" in errors, "no progress bar"


def test_a_folder_without_bad_pairs_ends_with_0(run):
    write("photos/a.png", draw_photo())
    write_mask("masks/a.jpg")
    code, out, _ = run("photos", "masks", "-o", "filled")
    assert code == 0 and "1 of 1 photos were filled" in out


def test_two_photos_of_one_name_are_not_written_over_each_other(run):
    write("photos/a.png", draw_photo())
    write("photos/a.jpg", draw_photo(seed=1))
    write_mask("masks/a.png")
    code, _, errors = run("photos", "masks", "-o", "filled")
    assert code == 1 and "rename one of them" in errors


def make_bomb(width, height):
    """A small PNG file of a black picture of any size."""
    row = zlib.compressobj(9)
    data = b"".join(row.compress(bytes(1 + width // 8)) for _ in range(64)) + row.flush()

    def chunk(name, content):
        return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


BAD = {
    "no such photo": (("none.png", "mask.png", "-o", "out.png"), "none.png is not a file"),
    "no such mask": (("photo.png", "none.png", "-o", "out.png"), "none.png is not a file"),
    "not an image": (("text.png", "mask.png", "-o", "out.png"), "text.png is not a complete picture"),
    "empty photo": (("empty.png", "mask.png", "-o", "out.png"), "empty.png is an empty file"),
    "empty mask": (("photo.png", "empty.png", "-o", "out.png"), "empty.png is not a picture"),
    "mask is text": (("photo.png", "text.png", "-o", "out.png"), "text.png is not a picture"),
    "gray mask": (("photo.png", "gray.png", "-o", "out.png"), "threshold it first"),
    "mask of another size": (("photo.png", "wide.png", "-o", "out.png"), "photo.png: The mask has shape"),
    "all removed": (("photo.png", "black.png", "-o", "out.png"), "removes every pixel"),
    "sketch of another size": (("photo.png", "mask.png", "--edges", "wide.png", "-o", "out.png"), "edges have shape"),
    "output is the photo": (("photo.png", "mask.png", "-o", "photo.png"), "never overwritten"),
    "output is the photo by another way": (("photo.png", "mask.png", "-o", "../{here}/link.png"), "never overwritten"),
    "output is the mask": (("photo.png", "mask.png", "-o", "mask.png"), "never overwritten"),
    "output of no format": (("photo.png", "mask.png", "-o", "out.xyz"), "does not end in"),
    "output cannot be made": (("photo.png", "mask.png", "-o", "text.png/out.png"), "text.png"),
    "alpha into jpeg": (("alpha.png", "mask.png", "-o", "out.jpg"), "alpha channel"),
    "16 bits into jpeg": (("deep.png", "mask.png", "-o", "out.jpg"), "16 bits"),
    "folder with a mask file": (("photos", "mask.png", "-o", "out"), "is not a folder"),
    "output inside the photos": (("photos", "photos", "-o", "photos/out"), "lies in an input folder"),
    "empty folder": (("nothing", "photos", "-o", "out"), "No photo was found"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_with_1_and_one_sentence_and_nothing_written(run, case):
    write("photo.png", draw_photo())
    write("photos/photo.png", draw_photo())
    write("alpha.png", draw_photo(channels=4))
    write("deep.png", draw_photo(dtype=np.uint16))
    write_mask("mask.png")
    write_mask("wide.png", width=101)
    write("gray.png", np.full((80, 100), 100, np.uint8))
    write("black.png", np.zeros((80, 100), np.uint8))
    Path("text.png").write_text("This is not a picture.")
    Path("empty.png").touch()
    Path("link.png").symlink_to("photo.png")
    Path("nothing").mkdir()
    before = list_files(".")
    arguments, words = BAD[case]
    code, _, errors = run(*(argument.format(here=Path.cwd().name) for argument in arguments))
    assert code == 1
    assert words in errors and errors.count("\n") == 1 and "Traceback" not in errors
    assert list_files(".") == before


@pytest.mark.parametrize(
    "arguments",
    [(), ("photo.png",), ("photo.png", "mask.png"), ("photo.png", "-o", "out.png"),
     ("photo.png", "mask.png", "-o", "out.png", "--make-mask", "easy"),
     ("photo.png", "-o", "out.png", "--make-mask", "enormous"),
     ("photo.png", "-o", "out.png", "--make-mask", "easy", "--seed", "-1")],
)  # fmt: skip
def test_wrong_usage_ends_with_2(run, arguments):
    code, _, errors = run(*arguments)
    assert code == 2 and "usage:" in errors


def test_a_missing_generator_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write("photo.png", draw_photo())
    assert main(["photo.png", "-o", "out.png", "--make-mask", "easy", "--generator", "none.keras"]) == 1
    assert "none.keras" in capsys.readouterr().err and not Path("out.png").exists()


def test_the_real_command_fills_a_photo_and_refuses_a_decompression_bomb(tmp_path, generator_file):
    write(tmp_path / "photos" / "good.png", draw_photo())
    write_mask(tmp_path / "masks" / "good.png")
    write_mask(tmp_path / "masks" / "bomb.png")
    (tmp_path / "photos" / "bomb.png").write_bytes(make_bomb(30_000, 30_000))
    arguments = ["photos", "masks", "-o", "filled", "--generator", str(generator_file)]
    done = subprocess.run(
        [sys.executable, "-m", "inpaint_utils", *arguments],
        cwd=tmp_path,
        env=FRESH,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.endswith("photos/bomb.png has more than 100 megapixels: make it smaller.\n")
    assert "Traceback" not in done.stderr and "1 of 2 photos were filled" in done.stdout
    assert [path.name for path in (tmp_path / "filled").iterdir()] == ["good.png"]
