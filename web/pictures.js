// Picture arithmetic on planes of floats, (height, width, channels) in one Float32Array.

/** For each target pixel along one axis: the first source pixel and the weights of those it takes. */
function resizeAxis(data, lines, from, to, stride, step, weigh) {
  const result = new Float32Array(lines.count * to * stride);
  for (let place = 0; place < to; place++) {
    const { first, weights } = weigh(place, from / to);
    for (let line = 0; line < lines.count; line++) {
      for (let c = 0; c < stride; c++) {
        let sum = 0;
        for (let k = 0; k < weights.length; k++) {
          const source = Math.min(from - 1, Math.max(0, first + k));
          sum += weights[k] * data[step(line, source, from) * stride + c];
        }
        result[step(line, place, to) * stride + c] = sum;
      }
    }
  }
  return result;
}

function resize(data, width, height, newWidth, newHeight, channels, weigh) {
  const rows = resizeAxis(data, { count: height }, width, newWidth, channels, (y, x, n) => y * n + x, weigh);
  return resizeAxis(rows, { count: newWidth }, height, newHeight, channels, (x, y) => y * newWidth + x, weigh);
}

/** Shrink by averaging what each new pixel covers. */
function resizeByArea(data, width, height, newWidth, newHeight, channels) {
  return resize(data, width, height, newWidth, newHeight, channels, (place, scale) => {
    const start = place * scale, end = start + scale, first = Math.floor(start + 1e-6);
    const weights = [];
    for (let i = first; i < end - 1e-6; i++) weights.push((Math.min(end, i + 1) - Math.max(start, i)) / scale);
    return { first, weights };
  });
}

/** Enlarge by cubic interpolation (Keys 1981, a = −0.75, as OpenCV does). */
function resizeSmoothly(data, width, height, newWidth, newHeight, channels) {
  const a = -0.75;
  return resize(data, width, height, newWidth, newHeight, channels, (place, scale) => {
    const centre = (place + 0.5) * scale - 0.5, first = Math.floor(centre) - 1, t = centre - first - 1;
    const near = (x) => ((a + 2) * x - (a + 3)) * x * x + 1, far = (x) => ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
    return { first, weights: [far(1 + t), near(t), near(1 - t), far(2 - t)] };
  });
}

/** Weighted sum over neighbours along both axes; the picture is mirrored beyond its sides. */
function convolve(data, width, height, channels, kernel) {
  const reach = (kernel.length - 1) / 2;
  const mirror = (i, n) => ((i = ((i % (2 * n)) + 2 * n) % (2 * n)), i < n ? i : 2 * n - 1 - i);
  const row = width * channels, across = new Float32Array(data.length), result = new Float32Array(data.length);
  const line = new data.constructor(row + 2 * reach * channels);
  for (let y = 0; y < height; y++) {
    for (let x = -reach; x < width + reach; x++) {
      const from = y * row + mirror(x, width) * channels;
      for (let c = 0; c < channels; c++) line[(x + reach) * channels + c] = data[from + c];
    }
    for (let k = 0; k < kernel.length; k++) {
      for (let i = 0; i < row; i++) across[y * row + i] += kernel[k] * line[k * channels + i];
    }
  }
  for (let y = 0; y < height; y++) {
    for (let k = 0; k < kernel.length; k++) {
      const from = mirror(y + k - reach, height) * row;
      for (let i = 0; i < row; i++) result[y * row + i] += kernel[k] * across[from + i];
    }
  }
  return result;
}

function boxMean(data, width, height, channels, reach) {
  return convolve(data, width, height, channels, new Float32Array(2 * reach + 1).fill(1 / (2 * reach + 1)));
}

/** A Gaussian blur; a wide one is computed on a shrunk picture. */
function blur(data, width, height, channels, sigma) {
  const factor = Math.min(Math.floor(sigma / 3), width, height);
  if (factor >= 2) {
    const wide = Math.ceil(width / factor), high = Math.ceil(height / factor);
    const small = blur(resizeByArea(data, width, height, wide, high, channels), wide, high, channels, sigma / factor);
    return resizeSmoothly(small, wide, high, width, height, channels);
  }
  const reach = Math.max(1, Math.round(4 * sigma)), kernel = new Float32Array(2 * reach + 1);
  for (let k = -reach; k <= reach; k++) kernel[k + reach] = Math.exp(-(k * k) / (2 * sigma * sigma));
  const sum = kernel.reduce((a, b) => a + b, 0);
  return convolve(data, width, height, channels, kernel.map((value) => value / sum));
}

/** A Gaussian blur over the pixels of a region alone, of whose colours it is the mean. */
function blurWithin(region, picture, width, height, sigma) {
  const share = blur(region, width, height, 1, sigma);
  const sum = blur(picture.map((value, i) => value * region[Math.floor(i / 3)]), width, height, 3, sigma);
  return sum.map((value, i) => value / Math.max(share[Math.floor(i / 3)], 1e-6));
}

/** How many pixels of a plane of 0 and 1 each square has, which is known by its upper left pixel; 0 beyond the last. */
function countInSquares(plane, width, height, side) {
  let counts = plane;
  for (const step of [1, width]) {
    const next = new Uint8Array(plane.length);
    for (let i = 0; i < next.length; i++) {
      const room = step === 1 ? width - (i % width) : height - Math.floor(i / width);
      for (let k = 0; k < side && room >= side; k++) next[i] += counts[i + k * step];
    }
    counts = next;
  }
  return counts;
}

/** Squared distance of each hole pixel to the nearest kept one (Felzenszwalb and Huttenlocher 2012). */
function measureDistances(hole, width, height) {
  const result = new Float64Array(hole.length);
  for (let i = 0; i < hole.length; i++) result[i] = hole[i] ? 1e12 : 0;
  const longest = Math.max(width, height), values = new Float64Array(longest), roots = new Int32Array(longest);
  const borders = new Float64Array(longest + 1);
  for (const [lines, length, step] of [
    [width, height, (line, i) => i * width + line],
    [height, width, (line, i) => line * width + i],
  ]) {
    for (let line = 0; line < lines; line++) {
      for (let i = 0; i < length; i++) values[i] = result[step(line, i)];
      let last = 0;
      roots[0] = 0;
      borders[0] = -Infinity;
      borders[1] = Infinity;
      for (let i = 1; i < length; i++) {
        let border;
        for (;;) {
          const root = roots[last];
          border = (values[i] + i * i - values[root] - root * root) / (2 * (i - root));
          if (border > borders[last]) break;
          last--;
        }
        roots[++last] = i;
        borders[last] = border;
        borders[last + 1] = Infinity;
      }
      for (let i = 0, k = 0; i < length; i++) {
        while (borders[k + 1] < i) k++;
        result[step(line, i)] = (i - roots[k]) ** 2 + values[roots[k]];
      }
    }
  }
  return result;
}
