//! The sockets: non-blocking connections to one address, each with one request at a time.
//!
//! A *place* is a connection's number for good; what is open there may close and be opened again.
//! [`Connections::wait`] turns events into [`Happening`]s, at most one for a place and call; whoever
//! calls decides what they mean. A place that has failed or was closed is closed already when the
//! happening is told.
//!
//! Not here: which request goes where (`run`), what answers look like (`answer`).

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token};

use crate::experiment::load::answer::{Answer, AnswerReader, Progress};
use crate::experiment::load::limits::{EVENTS_PER_TURN_MAX, READ_BUFFER_SIZE, READS_PER_TURN_MAX};
use crate::experiment::load::report::Failure;
use crate::experiment::load::timer::Timer;
use crate::sys::clock;
use crate::time::Nanos;

/// No place has this number.
const TIMER: Token = Token(usize::MAX);

/// What has become of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happening {
    /// It is connected, and idle.
    Opened,
    /// Its request is answered; it is idle, or closed if the answer does not keep it.
    Answered(Answer),
    /// The server closed it while it was idle.
    Closed,
    /// It could not be opened, or its request will not be answered.
    Failed(Failure),
}

/// All connections of a generator.
#[derive(Debug)]
pub(super) struct Connections {
    address: SocketAddr,
    poll: Poll,
    events: Events,
    timer: Timer,
    places: Vec<Place>,
    buffer: Box<[u8]>,
}

#[derive(Debug, Default)]
struct Place {
    stream: Option<TcpStream>,
    phase: Phase,
    reader: AnswerReader,
    /// The part of the request that the socket had no room for.
    unsent: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Closed,
    Opening,
    Idle,
    Asking,
}

impl Connections {
    pub(super) fn new(address: SocketAddr) -> io::Result<Connections> {
        let poll = Poll::new()?;
        let timer = Timer::new(poll.registry(), TIMER)?;
        Ok(Connections {
            address,
            poll,
            events: Events::with_capacity(EVENTS_PER_TURN_MAX),
            timer,
            places: Vec::new(),
            buffer: vec![0; READ_BUFFER_SIZE].into_boxed_slice(),
        })
    }

    /// One more place, closed.
    pub(super) fn add(&mut self) -> usize {
        self.places.push(Place::default());
        self.places.len() - 1
    }

    /// Begins to open a closed place: [`Happening::Opened`] follows, or a failure.
    pub(super) fn open(&mut self, place: usize) -> Result<(), Failure> {
        let place_now = &mut self.places[place];
        assert_eq!(place_now.phase, Phase::Closed, "a place is opened once");
        let mut stream = TcpStream::connect(self.address).map_err(|error| unopened(&error))?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = self.poll.registry().register(&mut stream, Token(place), interest);
        registered.map_err(|error| unopened(&error))?;
        // Requests are single small writes already; a failure here is only slower.
        let _ = stream.set_nodelay(true);
        *place_now = Place { stream: Some(stream), phase: Phase::Opening, ..Place::default() };
        Ok(())
    }

    /// Sends a request on an idle place. A failure has closed it.
    pub(super) fn send(&mut self, place: usize, request: &[u8]) -> Result<(), Failure> {
        let place = &mut self.places[place];
        assert_eq!(place.phase, Phase::Idle, "one request at a time, on an open connection");
        place.phase = Phase::Asking;
        match place.write(request) {
            Ok(written) => {
                place.unsent.extend_from_slice(&request[written..]);
                Ok(())
            }
            Err(_) => {
                place.close();
                Err(Failure::ClosedBefore)
            }
        }
    }

    /// Closes a place, whatever it is doing.
    pub(super) fn close(&mut self, place: usize) {
        self.places[place].close();
    }

    /// Waits until something happens, or until this time. What happened is appended with the time
    /// at which it was seen.
    pub(super) fn wait(
        &mut self,
        until: Nanos,
        out: &mut Vec<(usize, Nanos, Happening)>,
    ) -> io::Result<()> {
        let timeout = if until <= clock::now() {
            Some(Duration::ZERO)
        } else {
            self.timer.set(until)?;
            None
        };
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            Ok(()) | Err(_) => {}
        }
        for event in &self.events {
            if event.token() == TIMER {
                self.timer.handle_fired();
                continue;
            }
            let place = &mut self.places[event.token().0];
            let happening = place.handle_event(event, &mut self.buffer, self.poll.registry())?;
            out.extend(happening.map(|happening| (event.token().0, clock::now(), happening)));
        }
        Ok(())
    }

    pub(super) fn is_idle(&self, place: usize) -> bool {
        self.places[place].phase == Phase::Idle
    }

    pub(super) fn is_closed(&self, place: usize) -> bool {
        self.places[place].phase == Phase::Closed
    }
}

impl Place {
    fn handle_event(
        &mut self,
        event: &Event,
        buffer: &mut [u8],
        registry: &Registry,
    ) -> io::Result<Option<Happening>> {
        if self.phase == Phase::Opening {
            return Ok(self.finish_opening());
        }
        if event.is_writable() && !self.unsent.is_empty() {
            let unsent = std::mem::take(&mut self.unsent);
            match self.write(&unsent) {
                Ok(written) => self.unsent.extend_from_slice(&unsent[written..]),
                // What the server said before it closed is still to be read.
                Err(_) => self.unsent.clear(),
            }
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            return self.read(event.is_read_closed(), buffer, registry, event.token());
        }
        Ok(None)
    }

    /// Writability or an error ends a connect(2) that was in progress.
    fn finish_opening(&mut self) -> Option<Happening> {
        let stream = self.stream.as_ref()?;
        let failure = match stream.take_error() {
            Ok(None) if stream.peer_addr().is_ok() => {
                self.phase = Phase::Idle;
                return Some(Happening::Opened);
            }
            // Woken for nothing.
            Ok(None) => return None,
            Ok(Some(error)) | Err(error) => unopened(&error),
        };
        self.close();
        Some(Happening::Failed(failure))
    }

    /// Reads what there is. Stops at a short read, which has drained the socket (epoll(7)), unless
    /// its end has been announced: that is read too, so that nothing is sent on a closed connection.
    fn read(
        &mut self,
        is_ending: bool,
        buffer: &mut [u8],
        registry: &Registry,
        token: Token,
    ) -> io::Result<Option<Happening>> {
        let mut answered = None;
        for _ in 0..READS_PER_TURN_MAX {
            let Some(stream) = &mut self.stream else { return Ok(answered) };
            let happening = match stream.read(buffer) {
                Ok(0) => Some(self.end(answered)),
                Ok(length) => match self.take(&buffer[..length], &mut answered) {
                    Ok(()) if length < buffer.len() && !is_ending => return Ok(answered),
                    Ok(()) => None,
                    Err(failure) => Some(Happening::Failed(failure)),
                },
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(answered),
                Err(error) if error.kind() == ErrorKind::Interrupted => None,
                Err(_) => Some(self.end(answered)),
            };
            if happening.is_some() {
                self.close();
                return Ok(happening);
            }
        }
        // More is there, and the edge is used up: registering again makes a new one.
        if let Some(stream) = &mut self.stream {
            registry.reregister(stream, token, Interest::READABLE | Interest::WRITABLE)?;
        }
        Ok(answered)
    }

    fn take(&mut self, bytes: &[u8], answered: &mut Option<Happening>) -> Result<(), Failure> {
        if self.phase != Phase::Asking {
            // Nobody asked, or more came than was asked for.
            return Err(Failure::Malformed);
        }
        match self.reader.handle_bytes(bytes) {
            Ok(Progress::Partial) => Ok(()),
            // Bytes behind the answer to the only request: whose would they be?
            Ok(Progress::Done(used, _)) if used < bytes.len() => Err(Failure::Malformed),
            Ok(Progress::Done(_, answer)) => {
                self.phase = Phase::Idle;
                self.unsent.clear();
                *answered = Some(Happening::Answered(answer));
                if !answer.keeps {
                    self.close();
                }
                Ok(())
            }
            Err(_) => Err(Failure::Malformed),
        }
    }

    /// The connection has ended, perhaps just behind an answer.
    fn end(&mut self, answered: Option<Happening>) -> Happening {
        match (answered, self.phase) {
            (Some(Happening::Answered(answer)), _) => {
                Happening::Answered(Answer { keeps: false, ..answer })
            }
            (_, Phase::Asking) => {
                let has_begun = self.reader.has_begun();
                match self.reader.handle_end() {
                    Ok(answer) => Happening::Answered(answer),
                    Err(_) if has_begun => Happening::Failed(Failure::ClosedWithin),
                    Err(_) => Happening::Failed(Failure::ClosedBefore),
                }
            }
            (_, Phase::Idle | Phase::Opening | Phase::Closed) => Happening::Closed,
        }
    }

    /// Writes as much as the socket has room for.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(stream) = &mut self.stream else { return Err(ErrorKind::NotConnected.into()) };
        let mut written = 0;
        while written < bytes.len() {
            match stream.write(&bytes[written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(length) => written += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    /// Dropping the socket closes it, which takes it out of epoll too: no event comes any more.
    fn close(&mut self) {
        *self = Place::default();
    }
}

fn unopened(error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::ConnectionRefused => Failure::Refused,
        _ => Failure::Unopened,
    }
}
