//! A worker in numbers: what it said that it is, what it holds, and whether it has room.
//!
//! Every number may come from a hostile worker, so arithmetic saturates.
//!
//! Not here: all of them together (`ledger`), who is picked (`policy`), what stuck means (`stuck`).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::RESCUE_PATIENCE;
use crate::dispatch::stuck::{is_stuck, is_unrun, unrun_for};
use crate::ident::Slot;
use crate::time::Nanos;

/// What a worker said that it is when it became Ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Handler threads; 0 if handlers run on its loop.
    pub threads: u16,
    /// Connections it wants to have waiting; 0 leaves it to its kind.
    pub credit: u16,
    /// It has a page: what it has not claimed can be taken back.
    pub recallable: bool,
}

/// One look at one worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Loans that it has not claimed.
    pub waiting: u32,
    /// When the oldest of them was lent.
    pub oldest_waiting: Option<Nanos>,
    /// Since when it has claimed none of them: the later of that moment and its last claim.
    pub nothing_claimed_since: Option<Nanos>,
    /// Requests begun, ever.
    pub started: u64,
    /// Of those, how many are over.
    pub finished: u64,
    /// Complete requests that wait for a thread.
    pub queued: u32,
    /// Threads that are taken.
    pub threads_busy: u32,
    /// Since when no thread is free; zero while one is.
    pub all_busy_since: Nanos,
    /// When the loop's turn began; zero while it waits.
    pub turn_entered: Nanos,
    /// Connections that it holds.
    pub open: u32,
    /// Time spent in handlers, ever.
    pub busy_ns: u64,
    /// Handler calls that this is the sum of.
    pub services: u64,
    /// A signal has stopped the process.
    pub stopped: bool,
}

/// A worker as a policy sees it: numbers only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub slot: Slot,
    /// Loans that it has not claimed.
    pub waiting: u32,
    /// Requests in service.
    pub active: u32,
    /// Connections that it holds.
    pub open: u32,
    /// How many more it may be lent now.
    pub credit: u32,
    /// Of a loop: how many it is through with well before it would count as stuck.
    pub(super) quick: u32,
    /// Average time of a request, in nanoseconds; 0 while nothing is known.
    pub service_ns: u64,
    /// It makes no progress: ranks behind all that do.
    pub stuck: bool,
    pub(super) eligible: bool,
    pub(super) shape: Shape,
    /// Requests that hold or want a thread.
    pub(super) in_threads: u32,
    in_turn: bool,
    /// It has loans to claim, and has not been run since.
    pub(super) unrun: bool,
    /// And that for so long that nothing is to be had there at once.
    overslept: bool,
    pub(super) stopped: bool,
    /// The oldest loan that it has not claimed has waited for longer than a recall's patience.
    pub(super) waits_long: bool,
    /// Its channel was full: nothing until the next look.
    pub(super) blocked: bool,
    pub(super) recalls_planned: u32,
    /// Idle loans of it may be readable, and nobody has looked at all of them. Only of a stuck one.
    pub(super) idle_readable: bool,
    /// It has just become stuck: whether they are, nobody has looked at all.
    pub(super) idle_unlooked: bool,
    /// Since when it is busy with one and the same thing: a turn, or all its threads.
    pub(super) busy_since: Option<Nanos>,
    /// The same as it says itself: its alarm goes by that.
    pub(super) says_busy_since: Option<Nanos>,
    /// When it was first seen to be stuck.
    stuck_since: Option<Nanos>,
    hopeless: bool,
    pub(super) oldest_waiting: Option<Nanos>,
    pub(super) nothing_claimed_since: Option<Nanos>,
    services_seen: (u64, u64),
    turn: Stamp,
    all_busy: Stamp,
    looked_at: Nanos,
}

/// Since when something lasts, as a worker says and as it is believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stamp {
    said: Nanos,
    since: Nanos,
}

impl Stamp {
    /// What was not there at the last look has begun since. A worker that said otherwise each time
    /// would be looked at without end: each look would find it about to be stuck.
    fn take(&mut self, said: Nanos, looked_at: Nanos) -> Nanos {
        if said != self.said {
            let began = if said == Nanos(0) { said } else { said.max(looked_at) };
            *self = Stamp { said, since: began };
        }
        self.since
    }
}

impl Candidate {
    pub(super) fn new(slot: Slot, shape: Shape) -> Self {
        Candidate {
            slot,
            waiting: 0,
            active: 0,
            open: 0,
            credit: 0,
            quick: 0,
            service_ns: 0,
            stuck: false,
            eligible: false,
            shape,
            in_threads: 0,
            in_turn: false,
            unrun: false,
            overslept: false,
            stopped: false,
            waits_long: false,
            blocked: false,
            recalls_planned: 0,
            idle_readable: false,
            idle_unlooked: false,
            busy_since: None,
            says_busy_since: None,
            stuck_since: None,
            hopeless: false,
            oldest_waiting: None,
            nothing_claimed_since: None,
            services_seen: (0, 0),
            turn: Stamp::default(),
            all_busy: Stamp::default(),
            looked_at: Nanos(0),
        }
    }

    /// Takes a look over. Returns whether it has become stuck, or has stopped being it.
    pub(super) fn take_sample(
        &mut self,
        sample: &Sample,
        stall_after: Duration,
        patience: Duration,
        now: Nanos,
    ) -> Option<bool> {
        let threads = self.shape.threads > 0;
        let earliest = |turn: Nanos, all_busy: Nanos| {
            let stamps = [Some(turn), threads.then_some(all_busy)].into_iter().flatten();
            stamps.filter(|stamp| *stamp != Nanos(0)).min()
        };
        self.says_busy_since = earliest(sample.turn_entered, sample.all_busy_since);
        let sample = &Sample {
            turn_entered: self.turn.take(sample.turn_entered, self.looked_at),
            all_busy_since: self.all_busy.take(sample.all_busy_since, self.looked_at),
            ..*sample
        };
        self.looked_at = now;
        let stuck = is_stuck(sample, self.shape, stall_after, now);
        self.waiting = sample.waiting;
        self.oldest_waiting = sample.oldest_waiting;
        self.nothing_claimed_since = sample.nothing_claimed_since;
        self.active = small(sample.started.saturating_sub(sample.finished));
        self.open = sample.open;
        self.in_threads = sample.queued.saturating_add(sample.threads_busy);
        self.in_turn = sample.turn_entered != Nanos(0);
        self.stopped = sample.stopped;
        self.unrun = is_unrun(sample, self.shape);
        let unclaimed = sample.nothing_claimed_since;
        self.overslept = self.unrun && unclaimed.is_some_and(|at| now.since(at) > stall_after);
        let patience = if self.unrun { unrun_for(stall_after) } else { patience };
        self.waits_long =
            sample.oldest_waiting.is_some_and(|lent_at| now.since(lent_at) >= patience);
        self.blocked = false;
        self.recalls_planned = 0;
        self.busy_since = earliest(sample.turn_entered, sample.all_busy_since);
        self.average(sample);
        let changed = (self.stuck != stuck).then_some(stuck);
        if changed.is_some() {
            self.stuck_since = stuck.then_some(now);
            (self.idle_readable, self.idle_unlooked) = (stuck, stuck);
        }
        self.stuck = stuck;
        // Nobody knows when a stopped one goes on.
        self.hopeless = sample.stopped
            || self.stuck_since.is_some_and(|since| now.since(since) >= RESCUE_PATIENCE);
        changed
    }

    /// Requests that wait or are in service here.
    pub fn load(&self) -> u32 {
        self.waiting.saturating_add(self.active)
    }

    /// Whether a policy may pick it.
    pub fn is_eligible(&self) -> bool {
        self.eligible
    }

    /// Connections that would be served at once: idle threads, or an idle loop.
    pub(super) fn free_places(&self) -> u32 {
        if self.stuck || self.blocked || self.overslept {
            return 0;
        }
        let idle = match self.shape.threads {
            0 => u32::from(self.load() == 0 && !self.in_turn),
            threads => {
                u32::from(threads).saturating_sub(self.waiting.saturating_add(self.in_threads))
            }
        };
        // A small `--credit` leaves threads idle on purpose: what is recalled for one of those
        // would find no way to it, and go back and forth.
        idle.min(self.credit)
    }

    /// Loans that wait behind others: what idle threads, or the loop's next turn, do not take.
    pub(super) fn waits_behind(&self) -> u32 {
        let free = match self.shape.threads {
            0 => 1,
            threads => u32::from(threads).saturating_sub(self.in_threads),
        };
        self.recallable().saturating_sub(free)
    }

    /// Of those, what has waited so long that a recall is worth its price.
    pub(super) fn overdue_behind(&self) -> u32 {
        if self.waits_long { self.waits_behind() } else { 0 }
    }

    /// When what waits behind others will have waited too long. One that has not been run is looked
    /// at anyway.
    pub(super) fn overdue_at(&self, patience: Duration) -> Option<Nanos> {
        let waits = self.waits_behind() > 0 && !self.waits_long && !self.unrun;
        self.oldest_waiting.filter(|_| waits).map(|lent_at| lent_at + patience)
    }

    /// Connections that it would serve within a moment: by threads that are free; by a loop that
    /// waits, or that is through quickly with what waits for it already.
    pub(super) fn places_at_once(&self) -> u32 {
        match self.shape.threads {
            _ if self.stuck || self.overslept => 0,
            0 => {
                let waits = u32::from(self.waiting == 0 && !self.in_turn);
                self.quick.saturating_sub(self.waiting).max(waits).min(self.credit)
            }
            _ => self.free_places(),
        }
    }

    /// Idle loans of it are to be looked through for readable ones.
    pub(super) fn wants_rescue(&self) -> bool {
        self.stuck && self.idle_readable && self.shape.recallable
    }

    /// It has been stuck for so long, or is stopped, that any other place is better.
    pub(super) fn is_hopeless(&self) -> bool {
        self.hopeless
    }

    /// It is stuck with loans that it has not claimed, and that can be taken back.
    pub(super) fn is_stranded(&self) -> bool {
        self.stuck && self.shape.recallable && self.waiting > 0
    }

    /// When it will be hopeless, if loans of it still wait by then: unread ones, or (`idle_too`)
    /// readable ones.
    pub(super) fn hopeless_at(&self, idle_too: bool) -> Option<Nanos> {
        let waits = self.is_stranded() || (idle_too && self.wants_rescue());
        self.stuck_since.filter(|_| waits && !self.hopeless).map(|since| since + RESCUE_PATIENCE)
    }

    /// Loans that a recall may be planned for.
    pub(super) fn recallable(&self) -> u32 {
        if self.shape.recallable { self.waiting.saturating_sub(self.recalls_planned) } else { 0 }
    }

    /// Up to this load a thread is idle there, for which nothing waits; never of a loop.
    pub(super) fn thread_idle_at(&self) -> Option<u32> {
        u32::from(self.shape.threads).checked_sub(1)
    }

    /// The same, or the loop is.
    pub(super) fn idle_at(&self) -> u32 {
        self.thread_idle_at().unwrap_or(0)
    }

    /// Of its allowance.
    pub(super) fn used(&self) -> u32 {
        match self.shape.threads {
            0 => self.waiting,
            _ => self.waiting.saturating_add(self.in_threads),
        }
    }

    /// Moves the average service time by an eighth towards what was seen since the last look.
    fn average(&mut self, sample: &Sample) {
        let (busy_before, count_before) = self.services_seen;
        let count = sample.services.saturating_sub(count_before);
        if let Some(seen) = sample.busy_ns.saturating_sub(busy_before).checked_div(count) {
            let before = self.service_ns;
            self.service_ns = if before == 0 { seen } else { before - before / 8 + seen / 8 };
        }
        self.services_seen = (sample.busy_ns, sample.services);
    }
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
