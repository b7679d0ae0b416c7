//! The server among other processes: its pid file, the service manager, and being the first process
//! of a container.

#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use common::client::Client;
use common::{
    DEADLINE, Server, Stopped, binary, children_of, eventually, foreign_worker, is_alive,
    signal_process,
};

#[test]
fn the_pid_file_names_the_master_while_it_serves() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.pid");
    fs::write(&path, "999999999\n").unwrap();
    let text = path.to_str().unwrap();
    let mut server = Server::start(&["serve", "-w", "1", "--pid-file", text]);
    let ours = format!("{}\n", server.pid());
    assert_eq!(fs::read_to_string(&path).unwrap(), ours, "the stale one is replaced");

    let mut second = Server::spawn(&["serve", "-b", "127.0.0.1:0", "--pid-file", text]);
    assert_eq!(second.wait_exit(DEADLINE).code(), Some(1));
    eventually(DEADLINE, "it names the file and the process", || {
        let stderr = second.stderr();
        stderr.contains(text) && stderr.contains(&format!("process {} is running", server.pid()))
    });
    assert_eq!(fs::read_to_string(&path).unwrap(), ours);

    server.signal(Signal::SIGHUP);
    eventually(DEADLINE, "it reloads", || server.stderr_contains("reload done"));
    assert_eq!(fs::read_to_string(&path).unwrap(), ours, "no worker takes it away");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(DEADLINE).code(), Some(0));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
}

/// A service manager's ear.
struct Ear {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Ear {
    fn at(path: &Path) -> Ear {
        let socket = UnixDatagram::bind(path).expect("the path is free");
        socket.set_nonblocking(true).expect("a socket can be");
        Ear { socket, heard: Vec::new() }
    }

    /// Waits until a message has been heard behind the first `from`; returns its place.
    fn wait_for(&mut self, from: usize, message: &str) -> usize {
        let mut found = None;
        eventually(DEADLINE, &format!("{message} is heard"), || {
            let mut bytes = [0; 1024];
            while let Ok(length) = self.socket.recv(&mut bytes) {
                self.heard.push(String::from_utf8_lossy(&bytes[..length]).into_owned());
            }
            found = self.heard.iter().skip(from).position(|heard| heard.starts_with(message));
            found.is_some()
        });
        from + found.expect("it has just been found")
    }
}

#[test]
fn the_service_manager_hears_that_it_is_ready_reloads_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let mut ear = Ear::at(&path);
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "400000")];
    let mut server = Server::start_in(&environment, binary(), &["serve", "-w", "2"]);
    let ready = ear.wait_for(0, "READY=1");
    ear.wait_for(ready, "STATUS=2 of 2 workers serve");
    let alive = ear.wait_for(ready, "WATCHDOG=1");
    ear.wait_for(alive + 1, "WATCHDOG=1");

    for pid in server.worker_pids() {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
        let environment = String::from_utf8_lossy(&environment);
        assert!(environment.contains("MAITRED_SLOT"), "that is a worker's");
        assert!(!environment.contains("NOTIFY_SOCKET"), "no worker speaks for the service");
        assert!(!environment.contains("WATCHDOG"), "no worker speaks for the service");
    }

    let before = ear.heard.len();
    server.signal(Signal::SIGHUP);
    let reloading = ear.wait_for(before, "RELOADING=1\nMONOTONIC_USEC=");
    let stamp: u64 = ear.heard[reloading].rsplit('=').next().unwrap().parse().unwrap();
    assert!(stamp > 0);
    ear.wait_for(reloading, "STATUS=2 of 2 workers serve; 1 of 2 replaced");
    let reloaded = ear.wait_for(reloading, "READY=1");
    ear.wait_for(reloaded, "STATUS=2 of 2 workers serve");

    // An upgrade is a reload of the same process.
    let before = ear.heard.len();
    server.signal(Signal::SIGUSR2);
    let reloading = ear.wait_for(before, "RELOADING=1\nMONOTONIC_USEC=");
    let reloaded = ear.wait_for(reloading, "READY=1");
    ear.wait_for(reloaded, "STATUS=2 of 2 workers serve");

    // One that does not live gives no sign of life.
    let stopped = Stopped::stop(server.pid());
    ear.wait_for(0, "READY=1");
    let before = ear.heard.len();
    drop(stopped);
    ear.wait_for(before, "WATCHDOG=1");

    server.signal(Signal::SIGTERM);
    ear.wait_for(reloaded, "STOPPING=1");
    assert_eq!(server.wait_exit(DEADLINE).code(), Some(0));
}

/// `systemctl reload` of a `Type=notify-reload` waits for both messages, whatever becomes of it: a
/// file that did not hold had it wait until its time was up.
#[test]
fn the_service_manager_hears_the_end_of_a_reload_that_is_refused_too() {
    let folder = tempfile::tempdir().unwrap();
    let (path, config) = (folder.path().join("notify"), folder.path().join("maitred.toml"));
    fs::write(&config, "workers = 1\n").unwrap();
    let mut ear = Ear::at(&path);
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap())];
    let mut server =
        Server::start_in(&environment, binary(), &["serve", "-c", config.to_str().unwrap()]);
    // It asks for the time that it may take, before anything else.
    assert_eq!(ear.wait_for(0, "EXTEND_TIMEOUT_USEC=65000000"), 0);
    ear.wait_for(0, "READY=1");
    fs::write(&config, "worker = 1\n").unwrap();
    let before = ear.heard.len();
    server.signal(Signal::SIGHUP);
    let reloading = ear.wait_for(before, "RELOADING=1\nMONOTONIC_USEC=");
    ear.wait_for(reloading, "READY=1");
    assert!(server.stderr_contains("not reloaded"), "{}", server.stderr());
    server.signal(Signal::SIGTERM);
    ear.wait_for(reloading, "STOPPING=1\nEXTEND_TIMEOUT_USEC=36000000");
    assert_eq!(server.wait_exit(DEADLINE).code(), Some(0));
}

#[test]
fn a_service_manager_that_does_not_listen_stops_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    // Its queue is full at once, since nobody reads; a blocking send would wait for ever.
    let deaf = UnixDatagram::bind(&path).unwrap();
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "2000")];
    let server = Server::start_in(&environment, binary(), &["serve", "-w", "1"]);
    let flood = UnixDatagram::unbound().unwrap();
    flood.set_nonblocking(true).unwrap();
    while flood.send_to(b"STATUS=full", &path).is_ok() {}
    server.signal(Signal::SIGHUP);
    eventually(DEADLINE, "it reloads", || server.stderr_contains("reload done"));
    assert_eq!(Client::connect(server.address()).get("/").status, 200);
    drop(deaf);
    assert_eq!(Client::connect(server.address()).get("/").status, 200);
}

#[test]
fn a_service_manager_that_cannot_be_told_stops_nobody() {
    let environment = [("NOTIFY_SOCKET", "vsock:2:1234")];
    let server = Server::start_in(&environment, binary(), &["serve", "-w", "1"]);
    assert!(server.stderr_contains("the service manager hears nothing"));
    assert_eq!(Client::connect(server.address()).get("/").status, 200);
}

/// Whether this machine lets us make a PID namespace; most containers do not.
fn may_unshare() -> bool {
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "true"])
        .output();
    status.is_ok_and(|output| output.status.success())
}

#[test]
fn as_the_first_process_of_a_container_it_reaps_what_others_leave_behind() {
    if !may_unshare() {
        // The reaping itself is tested beside `sys::process`.
        eprintln!("no PID namespace is allowed here");
        return;
    }
    // Each worker leaves an orphan at its start, and another one when it ends.
    let script = format!("(sleep 0.2 &); sleep 0.2 & exec {}", foreign_worker());
    let server = Server::start_program(
        Path::new("unshare"),
        &[
            "--user",
            "--map-root-user",
            "--pid",
            "--fork",
            "--kill-child=QUIT",
            "--mount-proc",
            binary().to_str().unwrap(),
            "serve",
            "--log-level=debug",
            "-b",
            "127.0.0.1:0",
            "-w",
            "2",
            "--",
            "sh",
            "-c",
            &script,
        ],
    );
    let master = server.worker_pids()[0];
    eventually(DEADLINE, "orphans are reaped", || server.stderr_contains("orphans reaped"));
    let workers =
        |alive: bool| children_of(master).into_iter().filter(move |pid| is_alive(*pid) == alive);
    eventually(DEADLINE, "only workers are left", || workers(true).count() == 2);
    for victim in workers(true).collect::<Vec<_>>() {
        signal_process(victim, Signal::SIGKILL);
        eventually(Duration::from_secs(20), "it is replaced, and no zombie is left", || {
            let now: Vec<_> = children_of(master);
            now.len() == 2 && !now.contains(&victim) && workers(false).count() == 0
        });
    }
    assert_eq!(Client::connect(server.address()).get("/").status, 200);
    // Another image of the first process goes on: its end would be the container's.
    let before: Vec<_> = workers(true).collect();
    signal_process(master, Signal::SIGUSR2);
    eventually(DEADLINE, "the new image has replaced the workers", || {
        server.stderr_contains("upgraded: ") && {
            let now: Vec<_> = children_of(master);
            now.len() == 2 && now.iter().all(|pid| !before.contains(pid))
        }
    });
    assert_eq!(Client::connect(server.address()).get("/").status, 200);
}
