//! The least rank. By load: fewest requests waiting or in service, then fewest open connections. By
//! latency: (load + 1) × the average time of a request there, which moves by an eighth with each look
//! that saw requests end; a worker that nothing is known of counts as fast, so that a new one is
//! tried.
//!
//! Among equals the turn rotates: the first one from `next` on wins, so that ties (most decisions of
//! an idle server) are spread and do not all go to the lowest number.

use crate::dispatch::candidate::Candidate;
use crate::dispatch::ledger::{Ledger, NOT_ELIGIBLE};
use crate::dispatch::policy::{BLOCK, Policy};

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
        let ranks = ledger.ranks();
        let begin = if self.next < ranks.len() { self.next } else { 0 };
        let (before, from) = ranks.split_at(begin);
        let (least_before, at_before) = least(before);
        let (least_from, at_from) = least(from);
        let place = match least_from.min(least_before) {
            NOT_ELIGIBLE => return None,
            rank if rank == least_from => begin + at_from,
            _ => at_before,
        };
        self.next = place + 1;
        Some(place)
    }
}

/// The least rank, and where it first stands.
fn least(ranks: &[u64]) -> (u64, usize) {
    let (mut least, mut at) = (NOT_ELIGIBLE, 0);
    for (number, block) in ranks.chunks(BLOCK).enumerate() {
        let of_block = block.iter().copied().fold(NOT_ELIGIBLE, u64::min);
        if of_block < least {
            (least, at) = (of_block, number * BLOCK);
        }
    }
    let block = ranks.get(at..).unwrap_or_default();
    (least, at + block.iter().position(|rank| *rank == least).unwrap_or(0))
}
