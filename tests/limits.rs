//! Out of descriptors: idle connections make room for new ones; where none is idle, the kernel's
//! queue waits, the master neither spins nor shouts, and everybody is served in the end.

#![cfg(feature = "cli")]

mod common;

use common::client::Client;
use common::{DEADLINE, Server, cpu_ticks, eventually};
use maitred::account::Outcome;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

const DESCRIPTORS: u64 = 80;
const CLIENTS: usize = 150;

/// A server whose master may open no more than a few dozen connections.
fn narrow_server(arguments: &[&str]) -> Server {
    let server = Server::start(arguments);
    let pid = i32::try_from(server.pid()).ok().and_then(Pid::from_raw).expect("a process id");
    let limit = Rlimit { current: Some(DESCRIPTORS), maximum: Some(DESCRIPTORS) };
    prlimit(Some(pid), Resource::Nofile, limit).expect("a limit may be lowered");
    server
}

#[test]
fn idle_connections_make_room_for_new_ones() {
    let server = narrow_server(&["serve", "-w", "2"]);
    let mut held = Vec::new();
    for number in 0..CLIENTS {
        let mut client = Client::connect(server.address());
        assert_eq!(client.get("/").status, 200, "connection {number}");
        held.push(client);
    }
    // The longest idle went; the last ones are still here.
    assert_eq!(held.last_mut().expect("there are some").get("/").status, 200);
    drop(held);
    server.assert_conserved_at_rest();
    let made_room = server.account().counters.of(Outcome::MadeRoom);
    assert!(made_room >= CLIENTS as u64 - DESCRIPTORS, "{}", server.account());
}

#[test]
fn where_none_is_idle_the_kernels_queue_waits_and_all_are_served() {
    let server = narrow_server(&["serve", "-w", "2", "--threads", "60", "--credit", "60"]);
    let before = server.descriptors();
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| Client::connect(server.address())).collect();
    for client in &mut clients {
        client.send(b"GET /sleep/700 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.answer(false).status, 200);
    }
    let pauses = server.stderr().matches("accepting pauses").count();
    assert!((1..=3).contains(&pauses), "{pauses} lines about it");
    // A spinning master would have used all of two seconds; this is a tenth of them.
    assert!(cpu_ticks(server.pid()) < 20, "the master spins");
    eventually(DEADLINE, "all descriptors come back", || server.descriptors() == before);
    drop(clients);
    server.assert_conserved_at_rest();
}
