//! How a stuck worker's readable connections are found among its idle ones: three ways, at 64, 5,000
//! and 50,000 idle connections of which eight are readable. This is why the master has an epoll
//! instance for each worker, fills it when the worker is first found stuck, and asks it only then.
//!
//! - **at the moment**: all are registered when the worker is found stuck, and taken out again when
//!   it goes on. Bounded to 1,024 of them in the second column, as it would have to be.
//! - **kept, first ask**: they were registered before (the worker was stuck once), and each has had
//!   traffic since the last ask: the kernel looks at every one of them again.
//! - **kept, next ask**: the same with no traffic since: the kernel looks at the readable ones.
//!
//! And what a kept registration costs each packet of a connection whose worker is never stuck: one
//! more callback of the kernel, for sockets in no other epoll instance.
//!
//! Held equal: eventfds stand for connections (a descriptor each, readable at will), so that 50,000
//! fit; a socket's poll is a little dearer. Medians of several rounds, in one process.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::Timespec;

const SIZES: [usize; 3] = [64, 5_000, 50_000];
const READABLE: usize = 8;
const BOUND: usize = 1_024;
const ROUNDS: usize = 21;

fn main() {
    let smoke = std::env::args().any(|one| one == "--test");
    let descriptors = raise_limit();
    println!(
        "{:>7} {:>15} {:>15} {:>15} {:>15}",
        "idle", "at the moment", "…, 1,024 of it", "kept, first", "kept, next"
    );
    for size in SIZES {
        let size = if smoke { size.min(64) } else { size.min(descriptors) };
        let connections = connections(size).expect("within the limit");
        let all = median(|| at_the_moment(&connections, size));
        let bounded = median(|| at_the_moment(&connections, size.min(BOUND)));
        let (first, next) = kept(&connections);
        println!("{size:>7} {all:>15.1?} {bounded:>15.1?} {first:>15.1?} {next:>15.1?}");
    }
    let rounds = if smoke { 100 } else { 200_000 };
    let (without, with) = (packets(false, rounds), packets(true, rounds));
    println!("a packet sent and read: {without:.2?} without, {with:.2?} with a kept registration");
}

fn connections(count: usize) -> Option<Vec<OwnedFd>> {
    (0..count).map(|_| eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).ok()).collect()
}

/// Registers `count` of them, asks, and takes them out.
fn at_the_moment(connections: &[OwnedFd], count: usize) -> Duration {
    let epoll = epoll::create(CreateFlags::CLOEXEC).expect("an epoll instance");
    let _readable = Readable::some(connections);
    let began = Instant::now();
    register(&epoll, &connections[connections.len() - count..]);
    ask(&epoll);
    for connection in &connections[connections.len() - count..] {
        epoll::delete(&epoll, connection).expect("registered");
    }
    began.elapsed()
}

/// All are registered; asked after traffic on each of them, and once more.
fn kept(connections: &[OwnedFd]) -> (Duration, Duration) {
    let epoll = epoll::create(CreateFlags::CLOEXEC).expect("an epoll instance");
    register(&epoll, connections);
    let mut firsts = Vec::new();
    let mut nexts = Vec::new();
    for _ in 0..ROUNDS {
        for connection in connections {
            set_readable(connection, true);
            set_readable(connection, false);
        }
        let _readable = Readable::some(connections);
        let began = Instant::now();
        ask(&epoll);
        firsts.push(began.elapsed());
        let began = Instant::now();
        ask(&epoll);
        nexts.push(began.elapsed());
    }
    (middle(firsts), middle(nexts))
}

/// One byte there, and read, on a TCP connection that is or is not in an epoll instance.
fn packets(registered: bool, rounds: u32) -> Duration {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut near = TcpStream::connect(listener.local_addr().expect("bound")).expect("a listener");
    let (mut far, _) = listener.accept().expect("a connection");
    near.set_nodelay(true).expect("a TCP socket");
    let epoll = epoll::create(CreateFlags::CLOEXEC).expect("an epoll instance");
    if registered {
        epoll::add(&epoll, &far, EventData::new_u64(1), EventFlags::IN).expect("room");
    }
    let mut byte = [0];
    let began = Instant::now();
    for _ in 0..rounds {
        near.write_all(&byte).expect("open");
        far.read_exact(&mut byte).expect("open");
    }
    began.elapsed() / rounds
}

fn register(epoll: &OwnedFd, connections: &[OwnedFd]) {
    for (number, connection) in connections.iter().enumerate() {
        let data = EventData::new_u64(number as u64);
        epoll::add(epoll, connection, data, EventFlags::IN | EventFlags::RDHUP).expect("room");
    }
}

fn ask(epoll: &OwnedFd) {
    let mut events: Vec<Event> = Vec::with_capacity(64);
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    epoll::wait(epoll, spare_capacity(&mut events), Some(&now)).expect("an epoll instance");
    assert_eq!(events.len(), READABLE);
}

/// Some connections are readable for as long as this lives.
struct Readable<'a>(Vec<&'a OwnedFd>);

impl<'a> Readable<'a> {
    fn some(connections: &'a [OwnedFd]) -> Self {
        let readable: Vec<_> = connections.iter().rev().take(READABLE).collect();
        readable.iter().for_each(|one| set_readable(one, true));
        Readable(readable)
    }
}

impl Drop for Readable<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|one| set_readable(one, false));
    }
}

fn set_readable(connection: &OwnedFd, readable: bool) {
    let mut eight = 1_u64.to_ne_bytes();
    if readable {
        rustix::io::write(connection.as_fd(), &eight).expect("an eventfd takes it");
    } else {
        rustix::io::read(connection.as_fd(), &mut eight).expect("it was readable");
    }
}

fn median(mut round: impl FnMut() -> Duration) -> Duration {
    middle((0..ROUNDS).map(|_| round()).collect())
}

fn middle(mut durations: Vec<Duration>) -> Duration {
    durations.sort_unstable();
    durations[durations.len() / 2]
}

/// 50,000 need more than most limits: as many as the system allows, less what the rest needs.
fn raise_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = setrlimit(Resource::Nofile, most);
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |most| most as usize - 100)
}
