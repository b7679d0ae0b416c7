//! Something stops, or runs out: a worker is stopped by a signal, descriptors end, nobody reads the
//! log.
//!
//! Not here: what the kernel is made to say (`injected`).

use std::fs::OpenOptions;
use std::path::Path;
use std::thread;
use std::time::Duration;

use maitred::sys::clock;
use maitred::time::Nanos;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::common::{DEADLINE, Output, Server, Stopped, descriptors_of, eventually};
use crate::found::{Found, Price};
use crate::ledger::load::Load;
use crate::stage::{Run, Stage, missing};
use crate::usage;

const WORKERS: usize = 4;

/// Connections that the master is left descriptors for when they run out.
const DESCRIPTORS_LEFT: usize = 1;

/// How often descriptors are counted, to find what is open without a connection.
const COUNTS: usize = 50;

/// How soon the others must be as quick as before, once a worker is stopped.
const RANKED_OUT_WITHIN: Duration = Duration::from_millis(100);

/// Over how long a p99 is taken then, and the steps in which it is looked for.
const P99_WINDOW: Duration = Duration::from_secs(1);
const LOOK_STEP: Duration = Duration::from_millis(10);

/// As quick as before: so many times the undisturbed p99, and a little for what it is too short to
/// say.
const AS_QUICK_TIMES: u32 = 2;
const AS_QUICK_MORE: Duration = Duration::from_millis(2);

/// CPU of a master that cannot accept, as a share of a core.
const PAUSED_CPU_MAX: f64 = 0.05;

/// How long after the end of a shortage its last victim may be answered. A client whose SYN was
/// dropped while the kernel's queue was full repeats it after 1, 2, 4 s (tcp_syn_retries).
const SHORTAGE_FELT_MAX: Duration = Duration::from_secs(10);

/// SIGSTOP for some seconds.
pub(crate) fn stop(run: &Run) -> Found {
    if let Some(skipped) = missing(run.variant) {
        return skipped;
    }
    // Nobody is to be killed for being stopped: that is another row.
    let stage = Stage::begin(run, WORKERS, &["--timeout", "0"]);
    let victims = stage.server.worker_pids();
    let victim = victims[fastrand::Rng::with_seed(run.seed).usize(..victims.len())];
    let began = clock::now();
    let stopped = Stopped::stop(victim);
    thread::sleep(run.duration());
    let ended = clock::now();
    drop(stopped);
    // As long as what was before the fault: the machine may have become another meanwhile.
    thread::sleep(run.quiet());
    let mut found = stage.end(|_| Price::default());
    let p99 = |from, until| found.book.latency_at(0.99, from, until).unwrap_or_default();
    let undisturbed = found.quiet_p99.max(p99(ended, Nanos::NEVER));
    let bound = undisturbed * AS_QUICK_TIMES + AS_QUICK_MORE;
    // From when on were those that became due as quick as ever? A second has enough of them.
    let mut from = began;
    while from < ended && p99(from, ended.min(from + P99_WINDOW)) > bound {
        from = from + LOOK_STEP;
    }
    let (ranked_out, all) = (from.since(began), p99(began, ended));
    found.recoveries.push(ranked_out);
    let waited = found.book.answered.iter().filter(|one| one.took >= run.duration() / 2).count();
    found.remarks.push(format!(
        "p99 {:.1} ms undisturbed, {:.1} ms with it; {waited} waited for it",
        undisturbed.as_secs_f64() * 1e3,
        all.as_secs_f64() * 1e3,
    ));
    found.require_time(ranked_out <= RANKED_OUT_WITHIN, || {
        format!("the others waited for {ranked_out:?}")
    });
    found
}

/// The master has no descriptor left.
pub(crate) fn master_descriptors(run: &Run) -> Found {
    if let Some(skipped) = missing(run.variant) {
        return skipped;
    }
    let stage = Stage::begin(run, WORKERS, &[]);
    let pid = stage.server.pid();
    let limit = Limit::lower(pid, fewest_open(pid) + DESCRIPTORS_LEFT);
    // What is open now may close and be used again; then nothing is left.
    eventually(DEADLINE, "accepting pauses", || stage.server.stderr_contains("accepting pauses"));
    let (cpu, began) = (usage::cpu(pid), clock::now());
    thread::sleep(run.duration());
    let share =
        usage::cpu(pid).saturating_sub(cpu).as_secs_f64() / clock::now().since(began).as_secs_f64();
    drop(limit);
    let restored = clock::now();
    let mut found = stage.end(|_| Price { idle_closes: true, ..Price::default() });
    let last = last_felt(&found, began, restored);
    found.recoveries.push(last.since(restored));
    found.remarks.push(format!("master's CPU while paused {:.1} %", share * 100.0));
    found.require(share < PAUSED_CPU_MAX, || "the master spins".to_owned());
    let felt = last.since(restored);
    found.require_time(felt <= SHORTAGE_FELT_MAX, || format!("felt for {felt:?} afterwards"));
    found
}

/// A worker has none left: what is lent to it arrives without its descriptors.
pub(crate) fn worker_descriptors(run: &Run) -> Found {
    if let Some(skipped) = missing(run.variant) {
        return skipped;
    }
    let stage = Stage::begin(run, WORKERS, &[]);
    let victims = stage.server.worker_pids();
    let limits: Vec<_> =
        victims[..WORKERS / 2].iter().map(|&pid| Limit::lower(pid, lowest_free(pid))).collect();
    let began = clock::now();
    thread::sleep(run.duration());
    drop(limits);
    let restored = clock::now();
    let refusals = stage.server.stderr().matches("refusing a hand-off").count();
    let mut found = stage.end(|_| Price::default());
    found.recoveries.push(last_felt(&found, began, restored).since(restored));
    found.remarks.push(format!("{refusals} hand-offs refused"));
    found.require(refusals > 0, || "no hand-off was refused".to_owned());
    found
}

/// Nobody takes the log: a full device, a pipe that is not read, a closed descriptor.
pub(crate) fn log(run: &Run) -> Found {
    let mut found = Found::default();
    let arguments = run.variant.arguments(WORKERS, &["--access-log", "--log-level", "debug"]);
    for destination in ["full", "unread", "closed"] {
        // Held for as long as the server runs: a pipe without a reader would be another case.
        let (_reader, writer) = nix::unistd::pipe().expect("there is a pipe to have");
        let output = match destination {
            "full" => {
                let device = OpenOptions::new().write(true).open("/dev/full");
                Output::To(device.expect("/dev/full is there").into())
            }
            "unread" => Output::To(writer),
            _ => Output::Closed,
        };
        let server = Server::start_silent(&arguments, output);
        let load = Load::start(run.plan(&server));
        let enough = (run.rate * run.seconds * 0.9) as u64;
        eventually(DEADLINE + run.duration(), "the load flows", || load.answered() >= enough);
        let book = load.stop();
        let (failed, p99) = (book.failed(), book.latency_at(0.99, Nanos(0), Nanos::NEVER));
        found.require(failed == 0, || format!("{destination}: {book}"));
        found.remarks.push(format!("{destination}: p99 {:.1?}", p99.unwrap_or_default()));
        found.book.add(book);
    }
    found.judge(Price::default());
    found
}

/// When the last request was answered that had become due in this time.
fn last_felt(found: &Found, began: Nanos, until: Nanos) -> Nanos {
    let felt = found.book.answered.iter().filter(|one| one.due >= began && one.due < until);
    felt.map(|one| one.due + one.took).max().unwrap_or(until).max(until)
}

/// What a process under load has open besides connections: they come and go.
fn fewest_open(pid: u32) -> usize {
    let counts = (0..COUNTS).map(|_| {
        thread::sleep(Duration::from_millis(1));
        descriptors_of(pid)
    });
    counts.min().unwrap_or_default()
}

/// The lowest number that a process has free for a descriptor. Its others are not without gaps: what
/// it inherits has the numbers of its parent.
fn lowest_free(pid: u32) -> usize {
    let free = |number: &usize| !Path::new(&format!("/proc/{pid}/fd/{number}")).exists();
    let lowest = (0..COUNTS).filter_map(|_| {
        thread::sleep(Duration::from_millis(1));
        (0..).find(free)
    });
    lowest.min().unwrap_or_default()
}

/// A limit on descriptors that is put back when this goes out of scope.
struct Limit {
    pid: Pid,
    before: Rlimit,
}

impl Limit {
    fn lower(pid: u32, descriptors: usize) -> Limit {
        let process = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
        let maximum = getrlimit(Resource::Nofile).maximum;
        let limit = Rlimit { current: Some(descriptors as u64), maximum };
        let before = prlimit(Some(process), Resource::Nofile, limit).expect("a limit may be set");
        Limit { pid: process, before }
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        // It may have ended meanwhile.
        let _ = prlimit(Some(self.pid), Resource::Nofile, self.before);
    }
}
