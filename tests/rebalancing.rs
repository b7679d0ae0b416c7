//! What `--rebalance never`, `auto` and `always` promise for keep-alive connections, story by
//! story: who answers when the worker that holds an idle connection cannot.
//!
//! Not here: thousands of connections and all faults at once (`rebalancing_chaos`), connections
//! that nobody has claimed yet (`stuck`).

#![cfg(feature = "cli")]

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use common::client::Client;
use common::{DEADLINE, Server, Stopped, cpu_ticks, eventually, signal_process};

/// How long a worker is busy where a test needs it to be: others must be answered within it.
const BUSY: Duration = Duration::from_secs(3);

const WHO: &[u8] = b"GET /whoami HTTP/1.1\r\nHost: test\r\n\r\n";

fn start(mode: &str, workers: usize, more: &[&str]) -> Server {
    let count = workers.to_string();
    let server =
        Server::start(&[&["serve", "-w", count.as_str(), "--rebalance", mode], more].concat());
    eventually(DEADLINE, "the workers are there", || server.worker_pids().len() == workers);
    server
}

/// Opens keep-alive connections until every worker holds so many idle ones.
fn idle_at_each(server: &Server, count: usize) -> BTreeMap<u32, Vec<Client>> {
    let workers = server.worker_pids();
    let mut held: BTreeMap<u32, Vec<Client>> = BTreeMap::new();
    eventually(DEADLINE, "every worker holds connections", || {
        let mut client = Client::connect(server.address());
        let pid = client.get("/whoami").number("pid");
        held.entry(pid).or_default().push(client);
        workers.iter().all(|worker| held.get(worker).is_some_and(|held| held.len() >= count))
    });
    server.wait_for_rest();
    held
}

/// Connections of two workers: of the first, which something will happen to, and of the other.
fn idle_at_two(server: &Server) -> ((u32, Vec<Client>), (u32, Vec<Client>)) {
    let mut held = idle_at_each(server, 3);
    assert_eq!(held.len(), 2, "there are two workers");
    let first = held.pop_first().expect("there are two");
    (first, held.pop_first().expect("there are two"))
}

#[test]
fn auto_idle_connections_of_a_stopped_worker_are_answered_by_another() {
    let server = start("auto", 2, &["--threads", "0"]);
    let ((victim, mut its), (other, mut others)) = idle_at_two(&server);
    let stopped = Stopped::stop(victim);
    for client in its.iter_mut().chain(&mut others) {
        client.send(WHO);
    }
    for client in its.iter_mut().chain(&mut others) {
        assert_eq!(client.answer(false).number("pid"), other);
    }
    drop(stopped);
    for client in its.iter_mut().chain(&mut others) {
        assert_eq!(client.get("/whoami").status, 200);
    }
    assert!(server.worker_pids().contains(&victim), "nobody is killed for being slow");
}

fn auto_idle_connections_of_a_busy_worker_are_answered_by_another(threads: &str, work: &str) {
    // A worker that this machine has not run for a millisecond shall not be taken for stuck: what is
    // sent to it must reach it, and what comes behind its answer too.
    let server = start("auto", 2, &["--threads", threads, "--stall-after", "100ms"]);
    let ((victim, mut its), (other, _others)) = idle_at_two(&server);
    let mut busy = its.pop().expect("it holds some");
    let idle_ticks = cpu_ticks(victim);
    let begun = Instant::now();
    busy.send(format!("GET {work} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes());
    if work.starts_with("/spin") {
        eventually(DEADLINE, "the worker spins", || cpu_ticks(victim) >= idle_ticks + 2);
    }
    // Twice: those that have moved stay where they are.
    for _ in 0..2 {
        for client in &mut its {
            assert_eq!(client.get("/whoami").number("pid"), other);
        }
    }
    assert!(begun.elapsed() < BUSY, "they waited, or this machine is too slow to tell");
    assert_eq!(busy.answer(false).status, 200);
    assert_eq!(busy.get("/whoami").number("pid"), victim, "what is claimed is not moved");
}

#[test]
fn auto_idle_connections_of_a_spinning_loop_are_answered_by_another() {
    auto_idle_connections_of_a_busy_worker_are_answered_by_another("0", "/spin/3000");
}

#[test]
fn auto_idle_connections_of_a_sleeping_thread_are_answered_by_another() {
    auto_idle_connections_of_a_busy_worker_are_answered_by_another("1", "/sleep/3000");
}

#[test]
fn never_an_idle_connection_waits_for_its_own_worker() {
    let server = start("never", 2, &["--threads", "0"]);
    let ((victim, mut its), (other, mut others)) = idle_at_two(&server);
    let stopped = Stopped::stop(victim);
    for client in &mut its {
        client.send(WHO);
    }
    for client in &mut others {
        assert_eq!(client.get("/whoami").number("pid"), other);
    }
    drop(stopped);
    for client in &mut its {
        assert_eq!(client.answer(false).number("pid"), victim);
    }
}

#[test]
fn always_successive_requests_of_a_connection_are_seated_afresh() {
    // A worker that this machine has not run for a millisecond shall not be taken for stuck.
    let server =
        start("always", 2, &["--threads", "0", "--balance", "round-robin", "--stall-after", "1s"]);
    let mut client = Client::connect(server.address());
    let pids: Vec<_> = (0..10).map(|_| client.get("/whoami").number("pid")).collect();
    assert!(pids.windows(2).all(|pair| pair[0] != pair[1]), "{pids:?}");
}

#[test]
fn always_an_idle_connection_survives_every_worker() {
    let server = start("always", 3, &[]);
    let mut held: Vec<_> = (0..6).map(|_| Client::connect(server.address())).collect();
    for client in &mut held {
        assert_eq!(client.get("/").status, 200);
    }
    server.wait_for_rest();
    for victim in server.worker_pids() {
        signal_process(victim, Signal::SIGKILL);
        eventually(DEADLINE, "it is replaced", || {
            let now = server.worker_pids();
            now.len() == 3 && !now.contains(&victim)
        });
        for client in &mut held {
            assert_ne!(client.get("/whoami").number("pid"), victim);
        }
        server.wait_for_rest();
    }
}

#[test]
fn always_a_parked_connection_ends_at_its_idle_deadline() {
    let server = start("always", 2, &["--keep-alive", "1s"]);
    let mut client = Client::connect(server.address());
    assert_eq!(client.get("/").status, 200);
    let answered = Instant::now();
    client.expect_eof();
    let idle = answered.elapsed();
    assert!(idle >= Duration::from_millis(900), "ended after {idle:?}");
}

#[test]
fn auto_a_moved_connection_ends_at_its_idle_deadline() {
    let server = start("auto", 2, &["--threads", "0", "--keep-alive", "2s"]);
    let ((victim, mut its), (other, _others)) = idle_at_two(&server);
    let stopped = Stopped::stop(victim);
    let mut client = its.pop().expect("it holds some");
    assert_eq!(client.get("/whoami").number("pid"), other);
    let answered = Instant::now();
    // Its old worker still holds a copy.
    client.expect_eof();
    let idle = answered.elapsed();
    assert!(idle >= Duration::from_millis(1900), "ended after {idle:?}");
    drop(stopped);
}

#[test]
fn auto_who_ends_sending_behind_a_request_is_answered_by_another() {
    let server = start("auto", 2, &["--threads", "0"]);
    let ((victim, mut its), (other, _others)) = idle_at_two(&server);
    let stopped = Stopped::stop(victim);
    for client in &mut its {
        client.send(WHO);
        client.finish_sending();
    }
    for client in &mut its {
        assert_eq!(client.answer(false).number("pid"), other);
        client.expect_eof();
    }
    drop(stopped);
}

#[test]
fn auto_pipelined_requests_are_answered_in_order_by_one_worker() {
    for (threads, work, answer) in
        [("0", "/spin/200", "spun 200.000 ms\n"), ("1", "/sleep/200", "slept 200.000 ms\n")]
    {
        let server = start("auto", 2, &["--threads", threads]);
        let ((victim, mut its), _others) = idle_at_two(&server);
        let stall = format!("GET {work} HTTP/1.1\r\nHost: test\r\n\r\n");
        let mut client = its.pop().expect("it holds some");
        client.send(&[WHO, stall.as_bytes(), WHO].concat());
        assert_eq!(client.answer(false).number("pid"), victim);
        assert_eq!(client.answer(false).text(), answer);
        assert_eq!(client.answer(false).number("pid"), victim);
    }
}

#[test]
fn auto_what_is_readable_while_nobody_has_room_is_answered_later() {
    let server = start("auto", 2, &["--threads", "1"]);
    let ((_, mut its), (_, mut others)) = idle_at_two(&server);
    let mut busy = [its.pop().expect("it holds some"), others.pop().expect("it holds some")];
    for client in &mut busy {
        client.send(b"GET /sleep/500 HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    for client in its.iter_mut().chain(&mut others) {
        client.send(WHO);
    }
    for client in its.iter_mut().chain(&mut others) {
        assert_eq!(client.answer(false).status, 200);
    }
    for client in &mut busy {
        assert_eq!(client.answer(false).text(), "slept 500.000 ms\n");
    }
}
