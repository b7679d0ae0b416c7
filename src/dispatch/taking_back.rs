//! What is taken back, and how much of it: never more than can be seated elsewhere at once.
//!
//! Not here: who is stuck (`stuck`), where it goes then (`Dispatcher::decide`).

use crate::dispatch::candidate::Candidate;
use crate::dispatch::{Dispatcher, Effect};

impl Dispatcher {
    /// What waits at a stuck worker goes where it is served at once, or anywhere from a worker that
    /// has been stuck for long. What waits behind busy threads goes to idle ones, from the longest
    /// queue first, as far as there are idle ones. Never more than can be seated elsewhere: it would
    /// only come back. And nothing goes behind another busy worker in place of this one: that would
    /// be stuck next, and those that wander are overtaken by all that stay where they are.
    /// Returns how many.
    pub(super) fn plan_recalls(&mut self) -> u32 {
        if !self.ledger.any_stranded() && !self.ledger.any_waits_long() {
            return 0;
        }
        let mut planned = 0;
        for place in 0..self.ledger.candidates().len() {
            let candidate = &self.ledger.candidates()[place];
            if candidate.stuck {
                let room = self.room_elsewhere(candidate).saturating_sub(planned);
                let count = candidate.recallable().min(room);
                planned += count;
                self.plan_recall(place, count);
            }
        }
        let candidates = self.ledger.candidates();
        let free = candidates.iter().map(Candidate::free_places).fold(0, u32::saturating_add);
        let mut free = free.saturating_sub(planned);
        let mut queues: Vec<_> = (0..candidates.len())
            .map(|place| (candidates[place].overdue_behind(), place))
            .filter(|(waits, _)| *waits > 0)
            .collect();
        queues.sort_by_key(|(waits, place)| (std::cmp::Reverse(*waits), *place));
        for (waits, place) in queues {
            let count = waits.min(free);
            free -= count;
            planned += count;
            self.plan_recall(place, count);
        }
        planned
    }

    /// Readable idle loans of stuck workers go where they are served at once; each such worker gets
    /// its share of the room, in turn. `taken`: places that recalls will fill.
    pub(super) fn plan_rescues(&mut self, mut taken: u32) {
        let count = self.ledger.candidates().len();
        let mut left = self.ledger.rescuable();
        let begin = self.rescue_next;
        for place in (0..count).map(|step| (begin + step) % count) {
            if left == 0 {
                return;
            }
            let candidate = &self.ledger.candidates()[place];
            if !candidate.wants_rescue() {
                continue;
            }
            let room = self.room_elsewhere(candidate).saturating_sub(taken);
            let share = room.div_ceil(u32::try_from(left).unwrap_or(u32::MAX));
            left -= 1;
            let (slot, unlooked) = (candidate.slot, candidate.idle_unlooked);
            if share > 0 {
                taken += share;
                self.rescue_next = place + 1;
            }
            // Without room, too, a first look: nobody rings for what is not there.
            if share > 0 || unlooked {
                self.ledger.set_idle_looked(place);
                self.effects.push_back(Effect::Rescue { slot, count: share });
            }
        }
    }

    /// How many of this stuck worker's connections are better off elsewhere.
    pub(super) fn room_elsewhere(&self, candidate: &Candidate) -> u32 {
        let room = match candidate.is_hopeless() {
            true => self.ledger.free_credit(),
            false => self.ledger.places_at_once(),
        };
        u32::try_from(room).unwrap_or(u32::MAX)
    }

    fn plan_recall(&mut self, place: usize, count: u32) {
        if count > 0 {
            let slot = self.ledger.candidates()[place].slot;
            self.ledger.plan_recalls(place, count);
            self.effects.push_back(Effect::Recall { slot, count });
        }
    }
}
