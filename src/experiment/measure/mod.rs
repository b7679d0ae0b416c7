//! From what was observed in repetitions to figures: pure functions, so that every figure of a
//! report can be computed again from `--raw` rows.
//!
//! | file | what |
//! |---|---|
//! | `observed` | what a repetition has left behind |
//! | `catalogue` | what can be measured |
//! | `summary` | the front door: all figures of an arm with a workload |
//! | `warnings` | what to beware of; whether the generator was punctual |
//! | `statistics`, `blocks` | percentiles, medians, intervals, ratios |
//! | `latencies`, `waits` | how long requests took, and what of it was waiting |
//! | `workers`, `fairness` | who had what, and how even that is |
//! | `conservation`, `hindsight` | idle workers beside waiting requests |
//! | `costs` | CPU time and context switches |
//! | `timelines` | how a repetition went |
//! | `raw` | a row for each request, and back |
//!
//! Not here: observing (`load`, `run`), writing down (`report`).

mod blocks;
mod catalogue;
mod conservation;
mod costs;
mod fairness;
mod hindsight;
mod latencies;
pub mod observed;
mod raw;
pub mod statistics;
mod summary;
mod timelines;
mod waits;
mod warnings;
mod workers;

#[cfg(test)]
mod made;
#[cfg(test)]
mod queues;
#[cfg(test)]
mod tests;

pub use catalogue::catalogue;
pub use raw::{RawError, raw_csv, read_raw};
pub use summary::summarise;
pub use waits::TOLERANCE;
pub use warnings::{LATE_SHARE_MAX, is_punctual, late_share, warnings};
