//! A worker, in steps of one access to its page or to a socket each.
//!
//! Follows `src/worker`: `intake` (frames), `session` and `reading` (claim, read, idle, give), `mod`
//! (the turn, the bell). The loop does one thing at a time: what it is in the middle of comes first,
//! and everything else may come in any order. A handler on a thread is not what the loop is in the
//! middle of.
//!
//! Not here: what the master makes of it (`master`).

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use maitred::board::{Terms, WorkerPage};
use maitred::config::Rebalance;
use maitred::handoff::{PROTOCOL_VERSION, ReadyRecord, ToMaster, ToWorker};
use maitred::ident::LoanId;
use maitred::loan::LoanState;
use maitred::time::Nanos;

use crate::protocol::{Bounds, End, Page, World};

/// Where the words stand that tell states apart: those of the bell, the load report's turn and
/// counters, the ring's head, the claim words and the ring behind them (`board::layout`).
const AT_MASTER_WAITING: usize = 8;
const AT_RING_HEAD: usize = 32;
const AT_CLAIMS: usize = 40;

/// One step of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Start,
    Receive,
    ReceiveTruncated,
    Claim(usize),
    Read(usize),
    Handled(usize),
    /// The answer leaves, its first byte and its last.
    Leave(usize),
    GoOn(usize),
    Give(usize),
    LetGo(usize),
    /// What the channel would not take before.
    PayDebts,
    LeaveTurn,
    HearMasterGone,
    Exit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not claimed; what the word is expected to say.
    Waiting(LoanState),
    /// To be given back before anything else happens here.
    Giving(LoanState),
    Claimed,
    /// Some of a request is here, and not all.
    Reading,
    Handling,
    /// The word says so; nothing has left.
    Answering,
    /// An answer has left.
    Left,
    /// Shut down, or the master's again: the copy is to be closed.
    Dropping,
}

impl Stage {
    pub(crate) fn is_claimed(self) -> bool {
        match self {
            Stage::Claimed | Stage::Reading | Stage::Handling | Stage::Answering | Stage::Left => {
                true
            }
            Stage::Waiting(_) | Stage::Giving(_) | Stage::Dropping => false,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) loan: LoanId,
    pub(crate) connection: usize,
    pub(crate) stage: Stage,
    /// Pieces that were read, and are not answered.
    pub(crate) carried: u8,
}

#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) page: WorkerPage<Page>,
    memory: Page,
    pub(crate) is_ready: bool,
    pub(crate) sessions: Vec<Session>,
    /// Frames that the channel would not take yet.
    pub(crate) owed: Vec<ToMaster>,
    in_turn: bool,
    gave: bool,
    hands_over: bool,
    /// It has heard that the master is gone.
    finishing: bool,
    pub(crate) is_dead: bool,
}

impl Worker {
    pub(crate) fn new(memory: Page) -> Self {
        Worker {
            page: WorkerPage::attach(Arc::clone(&memory)).expect("a page"),
            memory,
            is_ready: false,
            sessions: Vec::new(),
            owed: Vec::new(),
            in_turn: false,
            gave: false,
            hands_over: false,
            finishing: false,
            is_dead: false,
        }
    }

    /// The words that tell states apart.
    pub(crate) fn memory_key(&self, bounds: &Bounds) -> Vec<u64> {
        let word = |at: usize| self.memory.0[at].load(Relaxed);
        let shared = [AT_MASTER_WAITING, AT_RING_HEAD].map(word);
        let loans = (AT_CLAIMS..AT_CLAIMS + 2 * bounds.places as usize).map(word);
        shared.into_iter().chain(loans).collect()
    }

    /// What the loop is in the middle of.
    fn under_way(&self, threads: u16) -> Option<usize> {
        self.sessions.iter().position(|session| match session.stage {
            Stage::Handling => threads == 0,
            Stage::Giving(_)
            | Stage::Claimed
            | Stage::Answering
            | Stage::Left
            | Stage::Dropping => true,
            Stage::Waiting(_) | Stage::Reading => false,
        })
    }

    fn running(&self) -> usize {
        self.sessions.iter().filter(|one| one.stage == Stage::Handling).count()
    }

    fn lent(&self) -> u32 {
        let is_lent = |one: &&Session| one.stage == Stage::Waiting(LoanState::Lent);
        self.sessions.iter().filter(is_lent).count() as u32
    }
}

impl World {
    pub(crate) fn workers_steps(&self, place: usize) -> Vec<Deed> {
        let worker = &self.workers[place];
        if worker.is_dead {
            return Vec::new();
        }
        if !worker.is_ready {
            return vec![Deed::Start];
        }
        let threads = self.bounds.threads;
        if let Some(number) = worker.under_way(threads) {
            return vec![match worker.sessions[number].stage {
                Stage::Giving(_) => Deed::Give(number),
                Stage::Claimed => Deed::Read(number),
                Stage::Handling => Deed::Handled(number),
                Stage::Answering => Deed::Leave(number),
                Stage::Left => Deed::GoOn(number),
                Stage::Dropping => Deed::LetGo(number),
                Stage::Waiting(_) | Stage::Reading => unreachable!("not under way"),
            }];
        }
        let mut deeds = Vec::new();
        if !worker.owed.is_empty() && self.members[place].to_master.len() < self.bounds.channel_max
        {
            deeds.push(Deed::PayDebts);
        }
        if !self.members[place].to_worker.is_empty() {
            deeds.push(Deed::Receive);
        } else if self.master_gone && !worker.finishing {
            deeds.push(Deed::HearMasterGone);
        }
        let may_claim = threads == 0 || worker.running() < usize::from(threads);
        for (number, session) in worker.sessions.iter().enumerate() {
            let is_readable = self.connections[session.connection].is_readable();
            match session.stage {
                Stage::Waiting(LoanState::Lent) if may_claim => deeds.push(Deed::Claim(number)),
                Stage::Waiting(LoanState::Idle) if may_claim && is_readable => {
                    deeds.push(Deed::Claim(number));
                }
                Stage::Reading if is_readable => deeds.push(Deed::Read(number)),
                Stage::Handling => deeds.push(Deed::Handled(number)),
                Stage::Waiting(_) | Stage::Reading => {}
                Stage::Giving(_)
                | Stage::Claimed
                | Stage::Answering
                | Stage::Left
                | Stage::Dropping => unreachable!("under way"),
            }
        }
        if worker.in_turn {
            deeds.push(Deed::LeaveTurn);
        } else if (worker.hands_over || worker.finishing) && worker.sessions.is_empty() {
            deeds.push(Deed::Exit);
        }
        deeds
    }

    pub(crate) fn next_is_lend(&self, place: usize) -> bool {
        self.workers_steps(place).contains(&Deed::Receive)
            && self.members[place].to_worker.front().is_some_and(|one| !one.copies.is_empty())
    }

    pub(crate) fn worker_does(&mut self, place: usize, deed: Deed) {
        let now = self.now;
        let worker = &mut self.workers[place];
        let begins = !matches!(deed, Deed::LeaveTurn | Deed::Exit | Deed::Start);
        if begins && !std::mem::replace(&mut worker.in_turn, true) {
            worker.page.turn_entered(now);
        }
        match deed {
            Deed::Start => {
                worker.is_ready = true;
                let threads = self.bounds.threads;
                let (version, credit, has_page, pid) = (PROTOCOL_VERSION, 0, true, 1);
                let ready = ReadyRecord { version, threads, credit, has_page, pid };
                self.say(place, ToMaster::Ready(ready));
            }
            Deed::Receive => self.receive(place),
            Deed::ReceiveTruncated => self.receive_truncated(place),
            Deed::Claim(number) => self.claim(place, number),
            Deed::Read(number) => self.read(place, number),
            Deed::Handled(number) => {
                worker.page.answering(worker.sessions[number].loan);
                worker.sessions[number].stage = Stage::Answering;
                self.publish(place);
            }
            Deed::Leave(number) => {
                worker.sessions[number].stage = Stage::Left;
                let connection = &mut self.connections[worker.sessions[number].connection];
                connection.answered += 1;
                assert!(!connection.over, "an answer on what is shut down");
                let taken = connection.taken / self.bounds.pieces;
                assert!(connection.answered <= taken, "answered twice: {connection:?}");
            }
            Deed::GoOn(number) => self.go_on(place, number),
            Deed::Give(number) => {
                let Stage::Giving(from) = worker.sessions[number].stage else {
                    unreachable!("only what is to be given is given")
                };
                worker.gave = true;
                // Won or lost, the copy goes and the id follows.
                worker.page.give(worker.sessions[number].loan, from);
                worker.sessions[number].stage = Stage::Dropping;
            }
            Deed::LetGo(number) => {
                let session = worker.sessions.remove(number);
                worker.page.let_go(session.loan);
            }
            Deed::PayDebts => self.pay_workers_debts(place),
            Deed::LeaveTurn => {
                worker.in_turn = false;
                let gave = std::mem::take(&mut worker.gave);
                let load = worker.lent() + worker.running() as u32;
                if worker.page.bell_due(load, gave) {
                    self.members[place].bell_rung = true;
                }
                worker.page.turn_left();
            }
            Deed::HearMasterGone => self.hear_master_gone(place),
            Deed::Exit => self.worker_dies(place),
        }
    }

    pub(crate) fn worker_dies(&mut self, place: usize) {
        self.workers[place].is_dead = true;
        // Its end of the channel closes, and with it go the copies that it had not received.
        self.members[place].to_worker.clear();
    }

    /// Sends a frame, or keeps it until the channel has room.
    fn say(&mut self, place: usize, frame: ToMaster) {
        self.workers[place].owed.push(frame);
        self.pay_workers_debts(place);
    }

    fn pay_workers_debts(&mut self, place: usize) {
        let channel = &mut self.members[place].to_master;
        let owed = &mut self.workers[place].owed;
        while !owed.is_empty() && channel.len() < self.bounds.channel_max {
            let mut bytes = Vec::new();
            owed.remove(0).encode(&mut bytes);
            channel.push_back(bytes);
        }
    }

    fn receive(&mut self, place: usize) {
        let packet = self.members[place].to_worker.pop_front().expect("it is told");
        let worker = &mut self.workers[place];
        match ToWorker::decode(&packet.bytes).expect("the master speaks in frames") {
            ToWorker::Lend(records) => {
                assert_eq!(records.len(), packet.copies.len(), "a copy for each loan");
                for (record, connection) in records.iter().zip(packet.copies) {
                    let taken =
                        worker.sessions.iter().any(|one| one.loan.index == record.loan.index);
                    assert!(!taken, "a place is lent that this worker has not let go of");
                    let (loan, stage) = (record.loan, Stage::Waiting(LoanState::Lent));
                    worker.sessions.push(Session { loan, connection, stage, carried: 0 });
                }
            }
            ToWorker::Recall(loans) => {
                for session in &mut worker.sessions {
                    if loans.contains(&session.loan) && matches!(session.stage, Stage::Waiting(_)) {
                        session.stage = Stage::Dropping;
                    }
                }
            }
            ToWorker::Drain { .. } => {
                worker.hands_over = true;
                for session in &mut worker.sessions {
                    if let Stage::Waiting(from) = session.stage {
                        session.stage = Stage::Giving(from);
                    }
                }
            }
            ToWorker::Reopen => {}
        }
    }

    /// There was no room for its descriptors in this process: all of it goes back.
    fn receive_truncated(&mut self, place: usize) {
        self.faults.truncations -= 1;
        let packet = self.members[place].to_worker.pop_front().expect("it is told");
        let Ok(ToWorker::Lend(records)) = ToWorker::decode(&packet.bytes) else {
            unreachable!("only loans come with descriptors")
        };
        self.say(place, ToMaster::Refuse(records.iter().map(|record| record.loan).collect()));
    }

    fn claim(&mut self, place: usize, number: usize) {
        let worker = &mut self.workers[place];
        let session = &mut worker.sessions[number];
        let Stage::Waiting(from) = session.stage else { unreachable!("only what waits") };
        let loan = session.loan;
        if self.bounds.threads > 0 {
            let running = worker.running() as u32;
            worker.page.about_to_queue(0, running);
        }
        let won = worker.page.claim(loan, from);
        let session = &mut worker.sessions[number];
        session.stage = if won { Stage::Claimed } else { Stage::Dropping };
        if won {
            self.check_reader(place, number);
        } else {
            self.publish(place);
        }
    }

    fn read(&mut self, place: usize, number: usize) {
        let worker = &mut self.workers[place];
        let session = &mut worker.sessions[number];
        let connection = &mut self.connections[session.connection];
        assert!(!connection.over, "what is over is read");
        let count = connection.unread();
        connection.taken += count;
        session.carried += count;
        session.stage = if session.carried >= self.bounds.pieces {
            Stage::Handling
        } else if count > 0 {
            Stage::Reading
        } else if connection.closed {
            connection.over = true;
            worker.page.end(session.loan, LoanState::Active);
            Stage::Dropping
        } else {
            worker.page.claim_was_empty(session.loan, &Terms::new(Nanos::NEVER));
            Stage::Waiting(LoanState::Idle)
        };
        self.publish(place);
    }

    /// An answer has left: on to the next request, or not.
    fn go_on(&mut self, place: usize, number: usize) {
        let gives = self.workers[place].hands_over || self.bounds.rebalance == Rebalance::Always;
        let worker = &mut self.workers[place];
        let session = &mut worker.sessions[number];
        let connection = &mut self.connections[session.connection];
        session.carried -= self.bounds.pieces;
        let was_last = connection.answered == self.bounds.requests[session.connection];
        session.stage = if (self.bounds.end == End::Request && was_last) || worker.finishing {
            connection.over = true;
            worker.page.end(session.loan, LoanState::Answering);
            Stage::Dropping
        } else if session.carried > 0 {
            worker.page.active_again(session.loan);
            let whole = session.carried >= self.bounds.pieces;
            if whole { Stage::Handling } else { Stage::Reading }
        } else {
            worker.page.idle(session.loan, &Terms::new(Nanos::NEVER));
            let stage = if gives { Stage::Giving } else { Stage::Waiting };
            stage(LoanState::Idle)
        };
    }

    /// Nobody is left to give anything to: what is idle ends, what was lent is still served.
    fn hear_master_gone(&mut self, place: usize) {
        let worker = &mut self.workers[place];
        worker.finishing = true;
        for session in &mut worker.sessions {
            if session.stage == Stage::Waiting(LoanState::Idle) {
                let won = worker.page.claim(session.loan, LoanState::Idle);
                if won {
                    self.connections[session.connection].over = true;
                    worker.page.end(session.loan, LoanState::Active);
                }
                session.stage = Stage::Dropping;
            }
        }
    }

    fn publish(&mut self, place: usize) {
        let worker = &self.workers[place];
        if self.bounds.threads > 0 {
            let running = worker.running();
            let all_busy = running >= usize::from(self.bounds.threads);
            let since = if all_busy { self.now } else { Nanos(0) };
            worker.page.publish_threads(0, running as u32, since, since);
        }
    }
}
