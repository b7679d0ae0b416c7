//! Reading a status file: what the master last wrote, and whether it still runs.
//!
//! The reader takes no lock and writes nothing: it can look as often as it likes, and no server
//! notices. A page that is just being written is read again, a few times.
//!
//! Not here: who writes it (`master::publishing`), the bytes (`account::page`).

#[cfg(feature = "cli")]
mod json;
#[cfg(feature = "cli")]
pub mod processes;
mod text;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;

use thiserror::Error;

use crate::account::page::{self, PageError, Stamp};
use crate::account::{Phase, ReloadState, Status};
use crate::config::{STATUS_READ_PAUSE, STATUS_READS_MAX};
use crate::exit::StatusExit;
use crate::sys::memory_file::MemoryReader;
use crate::sys::{clock, locked_file};
use crate::time::Nanos;

#[cfg(feature = "cli")]
pub use json::{json, view};
pub use text::{Text, WorkersText, moment};

/// One look at a status file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What the master wrote.
    pub status: Status,
    /// Which page it was, and when it was written.
    pub stamp: Stamp,
    /// The master that wrote it is running.
    pub is_running: bool,
    /// When it was read, by the machine's clock.
    pub read_at: Nanos,
}

/// Why nothing could be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// No master has ever written there, or somebody removed the file.
    #[error("no server has written there")]
    Absent,
    /// The system does not let us.
    #[error(transparent)]
    System(io::Error),
    /// What stands there is none of our pages.
    #[error(transparent)]
    Page(#[from] PageError),
}

impl ReadError {
    /// The exit code that tells it.
    pub fn exit(&self) -> StatusExit {
        match self {
            ReadError::Absent => StatusExit::NotServing,
            ReadError::System(_) | ReadError::Page(_) => StatusExit::Unreadable,
        }
    }
}

impl Reading {
    /// Whether this server answers new connections: it runs, it is ready, and it was not told to
    /// end.
    pub fn is_serving(&self) -> bool {
        self.is_running && self.status.phase == Phase::Serving
    }

    /// The exit code that tells it.
    pub fn exit(&self) -> StatusExit {
        match (self.is_serving(), self.status.reload.state) {
            (false, _) => StatusExit::NotServing,
            (true, ReloadState::Failed) => StatusExit::ReloadFailed,
            (true, ReloadState::None | ReloadState::Running | ReloadState::Done) => {
                StatusExit::Serving
            }
        }
    }
}

/// Reads a status file.
///
/// # Errors
/// It is not there, not readable, or not a status file.
pub fn read(path: &Path) -> Result<Reading, ReadError> {
    // A FIFO would keep us waiting for a writer.
    let flags = nix::libc::O_NONBLOCK;
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ReadError::Absent,
        _ => ReadError::System(error),
    })?;
    if !file.metadata().map_err(ReadError::System)?.is_file() {
        return Err(PageError::Foreign.into());
    }
    until_whole(|| read_once(&file))
}

/// Reads what the master writes for its helper, which knows whether it runs.
///
/// # Errors
/// Nothing has been written yet, or no page.
pub fn read_memory(memory: &MemoryReader, is_running: bool) -> Result<Reading, ReadError> {
    until_whole(|| {
        let bytes = memory.read_beginning(page::SIZE_MAX).map_err(ReadError::System)?;
        if bytes.is_empty() {
            return Err(ReadError::Absent);
        }
        let (status, stamp) = page::decode(&bytes)?;
        Ok(Reading { status, stamp, is_running, read_at: clock::now() })
    })
}

/// One write and one look may meet: looks again, a few times.
fn until_whole(look: impl Fn() -> Result<Reading, ReadError>) -> Result<Reading, ReadError> {
    for _ in 1..STATUS_READS_MAX {
        match look() {
            Err(ReadError::Page(PageError::Torn)) => thread::sleep(STATUS_READ_PAUSE),
            answer => return answer,
        }
    }
    look()
}

fn read_once(file: &File) -> Result<Reading, ReadError> {
    // Asked first: a master that ends meanwhile has written its last page before it let go.
    let is_running = locked_file::is_held(file).map_err(ReadError::System)?;
    let bytes = locked_file::read_beginning(file, page::SIZE_MAX).map_err(ReadError::System)?;
    if bytes.is_empty() && !is_running {
        // Created, and its master ended before it had said anything.
        return Err(ReadError::Absent);
    }
    let (status, stamp) = page::decode(&bytes)?;
    Ok(Reading { status, stamp, is_running, read_at: clock::now() })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::account::{ReloadStatus, WorkerStatus};
    use crate::sys::locked_file::LockedFile;

    fn written(status: &Status) -> (tempfile::TempDir, std::path::PathBuf, LockedFile) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status");
        let file = LockedFile::open(&path, 0o640).unwrap();
        let mut bytes = Vec::new();
        page::encode(status, Stamp::default(), &mut bytes);
        file.write(&bytes).unwrap();
        (folder, path, file)
    }

    #[test]
    fn the_exit_code_says_whether_it_serves_and_how_the_last_reload_ended() {
        use {Phase::*, ReloadState as R};
        for (phase, state, running, exit) in [
            (Starting, R::None, true, StatusExit::NotServing),
            (Serving, R::None, true, StatusExit::Serving),
            (Serving, R::Running, true, StatusExit::Serving),
            (Serving, R::Done, true, StatusExit::Serving),
            (Serving, R::Failed, true, StatusExit::ReloadFailed),
            (Serving, R::Failed, false, StatusExit::NotServing),
            (Serving, R::Done, false, StatusExit::NotServing),
            (Stopping, R::None, true, StatusExit::NotServing),
            (Stopped, R::None, false, StatusExit::NotServing),
        ] {
            let reload = ReloadStatus { state, replaced: 1, of: 2 };
            let status = Status { phase, reload, ..Status::default() };
            let (_folder, path, file) = written(&status);
            let _held = running.then_some(file);
            assert_eq!(read(&path).unwrap().exit(), exit, "{phase:?} {state:?} {running}");
        }
    }

    #[test]
    fn what_is_no_status_file_is_told_apart() {
        let (folder, path, file) = written(&Status::default());
        let exit = |path: &Path| read(path).unwrap_err().exit();
        let other = folder.path().join("other");
        assert!(matches!(read(&other), Err(ReadError::Absent)));
        assert_eq!(exit(&other), StatusExit::NotServing);
        std::fs::write(&other, "").unwrap();
        assert!(matches!(read(&other), Err(ReadError::Absent)));
        std::fs::write(&other, "a shopping list").unwrap();
        assert!(matches!(read(&other), Err(ReadError::Page(PageError::Foreign))));
        assert_eq!(exit(&other), StatusExit::Unreadable);
        assert_eq!(exit(folder.path()), StatusExit::Unreadable);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&other, &whole[..whole.len() - 1]).unwrap();
        assert!(matches!(read(&other), Err(ReadError::Page(PageError::Torn))));
        drop(file);
    }

    #[test]
    fn a_reader_never_sees_half_of_a_write() {
        // Every number of a page is the same; pages grow and shrink.
        let numbered = |number: u32| {
            let mut status = Status { generation: number, ..Status::default() };
            let worker = WorkerStatus { on_loan: number, pid: number, ..WorkerStatus::default() };
            status.workers = vec![worker; (number % 40) as usize];
            status.workers_in_all = status.workers.len() as u32;
            status
        };
        let (_folder, path, file) = written(&numbered(0));
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut bytes = Vec::new();
                let mut number = 0;
                while !is_over.load(Ordering::Relaxed) {
                    number += 1;
                    page::encode(&numbered(number), Stamp::default(), &mut bytes);
                    file.write(&bytes).unwrap();
                }
            });
            for _ in 0..2_000 {
                // A writer without a pause, which no master is, may have every look torn.
                let status = match read(&path) {
                    Ok(reading) => reading.status,
                    Err(ReadError::Page(PageError::Torn)) => continue,
                    Err(error) => panic!("{error}"),
                };
                assert_eq!(status, numbered(status.generation));
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }
}
