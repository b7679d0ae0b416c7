//! Naming what a hung or dead worker was doing: from the table in its page, a copy of one's own,
//! bounded and escaped.
//!
//! Not here: the table (`board::doing`), when a worker counts as hung (`supervise::hang`).

use std::fmt::Write;

use crate::board::Doing;
use crate::config::{NAMED_CALLS_MAX, THREADS_MAX};
use crate::master::roster::Member;
use crate::observe::escape;
use crate::time::Nanos;

/// The calls that have run for longest, as text for a log; `None` if none runs.
pub(super) fn running_calls(member: &Member, now: Nanos) -> Option<String> {
    let threads = member.shape.map_or(0, |shape| shape.threads).min(THREADS_MAX);
    // One more, to know whether there are more.
    describe(&member.page.doing(threads, NAMED_CALLS_MAX + 1), now)
}

fn describe(calls: &[Doing], now: Nanos) -> Option<String> {
    let mut out = String::new();
    for (number, call) in calls.iter().enumerate() {
        if number == NAMED_CALLS_MAX {
            out.push_str(", and more");
            break;
        }
        if number > 0 {
            out.push_str(", ");
        }
        escape::message(&String::from_utf8_lossy(&call.text), &mut out);
        // Writing to a String cannot fail.
        let _ = write!(out, " for {:.3} s", now.since(call.began).as_secs_f64());
    }
    (!out.is_empty()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(began: u64, text: &[u8]) -> Doing {
        Doing { began: Nanos(began), text: text.to_vec() }
    }

    #[test]
    fn calls_are_named_in_a_bounded_number_and_what_could_run_in_a_terminal_is_escaped() {
        let now = Nanos(31_000_000_000);
        assert_eq!(describe(&[], now), None);
        let calls = [call(1_000_000_000, b"GET /spin/9"), call(u64::MAX, b"\x1b[2J\n\xff")];
        let text = "GET /spin/9 for 30.000 s, \\u{1b}[2J\\n\u{fffd} for 0.000 s";
        assert_eq!(describe(&calls, now).as_deref(), Some(text));
        let many = vec![call(1, b"GET /"); NAMED_CALLS_MAX + 1];
        let text = describe(&many, now).unwrap();
        assert_eq!(text.matches("GET /").count(), NAMED_CALLS_MAX);
        assert!(text.ends_with(", and more"));
    }
}
