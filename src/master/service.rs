//! What the service manager hears: that the server is ready, reloads, stops, and still lives.
//!
//! systemd's protocol (sd_notify(3)), also spoken by others. Each message is sent once; what cannot
//! be sent is not worth a second thought, but the watchdog's next one.
//!
//! Not here: the socket (`sys::notify`).

use std::time::Duration;

use tracing::{debug, warn};

use crate::config::SERVICE_MARGIN;
use crate::supervise::{Reload, ReloadReport};
use crate::sys::notify::{self, Notifier};
use crate::time::Nanos;

/// The service manager, if there is one.
#[derive(Debug)]
pub(crate) struct Service {
    notifier: Option<Notifier>,
    /// Half of the watchdog's time, and when the next sign of life is due.
    watchdog: Option<(Duration, Nanos)>,
    status: String,
    is_ready: bool,
}

impl Service {
    /// What the environment says. `start_max` is what a start may take, if this is one: the service
    /// manager's own patience may be shorter. One that cannot be told (an address of another kind
    /// than a Unix socket's) is no reason not to serve.
    pub(crate) fn from_environment(now: Nanos, start_max: Option<Duration>) -> Self {
        let notifier = Notifier::from_environment().unwrap_or_else(|cause| {
            warn!(%cause, "the service manager hears nothing");
            None
        });
        let half = notifier.as_ref().and_then(|_| notify::watchdog_timeout()).map(|all| all / 2);
        let watchdog = half.map(|half| (half.max(Duration::from_millis(1)), now));
        let service = Service { notifier, watchdog, status: String::new(), is_ready: false };
        if let Some(most) = start_max {
            service.send(&extension(most));
        }
        service
    }

    /// The server serves.
    pub(crate) fn ready(&mut self) {
        self.is_ready = true;
        self.send("READY=1");
    }

    /// Another image of this process has said that the server serves, and that it reloads now.
    pub(crate) fn resume(&mut self) {
        self.is_ready = true;
    }

    /// How many workers serve, of how many: sent when it has changed.
    pub(crate) fn workers(&mut self, serving: usize, wanted: u16, reload: &ReloadReport) {
        if self.notifier.is_none() {
            return;
        }
        let status = status(serving, wanted, reload);
        if status != self.status {
            self.send(&status);
            self.status = status;
        }
    }

    /// Workers are being replaced. The time tells this reload from an earlier one (`Type=notify-
    /// reload`); it is the same clock as ours.
    pub(crate) fn reloading(&self, now: Nanos) {
        if self.is_ready {
            self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.0 / 1000));
        }
    }

    /// That has come to an end, good or bad: either way the server serves as it did.
    pub(crate) fn reloaded(&self) {
        if self.is_ready {
            self.send("READY=1");
        }
    }

    /// A reload that was refused before it began. Who has asked for it (`systemctl reload` of a
    /// `Type=notify-reload`) waits until it is over all the same.
    pub(crate) fn reload_refused(&self, now: Nanos) {
        self.reloading(now);
        self.reloaded();
    }

    /// The server ends, within this time at the most.
    pub(crate) fn stopping(&self, stop_max: Duration) {
        self.send(&format!("STOPPING=1\n{}", extension(stop_max)));
    }

    /// A sign of life, if one is due.
    pub(crate) fn handle_time(&mut self, now: Nanos) {
        if let Some((half, due_at)) = &mut self.watchdog
            && now >= *due_at
        {
            *due_at = now + *half;
            self.send("WATCHDOG=1");
        }
    }

    /// When the next one is.
    pub(crate) fn next_deadline(&self) -> Option<Nanos> {
        self.watchdog.map(|(_, due_at)| due_at)
    }

    fn send(&self, message: &str) {
        if let Some(Err(cause)) = self.notifier.as_ref().map(|notifier| notifier.send(message)) {
            debug!(%cause, message, "telling the service manager");
        }
    }
}

/// Asks for patience. It never shortens what the unit grants (sd_notify(3), EXTEND_TIMEOUT_USEC).
fn extension(most: Duration) -> String {
    let most = most.saturating_add(SERVICE_MARGIN);
    format!("EXTEND_TIMEOUT_USEC={}", u64::try_from(most.as_micros()).unwrap_or(u64::MAX))
}

fn status(serving: usize, wanted: u16, reload: &ReloadReport) -> String {
    let ReloadReport { replaced, of, .. } = reload;
    let workers = format!("STATUS={serving} of {wanted} workers serve");
    match reload.state {
        Reload::Done => workers,
        Reload::Running => format!("{workers}; {replaced} of {of} replaced"),
        Reload::Failed => format!("{workers}; the reload failed, {replaced} of {of} replaced"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_says_how_many_serve_and_how_a_reload_stands() {
        let mut report = ReloadReport::default();
        assert_eq!(status(3, 4, &report), "STATUS=3 of 4 workers serve");
        report = ReloadReport { state: Reload::Running, replaced: 1, of: 4, failure: None };
        assert_eq!(status(4, 4, &report), "STATUS=4 of 4 workers serve; 1 of 4 replaced");
        report.state = Reload::Failed;
        let failed = "STATUS=4 of 4 workers serve; the reload failed, 1 of 4 replaced";
        assert_eq!(status(4, 4, &report), failed);
    }
}
