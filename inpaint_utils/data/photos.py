"""Photos found in a folder, and prepared as one memory-mapped array."""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm.auto import tqdm

from ..files import name_part, write_atomically
from .images import check_size, crop_and_resize, read_pixels
from .pictures import NO_HEIC, PHOTO_EXTENSIONS
from .splits import SPLIT_SEED, deal_groups, group_photos, read_originals

SPLITS = ("train", "validation", "test")
MIN_SIDE = 64  # pixels; a smaller picture holds no landscape worth learning from
# What lies beside photos and is no picture, so that nobody misses it.
NO_PHOTOS = (
    *(".txt", ".md", ".csv", ".tsv", ".json", ".xml", ".html", ".htm", ".pdf", ".log", ".ini", ".db", ".yaml", ".yml"),
    *(".py", ".ipynb", ".npy", ".npz", ".zip", ".xmp", ".aae", ".mov", ".mp4", ".tfrec", ".keras"),
)


@dataclass(frozen=True, eq=False)
class PhotoSet:
    """Prepared photos, opened by `prepare_photos` or `open_photos`.

    images: uint8 RGB (N, S, S, 3), memory-mapped and read-only. records: one dict a photo: "file", "sha256"
    of its pixels in this size, "file_sha256" of its file (photos prepared by earlier versions lack it), "group"
    (shared by near duplicates) and "split". skipped: dicts of "file" and "reason".
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


def find_photos(folder):
    """Find the photos below a folder.

    Left out without being opened: hidden and empty files, linked folders, and what has another ending than a photo's;
    a folder `gray` beside a folder `color` (Kaggle's landscape-image-colorization holds every photo twice); the folders
    beside `photo_jpg` where one of them holds Monet's paintings (Kaggle's gan-getting-started).

    Returns: (paths, skipped): the photos, sorted, and {"file", "reason"} dicts for what was left out. Files of text,
        data or film (NO_PHOTOS) and the `._` files of a Mac are in neither.
    Raises: FileNotFoundError or ValueError if there is no photo.
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
        # os.walk does not enter these by itself; it could go round in circles.
        reasons |= {name: "linked folder; give its own path" for name in names if Path(root, name).is_symlink()}
        for name, reason in reasons.items():
            skip(Path(root, name), reason)
        names[:] = [name for name in names if name not in reasons]  # os.walk does not enter the others
        for path in (Path(root, name) for name in files if not name.startswith("._")):
            if (reason := _find_reason(path)) is None:
                paths.append(path)
            elif reason:
                skip(path, reason)
    if not paths:
        why = "; ".join(f"{entry['file']}: {entry['reason']}" for entry in skipped[:3])
        raise ValueError(
            f"No photo was found in {folder} ({len(skipped)} entries were skipped{': ' + why if why else ''}); "
            f"expected files ending in {', '.join(PHOTO_EXTENSIONS)}."
        )
    return sorted(paths, key=Path.as_posix), sorted(skipped, key=lambda entry: entry["file"])


def _find_reason(path):
    """Why a file is left out: a reason, "" for what nobody takes for a photo, None for a photo."""
    name = path.name.lower()
    if not name.endswith(PHOTO_EXTENSIONS):
        if name.startswith(".") or name.endswith(NO_PHOTOS):
            return ""
        if name.endswith((".heic", ".heif")):
            return NO_HEIC
        return f"its ending {path.suffix!r} is none of {', '.join(PHOTO_EXTENSIONS)}"
    if name.startswith("."):
        return "hidden file"
    if not path.exists():
        return "broken link"
    return "empty file" if path.stat().st_size == 0 else None


def sample_photos():
    """Sorted paths of the photos in the package; photos.csv beside them names authors and licences."""
    folder = Path(__file__).parents[1] / "sample_photos"
    return sorted(path for path in folder.iterdir() if path.suffix in PHOTO_EXTENSIONS)


def prepare_photos(
    paths,
    output_folder,
    image_size=256,
    validation_share=0.1,
    test_share=0.1,
    seed=SPLIT_SEED,
    limit=None,
    skipped=(),
    progress=True,
):
    """Write photos.npy, uint8 RGB (N, image_size, image_size, 3), and manifest.json; open them as a PhotoSet.

    Photos that cannot be read, have a side under 64 pixels or repeat another one's pixels are skipped with
    the reason, which is appended to `skipped` (usually what find_photos skipped). `limit` takes that many
    of the paths, drawn with `seed`; of two limits the smaller takes a part of what the larger takes. Records
    are in the order of their file names, relative to the folder that holds all paths.

    No group straddles splits: near duplicates, mirrored ones too, and crops that a photos.csv (columns
    file, original) beside them traces to one original. Test is `test_share` of all photos, validation
    `validation_share` of the rest, as nearly as whole groups allow; from three groups on, no split asked
    for is empty. Who is in which split depends on the photos' files and `seed` only, not on image_size, names,
    the order of `paths` or threads. Leave `seed` as it is, also where a training has another one: otherwise
    photos that one notebook tests with may be photos that another one trained on.

    `progress` draws a bar; None draws one in a terminal only, and none into a log file.

    Raises ValueError for fewer than 3 usable photos or a photos.csv that cannot be read, and OSError where it cannot
    write.
    """
    check_size(image_size)
    image_size = int(image_size)  # as the header of a .npy file has it
    if isinstance(paths, (str, Path)):
        raise ValueError(f"paths is {str(paths)!r}; expected a list of photos, such as find_photos({str(paths)!r})[0].")
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit!r}; expected a number of photos from 1 up, or None for all of them.")
    for name, share in (("validation_share", validation_share), ("test_share", test_share)):
        if not 0 <= share < 1:
            raise ValueError(f"{name} is {share!r}; expected a share from 0 to below 1, for example 0.1.")
    paths = sorted({Path(path) for path in paths}, key=Path.as_posix)
    names = _short_names(paths)
    if limit is not None and limit < len(paths):
        drawn = np.random.default_rng(seed).permutation(len(paths))[:limit]
        paths = [paths[i] for i in sorted(drawn)]
    read_originals(paths)  # one that cannot be read is told now, and not after all photos are decoded
    folder, skipped = Path(output_folder), list(skipped)
    part = None
    try:
        part = name_part(folder / "photos.npy")
        with part.open("wb") as file:
            kept, hashes, files, thumbnails = _decode_photos(paths, names, file, image_size, skipped, progress)
        if len(kept) < 3:
            why = ", ".join(f"{entry['file']}: {entry['reason']}" for entry in skipped[:3]) or "none skipped"
            raise ValueError(f"{len(kept)} of {len(paths)} photos are usable ({why}); give at least 3 different ones.")
        groups = group_photos(kept, files, np.stack(thumbnails))
        splits = deal_groups(groups, validation_share, test_share, seed)
        records = [
            {"file": names[path], "sha256": sha256, "file_sha256": file, "group": group, "split": splits[group]}
            for path, sha256, file, group in zip(kept, hashes, files, groups, strict=True)
        ]
        shares = {"validation_share": float(validation_share), "test_share": float(test_share)}
        manifest = {"image_size": image_size, "seed": int(seed), **shares, "records": records, "skipped": skipped}
        # The manifest says "complete": the old one goes before the array changes, the new one comes after.
        before = (folder / "manifest.json").read_bytes() if (folder / "manifest.json").is_file() else None
        (folder / "manifest.json").unlink(missing_ok=True)
        try:
            os.replace(part, folder / "photos.npy")
        except PermissionError:  # Windows replaces no file that is open
            if before is not None:
                write_atomically(folder / "manifest.json", before)
            raise
        # In ASCII: the name of a file from an old archive may hold bytes that are no UTF-8.
        write_atomically(folder / "manifest.json", json.dumps(manifest, indent=1))
    except OSError as error:
        raise OSError(
            f"{folder} cannot be written ({error.strerror or error}); choose another output folder, or close what has "
            "its photos open, such as a notebook."
        ) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)
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
        agree = agree and all(record["split"] in SPLITS and record["file"] for record in records)
    except Exception:  # a damaged file raises whatever its reader stumbles on
        agree = False
    if not agree:
        raise ValueError(f"{array} and {manifest.name} do not belong together; run prepare_photos again.")
    return PhotoSet(images, records, skipped)


def make_thumbnail(pixels):
    """What near duplicates are found by: uint8 or uint16 (H, W, 3) to uint8 (8, 8, 3).

    It goes over one fixed size, so it is nearly the same for a photo and for what is stored of it at any size.
    """
    small = np.rint(crop_and_resize(pixels, MIN_SIDE) * 255).astype(np.uint8)
    return cv2.resize(small, (8, 8), interpolation=cv2.INTER_AREA)


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
    """Write the usable photos to `file` in .npy format.

    Returns: lists with an entry a photo: its path, the hash of its pixels in this size, the hash of its file, and a
    thumbnail of 8x8 pixels. The last two are what the splits go by, so they do not depend on `size`.
    """

    def decode(path):
        try:
            pixels = read_pixels(path)
            height, width = pixels.shape[:2]
            if min(height, width) < MIN_SIDE:
                raise ValueError(f"{width}×{height} is smaller than {MIN_SIDE} px")
            content = path.read_bytes()
        except (FileNotFoundError, ValueError) as error:
            return str(error).rstrip("."), None
        photo = np.rint(crop_and_resize(pixels, size) * 255).astype(np.uint8)
        same = str(pixels.shape), hashlib.blake2b(np.ascontiguousarray(pixels)).digest()
        return None, (photo, _hash_pixels(photo), hashlib.sha256(content).hexdigest(), make_thumbnail(pixels), same)

    def write_header(count):  # numpy leaves room in it for a count that grows
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size, 3)}
        np.lib.format.write_array_header_1_0(file, header)
        return file.tell()

    places, kept, hashes, files, thumbnails, start = {}, [], [], [], [], write_header(0)
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(paths), unit="photo", disable=None if progress is None else not progress) as bar,
    ):
        for first in range(0, len(paths), 64):
            some = paths[first : first + 64]  # a few at a time: threads far ahead of the disk would fill the memory
            for path, (reason, decoded) in zip(some, pool.map(decode, some), strict=True):
                bar.update()
                if reason is not None:
                    skipped.append({"file": names[path], "reason": reason})
                    continue
                photo, sha256, file_sha256, thumbnail, same = decoded
                place = places.setdefault(same, len(kept))
                if place < len(kept):
                    skipped.append({"file": names[path], "reason": f"same pixels as {names[kept[place]]}"})
                    files[place] = min(files[place], file_sha256)  # whichever of the two is kept
                    continue
                file.write(photo.tobytes())
                for column, value in ((kept, path), (hashes, sha256), (files, file_sha256), (thumbnails, thumbnail)):
                    column.append(value)
    file.seek(0)
    if write_header(len(kept)) != start:
        raise RuntimeError("numpy changed the length of the .npy header; report this with numpy's version.")
    return kept, hashes, files, thumbnails
