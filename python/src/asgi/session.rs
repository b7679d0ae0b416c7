//! One connection in an ASGI worker, as far as it is not Python's.
//!
//! ```text
//!            claim            first byte of a response         nothing more is here
//!  Waiting ─────────→ Active ─────────────────────────→ Answering ────────────→ Waiting
//!  (LENT, IDLE)      (ACTIVE)                          (ANSWERING)
//!                       └── upgraded ──→ Pinned (PINNED) ←──┘
//! ```
//!
//! The claim word follows the stages, as in a worker of the server's own.
//!
//! Not here: what is done with it (`core`), what Python sees of it (`transport`).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use maitred::board::Terms;
use maitred::config::CONTEXT_SIZE;
use maitred::handoff::LendRecord;
use maitred::ident::{LoanId, PeerAddress};
use maitred::loan::LoanState;
use maitred::proxy_protocol::{self, Announced, Parsed, ProxyHeaderError};
use maitred::time::Nanos;
use maitred::worker::deadlines::Deadline;
use pyo3::prelude::*;

/// Bytes waiting to leave beyond which a protocol is told to pause, and down to which they must
/// have fallen before it is told to go on: what asyncio has.
pub(super) const HIGH_WATER: usize = 64 * 1024;

/// See [`HIGH_WATER`].
pub(super) const LOW_WATER: usize = HIGH_WATER / 4;

/// A connection of which this worker holds a copy.
pub(super) struct Session {
    pub(super) socket: OwnedFd,
    pub(super) loan: LoanId,
    pub(super) peer: PeerAddress,
    pub(super) stage: Stage,
    pub(super) deadline: Deadline,
    pub(super) requests_served: u32,
    context: Option<Box<[u8; CONTEXT_SIZE]>>,
    /// Its PROXY header, as far as it has come.
    header: Vec<u8>,
    /// Made with the first bytes: a connection that is taken back before costs Python nothing.
    pub(super) protocol: Option<Py<PyAny>>,
    pub(super) out: Outgoing,
    pub(super) flags: Flags,
    pub(super) standing: Standing,
    pub(super) closing: Option<Closing>,
    /// Bytes of the request that is here, and since when it is.
    pub(super) received: u64,
    pub(super) began_at: Nanos,
    pub(super) water: (usize, usize),
    /// How long it waited for a worker, for its first request.
    pub(super) queue_time: Option<Duration>,
    /// Since when the request that is here is, or the time that goes to the next one.
    pub(super) claimed_at: Nanos,
    /// The status of a response that has begun and is not complete.
    pub(super) status: Option<u16>,
    waiting_since: Nanos,
    kernel_has_said: bool,
    /// When the master handed it off.
    pub(super) lent_at: Option<Nanos>,
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Not claimed: the word says this, or the master has taken it back.
    Waiting(LoanState),
    /// Claimed: a request is arriving, or being handled.
    Active,
    /// A response is leaving, or has left and more of a request may be here.
    Answering,
    /// Upgraded: it never moves again.
    Pinned,
    /// Answered; what the client still sends is thrown away.
    Lingering {
        /// Bytes so far.
        discarded: u64,
    },
}

/// How far the protocol is with its request, in its own words (`maitred.asgi.protocols`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nobody has asked.
    #[default]
    Unknown,
    /// Nothing of a request is here, and the last one is answered.
    Rest,
    /// A head is arriving.
    Head,
    /// The body of a request that is being handled is arriving.
    Body,
    /// A request is whole, and being handled.
    Handled,
    /// The body of a request that is answered already is arriving.
    Surplus,
}

impl Standing {
    /// From the number by which Python says it.
    pub(super) fn of(number: u8) -> Standing {
        match number {
            0 => Standing::Rest,
            1 => Standing::Head,
            2 => Standing::Body,
            4 => Standing::Surplus,
            _ => Standing::Handled,
        }
    }
}

/// A protocol has closed its transport; what it has written before still leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    /// FIN behind the last byte.
    Orderly,
    /// The client may still be sending: it is given time to read the answer.
    Lingering,
}

/// Small facts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags {
    /// In epoll.
    pub(super) watched: bool,
    /// Also for writing.
    pub(super) watched_for_writing: bool,
    /// In one of the queues of sessions to be claimed or read.
    pub(super) queued: bool,
    /// In the list of those that have something to send.
    pub(super) dirty: bool,
    /// Claimed in this turn: whether it is to be watched is found out at its end.
    pub(super) fresh: bool,
    /// An edge came while nothing was to be read; it does not come again.
    pub(super) unread: bool,
    /// The protocol wants nothing.
    pub(super) reading_paused: bool,
    /// The protocol was told to pause.
    pub(super) writing_paused: bool,
    /// The kernel has said that the client sends no more: a short read does not mean drained.
    pub(super) hung_up: bool,
    /// The response is complete, as far as the protocol is concerned.
    pub(super) responded: bool,
    /// The first bytes of a later request's head are here, and its deadline is set.
    pub(super) head_began: bool,
    /// The end of input has been told.
    pub(super) ended: bool,
    /// A PROXY header comes before anything else, and has not come yet.
    pub(super) header_due: bool,
}

/// How a connection leaves this worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Everything was sent: FIN.
    Orderly,
    /// What was sent is incomplete, and the client shall see that: RST.
    Reset,
    /// The master has it: nothing but this copy is closed.
    LetGo,
}

impl Session {
    /// A connection that was lent.
    pub(super) fn lent(record: &LendRecord, socket: OwnedFd) -> Self {
        let has_context = record.context.iter().any(|byte| *byte != 0);
        Session {
            socket,
            loan: record.loan,
            peer: record.peer,
            stage: Stage::Waiting(LoanState::Lent),
            deadline: Deadline::default(),
            requests_served: record.requests_served,
            context: has_context.then(|| Box::new(record.context)),
            header: Vec::new(),
            protocol: None,
            out: Outgoing::default(),
            flags: Flags::default(),
            standing: Standing::default(),
            closing: None,
            received: 0,
            began_at: Nanos(0),
            water: (HIGH_WATER, LOW_WATER),
            queue_time: None,
            claimed_at: Nanos(0),
            status: None,
            waiting_since: record.waiting_since(),
            kernel_has_said: record.waited_before_accept_us != u32::MAX,
            lent_at: record.lent_at(),
        }
    }

    /// It has arrived where connections begin with a PROXY header: one is to come, or another
    /// worker has left word of what it said.
    pub(super) fn expect_header(&mut self) {
        match self.context.as_deref().and_then(Announced::of_context) {
            Some(announced) => self.peer = announced.client_of(self.peer),
            None => self.flags.header_due = self.requests_served == 0,
        }
    }

    /// More of its header; what stands behind it, once it is whole.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn take_header(
        &mut self,
        bytes: &[u8],
    ) -> Result<Option<Vec<u8>>, ProxyHeaderError> {
        self.header.extend_from_slice(bytes);
        match proxy_protocol::parse(&self.header)? {
            Parsed::Partial => Ok(None),
            Parsed::Header { size, announced } => {
                self.flags.header_due = false;
                self.context = Some(Box::new(announced.context()));
                self.peer = announced.client_of(self.peer);
                let mut header = std::mem::take(&mut self.header);
                Ok(Some(header.split_off(size)))
            }
        }
    }

    /// Its first claim here; how long it had waited, where that is known.
    pub(super) fn note_claim(&mut self, from: LoanState, now: Nanos) {
        if from == LoanState::Lent && self.requests_served == 0 && self.kernel_has_said {
            self.queue_time = Some(now.since(self.waiting_since));
        }
    }

    /// How long it had waited for its first claim, if this is it.
    pub(super) fn waited(&self, now: Nanos) -> Option<Duration> {
        (self.requests_served == 0).then(|| now.since(self.waiting_since))
    }

    /// A protocol writes: where a response begins, its status. A head comes in one piece, whichever
    /// of Uvicorn's classes makes it.
    pub(super) fn note_written(&mut self, bytes: &[u8]) -> Option<u16> {
        if self.status.is_some() || !bytes.starts_with(b"HTTP/1.") {
            return None;
        }
        let digits = std::str::from_utf8(bytes.get(9..12)?).ok()?;
        let status = digits.parse().ok()?;
        if status >= 200 {
            self.status = Some(status);
        }
        Some(status)
    }

    /// What the next worker, or the next request here, must know.
    pub(super) fn terms(&self) -> Terms {
        Terms {
            context: self.context.as_deref().copied().unwrap_or([0; CONTEXT_SIZE]),
            idle_deadline: self.deadline.at(),
            requests_served: self.requests_served,
        }
    }

    /// What the claim word says, as far as this side knows.
    pub(super) fn claim_state(&self) -> LoanState {
        match self.stage {
            Stage::Waiting(state) => state,
            Stage::Active => LoanState::Active,
            Stage::Answering | Stage::Lingering { .. } => LoanState::Answering,
            Stage::Pinned => LoanState::Pinned,
        }
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Bytes that are on their way out. One buffer, since Uvicorn writes a head and a small body one
/// after the other, and both leave in one call.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outgoing {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// So many more have left.
    pub(super) fn advance(&mut self, count: usize) {
        self.sent += count;
        if self.is_empty() {
            self.clear();
        } else if self.sent >= HIGH_WATER && self.sent >= self.bytes.len() / 2 {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// An idle connection holds no large buffer.
    pub(super) fn clear(&mut self) {
        self.sent = 0;
        self.bytes.clear();
        self.bytes.shrink_to(4096);
    }
}
