//! How a repetition went, in equal steps of its measured time.
//!
//! | timeline | of | each value is |
//! |---|---|---|
//! | `requests in service` | each worker | the mean over its step |
//! | `requests in flight` | each worker, where no service was asked for | the mean: sent and not answered |
//! | `connections` | each worker | the mean: from a connection's first request to its last answer, where it was answered last |
//! | `requests waiting` | all | the mean: sent and not begun |
//! | `p99` | the first class | of the requests that were due in its step; 0 without any |
//!
//! Not here: figures for the whole of it (`summary`).

use std::collections::HashMap;

use crate::experiment::load::sample::Sample;
use crate::experiment::measure::conservation::is_traceable;
use crate::experiment::measure::observed::Observed;
use crate::experiment::measure::statistics::percentile;
use crate::experiment::measure::waits::begun;
use crate::experiment::report::schema::Timeline;
use crate::time::Nanos;

/// Steps of a repetition: as many as a picture has room for.
const STEPS: usize = 100;

/// Workers that have timelines of their own; more lines are told apart by nobody.
const WORKERS_MAX: usize = 64;

/// All timelines of a repetition; none without samples.
pub(super) fn timelines(trial: &Observed) -> Vec<Timeline> {
    let steps = Steps::of(trial.measured);
    if trial.samples.is_empty() || steps.length_s() <= 0.0 {
        return Vec::new();
    }
    let mut timelines = vec![steps.timeline("p99", None, "ms", percentiles(trial, steps))];
    if trial.samples.iter().any(|sample| !sample.service.is_zero()) {
        let waiting = trial.samples.iter().map(|sample| (sample.sent, begun(sample)));
        timelines.push(steps.timeline("requests waiting", None, "requests", steps.means(waiting)));
    }
    if trial.samples.iter().all(|sample| sample.worker.is_none()) {
        return timelines;
    }
    // What was asked for says when it was begun; otherwise only where it was is known.
    let (name, from): (_, fn(&Sample) -> Nanos) = if is_traceable(trial) {
        ("requests in service", begun)
    } else {
        ("requests in flight", |sample| sample.sent)
    };
    let served = trial.samples.iter().map(|one| (one.worker, from(one), one.answered));
    timelines.extend(by_worker(name, "requests", steps, trial, served));
    let seated = seated(&trial.samples);
    timelines.extend(by_worker("connections", "connections", steps, trial, seated.into_iter()));
    timelines
}

/// A timeline for each worker, of what it had from when to when.
fn by_worker(
    name: &str,
    unit: &str,
    steps: Steps,
    trial: &Observed,
    had: impl Iterator<Item = (Option<u16>, Nanos, Nanos)>,
) -> Vec<Timeline> {
    let count = usize::from(trial.capacity.workers).min(WORKERS_MAX);
    let mut times = vec![Vec::new(); count];
    for (worker, from, to) in had {
        let own = worker.and_then(|worker| times.get_mut(usize::from(worker)));
        own.into_iter().for_each(|own| own.push((from, to)));
    }
    let numbered = times.into_iter().zip(0..);
    let timelines = numbered.map(|(times, worker)| {
        steps.timeline(name, Some(worker), unit, steps.means(times.into_iter()))
    });
    timelines.collect()
}

/// Where each connection was, from when to when: with whom answered it last. Before the first
/// answer it was with whom gave it.
fn seated(samples: &[Sample]) -> Vec<(Option<u16>, Nanos, Nanos)> {
    let mut last: HashMap<u32, &Sample> = HashMap::new();
    let mut seated = Vec::new();
    for sample in samples {
        match last.insert(sample.connection, sample) {
            Some(before) => seated.push((before.worker, before.answered, sample.answered)),
            None => seated.push((sample.worker, sample.sent, sample.answered)),
        }
    }
    seated
}

fn percentiles(trial: &Observed, steps: Steps) -> Vec<f64> {
    let mut values = vec![Vec::new(); STEPS];
    for sample in trial.samples.iter().filter(|sample| sample.class == 0) {
        if let Some(step) = steps.step_of(sample.due) {
            values[step].push(sample.answered.0.saturating_sub(sample.due.0));
        }
    }
    let of_step = |mut values: Vec<u64>| {
        values.sort_unstable();
        percentile(&values, 0.99).map_or(0.0, |ns| ns as f64 / 1e6)
    };
    values.into_iter().map(of_step).collect()
}

/// Equal steps from one moment to another.
#[derive(Clone, Copy, Debug)]
struct Steps {
    from: Nanos,
    to: Nanos,
}

impl Steps {
    fn of((from, to): (Nanos, Nanos)) -> Steps {
        Steps { from, to }
    }

    fn length_s(self) -> f64 {
        self.to.since(self.from).as_secs_f64() / STEPS as f64
    }

    fn step_of(self, at: Nanos) -> Option<usize> {
        let is_within = (self.from..self.to).contains(&at);
        is_within.then(|| (self.place(at) as usize).min(STEPS - 1))
    }

    /// How many steps lie before a moment.
    fn place(self, at: Nanos) -> f64 {
        at.since(self.from).as_secs_f64() / self.length_s()
    }

    /// How many of these times cover a moment, in the mean over each step.
    fn means(self, times: impl Iterator<Item = (Nanos, Nanos)>) -> Vec<f64> {
        // By where times begin and end: a long one costs no more than a short one. `whole` is what
        // changes for all later steps, `part` for its own step alone.
        let (mut whole, mut part) = (vec![0.0; STEPS + 1], vec![0.0; STEPS + 1]);
        let mut change = |at: Nanos, by: f64| {
            let place = self.place(at.clamp(self.from, self.to));
            let step = (place as usize).min(STEPS);
            part[step] += by * (1.0 - place.fract());
            whole[(step + 1).min(STEPS)] += by;
        };
        for (from, to) in times.filter(|(from, to)| from < to) {
            change(from, 1.0);
            change(to, -1.0);
        }
        let mut standing = 0.0;
        let means = whole.iter().zip(&part).take(STEPS).map(|(whole, part)| {
            standing += whole;
            // Rounding may leave a little below zero.
            f64::max(standing + part, 0.0)
        });
        means.collect()
    }

    fn timeline(self, name: &str, worker: Option<u32>, unit: &str, values: Vec<f64>) -> Timeline {
        Timeline {
            name: name.to_owned(),
            worker,
            unit: unit.to_owned(),
            step_s: self.length_s(),
            values,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::experiment::measure::made::trial;

    /// A step is 10 ns.
    const MEASURED: (u64, u64) = (1000, 2000);

    fn sample(connection: u32, worker: u16, sent: u64, begun: u64, answered: u64) -> Sample {
        Sample {
            class: 0,
            connection,
            due: Nanos(sent),
            sent: Nanos(sent),
            answered: Nanos(answered),
            service: Duration::from_nanos(answered - begun),
            worker: Some(worker),
        }
    }

    fn line<'a>(timelines: &'a [Timeline], name: &str, worker: Option<u32>) -> &'a [f64] {
        let mut found = timelines.iter().filter(|one| one.name == name && one.worker == worker);
        &found.next().expect("a timeline").values
    }

    fn near(found: &[f64], expected: &[f64]) -> bool {
        found.iter().zip(expected).all(|(one, two)| (one - two).abs() < 1e-9)
    }

    #[test]
    fn means_are_shares_of_steps() {
        let steps = Steps::of((Nanos(MEASURED.0), Nanos(MEASURED.1)));
        let means = |times: &[(u64, u64)]| {
            steps.means(times.iter().map(|&(from, to)| (Nanos(from), Nanos(to))))
        };
        assert!(near(&means(&[(1005, 1025)]), &[0.5, 1.0, 0.5, 0.0]));
        assert!(near(&means(&[(1002, 1004), (1000, 1010)]), &[1.2, 0.0]));
        // From before the first step until behind the last.
        assert!(near(&means(&[(0, 5000)]), &[1.0; STEPS]));
        assert!(near(&means(&[(0, 900), (2100, 2200), (1500, 1500)]), &[0.0; STEPS]));
        assert_eq!(means(&[(0, 5000)]).len(), STEPS);
    }

    /// However times lie, the means add up to the time that they have in common with the steps.
    #[test]
    fn nothing_is_lost_between_steps() {
        let steps = Steps::of((Nanos(MEASURED.0), Nanos(MEASURED.1)));
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..200 {
            let (from, to) = (rng.u64(0..2500), rng.u64(0..2500));
            let found: f64 = steps.means([(Nanos(from), Nanos(to))].into_iter()).iter().sum();
            let expected = to.clamp(1000, 2000).saturating_sub(from.clamp(1000, 2000));
            assert!((found * 10.0 - expected as f64).abs() < 1e-6, "{from} {to}: {found}");
        }
    }

    #[test]
    fn a_repetition_is_drawn_over_time() {
        // Waits for one step, is served for two; then the connection moves to worker 1.
        let samples = vec![sample(0, 0, 1000, 1010, 1030), sample(0, 1, 1050, 1050, 1060)];
        let found = timelines(&trial(samples, MEASURED, (2, 1)));
        assert!(near(line(&found, "requests waiting", None), &[1.0, 0.0, 0.0, 0.0]));
        let served = line(&found, "requests in service", Some(0));
        assert!(near(served, &[0.0, 1.0, 1.0, 0.0]));
        assert!(near(&line(&found, "requests in service", Some(1))[4..], &[0.0, 1.0, 0.0]));
        let at_first = line(&found, "connections", Some(0));
        assert!(near(at_first, &[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]));
        assert!(near(&line(&found, "p99", None)[..6], &[3e-5, 0.0, 0.0, 0.0, 0.0, 1e-5]));
        assert!(found.iter().all(|one| one.values.len() == STEPS && one.step_s == 1e-8));
    }

    #[test]
    fn without_services_requests_are_in_flight() {
        let samples = vec![Sample { service: Duration::ZERO, ..sample(0, 0, 1000, 1000, 1030) }];
        let found = timelines(&trial(samples, MEASURED, (1, 1)));
        assert!(near(line(&found, "requests in flight", Some(0)), &[1.0, 1.0, 1.0, 0.0]));
        let nobody = vec![Sample { worker: None, ..sample(0, 0, 1000, 1010, 1030) }];
        let names: Vec<_> = timelines(&trial(nobody, MEASURED, (1, 1)));
        assert_eq!(names.len(), 2);
        assert!(timelines(&trial(Vec::new(), MEASURED, (1, 1))).is_empty());
    }
}
