//! Lines and areas as SVG writes them: bounded, rounded, and without what is no number.
//!
//! Not here: from values to places (`scale`).

use std::fmt::{self, Write};

/// Two points of a line that are nearer than this, in both directions, look like one.
const NEAR: f64 = 0.4;

/// A coordinate with one decimal: a tenth of a pixel is finer than what is seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct At(pub(super) f64);

impl fmt::Display for At {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = if self.0.is_finite() { self.0.clamp(-1e5, 1e5) } else { 0.0 };
        // Adding zero takes the sign off a rounded minus zero.
        let rounded = (value * 10.0).round() / 10.0 + 0.0;
        write!(formatter, "{rounded}")
    }
}

/// The `d` of a line through these places. One that is no number interrupts it.
pub(super) fn line(places: impl Iterator<Item = (f64, f64)>) -> String {
    let mut path = String::new();
    let mut last: Option<(f64, f64)> = None;
    // The end of a line is drawn however near it is.
    let mut skipped = None;
    for (x, y) in places {
        if !x.is_finite() || !y.is_finite() {
            finish(&mut path, skipped.take());
            last = None;
            continue;
        }
        match last {
            Some((old_x, old_y)) if (x - old_x).abs() < NEAR && (y - old_y).abs() < NEAR => {
                let is_same = (x - old_x).abs() < 0.05 && (y - old_y).abs() < 0.05;
                skipped = (!is_same).then_some((x, y));
                continue;
            }
            Some(_) => append(&mut path, 'L', (x, y)),
            None => append(&mut path, 'M', (x, y)),
        }
        last = Some((x, y));
        skipped = None;
    }
    finish(&mut path, skipped);
    path
}

/// The `d` of what lies between a line and its foot. What is no number stands at the foot.
pub(super) fn area(places: impl Iterator<Item = (f64, f64)>, foot: f64) -> String {
    let places: Vec<(f64, f64)> = places
        .filter(|place| place.0.is_finite())
        .map(|(x, y)| (x, if y.is_finite() { y } else { foot }))
        .collect();
    let (Some(first), Some(last)) = (places.first(), places.last()) else { return String::new() };
    let ends = ((first.0, foot), (last.0, foot));
    let mut path = line([ends.0].into_iter().chain(places.iter().copied()).chain([ends.1]));
    path.push('Z');
    path
}

/// At most `count_max` values: the highest of as many equal parts. A peak is what a reader looks
/// for, so none is lost.
pub(super) fn peaks(values: &[f64], count_max: usize) -> Vec<f64> {
    let part = values.len().div_ceil(count_max.max(1)).max(1);
    values.chunks(part).map(|chunk| chunk.iter().copied().fold(f64::NAN, f64::max)).collect()
}

fn append(path: &mut String, command: char, (x, y): (f64, f64)) {
    // Writing to a string cannot fail.
    let _ = write!(path, "{command}{} {}", At(x), At(y));
}

fn finish(path: &mut String, skipped: Option<(f64, f64)>) {
    if let Some(place) = skipped {
        append(path, 'L', place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_one_and_several() {
        assert_eq!(line([].into_iter()), "");
        assert_eq!(line([(1.0, 2.0)].into_iter()), "M1 2");
        assert_eq!(line([(0.0, 0.04), (5.55, -0.01)].into_iter()), "M0 0L5.6 0");
        assert_eq!(area([].into_iter(), 9.0), "");
        assert_eq!(area([(1.0, 2.0), (3.0, f64::NAN)].into_iter(), 9.0), "M1 9L1 2L3 9Z");
    }

    #[test]
    fn what_is_no_number_interrupts() {
        let places = [(0.0, 0.0), (1.0, 1.0), (2.0, f64::NAN), (3.0, 3.0), (f64::INFINITY, 1.0)];
        assert_eq!(line(places.into_iter()), "M0 0L1 1M3 3");
    }

    #[test]
    fn near_points_are_one_and_the_last_is_drawn() {
        let many = (0..10_000).map(|index| (f64::from(index) / 1000.0, 5.0));
        let path = line(many);
        assert!(path.matches('L').count() < 30, "{path}");
        assert!(path.ends_with("L10 5"), "{path}");
    }

    #[test]
    fn peaks_are_kept() {
        let mut values = vec![1.0; 1000];
        values[417] = 9.0;
        let kept = peaks(&values, 100);
        assert_eq!(kept.len(), 100);
        assert_eq!(kept[41], 9.0);
        assert_eq!(peaks(&[1.0, 2.0], 100), [1.0, 2.0]);
        assert!(peaks(&[], 100).is_empty());
        assert_eq!(peaks(&[1.0, f64::NAN, 3.0], 1), [3.0]);
    }
}
