//! What has happened since the server began: counted once each.
//!
//! Not here: how many are where now ([`Here`](super::Here)), requests (the workers' load reports).

use crate::account::accept_error::AcceptError;
use crate::account::outcome::Outcome;
use crate::ident::Slot;
use crate::supervise::{Breach, Restart};

/// The counters. They only ever rise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections taken from the kernel.
    pub accepted: u64,
    /// Loans made.
    pub lent: u64,
    /// Loans taken back because they had not been claimed.
    pub recalled: u64,
    /// Idle loans of stuck workers taken back because their clients had sent something.
    pub rescued: u64,
    /// Loans that workers refused.
    pub refused: u64,
    /// Loans given back.
    pub given: u64,
    /// Connections of dead workers that were seated again or parked.
    pub outlived: u64,
    /// Workers that broke the protocol, in whatever way.
    pub protocol_errors: u64,
    /// Worker processes started, failed starts included.
    pub worker_starts: u64,
    /// Reloads asked for.
    pub reloads: u64,
    /// Of those, how many were given up.
    pub reloads_failed: u64,
    /// Upgrades in place that this server has behind it.
    pub upgrades: u64,
    /// Helper processes of `--admin` started, failed starts included.
    pub helper_starts: u64,
    breaches: [u64; Breach::ALL.len()],
    outcomes: [u64; Outcome::ALL.len()],
    restarts: [u64; Restart::ALL.len()],
    accept_errors: [u64; AcceptError::ALL.len()],
    slots: Vec<SlotCounters>,
}

/// What has happened at one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotCounters {
    /// Connections whose first worker was there.
    pub seated: u64,
    /// Worker processes started there.
    pub starts: u64,
}

/// How many numbers have a name.
pub(super) const NAMED: usize =
    EVENTS + Breach::ALL.len() + Outcome::ALL.len() + Restart::ALL.len() + AcceptError::ALL.len();

const EVENTS: usize = 13;

impl Counters {
    /// A connection has left the table.
    pub fn count(&mut self, outcome: Outcome) {
        self.outcomes[outcome as usize] += 1;
    }

    /// A worker has broken the protocol.
    pub fn count_breach(&mut self, breach: Breach) {
        self.protocol_errors += 1;
        self.breaches[breach as usize] += 1;
    }

    /// A slot has another process, or gets one, for this reason.
    pub fn count_restart(&mut self, restart: Option<Restart>) {
        if let Some(restart) = restart {
            self.restarts[restart as usize] += 1;
        }
    }

    /// accept(2) has failed.
    pub fn count_accept_error(&mut self, error: AcceptError) {
        self.accept_errors[error as usize] += 1;
    }

    /// What is counted of a slot, to be changed.
    pub fn slot_mut(&mut self, slot: Slot) -> &mut SlotCounters {
        let place = usize::from(slot.0);
        if self.slots.len() <= place {
            self.slots.resize(place + 1, SlotCounters::default());
        }
        &mut self.slots[place]
    }

    /// What is counted of a slot.
    pub fn slot(&self, slot: Slot) -> SlotCounters {
        self.slots.get(usize::from(slot.0)).copied().unwrap_or_default()
    }

    /// Every slot that anything was counted of, in order.
    pub fn slots(&self) -> &[SlotCounters] {
        &self.slots
    }

    /// First seatings by slot, as a list to read.
    pub fn seated(&self) -> String {
        let numbers: Vec<_> = self.slots.iter().map(|slot| slot.seated.to_string()).collect();
        numbers.join(" ")
    }

    /// How many have left so.
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// Every number that is not a slot's, under its stable name: what happened first, then the
    /// outcomes, then why processes were started again and why accepting failed.
    pub fn list(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let outcomes = Outcome::ALL.map(|outcome| (outcome.name(), self.of(outcome)));
        let others = self.restarts().chain(self.accept_errors());
        self.events().into_iter().chain(self.breaches()).chain(outcomes).chain(others)
    }

    /// Sets a number by its stable name. False if there is none of that name.
    pub fn set(&mut self, name: &str, value: u64) -> bool {
        let found = self.numbers_mut().into_iter().find(|(known, _)| *known == name);
        found.map(|(_, number)| *number = value).is_some()
    }

    /// Every number that is not a slot's, to be set, in the order of [`Counters::list`].
    pub(super) fn numbers_mut(&mut self) -> Vec<(&'static str, &mut u64)> {
        let Counters {
            accepted,
            lent,
            recalled,
            rescued,
            refused,
            given,
            outlived,
            protocol_errors,
            worker_starts,
            reloads,
            reloads_failed,
            upgrades,
            helper_starts,
            breaches,
            outcomes,
            restarts,
            accept_errors,
            slots: _,
        } = self;
        let events: [_; EVENTS] = [
            ("accepted", accepted),
            ("lent", lent),
            ("recalled", recalled),
            ("rescued", rescued),
            ("refused", refused),
            ("given", given),
            ("outlived", outlived),
            ("protocol_errors", protocol_errors),
            ("worker_starts", worker_starts),
            ("reloads", reloads),
            ("reloads_failed", reloads_failed),
            ("upgrades", upgrades),
            ("helper_starts", helper_starts),
        ];
        let outcomes = Outcome::ALL.iter().map(|outcome| outcome.name()).zip(outcomes);
        let breaches = Breach::ALL.iter().map(|breach| breach.name()).zip(breaches);
        let restarts = Restart::ALL.iter().map(|restart| restart.name()).zip(restarts);
        let accept_errors = AcceptError::ALL.iter().map(|error| error.name()).zip(accept_errors);
        let others = restarts.chain(accept_errors);
        events.into_iter().chain(breaches).chain(outcomes).chain(others).collect()
    }

    /// Workers that broke the protocol, by how they did.
    pub fn breaches(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Breach::ALL.iter().map(|breach| breach.name()).zip(self.breaches)
    }

    /// Processes started again, by why.
    pub fn restarts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Restart::ALL.iter().map(|restart| restart.name()).zip(self.restarts)
    }

    /// Failures of accept(2), by what it said.
    pub fn accept_errors(&self) -> impl Iterator<Item = (&'static str, u64)> {
        AcceptError::ALL.iter().map(|error| error.name()).zip(self.accept_errors)
    }

    /// What is counted and is not an outcome.
    pub fn events(&self) -> [(&'static str, u64); EVENTS] {
        [
            ("accepted", self.accepted),
            ("lent", self.lent),
            ("recalled", self.recalled),
            ("rescued", self.rescued),
            ("refused", self.refused),
            ("given", self.given),
            ("outlived", self.outlived),
            ("protocol_errors", self.protocol_errors),
            ("worker_starts", self.worker_starts),
            ("reloads", self.reloads),
            ("reloads_failed", self.reloads_failed),
            ("upgrades", self.upgrades),
            ("helper_starts", self.helper_starts),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_can_be_set_under_the_same_name() {
        let mut counters = Counters::default();
        let names: Vec<_> = counters.list().map(|(name, _)| name).collect();
        assert_eq!(names.len(), NAMED);
        for (value, name) in (1..).zip(&names) {
            assert!(counters.set(name, value), "{name}");
        }
        let values: Vec<_> = counters.list().map(|(_, value)| value).collect();
        assert_eq!(values, (1..=NAMED as u64).collect::<Vec<_>>(), "each name is one number");
        assert!(!counters.set("eaten", 1));
        assert_eq!(counters.accept_errors().last(), Some(("accept_error_other", NAMED as u64)));
    }

    #[test]
    fn slots_are_counted_apart() {
        let mut counters = Counters::default();
        counters.slot_mut(Slot(2)).seated += 3;
        counters.slot_mut(Slot(0)).starts += 1;
        assert_eq!(counters.seated(), "0 0 3");
        assert_eq!(counters.slot(Slot(0)), SlotCounters { seated: 0, starts: 1 });
        assert_eq!(counters.slot(Slot(9)), SlotCounters::default());
    }
}
