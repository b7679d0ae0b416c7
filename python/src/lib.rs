//! The native half of the Python package: the whole command line, run inside an interpreter, and
//! what serves Python applications.
//!
//! ```text
//! maitred (Python) → main → maitred::cli → master
//!                                        → worker → host → wsgi | asgi
//! ```
//!
//! The server itself knows no Python: it asks the `host` for what it needs of an interpreter.
//!
//! Not here: dispatch, lending, supervision, HTTP (the crate `maitred`).

mod asgi;
mod host;
mod wsgi;

use std::ffi::OsString;

use maitred::exit::Exit;
use pyo3::prelude::*;

use crate::host::Host;

/// The native module: `maitred._native`. Without the lock it is not tested: an interpreter that can
/// do without it takes it again.
#[pymodule(gil_used = true)]
mod _native {
    use std::io::{self, Write};

    /// A line of the server's log, for what Uvicorn says.
    #[pymodule_export]
    use super::asgi::log;
    use super::{
        Exit, OsString, PyResult, Python, command_line, end_under_calls, leave_interrupts,
        pyfunction, refusal,
    };

    /// Runs the command line, `sys.argv` as it stands, and answers with the exit code.
    #[pyfunction]
    fn main(py: Python<'_>, arguments: Vec<OsString>) -> PyResult<u8> {
        if let Some(refusal) = refusal(py)? {
            // Nobody is left to tell if that fails.
            let _ = writeln!(io::stderr(), "maitred: {refusal}");
            return Ok(Exit::Failed as u8);
        }
        leave_interrupts(py)?;
        let code = command_line(py, &arguments);
        end_under_calls(py, code)?;
        Ok(code)
    }
}

/// INT is the server's to answer. Python's own handler would remember it beside that, and raise
/// KeyboardInterrupt in whatever runs next: in a worker the application, at the end the command.
fn leave_interrupts(py: Python<'_>) -> PyResult<()> {
    let signal = py.import("signal")?;
    let (interrupt, default) = (signal.getattr("SIGINT")?, signal.getattr("SIG_DFL")?);
    signal.call_method1("signal", (interrupt, default)).map(|_| ())
}

/// Ends the process, if calls of an application are still out: their time is over, and the
/// interpreter cannot end beneath them. What applications have asked to be called at its end is
/// called.
fn end_under_calls(py: Python<'_>, code: u8) -> PyResult<()> {
    if !wsgi::is_in_a_call() {
        return Ok(());
    }
    py.import("atexit")?.call_method0("_run_exitfuncs")?;
    for stream in ["stdout", "stderr"] {
        py.import("sys")?.getattr(stream)?.call_method0("flush")?;
    }
    py.detach(|| std::process::exit(code.into()))
}

/// Why this interpreter cannot serve.
fn refusal(py: Python<'_>) -> PyResult<Option<String>> {
    py.import("maitred.interpreter")?.call_method0("refusal")?.extract()
}

/// The lock is given away for as long as it runs: whoever calls into Python takes it again.
fn command_line(py: Python<'_>, arguments: &[OsString]) -> u8 {
    py.detach(|| maitred::cli::run_in_python(arguments, maitred::app::Demo, &Host))
}
