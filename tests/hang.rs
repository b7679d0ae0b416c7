//! A worker that hangs, from the first millisecond to its end: it is ranked out, what it has not
//! claimed goes to others, what it is busy with is named in the log, and it is replaced.
//!
//! Not here: a worker that is slow for a moment and left alone (`stuck`).

#![cfg(feature = "cli")]

mod common;

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use common::client::Client;
use common::{DEADLINE, Server, Stopped, cpu_ticks, eventually, signal_process};

/// Longer than anything here waits for.
const FOR_EVER: &str = "GET /spin/60000?token=secret HTTP/1.1\r\nHost: test\r\n\r\n";

/// Within this an answer has not waited for a worker that hangs. A loaded machine is slow too.
const AT_ONCE: Duration = Duration::from_millis(500);

fn server(threads: &str, more: &[&str]) -> Server {
    let first = ["serve", "-w", "2", "--threads", threads];
    let server = Server::start(&[&first[..], more].concat());
    eventually(DEADLINE, "the workers are there", || server.worker_pids().len() == 2);
    server
}

/// A client of this worker, with an idle connection. While the worker is busier than another, new
/// connections go there, and this would wait in vain.
fn client_of(server: &Server, pid: u32) -> Client {
    let mut found = None;
    // Those of others are kept meanwhile: the one with the fewest connections gets the next.
    let mut others = Vec::new();
    eventually(DEADLINE, "the worker has a client", || {
        let mut client = Client::connect(server.address());
        if client.get("/whoami").number("pid") == pid {
            found = Some(client);
        } else {
            others.push(client);
        }
        found.is_some()
    });
    found.expect("it was waited for")
}

/// A client, and the worker that it is at.
fn client(server: &Server) -> (Client, u32) {
    let mut client = Client::connect(server.address());
    let pid = client.get("/whoami").number("pid");
    (client, pid)
}

/// Sends this worker a request that never ends, by a client that is there.
fn hang(client: &mut Client, pid: u32) {
    let before = cpu_ticks(pid);
    client.send(FOR_EVER.as_bytes());
    eventually(DEADLINE, "it spins", || cpu_ticks(pid) >= before + 3);
}

/// The line of the log that says this, once it is there.
fn line(server: &Server, what: &str) -> String {
    eventually(DEADLINE, what, || server.stderr_contains(what));
    let stderr = server.stderr();
    stderr.lines().find(|line| line.contains(what)).expect("it was waited for").to_owned()
}

fn is_replaced(server: &Server, pid: u32) {
    eventually(DEADLINE, "it is gone, and another is there", || {
        let pids = server.worker_pids();
        pids.len() == 2 && !pids.contains(&pid)
    });
    for _ in 0..20 {
        assert_eq!(Client::connect(server.address()).get("/").status, 200);
    }
}

#[test]
fn an_endless_loop_in_one_of_two_threads_costs_its_own_request_alone() {
    let more = ["--timeout", "700ms", "--graceful-timeout", "3s"];
    let server = server("2", &more);
    let (mut slow, pid) = client(&server);
    let mut hung = client_of(&server, pid);
    hung.send(FOR_EVER.as_bytes());
    // One more request of the same worker is being answered when --timeout is over.
    slow.send(b"GET /sleep/1500 HTTP/1.1\r\nHost: test\r\n\r\n");

    let hang = line(&server, "worker hung");
    assert!(hang.contains("GET /spin/60000 for "), "{hang}");
    assert!(!hang.contains("secret"), "a query may be one: {hang}");
    // It was not killed: what else it had began before that, and is finished.
    assert_eq!(slow.answer(false).text(), "slept 1500.000 ms\n");
    assert!(hung.try_answer(false).map_or(true, |answer| answer.status == 502));
    is_replaced(&server, pid);
}

#[test]
fn an_endless_loop_on_the_loop_is_named_and_ended() {
    let server = server("0", &["--timeout", "700ms", "--graceful-timeout", "500ms"]);
    let mut idle: Vec<_> = (0..8).map(|_| Client::connect(server.address())).collect();
    for client in &mut idle {
        assert_eq!(client.get("/whoami").status, 200);
    }
    let (mut hung, pid) = client(&server);
    hang(&mut hung, pid);
    // While it hangs: those that were idle there are answered by the other one.
    for client in &mut idle {
        let begun = Instant::now();
        assert_ne!(client.get("/whoami").number("pid"), pid);
        assert!(begun.elapsed() < AT_ONCE, "it waited {:?}", begun.elapsed());
    }
    let hang = line(&server, "worker hung");
    assert!(hang.contains("GET /spin/60000 for "), "{hang}");
    // It hears nothing, and so it is killed; its request had been read.
    assert_eq!(hung.answer(false).status, 502);
    let end = line(&server, "worker ended");
    assert!(end.contains("signal 9") && end.contains("GET /spin/60000 for "), "{end}");
    is_replaced(&server, pid);
}

#[test]
fn a_stopped_worker_is_ended_when_its_time_is_up_and_loses_nothing_unread() {
    let server = server("1", &["--timeout", "700ms", "--graceful-timeout", "300ms"]);
    let pid = server.worker_pids()[0];
    let mut idle = client_of(&server, pid);
    server.wait_for_rest();
    let stopped = Stopped::stop(pid);
    // Sent to a worker that will never read it.
    let begun = Instant::now();
    assert_ne!(idle.get("/whoami").number("pid"), pid);
    assert!(begun.elapsed() < AT_ONCE, "it waited {:?}", begun.elapsed());
    for _ in 0..20 {
        assert_ne!(Client::connect(server.address()).get("/whoami").number("pid"), pid);
    }
    let hang = line(&server, "worker hung");
    assert!(hang.contains("no handler"), "{hang}");
    is_replaced(&server, pid);
    drop(stopped);
}

#[test]
fn without_a_timeout_a_hung_thread_is_left_alone() {
    let server = server("2", &[]);
    let (mut hung, pid) = client(&server);
    let mut idle = client_of(&server, pid);
    hang(&mut hung, pid);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        assert_eq!(idle.get("/").status, 200);
        assert_eq!(Client::connect(server.address()).get("/").status, 200);
    }
    assert!(server.worker_pids().contains(&pid), "{}", server.stderr());
    assert!(!server.stderr_contains("worker hung"));
}

#[test]
fn what_a_killed_worker_was_doing_is_named() {
    let server = server("2", &[]);
    let (mut client, pid) = client(&server);
    let mut other = client_of(&server, pid);
    client.send(b"GET /sleep/30000?password=x HTTP/1.1\r\nHost: test\r\n\r\n");
    // A thread has it: the worker's loop reads its other client's request, and rests again.
    assert_eq!(other.get("/whoami").number("pid"), pid);
    server.wait_for_rest();
    signal_process(pid, Signal::SIGKILL);
    let end = line(&server, "worker ended");
    assert!(end.contains("GET /sleep/30000 for "), "{end}");
    assert!(!end.contains("password"), "{end}");
    assert_eq!(client.answer(false).status, 502);
}

#[test]
fn who_leaves_in_order_leaves_nothing_to_be_named() {
    let server = server("1", &[]);
    let mut client = Client::connect(server.address());
    assert_eq!(client.get("/sleep/1").status, 200);
    server.signal(Signal::SIGHUP);
    let end = line(&server, "worker ended");
    assert!(end.contains("exit code 0") && !end.contains("running"), "{end}");
}
