//! What the helper sees of the server: the status page that the master writes, what has happened,
//! and what /proc says of its workers.
//!
//! Not here: the page's bytes (`account::page`), the form for programs (`observe::view`).

use std::sync::{Arc, Mutex, PoisonError};

use crate::account::Happened;
use crate::admin::link::Link;
use crate::observe::status::{ReadError, processes::Processes, read_memory, view};
use crate::observe::view::{HappenedView, View};
use crate::sys::memory_file::MemoryReader;
use crate::sys::process;

/// Everything that is to be seen.
pub(super) struct Seeing {
    status: MemoryReader,
    link: Arc<Link>,
    master: u32,
    processes: Mutex<Processes>,
}

impl Seeing {
    pub(super) fn new(status: MemoryReader, link: Arc<Link>) -> Self {
        Seeing { status, link, master: process::parent(), processes: Mutex::default() }
    }

    /// Whether the master's process is there. It stays the same one through an upgrade, when the
    /// channel ends.
    pub(super) fn is_running(&self) -> bool {
        !self.link.has_ended() || process::parent() == self.master
    }

    /// This moment.
    ///
    /// # Errors
    /// The master has not written yet.
    pub(super) fn view(&self) -> Result<View, ReadError> {
        let reading = read_memory(&self.status, self.is_running())?;
        let mut view = view(&reading);
        self.processes.lock().unwrap_or_else(PoisonError::into_inner).fill(&mut view);
        view.happened = self.link.happened().into_iter().map(happened).collect();
        Ok(view)
    }
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
