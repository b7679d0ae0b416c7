//! When requests are due: at a constant rate, as a Poisson process, or in bursts. Pure: the seed
//! decides everything, and no clock is read.
//!
//! Independent users are a Poisson process: real load comes in clumps, and a server that is only
//! tried at a constant rate looks better than it is.
//!
//! Not here: what is sent then (`plan`), sending it (`generator`).

use std::time::Duration;

/// A way for requests to arrive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// Equal gaps. The first comes at a random place within one gap, so that two classes do not
    /// march in step.
    Constant {
        /// Requests a second.
        rate: f64,
    },
    /// Exponential gaps.
    Poisson {
        /// Requests a second, in the mean.
        rate: f64,
    },
    /// Many at one moment, once.
    Burst {
        /// How many.
        count: u32,
        /// When, after the start.
        at: Duration,
    },
    /// Many at one moment, again and again. With [`Choice::InTurn`] and as many as the set has
    /// connections, each idle connection sends one: devices that a server has made to wait for the
    /// same moment.
    ///
    /// [`Choice::InTurn`]: crate::experiment::load::plan::Choice::InTurn
    Bursts {
        /// How many at a time.
        count: u32,
        /// When first, after the start.
        first: Duration,
        /// From each burst to the next.
        every: Duration,
    },
}

impl Arrivals {
    /// The times at which requests are due, after the start; never decreasing. Endless for rates.
    pub fn times(self, seed: u64) -> Times {
        let mut rng = fastrand::Rng::with_seed(seed);
        let phase = rng.f64();
        Times { arrivals: self, rng, phase, index: 0, elapsed_s: 0.0 }
    }

    /// Requests a second in the long run; none for a single burst.
    pub fn rate(self) -> Option<f64> {
        match self {
            Arrivals::Constant { rate } | Arrivals::Poisson { rate } => Some(rate),
            Arrivals::Burst { .. } => None,
            Arrivals::Bursts { count, every, .. } => {
                Some(f64::from(count) / every.as_secs_f64().max(f64::MIN_POSITIVE))
            }
        }
    }
}

/// The times of [`Arrivals`].
#[derive(Clone, Debug)]
pub struct Times {
    arrivals: Arrivals,
    rng: fastrand::Rng,
    /// Where within its gap the first request of a constant rate stands.
    phase: f64,
    index: u64,
    /// A double keeps microseconds over centuries.
    elapsed_s: f64,
}

impl Iterator for Times {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let index = self.index;
        self.index += 1;
        match self.arrivals {
            // From the index, not by adding gaps: rounding does not add up.
            Arrivals::Constant { rate } => Some(seconds((index as f64 + self.phase) / rate)),
            Arrivals::Poisson { rate } => {
                // 1 - uniform is never 0, so the logarithm is finite.
                self.elapsed_s += -(1.0 - self.rng.f64()).ln() / rate;
                Some(seconds(self.elapsed_s))
            }
            Arrivals::Burst { count, at } => (index < u64::from(count)).then_some(at),
            Arrivals::Bursts { count, first, every } => {
                let burst = u32::try_from(index.checked_div(u64::from(count))?).ok()?;
                Some(first.saturating_add(every.saturating_mul(burst)))
            }
        }
    }
}

/// A rate of 0 is due never.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: f64 = 1000.0;

    fn gaps(arrivals: Arrivals, seed: u64, count: usize) -> Vec<f64> {
        let times: Vec<_> = arrivals.times(seed).take(count + 1).collect();
        times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect()
    }

    fn mean_and_variation(gaps: &[f64]) -> (f64, f64) {
        let count = gaps.len() as f64;
        let mean = gaps.iter().sum::<f64>() / count;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / count;
        (mean, variance.sqrt() / mean)
    }

    #[test]
    fn a_constant_rate_has_equal_gaps_and_does_not_drift() {
        let (mean, variation) =
            mean_and_variation(&gaps(Arrivals::Constant { rate: RATE }, 1, 1000));
        assert!((mean * RATE - 1.0).abs() < 1e-6 && variation < 1e-6, "{mean} {variation}");
        let last = Arrivals::Constant { rate: 3.0 }.times(1).nth(3_000_000).expect("endless");
        assert!((last.as_secs_f64() - 1_000_000.0).abs() <= 1.0 / 3.0, "{last:?}");
    }

    #[test]
    fn poisson_gaps_have_their_mean_and_their_variation() {
        for seed in 0..10 {
            let gaps = gaps(Arrivals::Poisson { rate: RATE }, seed, 20_000);
            let (mean, variation) = mean_and_variation(&gaps);
            assert!((mean * RATE - 1.0).abs() < 0.05, "seed {seed}: mean {mean}");
            assert!((variation - 1.0).abs() < 0.05, "seed {seed}: variation {variation}");
        }
    }

    #[test]
    fn a_seed_is_one_sequence() {
        for arrivals in [Arrivals::Poisson { rate: RATE }, Arrivals::Constant { rate: RATE }] {
            let of = |seed| arrivals.times(seed).take(100).collect::<Vec<_>>();
            assert_eq!(of(7), of(7));
            assert_ne!(of(7), of(8));
        }
    }

    #[test]
    fn a_burst_is_one_moment() {
        let at = Duration::from_millis(5);
        let times: Vec<_> = Arrivals::Burst { count: 3, at }.times(0).collect();
        assert_eq!(times, [at, at, at]);
    }

    #[test]
    fn bursts_come_again_and_again() {
        let (first, every) = (Duration::from_millis(5), Duration::from_millis(100));
        let bursts = Arrivals::Bursts { count: 2, first, every };
        let times: Vec<_> = bursts.times(0).take(5).map(|time| time.as_millis()).collect();
        assert_eq!(times, [5, 5, 105, 105, 205]);
        assert_eq!(bursts.rate(), Some(20.0));
        assert_eq!(Arrivals::Bursts { count: 0, first, every }.times(0).next(), None);
    }

    #[test]
    fn a_rate_of_nothing_is_due_never() {
        assert_eq!(Arrivals::Poisson { rate: 0.0 }.times(1).next(), Some(Duration::MAX));
    }
}
