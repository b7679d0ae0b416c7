//! What a worker writes down of each request: its line in the access log, and that it was slow.
//!
//! Not here: the two of them (`access`, `slow`), what is known of a request (`worker::access`).

use std::io;

use tracing::warn;

use crate::config::{Settings, WantedFields};
use crate::observe::access::{AccessLog, AccessRecord};
use crate::observe::slow::SlowLog;
use crate::time::Nanos;

/// Both logs, as far as they are wanted.
#[derive(Debug)]
pub struct RequestLog {
    access: Option<AccessLog>,
    slow: Option<SlowLog>,
    fields: WantedFields,
    /// Lost lines that [`RequestLog::newly_dropped`] has told of.
    dropped_told: u64,
}

impl RequestLog {
    /// What the settings ask for; none where that is nothing.
    ///
    /// # Errors
    /// The access log cannot be opened.
    pub fn open(settings: &Settings) -> io::Result<Option<RequestLog>> {
        let options = settings.access_log.as_ref();
        let access = options.map(AccessLog::open).transpose()?;
        let slow = settings.slow_log.map(SlowLog::new);
        if access.is_none() && slow.is_none() {
            return Ok(None);
        }
        let fields = options.map(|options| options.format.fields().clone()).unwrap_or_default();
        Ok(Some(RequestLog { access, slow, fields, dropped_told: 0 }))
    }

    /// Which fields are to be kept of a request and its response.
    pub fn fields(&self) -> &WantedFields {
        &self.fields
    }

    /// Writes a request down; never waits.
    pub fn write(&mut self, record: &AccessRecord<'_>, now: Nanos) {
        if let Some(access) = &mut self.access {
            access.write(record);
        }
        if let Some(slow) = &mut self.slow {
            slow.write(record, now);
        }
    }

    /// Lines of the access log that were lost since it was last asked: no room, or no reader.
    pub fn newly_dropped(&mut self) -> u64 {
        let dropped = self.access.as_ref().map_or(0, AccessLog::dropped);
        dropped - std::mem::replace(&mut self.dropped_told, dropped)
    }

    /// The process is about to end: the last lines are waited for, for a bounded time.
    pub fn finish(&self) {
        let Some(access) = &self.access else { return };
        let written = access.flush();
        let dropped = access.dropped();
        if dropped > 0 || !written {
            warn!(dropped, "the access log is not complete");
        }
    }
}
