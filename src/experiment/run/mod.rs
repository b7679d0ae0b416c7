//! Running a plan: servers, generators, order, and what is told meanwhile.
//!
//! | file | what |
//! |---|---|
//! | `order` | arms interleaved and reversed; seeds |
//! | `bench` | all runs, one after the other, and the report of them |
//! | `trial` | one run |
//! | `server` | a server under test, started and ended |
//! | `rest` | whether another program's server has come to rest |
//! | `share` | a load divided among generators |
//! | `cores` | whose which core is |
//! | `disturbance` | what befalls a worker |
//! | `usage` | what processes have used |
//! | `environment` | what figures travel with |
//! | `interrupts` | Ctrl-C |
//! | `limits` | every wait's maximum |
//!
//! Not here: what is to be run (`plan`), figures (`measure`), files (`report`).

mod bench;
mod cores;
pub(crate) mod disturbance;
pub(crate) mod environment;
mod interrupts;
mod limits;
pub(crate) mod order;
mod rest;
mod server;
pub(crate) mod share;
mod trial;
mod usage;

pub use bench::{BenchError, Observer, Options, count_of_runs, run};
pub use environment::rfc3339;
pub use interrupts::Interrupts;
pub use order::Turn;
pub use server::ServerError;
pub use trial::TrialError;

/// Cores that this process may use.
pub fn usable_cores() -> usize {
    cores::usable().len()
}
