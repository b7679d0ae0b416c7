//! The flags of logs: places, forms, and what other servers call them.

use std::path::PathBuf;
use std::time::Duration;

use super::{refusal, resolved, settings};
use crate::config::{AccessFormat, AccessLogOptions, LogDestination};
use crate::observe::logging;

fn access(arguments: &[&str], variables: &[(&str, &str)]) -> Option<AccessLogOptions> {
    resolved(arguments, variables).unwrap().settings.access_log
}

/// Where the access log goes, as it would be typed; "none" if there is none.
fn place(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    access(arguments, variables).map_or("none".to_owned(), |options| options.to.to_string())
}

#[test]
fn the_access_log_is_a_switch_and_a_place() {
    for (value, expected) in [
        ("true", "stdout"),
        ("1", "stdout"),
        ("-", "stdout"),
        ("false", "none"),
        ("off", "none"),
        ("stderr", "stderr"),
        ("/var/log/site/access.log", "/var/log/site/access.log"),
        ("access.log", "access.log"),
        ("./true", "./true"),
        ("syslog", "syslog:daemon:maitred"),
        ("syslog:local3", "syslog:local3:maitred"),
        ("syslog:local3:site", "syslog:local3:site"),
        ("journald", "journald:maitred"),
        ("journald:site", "journald:site"),
    ] {
        assert_eq!(place(&[&format!("--access-log={value}")], &[]), expected, "{value}");
        assert_eq!(place(&[], &[("MAITRED_ACCESS_LOG", value)]), expected, "{value}");
    }
    assert_eq!(place(&[], &[]), "none");
    assert_eq!(place(&["--access-log"], &[]), "stdout");
    let set = [("MAITRED_ACCESS_LOG", "/a/b")];
    assert_eq!(place(&["--access-log=false"], &set), "none");
    assert_eq!(place(&["--no-access-log"], &set), "none");
    assert_eq!(place(&["--access-log"], &set), "stdout");
}

#[test]
fn what_is_no_place_is_refused() {
    for (value, words) in [
        ("ture", "must be true, false, stdout, stderr, syslog[:FACILITY[:NAME]], journald[:NAME]"),
        ("stdout:x", "must be true, false, stdout"),
        ("syslog:kern", "its facility must be one of user, mail"),
        ("syslog:local3:a b", "its name must be 1 to 32 letters"),
        ("journald:", "its name must be 1 to 32 letters"),
        (&format!("/{}", "x".repeat(4096)), "must be a path of 1 to 4095 bytes"),
    ] {
        let message = refusal(&[&format!("--access-log={value}")]);
        assert!(message.starts_with(&format!("--access-log {value:?}: ")), "{message}");
        assert!(message.contains(words), "{message}");
    }
    let message = refusal(&["--log-to", "true"]);
    assert!(message.starts_with("--log-to \"true\": must be stdout, stderr, syslog"), "{message}");
}

#[test]
fn a_sandbox_and_a_daemon_exclude_each_other() {
    let message = refusal(&["--sandbox", "--access-log=syslog", "--log-to", "journald"]);
    let faults: Vec<&str> = message.lines().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(faults, ["--access-log", "--log-to"], "{message}");
    assert!(settings(&["--sandbox", "--access-log=./access.log"]).access_log.is_some());
}

#[test]
fn gunicorns_spellings_mean_the_same() {
    assert_eq!(place(&["--access-logfile", "-"], &[]), "stdout");
    assert_eq!(place(&["--access-logfile", "a.log"], &[("MAITRED_ACCESS_LOG", "1")]), "a.log");
    assert!(refusal(&["--access-logfile", "log"]).starts_with("--access-logfile \"log\": must be"));
    let options = access(&["--access-log", "--access-logformat", "%(h)s"], &[]).unwrap();
    assert_eq!(options.format, AccessFormat::parse("%(h)s").unwrap());
    for flag in ["--log-to", "--log-file", "--error-logfile"] {
        let log = resolved(&[flag, "/var/log/site.log"], &[]).unwrap().log;
        assert_eq!(log.to, LogDestination::File("/var/log/site.log".into()), "{flag}");
    }
}

#[test]
fn the_access_log_has_a_form() {
    let form = |arguments: &[&str]| access(arguments, &[]).unwrap().format;
    assert_eq!(form(&["--access-log"]), AccessFormat::default());
    for name in ["maitred", "common", "combined", "json", "%(h)s %({x-id}i)s"] {
        let expected = AccessFormat::parse(name).unwrap();
        assert_eq!(form(&["--access-log", "--access-log-format", name]), expected);
        let by_variable = access(&["--access-log"], &[("MAITRED_ACCESS_LOG_FORMAT", name)]);
        assert_eq!(by_variable.unwrap().format, expected);
    }
    // Told also where there is no log: it is what a `check` is for.
    for (template, meant) in [
        ("%(workr)s", "%(workr)s is no atom; %(worker)s is one"),
        ("%(status)s", "%(status)s is no atom; %(s)s is one"),
        ("%(dt_ms)s", "%(dt_ms)s is no atom; %(M)s is one"),
        ("%(gen)s", "%(gen)s is no atom; %(generation)s is one"),
        ("%(zzz)s", "%(zzz)s is no atom: docs/logging.md has them all"),
        ("%({authorization}i)s", "authorization holds a secret"),
        ("xml", "must be maitred, common, combined, json, or a template"),
    ] {
        let message = refusal(&["--access-log-format", template]);
        assert!(message.starts_with(&format!("--access-log-format {template:?}: ")), "{message}");
        assert!(message.contains(meant), "{message}");
    }
}

#[test]
fn slow_is_a_time() {
    let slow = |arguments: &[&str], variables: &[(&str, &str)]| {
        resolved(arguments, variables).unwrap().settings.slow_log
    };
    assert_eq!(slow(&[], &[]), None);
    assert_eq!(slow(&["--slow-log", "500ms"], &[]), Some(Duration::from_millis(500)));
    assert_eq!(slow(&["--slow-log", "0"], &[("MAITRED_SLOW_LOG", "1")]), None);
    assert_eq!(slow(&[], &[("MAITRED_SLOW_LOG", "2")]), Some(Duration::from_secs(2)));
    let message = refusal(&["--slow-log", "10us"]);
    assert!(message.contains("must be a duration from 1ms to 168h"), "{message}");
    assert!(message.ends_with("; 0 switches it off"), "{message}");
    assert!(settings(&["--slow-log", "1"]).logs_requests());
    assert!(settings(&["--access-log"]).logs_requests());
    assert!(!settings(&[]).logs_requests());
}

#[test]
fn the_log_has_a_form_and_a_filter() {
    let log = |arguments: &[&str], variables: &[(&str, &str)]| {
        resolved(arguments, variables).map(|resolved| resolved.log).map_err(|f| f.to_string())
    };
    assert_eq!(log(&[], &[]), Ok(logging::Options::default()));
    assert_eq!(log(&["--log-format", "json"], &[]).unwrap().format, logging::Format::Json);
    let refusal = log(&["--log-format", "xml"], &[]).unwrap_err();
    assert_eq!(refusal, "--log-format \"xml\": must be one of text, json");
    let refusal = log(&["--log-level", "loud"], &[]).unwrap_err();
    assert!(refusal.starts_with("--log-level \"loud\": must be off, error, warn"), "{refusal}");
    let warn = logging::Filter::parse("warn").unwrap();
    assert_eq!(log(&["--log-level", "warn"], &[("MAITRED_LOG", "info")]).unwrap().filter, warn);
    // As Uvicorn and Gunicorn spell it.
    assert_eq!(log(&["--log-level", "warning"], &[]).unwrap().filter, warn);
    assert_eq!(log(&[], &[("MAITRED_LOG", "warn")]).unwrap().filter, warn);
    let both = [("MAITRED_LOG", "info"), ("MAITRED_LOG_LEVEL", "warn")];
    assert_eq!(log(&[], &both).unwrap().filter, warn);
    assert!(log(&[], &[("MAITRED_LOG", "loud")]).unwrap_err().starts_with("MAITRED_LOG=\"loud\""));
    let place = |to: &str| log(&["--log-to", to], &[]).unwrap().to;
    assert_eq!(place("-"), LogDestination::Stderr);
    assert_eq!(place("./log"), LogDestination::File(PathBuf::from("./log")));
    assert_eq!(place("journald:site").to_string(), "journald:site");
    assert_eq!(log(&[], &[("MAITRED_LOG_TO", "stdout")]).unwrap().to, LogDestination::Stdout);
}
