//! Values as users type them: numbers, durations, sizes, switches, permission bits.
//!
//! Each parser takes the text and answers with a value in bounds or with a sentence that names the
//! bound; the flag and the text are put in front of it by `faults`. Each has its inverse, so that
//! help and documentation show a default in the form in which it can be typed.
//!
//! Not here: addresses (`addresses`), which flag takes what (`resolve`).

use std::ffi::OsStr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::STATUS_PATH_SIZE_MAX;

/// What a parser says of a text that it refuses: "must be …".
pub type Refusal = String;

/// A whole number in bounds.
pub fn whole(text: &str, bounds: RangeInclusive<u64>) -> Result<u64, Refusal> {
    let value = if is_digits(text) { text.parse::<u64>().ok() } else { None };
    value.filter(|value| bounds.contains(value)).ok_or_else(|| {
        format!("must be a whole number from {} to {}", bounds.start(), bounds.end())
    })
}

/// Any 64-bit number, decimal or with `0x`.
pub fn seed(text: &str) -> Result<u64, Refusal> {
    let value = match text.strip_prefix("0x") {
        Some(digits) if !digits.starts_with('+') => u64::from_str_radix(digits, 16).ok(),
        Some(_) => None,
        None if is_digits(text) => text.parse().ok(),
        None => None,
    };
    value.ok_or_else(|| {
        format!("must be a whole number from 0 to {}, or 0x and hex digits", u64::MAX)
    })
}

/// Permission bits in octal, as chmod(1) takes them.
pub fn unix_mode(text: &str) -> Result<u32, Refusal> {
    let value = if is_digits(text) { u32::from_str_radix(text, 8).ok() } else { None };
    value
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| "must be permission bits in octal, from 0 to 777".to_owned())
}

/// A duration: a number with `us`, `ms`, `s`, `m` or `h`, a plain number being seconds as in
/// Gunicorn. Decimals are taken.
pub fn duration(text: &str, bounds: RangeInclusive<Duration>) -> Result<Duration, Refusal> {
    duration_of(text).filter(|value| bounds.contains(value)).ok_or_else(|| {
        format!(
            "must be a duration from {} to {}, as in 1.5, 500ms, 2s, 1m",
            show_duration(*bounds.start()),
            show_duration(*bounds.end()),
        )
    })
}

/// A duration where 0 means "never".
pub fn duration_or_off(
    text: &str,
    bounds: RangeInclusive<Duration>,
) -> Result<Option<Duration>, Refusal> {
    if duration_of(text) == Some(Duration::ZERO) {
        return Ok(None);
    }
    match duration(text, bounds) {
        Ok(value) => Ok(Some(value)),
        Err(refusal) => Err(format!("{refusal}; 0 switches it off")),
    }
}

/// A size in bytes: a whole number with `K`, `M`, `G` or `T`, each 1024 times the one before as in
/// nginx, with or without `iB`. `MB` is refused: half of its readers mean something else.
pub fn size(text: &str, bounds: RangeInclusive<u64>) -> Result<u64, Refusal> {
    size_of(text).filter(|value| bounds.contains(value)).ok_or_else(|| {
        let bounds = match (*bounds.start(), *bounds.end()) {
            (0, u64::MAX) => String::new(),
            (least, most) => format!(" from {} to {}", show_size(least), show_size(most)),
        };
        format!("must be a size{bounds}, as in 8190, 64K, 10M, 1GiB")
    })
}

/// The path of a file.
pub fn path(text: &OsStr) -> Result<PathBuf, Refusal> {
    if text.is_empty() || text.len() > STATUS_PATH_SIZE_MAX {
        return Err(format!("must be a path of 1 to {STATUS_PATH_SIZE_MAX} bytes"));
    }
    Ok(PathBuf::from(text))
}

/// A switch: `--flag`, `--flag=false`, `MAITRED_FLAG=1`.
pub fn switch(text: &str) -> Result<bool, Refusal> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" | "" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// One of a list of words.
pub fn one_of<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, Refusal> {
    words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        format!("must be one of {}", words.join(", "))
    })
}

/// A duration in the form in which it can be typed, in the largest unit that keeps it whole.
pub fn show_duration(value: Duration) -> String {
    const UNITS: [(u128, &str); 4] =
        [(3600 * 1_000_000, "h"), (1_000_000, "s"), (1000, "ms"), (1, "us")];
    let micros = value.as_micros();
    if micros == 0 {
        return "0".to_owned();
    }
    // Seconds read better than minutes up to the hour; whole hours only then.
    let (unit, name) =
        UNITS.into_iter().find(|(unit, _)| micros.is_multiple_of(*unit)).unwrap_or((1, "us"));
    format!("{}{name}", micros / unit)
}

/// A size in the form in which it can be typed.
pub fn show_size(value: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    match UNITS.into_iter().find(|(unit, _)| value >= *unit && value.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", value / unit),
        None => value.to_string(),
    }
}

fn duration_of(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit_s = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    // "." alone and "1.2.3" are refused by the float parser; signs, "inf" and "nan" never reach it.
    let number: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(number * unit_s).ok()
}

fn size_of(text: &str) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// `str::parse` takes a leading plus sign, which nobody means.
fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn durations_have_units_and_plain_numbers_are_seconds() {
        let any = Duration::ZERO..=DAY;
        for (text, micros) in [
            ("1ms", 1000),
            ("2s", 2_000_000),
            ("1.5", 1_500_000),
            ("0.1", 100_000),
            (".5", 500_000),
            ("30", 30_000_000),
            ("250us", 250),
            ("1m", 60_000_000),
            ("1h", 3_600_000_000),
            ("0", 0),
        ] {
            assert_eq!(duration(text, any.clone()), Ok(Duration::from_micros(micros)), "{text}");
        }
        for text in
            ["", ".", "s", "-1", "+1", "1e3", "inf", "nan", "1.2.3", "1 s", "1d", "25h", "1S"]
        {
            assert!(duration(text, any.clone()).is_err(), "{text}");
        }
        let huge = "9".repeat(400);
        assert!(duration(&huge, any).is_err());
    }

    #[test]
    fn zero_switches_a_deadline_off() {
        let bounds = Duration::from_millis(1)..=DAY;
        assert_eq!(duration_or_off("0", bounds.clone()), Ok(None));
        assert_eq!(duration_or_off("0ms", bounds.clone()), Ok(None));
        assert_eq!(duration_or_off("2", bounds.clone()), Ok(Some(Duration::from_secs(2))));
        let refusal = duration_or_off("soon", bounds).unwrap_err();
        assert!(refusal.ends_with("0 switches it off"), "{refusal}");
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("8190", 8190),
            ("64K", 65_536),
            ("64KiB", 65_536),
            ("10M", 10 << 20),
            ("1GiB", 1 << 30),
            ("1g", 1 << 30),
            ("2T", 2 << 40),
            ("5b", 5),
        ] {
            assert_eq!(size(text, 0..=u64::MAX), Ok(bytes), "{text}");
        }
        for text in ["", "M", "-1", "+1", "1.5M", "10MB", "1 M", "99999999999T", "1e3"] {
            assert!(size(text, 0..=u64::MAX).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_are_digits_in_bounds() {
        assert_eq!(whole("7", 1..=7), Ok(7));
        for text in ["", "0", "8", "+7", "-7", "7.0", " 7", "seven", "99999999999999999999999"] {
            assert_eq!(
                whole(text, 1..=7),
                Err("must be a whole number from 1 to 7".to_owned()),
                "{text}"
            );
        }
        assert_eq!(seed("0xdeadBEEF"), Ok(0xdead_beef));
        assert_eq!(seed("18446744073709551615"), Ok(u64::MAX));
        for text in ["", "0x", "0x+1", "+1", "-1", "18446744073709551616", "0xg"] {
            assert!(seed(text).is_err(), "{text}");
        }
        assert_eq!(unix_mode("0660"), Ok(0o660));
        assert_eq!(unix_mode("777"), Ok(0o777));
        for text in ["", "1000", "8", "0o660", "+660", "rw"] {
            assert!(unix_mode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn switches_and_words() {
        for text in ["true", "1", "YES", "on"] {
            assert_eq!(switch(text), Ok(true), "{text}");
        }
        for text in ["false", "0", "No", "off", ""] {
            assert_eq!(switch(text), Ok(false), "{text}");
        }
        assert!(switch("maybe").is_err());
        let words = [("text", 1), ("json", 2)];
        assert_eq!(one_of("json", &words), Ok(2));
        assert_eq!(one_of("xml", &words), Err("must be one of text, json".to_owned()));
    }

    #[test]
    fn what_is_shown_can_be_typed() {
        for micros in [0, 1, 100, 1000, 1500, 1_000_000, 75_000_000, 3_600_000_000, 604_800_000_000]
        {
            let value = Duration::from_micros(micros);
            assert_eq!(duration_of(&show_duration(value)), Some(value), "{micros}");
        }
        for bytes in [0, 1, 4094, 8190, 1024, 65_536, 1 << 20, 1 << 30, 5 << 40] {
            assert_eq!(size_of(&show_size(bytes)), Some(bytes), "{bytes}");
        }
        assert_eq!(show_duration(Duration::from_secs(75)), "75s");
        assert_eq!(show_size(1 << 20), "1M");
    }
}
