//! In turn. A worker that had no room when its turn came is owed it, and gets it first.

use crate::dispatch::ledger::Ledger;
use crate::dispatch::policy::Policy;
use crate::ident::Slot;

/// Turns that one slot may be owed: about what one worker is lent in a burst.
const OWED_MAX: usize = 8;

/// The next worker in turn.
#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    next: usize,
    /// Slots whose turn was skipped, in order. A slot is owed [`OWED_MAX`] turns at the most: after
    /// a long stall a worker is not to be flooded with all that it has missed.
    owed: Vec<Slot>,
}

impl Policy for RoundRobin {
    fn pick(&mut self, ledger: &Ledger, _affinity: u64) -> Option<usize> {
        if ledger.eligible() == 0 {
            return None;
        }
        self.pay_debt(ledger).or_else(|| self.next_in_turn(ledger))
    }
}

impl RoundRobin {
    fn pay_debt(&mut self, ledger: &Ledger) -> Option<usize> {
        // A slot that has gone is owed nothing.
        self.owed.retain(|slot| ledger.place(*slot).is_some());
        let (debt, place) = self.owed.iter().enumerate().find_map(|(debt, slot)| {
            let place = ledger.place(*slot)?;
            ledger.candidates()[place].is_eligible().then_some((debt, place))
        })?;
        self.owed.remove(debt);
        Some(place)
    }

    fn next_in_turn(&mut self, ledger: &Ledger) -> Option<usize> {
        let candidates = ledger.candidates();
        let count = candidates.len();
        for _ in 0..count {
            let place = self.next % count;
            self.next = (place + 1) % count;
            let candidate = &candidates[place];
            if candidate.is_eligible() {
                return Some(place);
            }
            if self.owed.iter().filter(|slot| **slot == candidate.slot).count() < OWED_MAX {
                self.owed.push(candidate.slot);
            }
        }
        None
    }
}
