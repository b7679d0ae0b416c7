//! A worker that is stuck holds nobody up: what it has not claimed goes elsewhere, and it is left
//! to get on with its work.

#![cfg(feature = "cli")]

mod common;

use std::time::{Duration, Instant};

use common::client::Client;
use common::load::{Load, Mode};
use common::{DEADLINE, Server, Stopped, cpu_ticks, eventually};

const WORKERS: usize = 4;

/// Within this an answer has not waited for a spin of two seconds. A loaded machine is slow too.
const AT_ONCE: Duration = Duration::from_millis(500);

fn nobody_is_seated_with_a_spinning_worker(threads: &str) {
    let server = Server::start(&["serve", "-w", "4", "--threads", threads]);
    eventually(DEADLINE, "the workers are there", || server.worker_pids().len() == WORKERS);
    let mut spinning = Client::connect(server.address());
    let who = spinning.get("/whoami");
    let (slot, pid) = (who.number("slot"), who.number("pid"));

    let idle = cpu_ticks(pid);
    spinning.send(b"GET /spin/2000 HTTP/1.1\r\nHost: test\r\n\r\n");
    let begun = Instant::now();
    eventually(DEADLINE, "the worker spins", || cpu_ticks(pid) >= idle + 2);

    let mut slowest = Duration::ZERO;
    let mut seated_with_it = 0;
    for _ in 0..200 {
        let start = Instant::now();
        let answer = Client::connect(server.address()).get("/whoami");
        slowest = slowest.max(start.elapsed());
        if answer.number("slot") == slot {
            seated_with_it += 1;
        }
    }
    // CPU time takes at least as long by the clock: until then it was spinning all the while.
    assert!(begun.elapsed() < Duration::from_secs(2), "this machine is too slow to tell");
    assert_eq!(seated_with_it, 0);
    assert!(slowest < AT_ONCE, "one waited {slowest:?}");
    assert_eq!(spinning.answer(false).text(), "spun 2000.000 ms\n");
    drop(spinning);
    server.assert_conserved_at_rest();
}

#[test]
fn nobody_is_seated_with_a_spinning_loop() {
    nobody_is_seated_with_a_spinning_worker("0");
}

#[test]
fn nobody_is_seated_with_a_spinning_handler_thread() {
    nobody_is_seated_with_a_spinning_worker("1");
}

#[test]
fn a_stopped_worker_is_left_alone_and_others_answer() {
    let server = Server::start(&["serve", "-w", "4"]);
    eventually(DEADLINE, "the workers are there", || server.worker_pids().len() == WORKERS);
    let workers = server.worker_pids();
    let load = Load::start(server.address(), 200, "/", Mode::NewConnection);
    eventually(DEADLINE, "the load flows", || load.answered() >= 50);

    let stopped = Stopped::stop(workers[0]);
    let start = Instant::now();
    let before = load.answered();
    eventually(DEADLINE, "two seconds of load have passed", || {
        start.elapsed() >= Duration::from_secs(2)
    });
    let meanwhile = load.answered() - before;
    drop(stopped);
    let after = load.answered() + 50;
    eventually(DEADLINE, "the load flows on", || load.answered() >= after);
    let ledger = load.stop();

    assert_eq!(ledger.failed(), 0, "{ledger:?}");
    assert!(meanwhile >= 300, "only {meanwhile} of 400 were answered while one was stopped");
    // One thread: one request may have been with it, and one just claimed. They wait until it goes
    // on, since what has been read cannot be served by another.
    let waited = ledger.slower_than(AT_ONCE);
    assert!(waited <= 2, "{waited} waited, the longest {:?}", ledger.slowest());
    assert_eq!(server.worker_pids(), workers, "nobody is killed for being slow");
    server.assert_conserved_at_rest();
}

#[test]
fn what_waits_at_a_worker_that_stops_is_recalled() {
    // Sent in one burst, perhaps before the master knows that one of the two has stopped: what is
    // lent to it must not stay there.
    let server = Server::start(&["serve", "-w", "2"]);
    eventually(DEADLINE, "the workers are there", || server.worker_pids().len() == 2);
    let workers = server.worker_pids();
    let stopped = Stopped::stop(workers[0]);
    let mut clients: Vec<_> = (0..20).map(|_| Client::connect(server.address())).collect();
    for client in &mut clients {
        client.send(b"GET /whoami HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.answer(false).number("pid"), workers[1]);
    }
    drop(stopped);
    drop(clients);
    server.assert_conserved_at_rest();
}

/// With `--report-age` a look that is due is due until the next report: the master has to wait for
/// that, and turned round and round instead.
#[test]
fn a_master_that_goes_by_old_reports_waits_for_the_next() {
    let flags = ["serve", "-w", "2", "--threads", "0", "--report-age", "400ms"];
    let server = Server::start(&flags);
    let (began, ticks) = (Instant::now(), cpu_ticks(server.pid()));
    for _ in 0..4 {
        // Each is lent, and so looked after.
        assert_eq!(Client::connect(server.address()).get("/sleep/300").status, 200);
    }
    let used = Duration::from_millis(10) * u32::try_from(cpu_ticks(server.pid()) - ticks).unwrap();
    assert!(used < began.elapsed() / 3, "{used:?} of {:?}", began.elapsed());
}
