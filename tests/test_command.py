"""The command: files and folders in, files out, clear sentences, and inputs that are never touched."""

import contextlib
import hashlib
import io
import os
import signal
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
FRESH = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}  # for a process of its own
FRESH.pop("INPAINT_MAX_MEGAPIXELS", None)
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
    monkeypatch.setattr(command, "open_generator", lambda path: GENERATOR)  # opening the file takes a second

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
def test_kept_pixels_alpha_and_bit_depth_stay_and_the_hole_is_filled(run, channels, dtype, ending):
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


def test_a_folder_shows_a_bar_in_a_terminal_and_none_in_a_log(run, monkeypatch):
    write("photos/a.png", draw_photo())
    write_mask("masks/a.png")
    assert run("photos", "masks", "-o", "filled")[2] == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert "100%" in run("photos", "masks", "-o", "again")[2]


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


# What a mask means


def test_a_mask_the_other_way_round_is_named_and_invert_reads_it(run):
    write("photo.png", draw_photo())
    write_mask("mask.png")
    write("other.png", 255 - read("mask.png"))
    assert run("photo.png", "mask.png", "-o", "right.png") == (0, "right.png is written.\n", "")
    code, _, errors = run("photo.png", "other.png", "-o", "wrong.png")
    assert code == 0 and errors.count("\n") == 1
    assert "other.png removes 85% of the photo" in errors and "--invert" in errors
    assert run("photo.png", "other.png", "-o", "inverted.png", "--invert")[::2] == (0, "")
    assert np.array_equal(read("inverted.png"), read("right.png"))


@pytest.mark.parametrize("value", [255, 0])
@pytest.mark.parametrize("invert", [(), ("--invert",)])
def test_a_mask_that_removes_nothing_or_all_is_never_a_silent_copy(run, value, invert):
    write("photo.png", draw_photo())
    write("mask.png", np.full((80, 100), value, np.uint8))
    code, _, errors = run("photo.png", "mask.png", "-o", "out.png", *invert)
    words = "removes nothing" if (value == 255) != bool(invert) else "removes every pixel"
    words += ": white removes and black keeps, so leave" if invert else ": white keeps and black removes, so invert it"
    assert code == 1 and f"mask.png {words}" in errors and errors.count("\n") == 1
    assert not Path("out.png").exists()


def test_a_hole_that_grows_over_the_whole_photo_names_grow(run):
    write("photo.png", draw_photo())
    write_mask("mask.png")
    code, _, errors = run("photo.png", "mask.png", "-o", "out.png", "--grow", "5000")
    assert code == 1 and "grow is 5000, and the holes then cover every pixel" in errors


@pytest.mark.parametrize("arguments", [("mask.png", "--grow", "500"), ("--make-mask", "easy")])
def test_each_photo_that_is_not_filled_is_named(run, arguments):
    for name in ("a", "b"):
        write(f"in/{name}.png", draw_photo(10, 20))
    write_mask("mask.png", 10, 20, (slice(2, 5), slice(2, 5)))
    code, _, errors = run("in", *arguments, "-o", "out")
    assert code == 1 and "a.png: " in errors and "b.png: " in errors and len(errors.splitlines()) == 2


@pytest.mark.parametrize(("encoding", "name"), [("cp1252", "漢字.png"), ("utf-8", "c\udce9.png")])
def test_a_name_that_the_terminal_cannot_print_is_no_error(run, monkeypatch, encoding, name):
    write("photo.png", draw_photo())
    write_mask("mask.png")
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    assert main(["photo.png", "mask.png", "-o", name]) == 0
    sys.stdout.flush()
    assert Path(name).is_file() and b"is written" in written.getvalue()


def test_how_many_pixels_of_a_mask_were_gray_is_said(run):
    write("photo.png", draw_photo())
    write_mask("mask.png")
    write("soft.png", cv2.GaussianBlur(read("mask.png"), (5, 5), 0))
    code, _, errors = run("photo.png", "soft.png", "-o", "out.png")
    assert code == 0 and "of 8,000 pixels of the mask are gray; those of 128 and more were kept" in errors


def test_the_advice_for_a_mask_of_another_size_fits_the_mistake(run):
    upright = cv2.imencode(".jpg", draw_photo(80, 100))[1].tobytes()
    Path("turned.jpg").write_bytes(tag_orientation(upright, 6))
    write("photo.png", draw_photo(80, 100))
    write_mask("sideways.png", 80, 100)
    write_mask("half.png", 40, 50)
    write_mask("high.png", 100, 80)
    write_mask("square.png", 90, 90)
    for photo, mask, sizes, words in (
        ("turned.jpg", "sideways.png", ("100×80", "80×100"), "turn it by 90 degrees, because the camera noted a turn"),
        ("photo.png", "high.png", ("80×100", "100×80"), "turn it by 90 degrees."),
        ("photo.png", "half.png", ("50×40", "100×80"), "resize it to 100×80"),
        ("photo.png", "square.png", ("90×90", "100×80"), "draw it on this photo"),
    ):
        code, _, errors = run(photo, mask, "-o", "out.png")
        assert code == 1 and words in errors and errors.count("\n") == 1
        assert f"{mask} has {sizes[0]} pixels, but {photo} has {sizes[1]}" in errors


def test_black_lines_on_white_paper_are_questioned_as_a_sketch(run):
    write("photo.png", draw_photo())
    write_mask("mask.png")
    paper = np.full((80, 100), 255, np.uint8)
    cv2.line(paper, (30, 20), (70, 50), 0, 3)
    write("paper.png", paper)
    write("sketch.png", 255 - paper)
    code, _, errors = run("photo.png", "mask.png", "-o", "out.png", "--edges", "paper.png")
    assert code == 0 and "paper.png says that" in errors and "swap black and white" in errors
    assert run("photo.png", "mask.png", "-o", "out.png", "--edges", "sketch.png")[::2] == (0, "")


# Folders: what is left out is counted and named


def test_one_mask_and_one_sketch_serve_a_whole_folder(run):
    for name in ("a.png", "deep/b.jpg", "c.png"):
        write(f"photos/{name}", draw_photo(width=90 if name == "c.png" else 100))
    write_mask("mask.png")
    write("sketch.png", np.full((80, 100), 128, np.uint8))
    code, out, errors = run("photos", "mask.png", "-o", "filled", "--edges", "sketch.png")
    assert code == 1 and "2 of 3 photos were filled" in out
    assert "mask.png has 100×80 pixels, but photos/c.png has 90×80: draw it on this photo." in errors
    assert np.array_equal(split(read("filled/a.png"))[0], split(draw_photo())[0])


def test_a_phone_s_folder_is_counted_in_full_and_what_is_left_out_is_named(run):
    from PIL import Image

    from inpaint_utils.data.pictures import PHOTO_EXTENSIONS

    kinds = {".jpg": "JPEG", ".png": "PNG", ".gif": "GIF", ".jfif": "JPEG", ".avif": "AVIF", ".jp2": "JPEG2000"}
    Path("photos").mkdir()
    for i, (ending, kind) in enumerate(kinds.items()):
        if ending in PHOTO_EXTENSIONS:
            Image.fromarray(draw_photo(seed=i)).save(f"photos/IMG_{i}{ending.upper()}", kind)
        else:
            Path(f"photos/IMG_{i}{ending.upper()}").write_bytes(b"?")
        write_mask(f"masks/IMG_{i}.png")
    for name in ("IMG_7.HEIC", "IMG_8.CR2", "IMG_9"):
        Path(f"photos/{name}").write_bytes(b"?")
    for name in ("._IMG_0.jpg", ".DS_Store", "Thumbs.db", "notes.txt", "IMG_7.MOV"):
        Path(f"photos/{name}").write_bytes(b"?")
    readable = sum(ending in PHOTO_EXTENSIONS for ending in kinds)
    code, out, errors = run("photos", "masks", "-o", "filled")
    assert code == 1 and f"{readable} of 9 photos were filled" in out
    if ".heic" not in PHOTO_EXTENSIONS:
        assert "photos/IMG_7.HEIC was left out: HEIC, which needs pillow-heif; run pip install" in errors
    assert "photos/IMG_8.CR2 was left out: its ending '.CR2' is none of .jpg" in errors
    assert "photos/IMG_9 was left out" in errors
    assert not any(name in errors for name in ("._IMG", "DS_Store", "Thumbs", "notes", "MOV"))


def test_a_folder_copied_from_a_mac_ends_with_0(run):
    write("photos/a.png", draw_photo())
    write_mask("masks/a.png")
    for name in ("photos/._a.png", "masks/._a.png"):
        Path(name).write_bytes(b"\0\5\x16\7")
    code, out, _ = run("photos", "masks", "-o", "filled")
    assert code == 0 and "1 of 1 photos were filled" in out


def test_a_linked_folder_of_photos_is_named(run):
    write("elsewhere/a.png", draw_photo())
    write_mask("mask.png")
    Path("photos").mkdir()
    Path("photos/linked").symlink_to("../elsewhere")
    code, _, errors = run("photos", "mask.png", "-o", "filled")
    assert code == 1 and "linked: linked folder; give its own path" in errors
    write("photos/b.png", draw_photo())
    code, out, errors = run("photos", "mask.png", "-o", "filled")
    assert code == 1 and "1 of 2 photos" in out and "photos/linked was left out: linked folder" in errors


def test_two_masks_for_one_photo_are_not_chosen_between(run):
    write("photos/IMG 1.png", draw_photo())
    for name in ("IMG 1.png", "IMG 1.jpg"):
        write_mask(f"masks/{name}")
    code, _, errors = run("photos", "masks", "-o", "filled")
    assert code == 1 and "more than one mask, masks/IMG 1.jpg and masks/IMG 1.png: keep one of them" in errors


def test_the_mask_for_a_folder_is_never_overwritten(run):
    write("photos/mask.png", draw_photo())
    write_mask("filled/mask.png")
    before = list_files(".")
    code, _, errors = run("photos", "filled/mask.png", "-o", "filled")
    assert code == 1 and "never overwritten" in errors and list_files(".") == before


# What may happen on the way


def test_ctrl_c_is_one_sentence_and_what_was_filled_stays(run, monkeypatch):
    for name in "abc":
        write(f"photos/{name}.png", draw_photo())
    write_mask("mask.png")
    real = command.fill_file

    def stop_at_b(generator, photo, *others, **settings):
        if photo.stem == "b":
            raise KeyboardInterrupt
        return real(generator, photo, *others, **settings)

    monkeypatch.setattr(command, "fill_file", stop_at_b)
    code, out, errors = run("photos", "mask.png", "-o", "filled")
    assert code == 130 and out == "" and "Traceback" not in errors
    assert errors.splitlines()[-1] == "Stopped: 1 photos were filled; each file that was written is complete."
    assert [path.name for path in Path("filled").iterdir()] == ["a.png"]


def test_ctrl_c_that_a_library_swallows_stops_after_the_photo(run, monkeypatch):
    for name in "abc":
        write(f"photos/{name}.png", draw_photo())
    write_mask("mask.png")

    def fill_deaf(*others, **settings):
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        return []

    monkeypatch.setattr(command, "fill_file", fill_deaf)
    heard = signal.getsignal(signal.SIGINT)
    code, _, errors = run("photos", "mask.png", "-o", "filled")
    assert code == 130 and errors.splitlines()[-1].startswith("Stopped: 1 photos were filled")
    assert signal.getsignal(signal.SIGINT) is heard


@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif", ".bmp", ".webp", ".gif"])
def test_a_cut_file_of_any_format_is_one_sentence_on_stderr(tmp_path, monkeypatch, capfd, ending):
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "open_generator", lambda path: GENERATOR)
    Image.fromarray(draw_photo()).save(f"photo{ending}")
    write_mask("mask.png")
    data = Path(f"photo{ending}").read_bytes()
    for share in (0.05, 0.3, 0.8):
        Path(f"photo{ending}").write_bytes(data[: int(len(data) * share)])
        assert main([f"photo{ending}", "mask.png", "-o", "out.png"]) == 1
        errors = capfd.readouterr().err  # of the whole process, C libraries too
        assert errors.count("\n") == 1 and errors.startswith(f"photo{ending} is "), errors


def test_what_pillow_logs_of_a_damaged_file_is_not_shown(tmp_path, monkeypatch, capfd):
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "open_generator", lambda path: GENERATOR)
    Image.fromarray(draw_photo()).save("photo.tif")
    write_mask("mask.png")
    data, samples = Path("photo.tif").read_bytes(), b"\x15\x01\x03\x00\x01\x00\x00\x00"  # tag 277, one number
    Path("photo.tif").write_bytes(data.replace(samples + b"\x03", samples + b"\xf3", 1))
    assert main(["photo.tif", "mask.png", "-o", "out.png"]) == 1
    errors = capfd.readouterr().err
    assert errors.count("\n") == 1 and errors.startswith("photo.tif is a damaged TIFF"), errors


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
    "empty mask": (("photo.png", "empty.png", "-o", "out.png"), "empty.png is an empty file"),
    "mask is text": (("photo.png", "text.png", "-o", "out.png"), "text.png is not a complete picture"),
    "gray mask": (("photo.png", "gray.png", "-o", "out.png"), "threshold it first"),
    "mask of another size": (
        ("photo.png", "wide.png", "-o", "out.png"),
        "wide.png has 101×80 pixels, but photo.png has 100×80: resize it",
    ),
    "all removed": (("photo.png", "black.png", "-o", "out.png"), "removes every pixel"),
    "sketch of another size": (
        ("photo.png", "mask.png", "--edges", "wide.png", "-o", "out.png"),
        "wide.png has 101×80 pixels",
    ),
    "output is the photo": (("photo.png", "mask.png", "-o", "photo.png"), "never overwritten"),
    "output is the photo by another way": (("photo.png", "mask.png", "-o", "../{here}/link.png"), "never overwritten"),
    "output is the mask": (("photo.png", "mask.png", "-o", "mask.png"), "never overwritten"),
    "output of no format": (("photo.png", "mask.png", "-o", "out.xyz"), "does not end in"),
    "output cannot be made": (("photo.png", "mask.png", "-o", "text.png/out.png"), "text.png"),
    "alpha into jpeg": (("alpha.png", "mask.png", "-o", "out.jpg"), "alpha channel"),
    "16 bits into jpeg": (("deep.png", "mask.png", "-o", "out.jpg"), "16 bits"),
    "folder with no such mask": (("photos", "none.png", "-o", "out"), "none.png does not exist"),
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
     ("photo.png", "-o", "out.png", "--make-mask", "easy", "--seed", "-1"),
     ("photo.png", "-o", "out.png", "--make-mask", "easy", "--grow", "-3"),
     ("photo.png", "-o", "out.png", "--make-mask", "easy", "--detail", "2"),
     ("photo.png", "-o", "out.png", "--make-mask", "easy", "--detail", "nan")],
)  # fmt: skip
def test_wrong_usage_ends_with_2(run, arguments):
    code, _, errors = run(*arguments)
    assert code == 2 and "usage:" in errors


def test_a_missing_generator_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write("photo.png", draw_photo())
    assert main(["photo.png", "-o", "out.png", "--make-mask", "easy", "--generator", "none.keras"]) == 1
    assert "none.keras" in capsys.readouterr().err and not Path("out.png").exists()


@pytest.fixture(scope="module")
def real_command(tmp_path_factory, generator_file):
    """The command in a process of its own, without a home, on a good photo and a decompression bomb; (folder, done)."""
    folder = tmp_path_factory.mktemp("command")
    write(folder / "photos" / "good.png", draw_photo())
    write_mask(folder / "masks" / "good.png")
    write_mask(folder / "masks" / "bomb.png")
    (folder / "photos" / "bomb.png").write_bytes(make_bomb(30_000, 30_000))
    nowhere = dict.fromkeys(("HOME", "KERAS_HOME", "MPLCONFIGDIR", "XDG_CACHE_HOME"), "/proc/none")
    command = [sys.executable, "-m", "inpaint_utils", "photos", "masks", "-o", "filled"]
    command += ["--generator", str(generator_file)]
    return folder, subprocess.run(command, cwd=folder, env={**FRESH, **nowhere}, capture_output=True, text=True)


def test_the_real_command_needs_no_home(real_command):
    folder, done = real_command
    assert [path.name for path in (folder / "filled").iterdir()] == ["good.png"], done.stderr
    assert not np.array_equal(read(folder / "filled" / "good.png"), draw_photo())


def test_the_real_command_fills_a_photo_and_refuses_a_decompression_bomb(real_command):
    _, done = real_command
    assert done.returncode == 1
    assert done.stderr.endswith(
        "photos/bomb.png has more than 100 megapixels: make it smaller, or set INPAINT_MAX_MEGAPIXELS to allow more.\n"
    )
    assert "Traceback" not in done.stderr and "1 of 2 photos were filled" in done.stdout
