//! In turn. A worker that had no room when its turn came is owed it, and gets it first.

use crate::dispatch::candidate::Candidate;
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
    fn pick(&mut self, candidates: &[Candidate], _affinity: u64) -> Option<usize> {
        self.pay_debt(candidates).or_else(|| self.next_in_turn(candidates))
    }
}

impl RoundRobin {
    fn pay_debt(&mut self, candidates: &[Candidate]) -> Option<usize> {
        // A slot that has gone is owed nothing.
        self.owed.retain(|slot| candidates.iter().any(|candidate| candidate.slot == *slot));
        let (debt, place) = self.owed.iter().enumerate().find_map(|(debt, slot)| {
            let eligible =
                |candidate: &Candidate| candidate.slot == *slot && candidate.is_eligible();
            candidates.iter().position(eligible).map(|place| (debt, place))
        })?;
        self.owed.remove(debt);
        Some(place)
    }

    fn next_in_turn(&mut self, candidates: &[Candidate]) -> Option<usize> {
        let count = candidates.len();
        if !candidates.iter().any(Candidate::is_eligible) {
            return None;
        }
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
