//! Clients that mean no good, beside others that do: what it costs the others.
//!
//! One server, a steady load, and windows of time in the order A B C C B A: undisturbed, with a
//! crowd, and with the same crowd at a neighbour: another server of the same kind on the same cores,
//! which has no other clients. A crowd that makes a server work takes cores from everybody on them,
//! and no server can change that; so B is held against A, which says what the others' clients feel,
//! and against C, which says what of it is the doing of the server that they share with the crowd.
//! What the machine does meanwhile meets all alike. The answer is the ratio of the p99 of all
//! windows of one kind to that of another, with the 95 % interval of a bootstrap over windows: whole
//! windows are drawn, since requests of one window are not independent of each other.
//!
//! The load has no requests that sleep, and ten thousand connections are opened before their window
//! begins: what is measured is the crowd's presence, not the client's own work of making it.
//!
//! Not here: what each of the crowd does (`crowd`).

use std::fmt;
use std::fs;
use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;
use maitred::sys::clock;
use maitred::time::Nanos;

use crate::common::{DEADLINE, eventually, sockets_of};
use crate::crowd::{Crowd, HABITS, Habit};
use crate::found::{Found, Price};
use crate::ledger::book::Book;
use crate::stage::{ANSWER_WITHIN, Run, Stage, start_server};

const WORKERS: usize = 4;
const THREADS: usize = 2;

/// Ten for each that could serve.
const CROWD: usize = 10 * WORKERS * THREADS;

/// What others' p99 may become.
const RATIO_MAX: f64 = 1.2;

const RESAMPLES: usize = 2000;

/// Between a crowd's coming or going and its window: what connecting costs is over then.
const SETTLE: Duration = Duration::from_secs(1);

/// All of them, one after the other: nobody else is failed, and nothing is left behind. Times are
/// the other rows' to compare.
pub(crate) fn everyone(run: &Run) -> Found {
    let mut stage = Stage::begin(run, WORKERS, &[]);
    for habit in HABITS {
        let crowd = Crowd::gather(stage.server.address(), habit, CROWD);
        thread::sleep(run.duration());
        stage.perhaps += crowd.leave();
    }
    let mut found = stage.end(|_| Price::default());
    found.remarks.push(format!("{} habits", HABITS.len()));
    found
}

/// Slow heads.
pub(crate) fn slow_heads(run: &Run) -> Found {
    measure(run, Habit::SlowHead, CROWD)
}

/// Slow bodies.
pub(crate) fn slow_bodies(run: &Run) -> Found {
    measure(run, Habit::SlowBody, CROWD)
}

/// Slow readers.
pub(crate) fn slow_readers(run: &Run) -> Found {
    measure(run, Habit::SlowReader, CROWD)
}

/// A request, and the end of sending behind it, again and again.
pub(crate) fn half_closes(run: &Run) -> Found {
    measure(run, Habit::HalfClose, 8)
}

/// A reset directly behind the connect.
pub(crate) fn resets(run: &Run) -> Found {
    measure(run, Habit::Reset, 8)
}

/// Heads that are larger than any that is allowed.
pub(crate) fn head_bombs(run: &Run) -> Found {
    measure(run, Habit::HeadBomb, 8)
}

/// Ten thousand connections that say nothing.
pub(crate) fn silent(run: &Run) -> Found {
    measure(run, Habit::Silent, 10_000)
}

/// Requests without end on one connection.
pub(crate) fn pipelines(run: &Run) -> Found {
    measure(run, Habit::Pipeline, 4)
}

/// Where the crowd is in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    Nowhere,
    Here,
    AtANeighbour,
}

fn measure(run: &Run, habit: Habit, count: usize) -> Found {
    let mut stage = Stage::begin_with(run, WORKERS, &[], 0);
    let neighbour = start_server(run, WORKERS, &[]);
    let mut spans = Vec::new();
    let mut held = 0;
    let cookies = cookies_taken_twice();
    for _ in 0..run.rounds {
        spans.push((Where::Nowhere, window(run)));
        // Two windows in the middle: the crowd stays where it is.
        for (place, windows) in [(Where::Here, 1), (Where::AtANeighbour, 2), (Where::Here, 1)] {
            let server = if place == Where::Here { &stage.server } else { &neighbour };
            let crowd = Crowd::gather(server.address(), habit, count);
            if habit.stays() {
                // One that says nothing is accepted a second later (TCP_DEFER_ACCEPT).
                eventually(DEADLINE * 3, "the crowd is held", || {
                    held = sockets_of(server.pid());
                    held >= count
                });
            }
            thread::sleep(SETTLE);
            spans.extend((0..windows).map(|_| (place, window(run))));
            let left = crowd.leave();
            stage.perhaps += if place == Where::Here { left } else { 0 };
            thread::sleep(SETTLE);
        }
        spans.push((Where::Nowhere, window(run)));
    }
    stage.perhaps += cookies_taken_twice().saturating_sub(cookies);
    let mut found = stage.end(|_| Price::default());
    // On a machine that does not run us for all of a short window there is nothing to compare.
    let arm = |wanted: Where| -> Vec<Histogram<u64>> {
        let spans = spans.iter().filter(|(place, _)| *place == wanted);
        let windows = spans.map(|(_, (from, until))| histogram(&found.book, *from, *until));
        windows.filter(|window| !window.is_empty()).collect()
    };
    let [nowhere, here, elsewhere] = [Where::Nowhere, Where::Here, Where::AtANeighbour].map(arm);
    if nowhere.is_empty() || here.is_empty() || elsewhere.is_empty() {
        found.late.push("nothing was answered in a whole arm".to_owned());
        return found;
    }
    let felt = Ratio::of(&here, &nowhere, run.seed);
    let ours = Ratio::of(&here, &elsewhere, run.seed);
    if habit.stays() {
        found.remarks.push(format!("{held} held"));
    }
    found.remarks.push(format!(
        "p99 {:.2} ms, {:.2} undisturbed, ratio {felt}; crowd at a neighbour {:.2}, ratio {ours}",
        felt.above_ms, felt.below_ms, ours.below_ms,
    ));
    if ours.high > RATIO_MAX && ours.low <= RATIO_MAX {
        found.remarks.push(format!("open: the interval straddles {RATIO_MAX}"));
    }
    // Missed is only what neither the cores nor the machine's noise explains.
    found.require_time(felt.low <= RATIO_MAX || ours.low <= RATIO_MAX, || {
        format!("others' p99 is {ours} of what it is with the crowd at a neighbour")
    });
    found
}

/// A SYN cookie is good for two minutes: an ACK that comes late makes a connection a second time,
/// which no client has (seen with ten thousand silent ones, one in two hundred). The server accepts
/// what the kernel says, so its account has it.
fn cookies_taken_twice() -> u64 {
    let text = fs::read_to_string("/proc/net/netstat").unwrap_or_default();
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let number = |name: &str| -> u64 {
        let mut pairs = names.split_whitespace().zip(values.split_whitespace());
        let value = pairs.find(|(this, _)| *this == name).map(|(_, value)| value);
        value.and_then(|value| value.parse().ok()).unwrap_or(0)
    };
    number("SyncookiesRecv").saturating_sub(number("SyncookiesSent"))
}

fn window(run: &Run) -> (Nanos, Nanos) {
    let from = clock::now();
    thread::sleep(run.duration());
    (from, clock::now())
}

fn histogram(book: &Book, from: Nanos, until: Nanos) -> Histogram<u64> {
    let mut histogram = empty();
    for one in book.answered.iter().filter(|one| one.due >= from && one.due < until) {
        histogram.saturating_record(one.took.as_micros() as u64);
    }
    histogram
}

/// A ratio of two p99, with the 95 % interval of a percentile bootstrap.
struct Ratio {
    above_ms: f64,
    below_ms: f64,
    ratio: f64,
    low: f64,
    high: f64,
}

impl Ratio {
    fn of(above: &[Histogram<u64>], below: &[Histogram<u64>], seed: u64) -> Ratio {
        let (above_ms, below_ms) = (p99_ms(above), p99_ms(below));
        let mut random = fastrand::Rng::with_seed(seed);
        let mut draw = |arm: &[Histogram<u64>]| -> f64 {
            p99_ms((0..arm.len()).map(|_| &arm[random.usize(..arm.len())]))
        };
        let mut ratios: Vec<f64> = (0..RESAMPLES).map(|_| draw(above) / draw(below)).collect();
        ratios.sort_by(f64::total_cmp);
        let at = |share: f64| ratios[((RESAMPLES - 1) as f64 * share).round() as usize];
        Ratio { above_ms, below_ms, ratio: above_ms / below_ms, low: at(0.025), high: at(0.975) }
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.2} [{:.2}, {:.2}]", self.ratio, self.low, self.high)
    }
}

/// Of all windows together.
fn p99_ms<'a>(windows: impl IntoIterator<Item = &'a Histogram<u64>>) -> f64 {
    let mut sum = empty();
    for window in windows {
        sum.add(window).expect("all have the same bounds");
    }
    // Never zero, so that there is a ratio.
    sum.value_at_quantile(0.99).max(1) as f64 / 1e3
}

/// Microseconds, up to the longest that a request may take.
fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, ANSWER_WITHIN.as_micros() as u64, 3).expect("good bounds")
}
