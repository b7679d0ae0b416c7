//! The worker without Python: connections, claims, queues, and what is to be said to protocols.
//!
//! One lock holds all of it, and nothing in here calls into Python, whose code would call back: what
//! a protocol must be told is queued as an [`Effect`], for whoever holds the core to carry out
//! without it. References to Python objects leave in the same way, since dropping the last one runs
//! Python code too.
//!
//! The loop of Python watches one descriptor, this core's epoll instance. So one turn of that loop
//! claims as many requests as [`Pace`] allows, one after the other, and reads nothing else of what is
//! unclaimed; a connection costs the loop nothing, and it is the same with every loop.
//!
//! Not here: the bytes of one connection (`stream`), the channel (`intake`), calls (`worker`).

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use maitred::board::{DoingTable, WorkerPage, page_bytes};
use maitred::config::{
    EVENTS_PER_TURN_MAX, LOANS_MAX, LOG_REPEAT_AFTER, READ_BUFFER_SIZE, Settings,
};
use maitred::fleet::orca::{self, LoadMetrics};
use maitred::handoff::{DrainMode, ToMaster};
use maitred::ident::{Incarnation, PeerAddress};
use maitred::loan::LoanState;
use maitred::meters::{Counter, SlotMeters};
use maitred::observe::requests::RequestLog;
use maitred::proxy_protocol::HeaderRefusal;
use maitred::sys::alarm::Alarm;
use maitred::sys::bell::Bell;
use maitred::sys::inherit::Inheritance;
use maitred::sys::shm::SharedMemory;
use maitred::sys::{clock, epoll, stream, usage};
use maitred::time::Nanos;
use maitred::worker::alarm::AlarmClock;
use maitred::worker::deadlines::Deadlines;
use maitred::worker::request_ids::RequestIds;
use maitred::worker::sessions::{SessionKey, Sessions};
use maitred::worker::{WorkerError, attach_meters};
use mio::{Events, Poll, Token};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tracing::warn;

use crate::asgi::intake::Intake;
use crate::asgi::pace::{Moment, Pace};
use crate::asgi::session::{Ending, Session, Stage, Standing};
use crate::asgi::usual::Usual;

pub(super) const CHANNEL: Token = Token(0);
const TIMER: Token = Token(1);

/// Turns of the loop in a row that have nothing to do before the worker counts as waiting. What a
/// request's handler has started (a middleware's task group, say) runs in the turns behind its own,
/// and none of the loops says when it is about to sleep.
const SETTLING_TURNS: u32 = 3;

/// Times that a loop wakes up in each `--stall-after` from which on the next is expected before its
/// alarm rings.
const WAKES_PER_STALL_MIN: u32 = 4;

/// What is to be done by whoever holds the core, once it has let go of it.
pub(super) enum Effect {
    /// The first bytes of a connection: it gets a protocol.
    Begin(SessionKey, Py<PyBytes>),
    /// Bytes for a protocol.
    Data(SessionKey, Py<PyAny>, Py<PyBytes>),
    /// The client sends no more.
    EndOfInput(SessionKey, Py<PyAny>),
    /// Too much is waiting to leave.
    PauseWriting(Py<PyAny>),
    /// There is room again.
    ResumeWriting(Py<PyAny>),
    /// Another worker has the connection now; nothing of a request was here.
    Moved(Py<PyAny>),
    /// The connection is gone from here, for this reason.
    Lost(Py<PyAny>, Option<io::Error>),
    /// How far is its request?
    Ask(SessionKey, Py<PyAny>),
    /// The client took too long.
    TooSlow(SessionKey, Py<PyAny>),
    /// A second has passed: the Date field.
    Refresh,
    /// The master said so.
    Drain(DrainMode, Duration),
    /// The master has gone.
    MasterGone,
}

/// See the module.
pub(super) struct Core {
    pub(super) settings: Arc<Settings>,
    pub(super) who: Incarnation,
    pub(super) page: WorkerPage<Arc<SharedMemory>>,
    pub(super) doing: DoingTable<Arc<SharedMemory>>,
    pub(super) poll: Poll,
    pub(super) intake: Intake,
    pub(super) sessions: Sessions<Session>,
    pub(super) deadlines: Deadlines,
    pub(super) effects: VecDeque<Effect>,
    pub(super) request_log: Option<RequestLog>,
    /// What is added up for this worker's slot; none where nobody reads it.
    pub(super) meters: Option<SlotMeters<Arc<SharedMemory>>>,
    /// When this turn began, or what is being done.
    pub(super) now: Nanos,
    pub(super) pace: Pace,
    usual: Usual,
    pub(super) scratch: Vec<u8>,
    /// To be claimed, in order.
    pub(super) unclaimed: VecDeque<SessionKey>,
    /// Claimed, and readable.
    pub(super) readable: VecDeque<SessionKey>,
    /// To be read once more, in the next turn.
    pub(super) later: Vec<SessionKey>,
    /// Claimed since the last turn was over.
    pub(super) fresh: Vec<SessionKey>,
    /// With bytes to send.
    pub(super) dirty: Vec<SessionKey>,
    /// Loans were given back, and the master does not know yet.
    pub(super) gave: bool,
    /// Connections that are here and were never read from by this worker.
    pub(super) unread: u32,
    /// Idle connections go back to the master.
    pub(super) handing_over: bool,
    /// Makes ids of requests; none without `--request-id`.
    pub(super) request_ids: Option<RequestIds>,
    header_refusal_logged_at: Option<Nanos>,
    alarm: AlarmClock,
    bell: Option<Bell>,
    events: Option<Events>,
    timer: Alarm,
    timer_at: Nanos,
    refresh_at: Nanos,
    /// Somebody has asked for a turn behind what is to run now.
    turn_asked: bool,
    /// Something has happened since the last turn.
    active: bool,
    settling: u32,
    /// The loop is waiting, as far as this side knows; and when it last woke up, and before that.
    waits: bool,
    woke_at: Nanos,
    woke_before: Nanos,
}

impl Core {
    pub(super) fn new(
        settings: Arc<Settings>,
        inheritance: Inheritance,
    ) -> Result<Self, WorkerError> {
        let page = inheritance.page.ok_or(WorkerError::NoPage)?;
        let memory =
            SharedMemory::adopt(page, page_bytes(LOANS_MAX)).map_err(WorkerError::Start)?;
        let page = WorkerPage::attach(Arc::new(memory))?;
        let poll = Poll::new().map_err(WorkerError::Start)?;
        let timer = Alarm::create().map_err(WorkerError::Start)?;
        epoll::watch_edge(poll.registry(), timer.as_fd(), TIMER).map_err(WorkerError::Start)?;
        let request_log = RequestLog::open(&settings).map_err(WorkerError::AccessLog)?;
        let who = inheritance.incarnation;
        let meters = inheritance.meters.and_then(|meters| attach_meters(meters, who.slot));
        Ok(Core {
            pace: Pace::new(settings.stall_after),
            usual: Usual::default(),
            request_ids: settings
                .request_id
                .then(|| RequestIds::new(settings.seed, inheritance.incarnation)),
            header_refusal_logged_at: None,
            settings,
            who,
            doing: page.doing(),
            page,
            poll,
            intake: Intake::new(inheritance.channel),
            sessions: Sessions::new(),
            deadlines: Deadlines::default(),
            effects: VecDeque::new(),
            request_log,
            meters,
            now: clock::now(),
            scratch: vec![0; READ_BUFFER_SIZE],
            unclaimed: VecDeque::new(),
            readable: VecDeque::new(),
            later: Vec::new(),
            fresh: Vec::new(),
            dirty: Vec::new(),
            gave: false,
            unread: 0,
            handing_over: false,
            alarm: AlarmClock::new(inheritance.alarm),
            bell: inheritance.bell,
            events: Some(Events::with_capacity(EVENTS_PER_TURN_MAX)),
            timer,
            timer_at: Nanos::NEVER,
            refresh_at: Nanos(0),
            turn_asked: false,
            active: false,
            settling: 0,
            waits: true,
            woke_at: Nanos(0),
            woke_before: Nanos(0),
        })
    }

    /// What the loop watches.
    pub(super) fn descriptor(&self) -> RawFd {
        self.poll.as_raw_fd()
    }

    /// Whether a turn has been asked for: until then, what has become readable can wait.
    pub(super) fn is_turn_asked(&self) -> bool {
        self.turn_asked
    }

    /// A turn begins; `settling` if everything that was to run when the last one ended has run.
    pub(super) fn begin_turn(&mut self, py: Python<'_>, settling: bool) {
        self.enter_turn();
        if std::mem::take(&mut self.waits) {
            self.woke_before = std::mem::replace(&mut self.woke_at, self.now);
        }
        if settling {
            self.turn_asked = false;
            let wall = self.now;
            self.pace.handle_settled(|| moment(wall), usage::voluntary_switches);
            self.readable.extend(self.later.drain(..));
            for key in std::mem::take(&mut self.dirty) {
                if let Some(session) = self.sessions.get_mut(key) {
                    session.flags.dirty = false;
                }
                self.flush(py, key);
            }
            for key in std::mem::take(&mut self.fresh) {
                self.look_after(py, key);
            }
        }
        if self.now >= self.refresh_at {
            self.refresh_at = self.now + Duration::from_secs(1);
            self.effects.push_back(Effect::Refresh);
        }
        self.take_events(py);
    }

    /// What is to be done next in this turn, until there is nothing.
    pub(super) fn poll_effect(&mut self, py: Python<'_>) -> Option<Effect> {
        loop {
            if let Some(effect) = self.effects.pop_front() {
                return Some(effect);
            }
            if let Some(key) = self.readable.pop_front() {
                if let Some(session) = self.sessions.get_mut(key) {
                    session.flags.queued = false;
                }
                self.read(py, key);
            } else if self.pace.may_claim() {
                let key = self.unclaimed.pop_front()?;
                self.claim_and_read(py, key);
            } else {
                return None;
            }
        }
    }

    /// A turn is over.
    pub(super) fn end_turn(&mut self) {
        self.intake.pay_debts();
        self.ring();
        self.wind_timer();
        let rests = !self.unclaimed.is_empty() || !self.later.is_empty() || !self.dirty.is_empty();
        if self.active || rests || self.pace.is_open() {
            self.settling = SETTLING_TURNS;
        }
        // One at least: who has entered a turn leaves it.
        self.settling = self.settling.max(1);
        self.active = false;
    }

    /// Whether a turn is to be asked for behind everything that is to run now. To be asked after
    /// each call into the core; says so once for each turn.
    pub(super) fn wants_turn(&mut self) -> bool {
        if self.active || !self.effects.is_empty() {
            self.settling = SETTLING_TURNS;
        }
        self.settling > 0 && !std::mem::replace(&mut self.turn_asked, true)
    }

    /// A turn that was asked for has ended, and there was nothing to do: after some of them the loop
    /// is going to wait.
    pub(super) fn settle(&mut self) {
        self.settling = self.settling.saturating_sub(1);
        if self.settling == 0 && !self.turn_asked {
            self.page.turn_left();
            // The master may wait for an idle loop, and must find one.
            self.ring();
            // Where the loop wakes up so often the alarm is put off in time, and its ringing for
            // nothing now and then costs less than unwinding and winding it each time.
            let often = self.settings.stall_after / WAKES_PER_STALL_MIN;
            let comes_soon = self.woke_at.since(self.woke_before) < often;
            if !comes_soon && self.alarm.is_wound(self.now) {
                self.alarm.unwind();
            }
            self.waits = true;
        }
    }

    /// The field that says how loaded the node is. Asked for once a second, which is as often as
    /// balancers make weights of it.
    pub(super) fn load_field(&self) -> Option<(&'static str, String)> {
        let form = self.settings.fleet.load_header?;
        let told = self.page.node();
        let metrics = LoadMetrics::from_words(told.first, told.second);
        (told.stamp != 0).then(|| (orca::field_name(form), orca::field_value(form, metrics)))
    }

    /// A request's handler is about to run.
    pub(super) fn begin_step(&mut self, method: &str, path: &str) -> Nanos {
        self.enter_turn();
        self.doing.begin(maitred::board::DoingEntry::LOOP, self.now, method, path);
        self.now
    }

    /// It waits, or has ended: `spent` is then what it took of the loop before.
    pub(super) fn end_step(
        &mut self,
        began: Nanos,
        spent: Option<Duration>,
        failed: bool,
    ) -> Duration {
        self.doing.end(maitred::board::DoingEntry::LOOP);
        self.now = clock::now();
        self.page.turn_entered(self.now);
        self.active = true;
        let took = self.now.since(began);
        if let Some(spent) = spent {
            self.page.add_service(spent + took);
            if let Some(meters) = &self.meters {
                meters.add_busy(spent + took);
            }
            self.usual.learn(spent + took, self.settings.stall_after);
        }
        if failed {
            self.count_error();
        }
        took
    }

    /// A request has ended badly.
    pub(super) fn count_error(&self) {
        self.page.count_error();
        self.count(Counter::Errors, 1);
    }

    /// Adds to what is counted of this worker's slot, if anybody reads it.
    pub(super) fn count(&self, counter: Counter, more: u64) {
        if let Some(meters) = &self.meters {
            meters.add(counter, more);
        }
    }

    /// Something has happened that the next turn must look at.
    pub(super) fn note_activity(&mut self) {
        self.active = true;
    }

    /// Everything that nobody has claimed goes back, and what becomes idle follows.
    pub(super) fn hand_over(&mut self) {
        self.handing_over = true;
        for key in self.sessions.keys() {
            if let Some(Stage::Waiting(from)) = self.stage(key) {
                self.give(key, from);
            }
        }
        self.ring();
        self.active = true;
    }

    /// Nobody is left to give idle connections to. One that nobody has read is still served.
    pub(super) fn end_idle(&mut self) {
        for key in self.sessions.keys() {
            if self.stage(key) == Some(Stage::Waiting(LoanState::Idle)) {
                self.claim_to_end(key, LoanState::Idle);
            }
        }
        self.active = true;
    }

    /// Time is up.
    pub(super) fn cut_off(&mut self) {
        for key in self.sessions.keys() {
            match self.stage(key) {
                Some(Stage::Waiting(from)) => self.give(key, from),
                Some(Stage::Lingering { .. }) => self.finish(key, Ending::Orderly, None),
                Some(Stage::Active | Stage::Answering | Stage::Pinned) => {
                    self.finish(key, Ending::Reset, None);
                }
                None => {}
            }
        }
        self.ring();
        self.active = true;
    }

    pub(super) fn stage(&self, key: SessionKey) -> Option<Stage> {
        self.sessions.get(key).map(|session| session.stage)
    }

    /// Moves a session's deadline.
    pub(super) fn set_deadline(&mut self, key: SessionKey, at: Nanos) {
        if let Some(session) = self.sessions.get_mut(key) {
            self.deadlines.set(key, &mut session.deadline, at);
        }
    }

    /// Puts a claimed session among those to be read.
    pub(super) fn queue_for_reading(&mut self, key: SessionKey) {
        if let Some(session) = self.sessions.get_mut(key)
            && !std::mem::replace(&mut session.flags.queued, true)
        {
            self.readable.push_back(key);
            self.active = true;
        }
    }

    /// Puts an unclaimed session among those whose turn comes.
    pub(super) fn queue_for_claiming(&mut self, key: SessionKey) {
        if let Some(session) = self.sessions.get_mut(key)
            && !std::mem::replace(&mut session.flags.queued, true)
        {
            self.unclaimed.push_back(key);
            self.active = true;
        }
    }

    /// Tells the master what it waits for.
    pub(super) fn ring(&mut self) {
        let gave = std::mem::take(&mut self.gave);
        if !self.page.bell_due(self.unread, gave) {
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

    /// A connection ends for what it began with: worth a line now and then, and not one for each.
    pub(super) fn note_header_refused(&mut self, peer: PeerAddress, refusal: HeaderRefusal) {
        self.count_error();
        if let Some(meters) = &self.meters {
            meters.count_header_refused(refusal);
        }
        let logged = self.header_refusal_logged_at;
        if logged.is_none_or(|at| self.now.since(at) >= LOG_REPEAT_AFTER) {
            self.header_refusal_logged_at = Some(self.now);
            let (worker, generation) = (self.who.slot.0, self.who.generation.0);
            warn!(worker, gen = generation, %peer, %refusal, "--proxy-protocol: connection closed");
        }
    }

    /// What begins now may keep this worker: the master looks after it, if there is another loan
    /// that somebody else could serve.
    ///
    /// What lasts as long as it usually does is no reason: where every handler takes a millisecond, a
    /// connection that moves waits for the same elsewhere, and moving costs. So the turn counts from
    /// when it is about to be unusual.
    fn enter_turn(&mut self) {
        self.now = clock::now();
        let since = self.now + self.usual.grace(self.settings.stall_after);
        self.page.turn_entered(since);
        if self.sessions.len() > 1
            && let Some(stall_after) = self.page.alarm_wanted()
        {
            self.alarm.wind(since, stall_after);
        }
    }

    /// A session that was claimed in the last turn and is still here is watched from now on: one
    /// that was answered at once and ended never was. Its deadline depends on what it waits for.
    fn look_after(&mut self, py: Python<'_>, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.flags.fresh = false;
        if matches!(session.stage, Stage::Waiting(_) | Stage::Lingering { .. }) {
            return;
        }
        if let (Some(protocol), Stage::Active) = (&session.protocol, session.stage) {
            self.effects.push_back(Effect::Ask(key, protocol.clone_ref(py)));
        }
        self.watch(key, false);
    }

    fn take_events(&mut self, py: Python<'_>) {
        let Some(mut events) = self.events.take() else { return };
        match self.poll.poll(&mut events, Some(Duration::ZERO)) {
            Ok(()) => {}
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => warn!(%cause, "looking for events"),
        }
        for event in &events {
            self.active = true;
            match event.token() {
                CHANNEL => self.hear_master(),
                TIMER => self.hear_clock(py),
                token => {
                    let Some(key) = SessionKey::of(token) else { continue };
                    if event.is_writable() {
                        self.flush(py, key);
                    }
                    if event.is_readable() || event.is_read_closed() || event.is_error() {
                        let hung_up = event.is_read_closed() || event.is_error();
                        self.handle_readable(key, hung_up);
                    }
                }
            }
        }
        self.events = Some(events);
    }

    fn handle_readable(&mut self, key: SessionKey, hung_up: bool) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.flags.hung_up |= hung_up;
        if std::mem::replace(&mut session.flags.queued, true) {
            return;
        }
        match session.stage {
            Stage::Waiting(_) => self.unclaimed.push_back(key),
            Stage::Active | Stage::Answering | Stage::Pinned | Stage::Lingering { .. } => {
                self.readable.push_back(key);
            }
        }
    }

    fn hear_clock(&mut self, py: Python<'_>) {
        self.timer_at = Nanos::NEVER;
        while let Some((key, asked_at)) = self.deadlines.pop(self.now) {
            let Some(session) = self.sessions.get_mut(key) else { continue };
            if self.deadlines.is_due(key, &mut session.deadline, asked_at, self.now) {
                self.handle_deadline(py, key);
            }
        }
    }

    fn handle_deadline(&mut self, py: Python<'_>, key: SessionKey) {
        let Some(session) = self.sessions.get(key) else { return };
        match session.stage {
            Stage::Waiting(_) if stream::bytes_readable(session.socket()).unwrap_or(0) > 0 => {
                // The client has spoken; it is this worker that is late.
                self.set_deadline(key, self.now + self.settings.http.header_timeout);
            }
            Stage::Waiting(LoanState::Lent) if self.handing_over => {}
            Stage::Waiting(from) => self.claim_to_end(key, from),
            Stage::Lingering { .. } => self.finish(key, Ending::Orderly, None),
            // The client does not read.
            Stage::Active | Stage::Answering | Stage::Pinned if !session.out.is_empty() => {
                let cause = io::ErrorKind::TimedOut.into();
                self.finish(key, Ending::Reset, Some(cause));
            }
            // Its PROXY header has not come whole: nobody is there to be answered.
            Stage::Active if session.protocol.is_none() => {
                self.finish(key, Ending::Orderly, None);
            }
            Stage::Active | Stage::Answering => {
                let slow = matches!(
                    session.standing,
                    Standing::Unknown | Standing::Head | Standing::Body | Standing::Surplus
                );
                if slow && let Some(protocol) = &session.protocol {
                    self.effects.push_back(Effect::TooSlow(key, protocol.clone_ref(py)));
                }
            }
            Stage::Pinned => {}
        }
    }

    fn wind_timer(&mut self) {
        let next = self.deadlines.next().unwrap_or(Nanos::NEVER);
        if next >= self.timer_at {
            return;
        }
        self.timer_at = next;
        if let Err(cause) = self.timer.wind(next) {
            warn!(%cause, "winding the timer of deadlines");
        }
    }
}

/// Now, on both clocks.
pub(super) fn moment(wall: Nanos) -> Moment {
    Moment { wall, processor: usage::thread_processor_time() }
}
