//! Least expected wait: (load + 1) × the average time of a request there.
//!
//! The average moves by an eighth with each look that saw requests end. A worker that nothing is
//! known of counts as fast, so that a new one is tried.

use crate::dispatch::candidate::Candidate;
use crate::dispatch::policy::{Policy, least_by_key};

/// The worker where a request is expected to be over soonest.
#[derive(Debug, Default)]
pub(super) struct LeastLatency {
    next: usize,
}

impl Policy for LeastLatency {
    fn pick(&mut self, candidates: &[Candidate], _affinity: u64) -> Option<usize> {
        least_by_key(candidates, &mut self.next, |candidate| {
            let expected = u128::from(candidate.load().saturating_add(1))
                * u128::from(candidate.service_ns.max(1));
            (expected, candidate.open)
        })
    }
}
