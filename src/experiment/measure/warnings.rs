//! What a reader must know beside the figures, above all whether the generator kept its own times.
//!
//! A request is *late* if the generator turned to it later than a tenth of the median latency, and
//! later than 0.1 ms, which is what waking a process costs. A repetition with more than 1 % late
//! ones has measured the generator: its 99th percentile may be the generator's own. Lag is not taken
//! out of latencies, it is part of them; so such a repetition errs against the server, and alike for
//! all.
//!
//! Not here: the figures (`summary`).

use std::time::Duration;

use crate::experiment::measure::latencies::Latencies;
use crate::experiment::measure::observed::Observed;
use crate::experiment::report::schema::Warning;

/// A lag below this is no lag.
const LAG_LEAST: Duration = Duration::from_micros(100);

/// Of the median latency.
const LAG_SHARE: f64 = 0.1;

/// Of requests that may be late.
pub const LATE_SHARE_MAX: f64 = 0.01;

/// Of the machine's CPU time that others may take.
const OTHERS_SHARE_MAX: f64 = 0.05;

/// Of what is offered; below, a queue has grown from beginning to end.
const KEPT_UP_SHARE: f64 = 0.95;

/// The share of requests that the generator turned to late; none in a closed loop.
pub fn late_share(trial: &Observed) -> Option<f64> {
    let lag = &trial.report.lag;
    if lag.is_empty() {
        return None;
    }
    let median_ms = Latencies::of(trial, 0).map_or(0.0, |latencies| latencies.at_ms(0.5));
    let allowed = Duration::from_secs_f64(median_ms * LAG_SHARE / 1e3).max(LAG_LEAST);
    let allowed_ns = u64::try_from(allowed.as_nanos()).unwrap_or(u64::MAX);
    let punctual = lag.count_between(0, allowed_ns);
    Some(lag.len().saturating_sub(punctual) as f64 / lag.len() as f64)
}

/// Whether a repetition has measured the server, and not its client.
pub fn is_punctual(trial: &Observed) -> bool {
    late_share(trial).is_none_or(|share| share <= LATE_SHARE_MAX)
}

/// What a reader must know beside the figures of these repetitions.
pub fn warnings(arm: &str, workload: &str, trials: &[Observed]) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for trial in trials {
        let mut warn = |measure: Option<&str>, text: String| {
            warnings.push(Warning {
                arm: Some(arm.to_owned()),
                workload: Some(workload.to_owned()),
                measure: measure.map(str::to_owned),
                text: format!("repetition {}: {text}", trial.repetition + 1),
            });
        };
        if !trial.began_at_rest {
            let text = "the server had not come to rest when connections were opened: workers that \
                        came later may have none of them";
            warn(None, text.to_owned());
        }
        if let Some(share) = late_share(trial).filter(|&share| share > LATE_SHARE_MAX) {
            warn(
                None,
                format!(
                    "the generator was late for {:.1} % of the requests (lag p99 {:?}): latencies \
                     are its own, too",
                    share * 100.0,
                    trial.report.lag_at(0.99)
                ),
            );
        }
        let (due, answered, failures) = counts(trial);
        if failures.0 > 0 {
            let text = format!(
                "{} of {due} requests have no good answer ({}): percentiles are of the others",
                failures.0, failures.1
            );
            warn(Some("failed"), text);
        }
        let is_open_loop = !trial.report.lag.is_empty();
        if is_open_loop && (answered as f64) < due as f64 * KEPT_UP_SHARE {
            warn(
                Some("throughput"),
                format!(
                    "{answered} of {due} requests were answered in the measured time: the server \
                     did not keep up, and latencies grow with the length of the run"
                ),
            );
        }
        if trial.report.samples_dropped > 0 {
            let dropped = trial.report.samples_dropped;
            warn(None, format!("{dropped} answers are in no sample: too many for memory"));
        }
        let others = trial.usage.as_ref().map_or(0.0, |usage| usage.others_share);
        if others > OTHERS_SHARE_MAX {
            warn(None, format!("others took {:.0} % of the machine", others * 100.0));
        }
    }
    warnings
}

/// Of the measured time: due, answered, and how many failed in which ways.
fn counts(trial: &Observed) -> (u64, u64, (u64, String)) {
    let classes = &trial.report.classes;
    let due = classes.iter().map(|class| class.due_measured).sum();
    let answered = classes.iter().map(|class| class.answered_measured).sum();
    let failures = trial.report.failures_measured();
    (due, answered, (failures.sum(), failures.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::load::Failure;
    use crate::experiment::measure::made::trial;
    use crate::experiment::measure::observed::Usage;

    const MS: u64 = 1_000_000;

    /// A hundred requests of this latency, of which some were turned to so late.
    fn lagging(latency_ms: u64, late: u64, lag_us: u64) -> Observed {
        let mut trial = trial(Vec::new(), (0, 1000 * MS), (2, 1));
        let class = &mut trial.report.classes[0];
        class.latency.saturating_record_n(latency_ms * MS, 100);
        (class.due_measured, class.answered_measured) = (100, 100);
        trial.report.lag.saturating_record_n(10_000, 100 - late);
        trial.report.lag.saturating_record_n(lag_us * 1000, late);
        trial
    }

    #[test]
    fn lag_is_measured_by_what_it_disturbs() {
        // A tenth of 100 ms is much, a tenth of 0.1 ms less than a wake-up.
        assert_eq!(late_share(&lagging(100, 5, 9000)), Some(0.0));
        assert_eq!(late_share(&lagging(100, 5, 11_000)), Some(0.05));
        assert_eq!(late_share(&lagging(0, 5, 90)), Some(0.0));
        assert_eq!(late_share(&lagging(0, 5, 150)), Some(0.05));
        assert!(is_punctual(&lagging(1, 1, 5000)) && !is_punctual(&lagging(1, 2, 5000)));
        // A closed loop has no times to keep.
        let closed = trial(Vec::new(), (0, MS), (1, 1));
        assert!(late_share(&closed).is_none() && is_punctual(&closed));
    }

    #[test]
    fn what_takes_something_away_from_figures_is_said() {
        assert!(warnings("a", "w", &[lagging(1, 0, 0)]).is_empty());
        let mut trial = lagging(1, 50, 5000);
        (trial.repetition, trial.began_at_rest) = (2, false);
        trial.report.samples_dropped = 7;
        let class = &mut trial.report.classes[0];
        class.answered_measured = 90;
        class.failures_measured.note(Failure::TimedOut);
        trial.usage = Some(Usage { others_share: 0.2, ..Usage::default() });
        let found = warnings("a", "w", &[trial]);
        let texts: Vec<_> = found.iter().map(|warning| warning.text.as_str()).collect();
        for (text, expected) in texts.iter().zip([
            "had not come to rest",
            "late for 50.0 %",
            "1 of 100 requests have no good answer (1 too late)",
            "90 of 100",
            "7 answers",
            "others took 20 %",
        ]) {
            assert!(text.starts_with("repetition 3: ") && text.contains(expected), "{text}");
        }
        assert_eq!(texts.len(), 6);
        assert_eq!((found[0].arm.as_deref(), found[0].workload.as_deref()), (Some("a"), Some("w")));
    }
}
