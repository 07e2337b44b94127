"""The GAN: its loss, its throttle, its optimizer. Trained by stock `fit` on TensorFlow and JAX alike."""

import keras
from keras import ops

from ..networks.perceptual import perceptual_distance

CHANCE = 0.6931  # −log ½: the discriminator's loss when it cannot tell a photo from a filled one
METRICS = (
    "generator_loss",  # adversarial, l1, colour and perceptual, by their weights
    "discriminator_loss",  # mean of its cross-entropies on photos and on filled photos
    "adversarial",  # cross-entropy of "filled is a photo"
    "l1",  # mean |raw − photo|, weighted by hole_weight in the hole
    "colour",  # the same of the colour differences G − R and B − G
    "perceptual",  # VGG19 feature distance of filled and photo
    "hole_l1",  # mean |raw − photo| over hole pixels
    "duty",  # share of the steps on which the discriminator trained
)


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
    kept = ops.maximum(photo, 1 / 255) * mask  # all-zero pixels mean "hole": black photo pixels are lifted by 1/255
    return photo, mask, ops.concatenate([kept, edges], axis=-1)


class InpaintingGAN(keras.Model):
    """Generator and discriminator trained together by one loss in stock `fit`.

        total = generator loss + trains_d · discriminator loss
        generator loss = adversarial_weight·adversarial + l1_weight·(L1 + colour_weight·colour)
                         + perceptual_weight·perceptual

    The adversarial term sees the discriminator through stop-gradient copies of its weights, the discriminator
    sees the generator's picture through stop-gradient: each network learns from its own loss alone. Both judge
    the *filled* picture (kept pixels pasted back). Adversarial + 100·L1: Isola et al. 2017, arXiv 1611.07004.

    The throttle: while the discriminator's loss of the step before is below `throttle_threshold` (chance is
    0.693), `trains_d` is 1 on one step of `throttle_every` and 0 on the others, and `ThrottledAdam` then
    leaves the discriminator's weights and moments as they are. `throttle_threshold=0` never throttles.

    Batches are dicts as `PhotoBatches` yields them. `call` returns the generator's raw picture.

    Args:
        generator, discriminator: from `build_generator` and `build_discriminator`.
        perceptual: VGG19 features from `build_perceptual`, or None (then perceptual_weight must be 0).
        adversarial_weight, l1_weight, perceptual_weight: weights of the three terms.
        hole_weight: how much more an L1 error counts inside the hole (1: a plain mean over the picture).
        colour_weight: how much the L1 error of the colour differences G − R and B − G counts beside that of R, G and B
            (0: not at all). Most of an RGB error is lightness: without this, tints cost little.
        throttle_threshold: discriminator loss below which it is "too strong", 0 for no throttle.
        throttle_every: it then trains on one step in this many.

    Raises: ValueError if the perceptual weight and model contradict each other.
    """

    def __init__(
        self,
        generator,
        discriminator,
        perceptual=None,
        adversarial_weight=1.0,
        l1_weight=100.0,
        perceptual_weight=1.0,
        hole_weight=1.0,
        colour_weight=0.0,
        throttle_threshold=0.5,
        throttle_every=3,
    ):
        super().__init__(name="inpainting_gan")
        if (perceptual is None) != (perceptual_weight == 0):
            raise ValueError(
                f"perceptual_weight is {perceptual_weight} but perceptual is {perceptual}: pass the features of "
                "build_perceptual(...) with a weight above 0, or perceptual=None with perceptual_weight=0."
            )
        self.generator, self.discriminator, self.perceptual = generator, discriminator, perceptual
        self.adversarial_weight, self.l1_weight = adversarial_weight, l1_weight
        self.perceptual_weight, self.hole_weight, self.colour_weight = perceptual_weight, hole_weight, colour_weight
        self.throttle_threshold, self.throttle_every = throttle_threshold, throttle_every
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
        return self.generator(decode_batch(batch)[2], training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        photo, mask, _ = decode_batch(x)
        raw, hole = ops.cast(y_pred, "float32"), 1 - mask
        filled = mask * photo + hole * raw

        # Every loss is one number a photo: what a photo costs does not depend on its batch mates or its replica.
        difference = raw - photo
        error = ops.mean(ops.abs(difference), axis=-1, keepdims=True)
        colour_error = ops.mean(ops.abs(difference[..., 1:] - difference[..., :-1]), axis=-1, keepdims=True)
        weight = 1 + (self.hole_weight - 1) * hole
        l1 = _photo_sums(weight * error) / _photo_sums(weight)
        colour = _photo_sums(weight * colour_error) / _photo_sums(weight)
        hole_l1 = _photo_sums(error * hole) / (_photo_sums(hole) + 1e-6)

        frozen = [ops.stop_gradient(variable) for variable in self.discriminator.trainable_variables]
        state = [ops.convert_to_tensor(variable) for variable in self.discriminator.non_trainable_variables]
        judged, _ = self.discriminator.stateless_call(frozen, state, filled, training=training)
        adversarial = _cross_entropy(judged, photo_like=True)
        perceptual = ops.zeros_like(l1)
        if self.perceptual is not None:
            perceptual = perceptual_distance(self.perceptual, filled, photo)
        g_loss = self.adversarial_weight * adversarial + self.l1_weight * (l1 + self.colour_weight * colour)
        g_loss = g_loss + self.perceptual_weight * perceptual

        on_photo = self.discriminator(photo, training=training)
        on_filled = self.discriminator(ops.stop_gradient(filled), training=training)
        d_loss = (_cross_entropy(on_photo, photo_like=True) + _cross_entropy(on_filled, photo_like=False)) / 2

        trains_d = 1.0
        if training:
            trains_d = self._throttle(_batch_mean(d_loss))
            self.trackers["duty"].update_state(trains_d)
        values = (g_loss, d_loss, adversarial, l1, colour, perceptual, hole_l1)
        for name, value in zip(METRICS, values, strict=False):  # all but the duty cycle
            self.trackers[name].update_state(value)
        return _batch_mean(g_loss + trains_d * d_loss) / _replicas()

    def _throttle(self, d_loss):
        """Decide whether the discriminator trains on this step (1.0 or 0.0), and remember its loss."""
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
    the step does not count in its bias correction. What it sees is plain Adam on the steps it trained.

    Args:
        learning_rate: of the generator; a schedule works too.
        discriminator_ratio: the discriminator's rate ÷ the generator's.
        discriminator_prefix: start of the names of the discriminator's layers.

    Raises: ValueError for `amsgrad` or `weight_decay`, which would touch a paused network.
    """

    def __init__(
        self,
        learning_rate=5e-5,
        discriminator_ratio=0.4,
        beta_1=0.5,
        discriminator_prefix="discriminator",
        **kwargs,
    ):
        super().__init__(learning_rate, beta_1=beta_1, **kwargs)
        if self.amsgrad or self.weight_decay:
            raise ValueError("ThrottledAdam has no amsgrad and no weight_decay: a paused network would still move.")
        self.discriminator_ratio, self.discriminator_prefix = discriminator_ratio, discriminator_prefix

    def build(self, var_list):
        if self.built:
            return
        super().build(var_list)
        self._updates = {  # how often each discriminator variable was updated, for its own bias correction
            index: self.add_variable((), "zeros", "float32", name=f"updates_{index}")
            for index, variable in enumerate(var_list)
            if variable.path.startswith(self.discriminator_prefix)
        }

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        if index not in self._updates:
            super().update_step(gradient, variable, learning_rate)
            return
        momentum, velocity, updates = self._momentums[index], self._velocities[index], self._updates[index]
        places, gradient = (variable, momentum, velocity, updates), ops.cast(gradient, "float32")
        trained = ops.any(ops.not_equal(gradient, 0))
        steps = updates + 1
        correction = ops.sqrt(1 - ops.power(self.beta_2, steps)) / (1 - ops.power(self.beta_1, steps))
        mean = momentum + (gradient - momentum) * (1 - self.beta_1)
        square = velocity + (ops.square(gradient) - velocity) * (1 - self.beta_2)
        step = learning_rate * self.discriminator_ratio * correction * mean / (ops.sqrt(square) + self.epsilon)
        # Values are selected, not branches: `assign` inside a `cond` fails under MirroredStrategy.
        chosen = [
            ops.where(trained, value, ops.convert_to_tensor(place))
            for place, value in zip(places, (variable - step, mean, square, steps), strict=True)
        ]
        for place, value in zip(places, chosen, strict=True):
            self.assign(place, value)

    def get_config(self):
        own = {name: getattr(self, name) for name in ("discriminator_ratio", "discriminator_prefix")}
        return {**super().get_config(), **own}


def _cross_entropy(logits, photo_like):
    """Each photo's binary cross-entropy of its logits against "a photo" (True) or "filled" (False): (B,)."""
    return ops.mean(ops.softplus(-logits if photo_like else logits), axis=(1, 2, 3))


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
