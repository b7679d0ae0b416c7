//! How many requests one turn of the event loop takes on.
//!
//! An event loop reads every readable connection before any handler runs, and what is read cannot be
//! taken back: behind one slow handler everything that came with it waits, whoever else is free. So
//! no more requests are claimed at once than will probably be through with their first step within
//! half of `--stall-after`: one, where handlers are slow; a dozen and more, where they are fast. The
//! rest stays unclaimed for the moment, where the master can have it.
//!
//! What a request takes is the time of the processor, where that is all it took: a worker that the
//! system has interrupted for others is not to blame its handlers. A handler that blocks (on a
//! database, with the loop) is told from that by the kernel's count of switches that a thread has
//! asked for itself.
//!
//! Pure: times are arguments.
//!
//! Not here: claiming (`core`), when a turn is over (`worker`).

use std::time::Duration;

use maitred::time::Nanos;

/// Requests of one turn at the most, however fast handlers are: accepting, writing and timers have
/// their turn too. Half of what one packet of loans can bring.
pub(super) const REQUESTS_PER_TURN_MAX: u32 = 32;

/// Of a request that took longer than expected so much is believed at once, and of a quicker one so
/// much: one slow handler in eighty keeps a loop careful, and one interruption by the system does
/// not for long.
const LEARNED_UP: u64 = 8;
const LEARNED_DOWN: u64 = 32;

/// What a loop has learned of its requests.
#[derive(Debug)]
pub(super) struct Pace {
    budget_ns: u64,
    /// What one request takes of the loop.
    cost_ns: u64,
    /// Claimed, and their first steps may not have run.
    open: u32,
    began: Moment,
    /// Switches that the thread had asked for when that was last looked at.
    switches: u64,
}

/// A moment, on the clocks that matter.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moment {
    /// Everybody's.
    pub(super) wall: Nanos,
    /// That of this thread: the processor's time that it has had.
    pub(super) processor: Nanos,
}

impl Pace {
    /// Careful until it has seen requests.
    pub(super) fn new(stall_after: Duration) -> Self {
        let budget_ns = u64::try_from(stall_after.as_nanos() / 2).unwrap_or(u64::MAX).max(1);
        Pace { budget_ns, cost_ns: budget_ns, open: 0, began: Moment::default(), switches: 0 }
    }

    /// Whether one more may be claimed now.
    pub(super) fn may_claim(&self) -> bool {
        let most = (self.budget_ns / self.cost_ns.max(1)).clamp(1, REQUESTS_PER_TURN_MAX.into());
        u64::from(self.open) < most
    }

    /// One was claimed, and has something to do.
    pub(super) fn handle_claimed(&mut self, now: impl FnOnce() -> Moment) {
        if self.open == 0 {
            self.began = now();
        }
        self.open += 1;
    }

    /// Whether the first steps of something may still have to run.
    pub(super) fn is_open(&self) -> bool {
        self.open > 0
    }

    /// Everything that was claimed has had its first step. `switches` is how often the thread has
    /// waited of its own accord, ever; it is asked only where the two clocks disagree. In a busy loop
    /// that is never; an idle one has waited for events, and is careful, which costs it nothing.
    pub(super) fn handle_settled(
        &mut self,
        now: impl FnOnce() -> Moment,
        switches: impl FnOnce() -> u64,
    ) {
        if self.open == 0 {
            return;
        }
        let now = now();
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let wall = nanos(now.wall.since(self.began.wall));
        let mut took = nanos(now.processor.since(self.began.processor));
        if wall / 2 > took.saturating_add(self.budget_ns / 4) {
            let switches = switches();
            if switches != self.switches {
                took = wall;
            }
            self.switches = switches;
        }
        let sample = took / u64::from(self.open);
        self.open = 0;
        if sample > self.cost_ns {
            self.cost_ns += (sample - self.cost_ns).div_ceil(LEARNED_UP);
        } else {
            self.cost_ns -= (self.cost_ns - sample) / LEARNED_DOWN;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_millis(1);

    const fn at(wall: u64, processor: u64) -> Moment {
        Moment { wall: Nanos(wall), processor: Nanos(processor) }
    }

    /// Turns of as many requests as it likes, each of which takes so long; how many the last took.
    fn run(pace: &mut Pace, cost: Duration, turns: u32) -> u32 {
        let mut claimed = 0;
        for _ in 0..turns {
            claimed = 0;
            while pace.may_claim() {
                pace.handle_claimed(|| at(1, 1));
                claimed += 1;
            }
            let ended = 1 + u64::try_from((cost * claimed).as_nanos()).unwrap();
            pace.handle_settled(|| at(ended, ended), || panic!("the clocks agree"));
        }
        claimed
    }

    #[test]
    fn fast_handlers_are_taken_by_the_dozen_and_slow_ones_singly() {
        let mut pace = Pace::new(STALL);
        assert_eq!(run(&mut pace, Duration::from_micros(1), 1), 1, "careful at first");
        assert_eq!(run(&mut pace, Duration::from_micros(1), 500), REQUESTS_PER_TURN_MAX);
        let some = run(&mut pace, Duration::from_micros(35), 500);
        assert!((12..=15).contains(&some), "{some}");
        assert_eq!(run(&mut pace, Duration::from_millis(30), 2), 1);
        assert_eq!(run(&mut pace, Duration::from_micros(300), 500), 1);
    }

    #[test]
    fn one_slow_request_in_eighty_keeps_it_careful() {
        let mut pace = Pace::new(STALL);
        let mut careless = 0;
        for _ in 0..20 {
            run(&mut pace, Duration::from_millis(30), 1);
            for _ in 0..79 {
                careless += u32::from(run(&mut pace, Duration::from_micros(100), 1) > 2);
            }
        }
        assert!(careless < 20 * 8, "{careless} turns of more than two requests");
    }

    #[test]
    fn one_interruption_is_soon_forgotten() {
        let mut pace = Pace::new(STALL);
        run(&mut pace, Duration::from_micros(30), 500);
        run(&mut pace, Duration::from_micros(200), 1);
        assert!(run(&mut pace, Duration::from_micros(30), 20) > 8);
    }

    #[test]
    fn who_is_interrupted_is_not_slow_and_who_blocks_is() {
        let mut pace = Pace::new(STALL);
        run(&mut pace, Duration::from_micros(30), 500);
        let quick = pace.cost_ns;
        for turn in 0..100 {
            pace.handle_claimed(|| at(1, 1));
            // The first look finds the switches of the time before.
            pace.handle_settled(|| at(5_000_000, 30_000), || 7);
            pace.cost_ns = if turn == 0 { quick } else { pace.cost_ns };
        }
        assert!(pace.cost_ns <= quick, "the system had others to run");
        pace.handle_claimed(|| at(1, 1));
        pace.handle_settled(|| at(5_000_000, 30_000), || 8);
        assert!(pace.cost_ns > 500_000, "it has waited, and the loop with it");
    }

    #[test]
    fn a_turn_without_requests_teaches_nothing() {
        let mut pace = Pace::new(Duration::ZERO);
        pace.handle_settled(|| panic!("nobody asks"), || 0);
        assert!(!pace.is_open() && pace.may_claim());
        pace.handle_claimed(|| at(6, 6));
        assert!(pace.is_open() && !pace.may_claim(), "without a budget one at a time");
    }
}
