//! One server against queueing theory: k workers of one thread, Poisson arrivals, nothing takes
//! time but the work.
//!
//! With a credit of 1 a worker holds the request that it serves and no other: all that waits, waits
//! in the kernel's queue, first come, first served, and the whole is M/M/k (M/G/k with another
//! law). With more credit some of it waits at workers already, where nobody else serves it: what
//! that costs is the difference to the theory.
//!
//! Not here: the formulas (`theory`), one run (`flow`).

use std::time::Duration;

use serde::Serialize;

use crate::config::{Balance, Rebalance, STALL_AFTER_MAX};
use crate::experiment::load::ServiceTimes;
use crate::sim::costs::Costs;
use crate::sim::crew;
use crate::sim::flow::{self, Flow, Found};
use crate::sim::server::Setup;
use crate::sim::theory::{ErlangC, at_least, pollaczek_khinchine, student_99};

/// One mean service time: long against a microsecond, in which times are drawn, and short against
/// the minute after which nothing counts as stuck.
pub const MEAN: Duration = Duration::from_millis(10);

/// A law of service times by name, all with the mean [`MEAN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// What Erlang's formulas assume.
    Exponential,
    /// Always the same.
    Fixed,
    /// Half a mean, and ten and a half for one in twenty.
    Bimodal,
}

impl Law {
    /// All of them.
    pub const ALL: [Law; 3] = [Law::Exponential, Law::Fixed, Law::Bimodal];

    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Law::Exponential => "exponential",
            Law::Fixed => "fixed",
            Law::Bimodal => "bimodal",
        }
    }

    /// The law itself.
    pub fn times(self) -> ServiceTimes {
        match self {
            Law::Exponential => ServiceTimes::Exponential { mean: MEAN },
            Law::Fixed => ServiceTimes::Fixed(MEAN),
            Law::Bimodal => {
                ServiceTimes::Bimodal { short: MEAN / 2, long: MEAN * 21 / 2, long_share: 0.05 }
            }
        }
    }

    /// The variance over the squared mean.
    pub fn variation(self) -> f64 {
        match self {
            Law::Exponential => 1.0,
            Law::Fixed => 0.0,
            Law::Bimodal => 0.95 * 0.25 + 0.05 * 110.25 - 1.0,
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Mmk {
    /// k.
    pub workers: u16,
    /// The load on each of them, above 0 and below 1.
    pub rho: f64,
    /// Of service times.
    pub law: Law,
    /// Who gets a request; `None` for the server's own default of credit.
    pub balance: Balance,
    /// How many requests a worker may hold.
    pub credit: u16,
    /// Requests that are counted, all repetitions together.
    pub requests: u64,
    /// Independent runs, each with arrivals of its own.
    pub repetitions: usize,
    /// Note queue lengths every so many requests; 0 for never.
    pub lengths_every: u64,
    /// Decides everything.
    pub seed: u64,
}

/// A figure: the mean of the repetitions and its 99 % interval, in mean service times.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean.
    pub value: f64,
    /// The interval's lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Estimate {
    /// Of independent values.
    pub fn of(values: &[f64]) -> Estimate {
        let count = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let error = (squares / (count - 1.0).max(1.0) / count).sqrt();
        let half = student_99(values.len()) * error;
        Estimate { value: mean, low: mean - half, high: mean + half }
    }

    /// Whether a value lies in the interval.
    pub fn holds(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// What theory says of the same, in mean service times; none where it says nothing in closed form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Theory {
    /// Erlang C; Pollaczek and Khinchine for one worker.
    pub mean: Option<f64>,
    /// The exact tail.
    pub p50: Option<f64>,
    /// See `p50`.
    pub p99: Option<f64>,
    /// See `p50`.
    pub p999: Option<f64>,
}

/// The result, all times in mean service times.
#[derive(Clone, Debug, Serialize)]
pub struct MmkReport {
    /// `mmk`.
    pub preset: &'static str,
    /// As asked.
    pub workers: u16,
    /// As asked.
    pub rho: f64,
    /// As asked.
    pub law: &'static str,
    /// As asked.
    pub credit: u16,
    /// As asked.
    pub seed: u64,
    /// That were counted.
    pub requests: u64,
    /// Independent runs.
    pub repetitions: usize,
    /// Half of the responses did not exceed this; a response counts from arrival to answer.
    pub p50: f64,
    /// 99 % did not exceed this.
    pub p99: f64,
    /// 99.9 % did not exceed this.
    pub p999: f64,
    /// The mean response.
    pub mean: f64,
    /// The mean wait.
    pub wait_mean: f64,
    /// By figure: its 99 % interval.
    pub intervals: Intervals,
    /// What theory says.
    pub theory: Theory,
    /// The share of workers with at least so many requests, by number; where lengths were noted.
    pub at_least: Vec<f64>,
    /// Events that happened.
    pub events: u64,
}

/// The figures with their intervals.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Intervals {
    /// Of the report's p50.
    pub p50: Estimate,
    /// Of the report's p99.
    pub p99: Estimate,
    /// Of the report's p999.
    pub p999: Estimate,
    /// Of the report's mean.
    pub mean: Estimate,
    /// Of the report's mean wait.
    pub wait_mean: Estimate,
}

impl Mmk {
    /// With the defaults of the command line.
    pub fn new(workers: u16, rho: f64) -> Mmk {
        Mmk {
            workers,
            rho,
            law: Law::Exponential,
            balance: Balance::LeastLoaded,
            credit: 1,
            requests: default_requests(workers, rho),
            repetitions: 20,
            lengths_every: 0,
            seed: 1,
        }
    }

    /// The server of which theory speaks: nothing is rebalanced, and nothing counts as stuck.
    pub fn setup(&self) -> Setup {
        Setup {
            workers: self.workers,
            threads: 1,
            balance: self.balance,
            credit: Some(self.credit),
            rebalance: Rebalance::Never,
            stall_after: STALL_AFTER_MAX,
            costs: Costs::NONE,
            ..Setup::default()
        }
    }

    /// One repetition.
    pub fn flow(&self, repetition: u64) -> Flow {
        let requests = (self.requests / self.repetitions as u64).max(1);
        Flow {
            setup: self.setup(),
            law: self.law.times(),
            rho: self.rho,
            requests,
            warm_up: warm_up(self.workers, self.rho),
            lengths_every: self.lengths_every,
            seed: self.seed,
            repetition,
        }
    }

    /// All repetitions, on all cores.
    pub fn run(&self, is_done: impl Fn() + Sync) -> MmkReport {
        let run = |number| flow::run(&self.flow(number as u64));
        self.report(&crew::run_all(self.repetitions, run, is_done))
    }

    fn report(&self, all: &[Found]) -> MmkReport {
        let unit = MEAN.as_nanos() as f64;
        let estimate = |figure: &dyn Fn(&Found) -> f64| {
            Estimate::of(&all.iter().map(|one| figure(one) / unit).collect::<Vec<_>>())
        };
        let mut together = flow::histogram();
        for one in all {
            together.add(&one.responses).expect("both have the same bounds");
        }
        let quantile = |share| {
            let value = together.value_at_quantile(share);
            together.median_equivalent(value) as f64 / unit
        };
        let mean = estimate(&Found::mean_ns);
        let longest = all.iter().map(|one| one.lengths.len()).max().unwrap_or(0);
        let share = |length| all.iter().map(|one| one.at_least(length)).sum::<f64>();
        let at_least = (0..longest).map(|length| share(length) / all.len() as f64);
        MmkReport {
            preset: "mmk",
            workers: self.workers,
            rho: self.rho,
            law: self.law.name(),
            credit: self.credit,
            seed: self.seed,
            requests: together.len(),
            repetitions: self.repetitions,
            p50: quantile(0.5),
            p99: quantile(0.99),
            p999: quantile(0.999),
            mean: mean.value,
            wait_mean: estimate(&Found::mean_wait_ns).value,
            intervals: Intervals {
                p50: estimate(&|one| one.quantile_ns(0.5)),
                p99: estimate(&|one| one.quantile_ns(0.99)),
                p999: estimate(&|one| one.quantile_ns(0.999)),
                mean,
                wait_mean: estimate(&Found::mean_wait_ns),
            },
            theory: self.theory(),
            at_least: at_least.collect(),
            events: all.iter().map(|one| one.events).sum(),
        }
    }

    fn theory(&self) -> Theory {
        match self.law {
            Law::Exponential => {
                let queue = ErlangC::new(u32::from(self.workers), self.rho);
                Theory {
                    mean: Some(queue.mean()),
                    p50: Some(queue.quantile(0.5)),
                    p99: Some(queue.quantile(0.99)),
                    p999: Some(queue.quantile(0.999)),
                }
            }
            law if self.workers == 1 => {
                let wait = pollaczek_khinchine(self.rho, law.variation());
                Theory { mean: Some(1.0 + wait), ..Theory::default() }
            }
            _ => Theory::default(),
        }
    }

    /// The share of workers with at least so many requests by Mitzenmacher's fixed point, for
    /// policies that have one.
    pub fn fixed_point(&self, length: u32) -> Option<f64> {
        let choices = match self.balance {
            Balance::Random => 1,
            Balance::TwoChoices => 2,
            _ => return None,
        };
        Some(at_least(self.rho, choices, length))
    }
}

/// Long waits are correlated: the closer to saturation, and the fewer workers, the more requests
/// are needed to tell them apart.
pub fn default_requests(workers: u16, rho: f64) -> u64 {
    let needed = 4e6 * (0.4 / (1.0 - rho)).powi(2) / f64::from(workers).sqrt();
    // Between a few seconds and half a minute.
    needed.clamp(4e6, 3.2e7) as u64
}

/// Until what an empty server begins with is forgotten: some relaxation times of M/M/1, each of
/// which sees k requests in a mean service time.
fn warm_up(workers: u16, rho: f64) -> u64 {
    let relaxation = 1.0 / (1.0 - rho.sqrt()).powi(2);
    let times = 10.0 * relaxation / f64::from(workers).sqrt() + 20.0;
    (times * f64::from(workers) * rho).ceil() as u64
}
