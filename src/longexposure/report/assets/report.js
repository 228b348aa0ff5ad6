// Viewer of a longexposure report. Everything measured is computed from the stored grey values; the thumbnails
// are for the eye. All x, y count from the whole image's corner.

const byId = (id) => document.getElementById(id);
const all = (selector) => [...document.querySelectorAll(selector)];

const records = all("article.record");
const canvas = byId("canvas");
const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
const state = {
  number: -1, page: 0, picture: null, exact: false, mode: "split", tool: "pan", left: "before", right: "after",
  lower: 0, upper: 1, invert: false, fit: true, zoom: 1, centre: [0, 0], split: 0.5,
  flags: true, swapped: false, peek: false, cursor: [0, 0], region: null, measured: false, range: 1, place: -1,
};

// ---- taking a picture out of the page

const picturesOf = (article) => article.querySelectorAll(".picture");

async function select(number, page) {
  if (!records[number]) return;
  const article = records[number];
  const elements = picturesOf(article);
  Object.assign(state, { number, page: clamp(page, 0, Math.max(0, elements.length - 1)) });
  byId("viewer").dataset.state = "loading";
  const picture = elements.length ? await pictureOf(elements[state.page]) : null;
  if (state.number !== number || (picture && elements[state.page] !== picture.element)) return; // another was chosen
  const first = state.picture === null;
  const { width, height } = picture || { width: 1, height: 1 };
  const same = picture && state.picture && state.picture.element.parentNode === article
    && state.picture.width === width && state.picture.height === height;
  state.picture = picture;
  if (!same) Object.assign(state, { fit: true, cursor: [Math.floor(width / 2), Math.floor(height / 2)] });
  Object.assign(state, { swapped: false, place: -1 });
  describe(article);
  if (picture) show(first || !byId("keep").checked);
  byId("viewer").dataset.state = "ready";
}

function show(anew) {
  const { picture } = state;
  all("span.reference").forEach((span) => { span.hidden = !picture.roles.includes("reference"); });
  byId("flags").hidden = !picture.flags.length;
  byId("sides").hidden = !picture.roles.includes("reference");
  if (!picture.roles.includes(state.left)) state.left = "before";
  if (!picture.roles.includes(state.right)) state.right = "after";
  for (const side of ["left", "right"]) {
    byId(side).replaceChildren(...picture.roles.map((role) => new Option(role, role, false, role === state[side])));
  }
  told();
  if (anew) presetWindow("auto");
  else setWindow(state.lower, state.upper);
  setSides();
  setRegion(null);
}

function describe(article) {
  all("article.record:not([hidden])").forEach((other) => { other.hidden = true; });
  article.hidden = false;
  const shown = order();
  rows.forEach((row) => row.classList.toggle("current", numberOf(row) === state.number));
  byId("name").textContent = article.querySelector("h2").textContent;
  byId("kind").textContent = article.querySelector("h2 + p").textContent;
  const warnings = article.querySelector(".warnings");
  byId("warnings").replaceChildren(...(warnings ? [...warnings.cloneNode(true).children] : []));
  byId("warnings").hidden = !warnings;
  byId("seen").hidden = !state.picture;
  byId("exact").hidden = true;
  const count = picturesOf(article).length;
  byId("pages").hidden = count < 2;
  byId("page-count").textContent = count;
  Object.assign(byId("page"), { max: count, value: state.page + 1 });
  byId("page-back").disabled = state.page === 0;
  byId("page-on").disabled = state.page === count - 1;
  byId("previous").disabled = shown[0] === state.number;
  byId("next").disabled = shown[shown.length - 1] === state.number;
}

// ---- what is there exactly, and what is on its way

let loads = 0;

function loadTiles() {
  const { picture } = state;
  const wanted = tilesToLoad(picture, inView());
  for (const tile of wanted.slice(0, Math.max(0, LOADS - loads))) {
    loads += 1;
    loadTile(picture, tile).then(() => {
      loads -= 1;
      dropTiles(picture);
      if (picture === state.picture) arrived();
      else draw();
    });
  }
}

function arrived() {
  state.measured = false;
  const before = state.exact;
  told();
  if (state.exact && !before) autoRange();
  draw();
}

function told() { // say what is shown, and offer the places that are
  const { picture } = state;
  state.exact = covered(picture, everything(picture));
  const here = tilesHere(picture).length;
  const lost = picture.tiles.filter((tile) => tile.state === "lost").length;
  const inside = picture.cutouts.length === 0 ? "a thumbnail"
    : `a thumbnail, and all grey values inside the frame${picture.cutouts.length > 1 ? "s" : ""}`;
  const large = picture.width * picture.height > WHOLE_PX;
  let text = `Of this image the page holds ${inside}.`;
  if (picture.tiles.length && folder.lost) {
    text = `The folder ${folderName()} is not beside this page. Without it, the page shows ${inside}; with it, every image whole.`;
  } else if (lost) text = `${lost} of the ${picture.tiles.length} parts of this image are missing in the folder ${folderName()}.`;
  else if (picture.tiles.length && large) text = "A large image: the stored grey values of what is in view are loaded when you zoom in.";
  else if (picture.tiles.length) text = `Loading the whole image: ${here} of ${picture.tiles.length} parts are here.`;
  byId("exact").textContent = text;
  byId("exact").hidden = state.exact;
  byId("viewer").dataset.exact = state.exact ? "whole" : folder.lost || !picture.tiles.length ? "parts" : "loading";
  offerPlaces();
}

function folderName() {
  try {
    return decodeURIComponent(folder.url);
  } catch {
    return folder.url;
  }
}

function offerPlaces() {
  const { picture } = state;
  const buttons = picture.places.map(([x, y, change], i) => {
    const flag = picture.flags.find((each) => change === null && holds(each, { left: x, top: y, width: 1, height: 1 }));
    const what = flag ? `${flag.data}, ${Number(flag.deviations.toPrecision(2))} σ` : change === null ? "chosen" : change === 0 ? "unchanged" : `${Number(change.toPrecision(2))} σ`;
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: `${x}, ${y}: ${what}` });
    if (change) button.title = "How much the mean of 4 x 4 pixels changed there; σ is the standard deviation of the noise at that grey value. Key C: next place.";
    if (flag) button.title = `What was taken away there is not noise: the original is ${flag.data} than the enhanced image. Key C: next place.`;
    button.hidden = !picture.cutouts.some((part) => holds(part, { left: x, top: y, width: 1, height: 1 }))
      && (folder.lost || !picture.tiles.length);
    button.addEventListener("click", () => goTo(i));
    return button;
  });
  byId("places").replaceChildren(...buttons);
  pressPlace();
}

function pressPlace() {
  [...byId("places").children].forEach((button, i) => button.setAttribute("aria-pressed", String(i === state.place)));
}

function goTo(i) {
  const [x, y] = state.picture.places[i];
  Object.assign(state, { fit: false, zoom: Math.max(1, state.zoom), centre: [x + 0.5, y + 0.5], cursor: [x, y], place: i });
  pressPlace();
  draw();
}

function nextPlace() {
  const offered = [...byId("places").children].flatMap((button, i) => (button.hidden ? [] : [i]));
  if (offered.length) goTo(offered.find((i) => i > state.place) ?? offered[0]);
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
    Object.assign(byId(`${id}-slide`), { min: low, max: high, step: state.picture.whole ? 1 : "any" });
    byId(`${id}-slide`).value = value;
  }
  draw();
}

function slideWindow(edge, value) { // a slider stops at the other edge
  const [low, high] = greyAxis();
  const least = state.picture.whole ? 1 : (high - low) / 1000;
  if (edge === "lower") setWindow(Math.min(value, state.upper - least), state.upper);
  else setWindow(state.lower, Math.max(value, state.lower + least));
}

function presetWindow(name) {
  const { window: auto, least, most, whole } = state.picture;
  let [lower, upper] = name === "full" ? [least, most] : auto;
  if (name === "region" && covered(state.picture, wholeRegion())) {
    const inside = Float64Array.from(regionValues("before")).sort();
    [lower, upper] = [quantile(inside, 0.005), quantile(inside, 0.995)];
    if (whole) [lower, upper] = [Math.floor(lower), Math.ceil(upper)];
  }
  if (!(upper > lower)) upper = lower + (whole ? 1 : Math.max(1e-6, Math.abs(lower) * 1e-6));
  setWindow(lower, upper);
}

function greyAxis() { // of sliders and histogram: wider than the window, but not as wide as a hot pixel makes it
  const { window: [autoLower, autoUpper], least, most } = state.picture;
  const width = autoUpper - autoLower || 1;
  const low = Math.max(least, autoLower - width);
  const high = Math.min(most, autoUpper + width);
  return [Math.min(low, state.lower), Math.max(high, state.upper)];
}

// ---- modes and sides

function setSides() {
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
  const { picture, left, right } = state;
  const { parts, count } = partsAtHand(picture);
  const thumbnails = [left, right].map((role) => picture.thumbnails[role]).filter(Boolean);
  const pairs = parts.map(({ values }) => [values[left], values[right]]);
  if (!pairs.length && thumbnails.length) pairs.push(thumbnails.map(({ values }) => values));
  const step = Math.max(1, Math.ceil(count / 200000));
  const sizes = [];
  for (const [one, other] of pairs) {
    for (let i = 0; i < one.length; i += step) sizes.push(Math.abs(one[i] - other[i]));
  }
  const size = quantile(Float64Array.from(sizes).filter(Number.isFinite).sort(), 0.995);
  setRange(picture.whole ? Math.max(1, Math.ceil(size) || 1) : size || 1);
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

function setFlags(flags) {
  state.flags = flags;
  byId("flags").setAttribute("aria-pressed", String(flags));
  draw();
}

function setInvert(invert) {
  state.invert = invert;
  byId("invert").setAttribute("aria-pressed", String(invert));
  draw();
}

// ---- region

const wholeRegion = () => state.region || everything(state.picture);

function regionValues(role) {
  const values = gathered(state.picture, role, wholeRegion());
  return state.picture.whole ? values : values.filter(Number.isFinite);
}

function measureRegion() {
  const { picture } = state;
  const region = wholeRegion();
  const there = covered(picture, region);
  state.measured = true;
  const odd = picture.roles.map((role) => region.width * region.height - picture.summaries[role][0]);
  const note = state.region ? there ? "" : ", of which not all grey values are here"
    : odd.some(Boolean) ? `, of which ${[...new Set(odd)].join(" / ")} hold no finite number` : "";
  byId("region-count").textContent = `${region.width * region.height} pixels, ${state.region ? "region" : "whole image"}${note}.`;
  byId("statistics").tBodies[0].replaceChildren(...picture.roles.map((role) => {
    const [, ...known] = picture.summaries[role];
    const [mean, deviation, least, most] = state.region
      ? there ? statisticsOf(regionValues(role)) : [NaN, NaN, NaN, NaN] : known;
    const row = document.createElement("tr");
    row.dataset.role = role;
    const head = Object.assign(document.createElement("th"), { scope: "row", textContent: role });
    const exact = (value) => (Number.isNaN(value) ? "–" : exactly(value, picture.whole));
    const texts = [rounded(mean), rounded(deviation), exact(least), exact(most)];
    const cells = texts.map((textContent) => Object.assign(document.createElement("td"), { textContent }));
    row.append(head, ...cells);
    return row;
  }));
}

function setRegion(region) { // the fields change at once, not with the next frame, which may find new typing in them
  Object.assign(state, { region, measured: false });
  const { left, top, width, height } = wholeRegion();
  Object.entries({ x: left, y: top, width, height }).forEach(([key, value]) => {
    byId(`region-${key}`).value = value;
  });
  draw();
}

function markRegion(x, y, width, height) { // what of it lies inside the image
  const { picture } = state;
  const left = clamp(x, 0, picture.width - 1);
  const top = clamp(y, 0, picture.height - 1);
  setRegion({ left, top, width: clamp(width, 1, picture.width - left), height: clamp(height, 1, picture.height - top) });
}

function typedRegion() {
  const typed = (key) => Math.round(byId(`region-${key}`).valueAsNumber || 0);
  markRegion(...["x", "y", "width", "height"].map(typed));
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
  const { picture } = state;
  const at = event ? place(event) : null;
  state.fit = false;
  state.zoom = clamp(zoom, ...ZOOM_LIMITS);
  if (at) {
    const middle = [(at.pane.from + at.pane.to) / 2, canvas.height / 2];
    state.centre = [at.x + (middle[0] - at.px) / state.zoom, at.y + (middle[1] - at.py) / state.zoom];
  }
  state.centre = [clamp(state.centre[0], 0, picture.width), clamp(state.centre[1], 0, picture.height)];
  draw();
}

function zoomStep(up, event) { // to the next power of two, so that pixels stay squares of one size
  const exponent = Math.log2(state.zoom);
  zoomTo(2 ** (up ? Math.floor(exponent + 1.001) : Math.ceil(exponent - 1.001)), event);
}

function pixelOf(at) {
  const { width, height } = state.picture;
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
      clamp(drag.centre[0] - sideways * scale, 0, state.picture.width),
      clamp(drag.centre[1] - down * scale, 0, state.picture.height),
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
    if (!state.picture.whole) setWindow(...edges);
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
  n: () => step(1), p: () => step(-1), ",": () => turnPage(state.page - 1), ".": () => turnPage(state.page + 1),
  c: nextPlace, g: () => setFlags(!state.flags),
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
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (!state.picture && !["n", "p"].includes(key.toLowerCase())) return;
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
  on("flags", "click", () => setFlags(!state.flags));
  on("swap", "click", swap);
  on("previous", "click", () => step(-1));
  on("next", "click", () => step(1));
  on("page-back", "click", () => turnPage(state.page - 1));
  on("page-on", "click", () => turnPage(state.page + 1));
  on("page", "change", () => turnPage(Math.round(byId("page").valueAsNumber) - 1));
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
  new ResizeObserver(() => {
    for (const layer of [canvas, byId("overlay")]) {
      layer.width = Math.round(byId("stage").clientWidth * devicePixelRatio);
      layer.height = Math.round(byId("stage").clientHeight * devicePixelRatio);
    }
    draw();
  }).observe(byId("stage"));
}

// ---- the table

const rows = all("#images tbody tr");
const numberOf = (row) => Number(row.querySelector("a").hash.slice("#image-".length));
const order = () => all("#images tbody tr").map(numberOf); // as it is sorted now

function prepareTable() {
  rows.forEach((row) => {
    row.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      history.replaceState(null, "", `#image-${numberOf(row)}`);
      byId("heading").scrollIntoView({ block: "start" });
      choose(numberOf(row));
    });
    const [first] = picturesOf(records[numberOf(row)]);
    const images = first ? [...first.querySelectorAll("img")].slice(0, 2) : [];
    row.querySelector("th").prepend(...images.map(({ src, alt, className }) => (
      Object.assign(new Image(), { src, alt, className, loading: "lazy" })
    )));
  });
  all("#images thead th").forEach((head, column) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: head.textContent });
    button.title = "Sort";
    button.addEventListener("click", () => sortBy(head, column));
    head.replaceChildren(button);
  });
}

const collator = new Intl.Collator(undefined, { numeric: true });

function sortBy(head, column) { // what is not there comes last, either way round
  const down = head.getAttribute("aria-sort") === "ascending";
  all("#images thead th").forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const keys = new Map(rows.map((row) => {
    const cell = row.cells[column];
    return [row, !cell || cell.classList.contains("reason") || cell.textContent === "-" ? null : cell.textContent];
  }));
  const compared = (one, other) => {
    if (one === null || other === null) return Number(one === null) - Number(other === null);
    const [a, b] = [Number(one), Number(other)];
    return (down ? -1 : 1) * (Number.isNaN(a - b) ? collator.compare(one, other) : a - b);
  };
  const sorted = [...rows].sort((one, other) => compared(keys.get(one), keys.get(other)));
  rows[0].parentNode.append(...sorted);
  if (state.number >= 0) describe(records[state.number]);
  if (state.picture) told();
}

function step(by) {
  const shown = order();
  const next = shown[shown.indexOf(state.number) + by];
  if (next !== undefined) choose(next);
}

function turnPage(page) {
  if (page >= 0 && page < picturesOf(records[state.number]).length) choose(state.number, page);
}

function choose(number, page = 0) {
  select(number, page).catch((error) => {
    byId("needs").hidden = false;
    byId("needs").textContent = `This image could not be unpacked (${error.message}). Write the report again.`;
  });
}

if (typeof DecompressionStream === "function" && records.length) {
  byId("needs").hidden = true;
  byId("viewer").hidden = false;
  records.forEach((article) => { article.hidden = true; });
  document.documentElement.classList.add("live");
  prepareTable();
  connect();
  setTool("pan");
  const asked = Number((location.hash.match(/^#image-(\d+)$/) || [0, -1])[1]);
  choose(records[asked] ? asked : Math.max(0, records.findIndex((article) => picturesOf(article).length)));
} else document.documentElement.classList.add("still");
