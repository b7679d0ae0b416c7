//! Where logs go, and what is said of requests.
//!
//! Not here: opening any of it (`observe::sink`), the form of an access line (`access_format`).

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::config::LOG_TAG_SIZE_MAX;
use crate::config::access_format::AccessFormat;

/// Where the lines of a log go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogDestination {
    /// The process's standard output.
    Stdout,
    /// The process's standard error.
    Stderr,
    /// A file: lines are appended, and it is opened again when it has been rotated.
    File(PathBuf),
    /// The machine's syslog daemon.
    Syslog {
        /// Under which heading it keeps the lines.
        facility: Facility,
        /// Who speaks.
        tag: LogTag,
    },
    /// systemd's journal, by its own protocol.
    Journald {
        /// Who speaks.
        tag: LogTag,
    },
}

impl LogDestination {
    /// The file, where it is one.
    pub fn file(&self) -> Option<&PathBuf> {
        match self {
            LogDestination::File(path) => Some(path),
            LogDestination::Stdout
            | LogDestination::Stderr
            | LogDestination::Syslog { .. }
            | LogDestination::Journald { .. } => None,
        }
    }
}

/// As it is typed.
impl fmt::Display for LogDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogDestination::Stdout => f.write_str("stdout"),
            LogDestination::Stderr => f.write_str("stderr"),
            LogDestination::File(path) => path.display().fmt(f),
            LogDestination::Syslog { facility, tag } => write!(f, "syslog:{facility}:{tag}"),
            LogDestination::Journald { tag } => write!(f, "journald:{tag}"),
        }
    }
}

/// The name under which a server speaks to syslog or the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogTag(String);

impl Default for LogTag {
    fn default() -> Self {
        LogTag("maitred".to_owned())
    }
}

impl FromStr for LogTag {
    type Err = String;

    fn from_str(text: &str) -> Result<LogTag, String> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if (1..=LOG_TAG_SIZE_MAX).contains(&text.len()) && text.bytes().all(fits) {
            return Ok(LogTag(text.to_owned()));
        }
        Err(format!("its name must be 1 to {LOG_TAG_SIZE_MAX} letters, digits, '-', '_' or '.'"))
    }
}

impl fmt::Display for LogTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A heading of syslog's (RFC 3164 section 4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facility(u8);

/// By name and number. The kernel's own, 0, is nobody else's.
const FACILITIES: [(&str, u8); 19] = [
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

impl Facility {
    /// Of services that run in the background: the default here, as in systemd.
    pub const DAEMON: Facility = Facility(3);

    /// Its number.
    pub fn code(self) -> u8 {
        self.0
    }
}

impl FromStr for Facility {
    type Err = String;

    fn from_str(text: &str) -> Result<Facility, String> {
        let found = FACILITIES.iter().find(|(name, _)| *name == text);
        found.map(|(_, code)| Facility(*code)).ok_or_else(|| {
            let names: Vec<&str> = FACILITIES.iter().map(|(name, _)| *name).collect();
            format!("its facility must be one of {}", names.join(", "))
        })
    }
}

impl fmt::Display for Facility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = FACILITIES.iter().find(|(_, code)| *code == self.0).map(|(name, _)| *name);
        f.write_str(name.unwrap_or("user"))
    }
}

/// A line a request: where to, and in which form.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLogOptions {
    /// Where the lines go.
    pub to: LogDestination,
    /// What they look like.
    pub format: AccessFormat,
}

impl Default for AccessLogOptions {
    fn default() -> Self {
        AccessLogOptions { to: LogDestination::Stdout, format: AccessFormat::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facilities_and_tags_are_read_as_they_are_shown() {
        for (name, code) in FACILITIES {
            let facility: Facility = name.parse().unwrap();
            assert_eq!((facility.code(), facility.to_string().as_str()), (code, name));
        }
        assert_eq!(Facility::DAEMON.to_string(), "daemon");
        assert!("kern".parse::<Facility>().unwrap_err().contains("local7"));
        for tag in ["maitred", "site-1.example", &"x".repeat(LOG_TAG_SIZE_MAX)] {
            assert_eq!(tag.parse::<LogTag>().unwrap().to_string(), tag);
        }
        for tag in ["", "a b", "a:b", "a[1]", "ä", &"x".repeat(LOG_TAG_SIZE_MAX + 1)] {
            assert!(tag.parse::<LogTag>().is_err(), "{tag}");
        }
    }
}
