//! USR2: another version of this program takes this one's place, in this process.
//!
//! ```text
//!   USR2 ──▶ Asking: the file that this process was started from is started once more, as a child,
//!      │             and is asked whether it could go on from the state as it is now
//!      │        │ it answers so            │ it ends otherwise, or not in time
//!      │        ▼                          ▼
//!      │     Leaving ── exec fails ──▶  this image goes on, and says why
//!      │        │ between two turns: state written, signals blocked, exec
//!      ▼        ▼
//!   the new image: same pid, children, listeners, connections; replaces the workers one by one
//! ```
//!
//! Workers serve on meanwhile; what they say stands in their channels, pages and rings until the new
//! image looks. The kernel's queue keeps who connects.
//!
//! Not here: what travels (`state`, `leaving`, `resuming`), the exec itself (`sys::upgrade`).

mod leaving;
mod resuming;
pub(super) mod state;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::Stdio;

use tracing::{error, info, warn};

use crate::exit::RunError;
use crate::master::tokens::Source;
use crate::master::upgrade::state::{FORMAT, State};
use crate::master::{Master, system};
use crate::sys::epoll;
use crate::sys::process::{Change, Child, ChildSignal};
use crate::sys::upgrade::{
    ANSWER_VARIABLE, STATE_VARIABLE, SignalsBlocked, StateFile, answer_pipe, execute,
};
use crate::time::Nanos;

/// How far an upgrade has come.
#[derive(Debug, Default)]
pub(super) enum Upgrade {
    /// None was asked for.
    #[default]
    None,
    /// The program is being asked.
    Asking(Preflight),
    /// It can: this image ends with this turn.
    Leaving,
}

/// A child that is asked whether it could go on from here.
#[derive(Debug)]
pub(super) struct Preflight {
    child: Child,
    answer: File,
    until: Nanos,
    /// It had too long, and was killed.
    late: bool,
}

/// Answers the question of a pre-flight: reads the state, and says that it can be gone on from.
///
/// # Errors
/// It cannot, and why; or nobody listens.
pub fn answer(state: &mut StateFile, answer: &mut File) -> Result<(), RunError> {
    // In the words of whoever asks: it knows no later format.
    let format = read(state)?.header.format;
    answer.write_all(yes(format).as_bytes()).map_err(system("answering"))
}

/// Reads the state that was left for this image.
pub(super) fn read(file: &mut StateFile) -> Result<State, RunError> {
    let doing = || "going on from another version's state".to_owned();
    let bytes =
        file.read().map_err(|error| RunError::System { doing: doing(), source: error.into() })?;
    State::decode(&bytes).map_err(|error| RunError::System { doing: doing(), source: error.into() })
}

/// What no other program says by chance.
fn yes(format: u32) -> String {
    format!("maitred goes on from state {format}\n")
}

impl Upgrade {
    /// When it has taken too long.
    pub(super) fn next_deadline(&self) -> Option<Nanos> {
        match self {
            Upgrade::Asking(preflight) => Some(preflight.until).filter(|_| !preflight.late),
            Upgrade::None | Upgrade::Leaving => None,
        }
    }

    /// Whether this child of ours is the program that is asked.
    pub(super) fn is_asking(&self, pid: u32) -> bool {
        matches!(self, Upgrade::Asking(preflight) if preflight.child.pid() == pid)
    }

    pub(super) fn is_leaving(&self) -> bool {
        matches!(self, Upgrade::Leaving)
    }
}

impl Master {
    /// USR2.
    pub(super) fn begin_upgrade(&mut self) {
        if self.stopping.is_stopping() {
            return warn!("no upgrade: the server ends");
        }
        if !self.announced {
            return warn!("no upgrade: the server is not ready yet");
        }
        if !matches!(self.upgrade, Upgrade::None) {
            return info!("an upgrade is under way already");
        }
        self.reserve.release();
        let asked = self.ask();
        self.reserve.refill();
        match asked {
            Ok(preflight) => {
                info!(
                    program = %self.launch.program().display(), pid = preflight.child.pid(),
                    "upgrading: asking whether the program can go on from here"
                );
                self.upgrade = Upgrade::Asking(preflight);
            }
            Err(cause) => error!(%cause, "no upgrade: the program cannot be asked"),
        }
    }

    fn ask(&mut self) -> io::Result<Preflight> {
        self.supervise();
        let bytes = self.state().encode().map_err(io::Error::other)?;
        let state = StateFile::create(&bytes)?;
        let (answer, theirs) = answer_pipe()?;
        let mut command = self.launch.same_command();
        command.stdin(Stdio::null());
        let inherited = [(STATE_VARIABLE, state.as_fd()), (ANSWER_VARIABLE, theirs.as_fd())];
        let child = Child::spawn_with(command, &inherited, &[])?;
        let token = Source::Preflight.token();
        if let Err(cause) = epoll::watch_level(self.poll.registry(), child.as_fd(), token) {
            // It is looked at in every turn, and once more when its time is up.
            warn!(%cause, "watching the program that is asked");
        }
        let until = self.now + self.settings.lifecycle.boot_timeout;
        Ok(Preflight { child, answer, until, late: false })
    }

    /// The child that was asked has ended; or it has had its time.
    pub(super) fn hear_preflight(&mut self) {
        let Upgrade::Asking(preflight) = &mut self.upgrade else { return };
        let how = match preflight.child.poll_change() {
            Ok(Some(Change::Exited(code))) => format!("exit code {code}"),
            Ok(Some(Change::Killed(_))) if preflight.late => "no answer in --boot-timeout".into(),
            Ok(Some(Change::Killed(signal))) => format!("signal {signal}"),
            Ok(Some(Change::Stopped | Change::Continued) | None) => {
                if self.now >= preflight.until && !preflight.late {
                    preflight.late = true;
                    if let Err(cause) = preflight.child.signal(ChildSignal::KILL) {
                        error!(%cause, "ending a program that does not answer");
                    }
                }
                return;
            }
            Err(cause) => cause.to_string(),
        };
        epoll::unwatch(self.poll.registry(), preflight.child.as_fd());
        self.upgrade = if preflight.has_said_yes() {
            Upgrade::Leaving
        } else {
            error!(how, "no upgrade: the program cannot go on from here; this version serves on");
            Upgrade::None
        };
    }

    /// Between two turns: the new image takes over, or this one goes on.
    pub(super) fn replace_image(&mut self) {
        let blocked = match SignalsBlocked::begin() {
            Ok(blocked) => blocked,
            Err(cause) => return self.stay(&cause),
        };
        // What has come until now is this image's to answer; it may be the server's end.
        if self.handle_signals() || self.stopping.is_stopping() {
            if self.stopping.is_stopping() {
                warn!("no upgrade: the server ends");
                self.upgrade = Upgrade::None;
            }
            return;
        }
        self.supervise();
        self.reserve.release();
        let encoded = self.state().encode().map_err(io::Error::other);
        let file = encoded.and_then(|bytes| StateFile::create(&bytes));
        let cause = match file {
            Ok(file) => {
                info!(connections = self.connections.len(), "executing the new program");
                self.service.reloading(self.now);
                (self.hooks.flush_log)();
                execute(&self.launch, &file, &self.kept())
            }
            Err(cause) => cause,
        };
        self.reserve.refill();
        self.service.reloaded();
        self.stay(&cause);
        drop(blocked);
    }

    /// The server ends: nobody waits for the answer any more.
    pub(super) fn abandon_upgrade(&mut self) {
        if let Upgrade::Asking(preflight) = std::mem::take(&mut self.upgrade)
            && let Err(cause) = preflight.child.signal(ChildSignal::KILL)
        {
            error!(%cause, "ending a program that was asked");
        }
    }

    fn stay(&mut self, cause: &io::Error) {
        error!(%cause, "no upgrade: this version serves on");
        self.upgrade = Upgrade::None;
    }
}

impl Preflight {
    fn has_said_yes(&mut self) -> bool {
        let mut said = Vec::new();
        let expected = yes(FORMAT);
        // The child has ended: everything that it will ever say is in the pipe.
        let _ = (&self.answer).take(expected.len() as u64 + 1).read_to_end(&mut said);
        said == expected.as_bytes()
    }
}
