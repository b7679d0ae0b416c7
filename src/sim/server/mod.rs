//! One server in virtual time: its connections, its workers, and its master around the real
//! dispatcher and the real supervisor.
//!
//! ```text
//! connect, send, hang up ─► kernel's queue ─► master's turn ─► dispatcher (real) ─► loans ─► workers
//!                                 │            supervisor (real) ─► starts, drains, kills ─►  │
//!                                 └── the kernel's arms: no master ──────────────────────►    ▼
//!                                                                                          answers
//! ```
//!
//! The master here does in its turn what `crate::master` does in its own, in the same order, by the
//! same calls of the two machines. What is left out are bytes, descriptors and faults of the
//! system; and what many workers make slow without changing it (see `looking`).
//!
//! | file | what |
//! |---|---|
//! | `connections` | connections and where they are |
//! | `members` | worker processes |
//! | `master` | wake-ups, the turn, and the rest after it |
//! | `looking` | which pages are read in a turn |
//! | `seating` | lending, recalls, rescues, parking |
//! | `passed_over` | for how many turns who waits has been passed over |
//! | `lives` | starts, drains, deaths |
//! | `worker` | what a worker does next |
//! | `kernel` | arms in which workers accept |
//! | `node` | what a fleet is told |
//! | `checks` | what always holds |
//!
//! Not here: clients (`sim::clients`, `sim::flow`), several servers (`sim::cluster`).

mod checks;
mod connections;
mod kernel;
mod lives;
mod looking;
mod master;
mod members;
mod node;
mod passed_over;
mod seating;
mod worker;

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::{Arm, Balance, Lifecycle, Rebalance, RecycleLimits};
use crate::dispatch::{DispatchSettings, Dispatcher};
use crate::ident::{ConnectionId, Slot};
use crate::sim::agenda::Agenda;
use crate::sim::costs::Costs;
use crate::sim::server::connections::{Connections, Place};
use crate::sim::server::kernel::Kernel;
use crate::sim::server::master::Master;
use crate::sim::server::members::Member;
use crate::supervise::recycling::Recycling;
use crate::supervise::{SuperviseSettings, Supervisor};
use crate::time::Nanos;

pub use kernel::Herd;

/// More workers than this, and the master does not look at pages that cannot have changed
/// (`looking`).
pub const LOOKED_AT_ALWAYS_MAX: usize = 8;

/// What a server is told to be.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Who accepts.
    pub arm: Arm,
    /// In the kernel's arms: workers accept also while none of their threads is free.
    pub eager: bool,
    /// Worker processes.
    pub workers: u16,
    /// Handler threads of each; 0 for handlers on the loop.
    pub threads: u16,
    /// How fast each slot is, 1 where nothing is said.
    pub speeds: Vec<f64>,
    /// The policy.
    pub balance: Balance,
    /// Of the weighted policy.
    pub weights: Vec<u32>,
    /// Whether idle loans move.
    pub rebalance: Rebalance,
    /// `--credit`.
    pub credit: Option<u16>,
    /// `--stall-after`.
    pub stall_after: Duration,
    /// `--report-age`.
    pub report_age: Option<Duration>,
    /// `--queue-timeout`.
    pub queue_timeout: Option<Duration>,
    /// `--max-queue`.
    pub max_queue: Option<u32>,
    /// Deadlines of workers.
    pub lifecycle: Lifecycle,
    /// `--max-requests` and its like.
    pub recycle: RecycleLimits,
    /// The master looks at every page in every turn, however many workers there are: slower, and the
    /// same (`looking`).
    pub looks_at_all: bool,
    /// Packets that a channel takes until its worker hears them.
    pub channel_max: u32,
    /// What everything beside the work takes.
    pub costs: Costs,
    /// Who of those that sleep accepts, with [`Arm::Shared`].
    pub herd: Herd,
    /// Decides policies, hashes and jitter.
    pub seed: u64,
}

impl Default for Setup {
    fn default() -> Self {
        let settings = crate::config::Settings::default();
        Setup {
            arm: Arm::Master,
            eager: false,
            workers: 4,
            threads: 1,
            speeds: Vec::new(),
            balance: settings.balance,
            weights: Vec::new(),
            rebalance: settings.rebalance,
            credit: None,
            stall_after: settings.stall_after,
            report_age: None,
            queue_timeout: None,
            max_queue: None,
            lifecycle: settings.lifecycle,
            recycle: settings.recycle,
            looks_at_all: false,
            channel_max: 200,
            costs: Costs::NONE,
            herd: Herd::EVEN,
            seed: 1,
        }
    }
}

/// What a client asks for on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Work on it, at the usual speed.
    pub service_ns: u64,
    /// The work is a wait for somebody else: it does not stand still with a stopped process.
    pub sleeps: bool,
    /// `Connection: close`.
    pub is_last: bool,
}

/// What becomes of a connection's request, or of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whose.
    pub connection: ConnectionId,
    /// What.
    pub kind: AnswerKind,
}

/// How a request or a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerKind {
    /// Answered well by the worker in this slot; the connection goes on unless it was the last.
    Good(Slot),
    /// Its worker has died while it answered, or before anybody had read it in an arm in which
    /// nobody else can: the connection is over.
    Died,
    /// Turned away with a 503.
    Shed,
    /// The server has closed an idle connection: its worker is gone.
    Closed,
}

/// Something that happens to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The master runs.
    Master,
    /// The master's sleep is over at the latest.
    Timeout,
    /// The master's alarm.
    Look,
    /// A worker's alarm.
    Alarm(u32),
    /// A worker's loop runs.
    Worker(u32),
    /// The work on a connection's request is done, if nothing has stopped it.
    Done(u32, u32),
    /// A worker process is Ready.
    Ready(u32),
}

/// What the agenda holds: of a server, or of whoever drives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// Of the server with this number.
    Server(u16, Event),
    /// Two numbers that mean something to the driver.
    Driver(u32, u32),
}

/// How often what has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that have arrived.
    pub arrived: u64,
    /// Of those, how many are over.
    pub over: u64,
    /// Requests.
    pub asked: u64,
    /// Of those, how many had a good answer.
    pub answered: u64,
    /// How many died with a worker.
    pub died: u64,
    /// How many were turned away.
    pub shed: u64,
    /// Loans.
    pub lent: u64,
    /// Taken back unread.
    pub recalled: u64,
    /// Idle loans taken back with a request in them.
    pub rescued: u64,
    /// Given back by workers.
    pub given: u64,
    /// Turns of the master.
    pub turns: u64,
    /// Processes started.
    pub starts: u64,
    /// Reports that were not what the worker said.
    pub forged: u64,
}

/// One server.
pub struct Server {
    node: u16,
    setup: Setup,
    connections: Connections,
    members: Vec<Member>,
    /// Places of members that are gone.
    members_free: Vec<u32>,
    /// By slot: who serves it.
    serving: Vec<Option<u32>>,
    serving_count: usize,
    master: Master,
    kernel: Kernel,
    dispatcher: Dispatcher,
    supervisor: Supervisor,
    recycling: Option<Recycling>,
    rng: fastrand::Rng,
    answers: VecDeque<Answer>,
    counts: Counts,
    /// Loans that are out.
    on_loan: u64,
    /// So many of a thousand looks at workers are forged, late or old.
    forging: u16,
}

impl Server {
    /// A server that has started nothing. `node` is its number in the agenda.
    pub fn new(setup: Setup, node: u16, now: Nanos) -> Self {
        let mut rng = fastrand::Rng::with_seed(setup.seed ^ 0x5e21_1e55);
        let (dispatch_seed, supervise_seed, recycle_seed) = (rng.u64(..), rng.u64(..), rng.u64(..));
        let mut dispatcher = Dispatcher::new(&DispatchSettings {
            balance: setup.balance,
            weights: setup.weights.clone(),
            rebalance: setup.rebalance,
            stall_after: setup.stall_after,
            credit: setup.credit,
            queue_timeout: setup.queue_timeout,
            max_queue: setup.max_queue,
            seed: dispatch_seed,
        });
        if setup.report_age.is_some() {
            dispatcher.rank_by_looks_alone();
        }
        let supervisor = Supervisor::new(SuperviseSettings {
            workers: setup.workers,
            lifecycle: setup.lifecycle,
            seed: supervise_seed,
        });
        Server {
            node,
            connections: Connections::default(),
            members: Vec::new(),
            members_free: Vec::new(),
            serving: vec![None; usize::from(setup.workers)],
            serving_count: 0,
            master: Master::new(now),
            kernel: Kernel::new(setup.workers),
            dispatcher,
            supervisor,
            recycling: Recycling::new(setup.recycle, recycle_seed, now),
            rng,
            answers: VecDeque::new(),
            counts: Counts::default(),
            on_loan: 0,
            forging: 0,
            setup,
        }
    }

    /// Starts its workers.
    pub fn start(&mut self, agenda: &mut Agenda<Happening>) {
        self.shuffle_herd();
        self.supervisor.start(agenda.now());
        self.supervise(agenda);
        self.rest(agenda);
    }

    /// A connection reaches the kernel's queue, with its first request in it: acceptance is
    /// deferred until then. `affinity` stands for the client's address.
    pub fn connect(
        &mut self,
        agenda: &mut Agenda<Happening>,
        ask: Ask,
        affinity: u64,
    ) -> ConnectionId {
        self.counts.arrived += 1;
        self.counts.asked += 1;
        let number = self.connections.insert(ask, affinity, agenda.now());
        if self.lends() {
            self.master.queue.push_back(number);
            if self.master.is_listening {
                self.master.facts.listener = true;
                self.wake_master(agenda);
            }
        } else {
            self.arrive_at_workers(agenda, number);
        }
        ConnectionId(number)
    }

    /// The next request on a connection whose last one is answered.
    pub fn send(&mut self, agenda: &mut Agenda<Happening>, connection: ConnectionId, ask: Ask) {
        self.counts.asked += 1;
        self.connections.ask(connection.0, ask);
        self.becomes_readable(agenda, connection.0);
    }

    /// The client closes a connection on which nothing is asked. Nothing more is heard of it.
    pub fn hang_up(&mut self, agenda: &mut Agenda<Happening>, connection: ConnectionId) {
        self.connections.get_mut(connection.0).hung_up = true;
        self.becomes_readable(agenda, connection.0);
    }

    /// Something of this server happens.
    pub fn handle(&mut self, event: Event, agenda: &mut Agenda<Happening>) {
        match event {
            Event::Master => self.master_runs(agenda),
            Event::Timeout => self.master_times_out(agenda),
            Event::Look => self.look_rings(agenda),
            Event::Alarm(member) => self.alarm_rings(member, agenda),
            Event::Worker(member) => self.worker_runs(member, agenda),
            Event::Done(member, connection) => self.work_is_done(member, connection, agenda),
            Event::Ready(member) => self.worker_is_ready(member, agenda),
        }
    }

    /// The next thing that clients hear.
    pub fn poll_answer(&mut self) -> Option<Answer> {
        self.answers.pop_front()
    }

    /// How often what has happened.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Requests that are here: waiting or in service.
    pub fn load(&self) -> u64 {
        let counts = &self.counts;
        counts.asked - counts.answered - counts.died - counts.shed
    }

    /// Of the places for requests (workers × threads), how many are taken.
    pub fn busy(&self) -> u32 {
        self.members.iter().map(|member| u32::from(member.busy())).sum()
    }

    /// Time spent in requests that are over, by the workers that serve now.
    pub fn busy_ns(&self) -> u64 {
        let serving = self.serving.iter().flatten();
        serving.map(|place| self.members[*place as usize].busy_ns).sum()
    }

    /// How many requests each slot has, waiting or in service.
    pub fn queue_lengths(&self) -> impl Iterator<Item = u32> + '_ {
        self.serving.iter().map(|serving| {
            serving.map_or(0, |place| {
                let member = &self.members[place as usize];
                member.waiting + u32::from(member.busy())
            })
        })
    }

    /// Requests that each slot's present worker has begun.
    pub fn started(&self) -> impl Iterator<Item = u64> + '_ {
        self.serving
            .iter()
            .map(|serving| serving.map_or(0, |place| self.members[place as usize].started))
    }

    /// For how many turns of the master in a row others were seated, and none of the new ones, or of
    /// those that have come back, although they waited.
    pub fn passed_over(&self) -> (u32, u32) {
        self.master.passed_over.turns()
    }

    /// How many workers serve.
    pub fn serving_count(&self) -> usize {
        self.serving_count
    }

    /// So many of a thousand looks at workers see something else than what is there.
    pub fn forge(&mut self, per_mille: u16) {
        self.forging = per_mille;
    }

    /// The master accepts.
    fn lends(&self) -> bool {
        self.setup.arm == Arm::Master
    }

    /// Pages that cannot have changed are not looked at.
    fn spares_looks(&self) -> bool {
        let many = self.serving_count > LOOKED_AT_ALWAYS_MAX;
        many && self.forging == 0 && !self.setup.looks_at_all
    }

    fn later(&self, agenda: &mut Agenda<Happening>, at: Nanos, event: Event) {
        agenda.at(at, Happening::Server(self.node, event));
    }

    /// Bytes have come, or the end.
    fn becomes_readable(&mut self, agenda: &mut Agenda<Happening>, number: u32) {
        match self.connections.get(number).place {
            Place::Parked => {
                self.master.facts.parked.push(number);
                self.wake_master(agenda);
            }
            Place::Held(member) => self.readable_at_worker(member, number, agenda),
            // Whoever takes it from there looks.
            Place::Kernel | Place::Fresh | Place::Returned => {}
            Place::Over => {}
        }
    }

    /// A connection is over; what it had asked is answered, or lost for a reason that is told.
    fn end(&mut self, number: u32) {
        self.counts.over += 1;
        self.connections.remove(number);
    }

    fn answer(&mut self, number: u32, kind: AnswerKind) {
        match kind {
            AnswerKind::Good(_) => self.counts.answered += 1,
            AnswerKind::Died => self.counts.died += 1,
            AnswerKind::Shed => self.counts.shed += 1,
            AnswerKind::Closed => {}
        }
        self.answers.push_back(Answer { connection: ConnectionId(number), kind });
    }
}
