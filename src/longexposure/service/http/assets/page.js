// The page of a server: what came in, live, and the report's own viewer on the chosen image in a frame.
// Nothing a client has sent is ever put in as markup.

"use strict";

const LOOK_MS = 1500; // between two looks at the list
const AWAY_MS = 5000; // the same while the server does not answer
const SENDS = 2; // uploads at one time
const byId = (id) => document.getElementById(id);
const state = { jobs: new Map(), order: [], chosen: null, before: null, limits: null, shown: null, older: [] };

// ---- asking

async function ask(path, options = {}) {
  const response = await fetch(path, { credentials: "same-origin", ...options });
  if (response.status === 401) {
    showLogin();
    throw Object.assign(new Error("The server asks for its token."), { status: 401 });
  }
  return response;
}

async function told(response) { // what an answer says went wrong
  try {
    return (await response.json()).error || response.statusText;
  } catch {
    return `${response.status} ${response.statusText}`;
  }
}

function say(text, trouble = false) {
  if (byId("state").textContent !== text) byId("state").textContent = text;
  byId("state").classList.toggle("trouble", trouble);
}

// ---- the token

function showLogin() {
  byId("login").hidden = false;
  byId("main").hidden = true;
  say("Locked");
}

async function login(event) {
  event.preventDefault();
  const token = byId("token").value.trim();
  const response = await fetch("session", { method: "POST", headers: { Authorization: `Bearer ${token}` } });
  byId("wrong").textContent = response.ok ? "" : "That is not the token of this server.";
  if (!response.ok) return;
  byId("token").value = "";
  byId("login").hidden = true;
  await look();
}

// ---- the list

async function look() {
  try {
    const response = await ask("jobs?limit=100");
    if (!response.ok) throw new Error(await told(response));
    const { jobs, before, open } = await response.json();
    if (!state.limits) state.limits = await (await ask("limits")).json();
    byId("main").hidden = false;
    const ready = await (await ask("ready")).json();
    const older = state.older.filter((old) => !jobs.some((job) => job.id === old.id));
    if (!state.older.length) state.before = before;
    show([...jobs, ...older]);
    say(ready.ready ? (open ? `${open} waiting or running` : "Idle") : `Not ready: ${ready.why}`, !ready.ready);
    return true;
  } catch (error) {
    if (error.status !== 401) say(`No answer from the server (${error.message}); trying again`, true);
    return false;
  }
}

async function follow() {
  const answered = document.hidden || !byId("login").hidden ? true : await look();
  setTimeout(follow, answered ? LOOK_MS : AWAY_MS);
}

async function fetchOlder() {
  const { jobs, before } = await (await ask(`jobs?limit=100&before=${state.before}`)).json();
  state.older.push(...jobs);
  state.before = before;
  await look();
}

function show(jobs) {
  state.order = jobs.map(({ id }) => id);
  state.jobs = new Map(jobs.map((job) => [job.id, job]));
  const list = byId("jobs");
  const items = new Map([...list.children].map((item) => [item.dataset.id, item]));
  jobs.forEach((job, place) => {
    const item = items.get(job.id) || made(job);
    items.delete(job.id);
    describe(item, job);
    if (list.children[place] !== item) list.insertBefore(item, list.children[place] || null);
  });
  items.forEach((item) => item.remove());
  byId("older").hidden = state.before === null;
  if (state.chosen && !state.jobs.has(state.chosen)) choose(null);
  else if (state.chosen) open(state.jobs.get(state.chosen));
  else {
    const done = jobs.find((job) => job.state === "done");
    if (done) choose(done.id);
  }
}

function element(kind, className, textContent = "") {
  return Object.assign(document.createElement(kind), { className, textContent });
}

function made(job) {
  const item = element("li", "");
  item.dataset.id = job.id;
  item.id = `job-${job.id}`;
  item.setAttribute("role", "option");
  item.append(element("span", "title"), element("span", "small"));
  item.addEventListener("click", () => { choose(job.id); byId("jobs").focus(); });
  return item;
}

function describe(item, job) {
  const [title, small] = item.children;
  const warnings = job.found ? job.found.warnings : 0;
  title.textContent = job.name;
  small.textContent = line(job, warnings);
  item.className = job.state === "failed" ? "failed" : warnings ? "warned" : job.state;
  item.setAttribute("aria-selected", String(job.id === state.chosen));
}

function why({ name, error }) { // its name stands above
  return error && error.startsWith(`${name}: `) ? error.slice(name.length + 2) : error;
}

const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString();

function line(job, warnings) {
  if (job.state === "failed") return `failed: ${why(job)}`;
  if (job.state !== "done") return `${job.state} since ${clock(job.began_at || job.arrived_at)}${job.error ? `; ${job.error}` : ""}`;
  const size = job.found ? `, ${job.found.shape.join(" x ")}` : "";
  return `${clock(job.ended_at)}${size}${warnings ? `, ${warnings} warning${warnings > 1 ? "s" : ""}` : ""}`;
}

// ---- one image

function choose(id) {
  state.chosen = id;
  const list = byId("jobs");
  for (const item of list.children) item.setAttribute("aria-selected", String(item.dataset.id === id));
  if (id) list.setAttribute("aria-activedescendant", `job-${id}`);
  else list.removeAttribute("aria-activedescendant");
  const item = id && byId(`job-${id}`);
  if (item) item.scrollIntoView({ block: "nearest" });
  open(id ? state.jobs.get(id) : null);
}

function open(job) {
  const key = job ? `${job.id} ${job.state} ${job.error}` : "";
  if (state.shown === key) return;
  state.shown = key;
  const done = Boolean(job) && job.state === "done";
  byId("bar").hidden = !job;
  byId("told").hidden = done;
  byId("viewer").hidden = !done;
  if (!job) {
    byId("told").textContent = "Drop radiographs here, or choose one of the list.";
    byId("viewer").removeAttribute("src");
    return;
  }
  byId("name").textContent = job.name;
  byId("facts").textContent = done && job.found ? facts(job.found) : "";
  for (const [id, link] of [["fetch", job.links.result], ["alone", job.links.report], ["original", job.links.original]]) {
    byId(id).hidden = !link;
    if (link) byId(id).href = link.slice(1);
  }
  byId("delete").disabled = job.state === "running";
  if (done) byId("viewer").src = job.links.report.slice(1);
  else byId("told").textContent = job.state === "failed" ? `Not enhanced: ${why(job)}` : `${job.state}${job.error ? `: ${job.error}` : ""}`;
}

function facts({ shape, dtype, noise_sigma: noise, seconds, bad_pixels: bad }) {
  const parts = [`${shape.join(" x ")} ${dtype}`, `noise ${Number(noise).toPrecision(3)}`];
  if (bad) parts.push(`${bad} bad pixel${bad > 1 ? "s" : ""} filled`);
  return [...parts, `${Number(seconds).toFixed(2)} s`].join(", ");
}

function settle() { // of the report's page is shown what this page does not show itself
  const inner = byId("viewer").contentDocument;
  if (!inner || !inner.getElementById("viewer")) {
    if (inner && inner.body && inner.body.textContent.startsWith("{")) {
      byId("told").hidden = false;
      byId("told").textContent = JSON.parse(inner.body.textContent).error;
      byId("viewer").hidden = true;
    }
    return;
  }
  for (const part of inner.querySelectorAll("header, #summary, #images, #name, #kind, #previous, #next")) part.hidden = true;
  inner.addEventListener("keydown", pressKey, true); // before the viewer, whose N and P have nowhere to go
  inner.addEventListener("dragover", dragOver);
  inner.addEventListener("drop", dropped);
}

async function remove() {
  const job = state.jobs.get(state.chosen);
  if (!job || !window.confirm(`Delete ${job.name}, its enhanced file and its report?`)) return;
  const next = state.order[state.order.indexOf(job.id) + 1] || null;
  const response = await ask(job.links.self.slice(1), { method: "DELETE" });
  if (!response.ok) { say(await told(response), true); return; }
  state.older = state.older.filter(({ id }) => id !== job.id);
  choose(next);
  await look();
}

function step(by) {
  const next = state.order[state.order.indexOf(state.chosen) + by];
  if (next) choose(next);
}

// ---- uploads

const queue = [];
let sending = 0;

function upload(files) {
  for (const file of files) {
    const item = element("li", "");
    const bar = element("progress", "");
    item.append(element("span", "title", file.name), element("span", "small", "waits to be sent"), bar);
    byId("sending").append(item);
    const most = state.limits ? state.limits.most_bytes : Infinity;
    if (file.size > most) refuse(item, `${Math.ceil(file.size / 1e6)} MB; this server takes ${most / 1e6} MB`);
    else if (file.size === 0) refuse(item, "an empty file, or a folder");
    else queue.push({ file, item });
  }
  send();
}

function refuse(item, why) {
  item.className = "refused";
  item.querySelector("progress").remove();
  item.querySelector(".small").textContent = why;
  const button = element("button", "", "Dismiss");
  button.type = "button";
  button.addEventListener("click", () => item.remove());
  item.append(button);
}

function send() {
  while (sending < SENDS && queue.length) {
    sending += 1;
    const each = queue.shift();
    post(each).catch((error) => refuse(each.item, `not sent: ${error.message}`)).finally(() => { sending -= 1; send(); });
  }
}

function post({ file, item }) { // XMLHttpRequest, which tells how far an upload is
  const [small, bar] = [item.querySelector(".small"), item.querySelector("progress")];
  small.textContent = "is sent";
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `jobs?name=${encodeURIComponent(file.name.slice(-255))}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = (event) => { if (event.lengthComputable) Object.assign(bar, { max: event.total, value: event.loaded }); };
    request.onerror = () => reject(new Error("the server does not answer, or has refused it"));
    request.onload = () => {
      const answer = parsed(request.responseText);
      if (request.status === 202) {
        item.remove();
        look();
      } else if (request.status === 429) {
        const seconds = Number(request.getResponseHeader("Retry-After")) || 5;
        small.textContent = `the server is full; sent again in ${seconds} s`;
        setTimeout(() => { queue.push({ file, item }); send(); }, 1000 * seconds);
      } else if (request.status === 401) {
        showLogin();
        reject(new Error("the server asks for its token"));
        return;
      } else refuse(item, why({ name: file.name, error: answer.error }) || `${request.status} ${request.statusText}`);
      resolve();
    };
    request.send(file);
  });
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

function dragOver(event) {
  if (![...event.dataTransfer.types].includes("Files")) return;
  event.preventDefault();
  byId("drop").hidden = false;
}

function dropped(event) {
  event.preventDefault();
  byId("drop").hidden = true;
  upload(event.dataTransfer.files);
}

// ---- keyboard

function fold() {
  const folded = byId("main").classList.toggle("folded");
  byId("fold").setAttribute("aria-expanded", String(!folded));
}

function toggleHelp() {
  byId("keys").hidden = !byId("keys").hidden;
  byId("help").setAttribute("aria-expanded", String(!byId("keys").hidden));
}

const KEYS = {
  n: () => step(1), p: () => step(-1), u: () => byId("files").click(), l: fold, "?": toggleHelp,
};
const LIST_KEYS = {
  ArrowDown: () => step(1), ArrowUp: () => step(-1), Delete: remove,
  Enter: () => {
    const inner = byId("viewer").contentDocument;
    byId("viewer").focus();
    const canvas = inner && inner.getElementById("canvas");
    if (canvas) canvas.focus();
  },
};

function pressKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
  if (event.target.matches("input:not([type=range]), select, textarea")) return;
  const act = (event.target.id === "jobs" && LIST_KEYS[event.key]) || KEYS[event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  event.stopPropagation();
  act();
}

// ---- start

byId("login").addEventListener("submit", login);
byId("choose").addEventListener("click", () => byId("files").click());
byId("files").addEventListener("change", () => { upload(byId("files").files); byId("files").value = ""; });
byId("fold").addEventListener("click", fold);
byId("help").addEventListener("click", toggleHelp);
byId("older").addEventListener("click", fetchOlder);
byId("delete").addEventListener("click", remove);
byId("viewer").addEventListener("load", settle);
document.addEventListener("keydown", pressKey);
document.addEventListener("dragover", dragOver);
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) byId("drop").hidden = true; });
document.addEventListener("drop", dropped);
follow();
