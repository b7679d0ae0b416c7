//! What each worker had in a repetition.
//!
//! Every worker that there is stands in it, also one that had nothing: it is what makes a spread
//! uneven. Where the server does not say who answered, there is nothing.
//!
//! Not here: how even that is (`fairness`).

use std::collections::{BTreeMap, HashMap};

use crate::experiment::measure::observed::Observed;
use crate::experiment::report::schema::WorkerShare;

/// By worker, in the order of slots.
///
/// A connection counts where its first answer came from, if it carried a request that was due in
/// the measured time. Without samples there are only requests, and the warm-up's are among them.
pub(super) fn shares(trial: &Observed) -> Vec<WorkerShare> {
    let mut shares: BTreeMap<u16, WorkerShare> = BTreeMap::new();
    let (from, to) = trial.measured;
    // The worker of a connection's first answer; none once it has been counted.
    let mut first: HashMap<u32, Option<u16>> = HashMap::new();
    for sample in &trial.samples {
        let Some(worker) = sample.worker else { continue };
        let seated = first.entry(sample.connection).or_insert(Some(worker));
        if !(from..to).contains(&sample.due) {
            continue;
        }
        if let Some(seated) = seated.take() {
            shares.entry(seated).or_default().connections += 1;
        }
        let share = shares.entry(worker).or_default();
        share.requests += 1;
        share.busy_s += sample.service.as_secs_f64();
    }
    if trial.samples.is_empty() {
        for (&worker, &count) in trial.report.classes.iter().flat_map(|class| &class.by_worker) {
            shares.entry(worker).or_default().requests += count;
        }
    }
    if shares.is_empty() {
        return Vec::new();
    }
    for worker in 0..trial.capacity.workers {
        shares.entry(worker).or_default();
    }
    let usage = trial.usage.as_ref();
    let named = shares.into_iter().map(|(worker, share)| {
        let used = usage.and_then(|usage| usage.workers.get(usize::from(worker)));
        WorkerShare {
            worker: u32::from(worker),
            cpu_s: used.map(|used| used.cpu.as_secs_f64()),
            ..share
        }
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::experiment::load::sample::Sample;
    use crate::experiment::measure::made::trial;
    use crate::time::Nanos;

    #[test]
    fn a_connection_counts_once_and_where_it_began() {
        let sample = |connection, due, worker| Sample {
            class: 0,
            connection,
            due: Nanos(due),
            sent: Nanos(due),
            answered: Nanos(due + 10),
            service: Duration::from_secs(1),
            worker: Some(worker),
        };
        // Connection 0 began at worker 2 in the warm-up, connection 9 ended there.
        let samples = vec![
            sample(0, 50, 2),
            sample(9, 60, 0),
            sample(0, 100, 1),
            sample(1, 110, 1),
            sample(0, 120, 1),
        ];
        let found = shares(&trial(samples, (100, 200), (4, 1)));
        let counts: Vec<_> =
            found.iter().map(|one| (one.worker, one.connections, one.requests)).collect();
        assert_eq!(counts, [(0, 0, 0), (1, 1, 3), (2, 1, 0), (3, 0, 0)]);
        assert_eq!(found[1].busy_s, 3.0);
    }

    #[test]
    fn without_samples_there_are_requests_alone() {
        let mut trial = trial(Vec::new(), (100, 200), (2, 1));
        assert!(shares(&trial).is_empty());
        trial.report.classes[0].by_worker.insert(1, 7);
        let found = shares(&trial);
        assert_eq!((found[0].requests, found[1].requests), (0, 7));
    }
}
