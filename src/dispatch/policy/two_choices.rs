//! The less loaded of two drawn at random (Mitzenmacher, "The Power of Two Choices in Randomized
//! Load Balancing", IEEE TPDS 2001): unlike least-loaded it does not herd on old reports.

use crate::dispatch::candidate::Candidate;
use crate::dispatch::policy::Policy;
use crate::dispatch::policy::random::nth_eligible;

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
    fn pick(&mut self, candidates: &[Candidate], _affinity: u64) -> Option<usize> {
        let eligible = candidates.iter().filter(|candidate| candidate.is_eligible()).count();
        if eligible == 0 {
            return None;
        }
        let first = self.rng.usize(..eligible);
        // The second one among the others; with one alone it is the same.
        let second = if eligible == 1 {
            first
        } else {
            (first + 1 + self.rng.usize(..eligible - 1)) % eligible
        };
        let (first, second) = (nth_eligible(candidates, first)?, nth_eligible(candidates, second)?);
        let key = |place: usize| (candidates[place].load(), candidates[place].open);
        Some(if key(second) < key(first) { second } else { first })
    }
}
