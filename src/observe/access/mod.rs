//! The access log: a line a request, in a form that the operator chooses.
//!
//! ```text
//! 192.0.2.7 - - [23/Nov/2026:08:52:10 +0000] "GET / HTTP/1.1" 200 19 "-" "curl/8"
//!     worker=3 gen=7 queue=0.120ms time=1.034ms
//! ```
//! (on one line) is the usual one: existing readers of the combined format take it as it is and
//! ignore the rest. docs/logging.md has the others.
//!
//! Each worker writes its own lines, whole, through a [`LossyWriter`]. Nothing but lines stands in
//! this log, so that strict readers find what they expect: how many were lost, the log says.
//!
//! Not here: what a request is (`http`), how queue time is measured (`worker`), the form's grammar
//! (`config::access_format`), the making of a line (`render`).

mod render;

use std::io;
use std::time::{Duration, SystemTime};

use http::{StatusCode, Version};
use tracing::warn;

use crate::config::{
    ACCESS_LOG_REST, AccessFormat, AccessLogOptions, LOG_BUFFER_SIZE_MAX, LOG_FLUSH_MAX,
    LOST_LINES_PAUSE, Owner,
};
use crate::ident::{Incarnation, PeerAddress};
use crate::observe::lossy::{Habits, LossyWriter};
use crate::observe::sink::{self, Severity, Sink};

pub use render::Renderer;

/// What one line tells.
#[derive(Clone, Copy)]
pub struct AccessRecord<'a> {
    /// The client, as a believed proxy names it where there is one.
    pub peer: PeerAddress,
    /// When the request's first byte was read.
    pub time: SystemTime,
    /// The request line; none where the request was refused before it was understood.
    pub request: Option<RequestLine<'a>>,
    /// The status that was sent.
    pub status: StatusCode,
    /// Bytes of the response's body that were sent, without chunk framing.
    pub bytes: u64,
    /// Whether all of the response was sent.
    pub complete: bool,
    /// Fields of request and response, those that the form wants.
    pub fields: &'a dyn FieldValues,
    /// The request's id, with `--request-id`.
    pub request_id: Option<&'a [u8]>,
    /// Who served it.
    pub worker: Incarnation,
    /// How long the connection had waited for a worker, where that is known.
    pub queue_time: Option<Duration>,
    /// From the request's first byte to the response's last.
    pub duration: Duration,
    /// What of it passed until the handler was called, until that had answered, and until all was
    /// sent; none where no handler was called.
    pub parts: Option<Parts>,
}

/// What a request's time went into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// From the request's first byte until its handler was called.
    pub receiving: Duration,
    /// Until the handler had answered; what it still makes of a streamed body is `sending`.
    pub handling: Duration,
    /// Until the last byte of the response was with the kernel.
    pub sending: Duration,
}

/// A request line, as it was understood.
#[derive(Clone, Copy, Debug)]
pub struct RequestLine<'a> {
    /// The method.
    pub method: &'a [u8],
    /// The target as it was sent.
    pub target: &'a [u8],
    /// The target's path, as it was sent.
    pub path: &'a [u8],
    /// What stands behind the target's question mark.
    pub query: Option<&'a [u8]>,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
}

/// The fields that [`WantedFields`](crate::config::WantedFields) names, by their places in it.
pub trait FieldValues {
    /// Of the request.
    fn of_request(&self, place: usize) -> Option<&[u8]>;
    /// Of the response.
    fn of_response(&self, place: usize) -> Option<&[u8]>;
}

/// The access log of one process.
#[derive(Debug)]
pub struct AccessLog {
    writer: LossyWriter,
    renderer: Renderer,
    line: Vec<u8>,
}

impl AccessLog {
    /// Opens the log; starts its thread.
    ///
    /// # Errors
    /// Its destination cannot be opened.
    pub fn open(options: &AccessLogOptions) -> io::Result<AccessLog> {
        AccessLog::to_sink(&options.format, sink::open(&options.to, Owner::default())?)
    }

    /// Opens the log on any sink; starts its thread.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn to_sink(format: &AccessFormat, sink: Box<dyn Sink>) -> io::Result<AccessLog> {
        let habits = Habits {
            name: "access-log",
            size_max: LOG_BUFFER_SIZE_MAX,
            rest: ACCESS_LOG_REST,
            notice: Box::new(|dropped, cause| {
                match cause {
                    Some(cause) => warn!(dropped, %cause, "lines of the access log are lost"),
                    None => warn!(dropped, "lines of the access log are lost: its reader is slow"),
                }
                None
            }),
            notice_pause: LOST_LINES_PAUSE,
        };
        let writer = LossyWriter::start_with(habits, sink)?;
        let variable = |name: &str| std::env::var_os(name);
        let renderer = Renderer::new(format, std::process::id(), &variable);
        Ok(AccessLog { writer, renderer, line: Vec::new() })
    }

    /// Leaves a line to be written; never waits.
    pub fn write(&mut self, record: &AccessRecord<'_>) {
        self.line.clear();
        self.renderer.render(record, &mut self.line);
        self.writer.write_line(&self.line, Severity::Info);
    }

    /// Lines dropped because the log's reader was too slow, or would not have them.
    pub fn dropped(&self) -> u64 {
        self.writer.dropped()
    }

    /// Waits for the last lines, for a bounded time; says whether they are written.
    pub fn flush(&self) -> bool {
        self.writer.flush(LOG_FLUSH_MAX)
    }
}

#[cfg(test)]
mod tests;
