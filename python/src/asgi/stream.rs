//! The bytes of one connection: claimed, read, answered, idle, over.
//!
//! Every step goes with its transition of the claim word, in the order that the master relies on:
//! the claim directly before the first read, ANSWERING before the first byte of a response,
//! `shutdown(2)` before ENDED, and the copy closed before its id goes into the ring. Neither
//! asyncio nor uvloop has such a place: they read what is readable, and their close sends no FIN
//! while the master holds its copy.
//!
//! Not here: when (`core`), on whose behalf (`transport`).

use std::io;
use std::os::fd::AsRawFd;

use maitred::config::{BODY_RATE_MIN, LINGER_BYTES_MAX, LINGER_FOR, Rebalance};
use maitred::http::head_size_max;
use maitred::loan::LoanState;
use maitred::meters::{Counter, Histogram};
use maitred::proxy_protocol::HeaderRefusal;
use maitred::sys::clock;
use maitred::sys::stream::{self, Received, Sent};
use maitred::time::Nanos;
use maitred::worker::sessions::SessionKey;
use mio::Interest;
use mio::unix::SourceFd;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tracing::warn;

use crate::asgi::core::{Core, Effect, moment};
use crate::asgi::session::{Closing, Ending, Stage, Standing};

impl Core {
    /// The turn of an unclaimed connection has come.
    pub(super) fn claim_and_read(&mut self, py: Python<'_>, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.flags.queued = false;
        let Stage::Waiting(from) = session.stage else {
            // Claimed since, to be written to. Its edge has been seen, and does not come again.
            return self.queue_for_reading(key);
        };
        if from == LoanState::Lent {
            self.unread = self.unread.saturating_sub(1);
            session.note_claim(from, self.now);
        }
        // It is counted as read already, and not once more when it goes.
        session.stage = Stage::Waiting(LoanState::Idle);
        if !self.page.claim(session.loan, from) {
            return self.finish(key, Ending::LetGo, None);
        }
        if let Some(meters) = &self.meters
            && from == LoanState::Lent
        {
            let now = clock::now();
            if let Some(waited) = session.waited(now) {
                meters.measure(Histogram::QueueWait, waited);
            }
            if let Some(lent_at) = session.lent_at {
                meters.measure(Histogram::Handoff, now.since(lent_at));
            }
        }
        match stream::receive(session.socket(), &mut self.scratch) {
            Ok(Received::Bytes(count)) => {
                session.stage = Stage::Active;
                session.began_at = self.now;
                session.claimed_at = self.now;
                session.status = None;
                session.received = 0;
                session.standing = Standing::Unknown;
                session.flags.responded = false;
                session.flags.head_began = false;
                let wall = self.now;
                self.pace.handle_claimed(|| moment(wall));
                if !std::mem::replace(&mut session.flags.fresh, true) {
                    self.fresh.push(key);
                }
                self.count(Counter::ReceivedBytes, count as u64);
                self.deliver(py, key, count);
            }
            Ok(Received::Empty) => {
                // Woken for nothing: another wait, on the same deadline.
                self.page.claim_was_empty(session.loan, &session.terms());
                self.watch(key, false);
            }
            Ok(Received::End) => {
                session.stage = Stage::Active;
                self.finish(key, Ending::Orderly, None);
            }
            // Reset by the client, or by the network.
            Err(cause) => {
                session.stage = Stage::Active;
                self.finish(key, Ending::Reset, Some(cause));
            }
        }
    }

    /// Reads once from a claimed connection; if there may be more, again in the next turn.
    pub(super) fn read(&mut self, py: Python<'_>, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        match session.stage {
            // Answered, and idle, since it was queued. What there is, is a request of its own, and its
            // edge may have come meanwhile: it does not come again.
            Stage::Waiting(_) => return self.queue_for_claiming(key),
            Stage::Lingering { discarded } => return self.discard(key, discarded),
            Stage::Active | Stage::Answering | Stage::Pinned => {}
        }
        if session.flags.reading_paused || session.closing.is_some() || session.flags.ended {
            session.flags.unread = true;
            return;
        }
        match stream::receive(session.socket(), &mut self.scratch) {
            Ok(Received::Bytes(count)) => {
                self.count(Counter::ReceivedBytes, count as u64);
                self.deliver(py, key, count);
            }
            Ok(Received::Empty) => {}
            Ok(Received::End) => {
                session.flags.ended = true;
                match &session.protocol {
                    Some(protocol) => {
                        let protocol = protocol.clone_ref(py);
                        self.effects.push_back(Effect::EndOfInput(key, protocol));
                    }
                    None => self.finish(key, Ending::Orderly, None),
                }
            }
            Err(cause) => self.finish(key, Ending::Reset, Some(cause)),
        }
    }

    /// The protocol wants bytes again.
    pub(super) fn resume_reading(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.flags.reading_paused = false;
        if std::mem::take(&mut session.flags.unread) {
            self.queue_for_reading(key);
        }
    }

    /// More to send. It leaves with what else is written before the turn is over, or at once if it
    /// is much.
    pub(super) fn write(&mut self, py: Python<'_>, key: SessionKey, bytes: &[u8]) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.closing.is_some() || bytes.is_empty() {
            return;
        }
        if let Stage::Waiting(from) = session.stage {
            // Nobody writes to a connection that is not theirs.
            let loan = session.loan;
            if !self.page.claim(loan, from) {
                return self.finish(key, Ending::LetGo, None);
            }
            self.take_off_unread(from);
            if let Some(session) = self.sessions.get_mut(key) {
                session.stage = Stage::Active;
            }
        }
        let Some(session) = self.sessions.get_mut(key) else { return };
        if let Some(meters) = &self.meters
            && let Some(status) = session.note_written(bytes)
            && (status < 200 || session.stage == Stage::Pinned)
        {
            // An upgrade, its refusal, or 100: nothing is to come of it that would be counted.
            meters.count_response(status);
        }
        session.out.push(bytes);
        let is_much = session.out.len() >= session.water.0;
        if !std::mem::replace(&mut session.flags.dirty, true) {
            self.dirty.push(key);
        }
        self.note_activity();
        if is_much {
            self.flush(py, key);
        }
    }

    /// Sends what the socket takes.
    pub(super) fn flush(&mut self, py: Python<'_>, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.out.is_empty() {
            return;
        }
        if session.stage == Stage::Active {
            // Before the first byte leaves: from here on the master takes a death for a reset.
            self.page.answering(session.loan);
            session.stage = Stage::Answering;
        }
        // The FIN travels with the last bytes, and the client is woken once.
        let is_last = session.closing == Some(Closing::Orderly);
        let send = if is_last { stream::send_before_end } else { stream::send };
        let mut progress = false;
        let blocked = loop {
            match send(session.socket(), session.out.rest()) {
                Ok(Sent::Bytes(count)) => {
                    progress = true;
                    if let Some(meters) = &self.meters {
                        meters.add(Counter::SentBytes, count as u64);
                    }
                    session.out.advance(count);
                    if session.out.is_empty() {
                        break false;
                    }
                }
                Ok(Sent::Full) => break true,
                Err(cause) => return self.finish(key, Ending::Reset, Some(cause)),
            }
        };
        let (high, low) = session.water;
        if !session.flags.writing_paused && session.out.len() > high {
            session.flags.writing_paused = true;
            let protocol = session.protocol.as_ref().map(|protocol| protocol.clone_ref(py));
            self.effects.extend(protocol.map(Effect::PauseWriting));
        } else if session.flags.writing_paused && session.out.len() <= low {
            session.flags.writing_paused = false;
            let protocol = session.protocol.as_ref().map(|protocol| protocol.clone_ref(py));
            self.effects.extend(protocol.map(Effect::ResumeWriting));
        }
        let was_watched = session.flags.watched_for_writing;
        let (responded, protocol) = (session.flags.responded, &session.protocol);
        if blocked {
            if progress || !was_watched {
                self.set_deadline(key, self.now + self.settings.http.write_timeout);
            }
            self.watch(key, true);
        } else if was_watched {
            // It had been stuck: what was put off until the last byte is done now.
            if responded && let Some(protocol) = protocol {
                self.effects.push_back(Effect::Ask(key, protocol.clone_ref(py)));
            }
            self.set_deadline(key, Nanos::NEVER);
        }
        self.end_if_flushed(key);
    }

    /// A protocol closes its transport.
    pub(super) fn close(&mut self, py: Python<'_>, key: SessionKey, closing: Closing) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.closing.is_some() {
            return;
        }
        self.note_activity();
        let Some(session) = self.sessions.get_mut(key) else { return };
        match session.stage {
            Stage::Waiting(from) => self.claim_to_end(key, from),
            Stage::Lingering { .. } => {}
            Stage::Active | Stage::Answering | Stage::Pinned => {
                session.closing = Some(closing);
                if session.out.is_empty() {
                    self.end_if_flushed(key);
                } else {
                    self.flush(py, key);
                }
            }
        }
    }

    /// Upgraded: the connection's state is in this worker from now on.
    pub(super) fn pin(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let from = session.claim_state();
        if matches!(from, LoanState::Active | LoanState::Answering) {
            self.page.pin(session.loan, from);
            session.stage = Stage::Pinned;
            self.set_deadline(key, Nanos::NEVER);
        }
    }

    /// The protocol has answered its request; `standing` is where it is now.
    pub(super) fn handle_responded(&mut self, py: Python<'_>, key: SessionKey, standing: Standing) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.requests_served = session.requests_served.saturating_add(1);
        session.flags.responded = true;
        self.now = clock::now();
        self.meter_response(key);
        self.flush(py, key);
        self.handle_standing(key, standing);
        if self.gave {
            // What the handler has still to do may take any time: the master hears of it before.
            self.ring();
        }
    }

    /// A response is complete: it is counted and measured. What the socket has not taken of it, 64
    /// KiB at the most, is not waited for.
    fn meter_response(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let claimed_at = std::mem::replace(&mut session.claimed_at, self.now);
        let Some(status) = session.status.take() else { return };
        if session.stage == Stage::Pinned {
            return;
        }
        if let Some(meters) = &self.meters {
            meters.count_response(status);
            meters.measure(Histogram::Service, self.now.since(claimed_at));
        }
    }

    /// Where the protocol is with its request; false if that is too much of a head.
    pub(super) fn handle_standing(&mut self, key: SessionKey, standing: Standing) -> bool {
        let Some(session) = self.sessions.get_mut(key) else { return true };
        session.standing = standing;
        if session.closing.is_some() || !session.out.is_empty() {
            return true;
        }
        let most = head_size_max(&self.settings.http) as u64;
        if standing == Standing::Head && session.received > most {
            return false;
        }
        let responded = session.flags.responded;
        match (session.stage, standing) {
            (Stage::Answering, Standing::Rest) if responded => self.go_idle(key),
            (Stage::Answering, Standing::Head | Standing::Body | Standing::Handled)
                if responded =>
            {
                self.page.active_again(session.loan);
                session.stage = Stage::Active;
                session.flags.responded = false;
                session.flags.head_began = false;
                session.began_at = self.now;
                session.received = 0;
                self.expect(key, standing);
            }
            (Stage::Active, Standing::Rest) => {
                // Bytes of no request: an empty line, say.
                self.page.claim_was_empty(session.loan, &session.terms());
                session.stage = Stage::Waiting(LoanState::Idle);
                self.watch(key, false);
            }
            (Stage::Active | Stage::Answering, _) => self.expect(key, standing),
            (Stage::Waiting(_) | Stage::Pinned | Stage::Lingering { .. }, _) => {}
        }
        true
    }

    /// Gives an unclaimed connection back; if the master was quicker, it has it already.
    pub(super) fn give(&mut self, key: SessionKey, from: LoanState) {
        let Some(session) = self.sessions.get(key) else { return };
        self.gave = true;
        self.page.give(session.loan, from);
        self.finish(key, Ending::LetGo, None);
    }

    /// Ends an unclaimed connection, if it is this worker's to end: if the master has taken it,
    /// another worker serves it.
    pub(super) fn claim_to_end(&mut self, key: SessionKey, from: LoanState) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let won = self.page.claim(session.loan, from);
        if won {
            session.stage = Stage::Active;
        }
        self.take_off_unread(from);
        let ending = if won { Ending::Orderly } else { Ending::LetGo };
        if let Some(session) = self.sessions.get_mut(key)
            && !won
        {
            session.stage = Stage::Waiting(LoanState::Idle);
        }
        self.finish(key, ending, None);
    }

    /// The connection leaves this worker. The order matters: a close alone sends no FIN while the
    /// master holds its copy, and an epoll registration outlives a close.
    pub(super) fn finish(&mut self, key: SessionKey, ending: Ending, cause: Option<io::Error>) {
        let Some(mut session) = self.sessions.remove(key) else { return };
        self.intake.forget(session.loan, key);
        let from = session.claim_state();
        // A failure means that the client was quicker.
        let _ = match ending {
            Ending::Orderly => stream::shutdown_both(session.socket()),
            Ending::Reset => stream::reset(session.socket()),
            Ending::LetGo => Ok(()),
        };
        match ending {
            Ending::LetGo => {
                if let Stage::Waiting(from) = session.stage {
                    self.take_off_unread(from);
                }
            }
            Ending::Orderly | Ending::Reset => self.page.end(session.loan, from),
        }
        if session.flags.watched {
            let raw = session.socket.as_raw_fd();
            let _ = self.poll.registry().deregister(&mut SourceFd(&raw));
        }
        let (loan, protocol) = (session.loan, session.protocol.take());
        drop(session);
        self.page.let_go(loan);
        self.effects.extend(protocol.map(|protocol| match ending {
            Ending::LetGo => Effect::Moved(protocol),
            Ending::Orderly | Ending::Reset => Effect::Lost(protocol, cause),
        }));
        self.note_activity();
    }

    /// Registers a socket, once, for reading; for writing too once it took no more. It stays so: an
    /// edge more or less costs less than asking the kernel to forget it.
    pub(super) fn watch(&mut self, key: SessionKey, writing: bool) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let flags = &mut session.flags;
        let raw = session.socket.as_raw_fd();
        let mut source = SourceFd(&raw);
        let interest =
            if writing { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        let registry = self.poll.registry();
        let registered = if !flags.watched {
            registry.register(&mut source, key.token(), interest)
        } else if writing && !flags.watched_for_writing {
            registry.reregister(&mut source, key.token(), interest)
        } else {
            return;
        };
        flags.watched = true;
        flags.watched_for_writing |= writing;
        if let Err(cause) = registered {
            // No memory for a registration. Its deadline still ends it.
            warn!(%cause, "watching a connection");
        }
    }

    /// Nothing of a next request is here: anybody may have the connection.
    fn go_idle(&mut self, key: SessionKey) {
        self.set_deadline(key, self.now + self.settings.http.keep_alive);
        let Some(session) = self.sessions.get_mut(key) else { return };
        // The stage first: once the word says IDLE the master may take it.
        session.stage = Stage::Waiting(LoanState::Idle);
        session.flags.responded = false;
        self.page.idle(session.loan, &session.terms());
        if self.handing_over || self.settings.rebalance == Rebalance::Always {
            return self.give(key, LoanState::Idle);
        }
        if std::mem::take(&mut session.flags.unread) {
            // An edge came while nothing was read.
            self.queue_for_claiming(key);
        }
        self.watch(key, false);
    }

    fn deliver(&mut self, py: Python<'_>, key: SessionKey, count: usize) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.flags.header_due {
            return self.take_header(py, key, count);
        }
        let bytes = PyBytes::new(py, &self.scratch[..count]).unbind();
        session.received += count as u64;
        if (count == self.scratch.len() || session.flags.hung_up)
            && !std::mem::replace(&mut session.flags.queued, true)
        {
            // There may be more: behind what the handlers of this turn do with what is here.
            self.later.push(key);
        }
        self.effects.push_back(match &session.protocol {
            Some(protocol) => Effect::Data(key, protocol.clone_ref(py), bytes),
            None => Effect::Begin(key, bytes),
        });
    }

    /// The first bytes of a connection that begins with a PROXY header.
    fn take_header(&mut self, py: Python<'_>, key: SessionKey, count: usize) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let rules = self.settings.proxy_protocol.as_ref();
        let peer = session.peer;
        let taken = if rules.is_some_and(|rules| rules.from.has(peer)) {
            session.take_header(&self.scratch[..count]).map_err(HeaderRefusal::Invalid)
        } else {
            Err(HeaderRefusal::UntrustedPeer)
        };
        // As much as fits has been read, or the end stands behind it: it is looked at once more.
        let more = count == self.scratch.len() || session.flags.hung_up;
        if more && taken.is_ok() && !std::mem::replace(&mut session.flags.queued, true) {
            self.later.push(key);
        }
        match taken {
            Ok(None) => {}
            Ok(Some(rest)) if rest.is_empty() && more => {}
            Ok(Some(rest)) if rest.is_empty() => {
                // Nothing of a request: anybody may have what comes next.
                session.stage = Stage::Waiting(LoanState::Idle);
                self.page.claim_was_empty(session.loan, &session.terms());
                if self.handing_over || self.settings.rebalance == Rebalance::Always {
                    return self.give(key, LoanState::Idle);
                }
                self.watch(key, false);
            }
            Ok(Some(rest)) => {
                // No more than the last read has brought, which the buffer has held.
                let size = rest.len().min(self.scratch.len());
                self.scratch[..size].copy_from_slice(&rest[..size]);
                self.deliver(py, key, size);
            }
            Err(refusal) => {
                self.note_header_refused(peer, refusal);
                self.finish(key, Ending::Orderly, None);
            }
        }
    }

    /// How long what the client still owes may take.
    fn expect(&mut self, key: SessionKey, standing: Standing) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let http = &self.settings.http;
        let at = match standing {
            // All of a head in time, counted from its first byte (for the first request from
            // accept, which is the deadline it came with). A byte now and then buys no more.
            Standing::Head if session.flags.head_began || session.requests_served == 0 => return,
            Standing::Head => {
                session.flags.head_began = true;
                self.now + http.header_timeout
            }
            // The application does not read on: nothing is expected of the client.
            Standing::Body if session.flags.reading_paused => Nanos::NEVER,
            // Something in time, and not slower on the whole than the least rate.
            Standing::Body | Standing::Surplus => {
                let fair = std::time::Duration::from_secs(session.received / BODY_RATE_MIN);
                let next = self.now + http.body_timeout;
                next.min(session.began_at + http.body_timeout + fair)
            }
            Standing::Handled | Standing::Rest | Standing::Unknown => Nanos::NEVER,
        };
        self.set_deadline(key, at);
    }

    fn end_if_flushed(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if !session.out.is_empty() {
            return;
        }
        if session.closing.is_some() && session.status.is_some() {
            // Closed behind its last byte, before the protocol has said that it is the last.
            self.now = clock::now();
            self.meter_response(key);
        }
        let Some(session) = self.sessions.get_mut(key) else { return };
        match session.closing {
            None => {}
            Some(Closing::Lingering) if stream::shutdown_write(session.socket()).is_ok() => {
                if session.stage == Stage::Active {
                    self.page.answering(session.loan);
                }
                session.stage = Stage::Lingering { discarded: 0 };
                // The protocol has nothing to do with it any more.
                let protocol = session.protocol.take();
                self.effects.extend(protocol.map(|protocol| Effect::Lost(protocol, None)));
                self.set_deadline(key, self.now + LINGER_FOR);
                self.watch(key, false);
                self.discard(key, 0);
            }
            Some(Closing::Orderly | Closing::Lingering) => {
                self.finish(key, Ending::Orderly, None);
            }
        }
    }

    fn discard(&mut self, key: SessionKey, mut discarded: u64) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let is_over = loop {
            match stream::receive(session.socket(), &mut self.scratch) {
                Ok(Received::Bytes(count)) => discarded += count as u64,
                Ok(Received::Empty) => break false,
                Ok(Received::End) | Err(_) => break true,
            }
            if discarded > LINGER_BYTES_MAX {
                break true;
            }
        };
        session.stage = Stage::Lingering { discarded };
        if is_over {
            self.finish(key, Ending::Orderly, None);
        }
    }

    fn take_off_unread(&mut self, from: LoanState) {
        if from == LoanState::Lent {
            self.unread = self.unread.saturating_sub(1);
        }
    }
}
