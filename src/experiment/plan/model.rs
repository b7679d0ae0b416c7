//! A plan as it is run: arms, workloads, predictions. Data, checked by whoever made it.
//!
//! Not here: how it is written down (`file`, `read`), running it (`experiment::run`).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::experiment::load::plan::{Ask, Choice, Pace};
use crate::experiment::measure::observed::Capacity;
use crate::experiment::plan::prediction::Claim;
use crate::experiment::report::schema::{ArmInfo, GridPlace, WorkloadInfo};

/// A whole bench.
#[derive(Clone, Debug)]
pub struct BenchPlan {
    /// Its name, of which files are made: letters, digits, hyphens.
    pub title: String,
    /// What it is to find out.
    pub about: String,
    /// Of each arm with each workload.
    pub repetitions: u32,
    /// At least one; names are unique.
    pub arms: Vec<Arm>,
    /// At least one; names are unique.
    pub workloads: Vec<Workload>,
    /// What was said before.
    pub claims: Vec<Claim>,
}

/// One way of distributing connections.
#[derive(Clone, Debug)]
pub struct Arm {
    /// Unique.
    pub name: String,
    /// What the kernel does in it.
    pub about: String,
    /// Whose server it is.
    pub program: Program,
    /// Where it says so itself: it beats plan and workload.
    pub workers: Option<u16>,
    /// The same.
    pub threads: Option<u16>,
    /// The workloads that it takes part in, by [`Workload::family`]; all if there is none here.
    pub families: Vec<String>,
}

/// Whose server an arm is.
#[derive(Clone, Debug)]
pub enum Program {
    /// This very binary.
    Maitred {
        /// `--accept`; `master` is its default, and then not given.
        accept: String,
        /// More flags of this arm.
        flags: Vec<String>,
    },
    /// Another program that serves a URL.
    Foreign {
        /// With `{port}` in it where the port is to stand.
        command: Vec<String>,
        /// `http://127.0.0.1:{port}`, whose path is asked where a workload has none of its own.
        url: String,
        /// Written into the directory in which it is started: an application, a configuration.
        files: BTreeMap<String, String>,
    },
}

/// One load.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Unique; with the place in the grid.
    pub name: String,
    /// The name without the place.
    pub family: String,
    /// For people.
    pub about: String,
    /// Kinds of requests, at least one.
    pub classes: Vec<LoadClass>,
    /// Sets of connections, each with one class at least.
    pub sets: Vec<ConnectionSet>,
    /// Connections that are opened in front of all others, make one request, and are silent.
    pub background: u32,
    /// How many connections are opened at one time.
    pub opened_at_once: u32,
    /// Threads that generate it; none if the machine decides.
    pub generators: Option<u32>,
    /// Of a repetition, warm-up included.
    pub duration: Duration,
    /// Of which this is left out.
    pub warm_up: Duration,
    /// What is not answered by then has failed.
    pub answer_within: Duration,
    /// The latency that it allows.
    pub slo: Option<Duration>,
    /// What befalls a worker.
    pub event: Option<Event>,
    /// Worker processes of each arm that does not say its own.
    pub workers: u16,
    /// Handler threads in each; 0 is a loop.
    pub threads: u16,
    /// Flags of every maitred: plan's and workload's.
    pub flags: Vec<String>,
    /// Its place.
    pub grid: Option<GridPlace>,
}

/// A kind of request: [`load::Class`] before its connections are open.
///
/// [`load::Class`]: crate::experiment::load::Class
#[derive(Clone, Debug)]
pub struct LoadClass {
    /// Unique within its workload.
    pub name: String,
    /// What it asks for.
    pub ask: Ask,
    /// When.
    pub pace: Pace,
    /// Index of its set.
    pub set: usize,
    /// Which connection of the set.
    pub choice: Choice,
}

/// Connections that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionSet {
    /// How many.
    pub count: u32,
    /// Whether they are opened before the load begins.
    pub is_opened: bool,
}

/// What befalls one worker, chosen by the seed. Times are shares of the measured time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// Stopped by SIGSTOP, and continued.
    Stalled {
        /// When.
        at: f64,
        /// For how long.
        lasts: f64,
    },
    /// Stopped and continued in turn, so that it has 1/`times` of its time.
    Slow {
        /// When.
        at: f64,
        /// For how long.
        lasts: f64,
        /// How often slower.
        times: f64,
    },
    /// Killed, another one each time.
    Killed {
        /// When first.
        at: f64,
        /// How often, at equal distances up to the end of the measured time.
        count: u32,
    },
}

impl BenchPlan {
    /// The value of a flag that all of maitred's arms have in all workloads.
    pub fn common_number(&self, flag: &str) -> Option<u32> {
        let words = &self.workloads.first()?.flags;
        let mut pairs = words.windows(2).rev().filter(|pair| pair[0] == flag);
        pairs.find_map(|pair| pair[1].parse().ok())
    }
}

impl Arm {
    /// Whether it takes part in a workload.
    pub fn runs(&self, workload: &Workload) -> bool {
        self.families.is_empty() || self.families.contains(&workload.family)
    }

    /// How much its server can do at a time.
    pub fn capacity(&self, workload: &Workload) -> Capacity {
        let threads = self.threads.unwrap_or(workload.threads);
        Capacity { workers: self.workers.unwrap_or(workload.workers), threads: threads.max(1) }
    }

    /// The arguments of `maitred` for a workload; none of another program.
    ///
    /// What is common stands in front, what is the arm's own behind it: there it wins.
    pub fn arguments(&self, workload: &Workload, seed: u64) -> Option<Vec<String>> {
        let Program::Maitred { accept, flags } = &self.program else { return None };
        let workers = self.workers.unwrap_or(workload.workers).to_string();
        let threads = self.threads.unwrap_or(workload.threads).to_string();
        let fixed = ["serve", "-b", "127.0.0.1:0", "--worker-header", "-w", &workers];
        let mut words: Vec<String> = fixed.map(str::to_owned).to_vec();
        words.extend(["--threads".to_owned(), threads, "--seed".to_owned(), seed.to_string()]);
        words.extend(workload.flags.iter().cloned());
        if accept != MASTER {
            words.extend(["--accept".to_owned(), accept.clone()]);
        }
        words.extend(flags.iter().cloned());
        Some(words)
    }

    /// What a report says of it.
    pub fn info(&self) -> ArmInfo {
        let command = match &self.program {
            Program::Maitred { accept, flags } => {
                let mut words = vec!["maitred".to_owned(), "serve".to_owned()];
                words.extend(["--accept".to_owned(), accept.clone()]);
                words.extend(flags.iter().cloned());
                words
            }
            Program::Foreign { command, .. } => command.clone(),
        };
        ArmInfo {
            name: self.name.clone(),
            command,
            is_foreign: self.is_foreign(),
            about: self.about.clone(),
        }
    }

    /// Another program than maitred.
    pub fn is_foreign(&self) -> bool {
        matches!(self.program, Program::Foreign { .. })
    }
}

/// The default of `--accept`.
pub(super) const MASTER: &str = "master";

impl Workload {
    /// Whether latency counts from when a request was due.
    pub fn is_open_loop(&self) -> bool {
        self.classes.iter().all(|class| class.pace != Pace::Closed)
    }

    /// Requests a second that are offered; none in a closed loop.
    pub fn rate(&self) -> Option<f64> {
        self.classes.iter().map(|class| class.rate(self.duration)).sum()
    }

    /// What a report says of it.
    pub fn info(&self) -> WorkloadInfo {
        WorkloadInfo {
            name: self.name.clone(),
            about: self.about.clone(),
            is_open_loop: self.is_open_loop(),
            rate: self.rate(),
            classes: self.classes.iter().map(|class| class.name.clone()).collect(),
            duration_s: self.duration.as_secs_f64(),
            warm_up_s: self.warm_up.as_secs_f64(),
            grid: self.grid.clone(),
        }
    }
}

impl LoadClass {
    /// Requests a second over a repetition; none in a closed loop.
    pub fn rate(&self, duration: Duration) -> Option<f64> {
        let seconds = duration.as_secs_f64();
        match &self.pace {
            Pace::Open(arrivals) => Some(arrivals.rate().unwrap_or(0.0)),
            Pace::Closed => None,
            Pace::Replay(trace) => {
                let within = trace.partition_point(|due| due.at < duration);
                Some(within as f64 / seconds)
            }
        }
    }
}
