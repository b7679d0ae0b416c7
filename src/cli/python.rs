//! What the command line asks of a Python interpreter, when it runs inside one.
//!
//! The Python package has the whole command line too; there a worker's application is a Python
//! object, and this is the seam between the two. The crate itself knows no Python.
//!
//! Not here: the interpreter's side (the Python package), how a target is typed (`resolve::python`).

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::config::{INTERPRETER_CHECK_MAX, PythonApp, Settings};
use crate::exit::{BoxedError, RunError};
use crate::sys::inherit::Inheritance;

/// Between two looks whether an interpreter has answered.
const INTERPRETER_CHECK_PAUSE: Duration = Duration::from_millis(5);

/// Bytes of a traceback that are looked through for its last line.
const REASON_SIZE_MAX: u64 = 64 * 1024;

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

/// Why an interpreter cannot run workers, and what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum InterpreterError {
    /// It does not start.
    #[error("{} does not start (--python names another interpreter)", path.display())]
    DoesNotStart { path: PathBuf, source: io::Error },
    /// It has no package.
    #[error(
        "{path} has no package maitred: `{path} -m pip install maitred`, or --python names another",
        path = path.display()
    )]
    NoPackage { path: PathBuf },
    /// The package is there, and cannot be imported.
    #[error("{}: the package maitred does not import: {reason}", path.display())]
    NoImport { path: PathBuf, reason: String },
    /// It does not answer.
    #[error("{} does not say within {} s whether it has the package maitred", path.display(),
            INTERPRETER_CHECK_MAX.as_secs())]
    NoAnswer { path: PathBuf },
}

/// The interpreter for a program that is none itself: the one that was asked for, that of the virtual
/// environment in the directory of the workers or in this one, or whichever the shell would find.
pub(super) fn interpreter(asked: Option<&Path>, here: &Path, workplace: &Path) -> PathBuf {
    let own = [workplace, here].map(|directory| directory.join(".venv/bin/python"));
    match asked {
        // A bare name is looked for along PATH.
        Some(asked) if asked.components().count() > 1 => here.join(asked),
        Some(asked) => asked.to_owned(),
        None => own.into_iter().find(|path| path.exists()).unwrap_or_else(|| "python3".into()),
    }
}

/// Asks an interpreter whether it has the package, as its workers will: once, before any of them
/// finds out.
pub(super) fn check_interpreter(path: &Path, workplace: &Path) -> Result<(), InterpreterError> {
    // find_spec imports the package around the module, and nothing native.
    const QUESTION: &str = "\
import importlib.util, sys
if importlib.util.find_spec('maitred') is None: sys.exit(3)
import maitred.worker";
    let path = path.to_owned();
    let mut question = Command::new(&path);
    question.args(["-c", QUESTION]).current_dir(workplace);
    question.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = match question.spawn() {
        Ok(child) => child,
        Err(source) => return Err(InterpreterError::DoesNotStart { path, source }),
    };
    let end = Instant::now() + INTERPRETER_CHECK_MAX;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < end => thread::sleep(INTERPRETER_CHECK_PAUSE),
            Ok(None) => {
                // It ends with us otherwise; nobody is left to tell if that fails.
                let _ = child.kill().and_then(|()| child.wait());
                return Err(InterpreterError::NoAnswer { path });
            }
            Err(source) => return Err(InterpreterError::DoesNotStart { path, source }),
        }
    };
    match status.code() {
        Some(0) => Ok(()),
        Some(3) => Err(InterpreterError::NoPackage { path }),
        _ => {
            let mut said = Vec::new();
            // A grandchild could hold the pipe open; what fits into it has been written.
            if let Some(pipe) = child.stderr.take() {
                let _ = pipe.take(REASON_SIZE_MAX).read_to_end(&mut said);
            }
            let said = String::from_utf8_lossy(&said);
            let last = said.lines().rfind(|line| !line.trim().is_empty());
            let reason = last.map_or_else(|| status.to_string(), str::to_owned);
            Err(InterpreterError::NoImport { path, reason })
        }
    }
}
