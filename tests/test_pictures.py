"""Picture files: whatever the format, depth, channels and turn, kept pixels stay, with all that belongs to them."""

import io
import itertools
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, TiffImagePlugin

from inpaint_utils.app.photo_files import fill_file
from inpaint_utils.data import pictures
from inpaint_utils.data.images import load_image, save_image
from inpaint_utils.data.photos import sample_photos
from inpaint_utils.data.pictures import Picture, read_picture, write_picture

TURN = {  # what the EXIF standard says has to be done for display
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}
HOLE = (slice(8, 16), slice(10, 22))
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


class Stub:
    """A generator that answers with one colour, the same everywhere."""

    input_shape, output_shape = (None, None, None, 4), (None, None, None, 3)

    def __call__(self, inputs, training=False):
        return np.broadcast_to(np.float32([0.25, 0.5, 0.75]), (*inputs.shape[:3], 3))


class Looking(Stub):
    """A generator whose answer follows from every kept pixel it sees."""

    def __call__(self, inputs, training=False):
        mean = inputs[..., :3].mean(axis=(1, 2), keepdims=True) * np.float32(0.9)
        return np.broadcast_to(mean, (*inputs.shape[:3], 3))


def draw(channels, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (24, 40, channels), dtype, endpoint=True)


def fill(tmp_path, photo, output, generator=None, hole=HOLE):
    shape = read_picture(Path(photo)).pixels.shape[:2]
    mask = np.full(shape, 255, np.uint8)
    mask[hole] = 0
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return fill_file(generator or Stub(), photo, tmp_path / "mask.png", None, output)


def make_exif(orientation=1):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x0132] = orientation, "ACME", "2026:01:02 03:04:05"
    exif.get_ifd(0x8769).update({0x9003: "2026:01:02 03:04:05", 0x927C: b"a maker's preview", 0xA002: 40})
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 30.0, 0.0)})
    return exif


def write_8_bits(path, kind, mode, orientation):
    """Write a photo and return its upright pixels, (H, W, C), as any viewer shows them."""
    settings = {"WEBP": {"lossless": True, "exact": True}}.get(kind, {})
    pixels = draw({"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "P": 3, "CMYK": 4}[mode])
    if mode == "P":
        image = Image.fromarray(pixels).quantize(32)
        settings["transparency"] = 3
    elif mode == "CMYK":
        image = Image.frombytes("CMYK", (40, 24), pixels.tobytes())
    else:
        image = Image.fromarray(pixels[..., 0] if mode == "L" else pixels)
    image.save(path, kind, exif=make_exif(orientation), **settings)
    if kind in ("WEBP", "JPEG") or mode in ("P", "CMYK"):  # what the format made of it
        plain = io.BytesIO()
        image.save(plain, kind, **settings)
        stored = Image.open(plain)
        clear = stored.has_transparency_data
        pixels = np.asarray(stored.convert("RGBA" if clear else "L" if stored.mode == "L" else "RGB"))
        pixels = pixels if pixels.ndim == 3 else pixels[..., np.newaxis]
    return TURN[orientation](pixels)


EIGHT = [
    *itertools.product(("PNG",), ("L", "LA", "RGB", "RGBA", "P")),
    *itertools.product(("TIFF",), ("L", "LA", "RGB", "RGBA", "P", "CMYK")),
    *itertools.product(("WEBP",), ("RGB", "RGBA", "P")),
    *itertools.product(("JPEG",), ("L", "RGB", "CMYK")),
]


def check_kept(output, upright):
    filled = read_picture(output)
    pixels, channels = filled.pixels, upright.shape[2]
    if pixels.shape[2] != channels:  # the format has no gray: three equal channels say the same
        pixels = pixels[..., [0] if channels == 1 else [0, -1]]
        assert np.ptp(filled.rgb, axis=2).max() == 0
    hole = np.zeros(pixels.shape[:2], bool)
    hole[HOLE] = True
    assert pixels.dtype == upright.dtype and pixels.shape == upright.shape
    assert np.array_equal(pixels[~hole], upright[~hole]), "kept pixels have changed"
    if channels in (2, 4):
        assert np.array_equal(pixels[hole][:, -1], upright[hole][:, -1]), "alpha has changed"
    assert not np.array_equal(pixels[hole], upright[hole])
    data = output.read_bytes()
    assert not filled.turned and Image.open(io.BytesIO(data)).getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("kind", "mode"), EIGHT)
def test_kept_pixels_of_8_bits_stay_in_every_format(tmp_path, kind, mode, orientation):
    photo = tmp_path / f"photo.{kind.lower()}"
    upright = write_8_bits(photo, kind, mode, orientation)
    for ending in ("png", "tif", "webp"):
        notes = fill(tmp_path, photo, tmp_path / f"out.{ending}")
        check_kept(tmp_path / f"out.{ending}", upright)
        assert any("is CMYK" in note for note in notes) == (mode == "CMYK")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("ending", "channels"), itertools.product((".png", ".tif"), (1, 3, 4)))
def test_kept_pixels_of_16_bits_stay_in_png_and_tiff(tmp_path, ending, channels, orientation):
    pixels = draw(channels, np.uint16)
    write_picture(tmp_path / f"photo{ending}", Picture(pixels, exif=make_exif(orientation).tobytes()))
    for output in (tmp_path / "out.png", tmp_path / "out.tiff"):
        fill(tmp_path, tmp_path / f"photo{ending}", output)
        check_kept(output, TURN[orientation](pixels))
        assert read_picture(output).pixels.dtype == np.uint16
        assert cv2.imread(str(output), cv2.IMREAD_UNCHANGED).dtype == np.uint16


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("gray and alpha, 16 bits", lambda path: write_picture(path, Picture(draw(2, np.uint16))), "TIFF.*save it as"),
        ("floats", lambda path: path.write_bytes(cv2.imencode(".tif", draw(3).astype(np.float32))[1]), "such as float"),
        ("one gray float", lambda path: Image.fromarray(np.zeros((9, 9), np.float32)).save(path), "32 bits"),
        ("32-bit numbers", lambda path: Image.fromarray(np.zeros((9, 9), np.int32)).save(path), "32 bits"),
        ("Lab", lambda path: Image.new("LAB", (9, 9)).save(path), "Lab"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(tmp_path, name, make, words):
    make(tmp_path / "photo.tif")
    with pytest.raises(ValueError, match=rf"photo\.tif .*{words}"):
        load_image(tmp_path / "photo.tif")


def test_a_flat_picture_whose_shape_is_in_its_alpha_is_turned_right(tmp_path):
    alpha = np.repeat(np.arange(24, dtype=np.uint8), 40).reshape(24, 40) * 10
    pixels = np.dstack([np.full((24, 40, 3), 90, np.uint8), alpha])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "flat.png", exif=exif)
    assert np.array_equal(read_picture(tmp_path / "flat.png").pixels, np.rot90(pixels, -1))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_lies_under_alpha_0_changes_nothing_in_the_hole_and_is_kept(tmp_path, dtype):
    answers = []
    for seed in range(3):
        pixels = draw(4, dtype)
        pixels[:, 20:, :3] = draw(3, dtype, seed)[:, 20:]
        pixels[:, 20:, 3], pixels[:, :20, 3] = 0, np.iinfo(dtype).max
        write_picture(tmp_path / "photo.png", Picture(pixels))
        fill(tmp_path, tmp_path / "photo.png", tmp_path / "out.png", Looking())
        check_kept(tmp_path / "out.png", pixels)
        answers.append(read_picture(tmp_path / "out.png").pixels[HOLE])
    assert np.array_equal(answers[0], answers[1]) and np.array_equal(answers[0], answers[2])


def test_a_photo_of_which_nothing_visible_is_kept_is_refused(tmp_path):
    pixels = draw(4)
    pixels[..., 3] = 0
    pixels[HOLE][..., 3] = 255
    write_picture(tmp_path / "photo.png", Picture(pixels))
    with pytest.raises(ValueError, match=r"photo\.png: All that the mask keeps is transparent"):
        fill(tmp_path, tmp_path / "photo.png", tmp_path / "out.png")


def test_an_alpha_channel_that_hides_nothing_may_go_into_a_jpeg(tmp_path):
    pixels = draw(4)
    pixels[..., 3] = 255
    write_picture(tmp_path / "photo.png", Picture(pixels))
    fill(tmp_path, tmp_path / "photo.png", tmp_path / "out.jpg")
    assert read_picture(tmp_path / "out.jpg").pixels.shape == (24, 40, 3)


# What goes along


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("ending", [".png", ".tif", ".webp", ".jpg"])
def test_profile_camera_data_and_resolution_are_carried_over(tmp_path, ending, dtype):
    if dtype == np.uint16 and ending not in pictures.KEEPS_16_BITS:
        return
    if dtype == np.uint16:
        photo = tmp_path / "photo.png"
        write_picture(photo, Picture(draw(3, dtype), PROFILE, make_exif(6).tobytes(), (300, 150)))
    else:
        photo = tmp_path / "photo.jpg"
        Image.fromarray(draw(3)).save(photo, exif=make_exif(6), icc_profile=PROFILE, dpi=(300, 150))
    fill(tmp_path, photo, tmp_path / f"out{ending}")
    with Image.open(tmp_path / f"out{ending}") as out:
        out.load()
        exif = out.getexif()
        assert out.size == (24, 40) and 0x0112 not in exif
        assert out.info["icc_profile"] == PROFILE
        assert exif[0x010F] == "ACME" and exif.get_ifd(0x8769)[0x9003] == "2026:01:02 03:04:05"
        assert exif.get_ifd(0x8825)[1] == "N"
        assert 0x927C not in exif.get_ifd(0x8769), "a maker's note may show the photo before it was filled"
        dpi = out.info["dpi"] if ending != ".webp" else (exif[0x011A], exif[0x011B])
        assert np.allclose([float(value) for value in dpi], (150, 300), atol=0.05)  # turned with the photo


@pytest.mark.parametrize("ending", [".webp", ".png"])
def test_the_resolution_of_a_webp_is_carried_over(tmp_path, ending):
    write_picture(tmp_path / "photo.webp", Picture(draw(3), dpi=(300, 150)))
    fill(tmp_path, tmp_path / "photo.webp", tmp_path / f"out{ending}")
    assert read_picture(tmp_path / f"out{ending}").dpi == pytest.approx((300, 150), abs=0.05)


@pytest.mark.parametrize("photometric", [0, 1])
def test_white_is_zero_in_16_bits_is_no_negative(tmp_path, photometric):
    values = np.full((24, 40), 2000, np.uint16)
    values[HOLE] = 60000
    write_picture(tmp_path / "photo.tif", Picture(values[..., np.newaxis]))
    with Image.open(tmp_path / "photo.tif") as image:
        pixels, tags = np.asarray(image).astype("<u2"), TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in ((256, 40), (257, 24), (258, 16), (259, 1), (262, photometric), (277, 1), (278, 24)):
        tags[tag] = value
    tags[273], tags[279] = 0, pixels.nbytes
    file = io.BytesIO()
    tags.save(file)
    file.write(pixels.tobytes())
    (tmp_path / "other.tif").write_bytes(file.getvalue())
    found = read_picture(tmp_path / "other.tif").pixels[..., 0]
    assert np.array_equal(found, values if photometric else 65535 - values)


def test_a_thumbnail_of_the_photo_before_is_not_carried_over(tmp_path):
    exif = make_exif()
    preview = io.BytesIO()
    Image.fromarray(draw(3)).resize((16, 16)).save(preview, "JPEG")
    exif.get_ifd(1).update({0x0103: 6, 0x0201: 0, 0x0202: len(preview.getvalue())})
    Image.fromarray(draw(3)).save(tmp_path / "photo.jpg", exif=exif.tobytes() + preview.getvalue())
    fill(tmp_path, tmp_path / "photo.jpg", tmp_path / "out.png")
    out = (tmp_path / "out.png").read_bytes()
    assert b"ACME" in out and b"\xff\xd8\xff" not in out


def test_a_gray_profile_is_not_given_to_a_colour_file(tmp_path):
    gray = bytearray(PROFILE)
    gray[16:20] = b"GRAY"
    Image.fromarray(draw(1)[..., 0]).save(tmp_path / "photo.png", icc_profile=bytes(gray))
    for ending, profile in (("png", bytes(gray)), ("webp", None)):
        fill(tmp_path, tmp_path / "photo.png", tmp_path / f"out.{ending}")
        assert read_picture(tmp_path / f"out.{ending}").icc_profile == profile


def test_broken_camera_data_does_not_stop_a_photo(tmp_path):
    for broken in (b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(40)):
        Image.fromarray(draw(3)).save(tmp_path / "photo.png", exif=broken)
        fill(tmp_path, tmp_path / "photo.png", tmp_path / "out.png")
        check_kept(tmp_path / "out.png", draw(3))


# A gray photo stays gray


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_gray_photo_stays_gray(tmp_path, channels, dtype):
    gray = np.repeat(draw(1, dtype), 3, axis=2)
    pixels = gray[..., : 1 if channels < 3 else 3]
    if channels in (2, 4):
        pixels = np.concatenate([pixels, draw(1, dtype, 1)], axis=2)
    write_picture(tmp_path / "photo.png", Picture(pixels))
    fill(tmp_path, tmp_path / "photo.png", tmp_path / "out.png")
    out = read_picture(tmp_path / "out.png")
    assert np.ptp(out.rgb, axis=2).max() == 0
    assert (out.pixels.shape[2] < 3) == (channels < 3) or (channels, dtype) == (2, np.uint16)


def test_a_coloured_thing_removed_from_a_gray_photo_leaves_no_colour(tmp_path):
    pixels = np.repeat(draw(1), 3, axis=2)
    pixels[HOLE] = (255, 0, 0)  # a date stamp
    write_picture(tmp_path / "photo.png", Picture(pixels))
    fill(tmp_path, tmp_path / "photo.png", tmp_path / "out.png")
    assert np.ptp(read_picture(tmp_path / "out.png").rgb, axis=2).max() == 0


# Damaged files


def damage(data, how):
    middle, quarter = len(data) // 2, len(data) // 4
    random = np.random.default_rng(0)
    return {
        "cut in half": data[:middle],
        "cut at its end": data[:-40],
        "a quarter zeroed": data[:middle] + bytes(quarter) + data[middle + quarter :],
        "a sector of ones": data[:middle] + b"\xff" * 512 + data[middle + 512 :],
        "a sector of noise": data[:middle] + random.bytes(512) + data[middle + 512 :],
    }[how]


HOWS = ("cut in half", "cut at its end", "a quarter zeroed", "a sector of ones", "a sector of noise")


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize(
    ("ending", "settings"),
    [(".jpg", {}), (".jpg", {"progressive": True}), (".png", {}), (".tif", {"compression": "tiff_lzw"})],
)
def test_a_damaged_file_is_refused_in_silence(tmp_path, capfd, recwarn, ending, settings, how):
    smooth = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8), (9, 9), 3)
    path = tmp_path / f"photo{ending}"
    Image.fromarray(smooth).save(path, **settings)
    assert load_image(path).shape == (200, 300, 3)
    path.write_bytes(damage(path.read_bytes(), how))
    with pytest.raises(ValueError, match="damaged|not a complete picture"):
        load_image(path)
    assert capfd.readouterr() == ("", "")


def test_a_tiff_whose_second_page_cannot_be_found_is_damaged(tmp_path):
    file = io.BytesIO()
    Image.new("L", (48, 40), 255).save(file, "TIFF")
    data = bytearray(file.getvalue())
    data[82:142] = b"R" * 60
    (tmp_path / "mask.tif").write_bytes(data)
    with pytest.raises(ValueError, match="damaged TIFF"):
        load_image(tmp_path / "mask.tif")


def test_padding_before_the_end_of_a_jpeg_is_no_damage(tmp_path):
    save_image(tmp_path / "photo.jpg", draw(3))
    data = (tmp_path / "photo.jpg").read_bytes()
    (tmp_path / "photo.jpg").write_bytes(data[:-2] + bytes(2) + data[-2:])
    assert load_image(tmp_path / "photo.jpg").shape == (24, 40, 3)


def test_what_others_write_to_stderr_meanwhile_is_not_lost(tmp_path):
    save_image(tmp_path / "photo.jpg", draw(3))
    code = (
        "import os, sys, threading; from inpaint_utils.data.images import load_image\n"
        "def talk():\n"
        "    for i in range(300): os.write(2, b'line %d\\n' % i)\n"
        "thread = threading.Thread(target=talk); thread.start()\n"
        "while thread.is_alive(): load_image(sys.argv[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "photo.jpg")],
        cwd=Path(pictures.__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert sorted(done.stderr.split("\n")) == sorted([f"line {i}" for i in range(300)] + [""])


def test_photos_are_read_by_several_threads_at_a_time(tmp_path):
    save_image(tmp_path / "photo.jpg", draw(3))
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(load_image(tmp_path / "photo.jpg"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8 and all(np.array_equal(answer, answers[0]) for answer in answers)


# Formats


@pytest.mark.parametrize("name", ["photo.gif", "photo.avif", "photo.jp2", "photo.jfif"])
def test_what_pillow_can_read_is_read(tmp_path, name):
    if not name.endswith(pictures.PHOTO_EXTENSIONS):
        pytest.skip("this Pillow cannot read it")
    kind = {"jfif": "JPEG", "jp2": "JPEG2000"}.get(name[6:])
    Image.fromarray(draw(3)).save(tmp_path / name, kind)
    assert load_image(tmp_path / name).shape == (24, 40, 3)


@pytest.mark.parametrize(
    ("brand", "words"), [(b"heic", "is HEIC, which needs pillow-heif; run pip install"), (b"avif", "is an AVIF photo")]
)
def test_a_kind_that_this_installation_cannot_read_is_named(tmp_path, monkeypatch, brand, words):
    monkeypatch.setattr(pictures, "READS_HEIC", False)
    monkeypatch.setattr(pictures.features, "check", lambda _: False)
    (tmp_path / "photo").write_bytes(b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1" + brand + bytes(99))
    with pytest.raises(ValueError, match=words):
        load_image(tmp_path / "photo")


def test_a_heic_photo_is_read_where_its_reader_is_installed(tmp_path):
    pytest.importorskip("pillow_heif")
    photo = np.full((48, 80, 3), (200, 100, 50), np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.heic", "HEIF")
    assert np.allclose(load_image(tmp_path / "photo.heic") * 255, photo, atol=4)


@pytest.mark.parametrize("ending", [".gif", ".webp", ".tif", ".png"])
def test_only_the_first_of_several_pictures_is_used_and_it_is_said(tmp_path, ending):
    first, second = (Image.fromarray(draw(3, seed=seed)) for seed in (0, 1))
    first.save(tmp_path / f"photo{ending}", save_all=True, append_images=[second], duration=100)
    notes = fill(tmp_path, tmp_path / f"photo{ending}", tmp_path / "out.png")
    assert any("holds 2 pictures; only the first" in note for note in notes)
    assert read_picture(tmp_path / "out.png").alpha is None


def test_the_pixel_limit_is_a_sentence_before_anything_is_decoded(tmp_path, monkeypatch):
    save_image(tmp_path / "photo.png", draw(3))
    monkeypatch.setattr(pictures, "MAX_MEGAPIXELS", 0.0005)
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(ValueError, match=r"photo\.png has more than 0\.0005 megapixels.*INPAINT_MAX_MEGAPIXELS"):
        load_image(tmp_path / "photo.png")


def test_a_photo_is_read_where_no_temporary_file_can_be_written(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    assert read_picture(sample_photos()[0]).pixels.shape[2] == 3
