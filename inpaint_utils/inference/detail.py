"""Detail for a filled hole, laid out of patches that the same photo kept: what grass, rock and leaves look like here.

A generator knows structure and colour, and leaves out what it can't know: a blade of grass more to the left. The photo
is split into two bands. The coarse one comes from the generator. The fine one, the residual, is sewn together from kept
patches whose colours fit the generator's, whose residual continues what lies around the hole, and which are as lively
as the surroundings, so that a flat sky stays flat. The seams run where two patches differ least.

Contextual residual aggregation: Yi et al. 2020, arXiv 2005.09704. Image quilting: Efros and Freeman 2001, "Image
quilting for texture synthesis and transfer". Patches guided by another picture: Granot et al. 2021, arXiv 2103.15545.
"""

import cv2
import numpy as np

SMALLEST_PATCH, LARGEST_PATCH = 4, 96  # pixels a side
MOST_CANDIDATES = 3000  # patches to choose from, a random sample of the kept ones
PATCH_SHARE = 0.25  # of the hole's thickness, a patch's side
COMPARED_SIDE = 32  # pixels a side of a patch that are compared
FINALISTS = 12  # and of these also the patches a pixel to the side
SHORT_LIST = 32  # of them are compared with what lies beside the patch already
SPLIT_SHARE = 0.3  # of a patch's side, the sigma in pixels of the blur that leaves what the generator decides
FOG_SIGMA = 2.5  # pixels that the generator saw; it knows nothing finer
OWN_WEIGHT = 0.25  # what the generator's own fine band counts in the choice of a patch, kept pixels counting 1
LIVELINESS_WEIGHT, FAR_WEIGHT, AGAIN_WEIGHT = 0.5, 0.004, 0.003
LINE_SIGMA = 1.5  # pixels over which the detail begins beside a drawn line
SEAM_SIGMA = 0.7  # pixels over which two patches are blended along their seam


def add_detail(image, answer, keep, source=None, lines=None, scale=1.0, seed=0):
    """Lay the photo's own fine detail onto an answer that lacks it.

    Args:
        image: float32 (H, W, 3) RGB in [0, 1]; what it holds in the hole does not matter.
        answer: float32 (H, W, 3), the generator's picture; only its hole part is used, and of that only what is coarse.
        keep: bool (H, W), False in the hole.
        source: bool (H, W), True where patches may be copied from; None for all kept pixels.
        lines: bool (H, W), True where a line was drawn for the generator; around it the answer stays; None for none.
        scale: float, how many pixels of the photo the generator saw as one.
        seed: int or a sequence of ints; another seed samples other patches.

    Returns: float32 (H, W, 3): the image where it is kept; in the hole the answer's coarse band with the photo's fine
    one, and the answer as it is where nothing can be copied.
    """
    hole = ~keep
    source = keep if source is None else source & keep
    both = np.where(keep[..., np.newaxis], image, answer).astype(np.float32)
    size = _choose_patch_size(hole)
    if not hole.any() or min(keep.shape) < SMALLEST_PATCH:
        return both
    coarse = _blur(both, max(SPLIT_SHARE * size, FOG_SIGMA * scale))
    residual = both - coarse
    sewn, done = np.where(keep[..., np.newaxis], residual, 0), keep.copy()
    rng = np.random.default_rng(seed)
    while size >= SMALLEST_PATCH and not done.all():
        _quilt(coarse, residual, keep, source, sewn, done, size, rng)
        size //= 2
    filled = np.clip(np.add(coarse, sewn, out=coarse), 0, 1, out=coarse)
    if lines is not None and (lines & hole).any():
        around = cv2.dilate((lines & hole).view(np.uint8), np.ones((5, 5), np.uint8), iterations=max(1, round(scale)))
        share = _blur(around.astype(np.float32), LINE_SIGMA * scale)[..., np.newaxis]
        filled += np.minimum(2 * share, 1) * (both - filled)
    np.copyto(both, filled, where=(hole & done)[..., np.newaxis])
    return both


def _choose_patch_size(hole):
    """An even number of pixels: the thicker the hole, the larger its patches."""
    framed = cv2.copyMakeBorder(hole.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    thickness = 2 * float(cv2.distanceTransform(framed, cv2.DIST_L2, 3).max())
    return 2 * round(min(max(thickness * PATCH_SHARE, 16), LARGEST_PATCH, min(hole.shape)) / 2)


def _blur(picture, sigma):
    """A Gaussian blur; a wide one is computed on a shrunk picture."""
    height, width = picture.shape[:2]
    factor = min(int(sigma / 3), height, width)
    if factor < 2:
        return cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    small = cv2.resize(picture, (-(-width // factor), -(-height // factor)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / factor, borderType=cv2.BORDER_REFLECT)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def _quilt(coarse, residual, keep, source, sewn, done, size, rng):
    """Sew patches of `size` pixels over what is not done yet, from the border of the hole inwards; changes the last
    two arrays."""
    height, width = keep.shape
    if min(height, width) < size:
        return
    hidden = cv2.boxFilter((~source).astype(np.float32), -1, (size, size), **_CORNER)
    free = hidden[: height - size + 1, : width - size + 1] < 0.5 / size**2
    from_y, from_x = np.nonzero(free)
    if not len(from_y):
        return
    if len(from_y) > MOST_CANDIDATES:
        some = np.sort(rng.choice(len(from_y), MOST_CANDIDATES, replace=False))
        from_y, from_x = from_y[some], from_x[some]
    to_y, to_x = _plan_patches(keep, done, size, rng)
    costs = _compare(coarse, residual, keep, source, (to_y, to_x), (from_y, from_x), size)
    used = np.zeros(len(from_y), np.float32)
    short = min(SHORT_LIST, len(from_y))
    planes = np.ascontiguousarray(np.moveaxis(residual, -1, 0))
    patches = np.lib.stride_tricks.sliding_window_view(planes, (size, size), axis=(1, 2))
    step = size // COMPARED_SIDE or 1
    patches = patches[..., ::step, ::step]
    for cost, y, x in zip(costs, to_y, to_x, strict=True):
        here = (slice(y, y + size), slice(x, x + size))
        known = done[here]
        if known.all():
            continue
        beside, known, old = known & ~keep[here], known.astype(np.float32), np.moveaxis(sewn[here], -1, 0)
        cost = cost + AGAIN_WEIGHT * size**2 * used
        best = np.argpartition(cost, short - 1)[:short]
        if beside.any():
            gaps = _measure_gaps(patches, from_y[best], from_x[best], old, beside.astype(np.float32))
            best = best[np.argsort(cost[best] + gaps, kind="stable")]
        else:
            best = best[np.argsort(cost[best], kind="stable")]
        # The sample holds one patch in five: see whether a pixel to the side fits better what lies around.
        best = best[:FINALISTS]
        start_y, start_x = (
            np.add.outer(start[best], step).ravel() for start, step in zip((from_y, from_x), _STEPS, strict=True)
        )
        inside = (start_y >= 0) & (start_y < len(free)) & (start_x >= 0) & (start_x < free.shape[1])
        inside[inside] = free[start_y[inside], start_x[inside]]
        start_y, start_x, base = start_y[inside], start_x[inside], np.repeat(cost[best], len(_STEPS[0]))[inside]
        chosen = int((base + _measure_gaps(patches, start_y, start_x, old, known)).argmin())
        start_y, start_x = start_y[chosen], start_x[chosen]
        used += np.maximum(np.abs(from_y - start_y), np.abs(from_x - start_x)) < size // 2
        new = residual[start_y : start_y + size, start_x : start_x + size]
        old = sewn[here]
        share = (known == 0).astype(np.float32)
        if beside.any():
            share = _cut_seam(np.square(new - old).sum(axis=-1) * known, done[here], beside)
            share[keep[here]] = 0
        old += share[..., np.newaxis] * (new - old)
        done[here] = True


def _measure_gaps(patches, y, x, old, weights):
    """Weighted squared differences between the patches at (y, x) and what lies there, (3, size, size): float32 (n,).

    Of a large patch every second or third pixel a side is compared, and counts for those beside it.
    """
    step = old.shape[-1] // COMPARED_SIDE or 1
    gaps = patches[:, y, x]
    gaps -= old[:, np.newaxis, ::step, ::step]
    gaps *= gaps
    return gaps.sum(axis=0).reshape(len(y), -1) @ (step**2 * weights[::step, ::step].ravel())


_STEPS = tuple(part.ravel() for part in np.meshgrid([0, -1, 1], [0, -1, 1], indexing="ij"))
_CORNER = dict(anchor=(0, 0), borderType=cv2.BORDER_REFLECT)  # a mean stands at its window's upper left pixel


def _plan_patches(keep, done, size, rng):
    """Upper left corners of the patches that cover all that is not done, half overlapping, outermost first."""
    starts = [np.minimum(np.arange(0, n - size + size // 2, size // 2), n - size) for n in keep.shape]
    y, x = (part.ravel() for part in np.meshgrid(*starts, indexing="ij"))
    total = cv2.integral((~done).view(np.uint8))
    open_pixels = total[y + size, x + size] - total[y, x + size] - total[y + size, x] + total[y, x]
    y, x = y[open_pixels > 0], x[open_pixels > 0]
    depth = cv2.distanceTransform((~keep).view(np.uint8), cv2.DIST_L2, 3)
    order = np.argsort(depth[y + size // 2, x + size // 2] + 0.01 * rng.random(len(y)), kind="stable")
    return y[order], x[order]


def _compare(coarse, residual, keep, source, to, candidates, size):
    """What speaks against each candidate for each patch, float32 (patches, candidates), in squares of colour values.

    Coarse colours must agree everywhere, residuals where the patch lies on kept pixels, and less where the generator
    drew them. A candidate must be about as lively as what is kept around, and it had better be near.
    """

    def sample(plane, corners, cell):
        """Means over cells of the windows at these corners: (windows, size // cell, size // cell, channels)."""
        plane = cv2.boxFilter(plane, -1, (cell, cell), **_CORNER) if cell > 1 else plane
        y, x = (part[:, np.newaxis, np.newaxis] for part in corners)
        steps = np.arange(size // cell) * cell
        return plane[y + steps[:, np.newaxis], x + steps]

    cell = max(1, size // 4)
    ours, theirs = (sample(coarse, corners, cell).reshape(len(corners[0]), -1) for corners in (to, candidates))
    costs = np.square(ours).sum(axis=1)[:, np.newaxis] + np.square(theirs).sum(axis=1) - 2 * ours @ theirs.T
    costs *= cell**2

    cell = max(1, size // 8)
    weights = np.where(sample(keep.astype(np.float32), to, cell) > 0.99, np.float32(1), np.float32(OWN_WEIGHT))
    ours, theirs = sample(residual, to, cell), sample(residual, candidates, cell)
    squares = [np.square(part).sum(axis=-1).reshape(len(part), -1) for part in (ours, theirs)]
    ours = (ours * weights[..., np.newaxis]).reshape(len(ours), -1)
    weights, theirs = weights.reshape(len(ours), -1), theirs.reshape(len(theirs), -1)
    alone = np.einsum("ij,ij->i", weights, squares[0])[:, np.newaxis]
    costs += cell**2 * (weights @ squares[1].T - 2 * ours @ theirs.T + alone)

    # Square roots: a little life counts for much in a flat sky, and one lively thing does not outweigh it.
    cell = max(1, size // 4)
    lively = sum(np.abs(plane) for plane in np.moveaxis(residual, -1, 0))  # a plane at a time, for the sake of memory
    lively, known = np.sqrt(_blur(lively * source, 1.5)), source.astype(np.float32)
    around = sum(_blur(lively * known, size * reach) for reach in (0.5, 1.5))
    around /= np.maximum(sum(_blur(known, size * reach) for reach in (0.5, 1.5)), 1e-6)
    ours, theirs = (sample(part, corners, cell) for part, corners in ((around, to), (lively, candidates)))
    ours, theirs = ours.reshape(len(ours), -1), theirs.reshape(len(theirs), -1)
    difference = np.square(ours).sum(axis=1)[:, np.newaxis] + np.square(theirs).sum(axis=1) - 2 * ours @ theirs.T
    costs += LIVELINESS_WEIGHT * cell**2 * difference

    far = np.hypot(*(a[:, np.newaxis] - b for a, b in zip(to, candidates, strict=True)))
    return costs + (FAR_WEIGHT * size**2 / max(keep.shape)) * far.astype(np.float32)


def _cut_seam(gap, known, sewn):
    """How much of a new patch to take, float32 (size, size): 1 inside, 0 beyond the seams with what lies there.

    gap: (size, size), squared difference between the two. known: where something lies already; sewn: where that is no
    kept pixel. From each side with sewn pixels, if most of it is known, a seam of least difference (Efros and Freeman
    2001) is cut through the half of the patch next to it.
    """
    take = np.ones(gap.shape, bool)
    turned = [tuple(_turn(part, side) for part in (gap, known, sewn, take)) for side in range(4)]
    sides = [parts for parts in turned if parts[2].any() and 2 * np.count_nonzero(parts[1][:, 0]) > len(gap)]
    if sides:
        seams = find_seams(np.stack([gap for gap, *_ in sides]))
        for (*_, part), seam in zip(sides, seams, strict=True):
            part &= np.arange(part.shape[1]) >= seam[:, np.newaxis]
    take = (take | ~known).astype(np.float32)
    share = cv2.GaussianBlur(take, (0, 0), SEAM_SIGMA, borderType=cv2.BORDER_REPLICATE)
    return np.where(known, share, 1)


def _turn(patch, side):
    """A view of a patch's left, top, right or bottom half, its outer side turned to the left, as np.rot90 turns it."""
    turned = (patch, patch.T[::-1], patch[::-1, ::-1], patch.T[:, ::-1])[side]
    return turned[:, : len(patch) // 2]


def find_seams(gaps):
    """The column at which the cheapest way from the first to the last row crosses each row, by dynamic programming.

    gaps: (seams, rows, columns). Returns: int (seams, rows).
    """
    count, rows, columns = gaps.shape
    total = np.full((rows, count, columns + 2), np.inf, gaps.dtype)
    total[..., 1:-1] = np.moveaxis(gaps, 1, 0)
    for above, row in zip(total[:-1], total[1:], strict=True):
        row[:, 1:-1] += np.minimum(np.minimum(above[:, :-2], above[:, 1:-1]), above[:, 2:])
    # The step to the column before, the same or the next, from each column of the row below.
    steps = np.stack([total[:-1, :, :-2], total[:-1, :, 1:-1], total[:-1, :, 2:]]).argmin(axis=0) - 1
    seams, every = np.empty((rows, count), np.int64), np.arange(count)
    seams[-1] = total[-1, :, 1:-1].argmin(axis=-1)
    for row in range(rows - 2, -1, -1):
        seams[row] = seams[row + 1] + steps[row, every, seams[row + 1]]
    return seams.T
