//! What a bench is to do: arms, workloads and predictions, from a file or a preset. Pure.
//!
//! | file | what |
//! |---|---|
//! | `file` | the words of a plan's file |
//! | `read`, `classes`, `grid` | from words to a plan, with errors that name the place |
//! | `model` | a plan |
//! | `arms` | what each way of distributing is, in words |
//! | `prediction` | what is said before, and whether it held |
//! | `presets` | the plans that come with the program |
//! | `limits` | named maxima |
//!
//! Not here: doing it (`experiment::run`), what one run sends (`load::plan`).

pub mod arms;
mod classes;
mod file;
mod grid;
pub mod limits;
pub mod model;
pub mod prediction;
pub mod presets;
mod read;

pub use model::BenchPlan;
pub use read::{PlanFault, Surroundings, TraceReader, read};
