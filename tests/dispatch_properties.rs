//! What holds of the dispatcher under every policy, whatever happens: random facts, and after each
//! turn the promises of the ledger and the queues.
//!
//! The properties: nothing waits while somebody has credit; nobody without credit is ever picked;
//! every connection is at exactly one place; nothing stays at a stuck worker while another would
//! serve it at once, read or not, new or kept; what is recalled keeps its order; counters saturate;
//! a slot that comes or goes upsets nobody. With limits: no more wait than may, nobody for too long,
//! and who is turned away is turned away once, in order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use maitred::config::{Balance, Rebalance, SHED_LOOK};
use maitred::dispatch::{DispatchSettings, Dispatcher, Effect, Sample, Shape, ShedReason};
use maitred::ident::{ConnectionId, Slot};
use maitred::time::Nanos;
use proptest::prelude::*;

const POLICIES: [Balance; 7] = [
    Balance::RoundRobin,
    Balance::LeastLoaded,
    Balance::TwoChoices,
    Balance::Random,
    Balance::Weighted,
    Balance::LeastLatency,
    Balance::IpHash,
];

const SLOTS: u16 = 5;
const STALL: Duration = Duration::from_millis(1);

fn dispatcher(balance: Balance, credit: Option<u16>, seed: u64) -> Dispatcher {
    limited_dispatcher(balance, credit, seed, Limits::default())
}

/// How long, and how many, may wait.
#[derive(Clone, Copy, Debug, Default)]
struct Limits {
    queue_timeout: Option<Duration>,
    max_queue: Option<u32>,
}

fn limited_dispatcher(
    balance: Balance,
    credit: Option<u16>,
    seed: u64,
    limits: Limits,
) -> Dispatcher {
    Dispatcher::new(&DispatchSettings {
        balance,
        weights: vec![3, 1, 1, 2, 1],
        rebalance: Rebalance::Auto,
        stall_after: STALL,
        credit,
        queue_timeout: limits.queue_timeout,
        max_queue: limits.max_queue,
        seed,
    })
}

fn is_loop(credit: u16) -> Shape {
    Shape { threads: 0, credit, recallable: true }
}

/// Something that happens between two decisions.
#[derive(Clone, Debug)]
enum Fact {
    Accepted(u64),
    /// A client has connected; the master has not accepted it.
    Connects(u64),
    Readable(u64),
    Ready(u16, u16),
    Gone(u16),
    /// Up to so many of what waits there are claimed.
    Claims(u16, usize),
    /// Up to so many requests in service are over; their connections are idle.
    Finishes(u16, usize),
    /// The clients of up to so many idle connections send something.
    Speaks(u16, usize),
    /// Up to so many of those are claimed by the worker that has them.
    ClaimsIdle(u16, usize),
    /// It makes no progress from now on, or goes on.
    Stalls(u16, bool),
    /// Its page is full of nonsense.
    Lies(u16),
    /// Its channel is full: the next lends bounce.
    Bounces(u16),
    Time(u64),
}

fn fact() -> impl Strategy<Value = Fact> {
    let slot = 0..SLOTS;
    prop_oneof![
        6 => (0..9_u64).prop_map(Fact::Accepted),
        4 => (0..9_u64).prop_map(Fact::Connects),
        2 => (0..9_u64).prop_map(Fact::Readable),
        2 => (slot.clone(), 0..5_u16).prop_map(|(slot, threads)| Fact::Ready(slot, threads)),
        1 => slot.clone().prop_map(Fact::Gone),
        5 => (slot.clone(), 1..6_usize).prop_map(|(slot, count)| Fact::Claims(slot, count)),
        5 => (slot.clone(), 1..6_usize).prop_map(|(slot, count)| Fact::Finishes(slot, count)),
        4 => (slot.clone(), 1..6_usize).prop_map(|(slot, count)| Fact::Speaks(slot, count)),
        2 => (slot.clone(), 1..6_usize).prop_map(|(slot, count)| Fact::ClaimsIdle(slot, count)),
        2 => (slot.clone(), any::<bool>()).prop_map(|(slot, stalls)| Fact::Stalls(slot, stalls)),
        1 => slot.clone().prop_map(Fact::Lies),
        1 => slot.prop_map(Fact::Bounces),
        4 => (1..3_000_000_u64).prop_map(Fact::Time),
    ]
}

/// A worker as it really is.
#[derive(Debug, Default)]
struct Worker {
    threads: u16,
    waiting: VecDeque<(ConnectionId, Nanos)>,
    active: Vec<ConnectionId>,
    /// Between two requests; and of those, whose clients have sent the next one.
    idle: Vec<ConnectionId>,
    readable: VecDeque<ConnectionId>,
    /// The master hears of what becomes readable.
    watched: bool,
    started: u64,
    stalled_since: Option<Nanos>,
    claimed_at: Nanos,
    lies: bool,
    bounces: bool,
}

/// Plays the master: carries out effects, and remembers where every connection is.
struct Master {
    dispatcher: Dispatcher,
    workers: BTreeMap<u16, Worker>,
    queued: BTreeSet<ConnectionId>,
    limits: Limits,
    /// The kernel's queue: when they came, for whom.
    kernel: VecDeque<(Nanos, u64)>,
    /// When each began to wait.
    since: BTreeMap<ConnectionId, Nanos>,
    shed: Vec<(ConnectionId, ShedReason)>,
    /// Accepted, and never lent: they are in the order of their numbers.
    fresh: BTreeSet<ConnectionId>,
    /// Taken back unread, and not lent since: in the order in which they were.
    recalled: VecDeque<ConnectionId>,
    /// The last of the fresh that was lent, and the last that was too old.
    served_up_to: Option<ConnectionId>,
    shed_up_to: Option<ConnectionId>,
    next: u32,
    now: Nanos,
}

impl Master {
    fn new(balance: Balance, credit: Option<u16>, seed: u64) -> Self {
        Master::with_limits(balance, credit, seed, Limits::default())
    }

    fn with_limits(balance: Balance, credit: Option<u16>, seed: u64, limits: Limits) -> Self {
        let now = Nanos(1);
        let mut dispatcher = limited_dispatcher(balance, credit, seed, limits);
        dispatcher.handle_time(now);
        Master {
            dispatcher,
            workers: BTreeMap::new(),
            queued: BTreeSet::new(),
            limits,
            kernel: VecDeque::new(),
            since: BTreeMap::new(),
            shed: Vec::new(),
            fresh: BTreeSet::new(),
            recalled: VecDeque::new(),
            served_up_to: None,
            shed_up_to: None,
            next: 0,
            now,
        }
    }

    fn hear(&mut self, fact: &Fact) {
        match *fact {
            Fact::Accepted(affinity) => {
                // As the master does: never more than the dispatcher asks for.
                if self.dispatcher.accept_budget(true) > 0 {
                    let id = self.new_connection();
                    self.fresh.insert(id);
                    self.dispatcher.handle_accepted(id, affinity, self.now);
                }
            }
            Fact::Connects(affinity) => self.kernel.push_back((self.now, affinity)),
            Fact::Readable(affinity) => {
                let id = self.new_connection();
                self.dispatcher.handle_readable(id, affinity);
            }
            Fact::Ready(slot, threads) => {
                self.gone(slot);
                let shape = Shape { threads, credit: 0, recallable: true };
                self.dispatcher.handle_worker_ready(Slot(slot), shape);
                self.workers.insert(slot, Worker { threads, ..Worker::default() });
            }
            Fact::Gone(slot) => self.gone(slot),
            Fact::Claims(slot, count) => {
                let now = self.now;
                if let Some(worker) = self.workers.get_mut(&slot)
                    && worker.stalled_since.is_none()
                {
                    for _ in 0..count.min(worker.waiting.len()) {
                        worker.active.extend(worker.waiting.pop_front().map(|(id, _)| id));
                        worker.started += 1;
                        worker.claimed_at = now;
                    }
                }
            }
            Fact::Finishes(slot, count) => {
                if let Some(worker) = self.workers.get_mut(&slot) {
                    let left = worker.active.len() - count.min(worker.active.len());
                    worker.idle.extend(worker.active.drain(left..));
                }
            }
            Fact::Speaks(slot, count) => {
                if let Some(worker) = self.workers.get_mut(&slot) {
                    let left = worker.idle.len() - count.min(worker.idle.len());
                    worker.readable.extend(worker.idle.drain(left..));
                    if worker.watched {
                        self.dispatcher.handle_idle_readable(Slot(slot));
                    }
                }
            }
            Fact::ClaimsIdle(slot, count) => {
                if let Some(worker) = self.workers.get_mut(&slot)
                    && worker.stalled_since.is_none()
                {
                    let count = count.min(worker.readable.len());
                    worker.started += count as u64;
                    worker.active.extend(worker.readable.drain(..count));
                }
            }
            Fact::Stalls(slot, stalls) => {
                if let Some(worker) = self.workers.get_mut(&slot) {
                    worker.stalled_since = stalls.then_some(self.now);
                }
            }
            Fact::Lies(slot) => {
                if let Some(worker) = self.workers.get_mut(&slot) {
                    worker.lies = true;
                }
            }
            Fact::Bounces(slot) => {
                if let Some(worker) = self.workers.get_mut(&slot) {
                    worker.bounces = true;
                }
            }
            Fact::Time(nanos) => {
                self.now = Nanos(self.now.0 + nanos);
                self.dispatcher.handle_time(self.now);
            }
        }
    }

    /// What the master's turn does: looks at the board, decides, carries out.
    fn turn(&mut self) {
        for (slot, worker) in &self.workers {
            self.dispatcher.handle_sample(Slot(*slot), &worker.sample(self.now), self.now);
        }
        self.accept();
        for _ in 0..32 {
            self.dispatcher.decide();
            let mut again = false;
            let mut bounced: BTreeMap<u16, Vec<(ConnectionId, u64)>> = BTreeMap::new();
            while let Some(effect) = self.dispatcher.poll_effect() {
                match effect {
                    Effect::Lend { connection, slot } => {
                        let worker = self.workers.get_mut(&slot.0).expect("lent to nobody");
                        assert!(self.queued.remove(&connection), "lent, and was not queued");
                        if self.fresh.remove(&connection) {
                            assert!(self.served_up_to < Some(connection), "first come first");
                            self.served_up_to = Some(connection);
                        }
                        if self.recalled.contains(&connection) {
                            assert_eq!(self.recalled.pop_front(), Some(connection), "overtaken");
                        }
                        worker.waiting.push_back((connection, self.now));
                        if worker.bounces {
                            worker.waiting.pop_back();
                            self.queued.insert(connection);
                            bounced.entry(slot.0).or_default().push((connection, 0));
                        }
                    }
                    Effect::Recall { slot, count } => {
                        again = true;
                        self.recall(slot, count);
                    }
                    Effect::Rescue { slot, count } => {
                        again = true;
                        self.rescue(slot, count);
                    }
                    Effect::Watch(slot) => {
                        again = true;
                        self.workers.get_mut(&slot.0).expect("watching nobody").watched = true;
                    }
                    Effect::Unwatch(slot) => {
                        if let Some(worker) = self.workers.get_mut(&slot.0) {
                            worker.watched = false;
                        }
                    }
                    Effect::Shed { connection, reason } => self.turn_away(connection, reason),
                }
            }
            for (slot, back) in bounced {
                again = true;
                self.dispatcher.handle_back_pressure(Slot(slot), &back);
            }
            if !again {
                break;
            }
        }
        for worker in self.workers.values_mut() {
            worker.bounces = false;
        }
        self.dispatcher.check_invariants();
        assert_eq!(self.dispatcher.queued(), self.queued.len(), "queues");
    }

    /// As the master does: looks at the kernel's queue when the dispatcher wants to know, and takes
    /// what it has room for.
    fn accept(&mut self) {
        self.dispatcher.handle_kernel_waits(!self.kernel.is_empty());
        if self.dispatcher.next_backlog_look().is_some_and(|at| at <= self.now) {
            self.dispatcher.handle_backlog(Some(self.kernel.len() as u32));
        }
        let budget = self.dispatcher.accept_budget(!self.kernel.is_empty());
        for _ in 0..budget.min(self.kernel.len()) {
            let (since, affinity) = self.kernel.pop_front().expect("no more than there are");
            let id = self.new_connection();
            self.since.insert(id, since);
            self.fresh.insert(id);
            self.dispatcher.handle_accepted(id, affinity, since);
        }
        self.dispatcher.handle_kernel_waits(!self.kernel.is_empty());
    }

    fn turn_away(&mut self, connection: ConnectionId, reason: ShedReason) {
        assert!(self.queued.remove(&connection), "turned away, and was not queued");
        let waited = self.now.since(self.since[&connection]);
        match (reason, self.limits.queue_timeout) {
            (ShedReason::TooOld, Some(timeout)) => assert!(waited >= timeout, "{waited:?}"),
            (ShedReason::TooOld, None) => panic!("there is no timeout"),
            (ShedReason::TooMany, _) => assert!(self.limits.max_queue.is_some()),
        }
        if self.fresh.remove(&connection) && reason == ShedReason::TooOld {
            assert!(self.shed_up_to < Some(connection), "the oldest go first");
            assert!(self.served_up_to < Some(connection), "who came later was served");
            self.shed_up_to = Some(connection);
        }
        self.recalled.retain(|one| *one != connection);
        self.shed.push((connection, reason));
    }

    fn recall(&mut self, slot: Slot, count: u32) {
        let worker = self.workers.get_mut(&slot.0).expect("recalled from nobody");
        for _ in 0..count {
            match worker.waiting.pop_front() {
                Some((connection, _)) => {
                    self.queued.insert(connection);
                    self.since.insert(connection, self.now);
                    self.recalled.push_back(connection);
                    self.dispatcher.handle_recalled(slot, connection, 0);
                }
                None => self.dispatcher.handle_recall_lost(slot),
            }
        }
    }

    fn rescue(&mut self, slot: Slot, count: u32) {
        let worker = self.workers.get_mut(&slot.0).expect("rescued from nobody");
        assert!(worker.watched, "only a watched worker's idle connections are known");
        for _ in 0..count {
            let Some(connection) = worker.readable.pop_front() else { break };
            self.queued.insert(connection);
            self.since.insert(connection, self.now);
            self.dispatcher.handle_rescued(slot, connection, 0);
        }
        self.dispatcher.handle_rescue_over(slot, !worker.readable.is_empty());
    }

    /// Whether somebody would serve one more connection within a moment.
    fn has_place(&self) -> bool {
        self.workers.iter().any(|(slot, worker)| {
            let candidate = self.dispatcher.candidate(Slot(*slot)).expect("it serves");
            let taken = worker.waiting.len() + worker.active.len();
            !candidate.stuck
                && !worker.lies
                && !worker.oversleeps(self.now)
                && candidate.credit > 0
                && (worker.threads == 0 || taken < usize::from(worker.threads))
        })
    }

    fn new_connection(&mut self) -> ConnectionId {
        let id = ConnectionId(self.next);
        self.next += 1;
        self.queued.insert(id);
        self.since.insert(id, self.now);
        id
    }

    fn gone(&mut self, slot: u16) {
        if let Some(worker) = self.workers.remove(&slot) {
            self.dispatcher.handle_worker_gone(Slot(slot));
            for connection in worker.waiting.into_iter().map(|one| one.0).chain(worker.readable) {
                self.queued.insert(connection);
                self.since.insert(connection, self.now);
                self.dispatcher.handle_readable(connection, 0);
            }
        }
    }
}

impl Worker {
    /// Whether the system does not run it, for longer than a moment.
    fn oversleeps(&self, now: Nanos) -> bool {
        let is_busy = self.stalled_since.is_some() || (self.threads > 0 && !self.active.is_empty());
        let oldest = self.waiting.front().map(|(_, at)| (*at).max(self.claimed_at));
        !is_busy && oldest.is_some_and(|at| now.since(at) > STALL)
    }

    fn sample(&self, now: Nanos) -> Sample {
        if self.lies {
            // Whatever stands in its page: the waiting alone is the master's own knowledge.
            return Sample {
                waiting: self.waiting.len() as u32,
                oldest_waiting: self.waiting.front().map(|(_, at)| *at),
                nothing_claimed_since: self.waiting.front().map(|(_, at)| *at),
                started: u64::MAX,
                finished: 0,
                queued: u32::MAX,
                threads_busy: u32::MAX,
                all_busy_since: Nanos(u64::MAX),
                turn_entered: Nanos(u64::MAX),
                open: u32::MAX,
                busy_ns: u64::MAX,
                services: 1,
                stopped: false,
            };
        }
        let active = self.active.len();
        let in_threads = active.min(usize::from(self.threads)) as u32;
        let oldest = self.waiting.front().map(|(_, at)| *at);
        Sample {
            waiting: self.waiting.len() as u32,
            oldest_waiting: oldest,
            nothing_claimed_since: oldest.map(|at| at.max(self.claimed_at)),
            started: self.started,
            finished: self.started - active as u64,
            queued: if self.threads == 0 { 0 } else { active as u32 - in_threads },
            threads_busy: in_threads,
            all_busy_since: Nanos(0),
            turn_entered: self.stalled_since.unwrap_or(Nanos(0)).min(now),
            open: (self.waiting.len() + active + self.idle.len() + self.readable.len()) as u32,
            busy_ns: self.started * 1000,
            services: self.started,
            stopped: false,
        }
    }
}

/// `PROPTEST_CASES` widens a run.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(256)
}

fn config() -> ProptestConfig {
    // A failure is replayed by its seed, which proptest prints; nothing is written into the tree.
    ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_nothing_waits_beside_credit(
        policy in 0..POLICIES.len(),
        credit in prop_oneof![Just(None), (1..9_u16).prop_map(Some)],
        seed in any::<u64>(),
        facts in prop::collection::vec(fact(), 1..120),
    ) {
        let mut master = Master::new(POLICIES[policy], credit, seed);
        for fact in &facts {
            master.hear(fact);
            master.turn();
            let candidates: Vec<_> =
                (0..SLOTS).filter_map(|slot| master.dispatcher.candidate(Slot(slot))).collect();
            let strands = candidates.iter().any(|one| one.stuck && one.waiting > 0);
            prop_assert!(
                !strands || !master.has_place(),
                "something waits at a stuck worker while another would serve it: {candidates:?}"
            );
            let waits_idle = master.workers.iter().any(|(slot, worker)| {
                let stuck = master.dispatcher.candidate(Slot(*slot)).is_some_and(|one| one.stuck);
                stuck && !worker.readable.is_empty()
            });
            prop_assert!(
                !waits_idle || !master.has_place(),
                "a kept connection waits at a stuck worker while another has room: {candidates:?}"
            );
            prop_assert!(!master.dispatcher.has_rescues(), "a turn leaves nothing undone");
        }
    }

    #[test]
    fn with_limits_few_wait_and_not_for_long(
        policy in 0..POLICIES.len(),
        queue_timeout in prop_oneof![Just(None), (1..9_u64).prop_map(Some)],
        max_queue in prop_oneof![Just(None), (1..9_u32).prop_map(Some)],
        facts in prop::collection::vec(fact(), 1..120),
    ) {
        let limits = Limits { queue_timeout: queue_timeout.map(Duration::from_millis), max_queue };
        let mut master = Master::with_limits(POLICIES[policy], Some(2), 0, limits);
        for fact in &facts {
            master.hear(fact);
            master.turn();
            if let Some(most) = max_queue {
                prop_assert!(master.queued.len() <= most as usize, "{} wait", master.queued.len());
            }
            if let Some(timeout) = limits.queue_timeout {
                let oldest = master.queued.iter().map(|id| master.since[id]).min();
                prop_assert!(oldest.is_none_or(|since| master.now.since(since) < timeout));
            }
            if max_queue.is_none() && queue_timeout.is_none() {
                prop_assert!(master.shed.is_empty() && !master.dispatcher.is_room_open());
            }
        }
        let once: BTreeSet<_> = master.shed.iter().map(|(id, _)| *id).collect();
        prop_assert_eq!(once.len(), master.shed.len(), "turned away once");
    }

    #[test]
    fn no_limit_is_passed_in_the_kernels_queue_either(
        timeout_ms in 20..500_u64,
        limited in any::<bool>(),
        steps in prop::collection::vec((0..4_usize, 0..20_000_000_u64, 0..3_usize), 1..200),
    ) {
        // One busy worker with one place: all that come wait.
        let timeout = Duration::from_millis(timeout_ms);
        let limits =
            Limits { queue_timeout: Some(timeout), max_queue: limited.then_some(5) };
        let mut master = Master::with_limits(Balance::LeastLoaded, Some(1), 0, limits);
        master.hear(&Fact::Ready(0, 1));
        let look = SHED_LOOK;
        for (arrivals, nanos, served) in steps {
            for _ in 0..arrivals {
                master.hear(&Fact::Connects(0));
            }
            master.hear(&Fact::Claims(0, served));
            master.hear(&Fact::Finishes(0, served));
            master.turn();
            // The master sleeps until something happens or a look is due.
            let end = master.now + Duration::from_nanos(nanos);
            loop {
                let looks = [master.dispatcher.next_backlog_look(), master.dispatcher.next_shed()];
                let due = looks.into_iter().flatten().min().filter(|at| *at < end);
                let Some(at) = due else { break };
                let step = master.now.until(at).as_nanos() as u64;
                master.hear(&Fact::Time(step));
                master.turn();
                let waits = master.kernel.front().map(|(since, _)| *since);
                prop_assert!(waits.is_none_or(|since| master.now.since(since) < timeout + look));
            }
            let step = master.now.until(end).as_nanos() as u64;
            master.hear(&Fact::Time(step));
        }
    }

    #[test]
    fn round_robin_is_exact_while_all_have_credit(
        workers in 1..9_u16,
        rounds in 1..5_usize,
        chunk in 1..7_usize,
    ) {
        let mut dispatcher = dispatcher(Balance::RoundRobin, Some(64), 0);
        for slot in 0..workers {
            dispatcher.handle_worker_ready(Slot(slot), is_loop(0));
        }
        let total = usize::from(workers) * rounds;
        let counts = deal(&mut dispatcher, total, chunk);
        prop_assert!(counts.values().all(|count| *count == rounds), "{counts:?}");
        prop_assert_eq!(counts.len(), usize::from(workers));
    }

    #[test]
    fn weights_are_kept_exactly_over_a_round(weights in prop::collection::vec(1..6_u32, 1..5)) {
        let mut dispatcher = dispatcher(Balance::Weighted, Some(64), 0);
        dispatcher.switch_policy(Balance::Weighted, &weights, 0);
        for slot in 0..weights.len() {
            dispatcher.handle_worker_ready(Slot(slot as u16), is_loop(0));
        }
        let counts = deal(&mut dispatcher, weights.iter().sum::<u32>() as usize, 3);
        let expected: BTreeMap<u16, usize> =
            weights.iter().enumerate().map(|(slot, one)| (slot as u16, *one as usize)).collect();
        prop_assert_eq!(counts, expected);
    }

    #[test]
    fn ties_rotate(workers in 2..9_u16, rounds in 1..4_usize) {
        // Every connection has ended by the next decision: all candidates are equal, always.
        let mut dispatcher = dispatcher(Balance::LeastLoaded, None, 0);
        for slot in 0..workers {
            dispatcher.handle_worker_ready(Slot(slot), is_loop(0));
        }
        let mut counts = BTreeMap::new();
        for number in 0..usize::from(workers) * rounds {
            dispatcher.handle_accepted(ConnectionId(number as u32), 0, Nanos(1));
            dispatcher.decide();
            while let Some(effect) = dispatcher.poll_effect() {
                if let Effect::Lend { slot, .. } = effect {
                    *counts.entry(slot.0).or_insert(0) += 1;
                }
            }
            for slot in 0..workers {
                dispatcher.handle_sample(Slot(slot), &Sample::default(), Nanos(1));
            }
        }
        prop_assert!(counts.values().all(|count| *count == rounds), "{counts:?}");
    }

    #[test]
    fn equal_loads_are_levelled_by_open_connections(
        open in prop::collection::vec(0..20_u32, 2..8),
    ) {
        let mut dispatcher = dispatcher(Balance::LeastLoaded, Some(64), 0);
        let most = open.iter().max().copied().unwrap_or(0);
        let mut held = open.clone();
        for (slot, _) in open.iter().enumerate() {
            dispatcher.handle_worker_ready(Slot(slot as u16), is_loop(0));
        }
        let missing: u32 = open.iter().map(|one| most - one).sum();
        for number in 0..missing {
            for (slot, open) in held.iter().enumerate() {
                let sample = Sample { open: *open, ..Sample::default() };
                dispatcher.handle_sample(Slot(slot as u16), &sample, Nanos(1));
            }
            held[usize::from(seat(&mut dispatcher, number, 0).0)] += 1;
        }
        prop_assert!(held.iter().all(|one| *one == most), "{held:?}");
    }

    #[test]
    fn one_address_keeps_its_worker_when_others_come_and_go(affinity in any::<u64>()) {
        let mut dispatcher = dispatcher(Balance::IpHash, Some(64), 0);
        for slot in 0..4 {
            dispatcher.handle_worker_ready(Slot(slot), is_loop(0));
        }
        let home = seat(&mut dispatcher, 0, affinity);
        // Rendezvous: only those who lived with the one that left move.
        for other in (0..4).filter(|slot| *slot != home.0) {
            dispatcher.handle_worker_gone(Slot(other));
            prop_assert_eq!(seat(&mut dispatcher, u32::from(other) + 1, affinity), home);
        }
    }
}

/// Deals so many connections in chunks, and counts by slot.
fn deal(dispatcher: &mut Dispatcher, total: usize, chunk: usize) -> BTreeMap<u16, usize> {
    let mut counts = BTreeMap::new();
    for number in 0..total {
        dispatcher.handle_accepted(ConnectionId(number as u32), 0, Nanos(1));
        if (number + 1) % chunk == 0 || number + 1 == total {
            dispatcher.decide();
            while let Some(effect) = dispatcher.poll_effect() {
                if let Effect::Lend { slot, .. } = effect {
                    *counts.entry(slot.0).or_insert(0) += 1;
                }
            }
        }
    }
    counts
}

fn seat(dispatcher: &mut Dispatcher, number: u32, affinity: u64) -> Slot {
    dispatcher.handle_accepted(ConnectionId(number), affinity, Nanos(1));
    dispatcher.decide();
    loop {
        match dispatcher.poll_effect().expect("there is credit") {
            Effect::Lend { slot, .. } => return slot,
            Effect::Recall { .. }
            | Effect::Rescue { .. }
            | Effect::Watch(_)
            | Effect::Unwatch(_) => {}
            Effect::Shed { .. } => panic!("without limits nobody is turned away"),
        }
    }
}

/// Found by the property above: with a credit below its threads, a worker had an idle thread and no
/// credit; what was recalled for that thread went back and forth for ever.
#[test]
fn nothing_is_recalled_for_a_thread_without_credit() {
    use Fact::{Accepted, Gone, Ready, Time};
    let mut master = Master::new(Balance::RoundRobin, Some(2), 0);
    for fact in [
        Ready(1, 0),
        Accepted(0),
        Ready(0, 3),
        Accepted(0),
        Accepted(0),
        Ready(2, 0),
        Accepted(0),
        Gone(1),
        Time(500_000),
        Ready(3, 0),
        Accepted(0),
    ] {
        master.hear(&fact);
        master.turn();
    }
}

/// The two queues alternated within a decision, and each decision began with the same one: while
/// credit came one by one, what had been accepted was not seated before all that had come back.
#[test]
fn where_credit_comes_one_by_one_neither_queue_starves() {
    for max_queue in [None, Some(100)] {
        let limits = Limits { max_queue, ..Limits::default() };
        let mut master = Master::with_limits(Balance::LeastLoaded, Some(1), 0, limits);
        master.hear(&Fact::Ready(0, 1));
        let mut returned = BTreeSet::new();
        for _ in 0..40 {
            master.hear(&Fact::Connects(0));
            returned.insert(ConnectionId(master.next));
            master.hear(&Fact::Readable(0));
        }
        master.hear(&Fact::Time(1));
        let mut served = Vec::new();
        for _ in 0..40 {
            master.turn();
            served.extend(master.workers[&0].waiting.front().map(|(id, _)| *id));
            master.hear(&Fact::Claims(0, 1));
            master.hear(&Fact::Finishes(0, 1));
        }
        let came_back = served.iter().filter(|id| returned.contains(id)).count();
        assert!((18..=22).contains(&came_back), "{came_back} of {} had come back", served.len());
    }
}

#[test]
fn a_loop_has_the_more_credit_the_faster_it_is() {
    let credit_after = |service: Duration| {
        let mut dispatcher = dispatcher(Balance::LeastLoaded, None, 0);
        dispatcher.handle_worker_ready(Slot(0), is_loop(0));
        let busy_ns = 100 * u64::try_from(service.as_nanos()).unwrap();
        let sample =
            Sample { started: 100, finished: 100, services: 100, busy_ns, ..Sample::default() };
        dispatcher.handle_time(Nanos(1));
        dispatcher.handle_sample(Slot(0), &sample, Nanos(1));
        dispatcher.candidate(Slot(0)).unwrap().credit
    };
    assert_eq!(credit_after(Duration::ZERO), 8, "nothing is known");
    assert_eq!(credit_after(Duration::from_nanos(200)), 32);
    assert_eq!(credit_after(Duration::from_micros(10)), 20, "half a millisecond");
    assert_eq!(credit_after(Duration::from_micros(100)), 8);
    assert_eq!(credit_after(Duration::from_secs(5)), 8);
}

/// With `--report-age` the policy goes by what was seen, and by nothing else: all go to the one that
/// looked empty, until somebody looks again. Otherwise what is lent is counted at once.
#[test]
fn who_goes_by_looks_alone_herds_until_the_next_look() {
    let seated_at = |by_looks_alone: bool| {
        let mut dispatcher = dispatcher(Balance::LeastLoaded, Some(100), 0);
        if by_looks_alone {
            dispatcher.rank_by_looks_alone();
        }
        for slot in [0, 1] {
            let shape = Shape { threads: 1, credit: 0, recallable: true };
            dispatcher.handle_worker_ready(Slot(slot), shape);
        }
        let look = |dispatcher: &mut Dispatcher, started: [u64; 2], now: u64| {
            for (slot, started) in started.into_iter().enumerate() {
                let sample = Sample { started, ..Sample::default() };
                dispatcher.handle_sample(Slot(slot as u16), &sample, Nanos(now));
            }
        };
        let mut seated = [[0; 2]; 2];
        // Worker 1 is empty in the first look, worker 0 in the second.
        for (round, started) in [[2, 0], [0, 20]].into_iter().enumerate() {
            look(&mut dispatcher, started, 1 + round as u64);
            for number in 0..10 {
                let id = ConnectionId(round as u32 * 10 + number);
                dispatcher.handle_accepted(id, 0, Nanos(1));
                dispatcher.seat_waiting();
                while let Some(effect) = dispatcher.poll_effect() {
                    if let Effect::Lend { slot, .. } = effect {
                        seated[round][usize::from(slot.0)] += 1;
                    }
                }
            }
            dispatcher.check_invariants();
        }
        seated
    };
    assert_eq!(seated_at(true), [[0, 10], [10, 0]]);
    assert_eq!(seated_at(false), [[4, 6], [10, 0]]);
}
