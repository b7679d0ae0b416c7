//! What bounds a worker's life, seen from outside: reloads of several at a time and such that fail,
//! recycling, deaths of every kind, and a master that was stopped.

#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use common::client::Client;
use common::load::{Load, Mode};
use common::{
    DEADLINE, Server, Stopped, descriptors_of, eventually, foreign_worker, is_alive,
    signal_process, sockets_of,
};

fn wait_for_workers(server: &Server, count: usize) {
    eventually(DEADLINE, "the workers are there", || server.worker_pids().len() == count);
}

/// A worker that ends with code 7 while this file exists.
fn worker_that_breaks(broken: &Path) -> String {
    format!("[ -e {} ] && exit 7; exec {}", broken.display(), foreign_worker())
}

/// Lines of the log with this text, in order.
fn lines_with(server: &Server, text: &str) -> Vec<String> {
    server.stderr().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

#[test]
fn a_reload_of_four_at_a_time_starts_four_before_it_drains_one() {
    let server = Server::start(&["serve", "-w", "4", "--reload-parallel", "4"]);
    wait_for_workers(&server, 4);
    let before = server.worker_pids();
    server.signal(Signal::SIGHUP);
    eventually(DEADLINE, "the reload ends", || server.stderr_contains("reload done"));
    assert!(lines_with(&server, "reload done")[0].contains("replaced=4 of=4"));
    let stderr = server.stderr();
    let reload = stderr.split("reloading").nth(1).expect("it was begun");
    let until_ready = reload.split("worker is ready").next().expect("there is a first part");
    assert_eq!(until_ready.matches("worker started").count(), 4, "{until_ready}");
    eventually(DEADLINE, "the old ones have left", || {
        let now = server.worker_pids();
        now.len() == 4 && now.iter().all(|pid| !before.contains(pid))
    });
}

#[test]
fn a_reload_that_fails_says_how_and_keeps_the_old_workers() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken");
    let server =
        Server::start(&["serve", "-w", "3", "--", "sh", "-c", &worker_that_breaks(&broken)]);
    wait_for_workers(&server, 3);
    let before = server.worker_pids();
    fs::write(&broken, "").unwrap();
    server.signal(Signal::SIGHUP);
    eventually(DEADLINE, "the reload fails", || server.stderr_contains("reload failed"));
    let line = &lines_with(&server, "reload failed")[0];
    assert!(line.contains("ERROR") && line.contains("exit code 7"), "{line}");
    assert!(line.contains("replaced=0 of=3"), "{line}");
    assert_eq!(server.worker_pids(), before, "the old ones go on");
    assert_eq!(Client::connect(server.address()).get("/").status, 200);
    // And when it is mended, another one is complete.
    fs::remove_file(&broken).unwrap();
    server.signal(Signal::SIGHUP);
    eventually(DEADLINE, "all workers are new", || {
        let now = server.worker_pids();
        now.len() == 3 && now.iter().all(|pid| !before.contains(pid))
    });
    assert_eq!(lines_with(&server, "reload failed").len(), 1);
}

#[test]
fn workers_are_recycled_for_their_requests_and_no_client_notices() {
    let server =
        Server::start(&["serve", "-w", "2", "--max-requests", "60", "--max-requests-jitter", "20"]);
    let load = Load::start(server.address(), 300, "/", Mode::KeepAlive(8));
    eventually(DEADLINE, "workers are recycled", || {
        lines_with(&server, "worker is recycled").len() >= 4
    });
    let ledger = load.stop();
    assert_eq!(ledger.failed(), 0, "{ledger:?}");
    for line in lines_with(&server, "worker is recycled") {
        let (_, count) = line.split_once("it has finished ").expect(&line);
        let count: u64 = count.split(' ').next().unwrap().parse().expect(&line);
        assert!(count >= 60, "{line}");
    }
}

#[test]
fn an_idle_worker_is_recycled_for_its_age() {
    let server = Server::start(&["serve", "-w", "1", "--max-lifetime", "300ms"]);
    let before = server.worker_pids();
    eventually(DEADLINE, "it is replaced", || {
        let now = server.worker_pids();
        now.len() == 1 && now[0] != before[0]
    });
    let line = &lines_with(&server, "worker is recycled")[0];
    assert!(line.contains("(--max-lifetime)"), "{line}");
}

#[test]
fn a_worker_is_recycled_for_its_memory_and_one_below_the_limit_is_not() {
    // More than any process needs to exist.
    let server = Server::start(&["serve", "-w", "1", "--max-rss", "1M"]);
    eventually(DEADLINE, "it is recycled", || server.stderr_contains("(--max-rss)"));

    let server = Server::start(&["serve", "-w", "1", "--max-rss", "200M"]);
    let before = server.worker_pids();
    let mut client = Client::connect(server.address());
    assert_eq!(client.get("/").status, 200);
    assert_eq!(server.worker_pids(), before);
    // A body that is buffered whole.
    let server = Server::start(&[
        "serve",
        "-w",
        "1",
        "--max-rss",
        "100M",
        "--buffer-request",
        "1G",
        "--buffer-response",
        "1G",
    ]);
    let before = server.worker_pids();
    let mut client = Client::connect(server.address());
    client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 200000000\r\n\r\n");
    client.send(&vec![b'x'; 150_000_000]);
    eventually(DEADLINE, "it is recycled while it still reads", || {
        server.stderr_contains("(--max-rss)")
    });
    assert!(server.worker_pids().contains(&before[0]), "it finishes what it has");
}

#[test]
fn an_idle_master_sleeps_and_recycling_by_requests_does_not_wake_it() {
    let server = Server::start(&["serve", "-w", "2", "--max-requests", "1000"]);
    wait_for_workers(&server, 2);
    assert_eq!(Client::connect(server.address()).get("/").status, 200);
    // A look after the last loan, and whatever the start has left over, may still come.
    let still = Duration::from_millis(2500);
    let (mut since, mut turns) = (Instant::now(), voluntary_switches(server.pid()));
    eventually(DEADLINE, "the master does not wake up", || {
        let now = voluntary_switches(server.pid());
        if now != turns {
            (since, turns) = (Instant::now(), now);
        }
        since.elapsed() > still
    });
}

/// How often the first thread of a process has gone to sleep.
fn voluntary_switches(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.expect("the kernel counts them").trim().parse().expect("a number")
}

#[test]
fn a_worker_whose_replacement_does_not_start_goes_on_and_is_tried_again_after_a_pause() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken");
    let server = Server::start(&[
        "serve",
        "-w",
        "1",
        "--max-lifetime",
        "1s",
        "--",
        "sh",
        "-c",
        &worker_that_breaks(&broken),
    ]);
    let before = server.worker_pids();
    fs::write(&broken, "").unwrap();
    let begun = Instant::now();
    eventually(DEADLINE, "two replacements have failed", || {
        lines_with(&server, "exit code 7").len() >= 2
    });
    let tried = lines_with(&server, "worker is recycled").len();
    assert!(tried as u64 <= 2 + begun.elapsed().as_secs(), "{tried} within {:?}", begun.elapsed());
    assert!(server.worker_pids().contains(&before[0]), "it goes on");
    assert_eq!(Client::connect(server.address()).get("/").status, 200);
    fs::remove_file(&broken).unwrap();
    eventually(DEADLINE, "it is replaced at last", || {
        let now = server.worker_pids();
        now.len() == 1 && now[0] != before[0]
    });
}

/// Stops a process for a time. Not a wait for something to happen: the time is what happens.
fn stop_for(pid: u32, time: Duration) {
    let stopped = Stopped::stop(pid);
    let begun = Instant::now();
    eventually(DEADLINE, "the time has passed", || begun.elapsed() > time);
    drop(stopped);
}

#[test]
fn a_master_that_was_stopped_does_not_kill_a_worker_that_boots() {
    let folder = tempfile::tempdir().unwrap();
    let go_on = folder.path().join("go-on");
    let script =
        format!("until [ -e {} ]; do sleep 0.05; done; exec {}", go_on.display(), foreign_worker());
    let server = Server::spawn(&[
        "serve",
        "-b",
        "127.0.0.1:0",
        "-w",
        "1",
        "--boot-timeout",
        "3s",
        "--",
        "sh",
        "-c",
        &script,
    ]);
    wait_for_workers(&server, 1);
    let before = server.worker_pids();
    stop_for(server.pid(), Duration::from_millis(4500));
    eventually(DEADLINE, "the deadline is given again", || server.stderr_contains("given again"));
    fs::write(&go_on, "").unwrap();
    eventually(DEADLINE, "the server is ready", || server.stderr_contains("listening on"));
    assert_eq!(server.worker_pids(), before, "nobody was killed");
    assert!(!server.stderr_contains("worker killed"), "nobody was killed");
}

#[test]
fn a_master_that_was_stopped_does_not_kill_a_worker_that_serves() {
    for threads in ["0", "1"] {
        let server =
            Server::start(&["serve", "-w", "1", "--threads", threads, "--timeout", "800ms"]);
        let before = server.worker_pids();
        let mut client = Client::connect(server.address());
        assert_eq!(client.get("/").status, 200);
        // Longer than the timeout, but not while the master looked.
        let stopped = Stopped::stop(server.pid());
        client.send(b"GET /sleep/1500 HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(client.answer(false).status, 200);
        drop(stopped);
        assert_eq!(Client::connect(server.address()).get("/").status, 200);
        assert_eq!(server.worker_pids(), before, "nobody was killed");
        assert!(!server.stderr_contains("worker withdrawn"), "nobody was blamed");
    }
}

#[test]
fn a_master_that_was_stopped_does_not_kill_a_worker_that_has_not_taken_a_hand_off() {
    let server =
        Server::start(&["serve", "-w", "1", "--handoff-timeout", "2s", "--", &foreign_worker()]);
    let before = server.worker_pids();
    let idle = sockets_of(server.pid());
    // It serves one after the other, and this one does not end its request.
    let mut first = Client::connect(server.address());
    first.send(b"GET / HTTP/1.1\r\n");
    eventually(DEADLINE, "the first is lent", || sockets_of(server.pid()) == idle + 1);
    let mut second = Client::connect(server.address());
    second.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually(DEADLINE, "the second is lent", || sockets_of(server.pid()) == idle + 2);
    stop_for(server.pid(), Duration::from_millis(3300));
    first.send(b"Host: x\r\n\r\n");
    assert_eq!(first.answer(false).status, 200);
    assert_eq!(second.answer(false).status, 200);
    assert_eq!(server.worker_pids(), before, "nobody was killed");
    assert!(!server.stderr_contains("not taken in time"), "nobody was blamed");
}

/// When a line of the log was written, in milliseconds of its day.
fn time_of(line: &str) -> u64 {
    let time = line.split_once('T').expect(line).1;
    let (clock, _) = time.split_once('Z').expect(line);
    let parts: Vec<f64> = clock.split(':').map(|part| part.parse().expect(line)).collect();
    ((parts[0] * 3600.0 + parts[1] * 60.0 + parts[2]) * 1000.0).round() as u64
}

#[test]
fn twenty_deaths_of_every_kind_leave_nothing_behind_and_are_made_good_at_once() {
    const WORKERS: usize = 5;
    // A crash, the kernel out of memory, an abort, an end of its own accord. (Not SIGSEGV: Rust's
    // handler lets the first one pass where no guard page was touched.)
    const KINDS: [Signal; 4] = [Signal::SIGILL, Signal::SIGKILL, Signal::SIGABRT, Signal::SIGTERM];
    let server = Server::start(&["serve", "-w", "5"]);
    wait_for_workers(&server, WORKERS);
    let mut client = Client::connect(server.address());
    assert_eq!(client.get("/").status, 200);
    drop(client);
    // Sockets are counted strictly. Of other descriptors the master may have one more for each
    // worker: the set in which it watches the connections of one that was slow for a moment.
    let held = || {
        let workers = server.worker_pids().into_iter().map(descriptors_of).collect::<Vec<_>>();
        (sockets_of(server.pid()), workers)
    };
    server.assert_conserved_at_rest();
    server.wait_for_rest();
    let (baseline, descriptors) = (held(), server.descriptors());
    for (round, kind) in KINDS.into_iter().enumerate() {
        let victims = server.worker_pids();
        for victim in &victims {
            signal_process(*victim, kind);
        }
        eventually(DEADLINE, "all are replaced, and no zombie is left", || {
            let now = server.worker_pids();
            now.len() == WORKERS && now.iter().all(|pid| is_alive(*pid) && !victims.contains(pid))
        });
        let ready = WORKERS * (round + 2);
        eventually(DEADLINE, "the new ones are ready", || {
            lines_with(&server, "worker is ready").len() == ready
        });
        assert_eq!(Client::connect(server.address()).get("/").status, 200);
    }
    eventually(DEADLINE, "descriptors are where they were", || {
        held() == baseline && server.descriptors() <= descriptors + WORKERS
    });
    assert_eq!(lines_with(&server, "worker ended").len(), 20);

    // The first death of each is made good at once; a series is not, by design.
    let first: Vec<u64> = lines_with(&server, "worker ended")[..WORKERS]
        .iter()
        .map(|ended| {
            let slot = ended.split("worker=").nth(1).unwrap().split(' ').next().unwrap();
            let slot = format!("worker={slot} ");
            let ready = lines_with(&server, "worker is ready");
            let second = ready.iter().filter(|line| line.contains(&slot)).nth(1).expect(ended);
            time_of(second).saturating_sub(time_of(ended))
        })
        .collect();
    let mut sorted = first.clone();
    sorted.sort_unstable();
    assert!(sorted[WORKERS / 2] < 1000, "from death to ready: {first:?} ms");
}
