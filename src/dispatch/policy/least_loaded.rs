//! Fewest requests waiting or in service, then fewest open connections; ties rotate.

use crate::dispatch::candidate::Candidate;
use crate::dispatch::policy::{Policy, least_by_key};

/// The least loaded worker.
#[derive(Debug, Default)]
pub(super) struct LeastLoaded {
    next: usize,
}

impl Policy for LeastLoaded {
    fn pick(&mut self, candidates: &[Candidate], _affinity: u64) -> Option<usize> {
        least_by_key(candidates, &mut self.next, |candidate| (candidate.load(), candidate.open))
    }
}
