//! The status page: the account and the workers, for other processes to read.
//!
//! The master answers nobody. It writes one small page in place, to the status file, to memory that
//! the helper process of `--admin` reads, or to both (`sys::locked_file` says why not through a
//! mapping), when it has had a turn and
//! [`STATUS_INTERVAL`] has passed since it last did; what has happened before that is written when
//! it has passed, for which the loop wakes up once. So a turn costs one comparison, a busy second
//! twenty writes, and an idle server writes nothing and sleeps on.
//!
//! What workers say of themselves is as new as the master's last turn: it does not wake up for
//! requests on connections that are lent already. When the last connection has ended all is exact.
//! With the kernel's arms nothing at all wakes it, and it looks every [`OWN_LOOK`]
//! (`Master::rest`).
//!
//! [`OWN_LOOK`]: crate::config::OWN_LOOK
//!
//! Not here: the bytes (`account::page`), readers (`observe::status`).

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use thiserror::Error;
use tracing::{debug, warn};

use crate::account::page::{self, Stamp};
use crate::account::{
    Phase, Policy, ReloadState, ReloadStatus, Scaling, Status, WorkerStage, WorkerStatus,
};
use crate::config::{LOG_REPEAT_AFTER, STATUS_ASKED_INTERVAL, STATUS_INTERVAL, STATUS_WORKERS_MAX};
use crate::master::Master;
use crate::master::roster::{Member, Stage};
use crate::supervise::Reload;
use crate::sys::locked_file::{LockedFile, LockedFileError};
use crate::sys::memory_file::MemoryFile;
use crate::time::Nanos;

/// Whoever may read it learns numbers and process ids, no client's data; the group is for scrapers.
const MODE: u32 = 0o640;

/// Where the page is written, and what stands there. Of the two places either may be missing; with
/// neither, nothing is looked at.
pub(super) struct Publisher {
    file: Option<(LockedFile, PathBuf)>,
    memory: Option<MemoryFile>,
    started_at_ms: u64,
    looked_at: Option<Nanos>,
    sequence: u64,
    written: Option<Status>,
    page: Vec<u8>,
    complained_at: Option<Nanos>,
}

/// Why a status file cannot be had.
#[derive(Debug, Error)]
pub(super) enum PublishError {
    /// It is not to be had.
    #[error(transparent)]
    File(#[from] LockedFileError),
    /// Somebody's data: a typing error must not cost it.
    #[error("it holds something else, and is not written over")]
    Foreign,
    /// It cannot be read.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl Publisher {
    /// One that has nowhere to write.
    pub(super) fn nowhere() -> Self {
        Publisher {
            file: None,
            memory: None,
            started_at_ms: wall_clock_ms(),
            looked_at: None,
            sequence: 0,
            written: None,
            page: Vec::new(),
            complained_at: None,
        }
    }

    /// Takes a file for this master alone.
    ///
    /// # Errors
    /// Another master has it, it holds something else, or the system refuses.
    pub(super) fn open(path: &Path) -> Result<Self, PublishError> {
        let file = LockedFile::open(path, MODE)?;
        if !page::may_replace(&file.beginning(page::MAGIC.len())?) {
            return Err(PublishError::Foreign);
        }
        Ok(Publisher { file: Some((file, path.to_owned())), ..Publisher::nowhere() })
    }

    /// From now on the page stands in this memory too; or in none.
    pub(super) fn set_memory(&mut self, memory: Option<MemoryFile>) {
        self.memory = memory;
        self.written = None;
        self.looked_at = None;
    }

    /// The memory that the page stands in.
    pub(super) fn memory(&self) -> Option<&MemoryFile> {
        self.memory.as_ref()
    }

    /// Whether there is anywhere to write.
    pub(super) fn is_on(&self) -> bool {
        self.file.is_some() || self.memory.is_some()
    }

    /// When the server began, by the clock on the wall.
    pub(super) fn started_at_ms(&self) -> u64 {
        self.started_at_ms
    }

    /// The server began in another image of this process.
    pub(super) fn resume(&mut self, started_at_ms: u64) {
        self.started_at_ms = started_at_ms;
    }

    /// When it may be written for somebody who asks.
    pub(super) fn may_be_asked_at(&self) -> Nanos {
        self.looked_at.map_or(Nanos(0), |at| at + STATUS_ASKED_INTERVAL)
    }

    /// How long the next look is to wait; none if it is due.
    fn due_in(&self, now: Nanos) -> Option<Duration> {
        let due_at = self.looked_at? + STATUS_INTERVAL;
        (now < due_at).then(|| now.until(due_at))
    }

    /// Writes what has changed since the last time.
    fn write(&mut self, mut status: Status, now: Nanos) {
        self.looked_at = Some(now);
        status.started_at_ms = self.started_at_ms;
        if self.written.as_ref() == Some(&status) {
            return;
        }
        let stamp = Stamp { sequence: self.sequence + 1, written_at_ms: wall_clock_ms() };
        page::encode(&status, stamp, &mut self.page);
        self.sequence = stamp.sequence;
        let to_memory = self.memory.as_ref().map_or(Ok(()), |memory| memory.write(&self.page));
        let to_file = self.file.as_ref().map_or(Ok(()), |(file, _)| file.write(&self.page));
        match to_memory.and(to_file) {
            Ok(()) => self.written = Some(status),
            Err(cause) => {
                // Serving goes on. A full disk may have room again by the next look.
                self.written = None;
                if self.complained_at.is_none_or(|at| now.since(at) >= LOG_REPEAT_AFTER) {
                    self.complained_at = Some(now);
                    let path = self.file.as_ref().map(|(_, path)| path.display());
                    warn!(path = path.map(tracing::field::display), %cause, "writing the status");
                }
            }
        }
    }
}

impl Master {
    /// Writes the status file if it is time, and says how long the loop may rest: it wakes up once
    /// more for what has happened too soon after the last look.
    pub(super) fn publish(&mut self, rest: Option<Duration>) -> Option<Duration> {
        if !self.publisher.is_on() {
            return rest;
        }
        if let Some(wait) = self.publisher.due_in(self.now) {
            return Some(rest.map_or(wait, |rest| rest.min(wait)));
        }
        self.publish_now(self.phase());
        rest
    }

    /// Writes the status whatever the time is.
    pub(super) fn publish_now(&mut self, phase: Phase) {
        if self.publisher.is_on() {
            let status = self.status(phase);
            self.publisher.write(status, self.now);
        }
    }

    /// Everything that is counted, in the log. Said where something ends that people look back at.
    pub(super) fn log_account(&self) {
        debug!(account = %self.account(), "account");
    }

    pub(super) fn phase(&self) -> Phase {
        match (self.stopping.is_stopping(), self.announced) {
            (true, _) => Phase::Stopping,
            (false, true) => Phase::Serving,
            (false, false) => Phase::Starting,
        }
    }

    fn status(&self, phase: Phase) -> Status {
        let mut workers: Vec<_> =
            self.roster.iter().map(|(_, member)| self.worker_status(member)).collect();
        workers.sort_unstable_by_key(|worker| (worker.who.slot, worker.who.generation));
        let workers_in_all = workers.len() as u32;
        workers.truncate(STATUS_WORKERS_MAX);
        Status {
            pid: std::process::id(),
            started_at_ms: 0,
            phase,
            accept: self.settings.accept.arm,
            reload: self.reload_status(),
            generation: self.supervisor.generation().0,
            policy: self.policy_status(),
            scaling: self.scaling_status(),
            kernel_queue: self.acceptor.kernel_queue(),
            node: self.node_status(),
            account: self.account(),
            workers_in_all,
            workers,
        }
    }

    fn policy_status(&self) -> Policy {
        let settings = &self.settings;
        Policy {
            balance: settings.balance,
            rebalance: settings.rebalance,
            credit: settings.credit,
            stall_after: settings.stall_after,
        }
    }

    fn scaling_status(&self) -> Scaling {
        let wanted = self.supervisor.workers();
        match &self.scaling {
            Some(_) => {
                let (min, max) = self.supervisor.bounds();
                Scaling { wanted, min, max }
            }
            None => Scaling { wanted, min: wanted, max: wanted },
        }
    }

    fn reload_status(&self) -> ReloadStatus {
        if self.counters.reloads == 0 {
            return ReloadStatus::default();
        }
        let report = self.supervisor.reload_report();
        let state = match report.state {
            Reload::Running => ReloadState::Running,
            Reload::Done => ReloadState::Done,
            Reload::Failed => ReloadState::Failed,
        };
        ReloadStatus { state, replaced: report.replaced, of: report.of }
    }

    fn worker_status(&self, member: &Member) -> WorkerStatus {
        let report = member.page.report();
        let (started, finished, errors) = match &member.reported {
            Some(report) => (report.started, report.finished, report.errors),
            None => {
                // A claim that no answer followed is in both, and most were the end of a
                // connection: no request.
                let requests = |claims: u64| claims.saturating_sub(report.claims_empty);
                let (started, finished) = (report.requests_started, report.requests_finished);
                (requests(started), requests(finished), report.errors)
            }
        };
        let (queued, threads_busy, busy_ns) = match &member.reported {
            Some(report) => (report.queued, report.busy, report.busy_ns),
            None => (report.requests_queued, report.threads_busy, report.busy_ns),
        };
        let (own_accepted, own_open) = (report.own_accepted, report.own_open());
        let serves = member.stage == Stage::Serving;
        let candidate = self.dispatcher.candidate(member.who.slot).filter(|_| serves);
        WorkerStatus {
            who: member.who,
            pid: member.child.pid(),
            stage: match member.stage {
                Stage::Starting => WorkerStage::Starting,
                Stage::Serving => WorkerStage::Serving,
                Stage::Leaving | Stage::Ending => WorkerStage::Leaving,
            },
            started_at: member.started_at,
            on_loan: member.page.on_loan(),
            waiting: member.unclaimed.len() as u32,
            queued,
            threads: member.shape.map_or(0, |shape| shape.threads),
            threads_busy,
            busy_ns,
            stalls: member.stalls,
            requests_started: started,
            requests_finished: finished,
            errors,
            own_accepted,
            own_open,
            is_stuck: candidate.is_some_and(|candidate| candidate.stuck),
            is_stopped: member.stopped_at.is_some(),
            is_drained: self.admin.is_drained(member.who.slot),
        }
    }
}

pub(super) fn wall_clock_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> (Status, Stamp) {
        page::decode(&std::fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn what_has_not_changed_is_not_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status");
        let mut publisher = Publisher::open(&path).unwrap();
        assert_eq!(publisher.due_in(Nanos(7)), None, "the first look is due at once");
        publisher.write(Status::default(), Nanos(7));
        assert_eq!(publisher.due_in(Nanos(7)), Some(STATUS_INTERVAL));
        assert_eq!(publisher.due_in(Nanos(7) + STATUS_INTERVAL), None);
        publisher.write(Status::default(), Nanos(8));
        assert_eq!(read(&path).1.sequence, 1);
        publisher.write(Status { generation: 2, ..Status::default() }, Nanos(9));
        let (status, stamp) = read(&path);
        assert_eq!((status.generation, stamp.sequence), (2, 2));
    }

    #[test]
    fn two_places_hold_the_same_and_either_may_be_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status");
        let mut publisher = Publisher::open(&path).unwrap();
        let memory = MemoryFile::create("status").unwrap();
        let reader = memory.reader().unwrap();
        publisher.write(Status::default(), Nanos(7));
        publisher.set_memory(Some(memory));
        assert_eq!(publisher.due_in(Nanos(7)), None, "a new reader waits for no interval");
        publisher.write(Status::default(), Nanos(7));
        let in_memory = reader.read_beginning(page::SIZE_MAX).unwrap();
        assert_eq!(page::decode(&in_memory).unwrap(), read(&path));
        publisher.set_memory(None);
        assert!(publisher.is_on() && !Publisher::nowhere().is_on());
    }

    #[test]
    fn a_file_of_somebody_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status");
        std::fs::write(&path, b"thesis").unwrap();
        assert!(matches!(Publisher::open(&path), Err(PublishError::Foreign)));
        assert_eq!(std::fs::read(&path).unwrap(), b"thesis");
        // What an earlier master left is ours.
        std::fs::write(&path, page::MAGIC).unwrap();
        let publisher = Publisher::open(&path).unwrap();
        assert!(matches!(Publisher::open(&path), Err(PublishError::File(LockedFileError::Locked))));
        drop(publisher);
    }
}
