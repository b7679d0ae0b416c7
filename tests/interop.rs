//! The hand-off protocol from an independent side: a worker that shares no code with ours (the
//! example `foreign_worker`, on the sendfd crate alone) is started by the master, and serves.

#![cfg(feature = "cli")]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::client::Client;
use common::load::{Load, Mode};
use common::{DEADLINE, Server, eventually, foreign_worker, signal_process};
use maitred::account::Outcome;
use nix::sys::signal::Signal;

#[test]
fn a_worker_on_sendfd_alone_serves_requests() {
    let server = Server::start(&["serve", "-w", "2", "--", &foreign_worker()]);
    let idle = server.descriptors();
    let mut slots = BTreeSet::new();
    for _ in 0..200 {
        let answer = Client::connect(server.address()).get("/");
        assert_eq!(answer.status, 200);
        slots.insert(answer.number("slot"));
    }
    assert_eq!(slots, BTreeSet::from([0, 1]), "both serve");
    eventually(DEADLINE, "every connection's descriptor is closed", || {
        server.descriptors() == idle
    });
}

#[test]
fn a_worker_without_a_page_is_replaced_and_its_unread_connections_are_served() {
    let server = Server::start(&["serve", "-w", "2", "--", &foreign_worker()]);
    let load = Load::start(server.address(), 300, "/", Mode::NewConnection);
    eventually(DEADLINE, "the load flows", || load.answered() > 50);
    let victims = server.worker_pids();
    signal_process(victims[0], Signal::SIGKILL);
    eventually(DEADLINE, "another takes its place", || {
        let pids = server.worker_pids();
        pids.len() == 2 && pids[..] != victims[..]
    });
    let before = load.answered();
    eventually(DEADLINE, "the load goes on", || load.answered() > before + 50);
    let ledger = load.stop();
    // The one that it had taken may be cut off; whatever waited is served by the other.
    assert!(ledger.failed() <= 1, "{ledger:?}");
}

/// The first form of the protocol's page said that a worker leaves at any `Drain`; so after TERM a
/// server of such workers had none left for the connections of its last second, and reset them.
#[test]
fn it_serves_to_the_end_of_a_server_that_ends() {
    let mut server = Server::start(&["serve", "-w", "2", "--", &foreign_worker()]);
    let mode = Mode::NewConnectionPausing(Duration::from_millis(20));
    let load = Load::start(server.address(), 300, "/", mode);
    eventually(DEADLINE, "the load flows", || load.answered() > 50);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(DEADLINE).code(), Some(0));
    let ledger = load.stop();
    assert_eq!(ledger.failed(), ledger.refused, "{ledger:?}");
}

#[test]
fn it_leaves_when_it_is_told_to() {
    let mut server = Server::start(&["serve", "-w", "2", "--", &foreign_worker()]);
    assert_eq!(Client::connect(server.address()).get("/").status, 200);
    server.signal(Signal::SIGTERM);
    assert!(server.wait_exit(DEADLINE).success());
}

#[test]
fn what_it_had_taken_when_it_died_is_reset_and_counted_as_pinned() {
    let server = Server::start(&["serve", "-w", "1", "--", &foreign_worker()]);
    let mut client = Client::connect(server.address());
    // Less than a head: it has been read by a worker from which nothing can be taken back.
    client.send(b"GET / HTTP/1.1\r\n");
    let worker = || server.status().workers.into_iter().next().unwrap_or_default();
    eventually(DEADLINE, "it is taken", || worker().on_loan == 1 && worker().waiting == 0);
    signal_process(worker().pid, Signal::SIGKILL);
    assert!(client.try_answer(false).is_err());
    drop(client);
    server.assert_conserved_at_rest();
    assert_eq!(server.account().counters.of(Outcome::DiedPinned), 1, "{}", server.account());
}
