// A reading: one image after another in an order of this reader's own, a mark and how sure it is.

const byId = (id) => document.getElementById(id);
const cases = [...document.querySelectorAll("script.case")];
const marks = [];
let place = null;
let shownAt = 0;

for (let last = cases.length - 1; last > 0; last -= 1) { // Fisher and Yates
  const other = crypto.getRandomValues(new Uint32Array(1))[0] % (last + 1);
  [cases[last], cases[other]] = [cases[other], cases[last]];
}

function show() {
  const now = cases[marks.length];
  if (!now) { finish(); return; }
  place = null;
  byId("mark").hidden = true;
  byId("shown").src = now.textContent;
  byId("count").textContent = `Image ${marks.length + 1} of ${cases.length}`;
  for (const button of byId("sure").querySelectorAll("[data-sure]")) button.disabled = true;
  shownAt = performance.now();
}

function record(sure) {
  if (sure > 0 && !place) return;
  const seconds = Math.round((performance.now() - shownAt) / 100) / 10;
  const [x, y] = sure > 0 ? place : [null, null];
  marks.push({ id: cases[marks.length].dataset.id, x, y, confidence: sure, seconds });
  show();
}

function finish() {
  const text = JSON.stringify({ kit: byId("reading").dataset.kit, reader: byId("reader").value.trim(), marks }, null, 1);
  byId("read").hidden = true;
  byId("end").hidden = false;
  byId("text").value = text;
  byId("save").href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
}

byId("reader").addEventListener("input", () => { byId("begin").disabled = !byId("reader").value.trim(); });
byId("begin").addEventListener("click", () => {
  byId("start").hidden = true;
  byId("read").hidden = false;
  show();
});
byId("shown").addEventListener("click", (event) => {
  const zoom = Number(cases[0].dataset.zoom);
  place = [event.offsetX / zoom - 0.5, event.offsetY / zoom - 0.5];
  byId("mark").hidden = false;
  byId("mark").style.left = `${event.offsetX}px`;
  byId("mark").style.top = `${event.offsetY}px`;
  for (const button of byId("sure").querySelectorAll("[data-sure]")) button.disabled = false;
});
for (const button of byId("sure").querySelectorAll("[data-sure]")) {
  button.addEventListener("click", () => record(Number(button.dataset.sure)));
}
byId("none").addEventListener("click", () => record(0));
document.addEventListener("keydown", (event) => {
  if (!byId("read").hidden && /^[0-5]$/.test(event.key)) record(Number(event.key));
});
