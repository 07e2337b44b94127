"""Training batches: photos with masks and edges drawn on the fly, every random choice from one seed."""

import math

import keras
import numpy as np
from keras import ops

from .edges import combine_edges, detect_edges
from .masks import MASK_KINDS, create_mask

DARKEST = 1 / 255  # kept pixels are lifted to this: all-zero pixels mean "hole"


def decode_batch(batch):
    """Turn a uint8 batch into the networks' floats, on the device: a quarter of the bytes travel.

    Args:
        batch: dict of uint8 tensors: "photo" (B, H, W, 3) RGB, "mask" (B, H, W, 1) 1 keep / 0 hole, "edges"
            (B, H, W, 1) 0 none / 1 unknown / 2 edge.

    Returns: photo and mask as float32 in [0, 1], and the generator's input (B, H, W, 4).
    """
    photo = ops.cast(batch["photo"], "float32") / 255
    mask = ops.cast(batch["mask"], "float32")
    edges = ops.cast(batch["edges"], "float32") / 2
    kept = ops.maximum(photo, DARKEST) * mask
    return photo, mask, ops.concatenate([kept, edges], axis=-1)


class PhotoBatches(keras.utils.PyDataset):
    """Batches for `fit`: `({"photo", "mask", "edges", "focus"},)`; the first three uint8, as `decode_batch` reads them.

    "focus" is int32 (B, 2): row and column of one hole pixel of each photo, chosen at random, for losses that look at
    the surroundings of one place.

    What a sample looks like depends on (seed, epoch, place in the epoch) alone: not on threads, the backend, or
    where a resumed training started. Each epoch shows every photo once, in a new order with new masks; with
    `fixed=True` (validation) every epoch is the same. A last, incomplete batch is left out, so that every
    batch can be shared equally among replicas.

    Args:
        photos: uint8 (N, H, W, 3) RGB, e.g. `PhotoSet.images` (memory-mapped).
        indices: which of them; None for all.
        batch_size: samples a batch, at most the number of photos.
        seed: int.
        fixed: the same masks in every epoch, in the photos' order, no flips.
        coverage: (least, most) share of a photo that is removed.
        mask_kind: "brush", "box" or "mixed".
        guidance: share of samples whose hole shows the true edges; the other holes are blind (unknown).
        flip: mirror half of the photos left to right.
        crop_size: int, side in pixels of the square cut at a random place out of every photo, at the photo's own
            resolution; 0 for whole photos. With `fixed` photos stay whole.
        samples: int, how many an epoch shows: fewer than there are photos, or more, each time another crop with another
            mask; 0 for every photo once.
        workers: threads that prepare batches ahead.
        share: (number, count), for a training over several processes: this one draws the part `number` of `count`
            of every batch; `batch_size` stays the whole batch's.

    Raises: ValueError if photos are not uint8, if there are fewer than one batch needs, if there is no such share, or
        for indices, coverage, mask_kind, samples, seed and crop_size outside of these.
    """

    def __init__(
        self,
        photos,
        indices=None,
        batch_size=8,
        seed=0,
        fixed=False,
        coverage=(0.1, 0.5),
        mask_kind="mixed",
        guidance=0.5,
        flip=True,
        crop_size=0,
        samples=0,
        workers=2,
        share=(0, 1),
    ):
        super().__init__(workers=workers)
        kind = getattr(photos, "dtype", type(photos).__name__)
        if kind != np.uint8:
            raise ValueError(
                f"photos are {kind}, expected a uint8 array of values from 0 to 255: multiply photos in [0, 1] by 255, "
                'round them, and use astype("uint8").'
            )
        self.photos = photos
        self.indices = np.arange(len(photos)) if indices is None else np.asarray(indices)
        if not 1 <= batch_size <= len(self.indices):
            raise ValueError(
                f"batch_size is {batch_size} but there are {len(self.indices)} photos: use fewer samples a batch, "
                "or more photos."
            )
        strange = [i for i in self.indices.tolist() if type(i) is not int or not 0 <= i < len(photos)]
        if strange:
            raise ValueError(f"indices hold {strange[0]}, expected whole numbers from 0 to {len(photos) - 1}.")
        in_order = np.shape(coverage) == (2,) and 0 < coverage[0] <= coverage[1] < 1
        for name, value, fine, expected in (
            ("coverage", coverage, in_order, "(least, most) between 0 and 1"),
            ("mask_kind", mask_kind, mask_kind in MASK_KINDS, f"one of {', '.join(MASK_KINDS)}"),
            (
                "samples",
                samples,
                samples == 0 or samples >= batch_size,
                f"0 (every photo once) or at least {batch_size}",
            ),
            ("seed", seed, seed >= 0, "0 or more"),
        ):
            if not fine:
                raise ValueError(f"{name} is {value!r}, expected {expected}.")
        smallest = min(photos.shape[1:3])
        if crop_size > smallest or crop_size < 0:
            raise ValueError(
                f"crop_size is {crop_size}, expected 0 (whole photos) to {smallest}, the photos' own side."
            )
        number, count = share
        if not 0 <= number < count or batch_size % count:
            raise ValueError(
                f"share is {share} of a batch of {batch_size}, expected (number, count) with a number from 0 to "
                "count - 1 and a batch_size that count divides."
            )
        self.batch_size, self.share, self.seed, self.fixed = batch_size, share, seed, fixed
        self.coverage, self.mask_kind = coverage, mask_kind
        self.guidance, self.flip = guidance, flip
        self.crop_size, self.samples = crop_size, samples or len(self.indices)
        self.start_epoch(0)

    def __len__(self):
        return self.samples // self.batch_size

    def on_epoch_begin(self):
        self.used = True

    def on_epoch_end(self):
        # Not in on_epoch_begin: Keras calls that after its threads have begun to draw the new epoch's batches.
        if self.used:
            self.start_epoch(self.epoch + 1)

    def start_epoch(self, epoch):
        """Go to an epoch, counted from 0. `fit` goes on by itself; `Resume` says where it starts."""
        self.epoch, self.used = 0 if self.fixed else epoch, False
        order = np.random.default_rng([self.seed, self.epoch])
        passes = range(math.ceil(self.samples / len(self.indices)))
        self.order = np.concatenate([self.indices if self.fixed else order.permutation(self.indices) for _ in passes])

    def __getitem__(self, batch):
        number, count = self.share
        own = self.batch_size // count
        first = batch * self.batch_size + number * own
        samples = [self.draw_sample(place) for place in range(first, first + own)]
        return ({name: np.stack([sample[name] for sample in samples]) for name in samples[0]},)

    def draw_sample(self, place):
        """One sample: {"photo" (H, W, 3), "mask" (H, W, 1), "edges" (H, W, 1)}, uint8, and "focus" (2,), int32."""
        draw = np.random.default_rng([self.seed, self.epoch, place])
        photo = np.asarray(self.photos[self.order[place]])
        flipped, guided = draw.random() < 0.5, draw.random() < self.guidance
        if self.flip and flipped and not self.fixed:
            photo = photo[:, ::-1]
        if self.crop_size and not self.fixed:
            top, left = (int(draw.integers(length - self.crop_size + 1)) for length in photo.shape[:2])
            photo = photo[top : top + self.crop_size, left : left + self.crop_size]
        mask_seed = int(draw.integers(2**62))
        mask = create_mask(photo.shape, draw.uniform(*self.coverage), seed=mask_seed, kind=self.mask_kind)
        removed = np.flatnonzero(mask == 0)
        focus = np.unravel_index(removed[draw.integers(len(removed))], mask.shape[:2])
        image = photo.astype(np.float32) / 255
        edges = combine_edges(image, mask, detect_edges(image) if guided else None)
        return {
            "photo": np.ascontiguousarray(photo),
            "mask": mask.astype(np.uint8),
            "edges": (edges * 2).astype(np.uint8),
            "focus": np.array(focus, np.int32),
        }
