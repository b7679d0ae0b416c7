//! The dispatcher's effects, carried out; and lending, one packet a worker and turn.
//!
//! Not here: which worker (`dispatch`), the way back (`returning`).

use std::os::fd::BorrowedFd;

use tracing::warn;

use crate::config::{DESCRIPTORS_PER_PACKET_MAX, Rebalance};
use crate::dispatch::Effect;
use crate::handoff::LendRecord;
use crate::ident::{ConnectionId, Slot};
use crate::master::Master;
use crate::master::connections::Place;
use crate::sys::clock;

/// How sending a packet went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packet {
    Sent,
    /// Not now.
    Full,
    /// Never: nobody reads it.
    Broken,
}

/// A recall can free what another one waits for, so deciding and doing alternate; each round either
/// lends or takes back. What is still to be taken back after so many waits for the next turn, which
/// follows at once; the last round seats what is in hand.
const ROUNDS_MAX: usize = 16;

impl Master {
    /// Decides, and carries out, until nothing is left to do.
    pub(super) fn seat(&mut self) {
        for round in 1..=ROUNDS_MAX {
            if round < ROUNDS_MAX {
                self.dispatcher.decide();
            } else {
                self.dispatcher.seat_waiting();
            }
            let mut decide_again = false;
            while let Some(effect) = self.dispatcher.poll_effect() {
                decide_again |= !matches!(effect, Effect::Lend { .. });
                match effect {
                    Effect::Lend { connection, slot } => self.put_into_outbox(connection, slot),
                    Effect::Recall { slot, count } => self.recall(slot, count),
                    Effect::Rescue { slot, count } => self.rescue(slot, count),
                    Effect::Watch(slot) => {
                        self.note_stuck(slot);
                        self.watch(slot);
                    }
                    Effect::Unwatch(slot) => {
                        self.note_moving(slot);
                        if let Some(place) = self.roster.serving(slot) {
                            self.unwatch(place);
                        }
                    }
                    Effect::Shed { connection, reason } => self.shed(connection, reason),
                }
            }
            let sent_all = self.send_outboxes();
            if !decide_again && sent_all {
                return;
            }
        }
    }

    fn put_into_outbox(&mut self, connection: ConnectionId, slot: Slot) {
        match self.roster.serving(slot).and_then(|place| self.roster.get_mut(place)) {
            Some(member) => member.outbox.push(connection),
            // The dispatcher knows only slots that serve.
            None => self.place_returned(connection),
        }
    }

    /// Sends what is in the outboxes, up to 64 in a packet, once for each worker. True if all went.
    fn send_outboxes(&mut self) -> bool {
        let mut sent_all = true;
        for place in self.roster.places() {
            let Some(member) = self.roster.get_mut(place) else { continue };
            if member.outbox.is_empty() {
                continue;
            }
            let outbox = std::mem::take(&mut member.outbox);
            let mut unsent: &[ConnectionId] = &[];
            let mut broken = false;
            for (number, packet) in outbox.chunks(DESCRIPTORS_PER_PACKET_MAX).enumerate() {
                let sent = self.send_packet(place, packet);
                if sent != Packet::Sent {
                    broken = sent == Packet::Broken;
                    unsent = &outbox[number * DESCRIPTORS_PER_PACKET_MAX..];
                    break;
                }
            }
            if !unsent.is_empty() {
                sent_all = false;
                self.handle_unsent(place, unsent);
            }
            if broken {
                self.handle_channel_closed(place);
            }
            if let Some(member) = self.roster.get_mut(place) {
                member.outbox = outbox;
                member.outbox.clear();
            }
            self.look_again_soon();
        }
        sent_all
    }

    /// Lends up to 64 connections in one packet: all of them, or none.
    fn send_packet(&mut self, place: u32, packet: &[ConnectionId]) -> Packet {
        let Some(member) = self.roster.get_mut(place) else { return Packet::Full };
        let mut records: Vec<LendRecord> = Vec::with_capacity(packet.len());
        let mut descriptors: Vec<BorrowedFd<'_>> = Vec::with_capacity(packet.len());
        // Whoever measures hand-offs means from here; the turn may have begun some time ago.
        let lent_at = if self.meters.is_some() { clock::now() } else { self.now };
        for id in packet {
            let Some(connection) = self.connections.get(*id) else { continue };
            let Some(loan) = member.page.lend(*id, &connection.terms()) else { break };
            records.push(connection.record(loan, lent_at));
            descriptors.push(connection.descriptor());
        }
        let rescues = self.settings.rebalance == Rebalance::Auto;
        let whole = records.len() == packet.len();
        let sent = match whole.then(|| member.channel.lend(&records, &descriptors)) {
            Some(Ok(true)) => Packet::Sent,
            Some(Ok(false)) | None => Packet::Full,
            Some(Err(cause)) => {
                // It is ending, or reads no more: no second packet is tried.
                let who = member.who;
                warn!(worker = who.slot.0, gen = who.generation.0, %cause, "lending");
                Packet::Broken
            }
        };
        for record in &records {
            if sent == Packet::Sent {
                member.unclaimed.push_back((record.loan, self.now));
                if rescues {
                    member.idle.note_lent(record.loan, &member.page);
                }
            } else {
                member.page.withdraw(record.loan);
            }
        }
        if sent == Packet::Sent {
            self.counters.lent += records.len() as u64;
            member.flood.handle_lent(records.len() as u64);
            for (id, record) in packet.iter().zip(&records) {
                self.connections.move_to(*id, Place::OnLoan { member: place, loan: record.loan });
                if let Some(connection) = self.connections.get_mut(*id)
                    && !std::mem::replace(&mut connection.seated, true)
                {
                    self.counters.slot_mut(member.who.slot).seated += 1;
                }
            }
        }
        sent
    }

    fn handle_unsent(&mut self, place: u32, unsent: &[ConnectionId]) {
        let Some(member) = self.roster.get(place) else { return };
        let slot = member.who.slot;
        let back: Vec<_> = unsent
            .iter()
            .filter_map(|id| self.connections.get(*id).map(|one| (*id, one.affinity())))
            .collect();
        self.dispatcher.handle_back_pressure(slot, &back);
    }
}
