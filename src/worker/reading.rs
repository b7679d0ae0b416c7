//! A session's reading side: bytes from the socket become a request for a handler.
//!
//! Bytes go through the worker's one scratch buffer; only what belongs to an incomplete request is
//! kept, so that an idle connection holds no buffer. A body up to `--buffer-request` is complete
//! before a handler thread is taken; a longer one takes a thread and arrives through a pipe, and
//! the socket is read only while the pipe has room.
//!
//! Not here: what the bytes may say (`http`), who they are from (`introducing`), the answer
//! (`answering`).

use std::io::{self, Read};

use bytes::{Buf, Bytes, BytesMut};

use crate::app::{Request, RequestBody};
use crate::config::{BODY_RATE_MIN, READS_PER_TURN_MAX};
use crate::http::{Awaits, BodyKind, Event, HttpError, RequestHead};
use crate::meters::Counter;
use crate::sys::stream::{self, Received};
use crate::time::Nanos;
use crate::worker::pipe::Pipe;
use crate::worker::pool::Progress;
use crate::worker::session::{Ending, Session, Stage, Verdict};
use crate::worker::sessions::SessionKey;
use crate::worker::shell::Shell;

/// A request that is arriving, or that a handler has.
pub(super) struct Arriving {
    /// Until the handler gets it.
    head: Option<RequestHead>,
    body: ArrivingBody,
    began_at: Nanos,
    received: u64,
}

enum ArrivingBody {
    Buffered(BytesMut),
    /// A handler reads from the other end.
    Piped(Pipe),
}

impl Arriving {
    fn new(head: RequestHead, began_at: Nanos) -> Self {
        Arriving {
            head: Some(head),
            body: ArrivingBody::Buffered(BytesMut::new()),
            began_at,
            received: 0,
        }
    }

    /// The connection ends while the request is here.
    pub(super) fn abandon(self) {
        if let ArrivingBody::Piped(pipe) = self.body {
            pipe.fail(io::ErrorKind::UnexpectedEof);
        }
    }
}

impl Session {
    /// Reads until the socket is drained or the session has other things to do.
    pub(super) fn read(&mut self, key: SessionKey, shell: &mut Shell) -> Verdict {
        self.flags.unread = false;
        self.receive_some(key, shell).unwrap_or_else(|| self.wait_for_bytes(key, shell))
    }

    /// As [`Session::read`]; `None` if there was not one byte, so that a claim can be undone.
    pub(super) fn receive_some(&mut self, key: SessionKey, shell: &mut Shell) -> Option<Verdict> {
        let mut scratch = std::mem::take(&mut shell.scratch);
        let verdict = self.receive_into(&mut scratch, key, shell);
        shell.scratch = scratch;
        verdict
    }

    /// A response has left, outside of a read: on with what has arrived meanwhile.
    pub(super) fn resume(&mut self, key: SessionKey, shell: &mut Shell) -> Verdict {
        let carry = std::mem::take(&mut self.carry);
        match self.take_in(&carry, key, shell) {
            Verdict::Stay if self.takes_bytes() && self.flags.unread => self.read(key, shell),
            Verdict::Stay => self.wait_for_bytes(key, shell),
            verdict => verdict,
        }
    }

    /// Whether bytes of a body that arrive now have somewhere to go.
    pub(super) fn takes_body(&self) -> bool {
        match self.arriving.as_deref() {
            Some(Arriving { body: ArrivingBody::Piped(pipe), .. }) => {
                self.http.awaits() == Awaits::Body && pipe.has_room()
            }
            Some(_) | None => false,
        }
    }

    /// A handler has made room in its pipe, or has left it.
    pub(super) fn go_on_reading(&mut self, key: SessionKey, shell: &mut Shell) -> Verdict {
        if !self.takes_body() {
            return Verdict::Stay;
        }
        let carry = std::mem::take(&mut self.carry);
        match self.take_in(&carry, key, shell) {
            Verdict::Stay if self.takes_body() => self.read(key, shell),
            verdict => verdict,
        }
    }

    /// Whether everything of the request that is being handled has arrived.
    pub(super) fn request_complete(&self) -> bool {
        self.http.awaits() != Awaits::Body
    }

    /// The body does not arrive: its reader is told why.
    pub(super) fn fail_body(&mut self, kind: io::ErrorKind) -> Verdict {
        if let Some(Arriving { body: ArrivingBody::Piped(pipe), .. }) = self.arriving.as_deref() {
            pipe.fail(kind);
        }
        Verdict::Stay
    }

    /// The client took too long over a request.
    pub(super) fn handle_too_slow(&mut self, key: SessionKey, shell: &mut Shell) -> Verdict {
        if (self.carry.is_empty() && self.arriving.is_none()) || self.flags.header_due {
            // Claimed, but not a byte of a request: there is nothing to answer.
            return Verdict::End(Ending::Orderly);
        }
        self.refuse_unheard(key, shell, http::StatusCode::REQUEST_TIMEOUT)
    }

    /// Refuses what no handler has seen.
    fn refuse_unheard(
        &mut self,
        key: SessionKey,
        shell: &mut Shell,
        status: http::StatusCode,
    ) -> Verdict {
        if let Some(meters) = &shell.meters {
            meters.count_refused(status.as_u16());
        }
        self.refuse(key, shell, status)
    }

    fn receive_into(
        &mut self,
        scratch: &mut [u8],
        key: SessionKey,
        shell: &mut Shell,
    ) -> Option<Verdict> {
        let mut anything = false;
        for _ in 0..READS_PER_TURN_MAX {
            let count = match stream::receive(self.socket(), scratch) {
                Ok(Received::Bytes(count)) => count,
                Ok(Received::Empty) if !anything => return None,
                Ok(Received::Empty) => return Some(self.wait_for_bytes(key, shell)),
                Ok(Received::End) => return Some(self.handle_end_of_input(key, shell)),
                // Reset by the client, or by the network: nobody is left to answer.
                Err(_) => return Some(Verdict::End(Ending::Reset)),
            };
            anything = true;
            shell.count(Counter::ReceivedBytes, count as u64);
            let verdict = self.take_in(&scratch[..count], key, shell);
            if verdict != Verdict::Stay {
                return Some(verdict);
            }
            // A short read has drained the socket, unless an end of input stands behind it.
            if count < scratch.len() && !self.flags.hung_up {
                return Some(self.wait_for_bytes(key, shell));
            }
            if !self.takes_bytes() {
                // What is left in the socket waits for the response.
                self.flags.unread = true;
                return Some(self.wait_for_bytes(key, shell));
            }
        }
        // A client that sends faster than we read waits its turn like the others.
        shell.go_on_later(key, self);
        Some(Verdict::Stay)
    }

    /// Nothing more can be read now.
    fn wait_for_bytes(&mut self, key: SessionKey, shell: &mut Shell) -> Verdict {
        match self.stage {
            Stage::Between if self.http.is_idle() && self.carry.is_empty() => {
                self.go_idle(key, shell)
            }
            // Its header alone: anybody may have what comes next.
            Stage::Reading if self.has_only_said_who_it_is() => self.unclaim(key, shell),
            Stage::Between => {
                // The rest of a body that nobody wants is still thrown away.
                self.set_deadline(key, shell, shell.settings.http.body_timeout);
                shell.watch(key, self);
                Verdict::Stay
            }
            // While a handler works on a complete request nothing is expected of the client; the
            // registration is put off until something is.
            Stage::Handling if !self.takes_body() => Verdict::Stay,
            Stage::Reading | Stage::Handling | Stage::Answering | Stage::Lingering { .. } => {
                shell.watch(key, self);
                Verdict::Stay
            }
            Stage::Waiting(_) => Verdict::Stay,
        }
    }

    /// The client sends no more.
    fn handle_end_of_input(&mut self, key: SessionKey, shell: &mut Shell) -> Verdict {
        self.flags.hung_up = true;
        match self.stage {
            // A client may send its requests and then its end; what is complete gets its answer.
            Stage::Handling | Stage::Answering if self.request_complete() => Verdict::Stay,
            Stage::Handling | Stage::Answering => {
                self.fail_body(io::ErrorKind::UnexpectedEof);
                Verdict::Stay
            }
            Stage::Waiting(_) | Stage::Reading | Stage::Between | Stage::Lingering { .. } => {
                match self.http.handle_eof() {
                    Ok(()) => Verdict::End(Ending::Orderly),
                    // Cut off within a request; it may still be reading.
                    Err(error) => self.handle_bad_request(key, shell, &error),
                }
            }
        }
    }

    /// New bytes, behind those that are still here.
    fn take_in(&mut self, input: &[u8], key: SessionKey, shell: &mut Shell) -> Verdict {
        self.flags.parsing = true;
        let verdict = self.take_in_behind_carry(input, key, shell);
        self.flags.parsing = false;
        verdict
    }

    fn take_in_behind_carry(
        &mut self,
        input: &[u8],
        key: SessionKey,
        shell: &mut Shell,
    ) -> Verdict {
        if self.carry.is_empty() {
            let (used, verdict) = self.parse(input, key, shell);
            if used < input.len() {
                self.carry.extend_from_slice(&input[used..]);
            }
            return verdict;
        }
        let mut carry = std::mem::take(&mut self.carry);
        carry.extend_from_slice(input);
        let (used, verdict) = self.parse(&carry, key, shell);
        carry.drain(..used);
        self.carry = carry;
        verdict
    }

    /// Bytes to events to requests, until the bytes are used up or a response must come first.
    fn parse(&mut self, input: &[u8], key: SessionKey, shell: &mut Shell) -> (usize, Verdict) {
        let mut used = 0;
        if self.flags.header_due {
            match self.take_header(input, shell) {
                Ok(Some(size)) => used = size,
                Ok(None) => return (0, Verdict::Stay),
                Err(()) => return (input.len(), Verdict::End(Ending::Orderly)),
            }
        }
        loop {
            if !self.takes_bytes() {
                return (used, Verdict::Stay);
            }
            let (count, event) = match self.http.handle_bytes(&input[used..]) {
                Ok(parsed) => parsed,
                Err(error) => return (input.len(), self.handle_bad_request(key, shell, &error)),
            };
            let begin = used;
            used += count;
            let verdict = match event {
                Event::Partial => {
                    if used < input.len() {
                        self.next_has_begun(shell);
                        self.note_beginning(shell);
                    }
                    if used < input.len() || self.arriving.is_some() {
                        self.expect_more(key, shell);
                    }
                    return (used, Verdict::Stay);
                }
                Event::Paused => return (used, Verdict::Stay),
                Event::Head(head, body) => self.handle_head(head, &body, key, shell),
                Event::Data(range) => {
                    let piece = &input[begin + range.start..begin + range.end];
                    self.handle_body(piece, key, shell)
                }
                Event::RequestEnd => self.handle_request_end(key, shell),
            };
            if verdict != Verdict::Stay {
                return (used, verdict);
            }
        }
    }

    /// Bytes of a request are here: after a response, the claim word says so again.
    fn next_has_begun(&mut self, shell: &mut Shell) {
        if self.stage == Stage::Between {
            self.claimed_at = shell.now;
            shell.active_again(self.tenure);
            self.stage = Stage::Reading;
        }
    }

    /// Whether bytes that arrive now are looked at, or wait for a response to leave first.
    fn takes_bytes(&self) -> bool {
        matches!(self.stage, Stage::Reading | Stage::Between) || self.takes_body()
    }

    fn handle_head(
        &mut self,
        mut head: RequestHead,
        body: &BodyKind,
        key: SessionKey,
        shell: &mut Shell,
    ) -> Verdict {
        self.next_has_begun(shell);
        self.flags.head_began = false;
        self.identify(&mut head, shell);
        self.note_request(&head, shell);
        self.arriving = Some(Box::new(Arriving::new(head, shell.now)));
        let mut interim = Vec::new();
        self.http.respond_continue(&mut interim);
        if !interim.is_empty() {
            if stream::send(self.socket(), &interim).is_err() {
                return Verdict::End(Ending::Reset);
            }
            shell.count(Counter::Responses1xx, 1);
            shell.count(Counter::SentBytes, interim.len() as u64);
        }
        match body {
            BodyKind::Length(length) if *length > shell.settings.http.buffer_request as u64 => {
                self.hand_over(key, shell)
            }
            BodyKind::None | BodyKind::Length(_) | BodyKind::Chunked => Verdict::Stay,
        }
    }

    fn handle_body(&mut self, piece: &[u8], key: SessionKey, shell: &mut Shell) -> Verdict {
        let buffer_max = shell.settings.http.buffer_request;
        let Some(arriving) = self.arriving.as_deref_mut() else { return Verdict::Stay };
        arriving.received += piece.len() as u64;
        let overflows = match &mut arriving.body {
            ArrivingBody::Buffered(buffer) => {
                buffer.extend_from_slice(piece);
                buffer.len() > buffer_max
            }
            ArrivingBody::Piped(pipe) => {
                pipe.offer(Bytes::copy_from_slice(piece));
                if self.http.awaits() != Awaits::Body {
                    // The end of a body of known length is its last byte. `RequestEnd` comes when
                    // bytes are next taken in, which is after the response; the reader is waiting.
                    pipe.finish();
                }
                false
            }
        };
        if overflows { self.hand_over(key, shell) } else { Verdict::Stay }
    }

    fn handle_request_end(&mut self, key: SessionKey, shell: &mut Shell) -> Verdict {
        let Some(arriving) = self.arriving.as_deref_mut() else { return Verdict::Stay };
        match &mut arriving.body {
            ArrivingBody::Piped(pipe) => {
                pipe.finish();
                Verdict::Stay
            }
            ArrivingBody::Buffered(buffer) => {
                let body = RequestBody::Complete(std::mem::take(buffer).freeze());
                self.give_to_handler(body, key, shell)
            }
        }
    }

    /// The body is too long to be kept: a thread takes the request and reads the rest as it comes.
    fn hand_over(&mut self, key: SessionKey, shell: &mut Shell) -> Verdict {
        let Some(progress) = shell.progress_of(key) else {
            // On the loop nothing may wait; the limit on bodies keeps such requests out.
            return self.refuse_unheard(key, shell, http::StatusCode::PAYLOAD_TOO_LARGE);
        };
        let Some(arriving) = self.arriving.as_deref_mut() else { return Verdict::Stay };
        let pipe = Pipe::new(shell.settings.http.buffer_request);
        let piped = ArrivingBody::Piped(pipe.clone());
        if let ArrivingBody::Buffered(buffer) = std::mem::replace(&mut arriving.body, piped) {
            pipe.offer(buffer.freeze());
        }
        let reader = PipeReader { pipe, progress, piece: Bytes::new() };
        self.give_to_handler(RequestBody::Streaming(Box::new(reader)), key, shell)
    }

    fn give_to_handler(
        &mut self,
        body: RequestBody,
        key: SessionKey,
        shell: &mut Shell,
    ) -> Verdict {
        let Some(head) = self.arriving.as_deref_mut().and_then(|arriving| arriving.head.take())
        else {
            return Verdict::Stay;
        };
        self.stage = Stage::Handling;
        self.note_call(shell);
        let request = Request { head, body, origin: self.origin };
        match shell.handle_request(key, request) {
            // A thread has it; its answer comes as an outcome.
            None => {
                let after = shell.settings.http.body_timeout;
                if !self.request_complete() {
                    self.set_deadline(key, shell, after);
                } else {
                    shell.deadlines.set(key, &mut self.deadline, Nanos::NEVER);
                }
                Verdict::Stay
            }
            Some(answer) => self.answer(answer, key, shell),
        }
    }

    /// A request has begun and is not complete: how long the rest may take.
    fn expect_more(&mut self, key: SessionKey, shell: &mut Shell) {
        let http = &shell.settings.http;
        let at = match self.arriving.as_deref() {
            // The head: all of it in time, counted from its first byte (for the first request from
            // accept, which is the deadline it came with). A byte now and then buys no more.
            None if self.flags.head_began || self.requests_served == 0 => return,
            None => {
                self.flags.head_began = true;
                shell.now + http.header_timeout
            }
            // The body: something in time, and not slower on the whole than the least rate.
            Some(arriving) => {
                let next = shell.now + http.body_timeout;
                let fair = std::time::Duration::from_secs(arriving.received / BODY_RATE_MIN);
                next.min(arriving.began_at + http.body_timeout + fair)
            }
        };
        shell.deadlines.set(key, &mut self.deadline, at);
    }

    fn handle_bad_request(
        &mut self,
        key: SessionKey,
        shell: &mut Shell,
        error: &HttpError,
    ) -> Verdict {
        tracing::debug!(peer = %self.origin.peer, %error, "request refused");
        shell.count_error();
        if self.stage == Stage::Handling || self.stage == Stage::Answering {
            // Bad bytes in the body of a request that a handler already has.
            return self.fail_body(io::ErrorKind::InvalidData);
        }
        self.refuse_unheard(key, shell, error.status())
    }
}

/// The handler's end of a body that arrives while it is read.
struct PipeReader {
    pipe: Pipe,
    progress: Progress,
    piece: Bytes,
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            self.piece = self.pipe.read()?.unwrap_or_default();
            self.progress.tell();
        }
        let count = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        // What the handler did not read is not waited for.
        self.pipe.fail(io::ErrorKind::BrokenPipe);
        self.progress.tell();
    }
}
