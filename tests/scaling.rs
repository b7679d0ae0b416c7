//! As many workers as the load needs (`-w MIN..MAX`), with real processes: up while clients wait,
//! down when they have gone, and nothing lost. How the number is found is tested beside
//! `supervise::scaling`, with arrivals of every pattern.

#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;

use common::client::Client;
use common::load::{Load, Mode};
use common::{DEADLINE, Server, eventually};

/// What scaling may take here: several starts, and several times `--scale-down-after`.
const PATIENCE: Duration = Duration::from_secs(60);

/// `--stall-after` is long: a worker that a busy machine does not run is not one that is stuck, and
/// what waits for it waits in its place.
const QUICK: [&str; 6] =
    ["--scale-up-after", "50ms", "--scale-down-after", "1s", "--stall-after", "1s"];

fn serve(workers: &str, more: &[&str]) -> Server {
    Server::start(&[&["serve", "-w", workers], &QUICK[..], more].concat())
}

/// Waits until so many workers are there, and sees that there are never more than the most.
#[track_caller]
fn wait_for_workers(server: &Server, count: usize, most: usize) {
    eventually(PATIENCE, &format!("{count} workers are there"), || {
        let now = server.worker_pids().len();
        assert!(now <= most, "{now} workers");
        now == count
    });
}

#[test]
fn clients_that_wait_bring_workers_and_rest_takes_them_away_again() {
    let server = serve("1..3", &[]);
    assert_eq!(server.worker_pids().len(), 1, "it begins with the least");
    // One worker answers 20 of them in a second.
    let load = Load::start(server.address(), 50, "/sleep/50", Mode::NewConnection);
    wait_for_workers(&server, 3, 3);
    assert!(server.stderr_contains("scaled by the load"), "{}", server.stderr());
    assert!(server.stderr_contains("somebody has waited for"), "{}", server.stderr());
    let then = load.answered();
    eventually(DEADLINE, "the load flows", || load.answered() > then + 100);
    let ledger = load.stop();
    assert_eq!(ledger.failed(), 0, "{ledger:?}");
    wait_for_workers(&server, 1, 3);
    assert!(server.stderr_contains("one fewer would have done"), "{}", server.stderr());
    assert_eq!(Client::connect(server.address()).get("/").status, 200);
    server.assert_conserved_at_rest();
}

#[test]
fn workers_come_and_go_under_kept_connections_and_no_client_notices() {
    let server = serve("1..3", &[]);
    // Nothing that waits on a kept connection is seen to wait: busy workers are.
    let load = Load::start(server.address(), 70, "/sleep/20", Mode::KeepAlive(6));
    eventually(PATIENCE, "workers are added", || server.worker_pids().len() > 1);
    let ledger = load.stop();
    assert_eq!(ledger.failed(), 0, "{ledger:?}");
    let load = Load::start(server.address(), 10, "/", Mode::KeepAlive(2));
    wait_for_workers(&server, 1, 3);
    let ledger = load.stop();
    assert_eq!(ledger.failed(), 0, "{ledger:?}");
}

#[test]
fn a_worker_that_answers_is_not_taken_out() {
    let server = serve("1..2", &[]);
    let load = Load::start(server.address(), 60, "/sleep/50", Mode::NewConnection);
    wait_for_workers(&server, 2, 2);
    assert_eq!(load.stop().failed(), 0);
    let address = server.address();
    let request = b"GET /sleep/4000 HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut slow: Vec<_> = (0..2).map(|_| Client::connect(address)).collect();
    slow.iter_mut().for_each(|client| client.send(request));
    for client in &mut slow {
        assert_eq!(client.answer(false).status, 200);
    }
    drop(slow);
    wait_for_workers(&server, 1, 2);
    server.assert_conserved_at_rest();
}

#[test]
fn an_operator_moves_within_the_bounds_and_a_reload_moves_the_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("maitred.toml");
    let write = |workers: &str| fs::write(&path, format!("workers = {workers}\n")).unwrap();
    write("\"1..2\"");
    let server = Server::start(&["serve", "-c", path.to_str().unwrap()]);
    assert_eq!(server.worker_pids().len(), 1);
    let scaled = |count: usize, text: &str| {
        eventually(DEADLINE, text, || server.stderr().matches(text).count() == count);
    };
    server.signal(Signal::SIGTTIN);
    scaled(1, "scaled workers=2");
    server.signal(Signal::SIGTTIN);
    scaled(2, "scaled workers=2");
    wait_for_workers(&server, 2, 2);
    server.signal(Signal::SIGTTOU);
    scaled(1, "scaled workers=1");
    server.signal(Signal::SIGTTOU);
    scaled(2, "scaled workers=1");
    wait_for_workers(&server, 1, 2);

    // Another image of the process keeps the number, and the bounds.
    server.signal(Signal::SIGTTIN);
    wait_for_workers(&server, 2, 2);
    server.signal(Signal::SIGUSR2);
    eventually(DEADLINE, "it is upgraded", || server.stderr_contains("upgraded: "));
    eventually(DEADLINE, "and has replaced them", || server.stderr_contains("reload done"));
    wait_for_workers(&server, 2, 4);

    write("\"3..4\"");
    server.signal(Signal::SIGHUP);
    eventually(DEADLINE, "there are three", || server.status().workers.len() == 3);
    write("1");
    server.signal(Signal::SIGHUP);
    wait_for_workers(&server, 1, 8);
    assert_eq!(Client::connect(server.address()).get("/").status, 200);
}
