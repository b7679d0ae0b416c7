//! In which order everything runs. Pure.
//!
//! A machine drifts: it warms up, its neighbours come and go. Arms are therefore interleaved within
//! each repetition, and every second repetition runs them backwards (A B C, C B A): a steady drift
//! takes from all the same. The arm in front changes from pair to pair of repetitions and from
//! workload to workload, since the first and the last have a neighbour less.
//!
//! Not here: running (`trial`).

use crate::experiment::plan::BenchPlan;

/// One run of one arm with one workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Index in the plan.
    pub arm: usize,
    /// Index in the plan.
    pub workload: usize,
    /// From 0.
    pub repetition: u32,
    /// Among all runs, from 0.
    pub place: u32,
}

/// All runs of one workload.
///
/// Workloads stand outside, so that what is compared are neighbours in time, and so that the
/// requests of one workload alone are held in memory.
pub(crate) fn turns(plan: &BenchPlan, workload: usize, first_place: u32) -> Vec<Turn> {
    let load = &plan.workloads[workload];
    let arms: Vec<usize> = (0..plan.arms.len()).filter(|&arm| plan.arms[arm].runs(load)).collect();
    let repetitions = 0..plan.repetitions;
    let orders = repetitions.flat_map(|repetition| {
        let order = order(arms.len(), workload, repetition);
        let arms = &arms;
        order.into_iter().map(move |index| (arms[index], repetition)).collect::<Vec<_>>()
    });
    let turns = (first_place..).zip(orders);
    turns.map(|(place, (arm, repetition))| Turn { arm, workload, repetition, place }).collect()
}

/// The order of so many arms in a repetition.
fn order(arms: usize, workload: usize, repetition: u32) -> Vec<usize> {
    let first = workload + (repetition / 2) as usize;
    let mut order: Vec<usize> = (0..arms).map(|index| (first + index) % arms).collect();
    if repetition % 2 == 1 {
        order.reverse();
    }
    order
}

/// The seed of a run: every arm has the same, so that it is asked for the same at the same times.
pub(crate) fn seed(seed: u64, workload: usize, repetition: u32) -> u64 {
    // SplitMix64's increment and mixing: neighbours get seeds that have nothing in common.
    let index = (workload as u64) << 32 | u64::from(repetition);
    let mut mixed = seed.wrapping_add((index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_repetition_runs_backwards_and_the_first_arm_changes() {
        let orders: Vec<_> = (0..6).map(|repetition| order(3, 0, repetition)).collect();
        assert_eq!(
            orders,
            [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1], [2, 0, 1], [1, 0, 2]].map(Vec::from)
        );
        assert_eq!(order(3, 1, 0), [1, 2, 0]);
        assert_eq!(order(1, 5, 3), [0]);
        assert!(order(0, 0, 0).is_empty());
    }

    /// What ABBA is for: with a drift of one unit a run, every arm of a pair of repetitions has the
    /// same mean place.
    #[test]
    fn a_steady_drift_takes_from_all_arms_the_same() {
        for arms in 1..8 {
            for pair in 0..4_u32 {
                let both = [order(arms, 2, pair * 2), order(arms, 2, pair * 2 + 1)].concat();
                let sum = |arm| {
                    let places = both.iter().enumerate().filter(|(_, one)| **one == arm);
                    places.map(|(place, _)| place).sum::<usize>()
                };
                assert!((0..arms).all(|arm| sum(arm) == sum(0)), "{both:?}");
            }
        }
    }

    #[test]
    fn seeds_differ_by_workload_and_repetition_and_not_by_arm() {
        let mut seeds: Vec<u64> =
            (0..50).flat_map(|workload| (0..20).map(move |one| seed(1, workload, one))).collect();
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 1000);
        assert_ne!(seed(1, 0, 0), seed(2, 0, 0));
    }
}
