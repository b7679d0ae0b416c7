//! What a run found: latencies by class, failures by kind, and how punctual the generator was.
//!
//! Not here: finding it (`run`), printing it (whoever asked).

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::experiment::load::limits::{LATENCY_MAX, LATENCY_MIN, SAMPLES_MAX};
use crate::experiment::load::sample::Sample;
use crate::time::Nanos;

/// Digits that are kept of a latency: 1.23 ms is told from 1.24 ms.
const DIGITS: u8 = 3;

/// Why a request has no good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// Nobody listened.
    Refused,
    /// No connection, for another reason: this machine's own limits, as a rule.
    Unopened,
    /// The connection ended before the first byte of the answer.
    ClosedBefore,
    /// The connection ended within the answer.
    ClosedWithin,
    /// What came was no answer.
    Malformed,
    /// A status other than 2xx.
    Status,
    /// No answer in time.
    TimedOut,
    /// Not sent: too many were waiting for a connection already.
    Unqueued,
}

impl Failure {
    /// For people.
    pub fn explanation(self) -> &'static str {
        match self {
            Failure::Refused => "refused",
            Failure::Unopened => "not connected",
            Failure::ClosedBefore => "cut off before the answer",
            Failure::ClosedWithin => "cut off within the answer",
            Failure::Malformed => "no HTTP",
            Failure::Status => "not 2xx",
            Failure::TimedOut => "too late",
            Failure::Unqueued => "not sent for want of room",
        }
    }
}

/// How often which failure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures(BTreeMap<Failure, u64>);

impl Failures {
    /// One more.
    pub fn note(&mut self, failure: Failure) {
        *self.0.entry(failure).or_insert(0) += 1;
    }

    /// How many of this kind.
    pub fn of(&self, failure: Failure) -> u64 {
        self.0.get(&failure).copied().unwrap_or(0)
    }

    /// Each kind that there was, and how many.
    pub fn iter(&self) -> impl Iterator<Item = (Failure, u64)> + '_ {
        self.0.iter().map(|(&failure, &count)| (failure, count))
    }

    /// How many of any kind.
    pub fn sum(&self) -> u64 {
        self.0.values().sum()
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Failures) {
        for (&failure, &count) in &other.0 {
            *self.0.entry(failure).or_insert(0) += count;
        }
    }
}

/// `3 refused, 1 too late`, or `none`.
impl fmt::Display for Failures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str("none");
        }
        for (index, (failure, count)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(formatter, "{separator}{count} {}", failure.explanation())?;
        }
        Ok(())
    }
}

/// What became of one class.
#[derive(Clone, Debug)]
pub struct ClassReport {
    /// The class's name.
    pub name: String,
    /// Nanoseconds from when a request was due to the last byte of its answer; only of those with
    /// a good answer that were due after the warm-up.
    pub latency: Histogram<u64>,
    /// Requests that became due.
    pub due: u64,
    /// Good answers, the warm-up's too.
    pub answered: u64,
    /// All others. Their latencies are nowhere: with failures, percentiles flatter.
    pub failures: Failures,
    /// Requests that became due after the warm-up.
    pub due_measured: u64,
    /// Of those, the ones without a good answer.
    pub failures_measured: Failures,
    /// Good answers that came within the measured time, whenever they were due.
    pub answered_measured: u64,
    /// Answers by the slot that gave them, where the server says it.
    pub by_worker: BTreeMap<u16, u64>,
}

/// What a run found.
#[derive(Clone, Debug)]
pub struct Report {
    /// In the order of the plan.
    pub classes: Vec<ClassReport>,
    /// Nanoseconds from when a request was due to when the generator turned to it. Waiting for a
    /// free connection is not in it: that is the server's doing.
    pub lag: Histogram<u64>,
    /// Connections that had to be opened again.
    pub reopened: u64,
    /// From the first moment at which a request could be due to the last answer.
    pub elapsed: Duration,
    /// The measured time: from the end of the warm-up to the end of arrivals.
    pub measured: (Nanos, Nanos),
    /// Connections that carried a request, or were there to do so: a sample's connection is one of
    /// them, counted from 0.
    pub connections: u32,
    /// Connections that were opened within the measured time.
    pub opened_measured: u64,
    /// In the order of answers, the warm-up's too, if the plan keeps them.
    pub samples: Vec<Sample>,
    /// Answers past [`SAMPLES_MAX`], the last ones: their samples are not kept.
    pub samples_dropped: u64,
}

impl ClassReport {
    pub(super) fn new(name: &str) -> ClassReport {
        ClassReport {
            name: name.to_owned(),
            latency: histogram(),
            due: 0,
            answered: 0,
            failures: Failures::default(),
            due_measured: 0,
            failures_measured: Failures::default(),
            answered_measured: 0,
            by_worker: BTreeMap::new(),
        }
    }

    /// The latency that this share of the answers did not exceed; zero without answers.
    pub fn latency_at(&self, share: f64) -> Duration {
        Duration::from_nanos(self.latency.value_at_quantile(share))
    }

    /// The longest latency.
    pub fn latency_max(&self) -> Duration {
        Duration::from_nanos(self.latency.max())
    }

    /// Good answers a second over a time.
    pub fn rate(&self, elapsed: Duration) -> f64 {
        self.answered as f64 / elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl Report {
    /// Of a run that has found nothing yet.
    pub fn new<'a>(names: impl Iterator<Item = &'a str>, measured: (Nanos, Nanos)) -> Report {
        Report {
            classes: names.map(ClassReport::new).collect(),
            lag: histogram(),
            reopened: 0,
            elapsed: Duration::ZERO,
            measured,
            connections: 0,
            opened_measured: 0,
            samples: Vec::new(),
            samples_dropped: 0,
        }
    }

    /// Adds what another generator found by the same classes at the same time. Its connections are
    /// numbered behind ours.
    pub fn add(&mut self, other: &Report) {
        for (ours, theirs) in self.classes.iter_mut().zip(&other.classes) {
            add(&mut ours.latency, &theirs.latency);
            ours.due += theirs.due;
            ours.answered += theirs.answered;
            ours.failures.add(&theirs.failures);
            ours.due_measured += theirs.due_measured;
            ours.failures_measured.add(&theirs.failures_measured);
            ours.answered_measured += theirs.answered_measured;
            for (&worker, &count) in &theirs.by_worker {
                *ours.by_worker.entry(worker).or_insert(0) += count;
            }
        }
        add(&mut self.lag, &other.lag);
        self.reopened += other.reopened;
        self.elapsed = self.elapsed.max(other.elapsed);
        let ((from, to), (other_from, other_to)) = (self.measured, other.measured);
        self.measured = (from.max(other_from), to.min(other_to));
        self.opened_measured += other.opened_measured;
        let before = self.connections;
        self.connections = before.saturating_add(other.connections);
        self.samples.extend(other.samples.iter().map(|sample| Sample {
            connection: before.saturating_add(sample.connection),
            ..*sample
        }));
        // Two ascending runs, which a stable sort finds and merges.
        self.samples.sort_by_key(|sample| sample.answered);
        let too_many = self.samples.len().saturating_sub(SAMPLES_MAX);
        self.samples.truncate(SAMPLES_MAX);
        self.samples_dropped += other.samples_dropped + too_many as u64;
    }

    /// Keeps a sample, or counts that it was not kept.
    pub(crate) fn keep(&mut self, sample: Sample) {
        if self.samples.len() < SAMPLES_MAX {
            self.samples.push(sample);
        } else {
            self.samples_dropped += 1;
        }
    }

    /// The lag that this share of the requests did not exceed.
    pub fn lag_at(&self, share: f64) -> Duration {
        Duration::from_nanos(self.lag.value_at_quantile(share))
    }

    /// Good answers of all classes.
    pub fn answered(&self) -> u64 {
        self.classes.iter().map(|class| class.answered).sum()
    }

    /// Failures of all classes.
    pub fn failures(&self) -> Failures {
        let mut sum = Failures::default();
        self.classes.iter().for_each(|class| sum.add(&class.failures));
        sum
    }

    /// Failures of all classes, of requests that became due after the warm-up.
    pub fn failures_measured(&self) -> Failures {
        let mut sum = Failures::default();
        self.classes.iter().for_each(|class| sum.add(&class.failures_measured));
        sum
    }
}

/// Notes a duration. One past [`LATENCY_MAX`] counts as that.
pub(crate) fn note(histogram: &mut Histogram<u64>, duration: Duration) {
    histogram.saturating_record(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
}

fn histogram() -> Histogram<u64> {
    let bounds = (LATENCY_MIN.as_nanos() as u64, LATENCY_MAX.as_nanos() as u64);
    Histogram::new_with_bounds(bounds.0, bounds.1, DIGITS)
        .expect("the lowest is above zero, the highest twice that, the digits at most five")
}

fn add(ours: &mut Histogram<u64>, theirs: &Histogram<u64>) {
    ours.add(theirs).expect("both have the same bounds");
}
