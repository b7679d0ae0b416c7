//! Any worker that has room, each as likely as the others.

use crate::dispatch::candidate::Candidate;
use crate::dispatch::policy::Policy;

/// A worker drawn at random.
#[derive(Debug)]
pub(super) struct Random {
    rng: fastrand::Rng,
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Random { rng: fastrand::Rng::with_seed(seed) }
    }
}

impl Policy for Random {
    fn pick(&mut self, candidates: &[Candidate], _affinity: u64) -> Option<usize> {
        let eligible = candidates.iter().filter(|candidate| candidate.is_eligible()).count();
        if eligible == 0 {
            return None;
        }
        let drawn = self.rng.usize(..eligible);
        nth_eligible(candidates, drawn)
    }
}

/// The place of the n-th eligible candidate.
pub(super) fn nth_eligible(candidates: &[Candidate], n: usize) -> Option<usize> {
    candidates
        .iter()
        .enumerate()
        .filter(|(_, candidate)| candidate.is_eligible())
        .nth(n)
        .map(|(place, _)| place)
}
