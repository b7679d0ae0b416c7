//! What a server has used, seen from outside: CPU time and wake-ups, from /proc; and what everybody
//! else on the machine took meanwhile.
//!
//! Not here: what was done with it (`rows`).

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::common::Server;

/// One tick of /proc/stat (USER_HZ), on every Linux of today.
const TICK: Duration = Duration::from_millis(10);

/// What master and workers have used so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    at: Instant,
    cpu: Duration,
    /// Of this process and the clients that it has started.
    client_cpu: Duration,
    machine_cpu: Duration,
    master_wake_ups: u64,
    worker_wake_ups: u64,
}

impl Usage {
    pub(crate) fn of(server: &Server) -> Usage {
        let workers = server.worker_pids();
        let cpu = workers.iter().map(|&pid| cpu(pid)).sum::<Duration>() + cpu(server.pid());
        Usage {
            at: Instant::now(),
            cpu,
            client_cpu: client_cpu(),
            machine_cpu: machine_cpu(),
            master_wake_ups: wake_ups(server.pid()),
            worker_wake_ups: workers.iter().map(|&pid| wake_ups(pid)).sum(),
        }
    }

    /// What has been used since then, and from when.
    pub(crate) fn since(self, earlier: Usage) -> Usage {
        Usage {
            at: earlier.at,
            client_cpu: self.client_cpu.saturating_sub(earlier.client_cpu),
            machine_cpu: self.machine_cpu.saturating_sub(earlier.machine_cpu),
            cpu: self.cpu.saturating_sub(earlier.cpu),
            master_wake_ups: self.master_wake_ups.saturating_sub(earlier.master_wake_ups),
            worker_wake_ups: self.worker_wake_ups.saturating_sub(earlier.worker_wake_ups),
        }
    }

    /// CPU time for each of so many requests.
    pub(crate) fn cpu_us_each(self, requests: u64) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / requests.max(1) as f64
    }

    /// CPU time in a second, in milliseconds.
    pub(crate) fn cpu_ms_per_second(self, elapsed: Duration) -> f64 {
        self.cpu.as_secs_f64() * 1e3 / elapsed.as_secs_f64()
    }

    /// How often the master's loop slept and was woken, in a second.
    pub(crate) fn master_wake_ups_per_second(self, elapsed: Duration) -> f64 {
        self.master_wake_ups as f64 / elapsed.as_secs_f64()
    }

    /// The same of all workers' loops together.
    pub(crate) fn worker_wake_ups_per_second(self, elapsed: Duration) -> f64 {
        self.worker_wake_ups as f64 / elapsed.as_secs_f64()
    }

    /// CPU time of server and client together.
    #[allow(dead_code, reason = "of interest where both are to take a share of the machine")]
    pub(crate) fn with_client(self) -> Duration {
        self.cpu + self.client_cpu
    }

    /// The share of the machine that neither server nor client took, from then until now.
    pub(crate) fn others_share(self) -> f64 {
        let others = self.machine_cpu.saturating_sub(self.cpu + self.client_cpu);
        others.as_secs_f64() / (self.at.elapsed().as_secs_f64() * cores() as f64)
    }
}

/// How many cores this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Time on a CPU of all threads of a process, in nanoseconds: the first field of each schedstat.
/// /proc/PID/stat counts ticks of 10 ms, too coarse for a run of half a second.
pub(crate) fn cpu(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let texts = tasks.filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok());
    let times = texts.filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    Duration::from_nanos(times.sum())
}

fn client_cpu() -> Duration {
    let times = [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN].into_iter().filter_map(|who| {
        let usage = getrusage(who).ok()?;
        let us = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        u64::try_from(us).ok()
    });
    Duration::from_micros(times.sum())
}

/// User, nice and system time of all processes, without interrupts and idling (proc_stat(5)).
fn machine_cpu() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1).take(3);
    let ticks: u32 = fields.filter_map(|field| field.parse::<u32>().ok()).sum();
    TICK * ticks
}

/// Voluntary context switches of the main thread, which is the loop.
fn wake_ups(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}
