//! What the server asks of the interpreter: load an application, and serve it.
//!
//! Importing is Python's own business (`maitred.importing`); here its answer is taken, and its
//! complaint kept whole, so that it is shown once and as Python shows it.
//!
//! Not here: serving itself (`wsgi`, `asgi`).

use std::sync::Arc;

use maitred::cli::{PythonError, PythonHost};
use maitred::config::{Interface, PythonApp, Settings};
use maitred::sys::inherit::{Inheritance, VARIABLES};
use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::{asgi, wsgi};

/// The interpreter of this process.
pub(crate) struct Host;

impl PythonHost for Host {
    fn serve(
        &self,
        app: &PythonApp,
        settings: Arc<Settings>,
        inheritance: Inheritance,
    ) -> Result<(), PythonError> {
        let (application, interface) =
            Python::attach(|py| load(py, app).map_err(|error| does_not_load(py, &error)))?;
        match interface {
            Interface::Wsgi => wsgi::serve(application, app, settings, inheritance),
            Interface::Auto | Interface::Asgi => {
                asgi::serve(application, app, settings, inheritance)
            }
        }
    }
}

/// The application, and what it is called by; never [`Interface::Auto`].
fn load(py: Python<'_>, app: &PythonApp) -> PyResult<(Py<PyAny>, Interface)> {
    // They have been taken out of the process's environment; this is Python's own copy of it.
    let environ = py.import("os")?.getattr("environ")?;
    for variable in VARIABLES {
        environ.call_method1("pop", (variable, py.None()))?;
    }
    let options = PyDict::new(py);
    options.set_item("target", &app.target)?;
    options.set_item("interface", app.interface.word())?;
    options.set_item("factory", app.factory)?;
    options.set_item("app_dir", &app.app_dir)?;
    let importing = py.import("maitred.importing")?;
    let loaded = importing.call_method("load", (), Some(&options))?;
    let (application, interface): (Py<PyAny>, String) = loaded.extract()?;
    let interface = match interface.as_str() {
        "wsgi" => Interface::Wsgi,
        _ => Interface::Asgi,
    };
    Ok((application, interface))
}

/// What Python says of an application that does not load: all of it, and its last line.
pub(crate) fn does_not_load(py: Python<'_>, error: &PyErr) -> PythonError {
    if error.is_instance_of::<PySystemExit>(py) || error.is_instance_of::<PyKeyboardInterrupt>(py) {
        let summary = format!("it ended the interpreter while it was imported: {error}");
        return PythonError::Application { summary, traceback: String::new() };
    }
    let formatted = py
        .import("maitred.importing")
        .and_then(|importing| importing.call_method1("describe", (error.value(py),)))
        .and_then(|described| described.extract::<(String, String)>());
    let (summary, traceback) = formatted.unwrap_or_else(|_| (error.to_string(), String::new()));
    PythonError::Application { summary, traceback }
}
