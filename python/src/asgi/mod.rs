//! ASGI applications: connections come over the channel, Uvicorn's protocol classes serve them.
//!
//! ```text
//!            native                                    Python
//!   channel → intake → stream (claim, read) → data_received → uvicorn's HTTP or WebSocket class
//!                        ▲                                        │ steps (who keeps the loop)
//!                        └── transport (write, close) ◄───────────┘ application
//! ```
//!
//! The event loop is asyncio's or uvloop's, and it watches one descriptor of ours: an epoll instance
//! with all connections in it. A transport of the loop's own would read every readable connection
//! before any handler runs, and close without `shutdown(2)`; here both are as the claim word wants
//! them.
//!
//! Not here: HTTP itself (Uvicorn), what the Python half does (`maitred/asgi/`).

mod access;
mod core;
mod intake;
mod limits;
mod logs;
mod pace;
mod session;
mod shared;
mod steps;
mod stream;
mod transport;
mod usual;
mod worker;

use std::sync::Arc;

use maitred::cli::PythonError;
use maitred::config::{PythonApp, Settings};
use maitred::sys::inherit::Inheritance;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::asgi::core::Core;
use crate::asgi::limits::HeadLimits;
use crate::asgi::worker::Worker;
use crate::host::does_not_load;

pub(crate) use crate::asgi::logs::log;

/// Serves one until the master has no more use for this worker.
pub(crate) fn serve(
    application: Py<PyAny>,
    app: &PythonApp,
    settings: Arc<Settings>,
    inheritance: Inheritance,
) -> Result<(), PythonError> {
    if let Some(refusal) = refusal(&settings) {
        // Another start would end the same way.
        let (summary, traceback) = (refusal.to_owned(), String::new());
        return Err(PythonError::Application { summary, traceback });
    }
    let limits = HeadLimits::new(&settings.http);
    let core = Core::new(Arc::clone(&settings), inheritance)
        .map_err(|error| PythonError::Failed(error.into()))?;
    Python::attach(|py| {
        let served = options(py, app, &settings).and_then(|options| {
            let asgi = py.import("maitred.asgi")?;
            options.set_item("limits", Py::new(py, limits)?)?;
            asgi.call_method1("serve", (Worker::new(core), application, options))
        });
        served.map(|_| ()).map_err(|error| failure(py, &error))
    })
}

/// What was asked for, and an ASGI application cannot have; whether it is one, only its worker knows.
fn refusal(settings: &Settings) -> Option<&'static str> {
    if settings.accept.arm.is_kernels() {
        return Some(
            "--accept: the loop of an ASGI application takes its connections from the master; only \
             WSGI applications can accept themselves",
        );
    }
    if settings.threads > 1 {
        return Some(
            "--threads: an ASGI application runs on the worker's loop; -w has more of them",
        );
    }
    None
}

/// What the Python half must know, by name; see `maitred.asgi.options`.
fn options<'py>(
    py: Python<'py>,
    app: &PythonApp,
    settings: &Settings,
) -> PyResult<Bound<'py, PyDict>> {
    let asgi = &app.asgi;
    let options = PyDict::new(py);
    options.set_item("event_loop", asgi.event_loop.word())?;
    options.set_item("http", asgi.http.word())?;
    options.set_item("websockets", asgi.websockets.word())?;
    options.set_item("ws_max_size", asgi.ws_max_size)?;
    options.set_item("ws_max_queue", asgi.ws_max_queue)?;
    let seconds = |time: Option<std::time::Duration>| time.map(|time| time.as_secs_f64());
    options.set_item("ws_ping_interval", seconds(asgi.ws_ping_interval))?;
    options.set_item("ws_ping_timeout", seconds(asgi.ws_ping_timeout))?;
    options.set_item("ws_per_message_deflate", asgi.ws_per_message_deflate)?;
    options.set_item("lifespan", asgi.lifespan.word())?;
    options.set_item("limit_concurrency", asgi.limit_concurrency)?;
    options.set_item("h11_max_incomplete_event_size", asgi.h11_max_incomplete_event_size)?;
    options.set_item("root_path", &app.root_path)?;
    options.set_item("proxy_headers", app.proxy_headers)?;
    options.set_item("forwarded_allow_ips", &app.forwarded_allow_ips)?;
    options.set_item("server_header", app.server_header)?;
    options.set_item("date_header", app.date_header)?;
    options.set_item("headers", &app.headers)?;
    options.set_item("log_config", &app.log_config)?;
    options.set_item("log_level", logs::level())?;
    options.set_item("logs_requests", settings.logs_requests())?;
    options.set_item("worker_header", settings.worker_header)?;
    options.set_item("request_id", settings.request_id)?;
    options.set_item("load_header", settings.fleet.load_header.is_some())?;
    options.set_item("strips_load_header", settings.fleet.strips_load_header)?;
    options.set_item("body_max", settings.http.body_max)?;
    options.set_item("graceful_timeout", settings.lifecycle.graceful_timeout.as_secs_f64())?;
    options.set_item("drain_delay", settings.lifecycle.drain_delay.as_secs_f64())?;
    Ok(options)
}

/// An application that does not start up does not load; everything else is a failure of ours, or of
/// what is installed.
fn failure(py: Python<'_>, error: &PyErr) -> PythonError {
    let text = |name| error.value(py).getattr(name).and_then(|text| text.extract::<String>());
    match (text("summary"), text("traceback")) {
        (Ok(summary), Ok(traceback)) => PythonError::Application { summary, traceback },
        _ => does_not_load(py, error),
    }
}
