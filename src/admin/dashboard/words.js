// Numbers as people read them, and what wants their attention, in sentences. Pure.
//
// Not here: what the numbers are (model.js), where they stand (plan.js, panels.js).

/** Unknown is never zero. */
export const NONE = "–";

const known = value => typeof value === "number" && Number.isFinite(value);

/** Groups of three digits, with a space that does not break. */
export function whole(value) {
  if (!known(value)) return NONE;
  return Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

/** Three digits at the most, from 10 000 on in thousands. */
export function short(value) {
  if (!known(value)) return NONE;
  const steps = [
    [1e9, "G"],
    [1e6, "M"],
    [1e3, "k"],
  ];
  const [step, unit] = steps.find(([size]) => value >= size * 10) ?? [1, ""];
  const scaled = value / step;
  const digits = scaled >= 10 || (unit === "" && Number.isInteger(scaled)) ? 0 : 1;
  return `${digits ? scaled.toFixed(1) : whole(scaled)}${unit && `\u202f${unit}`}`;
}

export function percent(share) {
  return known(share) ? `${Math.round(share * 100)}\u202f%` : NONE;
}

/** A latency, in seconds: three digits, µs to s. */
export function latency(seconds) {
  if (!known(seconds)) return NONE;
  const [value, unit] =
    seconds < 0.0009995
      ? [seconds * 1e6, "µs"]
      : seconds < 0.9995
        ? [seconds * 1e3, "ms"]
        : [seconds, "s"];
  const digits = value >= 99.5 || unit === "µs" ? 0 : value >= 9.95 ? 1 : 2;
  return `${value.toFixed(digits)}\u202f${unit}`;
}

/** What a quantile says; beyond the last bucket nobody knows how far. */
export function quantileText(quantile) {
  return quantile ? `${quantile.more ? "> " : ""}${latency(quantile.seconds)}` : NONE;
}

export function bytes(value) {
  if (!known(value)) return NONE;
  const [size, unit] = [
    [2 ** 30, "GiB"],
    [2 ** 20, "MiB"],
    [1024, "KiB"],
  ].find(([one]) => value >= one) ?? [1, "B"];
  const scaled = value / size;
  return `${scaled < 9.95 && size > 1 ? scaled.toFixed(1) : Math.round(scaled)}\u202f${unit}`;
}

/** How long something lasts, in seconds: the two units that matter. */
export function span(seconds) {
  if (!known(seconds)) return NONE;
  const all = Math.max(Math.floor(seconds), 0);
  const [days, hours, minutes] = [
    Math.floor(all / 86400),
    Math.floor(all / 3600) % 24,
    Math.floor(all / 60) % 60,
  ];
  if (days > 0) return `${days}\u202fd ${hours}\u202fh`;
  if (hours > 0) return `${hours}\u202fh ${minutes}\u202fmin`;
  if (minutes > 0) return `${minutes}\u202fmin ${all % 60}\u202fs`;
  return `${all}\u202fs`;
}

/** The time of day of a moment, in this machine's zone. */
export function clock(date) {
  return Number.isNaN(date.getTime()) ? NONE : date.toTimeString().slice(0, 8);
}

export const plural = (count, one, many = `${one}s`) =>
  `${whole(count)} ${count === 1 ? one : many}`;

/** `too_old` as somebody would say it. */
export const spoken = name => String(name).replaceAll("_", " ");

const sumOf = numbers => Object.values(numbers ?? {}).reduce((sum, one) => sum + one, 0);

/** The reasons that count, most frequent first. */
const reasons = numbers =>
  Object.entries(numbers ?? {})
    .filter(([, times]) => times > 0)
    .sort((one, other) => other[1] - one[1])
    .map(([name]) => spoken(name))
    .slice(0, 3)
    .join(", ");

/** Milliseconds without progress that are worth mentioning. */
const SILENT_MANY_MS = 2000;

function troublesOfWorkers(model) {
  const troubles = [];
  for (const worker of model.workers.values()) {
    const { slot, state, seen } = worker;
    const who = { slot, generation: seen.generation, key: worker.key };
    const held =
      seen.waiting > 0
        ? `, ${plural(seen.waiting, "connection waits", "connections wait")} at it`
        : "";
    const silent = worker.silentFor(model.at);
    const forHowLong = silent >= SILENT_MANY_MS ? ` for ${span(silent / 1000)}` : "";
    const active = plural(seen.active ?? 0, "request");
    if (state === "stopped") {
      troubles.push({
        ...who,
        grave: true,
        short: `Worker ${slot} is stopped`,
        text: `Worker ${slot} is stopped by a signal: it holds ${active}${held}.`,
        advice: `kill -CONT ${seen.pid}`,
      });
    } else if (worker.staysStuck) {
      troubles.push({
        ...who,
        grave: true,
        short: `Worker ${slot} is stuck`,
        text: `Worker ${slot} is stuck: no progress${forHowLong}, ${active} in flight${held}.`,
        advice: `maitred ctl drain ${slot}`,
      });
    } else if (state === "drained") {
      troubles.push({
        ...who,
        grave: false,
        short: `Worker ${slot} is drained`,
        text: `Worker ${slot} was taken out of service by an operator.`,
        advice: `maitred ctl undrain ${slot}`,
      });
    }
  }
  for (const [slot, times] of model.restless()) {
    troubles.push({
      slot,
      grave: true,
      short: `Worker ${slot} keeps dying`,
      text: `Worker ${slot} was started again ${times} times while this page looked.`,
    });
  }
  return troubles;
}

function troublesOfServer(model) {
  const { view, server } = model;
  const troubles = [];
  const say = (grave, short, text, advice) =>
    troubles.push({ grave, short, text: `${short}. ${text}`, advice });
  const { account = {}, reload = {}, kernel_queue: queue } = view;
  if (view.running === false)
    say(true, "The master has died", "Who is seated is served, and nobody new is.");
  if (account.missing) {
    say(
      true,
      "The account does not add up",
      `${whole(Math.abs(account.missing))} connections are missing: this is a bug of maitred.`,
    );
  }
  if (reload.state === "failed") {
    say(
      true,
      "The last reload failed",
      `A new worker did not become ready: ${reload.replaced} of ${reload.of} are replaced.`,
    );
  }
  if (reload.state === "running") {
    say(false, "A reload is under way", `${reload.replaced} of ${reload.of} workers are replaced.`);
  }
  const dropped = server.rate("overflows");
  if (dropped > 0) {
    say(
      true,
      "The kernel drops connections",
      "Its queue is full: counted for this machine's whole network namespace.",
    );
  } else if (queue && queue.limit > 0 && queue.length >= queue.limit * 0.8) {
    say(
      true,
      "The kernel's queue is almost full",
      `${whole(queue.length)} of ${whole(queue.limit)} wait.`,
    );
  }
  const shed = server.rate("shed");
  if (shed > 0) {
    say(
      true,
      "Clients are turned away",
      `${short(shed)} in a second get a 503 (${reasons(account.shed)}).`,
    );
  }
  const aborted = server.rate("aborted");
  if (aborted > 0) {
    say(
      true,
      "Connections are cut off",
      `${short(aborted)} in a second (${reasons(account.aborted)}).`,
    );
  }
  if (account.here?.queued > 0 && server.kept.length > 1 && server.kept.at(-2).values.queued > 0) {
    say(
      false,
      "No worker has room",
      `${plural(account.here.queued, "connection waits", "connections wait")}.`,
    );
  }
  return troubles;
}

/** What wants attention, gravest first. */
export function troubles(model) {
  const all = [...troublesOfWorkers(model), ...troublesOfServer(model)];
  return [...all.filter(one => one.grave), ...all.filter(one => !one.grave)];
}

/** The whole picture in one sentence. */
export function headline(model, found) {
  const { view } = model;
  const phases = {
    starting: "Opening the house.",
    stopping: "Closing: who is seated is served to the end.",
    stopped: "Closed.",
  };
  const grave = found.filter(one => one.grave);
  if (grave.length > 1) {
    const slots = new Set(grave.map(one => one.slot).filter(slot => slot !== undefined));
    return slots.size === grave.length
      ? `${grave.length} workers want your attention.`
      : `${grave.length} things want your attention.`;
  }
  if (grave.length === 1) return `${grave[0].short}.`;
  if (phases[view.phase]) return phases[view.phase];
  if (found.length > 0) return `${found[0].short}.`;
  const open =
    sumOf(view.account?.here) +
    [...model.workers.values()].reduce((sum, one) => sum + (one.seen.own_open ?? 0), 0);
  if (open === 0) return "The house is empty.";
  return "All is well.";
}
