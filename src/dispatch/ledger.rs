//! The ledger: what each worker holds right now, in one dense array.
//!
//! Once a turn the master looks at a worker's page and hands the numbers over ([`Sample`]); between
//! two looks the ledger counts what it lends itself. Every number may come from a hostile worker, so
//! arithmetic saturates.
//!
//! A pick reads neither pages nor this array, but the *ranks* beside it: one number a worker, made by
//! the policy whenever something about that worker changes. Sums are kept the same way. So a decision
//! among a thousand workers reads eight kilobytes, and a look at one of them costs the same whether
//! there are eight or a thousand.
//!
//! Not here: who is picked (`policy`), when a worker is stuck (`stuck`).

use std::time::Duration;

use crate::config::{
    AROUND_REQUEST, PREFETCH_FAST_MAX, PREFETCH_MAX, PREFETCH_STALL_SHARE, RECALL_PATIENCE_SHARE,
};
use crate::dispatch::candidate::{Candidate, Sample, Shape};
use crate::dispatch::stuck::{first_look, next_look, next_look_at_unrun};
use crate::ident::Slot;
use crate::time::Nanos;

/// All candidates, in order of their slots.
#[derive(Debug)]
pub struct Ledger {
    candidates: Vec<Candidate>,
    /// By place: what the policy makes of each; [`NOT_ELIGIBLE`] of one that gets nothing.
    ranks: Vec<u64>,
    /// By place: all bits of one that is eligible, none of others. A mask for policies that compare
    /// worths of their own.
    fits: Vec<i32>,
    /// By block of [`BLOCK`] ranks: the least of them. A pick among a thousand reads these, and one
    /// or two blocks.
    minima: Vec<u64>,
    rank: fn(&Candidate) -> u64,
    sums: Sums,
    /// Ranks come from looks alone: what has been lent since is not known to the policy.
    by_looks_alone: bool,
    /// Changes with every worker that comes or goes.
    membership: u64,
    stall_after: Duration,
    credit_override: Option<u16>,
    /// When workers were last looked at.
    sampled_at: Nanos,
    /// When a second worker came: what began before winds no alarm.
    helped_since: Nanos,
}

/// The rank of a candidate that is not to be picked: behind all others.
pub(super) const NOT_ELIGIBLE: u64 = u64::MAX;

/// No bits: the mask of a candidate that is not to be picked.
const NOT_FIT: i32 = 0;

/// Ranks that have a minimum of their own.
const BLOCK: usize = 32;

/// What all candidates are together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    /// Credit of those that are not stuck.
    free_credit: u64,
    /// Credit of those that are.
    stuck_credit: u64,
    stuck: usize,
    /// With a loan that has waited for longer than a recall's patience.
    waits_long: usize,
    /// With a loan that waits behind others.
    behind: usize,
    /// Stuck, with loans that it has not claimed.
    stranded: usize,
    /// Stuck, with idle loans that may be readable.
    rescuable: usize,
    /// Connections that would be served within a moment.
    places_at_once: u64,
    eligible: usize,
}

impl Sums {
    fn of(candidates: &[Candidate]) -> Sums {
        let mut sums = Sums::default();
        candidates.iter().for_each(|candidate| sums.add(candidate));
        sums
    }

    fn add(&mut self, candidate: &Candidate) {
        *self.credit_of(candidate.stuck) += u64::from(candidate.credit);
        self.stuck += usize::from(candidate.stuck);
        self.waits_long += usize::from(candidate.waits_long);
        self.behind += usize::from(candidate.waits_behind() > 0);
        self.stranded += usize::from(candidate.is_stranded());
        self.rescuable += usize::from(candidate.wants_rescue());
        self.places_at_once += u64::from(candidate.places_at_once());
        self.eligible += usize::from(candidate.eligible);
    }

    fn take(&mut self, candidate: &Candidate) {
        *self.credit_of(candidate.stuck) -= u64::from(candidate.credit);
        self.stuck -= usize::from(candidate.stuck);
        self.waits_long -= usize::from(candidate.waits_long);
        self.behind -= usize::from(candidate.waits_behind() > 0);
        self.stranded -= usize::from(candidate.is_stranded());
        self.rescuable -= usize::from(candidate.wants_rescue());
        self.places_at_once -= u64::from(candidate.places_at_once());
        self.eligible -= usize::from(candidate.eligible);
    }

    fn credit_of(&mut self, stuck: bool) -> &mut u64 {
        if stuck { &mut self.stuck_credit } else { &mut self.free_credit }
    }
}

impl Ledger {
    pub(super) fn new(
        stall_after: Duration,
        credit_override: Option<u16>,
        rank: fn(&Candidate) -> u64,
    ) -> Self {
        Ledger {
            candidates: Vec::new(),
            ranks: Vec::new(),
            fits: Vec::new(),
            minima: Vec::new(),
            rank,
            sums: Sums::default(),
            by_looks_alone: false,
            membership: 0,
            stall_after,
            credit_override,
            sampled_at: Nanos(0),
            helped_since: Nanos(0),
        }
    }

    /// From now on ranks come from looks alone, however old.
    pub(super) fn rank_by_looks_alone(&mut self) {
        self.by_looks_alone = true;
    }

    /// From now on candidates are ranked in another way.
    pub(super) fn switch_rank(&mut self, rank: fn(&Candidate) -> u64) {
        self.rank = rank;
        // A policy that remembers places by the members it has seen begins anew.
        self.membership += 1;
        for place in 0..self.candidates.len() {
            self.change(place, |_| ());
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
        self.ranks.insert(place, NOT_ELIGIBLE);
        self.fits.insert(place, NOT_FIT);
        self.find_minima();
        self.membership += 1;
        self.change(place, |_| ());
    }

    /// It gets nothing more.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<Candidate> {
        let place = self.place(slot)?;
        let had_free_credit = self.sums.free_credit > 0;
        let candidate = self.candidates.remove(place);
        self.ranks.remove(place);
        self.fits.remove(place);
        self.find_minima();
        self.sums.take(&candidate);
        self.membership += 1;
        self.rank_the_stuck(had_free_credit);
        Some(candidate)
    }

    /// Takes a look over. Returns whether the worker has become stuck, or has stopped being it.
    pub(super) fn sample(&mut self, slot: Slot, sample: &Sample, now: Nanos) -> Option<bool> {
        let place = self.place(slot)?;
        let (stall_after, patience) = (self.stall_after, self.patience());
        self.sampled_at = now;
        // So that it is ranked anew.
        self.set_rank(place, NOT_ELIGIBLE);
        self.change(place, |candidate| candidate.take_sample(sample, stall_after, patience, now))
    }

    /// One more is lent to the candidate at this place. It has claimed nothing since, as far as is
    /// known before the next look at it: without these stamps nobody would take that look.
    pub(super) fn lend(&mut self, place: usize, now: Nanos) {
        self.change(place, |candidate| {
            candidate.oldest_waiting.get_or_insert(now);
            candidate.nothing_claimed_since.get_or_insert(now);
            candidate.waiting = candidate.waiting.saturating_add(1);
            candidate.open = candidate.open.saturating_add(1);
        });
    }

    /// One that was lent does not wait there any more: it came back, or was claimed.
    pub(super) fn waits_no_more(&mut self, slot: Slot, came_back: bool) {
        let Some(place) = self.place(slot) else { return };
        self.change(place, |candidate| {
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
        });
    }

    /// An idle one was taken back.
    pub(super) fn rescued(&mut self, slot: Slot) {
        if let Some(place) = self.place(slot) {
            self.change(place, |candidate| candidate.open = candidate.open.saturating_sub(1));
        }
    }

    /// Whether idle loans of a stuck worker may be readable.
    pub(super) fn set_idle_readable(&mut self, slot: Slot, readable: bool) {
        if let Some(place) = self.place(slot) {
            self.change(place, |candidate| {
                candidate.idle_readable = readable && candidate.stuck;
            });
        }
    }

    /// Its idle loans are about to be looked at.
    pub(super) fn set_idle_looked(&mut self, place: usize) {
        self.change(place, |candidate| candidate.idle_unlooked = false);
    }

    /// Its channel takes nothing until the next look.
    pub(super) fn block(&mut self, slot: Slot) {
        if let Some(place) = self.place(slot) {
            self.change(place, |candidate| candidate.blocked = true);
        }
    }

    pub(super) fn plan_recalls(&mut self, place: usize, count: u32) {
        self.change(place, |candidate| {
            candidate.recalls_planned = candidate.recalls_planned.saturating_add(count);
        });
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
        // It has rung, too early: the worker read the clock, and was not run for a while.
        let has_rung = candidate
            .says_busy_since
            .is_some_and(|since| first_look(since, self.stall_after) <= self.sampled_at);
        let is_ours = |since: &Nanos| {
            self.sampled_at.since(*since) >= half || *since <= alarms_since || has_rung
        };
        let busy_since = candidate.busy_since.filter(|since| has_idle && is_ours(since));
        let (stall_after, sampled_at) = (self.stall_after, self.sampled_at);
        let unclaimed = candidate.nothing_claimed_since.map(|since| match candidate.unrun {
            true => next_look_at_unrun(since, stall_after, sampled_at),
            false => next_look(since, stall_after, sampled_at),
        });
        let busy = busy_since.map(|since| next_look(since, stall_after, sampled_at));
        [unclaimed, busy].into_iter().flatten().min()
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

    /// By place: the policy's own number for each, the least of which is to be picked, where it
    /// picks by rank; [`NOT_ELIGIBLE`] for one that gets nothing.
    pub(super) fn ranks(&self) -> &[u64] {
        &self.ranks
    }

    /// By place: all bits set of one that is eligible, none of others.
    pub(super) fn fits(&self) -> &[i32] {
        &self.fits
    }

    /// The least rank of all.
    pub(super) fn least_rank(&self) -> u64 {
        self.minima.iter().copied().fold(NOT_ELIGIBLE, u64::min)
    }

    /// The first place from there on with this rank, which is the least of all.
    pub(super) fn first_of_least(&self, rank: u64, from: usize) -> Option<usize> {
        if from >= self.ranks.len() {
            // Whoever remembers a place may remember one that is gone.
            return None;
        }
        let begin = from / BLOCK;
        for (block, least) in self.minima.iter().enumerate().skip(begin) {
            if *least != rank {
                continue;
            }
            let first = (block * BLOCK).max(from);
            let ranks = &self.ranks[first..((block + 1) * BLOCK).min(self.ranks.len())];
            if let Some(offset) = ranks.iter().position(|one| *one == rank) {
                return Some(first + offset);
            }
        }
        None
    }

    /// How many may be picked.
    pub(super) fn eligible(&self) -> usize {
        self.sums.eligible
    }

    /// Differs from what it was as soon as a worker has come or gone.
    pub(super) fn membership(&self) -> u64 {
        self.membership
    }

    /// How many may be lent now, all together: at the stuck only while nobody else has room.
    pub(super) fn credit(&self) -> u64 {
        match self.sums.free_credit {
            0 => self.sums.stuck_credit,
            free => free,
        }
    }

    /// Of that, at workers that are not stuck.
    pub(super) fn free_credit(&self) -> u64 {
        self.sums.free_credit
    }

    /// What all workers together may hold at once.
    pub(super) fn allowance_of_all(&self) -> u64 {
        self.candidates.iter().map(|candidate| u64::from(self.allowance(candidate))).sum()
    }

    /// Whether something has waited for longer than a recall's patience, anywhere.
    pub(super) fn any_waits_long(&self) -> bool {
        self.sums.waits_long > 0
    }

    /// Whether something waits behind others, anywhere.
    pub(super) fn any_behind(&self) -> bool {
        self.sums.behind > 0
    }

    /// Whether somebody stuck has loans that it has not claimed.
    pub(super) fn any_stranded(&self) -> bool {
        self.sums.stranded > 0
    }

    /// How many of the stuck have idle loans that may be readable.
    pub(super) fn rescuable(&self) -> usize {
        self.sums.rescuable
    }

    /// How many connections would be served within a moment, all workers together.
    pub(super) fn places_at_once(&self) -> u64 {
        self.sums.places_at_once
    }

    /// What a worker may hold at once, waiting (and in its threads).
    pub(super) fn allowance(&self, candidate: &Candidate) -> u32 {
        let own = candidate.shape.credit;
        let by_kind = match candidate.shape.threads {
            0 => self.prefetch_of_loop(candidate),
            threads => u32::from(threads) + u32::from(PREFETCH_MAX),
        };
        match (self.credit_override, own) {
            (Some(credit), _) => u32::from(credit),
            (None, 0) => by_kind,
            (None, own) => u32::from(own),
        }
    }

    /// How many loans may wait at a worker that handles on its loop: what it is through with
    /// quickly. Larger packets mean fewer wake-ups, on both sides.
    fn prefetch_of_loop(&self, candidate: &Candidate) -> u32 {
        let (least, most) = (u32::from(PREFETCH_MAX), u32::from(PREFETCH_FAST_MAX));
        match candidate.service_ns {
            0 => least,
            _ => self.quick(candidate).clamp(least, most),
        }
    }

    /// How many requests a loop is through with well before it would count as stuck. One that
    /// nothing is known of counts as quick.
    fn quick(&self, candidate: &Candidate) -> u32 {
        // In 64 bits: it is asked with every change of a candidate, and a division of 128 shows.
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let each = candidate.service_ns.saturating_add(nanos(AROUND_REQUEST));
        let fit = nanos(self.stall_after / PREFETCH_STALL_SHARE) / each.max(1);
        u32::try_from(fit).unwrap_or(u32::MAX)
    }

    /// At what load a worker has room worth a bell: it is half empty (a bell for every single place
    /// would wake the master for each request), or a thread of it is idle.
    pub(super) fn room_at(&self, candidate: &Candidate) -> u32 {
        let allowance = self.allowance(candidate);
        let thread_idle = u32::from(candidate.shape.threads).min(allowance).saturating_sub(1);
        thread_idle.max(allowance / 2)
    }

    /// - slots rise
    /// - the sums are sums, and the ranks are what the policy says
    /// - eligible ⇒ credit > 0; and while somebody else has credit, eligible ⇒ not stuck
    pub(super) fn check_invariants(&self) {
        assert!(self.candidates.is_sorted_by(|one, next| one.slot < next.slot), "slots rise");
        assert_eq!(self.sums, Sums::of(&self.candidates), "sums");
        assert_eq!(self.ranks.len(), self.candidates.len(), "a rank each");
        let fits = self.ranks.iter().map(|rank| if *rank == NOT_ELIGIBLE { 0 } else { -1 });
        assert!(fits.eq(self.fits.iter().copied()), "who fits");
        let least = |ranks: &[u64]| ranks.iter().copied().fold(NOT_ELIGIBLE, u64::min);
        assert!(self.ranks.chunks(BLOCK).map(least).eq(self.minima.iter().copied()), "minima");
        let free = self.sums.free_credit;
        for (candidate, rank) in self.candidates.iter().zip(&self.ranks) {
            assert_eq!(candidate.eligible, *rank != NOT_ELIGIBLE, "who has a rank");
            if candidate.eligible {
                assert!(self.by_looks_alone || *rank == (self.rank)(candidate), "its rank");
                assert!(candidate.credit > 0, "who is eligible has credit");
                assert!(!candidate.stuck || free == 0, "the stuck rank last");
            }
        }
    }

    /// Where the worker of a slot stands: at its own number, unless a slot below it is empty.
    pub(super) fn place(&self, slot: Slot) -> Option<usize> {
        let own = usize::from(slot.0);
        if self.candidates.get(own).is_some_and(|candidate| candidate.slot == slot) {
            return Some(own);
        }
        self.candidates.binary_search_by_key(&slot, |candidate| candidate.slot).ok()
    }

    /// The only way to change what credit, rank and sums depend on.
    fn change<T>(&mut self, place: usize, change: impl FnOnce(&mut Candidate) -> T) -> T {
        let had_free_credit = self.sums.free_credit > 0;
        self.sums.take(&self.candidates[place]);
        let done = change(&mut self.candidates[place]);
        let allowance = self.allowance(&self.candidates[place]);
        let quick = self.quick(&self.candidates[place]);
        let candidate = &mut self.candidates[place];
        candidate.quick = quick;
        let free = allowance.saturating_sub(candidate.used());
        candidate.credit = if candidate.blocked || candidate.stopped {
            0
        } else if candidate.stuck {
            // One may wait there, so that it has something to do when it comes back; more would
            // only have to be recalled.
            free.min(1_u32.saturating_sub(candidate.waiting))
        } else {
            free
        };
        self.sums.add(&self.candidates[place]);
        self.settle(place);
        self.rank_the_stuck(had_free_credit);
        done
    }

    /// The stuck are eligible while nobody else has credit: all of them are looked at when that
    /// changes.
    fn rank_the_stuck(&mut self, had_free_credit: bool) {
        if self.sums.stuck == 0 || had_free_credit == (self.sums.free_credit > 0) {
            return;
        }
        for place in 0..self.candidates.len() {
            if self.candidates[place].stuck {
                self.settle(place);
            }
        }
    }

    /// Whether the candidate at this place may be picked, and its rank.
    fn settle(&mut self, place: usize) {
        let is_last_resort = self.sums.free_credit == 0;
        let candidate = &mut self.candidates[place];
        let eligible = candidate.credit > 0 && (!candidate.stuck || is_last_resort);
        self.sums.eligible -= usize::from(candidate.eligible);
        self.sums.eligible += usize::from(eligible);
        candidate.eligible = eligible;
        let rank = match self.ranks[place] {
            _ if !eligible => NOT_ELIGIBLE,
            rank if self.by_looks_alone && rank != NOT_ELIGIBLE => rank,
            _ => (self.rank)(candidate),
        };
        self.set_rank(place, rank);
    }

    fn set_rank(&mut self, place: usize, rank: u64) {
        self.fits[place] = if rank == NOT_ELIGIBLE { NOT_FIT } else { !NOT_FIT };
        let before = std::mem::replace(&mut self.ranks[place], rank);
        let block = place / BLOCK;
        let least = &mut self.minima[block];
        if rank <= *least {
            *least = rank;
        } else if before == *least {
            let end = ((block + 1) * BLOCK).min(self.ranks.len());
            let ranks = &self.ranks[block * BLOCK..end];
            *least = ranks.iter().copied().fold(NOT_ELIGIBLE, u64::min);
        }
    }

    /// Somebody has come or gone: all behind stand elsewhere.
    fn find_minima(&mut self) {
        let least = |ranks: &[u64]| ranks.iter().copied().fold(NOT_ELIGIBLE, u64::min);
        self.minima.clear();
        self.minima.extend(self.ranks.chunks(BLOCK).map(least));
    }
}
