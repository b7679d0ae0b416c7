//! What the logs say of a request, collected while it passes.
//!
//! Nothing of this exists without `--access-log` or `--slow-log`. A note is used again for the next
//! request; what it keeps of fields shares their memory.
//!
//! Not here: the form of a line, and who writes it (`observe::access`, `observe::slow`).

use std::time::SystemTime;

use http::header::HeaderValue;
use http::{HeaderMap, HeaderName, Method, StatusCode, Version};

use crate::config::SPARE_NOTES_MAX;
use crate::http::{RequestHead, Target};
use crate::ident::PeerAddress;
use crate::meters::{Counter, Histogram};
use crate::observe::access::{AccessRecord, FieldValues, Parts, RequestLine};
use crate::sys::clock;
use crate::time::Nanos;
use crate::worker::session::Session;
use crate::worker::shell::Shell;

/// One request, as far as it is known.
pub(crate) struct AccessNote {
    line: Option<(Method, Target, Version)>,
    fields: Fields,
    request_id: Option<HeaderValue>,
    client: Option<PeerAddress>,
    began_at: Nanos,
    time: SystemTime,
    /// When its handler was called, and had answered.
    called_at: Option<Nanos>,
    answered_at: Option<Nanos>,
    status: StatusCode,
    bytes: u64,
}

#[derive(Default)]
struct Fields {
    request: Vec<Option<HeaderValue>>,
    response: Vec<Option<HeaderValue>>,
}

impl FieldValues for Fields {
    fn of_request(&self, place: usize) -> Option<&[u8]> {
        self.request.get(place)?.as_ref().map(HeaderValue::as_bytes)
    }

    fn of_response(&self, place: usize) -> Option<&[u8]> {
        self.response.get(place)?.as_ref().map(HeaderValue::as_bytes)
    }
}

impl Fields {
    fn clear(&mut self) {
        self.request.clear();
        self.response.clear();
    }
}

impl AccessNote {
    fn new() -> Self {
        AccessNote {
            line: None,
            fields: Fields::default(),
            request_id: None,
            client: None,
            began_at: Nanos(0),
            time: SystemTime::UNIX_EPOCH,
            called_at: None,
            answered_at: None,
            status: StatusCode::OK,
            bytes: 0,
        }
    }

    /// For a request that began then.
    fn begin(&mut self, began_at: Nanos, now: Nanos) {
        self.line = None;
        self.fields.clear();
        (self.request_id, self.client) = (None, None);
        self.began_at = began_at;
        let time = SystemTime::now();
        self.time = time.checked_sub(now.since(began_at)).unwrap_or(time);
        (self.called_at, self.answered_at) = (None, None);
        self.bytes = 0;
    }
}

impl Session {
    /// The first bytes of a request are here, and its head is not complete.
    pub(super) fn note_beginning(&mut self, shell: &Shell) {
        if shell.request_log.is_some() && self.arriving.is_none() {
            self.head_began_at.get_or_insert(shell.now);
        }
    }

    /// A request has been understood.
    pub(super) fn note_request(&mut self, head: &RequestHead, shell: &mut Shell) {
        let Some(mut note) = self.new_note(shell) else { return };
        let Some(log) = &shell.request_log else { return };
        note.line = Some((head.method.clone(), head.target.clone(), head.version));
        keep(&head.headers, &log.fields().request, &mut note.fields.request);
        note.request_id.clone_from(&self.request_id);
        note.client = Some(self.origin.client);
        self.note = Some(note);
    }

    /// Its handler is called, or a thread has it.
    pub(super) fn note_call(&mut self, shell: &Shell) {
        if let Some(note) = &mut self.note {
            note.called_at = Some(shell.now);
        }
    }

    /// A response has begun; `bytes` of body are declared.
    pub(super) fn note_response(
        &mut self,
        status: StatusCode,
        headers: Option<&HeaderMap>,
        bytes: u64,
        shell: &mut Shell,
    ) {
        self.status = status.as_u16();
        if self.note.is_none() {
            self.note = self.new_note(shell);
        }
        let (Some(note), Some(log)) = (&mut self.note, &shell.request_log) else { return };
        note.status = status;
        note.bytes = bytes;
        note.answered_at = Some(shell.now);
        note.fields.response.clear();
        if let Some(headers) = headers {
            keep(headers, &log.fields().response, &mut note.fields.response);
        }
    }

    /// The id that the answer says; one whose request was understood has been noted with it.
    pub(super) fn note_request_id(&mut self, id: Option<HeaderValue>) {
        if let Some(note) = &mut self.note {
            note.request_id = id;
        }
    }

    /// More of a body whose length was not declared.
    pub(super) fn note_bytes(&mut self, more: u64) {
        if let Some(note) = &mut self.note {
            note.bytes += more;
        }
    }

    /// Of what was noted so many bytes have not left, and will not.
    pub(super) fn note_unsent(&mut self, bytes: u64) {
        if let Some(note) = &mut self.note {
            note.bytes = note.bytes.saturating_sub(bytes);
        }
    }

    /// The response has left: it is counted and measured.
    pub(super) fn meter_response(&self, shell: &Shell) {
        if let Some(meters) = &shell.meters {
            meters.count_response(self.status);
            // By the turn's one reading of the clock, as its claim was: another one would cost more
            // than all that is added up, for the microseconds that the last write has taken.
            meters.measure(Histogram::Service, shell.now.since(self.claimed_at));
        }
    }

    /// The response has left; or as much of it as ever will.
    pub(super) fn log_access(&mut self, complete: bool, shell: &mut Shell) {
        let Some(note) = self.note.take() else { return };
        let Some(log) = &mut shell.request_log else { return };
        // A request without an answer has no line: there is no status to say.
        let Some(answered_at) = note.answered_at else { return };
        let now = clock::now();
        let request = note.line.as_ref().map(|(method, target, version)| RequestLine {
            method: method.as_str().as_bytes(),
            target: target.as_str().as_bytes(),
            path: target.path().as_bytes(),
            query: target.query().map(str::as_bytes),
            version: *version,
        });
        let parts = note.called_at.map(|called_at| Parts {
            receiving: called_at.since(note.began_at),
            handling: answered_at.since(called_at),
            sending: now.since(answered_at),
        });
        let record = AccessRecord {
            peer: note.client.unwrap_or(self.origin.peer),
            time: note.time,
            request,
            status: note.status,
            bytes: note.bytes,
            complete,
            fields: &note.fields,
            request_id: note.request_id.as_ref().map(HeaderValue::as_bytes),
            worker: self.origin.worker,
            queue_time: self.queue_time.take(),
            duration: now.since(note.began_at),
            parts,
        };
        log.write(&record, now);
        let lost = log.newly_dropped();
        if lost > 0 {
            shell.count(Counter::LogLinesDropped, lost);
        }
        if shell.spare_notes.len() < SPARE_NOTES_MAX {
            shell.spare_notes.push(note);
        }
    }

    /// A note for a request that begins now, or has begun with its first bytes.
    fn new_note(&mut self, shell: &mut Shell) -> Option<Box<AccessNote>> {
        shell.request_log.as_ref()?;
        let mut note = shell.spare_notes.pop().unwrap_or_else(|| Box::new(AccessNote::new()));
        let began_at = self.head_began_at.take().unwrap_or(shell.now);
        note.begin(began_at, shell.now);
        Some(note)
    }
}

fn keep(headers: &HeaderMap, names: &[HeaderName], kept: &mut Vec<Option<HeaderValue>>) {
    kept.extend(names.iter().map(|name| headers.get(name).cloned()));
}
