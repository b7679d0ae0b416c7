//! The master, in pieces of its turn: what it hears, harvests, settles and takes back.
//!
//! Follows `src/master` (`hearing`, `returning`, `settling`, `lifecycle`, `taking_in`). In what order
//! the pieces come, and which of them a turn has, is left open; but what has begun with a decision
//! (`deciding`), or with a drain, is carried out before anything else. The supervisor is the model:
//! it replaces what dies at once, and drains what has been replaced.
//!
//! Not here: the decision and what follows from it (`deciding`), USR2 (`upgrade`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use maitred::board::{Call, LetGo, LetGoHow, MasterPage, page_bytes};
use maitred::config::Balance;
use maitred::dispatch::{DispatchSettings, Dispatcher, Shape};
use maitred::handoff::{DrainMode, ToMaster, ToWorker};
use maitred::ident::{ConnectionId, LoanId, Slot};
use maitred::loan::{MasterState, Settlement};
use maitred::time::Nanos;

use crate::protocol::clients::{Outcome, Place};
use crate::protocol::deciding::Item;
use crate::protocol::worker::Worker;
use crate::protocol::{Bounds, Memory, Page, STALL, World};

/// One piece of the master's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// One frame.
    Hear(usize),
    /// The end of a channel.
    HearEnd(usize),
    /// The process has ended.
    Reap(usize),
    PayDebts(usize),
    /// One entry of a ring.
    Harvest(usize),
    Drain(usize),
    /// A parked connection has become readable.
    Parked(usize),
    /// A look at the board, what the kernel has, and the decision.
    Decide,
    /// The next of what was decided.
    Next,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Starting,
    Serving,
    Leaving,
    Gone,
}

/// A packet on its way to a worker, with the copies that it carries.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) bytes: Vec<u8>,
    pub(crate) copies: Vec<usize>,
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) slot: Slot,
    pub(crate) memory: Page,
    pub(crate) page: MasterPage<Page>,
    pub(crate) stage: Stage,
    pub(crate) shape: Option<Shape>,
    pub(crate) unclaimed: VecDeque<(LoanId, Nanos)>,
    pub(crate) claimed_at: Nanos,
    pub(crate) outbox: Vec<usize>,
    pub(crate) recalls_owed: VecDeque<LoanId>,
    pub(crate) frames_owed: VecDeque<ToWorker>,
    pub(crate) call: Call,
    /// It is stuck: what its idle clients send wakes the master.
    pub(crate) is_watching: bool,
    /// It has been replaced, and is to be told.
    pub(crate) to_drain: bool,
    /// That its channel has ended is known.
    pub(crate) heard_end: bool,
    /// What the kernel has: both directions of the channel, and the bell.
    pub(crate) to_worker: VecDeque<Packet>,
    pub(crate) to_master: VecDeque<Vec<u8>>,
    pub(crate) bell_rung: bool,
}

impl Member {
    pub(crate) fn owes(&self) -> bool {
        !self.frames_owed.is_empty() || !self.recalls_owed.is_empty()
    }
}

pub(crate) fn dispatcher(bounds: &Bounds) -> Dispatcher {
    Dispatcher::new(&DispatchSettings {
        balance: Balance::LeastLoaded,
        weights: Vec::new(),
        rebalance: bounds.rebalance,
        stall_after: STALL,
        credit: bounds.credit,
        queue_timeout: None,
        max_queue: None,
        seed: 7,
    })
}

impl World {
    pub(crate) fn masters_steps(&self) -> Vec<Piece> {
        if self.master_gone {
            return Vec::new();
        }
        if !self.items.is_empty() {
            return vec![Piece::Next];
        }
        let mut pieces = Vec::new();
        for (place, member) in self.members.iter().enumerate() {
            if member.stage == Stage::Gone {
                continue;
            }
            if !member.to_master.is_empty() {
                pieces.push(Piece::Hear(place));
            }
            let is_dead = self.workers[place].is_dead;
            // The end stands behind everything that was said before it.
            if is_dead && !member.heard_end && member.to_master.is_empty() {
                pieces.push(Piece::HearEnd(place));
            }
            if is_dead {
                pieces.push(Piece::Reap(place));
            }
            let has_room = is_dead || member.to_worker.len() < self.bounds.channel_max;
            if member.owes() && has_room {
                pieces.push(Piece::PayDebts(place));
            }
            if member.page.ring_waits() {
                pieces.push(Piece::Harvest(place));
            }
            if member.to_drain {
                pieces.push(Piece::Drain(place));
            }
        }
        for (number, one) in self.connections.iter().enumerate() {
            if one.place == Place::Parked && one.is_readable() {
                pieces.push(Piece::Parked(number));
            }
        }
        pieces.push(Piece::Decide);
        pieces
    }

    pub(crate) fn master_does(&mut self, piece: Piece) {
        if piece != Piece::Next {
            self.turn_open = true;
            self.dispatcher.handle_time(self.now);
        }
        match piece {
            Piece::Hear(place) => {
                let bytes = self.members[place].to_master.pop_front().expect("it is told");
                self.hear(place, &bytes);
            }
            Piece::HearEnd(place) => {
                self.members[place].heard_end = true;
                self.stop_lending_to(place);
            }
            Piece::Reap(place) => self.settle(place),
            Piece::PayDebts(place) => self.pay_debts(place),
            Piece::Harvest(place) => self.harvest(place, 1),
            Piece::Drain(place) => self.drain(place),
            Piece::Parked(number) => {
                let connection = &mut self.connections[number];
                connection.place = Place::Queued;
                if connection.unread() > 0 {
                    self.dispatcher.handle_readable(ConnectionId(number as u32), 0);
                } else {
                    self.leaves(number, Outcome::LeftIdle);
                }
            }
            Piece::Decide => self.begin_to_decide(),
            Piece::Next => self.carry_on(),
        }
    }

    pub(crate) fn start_worker(&mut self, slot: Slot) {
        let places = self.bounds.places;
        let words = (0..page_bytes(places) / 8).map(|_| AtomicU64::new(0)).collect();
        let memory = Arc::new(Memory(words));
        let page = MasterPage::new(Arc::clone(&memory), places).expect("long enough");
        self.workers.push(Worker::new(Arc::clone(&memory)));
        self.members.push(Member {
            slot,
            memory,
            page,
            stage: Stage::Starting,
            shape: None,
            unclaimed: VecDeque::new(),
            claimed_at: Nanos(0),
            outbox: Vec::new(),
            recalls_owed: VecDeque::new(),
            frames_owed: VecDeque::new(),
            call: Call::NOTHING,
            is_watching: false,
            to_drain: false,
            heard_end: false,
            to_worker: VecDeque::new(),
            to_master: VecDeque::new(),
            bell_rung: false,
        });
    }

    pub(crate) fn start_lending_to(&mut self, place: usize) {
        let slot = self.members[place].slot;
        let before = self.serving(slot);
        let shape = Shape { threads: self.bounds.threads, credit: 0, recallable: true };
        self.members[place].stage = Stage::Serving;
        self.members[place].shape = Some(shape);
        if let Some(before) = before {
            let before = &mut self.members[before];
            (before.stage, before.is_watching, before.to_drain) = (Stage::Leaving, false, true);
        }
        self.dispatcher.handle_worker_ready(slot, shape);
    }

    pub(crate) fn serving(&self, slot: Slot) -> Option<usize> {
        self.members.iter().position(|one| one.slot == slot && one.stage == Stage::Serving)
    }

    pub(crate) fn park(&mut self, number: usize) {
        self.connections[number].place = Place::Parked;
    }

    /// A connection has come back that nobody reads from.
    pub(crate) fn place_returned(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        connection.place = Place::Queued;
        if connection.unread() > 0 {
            self.dispatcher.handle_readable(ConnectionId(number as u32), 0);
        } else {
            self.park(number);
        }
    }

    /// False if the channel has no room, or nobody is at its other end.
    pub(crate) fn send(&mut self, place: usize, frame: &ToWorker, copies: Vec<usize>) -> bool {
        let member = &mut self.members[place];
        if self.workers[place].is_dead || member.to_worker.len() >= self.bounds.channel_max {
            return false;
        }
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        member.to_worker.push_back(Packet { bytes, copies });
        true
    }

    pub(crate) fn pay_debts(&mut self, place: usize) {
        if self.workers[place].is_dead {
            // Nobody will ever read it: the channel is broken.
            self.members[place].frames_owed.clear();
            self.members[place].recalls_owed.clear();
        }
        while let Some(frame) = self.members[place].frames_owed.front().cloned() {
            if !self.send(place, &frame, Vec::new()) {
                return;
            }
            self.members[place].frames_owed.pop_front();
        }
        let loans: Vec<_> = self.members[place].recalls_owed.iter().copied().collect();
        if !loans.is_empty() && self.send(place, &ToWorker::Recall(loans), Vec::new()) {
            self.members[place].recalls_owed.clear();
        }
    }

    pub(crate) fn harvest(&mut self, place: usize, budget: usize) {
        let mut let_go = Vec::new();
        let drained = self.members[place].page.drain_ring(budget, &mut let_go);
        drained.expect("an honest worker's entries are believed");
        for one in &let_go {
            self.handle_let_go(place, one);
        }
    }

    fn handle_let_go(&mut self, place: usize, one: &LetGo) {
        let number = one.connection.0 as usize;
        let here = Place::OnLoan(place, one.loan);
        let is_here = self.connections[number].place == here;
        match one.how {
            LetGoHow::Ended => {
                assert!(is_here, "{number} ended where it was not");
                assert!(self.connections[number].over, "{number} ended, and was not shut down");
                self.leaves(number, Outcome::Finished);
            }
            LetGoHow::Given(_) => {
                assert!(is_here, "{number} was given where it was not");
                self.place_returned(number);
            }
            LetGoHow::Recalled => assert!(!is_here, "{number} was recalled, and is here"),
        }
    }

    fn hear(&mut self, place: usize, bytes: &[u8]) {
        match ToMaster::decode(bytes).expect("a worker speaks in frames") {
            ToMaster::Ready(_) => {
                assert_eq!(self.members[place].stage, Stage::Starting, "ready once");
                self.start_lending_to(place);
            }
            ToMaster::Refuse(loans) => self.handle_refused(place, &loans),
            ToMaster::Bell
            | ToMaster::Bye
            | ToMaster::Taken(_)
            | ToMaster::Ended(_)
            | ToMaster::Report(_) => unreachable!("no worker says so here"),
        }
    }

    fn handle_refused(&mut self, place: usize, loans: &[LoanId]) {
        for loan in loans {
            let Some(id) = self.members[place].page.undo_lend(*loan) else { continue };
            let number = id.0 as usize;
            let at = self.connections[number].place;
            assert_eq!(at, Place::OnLoan(place, *loan), "{number} was refused where it was not");
            self.place_returned(number);
        }
        self.dispatcher.handle_back_pressure(self.members[place].slot, &[]);
    }

    /// A worker's process has ended: in one go, since nobody else touches its page any more.
    fn settle(&mut self, place: usize) {
        while let Some(bytes) = self.members[place].to_master.pop_front() {
            self.hear(place, &bytes);
        }
        self.harvest(place, usize::MAX);
        self.stop_lending_to(place);
        for one in self.members[place].page.settle_all() {
            self.check_settled(place, &one);
            let number = one.connection.0 as usize;
            match one.settlement {
                Settlement::Elsewhere => {}
                Settlement::SeatAgain | Settlement::Idle => self.place_returned(number),
                Settlement::BadGateway => self.leaves(number, Outcome::DiedUnanswered),
                Settlement::Reset => self.leaves(number, Outcome::DiedAnswering),
                Settlement::Close => self.leaves(number, Outcome::Finished),
            }
        }
        let member = &mut self.members[place];
        member.stage = Stage::Gone;
        assert!(member.outbox.is_empty(), "what was decided is done before a process is reaped");
        let slot = member.slot;
        self.workers[place].sessions.clear();
        let replaces = |stage| matches!(stage, Stage::Starting | Stage::Serving);
        if !self.members.iter().any(|one| one.slot == slot && replaces(one.stage)) {
            self.start_worker(slot);
        }
    }

    pub(crate) fn stop_lending_to(&mut self, place: usize) {
        let member = &mut self.members[place];
        let served = member.stage == Stage::Serving;
        member.stage = Stage::Leaving;
        member.is_watching = false;
        if served {
            self.dispatcher.handle_worker_gone(member.slot);
        }
    }

    fn drain(&mut self, place: usize) {
        self.members[place].to_drain = false;
        self.stop_lending_to(place);
        let on_loan = |(loan, _, state)| (state == MasterState::OnLoan).then_some(loan);
        let loans: Vec<_> = self.members[place].page.loans().filter_map(on_loan).collect();
        self.items.extend(loans.into_iter().map(|loan| Item::TakeBack(place, loan)));
        self.items.push_back(Item::SayDrain(place));
    }

    /// A worker that is drained has lost what could be taken back: the frame comes first, then what
    /// it is to drop.
    pub(crate) fn say_drain(&mut self, place: usize) {
        self.members[place].unclaimed.clear();
        let (mode, graceful) = (DrainMode::HandOver, Duration::from_secs(30));
        self.members[place].frames_owed.push_back(ToWorker::Drain { mode, graceful });
        self.pay_debts(place);
    }
}
