// The viewer's canvases: where pixels lie on the screen, images, marks, profile and histogram.

const CURVES = { before: "#f0a030", after: "#58b4f0", reference: "#f4f4f4" };
const SURROUND = 0xff303030;
const ZOOM_LIMITS = [1 / 256, 64];

// ---- geometry: panes on the canvas, in device pixels

function panes() {
  const { width } = canvas;
  const half = Math.floor(width / 2);
  const spans = state.mode === "side" ? [[0, half - 1], [half + 1, width]] : [[0, width]];
  if (state.fit) fitTo(spans[0][1] - spans[0][0], canvas.height);
  const top = Math.round(canvas.height / 2 - state.centre[1] * state.zoom);
  return spans.map(([from, to]) => {
    return { from, to, top, left: Math.round((from + to) / 2 - state.centre[0] * state.zoom) };
  });
}

function fitTo(width, height) { // a whole number of screen pixels per pixel where there is room
  const { picture } = state;
  const scale = Math.min(width / picture.width, height / picture.height);
  state.zoom = clamp(scale >= 1 ? Math.floor(scale) : scale, ...ZOOM_LIMITS);
  state.centre = [picture.width / 2, picture.height / 2];
}

function inView() { // the rectangle of the image, in its pixels
  const [pane] = panes();
  const [left, top] = [(pane.from - pane.left) / state.zoom, -pane.top / state.zoom];
  return { left, top, width: (pane.to - pane.from) / state.zoom, height: canvas.height / state.zoom };
}

// ---- drawing

let pending = false;
function draw() {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => {
    pending = false;
    if (!state.picture) return;
    loadTiles();
    if (!state.measured) measureRegion();
    drawImages();
    drawOverlay();
    drawReadout();
    drawProfile();
    drawHistogram();
  });
}

function drawImages() {
  const { width, height } = canvas;
  if (!width || !height) return;
  const list = panes();
  const picture = context.createImageData(width, height);
  const target = { pixels: new Uint32Array(picture.data.buffer), width, height };
  target.pixels.fill(SURROUND);
  const plain = toneOf(state.lower, state.upper, state.invert);
  const table = tabled(plain, TYPES[state.picture.dtype]);
  const one = (role) => (values) => {
    const stored = values[role];
    const tone = stored instanceof Float32Array ? plain : table;
    return (i) => tone(stored[i]);
  };
  const between = toneOf(-state.range, state.range, false);
  const difference = (values) => {
    const [left, right] = [values[state.left], values[state.right]];
    return (i) => between(left[i] - right[i]);
  };
  const sides = [one(state.left), one(state.right)];
  const border = Math.round(state.split * width);
  if (state.peek) list.forEach((pane) => paint(target, pane, one("before")));
  else if (state.mode === "difference") paint(target, list[0], difference);
  else if (state.mode === "blink") paint(target, list[0], sides[Number(state.swapped)]);
  else if (state.mode === "side") list.forEach((pane, i) => paint(target, pane, sides[i]));
  else {
    paint(target, { ...list[0], to: border }, sides[0]);
    paint(target, { ...list[0], from: border }, sides[1]);
  }
  context.putImageData(picture, 0, 0);
  Object.assign(byId("stage").dataset, { left: list[0].left, top: list[0].top, zoom: state.zoom });
}

function paint(target, pane, shade) { // the thumbnail, and what is there exactly on top of it
  const { picture } = state;
  const { before } = picture.thumbnails;
  if (before) {
    const values = Object.fromEntries(Object.entries(picture.thumbnails).map(([role, each]) => [role, each.values]));
    paintPart(target, pane, { ...everything(picture), stride: before.width, factor: picture.factor }, shade(values));
  }
  for (const part of exactParts(picture)) paintPart(target, pane, { ...part, stride: part.width, factor: 1 }, shade(part.values));
}

function paintPart(target, pane, part, tone) { // nearest neighbour: each screen pixel takes one stored pixel
  const { zoom } = state;
  const [from, down] = [pane.left + part.left * zoom, pane.top + part.top * zoom];
  const last = Math.min(pane.to, Math.ceil(from + part.width * zoom) + 1);
  const bottom = Math.min(target.height, Math.ceil(down + part.height * zoom) + 1);
  const first = Math.max(pane.from, Math.floor(from) - 1);
  const columns = new Int32Array(target.width);
  for (let c = first; c < last; c++) {
    const x = Math.floor((c - pane.left) / zoom) - part.left;
    columns[c] = x >= 0 && x < part.width ? Math.floor(x / part.factor) : -1;
  }
  for (let r = Math.max(0, Math.floor(down) - 1); r < bottom; r++) {
    const y = Math.floor((r - pane.top) / zoom) - part.top;
    if (y < 0 || y >= part.height) continue;
    const row = Math.floor(y / part.factor) * part.stride;
    for (let c = first; c < last; c++) {
      if (columns[c] >= 0) target.pixels[r * target.width + c] = tone(row + columns[c]);
    }
  }
}

function drawOverlay() {
  const overlay = byId("overlay");
  const pen = overlay.getContext("2d");
  const scale = devicePixelRatio;
  pen.clearRect(0, 0, overlay.width, overlay.height);
  for (const pane of panes()) {
    pen.save();
    pen.beginPath();
    pen.rect(pane.from, 0, pane.to - pane.from, overlay.height);
    pen.clip();
    const toScreen = (x, y) => [pane.left + x * state.zoom, pane.top + y * state.zoom];
    const framed = (part) => [...toScreen(part.left, part.top), part.width * state.zoom, part.height * state.zoom];
    if (!state.exact) state.picture.cutouts.forEach((part) => frame(pen, framed(part), scale));
    if (state.flags) state.picture.flags.forEach((part) => outline(pen, around(framed(part), scale), scale, "#ff5a4d"));
    if (state.region) outline(pen, framed(state.region), scale);
    const [cx, cy] = toScreen(state.cursor[0] + 0.5, state.cursor[1] + 0.5);
    const tick = 12 * scale;
    for (const x of [pane.from, pane.to - tick]) outline(pen, [x, cy, tick, 0], scale);
    for (const y of [0, overlay.height - tick]) outline(pen, [cx, y, 0, tick], scale);
    if (state.zoom >= 4) outline(pen, [...toScreen(...state.cursor), state.zoom, state.zoom], scale);
    pen.restore();
  }
  const split = byId("split");
  split.hidden = state.mode !== "split" || state.peek;
  split.style.left = `${state.split * 100}%`;
  split.setAttribute("aria-valuenow", String(Math.round(state.split * 100)));
}

function around([x, y, width, height], scale) { // a box, with a little room: what is in it stays to be seen
  const room = Math.max(3 * scale, 2 * state.zoom);
  return [x - room, y - room, width + 2 * room, height + 2 * room];
}

function outline(pen, [x, y, width, height], scale, light = "#ffd75e") { // light on dark, to be seen on any grey
  for (const [colour, line] of [["#000", 3], [light, 1]]) {
    pen.strokeStyle = colour;
    pen.lineWidth = line * scale;
    pen.strokeRect(x, y, width, height);
  }
}

function frame(pen, [x, y, width, height], scale) { // of a cut-out: around it, none of its pixels hidden
  pen.setLineDash([4 * scale, 4 * scale]);
  outline(pen, [x - 2 * scale, y - 2 * scale, width + 4 * scale, height + 4 * scale], scale);
  pen.setLineDash([]);
}

function drawReadout() {
  const { picture, cursor } = state;
  byId("read-x").textContent = cursor[0];
  byId("read-y").textContent = cursor[1];
  for (const role of picture.roles) {
    const [exact, mean] = [exactValue, thumbnailValue].map((take) => take(picture, role, ...cursor));
    byId(`read-${role}`).textContent = exact !== undefined ? exactly(exact, picture.whole)
      : mean !== undefined ? `≈${Number(mean.toPrecision(4))}` : "–";
  }
  const [before, after] = ["before", "after"].map((role) => exactValue(picture, role, ...cursor));
  byId("read-difference").textContent = before === undefined ? "–" : rounded(before - after);
  const gaps = state.zoom < 1 ? " (pixels left out)" : "";
  byId("read-zoom").textContent = `${Number(state.zoom.toPrecision(3))}×${gaps}`;
  press("[data-zoom]", ({ dataset }) => (dataset.zoom === "fit") === state.fit
    && (state.fit || Number(dataset.zoom) === state.zoom));
  byId("profile-row").textContent = cursor[1];
}

function sized(canvas2d) { // a chart's pen, in CSS pixels on a canvas as fine as the screen
  const [width, height] = [canvas2d.clientWidth, canvas2d.clientHeight];
  canvas2d.width = Math.round(width * devicePixelRatio);
  canvas2d.height = Math.round(height * devicePixelRatio);
  const pen = canvas2d.getContext("2d");
  pen.scale(devicePixelRatio, devicePixelRatio);
  pen.font = "11px system-ui, sans-serif";
  return { pen, width, height };
}

function drawProfile() {
  const { picture, zoom, lower, upper, cursor } = state;
  const { pen, width, height } = sized(byId("profile"));
  const pane = panes()[0];
  const across = (x) => (pane.left + x * zoom - pane.from) * width / (pane.to - pane.from);
  const up = (value) => height - 4 - (height - 8) * (value - lower) / (upper - lower);
  const first = clamp(Math.floor((pane.from - pane.left) / zoom), 0, picture.width);
  const last = clamp(Math.ceil((pane.to - pane.left) / zoom), 0, picture.width);
  const row = { left: first, top: cursor[1], width: last - first, height: 1 };
  const parts = exactParts(picture).filter((part) => overlaps(part, row));
  pen.strokeStyle = "#777";
  pen.strokeRect(across(cursor[0] + 0.5), -1, 0, height + 2);
  for (const role of picture.roles) {
    pen.strokeStyle = CURVES[role];
    pen.setLineDash(role === "reference" ? [4, 3] : []);
    for (const part of parts) {
      const start = (cursor[1] - part.top) * part.width - part.left;
      pen.beginPath();
      for (let x = Math.max(first, part.left); x < Math.min(last, part.left + part.width); x++) {
        const level = up(part.values[role][start + x]);
        pen.lineTo(across(x), level);
        pen.lineTo(across(x + 1), level);
      }
      pen.stroke();
    }
  }
  pen.fillStyle = "#e4e4e4";
  pen.fillText(rounded(upper), 4, 12);
  pen.fillText(rounded(lower), 4, height - 5);
}

const counts = { key: "", bars: {} }; // counted again only when the image or the axis changes

function drawHistogram() {
  const [low, high] = greyAxis();
  const { picture } = state;
  const { whole } = picture;
  const { parts, count } = partsAtHand(picture);
  const step = whole ? Math.ceil((high - low + 1) / 256) : (high - low) / 255 || 1;
  const bins = whole ? Math.ceil((Math.floor(high) - low + 1) / step) : 256;
  const key = [state.number, state.page, low, high, count].join();
  if (counts.key !== key) {
    counts.key = key;
    counts.bars = {};
    for (const role of picture.roles) {
      counts.bars[role] = counted(parts.map((part) => part.values[role]), low, step, bins);
    }
  }
  const { pen, width, height } = sized(byId("histogram"));
  const across = (value) => width * (value - low) / (bins * step);
  const bars = Object.entries(counts.bars);
  const most = Math.log1p(Math.max(1, ...bars.flatMap(([, bar]) => [...bar.counts])));
  pen.fillStyle = "#3a3a3a";
  pen.fillRect(across(state.lower), 0, across(state.upper) - across(state.lower), height);
  pen.strokeStyle = "#fff";
  for (const edge of [state.lower, state.upper]) pen.strokeRect(across(edge), -1, 0, height + 2);
  for (const [role, bar] of bars) {
    pen.strokeStyle = CURVES[role];
    pen.setLineDash(role === "reference" ? [4, 3] : []);
    pen.beginPath();
    bar.counts.forEach((count, bin) => {
      const level = height - 2 - (height - 6) * Math.log1p(count) / most;
      pen.lineTo(across(low + bin * step), level);
      pen.lineTo(across(low + (bin + 1) * step), level);
    });
    pen.stroke();
  }
  const outside = bars.map(([role, bar]) => `${role} ${bar.outside}`).join(", ");
  const all = picture.width * picture.height;
  byId("histogram-text").textContent = `${rounded(low)} to ${rounded(high)}, number of pixels on a log scale`
    + `${count < all ? ` (of the ${count} at hand)` : ""}. Shaded: the window. Pixels beyond this axis: ${outside}.`;
}
