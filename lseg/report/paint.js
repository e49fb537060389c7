// From probability maps to what is drawn: sampled at the screen's own resolution, so that borders
// are smooth at any zoom. Pure functions of arrays; the page's state is view.js' affair.
'use strict';
(function() {
const kBlock = 8;  // pixels of the map, for which it is known whether anything there can show

// Decodes a gray PNG in a data: URL to its bytes. Pictures from data: URLs do not taint a canvas.
async function decodeGray(url, width, height) {
  const image = new Image();
  image.src = url;
  await image.decode();
  if (image.naturalWidth !== width || image.naturalHeight !== height) {
    throw new Error('a map is not of the size that is said');
  }
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d', {willReadFrequently: true});
  context.drawImage(image, 0, 0);
  const rgba = context.getImageData(0, 0, width, height).data;
  const gray = new Uint8Array(width * height);
  for (let i = 0; i < gray.length; ++i) gray[i] = rgba[4 * i];
  return gray;
}

// Halves a map: of four pixels the largest, or all of their bits.
function halve(map, bits) {
  const width = (map.width + 1) >> 1, height = (map.height + 1) >> 1;
  const values = new Uint8Array(width * height);
  for (let y = 0; y < map.height; ++y) {
    for (let x = 0; x < map.width; ++x) {
      const value = map.values[y * map.width + x], at = (y >> 1) * width + (x >> 1);
      if (bits) values[at] |= value;
      else if (value > values[at]) values[at] = value;
    }
  }
  return {width, height, values};
}

// A map with smaller ones, made when they are needed: what is small must not fall between samples.
class Pyramid {
  constructor(width, height, values, bits) {
    this.levels = [{width, height, values}];
    this.bits = bits;
  }
  level(n) {
    while (this.levels.length <= n) {
      this.levels.push(halve(this.levels[this.levels.length - 1], this.bits));
    }
    return this.levels[n];
  }
}

// Where lesions may show: a block's bit c is set where class c reaches its threshold in it or next
// to it.
function mayShow(maps, thresholds) {
  const level = Math.log2(kBlock);
  const {width, height} = maps[0].level(level);
  const own = new Uint32Array(width * height), spread = new Uint32Array(width * height);
  maps.forEach((map, c) => {
    const values = map.level(level).values, least = 255 * thresholds[c];
    for (let i = 0; i < own.length; ++i) if (values[i] >= least) own[i] |= 1 << c;
  });
  for (let y = 0; y < height; ++y) {
    for (let x = 0; x < width; ++x) {
      let bits = 0;
      for (let v = Math.max(0, y - 1); v <= Math.min(height - 1, y + 1); ++v) {
        for (let u = Math.max(0, x - 1); u <= Math.min(width - 1, x + 1); ++u) bits |= own[v * width + u];
      }
      spread[y * width + x] = bits;
    }
  }
  return {width, bits: spread};
}

// The bits of the classes that a pixel belongs to, of their grays. Where only the likeliest counts,
// that of the largest ratio to its threshold, as in ClassMap.
function classBits(grays, least, surest) {
  let bits = 0, best = 0;
  for (let c = 0; c < least.length; ++c) {
    if (grays[c] < least[c]) continue;
    if (!surest) {
      bits |= 1 << c;
    } else if (grays[c] / least[c] > best) {
      best = grays[c] / least[c];
      bits = 1 << c;
    }
  }
  return bits;
}

// place: {width, height} of the screen in its pixels; x0, y0, step: the map's coordinates (edges) of
// the screen's corner, and their growth a pixel of the screen, for x and y. Fills `out` with a
// pixel's class bits.
function sampleClasses(maps, thresholds, surest, may, place, out) {
  out.fill(0);
  const least = thresholds.map((t) => 255 * t), grays = new Float64Array(maps.length);
  const level = Math.max(0, Math.ceil(Math.log2(place.stepX) - 0.01));
  const shown = maps.map((map) => map.level(level));
  const {width, height} = maps[0].level(0), unit = 1 << level;
  const columns = new Int32Array(place.width), shares = new Float64Array(place.width);
  for (let x = 0; x < place.width; ++x) {
    const at = place.x0 + (x + 0.5) * place.stepX;
    columns[x] = at < 0 || at >= width ? -1 : level > 0 ? Math.floor(at) : Math.floor(at - 0.5) + 1;
    shares[x] = at - 0.5 - Math.floor(at - 0.5);
  }
  for (let y = 0; y < place.height; ++y) {
    const at = place.y0 + (y + 0.5) * place.stepY;
    if (at < 0 || at >= height) continue;
    const row = Math.floor(at) >> 3, share = at - 0.5 - Math.floor(at - 0.5);
    const top = Math.max(0, Math.floor(at - 0.5)), bottom = Math.min(height - 1, Math.floor(at - 0.5) + 1);
    for (let x = 0; x < place.width; ++x) {
      if (columns[x] < 0) continue;
      const block = row * may.width + (Math.min(columns[x], width - 1) >> 3);
      const candidates = may.bits[block];
      if (candidates === 0) continue;
      for (let c = 0; c < maps.length; ++c) {
        if (!(candidates >> c & 1)) {
          grays[c] = -1;
        } else if (level > 0) {
          const map = shown[c];
          grays[c] = map.values[Math.floor(at / unit) * map.width + (columns[x] >> level)];
        } else {
          const values = shown[c].values, left = Math.max(0, columns[x] - 1);
          const right = Math.min(width - 1, columns[x]), s = shares[x];
          const a = values[top * width + left], b = values[top * width + right];
          const d = values[bottom * width + left], e = values[bottom * width + right];
          grays[c] = (a + (b - a) * s) * (1 - share) + (d + (e - d) * s) * share;
        }
      }
      out[y * place.width + x] = classBits(grays, least, surest);
    }
  }
}

// The truth's bits at the screen's pixels, the nearest.
function sampleBits(pyramid, place, out) {
  const level = Math.max(0, Math.ceil(Math.log2(place.stepX) - 0.01));
  const map = pyramid.level(level), {width, height} = pyramid.level(0);
  for (let y = 0; y < place.height; ++y) {
    const v = Math.floor(place.y0 + (y + 0.5) * place.stepY);
    for (let x = 0; x < place.width; ++x) {
      const u = Math.floor(place.x0 + (x + 0.5) * place.stepX);
      const inside = u >= 0 && v >= 0 && u < width && v < height;
      out[y * place.width + x] = inside ? map.values[(v >> level) * map.width + (u >> level)] : 0;
    }
  }
}

// Bits of the pixels within `radius` of one that has them, along axes and diagonals.
function dilate(bits, width, height, radius) {
  const across = new Uint32Array(bits.length), out = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; ++i) {
    if (bits[i] === 0) continue;
    const x = i % width;
    const end = i + Math.min(radius, width - 1 - x);
    for (let k = i - Math.min(radius, x); k <= end; ++k) across[k] |= bits[i];
  }
  for (let i = 0; i < bits.length; ++i) {
    if (across[i] === 0) continue;
    const y = Math.floor(i / width);
    const end = Math.min(height - 1, y + radius);
    for (let v = Math.max(0, y - radius); v <= end; ++v) out[v * width + i % width] |= across[i];
  }
  return out;
}

// Draws into `pixels` (RGBA): bit k in colours[k], filled where `filled` has the bit, else outlined;
// dashed where `dashed` has it. A higher bit lies above.
function paintBits(bits, width, height, style, pixels) {
  const rgba = new Uint32Array(pixels.buffer);
  rgba.fill(0);
  const alpha = Math.round(255 * style.opacity) << 24;
  const packed = style.colours.map(([r, g, b]) => (alpha | b << 16 | g << 8 | r) >>> 0);
  const around = dilate(bits, width, height, style.radius);
  for (let i = 0; i < bits.length; ++i) {
    let shown = (bits[i] & style.filled) | (around[i] & ~bits[i] & ~style.filled);
    if (shown & style.dashed && (i % width + Math.floor(i / width)) % style.dash < style.dash / 2) {
      shown &= ~style.dashed;
    }
    if (shown !== 0) rgba[i] = packed[31 - Math.clz32(shown)];
  }
}

// Pixels of the map by class: {hit, wrong, missed}. Truths hold eight classes at the most.
function compareMaps(maps, thresholds, surest, truth) {
  const least = thresholds.map((t) => 255 * t), grays = new Float64Array(maps.length);
  const values = maps.map((map) => map.level(0).values), marks = truth.level(0).values;
  const scores = maps.map(() => ({hit: 0, wrong: 0, missed: 0}));
  for (let i = 0; i < marks.length; ++i) {
    for (let c = 0; c < maps.length; ++c) grays[c] = values[c][i];
    const bits = classBits(grays, least, surest);
    if ((bits | marks[i]) === 0) continue;
    scores.forEach((score, c) => {
      const found = bits >> c & 1, there = marks[i] >> c & 1;
      if (found && there) ++score.hit;
      else if (found) ++score.wrong;
      else if (there) ++score.missed;
    });
  }
  return scores;
}

// The probability at a point of the map (edges), between its pixels.
function probabilityAt(pyramid, x, y) {
  const {width, height, values} = pyramid.level(0);
  const u = Math.min(Math.max(x - 0.5, 0), width - 1), v = Math.min(Math.max(y - 0.5, 0), height - 1);
  const left = Math.floor(u), top = Math.floor(v);
  const right = Math.min(left + 1, width - 1), bottom = Math.min(top + 1, height - 1);
  const s = u - left, t = v - top;
  return ((values[top * width + left] * (1 - s) + values[top * width + right] * s) * (1 - t) +
          (values[bottom * width + left] * (1 - s) + values[bottom * width + right] * s) * t) / 255;
}

// White on black, so that it shows on anything.
function strokeTwice(context, path, density) {
  for (const [colour, width] of [['#000', 4], ['#fff', 2]]) {
    context.strokeStyle = colour;
    context.lineWidth = width * density;
    context.stroke(path);
  }
}

// A cross that leaves its middle free.
function crossPath(x, y, arm) {
  const path = new Path2D();
  for (const [dx, dy] of [[1, 0], [0, 1], [-1, 0], [0, -1]]) {
    path.moveTo(x + dx * arm / 3, y + dy * arm / 3);
    path.lineTo(x + dx * arm, y + dy * arm);
  }
  return path;
}

lseg.paint = {
  decodeGray, Pyramid, mayShow, sampleClasses, sampleBits, paintBits, compareMaps, probabilityAt,
  strokeTwice, crossPath,
};
})();
