//! The ledger: what each worker holds right now, in one dense array.
//!
//! Once a turn the master looks at a worker's page and hands the numbers over ([`Sample`]); between
//! two looks the ledger counts what it lends itself. A pick reads this array and nothing else: no
//! shared page, no system call. Every number may come from a hostile worker, so arithmetic saturates.
//!
//! Not here: who is picked (`policy`), when a worker is stuck (`stuck`).

use std::time::Duration;

use crate::config::{PREFETCH_MAX, RECALL_PATIENCE_SHARE, RESCUE_PATIENCE};
use crate::dispatch::stuck::{is_stuck, next_look};
use crate::ident::Slot;
use crate::time::Nanos;

/// What a worker said that it is when it became Ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Average time of a request, in nanoseconds; 0 while nothing is known.
    pub service_ns: u64,
    /// It makes no progress: ranks behind all that do.
    pub stuck: bool,
    eligible: bool,
    shape: Shape,
    /// Requests that hold or want a thread.
    in_threads: u32,
    in_turn: bool,
    stopped: bool,
    /// The oldest loan that it has not claimed has waited for longer than a recall's patience.
    waits_long: bool,
    /// Its channel was full: nothing until the next look.
    blocked: bool,
    pub(super) recalls_planned: u32,
    /// Idle loans of it may be readable, and nobody has looked at all of them. Only of a stuck one.
    pub(super) idle_readable: bool,
    /// Since when it is busy with one and the same thing: a turn, or all its threads.
    busy_since: Option<Nanos>,
    /// When it was first seen to be stuck.
    stuck_since: Option<Nanos>,
    hopeless: bool,
    oldest_waiting: Option<Nanos>,
    nothing_claimed_since: Option<Nanos>,
    services_seen: (u64, u64),
}

/// All candidates, in order of their slots.
#[derive(Debug, Default)]
pub struct Ledger {
    candidates: Vec<Candidate>,
    stall_after: Duration,
    credit_override: Option<u16>,
    /// When workers were last looked at.
    sampled_at: Nanos,
    /// Credit of those that are not stuck, all together.
    free_credit: u64,
}

impl Candidate {
    fn new(slot: Slot, shape: Shape) -> Self {
        Candidate {
            slot,
            waiting: 0,
            active: 0,
            open: 0,
            credit: 0,
            service_ns: 0,
            stuck: false,
            eligible: false,
            shape,
            in_threads: 0,
            in_turn: false,
            stopped: false,
            waits_long: false,
            blocked: false,
            recalls_planned: 0,
            idle_readable: false,
            busy_since: None,
            stuck_since: None,
            hopeless: false,
            oldest_waiting: None,
            nothing_claimed_since: None,
            services_seen: (0, 0),
        }
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
        if self.stuck || self.blocked {
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

    /// When what waits behind others will have waited too long.
    pub(super) fn overdue_at(&self, patience: Duration) -> Option<Nanos> {
        let waits = self.waits_behind() > 0 && !self.waits_long;
        self.oldest_waiting.filter(|_| waits).map(|lent_at| lent_at + patience)
    }

    /// Connections that it would serve within a moment: a loop takes one after the other, threads
    /// must be free.
    pub(super) fn places_at_once(&self) -> u32 {
        match self.shape.threads {
            _ if self.stuck => 0,
            0 => self.credit,
            _ => self.free_places(),
        }
    }

    /// Idle loans of it are to be looked through for readable ones.
    pub(super) fn wants_rescue(&self) -> bool {
        self.stuck && self.idle_readable && self.shape.recallable
    }

    /// It has been stuck for so long that any other place is better.
    pub(super) fn is_hopeless(&self) -> bool {
        self.hopeless
    }

    /// When that will be, if its readable loans still wait by then.
    pub(super) fn hopeless_at(&self) -> Option<Nanos> {
        let waits = self.wants_rescue() && !self.hopeless;
        self.stuck_since.filter(|_| waits).map(|since| since + RESCUE_PATIENCE)
    }

    /// Loans that a recall may be planned for.
    pub(super) fn recallable(&self) -> u32 {
        if self.shape.recallable { self.waiting.saturating_sub(self.recalls_planned) } else { 0 }
    }

    /// Ring when a thread is free and nothing waits for it; never for a loop.
    pub(super) fn thread_free(&self) -> Option<u32> {
        u32::from(self.shape.threads).checked_sub(1)
    }

    fn used(&self) -> u32 {
        match self.shape.threads {
            0 => self.waiting,
            _ => self.waiting.saturating_add(self.in_threads),
        }
    }
}

impl Ledger {
    pub(super) fn new(stall_after: Duration, credit_override: Option<u16>) -> Self {
        Ledger {
            candidates: Vec::new(),
            stall_after,
            credit_override,
            sampled_at: Nanos(0),
            free_credit: 0,
        }
    }

    /// A worker is ready, or another one has taken its slot.
    pub(super) fn insert(&mut self, slot: Slot, shape: Shape) {
        self.remove(slot);
        let place = self.candidates.partition_point(|candidate| candidate.slot < slot);
        self.candidates.insert(place, Candidate::new(slot, shape));
        self.settle_credit();
    }

    /// It gets nothing more.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<Candidate> {
        let place = self.place(slot)?;
        let candidate = self.candidates.remove(place);
        self.settle_credit();
        Some(candidate)
    }

    /// Takes a look over. Returns whether the worker has become stuck, or has stopped being it.
    pub(super) fn sample(&mut self, slot: Slot, sample: &Sample, now: Nanos) -> Option<bool> {
        let place = self.place(slot)?;
        let stuck = is_stuck(sample, self.candidates[place].shape.threads, self.stall_after, now);
        let patience = self.patience();
        let candidate = &mut self.candidates[place];
        let threads = candidate.shape.threads > 0;
        candidate.waiting = sample.waiting;
        candidate.oldest_waiting = sample.oldest_waiting;
        candidate.nothing_claimed_since = sample.nothing_claimed_since;
        candidate.active = small(sample.started.saturating_sub(sample.finished));
        candidate.open = sample.open;
        candidate.in_threads = sample.queued.saturating_add(sample.threads_busy);
        candidate.in_turn = sample.turn_entered != Nanos(0);
        candidate.stopped = sample.stopped;
        candidate.waits_long =
            sample.oldest_waiting.is_some_and(|lent_at| now.since(lent_at) >= patience);
        candidate.blocked = false;
        candidate.recalls_planned = 0;
        candidate.busy_since =
            [Some(sample.turn_entered), threads.then_some(sample.all_busy_since)]
                .into_iter()
                .flatten()
                .filter(|stamp| *stamp != Nanos(0))
                .min();
        average(candidate, sample);
        let changed = (candidate.stuck != stuck).then_some(stuck);
        if changed.is_some() {
            candidate.stuck_since = stuck.then_some(now);
            candidate.idle_readable = stuck;
        }
        candidate.stuck = stuck;
        candidate.hopeless =
            candidate.stuck_since.is_some_and(|since| now.since(since) >= RESCUE_PATIENCE);
        self.sampled_at = now;
        self.settle_credit();
        changed
    }

    /// One more is lent to the candidate at this place. It has claimed nothing since, as far as is
    /// known before the next look at it: without these stamps nobody would take that look.
    pub(super) fn lend(&mut self, place: usize, now: Nanos) {
        let candidate = &mut self.candidates[place];
        candidate.oldest_waiting.get_or_insert(now);
        candidate.nothing_claimed_since.get_or_insert(now);
        candidate.waiting = candidate.waiting.saturating_add(1);
        candidate.open = candidate.open.saturating_add(1);
        candidate.credit = candidate.credit.saturating_sub(1);
        if candidate.credit == 0 {
            candidate.eligible = false;
        }
        if !candidate.stuck {
            self.free_credit = self.free_credit.saturating_sub(1);
            if self.free_credit == 0 {
                self.settle_credit();
            }
        }
    }

    /// One that was lent does not wait there any more: it came back, or was claimed.
    pub(super) fn waits_no_more(&mut self, slot: Slot, came_back: bool) {
        let Some(place) = self.place(slot) else { return };
        let candidate = &mut self.candidates[place];
        candidate.waiting = candidate.waiting.saturating_sub(1);
        candidate.recalls_planned = candidate.recalls_planned.saturating_sub(1);
        if candidate.waiting == 0 {
            candidate.oldest_waiting = None;
            candidate.nothing_claimed_since = None;
        }
        if came_back {
            candidate.open = candidate.open.saturating_sub(1);
        } else {
            candidate.active = candidate.active.saturating_add(1);
            candidate.in_threads = candidate.in_threads.saturating_add(1);
        }
        self.settle_credit();
    }

    /// An idle one was taken back.
    pub(super) fn rescued(&mut self, slot: Slot) {
        if let Some(place) = self.place(slot) {
            let candidate = &mut self.candidates[place];
            candidate.open = candidate.open.saturating_sub(1);
        }
    }

    /// Whether idle loans of a stuck worker may be readable.
    pub(super) fn set_idle_readable(&mut self, slot: Slot, readable: bool) {
        if let Some(place) = self.place(slot) {
            let candidate = &mut self.candidates[place];
            candidate.idle_readable = readable && candidate.stuck;
        }
    }

    /// Its channel takes nothing until the next look.
    pub(super) fn block(&mut self, slot: Slot) {
        if let Some(place) = self.place(slot) {
            self.candidates[place].blocked = true;
            self.settle_credit();
        }
    }

    pub(super) fn plan_recalls(&mut self, place: usize, count: u32) {
        let candidate = &mut self.candidates[place];
        candidate.recalls_planned = candidate.recalls_planned.saturating_add(count);
    }

    /// When to look whether a worker is stuck by now, with loans that others could serve: those that
    /// it has not claimed, and, if `idle_too`, those that are idle.
    pub(super) fn look_at(&self, candidate: &Candidate, idle_too: bool) -> Option<Nanos> {
        let has_idle = idle_too && candidate.shape.recallable && candidate.open > candidate.load();
        let busy_since = candidate.busy_since.filter(|_| has_idle);
        let stamps = [candidate.nothing_claimed_since, busy_since].into_iter().flatten();
        stamps.map(|since| next_look(since, self.stall_after, self.sampled_at)).min()
    }

    /// How long a loan may wait behind others before a worker that is idle gets it.
    pub(super) fn patience(&self) -> Duration {
        self.stall_after / RECALL_PATIENCE_SHARE
    }

    /// Every candidate.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// One of them.
    pub fn get(&self, slot: Slot) -> Option<&Candidate> {
        self.place(slot).map(|place| &self.candidates[place])
    }

    /// How many may be lent now, all together.
    pub(super) fn credit(&self) -> u64 {
        self.eligible().map(|candidate| u64::from(candidate.credit)).sum()
    }

    /// Of that, at workers that are not stuck.
    pub(super) fn free_credit(&self) -> u64 {
        self.free_credit
    }

    /// What a worker may hold at once, waiting (and in its threads).
    pub(super) fn allowance(&self, candidate: &Candidate) -> u32 {
        let own = candidate.shape.credit;
        let by_kind = match candidate.shape.threads {
            0 => u32::from(PREFETCH_MAX),
            threads => u32::from(threads) + u32::from(PREFETCH_MAX),
        };
        match (self.credit_override, own) {
            (Some(credit), _) => u32::from(credit),
            (None, 0) => by_kind,
            (None, own) => u32::from(own),
        }
    }

    /// At what load a worker has room worth a bell: it is half empty (a bell for every single place
    /// would wake the master for each request), or a thread of it is idle.
    pub(super) fn room_at(&self, candidate: &Candidate) -> u32 {
        let allowance = self.allowance(candidate);
        let thread_idle = u32::from(candidate.shape.threads).min(allowance).saturating_sub(1);
        thread_idle.max(allowance / 2)
    }

    /// - slots rise
    /// - `free_credit` = Σ credit over those that are not stuck
    /// - eligible ⇒ credit > 0; and while `free_credit` > 0, eligible ⇒ not stuck
    pub(super) fn check_invariants(&self) {
        assert!(self.candidates.is_sorted_by(|one, next| one.slot < next.slot), "slots rise");
        let free = self.candidates.iter().filter(|one| !one.stuck);
        let credit: u64 = free.map(|candidate| u64::from(candidate.credit)).sum();
        assert_eq!(credit, self.free_credit, "free credit");
        for candidate in self.eligible() {
            assert!(candidate.credit > 0, "who is eligible has credit");
            assert!(!candidate.stuck || credit == 0, "the stuck rank last");
        }
    }

    fn eligible(&self) -> impl Iterator<Item = &Candidate> {
        self.candidates.iter().filter(|candidate| candidate.is_eligible())
    }

    fn place(&self, slot: Slot) -> Option<usize> {
        self.candidates.binary_search_by_key(&slot, |candidate| candidate.slot).ok()
    }

    /// Works out anew who may be lent how much.
    fn settle_credit(&mut self) {
        let mut free_credit = 0;
        for place in 0..self.candidates.len() {
            let allowance = self.allowance(&self.candidates[place]);
            let candidate = &mut self.candidates[place];
            candidate.credit = if candidate.blocked || candidate.stopped {
                0
            } else if candidate.stuck {
                // One may wait there, so that it has something to do when it comes back; more
                // would only have to be recalled.
                allowance
                    .saturating_sub(candidate.used())
                    .min(1_u32.saturating_sub(candidate.waiting))
            } else {
                free_credit += u64::from(allowance.saturating_sub(candidate.used()));
                allowance.saturating_sub(candidate.used())
            };
        }
        self.free_credit = free_credit;
        for candidate in &mut self.candidates {
            candidate.eligible = candidate.credit > 0 && (!candidate.stuck || free_credit == 0);
        }
    }
}

/// Moves the average service time by an eighth towards what was seen since the last look.
fn average(candidate: &mut Candidate, sample: &Sample) {
    let (busy_before, count_before) = candidate.services_seen;
    let count = sample.services.saturating_sub(count_before);
    if let Some(seen) = sample.busy_ns.saturating_sub(busy_before).checked_div(count) {
        let before = candidate.service_ns;
        candidate.service_ns = if before == 0 { seen } else { before - before / 8 + seen / 8 };
    }
    candidate.services_seen = (sample.busy_ns, sample.services);
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
