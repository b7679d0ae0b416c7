//! All measures of one arm with one workload.
//!
//! A figure's value is the median of its repetitions, from [`REPETITIONS_LEAST`] on; of fewer, what
//! all of them together have, where they can be put together, with an interval from blocks of time.
//!
//! Not here: what measures are called (`catalogue`), how each is had (the other files).

use std::collections::BTreeMap;

use crate::experiment::load::sample::Sample;
use crate::experiment::measure::blocks::{
    BLOCKS_PER_REPETITION, Blocks, block_of, quotient, values_in_blocks,
};
use crate::experiment::measure::conservation::violation;
use crate::experiment::measure::costs::costs;
use crate::experiment::measure::fairness::Spread;
use crate::experiment::measure::hindsight::wrong_share;
use crate::experiment::measure::latencies::Latencies;
use crate::experiment::measure::observed::Observed;
use crate::experiment::measure::statistics::{Interval, REPETITIONS_LEAST, of_repetitions};
use crate::experiment::measure::timelines::timelines;
use crate::experiment::measure::waits::wait_ns;
use crate::experiment::measure::warnings::late_share;
use crate::experiment::measure::workers::shares;
use crate::experiment::report::schema::{Cell, Figure, Trial, WorkerShare};

/// The percentiles that are figures.
const SHARES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];

/// The figures of some repetitions of one arm with one workload.
///
/// A figure of the workload's first class has the measure's key; those of the others have the key,
/// a colon and the class's name behind it: `p99`, `p99:slow`. The seed decides intervals alone.
pub fn summarise(
    arm: &str,
    workload: &str,
    classes: &[String],
    trials: &[Observed],
    seed: u64,
) -> Cell {
    let mut figures = Figures { trials, seed, map: BTreeMap::new() };
    let mut curves = Vec::new();
    for (class, name) in classes.iter().enumerate() {
        let suffix = if class == 0 { String::new() } else { format!(":{name}") };
        let latencies: Vec<_> =
            trials.iter().filter_map(|trial| Latencies::of(trial, class)).collect();
        figures.add_latencies(&suffix, class, &latencies);
        figures.add_bound(&suffix, class);
        figures.add_waits(&suffix, class);
        curves.extend(Latencies::together(latencies.iter()).map(|all| all.curve(name)));
    }
    let workers: Vec<_> = trials.iter().map(shares).collect();
    figures.add_throughput();
    figures.add_spreads(&workers);
    figures.add_placement();
    figures.add_costs();
    let trials = trials.iter().zip(workers).map(|(trial, workers)| summed_up(trial, workers));
    Cell {
        arm: arm.to_owned(),
        workload: workload.to_owned(),
        figures: figures.map,
        curves,
        trials: trials.collect(),
    }
}

/// Something that has a number.
type Value<Of> = fn(&Of) -> f64;

/// Figures as they come together.
struct Figures<'a> {
    trials: &'a [Observed],
    seed: u64,
    map: BTreeMap<String, Figure>,
}

impl Figures<'_> {
    /// A figure by its values in repetitions, and what all have together. Without values there is
    /// none.
    fn add(&mut self, key: String, of_trials: Vec<f64>, together: Option<Interval>) {
        let Some(of_repetitions) = of_repetitions(&of_trials, self.seed) else { return };
        let are_enough = of_trials.len() >= REPETITIONS_LEAST;
        let found = together.filter(|_| !are_enough).unwrap_or(of_repetitions);
        let all = of_trials.iter().copied().chain([found.value]);
        // A number that is none could not be written down, and would mean nothing.
        if all.into_iter().all(f64::is_finite) {
            let (low, high) = found.ends.unzip();
            self.map.insert(key, Figure { value: found.value, low, high, of_trials });
        }
    }

    /// Adds a figure that only repetitions have.
    fn add_each(&mut self, key: &str, value: impl Fn(&Observed) -> Option<f64>) {
        let of_trials = self.trials.iter().filter_map(value).collect();
        self.add(key.to_owned(), of_trials, None);
    }

    /// Whether blocks of time are drawn: from too few repetitions, all of whose samples are there.
    fn has_blocks(&self) -> bool {
        let is_whole =
            |trial: &Observed| !trial.samples.is_empty() && trial.report.samples_dropped == 0;
        self.trials.len() < REPETITIONS_LEAST && self.trials.iter().all(is_whole)
    }

    fn block_count(&self) -> usize {
        self.trials.len() * BLOCKS_PER_REPETITION
    }

    fn add_latencies(&mut self, suffix: &str, class: usize, of_trials: &[Latencies]) {
        let latency = |sample: &Sample| Some(sample.answered.0.saturating_sub(sample.due.0));
        let names = ["p50", "p90", "p99", "p999"];
        self.add_percentiles(
            &names.map(|name| format!("{name}{suffix}")),
            class,
            of_trials,
            latency,
        );
        let of_each = |value: fn(&Latencies) -> f64| of_trials.iter().map(value).collect();
        let longest: Vec<f64> = of_each(Latencies::max_ms);
        // A maximum has no interval: what was not seen cannot be drawn. But it has a value.
        let value = longest.iter().copied().fold(0.0, f64::max);
        let together = Interval { value, ends: None };
        self.add(format!("max{suffix}"), longest, Some(together));
        self.add_mean(format!("mean{suffix}"), class, of_trials, latency);
    }

    fn add_waits(&mut self, suffix: &str, class: usize) {
        let is_own = |sample: &Sample| usize::from(sample.class) == class;
        let own = || self.trials.iter().flat_map(|trial| &trial.samples).filter(|one| is_own(one));
        if own().all(|sample| sample.service.is_zero()) {
            return;
        }
        let within = |trial: &Observed, value: &dyn Fn(&Sample) -> u64| {
            let (from, to) = trial.measured;
            let due = trial.samples.iter();
            let due = due.filter(|sample| is_own(sample) && (from..to).contains(&sample.due));
            Latencies::exact(due.map(value).collect())
        };
        let waits: Vec<_> =
            self.trials.iter().filter_map(|trial| within(trial, &wait_ns)).collect();
        let names = ["wait_p50", "wait_p90", "wait_p99", "wait_p999"];
        let names = names.map(|name| format!("{name}{suffix}"));
        self.add_percentiles(&names, class, &waits, |sample| Some(wait_ns(sample)));
        self.add_mean(format!("wait_mean{suffix}"), class, &waits, |sample| Some(wait_ns(sample)));
        let services: Vec<_> =
            self.trials.iter().filter_map(|trial| within(trial, &service_ns)).collect();
        for (name, share) in [("service_p50", 0.5), ("service_p99", 0.99)] {
            let of_trials = services.iter().map(|one| one.at_ms(share)).collect();
            self.add(format!("{name}{suffix}"), of_trials, None);
        }
    }

    /// The four percentiles under these keys.
    fn add_percentiles(
        &mut self,
        keys: &[String; 4],
        class: usize,
        of_trials: &[Latencies],
        value: impl Fn(&Sample) -> Option<u64>,
    ) {
        let ends = if self.has_blocks() {
            let own = |sample: &Sample| {
                (usize::from(sample.class) == class).then(|| value(sample)).flatten()
            };
            let blocks = Blocks::new(values_in_blocks(self.trials, own), self.block_count());
            blocks.percentiles(&SHARES, self.seed)
        } else {
            vec![None; SHARES.len()]
        };
        let all = Latencies::together(of_trials.iter());
        for ((key, share), ends) in keys.iter().zip(SHARES).zip(ends) {
            let ends = ends.map(|(low, high)| (low / 1e6, high / 1e6));
            let together = all.as_ref().map(|all| around(all.at_ms(share), ends));
            let values = of_trials.iter().map(|one| one.at_ms(share)).collect();
            self.add(key.clone(), values, together);
        }
    }

    fn add_mean(
        &mut self,
        key: String,
        class: usize,
        of_trials: &[Latencies],
        value: impl Fn(&Sample) -> Option<u64>,
    ) {
        let together = self.has_blocks().then(|| {
            let mut sums = vec![(0.0, 0.0); self.block_count()];
            let own = |sample: &Sample| {
                (usize::from(sample.class) == class).then(|| value(sample)).flatten()
            };
            for (ns, block) in values_in_blocks(self.trials, own) {
                sums[block].0 += ns as f64 / 1e6;
                sums[block].1 += 1.0;
            }
            self.quotient(&sums)
        });
        let values = of_trials.iter().map(Latencies::mean_ms).collect();
        self.add(key, values, together.flatten());
    }

    fn add_bound(&mut self, suffix: &str, class: usize) {
        let counts = |trial: &Observed| {
            let bound_ns = u64::try_from(trial.bound?.as_nanos()).unwrap_or(u64::MAX);
            let due = trial.report.classes.get(class)?.due_measured;
            let within = Latencies::of(trial, class).map_or(0, |all| all.count_within(bound_ns));
            (due > 0).then_some((within as f64, due as f64))
        };
        self.add_each(&format!("within_bound{suffix}"), |trial| {
            counts(trial).map(|(within, due)| within / due * 100.0)
        });
        self.add_each(&format!("throughput_within_bound{suffix}"), |trial| {
            let seconds = measured_s(trial);
            counts(trial).filter(|_| seconds > 0.0).map(|(within, _)| within / seconds)
        });
    }

    fn add_throughput(&mut self) {
        let of_trials: Vec<f64> = self
            .trials
            .iter()
            .filter(|trial| measured_s(trial) > 0.0)
            .map(|trial| answered_measured(trial) as f64 / measured_s(trial))
            .collect();
        let together = self.has_blocks().then(|| {
            let mut counts = Vec::with_capacity(self.block_count());
            for trial in self.trials {
                let mut own = vec![
                    (0.0, measured_s(trial) / BLOCKS_PER_REPETITION as f64);
                    BLOCKS_PER_REPETITION
                ];
                let blocks = trial.samples.iter();
                let blocks = blocks.filter_map(|one| block_of(one.answered, trial.measured));
                blocks.for_each(|block| own[block].0 += 1.0);
                counts.extend(own);
            }
            self.quotient(&counts)
        });
        self.add("throughput".to_owned(), of_trials, together.flatten());
        self.add_each("failed", |trial| {
            let due: u64 = trial.report.classes.iter().map(|class| class.due_measured).sum();
            let failed = trial.report.failures_measured().sum();
            (due > 0).then(|| failed as f64 / due as f64 * 100.0)
        });
    }

    /// The sum of the one over the sum of the other.
    fn quotient(&self, blocks: &[(f64, f64)]) -> Option<Interval> {
        let (above, below) =
            blocks.iter().fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        (below > 0.0).then(|| around(above / below, quotient(blocks, self.seed)))
    }

    fn add_spreads(&mut self, workers: &[Vec<WorkerShare>]) {
        let things: [(&str, Value<WorkerShare>); 3] = [
            ("connections", |share| share.connections as f64),
            ("requests", |share| share.requests as f64),
            ("busy", |share| share.busy_s),
        ];
        for (thing, value) in things {
            let spreads = workers
                .iter()
                .filter_map(|shares| Spread::of(&shares.iter().map(value).collect::<Vec<_>>()));
            let spreads: Vec<_> = spreads.collect();
            let kinds: [(&str, Value<Spread>); 3] = [
                ("jain", |spread| spread.jain),
                ("cv", |spread| spread.variation),
                ("max_over_mean", |spread| spread.max_over_mean),
            ];
            for (kind, value) in kinds {
                let of_trials = spreads.iter().map(value).collect();
                self.add(format!("{kind}_of_{thing}"), of_trials, None);
            }
        }
    }

    fn add_placement(&mut self) {
        let violations: Vec<_> = self.trials.iter().filter_map(violation).collect();
        let shares = violations.iter().map(|one| one.share * 100.0).collect();
        self.add("idle_while_queued".to_owned(), shares, None);
        let seconds = violations.iter().map(|one| one.place_seconds).collect();
        self.add("idle_while_queued_s".to_owned(), seconds, None);
        self.add_each("wrong_in_hindsight", |trial| wrong_share(trial).map(|share| share * 100.0));
        self.add_each("late", |trial| late_share(trial).map(|share| share * 100.0));
        self.add_each("lag_p99", |trial| {
            let lag = &trial.report.lag;
            (!lag.is_empty()).then(|| lag.value_at_quantile(0.99) as f64 / 1e6)
        });
    }

    fn add_costs(&mut self) {
        let mut of_trials: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for (key, value) in self.trials.iter().flat_map(costs) {
            of_trials.entry(key).or_default().push(value);
        }
        for (key, values) in of_trials {
            self.add(key.to_owned(), values, None);
        }
    }
}

/// One repetition, for whoever wants to see how it went.
fn summed_up(trial: &Observed, workers: Vec<WorkerShare>) -> Trial {
    let classes = trial.report.classes.len();
    let latencies = (0..classes).filter_map(|class| Latencies::of(trial, class));
    let failures = trial.report.failures_measured();
    let named = failures.iter().map(|(kind, count)| (kind.explanation().to_owned(), count));
    Trial {
        repetition: trial.repetition,
        place: trial.place,
        due: trial.report.classes.iter().map(|class| class.due_measured).sum(),
        answered: latencies.map(|latencies| latencies.count()).sum(),
        failures: named.collect(),
        lag_p99_ms: trial.report.lag_at(0.99).as_secs_f64() * 1e3,
        workers,
        timelines: timelines(trial),
    }
}

/// A value and its interval, which drawing groups of values may have put a little beside it.
fn around(value: f64, ends: Option<(f64, f64)>) -> Interval {
    Interval { value, ends: ends.map(|(low, high)| (low.min(value), high.max(value))) }
}

fn service_ns(sample: &Sample) -> u64 {
    u64::try_from(sample.service.as_nanos()).unwrap_or(u64::MAX)
}

fn measured_s(trial: &Observed) -> f64 {
    trial.measured.1.since(trial.measured.0).as_secs_f64()
}

fn answered_measured(trial: &Observed) -> u64 {
    trial.report.classes.iter().map(|class| class.answered_measured).sum()
}
