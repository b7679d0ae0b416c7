//! What a request usually takes of the loop: who takes no longer is not stuck.
//!
//! An average in which no single request weighs much: one of a hundred may take as long as it likes,
//! and the others are still taken away from behind it as soon as ever.
//!
//! Pure: times are arguments.
//!
//! Not here: how many requests a turn takes on (`pace`).

use std::time::Duration;

/// Of what a request took, so much is believed.
const LEARNED: u32 = 32;

/// A request counts for so many usual ones at the most, or for `--stall-after`.
const OUTLIER: u32 = 4;

/// A turn is unusual behind so many usual requests.
const UNUSUAL: u32 = 2;

/// What has been learned.
#[derive(Debug, Default)]
pub(super) struct Usual {
    service: Duration,
}

impl Usual {
    /// A request has been answered.
    pub(super) fn learn(&mut self, service: Duration, stall_after: Duration) {
        let counted = service.min((self.service * OUTLIER).max(stall_after));
        self.service = self.service - self.service / LEARNED + counted / LEARNED;
    }

    /// By how much later a turn may become too long than `stall_after` behind its beginning.
    pub(super) fn grace(&self, stall_after: Duration) -> Duration {
        (self.service * UNUSUAL).saturating_sub(stall_after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_millis(1);

    fn after(services: impl IntoIterator<Item = u64>) -> Duration {
        let mut usual = Usual::default();
        services.into_iter().for_each(|micros| usual.learn(Duration::from_micros(micros), STALL));
        usual.grace(STALL)
    }

    #[test]
    fn fast_handlers_have_no_grace_and_one_slow_one_in_eighty_changes_nothing() {
        assert_eq!(after([]), Duration::ZERO);
        assert_eq!(after([100; 1000]), Duration::ZERO);
        assert_eq!(
            after((0..4000).map(|n| if n % 80 == 0 { 30_000 } else { 100 })),
            Duration::ZERO
        );
    }

    #[test]
    fn handlers_that_all_take_two_milliseconds_may_take_four() {
        let grace = after([2000; 1000]);
        assert!(
            grace > Duration::from_micros(2900) && grace <= Duration::from_millis(3),
            "{grace:?}"
        );
    }
}
