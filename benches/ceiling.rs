//! How many connections a second one core of the master can dispatch.
//!
//! The master is stopped, the kernel's queue is filled with connections whose requests are here, the
//! master goes on, and its own CPU time (CLOCK_PROCESS_CPUTIME_ID of its process) is read when the
//! queue is empty: accept(2), the decision, the page, sending, and whatever comes back meanwhile are
//! in it. The ceiling is connections ÷ that time.
//!
//! Held equal: one listener, four loop workers with room for everything, so that nothing waits for a
//! worker. Unfair in the master's favour: the queue is full, so packets are too; closing what is over
//! waits until the queue is empty, and is given beside it (`with closes`: until every connection has
//! gone). Unfair against it: workers and client share its cores.
//!
//! `cargo bench --bench ceiling`, and `--smoke` to see that it still runs.

#[path = "../tests/common/mod.rs"]
mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{DEADLINE, Stopped, allow_descriptors, binary, eventually};
use maitred::config::ListenOptions;
use maitred::sys::listener::{open_tcp, queue_length};
use nix::sys::signal::Signal;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use socket2::SockRef;

/// Within the kernel's usual maximum for a backlog (somaxconn, 4096).
const BACKLOG: u32 = 4096;

fn main() {
    let is_smoke = std::env::args().any(|one| one == "--smoke");
    let (count, runs) = if is_smoke { (100, 1) } else { (3000, 9) };
    allow_descriptors(4 * count as u64 + 1000);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("Linux {}, {cores} cores, {count} connections in the queue", kernel.trim());
    let mut found: Vec<(Duration, Duration)> = (0..runs).map(|_| measure(count)).collect();
    found.sort();
    let (least, median, most) = (found[0].0, found[runs / 2].0, found[runs - 1].0);
    let per_second = |time: Duration| count as f64 / time.as_secs_f64();
    let us = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
    println!(
        "dispatched: {:.0} a second of one core (runs {:.0} to {:.0}), {:.2} µs each",
        per_second(median),
        per_second(most),
        per_second(least),
        us(median),
    );
    let mut with_closes: Vec<Duration> = found.iter().map(|(_, all)| *all).collect();
    with_closes.sort();
    println!("with closes: {:.2} µs each", us(with_closes[runs / 2]));
}

/// The master's CPU time until the queue was empty, and until all connections were closed.
fn measure(count: usize) -> (Duration, Duration) {
    let options =
        ListenOptions { backlog: BACKLOG, defer_accept_s: 1, unix_mode: 0o600, unix_owner: None };
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = open_tcp(any, &options).expect("a listener");
    let address = SockRef::from(&listener).local_addr().expect("it is bound");
    let address = address.as_socket().expect("of the internet");
    let mut server = start(&listener);
    // Everybody is there, and every table has grown.
    for _ in 0..8 {
        ask(address);
    }
    let pid = Pid::from_raw(i32::try_from(server.id()).expect("a process id"));
    let stopped = Stopped::stop(server.id());
    let mut clients: Vec<TcpStream> = (0..count).map(|_| send(address)).collect();
    eventually(DEADLINE, "the queue is full", || {
        queue_length(listener.as_fd()).is_some_and(|length| length as usize >= count)
    });
    let before = cpu_time(pid);
    drop(stopped);
    while queue_length(listener.as_fd()) != Some(0) {
        std::hint::spin_loop();
    }
    let dispatched = cpu_time(pid) - before;
    for client in &mut clients {
        read(client);
    }
    eventually(DEADLINE, "all are closed", || common::sockets_of(server.id()) < count / 10);
    let closed = cpu_time(pid) - before;
    nix::sys::signal::kill(pid, Signal::SIGINT).expect("it runs");
    server.wait().expect("it is this process's child");
    (dispatched, closed)
}

/// As systemd would: the listener is its descriptor 3.
fn start(listener: &OwnedFd) -> Child {
    let script = "exec 3<&0 0</dev/null; exec \"$0\" \"$@\"";
    let mut child = Command::new("/bin/sh")
        .args(["-c", script])
        .arg(binary())
        .args(["serve", "-b", "fd://3", "-w", "4", "--threads", "0", "--credit", "4096"])
        .stdin(Stdio::from(listener.try_clone().expect("a descriptor")))
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut stderr = std::io::BufReader::new(child.stderr.take().expect("it is piped"));
    common::read_until(&mut stderr, "maitred is ready");
    // Nobody reads it any more, and nobody has to: log lines that do not go out are dropped.
    child
}

fn send(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the kernel takes it");
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: maitred\r\nConnection: close\r\n\r\n")
        .expect("the kernel takes it");
    stream
}

fn read(stream: &mut TcpStream) {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
}

fn ask(address: SocketAddr) {
    read(&mut send(address));
}

fn cpu_time(pid: Pid) -> Duration {
    let clock = clock_getcpuclockid(pid).expect("its clock");
    Duration::from(clock_gettime(clock).expect("its time"))
}
