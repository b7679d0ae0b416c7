//! What all sessions of a worker share: the page, the loop's registry, buffers, handlers, time.
//!
//! A session is lent the shell for its turn; so the borrow checker sees one session and one shell,
//! and the claim word is only ever touched through here, beside the counters that go with it.
//!
//! Not here: the order of things in a turn (`worker`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use mio::Registry;
use tracing::warn;

use crate::app::{Handler, Pieces, Request};
use crate::board::{DoingEntry, WorkerPage};
use crate::config::{HttpLimits, READ_BUFFER_SIZE, Rebalance, Settings};
use crate::ident::{Incarnation, LoanId};
use crate::loan::LoanState;
use crate::meters::{Counter, SlotMeters};
use crate::observe::requests::RequestLog;
use crate::sys::clock;
use crate::sys::shm::SharedMemory;
use crate::time::Nanos;
use crate::worker::access::AccessNote;
use crate::worker::alarm::AlarmClock;
use crate::worker::deadlines::Deadlines;
use crate::worker::load_field::LoadField;
use crate::worker::pipe::Pipe;
use crate::worker::pool::{self, Answer, Doing, Pool, Progress};
use crate::worker::request_ids::RequestIds;
use crate::worker::session::{Session, Tenure, Unclaimed};
use crate::worker::sessions::SessionKey;

/// Everything a session needs that is not its own.
pub(crate) struct Shell {
    pub(crate) settings: Arc<Settings>,
    pub(crate) who: Incarnation,
    pub(crate) registry: Registry,
    /// When this turn began: one reading of the clock serves all deadlines of a turn.
    pub(crate) now: Nanos,
    pub(crate) deadlines: Deadlines,
    /// Sessions to be claimed, in order: never read, or idle and readable again.
    pub(crate) unclaimed: VecDeque<SessionKey>,
    /// Claimed sessions that can go on without an event.
    pub(crate) runnable: VecDeque<SessionKey>,
    /// The handler threads; none when handlers run on the loop.
    pub(crate) pool: Option<Pool>,
    /// Bytes just read; only what is incomplete is copied out of it.
    pub(crate) scratch: Vec<u8>,
    /// A response that is being put together.
    pub(crate) out: Vec<u8>,
    /// No new request after the one being answered: responses say `Connection: close`.
    pub(crate) finishing: bool,
    /// Idle connections go back to the master instead of staying.
    pub(crate) handing_over: bool,
    /// Loans were given back in this turn, and the master does not know yet.
    pub(crate) gave: bool,
    /// Connections that are here and were never read from by this worker.
    pub(crate) unread: u32,
    /// All connections that are here.
    pub(crate) open: u32,
    pub(crate) limits: Arc<HttpLimits>,
    /// What is written down of requests, if anything is; and notes to be used again.
    pub(crate) request_log: Option<RequestLog>,
    #[expect(
        clippy::vec_box,
        reason = "a note stays in its box: a session holds one, or a pointer"
    )]
    pub(crate) spare_notes: Vec<Box<AccessNote>>,
    /// What is added up for this worker's slot; none where nobody reads it.
    pub(crate) meters: Option<SlotMeters<Arc<SharedMemory>>>,
    /// Makes ids of requests; none without `--request-id`.
    pub(crate) request_ids: Option<RequestIds>,
    /// When a connection was last said to be refused for its PROXY header.
    pub(crate) header_refusal_logged_at: Option<Nanos>,
    handler: Arc<dyn Handler>,
    page: WorkerPage<Arc<SharedMemory>>,
    doing: Doing,
    alarm: AlarmClock,
    load_field: Option<LoadField>,
    date: Date,
}

/// What a worker and its master both know: its name, its page, its alarm.
pub(crate) struct Shared {
    pub(crate) who: Incarnation,
    pub(crate) page: WorkerPage<Arc<SharedMemory>>,
    pub(crate) alarm: AlarmClock,
    pub(crate) meters: Option<SlotMeters<Arc<SharedMemory>>>,
}

impl Shell {
    pub(crate) fn new(
        settings: Arc<Settings>,
        shared: Shared,
        registry: Registry,
        handler: Arc<dyn Handler>,
        pool: Option<Pool>,
        request_log: Option<RequestLog>,
    ) -> Self {
        let mut limits = settings.http;
        if pool.is_none() {
            // On the loop a handler cannot wait for a body: it is whole before, or too large.
            let buffer = settings.http.buffer_request as u64;
            limits.body_max = Some(limits.body_max.map_or(buffer, |most| most.min(buffer)));
        }
        let limits = Arc::new(limits);
        let load_field = LoadField::new(&settings.fleet);
        let Shared { who, page, alarm, meters } = shared;
        let request_ids = settings.request_id.then(|| RequestIds::new(settings.seed, who));
        Shell {
            settings,
            who,
            registry,
            now: clock::now(),
            deadlines: Deadlines::default(),
            unclaimed: VecDeque::new(),
            runnable: VecDeque::new(),
            pool,
            scratch: vec![0; READ_BUFFER_SIZE],
            out: Vec::with_capacity(READ_BUFFER_SIZE),
            finishing: false,
            handing_over: false,
            gave: false,
            unread: 0,
            open: 0,
            limits,
            request_log,
            spare_notes: Vec::new(),
            meters,
            request_ids,
            header_refusal_logged_at: None,
            handler,
            doing: page.doing(),
            page,
            alarm,
            load_field,
            date: Date::default(),
        }
    }

    /// Before the first read of a request: may this worker read?
    pub(crate) fn claim(&mut self, tenure: Tenure, from: Unclaimed) -> bool {
        self.forget_unclaimed(from);
        let Tenure::Lent(loan) = tenure else {
            self.page.own_claim();
            return true;
        };
        if let Some(pool) = &self.pool {
            self.page.about_to_queue(pool.queued() as u32, pool.busy() as u32);
        }
        self.page.claim(loan, from.state())
    }

    /// The claim found nothing to read: back to IDLE, as if it had not been.
    pub(crate) fn claim_was_empty(&self, session: &Session) {
        match session.tenure() {
            Tenure::Lent(loan) => self.page.claim_was_empty(loan, &session.terms()),
            Tenure::Own => self.page.own_claim_was_empty(),
        }
    }

    /// The first byte of a response is about to leave.
    pub(crate) fn answering(&self, tenure: Tenure) {
        if let Tenure::Lent(loan) = tenure {
            self.page.answering(loan);
        }
    }

    /// A request has been answered, and the next one is already here.
    pub(crate) fn active_again(&self, tenure: Tenure) {
        match tenure {
            Tenure::Lent(loan) => self.page.active_again(loan),
            Tenure::Own => self.page.own_active_again(),
        }
    }

    /// A request has been answered, and nothing more is here.
    pub(crate) fn idle(&self, session: &Session) {
        match session.tenure() {
            Tenure::Lent(loan) => self.page.idle(loan, &session.terms()),
            Tenure::Own => self.page.own_idle(),
        }
    }

    /// Gives an unclaimed loan back; false if the master took it first, which is as good.
    pub(crate) fn give(&mut self, loan: LoanId, from: Unclaimed) -> bool {
        self.forget_unclaimed(from);
        self.gave = true;
        self.page.give(loan, from.state())
    }

    /// The connection is over; its socket has been shut down.
    pub(crate) fn end(&self, tenure: Tenure, from: LoanState) {
        match tenure {
            Tenure::Lent(loan) => self.page.end(loan, from),
            Tenure::Own => self.page.own_end(from),
        }
    }

    /// An unclaimed loan leaves: nobody claims it here any more.
    pub(crate) fn forget_unclaimed(&mut self, from: Unclaimed) {
        if from == Unclaimed::Unread {
            self.unread = self.unread.saturating_sub(1);
        }
    }

    /// This worker's copy is closed: the master may have a loan's place back.
    pub(crate) fn let_go(&mut self, tenure: Tenure) {
        self.open = self.open.saturating_sub(1);
        if let Tenure::Lent(loan) = tenure {
            self.page.let_go(loan);
        }
    }

    /// A connection has been accepted here.
    pub(crate) fn count_own_accepted(&self) {
        self.page.own_accepted();
    }

    pub(crate) fn count_error(&self) {
        self.page.count_error();
        self.count(Counter::Errors, 1);
    }

    /// Adds to what is counted of this worker's slot, if anybody reads it.
    pub(crate) fn count(&self, counter: Counter, more: u64) {
        if let Some(meters) = &self.meters {
            meters.add(counter, more);
        }
    }

    /// Puts the load report right for whoever looks while this worker is busy or asleep.
    pub(crate) fn publish_load(&mut self) {
        let Some(pool) = &self.pool else { return };
        self.page.publish_threads(
            pool.queued() as u32,
            pool.busy() as u32,
            pool.all_busy_since(),
            pool.oldest_call(),
        );
        if !pool.has_free_thread() {
            // The last thread was taken, and may be for any time.
            self.wind_alarm(pool.all_busy_since());
        }
    }

    /// The loop is about to do something that may take long.
    pub(crate) fn enter_turn(&mut self) {
        self.now = clock::now();
        self.page.turn_entered(self.now);
        // Handlers run in this turn, and may take any time; or the machine runs somebody else. While
        // all threads are taken it is wound for them, and a turn of the loop does not put it off.
        if self.may_claim() {
            self.wind_alarm(self.now);
        }
    }

    /// The loop is about to wait.
    pub(crate) fn leave_turn(&self) {
        self.page.turn_left();
    }

    /// Whether the master waits to hear that this worker has room, and it has; or that it `gave`
    /// loans back.
    pub(crate) fn bell_due(&self, gave: bool) -> bool {
        let threads = self.pool.as_ref().map_or(0, |pool| pool.queued() + pool.busy());
        self.page.bell_due(self.unread + threads as u32, gave)
    }

    /// Calls the handler here, or gives the request to a thread (then the answer comes later).
    pub(crate) fn handle_request(&mut self, key: SessionKey, request: Request) -> Option<Answer> {
        if let Some(pool) = &mut self.pool {
            pool.submit(key, request, self.now);
            return None;
        }
        // Once more: loans that others could serve may have come since the turn began.
        self.wind_alarm(self.now);
        let began = self.now;
        let method = request.head.method.as_str();
        self.doing.begin(DoingEntry::LOOP, began, method, request.path());
        let answer = match pool::call(self.handler.as_ref(), request) {
            Ok(response) => Answer::Whole(Box::new(response)),
            Err(message) => Answer::Panicked(message),
        };
        // The handler may have taken any time: what follows counts from now, and so does the next
        // session's turn, which is judged on its own.
        self.doing.end(DoingEntry::LOOP);
        self.enter_turn();
        self.add_service(self.now.since(began));
        Some(answer)
    }

    /// Gives the rest of a streamed response to a thread.
    pub(crate) fn stream_on(&mut self, key: SessionKey, rest: Pieces, pipe: Pipe) {
        if let Some(pool) = &mut self.pool {
            pool.submit_stream(key, rest, pipe, self.now);
        }
    }

    /// A thread has had a handler for so long.
    pub(crate) fn add_service(&self, service: std::time::Duration) {
        self.page.add_service(service);
        if let Some(meters) = &self.meters {
            meters.add_busy(service);
        }
    }

    /// Whether a session that becomes idle is given back to the master.
    pub(crate) fn gives_back_idle(&self) -> bool {
        self.handing_over || self.settings.rebalance == Rebalance::Always
    }

    /// Registers a session for reading, if it is not.
    pub(crate) fn watch(&mut self, key: SessionKey, session: &mut Session) {
        self.watch_for(key, session, false);
    }

    /// Registers a session for reading and writing.
    pub(crate) fn watch_writing(&mut self, key: SessionKey, session: &mut Session) {
        self.watch_for(key, session, true);
    }

    /// Puts a claimed session behind all others that can go on.
    pub(crate) fn go_on_later(&mut self, key: SessionKey, session: &mut Session) {
        if session.queue_once() {
            self.runnable.push_back(key);
        }
    }

    /// What tells the loop of changes in a session's pipe; none where handlers run on the loop.
    pub(crate) fn progress_of(&self, key: SessionKey) -> Option<Progress> {
        self.pool.as_ref().map(|pool| pool.progress_of(key))
    }

    /// Whether a request that is claimed now is handled at once.
    pub(crate) fn may_claim(&self) -> bool {
        self.pool.as_ref().is_none_or(Pool::has_free_thread)
    }

    /// Puts the load of the node onto a response, where that is asked for, and its connection has
    /// not heard the latest.
    pub(crate) fn put_load(&mut self, headers: &mut http::HeaderMap, heard: &mut u32) {
        if let Some(field) = &mut self.load_field {
            field.put(headers, self.page.node(), heard);
        }
    }

    /// The time of day for a Date field, made once a second.
    pub(crate) fn date(&mut self) -> &str {
        self.date.at(self.now)
    }

    /// What began then may keep this worker: the master looks after it, if there is another loan
    /// that somebody else could serve.
    fn wind_alarm(&mut self, since: Nanos) {
        if self.open > 1
            && let Some(stall_after) = self.page.alarm_wanted()
        {
            self.alarm.wind(since, stall_after);
        }
    }

    /// Whether an alarm is wound that nothing in service needs.
    pub(crate) fn alarm_is_idle(&self) -> bool {
        self.may_claim() && self.alarm.is_wound(self.now)
    }

    /// The loop is going to wait for as long as it takes.
    pub(crate) fn unwind_alarm(&mut self) {
        self.alarm.unwind();
    }

    fn watch_for(&mut self, key: SessionKey, session: &mut Session, writing: bool) {
        if let Err(cause) = session.register(key, self, writing) {
            // No memory for a registration. Its deadline still ends it.
            warn!(%cause, "watching a connection");
        }
    }
}

/// An IMF-fixdate (RFC 9110 section 5.6.7), kept for as long as it is true.
#[derive(Default)]
struct Date {
    text: String,
    good_until: Nanos,
}

impl Date {
    fn at(&mut self, now: Nanos) -> &str {
        if now >= self.good_until {
            let time = SystemTime::now();
            self.text = httpdate::fmt_http_date(time);
            let into_second =
                time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
            self.good_until = Nanos(now.0 + 1_000_000_000 - u64::from(into_second));
        }
        &self.text
    }
}
