//! What the supervisor remembers of a worker, and of a slot that is wanted.
//!
//! Serialised as they stand, for another image of the master (`state`): a field that is new has a
//! default there.
//!
//! Not here: what follows from it (`supervise`).

use serde::{Deserialize, Serialize};

use crate::config::DEADLINE_LATE_MAX;
use crate::ident::{Incarnation, Slot};
use crate::supervise::backoff::Backoff;
use crate::supervise::reason::{Cause, Exit, Restart};
use crate::time::Nanos;

/// Where a worker is in its life (the diagram in `supervise`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stage {
    Starting {
        kill_at: Nanos,
    },
    Serving {
        since: Nanos,
    },
    Draining {
        kill_at: Nanos,
        #[serde(default)]
        why: Leave,
    },
    Withdrawn {
        kill_at: Nanos,
        cause: Cause,
    },
    /// Killed, not reaped yet; what it was before, and why.
    Ending {
        was: Was,
        cause: Cause,
    },
}

/// Why a worker that served well is to leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Leave {
    /// A reload has replaced it.
    #[default]
    Reloaded,
    /// It has served for long enough, or has asked for leave.
    Recycled,
    /// Its slot is not wanted any more, or nobody's is.
    NotWanted,
}

/// What a worker was before it was killed: that decides what follows its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Was {
    Starting,
    Serving,
    /// Its place has been given to another already, or is not wanted.
    Leaving,
}

/// A worker process, from its start until it is reaped.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Life {
    pub(super) who: Incarnation,
    pub(super) stage: Stage,
    /// It takes over from one that serves: if it fails, the old one goes on.
    pub(super) replaces: bool,
    /// The deadline of its stage was found late, and has been given again.
    #[serde(default)]
    pub(super) given_again: bool,
}

/// A slot that is wanted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) slot: Slot,
    pub(super) backoff: Backoff,
    /// When the next incarnation is started, if none is here.
    pub(super) start_at: Option<Nanos>,
    pub(super) failures: u32,
    /// Still to be replaced by the reload that runs.
    pub(super) reload: bool,
    /// How long the next recycling pauses after a replacement that did not start, and until when.
    #[serde(default)]
    pub(super) replacing: Backoff,
    #[serde(default)]
    pub(super) recycle_at: Nanos,
}

/// Why another is started in the place of a worker that has ended so; none where none is, for it.
pub(super) fn restart(stage: Stage, how: Exit) -> Option<Restart> {
    match stage {
        Stage::Starting { .. } => Some(Restart::StartFailed),
        Stage::Serving { .. } => Some(match how {
            Exit::Signal(_) => Restart::Killed,
            Exit::Code(_) | Exit::NeverStarted => Restart::Exited,
        }),
        Stage::Draining { why, .. } => match why {
            Leave::Reloaded => Some(Restart::Reloaded),
            Leave::Recycled => Some(Restart::Recycled),
            Leave::NotWanted => None,
        },
        Stage::Withdrawn { cause, .. } | Stage::Ending { cause, .. } => match cause {
            Cause::BootTimeout => Some(Restart::BootTimeout),
            Cause::GracefulTimeout => Some(Restart::GracefulTimeout),
            Cause::Hung => Some(Restart::Hung),
            Cause::Misbehaved => Some(Restart::Misbehaved),
            Cause::Stop | Cause::ReloadFailed => None,
        },
    }
}

/// When a worker in this stage is killed, if nothing else happens.
pub(super) fn kill_at(stage: Stage) -> Option<Nanos> {
    match stage {
        Stage::Starting { kill_at }
        | Stage::Draining { kill_at, .. }
        | Stage::Withdrawn { kill_at, .. } => Some(kill_at),
        Stage::Serving { .. } | Stage::Ending { .. } => None,
    }
}

/// A deadline of this worker that has passed: when it was, and what it was.
pub(super) fn due(life: &Life, now: Nanos) -> Option<(Incarnation, Nanos, Cause)> {
    let cause = match life.stage {
        Stage::Starting { .. } => Cause::BootTimeout,
        Stage::Draining { .. } => Cause::GracefulTimeout,
        Stage::Withdrawn { cause, .. } => cause,
        Stage::Serving { .. } | Stage::Ending { .. } => return None,
    };
    kill_at(life.stage).filter(|at| *at <= now).map(|at| (life.who, at, cause))
}

/// Whether a deadline is found so long overdue that the finder must have been stopped.
pub fn is_late(deadline: Nanos, now: Nanos) -> bool {
    now.since(deadline) > DEADLINE_LATE_MAX
}
