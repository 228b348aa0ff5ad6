// Where the grey values of a picture come from: its thumbnails and cut-outs, which are in the page, and the tiles
// of the whole image, which lie in a folder beside it and are loaded when they are looked at. A part is a
// rectangle with its exact values by role: { left, top, width, height, values }.

const WHOLE_PX = 16e6; // an image of no more pixels is loaded whole, of a larger one what is looked at
const TILES_AT_ONCE = 30; // a view of more tiles than these is left to the thumbnail
const TILES_KEPT = 60; // of a large image, the ones looked at last
const LOADS = 2; // tiles on their way at one time

// ---- out of the text

function bytesOf(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

async function inflated(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function unpack(text, Type, width, height) { // undoes `packed` of coding.py
  const planes = await inflated(bytesOf(text));
  const size = Type.BYTES_PER_ELEMENT;
  const count = width * height;
  if (planes.length !== count * size) throw new Error("wrong number of grey values");
  const numbers = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array }[size];
  const values = new numbers(count);
  for (let row = 0, i = 0; row < height; row++) {
    for (let end = i + width, value = 0; i < end; i++) {
      let folded = 0;
      for (let plane = size - 1; plane >= 0; plane--) folded = (folded << 8) | planes[plane * count + i];
      value = (value + ((folded >>> 1) ^ -(folded & 1))) | 0;
      values[i] = value;
    }
  }
  return new Type(values.buffer);
}

async function thumbnailOf(image, [low, high]) { // a PNG as `png_of` of coding.py writes it
  const bytes = bytesOf(image.getAttribute("src").split(",")[1]);
  const view = new DataView(bytes.buffer);
  const [width, height, length] = [view.getUint32(16), view.getUint32(20), view.getUint32(33)];
  const rows = await inflated(bytes.subarray(41, 41 + length));
  const steps = new Uint8Array(width * height);
  const values = new Float32Array(width * height);
  for (let i = 0; i < steps.length; i++) {
    const row = Math.floor(i / width);
    steps[i] = rows[row * (width + 1) + 1 + i % width] + (row ? steps[i - width] : 0);
    values[i] = steps[i] === 255 ? NaN : low + steps[i] * (high - low) / 254;
  }
  return { width, height, values };
}

async function pictureOf(element) { // all of it that the page holds
  const picture = JSON.parse(element.dataset.picture);
  Object.assign(picture, { element, whole: picture.dtype !== "float32", roles: Object.keys(picture.summaries) });
  picture.thumbnails = {};
  for (const image of element.querySelectorAll("img")) {
    picture.thumbnails[image.className] = await thumbnailOf(image, picture.ends);
  }
  picture.cutouts = picture.cutouts.map(([left, top, width, height]) => ({ left, top, width, height, values: {} }));
  for (const script of element.querySelectorAll("script")) {
    const cutout = picture.cutouts[Number(script.dataset.cutout)];
    cutout.values[script.className] = await unpack(
      script.textContent, TYPES[picture.dtype], cutout.width, cutout.height,
    );
  }
  picture.flags = picture.flags.map(([left, top, width, height, deviations, data]) => (
    { left, top, width, height, deviations, data }));
  picture.tiles = tilesOf(picture);
  return picture;
}

// ---- tiles, out of the folder

const folder = { url: document.getElementById("records").dataset.folder, lost: false };
const awaited = new Map(); // by name, since equal tiles are one file

window.longexposureTile = (name, values) => { // called by the script of a tile
  if (awaited.has(name)) awaited.get(name).resolve(values);
};

function tileValues(name) {
  if (!awaited.has(name)) {
    const script = document.createElement("script");
    const entry = {};
    entry.values = new Promise((resolve, reject) => {
      entry.resolve = resolve;
      script.onload = script.onerror = () => {
        awaited.delete(name);
        script.remove();
        reject(new Error(`no tile ${name}`)); // which does nothing where the script has handed them over
      };
    });
    awaited.set(name, entry);
    script.src = `${folder.url}/${name}.js`;
    document.head.append(script);
  }
  return awaited.get(name).values;
}

function tilesOf(picture) {
  const { rows, columns, names } = picture.tiles || { rows: [0], columns: [0], names: [] };
  return names.map((name, i) => {
    const [row, column] = [Math.floor(i / (columns.length - 1)), i % (columns.length - 1)];
    const [left, top] = [columns[column], rows[row]];
    const [width, height] = [columns[column + 1] - left, rows[row + 1] - top];
    return { name, left, top, width, height, values: null, state: "away", used: 0 };
  });
}

async function loadTile(picture, tile) {
  tile.state = "coming";
  try {
    const texts = await tileValues(tile.name);
    const values = {};
    for (const role of picture.roles) values[role] = await unpack(texts[role], TYPES[picture.dtype], tile.width, tile.height);
    Object.assign(tile, { values, state: "here" });
  } catch (error) {
    tile.state = "lost";
    const counted = (state) => picture.tiles.filter((each) => each.state === state).length;
    folder.lost = counted("here") === 0 && counted("lost") >= Math.min(3, picture.tiles.length);
  }
}

function tilesToLoad(picture, view) { // those in view first
  if (folder.lost || !folder.url || covered(picture, everything(picture))) return [];
  const inView = picture.tiles.filter((tile) => overlaps(tile, view));
  const all = picture.width * picture.height <= WHOLE_PX;
  if (!all && inView.length > TILES_AT_ONCE) return [];
  inView.forEach((tile) => { tile.used = performance.now(); });
  const wanted = all ? new Set([...inView, ...picture.tiles]) : inView;
  return [...wanted].filter((tile) => tile.state === "away");
}

function dropTiles(picture) {
  if (picture.width * picture.height <= WHOLE_PX) return;
  const here = picture.tiles.filter((tile) => tile.state === "here").sort((a, b) => b.used - a.used);
  here.slice(TILES_KEPT).forEach((tile) => Object.assign(tile, { values: null, state: "away" }));
}

// ---- exact values

function overlaps(part, { left, top, width, height }) {
  return part.left < left + width && part.left + part.width > left && part.top < top + height && part.top + part.height > top;
}

function holds(part, { left, top, width, height }) {
  return part.left <= left && part.left + part.width >= left + width && part.top <= top && part.top + part.height >= top + height;
}

const everything = ({ width, height }) => ({ left: 0, top: 0, width, height });

const tilesHere = (picture) => picture.tiles.filter((tile) => tile.state === "here");

function exactParts(picture) { // those painted later lie above; tiles and cut-outs agree where both are
  return [...picture.cutouts, ...tilesHere(picture)];
}

function covered(picture, region) { // whether all of its exact values are here
  const touched = picture.tiles.filter((tile) => overlaps(tile, region));
  return picture.cutouts.some((part) => holds(part, region))
    || (touched.length > 0 && touched.every((tile) => tile.state === "here"));
}

function exactValue(picture, role, x, y) {
  const at = { left: x, top: y, width: 1, height: 1 };
  const part = exactParts(picture).find((each) => holds(each, at));
  return part ? part.values[role][(y - part.top) * part.width + x - part.left] : undefined;
}

function thumbnailValue(picture, role, x, y) {
  const thumbnail = picture.thumbnails[role];
  const [column, row] = [Math.floor(x / picture.factor), Math.floor(y / picture.factor)];
  return thumbnail ? thumbnail.values[row * thumbnail.width + column] : undefined;
}

function gathered(picture, role, region) { // exact values of a region that is covered
  const values = new TYPES[picture.dtype](region.width * region.height);
  for (const part of exactParts(picture).filter((each) => overlaps(each, region))) {
    const [left, right] = [Math.max(part.left, region.left), Math.min(part.left + part.width, region.left + region.width)];
    const bottom = Math.min(part.top + part.height, region.top + region.height);
    for (let y = Math.max(part.top, region.top); y < bottom; y++) {
      const start = (y - part.top) * part.width + left - part.left;
      values.set(part.values[role].subarray(start, start + right - left), (y - region.top) * region.width + left - region.left);
    }
  }
  return values;
}

function partsAtHand(picture) { // and their number of pixels
  const tiles = tilesHere(picture);
  const parts = tiles.length ? tiles : picture.cutouts;
  return { parts, count: parts.reduce((sum, part) => sum + part.width * part.height, 0) };
}
