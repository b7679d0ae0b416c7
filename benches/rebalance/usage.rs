//! What a server has used, seen from outside: CPU time and wake-ups, from /proc.
//!
//! Not here: what was done with it (`rows`).

use std::fs;
use std::time::Duration;

use crate::common::Server;

/// What master and workers have used so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    cpu: Duration,
    master_wake_ups: u64,
    worker_wake_ups: u64,
}

impl Usage {
    pub(crate) fn of(server: &Server) -> Usage {
        let workers = server.worker_pids();
        let cpu = workers.iter().map(|&pid| cpu(pid)).sum::<Duration>() + cpu(server.pid());
        Usage {
            cpu,
            master_wake_ups: wake_ups(server.pid()),
            worker_wake_ups: workers.iter().map(|&pid| wake_ups(pid)).sum(),
        }
    }

    /// What has been used since then.
    pub(crate) fn since(self, earlier: Usage) -> Usage {
        Usage {
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
}

/// How many cores this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Time on a CPU of all threads of a process, in nanoseconds: the first field of each schedstat.
/// /proc/PID/stat counts ticks of 10 ms, too coarse for a run of half a second.
fn cpu(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let texts = tasks.filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok());
    let times = texts.filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    Duration::from_nanos(times.sum())
}

/// Voluntary context switches of the main thread, which is the loop.
fn wake_ups(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}
