//! In turn, in proportion to weights: nginx's smooth weighted round-robin (each turn every worker
//! earns its weight, the richest is picked and pays the sum). A worker without room goes on earning,
//! so it is owed its turns, up to a bound.

use crate::dispatch::ledger::{Ledger, NOT_ELIGIBLE};
use crate::dispatch::policy::{BLOCK, Policy};
use crate::ident::Slot;

/// How many of its own turns a worker without room is owed at the most.
const TURNS_OWED_MAX: i64 = 2;

/// Smooth weighted round-robin.
#[derive(Debug)]
pub(super) struct Weighted {
    weights: Vec<u32>,
    /// By place: who is here,
    slots: Vec<Slot>,
    /// what it earns each turn,
    earns: Vec<i64>,
    /// and what it has.
    has: Vec<i64>,
    total: i64,
    membership: u64,
}

impl Weighted {
    pub(super) fn new(weights: &[u32]) -> Self {
        let weights = weights.to_vec();
        let (slots, earns, has) = (Vec::new(), Vec::new(), Vec::new());
        Weighted { weights, slots, earns, has, total: 0, membership: 0 }
    }

    /// Only who is here earns; who has gone loses what it had.
    fn know(&mut self, ledger: &Ledger) {
        if self.membership == ledger.membership() {
            return;
        }
        self.membership = ledger.membership();
        let weight = |slot: &Slot| self.weights.get(usize::from(slot.0)).copied().unwrap_or(1);
        let had = |slot: &Slot| {
            let known = self.slots.binary_search(slot).ok();
            known.map_or(0, |place| self.has[place])
        };
        let slots: Vec<Slot> = ledger.candidates().iter().map(|one| one.slot).collect();
        self.has = slots.iter().map(had).collect();
        self.earns = slots.iter().map(|slot| i64::from(weight(slot))).collect();
        self.total = self.earns.iter().sum();
        self.slots = slots;
    }
}

impl Policy for Weighted {
    fn pick(&mut self, ledger: &Ledger, _affinity: u64) -> Option<usize> {
        if ledger.eligible() == 0 {
            return None;
        }
        self.know(ledger);
        let most_owed = self.total * TURNS_OWED_MAX;
        for (has, earns) in self.has.iter_mut().zip(&self.earns) {
            *has = (*has + earns).min(most_owed);
        }
        let (mut best, mut at) = (NOBODY, 0);
        let blocks = self.has.chunks(BLOCK).zip(self.earns.chunks(BLOCK));
        for (number, (block, ranks)) in blocks.zip(ledger.ranks().chunks(BLOCK)).enumerate() {
            let of_block = worths(block, ranks).fold(NOBODY, i64::max);
            if of_block > best {
                (best, at) = (of_block, number * BLOCK);
            }
        }
        let block = (self.has.get(at..)?, self.earns.get(at..)?);
        let inside = worths(block, ledger.ranks().get(at..)?).position(|worth| worth == best)?;
        let place = at + inside;
        self.has[place] -= self.total;
        Some(place)
    }
}

/// Less than any worth: of a worker without room.
const NOBODY: i64 = i64::MIN;

/// A weight of 0 takes a worker out, unless it is the only one with room.
const LAST: i64 = i64::MIN + 1;

/// What each worker is worth.
fn worths<'a>(
    (has, earns): (&'a [i64], &'a [i64]),
    ranks: &'a [u64],
) -> impl Iterator<Item = i64> + 'a {
    has.iter().zip(earns).zip(ranks).map(|((has, earns), rank)| match *earns {
        _ if *rank == NOT_ELIGIBLE => NOBODY,
        0 => LAST,
        _ => *has,
    })
}
