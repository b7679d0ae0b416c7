//! A worker's loop, in steps of one access to its page each.
//!
//! The order of the steps is that of `src/worker`: `mod` (turns), `session` and `answering` (claim,
//! answer, idle, give), `shell` (stamps, the alarm, the bell), `pool` (handler threads), `alarm`.
//! Requests are whole, or two in one go; there are no deadlines.
//!
//! Not here: what the master makes of it (`master`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use maitred::board::{Terms, WorkerPage};
use maitred::dispatch::first_look;
use maitred::ident::LoanId;
use maitred::loan::LoanState;
use maitred::time::Nanos;

use crate::simulation::master::{Frame, Source, ToMaster};
use crate::simulation::{Event, MICROSECOND, MILLISECOND, STALL, World};

pub(crate) type Memory = Arc<Vec<AtomicU64>>;

/// What happens to a process, and its parent hears of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Stopped,
    Continued,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Not claimed; what the word is expected to say.
    Waiting(LoanState),
    Reading,
    Handling,
    Answering,
}

#[derive(Debug)]
struct Session {
    loan: LoanId,
    connection: usize,
    stage: Stage,
    /// Requests that were read behind the one that is being handled.
    carried: u32,
    is_queued: bool,
    /// An edge came while nothing was to be read.
    unread: bool,
    is_watched: bool,
}

/// The next things that a worker does, in order.
#[derive(Clone, Debug)]
enum Step {
    Poll,
    ReadClock,
    Stamp,
    Edge(u64),
    Hear,
    Outcomes,
    ClaimAll,
    Claims(usize),
    Claim(u64),
    Read(u64),
    Handle(u64),
    Handled(u64, Nanos),
    Answer(u64),
    Leave(u64),
    Answered(u64),
    GoIdle(u64),
    Watch(u64),
    Give(u64),
    End(u64),
    Close(u64),
    LetGo(LoanId),
    Publish,
    WindForThreads,
    Ring,
    Unwind,
    SendBell,
    Rest,
}

pub(crate) struct Worker {
    page: WorkerPage<Memory>,
    threads: usize,
    steps: VecDeque<Step>,
    /// Waits in epoll.
    pub(crate) is_asleep: bool,
    now: Nanos,
    rings_at: Nanos,
    sessions: BTreeMap<u64, Session>,
    next_key: u64,
    unclaimed: VecDeque<u64>,
    /// What its epoll has to report: sessions, and the channel.
    pub(crate) edges: BTreeSet<u64>,
    pub(crate) is_told: bool,
    intake_has_more: bool,
    hands_over: bool,
    gave: bool,
    lent: u32,
    open: u32,
    /// The most that has waited here since it last asked itself whether to ring.
    pub(crate) load_at_ring: u32,
    /// It was stuck with a handler since then, and has not said that it goes on.
    pub(crate) was_stuck: bool,
    running: Vec<(u64, Nanos)>,
    jobs: VecDeque<u64>,
    outcomes: VecDeque<u64>,
    all_busy_since: Nanos,
    /// It does not run: stopped, or without a processor.
    pub(crate) held: bool,
    pub(crate) held_events: Vec<Event>,
    pub(crate) is_dead: bool,
}

impl Worker {
    pub(crate) fn new(memory: Memory, threads: u16) -> Self {
        Worker {
            page: WorkerPage::attach(memory).expect("a page"),
            threads: usize::from(threads),
            steps: VecDeque::new(),
            is_asleep: false,
            now: Nanos(0),
            rings_at: Nanos(0),
            sessions: BTreeMap::new(),
            next_key: 0,
            unclaimed: VecDeque::new(),
            edges: BTreeSet::new(),
            is_told: false,
            intake_has_more: false,
            hands_over: false,
            gave: false,
            lent: 0,
            open: 0,
            load_at_ring: 0,
            was_stuck: false,
            running: Vec::new(),
            jobs: VecDeque::new(),
            outcomes: VecDeque::new(),
            all_busy_since: Nanos(0),
            held: false,
            held_events: Vec::new(),
            is_dead: false,
        }
    }

    /// These come next, in this order, before what was to come.
    fn next(&mut self, steps: impl DoubleEndedIterator<Item = Step>) {
        for step in steps.rev() {
            self.steps.push_front(step);
        }
    }

    fn has_free_thread(&self) -> bool {
        self.running.len() < self.threads
    }

    fn may_claim(&self) -> bool {
        self.threads == 0 || self.has_free_thread()
    }

    fn stage_of(&mut self, key: u64, stage: Stage) -> LoanId {
        let session = self.sessions.get_mut(&key).expect("it is here");
        session.stage = stage;
        session.loan
    }

    /// Between two turns its own books are right.
    fn check_books(&self, place: usize) {
        let is_lent = |one: &&Session| one.stage == Stage::Waiting(LoanState::Lent);
        let lent = self.sessions.values().filter(is_lent).count();
        assert_eq!(self.lent as usize, lent, "worker {place} counts what is lent to it");
        assert_eq!(self.open as usize, self.sessions.len(), "and what it holds");
    }

    fn forget_unclaimed(&mut self, from: LoanState) {
        if from == LoanState::Lent {
            self.lent = self.lent.saturating_sub(1);
        }
    }
}

impl World {
    pub(crate) fn worker_starts(&mut self, place: usize) {
        self.workers[place].steps.push_back(Step::Rest);
        self.send_to_master(place, ToMaster::Ready);
        self.after(0, Event::Worker(place));
    }

    /// Its epoll has something for it.
    pub(crate) fn wake_worker(&mut self, place: usize) {
        let worker = &mut self.workers[place];
        if !worker.is_dead && std::mem::take(&mut worker.is_asleep) {
            worker.steps.push_back(Step::Poll);
            let latency = self.random.u64(..10 * MICROSECOND);
            self.after(latency, Event::Worker(place));
        }
    }

    /// The process is gone, with its copies and registrations.
    pub(crate) fn worker_dies(&mut self, place: usize) {
        let worker = &mut self.workers[place];
        worker.is_dead = true;
        worker.steps.clear();
        worker.held_events.clear();
        for connection in &mut self.connections {
            connection.registrations.retain(|(at, _)| *at != place);
            if connection.reader == Some(place) {
                connection.reader = None;
            }
        }
        self.members[place].changes.push_back(Change::Ended);
        self.report(Source::Process(place));
    }

    pub(crate) fn thread_is_done(&mut self, place: usize, key: u64) {
        let worker = &mut self.workers[place];
        if !worker.is_dead {
            worker.outcomes.push_back(key);
            self.wake_worker(place);
        }
    }

    pub(crate) fn worker_steps(&mut self, place: usize) {
        let Some(step) = self.workers[place].steps.pop_front() else { return };
        let mut pause = self.random.u64(..MICROSECOND);
        if let Step::Handle(key) = step {
            pause += self.handle(place, key);
        } else {
            self.take_step(place, step);
        }
        if !self.workers[place].steps.is_empty() {
            self.after(pause, Event::Worker(place));
        }
    }

    fn take_step(&mut self, place: usize, step: Step) {
        let clock = self.clock;
        let worker = &mut self.workers[place];
        match step {
            Step::Poll => self.poll(place),
            Step::ReadClock => worker.now = clock,
            Step::Stamp => {
                worker.page.turn_entered(worker.now);
                if worker.may_claim() {
                    let since = worker.now;
                    self.wind_alarm(place, since);
                }
            }
            Step::Edge(key) => {
                let Some(session) = worker.sessions.get_mut(&key) else { return };
                match session.stage {
                    Stage::Waiting(_) if session.is_queued => {}
                    Stage::Waiting(_) => {
                        session.is_queued = true;
                        worker.unclaimed.push_back(key);
                    }
                    Stage::Reading | Stage::Handling | Stage::Answering => session.unread = true,
                }
            }
            Step::Hear => self.hear(place),
            Step::Outcomes => self.outcome(place),
            Step::ClaimAll => {
                let count = worker.unclaimed.len();
                worker.next([Step::Claims(count)].into_iter());
            }
            Step::Claims(left) => {
                if left > 0
                    && worker.may_claim()
                    && let Some(key) = worker.unclaimed.pop_front()
                {
                    worker.next([Step::Claim(key), Step::Claims(left - 1)].into_iter());
                    if worker.gave && worker.threads == 0 {
                        worker.next([Step::Ring].into_iter());
                    }
                }
            }
            Step::Claim(key) => self.claim(place, key),
            Step::Read(key) => self.read(place, key),
            Step::Handle(_) => unreachable!("it takes its time"),
            Step::Handled(key, began) => {
                worker.page.add_service(worker.now.since(began));
                worker.was_stuck |= worker.now.since(began) > STALL;
                worker.next([Step::Answer(key)].into_iter());
            }
            Step::Answer(key) => {
                let loan = worker.stage_of(key, Stage::Answering);
                worker.page.answering(loan);
                worker.next([Step::Leave(key), Step::Answered(key)].into_iter());
            }
            Step::Leave(key) => {
                let connection = worker.sessions[&key].connection;
                self.client_hears(connection);
            }
            Step::Answered(key) => self.after_answer(place, key),
            Step::GoIdle(key) => {
                let loan = worker.stage_of(key, Stage::Waiting(LoanState::Idle));
                self.connections[worker.sessions[&key].connection].reader = None;
                worker.page.idle(loan, &Terms::new(Nanos::NEVER));
                let always = self.plan.mode == maitred::config::Rebalance::Always;
                let gives = worker.hands_over || always;
                worker.next([if gives { Step::Give(key) } else { Step::Watch(key) }].into_iter());
            }
            Step::Watch(key) => self.watch_session(place, key),
            Step::Give(key) => {
                let Some(session) = worker.sessions.get_mut(&key) else { return };
                let Stage::Waiting(from) = session.stage else { return };
                let (loan, connection) = (session.loan, session.connection);
                session.stage = Stage::Waiting(LoanState::Idle);
                worker.forget_unclaimed(from);
                worker.gave = true;
                worker.page.give(loan, from);
                worker.next([Step::Close(key)].into_iter());
                self.tell(|| format!("worker {place} gives {connection}"));
            }
            Step::End(key) => {
                let session = &worker.sessions[&key];
                let state = match session.stage {
                    Stage::Answering => LoanState::Answering,
                    Stage::Reading | Stage::Handling | Stage::Waiting(_) => LoanState::Active,
                };
                let connection = &mut self.connections[session.connection];
                (connection.over, connection.reader) = (true, None);
                worker.page.end(session.loan, state);
                worker.next([Step::Close(key)].into_iter());
            }
            Step::Close(key) => {
                let Some(session) = worker.sessions.remove(&key) else { return };
                if let Stage::Waiting(from) = session.stage {
                    worker.forget_unclaimed(from);
                }
                worker.edges.remove(&key);
                let connection = &mut self.connections[session.connection];
                connection.registrations.retain(|one| *one != (place, key));
                worker.next([Step::LetGo(session.loan)].into_iter());
            }
            Step::LetGo(loan) => {
                worker.open -= 1;
                worker.page.let_go(loan);
            }
            Step::Publish => {
                if worker.threads > 0 {
                    let oldest = worker.running.iter().map(|(_, began)| *began).min();
                    worker.page.publish_threads(
                        worker.jobs.len() as u32,
                        worker.running.len() as u32,
                        worker.all_busy_since,
                        oldest.unwrap_or(Nanos(0)),
                    );
                    worker.next([Step::WindForThreads].into_iter());
                }
            }
            Step::WindForThreads => {
                if !worker.has_free_thread() {
                    let since = worker.all_busy_since;
                    self.wind_alarm(place, since);
                }
            }
            Step::Ring => {
                let gave = std::mem::take(&mut worker.gave);
                let load = worker.lent + (worker.jobs.len() + worker.running.len()) as u32;
                (worker.load_at_ring, worker.was_stuck) = (load, false);
                if worker.page.bell_due(load, gave) {
                    worker.next([Step::SendBell].into_iter());
                }
            }
            Step::Unwind => {
                worker.rings_at = Nanos(0);
                self.members[place].alarm = None;
                self.master.events.retain(|source| *source != Source::Alarm(place));
            }
            Step::SendBell => self.send_to_master(place, ToMaster::Bell),
            Step::Rest => {
                if worker.hands_over && worker.sessions.is_empty() {
                    self.tell(|| format!("worker {place} leaves"));
                    self.worker_dies(place);
                } else {
                    worker.page.turn_left();
                    // Who waits for an idle worker must not find the turn that it has left.
                    worker.next([Step::Ring, Step::Poll].into_iter());
                }
            }
        }
    }

    /// What epoll reports, and the turn that follows from it; or sleep.
    fn poll(&mut self, place: usize) {
        let worker = &mut self.workers[place];
        let can_go_on = worker.intake_has_more
            || (!worker.unclaimed.is_empty() && worker.may_claim())
            || !worker.outcomes.is_empty();
        if !can_go_on && worker.edges.is_empty() && !worker.is_told {
            if worker.may_claim() && worker.rings_at > worker.now {
                // Nothing at once: the alarm is unwound before the loop waits.
                worker.next([Step::Unwind, Step::Poll].into_iter());
                return;
            }
            worker.is_asleep = true;
            worker.check_books(place);
            return;
        }
        let told = std::mem::take(&mut worker.is_told) | worker.intake_has_more;
        worker.intake_has_more = false;
        let edges = std::mem::take(&mut worker.edges);
        worker.next([Step::ReadClock, Step::Stamp].into_iter());
        worker.steps.extend(edges.into_iter().map(Step::Edge));
        worker.steps.extend(told.then_some(Step::Hear));
        worker.steps.extend([Step::Outcomes, Step::ClaimAll, Step::Publish]);
        worker.steps.extend((worker.threads > 0).then_some(Step::Ring));
        worker.steps.push_back(Step::Rest);
    }

    /// The next of the master's frames.
    fn hear(&mut self, place: usize) {
        let Some(frame) = self.members[place].to_worker.pop_front() else { return };
        let worker = &mut self.workers[place];
        match frame {
            Frame::Lend(loans) => {
                worker.next([Step::Hear].into_iter());
                for (loan, connection) in loans {
                    let key = worker.next_key;
                    worker.next_key += 1;
                    let stage = Stage::Waiting(LoanState::Lent);
                    let (carried, unread, is_watched) = (0, false, false);
                    let session = Session {
                        loan,
                        connection,
                        stage,
                        carried,
                        is_queued: true,
                        unread,
                        is_watched,
                    };
                    worker.sessions.insert(key, session);
                    worker.lent += 1;
                    worker.open += 1;
                    worker.load_at_ring = worker.load_at_ring.max(worker.lent);
                    worker.unclaimed.push_back(key);
                }
            }
            Frame::Recall(loans) => {
                worker.next([Step::Hear].into_iter());
                for loan in loans {
                    let recalled = worker.sessions.iter().find(|(_, one)| one.loan == loan);
                    if let Some((key, Session { stage: Stage::Waiting(_), .. })) = recalled {
                        let key = *key;
                        worker.next([Step::Close(key)].into_iter());
                    }
                }
            }
            Frame::Drain => {
                worker.intake_has_more = true;
                worker.hands_over = true;
                let keys: Vec<_> = worker.sessions.keys().copied().map(Step::Give).collect();
                worker.next(keys.into_iter());
            }
        }
    }

    fn outcome(&mut self, place: usize) {
        let now = self.workers[place].now;
        let worker = &mut self.workers[place];
        let Some(key) = worker.outcomes.pop_front() else { return };
        let began = worker.running.iter().find(|(running, _)| *running == key).map(|one| one.1);
        worker.running.retain(|(running, _)| *running != key);
        worker.all_busy_since = Nanos(0);
        if let Some(job) = worker.jobs.pop_front() {
            self.begin(place, job);
        }
        let worker = &mut self.workers[place];
        worker.page.add_service(now.since(began.unwrap_or(now)));
        worker.next([Step::Answer(key), Step::Outcomes].into_iter());
    }

    fn claim(&mut self, place: usize, key: u64) {
        let worker = &mut self.workers[place];
        let Some(session) = worker.sessions.get_mut(&key) else { return };
        let Stage::Waiting(from) = session.stage else { return };
        let (loan, number) = (session.loan, session.connection);
        worker.forget_unclaimed(from);
        if worker.threads > 0 {
            worker.page.about_to_queue(worker.jobs.len() as u32, worker.running.len() as u32);
        }
        if !worker.page.claim(loan, from) {
            worker.stage_of(key, Stage::Waiting(LoanState::Idle));
            worker.next([Step::Close(key)].into_iter());
            return;
        }
        let session = worker.sessions.get_mut(&key).expect("it is here");
        session.stage = Stage::Reading;
        (session.unread, session.is_queued) = (false, false);
        let connection = &mut self.connections[number];
        assert_eq!(connection.reader, None, "two read connection {number}");
        assert!(!connection.over, "connection {number} is over");
        connection.reader = Some(place);
        worker.next([Step::Read(key)].into_iter());
        self.tell(|| format!("worker {place} claims {number}, which was {from:?}"));
    }

    fn read(&mut self, place: usize, key: u64) {
        let worker = &mut self.workers[place];
        let session = worker.sessions.get_mut(&key).expect("it is here");
        session.unread = false;
        let connection = &mut self.connections[session.connection];
        let count = connection.unread();
        if count > 0 {
            connection.taken += count;
            session.carried += count;
            let next = session.stage == Stage::Answering;
            if next {
                worker.page.active_again(session.loan);
            }
            worker.next([Step::Handle(key)].into_iter());
        } else if connection.closed {
            worker.next([Step::End(key)].into_iter());
        } else if session.stage == Stage::Answering {
            worker.next([Step::GoIdle(key)].into_iter());
        } else {
            connection.reader = None;
            worker.page.claim_was_empty(session.loan, &Terms::new(Nanos::NEVER));
            session.stage = Stage::Waiting(LoanState::Idle);
            worker.next([Step::Watch(key)].into_iter());
        }
    }

    /// Calls the handler on the loop, or has a thread do it. Returns how long the loop is busy.
    fn handle(&mut self, place: usize, key: u64) -> u64 {
        if self.workers[place].threads == 0 {
            let since = self.workers[place].now;
            self.wind_alarm(place, since);
        }
        let worker = &mut self.workers[place];
        let session = worker.sessions.get_mut(&key).expect("it is here");
        session.carried -= 1;
        session.stage = Stage::Handling;
        if worker.threads > 0 {
            if worker.has_free_thread() {
                self.begin(place, key);
            } else {
                worker.jobs.push_back(key);
            }
            return 0;
        }
        let began = worker.now;
        worker.next([Step::ReadClock, Step::Stamp, Step::Handled(key, began)].into_iter());
        self.some_service()
    }

    fn begin(&mut self, place: usize, key: u64) {
        let worker = &mut self.workers[place];
        worker.running.push((key, worker.now));
        if worker.running.len() == worker.threads {
            worker.all_busy_since = worker.now;
        }
        let service = self.some_service();
        self.after(service, Event::Thread(place, key));
    }

    fn some_service(&mut self) -> u64 {
        match self.random.u8(..20) {
            0..=11 => self.random.u64(..300 * MICROSECOND),
            12..=16 => self.random.u64(..3 * MILLISECOND),
            17..=18 => self.random.u64(..12 * MILLISECOND),
            _ => self.random.u64(..80 * MILLISECOND),
        }
    }

    fn after_answer(&mut self, place: usize, key: u64) {
        let worker = &mut self.workers[place];
        let session = &worker.sessions[&key];
        if session.carried > 0 {
            worker.page.active_again(session.loan);
            worker.next([Step::Handle(key)].into_iter());
        } else if worker.threads > 0 && session.unread {
            worker.next([Step::Read(key)].into_iter());
        } else {
            // On the loop this is within a read, which was short: it does not read again.
            worker.next([Step::GoIdle(key)].into_iter());
        }
    }

    fn watch_session(&mut self, place: usize, key: u64) {
        let worker = &mut self.workers[place];
        let session = worker.sessions.get_mut(&key).expect("it is here");
        if !std::mem::replace(&mut session.is_watched, true) {
            let connection = &mut self.connections[session.connection];
            connection.registrations.push((place, key));
            if connection.is_readable() {
                worker.edges.insert(key);
            }
        }
    }

    /// As `shell` and `alarm` do it.
    fn wind_alarm(&mut self, place: usize, since: Nanos) {
        let worker = &mut self.workers[place];
        if worker.open <= 1 || !self.plan.alarms {
            return;
        }
        let Some(stall_after) = worker.page.alarm_wanted() else { return };
        if worker.rings_at >= since + stall_after / 2 {
            return;
        }
        worker.rings_at = first_look(since, stall_after);
        let at = worker.rings_at;
        self.members[place].alarm = Some(at);
        // Winding it anew forgets a ring that nobody has seen.
        self.master.events.retain(|source| *source != Source::Alarm(place));
        self.at(at.max(self.clock), Event::Alarm(place, at));
    }
}
