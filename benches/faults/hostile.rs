//! Clients that mean no good, beside others that do: what it costs the others.
//!
//! One server, a steady load, and windows of time in the order A B B A: undisturbed, and with a
//! crowd. What the machine does meanwhile meets both alike. The answer is the ratio of the p99 of all
//! B windows to that of all A windows, with the 95 % interval of a bootstrap over windows: whole
//! windows are drawn, since requests of one window are not independent of each other.
//!
//! The load has no requests that sleep, and ten thousand connections are opened before their window
//! begins: what is measured is the crowd's presence, not the client's own work of making it.
//!
//! Not here: what each of the crowd does (`crowd`).

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
use crate::stage::{ANSWER_WITHIN, Run, Stage};

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

fn measure(run: &Run, habit: Habit, count: usize) -> Found {
    let mut stage = Stage::begin_with(run, WORKERS, &[], 0);
    let mut windows = Vec::new();
    let mut spans = Vec::new();
    let mut held = 0;
    let cookies = cookies_taken_twice();
    // A round is A B B A: two windows of each.
    for _ in 0..run.rounds {
        spans.push((false, window(run)));
        let crowd = Crowd::gather(stage.server.address(), habit, count);
        if habit.stays() {
            // One that says nothing is accepted a second later (TCP_DEFER_ACCEPT).
            eventually(DEADLINE * 3, "the crowd is held", || {
                held = sockets_of(stage.server.pid());
                held >= count
            });
        }
        thread::sleep(SETTLE);
        spans.push((true, window(run)));
        spans.push((true, window(run)));
        stage.perhaps += crowd.leave();
        thread::sleep(SETTLE);
        spans.push((false, window(run)));
    }
    stage.perhaps += cookies_taken_twice().saturating_sub(cookies);
    let mut found = stage.end(|_| Price::default());
    for (is_disturbed, (from, until)) in spans {
        let window = histogram(&found.book, from, until);
        // On a machine that does not run us for all of a short window there is nothing to compare.
        if !window.is_empty() {
            windows.push((is_disturbed, window));
        }
    }
    let arm = |wanted: bool| -> Vec<&Histogram<u64>> {
        windows
            .iter()
            .filter(|(is_disturbed, _)| *is_disturbed == wanted)
            .map(|(_, one)| one)
            .collect()
    };
    if arm(true).is_empty() || arm(false).is_empty() {
        found.late.push("nothing was answered in a whole arm".to_owned());
        return found;
    }
    let ratio = Ratio::of(&arm(true), &arm(false), run.seed);
    if habit.stays() {
        found.remarks.push(format!("{held} held"));
    }
    found.remarks.push(format!(
        "p99 {:.2} of {:.2} ms undisturbed, ratio {:.2} [{:.2}, {:.2}]",
        ratio.disturbed_ms, ratio.undisturbed_ms, ratio.ratio, ratio.low, ratio.high,
    ));
    if ratio.high > RATIO_MAX && ratio.low <= RATIO_MAX {
        found.remarks.push(format!("open: the interval straddles {RATIO_MAX}"));
    }
    // Missed is only what the machine's noise does not explain.
    found.require_time(ratio.low <= RATIO_MAX, || {
        format!("others' p99 is {:.2} × [{:.2}, {:.2}]", ratio.ratio, ratio.low, ratio.high)
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
    disturbed_ms: f64,
    undisturbed_ms: f64,
    ratio: f64,
    low: f64,
    high: f64,
}

impl Ratio {
    fn of(disturbed: &[&Histogram<u64>], undisturbed: &[&Histogram<u64>], seed: u64) -> Ratio {
        let (above, below) = (p99_ms(disturbed), p99_ms(undisturbed));
        let mut random = fastrand::Rng::with_seed(seed);
        let mut draw = |arm: &[&Histogram<u64>]| -> f64 {
            let drawn: Vec<_> = (0..arm.len()).map(|_| arm[random.usize(..arm.len())]).collect();
            p99_ms(&drawn)
        };
        let mut ratios: Vec<f64> =
            (0..RESAMPLES).map(|_| draw(disturbed) / draw(undisturbed)).collect();
        ratios.sort_by(f64::total_cmp);
        let at = |share: f64| ratios[((RESAMPLES - 1) as f64 * share).round() as usize];
        Ratio {
            disturbed_ms: above,
            undisturbed_ms: below,
            ratio: above / below,
            low: at(0.025),
            high: at(0.975),
        }
    }
}

/// Of all windows together.
fn p99_ms(windows: &[&Histogram<u64>]) -> f64 {
    let mut sum = empty();
    for window in windows {
        sum.add(*window).expect("all have the same bounds");
    }
    // Never zero, so that there is a ratio.
    sum.value_at_quantile(0.99).max(1) as f64 / 1e3
}

/// Microseconds, up to the longest that a request may take.
fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, ANSWER_WITHIN.as_micros() as u64, 3).expect("good bounds")
}
