//! What must hold, whatever happens, all the time.
//!
//! - the books: dispatcher and pages agree with themselves, each connection is at one place
//! - nobody waits for longer than `PATIENCE` while somebody has room, counted from when both became
//!   true: not in the kernel's queue or the dispatcher's; and not while somebody is idle, LENT at a
//!   stuck worker, or, with `auto`, readable and IDLE at one
//! - what has been given back is the master's within `PATIENCE`
//!
//! "Stuck" and "would serve it" are judged here by the pages as they are, not by what the master
//! knows of them.
//!
//! Not here: what is done (`master`, `worker`).

use std::collections::BTreeMap;
use std::time::Duration;

use maitred::config::{PREFETCH_MAX, Rebalance, UNRUN_STALLS};
use maitred::loan::{LoanState, MasterState};
use maitred::time::Nanos;

use crate::simulation::clients::Place;
use crate::simulation::master::{Member, Stage};
use crate::simulation::{STALL, World};

/// Twice `--stall-after`, and what the master's own turns take.
const PATIENCE: Duration = Duration::from_micros(2_300);

const LOOK_PAUSE: Duration = Duration::from_micros(10);

/// Why a connection waits that somebody else would serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wait {
    Kernel,
    Queued,
    LentAtStuck,
    IdleAtStuck,
    Given,
}

/// Since when each connection has waited for no reason.
#[derive(Default)]
pub(crate) struct Watchman {
    waits: BTreeMap<(usize, Wait), Nanos>,
    looks_at: Nanos,
    /// How often something was found to wait, and went on in time.
    pub(crate) relieved: u64,
}

impl World {
    /// After every event, but not for each of a worker's small steps.
    pub(crate) fn check(&mut self) {
        if self.clock < self.watchman.looks_at {
            return;
        }
        self.watchman.looks_at = self.clock + LOOK_PAUSE;
        let stuck: Vec<bool> = (0..self.members.len()).map(|place| self.is_stuck(place)).collect();
        let has_place = (0..self.members.len()).any(|place| !stuck[place] && self.has_place(place));
        let has_idle = (0..self.members.len())
            .any(|place| !stuck[place] && self.has_place(place) && self.is_idle(place));
        let mut now_waits: Vec<(usize, Wait)> = Vec::new();
        if has_place && (self.dispatcher.queued() > 0 || !self.master.listener.queue.is_empty()) {
            let queued = self.master.listener.queue.iter();
            now_waits.extend(queued.map(|number| (*number, Wait::Kernel)));
            let queued = |number: &usize| self.connections[*number].place == Place::Queued;
            let queued = (0..self.connections.len()).filter(queued);
            now_waits.extend(queued.map(|number| (number, Wait::Queued)));
        }
        for (place, member) in self.members.iter().enumerate() {
            let strands = has_idle && stuck[place];
            let is_auto = self.plan.mode == Rebalance::Auto;
            // It has wound no alarm for the only loan that it has, and is about to claim that.
            let has_others = member.page.on_loan() > 1 || member.sample().stopped;
            // Who does not run cannot ring.
            let gives = self.plan.mode == Rebalance::Always || member.stage == Stage::Leaving;
            let gives = gives && !self.workers[place].held;
            if member.stage == Stage::Gone || !(strands || gives) {
                continue;
            }
            for (loan, connection, state) in member.page.loans() {
                let number = connection.0 as usize;
                match member.page.look(loan) {
                    _ if state != MasterState::OnLoan => {}
                    LoanState::Given if gives => now_waits.push((number, Wait::Given)),
                    LoanState::Lent if strands => now_waits.push((number, Wait::LentAtStuck)),
                    LoanState::Idle
                        if strands
                            && is_auto
                            && has_others
                            && self.connections[number].unread() > 0 =>
                    {
                        now_waits.push((number, Wait::IdleAtStuck));
                    }
                    _ => {}
                }
            }
        }
        self.judge(now_waits);
    }

    /// After each turn of the master.
    pub(crate) fn check_books(&self) {
        self.dispatcher.check_invariants();
        let mut queued = 0;
        for member in &self.members {
            member.page.check_invariants();
        }
        for (number, connection) in self.connections.iter().enumerate() {
            assert!(connection.answered <= connection.taken && connection.taken <= connection.sent);
            match connection.place {
                Place::Queued => queued += 1,
                Place::OnLoan(place, loan) => {
                    let there = self.members[place].page.connection(loan);
                    assert_eq!(there.map(|one| one.0 as usize), Some(number), "where is it?");
                    assert_ne!(self.members[place].stage, Stage::Gone, "{number} is with the dead");
                }
                Place::Kernel => assert!(self.master.listener.queue.contains(&number)),
                Place::Gone => assert!(connection.over, "{number} is gone, and not over"),
                Place::Parked => {}
            }
            let is_read = connection.reader.is_some();
            let may_be_read = matches!(connection.place, Place::OnLoan(..));
            assert!(!is_read || may_be_read, "{number} is read, and at no worker");
        }
        assert_eq!(queued, self.dispatcher.queued(), "what is queued");
        let on_loan = |one: &&Member| one.stage != Stage::Gone;
        let lent: u32 = self.members.iter().filter(on_loan).map(|one| one.page.on_loan()).sum();
        let at_workers =
            self.connections.iter().filter(|one| matches!(one.place, Place::OnLoan(..))).count();
        assert_eq!(lent as usize, at_workers, "what is on loan");
    }

    fn judge(&mut self, now_waits: Vec<(usize, Wait)>) {
        let watchman = &mut self.watchman;
        let before = std::mem::take(&mut watchman.waits);
        for key in now_waits {
            let since = before.get(&key).copied().unwrap_or(self.clock);
            watchman.waits.insert(key, since);
            let (number, wait) = key;
            let waits = self.clock.since(since);
            let at = self.connections[number].place;
            assert!(
                waits <= PATIENCE,
                "connection {number} waits ({wait:?}) for {waits:?} at {at:?}"
            );
        }
        let relieved = before.keys().filter(|key| !watchman.waits.contains_key(key)).count();
        watchman.relieved += relieved as u64;
    }

    /// Whether a worker makes no progress, as far as its page tells.
    fn is_stuck(&self, place: usize) -> bool {
        let member = &self.members[place];
        if member.stage != Stage::Serving || self.workers[place].is_dead {
            return false;
        }
        let sample = member.sample();
        let threads = (member.threads > 0).then_some(sample.all_busy_since);
        let nothing_claimed = sample.nothing_claimed_since.filter(|_| {
            member.unclaimed.iter().all(|(loan, _)| member.page.look(*loan) == LoanState::Lent)
        });
        // One that sleeps with loans to claim has been woken: it is not run.
        let is_unrun = sample.turn_entered == Nanos(0) && sample.queued + sample.threads_busy == 0;
        let to_claim = if is_unrun { STALL * UNRUN_STALLS } else { STALL };
        let lasts = |stamp: Nanos| stamp != Nanos(0) && self.clock.since(stamp) > STALL;
        sample.stopped
            || [Some(sample.turn_entered), threads].into_iter().flatten().any(lasts)
            || nothing_claimed.is_some_and(|since| self.clock.since(since) > to_claim)
    }

    /// Whether one more would be served within a moment, if it is not stuck: a loop that is half
    /// empty, or a thread that is idle.
    fn has_place(&self, place: usize) -> bool {
        let member = &self.members[place];
        let full = member.to_worker.len() >= self.plan.channel_max;
        let worker = &self.workers[place];
        if member.stage != Stage::Serving || worker.is_dead || worker.held || full {
            return false;
        }
        let is_lent = |one: &&(_, Nanos)| member.page.look(one.0) == LoanState::Lent;
        let waiting = member.unclaimed.iter().filter(is_lent).count() as u32;
        let report = member.page.report();
        let by_kind = u32::from(member.threads) + u32::from(PREFETCH_MAX);
        let allowance = self.plan.credit.map_or(by_kind, u32::from);
        match member.threads {
            // One that had too much to do says so when its turn is over, and takes nothing before.
            0 => !worker.was_stuck && waiting.max(worker.load_at_ring) <= allowance / 2,
            threads => {
                let used = waiting + report.requests_queued + report.threads_busy;
                used < u32::from(threads).min(allowance)
            }
        }
    }

    /// Whether it waits for something to do: its loop, or a thread (who has a place has one).
    fn is_idle(&self, place: usize) -> bool {
        let (member, worker) = (&self.members[place], &self.workers[place]);
        member.threads > 0 || (worker.is_asleep && worker.load_at_ring == 0)
    }
}
