//! What a node tells the balancers of its fleet, from outside: the agent check through a node's life,
//! the load on responses, and how a node leaves.
//!
//! Not here: the weight law (`tests/fleet_weight.rs`), real balancers (`scripts/compare-cluster`).

#![cfg(feature = "cli")]

mod common;

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use common::client::Client;
use common::load::{Load, Mode};
use common::{DEADLINE, Server, children_of, eventually, is_alive, signal_process};

/// A folder with a path for the agent check in it.
fn socket() -> (TempDir, PathBuf, String) {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("agent");
    let address = format!("unix:{}", path.display());
    (folder, path, address)
}

/// What HAProxy would hear; nothing where nobody answers.
fn ask(path: &Path) -> Option<String> {
    let mut stream = UnixStream::connect(path).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    let mut line = String::new();
    stream.read_to_string(&mut line).ok()?;
    (!line.is_empty()).then_some(line)
}

fn hears(path: &Path, what: &str, is_it: impl Fn(&str) -> bool) {
    eventually(DEADLINE, what, || ask(path).is_some_and(|line| is_it(&line)));
}

fn weight(line: &str) -> Option<u32> {
    line.strip_prefix("up ready ")?.strip_suffix("%\n")?.parse().ok()
}

#[test]
fn a_node_joins_gently_and_an_idle_one_asks_for_all() {
    let (_folder, path, address) = socket();
    let _server = Server::start(&["serve", "-w", "2", "--agent-check", &address]);
    hears(&path, "the first weight", |line| weight(line).is_some_and(|weight| weight < 100));
    hears(&path, "the whole weight", |line| weight(line) == Some(100));
}

#[test]
fn a_node_that_has_no_room_asks_for_less() {
    let (_folder, path, address) = socket();
    let flags =
        ["serve", "-w", "1", "--threads", "2", "--stall-after", "1s", "--agent-check", &address];
    let server = Server::start(&flags);
    // Twice what two threads can serve, in connections that wait for their turn.
    let load = Load::start(server.address(), 40, "/sleep/100", Mode::KeepAlive(8));
    hears(&path, "less than it had", |line| weight(line).is_some_and(|weight| weight <= 15));
    load.stop();
    hears(&path, "more again", |line| weight(line).is_some_and(|weight| weight >= 20));
}

#[test]
fn the_agent_check_survives_its_helper() {
    let (_folder, path, address) = socket();
    let server = Server::start(&["serve", "-w", "1", "--agent-check", &address]);
    hears(&path, "an answer", |line| weight(line).is_some());
    let workers: Vec<u32> = server.status().workers.iter().map(|worker| worker.pid).collect();
    let helper = children_of(server.pid()).into_iter().find(|pid| !workers.contains(pid));
    signal_process(helper.expect("a helper"), Signal::SIGKILL);
    hears(&path, "an answer of another one", |line| weight(line).is_some());
    assert!(workers.iter().all(|pid| is_alive(*pid)), "and the workers know nothing of it");
}

#[test]
fn a_node_that_is_to_end_says_so_at_once_and_serves_on_without_a_failure() {
    let (_folder, path, address) = socket();
    let flags = ["serve", "-w", "2", "--drain-delay", "5s", "--agent-check", &address];
    let mut server = Server::start(&flags);
    hears(&path, "an answer", |line| weight(line).is_some());
    let load = Load::start(server.address(), 200, "/", Mode::KeepAlive(8));
    eventually(DEADLINE, "load", || load.answered() > 100);
    server.signal(Signal::SIGTERM);
    hears(&path, "drain", |line| line == "up drain\n");
    // While it drains it takes new connections: a balancer may not have asked yet.
    let mut late = Client::connect(server.address());
    let answer = late.get("/");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("connection"), Some("close"), "the next request goes elsewhere");
    let before = load.answered();
    eventually(DEADLINE, "requests that are served meanwhile", || load.answered() > before + 50);
    let ledger = load.stop();
    assert_eq!(ledger.failed(), 0, "{ledger:?}");
    assert!(server.wait_exit(DEADLINE).success());
    assert_eq!(ask(&path), None, "nobody answers for a node that has ended");
}

/// The figures of a TEXT report, in its order: rate, errors, load.
fn figures(value: &str) -> Vec<f64> {
    let fields = value.strip_prefix("TEXT ").expect("a TEXT report").split(',');
    fields
        .map(|field| field.split_once('=').expect("a pair").1.parse().expect("a number"))
        .collect()
}

#[test]
fn responses_carry_the_load_of_the_whole_node_each_figure_once() {
    const FIELD: &str = "endpoint-load-metrics";
    let flags = ["serve", "-w", "2", "--threads", "2", "--load-header", "orca"];
    let flags = [&flags[..], &["--load-header-format", "text", "--stall-after", "1s"]].concat();
    let server = Server::start(&flags);
    // 40 requests of 50 ms: two of four threads are busy.
    let load = Load::start(server.address(), 40, "/sleep/50", Mode::KeepAlive(16));
    let mut client = Client::connect(server.address());
    let (mut heard, mut silent) = (Vec::new(), 0);
    eventually(DEADLINE, "a load that has settled", || {
        match client.get("/").header(FIELD) {
            Some(value) => heard.push(figures(value)),
            None => silent += 1,
        }
        heard.last().is_some_and(|figures| figures[0] > 30.0 && figures[2] > 0.3)
    });
    assert!(silent > heard.len(), "most responses carry nothing: {silent} and {}", heard.len());
    load.stop();
    let rate = |figures: &Vec<f64>| figures[0];
    assert!(heard.iter().map(rate).fold(0.0, f64::max) < 400.0, "of the node: {heard:?}");
    // Every connection hears it, with whichever worker.
    for _ in 0..8 {
        let mut client = Client::connect(server.address());
        assert!(client.get("/").header(FIELD).is_some());
    }
}

#[test]
fn the_binary_form_has_a_field_of_its_own() {
    let server = Server::start(&["serve", "-w", "1", "--load-header", "orca"]);
    let mut client = Client::connect(server.address());
    eventually(DEADLINE, "a report", || {
        let answer = client.get("/");
        assert_eq!(answer.header("endpoint-load-metrics"), None);
        answer.header("endpoint-load-metrics-bin").is_some()
    });
}

#[test]
fn a_node_that_tells_nobody_has_no_ticks() {
    // The look at the node ends with the load: what an idle server costs is what it cost before.
    let server = Server::start(&["serve", "-w", "1", "--load-header", "orca"]);
    Client::connect(server.address()).get("/");
    let switches = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid()));
        let status = status.expect("a live process");
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.expect("a count").trim().parse::<u64>().expect("a number")
    };
    eventually(Duration::from_secs(180), "a master that sleeps for two seconds", || {
        let before = switches();
        thread::sleep(Duration::from_secs(2));
        switches() == before
    });
}
