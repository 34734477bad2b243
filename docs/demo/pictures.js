// Pixels: photos as tensors, tensors as pictures, cut-outs. Photos are ImageData.

// The photo at another size, by area where it shrinks, as the network was trained.
export function resized(photo, width, height) {
  const result = new ImageData(width, height);
  const rows = alongColumns(alongRows(photo, width), width, photo.height, height);
  for (let i = 0; i < rows.length; i += 1) result.data[i] = i % 4 === 3 ? 255 : Math.round(rows[i]);
  return result;
}

// The photo with rows of another length: (height, width, 4), without rounding.
function alongRows(photo, width) {
  const parts = shares(photo.width, width);
  const result = new Float32Array(photo.height * width * 4);
  for (let y = 0; y < photo.height; y += 1) {
    for (const { from, to, share } of parts) {
      const source = 4 * (y * photo.width + from);
      const target = 4 * (y * width + to);
      for (let c = 0; c < 3; c += 1) result[target + c] += share * photo.data[source + c];
    }
  }
  return result;
}

// Likewise its columns.
function alongColumns(pixels, width, height, newHeight) {
  const length = 4 * width;
  const result = new Float64Array(newHeight * length);
  for (const { from, to, share } of shares(height, newHeight)) {
    for (let i = 0; i < length; i += 1) result[to * length + i] += share * pixels[from * length + i];
  }
  return result;
}

// What every new pixel takes from the old ones. By area when shrinking, else linear between centres.
function shares(before, after) {
  const parts = before < after ? between : covered;
  return Array.from({ length: after }, (_, to) => parts(to, before, before / after)).flat();
}

function between(to, before, scale) {
  const place = Math.min(Math.max((to + 0.5) * scale - 0.5, 0), before - 1);
  const from = Math.floor(place);
  const share = place - from;
  return [{ from, to, share: 1 - share }, { from: Math.min(from + 1, before - 1), to, share }];
}

function covered(to, before, scale) {
  const [start, end] = [to * scale, (to + 1) * scale];
  const parts = [];
  for (let from = Math.floor(start); from < Math.min(Math.ceil(end - 1e-9), before); from += 1) {
    const share = (Math.min(end, from + 1) - Math.max(start, from)) / scale;
    parts.push({ from, to, share });
  }
  return parts;
}

// RGB in [0, 1], one channel after the other.
export function values(photo) {
  const pixels = photo.width * photo.height;
  const result = new Float32Array(3 * pixels);
  for (let i = 0; i < pixels; i += 1) {
    for (let c = 0; c < 3; c += 1) result[c * pixels + i] = photo.data[4 * i + c] / 255;
  }
  return result;
}

// A map in [0, 1] in the colours of a table of 256 hexadecimal RGB values.
export function coloured(map, width, height, colours) {
  const picture = new ImageData(width, height);
  for (let i = 0; i < map.length; i += 1) {
    const colour = colours[Math.round(255 * Math.min(Math.max(map[i], 0), 1))];
    for (let c = 0; c < 3; c += 1) picture.data[4 * i + c] = (colour >> (16 - 8 * c)) & 255;
    picture.data[4 * i + 3] = 255;
  }
  return picture;
}

// The red channel of a picture.
export function reds(picture) {
  const result = new Uint8ClampedArray(picture.width * picture.height);
  for (let i = 0; i < result.length; i += 1) result[i] = picture.data[4 * i];
  return result;
}

// How much of every pixel the cut-out shows: the mask (0 to 255), steeper around the threshold.
export function alpha(mask, threshold) {
  const result = new Uint8ClampedArray(mask.length);
  for (let i = 0; i < mask.length; i += 1) result[i] = 4 * (mask[i] - 255 * threshold) + 127.5;
  return result;
}

// Correlation of the brightness of both photos outside the mask, on small copies.
export function agreement(background, image, mask) {
  const pairs = [];
  for (let i = 0; i < mask.length; i += 1) {
    if (mask[i] < 0.25) pairs.push([grey(background, i), grey(image, i)]);
  }
  const mean = (k) => pairs.reduce((sum, pair) => sum + pair[k], 0) / pairs.length;
  const [a, b] = [mean(0), mean(1)];
  let [both, first, second] = [1e-3, 1e-3, 1e-3];
  for (const [x, y] of pairs) {
    both += (x - a) * (y - b);
    first += (x - a) ** 2;
    second += (y - b) ** 2;
  }
  return { correlation: both / Math.sqrt(first * second), covered: 1 - pairs.length / mask.length };
}

function grey(photo, i) {
  return (photo.data[4 * i] + photo.data[4 * i + 1] + photo.data[4 * i + 2]) / 765;
}
