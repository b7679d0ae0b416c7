//! What the command line asks of a Python interpreter, when it runs inside one.
//!
//! The Python package has the whole command line too; there a worker's application is a Python
//! object, and this is the seam between the two. The crate itself knows no Python.
//!
//! Not here: the interpreter's side (the Python package), how a target is typed (`resolve::python`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{PythonApp, Settings};
use crate::exit::{BoxedError, RunError};
use crate::sys::inherit::Inheritance;

/// An interpreter, and what of the server is written for it.
pub trait PythonHost {
    /// Loads the application, and serves it as a worker until the master has no more use for it.
    ///
    /// # Errors
    /// The application does not load, or serving is not possible.
    fn serve(
        &self,
        app: &PythonApp,
        settings: Arc<Settings>,
        inheritance: Inheritance,
    ) -> Result<(), PythonError>;
}

/// Why an interpreter does not serve.
#[derive(Debug, thiserror::Error)]
pub enum PythonError {
    /// The application does not load.
    #[error("{summary}")]
    Application {
        /// Its last line: what is wrong.
        summary: String,
        /// All that Python says of it, with line ends; shown once, beside the log.
        traceback: String,
    },
    /// Something else that serving needs.
    #[error("serving a Python application")]
    Failed(#[source] BoxedError),
}

impl PythonError {
    /// What the interpreter has to say beside the log.
    pub(super) fn traceback(&self) -> Option<&str> {
        match self {
            PythonError::Application { traceback, .. } => Some(traceback),
            PythonError::Failed(_) => None,
        }
    }
}

impl From<PythonError> for RunError {
    fn from(error: PythonError) -> Self {
        match error {
            PythonError::Application { .. } => RunError::Application(error.into()),
            PythonError::Failed(source) => {
                RunError::System { doing: "serving a Python application".into(), source }
            }
        }
    }
}

/// The interpreter for a program that is none itself: the one that was asked for, that of the virtual
/// environment in the working directory, or whichever the shell would find.
pub(super) fn interpreter(asked: Option<&Path>, directory: &Path) -> PathBuf {
    let own = directory.join(".venv/bin/python");
    match asked {
        // A bare name is looked for along PATH.
        Some(asked) if asked.components().count() > 1 => directory.join(asked),
        Some(asked) => asked.to_owned(),
        None if own.exists() => own,
        None => "python3".into(),
    }
}
