//! All measures of one arm with one workload.
//!
//! Not here: what they are called (`catalogue`).

use crate::experiment::measure::observed::Observed;
use crate::experiment::report::schema::{Cell, Warning};

/// The figures of some repetitions of one arm with one workload.
///
/// A figure of the workload's first class has the measure's key; those of the others have the key,
/// a colon and the class's name behind it: `p99`, `p99:slow`.
pub fn summarise(
    arm: &str,
    workload: &str,
    _classes: &[String],
    _trials: &[Observed],
    _seed: u64,
) -> Cell {
    Cell { arm: arm.to_owned(), workload: workload.to_owned(), ..Cell::default() }
}

/// What a reader must know beside the figures of these repetitions.
pub fn warnings(_arm: &str, _workload: &str, _trials: &[Observed]) -> Vec<Warning> {
    Vec::new()
}
