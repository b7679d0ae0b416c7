//! The dispatcher's effects, carried out: lending, taking back, parking.
//!
//! Not here: which connection goes where (`crate::dispatch`).

use crate::config::{
    DESCRIPTORS_PER_PACKET_MAX, LOOKS_PER_RESCUE_MAX, READABLE_PER_LOOK_MAX, RING_LOOK_MAX,
    RING_LOOK_MIN, Rebalance,
};
use crate::dispatch::Effect;
use crate::ident::{ConnectionId, Slot};
use crate::sim::agenda::Agenda;
use crate::sim::costs::Costs;
use crate::sim::server::connections::{Place, Word};
use crate::sim::server::members::LetGo;
use crate::sim::server::passed_over::Kinds;
use crate::sim::server::{Happening, Server};
use crate::time::Nanos;

/// As in `master::lending`.
const ROUNDS_MAX: usize = 16;

impl Server {
    pub(super) fn seat(&mut self, agenda: &mut Agenda<Happening>) {
        self.master.passed_over.begin_turn(self.waits());
        self.decide(agenda);
        self.master.passed_over.end_turn(self.waits());
    }

    /// Who waits: new ones, with the kernel or with the dispatcher, and those that have come back.
    fn waits(&self) -> Kinds {
        let fresh = self.dispatcher.queued() - self.master.returned;
        Kinds {
            new: fresh > 0 || !self.master.queue.is_empty(),
            returned: self.master.returned > 0,
        }
    }

    fn decide(&mut self, agenda: &mut Agenda<Happening>) {
        for round in 1..=ROUNDS_MAX {
            if round < ROUNDS_MAX {
                self.dispatcher.decide();
            } else {
                self.dispatcher.seat_waiting();
            }
            let mut decides_again = false;
            while let Some(effect) = self.dispatcher.poll_effect() {
                decides_again |= !matches!(effect, Effect::Lend { .. });
                match effect {
                    Effect::Lend { connection, slot } => self.put_into_outbox(connection, slot),
                    Effect::Recall { slot, count } => self.recall(slot, count),
                    Effect::Rescue { slot, count } => self.rescue(slot, count, agenda),
                    Effect::Watch(slot) => {
                        let auto = self.setup.rebalance == Rebalance::Auto;
                        if let Some(place) = self.serves(slot) {
                            self.members[place as usize].is_watched = auto;
                        }
                    }
                    Effect::Unwatch(slot) => {
                        if let Some(place) = self.serves(slot) {
                            self.members[place as usize].is_watched = false;
                        }
                    }
                    Effect::Shed { connection, .. } => self.shed(connection.0),
                }
            }
            let sent_all = self.send_outboxes(agenda);
            if !decides_again && sent_all {
                return;
            }
        }
    }

    pub(super) fn serves(&self, slot: Slot) -> Option<u32> {
        self.serving.get(usize::from(slot.0)).copied().flatten()
    }

    fn put_into_outbox(&mut self, connection: ConnectionId, slot: Slot) {
        let Some(place) = self.serves(slot) else {
            debug_assert!(false, "the dispatcher knows only slots that serve");
            return;
        };
        let returned = self.leaves_queue(connection.0);
        self.master.passed_over.seated(returned);
        let member = &mut self.members[place as usize];
        if member.outbox.is_empty() {
            self.master.outboxes.push(place);
        }
        member.outbox.push(connection.0);
    }

    /// It waits with the dispatcher no longer. Returns whether it had come back.
    pub(super) fn leaves_queue(&mut self, number: u32) -> bool {
        let returned = self.connections.get(number).place == Place::Returned;
        self.master.returned -= usize::from(returned);
        returned
    }

    /// One packet a worker and turn, up to 64 in it. True if all went.
    fn send_outboxes(&mut self, agenda: &mut Agenda<Happening>) -> bool {
        let mut sent_all = true;
        let mut places = std::mem::take(&mut self.master.outboxes);
        places.sort_unstable();
        for place in places.drain(..) {
            let mut outbox = std::mem::take(&mut self.members[place as usize].outbox);
            let mut unsent_from = outbox.len();
            for (index, packet) in outbox.chunks(DESCRIPTORS_PER_PACKET_MAX).enumerate() {
                if self.members[place as usize].packets >= self.setup.channel_max {
                    unsent_from = index * DESCRIPTORS_PER_PACKET_MAX;
                    break;
                }
                self.send_packet(place, packet, agenda);
            }
            if unsent_from < outbox.len() {
                sent_all = false;
                let slot = self.members[place as usize].who.slot;
                let unsent = &outbox[unsent_from..];
                for number in unsent {
                    self.connections.get_mut(*number).place = Place::Returned;
                }
                self.master.returned += unsent.len();
                let back: Vec<_> = unsent
                    .iter()
                    .map(|one| (ConnectionId(*one), self.connections.get(*one).affinity))
                    .collect();
                self.dispatcher.handle_back_pressure(slot, &back);
                self.changed(place);
            }
            outbox.clear();
            self.members[place as usize].outbox = outbox;
            self.look_again_soon(agenda.now());
        }
        self.master.outboxes = places;
        sent_all
    }

    fn send_packet(&mut self, place: u32, packet: &[u32], agenda: &mut Agenda<Happening>) {
        let now = agenda.now();
        let costs = self.setup.costs;
        let count = packet.len() as u32;
        self.master.spent_ns += costs.packet_ns + costs.descriptor_ns * u64::from(count);
        let sent_at = Costs::after(now, self.master.spent_ns);
        let member = &mut self.members[place as usize];
        for number in packet {
            let connection = self.connections.get_mut(*number);
            connection.place = Place::Held(place);
            connection.word = Word::Lent;
            connection.stay = connection.stay.wrapping_add(1);
            connection.lent_at = now;
            connection.heard_at = sent_at;
            let noted = (*number, connection.stay);
            member.unclaimed.push_back(noted);
            member.inbox.push_back(noted);
        }
        member.waiting += count;
        member.open += count;
        member.packets += 1;
        self.on_loan += u64::from(count);
        self.counts.lent += u64::from(count);
        self.changed(place);
        self.wake_worker(place, sent_at, agenda);
    }

    /// Takes back up to `count` loans that the worker has not claimed, oldest first.
    fn recall(&mut self, slot: Slot, count: u32) {
        let Some(place) = self.serves(slot) else { return };
        self.master.spent_ns += self.setup.costs.packet_ns;
        for _ in 0..count {
            let oldest = self.members[place as usize].unclaimed.pop_front();
            let is_lent = oldest.is_some_and(|(number, stay)| {
                self.connections.stays(number, stay, place)
                    && self.connections.get(number).word == Word::Lent
            });
            match oldest.filter(|_| is_lent) {
                Some((number, _)) => {
                    self.take_back(place, number);
                    self.counts.recalled += 1;
                    self.master.returned += 1;
                    let affinity = self.connections.get(number).affinity;
                    self.dispatcher.handle_recalled(slot, ConnectionId(number), affinity);
                }
                None => self.dispatcher.handle_recall_lost(slot),
            }
        }
        self.changed(place);
    }

    /// LENT or IDLE → RECALLED. The connection is the caller's.
    pub(super) fn take_back(&mut self, place: u32, number: u32) {
        let connection = self.connections.get_mut(number);
        debug_assert_ne!(connection.word, Word::Active, "{number} is being read");
        let was_lent = connection.word == Word::Lent;
        connection.place = Place::Returned;
        connection.stay = connection.stay.wrapping_add(1);
        let member = &mut self.members[place as usize];
        member.waiting -= u32::from(was_lent);
        member.open -= 1;
        self.on_loan -= 1;
        self.changed(place);
    }

    /// Takes back up to `count` readable idle loans of a stuck worker.
    fn rescue(&mut self, slot: Slot, count: u32, agenda: &mut Agenda<Happening>) {
        let Some(place) = self.serves(slot) else { return };
        self.master.spent_ns += self.setup.costs.packet_ns;
        let (mut taken, mut more) = (0, false);
        let mut left = READABLE_PER_LOOK_MAX * LOOKS_PER_RESCUE_MAX;
        let mut index = 0;
        while index < self.members[place as usize].inbox.len() {
            let (number, stay) = self.members[place as usize].inbox[index];
            let connection = self.connections.get(number);
            let fits = self.connections.stays(number, stay, place)
                && connection.word == Word::Idle
                && connection.is_readable();
            if !fits {
                index += 1;
                continue;
            }
            if taken == count || left == 0 {
                more = true;
                break;
            }
            left -= 1;
            self.members[place as usize].inbox.remove(index);
            let speaks = self.connections.get(number).unread;
            self.take_back(place, number);
            taken += 1;
            if speaks {
                self.counts.rescued += 1;
                self.master.returned += 1;
                let affinity = self.connections.get(number).affinity;
                self.dispatcher.handle_rescued(slot, ConnectionId(number), affinity);
            } else {
                self.place_returned(number, agenda);
            }
        }
        self.dispatcher.handle_rescue_over(slot, more);
    }

    /// Takes what workers have let go of.
    pub(super) fn harvest(&mut self, agenda: &mut Agenda<Happening>) {
        let mut places = std::mem::take(&mut self.master.rings);
        let now = agenda.now();
        match places.is_empty() {
            true => self.look_again_later(now),
            false => self.look_again_soon(now),
        }
        for place in places.drain(..) {
            self.harvest_one(place, agenda);
        }
        self.master.rings = places;
    }

    pub(super) fn harvest_one(&mut self, place: u32, agenda: &mut Agenda<Happening>) {
        let mut ring = std::mem::take(&mut self.members[place as usize].ring);
        for (number, how) in ring.drain(..) {
            self.members[place as usize].open -= 1;
            self.on_loan -= 1;
            self.changed(place);
            match how {
                LetGo::Ended => self.end(number),
                LetGo::Given => {
                    self.counts.given += 1;
                    self.place_returned(number, agenda);
                }
            }
        }
        self.members[place as usize].ring = ring;
    }

    /// A connection has come back that nobody reads from: seated if its client has spoken, parked
    /// if it has not.
    pub(super) fn place_returned(&mut self, number: u32, agenda: &mut Agenda<Happening>) {
        let connection = self.connections.get_mut(number);
        connection.place = Place::Returned;
        connection.stay = connection.stay.wrapping_add(1);
        if connection.unread {
            self.master.returned += 1;
            let affinity = connection.affinity;
            self.dispatcher.handle_readable(ConnectionId(number), affinity);
        } else if connection.hung_up {
            self.end(number);
        } else {
            self.park(number, agenda);
        }
    }

    pub(super) fn park(&mut self, number: u32, agenda: &mut Agenda<Happening>) {
        let connection = self.connections.get_mut(number);
        connection.place = Place::Parked;
        if connection.is_readable() {
            self.master.facts.parked.push(number);
            self.wake_master(agenda);
        }
    }

    fn look_again_soon(&mut self, now: Nanos) {
        self.master.ring_look = (now + RING_LOOK_MIN, RING_LOOK_MIN);
    }

    fn look_again_later(&mut self, now: Nanos) {
        if now >= self.master.ring_look.0 {
            let pause = (self.master.ring_look.1 * 2).min(RING_LOOK_MAX);
            self.master.ring_look = (now + pause, pause);
        }
    }

    /// Takes back every loan of a worker that is LENT or IDLE.
    pub(super) fn take_back_unclaimed(&mut self, place: u32, agenda: &mut Agenda<Happening>) {
        let held: Vec<u32> = self
            .connections
            .iter()
            .filter(|(_, one)| one.place == Place::Held(place) && one.word != Word::Active)
            .map(|(number, _)| number)
            .collect();
        for number in held {
            self.take_back(place, number);
            self.place_returned(number, agenda);
        }
        let member = &mut self.members[place as usize];
        debug_assert_eq!(member.waiting, 0, "all that was unclaimed is taken back");
        member.unclaimed.clear();
        member.inbox.clear();
    }
}
