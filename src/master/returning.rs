//! Connections come back: recalled, given, refused, or ended by their worker.
//!
//! Not here: which are recalled (`dispatch`), idle ones of a stuck worker (`watching`), those of a
//! dead one (`settling`).

use crate::account::Outcome;
use crate::board::{LetGo, LetGoHow, Recall};
use crate::config::{RING_ENTRIES_PER_TURN_MAX, RING_LOOK_MAX, RING_LOOK_MIN};
use crate::ident::{ConnectionId, LoanId, Slot};
use crate::loan::{LoanState, MasterState};
use crate::master::Master;
use crate::master::connections::Place;
use crate::supervise::Breach;
use crate::sys::stream;

impl Master {
    /// Takes back up to `count` loans that the worker has not claimed, oldest first.
    pub(super) fn recall(&mut self, slot: Slot, count: u32) {
        let Some(place) = self.roster.serving(slot) else { return };
        for _ in 0..count {
            let taken = self.recall_oldest(place);
            let connection = taken.and_then(|id| self.connections.get(id).map(|one| (id, one)));
            match connection {
                Some((id, connection)) => {
                    let affinity = connection.affinity();
                    self.counters.recalled += 1;
                    self.dispatcher.handle_recalled(slot, id, affinity);
                }
                None => self.dispatcher.handle_recall_lost(slot),
            }
        }
        self.tell_recalls(place);
    }

    fn recall_oldest(&mut self, place: u32) -> Option<ConnectionId> {
        let member = self.roster.get_mut(place)?;
        let (loan, _) = member.unclaimed.pop_front()?;
        self.take_back(place, loan)
    }

    /// Takes one loan back, if its worker has not claimed it. The connection is the caller's.
    pub(super) fn take_back(&mut self, place: u32, loan: LoanId) -> Option<ConnectionId> {
        let latest = self.latest_deadline();
        let member = self.roster.get_mut(place)?;
        match member.page.recall(loan) {
            Recall::Taken { connection, was, terms } => {
                member.recalls_owed.push_back(loan);
                if let Some(held) = self.connections.get_mut(connection) {
                    member.idle.forget(held);
                    if was != LoanState::Lent {
                        // What it has not claimed it has not changed, whatever its page says.
                        held.take_terms(&terms, latest);
                    }
                }
                self.connections.move_to(connection, Place::Queued);
                Some(connection)
            }
            Recall::Claimed | Recall::Over => None,
        }
    }

    /// Tells a worker which copies to drop, as far as the channel takes it.
    pub(super) fn tell_recalls(&mut self, place: u32) {
        if let Some(member) = self.roster.get_mut(place) {
            // A broken channel is its pidfd's to report.
            let _ = member.pay_debts();
        }
    }

    /// The longest idle connection at any worker, taken back.
    pub(super) fn recall_longest_idle(&mut self) -> Option<ConnectionId> {
        let idle = self.roster.iter().filter(|(_, member)| member.proxy.is_none()).flat_map(
            |(place, member)| {
                member
                    .page
                    .loans()
                    .filter(|(loan, ..)| member.page.look(*loan) == LoanState::Idle)
                    .map(move |(loan, id, _)| (member.page.idle_deadline(loan), place, loan, id))
            },
        );
        let (_, place, loan, _) = idle.min_by_key(|(deadline, ..)| *deadline)?;
        let id = self.take_back(place, loan);
        self.tell_recalls(place);
        id
    }

    /// Takes what workers have let go of out of their rings.
    pub(super) fn harvest(&mut self) {
        let mut let_go = std::mem::take(&mut self.let_go);
        let mut any = false;
        for place in self.roster.places() {
            self.harvest_one(place, &mut let_go);
            any |= !let_go.is_empty();
            for one in let_go.drain(..) {
                self.handle_let_go(place, &one);
            }
        }
        if any {
            self.look_again_soon();
        } else {
            self.look_again_later();
        }
        self.let_go = let_go;
    }

    pub(super) fn harvest_one(&mut self, place: u32, out: &mut Vec<LetGo>) {
        let Some(member) = self.roster.get_mut(place) else { return };
        if member.breach.is_some() || !member.page.ring_waits() {
            // What a liar has in its ring is settled by its words.
            return;
        }
        if let Err(cause) = member.page.drain_ring(RING_ENTRIES_PER_TURN_MAX, out) {
            self.handle_breach(place, Breach::Ring, &cause.to_string());
        }
    }

    pub(super) fn handle_let_go(&mut self, place: u32, let_go: &LetGo) {
        if !matches!(let_go.how, LetGoHow::Recalled)
            && let Some(connection) = self.connections.get_mut(let_go.connection)
            && let Some(member) = self.roster.get(place)
        {
            // Also of one that is over: another worker, from which it was recalled, may still hold
            // a copy, and then the registration would outlive ours.
            member.idle.forget(connection);
        }
        match let_go.how {
            LetGoHow::Ended => {
                // The worker has shut it down: its client waits for nothing.
                let ended = self.leave(let_go.connection, Outcome::Finished);
                self.ended.extend(ended);
            }
            LetGoHow::Given(terms) => {
                self.counters.given += 1;
                let latest = self.latest_deadline();
                if let Some(connection) = self.connections.get_mut(let_go.connection) {
                    connection.take_terms(&terms, latest);
                    self.place_returned(let_go.connection);
                }
            }
            // It went elsewhere when it was recalled.
            LetGoHow::Recalled => {}
        }
    }

    /// A connection has come back that nobody reads from: seated if its client has spoken, parked
    /// if it has not; and ended where the server has stopped listening.
    pub(super) fn place_returned(&mut self, id: ConnectionId) {
        self.connections.move_to(id, Place::Queued);
        let Some(connection) = self.connections.get(id) else { return };
        let speaks = stream::bytes_readable(connection.descriptor()).unwrap_or(0) > 0;
        if speaks {
            let affinity = connection.affinity();
            self.dispatcher.handle_readable(id, affinity);
        } else if self.stopping.has_closed() {
            self.close(id, Outcome::IdleAtStop);
        } else {
            self.park(id);
        }
    }

    /// Takes back every loan that is LENT or IDLE; or only the IDLE ones. Says how many.
    pub(super) fn take_back_unclaimed(&mut self, place: u32, only_idle: bool) -> u64 {
        let Some(member) = self.roster.get(place) else { return 0 };
        if member.proxy.is_some() {
            // Without a page a worker serves what it holds: it cannot be asked.
            return 0;
        }
        let loans: Vec<_> = member
            .page
            .loans()
            .filter(|(_, _, state)| *state == MasterState::OnLoan)
            .map(|(loan, ..)| loan)
            .filter(|loan| !only_idle || member.page.look(*loan) == LoanState::Idle)
            .collect();
        let mut taken = 0;
        for loan in loans {
            if let Some(id) = self.take_back(place, loan) {
                taken += 1;
                self.place_returned(id);
            }
        }
        if let Some(member) = self.roster.get_mut(place)
            && !only_idle
        {
            member.unclaimed.clear();
        }
        taken
    }

    /// Looks at rings again soon: something is going on.
    pub(super) fn look_again_soon(&mut self) {
        self.ring_look = (self.now + RING_LOOK_MIN, RING_LOOK_MIN);
    }

    /// Looks at rings again, later each time that there was nothing.
    pub(super) fn look_again_later(&mut self) {
        if self.now >= self.ring_look.0 {
            let pause = (self.ring_look.1 * 2).min(RING_LOOK_MAX);
            self.ring_look = (self.now + pause, pause);
        }
    }
}
