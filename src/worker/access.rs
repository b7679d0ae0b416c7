//! What the access log says of a request, collected while it passes.
//!
//! Nothing of this exists without `--access-log`.
//!
//! Not here: the form of a line, and who writes it (`observe::access`).

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{REFERER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};

use crate::http::{RequestHead, Target};
use crate::ident::PeerAddress;
use crate::meters::{Counter, Histogram};
use crate::observe::access::{AccessRecord, RequestLine};
use crate::sys::clock;
use crate::time::Nanos;
use crate::worker::session::Session;
use crate::worker::shell::Shell;

/// One request, as far as it is known.
pub(super) struct AccessNote {
    line: Option<(Method, Target, Version)>,
    referer: Option<Bytes>,
    user_agent: Option<Bytes>,
    request_id: Option<HeaderValue>,
    client: Option<PeerAddress>,
    began_at: Nanos,
    time: SystemTime,
    status: StatusCode,
    bytes: u64,
}

impl AccessNote {
    fn new(began_at: Nanos) -> Self {
        AccessNote {
            line: None,
            referer: None,
            user_agent: None,
            request_id: None,
            client: None,
            began_at,
            time: SystemTime::now(),
            status: StatusCode::OK,
            bytes: 0,
        }
    }
}

impl Session {
    /// A request has been understood.
    pub(super) fn note_request(&mut self, head: &RequestHead, shell: &Shell) {
        if shell.access_log.is_none() {
            return;
        }
        let mut note = AccessNote::new(shell.now);
        note.line = Some((head.method.clone(), head.target.clone(), head.version));
        note.referer = value(&head.headers, &REFERER);
        note.user_agent = value(&head.headers, &USER_AGENT);
        note.request_id.clone_from(&self.request_id);
        note.client = Some(self.origin.client);
        self.note = Some(Box::new(note));
    }

    /// A response has begun; `bytes` of body are declared.
    pub(super) fn note_response(&mut self, status: StatusCode, bytes: u64, shell: &Shell) {
        self.status = status.as_u16();
        if shell.access_log.is_none() {
            return;
        }
        let note = self.note.get_or_insert_with(|| Box::new(AccessNote::new(shell.now)));
        note.status = status;
        note.bytes = bytes;
    }

    /// More of a body whose length was not declared.
    pub(super) fn note_bytes(&mut self, more: u64) {
        if let Some(note) = &mut self.note {
            note.bytes += more;
        }
    }

    /// The response has left: it is counted and measured.
    pub(super) fn meter_response(&self, shell: &Shell) {
        if let Some(meters) = &shell.meters {
            meters.count_response(self.status);
            meters.measure(Histogram::Service, clock::now().since(self.claimed_at));
        }
    }

    /// The response has left: its line is written.
    pub(super) fn log_access(&mut self, shell: &mut Shell) {
        let (Some(log), Some(note)) = (&mut shell.access_log, self.note.take()) else { return };
        let now = clock::now();
        let dropped_before = log.dropped();
        let request = note.line.as_ref().map(|(method, target, version)| RequestLine {
            method,
            target: target.as_str(),
            version: *version,
        });
        let duration: Duration = now.since(note.began_at);
        log.write(&AccessRecord {
            peer: note.client.unwrap_or(self.origin.peer),
            time: note.time,
            request,
            status: note.status,
            bytes: note.bytes,
            referer: note.referer.as_deref(),
            user_agent: note.user_agent.as_deref(),
            request_id: note.request_id.as_ref().map(HeaderValue::as_bytes),
            worker: self.origin.worker,
            queue_time: self.queue_time.take(),
            duration,
        });
        // The log's own thread drops nothing: it is this line that found no room.
        let dropped = log.dropped().saturating_sub(dropped_before);
        if dropped > 0 {
            shell.count(Counter::LogLinesDropped, dropped);
        }
    }
}

fn value(headers: &HeaderMap, name: &HeaderName) -> Option<Bytes> {
    headers.get(name).map(|value| Bytes::copy_from_slice(value.as_bytes()))
}
