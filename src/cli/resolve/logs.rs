//! Where logs go, what a line of the access log looks like, and what counts as slow.
//!
//! `--access-log` is a switch and a place in one, as people know it from either kind of server; so a
//! file is only taken for one if it looks like a path, and a mistyped `true` is no file.
//!
//! Not here: the grammar of templates (`config::access_format`).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::cli::faults::{Given, Reader, variable_of};
use crate::cli::raw::RawLogs;
use crate::cli::values::{self, Refusal};
use crate::config::{
    self, ATOMS, AccessFormat, AccessLogOptions, Facility, FormatError, LogDestination, LogTag,
    Sandbox,
};
use crate::observe::logging;

/// How unlike an atom may be to the one that was meant (Jaro-Winkler).
const SUGGESTED_FROM: f64 = 0.7;

const PLACES: &str = "stdout, stderr, syslog[:FACILITY[:NAME]], journald[:NAME], or a path with a \
                      slash or a dot in it, such as ./log";

/// The access log, if there is to be one.
pub(super) fn access_log(
    raw: &RawLogs,
    by_default: bool,
    reader: &mut Reader<'_>,
) -> Option<AccessLogOptions> {
    const FLAG: &str = "--access-log";
    // Faults of the form are told whether or not there is a log.
    let format = access_format(raw, reader);
    let usual = LogDestination::Stdout;
    let to = if let Some(path) = &raw.access_logfile {
        let given = Given { name: "--access-logfile".to_owned(), value: path.clone(), typed: true };
        let parsed = reader.parsed_raw(given, |text| destination(text, &usual));
        parsed.map(|given| given.value)
    } else {
        let given = given(FLAG, raw.access_log.as_ref(), reader);
        match given.and_then(|given| reader.parsed_raw(given, switch_or_destination)) {
            Some(given) => given.value,
            None => by_default.then_some(usual),
        }
    };
    let to = to.filter(|_| !raw.no_access_log)?;
    Some(AccessLogOptions { to, format })
}

fn access_format(raw: &RawLogs, reader: &mut Reader<'_>) -> AccessFormat {
    let typed = raw.access_log_format.as_deref();
    reader.value_or("--access-log-format", typed, AccessFormat::default(), |text| {
        AccessFormat::parse(text).map_err(|error| with_suggestion(&error))
    })
}

/// Requests that take so long are logged.
pub(super) fn slow_log(raw: &RawLogs, reader: &mut Reader<'_>) -> Option<std::time::Duration> {
    reader.value_or("--slow-log", raw.slow_log.as_deref(), None, |text| {
        values::duration_or_off(text, config::DEADLINE_MIN..=config::DEADLINE_MAX)
    })
}

/// A sandboxed worker opens no socket: what goes to a daemon would be lost.
pub(super) fn refuse_sandboxed(
    sandbox: Sandbox,
    access: Option<&AccessLogOptions>,
    log: &logging::Options,
    reader: &mut Reader<'_>,
) {
    let is_daemon = |to: &LogDestination| {
        matches!(to, LogDestination::Syslog { .. } | LogDestination::Journald { .. })
    };
    let flags = [("--access-log", access.map(|access| &access.to)), ("--log-to", Some(&log.to))];
    for (flag, to) in flags {
        if sandbox != Sandbox::Off && to.is_some_and(is_daemon) {
            let refusal = "cannot be syslog or journald with --sandbox: a worker that is in one \
                           opens no socket";
            reader.refuse(flag, None, refusal);
        }
    }
}

/// How a process logs.
pub(super) fn log(raw: &RawLogs, reader: &mut Reader<'_>) -> logging::Options {
    const FORMATS: [(&str, logging::Format); 2] =
        [("text", logging::Format::Text), ("json", logging::Format::Json)];
    let usual = LogDestination::Stderr;
    let to = given("--log-to", raw.log_to.as_ref(), reader)
        .and_then(|given| reader.parsed_raw(given, |text| destination(text, &usual)));
    let format = reader.value_or(
        "--log-format",
        raw.log_format.as_deref(),
        logging::Format::default(),
        |text| values::one_of(text, &FORMATS),
    );
    let mut filter = reader.value("--log-level", raw.log_level.as_deref(), logging::Filter::parse);
    if filter.is_none()
        && raw.log_level.is_none()
        && let Some(given) = reader.platform("--log-level")
    {
        filter = reader.parsed(given, logging::Filter::parse);
    }
    logging::Options {
        to: to.map_or(usual, |given| given.value),
        format,
        filter: filter.map(|given| given.value).unwrap_or_default(),
    }
}

/// A value that may be any bytes: the flag's, or its variable's.
fn given(flag: &str, typed: Option<&OsString>, reader: &Reader<'_>) -> Option<Given<OsString>> {
    match typed {
        Some(value) => Some(Given { name: flag.to_owned(), value: value.clone(), typed: true }),
        None => reader.variable(&variable_of(flag)),
    }
}

/// `--access-log`, `--access-log=false`, `--access-log=/var/log/access.log`.
fn switch_or_destination(text: &OsStr) -> Result<Option<LogDestination>, Refusal> {
    match text.to_str().map(values::switch) {
        Some(Ok(on)) => Ok(on.then_some(LogDestination::Stdout)),
        Some(Err(_)) | None => match destination(text, &LogDestination::Stdout) {
            Ok(to) => Ok(Some(to)),
            Err(refusal) => {
                let (words, all) = ("must be stdout", "must be true, false, stdout");
                Err(refusal.replacen(words, all, 1))
            }
        },
    }
}

/// A place for lines; a dash is the usual one.
fn destination(text: &OsStr, usual: &LogDestination) -> Result<LogDestination, Refusal> {
    let mut words = text.to_str().unwrap_or_default().splitn(3, ':');
    let parts = (words.next().unwrap_or_default(), words.next(), words.next());
    let tag = |name: Option<&str>| name.map_or(Ok(LogTag::default()), str::parse);
    match parts {
        ("-", None, None) => Ok(usual.clone()),
        ("stdout", None, None) => Ok(LogDestination::Stdout),
        ("stderr", None, None) => Ok(LogDestination::Stderr),
        ("syslog", facility, name) => Ok(LogDestination::Syslog {
            facility: facility.map_or(Ok(Facility::DAEMON), str::parse)?,
            tag: tag(name)?,
        }),
        ("journald", name, None) => Ok(LogDestination::Journald { tag: tag(name)? }),
        _ if text.as_bytes().iter().any(|byte| matches!(byte, b'/' | b'.')) => {
            values::path(text).map(LogDestination::File)
        }
        _ => Err(format!("must be {PLACES}")),
    }
}

/// What is wrong with a form, and the atom that was probably meant.
fn with_suggestion(error: &FormatError) -> Refusal {
    let FormatError::Unknown(name) = error else { return error.to_string() };
    let likeness = |known: &str| match () {
        // What other servers, and this one's other formats, call it.
        () if MEANT.contains(&(name.as_str(), known)) => 1.0,
        () => strsim::jaro_winkler(name, known),
    };
    let all = ATOMS.iter().map(|(known, _)| *known);
    let nearest = all.max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    match nearest.filter(|known| likeness(known) >= SUGGESTED_FROM) {
        Some(meant) => format!("{error}; %({meant})s is one"),
        None => format!("{error}: docs/logging.md has them all"),
    }
}

/// Names that mean an atom without being like it: Granian's, and those of the lines of other formats.
const MEANT: [(&str, &str); 15] = [
    ("request_id", "request"),
    ("addr", "h"),
    ("client", "h"),
    ("method", "m"),
    ("path", "U"),
    ("query_string", "q"),
    ("protocol", "H"),
    ("status", "s"),
    ("dt_ms", "M"),
    ("gen", "generation"),
    ("user", "u"),
    ("referer", "f"),
    ("user_agent", "a"),
    ("bytes", "B"),
    ("duration", "L"),
];
