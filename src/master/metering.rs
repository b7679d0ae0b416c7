//! The memory of the meters, for as long as the server lives: the master makes it and passes it on.
//!
//! There is none without an admin address, where nobody would read it; and once there is one it
//! stays, through reloads and upgrades, because every number in it only ever rises.
//!
//! Not here: what stands in it (`meters`), who reads it (`admin`).

use std::sync::Arc;

use tracing::warn;

use crate::config::Settings;
use crate::master::Master;
use crate::meters::{METERS_BYTES, Reader, lay_out};
use crate::sys::shm::SharedMemory;
use crate::sys::upgrade::Adopter;

/// The meters of a server that starts, or that goes on from another image. A server serves without
/// them too.
pub(super) fn open(
    settings: &Settings,
    left: Option<i32>,
    adopter: &mut Adopter,
) -> Option<Arc<SharedMemory>> {
    // Adopted in any case: nobody else would close it.
    let left = left.and_then(|number| adopter.adopt(number).ok());
    let kept = left.and_then(|memory| {
        let ours = SharedMemory::adopt(memory, METERS_BYTES).map(Arc::new);
        let ours = ours.ok().filter(|memory| Reader::attach(Arc::clone(memory)).is_ok());
        if ours.is_none() {
            // The other version's workers add to them for as long as they live, which is not long.
            warn!("the meters of the other version are none that this one knows: they begin anew");
        }
        ours
    });
    if kept.is_none() && !settings.admin.is_empty() { create() } else { kept }
}

fn create() -> Option<Arc<SharedMemory>> {
    let memory = match SharedMemory::create(METERS_BYTES) {
        Ok(memory) => Arc::new(memory),
        Err(cause) => {
            warn!(%cause, "no meters");
            return None;
        }
    };
    lay_out(&memory).ok()?;
    Some(memory)
}

impl Master {
    /// Settings have been read again: workers that are started from now on add to meters, if
    /// somebody may read them.
    pub(super) fn settle_meters(&mut self) {
        if self.meters.is_none() && !self.settings.admin.is_empty() {
            self.meters = create();
        }
    }
}
