//! One client: does what it is told in its order, over as many connections as that takes, and
//! believes no answer that is not the whole answer to what it asked.
//!
//! What it may not see ends the test by a panic: an answer to another request, one too many, a
//! status other than 200, a connection that ends while it owes an answer or is kept idle. Only
//! where a worker was killed may an answer fail, and only on connections that were then in use
//! ([`Client::expose`]).
//!
//! Not here: what it is told (`plan`), when its socket is ready (`driver`).

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::SockRef;

use super::answer;
use super::plan::{Action, Afterwards};
use super::request::Request;
use crate::common::books::Entry;
use crate::common::client::Answer;

/// Bytes read in one system call.
const READ_SIZE: usize = 16 * 1024;

/// Bytes of an answer that is not whole that a failure shows.
const INCOMING_SHOWN_MAX: usize = 80;

/// What became of all requests of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) connections: usize,
    pub(crate) answered: usize,
    /// Answers by another worker than the one before on the same connection.
    pub(crate) moved: usize,
    /// The client went away before the answer.
    pub(crate) abandoned: usize,
    /// Requests that a killed worker had in its hands.
    pub(crate) died: usize,
    /// Connections that were idle for their client, and to a killed worker were not yet.
    pub(crate) died_idle: usize,
}

/// A client and what it has still to do.
pub(crate) struct Client {
    number: usize,
    address: SocketAddr,
    orders: VecDeque<Action>,
    connection: Option<Connection>,
}

struct Connection {
    stream: TcpStream,
    entry: Entry,
    /// What is to be sent, and how much of it has been.
    outgoing: Vec<u8>,
    sent: usize,
    /// What has been read and is no whole answer yet.
    incoming: Vec<u8>,
    expected: VecDeque<Request>,
    /// The part of the last request that is held back until [`Action::Finish`].
    held_back: Vec<u8>,
    afterwards: Afterwards,
    has_ended_sending: bool,
    /// A worker was killed while this was perhaps in its hands.
    is_exposed: bool,
    /// How many of the expected requests were asked before that.
    asked_before: usize,
    /// When it was last known to be in use.
    used_at: Instant,
    /// Who answered last.
    slot: Option<String>,
}

/// Why a connection is over.
enum End {
    /// Its client wanted it so.
    Wanted,
    /// It ended otherwise.
    Failed(String),
}

impl Client {
    pub(crate) fn new(number: usize, address: SocketAddr) -> Client {
        Client { number, address, orders: VecDeque::new(), connection: None }
    }

    /// Tells it one thing more, which it does when its turn has come.
    pub(crate) fn tell(&mut self, action: Action, registry: &Registry, tally: &mut Tally) {
        self.orders.push_back(action);
        self.go_on(registry, tally);
    }

    /// Its socket may be ready: reads, writes, and does what it can of what it was told.
    pub(crate) fn handle_ready(&mut self, registry: &Registry, tally: &mut Tally) {
        if let Some(connection) = self.connection.as_mut() {
            let end = connection.read(tally);
            self.settle(end, tally);
        }
        self.go_on(registry, tally);
    }

    /// A worker was killed just now. If this client's connection was in use since `recently`, that
    /// may have cost so many requests, or else the connection.
    pub(crate) fn expose(&mut self, recently: Instant) -> usize {
        let Some(connection) = self.connection.as_mut() else { return 0 };
        let is_in_use = !connection.expected.is_empty() || connection.has_ended_sending;
        if !is_in_use && connection.used_at < recently {
            return 0;
        }
        connection.is_exposed = true;
        connection.asked_before = connection.expected.len();
        connection.asked_before
    }

    /// What a killed worker cost has been seen by now.
    pub(crate) fn cover(&mut self) {
        if let Some(connection) = self.connection.as_mut() {
            connection.is_exposed = false;
        }
    }

    /// Whether it has done all that it was told and has all that it asked for.
    pub(crate) fn is_at_rest(&self) -> bool {
        let is_idle = self.connection.as_ref().is_none_or(|connection| {
            connection.is_idle() && connection.afterwards == Afterwards::Stay
        });
        self.orders.is_empty() && is_idle
    }

    /// What it waits for, for whoever reads the failure.
    pub(crate) fn describe(&self) -> String {
        let orders = self.orders.len();
        match &self.connection {
            None => format!("client {}: no connection, {orders} orders", self.number),
            Some(connection) => format!("client {}: {connection}, {orders} orders", self.number),
        }
    }

    fn go_on(&mut self, registry: &Registry, tally: &mut Tally) {
        loop {
            if let Some(connection) = self.connection.as_mut() {
                let end = connection.write(tally);
                self.settle(end, tally);
            }
            let can_act = match (self.orders.front(), &self.connection) {
                (None, _) => false,
                (Some(_), None) | (Some(Action::Finish | Action::Tear), Some(_)) => true,
                (Some(Action::Ask { .. } | Action::Begin { .. }), Some(connection)) => {
                    connection.is_idle() && connection.afterwards == Afterwards::Stay
                }
            };
            if !can_act {
                return;
            }
            let action = self.orders.pop_front().expect("there is one");
            self.act(action, registry, tally);
        }
    }

    fn act(&mut self, action: Action, registry: &Registry, tally: &mut Tally) {
        match action {
            Action::Ask { requests, afterwards } => {
                let connection = self.connected(registry, tally);
                for request in requests {
                    connection.outgoing.extend(request.bytes());
                    connection.expect(request);
                }
                connection.afterwards = afterwards;
            }
            Action::Begin { request, cut } => {
                let connection = self.connected(registry, tally);
                let mut bytes = request.bytes();
                let length = (bytes.len() * cut / 1000).clamp(1, bytes.len() - 1);
                connection.held_back = bytes.split_off(length);
                connection.outgoing.extend(bytes);
                connection.expect(request);
            }
            Action::Finish => {
                // Without a connection it failed with its worker.
                if let Some(connection) = self.connection.as_mut() {
                    connection.outgoing.append(&mut connection.held_back);
                }
            }
            Action::Tear => {
                let torn = self.connection.take();
                tally.abandoned += torn.map_or(0, |connection| connection.expected.len());
            }
        }
    }

    fn connected(&mut self, registry: &Registry, tally: &mut Tally) -> &mut Connection {
        let (number, address) = (self.number, self.address);
        self.connection.get_or_insert_with(|| {
            tally.connections += 1;
            let connect = || -> io::Result<TcpStream> {
                let mut stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                let interest = Interest::READABLE | Interest::WRITABLE;
                registry.register(&mut stream, Token(number), interest)?;
                Ok(stream)
            };
            let stream = connect().expect("the server can be connected to");
            Connection::new(stream, Entry::connected(format!("http://{address}")))
        })
    }

    /// The connection is over, if it is; the test as well if it should not be.
    fn settle(&mut self, end: Option<End>, tally: &mut Tally) {
        let Some(end) = end else { return };
        if let (End::Failed(why), Some(connection)) = (end, &self.connection) {
            assert!(connection.is_exposed, "{why}\n{}", self.describe());
            match connection.asked_before {
                0 => tally.died_idle += 1,
                _ => tally.died += connection.expected.len(),
            }
        }
        self.connection = None;
    }
}

impl Connection {
    fn new(stream: TcpStream, entry: Entry) -> Connection {
        Connection {
            entry,
            stream,
            outgoing: Vec::new(),
            sent: 0,
            incoming: Vec::new(),
            expected: VecDeque::new(),
            held_back: Vec::new(),
            afterwards: Afterwards::Stay,
            has_ended_sending: false,
            is_exposed: false,
            asked_before: 0,
            used_at: Instant::now(),
            slot: None,
        }
    }

    fn is_idle(&self) -> bool {
        self.expected.is_empty() && self.sent == self.outgoing.len()
    }

    fn expect(&mut self, request: Request) {
        self.expected.push_back(request);
        self.used_at = Instant::now();
    }

    fn write(&mut self, tally: &mut Tally) -> Option<End> {
        while self.sent < self.outgoing.len() {
            match self.stream.write(&self.outgoing[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if is_not_yet(&error) => return None,
                // An answer may have come before the end, and says more.
                Err(error) => {
                    return self.read(tally).or(Some(End::Failed(format!("sending: {error}"))));
                }
            }
        }
        self.outgoing.clear();
        self.sent = 0;
        if !self.held_back.is_empty() || self.has_ended_sending {
            return None;
        }
        match self.afterwards {
            Afterwards::Stay => None,
            Afterwards::EndSending => {
                match self.stream.shutdown(Shutdown::Write) {
                    // Not connected yet; there will be an event. Any other failure is read.
                    Err(error) if error.kind() == ErrorKind::NotConnected => {}
                    Ok(()) | Err(_) => self.has_ended_sending = true,
                }
                None
            }
            Afterwards::Close | Afterwards::Abort => {
                if self.afterwards == Afterwards::Abort {
                    let socket = SockRef::from(&self.stream);
                    socket.set_linger(Some(Duration::ZERO)).expect("a socket can be reset");
                }
                tally.abandoned += self.expected.len();
                Some(End::Wanted)
            }
        }
    }

    fn read(&mut self, tally: &mut Tally) -> Option<End> {
        let mut piece = [0; READ_SIZE];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) if self.expected.is_empty() && self.has_ended_sending => {
                    return Some(End::Wanted);
                }
                Ok(0) => return Some(End::Failed("the server ended the connection".to_owned())),
                Ok(count) => self.incoming.extend(&piece[..count]),
                Err(error) if is_not_yet(&error) => return None,
                Err(error) => return Some(End::Failed(format!("reading: {error}"))),
            }
            if let Some(end) = self.take_answers(tally) {
                return Some(end);
            }
        }
    }

    fn take_answers(&mut self, tally: &mut Tally) -> Option<End> {
        loop {
            let taken = answer::take(&mut self.incoming)
                .unwrap_or_else(|problem| panic!("no answer: {problem}, to {:?}", self.expected));
            if self.expected.is_empty() {
                let rest = String::from_utf8_lossy(&self.incoming);
                assert!(taken.is_none() && rest.is_empty(), "nobody asked for {taken:?} {rest:?}");
            }
            let answer = taken?;
            self.entry.answered(answer.status);
            if answer.status == 502 && self.is_exposed {
                return Some(End::Failed("its worker died".to_owned()));
            }
            self.take_answer(&answer);
            tally.answered += 1;
            let slot = answer.header("x-maitred-worker").map(str::to_owned);
            tally.moved += usize::from(self.slot.is_some() && self.slot != slot);
            self.slot = slot;
        }
    }

    fn take_answer(&mut self, answer: &Answer) {
        let request = self.expected.pop_front().expect("an answer is expected");
        let head = (answer.status, &answer.headers);
        assert_eq!(answer.status, 200, "to {request:?}: {head:?} {:?}", answer.text());
        if let Err(wrong) = request.check(&answer.body) {
            panic!("wrong: {wrong}; {head:?}");
        }
        let is_early = self.expected.is_empty() && !self.held_back.is_empty();
        assert!(!is_early, "{request:?} was answered before it was sent");
        let is_last = answer.header("connection").is_some_and(|value| value == "close");
        assert!(!is_last || self.has_ended_sending, "told to close: {head:?}");
        self.used_at = Instant::now();
        // Whoever answers what was asked after a worker was killed has survived it.
        self.is_exposed &= self.asked_before > 0;
        self.asked_before = self.asked_before.saturating_sub(1);
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.incoming[..self.incoming.len().min(INCOMING_SHOWN_MAX)];
        write!(
            f,
            "expects {:?}, since {:?}, sent {} of {} and holds back {}, has {:?}, then {:?}, \
             has ended sending {}, exposed {}, last answered by {:?}, at {:?}",
            self.expected,
            self.used_at.elapsed(),
            self.sent,
            self.outgoing.len(),
            self.held_back.len(),
            String::from_utf8_lossy(shown),
            self.afterwards,
            self.has_ended_sending,
            self.is_exposed,
            self.slot,
            self.stream.local_addr(),
        )
    }
}

/// Nothing is there, or the connection is not made yet: an event says when to try again.
fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected | ErrorKind::Interrupted)
}
