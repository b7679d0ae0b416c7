//! Faults at random, one after the other, for as long as is wanted; a line a minute. What a row does
//! a hundred times in a minute this does for hours, mixed: what leaks, leaks here.
//!
//! The load is half new connections and half kept ones, at half of what this machine can carry: the
//! server and its client together take half of its CPU time.
//!
//! Not here: one fault at a time, and what each may cost (`rows`).

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use maitred::time::Nanos;
use nix::sys::signal::Signal;

use crate::common::{
    DEADLINE, Server, Stopped, descriptors_of, eventually, is_alive, is_asleep, signal_process,
    sockets_of,
};
use crate::crowd::{Crowd, HABITS};
use crate::found::{Found, Price};
use crate::ledger::book::{Book, Outcome};
use crate::ledger::load::{Load, Plan};
use crate::stage::{
    Deaths, Run, account, memory_kib, start_server, wait_for_others, wait_for_workers,
};
use crate::usage;
use crate::variant::{Kind, Use, Variant};

const WORKERS: usize = 4;

/// A line after each.
const MINUTE: Duration = Duration::from_secs(60);

/// Memory is looked at so often, or twelve times in a run that is shorter than two minutes.
const SAMPLE_EVERY: Duration = Duration::from_secs(10);
const SAMPLES_MIN: u32 = 12;

/// Pause between two faults at the most.
const PAUSE_MAX_MS: u64 = 2000;

/// One fault in so many is of the first kind: a slot dies seldom enough then not to be in a crash
/// loop, whose pauses would be most of the soak.
const KINDS: u64 = 6;

/// How long the machine's capacity is looked for.
const CALIBRATION: Duration = Duration::from_secs(3);

/// The share of the machine that is used.
const LOAD_SHARE: f64 = 0.5;

/// Requests a second at the most, whatever the machine can carry: past this one client thread is
/// what is measured.
const RATE_MAX: f64 = 6000.0;

/// Clients of a crowd.
const CROWD: usize = 40;

/// What memory may have grown by between the first third of the lines and the last: a tenth, and
/// what an allocator keeps.
const MEMORY_SHARE_MAX: f64 = 1.1;
const MEMORY_SLACK_KIB: u64 = 4096;

/// What a server may have opened when it was first needed, for each worker and in all.
const LAZY_DESCRIPTORS: usize = 2 * (WORKERS + 1);

/// What the processes take at a moment, the largest worker's.
#[derive(Clone, Copy, Debug)]
struct Sample {
    master_kib: u64,
    worker_kib: u64,
}

/// Runs, and says whether every promise was kept.
pub(crate) fn soak(minutes: f64, rate: Option<f64>, seed: u64) -> ExitCode {
    let variant = Variant { kind: Kind::Threads, usage: Use::Kept, rebalance: "auto" };
    let rate = rate.unwrap_or_else(|| calibrate(variant, seed));
    let run = Run { variant, rounds: 1, seconds: 1.0, rate, seed, is_short: false };
    println!("soak of {minutes} minutes at {rate:.0} requests/s, half of them on new connections");
    let mut server = start_server(&run, WORKERS, &[]);
    let (sockets, descriptors) = (sockets_of(server.pid()), descriptors_of(server.pid()));
    let loads = start_loads(&run, &server);
    let mut random = fastrand::Rng::with_seed(seed);
    let began = Instant::now();
    let end = began + Duration::from_secs_f64(minutes * 60.0);
    let mut next_line = began + MINUTE.min(end - began);
    let sample_every = SAMPLE_EVERY.min((end - began) / SAMPLES_MIN);
    let mut next_sample = began + sample_every;
    let mut found = Found::default();
    let mut samples = Vec::new();
    let (mut faults, mut perhaps) = (0, 0);
    while Instant::now() < end {
        perhaps += fault(&server, &mut random);
        faults += 1;
        thread::sleep(Duration::from_millis(random.u64(..PAUSE_MAX_MS)));
        if Instant::now() >= next_sample {
            next_sample = Instant::now() + sample_every;
            samples.push(sample(&server));
        }
        if Instant::now() >= next_line {
            next_line += MINUTE;
            let mut minute = Book::default();
            loads.iter().for_each(|load| minute.add(load.take_book()));
            print_line(began, &minute, faults, &server);
            found.add_counts(minute);
        }
    }
    loads.into_iter().for_each(|load| found.book.add(load.stop()));
    wait_for_workers(&server, WORKERS);
    eventually(DEADLINE, "the master has let go of every connection", || {
        sockets_of(server.pid()) == sockets
    });
    let now = descriptors_of(server.pid());
    found.require(now <= descriptors + LAZY_DESCRIPTORS, || {
        format!("{now} descriptors, {descriptors} before")
    });
    judge_memory(&mut found, &samples);
    found.keep_log(&server.stderr());
    let deaths = Deaths::of(&server.stderr());
    found.judge(Price { aborted: deaths.unfinished, ..Price::default() });
    let account = account(&mut server);
    let connected = found.book.connected;
    found.require((connected..=connected + perhaps).contains(&account.counters.accepted), || {
        format!("{} accepted, {connected} connected", account.counters.accepted)
    });
    println!(
        "{faults} faults, {} workers ended, {} requests in hand, aborted {}, lost {}: {}",
        deaths.count,
        deaths.unfinished,
        found.book.aborted(),
        found.lost,
        found.book,
    );
    found.finish()
}

fn start_loads(run: &Run, server: &Server) -> Vec<Load> {
    let half = Plan { rate: run.rate / 2.0, ..run.plan(server) };
    let new = Variant { usage: Use::New, ..run.variant };
    let other = Plan { way: new.way(), seed: half.seed + 1, ..half };
    vec![Load::start(half), Load::start(other)]
}

/// A rate at which server and client take half of this machine.
fn calibrate(variant: Variant, seed: u64) -> f64 {
    let rate = 1500.0;
    let run = Run { variant, rounds: 1, seconds: 1.0, rate, seed, is_short: false };
    let server = start_server(&run, WORKERS, &[]);
    let loads = start_loads(&run, &server);
    let (before, began) = (usage::Usage::of(&server), Instant::now());
    thread::sleep(CALIBRATION);
    let taken = usage::Usage::of(&server).since(before).with_client();
    loads.into_iter().for_each(|load| drop(load.stop()));
    let share = taken.as_secs_f64() / (began.elapsed().as_secs_f64() * usage::cores() as f64);
    (rate * LOAD_SHARE / share.max(0.01)).min(RATE_MAX)
}

/// One fault, and the wait until it is over; how many connections it made that may have gone before
/// they were accepted.
fn fault(server: &Server, random: &mut fastrand::Rng) -> u64 {
    let workers = server.worker_pids();
    let victim = workers[random.usize(..workers.len())];
    match random.u64(..KINDS) {
        0 => {
            signal_process(victim, Signal::SIGKILL);
            eventually(DEADLINE * 3, "another takes its place", || {
                let pids = server.worker_pids();
                let is_whole = pids.len() == WORKERS && !pids.contains(&victim);
                is_whole && !is_alive(victim) && pids.into_iter().all(is_asleep)
            });
            0
        }
        1 => {
            server.signal(Signal::SIGHUP);
            wait_for_others(server, &workers, WORKERS);
            0
        }
        2 => {
            server.signal(Signal::SIGTTIN);
            eventually(DEADLINE, "one more", || server.worker_pids().len() == WORKERS + 1);
            server.signal(Signal::SIGTTOU);
            eventually(DEADLINE, "one less", || server.worker_pids().len() == WORKERS);
            0
        }
        3 => {
            let stopped = Stopped::stop(victim);
            thread::sleep(Duration::from_millis(random.u64(50..2000)));
            drop(stopped);
            0
        }
        _ => {
            let habit = HABITS[random.usize(..HABITS.len())];
            let crowd = Crowd::gather(server.address(), habit, CROWD);
            thread::sleep(Duration::from_millis(random.u64(100..1000)));
            crowd.leave()
        }
    }
}

fn sample(server: &Server) -> Sample {
    let workers = server.worker_pids().into_iter().map(memory_kib);
    Sample { master_kib: memory_kib(server.pid()), worker_kib: workers.max().unwrap_or_default() }
}

fn print_line(began: Instant, minute: &Book, faults: u32, server: &Server) {
    let Sample { master_kib, worker_kib } = sample(server);
    let p99 = minute.latency_at(0.99, Nanos(0), Nanos::NEVER).unwrap_or_default();
    println!(
        "{:4.0} s: {faults} faults; {minute}; {} wrong; p99 {p99:.1?}; master {master_kib} KiB, {} \
         descriptors; worker {worker_kib} KiB",
        began.elapsed().as_secs_f64(),
        minute.of(Outcome::Wrong),
        server.descriptors(),
    );
}

/// The last third of the samples against the first, by its largest. Faults that take long may leave
/// a short soak with too few.
fn judge_memory(found: &mut Found, samples: &[Sample]) {
    let third = samples.len() / 3;
    if third == 0 {
        println!("too short to judge memory");
        return;
    }
    let masters: Vec<_> = samples.iter().map(|one| one.master_kib).collect();
    let workers: Vec<_> = samples.iter().map(|one| one.worker_kib).collect();
    let most = |some: &[u64]| some.iter().max().copied().unwrap_or(0);
    for (who, samples) in [("master", masters), ("worker", workers)] {
        let (first, last) = (most(&samples[..third]), most(&samples[samples.len() - third..]));
        let bound = (first as f64 * MEMORY_SHARE_MAX) as u64 + MEMORY_SLACK_KIB;
        found.require(last <= bound, || format!("{who}: {last} KiB, {first} KiB in the beginning"));
    }
}
