//! What the helper sees of the server: the status page that the master writes, what has happened,
//! what the workers have added up, and what /proc says of them.
//!
//! Not here: the page's bytes (`account::page`), the form for programs (`observe::view`).

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::warn;

use crate::account::Happened;
use crate::admin::link::Link;
use crate::admin::metrics;
use crate::meters::{METERS_BYTES, Reader};
use crate::observe::status::{ReadError, processes::Processes, read_memory, view};
use crate::observe::view::{HappenedView, View};
use crate::sys::memory_file::MemoryReader;
use crate::sys::process;
use crate::sys::shm::ReadMemory;

/// Everything that is to be seen.
pub(super) struct Seeing {
    status: MemoryReader,
    meters: Option<Reader<ReadMemory>>,
    link: Arc<Link>,
    master: u32,
    processes: Mutex<Processes>,
}

impl Seeing {
    pub(super) fn new(status: MemoryReader, meters: Option<OwnedFd>, link: Arc<Link>) -> Self {
        let meters = meters.and_then(attach);
        Seeing { status, meters, link, master: process::parent(), processes: Mutex::default() }
    }

    /// Whether the master's process is there. It stays the same one through an upgrade, when the
    /// channel ends.
    pub(super) fn is_running(&self) -> bool {
        !self.link.has_ended() || process::parent() == self.master
    }

    /// This moment, as far as the master has written it.
    ///
    /// # Errors
    /// It has not yet.
    pub(super) fn brief(&self) -> Result<View, ReadError> {
        Ok(view(&read_memory(&self.status, self.is_running())?))
    }

    /// This moment.
    ///
    /// # Errors
    /// The master has not written yet.
    pub(super) fn view(&self) -> Result<View, ReadError> {
        let reading = read_memory(&self.status, self.is_running())?;
        let mut view = view(&reading);
        self.processes.lock().unwrap_or_else(PoisonError::into_inner).fill(&mut view);
        if let Some(meters) = &self.meters {
            metrics::fill(meters, &mut view);
        }
        view.happened = self.link.happened().into_iter().map(happened).collect();
        Ok(view)
    }
}

/// The meters, to be read. Without them all else is told.
fn attach(memory: OwnedFd) -> Option<Reader<ReadMemory>> {
    let mapped = ReadMemory::adopt(memory, METERS_BYTES)
        .inspect_err(|cause| warn!(%cause, "mapping the meters"))
        .ok()?;
    Reader::attach(mapped).inspect_err(|cause| warn!(%cause, "attaching to the meters")).ok()
}

fn happened(happened: Happened) -> HappenedView {
    let Happened { sequence, at_ms, kind, worker, text } = happened;
    HappenedView {
        sequence,
        at: crate::observe::status::moment(at_ms).to_string(),
        kind: kind.name().to_owned(),
        slot: worker.map(|(who, _)| who.slot.0),
        generation: worker.map(|(who, _)| who.generation.0),
        pid: worker.map(|(_, pid)| pid),
        text,
    }
}
