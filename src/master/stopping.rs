//! How a server ends, step by step: pure, so that the order can be read and tested.
//!
//! ```text
//!   Serving → Accepting → Settling → Finishing → Leaving
//!             deferral off  no new    nothing     workers
//!             still serving handshake listens     drain
//! ```
//!
//! A client that has connected and not spoken yet would be reset with its listener: so deferral is
//! switched off first and the server goes on accepting for a while; then no handshake begins any
//! more, those under way finish, the queue is taken to its end, and only then the listeners close.
//!
//! Not here: doing any of it (`master`).

use std::time::Duration;

use crate::config::HANDSHAKES_SETTLE_FOR;
use crate::supervise::is_late;
use crate::time::Nanos;

/// Where a server is on its way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stopping {
    /// Nobody has asked it to end.
    #[default]
    No,
    /// It answers with `Connection: close`, and goes on accepting until then.
    Accepting { until: Nanos, finish: Finish },
    /// No handshake begins; those under way are finished by then.
    Settling { until: Nanos, finish: Finish },
    /// Nothing listens any more; connections finish.
    Finishing(Finish),
    /// Workers leave.
    Leaving,
}

/// When connections must have finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Finish {
    by: Nanos,
    /// What they are given once more, if that is found long overdue: then the master itself was
    /// stopped.
    again: Option<Duration>,
}

/// What the master does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Filter new handshakes out.
    StopHandshakes,
    /// Take what the kernel's queues hold, close the listeners, end what is idle.
    CloseListeners,
    /// Drain the workers: all is answered, or time is up.
    DrainWorkers,
}

impl Stopping {
    /// Asked to end. A hurried stop (INT at a terminal) goes on accepting for no extra time.
    pub(crate) fn begin(&mut self, now: Nanos, delay: Duration, graceful: Duration) -> bool {
        if *self != Stopping::No {
            return false;
        }
        let finish = Finish { by: now + delay + graceful, again: Some(graceful) };
        *self = Stopping::Accepting { until: now + delay, finish };
        true
    }

    /// What is due. `at_rest`: no connection is left.
    pub(crate) fn poll(&mut self, now: Nanos, at_rest: bool) -> Option<Step> {
        match *self {
            Stopping::Accepting { until, finish } if now >= until => {
                *self = Stopping::Settling { until: now + HANDSHAKES_SETTLE_FOR, finish };
                Some(Step::StopHandshakes)
            }
            Stopping::Settling { until, finish } if now >= until => {
                *self = Stopping::Finishing(finish);
                Some(Step::CloseListeners)
            }
            Stopping::Finishing(Finish { by, again: Some(graceful) })
                if !at_rest && is_late(by, now) =>
            {
                *self = Stopping::Finishing(Finish { by: now + graceful, again: None });
                None
            }
            Stopping::Finishing(Finish { by, .. }) if at_rest || now >= by => {
                *self = Stopping::Leaving;
                Some(Step::DrainWorkers)
            }
            Stopping::No
            | Stopping::Accepting { .. }
            | Stopping::Settling { .. }
            | Stopping::Finishing(_)
            | Stopping::Leaving => None,
        }
    }

    /// When [`Stopping::poll`] is due at the latest.
    pub(crate) fn next_deadline(self) -> Option<Nanos> {
        match self {
            Stopping::Accepting { until, .. } | Stopping::Settling { until, .. } => Some(until),
            Stopping::Finishing(finish) => Some(finish.by),
            Stopping::No | Stopping::Leaving => None,
        }
    }

    /// Whether the listeners are closed.
    pub(crate) fn has_closed(self) -> bool {
        matches!(self, Stopping::Finishing(_) | Stopping::Leaving)
    }

    pub(crate) fn is_stopping(self) -> bool {
        self != Stopping::No
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_taken_once_and_in_order() {
        let mut stopping = Stopping::default();
        assert_eq!(stopping.poll(Nanos(0), true), None);
        assert!(stopping.begin(Nanos(0), Duration::from_secs(1), Duration::from_secs(30)));
        assert!(!stopping.begin(Nanos(0), Duration::from_secs(1), Duration::from_secs(30)));
        assert_eq!(stopping.poll(Nanos(999_999_999), false), None);
        let second = Nanos(1_000_000_000);
        assert_eq!(stopping.poll(second, false), Some(Step::StopHandshakes));
        assert_eq!(stopping.poll(second, false), None);
        let settled = second + HANDSHAKES_SETTLE_FOR;
        assert_eq!(stopping.poll(settled, false), Some(Step::CloseListeners));
        assert!(stopping.has_closed());
        assert_eq!(stopping.poll(settled, false), None);
        assert_eq!(stopping.poll(settled, true), Some(Step::DrainWorkers));
        assert_eq!(stopping.next_deadline(), None);
    }

    #[test]
    fn connections_that_do_not_end_hold_the_server_for_the_graceful_time_only() {
        let mut stopping = Stopping::default();
        stopping.begin(Nanos(0), Duration::ZERO, Duration::from_secs(30));
        stopping.poll(Nanos(1), false);
        stopping.poll(Nanos(2) + HANDSHAKES_SETTLE_FOR, false);
        assert_eq!(stopping.next_deadline(), Some(Nanos(30_000_000_000)));
        assert_eq!(stopping.poll(Nanos(30_000_000_000), false), Some(Step::DrainWorkers));
    }
    #[test]
    fn a_master_that_was_stopped_gives_connections_their_time_again_once() {
        let graceful = Duration::from_secs(30);
        let mut stopping = Stopping::default();
        stopping.begin(Nanos(0), Duration::ZERO, graceful);
        let back_at = Nanos(3_600_000_000_000);
        assert_eq!(stopping.poll(back_at, false), Some(Step::StopHandshakes));
        let settled = back_at + HANDSHAKES_SETTLE_FOR;
        assert_eq!(stopping.poll(settled, false), Some(Step::CloseListeners));
        assert_eq!(stopping.poll(settled, false), None);
        assert_eq!(stopping.next_deadline(), Some(settled + graceful));
        let late = settled + graceful * 2;
        assert_eq!(stopping.poll(late, false), Some(Step::DrainWorkers));
    }
}
