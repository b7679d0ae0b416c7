//! Queues that tests simulate, because theory knows what comes out: Poisson arrivals, exponential
//! service times, k workers, and either one queue for all or one for each, drawn at random.
//!
//! Not here: the simulator of the real dispatcher (tests/simulation).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::experiment::load::sample::Sample;
use crate::experiment::load::{Arrivals, ServiceTimes};
use crate::experiment::measure::made::trial;
use crate::experiment::measure::observed::Observed;
use crate::time::Nanos;

/// The mean service time. So long that the tolerance of 0.2 ms is nothing.
pub(super) const MEAN: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queues {
    /// One for all: whoever is free takes the first.
    Central,
    /// One for each worker, and a request's is drawn at random, as by a hash.
    Hashed,
}

/// So many requests of an M/M/k queue with this load.
pub(super) fn simulate(
    queues: Queues,
    workers: u16,
    load: f64,
    count: usize,
    seed: u64,
) -> Observed {
    let rate = load * f64::from(workers) / MEAN.as_secs_f64();
    let mut rng = fastrand::Rng::with_seed(seed);
    let times = ServiceTimes::Exponential { mean: MEAN };
    // When a worker has done all that it has, soonest first.
    let mut free: BinaryHeap<_> = (0..workers).map(|worker| Reverse((Nanos(0), worker))).collect();
    let mut done = vec![Nanos(0); usize::from(workers)];
    let arrivals = Arrivals::Poisson { rate }.times(rng.u64(..)).take(count);
    let mut samples: Vec<Sample> = arrivals
        .zip(0..)
        .map(|(at, connection)| {
            let due = Nanos(1) + at;
            let service = times.draw(&mut rng);
            let (worker, answered) = match queues {
                Queues::Central => {
                    let Reverse((until, worker)) = free.pop().expect("a worker");
                    let answered = until.max(due) + service;
                    free.push(Reverse((answered, worker)));
                    (worker, answered)
                }
                Queues::Hashed => {
                    let worker = rng.u16(..workers);
                    let until = &mut done[usize::from(worker)];
                    *until = (*until).max(due) + service;
                    (worker, *until)
                }
            };
            Sample { class: 0, connection, due, sent: due, answered, service, worker: Some(worker) }
        })
        .collect();
    let end = samples.last().map_or(0, |last| last.due.0);
    samples.sort_by_key(|sample| sample.answered);
    // The first tenth fills the queues.
    trial(samples, (end / 10, end), (workers, 1))
}
