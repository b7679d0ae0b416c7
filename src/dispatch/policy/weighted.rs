//! In turn, in proportion to weights: nginx's smooth weighted round-robin (each turn every worker
//! earns its weight, the richest is picked and pays what all have earned). A worker without room
//! goes on earning, so it is owed its turns, up to a bound. From there on it earns nothing, and
//! nobody pays for it: else those that serve meanwhile would go into debt without end, and whoever
//! comes back would be flooded.

use crate::config::{WEIGHT_MAX, WORKERS_MAX};
use crate::dispatch::ledger::Ledger;
use crate::dispatch::policy::Policy;
use crate::dispatch::policy::greatest::first_of_greatest;
use crate::ident::Slot;

/// How many of its own turns a worker without room is owed at the most.
const TURNS_OWED_MAX: i32 = 2;

// What one worker may owe to all the others.
const _: () = assert!(
    WEIGHT_MAX as i64 * WORKERS_MAX as i64 * (TURNS_OWED_MAX as i64 * WORKERS_MAX as i64)
        < -(LAST as i64)
);

/// Smooth weighted round-robin.
#[derive(Debug)]
pub(super) struct Weighted {
    weights: Vec<u32>,
    /// By place: who is here,
    slots: Vec<Slot>,
    /// what it earns each turn,
    earns: Vec<i32>,
    /// and what it has.
    has: Vec<i32>,
    total: i32,
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
        let weight = |slot: &Slot| {
            let weight = self.weights.get(usize::from(slot.0)).copied().unwrap_or(1);
            weight.min(WEIGHT_MAX).cast_signed()
        };
        let has = |slot: &Slot| match self.slots.binary_search(slot) {
            _ if weight(slot) == 0 => LAST,
            Ok(place) => self.has[place],
            Err(_) => 0,
        };
        let slots: Vec<Slot> = ledger.candidates().iter().map(|one| one.slot).collect();
        let mut has: Vec<i32> = slots.iter().map(has).collect();
        let earns: Vec<i32> = slots.iter().map(weight).collect();
        self.total = earns.iter().sum();
        let most = self.most();
        // All together have nothing: what one that has gone had, or owed, is shared, and nobody has
        // or owes more than those who are left can make good.
        let earners: Vec<usize> = (0..earns.len()).filter(|&place| earns[place] > 0).collect();
        let others = i32::try_from(earners.len().saturating_sub(1)).unwrap_or(i32::MAX);
        let least = most.saturating_mul(others).saturating_neg();
        earners.iter().for_each(|&place| has[place] = has[place].clamp(least, most));
        let sum: i64 = earners.iter().map(|&place| i64::from(has[place])).sum();
        let each = sum.checked_div(earners.len().cast_signed() as i64).unwrap_or(0);
        earners.iter().for_each(|&place| has[place] -= each as i32);
        (self.slots, self.earns, self.has) = (slots, earns, has);
    }

    /// What one worker may be owed.
    fn most(&self) -> i32 {
        self.total.saturating_mul(TURNS_OWED_MAX)
    }
}

impl Policy for Weighted {
    fn pick(&mut self, ledger: &Ledger, _affinity: u64) -> Option<usize> {
        if ledger.eligible() == 0 {
            return None;
        }
        self.know(ledger);
        let most = self.most();
        let mut earned = 0;
        for (has, earns) in self.has.iter_mut().zip(&self.earns) {
            let before = *has;
            *has = (before + earns).min(most);
            earned += *has - before;
        }
        let place = first_of_greatest(ledger, &self.has, |has| has)?;
        if self.earns[place] > 0 {
            // A simulation may have more workers than a server: there a debt ends somewhere.
            self.has[place] = self.has[place].saturating_sub(earned).max(LAST + 1);
        } else {
            // A last resort pays nothing; what was earned is shared anew with the next pick.
            self.membership = 0;
        }
        Some(place)
    }
}

/// What a worker has whose weight is 0: it is taken out, unless it is the only one with room.
const LAST: i32 = i32::MIN + 1;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Balance;
    use crate::dispatch::candidate::{Sample, Shape};
    use crate::dispatch::policy::rank;
    use crate::time::Nanos;

    fn ledger(workers: u16) -> Ledger {
        let mut ledger = Ledger::new(Duration::from_millis(1), None, rank(Balance::Weighted));
        for slot in 0..workers {
            let shape = Shape { threads: 1, credit: 0, recallable: true };
            ledger.insert(Slot(slot), shape, Nanos(1));
            give_room(&mut ledger, slot);
        }
        ledger
    }

    fn give_room(ledger: &mut Ledger, slot: u16) {
        ledger.sample(Slot(slot), &Sample::default(), Nanos(1));
    }

    /// Nobody in these slots has room until the next look.
    fn fill(ledger: &mut Ledger, slots: std::ops::Range<u16>) {
        slots.for_each(|slot| ledger.block(Slot(slot)));
    }

    fn counts(policy: &mut Weighted, ledger: &Ledger, picks: usize) -> Vec<usize> {
        let mut counts = vec![0; ledger.candidates().len()];
        for _ in 0..picks {
            counts[policy.pick(ledger, 0).expect("somebody has room")] += 1;
        }
        counts
    }

    #[test]
    fn turns_are_in_proportion_and_spread() {
        let ledger = ledger(3);
        let mut policy = Weighted::new(&[5, 1, 1]);
        let order: Vec<_> = (0..7).map(|_| policy.pick(&ledger, 0).expect("room")).collect();
        // The example of nginx's own change (commit 52327e0, 2012): a a b a c a a.
        assert_eq!(order, [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(counts(&mut policy, &ledger, 700), [500, 100, 100]);
    }

    #[test]
    fn many_are_told_apart_as_few_are() {
        let ledger = ledger(100);
        let weights: Vec<u32> = (0..100).map(|slot| slot % 4).collect();
        let mut policy = Weighted::new(&weights);
        let counts = counts(&mut policy, &ledger, 1500);
        let expected: Vec<usize> = weights.iter().map(|weight| *weight as usize * 10).collect();
        assert_eq!(counts, expected, "a weight of 0 gets nothing");
    }

    #[test]
    fn a_worker_without_room_is_owed_two_turns_and_no_more() {
        let mut ledger = ledger(4);
        let mut policy = Weighted::new(&[1; 4]);
        ledger.block(Slot(3));
        assert_eq!(counts(&mut policy, &ledger, 300), [100, 100, 100, 0]);
        give_room(&mut ledger, 3);
        let next = counts(&mut policy, &ledger, 8);
        assert!((3..=4).contains(&next[3]), "its turns and two that it was owed: {next:?}");
    }

    /// Whoever was picked because nobody else had room is not left out for as long afterwards.
    #[test]
    fn a_worker_that_served_alone_owes_each_of_the_others_two_turns_and_no_more() {
        let mut ledger = ledger(4);
        let mut policy = Weighted::new(&[1; 4]);
        fill(&mut ledger, 1..4);
        assert_eq!(counts(&mut policy, &ledger, 1000), [1000, 0, 0, 0]);
        (1..4).for_each(|slot| give_room(&mut ledger, slot));
        // Two turns of each of the others, and six rounds in which it earns them.
        assert_eq!(counts(&mut policy, &ledger, 24), [0, 9, 8, 7]);
        assert_eq!(counts(&mut policy, &ledger, 400), [100; 4]);
    }

    /// What they owed, and were owed by, those that have gone is no turn of those that are left.
    #[test]
    fn who_is_left_of_many_is_not_flooded() {
        let mut ledger = ledger(8);
        let mut policy = Weighted::new(&[1; 8]);
        fill(&mut ledger, 1..8);
        assert_eq!(counts(&mut policy, &ledger, 50)[0], 50);
        for slot in 2..8 {
            ledger.remove(Slot(slot));
        }
        give_room(&mut ledger, 1);
        let next = counts(&mut policy, &ledger, 10);
        assert!(next[0] >= 2, "two turns that the other one is owed, and its own: {next:?}");
    }

    #[test]
    fn whoever_comes_and_goes_leaves_the_others_in_proportion() {
        let mut ledger = ledger(3);
        let mut policy = Weighted::new(&[3, 2, 1]);
        for _ in 0..1000 {
            // Whoever has just been picked goes, and with it what it owes; another one comes.
            let slot = policy.pick(&ledger, 0).expect("somebody has room") as u16;
            ledger.remove(Slot(slot));
            policy.pick(&ledger, 0).expect("somebody has room");
            ledger.insert(Slot(slot), Shape { threads: 1, credit: 0, recallable: true }, Nanos(1));
            give_room(&mut ledger, slot);
        }
        counts(&mut policy, &ledger, 60);
        assert_eq!(counts(&mut policy, &ledger, 600), [300, 200, 100]);
    }

    #[test]
    fn a_weight_of_nothing_is_the_last_resort() {
        let mut ledger = ledger(2);
        let mut policy = Weighted::new(&[0, 1]);
        assert_eq!(counts(&mut policy, &ledger, 10), [0, 10]);
        ledger.block(Slot(1));
        assert_eq!(counts(&mut policy, &ledger, 10), [10, 0]);
        give_room(&mut ledger, 1);
        assert_eq!(counts(&mut policy, &ledger, 10), [0, 10]);
    }

    #[test]
    fn a_last_resort_leaves_the_others_in_proportion() {
        let mut ledger = ledger(3);
        let mut policy = Weighted::new(&[0, 1, 1]);
        fill(&mut ledger, 1..3);
        assert_eq!(counts(&mut policy, &ledger, 10), [10, 0, 0]);
        (1..3).for_each(|slot| give_room(&mut ledger, slot));
        assert_eq!(counts(&mut policy, &ledger, 10), [0, 5, 5]);
    }
}
