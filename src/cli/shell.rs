//! Where the command line ends and the server begins: two calls.
//!
//! The order in each is the point: what must happen while the process has one thread comes first,
//! then the log (which starts a thread), then the rest.
//!
//! Not here: what a master or a worker does (`master`, `worker`).

use crate::app::Handler;
use crate::cli::resolve::Resolved;
use crate::config::Settings;
use crate::exit::{Chain, Exit, RunError};
use crate::observe::logging::{self, Process};

/// Serves as the master, until it is told to stop. An error means that there was no log yet.
pub(super) fn serve(resolved: Resolved) -> Result<Exit, RunError> {
    let _log = start_log(resolved.log, Process::Master { pid: std::process::id() })?;
    Ok(reported(master(resolved.settings)))
}

/// Serves as a worker, until the master has no more use for it. An error means that there was no
/// log yet.
pub(super) fn work(_resolved: Resolved, _handler: impl Handler) -> Result<Exit, RunError> {
    if std::env::var_os("MAITRED_CHANNEL_FD").is_none() {
        return Err(RunError::NotStartedByMaster);
    }
    Err(not_wired())
}

fn master(_settings: Settings) -> Result<Exit, RunError> {
    Err(not_wired())
}

/// The exit code of an outcome; an error is an event of the log like others.
fn reported(outcome: Result<Exit, RunError>) -> Exit {
    outcome.unwrap_or_else(|error| {
        tracing::error!("{}", Chain(&error));
        error.exit_code()
    })
}

fn start_log(options: logging::Options, process: Process) -> Result<logging::Log, RunError> {
    logging::start(options, process).map_err(|error| RunError::System {
        doing: "starting the log".into(),
        source: error.into(),
    })
}

fn not_wired() -> RunError {
    RunError::System { doing: "serving".into(), source: "not wired in this branch".into() }
}
