//! Listening sockets that were passed in. (Paths are in `tests/serve.rs`.)

#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::io::BufReader;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use common::client::Client;
use common::{activate, binary, children_of, read_until, signal_process};
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

#[test]
fn of_several_sockets_the_named_one_is_served_and_workers_get_none_of_the_others() {
    let [http, other] = [(), ()].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let (served, left) = (http.local_addr().unwrap(), other.local_addr().unwrap());
    // As systemd does: descriptors 3 and 4, and their names.
    let script = "exec 3<&0 4<&1 0</dev/null 1>/dev/null; export LISTEN_PID=$$ LISTEN_FDS=2 \
                  LISTEN_FDNAMES=other:http; exec \"$0\" serve -w 1 -b systemd:http";
    let mut child = Command::new("/bin/sh")
        .args(["-c", script])
        .arg(binary())
        .stdin(Stdio::from(OwnedFd::from(other)))
        .stdout(Stdio::from(OwnedFd::from(http)))
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
    let ready = read_until(&mut stderr, "listening on");
    assert!(ready.contains(&served.to_string()), "{ready}");
    let mut client = Client::connect(served);
    assert_eq!(client.get("/").status, 200);
    let sockets_of = |pid: u32| -> Vec<String> {
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("it lives");
        let targets = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
        targets.map(|target| target.to_string_lossy().into_owned()).collect()
    };
    let inode = |address: std::net::SocketAddr| {
        let table = fs::read_to_string("/proc/net/tcp").expect("a table");
        let port = format!(":{:04X} 00000000:0000 0A", address.port());
        let line = table.lines().find(|line| line.contains(&port)).expect("it listens");
        format!("socket:[{}]", line.split_whitespace().nth(9).expect("an inode"))
    };
    let (served, left) = (inode(served), inode(left));
    assert!(sockets_of(child.id()).contains(&served));
    for worker in children_of(child.id()) {
        let sockets = sockets_of(worker);
        assert!(!sockets.contains(&served) && !sockets.contains(&left), "{sockets:?}");
    }
    drop(client);
    signal_process(child.id(), Signal::SIGTERM);
    assert!(child.wait().expect("our child").success());
}
