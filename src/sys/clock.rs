//! The machine's monotonic clock: one for all processes, through the vDSO (no system call).
//!
//! Not here: arithmetic on its stamps (`time`).

use rustix::time::{ClockId, clock_gettime};

use crate::time::Nanos;

/// Now, on `CLOCK_MONOTONIC`.
pub fn now() -> Nanos {
    let now = clock_gettime(ClockId::Monotonic);
    // Never negative, and 2^64 ns are 584 years of uptime.
    Nanos((now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64))
}
