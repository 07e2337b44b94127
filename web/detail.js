// Detail for a filled hole, copied from what the same photo kept, as inpaint_utils/inference/detail.py does.
//
// Every small patch over the hole looks for a kept patch that is like the generator's answer there, and the hole is
// painted anew with what was found, a few times; a thick hole is painted on shrunken pictures first. In place of
// principal components all numbers of two patches are compared, up to the one that shows that they fit too badly.

const PATCH = 9; // pixels a side
const NUMBERS = 5; // that describe a pixel: its colours, and the changes of its lightness to the next two
const CANDIDATES = 5000; // kept patches to start from, a random sample
const MOST_COMPARED = 2e6; // pairs of patches or blocks, at the start; with more over the hole, the sample is smaller
const THIN = 40; // pixels of thickness up to which a hole is painted at its own size only
const TURNS = 3; // of looking and painting, at each size
const BLOCK = 6; // pixels that the patches of a block reach over, at the smallest size
const AGAIN_WEIGHT = 0.1; // what taking the same block again counts, in parts of the usual difference
const NEIGHBOUR_BIAS = 1.2; // how much more a patch may differ that lies beside the neighbour's patch
const MOST_PATCHES = 30000; // over a hole, at most about; over a larger one they lie further apart
const MOST_PIXELS = 600000; // of a picture in which patches are looked for; to a larger one they are only taken over
const LIVELINESS_WEIGHT = 6, LIVELINESS_SHARE = 0.9; // of a patch duller than this share of its surroundings
const LIVELINESS_REACH = 16; // pixels into the hole after which that counts half: the surroundings are far
const GUIDE_WEIGHT = 12; // what the generator's mean colour over a patch counts deep in the hole; less near its border
const CHOICE = 12; // how much the most similar of the patches over a pixel counts more than the next
const COARSE_SIGMA = 12; // pixels that the generator saw, of the blur that leaves what it decides
const FLAT = 0.025; // change of colour from pixel to pixel below which a place is flat: coarse colours alone
const CALM_SIGMA = 3; // pixels that the generator saw, of the blur that leaves them

/**
 * Lay the photo's own fine detail onto an answer that lacks it.
 *
 * part: {rgb, keep, source, width, height}; patches are copied from `source`. scale: pixels of the photo that the
 * generator saw as one. seed: another one finds other patches. Returns (height, width, 3).
 */
function addDetail({ rgb, keep, source, width, height }, answer, scale, seed) {
  const both = rgb.map((value, i) => (keep[Math.floor(i / 3)] ? value : answer[i]));
  if (!keep.includes(0)) return both;
  const hole = keep.map((value) => 1 - value), random = makeRandom(seed);
  const copied = source.map((value, i) => value * keep[i]);
  const { lively, expected } = measureLiveliness(both, copied, width, height);
  const trust = Float32Array.from(
    measureDistances(hole, width, height), (square) => 1 / (1 + Math.sqrt(square) / (LIVELINESS_REACH * scale)),
  );
  let last = null;
  for (let level = countLevels(hole, width, height, scale); level >= 0; level--) {
    const [wide, high] = [width, height].map((length) => Math.max(1, Math.round(length / 2 ** level)));
    const shrink = (plane, channels = 1) =>
      level ? resizeByArea(plane, width, height, wide, high, channels) : plane.slice();
    const planes = { picture: shrink(both, 3), hole: shrink(hole), source: shrink(copied), trust: shrink(trust) };
    Object.assign(planes, { lively: shrink(lively), expected: shrink(expected) });
    const canvas = new Canvas(planes, wide, high, random);
    if (!canvas.kept.length || !canvas.places.length) continue;
    if (last) canvas.takeOver(last);
    else canvas.start(level > 0);
    canvas.paint(level === 0 || 4 * wide * high > MOST_PIXELS); // the largest in which patches are looked for
    last = canvas;
  }
  if (last?.width !== width || last.height !== height) return both;
  // The generator's coarse colours, up to the very border: kept pixels do not count.
  const change = both.map((value, i) => value - last.picture[i]);
  const coarse = blurWithin(hole, change, width, height, COARSE_SIGMA * scale);
  const calm = blurWithin(hole, both, width, height, CALM_SIGMA * scale);
  return both.map((value, i) => {
    const pixel = Math.floor(i / 3);
    if (keep[pixel]) return value;
    const painted = Math.min(1, Math.max(0, last.picture[i] + coarse[i]));
    const flat = 1 - Math.min(1, Math.max(0, (scale * expected[pixel]) / FLAT - 1));
    return Math.min(1, Math.max(0, painted + flat * (calm[i] - painted)));
  });
}

/** How often the picture is halved first: the thicker the hole, the more often. */
function countLevels(hole, width, height, scale) {
  const framed = new Uint8Array((width + 2) * (height + 2));
  for (let y = 0; y < height; y++) {
    framed.set(hole.subarray(y * width, (y + 1) * width), (y + 1) * (width + 2) + 1);
  }
  const distances = measureDistances(framed, width + 2, height + 2);
  const thickness = 2 * Math.sqrt(distances.reduce((a, b) => Math.max(a, b), 0));
  const levels = Math.max(0, Math.round(Math.log2(thickness / THIN)), Math.ceil(Math.log2(scale)));
  return Math.min(levels, Math.floor(Math.log2(Math.max(1, Math.min(width, height) / (2 * PATCH)))));
}

/** How much the colours change from pixel to pixel where the source is, and what that lets one expect elsewhere. */
function measureLiveliness(picture, source, width, height) {
  const change = new Float32Array(width * height), known = new Float32Array(width * height);
  const around = countInSquares(source, width, height, 3);
  for (let i = width + 1; i < known.length; i++) {
    if (around[i - width - 1] < 9) continue;
    known[i] = 1;
    for (const side of [3, 3 * width]) {
      for (let k = 3 * i; k < 3 * i + 3; k++) change[i] += 0.5 * Math.abs(picture[k + side] - picture[k - side]);
    }
  }
  const sums = boxMean(change, width, height, 1, 2), shares = boxMean(known, width, height, 1, 2);
  const lively = sums.map((sum, i) => (sum / Math.max(shares[i], 1e-6)) * source[i]);
  const expected = new Float32Array(width * height), total = new Float32Array(width * height).fill(1e-12);
  for (const sigma of [3, 8, 20, 60]) {
    const weight = 0.05 ** (sigma / 8); // what is near counts most
    blur(lively, width, height, 1, sigma).forEach((value, i) => (expected[i] += weight * value));
    blur(source, width, height, 1, sigma).forEach((value, i) => (total[i] += weight * value));
  }
  return { lively, expected: expected.map((value, i) => (source[i] ? lively[i] : value / total[i])) };
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

/** A random choice of some places, at most `count` of them. */
function drawSome(places, count, random) {
  const mixed = places.slice();
  count = Math.min(count, mixed.length);
  for (let i = 0; i < count; i++) {
    const j = i + Math.floor(random() * (mixed.length - i));
    [mixed[i], mixed[j]] = [mixed[j], mixed[i]];
  }
  return mixed.subarray(0, count);
}

/** The places of the pixels of a plane that pass. */
function listPlaces(plane, passes = (value) => value > 0) {
  const places = [];
  plane.forEach((value, place) => passes(value, place) && places.push(place));
  return Int32Array.from(places);
}

/**
 * A picture of one size whose hole is painted with patches of what it kept.
 *
 * A patch is known by its place: y * width + x of its upper left pixel. `places` are those of the patches over the hole
 * that are looked after, and `found` those of the kept patches that they were given.
 */
class Canvas {
  constructor({ picture, hole, source, lively, expected, trust }, width, height, random) {
    Object.assign(this, { picture, lively, width, height, random });
    [this.rows, this.columns] = [height - PATCH + 1, width - PATCH + 1]; // of patches
    this.middle = Math.floor(PATCH / 2) * (width + 1); // from a patch's place to its middle pixel
    this.guide = boxMean(picture, width, height, 3, Math.floor(PATCH / 2));
    this.wanted = expected.map((value) => LIVELINESS_SHARE * value);
    this.weight = trust.map((value) => LIVELINESS_WEIGHT * PATCH ** 2 * value);
    this.guided = trust.map((value) => 1 - value);
    this.hole = Uint8Array.from(hole, (share) => (share > 0.5 ? 1 : 0));
    this.source = Uint8Array.from(source, (share, i) => (share > 0.999 && !this.hole[i] ? 1 : 0));
    this.free = countInSquares(this.source, width, height, PATCH).map((count) => (count === PATCH ** 2 ? 1 : 0));
    this.kept = listPlaces(this.free);
    const over = countInSquares(this.hole, width, height, PATCH), count = listPlaces(over).length;
    this.step = [2, 3].find((step) => count <= MOST_PATCHES * step ** 2) ?? 4;
    const chosen = (i, length) => i % this.step === 0 || i === length - 1;
    this.places = listPlaces(
      over, (hits, i) => hits && chosen(Math.floor(i / width), this.rows) && chosen(i % width, this.columns),
    );
    this.number = new Int32Array(width * height).fill(-1);
    this.places.forEach((place, i) => (this.number[place] = i));
    this.found = new Int32Array(this.places.length);
    this.gaps = new Float32Array(this.places.length);
  }

  /** Give every patch over the hole the most similar of a sample of the kept ones, alone or in blocks. */
  start(inBlocks) {
    this.describe();
    if (inBlocks && this.layBlocks()) return;
    const some = this.drawCandidates(this.kept, this.places.length);
    this.places.forEach((place, i) => {
      let least = Infinity;
      for (const from of some) {
        const gap = this.differ(place, from, 0, least);
        if (gap < least) [least, this.found[i]] = [gap, from];
      }
    });
  }

  /** Start from the patches that were found in a smaller picture, and paint with them. */
  takeOver(small) {
    const { width, height, places, found, gaps } = this, half = Math.floor(PATCH / 2);
    const [down, right] = [height / small.height, width / small.width];
    const find = (i, factor, count) => {
      const there = Math.min(Math.max(Math.floor((i + half) / factor) - half, 0), count - 1);
      return there - (there % small.step);
    };
    for (let i = 0; i < places.length; i++) {
      const y = Math.floor(places[i] / width), x = places[i] % width;
      const other = small.number[find(y, down, small.rows) * small.width + find(x, right, small.columns)];
      const [from, to] = [small.found[other], small.places[other]], moved = from - (from % small.width);
      const fromY = y + Math.round(((moved - (to - (to % small.width))) / small.width) * down);
      const fromX = x + Math.round(((from % small.width) - (to % small.width)) * right);
      const good = other >= 0 && this.isFree(fromY, fromX);
      found[i] = good ? fromY * width + fromX : this.pick();
      gaps[i] = good ? 1 : 1e6;
    }
    this.vote();
  }

  /** Look for better patches, with `search` in the whole picture, too, and paint the hole with them, a few times. */
  paint(search) {
    if (this.hole.length > MOST_PIXELS) return;
    for (let turn = 0; turn < TURNS; turn++) {
      this.describe();
      this.found.forEach((from, i) => (this.gaps[i] = this.measure(i, from, Infinity)));
      for (let again = 0; again < 2; again++) {
        this.askNeighbours();
        if (search) this.lookAround();
      }
      this.vote();
    }
  }

  /** Kept places to compare with each of `count` over the hole. */
  drawCandidates(places, count) {
    return drawSome(places, Math.min(CANDIDATES, Math.ceil(MOST_COMPARED / count)), this.random);
  }

  /** A kept patch at random. */
  pick() {
    return this.kept[Math.floor(this.random() * this.kept.length)];
  }

  isFree(y, x) {
    return y >= 0 && x >= 0 && y < this.rows && x < this.columns && this.free[y * this.width + x] === 1;
  }

  /** The numbers of all pixels as they look now. */
  describe() {
    const { picture, width, height } = this;
    const light = (i) => (picture[3 * i] + picture[3 * i + 1] + picture[3 * i + 2]) / 3;
    this.numbers ??= new Float32Array(NUMBERS * width * height);
    for (let i = 0; i < width * height; i++) {
      for (let c = 0; c < 3; c++) this.numbers[NUMBERS * i + c] = picture[3 * i + c];
      this.numbers[NUMBERS * i + 3] = (i + 1) % width ? light(i + 1) - light(i) : 0;
      this.numbers[NUMBERS * i + 4] = i + width < width * height ? light(i + width) - light(i) : 0;
    }
  }

  /** How much two patches and their guides differ, on top of a `gap`; from `most` on perhaps not all of it. */
  differ(place, from, gap, most, guided = 1) {
    const { numbers, guide, width, middle } = this;
    for (let c = 0; c < 3; c++) {
      const difference = guide[3 * (place + middle) + c] - guide[3 * (from + middle) + c];
      gap += guided * GUIDE_WEIGHT * PATCH ** 2 * difference * difference;
    }
    for (let v = 0; v < PATCH && gap < most; v++) {
      const here = NUMBERS * (place + v * width), there = NUMBERS * (from + v * width);
      for (let k = 0; k < NUMBERS * PATCH; k++) {
        const difference = numbers[here + k] - numbers[there + k];
        gap += difference * difference;
      }
    }
    return gap;
  }

  /** How badly a kept patch fits in place of that number over the hole; from `most` on, it may be worse. */
  measure(i, from, most) {
    const centre = this.places[i] + this.middle;
    const dull = Math.max(this.wanted[centre] - this.lively[from + this.middle], 0);
    return this.differ(this.places[i], from, this.weight[centre] * dull * dull, most, this.guided[centre]);
  }

  /**
   * Cover the hole with blocks of patches that lie together in the photo, too; returns whether there are any.
   *
   * Found one by one, the patches of a large hole would soon be the same few over and over.
   */
  layBlocks() {
    const { width, height, middle } = this, side = BLOCK + PATCH;
    const chosen = (i, length) => (i % BLOCK === 0 && i < length) || i === length - 1;
    const grid = listPlaces(
      countInSquares(this.hole, width, height, side),
      (hits, i) => hits && chosen(Math.floor(i / width), this.rows - BLOCK) && chosen(i % width, this.columns - BLOCK),
    );
    const blocks = drawSome(grid, grid.length, this.random), whole = countInSquares(this.source, width, height, side);
    const some = this.drawCandidates(listPlaces(whole, (count) => count === side ** 2), blocks.length);
    if (!some.length) return false;
    const corners = [0, BLOCK, BLOCK * width, BLOCK * (width + 1)]; // of a block, a patch in each
    const sum = (plane, place) => corners.reduce((total, corner) => total + plane[place + middle + corner], 0);
    const lively = Array.from(some, (from) => sum(this.lively, from)), used = new Float32Array(some.length);
    const moves = new Int32Array(width * height);
    let gaps = 0;
    blocks.forEach((place, before) => {
      const wanted = sum(this.wanted, place), weight = sum(this.weight, place) / corners.length ** 2;
      const unit = (AGAIN_WEIGHT * gaps) / Math.max(before, 1);
      let best = 0, least = Infinity;
      for (let j = 0; j < some.length; j++) {
        let gap = unit * used[j] + weight * Math.max(wanted - lively[j], 0) ** 2;
        for (let k = 0; k < corners.length && gap < least; k++) {
          gap = this.differ(place + corners[k], some[j] + corners[k], gap, least);
        }
        if (gap < least) [best, least] = [j, gap];
      }
      gaps += least - unit * used[best];
      const from = some[best], y = Math.floor(from / width), x = from % width;
      some.forEach((other, j) => {
        used[j] += Math.max(Math.abs(Math.floor(other / width) - y), Math.abs((other % width) - x)) < BLOCK ? 1 : 0;
      });
      for (let v = 0; v < side; v++) moves.fill(from - place, place + v * width, place + v * width + side);
    });
    this.places.forEach((place, i) => {
      this.found[i] = this.free[place + moves[place]] ? place + moves[place] : this.pick();
    });
    return true;
  }

  /** Take another kept patch in place of that number over the hole if it fits better. */
  offer(i, from, bias) {
    const most = this.gaps[i] * bias, gap = this.measure(i, from, most);
    if (gap < most) [this.gaps[i], this.found[i]] = [gap, from];
  }

  /** Try the patches that lie beside those of the neighbours as the neighbours lie beside here. */
  askNeighbours() {
    const { places, found, number, free, width, step } = this;
    for (const side of [-1, -width, 1, width]) {
      // Towards the neighbours: each gives what it had before it asked itself.
      for (let k = 0; k < places.length; k++) {
        const i = side < 0 ? places.length - 1 - k : k, other = number[places[i] + side * step] ?? -1;
        const from = found[other] - side * step; // beyond the sides nothing is free
        if (other >= 0 && free[from]) this.offer(i, from, NEIGHBOUR_BIAS);
      }
    }
  }

  /** Try patches at random places, first anywhere, then nearer and nearer to the present one. */
  lookAround() {
    const { found, width, random } = this;
    for (let reach = Math.floor(Math.max(this.rows, this.columns) / 2); reach >= 1; reach = Math.floor(reach / 2)) {
      for (let i = 0; i < found.length; i++) {
        const y = Math.floor(found[i] / width) - reach + Math.floor(random() * (2 * reach + 1));
        const x = (found[i] % width) - reach + Math.floor(random() * (2 * reach + 1));
        if (this.isFree(y, x)) this.offer(i, y * width + x, 1);
      }
    }
  }

  /** Paint the hole: each pixel as the patches over it have it, above all the most similar and central one. */
  vote() {
    const { picture, hole, places, found, gaps, width } = this, middle = Math.floor(PATCH / 2);
    const least = new Float32Array(hole.length).fill(Infinity), total = new Float32Array(hole.length);
    const sums = new Float32Array(picture.length);
    const visit = (look) => {
      for (let v = 0; v < PATCH; v++) {
        for (let u = 0; u < PATCH; u++) {
          const step = v * width + u, factor = 1 + ((v - middle) ** 2 + (u - middle) ** 2) / 10;
          for (let i = 0; i < places.length; i++) look(places[i] + step, found[i] + step, gaps[i] * factor);
        }
      }
    };
    visit((here, there, gap) => (least[here] = Math.min(least[here], gap)));
    visit((here, there, gap) => {
      const weight = Math.exp(CHOICE * (1 - gap / Math.max(least[here], 1e-9)));
      total[here] += weight;
      for (let c = 0; c < 3; c++) sums[3 * here + c] += weight * picture[3 * there + c];
    });
    for (let i = 0; i < hole.length; i++) {
      if (hole[i] && total[i] > 0) for (let c = 0; c < 3; c++) picture[3 * i + c] = sums[3 * i + c] / total[i];
    }
  }
}
