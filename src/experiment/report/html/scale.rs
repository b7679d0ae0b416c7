//! From values to places along an axis, and the ticks between. Whatever the values are, a place is
//! a finite number within the axis.
//!
//! Not here: drawing axes (`chart`, `dots`).

/// What is smaller counts as this on a logarithmic axis, where zero has no place, and as zero on a
/// linear one.
const LEAST: f64 = 1e-9;

/// What is greater counts as this on any axis.
const MOST: f64 = 1e15;

/// An axis: values of the domain lie between the two ends of the range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    kind: Kind,
    domain: (f64, f64),
    range: (f64, f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Linear,
    Logarithmic,
}

impl Scale {
    /// From zero to a round number that none of the values exceeds; 0 to 1 if there is none above
    /// zero. What lies below zero has its place at zero.
    pub(super) fn linear(values: impl Iterator<Item = f64>, range: (f64, f64)) -> Scale {
        let most = values.filter(|value| value.is_finite()).fold(0.0, f64::max).min(MOST);
        let most = if most > LEAST { round_up(most) } else { 1.0 };
        Scale { kind: Kind::Linear, domain: (0.0, most), range }
    }

    /// Exactly these ends, which must be finite and not the same.
    pub(super) fn between(domain: (f64, f64), range: (f64, f64)) -> Scale {
        assert!(domain.0.is_finite() && domain.1.is_finite() && domain.0 < domain.1);
        Scale { kind: Kind::Linear, domain, range }
    }

    /// From one border of 1, 2, 5, 10 … to another, around all values that are above zero; 1 to 10
    /// if there is none.
    pub(super) fn logarithmic(values: impl Iterator<Item = f64>, range: (f64, f64)) -> Scale {
        let mut ends = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| value.is_finite() && *value > 0.0) {
            let value = value.clamp(LEAST, MOST);
            ends = (ends.0.min(value), ends.1.max(value));
        }
        let domain = match ends {
            (low, high) if low > high => (1.0, 10.0),
            (low, high) if border_below(low) < border_above(high) => {
                (border_below(low), border_above(high))
            }
            // A single value that is a border itself.
            (low, high) => (border_below(low * 0.9), border_above(high * 1.1)),
        };
        Scale { kind: Kind::Logarithmic, domain, range }
    }

    /// Where a value stands: within the range, at its ends if it lies beyond them; what is no
    /// number, at the beginning.
    pub(super) fn place(&self, value: f64) -> f64 {
        let value = if value.is_nan() { self.domain.0 } else { value };
        let value = value.clamp(self.domain.0, self.domain.1);
        let share = match self.kind {
            Kind::Linear => (value - self.domain.0) / (self.domain.1 - self.domain.0),
            Kind::Logarithmic => {
                (value / self.domain.0).ln() / (self.domain.1 / self.domain.0).ln()
            }
        };
        self.range.0 + share * (self.range.1 - self.range.0)
    }

    /// Round values from end to end, ascending, as many as fit into `count_max` (at least two).
    pub(super) fn ticks(&self, count_max: usize) -> Vec<f64> {
        let count_max = count_max.max(2);
        match self.kind {
            Kind::Linear => linear_ticks(self.domain, count_max),
            Kind::Logarithmic => logarithmic_ticks(self.domain, count_max),
        }
    }

    /// The lowest and the highest value with a place of their own.
    #[cfg(test)]
    fn domain(&self) -> (f64, f64) {
        self.domain
    }
}

fn linear_ticks((low, high): (f64, f64), count_max: usize) -> Vec<f64> {
    let mut step = border_above((high - low) / (count_max - 1) as f64 * 0.999);
    while ((high - low) / step).floor() as usize + 1 > count_max {
        step = border_above(step * 1.01);
    }
    let first = (low / step).ceil();
    let count = ((high / step + 1e-9).floor() - first) as usize + 1;
    if count < 2 {
        return vec![low, high];
    }
    (0..count.min(count_max)).map(|index| (first + index as f64) * step).collect()
}

fn logarithmic_ticks((low, high): (f64, f64), count_max: usize) -> Vec<f64> {
    let decades = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let all = |digits: &[f64], every: i32| -> Vec<f64> {
        (decades.0..=decades.1)
            .filter(|decade| decade.rem_euclid(every) == 0)
            .flat_map(|decade| digits.iter().map(move |digit| scaled(*digit, decade)))
            .filter(|tick| (low * 0.999..=high * 1.001).contains(tick))
            .collect()
    };
    for digits in [&[1.0, 2.0, 5.0][..], &[1.0, 3.0], &[1.0]] {
        let ticks = all(digits, 1);
        if (2..=count_max).contains(&ticks.len()) {
            return ticks;
        }
    }
    let every = (2..).map(|every| all(&[1.0], every)).find(|ticks| ticks.len() <= count_max);
    every.filter(|ticks| ticks.len() >= 2).unwrap_or_else(|| vec![low, high])
}

/// The first of … 1, 2, 5, 10 … that is no smaller.
fn border_above(value: f64) -> f64 {
    let decade = value.log10().floor() as i32;
    let digits = [1.0, 2.0, 5.0, 10.0, 20.0];
    let borders = digits.map(|digit| scaled(digit, decade));
    // The last one is beyond any error of the logarithm.
    borders.into_iter().find(|border| *border >= value * (1.0 - 1e-12)).unwrap_or(borders[4])
}

/// The last of … 1, 2, 5, 10 … that is no greater.
fn border_below(value: f64) -> f64 {
    let decade = value.log10().floor() as i32;
    let digits = [10.0, 5.0, 2.0, 1.0, 0.5];
    let borders = digits.map(|digit| scaled(digit, decade));
    borders.into_iter().find(|border| *border <= value * (1.0 + 1e-12)).unwrap_or(borders[4])
}

/// The end of a linear axis: finer than 1, 2, 5, or half of it would be empty.
fn round_up(value: f64) -> f64 {
    let decade = value.log10().floor() as i32;
    let steps = [1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0];
    let borders = steps.map(|step| scaled(step, decade));
    borders.into_iter().find(|border| *border >= value * (1.0 - 1e-12)).unwrap_or(borders[11])
}

/// By way of text, so that 3e-1 is the number that is written so: a product with a tenth is not.
fn scaled(digit: f64, decade: i32) -> f64 {
    format!("{digit}e{decade}").parse().unwrap_or(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: (f64, f64) = (0.0, 100.0);

    fn logarithmic(values: &[f64]) -> Scale {
        Scale::logarithmic(values.iter().copied(), RANGE)
    }

    #[test]
    fn logarithmic_ends_are_borders_around_the_values() {
        assert_eq!(logarithmic(&[0.13, 47.0]).domain(), (0.1, 50.0));
        assert_eq!(logarithmic(&[1.0, 1000.0]).domain(), (1.0, 1000.0));
        assert_eq!(logarithmic(&[3.0]).domain(), (2.0, 5.0));
        assert_eq!(logarithmic(&[5.0]).domain(), (2.0, 10.0));
        assert_eq!(logarithmic(&[]).domain(), (1.0, 10.0));
        assert_eq!(logarithmic(&[0.0, -3.0, f64::NAN, f64::INFINITY]).domain(), (1.0, 10.0));
    }

    #[test]
    fn ticks_are_as_dense_as_fits() {
        assert_eq!(logarithmic(&[1.0, 10.0]).ticks(8), [1.0, 2.0, 5.0, 10.0]);
        assert_eq!(logarithmic(&[0.1, 100.0]).ticks(8), [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0]);
        assert_eq!(logarithmic(&[0.1, 100.0]).ticks(5), [0.1, 1.0, 10.0, 100.0]);
        assert_eq!(logarithmic(&[1e-4, 1e4]).ticks(5), [1e-4, 1e-2, 1.0, 1e2, 1e4]);
        let linear = Scale::linear([0.0, 47.0].into_iter(), RANGE);
        assert_eq!(linear.domain(), (0.0, 50.0));
        assert_eq!(linear.ticks(6), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
        assert_eq!(linear.ticks(4), [0.0, 20.0, 40.0]);
    }

    #[test]
    fn a_place_is_always_a_number_within_the_range() {
        let odd = [0.0, -0.0, -5.0, 1e-320, 1e-9, 0.5, 1.0, 3.0, 1e15, f64::MAX];
        let odder = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        let all: Vec<f64> = odd.into_iter().chain(odder).collect();
        for one in &all {
            for other in &all {
                let values = [*one, *other];
                for scale in [logarithmic(&values), Scale::linear(values.into_iter(), RANGE)] {
                    let (low, high) = scale.domain();
                    assert!(low < high && high.is_finite(), "{values:?}: {low} to {high}");
                    for value in &all {
                        let place = scale.place(*value);
                        assert!((0.0..=100.0).contains(&place), "{values:?}: {value} at {place}");
                    }
                    for count_max in [0, 2, 3, 5, 8, 20] {
                        let ticks = scale.ticks(count_max);
                        let fits = (2..=count_max.max(2)).contains(&ticks.len());
                        assert!(fits, "{values:?}: {ticks:?} for {count_max}");
                        assert!(ticks.windows(2).all(|pair| pair[0] < pair[1]), "{ticks:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_range_may_run_downwards() {
        let scale = Scale::logarithmic([1.0, 100.0].into_iter(), (200.0, 0.0));
        assert_eq!(scale.place(1.0), 200.0);
        assert!((scale.place(10.0) - 100.0).abs() < 1e-9);
        assert_eq!(scale.place(1e6), 0.0);
    }
}
