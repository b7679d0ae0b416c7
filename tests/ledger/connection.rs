//! One connection of a load: a non-blocking socket with one request at a time, and what becomes of
//! that request.
//!
//! ```text
//! Opening → Pausing → Asking ⇄ Idle
//!    └─────────┴────────┴───────┴──→ over
//! ```
//!
//! Not here: which request goes where and when (`load`).

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use maitred::sys::clock;
use maitred::time::Nanos;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::book::Outcome;
use crate::answer;
use crate::request::Request;

/// Bytes read in one system call.
const READ_SIZE: usize = 64 * 1024;

/// Bytes of a wrong answer that are shown.
const SHOWN_MAX: usize = 80;

/// A request on its way.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) due: Nanos,
}

/// What an event has brought.
#[derive(Debug)]
pub(crate) enum Happening {
    /// Nothing that matters.
    Nothing,
    /// It is connected.
    Opened,
    /// Its request has its own full answer; whether the connection can carry another.
    Answered { asked: Asked, keeps: bool },
    /// Its request has failed. The connection is of no further use.
    Failed(Outcome, String),
    /// It ended with no request on it.
    IdleEnded { by_reset: bool },
}

/// How a connection ended.
#[derive(Debug)]
enum End {
    InOrder,
    Reset,
    Otherwise(io::Error),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Opening,
    Pausing,
    Asking,
    Idle,
}

/// A connection that is open, or being opened.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    phase: Phase,
    outgoing: Vec<u8>,
    sent: usize,
    incoming: Vec<u8>,
    /// The request that it was opened for, or carries.
    pub(crate) asked: Option<Asked>,
    answers: u64,
    connecting_since: Nanos,
    sent_at: Option<Nanos>,
}

impl Connection {
    /// Begins to connect, for a request.
    pub(crate) fn open(
        address: SocketAddr,
        registry: &Registry,
        token: Token,
        asked: Asked,
    ) -> io::Result<Connection> {
        let mut stream = TcpStream::connect(address)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        // A request is one write as a rule; a failure here is only slower.
        let _ = stream.set_nodelay(true);
        Ok(Connection {
            stream,
            phase: Phase::Opening,
            outgoing: Vec::new(),
            sent: 0,
            incoming: Vec::new(),
            asked: Some(asked),
            answers: 0,
            connecting_since: clock::now(),
            sent_at: None,
        })
    }

    /// Sends the request that it was opened for.
    pub(crate) fn ask(&mut self, fields: &str) -> Happening {
        match self.asked.take() {
            Some(asked) => self.ask_next(asked, fields),
            None => Happening::Nothing,
        }
    }

    /// Sends a request on an idle connection.
    pub(crate) fn ask_next(&mut self, asked: Asked, fields: &str) -> Happening {
        self.outgoing = asked.request.bytes_with(fields);
        self.sent = 0;
        self.asked = Some(asked);
        self.phase = Phase::Asking;
        self.sent_at = None;
        match self.write() {
            Ok(()) => Happening::Nothing,
            // What the server said before it closed, an answer even, is still to be read.
            Err(_) => self.read(),
        }
    }

    /// Its socket may be ready.
    pub(crate) fn handle_ready(&mut self) -> Happening {
        if self.phase == Phase::Opening {
            return self.finish_opening();
        }
        if self.phase == Phase::Asking {
            // An error is the read's to tell, with all that had come before it.
            let _ = self.write();
        }
        self.read()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    /// Whether the client's kernel has taken all of the request.
    pub(crate) fn sent_whole(&self) -> bool {
        self.phase == Phase::Asking && self.sent == self.outgoing.len()
    }

    /// See [`Failed::silent_for`](super::book::Failed::silent_for).
    pub(crate) fn silent_for(&self) -> Option<Duration> {
        let until = self.sent_at.unwrap_or_else(clock::now);
        (self.answers == 0).then(|| until.since(self.connecting_since))
    }

    /// For stories.
    pub(crate) fn local_port(&self) -> u16 {
        self.stream.local_addr().map_or(0, |address| address.port())
    }

    /// Writability or an error ends a connect(2) that was in progress.
    fn finish_opening(&mut self) -> Happening {
        match self.stream.take_error() {
            Ok(None) if self.stream.peer_addr().is_ok() => {
                self.phase = Phase::Pausing;
                Happening::Opened
            }
            // Woken for nothing.
            Ok(None) => Happening::Nothing,
            Ok(Some(error)) | Err(error) => {
                let outcome = match error.kind() {
                    ErrorKind::ConnectionRefused => Outcome::Refused,
                    ErrorKind::ConnectionReset => Outcome::ResetNew,
                    _ => Outcome::Unopened,
                };
                Happening::Failed(outcome, format!("connecting: {error}"))
            }
        }
    }

    fn write(&mut self) -> io::Result<()> {
        while self.sent < self.outgoing.len() {
            match self.stream.write(&self.outgoing[self.sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(length) => self.sent += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.sent_at.get_or_insert_with(clock::now);
        Ok(())
    }

    /// Reads until nothing is there, and says what that is worth.
    fn read(&mut self) -> Happening {
        let mut end = None;
        while end.is_none() {
            let had = self.incoming.len();
            self.incoming.resize(had + READ_SIZE, 0);
            let read = self.stream.read(&mut self.incoming[had..]);
            self.incoming.truncate(had + read.as_ref().copied().unwrap_or(0));
            match read {
                Ok(0) => end = Some(End::InOrder),
                Ok(_) => {}
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => break,
                    ErrorKind::Interrupted => {}
                    // Linux says EPIPE for a reset that followed the server's own FIN
                    // (tcp_reset()): for the client it was closed in order.
                    ErrorKind::BrokenPipe => end = Some(End::InOrder),
                    ErrorKind::ConnectionReset => end = Some(End::Reset),
                    _ => end = Some(End::Otherwise(error)),
                },
            }
        }
        match self.phase {
            Phase::Asking => self.judge(end),
            Phase::Opening | Phase::Pausing | Phase::Idle => self.judge_unasked(end),
        }
    }

    /// A request waits for its answer: is it here, or will it never be?
    fn judge(&mut self, end: Option<End>) -> Happening {
        let Some(asked) = self.asked.clone() else { return Happening::Nothing };
        let had = self.incoming.len();
        match answer::take(&mut self.incoming) {
            Err(story) => Happening::Failed(Outcome::Wrong, story),
            Ok(Some(_)) if !self.incoming.is_empty() => {
                Happening::Failed(Outcome::Wrong, self.show("bytes behind the only answer"))
            }
            Ok(Some(answer)) => match answer.status {
                200 => match asked.request.check(&answer.body) {
                    Ok(()) => {
                        let closes = answer
                            .header("connection")
                            .is_some_and(|value| value.eq_ignore_ascii_case("close"));
                        self.asked = None;
                        self.answers += 1;
                        self.phase = Phase::Idle;
                        Happening::Answered { asked, keeps: !closes && end.is_none() }
                    }
                    Err(story) => Happening::Failed(Outcome::Wrong, story),
                },
                502 => Happening::Failed(Outcome::BadGateway, answer.text()),
                503 => Happening::Failed(Outcome::Shed, answer.text()),
                status => Happening::Failed(Outcome::Wrong, format!("{status} {}", answer.text())),
            },
            Ok(None) => match end {
                None => Happening::Nothing,
                Some(end) => self.fail(&end, had > 0),
            },
        }
    }

    fn judge_unasked(&mut self, end: Option<End>) -> Happening {
        if !self.incoming.is_empty() {
            return Happening::Failed(Outcome::Wrong, self.show("bytes that nobody asked for"));
        }
        match end {
            None => Happening::Nothing,
            Some(end) if self.asked.is_some() => self.fail(&end, false),
            Some(end) => Happening::IdleEnded { by_reset: !matches!(end, End::InOrder) },
        }
    }

    fn fail(&self, end: &End, has_begun: bool) -> Happening {
        let is_new = self.answers == 0;
        let outcome = match (end, has_begun) {
            (End::InOrder, true) => Outcome::ClosedWithin,
            (End::InOrder, false) if is_new => Outcome::ClosedNew,
            (End::InOrder, false) => Outcome::ClosedReused,
            (End::Reset | End::Otherwise(_), true) => Outcome::ResetWithin,
            (End::Reset | End::Otherwise(_), false) if is_new => Outcome::ResetNew,
            (End::Reset | End::Otherwise(_), false) => Outcome::ResetReused,
        };
        let story = match end {
            End::Otherwise(error) => error.to_string(),
            End::InOrder | End::Reset => self.show("had come"),
        };
        Happening::Failed(outcome, story)
    }

    fn show(&self, what: &str) -> String {
        let shown = &self.incoming[..self.incoming.len().min(SHOWN_MAX)];
        format!("{what}: {:?}", String::from_utf8_lossy(shown))
    }
}
