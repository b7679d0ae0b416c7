//! One round of a reload, in numbers: which workers belong to it, and how it stands.
//!
//! Not here: which slot is replaced when (`supervise`).

use crate::ident::{Generation, Incarnation};
use crate::supervise::reason::{Cause, Exit};

/// How far a reload has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reload {
    /// None was asked for, or the last one is complete.
    #[default]
    Done,
    /// Slots are being replaced.
    Running,
    /// A new worker did not become Ready: the old ones go on.
    Failed,
}

/// The last reload, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReloadReport {
    /// How it stands.
    pub state: Reload,
    /// Slots that a new worker serves.
    pub replaced: u16,
    /// Slots that were to be replaced, those scaled away since not counted.
    pub of: u16,
    /// The worker that stopped it.
    pub failure: Option<ReloadFailure>,
}

/// How a worker ended that was to be new, and did not become Ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReloadFailure {
    /// Which.
    pub who: Incarnation,
    /// How its process ended.
    pub how: Exit,
    /// Why it was killed, if the master did that.
    pub cause: Option<Cause>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Round {
    pub(super) report: ReloadReport,
    /// Workers with a higher generation were started since the round began. Those that were under
    /// way then may have read what has been changed since, and are replaced too.
    after: Generation,
}

impl Round {
    pub(super) fn begin(after: Generation, of: u16) -> Self {
        let state = if of > 0 { Reload::Running } else { Reload::Done };
        Round { report: ReloadReport { state, of, ..ReloadReport::default() }, after }
    }

    pub(super) fn is_running(&self) -> bool {
        self.report.state == Reload::Running
    }

    /// Whether this worker was started by the round.
    pub(super) fn includes(&self, who: Incarnation) -> bool {
        who.generation > self.after
    }
}
