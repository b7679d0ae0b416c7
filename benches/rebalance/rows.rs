//! The rows: what server, under which load, held to which bars.
//!
//! Not here: the load generator (`maitred::experiment`), the order of runs (`rebalance`).

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use maitred::experiment::load::{
    Arrivals, Ask, Choice, Class, Generator, Opening, Pace, Plan, Report, SetId,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::common::{DEADLINE, Server, eventually};
use crate::figures::{Bar, Figures};
use crate::usage::{Usage, cores};

/// A row of the table.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// Of a run, unless `--seconds` says otherwise.
    pub(crate) seconds: f64,
    /// Of each mode, unless `--runs` says otherwise.
    pub(crate) runs: u64,
    pub(crate) measure: fn(&Run<'_>) -> Figures,
    pub(crate) bars: &'static [Bar],
}

/// One run of a row.
pub(crate) struct Run<'a> {
    pub(crate) mode: &'a str,
    pub(crate) flags: &'a [String],
    pub(crate) seconds: f64,
    pub(crate) seed: u64,
    pub(crate) is_smoke: bool,
}

/// Kept connections of the rows that do not say otherwise.
const CONNECTIONS: usize = 64;

/// Connections opened at one time: one by one, so that they are seated alike in every run.
const AT_ONCE: usize = 1;

/// The same for thousands of idle ones: where each is held does not matter.
const IDLE_AT_ONCE: usize = 16;

/// A generator that is later than this (p99) is named beside the figure, unless the latency is
/// large enough for it not to matter.
const LAG_MAX: Duration = Duration::from_micros(200);
const LAG_SHARE_MAX: f64 = 0.01;

/// A share of the machine that others may take before it is named beside the figures.
const OTHERS_SHARE_MAX: f64 = 0.05;

/// A request that has no answer by then is a failure.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "spin30",
        what: "4 loop workers, 64 connections: 800/s of 0.1 ms CPU beside 10/s of 30 ms, both at \
               constant rate; the short ones",
        seconds: 60.0,
        runs: 3,
        measure: spin30,
        bars: &[
            at_most("p99", 0.9),
            at_most("p99.9", 3.0),
            at_most("max", 8.0),
            against_never("p99", 1.0 / 12.0),
        ],
    },
    Row {
        name: "spin30-poisson",
        what: "the same with Poisson arrivals: of the long ones two or more run at once for 4 % of \
               the time, and then the short ones wait for a core",
        seconds: 60.0,
        runs: 3,
        measure: spin30_poisson,
        bars: &[against_never("p99", 1.0 / 12.0)],
    },
    Row {
        name: "sleep100",
        what: "8 workers × 1 thread, 64 connections: 1500/s of 1 ms sleep beside 25/s of 100 ms; \
               the short ones",
        seconds: 60.0,
        runs: 3,
        measure: sleep100,
        bars: &[at_most("p99.9", 4.0)],
    },
    Row {
        name: "mm8",
        what: "8 workers × 1 thread, 64 connections, M/M/8 at 0.8: 640/s of 10 ms sleep",
        seconds: 60.0,
        runs: 3,
        measure: mm8,
        // 1.2 times what one central queue gives: 5.2 mean service times.
        bars: &[at_most("p99", 62.4)],
    },
    Row {
        name: "puma",
        what: "2 workers × 1 thread, one taken for 12 s; 100/s of / on 4 connections that were there \
               before, each with its own share",
        seconds: 12.0,
        runs: 3,
        measure: puma,
        bars: &[at_most("p95", 20.0)],
    },
    Row {
        name: "skew",
        what: "4 loop workers at 60 % of the cores, 1 ms CPU each; 4 of 40 connections send 90 %",
        seconds: 60.0,
        runs: 3,
        measure: skew,
        bars: &[
            Bar::RatioAtMost { figure: "p99", mode: "auto", over: "always", bound: 1.25 },
            against_never("p99", 1.0),
        ],
    },
    Row {
        name: "rare30",
        what: "4 loop workers, 64 connections, 2000/s of 0.05 ms CPU, one in 1000 takes 30 ms; \
               the short ones",
        seconds: 60.0,
        runs: 3,
        measure: rare30,
        bars: &[at_most("p99.9", 3.5)],
    },
    Row {
        name: "burst",
        what: "8 workers × 1 thread; of 960 connections only those of two workers stay, and each of \
               them sends a 10 ms sleep at one moment",
        seconds: 1.0,
        runs: 3,
        measure: burst,
        bars: &[at_most("p99/ideal", 1.15)],
    },
    Row {
        name: "hello",
        what: "2 loop workers, 64 connections, closed loop: what it costs where nothing is gained",
        seconds: 10.0,
        runs: 5,
        measure: hello,
        bars: &[
            Bar::RatioAtLeast { figure: "rate", mode: "auto", over: "never", bound: 0.99 },
            against_never("CPU", 1.02),
            Bar::RatioAtLeast { figure: "rate", mode: "always", over: "never", bound: 0.65 },
        ],
    },
    Row {
        name: "idle",
        what: "10,000 kept connections that made one request, then silence",
        seconds: 10.0,
        runs: 1,
        measure: idle,
        bars: &[at_most("master wake-ups", 2.0)],
    },
];

const fn at_most(figure: &'static str, bound: f64) -> Bar {
    Bar::AtMost { figure, mode: "auto", bound }
}

const fn against_never(figure: &'static str, bound: f64) -> Bar {
    Bar::RatioAtMost { figure, mode: "auto", over: "never", bound }
}

fn spin30(run: &Run<'_>) -> Figures {
    beside_long_ones(run, |rate| Arrivals::Constant { rate })
}

fn spin30_poisson(run: &Run<'_>) -> Figures {
    beside_long_ones(run, |rate| Arrivals::Poisson { rate })
}

fn beside_long_ones(run: &Run<'_>, arrivals: impl Fn(f64) -> Arrivals) -> Figures {
    run.latencies(&["-w", "4", "--threads", "0"], |set| {
        vec![
            class("/spin/0.1", arrivals(800.0), set, Choice::Random),
            class("/spin/30", arrivals(10.0), set, Choice::Random),
        ]
    })
}

fn sleep100(run: &Run<'_>) -> Figures {
    run.latencies(&["-w", "8", "--threads", "1"], |set| {
        vec![
            class("/sleep/1", Arrivals::Constant { rate: 1500.0 }, set, Choice::Random),
            class("/sleep/100", Arrivals::Constant { rate: 25.0 }, set, Choice::Random),
        ]
    })
}

fn mm8(run: &Run<'_>) -> Figures {
    run.latencies(&["-w", "8", "--threads", "1"], |set| {
        vec![class("/sleep/exp:10", Arrivals::Poisson { rate: 640.0 }, set, Choice::Random)]
    })
}

fn rare30(run: &Run<'_>) -> Figures {
    // Two Poisson processes together are one, of which each request is a rare one by chance.
    run.latencies(&["-w", "4", "--threads", "0"], |set| {
        vec![
            class("/spin/0.05", Arrivals::Poisson { rate: 1998.0 }, set, Choice::Random),
            class("/spin/30", Arrivals::Poisson { rate: 2.0 }, set, Choice::Random),
        ]
    })
}

fn skew(run: &Run<'_>) -> Figures {
    let server = run.server(&["-w", "4", "--threads", "0", "--worker-header"]);
    let mut generator = generator(&server);
    let set = open(&mut generator, 40, AT_ONCE);
    let choice = Choice::Bound { hot_connections: 0.1, hot_requests: 0.9 };
    let rate = 0.6 * cores() as f64 * 1000.0;
    let classes = vec![class("/spin/1", Arrivals::Poisson { rate }, set, choice)];
    let (report, usage) = measured(&server, &mut generator, &run.plan(classes));
    let mut figures = latency_figures(&report, usage);
    // Which connections are the hot ones is a matter of the seed, and so is `never`'s misfortune.
    let answers: Vec<_> = report.classes[0].by_worker.values().collect();
    figures.remarks.push(format!("answers by worker {answers:?}"));
    figures
}

/// The fast ones are not a closed loop, as in the story this is named for: two clients that wait
/// would send nothing meanwhile, and two slow requests vanish among thousands. Each has its own
/// share of an open load, which waits for its connection and counts from when it was due.
fn puma(run: &Run<'_>) -> Figures {
    let server = run.server(&["-w", "2", "--threads", "1", "--worker-header"]);
    let mut generator = generator(&server);
    let fast = open(&mut generator, 4, AT_ONCE);
    let held = generator.workers(fast);
    let slow = generator.reserve(1).expect("few connections");
    let before = Duration::from_secs_f64(run.seconds * 0.1).min(Duration::from_millis(200));
    let path = format!("/sleep/{:.0}", run.seconds * 1000.0);
    let taken = Arrivals::Burst { count: 1, at: before };
    let mut plan = run.plan(vec![
        class("/", Arrivals::Poisson { rate: 100.0 }, fast, Choice::EVEN),
        class(&path, taken, slow, Choice::New),
    ]);
    plan.warm_up = before;
    plan.duration = before + Duration::from_secs_f64(run.seconds);
    let (report, usage) = measured(&server, &mut generator, &plan);
    let mut figures = latency_figures(&report, usage);
    let slots: Vec<_> = held.into_iter().flatten().collect();
    figures.remarks.push(format!("the four were seated at {slots:?}"));
    figures
}

fn burst(run: &Run<'_>) -> Figures {
    const WORKERS: usize = 8;
    const SERVICE_MS: usize = 10;
    let server = run.server(&["-w", "8", "--threads", "1", "--worker-header"]);
    let descriptors = server.descriptors();
    let mut generator = generator(&server);
    let opened = if run.is_smoke { 96 } else { 960 };
    raise_descriptor_limit(opened);
    let set = open(&mut generator, opened, AT_ONCE);
    let left = generator.retain(set, |worker| worker.is_some_and(|slot| slot < 2));
    eventually(DEADLINE, "the server has noticed the closes", || {
        server.descriptors() <= descriptors + left
    });
    let count = u32::try_from(left).expect("few connections");
    let at = Duration::from_millis(20);
    let path = format!("/sleep/{SERVICE_MS}");
    let mut plan = run.plan(vec![class(&path, Arrivals::Burst { count, at }, set, Choice::InTurn)]);
    plan.warm_up = Duration::ZERO;
    let (report, usage) = measured(&server, &mut generator, &plan);
    let mut figures = latency_figures(&report, usage);
    let ideal_ms = left.div_ceil(WORKERS) * SERVICE_MS;
    let p99_ms = report.classes[0].latency_at(0.99).as_secs_f64() * 1e3;
    figures.push("p99/ideal", p99_ms / ideal_ms as f64, "");
    figures.remarks.push(format!("{left} connections, ideal {ideal_ms} ms"));
    let workers = report.classes[0].by_worker.values().collect::<Vec<_>>();
    figures.remarks.push(format!("answers by worker {workers:?}"));
    figures
}

fn hello(run: &Run<'_>) -> Figures {
    let server = run.server(&["-w", "2", "--threads", "0"]);
    let before = Usage::of(&server);
    let began = Instant::now();
    let mut figures = Figures::default();
    let by_wrk = wrk(&format!("http://{}/", server.address()), run.seconds);
    let is_by_wrk = by_wrk.is_some();
    let (answered, rate) = by_wrk.unwrap_or_else(|| {
        let mut generator = generator(&server);
        let set = open(&mut generator, CONNECTIONS, AT_ONCE);
        let mut class = class("/", Arrivals::Constant { rate: 1.0 }, set, Choice::InTurn);
        class.pace = Pace::Closed;
        let report = generator.run(&run.plan(vec![class])).expect("a plan that fits");
        if report.failures().sum() > 0 {
            figures.warn(&format!("failed: {}", report.failures()));
        }
        (report.answered(), report.classes[0].rate(report.elapsed))
    });
    let elapsed = began.elapsed();
    let usage = Usage::of(&server).since(before);
    figures.push("rate", rate, "/s");
    figures.push("CPU", usage.cpu_us_each(answered), "µs/request");
    figures.push("master wake-ups", usage.master_wake_ups_per_second(elapsed), "/s");
    warn_of_others(&mut figures, usage);
    if !is_by_wrk {
        figures.remarks.push("by our own generator: no wrk here".to_owned());
    }
    figures
}

/// Answers and answers a second as wrk counts them; nothing if it is not installed.
fn wrk(url: &str, seconds: f64) -> Option<(u64, f64)> {
    // wrk knows whole seconds only.
    let duration = format!("-d{:.0}s", seconds.ceil());
    let connections = format!("-c{CONNECTIONS}");
    let output =
        Command::new(Path::new("wrk")).args(["-t1", &connections, &duration, url]).output();
    let text = String::from_utf8(output.ok()?.stdout).ok()?;
    let mut lines = text.lines().map(str::trim);
    let answered =
        lines.clone().find_map(|line| line.split_once(" requests in ")?.0.parse().ok())?;
    let rate = lines.find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse().ok())?;
    Some((answered, rate))
}

fn idle(run: &Run<'_>) -> Figures {
    const WANTED: usize = 10_000;
    let server = run.server(&["-w", "4", "--threads", "0"]);
    let allowed = raise_descriptor_limit(WANTED);
    let count = if run.is_smoke { 500 } else { WANTED }.min(allowed);
    let mut generator = generator(&server);
    let set = open(&mut generator, count, IDLE_AT_ONCE);
    // What opening them has set going comes to rest.
    let duration = Duration::from_secs_f64(run.seconds);
    thread::sleep(duration.min(Duration::from_secs(2)));
    let (before, began) = (Usage::of(&server), Instant::now());
    thread::sleep(duration);
    let (usage, elapsed) = (Usage::of(&server).since(before), began.elapsed());
    assert_eq!(generator.retain(set, |_| true), count);
    let mut figures = Figures::default();
    figures.push("master wake-ups", usage.master_wake_ups_per_second(elapsed), "/s");
    figures.push("workers' wake-ups", usage.worker_wake_ups_per_second(elapsed), "/s");
    figures.push("CPU", usage.cpu_ms_per_second(elapsed), "ms/s");
    warn_of_others(&mut figures, usage);
    if count < WANTED && !run.is_smoke {
        figures
            .remarks
            .push(format!("{count} connections: the limit on descriptors allows no more"));
    }
    figures
}

impl Run<'_> {
    /// A load on [`CONNECTIONS`] shared connections; the first class is the one that is looked at.
    fn latencies(&self, arguments: &[&str], classes: impl FnOnce(SetId) -> Vec<Class>) -> Figures {
        let server = self.server(arguments);
        let mut generator = generator(&server);
        let set = open(&mut generator, CONNECTIONS, AT_ONCE);
        let (report, usage) = measured(&server, &mut generator, &self.plan(classes(set)));
        latency_figures(&report, usage)
    }

    fn server(&self, arguments: &[&str]) -> Server {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        Server::start(&[&["serve", "--rebalance", self.mode], arguments, &flags].concat())
    }

    fn plan(&self, classes: Vec<Class>) -> Plan {
        let duration = Duration::from_secs_f64(self.seconds);
        Plan {
            classes,
            duration,
            // What a mode learns from the first requests belongs to its start, not to its figure.
            warm_up: (duration / 10).min(Duration::from_secs(1)),
            answer_within: ANSWER_WITHIN,
            seed: self.seed,
            keep_samples: false,
        }
    }
}

fn class(path: &str, arrivals: Arrivals, set: SetId, choice: Choice) -> Class {
    let pace = Pace::Open(arrivals);
    let ask = Ask::Path(path.to_owned());
    Class { name: path.to_owned(), ask, pace, set, choice }
}

fn generator(server: &Server) -> Generator {
    Generator::new(server.address()).expect("descriptors for an event loop")
}

fn open(generator: &mut Generator, count: usize, at_once: usize) -> SetId {
    let opened = generator.open(&Opening { count, at_once, path: "/".to_owned() });
    opened.unwrap_or_else(|error| panic!("opening {count} connections: {error}"))
}

/// Runs a plan, and says what the server used for each answer and second of it.
fn measured(server: &Server, generator: &mut Generator, plan: &Plan) -> (Report, Usage) {
    let before = Usage::of(server);
    let report = generator.run(plan).unwrap_or_else(|error| panic!("running: {error}"));
    (report, Usage::of(server).since(before))
}

fn latency_figures(report: &Report, usage: Usage) -> Figures {
    let class = &report.classes[0];
    let milliseconds = |duration: Duration| duration.as_secs_f64() * 1e3;
    let mut figures = Figures::default();
    for (name, share) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999)] {
        figures.push(name, milliseconds(class.latency_at(share)), "ms");
    }
    figures.push("max", milliseconds(class.latency_max()), "ms");
    figures.push("answers", class.rate(report.elapsed), "/s");
    figures.push("CPU", usage.cpu_us_each(report.answered()), "µs/request");
    figures.push("master wake-ups", usage.master_wake_ups_per_second(report.elapsed), "/s");
    figures.push("lag p99", milliseconds(report.lag_at(0.99)), "ms");
    if report.failures().sum() > 0 {
        figures.warn(&format!("failed: {}", report.failures()));
    }
    let lag = report.lag_at(0.99);
    if lag > LAG_MAX.max(class.latency_at(0.99).mul_f64(LAG_SHARE_MAX)) {
        figures.warn("the generator itself was late");
    }
    warn_of_others(&mut figures, usage);
    if report.reopened > 0 {
        figures.remarks.push(format!("{} connections opened again", report.reopened));
    }
    figures
}

fn warn_of_others(figures: &mut Figures, usage: Usage) {
    let share = usage.others_share();
    if share > OTHERS_SHARE_MAX {
        figures.warn(&format!("others took {:.0} % of the machine", share * 100.0));
    }
}

/// Raises the limit on descriptors for so many connections, and says how many it allows: as many
/// at the master, whose limit is the same, and half of it for safety.
fn raise_descriptor_limit(connections: usize) -> usize {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("limits can be read");
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_mul(2);
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, hard.min(wanted), hard).expect("soft can become hard");
    }
    usize::try_from(hard / 2).unwrap_or(usize::MAX)
}
