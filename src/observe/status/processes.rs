//! What the system says of a server's processes: memory, processor, and the kernel's dropped
//! connections.
//!
//! The master does not ask: whoever shows a view does, and not more often than anybody looks.
//!
//! Not here: what workers say of themselves (`account::page`).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::PROCESSES_LOOK;
use crate::observe::view::View;
use crate::sys::{clock, memory, usage};
use crate::time::Nanos;

/// The last look.
#[derive(Debug, Default)]
pub struct Processes {
    looked_at: Option<Nanos>,
    by_pid: BTreeMap<u32, Process>,
    overflows: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Process {
    cpu: Duration,
    rss_bytes: Option<u64>,
}

impl Processes {
    /// Puts what is known into a view: of processes that are the master's children alone, since a
    /// number may have gone to another one.
    pub fn fill(&mut self, view: &mut View) {
        let now = clock::now();
        if self.looked_at.is_none_or(|at| now.since(at) >= PROCESSES_LOOK) {
            self.looked_at = Some(now);
            self.by_pid.clear();
            self.overflows = usage::listen_overflows();
        }
        if view.running {
            for worker in &mut view.workers {
                // One that has come since the last look is looked at on its own.
                let known = self.by_pid.get(&worker.pid).copied();
                let Some(process) = known.or_else(|| look(worker.pid, view.pid)) else { continue };
                self.by_pid.insert(worker.pid, process);
                worker.cpu_seconds = Some(process.cpu.as_secs_f64());
                worker.rss_bytes = process.rss_bytes;
            }
        }
        if let (Some(queue), Some(overflows)) = (&mut view.kernel_queue, self.overflows) {
            queue.overflows = overflows;
        }
    }
}

fn look(pid: u32, master: u32) -> Option<Process> {
    let (parent, cpu) = usage::of_process(pid).ok()?;
    (parent == master).then(|| Process { cpu, rss_bytes: memory::resident_bytes(pid).ok() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::view::{KernelQueueView, WorkerView};
    use crate::sys::process;

    #[test]
    fn a_child_is_seen_and_a_stranger_with_its_number_is_not() {
        // This process is a child of whoever runs the tests; nobody else here is.
        let worker = |pid| WorkerView { pid, ..WorkerView::default() };
        let mut view = View {
            running: true,
            pid: process::parent(),
            workers: vec![worker(std::process::id()), worker(1), worker(0)],
            kernel_queue: Some(KernelQueueView::default()),
            ..View::default()
        };
        let mut processes = Processes::default();
        processes.fill(&mut view);
        assert!(view.workers[0].cpu_seconds.is_some_and(|seconds| seconds < 3600.0));
        assert!(view.workers[0].rss_bytes.is_some_and(|bytes| bytes > 4096));
        assert_eq!((view.workers[1].cpu_seconds, view.workers[2].rss_bytes), (None, None));
        // The last look is not old enough for another one.
        let before = view.workers[0].rss_bytes.take();
        processes.fill(&mut view);
        assert_eq!(view.workers[0].rss_bytes, before);
    }
}
