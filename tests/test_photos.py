"""Photos: what is read, refused, skipped and saved, and which photo lands in which split."""

import csv
import errno
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from inpaint_utils.data import photos as photos_module
from inpaint_utils.data.images import load_image, save_image
from inpaint_utils.data.photos import find_photos, open_photos, prepare_photos, sample_photos

OPENED = []  # every path that Python opens, while it is being watched
WATCHING = [False]


def _note_opened(event, args):
    if WATCHING and WATCHING[0] and event == "open":  # at the interpreter's end there is neither
        OPENED.append(str(args[0]))


sys.addaudithook(_note_opened)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def blocks(seed, side=64):
    """A picture unlike that of any other seed: 8x8 random colours."""
    colors = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.kron(colors, np.ones((side // 8, side // 8, 1), np.uint8))


def write_photos(folder, count, first=0):
    for i in range(first, first + count):
        save_image(folder / f"{i:03d}.png", blocks(i))
    return [folder / f"{i:03d}.png" for i in range(first, first + count)]


def photo_paths(folder):
    return sorted(folder.glob("*.png"))


def write_raw(path, pixels, *settings):
    """Write with OpenCV's own encoder: BGR, any channels and depth."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, pixels, list(settings))[1].tobytes())
    return path


def jpeg(pixels, quality=95):
    return cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def with_exif(data, orientation=1, thumbnail=b""):
    """Put an APP1 segment with an orientation (and anything as a thumbnail) into a JPEG."""
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + tiff + thumbnail
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


def in_split(photo_set):
    return {record["file"]: record["split"] for record in photo_set.records}


def by_content(photo_set):
    return {record["file_sha256"]: record["split"] for record in photo_set.records}


# Reading


def test_gray_photo_becomes_three_equal_channels(tmp_path):
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = load_image(write_raw(tmp_path / "gray.png", gray))
    assert image.shape == (16, 16, 3) and image.dtype == np.float32
    for channel in range(3):
        np.testing.assert_array_equal(image[..., channel], gray / np.float32(255))


def test_alpha_is_dropped_and_hidden_colours_stay(tmp_path, rng):
    bgra = rng.integers(0, 256, (20, 30, 4), dtype=np.uint8)
    bgra[:10, :, 3] = 0
    image = load_image(write_raw(tmp_path / "alpha.png", bgra))
    np.testing.assert_array_equal(image, bgra[..., 2::-1] / np.float32(255))


@pytest.mark.parametrize("ending", [".png", ".tiff"])
def test_sixteen_bit_photo_keeps_its_precision(tmp_path, rng, ending):
    pixels = rng.integers(0, 65536, (20, 30, 3), dtype=np.uint16)
    image = load_image(write_raw(tmp_path / f"deep{ending}", pixels))
    np.testing.assert_array_equal(image, pixels[..., ::-1] / np.float32(65535))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_honoured(tmp_path, orientation):
    data = jpeg(blocks(1)[:, :48])
    turn = {  # what the EXIF standard says has to be done for display
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, 1),
    }[orientation]
    (tmp_path / "plain.jpg").write_bytes(data)
    (tmp_path / "turned.jpg").write_bytes(with_exif(data, orientation))
    np.testing.assert_array_equal(load_image(tmp_path / "turned.jpg"), turn(load_image(tmp_path / "plain.jpg")))


def test_size_cuts_the_centre_square_and_averages_it(tmp_path, rng):
    pixels = rng.integers(0, 256, (64, 100, 3), dtype=np.uint8)
    save_image(tmp_path / "wide.png", pixels)
    square = pixels[:, 18:82].astype(float) / 255
    expected = square.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))
    image = load_image(tmp_path / "wide.png", size=16)
    assert image.shape == (16, 16, 3)
    np.testing.assert_allclose(image, expected, atol=0.51 / 255)


def test_enlarging_stays_between_zero_and_one(tmp_path):
    checkers = np.kron([[0, 255] * 4, [255, 0] * 4] * 4, np.ones((2, 2))).astype(np.uint8)
    image = load_image(write_raw(tmp_path / "small.png", checkers), size=50)
    assert image.shape == (50, 50, 3) and image.min() == 0 and image.max() == 1


def test_a_red_square_stays_red_through_load_and_save(tmp_path):
    image = np.zeros((32, 32, 3), np.float32)
    image[8:24, 8:24] = (1, 0.2, 0)
    save_image(tmp_path / "red.png", image)
    save_image(tmp_path / "again.png", load_image(tmp_path / "red.png"))
    np.testing.assert_array_equal(load_image(tmp_path / "again.png"), image)
    assert cv2.imread(str(tmp_path / "again.png"))[16, 16].tolist() == [0, 51, 255]  # OpenCV itself reads BGR


def test_names_outside_ascii_work(tmp_path):
    path = tmp_path / "Fjällräven 山.jpg"
    save_image(path, blocks(3))
    assert load_image(str(path)).shape == (64, 64, 3)


def test_a_jpeg_cut_short_is_refused_wherever_it_ends(tmp_path, rng):
    noise = rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)
    whole = with_exif(jpeg(noise), thumbnail=jpeg(blocks(2)))  # the thumbnail has an end marker of its own
    path = tmp_path / "cut.jpg"
    for share in (0.3, 0.6, 0.9, 0.99):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(ValueError, match=r"cut\.jpg is a truncated"):
            load_image(path)
    path.write_bytes(whole[:-2])  # only the end marker is missing: OpenCV decodes this without an error
    with pytest.raises(ValueError, match="truncated"):
        load_image(path)


def test_anything_after_the_end_of_a_jpeg_is_ignored(tmp_path):
    tails = (b"\0" * 99, b"\r\n", b"\xff\xda motion photo \xff\xd8\xff\xe0")
    for i, tail in enumerate(tails):
        (tmp_path / f"{i}.jpg").write_bytes(jpeg(blocks(4)) + tail)
        assert load_image(tmp_path / f"{i}.jpg").shape == (64, 64, 3)


def test_preparing_draws_a_bar_where_it_should(tmp_path, monkeypatch, capsys):
    cases = ((True, False, True), (False, True, False), (None, False, False), (None, True, True))
    for progress, terminal, drawn in cases:
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal)
        prepare_photos(sample_photos()[:3], tmp_path, 64, progress=progress)
        assert ("photo/s" in capsys.readouterr().err) == drawn


def test_a_progressive_jpeg_is_read_and_refused_when_cut(tmp_path, rng):
    pixels = rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)
    path = write_raw(tmp_path / "slow.jpg", pixels, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    assert load_image(path).shape == (96, 96, 3)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match="truncated"):
        load_image(path)


def test_what_is_not_a_photo_is_named_in_one_sentence(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "cut.png").write_bytes(cv2.imencode(".png", blocks(5))[1].tobytes()[:200])
    write_raw(tmp_path / "float.tiff", np.ones((70, 70, 3), np.float32))
    (tmp_path / "folder.jpg").mkdir()
    for name, error, words in (
        ("missing.jpg", FileNotFoundError, "does not exist"),
        ("folder.jpg", ValueError, "is a folder"),
        ("empty.jpg", ValueError, "empty file"),
        ("text.png", ValueError, "not a complete picture"),
        ("cut.png", ValueError, "not a complete picture"),
        ("float.tiff", ValueError, "such as float"),
    ):
        with pytest.raises(error, match=words) as caught:
            load_image(tmp_path / name)
        message = str(caught.value)
        assert name in message and message.endswith(".") and "\n" not in message
    for size in (0, -4, 2.5, True):
        with pytest.raises(ValueError, match="size"):
            load_image(tmp_path / "text.png", size=size)


# Saving


def test_save_takes_float_and_uint8_alike(tmp_path):
    pixels = blocks(6)
    save_image(tmp_path / "new" / "bytes.png", pixels)
    save_image(tmp_path / "new" / "floats.png", pixels / 255)
    assert (tmp_path / "new" / "bytes.png").read_bytes() == (tmp_path / "new" / "floats.png").read_bytes()


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.full((8, 8, 3), np.nan), "NaN"),
        (np.full((8, 8, 3), 1.5), "1.5"),
        (np.full((8, 8, 3), -0.5), "-0.5"),
        (np.zeros((8, 8)), r"\(8, 8\)"),
        (np.zeros((8, 8, 4)), r"\(8, 8, 4\)"),
        (np.zeros((0, 8, 3)), r"\(0, 8, 3\)"),
        (np.zeros((8, 8, 3), np.int32), "int32"),
    ],
)
def test_save_refuses_what_is_no_image(tmp_path, image, words):
    with pytest.raises(ValueError, match=words):
        save_image(tmp_path / "bad.png", image)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["photo.gif", "photo", "photo.exe"])
def test_save_refuses_an_unknown_ending(tmp_path, name):
    with pytest.raises(ValueError, match=r"expected one of \.jpg"):
        save_image(tmp_path / name, blocks(0))


def test_a_failed_save_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch):
    save_image(tmp_path / "a.png", blocks(0))
    before = (tmp_path / "a.png").read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match=r"a\.png cannot be written \(No space left on device\)"):
        save_image(tmp_path / "a.png", blocks(1))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == before


# Finding


def test_photos_are_found_in_any_depth_and_case_and_sorted(tmp_path):
    names = ["b.JPG", "a.png", "deep/er/c.jpeg", "deep/d.TIFF", "e.webp", "f.bmp"]
    for name in names:
        write_raw(tmp_path / name, blocks(0))
    (tmp_path / "notes.txt").write_text("no photo")
    paths, skipped = find_photos(str(tmp_path))
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == sorted(names)
    assert skipped == []


def test_hidden_and_empty_files_are_skipped_with_the_reason(tmp_path):
    write_photos(tmp_path, 1)
    (tmp_path / "._000.png").write_bytes(b"a Mac's note on 000.png, which counts as nothing")
    (tmp_path / ".hidden.png").write_bytes(b"?")
    (tmp_path / "zero.jpg").touch()
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    write_photos(tmp_path / ".trash", 2)
    paths, skipped = find_photos(tmp_path)
    assert len(paths) == 1
    assert {entry["file"]: entry["reason"] for entry in skipped} == {
        ".hidden.png": "hidden file",
        ".trash": "hidden folder",
        "gone.jpg": "broken link",
        "zero.jpg": "empty file",
    }


@pytest.mark.parametrize("names", [("color", "gray"), ("Colour", "Grayscale"), ("COLOR", "Grey")])
def test_not_one_gray_twin_is_opened(tmp_path, names):
    color, gray = (tmp_path / "landscape Images" / name for name in names)
    write_photos(color, 4)
    write_photos(gray, 4)
    OPENED.clear()
    WATCHING[0] = True
    try:
        paths, skipped = find_photos(tmp_path)
        photo_set = prepare_photos(paths, tmp_path / "out", image_size=16, skipped=skipped, progress=False)
    finally:
        WATCHING[0] = False
    assert any(Path(path).parent == color for path in OPENED)  # the watch does see photos being opened
    assert not any(path.startswith(str(gray)) for path in OPENED)
    assert [path.parent for path in paths] == [color] * 4
    reason = "gray twin of a colour photo"
    assert photo_set.skipped == [{"file": f"landscape Images/{names[1]}", "reason": reason}]


def test_a_gray_folder_without_a_colour_sibling_is_taken(tmp_path):
    write_photos(tmp_path / "gray", 2)
    assert len(find_photos(tmp_path)[0]) == 2


@pytest.mark.parametrize("above", ["", "input", "input/competitions/x"])
def test_of_the_monet_competition_only_the_photos_are_taken(tmp_path, above):
    base = tmp_path / above / "gan-getting-started"
    write_photos(base / "photo_jpg", 3)
    write_photos(base / "monet_jpg", 2)
    (base / "photo_tfrec").mkdir()
    paths, skipped = find_photos(tmp_path)
    assert {path.parent for path in paths} == {base / "photo_jpg"} and len(paths) == 3
    assert [(Path(entry["file"]).name, entry["reason"]) for entry in skipped] == [
        ("monet_jpg", "not in photo_jpg"),
        ("photo_tfrec", "not in photo_jpg"),
    ]


def test_a_folder_without_photos_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        find_photos(tmp_path / "nowhere")
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(ValueError, match="is a file"):
        find_photos(tmp_path / "file.txt")
    with pytest.raises(ValueError, match="No photo was found"):
        find_photos(tmp_path)


@pytest.mark.parametrize("ending", [".heics", ".cr2", ".psd", ".svg", ""])
def test_what_may_be_a_photo_of_an_unknown_kind_is_named(tmp_path, ending):
    write_photos(tmp_path, 1)
    (tmp_path / f"other{ending}").write_bytes(b"?")
    for name in ("README.md", "photos.csv", "film.mov", ".DS_Store", "._x"):
        (tmp_path / name).write_bytes(b"?")
    paths, skipped = find_photos(tmp_path)
    assert [path.name for path in paths] == ["000.png"]
    assert [entry["file"] for entry in skipped] == [f"other{ending}"]


def test_a_linked_folder_is_named_and_not_entered(tmp_path):
    write_photos(tmp_path / "photos", 1)
    (tmp_path / "photos" / "again").symlink_to(tmp_path / "photos")
    paths, skipped = find_photos(tmp_path / "photos")
    assert len(paths) == 1 and skipped == [{"file": "again", "reason": "linked folder; give its own path"}]


# Preparing


def test_prepared_photos_equal_loaded_ones_and_are_read_only(tmp_path):
    paths = sample_photos()[:6]
    made = prepare_photos(paths, tmp_path, image_size=96, progress=False)
    for photo_set in (made, open_photos(tmp_path)):
        assert isinstance(photo_set.images, np.memmap) and photo_set.images.dtype == np.uint8
        assert photo_set.images.shape == (6, 96, 96, 3) and photo_set.image_size == 96
        for i, path in enumerate(paths):
            assert photo_set.records[i]["file"] == path.name
            np.testing.assert_array_equal(photo_set.images[i], np.rint(load_image(path, size=96) * 255))
        with pytest.raises(ValueError, match="read-only"):
            photo_set.images[0, 0, 0, 0] = 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.json", "photos.npy"]
    assert set(json.loads((tmp_path / "manifest.json").read_text())) == {
        "image_size",
        "seed",
        "validation_share",
        "test_share",
        "records",
        "skipped",
    }


def test_bad_files_among_good_ones_are_skipped_with_the_reason(tmp_path):
    folder = tmp_path / "in"
    write_photos(folder, 5)
    save_image(folder / "small.png", np.zeros((30, 40, 3), np.uint8))
    (folder / "corrupt.jpg").write_bytes(b"\xff\xd8\xff\xe0 not really \xff\xd9")
    (folder / "cut.jpg").write_bytes(jpeg(blocks(9))[:-40])
    shutil.copy(folder / "001.png", folder / "twin.png")
    paths = [*find_photos(folder)[0], folder / "missing.jpg"]
    before = [{"file": "x", "reason": "y"}]
    photo_set = prepare_photos(paths, tmp_path / "out", image_size=64, skipped=before, progress=False)
    assert len(photo_set.images) == 5 and before == [{"file": "x", "reason": "y"}]
    reasons = {entry["file"]: entry["reason"] for entry in photo_set.skipped}
    assert list(reasons) == ["x", "corrupt.jpg", "cut.jpg", "missing.jpg", "small.png", "twin.png"]
    assert reasons["small.png"] == "40×30 is smaller than 64 px"
    assert reasons["twin.png"] == "same pixels as 001.png"
    assert reasons["corrupt.jpg"] == reasons["cut.jpg"]
    assert reasons["cut.jpg"] == "is a truncated or damaged JPEG; copy or download it again"


def test_copies_of_a_photo_share_its_group_and_split(tmp_path):
    originals = sample_photos()[::3]
    for path in originals:
        shutil.copy(path, tmp_path / path.name)  # without photos.csv: only the pixels tell
        image = load_image(path)
        small = cv2.resize(image, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
        for name, copy in (("coded", image), ("mirrored", image[:, ::-1]), ("scaled", small)):
            data = jpeg(np.rint(copy * 255).astype(np.uint8), quality=60)
            (tmp_path / f"{name}_{path.name}").write_bytes(data)
    photo_set = prepare_photos(find_photos(tmp_path)[0], tmp_path / "out", progress=False)
    group = {record["file"]: record["group"] for record in photo_set.records}
    split = in_split(photo_set)
    assert len(set(group.values())) == len(originals)  # copies are found, and different photos are not mixed up
    for path in originals:
        family = [name for name in group if name.endswith(path.name)]
        assert len(family) == 4
        assert len({group[name] for name in family}) == len({split[name] for name in family}) == 1


def test_near_duplicates_chain_and_flat_pictures_are_told_apart(tmp_path, rng):
    base = blocks(7) // 2 + 20
    for i in range(3):  # neighbours are near duplicates, the ends are not
        save_image(tmp_path / f"chain{i}.png", base + np.uint8(6 * i))
    for i, color in enumerate([(90, 140, 220), (120, 140, 220), (90, 140, 190), (200, 200, 200)]):
        noise = rng.integers(-3, 4, (2, 64, 64, 3))
        for j in range(2):
            save_image(tmp_path / f"flat{i}_{j}.png", (color + noise[j]).astype(np.uint8))
    records = prepare_photos(find_photos(tmp_path)[0], tmp_path / "out", 64, progress=False).records
    group = {record["file"].removesuffix(".png"): record["group"] for record in records}
    assert group["chain0"] == group["chain1"] == group["chain2"]
    assert all(group[f"flat{i}_0"] == group[f"flat{i}_1"] for i in range(4))
    assert len(set(group.values())) == 5


def test_crops_that_photos_csv_traces_to_one_original_stay_together(tmp_path):
    paths = write_photos(tmp_path, 35)
    with (tmp_path / "photos.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "original"])
        rows.writerows([path.name, f"original {i % 5}"] for i, path in enumerate(paths))
    photo_set = prepare_photos(paths, tmp_path / "out", image_size=16, progress=False)
    for i in range(5):
        assert len({in_split(photo_set)[path.name] for path in paths[i::5]}) == 1
    assert [len(photo_set.split(name)) for name in ("train", "validation", "test")] == [21, 7, 7]


def test_a_photos_csv_from_a_spreadsheet_counts_or_is_named(tmp_path):
    paths, table = write_photos(tmp_path, 10), tmp_path / "photos.csv"
    rows = ["file,original", *(f"{path.name},{i // 5}" for i, path in enumerate(paths))]
    table.write_text("\n".join(rows), encoding="utf-8-sig")
    photo_set = prepare_photos(paths, tmp_path / "out", image_size=16, progress=False)
    assert len({record["group"] for record in photo_set.records}) == 2
    for text, encoding in (("\n".join(rows).replace(",", ";"), "utf-8"), ("\n".join(rows), "utf-16")):
        table.write_text(text, encoding=encoding)
        with pytest.raises(ValueError, match=r"photos\.csv cannot be read \(its first line is .* commas, and UTF-8"):
            prepare_photos(paths, tmp_path / "out", image_size=16, progress=False)
    table.write_text("file,author\n" + "\n".join(f"{path.name},me" for path in paths))  # of other things
    photo_set = prepare_photos(paths, tmp_path / "out", image_size=16, progress=False)
    assert len({record["group"] for record in photo_set.records}) == 10


def test_blank_originals_in_photos_csv_say_nothing(tmp_path):
    paths = write_photos(tmp_path, 10)
    rows = ["file,original", *(f"{path.name}, " for path in paths[:8]), "008.png,a", "009.png,a"]
    (tmp_path / "photos.csv").write_text("\n".join(rows))
    photo_set = prepare_photos(paths, tmp_path / "out", image_size=16, progress=False)
    groups = [record["group"] for record in photo_set.records]
    assert len(set(groups)) == 9 and groups[8] == groups[9]
    assert all(len(photo_set.split(name)) for name in ("train", "validation", "test"))


def test_a_photos_csv_that_cannot_be_read_is_named_before_any_photo_is(tmp_path, monkeypatch):
    paths, table, open_path = write_photos(tmp_path, 3), tmp_path / "photos.csv", Path.open
    monkeypatch.setattr(photos_module, "read_pixels", lambda path: pytest.fail("a photo was read"))
    table.write_text("file,original\n000.png," + 131_073 * "a")
    with pytest.raises(ValueError, match=r"photos\.csv cannot be read \(field larger than .*: mend it, or") as caught:
        prepare_photos(paths, tmp_path / "out", image_size=16, progress=False)
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()

    def refuse(path, *arguments, **options):
        if path == table:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return open_path(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ValueError, match=r"photos\.csv cannot be read \(Permission denied\)"):
        prepare_photos(paths, tmp_path / "out", image_size=16, progress=False)


def test_shares_are_met_and_every_photo_is_in_one_split(tmp_path):
    photo_set = prepare_photos(write_photos(tmp_path, 100), tmp_path / "out", image_size=16, progress=False)
    splits = [photo_set.split(name) for name in ("train", "validation", "test")]
    assert [len(indices) for indices in splits] == [81, 9, 10]
    assert sorted(np.concatenate(splits)) == list(range(100))
    assert all((np.diff(indices) > 0).all() for indices in splits)
    with pytest.raises(ValueError, match="'valid'; expected one of train"):
        photo_set.split("valid")
    two = prepare_photos(photo_paths(tmp_path), tmp_path / "two", 16, test_share=0, progress=False)
    assert [len(two.split(name)) for name in ("train", "validation", "test")] == [90, 10, 0]


def test_three_photos_fill_three_splits_and_training_comes_first(tmp_path):
    paths = write_photos(tmp_path, 3)
    for seed in range(5):
        three = prepare_photos(paths, tmp_path / "out", image_size=16, seed=seed, progress=False)
        assert sorted(in_split(three).values()) == ["test", "train", "validation"]
    (tmp_path / "photos.csv").write_text("file,original\n000.png,a\n001.png,a\n002.png,b\n")
    assert set(in_split(prepare_photos(paths, tmp_path / "two", 16, progress=False)).values()) == {
        "train",
        "validation",
    }


def test_the_split_depends_on_content_and_seed_alone(tmp_path, monkeypatch):
    paths = write_photos(tmp_path / "a", 40)
    first = prepare_photos(paths, tmp_path / "1", image_size=16, progress=False)
    backwards = prepare_photos([str(p) for p in paths[::-1]], tmp_path / "2", image_size=16, progress=False)
    assert backwards.records == first.records
    for name in ("manifest.json", "photos.npy"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert prepare_photos(paths, tmp_path / "3", image_size=16, progress=False).records == first.records
    for i, path in enumerate(paths):
        shutil.copy(path, tmp_path / f"renamed {97 * i % 101}.png")
    renamed = prepare_photos(photo_paths(tmp_path), tmp_path / "4", image_size=16, progress=False)
    assert by_content(renamed) == by_content(first)
    other = prepare_photos(paths, tmp_path / "5", image_size=16, seed=1, progress=False)
    assert by_content(other) != by_content(first)


@pytest.mark.parametrize("size", [64, 128, 256])
def test_the_split_is_the_same_in_every_size(tmp_path, size):
    paths = sample_photos() + write_photos(tmp_path / "in", 12)
    reference = prepare_photos(paths, tmp_path / "reference", image_size=32, progress=False)
    photo_set = prepare_photos(paths, tmp_path / "out", image_size=size, progress=False)
    assert in_split(photo_set) == in_split(reference)
    for key in ("group", "file_sha256"):
        assert [r[key] for r in photo_set.records] == [r[key] for r in reference.records]


def test_the_split_does_not_depend_on_which_copy_is_kept(tmp_path):
    splits = []
    for number in (0, 1):  # each photo in two files of the same pixels: once the one comes first, once the other
        folder = tmp_path / str(number)
        for i in range(20):
            save_image(folder / f"{i:02d}_{number}.png", blocks(i))
            write_raw(folder / f"{i:02d}_{1 - number}.tiff", blocks(i)[..., ::-1])
        made = prepare_photos(find_photos(folder)[0], tmp_path / f"out_{number}", image_size=16, progress=False)
        assert len(made.records) == 20 and len({Path(r["file"]).suffix for r in made.records}) == 1
        splits.append(by_content(made))
    assert splits[0] == splits[1]


def test_with_fewer_photos_no_test_photo_becomes_a_training_photo(tmp_path):
    paths = write_photos(tmp_path / "in", 120)
    whole = in_split(prepare_photos(paths, tmp_path / "whole", image_size=16, progress=False))
    for limit in (40, 60, 90):
        part = in_split(prepare_photos(paths, tmp_path / "part", image_size=16, limit=limit, progress=False))
        assert not [name for name in part if {part[name], whole[name]} == {"test", "train"}]


def test_photos_prepared_by_an_earlier_version_still_open(tmp_path):
    prepare_photos(write_photos(tmp_path / "in", 4), tmp_path / "out", image_size=16, progress=False)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    for record in manifest["records"]:
        record["group"] = record["sha256"][:16]
        del record["file_sha256"]
    del manifest["validation_share"], manifest["test_share"]
    text = json.dumps(manifest, indent=1, ensure_ascii=False).replace("000.png", "Übung.png")
    (tmp_path / "out" / "manifest.json").write_text(text, encoding="utf-8")
    opened = open_photos(tmp_path / "out")
    assert len(opened.split("train")) == 2 and opened.records[0]["file"] == "Übung.png"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a name is always Unicode")
def test_a_name_that_is_not_utf_8_does_not_stop_the_preparation(tmp_path):
    paths = write_photos(tmp_path / "in", 4)
    os.rename(os.fsencode(paths[0]), os.fsencode(tmp_path / "in") + b"/caf\xe9.png")
    made = prepare_photos(find_photos(tmp_path / "in")[0], tmp_path / "out", image_size=16, progress=False)
    assert os.fsencode(made.records[-1]["file"]) == b"caf\xe9.png" and len(made.records) == 4


def test_limit_draws_photos_with_the_seed(tmp_path):
    paths = write_photos(tmp_path, 30)
    drawn = [
        set(in_split(prepare_photos(paths, tmp_path / "out", 16, limit=8, seed=seed, progress=False)))
        for seed in (0, 0, 1)
    ]
    assert all(len(files) == 8 for files in drawn)
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] != {path.name for path in paths[:8]}
    assert len(prepare_photos(paths, tmp_path / "out", 16, limit=99, progress=False).records) == 30


def test_progress_can_be_silenced(tmp_path, capfd):
    paths = write_photos(tmp_path, 3)
    prepare_photos(paths, tmp_path / "out", image_size=16, progress=False)
    assert capfd.readouterr() == ("", "")
    prepare_photos(paths, tmp_path / "out", image_size=16)
    assert "3/3" in capfd.readouterr().err


def test_unusable_settings_and_too_few_photos_are_refused(tmp_path):
    paths = write_photos(tmp_path, 2)
    (tmp_path / "broken.png").write_bytes(b"?")
    with pytest.raises(ValueError, match=r"2 of 3 photos are usable \(broken\.png: is not a complete"):
        prepare_photos([*paths, tmp_path / "broken.png"], tmp_path / "out", progress=False)
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(ValueError, match="0 of 0 photos"):
        prepare_photos([], tmp_path / "out", progress=False)
    with pytest.raises(ValueError, match="size is 0"):
        prepare_photos(paths, tmp_path / "out", image_size=0)
    with pytest.raises(ValueError, match="test_share is 1"):
        prepare_photos(paths, tmp_path / "out", test_share=1)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_photos_whose_names_are_no_utf_8_are_prepared(tmp_path):
    paths = write_photos(tmp_path / "in", 4)
    os.rename(paths[0], os.fsencode(tmp_path / "in") + b"/caf\xe9.png")
    (tmp_path / "in" / "Übung 漢字.png").write_bytes(paths[1].read_bytes())
    photo_set = prepare_photos(find_photos(tmp_path / "in")[0], tmp_path / "out", 16, progress=False)
    names = {record["file"] for record in open_photos(tmp_path / "out").records}
    assert os.fsdecode(b"caf\xe9.png") in names and len(names) == len(photo_set.images) == 4


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_1_is_refused(tmp_path, limit):
    with pytest.raises(ValueError, match=f"limit is {limit}"):
        prepare_photos(write_photos(tmp_path, 3), tmp_path / "out", limit=limit, progress=False)


def test_a_folder_in_place_of_a_list_is_refused(tmp_path):
    for folder in (tmp_path, str(tmp_path)):
        with pytest.raises(ValueError, match="expected a list of photos, such as find_photos"):
            prepare_photos(folder, tmp_path / "out")


def test_two_preparations_in_one_folder_do_not_mix(tmp_path):
    sets = [write_photos(tmp_path / name, 5, first) for name, first in (("a", 0), ("b", 50))]
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(prepare_photos, paths, tmp_path / "out", 16, progress=False) for paths in sets * 3]
    for run in runs:
        try:
            run.result()
        except (OSError, ValueError) as error:  # the other one had just replaced the array
            assert "do not belong together" in str(error) or "does not exist" in str(error)
    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert left in (["manifest.json", "photos.npy"], ["photos.npy"])


def test_an_output_folder_that_cannot_be_written_is_named(tmp_path):
    paths = write_photos(tmp_path, 3)
    for folder in (paths[0] / "out", paths[0]):  # root may write to a read-only folder, but not below a file
        with pytest.raises(OSError, match=r"000\.png.* cannot be written") as caught:
            prepare_photos(paths, folder, progress=False)
        assert str(caught.value).count(". ") == 0
    assert load_image(paths[0]).shape == (64, 64, 3)


def test_photos_that_cannot_be_replaced_because_they_are_open_stay(tmp_path, monkeypatch):
    paths, out, replace = write_photos(tmp_path, 6), tmp_path / "out", os.replace
    old = prepare_photos(paths[:3], out, image_size=16, progress=False)

    def refuse(part, path):  # as Windows does while a notebook has the array open
        if Path(path).name == "photos.npy":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        replace(part, path)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="choose another output folder, or close what has its photos open"):
        prepare_photos(paths[3:], out, image_size=16, progress=False)
    assert open_photos(out).records == old.records
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json", "photos.npy"]


def run_killed(step, out, paths):
    """Prepare in another process that is killed on entering `step`."""
    code = (
        "import os, sys; from inpaint_utils.data import photos\n"
        f"photos.{step} = lambda *_: os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
        "photos.prepare_photos(sys.argv[2:], sys.argv[1], image_size=16, progress=False)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(out), *map(str, paths)],
        env=os.environ | {"PYTHONPATH": str(Path(photos_module.__file__).parents[2])},
        capture_output=True,
        timeout=60,
    )
    assert run.returncode != 0 and b"Traceback" not in run.stderr


@pytest.mark.parametrize("step", ["group_photos", "write_atomically"])
def test_a_run_killed_while_writing_leaves_no_manifest(tmp_path, step):
    paths, out = write_photos(tmp_path, 3), tmp_path / "out"
    run_killed(step, out, paths)
    assert list(out.iterdir()) != [] and not (out / "manifest.json").exists()
    with pytest.raises(FileNotFoundError, match="prepare_photos"):
        open_photos(out)
    prepare_photos(paths, out, image_size=16, progress=False)
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json", "photos.npy"]


def test_a_killed_run_never_leaves_an_old_manifest_beside_a_new_array(tmp_path):
    paths, out = write_photos(tmp_path, 6), tmp_path / "out"
    old = prepare_photos(paths[:3], out, image_size=16, progress=False)
    run_killed("group_photos", out, paths[3:])
    assert open_photos(out).records == old.records  # the array was not replaced yet
    run_killed("write_atomically", out, paths[3:])
    assert not (out / "manifest.json").exists()


def test_an_array_and_a_manifest_of_two_runs_do_not_open(tmp_path):
    for name, first in (("a", 0), ("b", 50)):
        prepare_photos(write_photos(tmp_path / name, 4, first), tmp_path / name, image_size=16, progress=False)
    shutil.copy(tmp_path / "a" / "manifest.json", tmp_path / "b")
    (tmp_path / "a" / "manifest.json").write_text("{")
    for name in ("a", "b"):
        with pytest.raises(ValueError, match="do not belong together"):
            open_photos(tmp_path / name)
    (tmp_path / "b" / "photos.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"photos\.npy does not exist"):
        open_photos(tmp_path / "b")


@pytest.mark.parametrize("name", ["photos.npy", "manifest.json"])
def test_damage_that_breaks_the_reader_itself_is_one_sentence(tmp_path, name):
    prepare_photos(write_photos(tmp_path / "photos", 4), tmp_path, image_size=16, progress=False)
    path = tmp_path / name
    data = path.read_bytes()
    shares = [data.replace(b'"split"', b'"splat"', 1), b"[" * 99_999, b"{}", b"null"]
    for damaged in shares if name.endswith("json") else [data[:71] + bytes(4) + data[75:], b"\x92" + data[1:]]:
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="do not belong together; run prepare_photos again"):
            open_photos(tmp_path)


# The photos that ship with the package


def test_sample_photos_and_their_table_agree():
    paths = sample_photos()
    with (paths[0].parent / "photos.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert len(paths) >= 24 and sorted(rows) == [path.name for path in paths]
    assert sum(path.stat().st_size for path in paths) < 2.5e6
    for path in paths:
        row, image = rows[path.name], load_image(path)
        assert image.shape == (int(row["height"]), int(row["width"]), 3) and min(image.shape[:2]) >= 384
        assert row["licence"] in ("CC-BY-3.0", "CC-BY-4.0")
        assert row["author"] and row["original"] and row["source"] and row["licence_url"].startswith("https://")
        assert b"Exif" not in path.read_bytes()[:64]
        assert image.std() > 0.05


def test_sample_photos_split_by_original(tmp_path):
    photo_set = prepare_photos(sample_photos(), tmp_path, image_size=64, progress=False)
    assert len({record["group"] for record in photo_set.records}) == 5
    assert photo_set.skipped == [] and all(len(photo_set.split(name)) for name in ("train", "validation", "test"))


def test_numbers_of_numpy_are_taken_and_written(tmp_path):
    told = dict(image_size=np.int64(64), test_share=np.float32(0.3), seed=np.uint8(0), progress=False)
    prepare_photos(sample_photos()[::4], tmp_path, **told)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["test_share"] == pytest.approx(0.3) and manifest["image_size"] == 64


def test_an_image_in_the_place_of_its_path_is_named():
    with pytest.raises(ValueError, match="path is of type ndarray; call save_image"):
        save_image(np.zeros((8, 8, 3), np.float32), "photo.png")
