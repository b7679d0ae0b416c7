//! A worker: one loop that serves the connections it was lent, or accepts itself (`--accept`).
//!
//! Everything happens in turns. A turn takes what the kernel reported (events), what the master
//! sent (intake), what handler threads finished (outcomes), and then gives each session that can go
//! on its turn: those in the middle of something first, then, one at a time, those that have yet to
//! be claimed. Claiming one at a time is what leaves the rest where the master can take them back.
//!
//! Not here: HTTP (`http`), the claim word (`board`), the decision who serves what (`dispatch`).

mod accepting;
mod access;
pub mod alarm;
pub mod alone;
mod answering;
mod baton;
pub mod deadlines;
mod intake;
mod introducing;
mod load_field;
mod outgoing;
mod own;
mod pipe;
mod pool;
mod reading;
pub mod request_ids;
mod session;
pub mod sessions;
mod shell;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token, Waker};
use signal_hook::consts::signal::{
    SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2,
};
use signal_hook_mio::v1_0::Signals;
use thiserror::Error;
use tracing::{debug, info, warn};

use crate::app::Handler;
use crate::board::{PageError, WorkerPage, page_bytes};
use crate::config::{DEBTS_PAUSE, EVENTS_PER_TURN_MAX, LOANS_MAX, Settings, TURNS_PER_WAIT_MAX};
use crate::handoff::{DrainMode, PROTOCOL_VERSION, ReadyRecord, ToMaster, WorkerEnd};
use crate::ident::Slot;
use crate::meters::{METERS_BYTES, SlotMeters};
use crate::observe::lossy;
use crate::observe::requests::RequestLog;
use crate::sys::bell::Bell;
use crate::sys::inherit::Inheritance;
use crate::sys::shm::SharedMemory;
use crate::sys::{clock, epoll};
use crate::time::Nanos;
use crate::worker::accepting::Accepting;
use crate::worker::alarm::AlarmClock;
use crate::worker::intake::{Intake, Told};
use crate::worker::pool::{HandlerThread, Outcome, Pool, Wake};
use crate::worker::session::{Session, Tenure, Unclaimed, Verdict};
use crate::worker::sessions::{SessionKey, Sessions, TOKENS_RESERVED};
use crate::worker::shell::{Shared, Shell};

const CHANNEL: Token = Token(0);
const WAKE: Token = Token(1);
const SIGNALS: Token = Token(2);

/// Turns in each `--stall-after` from which on the next is expected before an alarm rings.
const TURNS_PER_STALL_MIN: u32 = 4;

/// Why a worker cannot begin, or go on.
#[derive(Debug, Error)]
pub enum WorkerError {
    /// The system refused something at start.
    #[error("starting a worker: {0}")]
    Start(#[source] io::Error),
    /// The page that was inherited is not one of ours.
    #[error("attaching to the page: {0}")]
    Page(#[from] PageError),
    /// No page was inherited.
    #[error("no page was inherited: a worker of maitred's own needs one")]
    NoPage,
    /// The access log cannot be opened.
    #[error("opening the access log: {0}")]
    AccessLog(#[source] io::Error),
    /// Waiting for events failed.
    #[error("waiting for events: {0}")]
    Poll(#[source] io::Error),
}

/// Serves until the master says drain, or is gone.
///
/// # Errors
/// The worker could not begin; once it serves, it only ends in order.
pub fn run(
    settings: Arc<Settings>,
    handler: Arc<dyn Handler>,
    inheritance: Inheritance,
) -> Result<(), WorkerError> {
    let mut worker = Worker::new(settings, handler, inheritance)?;
    worker.accepting.watch(&worker.shell.registry, true);
    match worker.first_thread.take() {
        Some(first_thread) => baton::run(worker, &first_thread),
        None => worker.run(),
    }
}

struct Worker {
    poll: Poll,
    signals: Signals,
    intake: Intake,
    accepting: Accepting,
    sessions: Sessions<Session>,
    shell: Shell,
    /// None for a worker that inherited none: it says so in a frame.
    bell: Option<Bell>,
    /// Set once this worker is to leave: by then at the latest.
    leave_by: Option<Nanos>,
    /// The handler's thread, where it is the one that begins the worker.
    first_thread: Option<HandlerThread>,
    /// Turns since the last wait.
    turns_on: u32,
    turn_began: Nanos,
    /// The last turn followed the one before it closely.
    comes_soon: bool,
}

impl Worker {
    fn new(
        settings: Arc<Settings>,
        handler: Arc<dyn Handler>,
        inheritance: Inheritance,
    ) -> Result<Self, WorkerError> {
        let page = inheritance.page.ok_or(WorkerError::NoPage)?;
        let memory =
            SharedMemory::adopt(page, page_bytes(LOANS_MAX)).map_err(WorkerError::Start)?;
        let page = WorkerPage::attach(Arc::new(memory))?;
        let poll = Poll::new().map_err(WorkerError::Start)?;
        let registry = poll.registry().try_clone().map_err(WorkerError::Start)?;
        let signals = watch_signals(&poll).map_err(WorkerError::Start)?;
        let wake = Wake::new(Waker::new(poll.registry(), WAKE).map_err(WorkerError::Start)?);
        let accepting = Accepting::new(settings.accept, inheritance.listeners);
        let (buffer, doing) = (settings.http.buffer_response, page.doing());
        let (pool, first_thread) = match settings.threads {
            0 => (None, None),
            1 if handler.shares_its_thread() && !accepting.blocks() => {
                let (pool, thread) = Pool::with_one(&handler, wake, buffer, doing);
                (Some(pool), Some(thread))
            }
            threads => {
                let pool = Pool::start(threads, &handler, wake, buffer, doing);
                (Some(pool.map_err(WorkerError::Start)?), None)
            }
        };
        let channel = WorkerEnd::new(inheritance.channel);
        epoll::watch_level(poll.registry(), channel.as_fd(), CHANNEL)
            .map_err(WorkerError::Start)?;
        // Before it says that it is ready: one whose log cannot be opened is not.
        let request_log = RequestLog::open(&settings).map_err(WorkerError::AccessLog)?;
        let mut intake = Intake::new(channel);
        intake.send(ToMaster::Ready(ReadyRecord {
            version: PROTOCOL_VERSION,
            threads: settings.threads,
            credit: settings.credit.unwrap_or(0),
            has_page: true,
            pid: std::process::id(),
        }));
        let alarm = AlarmClock::new(inheritance.alarm);
        let who = inheritance.incarnation;
        let meters = inheritance.meters.and_then(|meters| attach_meters(meters, who.slot));
        let shared = Shared { who, page, alarm, meters };
        let shell = Shell::new(settings, shared, registry, handler, pool, request_log);
        let (sessions, bell) = (Sessions::new(), inheritance.bell);
        Ok(Worker {
            poll,
            signals,
            intake,
            accepting,
            sessions,
            shell,
            bell,
            leave_by: None,
            first_thread,
            turns_on: 0,
            turn_began: Nanos(0),
            comes_soon: false,
        })
    }

    fn run(mut self) -> Result<(), WorkerError> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN_MAX);
        while !self.is_done() {
            self.round(&mut events)?;
        }
        self.leave();
        Ok(())
    }

    /// One wait and one turn.
    fn round(&mut self, events: &mut Events) -> Result<(), WorkerError> {
        if self.may_block() {
            return self.block_for_one(events);
        }
        self.shell.leave_turn();
        // Behind leaving: a master that is told of room must not find a turn that lasts for long.
        self.ring();
        let timeout = self.rest();
        if timeout != Some(Duration::ZERO) && self.shell.alarm_is_idle() && !self.comes_soon {
            // A busy worker finds the next events at once, and leaves its alarm alone.
            self.wait(events, Some(Duration::ZERO))?;
            if events.is_empty() {
                self.shell.unwind_alarm();
                self.wait(events, timeout)?;
            }
        } else {
            self.wait(events, timeout)?;
        }
        self.begin_turn();
        self.turn(events);
        Ok(())
    }

    fn begin_turn(&mut self) {
        let turn_before = self.turn_began;
        self.shell.enter_turn();
        self.turn_began = self.shell.now;
        // Turns that follow each other so closely put the alarm off in time; once in a while it
        // rings for nothing, which costs less than unwinding and winding it for each of them.
        let stall_after = self.shell.settings.stall_after;
        self.comes_soon = self.turn_began.since(turn_before) < stall_after / TURNS_PER_STALL_MIN;
    }

    fn leave(&mut self) {
        self.intake.send(ToMaster::Bye);
        debug!("leaving");
        if let Some(log) = &self.shell.request_log {
            log.finish();
        }
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> Result<(), WorkerError> {
        match self.poll.poll(events, timeout) {
            Ok(()) => Ok(()),
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(cause) => Err(WorkerError::Poll(cause)),
        }
    }

    /// One turn of the loop.
    fn turn(&mut self, events: &Events) {
        if let Some(pool) = &self.shell.pool {
            pool.woke();
        }
        let mut told = false;
        for event in events {
            match event.token() {
                CHANNEL => told = true,
                WAKE => {}
                SIGNALS => self.handle_signals(),
                token if token.0 < TOKENS_RESERVED => self.accepting.handle_ready(token),
                token => self.handle_event(token, event),
            }
        }
        self.intake.pay_debts();
        if told {
            self.hear_master();
        }
        self.hear_threads();
        self.go_on();
        self.claim_what_may_be();
        // What ends by the clock leaves its place to somebody who waits in the kernel.
        self.hear_clock();
        self.accept_own();
        self.shell.publish_load();
        if self.shell.pool.is_some() {
            self.ring();
        }
        if cfg!(debug_assertions) {
            self.check_invariants();
        }
    }

    /// `unread` and `open` are what they count.
    fn check_invariants(&self) {
        let stages = self.sessions.keys().into_iter().filter_map(|key| self.sessions.get(key));
        let is_unread = |one: &&Session| one.stage() == session::Stage::Waiting(Unclaimed::Unread);
        assert_eq!(stages.filter(is_unread).count(), self.shell.unread as usize, "what is unread");
        assert_eq!(self.sessions.len(), self.shell.open as usize, "what is here");
    }

    /// How long the loop may wait, now that everything has had its turn.
    fn rest(&mut self) -> Option<Duration> {
        let can_go_on = !self.shell.runnable.is_empty()
            || (!self.shell.unclaimed.is_empty() && self.shell.may_claim());
        if can_go_on || self.shell.pool.as_ref().is_some_and(Pool::about_to_sleep) {
            return Some(Duration::ZERO);
        }
        // A master that reads is no event: what it has yet to be told is tried again.
        let owes = self.intake.owes().then(|| clock::now() + DEBTS_PAUSE);
        let accepting = self.accepting.next_deadline(self.shell.now);
        let next = [self.shell.deadlines.next(), self.leave_by, owes, accepting];
        let next = next.into_iter().flatten().min();
        next.map(|at| clock::now().until(at))
    }

    fn handle_event(&mut self, token: Token, event: &mio::event::Event) {
        let Some(key) = SessionKey::of(token) else { return };
        if event.is_writable() {
            self.with(key, |session, shell| session.handle_writable(key, shell));
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            let hung_up = event.is_read_closed() || event.is_error();
            self.with(key, |session, shell| session.handle_readable(key, shell, hung_up));
        }
    }

    fn hear_master(&mut self) {
        match self.intake.receive(&mut self.sessions, &mut self.shell) {
            Told::Nothing => {}
            Told::Reopen => lossy::reopen_all(),
            Told::Drain(mode, graceful) => {
                self.drain(mode, graceful);
            }
            Told::MasterGone => {
                // Its end would be reported for ever.
                epoll::unwatch(self.poll.registry(), self.intake.channel());
                info!("the master has gone: finishing what is being answered");
                let graceful = self.shell.settings.lifecycle.graceful_timeout;
                self.leave_by.get_or_insert(self.shell.now + graceful);
                self.shell.finishing = true;
                self.accepting.leave(&self.shell.registry, true, self.shell.now);
                if self.accepting.blocks() {
                    // Nothing listens without a master, and taking one after the other takes time.
                    self.accepting.close(&self.shell.registry);
                }
                self.end_idle();
            }
        }
    }

    fn drain(&mut self, mode: DrainMode, graceful: Duration) {
        match mode {
            DrainMode::Finish => self.shell.finishing = true,
            DrainMode::HandOver => {
                self.leave_by.get_or_insert(self.shell.now + graceful);
                self.shell.handing_over = true;
                if self.accepting.is_own() {
                    return self.leave_own();
                }
                for key in self.sessions.keys() {
                    self.with(key, session::Session::give_back);
                }
            }
        }
    }

    /// Nobody is left to give idle connections to.
    fn end_idle(&mut self) {
        for key in self.sessions.keys() {
            self.with(key, session::Session::end_if_idle);
        }
    }

    fn hear_threads(&mut self) {
        loop {
            let now = self.shell.now;
            let Some(outcome) = self.shell.pool.as_mut().and_then(|pool| pool.poll_outcome(now))
            else {
                return;
            };
            match outcome {
                Outcome::Answer(key, answer, service) => {
                    if let Some(service) = service {
                        self.shell.add_service(service);
                    }
                    self.with(key, |session, shell| session.answer(answer, key, shell));
                }
                Outcome::Progress(key) => {
                    self.with(key, |session, shell| session.handle_progress(key, shell));
                }
                Outcome::Free(key, service, pipe, rest) => {
                    self.shell.add_service(service);
                    match (self.sessions.get(key).is_some(), rest) {
                        (true, rest) => self.with(key, |session, shell| {
                            session.handle_stream_left(&pipe, rest, key, shell)
                        }),
                        // Its client has gone: it is dropped where it was made.
                        (false, Some(rest)) => self.shell.stream_on(key, rest, pipe),
                        (false, None) => {}
                    }
                }
            }
        }
    }

    /// Sessions in the middle of something, each once.
    fn go_on(&mut self) {
        for _ in 0..self.shell.runnable.len() {
            let Some(key) = self.shell.runnable.pop_front() else { return };
            self.with(key, |session, shell| session.go_on(key, shell));
        }
    }

    /// Sessions that wait to be claimed, each once, while there is somebody to serve them.
    fn claim_what_may_be(&mut self) {
        for _ in 0..self.shell.unclaimed.len() {
            if !self.shell.may_claim() {
                return;
            }
            let Some(key) = self.shell.unclaimed.pop_front() else { return };
            self.with(key, |session, shell| session.claim_and_read(key, shell));
        }
    }

    fn hear_clock(&mut self) {
        let now = self.shell.now;
        while let Some((key, asked_at)) = self.shell.deadlines.pop(now) {
            self.with(key, |session, shell| session.handle_asked(key, shell, asked_at));
        }
        if self.leave_by.is_some_and(|at| at <= now) {
            info!(connections = self.sessions.len(), "leaving with connections unfinished");
            self.accepting.close(&self.shell.registry);
            for key in self.sessions.keys() {
                self.with(key, session::Session::cut_off);
            }
        }
    }

    fn ring(&mut self) {
        // What was given back is nobody's until the master has looked into the ring.
        let gave = std::mem::take(&mut self.shell.gave);
        if !self.shell.bell_due(gave) {
            return;
        }
        match &self.bell {
            Some(bell) => {
                if let Err(cause) = bell.ring() {
                    warn!(%cause, "ringing the bell");
                    self.bell = None;
                }
            }
            None if !self.intake.owes_bell() => self.intake.send(ToMaster::Bell),
            None => {}
        }
    }

    fn handle_signals(&mut self) {
        for signal in self.signals.pending() {
            // The others are the master's to answer: a terminal and a service manager send them to
            // every process of the group.
            if signal == SIGTERM && !self.shell.finishing {
                // The master decides what becomes of this worker's connections, and says Drain.
                self.intake.send(ToMaster::Bye);
            }
        }
    }

    /// As [`Worker::round`], for a handler that shares the loop's thread: answers that wait to be
    /// sent need no look at the kernel's events.
    fn round_between_calls(&mut self, events: &mut Events) -> Result<(), WorkerError> {
        let has_outcomes = self.shell.pool.as_ref().is_some_and(Pool::has_outcomes);
        if !has_outcomes || self.turns_on >= TURNS_PER_WAIT_MAX {
            self.turns_on = 0;
            return self.round(events);
        }
        self.turns_on += 1;
        events.clear();
        self.begin_turn();
        self.turn(events);
        Ok(())
    }

    /// The thread that runs the loop is about to leave it for a call.
    fn rest_for_call(&mut self) {
        self.shell.leave_turn();
        self.ring();
    }

    /// Another thread than the handler's runs the loop from here on.
    fn begin_standing_in(&mut self) {
        if let Some(pool) = &mut self.shell.pool {
            pool.forget_quick_calls();
        }
    }

    /// Whether the handler's thread may have the loop back: then, whether it is in a call.
    fn may_go_back(&self) -> Option<bool> {
        let pool = self.shell.pool.as_ref()?;
        pool.needs_no_stand_in().then(|| pool.busy() > 0)
    }

    fn order_to_take_up(&self) {
        if let Some(pool) = &self.shell.pool {
            pool.order_to_take_up();
        }
    }

    /// Gives one session a turn, and carries out what it says.
    fn with(&mut self, key: SessionKey, turn: impl FnOnce(&mut Session, &mut Shell) -> Verdict) {
        if self.shell.gave && self.shell.pool.is_none() {
            // This turn may call a handler, and take any time: the master hears of it before.
            self.ring();
        }
        let Some(session) = self.sessions.get_mut(key) else { return };
        match turn(session, &mut self.shell) {
            Verdict::Stay => {}
            verdict @ (Verdict::End(_) | Verdict::LetGo) => {
                if let Some(session) = self.sessions.remove(key) {
                    if let Tenure::Lent(loan) = session.tenure() {
                        self.intake.forget(loan, key);
                    }
                    session.finish(verdict, key, &mut self.shell);
                }
            }
        }
    }

    fn is_done(&self) -> bool {
        let Some(leave_by) = self.leave_by else { return false };
        // A handler may have things to do behind its response's last byte.
        let threads_are_free = self.shell.pool.as_ref().is_none_or(Pool::is_idle);
        self.sessions.is_empty()
            && self.accepting.is_over()
            && (threads_are_free || self.shell.now >= leave_by)
    }
}

/// The meters of a slot. What is said of a server is not worth a worker: without them it serves too.
pub fn attach_meters(memory: OwnedFd, slot: Slot) -> Option<SlotMeters<Arc<SharedMemory>>> {
    let memory = match SharedMemory::adopt(memory, METERS_BYTES) {
        Ok(memory) => Arc::new(memory),
        Err(cause) => {
            warn!(%cause, "mapping the meters");
            return None;
        }
    };
    SlotMeters::attach(memory, slot)
        .inspect_err(|cause| warn!(%cause, "attaching to the meters"))
        .ok()
}

/// INT and the master's own signals are caught and left to the master; TERM asks it for leave.
fn watch_signals(poll: &Poll) -> io::Result<Signals> {
    let all = [SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2];
    let mut signals = Signals::new(all)?;
    poll.registry().register(&mut signals, SIGNALS, Interest::READABLE)?;
    Ok(signals)
}
