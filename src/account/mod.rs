//! The account: where every connection is that was ever accepted, or what has become of it.
//!
//! ```text
//! accepted = queued + parked + on loan + lingering               (it is here)
//!          + finished + ended idle(why) + shed(why) + aborted(why)  (it has left)
//! ```
//!
//! holds at the end of every turn of the master, and whoever reads an account can check it
//! ([`Account::missing`]). A connection is counted here exactly once, when it leaves the master's
//! table, by an [`Outcome`]; one that lingers behind its last answer has not left yet.
//!
//! Pure: numbers, their names, and how a status file says them ([`page`]).
//!
//! Not here: the connections (`master::connections`), the file (`sys::locked_file`), how people and
//! programs read it (`observe::status`).

mod accept_error;
mod counters;
mod happened;
mod outcome;
pub mod page;
mod status;

use std::fmt;

pub use accept_error::AcceptError;
pub use counters::{Counters, SlotCounters};
pub use happened::{Happened, HappenedKind};
pub use outcome::{Group, Outcome};
pub use status::{
    KernelQueue, NodeStatus, Phase, Policy, ReloadState, ReloadStatus, Scaling, Status,
    WorkerStage, WorkerStatus,
};

/// The connections that are here, by place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Here {
    /// With the dispatcher, or on their way to a worker.
    pub queued: u64,
    /// Idle, and with no worker.
    pub parked: u64,
    /// At a worker.
    pub on_loan: u64,
    /// Answered by the master, and being closed gently.
    pub lingering: u64,
}

/// Everything that has been counted, and everything that is here, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// What has happened so far.
    pub counters: Counters,
    /// Who is here now.
    pub here: Here,
}

impl Here {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.list().iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Each place by its name.
    pub fn list(&self) -> [(&'static str, u64); 4] {
        [
            ("queued", self.queued),
            ("parked", self.parked),
            ("on_loan", self.on_loan),
            ("lingering", self.lingering),
        ]
    }
}

impl Account {
    /// Connections that were accepted, and are neither here nor counted as gone; negative, if more
    /// are than were accepted. Zero, or the master has a bug.
    pub fn missing(&self) -> i128 {
        let left = Outcome::ALL.iter().map(|outcome| i128::from(self.counters.of(*outcome)));
        i128::from(self.counters.accepted) - i128::from(self.here.total()) - left.sum::<i128>()
    }

    /// Panics unless every connection that was accepted is here or has an outcome.
    pub fn check_invariants(&self) {
        assert_eq!(self.missing(), 0, "conservation of connections: {self}");
    }
}

/// Every number under its stable name; outcomes that have not happened are left out, but for the
/// two that somebody switched on by a flag.
impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "accepted={}", self.counters.accepted)?;
        for (name, count) in self.here.list() {
            write!(f, " {name}={count}")?;
        }
        for outcome in Outcome::ALL {
            let count = self.counters.of(outcome);
            let always = matches!(outcome.group(), Group::Finished | Group::Shed);
            if always || count > 0 {
                write!(f, " {}={count}", outcome.name())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_accepted_is_here_or_has_left_for_a_reason() {
        let mut account = Account::default();
        account.counters.accepted = 7;
        account.here = Here { queued: 1, parked: 1, on_loan: 1, lingering: 1 };
        for outcome in [Outcome::Finished, Outcome::ShedTooOld, Outcome::DiedAnswering] {
            account.counters.count(outcome);
        }
        assert_eq!(account.missing(), 0);
        account.check_invariants();
        account.here.parked = 0;
        assert_eq!(account.missing(), 1);
        account.counters.accepted = 0;
        assert_eq!(account.missing(), -6);
    }

    #[test]
    fn a_log_line_names_what_has_happened() {
        let mut account = Account::default();
        account.counters.accepted = 2;
        account.counters.count(Outcome::MadeRoom);
        account.here.parked = 1;
        assert_eq!(
            account.to_string(),
            "accepted=2 queued=0 parked=1 on_loan=0 lingering=0 finished=0 shed_too_old=0 \
             shed_too_many=0 aborted_made_room=1"
        );
    }
}
