//! When a worker counts as stuck, and when to look whether it is.
//!
//! Stuck is not dead: it is a worker that would make a connection wait for longer than
//! `--stall-after`, as far as its page tells. It ranks behind all others, and what it has not
//! claimed is worth taking back.
//!
//! Not here: killing what hangs for good (`supervise::hang`).

use std::time::Duration;

use crate::config::UNRUN_STALLS;
use crate::dispatch::candidate::{Sample, Shape};
use crate::time::Nanos;

/// Whether a worker makes no progress: stopped by a signal; in one turn for too long; without a
/// free thread for too long; or with loans of which it has claimed none for too long (one that
/// claims them in turn makes progress, however long its queue is).
pub(super) fn is_stuck(sample: &Sample, shape: Shape, stall_after: Duration, now: Nanos) -> bool {
    let since = |stamp: Nanos| stamp != Nanos(0) && now.since(stamp) > stall_after;
    let to_claim = if is_unrun(sample, shape) { unrun_for(stall_after) } else { stall_after };
    sample.stopped
        || since(sample.turn_entered)
        || (shape.threads > 0 && since(sample.all_busy_since))
        || sample.nothing_claimed_since.is_some_and(|at| now.since(at) > to_claim)
}

/// Whether it has loans to claim, and does nothing at all: the system has not run it since it was
/// woken for them. A worker without a page does not say what it does.
pub(super) fn is_unrun(sample: &Sample, shape: Shape) -> bool {
    let is_idle = sample.turn_entered == Nanos(0) && sample.queued == 0 && sample.threads_busy == 0;
    shape.recallable && sample.waiting > 0 && is_idle && !sample.stopped
}

/// For how long that is the system's doing.
pub(super) fn unrun_for(stall_after: Duration) -> Duration {
    stall_after.saturating_mul(UNRUN_STALLS)
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

/// The same of loans that a worker has not been run for: it may begin something at any time, without
/// an alarm if it did not know of all of them then.
pub(super) fn next_look_at_unrun(since: Nanos, stall_after: Duration, now: Nanos) -> Nanos {
    if now.since(since) < stall_after {
        next_look(since, stall_after, now)
    } else {
        first_look(now, stall_after).min(since + unrun_for(stall_after) + Duration::from_nanos(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_millis(1);
    const NOW: Nanos = Nanos(10_000_000);

    fn shape(threads: u16) -> Shape {
        Shape { threads, credit: 0, recallable: true }
    }

    fn stuck(sample: Sample, threads: u16) -> bool {
        is_stuck(&sample, shape(threads), STALL, NOW)
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
            assert_eq!(stuck(Sample { turn_entered: just_now, ..lent }, 0), expected);
            assert_eq!(stuck(Sample { threads_busy: 1, ..lent }, 2), expected);
            let busy = Sample { all_busy_since: stamp, ..Sample::default() };
            assert_eq!(stuck(busy, 4), expected);
            assert!(!stuck(busy, 0), "a loop has no threads to be busy");
        }
        assert!(stuck(Sample { stopped: true, ..Sample::default() }, 0));
    }

    #[test]
    fn a_worker_that_the_system_has_not_run_yet_has_more_time() {
        let lent = Sample {
            nothing_claimed_since: Some(Nanos(8_000_000)),
            waiting: 1,
            ..Sample::default()
        };
        assert!(!stuck(lent, 0) && !stuck(lent, 1), "it sleeps, and has been woken");
        assert!(stuck(Sample { stopped: true, ..lent }, 1), "it will not be run");
        let later = Nanos(18_000_001);
        assert!(!is_stuck(&lent, shape(0), STALL, Nanos(18_000_000)));
        assert!(
            is_stuck(&lent, shape(0), STALL, later),
            "ten times as long is no matter of a queue"
        );
        let without_page = Shape { recallable: false, ..shape(1) };
        assert!(is_stuck(&lent, without_page, STALL, NOW), "it does not say whether it sleeps");
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
                assert!(since == Nanos(0) || is_stuck(&at_second, shape(0), STALL, second));
            }
        }
        assert_eq!(first_look(Nanos(u64::MAX), STALL), Nanos::NEVER);
    }
}
