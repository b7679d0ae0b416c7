//! Listening sockets that were passed in. (Paths are in `tests/serve.rs`.)

#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use common::client::Client;
use common::{binary, signal_process};
use nix::sys::signal::Signal;

#[test]
fn a_socket_that_systemd_passed_is_served_and_no_worker_hears_of_it() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    // As systemd does it: descriptor 3, and our pid in the environment.
    let mut child = Command::new("/bin/sh")
        .args(["-c", "exec 3<&0 0</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" serve"])
        .arg(binary())
        .env("MAITRED_WORKERS", "2")
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut line = String::new();
    while !line.contains("listening on") {
        line.clear();
        assert_ne!(stderr.read_line(&mut line).expect("text"), 0, "it ended");
    }
    assert!(line.contains(&address.to_string()), "{line}");
    let pid = Client::connect(address).get("/whoami").number("pid");
    let environment = fs::read(format!("/proc/{pid}/environ")).expect("the worker lives");
    let environment = String::from_utf8_lossy(&environment);
    assert!(!environment.contains("LISTEN_FDS"), "{environment}");
    signal_process(child.id(), Signal::SIGTERM);
    assert!(child.wait().expect("our child").success());
}
