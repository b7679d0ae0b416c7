//! Listening sockets that were passed in. (Paths are in `tests/serve.rs`.)

#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::net::TcpListener;

use common::client::Client;
use common::{activate, signal_process};
use nix::sys::signal::Signal;

#[test]
fn a_socket_that_systemd_passed_is_served_and_no_worker_hears_of_it() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (mut child, _stderr) = activate(&listener);
    let pid = Client::connect(address).get("/whoami").number("pid");
    let environment = fs::read(format!("/proc/{pid}/environ")).expect("the worker lives");
    let environment = String::from_utf8_lossy(&environment);
    assert!(!environment.contains("LISTEN_FDS"), "{environment}");
    signal_process(child.id(), Signal::SIGTERM);
    assert!(child.wait().expect("our child").success());
}
