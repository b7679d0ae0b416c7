//! A thousand keep-alive clients and more against the built binary, in each `--rebalance` mode,
//! while workers are stopped, killed, reloaded, added: every answer is checked against its request,
//! and every descriptor is accounted for in the end.
//!
//! `SEED=N` replays one run, `SEEDS=N` makes more, `STEPS=N` makes them longer, `MODES=never,auto`
//! chooses. A seed decides what is done and in which order, not how the machine interleaves it
//! with the server: to replay a failure, run its line a few times.
//!
//! Not here: what each mode promises, story by story (`rebalancing`).

#![cfg(feature = "cli")]

mod chaos;
mod common;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use chaos::answer;
use chaos::driver::Driver;
use chaos::plan::Plan;
use chaos::request::{Kind, Request};
use common::client::Client;
use common::{
    DEADLINE, Server, Stopped, allow_descriptors, descriptors_of, eventually, sockets_of,
};

const MODES: &str = "never,auto,always";
const SEEDS_DEFAULT: u64 = 2;
const STEPS_DEFAULT: usize = 700;

const WORKERS: usize = 4;

/// At once; over a run they open about half as many connections again.
const CLIENTS: usize = 1000;

/// What the test itself has open beside them.
const DESCRIPTORS_MAX: u64 = 4096;

#[test]
fn every_answer_is_the_whole_answer_to_its_request() {
    allow_descriptors(DESCRIPTORS_MAX);
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS_DEFAULT),
    };
    let steps = number("STEPS").map_or(STEPS_DEFAULT, |steps| steps as usize);
    let modes = std::env::var("MODES").unwrap_or_else(|_| MODES.to_owned());
    for mode in modes.split(',') {
        for seed in seeds.clone() {
            let outcome = catch_unwind(AssertUnwindSafe(|| run(mode, seed, steps)));
            if let Err(failure) = outcome {
                eprintln!(
                    "replay: SEED={seed} STEPS={steps} MODES={mode} cargo test --test \
                     rebalancing_chaos"
                );
                resume_unwind(failure);
            }
        }
    }
}

#[test]
fn a_seed_decides_everything_that_is_done() {
    for seed in 0..20 {
        let (one, other) = (Plan::new(seed, 50, 200), Plan::new(seed, 50, 200));
        assert_eq!(one.threads, other.threads);
        assert_eq!(one.rounds, other.rounds);
        assert_ne!(one.rounds, Plan::new(seed + 1, 50, 200).rounds);
    }
}

#[test]
fn an_answer_that_is_not_its_own_is_told_apart() {
    let echo = |id| Request { id, kind: Kind::Echo { size: 5000, is_chunked: false } };
    let (one, other) = (echo(1), echo(2));
    let body = |request: &Request| {
        let bytes = request.bytes();
        bytes[bytes.len() - 5000..].to_vec()
    };
    assert_eq!(one.check(&body(&one)), Ok(()));
    let crossed = one.check(&body(&other)).expect_err("it is another's");
    assert!(crossed.contains("the whole answer to request 0000000000000002"), "{crossed}");
    let mut damaged = body(&one);
    damaged[3000] ^= 1;
    assert!(one.check(&damaged).expect_err("it is damaged").contains("damaged"));
    assert!(one.check(&damaged[..4000]).expect_err("it is cut off").contains("damaged"));

    // Nothing is taken for whole before its last byte, and nothing behind it.
    for head in [
        "Content-Length: 5\r\n\r\nfirst",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\n\r\n",
    ] {
        let whole = format!("HTTP/1.1 200 OK\r\n{head}");
        for length in 0..whole.len() {
            let mut cut_off = whole.as_bytes()[..length].to_vec();
            assert!(answer::take(&mut cut_off).expect("it may go on").is_none());
        }
        let mut two = format!("{whole}{whole}").into_bytes();
        assert_eq!(answer::take(&mut two).expect("it is one").expect("it is whole").body, b"first");
        assert_eq!(two, whole.as_bytes());
    }
    let mut endless = b"HTTP/1.1 200 OK\r\n\r\nfirst".to_vec();
    assert!(answer::take(&mut endless).is_err(), "its end could not be told from a death");
}

fn run(mode: &str, seed: u64, steps: usize) {
    let plan = Plan::new(seed, CLIENTS, steps);
    // With threads a part of the bodies takes the other way: through a pipe. On the loop a body
    // that does not fit is refused. Nobody is to be late here, however slow this machine is.
    let buffer = if plan.threads == "0" { "1M" } else { "16K" };
    let server = Server::start(&[
        "serve",
        "-w",
        "4",
        "--threads",
        plan.threads,
        "--rebalance",
        mode,
        "--buffer-request",
        buffer,
        "--worker-header",
        "--header-timeout",
        "10m",
        "--body-timeout",
        "10m",
        "--keep-alive",
        "10m",
        "--log-level",
        "warn",
    ]);
    let before = Descriptors::at_rest(&server);
    let mut driver = Driver::new(&server, CLIENTS);
    driver.run(plan);
    driver.close();
    eprintln!("{mode}, seed {seed}: {:?}, {} stops", driver.tally, driver.stopped);
    assert!(driver.tally.answered > CLIENTS, "{:?}", driver.tally);
    if mode == "always" {
        // With four workers about two in five; so the mode is in force.
        assert!(driver.tally.moved * 5 > driver.tally.answered, "{:?}", driver.tally);
    }
    eventually(DEADLINE, "all descriptors are let go of", || before.are_back(&server));
    server.assert_conserved_at_rest();
}

/// What a server at rest has open.
#[derive(Debug)]
struct Descriptors {
    master: usize,
    worker_max: usize,
}

impl Descriptors {
    /// Lets every worker serve, and be stopped once, so that what is made when it is first needed
    /// is there; then waits until all connections have ended.
    fn at_rest(server: &Server) -> Descriptors {
        eventually(DEADLINE, "the workers are there", || server.worker_pids().len() == WORKERS);
        // Before the first connection; channels have been made, and there is no other socket.
        let sockets = sockets_of(server.pid());
        let mut unseen = server.worker_pids();
        let mut held = Vec::new();
        eventually(DEADLINE, "all workers serve", || {
            let mut client = Client::connect(server.address());
            let pid = client.get("/whoami").number("pid");
            unseen.retain(|&worker| worker != pid);
            held.push(client);
            unseen.is_empty()
        });
        for pid in server.worker_pids() {
            let stopped = Stopped::stop(pid);
            assert_eq!(Client::connect(server.address()).get("/").status, 200);
            drop(stopped);
        }
        drop(held);
        // A worker closes its copy first, so that with the master's all are closed.
        eventually(DEADLINE, "the first connections have ended", || {
            sockets_of(server.pid()) <= sockets
        });
        let workers = server.worker_pids().into_iter().map(descriptors_of);
        Descriptors {
            master: server.descriptors(),
            worker_max: workers.max().expect("there are workers"),
        }
    }

    fn are_back(&self, server: &Server) -> bool {
        let workers = server.worker_pids();
        server.descriptors() <= self.master
            && workers.len() == WORKERS
            && workers.into_iter().all(|pid| descriptors_of(pid) <= self.worker_max)
    }
}
