//! A proxy in front says who the client is before anything else, once for each connection; and
//! whoever serves it, wherever it moves, knows.
//!
//! The story with a real HAProxy is skipped, and says so, where there is none (`scripts/test
//! packaging` installs it).

#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use common::client::{Answer, Client};
use common::{DEADLINE, Server, eventually, signal_process};

const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n";
const CLIENT: &str = "{\"address\":\"192.0.2.7\",\"port\":4711,\"secure\":false";
const REQUEST: &[u8] = b"GET /client HTTP/1.1\r\nHost: test\r\n\r\n";

/// Set where a HAProxy must be there.
const REQUIRED: &str = "MAITRED_TEST_HAPROXY_REQUIRED";

/// A header of version 2 for 2001:db8::7, port 4711, with an additional value.
fn binary_header() -> Vec<u8> {
    let address: std::net::Ipv6Addr = "2001:db8::7".parse().expect("an address");
    let value = [0x02, 0, 4, b't', b'e', b's', b't'];
    let rest = [&address.octets()[..], &[0; 16], &[0x12, 0x67, 0, 80], &value].concat();
    let length = u16::try_from(rest.len()).expect("it is short").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x21", &length[..], &rest].concat()
}

#[track_caller]
fn assert_client(answer: &Answer, expected: &str) {
    assert_eq!(answer.status, 200);
    assert!(answer.text().starts_with(expected), "{}", answer.text());
}

#[test]
fn the_client_is_whom_the_header_names_for_every_request_of_the_connection() {
    let server = Server::start(&["serve", "-w", "2", "--proxy-protocol"]);
    let inet6 = "{\"address\":\"2001:db8::7\",\"port\":4711,";
    let local = "{\"address\":\"127.0.0.1\",";
    for (header, expected) in [
        (LINE.to_vec(), CLIENT),
        (binary_header(), inet6),
        // A health check of the proxy's own, and one that does not know.
        (b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0".to_vec(), local),
        (b"PROXY UNKNOWN\r\n".to_vec(), local),
    ] {
        let mut client = Client::connect(server.address());
        client.send(&[&header[..], REQUEST].concat());
        assert_client(&client.answer(false), expected);
        // Once for each connection: no header in front of the second request, and none is missed.
        assert_client(&client.get("/client"), expected);
        // Pipelined ones behind a header, too.
        let mut client = Client::connect(server.address());
        client.send(&[&header[..], REQUEST, REQUEST].concat());
        assert_client(&client.answer(false), expected);
        assert_client(&client.answer(false), expected);
    }
    server.assert_conserved_at_rest();
}

#[test]
fn a_header_may_come_byte_by_byte() {
    let server = Server::start(&["serve", "-w", "1", "--proxy-protocol", "--defer-accept", "0"]);
    for header in [LINE.to_vec(), binary_header()] {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_nodelay(true).unwrap();
        for byte in header {
            stream.write_all(&[byte]).unwrap();
            std::thread::sleep(Duration::from_micros(200));
        }
        drop(stream);
        let mut client = Client::connect(server.address());
        for byte in LINE.iter().chain(REQUEST) {
            client.send(&[*byte]);
        }
        assert_client(&client.answer(false), CLIENT);
    }
}

#[test]
fn what_begins_otherwise_ends_without_an_answer() {
    let server = Server::start(&["serve", "-w", "1", "--proxy-protocol", "--defer-accept", "0"]);
    let endless = format!("PROXY UNKNOWN {}", "a".repeat(300));
    let malformed: [&[u8]; 9] = [
        REQUEST,
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\nGET / HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 192.0.2.700 198.51.100.1 4711 80\r\n",
        endless.as_bytes(),
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x04abcd",
        b"\x16\x03\x01\x02\0\x01\0",
    ];
    for bytes in malformed {
        let mut client = Client::connect(server.address());
        client.send(bytes);
        client.expect_eof();
    }
    // A header that ends in the middle is nobody's request either.
    let mut client = Client::connect(server.address());
    client.send(&LINE[..20]);
    client.finish_sending();
    client.expect_eof();
    eventually(DEADLINE, "each is counted", || {
        server.status().workers.iter().map(|worker| worker.errors).sum::<u64>() >= 9
    });
    // A balancer that is not set up for it is worth a line, and not one for each connection.
    let lines = server.stderr().matches("connection closed").count();
    assert_eq!(lines, 1, "{}", server.stderr());
    assert!(server.stderr_contains("no PROXY header"));
    let mut client = Client::connect(server.address());
    client.send(&[LINE, REQUEST].concat());
    assert_client(&client.answer(false), CLIENT);
    server.assert_conserved_at_rest();
}

#[test]
fn a_header_has_as_long_as_a_head() {
    let arguments = ["serve", "-w", "1", "--proxy-protocol", "--defer-accept", "0"];
    let server = Server::start(&[&arguments[..], &["--header-timeout", "300ms"]].concat());
    for beginning in [&LINE[..30], LINE] {
        let mut client = Client::connect(server.address());
        client.send(beginning);
        // No 408: nobody has asked for anything.
        client.expect_eof();
    }
}

#[test]
fn who_is_not_allowed_to_name_clients_is_not_served() {
    let arguments = ["serve", "-w", "1", "--proxy-protocol", "--proxy-protocol-from"];
    let server = Server::start(&[&arguments[..], &["10.0.0.0/8,unix"]].concat());
    for bytes in [&[LINE, REQUEST].concat()[..], REQUEST] {
        let mut client = Client::connect(server.address());
        client.send(bytes);
        client.expect_eof();
    }
    eventually(DEADLINE, "the log says why", || {
        server.stderr_contains("its peer is not in --proxy-protocol-from")
    });
}

#[test]
fn a_proxy_at_a_unix_socket_names_clients_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let bind = format!("unix:{}", path.display());
    let server = Server::start(&["serve", "-w", "1", "--proxy-protocol", "-b", &bind]);
    let mut client = Client::connect_unix(&path);
    client.send(&[LINE, REQUEST].concat());
    assert_client(&client.answer(false), CLIENT);
    // A client of a Unix socket of the proxy's: nobody with an address.
    let mut client = Client::connect_unix(&path);
    let header = [b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8", &[0; 216][..]].concat();
    client.send(&[&header[..], REQUEST].concat());
    assert_client(&client.answer(false), "{\"address\":null,\"port\":null,");
    drop(server);
}

#[test]
fn the_word_goes_with_the_connection_from_worker_to_worker() {
    let arguments = ["serve", "-w", "3", "--proxy-protocol", "--balance", "round-robin"];
    // Each response ends the connection's stay: its next request is somebody else's.
    let more = ["--rebalance", "always", "--stall-after", "1s", "--defer-accept", "0"];
    let server = Server::start(&[&arguments[..], &more].concat());
    for header in [LINE.to_vec(), binary_header()] {
        let expected =
            if header == LINE { CLIENT } else { "{\"address\":\"2001:db8::7\",\"port\":4711," };
        let mut client = Client::connect(server.address());
        // The header alone: no request, and so nobody's yet.
        client.send(&header);
        eventually(DEADLINE, "it is parked", || server.account().here.parked == 1);
        let mut slots = std::collections::BTreeSet::new();
        for _ in 0..6 {
            assert_client(&client.get("/client"), expected);
            slots.insert(client.get("/whoami").number("slot"));
        }
        assert!(slots.len() > 1, "it has moved: {slots:?}");
    }
    server.assert_conserved_at_rest();
}

#[test]
fn a_reload_an_upgrade_and_a_death_do_not_ask_for_another_header() {
    let arguments = ["serve", "-w", "1", "--proxy-protocol", "--stall-after", "1s"];
    let server = Server::start(&arguments);
    let mut client = Client::connect(server.address());
    client.send(&[LINE, REQUEST].concat());
    assert_client(&client.answer(false), CLIENT);
    let new_worker = |what: &str, change: &dyn Fn()| {
        server.wait_for_rest();
        let before = server.worker_pids();
        change();
        eventually(DEADLINE, what, || {
            let now = server.worker_pids();
            now.len() == 1 && now != before
        });
    };
    new_worker("a reload", &|| server.signal(Signal::SIGHUP));
    assert_client(&client.get("/client"), CLIENT);
    new_worker("a death", &|| signal_process(server.worker_pids()[0], Signal::SIGKILL));
    assert_client(&client.get("/client"), CLIENT);
    new_worker("an upgrade", &|| server.signal(Signal::SIGUSR2));
    assert_client(&client.get("/client"), CLIENT);
}

#[test]
fn the_kernels_ways_have_it_too() {
    for (arm, threads) in [("shared", "1"), ("reuseport", "1"), ("blocking", "0")] {
        let arguments = ["serve", "-w", "2", "--proxy-protocol", "--accept", arm];
        let server = Server::start(&[&arguments[..], &["--threads", threads]].concat());
        for _ in 0..4 {
            let mut client = Client::connect(server.address());
            client.send(&[LINE, REQUEST].concat());
            assert_client(&client.answer(false), CLIENT);
            assert_client(&client.get("/client"), CLIENT);
        }
        let mut client = Client::connect(server.address());
        client.send(REQUEST);
        client.expect_eof();
    }
}

/// A HAProxy of our own in front of a server; it ends with this.
struct HaProxy {
    child: Child,
    folder: TempDir,
    address: SocketAddr,
}

impl HaProxy {
    /// Starts one that speaks so (`mode`), and announces clients so (`send`).
    fn start(mode: &str, send: &str, server: SocketAddr) -> HaProxy {
        let folder = tempfile::tempdir().expect("a directory");
        let (stats, path) = (folder.path().join("stats"), folder.path().join("haproxy.cfg"));
        let configuration = format!(
            "global\n stats socket {stats}\n\
             defaults\n mode {mode}\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n\
             frontend web\n bind fd@3\n default_backend site\n\
             backend site\n option httpchk GET /client\n \
             server one {server} {send} check check-send-proxy inter 50ms\n",
            stats = stats.display()
        );
        fs::write(&path, configuration).expect("a file");
        // A listener that is open already: nobody else can have taken its port, and clients wait in
        // its queue until HAProxy is there.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("it has one");
        let script = "exec 3<&0 0</dev/null; exec haproxy -db -f \"$0\"";
        let child = Command::new("/bin/sh")
            .args(["-c", script])
            .arg(&path)
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(Stdio::null())
            .spawn()
            .expect("a shell");
        HaProxy { child, folder, address }
    }

    /// What it thinks of the server: its status, and how the last check has ended.
    fn health(&self) -> Option<(String, String)> {
        let mut socket = UnixStream::connect(self.folder.path().join("stats")).ok()?;
        socket.set_read_timeout(Some(DEADLINE)).ok()?;
        socket.write_all(b"show stat\n").ok()?;
        let mut table = String::new();
        socket.read_to_string(&mut table).ok()?;
        let mut lines = table.trim_start_matches("# ").lines();
        let names: Vec<&str> = lines.next()?.split(',').collect();
        let row: Vec<&str> = lines.find(|line| line.starts_with("site,one,"))?.split(',').collect();
        let value = |name: &str| {
            let column = names.iter().position(|column| *column == name)?;
            row.get(column).map(|value| (*value).to_owned())
        };
        Some((value("status")?, value("check_status")?))
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_real_haproxy_names_its_clients() {
    if Command::new("haproxy").arg("-v").output().is_err() {
        assert!(std::env::var_os(REQUIRED).is_none(), "{REQUIRED}, and there is none");
        eprintln!("skipped: there is no haproxy");
        return;
    }
    for send in ["send-proxy", "send-proxy-v2"] {
        for mode in ["tcp", "http"] {
            let server = Server::start(&["serve", "-w", "2", "--proxy-protocol"]);
            let proxy = HaProxy::start(mode, send, server.address());
            let what = format!("mode {mode}, {send}: the server is up");
            eventually(DEADLINE, &what, || {
                let health = proxy.health();
                health.is_some_and(|(status, last)| status == "UP" && last == "L7OK")
            });
            // In turn, so that a connection which HAProxy uses again for another client is seen.
            let sources = [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)];
            let connect = |source: Ipv4Addr| Client::connect_from(source.into(), proxy.address);
            let mut clients = sources.map(connect);
            for _ in 0..3 {
                for (client, own) in &mut clients {
                    let expected =
                        format!("{{\"address\":\"{}\",\"port\":{},", own.ip(), own.port());
                    assert_client(&client.get("/client"), &expected);
                }
            }
            drop(proxy);
            let errors: u64 = server.status().workers.iter().map(|worker| worker.errors).sum();
            assert_eq!(errors, 0, "checks are no errors:\n{}", server.stderr());
        }
    }
}
