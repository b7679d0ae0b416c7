//! Which workers have served for long enough: by requests, by age, by memory.
//!
//! Pure, as [`hang`](crate::supervise::hang) is: the master says what it sees of each worker that
//! serves, and asks the supervisor to replace those that are due
//! ([`Supervisor::recycle_in_turn`](crate::supervise::Supervisor::recycle_in_turn)). One that is
//! refused is due again at the next look, so that nothing is remembered.
//!
//! Not here: how many at a time, and the pause after a replacement that failed (`supervise`).

use std::fmt;
use std::time::Duration;

use crate::config::{RECYCLE_COUNT, RECYCLE_LOOK, RecycleLimits};
use crate::ident::Incarnation;
use crate::time::Nanos;

/// Why a worker that serves well is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecycleReason {
    /// It has finished so many requests.
    Requests(u64),
    /// It has served for so long.
    Lifetime(Duration),
    /// It has so many bytes in memory.
    Rss(u64),
}

/// What the master sees of a worker that serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vitals {
    /// Who it is.
    pub who: Incarnation,
    /// Since when it serves.
    pub ready_at: Nanos,
    /// Requests that it has finished, as it says.
    pub requests: u64,
    /// Bytes that it has in memory; `None` where that is not asked for, or not known.
    pub rss: Option<u64>,
}

/// How often workers were recycled, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecycleCounts {
    /// For their requests.
    pub requests: u64,
    /// For their age.
    pub lifetime: u64,
    /// For their memory.
    pub rss: u64,
}

/// The judge of all workers.
#[derive(Debug)]
pub struct Recycling {
    limits: RecycleLimits,
    seed: u64,
    looked_at: Nanos,
    /// When the next look is due although nothing has happened.
    look_at: Nanos,
    counts: RecycleCounts,
}

impl Recycling {
    /// A judge that has looked at nobody; none where no limit is set.
    pub fn new(limits: RecycleLimits, seed: u64, now: Nanos) -> Option<Self> {
        let counts = RecycleCounts::default();
        // The first worker to become Ready sets the clock (`handle_ready`).
        let look_at = Nanos::NEVER;
        limits.is_set().then_some(Recycling { limits, seed, looked_at: now, look_at, counts })
    }

    /// A worker serves from now on: the next look may be due earlier.
    pub fn handle_ready(&mut self, who: Incarnation, now: Nanos) {
        self.look_at = self.look_at.min(self.next_for(who, now, now));
    }

    /// Whether to look now: something is due, or there may be new requests to count.
    pub fn wants_look(&self, now: Nanos) -> bool {
        let counts = self.limits.requests_max.is_some();
        now >= self.look_at || (counts && now.since(self.looked_at) >= RECYCLE_COUNT)
    }

    /// Whether the next look needs to know how much memory workers have.
    pub fn wants_rss(&self) -> bool {
        self.limits.rss_max.is_some()
    }

    /// One look at all workers that serve. Returns those that are due, the most overdue kind first:
    /// memory, then age, then requests.
    pub fn look(&mut self, workers: &[Vitals], now: Nanos) -> Vec<(Incarnation, RecycleReason)> {
        self.looked_at = now;
        let due: Vec<_> = workers
            .iter()
            .filter_map(|vitals| Some((vitals.who, self.reason(vitals, now)?)))
            .collect();
        let next = workers.iter().map(|vitals| self.next_for(vitals.who, vitals.ready_at, now));
        // Whoever is due may be refused, and is looked at again soon.
        let again = if due.is_empty() { Nanos::NEVER } else { now + RECYCLE_LOOK };
        self.look_at = next.min().unwrap_or(Nanos::NEVER).min(again);
        due
    }

    /// A worker that was due is being replaced.
    pub fn count(&mut self, reason: RecycleReason) {
        match reason {
            RecycleReason::Requests(_) => self.counts.requests += 1,
            RecycleReason::Lifetime(_) => self.counts.lifetime += 1,
            RecycleReason::Rss(_) => self.counts.rss += 1,
        }
    }

    /// When a look is due although nothing happens.
    pub fn next_deadline(&self) -> Option<Nanos> {
        (self.look_at != Nanos::NEVER).then_some(self.look_at)
    }

    /// How often workers were recycled.
    pub fn counts(&self) -> RecycleCounts {
        self.counts
    }

    fn reason(&self, vitals: &Vitals, now: Nanos) -> Option<RecycleReason> {
        if let (Some(most), Some(rss)) = (self.limits.rss_max, vitals.rss)
            && rss > most
        {
            return Some(RecycleReason::Rss(rss));
        }
        let age = now.since(vitals.ready_at);
        if self.lifetime_max(vitals.who).is_some_and(|most| age >= most) {
            return Some(RecycleReason::Lifetime(age));
        }
        let most = self.requests_max(vitals.who)?;
        (vitals.requests >= most).then_some(RecycleReason::Requests(vitals.requests))
    }

    /// When this worker is to be looked at next. One whose time has come is so already: `look` says
    /// when it is looked at again.
    fn next_for(&self, who: Incarnation, ready_at: Nanos, now: Nanos) -> Nanos {
        let by_age = self.lifetime_max(who).map(|most| ready_at + most).filter(|at| *at > now);
        let by_rss = self.wants_rss().then(|| now + RECYCLE_LOOK);
        by_age.into_iter().chain(by_rss).min().unwrap_or(Nanos::NEVER)
    }

    fn requests_max(&self, who: Incarnation) -> Option<u64> {
        let jitter = self.limits.requests_jitter;
        let most = self.limits.requests_max?;
        Some(most.saturating_add(self.draw(who).u64(0..=jitter)))
    }

    fn lifetime_max(&self, who: Incarnation) -> Option<Duration> {
        let jitter = self.limits.lifetime_jitter.mul_f64(self.draw(who).f64());
        self.limits.lifetime_max.map(|most| most.saturating_add(jitter))
    }

    /// Always the same for an incarnation, so that nothing has to be kept for it.
    fn draw(&self, who: Incarnation) -> fastrand::Rng {
        let mut rng = fastrand::Rng::with_seed(self.seed.wrapping_add(who.generation.0.into()));
        // Neighbouring seeds begin alike.
        rng.u64(..);
        rng
    }
}

impl fmt::Display for RecycleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecycleReason::Requests(count) => {
                write!(f, "it has finished {count} requests (--max-requests)")
            }
            RecycleReason::Lifetime(age) => {
                write!(f, "it has served for {:.1} s (--max-lifetime)", age.as_secs_f64())
            }
            RecycleReason::Rss(bytes) => {
                write!(f, "it has {} KiB in memory (--max-rss)", bytes / 1024)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::ident::{Generation, Slot};

    const SECOND: u64 = 1_000_000_000;

    fn who(generation: u32) -> Incarnation {
        Incarnation { slot: Slot(0), generation: Generation(generation) }
    }

    fn vitals(generation: u32) -> Vitals {
        Vitals { who: who(generation), ready_at: Nanos(SECOND), requests: 0, rss: None }
    }

    #[test]
    fn without_a_limit_there_is_no_judge() {
        assert!(Recycling::new(RecycleLimits::default(), 1, Nanos(1)).is_none());
    }

    #[test]
    fn requests_are_counted_in_turns_that_there_are_anyway() {
        let limits = RecycleLimits { requests_max: Some(100), ..RecycleLimits::default() };
        let mut recycling = Recycling::new(limits, 1, Nanos(SECOND)).unwrap();
        recycling.handle_ready(who(1), Nanos(SECOND));
        assert_eq!(recycling.next_deadline(), None, "an idle server sleeps");
        assert!(!recycling.wants_look(Nanos(SECOND + 1)));
        assert!(recycling.wants_look(Nanos(2 * SECOND)));
        let mut worker = Vitals { requests: 99, ..vitals(1) };
        assert_eq!(recycling.look(&[worker], Nanos(2 * SECOND)), []);
        worker.requests = 100;
        let due = recycling.look(&[worker], Nanos(3 * SECOND));
        assert_eq!(due, [(who(1), RecycleReason::Requests(100))]);
        // It may have been refused: another look is due, though nothing may happen until then.
        assert_eq!(recycling.next_deadline(), Some(Nanos(3 * SECOND) + RECYCLE_LOOK));
    }

    #[test]
    fn a_lifetime_wakes_the_master_once_and_in_time() {
        let lifetime_max = Some(Duration::from_secs(60));
        let limits = RecycleLimits { lifetime_max, ..RecycleLimits::default() };
        let mut recycling = Recycling::new(limits, 1, Nanos(1)).unwrap();
        assert_eq!(recycling.next_deadline(), None);
        recycling.handle_ready(who(1), Nanos(SECOND));
        let due_at = Nanos(61 * SECOND);
        assert_eq!(recycling.next_deadline(), Some(due_at));
        assert!(!recycling.wants_look(Nanos(60 * SECOND)));
        let due = recycling.look(&[vitals(1)], due_at);
        assert_eq!(due, [(who(1), RecycleReason::Lifetime(Duration::from_secs(60)))]);
        recycling.count(due[0].1);
        assert_eq!(recycling.counts(), RecycleCounts { lifetime: 1, ..RecycleCounts::default() });
        assert_eq!(recycling.look(&[], due_at + RECYCLE_LOOK), []);
        assert_eq!(recycling.next_deadline(), None);
    }

    #[test]
    fn memory_is_looked_at_once_a_second() {
        let limits = RecycleLimits { rss_max: Some(1000), ..RecycleLimits::default() };
        let mut recycling = Recycling::new(limits, 1, Nanos(1)).unwrap();
        assert!(recycling.wants_rss());
        recycling.handle_ready(who(1), Nanos(SECOND));
        assert_eq!(recycling.next_deadline(), Some(Nanos(2 * SECOND)));
        let mut worker = Vitals { rss: Some(1000), ..vitals(1) };
        assert_eq!(recycling.look(&[worker], Nanos(2 * SECOND)), []);
        assert_eq!(recycling.next_deadline(), Some(Nanos(3 * SECOND)));
        worker.rss = Some(1001);
        let due = recycling.look(&[worker], Nanos(3 * SECOND));
        assert_eq!(due, [(who(1), RecycleReason::Rss(1001))]);
    }

    #[test]
    fn jitter_spreads_workers_within_its_bound_and_stays_the_same_for_each() {
        let limits = RecycleLimits {
            requests_max: Some(100),
            requests_jitter: 50,
            lifetime_max: Some(Duration::from_secs(10)),
            lifetime_jitter: Duration::from_secs(5),
            rss_max: None,
        };
        let recycling = Recycling::new(limits, 7, Nanos(1)).unwrap();
        let draws: Vec<_> = (1..=100)
            .map(|generation| {
                let who = who(generation);
                (recycling.requests_max(who).unwrap(), recycling.lifetime_max(who).unwrap())
            })
            .collect();
        for (generation, (requests, lifetime)) in (1..).zip(&draws) {
            assert!((100..=150).contains(requests), "{requests}");
            assert!((10.0..=15.0).contains(&lifetime.as_secs_f64()), "{lifetime:?}");
            assert_eq!(recycling.requests_max(who(generation)), Some(*requests));
        }
        let different: BTreeSet<_> = draws.iter().map(|(requests, _)| requests).collect();
        assert!(different.len() > 30, "{different:?}");
    }
}
