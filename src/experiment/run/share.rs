//! How a load is divided among generator threads: rates, bursts, traces and connections. Pure.
//!
//! A Poisson process that is divided at random is two of half the rate, so nothing changes; of a
//! constant rate each part has its own phase, so that gaps are equal only within a part.
//!
//! Not here: the threads (`trial`).

use std::time::Duration;

use crate::experiment::load::{Arrivals, Ask, Class, Pace, SetId, replay};
use crate::experiment::plan::model::{LoadClass, Workload};
use crate::experiment::run::limits::RATE_PER_GENERATOR;

/// How many threads a workload needs on a machine with so many cores: the plan's number, or as many
/// as its rate asks for, but never more than half of the cores or than there are connections.
pub(crate) fn generators(workload: &Workload, cores: usize) -> usize {
    let fewest = workload.sets.iter().map(|set| set.count as usize).min().unwrap_or(1);
    let wanted = match (workload.generators, workload.rate()) {
        (Some(given), _) => return (given as usize).min(fewest).max(1),
        (None, Some(rate)) => (rate / RATE_PER_GENERATOR).ceil() as usize,
        // A closed loop takes what it gets: one for every eight cores of the server keeps up.
        (None, None) => cores.div_ceil(8),
    };
    wanted.min(cores / 2).min(fewest).max(1)
}

/// One generator's share of so many things.
pub(crate) fn count(all: u32, index: usize, of: usize) -> u32 {
    let (index, of) = (index as u32, of.max(1) as u32);
    all / of + u32::from(index < all % of)
}

/// One generator's share of a class, on these sets.
pub(crate) fn class(
    class: &LoadClass,
    sets: &[SetId],
    index: usize,
    of: usize,
    own_path: &str,
) -> Class {
    let ask = match &class.ask {
        // Another server's application may stand elsewhere than at the root.
        Ask::Path(path) if path == "/" => Ask::Path(own_path.to_owned()),
        ask => ask.clone(),
    };
    let share = of.max(1) as f64;
    let pace = match &class.pace {
        Pace::Closed => Pace::Closed,
        Pace::Open(Arrivals::Poisson { rate }) => {
            Pace::Open(Arrivals::Poisson { rate: rate / share })
        }
        Pace::Open(Arrivals::Constant { rate }) => {
            Pace::Open(Arrivals::Constant { rate: rate / share })
        }
        Pace::Open(Arrivals::Burst { count: all, at }) => {
            Pace::Open(Arrivals::Burst { count: count(*all, index, of), at: *at })
        }
        Pace::Open(Arrivals::Bursts { count: all, first, every }) => {
            let (first, every) = (*first, *every);
            Pace::Open(Arrivals::Bursts { count: count(*all, index, of), first, every })
        }
        Pace::Replay(trace) if of <= 1 => Pace::Replay(trace.clone()),
        Pace::Replay(trace) => Pace::Replay(replay::share(trace, index as u32, of as u32)),
    };
    Class { name: class.name.clone(), ask, pace, set: sets[class.set], choice: class.choice }
}

/// The seed of one generator: with one alone, the run's.
pub(crate) fn seed(seed: u64, index: usize) -> u64 {
    seed.wrapping_add((index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// When the last answer may come, from the start.
pub(crate) fn longest(workload: &Workload) -> Duration {
    workload.duration + workload.answer_within
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        for all in [0, 1, 7, 64, 1000] {
            for of in 1..6 {
                let sum: u32 = (0..of).map(|index| count(all, index, of)).sum();
                assert_eq!(sum, all);
            }
        }
        assert_eq!((count(7, 0, 2), count(7, 1, 2)), (4, 3));
    }

    #[test]
    fn one_generator_has_the_runs_own_seed() {
        assert_eq!(seed(5, 0), 5);
        assert_ne!(seed(5, 1), 5);
    }
}
