//! Lending and taking back: the dispatcher's effects, carried out on pages and channels.
//!
//! Not here: which worker (`dispatch`), what a death does to loans (`settling`).

use std::os::fd::BorrowedFd;

use tracing::{error, warn};

use crate::board::{Call, LetGo, LetGoHow, Recall};
use crate::config::{
    DESCRIPTORS_PER_PACKET_MAX, FRAMES_PER_TURN_MAX, RING_ENTRIES_PER_TURN_MAX, Rebalance,
};
use crate::dispatch::{Effect, Sample, Shape};
use crate::handoff::{FromWorker, LendRecord, PROTOCOL_VERSION, ReadyRecord, ToMaster};
use crate::ident::{ConnectionId, Incarnation, LoanId, Slot};
use crate::loan::LoanState;
use crate::master::Master;
use crate::master::connections::Place;
use crate::master::counters::Outcome;
use crate::master::roster::{Member, Stage};
use crate::time::Nanos;

/// A recall can free what another one waits for, so deciding and doing alternate; each round either
/// lends or takes back, and this many rounds are more than any turn needs.
const ROUNDS_MAX: usize = 8;

impl Master {
    /// Decides, and carries out, until nothing is left to do.
    pub(super) fn seat(&mut self) {
        for _ in 0..ROUNDS_MAX {
            self.dispatcher.decide();
            let mut decide_again = false;
            while let Some(effect) = self.dispatcher.poll_effect() {
                decide_again |= !matches!(effect, Effect::Lend { .. });
                match effect {
                    Effect::Lend { connection, slot } => self.put_into_outbox(connection, slot),
                    Effect::Recall { slot, count } => self.recall(slot, count),
                    Effect::Rescue { slot, count } => self.rescue(slot, count),
                    Effect::Watch(slot) => self.watch(slot),
                    Effect::Unwatch(slot) => {
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

    /// Looks at every page: what has been claimed, and how loaded each worker is.
    pub(super) fn look_at_board(&mut self) {
        let now = self.now;
        let mut overdue = Vec::new();
        for (_, member) in self.roster.iter_mut() {
            if member.stage != Stage::Serving {
                continue;
            }
            let sample = sample(member, now);
            let recallable = member.proxy.is_none();
            let timeout = self.settings.lifecycle.handoff_timeout;
            if !recallable && sample.oldest_waiting.is_some_and(|at| now.since(at) > timeout) {
                overdue.push(member.who);
            }
            self.dispatcher.handle_sample(member.who.slot, &sample, now);
        }
        for who in overdue {
            // What it was lent cannot be taken back while it lives: it has no page.
            error!(worker = who.slot.0, gen = who.generation.0, "a hand-off was not taken in time");
            self.supervisor.handle_misbehaved(who);
        }
    }

    /// Asks workers to say when they have room, where that is waited for. True if one was asked
    /// that had not been.
    pub(super) fn raise_bells(&mut self) -> bool {
        let kernel_waits = self.acceptor.kernel_waits();
        let always = self.settings.rebalance == Rebalance::Always;
        let mut raised = false;
        for (_, member) in self.roster.iter_mut() {
            if member.stage == Stage::Starting || member.proxy.is_some() {
                continue;
            }
            let serves = member.stage == Stage::Serving;
            let at_load = serves
                .then(|| self.dispatcher.bell_threshold(member.who.slot, kernel_waits))
                .flatten();
            // A worker that leaves gives back what becomes idle, in every mode.
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

    /// Takes what workers have let go of out of their rings.
    pub(super) fn harvest(&mut self) {
        let mut let_go = std::mem::take(&mut self.let_go);
        let mut any = false;
        for place in self.roster.places() {
            self.harvest_one(place, &mut let_go);
            any |= !let_go.is_empty();
            for one in let_go.drain(..) {
                self.handle_let_go(place, &one);
            }
        }
        if any {
            self.look_again_soon();
        } else {
            self.look_again_later();
        }
        self.let_go = let_go;
    }

    pub(super) fn harvest_one(&mut self, place: u32, out: &mut Vec<LetGo>) {
        let Some(member) = self.roster.get_mut(place) else { return };
        if !member.page.ring_waits() {
            return;
        }
        if let Err(cause) = member.page.drain_ring(RING_ENTRIES_PER_TURN_MAX, out) {
            let who = member.who;
            error!(worker = who.slot.0, gen = who.generation.0, %cause, "a ring that lies");
            self.counters.protocol_errors += 1;
            self.supervisor.handle_misbehaved(who);
        }
    }

    pub(super) fn handle_let_go(&mut self, place: u32, let_go: &LetGo) {
        if !matches!(let_go.how, LetGoHow::Recalled)
            && let Some(connection) = self.connections.get_mut(let_go.connection)
            && let Some(member) = self.roster.get(place)
        {
            // Also of one that is over: another worker, from which it was recalled, may still hold
            // a copy, and then the registration would outlive ours.
            member.idle.forget(connection);
        }
        match let_go.how {
            LetGoHow::Ended => {
                // The worker has shut it down; this was the last copy but for the kernel's.
                self.connections.remove(let_go.connection);
                self.counters.count(Outcome::Finished);
            }
            LetGoHow::Given(terms) => {
                self.counters.given += 1;
                let latest = self.latest_deadline();
                if let Some(connection) = self.connections.get_mut(let_go.connection) {
                    connection.take_terms(&terms, latest);
                    self.place_given(let_go.connection);
                }
            }
            // It went elsewhere when it was recalled.
            LetGoHow::Recalled => {}
        }
    }

    /// Reads a worker's frames, a bounded number of them.
    pub(super) fn hear_worker(&mut self, place: u32) {
        for _ in 0..FRAMES_PER_TURN_MAX {
            let Some(member) = self.roster.get_mut(place) else { return };
            let who = member.who;
            match member.channel.receive() {
                Ok(FromWorker::Frame(frame)) => self.handle_frame(place, frame),
                Ok(FromWorker::Empty) => {
                    if let Err(cause) = member.pay_debts() {
                        warn!(
                            worker = who.slot.0, gen = who.generation.0,
                            %cause, "a channel broke"
                        );
                    }
                    return;
                }
                Ok(FromWorker::Closed) => {
                    // It gets nothing more; that it has ended only its pidfd says.
                    self.stop_lending_to(place);
                    return;
                }
                Err(cause) => {
                    error!(worker = who.slot.0, gen = who.generation.0, %cause, "protocol error");
                    self.counters.protocol_errors += 1;
                    self.supervisor.handle_misbehaved(who);
                }
            }
        }
        // There may be more: the edge does not come again.
        self.channels_unread.push(place);
    }

    fn handle_frame(&mut self, place: u32, frame: ToMaster) {
        let Some(member) = self.roster.get_mut(place) else { return };
        let who = member.who;
        match frame {
            ToMaster::Ready(ready) => self.handle_ready(place, who, &ready),
            ToMaster::Refuse(loans) => self.handle_refused(place, &loans),
            // Waking up was its purpose. It has lowered its own flag.
            ToMaster::Bell => member.bell = Call::NOTHING,
            ToMaster::Bye => self.supervisor.recycle(who, self.now),
            ToMaster::Taken(loans) => {
                if let Some(proxy) = &member.proxy {
                    for loan in loans {
                        if member.page.look(loan) == LoanState::Lent
                            && proxy.claim(loan, LoanState::Lent)
                        {
                            proxy.pin(loan, LoanState::Active);
                        }
                    }
                }
            }
            ToMaster::Ended(loans) => {
                if let Some(proxy) = &mut member.proxy {
                    for loan in loans {
                        if member.page.look(loan) == LoanState::Pinned {
                            proxy.end(loan, LoanState::Pinned);
                            proxy.let_go(loan);
                        }
                    }
                }
            }
            ToMaster::Report(report) => member.reported = Some(report),
        }
    }

    fn handle_ready(&mut self, place: u32, who: Incarnation, ready: &ReadyRecord) {
        let Some(member) = self.roster.get_mut(place) else { return };
        if ready.version != PROTOCOL_VERSION || member.stage != Stage::Starting {
            error!(
                worker = who.slot.0, gen = who.generation.0,
                version = ready.version, "a Ready that cannot be"
            );
            self.counters.protocol_errors += 1;
            return self.supervisor.handle_misbehaved(who);
        }
        if !ready.has_page
            && let Err(cause) = member.play_worker_side()
        {
            error!(
                worker = who.slot.0, gen = who.generation.0,
                %cause, "keeping a page for a worker"
            );
            return self.supervisor.handle_misbehaved(who);
        }
        let shape =
            Shape { threads: ready.threads, credit: ready.credit, recallable: ready.has_page };
        self.start_lending_to(place, shape);
        self.supervisor.handle_ready(who, self.now);
    }

    /// All loans of a packet that a worker had no descriptors for.
    fn handle_refused(&mut self, place: u32, loans: &[LoanId]) {
        for loan in loans {
            let Some(member) = self.roster.get_mut(place) else { return };
            let Some(id) = member.page.undo_lend(*loan) else { continue };
            if let Some(connection) = self.connections.get_mut(id) {
                member.idle.forget(connection);
            }
            self.counters.refused += 1;
            self.place_returned(id);
        }
        if let Some(member) = self.roster.get(place) {
            // Nothing more for it in this turn: it has just said that it is full.
            self.dispatcher.handle_back_pressure(member.who.slot, &[]);
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
            for (number, packet) in outbox.chunks(DESCRIPTORS_PER_PACKET_MAX).enumerate() {
                if !self.send_packet(place, packet) {
                    unsent = &outbox[number * DESCRIPTORS_PER_PACKET_MAX..];
                    break;
                }
            }
            if !unsent.is_empty() {
                sent_all = false;
                self.handle_unsent(place, unsent);
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
    fn send_packet(&mut self, place: u32, packet: &[ConnectionId]) -> bool {
        let Some(member) = self.roster.get_mut(place) else { return false };
        let mut records: Vec<LendRecord> = Vec::with_capacity(packet.len());
        let mut descriptors: Vec<BorrowedFd<'_>> = Vec::with_capacity(packet.len());
        for id in packet {
            let Some(connection) = self.connections.get(*id) else { continue };
            let Some(loan) = member.page.lend(*id, &connection.terms()) else { break };
            records.push(connection.record(loan));
            descriptors.push(connection.descriptor());
        }
        let rescues = self.settings.rebalance == Rebalance::Auto;
        let whole = records.len() == packet.len();
        let sent = whole
            && match member.channel.lend(&records, &descriptors) {
                Ok(sent) => sent,
                Err(cause) => {
                    // It is ending; its pidfd will say so, and settle what it has.
                    let who = member.who;
                    warn!(worker = who.slot.0, gen = who.generation.0, %cause, "lending");
                    false
                }
            };
        for record in &records {
            if sent {
                member.unclaimed.push_back((record.loan, self.now));
                if rescues {
                    member.idle.note_lent(record.loan, &member.page);
                }
            } else {
                member.page.undo_lend(record.loan);
            }
        }
        if sent {
            self.counters.lent += records.len() as u64;
            for (id, record) in packet.iter().zip(&records) {
                if let Some(connection) = self.connections.get_mut(*id) {
                    connection.place = Place::OnLoan { member: place, loan: record.loan };
                    if !std::mem::replace(&mut connection.seated, true) {
                        self.counters.count_seated(member.who.slot);
                    }
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

    /// Takes back up to `count` loans that the worker has not claimed, oldest first.
    fn recall(&mut self, slot: Slot, count: u32) {
        let Some(place) = self.roster.serving(slot) else { return };
        for _ in 0..count {
            let taken = self.recall_oldest(place);
            let connection = taken.and_then(|id| self.connections.get(id).map(|one| (id, one)));
            match connection {
                Some((id, connection)) => {
                    let affinity = connection.affinity();
                    self.counters.recalled += 1;
                    self.dispatcher.handle_recalled(slot, id, affinity);
                }
                None => self.dispatcher.handle_recall_lost(slot),
            }
        }
        self.tell_recalls(place);
    }

    fn recall_oldest(&mut self, place: u32) -> Option<ConnectionId> {
        let member = self.roster.get_mut(place)?;
        let (loan, _) = member.unclaimed.pop_front()?;
        self.take_back(place, loan)
    }

    /// Takes one loan back, if its worker has not claimed it. The connection is the caller's.
    pub(super) fn take_back(&mut self, place: u32, loan: LoanId) -> Option<ConnectionId> {
        let latest = self.latest_deadline();
        let member = self.roster.get_mut(place)?;
        match member.page.recall(loan) {
            Recall::Taken { connection, terms, .. } => {
                member.recalls_owed.push_back(loan);
                if let Some(held) = self.connections.get_mut(connection) {
                    member.idle.forget(held);
                    held.take_terms(&terms, latest);
                    held.place = Place::Queued;
                }
                Some(connection)
            }
            Recall::Claimed | Recall::Over => None,
        }
    }

    /// Tells a worker which copies to drop, as far as the channel takes it.
    pub(super) fn tell_recalls(&mut self, place: u32) {
        if let Some(member) = self.roster.get_mut(place) {
            // A broken channel is its pidfd's to report.
            let _ = member.pay_debts();
        }
    }

    /// The longest idle connection at any worker, taken back.
    pub(super) fn recall_longest_idle(&mut self) -> Option<ConnectionId> {
        let idle = self.roster.iter().filter(|(_, member)| member.proxy.is_none()).flat_map(
            |(place, member)| {
                member
                    .page
                    .loans()
                    .filter(|(loan, ..)| member.page.look(*loan) == LoanState::Idle)
                    .map(move |(loan, id, _)| (member.page.idle_deadline(loan), place, loan, id))
            },
        );
        let (_, place, loan, _) = idle.min_by_key(|(deadline, ..)| *deadline)?;
        let id = self.take_back(place, loan);
        self.tell_recalls(place);
        id
    }
}

/// What the dispatcher is told of a worker. The claim words are read before the counters: a request
/// that begins meanwhile is counted twice then, and never not at all.
fn sample(member: &mut Member, now: Nanos) -> Sample {
    let unclaimed = member.still_unclaimed(now);
    let (waiting, oldest_waiting) = (unclaimed.count, unclaimed.oldest);
    let nothing_claimed_since = unclaimed.nothing_claimed_since;
    let open = member.page.on_loan();
    let stopped = member.stopped_at.is_some();
    if let Some(report) = &member.reported {
        return Sample {
            waiting,
            oldest_waiting,
            nothing_claimed_since,
            started: report.started,
            finished: report.finished,
            queued: report.queued,
            threads_busy: report.busy,
            open,
            busy_ns: report.busy_ns,
            services: report.finished,
            stopped,
            ..Sample::default()
        };
    }
    let report = member.page.report();
    Sample {
        waiting,
        oldest_waiting,
        nothing_claimed_since,
        started: report.requests_started,
        finished: report.requests_finished,
        queued: report.requests_queued,
        threads_busy: report.threads_busy,
        all_busy_since: report.all_busy_since,
        turn_entered: report.turn_entered,
        open,
        busy_ns: report.busy_ns,
        services: report.services,
        stopped,
    }
}

/// Since when a worker has been busy with one and the same thing; zero if it is not.
pub(super) fn busy_since(member: &Member) -> Nanos {
    if let Some(stopped_at) = member.stopped_at {
        return stopped_at;
    }
    let report = member.page.report();
    [report.turn_entered, report.oldest_call]
        .into_iter()
        .filter(|stamp| *stamp != Nanos(0))
        .min()
        .unwrap_or(Nanos(0))
}
