//! A worker without a master: it serves what it accepts from its listeners, and is told to leave by
//! whoever has made it.
//!
//! The helper process of `--admin` is one. Its page is read by nobody, and it is in no slot; all else
//! is as with `--accept shared`, so that limits, deadlines and HTTP are the same code.
//!
//! Not here: what it answers (`admin`).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use crate::board::{MasterPage, page_bytes};
use crate::config::LOANS_MAX;
use crate::handoff::{DrainMode, MasterEnd, ToWorker};
use crate::ident::{Incarnation, ListenerId};
use crate::sys::fdpass;
use crate::sys::inherit::Inheritance;
use crate::sys::shm::SharedMemory;

/// By what a worker without a master is told to leave. It leaves when this is dropped, too.
#[derive(Debug)]
pub struct Leash(MasterEnd);

/// What [`run`](super::run) needs of a worker that accepts from these listeners.
///
/// # Errors
/// No descriptor, or no memory.
pub fn inheritance(listeners: Vec<(ListenerId, OwnedFd)>) -> io::Result<(Inheritance, Leash)> {
    let (ours, theirs) = fdpass::socketpair()?;
    let memory = SharedMemory::create(page_bytes(LOANS_MAX))?;
    let page = memory.as_fd().try_clone_to_owned()?;
    MasterPage::new(memory, LOANS_MAX).map_err(io::Error::other)?;
    let inheritance = Inheritance {
        channel: theirs,
        page: Some(page),
        alarm: None,
        bell: None,
        meters: None,
        listeners,
        incarnation: Incarnation::default(),
    };
    Ok((inheritance, Leash(MasterEnd::new(ours))))
}

impl Leash {
    /// It accepts nothing more, from now on, and ends when what it has is answered; at the latest
    /// after this time.
    pub fn leave(&mut self, within: Duration) {
        // Gone already is as good. The channel has room: nothing else is said through it.
        let _ = self.0.send(&ToWorker::Drain { mode: DrainMode::HandOver, graceful: within });
    }
}
