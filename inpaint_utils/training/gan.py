"""The GAN: its loss, its throttle, its optimizer. Trained by stock `fit` on TensorFlow and JAX alike."""

import math

import keras
from keras import ops

from ..data.batches import decode_batch
from ..networks.models import SIZE_MULTIPLE
from ..networks.perceptual import compare_features, compare_textures

CHANCE = 0.6931  # −log ½: the discriminator's loss when it cannot tell a photo from a filled one
CELL = 8  # pixels, side of the squares over which `cells` averages
LEAST_HOLE = 0.05  # share of a patch's own cell that must be hole for the patch to count as filled
METRICS = (
    "generator_loss",  # all of the generator's terms, by their weights
    "discriminator_loss",  # mean of its cross-entropies on photos and on filled photos
    "adversarial",  # cross-entropy of "filled is a photo"
    "matching",  # distance of the discriminator's activations on filled and on photo
    "l1",  # mean |raw − photo|, weighted by hole_weight in the hole
    "colour",  # the same of the colour differences G − R and B − G
    "cells",  # mean |raw − photo| of colours averaged over 8×8 pixels of the hole
    "perceptual",  # VGG19 feature distance of filled and photo
    "style",  # VGG19 texture distance (Gram matrices) of filled and photo
    "distance",  # the generator's loss without adversarial and matching
    "visual_distance",  # perceptual and style, equal parts
    "hole_l1",  # mean |raw − photo| over hole pixels
    "duty",  # share of the steps on which the discriminator trained
)
PATCH_LABELS = ("hole", "all")
ACTIVATIONS = (keras.layers.LeakyReLU, keras.layers.ReLU, keras.layers.Activation)  # whose maps are matched


class InpaintingGAN(keras.Model):
    """Generator and discriminator trained together by one loss in stock `fit`.

        total = generator loss + trains_d · discriminator loss
        generator loss = adversarial_weight·adversarial + l1_weight·(L1 + colour_weight·colour)
                         + perceptual_weight·perceptual
                         + matching_weight·matching + cells_weight·(cells + colour_weight·colour of cells)
                         + style_weight·style

    The first two lines are pix2pix's loss (Isola et al. 2017, arXiv 1611.07004) with a perceptual term. The third is
    off unless weights are given: what clears the fog that L1 asks for in a large hole.

    The adversarial term sees the discriminator through stop-gradient copies of its weights, the discriminator
    sees the generator's picture through stop-gradient: each network learns from its own loss alone. Both judge
    the *filled* picture (kept pixels pasted back).

    The throttle: while the discriminator's loss of the step before is below `throttle_threshold` (chance is
    0.693), `trains_d` is 1 on one step of `throttle_every` and 0 on the others, and `ThrottledAdam` then
    leaves the discriminator's weights and moments as they are. `throttle_threshold=0` never throttles.

    Batches are dicts as `PhotoBatches` yields them. `call` returns the generator's raw picture.

    Args:
        generator, discriminator: from `build_generator` and `build_discriminator`. The discriminator is any functional
            or sequential Keras model from (B, H, W, 3) pictures, or (B, H, W, 4) with the hole as the fourth channel,
            to a map of logits; None where `adversarial_weight` and `matching_weight` are 0.
        perceptual: VGG19 features from `build_perceptual`, or None (then `perceptual_weight` and `style_weight` must
            be 0).
        adversarial_weight, l1_weight, perceptual_weight: weights of the three terms.
        hole_weight: how much more an L1 error counts inside the hole (1: a plain mean over the picture). Below 1, L1
            is mostly left to keep the kept pixels, and the other terms decide the hole.
        colour_weight: how much the L1 error of the colour differences G − R and B − G counts beside that of R, G and B
            (0: not at all). Most of an RGB error is lightness: without this, tints cost little.
        cells_weight: of the L1 error after averaging over cells of 8×8 hole pixels: colour and layout, without
            asking for the mean of all possible textures as L1 on pixels does.
        style_weight: of the relative L1 distance of VGG19's Gram matrices (Gatys et al. 2015, arXiv 1505.07376).
        matching_weight: of the distance of the discriminator's activations (Wang et al. 2017, arXiv 1711.11585).
        patch_labels: "hole": a patch of the filled picture is "filled" only where its cell meets the hole, and only
            these patches count, on photos too. "all": every patch of the filled picture is called "filled", also those
            that show nothing but the photo, as in pix2pix: its loss then cannot fall to 0.
        judged_size: int, pixels of the square around one hole pixel of each photo that the discriminator and VGG19
            see, in place of the whole picture (0). A quarter of the cost, and most of what is seen is hole.
        warm_up_steps: steps at the start in which only the discriminator trains.
        throttle_threshold: discriminator loss below which it is "too strong", 0 for no throttle.
        throttle_every: it then trains on one step in this many.

    Raises: ValueError if weights and networks contradict each other.
    """

    def __init__(
        self,
        generator,
        discriminator=None,
        perceptual=None,
        adversarial_weight=1.0,
        l1_weight=100.0,
        perceptual_weight=1.0,
        hole_weight=1.0,
        colour_weight=0.0,
        cells_weight=0.0,
        style_weight=0.0,
        matching_weight=0.0,
        patch_labels="hole",
        judged_size=0,
        warm_up_steps=0,
        throttle_threshold=0.5,
        throttle_every=3,
    ):
        super().__init__(name="inpainting_gan")
        if (perceptual is None) != (perceptual_weight == 0 == style_weight):
            raise ValueError(
                f"perceptual_weight is {perceptual_weight} and style_weight {style_weight}, but perceptual is "
                f"{perceptual}: pass the features of build_perceptual(...) with a weight above 0, or perceptual=None "
                "with perceptual_weight=0 and style_weight=0."
            )
        if (discriminator is None) != (adversarial_weight == 0 == matching_weight):
            raise ValueError(
                f"adversarial_weight is {adversarial_weight} and matching_weight {matching_weight}, but discriminator "
                f"is {discriminator}: a discriminator nobody listens to is not trained. Pass one with a weight above "
                "0, or discriminator=None with both weights 0."
            )
        if patch_labels not in PATCH_LABELS:
            raise ValueError(f"patch_labels is {patch_labels!r}, expected one of {PATCH_LABELS}.")
        side = judged_size and discriminator is not None and discriminator.input_shape[1]
        if side and side != judged_size:
            raise ValueError(
                f"judged_size is {judged_size}, but the discriminator takes pictures of {side} pixels only: build it "
                "with image_size=None, or of that size."
            )
        self.generator, self.discriminator, self.perceptual = generator, discriminator, perceptual
        self.adversarial_weight, self.l1_weight = adversarial_weight, l1_weight
        self.perceptual_weight, self.style_weight, self.matching_weight = (
            perceptual_weight,
            style_weight,
            matching_weight,
        )
        self.hole_weight, self.colour_weight, self.cells_weight = hole_weight, colour_weight, cells_weight
        self.patch_labels, self.judged_size, self.warm_up_steps = patch_labels, judged_size, warm_up_steps
        self.throttle_threshold, self.throttle_every = throttle_threshold, throttle_every
        if discriminator is not None:  # shares the discriminator's layers, and shows their activations, too
            maps = [layer.output for layer in discriminator.layers if isinstance(layer, ACTIVATIONS)]
            self.judge = keras.Model(discriminator.inputs, [*maps, discriminator.outputs[0]], name="judge")
        # Averaged over replicas when assigned, so that every replica takes the same decision from it.
        self.last_d_loss = self._state("last_d_loss", initial=CHANCE, aggregation="mean")
        self.step = self._state("step", initial=0, dtype="int32", aggregation="only_first_replica")
        self.trackers = {name: keras.metrics.Mean(name=name) for name in METRICS}
        self.built = True

    def _state(self, name, initial, dtype="float32", aggregation="mean"):
        start = keras.initializers.Constant(initial)
        return self.add_weight(
            shape=(), initializer=start, dtype=dtype, trainable=False, aggregation=aggregation, name=name
        )

    def compile(self, optimizer=None, **kwargs):
        """Keras's `compile`, which tells `ThrottledAdam` the discriminator's variables; None for `ThrottledAdam()`.

        Raises: ValueError for another optimizer where the discriminator is to pause or to begin alone.
        """
        optimizer = ThrottledAdam() if optimizer is None else keras.optimizers.get(optimizer)
        adam = getattr(optimizer, "inner_optimizer", optimizer)
        has_memory = not isinstance(adam, keras.optimizers.SGD) or adam.momentum
        if isinstance(adam, ThrottledAdam):
            own = self.discriminator.trainable_variables if self.discriminator is not None else []
            adam.discriminator_variables, adam.generator_pauses = list(own), self.warm_up_steps > 0
        elif has_memory and self.discriminator is not None and (self.throttle_threshold or self.warm_up_steps):
            raise ValueError(
                f"The optimizer is {adam.name}, whose momentum moves a network that pauses: pass "
                "ThrottledAdam(...), or build the GAN with throttle_threshold=0 and warm_up_steps=0."
            )
        super().compile(optimizer=optimizer, **kwargs)

    def fit(self, *args, shuffle=False, **kwargs):
        """Keras's `fit`, in the order of the batches: Keras's own shuffling would ask an unseeded random generator."""
        return super().fit(*args, shuffle=shuffle, **kwargs)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # Under a strategy Keras draws a batch to build a model from, adding up the replicas' shares; that fails where
        # they differ in size, and costs an epoch's first batches. Both networks are built: only the optimizer is not.
        if self.optimizer is not None and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)

    def call(self, batch, training=False):
        pictures = decode_batch(batch)[2]
        try:
            return self.generator(pictures, training=training)
        except (TypeError, ValueError) as error:
            height, width = pictures.shape[1:3]
            if not (height % SIZE_MULTIPLE or width % SIZE_MULTIPLE):
                raise
            raise ValueError(
                f"The generator cannot take photos of {height}×{width} pixels: height and width of photos, and "
                f"crop_size of PhotoBatches, must be multiples of {SIZE_MULTIPLE} for one of build_generator."
            ) from error

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        photo, mask, _ = decode_batch(x)
        raw, hole = ops.cast(y_pred, "float32"), 1 - mask
        filled = mask * photo + hole * raw
        values = self._compare_pixels(raw - photo, hole)

        if self.judged_size:
            if self.judged_size > (side := min(photo.shape[1:3])):
                raise ValueError(
                    f"judged_size is {self.judged_size}, but the photos have {side} pixels a side: choose at most as "
                    "many, or 0 for the whole picture."
                )
            square = find_square(x["focus"], ops.shape(photo), self.judged_size)
            filled, photo, hole = (cut_square(part, square) for part in (filled, photo, hole))
        nothing = ops.zeros_like(values["l1"])
        values |= dict.fromkeys(("perceptual", "style", "adversarial", "matching", "discriminator_loss"), nothing)
        if self.perceptual is not None:
            of_filled, of_photo = self.perceptual(filled), self.perceptual(ops.stop_gradient(photo))
            values["perceptual"] = compare_features(of_filled, of_photo)
            if self.style_weight:
                values["style"] = compare_textures(of_filled, of_photo)
        if self.discriminator is not None:
            values |= self._judge(filled, photo, hole, training)

        values["distance"] = (
            self.l1_weight * (values["l1"] + self.colour_weight * values["colour"])
            + self.cells_weight * (values["cells"] + self.colour_weight * values.pop("cell_colour"))
            + self.perceptual_weight * values["perceptual"]
            + self.style_weight * values["style"]
        )
        values["visual_distance"] = values["perceptual"] + values["style"]
        g_loss = values["generator_loss"] = (
            values["distance"]
            + self.adversarial_weight * values["adversarial"]
            + self.matching_weight * values["matching"]
        )
        trains_g = trains_d = 1.0
        if training:
            trains_g = ops.cast(ops.convert_to_tensor(self.step) >= self.warm_up_steps, "float32")
            trains_d = self._throttle(_batch_mean(values["discriminator_loss"]))
            self.trackers["duty"].update_state(trains_d)
        for name, value in values.items():
            self.trackers[name].update_state(value)
        return _batch_mean(trains_g * g_loss + trains_d * values["discriminator_loss"]) / _replicas()

    def _compare_pixels(self, difference, hole):
        """The terms that look at pixels. Every loss is one number a photo, (B,): what a photo costs does not depend on
        its batch mates or its replica."""
        error = ops.mean(ops.abs(difference), axis=-1, keepdims=True)
        tint = difference[..., 1:] - difference[..., :-1]
        tint_error = ops.mean(ops.abs(tint), axis=-1, keepdims=True)
        weight = 1 + (self.hole_weight - 1) * hole
        size = _photo_sums(hole) + 1e-6
        values = {
            "l1": _photo_sums(weight * error) / _photo_sums(weight),
            "colour": _photo_sums(weight * tint_error) / _photo_sums(weight),
            "hole_l1": _photo_sums(error * hole) / size,
        }
        for name, part in (("cells", difference), ("cell_colour", tint)):
            of_cells = ops.average_pool(part * hole, CELL, CELL, padding="valid")
            values[name] = CELL**2 * _photo_sums(ops.mean(ops.abs(of_cells), axis=-1, keepdims=True)) / size
        return values

    def _judge(self, filled, photo, hole, training):
        """The terms of the discriminator: its own loss, and what it tells the generator."""

        def see(picture):
            return ops.concatenate([picture, hole], axis=-1) if self.judge.input_shape[-1] == 4 else picture

        frozen = [ops.stop_gradient(variable) for variable in self.judge.trainable_variables]
        state = [ops.convert_to_tensor(variable) for variable in self.judge.non_trainable_variables]
        told = self.judge.stateless_call(frozen, state, see(filled), training=training)[0]
        on_photo = self.judge(see(photo), training=training)
        on_filled = self.judge(see(ops.stop_gradient(filled)), training=training)
        *maps_of_filled, judged = _as_list(told)
        *maps_of_photo, on_photo = _as_list(on_photo)
        on_filled = _as_list(on_filled)[-1]

        patches = ops.ones_like(judged)
        if self.patch_labels == "hole":
            patches = find_patches(hole, judged.shape)
        values = {
            "adversarial": _cross_entropy(judged, patches, photo_like=True),
            "discriminator_loss": (
                _cross_entropy(on_photo, patches, photo_like=True)
                + _cross_entropy(on_filled, patches, photo_like=False)
            )
            / 2,
        }
        if self.matching_weight:
            values["matching"] = compare_features(maps_of_filled, [ops.stop_gradient(part) for part in maps_of_photo])
        return values

    def _throttle(self, d_loss):
        """Decide whether the discriminator trains on this step (1.0 or 0.0), and remember its loss."""
        if self.discriminator is None:
            self.step.assign(self.step + 1)
            return 0.0
        too_strong = ops.convert_to_tensor(self.last_d_loss) < self.throttle_threshold
        its_turn = ops.equal(ops.mod(ops.convert_to_tensor(self.step), self.throttle_every), 0)
        self.last_d_loss.assign(ops.stop_gradient(d_loss))
        self.step.assign(self.step + 1)
        return ops.cast(ops.logical_or(ops.logical_not(too_strong), its_turn), "float32")


class ThrottledAdam(keras.optimizers.Adam):
    """Adam for both networks: the discriminator learns at `discriminator_ratio` × the rate, and can pause.

    Two time scales (TTUR): Heusel et al. 2017, arXiv 1706.08500; β₁ = 0.5: Radford et al. 2015, arXiv 1511.06434.

    A discriminator variable whose gradient is exactly zero everywhere was switched off by the throttle: its
    value and its moments are left bit for bit as they are (plain Adam would still move it by its momentum), and
    the step does not count in its bias correction. What it sees is plain Adam on the steps it trained. The same holds
    for the generator in a GAN with `warm_up_steps`.

    With `use_ema` the average of the weights forgets sooner at first: its momentum is (1 + n) / (10 + n) after n steps,
    until that reaches `ema_momentum`. Otherwise that of a short training would be little but its first weights.

    Args:
        learning_rate: of the generator; a schedule works too.
        discriminator_ratio: the discriminator's rate ÷ the generator's.
        discriminator_variables: list of the discriminator's trainable variables; `InpaintingGAN.compile` sets it.

    Raises: ValueError for `amsgrad` or `weight_decay`, which would touch a paused network, and when it is built without
        knowing the discriminator's variables, or with others.
    """

    def __init__(
        self,
        learning_rate=5e-5,
        discriminator_ratio=0.4,
        beta_1=0.5,
        discriminator_variables=None,
        **kwargs,
    ):
        super().__init__(learning_rate, beta_1=beta_1, **kwargs)
        if self.amsgrad or self.weight_decay:
            raise ValueError("ThrottledAdam has no amsgrad and no weight_decay: a paused network would still move.")
        self.discriminator_ratio, self.discriminator_variables = discriminator_ratio, discriminator_variables
        self.generator_pauses = False

    def __setattr__(self, name, value):
        if name == "discriminator_variables":  # Keras would take them for variables of the optimizer's own
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def build(self, var_list):
        if self.built:
            return
        if self.discriminator_variables is None:
            raise ValueError(
                "ThrottledAdam was not told which variables are the discriminator's: compile an InpaintingGAN with "
                "it, or pass discriminator_variables."
            )
        throttled = {id(variable) for variable in self.discriminator_variables}
        missing = throttled - {id(variable) for variable in var_list}
        if missing:
            raise ValueError(
                f"{len(missing)} of the discriminator's {len(throttled)} variables are not among the {len(var_list)} "
                "that ThrottledAdam trains: compile the InpaintingGAN that holds this discriminator with it."
            )
        super().build(var_list)
        self._throttled = {index for index, variable in enumerate(var_list) if id(variable) in throttled}
        self._updates = {  # how often each variable that may pause was updated, for its own bias correction
            index: self.add_variable((), "zeros", "float32", name=f"updates_{index}")
            for index in range(len(var_list))
            if index in self._throttled or self.generator_pauses
        }

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        if index not in self._updates:
            super().update_step(gradient, variable, learning_rate)
            return
        momentum, velocity, updates = self._momentums[index], self._velocities[index], self._updates[index]
        parts, gradient = (variable, momentum, velocity, updates), ops.cast(gradient, "float32")
        trained = ops.any(ops.not_equal(gradient, 0))
        steps = updates + 1
        correction = ops.sqrt(1 - ops.power(self.beta_2, steps)) / (1 - ops.power(self.beta_1, steps))
        mean = momentum + (gradient - momentum) * (1 - self.beta_1)
        square = velocity + (ops.square(gradient) - velocity) * (1 - self.beta_2)
        rate = learning_rate * (self.discriminator_ratio if index in self._throttled else 1)
        step = rate * correction * mean / (ops.sqrt(square) + self.epsilon)
        # Values are selected, not branches: `assign` inside a `cond` fails under MirroredStrategy.
        chosen = [
            ops.where(trained, value, ops.convert_to_tensor(part))
            for part, value in zip(parts, (variable - step, mean, square, steps), strict=True)
        ]
        for part, value in zip(parts, chosen, strict=True):
            self.assign(part, value)

    def _update_model_variables_moving_average(self, trainable_variables):
        if not self.use_ema:
            return
        steps = ops.cast(self.iterations, "float32")
        momentum = ops.minimum((1 + steps) / (10 + steps), self.ema_momentum)
        momentum = ops.where(steps > 0, momentum, 0)
        for variable, average in zip(trainable_variables, self._model_variables_moving_average, strict=True):
            average.assign(momentum * average + (1 - momentum) * variable)

    def get_config(self):
        return {**super().get_config(), "discriminator_ratio": self.discriminator_ratio}


def _cross_entropy(logits, patches, photo_like):
    """Each photo's binary cross-entropy, over its `patches`, against "a photo" (True) or "filled" (False): (B,)."""
    errors = ops.softplus(-logits if photo_like else logits)
    return _photo_sums(patches * errors) / (_photo_sums(patches) + 1e-6)


def find_patches(hole, shape):
    """The patches of a map of logits, `shape`, whose own cell meets the hole: 1 or 0, of that shape.

    A cell is as large as the discriminator's stride, and the map lies in the middle of the picture: a PatchGAN's does.
    """
    stride = 2 ** int(math.log2(min(hole.shape[axis] / shape[axis] for axis in (1, 2))))
    share = ops.average_pool(hole, stride, stride, padding="valid") if stride > 1 else hole
    top, left = ((share.shape[axis] - shape[axis]) // 2 for axis in (1, 2))
    return ops.cast(share[:, top : top + shape[1], left : left + shape[2]] > LEAST_HOLE, "float32")


def find_square(focus, shape, size):
    """Where a square of `size` pixels around each focus (B, 2) lies in the flattened pixels of (B, H, W, C) pictures.

    It is moved into the picture where it would reach beyond a side. Returns: int32 (B, size, size).
    """
    count, height, width = shape[:3]
    steps = ops.arange(size, dtype="int32")
    first = [ops.clip(focus[:, axis] - size // 2, 0, length - size) for axis, length in enumerate((height, width))]
    rows = first[0][:, None] + steps + height * ops.arange(count, dtype="int32")[:, None]
    columns = first[1][:, None] + steps
    return rows[:, :, None] * width + columns[:, None, :]


def cut_square(pictures, square):
    """The squares of (B, H, W, C) pictures that `find_square` found: (B, size, size, C)."""
    channels = pictures.shape[-1]
    return ops.take(ops.reshape(pictures, (-1, channels)), square, axis=0)


def _as_list(outputs):
    return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]


def _photo_sums(pixels):
    return ops.sum(pixels, axis=(1, 2, 3))


def _batch_mean(values):
    """Mean over the batch; 0 where a replica got no photo of it (a validation batch smaller than the replicas)."""
    return ops.sum(values) / ops.cast(ops.maximum(ops.shape(values)[0], 1), "float32")


def _replicas():
    """Replicas in sync under a TensorFlow strategy, which sums their gradients; 1 elsewhere."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync
