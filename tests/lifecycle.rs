//! Workers come and go, and clients do not notice: crashes, reloads, scaling, the server's end.

#![cfg(feature = "cli")]

mod common;

use std::net::TcpListener;
use std::time::Duration;

use nix::sys::signal::Signal;

use common::client::{Client, Failure};
use common::load::{Load, Mode};
use common::{DEADLINE, Server, descriptors_of, eventually, is_asleep, signal_process};

/// A worker's first milliseconds must not be what a test measures.
const FLOWING: u64 = 50;

fn wait_for_workers(server: &Server, count: usize) {
    eventually(DEADLINE, "the workers are there", || server.worker_pids().len() == count);
}

#[test]
fn a_killed_worker_is_replaced() {
    let server = Server::start(&["serve", "-w", "2"]);
    wait_for_workers(&server, 2);
    let before = server.worker_pids();
    signal_process(before[0], Signal::SIGKILL);
    eventually(DEADLINE, "another worker is there", || {
        let now = server.worker_pids();
        now.len() == 2 && !now.contains(&before[0]) && now.contains(&before[1])
    });
    // The new one serves: with two workers in turn, a few connections meet both.
    eventually(DEADLINE, "the new worker serves", || {
        let pid = Client::connect(server.address()).get("/whoami").number("pid");
        pid != before[1]
    });
    server.assert_conserved_at_rest();
}

#[test]
fn what_a_killed_worker_had_not_claimed_is_served_by_others() {
    let server = Server::start(&["serve", "-w", "4"]);
    wait_for_workers(&server, 4);
    let load = Load::start(server.address(), 300, "/", Mode::NewConnection);
    for _ in 0..3 {
        let target = load.answered() + FLOWING;
        eventually(DEADLINE, "the load flows", || load.answered() >= target);
        let victim = server.worker_pids()[0];
        signal_process(victim, Signal::SIGKILL);
        eventually(DEADLINE, "it is replaced", || {
            let now = server.worker_pids();
            now.len() == 4 && !now.contains(&victim)
        });
    }
    let ledger = load.stop();
    // A request that it had begun to answer may end with it: at most one for each kill.
    assert!(ledger.failed() <= 3, "{ledger:?}");
    assert_eq!(ledger.refused + ledger.timed_out, 0, "{ledger:?}");
    server.assert_conserved_at_rest();
}

#[test]
fn a_reload_fails_nobody() {
    for mode in [Mode::NewConnection, Mode::KeepAlive(8)] {
        let server = Server::start(&["serve", "-w", "2"]);
        wait_for_workers(&server, 2);
        let load = Load::start(server.address(), 300, "/", mode);
        for _ in 0..3 {
            let target = load.answered() + FLOWING;
            eventually(DEADLINE, "the load flows", || load.answered() >= target);
            let before = server.worker_pids();
            server.signal(Signal::SIGHUP);
            eventually(DEADLINE, "all workers are new", || {
                let now = server.worker_pids();
                now.len() == 2 && now.iter().all(|pid| !before.contains(pid))
            });
        }
        let ledger = load.stop();
        assert_eq!(ledger.failed(), 0, "{mode:?}: {ledger:?}");
        server.assert_conserved_at_rest();
    }
}

#[test]
fn an_idle_connection_survives_a_reload() {
    let server = Server::start(&["serve", "-w", "1"]);
    let mut client = Client::connect(server.address());
    let before = client.get("/whoami").number("pid");
    server.signal(Signal::SIGHUP);
    eventually(DEADLINE, "the worker is new", || {
        let now = server.worker_pids();
        now.len() == 1 && now[0] != before
    });
    assert_ne!(client.get("/whoami").number("pid"), before);
    drop(client);
    server.assert_conserved_at_rest();
}

#[test]
fn an_idle_connection_survives_its_worker() {
    let server = Server::start(&["serve", "-w", "1"]);
    let mut client = Client::connect(server.address());
    let before = client.get("/whoami").number("pid");
    // Its answer is here before the worker has said that the connection is idle.
    eventually(DEADLINE, "the worker's turn is over", || is_asleep(before));
    signal_process(before, Signal::SIGKILL);
    // Sent at once: it waits until somebody is there to read it.
    assert_ne!(client.get("/whoami").number("pid"), before);
    drop(client);
    server.assert_conserved_at_rest();
}

#[test]
fn workers_are_added_and_taken_away() {
    let server = Server::start(&["serve", "-w", "2"]);
    wait_for_workers(&server, 2);
    let load = Load::start(server.address(), 200, "/", Mode::NewConnection);
    eventually(DEADLINE, "the load flows", || load.answered() >= FLOWING);
    server.signal(Signal::SIGTTIN);
    wait_for_workers(&server, 3);
    server.signal(Signal::SIGTTOU);
    wait_for_workers(&server, 2);
    server.signal(Signal::SIGTTOU);
    wait_for_workers(&server, 1);
    let target = load.answered() + FLOWING;
    eventually(DEADLINE, "the load still flows", || load.answered() >= target);
    let ledger = load.stop();
    assert_eq!(ledger.failed(), 0, "{ledger:?}");
    server.assert_conserved_at_rest();
}

#[test]
fn an_answer_in_flight_is_finished_after_term() {
    let mut server = Server::start(&["serve", "-w", "2", "--drain-delay", "100ms"]);
    let mut busy = Client::connect(server.address());
    let mut idle = Client::connect(server.address());
    assert_eq!(idle.get("/").status, 200);
    assert_eq!(busy.get("/").status, 200);
    busy.send(b"GET /sleep/800 HTTP/1.1\r\nHost: test\r\n\r\n");
    server.signal(Signal::SIGTERM);
    let answer = busy.answer(false);
    assert_eq!((answer.status, answer.text().as_str()), (200, "slept 800.000 ms\n"));
    busy.expect_eof();
    idle.expect_eof();
    assert_eq!(server.wait_exit(DEADLINE).code(), Some(0));
    assert!(matches!(Client::try_connect(server.address(), DEADLINE), Err(Failure::Refused)));
    server.assert_conserved_at_rest();
}

#[test]
fn term_resets_nobody() {
    let mode = Mode::NewConnectionPausing(Duration::from_millis(20));
    for _ in 0..3 {
        let mut server = Server::start(&["serve", "-w", "2"]);
        let load = Load::start(server.address(), 300, "/", mode);
        eventually(DEADLINE, "the load flows", || load.answered() >= FLOWING);
        server.signal(Signal::SIGTERM);
        assert_eq!(server.wait_exit(DEADLINE).code(), Some(0));
        let ledger = load.stop();
        assert_eq!(ledger.failed(), ledger.refused, "{ledger:?}");
        server.assert_conserved_at_rest();
    }
}

#[test]
fn an_idle_server_is_gone_at_once_after_int() {
    let mut server = Server::start(&["serve", "-w", "2"]);
    assert_eq!(Client::connect(server.address()).get("/").status, 200);
    server.signal(Signal::SIGINT);
    assert_eq!(server.wait_exit(Duration::from_secs(5)).code(), Some(0));
    server.assert_conserved_at_rest();
}

#[test]
fn quit_waits_for_nobody() {
    let mut server = Server::start(&["serve", "-w", "1"]);
    let mut client = Client::connect(server.address());
    client.send(b"GET /sleep/60000 HTTP/1.1\r\nHost: test\r\n\r\n");
    server.signal(Signal::SIGQUIT);
    server.wait_exit(Duration::from_secs(5));
    server.assert_conserved_at_rest();
}

#[test]
fn a_second_term_waits_for_nobody() {
    let mut server = Server::start(&["serve", "-w", "1"]);
    let mut client = Client::connect(server.address());
    client.send(b"GET /sleep/60000 HTTP/1.1\r\nHost: test\r\n\r\n");
    // Equal signals that have not been taken yet are one: send until it ends.
    eventually(Duration::from_secs(5), "a repeated TERM ends it", || {
        server.signal(Signal::SIGTERM);
        server.poll_exit().is_some()
    });
    server.assert_conserved_at_rest();
}

#[test]
fn workers_that_never_start_end_the_server_with_their_own_error() {
    let mut server = Server::spawn(&[
        "serve",
        "-w",
        "2",
        "-b",
        "127.0.0.1:0",
        "--",
        "sh",
        "-c",
        "echo no kitchen >&2; exit 7",
    ]);
    assert_eq!(server.wait_exit(Duration::from_secs(60)).code(), Some(3));
    eventually(DEADLINE, "the error is shown", || server.stderr_contains("no kitchen"));
}

#[test]
fn an_address_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound").to_string();
    let mut server = Server::spawn(&["serve", "-w", "1", "-b", &address]);
    let code = server.wait_exit(DEADLINE).code();
    assert!(matches!(code, Some(1 | 2)), "{code:?}");
    eventually(DEADLINE, "the address is named", || {
        let stderr = server.stderr();
        stderr.contains(&address) && stderr.contains("in use")
    });
}

#[test]
fn a_directory_that_cannot_be_served_is_named() {
    let mut server =
        Server::spawn(&["serve", "static:/nowhere/at/all", "-w", "1", "-b", "127.0.0.1:0"]);
    let code = server.wait_exit(DEADLINE).code();
    assert!(matches!(code, Some(1 | 2 | 4)), "{code:?}");
    eventually(DEADLINE, "the directory is named", || server.stderr_contains("/nowhere/at/all"));
}

#[test]
fn descriptors_return_to_where_they_were() {
    let server = Server::start(&["serve", "-w", "2"]);
    wait_for_workers(&server, 2);
    let all = || -> usize {
        server.descriptors() + server.worker_pids().into_iter().map(descriptors_of).sum::<usize>()
    };
    // Whatever is opened once and kept is open after the first requests.
    for _ in 0..10 {
        assert_eq!(Client::connect(server.address()).get("/").status, 200);
    }
    let mut baseline = usize::MAX;
    eventually(DEADLINE, "the first connections have ended", || {
        let now = all();
        let has_settled = now >= baseline;
        baseline = baseline.min(now);
        has_settled
    });

    for round in 0..3 {
        let mut held: Vec<_> = (0..100).map(|_| Client::connect(server.address())).collect();
        for client in &mut held {
            assert_eq!(client.get("/").status, 200);
        }
        assert!(all() > baseline, "the connections are held somewhere");
        // Some end in order, some are torn within a request, some had been silent.
        for client in held.iter_mut().step_by(3) {
            client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
        }
        drop(held);
        eventually(DEADLINE, &format!("round {round}: all are closed"), || all() <= baseline);
    }
    server.assert_conserved_at_rest();
}

#[test]
fn a_master_that_is_killed_leaves_no_worker() {
    let mut server = Server::start(&["serve", "-w", "3"]);
    wait_for_workers(&server, 3);
    let workers = server.worker_pids();
    server.signal(Signal::SIGKILL);
    server.wait_exit(DEADLINE);
    eventually(DEADLINE, "the workers end", || workers.iter().all(|&pid| !common::is_alive(pid)));
}

/// The master closes what is over behind what can be seated. While something waited in the kernel's
/// queue and nobody had room, it slept, and kept what was over.
#[test]
fn what_is_over_is_closed_before_the_master_sleeps() {
    let flags = ["serve", "-w", "1", "--threads", "2", "--credit", "2", "--defer-accept", "0"];
    let server = Server::start(&flags);
    wait_for_workers(&server, 1);
    let listening = common::sockets_of(server.pid());
    let begin = |target: &str| {
        let mut client = Client::connect(server.address());
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        client.send(request.as_bytes());
        client
    };
    let _long = begin("/sleep/60000");
    let mut short = begin("/sleep/300");
    eventually(DEADLINE, "both are lent", || server.account().here.on_loan == 2);
    // One of these is seated when the short one is over; the other waits in the kernel's queue.
    let _waiting = [begin("/sleep/60000"), begin("/sleep/60000")];
    assert_eq!(short.answer(false).status, 200);
    eventually(DEADLINE, "the next is lent, and two are held", || {
        let account = server.account();
        account.counters.accepted == 3
            && account.here.on_loan == 2
            && common::sockets_of(server.pid()) == listening + 2
    });
}
