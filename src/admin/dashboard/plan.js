// The seating plan: every worker a table, every connection at it a seat. Up to ROOMY_MAX tables are
// drawn with all their figures; beyond that each is a tile, and one of them is shown in full.
//
// Not here: what the figures are (figures.js), how a table is drawn (table.js).

import { arrange, define, make, say, set } from "./elements.js";
import { FIGURES, textOf } from "./figures.js";
import { CHAIRS, makeSpark, makeTable, seatsOf, SIGNS } from "./table.js";
import * as words from "./words.js";

/** Tables that are drawn in full. */
export const ROOMY_MAX = 32;

/** A worker in full. */
export function makeCard(level) {
  const [name, state, advice] = [
    make("b"),
    make("span", { class: "state" }),
    make("p", { class: "advice" }),
  ];
  const [table, spark] = [makeTable(), makeSpark()];
  const [rate, busy] = [make("b"), make("span", { class: "fill" })];
  const meter = make("div", { class: "meter", "aria-hidden": "true" }, busy);
  const caption = make("p", { class: "caption", "aria-hidden": "true" });
  const figures = make("dl");
  const card = make(
    "article",
    { class: "card" },
    make(level, { class: "name" }, name, " ", state),
    table.svg,
    make(
      "div",
      { class: "pace", "aria-hidden": "true" },
      make("p", {}, rate, " /s"),
      meter,
      caption,
    ),
    spark.svg,
    figures,
    advice,
  );
  card.change = (model, worker, unit) => {
    set(card, "data-state", worker.state);
    set(card, "data-key", worker.key);
    say(name, `Worker ${worker.slot}`);
    say(state, `${SIGNS[worker.state] ?? "?"} ${worker.state}`);
    table.change(worker, unit);
    spark.change(worker.points);
    say(rate, words.short(worker.rate));
    busy.style.inlineSize = `${(worker.busy ?? 0) * 100}%`;
    say(caption, `${words.percent(worker.busy)} busy`);
    define(
      figures,
      FIGURES.map(one => [one.name, one.label, textOf(one, worker, model), one.title]),
    );
  };
  return card;
}

/** A worker among many: its place, its sign, and how full it is. */
function makeTile(choose) {
  const [place, sign] = [make("b"), make("i")];
  const parts = ["taken", "waits", "idle"].map(kind => make("span", { class: kind }));
  const button = make(
    "button",
    { type: "button", tabindex: "-1" },
    place,
    sign,
    make("span", { class: "bar" }, ...parts),
  );
  button.addEventListener("click", () => choose(button.dataset.key));
  const item = make("li", { class: "tile" }, button);
  item.change = (worker, unit, isChosen) => {
    set(button, "data-key", worker.key);
    set(button, "data-state", worker.state);
    set(button, "aria-pressed", isChosen);
    say(place, String(worker.slot));
    say(sign, worker.state === "serving" ? "" : (SIGNS[worker.state] ?? "?"));
    seatsOf(worker, unit).forEach((seats, at) => {
      parts[at].style.inlineSize = `${(seats / CHAIRS) * 100}%`;
    });
    const { active = 0, waiting = 0 } = worker.seen;
    set(
      button,
      "aria-label",
      [
        `Worker ${worker.slot}`,
        worker.state,
        `${active} in flight`,
        `${waiting} waiting`,
        `${worker.open} open`,
        `${words.percent(worker.busy)} busy`,
      ].join(", "),
    );
  };
  return item;
}

/** Draws the tables, roomy or dense. */
export function drawTables(parent, model, workers, unit, chosen, choose) {
  const dense = model.workers.size > ROOMY_MAX;
  if (parent.dense !== dense) {
    parent.replaceChildren();
    parent.known = new Map();
    parent.dense = dense;
    parent.className = dense ? "dense" : "roomy";
  }
  const makeOne = () => {
    if (dense) return makeTile(choose);
    const card = makeCard("h3");
    const item = make("li", { tabindex: "-1" }, card);
    item.change = (worker, ...rest) => card.change(model, worker, ...rest);
    return item;
  };
  arrange(
    parent,
    workers,
    worker => worker.key,
    makeOne,
    (item, worker) => {
      item.change(worker, unit, worker.key === chosen);
    },
  );
  if (dense) keepReachable(parent);
}

/** One tile is reached by Tab, the others from there by arrows: a thousand stops are none. */
function keepReachable(parent) {
  const buttons = [...parent.querySelectorAll("button")];
  const entry =
    buttons.find(one => one === document.activeElement) ??
    buttons.find(one => one.getAttribute("aria-pressed") === "true") ??
    buttons[0];
  for (const button of buttons) set(button, "tabindex", button === entry ? "0" : "-1");
}

/** Arrows, Home and End among tiles; up and down go by rows as they are on the screen. */
export function moveAmongTiles(parent, event) {
  const buttons = [...parent.querySelectorAll("button")];
  const at = buttons.indexOf(document.activeElement);
  if (at < 0) return;
  const row = buttons.filter(one => one.offsetTop === buttons[0].offsetTop).length;
  const to = {
    ArrowRight: at + 1,
    ArrowLeft: at - 1,
    ArrowDown: at + row,
    ArrowUp: at - row,
    Home: 0,
    End: buttons.length - 1,
  }[event.key];
  if (to === undefined || !buttons[to]) return;
  event.preventDefault();
  buttons[to].focus();
  keepReachable(parent);
}

/** The exact numbers, by column. */
export function drawList(parent, model, workers, sort, sortBy) {
  if (!parent.firstChild) {
    const heads = [
      { name: "slot", label: "Worker", title: "Its place" },
      { name: "attention", label: "State", title: "How it stands" },
      ...FIGURES,
    ].map(one => {
      const button = make(
        "button",
        { type: "button", title: one.title, "data-sort": one.name },
        one.label,
      );
      button.addEventListener("click", () => sortBy(one.name));
      return make("th", { scope: "col" }, button);
    });
    parent.append(
      make(
        "table",
        { class: "workers" },
        make("thead", {}, make("tr", {}, ...heads)),
        make("tbody"),
      ),
    );
  }
  for (const head of parent.querySelectorAll("th[scope=col]")) {
    const name = head.firstChild.dataset.sort;
    set(
      head,
      "aria-sort",
      name !== sort ? null : name === "slot" || name === "attention" ? "ascending" : "descending",
    );
  }
  arrange(
    parent.querySelector("tbody"),
    workers,
    worker => worker.key,
    () =>
      make(
        "tr",
        {},
        make("th", { scope: "row" }),
        make("td"),
        ...FIGURES.map(one => make("td", { "data-name": one.name })),
      ),
    (row, worker) => {
      const [place, state, ...cells] = row.children;
      set(row, "data-state", worker.state);
      say(place, String(worker.slot));
      say(state, `${SIGNS[worker.state] ?? "?"} ${worker.state}`);
      cells.forEach((cell, at) => say(cell, textOf(FIGURES[at], worker, model)));
    },
  );
}
