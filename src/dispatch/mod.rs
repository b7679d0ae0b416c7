//! The decision: which worker gets which connection, and what is taken back.
//!
//! Pure: no I/O, no clock, no randomness but what is seeded. The master drives it with facts and
//! carries out its effects; the simulator does the same with virtual time.
//!
//! The order of calls, once a turn: the time, facts (`handle_*`), then [`Dispatcher::decide`], then
//! [`Dispatcher::poll_effect`] until it is empty. Carrying out a recall yields new facts, so the
//! master decides once more, until nothing is left to do.
//!
//! ```
//! use std::time::Duration;
//!
//! use maitred::config::{Balance, Rebalance};
//! use maitred::dispatch::{DispatchSettings, Dispatcher, Effect, Sample, Shape};
//! use maitred::ident::{ConnectionId, Slot};
//! use maitred::time::Nanos;
//!
//! let mut dispatcher = Dispatcher::new(&DispatchSettings {
//!     balance: Balance::LeastLoaded,
//!     weights: Vec::new(),
//!     rebalance: Rebalance::Auto,
//!     stall_after: Duration::from_millis(1),
//!     credit: None,
//!     queue_timeout: None,
//!     max_queue: None,
//!     seed: 7,
//! });
//! let shape = Shape { threads: 0, credit: 0, recallable: true };
//! dispatcher.handle_worker_ready(Slot(0), shape);
//! dispatcher.handle_worker_ready(Slot(1), shape);
//!
//! // Two connections: each worker gets one.
//! dispatcher.handle_time(Nanos(1));
//! assert!(dispatcher.accept_budget(true) >= 2);
//! dispatcher.handle_accepted(ConnectionId(1), 0, Nanos(1));
//! dispatcher.handle_accepted(ConnectionId(2), 0, Nanos(1));
//! dispatcher.decide();
//! let first = dispatcher.poll_effect();
//! let second = dispatcher.poll_effect();
//! assert_eq!(first, Some(Effect::Lend { connection: ConnectionId(1), slot: Slot(0) }));
//! assert_eq!(second, Some(Effect::Lend { connection: ConnectionId(2), slot: Slot(1) }));
//!
//! // Two milliseconds later worker 0 is in one and the same turn, has not claimed its loan, and
//! // worker 1 is idle.
//! let waits = Sample {
//!     waiting: 1,
//!     oldest_waiting: Some(Nanos(1)),
//!     nothing_claimed_since: Some(Nanos(1)),
//!     turn_entered: Nanos(1),
//!     ..Sample::default()
//! };
//! dispatcher.handle_sample(Slot(0), &waits, Nanos(2_000_000));
//! dispatcher.handle_sample(Slot(1), &Sample::default(), Nanos(2_000_000));
//! dispatcher.decide();
//! assert_eq!(dispatcher.poll_effect(), Some(Effect::Watch(Slot(0))));
//! assert_eq!(dispatcher.poll_effect(), Some(Effect::Recall { slot: Slot(0), count: 1 }));
//!
//! // So may idle connections of worker 0 whose clients have spoken; but none has.
//! assert_eq!(dispatcher.poll_effect(), Some(Effect::Rescue { slot: Slot(0), count: 7 }));
//!
//! // The master takes the loan back, and it is seated with worker 1.
//! dispatcher.handle_recalled(Slot(0), ConnectionId(1), 0);
//! dispatcher.handle_rescue_over(Slot(0), false);
//! dispatcher.decide();
//! let seated = Effect::Lend { connection: ConnectionId(1), slot: Slot(1) };
//! assert_eq!(dispatcher.poll_effect(), Some(seated));
//! ```
//!
//! Not here: descriptors, pages and channels (`master`), the life of workers (`supervise`).

mod admission;
mod candidate;
mod ledger;
pub mod policy;
mod stuck;
mod taking_back;

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::{Balance, Rebalance};
use crate::dispatch::admission::Admission;
use crate::ident::{ConnectionId, Slot};
use crate::time::Nanos;

pub use admission::ShedReason;
pub use candidate::{Candidate, Sample, Shape};
pub use ledger::Ledger;
pub use policy::Policy;
pub use stuck::first_look;

/// What a dispatcher is told to be.
#[derive(Clone, Debug)]
pub struct DispatchSettings {
    /// The policy.
    pub balance: Balance,
    /// One weight a slot, for the weighted policy.
    pub weights: Vec<u32>,
    /// Whether idle loans are taken back from stuck workers.
    pub rebalance: Rebalance,
    /// When a worker counts as stuck.
    pub stall_after: Duration,
    /// How many connections a worker may hold, instead of what its kind suggests.
    pub credit: Option<u16>,
    /// Who has waited for so long is turned away, unless there is room at last.
    pub queue_timeout: Option<Duration>,
    /// How many may wait; the newest beyond are turned away.
    pub max_queue: Option<u32>,
    /// Seed of the policies that draw.
    pub seed: u64,
}

/// What the master is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Lend this connection to the worker in this slot.
    Lend {
        /// Which.
        connection: ConnectionId,
        /// To whom.
        slot: Slot,
    },
    /// Take back up to so many loans that this worker has not claimed, oldest first, and say of
    /// each how it went.
    Recall {
        /// From whom.
        slot: Slot,
        /// How many.
        count: u32,
    },
    /// The worker has become stuck: its idle loans are watched, so that those which become readable
    /// can be taken back.
    Watch(Slot),
    /// The worker makes progress again.
    Unwatch(Slot),
    /// Take back up to so many of this watched worker's idle loans that are readable, and say how it
    /// went. None of them: only look whether there are any.
    Rescue {
        /// From whom.
        slot: Slot,
        /// How many.
        count: u32,
    },
    /// Turn this connection away: it waits here no more.
    Shed {
        /// Which.
        connection: ConnectionId,
        /// Why.
        reason: ShedReason,
    },
}

/// What the master would hear of before its next look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Nothing: whatever happens may wait for the next turn.
    Nothing,
    /// That a worker has room again, where nobody has.
    Room,
    /// That a thread or a loop is idle, where something waits at a stuck worker.
    Idle,
    /// That a thread is idle, where something waits behind busy ones.
    IdleThread,
}

/// A connection that waits to be seated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Queued {
    connection: ConnectionId,
    affinity: u64,
    /// When it began to wait, the kernel's queue included.
    since: Nanos,
    /// It was taken back from a worker that was too busy: an idle one is what it needs. A policy
    /// that does not look at loads might send it to the next busy one, and deals with first
    /// seatings alone: a round that recalls break into is no round.
    recalled: bool,
}

/// Policy, ledger and queues.
pub struct Dispatcher {
    ledger: Ledger,
    policy: Box<dyn Policy>,
    rescues: bool,
    /// Whose turn it is to be rescued from, where several are stuck.
    rescue_next: usize,
    admission: Admission,
    /// Accepted a moment ago, in order.
    fresh: VecDeque<Queued>,
    /// Readable after they were parked, or come back unread; first come, first served.
    returned: VecDeque<Queued>,
    /// Whose turn it is where the two queues share an odd credit.
    kernel_first: bool,
    /// Which of the two is seated from next, where both wait.
    returned_next: bool,
    /// With limits: what the last decision has lent, in case it bounces.
    lent: Vec<Queued>,
    now: Nanos,
    effects: VecDeque<Effect>,
}

impl Dispatcher {
    /// A dispatcher that knows no worker.
    pub fn new(settings: &DispatchSettings) -> Self {
        Dispatcher {
            ledger: Ledger::new(
                settings.stall_after,
                settings.credit,
                policy::rank(settings.balance),
            ),
            policy: policy::new(settings.balance, &settings.weights, settings.seed),
            rescues: settings.rebalance == Rebalance::Auto,
            rescue_next: 0,
            admission: Admission::new(settings.queue_timeout, settings.max_queue),
            fresh: VecDeque::new(),
            returned: VecDeque::new(),
            kernel_first: true,
            returned_next: true,
            lent: Vec::new(),
            now: Nanos::default(),
            effects: VecDeque::new(),
        }
    }

    /// Another policy, from the next decision on. It knows nothing of what the one before has done.
    pub fn switch_policy(&mut self, balance: Balance, weights: &[u32], seed: u64) {
        self.policy = policy::new(balance, weights, seed);
        self.ledger.switch_rank(policy::rank(balance));
    }

    /// Whether idle loans are taken back from stuck workers, from now on.
    pub fn switch_rebalance(&mut self, rebalance: Rebalance) {
        self.rescues = rebalance == Rebalance::Auto;
    }

    /// The policy goes by what was seen of workers, however old, and not by what it has lent them
    /// since: how herding is shown (`--report-age`).
    pub fn rank_by_looks_alone(&mut self) {
        self.ledger.rank_by_looks_alone();
    }

    /// What time it is, before the facts of a turn.
    pub fn handle_time(&mut self, now: Nanos) {
        self.now = now;
        self.admission.handle_time(now);
    }

    /// A worker can serve; it may be another one in a slot that is known.
    pub fn handle_worker_ready(&mut self, slot: Slot, shape: Shape) {
        self.ledger.insert(slot, shape, self.now);
    }

    /// Nothing more goes to this slot, until another worker is ready there.
    pub fn handle_worker_gone(&mut self, slot: Slot) {
        if self.ledger.remove(slot).is_some_and(|candidate| candidate.stuck) {
            self.effects.push_back(Effect::Unwatch(slot));
        }
    }

    /// A look at a worker's page.
    pub fn handle_sample(&mut self, slot: Slot, sample: &Sample, now: Nanos) {
        match self.ledger.sample(slot, sample, now) {
            Some(true) => self.effects.push_back(Effect::Watch(slot)),
            Some(false) => self.effects.push_back(Effect::Unwatch(slot)),
            None => {}
        }
    }

    /// A connection from the kernel's queue, where it has been since then.
    pub fn handle_accepted(&mut self, connection: ConnectionId, affinity: u64, since: Nanos) {
        self.admission.handle_queued(since);
        self.fresh.push_back(Queued { connection, affinity, since, recalled: false });
    }

    /// A parked connection has become readable, or one has come back that nobody has read from: its
    /// worker refused it, or died. It begins to wait now.
    pub fn handle_readable(&mut self, connection: ConnectionId, affinity: u64) {
        let since = self.now;
        self.admission.handle_queued(since);
        self.returned.push_back(Queued { connection, affinity, since, recalled: false });
    }

    /// A recall worked: the connection is to be seated elsewhere. Of what is recalled the oldest is
    /// reported first, and stays first; nothing else stands before it, since recalls are planned
    /// only while nothing waits.
    pub fn handle_recalled(&mut self, slot: Slot, connection: ConnectionId, affinity: u64) {
        self.ledger.waits_no_more(slot, true);
        let since = self.now;
        self.admission.handle_queued(since);
        self.returned.push_back(Queued { connection, affinity, since, recalled: true });
    }

    /// A recall came too late: the worker has claimed the loan.
    pub fn handle_recall_lost(&mut self, slot: Slot) {
        self.ledger.waits_no_more(slot, false);
    }

    /// An idle loan of a stuck worker has become readable, or may have.
    pub fn handle_idle_readable(&mut self, slot: Slot) {
        self.ledger.set_idle_readable(slot, self.rescues);
    }

    /// A readable idle loan of a stuck worker was taken back: it is to be seated elsewhere.
    pub fn handle_rescued(&mut self, slot: Slot, connection: ConnectionId, affinity: u64) {
        self.ledger.rescued(slot);
        let since = self.now;
        self.admission.handle_queued(since);
        self.returned.push_back(Queued { connection, affinity, since, recalled: true });
    }

    /// A rescue has been carried out. `more`: others are readable, or have not been looked at.
    pub fn handle_rescue_over(&mut self, slot: Slot, more: bool) {
        self.ledger.set_idle_readable(slot, self.rescues && more);
    }

    /// The worker's channel, or its page, is full: these were not lent. They wait in front, in
    /// their order, and that worker gets nothing until the next look at it.
    pub fn handle_back_pressure(&mut self, slot: Slot, connections: &[(ConnectionId, u64)]) {
        for (connection, affinity) in connections.iter().rev() {
            self.ledger.waits_no_more(slot, true);
            let (connection, affinity) = (*connection, *affinity);
            // It has not stopped waiting: who bounces every time must grow old too.
            let lent = self.lent.iter().rev().find(|lent| lent.connection == connection);
            let since = lent.map_or(self.now, |lent| lent.since);
            self.admission.handle_queued(since);
            self.returned.push_front(Queued { connection, affinity, since, recalled: false });
        }
        self.ledger.block(slot);
    }

    /// Whether connections are known to wait in the kernel's queue.
    pub fn handle_kernel_waits(&mut self, waits: bool) {
        self.admission.handle_kernel_waits(waits);
    }

    /// How many wait in the kernel's queue; `None` where it cannot say. Asked for by
    /// [`next_backlog_look`](Dispatcher::next_backlog_look).
    pub fn handle_backlog(&mut self, length: Option<u32>) {
        self.admission.handle_backlog(length, self.queued());
    }

    /// How many connections the master may accept now. With no credit anywhere it is 0, and the
    /// kernel's queue waits. Where connections have come back too, each of the two queues gets half
    /// of the credit, and an odd one in turn: neither starves. An open waiting room takes in, without
    /// credit, what it has places for.
    pub fn accept_budget(&mut self, kernel_waits: bool) -> usize {
        let credit = usize::try_from(self.ledger.credit()).unwrap_or(usize::MAX);
        let credit = credit.saturating_sub(self.fresh.len());
        let places = self.admission.free_places(self.fresh.len());
        if !kernel_waits || credit == 0 {
            return credit.max(places);
        }
        let (half, odd) = (credit / 2, credit % 2);
        let for_returned = half + if self.kernel_first { 0 } else { odd };
        if odd == 1 && self.returned.len() > half {
            self.kernel_first = !self.kernel_first;
        }
        (credit - self.returned.len().min(for_returned)).max(places)
    }

    /// Seats what waits, as far as there is credit, turns away what is beyond the limits, and plans
    /// what is to be taken back.
    pub fn decide(&mut self) {
        self.seat_waiting();
        if self.queued() == 0 {
            let planned = self.plan_recalls();
            if self.rescues {
                self.plan_rescues(planned);
            }
        }
    }

    /// As [`Dispatcher::decide`], and takes nothing back: what a turn has left undone waits for the
    /// next one, but nothing waits beside credit until then.
    pub fn seat_waiting(&mut self) {
        self.lent.clear();
        loop {
            // The two alternate, as their shares of the credit do; also from decision to decision,
            // since credit may come one by one.
            let from_returned = match (self.returned.is_empty(), self.fresh.is_empty()) {
                (true, true) => break,
                (false, true) => true,
                (true, false) => false,
                (false, false) => self.returned_next,
            };
            let queue = if from_returned { &mut self.returned } else { &mut self.fresh };
            let Some(queued) = queue.front().copied() else { break };
            let Some(place) = pick(self.policy.as_mut(), &self.ledger, queued) else { break };
            queue.pop_front();
            self.returned_next = !from_returned;
            let slot = self.ledger.candidates()[place].slot;
            self.ledger.lend(place, self.now);
            if self.admission.is_on() {
                self.lent.push(queued);
            }
            self.effects.push_back(Effect::Lend { connection: queued.connection, slot });
        }
        self.admission.shed(&mut self.fresh, &mut self.returned, &mut self.effects);
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// What the master would hear of while it sleeps: the same for all workers.
    /// `kernel_waits`: connections are known to wait in the kernel's queue.
    pub fn wish(&self, kernel_waits: bool) -> Wish {
        let waits_for_rescue = self.rescues && self.ledger.rescuable() > 0;
        let stranded = waits_for_rescue || self.ledger.any_stranded();
        let waits = kernel_waits || self.queued() > 0 || stranded;
        if self.ledger.free_credit() == 0 && waits {
            Wish::Room
        } else if stranded {
            Wish::Idle
        } else if self.ledger.any_behind() {
            Wish::IdleThread
        } else {
            Wish::Nothing
        }
    }

    /// At what load the worker in this slot is to ring, by that wish.
    pub fn bell_threshold(&self, slot: Slot, wish: Wish) -> Option<u32> {
        let candidate = self.ledger.get(slot)?;
        match wish {
            Wish::Nothing => None,
            Wish::Room => Some(self.ledger.room_at(candidate)),
            Wish::Idle => Some(candidate.idle_at()),
            Wish::IdleThread => candidate.thread_idle_at(),
        }
    }

    /// When the master must look again at the latest: a worker will be stuck then, or what waits
    /// behind others will have waited too long, and somebody else might take it.
    pub fn next_look(&self) -> Option<Nanos> {
        let ledger = &self.ledger;
        if ledger.candidates().len() < 2 {
            return None;
        }
        let look = |one: &Candidate| match one.stuck {
            true => [one.hopeless_at(self.rescues), None],
            false => [ledger.look_at(one, self.rescues), one.overdue_at(ledger.patience())],
        };
        ledger.candidates().iter().flat_map(look).flatten().min()
    }

    /// When the length of the kernel's queue is of interest; never while somebody has credit.
    pub fn next_backlog_look(&self) -> Option<Nanos> {
        self.admission.next_look().filter(|_| self.ledger.credit() == 0)
    }

    /// When somebody who waits here will have waited too long.
    pub fn next_shed(&self) -> Option<Nanos> {
        self.admission.due()
    }

    /// Whether there is a limit to waiting.
    pub fn sheds(&self) -> bool {
        self.admission.is_on()
    }

    /// Whether connections are accepted without credit.
    pub fn is_room_open(&self) -> bool {
        self.admission.is_open()
    }

    /// What is known of the worker in a slot.
    pub fn candidate(&self, slot: Slot) -> Option<&Candidate> {
        self.ledger.get(slot)
    }

    /// How many connections may wait or be served, all workers together, and how many more could
    /// come now. The stuck have no room, whatever they may be lent for want of others.
    pub fn room(&self) -> (u32, u32) {
        let small = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        (small(self.ledger.allowance_of_all()), small(self.ledger.free_credit()))
    }

    /// Who waits to be seated, in order, and since when.
    pub fn waiting(&self) -> impl Iterator<Item = (ConnectionId, Nanos)> {
        self.returned.iter().chain(&self.fresh).map(|queued| (queued.connection, queued.since))
    }

    /// Connections that wait to be seated.
    pub fn queued(&self) -> usize {
        self.fresh.len() + self.returned.len()
    }

    /// Whether readable loans of a stuck worker wait to be taken back, and somebody has room: the
    /// master decides again before it sleeps.
    pub fn has_rescues(&self) -> bool {
        let candidates = self.ledger.candidates();
        self.rescues
            && self.ledger.rescuable() > 0
            && candidates.iter().any(|one| one.wants_rescue() && self.room_elsewhere(one) > 0)
    }

    /// Whether somebody waits to be seated beside credit: only before a decision, as when an upgrade
    /// has left a queue. The master decides before it sleeps.
    pub fn is_undecided(&self) -> bool {
        self.queued() > 0 && self.ledger.credit() > 0
    }

    /// Whether any worker makes progress and has room.
    pub fn has_free_credit(&self) -> bool {
        self.ledger.free_credit() > 0
    }

    /// Panics unless, after [`decide`](Dispatcher::decide), nothing waits while somebody has credit
    /// (work conservation), and the ledger agrees with itself.
    pub fn check_invariants(&self) {
        self.ledger.check_invariants();
        self.admission.check_invariants(&self.fresh, &self.returned);
        assert!(!self.is_undecided(), "nothing waits beside credit");
    }
}

/// Where a connection goes.
fn pick(policy: &mut dyn Policy, ledger: &Ledger, queued: Queued) -> Option<usize> {
    let candidates = ledger.candidates();
    if queued.recalled {
        let key = |place: &usize| {
            let one = &candidates[*place];
            // A loop that is busy for a moment is better than a busy thread.
            (one.free_places() == 0, one.places_at_once() == 0, one.load(), one.open)
        };
        return (0..candidates.len())
            .filter(|place| candidates[*place].is_eligible())
            .min_by_key(key);
    }
    policy.pick(ledger, queued.affinity)
}
