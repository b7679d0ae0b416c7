//! How long a slot pauses before its next start.
//!
//! Not here: when a start has failed (`supervise`).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{RESTART_PAUSE_MAX, RESTART_PAUSE_MIN, STABLE_AFTER};

/// Doubles with each failure in a row, with jitter, so that workers that fail together do not
/// start together; begins anew after a worker that served for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after a start that failed. `jitter` is drawn from 0..1.
    pub(super) fn after_failure(&mut self, jitter: f64) -> Duration {
        let doubled = RESTART_PAUSE_MIN.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let pause = doubled.min(RESTART_PAUSE_MAX);
        // Between half of it and all of it.
        pause.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }

    /// The pause after a worker that had served for so long: none, unless it was very short.
    pub(super) fn after_service(&mut self, served: Duration, jitter: f64) -> Duration {
        if served >= STABLE_AFTER {
            self.failures = 0;
            return Duration::ZERO;
        }
        if self.failures == 0 {
            // The first death in a while is replaced at once; the next one soon after is not.
            self.failures = 1;
            return Duration::ZERO;
        }
        self.after_failure(jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_begin_anew_after_service() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..12).map(|_| backoff.after_failure(1.0)).collect();
        assert_eq!(pauses[..3], [100, 200, 400].map(Duration::from_millis));
        assert_eq!(pauses[11], RESTART_PAUSE_MAX);
        assert_eq!(backoff.after_failure(0.0), RESTART_PAUSE_MAX / 2);
        assert_eq!(backoff.after_service(STABLE_AFTER, 1.0), Duration::ZERO);
        assert_eq!(backoff.after_failure(1.0), RESTART_PAUSE_MIN);
    }

    #[test]
    fn one_death_is_replaced_at_once_and_a_series_is_not() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.after_service(Duration::ZERO, 1.0), Duration::ZERO);
        assert!(backoff.after_service(Duration::ZERO, 1.0) > Duration::ZERO);
    }
}
