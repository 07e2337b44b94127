"""Detail for a filled hole, copied from what the same photo kept: what grass, rock and leaves look like here.

A generator knows structure and colour, and leaves out what it can't know: a blade of grass more to the left. So every
small patch over the hole looks for a kept patch that is like the generator's answer there, and the hole is painted anew
with what was found, a few times. A thick hole is painted on shrunken pictures first, where a patch covers a whole bush.
A patch should be as lively as the surroundings of the hole, or fog would only find fog. At last the coarse colours go
back to the generator's.

Nearest patches: Barnes et al. 2009, "PatchMatch". Painting from them, coarse to fine: Wexler et al. 2007, "Space-time
completion of video". Patches guided by another picture: Granot et al. 2021, arXiv 2103.15545. That a patch must not be
duller than its surroundings is an idea of the library pypatchmatch.
"""

import math

import cv2
import numpy as np

PATCH = 9  # pixels a side
NUMBERS = 48  # that describe a patch: its principal components
CANDIDATES = 5000  # kept patches to start from, a random sample
THIN = 40  # pixels of thickness up to which a hole is painted at its own size only; twice that, at half the size first
TURNS = 3  # of looking and painting, at each size
BLOCK = 6  # pixels that the patches of a block reach over, at the smallest size
AGAIN_WEIGHT = 0.1  # what taking the same block again counts, in parts of the usual difference
NEIGHBOUR_BIAS = 1.2  # how much more a patch may differ that lies beside the neighbour's patch
MOST_PATCHES = 30_000  # over a hole, at most about; over a larger one they lie further apart
MOST_PIXELS = 600_000  # of a picture in which patches are looked for; to a larger one they are only taken over
LIVELINESS_WEIGHT, LIVELINESS_SHARE = 6.0, 0.9  # of a patch duller than this share of its surroundings
LIVELINESS_REACH = 16  # pixels into the hole after which that counts half: the surroundings are far
GUIDE_WEIGHT = 12.0  # what the generator's mean colour over a patch counts deep in the hole; less near its border
CHOICE = 12.0  # how much the most similar of the patches over a pixel counts more than the next
COARSE_SIGMA = 12.0  # pixels that the generator saw, of the blur that leaves what it decides
FLAT = 0.025  # change of colour from pixel to pixel below which a place is flat, and gets the coarse colours alone
SURE = 0.999  # share of a shrunken pixel from which it counts as whole
CALM_SIGMA = 3.0  # pixels that the generator saw, of the blur that leaves them
LINE_SIGMA = 1.5  # pixels over which the detail begins beside a drawn line


def add_detail(image, answer, keep, source=None, lines=None, scale=1.0, seed=0):
    """Lay the photo's own fine detail onto an answer that lacks it.

    Args:
        image: float32 (H, W, 3) RGB in [0, 1]; what it holds in the hole does not matter.
        answer: float32 (H, W, 3), the generator's picture; only its hole part is used.
        keep: bool (H, W), False in the hole.
        source: bool (H, W), True where patches may be copied from; None for all kept pixels.
        lines: bool (H, W), True where a line was drawn for the generator; around it the answer stays; None for none.
        scale: float, how many pixels of the photo the generator saw as one.
        seed: int or a sequence of ints; another seed finds other patches.

    Returns: float32 (H, W, 3): the image where it is kept; in the hole patches of it in the answer's coarse colours,
    and the answer as it is where nothing can be copied.
    """
    hole = ~keep
    source = keep if source is None else source & keep
    both = np.where(keep[..., np.newaxis], image, answer).astype(np.float32)
    if not hole.any():
        return both
    rng = np.random.default_rng(seed)
    sizes = [
        [max(1, round(length / 2**level)) for length in keep.shape] for level in range(_count_levels(hole, scale) + 1)
    ]
    # Of a large picture everything but its pixels is measured in the largest size in which patches are looked for.
    middle = next((level for level, size in enumerate(sizes) if math.prod(size) <= MOST_PIXELS), len(sizes) - 1)
    scale_there = scale / 2**middle
    before, inside, known = (_shrink(part, sizes[middle]).copy() for part in (both, hole, source))
    lively, expected = _measure_liveliness(before, known > SURE)
    depth = cv2.distanceTransform(np.pad(inside > 0.5, 1, mode="edge").view(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    trust = 1 / (1 + depth / (LIVELINESS_REACH * scale_there))
    last = None
    for level in range(len(sizes) - 1, -1, -1):
        parts = [both, hole, source]
        if level >= middle:
            parts = [before.copy() if level else both, inside, known, lively, expected, trust]
        canvas = Canvas(*(_shrink(part, sizes[level]) for part in parts), rng=rng)
        if canvas.is_empty() or (last is None and level < middle):
            continue
        if last is None:
            canvas.start(in_blocks=level > 0)
        else:
            canvas.take_over(last)
        if level >= middle:
            canvas.paint(search=level == middle)
        last = canvas
    if last is None or last.picture is not both:
        return np.where(keep[..., np.newaxis], image, answer).astype(np.float32)
    # The generator's coarse colours, up to the very border: kept pixels do not count.
    painted, inside = _shrink(both, sizes[middle]), inside > 0.5
    change = _blur_within(inside, before - painted, COARSE_SIGMA * scale_there)
    flat = (1 - np.clip(expected * scale_there / FLAT - 1, 0, 1))[..., np.newaxis]
    change += flat * (_blur_within(inside, before, CALM_SIGMA * scale_there) - painted - change)
    both += hole[..., np.newaxis] * cv2.resize(change, both.shape[1::-1])
    np.clip(both, 0, 1, out=both)
    if lines is not None and (lines & hole).any():
        around = cv2.dilate((lines & hole).view(np.uint8), np.ones((5, 5), np.uint8), iterations=max(1, round(scale)))
        share = np.minimum(2 * _blur(around.astype(np.float32), LINE_SIGMA * scale), 1) * hole
        both += share[..., np.newaxis] * np.where(hole[..., np.newaxis], answer - both, 0)
    return both


def _count_levels(hole, scale):
    """How often the picture is halved first: the thicker the hole, the more often."""
    framed = cv2.copyMakeBorder(hole.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    thickness = 2 * float(cv2.distanceTransform(framed, cv2.DIST_L2, 3).max())
    levels = max(0, round(math.log2(thickness / THIN)), math.ceil(math.log2(scale)))
    return min(levels, int(math.log2(max(1, min(hole.shape) / (2 * PATCH)))))


def _shrink(plane, size):
    plane = plane.astype(np.float32, copy=False)
    return plane if plane.shape[:2] == tuple(size) else cv2.resize(plane, size[::-1], interpolation=cv2.INTER_AREA)


def _blur(picture, sigma):
    """A Gaussian blur; a wide one is computed on a shrunk picture."""
    height, width = picture.shape[:2]
    factor = min(int(sigma / 3), height, width)
    if factor < 2:
        return cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    small = cv2.resize(picture, (-(-width // factor), -(-height // factor)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / factor, borderType=cv2.BORDER_REFLECT)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def _blur_within(region, picture, sigma):
    """A Gaussian blur over the pixels of a region (H, W) alone, of whose colours it is the mean."""
    share = region.astype(np.float32)[..., np.newaxis]
    return _blur(share * picture, sigma) / np.maximum(_blur(share, sigma), 1e-6).reshape(share.shape)


def _measure_liveliness(picture, source):
    """How much the colours change from pixel to pixel: where the source is, and what that lets one expect elsewhere.

    Returns: two float32 (H, W).
    """
    across = np.array([[-0.5, 0, 0.5]], np.float32)
    change = sum(np.abs(cv2.filter2D(picture, -1, kernel)).sum(axis=-1) for kernel in (across, across.T))
    known = cv2.erode(source.view(np.uint8), np.ones((3, 3), np.uint8), borderValue=1).astype(np.float32)
    lively = cv2.blur(change * known, (5, 5)) / np.maximum(cv2.blur(known, (5, 5)), 1e-6) * source
    expected, total = np.zeros_like(lively), np.full_like(lively, 1e-12)
    for sigma in (3, 8, 20, 60):  # what is near counts most
        weight = 0.05 ** (sigma / 8)
        expected += weight * _blur(lively, sigma)
        total += weight * _blur(source.astype(np.float32), sigma)
    return lively, np.where(source, lively, expected / total)


class Canvas:
    """A picture of one size whose hole is painted with patches of what it kept.

    A patch is known by its upper left pixel. `rows` and `columns` are those of the patches over the hole that are
    looked after, and `y` and `x` those of the kept patches that they were given.

    Args:
        picture: float32 (H, W, 3), the generator's answer in the hole; it is painted on.
        hole, source: float32 (H, W), shares of each pixel that are to paint, and that may be copied.
        lively, expected, trust: float32 (H, W): how lively the source is, how lively the hole ought to be, and how
            near kept pixels are, from 1 down: the nearer, the more does that count, and the less the answer's colour.
            None for a picture to which patches are only taken over.
        rng: a NumPy generator.
    """

    def __init__(self, picture, hole, source, lively=None, expected=None, trust=None, *, rng):
        self.picture, self.rng, self.kept = picture, rng, None
        self.hole = hole > 0.5
        self.rows = np.empty(0, int)
        if min(hole.shape) < PATCH:
            return
        self.shape = tuple(length - PATCH + 1 for length in hole.shape)  # of all patches
        square, corner = np.ones((PATCH, PATCH), np.uint8), dict(anchor=(0, 0), borderValue=0)
        free = cv2.erode(((source > SURE) & ~self.hole).view(np.uint8), square, **corner)
        over = cv2.dilate(self.hole.view(np.uint8), square, **corner)
        self.free, self.over = (part[: self.shape[0], : self.shape[1]] > 0 for part in (free, over))
        thinned = math.isqrt(max(self.free.size // MOST_PIXELS, 1))
        self.free_y, self.free_x = (part * thinned for part in np.nonzero(self.free[::thinned, ::thinned]))
        if not len(self.free_y):
            return
        count = np.count_nonzero(self.over)
        self.step = next(step for step in (2, 3, 4) if step == 4 or count <= MOST_PATCHES * step**2)
        looked_after = np.zeros_like(self.over)
        looked_after[np.ix_(*(np.append(np.arange(0, n - 1, self.step), n - 1) for n in self.shape))] = True
        self.rows, self.columns = np.nonzero(self.over & looked_after)
        self.number = np.full(self.shape, -1, np.int32)
        self.number[self.rows, self.columns] = np.arange(len(self.rows))
        if lively is not None:
            self.guide = cv2.blur(picture, (PATCH, PATCH), borderType=cv2.BORDER_REFLECT)
            self.lively, expected, trust = (self._at_centres(part) for part in (lively, expected, trust))
            self.wanted = np.float32(LIVELINESS_SHARE) * expected
            self.weight = np.float32(LIVELINESS_WEIGHT * PATCH**2) * trust
            self.guided = np.sqrt(np.maximum(1 - trust, 0))[self.rows, self.columns, np.newaxis]

    def is_empty(self):
        return not len(self.rows)

    def start(self, in_blocks):
        """Give every patch over the hole the most similar of a sample of the kept ones, alone or in blocks."""
        self._describe_source()
        self._describe_hole()
        if in_blocks and self._lay_blocks():
            return
        y, x = self._sample(self.free_y, self.free_x)
        theirs = self.kept[y, x]
        halves, theirs = np.square(theirs).sum(axis=1) / 2, np.ascontiguousarray(theirs.T)
        best = [(halves - self.ours[i : i + 256] @ theirs).argmin(axis=1) for i in range(0, len(self.ours), 256)]
        best = np.concatenate(best)
        self.y, self.x = y[best], x[best]

    def take_over(self, coarse):
        """Start from the patches that were found in a smaller picture, and paint with them."""
        half = PATCH // 2
        factors = [a / b for a, b in zip(self.hole.shape, coarse.hole.shape, strict=True)]
        places = zip((self.rows, self.columns), factors, coarse.shape, strict=True)
        y, x = (np.clip(((part + half) / f).astype(int) - half, 0, n - 1) // coarse.step for part, f, n in places)
        found = coarse.number[y * coarse.step, x * coarse.step]
        self.y = self.rows + np.rint((coarse.y - coarse.rows)[found] * factors[0]).astype(int)
        self.x = self.columns + np.rint((coarse.x - coarse.columns)[found] * factors[1]).astype(int)
        good = self._replace_strangers(found >= 0)
        self.gaps = np.where(good, 1, 1e6).astype(np.float32)
        self._vote()

    def paint(self, search):
        """Look for better patches and paint the hole with them, a few times.

        search: whether to look in the whole picture, too, and not only beside the neighbours' patches.
        """
        if self.kept is None:
            self._describe_source()
        for _ in range(TURNS):
            self._describe_hole()
            self.gaps = self._measure(self.y, self.x, np.arange(len(self.rows)))
            for _ in range(2):
                self._ask_neighbours()
                if search:
                    self._look_around()
            self._vote()

    def _at_centres(self, plane):
        """The part of an (H, W) plane that has the middle pixel of each patch."""
        half = PATCH // 2
        return plane[half : half + self.shape[0], half : half + self.shape[1]]

    def _sample(self, *arrays):
        some = self.rng.choice(len(arrays[0]), min(CANDIDATES, len(arrays[0])), replace=False)
        return [array[some] for array in arrays]

    def _replace_strangers(self, known=True):
        """Give another kept patch at random to those whose (y, x) is none, or not `known`; returns which were fine."""
        good = self._is_free(self.y, self.x) & known
        some = self.rng.integers(0, len(self.free_y), np.count_nonzero(~good))
        self.y[~good], self.x[~good] = self.free_y[some], self.free_x[some]
        return good

    def _is_free(self, y, x):
        good = (y >= 0) & (x >= 0) & (y < self.shape[0]) & (x < self.shape[1])
        good[good] = self.free[y[good], x[good]]
        return good

    def _cut_windows(self):
        """A view of all patches: their colours, and the changes of their lightness to the next pixels."""
        light = self.picture.mean(axis=-1)
        changes = [np.diff(light, axis=axis, append=light.take([-1], axis)) for axis in (0, 1)]
        planes = np.dstack([self.picture, *changes])
        return np.lib.stride_tricks.sliding_window_view(planes, (PATCH, PATCH), axis=(0, 1))

    def _describe_source(self):
        """Find the principal components of the kept patches, and describe all patches by them and by their guide."""
        windows = self._cut_windows()
        some = self.rng.choice(len(self.free_y), min(2000, len(self.free_y)), replace=False)
        sample = windows[self.free_y[some], self.free_x[some]].reshape(len(some), -1)
        self.centre = sample.mean(axis=0)
        sample = sample - self.centre
        self.basis = np.ascontiguousarray(np.linalg.eigh(sample.T @ sample)[1][:, -NUMBERS:])
        self.kept = np.empty((*self.shape, NUMBERS + 3), np.float32)
        self.kept[..., NUMBERS:] = self._at_centres(self.guide) * np.float32(PATCH * GUIDE_WEIGHT**0.5)
        for start in range(0, len(self.kept), 16):  # few at a time, for the sake of memory
            rows = windows[start : start + 16]
            described = (rows.reshape(-1, self.centre.size) - self.centre) @ self.basis
            self.kept[start : start + 16, :, :NUMBERS] = described.reshape(*rows.shape[:2], -1)

    def _describe(self, y, x):
        """The numbers of patches as they look now: (n, NUMBERS + 3)."""
        windows, described = self._cut_windows(), self._look_up(y, x)
        for start in range(0, len(y), 1024):
            part = slice(start, start + 1024)
            flat = windows[y[part], x[part]].reshape(-1, self.centre.size)
            described[part, :NUMBERS] = (flat - self.centre) @ self.basis
        return described

    def _look_up(self, y, x):
        """The numbers of patches as they were at first, a copy: `self.kept[y, x]`, but faster."""
        return self.kept.reshape(-1, NUMBERS + 3).take(y * self.shape[1] + x, axis=0)

    def _describe_hole(self):
        self.ours = self._describe(self.rows, self.columns)

    def _measure(self, y, x, which):
        """How badly kept patches fit in place of those `which` over the hole."""
        rows, columns = self.rows[which], self.columns[which]
        difference = self._look_up(y, x)
        difference -= self.ours.take(which, axis=0)
        difference[:, NUMBERS:] *= self.guided[which]
        dull = np.maximum(self.wanted[rows, columns] - self.lively[y, x], 0)
        return np.einsum("ij,ij->i", difference, difference) + self.weight[rows, columns] * np.square(dull)

    def _lay_blocks(self):
        """Cover the hole with blocks of patches that lie together in the photo, too; returns whether there are any.

        Found one by one, the patches of a large hole would soon be the same few over and over.
        """
        height, width = self.shape
        if min(height, width) <= BLOCK:
            return False
        inside = np.ones((BLOCK + 1, BLOCK + 1), np.uint8)
        corner = dict(anchor=(0, 0), borderValue=0)
        y, x = np.nonzero(cv2.erode(self.free.view(np.uint8), inside, **corner)[: height - BLOCK, : width - BLOCK])
        if not len(y):
            return False
        y, x = self._sample(y, x)
        tops, lefts = (np.append(np.arange(0, n - BLOCK - 1, BLOCK), n - BLOCK - 1) for n in self.shape)
        hit = cv2.dilate(self.over.view(np.uint8), inside, **corner)
        top, left = (part.ravel() for part in np.meshgrid(tops, lefts, indexing="ij"))
        mixed = self.rng.permutation(np.flatnonzero(hit[top, left]))
        top, left = top[mixed], left[mixed]

        reach = [(down, right) for down in (0, BLOCK // 2, BLOCK) for right in (0, BLOCK // 2, BLOCK)]
        ours = np.hstack([self._describe(top + down, left + right) for down, right in reach])
        theirs = np.hstack([self.kept[y + down, x + right] for down, right in reach])
        wanted, weight = (sum(plane[top + a, left + b] for a, b in reach) for plane in (self.wanted, self.weight))
        lively = sum(self.lively[y + a, x + b] for a, b in reach)
        squares, used, unit = np.square(theirs).sum(axis=1), np.zeros(len(y), np.float32), None
        from_y, from_x = np.zeros((2, *self.shape), int)
        for start in range(0, len(top), 256):
            part = slice(start, start + 256)
            costs = np.square(ours[part]).sum(axis=1)[:, np.newaxis] + squares - 2 * ours[part] @ theirs.T
            dull = np.maximum(wanted[part, np.newaxis] - lively, 0) / len(reach)
            costs += weight[part, np.newaxis] * np.square(dull)
            unit = AGAIN_WEIGHT * np.median(costs.min(axis=1)) if unit is None else unit
            for cost, row, column in zip(costs, top[part], left[part], strict=True):
                best = int((cost + unit * used).argmin())
                used += np.maximum(np.abs(y - y[best]), np.abs(x - x[best])) < BLOCK
                block = (slice(row, row + BLOCK + PATCH), slice(column, column + BLOCK + PATCH))
                from_y[block], from_x[block] = y[best] - row, x[best] - column
        self.y = self.rows + from_y[self.rows, self.columns]
        self.x = self.columns + from_x[self.rows, self.columns]
        self._replace_strangers()
        return True

    def _try(self, y, x, known=True, bias=1.0):
        """Take the kept patches at (y, x) in place of the present ones where they fit better."""
        which = np.flatnonzero(self._is_free(y, x) & known)
        gaps = self._measure(y[which], x[which], which)
        better = gaps < self.gaps[which] * bias
        which = which[better]
        self.gaps[which], self.y[which], self.x[which] = gaps[better], y[which], x[which]

    def _ask_neighbours(self):
        """Try the patches that lie beside those of the neighbours as the neighbours lie beside here."""
        for down, right in ((0, -self.step), (-self.step, 0), (0, self.step), (self.step, 0)):
            y, x = self.rows + down, self.columns + right
            inside = (y >= 0) & (x >= 0) & (y < self.shape[0]) & (x < self.shape[1])
            other = np.where(inside, self.number[np.where(inside, y, 0), np.where(inside, x, 0)], -1)
            self._try(self.y[other] - down, self.x[other] - right, other >= 0, NEIGHBOUR_BIAS)

    def _look_around(self):
        """Try patches at random places, first anywhere, then nearer and nearer to the present one."""
        reach = max(self.shape) // 2
        while reach >= 1:
            down, right = self.rng.integers(-reach, reach + 1, (2, len(self.y)))
            self._try(self.y + down, self.x + right)
            reach //= 2

    def _vote(self):
        """Paint the hole: each pixel as the patches over it have it, above all the most similar and central one."""
        width = self.hole.shape[1]
        first, last = self.rows.min(), self.rows.max() + PATCH
        here, there = (self.rows - first) * width + self.columns, self.y * width + self.x
        middle = PATCH // 2
        steps = [
            (y * width + x, np.float32(1 + ((y - middle) ** 2 + (x - middle) ** 2) / 10))
            for y, x in np.ndindex(PATCH, PATCH)
        ]
        least = np.full((last - first) * width, np.inf, np.float32)
        for step, factor in steps:  # no two patches have the same pixel in the same place
            least[here + step] = np.minimum(least.take(here + step), self.gaps * factor)
        np.maximum(least, 1e-9, out=least)
        values = np.dstack([self.picture, np.ones(self.hole.shape, np.float32)]).reshape(-1, 4)  # the ones sum weights
        sums = np.zeros((len(least), 4), np.float32)
        places = sums.view(np.complex128)[:, 0]  # NumPy writes numbers of 16 bytes far faster than rows of four
        for step, factor in steps:
            weight = np.exp(CHOICE * (1 - self.gaps * factor / least.take(here + step)))[:, np.newaxis]
            added = sums.take(here + step, axis=0) + weight * values.take(there + step, axis=0)
            places[here + step] = added.view(np.complex128)[:, 0]
        sums, total = sums[:, :3] / np.maximum(sums[:, 3:], 1e-9), sums[:, 3]
        reached = (total > 0).reshape(-1, width) & self.hole[first:last]
        np.copyto(self.picture[first:last], sums.reshape(-1, width, 3), where=reached[..., np.newaxis])
