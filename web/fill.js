// Fill the holes of a photo, as inpaint_utils/inference/inpaint.py does: windows, padding, the generator, its answer.

const LARGEST_SIDE = 512; // pixels that the generator sees at once
const SMALLEST_WINDOW = 256;
const SIZE_MULTIPLE = 128; // the generator halves its picture seven times
const SIDE_MARGIN = 16; // pixels; a hole nearer to a side than this gets room beyond it
const CELL = 32; // pixels; holes are grouped on a grid this coarse

/**
 * Fill what `hole` marks. Kept pixels come back as they were, and so does the transparency of all pixels. Colours under
 * an alpha of 0, for which a canvas gives black, are hidden from the generator and the detail.
 *
 * photo: {data: RGBA bytes, width, height}. hole: Uint8Array, 1 remove, 0 keep.
 * generator: async (inputs, width, height) → Float32Array, (height, width, 4) → (height, width, 3) in [0, 1].
 * options: detail, 0 to 1, as in `addDetail`; seed, a whole number; report(share) is called and awaited after every
 * window.
 */
async function fillPhoto(photo, hole, generator, { detail = 1, seed = 0, report = () => {} } = {}) {
  const { width, height } = photo, data = new Uint8ClampedArray(photo.data);
  const source = hole.map((removed, i) => (removed || !data[4 * i + 3] ? 0 : 1)), keep = source.slice();
  let windows = planWindows(hole, width, height);
  if (windows.some((window) => !cut(source, width, window).includes(1))) { // one shows nothing: reach further
    windows = planWindows(source.map((seen) => 1 - seen), width, height);
    windows = windows.filter((window) => cut(hole, width, window).includes(1));
  }
  for (const [number, window] of windows.entries()) {
    const part = cutOut(data, keep, width, window);
    part.source = cut(source, width, window);
    const filled = await fillWindow(part, generator);
    const shrink = Math.max(1, Math.max(window.width, window.height) / LARGEST_SIDE);
    const answer = detail > 0 ? addDetail(part, filled, shrink, seed) : filled;
    for (let y = 0; y < window.height; y++) {
      for (let x = 0; x < window.width; x++) {
        const i = y * window.width + x, j = (window.top + y) * width + window.left + x;
        if (part.keep[i] || !hole[j] || !insidePiece(window, window.top + y, window.left + x)) continue;
        for (let c = 0; c < 3; c++) {
          const value = filled[3 * i + c] + detail * (answer[3 * i + c] - filled[3 * i + c]);
          data[4 * j + c] = Math.round(255 * value);
        }
        keep[j] = 1; // the next windows see this one's answer
      }
    }
    await report((number + 1) / windows.length);
  }
  return { data, width, height };
}

/** One window for a small photo; for a larger one a window with context around each group of holes. */
function planWindows(hole, width, height) {
  if (Math.max(width, height) <= LARGEST_SIDE) {
    return [{ top: 0, left: 0, width, height, piece: [0, 0, height, width] }];
  }
  return groupHoles(hole, width, height).map((piece) => {
    const [top, left, bottom, right] = piece, wide = right - left, high = bottom - top;
    const part = new Uint8Array((wide + 2) * (high + 2)); // with a frame of kept pixels
    for (let y = 0; y < high; y++) {
      part.set(hole.subarray((top + y) * width + left, (top + y) * width + right), (y + 1) * (wide + 2) + 1);
    }
    const thickness = 2 * Math.sqrt(measureDistances(part, wide + 2, high + 2).reduce((a, b) => Math.max(a, b), 0));
    const margin = Math.max(LARGEST_SIDE / 8, Math.ceil(thickness));
    let side = Math.max(SMALLEST_WINDOW, Math.max(wide, high) + 2 * margin);
    if (side < LARGEST_SIDE) side = Math.ceil(side / SIZE_MULTIPLE) * SIZE_MULTIPLE;
    const place = (start, end, length) => {
      const first = Math.min(Math.max(Math.floor((start + end - side) / 2), 0), Math.max(length - side, 0));
      return [first, Math.min(first + side, length) - first];
    };
    const [y, tall] = place(top, bottom, height), [x, broad] = place(left, right, width);
    return { top: y, left: x, width: broad, height: tall, piece };
  });
}

function insidePiece({ piece: [top, left, bottom, right] }, y, x) {
  return y >= top && y < bottom && x >= left && x < right;
}

/** Boxes [top, left, bottom, right] of holes whose contexts meet; boxes that overlap become one. */
function groupHoles(hole, width, height) {
  const columns = Math.ceil(width / CELL), boxes = new Map();
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!hole[y * width + x]) continue;
      const cell = Math.floor(y / CELL) * columns + Math.floor(x / CELL), box = boxes.get(cell);
      if (!box) boxes.set(cell, [y, x, y + 1, x + 1]);
      else join(box, [y, x, y + 1, x + 1]);
    }
  }
  const groups = [], reach = LARGEST_SIDE / 8;
  for (let box of boxes.values()) {
    for (let i = 0; i < groups.length; i++) {
      const [top, left, bottom, right] = groups[i];
      if (box[0] - reach > bottom || box[2] + reach < top || box[1] - reach > right || box[3] + reach < left) continue;
      box = join(groups.splice(i, 1)[0], box);
      i = -1; // the larger box may meet others
    }
    groups.push(box);
  }
  return groups;
}

function join(box, other) {
  for (let k = 0; k < 4; k++) box[k] = k < 2 ? Math.min(box[k], other[k]) : Math.max(box[k], other[k]);
  return box;
}

function cut(plane, width, window) {
  const part = new plane.constructor(window.width * window.height);
  for (let y = 0; y < window.height; y++) {
    const start = (window.top + y) * width + window.left;
    part.set(plane.subarray(start, start + window.width), y * window.width);
  }
  return part;
}

/** The photo in a window: {rgb: Float32Array in [0, 1], keep: Uint8Array, width, height}. */
function cutOut(data, keep, width, window) {
  const pixels = cut(new Uint32Array(data.buffer), width, window);
  const bytes = new Uint8Array(pixels.buffer), rgb = new Float32Array(3 * pixels.length);
  for (let i = 0; i < pixels.length; i++) for (let c = 0; c < 3; c++) rgb[3 * i + c] = bytes[4 * i + c] / 255;
  return { rgb, keep: cut(keep, width, window), width: window.width, height: window.height };
}

/** The generator's picture of a window, which is shrunk for it where it is larger than LARGEST_SIDE. */
async function fillWindow(part, generator) {
  const { width, height, keep, rgb } = part, shrink = Math.max(width, height) / LARGEST_SIDE;
  if (shrink <= 1) return runPadded(part, generator);
  const small = { width: Math.max(1, Math.round(width / shrink)), height: Math.max(1, Math.round(height / shrink)) };
  const known = Float32Array.from(keep), hidden = rgb.map((value, i) => value * keep[Math.floor(i / 3)]);
  const share = resizeByArea(known, width, height, small.width, small.height, 1);
  // Averaged over kept pixels only: nothing hidden enters, and no black bleeds in at the rim.
  small.rgb = resizeByArea(hidden, width, height, small.width, small.height, 3);
  small.rgb = small.rgb.map((value, i) => Math.min(1, value / Math.max(share[Math.floor(i / 3)], 1e-6)));
  const enough = Math.min(0.5, share.reduce((a, b) => Math.max(a, b), 0));
  small.keep = Uint8Array.from(share, (value) => (value >= enough ? 1 : 0)); // known where half of it is
  const raw = await runPadded(small, generator);
  const answer = small.rgb.map((value, i) => (small.keep[Math.floor(i / 3)] ? value : raw[i]));
  const large = resizeSmoothly(answer, small.width, small.height, width, height, 3);
  return feather(large, hidden, known, width, height, Math.round(2 * (shrink - 1)));
}

/** Blend an enlarged answer with the kept colours nearby, from the rim inwards over some pixels of the hole. */
function feather(answer, hidden, known, width, height, reach) {
  if (!reach) return answer;
  const colours = boxMean(hidden, width, height, 3, reach), weights = boxMean(known, width, height, 1, reach);
  const distances = measureDistances(known.map((value) => 1 - value), width, height);
  return answer.map((value, i) => {
    const pixel = Math.floor(i / 3), weight = Math.max(0, 1 - Math.sqrt(distances[pixel]) / (reach + 1));
    const near = colours[i] / Math.max(weights[pixel], 1e-6);
    return Math.min(1, Math.max(0, value + weight * (near - value)));
  });
}

/** Mirror a picture up to a size that the generator takes, run it, and cut its answer out. */
async function runPadded({ rgb, keep, width, height }, generator) {
  let [above, below, before, after] = [0, 0, 0, 0].map(() => false);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (keep[y * width + x]) continue;
      above ||= y < SIDE_MARGIN;
      below ||= y >= height - SIDE_MARGIN;
      before ||= x < SIDE_MARGIN;
      after ||= x >= width - SIDE_MARGIN;
    }
  }
  const missing = (length, near) => {
    const rest = (SIZE_MULTIPLE - (length % SIZE_MULTIPLE)) % SIZE_MULTIPLE;
    return near && rest < 2 * SIDE_MARGIN ? rest + SIZE_MULTIPLE : rest;
  };
  const high = height + missing(height, above || below), wide = width + missing(width, before || after);
  const top = Math.floor((high - height) / 2), left = Math.floor((wide - width) / 2);
  const mirror = (i, n) => ((i = ((i % (2 * n)) + 2 * n) % (2 * n)), i < n ? i : 2 * n - 1 - i);
  const colours = new Float32Array(3 * wide * high), known = new Uint8Array(wide * high);
  for (let y = 0; y < high; y++) {
    for (let x = 0; x < wide; x++) {
      const from = mirror(y - top, height) * width + mirror(x - left, width), to = y * wide + x;
      known[to] = keep[from];
      for (let c = 0; c < 3; c++) colours[3 * to + c] = rgb[3 * from + c];
    }
  }
  const raw = await generator(buildInput(colours, known, wide, high), wide, high);
  const answer = new Float32Array(3 * width * height);
  for (let y = 0; y < height; y++) {
    const start = 3 * ((top + y) * wide + left);
    answer.set(raw.subarray(start, start + 3 * width), 3 * y * width);
  }
  return answer.map((value) => Math.min(1, Math.max(0, value)));
}

/** What the generator sees: kept colours of at least 1/255, 0 in the hole, and the edges. */
function buildInput(rgb, keep, width, height) {
  const edges = detectEdges(rgb, keep, width, height), inputs = new Float32Array(4 * width * height);
  for (let i = 0; i < width * height; i++) {
    if (keep[i]) for (let c = 0; c < 3; c++) inputs[4 * i + c] = Math.max(rgb[3 * i + c], 1 / 255);
    inputs[4 * i + 3] = edges[i];
  }
  return inputs;
}
