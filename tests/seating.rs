//! Where connections are seated: 400 held connections over 8 workers, one after the other and in
//! bursts, counted by who answers `/whoami`.
//!
//! `--stall-after` is long here, so that a worker that the machine has not run for a millisecond
//! is not taken for stuck: these tests are about seating, `tests/stuck.rs` is about recall.

#![cfg(feature = "cli")]

mod common;

use std::collections::BTreeMap;

use common::client::{Client, count_by_slot, seat_in_bursts};
use common::{Server, allow_descriptors};

const WORKERS: usize = 8;
const CONNECTIONS: usize = 400;
const BURST: usize = 50;

fn server(balance: &str) -> Server {
    // 400 connections here; the server raises its own limit.
    allow_descriptors(4096);
    Server::start(&[
        "serve",
        "-w",
        "8",
        "--balance",
        balance,
        "--credit",
        "64",
        "--stall-after",
        "1s",
    ])
}

fn seat(server: &Server, burst: usize) -> BTreeMap<u32, usize> {
    seat_in_bursts(server.address(), CONNECTIONS, burst)
}

fn assert_exact(counts: &BTreeMap<u32, usize>) {
    let is_exact =
        counts.len() == WORKERS && counts.values().all(|&count| count == CONNECTIONS / WORKERS);
    assert!(is_exact, "by slot: {counts:?}");
}

#[test]
fn round_robin_is_exact_one_after_the_other() {
    assert_exact(&seat(&server("round-robin"), 1));
}

#[test]
fn round_robin_is_exact_in_bursts() {
    assert_exact(&seat(&server("round-robin"), BURST));
}

#[test]
fn least_loaded_is_level_one_after_the_other() {
    let counts = seat(&server("least-loaded"), 1);
    assert_eq!(counts.len(), WORKERS, "by slot: {counts:?}");
    let most = counts.values().max().expect("there are workers");
    let fewest = counts.values().min().expect("there are workers");
    assert!(most - fewest <= 1, "by slot: {counts:?}");
}

/// The requests of a burst last for longer than the burst takes to arrive: so the load that decides
/// is what was dealt, and not whom the machine has run meanwhile. (What happens with requests of
/// 0.1 ms, `cargo bench --bench bars -- seating` measures.)
#[test]
fn least_loaded_is_level_in_bursts() {
    let server = Server::start(&[
        "serve",
        "-w",
        "8",
        "--threads",
        "16",
        "--credit",
        "64",
        "--stall-after",
        "1s",
        "--worker-header",
    ]);
    let mut held: Vec<Client> = Vec::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    while held.len() < CONNECTIONS {
        let mut clients: Vec<_> = (0..BURST).map(|_| Client::connect(server.address())).collect();
        for client in &mut clients {
            client.send(b"GET /sleep/400 HTTP/1.1\r\nHost: test\r\n\r\n");
        }
        for client in &mut clients {
            let answer = client.answer(false);
            let slot = answer.header("x-maitred-worker").expect("it names its worker");
            *counts.entry(slot.to_owned()).or_insert(0) += 1;
        }
        held.append(&mut clients);
    }
    let most = *counts.values().max().expect("there are workers");
    // At most 1.02 times the mean.
    assert!(most * WORKERS * 100 <= CONNECTIONS * 102, "by slot: {counts:?}");
}

#[test]
fn weights_are_kept_over_a_round() {
    let server = Server::start(&[
        "serve",
        "-w",
        "3",
        "--balance",
        "weighted",
        "--weights",
        "3,1,1",
        "--credit",
        "64",
        "--stall-after",
        "1s",
    ]);
    let counts = seat(&server, 1);
    assert_eq!(counts, BTreeMap::from([(0, 240), (1, 80), (2, 80)]));
}

#[test]
fn every_policy_serves() {
    for balance in [
        "round-robin",
        "least-loaded",
        "two-choices",
        "random",
        "weighted",
        "least-latency",
        "ip-hash",
    ] {
        let server = Server::start(&["serve", "-w", "3", "--balance", balance]);
        for _ in 0..30 {
            assert_eq!(Client::connect(server.address()).get("/").status, 200, "{balance}");
        }
    }
}

#[test]
fn one_address_stays_with_one_worker_by_ip_hash() {
    let server =
        Server::start(&["serve", "-w", "4", "--balance", "ip-hash", "--stall-after", "1s"]);
    let answers: Vec<_> =
        (0..40).map(|_| Client::connect(server.address()).get("/whoami")).collect();
    let counts = count_by_slot(&answers);
    assert_eq!(counts.len(), 1, "by slot: {counts:?}");
}
