//! A worker that breaks the protocol, floods, or lies in its page, beside honest ones: it is killed
//! where it broke the protocol and left alone where it only lies about itself, and clients of the
//! others are answered all the while. The master is a debug build: it counts connections after each
//! turn, and a lost one would end it.
//!
//! The ways of the example `hostile_worker` one by one, then random rows of them: `SEED=N` replays
//! one, `SEEDS=N` makes more.

#![cfg(feature = "cli")]

mod common;

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use common::client::Client;
use common::load::{Load, Mode};
use common::{DEADLINE, Server, binary, cpu_ticks, eventually};

const WORKERS: usize = 3;
const SEEDS_DEFAULT: u64 = 4;

/// Requests a second beside a hostile worker.
const RATE: u32 = 150;

/// A hundredth of a second of CPU time in each of these is an idle master; one that spins uses them
/// all, or half of them on a machine that is busy with other things.
const WINDOW: Duration = Duration::from_millis(500);
const IDLE_TICKS_MAX: u64 = 10;

fn hostile(way: &str, more: &[&str]) -> Server {
    let example = binary().with_file_name("examples").join("hostile_worker");
    assert!(example.exists(), "not built: cargo build --examples");
    let (example, maitred) = (example.to_string_lossy(), binary().to_string_lossy());
    let first = ["serve", "--drain-delay", "0", "--graceful-timeout", "1s"];
    let last = ["--", &*example, &*maitred, way];
    Server::start(&[&first[..], more, &last[..]].concat())
}

fn three(way: &str) -> Server {
    hostile(way, &["-w", "3"])
}

/// Waits until slot 0 is served by somebody who answers.
fn is_replaced(server: &Server) {
    eventually(DEADLINE, "an honest worker serves in its place", || {
        let answer = Client::connect(server.address()).get("/whoami");
        // What the dying one had claimed is answered with 502.
        answer.status == 200 && answer.number("slot") == 0
    });
    assert_eq!(server.worker_pids().len(), WORKERS);
}

/// It ends in order, whatever workers hold: what they do is no reason for another code.
fn ends_in_order(mut server: Server) {
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(DEADLINE).code(), Some(0), "{}", server.stderr());
}

/// The worker is killed for this reason and replaced, and no client fails.
#[track_caller]
fn is_killed_for(way: &str, reason: &str) {
    let server = three(way);
    is_killed(&server, way, reason, true);
    ends_in_order(server);
}

#[track_caller]
fn is_killed(server: &Server, way: &str, reason: &str, strictly: bool) {
    let load = Load::start(server.address(), RATE, "/", Mode::NewConnection);
    eventually(DEADLINE, &format!("{way} is found out"), || server.stderr_contains(reason));
    is_replaced(server);
    let target = load.answered() + 20;
    eventually(DEADLINE, "the load flows on", || load.answered() >= target);
    let ledger = load.stop();
    assert!(!strictly || ledger.failed() == 0, "{way}: {ledger:?}");
    let errors = server.stderr().lines().filter(|line| line.contains("protocol error")).count();
    assert_eq!(errors, 1, "{way} is told of once:\n{}", server.stderr());
}

/// The worker is left alone, nobody fails, and the master is not kept busy.
#[track_caller]
fn is_left_alone(way: &str, more: &[&str]) {
    let server = hostile(way, &[&["-w", "3"][..], more].concat());
    let workers = server.worker_pids();
    let load = Load::start(server.address(), RATE, "/", Mode::NewConnection);
    eventually(DEADLINE, "the load flows", || load.answered() >= 100);
    let ledger = load.stop();
    assert_eq!(ledger.failed(), 0, "{way}: {ledger:?}");
    assert_eq!(server.worker_pids(), workers, "{way}:\n{}", server.stderr());
    comes_to_rest(server.pid(), way);
    ends_in_order(server);
}

#[track_caller]
fn comes_to_rest(master: u32, way: &str) {
    let (mut since, mut ticks, mut idle) = (Instant::now(), cpu_ticks(master), 0);
    eventually(DEADLINE, &format!("{way}: the master is idle"), || {
        if since.elapsed() < WINDOW {
            return false;
        }
        let used = cpu_ticks(master) - ticks;
        (since, ticks) = (Instant::now(), ticks + used);
        // Once might be chance.
        idle = if used <= IDLE_TICKS_MAX { idle + 1 } else { 0 };
        idle == 2
    });
}

#[test]
fn packets_that_cannot_be() {
    for way in ["garbage", "almost-frames", "too-long", "descriptors", "slow-descriptors"] {
        is_killed_for(way, "it sent a packet that cannot be");
    }
}

#[test]
fn frames_at_the_wrong_time_or_of_the_wrong_kind() {
    is_killed_for("early", "it spoke of loans before it was ready");
    is_killed_for("other-version", "it sent a Ready that cannot be");
    is_killed_for("ready-twice", "it sent a Ready that cannot be");
    for way in ["taken", "ended", "report"] {
        is_killed_for(way, "it has a page, and sent what only a worker without one sends");
    }
}

#[test]
fn loans_that_it_cannot_mean() {
    is_killed_for("forged-refuse", "it named a loan that it cannot mean");
    is_killed_for("no-page-forged-taken", "it named a loan that it cannot mean");
    let server = three("no-page-ended-twice");
    // It has taken one, and answers nobody.
    is_killed(&server, "no-page-ended-twice", "it named a loan that it cannot mean", false);
    ends_in_order(server);
}

#[test]
fn rings_that_lie() {
    for way in [
        "ring-jump",
        "ring-full-of-zeros",
        "ring-out-of-range",
        "ring-other-sequence",
        "ring-not-let-go",
        "ring-twice",
    ] {
        is_killed_for(way, "its ring names what it has not let go of");
    }
}

#[test]
fn floods() {
    is_killed_for("frame-flood", "it floods its channel");
    is_killed_for("no-page-flood", "it floods its channel");
    is_killed_for("bell-flood", "it rings its bell without end");
    is_killed_for("stop-flood", "it is stopped and continued without end");
    // An alarm may ring with each --stall-after: with a long one this machine is never too slow to
    // see more.
    let server = hostile("alarm-flood", &["-w", "3", "--stall-after", "50ms"]);
    is_killed(&server, "alarm-flood", "its alarm rings without end", true);
    comes_to_rest(server.pid(), "alarm-flood");
    ends_in_order(server);
}

#[test]
fn channels_that_are_closed_by_a_worker_that_lives_on() {
    for way in ["closed", "half-closed", "empty-packet"] {
        is_killed_for(way, "it closed its channel and lives on");
    }
}

#[test]
fn a_hand_off_that_is_not_taken() {
    let server = hostile("no-page-never-takes", &["-w", "3", "--handoff-timeout", "300ms"]);
    let reason = "it did not take a hand-off within --handoff-timeout";
    is_killed(&server, "no-page-never-takes", reason, true);
    ends_in_order(server);
}

#[test]
fn lies_about_itself_harm_itself() {
    for way in ["nothing", "counters-at-most", "flag-garbage", "terms", "deaf", "refuses"] {
        is_left_alone(way, &[]);
    }
    is_left_alone("counters", &[]);
    is_left_alone("gives-garbage", &["--rebalance", "always"]);
}

/// (How often it is looked at, `tests/regressions.rs` counts.)
#[test]
fn who_is_always_about_to_be_stuck_does_not_keep_the_master_busy() {
    let server = three("about-to-be-stuck");
    // One of them it has read, and has idle.
    let mut clients: Vec<_> =
        (0..10 * WORKERS).map(|_| Client::connect(server.address())).collect();
    for client in &mut clients {
        client.send(b"GET /keep HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    for _ in 0..50 {
        assert_eq!(Client::connect(server.address()).get("/").status, 200);
    }
    comes_to_rest(server.pid(), "about-to-be-stuck");
    ends_in_order(server);
}

/// A worker can lower the flag that asks it to ring, at no cost and without a sound; raising it again
/// was the first thing that the master did, and so it never slept.
#[test]
fn who_lowers_the_flag_for_nothing_does_not_keep_the_master_busy() {
    let server = hostile("every-flag-lowered", &["-w", "1", "--rebalance", "always"]);
    // Lent to nobody else, and so the flag is up.
    let mut client = Client::connect(server.address());
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually(DEADLINE, "it has been lent", || server.account().counters.lent > 0);
    comes_to_rest(server.pid(), "flag-lowered");
    ends_in_order(server);
}

/// The number of places in its page was read again when it was Ready, from the page: with 0 the
/// master divided by it.
#[test]
fn a_page_that_has_lost_its_places() {
    let server = three("no-places");
    let load = Load::start(server.address(), RATE, "/", Mode::NewConnection);
    eventually(DEADLINE, "the load flows", || load.answered() >= 100);
    let ledger = load.stop();
    // It has taken some, and answered none of them.
    assert!(ledger.ok > ledger.failed(), "{ledger:?}");
    ends_in_order(server);
}

/// What the channel did not take was withdrawn only if the claim word still said LENT: so a
/// connection was in two places, and later one of another client was closed in its stead.
#[test]
fn what_was_never_sent_is_nobodys_whatever_the_word_says() {
    let server = hostile("every-deaf-and-lying", &["-w", "2", "--credit", "600"]);
    let load = Load::start(server.address(), 400, "/", Mode::NewConnection);
    eventually(DEADLINE, "the load flows", || load.answered() >= 400);
    load.stop();
    ends_in_order(server);
}

/// With SO_LINGER on a connection that a worker had, close(2) waited in the master for a client that
/// read nothing: nobody was served meanwhile.
#[test]
fn a_client_that_reads_nothing_does_not_hold_the_master() {
    // So that it has time to claim what it is lent.
    let server = hostile("lingers", &["-w", "3", "--stall-after", "200ms"]);
    let mut silent = Vec::new();
    for _ in 0..10 * WORKERS {
        let mut client = Client::connect(server.address());
        client.send(b"GET /linger HTTP/1.1\r\nHost: x\r\n\r\n");
        silent.push(client);
    }
    // The worker asks for a minute, and no client waits for so long. (Some wait for --stall-after:
    // the worker drops what it is lent, and looks idle.)
    for _ in 0..50 {
        assert_eq!(Client::connect(server.address()).get("/").status, 200);
    }
    drop(silent);
    ends_in_order(server);
}

/// A worker that asks for leave as soon as it is Ready had a process started for it each time, as
/// fast as processes start.
#[test]
fn who_always_wants_to_leave_is_not_replaced_faster_than_workers_start() {
    let server = hostile("every-bye", &["-w", "2"]);
    let begun = Instant::now();
    let started = || server.stderr().matches("worker started").count();
    eventually(DEADLINE, "it has left twice", || started() >= 4);
    // The first second is over after the start of the server, and each takes one.
    assert!(begun.elapsed() > Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(Client::connect(server.address()).get("/").status, 200);
    ends_in_order(server);
}

#[test]
fn who_dies_with_what_it_had_claimed_is_replaced() {
    let server = three("claims-and-dies");
    let load = Load::start(server.address(), RATE, "/", Mode::NewConnection);
    is_replaced(&server);
    let ledger = load.stop();
    // What it claimed counts as read, and is answered with 502.
    assert_eq!(ledger.failed(), ledger.wrong, "{ledger:?}");
    ends_in_order(server);
}

#[test]
fn a_grandchild_that_holds_the_channel_does_not_keep_a_dead_worker_alive() {
    let server = three("grandchild");
    let load = Load::start(server.address(), RATE, "/", Mode::NewConnection);
    is_replaced(&server);
    let ledger = load.stop();
    assert_eq!(ledger.failed(), 0, "{ledger:?}");
    ends_in_order(server);
}

/// What a dead worker was doing is told in its own words.
#[test]
fn a_log_cannot_be_forged_by_what_a_worker_says_it_does() {
    let server = three("forges-the-log");
    eventually(DEADLINE, "its end is told", || server.stderr_contains("forged"));
    is_replaced(&server);
    let stderr = server.stderr();
    let line = stderr.lines().find(|line| line.contains("forged")).expect("it is there");
    assert!(line.contains("worker ended") && line.contains("exit code 7"), "{line}");
    assert!(!stderr.contains('\x1b'), "nothing runs in a terminal: {line}");
    ends_in_order(server);
}

/// Connections that honest workers have are answered throughout, whatever the hostile one does, in
/// each of its incarnations.
#[test]
fn random_rows_of_misdeeds_reach_nobody_elses_clients() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS_DEFAULT),
    };
    for seed in seeds {
        eprintln!("replay: SEED={seed} cargo test --test hostile_worker random_rows");
        random_row(seed);
    }
}

fn random_row(seed: u64) {
    let threads = ["0", "1"][(seed % 2) as usize];
    // Who says that it is idle gets everybody under a policy that goes by load.
    let balance = "round-robin";
    let more = ["-w", "3", "--rebalance", "never", "--threads", threads, "--balance", balance];
    let server = hostile(&format!("every-seed-{seed}"), &more);
    // Who is not answered is with the hostile one; only an honest worker knows its slot.
    let mut kept = Vec::new();
    eventually(DEADLINE, "both honest workers have clients", || {
        let mut client =
            Client::try_connect(server.address(), Duration::from_secs(1)).expect("it listens");
        if let Ok(answer) = client.try_get("/whoami", "")
            && answer.status == 200
        {
            kept.push((answer.number("slot"), client));
        }
        [1, 2].iter().all(|slot| kept.iter().filter(|(with, _)| with == slot).count() >= 2)
    });
    let others = Load::start(server.address(), RATE, "/", Mode::NewConnection);
    let begun = Instant::now();
    let mut answered = 0;
    while begun.elapsed() < Duration::from_secs(3) {
        for (slot, client) in &mut kept {
            assert_eq!(client.get("/whoami").number("slot"), *slot, "it stays where it was");
            answered += 1;
        }
    }
    assert!(answered > 20, "only {answered}");
    drop(kept);
    let ledger = others.stop();
    assert!(ledger.ok > 50, "{ledger:?}");
    assert_eq!(ledger.refused, 0, "{ledger:?}");
    comes_to_rest(server.pid(), &format!("seed {seed}"));
    ends_in_order(server);
}
