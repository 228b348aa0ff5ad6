// The viewer's canvases: where pixels lie on the screen, images, marks, profile and histogram.

const CURVES = { before: "#f0a030", after: "#58b4f0", reference: "#f4f4f4" };
const SURROUND = 0xff303030;
const ZOOM_LIMITS = [1 / 32, 64];

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
  const scale = Math.min(width / state.record.width, height / state.record.height);
  state.zoom = clamp(scale >= 1 ? Math.floor(scale) : scale, ...ZOOM_LIMITS);
  state.centre = [state.record.width / 2, state.record.height / 2];
}

// ---- drawing

let pending = false;
function draw() {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => {
    pending = false;
    if (!state.record) return;
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
  const tone = tabled(toneOf(state.lower, state.upper, state.invert), state.images.before);
  const sides = [state.images[state.left], state.images[state.right]];
  const border = Math.round(state.split * width);
  if (state.peek) list.forEach((pane) => paint(target, pane, state.images.before, tone));
  else if (state.mode === "difference") {
    paint(target, list[0], state.differences, toneOf(-state.range, state.range, false));
  } else if (state.mode === "blink") paint(target, list[0], sides[Number(state.swapped)], tone);
  else if (state.mode === "side") list.forEach((pane, i) => paint(target, pane, sides[i], tone));
  else {
    paint(target, { ...list[0], to: border }, sides[0], tone);
    paint(target, { ...list[0], from: border }, sides[1], tone);
  }
  context.putImageData(picture, 0, 0);
  Object.assign(byId("stage").dataset, { left: list[0].left, top: list[0].top, zoom: state.zoom });
}

function paint(target, pane, values, tone) { // nearest neighbour: each screen pixel takes one stored pixel
  const { width, height } = state.record;
  const columns = new Int32Array(target.width);
  for (let c = pane.from; c < pane.to; c++) columns[c] = Math.floor((c - pane.left) / state.zoom);
  for (let r = 0; r < target.height; r++) {
    const y = Math.floor((r - pane.top) / state.zoom);
    if (y < 0 || y >= height) continue;
    for (let c = pane.from; c < pane.to; c++) {
      const x = columns[c];
      if (x >= 0 && x < width) target.pixels[r * target.width + c] = tone(values[y * width + x]);
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
    if (state.region) {
      const { x, y, width, height } = state.region;
      outline(pen, [...toScreen(x, y), width * state.zoom, height * state.zoom], scale);
    }
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

function outline(pen, [x, y, width, height], scale) { // light on dark, to be seen on any grey
  for (const [colour, line] of [["#000", 3], ["#ffd75e", 1]]) {
    pen.strokeStyle = colour;
    pen.lineWidth = line * scale;
    pen.strokeRect(x, y, width, height);
  }
}

function drawReadout() {
  const { record, images, cursor } = state;
  const index = cursor[1] * record.width + cursor[0];
  byId("read-x").textContent = cursor[0] + record.left;
  byId("read-y").textContent = cursor[1] + record.top;
  for (const role of Object.keys(images)) byId(`read-${role}`).textContent = exactly(images[role][index], record.whole);
  byId("read-difference").textContent = rounded(images.before[index] - images.after[index]);
  const gaps = state.zoom < 1 ? " (pixels left out)" : "";
  byId("read-zoom").textContent = `${Number(state.zoom.toPrecision(3))}×${gaps}`;
  press("[data-zoom]", ({ dataset }) => (dataset.zoom === "fit") === state.fit
    && (state.fit || Number(dataset.zoom) === state.zoom));
  byId("profile-row").textContent = cursor[1] + record.top;
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
  const { record, images, zoom, lower, upper, cursor } = state;
  const { pen, width, height } = sized(byId("profile"));
  const pane = panes()[0];
  const across = (x) => (pane.left + x * zoom - pane.from) * width / (pane.to - pane.from);
  const up = (value) => height - 4 - (height - 8) * (value - lower) / (upper - lower);
  const first = clamp(Math.floor((pane.from - pane.left) / zoom), 0, record.width);
  const last = clamp(Math.ceil((pane.to - pane.left) / zoom), 0, record.width);
  pen.strokeStyle = "#777";
  pen.strokeRect(across(cursor[0] + 0.5), -1, 0, height + 2);
  for (const [role, values] of Object.entries(images)) {
    pen.strokeStyle = CURVES[role];
    pen.setLineDash(role === "reference" ? [4, 3] : []);
    pen.beginPath();
    for (let x = first; x < last; x++) {
      const level = up(values[cursor[1] * record.width + x]);
      pen.lineTo(across(x), level);
      pen.lineTo(across(x + 1), level);
    }
    pen.stroke();
  }
  pen.fillStyle = "#e4e4e4";
  pen.fillText(rounded(upper), 4, 12);
  pen.fillText(rounded(lower), 4, height - 5);
}

const counts = { key: "", bars: {} }; // counted again only when the image or the axis changes

function drawHistogram() {
  const [low, high] = greyAxis();
  const { whole } = state.record;
  const step = whole ? Math.ceil((high - low + 1) / 256) : (high - low) / 255 || 1;
  const bins = whole ? Math.ceil((Math.floor(high) - low + 1) / step) : 256;
  const key = [state.number, low, high].join();
  if (counts.key !== key) {
    counts.key = key;
    counts.bars = {};
    for (const [role, values] of Object.entries(state.images)) counts.bars[role] = counted(values, low, step, bins);
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
  byId("histogram-text").textContent = `${rounded(low)} to ${rounded(high)}, number of pixels on a log scale. `
    + `Shaded: the window. Pixels beyond this axis: ${outside}.`;
}
