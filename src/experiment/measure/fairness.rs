//! How evenly something is spread over workers.
//!
//! | measure | all equal | all with one of k | |
//! |---|---|---|---|
//! | Jain | 1 | 1 / k | Jain, Chiu and Hawe 1984: (Σx)² / (k Σx²) |
//! | CV | 0 | √(k - 1) | standard deviation over mean |
//! | max / mean | 1 | k | what the busiest has more than its share |
//!
//! Even connections do not make even requests, nor even requests even work: so all three are spread
//! of their own.
//!
//! Not here: who had what (`workers`).

/// How evenly some values are spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    /// Jain's index.
    pub(super) jain: f64,
    /// The coefficient of variation.
    pub(super) variation: f64,
    /// The highest over the mean.
    pub(super) max_over_mean: f64,
}

impl Spread {
    /// None where nobody has anything.
    pub(super) fn of(values: &[f64]) -> Option<Spread> {
        let count = values.len() as f64;
        let sum: f64 = values.iter().sum();
        let squares: f64 = values.iter().map(|value| value * value).sum();
        if sum <= 0.0 {
            return None;
        }
        let mean = sum / count;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        Some(Spread {
            jain: sum * sum / (count * squares),
            variation: variance.sqrt() / mean,
            max_over_mean: values.iter().copied().fold(0.0, f64::max) / mean,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64) -> bool {
        (found - expected).abs() < 0.005
    }

    #[test]
    fn the_ends_are_those_of_the_formulas() {
        let even = Spread::of(&[5.0; 8]).expect("something");
        assert_eq!(even, Spread { jain: 1.0, variation: 0.0, max_over_mean: 1.0 });
        let one = Spread::of(&[0.0, 0.0, 0.0, 9.0]).expect("something");
        assert_eq!((one.jain, one.max_over_mean), (0.25, 4.0));
        assert!((one.variation - 3.0_f64.sqrt()).abs() < 1e-12);
        assert_eq!(Spread::of(&[0.0; 4]), None);
        assert_eq!(Spread::of(&[]), None);
    }

    /// What others have published of themselves.
    #[test]
    fn published_spreads_have_their_published_figures() {
        // Uvicorn, 400 connections, 8 workers, opened one by one.
        let uvicorn = [131.0, 130.0, 105.0, 15.0, 9.0, 4.0, 4.0, 2.0];
        assert!(near(Spread::of(&uvicorn).expect("something").max_over_mean, 2.62));
        // Pitchfork's issue: 16 workers, 4 clients.
        let mut pitchfork = [0.0; 16];
        let busy = [49131.0, 46997.0, 44023.0, 38420.0, 14945.0, 1742.0, 91.0, 12.0];
        pitchfork[..8].copy_from_slice(&busy);
        assert!(near(Spread::of(&pitchfork).expect("something").jain, 0.29));
    }

    /// Jain's index is 1 / (1 + CV²), whatever the values.
    #[test]
    fn the_two_indices_agree() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..100 {
            let values: Vec<_> = (0..rng.usize(1..50)).map(|_| rng.f64()).collect();
            let spread = Spread::of(&values).expect("something");
            let other = 1.0 / (1.0 + spread.variation.powi(2));
            assert!((spread.jain - other).abs() < 1e-9, "{values:?}");
        }
    }
}
