//! The helper process: a worker without a slot, which answers operators.
//!
//! Not here: starting it (`master::admin`), what it answers (`routes`).

use std::sync::Arc;
use std::time::Duration;

use crate::admin::agent_check;
use crate::admin::frame::AGENT_LISTENER;
use crate::admin::link::Link;
use crate::admin::routes::Routes;
use crate::admin::seeing::Seeing;
use crate::config::{
    ADMIN_BODY_SIZE_MAX, ADMIN_CONNECTIONS_MAX, ADMIN_KEEP_ALIVE, ADMIN_TIMEOUT, Accept, Arm,
    BUFFER_MAX, HELPER_LEAVES_WITHIN, HttpLimits, Lifecycle, Settings,
};
use crate::sys::inherit::HelperInheritance;
use crate::worker::{self, WorkerError, alone};

pub use crate::admin::routes::SetLogLevel;

/// Answers operators until the master goes.
///
/// # Errors
/// The helper could not begin.
pub fn run(inheritance: HelperInheritance, set_log_level: SetLogLevel) -> Result<(), WorkerError> {
    let HelperInheritance { channel, status, meters, mut listeners } = inheritance;
    let agent = listeners.iter().position(|(id, _)| *id == AGENT_LISTENER);
    let agent = agent.map(|place| listeners.swap_remove(place).1);
    let (inheritance, mut leash) = alone::inheritance(listeners).map_err(WorkerError::Start)?;
    let link = Arc::new(Link::new(channel));
    let seeing = Arc::new(Seeing::new(status, meters, Arc::clone(&link)));
    if let Some(agent) = agent {
        agent_check::serve(agent, Arc::clone(&seeing)).map_err(WorkerError::Start)?;
    }
    // The next helper has the same listeners: what is not answered here waits for it.
    link.listen(move || leash.leave(leaves_within())).map_err(WorkerError::Start)?;
    worker::run(Arc::new(settings()), Arc::new(Routes { link, seeing, set_log_level }), inheritance)
}

/// Before the master's patience ends.
fn leaves_within() -> Duration {
    HELPER_LEAVES_WITHIN / 2
}

/// Those of a worker that nobody has configured: small, and the same for every server.
fn settings() -> Settings {
    let arm = Arm::Shared;
    Settings {
        accept: Accept {
            arm,
            batch: arm.batch_default(),
            open_max: ADMIN_CONNECTIONS_MAX,
            ..Accept::default()
        },
        threads: 1,
        lifecycle: Lifecycle { graceful_timeout: leaves_within(), ..Lifecycle::default() },
        http: HttpLimits {
            request_line_max: ADMIN_BODY_SIZE_MAX,
            fields_max: 64,
            field_size_max: ADMIN_BODY_SIZE_MAX,
            body_max: Some(ADMIN_BODY_SIZE_MAX as u64),
            header_timeout: ADMIN_TIMEOUT,
            body_timeout: ADMIN_TIMEOUT,
            keep_alive: ADMIN_KEEP_ALIVE,
            write_timeout: ADMIN_TIMEOUT,
            // Whole before the one thread is taken, and gone from it at once: no client holds it.
            buffer_request: ADMIN_BODY_SIZE_MAX,
            buffer_response: BUFFER_MAX,
        },
        ..Settings::default()
    }
}
