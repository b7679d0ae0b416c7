//! How much the demonstration works: `12.5`, or `exp:12.5` for a draw from an exponential
//! distribution with that mean. Milliseconds.
//!
//! Exponential service times are what queueing theory's closed formulas assume, so that a load
//! test of `/spin/exp:5` can be held against them.
//!
//! Not here: the generator (the caller draws), doing the work (`app::demo`).

use std::time::Duration;

use crate::config::DEMO_DURATION_MAX;

/// An amount of time, asked for in a target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// Exactly so long.
    Exact(Duration),
    /// A draw with this mean, cut off at [`DEMO_DURATION_MAX`].
    Exponential {
        /// The distribution's mean.
        mean: Duration,
    },
}

/// Why a text is not an amount. The client is at fault: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Neither a decimal number nor `exp:` and one.
    #[error("expected milliseconds as 250, 0.5 or exp:12.5")]
    NotANumber,
    /// Longer than [`DEMO_DURATION_MAX`].
    #[error("at most {} ms", DEMO_DURATION_MAX.as_millis())]
    TooLong,
}

impl Amount {
    /// Reads `12`, `12.5`, `exp:12.5`. No sign, no exponent, no infinity.
    ///
    /// # Errors
    ///
    /// [`AmountError`], whose text is fit for the client.
    pub fn parse(text: &str) -> Result<Amount, AmountError> {
        match text.strip_prefix("exp:") {
            Some(mean) => Ok(Amount::Exponential { mean: milliseconds(mean)? }),
            None => Ok(Amount::Exact(milliseconds(text)?)),
        }
    }

    /// The time to work; `uniform` is a fresh draw from [0, 1).
    pub fn draw(self, uniform: f64) -> Duration {
        match self {
            Amount::Exact(duration) => duration,
            Amount::Exponential { mean } => {
                // The inverse of the distribution function. 1 - uniform is never 0, so the
                // logarithm is finite; a caller's 1.0 would be cut off like every long draw.
                let factor = -(1.0 - uniform).ln();
                let drawn = Duration::try_from_secs_f64(mean.as_secs_f64() * factor);
                drawn.unwrap_or(DEMO_DURATION_MAX).min(DEMO_DURATION_MAX)
            }
        }
    }
}

/// f64's own parser also takes `1e9`, `inf` and `nan`; only digits and one point come this far.
fn milliseconds(text: &str) -> Result<Duration, AmountError> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) {
        return Err(AmountError::NotANumber);
    }
    let number: f64 = text.parse().map_err(|_| AmountError::NotANumber)?;
    match Duration::try_from_secs_f64(number / 1000.0) {
        Ok(duration) if duration <= DEMO_DURATION_MAX => Ok(duration),
        Ok(_) | Err(_) => Err(AmountError::TooLong),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, prop_assert, proptest};

    use super::*;

    #[test]
    fn numbers_are_milliseconds() {
        for (text, expected) in [
            ("0", Duration::ZERO),
            ("250", Duration::from_millis(250)),
            ("0.5", Duration::from_micros(500)),
            ("60000", DEMO_DURATION_MAX),
        ] {
            assert_eq!(Amount::parse(text), Ok(Amount::Exact(expected)), "{text}");
        }
        let mean = Duration::from_micros(12_500);
        assert_eq!(Amount::parse("exp:12.5"), Ok(Amount::Exponential { mean }));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "x", "-1", "+1", "1e3", "inf", "NaN", ".5", "5.", "1.2.3", "1 ", "0x10"] {
            assert_eq!(Amount::parse(text), Err(AmountError::NotANumber), "{text:?}");
            assert_eq!(Amount::parse(&format!("exp:{text}")), Err(AmountError::NotANumber));
        }
        let digits = "9".repeat(400);
        for text in ["60000.1", "60001", digits.as_str()] {
            assert_eq!(Amount::parse(text), Err(AmountError::TooLong), "{text:?}");
        }
    }

    #[test]
    fn exponential_draws_have_their_mean() {
        let amount = Amount::Exponential { mean: Duration::from_millis(10) };
        let draws = 10_000;
        let sum: Duration =
            (0..draws).map(|draw| amount.draw((f64::from(draw) + 0.5) / f64::from(draws))).sum();
        let mean_ms = sum.as_secs_f64() * 1000.0 / f64::from(draws);
        assert!((9.9..10.1).contains(&mean_ms), "mean {mean_ms} ms");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn a_draw_is_bounded(mean_ms in 0_u64..=60_000, uniform in 0.0..=1.0) {
            let amount = Amount::Exponential { mean: Duration::from_millis(mean_ms) };
            prop_assert!(amount.draw(uniform) <= DEMO_DURATION_MAX);
        }

        #[test]
        fn any_text_is_an_amount_or_an_error(text in any::<String>()) {
            if let Ok(amount) = Amount::parse(&text) {
                prop_assert!(amount.draw(0.5) <= DEMO_DURATION_MAX);
            }
        }
    }
}
