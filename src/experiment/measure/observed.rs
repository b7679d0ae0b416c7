//! What one repetition has left behind.
//!
//! Not here: how it was had (`run`), what follows from it (the other files of this room).

use std::time::Duration;

use crate::experiment::load::report::Report;
use crate::experiment::load::sample::Sample;
use crate::time::Nanos;

/// One repetition of one arm with one workload.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Which repetition, from 0.
    pub repetition: u32,
    /// Its place among all runs of the bench, from 0.
    pub place: u32,
    /// The generators' report, all threads together.
    pub report: Report,
    /// Every request that was answered well, in the order of answers, the warm-up's too: it may be
    /// served still when the measured time begins. Empty if none were kept; those of `report` are
    /// not looked at.
    pub samples: Vec<Sample>,
    /// The measured time: from the end of the warm-up to the end of arrivals.
    pub measured: (Nanos, Nanos),
    /// How many requests can be in service at a time: workers, and threads in each (1 for a loop).
    pub capacity: Capacity,
    /// The latency that the workload allows (its service level objective), if it says one.
    pub bound: Option<Duration>,
    /// What the server has used in the measured time; none of a server whose processes are not
    /// known.
    pub usage: Option<Usage>,
    /// Whether the server had come to rest before connections were opened: else some of its workers
    /// may have come too late to have their share of them.
    pub began_at_rest: bool,
}

/// How much a server can do at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Worker processes.
    pub workers: u16,
    /// Requests that each can have in service: its handler threads, 1 for a loop.
    pub threads: u16,
}

/// What a server's processes have used between two looks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// Between the looks.
    pub elapsed: Duration,
    /// Of the master; of a server without one, of its first process.
    pub master: ProcessUsage,
    /// Of the workers, in the order of slots (where they are not known, of process ids).
    pub workers: Vec<ProcessUsage>,
    /// The share of the machine's CPU time that neither server nor generator took.
    pub others_share: f64,
}

/// What one process has used, all threads together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessUsage {
    /// On a CPU (the first field of schedstat).
    pub cpu: Duration,
    /// Context switches of its own accord: it slept.
    pub voluntary_switches: u64,
    /// The kernel took the CPU away.
    pub involuntary_switches: u64,
}
