//! What a worker does: hears what it was lent, claims one request after the other, answers.
//!
//! A worker with handlers on its loop serves one request at a time; one with threads as many as it
//! has, and its loop is always free. Costs aside it claims in the order in which connections became
//! readable to it, lent or idle.
//!
//! Not here: accepting (`kernel`), what the master makes of its page (`looking`).

use std::time::Duration;

use crate::config::Rebalance;
use crate::dispatch::first_look;
use crate::ident::Slot;
use crate::sim::agenda::Agenda;
use crate::sim::costs::Costs;
use crate::sim::server::connections::{Place, Word};
use crate::sim::server::members::{LetGo, Stage};
use crate::sim::server::{AnswerKind, Event, Happening, Server};
use crate::time::Nanos;

impl Server {
    /// The worker's loop runs, a wake-up later if it sleeps.
    pub(super) fn wake_worker(
        &mut self,
        place: u32,
        heard_at: Nanos,
        agenda: &mut Agenda<Happening>,
    ) {
        let wake_ns = self.setup.costs.wake_worker_ns;
        let member = &mut self.members[place as usize];
        if member.threads > 0 && !member.has_place() && member.stopped_since.is_none() {
            // Its loop hears, and can claim nothing before a thread is free.
            member.packets = 0;
        } else if member.sleeps() && member.lives() {
            member.runs_at = Costs::after(heard_at.max(agenda.now()), wake_ns);
            let at = member.runs_at;
            self.later(agenda, at, Event::Worker(place));
        }
    }

    pub(super) fn worker_runs(&mut self, place: u32, agenda: &mut Agenda<Happening>) {
        let member = &mut self.members[place as usize];
        if member.runs_at > agenda.now() {
            // Of a worker that was in this place before.
            return;
        }
        member.runs_at = Nanos::NEVER;
        self.go_on(place, agenda);
    }

    /// Claims as much as it has places for.
    pub(super) fn go_on(&mut self, place: u32, agenda: &mut Agenda<Happening>) {
        let now = agenda.now();
        let member = &mut self.members[place as usize];
        if !member.lives() || member.stopped_since.is_some() {
            return;
        }
        member.packets = 0;
        while self.members[place as usize].has_place() {
            match self.next_claim(place, now) {
                Next::Claim(number) => self.claim(place, number, 0, agenda),
                Next::Over(number) => self.finish_connection(place, number, agenda),
                Next::At(later) => {
                    self.members[place as usize].runs_at = later;
                    self.later(agenda, later, Event::Worker(place));
                    break;
                }
                Next::Nothing => {
                    let took = !self.lends() && self.accept_own(place, agenda);
                    if !took {
                        break;
                    }
                }
            }
        }
        if self.members[place as usize].active.is_empty() {
            self.members[place as usize].alarm_at = Nanos(0);
        }
        if self.lends() {
            self.ring_if_due(place, false, agenda);
        } else if self.setup.eager {
            while self.accept_own(place, agenda) {}
        }
        self.leave_if_done(place, agenda);
    }

    fn next_claim(&mut self, place: u32, now: Nanos) -> Next {
        let member = &mut self.members[place as usize];
        while let Some((number, stay)) = member.inbox.front().copied() {
            if !self.connections.stays(number, stay, place) {
                member.inbox.pop_front();
                continue;
            }
            let connection = self.connections.get(number);
            if connection.word == Word::Active || !connection.is_readable() {
                member.inbox.pop_front();
                continue;
            }
            if connection.heard_at > now {
                return Next::At(connection.heard_at);
            }
            member.inbox.pop_front();
            return if connection.unread { Next::Claim(number) } else { Next::Over(number) };
        }
        Next::Nothing
    }

    /// From LENT or IDLE to ACTIVE, and to work; something else may stand in front of it.
    pub(super) fn claim(
        &mut self,
        place: u32,
        number: u32,
        before_ns: u64,
        agenda: &mut Agenda<Happening>,
    ) {
        let now = agenda.now();
        let costs = self.setup.costs;
        let member = &mut self.members[place as usize];
        let connection = self.connections.get_mut(number);
        if connection.word == Word::Lent {
            member.waiting -= 1;
            member.has_claimed = true;
        }
        connection.word = Word::Active;
        connection.unread = false;
        let oversleep_ns = if connection.ask.sleeps && connection.ask.service_ns > 0 {
            costs.oversleep_ns
        } else {
            0
        };
        let work_ns = match connection.ask.sleeps {
            true => connection.ask.service_ns,
            false => scaled(connection.ask.service_ns, member.pace),
        };
        let around_ns = scaled(costs.around_ns + before_ns, member.pace);
        connection.began_at = now;
        connection.done_at = Costs::after(now, around_ns + work_ns + oversleep_ns);
        let done_at = connection.done_at;
        member.active.push(number);
        member.started += 1;
        if member.threads == 0 {
            member.turn_entered = now;
        } else if !member.has_place() {
            member.all_busy_since = now;
        }
        let keeps = !member.has_place();
        self.later(agenda, done_at, Event::Done(place, number));
        if keeps {
            self.wind_alarm(place, now, agenda);
        }
        self.changed(place);
    }

    pub(super) fn work_is_done(&mut self, place: u32, number: u32, agenda: &mut Agenda<Happening>) {
        let now = agenda.now();
        let connection = self.connections.get(number);
        let is_ours = connection.place == Place::Held(place) && connection.word == Word::Active;
        // Otherwise put off by a stop, or of another request on this connection.
        if !is_ours || connection.done_at != now {
            return;
        }
        let member = &mut self.members[place as usize];
        if member.stopped_since.is_some() || !member.lives() {
            // It is heard of when the process goes on, or never.
            return;
        }
        let was_full = !member.has_place();
        let connection = self.connections.get_mut(number);
        connection.done_at = Nanos::NEVER;
        let service_ns = now.since(connection.began_at).as_nanos() as u64;
        let is_last = connection.ask.is_last;
        let slot = member.who.slot;
        member.active.retain(|one| *one != number);
        member.finished += 1;
        member.services += 1;
        member.busy_ns += service_ns;
        member.all_busy_since = Nanos(0);
        member.turn_entered = Nanos(0);
        let leaves = member.stage == Stage::Leaving;
        self.answer(number, AnswerKind::Good(slot));
        self.changed(place);
        if is_last {
            self.finish_connection(place, number, agenda);
        } else {
            let connection = self.connections.get_mut(number);
            connection.word = Word::Idle;
            let hung_up = connection.hung_up;
            if hung_up {
                self.finish_connection(place, number, agenda);
            } else if self.lends() && (leaves || self.setup.rebalance == Rebalance::Always) {
                self.give(place, number, agenda);
            } else if leaves {
                // An arm of the kernel's: nobody else can have it.
                self.answer(number, AnswerKind::Closed);
                self.finish_connection(place, number, agenda);
            }
        }
        self.go_on(place, agenda);
        if !self.lends() && was_full {
            self.watch_again(place);
        }
    }

    /// A worker is through with a connection.
    fn finish_connection(&mut self, place: u32, number: u32, agenda: &mut Agenda<Happening>) {
        if !self.lends() {
            self.members[place as usize].own -= 1;
            self.end(number);
            return;
        }
        let connection = self.connections.get_mut(number);
        let member = &mut self.members[place as usize];
        if connection.word == Word::Lent {
            member.waiting -= 1;
            member.has_claimed = true;
        }
        connection.word = Word::Active;
        self.let_go(place, number, LetGo::Ended);
        self.ring_if_due(place, false, agenda);
    }

    /// IDLE → GIVEN: the master parks or seats it.
    pub(super) fn give(&mut self, place: u32, number: u32, agenda: &mut Agenda<Happening>) {
        self.connections.get_mut(number).word = Word::Active;
        self.let_go(place, number, LetGo::Given);
        self.ring_if_due(place, true, agenda);
    }

    fn let_go(&mut self, place: u32, number: u32, how: LetGo) {
        let member = &mut self.members[place as usize];
        if member.ring.is_empty() {
            self.master.rings.push(place);
        }
        self.members[place as usize].ring.push((number, how));
        self.changed(place);
    }

    /// An idle or unread connection of this worker has become readable.
    pub(super) fn readable_at_worker(
        &mut self,
        place: u32,
        number: u32,
        agenda: &mut Agenda<Happening>,
    ) {
        let connection = self.connections.get_mut(number);
        if connection.word != Word::Idle {
            return;
        }
        connection.heard_at = agenda.now();
        let stay = connection.stay;
        let member = &mut self.members[place as usize];
        member.inbox.push_back((number, stay));
        if member.is_watched {
            self.master.facts.watched.push(place);
            self.wake_master(agenda);
        }
        self.wake_worker(place, agenda.now(), agenda);
    }

    /// Rings for a master that waits for room, or for what is given back.
    fn ring_if_due(&mut self, place: u32, gave: bool, agenda: &mut Agenda<Happening>) {
        let member = &mut self.members[place as usize];
        let load = member.waiting + u32::from(member.busy());
        let has_room = member.bell_at_load.is_some_and(|at_load| load <= at_load);
        if has_room || (gave && member.bell_when_given) {
            (member.bell_at_load, member.bell_when_given) = (None, false);
            self.master.unraised.push(place);
            self.master.facts.rung = true;
            self.wake_master(agenda);
        }
    }

    /// As `worker::alarm` does: put off by progress, once in each `--stall-after`.
    fn wind_alarm(&mut self, place: u32, since: Nanos, agenda: &mut Agenda<Happening>) {
        let wanted = self.lends()
            && self.setup.rebalance == Rebalance::Auto
            && self.serving_count > 1
            && self.members[place as usize].open > 1;
        let stall_after = self.setup.stall_after;
        let member = &mut self.members[place as usize];
        if !wanted || member.alarm_at >= since + stall_after / 2 {
            return;
        }
        member.alarm_at = first_look(since, stall_after);
        // One that is on the agenda already is moved on when it comes.
        if member.alarm_on_agenda > member.alarm_at {
            member.alarm_on_agenda = member.alarm_at;
            let at = member.alarm_at;
            self.later(agenda, at, Event::Alarm(place));
        }
    }

    pub(super) fn alarm_rings(&mut self, place: u32, agenda: &mut Agenda<Happening>) {
        let now = agenda.now();
        let member = &mut self.members[place as usize];
        if member.alarm_on_agenda != now {
            return;
        }
        member.alarm_on_agenda = Nanos::NEVER;
        if member.alarm_at > now {
            member.alarm_on_agenda = member.alarm_at;
            let at = member.alarm_at;
            self.later(agenda, at, Event::Alarm(place));
        } else if member.alarm_at != Nanos(0) {
            self.master.facts.rung = true;
            self.wake_master(agenda);
        }
    }

    /// The process in this slot stands still, as by SIGSTOP; `is_told`: the master hears of it.
    pub fn stop_worker(
        &mut self,
        slot: Slot,
        is_told: bool,
        agenda: &mut Agenda<Happening>,
    ) -> bool {
        let Some(place) = self.serving[usize::from(slot.0)] else { return false };
        let member = &mut self.members[place as usize];
        if member.stopped_since.is_some() {
            return false;
        }
        member.stopped_since = Some(agenda.now());
        // A wake-up that is under way finds it standing.
        member.runs_at = Nanos::NEVER;
        if is_told {
            self.tell_stopped(place, agenda);
        }
        true
    }

    /// It goes on.
    pub fn continue_worker(&mut self, slot: Slot, agenda: &mut Agenda<Happening>) {
        let Some(place) = self.serving[usize::from(slot.0)] else { return };
        self.continue_member(place, agenda);
    }

    pub(super) fn continue_member(&mut self, place: u32, agenda: &mut Agenda<Happening>) {
        let now = agenda.now();
        let Some(since) = self.members[place as usize].stopped_since.take() else { return };
        let stopped_ns = now.since(since).as_nanos() as u64;
        for index in 0..self.members[place as usize].active.len() {
            let number = self.members[place as usize].active[index];
            let connection = self.connections.get_mut(number);
            connection.done_at = match connection.ask.sleeps {
                // The time has passed all the same.
                true => connection.done_at.max(now),
                false => Costs::after(connection.done_at, stopped_ns),
            };
            let at = connection.done_at;
            self.later(agenda, at, Event::Done(place, number));
        }
        if self.members[place as usize].knows_stopped {
            self.tell_stopped(place, agenda);
        }
        self.wake_worker(place, now, agenda);
    }

    fn tell_stopped(&mut self, place: u32, agenda: &mut Agenda<Happening>) {
        if self.lends() {
            self.master.facts.signalled.push(place);
            self.wake_master(agenda);
        }
    }

    /// What its page says is not what it said at the last look.
    pub(super) fn changed(&mut self, place: u32) {
        let member = &mut self.members[place as usize];
        if !member.is_dirty {
            member.is_dirty = true;
            self.master.dirty.push(place);
        }
    }

    /// How long `--stall-after` is.
    pub(super) fn stall_after(&self) -> Duration {
        self.setup.stall_after
    }
}

enum Next {
    Claim(u32),
    /// Its client has gone.
    Over(u32),
    /// The next one is still on its way.
    At(Nanos),
    Nothing,
}

fn scaled(nanos: u64, pace: u64) -> u64 {
    if pace == 1000 { nanos } else { nanos.saturating_mul(pace) / 1000 }
}
