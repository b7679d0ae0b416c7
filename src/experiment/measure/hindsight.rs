//! Decisions that were wrong in hindsight: requests that waited at their worker although another
//! had a free place when they were sent, and kept one until they were begun.
//!
//! It asks more than work conservation does: not only that somebody was free at some moment, but
//! that one worker would have served this very request without a wait. Not deciding is a decision:
//! a keep-alive connection that stays where it is can be wrong like any other. The edges are those
//! of `conservation`.
//!
//! Not here: how much time that wasted (`conservation`).

use std::collections::BTreeSet;

use crate::experiment::measure::conservation::{free_times, is_traceable};
use crate::experiment::measure::observed::Observed;
use crate::experiment::measure::waits::{TOLERANCE, begun};

/// The share of the requests due in the measured time whose place was wrong in hindsight; none
/// where that cannot be told.
pub(super) fn wrong_share(trial: &Observed) -> Option<f64> {
    if !is_traceable(trial) {
        return None;
    }
    let (from, to) = trial.measured;
    let due = trial.samples.iter().filter(|sample| (from..to).contains(&sample.due));
    let due_count = due.clone().count();
    let mut waited: Vec<_> = due
        .filter_map(|sample| Some((sample.sent, begun(sample), sample.worker?)))
        .filter(|&(sent, begun, _)| sent + TOLERANCE < begun)
        .collect();
    waited.sort_unstable();
    let mut beginnings: Vec<_> = free_times(trial)
        .into_iter()
        .enumerate()
        .flat_map(|(worker, times)| times.into_iter().map(move |(from, to)| (from, to, worker)))
        .collect();
    beginnings.sort_unstable();
    let mut beginnings = beginnings.into_iter().peekable();
    // Who is free now, by until when: each worker at most once.
    let mut free = BTreeSet::new();
    let mut wrong = 0_u64;
    for (sent, begun, own) in waited {
        while let Some((_, until, worker)) = beginnings.next_if(|&(from, ..)| from <= sent) {
            free.insert((until, worker));
        }
        while free.first().is_some_and(|&(until, _)| until <= sent) {
            free.pop_first();
        }
        let mut longest = free.iter().rev().filter(|&&(_, worker)| worker != usize::from(own));
        wrong += u64::from(longest.next().is_some_and(|&(until, _)| until >= begun));
    }
    (due_count > 0).then(|| wrong as f64 / due_count as f64)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::experiment::load::sample::Sample;
    use crate::experiment::measure::made::trial;
    use crate::time::Nanos;

    const MS: u64 = 1_000_000;

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

    fn found(samples: Vec<Sample>) -> f64 {
        wrong_share(&trial(samples, (0, 100 * MS), (3, 1))).expect("workers and services")
    }

    #[test]
    fn a_request_beside_an_idle_worker_is_wrong() {
        assert_eq!(found(vec![sample(0, 0, 0, 40), sample(0, 10, 40, 50)]), 0.5);
    }

    /// Worker 1 is free when the request is sent, and worker 2 when it is begun; neither throughout.
    #[test]
    fn who_is_free_for_a_part_of_the_wait_would_not_have_served_it() {
        let samples = vec![
            sample(0, 0, 0, 40),
            sample(0, 10, 40, 50),
            sample(1, 20, 20, 60),
            sample(2, 0, 0, 30),
        ];
        assert_eq!(found(samples), 0.0);
    }

    /// Its own worker's free places are no other's.
    #[test]
    fn only_another_worker_counts() {
        let busy = [1, 2].map(|worker| sample(worker, 0, 0, 60));
        let held = sample(0, 10, 40, 50);
        assert_eq!(found([&busy[..], &[held]].concat()), 0.0);
        assert_eq!(found([&busy[..1], &[held]].concat()), 0.5);
    }

    #[test]
    fn requests_of_the_warm_up_occupy_workers_and_are_not_judged() {
        let samples = vec![sample(0, 0, 0, 40), sample(0, 10, 40, 50), sample(0, 20, 50, 60)];
        let trial = trial(samples, (20 * MS, 100 * MS), (2, 1));
        assert_eq!(wrong_share(&trial), Some(1.0));
    }
}
