//! `--accept`: the kernel's ways of distributing connections, in real processes.
//!
//! What each arm promises stands in docs/accept.md; here is what is held of it. Flags and their
//! conflicts are tested beside `cli::resolve`.

#![cfg(feature = "cli")]

mod common;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;

use nix::sys::signal::Signal;

use common::client::{Client, Failure, count_by_slot};
use common::load::{Load, Mode};
use common::{
    DEADLINE, Server, Stopped, cpu_ticks, descriptors_of, eventually, is_alive, is_asleep,
    signal_process, sockets_of,
};
use maitred::account::Status;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// Answers after which a load counts as flowing.
const FLOWING: u64 = 50;

/// Every arm of the kernel's, with handlers on the loop.
const ARMS: [&str; 5] = ["shared", "exclusive", "reuseport", "reuseport-cbpf", "blocking"];

/// Those that can have handler threads.
const WITH_THREADS: [&str; 4] = ["shared", "exclusive", "reuseport", "reuseport-cbpf"];

fn start(arm: &str, workers: &str, threads: &str, more: &[&str]) -> Server {
    let arguments = ["serve", "-w", workers, "--threads", threads, "--accept", arm];
    Server::start(&[&arguments[..], more].concat())
}

fn wait_for_workers(server: &Server, count: usize) {
    eventually(DEADLINE, "the workers are there", || server.worker_pids().len() == count);
}

fn one_request(server: &Server, path: &str) -> u16 {
    let answer = Client::connect(server.address()).try_get(path, "Connection: close\r\n");
    answer.expect("an answer").status
}

/// All connections that the workers of now have accepted.
fn accepted(status: &Status) -> u64 {
    status.workers.iter().map(|worker| worker.own_accepted).sum()
}

/// Replaces every worker.
fn reload(server: &Server) {
    let before = server.worker_pids();
    server.signal(Signal::SIGHUP);
    eventually(DEADLINE, "all workers are new", || {
        let now = server.worker_pids();
        now.len() == before.len() && now.iter().all(|pid| !before.contains(pid))
    });
}

#[track_caller]
fn wait_until_flowing(load: &Load) {
    let target = load.answered() + FLOWING;
    eventually(DEADLINE, "the load flows", || load.answered() >= target);
}

#[test]
fn every_arm_serves_and_its_master_accepts_nothing() {
    let on_loop = ARMS.map(|arm| (arm, "0"));
    let threads = WITH_THREADS.map(|arm| (arm, "2"));
    for (arm, threads) in on_loop.into_iter().chain(threads) {
        let server = start(arm, "2", threads, &[]);
        for number in 0..20 {
            assert_eq!(one_request(&server, "/"), 200, "{arm}, {threads} threads, {number}");
        }
        // A connection that stays: its requests, and a body, are served like any other.
        let mut kept = Client::connect(server.address());
        assert_eq!(kept.get("/").status, 200);
        assert_eq!(kept.request("POST", "/echo", &[], b"four").text(), "four");
        assert_eq!(kept.get("/whoami").status, 200);
        eventually(DEADLINE, "the workers have said what they accepted", || {
            let status = server.status();
            let open: u64 = status.workers.iter().map(|worker| worker.own_open).sum();
            let requests: u64 = status.workers.iter().map(|one| one.requests_finished).sum();
            accepted(&status) == 21 && open == 1 && requests == 23
        });
        let status = server.status();
        assert_eq!(status.accept.name(), arm);
        assert_eq!(status.account.counters.accepted, 0, "{arm}: {}", status.account);
        assert_eq!(status.account.here.total(), 0, "{arm}: {}", status.account);
        drop(kept);
        eventually(DEADLINE, "it has ended", || {
            server.status().workers.iter().all(|worker| worker.own_open == 0)
        });
    }
}

#[test]
fn a_killed_worker_is_replaced_in_every_arm() {
    for arm in ARMS {
        let server = start(arm, "2", "0", &[]);
        wait_for_workers(&server, 2);
        let load = Load::start(server.address(), 200, "/", Mode::NewConnection);
        for _ in 0..3 {
            wait_until_flowing(&load);
            let victim = server.worker_pids()[0];
            signal_process(victim, Signal::SIGKILL);
            eventually(DEADLINE, "it is replaced", || {
                let now = server.worker_pids();
                now.len() == 2 && !now.contains(&victim)
            });
        }
        wait_until_flowing(&load);
        let ledger = load.stop();
        // A worker serves each connection before it accepts the next: what waits in the kernel is
        // served by others, or by its replacement.
        assert!(ledger.failed() <= 3, "{arm}: {ledger:?}");
        assert_eq!(ledger.refused + ledger.timed_out, 0, "{arm}: {ledger:?}");
    }
}

/// A private queue outlives its worker: the master has a copy, and the replacement goes on with it.
#[test]
fn the_queue_of_a_dead_worker_is_served_by_its_replacement() {
    for arm in ["reuseport", "reuseport-cbpf"] {
        let server = start(arm, "2", "0", &["--defer-accept", "0"]);
        wait_for_workers(&server, 2);
        let victim = Client::connect(server.address()).get("/whoami").number("pid");
        let stopped = Stopped::stop(victim);
        // Some of these wait in the queue of the one that is stopped.
        let mut clients: Vec<_> = (0..40).map(|_| Client::connect(server.address())).collect();
        for client in &mut clients {
            client.send(b"GET /whoami HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        }
        signal_process(victim, Signal::SIGKILL);
        drop(stopped);
        let answers: Vec<_> = clients.iter_mut().map(|client| client.answer(false)).collect();
        let counts = count_by_slot(&answers);
        assert_eq!(counts.len(), 2, "{arm}: both queues had some: {counts:?}");
        assert!(answers.iter().all(|answer| answer.number("pid") != victim), "{arm}");
    }
}

#[test]
fn a_reload_fails_nobody_who_connects_anew() {
    for (arm, threads) in
        [("shared", "0"), ("exclusive", "1"), ("reuseport", "0"), ("reuseport-cbpf", "1")]
    {
        let server = start(arm, "2", threads, &[]);
        wait_for_workers(&server, 2);
        let load = Load::start(server.address(), 300, "/", Mode::NewConnection);
        for _ in 0..3 {
            wait_until_flowing(&load);
            reload(&server);
        }
        wait_until_flowing(&load);
        let ledger = load.stop();
        assert_eq!(ledger.failed(), 0, "{arm}: {ledger:?}");
    }
}

#[test]
fn a_blocking_worker_leaves_when_its_accept_returns() {
    let server = start("blocking", "2", "0", &[]);
    wait_for_workers(&server, 2);
    reload(&server);
    let load = Load::start(server.address(), 200, "/", Mode::NewConnection);
    wait_until_flowing(&load);
    reload(&server);
    wait_until_flowing(&load);
    let ledger = load.stop();
    assert_eq!(ledger.failed(), 0, "{ledger:?}");
}

#[test]
fn slots_come_and_go_and_nobody_who_connects_notices() {
    for arm in WITH_THREADS {
        let server = start(arm, "2", "0", &[]);
        wait_for_workers(&server, 2);
        let before = sockets_of(server.pid());
        let load = Load::start(server.address(), 300, "/", Mode::NewConnection);
        wait_until_flowing(&load);
        server.signal(Signal::SIGTTIN);
        wait_for_workers(&server, 3);
        wait_until_flowing(&load);
        server.signal(Signal::SIGTTOU);
        wait_for_workers(&server, 2);
        server.signal(Signal::SIGTTOU);
        wait_for_workers(&server, 1);
        wait_until_flowing(&load);
        let ledger = load.stop();
        assert_eq!(ledger.failed(), 0, "{arm}: {ledger:?}");
        eventually(DEADLINE, "its listeners go with a slot", || {
            // One channel less than at the beginning, and a listener less where each has its own.
            let private = usize::from(arm.starts_with("reuseport"));
            sockets_of(server.pid()) == before - 1 - private
        });
    }
}

#[test]
fn an_upgrade_keeps_every_queue() {
    for arm in ["shared", "reuseport", "reuseport-cbpf", "blocking"] {
        let server = start(arm, "2", "0", &[]);
        wait_for_workers(&server, 2);
        let load = Load::start(server.address(), 200, "/", Mode::NewConnection);
        for round in 1..=2 {
            wait_until_flowing(&load);
            let before = server.worker_pids();
            server.signal(Signal::SIGUSR2);
            eventually(DEADLINE, "the new image has replaced all workers", || {
                let now = server.worker_pids();
                let said = server.stderr().matches("upgraded: ").count() == round;
                said && now.len() == 2 && now.iter().all(|pid| !before.contains(pid))
            });
        }
        wait_until_flowing(&load);
        let ledger = load.stop();
        assert_eq!(ledger.failed(), 0, "{arm}: {ledger:?}");
        let descriptors = descriptors_of(server.pid());
        reload(&server);
        eventually(DEADLINE, "nothing has leaked", || descriptors_of(server.pid()) <= descriptors);
    }
}

#[test]
fn term_resets_nobody() {
    for (arm, threads) in [
        ("shared", "0"),
        ("exclusive", "2"),
        ("reuseport", "0"),
        ("reuseport-cbpf", "2"),
        ("blocking", "0"),
    ] {
        let mut server = start(arm, "2", threads, &["--drain-delay", "200ms"]);
        wait_for_workers(&server, 2);
        let load = Load::start(server.address(), 200, "/", Mode::NewConnection);
        wait_until_flowing(&load);
        server.signal(Signal::SIGTERM);
        assert_eq!(server.wait_exit(DEADLINE).code(), Some(0), "{arm}");
        let ledger = load.stop();
        assert_eq!(ledger.failed(), ledger.refused, "{arm}: {ledger:?}");
    }
}

/// Whoever waits in the kernel when the server is told to end has been let in, and is served.
#[test]
fn what_waits_in_a_queue_is_answered_after_term() {
    for (arm, threads) in [
        ("shared", "0"),
        ("exclusive", "1"),
        ("reuseport", "0"),
        ("reuseport-cbpf", "1"),
        ("blocking", "0"),
    ] {
        let mut server = start(arm, "1", threads, &["--drain-delay", "0"]);
        let mut busy = Client::connect(server.address());
        busy.send(b"GET /sleep/700 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        eventually(DEADLINE, "its worker is at it", || {
            server.status().workers.iter().any(|worker| worker.active() > 0)
        });
        let mut waiting: Vec<_> = (0..30).map(|_| Client::connect(server.address())).collect();
        for client in &mut waiting {
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        server.signal(Signal::SIGTERM);
        assert_eq!(busy.answer(false).status, 200, "{arm}");
        for (number, client) in waiting.iter_mut().enumerate() {
            match client.try_answer(false) {
                Ok(answer) => assert_eq!(answer.status, 200, "{arm}"),
                Err(failure) => panic!("{arm}: {number}: {failure:?}"),
            }
        }
        waiting.iter_mut().for_each(Client::expect_eof);
        assert_eq!(server.wait_exit(DEADLINE).code(), Some(0), "{arm}");
    }
}

#[test]
fn an_answer_in_flight_is_finished_and_an_idle_connection_ends() {
    for arm in WITH_THREADS {
        let mut server = start(arm, "1", "2", &["--drain-delay", "0"]);
        let mut busy = Client::connect(server.address());
        let mut idle = Client::connect(server.address());
        assert_eq!(idle.get("/").status, 200);
        assert_eq!(busy.get("/").status, 200);
        busy.send(b"GET /sleep/600 HTTP/1.1\r\nHost: test\r\n\r\n");
        server.signal(Signal::SIGTERM);
        let answer = busy.answer(false);
        assert_eq!(answer.status, 200, "{arm}");
        assert_eq!(answer.header("connection"), Some("close"), "{arm}");
        busy.expect_eof();
        idle.expect_eof();
        assert_eq!(server.wait_exit(DEADLINE).code(), Some(0), "{arm}");
        assert!(matches!(Client::try_connect(server.address(), DEADLINE), Err(Failure::Refused)));
    }
}

#[test]
fn a_dead_masters_port_is_free_and_its_workers_go() {
    for arm in ARMS {
        let server = start(arm, "2", "0", &[]);
        let address = server.address();
        let mut idle = Client::connect(address);
        assert_eq!(idle.get("/").status, 200);
        let workers = server.worker_pids();
        signal_process(server.pid(), Signal::SIGKILL);
        eventually(DEADLINE, "the port is free", || TcpListener::bind(address).is_ok());
        idle.expect_eof();
        eventually(DEADLINE, "the workers have gone", || workers.iter().all(|pid| !is_alive(*pid)));
    }
}

/// Occupies the only thread of all workers but one, each for a long time. Returns who is free.
fn occupy_all_but_one(server: &Server, workers: usize) -> (Vec<Client>, BTreeSet<u32>) {
    let mut busy = Vec::new();
    while busy.len() < workers - 1 {
        let mut client = Client::connect(server.address());
        client.send(b"GET /sleep/60000 HTTP/1.1\r\nHost: a\r\n\r\n");
        busy.push(client);
        eventually(DEADLINE, "its worker is at it", || {
            let active = server.status().workers.iter().filter(|one| one.active() > 0).count();
            active == busy.len()
        });
    }
    let free = server.status();
    let free = free.workers.iter().filter(|one| one.active() == 0);
    (busy, free.map(|one| one.pid).collect())
}

/// The only worker with a free thread answers all new connections, since the others leave them.
#[test]
fn who_has_no_free_thread_accepts_nothing() {
    for arm in ["shared", "exclusive"] {
        let server = start(arm, "3", "1", &["--graceful-timeout", "0"]);
        wait_for_workers(&server, 3);
        let (_busy, free) = occupy_all_but_one(&server, 3);
        assert_eq!(free.len(), 1, "{arm}");
        for number in 0..30 {
            let pid = Client::connect(server.address()).get("/whoami").number("pid");
            assert!(free.contains(&pid), "{arm}: connection {number}");
        }
    }
}

/// With `--accept-eager` a worker takes what it cannot serve: that is what it is there to show.
#[test]
fn who_is_eager_accepts_although_its_thread_is_busy() {
    let server = start("shared", "2", "1", &["--accept-eager", "--graceful-timeout", "0"]);
    wait_for_workers(&server, 2);
    let (_busy, free) = occupy_all_but_one(&server, 2);
    let free = *free.first().expect("one is free");
    // While the free one cannot accept, the busy one is the only one that can.
    let stopped = Stopped::stop(free);
    let mut waiting: Vec<_> = (0..5).map(|_| Client::connect(server.address())).collect();
    for client in &mut waiting {
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    eventually(DEADLINE, "the busy worker has them", || {
        let status = server.status();
        status.workers.iter().any(|one| one.pid != free && one.own_open == 6)
    });
    drop(stopped);
}

#[test]
fn a_blocking_worker_has_one_connection_at_a_time() {
    let server = start("blocking", "1", "0", &["--defer-accept", "0"]);
    let mut first = Client::connect(server.address());
    assert_eq!(first.get("/").status, 200);
    let mut second = Client::connect(server.address());
    second.send(b"GET /whoami HTTP/1.1\r\nHost: a\r\n\r\n");
    // The first connection is kept, and its worker with it.
    for _ in 0..20 {
        assert_eq!(first.get("/").status, 200);
    }
    eventually(DEADLINE, "the status is as new as that", || {
        server.status().workers.iter().any(|one| one.requests_finished == 21)
    });
    assert_eq!(accepted(&server.status()), 1, "the second waits in the kernel");
    drop(first);
    assert_eq!(second.answer(false).status, 200);
}

#[test]
fn a_program_at_random_reaches_every_worker() {
    let server = start("reuseport-cbpf", "3", "0", &["--cbpf", "random"]);
    wait_for_workers(&server, 3);
    let mut seen = BTreeSet::new();
    eventually(DEADLINE, "all have been met", || {
        seen.insert(Client::connect(server.address()).get("/whoami").number("slot"));
        seen.len() == 3
    });
    // By the CPU: there may be fewer of them than workers, and somebody is always chosen.
    let server = start("reuseport-cbpf", "3", "0", &["--cbpf", "cpu"]);
    for _ in 0..20 {
        assert_eq!(one_request(&server, "/"), 200);
    }
}

#[test]
fn unix_sockets_and_several_addresses_have_the_shared_arms() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let unix = format!("unix:{}", path.display());
    for arm in ["shared", "exclusive"] {
        let binds = ["-b", "127.0.0.1:0", "-b", "127.0.0.1:0", "-b", &unix];
        let mut server = start(arm, "2", "1", &binds);
        for address in server.addresses() {
            assert_eq!(Client::connect(address).get("/").status, 200);
        }
        assert_eq!(Client::connect_unix(&path).get("/").status, 200);
        server.signal(Signal::SIGINT);
        assert!(server.wait_exit(DEADLINE).success());
        assert!(!Path::new(&path).exists(), "its file goes with the server");
    }
    // Each listener has its own queue for each worker.
    let server = start("reuseport", "2", "0", &["-b", "127.0.0.1:0", "-b", "127.0.0.1:0"]);
    for address in server.addresses() {
        for _ in 0..10 {
            assert_eq!(Client::connect(address).get("/").status, 200);
        }
    }
}

/// A worker without descriptors neither spins nor shouts, and serves who waits when it has some. Its
/// failures are counted where the master's are: they were counted nowhere.
#[test]
fn a_worker_out_of_descriptors_pauses() {
    let folder = tempfile::tempdir().expect("a folder");
    let admin = folder.path().join("admin");
    let address = format!("unix:{}", admin.display());
    let server = start("shared", "1", "0", &["--defer-accept", "0", "--admin", &address]);
    let failures = || {
        let answer = Client::try_connect_unix(&admin).ok()?.try_get("/metrics", "").ok()?;
        let series = "maitred_accept_errors_total{errno=\"EMFILE\"} ";
        answer.text().lines().find_map(|line| line.strip_prefix(series)?.parse::<u64>().ok())
    };
    eventually(DEADLINE, "none has failed", || failures() == Some(0));
    assert_eq!(one_request(&server, "/"), 200);
    let worker = server.status().workers[0].pid;
    let limit = descriptors_of(worker) as u64 + 4;
    let pid = i32::try_from(worker).ok().and_then(Pid::from_raw).expect("a process id");
    let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
    prlimit(Some(pid), Resource::Nofile, limit).expect("a limit may be lowered");
    let mut clients: Vec<_> = (0..40).map(|_| Client::connect(server.address())).collect();
    for client in &mut clients {
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    eventually(DEADLINE, "it is said", || server.stderr_contains("accepting pauses"));
    eventually(DEADLINE, "it is counted", || failures().is_some_and(|count| count > 0));
    let ticks = cpu_ticks(worker);
    let mut answered = 0;
    while !clients.is_empty() {
        // Whoever has had an answer leaves, and makes room.
        let mut client = clients.remove(0);
        assert_eq!(client.answer(false).status, 200);
        answered += 1;
    }
    assert_eq!(answered, 40);
    // A spinning worker would have used all of the pauses.
    assert!(cpu_ticks(worker) - ticks < 50, "the worker spins");
    let lines = server.stderr().matches("accepting pauses").count();
    assert!((1..=3).contains(&lines), "{lines} lines about it");
}

/// Nothing wakes an idle server but its own looks; a listener that is reported for ever would.
#[test]
fn an_idle_server_rests() {
    for arm in ARMS {
        let server = start(arm, "2", "0", &[]);
        assert_eq!(one_request(&server, "/"), 200);
        let mut in_a_row = 0;
        eventually(DEADLINE, "all sleep whenever they are looked at", || {
            let workers = server.worker_pids().into_iter().all(is_asleep);
            in_a_row = if workers && is_asleep(server.pid()) { in_a_row + 1 } else { 0 };
            in_a_row == 30
        });
    }
}

/// Recycling is judged by what workers say, and nothing else wakes the master.
#[test]
fn requests_are_counted_for_recycling() {
    let server = start("shared", "1", "0", &["--max-requests", "20"]);
    let first = server.worker_pids()[0];
    let load = Load::start(server.address(), 200, "/", Mode::NewConnection);
    eventually(DEADLINE, "the worker is replaced", || !server.worker_pids().contains(&first));
    wait_until_flowing(&load);
    assert_eq!(load.stop().failed(), 0);
}

/// `--timeout` is judged as ever: the loop that hangs is replaced, and its queue goes on.
#[test]
fn a_hung_worker_is_replaced_and_its_queue_is_not_lost() {
    for arm in ["shared", "reuseport"] {
        let arguments = ["--timeout", "300ms", "--graceful-timeout", "0", "--defer-accept", "0"];
        let server = start(arm, "1", "0", &arguments);
        let mut hung = Client::connect(server.address());
        hung.send(b"GET /sleep/60000 HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut waiting: Vec<_> = (0..10).map(|_| Client::connect(server.address())).collect();
        for client in &mut waiting {
            client.send(b"GET /whoami HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        }
        // It serves each before it accepts the next: what waits is in the kernel.
        for client in &mut waiting {
            assert_eq!(client.answer(false).status, 200, "{arm}");
        }
        assert_eq!(one_request(&server, "/"), 200, "{arm}");
        assert!(server.stderr_contains("worker hung"), "{arm}");
    }
}
