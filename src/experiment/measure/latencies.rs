//! Latencies of one class in one repetition, or in all: percentiles, and the curve of them.
//!
//! From samples they are exact, so that `--raw` rows give the same figures. Without samples, or
//! where some were dropped, they are the generator's histogram, to three digits.
//!
//! Not here: what part of a latency is waiting (`waits`).

use hdrhistogram::Histogram;

use crate::experiment::measure::observed::Observed;
use crate::experiment::measure::statistics::percentile;
use crate::experiment::report::schema::Curve;

/// Points of a curve for each power of ten of 1 / (1 - share).
const POINTS_PER_DECADE: u32 = 20;

/// Nanoseconds in a millisecond.
const MS: f64 = 1e6;

/// Latencies, in nanoseconds.
#[derive(Clone, Debug)]
pub(super) enum Latencies {
    /// Each of them, ascending.
    Exact(Vec<u64>),
    /// To three digits.
    Histogram(Histogram<u64>),
}

impl Latencies {
    /// Those of one class that were due in the measured time; none where nothing was kept.
    pub(super) fn of(trial: &Observed, class: usize) -> Option<Latencies> {
        let is_whole = !trial.samples.is_empty() && trial.report.samples_dropped == 0;
        if !is_whole {
            let histogram = &trial.report.classes.get(class)?.latency;
            return (!histogram.is_empty()).then(|| Latencies::Histogram(histogram.clone()));
        }
        let (from, to) = trial.measured;
        let own = trial.samples.iter().filter(|sample| {
            usize::from(sample.class) == class && (from..to).contains(&sample.due)
        });
        let values = own.map(|sample| sample.answered.0.saturating_sub(sample.due.0));
        Latencies::exact(values.collect())
    }

    /// These values; none of nothing.
    pub(super) fn exact(mut values: Vec<u64>) -> Option<Latencies> {
        values.sort_unstable();
        (!values.is_empty()).then_some(Latencies::Exact(values))
    }

    /// All of them together; none of nothing. One that is a histogram makes all one.
    pub(super) fn together<'a>(all: impl Iterator<Item = &'a Latencies>) -> Option<Latencies> {
        let mut all = all.cloned();
        let first = all.next()?;
        Some(all.fold(first, |sum, one| match (sum, one) {
            (Latencies::Exact(mut sum), Latencies::Exact(one)) => {
                sum.extend(one);
                // Ascending runs, which a stable sort finds and merges.
                sum.sort();
                Latencies::Exact(sum)
            }
            (Latencies::Histogram(histogram), Latencies::Exact(values))
            | (Latencies::Exact(values), Latencies::Histogram(histogram)) => {
                let mut histogram = histogram;
                values.iter().for_each(|&value| histogram.saturating_record(value));
                Latencies::Histogram(histogram)
            }
            (Latencies::Histogram(mut sum), Latencies::Histogram(one)) => {
                // All generators' histograms have the same bounds; one from elsewhere would be
                // left out rather than spoil the rest.
                let _ = sum.add(one);
                Latencies::Histogram(sum)
            }
        }))
    }

    /// The milliseconds that this share did not exceed.
    pub(super) fn at_ms(&self, share: f64) -> f64 {
        let ns = match self {
            Latencies::Exact(values) => percentile(values, share).unwrap_or(0),
            Latencies::Histogram(histogram) => histogram.value_at_quantile(share),
        };
        ns as f64 / MS
    }

    /// The longest, in milliseconds.
    pub(super) fn max_ms(&self) -> f64 {
        self.at_ms(1.0)
    }

    /// In milliseconds.
    pub(super) fn mean_ms(&self) -> f64 {
        let ns = match self {
            Latencies::Exact(values) => {
                values.iter().map(|&value| value as f64).sum::<f64>() / values.len().max(1) as f64
            }
            Latencies::Histogram(histogram) => histogram.mean(),
        };
        ns / MS
    }

    /// How many.
    pub(super) fn count(&self) -> u64 {
        match self {
            Latencies::Exact(values) => values.len() as u64,
            Latencies::Histogram(histogram) => histogram.len(),
        }
    }

    /// How many did not exceed so many nanoseconds.
    pub(super) fn count_within(&self, bound_ns: u64) -> u64 {
        match self {
            Latencies::Exact(values) => values.partition_point(|&value| value <= bound_ns) as u64,
            Latencies::Histogram(histogram) => histogram.count_between(0, bound_ns),
        }
    }

    /// Percentiles at equal steps on the logarithmic axis of 1 / (1 - share), which gives each
    /// further nine as much room as the one before it; the longest at the end.
    pub(super) fn curve(&self, class: &str) -> Curve {
        let count = self.count() as f64;
        let shares = (0..)
            .map(|step| 1.0 - 10_f64.powf(-f64::from(step) / f64::from(POINTS_PER_DECADE)))
            .take_while(|share| (1.0 - share) * count > 1.0);
        let points = shares.map(|share| (share, self.at_ms(share)));
        let last = (1.0 - 1.0 / count.max(1.0), self.max_ms());
        Curve { class: class.to_owned(), points: points.chain([last]).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_ascends_to_the_longest() {
        let values: Vec<u64> = (1..=10_000).map(|ms| ms * 1_000_000).collect();
        let latencies = Latencies::exact(values).expect("values");
        let curve = latencies.curve("a");
        assert_eq!(curve.points.len(), 4 * POINTS_PER_DECADE as usize + 1);
        assert!(curve.points.is_sorted_by(|one, two| one.0 < two.0 && one.1 <= two.1));
        assert_eq!(curve.points[0], (0.0, 1.0));
        assert_eq!(curve.points.last(), Some(&(0.9999, 10_000.0)));
        let steps = POINTS_PER_DECADE as usize;
        assert!((curve.points[steps].0 - 0.9).abs() < 1e-9);
        assert_eq!(curve.points[steps].1, 9000.0);
        assert_eq!(latencies.mean_ms(), 5000.5);
        assert_eq!(latencies.count_within(5_000_000_000), 5000);
    }

    #[test]
    fn one_value_is_a_curve() {
        let curve = Latencies::exact(vec![2_000_000]).expect("a value").curve("a");
        assert_eq!(curve.points, [(0.0, 2.0)]);
    }

    #[test]
    fn exact_values_and_histograms_add_up() {
        let exact = |values: &[u64]| Latencies::exact(values.to_vec()).expect("values");
        let mut histogram = Histogram::new_with_max(1 << 40, 3).expect("three digits");
        histogram.saturating_record(2_000_000);
        let sum = Latencies::together([exact(&[3_000_000]), exact(&[1_000_000])].iter());
        let sum = sum.expect("values");
        assert_eq!((sum.at_ms(0.5), sum.max_ms(), sum.count()), (1.0, 3.0, 2));
        let mixed = [Latencies::Histogram(histogram), sum];
        let sum = Latencies::together(mixed.iter()).expect("values");
        assert_eq!(sum.count(), 3);
        assert!((sum.at_ms(0.5) - 2.0).abs() < 0.01 && (sum.mean_ms() - 2.0).abs() < 0.01);
        assert!(Latencies::together([].iter()).is_none());
    }
}
