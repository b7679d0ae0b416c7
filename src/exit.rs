//! How a process of ours ends: the documented exit codes, and the error that leads to each.
//!
//! The codes are an interface: service managers and the master itself read them (a worker that
//! ends with 4 before it is ready has an application that does not load, and is not started
//! again). They stand below the command line, because the library serves without one.
//!
//! Not here: why a worker ended, as its master sees it (`supervise`).

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

/// An error of any room, kept typed behind a pointer.
pub type BoxedError = Box<dyn Error + Send + Sync + 'static>;

/// The exit code of a process of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did what it was asked for, a graceful stop included.
    Done = 0,
    /// The machine did not let it: address in use, out of memory, kernel too old.
    Failed = 1,
    /// What was typed, or set in the environment, means nothing.
    Usage = 2,
    /// No worker becomes ready.
    WorkersDoNotStart = 3,
    /// The application does not load: unreadable directory, failing import.
    ApplicationDoesNotLoad = 4,
}

/// How `status` ends: the exit code says what scripts want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum StatusExit {
    /// The server serves, and its last reload did not fail.
    Serving = 0,
    /// It serves, and its last reload has failed: the old workers go on.
    ReloadFailed = 1,
    /// It does not serve: not yet, no longer, or it never did.
    NotServing = 3,
    /// There is no telling.
    Unreadable = 4,
}

/// How `ctl` ends; of `ctl status` the codes mean what those of `status` do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CtlExit {
    /// It was done.
    Done = 0,
    /// It was refused; of a reload that is waited for: it has failed.
    Refused = 1,
    /// What was typed means nothing to the server.
    Usage = 2,
    /// Nobody answers, or the server does not serve.
    NotServing = 3,
    /// What came back means nothing.
    Unreadable = 4,
}

/// Why a server or a worker does not run, or runs no longer. Its text has the form
/// `doing x: cause`, the cause being its [`source`](Error::source); [`Chain`] prints both.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A listener does not open. The source names the address.
    #[error("cannot listen")]
    Listen(#[source] BoxedError),
    /// The operating system refuses something else that serving needs.
    #[error("{doing}")]
    System {
        /// What was being done, as in "creating the page of worker 3".
        doing: String,
        /// What the system answered.
        #[source]
        source: BoxedError,
    },
    /// The workers end before they are ready, again and again. Their own error has been shown.
    #[error("the workers do not start: {reason}")]
    WorkersDoNotStart {
        /// How they end, as in "3 starts in a row ended with exit code 1".
        reason: String,
    },
    /// The application cannot answer anything. The source names what is missing.
    #[error("the application does not load")]
    Application(#[source] BoxedError),
    /// `worker` or `admin` was typed by hand.
    #[error("this is started by the master, over a channel of its own: run `serve`")]
    NotStartedByMaster,
}

impl RunError {
    /// The exit code that tells it to whoever started the process.
    pub fn exit_code(&self) -> Exit {
        match self {
            RunError::Listen(_) | RunError::System { .. } => Exit::Failed,
            RunError::NotStartedByMaster => Exit::Usage,
            RunError::WorkersDoNotStart { .. } => Exit::WorkersDoNotStart,
            RunError::Application(_) => Exit::ApplicationDoesNotLoad,
        }
    }
}

impl From<StatusExit> for ExitCode {
    fn from(exit: StatusExit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Prints an error and its causes on one line: `doing x: cause: cause of the cause`.
pub struct Chain<'a>(pub &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            // Some errors name their cause in their own text; nobody wants to read it twice.
            let more = error.to_string();
            if !text.ends_with(&more) {
                text = format!("{text}: {more}");
            }
            cause = error.source();
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// An error whose text has its cause in it already.
    #[derive(Debug, thiserror::Error)]
    #[error("opening x: {0}")]
    struct Named(#[source] io::Error);

    #[test]
    fn an_error_prints_with_its_causes_and_ends_with_its_code() {
        let named = std::io::Error::other(Named(io::ErrorKind::NotFound.into()));
        let cases: [(RunError, &str, u8); 6] = [
            (
                RunError::Application(named.into()),
                "the application does not load: opening x: entity not found",
                4,
            ),
            (
                RunError::Listen("address in use: 127.0.0.1:8000".into()),
                "cannot listen: address in use: 127.0.0.1:8000",
                1,
            ),
            (
                RunError::System {
                    doing: "creating a page".into(),
                    source: io::Error::other("no memory").into(),
                },
                "creating a page: no memory",
                1,
            ),
            (
                RunError::NotStartedByMaster,
                "this is started by the master, over a channel of its own: run `serve`",
                2,
            ),
            (
                RunError::WorkersDoNotStart { reason: "exit code 1".into() },
                "the workers do not start: exit code 1",
                3,
            ),
            (
                RunError::Application("files: not a directory".into()),
                "the application does not load: files: not a directory",
                4,
            ),
        ];
        for (error, text, code) in cases {
            assert_eq!(Chain(&error).to_string(), text);
            assert_eq!(error.exit_code() as u8, code);
        }
    }
}
