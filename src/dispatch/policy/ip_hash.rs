//! The same worker for the same client address, as long as it has room; else the next by rendezvous
//! (Thaler & Ravishankar 1998: the highest hash of client and worker wins). A worker that comes or
//! goes moves only its own clients. Affinity is best effort: nobody waits for its sake.

use crate::dispatch::ledger::{Ledger, NOT_ELIGIBLE};
use crate::dispatch::policy::{BLOCK, Policy};

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
        let (mut best, mut at) = (NOBODY, 0);
        let blocks = self.workers.chunks(BLOCK).zip(ledger.ranks().chunks(BLOCK));
        for (number, block) in blocks.enumerate() {
            let of_block = worths(client, block).fold(NOBODY, u64::max);
            if of_block > best {
                (best, at) = (of_block, number * BLOCK);
            }
        }
        let block = (self.workers.get(at..)?, ledger.ranks().get(at..)?);
        let inside = worths(client, block).position(|worth| worth == best && worth != NOBODY)?;
        Some(at + inside)
    }
}

/// Less than any worth.
const NOBODY: u64 = 0;

/// What each worker is worth to a client; [`NOBODY`] where there is no room.
fn worths<'a>(
    client: u64,
    (workers, ranks): (&'a [u64], &'a [u64]),
) -> impl Iterator<Item = u64> + 'a {
    workers.iter().zip(ranks).map(move |(worker, rank)| {
        let worth = hash(client ^ worker) | 1;
        if *rank == NOT_ELIGIBLE { NOBODY } else { worth }
    })
}

/// The output function of SplitMix64 (Steele, Lea & Flood 2014): every bit depends on every bit.
fn mix(mut number: u64) -> u64 {
    number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// A product: its upper bits depend on all of what has been mixed before, and they decide. One
/// multiplication for each worker.
fn hash(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Balance;
    use crate::dispatch::candidate::{Sample, Shape};
    use crate::dispatch::policy::rank;
    use crate::ident::Slot;
    use crate::time::Nanos;

    const WORKERS: u16 = 50;

    fn ledger() -> Ledger {
        let mut ledger = Ledger::new(Duration::from_millis(1), None, rank(Balance::IpHash));
        for slot in 0..WORKERS {
            let shape = Shape { threads: 1, credit: 0, recallable: true };
            ledger.insert(Slot(slot), shape, Nanos(1));
            ledger.sample(Slot(slot), &Sample::default(), Nanos(1));
        }
        ledger
    }

    #[test]
    fn clients_spread_evenly_and_those_of_one_that_goes_do_too() {
        const CLIENTS: u64 = 100_000;
        let (mut before, mut after) = (ledger(), ledger());
        after.remove(Slot(7));
        let (mut counts, mut moved) = ([0_u32; WORKERS as usize], [0_u32; WORKERS as usize]);
        let (mut first, mut second) = (IpHash::default(), IpHash::default());
        for client in 0..CLIENTS {
            let at = first.pick(&before, client).expect("somebody has room");
            let then = second.pick(&after, client).expect("somebody has room");
            let then = usize::from(after.candidates()[then].slot.0);
            counts[at] += 1;
            if at == 7 {
                moved[then] += 1;
            } else {
                assert_eq!(at, then, "only its own clients move");
            }
        }
        // Six standard deviations of a fair draw are 13 % of 2000.
        let mean = (CLIENTS / u64::from(WORKERS)) as u32;
        assert!(counts.iter().all(|count| count.abs_diff(mean) < mean / 5), "{counts:?}");
        // About forty each, and six deviations as much again.
        moved[7] = moved[8];
        assert!(moved.iter().all(|count| (2..100).contains(count)), "{moved:?}");
        before.insert(Slot(WORKERS), Shape { threads: 1, credit: 0, recallable: true }, Nanos(1));
        assert!(first.pick(&before, 1).is_some(), "who comes is known at once");
    }
}
