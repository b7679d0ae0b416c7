//! How long requests ask to be worked on: fixed, or drawn from a law. Pure: the generator that is
//! handed in decides every draw.
//!
//! The load generator draws, not the server: then every way of distributing connections is asked
//! for the same times in the same order ("common random numbers"), and what differs between two
//! arms is theirs. It also makes the time known to whoever tells waiting from being served.
//!
//! Times are whole microseconds, as the request says them; a draw is rounded to the nearest.
//!
//! Not here: when requests are due (`arrivals`), times that were recorded elsewhere (`replay`).

use std::fmt;
use std::io::Write;
use std::time::Duration;

use crate::experiment::load::limits::SERVICE_MAX;

/// What a server does for a time, and the first part of the path that asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    /// `/spin/MILLISECONDS`: CPU time of the calling thread.
    Spin,
    /// `/sleep/MILLISECONDS`: nothing, as if somebody else were asked.
    Sleep,
}

/// A law of service times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ServiceTimes {
    /// Always this.
    Fixed(Duration),
    /// What the closed formulas of queueing theory assume.
    Exponential {
        /// The law's mean.
        mean: Duration,
    },
    /// One of two.
    Bimodal {
        /// Most of them.
        short: Duration,
        /// The others.
        long: Duration,
        /// The share of the long ones, from 0 to 1.
        long_share: f64,
    },
    /// The logarithm is normal: what databases and interpreters look like.
    LogNormal {
        /// The law's mean.
        mean: Duration,
        /// The logarithm's standard deviation.
        sigma: f64,
    },
    /// A power law between two ends: few requests are most of the work.
    BoundedPareto {
        /// The exponent; the smaller, the heavier the tail. Web sizes: about 1.1.
        shape: f64,
        /// The shortest.
        least: Duration,
        /// The longest.
        most: Duration,
    },
}

/// Why a law cannot be drawn from. The caller is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// A time past [`SERVICE_MAX`].
    #[error("a service time is at most {} s", SERVICE_MAX.as_secs())]
    TooLong,
    /// A share outside 0 to 1, a shape or deviation that is not above 0, ends that are reversed.
    #[error("shares are from 0 to 1, shapes and deviations above 0, ends in order")]
    Parameter,
    /// Cutting draws off at [`SERVICE_MAX`] would lower the mean by more than a thousandth.
    #[error("too much of this law lies above {} s", SERVICE_MAX.as_secs())]
    Tail,
}

/// How far out the logarithm of [`SERVICE_MAX`] has to lie, in deviations of the part of a
/// log-normal law that makes up the mean: what is beyond is a thousandth of it.
const TAIL_DEVIATIONS: f64 = 3.1;

/// The same for the exponential law, in means: e⁻⁷ is a thousandth.
const TAIL_MEANS: u32 = 7;

impl ServiceKind {
    /// The part of a path that stands before the milliseconds.
    pub fn prefix(self) -> &'static str {
        match self {
            ServiceKind::Spin => "/spin/",
            ServiceKind::Sleep => "/sleep/",
        }
    }

    /// Writes the path that asks for this time, as `/spin/12.345`.
    pub(super) fn write_path(self, service: Duration, out: &mut Vec<u8>) {
        let us = service.as_micros();
        // Writing to a vector cannot fail.
        let _ = write!(out, "{}{}.{:03}", self.prefix(), us / 1000, us % 1000);
    }
}

impl ServiceTimes {
    /// Whether this can be drawn from, with the mean that it says.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn check(self) -> Result<(), ServiceError> {
        if self.longest().is_some_and(|longest| longest > SERVICE_MAX) {
            return Err(ServiceError::TooLong);
        }
        let fits = |is_right, otherwise| if is_right { Ok(()) } else { Err(otherwise) };
        match self {
            ServiceTimes::Fixed(_) => Ok(()),
            ServiceTimes::Exponential { mean } => {
                fits(mean <= SERVICE_MAX / TAIL_MEANS, ServiceError::Tail)
            }
            ServiceTimes::Bimodal { long_share, .. } => {
                fits((0.0..=1.0).contains(&long_share), ServiceError::Parameter)
            }
            ServiceTimes::LogNormal { mean, sigma } => {
                let is_right = sigma.is_finite() && sigma > 0.0 && !mean.is_zero();
                fits(is_right, ServiceError::Parameter)?;
                let room = (SERVICE_MAX.as_secs_f64() / mean.as_secs_f64()).ln();
                fits(room >= (TAIL_DEVIATIONS + sigma / 2.0) * sigma, ServiceError::Tail)
            }
            ServiceTimes::BoundedPareto { shape, least, most } => {
                let is_right = shape.is_finite() && shape > 0.0 && !least.is_zero();
                fits(is_right && least < most, ServiceError::Parameter)
            }
        }
    }

    /// The law's mean, by formula.
    pub fn mean(self) -> Duration {
        let seconds = match self {
            ServiceTimes::Fixed(mean)
            | ServiceTimes::Exponential { mean }
            | ServiceTimes::LogNormal { mean, .. } => return mean,
            ServiceTimes::Bimodal { short, long, long_share } => {
                short.as_secs_f64() * (1.0 - long_share) + long.as_secs_f64() * long_share
            }
            ServiceTimes::BoundedPareto { shape, least, most } => {
                let (least, most) = (least.as_secs_f64(), most.as_secs_f64());
                let ratio = least / most;
                if shape == 1.0 {
                    least / (1.0 - ratio) * (1.0 / ratio).ln()
                } else {
                    let whole = 1.0 - ratio.powf(shape);
                    let part = 1.0 - ratio.powf(shape - 1.0);
                    least * shape / (shape - 1.0) * part / whole
                }
            }
        };
        Duration::try_from_secs_f64(seconds).unwrap_or(SERVICE_MAX)
    }

    /// One time, in whole microseconds, at most [`SERVICE_MAX`].
    pub fn draw(self, rng: &mut fastrand::Rng) -> Duration {
        let seconds = match self {
            ServiceTimes::Fixed(time) => time.as_secs_f64(),
            ServiceTimes::Exponential { mean } => mean.as_secs_f64() * -positive(rng).ln(),
            ServiceTimes::Bimodal { short, long, long_share } => {
                let is_long = rng.f64() < long_share;
                if is_long { long.as_secs_f64() } else { short.as_secs_f64() }
            }
            ServiceTimes::LogNormal { mean, sigma } => {
                // A law with the median m has the mean m × exp(σ² / 2).
                let median = mean.as_secs_f64() * (-sigma * sigma / 2.0).exp();
                median * (sigma * normal(rng)).exp()
            }
            ServiceTimes::BoundedPareto { shape, least, most } => {
                // The inverse of the distribution function.
                let whole = 1.0 - (least.as_secs_f64() / most.as_secs_f64()).powf(shape);
                least.as_secs_f64() * (1.0 - rng.f64() * whole).powf(-1.0 / shape)
            }
        };
        // Saturating: what is no time is 0, and all that is too long is cut off.
        Duration::from_micros((seconds * 1e6).round() as u64).min(SERVICE_MAX)
    }

    /// The longest time that is written down in the law itself.
    fn longest(self) -> Option<Duration> {
        match self {
            ServiceTimes::Fixed(time) => Some(time),
            ServiceTimes::Bimodal { short, long, .. } => Some(short.max(long)),
            ServiceTimes::BoundedPareto { most, .. } => Some(most),
            ServiceTimes::Exponential { .. } | ServiceTimes::LogNormal { .. } => None,
        }
    }
}

impl fmt::Display for ServiceTimes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ServiceTimes::Fixed(time) => write!(formatter, "{time:?}"),
            ServiceTimes::Exponential { mean } => write!(formatter, "exponential, mean {mean:?}"),
            ServiceTimes::Bimodal { short, long, long_share } => {
                let percent = long_share * 100.0;
                write!(formatter, "{short:?}, and {long:?} for {percent} %")
            }
            ServiceTimes::LogNormal { mean, sigma } => {
                write!(formatter, "log-normal, mean {mean:?}, sigma {sigma}")
            }
            ServiceTimes::BoundedPareto { shape, least, most } => {
                write!(formatter, "bounded Pareto, shape {shape}, {least:?} to {most:?}")
            }
        }
    }
}

/// A uniform draw that is never 0, so that its logarithm is finite.
fn positive(rng: &mut fastrand::Rng) -> f64 {
    1.0 - rng.f64()
}

/// A standard normal draw (Box and Muller 1958; the second one of the pair is not kept).
fn normal(rng: &mut fastrand::Rng) -> f64 {
    let radius = (-2.0 * positive(rng).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.f64()).cos()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, Strategy, prop_assert, prop_oneof, proptest};

    use super::*;

    fn microseconds(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    /// Laws whose mean is told from 40,000 draws to a few per cent.
    fn laws() -> impl Strategy<Value = ServiceTimes> {
        let time = || 100_u64..100_000;
        prop_oneof![
            time().prop_map(|us| ServiceTimes::Fixed(microseconds(us))),
            time().prop_map(|us| ServiceTimes::Exponential { mean: microseconds(us) }),
            (time(), time(), 0.0..=1.0).prop_map(|(short, long, long_share)| {
                let (short, long) = (microseconds(short), microseconds(short + long));
                ServiceTimes::Bimodal { short, long, long_share }
            }),
            (time(), 0.1..1.0)
                .prop_map(|(us, sigma)| ServiceTimes::LogNormal { mean: microseconds(us), sigma }),
            (0.5..3.0, time(), 2_u64..50).prop_map(|(shape, least, times)| {
                let (least, most) = (microseconds(least), microseconds(least * times));
                ServiceTimes::BoundedPareto { shape, least, most }
            }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        /// The mean of the draws is the formula's, within five standard errors that the draws
        /// themselves give.
        #[test]
        fn draws_have_the_mean_that_the_formula_says(law in laws(), seed in 0_u64..1000) {
            prop_assert!(law.check().is_ok());
            let mut rng = fastrand::Rng::with_seed(seed);
            let count = 40_000;
            let draws: Vec<f64> =
                (0..count).map(|_| law.draw(&mut rng).as_secs_f64()).collect();
            let mean = draws.iter().sum::<f64>() / f64::from(count);
            let variance = draws.iter().map(|one| (one - mean).powi(2)).sum::<f64>();
            let error = (variance / f64::from(count)).sqrt() / f64::from(count).sqrt();
            let off = (mean - law.mean().as_secs_f64()).abs();
            // A microsecond, since each draw is rounded.
            prop_assert!(off <= 5.0 * error + 1e-6, "{law}: {mean}, {:?}", law.mean());
        }
    }

    #[test]
    fn means_that_can_be_computed_by_hand() {
        let (short, long) = (microseconds(500), microseconds(50_000));
        let bimodal = ServiceTimes::Bimodal { short, long, long_share: 0.005 };
        assert_eq!(bimodal.mean(), Duration::from_nanos(747_500));
        // Shape 1 from 1 to e: 1 / (1 - 1/e). Shape 2 from 1 to 2: 2 × (1/2) / (3/4).
        let pareto = |shape, most| ServiceTimes::BoundedPareto {
            shape,
            least: Duration::from_secs(1),
            most: Duration::from_secs_f64(most),
        };
        let one = pareto(1.0, std::f64::consts::E).mean().as_secs_f64();
        assert!((one - 1.0 / (1.0 - (-1.0_f64).exp())).abs() < 1e-6, "{one}");
        let two = pareto(2.0, 2.0).mean().as_secs_f64();
        assert!((two - 4.0 / 3.0).abs() < 1e-6, "{two}");
    }

    #[test]
    fn a_seed_is_one_sequence_and_no_draw_leaves_its_bounds() {
        let least = microseconds(100);
        let law = ServiceTimes::BoundedPareto { shape: 1.1, least, most: SERVICE_MAX };
        let draws = |seed| {
            let mut rng = fastrand::Rng::with_seed(seed);
            (0..10_000).map(|_| law.draw(&mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(draws(1), draws(1));
        assert_ne!(draws(1), draws(2));
        assert!(draws(3).iter().all(|draw| (least..=SERVICE_MAX).contains(draw)));
    }

    #[test]
    fn laws_that_are_none_are_refused() {
        let second = Duration::from_secs(1);
        let over = SERVICE_MAX + microseconds(1);
        let pareto = |shape, least, most| ServiceTimes::BoundedPareto { shape, least, most };
        for (law, expected) in [
            (ServiceTimes::Fixed(over), ServiceError::TooLong),
            (pareto(1.0, second, over), ServiceError::TooLong),
            (ServiceTimes::Exponential { mean: SERVICE_MAX / 6 }, ServiceError::Tail),
            (ServiceTimes::LogNormal { mean: second, sigma: 2.0 }, ServiceError::Tail),
            (ServiceTimes::LogNormal { mean: second, sigma: f64::NAN }, ServiceError::Parameter),
            (
                ServiceTimes::Bimodal { short: second, long: second, long_share: 1.1 },
                ServiceError::Parameter,
            ),
            (pareto(0.0, second, second * 2), ServiceError::Parameter),
            (pareto(1.0, second, second), ServiceError::Parameter),
            (pareto(1.0, Duration::ZERO, second), ServiceError::Parameter),
        ] {
            assert_eq!(law.check(), Err(expected), "{law}");
        }
    }

    #[test]
    fn a_path_asks_for_microseconds() {
        for (us, expected) in [(0, "/spin/0.000"), (1, "/spin/0.001"), (12_345, "/spin/12.345")] {
            let mut path = Vec::new();
            ServiceKind::Spin.write_path(microseconds(us), &mut path);
            assert_eq!(String::from_utf8(path).expect("ASCII"), expected);
        }
    }
}
