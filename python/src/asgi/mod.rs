//! Serving ASGI applications.

use std::sync::Arc;

use maitred::cli::PythonError;
use maitred::config::{PythonApp, Settings};
use maitred::sys::inherit::Inheritance;
use pyo3::prelude::*;

/// Serves one until the master has no more use for this worker.
pub(crate) fn serve(
    _application: Py<PyAny>,
    _app: &PythonApp,
    _settings: Arc<Settings>,
    _inheritance: Inheritance,
) -> Result<(), PythonError> {
    Err(PythonError::Failed("ASGI applications are not served yet".into()))
}
