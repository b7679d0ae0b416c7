//! What kind of measure one is, by its key and unit.
//!
//! Not here: which measures there are (`measure`).

use crate::experiment::report::schema::MeasureInfo;

/// Whether a measure is a latency, which a closed loop embellishes: a time, by its percentile or
/// its moment, of whatever class.
pub fn is_latency(measure: &MeasureInfo) -> bool {
    let is_percentile = |key: &str| {
        let mut characters = key.chars();
        characters.next() == Some('p') && characters.next().is_some_and(|one| one.is_ascii_digit())
    };
    let first = measure.key.split(|one: char| !one.is_alphanumeric()).next().unwrap_or_default();
    is_time(measure) && (is_percentile(first) || matches!(first, "max" | "mean" | "latency"))
}

/// Whether its unit is one of time.
pub fn is_time(measure: &MeasureInfo) -> bool {
    matches!(measure.unit.as_str(), "ns" | "µs" | "us" | "ms" | "s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_told_from_other_times() {
        let measure = |key: &str, unit: &str| MeasureInfo {
            key: key.to_owned(),
            unit: unit.to_owned(),
            ..MeasureInfo::default()
        };
        for (key, unit, expected) in [
            ("p99", "ms", true),
            ("p99.9", "ms", true),
            ("p99_of_slow", "ms", true),
            ("max", "ms", true),
            ("cpu_us_per_request", "µs", false),
            ("p99", "", false),
            ("power", "ms", false),
        ] {
            assert_eq!(is_latency(&measure(key, unit)), expected, "{key}");
        }
    }
}
