//! The master's loop: what wakes it, its turn, and the rest behind it.
//!
//! In a turn stands what stands in `crate::master`'s: facts, what workers let go of, deadlines,
//! workers' lives, looks, accepting, seating; then bells and the next alarm. A turn takes time
//! where costs are set, and whatever happens meanwhile is found by the next one.
//!
//! Two things are left out since they change nothing: the second round behind raised bells (nothing
//! can happen between two lines here), and the turn that a level-triggered listener causes in vain
//! before it is unwatched.
//!
//! Not here: what is looked at (`looking`), seated and taken back (`seating`).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use crate::config::{ACCEPTS_PER_TURN_MAX, OWN_LOOK, RING_LOOK_MAX, Rebalance};
use crate::dispatch::Wish;
use crate::ident::ConnectionId;
use crate::sim::agenda::Agenda;
use crate::sim::costs::Costs;
use crate::sim::server::connections::Place;
use crate::sim::server::members::Stage;
use crate::sim::server::passed_over::PassedOver;
use crate::sim::server::{AnswerKind, Event, Happening, Server};
use crate::time::Nanos;

/// A turn that follows at once takes at least so long: else one that finds always something more
/// would stop the time.
const TURN_LEAST_NS: u64 = 1_000;

/// What the master's epoll has to report.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) listener: bool,
    /// A bell or an alarm: waking up was its purpose.
    pub(super) rung: bool,
    pub(super) parked: Vec<u32>,
    pub(super) watched: Vec<u32>,
    pub(super) signalled: Vec<u32>,
    pub(super) ready: Vec<u32>,
    pub(super) ended: Vec<u32>,
}

impl Facts {
    fn any(&self) -> bool {
        let lists = [&self.parked, &self.watched, &self.signalled, &self.ready, &self.ended];
        self.listener || self.rung || lists.iter().any(|list| !list.is_empty())
    }
}

#[derive(Clone, Debug)]
pub(super) struct Master {
    pub(super) facts: Facts,
    /// The kernel's queue.
    pub(super) queue: VecDeque<u32>,
    /// An arrival there is reported.
    pub(super) is_listening: bool,
    /// Something is known to be in it.
    pub(super) kernel_waits: bool,
    /// A turn is on the agenda.
    is_coming: bool,
    /// The last turn takes until then.
    busy_until: Nanos,
    /// What this turn has taken so far.
    pub(super) spent_ns: u64,
    timeout_at: Nanos,
    timeout_on_agenda: Nanos,
    look_at: Nanos,
    look_on_agenda: Nanos,
    /// When the dispatcher was last asked for its next look.
    look_asked_at: Nanos,
    pub(super) ring_look: (Nanos, Duration),
    pub(super) reports_until: Nanos,
    /// Whose pages have changed.
    pub(super) dirty: Vec<u32>,
    /// When a page that has not changed says something else all the same.
    pub(super) dues: BinaryHeap<Reverse<(Nanos, u32)>>,
    /// Who has let go of something.
    pub(super) rings: Vec<u32>,
    /// Who has something in its outbox.
    pub(super) outboxes: Vec<u32>,
    /// Of those that wait with the dispatcher, how many have come back.
    pub(super) returned: usize,
    pub(super) passed_over: PassedOver,
    wish: Wish,
    /// Whose bell may not be as it is wanted.
    pub(super) unraised: Vec<u32>,
    pub(super) leaving: u32,
    /// When the supervisor is to be told the time; none while nobody has asked it.
    pub(super) supervise_at: Option<Nanos>,
}

impl Master {
    pub(super) fn new(now: Nanos) -> Self {
        Master {
            facts: Facts::default(),
            queue: VecDeque::new(),
            is_listening: false,
            kernel_waits: false,
            is_coming: false,
            busy_until: now,
            spent_ns: 0,
            timeout_at: Nanos::NEVER,
            timeout_on_agenda: Nanos::NEVER,
            look_at: Nanos(0),
            look_on_agenda: Nanos::NEVER,
            look_asked_at: Nanos(0),
            ring_look: (now, RING_LOOK_MAX),
            reports_until: now,
            dirty: Vec::new(),
            dues: BinaryHeap::new(),
            rings: Vec::new(),
            outboxes: Vec::new(),
            returned: 0,
            passed_over: PassedOver::default(),
            wish: Wish::Nothing,
            unraised: Vec::new(),
            leaving: 0,
            supervise_at: None,
        }
    }
}

impl Server {
    /// Something is ready: the master runs, as soon as it can.
    pub(super) fn wake_master(&mut self, agenda: &mut Agenda<Happening>) {
        if !std::mem::replace(&mut self.master.is_coming, true) {
            let now = agenda.now();
            let at = match now < self.master.busy_until {
                true => self.master.busy_until,
                false => Costs::after(now, self.setup.costs.wake_master_ns),
            };
            self.later(agenda, at, Event::Master);
        }
    }

    pub(super) fn master_runs(&mut self, agenda: &mut Agenda<Happening>) {
        self.master.is_coming = false;
        self.turn(agenda);
        self.rest(agenda);
    }

    pub(super) fn master_times_out(&mut self, agenda: &mut Agenda<Happening>) {
        let now = agenda.now();
        if self.master.timeout_on_agenda != now {
            return;
        }
        self.master.timeout_on_agenda = Nanos::NEVER;
        if self.master.timeout_at > now {
            self.sleep_until(self.master.timeout_at, agenda);
        } else {
            self.master.facts.rung = true;
            self.wake_master(agenda);
        }
    }

    pub(super) fn look_rings(&mut self, agenda: &mut Agenda<Happening>) {
        let now = agenda.now();
        if self.master.look_on_agenda != now {
            return;
        }
        self.master.look_on_agenda = Nanos::NEVER;
        if self.master.look_at > now {
            self.wind(self.master.look_at, agenda);
        } else {
            self.master.facts.rung = true;
            self.wake_master(agenda);
        }
    }

    fn turn(&mut self, agenda: &mut Agenda<Happening>) {
        let now = agenda.now();
        self.counts.turns += 1;
        let costs = self.setup.costs;
        self.master.spent_ns = costs.turn_ns + costs.look_ns * self.serving_count as u64;
        self.dispatcher.handle_time(now);
        self.hear_facts(agenda);
        self.harvest(agenda);
        self.hear_clock(agenda);
        self.supervise(agenda);
        if !self.lends() {
            return;
        }
        self.look_at_board(now);
        self.look_at_backlog(now);
        self.accept(agenda);
        self.seat(agenda);
    }

    fn hear_facts(&mut self, agenda: &mut Agenda<Happening>) {
        let mut facts = std::mem::take(&mut self.master.facts);
        if facts.listener {
            let wanted = self.dispatcher.accept_budget(false) > 0;
            let in_vain = self.master.kernel_waits && !wanted;
            self.master.kernel_waits = true;
            self.master.is_listening &= !in_vain;
        }
        for place in facts.ready.drain(..) {
            self.hear_ready(place, agenda);
        }
        for place in facts.ended.drain(..) {
            self.settle(place, agenda);
        }
        for place in facts.signalled.drain(..) {
            let member = &mut self.members[place as usize];
            member.knows_stopped = member.stopped_since.is_some();
            self.changed(place);
        }
        for number in facts.parked.drain(..) {
            if self.connections.get(number).place == Place::Parked {
                self.place_returned(number, agenda);
            }
        }
        for place in facts.watched.drain(..) {
            if self.members[place as usize].stage == Stage::Serving {
                let slot = self.members[place as usize].who.slot;
                self.dispatcher.handle_idle_readable(slot);
            }
        }
        // Kept for their memory.
        let now = std::mem::replace(&mut self.master.facts, facts);
        self.master.facts.listener = now.listener;
        self.master.facts.rung = now.rung;
        self.master.facts.parked.extend(now.parked);
        self.master.facts.watched.extend(now.watched);
        self.master.facts.signalled.extend(now.signalled);
        self.master.facts.ready.extend(now.ready);
        self.master.facts.ended.extend(now.ended);
    }

    /// How long the kernel's queue is, where that is of interest.
    fn look_at_backlog(&mut self, now: Nanos) {
        if !self.dispatcher.sheds() {
            return;
        }
        let waits = self.master.kernel_waits && !self.master.queue.is_empty();
        self.dispatcher.handle_kernel_waits(waits);
        if self.dispatcher.next_backlog_look().is_some_and(|at| at <= now) {
            let length = self.master.queue.len() as u32;
            self.dispatcher.handle_backlog(Some(length));
        }
    }

    fn accept(&mut self, agenda: &mut Agenda<Happening>) {
        if self.serving_count == 0 {
            return;
        }
        let budget = self.dispatcher.accept_budget(self.master.kernel_waits);
        if budget == 0 {
            return;
        }
        if !std::mem::replace(&mut self.master.is_listening, true) && !self.master.queue.is_empty()
        {
            self.master.facts.listener = true;
        }
        let knows_age = self.dispatcher.sheds();
        for _ in 0..budget.min(ACCEPTS_PER_TURN_MAX) {
            if !self.master.kernel_waits {
                break;
            }
            let Some(number) = self.master.queue.pop_front() else {
                self.master.kernel_waits = false;
                break;
            };
            self.master.spent_ns += self.setup.costs.accept_ns;
            let connection = self.connections.get_mut(number);
            connection.place = Place::Fresh;
            if connection.unread {
                let since = if knows_age { connection.arrived_at } else { agenda.now() };
                let affinity = connection.affinity;
                self.dispatcher.handle_accepted(ConnectionId(number), affinity, since);
            } else {
                self.park(number, agenda);
            }
        }
        if self.master.queue.is_empty() {
            self.master.facts.listener = false;
            self.master.kernel_waits = false;
        }
    }

    /// What is left to do, and until when the master sleeps.
    pub(super) fn rest(&mut self, agenda: &mut Agenda<Happening>) {
        let now = agenda.now();
        let mut goes_on = false;
        if self.lends() {
            self.raise_bells();
            let waits = self.master.kernel_waits;
            let accepts = waits && self.dispatcher.accept_budget(true) > 0;
            if waits && !accepts {
                self.master.is_listening = false;
                self.master.facts.listener = false;
            }
            goes_on = accepts || self.dispatcher.has_rescues() || !self.wind_look(agenda);
        }
        self.master.busy_until = Costs::after(now, self.master.spent_ns);
        self.master.spent_ns = 0;
        if goes_on || self.master.facts.any() {
            if !std::mem::replace(&mut self.master.is_coming, true) {
                let least = if goes_on { Costs::after(now, TURN_LEAST_NS) } else { now };
                let at = self.master.busy_until.max(least);
                self.later(agenda, at, Event::Master);
            }
            return;
        }
        let until = self.next_deadline(now);
        self.sleep_until(until, agenda);
    }

    fn next_deadline(&mut self, now: Nanos) -> Nanos {
        let waits = self.dispatcher.queued() > 0 || self.master.kernel_waits;
        let report =
            (self.setup.report_age.is_some() && waits).then_some(self.master.reports_until);
        let ring_look = (self.on_loan > 0).then_some(self.master.ring_look.0);
        let own_look = (!self.lends() && self.recycling.is_some()).then(|| now + OWN_LOOK);
        let backlog = self.dispatcher.next_backlog_look();
        let next = [
            Some(self.supervise_at()),
            self.recycling.as_ref().and_then(crate::supervise::recycling::Recycling::next_deadline),
            report,
            ring_look,
            own_look,
            backlog,
            self.dispatcher.next_shed(),
        ];
        next.into_iter().flatten().min().unwrap_or(Nanos::NEVER)
    }

    fn sleep_until(&mut self, until: Nanos, agenda: &mut Agenda<Happening>) {
        self.master.timeout_at = until;
        // One that is on the agenda already is moved on when it comes.
        if until < self.master.timeout_on_agenda {
            let at = until.max(agenda.now());
            self.master.timeout_on_agenda = at;
            self.master.timeout_at = at;
            self.later(agenda, at, Event::Timeout);
        }
    }

    /// Winds the alarm for the dispatcher's next look, and leaves it alone once wound. False if it
    /// is due.
    fn wind_look(&mut self, agenda: &mut Agenda<Happening>) -> bool {
        let now = agenda.now();
        let many = self.spares_looks();
        if many && now < self.master.look_asked_at + self.stall_after() / 8 {
            return true;
        }
        self.master.look_asked_at = now;
        let Some(at) = self.dispatcher.next_look() else { return true };
        if at <= now {
            return false;
        }
        if at < self.master.look_at || self.master.look_at <= now {
            self.wind(at, agenda);
        }
        true
    }

    fn wind(&mut self, at: Nanos, agenda: &mut Agenda<Happening>) {
        self.master.look_at = at;
        if at < self.master.look_on_agenda {
            self.master.look_on_agenda = at;
            self.later(agenda, at, Event::Look);
        }
    }

    /// Asks workers to say when they have room, where that is waited for.
    fn raise_bells(&mut self) {
        let wish = self.dispatcher.wish(self.master.kernel_waits);
        let always = self.setup.rebalance == Rebalance::Always;
        let many = self.spares_looks();
        let is_as_before = wish == self.master.wish && self.master.leaving == 0;
        if is_as_before && (many || (wish == Wish::Nothing && !always)) {
            let mut unraised = std::mem::take(&mut self.master.unraised);
            if wish != Wish::Nothing || always {
                unraised.iter().for_each(|place| self.set_bell(*place, wish, always));
            }
            unraised.clear();
            self.master.unraised = unraised;
            return;
        }
        self.master.wish = wish;
        self.master.unraised.clear();
        for place in 0..self.members.len() as u32 {
            self.set_bell(place, wish, always);
        }
    }

    fn set_bell(&mut self, place: u32, wish: Wish, always: bool) {
        let member = &mut self.members[place as usize];
        if !member.lives() {
            return;
        }
        let serves = member.stage == Stage::Serving;
        member.bell_at_load = match wish {
            Wish::Nothing => None,
            _ if !serves => None,
            wish => self.dispatcher.bell_threshold(member.who.slot, wish),
        };
        member.bell_when_given = member.open > 0 && (always || !serves);
    }

    pub(super) fn shed(&mut self, number: u32) {
        self.leaves_queue(number);
        self.answer(number, AnswerKind::Shed);
        self.end(number);
    }
}
