//! The handler threads of a worker, and how they wake its loop.
//!
//! The loop hands a thread a complete request (or one whose body streams), the thread hands back a
//! response. At most as many jobs are out as there are threads: the loop claims no request that
//! would have to wait here, so what waits stays where the master can take it back.
//!
//! A response that streams leaves its thread whenever its pipe is full: the source of its pieces
//! goes back to the session, and to any thread once the client has read. A client that reads slowly
//! holds memory, bounded by `--buffer-response`, and no thread.
//!
//! Not here: claims and sockets (`session`); handlers on the loop itself (`--threads 0`) need none
//! of this.

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use mio::Waker;

use crate::app::{Body, Handler, Pieces, Request, RequestBody, Response};
use crate::board::{DoingEntry, DoingTable};
use crate::config::{QUICK_CALLS_MIN, STAND_IN_AFTER};
use crate::sys::clock;
use crate::sys::shm::SharedMemory;
use crate::time::Nanos;
use crate::worker::pipe::{Offered, Pipe};
use crate::worker::sessions::SessionKey;

/// The threads, seen from the loop.
pub(crate) struct Pool {
    jobs: Sender<Order>,
    outcomes: Receiver<Outcome>,
    report: Sender<Outcome>,
    /// The calls that are out.
    running: Vec<Running>,
    /// Where they are named for the master, and the entries that are free.
    doing: Doing,
    entries: Vec<DoingEntry>,
    threads: usize,
    /// Requests whose last byte arrived while every thread was taken, and streams whose clients
    /// have read. Each belongs to a session, so there are no more of them than loans.
    waiting: VecDeque<Job>,
    all_busy_since: Nanos,
    wake: Wake,
    /// Calls in a row that were shorter than [`STAND_IN_AFTER`].
    quick_calls: u32,
}

/// The table of running calls in this worker's page.
pub(crate) type Doing = DoingTable<Arc<SharedMemory>>;

/// A call that is out.
struct Running {
    key: SessionKey,
    began: Nanos,
    entry: DoingEntry,
    may_wait: bool,
}

/// What a thread tells the loop.
pub(crate) enum Outcome {
    /// The handler's answer. One that needs no thread any more comes with the time it took, and
    /// frees the thread in the same breath: one wake-up a request.
    Answer(SessionKey, Answer, Option<Duration>),
    /// A pipe of this session has changed: bytes to send, or room to read more.
    Progress(SessionKey),
    /// The thread that streamed a response into this pipe is free again, after so long. The rest of
    /// the stream, if the pipe was full.
    Free(SessionKey, Duration, Pipe, Option<Pieces>),
}

/// A handler's answer, ready for the loop.
pub(crate) enum Answer {
    /// A response that needs no thread any more.
    Whole(Box<Response>),
    /// The head; the body comes through the pipe, `length` bytes of it where that is known.
    Streamed(Box<http::response::Parts>, Option<u64>, Pipe),
    /// The handler panicked.
    Panicked(String),
}

/// Tells the loop that a session's pipe has changed.
pub(crate) struct Progress {
    key: SessionKey,
    report: Sender<Outcome>,
    wake: Wake,
}

impl Progress {
    pub(crate) fn tell(&self) {
        // The loop outlives its threads but for the moment of its own end.
        let _ = self.report.send(Outcome::Progress(self.key));
        self.wake.wake();
    }
}

/// What a handler thread is asked to do.
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one")]
pub(crate) enum Order {
    /// A call.
    Call(Job),
    /// To look at the place where the worker lies (`baton`).
    TakeUp,
}

/// One call: of the handler, or of what makes a response's body.
pub(crate) struct Job {
    key: SessionKey,
    work: Work,
}

impl Job {
    /// Whether it may wait for what only the loop brings.
    pub(crate) fn may_wait(&self) -> bool {
        match &self.work {
            Work::Handle(request) => matches!(request.body, RequestBody::Streaming(_)),
            Work::Stream(..) => false,
        }
    }
}

#[expect(clippy::large_enum_variant, reason = "the large one is the usual one")]
enum Work {
    /// Call the handler.
    Handle(Request),
    /// Its response streams on: there is room in the pipe.
    Stream(Pieces, Pipe),
}

/// Wakes the loop, at most once a sleep.
#[derive(Clone)]
pub(crate) struct Wake {
    waker: Arc<Waker>,
    /// True while the loop is about to sleep or sleeps. Pairs with [`Wake::about_to_sleep`].
    asleep: Arc<AtomicBool>,
}

impl Wake {
    pub(crate) fn new(waker: Waker) -> Self {
        Wake { waker: Arc::new(waker), asleep: Arc::new(AtomicBool::new(false)) }
    }

    /// A thread has put something where the loop looks.
    pub(crate) fn wake(&self) {
        // Dekker with `about_to_sleep`: this side has published and looks at the flag, the loop
        // raises the flag and looks again; with both fences at least one of them sees the other.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            // An eventfd's counter cannot overflow here; there is nothing else to be done either.
            let _ = self.waker.wake();
        }
    }

    /// The loop is going to wait; it must look for outcomes once more after this.
    fn about_to_sleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    fn woke(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }
}

impl Pool {
    /// Starts `threads` threads that call `handler`.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub(crate) fn start(
        threads: u16,
        handler: &Arc<dyn Handler>,
        wake: Wake,
        buffer_response: usize,
        doing: Doing,
    ) -> io::Result<Self> {
        let (pool, queue) = Pool::new(threads, wake, doing);
        for number in 0..threads {
            let thread = pool.thread(handler, &queue, buffer_response);
            let builder = thread::Builder::new().name(format!("handler-{number}"));
            builder.spawn(move || {
                let handler = Arc::clone(&thread.handler);
                handler.around_thread(&mut || thread.run());
            })?;
        }
        Ok(pool)
    }

    /// A pool of one thread, which whoever calls this is to be.
    pub(crate) fn with_one(
        handler: &Arc<dyn Handler>,
        wake: Wake,
        buffer_response: usize,
        doing: Doing,
    ) -> (Self, HandlerThread) {
        let (pool, queue) = Pool::new(1, wake, doing);
        let thread = pool.thread(handler, &queue, buffer_response);
        (pool, thread)
    }

    fn new(threads: u16, wake: Wake, doing: Doing) -> (Self, Receiver<Order>) {
        // One more than calls: an order to take the worker up may be among them.
        let (jobs, queue) = bounded(usize::from(threads) + 1);
        // Bounded by construction: a few outcomes for each job that is out.
        let (report, outcomes) = unbounded();
        let pool = Pool {
            jobs,
            outcomes,
            report,
            running: Vec::with_capacity(usize::from(threads)),
            doing,
            // The lowest are used first, so that few are touched.
            entries: (1..=threads).rev().map(DoingEntry).collect(),
            threads: usize::from(threads),
            waiting: VecDeque::new(),
            all_busy_since: Nanos(0),
            wake,
            quick_calls: 0,
        };
        (pool, queue)
    }

    fn thread(
        &self,
        handler: &Arc<dyn Handler>,
        queue: &Receiver<Order>,
        buffer_response: usize,
    ) -> HandlerThread {
        HandlerThread {
            handler: Arc::clone(handler),
            queue: queue.clone(),
            report: self.report.clone(),
            wake: self.wake.clone(),
            buffer_response,
        }
    }

    /// Whether a request that is claimed now finds a thread at once.
    pub(crate) fn has_free_thread(&self) -> bool {
        self.running.len() < self.threads
    }

    /// Hands a request to a thread, or lets it wait for one.
    pub(crate) fn submit(&mut self, key: SessionKey, request: Request, now: Nanos) {
        self.begin_or_wait(Job { key, work: Work::Handle(request) }, now);
    }

    /// Hands the rest of a stream to a thread: its pipe has room again.
    pub(crate) fn submit_stream(&mut self, key: SessionKey, rest: Pieces, pipe: Pipe, now: Nanos) {
        self.begin_or_wait(Job { key, work: Work::Stream(rest, pipe) }, now);
    }

    /// The next thing a thread has said.
    pub(crate) fn poll_outcome(&mut self, now: Nanos) -> Option<Outcome> {
        let outcome = self.outcomes.try_recv().ok()?;
        if let Outcome::Free(key, service, ..) | Outcome::Answer(key, _, Some(service)) = &outcome {
            let is_quick = *service < STAND_IN_AFTER;
            self.quick_calls = if is_quick { self.quick_calls.saturating_add(1) } else { 0 };
            // One of them: a session whose stream has ended may have its next request with another
            // thread before this one has said that it is free.
            if let Some(place) = self.running.iter().position(|running| running.key == *key) {
                let entry = self.running.remove(place).entry;
                self.doing.end(entry);
                self.entries.push(entry);
            }
            self.all_busy_since = Nanos(0);
            if let Some(job) = self.waiting.pop_front() {
                self.begin(job, now);
            }
        }
        Some(outcome)
    }

    /// The loop is going to wait. True if it must not: something came in meanwhile.
    pub(crate) fn about_to_sleep(&self) -> bool {
        self.wake.about_to_sleep();
        let must_look = !self.outcomes.is_empty();
        if must_look {
            self.wake.woke();
        }
        must_look
    }

    /// The loop is back from waiting.
    pub(crate) fn woke(&self) {
        self.wake.woke();
    }

    /// Requests that are complete and wait for a thread.
    pub(crate) fn queued(&self) -> usize {
        self.waiting.len()
    }

    /// Threads that are in a handler.
    pub(crate) fn busy(&self) -> usize {
        self.running.len()
    }

    /// Whether no call is out, and none waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    /// Whether what threads have said waits to be heard.
    pub(crate) fn has_outcomes(&self) -> bool {
        !self.outcomes.is_empty()
    }

    /// Counts quick calls from here on.
    pub(crate) fn forget_quick_calls(&mut self) {
        self.quick_calls = 0;
    }

    /// Whether calls are quick, and none is out that may wait for what only the loop brings.
    pub(crate) fn needs_no_stand_in(&self) -> bool {
        self.quick_calls >= QUICK_CALLS_MIN && !self.running.iter().any(|running| running.may_wait)
    }

    /// Tells a thread that has no call to take the worker up.
    pub(crate) fn order_to_take_up(&self) {
        let sent = self.jobs.try_send(Order::TakeUp);
        debug_assert!(sent.is_ok(), "a place is kept for it");
    }

    /// Since when no thread is free; zero while one is.
    pub(crate) fn all_busy_since(&self) -> Nanos {
        self.all_busy_since
    }

    /// When the oldest call that is still out began; zero if none is.
    pub(crate) fn oldest_call(&self) -> Nanos {
        self.running.iter().map(|running| running.began).min().unwrap_or(Nanos(0))
    }

    /// What the reader of a session's body uses to tell the loop of room in its pipe.
    pub(crate) fn progress_of(&self, key: SessionKey) -> Progress {
        Progress { key, report: self.report.clone(), wake: self.wake.clone() }
    }

    fn begin_or_wait(&mut self, job: Job, now: Nanos) {
        if self.has_free_thread() {
            self.begin(job, now);
        } else {
            self.waiting.push_back(job);
        }
    }

    fn begin(&mut self, job: Job, now: Nanos) {
        // As many as threads, and no more jobs are out than these.
        let entry = self.entries.pop().unwrap_or(DoingEntry(u16::MAX));
        match &job.work {
            Work::Handle(request) => {
                self.doing.begin(entry, now, request.head.method.as_str(), request.path());
            }
            Work::Stream(..) => {
                self.doing.begin(entry, now, "(the rest of", "a streamed response)");
            }
        }
        let may_wait = job.may_wait();
        self.running.push(Running { key: job.key, began: now, entry, may_wait });
        if self.running.len() == self.threads {
            self.all_busy_since = now;
        }
        // There is room: no more jobs are out than there are threads. A send can only fail when
        // every thread has died, which a caught panic does not do.
        let sent = self.jobs.try_send(Order::Call(job));
        debug_assert!(sent.is_ok(), "more jobs are out than there are threads");
    }
}

/// One handler thread.
pub(crate) struct HandlerThread {
    handler: Arc<dyn Handler>,
    queue: Receiver<Order>,
    report: Sender<Outcome>,
    wake: Wake,
    buffer_response: usize,
}

impl HandlerThread {
    fn run(&self) {
        while let Some(order) = self.await_order() {
            if let Order::Call(job) = order {
                self.run_job(job);
            }
        }
    }

    /// The next order, if there is one.
    pub(crate) fn poll_order(&self) -> Option<Order> {
        self.queue.try_recv().ok()
    }

    /// Waits for the next order; `None` once there is no pool any more.
    pub(crate) fn await_order(&self) -> Option<Order> {
        self.queue.recv().ok()
    }

    /// Makes a call, and tells the loop what has come of it.
    pub(crate) fn run_job(&self, job: Job) {
        let began = clock::now();
        let key = job.key;
        let request = match job.work {
            Work::Handle(request) => request,
            Work::Stream(pieces, pipe) => return self.stream(key, pieces, &pipe, began),
        };
        let answer = match call(self.handler.as_ref(), request) {
            Ok(response) => match response.into_parts() {
                (parts, Body::Stream { length, source }) => {
                    let pipe = Pipe::new(self.buffer_response);
                    let streamed = Answer::Streamed(Box::new(parts), length, pipe.clone());
                    self.tell(Outcome::Answer(key, streamed, None));
                    return self.stream(key, source, &pipe, began);
                }
                (parts, body) => Answer::Whole(Box::new(Response::from_parts(parts, body))),
            },
            Err(message) => Answer::Panicked(message),
        };
        self.tell(Outcome::Answer(key, answer, Some(clock::now().since(began))));
    }

    /// Makes pieces until there are no more, or the pipe is full.
    fn stream(&self, key: SessionKey, mut pieces: Pieces, pipe: &Pipe, began: Nanos) {
        // The source runs a stranger's code as the handler does: its panic ends the response, not
        // the thread.
        let pumped = panic::catch_unwind(AssertUnwindSafe(|| self.pump(key, &mut pieces, pipe)));
        let rest = match pumped {
            Ok(Ok(Pumped::Full)) => Some(pieces),
            Ok(Ok(Pumped::All)) => {
                pipe.finish();
                drop(pieces);
                None
            }
            Ok(Err(error)) => {
                pipe.fail(error.kind());
                drop(pieces);
                None
            }
            Err(_panic) => {
                pipe.fail(io::ErrorKind::Other);
                drop(pieces);
                None
            }
        };
        self.tell(Outcome::Free(key, clock::now().since(began), pipe.clone(), rest));
    }

    fn pump(&self, key: SessionKey, pieces: &mut Pieces, pipe: &Pipe) -> io::Result<Pumped> {
        if pipe.is_abandoned() {
            // They have come here to be dropped: making another piece may take any time.
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        for piece in pieces.by_ref() {
            match pipe.offer(piece?) {
                Offered::Room => self.tell(Outcome::Progress(key)),
                Offered::Full => return Ok(Pumped::Full),
                Offered::Gone => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
        Ok(Pumped::All)
    }

    fn tell(&self, outcome: Outcome) {
        // The loop outlives its threads but for the moment of its own end.
        let _ = self.report.send(outcome);
        self.wake.wake();
    }
}

/// Why a thread stops making pieces.
enum Pumped {
    All,
    Full,
}

/// Calls a handler; a panic becomes its message.
pub(crate) fn call(handler: &dyn Handler, request: Request) -> Result<Response, String> {
    panic::catch_unwind(AssertUnwindSafe(|| handler.handle(request)))
        .map_err(|payload| panic_message(payload.as_ref()))
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use mio::Poll;

    use super::*;
    use crate::app::testing::get;
    use crate::board::{MasterPage, WorkerPage, page_bytes};
    use crate::worker::sessions::TOKENS_RESERVED;

    /// Answers as often as the test lets it.
    struct Gated(Receiver<()>);

    impl Handler for Gated {
        fn handle(&self, _: Request) -> Response {
            let _ = self.0.recv();
            Response::new(Body::Empty)
        }
    }

    /// A client had its whole streamed answer, and its next request was with a thread, before the
    /// thread of the stream had said that it was free. That freed both in the books; so one job
    /// more was out than there was room for, and its request was never answered.
    #[test]
    fn two_jobs_of_one_session_end_one_by_one() {
        let (open, gate) = unbounded();
        let handler: Arc<dyn Handler> = Arc::new(Gated(gate));
        let poll = Poll::new().unwrap();
        let wake = Wake::new(Waker::new(poll.registry(), mio::Token(TOKENS_RESERVED)).unwrap());
        let memory = Arc::new(SharedMemory::create(page_bytes(1)).unwrap());
        let master = MasterPage::new(Arc::clone(&memory), 1).unwrap();
        let doing = WorkerPage::attach(memory).unwrap().doing();
        let mut pool = Pool::start(2, &handler, wake, 1024, doing).unwrap();
        let key = SessionKey(7);
        pool.submit(key, get("/stream"), Nanos(1));
        pool.submit(key, get("/next"), Nanos(2));
        assert!(!pool.has_free_thread());
        pool.report.send(Outcome::Free(key, Duration::ZERO, Pipe::new(1), None)).unwrap();
        assert!(matches!(pool.poll_outcome(Nanos(3)), Some(Outcome::Free(..))));
        assert_eq!(pool.busy(), 1);
        let running = master.doing(2, 9);
        assert_eq!(running.len(), 1, "the other one is still named");
        assert_eq!(running[0].text, b"GET /next");
        drop(open);
    }
}
