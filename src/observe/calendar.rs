//! Wall-clock time as logs write it: RFC 3339 in the log, the common log format in the access log.
//!
//! Both in UTC, whatever the machine's zone: logs of several machines are compared. Arithmetic on
//! the proleptic Gregorian calendar, with no table of zones or leap seconds, is all that needs.
//!
//! Not here: deadlines (`time`, on the monotonic clock), the Date field (`httpdate`).

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A moment in UTC; what lies before 1970 counts as its first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utc {
    year: u64,
    month: u64,
    day: u64,
    second_of_day: u64,
    millisecond: u32,
}

/// Prints `2026-11-23T08:52:10.123Z` (RFC 3339).
pub struct Rfc3339(pub Utc);

/// Prints `2026-11-23T08:52:10`: the same without fraction and zone, for whoever adds them.
pub struct Rfc3339Seconds(pub Utc);

/// Prints `23/Nov/2026:08:52:10 +0000` (the common log format).
pub struct CommonLog(pub Utc);

impl From<SystemTime> for Utc {
    fn from(time: SystemTime) -> Utc {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let days = since.as_secs() / 86_400;
        // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days: years
        // are counted from March, so that the leap day is the last one.
        let shifted = days + 719_468;
        let era = shifted / 146_097;
        let day_of_era = shifted % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        Utc {
            year,
            month,
            day,
            second_of_day: since.as_secs() % 86_400,
            millisecond: since.subsec_millis(),
        }
    }
}

impl Utc {
    fn clock(&self) -> (u64, u64, u64) {
        (self.second_of_day / 3600, self.second_of_day / 60 % 60, self.second_of_day % 60)
    }
}

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}Z", Rfc3339Seconds(self.0), self.0.millisecond)
    }
}

impl fmt::Display for Rfc3339Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Utc { year, month, day, .. } = self.0;
        let (hour, minute, second) = self.0.clock();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
    }
}

impl fmt::Display for CommonLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Utc { year, month, day, .. } = self.0;
        let (hour, minute, second) = self.0.clock();
        let month = MONTHS[(month - 1) as usize];
        write!(f, "{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_moments() {
        for (seconds, rfc3339, common) in [
            (0, "1970-01-01T00:00:00.007Z", "01/Jan/1970:00:00:00 +0000"),
            (951_782_400, "2000-02-29T00:00:00.007Z", "29/Feb/2000:00:00:00 +0000"),
            (1_795_510_330, "2026-11-24T08:52:10.007Z", "24/Nov/2026:08:52:10 +0000"),
            (4_107_542_399, "2100-02-28T23:59:59.007Z", "28/Feb/2100:23:59:59 +0000"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z", "01/Mar/2100:00:00:00 +0000"),
        ] {
            let utc = Utc::from(UNIX_EPOCH + Duration::new(seconds, 7_000_000));
            assert_eq!(Rfc3339(utc).to_string(), rfc3339);
            assert_eq!(CommonLog(utc).to_string(), common);
        }
        let before = Utc::from(UNIX_EPOCH - Duration::from_secs(1));
        assert_eq!(Rfc3339(before).to_string(), "1970-01-01T00:00:00.000Z");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn it_agrees_with_another_calendar(seconds in 0_u64..253_402_300_799) {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            // "Mon, 23 Nov 2026 08:52:10 GMT"
            let other = httpdate::fmt_http_date(time);
            let ours = CommonLog(Utc::from(time)).to_string();
            let ours = ours.replacen('/', " ", 2).replacen(':', " ", 1).replace(" +0000", " GMT");
            prop_assert_eq!(&other[5..], ours);
        }
    }
}
