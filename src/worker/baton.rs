//! One thread for the handler and the loop: whoever holds the baton runs the loop.
//!
//! Handing each request to a thread and its answer back costs two wake-ups, which is more than a
//! quick handler itself. So with one handler thread, where the handler asks for it
//! ([`shares_its_thread`]), that thread is the one that called `worker::run`, and runs the
//! loop between its calls. It lays the worker down before each call, and takes it up behind it. A
//! stand-in watches: when a call takes long, or may wait for its client, it takes the worker up,
//! and the two are loop and handler thread as ever, until calls are quick again.
//!
//! ```text
//!  first thread   turn · lays down · call · takes up · turn …   call ──── … ───── follows: jobs come
//!                            │              ▲                     │               by queue      ▲
//!  the place                 ▼    worker    │                     ▼ worker                worker │
//!                                                                 │ still there                 │
//!  stand-in       asleep, or looks every `STAND_IN_AFTER` ────────┴─ leads: turn · turn … lays down
//! ```
//!
//! The handler is always called in the same thread. A quick call costs no system call; while calls
//! come, the stand-in wakes a thousand times a second, and otherwise never.
//!
//! Not here: the turns (`worker`), the calls (`pool`).
//!
//! [`shares_its_thread`]: crate::app::Handler::shares_its_thread

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use mio::Events;

use crate::config::{EVENTS_PER_TURN_MAX, STAND_IN_AFTER};
use crate::worker::pool::{HandlerThread, Job, Order};
use crate::worker::{Worker, WorkerError};

/// Where the worker lies while nobody runs its loop.
struct Baton {
    place: Mutex<Place>,
    changed: Condvar,
}

#[derive(Default)]
struct Place {
    worker: Option<Box<Worker>>,
    /// Who may take it up.
    laid_down: LaidDown,
    /// How often it was laid down for a call: whether one is still the one seen before.
    calls: u64,
    /// The stand-in sleeps until it is woken.
    asleep: bool,
    /// How serving has ended.
    over: Option<Result<(), WorkerError>>,
}

/// What a worker was laid down for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum LaidDown {
    /// A call, which is usually quick.
    #[default]
    Call,
    /// A call that may wait for its client: only the loop can bring what it waits for.
    CallThatWaits,
    /// The first thread, which has no call and has been told.
    FirstThread,
}

/// Runs loop and handler in this thread.
///
/// # Errors
/// The system refuses the stand-in, or the loop fails.
pub(super) fn run(worker: Worker, handler: &HandlerThread) -> Result<(), WorkerError> {
    let baton = Arc::new(Baton { place: Mutex::default(), changed: Condvar::new() });
    let watched = Arc::clone(&baton);
    thread::Builder::new()
        .name("stand-in".to_owned())
        .spawn(move || stand_in(&watched))
        .map_err(WorkerError::Start)?;
    let outcome = lead_and_follow(Box::new(worker), &baton, handler);
    baton.end(Ok(()));
    outcome
}

fn lead_and_follow(
    mut worker: Box<Worker>,
    baton: &Baton,
    handler: &HandlerThread,
) -> Result<(), WorkerError> {
    let mut events = Events::with_capacity(EVENTS_PER_TURN_MAX);
    loop {
        let Some(Order::Call(job)) = handler.poll_order() else {
            if worker.is_done() {
                worker.leave();
                return Ok(());
            }
            worker.round_between_calls(&mut events)?;
            continue;
        };
        worker.rest_for_call();
        baton.lay_down_for(&job, worker);
        handler.run_job(job);
        let taken_up = baton.take_up().or_else(|| follow(baton, handler));
        match taken_up {
            Some(taken_up) => worker = taken_up,
            None => return baton.outcome(),
        }
    }
}

/// Makes calls while the stand-in leads, until it has laid the worker down; `None` once it is done.
fn follow(baton: &Baton, handler: &HandlerThread) -> Option<Box<Worker>> {
    while let Some(order) = handler.await_order() {
        if let Order::Call(job) = order {
            handler.run_job(job);
        }
        if let Some(worker) = baton.take_up() {
            return Some(worker);
        }
    }
    None
}

fn stand_in(baton: &Baton) {
    let mut events = Events::with_capacity(EVENTS_PER_TURN_MAX);
    while let Some(mut worker) = baton.await_need() {
        worker.begin_standing_in();
        loop {
            if worker.is_done() {
                worker.leave();
                return baton.end(Ok(()));
            }
            if let Err(error) = worker.round(&mut events) {
                return baton.end(Err(error));
            }
            if let Some(calling) = worker.may_go_back() {
                worker.rest_for_call();
                baton.lay_down(worker, calling);
                break;
            }
        }
    }
}

impl Baton {
    /// The first thread is about to make a call.
    fn lay_down_for(&self, job: &Job, worker: Box<Worker>) {
        let laid_down = if job.may_wait() { LaidDown::CallThatWaits } else { LaidDown::Call };
        let mut place = self.lock();
        place.worker = Some(worker);
        place.laid_down = laid_down;
        place.calls += 1;
        if std::mem::take(&mut place.asleep) || laid_down == LaidDown::CallThatWaits {
            self.changed.notify_one();
        }
    }

    /// The stand-in has done its part. The first thread is in a call, or was when it last said
    /// something: it is told in any case, and looks behind the call too.
    fn lay_down(&self, worker: Box<Worker>, calling: bool) {
        let mut place = self.lock();
        place.laid_down = if calling { LaidDown::Call } else { LaidDown::FirstThread };
        place.calls += 1;
        worker.order_to_take_up();
        place.worker = Some(worker);
    }

    fn take_up(&self) -> Option<Box<Worker>> {
        self.lock().worker.take()
    }

    /// Waits until a call takes long; `None` at the end.
    fn await_need(&self) -> Option<Box<Worker>> {
        let mut place = self.lock();
        let mut seen = place.calls;
        let mut has_looked = false;
        loop {
            if place.over.is_some() {
                return None;
            }
            let is_needed = match place.laid_down {
                LaidDown::CallThatWaits => true,
                LaidDown::Call => has_looked && place.calls == seen,
                LaidDown::FirstThread => false,
            };
            if is_needed && let Some(worker) = place.worker.take() {
                return Some(worker);
            }
            let is_still = has_looked && place.calls == seen && place.worker.is_none();
            let is_reserved = place.laid_down == LaidDown::FirstThread;
            seen = place.calls;
            if is_still || is_reserved {
                place.asleep = true;
                // Whoever lays it down wakes this thread; it then looks at that call twice.
                place = self.changed.wait(place).unwrap_or_else(PoisonError::into_inner);
                has_looked = false;
                continue;
            }
            let waited = self.changed.wait_timeout(place, STAND_IN_AFTER);
            let timed_out;
            (place, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
            has_looked = timed_out.timed_out();
        }
    }

    fn end(&self, outcome: Result<(), WorkerError>) {
        let mut place = self.lock();
        place.over.get_or_insert(outcome);
        self.changed.notify_one();
    }

    /// How the stand-in's serving has ended.
    fn outcome(&self) -> Result<(), WorkerError> {
        self.lock().over.take().unwrap_or(Ok(()))
    }

    fn lock(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
