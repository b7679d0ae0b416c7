//! The life of the helper process of `--admin`: one at a time, started again when it ends, with
//! pauses that grow while it ends soon.
//!
//! ```text
//!   Unwanted ──want──▶ Due ──started──▶ Running ──ended──▶ Due, after a pause
//!      ▲                │ start failed: after a pause          │
//!      └────────────────┴─────────────── unwant ───────────────┘
//! ```
//!
//! Pure, as the life of slots is. The server never waits for its helper, and never ends for it.
//!
//! Not here: starting it (`master::admin`), workers ([`Supervisor`](super::Supervisor)).

use crate::supervise::backoff::Backoff;
use crate::time::Nanos;

/// Where the helper is in its life.
#[derive(Debug)]
pub struct HelperLife {
    stage: Stage,
    backoff: Backoff,
    rng: fastrand::Rng,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Unwanted,
    Due(Nanos),
    Running { since: Nanos },
}

impl HelperLife {
    /// None is wanted. The seed is that of the jitter between starts.
    pub fn new(seed: u64) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        HelperLife { stage: Stage::Unwanted, backoff: Backoff::default(), rng }
    }

    /// A new one is to be started now, also in place of one that runs.
    pub fn want(&mut self, now: Nanos) {
        self.backoff = Backoff::default();
        self.stage = Stage::Due(now);
    }

    /// None is wanted any more.
    pub fn unwant(&mut self) {
        self.stage = Stage::Unwanted;
    }

    /// It runs.
    pub fn handle_started(&mut self, now: Nanos) {
        self.stage = Stage::Running { since: now };
    }

    /// It could not be started.
    pub fn handle_start_failed(&mut self, now: Nanos) {
        let pause = self.backoff.after_failure(self.rng.f64());
        self.stage = Stage::Due(now + pause);
    }

    /// It has ended, or is as good as that.
    pub fn handle_ended(&mut self, now: Nanos) {
        let Stage::Running { since } = self.stage else { return };
        let pause = self.backoff.after_service(now.since(since), self.rng.f64());
        self.stage = Stage::Due(now + pause);
    }

    /// Whether one is to be started now.
    pub fn is_due(&self, now: Nanos) -> bool {
        matches!(self.stage, Stage::Due(at) if at <= now)
    }

    /// When [`HelperLife::is_due`] becomes true.
    pub fn next_deadline(&self) -> Option<Nanos> {
        match self.stage {
            Stage::Due(at) => Some(at),
            Stage::Unwanted | Stage::Running { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RESTART_PAUSE_MAX, RESTART_PAUSE_MIN, STABLE_AFTER};

    #[test]
    fn one_that_dies_once_is_back_at_once_and_one_that_dies_each_time_less_and_less_often() {
        let mut life = HelperLife::new(7);
        assert_eq!((life.is_due(Nanos(9)), life.next_deadline()), (false, None));
        life.want(Nanos(1));
        assert!(life.is_due(Nanos(1)));
        life.handle_started(Nanos(1));
        assert!(!life.is_due(Nanos(99)));
        let mut now = Nanos(2);
        life.handle_ended(now);
        assert!(life.is_due(now), "the first death is replaced at once");
        let mut longest = std::time::Duration::ZERO;
        for _ in 0..20 {
            life.handle_started(now);
            life.handle_ended(now);
            let at = life.next_deadline().unwrap();
            assert!(now.until(at) >= RESTART_PAUSE_MIN / 2);
            longest = longest.max(now.until(at));
            now = at;
        }
        assert!(longest > RESTART_PAUSE_MAX / 2 && longest <= RESTART_PAUSE_MAX);
        life.handle_started(now);
        life.handle_ended(now + STABLE_AFTER);
        assert!(life.is_due(now + STABLE_AFTER), "it had served for a while");
    }

    #[test]
    fn what_ends_after_nobody_wants_it_is_not_replaced() {
        let mut life = HelperLife::new(7);
        life.want(Nanos(1));
        life.handle_start_failed(Nanos(1));
        assert!(!life.is_due(Nanos(1)) && life.next_deadline().is_some());
        life.unwant();
        life.handle_ended(Nanos(5));
        assert_eq!(life.next_deadline(), None);
        // Another one in place of one that runs: the old one's end is no reason for a third.
        life.want(Nanos(6));
        life.handle_ended(Nanos(6));
        assert_eq!(life.next_deadline(), Some(Nanos(6)));
    }
}
