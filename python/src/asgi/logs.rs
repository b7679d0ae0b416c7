//! What Uvicorn says, as events of the server's log: where that goes, and in its form.
//!
//! Not here: whose words they are, and from which level on (`maitred.asgi.logs`); how a line looks
//! (`maitred::observe`).

use pyo3::prelude::*;
use pyo3::types::PyString;

/// Where its lines come from, for filters.
const LOG: &str = "maitred::asgi";

/// Python's numbers of levels, from which on ours begin. What is below is Uvicorn's own, of 5.
const ERROR: i64 = 40;
const WARNING: i64 = 30;
const INFO: i64 = 20;
const DEBUG: i64 = 10;

/// Leaves a line to the log; never waits. `traceback` is empty, or whole lines.
#[pyfunction]
pub(crate) fn log(level: i64, message: &Bound<'_, PyString>, traceback: &Bound<'_, PyString>) {
    let (message, traceback) = (message.to_string_lossy(), traceback.to_string_lossy());
    let (message, below) = split(&message);
    let traceback = match (below, &*traceback) {
        ("", "") => None,
        (below, "") => Some(below.to_owned()),
        ("", traceback) => Some(traceback.to_owned()),
        (below, traceback) => Some(format!("{below}\n{traceback}")),
    };
    // What an absent one says is nothing at all.
    let traceback = traceback.as_deref();
    match level {
        ERROR.. => tracing::error!(target: LOG, traceback, "{message}"),
        WARNING.. => tracing::warn!(target: LOG, traceback, "{message}"),
        INFO.. => tracing::info!(target: LOG, traceback, "{message}"),
        DEBUG.. => tracing::debug!(target: LOG, traceback, "{message}"),
        _ => tracing::trace!(target: LOG, traceback, "{message}"),
    }
}

/// The server's own level, in Uvicorn's words.
pub(super) fn level() -> &'static str {
    use tracing::{Level, enabled};
    if enabled!(target: LOG, Level::TRACE) {
        "trace"
    } else if enabled!(target: LOG, Level::DEBUG) {
        "debug"
    } else if enabled!(target: LOG, Level::INFO) {
        "info"
    } else if enabled!(target: LOG, Level::WARN) {
        "warning"
    } else {
        "error"
    }
}

/// The first line of a message, and those below it: frameworks pass a traceback on as the text of
/// why they did not start, or stop.
fn split(message: &str) -> (&str, &str) {
    let message = message.trim_end_matches('\n');
    let (first, below) = message.split_once('\n').unwrap_or((message, ""));
    (first.trim_end(), below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_its_first_line() {
        assert_eq!(split(""), ("", ""));
        assert_eq!(split("one"), ("one", ""));
        assert_eq!(split("Exception in ASGI application\n"), ("Exception in ASGI application", ""));
        assert_eq!(split("Traceback:\r\n  File\nE: no\n\n"), ("Traceback:", "  File\nE: no"));
        assert_eq!(split("\nbelow\n"), ("", "below"));
    }
}
