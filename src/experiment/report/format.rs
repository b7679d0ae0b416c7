//! How a number is written, wherever it stands: three significant digits, a unit, no `NaN`.
//!
//! Not here: which numbers (`html`, `compare`).

use std::fmt;

/// Between a number and its unit: they stay on one line.
const NO_BREAK: char = '\u{a0}';

/// Between thousands: narrow, and they stay on one line.
const NARROW_NO_BREAK: char = '\u{202f}';

/// What is no number.
const NONE: &str = "–";

/// From here on numbers are written with a power of ten.
const PLAIN_BELOW: f64 = 1e6;

/// Below this too.
const PLAIN_FROM: f64 = 1e-4;

/// Prints three significant digits: `0.0123`, `1.23`, `123`, `12 300`, `1.23 M`.
#[derive(Clone, Copy, Debug)]
pub struct Significant(pub f64);

impl fmt::Display for Significant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0;
        if value.is_nan() {
            return formatter.write_str(NONE);
        }
        if value.is_infinite() {
            return formatter.write_str(if value > 0.0 { "∞" } else { "−∞" });
        }
        if value == 0.0 {
            return formatter.write_str("0");
        }
        let (rounded, exponent) = rounded(value);
        let magnitude = rounded.abs();
        if !(PLAIN_FROM..PLAIN_BELOW).contains(&magnitude) {
            return write_scaled(formatter, rounded, exponent);
        }
        if rounded < 0.0 {
            formatter.write_str("−")?;
        }
        let decimals = usize::try_from(2 - exponent).unwrap_or(0);
        if decimals > 0 {
            return write!(formatter, "{magnitude:.decimals$}");
        }
        write_grouped(formatter, magnitude)
    }
}

/// The value with three significant digits, and its power of ten. 9.996 has that of 10.0.
fn rounded(value: f64) -> (f64, i32) {
    let text = format!("{value:.2e}");
    let exponent = text.split_once('e').and_then(|(_, exponent)| exponent.parse().ok());
    (text.parse().unwrap_or(value), exponent.unwrap_or(0))
}

fn write_scaled(formatter: &mut fmt::Formatter<'_>, value: f64, exponent: i32) -> fmt::Result {
    let (divisor, suffix) = match exponent {
        6..9 => (1e6, "M"),
        9..12 => (1e9, "G"),
        _ => return formatter.write_str(&format!("{value:.2e}").replace('-', "−")),
    };
    write!(formatter, "{}{NO_BREAK}{suffix}", Significant(value / divisor))
}

/// A whole number, at most six digits.
fn write_grouped(formatter: &mut fmt::Formatter<'_>, magnitude: f64) -> fmt::Result {
    let digits = format!("{magnitude:.0}");
    match digits.len() {
        // Four digits are read without help.
        ..5 => formatter.write_str(&digits),
        length => {
            let (thousands, rest) = digits.split_at(length - 3);
            write!(formatter, "{thousands}{NARROW_NO_BREAK}{rest}")
        }
    }
}

/// A number with its unit: `1.23 ms`.
pub fn with_unit(value: f64, unit: &str) -> String {
    if unit.is_empty() || !value.is_finite() {
        return Significant(value).to_string();
    }
    format!("{}{NO_BREAK}{unit}", Significant(value))
}

/// As [`Significant`], without the zeros that a tick of an axis does not need: `2.5`, `100`.
pub fn trimmed(value: f64) -> String {
    let text = Significant(value).to_string();
    if !text.contains('.') || text.contains(['e', NO_BREAK]) {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Milliseconds in the unit that suits them, for an axis: `250 µs`, `10 ms`, `2 s`.
pub fn milliseconds(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        below if below < 1.0 && below > 0.0 => (value * 1e3, "µs"),
        below if below < 1e3 => (value, "ms"),
        _ => (value / 1e3, "s"),
    };
    format!("{}{NO_BREAK}{unit}", trimmed(scaled))
}

/// A share as per cent, with no more digits than help: `4.2 %`, `37 %`.
pub fn percent(share: f64) -> String {
    let value = share * 100.0;
    match value.abs() {
        _ if !value.is_finite() => NONE.to_owned(),
        tiny if tiny < 0.05 => format!("0{NO_BREAK}%"),
        small if small < 9.95 => {
            let digits = format!("{value:.1}");
            format!("{}{NO_BREAK}%", digits.trim_end_matches(".0"))
        }
        _ => format!("{value:.0}{NO_BREAK}%"),
    }
}

/// The share of the requests up to which a percentile counts: `50 %`, `99.9 %`.
pub fn percentile(nines: u32) -> String {
    let digits = match nines {
        0 => "0".to_owned(),
        1 => "90".to_owned(),
        2 => "99".to_owned(),
        more => format!("99.{}", "9".repeat(more as usize - 2)),
    };
    format!("{digits}{NO_BREAK}%")
}

/// At most so many characters, the last of them an ellipsis if some are missing.
pub fn shortened(text: &str, characters_max: usize) -> String {
    if text.chars().count() <= characters_max {
        return text.to_owned();
    }
    let kept: String = text.chars().take(characters_max.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// `1 worker`, `2 workers`.
pub fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count}{NO_BREAK}{}", if count == 1 { one } else { many })
}

/// Whether a character is none that belongs into a line of text: control characters, which XML
/// forbids and terminals obey, and those that turn the direction of writing, with which one name
/// could pass for another.
pub fn is_odd(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{fffe}' | '\u{ffff}')
}

/// A text of a report as one line for a terminal.
pub fn printable(text: &str) -> String {
    text.replace(is_odd, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: f64) -> String {
        Significant(value).to_string().replace([NO_BREAK, NARROW_NO_BREAK], " ")
    }

    #[test]
    fn three_digits_whatever_the_size() {
        for (value, expected) in [
            (0.0, "0"),
            (0.012_345, "0.0123"),
            (0.9996, "1.00"),
            (1.0, "1.00"),
            (9.996, "10.0"),
            (-1.234, "−1.23"),
            (12.34, "12.3"),
            (99.96, "100"),
            (1234.0, "1230"),
            (12_345.0, "12 300"),
            (999_499.0, "999 000"),
            (999_999.0, "1.00 M"),
            (4.567e9, "4.57 G"),
            (1.5e-7, "1.50e−7"),
            (1e300, "1.00e300"),
        ] {
            assert_eq!(written(value), expected, "{value}");
        }
    }

    #[test]
    fn what_is_no_number_is_not_written_as_one() {
        assert_eq!(written(f64::NAN), "–");
        assert_eq!(written(f64::INFINITY), "∞");
        assert_eq!(written(f64::NEG_INFINITY), "−∞");
        assert_eq!(with_unit(f64::NAN, "ms"), "–");
        assert_eq!(percent(f64::NAN), "–");
    }

    #[test]
    fn ticks_have_no_idle_zeros_and_their_own_unit() {
        assert_eq!(trimmed(2.50), "2.5");
        assert_eq!(trimmed(100.0), "100");
        assert_eq!(trimmed(10.0), "10");
        assert_eq!(milliseconds(0.05), "50\u{a0}µs");
        assert_eq!(milliseconds(0.0), "0\u{a0}ms");
        assert_eq!(milliseconds(200.0), "200\u{a0}ms");
        assert_eq!(milliseconds(5000.0), "5\u{a0}s");
    }

    #[test]
    fn percentiles_by_their_nines() {
        let all: Vec<String> = (0..5).map(percentile).collect();
        assert_eq!(all, ["0\u{a0}%", "90\u{a0}%", "99\u{a0}%", "99.9\u{a0}%", "99.99\u{a0}%"]);
        assert_eq!(percent(0.042), "4.2\u{a0}%");
        assert_eq!(percent(0.37), "37\u{a0}%");
    }

    #[test]
    fn long_names_end_in_an_ellipsis_between_characters() {
        assert_eq!(shortened("exclusive", 9), "exclusive");
        assert_eq!(shortened("ααααα", 3), "αα…");
        assert_eq!(shortened("a bcd", 3), "a…");
    }
}
