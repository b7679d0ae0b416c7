//! The master's deeds: lending, taking back, watching, asking to be rung for.
//!
//! Follows `src/master/lending.rs` and `watching.rs`.
//!
//! Not here: when they are done (`master`).

use maitred::board::{Call, Recall};
use maitred::config::{
    DESCRIPTORS_PER_PACKET_MAX, LOOKS_PER_RESCUE_MAX, READABLE_PER_LOOK_MAX, Rebalance,
    WATCHES_PER_TURN_MAX,
};
use maitred::dispatch::{Effect, Sample};
use maitred::ident::{ConnectionId, LoanId, Slot};
use maitred::loan::LoanState;
use maitred::time::Nanos;

use crate::simulation::World;
use crate::simulation::clients::Place;
use crate::simulation::master::{Frame, Member, Source, Stage};

const ROUNDS_MAX: usize = 16;

impl Member {
    /// What the dispatcher is told of the worker. Without the reading of the claim words, which
    /// comes before, and is the caller's.
    pub(crate) fn sample(&self) -> Sample {
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
            stopped: self.stopped_at.is_some(),
        }
    }

    fn note_claims(&mut self, now: Nanos) {
        let page = &self.page;
        let before = self.unclaimed.len();
        self.unclaimed.retain(|(loan, _)| page.look(*loan) == LoanState::Lent);
        if self.unclaimed.len() < before {
            self.claimed_at = now;
        }
    }
}

impl World {
    pub(crate) fn look_at_board(&mut self) {
        let now = self.master.now;
        for place in 0..self.members.len() {
            if self.members[place].stage == Stage::Serving {
                self.meanwhile();
                self.members[place].note_claims(now);
                self.meanwhile();
                let sample = self.members[place].sample();
                self.dispatcher.handle_sample(self.members[place].slot, &sample, now);
            }
        }
    }

    pub(crate) fn seat(&mut self) {
        for round in 1..=ROUNDS_MAX {
            if round < ROUNDS_MAX {
                self.dispatcher.decide();
            } else {
                self.dispatcher.seat_waiting();
            }
            let mut decide_again = false;
            while let Some(effect) = self.dispatcher.poll_effect() {
                decide_again |= !matches!(effect, Effect::Lend { .. });
                self.tell(|| format!("master: {effect:?}"));
                match effect {
                    Effect::Lend { connection, slot } => {
                        let place = self.serving(slot).expect("lent to a slot that serves");
                        self.members[place].outbox.push(connection.0 as usize);
                    }
                    Effect::Recall { slot, count } => self.recall(slot, count),
                    Effect::Rescue { slot, count } => self.rescue(slot, count),
                    Effect::Watch(slot) => self.watch(slot),
                    Effect::Unwatch(slot) => {
                        if let Some(place) = self.serving(slot) {
                            self.members[place].idle.is_watching = false;
                        }
                    }
                    Effect::Shed { .. } => panic!("without limits nobody is turned away"),
                }
            }
            let sent_all = self.send_outboxes();
            if !decide_again && sent_all {
                return;
            }
        }
    }

    pub(crate) fn raise_bells(&mut self) -> bool {
        let wish = self.dispatcher.wish(self.master.listener.ready);
        let always = self.plan.mode == Rebalance::Always;
        let mut raised = false;
        for place in 0..self.members.len() {
            self.meanwhile();
            let member = &mut self.members[place];
            if matches!(member.stage, Stage::Starting | Stage::Gone) {
                continue;
            }
            let serves = member.stage == Stage::Serving;
            let threshold = || self.dispatcher.bell_threshold(member.slot, wish);
            let at_load = serves.then(threshold).flatten();
            let when_given = member.page.on_loan() > 0 && (always || !serves);
            let call = Call { at_load, when_given };
            if call == member.bell {
                continue;
            }
            member.bell = call;
            if call == Call::NOTHING {
                member.page.lower_bell();
            } else {
                member.page.raise_bell(call);
                raised = true;
            }
        }
        raised
    }

    fn send_outboxes(&mut self) -> bool {
        let mut sent_all = true;
        for place in 0..self.members.len() {
            if self.members[place].outbox.is_empty() {
                continue;
            }
            let outbox = std::mem::take(&mut self.members[place].outbox);
            let mut unsent: &[usize] = &[];
            for (number, packet) in outbox.chunks(DESCRIPTORS_PER_PACKET_MAX).enumerate() {
                self.meanwhile();
                if !self.send_packet(place, packet) {
                    unsent = &outbox[number * DESCRIPTORS_PER_PACKET_MAX..];
                    break;
                }
            }
            if !unsent.is_empty() {
                sent_all = false;
                let back: Vec<_> =
                    unsent.iter().map(|one| (ConnectionId(*one as u32), 0)).collect();
                self.dispatcher.handle_back_pressure(self.members[place].slot, &back);
            }
            self.look_again_soon();
        }
        sent_all
    }

    fn send_packet(&mut self, place: usize, packet: &[usize]) -> bool {
        let member = &mut self.members[place];
        let terms = maitred::board::Terms::new(Nanos::NEVER);
        let mut loans = Vec::new();
        for number in packet {
            let Some(loan) = member.page.lend(ConnectionId(*number as u32), &terms) else { break };
            loans.push((loan, *number));
        }
        let sent = loans.len() == packet.len() && self.send(place, Frame::Lend(loans.clone()));
        let rescues = self.plan.mode == Rebalance::Auto;
        let member = &mut self.members[place];
        for (loan, number) in loans {
            if sent {
                member.unclaimed.push_back((loan, self.master.now));
                if rescues {
                    member.idle.unregistered.push(loan);
                }
                self.connections[number].place = Place::OnLoan(place, loan);
            } else {
                member.page.withdraw(loan);
            }
        }
        sent
    }

    /// False if the channel has no room. What is sent to the dead is sent.
    fn send(&mut self, place: usize, frame: Frame) -> bool {
        let member = &mut self.members[place];
        if self.workers[place].is_dead || member.to_worker.len() >= self.plan.channel_max {
            return false;
        }
        member.to_worker.push_back(frame);
        self.workers[place].is_told = true;
        self.wake_worker(place);
        true
    }

    pub(crate) fn pay_debts(&mut self, place: usize) {
        while let Some(frame) = self.members[place].frames_owed.front().cloned() {
            if !self.send(place, frame) {
                return;
            }
            self.members[place].frames_owed.pop_front();
        }
        let loans: Vec<_> = self.members[place].recalls_owed.iter().copied().collect();
        if !loans.is_empty() && self.send(place, Frame::Recall(loans)) {
            self.members[place].recalls_owed.clear();
        }
    }

    fn recall(&mut self, slot: Slot, count: u32) {
        let Some(place) = self.serving(slot) else { return };
        for _ in 0..count {
            self.meanwhile();
            let oldest = self.members[place].unclaimed.pop_front();
            match oldest.and_then(|(loan, _)| self.take_back(place, loan)) {
                Some(number) => {
                    self.dispatcher.handle_recalled(slot, ConnectionId(number as u32), 0);
                }
                None => self.dispatcher.handle_recall_lost(slot),
            }
        }
        self.pay_debts(place);
    }

    pub(crate) fn take_back(&mut self, place: usize, loan: LoanId) -> Option<usize> {
        match self.members[place].page.recall(loan) {
            Recall::Taken { connection, .. } => {
                let number = connection.0 as usize;
                self.members[place].recalls_owed.push_back(loan);
                self.forget_watch(place, number);
                let connection = &mut self.connections[number];
                assert_eq!(connection.place, Place::OnLoan(place, loan), "{number} is taken back");
                assert_eq!(connection.reader, None, "{number} is taken back, and read");
                assert!(!connection.over, "{number} is taken back, and over");
                connection.place = Place::Queued;
                Some(number)
            }
            Recall::Claimed | Recall::Over => None,
        }
    }

    pub(crate) fn forget_watch(&mut self, place: usize, number: usize) {
        if std::mem::take(&mut self.connections[number].watched) {
            self.members[place].idle.ready.retain(|(_, one)| *one != number);
        }
    }

    fn watch(&mut self, slot: Slot) {
        let auto = self.plan.mode == Rebalance::Auto;
        let Some(place) = self.serving(slot).filter(|_| auto) else { return };
        if self.members[place].idle.is_watching {
            return;
        }
        self.members[place].idle.is_watching = true;
        // The kernel looks at the set when it is added.
        self.report(Source::Watched(place));
        self.register_some(place);
    }

    fn register_some(&mut self, place: usize) -> bool {
        for _ in 0..WATCHES_PER_TURN_MAX {
            let member = &mut self.members[place];
            let Some(loan) = member.idle.unregistered.pop() else { return false };
            let Some(number) = member.page.connection(loan).map(|one| one.0 as usize) else {
                continue;
            };
            member.idle.ready.push_back((loan, number));
            self.connections[number].watched = true;
            if self.connections[number].is_readable() {
                self.report(Source::Watched(place));
            }
            self.meanwhile();
        }
        !self.members[place].idle.unregistered.is_empty()
    }

    pub(crate) fn watch_more(&mut self) -> bool {
        let mut missing = false;
        for place in 0..self.members.len() {
            let idle = &self.members[place].idle;
            if idle.is_watching && !idle.unregistered.is_empty() {
                missing |= self.register_some(place);
                self.dispatcher.handle_idle_readable(self.members[place].slot);
            }
        }
        missing
    }

    fn rescue(&mut self, slot: Slot, count: u32) {
        let Some(place) = self.serving(slot) else { return };
        let (mut taken, mut more) = (0, false);
        for _ in 0..LOOKS_PER_RESCUE_MAX {
            let found = self.look_for_readable(place);
            more = false;
            for loan in found.iter().copied() {
                if taken == count {
                    more = true;
                    break;
                }
                self.meanwhile();
                taken += u32::from(self.rescue_one(place, slot, loan));
            }
            if taken == count || found.len() < READABLE_PER_LOOK_MAX {
                break;
            }
        }
        self.dispatcher.handle_rescue_over(slot, more);
        self.pay_debts(place);
    }

    /// What is reported stands behind what was not.
    fn look_for_readable(&mut self, place: usize) -> Vec<LoanId> {
        let ready = &mut self.members[place].idle.ready;
        let readable = |one: &(LoanId, usize)| self.connections[one.1].is_readable();
        let found: Vec<_> =
            ready.iter().copied().filter(readable).take(READABLE_PER_LOOK_MAX).collect();
        ready.retain(|one| !found.contains(one));
        ready.extend(found.iter().copied());
        found.into_iter().map(|(loan, _)| loan).collect()
    }

    fn rescue_one(&mut self, place: usize, slot: Slot, loan: LoanId) -> bool {
        if self.members[place].page.look(loan) != LoanState::Idle {
            return false;
        }
        self.meanwhile();
        let Some(number) = self.take_back(place, loan) else { return false };
        if self.connections[number].unread() > 0 {
            self.dispatcher.handle_rescued(slot, ConnectionId(number as u32), 0);
        } else {
            self.park(number);
        }
        true
    }
}
