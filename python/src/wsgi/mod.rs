//! WSGI (PEP 3333) on the Rust engine: a callable as a [`Handler`].
//!
//! Sockets, HTTP, deadlines and buffers are the engine's, and never wait for the GIL. A handler
//! takes it once for a request: it makes the environ, calls the application, and looks at what has
//! come back. A body that goes on after that takes it once for a piece.
//!
//! ```text
//!  engine ── Request ─► environ, input ─► application ─► answer ─► Response ── engine
//!                                          │    ▲                     └─► body (Streamed, pulled
//!                                          ▼    │                               by the engine)
//!                                        start_response
//! ```
//!
//! Not here: how an application is found (`host`), HTTP (`maitred::http`), threads
//! (`maitred::worker`).

mod answer;
mod body;
mod environ;
mod failure;
mod file_wrapper;
mod head;
mod input;
mod names;
mod start_response;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use maitred::app::header::{CONTENT_TYPE, SERVER};
use maitred::app::{
    Body, Handler, HeaderName, HeaderValue, Request, Response, StatusCode, WithoutDate,
};
use maitred::cli::PythonError;
use maitred::config::{PythonApp, Settings};
use maitred::sys::inherit::Inheritance;
use maitred::worker;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use environ::Environs;
use failure::Subject;
use input::Input;
use start_response::StartResponse;

const SERVER_NAME: HeaderValue = HeaderValue::from_static("maitred");
const PLAIN_TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Calls of applications that are out.
static CALLS: AtomicUsize = AtomicUsize::new(0);

/// Whether a call is out, or something is that may call. While there is one the interpreter cannot
/// be ended: a thread that asks for the GIL after that is torn off its stack.
pub(crate) fn is_in_a_call() -> bool {
    CALLS.load(Ordering::Relaxed) > 0
}

/// Runs what belongs to an application, with the GIL.
fn attached<T>(run: impl FnOnce(Python<'_>) -> T) -> T {
    struct Out;
    impl Drop for Out {
        fn drop(&mut self) {
            CALLS.fetch_sub(1, Ordering::Relaxed);
        }
    }
    CALLS.fetch_add(1, Ordering::Relaxed);
    let _out = Out;
    Python::attach(run)
}

/// Serves a WSGI application until the master has no more use for this worker.
///
/// Call it without the GIL, in the process's first thread.
///
/// # Errors
/// The worker could not begin.
pub(crate) fn serve(
    application: Py<PyAny>,
    app: &PythonApp,
    settings: Arc<Settings>,
    inheritance: Inheritance,
) -> Result<(), PythonError> {
    let handler = Python::attach(|py| Wsgi::new(py, application, app, &settings))
        .map_err(|error| PythonError::Failed(error.into()))?;
    worker::run(settings, Arc::new(handler), inheritance)
        .map_err(|error| PythonError::Failed(error.into()))
}

/// An application, and what its requests and responses have in common.
struct Wsgi {
    application: Py<PyAny>,
    environs: Environs,
    /// Fields that every response gets.
    fields: Vec<(HeaderName, HeaderValue)>,
    server_field: bool,
    date_field: bool,
}

impl Handler for Wsgi {
    fn handle(&self, request: Request) -> Response {
        let mut response = attached(|py| self.call(py, request));
        self.finish(&mut response);
        response
    }

    /// Objects that are good for one thread, such as SQLite's connections, are made by many
    /// applications while they are imported: in the thread that serves.
    fn shares_its_thread(&self) -> bool {
        true
    }

    /// A thread keeps its Python thread state for as long as it lives. Otherwise each request would
    /// make one, and find the application's thread-local variables empty.
    fn around_thread(&self, run: &mut (dyn FnMut() + Send)) {
        Python::attach(|py| {
            py.detach(|| {
                run();
                // Going back into Python may mean an interpreter that is ending: a thread that asks
                // it for the GIL then is torn off its stack. The process ends without this one.
                loop {
                    std::thread::park();
                }
            })
        });
    }
}

impl Wsgi {
    fn new(
        py: Python<'_>,
        application: Py<PyAny>,
        app: &PythonApp,
        settings: &Settings,
    ) -> PyResult<Self> {
        let fields = app.headers.iter().map(|(name, value)| head::parse_field(name, value));
        let fields = fields.collect::<Result<_, _>>();
        Ok(Wsgi {
            environs: Environs::new(py, app, settings)?,
            application,
            fields: fields.map_err(|error| PyValueError::new_err(error.to_string()))?,
            server_field: app.server_header,
            date_field: app.date_header,
        })
    }

    fn call(&self, py: Python<'_>, request: Request) -> Response {
        let subject = Subject::new(request.head, request.origin);
        let mut input = None;
        let answered = self.try_call(py, &subject, request.body, &mut input);
        answered.unwrap_or_else(|error| {
            match input {
                Some(input) if input.get().has_failed() => subject.log_client_gone(&error),
                Some(_) | None => subject.log(py, &error),
            }
            failed()
        })
    }

    fn try_call<'py>(
        &self,
        py: Python<'py>,
        subject: &Subject,
        body: maitred::app::RequestBody,
        input: &mut Option<Bound<'py, Input>>,
    ) -> PyResult<Response> {
        let environ;
        (environ, *input) = self.environs.environ(py, subject.head(), subject.origin(), body)?;
        let start = Bound::new(py, StartResponse::new())?;
        let result = self.application.bind(py).call1((environ, &start))?;
        answer::answer(result, start.get(), subject)
    }

    /// What every response gets, whoever has made it.
    fn finish(&self, response: &mut Response) {
        let headers = response.headers_mut();
        if self.server_field {
            headers.entry(SERVER).or_insert(SERVER_NAME);
        }
        for (name, value) in &self.fields {
            headers.append(name, value.clone());
        }
        if !self.date_field {
            response.extensions_mut().insert(WithoutDate);
        }
    }
}

/// 500, with nothing in it that is not for strangers.
fn failed() -> Response {
    let mut response = Response::new(Body::from("Internal Server Error\n"));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response.headers_mut().insert(CONTENT_TYPE, PLAIN_TEXT);
    response
}
