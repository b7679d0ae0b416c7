//! Why workers end, and why a server cannot begin: each reason with an explanation.
//!
//! Not here: the exit codes of this program (`exit`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a worker's process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It has returned a code.
    Code(i32),
    /// A signal has killed it.
    Signal(i32),
    /// It could not be started at all.
    NeverStarted,
}

/// Why a worker is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// It was not Ready in time.
    BootTimeout,
    /// It has not finished what it held in time.
    GracefulTimeout,
    /// It has produced nothing for too long.
    Hung,
    /// It has broken the protocol.
    Misbehaved,
    /// The server ends, or the slot is not wanted any more.
    Stop,
    /// Another worker of the same reload did not become Ready.
    ReloadFailed,
}

/// Why a slot got another process after one had been started in it: what is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Restart {
    /// It exited by itself while it served.
    Exited,
    /// A signal that was not the master's killed it while it served.
    Killed,
    /// It ended, or could not be executed, before it was ready.
    StartFailed,
    /// It was not ready in time.
    BootTimeout,
    /// It produced nothing for too long.
    Hung,
    /// It broke the protocol.
    Misbehaved,
    /// It was replaced, and had not finished in time.
    GracefulTimeout,
    /// A reload or an upgrade replaced it.
    Reloaded,
    /// It had served for long enough, or asked for leave.
    Recycled,
}

impl Restart {
    /// Every reason, in order of its number.
    pub const ALL: [Restart; 9] = [
        Restart::Exited,
        Restart::Killed,
        Restart::StartFailed,
        Restart::BootTimeout,
        Restart::Hung,
        Restart::Misbehaved,
        Restart::GracefulTimeout,
        Restart::Reloaded,
        Restart::Recycled,
    ];

    /// Its stable name.
    pub fn name(self) -> &'static str {
        match self {
            Restart::Exited => "restart_exited",
            Restart::Killed => "restart_killed",
            Restart::StartFailed => "restart_start_failed",
            Restart::BootTimeout => "restart_boot_timeout",
            Restart::Hung => "restart_hung",
            Restart::Misbehaved => "restart_misbehaved",
            Restart::GracefulTimeout => "restart_graceful_timeout",
            Restart::Reloaded => "restart_reloaded",
            Restart::Recycled => "restart_recycled",
        }
    }
}

/// Why the server cannot begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFailure {
    /// The application does not load; another try would end the same way.
    Application,
    /// Workers end again and again before one has ever been Ready: how the last one did, and how
    /// many in a row.
    CrashLoop(Exit, u32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit code {code}"),
            Exit::Signal(signal) => write!(f, "signal {signal}"),
            Exit::NeverStarted => f.write_str("no process"),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::BootTimeout => "it was not ready within --boot-timeout",
            Cause::GracefulTimeout => "it had not finished within --graceful-timeout",
            Cause::Hung => "it produced nothing within --timeout",
            Cause::Misbehaved => "it broke the hand-off protocol",
            Cause::Stop => "it is not wanted any more",
            Cause::ReloadFailed => "another worker of its reload did not become ready",
        })
    }
}
