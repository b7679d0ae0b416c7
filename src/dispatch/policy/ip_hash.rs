//! The same worker for the same client address, as long as it has room; else the next by rendezvous
//! (Thaler & Ravishankar 1998: the highest hash of client and worker wins). A worker that comes or
//! goes moves only its own clients. Affinity is best effort: nobody waits for its sake.

use crate::dispatch::ledger::Ledger;
use crate::dispatch::policy::Policy;
use crate::dispatch::policy::greatest::first_of_greatest;

/// Rendezvous hashing.
#[derive(Debug, Default)]
pub(super) struct IpHash {
    /// By place: the worker's part of each hash.
    workers: Vec<i32>,
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
        first_of_greatest(ledger, &self.workers, |worker| hash(client ^ worker))
    }
}

/// The output function of SplitMix64 (Steele, Lea & Flood 2014): every bit depends on every bit.
/// The upper half of them is taken.
fn mix(mut number: u64) -> i32 {
    number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((number ^ (number >> 31)) >> 32) as i32
}

/// A product: its upper bits depend on all of what has been mixed before, and they decide. One
/// multiplication for each worker (by the golden ratio: Knuth, TAOCP 3, 6.4).
fn hash(number: i32) -> i32 {
    (number.cast_unsigned().wrapping_mul(0x9e37_79b9) >> 1).cast_signed()
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
