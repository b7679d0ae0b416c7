//! The flags of Python applications, and of where workers run.
//!
//! A variable may be set for many servers, so one that an application of another kind has no use
//! for is left alone; a flag was typed for this one, and is refused.
//!
//! Not here: importing the application (the Python package), the other kinds (`resolve`).

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::faults::{Given, Reader, variable_of};
use crate::cli::raw::{RawPython, RawServe};
use crate::cli::values::{self, Refusal};
use crate::config::{
    self, App, AsgiOptions, EventLoop, HttpProtocol, Interface, Lifespan, PythonApp, WatchFiles,
    WebSockets,
};

/// Where the workers run, whatever they serve.
pub(super) struct Place {
    pub(super) chdir: Option<PathBuf>,
    pub(super) env_file: Option<PathBuf>,
    pub(super) reload: Option<WatchFiles>,
}

/// Whether a name can be that of a Python application: `pkg.module`, with or without `:attribute`.
pub(super) fn is_target(name: &str) -> bool {
    let (module, attribute) = match name.split_once(':') {
        Some((module, attribute)) => (module, Some(attribute)),
        None => (name, None),
    };
    let is_module = module.split('.').all(is_identifier);
    is_module && attribute.is_none_or(|attribute| !attribute.is_empty())
}

/// The rest of what is said of a Python application.
pub(super) fn application(
    raw: &RawServe,
    target: String,
    threads: Option<&Given<u16>>,
    reader: &mut Reader<'_>,
) -> PythonApp {
    let python = &raw.python;
    let default = PythonApp::new(target);
    let (proxy_headers, forwarded_allow_ips) = self::proxy_headers(python, reader);
    let app = PythonApp {
        interface: reader.value_or(
            "--interface",
            python.interface.as_deref(),
            Interface::default(),
            interface,
        ),
        factory: switch(reader, "--factory", &python.factory, default.factory),
        app_dir: path(reader, "--app-dir", python.app_dir.as_ref()).unwrap_or_default(),
        interpreter: path(reader, "--python", python.python.as_ref()),
        root_path: reader.value_or(
            "--root-path",
            python.root_path.as_deref(),
            default.root_path,
            root_path,
        ),
        proxy_headers,
        forwarded_allow_ips,
        server_header: not(
            python.no_server_header,
            switch(reader, "--server-header", &python.server_header, default.server_header),
        ),
        date_header: not(
            python.no_date_header,
            switch(reader, "--date-header", &python.date_header, default.date_header),
        ),
        headers: headers(python, reader),
        log_config: path(reader, "--log-config", python.log_config.as_ref()),
        asgi: asgi(python, default.asgi, reader),
        target: default.target,
    };
    if app.interface == Interface::Asgi && threads.is_some_and(|given| given.value > 0) {
        let refusal = "an ASGI application runs on the worker's loop: leave it out, or say 0";
        reader.refuse("--threads", None, refusal);
    }
    app
}

/// Where the workers run, and what replaces them.
pub(super) fn place(raw: &RawPython, reader: &mut Reader<'_>) -> Place {
    Place {
        chdir: path(reader, "--chdir", raw.chdir.as_ref()),
        env_file: path(reader, "--env-file", raw.env_file.as_ref()),
        reload: reload(raw, reader),
    }
}

/// What was typed of a Python application, and the server has none.
pub(super) fn refuse_typed(raw: &RawPython, app: &App, reader: &mut Reader<'_>) {
    if matches!(app, App::Python(_)) {
        return;
    }
    let texts = [
        ("--interface", &raw.interface),
        ("--factory", &raw.factory),
        ("--root-path", &raw.root_path),
        ("--loop", &raw.event_loop),
        ("--http", &raw.http),
        ("--ws", &raw.ws),
        ("--lifespan", &raw.lifespan),
        ("--limit-concurrency", &raw.limit_concurrency),
    ];
    for (flag, _) in texts.iter().filter(|(_, typed)| typed.is_some()) {
        reader.refuse(flag, None, "needs a Python application: pkg.module:app");
    }
    let paths =
        [("--app-dir", &raw.app_dir), ("--python", &raw.python), ("--log-config", &raw.log_config)];
    for (flag, _) in paths.iter().filter(|(_, typed)| typed.is_some()) {
        reader.refuse(flag, None, "needs a Python application: pkg.module:app");
    }
}

fn asgi(raw: &RawPython, default: AsgiOptions, reader: &mut Reader<'_>) -> AsgiOptions {
    let mut ping = |flag: &str, typed: &Option<String>, default: Option<Duration>| {
        reader.value_or(flag, typed.as_deref(), default, |text| {
            values::duration_or_off(text, config::DEADLINE_MIN..=config::DEADLINE_MAX)
        })
    };
    let ws_ping_interval =
        ping("--ws-ping-interval", &raw.ws_ping_interval, default.ws_ping_interval);
    let ws_ping_timeout = ping("--ws-ping-timeout", &raw.ws_ping_timeout, default.ws_ping_timeout);
    let limit_concurrency =
        reader.value("--limit-concurrency", raw.limit_concurrency.as_deref(), |text| {
            values::whole(text, 1..=u64::from(config::LOANS_MAX))
        });
    let h11_size = reader.value(
        "--h11-max-incomplete-event-size",
        raw.h11_max_incomplete_event_size.as_deref(),
        |text| values::size(text, 1..=config::BUFFER_MAX as u64),
    );
    AsgiOptions {
        event_loop: words(reader, "--loop", &raw.event_loop, EventLoop::WORDS),
        http: reader.value_or(
            "--http",
            raw.http.as_deref(),
            HttpProtocol::default(),
            http_protocol,
        ),
        websockets: words(reader, "--ws", &raw.ws, WebSockets::WORDS),
        ws_max_size: reader.value_or(
            "--ws-max-size",
            raw.ws_max_size.as_deref(),
            default.ws_max_size,
            |text| values::size(text, 1..=config::WS_MAX_SIZE_MAX),
        ),
        ws_max_queue: reader.value_or(
            "--ws-max-queue",
            raw.ws_max_queue.as_deref(),
            default.ws_max_queue,
            |text| Ok(values::whole(text, 1..=u64::from(config::WS_MAX_QUEUE_MAX))? as u32),
        ),
        ws_ping_interval,
        ws_ping_timeout,
        ws_per_message_deflate: switch(
            reader,
            "--ws-per-message-deflate",
            &raw.ws_per_message_deflate,
            default.ws_per_message_deflate,
        ),
        lifespan: words(reader, "--lifespan", &raw.lifespan, Lifespan::WORDS),
        limit_concurrency: limit_concurrency.map(|given| given.value as u32),
        h11_max_incomplete_event_size: h11_size.map(|given| given.value as u32),
    }
}

/// Whether forwarded fields are believed, and whose, whatever is served.
pub(super) fn proxy_headers(raw: &RawPython, reader: &mut Reader<'_>) -> (bool, String) {
    let default = PythonApp::new("");
    let is_on = not(
        raw.no_proxy_headers,
        switch(reader, "--proxy-headers", &raw.proxy_headers, default.proxy_headers),
    );
    (is_on, forwarded_allow_ips(raw, default.forwarded_allow_ips, reader))
}

/// `--forwarded-allow-ips`, or FORWARDED_ALLOW_IPS, which Gunicorn and Uvicorn read.
fn forwarded_allow_ips(raw: &RawPython, default: String, reader: &mut Reader<'_>) -> String {
    const FLAG: &str = "--forwarded-allow-ips";
    let parse = |text: &str| Ok::<_, Refusal>(text.to_owned());
    if let Some(given) = reader.value(FLAG, raw.forwarded_allow_ips.as_deref(), parse) {
        return given.value;
    }
    let platform = reader.platform(FLAG);
    platform.and_then(|given| reader.parsed(given, parse)).map_or(default, |given| given.value)
}

fn headers(raw: &RawPython, reader: &mut Reader<'_>) -> Vec<(String, String)> {
    let given = many("--header", &raw.header, reader);
    given.into_iter().filter_map(|given| reader.parsed(given, header)).map(|it| it.value).collect()
}

fn reload(raw: &RawPython, reader: &mut Reader<'_>) -> Option<WatchFiles> {
    let default = WatchFiles::default();
    let wanted = switch(reader, "--reload", &raw.reload, false);
    let delay =
        reader.value_or("--reload-delay", raw.reload_delay.as_deref(), default.delay, |text| {
            values::duration(text, config::RELOAD_DELAY_MIN..=config::RELOAD_DELAY_MAX)
        });
    let directories = many("--reload-dir", &raw.reload_dir, reader);
    let directories =
        directories.into_iter().filter_map(|given| reader.parsed_raw(given, values::path));
    let directories = directories.map(|given| given.value).collect();
    let mut patterns = |flag: &str, typed: &[String]| -> Vec<String> {
        let given = many(flag, typed, reader).into_iter();
        let given = given.filter_map(|given| reader.parsed(given, |text| Ok(text.to_owned())));
        given.map(|given| given.value).collect()
    };
    let (included, excluded) = (
        patterns("--reload-include", &raw.reload_include),
        patterns("--reload-exclude", &raw.reload_exclude),
    );
    // As in Uvicorn: the defaults stay, unless the other flag names one of them.
    let beside = |default: Vec<String>, given: &[String], against: &[String]| -> Vec<String> {
        let kept = default.into_iter().filter(|one| !against.contains(one));
        kept.chain(given.iter().cloned()).collect()
    };
    let includes = beside(default.includes, &included, &excluded);
    let excludes = beside(default.excludes, &excluded, &included);
    wanted.then_some(WatchFiles { directories, includes, excludes, delay })
}

/// All values of a flag that can be repeated, or of its variable.
fn many<T: Clone + Into<OsString>>(
    flag: &str,
    typed: &[T],
    reader: &Reader<'_>,
) -> Vec<Given<OsString>> {
    if typed.is_empty() {
        return reader.variable_or_list(&variable_of(flag));
    }
    let typed = typed.iter().cloned().map(Into::into);
    typed.map(|value| Given { name: flag.to_owned(), value, typed: true }).collect()
}

fn words<T: Copy + Default>(
    reader: &mut Reader<'_>,
    flag: &str,
    typed: &Option<String>,
    words: &[(&str, T)],
) -> T {
    reader.value_or(flag, typed.as_deref(), T::default(), |text| values::one_of(text, words))
}

fn switch(reader: &mut Reader<'_>, flag: &str, typed: &Option<String>, default: bool) -> bool {
    reader.value_or(flag, typed.as_deref(), default, values::switch)
}

fn not(denied: bool, wanted: bool) -> bool {
    wanted && !denied
}

fn path(reader: &mut Reader<'_>, flag: &str, typed: Option<&OsString>) -> Option<PathBuf> {
    let given = match typed {
        Some(path) => Given { name: flag.to_owned(), value: path.clone(), typed: true },
        None => reader.variable(&variable_of(flag))?,
    };
    reader.parsed_raw(given, values::path).map(|given| given.value)
}

/// Uvicorn's word for today's ASGI is taken too.
fn interface(text: &str) -> Result<Interface, Refusal> {
    if text == "asgi3" { Ok(Interface::Asgi) } else { values::one_of(text, Interface::WORDS) }
}

/// uWSGI has an address behind the flag of the same name.
fn http_protocol(text: &str) -> Result<HttpProtocol, Refusal> {
    values::one_of(text, HttpProtocol::WORDS).map_err(|refusal| {
        let is_address = text.contains(':') || text.parse::<u16>().is_ok();
        if is_address { format!("{refusal}; an address is -b {text}") } else { refusal }
    })
}

fn root_path(text: &str) -> Result<String, Refusal> {
    if !text.is_empty() && !text.starts_with('/') {
        return Err("must be a path that begins with /".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn header(text: &str) -> Result<(String, String), Refusal> {
    let refusal = || "must be NAME:VALUE, without control characters".to_owned();
    let (name, value) = text.split_once(':').ok_or_else(refusal)?;
    let value = value.trim();
    let name_holds = http::HeaderName::from_bytes(name.as_bytes()).is_ok();
    let value_holds = http::HeaderValue::from_str(value).is_ok();
    if name_holds && value_holds { Ok((name.to_owned(), value.to_owned())) } else { Err(refusal()) }
}

fn is_identifier(text: &str) -> bool {
    let mut characters = text.chars();
    let begins = characters.next().is_some_and(|first| first == '_' || first.is_alphabetic());
    begins && characters.all(|one| one == '_' || one.is_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_module_and_what_may_follow() {
        for name in ["app", "pkg.wsgi", "pkg.module:app", "a:make()", "a:b.c", "a:make('x')"] {
            assert!(is_target(name), "{name}");
        }
        for name in ["", ":app", "pkg.:app", "pkg/module:app", "a b", "app:", "1st:app", "-x"] {
            assert!(!is_target(name), "{name}");
        }
    }

    #[test]
    fn a_header_is_one_line() {
        assert_eq!(header("X-A: b"), Ok(("X-A".to_owned(), "b".to_owned())));
        for text in ["no colon", ": value", "x y: z", "x: a\nb"] {
            assert!(header(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_root_path_has_no_slash_at_its_end() {
        assert_eq!(root_path("/api/"), Ok("/api".to_owned()));
        assert_eq!(root_path("/"), Ok(String::new()));
        assert!(root_path("api").is_err());
    }
}
