//! Judging noise: does a worker wake the master more often than its work gives it reason for?
//!
//! Each thing by which a worker can wake the master (a frame, its bell, its alarm, a stop) has an
//! allowance: what its loans and the master's own calls earn it, beside a rate that nobody needs to
//! explain. No honest worker comes near it; who exceeds it would keep the master busy for ever.
//!
//! ```text
//!   earned   by a loan, a call        spent first; kept up to a maximum
//!   free     filled at a rate         spent then; kept up to a burst
//! ```
//!
//! A call (`master_waiting`) is the one that costs its worker nothing: a worker may lower the flag
//! again and again without a sound. So calls have an allowance too, and when it is used up the worker
//! is not called for a while, which harms nobody but itself.
//!
//! Not here: what becomes of a worker that floods (`breach`).

use std::time::Duration;

use crate::config::{
    ALARMS_BURST, ALARMS_PER_STALL, BELLS_BURST, BELLS_EARNED_MAX, BELLS_PER_SECOND, CALLS_BURST,
    CALLS_EARNED_MAX, CALLS_PER_LOAN, CALLS_PER_SECOND, FRAMES_BURST, FRAMES_EARNED_MAX,
    FRAMES_PER_LOAN, FRAMES_PER_SECOND, LOG_REPEAT_AFTER, STOPS_BURST, STOPS_PER_SECOND,
    STOPS_SAID_BURST,
};
use crate::supervise::breach::Breach;
use crate::time::Nanos;

/// By what a worker has woken the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    /// A frame.
    Frame,
    /// Its bell.
    Bell,
    /// Its alarm.
    Alarm,
    /// It was stopped, or goes on.
    Stop,
}

/// The judge of one worker.
#[derive(Debug)]
pub struct FloodJudge {
    frames: Allowance,
    bells: Allowance,
    alarms: Allowance,
    stops: Allowance,
    stops_said: Allowance,
    calls: Allowance,
}

#[derive(Debug)]
struct Allowance {
    earned: u64,
    earned_max: u64,
    free: u64,
    burst: u64,
    /// One more is free after so long.
    each: Duration,
    filled_at: Nanos,
}

impl FloodJudge {
    /// A judge that has heard nothing.
    pub fn new(stall_after: Duration, now: Nanos) -> Self {
        let second = Duration::from_secs(1);
        let allowance = |burst, each, earned_max| Allowance::new(burst, each, earned_max, now);
        FloodJudge {
            frames: allowance(FRAMES_BURST, second / FRAMES_PER_SECOND, FRAMES_EARNED_MAX),
            bells: allowance(BELLS_BURST, second / BELLS_PER_SECOND, BELLS_EARNED_MAX),
            alarms: allowance(ALARMS_BURST, stall_after / ALARMS_PER_STALL, 0),
            stops: allowance(STOPS_BURST, second / STOPS_PER_SECOND, 0),
            stops_said: allowance(STOPS_SAID_BURST, LOG_REPEAT_AFTER, 0),
            calls: allowance(CALLS_BURST, second / CALLS_PER_SECOND, CALLS_EARNED_MAX),
        }
    }

    /// It was lent so many connections.
    pub fn handle_lent(&mut self, count: u64) {
        self.frames.earn(count.saturating_mul(FRAMES_PER_LOAN));
        self.calls.earn(count.saturating_mul(CALLS_PER_LOAN));
    }

    /// It has woken the master.
    ///
    /// # Errors
    /// Once too often.
    pub fn handle_noise(&mut self, noise: Noise, now: Nanos) -> Result<(), Breach> {
        let (allowance, breach) = match noise {
            Noise::Frame => (&mut self.frames, Breach::FrameFlood),
            Noise::Bell => (&mut self.bells, Breach::BellFlood),
            Noise::Alarm => (&mut self.alarms, Breach::AlarmFlood),
            Noise::Stop => (&mut self.stops, Breach::StopFlood),
        };
        if allowance.spend(now) { Ok(()) } else { Err(breach) }
    }

    /// It was stopped: whether that is worth a line of the log, or one of many.
    pub fn says_stop(&mut self, now: Nanos) -> bool {
        self.stops_said.spend(now)
    }

    /// It is to be called: it may ring once for it. False if it has been called too often for
    /// nothing, and is to be left alone for a moment.
    pub fn call(&mut self, now: Nanos) -> bool {
        let may = self.calls.spend(now);
        if may {
            // By its bell, or by a frame where it has none.
            self.bells.earn(1);
            self.frames.earn(1);
        }
        may
    }
}

impl Allowance {
    fn new(burst: u64, each: Duration, earned_max: u64, now: Nanos) -> Self {
        Allowance { earned: 0, earned_max, free: burst, burst, each, filled_at: now }
    }

    fn earn(&mut self, count: u64) {
        self.earned = self.earned.saturating_add(count).min(self.earned_max);
    }

    fn spend(&mut self, now: Nanos) -> bool {
        if let Some(left) = self.earned.checked_sub(1) {
            self.earned = left;
            return true;
        }
        self.fill(now);
        match self.free.checked_sub(1) {
            Some(left) => {
                self.free = left;
                true
            }
            None => false,
        }
    }

    fn fill(&mut self, now: Nanos) {
        let each = u64::try_from(self.each.as_nanos()).unwrap_or(u64::MAX).max(1);
        let passed = now.0.saturating_sub(self.filled_at.0);
        let more = passed / each;
        // What has passed of the next one counts on.
        self.filled_at = Nanos(self.filled_at.0.saturating_add(more.saturating_mul(each)));
        self.free = self.free.saturating_add(more).min(self.burst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_millis(1);

    fn at(millis: u64) -> Nanos {
        Nanos(1 + millis * 1_000_000)
    }

    /// How many of them pass, one after the other at the same moment.
    fn burst(judge: &mut FloodJudge, noise: Noise, now: Nanos) -> u64 {
        (0..).take_while(|_| judge.handle_noise(noise, now).is_ok()).count() as u64
    }

    #[test]
    fn a_worker_without_a_page_may_say_all_there_is_to_say_of_its_loans() {
        let mut judge = FloodJudge::new(STALL, at(0));
        for turn in 0..1_000 {
            // A thousand short connections in a millisecond: Taken and Ended for each.
            judge.handle_lent(1_000);
            for _ in 0..2_000 {
                assert_eq!(judge.handle_noise(Noise::Frame, at(turn)), Ok(()));
            }
        }
    }

    #[test]
    fn frames_without_loans_are_a_flood_at_once() {
        let mut judge = FloodJudge::new(STALL, at(0));
        assert_eq!(burst(&mut judge, Noise::Frame, at(0)), FRAMES_BURST);
        assert_eq!(judge.handle_noise(Noise::Frame, at(0)), Err(Breach::FrameFlood));
        // A rate that needs no explanation passes again.
        assert_eq!(judge.handle_noise(Noise::Frame, at(1000)), Ok(()));
    }

    #[test]
    fn what_was_earned_cannot_be_saved_for_a_flood_without_end() {
        let mut judge = FloodJudge::new(STALL, at(0));
        judge.handle_lent(u64::MAX);
        judge.handle_lent(u64::MAX);
        assert_eq!(burst(&mut judge, Noise::Frame, at(0)), FRAMES_EARNED_MAX + FRAMES_BURST);
    }

    #[test]
    fn who_rings_once_a_call_never_floods_and_who_rings_more_does() {
        let mut judge = FloodJudge::new(STALL, at(0));
        for turn in 0..100_000 {
            judge.handle_lent(1);
            assert!(judge.call(at(turn / 50)), "a call for each loan, 50,000 a second");
            assert_eq!(judge.handle_noise(Noise::Bell, at(turn / 50)), Ok(()));
        }
        assert_eq!(burst(&mut judge, Noise::Bell, at(2000)), BELLS_BURST);
        assert_eq!(judge.handle_noise(Noise::Bell, at(2000)), Err(Breach::BellFlood));
    }

    #[test]
    fn an_alarm_may_ring_twice_in_each_stall_after_for_ever() {
        for stall_after in [Duration::from_micros(100), STALL, Duration::from_secs(60)] {
            let mut judge = FloodJudge::new(stall_after, Nanos(0));
            for ring in 0..10_000 {
                let now = Nanos(0) + stall_after / 2 * ring;
                assert_eq!(judge.handle_noise(Noise::Alarm, now), Ok(()));
            }
            let now = Nanos(0) + stall_after / 2 * 10_000;
            assert_eq!(burst(&mut judge, Noise::Alarm, now), ALARMS_BURST);
        }
    }

    #[test]
    fn who_lowers_the_flag_for_nothing_is_left_alone_and_not_ended() {
        let mut judge = FloodJudge::new(STALL, at(0));
        let calls = (0..).take_while(|_| judge.call(at(0))).count() as u64;
        assert_eq!(calls, CALLS_BURST);
        assert!(judge.call(at(100)), "it is called again after a moment");
    }

    #[test]
    fn a_debugger_may_stop_a_worker_now_and_then() {
        let mut judge = FloodJudge::new(STALL, at(0));
        assert_eq!(burst(&mut judge, Noise::Stop, at(0)), STOPS_BURST);
        assert_eq!(judge.handle_noise(Noise::Stop, at(0)), Err(Breach::StopFlood));
        assert_eq!(judge.handle_noise(Noise::Stop, Nanos(u64::MAX)), Ok(()));
    }

    #[test]
    fn who_is_slowed_by_signals_lives_on_and_is_mentioned_now_and_then() {
        let mut judge = FloodJudge::new(STALL, at(0));
        let mut said = 0;
        // A minute of it, stopped and continued a hundred times a second each.
        for tick in 0..6000 {
            let now = at(tick * 10);
            said += u64::from(judge.says_stop(now));
            for _ in 0..2 {
                assert_eq!(judge.handle_noise(Noise::Stop, now), Ok(()), "tick {tick}");
            }
        }
        assert!((12..=12 + STOPS_SAID_BURST).contains(&said), "{said} lines");
    }
}
