"""Photos in and out: read, write, find, and prepare as one memory-mapped array."""

import csv
import hashlib
import json
import os
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm.auto import tqdm

from .files import write_atomically

PHOTO_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
SPLITS = ("train", "validation", "test")
MIN_SIDE = 64  # pixels; a smaller picture holds no landscape worth learning from
# Root-mean-square difference of two 8x8 thumbnails in 1/255. Among 5,827 landscapes one pair is at 7.0 (one
# scene twice), the next at 11.5; copies rescaled and saved as JPEG of quality 60 stay below 3. (The usual
# choice, a 64-bit difference hash within 3 bits, missed 2 % of the copies and paired 200 different photos.)
NEAR_DUPLICATE = 8.0
_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")  # without stuffed bytes, restarts and padding


@dataclass(frozen=True, eq=False)
class PhotoSet:
    """Prepared photos, opened by `prepare_photos` or `open_photos`.

    images: uint8 RGB (N, S, S, 3), memory-mapped and read-only. records: one dict a photo: "file", "sha256"
    of its pixels, "group" (shared by near duplicates) and "split". skipped: dicts of "file" and "reason".
    """

    images: np.memmap
    records: list
    skipped: list

    @property
    def image_size(self):
        """Side of every photo in pixels."""
        return self.images.shape[1]

    def split(self, name):
        """Ascending indices (int array) of the photos in split `name`: "train", "validation" or "test"."""
        if name not in SPLITS:
            raise ValueError(f"split is {name!r}; expected one of {', '.join(SPLITS)}.")
        return np.array([i for i, record in enumerate(self.records) if record["split"] == name], dtype=int)


def load_image(path, size=None):
    """Read a photo as float32 RGB in [0, 1], shape (H, W, 3).

    EXIF rotation is applied (for WebP only by OpenCV newer than 4.11), gray becomes three equal channels,
    alpha is dropped and 16-bit files keep their precision. With `size` (pixels) the photo is centre-cropped
    to a square and resized to (size, size, 3). Raises FileNotFoundError or ValueError for whatever is not a
    complete photo.
    """
    if size is not None:
        _check_size(size)
    try:
        pixels = _read_pixels(Path(path))
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"{path} {error}") from None
    return _to_image(pixels, size)


def save_image(path, image):
    """Write `image`, (H, W, 3) RGB as float in [0, 1] or as uint8; the file name's ending chooses the format.

    The folder is created; the file appears complete or not at all. Raises ValueError for a wrong image or
    ending and OSError where it cannot write.
    """
    path, image = Path(path), np.asarray(image)
    if path.suffix.lower() not in PHOTO_EXTENSIONS:
        raise ValueError(f"{path.name} ends in {path.suffix!r}; expected one of {', '.join(PHOTO_EXTENSIONS)}.")
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"The image has shape {image.shape}; expected (height, width, 3) in RGB order.")
    if np.issubdtype(image.dtype, np.floating):
        low, high = float(image.min()), float(image.max())
        if not (low >= -1e-5 and high <= 1 + 1e-5):  # this way round NaN is refused, too
            raise ValueError(f"The image's values span {low:g} to {high:g}; scale them to [0, 1], without NaN, first.")
        image = np.rint(np.clip(image, 0, 1).astype(np.float32) * 255).astype(np.uint8)
    elif image.dtype != np.uint8:
        raise ValueError(f"The image is {image.dtype}; expected float values in [0, 1] or uint8.")
    try:
        _, data = cv2.imencode(path.suffix.lower(), np.ascontiguousarray(image[..., ::-1]))
    except cv2.error:
        raise ValueError(f"An image of shape {image.shape} cannot be written as {path.suffix}; choose .png.") from None
    try:
        write_atomically(path, data.tobytes())
    except OSError as error:
        raise OSError(f"{path} cannot be written ({error.strerror}); choose another place for it.") from error


def find_photos(folder):
    """Return (paths, skipped): all photos below `folder`, sorted, and {"file", "reason"} dicts for the rest.

    Left out without being opened: hidden and empty files; a folder `gray` beside a folder `color` (Kaggle's
    landscape-image-colorization holds every photo twice); the folders beside `photo_jpg` where one of them
    holds Monet's paintings (Kaggle's gan-getting-started). Raises FileNotFoundError or ValueError if there
    is no photo.
    """
    folder = Path(folder)
    if not folder.exists():
        raise FileNotFoundError(f"The photo folder {folder} does not exist; check the path.")
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file; expected a folder of photos.")
    paths, skipped = [], []

    def skip(path, reason):
        skipped.append({"file": Path(path).relative_to(folder).as_posix(), "reason": reason})

    def skip_unreadable(error):
        skip(error.filename, f"cannot be listed ({error.strerror})")

    for root, names, files in os.walk(folder, onerror=skip_unreadable):
        reasons = _folders_to_skip(names)
        for name, reason in reasons.items():
            skip(Path(root, name), reason)
        names[:] = [name for name in names if name not in reasons]  # os.walk does not enter the others
        for path in (Path(root, name) for name in files if name.lower().endswith(PHOTO_EXTENSIONS)):
            if path.name.startswith("."):
                skip(path, "hidden file")
            elif not path.exists():
                skip(path, "broken link")
            elif path.stat().st_size == 0:
                skip(path, "empty file")
            else:
                paths.append(path)
    if not paths:
        raise ValueError(
            f"No photo was found in {folder} ({len(skipped)} entries were skipped); "
            f"expected files ending in {', '.join(PHOTO_EXTENSIONS)}."
        )
    return sorted(paths, key=Path.as_posix), sorted(skipped, key=lambda entry: entry["file"])


def sample_photos():
    """Sorted paths of the photos in the package; photos.csv beside them names authors and licences."""
    folder = Path(__file__).parent / "sample_photos"
    return sorted(path for path in folder.iterdir() if path.suffix in PHOTO_EXTENSIONS)


def prepare_photos(
    paths,
    output_folder,
    image_size=256,
    validation_share=0.1,
    test_share=0.1,
    seed=0,
    limit=None,
    skipped=(),
    progress=True,
):
    """Write photos.npy, uint8 RGB (N, image_size, image_size, 3), and manifest.json; open them as a PhotoSet.

    Photos that cannot be read, have a side under 64 pixels or repeat another one's pixels are skipped with
    the reason, which is appended to `skipped` (usually what find_photos skipped). `limit` takes that many
    of the paths, drawn with `seed`. Records are in the order of their file names, relative to the folder
    that holds all paths.

    No group straddles splits: near duplicates, mirrored ones too, and crops that a photos.csv (columns
    file, original) beside them traces to one original. Test is `test_share` of all photos, validation
    `validation_share` of the rest, as nearly as whole groups allow; from three groups on, no split asked
    for is empty. Who is in which split depends on the photos' content and `seed` only, not on names, the
    order of `paths` or threads.

    Raises ValueError for fewer than 3 usable photos and OSError where it cannot write.
    """
    _check_size(image_size)
    for name, share in (("validation_share", validation_share), ("test_share", test_share)):
        if not 0 <= share < 1:
            raise ValueError(f"{name} is {share!r}; expected a share from 0 to below 1, for example 0.1.")
    paths = sorted({Path(path) for path in paths}, key=Path.as_posix)
    names = _short_names(paths)
    if limit is not None and limit < len(paths):
        drawn = np.random.default_rng(seed).permutation(len(paths))[: max(limit, 0)]
        paths = [paths[i] for i in sorted(drawn)]
    folder, skipped = Path(output_folder), list(skipped)
    part = folder / "photos.npy.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            kept, hashes, thumbnails = _decode_photos(paths, names, file, image_size, skipped, progress)
        if len(kept) < 3:
            why = ", ".join(f"{entry['file']}: {entry['reason']}" for entry in skipped[:3]) or "none skipped"
            raise ValueError(f"{len(kept)} of {len(paths)} photos are usable ({why}); give at least 3 different ones.")
        groups = _group_photos(kept, hashes, np.stack(thumbnails))
        splits = _deal_groups(groups, validation_share, test_share, seed)
        records = [
            {"file": names[path], "sha256": sha256, "group": group, "split": splits[group]}
            for path, sha256, group in zip(kept, hashes, groups, strict=True)
        ]
        manifest = {"image_size": int(image_size), "seed": int(seed), "records": records, "skipped": skipped}
        # The manifest says "complete": the old one goes before the array changes, the new one comes after.
        (folder / "manifest.json").unlink(missing_ok=True)
        os.replace(part, folder / "photos.npy")
        write_atomically(folder / "manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False).encode())
    except OSError as error:
        raise OSError(
            f"{folder} cannot be written ({error.strerror or error}); choose another output folder."
        ) from error
    finally:
        if part.is_file():
            part.unlink()
    return open_photos(folder)


def open_photos(folder):
    """Open what `prepare_photos` wrote as a PhotoSet; FileNotFoundError or ValueError if incomplete."""
    array, manifest = Path(folder) / "photos.npy", Path(folder) / "manifest.json"
    for path in (array, manifest):
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist; run notebook 01 (prepare_photos) to write it.")
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        size, records, skipped = (content[key] for key in ("image_size", "records", "skipped"))
        images = np.load(array, mmap_mode="r")
        agree = images.dtype == np.uint8 and images.shape == (len(records), size, size, 3)
        # Two photos tell whether the manifest was written for this array; hashing all would take too long.
        agree = agree and all(_hash_pixels(images[i]) == records[i]["sha256"] for i in (0, -1))
    except (ValueError, KeyError, TypeError, IndexError):
        agree = False
    if not agree:
        raise ValueError(f"{array} and {manifest.name} do not belong together; run prepare_photos again.")
    return PhotoSet(images, records, skipped)


def _check_size(size):
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
        raise ValueError(f"size is {size!r}; expected a whole number of pixels of at least 1.")


def _read_pixels(path):
    """Decode a file to uint8 or uint16 RGB; errors hold the reason only, callers put the name before it."""
    if not path.exists():
        raise FileNotFoundError("does not exist; check the path.")
    if path.is_dir():
        raise ValueError("is a folder, not a photo; list its photos with find_photos.")
    try:
        data = path.read_bytes()  # cv2.imread fails on non-ASCII names on Windows
    except OSError as error:
        raise ValueError(f"cannot be opened ({error.strerror}); check its permissions.") from None
    if not data:
        raise ValueError("is an empty file; copy or download it again.")
    if data.startswith(b"\xff\xd8") and not _is_complete_jpeg(data):
        raise ValueError("is a truncated or damaged JPEG; copy or download it again.")
    try:
        # These two flags together give three channels and EXIF rotation without cutting 16 bits to 8.
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise ValueError("is not a complete picture that OpenCV can read; expected JPEG, PNG, BMP, TIFF or WebP.")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"holds {pixels.dtype} values; save it with 8 or 16 bits a channel.")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _is_complete_jpeg(data):
    """Whether the end marker follows the picture data; OpenCV fills what is missing with gray and only warns.

    Walks from segment to segment because a thumbnail inside one has an end marker of its own, and cameras
    append anything at all after the true one.
    """
    position = 2
    while match := _JPEG_MARKER.search(data, position):
        if match[0] == b"\xff\xd9":
            return True
        position = match.end() + int.from_bytes(data[match.end() : match.end() + 2], "big")
    return False


def _to_image(pixels, size):
    if size is not None:
        height, width = pixels.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        pixels = pixels[top : top + side, left : left + side]
        if side != size:
            # Before the change to float: that clips cubic overshoot and takes a quarter of the memory.
            method = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
            pixels = cv2.resize(pixels, (size, size), interpolation=method)
    return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)


def _folders_to_skip(names):
    """Which of the folders that lie side by side are left out, and why."""
    lower = {name.lower() for name in names}
    reasons = {name: "hidden folder" for name in names if name.startswith(".")}
    if lower & {"color", "colour"}:
        twins = ("gray", "grey", "grayscale", "greyscale")
        reasons |= {name: "gray twin of a colour photo" for name in names if name.lower() in twins}
    if "photo_jpg" in lower and lower & {"monet_jpg", "monet_tfrec", "photo_tfrec"}:
        reasons |= {name: "not in photo_jpg" for name in names if name.lower() != "photo_jpg"}
    return reasons


def _short_names(paths):
    """Each path relative to the folder that holds them all, so that manifests are the same anywhere."""
    common = os.path.commonpath([path.absolute().parent for path in paths]) if paths else ""
    return {path: path.absolute().relative_to(common).as_posix() for path in paths}


def _hash_pixels(photo):
    return hashlib.sha256(np.ascontiguousarray(photo).tobytes()).hexdigest()


def _decode_photos(paths, names, file, size, skipped, progress):
    """Write the usable photos to `file` in .npy format; return their paths, hashes and 8x8 thumbnails."""

    def decode(path):
        try:
            pixels = _read_pixels(path)
            height, width = pixels.shape[:2]
            if min(height, width) < MIN_SIDE:
                raise ValueError(f"{width}×{height} is smaller than {MIN_SIDE} px")
        except (FileNotFoundError, ValueError) as error:
            return None, str(error).rstrip("."), None
        photo = np.rint(_to_image(pixels, size) * 255).astype(np.uint8)
        return photo, _hash_pixels(photo), cv2.resize(photo, (8, 8), interpolation=cv2.INTER_AREA)

    def write_header(count):  # numpy leaves room in it for a count that grows
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size, 3)}
        np.lib.format.write_array_header_1_0(file, header)
        return file.tell()

    kept, thumbnails, start = {}, [], write_header(0)
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(paths), unit="photo", disable=not progress) as bar,
    ):
        for first in range(0, len(paths), 64):
            some = paths[first : first + 64]  # a few at a time: threads far ahead of the disk would fill the memory
            for path, (photo, answer, thumbnail) in zip(some, pool.map(decode, some), strict=True):
                bar.update()
                if photo is None:
                    skipped.append({"file": names[path], "reason": answer})
                elif answer in kept:
                    skipped.append({"file": names[path], "reason": f"same pixels as {names[kept[answer]]}"})
                else:
                    kept[answer] = path
                    thumbnails.append(thumbnail)
                    file.write(photo.tobytes())
    file.seek(0)
    if write_header(len(kept)) != start:
        raise RuntimeError("numpy changed the length of the .npy header; report this with numpy's version.")
    return list(kept.values()), list(kept), thumbnails


def _group_photos(paths, hashes, thumbnails):
    """Name each photo's group after the smallest hash in it; chains of near duplicates are one group."""
    first, second = [], []  # pairs of photos that belong together
    originals, seen = _read_originals(paths), {}
    for i, path in enumerate(paths):
        if path in originals:
            first.append(np.array([seen.setdefault(originals[path], i)]))
            second.append(np.array([i]))
    small = thumbnails.astype(np.float32) - 128
    mirrored = small[:, :, ::-1].reshape(len(paths), -1)
    small = small.reshape(len(paths), -1)
    square = (small**2).sum(axis=1)
    for start in range(0, len(paths), 1024):
        rows = slice(start, start + 1024)
        for other in (small, mirrored):
            distance = square[rows, None] + square - 2 * small[rows] @ other.T
            near, far = np.nonzero(distance <= NEAR_DUPLICATE**2 * small.shape[1])
            first.append(near + start)
            second.append(far)
    first, second = np.concatenate(first), np.concatenate(second)
    label = np.arange(len(paths))
    while True:  # every photo takes the smallest number it can reach
        before = label.copy()
        np.minimum.at(label, first, before[second])
        np.minimum.at(label, second, before[first])
        label = label[label]
        if np.array_equal(label, before):
            break
    smallest = {}
    for i, sha256 in zip(label, hashes, strict=True):
        smallest[i] = min(sha256, smallest.get(i, sha256))
    return [smallest[i][:16] for i in label]


def _read_originals(paths):
    """Map each path that a photos.csv beside it names to (folder, original)."""
    originals = {}
    for folder in {path.parent for path in paths}:
        if (folder / "photos.csv").is_file():
            with (folder / "photos.csv").open(encoding="utf-8", errors="replace", newline="") as file:
                rows = csv.DictReader(file, restval="")
                if {"file", "original"} <= set(rows.fieldnames or ()):
                    originals |= {folder / row["file"]: (folder, row["original"]) for row in rows}
    return originals


def _deal_groups(groups, validation_share, test_share, seed):
    """Map each group to its split, in an order drawn from `seed` and the groups' content.

    A group that would overshoot the share is passed over; at the end the smallest one left is added if that
    brings the split nearer to its share or if the split is still empty.
    """
    sizes = Counter(groups)
    order = sorted(sizes, key=lambda group: hashlib.sha256(f"{seed} {group}".encode()).digest())
    splits, count = {}, len(groups)
    # With too few groups, training is served first, then validation.
    reserved = {"test": 1 + (validation_share > 0), "validation": 1}
    for name, share in (("test", test_share), ("validation", validation_share)):
        goal, taken, rest = share * count, 0, []
        spare = len(order) - reserved[name] if share > 0 else 0
        for group in order:
            if spare > 0 and taken + sizes[group] <= goal:
                splits[group], taken, spare = name, taken + sizes[group], spare - 1
            else:
                rest.append(group)
        if spare > 0:
            smallest = min(rest, key=sizes.get)
            if taken == 0 or taken + sizes[smallest] - goal < goal - taken:
                splits[smallest], taken = name, taken + sizes[smallest]
                rest.remove(smallest)
        order, count = rest, count - taken
    return {group: splits.get(group, "train") for group in sizes}
