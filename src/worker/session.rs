//! One connection at this worker: from the loan, or accept(2), to its end, as a small set of stages.
//!
//! ```text
//!            claim                    request complete              response written
//!  Waiting ─────────→ Reading ──────────────→ Handling ─→ Answering ────────┐
//!   ▲  (LENT, IDLE)   (ACTIVE)                (ACTIVE)    (ANSWERING)       │
//!   └──────────────────────── nothing more has been sent ←──────────────────┘
//!                                                         └→ Lingering → end
//! ```
//!
//! The claim word follows the stages: nothing is read outside a claim, and the word says ANSWERING
//! before the first byte of a response leaves, so that the master can tell what a death cost. One
//! that this worker has accepted itself has no such word; it takes the same way.
//!
//! Not here: bytes to requests (`reading`), responses to bytes (`answering`), the claim word itself
//! (`board`), who calls these methods (`worker`).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use mio::Interest;
use mio::unix::SourceFd;

use crate::app::{HeaderValue, Origin};
use crate::board::Terms;
use crate::config::{CONTEXT_SIZE, LINGER_BYTES_MAX, LINGER_FOR};
use crate::handoff::LendRecord;
use crate::http::Connection;
use crate::ident::LoanId;
use crate::loan::LoanState;
use crate::meters::Histogram;
use crate::sys::clock;
use crate::sys::stream::{self, Received};
use crate::time::Nanos;
use crate::worker::access::AccessNote;
use crate::worker::answering::Answering;
use crate::worker::deadlines::Deadline;
use crate::worker::reading::Arriving;
use crate::worker::sessions::SessionKey;
use crate::worker::shell::Shell;

/// A connection that this worker holds a copy of.
pub(crate) struct Session {
    pub(super) socket: OwnedFd,
    pub(super) tenure: Tenure,
    pub(super) stage: Stage,
    pub(super) http: Connection,
    pub(super) origin: Origin,
    pub(super) deadline: Deadline,
    pub(super) requests_served: u32,
    pub(super) context: Option<Box<[u8; CONTEXT_SIZE]>>,
    /// Bytes that were read and belong to a request that is not complete, or to the next one.
    pub(super) carry: Vec<u8>,
    /// The request that is arriving or being handled.
    pub(super) arriving: Option<Box<Arriving>>,
    /// The response that is leaving.
    pub(super) answering: Option<Box<Answering>>,
    pub(super) flags: Flags,
    /// Which figure of the node's load its client has heard.
    pub(super) load_heard: u32,
    /// What the logs will say of the request that is here; none where they say nothing.
    pub(super) note: Option<Box<AccessNote>>,
    /// When the first bytes of a request came whose head is not complete.
    pub(super) head_began_at: Option<Nanos>,
    /// The id of the request that is here, until its response has begun; none without
    /// `--request-id`.
    pub(super) request_id: Option<HeaderValue>,
    /// How long it waited for a worker, for its first request.
    pub(super) queue_time: Option<Duration>,
    /// When the request that is here was claimed.
    pub(super) claimed_at: Nanos,
    /// The status of its response, once that has begun.
    pub(super) status: u16,
    waiting: Waiting,
}

/// By which right a connection is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tenure {
    /// The master has lent it, and may take it back.
    Lent(LoanId),
    /// This worker has accepted it, and nobody else can have it.
    Own,
}

/// What is known of how long a connection has waited when it arrives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    /// Since when it could have been served.
    pub(crate) since: Nanos,
    /// That counts its time in the kernel's queue.
    pub(crate) kernel_has_said: bool,
    /// When the master handed it off.
    pub(crate) lent_at: Option<Nanos>,
}

/// What is known of a connection when it arrives.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) tenure: Tenure,
    pub(crate) waiting: Waiting,
    pub(crate) requests_served: u32,
    pub(crate) context: Option<Box<[u8; CONTEXT_SIZE]>>,
}

impl Arrival {
    /// A connection that was lent.
    pub(crate) fn lent(record: &LendRecord) -> Self {
        let has_context = record.context.iter().any(|byte| *byte != 0);
        Arrival {
            tenure: Tenure::Lent(record.loan),
            waiting: Waiting {
                since: record.waiting_since(),
                kernel_has_said: record.waited_before_accept_us != u32::MAX,
                lent_at: record.lent_at(),
            },
            requests_served: record.requests_served,
            context: has_context.then(|| Box::new(record.context)),
        }
    }
}

/// Where a session stands. Each stage goes with certain claim words (see the module's diagram).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not claimed: the word is LENT (never read from here) or IDLE, or the master has taken it back.
    Waiting(Unclaimed),
    /// Claimed; a request is arriving.
    Reading,
    /// Claimed; a handler has the request.
    Handling,
    /// A response is leaving.
    Answering,
    /// A response has left; whether anything of a next request is here is not known yet.
    Between,
    /// Answered; the client is given time to read it while what it still sends is thrown away.
    Lingering {
        /// Bytes thrown away so far.
        discarded: u64,
    },
}

/// What an unclaimed connection is claimed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unclaimed {
    /// It was never read from by this worker.
    Unread,
    /// It has had a request here, or has been found to say nothing.
    Idle,
}

impl Unclaimed {
    /// The state that the claim word is expected in.
    pub(crate) fn state(self) -> LoanState {
        match self {
            Unclaimed::Unread => LoanState::Lent,
            Unclaimed::Idle => LoanState::Idle,
        }
    }
}

/// Small facts about a session.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags {
    /// In epoll; an epoll registration outlives a close, so it is taken out first.
    pub(super) watched: bool,
    /// Also for writing.
    pub(super) watched_for_writing: bool,
    /// In the queue of sessions that wait to be claimed, or of those that can go on.
    pub(super) queued: bool,
    /// An edge came while nothing was to be read; it does not come again.
    pub(super) unread: bool,
    /// The first bytes of a later request's head are here, and its deadline is set.
    pub(super) head_began: bool,
    /// Bytes of a read are being taken in.
    pub(super) parsing: bool,
    /// The kernel has said that the client sends no more (RDHUP): a short read does not mean
    /// drained any more.
    pub(super) hung_up: bool,
    /// A PROXY header comes before anything else, and has not come yet.
    pub(super) header_due: bool,
}

/// What becomes of a session after it was given a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It stays.
    Stay,
    /// It is over.
    End(Ending),
    /// The master has it back: drop the copy, and nothing else.
    LetGo,
}

/// How a connection ends at this worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Everything was sent: FIN.
    Orderly,
    /// What was sent is incomplete, and the client shall see that: RST.
    Reset,
}

impl Session {
    /// A session for a connection that has arrived.
    pub(crate) fn new(arrival: Arrival, socket: OwnedFd, http: Connection, origin: Origin) -> Self {
        Session {
            socket,
            tenure: arrival.tenure,
            stage: Stage::Waiting(Unclaimed::Unread),
            http,
            origin,
            deadline: Deadline::default(),
            requests_served: arrival.requests_served,
            context: arrival.context,
            carry: Vec::new(),
            arriving: None,
            answering: None,
            flags: Flags::default(),
            load_heard: 0,
            note: None,
            head_began_at: None,
            request_id: None,
            queue_time: None,
            claimed_at: Nanos(0),
            status: 0,
            waiting: arrival.waiting,
        }
    }

    /// The socket has something to read, or its client is gone.
    pub(crate) fn handle_readable(
        &mut self,
        key: SessionKey,
        shell: &mut Shell,
        hung_up: bool,
    ) -> Verdict {
        self.flags.hung_up |= hung_up;
        match self.stage {
            Stage::Waiting(_) => {
                if !self.flags.queued {
                    self.flags.queued = true;
                    shell.unclaimed.push_back(key);
                }
                Verdict::Stay
            }
            Stage::Reading | Stage::Between => self.read(key, shell),
            Stage::Handling | Stage::Answering if self.takes_body() => self.read(key, shell),
            Stage::Handling | Stage::Answering => {
                self.flags.unread = true;
                Verdict::Stay
            }
            Stage::Lingering { discarded } => self.discard(discarded),
        }
    }

    /// The socket takes bytes again.
    pub(crate) fn handle_writable(&mut self, key: SessionKey, shell: &mut Shell) -> Verdict {
        match self.stage {
            Stage::Answering => self.go_on_answering(key, shell),
            Stage::Waiting(_)
            | Stage::Reading
            | Stage::Handling
            | Stage::Between
            | Stage::Lingering { .. } => Verdict::Stay,
        }
    }

    /// Its turn to be claimed has come.
    pub(crate) fn claim_and_read(&mut self, key: SessionKey, shell: &mut Shell) -> Verdict {
        let Stage::Waiting(from) = self.stage else { return Verdict::Stay };
        if !shell.claim(self.tenure, from) {
            // It is counted as claimed already, and not once more when it goes.
            self.stage = Stage::Waiting(Unclaimed::Idle);
            return Verdict::LetGo;
        }
        self.stage = Stage::Reading;
        self.flags.unread = false;
        self.flags.queued = false;
        self.claimed_at = shell.now;
        if from == Unclaimed::Unread {
            self.note_first_claim(shell);
        }
        match self.receive_some(key, shell) {
            Some(verdict) => verdict,
            None => {
                // Woken for nothing: another wait, on the same deadline.
                shell.claim_was_empty(self);
                self.stage = Stage::Waiting(Unclaimed::Idle);
                shell.watch(key, self);
                Verdict::Stay
            }
        }
    }

    /// Its deadline has come.
    pub(crate) fn handle_deadline(&mut self, key: SessionKey, shell: &mut Shell) -> Verdict {
        match self.stage {
            Stage::Waiting(_) if stream::bytes_readable(self.socket()).unwrap_or(0) > 0 => {
                // The client has spoken; it is this worker that is late.
                self.set_deadline(key, shell, shell.settings.http.header_timeout);
                Verdict::Stay
            }
            Stage::Waiting(_) => self.end_if_idle(shell),
            Stage::Reading => self.handle_too_slow(key, shell),
            // The handler reads a body that does not arrive: it learns so, and answers.
            Stage::Handling => self.fail_body(std::io::ErrorKind::TimedOut),
            Stage::Answering => Verdict::End(Ending::Reset),
            Stage::Between | Stage::Lingering { .. } => Verdict::End(Ending::Orderly),
        }
    }

    /// It waits to be claimed, on the deadline that it came with.
    pub(crate) fn begin(&mut self, key: SessionKey, shell: &mut Shell, idle_deadline: Nanos) {
        self.arrive(key, shell, idle_deadline);
        self.flags.queued = true;
        shell.unclaimed.push_back(key);
    }

    /// It is read at once.
    pub(crate) fn begin_and_read(
        &mut self,
        key: SessionKey,
        shell: &mut Shell,
        idle_deadline: Nanos,
    ) -> Verdict {
        self.arrive(key, shell, idle_deadline);
        self.claim_and_read(key, shell)
    }

    /// The deadlines' heap asks; it may be too early.
    pub(crate) fn handle_asked(
        &mut self,
        key: SessionKey,
        shell: &mut Shell,
        asked_at: Nanos,
    ) -> Verdict {
        let now = shell.now;
        if shell.deadlines.is_due(key, &mut self.deadline, asked_at, now) {
            self.handle_deadline(key, shell)
        } else {
            Verdict::Stay
        }
    }

    /// It was put behind the others, and its turn has come.
    pub(crate) fn go_on(&mut self, key: SessionKey, shell: &mut Shell) -> Verdict {
        self.flags.queued = false;
        match self.stage {
            Stage::Reading | Stage::Between => self.read(key, shell),
            Stage::Handling => self.go_on_reading(key, shell),
            Stage::Answering => self.go_on_answering(key, shell),
            // It has got so far since it was put there. An edge that came meanwhile has been taken
            // for one of what it was queued for, and does not come again.
            Stage::Waiting(_) | Stage::Lingering { .. } => self.handle_readable(key, shell, false),
        }
    }

    /// A pipe between this session and its handler has changed.
    pub(crate) fn handle_progress(&mut self, key: SessionKey, shell: &mut Shell) -> Verdict {
        match self.stage {
            Stage::Answering => match self.go_on_answering(key, shell) {
                // The handler may still be reading the request while it answers.
                Verdict::Stay if self.takes_body() => self.go_on_reading(key, shell),
                verdict => verdict,
            },
            Stage::Handling => self.go_on_reading(key, shell),
            Stage::Waiting(_) | Stage::Reading | Stage::Between | Stage::Lingering { .. } => {
                Verdict::Stay
            }
        }
    }

    /// Draining: what nobody has claimed goes back. What is this worker's own ends.
    pub(crate) fn give_back(&mut self, shell: &mut Shell) -> Verdict {
        match self.stage {
            Stage::Waiting(from) => match self.tenure {
                Tenure::Lent(loan) => {
                    // Whether the master was quicker or not: it has it back.
                    shell.give(loan, from);
                    self.stage = Stage::Waiting(Unclaimed::Idle);
                    Verdict::LetGo
                }
                Tenure::Own => self.end_if_idle(shell),
            },
            Stage::Reading
            | Stage::Handling
            | Stage::Answering
            | Stage::Between
            | Stage::Lingering { .. } => Verdict::Stay,
        }
    }

    /// Nothing more is expected of an idle connection. It may only be ended by who may read it: if
    /// the master has taken it, another worker serves it, and it is not ours to shut down.
    pub(crate) fn end_if_idle(&mut self, shell: &mut Shell) -> Verdict {
        let Stage::Waiting(from) = self.stage else { return Verdict::Stay };
        if from == Unclaimed::Unread && shell.finishing {
            // Accepted, and not read: it is still served.
            return Verdict::Stay;
        }
        if self.tenure == Tenure::Own && stream::bytes_readable(self.socket()).unwrap_or(0) > 0 {
            // A request is here, and nobody else can have it: its answer is the last.
            return Verdict::Stay;
        }
        self.claim_to_end(from, shell)
    }

    /// Time is up for a worker that leaves.
    pub(crate) fn cut_off(&mut self, shell: &mut Shell) -> Verdict {
        match self.stage {
            Stage::Waiting(from) if self.tenure == Tenure::Own => self.claim_to_end(from, shell),
            Stage::Waiting(_) => self.give_back(shell),
            Stage::Reading | Stage::Handling | Stage::Answering => Verdict::End(Ending::Reset),
            Stage::Between | Stage::Lingering { .. } => Verdict::End(Ending::Orderly),
        }
    }

    /// Marks it as queued; false if it was.
    pub(super) fn queue_once(&mut self) -> bool {
        !std::mem::replace(&mut self.flags.queued, true)
    }

    /// The first byte of a response is about to leave.
    pub(super) fn now_answering(&mut self, shell: &Shell) {
        shell.answering(self.tenure);
        self.stage = Stage::Answering;
    }

    /// The response is written, and the connection goes on: with what has arrived meanwhile, if
    /// something has.
    pub(super) fn between_requests(&mut self, key: SessionKey, shell: &mut Shell) -> Verdict {
        self.stage = Stage::Between;
        if self.flags.parsing {
            // Within a read: the bytes behind the request that was just answered are still in its
            // hands, and it goes on with them.
            return Verdict::Stay;
        }
        self.resume(key, shell)
    }

    /// Nothing of a next request is here: anybody may have the connection.
    pub(super) fn go_idle(&mut self, key: SessionKey, shell: &mut Shell) -> Verdict {
        self.set_deadline(key, shell, shell.settings.http.keep_alive);
        self.carry = Vec::new();
        // The stage first: once the word says IDLE the master may take it, and a recall must find
        // a session that waits.
        self.stage = Stage::Waiting(Unclaimed::Idle);
        shell.idle(self);
        self.rest(key, shell)
    }

    /// It was claimed, and nothing of a request came: its word says IDLE again, on the deadline
    /// that it has.
    pub(super) fn unclaim(&mut self, key: SessionKey, shell: &mut Shell) -> Verdict {
        self.stage = Stage::Waiting(Unclaimed::Idle);
        shell.claim_was_empty(self);
        self.rest(key, shell)
    }

    fn rest(&mut self, key: SessionKey, shell: &mut Shell) -> Verdict {
        if shell.gives_back_idle() {
            let verdict = self.give_back(shell);
            if verdict != Verdict::Stay {
                return verdict;
            }
        }
        shell.watch(key, self);
        Verdict::Stay
    }

    /// Everything is said; the client may still be sending.
    pub(super) fn linger(&mut self, key: SessionKey, shell: &mut Shell) -> Verdict {
        if stream::shutdown_write(self.socket()).is_err() {
            return Verdict::End(Ending::Orderly);
        }
        self.stage = Stage::Lingering { discarded: 0 };
        self.set_deadline(key, shell, LINGER_FOR);
        shell.watch(key, self);
        self.discard(0)
    }

    pub(super) fn set_deadline(&mut self, key: SessionKey, shell: &mut Shell, after: Duration) {
        let at = shell.now + after;
        shell.deadlines.set(key, &mut self.deadline, at);
    }

    /// Ends what this worker holds: the order matters (design: a close alone sends no FIN while the
    /// master holds its copy, and an epoll registration outlives a close).
    pub(crate) fn finish(mut self, verdict: Verdict, key: SessionKey, shell: &mut Shell) {
        if let Some(arriving) = self.arriving.take() {
            arriving.abandon();
        }
        if let Some(answering) = self.answering.take() {
            self.note_unsent(answering.unsent());
            answering.abandon(key, shell);
        }
        self.log_access(false, shell);
        match verdict {
            Verdict::Stay | Verdict::LetGo => {
                if let Stage::Waiting(from) = self.stage {
                    shell.forget_unclaimed(from);
                }
            }
            Verdict::End(ending) => {
                // A failure means that the client was quicker.
                let _ = match ending {
                    // Nobody else has a copy: its close is the end.
                    Ending::Orderly if self.tenure == Tenure::Own => Ok(()),
                    Ending::Orderly => stream::shutdown_both(self.socket.as_fd()),
                    Ending::Reset => stream::reset(self.socket.as_fd()),
                };
                shell.end(self.tenure, self.claim_state());
            }
        }
        if self.flags.watched {
            let raw = self.socket.as_raw_fd();
            let _ = shell.registry.deregister(&mut SourceFd(&raw));
        }
        drop(self.socket);
        shell.let_go(self.tenure);
    }

    /// Registers the socket, once, for reading; for writing too once a response was stuck. It stays
    /// so: an edge more or less costs less than asking the kernel to forget it.
    pub(super) fn register(
        &mut self,
        key: SessionKey,
        shell: &Shell,
        writing: bool,
    ) -> std::io::Result<()> {
        let raw = self.socket.as_raw_fd();
        let mut source = SourceFd(&raw);
        let interest =
            if writing { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        if !self.flags.watched {
            shell.registry.register(&mut source, key.token(), interest)?;
        } else if writing && !self.flags.watched_for_writing {
            shell.registry.reregister(&mut source, key.token(), interest)?;
        } else {
            return Ok(());
        }
        self.flags.watched = true;
        self.flags.watched_for_writing = writing;
        Ok(())
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// What the claim word of a claimed session says.
    fn claim_state(&self) -> LoanState {
        match self.stage {
            Stage::Waiting(Unclaimed::Unread) => LoanState::Lent,
            Stage::Waiting(Unclaimed::Idle) => LoanState::Idle,
            Stage::Reading | Stage::Handling => LoanState::Active,
            Stage::Answering | Stage::Between | Stage::Lingering { .. } => LoanState::Answering,
        }
    }

    pub(crate) fn tenure(&self) -> Tenure {
        self.tenure
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    /// What the next worker, or the next request here, must know.
    pub(crate) fn terms(&self) -> Terms {
        Terms {
            context: self.context.as_deref().copied().unwrap_or([0; CONTEXT_SIZE]),
            idle_deadline: self.deadline.at(),
            requests_served: self.requests_served,
        }
    }

    fn arrive(&mut self, key: SessionKey, shell: &mut Shell, idle_deadline: Nanos) {
        self.expect_header(shell);
        shell.deadlines.set(key, &mut self.deadline, idle_deadline);
        shell.unread += 1;
        shell.open += 1;
    }

    /// Claimed for the first time here: how long it had waited, for whoever wants to know.
    fn note_first_claim(&mut self, shell: &Shell) {
        let is_first = self.requests_served == 0;
        if is_first && shell.request_log.is_some() && self.waiting.kernel_has_said {
            self.queue_time = Some(shell.now.since(self.waiting.since));
        }
        let Some(meters) = &shell.meters else { return };
        // A turn's one reading of the clock may be older than what arrived in it.
        let now = clock::now();
        if is_first {
            meters.measure(Histogram::QueueWait, now.since(self.waiting.since));
        }
        if let Some(lent_at) = self.waiting.lent_at {
            meters.measure(Histogram::Handoff, now.since(lent_at));
        }
    }

    /// Ends an unclaimed connection, if it is this worker's to end.
    fn claim_to_end(&mut self, from: Unclaimed, shell: &mut Shell) -> Verdict {
        if shell.claim(self.tenure, from) {
            self.stage = Stage::Reading;
            Verdict::End(Ending::Orderly)
        } else {
            self.stage = Stage::Waiting(Unclaimed::Idle);
            Verdict::LetGo
        }
    }

    fn discard(&mut self, mut discarded: u64) -> Verdict {
        let mut scratch = [0; 4096];
        loop {
            match stream::receive(self.socket(), &mut scratch) {
                Ok(Received::Bytes(count)) => discarded += count as u64,
                Ok(Received::Empty) => break,
                Ok(Received::End) | Err(_) => return Verdict::End(Ending::Orderly),
            }
            if discarded > LINGER_BYTES_MAX {
                return Verdict::End(Ending::Orderly);
            }
        }
        self.stage = Stage::Lingering { discarded };
        Verdict::Stay
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    use mio::Poll;

    use super::*;
    use crate::app::{Body, Handler, Request, Response};
    use crate::board::{MasterPage, WorkerPage, page_bytes};
    use crate::config::{Forwarded, PeerList, Settings};
    use crate::ident::{ConnectionId, Incarnation, ListenerId, PeerAddress};
    use crate::sys::shm::SharedMemory;
    use crate::worker::alarm::AlarmClock;
    use crate::worker::shell::Shared;

    fn record(loan: LoanId) -> LendRecord {
        LendRecord {
            loan,
            listener: ListenerId(0),
            peer: PeerAddress::Local,
            accepted_at: Nanos(1),
            idle_deadline: Nanos::NEVER,
            requests_served: 0,
            waited_before_accept_us: u32::MAX,
            lent_after_us: 0,
            silent_us: 0,
            context: [0; CONTEXT_SIZE],
        }
    }

    /// A worker that calls this handler on its loop, and its master's side of the page.
    fn shell(settings: Settings, handler: impl Handler) -> (Shell, MasterPage<Arc<SharedMemory>>) {
        let memory = Arc::new(SharedMemory::create(page_bytes(8)).unwrap());
        let master = MasterPage::new(Arc::clone(&memory), 8).unwrap();
        let page = WorkerPage::attach(memory).unwrap();
        let (who, alarm) = (Incarnation::default(), AlarmClock::new(None));
        let shared = Shared { who, page, alarm, meters: None };
        let registry = Poll::new().unwrap().registry().try_clone().unwrap();
        let (settings, handler) = (Arc::new(settings), Arc::new(handler));
        (Shell::new(settings, shared, registry, handler, None, None), master)
    }

    fn session(loan: LoanId, socket: UnixStream, shell: &Shell) -> Session {
        let http = Connection::new(Arc::clone(&shell.limits));
        let origin = Origin::of_peer(PeerAddress::Local, ListenerId(0), shell.who);
        Session::new(Arrival::lent(&record(loan)), socket.into(), http, origin)
    }

    /// An answer of the server's own had no id: who searched the logs for it found nothing.
    #[test]
    fn a_failed_handler_is_answered_by_the_requests_id() {
        let cannot_be_sent = |_: Request| {
            let response = http::Response::builder().header("content-length", "many");
            response.body(Body::Full("x".into())).unwrap()
        };
        let handlers: [Arc<dyn Handler>; 2] =
            [Arc::new(|_: Request| -> Response { panic!("it fails") }), Arc::new(cannot_be_sent)];
        for (handler, has_ids) in
            handlers.into_iter().flat_map(|one| [(Arc::clone(&one), true), (one, false)])
        {
            let believed = PeerList::parse("*");
            let forwarded = Forwarded { believed, ..Forwarded::default() };
            let settings = Settings { request_id: has_ids, forwarded, ..Settings::default() };
            let (mut shell, mut master) =
                shell(settings, move |request: Request| handler.handle(request));
            let (socket, mut client) = UnixStream::pair().unwrap();
            let field = "X-Request-ID: abc-1\r\n";
            client
                .write_all(format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n").as_bytes())
                .unwrap();
            let loan = master.lend(ConnectionId(0), &Terms::new(Nanos::NEVER)).unwrap();
            let (key, mut session) = (SessionKey(0), session(loan, socket, &shell));
            let verdict = session.begin_and_read(key, &mut shell, Nanos::NEVER);
            assert_eq!(verdict, Verdict::End(Ending::Orderly));
            session.finish(verdict, key, &mut shell);
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
            assert_eq!(answer.contains("\r\nx-request-id: abc-1\r\n"), has_ids, "{answer}");
        }
    }

    /// A loan that was recalled before it was claimed was taken off twice from what is lent here,
    /// once at the claim and once when it left; so the worker rang for the master too early.
    #[test]
    fn a_claim_that_is_lost_counts_once() {
        let (mut shell, mut master) =
            shell(Settings::default(), |_: Request| Response::new(Body::Empty));
        let mut first = None;
        for number in 0..3 {
            let loan = master.lend(ConnectionId(number), &Terms::new(Nanos::NEVER)).unwrap();
            let mut session = session(loan, UnixStream::pair().unwrap().0, &shell);
            let key = SessionKey(u64::from(number));
            session.begin(key, &mut shell, Nanos::NEVER);
            first.get_or_insert((key, session, loan));
        }
        let (key, mut session, loan) = first.unwrap();
        master.recall(loan);
        assert_eq!(session.claim_and_read(key, &mut shell), Verdict::LetGo);
        session.finish(Verdict::LetGo, key, &mut shell);
        assert_eq!((shell.unread, shell.open), (2, 2));
    }
}
