//! How many workers there are: a number, or two between which it follows the load.
//!
//! Not here: when it changes (`supervise::scaling`).

use std::ops::RangeInclusive;

use crate::cli::faults::{Given, Reader};
use crate::cli::raw::RawServe;
use crate::cli::resolve::number_u16;
use crate::cli::values::{self, Refusal};
use crate::config::{self, Arm, ScaleLimits};

/// The number that the server begins with, and how far it follows the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Workers {
    pub(super) count: u16,
    pub(super) scaling: Option<ScaleLimits>,
}

impl Workers {
    /// How many there may be at the most.
    pub(super) fn most(self) -> u16 {
        self.scaling.map_or(self.count, |limits| limits.max)
    }
}

/// `--workers`, MAITRED_WORKERS, WEB_CONCURRENCY (Heroku's, which Gunicorn and Uvicorn read; a number
/// there), else the usable cores.
pub(super) fn workers(raw: &RawServe, cores: usize, reader: &mut Reader<'_>) -> Workers {
    let by_cores = u16::try_from(cores).unwrap_or(u16::MAX).clamp(1, config::WORKERS_DEFAULT_MAX);
    let own = reader.value("--workers", raw.workers.as_deref(), range);
    let is_said = raw.workers.is_some() || reader.variable("MAITRED_WORKERS").is_some();
    let range = own.map(|given| given.value).or_else(|| {
        let platform = reader.platform("--workers").filter(|_| !is_said)?;
        let count = reader.parsed(platform, |text| number_u16(text, bounds()))?.value;
        Some(count..=count)
    });
    let (min, max) = range.unwrap_or(by_cores..=by_cores).into_inner();
    let (up_after, down_after) = times(raw, min < max, reader);
    let limits = ScaleLimits { min, max, up_after, down_after };
    Workers { count: min, scaling: (min < max).then_some(limits) }
}

/// Where the workers accept themselves nobody sees who waits.
pub(super) fn refuse_with(arm: Arm, scaling: Option<ScaleLimits>, reader: &mut Reader<'_>) {
    if arm.is_kernels() && scaling.is_some() {
        let why = format!(
            "MIN..MAX needs --accept master: with {arm} nobody sees how long connections wait"
        );
        reader.refuse("--workers", None, why);
    }
}

fn times(
    raw: &RawServe,
    scales: bool,
    reader: &mut Reader<'_>,
) -> (std::time::Duration, std::time::Duration) {
    let flags = [
        (
            "--scale-up-after",
            &raw.scale.scale_up_after,
            ScaleLimits::UP_AFTER,
            config::SCALE_UP_AFTER_MIN..=config::SCALE_UP_AFTER_MAX,
        ),
        (
            "--scale-down-after",
            &raw.scale.scale_down_after,
            ScaleLimits::DOWN_AFTER,
            config::SCALE_DOWN_AFTER_MIN..=config::SCALE_DOWN_AFTER_MAX,
        ),
    ];
    let [up_after, down_after] = flags.map(|(flag, typed, default, bounds)| {
        let given =
            reader.value(flag, typed.as_deref(), |text| values::duration(text, bounds.clone()));
        // A variable may be set for many servers; a flag was typed for this one.
        let typed = |given: &Given<_>| given.typed;
        if !scales && given.as_ref().is_some_and(typed) {
            reader.refuse(flag, None, "needs --workers MIN..MAX");
        }
        given.map_or(default, |given| given.value)
    });
    (up_after, down_after)
}

fn bounds() -> RangeInclusive<u64> {
    1..=u64::from(config::WORKERS_MAX)
}

/// `4`, or `2..8`, both ends included.
fn range(text: &str) -> Result<RangeInclusive<u16>, Refusal> {
    let most = config::WORKERS_MAX;
    let refusal = || format!("must be a whole number from 1 to {most}, or two of them: MIN..MAX");
    let (min, max) = text.split_once("..").unwrap_or((text, text));
    let number = |text| number_u16(text, bounds()).map_err(|_| refusal());
    let (min, max) = (number(min)?, number(max)?);
    if min > max { Err(format!("{}, the smaller one first", refusal())) } else { Ok(min..=max) }
}
