//! What a server's processes have used, seen from outside in /proc; and what everybody else on the
//! machine took meanwhile.
//!
//! Not here: when it is asked (`trial`), what follows from it (`measure`).

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::experiment::measure::observed::{ProcessUsage, Usage};
use crate::experiment::run::rest::Sight;
use crate::sys::clock;
use crate::time::Nanos;

/// One tick of /proc/stat (USER_HZ), on every Linux of today.
const TICK: Duration = Duration::from_millis(10);

/// Processes of one server that are looked at: more is not one server.
const PROCESSES_MAX: usize = 4096;

/// One look at everything.
#[derive(Clone, Debug)]
pub(super) struct Look {
    at: Nanos,
    master: ProcessUsage,
    /// By process id: slot, and what it has used.
    workers: BTreeMap<u32, (u32, ProcessUsage)>,
    /// Of this process: the generators.
    own: Duration,
    machine: Duration,
}

impl Look {
    /// At the server whose first process this is.
    pub(super) fn at(master: u32) -> Look {
        let workers = workers(master).into_iter().map(|(slot, pid)| (pid, (slot, process(pid))));
        Look {
            at: clock::now(),
            master: process(master),
            workers: workers.collect(),
            own: own_cpu(),
            machine: machine_cpu(),
        }
    }

    /// What was used between an earlier look and this one.
    ///
    /// A worker that has ended in between has taken what it used along; one that began is counted
    /// from its beginning.
    pub(super) fn since(&self, earlier: &Look, cores: usize) -> Usage {
        let none = ProcessUsage::default();
        let mut workers: Vec<(u32, ProcessUsage)> = self
            .workers
            .iter()
            .map(|(pid, (slot, used))| {
                let before = earlier.workers.get(pid).map_or(none, |(_, used)| *used);
                (*slot, difference(*used, before))
            })
            .collect();
        workers.sort_by_key(|(slot, _)| *slot);
        let workers: Vec<ProcessUsage> = workers.into_iter().map(|(_, used)| used).collect();
        let master = difference(self.master, earlier.master);
        let elapsed = self.at.since(earlier.at);
        let server: Duration = master.cpu + workers.iter().map(|one| one.cpu).sum::<Duration>();
        let ours = server + self.own.saturating_sub(earlier.own);
        let machine = self.machine.saturating_sub(earlier.machine);
        let available = elapsed.as_secs_f64() * cores.max(1) as f64;
        let others = machine.saturating_sub(ours).as_secs_f64() / available.max(f64::MIN_POSITIVE);
        Usage { elapsed, master, workers, others_share: others.min(1.0) }
    }
}

/// All processes of the server whose first one this is.
pub(super) fn sight(master: u32) -> Sight {
    let mut pids = descendants(master);
    pids.push(master);
    pids.sort_unstable();
    let cpu = pids.iter().map(|&pid| process(pid).cpu).sum();
    Sight { pids, cpu }
}

/// The other processes of a server with their slots, in the order of slots; without slots (another
/// program), in the order of process ids.
pub(super) fn workers(master: u32) -> Vec<(u32, u32)> {
    let pids = descendants(master);
    let slots: Option<Vec<u32>> = pids.iter().map(|&pid| slot(pid)).collect();
    let slots = slots.unwrap_or_else(|| (0..).take(pids.len()).collect());
    let mut workers: Vec<(u32, u32)> = slots.into_iter().zip(pids).collect();
    workers.sort_unstable();
    workers
}

/// Children, and theirs, sorted.
fn descendants(pid: u32) -> Vec<u32> {
    let mut found: Vec<u32> = Vec::new();
    let mut next = vec![pid];
    while let Some(pid) = next.pop() {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            let children = text.split_whitespace().filter_map(|word| word.parse::<u32>().ok());
            for child in children {
                if found.len() < PROCESSES_MAX && !found.contains(&child) {
                    found.push(child);
                    next.push(child);
                }
            }
        }
    }
    found.sort_unstable();
    found
}

/// The slot that the master has given a worker, by the environment that it was started in.
fn slot(pid: u32) -> Option<u32> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut variables = environment.split(|byte| *byte == 0);
    let value = variables.find_map(|variable| variable.strip_prefix(b"MAITRED_SLOT="))?;
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// All threads that a process has now. /proc/PID/stat counts ticks of 10 ms, too coarse for a short
/// run; schedstat counts nanoseconds, the first field of each is time on a CPU.
fn process(pid: u32) -> ProcessUsage {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut sum = ProcessUsage::default();
    for task in tasks {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let first = text.split_whitespace().next().and_then(|word| word.parse().ok());
        sum.cpu += Duration::from_nanos(first.unwrap_or(0));
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let field = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name))?;
            value.trim().parse::<u64>().ok()
        };
        sum.voluntary_switches += field("voluntary_ctxt_switches:").unwrap_or(0);
        sum.involuntary_switches += field("nonvoluntary_ctxt_switches:").unwrap_or(0);
    }
    sum
}

fn difference(now: ProcessUsage, before: ProcessUsage) -> ProcessUsage {
    // Threads that have ended took what they used along: never below nothing.
    ProcessUsage {
        cpu: now.cpu.saturating_sub(before.cpu),
        voluntary_switches: now.voluntary_switches.saturating_sub(before.voluntary_switches),
        involuntary_switches: now.involuntary_switches.saturating_sub(before.involuntary_switches),
    }
}

fn own_cpu() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Duration::ZERO };
    let us = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(u64::try_from(us).unwrap_or(0))
}

/// User, nice and system time of all processes, without interrupts and idling (proc_stat(5)).
fn machine_cpu() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1).take(3);
    let ticks: u32 = fields.filter_map(|field| field.parse::<u32>().ok()).sum();
    TICK * ticks
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_that_works_is_seen_to_work_and_its_children_are_found() {
        let script = "sleep 60 & while :; do :; done";
        let mut child = Command::new("sh")
            .args(["-c", script])
            .env("MAITRED_SLOT", "7")
            .stdout(Stdio::null())
            .spawn()
            .expect("a shell");
        let pid = child.id();
        let first = Look::at(pid);
        // Other work of this test run may be on the machine: only waiting for progress is sound.
        let worked = Duration::from_millis(20);
        let found = (0..5000).any(|_| {
            std::thread::sleep(Duration::from_millis(1));
            process(pid).cpu >= worked && !workers(pid).is_empty()
        });
        let usage = Look::at(pid).since(&first, 1);
        let sleepers = workers(pid);
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        for (_, pid) in &sleepers {
            let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        assert!(found, "the shell has worked");
        assert!(usage.master.cpu > Duration::ZERO);
        assert_eq!(sleepers.iter().map(|(slot, _)| *slot).collect::<Vec<_>>(), [7]);
        assert!((0.0..=1.0).contains(&usage.others_share));
    }

    #[test]
    fn what_has_gone_takes_nothing_back() {
        let used = |ms| ProcessUsage { cpu: Duration::from_millis(ms), ..ProcessUsage::default() };
        assert_eq!(difference(used(3), used(5)), used(0));
        assert_eq!(difference(used(5), used(3)), used(2));
    }
}
