// Pixels: photos as tensors, tensors as pictures, cut-outs. Photos are ImageData.

// The photo at another size, by area where it shrinks, as the network was trained.
export function resized(photo, width, height) {
  const channels = 4;
  const rows = shares(photo.height, height);
  const columns = shares(photo.width, width);
  const narrow = new Float32Array(photo.height * width * channels);
  for (let y = 0; y < photo.height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      for (const [from, share] of columns[x]) {
        const source = (y * photo.width + from) * channels;
        const target = (y * width + x) * channels;
        for (let c = 0; c < 3; c += 1) narrow[target + c] += share * photo.data[source + c];
      }
    }
  }
  const result = new ImageData(width, height);
  for (let y = 0; y < height; y += 1) {
    for (let i = 0; i < width * channels; i += 1) {
      let sum = 0;
      for (const [from, share] of rows[y]) sum += share * narrow[from * width * channels + i];
      result.data[y * width * channels + i] = i % channels === 3 ? 255 : Math.round(sum);
    }
  }
  return result;
}

// Of every new pixel: [old pixel, share]. By area when shrinking, else linear between centres.
function shares(from, to) {
  const scale = from / to;
  return Array.from({ length: to }, (_, i) => {
    if (scale < 1) {
      const place = Math.min(Math.max((i + 0.5) * scale - 0.5, 0), from - 1);
      const first = Math.floor(place);
      const second = Math.min(first + 1, from - 1);
      return [[first, 1 - (place - first)], [second, place - first]];
    }
    const parts = [];
    const end = (i + 1) * scale;
    for (let j = Math.floor(i * scale); j < Math.min(Math.ceil(end - 1e-9), from); j += 1) {
      parts.push([j, (Math.min(end, j + 1) - Math.max(i * scale, j)) / scale]);
    }
    return parts;
  });
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

// How much of every pixel the cut-out shows: the mask (0 to 255), steeper around the threshold.
export function alpha(mask, threshold) {
  return Uint8ClampedArray.from(mask, (value) => 4 * (value - 255 * threshold) + 127.5);
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
