//! Percentiles, medians, and how sure a figure is.
//!
//! Requests of one moment are not independent: one stall delays all that are due in it. So single
//! requests are never drawn again to see how much a figure varies. From five repetitions on, whole
//! repetitions are ([`of_repetitions`]): they have nothing in common but the machine. From fewer,
//! blocks of time of all repetitions together are (`blocks`), which knows how much a figure varies
//! within a run, and less of how much from run to run.
//!
//! The method is the percentile bootstrap (Efron 1979) with a seed: simple, and it knows no shape.
//! From five repetitions the interval of a median is about their range.
//!
//! Not here: blocks (`blocks`), which figures there are (`catalogue`).

use crate::experiment::report::schema::Figure;

/// From how many repetitions on they are drawn themselves. Of four, the 95 % interval of a median
/// would reach beyond the lowest and the highest, where nothing is known.
pub const REPETITIONS_LEAST: usize = 5;

/// How often a figure is drawn again. The ends then have 25 draws beyond them.
const RESAMPLES: usize = 1000;

/// A value and its 95 % interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Interval {
    /// The value.
    pub value: f64,
    /// The interval's ends; none from too few repetitions.
    pub ends: Option<(f64, f64)>,
}

/// The lowest value that this share of the values does not exceed (the nearest rank, as
/// HdrHistogram has it); none of nothing.
pub fn percentile(sorted: &[u64], share: f64) -> Option<u64> {
    sorted.get(rank(sorted.len() as u64, share).checked_sub(1)? as usize).copied()
}

/// The rank, from 1, of the value that this share does not exceed; 0 of nothing.
pub(super) fn rank(count: u64, share: f64) -> u64 {
    // 0.99 × 100 may come out as a little above 99, which is no reason for the hundredth.
    let rank = (share.clamp(0.0, 1.0) * count as f64 - 1e-6).ceil() as u64;
    rank.clamp(1, count.max(1)).min(count)
}

/// The value in the middle, or the mean of the two there; none of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    median_of(&mut sorted)
}

/// The median of repetitions, with an interval from [`REPETITIONS_LEAST`] on; none of nothing.
pub fn of_repetitions(values: &[f64], seed: u64) -> Option<Interval> {
    let value = median(values)?;
    let ends = if values.len() < REPETITIONS_LEAST {
        None
    } else {
        let mut drawn = Vec::new();
        ends_of(seed, |rng| {
            draw(values, rng, &mut drawn);
            median_of(&mut drawn)
        })
    };
    Some(Interval { value, ends })
}

/// How many times the one is of the other: the medians' ratio. The two were measured apart, and are
/// drawn apart. None without values, or where there is nothing to divide by.
pub fn ratio(of: &[f64], to: &[f64], seed: u64) -> Option<Interval> {
    let (mut drawn_of, mut drawn_to) = (Vec::new(), Vec::new());
    let value = quotient(median(of)?, median(to)?)?;
    let are_enough = of.len().min(to.len()) >= REPETITIONS_LEAST;
    let ends = are_enough.then(|| {
        ends_of(seed, |rng| {
            draw(of, rng, &mut drawn_of);
            draw(to, rng, &mut drawn_to);
            quotient(median_of(&mut drawn_of)?, median_of(&mut drawn_to)?)
        })
    });
    Some(Interval { value, ends: ends.flatten() })
}

/// The same for two arms of one run, whose repetitions stood beside each other and were asked for
/// the same: they are drawn in pairs, so that what the machine did to both drops out. Repetitions
/// without a partner are left out.
pub fn paired_ratio(of: &[f64], to: &[f64], seed: u64) -> Option<Interval> {
    let pairs: Vec<_> = of.iter().copied().zip(to.iter().copied()).collect();
    let medians = |pairs: &mut dyn Iterator<Item = (f64, f64)>| {
        let (mut left, mut right): (Vec<_>, Vec<_>) = pairs.unzip();
        quotient(median_of(&mut left)?, median_of(&mut right)?)
    };
    let value = medians(&mut pairs.iter().copied())?;
    let ends = (pairs.len() >= REPETITIONS_LEAST).then(|| {
        ends_of(seed, |rng| medians(&mut (0..pairs.len()).map(|_| pairs[rng.usize(..pairs.len())])))
    });
    Some(Interval { value, ends: ends.flatten() })
}

/// The ratio of two figures of a report. From enough repetitions it is [`paired_ratio`] or
/// [`ratio`]; from fewer the figures' own intervals are put together, on the scale on which a ratio
/// is a difference (Donner and Zou 2012, "MOVER"): each end is as far from the value as the two
/// sides' ends together are, as independent deviations.
pub fn ratio_of_figures(of: &Figure, to: &Figure, are_paired: bool, seed: u64) -> Option<Interval> {
    if of.of_trials.len().min(to.of_trials.len()) >= REPETITIONS_LEAST {
        let ratio = if are_paired { paired_ratio } else { ratio };
        return ratio(&of.of_trials, &to.of_trials, seed);
    }
    let value = quotient(of.value, to.value)?;
    let distance = |figure: &Figure, end: Option<f64>| {
        let distance = (end? / figure.value).ln();
        distance.is_finite().then_some(distance)
    };
    let together = |a: Option<f64>, b: Option<f64>| Some(a?.hypot(b?));
    let below = together(distance(of, of.low), distance(to, to.high));
    let above = together(distance(of, of.high), distance(to, to.low));
    let ends = below.zip(above).map(|(below, above)| (value * (-below).exp(), value * above.exp()));
    Some(Interval { value, ends })
}

/// The 95 % interval of a statistic that is drawn again and again; none where a draw has none.
pub(super) fn ends_of(
    seed: u64,
    mut statistic: impl FnMut(&mut fastrand::Rng) -> Option<f64>,
) -> Option<(f64, f64)> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut drawn: Vec<f64> = (0..RESAMPLES).map_while(|_| statistic(&mut rng)).collect();
    if drawn.len() < RESAMPLES {
        return None;
    }
    drawn.sort_unstable_by(f64::total_cmp);
    let at = |share| drawn[rank(RESAMPLES as u64, share) as usize - 1];
    Some((at(0.025), at(0.975)))
}

fn draw(values: &[f64], rng: &mut fastrand::Rng, out: &mut Vec<f64>) {
    out.clear();
    out.extend((0..values.len()).map(|_| values[rng.usize(..values.len())]));
}

fn median_of(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some(lower.midpoint(upper))
}

fn quotient(of: f64, to: f64) -> Option<f64> {
    let quotient = of / to;
    quotient.is_finite().then_some(quotient)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::load::ServiceTimes;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let values: Vec<u64> = (1..=100).collect();
        for (share, expected) in [(0.0, 1), (0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100)] {
            assert_eq!(percentile(&values, share), Some(expected), "{share}");
        }
        let thousand: Vec<u64> = (1..=1000).collect();
        assert_eq!(percentile(&thousand, 0.999), Some(999));
        assert_eq!(percentile(&[7], 0.5), Some(7));
        assert_eq!(percentile(&[], 0.5), None);
    }

    /// As the histogram has them, within its three digits.
    #[test]
    fn percentiles_are_those_of_the_histogram() {
        let law = ServiceTimes::LogNormal { mean: std::time::Duration::from_millis(3), sigma: 1.0 };
        let mut rng = fastrand::Rng::with_seed(1);
        let mut histogram =
            hdrhistogram::Histogram::<u64>::new_with_max(1 << 40, 3).expect("three digits");
        let mut values: Vec<_> =
            (0..20_011).map(|_| law.draw(&mut rng).as_nanos() as u64).collect();
        values.iter().for_each(|&value| histogram.saturating_record(value));
        values.sort_unstable();
        for share in [0.1, 0.5, 0.9, 0.99, 0.999, 1.0] {
            let exact = percentile(&values, share).expect("values") as f64;
            let other = histogram.value_at_quantile(share) as f64;
            assert!((other / exact - 1.0).abs() < 0.001, "{share}: {exact} {other}");
        }
    }

    #[test]
    fn medians_stand_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn few_repetitions_have_no_interval_of_their_own() {
        let four = of_repetitions(&[1.0, 2.0, 3.0, 4.0], 1).expect("a median");
        assert_eq!(four, Interval { value: 2.5, ends: None });
        let five = of_repetitions(&[1.0, 2.0, 3.0, 4.0, 5.0], 1).expect("a median");
        // A median beyond 1 or 5 needs three of five draws there: 5.8 % at each end.
        assert_eq!(five, Interval { value: 3.0, ends: Some((1.0, 5.0)) });
        assert_eq!(of_repetitions(&[], 1), None);
    }

    /// An interval of 95 % has the true median in it in about 95 of 100 experiments.
    #[test]
    fn intervals_cover_what_they_promise() {
        let law = ServiceTimes::Exponential { mean: std::time::Duration::from_secs(1) };
        let true_median = std::f64::consts::LN_2;
        let mut rng = fastrand::Rng::with_seed(7);
        let covered = (0..200).filter(|&experiment| {
            let values: Vec<_> = (0..21).map(|_| law.draw(&mut rng).as_secs_f64()).collect();
            let found = of_repetitions(&values, experiment).expect("a median");
            found.ends.is_some_and(|(low, high)| low <= true_median && true_median <= high)
        });
        let covered = covered.count();
        assert!((182..=198).contains(&covered), "{covered} of 200");
    }

    #[test]
    fn ratios_have_their_value_and_their_interval() {
        let of = [2.0, 2.1, 1.9, 2.0, 2.2];
        let to = [1.0, 1.05, 0.95, 1.0, 1.1];
        let apart = ratio(&of, &to, 1).expect("a ratio");
        let paired = paired_ratio(&of, &to, 1).expect("a ratio");
        assert_eq!((apart.value, paired.value), (2.0, 2.0));
        let (low, high) = apart.ends.expect("five");
        assert!(low < 2.0 && 2.0 < high && low >= 1.9 / 1.1 && high <= 2.2 / 0.95);
        // What the machine did to both is in neither.
        let (low, high) = paired.ends.expect("five");
        assert!((low - 2.0).abs() < 1e-9 && (high - 2.0).abs() < 1e-9, "{low} {high}");
        assert_eq!(ratio(&of, &to[..4], 1).expect("a ratio").ends, None);
        assert_eq!(ratio(&of, &[0.0; 5], 1), None);
        assert_eq!(ratio(&[], &to, 1), None);
    }

    #[test]
    fn ratios_of_few_repetitions_put_two_intervals_together() {
        let figure = |value: f64, factor: f64| Figure {
            value,
            low: Some(value / factor),
            high: Some(value * factor),
            of_trials: vec![value],
        };
        // On the logarithmic scale 3 and 4 make 5.
        let step = 1.01_f64;
        let (of, to) = (figure(6.0, step.powi(3)), figure(3.0, step.powi(4)));
        let found = ratio_of_figures(&of, &to, true, 1).expect("a ratio");
        let (low, high) = found.ends.expect("both have one");
        assert_eq!(found.value, 2.0);
        assert!((high / 2.0 - step.powi(5)).abs() < 1e-9, "{high}");
        assert!((2.0 / low - step.powi(5)).abs() < 1e-9, "{low}");
        let without = Figure { low: None, high: None, ..to };
        assert_eq!(ratio_of_figures(&of, &without, true, 1).expect("a ratio").ends, None);
    }
}
