//! `start_response`, and the `write` that it answers with.
//!
//! Mistakes are raised where the application makes them, as ValueError, TypeError or
//! AssertionError, so that its own traceback shows the line.
//!
//! Not here: what a head may say (`head`), what becomes of the response (`answer`).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use maitred::app::header::CONTENT_LENGTH;
use maitred::app::{HeaderMap, HeaderName, StatusCode};
use pyo3::exceptions::{PyAssertionError, PyMemoryError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use super::head::{self, HeadError};

/// Bytes that an application may `write` before it returns: they are kept until then. An
/// application that makes more than that yields it, piece by piece.
const WRITTEN_MAX: usize = 64 << 20;

/// What an application is called with as `start_response`.
#[pyclass(frozen, module = "maitred._native")]
pub(super) struct StartResponse {
    /// Never locked while Python code could run.
    state: Mutex<State>,
    /// The head has left, or is about to: nothing can replace it any more.
    sent: AtomicBool,
}

#[derive(Default)]
struct State {
    head: Option<Head>,
    written: VecDeque<Bytes>,
    written_size: usize,
    /// The application has returned: what it makes now comes out of its iterable.
    returned: bool,
}

/// A response's head, as an application wants it.
pub(super) struct Head {
    pub(super) status: StatusCode,
    /// What the status is called where that is not its usual name.
    pub(super) reason: Option<Vec<u8>>,
    pub(super) headers: HeaderMap,
    /// Content-Length, where it is among the headers.
    pub(super) length: Option<u64>,
}

impl StartResponse {
    pub(super) fn new() -> Self {
        StartResponse { state: Mutex::default(), sent: AtomicBool::new(false) }
    }

    /// The head, and whatever `write` was called with. From here on nothing can replace it.
    pub(super) fn take(&self) -> Option<(Head, VecDeque<Bytes>)> {
        let mut state = self.lock();
        let head = state.head.take()?;
        state.returned = true;
        self.sent.store(true, Ordering::Relaxed);
        Some((head, std::mem::take(&mut state.written)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_sent(&self) -> bool {
        self.sent.load(Ordering::Relaxed)
    }
}

#[pymethods]
impl StartResponse {
    #[pyo3(signature = (status, headers, exc_info=None))]
    fn __call__<'py>(
        slf: &Bound<'py, Self>,
        status: &Bound<'py, PyAny>,
        headers: &Bound<'py, PyAny>,
        exc_info: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let this = slf.get();
        match exc_info {
            Some(exc_info) if this.is_sent() => return Err(raise_again(exc_info)),
            Some(_) => {}
            None if this.is_sent() || this.lock().head.is_some() => {
                return Err(PyAssertionError::new_err(
                    "start_response was called before, and may be called again only with exc_info",
                ));
            }
            None => {}
        }
        let head = parse(status, headers)?;
        this.lock().head = Some(head);
        slf.getattr(intern!(slf.py(), "write"))
    }

    /// Sends a piece of the body, before those that the application returns.
    #[pyo3(signature = (data, /))]
    fn write(&self, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let data = data.cast::<PyBytes>().map_err(|_| not_bytes(data))?.as_bytes();
        let mut state = self.lock();
        if state.returned {
            return Err(PyAssertionError::new_err(
                "write was called after the application had returned its iterable",
            ));
        }
        if state.written_size + data.len() > WRITTEN_MAX {
            return Err(PyMemoryError::new_err(format!(
                "more than {WRITTEN_MAX} bytes were written; a body as large as that is to be \
                 returned as an iterable"
            )));
        }
        if !data.is_empty() {
            state.written_size += data.len();
            state.written.push_back(Bytes::copy_from_slice(data));
            // As far as the application can tell, it has gone.
            self.sent.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// A piece of a body that is no bytes.
pub(super) fn not_bytes(piece: &Bound<'_, PyAny>) -> PyErr {
    let kind = piece.get_type().name().map_or_else(|_| "?".into(), |name| name.to_string());
    PyTypeError::new_err(format!("a response's body is made of bytes, and not of {kind}"))
}

fn raise_again(exc_info: &Bound<'_, PyAny>) -> PyErr {
    let raised = || {
        let value = exc_info.get_item(1)?;
        let traceback = exc_info.get_item(2)?;
        value.call_method1(intern!(exc_info.py(), "with_traceback"), (traceback,))
    };
    match raised() {
        Ok(value) => PyErr::from_value(value),
        Err(error) => error,
    }
}

fn parse(status: &Bound<'_, PyAny>, fields: &Bound<'_, PyAny>) -> PyResult<Head> {
    let status = status
        .cast::<PyString>()
        .map_err(|_| PyTypeError::new_err("a status is a str, as in '200 OK'"))?;
    let (status, reason) = head::parse_status(&text(status)?).map_err(refused)?;
    let mut head = Head { status, reason, headers: HeaderMap::new(), length: None };
    match fields.cast_exact::<PyList>() {
        Ok(fields) => {
            head.headers.reserve(fields.len() + 2);
            for field in fields {
                head.add(&field)?;
            }
        }
        // PEP 3333 has a list; other servers take whatever can be iterated.
        Err(_) => {
            for field in fields.try_iter()? {
                head.add(&field?)?;
            }
        }
    }
    Ok(head)
}

impl Head {
    fn add(&mut self, field: &Bound<'_, PyAny>) -> PyResult<()> {
        let (name, value) = match field.cast::<PyTuple>() {
            Ok(pair) if pair.len() == 2 => (pair.get_item(0)?, pair.get_item(1)?),
            Ok(_) | Err(_) => field.extract().map_err(|_| no_pair())?,
        };
        let name = text(name.cast().map_err(|_| no_pair())?)?;
        let value = text(value.cast().map_err(|_| no_pair())?)?;
        let (name, value) = head::parse_field(&name, &value).map_err(refused)?;
        if head::is_of_the_connection(&name) {
            warn_once(&name);
            return Ok(());
        }
        if name == CONTENT_LENGTH {
            let length = head::parse_length(&value).map_err(refused)?;
            if self.length.is_some_and(|given| given != length) {
                let both = format!("{} and {length}", self.length.unwrap_or_default());
                return Err(refused(HeadError::ContentLength(both)));
            }
            self.length = Some(length);
            return Ok(());
        }
        let _grown = self.headers.try_append(name, value).map_err(|_| {
            PyValueError::new_err("a response has more header fields than can be kept")
        })?;
        Ok(())
    }
}

/// Says what an application sets in vain, once in a worker's life for each name.
fn warn_once(name: &HeaderName) {
    static NAMED: Mutex<Vec<HeaderName>> = Mutex::new(Vec::new());
    let mut named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
    if !named.contains(name) {
        tracing::warn!(
            target: super::failure::LOG,
            field = name.as_str(),
            "the application sets a field of the connection, which is the server's: left out"
        );
        named.push(name.clone());
    }
}

fn text<'a>(text: &'a Bound<'_, PyString>) -> PyResult<std::borrow::Cow<'a, str>> {
    // Lone surrogates are no text, and cannot stand in a head.
    text.to_cow().map_err(|_| PyValueError::new_err("a head is text, and has no lone surrogates"))
}

fn no_pair() -> PyErr {
    PyTypeError::new_err("headers are a list of (name, value), both of them str")
}

fn refused(error: HeadError) -> PyErr {
    PyValueError::new_err(error.to_string())
}
