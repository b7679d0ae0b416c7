//! Numbers as people read them, in as few columns as they need.
//!
//! Not here: what the numbers are (`history`), sentences (`trouble`).

use std::time::Duration;

use crate::observe::escape;

/// Unknown is never zero.
pub(super) const NONE: &str = "–";

/// A text for one that may be unknown.
pub(super) fn known<T>(value: Option<T>, text: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| NONE.to_owned(), text)
}

/// As it is to 9999, then in thousands, millions, …: five columns at the most.
pub(super) fn count(value: u64) -> String {
    const UNITS: [&str; 6] = ["k", "M", "G", "T", "P", "E"];
    if value < 10_000 {
        return value.to_string();
    }
    let (mut scaled, mut unit) = (value as f64 / 1e3, 0);
    while scaled >= 999.5 && unit + 1 < UNITS.len() {
        (scaled, unit) = (scaled / 1e3, unit + 1);
    }
    let digits = usize::from(scaled < 9.95);
    format!("{scaled:.digits$}{}", UNITS[unit])
}

/// By the second: one digit behind the point below ten.
pub(super) fn rate(value: f64) -> String {
    if value > 0.0 && value < 9.95 { format!("{value:.1}") } else { count(value.max(0.0) as u64) }
}

/// Three digits, µs to s.
pub(super) fn latency(seconds: f64) -> String {
    let (value, unit) = if seconds < 0.000_999_5 {
        (seconds * 1e6, "µs")
    } else if seconds < 0.9995 {
        (seconds * 1e3, "ms")
    } else {
        (seconds, "s")
    };
    let digits = match value {
        _ if unit == "µs" || value >= 99.5 => 0,
        _ if value >= 9.95 => 1,
        _ => 2,
    };
    format!("{value:.digits$} {unit}")
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.0}%", share.clamp(0.0, 999.0) * 100.0)
}

pub(super) fn bytes(value: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let Some((size, unit)) = UNITS.into_iter().find(|(size, _)| value >= *size) else {
        return format!("{value} B");
    };
    let scaled = value as f64 / size as f64;
    let digits = usize::from(scaled < 9.95);
    format!("{scaled:.digits$} {unit}")
}

/// How long something lasts: the two units that matter.
pub(super) fn span(seconds: f64) -> String {
    let all = seconds.max(0.0) as u64;
    let (days, hours, minutes) = (all / 86_400, all / 3600 % 24, all / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{all}s"),
        (0, 0, minutes) => format!("{minutes}m{:02}s", all % 60),
        (0, hours, minutes) => format!("{hours}h{minutes:02}m"),
        (days, hours, _) => format!("{days}d{hours:02}h"),
    }
}

pub(super) fn lasting(duration: Duration) -> String {
    span(duration.as_secs_f64())
}

/// "1 worker", "2 workers".
pub(super) fn plural(count: u64, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

/// Text of a server as it can be printed: nothing in it moves a cursor or turns the reading
/// direction.
pub(super) fn printable(text: &str) -> String {
    let mut printed = String::with_capacity(text.len());
    escape::message(text, &mut printed);
    printed
}

/// `too_old` as somebody would say it.
pub(super) fn spoken(name: &str) -> String {
    printable(name).replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_need_five_columns_at_the_most() {
        let texts = [0, 9999, 10_000, 99_949, 999_499, 999_500, 12_345_678, u64::MAX].map(count);
        assert_eq!(texts, ["0", "9999", "10k", "100k", "999k", "1.0M", "12M", "18E"]);
    }

    #[test]
    fn latencies_have_three_digits() {
        let texts = [0.0, 0.000_25, 0.001, 0.0125, 0.25, 0.9999, 12.34, 250.0].map(latency);
        let wanted =
            ["0 µs", "250 µs", "1.00 ms", "12.5 ms", "250 ms", "1.00 s", "12.3 s", "250 s"];
        assert_eq!(texts, wanted);
    }

    #[test]
    fn spans_have_the_two_units_that_matter() {
        let texts = [-1.0, 59.9, 61.0, 3600.0, 90_000.0, f64::NAN].map(span);
        assert_eq!(texts, ["0s", "59s", "1m01s", "1h00m", "1d01h", "0s"]);
    }

    #[test]
    fn sizes_rates_and_shares() {
        assert_eq!(
            [0, 1023, 1024, 34 << 20, 3 << 30].map(bytes)[..],
            ["0 B", "1023 B", "1.0 KiB", "34 MiB", "3.0 GiB"]
        );
        assert_eq!([0.0, 0.25, 9.96, 1234.5].map(rate), ["0", "0.2", "9", "1234"]);
        assert_eq!([0.0, 0.955, f64::INFINITY].map(percent), ["0%", "96%", "99900%"]);
    }

    #[test]
    fn nothing_printed_moves_a_cursor() {
        let printed = printable("a\u{1b}[2J\u{202e}b\n");
        assert!(printed.starts_with('a') && printed.contains("[2J") && printed.contains('b'));
        assert!(!printed.contains(['\u{1b}', '\u{202e}', '\n']), "{printed}");
    }
}
