//! The flags of Python applications.

use super::{refusal, resolved, settings};
use crate::cli::faults::variable_of;
use crate::config::{App, PythonApp, Settings};

/// Reads back one setting as text.
type Read = fn(&PythonApp, &Settings) -> String;

/// Flag, its default, a text that it takes and what that means, a text that it refuses, part of the
/// refusal.
type Case = (
    &'static str,
    &'static str,
    (&'static str, &'static str),
    Option<(&'static str, &'static str)>,
    Read,
);

const SWITCH: Option<(&str, &str)> = Some(("perhaps", "must be true or false"));

pub(super) const FLAGS: &[Case] = &[
    (
        "--interface",
        "auto",
        ("wsgi", "wsgi"),
        Some(("cgi", "must be one of auto, asgi, wsgi")),
        |a, _| a.interface.word().into(),
    ),
    ("--factory", "false", ("true", "true"), SWITCH, |a, _| a.factory.to_string()),
    ("--app-dir", "", ("src", "src"), None, |a, _| a.app_dir.display().to_string()),
    ("--chdir", "None", ("/srv", "Some(\"/srv\")"), None, |_, s| format!("{:?}", s.chdir)),
    ("--env-file", "None", (".env", "Some(\".env\")"), None, |_, s| format!("{:?}", s.env_file)),
    ("--python", "None", ("py", "Some(\"py\")"), None, |a, _| format!("{:?}", a.interpreter)),
    ("--reload", "false", ("true", "true"), SWITCH, |_, s| s.reload.is_some().to_string()),
    (
        "--root-path",
        "",
        ("/api/", "/api"),
        Some(("api", "must be a path that begins with /")),
        |a, _| a.root_path.clone(),
    ),
    ("--proxy-headers", "true", ("off", "false"), SWITCH, |a, _| a.proxy_headers.to_string()),
    ("--forwarded-allow-ips", "127.0.0.1", ("10.0.0.0/8,::1", "10.0.0.0/8,::1"), None, |a, _| {
        a.forwarded_allow_ips.clone()
    }),
    ("--server-header", "true", ("off", "false"), SWITCH, |a, _| a.server_header.to_string()),
    ("--date-header", "true", ("off", "false"), SWITCH, |a, _| a.date_header.to_string()),
    (
        "--header",
        "[]",
        ("X-A: b", "[(\"X-A\", \"b\")]"),
        Some(("none", "must be NAME:VALUE")),
        |a, _| format!("{:?}", a.headers),
    ),
    ("--log-config", "None", ("log.ini", "Some(\"log.ini\")"), None, |a, _| {
        format!("{:?}", a.log_config)
    }),
    (
        "--loop",
        "auto",
        ("uvloop", "uvloop"),
        Some(("trio", "must be one of auto, asyncio, uvloop")),
        |a, _| a.asgi.event_loop.word().into(),
    ),
    (
        "--http",
        "auto",
        ("h11", "h11"),
        Some(("h2", "must be one of auto, h11, httptools")),
        |a, _| a.asgi.http.word().into(),
    ),
    (
        "--ws",
        "auto",
        ("wsproto", "wsproto"),
        Some(("aio", "must be one of auto, none, websockets, websockets-sansio, wsproto")),
        |a, _| a.asgi.websockets.word().into(),
    ),
    (
        "--ws-max-size",
        "16777216",
        ("64K", "65536"),
        Some(("0", "must be a size from 1 to 1G")),
        |a, _| a.asgi.ws_max_size.to_string(),
    ),
    (
        "--ws-max-queue",
        "32",
        ("1", "1"),
        Some(("0", "must be a whole number from 1 to 65536")),
        |a, _| a.asgi.ws_max_queue.to_string(),
    ),
    ("--ws-ping-interval", "Some(20s)", ("0", "None"), Some(("x", "0 switches it off")), |a, _| {
        format!("{:?}", a.asgi.ws_ping_interval)
    }),
    (
        "--ws-ping-timeout",
        "Some(20s)",
        ("5", "Some(5s)"),
        Some(("x", "0 switches it off")),
        |a, _| format!("{:?}", a.asgi.ws_ping_timeout),
    ),
    ("--ws-per-message-deflate", "true", ("false", "false"), SWITCH, |a, _| {
        a.asgi.ws_per_message_deflate.to_string()
    }),
    (
        "--lifespan",
        "auto",
        ("off", "off"),
        Some(("maybe", "must be one of auto, on, off")),
        |a, _| a.asgi.lifespan.word().into(),
    ),
    (
        "--limit-concurrency",
        "None",
        ("100", "Some(100)"),
        Some(("0", "must be a whole number from 1 to 65536")),
        |a, _| format!("{:?}", a.asgi.limit_concurrency),
    ),
    (
        "--h11-max-incomplete-event-size",
        "None",
        ("64K", "Some(65536)"),
        Some(("0", "must be a size from 1 to 1G")),
        |a, _| format!("{:?}", a.asgi.h11_max_incomplete_event_size),
    ),
    // What else is said of --reload is kept with it only.
    ("--reload-dir", "", ("src", ""), None, |_, _| String::new()),
    ("--reload-include", "", ("*.html", ""), None, |_, _| String::new()),
    ("--reload-exclude", "", ("test_*", ""), None, |_, _| String::new()),
    (
        "--reload-delay",
        "",
        ("1", ""),
        Some(("1ms", "must be a duration from 10ms to 60s")),
        |_, _| String::new(),
    ),
];

fn python(settings: &Settings) -> &PythonApp {
    let App::Python(app) = &settings.app else {
        panic!("{:?} is no Python application", settings.app)
    };
    app
}

#[test]
fn every_python_flag_takes_what_it_should_and_names_its_bound() {
    for (flag, default, (text, meaning), refused, read) in FLAGS {
        let read = |settings: &Settings| read(python(settings), settings);
        assert_eq!(read(&settings(&["pkg:app"])), *default, "default of {flag}");
        let typed = format!("{flag}={text}");
        assert_eq!(read(&settings(&["pkg:app", &typed])), *meaning, "{typed}");
        let variable = variable_of(flag);
        let by_variable = resolved(&["pkg:app"], &[(&variable, text)]).unwrap().settings;
        assert_eq!(read(&by_variable), *meaning, "{variable}={text}");
        if let Some((text, words)) = refused {
            let message = refusal(&["pkg:app", &format!("{flag}={text}")]);
            assert!(message.starts_with(&format!("{flag} {text:?}: ")), "{message}");
            assert!(message.contains(words), "{message}");
        }
    }
}

#[test]
fn what_is_watched_for_a_reload_is_kept_with_it() {
    let typed = ["pkg:app", "--reload", "--reload-dir=a", "--reload-dir=b", "--reload-include=*.x"];
    let watch = settings(&typed).reload.unwrap();
    assert_eq!(watch.directories, [std::path::Path::new("a"), std::path::Path::new("b")]);
    assert_eq!(watch.includes, ["*.py", "*.x"]);
    assert_eq!(watch.excludes.first().unwrap(), ".*");
    let against = ["pkg:app", "--reload", "--reload-exclude=*.py", "--reload-include=.*"];
    let watch = settings(&against).reload.unwrap();
    assert_eq!(watch.includes, [".*"]);
    assert_eq!(watch.excludes, [".py[cod]", ".sw.*", "~*", "*.py"]);
}

#[test]
fn who_develops_sees_what_is_asked_for() {
    let logs = |arguments: &[&str]| settings(arguments).access_log.is_some();
    assert!(!logs(&["pkg:app"]));
    assert!(logs(&["pkg:app", "--reload"]));
    assert!(!logs(&["pkg:app", "--reload", "--access-log=false"]));
    assert!(!logs(&["pkg:app", "--reload", "--no-access-log"]));
    assert!(!logs(&["pkg:app", "--access-log", "--no-access-log"]));
}

#[test]
fn a_python_application_is_a_module_with_or_without_a_name() {
    for target in ["pkg.module:app", "pkg.wsgi", "pkg:make()"] {
        assert_eq!(python(&settings(&[target])).target, target);
    }
}

#[test]
fn uvicorns_denials_and_gunicorns_variable_are_understood() {
    let denied = settings(&["a:b", "--no-proxy-headers", "--no-server-header", "--no-date-header"]);
    let app = python(&denied);
    assert!(!app.proxy_headers && !app.server_header && !app.date_header);
    let variable = [("FORWARDED_ALLOW_IPS", "*")];
    let believed = resolved(&["a:b"], &variable).unwrap().settings;
    assert_eq!(python(&believed).forwarded_allow_ips, "*");
}

#[test]
fn a_flag_of_python_needs_a_python_application() {
    let message = refusal(&["echo", "--loop=uvloop", "--app-dir=src"]);
    assert_eq!(message.lines().count(), 2, "{message}");
    assert!(message.contains("needs a Python application"), "{message}");
}

#[test]
fn an_application_that_is_known_to_be_asgi_has_no_threads() {
    let message = refusal(&["a:b", "--interface=asgi", "--threads=4"]);
    assert!(message.contains("runs on the worker's loop"), "{message}");
    let lifecycle = |arguments: &[&str]| settings(arguments).lifecycle;
    // A turn of a loop is judged; a call in a thread only where somebody has said so.
    assert!(lifecycle(&["a:b"]).timeout_spares_calls);
    assert!(!lifecycle(&["a:b", "--timeout=5"]).timeout_spares_calls);
    assert_eq!(lifecycle(&["a:b"]).timeout, Some(std::time::Duration::from_secs(30)));
}
