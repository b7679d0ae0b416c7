//! What `report.json` says: the whole result of a bench, for programs to read.
//!
//! The CSV files, the page, and `--compare` are made from this alone, so that whatever they say can
//! be had from the file again. A field is never given another meaning: what changes is the number
//! in [`SCHEMA`]. Fields that a reader does not know are passed over, and those that a later version
//! has added are absent in older files.
//!
//! Not here: where the figures come from (`measure`), files and pages (`json`, `csv`, `html`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Names the form of the file: name, slash, version.
pub const SCHEMA: &str = "maitred-bench/1";

/// One bench: arms × workloads × repetitions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BenchReport {
    /// [`SCHEMA`].
    pub schema: String,
    /// The preset's or the plan's name.
    pub title: String,
    /// What it is to find out, in a sentence or two.
    pub about: String,
    /// Where, when and with what it ran.
    pub environment: Environment,
    /// In the order of the plan.
    pub arms: Vec<ArmInfo>,
    /// In the order of the plan.
    pub workloads: Vec<WorkloadInfo>,
    /// What the keys of [`Cell::figures`] mean; a reader needs nothing else.
    pub measures: Vec<MeasureInfo>,
    /// Every arm with every workload that was measured, workloads outside.
    pub cells: Vec<Cell>,
    /// What was said before the run, and what came of it.
    pub predictions: Vec<Prediction>,
    /// What a reader must know beside the figures.
    pub warnings: Vec<Warning>,
    /// False if it was stopped before its end: what is here is whole all the same.
    pub is_complete: bool,
}

/// Where, when and with what a bench ran.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Of maitred.
    pub version: String,
    /// `git describe --always --dirty` of the working directory, where there is one.
    pub revision: Option<String>,
    /// Release, as `uname -r` says it.
    pub kernel: String,
    /// The processor's model.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: u32,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// The arguments that repeat it.
    pub command: Vec<String>,
    /// Decides every arrival, service time and order.
    pub seed: u64,
    /// `--quick`: short runs, whose figures are a rehearsal.
    pub is_quick: bool,
    /// Not a release build: times mean nothing.
    pub is_debug_build: bool,
    /// RFC 3339, UTC.
    pub began_at: String,
    /// Seconds from the first to the last run.
    pub took_s: f64,
    /// What the cores of generator and servers are: `shared`, or which are whose.
    pub cores_note: String,
    /// `TCP_DEFER_ACCEPT` of every listener of maitred, in seconds; 0 is off.
    pub defer_accept_s: u32,
    /// Backlog of every listener of maitred.
    pub backlog: u32,
}

/// One way of distributing connections.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ArmInfo {
    /// Unique within the report.
    pub name: String,
    /// How its server was started.
    pub command: Vec<String>,
    /// Another program than maitred: some measures are not to be had.
    pub is_foreign: bool,
    /// What the kernel does in this arm: trigger mode, registration, who is woken.
    pub about: String,
}

/// One load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkloadInfo {
    /// Unique within the report.
    pub name: String,
    /// For people: connections, service times, arrivals.
    pub about: String,
    /// Latency counts from when a request was due. False: a closed loop, whose latencies hide
    /// stalls and are labelled so wherever they stand.
    pub is_open_loop: bool,
    /// Requests a second that are offered; none in a closed loop.
    pub rate: Option<f64>,
    /// The classes of requests, in order. Measures without a class's name are of the first.
    pub classes: Vec<String>,
    /// Of a repetition, warm-up included.
    pub duration_s: f64,
    /// Of which this is left out.
    pub warm_up_s: f64,
    /// Its place in a grid of workloads, for a heat map.
    pub grid: Option<GridPlace>,
}

/// Where a workload stands in a grid.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GridPlace {
    /// What goes from left to right, as `service time, ms`.
    pub x_name: String,
    /// Its value here.
    pub x: f64,
    /// What goes from below to above, as `connections/s`.
    pub y_name: String,
    /// Its value here.
    pub y: f64,
}

/// What a key of [`Cell::figures`] means.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MeasureInfo {
    /// The key: `p99`, `cpu_us_per_request`, `jain_of_requests`.
    pub key: String,
    /// As a column's head.
    pub title: String,
    /// `ms`, `µs`, `1/s`, `%`; empty for a bare number.
    pub unit: String,
    /// Who wins a column.
    pub better: Better,
    /// How it is measured, in a sentence or two.
    pub about: String,
}

/// Which of two values is better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    /// The lower one.
    Lower,
    /// The higher one.
    Higher,
    /// It explains, and nobody wins by it.
    #[default]
    Neither,
}

/// One arm with one workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// [`ArmInfo::name`].
    pub arm: String,
    /// [`WorkloadInfo::name`].
    pub workload: String,
    /// By measure (see `measure::catalogue`): `p99`, `throughput`, `cpu_us_per_request`. One that
    /// this arm cannot have is absent.
    pub figures: BTreeMap<String, Figure>,
    /// Latencies of all repetitions together, a curve a class.
    pub curves: Vec<Curve>,
    /// The repetitions that were measured, in order.
    pub trials: Vec<Trial>,
}

/// A measured value with its 95 % interval.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// In the measure's unit. The median of the repetitions, or of all their requests together.
    pub value: f64,
    /// The interval's ends, by bootstrap; none from too few repetitions.
    pub low: Option<f64>,
    /// See `low`.
    pub high: Option<f64>,
    /// The value of each repetition.
    pub of_trials: Vec<f64>,
}

/// Latencies of one class of requests, by percentile.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The class of requests.
    pub class: String,
    /// Share of the requests, and the milliseconds that they did not exceed; shares ascend towards 1.
    pub points: Vec<(f64, f64)>,
}

/// One repetition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// From 0.
    pub repetition: u32,
    /// Its place among all runs of the bench, from 0.
    pub place: u32,
    /// Requests that became due after the warm-up.
    pub due: u64,
    /// Of those, good answers.
    pub answered: u64,
    /// All others, by kind, for people.
    pub failures: BTreeMap<String, u64>,
    /// How late the generator was, p99 in milliseconds.
    pub lag_p99_ms: f64,
    /// By worker, in the order of slots; empty where nobody says who answered.
    pub workers: Vec<WorkerShare>,
    /// Over the time of the repetition.
    pub timelines: Vec<Timeline>,
}

/// What one worker had in a repetition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerShare {
    /// Its slot, or its place among the workers that were seen.
    pub worker: u32,
    /// Connections whose first answer came from it.
    pub connections: u64,
    /// Requests.
    pub requests: u64,
    /// Seconds in handlers, by the service times that were asked for.
    pub busy_s: f64,
    /// Seconds on a CPU.
    pub cpu_s: Option<f64>,
}

/// Values at equal steps of time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// What it shows: `requests in service`, `connections`, `p99`.
    pub name: String,
    /// Of which worker; none for all together.
    pub worker: Option<u32>,
    /// `ms`, `requests`, …
    pub unit: String,
    /// Seconds between two values, the first at the beginning of the measured time.
    pub step_s: f64,
    /// The values.
    pub values: Vec<f64>,
}

/// What was said before the run, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// As the plan says it: `p99(exclusive, bimodal) >= 5 * p99(master, bimodal)`.
    pub text: String,
    /// Why somebody believes it: the source.
    pub because: String,
    /// What was found.
    pub outcome: Outcome,
    /// The two sides' values, and the ratio with its interval, for people.
    pub found: String,
}

/// Whether a prediction held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It held, the interval with it.
    Held,
    /// It did not.
    Failed,
    /// The interval straddles the bound.
    Open,
    /// Something that it speaks of was not measured.
    #[default]
    NotMeasured,
}

/// What a reader must know beside certain figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Warning {
    /// Of which arm; none for all.
    pub arm: Option<String>,
    /// Of which workload; none for all.
    pub workload: Option<String>,
    /// Which measure it touches; none for all.
    pub measure: Option<String>,
    /// For people.
    pub text: String,
}
