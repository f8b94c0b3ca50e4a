"use strict";
// Ratings live in `marks`: {clip id: {axis: 1..5}}. They are kept in the browser under the sheet's id after every mark.
const content = JSON.parse(document.getElementById("content").textContent);
const $ = (id) => document.getElementById(id);
const place = `mld-rating/${content.sheet}`;
let marks = {}, at = 0, row = 0, kept = true;

function recall() {
  try {
    const known = JSON.parse(localStorage.getItem(place) || "{}");
    marks = clean(known.marks || {});
    at = Math.min(Math.max(0, known.at | 0), content.prompts.length - 1);
    $("rater").value = known.rater || "";
  } catch { kept = false; }
}

function keep() {
  try { localStorage.setItem(place, JSON.stringify({ marks, at, rater: $("rater").value })); kept = true; }
  catch { kept = false; say("This browser keeps nothing: save your ratings before you close the page."); }
}

// Only clips, axes and values of this sheet.
function clean(found) {
  const own = {};
  for (const prompt of content.prompts) for (const { id } of prompt.clips) {
    for (const { key } of content.axes) {
      const value = (found[id] || {})[key];
      if (content.scale.some((step) => step.value === value)) (own[id] ||= {})[key] = value;
    }
  }
  return own;
}

const say = (text) => { $("message").textContent = text; };
const complete = (clip) => content.axes.every(({ key }) => marks[clip.id]?.[key]);
const finished = (prompt) => prompt.clips.every(complete);

function make(tag, attributes = {}, ...inside) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...inside);
  return element;
}

function axisOf(clip, axis, letter) {
  const set = make("fieldset", { "data-clip": clip.id, "data-axis": axis.key },
    make("legend", {}, axis.name, make("span", { class: "hidden" }, ` of motion ${letter}`)),
    make("p", { class: "why" }, axis.help));
  const steps = make("div", { class: "marks" });
  for (const step of content.scale) {
    const input = make("input", { type: "radio", name: `${clip.id}-${axis.key}`, value: step.value,
      "aria-label": `${step.value}, ${step.name}` });
    input.checked = marks[clip.id]?.[axis.key] === step.value;
    input.addEventListener("change", () => mark(clip.id, axis.key, step.value));
    steps.append(make("label", { title: step.name }, input, String(step.value)));
  }
  set.append(steps);
  set.addEventListener("focusin", () => activate(rows().indexOf(set)));
  return set;
}

function show() {
  const prompt = content.prompts[at];
  $("prompt").textContent = prompt.text;
  $("category").textContent = prompt.category;
  $("clips").replaceChildren(...prompt.clips.map((clip, number) => {
    const letter = String.fromCharCode(65 + number);
    const video = make("video", { src: clip.src, controls: "", loop: "", playsinline: "", preload: "auto",
      "aria-label": `motion ${letter}`, tabindex: "-1" });
    video.muted = true;
    video.addEventListener("error", () => say(`The video of motion ${letter} cannot be played; is its folder beside the page?`));
    const head = make("h2", {}, make("span", {}, prompt.clips.length > 1 ? `Motion ${letter}` : "Motion"),
      make("span", { class: "mark", "data-done": clip.id }));
    return make("section", { class: "clip" }, head, video, ...content.axes.map((axis) => axisOf(clip, axis, letter)));
  }));
  $("previous").disabled = at === 0;
  $("next").disabled = at === content.prompts.length - 1;
  row = Math.max(0, rows().findIndex((set) => !valueOf(set)));
  activate(row);
  count();
  play();
}

const rows = () => [...document.querySelectorAll("fieldset")];
const valueOf = (set) => marks[set.dataset.clip]?.[set.dataset.axis];

function activate(number) {
  const all = rows();
  row = Math.min(Math.max(0, number), all.length - 1);
  all.forEach((set, i) => set.classList.toggle("active", i === row));
}

function mark(clip, axis, value) {
  (marks[clip] ||= {})[axis] = value;
  keep();
  count();
}

function rate(value) {
  const set = rows()[row];
  const input = set.querySelector(`input[value="${value}"]`);
  input.checked = true;
  mark(set.dataset.clip, set.dataset.axis, value);
  if (row + 1 < rows().length) {
    activate(row + 1);
    rows()[row].scrollIntoView({ block: "nearest" });
  }
}

function count() {
  const clips = content.prompts.flatMap((prompt) => prompt.clips);
  const done = clips.filter(complete).length;
  $("bar").max = clips.length;
  $("bar").value = done;
  $("count").textContent = `${done} of ${clips.length} motions rated`;
  content.prompts.forEach((prompt, i) => {
    $("jump").options[i].textContent = `${finished(prompt) ? "✓ " : ""}${prompt.line}. ${prompt.text.slice(0, 80)}`;
  });
  $("jump").selectedIndex = at;
  for (const span of document.querySelectorAll("[data-done]")) {
    span.textContent = complete({ id: span.dataset.done }) ? "✓ rated" : "";
  }
}

function go(number) {
  if (number < 0 || number >= content.prompts.length) return;
  at = number;
  keep();
  show();
  scrollTo(0, 0);
}

function play() {
  for (const video of document.querySelectorAll("video")) {
    video.currentTime = 0;
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) video.play().catch(() => {});
  }
}

function replay() {
  for (const video of document.querySelectorAll("video")) { video.currentTime = 0; video.play().catch(() => {}); }
}

const results = () => content.prompts.flatMap((prompt) => prompt.clips
  .filter(({ id }) => marks[id])
  .map(({ id }) => ({ line: prompt.line, clip: id, ...marks[id] })));

function save(kind) {
  const rater = $("rater").value.trim();
  if (!rater) { say("Please write your name or number at the top first."); $("rater").focus(); return; }
  const found = results(), head = { format: content.format, sheet: content.sheet, models: content.models, rater };
  let text;
  if (kind === "json") text = JSON.stringify({ ...head, ratings: found }, null, 2) + "\n";
  else {
    const cell = (value) => `"${String(value ?? "").replaceAll('"', '""')}"`;
    const keys = content.axes.map(({ key }) => key);
    const lines = found.map((one) => [head.format, head.sheet, head.models.join(" "), rater, one.line, one.clip,
      ...keys.map((key) => one[key])]);
    text = [["format", "sheet", "models", "rater", "line", "clip", ...keys], ...lines]
      .map((line) => line.map(cell).join(",")).join("\r\n") + "\r\n";
  }
  const link = make("a", { download: `rating-${rater.replace(/[^\p{L}\p{N}]+/gu, "-")}.${kind}` });
  link.href = URL.createObjectURL(new Blob([text], { type: kind === "json" ? "application/json" : "text/csv" }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  const all = content.prompts.flatMap((prompt) => prompt.clips).length;
  say(`${found.length} of ${all} motions saved as ${link.download}.`);
}

async function load(file) {
  try {
    const found = JSON.parse(await file.text());
    if (found.sheet !== content.sheet) { say("These ratings are of another sheet."); return; }
    const own = {};
    for (const { clip, ...values } of found.ratings) own[clip] = values;
    marks = clean(own);
    $("rater").value = found.rater || $("rater").value;
    keep();
    show();
    say("Your ratings are back.");
  } catch { say("This file holds no ratings; choose the JSON file that was saved here."); }
}

function key(event) {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const target = event.target;
  if (target.matches("input:not([type=radio]), select, textarea")) return;
  const steps = content.scale.map((step) => String(step.value));
  const does = {
    n: () => go(at + 1), PageDown: () => go(at + 1), p: () => go(at - 1), PageUp: () => go(at - 1), r: replay,
    j: () => activate(row + 1), k: () => activate(row - 1),
  }[event.key];
  if (steps.includes(event.key)) rate(Number(event.key));
  else if (does) does();
  else return;
  event.preventDefault();
}

for (const _ of content.prompts) $("jump").append(make("option"));
$("help").textContent = "Motions stand in a random order. " + content.scale.map((s) => `${s.value} ${s.name}`).join(", ") +
  ". Keys: 1 to 5 rate the marked line and go on to the next, j and k change it, n and p (Page Down, Page Up) change the " +
  "prompt, r plays from the start. What you rate is kept in this browser; save it when you are done.";
$("previous").addEventListener("click", () => go(at - 1));
$("next").addEventListener("click", () => go(at + 1));
$("jump").addEventListener("change", () => go($("jump").selectedIndex));
$("replay").addEventListener("click", replay);
$("json").addEventListener("click", () => save("json"));
$("csv").addEventListener("click", () => save("csv"));
$("load").addEventListener("change", () => { if ($("load").files[0]) load($("load").files[0]); });
$("rater").addEventListener("input", keep);
document.addEventListener("keydown", key);
if (content.prompts.length) { recall(); show(); }
else say("There is no motion to rate on this sheet.");
if (!kept) say("This browser keeps nothing: save your ratings before you close the page.");
