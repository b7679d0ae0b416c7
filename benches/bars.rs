//! The figures that docs/measurements.md reports: whole servers, real sockets, one table.
//!
//! `cargo bench --bench bars` measures all; a word behind `--` only those whose name contains it;
//! `--smoke` makes each short, to see that it still runs. Client and server share the machine: the
//! figures say what a client saw, with the client's own waiting in it. Throughput against nginx is
//! `scripts/compare-nginx`.

#[path = "../tests/common/mod.rs"]
mod common;

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use common::client::{Client, seat_in_bursts};
use common::load::{Ledger, Load, Mode};
use common::{DEADLINE, Server, Stopped, eventually, signal_process};
use nix::sys::signal::Signal;

const WORKERS: usize = 8;
const HELD: usize = 400;

/// How much of everything: all of it, or just enough to run.
#[derive(Clone, Copy)]
struct Scale {
    smoke: bool,
}

impl Scale {
    fn of<T>(self, full: T, smoke: T) -> T {
        if self.smoke { smoke } else { full }
    }
}

type Bar = fn(Scale);

const BARS: [(&str, Bar); 7] = [
    ("seating", seating),
    ("spinning", spinning),
    ("memory", memory),
    ("reloads", reloads),
    ("kill", kill),
    ("stopped", stopped),
    ("terms", terms),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let scale = Scale { smoke: arguments.iter().any(|one| one == "--smoke") };
    let wanted: Vec<_> = arguments.iter().filter(|one| !one.starts_with('-')).collect();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("Linux {}, {cores} cores{}", kernel.trim(), scale.of("", ", smoke run"));
    for (name, bar) in BARS {
        if wanted.is_empty() || wanted.iter().any(|one| name.contains(one.as_str())) {
            bar(scale);
        }
    }
}

/// 400 connections held over 8 workers: first seatings as the master counted them, and where they
/// are held at the end.
fn seating(scale: Scale) {
    for (balance, burst) in
        [("round-robin", 1), ("round-robin", 50), ("least-loaded", 1), ("least-loaded", 50)]
    {
        for threads in ["0", "1"] {
            let runs = (0..scale.of(5, 1)).map(|_| {
                let mut server = Server::start(&[
                    "serve",
                    "-w",
                    "8",
                    "--balance",
                    balance,
                    "--credit",
                    "64",
                    "--threads",
                    threads,
                ]);
                let held = seat_in_bursts(server.address(), HELD, burst);
                server.signal(Signal::SIGINT);
                server.wait_exit(DEADLINE);
                (first_seatings(&server), held, number_of(&server, "recalled="))
            });
            for (first, held, recalled) in runs {
                let ratio = |counts: &[usize]| {
                    let most = counts.iter().max().copied().unwrap_or(0);
                    most as f64 * WORKERS as f64 / HELD as f64
                };
                let held: Vec<usize> = held.values().copied().collect();
                println!(
                    "seating {balance}, bursts of {burst}, --threads {threads}: first {first:?} \
                     (max/mean {:.2}), held {held:?} ({:.2}), recalled {recalled}",
                    ratio(&first),
                    ratio(&held),
                );
            }
        }
    }
}

fn first_seatings(server: &Server) -> Vec<usize> {
    let stderr = server.stderr();
    let (_, behind) = stderr.split_once("seated=\"").expect("the last line says it");
    let (list, _) = behind.split_once('"').expect("a list in quotes");
    list.split(' ').map(|number| number.parse().expect("a number")).collect()
}

fn number_of(server: &Server, field: &str) -> u64 {
    let stderr = server.stderr();
    let (_, behind) = stderr.rsplit_once(field).expect("the last line says it");
    let digits: String = behind.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

/// One worker of four spins for two seconds; 200 new connections meanwhile.
fn spinning(scale: Scale) {
    let server = Server::start(&["serve", "-w", "4", "--threads", "0"]);
    let mut busy = Client::connect(server.address());
    let spin = scale.of(2000, 300);
    busy.send(format!("GET /spin/{spin} HTTP/1.1\r\nHost: bench\r\n\r\n").as_bytes());
    std::thread::sleep(Duration::from_millis(50));
    let mut slowest = Duration::ZERO;
    let mut slots = BTreeMap::new();
    for _ in 0..scale.of(200, 20) {
        let began = Instant::now();
        let answer = Client::connect(server.address()).get("/whoami");
        slowest = slowest.max(began.elapsed());
        *slots.entry(answer.number("slot")).or_insert(0) += 1;
    }
    println!("spinning: served by {slots:?}, slowest {slowest:.2?}");
}

/// Idle connections that made one request: resident memory a connection, less what the process
/// had before.
fn memory(scale: Scale) {
    let server = Server::start(&["serve", "-w", "1", "--threads", "0", "--rebalance", "never"]);
    let worker = server.worker_pids()[0];
    let count = scale.of(10_000, 500);
    let ask = |count: usize| -> Vec<Client> {
        let open = |_| {
            let mut client = Client::connect(server.address());
            assert_eq!(client.get("/").status, 200);
            client
        };
        (0..count).map(open).collect()
    };
    let warm = ask(100);
    let before = (private_bytes(server.pid()), private_bytes(worker));
    let held = ask(count);
    let after = (private_bytes(server.pid()), private_bytes(worker));
    println!(
        "memory of {count} idle connections: {:.0} bytes each in the master, {:.0} in the worker",
        (after.0 as f64 - before.0 as f64) / count as f64,
        (after.1 as f64 - before.1 as f64) / count as f64,
    );
    drop((warm, held));
}

/// Private memory of a process, and its share of what it shares (proc_pid_smaps(5)).
fn private_bytes(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("it lives");
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).expect("a Pss line");
    let kib: u64 = line.split_whitespace().next().and_then(|one| one.parse().ok()).expect("kB");
    kib * 1024
}

/// HUP after HUP under 1000 new connections a second.
fn reloads(scale: Scale) {
    let server = Server::start(&["serve", "-w", "2"]);
    let load = Load::start(server.address(), 1000, "/", Mode::NewConnection);
    let count = scale.of(50, 2);
    for _ in 0..count {
        let before = server.worker_pids();
        server.signal(Signal::SIGHUP);
        eventually(DEADLINE, "all workers are new", || {
            let pids = server.worker_pids();
            pids.len() == 2 && pids.iter().all(|pid| !before.contains(pid))
        });
    }
    report(&format!("reloads: {count} × HUP at 1000/s"), &load.stop());
}

/// kill -9 of a worker that is stopped with loans it has not claimed.
fn kill(scale: Scale) {
    let mut sum = Ledger::default();
    let count = scale.of(20, 2);
    for _ in 0..count {
        let server = Server::start(&["serve", "-w", "2", "--stall-after", "10s"]);
        let victim = server.worker_pids()[0];
        let _stopped = Stopped::stop(victim);
        let load = Load::start(server.address(), 200, "/", Mode::NewConnection);
        eventually(DEADLINE, "the load flows", || load.answered() > 20);
        signal_process(victim, Signal::SIGKILL);
        let before = load.answered();
        eventually(DEADLINE, "the load goes on", || load.answered() > before + 50);
        let ledger = load.stop();
        sum.ok += ledger.ok;
        sum.reset_before_bytes += ledger.failed();
        sum.latencies.extend(ledger.latencies);
    }
    sum.latencies.sort_unstable();
    report(&format!("kill: {count} × kill -9 of a worker with unclaimed loans"), &sum);
}

/// One worker of four stopped for two seconds at 1000 new connections a second.
fn stopped(scale: Scale) {
    for threads in ["0", "1"] {
        let server = Server::start(&["serve", "-w", "4", "--threads", threads]);
        let workers = server.worker_pids();
        // What the machine and this client cost without any fault: the same load, undisturbed.
        let load = Load::start(server.address(), 1000, "/", Mode::NewConnection);
        eventually(DEADLINE, "the load flows", || load.answered() > scale.of(2500, 250));
        report(&format!("undisturbed, --threads {threads}"), &load.stop());
        let load = Load::start(server.address(), 1000, "/", Mode::NewConnection);
        eventually(DEADLINE, "the load flows", || load.answered() > 500);
        let stopped = Stopped::stop(workers[0]);
        std::thread::sleep(Duration::from_millis(scale.of(2000, 200)));
        drop(stopped);
        let before = load.answered();
        eventually(DEADLINE, "the load goes on", || load.answered() > before + 200);
        report(&format!("stopped: one of 4 for 2 s, --threads {threads}"), &load.stop());
        assert_eq!(server.worker_pids(), workers, "nobody is killed");
    }
}

/// TERM under load, from clients that pause between connecting and sending.
fn terms(scale: Scale) {
    let mut sum = Ledger::default();
    let count = scale.of(100, 2);
    for _ in 0..count {
        let mut server = Server::start(&["serve", "-w", "2", "--drain-delay", "100ms"]);
        let pause = Mode::NewConnectionPausing(Duration::from_millis(20));
        let load = Load::start(server.address(), 1500, "/", pause);
        eventually(DEADLINE, "the load flows", || load.answered() > 200);
        server.signal(Signal::SIGTERM);
        server.wait_exit(DEADLINE);
        let ledger = load.stop();
        sum.ok += ledger.ok;
        sum.refused += ledger.refused;
        sum.reset_before_bytes += ledger.reset_before_bytes;
        sum.reset_after_bytes += ledger.reset_after_bytes;
        sum.timed_out += ledger.timed_out;
        sum.wrong += ledger.wrong;
        sum.stories.extend(ledger.stories.into_iter().filter(|story| story != "Refused"));
    }
    report(&format!("terms: {count} × TERM at 1500/s, 20 ms between connect and send"), &sum);
}

fn report(what: &str, ledger: &Ledger) {
    let at = |share: f64| {
        let place = ((ledger.latencies.len() as f64) * share) as usize;
        ledger.latencies.get(place).or(ledger.latencies.last()).copied().unwrap_or_default()
    };
    println!(
        "{what}: {} answered, {} refused, {} cut off before and {} within the answer, {} too late, \
         {} wrong; p50 {:.2?}, p99 {:.2?}, worst {:.2?}, {} over 20 ms{}",
        ledger.ok,
        ledger.refused,
        ledger.reset_before_bytes,
        ledger.reset_after_bytes,
        ledger.timed_out,
        ledger.wrong,
        at(0.5),
        at(0.99),
        ledger.slowest(),
        ledger.slower_than(Duration::from_millis(20)),
        if ledger.stories.is_empty() {
            String::new()
        } else {
            format!("; {}", ledger.stories.join("; "))
        },
    );
}
