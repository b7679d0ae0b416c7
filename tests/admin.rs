//! The admin address, from outside: what it says of a server that starts, serves, drains and ends;
//! what its helper's death, a taken address, a reload and an upgrade do to it; and what strangers can
//! do there, which is nothing.
//!
//! Not here: `maitred ctl` (`tests/ctl.rs`), frames (`admin::frame`).

#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use maitred::config::{ADMIN_CONNECTIONS_MAX, ADMIN_TIMEOUT};

use common::client::{Answer, Client};
use common::{
    DEADLINE, Server, Stopped, binary, descriptors_of, eventually, is_alive, signal_process,
    sockets_of,
};

/// A folder with a socket's path in it.
fn socket() -> (TempDir, PathBuf, String) {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("admin");
    let address = format!("unix:{}", path.display());
    (folder, path, address)
}

/// A port that nobody is given before it is used: the kernel takes them in turn.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

fn get(path: &Path, target: &str) -> Answer {
    Client::connect_unix(path).get(target)
}

fn status_code(path: &Path, target: &str) -> u16 {
    get(path, target).status
}

fn json(path: &Path) -> Value {
    let answer = get(path, "/status");
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).expect("one JSON document")
}

/// Gives a command over a Unix socket.
fn order(path: &Path, body: &str) -> (u16, Value) {
    let answer = Client::connect_unix(path).request("POST", "/ctl", &[], body.as_bytes());
    (answer.status, serde_json::from_slice(&answer.body).expect("one JSON document"))
}

#[track_caller]
fn done(path: &Path, body: &str) -> String {
    let (status, told) = order(path, body);
    assert_eq!((status, &told["done"]), (200, &true.into()), "{body}: {told}");
    told["text"].as_str().expect("a text").to_owned()
}

fn wait_until_served(path: &Path) {
    eventually(DEADLINE, "the admin address is served", || {
        std::os::unix::net::UnixStream::connect(path).is_ok() && status_code(path, "/livez") == 200
    });
}

/// The helper's process: the master's child that is no worker.
fn helper_of(server: &Server, path: &Path) -> Option<u32> {
    let document = json(path);
    let workers = document["workers"].as_array().expect("a list");
    let workers: Vec<u64> = workers.iter().filter_map(|one| one["pid"].as_u64()).collect();
    let others = server.worker_pids().into_iter().filter(|pid| is_alive(*pid));
    let others: Vec<u32> = others.filter(|pid| !workers.contains(&u64::from(*pid))).collect();
    (others.len() == 1).then(|| others[0])
}

#[track_caller]
fn helper(server: &Server, path: &Path) -> u32 {
    let mut found = None;
    eventually(DEADLINE, "there is one helper", || {
        found = helper_of(server, path);
        found.is_some()
    });
    found.expect("it was found")
}

fn kinds(document: &Value) -> Vec<&str> {
    let all = document["happened"].as_array().expect("a list");
    all.iter().filter_map(|one| one["kind"].as_str()).collect()
}

#[test]
fn it_says_what_the_server_does_to_whoever_may_ask() {
    let (_folder, path, address) = socket();
    let server = Server::start(&["serve", "-w", "2", "--admin", &address, "--balance", "random"]);
    wait_until_served(&path);
    let mode = fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");
    for _ in 0..5 {
        assert_eq!(Client::connect(server.address()).get("/").status, 200);
    }
    server.assert_conserved_at_rest();
    eventually(DEADLINE, "both are ready", || status_code(&path, "/readyz") == 200);
    let answer = get(&path, "/status");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let document = json(&path);
    assert_eq!(document["schema"], 1);
    assert_eq!((&document["serving"], &document["phase"]), (&true.into(), &"serving".into()));
    assert_eq!(document["pid"], server.pid());
    assert_eq!(document["account"]["accepted"], 5);
    assert_eq!(document["account"]["missing"], 0);
    assert_eq!(document["policy"]["balance"], "random");
    assert_eq!(document["policy"]["rebalance"], "auto");
    assert_eq!(document["scaling"]["workers_wanted"], 2);
    assert!(document["kernel_queue"]["limit"].as_u64().is_some_and(|limit| limit > 0));
    assert!(document["kernel_queue"]["overflows"].is_u64());
    assert!(document["jain"].as_f64().is_some_and(|jain| (0.5..=1.0).contains(&jain)));
    let workers = document["workers"].as_array().expect("a list");
    assert_eq!(workers.len(), 2);
    for worker in workers {
        assert!(worker["age"].as_f64().is_some_and(|age| age > 0.0), "{worker}");
        assert!(worker["rss_bytes"].as_u64().is_some_and(|bytes| bytes > 4096), "{worker}");
        assert!(worker["cpu_seconds"].is_f64(), "{worker}");
        assert_eq!((&worker["threads"], &worker["drained"]), (&1.into(), &false.into()));
    }
    let finished: u64 =
        workers.iter().filter_map(|worker| worker["requests_finished"].as_u64()).sum();
    assert_eq!(finished, 5);
    assert_eq!(kinds(&document).iter().filter(|kind| **kind == "ready").count(), 2);
    // A look finds what was done a moment before, also where nothing has woken the master since.
    let mut client = Client::connect(server.address());
    for number in 1..=3 {
        assert_eq!(client.get("/").status, 200);
        let started = || -> u64 {
            let document = json(&path);
            let workers = document["workers"].as_array().expect("a list").clone();
            workers.iter().filter_map(|worker| worker["requests_finished"].as_u64()).sum()
        };
        eventually(DEADLINE, "the request is told", || started() == 5 + number);
    }
    drop(client);

    let metrics = get(&path, "/metrics");
    assert!(metrics.header("content-type").is_some_and(|it| it.contains("openmetrics-text")));
    assert!(metrics.text().ends_with("# EOF\n"), "{}", metrics.text());
    let page = get(&path, "/");
    assert_eq!(page.status, 200);
    assert!(page.header("content-security-policy").is_some_and(|it| it.contains("'none'")));
    assert_eq!(status_code(&path, "/other"), 404);
    let mut client = Client::connect_unix(&path);
    let refused = client.request("DELETE", "/status", &[], b"");
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
    assert_eq!(client.request("GET", "/ctl", &[], b"").header("allow"), Some("POST, OPTIONS"));
    let head = client.request("HEAD", "/status", &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(client.get("/livez").status, 200, "the connection is kept");
}

#[test]
fn it_is_ready_from_when_it_serves_until_it_is_told_to_end() {
    let (_folder, path, address) = socket();
    let mut server = Server::start(&[
        "serve",
        "-w",
        "1",
        "--admin",
        &address,
        "--drain-delay",
        "168h",
        "--graceful-timeout",
        "0",
    ]);
    wait_until_served(&path);
    eventually(DEADLINE, "it is ready", || status_code(&path, "/readyz") == 200);
    // Still serving while not ready.
    server.signal(Signal::SIGTERM);
    eventually(DEADLINE, "it is not any more", || status_code(&path, "/readyz") == 503);
    assert!(get(&path, "/readyz").text().contains("stopping"));
    assert_eq!(status_code(&path, "/livez"), 200);
    assert_eq!(Client::connect(server.address()).get("/").status, 200);
    assert_eq!(json(&path)["phase"], "stopping");
    assert!(kinds(&json(&path)).contains(&"stop"));
    assert_eq!(order(&path, r#"{"command":"scale","workers":2}"#).0, 409);
    let helper = helper(&server, &path);
    assert!(done(&path, r#"{"command":"stop","now":true}"#).contains("at once"));
    assert!(server.wait_exit(DEADLINE).success());
    eventually(DEADLINE, "the helper has gone with its master", || !is_alive(helper));
    assert!(!path.exists(), "the socket's file goes too");
}

#[test]
fn it_is_not_ready_while_it_starts() {
    let (_folder, path, address) = socket();
    // A worker that never says Ready.
    let mut server = Server::spawn(&[
        "serve",
        "-w",
        "1",
        "-b",
        "127.0.0.1:0",
        "--admin",
        &address,
        "--",
        "sleep",
        "1000",
    ]);
    eventually(DEADLINE, "the admin address is there", || {
        assert_eq!(server.poll_exit(), None);
        std::os::unix::net::UnixStream::connect(&path).is_ok()
    });
    assert_eq!(status_code(&path, "/livez"), 200);
    assert_eq!(status_code(&path, "/readyz"), 503);
    assert_eq!(json(&path)["phase"], "starting");
}

#[test]
fn a_master_that_does_not_answer_is_neither_alive_nor_ready() {
    let (_folder, path, address) = socket();
    let server = Server::start(&["serve", "-w", "1", "--admin", &address]);
    wait_until_served(&path);
    let stopped = Stopped::stop(server.pid());
    let answer = get(&path, "/livez");
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("not answered in time"), "{}", answer.text());
    assert_eq!(status_code(&path, "/readyz"), 503);
    assert_eq!(status_code(&path, "/status"), 200, "what it last said");
    drop(stopped);
    eventually(DEADLINE, "it is well again", || status_code(&path, "/readyz") == 200);
}

#[test]
fn a_helper_that_is_killed_is_back_and_nobody_else_notices() {
    let (_folder, path, address) = socket();
    let server = Server::start(&["serve", "-w", "2", "--admin", &address]);
    wait_until_served(&path);
    let mut client = Client::connect(server.address());
    assert_eq!(client.get("/").status, 200);
    let before = json(&path);
    for _ in 0..2 {
        let killed = helper(&server, &path);
        signal_process(killed, Signal::SIGKILL);
        eventually(DEADLINE, "it is gone", || !is_alive(killed));
        assert_eq!(client.get("/").status, 200);
        wait_until_served(&path);
    }
    let after = json(&path);
    assert_eq!(after["events"]["helper_starts"], 3);
    assert_eq!(after["events"]["worker_starts"], 2);
    assert_eq!(kinds(&after), kinds(&before), "a new helper is told what the last one knew");
    assert!(server.stderr_contains("another one is started"));
}

#[test]
fn an_address_that_is_taken_costs_a_warning_and_is_tried_again_by_a_reload() {
    let (_folder, path, address) = socket();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let other = taken.local_addr().expect("its address");
    let server =
        Server::start(&["serve", "-w", "1", "--admin", &other.to_string(), "--admin", &address]);
    wait_until_served(&path);
    eventually(DEADLINE, "the log says so", || {
        server.stderr_contains("an admin address is not served")
            && server.stderr_contains(&other.to_string())
    });
    assert_eq!(Client::connect(server.address()).get("/").status, 200);
    drop(taken);
    server.signal(Signal::SIGHUP);
    eventually(DEADLINE, "both are served", || {
        Client::try_connect(other, DEADLINE)
            .is_ok_and(|mut client| client.get("/livez").status == 200)
    });
    wait_until_served(&path);
}

#[test]
fn a_reload_takes_other_addresses_over_and_leaves_the_same_ones_alone() {
    let (folder, path, address) = socket();
    let config = folder.path().join("maitred.toml");
    let write = |admin: &str| {
        fs::write(&config, format!("admin = [{admin}]\nworkers = 1\n")).expect("a file");
    };
    write(&format!("{address:?}"));
    let server = Server::start(&["serve", "--config", config.to_str().expect("UTF-8")]);
    wait_until_served(&path);
    let first = helper(&server, &path);
    let reloads = |path: &Path, count: u64| {
        server.signal(Signal::SIGHUP);
        eventually(DEADLINE, "it has reloaded", || {
            let document = json(path);
            document["events"]["reloads"] == count && document["reload"]["state"] == "done"
        });
    };
    reloads(&path, 1);
    assert_eq!(helper(&server, &path), first, "nothing has changed for it");
    let other = folder.path().join("other");
    write(&format!("{:?}", format!("unix:{}", other.display())));
    server.signal(Signal::SIGHUP);
    wait_until_served(&other);
    eventually(DEADLINE, "the first one is gone", || !path.exists() && !is_alive(first));
    eventually(DEADLINE, "it has reloaded again", || json(&other)["events"]["reloads"] == 2);
    write("");
    let last = helper(&server, &other);
    server.signal(Signal::SIGHUP);
    eventually(DEADLINE, "nobody is served any more", || !other.exists() && !is_alive(last));
    assert_eq!(Client::connect(server.address()).get("/").status, 200);
}

#[test]
fn an_upgrade_keeps_its_addresses_open_and_what_has_happened() {
    let (_folder, path, address) = socket();
    let tcp = free_port();
    let server =
        Server::start(&["serve", "-w", "2", "--admin", &address, "--admin", &tcp.to_string()]);
    wait_until_served(&path);
    done(&path, r#"{"command":"drain","slot":1}"#);
    let before = helper(&server, &path);
    server.signal(Signal::SIGUSR2);
    let mut asked = 0;
    eventually(DEADLINE, "another image serves", || {
        asked += 1;
        // Nobody is refused meanwhile, and nobody hears that the server is not alive.
        let answer = Client::connect(tcp).get("/livez");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let document = json(&path);
        document["events"]["upgrades"] == 1 && document["reload"]["state"] == "done"
    });
    assert!(asked > 0);
    let document = json(&path);
    assert_eq!(document["pid"], server.pid());
    assert!(kinds(&document).contains(&"upgrade") && kinds(&document).contains(&"drain"));
    let drained = |slot: u64| {
        let document = json(&path);
        let workers = document["workers"].as_array().expect("a list").clone();
        workers.iter().any(|one| one["slot"] == slot && one["drained"] == true)
    };
    assert!(drained(1) && !drained(0));
    eventually(DEADLINE, "the first helper is gone, and reaped", || {
        !server.worker_pids().contains(&before)
    });
    assert_ne!(helper(&server, &path), before);
    let mode = fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// `ssh -L 9000:/run/maitred/admin.sock` makes a port of the socket, and every page in that browser
/// can send it a form or a fetch without being asked (it may not read the answer).
#[test]
fn commands_from_a_web_page_are_refused_over_a_unix_socket_too() {
    let (_folder, path, address) = socket();
    let server = Server::start(&["serve", "-w", "1", "--admin", &address]);
    wait_until_served(&path);
    for origin in ["https://evil.example", "http://127.0.0.1:9000", "null"] {
        let headers = [("origin", origin), ("content-type", "text/plain")];
        let stop = br#"{"command":"stop","now":true}"#;
        let answer = Client::connect_unix(&path).request("POST", "/ctl", &headers, stop);
        assert_eq!(answer.status, 403, "{origin}: {}", answer.text());
    }
    done(&path, r#"{"command":"ping"}"#);
    assert_eq!(Client::connect(server.address()).get("/").status, 200);
}

#[test]
fn commands_over_tcp_are_refused_whatever_they_say() {
    let tcp = free_port();
    let server = Server::start(&["serve", "-w", "1", "--admin", &tcp.to_string()]);
    eventually(DEADLINE, "the admin address is served", || {
        Client::try_connect(tcp, DEADLINE)
            .is_ok_and(|mut client| client.get("/readyz").status == 200)
    });
    let mut client = Client::connect(tcp);
    for body in [r#"{"command":"stop","now":true}"#, r#"{"command":"ping"}"#, "", "nonsense"] {
        let fields = [("Origin", "http://evil.example"), ("Content-Type", "text/plain")];
        let answer = client.request("POST", "/ctl", &fields, body.as_bytes());
        assert_eq!(answer.status, 403, "{body}: {}", answer.text());
        assert!(answer.text().contains("unix:PATH"));
    }
    assert_eq!(Client::connect(server.address()).get("/").status, 200);
}

#[test]
fn what_strangers_send_there_harms_nobody() {
    let (_folder, path, address) = socket();
    let tcp = free_port();
    let server =
        Server::start(&["serve", "-w", "1", "--admin", &address, "--admin", &tcp.to_string()]);
    wait_until_served(&path);
    let before = helper(&server, &path);
    let mut random = fastrand::Rng::with_seed(7);
    let heads = [
        "POST /ctl HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n",
        "GET /status HTTP/1.1\r\nHost: a\r\nX: ",
        "POST /ctl HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffff\r\n",
        "GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
        "\0\0\0\0",
        "",
    ];
    for number in 0..60 {
        let mut stream = TcpStream::connect(tcp).expect("it accepts");
        stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        let mut bytes = heads[number % heads.len()].as_bytes().to_vec();
        bytes.extend((0..random.usize(..9000)).map(|_| random.u8(..)));
        // It may have been answered, and closed, before all of it was sent.
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
    }
    for body in ["", "{", "[1]", "null", "{\"command\":\"\\u0000\"}", &"[".repeat(4000)] {
        let (status, told) = order(&path, body);
        assert_eq!((status, &told["done"]), (400, &false.into()), "{body}");
    }
    let huge = Client::connect_unix(&path).request("POST", "/ctl", &[], &[b' '; 5000]);
    assert_eq!(huge.status, 413);
    // Whoever holds all places shuts others out until they are silent for too long, and not the
    // server's clients.
    let silent: Vec<_> = (0..80).filter_map(|_| TcpStream::connect(tcp).ok()).collect();
    assert_eq!(Client::connect(server.address()).get("/").status, 200);
    wait_until_served(&path);
    drop(silent);
    assert_eq!(helper(&server, &path), before, "it has not died of it");
    assert!(!server.stderr_contains("panicked"));
}

/// Connections to this port that its process has accepted: those in the kernel's queue have no inode
/// yet (proc_pid_net(5)).
fn accepted_at(port: u16) -> usize {
    let table = fs::read_to_string("/proc/net/tcp").expect("it is there");
    let is_accepted = |line: &&str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (local, state, inode) = (fields[1], fields[3], fields[9]);
        local.ends_with(&format!(":{port:04X}")) && state == "01" && inode != "0"
    };
    table.lines().skip(1).filter(is_accepted).count()
}

/// Whoever held all places ran into one deadline together, in one turn of the helper, which had done
/// its accepting by then and slept on: who waited in the queue was served when something else
/// happened. (On a busy machine that turn comes by itself; here the process is stopped meanwhile.)
#[test]
fn places_that_a_deadline_frees_are_given_to_those_who_wait() {
    let (_folder, path, address) = socket();
    let tcp = free_port();
    let server =
        Server::start(&["serve", "-w", "1", "--admin", &address, "--admin", &tcp.to_string()]);
    wait_until_served(&path);
    let helper = helper(&server, &path);
    let places = ADMIN_CONNECTIONS_MAX as usize;
    let silent: Vec<_> =
        (0..places).map(|_| TcpStream::connect(tcp).expect("it listens")).collect();
    // Counted by port: a connection of those before may be about to be closed.
    eventually(DEADLINE, "all places are taken", || accepted_at(tcp.port()) >= places);
    let taken_at = Instant::now();
    let mut waiting = Client::connect_unix(&path);
    waiting.send(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n");
    let stopped = Stopped::stop(helper);
    std::thread::sleep((ADMIN_TIMEOUT * 2).saturating_sub(taken_at.elapsed()));
    drop(stopped);
    assert_eq!(waiting.answer(false).status, 200);
    drop(silent);
}

#[test]
fn workers_have_nothing_of_it_and_the_helper_nothing_of_clients() {
    let (_folder, path, address) = socket();
    let with = Server::start(&["serve", "-w", "1", "--admin", &address]);
    let without = Server::start(&["serve", "-w", "1"]);
    wait_until_served(&path);
    let helper = helper(&with, &path);
    let worker = with.worker_pids().into_iter().find(|pid| *pid != helper).expect("a worker");
    let other = without.worker_pids()[0];
    let _clients: Vec<_> = (0..20)
        .map(|_| {
            let mut client = Client::connect(with.address());
            assert_eq!(client.get("/").status, 200);
            client
        })
        .collect();
    let kinds = |pid: u32| -> Vec<String> {
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").flatten();
        let targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
        targets.map(|target| target.to_string_lossy().into_owned()).collect()
    };
    assert!(!kinds(worker).iter().any(|target| target.contains("maitred-status")));
    eventually(DEADLINE, "a worker has as many as one without", || {
        // Its clients' connections, of which the other has none.
        sockets_of(worker) == sockets_of(other) + 20
    });
    assert!(sockets_of(helper) < 12, "{:?}", kinds(helper));
    assert!(descriptors_of(helper) < 40, "{:?}", kinds(helper));
}

#[test]
fn it_serves_beside_workers_that_accept_by_themselves() {
    let (_folder, path, address) = socket();
    let server = Server::start(&["serve", "-w", "2", "--accept", "reuseport", "--admin", &address]);
    wait_until_served(&path);
    assert_eq!(Client::connect(server.address()).get("/").status, 200);
    eventually(DEADLINE, "the request is told", || {
        let document = json(&path);
        let workers = document["workers"].as_array().expect("a list").clone();
        workers.iter().any(|worker| worker["own_accepted"] == 1)
    });
    let (status, told) = order(&path, r#"{"command":"drain","slot":0}"#);
    assert_eq!(status, 409);
    assert!(told["text"].as_str().is_some_and(|text| text.contains("--accept reuseport")));
    assert_eq!(order(&path, r#"{"command":"balance","policy":"random"}"#).0, 409);
    assert!(done(&path, r#"{"command":"scale","workers":3}"#).contains('3'));
    eventually(DEADLINE, "three serve", || {
        json(&path)["workers"].as_array().is_some_and(|workers| workers.len() == 3)
    });
}

#[test]
fn a_worker_that_is_stuck_for_long_and_one_that_dies_are_told_with_what_they_did() {
    let (_folder, path, address) = socket();
    let server = Server::start(&["serve", "-w", "2", "--admin", &address]);
    wait_until_served(&path);
    let mut client = Client::connect(server.address());
    client.send(b"GET /sleep/60000 HTTP/1.1\r\nHost: a\r\n\r\n");
    let told = |kind: &str| {
        let document = json(&path);
        let all = document["happened"].as_array().expect("a list").clone();
        all.into_iter().find(|one| one["kind"] == kind)
    };
    eventually(DEADLINE, "it is told that one is stuck", || told("stuck").is_some());
    let stuck = told("stuck").expect("it was told");
    assert!(stuck["text"].as_str().is_some_and(|text| text.contains("/sleep/60000")), "{stuck}");
    let pid = stuck["pid"].as_u64().expect("a number") as u32;
    signal_process(pid, Signal::SIGKILL);
    eventually(DEADLINE, "it is told that it died", || told("died").is_some());
    let died = told("died").expect("it was told");
    assert_eq!((&died["pid"], &died["slot"]), (&stuck["pid"], &stuck["slot"]));
    let text = died["text"].as_str().expect("a text");
    assert!(text.contains("signal 9") && text.contains("/sleep/60000"), "{text}");
    assert_eq!(client.answer(false).status, 502);
    let document = json(&path);
    let stalls = document["workers"].as_array().expect("a list");
    assert!(stalls.iter().all(|worker| worker["stalls"].is_u64()));
    let numbers: Vec<u64> = document["happened"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["sequence"].as_u64())
        .collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
}

/// An embedding program is its own helper, as it is its own worker.
#[test]
fn an_embedding_program_serves_it_too() {
    let directory = binary().parent().expect("a binary stands in a directory");
    let example = directory.join("examples").join("hello");
    let (_folder, path, address) = socket();
    let server = Server::start_program(&example, &["serve", "-w", "1", "--admin", &address]);
    wait_until_served(&path);
    assert_eq!(Client::connect(server.address()).get("/you").text(), "Hello, /you\n");
    assert_eq!(json(&path)["phase"], "serving");
}

#[test]
fn the_address_answers_while_every_worker_is_busy() {
    let (_folder, path, address) = socket();
    let server = Server::start(&["serve", "-w", "1", "--threads", "0", "--admin", &address]);
    wait_until_served(&path);
    let mut client = Client::connect(server.address());
    client.send(b"GET /sleep/2000 HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually(DEADLINE, "the request is being served", || {
        json(&path)["workers"][0]["active"] == 1
    });
    assert_eq!(status_code(&path, "/livez"), 200);
    assert_eq!(client.answer(false).status, 200);
}
