//! In turn, in proportion to weights: nginx's smooth weighted round-robin (each turn every worker
//! earns its weight, the richest is picked and pays the sum). A worker without room goes on earning,
//! so it is owed its turns, up to a bound.

use crate::dispatch::candidate::Candidate;
use crate::dispatch::policy::Policy;
use crate::ident::Slot;

/// How many of its own turns a worker without room is owed at the most.
const TURNS_OWED_MAX: i64 = 2;

/// Smooth weighted round-robin.
#[derive(Debug)]
pub(super) struct Weighted {
    weights: Vec<u32>,
    /// What each slot has earned.
    earned: Vec<(Slot, i64)>,
}

impl Weighted {
    pub(super) fn new(weights: &[u32]) -> Self {
        Weighted { weights: weights.to_vec(), earned: Vec::new() }
    }

    fn weight(&self, slot: Slot) -> i64 {
        i64::from(self.weights.get(usize::from(slot.0)).copied().unwrap_or(1))
    }

    fn earned(&mut self, slot: Slot) -> &mut i64 {
        let place = match self.earned.iter().position(|(other, _)| *other == slot) {
            Some(place) => place,
            None => {
                self.earned.push((slot, 0));
                self.earned.len() - 1
            }
        };
        &mut self.earned[place].1
    }
}

impl Policy for Weighted {
    fn pick(&mut self, candidates: &[Candidate], _affinity: u64) -> Option<usize> {
        if !candidates.iter().any(Candidate::is_eligible) {
            return None;
        }
        // Only who is here earns; who has gone loses what it had.
        self.earned.retain(|(slot, _)| candidates.iter().any(|one| one.slot == *slot));
        let total: i64 = candidates.iter().map(|candidate| self.weight(candidate.slot)).sum();
        let mut best: Option<(i64, usize)> = None;
        for (place, candidate) in candidates.iter().enumerate() {
            let weight = self.weight(candidate.slot);
            let earned = self.earned(candidate.slot);
            *earned = (*earned + weight).min(total * TURNS_OWED_MAX);
            // A weight of 0 takes a worker out, unless it is the only one with room.
            let worth = if weight == 0 { i64::MIN } else { *earned };
            if candidate.is_eligible() && best.is_none_or(|(most, _)| worth > most) {
                best = Some((worth, place));
            }
        }
        let (_, place) = best?;
        *self.earned(candidates[place].slot) -= total;
        Some(place)
    }
}
