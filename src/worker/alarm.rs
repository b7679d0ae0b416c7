//! Winding the alarm: how the master learns in time that this worker is stuck.
//!
//! Whoever is stuck cannot say so; so a worker winds the alarm *before* it begins what might keep
//! it, and the master looks at its load report when it rings. Once wound it stays so until it has
//! rung: a busy worker winds it once a millisecond and not once a request, an idle one never. All
//! workers wind to the same instants (`dispatch::first_look`), so that they wake the master once.
//!
//! Not here: the timer (`sys::alarm`), what "stuck" means (`dispatch::stuck`).

use std::time::Duration;

use tracing::warn;

use crate::dispatch::first_look;
use crate::sys::alarm::Alarm;
use crate::time::Nanos;

/// This worker's alarm.
#[derive(Debug)]
pub(crate) struct AlarmClock {
    /// None for a worker that inherited none.
    alarm: Option<Alarm>,
    rings_at: Nanos,
}

impl AlarmClock {
    pub(crate) fn new(alarm: Option<Alarm>) -> Self {
        AlarmClock { alarm, rings_at: Nanos(0) }
    }

    /// Something begins now that might last for longer than `stall_after`.
    pub(crate) fn wind(&mut self, now: Nanos, stall_after: Duration) {
        let Some(alarm) = &self.alarm else { return };
        if now < self.rings_at {
            // It rings before that, and then the master knows of what has begun meanwhile.
            return;
        }
        self.rings_at = first_look(now, stall_after);
        if let Err(cause) = alarm.wind(self.rings_at) {
            warn!(%cause, "winding the alarm");
            self.alarm = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_wound_once_until_it_has_rung() {
        let mut clock = AlarmClock::new(Some(Alarm::create().unwrap()));
        let stall_after = Duration::from_millis(1);
        let begin = crate::sys::clock::now();
        clock.wind(begin, stall_after);
        let first = clock.rings_at;
        assert!(first > begin);
        clock.wind(Nanos(first.0 - 1), stall_after);
        assert_eq!(clock.rings_at, first);
        clock.wind(first, stall_after);
        assert!(clock.rings_at > first);
    }

    #[test]
    fn a_worker_without_an_alarm_winds_none() {
        let mut clock = AlarmClock::new(None);
        clock.wind(Nanos(5), Duration::from_millis(1));
        assert_eq!(clock.rings_at, Nanos(0));
    }
}
