//! Where, when and with what a bench runs: what figures have to travel with.
//!
//! Not here: which cores are whose (`cores`).

use std::fs;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use crate::experiment::report::schema::Environment;

/// Characters of a text from /proc or another program.
const TEXT_MAX: usize = 200;

/// Looks around.
pub(crate) fn look() -> Environment {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Environment {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        revision: revision(),
        kernel: short(&kernel),
        cpu: cpu(),
        memory_bytes: memory_bytes(),
        is_debug_build: cfg!(debug_assertions),
        began_at: rfc3339(SystemTime::now()),
        ..Environment::default()
    }
}

/// The processor's model: x86 says it in cpuinfo, others often do not.
fn cpu() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map(|rest| rest.trim_start_matches([' ', '\t', ':']));
    model.map_or_else(|| std::env::consts::ARCH.to_owned(), short)
}

fn memory_bytes() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

/// Of the working directory, if it is a repository of this project's: whoever measures a change does
/// so where it is, and another project's revision would say nothing.
fn revision() -> Option<String> {
    let manifest = fs::read_to_string("Cargo.toml").ok()?;
    if !manifest.lines().any(|line| line.trim() == "name = \"maitred\"") {
        return None;
    }
    let described = Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = short(&String::from_utf8_lossy(&described.stdout));
    (described.status.success() && !text.is_empty()).then_some(text)
}

/// The first line, without ends, not endless.
fn short(text: &str) -> String {
    text.trim().lines().next().unwrap_or_default().chars().take(TEXT_MAX).collect()
}

/// A time as `2026-01-31T12:34:56Z`.
pub fn rfc3339(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // From days to the calendar: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms",
    // civil_from_days; eras of 400 years beginning in March.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_what_date_says() {
        let at = |seconds| rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(at(1_767_225_599), "2025-12-31T23:59:59Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn everything_is_known_of_this_machine() {
        let environment = look();
        assert!(!environment.kernel.is_empty() && !environment.cpu.is_empty());
        assert!(environment.memory_bytes > 0);
    }
}
