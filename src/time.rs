//! Time as a number: nanoseconds of the machine's monotonic clock.
//!
//! `CLOCK_MONOTONIC` is one clock for all processes of a machine, so that a stamp the master makes
//! can be compared with one a worker makes, and travels in frames and pages as a plain `u64`.
//!
//! Not here: reading the clock (`sys::clock`); pure cores are handed `now`.

use std::ops::Add;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point in time: nanoseconds since the machine's boot. All arithmetic saturates, because a
/// stamp may come from a worker's page and be any number.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Nanos(pub u64);

impl Nanos {
    /// Later than every real time: "no deadline".
    pub const NEVER: Nanos = Nanos(u64::MAX);

    /// The time that has passed since `earlier`; zero where that lies in the future.
    pub fn since(self, earlier: Nanos) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The time until `later`; zero where that lies in the past.
    pub fn until(self, later: Nanos) -> Duration {
        later.since(self)
    }
}

impl Add<Duration> for Nanos {
    type Output = Nanos;

    fn add(self, duration: Duration) -> Nanos {
        Nanos(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Nanos(5).since(Nanos(9)), Duration::ZERO);
        assert_eq!(Nanos::NEVER + Duration::from_secs(1), Nanos::NEVER);
        assert_eq!(Nanos(1) + Duration::from_nanos(2), Nanos(3));
        assert_eq!(Nanos(1).until(Nanos(4)), Duration::from_nanos(3));
    }
}
