// What the page knows: pictures of the server in, numbers out. No document, no clock: the moment of
// each picture is an argument, in milliseconds of any clock that only goes forward.
//
// Counters of the server only rise, so every rate is a difference of two pictures. What a picture
// does not say is null here, and a dash on the page: unknown is never zero.
//
// Not here: where pictures come from (dashboard.js), how they are drawn (plan.js, panels.js).

/** Pictures of which the sparklines keep a point: two minutes at one a second. */
export const POINTS_MAX = 120;

/** Rates are of so many milliseconds: one second alone jumps, for the master may sleep as long. */
const WINDOW_MS = 4000;

/** Events that are kept; the server itself sends only its last ones. */
export const EVENTS_MAX = 500;

/** Restarts of one slot within the history that are worth a word. */
const RESTARTS_MANY = 3;

/** How a worker stands, gravest first: the order in which `by attention` sorts. */
export const STATES = ["stopped", "stuck", "drained", "leaving", "starting", "serving"];

const number = value => (typeof value === "number" && Number.isFinite(value) ? value : null);
const count = value => number(value) ?? 0;
const list = value => (Array.isArray(value) ? value : []);
const record = value => (value !== null && typeof value === "object" ? value : {});

/** The word for a worker. A signal outweighs everything else, what it did before is no matter. */
export function stateOf(worker) {
  if (worker.stopped) return "stopped";
  if (worker.stuck) return "stuck";
  if (worker.drained) return "drained";
  return String(worker.stage || "unknown");
}

/** Jain's index of shares: 1 is even, 1/n is one for all. */
export function jain(shares) {
  const sum = shares.reduce((total, one) => total + one, 0);
  const squares = shares.reduce((total, one) => total + one * one, 0);
  return squares > 0 ? (sum * sum) / (shares.length * squares) : null;
}

/**
 * The quantile of bucket counts, within its bucket by proportion. What lies above the last bound is
 * given as that bound with `more`, because nobody knows how far above.
 */
export function quantile(counts, bounds, share) {
  const all = counts.reduce((sum, one) => sum + one, 0);
  if (!(all > 0) || bounds.length === 0) return null;
  let left = all * share;
  for (let bucket = 0; bucket < counts.length; bucket += 1) {
    if (left > counts[bucket] || counts[bucket] === 0) {
      left -= counts[bucket];
      continue;
    }
    if (bucket >= bounds.length) break;
    const low = bucket === 0 ? 0 : bounds[bucket - 1];
    const within = left / counts[bucket];
    return { seconds: low * (1 - within) + bounds[bucket] * within, more: false };
  }
  return { seconds: bounds[bounds.length - 1], more: true };
}

/** What has been added between two readings of counts; all of it where a counter began again. */
export function added(now, before) {
  const fits = before && before.length === now.length && now.every((one, at) => one >= before[at]);
  if (!fits) return now;
  return now.map((one, at) => one - before[at]);
}

/** The readings of one thing in the last seconds, and what follows from their difference. */
class Readings {
  constructor() {
    this.kept = [];
  }

  push(at, values) {
    this.kept.push({ at, values });
    while (this.kept.length > 2 && this.kept[1].at <= at - WINDOW_MS) this.kept.shift();
  }

  get last() {
    return this.kept[this.kept.length - 1]?.values;
  }

  /** By the second; null until there are two readings, or where one does not know. */
  rate(name) {
    const [first, last] = [this.kept[0], this.kept[this.kept.length - 1]];
    if (!first || last.at <= first.at) return null;
    const [before, now] = [number(first.values[name]), number(last.values[name])];
    if (before === null || now === null || now < before) return null;
    return ((now - before) * 1000) / (last.at - first.at);
  }

  /** How counts have grown over the window. */
  grown(name) {
    const [first, last] = [this.kept[0], this.kept[this.kept.length - 1]];
    return first && last !== first ? added(last.values[name], first.values[name]) : null;
  }

  /** How counts have grown since the reading before the last. */
  step(name) {
    const [before, last] = this.kept.slice(-2);
    return last ? added(last.values[name], before.values[name]) : null;
  }
}

function pushPoint(points, point) {
  points.push(point);
  if (points.length > POINTS_MAX) points.shift();
}

const HISTOGRAMS = ["queue_wait", "service", "handoff"];

/** The counts of a slot's histogram; none where the server knows nothing. */
const countsOf = (slot, name) => list(record(slot[name]).counts).map(count);

/** One process at one place, as the page shows it. */
class Worker {
  constructor(now) {
    this.readings = new Readings();
    this.points = [];
    this.progressAt = now;
    this.finished = -1;
  }

  handle(now, seen) {
    this.seen = seen;
    this.state = stateOf(seen);
    // What a worker has begun counts too: who takes up a new request is alive.
    const progress = count(seen.requests_finished) + count(seen.requests_started);
    if (progress !== this.finished || count(seen.active) === 0) this.progressAt = now;
    this.hasAdvanced = this.finished >= 0 && progress !== this.finished;
    this.finished = progress;
    this.readings.push(now, seen);
  }

  /**
   * Stuck in this picture and the one before, on the same requests; or in the first. Handlers slower
   * than --stall-after make a worker stuck and well again many times a second, and one whose threads
   * are all taken is found stuck in nearly every picture, on other requests each time.
   */
  get staysStuck() {
    if (this.state !== "stuck") return false;
    return this.stateBefore === undefined || (this.stateBefore === "stuck" && !this.hasAdvanced);
  }

  get slot() {
    return count(this.seen.slot);
  }

  get key() {
    return `${this.slot}/${count(this.seen.generation)}`;
  }

  get open() {
    return count(this.seen.on_loan) + count(this.seen.own_open);
  }

  /** Share of its handlers' time that was taken, 0 to 1. */
  get busy() {
    const rate = this.readings.rate("busy_seconds");
    return rate === null ? null : Math.min(rate / Math.max(count(this.seen.threads), 1), 1);
  }

  get rate() {
    return this.readings.rate("requests_finished");
  }

  get cpu() {
    return this.readings.rate("cpu_seconds");
  }

  /** Milliseconds without progress although it has something to do, as far as was seen here. */
  silentFor(now) {
    return now - this.progressAt;
  }
}

/** What is known of a slot, whoever serves it: its histograms. */
class Slot {
  constructor() {
    this.readings = new Readings();
  }

  handle(now, seen) {
    const values = Object.fromEntries(HISTOGRAMS.map(name => [name, countsOf(seen, name)]));
    this.readings.push(now, values);
  }

  latency(name, bounds, share) {
    const grown = this.readings.grown(name);
    return grown && quantile(grown, bounds, share);
  }
}

/** Everything that the page knows. */
export class Model {
  constructor() {
    this.view = null;
    this.at = 0;
    this.workers = new Map();
    this.slots = new Map();
    this.server = new Readings();
    this.points = [];
    this.events = [];
    this.eventsMissed = 0;
    this.restarts = [];
    this.lostSince = null;
    this.changes = [];
  }

  /** A picture has come. */
  handlePicture(view, now) {
    const before = this.view;
    if (before && (before.pid !== view.pid || before.started_at !== view.started_at)) this.forget();
    if (this.lostSince !== null) this.changes.push("The connection is back.");
    this.lostSince = null;
    this.view = view;
    this.at = now;
    this.takeWorkers(now, list(view.workers).map(record));
    this.takeSlots(now, list(view.slots).map(record));
    this.takeServer(now, view);
    this.takeEvents(list(view.happened).map(record));
    if (before) this.noteChanges(record(before), view);
    // What is as it was when the page was opened is on the page, and no news.
    else for (const worker of this.workers.values()) worker.told = worker.state;
  }

  /** None has come, since `now` or longer. */
  handleFailure(now) {
    if (this.lostSince !== null) return;
    this.lostSince = now;
    this.changes.push("The connection to the server is lost.");
  }

  /** What has changed since somebody last asked: sentences for those who listen. */
  pollChanges() {
    const changes = this.changes;
    this.changes = [];
    return changes;
  }

  get bounds() {
    return list(this.view?.histogram_bounds).map(count);
  }

  /** A latency of the whole server, of the last seconds. */
  latency(name, share) {
    return quantile(this.sum(name, "grown"), this.bounds, share);
  }

  /** Another server answers at this address: its counters are not the former one's. */
  forget() {
    this.workers.clear();
    this.slots.clear();
    this.server = new Readings();
    this.points = [];
    this.events = [];
    this.eventsMissed = 0;
    this.restarts = [];
    this.changes.push("Another server answers.");
  }

  takeWorkers(now, seen) {
    const known = this.workers;
    this.workers = new Map();
    for (const one of seen) {
      const key = `${count(one.slot)}/${count(one.generation)}`;
      const worker = known.get(key) ?? new Worker(now);
      worker.stateBefore = worker.state;
      worker.handle(now, one);
      this.workers.set(key, worker);
    }
    this.gone = [...known.values()].filter(one => !this.workers.has(one.key));
  }

  takeSlots(now, seen) {
    const known = this.slots;
    this.slots = new Map();
    for (const one of seen) {
      const slot = known.get(count(one.slot)) ?? new Slot();
      slot.handle(now, one);
      this.slots.set(count(one.slot), slot);
    }
    for (const worker of this.workers.values()) {
      const step = this.slots.get(worker.slot)?.readings.step("service");
      // During a reload two processes share a slot's figures; they are shown at the one that stays.
      const shown = step && worker.seen.stage !== "leaving";
      pushPoint(worker.points, shown ? this.pointOf(step) : { p50: null, p99: null });
    }
  }

  takeServer(now, view) {
    const account = record(view.account);
    const values = { accepted: account.accepted, finished: account.finished };
    const total = numbers => numbers.reduce((sum, one) => sum + count(one), 0);
    // The workers' own counters go when they do: what the slots have answered stays.
    const answered = list(view.slots).flatMap(one => Object.values(record(record(one).responses)));
    const finished = [...this.workers.values()].map(one => one.seen.requests_finished);
    values.answered = total(answered.length > 0 ? answered : finished);
    for (const group of ["shed", "aborted"])
      values[group] = total(Object.values(record(account[group])));
    values.overflows = view.kernel_queue?.overflows;
    values.queued = record(account.here).queued;
    this.server.push(now, values);
    const step = this.sum("service", "step");
    pushPoint(this.points, { ...this.pointOf(step), rate: this.server.rate("answered") });
    const restarts = [...this.workers.values()].map(one => [one.slot, count(one.seen.restarts)]);
    this.restarts.push(new Map(restarts));
    if (this.restarts.length > POINTS_MAX) this.restarts.shift();
  }

  takeEvents(seen) {
    const last = this.events[this.events.length - 1]?.sequence;
    const fresh = seen.filter(one => last === undefined || count(one.sequence) > last);
    if (last !== undefined && fresh.length > 0) {
      this.eventsMissed += Math.max(count(fresh[0].sequence) - last - 1, 0);
    }
    this.events.push(...fresh.map(one => ({ ...one, sequence: count(one.sequence) })));
    this.events.splice(0, this.events.length - EVENTS_MAX);
  }

  pointOf(counts) {
    const of = share => quantile(counts, this.bounds, share)?.seconds ?? null;
    return { p50: of(0.5), p99: of(0.99) };
  }

  /** Counts of all slots together. */
  sum(name, way) {
    const sums = [];
    for (const slot of this.slots.values()) {
      (slot.readings[way](name) ?? []).forEach((one, at) => {
        sums[at] = (sums[at] ?? 0) + one;
      });
    }
    return sums;
  }

  /** Slots that were given a new worker again and again within the history, with how often. */
  restless() {
    const [first, last] = [this.restarts[0], this.restarts[this.restarts.length - 1]];
    if (!last) return [];
    const often = ([slot, now]) => [slot, now - (first.get(slot) ?? now)];
    return [...last].map(often).filter(([, times]) => times >= RESTARTS_MANY);
  }

  /** For those who listen: only changes of state, for numbers change all the time. */
  noteChanges(before, view) {
    if (before.phase !== view.phase) this.changes.push(`The server is ${view.phase}.`);
    const [was, is] = [record(before.reload).state, record(view.reload).state];
    if (was !== is && is !== "none") this.changes.push(`Reload: ${is}.`);
    this.noteTurns();
  }

  noteTurns() {
    const turned = new Map();
    for (const worker of this.workers.values()) {
      // Who is stuck in one picture only, the first one too, is not spoken of.
      const settled =
        worker.state !== "stuck" || (worker.staysStuck && worker.stateBefore !== undefined);
      if (!settled || worker.state === worker.told) continue;
      if (worker.told !== undefined || worker.state !== "serving") {
        turned.set(worker.state, [...(turned.get(worker.state) ?? []), worker.slot]);
      }
      worker.told = worker.state;
    }
    for (const [state, slots] of turned) {
      const more = slots.length > 8 ? ` and ${slots.length - 8} more` : "";
      const [who, are] = slots.length === 1 ? ["Worker", "is"] : ["Workers", "are"];
      this.changes.push(`${who} ${slots.slice(0, 8).join(", ")}${more} ${are} ${state}.`);
    }
  }
}
