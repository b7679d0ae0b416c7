//! The same worker for the same client address, as long as it has room; else the next by rendezvous
//! (Thaler & Ravishankar 1998: the highest hash of client and worker wins). A worker that comes or
//! goes moves only its own clients. Affinity is best effort: nobody waits for its sake.

use crate::dispatch::candidate::Candidate;
use crate::dispatch::policy::Policy;

/// Rendezvous hashing.
#[derive(Debug)]
pub(super) struct IpHash;

impl Policy for IpHash {
    fn pick(&mut self, candidates: &[Candidate], affinity: u64) -> Option<usize> {
        candidates
            .iter()
            .enumerate()
            .filter(|(_, candidate)| candidate.is_eligible())
            .max_by_key(|(_, candidate)| mix(affinity ^ mix(u64::from(candidate.slot.0) + 1)))
            .map(|(place, _)| place)
    }
}

/// The finalizer of SplitMix64 (Steele, Lea & Flood 2014): every input bit reaches every output bit.
fn mix(mut number: u64) -> u64 {
    number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
