// Detail for a filled hole, laid out of patches that the same photo kept, as inpaint_utils/inference/detail.py does.

const SMALLEST_PATCH = 4, LARGEST_PATCH = 96; // pixels a side
const MOST_CANDIDATES = 3000; // patches to choose from, a random sample of the kept ones
const PATCH_SHARE = 0.25; // of the hole's thickness, a patch's side
const COMPARED_SIDE = 32; // pixels a side of a patch that are compared
const FINALISTS = 12, SHORT_LIST = 32;
const SPLIT_SHARE = 0.3, FOG_SIGMA = 2.5, SEAM_SIGMA = 0.7;
const OWN_WEIGHT = 0.25; // of the generator's own fine band in the choice of a patch
const LIVELINESS_WEIGHT = 0.5, FAR_WEIGHT = 0.004, AGAIN_WEIGHT = 0.003;

/**
 * Lay the photo's own fine detail onto an answer that lacks it.
 *
 * part: {rgb, keep, source, width, height}; patches are copied from `source`. scale: pixels of the photo that the
 * generator saw as one. seed: another one samples other patches. Returns (height, width, 3).
 */
function addDetail({ rgb, keep, source, width, height }, answer, scale, seed) {
  const both = rgb.map((value, i) => (keep[Math.floor(i / 3)] ? value : answer[i]));
  if (Math.min(width, height) < SMALLEST_PATCH) return both;
  let size = choosePatchSize(keep, width, height);
  const coarse = blur(both, width, height, 3, Math.max(SPLIT_SHARE * size, FOG_SIGMA * scale));
  const residual = both.map((value, i) => value - coarse[i]);
  const sewn = residual.map((value, i) => value * keep[Math.floor(i / 3)]), done = Uint8Array.from(keep);
  const scene = { coarse, residual, keep, source, sewn, done, width, height, random: makeRandom(seed) };
  for (; size >= SMALLEST_PATCH && done.includes(0); size = Math.floor(size / 2)) quilt(scene, size);
  return both.map((value, i) => {
    const pixel = Math.floor(i / 3);
    return keep[pixel] || !done[pixel] ? value : Math.min(1, Math.max(0, coarse[i] + sewn[i]));
  });
}

/** An even number of pixels: the thicker the hole, the larger its patches. */
function choosePatchSize(keep, width, height) {
  const framed = new Uint8Array((width + 2) * (height + 2));
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) framed[(y + 1) * (width + 2) + x + 1] = 1 - keep[y * width + x];
  }
  const distances = measureDistances(framed, width + 2, height + 2);
  const thickness = 2 * Math.sqrt(distances.reduce((a, b) => Math.max(a, b), 0));
  return 2 * Math.round(Math.min(Math.max(thickness * PATCH_SHARE, 16), LARGEST_PATCH, width, height) / 2);
}

/** Numbers in [0, 1) that depend on the seed alone (mulberry32). */
function makeRandom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Sums over rectangles of a plane: (top, left, bottom, right, channel) → number. */
function integrate(plane, width, height, channels) {
  const row = (width + 1) * channels, total = new Float64Array(row * (height + 1));
  for (let y = 0; y < height; y++) {
    for (let c = 0; c < channels; c++) {
      let sum = 0;
      for (let x = 0; x < width; x++) {
        sum += plane[(y * width + x) * channels + c];
        const to = (y + 1) * row + (x + 1) * channels + c;
        total[to] = total[to - row] + sum;
      }
    }
  }
  return (top, left, bottom, right, c) =>
    total[bottom * row + right * channels + c] - total[top * row + right * channels + c] -
    total[bottom * row + left * channels + c] + total[top * row + left * channels + c];
}

/** Sew patches over what is not done yet, from the border of the hole inwards; changes `sewn` and `done`. */
function quilt(scene, size) {
  const { residual, keep, source, sewn, done, width, height, random } = scene;
  if (Math.min(width, height) < size) return;
  const counts = integrate(source, width, height, 1);
  const isFree = (y, x) =>
    y >= 0 && x >= 0 && y + size <= height && x + size <= width && counts(y, x, y + size, x + size, 0) === size * size;
  const free = new Int32Array(width * height);
  let count = 0;
  for (let y = 0; y + size <= height; y++) {
    for (let x = 0; x + size <= width; x++) if (isFree(y, x)) free[count++] = y * width + x;
  }
  if (!count) return;
  for (let i = 0; i < MOST_CANDIDATES && count > MOST_CANDIDATES; i++) {
    const j = i + Math.floor(random() * (count - i));
    [free[i], free[j]] = [free[j], free[i]];
  }
  const sample = Array.from(free.subarray(0, Math.min(count, MOST_CANDIDATES)));
  const candidates = sample.map((place) => [Math.floor(place / width), place % width]);
  const patches = planPatches(scene, size), measure = compare(scene, candidates, size);
  const used = new Float32Array(candidates.length), area = size * size;
  const step = Math.floor(size / COMPARED_SIDE) || 1; // of a large patch every second or third pixel is compared
  const known = new Uint8Array(area), beside = new Uint8Array(area), gap = new Float32Array(area);
  const measureGap = (fromY, fromX, y, x, weights) => {
    let sum = 0;
    for (let v = 0; v < size; v += step) {
      for (let u = 0; u < size; u += step) {
        if (!weights[v * size + u]) continue;
        const a = 3 * ((fromY + v) * width + fromX + u), b = 3 * ((y + v) * width + x + u);
        for (let c = 0; c < 3; c++) sum += (residual[a + c] - sewn[b + c]) ** 2;
      }
    }
    return step * step * sum;
  };
  for (const [y, x] of patches) {
    let all = true, any = false;
    for (let v = 0; v < size; v++) {
      for (let u = 0; u < size; u++) {
        const i = (y + v) * width + x + u, j = v * size + u;
        known[j] = done[i];
        beside[j] = done[i] && !keep[i] ? 1 : 0;
        all &&= done[i];
        any ||= beside[j];
      }
    }
    if (all) continue;
    const costs = measure(y, x).map((cost, i) => cost + AGAIN_WEIGHT * area * used[i]);
    let best = Array.from(costs.keys()).sort((a, b) => costs[a] - costs[b]).slice(0, SHORT_LIST);
    if (any) {
      const gaps = new Map(best.map((i) => [i, costs[i] + measureGap(...candidates[i], y, x, beside)]));
      best.sort((a, b) => gaps.get(a) - gaps.get(b));
    }
    let lowest = Infinity, chosen;
    for (const i of best.slice(0, FINALISTS)) {
      // The sample holds one patch in many: see whether a pixel to the side fits better what lies around.
      for (const stepY of [0, -1, 1]) {
        for (const stepX of [0, -1, 1]) {
          const fromY = candidates[i][0] + stepY, fromX = candidates[i][1] + stepX;
          if (!isFree(fromY, fromX)) continue;
          const cost = costs[i] + measureGap(fromY, fromX, y, x, known);
          if (cost < lowest) [lowest, chosen] = [cost, [fromY, fromX]];
        }
      }
    }
    candidates.forEach(([v, u], i) => {
      used[i] += Math.max(Math.abs(v - chosen[0]), Math.abs(u - chosen[1])) < Math.floor(size / 2) ? 1 : 0;
    });
    let share = Float32Array.from(known, (value) => 1 - value);
    if (any) {
      for (let j = 0; j < area; j++) {
        const a = 3 * ((chosen[0] + Math.floor(j / size)) * width + chosen[1] + (j % size));
        const b = 3 * ((y + Math.floor(j / size)) * width + x + (j % size));
        gap[j] = 0;
        if (known[j]) for (let c = 0; c < 3; c++) gap[j] += (residual[a + c] - sewn[b + c]) ** 2;
      }
      share = cutSeam(gap, known, beside, size);
    }
    for (let j = 0; j < area; j++) {
      const from = (chosen[0] + Math.floor(j / size)) * width + chosen[1] + (j % size);
      const to = (y + Math.floor(j / size)) * width + x + (j % size);
      done[to] = 1;
      if (keep[to]) continue;
      for (let c = 0; c < 3; c++) sewn[3 * to + c] += share[j] * (residual[3 * from + c] - sewn[3 * to + c]);
    }
  }
}

/** Upper left corners of the patches that cover all that is not done, half overlapping, outermost first. */
function planPatches({ keep, done, width, height, random }, size) {
  const half = Math.floor(size / 2), counts = integrate(done, width, height, 1);
  const starts = (length) => {
    const places = [];
    for (let i = 0; i < length - size + half; i += half) places.push(Math.min(i, length - size));
    return places.length ? places : [0];
  };
  const depth = measureDistances(keep.map((value) => 1 - value), width, height), plan = [];
  for (const y of starts(height)) {
    for (const x of starts(width)) {
      if (counts(y, x, y + size, x + size, 0) === size * size) continue;
      plan.push([Math.sqrt(depth[(y + half) * width + x + half]) + 0.01 * random(), y, x]);
    }
  }
  return plan.sort((a, b) => a[0] - b[0]).map(([, y, x]) => [y, x]);
}

/** A function (y, x) → what speaks against each candidate for the patch there, in squares of colour values. */
function compare({ coarse, residual, keep, source, width, height }, candidates, size) {
  const sampler = (plane, channels, cell) => {
    const sums = integrate(plane, width, height, channels), steps = Math.floor(size / cell);
    return (y, x) => {
      const values = new Float32Array(steps * steps * channels);
      for (let v = 0, k = 0; v < steps; v++) {
        for (let u = 0; u < steps; u++) {
          const top = y + v * cell, left = x + u * cell;
          for (let c = 0; c < channels; c++) values[k++] = sums(top, left, top + cell, left + cell, c) / cell ** 2;
        }
      }
      return values;
    };
  };
  const large = Math.max(1, Math.floor(size / 4)), fine = Math.max(1, Math.floor(size / 8));
  const colours = sampler(coarse, 3, large), details = sampler(residual, 3, fine), kept = sampler(keep, 1, fine);
  // Square roots: a little life counts for much in a flat sky, and one lively thing does not outweigh it.
  const strength = new Float32Array(width * height);
  for (let i = 0; i < strength.length; i++) {
    for (let c = 0; c < 3; c++) strength[i] += Math.abs(residual[3 * i + c]) * source[i];
  }
  const lively = blur(strength, width, height, 1, 1.5).map(Math.sqrt), known = Float32Array.from(source);
  const masked = lively.map((value, i) => value * known[i]);
  const [near, wide, nearShare, wideShare] = [masked, known].flatMap((plane) =>
    [0.5, 1.5].map((reach) => blur(plane, width, height, 1, size * reach)),
  );
  const around = near.map((value, i) => (value + wide[i]) / Math.max(nearShare[i] + wideShare[i], 1e-6));
  const expected = sampler(around, 1, large), offered = sampler(lively, 1, large);
  const theirs = candidates.map(([y, x]) => [colours(y, x), details(y, x), offered(y, x)]);
  const square = (a, b) => {
    let sum = 0;
    for (let k = 0; k < a.length; k++) sum += (a[k] - b[k]) ** 2;
    return sum;
  };
  return (y, x) => {
    const [colour, detail, life] = [colours(y, x), details(y, x), expected(y, x)];
    const weights = Array.from(kept(y, x), (share) => fine ** 2 * (share > 0.99 ? 1 : OWN_WEIGHT));
    return Float64Array.from(theirs, ([theirColour, theirDetail, theirLife], i) => {
      let cost = large ** 2 * (square(colour, theirColour) + LIVELINESS_WEIGHT * square(life, theirLife));
      detail.forEach((value, k) => (cost += weights[Math.floor(k / 3)] * (value - theirDetail[k]) ** 2));
      const far = Math.hypot(y - candidates[i][0], x - candidates[i][1]);
      return cost + ((FAR_WEIGHT * size ** 2) / Math.max(width, height)) * far;
    });
  };
}

/** How much of a new patch to take: 1 inside, 0 beyond the seams of least difference with what lies there. */
function cutSeam(gap, known, beside, size) {
  const half = Math.floor(size / 2), end = size - 1, take = new Float32Array(size * size).fill(1);
  const turns = [
    (i, j) => i * size + j,
    (i, j) => j * size + end - i,
    (i, j) => (end - i) * size + end - j,
    (i, j) => (end - j) * size + i,
  ];
  for (const at of turns) {
    let any = false, sum = 0;
    for (let i = 0; i < size; i++) {
      sum += known[at(i, 0)];
      for (let j = 0; j < half; j++) any ||= beside[at(i, j)];
    }
    if (!any || sum / size <= 0.5) continue;
    const seam = findSeam((i, j) => gap[at(i, j)], size, half);
    for (let i = 0; i < size; i++) for (let j = 0; j < seam[i]; j++) take[at(i, j)] = 0;
  }
  const soft = convolve(take.map((value, i) => (known[i] ? value : 1)), size, size, 1, SEAM_KERNEL);
  return soft.map((value, i) => (known[i] ? value : 1));
}

const SEAM_KERNEL = [-3, -2, -1, 0, 1, 2, 3].map((k) => Math.exp(-(k * k) / (2 * SEAM_SIGMA ** 2)));
const SEAM_SUM = SEAM_KERNEL.reduce((a, b) => a + b, 0);
SEAM_KERNEL.forEach((value, i) => (SEAM_KERNEL[i] = value / SEAM_SUM));

/** The column at which the cheapest way from the first to the last row crosses each row. */
function findSeam(gap, rows, columns) {
  const total = [];
  for (let i = 0; i < rows; i++) {
    total.push(new Float64Array(columns));
    for (let j = 0; j < columns; j++) {
      const above = i ? Math.min(...[j - 1, j, j + 1].map((k) => total[i - 1][k] ?? Infinity)) : 0;
      total[i][j] = gap(i, j) + above;
    }
  }
  const seam = new Int32Array(rows);
  for (let i = rows - 1; i >= 0; i--) {
    let [first, last] = i === rows - 1 ? [0, columns - 1] : [Math.max(0, seam[i + 1] - 1), seam[i + 1] + 1];
    last = Math.min(last, columns - 1);
    seam[i] = first;
    for (let j = first; j <= last; j++) if (total[i][j] < total[i][seam[i]]) seam[i] = j;
  }
  return seam;
}
