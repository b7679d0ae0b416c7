//! Clients with bad habits: one thread that keeps so many of them at it until they are told to leave.
//!
//! Not here: what they cost others (`hostile`).

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::common::{DEADLINE, eventually};

/// Between two turns of the crowd.
const TURN: Duration = Duration::from_millis(10);

/// How often a slow client sends or reads its next byte.
const SLOW_EVERY: Duration = Duration::from_secs(1);

/// An answer that a slow reader asks for: more than socket buffers hold.
const SLOW_ANSWER: usize = 20_000_000;

/// A head larger than the largest that is allowed by default (68 KiB), and how often one comes: the
/// client is to make them without being short of CPU itself.
const BOMB_SIZE: usize = 128 * 1024;
const BOMB_EVERY: Duration = Duration::from_millis(50);

/// Requests that a pipelining client sends in one go, every turn.
const PIPELINED: usize = 16;

/// A receive buffer that is full at once.
const SLOW_BUFFER: usize = 4096;

/// What they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// A byte of a head, now and then.
    SlowHead,
    /// A byte of a body, now and then.
    SlowBody,
    /// A byte of a large answer is read, now and then.
    SlowReader,
    /// A request and the end of sending; the answer is read; again.
    HalfClose,
    /// Connects, and resets; again.
    Reset,
    /// A head without end, until the server has had enough; again.
    HeadBomb,
    /// Connects, and says nothing.
    Silent,
    /// Many requests at once, whose answers are read; again.
    Pipeline,
}

pub(crate) const HABITS: [Habit; 8] = [
    Habit::SlowHead,
    Habit::SlowBody,
    Habit::SlowReader,
    Habit::HalfClose,
    Habit::Reset,
    Habit::HeadBomb,
    Habit::Silent,
    Habit::Pipeline,
];

/// A crowd that is there.
pub(crate) struct Crowd {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

struct Shared {
    is_over: AtomicBool,
    connected: AtomicU64,
    is_gathered: AtomicBool,
}

struct Member {
    stream: TcpStream,
    /// When it does its next thing.
    next: Instant,
}

impl Crowd {
    /// Brings so many together, and returns when all are connected.
    pub(crate) fn gather(address: SocketAddr, habit: Habit, count: usize) -> Crowd {
        let shared = Arc::new(Shared {
            is_over: AtomicBool::new(false),
            connected: AtomicU64::new(0),
            is_gathered: AtomicBool::new(false),
        });
        let ours = Arc::clone(&shared);
        let thread = thread::spawn(move || ours.work(address, habit, count));
        eventually(DEADLINE * 3, "the crowd is there", || {
            shared.is_gathered.load(Ordering::Relaxed)
        });
        Crowd { shared, thread }
    }

    /// Sends it away, and says how many connections it made.
    pub(crate) fn leave(self) -> u64 {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.thread.join().expect("a crowd does not panic");
        self.shared.connected.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn work(&self, address: SocketAddr, habit: Habit, count: usize) {
        let mut members: Vec<Option<Member>> = (0..count).map(|_| None).collect();
        while !self.is_over.load(Ordering::Relaxed) {
            let began = Instant::now();
            for (number, place) in members.iter_mut().enumerate() {
                if self.is_over.load(Ordering::Relaxed) {
                    return;
                }
                if let Some(member) = place {
                    // Whoever was shown out comes again.
                    if member.next <= began && habit.go_on(member).is_err() {
                        *place = None;
                    }
                    continue;
                }
                // Not all in one moment: they are many.
                let phase = SLOW_EVERY.mul_f64(number as f64 / count as f64);
                match self.connect(address, habit, began + phase) {
                    Ok(member) => *place = member,
                    // At its limits, or the server's: later.
                    Err(_) => break,
                }
            }
            if members.iter().all(Option::is_some) || habit.is_over_at_once() {
                self.is_gathered.store(true, Ordering::Relaxed);
            }
            thread::sleep(TURN.saturating_sub(began.elapsed()));
        }
    }

    fn connect(
        &self,
        address: SocketAddr,
        habit: Habit,
        next: Instant,
    ) -> io::Result<Option<Member>> {
        let stream = TcpStream::connect(address)?;
        self.connected.fetch_add(1, Ordering::Relaxed);
        stream.set_nonblocking(true)?;
        let mut member = Member { stream, next };
        Ok(habit.begin(&mut member).is_ok().then_some(member))
    }
}

impl Habit {
    /// Whether its members come and go in the same turn.
    fn is_over_at_once(self) -> bool {
        self == Habit::Reset
    }

    /// Whether its members hold a connection each for as long as a window lasts.
    pub(crate) fn stays(self) -> bool {
        match self {
            Habit::SlowHead | Habit::SlowBody | Habit::SlowReader | Habit::Silent => true,
            Habit::HalfClose | Habit::Reset | Habit::HeadBomb | Habit::Pipeline => false,
        }
    }

    /// What it does first. An error is the end of the connection.
    fn begin(self, member: &mut Member) -> io::Result<()> {
        let stream = &mut member.stream;
        match self {
            // Reset at the end: ten thousand in TIME_WAIT would end a minute later, in the middle of
            // another window.
            Habit::Silent => SockRef::from(&*stream).set_linger(Some(Duration::ZERO)),
            Habit::SlowHead => send(stream, b"GET / HTTP/1.1\r\nHost: crowd\r\nX: "),
            Habit::SlowBody => send(
                stream,
                b"POST /echo HTTP/1.1\r\nHost: crowd\r\nContent-Length: 100000\r\n\r\n",
            ),
            Habit::SlowReader => {
                SockRef::from(&*stream).set_recv_buffer_size(SLOW_BUFFER)?;
                let request = format!("GET /bytes/{SLOW_ANSWER} HTTP/1.1\r\nHost: crowd\r\n\r\n");
                send(stream, request.as_bytes())
            }
            Habit::HalfClose => {
                send(stream, b"GET / HTTP/1.1\r\nHost: crowd\r\n\r\n")?;
                member.next = Instant::now();
                stream.shutdown(Shutdown::Write)
            }
            Habit::Reset => {
                SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?;
                Err(ErrorKind::ConnectionReset.into())
            }
            Habit::HeadBomb => {
                member.next = Instant::now() + BOMB_EVERY;
                send(stream, b"GET / HTTP/1.1\r\nHost: crowd\r\n")
            }
            Habit::Pipeline => {
                member.next = Instant::now();
                Ok(())
            }
        }
    }

    /// What it does next.
    fn go_on(self, member: &mut Member) -> io::Result<()> {
        let mut buffer = [0; 64 * 1024];
        match self {
            Habit::Silent | Habit::Reset => {
                member.next += SLOW_EVERY;
                discard(&mut member.stream, &mut buffer)
            }
            Habit::SlowHead | Habit::SlowBody => {
                member.next += SLOW_EVERY;
                discard(&mut member.stream, &mut buffer)?;
                send(&mut member.stream, b"x")
            }
            Habit::SlowReader => {
                member.next += SLOW_EVERY;
                discard(&mut member.stream, &mut buffer[..1])
            }
            Habit::HalfClose => discard(&mut member.stream, &mut buffer),
            Habit::HeadBomb => {
                let field = format!("X: {}\r\n", "b".repeat(BOMB_SIZE));
                member.next += BOMB_EVERY;
                send(&mut member.stream, field.as_bytes())?;
                discard(&mut member.stream, &mut buffer)
            }
            Habit::Pipeline => {
                let requests = b"GET / HTTP/1.1\r\nHost: crowd\r\n\r\n".repeat(PIPELINED);
                send(&mut member.stream, &requests)?;
                discard(&mut member.stream, &mut buffer)
            }
        }
    }
}

/// Sends what the socket has room for.
fn send(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    match stream.write(bytes) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}

/// Reads what there is, once. The server's end is an error.
fn discard(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<()> {
    match stream.read(buffer) {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}
