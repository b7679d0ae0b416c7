//! Judging `--timeout`: has one turn, or one handler call, produced nothing for too long?
//!
//! Only time that this master itself was awake to observe counts. A master that was stopped (a
//! debugger, SIGSTOP, a paused machine) would otherwise find every worker guilty at once when it
//! goes on.
//!
//! Not here: ranking a stuck worker out after a millisecond (`dispatch`).

use std::time::Duration;

use crate::ident::Incarnation;
use crate::time::Nanos;

/// The judge of all workers.
#[derive(Debug)]
pub struct HangJudge {
    timeout: Duration,
    cases: Vec<Case>,
    looked_at: Option<Nanos>,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    who: Incarnation,
    busy_since: Nanos,
    observed: Duration,
    seen: bool,
}

impl HangJudge {
    /// A judge that has seen nothing.
    pub fn new(timeout: Duration) -> Self {
        HangJudge { timeout, cases: Vec::new(), looked_at: None }
    }

    /// How often to look: each gap between two looks counts for at most twice this.
    pub fn period(&self) -> Duration {
        (self.timeout / 10).max(Duration::from_millis(1))
    }

    /// One look at all workers that serve: since when each is busy with the same thing (zero if it
    /// is not). Returns those that have been for longer than the timeout.
    pub fn look(&mut self, workers: &[(Incarnation, Nanos)], now: Nanos) -> Vec<Incarnation> {
        let gap = self.looked_at.map_or(Duration::ZERO, |at| now.since(at));
        let counted = gap.min(self.period() * 2);
        self.looked_at = Some(now);
        for case in &mut self.cases {
            case.seen = false;
        }
        let mut hung = Vec::new();
        for (who, busy_since) in workers.iter().filter(|(_, since)| *since != Nanos(0)) {
            let known = self.cases.iter_mut().find(|case| case.who == *who);
            match known {
                Some(case) if case.busy_since == *busy_since => {
                    case.seen = true;
                    case.observed += counted;
                    if case.observed > self.timeout {
                        hung.push(*who);
                    }
                }
                Some(case) => {
                    *case = Case::new(*who, *busy_since);
                }
                None => self.cases.push(Case::new(*who, *busy_since)),
            }
        }
        self.cases.retain(|case| case.seen);
        hung
    }
}

impl Case {
    fn new(who: Incarnation, busy_since: Nanos) -> Self {
        Case { who, busy_since, observed: Duration::ZERO, seen: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ident::{Generation, Slot};

    const WHO: Incarnation = Incarnation { slot: Slot(0), generation: Generation(1) };

    fn seconds(count: u64) -> Nanos {
        Nanos(count * 1_000_000_000)
    }

    #[test]
    fn the_same_turn_for_longer_than_the_timeout_is_a_hang() {
        let mut judge = HangJudge::new(Duration::from_secs(10));
        let hung: Vec<_> =
            (1..=13).map(|second| judge.look(&[(WHO, seconds(1))], seconds(second))).collect();
        assert!(hung[..11].iter().all(Vec::is_empty));
        assert_eq!(hung[11], [WHO]);
    }

    #[test]
    fn a_worker_that_goes_on_is_never_one() {
        let mut judge = HangJudge::new(Duration::from_secs(10));
        for second in 1..100 {
            let busy_since = if second % 5 == 0 { Nanos(0) } else { seconds(second - second % 5) };
            assert!(judge.look(&[(WHO, busy_since)], seconds(second)).is_empty());
        }
    }

    #[test]
    fn a_master_that_was_stopped_for_an_hour_kills_nobody() {
        let mut judge = HangJudge::new(Duration::from_secs(10));
        assert!(judge.look(&[(WHO, seconds(1))], seconds(2)).is_empty());
        assert!(judge.look(&[(WHO, seconds(1))], seconds(3600)).is_empty());
        assert!(judge.look(&[(WHO, seconds(1))], seconds(3601)).is_empty());
    }
}
