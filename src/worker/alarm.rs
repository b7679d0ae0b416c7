//! Winding the alarm: how the master learns in time that this worker is stuck.
//!
//! Whoever is stuck cannot say so; so a worker winds the alarm *before* it begins what might keep
//! it, and the master looks at its load report when it rings. A worker that begins one thing after
//! the other puts it off in time, once in each `--stall-after` and not once a request; one that has
//! nothing to do unwinds it. So it rings for those that are stuck, and hardly ever for others: two
//! short system calls here are a fifth of what waking the master up costs (docs/measurements.md).
//!
//! Not here: the timer (`sys::alarm`), what "stuck" means (`dispatch::stuck`).

use std::time::Duration;

use tracing::warn;

use crate::dispatch::first_look;
use crate::sys::alarm::Alarm;
use crate::time::Nanos;

/// This worker's alarm.
#[derive(Debug)]
pub struct AlarmClock {
    /// None for a worker that inherited none.
    alarm: Option<Alarm>,
    rings_at: Nanos,
}

impl AlarmClock {
    /// Winds this alarm, or none.
    pub fn new(alarm: Option<Alarm>) -> Self {
        AlarmClock { alarm, rings_at: Nanos(0) }
    }

    /// Something began at `since`, a moment ago, that might last for longer than `stall_after`.
    pub fn wind(&mut self, since: Nanos, stall_after: Duration) {
        let Some(alarm) = &self.alarm else { return };
        if self.rings_at >= since + stall_after / 2 {
            // Late enough to show what is unfinished by then, and soon enough (`first_look`).
            return;
        }
        self.rings_at = first_look(since, stall_after);
        if let Err(cause) = alarm.wind(self.rings_at) {
            warn!(%cause, "winding the alarm");
            self.alarm = None;
        }
    }

    /// Whether it may still ring.
    pub fn is_wound(&self, now: Nanos) -> bool {
        self.rings_at > now
    }

    /// Nothing is being done that might last.
    pub fn unwind(&mut self) {
        self.rings_at = Nanos(0);
        if let Some(alarm) = &self.alarm
            && let Err(cause) = alarm.unwind()
        {
            warn!(%cause, "unwinding the alarm");
            self.alarm = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_makes_progress_puts_it_off_once_in_each_stall_after() {
        let mut clock = AlarmClock::new(Some(Alarm::create().unwrap()));
        let stall_after = Duration::from_millis(1);
        let begin = crate::sys::clock::now();
        let mut windings = 0;
        for turn in 0..10_000 {
            let now = begin + Duration::from_micros(10) * turn;
            let before = clock.rings_at;
            clock.wind(now, stall_after);
            windings += u32::from(clock.rings_at != before);
            let rings_after = now.until(clock.rings_at);
            assert!(rings_after >= stall_after / 2 && rings_after < stall_after * 3 / 2);
        }
        assert!((100..=102).contains(&windings), "{windings} in a hundred milliseconds");
    }

    #[test]
    fn what_goes_on_does_not_put_it_off() {
        let mut clock = AlarmClock::new(Some(Alarm::create().unwrap()));
        let stall_after = Duration::from_millis(1);
        let since = crate::sys::clock::now();
        clock.wind(since, stall_after);
        let rings_at = clock.rings_at;
        clock.wind(since, stall_after);
        assert_eq!(clock.rings_at, rings_at);
    }

    #[test]
    fn a_worker_without_an_alarm_winds_none() {
        let mut clock = AlarmClock::new(None);
        clock.wind(Nanos(5), Duration::from_millis(1));
        assert_eq!(clock.rings_at, Nanos(0));
    }
}
