//! The ledger: what each worker holds right now, in one dense array.
//!
//! Once a turn the master looks at a worker's page and hands the numbers over ([`Sample`]); between
//! two looks the ledger counts what it lends itself. A pick reads this array and nothing else: no
//! shared page, no system call. Every number may come from a hostile worker, so arithmetic saturates.
//!
//! Not here: who is picked (`policy`), when a worker is stuck (`stuck`).

use std::time::Duration;

use crate::config::{PREFETCH_MAX, RECALL_PATIENCE_SHARE};
use crate::dispatch::candidate::{Candidate, Sample, Shape};
use crate::dispatch::stuck::next_look;
use crate::ident::Slot;
use crate::time::Nanos;

/// All candidates, in order of their slots.
#[derive(Debug, Default)]
pub struct Ledger {
    candidates: Vec<Candidate>,
    stall_after: Duration,
    credit_override: Option<u16>,
    /// When workers were last looked at.
    sampled_at: Nanos,
    /// When a second worker came: what began before winds no alarm.
    helped_since: Nanos,
    /// Credit of those that are not stuck, all together.
    free_credit: u64,
}

impl Ledger {
    pub(super) fn new(stall_after: Duration, credit_override: Option<u16>) -> Self {
        Ledger {
            candidates: Vec::new(),
            stall_after,
            credit_override,
            sampled_at: Nanos(0),
            helped_since: Nanos(0),
            free_credit: 0,
        }
    }

    /// A worker is ready, or another one has taken its slot.
    pub(super) fn insert(&mut self, slot: Slot, shape: Shape, now: Nanos) {
        self.remove(slot);
        if self.candidates.len() == 1 {
            self.helped_since = now;
        }
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
        let (stall_after, patience) = (self.stall_after, self.patience());
        let changed = self.candidates[place].take_sample(sample, stall_after, patience, now);
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
            // What is lent next has not waited long.
            candidate.waits_long = false;
            if came_back {
                candidate.oldest_waiting = None;
                candidate.nothing_claimed_since = None;
            }
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
    /// it has not claimed, and, if `idle_too`, those that are idle. For these it winds an alarm when
    /// it begins something; only the second look, at the exact moment, is the master's own to see to,
    /// and what began when nobody could have helped yet.
    pub(super) fn look_at(&self, candidate: &Candidate, idle_too: bool) -> Option<Nanos> {
        let has_idle = idle_too && candidate.shape.recallable && candidate.open > candidate.load();
        let half = self.stall_after / 2;
        // A worker hears a moment later that its alarm is wanted; a look too many does no harm.
        let alarms_since = self.helped_since + self.stall_after;
        let is_ours =
            |since: &Nanos| self.sampled_at.since(*since) >= half || *since <= alarms_since;
        let busy_since = candidate.busy_since.filter(|since| has_idle && is_ours(since));
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
