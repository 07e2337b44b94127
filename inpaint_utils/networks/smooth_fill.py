"""The smooth fill that a generator starts from: colours of the hole's rim, laid into it from coarse to fine."""

from functools import partial

from keras import layers, ops

LEVELS = 7  # halvings, as many as the generator has: at 128 pixels the coarsest cell is the whole picture
# rim_only: only kept pixels beside the hole count. full_trust: a cell of which 1 / full_trust counts is filled from
# itself alone. relaxations: 3×3 means a level. Both trained with: docs/TRAINING_STORY.md; "smooth" alone, without any
# training: docs/RESULTS_ANALYSIS.md.
FILLS = {
    "smooth": dict(rim_only=True, full_trust=64, relaxations=2),
    "pull_push": dict(rim_only=False, full_trust=16, relaxations=0),
}


def fill_smoothly(rgb, keep, method="smooth"):
    """Fill the hole with a weighted average of its surroundings, nearer pixels first; kept pixels stay.

    Pull: average colour and weight over ever larger cells. Push: from the coarsest cell down, a cell takes its own
    average where it holds enough kept pixels, and what the cell above has where it does not.
    Gortler et al. 1996, "The Lumigraph", section 3.4.2. "smooth" pulls from the kept pixels at the hole's rim alone and
    takes a few means of the neighbours at every level, as Jacobi's method does, so that it comes near the
    harmonic fill, which solves Laplace's equation in the hole; "pull_push" averages all kept pixels of a cell, far
    ones too. In float32 whatever the precision of the network: bfloat16 has no more levels than a byte.

    Args:
        rgb: (B, H, W, 3), 0 in the hole. keep: (B, H, W, 1), 1 kept, 0 hole. method: "smooth" or "pull_push".

    Returns: (B, H, W, 3); a picture without a single kept pixel comes back black.
    """
    mean = partial(layers.AveragePooling2D, 3, strides=1, padding="same", dtype="float32")
    known, full_trust, relaxations = keep, FILLS[method]["full_trust"], FILLS[method]["relaxations"]
    if FILLS[method]["rim_only"]:
        near_a_hole = layers.MaxPooling2D(3, strides=1, padding="same", dtype="float32", name="fill_rim")(1 - keep)
        known = keep * near_a_hole
    colours, weights = [rgb * known], [known]
    for level in range(1, LEVELS + 1):
        colours.append(layers.AveragePooling2D(2, dtype="float32", name=f"fill_colour_{level}")(colours[-1]))
        weights.append(layers.AveragePooling2D(2, dtype="float32", name=f"fill_weight_{level}")(weights[-1]))
    whole = [ops.mean(part, axis=(1, 2), keepdims=True) for part in (colours[0], weights[0])]
    filled = whole[0] / (whole[1] + 1e-7)
    for level, (colour, weight) in enumerate(zip(reversed(colours), reversed(weights), strict=True)):
        trust = ops.minimum(weight * full_trust, 1.0)
        own, rest = trust * colour / (weight + 1e-7), 1 - trust
        if level:
            # Nearest, then a 3×3 mean: all but bilinear, which Keras cannot resize to a size unknown when traced.
            filled = layers.UpSampling2D(2, dtype="float32", name=f"fill_resize_{level}")(filled)
            filled = mean(name=f"fill_mean_{level}")(filled)
            for step in range(1, relaxations + 1):
                filled = mean(name=f"fill_relax_{level}_{step}")(own + rest * filled)
        filled = own + rest * filled
    return keep * rgb + (1 - keep) * filled
