//! Whether a foreign server has come to rest.
//!
//! maitred says when all of its workers are ready. Another program's first answer says that one of
//! its workers is: the others may still import their application, and whoever opens connections
//! then opens all of them with the one that is there. (Four Uvicorn workers with FastAPI were
//! measured like that for a while: one of them did all the work.) What can be seen of any program
//! from outside is that its processes are as many as before and use no CPU.
//!
//! Not here: waiting (`server`), what is read in /proc (`usage`).

use std::time::Duration;

use crate::experiment::run::limits::{REST_CPU_SHARE, REST_FOR};
use crate::time::Nanos;

/// All processes of a server at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sight {
    /// Their ids, sorted.
    pub(super) pids: Vec<u32>,
    /// What they have used, together.
    pub(super) cpu: Duration,
}

/// Since when a server has been at rest.
#[derive(Debug)]
pub(super) struct Rest {
    since: Nanos,
    last: (Nanos, Sight),
}

impl Rest {
    /// Not yet: this is the first sight.
    pub(super) fn new(now: Nanos, sight: Sight) -> Rest {
        Rest { since: now, last: (now, sight) }
    }

    /// Takes another sight. Returns whether it has been at rest for long enough.
    pub(super) fn take(&mut self, now: Nanos, sight: Sight) -> bool {
        let (before, seen) = &self.last;
        let allowed = now.since(*before).mul_f64(REST_CPU_SHARE);
        if seen.pids != sight.pids || sight.cpu.saturating_sub(seen.cpu) > allowed {
            self.since = now;
        }
        self.last = (now, sight);
        now.since(self.since) >= REST_FOR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Nanos {
        Nanos(ms * 1_000_000)
    }

    fn sight(pids: &[u32], cpu_ms: u64) -> Sight {
        Sight { pids: pids.to_vec(), cpu: Duration::from_millis(cpu_ms) }
    }

    #[test]
    fn who_works_or_starts_others_is_not_at_rest() {
        let mut rest = Rest::new(at(0), sight(&[1], 0));
        // It imports, at a quarter of a core; then its second worker is there.
        assert!((1..=20).all(|step| !rest.take(at(step * 100), sight(&[1], step * 25))));
        assert!(!rest.take(at(2100), sight(&[1, 2], 500)));
        assert!(!rest.take(at(2500), sight(&[1, 2], 500)));
        assert!(rest.take(at(2600), sight(&[1, 2], 500)), "half a second without a change");
    }

    #[test]
    fn timers_are_no_work() {
        let mut rest = Rest::new(at(0), sight(&[1, 2], 0));
        assert!((1..5).all(|step| !rest.take(at(step * 100), sight(&[1, 2], step * 2))));
        assert!(rest.take(at(500), sight(&[1, 2], 10)));
    }

    #[test]
    fn a_process_that_has_ended_took_its_time_along() {
        let mut rest = Rest::new(at(0), sight(&[1, 2], 900));
        assert!(!rest.take(at(600), sight(&[1], 100)), "it has changed");
        assert!(rest.take(at(1100), sight(&[1], 100)));
    }
}
