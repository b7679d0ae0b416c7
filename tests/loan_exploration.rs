//! Both sides of the claim words, explored: every order of their steps, with a death of the worker
//! after each one.
//!
//! It is the real `MasterPage` and `WorkerPage` that run here, on plain memory; the model around
//! them knows what really happened to every connection, and asks after each step:
//!
//! - may at most one side read a connection, and never the worker what the master has in hand?
//! - does the master believe every entry that an honest worker puts into the ring?
//! - if the worker died now: is whatever nobody has read served by somebody, is whatever was read
//!   never given to a second reader, and is each connection accounted for exactly once?
//!
//! One step is one call, so this explores the protocol; the orderings of memory inside the calls
//! are loom's (`src/board/loom.rs`). `SEEDS=100000` widens the random walks, `SEED=7` repeats one.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use maitred::board::{LetGoHow, MasterPage, Recall, Terms, Words, WorkerPage, page_bytes};
use maitred::ident::{ConnectionId, LoanId};
use maitred::loan::{LoanState, Settlement};
use maitred::time::Nanos;

const SEEDS_DEFAULT: u64 = 3000;
const STEPS: usize = 60;

/// A page whose words stay out of what identifies a state: the model lists those that matter.
struct Memory(Vec<AtomicU64>);

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

/// How much may happen in one run.
#[derive(Clone, Copy)]
struct Bounds {
    places: u32,
    connections: usize,
    requests: u8,
    lends: u8,
}

/// What really happened to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Truth {
    sent: u8,
    read: u8,
    answered: u8,
    /// The master has it and may do with it what it likes.
    in_hand: bool,
    over: bool,
}

/// A packet on its way to the worker.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ToWorker {
    Lend(LoanId, usize),
    Recall(LoanId),
}

/// What the worker does with one loan.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Session {
    loan: LoanId,
    connection: usize,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting(LoanState),
    /// Claimed; whether a request has been read.
    Active(bool),
    Answering,
    Pinned,
    /// It is not this worker's any more: the copy is to be closed.
    Dropping,
    /// The copy is closed: the id is to go into the ring.
    LettingGo,
}

/// One step of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Send(usize),
    Lend(usize),
    Recall(usize),
    Harvest,
    Deliver,
    Refuse,
    Claim(usize),
    Read(usize),
    Nothing(usize),
    Answer(usize),
    Idle(usize),
    Next(usize),
    Give(usize),
    Pin(usize),
    End(usize),
    Close(usize),
    LetGo(usize),
}

struct World {
    bounds: Bounds,
    memory: Arc<Memory>,
    master: MasterPage<Arc<Memory>>,
    worker: WorkerPage<Arc<Memory>>,
    truths: Vec<Truth>,
    sessions: Vec<Session>,
    packets: VecDeque<ToWorker>,
    lends_left: u8,
}

impl World {
    fn new(bounds: Bounds) -> Self {
        let words = page_bytes(bounds.places) / 8;
        let memory = Arc::new(Memory((0..words).map(|_| AtomicU64::new(0)).collect()));
        let master = MasterPage::new(Arc::clone(&memory), bounds.places).expect("long enough");
        let worker = WorkerPage::attach(Arc::clone(&memory)).expect("a page");
        let truth = Truth { sent: 0, read: 0, answered: 0, in_hand: true, over: false };
        World {
            bounds,
            memory,
            master,
            worker,
            truths: vec![truth; bounds.connections],
            sessions: Vec::new(),
            packets: VecDeque::new(),
            lends_left: bounds.lends,
        }
    }

    /// Everything that tells two states apart: the books of both sides, the claim words and the
    /// ring, and what really happened. Not the load report, whose counters only grow.
    fn key(&self) -> String {
        use std::sync::atomic::Ordering::Relaxed;
        let places = self.bounds.places as usize;
        let words: Vec<u64> =
            self.memory.0[32..40 + 2 * places].iter().map(|word| word.load(Relaxed)).collect();
        format!(
            "{:?} {:?} {words:?} {:?} {:?} {:?} {}",
            self.master, self.worker, self.truths, self.sessions, self.packets, self.lends_left
        )
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (number, truth) in self.truths.iter().enumerate() {
            if !truth.over && truth.sent < self.bounds.requests {
                steps.push(Step::Send(number));
            }
            if truth.in_hand && !truth.over && self.lends_left > 0 {
                steps.push(Step::Lend(number));
            }
        }
        for (place, _) in self.master.loans().enumerate() {
            steps.push(Step::Recall(place));
        }
        if self.master.ring_waits() {
            steps.push(Step::Harvest);
        }
        match self.packets.front() {
            Some(ToWorker::Lend(..)) => steps.extend([Step::Deliver, Step::Refuse]),
            Some(ToWorker::Recall(_)) => steps.push(Step::Deliver),
            None => {}
        }
        for (number, session) in self.sessions.iter().enumerate() {
            let truth = &self.truths[session.connection];
            match session.stage {
                Stage::Waiting(_) => steps.extend([Step::Claim(number), Step::Give(number)]),
                Stage::Active(false) if truth.sent > truth.read => {
                    steps.extend([Step::Read(number), Step::End(number)]);
                }
                Stage::Active(false) => steps.extend([Step::Nothing(number), Step::End(number)]),
                Stage::Active(true) => {
                    steps.extend([Step::Answer(number), Step::Pin(number), Step::End(number)]);
                }
                Stage::Answering if truth.sent > truth.read => {
                    steps.extend([Step::Next(number), Step::Idle(number), Step::End(number)]);
                }
                Stage::Answering => steps.extend([Step::Idle(number), Step::End(number)]),
                Stage::Pinned => steps.push(Step::End(number)),
                Stage::Dropping => steps.push(Step::Close(number)),
                Stage::LettingGo => steps.push(Step::LetGo(number)),
            }
        }
        steps
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Send(number) => self.truths[number].sent += 1,
            Step::Lend(number) => self.lend(number),
            Step::Recall(place) => self.recall(place),
            Step::Harvest => self.harvest(),
            Step::Deliver => self.deliver(),
            Step::Refuse => self.refuse(),
            Step::Claim(number) => self.claim(number),
            Step::Give(number) => {
                let Session { loan, stage: Stage::Waiting(from), .. } = self.sessions[number]
                else {
                    unreachable!("only what waits is given")
                };
                // Won or lost, the copy goes and the id follows.
                self.worker.give(loan, from);
                self.sessions[number].stage = Stage::Dropping;
            }
            Step::Read(number) => {
                let truth = &mut self.truths[self.sessions[number].connection];
                assert!(!truth.in_hand, "the worker reads what the master has in hand");
                truth.read += 1;
                self.sessions[number].stage = Stage::Active(true);
            }
            Step::Nothing(number) => {
                self.worker.claim_was_empty(self.sessions[number].loan, &Terms::new(Nanos(1)));
                self.sessions[number].stage = Stage::Waiting(LoanState::Idle);
            }
            Step::Answer(number) => {
                self.worker.answering(self.sessions[number].loan);
                self.sessions[number].stage = Stage::Answering;
            }
            Step::Next(number) => {
                let truth = &mut self.truths[self.sessions[number].connection];
                truth.answered += 1;
                truth.read += 1;
                self.worker.active_again(self.sessions[number].loan);
                self.sessions[number].stage = Stage::Active(true);
            }
            Step::Idle(number) => {
                self.truths[self.sessions[number].connection].answered += 1;
                self.worker.idle(self.sessions[number].loan, &Terms::new(Nanos(1)));
                self.sessions[number].stage = Stage::Waiting(LoanState::Idle);
            }
            Step::Pin(number) => {
                self.worker.pin(self.sessions[number].loan, LoanState::Active);
                self.sessions[number].stage = Stage::Pinned;
            }
            Step::End(number) => self.end(number),
            Step::Close(number) => self.sessions[number].stage = Stage::LettingGo,
            Step::LetGo(number) => {
                let session = self.sessions.remove(number);
                self.worker.let_go(session.loan);
            }
        }
        self.check();
    }

    fn lend(&mut self, number: usize) {
        let id = ConnectionId(number as u32);
        if let Some(loan) = self.master.lend(id, &Terms::new(Nanos(1))) {
            self.lends_left -= 1;
            self.truths[number].in_hand = false;
            self.packets.push_back(ToWorker::Lend(loan, number));
        }
    }

    fn recall(&mut self, place: usize) {
        let Some((loan, id, _)) = self.master.loans().nth(place) else { return };
        if let Recall::Taken { connection, .. } = self.master.recall(loan) {
            assert_eq!(connection, id);
            self.truths[connection.0 as usize].in_hand = true;
            self.packets.push_back(ToWorker::Recall(loan));
        }
    }

    fn harvest(&mut self) {
        let mut out = Vec::new();
        self.master.drain_ring(1, &mut out).expect("an honest worker's entry is believed");
        for one in out {
            let truth = &mut self.truths[one.connection.0 as usize];
            match one.how {
                LetGoHow::Ended => assert!(truth.over, "ended without having ended"),
                LetGoHow::Given(_) => {
                    assert!(!truth.in_hand, "given what was in hand already");
                    truth.in_hand = true;
                }
                LetGoHow::Recalled => {}
            }
        }
    }

    fn deliver(&mut self) {
        match self.packets.pop_front() {
            Some(ToWorker::Lend(loan, connection)) => {
                let stage = Stage::Waiting(LoanState::Lent);
                self.sessions.push(Session { loan, connection, stage });
            }
            Some(ToWorker::Recall(loan)) => {
                // A loan that the worker has let go of meanwhile is ignored; one that waits is
                // dropped; any other cannot be, or the master would have lost the exchange.
                if let Some(session) = self.sessions.iter_mut().find(|one| one.loan == loan) {
                    match session.stage {
                        Stage::Waiting(_) => session.stage = Stage::Dropping,
                        Stage::Dropping | Stage::LettingGo => {}
                        Stage::Active(_) | Stage::Answering | Stage::Pinned => {
                            panic!("recalled while the worker had claimed it")
                        }
                    }
                }
            }
            None => {}
        }
    }

    /// The worker has no descriptor for it. (The answer is immediate here; that a Recall may cross
    /// it on the way is explored, because the recall may come before.)
    fn refuse(&mut self) {
        let Some(ToWorker::Lend(loan, number)) = self.packets.pop_front() else { return };
        let back = self.master.undo_lend(loan);
        let truth = &mut self.truths[number];
        match back {
            Some(id) => {
                assert_eq!(id.0 as usize, number);
                assert!(!truth.in_hand, "refused what was in hand already");
                truth.in_hand = true;
            }
            None => assert!(self.packets.contains(&ToWorker::Recall(loan)), "refused and lost"),
        }
    }

    fn claim(&mut self, number: usize) {
        let Session { loan, connection, stage: Stage::Waiting(from) } = self.sessions[number]
        else {
            unreachable!("only what waits is claimed")
        };
        let won = self.worker.claim(loan, from);
        assert!(!(won && self.truths[connection].in_hand), "both have it");
        self.sessions[number].stage = if won { Stage::Active(false) } else { Stage::Dropping };
    }

    fn end(&mut self, number: usize) {
        let session = &mut self.sessions[number];
        let from = match session.stage {
            Stage::Active(_) => LoanState::Active,
            Stage::Answering => LoanState::Answering,
            Stage::Pinned => LoanState::Pinned,
            Stage::Waiting(_) | Stage::Dropping | Stage::LettingGo => {
                unreachable!("only what is claimed is ended")
            }
        };
        self.worker.end(session.loan, from);
        session.stage = Stage::Dropping;
        self.truths[session.connection].over = true;
    }

    fn check(&self) {
        self.master.check_invariants();
        for (number, truth) in self.truths.iter().enumerate() {
            let claimed = self.sessions.iter().filter(|session| {
                session.connection == number
                    && matches!(session.stage, Stage::Active(_) | Stage::Answering | Stage::Pinned)
            });
            let claimed = claimed.count();
            assert!(claimed <= 1, "two read one connection");
            assert!(claimed == 0 || !truth.in_hand, "read while it is in hand");
        }
    }

    /// The worker dies here: settles, and checks every fate against what really happened.
    fn die(mut self) {
        for settled in self.master.settle_all() {
            let number = settled.connection.0 as usize;
            let truth = &mut self.truths[number];
            let session = self.sessions.iter().find(|session| session.loan == settled.loan);
            let stage = session.map(|session| session.stage);
            let fate = settled.settlement;
            match fate {
                Settlement::Elsewhere => continue,
                Settlement::SeatAgain | Settlement::Idle => {
                    assert!(!truth.over, "what was shut down is seated again");
                    let is_unread =
                        !matches!(stage, Some(Stage::Active(_) | Stage::Answering | Stage::Pinned));
                    assert!(is_unread, "what was read goes to a second reader: {stage:?}");
                    assert_eq!(truth.read, truth.answered, "a request is lost");
                    assert!(!truth.in_hand, "settled twice");
                    truth.in_hand = true;
                }
                Settlement::BadGateway => assert!(matches!(stage, Some(Stage::Active(_)))),
                Settlement::Reset => {
                    assert!(matches!(stage, Some(Stage::Answering | Stage::Pinned)));
                }
                Settlement::Close => assert!(truth.over, "closed without having ended"),
            }
            if !truth.in_hand {
                truth.over = true;
            }
        }
        self.master.check_invariants();
        for (number, truth) in self.truths.iter().enumerate() {
            assert!(truth.in_hand || truth.over, "connection {number} is nowhere: {truth:?}");
        }
        assert_eq!(self.master.loans().count(), 0);
    }
}

/// Takes these steps from the beginning.
fn replay(bounds: Bounds, steps: &[Step]) -> World {
    let mut world = World::new(bounds);
    for step in steps {
        world.take(*step);
    }
    world
}

/// Every reachable state within the bounds, each once; in each the worker dies once.
fn explore(bounds: Bounds) -> usize {
    let mut seen = HashSet::new();
    let mut open = vec![Vec::new()];
    seen.insert(World::new(bounds).key());
    while let Some(path) = open.pop() {
        let world = replay(bounds, &path);
        let steps = world.steps();
        let at_rest = world.sessions.is_empty() && world.packets.is_empty();
        if at_rest && !world.master.ring_waits() {
            assert_eq!(world.master.loans().count(), 0, "a place is never freed: {path:?}");
        }
        world.die();
        for step in steps {
            let mut longer = path.clone();
            longer.push(step);
            if seen.insert(replay(bounds, &longer).key()) {
                open.push(longer);
            }
        }
    }
    seen.len()
}

#[test]
fn every_order_of_one_connection_with_a_death_at_every_step() {
    let states = explore(Bounds { places: 2, connections: 1, requests: 2, lends: 2 });
    // Not a bar: a guard against an exploration that explores nothing.
    assert!(states > 500, "{states} states");
}

#[test]
fn every_order_of_two_connections_in_two_places() {
    let states = explore(Bounds { places: 2, connections: 2, requests: 1, lends: 2 });
    assert!(states > 2000, "{states} states");
}

#[test]
fn random_walks_of_four_connections_in_three_places() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS_DEFAULT),
    };
    let bounds = Bounds { places: 3, connections: 4, requests: 9, lends: 40 };
    for seed in seeds {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut world = World::new(bounds);
        let mut path = Vec::new();
        let walk = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..random.usize(1..=STEPS) {
                let steps = world.steps();
                if steps.is_empty() {
                    break;
                }
                let step = steps[random.usize(..steps.len())];
                path.push(step);
                world.take(step);
            }
            world.die();
        }));
        if let Err(failure) = walk {
            eprintln!("replay: SEED={seed} cargo test --test loan_exploration random\n{path:?}");
            std::panic::resume_unwind(failure);
        }
    }
}
