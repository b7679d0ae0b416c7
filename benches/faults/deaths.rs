//! Workers die, are replaced, are added and taken away; and the row in which nothing happens.
//!
//! Not here: the master's own end (`endings`).

use std::thread;
use std::time::{Duration, Instant};

use maitred::config::STABLE_AFTER;
use nix::sys::signal::Signal;

use crate::common::client::Client;
use crate::common::{DEADLINE, eventually, is_alive, is_asleep, signal_process};
use crate::found::{Found, Price};
use crate::stage::{Deaths, Run, Stage, missing, wait_for_others, wait_for_workers};

const WORKERS: usize = 4;

/// So many, so that there is always one that has served for long enough (see [`Victims`]).
const KILL_WORKERS: usize = 8;

/// Workers of the scaling storm at the most.
const SCALE_MAX: usize = 8;

/// Longest pause between two faults.
const PAUSE_MAX_MS: u64 = 60;

/// How long the service may miss a worker.
const RECOVERY_MAX: Duration = Duration::from_secs(1);

/// Idle connections that are to survive upgrades.
const IDLE_CLIENTS: usize = 8;

/// The reference.
pub(crate) fn nothing(run: &Run) -> Found {
    if let Some(skipped) = missing(run.variant) {
        return skipped;
    }
    let stage = Stage::begin(run, WORKERS, &[]);
    thread::sleep(run.duration());
    stage.end(|_| Price::default())
}

/// kill -9.
pub(crate) fn kill(run: &Run) -> Found {
    if let Some(skipped) = missing(run.variant) {
        return skipped;
    }
    let mut random = fastrand::Rng::with_seed(run.seed);
    let stage = Stage::begin(run, KILL_WORKERS, &[]);
    let mut victims = Victims::of(stage.server.worker_pids());
    let mut recoveries = Vec::new();
    let mut under_way = 0;
    for _ in 0..run.rounds {
        thread::sleep(Duration::from_millis(random.u64(1..=PAUSE_MAX_MS)));
        let victim = victims.draw(&mut random);
        let before = stage.load.in_flight();
        let killed_at = Instant::now();
        signal_process(victim, Signal::SIGKILL);
        eventually(DEADLINE, "the killed worker is dead", || !is_alive(victim));
        // What was in the hands of the dead was under way before or, by the last moment, after.
        under_way += before.max(stage.load.in_flight()) + stage.expected_within(killed_at, run);
        eventually(DEADLINE, "another takes its place", || {
            let pids = stage.server.worker_pids();
            let is_whole = pids.len() == KILL_WORKERS && !pids.contains(&victim);
            is_whole && pids.into_iter().all(is_asleep)
        });
        recoveries.push(killed_at.elapsed());
        victims.replace(victim, &stage.server.worker_pids());
    }
    let log = stage.server.stderr();
    let mut found = stage.end(|unfinished| Price { aborted: unfinished, ..Price::default() });
    let deaths = Deaths::of(&log);
    found.require(found.unfinished <= under_way, || {
        format!("{} were in hand, of {under_way} under way", deaths.unfinished)
    });
    found.remarks.push(format!(
        "{} in hand, at most {} of one; aborted {}",
        deaths.unfinished,
        deaths.unfinished_max,
        found.book.aborted(),
    ));
    found.recoveries = recoveries;
    let recovery = found.recovery_max().unwrap_or_default();
    found.require_time(recovery < RECOVERY_MAX, || format!("a worker was missed for {recovery:?}"));
    found
}

/// HUP.
pub(crate) fn reload(run: &Run) -> Found {
    if let Some(skipped) = missing(run.variant) {
        return skipped;
    }
    let mut random = fastrand::Rng::with_seed(run.seed);
    let stage = Stage::begin(run, WORKERS, &[]);
    let mut reloads = Vec::new();
    for _ in 0..run.rounds {
        thread::sleep(Duration::from_millis(random.u64(1..=PAUSE_MAX_MS)));
        let before = stage.server.worker_pids();
        let began = Instant::now();
        stage.server.signal(Signal::SIGHUP);
        wait_for_others(&stage.server, &before, WORKERS);
        reloads.push(began.elapsed());
    }
    let mut found = stage.end(|_| Price::default());
    found.recoveries = reloads;
    found
}

/// TTIN and TTOU.
pub(crate) fn scale(run: &Run) -> Found {
    if let Some(skipped) = missing(run.variant) {
        return skipped;
    }
    let mut random = fastrand::Rng::with_seed(run.seed);
    let stage = Stage::begin(run, WORKERS, &[]);
    let mut wanted = WORKERS;
    for round in 0..run.rounds {
        let left = (run.rounds - round) as usize;
        // The last steps lead back.
        let grows = match wanted.abs_diff(WORKERS) >= left {
            true => wanted < WORKERS,
            false => wanted == 1 || (wanted < SCALE_MAX && random.bool()),
        };
        stage.server.signal(if grows { Signal::SIGTTIN } else { Signal::SIGTTOU });
        wanted = if grows { wanted + 1 } else { wanted - 1 };
        // Two signals of one kind that are pending together are one (signal(7)).
        let line = format!("scaled workers={wanted}");
        eventually(DEADLINE, "it is scaled", || {
            let log = stage.server.stderr();
            log.lines().filter(|line| line.contains("scaled")).count() > round as usize
                && log
                    .lines()
                    .rev()
                    .find(|line| line.contains("scaled"))
                    .is_some_and(|last| last.contains(&line))
        });
        thread::sleep(Duration::from_millis(random.u64(..PAUSE_MAX_MS / 2)));
    }
    while wanted != WORKERS {
        stage.server.signal(if wanted < WORKERS { Signal::SIGTTIN } else { Signal::SIGTTOU });
        wanted = if wanted < WORKERS { wanted + 1 } else { wanted - 1 };
        let line = format!("scaled workers={wanted}");
        eventually(DEADLINE, "it is scaled back", || stage.server.stderr_contains(&line));
    }
    wait_for_workers(&stage.server, WORKERS);
    stage.end(|_| Price::default())
}

/// USR2.
pub(crate) fn upgrade(run: &Run) -> Found {
    let mut stage = Stage::begin(run, WORKERS, &[]);
    let pid = stage.server.pid();
    let mut idle: Vec<_> =
        (0..IDLE_CLIENTS).map(|_| Client::connect(stage.server.address())).collect();
    for client in &mut idle {
        assert_eq!(client.get("/").status, 200);
    }
    let mut upgrades = Vec::new();
    for _ in 0..run.rounds {
        let before = stage.server.worker_pids();
        let began = Instant::now();
        stage.server.signal(Signal::SIGUSR2);
        eventually(DEADLINE, "the workers of the new program have taken over", || {
            let pids = stage.server.worker_pids();
            pids.len() == WORKERS && pids.iter().all(|pid| !before.contains(pid))
        });
        upgrades.push(began.elapsed());
        assert!(is_alive(pid), "the master keeps its process id");
    }
    eventually(DEADLINE, "each upgrade is counted", || {
        stage.server.account().counters.upgrades == u64::from(run.rounds)
    });
    for client in &mut idle {
        assert_eq!(client.get("/").status, 200, "an idle connection survives");
    }
    stage.beside += idle.len() as u64;
    drop(idle);
    let mut found = stage.end(|_| Price::default());
    found.recoveries = upgrades;
    found
}

/// Which worker is killed next: one that nobody was killed before, or that has served for longer
/// than what the server takes for a crash loop. It pauses before it replaces a worker that dies
/// again and again, rightly, and how long is no matter of this row.
struct Victims {
    workers: Vec<(u32, Option<Instant>)>,
}

impl Victims {
    fn of(pids: Vec<u32>) -> Victims {
        Victims { workers: pids.into_iter().map(|pid| (pid, None)).collect() }
    }

    fn draw(&self, random: &mut fastrand::Rng) -> u32 {
        // A little more: it counts from Ready, we from when we saw it.
        let is_stable = |since: &Option<Instant>| {
            since.is_none_or(|since| since.elapsed() > STABLE_AFTER + Duration::from_millis(200))
        };
        let mut candidates = Vec::new();
        eventually(DEADLINE, "a worker has served for long enough", || {
            candidates = self.workers.iter().filter(|(_, since)| is_stable(since)).collect();
            !candidates.is_empty()
        });
        candidates[random.usize(..candidates.len())].0
    }

    fn replace(&mut self, dead: u32, living: &[u32]) {
        self.workers.retain(|(pid, _)| *pid != dead);
        for pid in living {
            if !self.workers.iter().any(|(known, _)| known == pid) {
                self.workers.push((*pid, Some(Instant::now())));
            }
        }
    }
}

impl Stage {
    /// Requests that became due since then.
    fn expected_within(&self, since: Instant, run: &Run) -> u64 {
        let elapsed: Duration = since.elapsed();
        (elapsed.as_secs_f64() * run.rate).ceil() as u64
    }
}
