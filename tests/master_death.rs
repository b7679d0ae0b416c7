//! The master is killed: what workers hold is answered, nobody keeps the port, and where somebody
//! else holds the listener, as systemd does, nobody who waits in its queue is refused.

#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::net::{SocketAddr, TcpListener};

use nix::sys::signal::Signal;

use common::client::Client;
use common::{DEADLINE, Server, activate, eventually, is_alive, read_until, signal_process};

#[test]
fn workers_answer_what_they_have_and_go_and_the_port_is_free_at_once() {
    let server = Server::start(&["serve", "-w", "2", "--threads", "2"]);
    let address = server.address();
    let workers = server.worker_pids();
    let mut idle = Client::connect(address);
    assert_eq!(idle.get("/").status, 200);
    let mut busy: Vec<_> = (0..4).map(|_| Client::connect(address)).collect();
    for client in &mut busy {
        client.send(b"GET /sleep/1000 HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    // What a worker has read is answered; what it has not is the price of the master's death. So
    // each is seen at work before: a thread that sleeps in its handler.
    eventually(DEADLINE, "four handlers sleep", || sleeping_threads(&workers) >= 4);
    signal_process(server.pid(), Signal::SIGKILL);
    eventually(DEADLINE, "the port is free while they finish", || {
        TcpListener::bind(address).is_ok()
    });
    for client in &mut busy {
        assert_eq!(client.answer(false).status, 200);
    }
    idle.expect_eof();
    eventually(DEADLINE, "the workers have gone", || workers.iter().all(|pid| !is_alive(*pid)));
}

/// Threads of these processes that wait in nanosleep(2).
fn sleeping_threads(pids: &[u32]) -> usize {
    let tasks = pids.iter().filter_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).ok());
    let calls = tasks.flatten().flatten().filter_map(|task| {
        let text = fs::read_to_string(task.path().join("syscall")).ok()?;
        text.split_whitespace().next()?.parse::<i64>().ok()
    });
    calls
        .filter(|call| [nix::libc::SYS_nanosleep, nix::libc::SYS_clock_nanosleep].contains(call))
        .count()
}

#[test]
fn with_an_activator_the_queue_outlives_the_master() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address: SocketAddr = listener.local_addr().expect("an address");
    let (mut first, _stderr) = activate(&listener);
    assert_eq!(Client::connect(address).get("/").status, 200);
    signal_process(first.id(), Signal::SIGKILL);
    first.wait().expect("our child");
    // Nobody accepts now; who connects waits.
    let mut waiting: Vec<_> = (0..20).map(|_| Client::connect(address)).collect();
    for client in &mut waiting {
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    let (mut second, mut stderr) = activate(&listener);
    for client in &mut waiting {
        assert_eq!(client.answer(false).status, 200);
    }
    // An upgrade keeps such a listener too, and does not take it for a new one.
    let mut idle = Client::connect(address);
    assert_eq!(idle.get("/").status, 200);
    signal_process(second.id(), Signal::SIGUSR2);
    read_until(&mut stderr, "upgraded: ");
    assert_eq!(idle.get("/").status, 200);
    assert_eq!(Client::connect(address).get("/").status, 200);
    signal_process(second.id(), Signal::SIGTERM);
    assert!(second.wait().expect("our child").success());
}
