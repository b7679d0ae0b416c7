//! The native half of the Python package: the whole command line, run inside an interpreter, and
//! what serves Python applications.
//!
//! ```text
//! maitred (Python) → main → maitred::cli → master
//!                                        → worker → host → wsgi | asgi
//! ```
//!
//! The server itself knows no Python: it asks the [`host`] for what it needs of an interpreter.
//!
//! Not here: dispatch, lending, supervision, HTTP (the crate `maitred`).

mod asgi;
mod host;
mod wsgi;

use std::ffi::OsString;

use pyo3::prelude::*;

use crate::host::Host;

/// The native module: `maitred._native`.
#[pymodule]
mod _native {
    use super::{OsString, PyResult, Python, command_line, pyfunction};

    /// Runs the command line, `sys.argv` as it stands, and answers with the exit code.
    #[pyfunction]
    fn main(py: Python<'_>, arguments: Vec<OsString>) -> PyResult<u8> {
        Ok(command_line(py, &arguments))
    }
}

/// The lock is given away for as long as it runs: whoever calls into Python takes it again.
fn command_line(py: Python<'_>, arguments: &[OsString]) -> u8 {
    py.detach(|| maitred::cli::run_in_python(arguments, maitred::app::Demo, &Host))
}
