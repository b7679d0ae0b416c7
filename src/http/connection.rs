//! One connection's machine: every transition of HTTP/1.1 as a server sees it.
//!
//! ```text
//!  what the client sends (Receive)
//!
//!      ┌───────────── once the response is finished, if the connection goes on ──────┐
//!      ▼                                                                             │
//!    Head ── no body ─────────────────────────────────► End ── RequestEnd ─► Ended ──┤
//!      ├──── Content-Length ─► Sized ── all bytes ───────┘                     ▲     │
//!      │                         │                                             │     │
//!      │                         └─ response finished, little left ─► Drain ───│─────┘
//!      └──── chunked ────────► Chunked ── last chunk and trailers, RequestEnd ─┘
//!
//!    Head, Sized, Chunked ── HttpError, or end of file within ──────────► Refused
//!    Head, Sized, Chunked ── refuse, or finished with much left ────────► Over (Closing)
//!    any other ───────────── end of file ───────────────────────────────► Over (EndOfFile)
//!
//!  what we answer (Answer)
//!
//!    Nothing ── Head ─► Owed ── respond ─► NoBody, Sized, ── finish_response ─► Finished
//!       │                │                 Chunked, UntilClose                      ▲
//!       └────────────────┴──────────────── refuse ──────────────────────────────────┘
//!
//!    Finished ── Receive is Head again ─► Nothing
//! ```
//!
//! The two sides run at their own pace: a response may begin before the request's body has come,
//! and end before it. Only when both are through does the next request begin; bytes of it that are
//! already there wait with the shell (`Paused`).
//!
//! The order of calls: [`Connection::handle_bytes`] until it says `Partial` or `Paused`; for each
//! head [`Connection::respond`], [`Connection::body_piece`] for each piece of a body,
//! [`Connection::finish_response`]; then [`Connection::next`] says what becomes of the connection.
//!
//! Not here: deadlines (the shell's; [`Connection::awaits`] says which runs), bytes of heads and
//! chunks (`head`, `chunked`, `response`).

use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode, Version};

use crate::config::{BODY_DRAIN_MAX, HttpLimits};
use crate::http::body::{BodyKind, BodyLength, Framing};
use crate::http::chunked::{Chunk, ChunkedBody};
use crate::http::error::{HttpError, ResponseError};
use crate::http::event::{Awaits, Event, Next};
use crate::http::head::RequestHead;
use crate::http::response::{Asked, Plan, ResponseHead, error_response, write_chunk_size};
use crate::http::scan::HeadScan;

/// The machine of one connection. It holds no bytes and allocates nothing but request heads.
#[derive(Clone, Debug)]
pub struct Connection {
    limits: Arc<HttpLimits>,
    receive: Receive,
    answer: Answer,
    /// Of the request that is being answered.
    asked: Asked,
    /// The client waits for 100, and no byte of the body has come.
    expects_continue: bool,
    /// Bytes came behind the request after which the connection ends.
    unread: bool,
}

// Ten thousand idle connections are to cost a worker little.
const _: () = assert!(size_of::<Connection>() <= 128);

/// The client's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receive {
    /// Before or within a head.
    Head(HeadScan),
    /// Within a body of which so many bytes are to come, at least one.
    Sized(u64),
    /// Within a chunked body.
    Chunked(ChunkedBody),
    /// The request is complete, and `RequestEnd` not yet told.
    End,
    /// The request is complete.
    Ended,
    /// The response is finished, and so many bytes of the request are still to be thrown away.
    Drain(u64),
    /// Refused: where the next request would begin is not known.
    Refused(HttpError),
    /// Nothing more is read: the connection closes after the response, if there is one.
    Over(Ending),
}

/// Why nothing more is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The client has said that it will send nothing more.
    EndOfFile,
    /// The response is finished, and the connection not worth the rest of the request.
    Closing,
}

/// Our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// No request.
    Nothing,
    /// A request that has no response yet.
    Owed,
    /// Within a response that has no body to send.
    NoBody,
    /// Within a body of which so many bytes are to be sent.
    Sized(u64),
    /// Within a chunked body.
    Chunked,
    /// Within a body that the closing of the connection ends.
    UntilClose,
    /// The response is finished, and the connection not ready for another request.
    Finished,
}

impl Connection {
    /// A connection of which nothing has been read, or nothing since its last response.
    pub fn new(limits: Arc<HttpLimits>) -> Connection {
        Connection {
            limits,
            receive: Receive::Head(HeadScan::default()),
            answer: Answer::Nothing,
            asked: Asked { is_head: false, is_old: false, persist: true },
            expects_continue: false,
            unread: false,
        }
    }

    /// Takes what the shell has read and not yet had consumed. Returns how many bytes at its front
    /// are now consumed, and what they were.
    ///
    /// Call it again with the rest, **also if that is empty**, until `Partial` or `Paused`; after
    /// that, when more has been read, with the rest and the new bytes behind it. After
    /// [`finish_response`](Connection::finish_response) nothing more is told of that request.
    ///
    /// # Errors
    /// The request is refused. The same error comes from every further call; answer it with
    /// [`refuse`](Connection::refuse).
    pub fn handle_bytes(&mut self, input: &[u8]) -> Result<(usize, Event), HttpError> {
        let outcome = self.receive_bytes(input);
        if let Err(error) = outcome {
            self.receive = Receive::Refused(error);
            self.expects_continue = false;
        }
        outcome
    }

    /// The client has closed its side, and all bytes before that have been handed over until
    /// `Partial` or `Paused`.
    ///
    /// A request that is complete is still answered; the connection then ends.
    ///
    /// # Errors
    /// [`HttpError::EndInHead`] or [`HttpError::EndInBody`] where a request was cut off. The client
    /// may still be reading, and may be answered.
    pub fn handle_eof(&mut self) -> Result<(), HttpError> {
        let error = match self.receive {
            Receive::Head(scan) if !scan.is_untouched() => HttpError::EndInHead,
            Receive::Sized(_) | Receive::Chunked(_) => HttpError::EndInBody,
            Receive::Head(_)
            | Receive::End
            | Receive::Ended
            | Receive::Drain(_)
            | Receive::Refused(_)
            | Receive::Over(_) => {
                self.receive = Receive::Over(Ending::EndOfFile);
                return Ok(());
            }
        };
        self.receive = Receive::Refused(error);
        self.expects_continue = false;
        Err(error)
    }

    /// Tells a client that waits for it to send the body (RFC 9110 section 10.1.1). Appends the
    /// interim response to `out` and returns true if there is such a client: it asked, has not
    /// begun to send, and the response has not begun.
    pub fn respond_continue(&mut self, out: &mut Vec<u8>) -> bool {
        let is_due = self.expects_continue && self.answer == Answer::Owed;
        if is_due {
            out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            self.expects_continue = false;
        }
        is_due
    }

    /// Begins the response: appends its head to `out`, and says how the body is to be sent.
    ///
    /// `date` is an IMF-fixdate, used if `headers` have no Date. `close` ends the connection after
    /// this response; so does `Connection: close` among the `headers`, whose other fields of
    /// framing and connection are replaced.
    ///
    /// # Errors
    /// Nothing has been written and a response is still owed, say 500.
    pub fn respond(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        body: BodyLength,
        date: &str,
        close: bool,
        out: &mut Vec<u8>,
    ) -> Result<Framing, ResponseError> {
        let head = ResponseHead { status, reason: None, headers, date: Some(date) };
        self.respond_with(head, body, close, out)
    }

    /// The same, where there is more to say of the head.
    ///
    /// # Errors
    /// As [`respond`](Connection::respond).
    pub fn respond_with(
        &mut self,
        head: ResponseHead<'_>,
        body: BodyLength,
        close: bool,
        out: &mut Vec<u8>,
    ) -> Result<Framing, ResponseError> {
        if self.answer != Answer::Owed {
            return Err(ResponseError::NotOwed);
        }
        let goes_on = match self.receive {
            Receive::Sized(_) | Receive::Chunked(_) | Receive::End | Receive::Ended => true,
            Receive::Head(_) | Receive::Drain(_) | Receive::Refused(_) | Receive::Over(_) => false,
        };
        // Who still waits for 100 will now send the body or not, and nobody can tell which.
        let persist = self.asked.persist && goes_on && !close && !self.expects_continue;
        let asked = Asked { persist, ..self.asked };
        let plan = Plan::new(head.status, head.headers, body, asked)?;
        plan.write(head, asked, out);
        self.asked.persist = plan.persist;
        self.answer = match plan.framing {
            Framing::NoBody => Answer::NoBody,
            Framing::Length(length) => Answer::Sized(length),
            Framing::Chunked => Answer::Chunked,
            Framing::UntilClose => Answer::UntilClose,
        };
        Ok(plan.framing)
    }

    /// A piece of the body of `length` bytes is about to be sent. Appends to `before` what must
    /// precede it and returns what must follow it: the bytes themselves are the shell's, and need
    /// not be copied. A piece of 0 bytes sends nothing.
    ///
    /// # Errors
    /// [`ResponseError::BodyTooLong`]: do not send it; the connection is to be reset.
    pub fn body_piece(
        &mut self,
        length: u64,
        before: &mut Vec<u8>,
    ) -> Result<&'static [u8], ResponseError> {
        match self.answer {
            Answer::Sized(left) => match left.checked_sub(length) {
                Some(rest) => {
                    self.answer = Answer::Sized(rest);
                    Ok(b"")
                }
                None => Err(ResponseError::BodyTooLong { excess: length - left }),
            },
            Answer::NoBody if length > 0 => Err(ResponseError::BodyTooLong { excess: length }),
            // A chunk of 0 bytes would end the body.
            Answer::Chunked if length > 0 => {
                write_chunk_size(length, before);
                Ok(b"\r\n")
            }
            Answer::Chunked | Answer::NoBody | Answer::UntilClose => Ok(b""),
            Answer::Nothing | Answer::Owed | Answer::Finished => Err(ResponseError::NotBegun),
        }
    }

    /// Ends the response: appends to `out` what must follow the body.
    ///
    /// # Errors
    /// [`ResponseError::BodyTooShort`]: bytes that were declared have not been sent; the connection
    /// is to be reset.
    pub fn finish_response(&mut self, out: &mut Vec<u8>) -> Result<(), ResponseError> {
        match self.answer {
            Answer::Sized(0) | Answer::NoBody | Answer::UntilClose => {}
            Answer::Sized(missing) => return Err(ResponseError::BodyTooShort { missing }),
            Answer::Chunked => out.extend_from_slice(b"0\r\n\r\n"),
            Answer::Nothing | Answer::Owed | Answer::Finished => {
                return Err(ResponseError::NotBegun);
            }
        }
        self.close_exchange();
        Ok(())
    }

    /// Answers with an error in plain text and ends the connection: a refused request, a deadline,
    /// a handler that failed. Returns false, and does nothing, where a response has already begun
    /// or is finished: then the connection can only be reset. `headers` as in [`error_response`].
    pub fn refuse(
        &mut self,
        status: StatusCode,
        explanation: &str,
        headers: &HeaderMap,
        date: &str,
        out: &mut Vec<u8>,
    ) -> bool {
        let without_body = match self.answer {
            Answer::Nothing => false,
            Answer::Owed => self.asked.is_head,
            Answer::NoBody
            | Answer::Sized(_)
            | Answer::Chunked
            | Answer::UntilClose
            | Answer::Finished => {
                return false;
            }
        };
        error_response(status, explanation, headers, date, without_body, out);
        self.asked.persist = false;
        self.close_exchange();
        true
    }

    /// What becomes of the connection, now that all of `out` has been sent.
    pub fn next(&self) -> Next {
        match (self.answer, self.receive) {
            (
                Answer::Owed
                | Answer::NoBody
                | Answer::Sized(_)
                | Answer::Chunked
                | Answer::UntilClose,
                _,
            ) => Next::Unfinished,
            (
                Answer::Nothing | Answer::Finished,
                Receive::Over(Ending::EndOfFile)
                | Receive::Refused(HttpError::EndInHead | HttpError::EndInBody),
            ) => Next::Close,
            (Answer::Nothing, Receive::Head(_)) | (Answer::Finished, Receive::Drain(_)) => {
                Next::KeepAlive
            }
            (Answer::Finished, Receive::End | Receive::Ended) if !self.unread => Next::Close,
            (Answer::Nothing | Answer::Finished, _) => Next::CloseAfterDrain,
        }
    }

    /// What is awaited from the client.
    pub fn awaits(&self) -> Awaits {
        match self.receive {
            Receive::Head(scan) if scan.is_untouched() => Awaits::Request,
            Receive::Head(_) => Awaits::RestOfHead,
            Receive::Sized(_) | Receive::Chunked(_) | Receive::Drain(_) => Awaits::Body,
            Receive::End | Receive::Ended | Receive::Refused(_) | Receive::Over(_) => {
                Awaits::Nothing
            }
        }
    }

    /// Nothing of a next request has been seen and no response is owed: if the shell holds no
    /// unconsumed bytes either, another worker can go on with a new machine.
    pub fn is_idle(&self) -> bool {
        self.answer == Answer::Nothing && self.awaits() == Awaits::Request
    }

    /// A request has been told of, and its response has not begun: [`respond`] can be called.
    ///
    /// [`respond`]: Connection::respond
    pub fn is_response_owed(&self) -> bool {
        self.answer == Answer::Owed
    }

    /// - `answer = Nothing` ⇒ `receive ∈ {Head, Refused, Over}`
    /// - `receive = Head` ⇒ `answer = Nothing`
    /// - `receive = Drain(n)` ⇒ `answer = Finished` and `0 < n <= BODY_DRAIN_MAX`
    /// - `receive = Sized(n)` ⇒ `n > 0`
    /// - `expects_continue` ⇒ the body has not begun
    ///
    /// # Panics
    /// If one of them does not hold: that is what it is for.
    pub fn check_invariants(&self) {
        match self.receive {
            Receive::Head(scan) => {
                assert_eq!(self.answer, Answer::Nothing, "one request at a time");
                scan.check_invariants(&self.limits);
            }
            Receive::Sized(left) => assert!(left > 0, "a body that is awaited has bytes"),
            Receive::Chunked(body) => body.check_invariants(&self.limits),
            Receive::Drain(left) => {
                assert!(left > 0 && left <= BODY_DRAIN_MAX, "little is drained");
                assert_eq!(self.answer, Answer::Finished, "only the unwanted is drained");
            }
            Receive::End | Receive::Ended => {
                assert_ne!(self.answer, Answer::Nothing, "a request is answered");
            }
            Receive::Refused(_) | Receive::Over(_) => {}
        }
        if self.expects_continue {
            let waits = matches!(self.receive, Receive::Sized(_) | Receive::Chunked(_));
            assert!(waits, "only who has a body waits for 100");
        }
    }

    fn receive_bytes(&mut self, input: &[u8]) -> Result<(usize, Event), HttpError> {
        match &mut self.receive {
            Receive::Head(_) => self.receive_head(input),
            Receive::Sized(_) | Receive::Chunked(_) if input.is_empty() => Ok((0, Event::Partial)),
            Receive::Sized(left) => {
                let taken = count(input).min(*left);
                *left -= taken;
                if *left == 0 {
                    self.receive = Receive::End;
                }
                self.expects_continue = false;
                let taken = usize::try_from(taken).expect("no more than the input's length");
                Ok((taken, Event::Data(0..taken)))
            }
            Receive::Chunked(body) => {
                self.expects_continue = false;
                match body.decode(input, &self.limits)? {
                    (used, Chunk::Partial) => Ok((used, Event::Partial)),
                    (used, Chunk::Data(range)) => Ok((used, Event::Data(range))),
                    (used, Chunk::End) => {
                        self.receive = Receive::Ended;
                        Ok((used, Event::RequestEnd))
                    }
                }
            }
            Receive::End => {
                self.receive = Receive::Ended;
                Ok((0, Event::RequestEnd))
            }
            Receive::Ended if self.answer == Answer::Finished => {
                self.unread |= !input.is_empty();
                Ok((input.len(), Event::Partial))
            }
            Receive::Ended => {
                self.unread |= !input.is_empty();
                Ok((0, Event::Paused))
            }
            Receive::Drain(left) => {
                let taken = count(input).min(*left);
                *left -= taken;
                let is_drained = *left == 0;
                let taken = usize::try_from(taken).expect("no more than the input's length");
                if !is_drained {
                    return Ok((taken, Event::Partial));
                }
                self.start_over();
                let (used, event) = self.receive_bytes(&input[taken..])?;
                Ok((taken + used, event))
            }
            Receive::Refused(error) => Err(*error),
            Receive::Over(_) => Ok((input.len(), Event::Partial)),
        }
    }

    fn receive_head(&mut self, input: &[u8]) -> Result<(usize, Event), HttpError> {
        let Receive::Head(scan) = &mut self.receive else {
            return Ok((0, Event::Partial));
        };
        let (skipped, found) = scan.advance(input, &self.limits)?;
        let Some(found) = found else {
            return Ok((skipped, Event::Partial));
        };
        let bytes = &input[skipped..skipped + found.size];
        let (head, steering) = RequestHead::parse(bytes, found, &self.limits)?;
        self.asked = Asked {
            is_head: head.method == Method::HEAD,
            is_old: head.version == Version::HTTP_10,
            persist: steering.persist,
        };
        self.expects_continue = steering.expects_continue;
        self.answer = Answer::Owed;
        self.receive = match steering.body {
            BodyKind::None => Receive::End,
            BodyKind::Length(length) => Receive::Sized(length),
            BodyKind::Chunked => Receive::Chunked(ChunkedBody::default()),
        };
        Ok((skipped + found.size, Event::Head(head, steering.body)))
    }

    /// The response is finished: what becomes of the request, if there is more of it?
    fn close_exchange(&mut self) {
        self.answer = Answer::Finished;
        let persist = self.asked.persist && !self.expects_continue;
        self.expects_continue = false;
        self.receive = match self.receive {
            Receive::End | Receive::Ended if persist => return self.start_over(),
            Receive::Sized(left) if persist && left <= BODY_DRAIN_MAX => Receive::Drain(left),
            // How much there is of a chunked body is not known: it is not waited for.
            Receive::Sized(_) | Receive::Chunked(_) | Receive::Head(_) => {
                Receive::Over(Ending::Closing)
            }
            Receive::End
            | Receive::Ended
            | Receive::Drain(_)
            | Receive::Refused(_)
            | Receive::Over(_) => self.receive,
        };
    }

    fn start_over(&mut self) {
        self.receive = Receive::Head(HeadScan::default());
        self.answer = Answer::Nothing;
        self.unread = false;
    }
}

fn count(input: &[u8]) -> u64 {
    u64::try_from(input.len()).unwrap_or(u64::MAX)
}
