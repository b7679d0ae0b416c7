//! Work conservation: while somebody waits, nobody who could serve is idle.
//!
//! ```text
//! queued   ──────────┐       ┌───────      sent, longer ago than the tolerance, and not begun
//! free     ───┐      └───┐   │             places of workers in which nothing is served
//!             └──────────┴───┘
//! violated ███                             min(queued, free) places are wasted
//! ```
//!
//! A sweep over the four moments of each sample: queued, begun (one queued less, one place less),
//! answered (the place is free). Seen from outside, which has edges:
//!
//! - a request counts as queued from [`TOLERANCE`] after it was sent: what it takes to get there is
//!   nobody's idleness;
//! - what was not answered well is in no sample: its worker looks free while it works on it;
//! - a worker that is stopped looks free, too;
//! - with CPU time as service and more workers than cores, a free place may have no core.
//!
//! So it is measured with sleep as service, or with as many workers as cores.
//!
//! Not here: which request should have gone elsewhere (`hindsight`).

use crate::experiment::measure::observed::Observed;
use crate::experiment::measure::waits::{TOLERANCE, begun};
use crate::time::Nanos;

/// How much of the measured time was wasted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Violation {
    /// The share of the time in which somebody queued while somebody had a free place.
    pub(super) share: f64,
    /// Places that were free while requests queued for them, times seconds.
    pub(super) place_seconds: f64,
}

/// What happens at a moment. Between two moments nothing changes, so that their order within one
/// does not matter.
#[derive(Clone, Copy, Debug)]
enum Change {
    Queued,
    NotQueued,
    Begun(u16),
    Answered(u16),
}

/// None where nobody says who answered or how long was asked for, or where a worker is not one of
/// those that are known.
pub(super) fn violation(trial: &Observed) -> Option<Violation> {
    if !is_traceable(trial) {
        return None;
    }
    let mut moments = Vec::with_capacity(trial.samples.len() * 4);
    for sample in &trial.samples {
        let (begun, queued) = (begun(sample), sample.sent + TOLERANCE);
        let worker = sample.worker?;
        if queued < begun {
            moments.push((queued, Change::Queued));
            moments.push((begun, Change::NotQueued));
        }
        moments.push((begun, Change::Begun(worker)));
        moments.push((sample.answered, Change::Answered(worker)));
    }
    moments.sort_unstable_by_key(|&(at, _)| at);
    let (from, to) = trial.measured;
    let threads = i64::from(trial.capacity.threads);
    let mut serving = vec![0_i64; usize::from(trial.capacity.workers)];
    let mut free = threads * serving.len() as i64;
    let mut queued = 0_i64;
    let mut last = from;
    let (mut violated_s, mut place_seconds) = (0.0, 0.0);
    for (at, change) in moments {
        let now = at.clamp(from, to);
        let wasted = queued.min(free);
        if wasted > 0 {
            let passed_s = now.since(last).as_secs_f64();
            violated_s += passed_s;
            place_seconds += passed_s * wasted as f64;
        }
        last = now;
        match change {
            Change::Queued => queued += 1,
            Change::NotQueued => queued -= 1,
            // More at a time than there are threads for is the clocks' doing: such a worker has no
            // free place, and not less than none.
            Change::Begun(worker) => {
                let serving = serving.get_mut(usize::from(worker))?;
                free -= i64::from(*serving < threads);
                *serving += 1;
            }
            Change::Answered(worker) => {
                let serving = serving.get_mut(usize::from(worker))?;
                *serving -= 1;
                free += i64::from(*serving < threads);
            }
        }
    }
    let measured_s = to.since(from).as_secs_f64();
    (measured_s > 0.0).then(|| Violation { share: violated_s / measured_s, place_seconds })
}

/// Whether samples say who was doing what, all of them.
pub(super) fn is_traceable(trial: &Observed) -> bool {
    let workers = trial.capacity.workers;
    let is_known = |worker: Option<u16>| worker.is_some_and(|worker| worker < workers);
    let whole = !trial.samples.is_empty() && trial.report.samples_dropped == 0;
    whole
        && trial.samples.iter().all(|sample| is_known(sample.worker))
        && trial.samples.iter().any(|sample| !sample.service.is_zero())
}

/// For each worker, from when to when it had a free place, in the order of time; the first begins
/// with time itself, the last ends never.
pub(super) fn free_times(trial: &Observed) -> Vec<Vec<(Nanos, Nanos)>> {
    let threads = i64::from(trial.capacity.threads);
    let mut moments: Vec<Vec<(Nanos, i64)>> = vec![Vec::new(); usize::from(trial.capacity.workers)];
    for sample in &trial.samples {
        let own = sample.worker.and_then(|worker| moments.get_mut(usize::from(worker)));
        if let Some(own) = own {
            own.push((begun(sample), 1));
            own.push((sample.answered, -1));
        }
    }
    let of_one = |mut moments: Vec<(Nanos, i64)>| {
        moments.sort_unstable();
        let (mut free, mut since, mut serving) = (Vec::new(), Some(Nanos(0)), 0);
        for same in moments.chunk_by(|one, two| one.0 == two.0) {
            let at = same[0].0;
            serving += same.iter().map(|&(_, change)| change).sum::<i64>();
            match since {
                Some(from) if serving >= threads => {
                    free.push((from, at));
                    since = None;
                }
                None if serving < threads => since = Some(at),
                Some(_) | None => {}
            }
        }
        free.extend(since.map(|from| (from, Nanos::NEVER)));
        free
    };
    moments.into_iter().map(of_one).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::experiment::load::sample::Sample;
    use crate::experiment::measure::made::trial;

    const MS: u64 = 1_000_000;

    /// Sent, begun and answered, in milliseconds.
    fn sample(worker: u16, sent: u64, begun: u64, answered: u64) -> Sample {
        Sample {
            class: 0,
            connection: 0,
            due: Nanos(sent * MS),
            sent: Nanos(sent * MS),
            answered: Nanos(answered * MS),
            service: Duration::from_millis(answered - begun),
            worker: Some(worker),
        }
    }

    fn found(samples: Vec<Sample>, threads: u16) -> Violation {
        violation(&trial(samples, (0, 100 * MS), (2, threads))).expect("workers and services")
    }

    /// Worker 0 has two, one behind the other, and worker 1 has nothing.
    #[test]
    fn who_waits_behind_one_while_another_is_idle_wastes_a_place() {
        let wasted = found(vec![sample(0, 0, 0, 40), sample(0, 10, 40, 50)], 1);
        // From 10 ms on, less the tolerance, to 40 ms.
        let expected = 0.030 - TOLERANCE.as_secs_f64();
        assert!((wasted.place_seconds - expected).abs() < 1e-9, "{wasted:?}");
        assert!((wasted.share - expected / 0.1).abs() < 1e-9, "{wasted:?}");
    }

    #[test]
    fn no_more_is_wasted_than_waits_nor_than_is_free() {
        // Two wait, one place is free.
        let two = vec![sample(0, 0, 0, 40), sample(0, 10, 40, 50), sample(0, 10, 50, 60)];
        let wasted = found(two.clone(), 1);
        // The second waits on until 50 ms, and worker 1 is idle all the time.
        let expected = 0.040 - TOLERANCE.as_secs_f64();
        assert!((wasted.place_seconds - expected).abs() < 1e-9, "{wasted:?}");
        // With worker 1 taken, nothing is.
        let taken = [two, vec![sample(1, 0, 0, 60)]].concat();
        assert_eq!(found(taken, 1), Violation::default());
    }

    /// A worker with two threads has a place left when it serves one.
    #[test]
    fn threads_are_places() {
        let busy = [0, 0, 1].map(|worker| sample(worker, 0, 0, 40));
        let waiting = sample(1, 10, 40, 50);
        let wasted = found([&busy[..], &[waiting]].concat(), 2);
        assert!((wasted.place_seconds - (0.030 - TOLERANCE.as_secs_f64())).abs() < 1e-9);
        let all_busy = [&busy[..], &[sample(1, 0, 0, 40), waiting]].concat();
        assert_eq!(found(all_busy, 2), Violation::default());
    }

    #[test]
    fn only_the_measured_time_counts() {
        let trial =
            |measured| trial(vec![sample(0, 0, 0, 40), sample(0, 10, 40, 50)], measured, (2, 1));
        let half = violation(&trial((25 * MS, 125 * MS))).expect("workers");
        assert!((half.place_seconds - 0.015).abs() < 1e-9, "{half:?}");
        let after = violation(&trial((60 * MS, 160 * MS))).expect("workers");
        assert_eq!(after, Violation::default());
    }

    #[test]
    fn a_wait_within_the_tolerance_is_none() {
        let mut short = sample(0, 0, 0, 40);
        short.answered = Nanos(40 * MS) + TOLERANCE;
        assert_eq!(found(vec![short], 1), Violation::default());
    }

    #[test]
    fn without_workers_or_services_there_is_no_telling() {
        let unknown = Sample { worker: None, ..sample(0, 0, 0, 40) };
        let unasked = Sample { service: Duration::ZERO, ..sample(0, 0, 0, 40) };
        let foreign = sample(7, 0, 0, 40);
        for sample in [unknown, unasked, foreign] {
            assert_eq!(violation(&trial(vec![sample], (0, 100), (2, 1))), None);
        }
        assert_eq!(violation(&trial(Vec::new(), (0, 100), (2, 1))), None);
    }

    #[test]
    fn free_times_lie_between_what_is_served() {
        let samples = vec![sample(0, 0, 10, 20), sample(0, 15, 20, 30), sample(0, 0, 40, 50)];
        let free = free_times(&trial(samples, (0, 100 * MS), (2, 1)));
        let expected = [
            (Nanos(0), Nanos(10 * MS)),
            (Nanos(30 * MS), Nanos(40 * MS)),
            (Nanos(50 * MS), Nanos::NEVER),
        ];
        assert_eq!(free[0], expected);
        assert_eq!(free[1], [(Nanos(0), Nanos::NEVER)]);
    }
}
