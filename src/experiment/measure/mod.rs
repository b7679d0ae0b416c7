//! From what was observed in repetitions to figures: pure functions, so that every figure of a
//! report can be computed again from `--raw` rows.
//!
//! Not here: observing (`load`, `run`), writing down (`report`).

mod catalogue;
pub mod observed;
mod summary;

pub use catalogue::catalogue;
pub use summary::{summarise, warnings};
