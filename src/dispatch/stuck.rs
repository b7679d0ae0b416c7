//! When a worker counts as stuck, and when to look whether it is.
//!
//! Stuck is not dead: it is a worker that would make a connection wait for longer than
//! `--stall-after`, as far as its page tells. It ranks behind all others, and what it has not
//! claimed is worth taking back.
//!
//! Not here: killing what hangs for good (`supervise::hang`).

use std::time::Duration;

use crate::dispatch::candidate::Sample;
use crate::time::Nanos;

/// Whether a worker makes no progress: stopped by a signal; in one turn for too long; without a
/// free thread for too long; or with loans of which it has claimed none for too long (one that
/// claims them in turn makes progress, however long its queue is).
pub(super) fn is_stuck(sample: &Sample, threads: u16, stall_after: Duration, now: Nanos) -> bool {
    let since = |stamp: Nanos| stamp != Nanos(0) && now.since(stamp) > stall_after;
    sample.stopped
        || since(sample.turn_entered)
        || (threads > 0 && since(sample.all_busy_since))
        || sample.nothing_claimed_since.is_some_and(|at| now.since(at) > stall_after)
}

/// When to look for the first time whether a worker is stuck with what it begins at `since`: half
/// of `stall_after` to one and a half later, at an instant that is the same for all workers. So
/// many busy workers cost one look in each `stall_after`; and whatever is found unfinished then has
/// lasted for so long that a second look, at the exact moment, is worth its price.
pub fn first_look(since: Nanos, stall_after: Duration) -> Nanos {
    let step = u64::try_from(stall_after.as_nanos()).unwrap_or(u64::MAX).max(1);
    let earliest = since.0.saturating_add(step / 2);
    Nanos(earliest.div_ceil(step).saturating_mul(step))
}

/// When to look next at something that began at `since` and is unfinished at `now`.
pub(super) fn next_look(since: Nanos, stall_after: Duration, now: Nanos) -> Nanos {
    if now.since(since) >= stall_after / 2 {
        // The clock must have passed it: stuck is "longer than".
        since + stall_after + Duration::from_nanos(1)
    } else {
        first_look(since, stall_after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_millis(1);
    const NOW: Nanos = Nanos(10_000_000);

    fn stuck(sample: Sample, threads: u16) -> bool {
        is_stuck(&sample, threads, STALL, NOW)
    }

    #[test]
    fn a_worker_that_waits_for_events_is_not_stuck() {
        assert!(!stuck(Sample::default(), 0));
        assert!(!stuck(Sample { started: 9, ..Sample::default() }, 0), "awaiting is not a turn");
    }

    #[test]
    fn each_way_to_make_no_progress_counts_after_its_time() {
        let (long_ago, just_now) = (Nanos(8_000_000), Nanos(9_500_000));
        for (stamp, expected) in [(long_ago, true), (just_now, false)] {
            assert_eq!(stuck(Sample { turn_entered: stamp, ..Sample::default() }, 0), expected);
            let lent =
                Sample { nothing_claimed_since: Some(stamp), waiting: 1, ..Sample::default() };
            assert_eq!(stuck(lent, 0), expected);
            let busy = Sample { all_busy_since: stamp, ..Sample::default() };
            assert_eq!(stuck(busy, 4), expected);
            assert!(!stuck(busy, 0), "a loop has no threads to be busy");
        }
        assert!(stuck(Sample { stopped: true, ..Sample::default() }, 0));
    }

    #[test]
    fn a_stamp_from_the_future_is_not_long_ago() {
        assert!(!stuck(Sample { turn_entered: Nanos(u64::MAX), ..Sample::default() }, 0));
    }

    #[test]
    fn first_looks_coincide_and_second_ones_are_exact() {
        for since in (0..3_000_000).step_by(7_919).map(Nanos) {
            let first = first_look(since, STALL);
            assert_eq!(first.0 % 1_000_000, 0, "one instant a millisecond for all workers");
            let after = since.until(first);
            assert!(after >= STALL / 2 && after < STALL * 3 / 2, "{after:?}");
            assert_eq!(next_look(since, STALL, since), first);
            if after < STALL {
                let second = next_look(since, STALL, first);
                assert_eq!(second, since + STALL + Duration::from_nanos(1));
                let at_second = Sample { turn_entered: since, ..Sample::default() };
                assert!(since == Nanos(0) || is_stuck(&at_second, 0, STALL, second));
            }
        }
        assert_eq!(first_look(Nanos(u64::MAX), STALL), Nanos::NEVER);
    }
}
