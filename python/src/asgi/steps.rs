//! The application as Uvicorn's classes call it, with every step of a request seen.
//!
//! A request's coroutine is wrapped in an awaitable of ours. Each time the loop resumes it, the
//! worker's page says since when and with what the loop is busy, and the alarm is wound; so the
//! master sees a handler that keeps the loop, whatever loop it is. What the handler has started as
//! tasks of their own is seen as long as it runs directly behind it.
//!
//! Not here: what the master makes of it (`maitred::dispatch`, `maitred::supervise`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pyo3::exceptions::{PyException, PyStopIteration};
use pyo3::prelude::*;
use pyo3::types::iterator::PySendResult;
use pyo3::types::{PyDict, PyIterator, PyString, PyTuple};

use crate::asgi::shared::Shared;

/// The application, wrapped.
#[pyclass(frozen, module = "maitred._native")]
pub(crate) struct Application {
    shared: Arc<Shared>,
    inner: Py<PyAny>,
}

/// What awaiting it means.
#[pyclass(frozen, module = "maitred._native")]
pub(crate) struct Steps {
    shared: Arc<Shared>,
    inner: Py<PyIterator>,
    method: Option<Py<PyString>>,
    path: Option<Py<PyString>>,
    /// What it has taken of the loop so far.
    spent_ns: AtomicU64,
}

impl Application {
    pub(super) fn new(shared: Arc<Shared>, inner: Py<PyAny>) -> Self {
        Application { shared, inner }
    }
}

#[pymethods]
impl Application {
    fn __call__(
        &self,
        py: Python<'_>,
        scope: &Bound<'_, PyAny>,
        receive: &Bound<'_, PyAny>,
        send: &Bound<'_, PyAny>,
    ) -> PyResult<Steps> {
        let awaitable = self.inner.bind(py).call1((scope, receive, send))?;
        // What a coroutine's `__await__` answers with has send, throw and close.
        let inner = awaitable.call_method0(pyo3::intern!(py, "__await__"))?;
        let word = |name| -> Option<Py<PyString>> {
            let scope = scope.cast::<PyDict>().ok()?;
            let found = scope.get_item(name).ok()??;
            Some(found.cast_into::<PyString>().ok()?.unbind())
        };
        Ok(Steps {
            shared: Arc::clone(&self.shared),
            inner: inner.try_iter()?.unbind(),
            method: word(pyo3::intern!(py, "method")),
            path: word(pyo3::intern!(py, "path")),
            spent_ns: AtomicU64::new(0),
        })
    }
}

#[pymethods]
impl Steps {
    fn __await__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.step(py, |inner| inner.send(py.None().bind(py)))
    }

    fn send(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        self.step(py, |inner| inner.send(value))?.ok_or_else(|| PyStopIteration::new_err(()))
    }

    #[pyo3(signature = (*exception))]
    fn throw(&self, py: Python<'_>, exception: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
        let thrown = self.step(py, |inner| {
            inner.call_method1(pyo3::intern!(py, "throw"), exception).map(PySendResult::Next)
        });
        thrown?.ok_or_else(|| PyStopIteration::new_err(()))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.inner.bind(py).call_method0(pyo3::intern!(py, "close")).map(|_| ())
    }
}

impl Steps {
    fn step<'py>(
        &self,
        py: Python<'py>,
        resume: impl FnOnce(&Bound<'py, PyIterator>) -> PyResult<PySendResult<'py>>,
    ) -> PyResult<Option<Py<PyAny>>> {
        let method = self.method.as_ref().and_then(|text| text.bind(py).to_str().ok());
        let path = self.path.as_ref().and_then(|text| text.bind(py).to_str().ok());
        let began =
            self.shared.core().begin_step(method.unwrap_or("WEBSOCKET"), path.unwrap_or(""));
        let result = resume(self.inner.bind(py));
        let is_over = !matches!(result, Ok(PySendResult::Next(_)));
        // A coroutine that is resumed by an exception ends by one of these too.
        let failed = result.as_ref().is_err_and(|error| {
            !error.is_instance_of::<PyStopIteration>(py) && error.is_instance_of::<PyException>(py)
        });
        let before = Duration::from_nanos(self.spent_ns.load(Ordering::Relaxed));
        let took =
            self.shared.with(py, |core| core.end_step(began, is_over.then_some(before), failed))?;
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.spent_ns.fetch_add(nanos, Ordering::Relaxed);
        match result? {
            PySendResult::Next(waits_for) => Ok(Some(waits_for.unbind())),
            PySendResult::Return(value) if value.is_none() => Ok(None),
            PySendResult::Return(value) => Err(PyStopIteration::new_err((value.unbind(),))),
        }
    }
}
