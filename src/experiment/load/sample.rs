//! One request of a run, whole: for whoever computes more than percentiles from it.
//!
//! Not here: what is computed (`experiment::measure`).

use std::time::Duration;

use crate::time::Nanos;

/// What became of one request that was answered well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its class, by place in the plan.
    pub class: u16,
    /// Which connection carried it: unique within the run, never used again.
    pub connection: u32,
    /// When it was due; latency counts from here.
    pub due: Nanos,
    /// When its bytes were given to the kernel.
    pub sent: Nanos,
    /// When the last byte of its answer was read.
    pub answered: Nanos,
    /// The service time that it asked for; zero where it asked for none.
    pub service: Duration,
    /// The slot of the worker that answered, where the server says it.
    pub worker: Option<u16>,
}
