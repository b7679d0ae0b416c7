//! The decision, and what follows from it, one deed after the other; between any two of them the
//! others go on.
//!
//! Follows `src/master/lending.rs`, `returning.rs`, `watching.rs` and `looking.rs`, and the
//! rest after the turn in `mod.rs`.
//!
//! Not here: the other pieces of a turn (`master`).

use std::collections::VecDeque;

use maitred::board::{Call, Recall, Terms};
use maitred::config::{BELL_ROUNDS_MAX, Rebalance};
use maitred::dispatch::{Effect, Sample};
use maitred::handoff::{LendRecord, ToWorker};
use maitred::ident::{ConnectionId, ListenerId, LoanId, PeerAddress, Slot};
use maitred::loan::LoanState;
use maitred::time::Nanos;

use crate::protocol::World;
use crate::protocol::clients::Place;
use crate::protocol::master::{Member, Stage};

const ROUNDS_MAX: u8 = 16;

/// Something that was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// The oldest unclaimed loan of this worker.
    Recall(usize),
    TellRecalls(usize),
    Rescue(usize, u32),
    RescueOne(usize, LoanId),
    RescueOver(usize),
    /// What is in the outbox of this worker, in one packet.
    SendPacket(usize),
    RoundOver,
    /// Bells are raised, and the master looks once more if one was.
    Rest,
    TakeBack(usize, LoanId),
    SayDrain(usize),
}

/// How far deciding and doing have alternated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Round {
    number: u8,
    again: bool,
    bells: usize,
}

impl World {
    pub(crate) fn begin_to_decide(&mut self) {
        self.round.bells = 0;
        for member in &mut self.members {
            member.bell_rung = false;
        }
        for place in 0..self.members.len() {
            if self.watch_reports(place) {
                self.dispatcher.handle_idle_readable(self.members[place].slot);
            }
        }
        self.look_accept_decide();
    }

    /// Whether an idle loan of a stuck worker is readable: what its epoll instance reports.
    pub(crate) fn watch_reports(&self, place: usize) -> bool {
        let member = &self.members[place];
        member.stage == Stage::Serving
            && member.is_watching
            && self.readable_loans(place).any(|loan| member.page.look(loan) == LoanState::Idle)
    }

    fn readable_loans(&self, place: usize) -> impl Iterator<Item = LoanId> {
        let loans = self.members[place].page.loans().filter(move |(loan, id, _)| {
            let connection = &self.connections[id.0 as usize];
            connection.place == Place::OnLoan(place, *loan) && connection.is_readable()
        });
        loans.map(|(loan, ..)| loan)
    }

    fn look_accept_decide(&mut self) {
        let now = self.now;
        for place in 0..self.members.len() {
            if self.members[place].stage == Stage::Serving {
                let sample = self.members[place].sample(now);
                self.dispatcher.handle_sample(self.members[place].slot, &sample, now);
            }
        }
        self.accept();
        self.round.number = 0;
        self.decide();
    }

    fn accept(&mut self) {
        if !self.members.iter().any(|one| one.stage == Stage::Serving) {
            return;
        }
        let budget = self.dispatcher.accept_budget(!self.backlog.is_empty());
        let taken: Vec<usize> = self.backlog.drain(..budget.min(self.backlog.len())).collect();
        for number in taken {
            self.connections[number].place = Place::Queued;
            if self.connections[number].unread() > 0 {
                self.dispatcher.handle_accepted(ConnectionId(number as u32), 0, self.now);
            } else {
                self.park(number);
            }
        }
    }

    fn decide(&mut self) {
        self.round.number += 1;
        self.round.again = false;
        if self.round.number < ROUNDS_MAX {
            self.dispatcher.decide();
        } else {
            self.dispatcher.seat_waiting();
        }
        while let Some(effect) = self.dispatcher.poll_effect() {
            self.round.again |= !matches!(effect, Effect::Lend { .. });
            self.plan(effect);
        }
        let places =
            (0..self.members.len()).filter(|place| !self.members[*place].outbox.is_empty());
        self.items.extend(places.map(Item::SendPacket));
        self.items.push_back(Item::RoundOver);
    }

    fn plan(&mut self, effect: Effect) {
        let serving = |slot: Slot| self.serving(slot);
        match effect {
            Effect::Lend { connection, slot } => {
                let place = serving(slot).expect("lent to a slot that serves");
                self.last_lent = Some(slot);
                self.members[place].outbox.push(connection.0 as usize);
            }
            Effect::Recall { slot, count } => {
                let Some(place) = serving(slot) else { return };
                self.items.extend((0..count).map(|_| Item::Recall(place)));
                self.items.push_back(Item::TellRecalls(place));
            }
            Effect::Rescue { slot, count } => {
                let Some(place) = serving(slot) else { return };
                self.items.push_back(Item::Rescue(place, count));
            }
            Effect::Watch(slot) => {
                let auto = self.bounds.rebalance == Rebalance::Auto;
                if let Some(place) = serving(slot).filter(|_| auto) {
                    self.members[place].is_watching = true;
                }
            }
            Effect::Unwatch(slot) => {
                if let Some(place) = serving(slot) {
                    self.members[place].is_watching = false;
                }
            }
            Effect::Shed { .. } => panic!("without limits nobody is turned away"),
        }
    }

    /// Does the next of what was decided.
    pub(crate) fn carry_on(&mut self) {
        match self.items.pop_front().expect("something was decided") {
            Item::Recall(place) => {
                let slot = self.members[place].slot;
                let oldest = self.members[place].unclaimed.pop_front();
                match oldest.and_then(|(loan, _)| self.take_back(place, loan)) {
                    Some(number) => {
                        self.dispatcher.handle_recalled(slot, ConnectionId(number as u32), 0);
                    }
                    None => self.dispatcher.handle_recall_lost(slot),
                }
            }
            Item::TellRecalls(place) => self.pay_debts(place),
            Item::Rescue(place, count) => self.look_for_readable(place, count),
            Item::RescueOne(place, loan) => self.rescue_one(place, loan),
            Item::RescueOver(place) => {
                self.dispatcher.handle_rescue_over(self.members[place].slot, false);
                self.pay_debts(place);
            }
            Item::SendPacket(place) => self.send_packet(place),
            Item::RoundOver if self.round.again => self.decide(),
            Item::RoundOver => {
                self.dispatcher.check_invariants();
                self.items.push_back(Item::Rest);
            }
            Item::Rest => self.rest(),
            Item::TakeBack(place, loan) => {
                if let Some(number) = self.take_back(place, loan) {
                    self.place_returned(number);
                }
            }
            Item::SayDrain(place) => self.say_drain(place),
        }
    }

    fn look_for_readable(&mut self, place: usize, count: u32) {
        let found: Vec<_> = self.readable_loans(place).take(count as usize).collect();
        let mut next: VecDeque<_> =
            found.into_iter().map(|loan| Item::RescueOne(place, loan)).collect();
        next.push_back(Item::RescueOver(place));
        next.append(&mut self.items);
        self.items = next;
    }

    fn rescue_one(&mut self, place: usize, loan: LoanId) {
        if self.members[place].page.look(loan) != LoanState::Idle {
            return;
        }
        let Some(number) = self.take_back(place, loan) else { return };
        if self.connections[number].unread() > 0 {
            let slot = self.members[place].slot;
            self.dispatcher.handle_rescued(slot, ConnectionId(number as u32), 0);
        } else {
            self.park(number);
        }
    }

    fn take_back(&mut self, place: usize, loan: LoanId) -> Option<usize> {
        let Recall::Taken { connection, .. } = self.members[place].page.recall(loan) else {
            return None;
        };
        let number = connection.0 as usize;
        let is_read = self.workers[place]
            .sessions
            .iter()
            .any(|one| one.loan == loan && (one.stage.is_claimed() || one.carried > 0));
        assert!(!is_read, "{number} is taken back, and read");
        let connection = &mut self.connections[number];
        assert_eq!(connection.place, Place::OnLoan(place, loan), "{number} is taken back");
        assert!(!connection.over, "{number} is taken back, and over");
        connection.place = Place::Queued;
        self.members[place].recalls_owed.push_back(loan);
        Some(number)
    }

    /// Lends what is in the outbox: all of it, or nothing.
    fn send_packet(&mut self, place: usize) {
        let outbox = std::mem::take(&mut self.members[place].outbox);
        let mut records = Vec::new();
        for number in &outbox {
            let id = ConnectionId(*number as u32);
            let terms = Terms::new(Nanos::NEVER);
            let Some(loan) = self.members[place].page.lend(id, &terms) else { break };
            records.push(record(loan, &terms));
        }
        let loans: Vec<LoanId> = records.iter().map(|record| record.loan).collect();
        let is_whole = loans.len() == outbox.len();
        let sent = is_whole && self.send(place, &ToWorker::Lend(records), outbox.clone());
        let member = &mut self.members[place];
        for (loan, number) in loans.into_iter().zip(&outbox) {
            if sent {
                member.unclaimed.push_back((loan, self.now));
                self.connections[*number].place = Place::OnLoan(place, loan);
            } else {
                member.page.undo_lend(loan);
            }
        }
        if !sent {
            self.round.again = true;
            let back: Vec<_> = outbox.iter().map(|one| (ConnectionId(*one as u32), 0)).collect();
            self.dispatcher.handle_back_pressure(member.slot, &back);
        }
    }

    fn rest(&mut self) {
        if self.raise_bells() && self.round.bells < BELL_ROUNDS_MAX {
            self.round.bells += 1;
            for place in 0..self.members.len() {
                if self.members[place].stage != Stage::Gone {
                    self.harvest(place, usize::MAX);
                }
            }
            self.look_accept_decide();
        } else {
            self.round = Round::default();
            self.turn_open = false;
        }
    }

    fn raise_bells(&mut self) -> bool {
        let wish = self.dispatcher.wish(!self.backlog.is_empty());
        let always = self.bounds.rebalance == Rebalance::Always;
        let mut raised = false;
        for place in 0..self.members.len() {
            let member = &mut self.members[place];
            if matches!(member.stage, Stage::Starting | Stage::Gone) {
                continue;
            }
            let serves = member.stage == Stage::Serving;
            let threshold = || self.dispatcher.bell_threshold(member.slot, wish);
            let at_load = serves.then(threshold).flatten();
            let when_given = member.page.on_loan() > 0 && (always || !serves);
            let call = Call { at_load, when_given };
            if member.call != Call::NOTHING && !member.page.bell_is_raised() {
                member.call = Call::NOTHING;
            }
            if call == member.call {
                continue;
            }
            member.call = call;
            if call == Call::NOTHING {
                member.page.lower_bell();
            } else {
                member.page.raise_bell(call);
                raised = true;
            }
        }
        raised
    }

    /// Whether something wakes the master that is no timer of its own.
    pub(crate) fn has_event(&self) -> bool {
        let hears = |(place, member): (usize, &Member)| {
            member.stage != Stage::Gone
                && (!member.to_master.is_empty()
                    || self.workers[place].is_dead
                    || member.bell_rung
                    || member.to_drain
                    || self.watch_reports(place))
        };
        let parked = |one: &crate::protocol::clients::Connection| {
            one.place == Place::Parked && one.is_readable()
        };
        let accepts = || self.members.iter().any(|one| one.stage == Stage::Serving);
        self.turn_open
            || !self.items.is_empty()
            || (!self.backlog.is_empty() && accepts() && self.dispatcher.has_free_credit())
            || self.dispatcher.has_rescues()
            || self.members.iter().enumerate().any(hears)
            || self.connections.iter().any(parked)
    }
}

impl Member {
    fn sample(&mut self, now: Nanos) -> Sample {
        let page = &self.page;
        let before = self.unclaimed.len();
        self.unclaimed.retain(|(loan, _)| page.look(*loan) == LoanState::Lent);
        if self.unclaimed.len() < before {
            self.claimed_at = now;
        }
        let report = self.page.report();
        let oldest = self.unclaimed.front().map(|(_, lent_at)| *lent_at);
        Sample {
            waiting: self.unclaimed.len() as u32,
            oldest_waiting: oldest,
            nothing_claimed_since: oldest.map(|lent_at| lent_at.max(self.claimed_at)),
            started: report.requests_started,
            finished: report.requests_finished,
            queued: report.requests_queued,
            threads_busy: report.threads_busy,
            all_busy_since: report.all_busy_since,
            turn_entered: report.turn_entered,
            open: self.page.on_loan(),
            busy_ns: report.busy_ns,
            services: report.services,
            stopped: false,
        }
    }
}

fn record(loan: LoanId, terms: &Terms) -> LendRecord {
    LendRecord {
        loan,
        listener: ListenerId(0),
        peer: PeerAddress::Local,
        accepted_at: Nanos(1),
        idle_deadline: terms.idle_deadline,
        requests_served: terms.requests_served,
        waited_before_accept_us: u32::MAX,
        lent_after_us: 0,
        silent_us: 0,
        context: terms.context,
    }
}
