//! The lives of worker processes: the supervisor's effects, carried out; and deaths, settled.
//!
//! Not here: who is started, drained and killed, and when (`crate::supervise`).

use crate::dispatch::Shape;
use crate::ident::{Incarnation, Slot};
use crate::sim::agenda::Agenda;
use crate::sim::costs::Costs;
use crate::sim::server::connections::{Place, Word};
use crate::sim::server::members::{Member, Stage};
use crate::sim::server::{AnswerKind, Event, Happening, Server};
use crate::supervise::recycling::Vitals;
use crate::supervise::{Effect, Exit};
use crate::time::Nanos;

/// SIGKILL.
const KILLED: Exit = Exit::Signal(9);

impl Server {
    /// Carries out what the supervisor asks for.
    pub(super) fn supervise(&mut self, agenda: &mut Agenda<Happening>) {
        while let Some(effect) = self.supervisor.poll_effect() {
            self.master.supervise_at = None;
            match effect {
                Effect::Spawn(who) => self.spawn(who, agenda),
                Effect::Drain(who) | Effect::Withdraw(who, _) => {
                    if let Some(place) = self.place_of(who) {
                        self.drain(place, agenda);
                    }
                }
                Effect::Kill(who, _) => {
                    if let Some(place) = self.place_of(who) {
                        self.die(place, KILLED, agenda);
                    }
                }
                Effect::GivenAgain(_) | Effect::ReloadEnded(_) => {}
                Effect::Failed(_) | Effect::Finished => {}
            }
        }
    }

    /// What is due by now.
    pub(super) fn hear_clock(&mut self, agenda: &mut Agenda<Happening>) {
        let now = agenda.now();
        if self.supervise_at() <= now {
            self.supervisor.handle_time(now);
            self.master.supervise_at = None;
        }
        self.recycle(now);
    }

    /// When the supervisor is to be told the time.
    pub(super) fn supervise_at(&mut self) -> Nanos {
        let supervisor = &self.supervisor;
        let next = || supervisor.next_deadline().unwrap_or(Nanos::NEVER);
        *self.master.supervise_at.get_or_insert_with(next)
    }

    fn recycle(&mut self, now: Nanos) {
        let Some(recycling) = &mut self.recycling else { return };
        if !recycling.wants_look(now) {
            return;
        }
        let members = self.serving.iter().flatten().map(|place| &self.members[*place as usize]);
        let vitals: Vec<_> = members
            .map(|member| Vitals {
                who: member.who,
                ready_at: member.ready_at,
                requests: member.finished,
                rss: None,
            })
            .collect();
        for (who, reason) in recycling.look(&vitals, now) {
            if self.supervisor.recycle_in_turn(who, now) {
                recycling.count(reason);
                self.master.supervise_at = None;
            }
        }
    }

    /// Every worker is replaced, as by HUP.
    pub fn reload(&mut self, agenda: &mut Agenda<Happening>) {
        self.supervisor.reload(agenda.now());
        self.master.supervise_at = None;
        self.master.facts.rung = true;
        self.wake_master(agenda);
    }

    /// The process in this slot is killed.
    pub fn kill_worker(&mut self, slot: Slot, agenda: &mut Agenda<Happening>) -> bool {
        let Some(place) = self.serves(slot) else { return false };
        self.die(place, KILLED, agenda);
        true
    }

    fn place_of(&self, who: Incarnation) -> Option<u32> {
        let is_it = |member: &Member| member.who == who && member.stage != Stage::Gone;
        self.members.iter().position(is_it).map(|place| place as u32)
    }

    fn spawn(&mut self, who: Incarnation, agenda: &mut Agenda<Happening>) {
        self.counts.starts += 1;
        let slot = usize::from(who.slot.0);
        let speed = self.setup.speeds.get(slot).copied().unwrap_or(1.0);
        let mut member = Member::new(who.slot, who.generation, self.setup.threads, speed);
        let ready_at = Costs::after(agenda.now(), self.setup.costs.boot_ns);
        member.ready_at = ready_at;
        let place = match self.members_free.pop() {
            Some(place) => {
                self.members[place as usize] = member;
                place
            }
            None => {
                self.members.push(member);
                (self.members.len() - 1) as u32
            }
        };
        self.later(agenda, ready_at, Event::Ready(place));
    }

    pub(super) fn worker_is_ready(&mut self, place: u32, agenda: &mut Agenda<Happening>) {
        let member = &self.members[place as usize];
        if member.stage == Stage::Starting && member.ready_at == agenda.now() {
            self.master.facts.ready.push(place);
            self.wake_master(agenda);
        }
    }

    pub(super) fn hear_ready(&mut self, place: u32, agenda: &mut Agenda<Happening>) {
        let now = agenda.now();
        let member = &mut self.members[place as usize];
        if member.stage != Stage::Starting {
            return;
        }
        member.stage = Stage::Serving;
        member.ready_at = now;
        let who = member.who;
        let slot = usize::from(who.slot.0);
        if slot >= self.serving.len() {
            self.serving.resize(slot + 1, None);
        }
        self.supervisor.handle_ready(who, now);
        self.master.supervise_at = None;
        if let Some(recycling) = &mut self.recycling {
            recycling.handle_ready(who, now);
        }
        match self.serving[slot].replace(place) {
            Some(before) => self.members[before as usize].is_watched = false,
            None => self.serving_count += 1,
        }
        if self.lends() {
            let shape = Shape { threads: self.setup.threads, credit: 0, recallable: true };
            self.dispatcher.handle_worker_ready(who.slot, shape);
            self.changed(place);
        } else {
            self.begin_to_accept(place, agenda);
        }
    }

    /// This member is lent nothing more.
    fn stop_lending_to(&mut self, place: u32) {
        let member = &mut self.members[place as usize];
        member.is_watched = false;
        let slot = member.who.slot;
        if self.serves(slot) == Some(place) {
            self.serving[usize::from(slot.0)] = None;
            self.serving_count -= 1;
            if self.lends() {
                self.dispatcher.handle_worker_gone(slot);
            }
        }
    }

    /// It finishes what it is answering, gives back the rest, and goes.
    fn drain(&mut self, place: u32, agenda: &mut Agenda<Happening>) {
        self.stop_lending_to(place);
        match self.members[place as usize].stage {
            Stage::Serving => {}
            Stage::Starting => return self.die(place, Exit::Code(0), agenda),
            Stage::Leaving | Stage::Dead | Stage::Gone => return,
        }
        self.members[place as usize].stage = Stage::Leaving;
        self.master.leaving += 1;
        if self.lends() {
            self.take_back_unclaimed(place, agenda);
        } else {
            self.close_idle(place);
        }
        self.leave_if_done(place, agenda);
    }

    /// Nobody else can have what is this worker's own.
    fn close_idle(&mut self, place: u32) {
        let is_idle = |one: &super::connections::Connection| {
            one.place == Place::Held(place) && one.word == Word::Idle && !one.unread
        };
        let idle: Vec<u32> =
            self.connections.iter().filter(|(_, one)| is_idle(one)).map(|one| one.0).collect();
        for number in idle {
            self.members[place as usize].own -= 1;
            self.answer(number, AnswerKind::Closed);
            self.end(number);
        }
    }

    pub(super) fn leave_if_done(&mut self, place: u32, agenda: &mut Agenda<Happening>) {
        let member = &self.members[place as usize];
        let is_done = member.active.is_empty() && member.own == 0;
        if member.stage == Stage::Leaving && is_done && member.stopped_since.is_none() {
            self.die(place, Exit::Code(0), agenda);
        }
    }

    /// The process ends, and the master hears of it.
    fn die(&mut self, place: u32, how: Exit, agenda: &mut Agenda<Happening>) {
        let member = &mut self.members[place as usize];
        match member.stage {
            Stage::Dead | Stage::Gone => return,
            Stage::Leaving => self.master.leaving -= 1,
            Stage::Starting | Stage::Serving => {}
        }
        member.stage = Stage::Dead;
        member.exit = how;
        member.alarm_at = Nanos(0);
        self.master.facts.ended.push(place);
        self.wake_master(agenda);
    }

    /// Each of its connections goes where its word says (`crate::loan::settle`).
    pub(super) fn settle(&mut self, place: u32, agenda: &mut Agenda<Happening>) {
        let now = agenda.now();
        self.stop_lending_to(place);
        self.harvest_one(place, agenda);
        let held = self.connections.iter().filter(|(_, one)| one.place == Place::Held(place));
        let held: Vec<u32> = held.map(|(number, _)| number).collect();
        for number in held {
            let connection = self.connections.get(number);
            let (is_active, is_unread) = (connection.word == Word::Active, connection.unread);
            if self.lends() && !is_active {
                self.take_back(place, number);
                self.place_returned(number, agenda);
                continue;
            }
            if self.lends() {
                self.members[place as usize].open -= 1;
                self.on_loan -= 1;
            }
            let has_request = is_active || is_unread;
            self.answer(number, if has_request { AnswerKind::Died } else { AnswerKind::Closed });
            self.end(number);
        }
        let member = &mut self.members[place as usize];
        debug_assert_eq!((member.open, member.waiting), (0, 0), "all of it is settled");
        member.stage = Stage::Gone;
        member.active.clear();
        let (who, how) = (member.who, member.exit);
        self.members_free.push(place);
        self.supervisor.handle_exited(who, how, now);
        self.master.supervise_at = None;
    }
}
