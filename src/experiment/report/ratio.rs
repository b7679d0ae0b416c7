//! How many times one figure is another, and how sure that is.
//!
//! The interval comes from those of the two figures, by the method of variance estimates recovery
//! (Donner and Zou, "Closed-form confidence intervals for functions of the normal mean and standard
//! deviation", Statistical Methods in Medical Research 21, 2012), on logarithms: it needs no more
//! than what a report says, and keeps an interval lopsided that is. It supposes that the two were
//! measured independently of each other.
//!
//! Not here: the intervals of the figures themselves (`measure`).

use crate::experiment::report::schema::Figure;

/// One figure over another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// How many times.
    pub value: f64,
    /// The ends of the 95 % interval; none if one of the figures has none.
    pub interval: Option<(f64, f64)>,
}

impl Ratio {
    /// None if one of the two is no finite number above zero: such have no ratio worth the name.
    pub fn of(above: &Figure, below: &Figure) -> Option<Ratio> {
        if !is_positive(above.value) || !is_positive(below.value) {
            return None;
        }
        let value = above.value / below.value;
        let (up, down) = (above.value.ln(), below.value.ln());
        let interval = logarithms(above).zip(logarithms(below)).map(|(above, below)| {
            let low = up - down - (up - above.0).hypot(below.1 - down);
            let high = up - down + (above.1 - up).hypot(down - below.0);
            (low.exp(), high.exp())
        });
        let is_finite = |&(low, high): &(f64, f64)| low.is_finite() && high.is_finite();
        value.is_finite().then_some(Ratio { value, interval: interval.filter(is_finite) })
    }

    /// The interval has 1 in it: no difference is shown. Without an interval none is claimed.
    pub fn may_be_one(&self) -> bool {
        self.interval.is_none_or(|(low, high)| low <= 1.0 && 1.0 <= high)
    }
}

/// Whether the intervals of two figures leave it open which is the greater; none if one of them has
/// no interval. By the same method, on the values themselves: zero is a value like any other.
pub fn may_be_equal(one: &Figure, other: &Figure) -> Option<bool> {
    let ((low, high), (other_low, other_high)) = (ends(one)?, ends(other)?);
    let difference = one.value - other.value;
    let least = difference - (one.value - low).hypot(other_high - other.value);
    let most = difference + (high - one.value).hypot(other.value - other_low);
    Some(least <= 0.0 && 0.0 <= most)
}

/// The interval, if it is one: finite and around the value.
pub fn ends(figure: &Figure) -> Option<(f64, f64)> {
    let (low, high) = figure.low.zip(figure.high)?;
    let is_around = low <= figure.value && figure.value <= high;
    (is_around && low.is_finite() && high.is_finite()).then_some((low, high))
}

fn logarithms(figure: &Figure) -> Option<(f64, f64)> {
    let (low, high) = ends(figure)?;
    (low > 0.0).then(|| (low.ln(), high.ln()))
}

fn is_positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(value: f64, interval: Option<(f64, f64)>) -> Figure {
        let (low, high) = interval.unzip();
        Figure { value, low, high, of_trials: Vec::new() }
    }

    #[test]
    fn the_interval_is_no_wider_than_the_worst_of_both_and_no_narrower_than_either() {
        let above = figure(13.2, Some((12.8, 13.7)));
        let below = figure(10.0, Some((9.9, 10.2)));
        let ratio = Ratio::of(&above, &below).expect("a ratio");
        let (low, high) = ratio.interval.expect("an interval");
        assert!((ratio.value - 1.32).abs() < 1e-12);
        assert!(12.8 / 10.2 < low && low < 12.8 / 10.0, "{low}");
        assert!(13.7 / 10.0 < high && high < 13.7 / 9.9, "{high}");
        assert!(!ratio.may_be_one());
    }

    #[test]
    fn the_reverse_has_the_reverse_interval() {
        let one = figure(4.0, Some((3.0, 7.0)));
        let other = figure(5.0, Some((4.5, 5.1)));
        let there = Ratio::of(&one, &other).and_then(|ratio| ratio.interval).expect("there");
        let back = Ratio::of(&other, &one).and_then(|ratio| ratio.interval).expect("back");
        assert!((there.0 * back.1 - 1.0).abs() < 1e-12);
        assert!((there.1 * back.0 - 1.0).abs() < 1e-12);
    }

    #[test]
    fn what_has_no_interval_claims_nothing() {
        let ratio = Ratio::of(&figure(2.0, None), &figure(1.0, Some((0.9, 1.1))));
        let ratio = ratio.expect("a ratio");
        assert_eq!(ratio.interval, None);
        assert!(ratio.may_be_one());
        // An interval that is not around its value is none, and a half one neither.
        assert_eq!(ends(&figure(2.0, Some((3.0, 4.0)))), None);
        assert_eq!(ends(&Figure { value: 1.0, low: Some(0.5), ..Figure::default() }), None);
        assert_eq!(ends(&figure(1.0, Some((0.0, f64::INFINITY)))), None);
    }

    #[test]
    fn nothing_and_nonsense_have_no_ratio() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Ratio::of(&figure(bad, None), &figure(1.0, None)), None, "{bad}");
            assert_eq!(Ratio::of(&figure(1.0, None), &figure(bad, None)), None, "{bad}");
        }
        assert_eq!(Ratio::of(&figure(1e300, None), &figure(1e-300, None)), None);
    }

    #[test]
    fn zeros_are_equal_and_intervals_that_touch_leave_it_open() {
        let zero = figure(0.0, Some((0.0, 0.0)));
        assert_eq!(may_be_equal(&zero, &zero), Some(true));
        let near = figure(1.1, Some((0.95, 1.2)));
        assert_eq!(may_be_equal(&figure(1.0, Some((0.9, 1.1))), &near), Some(true));
        assert_eq!(may_be_equal(&figure(1.0, Some((0.99, 1.01))), &near), Some(true));
        assert_eq!(may_be_equal(&figure(0.5, Some((0.4, 0.6))), &near), Some(false));
        assert_eq!(may_be_equal(&figure(0.5, None), &near), None);
    }
}
