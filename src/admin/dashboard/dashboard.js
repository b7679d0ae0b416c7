// The page's loop: asks for a picture each second, hands it to the model, has it drawn. It decides
// when to ask; what is known and how it looks is decided elsewhere.
//
// Nothing is asked while nobody looks. A server that does not answer is asked less and less often,
// and the page says since when it has been silent; the last picture stays, and says how old it is.
//
// Not here: what is known (model.js), how it is drawn (plan.js, panels.js).

import { say, set } from "./elements.js";
import { chosenWorkers, SORTS } from "./figures.js";
import { Model, STATES } from "./model.js";
import * as panels from "./panels.js";
import * as plan from "./plan.js";
import { seatUnit } from "./table.js";
import { clock, span } from "./words.js";

const INTERVAL_MS = 1000;
const INTERVAL_MAX_MS = 15000;
const PATIENCE_MS = 5000;

/** Sentences that are read out for one picture at the most; more is noise. */
const SPOKEN_MAX = 4;

const get = id => document.getElementById(id);
const model = new Model();
const looks = { sort: "slot", show: "all", form: "plan", kind: "", find: "" };
let [unit, chosen, card] = [1, null, null];
/** Somebody has chosen; until then the gravest is shown. */
let isPicked = false;
let [paused, asking, failures, timer, pictured] = [false, false, 0, 0, null];

async function ask() {
  clearTimeout(timer);
  if (asking || paused || document.hidden) return;
  asking = true;
  try {
    const answer = await fetch("status", {
      cache: "no-store",
      credentials: "same-origin",
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const view = await answer.json();
    if (view === null || typeof view !== "object") throw new Error("no picture");
    failures = 0;
    pictured = new Date();
    model.handlePicture(view, performance.now());
  } catch (error) {
    failures += 1;
    model.handleFailure(pictured ?? new Date());
    console.warn(`maitred: no picture: ${error.message}`);
  }
  asking = false;
  timer = setTimeout(ask, Math.min(INTERVAL_MS * 2 ** failures, INTERVAL_MAX_MS));
  show();
}

function show() {
  tellAge();
  if (model.view) {
    set(document.body, "data-lost", model.lostSince === null ? "no" : "yes");
    panels.drawAttention(model, pick);
    panels.drawWay(model);
    panels.drawCourse(model);
    panels.drawEvents(model, looks);
    panels.drawAccount(model);
    panels.drawRules(model);
    showPlan();
  }
  if (model.lostSince) say(get("headline"), `Connection lost since ${clock(model.lostSince)}.`);
  const changes = model.pollChanges();
  if (changes.length > 0) say(get("live"), changes.slice(0, SPOKEN_MAX).join(" "));
}

function showPlan() {
  const workers = chosenWorkers(model, looks);
  unit = seatUnit([...model.workers.values()], unit);
  const isList = looks.form === "table";
  const isDense = !isList && model.workers.size > plan.ROOMY_MAX;
  get("tables").hidden = isList;
  get("list").hidden = !isList;
  get("legend").hidden = isList;
  get("nobody").hidden = workers.length > 0;
  panels.drawLegend(unit, isDense);
  if (isList) plan.drawList(get("list"), model, workers, looks.sort, sortBy);
  else {
    if (isDense && !(isPicked && model.workers.has(chosen))) {
      chosen = chosenWorkers(model, { sort: "attention", show: "all" })[0]?.key;
    }
    plan.drawTables(get("tables"), model, workers, unit, chosen, choose);
  }
  get("chosen").hidden = !isDense;
  if (!isDense || !chosen) return;
  if (!card) {
    card = plan.makeCard("h3");
    get("chosen").append(card);
  }
  card.change(model, model.workers.get(chosen), unit);
}

function tellAge() {
  const age = pictured ? (Date.now() - pictured.getTime()) / 1000 : null;
  const state = paused ? "Paused. " : "";
  say(
    get("freshness"),
    age === null
      ? failures
        ? "No answer yet."
        : "No picture yet."
      : `${state}Picture of ${clock(pictured)}, ${span(age)} old`,
  );
}

/** A tile was chosen. */
function choose(key) {
  chosen = key;
  isPicked = true;
  showPlan();
}

/** Brings a worker before the reader's eyes, wherever it is. */
function pick(key) {
  if (![...chosenWorkers(model, looks)].some(worker => worker.key === key))
    looks.show = get("show").value = "all";
  if (looks.form === "table") setForm("plan");
  chosen = key;
  isPicked = true;
  showPlan();
  const found = document.querySelector(`#tables [data-key="${CSS.escape(key)}"]`);
  const target = found?.closest("button, li");
  target?.focus({ preventScroll: true });
  (get("chosen").hidden ? target : get("chosen"))?.scrollIntoView({ block: "nearest" });
}

function sortBy(name) {
  looks.sort = get("sort").value = name;
  showPlan();
}

function setForm(form) {
  looks.form = form;
  document.querySelector(`#tools input[value=${form}]`).checked = true;
  if (model.view) showPlan();
}

function setPaused(value) {
  paused = value;
  set(get("pause"), "aria-pressed", paused);
  tellAge();
  ask();
}

function nextSort() {
  const names = SORTS.map(([name]) => name);
  sortBy(names[(names.indexOf(looks.sort) + 1) % names.length]);
}

const KEYS = [
  ["p", "pause and go on", () => setPaused(!paused)],
  ["t", "plan or table", () => setForm(looks.form === "plan" ? "table" : "plan")],
  ["s", "sort by the next figure", nextSort],
  ["f", "choose which workers are shown", () => get("show").focus()],
  [
    "w",
    "to the worker that wants attention first",
    () => get("troubles").querySelector("button")?.click(),
  ],
  ["e", "to the events", () => get("events").focus()],
  ["/", "find among the events", () => get("find").focus()],
  ["?", "marks and keys", () => get("help").showModal()],
];

function handleKey(event) {
  const isTyping = event.target.closest("input[type=search], select, textarea, dialog");
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey || !get("with-keys").checked)
    return;
  const known = KEYS.find(([key]) => key === event.key);
  if (!known) return;
  event.preventDefault();
  known[2]();
}

function option(value, label) {
  const one = document.createElement("option");
  one.value = value;
  one.textContent = label;
  return one;
}

function begin() {
  get("sort").append(...SORTS.map(([name, label]) => option(name, label)));
  get("show").append(
    option("all", "all"),
    option("attention", "not just serving"),
    ...STATES.map(state => option(state, state)),
  );
  panels.drawMarks();
  for (const [key, text] of KEYS) {
    const row = document.createElement("div");
    const [term, meaning, cap] = ["dt", "dd", "kbd"].map(name => document.createElement(name));
    cap.textContent = key;
    meaning.textContent = text;
    term.append(cap);
    row.append(term, meaning);
    get("keys").append(row);
  }
  get("pause").addEventListener("click", () => setPaused(!paused));
  get("ask").addEventListener("click", () => get("help").showModal());
  get("sort").addEventListener("change", event => sortBy(event.target.value));
  const changed = () => model.view && show();
  get("show").addEventListener("change", event => {
    looks.show = event.target.value;
    changed();
  });
  get("kind").addEventListener("change", event => {
    looks.kind = event.target.value;
    changed();
  });
  get("find").addEventListener("input", event => {
    looks.find = event.target.value;
    changed();
  });
  for (const radio of document.querySelectorAll("#tools input"))
    radio.addEventListener("change", () => setForm(radio.value));
  for (const form of [get("tools"), get("sieve")])
    form.addEventListener("submit", event => event.preventDefault());
  get("tables").addEventListener("keydown", event => plan.moveAmongTiles(get("tables"), event));
  document.addEventListener("keydown", handleKey);
  document.addEventListener("visibilitychange", ask);
  setInterval(tellAge, INTERVAL_MS);
  ask();
}

begin();
