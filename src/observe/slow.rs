//! Requests that took long, as warnings in the log, a bounded number a second.
//!
//! Where everything is slow a line for each would be a second access log: after [`SLOW_LINES_MAX`]
//! of a second the rest is counted, and the next line says how many were left out.
//!
//! Not here: requests that still run; `--timeout` names those (`board::doing`).

use std::fmt;
use std::time::Duration;

use tracing::warn;

use crate::config::SLOW_LINES_MAX;
use crate::observe::access::AccessRecord;
use crate::time::Nanos;

/// The slow log of one process.
#[derive(Debug)]
pub struct SlowLog {
    after: Duration,
    allowance: Allowance,
}

impl SlowLog {
    /// For requests that take at least so long.
    pub fn new(after: Duration) -> Self {
        SlowLog { after, allowance: Allowance::default() }
    }

    /// Says so of a request, if it has taken so long. The query is left out: it may hold secrets.
    pub fn write(&mut self, record: &AccessRecord<'_>, now: Nanos) {
        if record.duration < self.after {
            return;
        }
        let Some(left_out) = self.allowance.take(now) else { return };
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let method = record.request.map(|request| text(request.method));
        let path = record.request.map(|request| text(request.path));
        let shown = |time: Duration| Milliseconds(time).to_string();
        warn!(
            method,
            path,
            status = record.status.as_u16(),
            time = shown(record.duration),
            queue = record.queue_time.map(shown),
            receiving = record.parts.map(|parts| shown(parts.receiving)),
            handler = record.parts.map(|parts| shown(parts.handling)),
            sending = record.parts.map(|parts| shown(parts.sending)),
            cut_off = (!record.complete).then_some(true),
            left_out = (left_out > 0).then_some(left_out),
            "a slow request"
        );
    }
}

/// So many a second.
#[derive(Debug, Default)]
struct Allowance {
    second_began: Option<Nanos>,
    taken: u32,
    left_out: u64,
}

impl Allowance {
    /// One, and how many were refused since the last one; none if there are none left.
    fn take(&mut self, now: Nanos) -> Option<u64> {
        let is_over = |began: Nanos| now.since(began) >= Duration::from_secs(1);
        if self.second_began.is_none_or(is_over) {
            (self.second_began, self.taken) = (Some(now), 0);
        }
        if self.taken == SLOW_LINES_MAX {
            self.left_out += 1;
            return None;
        }
        self.taken += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// Prints a duration as `1.034ms`.
struct Milliseconds(Duration);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        write!(f, "{}.{:03}ms", micros / 1000, micros % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_so_many_lines_and_the_next_one_says_what_it_lacked() {
        let mut allowance = Allowance::default();
        let second = |number: u64| Nanos(5 + number * 1_000_000_000);
        for _ in 0..SLOW_LINES_MAX {
            assert_eq!(allowance.take(second(0)), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(allowance.take(Nanos(second(1).0 - 1)), None);
        }
        assert_eq!(allowance.take(second(1)), Some(7));
        assert_eq!(allowance.take(second(1)), Some(0));
        assert_eq!(allowance.take(second(9)), Some(0));
    }
}
