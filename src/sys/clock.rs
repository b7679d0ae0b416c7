//! The machine's monotonic clock: one for all processes, through the vDSO (no system call).
//!
//! Not here: arithmetic on its stamps (`time`).

use std::sync::OnceLock;
use std::time::Duration;

use rustix::time::{ClockId, clock_getres, clock_gettime};

use crate::time::Nanos;

/// Now, on `CLOCK_MONOTONIC`.
pub fn now() -> Nanos {
    let now = clock_gettime(ClockId::Monotonic);
    // Never negative, and 2^64 ns are 584 years of uptime.
    Nanos((now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64))
}

/// How long a tick of the kernel is, in which it counts what it has no finer clock for: 1 to 10 ms
/// (CONFIG_HZ). The coarse clocks are those ticks (clock_gettime(2)).
pub fn tick() -> Duration {
    static TICK: OnceLock<Duration> = OnceLock::new();
    *TICK.get_or_init(|| {
        let resolution = clock_getres(ClockId::MonotonicCoarse);
        Duration::new(resolution.tv_sec.unsigned_abs(), resolution.tv_nsec as u32)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_one_that_linux_can_have() {
        let tick = tick();
        assert!(
            (Duration::from_micros(999)..=Duration::from_millis(10)).contains(&tick),
            "{tick:?}"
        );
    }
}
