//! How large a plan may be. Whoever writes one is the user, but a file is bytes from somewhere, and
//! most of what lies beyond these is a typing error that would take days to run.
//!
//! Not here: what one run of the load generator may be (`load::limits`).

use std::time::Duration;

/// Bytes of a plan's file.
pub const PLAN_SIZE_MAX: u64 = 1024 * 1024;

/// Arms of a plan: a page with more lines in a figure is not read.
pub const ARMS_MAX: usize = 24;

/// Workloads of a plan, with all places of its grids.
pub const WORKLOADS_MAX: usize = 256;

/// Classes of requests in one workload.
pub const CLASSES_MAX: usize = 8;

/// Predictions of a plan.
pub const PREDICTIONS_MAX: usize = 256;

/// Arms among which one side of a prediction takes the best.
pub const RIVALS_MAX: usize = 16;

/// Repetitions of each arm with each workload.
pub const REPETITIONS_MAX: u64 = 100;

/// Runs of a plan altogether.
pub const TRIALS_MAX: usize = 20_000;

/// Bytes of a name: it stands in tables and beside curves.
pub const NAME_SIZE_MAX: usize = 64;

/// Bytes of a text for people.
pub const TEXT_SIZE_MAX: usize = 4096;

/// Words of a command or flags of a server.
pub const WORDS_MAX: usize = 64;

/// Files that come with a command.
pub const FILES_MAX: usize = 8;

/// Values on one axis of a grid.
pub const AXIS_VALUES_MAX: usize = 32;

/// Values that are left of an axis in a quick run.
pub const AXIS_VALUES_QUICK: usize = 3;

/// Worker processes of a server: as many as `maitred serve` takes.
pub const WORKERS_MAX: u64 = 1024;

/// Handler threads of a worker: as many as `maitred serve` takes.
pub const THREADS_MAX: u64 = 1024;

/// Threads that generate load.
pub const GENERATORS_MAX: u64 = 16;

/// Length of one repetition, warm-up included.
pub const TRIAL_DURATION_MAX: Duration = Duration::from_secs(3600);

/// The shortest that is measured at all.
pub const TRIAL_DURATION_MIN: Duration = Duration::from_millis(50);

/// How often slower a worker can be made: one that is stopped for more than nineteen twentieths of
/// the time is a stalled one.
pub const SLOWER_MAX: f64 = 20.0;
