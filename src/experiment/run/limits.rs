//! Every wait of a bench has its maximum here, with the reason.
//!
//! Not here: those of a plan (`plan::limits`) and of the load generator (`load::limits`).

use std::time::Duration;

/// From a server's start until it answers. Python servers take seconds, and a loaded machine more.
pub(super) const START_MAX: Duration = Duration::from_secs(30);

/// Between two looks whether a server is ready or has ended.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// For so long a foreign server must have been at rest before connections are opened. It has to be
/// longer than the pause between two workers that a server starts one after the other.
pub(super) const REST_FOR: Duration = Duration::from_millis(500);

/// Between two looks whether it is.
pub(super) const REST_INTERVAL: Duration = Duration::from_millis(100);

/// Of one core, between two looks, by all of its processes: more is work. An idle server wakes up
/// for its timers; an interpreter that imports an application takes a core, or its share of one.
pub(super) const REST_CPU_SHARE: f64 = 0.1;

/// After so long it is taken as it is, with a warning: some servers poll for ever.
pub(super) const REST_MAX: Duration = Duration::from_secs(20);

/// From the signal that ends a server until it is killed. Nothing is measured any more.
pub(super) const STOP_MAX: Duration = Duration::from_secs(3);

/// For all generators to open their connections, beside what each allows itself
/// (`load::limits::OPEN_FOR_MAX`).
pub(super) const OPEN_MARGIN: Duration = Duration::from_secs(10);

/// From when the last answer may come until a generator has reported.
pub(super) const REPORT_MARGIN: Duration = Duration::from_secs(10);

/// Between the last connection and the first request: all generators have to begin together.
pub(super) const BEFORE_START: Duration = Duration::from_millis(20);

/// Bytes that are kept of what a server says: the last ones, which say why it ended.
pub(super) const SAID_MAX: usize = 16 * 1024;

/// Lines of it in a warning.
pub(super) const SAID_LINES: usize = 5;

/// Requests a second that one generator thread sends on time here, with room to spare.
pub(super) const RATE_PER_GENERATOR: f64 = 15_000.0;

/// Cores from which on generators have some of their own.
pub(super) const CORES_TO_SPLIT: usize = 4;

/// Samples that are held for one workload, all arms and repetitions together: 56 bytes each.
pub(super) const SAMPLES_HELD_MAX: usize = 24_000_000;

/// Arms are given up after so many workloads in which they did not start.
pub(super) const FAILED_WORKLOADS_MAX: usize = 2;

/// A slowed worker is stopped and continued in periods of this length: long against a context
/// switch, short against what a person calls slow.
pub(super) const SLOW_PERIOD: Duration = Duration::from_millis(10);
