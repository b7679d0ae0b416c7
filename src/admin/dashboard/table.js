// One table with its chairs, and lines of latencies: the drawings of the page.
//
// A state is told by a word, by the table's shape and by a sign; colour only repeats it.
//
// Not here: which tables there are (plan.js).

import { draw, say, set } from "./elements.js";
import { POINTS_MAX } from "./model.js";

/** Chairs around a table. */
export const CHAIRS = 16;

/** What a sparkline can show, in seconds: the same for all, so that they can be compared. */
const [LATENCY_LOW, LATENCY_HIGH] = [0.0001, 10];

/** A sign for each state, which stands beside its word. */
export const SIGNS = {
  stopped: "■",
  stuck: "!",
  drained: "⊘",
  leaving: "→",
  starting: "◌",
  serving: "●",
};

/** How many connections one seat stands for, so that the fullest table has chairs enough. */
export function seatUnit(workers, before = 1) {
  const most = Math.max(
    0,
    ...workers.map(worker => Math.max(worker.open, worker.seen.active ?? 0)),
  );
  const units = [1, 2, 5].flatMap((_, at, all) =>
    [0, 1, 2, 3, 4, 5].map(power => all[at] * 10 ** power),
  );
  units.sort((one, other) => one - other);
  const least = units.find(unit => unit * CHAIRS >= most) ?? units.at(-1);
  // Down only when it is clear, or seats would change their meaning with every picture.
  return least < before && before * CHAIRS < most * 4 ? before : least;
}

/** How many seats are taken, wait and are idle: who is there has one, however few they are. */
export function seatsOf(worker, unit) {
  const active = Math.min(worker.seen.active ?? 0, Math.max(worker.open, worker.seen.active ?? 0));
  const waiting = worker.seen.waiting ?? 0;
  const idle = Math.max(worker.open - active - waiting, 0);
  let left = CHAIRS;
  return [active, waiting, idle].map(count => {
    const seats = Math.min(Math.ceil(count / unit), left);
    left -= seats;
    return seats;
  });
}

const [WIDTH, HEIGHT] = [148, 112];
const chairs = Array.from({ length: CHAIRS }, (_, at) => {
  const angle = ((at + 0.5) / CHAIRS) * 2 * Math.PI - Math.PI / 2;
  return [WIDTH / 2 + 64 * Math.cos(angle), HEIGHT / 2 + 46 * Math.sin(angle)];
});

/** One chair: a mark for each way of sitting on it, of which the class shows one. */
export function chair(x, y, kind = "free") {
  return draw(
    "g",
    { class: `chair ${kind}`, transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})` },
    draw("circle", { r: 5.5, class: "ring" }),
    draw("path", { d: "M-5.5 0A5.5 5.5 0 0 0 5.5 0Z", class: "half" }),
    draw("circle", { r: 1.4, class: "dot" }),
  );
}

/** The table top: its outline is another for each state. */
export function top(state) {
  const outline = {
    stuck: "M52 28H96L118 44V68L96 84H52L30 68V44Z",
    stopped: "M32 30H116V82H32Z",
  };
  const path =
    outline[state] ?? "M74 27C102 27 119 40 119 56S102 85 74 85S29 72 29 56S46 27 74 27Z";
  return draw("path", { d: path, class: "top" });
}

export function makeTable() {
  const number = draw("text", { x: WIDTH / 2, y: HEIGHT / 2 + 9, class: "number" });
  const cloth = draw("g");
  const seats = chairs.map(([x, y]) => chair(x, y));
  const svg = draw(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "seats", "aria-hidden": "true" },
    cloth,
    number,
    ...seats,
  );
  return {
    svg,
    change(worker, unit) {
      say(number, String(worker.slot));
      if (cloth.dataset.state !== worker.state) {
        cloth.dataset.state = worker.state;
        cloth.replaceChildren(top(worker.state));
      }
      const [active, waiting, idle] = seatsOf(worker, unit);
      seats.forEach((seat, at) => {
        const kind =
          at < active
            ? "taken"
            : at < active + waiting
              ? "waits"
              : at < active + waiting + idle
                ? "idle"
                : "free";
        set(seat, "class", `chair ${kind}`);
      });
    },
  };
}

/** Points as a path: a gap where nothing was answered, a dot where one stands alone. */
export function curve(values, yOf, width) {
  const step = width / (POINTS_MAX - 1);
  const first = POINTS_MAX - values.length;
  let path = "";
  let pen = "M";
  values.forEach((value, at) => {
    if (value === null) {
      pen = "M";
      return;
    }
    const place = `${((first + at) * step).toFixed(1)} ${yOf(value).toFixed(1)}`;
    path += pen === "M" ? `M${place}h0.01` : `L${place}`;
    pen = "L";
  });
  return path;
}

/** Latencies on a scale of powers of ten, between the same bounds everywhere. */
export const latencyHeight = height => seconds => {
  const share = Math.log(seconds / LATENCY_LOW) / Math.log(LATENCY_HIGH / LATENCY_LOW);
  return 2 + (height - 4) * (1 - Math.min(Math.max(share, 0), 1));
};

export function makeSpark() {
  const [width, height] = [240, 44];
  const yOf = latencyHeight(height);
  const rules = [0.001, 0.1].map(at =>
    draw("path", { d: `M0 ${yOf(at).toFixed(1)}H${width}`, class: "rule" }),
  );
  const lines = ["p99", "p50"].map(name => [name, draw("path", { class: name })]);
  const svg = draw(
    "svg",
    {
      viewBox: `0 0 ${width} ${height}`,
      preserveAspectRatio: "none",
      class: "spark",
      "aria-hidden": "true",
    },
    ...rules,
    ...lines.map(([, line]) => line),
  );
  return {
    svg,
    change(points) {
      for (const [name, line] of lines)
        set(
          line,
          "d",
          curve(
            points.map(point => point[name]),
            yOf,
            width,
          ),
        );
    },
  };
}
