//! In turn, in proportion to weights: nginx's smooth weighted round-robin (each turn every worker
//! earns its weight, the richest is picked and pays the sum). A worker without room goes on earning,
//! so it is owed its turns, up to a bound.

use crate::dispatch::ledger::{Ledger, NOT_ELIGIBLE};
use crate::dispatch::policy::Policy;
use crate::ident::Slot;

/// How many of its own turns a worker without room is owed at the most.
const TURNS_OWED_MAX: i64 = 2;

/// Smooth weighted round-robin.
#[derive(Debug)]
pub(super) struct Weighted {
    weights: Vec<u32>,
    /// By place: who is here, what it weighs, and what it has earned.
    accounts: Vec<Account>,
    total: i64,
    membership: u64,
}

#[derive(Clone, Copy, Debug)]
struct Account {
    slot: Slot,
    weight: i64,
    earned: i64,
}

impl Weighted {
    pub(super) fn new(weights: &[u32]) -> Self {
        let weights = weights.to_vec();
        Weighted { weights, accounts: Vec::new(), total: 0, membership: 0 }
    }

    /// Only who is here earns; who has gone loses what it had.
    fn know(&mut self, ledger: &Ledger) {
        if self.membership == ledger.membership() {
            return;
        }
        self.membership = ledger.membership();
        let before = std::mem::take(&mut self.accounts);
        let account = |slot: Slot| {
            let weight = self.weights.get(usize::from(slot.0)).copied().unwrap_or(1);
            let known = before.binary_search_by_key(&slot, |account| account.slot).ok();
            let earned = known.map_or(0, |place| before[place].earned);
            Account { slot, weight: i64::from(weight), earned }
        };
        self.accounts = ledger.candidates().iter().map(|one| account(one.slot)).collect();
        self.total = self.accounts.iter().map(|account| account.weight).sum();
    }
}

impl Policy for Weighted {
    fn pick(&mut self, ledger: &Ledger, _affinity: u64) -> Option<usize> {
        if ledger.eligible() == 0 {
            return None;
        }
        self.know(ledger);
        let most_owed = self.total * TURNS_OWED_MAX;
        let mut best: Option<(i64, usize)> = None;
        for (place, (account, rank)) in self.accounts.iter_mut().zip(ledger.ranks()).enumerate() {
            account.earned = (account.earned + account.weight).min(most_owed);
            // A weight of 0 takes a worker out, unless it is the only one with room.
            let worth = if account.weight == 0 { i64::MIN } else { account.earned };
            if *rank != NOT_ELIGIBLE && best.is_none_or(|(most, _)| worth > most) {
                best = Some((worth, place));
            }
        }
        let (_, place) = best?;
        self.accounts[place].earned -= self.total;
        Some(place)
    }
}
