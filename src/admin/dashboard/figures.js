// What is said of a worker, figure by figure: in its card, as columns, to sort by. Pure.
//
// Not here: where the numbers come from (model.js), how they are drawn (plan.js).

import { STATES } from "./model.js";
import * as words from "./words.js";

const rank = state => (STATES.includes(state) ? STATES.indexOf(state) : STATES.length);

/** Everything that is said of a worker: in its card, as columns of the table, to sort by. */
export const FIGURES = [
  {
    name: "active",
    label: "In flight",
    title: "Requests begun and not finished",
    text: words.whole,
    of: worker => worker.seen.active,
  },
  {
    name: "waiting",
    label: "Waiting",
    title: "Connections lent to it that it has not claimed",
    text: words.whole,
    of: worker => worker.seen.waiting,
  },
  {
    name: "open",
    label: "Open",
    title: "Connections at it, idle ones included",
    text: words.whole,
    of: worker => worker.open,
  },
  {
    name: "busy",
    label: "Busy",
    title: "Share of its handlers' time in the last seconds",
    text: words.percent,
    of: worker => worker.busy,
  },
  {
    name: "rate",
    label: "Requests/s",
    title: "Answered by the second",
    text: words.short,
    of: worker => worker.rate,
  },
  {
    name: "p50",
    label: "p50",
    title: "Half of the answers took less",
    text: words.quantileText,
    of: service(0.5),
  },
  {
    name: "p99",
    label: "p99",
    title: "99 of 100 answers took less",
    text: words.quantileText,
    of: service(0.99),
  },
  {
    name: "wait",
    label: "Queue p99",
    title: "From accept to the first claim",
    text: words.quantileText,
    of: slotLatency("queue_wait"),
  },
  {
    name: "handoff",
    label: "Hand-off p99",
    title: "From the master's hand-off to the claim",
    text: words.quantileText,
    of: slotLatency("handoff"),
  },
  {
    name: "queued",
    label: "For a thread",
    title: "Complete requests that wait for a handler thread",
    text: words.whole,
    of: worker => worker.seen.queued,
  },
  {
    name: "threads",
    label: "Threads",
    title: "Handler threads taken, of all",
    text: String,
    of: worker => threads(worker.seen),
  },
  {
    name: "cpu",
    label: "CPU",
    title: "Of one core, in the last seconds",
    text: words.percent,
    of: worker => worker.cpu,
  },
  {
    name: "rss",
    label: "Memory",
    title: "Resident set",
    text: words.bytes,
    of: worker => worker.seen.rss_bytes,
  },
  {
    name: "age",
    label: "Age",
    title: "Since it was started",
    text: words.span,
    of: worker => worker.seen.age,
  },
  {
    name: "generation",
    label: "Generation",
    title: "Which process of this server it is",
    text: String,
    of: worker => worker.seen.generation,
  },
  {
    name: "pid",
    label: "Process",
    title: "Its process id",
    text: String,
    of: worker => worker.seen.pid,
  },
  {
    name: "restarts",
    label: "Restarts",
    title: "Processes started at this place after the first",
    text: words.whole,
    of: worker => worker.seen.restarts,
  },
  {
    name: "stalls",
    label: "Stalls",
    title: "How often it was found stuck",
    text: words.whole,
    of: worker => worker.seen.stalls,
  },
  {
    name: "errors",
    label: "Errors",
    title: "Requests that ended badly",
    text: words.whole,
    of: worker => worker.seen.errors,
  },
];

/** What workers can be sorted by, besides their place. */
export const SORTS = [
  ["slot", "place"],
  ["attention", "attention"],
  ...FIGURES.map(({ name, label }) => [
    name,
    label.replace(/^[A-Z](?=[a-z])/, first => first.toLowerCase()),
  ]),
];

function slotLatency(name, share = 0.99) {
  return (worker, model) =>
    worker.seen.stage === "leaving"
      ? null
      : model.slots.get(worker.slot)?.latency(name, model.bounds, share);
}

function service(share) {
  return slotLatency("service", share);
}

const threads = seen =>
  seen.threads > 0 ? `${seen.threads_busy}\u202f/\u202f${seen.threads}` : "loop";

const sortValue = value =>
  value !== null && typeof value === "object" ? value.seconds : Number(value ?? -1);

/** Workers in the order and of the state that was asked for. */
export function chosenWorkers(model, { sort, show }) {
  const fits = worker =>
    show === "all" || worker.state === show || (show === "attention" && worker.state !== "serving");
  const workers = [...model.workers.values()].filter(fits);
  const byPlace = (one, other) =>
    one.slot - other.slot || one.seen.generation - other.seen.generation;
  const figure = FIGURES.find(one => one.name === sort);
  const by = figure
    ? worker => -sortValue(figure.of(worker, model))
    : worker => (sort === "attention" ? rank(worker.state) : 0);
  const keys = new Map(workers.map(worker => [worker, by(worker)]));
  return workers.sort((one, other) => keys.get(one) - keys.get(other) || byPlace(one, other));
}

/** One figure of a worker as text. */
export const textOf = (figure, worker, model) => {
  const value = figure.of(worker, model);
  return value === null || value === undefined ? words.NONE : figure.text(value);
};
