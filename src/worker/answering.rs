//! A session's writing side: a handler's answer becomes bytes on the socket.
//!
//! The usual answer leaves in one write, from the worker's one buffer, and nothing is kept. What
//! the socket does not take, files, and bodies that are made while they are sent are kept here, and
//! go on when the socket, or the handler thread, has more to give.
//!
//! Not here: what a response head says (`http::response`), the queue of bytes (`outgoing`).

use std::io;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{HeaderMap, StatusCode};
use tracing::{debug, error};

use crate::app::{Body, Pieces, Reason, WithoutDate};
use crate::config::{BODY_COPIED_MAX, PIECES_PER_TURN_MAX};
use crate::http::{BodyLength, Framing, Next, ResponseError, ResponseHead};
use crate::meters::Counter;
use crate::sys::stream::{self, Sent};
use crate::worker::introducing::X_REQUEST_ID;
use crate::worker::outgoing::{Flushed, Outgoing};
use crate::worker::pipe::{Pipe, Taken};
use crate::worker::pool::Answer;
use crate::worker::session::{Ending, Session, Verdict};
use crate::worker::sessions::SessionKey;
use crate::worker::shell::Shell;

/// A response that has begun to leave.
#[derive(Default)]
pub(super) struct Answering {
    outgoing: Outgoing,
    source: Source,
    /// The socket took nothing when it was last tried, and the client's deadline runs.
    stuck: bool,
}

/// Where the rest of the body comes from.
#[derive(Default)]
enum Source {
    /// There is no more.
    #[default]
    Nothing,
    /// Made here, on the loop, piece by piece.
    Pulled(Pieces),
    /// Made by a handler thread; what makes the rest, while no thread has it.
    Piped(Pipe, Option<Pieces>),
}

/// What a source has to give.
enum Piece {
    Bytes(Bytes),
    /// Later; somebody says when.
    NotYet,
    /// It has given everything.
    End,
    /// It has failed: the response can only be cut off.
    Broken,
}

impl Answering {
    /// Bytes that wait to leave.
    pub(super) fn unsent(&self) -> u64 {
        self.outgoing.size()
    }

    /// The connection ends while the response is here, or the body is not wanted. What makes it is
    /// dropped where it ran: that may take as long as running it.
    pub(super) fn abandon(self, key: SessionKey, shell: &mut Shell) {
        if let Source::Piped(pipe, rest) = self.source {
            pipe.fail(io::ErrorKind::BrokenPipe);
            if let Some(rest) = rest {
                shell.stream_on(key, rest, pipe);
            }
        }
    }
}

impl Session {
    /// A handler has answered.
    pub(crate) fn answer(&mut self, answer: Answer, key: SessionKey, shell: &mut Shell) -> Verdict {
        match answer {
            Answer::Whole(response) => {
                let (parts, body) = response.into_parts();
                match body {
                    Body::Empty => self.respond(parts, BodyLength::None, None, key, shell),
                    Body::Full(bytes) => {
                        let length = BodyLength::Known(bytes.len() as u64);
                        self.respond(parts, length, Some(Body::Full(bytes)), key, shell)
                    }
                    Body::File { file, offset, length } => {
                        let body = Body::File { file, offset, length };
                        self.respond(parts, BodyLength::Known(length), Some(body), key, shell)
                    }
                    Body::Stream { length, source } => {
                        let body = Body::Stream { length, source };
                        self.respond(parts, declared(length), Some(body), key, shell)
                    }
                }
            }
            Answer::Streamed(parts, length, pipe) => {
                self.answering = Some(Box::new(Answering {
                    source: Source::Piped(pipe, None),
                    ..Answering::default()
                }));
                self.respond(*parts, declared(length), None, key, shell)
            }
            Answer::Panicked(message) => {
                error!(
                    worker = shell.who.slot.0, gen = shell.who.generation.0,
                    peer = %self.origin.peer, %message, "a handler panicked"
                );
                shell.count_error();
                self.refuse(key, shell, StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }

    /// The thread that made the body in this pipe has left it: done, or because the client must
    /// read first. The session may be at its next response by now, which is another pipe.
    pub(crate) fn handle_stream_left(
        &mut self,
        left: &Pipe,
        rest: Option<Pieces>,
        key: SessionKey,
        shell: &mut Shell,
    ) -> Verdict {
        match (self.answering.as_deref_mut(), rest) {
            (Some(Answering { source: Source::Piped(pipe, place), .. }), rest) if pipe.is(left) => {
                *place = rest;
            }
            (_, Some(rest)) => shell.stream_on(key, rest, left.clone()),
            (_, None) => {}
        }
        self.handle_progress(key, shell)
    }

    /// Answers without a handler, and ends the connection.
    pub(super) fn refuse(
        &mut self,
        key: SessionKey,
        shell: &mut Shell,
        status: StatusCode,
    ) -> Verdict {
        let mut out = std::mem::take(&mut shell.out);
        out.clear();
        let explanation = status.canonical_reason().unwrap_or("refused");
        let id = self.take_request_id(shell);
        let headers: HeaderMap = id.iter().map(|id| (X_REQUEST_ID, id.clone())).collect();
        let begun = self.http.refuse(status, explanation, &headers, shell.date(), &mut out);
        let verdict = if begun {
            self.note_response(status, None, 0, shell);
            self.note_request_id(id);
            self.leave(&out, key, shell)
        } else {
            // A response is under way already; only a reset says that it is not complete.
            Verdict::End(Ending::Reset)
        };
        shell.out = out;
        verdict
    }

    /// The socket takes more, or the source has more.
    pub(super) fn go_on_answering(&mut self, key: SessionKey, shell: &mut Shell) -> Verdict {
        let Some(mut answering) = self.answering.take() else { return Verdict::Stay };
        for _ in 0..PIECES_PER_TURN_MAX {
            let flushed = answering.outgoing.flush(self.socket());
            shell.count(Counter::SentBytes, answering.outgoing.take_sent());
            match flushed {
                Ok(Flushed::All) => answering.stuck = false,
                Ok(Flushed::Blocked(sent)) => {
                    if sent > 0 || !std::mem::replace(&mut answering.stuck, true) {
                        self.set_deadline(key, shell, shell.settings.http.write_timeout);
                    }
                    self.answering = Some(answering);
                    shell.watch_writing(key, self);
                    return Verdict::Stay;
                }
                Err(cause) => {
                    debug!(peer = %self.origin.peer, %cause, "a response was cut off");
                    self.note_unsent(answering.unsent());
                    answering.abandon(key, shell);
                    return Verdict::End(Ending::Reset);
                }
            }
            if let Source::Piped(pipe, rest) = &mut answering.source
                && pipe.runs_low()
                && let Some(rest) = rest.take()
            {
                shell.stream_on(key, rest, pipe.clone());
            }
            match next_piece(&mut answering.source) {
                Piece::Bytes(bytes) => {
                    if self.push_piece(&mut answering.outgoing, bytes).is_err() {
                        answering.abandon(key, shell);
                        return self.cut_response(shell);
                    }
                }
                Piece::NotYet => {
                    // The handler takes its time: no deadline of the client's runs meanwhile.
                    shell.deadlines.set(key, &mut self.deadline, crate::time::Nanos::NEVER);
                    self.answering = Some(answering);
                    return Verdict::Stay;
                }
                Piece::End => {
                    let mut tail = Vec::new();
                    answering.source = Source::Nothing;
                    if self.http.next() != Next::Unfinished {
                        return self.after_response(key, shell);
                    }
                    if self.http.finish_response(&mut tail).is_err() {
                        return self.cut_response(shell);
                    }
                    answering.outgoing.push(Bytes::from(tail));
                }
                Piece::Broken => return self.cut_response(shell),
            }
        }
        // A client that reads as fast as we write waits its turn like the others.
        self.answering = Some(answering);
        shell.go_on_later(key, self);
        Verdict::Stay
    }

    /// Begins a response, and sends as much of it as the socket takes.
    fn respond(
        &mut self,
        mut parts: http::response::Parts,
        length: BodyLength,
        body: Option<Body>,
        key: SessionKey,
        shell: &mut Shell,
    ) -> Verdict {
        if shell.settings.worker_header {
            parts.headers.insert("x-maitred-worker", HeaderValue::from(shell.who.slot.0));
        }
        if let Some(id) = &self.request_id {
            parts.headers.insert(X_REQUEST_ID, id.clone());
        }
        shell.put_load(&mut parts.headers, &mut self.load_heard);
        let close = shell.finishing;
        let mut out = std::mem::take(&mut shell.out);
        out.clear();
        let has_date = parts.extensions.get::<WithoutDate>().is_none();
        let head = ResponseHead {
            status: parts.status,
            reason: parts.extensions.get::<Reason>().map(Reason::as_bytes),
            headers: &parts.headers,
            date: has_date.then(|| shell.date()),
        };
        let begun = self.http.respond_with(head, length, close, &mut out);
        let verdict = match begun {
            Ok(framing) => {
                self.request_id = None;
                // A body that comes in pieces is counted as it leaves.
                let whole = !matches!(body, Some(Body::Stream { .. })) && self.answering.is_none();
                let leaves = whole && framing != Framing::NoBody;
                let bytes = if leaves { length_of(length) } else { 0 };
                self.note_response(parts.status, Some(&parts.headers), bytes, shell);
                match self.add_body(framing, body, &mut out, key, shell) {
                    Ok(()) => self.leave(&out, key, shell),
                    Err(cause) => {
                        error!(%cause, "a response that cannot be sent");
                        self.note_unsent(u64::MAX);
                        shell.count_error();
                        Verdict::End(Ending::Reset)
                    }
                }
            }
            Err(cause) => {
                error!(
                    worker = shell.who.slot.0, gen = shell.who.generation.0,
                    %cause, "the application's response cannot be sent"
                );
                shell.count_error();
                shell.out = out;
                if let Some(answering) = self.answering.take() {
                    answering.abandon(key, shell);
                }
                return self.refuse(key, shell, StatusCode::INTERNAL_SERVER_ERROR);
            }
        };
        shell.out = out;
        verdict
    }

    /// Puts a body behind its head: small ones into the same buffer, others into the queue.
    fn add_body(
        &mut self,
        framing: Framing,
        body: Option<Body>,
        out: &mut Vec<u8>,
        key: SessionKey,
        shell: &mut Shell,
    ) -> Result<(), ResponseError> {
        if framing == Framing::NoBody {
            // An answer to HEAD, or a 304: whoever makes the body is told to stop.
            if let Some(answering) = self.answering.take() {
                answering.abandon(key, shell);
            }
            return self.http.finish_response(out);
        }
        match body {
            Some(Body::Full(bytes)) if bytes.len() <= BODY_COPIED_MAX => {
                let after = self.http.body_piece(bytes.len() as u64, out)?;
                out.extend_from_slice(&bytes);
                out.extend_from_slice(after);
                self.http.finish_response(out)
            }
            Some(Body::Full(bytes)) => {
                let after = self.http.body_piece(bytes.len() as u64, out)?;
                let mut answering = Answering::default();
                answering.outgoing.push(bytes);
                answering.outgoing.push(Bytes::from_static(after));
                self.finish_into(answering)
            }
            Some(Body::File { file, offset, length }) => {
                let after = self.http.body_piece(length, out)?;
                let mut answering = Answering::default();
                answering.outgoing.push_file(file, offset, length);
                answering.outgoing.push(Bytes::from_static(after));
                self.finish_into(answering)
            }
            Some(Body::Stream { source, .. }) => {
                let source = Source::Pulled(source);
                self.answering = Some(Box::new(Answering { source, ..Answering::default() }));
                Ok(())
            }
            // A thread is making it.
            Some(Body::Empty) | None if self.answering.is_some() => Ok(()),
            Some(Body::Empty) | None => self.http.finish_response(out),
        }
    }

    fn finish_into(&mut self, mut answering: Answering) -> Result<(), ResponseError> {
        let mut tail = Vec::new();
        self.http.finish_response(&mut tail)?;
        answering.outgoing.push(Bytes::from(tail));
        self.answering = Some(Box::new(answering));
        Ok(())
    }

    /// Sends what stands in the buffer, and then what follows it.
    fn leave(&mut self, out: &[u8], key: SessionKey, shell: &mut Shell) -> Verdict {
        // Before the first byte leaves: from here on the master takes a death for a reset.
        self.now_answering(shell);
        let is_last = self.answering.is_none() && self.http.next() == Next::Close;
        let send = if is_last { stream::send_before_end } else { stream::send };
        let sent = match send(self.socket(), out) {
            Ok(Sent::Bytes(count)) => {
                shell.count(Counter::SentBytes, count as u64);
                count
            }
            Ok(Sent::Full) => 0,
            Err(cause) => {
                debug!(peer = %self.origin.peer, %cause, "a client was gone before its answer");
                self.note_unsent(u64::MAX);
                return Verdict::End(Ending::Reset);
            }
        };
        if sent == out.len() && self.answering.is_none() {
            return self.after_response(key, shell);
        }
        let answering = self.answering.get_or_insert_default();
        answering.outgoing.push_first(Bytes::copy_from_slice(&out[sent..]));
        self.go_on_answering(key, shell)
    }

    /// Everything is with the kernel.
    fn after_response(&mut self, key: SessionKey, shell: &mut Shell) -> Verdict {
        self.requests_served = self.requests_served.saturating_add(1);
        if let Some(arriving) = self.arriving.take() {
            arriving.abandon();
        }
        self.meter_response(shell);
        self.log_access(true, shell);
        match self.http.next() {
            Next::KeepAlive => self.between_requests(key, shell),
            Next::Close => Verdict::End(Ending::Orderly),
            Next::CloseAfterDrain => self.linger(key, shell),
            Next::Unfinished => {
                debug_assert!(false, "a response is written and not finished");
                Verdict::End(Ending::Reset)
            }
        }
    }

    /// The response cannot be completed: the client must see that.
    fn cut_response(&mut self, shell: &mut Shell) -> Verdict {
        error!(
            worker = shell.who.slot.0, gen = shell.who.generation.0,
            peer = %self.origin.peer, "a response's body failed: cut off"
        );
        shell.count_error();
        Verdict::End(Ending::Reset)
    }

    fn push_piece(&mut self, outgoing: &mut Outgoing, bytes: Bytes) -> Result<(), ResponseError> {
        self.note_bytes(bytes.len() as u64);
        let mut before = Vec::new();
        let after = self.http.body_piece(bytes.len() as u64, &mut before)?;
        outgoing.push(Bytes::from(before));
        outgoing.push(bytes);
        outgoing.push(Bytes::from_static(after));
        Ok(())
    }
}

fn next_piece(source: &mut Source) -> Piece {
    match source {
        Source::Nothing => Piece::End,
        Source::Pulled(pieces) => {
            // A stranger's code on the loop: its panic ends the response, not the worker.
            let next = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pieces.next()));
            match next {
                Ok(Some(Ok(bytes))) => Piece::Bytes(bytes),
                Ok(None) => Piece::End,
                Ok(Some(Err(_))) | Err(_) => Piece::Broken,
            }
        }
        Source::Piped(pipe, _) => match pipe.take() {
            Taken::Piece(bytes) => Piece::Bytes(bytes),
            Taken::Empty => Piece::NotYet,
            Taken::Complete => Piece::End,
            Taken::Broken => Piece::Broken,
        },
    }
}

fn declared(length: Option<u64>) -> BodyLength {
    length.map_or(BodyLength::Unknown, BodyLength::Known)
}

fn length_of(length: BodyLength) -> u64 {
    match length {
        BodyLength::Known(length) => length,
        BodyLength::None | BodyLength::Unknown => 0,
    }
}
