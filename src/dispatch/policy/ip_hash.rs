//! The same worker for the same client address, as long as it has room; else the next by rendezvous
//! (Thaler & Ravishankar 1998: the highest hash of client and worker wins). A worker that comes or
//! goes moves only its own clients. Affinity is best effort: nobody waits for its sake.

use crate::dispatch::ledger::{Ledger, NOT_ELIGIBLE};
use crate::dispatch::policy::Policy;

/// Rendezvous hashing.
#[derive(Debug, Default)]
pub(super) struct IpHash {
    /// By place: the worker's part of each hash.
    workers: Vec<u64>,
    membership: u64,
}

impl Policy for IpHash {
    fn pick(&mut self, ledger: &Ledger, affinity: u64) -> Option<usize> {
        if self.membership != ledger.membership() {
            self.membership = ledger.membership();
            let slots = ledger.candidates().iter().map(|candidate| u64::from(candidate.slot.0));
            self.workers = slots.map(|slot| mix(slot + 1)).collect();
        }
        let client = mix(affinity);
        let mut best: (u64, Option<usize>) = (0, None);
        for (place, (worker, rank)) in self.workers.iter().zip(ledger.ranks()).enumerate() {
            let hash = fold(client ^ worker);
            if *rank != NOT_ELIGIBLE && (hash > best.0 || best.1.is_none()) {
                best = (hash, Some(place));
            }
        }
        best.1
    }
}

/// The output function of SplitMix64 (Steele, Lea & Flood 2014): every bit depends on every bit.
fn mix(mut number: u64) -> u64 {
    number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// A product folded on itself, as in wyhash: enough for what has been mixed before, and one
/// multiplication for each worker.
fn fold(number: u64) -> u64 {
    let product = u128::from(number) * 0x9e37_79b9_7f4a_7c15_u128;
    (product >> 64) as u64 ^ product as u64
}
