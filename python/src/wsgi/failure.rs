//! What the log says when an application fails: once, with the request and the traceback.
//!
//! Not here: which worker it was; every line of a worker's log says so (`maitred::observe`).

use std::sync::Arc;

use maitred::app::Origin;
use maitred::http::RequestHead;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// Where its lines come from, for filters.
pub(super) const LOG: &str = "maitred::wsgi";

/// The request that a line of the log is about.
#[derive(Clone)]
pub(super) struct Subject {
    shared: Arc<(RequestHead, Origin)>,
}

impl Subject {
    pub(super) fn new(head: RequestHead, origin: Origin) -> Self {
        Subject { shared: Arc::new((head, origin)) }
    }

    pub(super) fn head(&self) -> &RequestHead {
        &self.shared.0
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.shared.1
    }

    /// The application has raised something.
    pub(super) fn log(&self, py: Python<'_>, error: &PyErr) {
        let traceback = traceback(py, error).unwrap_or_else(|_| error.to_string());
        tracing::error!(
            target: LOG,
            method = self.head().method.as_str(),
            path = self.head().target.path(),
            peer = %self.origin().peer,
            traceback,
            "the application failed"
        );
    }

    /// The client has not sent what it had announced, and the application has passed that on.
    pub(super) fn log_client_gone(&self, error: &PyErr) {
        tracing::info!(
            target: LOG,
            method = self.head().method.as_str(),
            path = self.head().target.path(),
            peer = %self.origin().peer,
            %error,
            "a request's body did not come"
        );
    }

    /// More bytes than Content-Length has announced.
    pub(super) fn warn_too_long(&self) {
        tracing::warn!(
            target: LOG,
            method = self.head().method.as_str(),
            path = self.head().target.path(),
            "a response is longer than its Content-Length: cut off there"
        );
    }
}

fn traceback(py: Python<'_>, error: &PyErr) -> PyResult<String> {
    let format = py.import(intern!(py, "traceback"))?.getattr(intern!(py, "format_exception"))?;
    // The exception by itself does not know its traceback before Python 3.12.
    let lines = format.call1((error.clone_ref(py).into_value(py),))?;
    PyString::new(py, "").call_method1(intern!(py, "join"), (lines,))?.extract()
}
