//! The world that `protocol_exploration` explores: a master, its workers, the channels between them
//! and the clients, with every step that one of them may take next.
//!
//! The master consists of the real `Dispatcher` and the real `MasterPage`s, a worker of the real
//! `WorkerPage`; what goes through a channel are the bytes of real frames. What the kernel does, and
//! the two shells that run on it (`src/master`, `src/worker`), are modelled here.
//!
//! Not here: which steps are taken in which order (`search`), what must hold (`checks`).

pub(crate) mod checks;
pub(crate) mod clients;
pub(crate) mod deciding;
pub(crate) mod master;
pub(crate) mod search;
pub(crate) mod upgrade;
pub(crate) mod worker;

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use maitred::board::Words;
use maitred::config::Rebalance;
use maitred::dispatch::Dispatcher;
use maitred::ident::Slot;
use maitred::time::Nanos;

use clients::Connection;
use deciding::{Item, Round};
use master::{Member, Piece, Stage};
use worker::{Deed, Worker};

/// What time it is when a run begins. Zero means "not at all" in a page.
const BEGIN: Nanos = Nanos(1_000_000_000);

/// When time passes, so much passes that whatever was begun before has lasted too long: it is more
/// than `STALL`, and than `RESCUE_PATIENCE`.
const JUMP: Duration = Duration::from_millis(60);

pub(crate) const STALL: Duration = Duration::from_millis(1);

/// Workers at the beginning.
pub(crate) const SLOTS: u16 = 2;

/// A page whose words stay out of what identifies a state: `World::key` lists those that matter.
pub(crate) struct Memory(pub(crate) Vec<AtomicU64>);

impl Words for Memory {
    fn words(&self) -> &[AtomicU64] {
        &self.0
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("page")
    }
}

pub(crate) type Page = Arc<Memory>;

/// How much may happen in one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Requests of each connection.
    pub(crate) requests: &'static [u8],
    /// Pieces in which a request arrives.
    pub(crate) pieces: u8,
    /// Places of a page.
    pub(crate) places: u32,
    /// Packets that a channel takes in each direction before it is full.
    pub(crate) channel_max: usize,
    /// Handler threads of every worker; 0 for handlers on the loop.
    pub(crate) threads: u16,
    pub(crate) credit: Option<u16>,
    pub(crate) rebalance: Rebalance,
    /// The end of a connection: nobody ends it, its client does, or its last request says so.
    pub(crate) end: End,
    pub(crate) faults: Faults,
    /// Steps of one run.
    pub(crate) depth: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Never,
    /// The client sends its end behind its last request.
    Client,
    /// The last request says `Connection: close`.
    Request,
}

/// How often something may still happen that nobody wishes for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// A worker dies.
    pub(crate) crashes: u8,
    /// A packet arrives without its descriptors.
    pub(crate) truncations: u8,
    /// A worker is replaced (HUP).
    pub(crate) reloads: u8,
    /// The master is replaced (USR2).
    pub(crate) upgrades: u8,
    /// Time passes: whoever is at something is stuck with it.
    pub(crate) jumps: u8,
}

/// One step of one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Send(usize),
    Close(usize),
    Master(Piece),
    Worker(usize, Deed),
    Crash(usize),
    Reload(usize),
    Upgrade,
    Jump,
}

pub(crate) struct World {
    pub(crate) bounds: Bounds,
    pub(crate) faults: Faults,
    pub(crate) now: Nanos,
    pub(crate) dispatcher: Dispatcher,
    /// A worker and the master's record of it have the same place, which is never used again.
    pub(crate) members: Vec<Member>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) connections: Vec<Connection>,
    /// The kernel's queue.
    pub(crate) backlog: VecDeque<usize>,
    /// What the master is to do next, before it does anything else.
    pub(crate) items: VecDeque<Item>,
    pub(crate) round: Round,
    /// Something has happened since the master last decided: its turn is not over.
    pub(crate) turn_open: bool,
    /// Where the policy's rotation stands.
    pub(crate) last_lent: Option<Slot>,
    /// The master is gone for good.
    pub(crate) master_gone: bool,
}

impl World {
    pub(crate) fn new(bounds: Bounds) -> Self {
        let mut world = World {
            bounds,
            faults: bounds.faults,
            now: BEGIN,
            dispatcher: master::dispatcher(&bounds),
            members: Vec::new(),
            workers: Vec::new(),
            connections: bounds.requests.iter().map(|_| Connection::new()).collect(),
            backlog: (0..bounds.requests.len()).collect(),
            items: VecDeque::new(),
            round: Round::default(),
            turn_open: false,
            last_lent: None,
            master_gone: false,
        };
        world.dispatcher.handle_time(world.now);
        for slot in 0..SLOTS {
            // The server is up: what comes with the start of a worker is explored where one is
            // replaced.
            world.start_worker(Slot(slot));
            world.workers[usize::from(slot)].is_ready = true;
            world.start_lending_to(usize::from(slot));
        }
        world
    }

    /// Every step that may come next.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let mut steps = self.clients_steps();
        steps.extend(self.masters_steps().into_iter().map(Step::Master));
        for place in 0..self.workers.len() {
            let deeds = self.workers_steps(place).into_iter();
            steps.extend(deeds.map(|deed| Step::Worker(place, deed)));
        }
        self.add_faults(&mut steps);
        steps
    }

    fn add_faults(&self, steps: &mut Vec<Step>) {
        let between_turns = self.items.is_empty() && !self.turn_open;
        for (place, member) in self.members.iter().enumerate() {
            let is_alive = !self.workers[place].is_dead;
            if self.faults.crashes > 0 && is_alive {
                steps.push(Step::Crash(place));
            }
            if self.faults.truncations > 0 && is_alive && self.next_is_lend(place) {
                steps.push(Step::Worker(place, Deed::ReceiveTruncated));
            }
            if self.faults.reloads > 0 && member.stage == Stage::Serving && self.items.is_empty() {
                steps.push(Step::Reload(place));
            }
        }
        let drains = self.members.iter().any(|member| member.to_drain);
        if self.faults.upgrades > 0 && between_turns && !drains {
            steps.push(Step::Upgrade);
        }
        if self.faults.jumps > 0 && self.items.is_empty() {
            steps.push(Step::Jump);
        }
    }

    pub(crate) fn take(&mut self, step: Step) {
        match step {
            Step::Send(number) => self.connections[number].sent += 1,
            Step::Close(number) => self.connections[number].closed = true,
            Step::Master(piece) => self.master_does(piece),
            Step::Worker(place, deed) => self.worker_does(place, deed),
            Step::Crash(place) => {
                self.faults.crashes -= 1;
                self.worker_dies(place);
            }
            Step::Reload(place) => {
                self.faults.reloads -= 1;
                self.turn_open = true;
                self.start_worker(self.members[place].slot);
            }
            Step::Upgrade => {
                self.faults.upgrades -= 1;
                self.upgrade();
            }
            Step::Jump => {
                self.faults.jumps -= 1;
                self.now = self.now + JUMP;
            }
        }
    }

    /// A number that tells states apart: the books of both sides, claim words, rings, channels, and
    /// what really happened. Two states that differ only in load counters, or in whose turn it is
    /// where the dispatcher alternates between its queues, count as one.
    pub(crate) fn key(&self) -> u64 {
        let mut hash = Hash(DefaultHasher::new());
        // Writing into a hash cannot fail.
        let _ = write!(
            hash,
            "{:?}{:?}{:?}{:?}{:?}{:?}{:?}{}",
            self.faults,
            self.connections,
            self.backlog,
            self.items,
            self.round,
            self.last_lent,
            self.dispatcher.waiting().collect::<Vec<_>>(),
            self.turn_open,
        );
        for (place, member) in self.members.iter().enumerate() {
            if member.stage != Stage::Gone {
                self.write_member(&mut hash, place);
            }
        }
        hash.0.finish()
    }

    fn write_member(&self, hash: &mut Hash, place: usize) {
        let (member, worker) = (&self.members[place], &self.workers[place]);
        let _ = write!(hash, "{place}{member:?}{worker:?}{:?}", worker.memory_key(&self.bounds));
        if member.stage != Stage::Serving {
            return;
        }
        let Some(candidate) = self.dispatcher.candidate(member.slot) else { return };
        if self.items.is_empty() {
            // The rest is looked at anew before it is next used.
            let text = format!("{candidate:?}");
            for field in ["idle_readable: ", "idle_unlooked: ", "stuck_since: ", "hopeless: "] {
                let value = text.split(field).nth(1).and_then(|rest| rest.split(", ").next());
                let _ = write!(hash, "{value:?}");
            }
        } else {
            let _ = write!(hash, "{candidate:?}");
        }
    }
}

struct Hash(DefaultHasher);

impl Write for Hash {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}
