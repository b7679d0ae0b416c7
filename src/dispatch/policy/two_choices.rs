//! The less loaded of two drawn at random (Mitzenmacher, "The Power of Two Choices in Randomized
//! Load Balancing", IEEE TPDS 2001): unlike least-loaded it does not herd on old reports.

use crate::dispatch::ledger::Ledger;
use crate::dispatch::policy::Policy;
use crate::dispatch::policy::random::draw;

/// The better of two.
#[derive(Debug)]
pub(super) struct TwoChoices {
    rng: fastrand::Rng,
}

impl TwoChoices {
    pub(super) fn new(seed: u64) -> Self {
        TwoChoices { rng: fastrand::Rng::with_seed(seed) }
    }
}

impl Policy for TwoChoices {
    fn pick(&mut self, ledger: &Ledger, _affinity: u64) -> Option<usize> {
        let first = draw(ledger, &mut self.rng, None)?;
        // The second one among the others.
        let second = draw(ledger, &mut self.rng, Some(first)).unwrap_or(first);
        let ranks = ledger.ranks();
        Some(if ranks[second] < ranks[first] { second } else { first })
    }
}
