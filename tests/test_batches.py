"""Batches: the same samples from the same seed wherever and however they are drawn, and no hole that leaks."""

import time

import keras
import numpy as np
import pytest
from tiny import make_photos

from inpaint_utils.data.batches import PhotoBatches

PHOTOS = make_photos(12, 64)


def parts(batches, number=0):
    return batches[number][0]


def same(one, other):
    return all(np.array_equal(one[name], other[name]) for name in ("photo", "mask", "edges", "focus"))


def test_a_batch_is_uint8_with_masks_of_0_and_1_and_edges_of_0_1_and_2():
    batch = parts(PhotoBatches(PHOTOS, batch_size=8, guidance=0.5))
    assert {name: (part.shape, part.dtype) for name, part in batch.items()} == {
        "photo": ((8, 64, 64, 3), np.uint8),
        "mask": ((8, 64, 64, 1), np.uint8),
        "edges": ((8, 64, 64, 1), np.uint8),
        "focus": ((8, 2), np.int32),
    }
    assert set(np.unique(batch["mask"])) == {0, 1} and set(np.unique(batch["edges"])) <= {0, 1, 2}


def test_a_sample_depends_on_seed_epoch_and_place_alone():
    one, other = PhotoBatches(PHOTOS, batch_size=4, seed=3), PhotoBatches(PHOTOS, batch_size=4, seed=3)
    one.start_epoch(5)
    for epoch in range(5):
        other.start_epoch(epoch)
        parts(other, 1)
    other.start_epoch(5)
    assert same(parts(one, 2), parts(other, 2)) and same(parts(one, 2), parts(one, 2))
    for changed in (PhotoBatches(PHOTOS, batch_size=4, seed=4), other):
        changed.start_epoch(6)
        assert not same(parts(one, 2), parts(changed, 2))


def test_the_batch_size_changes_no_sample():
    small, large = PhotoBatches(PHOTOS, batch_size=2), PhotoBatches(PHOTOS, batch_size=6)
    together = [np.concatenate([parts(small, number)["photo"] for number in (3, 4, 5)])]
    assert np.array_equal(together[0], parts(large, 1)["photo"])


def test_every_epoch_shows_every_photo_once_in_another_order():
    marked = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.ones((1, 32, 32, 3), np.uint8)
    batches, orders = PhotoBatches(marked, batch_size=4), []
    for epoch in range(3):
        batches.start_epoch(epoch)
        orders.append([int(value) for number in range(3) for value in parts(batches, number)["photo"][:, 0, 0, 0]])
    assert all(sorted(order) == list(range(12)) for order in orders) and len(set(map(tuple, orders))) == 3


def test_only_chosen_photos_are_shown_and_an_incomplete_batch_left_out():
    batches = PhotoBatches(PHOTOS, indices=[1, 3, 5, 7, 9], batch_size=2, flip=False)
    assert len(batches) == 2
    shown = [photo for number in range(2) for photo in parts(batches, number)["photo"]]
    assert all(any(np.array_equal(photo, PHOTOS[index]) for index in (1, 3, 5, 7, 9)) for photo in shown)


def test_fixed_batches_never_change_and_keep_order_and_direction():
    batches = PhotoBatches(PHOTOS, batch_size=6, fixed=True)
    before = parts(batches, 1)
    batches.on_epoch_begin()
    batches.on_epoch_end()
    assert same(before, parts(batches, 1)) and np.array_equal(before["photo"], PHOTOS[6:])


def test_about_half_of_the_photos_are_mirrored():
    mirrored = 0
    for epoch in range(20):
        batches = PhotoBatches(PHOTOS, batch_size=12, seed=1)
        batches.start_epoch(epoch)
        for photo, source in zip(parts(batches)["photo"], batches.order, strict=True):
            mirrored += np.array_equal(photo, PHOTOS[source][:, ::-1])
    assert 90 < mirrored < 150  # of 240


def test_a_blind_batch_holds_nothing_of_the_pixels_under_the_hole():
    blind = {"batch_size": 6, "guidance": 0, "fixed": True, "coverage": (0.3, 0.3)}
    before = parts(PhotoBatches(PHOTOS, **blind))
    others = PHOTOS.copy()
    hole = np.broadcast_to(before["mask"] == 0, before["photo"].shape)
    others[:6][hole] = np.random.default_rng(0).integers(0, 256, hole.sum())
    after = parts(PhotoBatches(others, **blind))
    assert np.array_equal(before["mask"], after["mask"]) and np.array_equal(before["edges"], after["edges"])
    assert (before["edges"][before["mask"] == 0] == 1).all()  # unknown


@pytest.mark.parametrize(("guidance", "least", "most"), [(0.0, 0, 0), (1.0, 120, 120), (0.5, 40, 80)])
def test_guidance_is_the_share_of_samples_that_show_true_edges_in_the_hole(guidance, least, most):
    known = 0
    for epoch in range(10):
        batches = PhotoBatches(PHOTOS, batch_size=12, guidance=guidance)
        batches.start_epoch(epoch)
        batch = parts(batches)
        known += sum((edges[mask == 0] != 1).all() for edges, mask in zip(batch["edges"], batch["mask"], strict=True))
    assert least <= known <= most


def test_coverage_keeps_to_its_range():
    batch = parts(PhotoBatches(PHOTOS, batch_size=12, coverage=(0.2, 0.25)))
    shares = 1 - batch["mask"].mean(axis=(1, 2, 3))
    assert shares.min() > 0.199 and shares.max() < 0.251 and shares.std() > 0.001


@pytest.mark.parametrize(("batch_size", "count"), [(13, 12), (0, 12), (1, 0)])
def test_a_batch_size_that_the_photos_cannot_fill_is_refused(batch_size, count):
    with pytest.raises(ValueError, match=f"batch_size is {batch_size} but there are {count} photos"):
        PhotoBatches(PHOTOS[:count], batch_size=batch_size)


def test_processes_that_share_batches_draw_together_what_one_would_draw():
    whole = PhotoBatches(PHOTOS, batch_size=6, seed=2)
    shares = [PhotoBatches(PHOTOS, batch_size=6, seed=2, share=(number, 3)) for number in range(3)]
    assert [len(share) for share in shares] == [len(whole)] * 3
    for name in ("photo", "mask", "edges", "focus"):
        together = np.concatenate([parts(share, 1)[name] for share in shares])
        assert np.array_equal(together, parts(whole, 1)[name])


@pytest.mark.parametrize("share", [(0, 4), (3, 3), (-1, 2)])
def test_a_share_that_cannot_be_is_refused(share):
    with pytest.raises(ValueError, match="share is"):
        PhotoBatches(PHOTOS, batch_size=6, share=share)


class Counting(keras.Model):
    """Trains nothing; its history says which batches `fit` fed it."""

    def __init__(self):
        super().__init__()
        self.weight = self.add_weight(shape=())
        self.tracker = keras.metrics.Mean(name="seen")
        self.built = True

    def call(self, batch):
        return self.weight * keras.ops.cast(batch["mask"], "float32")

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        first = keras.ops.cast(x["photo"], "float32") * (1 + keras.ops.cast(x["mask"], "float32"))
        self.tracker.update_state(keras.ops.mean(first))
        return keras.ops.mean(y_pred) * 0


class SlowToBegin(PhotoBatches):
    """Keras's threads draw batches already while `on_epoch_begin` runs: here they have time to."""

    def on_epoch_begin(self):
        time.sleep(0.1)
        super().on_epoch_begin()


def test_fit_sees_the_samples_of_its_epochs_whatever_its_threads_do():
    batches = SlowToBegin(PHOTOS, batch_size=2, seed=9, workers=4)
    model = Counting()
    model.compile(optimizer="sgd")
    seen = model.fit(batches, epochs=6, verbose=0, validation_data=PhotoBatches(PHOTOS, batch_size=4, fixed=True))
    expected = []
    for epoch in range(6):
        batches.start_epoch(epoch)
        drawn = [parts(batches, number) for number in range(len(batches))]
        expected.append(np.mean([(batch["photo"] * (1.0 + batch["mask"])).mean() for batch in drawn]))
    assert seen.history["seen"] == pytest.approx(expected, rel=1e-5)
    assert np.ptp(expected) > 1e-3 * expected[0]


def test_focus_is_a_hole_pixel_chosen_anew_for_every_sample():
    batches, places = PhotoBatches(PHOTOS, batch_size=12), set()
    for epoch in range(3):
        batches.start_epoch(epoch)
        batch = parts(batches)
        assert batch["focus"].dtype == np.int32
        for mask, (row, column) in zip(batch["mask"], batch["focus"], strict=True):
            assert mask[row, column] == 0
            places.add((int(row), int(column)))
    assert len(places) > 30


def test_crops_are_the_photos_own_pixels_at_random_places():
    marked = np.arange(64, dtype=np.uint8)[:, None, None] * np.ones((1, 64, 3), np.uint8)  # a pixel tells its row
    batches = PhotoBatches(np.stack([marked] * 12), batch_size=12, crop_size=32)
    photos = parts(batches)["photo"]
    assert photos.shape == (12, 32, 32, 3)
    tops = photos[:, 0, 0, 0]
    assert len(set(tops)) > 6 and (photos[:, :, 0, 0] == tops[:, None] + np.arange(32)).all()


def test_fixed_batches_show_whole_photos():
    assert parts(PhotoBatches(PHOTOS, batch_size=4, crop_size=32, fixed=True))["photo"].shape[1:3] == (64, 64)


@pytest.mark.parametrize("crop_size", [65, -1])
def test_a_crop_larger_than_the_photos_is_refused(crop_size):
    with pytest.raises(ValueError, match=f"crop_size is {crop_size}, expected 0 .* to 64"):
        PhotoBatches(PHOTOS, crop_size=crop_size)


@pytest.mark.parametrize(("samples", "times"), [(4, {0, 1}), (30, {2, 3})])
def test_samples_says_how_many_an_epoch_shows(samples, times):
    marked = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.ones((1, 32, 32, 3), np.uint8)
    batches = PhotoBatches(marked, batch_size=2, samples=samples)
    assert len(batches) == samples // 2
    shown = [int(value) for number in range(len(batches)) for value in parts(batches, number)["photo"][:, 0, 0, 0]]
    assert len(shown) == samples and {shown.count(value) for value in range(12)} == times
    assert not same(parts(batches, 0), parts(batches, len(batches) - 1))


@pytest.mark.parametrize("photos", [make_photos(4) / np.float32(255), make_photos(4).astype(int), list(make_photos(4))])
def test_photos_that_are_not_uint8_are_refused(photos):
    with pytest.raises(ValueError, match="expected a uint8 array"):
        PhotoBatches(photos, batch_size=2)


@pytest.mark.parametrize(
    ("name", "value"),
    [("indices", [0, 5]), ("indices", [-1, 0]), ("indices", [True, False]), ("coverage", (0.5, 0.1)), ("coverage", 0.3)]
    + [("coverage", (0, 0.5)), ("mask_kind", "other"), ("samples", -1), ("samples", 1), ("seed", -1)],
)
def test_what_no_batch_can_be_drawn_with_is_named_at_once(name, value):
    with pytest.raises(ValueError, match=f"^{name} (is|hold) .*, expected "):
        PhotoBatches(np.zeros((5, 32, 32, 3), np.uint8), batch_size=2, **{name: value})
