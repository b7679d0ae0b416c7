//! What became of the requests of a load: counted by outcome, the failures told one by one.
//!
//! Not here: finding it out (`connection`), what a row of the fault matrix may lose (`benches`).

use std::fmt;
use std::time::Duration;

use maitred::time::Nanos;

/// Failures that are kept with their story; all are counted.
const STORIES_MAX: usize = 20_000;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// Its own answer, whole.
    Full,
    /// Turned away: 503.
    Shed,
    /// The worker that had it ended: 502.
    BadGateway,
    /// Nobody listened.
    Refused,
    /// No connection, for another reason: this machine's own limits, as a rule.
    Unopened,
    /// Reset before a byte of the answer, on a new connection.
    ResetNew,
    /// The same on a connection that had carried an answer before.
    ResetReused,
    /// Reset within the answer.
    ResetWithin,
    /// Closed in order without an answer, on a new connection.
    ClosedNew,
    /// The same on one that had carried an answer: the race of RFC 9112 section 9.3.1.
    ClosedReused,
    /// Closed in order within the answer: the client sees that it is cut off.
    ClosedWithin,
    /// A whole answer that is not this request's, is damaged, or has a status that nobody promised.
    Wrong,
    /// No answer in time.
    TimedOut,
}

/// All of them, in the order of their numbers.
pub(crate) const OUTCOMES: [Outcome; 13] = [
    Outcome::Full,
    Outcome::Shed,
    Outcome::BadGateway,
    Outcome::Refused,
    Outcome::Unopened,
    Outcome::ResetNew,
    Outcome::ResetReused,
    Outcome::ResetWithin,
    Outcome::ClosedNew,
    Outcome::ClosedReused,
    Outcome::ClosedWithin,
    Outcome::Wrong,
    Outcome::TimedOut,
];

/// The latency of a request that was answered in full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered {
    pub(crate) due: Nanos,
    /// From when it was due to its last byte.
    pub(crate) took: Duration,
}

/// A request that was not.
#[derive(Clone, Debug)]
pub(crate) struct Failed {
    pub(crate) outcome: Outcome,
    pub(crate) id: u64,
    pub(crate) due: Nanos,
    pub(crate) ended: Nanos,
    /// From the beginning of its connection to its last byte, or to its end: how long the server has
    /// waited for this client. Of the first request on a connection alone.
    pub(crate) silent_for: Option<Duration>,
    /// Its last byte had been taken by the client's kernel.
    pub(crate) sent_whole: bool,
    pub(crate) story: String,
}

/// The ledger of a load, or of a part of its time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    pub(crate) counts: [u64; OUTCOMES.len()],
    pub(crate) answered: Vec<Answered>,
    pub(crate) failures: Vec<Failed>,
    /// Connections that were established.
    pub(crate) connected: u64,
    /// Connections that ended in order while no request was on them.
    pub(crate) idle_closed: u64,
    /// The same by a reset.
    pub(crate) idle_reset: u64,
    /// Requests that became due and are in no other number yet.
    pub(crate) in_flight: u64,
}

impl Book {
    /// `due` where its latency is of interest.
    pub(crate) fn note_full(&mut self, due: Option<Nanos>, now: Nanos) {
        self.counts[Outcome::Full as usize] += 1;
        self.answered.extend(due.map(|due| Answered { due, took: now.since(due) }));
    }

    pub(crate) fn note_failed(&mut self, failed: Failed) {
        self.counts[failed.outcome as usize] += 1;
        if self.failures.len() < STORIES_MAX {
            self.failures.push(failed);
        }
    }

    /// All that has ended; what is in flight stays behind.
    pub(crate) fn take(&mut self) -> Book {
        let next = Book { in_flight: self.in_flight, ..Book::default() };
        Book { in_flight: 0, ..std::mem::replace(self, next) }
    }

    /// Adds another's.
    pub(crate) fn add(&mut self, other: Book) {
        for (ours, theirs) in self.counts.iter_mut().zip(other.counts) {
            *ours += theirs;
        }
        self.answered.extend(other.answered);
        self.failures.extend(other.failures);
        self.connected += other.connected;
        self.idle_closed += other.idle_closed;
        self.idle_reset += other.idle_reset;
        self.in_flight += other.in_flight;
    }

    pub(crate) fn of(&self, outcome: Outcome) -> u64 {
        self.counts[outcome as usize]
    }

    /// Requests that have an outcome.
    pub(crate) fn ended(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Requests without their own full answer.
    pub(crate) fn failed(&self) -> u64 {
        self.ended() - self.of(Outcome::Full)
    }

    /// What can be the price of a worker's death: 502, and every end of a connection without a full
    /// answer.
    pub(crate) fn aborted(&self) -> u64 {
        self.of(Outcome::BadGateway) + self.resets() + self.closed()
    }

    /// Resets before, within and instead of an answer, and ends within one.
    pub(crate) fn resets(&self) -> u64 {
        let kinds =
            [Outcome::ResetNew, Outcome::ResetReused, Outcome::ResetWithin, Outcome::ClosedWithin];
        kinds.into_iter().map(|outcome| self.of(outcome)).sum()
    }

    /// Ends in order without a byte of an answer.
    pub(crate) fn closed(&self) -> u64 {
        self.of(Outcome::ClosedNew) + self.of(Outcome::ClosedReused)
    }

    /// The latency that this share of the answers to requests due in a time did not exceed; none
    /// without any.
    pub(crate) fn latency_at(&self, share: f64, from: Nanos, until: Nanos) -> Option<Duration> {
        let within = self.answered.iter().filter(|one| one.due >= from && one.due < until);
        let mut latencies: Vec<_> = within.map(|one| one.took).collect();
        latencies.sort_unstable();
        // The smallest value that so many do not exceed: nearest rank.
        let rank = (latencies.len() as f64 * share).ceil() as usize;
        latencies.get(rank.max(1) - 1).copied()
    }
}

/// `1500 full, 3 refused`, and nothing of what did not happen.
impl fmt::Display for Book {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let happened = OUTCOMES.into_iter().filter(|&outcome| self.of(outcome) > 0);
        for (index, outcome) in happened.enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(formatter, "{separator}{} {}", self.of(outcome), outcome.explanation())?;
        }
        Ok(())
    }
}

impl Outcome {
    /// For people.
    pub(crate) fn explanation(self) -> &'static str {
        match self {
            Outcome::Full => "full",
            Outcome::Shed => "503",
            Outcome::BadGateway => "502",
            Outcome::Refused => "refused",
            Outcome::Unopened => "not connected",
            Outcome::ResetNew => "reset before a byte, new connection",
            Outcome::ResetReused => "reset before a byte, reused connection",
            Outcome::ResetWithin => "reset within the answer",
            Outcome::ClosedNew => "closed without an answer, new connection",
            Outcome::ClosedReused => "closed without an answer, reused connection",
            Outcome::ClosedWithin => "closed within the answer",
            Outcome::Wrong => "wrong",
            Outcome::TimedOut => "timed out",
        }
    }
}
