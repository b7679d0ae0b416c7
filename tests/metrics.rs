//! `/metrics` and what the workers add up for it, from outside: the numbers are the clients' own,
//! and neither a death, a reload, an upgrade nor a worker that has gone mad takes anything back.

#![cfg(feature = "cli")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use common::client::Client;
use common::{DEADLINE, Server, binary, eventually, signal_process};
use maitred::account::{Status, WorkerStage};

/// Every series of an answer, by its name and labels as they stand there.
type Series = BTreeMap<String, f64>;

/// A server with an admin address of its own.
struct Observed {
    server: Server,
    admin: PathBuf,
    _folder: TempDir,
}

impl Observed {
    fn start(arguments: &[&str]) -> Observed {
        let folder = tempfile::tempdir().expect("a directory");
        let admin = folder.path().join("admin");
        let address = format!("unix:{}", admin.display());
        let (command, rest) = arguments.split_first().expect("a subcommand comes first");
        let server = Server::start(&[&[*command, "--admin", &address], rest].concat());
        eventually(DEADLINE, "the admin address answers", || try_scrape(&admin).is_some());
        Observed { server, admin, _folder: folder }
    }

    /// One look at everything.
    #[track_caller]
    fn scrape(&self) -> Series {
        let mut series = None;
        eventually(DEADLINE, "the admin address answers", || {
            series = try_scrape(&self.admin);
            series.is_some()
        });
        series.expect("it has just answered")
    }

    /// Waits until as many responses are counted as the client has had.
    #[track_caller]
    fn wait_for_responses(&self, had: u64) {
        // An answer reaches its client before the worker has counted it.
        eventually(DEADLINE, "every answer is counted", || {
            let counted = sum(&self.scrape(), "maitred_responses_total");
            assert!(counted <= had as f64, "{counted} of {had}");
            counted == had as f64
        });
    }
}

fn try_scrape(admin: &Path) -> Option<Series> {
    if !admin.exists() {
        return None;
    }
    let answer = Client::try_connect_unix(admin).ok()?.try_get("/metrics", "").ok()?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.header("content-type"), Some(content_type));
    Some(read(&answer.text()))
}

fn read(text: &str) -> Series {
    assert!(text.ends_with("# EOF\n"), "{text}");
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = samples.map(|line| line.rsplit_once(' ').expect("a series and its value"));
    pairs.map(|(series, value)| (series.to_owned(), value.parse().expect("a number"))).collect()
}

/// The sum over all labels.
fn sum(series: &Series, name: &str) -> f64 {
    let of_name = |series: &str| series == name || series.starts_with(&format!("{name}{{"));
    series.iter().filter(|(series, _)| of_name(series)).map(|(_, value)| value).sum()
}

/// What only ever rises while a server lives: counters, and the parts of histograms.
fn is_cumulative(series: &str) -> bool {
    let name = series.split('{').next().unwrap_or(series);
    ["_total", "_bucket", "_count", "_sum"].iter().any(|suffix| name.ends_with(suffix))
        // The kernel's, and everybody's.
        && !name.starts_with("maitred_kernel_queue")
}

#[track_caller]
fn assert_nothing_fell(before: &Series, after: &Series) {
    for (series, value) in before.iter().filter(|(series, _)| is_cumulative(series)) {
        // What belongs to a process ends with it.
        let Some(now) = after.get(series) else {
            assert!(series.contains("generation="), "{series} has gone");
            continue;
        };
        assert!(now >= value, "{series} was {value} and is {now}");
    }
}

/// As many requests as asked for, of every class that the demonstration answers with.
fn ask(server: &Server, rounds: usize) -> BTreeMap<&'static str, u64> {
    let mut had = BTreeMap::new();
    for _ in 0..rounds {
        let mut kept = Client::connect(server.address());
        for (path, status, class) in
            [("/", 200, "2xx"), ("/favicon.ico", 404, "4xx"), ("/sleep/x", 400, "4xx")]
        {
            assert_eq!(kept.get(path).status, status, "{path}");
            *had.entry(class).or_default() += 1;
        }
    }
    had
}

fn serving(status: &Status) -> Vec<u32> {
    let serves = |stage| stage == WorkerStage::Serving;
    status.workers.iter().filter(|one| serves(one.stage)).map(|one| one.pid).collect()
}

#[test]
fn what_is_counted_is_what_clients_had_and_never_falls() {
    let observed = Observed::start(&["serve", "-w", "2", "--stall-after", "1s"]);
    let server = &observed.server;
    let mut had = BTreeMap::new();
    let mut answered = 0;
    let mut before = observed.scrape();
    let workers = serving(&server.status());
    for step in ["at first", "a worker is killed", "a reload", "an upgrade"] {
        match step {
            "a worker is killed" => {
                server.wait_for_rest();
                signal_process(workers[0], Signal::SIGKILL);
                eventually(DEADLINE, "another serves in its place", || {
                    let now = serving(&server.status());
                    now.len() == 2 && !now.contains(&workers[0])
                });
            }
            "a reload" => {
                server.signal(Signal::SIGHUP);
                eventually(DEADLINE, "both have been replaced", || {
                    let now = serving(&server.status());
                    now.len() == 2 && now.iter().all(|pid| !workers.contains(pid))
                });
            }
            "an upgrade" => {
                let old = serving(&server.status());
                server.signal(Signal::SIGUSR2);
                eventually(DEADLINE, "both have been replaced once more", || {
                    let now = serving(&server.status());
                    now.len() == 2 && now.iter().all(|pid| !old.contains(pid))
                });
            }
            _ => {}
        }
        for (class, count) in ask(server, 20) {
            *had.entry(class).or_insert(0) += count;
            answered += count;
        }
        observed.wait_for_responses(answered);
        let after = observed.scrape();
        assert_nothing_fell(&before, &after);
        before = after;
    }
    let class = |class: &str| -> f64 {
        let label = format!("class=\"{class}\"");
        let of_class =
            |series: &str| series.starts_with("maitred_responses") && series.contains(&label);
        before.iter().filter(|(series, _)| of_class(series)).map(|(_, value)| value).sum()
    };
    for (name, count) in &had {
        assert_eq!(class(name), *count as f64, "{name}");
    }
    assert_eq!(class("5xx") + class("1xx"), 0.0);
    let measured = sum(&before, "maitred_service_seconds_count");
    assert_eq!(measured, answered as f64, "each of them has been measured");
    // Each connection waited once for its first claim, and was handed off at least once.
    assert_eq!(sum(&before, "maitred_queue_wait_seconds_count"), 80.0);
    assert!(sum(&before, "maitred_handoff_seconds_count") >= 80.0);
    assert!(
        sum(&before, "maitred_sent_bytes_total") > sum(&before, "maitred_received_bytes_total")
    );
    let restarts =
        |cause: &str| sum(&before, &format!("maitred_worker_restarts_total{{cause=\"{cause}\"}}"));
    assert_eq!((restarts("killed"), restarts("reloaded")), (1.0, 4.0));
    assert_eq!(sum(&before, "maitred_upgrades_total"), 1.0);
    let jain = sum(&before, "maitred_fairness_ratio");
    assert!((0.5..=1.0).contains(&jain), "{jain}");
}

#[test]
fn the_kernels_arms_are_measured_too() {
    let observed = Observed::start(&["serve", "-w", "2", "--accept", "exclusive"]);
    ask(&observed.server, 10);
    observed.wait_for_responses(30);
    let series = observed.scrape();
    assert_eq!(sum(&series, "maitred_queue_wait_seconds_count"), 10.0);
    assert_eq!(sum(&series, "maitred_handoff_seconds_count"), 0.0, "nothing is handed off");
    assert_eq!(sum(&series, "maitred_service_seconds_count"), 30.0);
}

#[test]
fn a_refusal_is_counted_by_its_reason() {
    let observed = Observed::start(&["serve", "-w", "1", "--header-timeout", "300ms"]);
    let connect = || Client::connect(observed.server.address());
    let mut malformed = connect();
    malformed.send(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(malformed.answer(false).status, 400);
    let mut large = connect();
    large.send(format!("GET /{} HTTP/1.1\r\n", "x".repeat(9_000)).as_bytes());
    assert_eq!(large.answer(false).status, 414);
    let mut slow = connect();
    slow.send(b"GET / HTTP/1.1\r\nHost:");
    assert_eq!(slow.answer(false).status, 408);
    observed.wait_for_responses(3);
    let series = observed.scrape();
    for reason in ["malformed", "head_too_large", "too_slow"] {
        let name = format!("maitred_requests_refused_total{{worker=\"0\",reason=\"{reason}\"}}");
        assert_eq!(sum(&series, &name), 1.0, "{reason}");
    }
}

#[test]
fn a_refused_proxy_header_is_counted_by_its_reason() {
    const GOOD: &[u8] = b"PROXY UNKNOWN\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    // Its signature, version 2 for a client by IPv4, and a checksum that is another one.
    let checksum = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x13abcdefghijkl\x03\0\x04none";
    let refused: [(&[u8], &str); 5] = [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "absent"),
        (b"PROXY TCP4 192.0.2.700 198.51.100.1 4711 80\r\n", "malformed"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", "malformed"),
        (b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0", "unsupported"),
        (checksum, "wrong_checksum"),
    ];
    let name = |reason: &str| {
        format!("maitred_proxy_headers_refused_total{{worker=\"0\",reason=\"{reason}\"}}")
    };
    for more in [&["--accept", "master"], &["--accept", "shared"]] {
        let arguments = ["serve", "-w", "1", "--proxy-protocol", "--defer-accept", "0"];
        let observed = Observed::start(&[&arguments[..], more].concat());
        for (bytes, _) in refused {
            let mut client = Client::connect(observed.server.address());
            client.send(bytes);
            client.expect_eof();
        }
        let mut client = Client::connect(observed.server.address());
        client.send(GOOD);
        assert_eq!(client.answer(false).status, 200);
        let series = observed.scrape();
        for (reason, expected) in [
            ("absent", 1.0),
            ("malformed", 2.0),
            ("unsupported", 1.0),
            ("wrong_checksum", 1.0),
            ("untrusted_peer", 0.0),
        ] {
            assert_eq!(series.get(&name(reason)), Some(&expected), "{more:?}: {reason}");
        }
        assert_eq!(sum(&series, "maitred_request_errors_total"), 5.0, "{more:?}");
        // No request was refused: none was made.
        assert_eq!(sum(&series, "maitred_requests_refused_total"), 0.0, "{more:?}");
    }
    let arguments = ["serve", "-w", "1", "--proxy-protocol", "--proxy-protocol-from", "10.0.0.0/8"];
    let observed = Observed::start(&arguments);
    let mut client = Client::connect(observed.server.address());
    client.send(GOOD);
    client.expect_eof();
    assert_eq!(observed.scrape().get(&name("untrusted_peer")), Some(&1.0));
}

#[test]
fn a_worker_that_scribbles_over_the_meters_harms_nobody() {
    let hostile = binary().with_file_name("examples").join("hostile_worker");
    let (hostile, maitred) = (hostile.display().to_string(), binary().display().to_string());
    let words = ["serve", "-w", "2", "--stall-after", "1s", "--", &hostile, &maitred, "meters"];
    let observed = Observed::start(&words);
    // Slot 0 writes nonsense everywhere, again and again, and serves nobody; slot 1 does.
    let mut kept = Client::connect(observed.server.address());
    for _ in 0..50 {
        assert_eq!(kept.get("/").status, 200);
        let _whole = observed.scrape();
    }
    // And whoever comes after it attaches to what it has left, or serves without.
    observed.server.signal(Signal::SIGHUP);
    let before = observed.server.account().counters.reloads_failed;
    eventually(DEADLINE, "the reload is over", || {
        observed.server.status().reload.state == maitred::account::ReloadState::Done
    });
    assert_eq!(observed.server.account().counters.reloads_failed, before);
    assert_eq!(Client::connect(observed.server.address()).get("/").status, 200);
}

#[test]
fn without_an_admin_address_there_are_no_meters() {
    let has_meters = |server: &Server| {
        server.worker_pids().iter().any(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.windows(17).any(|window| window == b"MAITRED_METERS_FD")
        })
    };
    let plain = Server::start(&["serve", "-w", "1"]);
    assert!(!has_meters(&plain));
    let observed = Observed::start(&["serve", "-w", "1"]);
    assert!(has_meters(&observed.server));
}
