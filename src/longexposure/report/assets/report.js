// Viewer of a longexposure report. Everything shown is computed from the stored grey values, which are
// taken from the page's records one image at a time. All x, y here count from the embedded pixels'
// corner; what the page displays counts from the whole image's corner (record.left, record.top).

const byId = (id) => document.getElementById(id);
const all = (selector) => [...document.querySelectorAll(selector)];

const records = all("article.record");
const canvas = byId("canvas");
const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
const state = {
  number: -1, record: null, images: {}, mode: "split", tool: "pan", left: "before", right: "after",
  lower: 0, upper: 1, invert: false, fit: true, zoom: 1, centre: [0, 0], split: 0.5,
  swapped: false, peek: false, cursor: [0, 0], region: null, measured: false, range: 1, differences: null,
};

// ---- taking pixels out of the page

async function select(number) {
  if (!records[number]) return;
  state.number = number;
  const article = records[number];
  byId("viewer").dataset.state = "loading";
  const images = {};
  for (const script of article.querySelectorAll("script")) {
    images[script.className] = await unpack(script, TYPES[article.dataset.dtype]);
    if (state.number !== number) return; // another image was chosen meanwhile
  }
  const record = { whole: article.dataset.dtype !== "float32" };
  for (const key of ["width", "height", "left", "top", "autoLower", "autoUpper", "least", "most"]) {
    record[key] = Number(article.dataset[key]);
  }
  const first = state.record === null;
  const middle = [Math.floor(record.width / 2), Math.floor(record.height / 2)];
  Object.assign(state, { record, images, fit: true, swapped: false, cursor: middle });
  describe(article);
  if (first || !byId("keep").checked) presetWindow("auto");
  else setWindow(state.lower, state.upper);
  setSides();
  setRegion(null);
  byId("viewer").dataset.state = "ready";
}

function describe(article) {
  records.forEach((other) => { other.hidden = other !== article; });
  all("#images tbody tr").forEach((row, i) => row.classList.toggle("current", i === state.number));
  byId("name").textContent = article.querySelector("h2").textContent;
  byId("kind").textContent = article.querySelector("h2 + p").textContent;
  const crop = article.querySelector(".crop");
  byId("crop").hidden = !crop;
  byId("crop").textContent = crop ? crop.textContent : "";
  byId("previous").disabled = state.number === 0;
  byId("next").disabled = state.number === records.length - 1;
  const roles = Object.keys(state.images);
  byId("sides").hidden = !state.images.reference;
  all("span.reference").forEach((span) => { span.hidden = !state.images.reference; });
  if (!roles.includes(state.left)) state.left = "before";
  if (!roles.includes(state.right)) state.right = "after";
  for (const side of ["left", "right"]) {
    byId(side).replaceChildren(...roles.map((role) => new Option(role, role, false, role === state[side])));
  }
}

// ---- window: one map from grey values to the screen, for every image

function setWindow(lower, upper) {
  const valid = Number.isFinite(lower) && Number.isFinite(upper) && upper > lower;
  for (const id of ["lower", "upper"]) byId(id).setAttribute("aria-invalid", String(!valid));
  if (!valid) {
    byId("window-text").textContent = "Not applied: upper must be larger than lower.";
    return;
  }
  Object.assign(state, { lower, upper });
  byId("window-text").textContent = `level ${rounded((lower + upper) / 2)}, width ${rounded(upper - lower)}`;
  const [low, high] = greyAxis();
  for (const [id, value] of [["lower", lower], ["upper", upper]]) {
    if (Number(byId(id).value) !== value || byId(id).value === "") byId(id).value = rounded(value);
    Object.assign(byId(`${id}-slide`), { min: low, max: high, step: state.record.whole ? 1 : "any" });
    byId(`${id}-slide`).value = value;
  }
  draw();
}

function slideWindow(edge, value) { // a slider stops at the other edge
  const [low, high] = greyAxis();
  const least = state.record.whole ? 1 : (high - low) / 1000;
  if (edge === "lower") setWindow(Math.min(value, state.upper - least), state.upper);
  else setWindow(state.lower, Math.max(value, state.lower + least));
}

function presetWindow(name) {
  const { autoLower, autoUpper, least, most, whole } = state.record;
  let [lower, upper] = name === "full" ? [least, most] : [autoLower, autoUpper];
  if (name === "region") {
    const inside = Float64Array.from(regionValues(state.images.before)).sort();
    [lower, upper] = [quantile(inside, 0.005), quantile(inside, 0.995)];
    if (whole) [lower, upper] = [Math.floor(lower), Math.ceil(upper)];
  }
  if (!(upper > lower)) upper = lower + (whole ? 1 : Math.max(1e-6, Math.abs(lower) * 1e-6));
  setWindow(lower, upper);
}

function greyAxis() { // of sliders and histogram: wider than the window, but not as wide as a hot pixel makes it
  const { autoLower, autoUpper, least, most } = state.record;
  const width = autoUpper - autoLower || 1;
  const low = Math.max(least, autoLower - width);
  const high = Math.min(most, autoUpper + width);
  return [Math.min(low, state.lower), Math.max(high, state.upper)];
}

// ---- modes and sides

function setSides() {
  const left = state.images[state.left];
  const right = state.images[state.right];
  state.differences = subtracted(left, right);
  autoRange();
  setMode(state.mode);
}

function setMode(mode) {
  state.mode = mode;
  press("[data-mode]", (button) => button.dataset.mode === mode);
  const difference = mode === "difference";
  byId("difference").hidden = !difference;
  byId("swap").hidden = mode !== "blink";
  byId("labels").classList.toggle("side", mode === "side");
  byId("difference-text").textContent = `${state.left} minus ${state.right}. Mid grey: no difference. `
    + `Brighter: ${state.left} has the higher grey value. Window and inversion do not act here.`;
  label();
  draw();
}

function label() {
  const { left, right, mode, swapped } = state;
  const single = { difference: `${left} − ${right}`, blink: swapped ? right : left }[mode];
  byId("label-left").textContent = state.peek ? "before" : single || left;
  byId("label-right").textContent = state.peek || single ? "" : right;
}

function autoRange() {
  const step = Math.ceil(state.differences.length / 200000);
  const sizes = state.differences.filter((_, i) => i % step === 0).map(Math.abs).sort();
  const size = quantile(sizes, 0.995);
  setRange(state.record.whole ? Math.max(1, Math.ceil(size)) : size || 1);
}

function setRange(range) {
  const valid = range > 0 && Number.isFinite(range);
  byId("range").setAttribute("aria-invalid", String(!valid));
  if (!valid) return;
  state.range = range;
  byId("range").value = rounded(range);
  byId("scale-low").textContent = rounded(-range);
  byId("scale-high").textContent = `+${rounded(range)}`;
  draw();
}

function press(selector, isPressed) {
  all(selector).forEach((button) => button.setAttribute("aria-pressed", String(isPressed(button))));
}

function setTool(tool) {
  state.tool = tool;
  press("[data-tool]", (button) => button.dataset.tool === tool);
}

function setPeek(peek) {
  if (state.peek === peek) return;
  state.peek = peek;
  label();
  draw();
}

function swap() {
  state.swapped = !state.swapped;
  label();
  draw();
}

function setInvert(invert) {
  state.invert = invert;
  byId("invert").setAttribute("aria-pressed", String(invert));
  draw();
}

// ---- region

function wholeRegion() {
  return state.region || { x: 0, y: 0, width: state.record.width, height: state.record.height };
}

function regionValues(values) {
  const { x, y, width, height } = wholeRegion();
  const inside = new values.constructor(width * height);
  for (let r = 0; r < height; r++) {
    const start = (y + r) * state.record.width + x;
    inside.set(values.subarray(start, start + width), r * width);
  }
  return state.record.whole ? inside : inside.filter(Number.isFinite);
}

function measureRegion() {
  const { record } = state;
  const region = wholeRegion();
  state.measured = true;
  byId("region-count").textContent = `${region.width * region.height} pixels, `
    + (state.region ? "region." : byId("crop").hidden ? "whole image." : "whole crop.");
  byId("statistics").tBodies[0].replaceChildren(...Object.entries(state.images).map(([role, values]) => {
    const { mean, deviation, least, most } = statisticsOf(regionValues(values));
    const row = document.createElement("tr");
    row.dataset.role = role;
    const head = Object.assign(document.createElement("th"), { scope: "row", textContent: role });
    const texts = [rounded(mean), rounded(deviation), exactly(least, record.whole), exactly(most, record.whole)];
    const cells = texts.map((textContent) => Object.assign(document.createElement("td"), { textContent }));
    row.append(head, ...cells);
    return row;
  }));
}

function setRegion(region) { // the fields change at once, not with the next frame, which may find new typing in them
  Object.assign(state, { region, measured: false });
  const { x, y, width, height } = wholeRegion();
  const { left, top } = state.record;
  Object.entries({ x: x + left, y: y + top, width, height }).forEach(([key, value]) => {
    byId(`region-${key}`).value = value;
  });
  draw();
}

function markRegion(left, top, width, height) { // what of it lies inside the image
  const { record } = state;
  const x = clamp(left, 0, record.width - 1);
  const y = clamp(top, 0, record.height - 1);
  setRegion({ x, y, width: clamp(width, 1, record.width - x), height: clamp(height, 1, record.height - y) });
}

function typedRegion() {
  const typed = (key) => Math.round(byId(`region-${key}`).valueAsNumber || 0);
  const [x, y, width, height] = ["x", "y", "width", "height"].map(typed);
  markRegion(x - state.record.left, y - state.record.top, width, height);
}

// ---- pointer and zoom

function place(event) { // pointer position: in canvas pixels, its pane, and image pixels
  const box = canvas.getBoundingClientRect();
  const px = (event.clientX - box.left) * canvas.width / box.width;
  const py = (event.clientY - box.top) * canvas.height / box.height;
  const list = panes();
  const pane = list.find((each) => px < each.to) || list[list.length - 1];
  return { px, py, pane, x: (px - pane.left) / state.zoom, y: (py - pane.top) / state.zoom };
}

function zoomTo(zoom, event) {
  const { record } = state;
  const at = event ? place(event) : null;
  state.fit = false;
  state.zoom = clamp(zoom, ...ZOOM_LIMITS);
  if (at) {
    const middle = [(at.pane.from + at.pane.to) / 2, canvas.height / 2];
    state.centre = [at.x + (middle[0] - at.px) / state.zoom, at.y + (middle[1] - at.py) / state.zoom];
  }
  state.centre = [clamp(state.centre[0], 0, record.width), clamp(state.centre[1], 0, record.height)];
  draw();
}

function zoomStep(up, event) { // to the next power of two, so that pixels stay squares of one size
  const exponent = Math.log2(state.zoom);
  zoomTo(2 ** (up ? Math.floor(exponent + 1.001) : Math.ceil(exponent - 1.001)), event);
}

function pixelOf(at) {
  const { width, height } = state.record;
  return [clamp(Math.floor(at.x), 0, width - 1), clamp(Math.floor(at.y), 0, height - 1)];
}

let drag = null;
let wheel = 0;

function startDrag(event) {
  canvas.setPointerCapture(event.pointerId);
  const kind = event.button === 2 ? "window" : event.button === 0 ? state.tool : "pan";
  const { lower, upper, centre } = state;
  drag = { kind, from: event, lower, upper, centre, pixel: pixelOf(place(event)) };
}

function moveDrag(event) {
  const at = place(event);
  state.cursor = pixelOf(at);
  if (drag) dragTo(event, at);
  draw();
}

function dragTo(event, at) {
  const sideways = event.clientX - drag.from.clientX;
  const down = event.clientY - drag.from.clientY;
  if (drag.kind === "pan") {
    const scale = devicePixelRatio / state.zoom;
    state.fit = false;
    state.centre = [
      clamp(drag.centre[0] - sideways * scale, 0, state.record.width),
      clamp(drag.centre[1] - down * scale, 0, state.record.height),
    ];
  } else if (drag.kind === "region") {
    const [x, y] = pixelOf(at);
    const [fromX, fromY] = drag.pixel;
    markRegion(Math.min(x, fromX), Math.min(y, fromY), Math.abs(x - fromX) + 1, Math.abs(y - fromY) + 1);
  } else {
    const before = drag.upper - drag.lower;
    const width = before * Math.exp(sideways / 200);
    const level = (drag.lower + drag.upper) / 2 - before * down / 300;
    const edges = [level - width / 2, level + width / 2];
    if (!state.record.whole) setWindow(...edges);
    else setWindow(Math.round(edges[0]), Math.max(Math.round(edges[0]) + 1, Math.round(edges[1])));
  }
}

function turnWheel(event) {
  event.preventDefault();
  wheel += event.deltaMode === 0 ? event.deltaY : event.deltaY * 30; // lines or pages
  if (Math.abs(wheel) < 50) return; // small steps of a touchpad add up
  zoomStep(wheel < 0, event);
  wheel = 0;
}

function moveSplit(event) {
  if (!byId("split").hasPointerCapture(event.pointerId)) return;
  const box = canvas.getBoundingClientRect();
  setSplit((event.clientX - box.left) / box.width);
}

function setSplit(fraction) {
  state.split = clamp(fraction, 0, 1);
  draw();
}

// ---- keyboard

const KEYS = {
  s: () => setMode("split"), d: () => setMode("side"), f: () => setMode("difference"),
  b: () => (state.mode === "blink" ? swap() : setMode("blink")), i: () => setInvert(!state.invert),
  o: () => setPeek(true), a: () => presetWindow("auto"), r: () => setTool(state.tool === "pan" ? "region" : "pan"),
  n: () => choose(state.number + 1), p: () => choose(state.number - 1),
  0: fitNow, 1: () => zoomTo(1), 2: () => zoomTo(2), 4: () => zoomTo(4), 8: () => zoomTo(8),
  "+": () => zoomStep(true), "=": () => zoomStep(true), "-": () => zoomStep(false), escape: () => setRegion(null),
};
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function fitNow() {
  state.fit = true;
  draw();
}

function pressKey(event) {
  const { target, key } = event;
  if (!state.record || event.ctrlKey || event.altKey || event.metaKey) return;
  if (target.matches("input, select") && target.type !== "range") return;
  const onControl = target.matches("input, button, a, summary");
  if (key === " " && state.mode === "blink" && !onControl) swap();
  else if (ARROWS[key] && target === canvas) moveCursor(...ARROWS[key], event.shiftKey ? 10 : 1);
  else if (ARROWS[key] && ARROWS[key][0] && state.mode === "split" && !onControl && target.id !== "images") {
    setSplit(state.split + ARROWS[key][0] * (event.shiftKey ? 0.1 : 0.01));
  } else if (target.id === "split" && (key === "Home" || key === "End")) setSplit(key === "End" ? 1 : 0);
  else if (KEYS[key.toLowerCase()]) KEYS[key.toLowerCase()]();
  else return;
  event.preventDefault();
}

function moveCursor(x, y, step) {
  state.cursor = pixelOf({ x: state.cursor[0] + x * step, y: state.cursor[1] + y * step });
  draw();
}

// ---- start

function connect() {
  const on = (id, kind, act) => byId(id).addEventListener(kind, act);
  all("[data-mode]").forEach((button) => button.addEventListener("click", () => setMode(button.dataset.mode)));
  all("[data-tool]").forEach((button) => button.addEventListener("click", () => setTool(button.dataset.tool)));
  all("[data-window]").forEach((button) => button.addEventListener("click", () => presetWindow(button.dataset.window)));
  all("[data-zoom]").forEach((button) => {
    const { zoom } = button.dataset;
    button.addEventListener("click", () => (zoom === "fit" ? fitNow() : zoomTo(Number(zoom))));
  });
  for (const id of ["lower", "upper"]) {
    on(id, "input", () => setWindow(byId("lower").valueAsNumber, byId("upper").valueAsNumber));
    on(`${id}-slide`, "input", () => slideWindow(id, byId(`${id}-slide`).valueAsNumber));
  }
  for (const side of ["left", "right"]) on(side, "change", () => { state[side] = byId(side).value; setSides(); });
  for (const key of ["x", "y", "width", "height"]) on(`region-${key}`, "change", typedRegion);
  on("region-all", "click", () => setRegion(null));
  on("range", "input", () => setRange(byId("range").valueAsNumber));
  on("range-auto", "click", autoRange);
  on("invert", "click", () => setInvert(!state.invert));
  on("swap", "click", swap);
  on("previous", "click", () => choose(state.number - 1));
  on("next", "click", () => choose(state.number + 1));
  on("canvas", "pointerdown", startDrag);
  on("canvas", "pointermove", moveDrag);
  for (const end of ["pointerup", "pointercancel"]) on("canvas", end, () => { drag = null; });
  on("canvas", "contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", turnWheel, { passive: false });
  on("split", "pointerdown", (event) => byId("split").setPointerCapture(event.pointerId));
  on("split", "pointermove", moveSplit);
  document.addEventListener("keydown", pressKey);
  document.addEventListener("keyup", (event) => { if (event.key.toLowerCase() === "o") setPeek(false); });
  window.addEventListener("blur", () => setPeek(false));
  all("#images tbody tr").forEach((row, number) => row.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    history.replaceState(null, "", `#image-${number}`);
    byId("heading").scrollIntoView({ block: "start" });
    choose(number);
  }));
  new ResizeObserver(() => {
    for (const layer of [canvas, byId("overlay")]) {
      layer.width = Math.round(byId("stage").clientWidth * devicePixelRatio);
      layer.height = Math.round(byId("stage").clientHeight * devicePixelRatio);
    }
    draw();
  }).observe(byId("stage"));
}

function choose(number) {
  select(number).catch((error) => {
    byId("needs").hidden = false;
    byId("needs").textContent = `This image could not be unpacked (${error.message}). Write the report again.`;
  });
}

if (typeof DecompressionStream === "function" && records.length) {
  document.documentElement.classList.add("live");
  byId("needs").hidden = true;
  byId("viewer").hidden = false;
  connect();
  setTool("pan");
  const asked = Number((location.hash.match(/^#image-(\d+)$/) || [0, 0])[1]);
  choose(records[asked] ? asked : 0);
}
