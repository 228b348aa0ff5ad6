"use strict";
// Grey values: into text, into statistics, onto the screen. Nothing here knows the viewer.

const TYPES = { uint8: Uint8Array, uint16: Uint16Array, float32: Float32Array };

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

function exactly(value, whole) { // the shortest text that gives this grey value back
  if (whole || !Number.isFinite(value)) return String(value);
  for (let digits = 6; digits < 9; digits++) {
    const text = value.toPrecision(digits);
    if (Math.fround(text) === value) return String(Number(text));
  }
  return String(Number(value.toPrecision(9)));
}

const rounded = (value) => (Number.isFinite(value) ? String(Number(value.toPrecision(7))) : "–");

function toneOf(lower, upper, invert) {
  return (value) => {
    if (Number.isNaN(value)) return 0xff0000ff; // red: not a number
    const grey = Math.round(255 * clamp((value - lower) / (upper - lower), 0, 1));
    const shown = invert ? 255 - grey : grey;
    return (0xff000000 | (shown << 16) | (shown << 8) | shown) >>> 0;
  };
}

function tabled(tone, Type) { // the same map, looked up where grey values are whole numbers
  if (Type === Float32Array) return tone;
  const table = new Uint32Array(256 ** Type.BYTES_PER_ELEMENT);
  for (let value = 0; value < table.length; value++) table[value] = tone(value);
  return (value) => table[value];
}

function quantile(sorted, fraction) {
  const place = fraction * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (place - below);
}

function statisticsOf(values) { // population standard deviation, in two passes
  const { length } = values;
  let [sum, squares, least, most] = [0, 0, Infinity, -Infinity];
  for (let i = 0; i < length; i++) {
    sum += values[i];
    if (values[i] < least) least = values[i];
    if (values[i] > most) most = values[i];
  }
  const mean = sum / length;
  for (let i = 0; i < length; i++) squares += (values[i] - mean) ** 2;
  return [mean, Math.sqrt(squares / length), least, most];
}

function counted(arrays, low, step, bins) {
  const counts = new Uint32Array(bins);
  let outside = 0;
  for (const values of arrays) {
    for (let i = 0; i < values.length; i++) {
      const bin = Math.floor((values[i] - low) / step);
      if (bin >= 0 && bin < bins) counts[bin]++;
      else outside++;
    }
  }
  return { counts, outside };
}
