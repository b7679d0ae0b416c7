// Everything around the seating plan: the sentence above it, the way of a connection, what
// happened, the account, the house rules.
//
// Not here: the plan (plan.js), what the sentences say (words.js).

import { arrange, define, draw, make, say, set } from "./elements.js";
import { chair, curve, latencyHeight, SIGNS, top } from "./table.js";
import * as words from "./words.js";

const get = id => document.getElementById(id);
const entries = numbers => Object.entries(numbers ?? {});
const total = numbers => entries(numbers).reduce((sum, [, one]) => sum + one, 0);

/** The sentence, and what stands behind it. `pick` shows a worker. */
export function drawAttention(model, pick) {
  const found = words.troubles(model);
  const grave = found.filter(one => one.grave).length;
  say(get("headline"), words.headline(model, found));
  set(get("attention"), "data-grave", grave > 0 ? "yes" : "no");
  const states = new Map();
  for (const { state } of model.workers.values()) states.set(state, (states.get(state) ?? 0) + 1);
  const is = [...states].map(([state, many]) => `${many} ${state}`).join(", ");
  const here = model.view.account?.here ?? {};
  const waiting = (here.queued ?? 0) + (model.view.kernel_queue?.length ?? 0);
  const waits =
    waiting > 0 ? words.plural(waiting, "connection waits", "connections wait") : "Nobody waits";
  const who = words.plural(model.workers.size, "worker");
  say(get("summary"), `${who}: ${is || "none yet"}. ${waits} for room.`);
  arrange(
    get("troubles"),
    found,
    one => `${one.short}/${one.generation}`,
    one => {
      const item = make("li", {}, make("span"), make("code"));
      if (one.key !== undefined) {
        const button = make("button", { type: "button" }, "Show");
        button.addEventListener("click", () => pick(one.key));
        set(button, "aria-label", `Show worker ${one.slot}`);
        item.append(button);
      }
      return item;
    },
    (item, one) => {
      set(item, "data-grave", one.grave ? "yes" : "no");
      const [text, advice] = item.children;
      say(text, one.text);
      say(advice, one.advice ?? "");
      advice.hidden = !one.advice;
    },
  );
  const mark = grave > 0 ? `(${grave}!) ` : "";
  document.title = `${mark}maitred ${location.host}`;
}

/** From the kernel's queue to the tables, and how fast. */
export function drawWay(model) {
  const { view } = model;
  const here = view.account?.here ?? {};
  const workers = [...model.workers.values()];
  const sum = of => workers.reduce((all, one) => all + (of(one) ?? 0), 0);
  const queue = view.kernel_queue;
  define(get("way"), [
    [
      "kernel",
      "Kernel’s queue",
      queue ? `${words.whole(queue.length)} / ${words.whole(queue.limit)}` : words.NONE,
      "Connections that nobody has accepted",
    ],
    ["queued", "Waiting for room", words.whole(here.queued), "Accepted, and no worker has room"],
    ["open", "At the tables", words.whole(sum(one => one.open)), "Connections at workers"],
    [
      "active",
      "In flight",
      words.whole(sum(one => one.seen.active)),
      "Requests begun and not finished",
    ],
    ["parked", "Parked", words.whole(here.parked), "Idle, and with no worker"],
    ["rate", "Requests/s", words.short(model.server.rate("answered")), "Answered by the second"],
    [
      "p50",
      "p50",
      words.quantileText(model.latency("service", 0.5)),
      "Half of the answers took less",
    ],
    [
      "p99",
      "p99",
      words.quantileText(model.latency("service", 0.99)),
      "99 of 100 answers took less",
    ],
    [
      "wait",
      "Queue p99",
      words.quantileText(model.latency("queue_wait", 0.99)),
      "From accept to the first claim",
    ],
    [
      "jain",
      "Evenness",
      typeof view.jain === "number" ? view.jain.toFixed(2) : words.NONE,
      "Jain’s index of the requests of all slots: 1 is even, 1/n is one for all",
    ],
  ]);
}

const [COURSE_WIDTH, COURSE_HEIGHT] = [600, 84];

function makeChart(id, caption, rules, names) {
  const lines = names.map(name => draw("path", { class: name }));
  const marks = rules.map(([y]) =>
    draw("path", { class: "rule", d: `M0 ${y.toFixed(1)}H${COURSE_WIDTH}` }),
  );
  const labels = rules.map(([y, label]) => {
    const mark = make("span", { class: "mark" }, label);
    mark.style.insetBlockStart = `${y}px`;
    return mark;
  });
  const svg = draw(
    "svg",
    { viewBox: `0 0 ${COURSE_WIDTH} ${COURSE_HEIGHT}`, preserveAspectRatio: "none" },
    ...marks,
    ...lines,
  );
  return {
    lines,
    labels,
    chart: make("figure", { id }, make("figcaption", {}, caption), make("div", {}, svg, ...labels)),
  };
}

/** The last two minutes of the whole server. */
export function drawCourse(model) {
  const parent = get("course");
  const yOf = latencyHeight(COURSE_HEIGHT);
  parent.charts ??= {
    rate: makeChart(
      "course-rate",
      "Requests/s, two minutes",
      [
        [2, ""],
        [COURSE_HEIGHT - 2, "0"],
      ],
      ["rate"],
    ),
    latency: makeChart(
      "course-latency",
      "Latency: p99 above p50, two minutes",
      [
        [yOf(1), "1 s"],
        [yOf(0.01), "10 ms"],
        [yOf(0.0001), "0.1 ms"],
      ],
      ["p99", "p50"],
    ),
  };
  const { rate, latency } = parent.charts;
  if (!parent.firstChild) parent.append(rate.chart, latency.chart);
  const rates = model.points.map(point => point.rate);
  const most = Math.max(1, ...rates);
  // To the next 1, 2 or 5, so that the scale stays while the line moves.
  const power = 10 ** Math.floor(Math.log10(most));
  const scale = [1, 2, 5, 10].map(one => one * power).find(one => one >= most);
  say(rate.labels[0], words.short(scale));
  const heightOf = value => 2 + (COURSE_HEIGHT - 4) * (1 - value / scale);
  set(rate.lines[0], "d", curve(rates, heightOf, COURSE_WIDTH));
  ["p99", "p50"].forEach((name, at) => {
    set(
      latency.lines[at],
      "d",
      curve(
        model.points.map(point => point[name]),
        yOf,
        COURSE_WIDTH,
      ),
    );
  });
}

/** What the seats mean; the marks are the plan's own. */
export function drawLegend(unit, dense) {
  const legend = get("legend");
  const form = `${unit}/${dense}`;
  if (legend.dataset.form === form) return;
  legend.dataset.form = form;
  const mark = (kind, text) =>
    make(
      "span",
      { class: "key" },
      draw(
        "svg",
        { viewBox: "-7 -7 14 14", class: "seats", "aria-hidden": "true" },
        chair(0, 0, kind),
      ),
      text,
    );
  const bar = (kind, text) =>
    make("span", { class: "key" }, make("span", { class: `bar ${kind}` }), text);
  const of = dense ? bar : mark;
  const size =
    unit === 1 ? "One seat is one connection." : `One seat is ${words.whole(unit)} connections.`;
  const dash = dense ? "" : "Lines: p99 above p50, from 0.1 ms to 10 s.";
  legend.replaceChildren(
    of("taken", "in flight"),
    of("waits", "waits to be served"),
    of("idle", "open, idle"),
    make("span", {}, `${size} ${dash}`),
  );
}

export function drawMarks() {
  const meanings = {
    serving: "takes connections",
    stuck: "makes no progress; others are preferred",
    stopped: "a signal has stopped its process",
    drained: "taken out of service by an operator",
    leaving: "replaced, and finishes what it has",
    starting: "not ready yet",
  };
  get("marks").replaceChildren(
    make(
      "ul",
      { class: "marks" },
      ...Object.entries(meanings).map(([state, text]) =>
        make(
          "li",
          { "data-state": state },
          draw(
            "svg",
            { viewBox: "24 22 100 68", class: "seats", "aria-hidden": "true" },
            draw("g", { "data-state": state }, top(state)),
          ),
          make("b", {}, `${SIGNS[state]} ${state}`),
          ` ${text}`,
        ),
      ),
    ),
  );
}

/** Events, newest first, as far as they fit the sieve. */
export function drawEvents(model, { kind, find }) {
  const kinds = [...new Set(model.events.map(one => String(one.kind)))].sort();
  arrange(
    get("kind"),
    ["", ...kinds],
    one => one,
    one => make("option", { value: one }, one || "all"),
  );
  const wanted = find.trim().toLowerCase();
  const fits = one =>
    (kind === "" || one.kind === kind) &&
    (wanted === "" || sentence(one).toLowerCase().includes(wanted));
  const fitting = model.events.filter(fits).reverse();
  arrange(
    get("events"),
    fitting,
    one => one.sequence,
    one => {
      const at = new Date(one.at);
      const time = make("time", { datetime: String(one.at) }, words.clock(at));
      return make("li", {}, time, make("b", {}, String(one.kind)), make("span", {}, sentence(one)));
    },
  );
  const missed =
    model.eventsMissed > 0
      ? ` ${words.plural(model.eventsMissed, "event")} came too fast to be kept.`
      : "";
  const none =
    fitting.length > 0 ? "" : model.events.length > 0 ? "Nothing like this." : "Nothing yet.";
  say(get("quiet"), `${none}${missed}`);
}

function sentence(event) {
  const who = [
    ["worker", event.slot],
    ["generation", event.generation],
    ["process", event.pid],
  ]
    .filter(([, value]) => typeof value === "number")
    .map(([name, value]) => `${name} ${value}`)
    .join(", ");
  return who ? `${event.text} (${who})` : String(event.text);
}

/** accepted = here + finished + ended idle + shed + aborted, reason by reason. */
export function drawAccount(model) {
  const account = model.view.account ?? {};
  const rows = [["accepted", "accepted", account.accepted, true]];
  const group = (name, label, numbers, all) => {
    rows.push([name, label, total(numbers), true]);
    const shown = entries(numbers).filter(([, many]) => all || many > 0);
    rows.push(
      ...shown.map(([reason, many]) => [`${name}/${reason}`, words.spoken(reason), many, false]),
    );
  };
  group("here", "= here", account.here, true);
  rows.push(["finished", "+ finished", account.finished, true]);
  group("ended_idle", "+ ended idle", account.ended_idle);
  group("shed", "+ turned away (503)", account.shed);
  group("aborted", "+ cut off", account.aborted);
  if (account.missing) rows.push(["missing", "missing: a bug", account.missing, true]);
  arrange(
    get("account").tBodies[0],
    rows,
    ([name]) => name,
    ([name, label, , isSum]) =>
      make(
        "tr",
        { "data-name": name, class: isSum ? "sum" : "part" },
        make("th", { scope: "row" }, label),
        make("td"),
      ),
    (row, [, , many]) => say(row.lastElementChild, words.whole(many)),
  );
}

/** How the house is run, and what has been counted. */
export function drawRules(model) {
  const { view } = model;
  const { policy = {}, scaling = {}, reload = {} } = view;
  const isFixed = scaling.workers_min === scaling.workers_max;
  const wanted = isFixed
    ? String(scaling.workers_wanted)
    : `${scaling.workers_wanted} of ${scaling.workers_min}–${scaling.workers_max}`;
  const progress =
    reload.state === "none" || !reload.state
      ? "none yet"
      : `${reload.state}, ${reload.replaced} of ${reload.of} replaced`;
  define(get("rules"), [
    ["phase", "Phase", String(view.phase)],
    ["accept", "Who accepts", String(view.accept)],
    ["balance", "Balance", String(policy.balance || words.NONE)],
    ["rebalance", "Rebalance", String(policy.rebalance || words.NONE)],
    [
      "credit",
      "Credit",
      policy.credit === null || policy.credit === undefined
        ? "by each worker"
        : String(policy.credit),
    ],
    ["stall_after", "Stuck after", words.latency(policy.stall_after)],
    ["workers", "Workers wanted", wanted],
    ["reload", "Reload", progress],
    ["generation", "Generation", String(view.generation)],
    ...entries(view.events)
      .filter(([, many]) => many > 0)
      .map(([name, many]) => [
        `count/${name}`,
        words.spoken(name).replace(/^./, first => first.toUpperCase()),
        words.whole(many),
      ]),
  ]);
  say(get("where"), location.host);
  say(
    get("colophon"),
    `maitred ${view.version} · master ${view.pid} · since ${String(view.started_at)}`,
  );
}
