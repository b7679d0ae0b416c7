//! The least rank. By load: fewest requests waiting or in service, then fewest open connections. By
//! latency: (load + 1) × the average time of a request there, which moves by an eighth with each look
//! that saw requests end; a worker that nothing is known of counts as fast, so that a new one is
//! tried.
//!
//! Among equals the turn rotates: the first one from `next` on wins, so that ties (most decisions of
//! an idle server) are spread and do not all go to the lowest number.

use crate::dispatch::candidate::Candidate;
use crate::dispatch::ledger::{Ledger, NOT_ELIGIBLE};
use crate::dispatch::policy::Policy;

/// Bits of a rank by latency that tell equals apart by their open connections.
const OPEN_BITS: u32 = 20;

/// The worker with the least rank.
#[derive(Debug, Default)]
pub(super) struct ByRank {
    next: usize,
}

/// Requests waiting or in service, then open connections.
pub(super) fn load(candidate: &Candidate) -> u64 {
    let load = candidate.load().min(u32::MAX - 1);
    u64::from(load) << 32 | u64::from(candidate.open)
}

/// Nanoseconds until a request would be over, then open connections.
pub(super) fn expected_wait(candidate: &Candidate) -> u64 {
    let requests = u64::from(candidate.load().saturating_add(1));
    let expected = requests.saturating_mul(candidate.service_ns.max(1));
    let open = u64::from(candidate.open).min((1 << OPEN_BITS) - 1);
    expected.min((1 << (u64::BITS - OPEN_BITS)) - 2) << OPEN_BITS | open
}

impl Policy for ByRank {
    fn pick(&mut self, ledger: &Ledger, _affinity: u64) -> Option<usize> {
        let least = ledger.least_rank();
        if least == NOT_ELIGIBLE {
            return None;
        }
        let from_next = ledger.first_of_least(least, self.next);
        let place = from_next.or_else(|| ledger.first_of_least(least, 0))?;
        self.next = place + 1;
        Some(place)
    }
}
