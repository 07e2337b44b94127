// The edge channel, as inpaint_utils/data/edges.py makes it: Canny on contrast-equalised luminance of the kept pixels.

const CANNY_LOW = 80, CANNY_HIGH = 160;
const CLAHE_CLIP_LIMIT = 2, CLAHE_TILES = 8;
const SMOOTHING = [28, 61, 78, 61, 28]; // a Gaussian of 1.4 pixels, in parts of 256
const RIM = 3; // pixels around the hole where an edge may be the hole's own

/** Edges of rgb (height × width × 3, 0 to 1): 1 edge, 0 none, ½ in the hole. Both sides are multiples of 8. */
function detectEdges(rgb, keep, width, height) {
  const count = width * height, luminance = new Uint8Array(count);
  let sum = 0, kept = 0;
  for (let i = 0; i < count; i++) {
    if (!keep[i]) continue;
    const [r, g, b] = [0, 1, 2].map((c) => Math.round(rgb[3 * i + c] * 255));
    luminance[i] = (9798 * r + 19235 * g + 3735 * b + 16384) >> 15;
    sum += luminance[i];
    kept++;
  }
  for (let i = 0; i < count; i++) if (!keep[i]) luminance[i] = Math.round(sum / kept);
  const equal = equalize(luminance, width, height);
  const edges = Float32Array.from(findEdges(smooth(equal, width, height), width, height));
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (keep[y * width + x]) continue;
      for (let v = Math.max(0, y - RIM); v <= Math.min(height - 1, y + RIM); v++) {
        edges.fill(0, v * width + Math.max(0, x - RIM), v * width + Math.min(width - 1, x + RIM) + 1);
      }
    }
  }
  for (let i = 0; i < count; i++) if (!keep[i]) edges[i] = 0.5;
  return edges;
}

/** Contrast-limited adaptive histogram equalization (CLAHE). */
function equalize(pixels, width, height) {
  const tileWidth = width / CLAHE_TILES, tileHeight = height / CLAHE_TILES, area = tileWidth * tileHeight;
  const limit = Math.max(1, Math.floor((CLAHE_CLIP_LIMIT * area) / 256)), tables = [];
  for (let tile = 0; tile < CLAHE_TILES ** 2; tile++) {
    const top = Math.floor(tile / CLAHE_TILES) * tileHeight, left = (tile % CLAHE_TILES) * tileWidth;
    const histogram = new Int32Array(256);
    for (let y = top; y < top + tileHeight; y++) {
      for (let x = left; x < left + tileWidth; x++) histogram[pixels[y * width + x]]++;
    }
    let cut = 0;
    for (let i = 0; i < 256; i++) {
      cut += Math.max(0, histogram[i] - limit);
      histogram[i] = Math.min(limit, histogram[i]);
    }
    let rest = cut % 256;
    const step = Math.max(1, Math.floor(256 / Math.max(1, rest)));
    for (let i = 0; i < 256; i++) histogram[i] += Math.floor(cut / 256);
    for (let i = 0; i < 256 && rest > 0; i += step, rest--) histogram[i]++;
    let total = 0;
    tables.push(Uint8Array.from(histogram, (n) => Math.min(255, Math.round(((total += n) * 255) / area))));
  }
  const result = new Uint8Array(width * height), last = CLAHE_TILES - 1;
  for (let y = 0; y < height; y++) {
    const v = y / tileHeight - 0.5, row = Math.floor(v), b = v - row;
    const above = Math.max(0, row) * CLAHE_TILES, below = Math.min(last, row + 1) * CLAHE_TILES;
    for (let x = 0; x < width; x++) {
      const u = x / tileWidth - 0.5, column = Math.floor(u), a = u - column;
      const left = Math.max(0, column), right = Math.min(last, column + 1), i = y * width + x, value = pixels[i];
      result[i] = Math.round(
        (tables[above + left][value] * (1 - a) + tables[above + right][value] * a) * (1 - b) +
          (tables[below + left][value] * (1 - a) + tables[below + right][value] * a) * b,
      );
    }
  }
  return result;
}

function smooth(pixels, width, height) {
  const mirror = (i, n) => (i < 0 ? -i : i < n ? i : 2 * n - 2 - i);
  const rows = new Int32Array(width * height), result = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (let k = -2; k <= 2; k++) sum += SMOOTHING[k + 2] * pixels[y * width + mirror(x + k, width)];
      rows[y * width + x] = sum;
    }
  }
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let sum = 32768;
      for (let k = -2; k <= 2; k++) sum += SMOOTHING[k + 2] * rows[mirror(y + k, height) * width + x];
      result[y * width + x] = sum >> 16;
    }
  }
  return result;
}

/** Canny 1986: where the gradient is largest across an edge; weak edges count where they touch strong ones. */
function findEdges(pixels, width, height) {
  const count = width * height, dx = new Int32Array(count), dy = new Int32Array(count), size = new Int32Array(count);
  const at = (x, y) =>
    pixels[Math.min(height - 1, Math.max(0, y)) * width + Math.min(width - 1, Math.max(0, x))];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const i = y * width + x;
      const [a, b, c, d] = [at(x - 1, y - 1), at(x + 1, y - 1), at(x - 1, y + 1), at(x + 1, y + 1)];
      dx[i] = b + 2 * at(x + 1, y) + d - a - 2 * at(x - 1, y) - c;
      dy[i] = c + 2 * at(x, y + 1) + d - a - 2 * at(x, y - 1) - b;
      size[i] = dx[i] * dx[i] + dy[i] * dy[i];
    }
  }
  const gradient = (x, y) => (x < 0 || y < 0 || x >= width || y >= height ? 0 : size[y * width + x]);
  const edges = new Uint8Array(count), weak = new Uint8Array(count), open = [];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const i = y * width + x, here = size[i];
      if (here <= CANNY_LOW ** 2) continue;
      const across = Math.abs(dx[i]), down = Math.abs(dy[i]);
      let largest;
      if (down < across * 0.41421356) largest = here > gradient(x - 1, y) && here >= gradient(x + 1, y);
      else if (down > across * 2.41421356) largest = here > gradient(x, y - 1) && here >= gradient(x, y + 1);
      else {
        const side = (dx[i] ^ dy[i]) < 0 ? -1 : 1;
        largest = here > gradient(x - side, y - 1) && here > gradient(x + side, y + 1);
      }
      if (!largest) continue;
      weak[i] = 1;
      if (here > CANNY_HIGH ** 2) {
        edges[i] = 1;
        open.push(i);
      }
    }
  }
  while (open.length) {
    const i = open.pop(), x = i % width, y = (i - x) / width;
    for (let v = Math.max(0, y - 1); v <= Math.min(height - 1, y + 1); v++) {
      for (let u = Math.max(0, x - 1); u <= Math.min(width - 1, x + 1); u++) {
        const j = v * width + u;
        if (!weak[j] || edges[j]) continue;
        edges[j] = 1;
        open.push(j);
      }
    }
  }
  return edges;
}
