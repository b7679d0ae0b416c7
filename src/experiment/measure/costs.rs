//! What a server used, for each request and each connection.
//!
//! Usage is of the measured time, and so are the requests that it is divided by: those answered in
//! it. What one costs that was begun before is in it, and what one costs that ends behind it is
//! not; over thousands that is nothing.
//!
//! Not here: reading usage from the system (`run`).

use crate::experiment::measure::observed::{Observed, ProcessUsage};

/// Connections for each request, below which CPU time for each connection says nothing about
/// connections.
const CONNECTIONS_SHARE_LEAST: f64 = 0.01;

/// The share of a core that a master must have used before its ceiling is computed from it: one
/// that does nothing for each connection has none.
const UTILISATION_LEAST: f64 = 0.01;

/// Figures by key, each of one repetition; what cannot be had is absent.
pub(super) fn costs(trial: &Observed) -> Vec<(&'static str, f64)> {
    let seconds = trial.measured.1.since(trial.measured.0).as_secs_f64();
    let connections = trial.report.opened_measured as f64;
    let requests: u64 = trial.report.classes.iter().map(|class| class.answered_measured).sum();
    let requests = requests as f64;
    let mut costs = Vec::new();
    if seconds > 0.0 && connections > 0.0 {
        costs.push(("connections_per_s", connections / seconds));
    }
    let Some(usage) = &trial.usage else { return costs };
    costs.push(("others_share", usage.others_share * 100.0));
    let master = usage.master;
    let workers = usage.workers.iter().copied().fold(ProcessUsage::default(), sum);
    let both = sum(master, workers);
    let us = |usage: ProcessUsage| usage.cpu.as_secs_f64() * 1e6;
    if requests > 0.0 {
        costs.push(("cpu_us_per_request", us(both) / requests));
        costs.push(("master_cpu_us_per_request", us(master) / requests));
        costs.push(("worker_cpu_us_per_request", us(workers) / requests));
        let each = |count: u64| count as f64 / requests;
        costs.push(("voluntary_switches_per_request", each(both.voluntary_switches)));
        costs.push(("involuntary_switches_per_request", each(both.involuntary_switches)));
        costs.push(("master_switches_per_request", each(master.voluntary_switches)));
    }
    let says_something = connections >= (requests * CONNECTIONS_SHARE_LEAST).max(1.0);
    if says_something {
        costs.push(("cpu_us_per_connection", us(both) / connections));
        costs.push(("master_cpu_us_per_connection", us(master) / connections));
        costs.push(("worker_cpu_us_per_connection", us(workers) / connections));
    }
    let elapsed = usage.elapsed.as_secs_f64();
    if elapsed > 0.0 {
        let utilisation = master.cpu.as_secs_f64() / elapsed;
        costs.push(("master_utilisation", utilisation * 100.0));
        if says_something && seconds > 0.0 && utilisation >= UTILISATION_LEAST {
            costs.push(("master_ceiling", connections / seconds / utilisation));
        }
    }
    costs
}

fn sum(one: ProcessUsage, two: ProcessUsage) -> ProcessUsage {
    ProcessUsage {
        cpu: one.cpu.saturating_add(two.cpu),
        voluntary_switches: one.voluntary_switches.saturating_add(two.voluntary_switches),
        involuntary_switches: one.involuntary_switches.saturating_add(two.involuntary_switches),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::experiment::measure::made::trial;
    use crate::experiment::measure::observed::Usage;

    const SECOND: u64 = 1_000_000_000;

    fn used(cpu_ms: u64, voluntary_switches: u64) -> ProcessUsage {
        ProcessUsage {
            cpu: Duration::from_millis(cpu_ms),
            voluntary_switches,
            involuntary_switches: 5,
        }
    }

    fn found(answered: u64, opened: u64, usage: Option<Usage>) -> BTreeMap<&'static str, f64> {
        let mut trial = trial(Vec::new(), (0, 2 * SECOND), (2, 1));
        trial.report.classes[0].answered_measured = answered;
        trial.report.opened_measured = opened;
        trial.usage = usage;
        costs(&trial).into_iter().collect()
    }

    fn usage() -> Usage {
        Usage {
            elapsed: Duration::from_secs(2),
            master: used(200, 1000),
            workers: vec![used(500, 2000), used(300, 1000)],
            others_share: 0.02,
        }
    }

    #[test]
    fn costs_are_for_each() {
        let found = found(10_000, 5000, Some(usage()));
        for (key, expected) in [
            ("cpu_us_per_request", 100.0),
            ("master_cpu_us_per_request", 20.0),
            ("worker_cpu_us_per_request", 80.0),
            ("cpu_us_per_connection", 200.0),
            ("master_cpu_us_per_connection", 40.0),
            ("worker_cpu_us_per_connection", 160.0),
            ("voluntary_switches_per_request", 0.4),
            ("involuntary_switches_per_request", 0.0015),
            ("master_switches_per_request", 0.1),
            ("master_utilisation", 10.0),
            ("connections_per_s", 2500.0),
            // A tenth of a core for 2500 a second.
            ("master_ceiling", 25_000.0),
            ("others_share", 2.0),
        ] {
            assert!((found[key] - expected).abs() < 1e-9, "{key}: {}", found[key]);
        }
        assert_eq!(found.len(), 13);
    }

    #[test]
    fn kept_connections_have_no_cost_of_their_own() {
        let found = found(10_000, 50, Some(usage()));
        assert!(!found.contains_key("cpu_us_per_connection"));
        assert!(!found.contains_key("master_ceiling"));
    }

    #[test]
    fn an_idle_master_has_no_ceiling() {
        let idle = Usage { master: used(10, 1), ..usage() };
        assert!(!found(10_000, 10_000, Some(idle)).contains_key("master_ceiling"));
    }

    #[test]
    fn nothing_is_divided_by_nothing() {
        let none = Usage { elapsed: Duration::ZERO, ..usage() };
        assert_eq!(found(0, 0, Some(none)).into_keys().collect::<Vec<_>>(), ["others_share"]);
        assert!(found(10, 0, None).is_empty());
    }
}
