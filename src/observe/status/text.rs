//! A reading for people: the state in one line, the account, a table of workers.
//!
//! Not here: the stable form for programs (`json`).

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use crate::account::{Group, Outcome, Phase, ReloadState, WorkerStatus};
use crate::observe::calendar::{Rfc3339, Utc};
use crate::observe::status::Reading;

/// Prints a reading as text of several lines.
pub struct Text<'a>(pub &'a Reading);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state(f)?;
        self.reload(f)?;
        self.account(f)?;
        self.workers(f)
    }
}

impl Text<'_> {
    fn state(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reading { status, stamp, is_running } = self.0;
        let pid = status.pid;
        match (is_running, status.phase) {
            (true, phase) => write!(f, "{}: master {pid}", phase.name())?,
            (false, Phase::Stopped) => write!(f, "stopped: master {pid} has ended")?,
            (false, Phase::Starting | Phase::Serving | Phase::Stopping) => {
                write!(f, "not running: master {pid} died while {}", status.phase.name())?;
            }
        }
        let (since, at) = (moment(status.started_at_ms), moment(stamp.written_at_ms));
        if status.accept.is_kernels() {
            write!(f, ", workers accept ({})", status.accept)?;
        }
        writeln!(f, ", started {since}, last changed {at}")
    }

    fn reload(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reload = self.0.status.reload;
        let progress = format!("{} of {} workers replaced", reload.replaced, reload.of);
        match reload.state {
            ReloadState::None => Ok(()),
            ReloadState::Running => writeln!(f, "reload: running, {progress}"),
            ReloadState::Done => writeln!(f, "reload: done, {progress}"),
            ReloadState::Failed => writeln!(
                f,
                "reload: FAILED, {progress}: a new worker did not become ready, the old ones go on"
            ),
        }
    }

    fn account(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let account = &self.0.status.account;
        writeln!(f, "\nconnections accepted {:>12}", account.counters.accepted)?;
        for (name, count) in account.here.list() {
            writeln!(f, "  {:<19}{count:>12}", name.replace('_', " "))?;
        }
        for group in Group::ALL {
            for outcome in Outcome::ALL.iter().filter(|outcome| outcome.group() == group) {
                let count = account.counters.of(*outcome);
                // A number that is not zero wants to be explained, one that is wants no line.
                if group == Group::Finished {
                    writeln!(f, "  {:<19}{count:>12}", group.name())?;
                } else if count > 0 {
                    let name = group.name().replace('_', " ");
                    writeln!(f, "  {name:<19}{count:>12}  {outcome}")?;
                }
            }
        }
        if account.missing() != 0 {
            writeln!(f, "  MISSING            {:>12}  a bug: please report it", account.missing())?;
        }
        let counters = &account.counters;
        let mut behind = "";
        f.write_str("\n")?;
        for (name, count) in counters.events().into_iter().filter(|(name, _)| *name != "accepted") {
            write!(f, "{behind}{} {count}", name.replace('_', " "))?;
            behind = ", ";
        }
        f.write_str("\n")
    }

    fn workers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = &self.0.status;
        if status.workers.is_empty() {
            return Ok(());
        }
        // With the kernel's arms nobody is lent anything.
        let own = status.accept.is_kernels();
        let columns = if own { ["open", "accepted"] } else { ["on loan", "waiting"] };
        writeln!(
            f,
            "\n{:>6} {:>5} {:>8} {:<9} {:>7} {:>9} {:>6} {:>12} {:>8} {:>8}",
            "worker",
            "gen",
            "pid",
            "stage",
            columns[0],
            columns[1],
            "active",
            "finished",
            "errors",
            "restarts"
        )?;
        for worker in &status.workers {
            let WorkerStatus { who, pid, stage, on_loan, waiting, .. } = worker;
            let (here, more) = match own {
                true => (worker.own_open, worker.own_accepted),
                false => (u64::from(*on_loan), u64::from(*waiting)),
            };
            write!(
                f,
                "{:>6} {:>5} {pid:>8} {:<9} {here:>7} {more:>9} {:>6} {:>12} {:>8} {:>8}",
                who.slot.0,
                who.generation.0,
                stage.name(),
                worker.active(),
                worker.requests_finished,
                worker.errors,
                status.restarts(who.slot),
            )?;
            for (is_so, word) in [(worker.is_stuck, "stuck"), (worker.is_stopped, "stopped")] {
                if is_so {
                    write!(f, "  {word}")?;
                }
            }
            f.write_str("\n")?;
        }
        let unlisted = (status.workers_in_all as usize).saturating_sub(status.workers.len());
        if unlisted > 0 {
            writeln!(f, "and {unlisted} more")?;
        }
        Ok(())
    }
}

/// A moment from a page, which may hold any number.
pub(super) fn moment(unix_ms: u64) -> Rfc3339 {
    // A leap to the last year that RFC 3339 can write.
    const LATEST_MS: u64 = 253_402_300_799_999;
    let since = Duration::from_millis(unix_ms.min(LATEST_MS));
    Rfc3339(Utc::from(UNIX_EPOCH + since))
}
