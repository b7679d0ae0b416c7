//! USR2: another version takes the server over in its own process, and no client notices.

#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use common::client::Client;
use common::load::{Load, Mode};
use common::{
    DEADLINE, Server, Stopped, binary, descriptors_of, eventually, is_alive, signal_process,
    sockets_of,
};

/// How often the log says that an upgrade is complete.
fn upgrades(server: &Server) -> usize {
    server.stderr().matches("upgraded: workers are replaced now").count()
}

/// Upgrades, and waits until every worker is another one.
fn upgrade(server: &Server) {
    let (before, workers) = (upgrades(server), server.worker_pids());
    server.signal(Signal::SIGUSR2);
    eventually(DEADLINE, "the new image has taken over", || upgrades(server) == before + 1);
    eventually(DEADLINE, "all workers are new", || {
        let now = server.worker_pids();
        now.len() == workers.len() && now.iter().all(|pid| !workers.contains(pid))
    });
}

/// A copy of the program, which can be replaced.
fn installed(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("maitred");
    fs::copy(binary(), &path).expect("the program can be copied");
    path
}

/// Puts another program in the place of one that may be running.
fn install(path: &Path, script: &str) {
    let new = path.with_extension("new");
    fs::write(&new, script).expect("a file");
    let mode = if script.is_empty() { 0o644 } else { 0o755 };
    fs::set_permissions(&new, fs::Permissions::from_mode(mode)).expect("its mode");
    fs::rename(&new, path).expect("a rename in one folder");
}

#[test]
fn idle_busy_and_silent_connections_outlive_the_program_that_accepted_them() {
    let server = Server::start(&["serve", "-w", "2", "--defer-accept", "0", "--seed", "1"]);
    let mut idle = Client::connect(server.address());
    assert_eq!(idle.get("/").status, 200);
    let mut silent = Client::connect(server.address());
    let mut busy = Client::connect(server.address());
    busy.send(b"GET /sleep/700 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut streaming = Client::connect(server.address());
    // Half of a request: its worker has claimed it, and waits for the rest.
    streaming.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab");
    eventually(DEADLINE, "all are accepted", || sockets_of(server.pid()) >= 4 + 1 + 2 + 2);
    let pid = server.pid();
    server.signal(Signal::SIGUSR2);
    eventually(DEADLINE, "the new image has taken over", || upgrades(&server) == 1);
    streaming.send(b"cd");
    assert_eq!(streaming.answer(false).text(), "abcd");
    assert_eq!(busy.answer(false).status, 200);
    assert_eq!(idle.get("/").status, 200);
    assert_eq!(silent.get("/").status, 200);
    assert_eq!(busy.get("/").status, 200, "the connection is kept");
    assert_eq!(server.pid(), pid);
    assert!(is_alive(pid));
}

#[test]
fn upgrades_fail_nobody_and_leak_nothing() {
    for mode in [Mode::NewConnection, Mode::KeepAlive(8)] {
        let server = Server::start(&["serve", "-w", "2"]);
        assert_eq!(Client::connect(server.address()).get("/").status, 200);
        eventually(DEADLINE, "two workers", || server.worker_pids().len() == 2);
        upgrade(&server);
        let at_rest = || {
            let children = server.worker_pids();
            (server.descriptors(), children.iter().map(|pid| descriptors_of(*pid)).sum::<usize>())
        };
        let mut before = at_rest();
        eventually(DEADLINE, "the server is at rest", || {
            let now = at_rest();
            std::mem::replace(&mut before, now) == now
        });
        let load = Load::start(server.address(), 300, "/", mode);
        for _ in 0..5 {
            let target = load.answered() + 50;
            eventually(DEADLINE, "the load flows", || load.answered() >= target);
            upgrade(&server);
        }
        let ledger = load.stop();
        assert_eq!(ledger.failed(), 0, "{mode:?}: {ledger:?}");
        eventually(DEADLINE, "as many descriptors as before", || at_rest() == before);
    }
}

#[test]
fn a_program_that_cannot_go_on_leaves_the_old_one_serving() {
    let folder = TempDir::new().expect("a folder");
    let program = installed(&folder);
    let server = Server::start_program(&program, &["serve", "-w", "2", "--boot-timeout", "2s"]);
    let mut idle = Client::connect(server.address());
    let pid = idle.get("/whoami").number("pid");
    let scripts = [
        ("#!/bin/sh\nexit 7\n", "exit code 7"),
        // It says nothing that only this program says.
        ("#!/bin/sh\nexit 0\n", "exit code 0"),
        ("#!/bin/sh\nkill -9 $$\n", "signal 9"),
        ("#!/bin/sh\nexec sleep 60\n", "no answer in --boot-timeout"),
        // It may not be executed.
        ("", "cannot be asked"),
    ];
    for (number, (script, how)) in scripts.iter().enumerate() {
        install(&program, script);
        server.signal(Signal::SIGUSR2);
        eventually(DEADLINE, how, || {
            let stderr = server.stderr();
            let refusals = stderr.matches("no upgrade: ").count();
            refusals == number + 1 && stderr.contains(how)
        });
        assert_eq!(idle.get("/whoami").number("pid"), pid, "{how}: the old worker serves on");
    }
    // The right one is back: the same server can still be upgraded.
    fs::remove_file(&program).expect("it is there");
    fs::copy(binary(), &program).expect("the program can be copied");
    upgrade(&server);
    assert_eq!(idle.get("/").status, 200);
}

#[test]
fn a_program_that_does_not_understand_the_command_line_any_more_says_so() {
    let folder = TempDir::new().expect("a folder");
    let program = installed(&folder);
    let server = Server::start_program(&program, &["serve", "-w", "1"]);
    install(&program, &format!("#!/bin/sh\nexec {} serve --no-such-flag\n", binary().display()));
    server.signal(Signal::SIGUSR2);
    eventually(DEADLINE, "it says why", || {
        server.stderr_contains("--no-such-flag") && server.stderr_contains("exit code 2")
    });
    assert_eq!(Client::connect(server.address()).get("/").status, 200);
}

#[test]
fn a_server_that_ends_takes_the_program_that_it_asks_along() {
    let folder = TempDir::new().expect("a folder");
    let program = installed(&folder);
    let mut server = Server::start_program(&program, &["serve", "-w", "1"]);
    let worker = server.worker_pids();
    install(&program, "#!/bin/sh\nexec sleep 60\n");
    server.signal(Signal::SIGUSR2);
    eventually(DEADLINE, "it is asked", || server.worker_pids().len() == 2);
    let asked = server.worker_pids().into_iter().find(|pid| !worker.contains(pid));
    let asked = asked.expect("a child that is no worker");
    server.signal(Signal::SIGINT);
    assert!(server.wait_exit(DEADLINE).success());
    eventually(DEADLINE, "it has ended too", || !is_alive(asked));
}

#[test]
fn a_unix_sockets_file_stays_and_goes_with_the_server() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("socket");
    let bind = format!("unix:{}", path.display());
    let mut server = Server::start(&["serve", "-w", "1", "-b", "127.0.0.1:0", "-b", &bind]);
    let mut idle = Client::connect_unix(&path);
    assert_eq!(idle.get("/").status, 200);
    upgrade(&server);
    assert_eq!(idle.get("/").status, 200);
    assert_eq!(Client::connect_unix(&path).get("/").status, 200);
    server.signal(Signal::SIGTERM);
    assert!(server.wait_exit(DEADLINE).success());
    assert!(!path.exists(), "its file is gone");
}

#[test]
fn the_pid_file_goes_on_naming_the_same_process() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("maitred.pid");
    let server = Server::start(&["serve", "-w", "1", "--pid-file", path.to_str().expect("UTF-8")]);
    upgrade(&server);
    let text = fs::read_to_string(&path).expect("it is there");
    assert_eq!(text.trim(), server.pid().to_string());
    // It was opened at the start; the clients of a server that serves do not pay for its loss.
    drop(folder);
    upgrade(&server);
    eventually(DEADLINE, "it is said", || server.stderr_contains("goes on without it"));
    assert_eq!(Client::connect(server.address()).get("/").status, 200);
}

#[test]
fn the_account_goes_on() {
    let server = Server::start(&["serve", "-w", "2"]);
    let mut clients: Vec<_> = (0..10).map(|_| Client::connect(server.address())).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    let began = server.status().started_at_ms;
    for round in 1..=3 {
        upgrade(&server);
        eventually(DEADLINE, "the status file says so", || {
            let account = server.account();
            assert_eq!(account.missing(), 0, "{account}");
            account.counters.upgrades == round && account.counters.accepted == 10
        });
        assert_eq!(server.status().started_at_ms, began, "it is the same server");
    }
    drop(clients);
    server.assert_conserved_at_rest();
}

#[test]
fn workers_without_a_page_and_scaled_and_stopped_ones_are_taken_over() {
    let example = binary().parent().expect("a folder").join("examples").join("foreign_worker");
    let server = Server::start(&["serve", "-w", "1", "--", example.to_str().expect("UTF-8")]);
    server.signal(Signal::SIGTTIN);
    eventually(DEADLINE, "two workers", || server.worker_pids().len() == 2);
    let load = Load::start(server.address(), 100, "/", Mode::NewConnection);
    upgrade(&server);
    assert_eq!(server.worker_pids().len(), 2, "the slot that was added is still wanted");
    let target = load.answered() + 50;
    eventually(DEADLINE, "the load flows", || load.answered() >= target);
    let ledger = load.stop();
    assert_eq!(ledger.failed(), 0, "{ledger:?}");
}

#[test]
fn a_worker_that_is_stopped_meanwhile_loses_nothing_that_it_has_not_read() {
    let server = Server::start(&["serve", "-w", "2", "--graceful-timeout", "1s"]);
    let mut idle: Vec<_> = (0..8).map(|_| Client::connect(server.address())).collect();
    for client in &mut idle {
        assert_eq!(client.get("/").status, 200);
    }
    server.wait_for_rest();
    let stopped = Stopped::stop(server.worker_pids()[0]);
    server.signal(Signal::SIGUSR2);
    eventually(DEADLINE, "the new image has taken over", || upgrades(&server) == 1);
    for client in &mut idle {
        assert_eq!(client.get("/").status, 200, "idle connections leave a stopped worker");
    }
    let pid = stopped.pid();
    eventually(DEADLINE, "it has had its graceful time", || !is_alive(pid));
    drop(stopped);
}

#[test]
fn a_worker_that_dies_between_two_images_is_settled_by_the_next() {
    let server = Server::start(&["serve", "-w", "2"]);
    let mut idle: Vec<_> = (0..8).map(|_| Client::connect(server.address())).collect();
    for client in &mut idle {
        assert_eq!(client.get("/").status, 200);
    }
    for _ in 0..5 {
        let before = upgrades(&server);
        server.wait_for_rest();
        let victim = server.worker_pids()[0];
        server.signal(Signal::SIGUSR2);
        if is_alive(victim) {
            signal_process(victim, Signal::SIGKILL);
        }
        eventually(DEADLINE, "the new image has taken over", || upgrades(&server) == before + 1);
        eventually(DEADLINE, "two workers", || {
            let pids = server.worker_pids();
            pids.len() == 2 && !pids.contains(&victim)
        });
        for client in &mut idle {
            assert_eq!(client.get("/").status, 200);
        }
    }
}

#[test]
fn a_server_that_ends_is_not_upgraded_and_one_that_is_asked_to_end_meanwhile_does() {
    let mut server = Server::start(&["serve", "-w", "1", "--drain-delay", "300ms"]);
    server.signal(Signal::SIGTERM);
    eventually(DEADLINE, "it stops", || server.stderr_contains("stopping: "));
    server.signal(Signal::SIGUSR2);
    assert!(server.wait_exit(DEADLINE).success());
    assert!(server.stderr_contains("no upgrade: the server ends"));

    // TERM right behind USR2: before, during or after the exec. It is never lost, and never kills.
    for pause_us in [0, 1_000, 3_000, 5_000, 7_000, 10_000, 20_000] {
        let mut server = Server::start(&["serve", "-w", "1", "--drain-delay", "0"]);
        server.signal(Signal::SIGUSR2);
        std::thread::sleep(Duration::from_micros(pause_us));
        server.signal(Signal::SIGTERM);
        let status = server.wait_exit(DEADLINE);
        assert!(status.success(), "{pause_us}: {status}: {}", server.stderr());
    }
}
