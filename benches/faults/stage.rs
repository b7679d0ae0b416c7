//! A server and its load, as every row has them; and what must be so again when a row is over.
//!
//! Not here: what is done to them in between (`deaths`, `endings`, …).

use std::fs;
use std::thread;
use std::time::Duration;

use maitred::account::Account;
use maitred::sys::clock;
use maitred::time::Nanos;
use nix::sys::signal::Signal;

use crate::common::{DEADLINE, Server, descriptors_of, eventually, is_asleep, sockets_of, state};
use crate::found::{Found, Price};
use crate::ledger::load::{Load, Plan};
use crate::variant::{Kind, Variant};

/// How long a request may take. No fault lasts longer, and a request that waits through one is late
/// and not lost.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// One request in so many sleeps in its handler.
const SLEEPS_ONE_IN: usize = 16;

/// What a server may have opened when it was first needed (an epoll instance for a stuck worker, a
/// timer), for each worker and in all.
const LAZY_DESCRIPTORS: usize = 2;

/// What a master may have grown by: tables that were made larger once, and the allocator's own.
const MEMORY_SLACK_KIB: u64 = 24 * 1024;

/// One row, of one variant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) variant: Variant,
    pub(crate) rounds: u32,
    pub(crate) seconds: f64,
    pub(crate) rate: f64,
    pub(crate) seed: u64,
    pub(crate) is_short: bool,
}

/// A server with a load.
pub(crate) struct Stage {
    pub(crate) server: Server,
    pub(crate) workers: usize,
    pub(crate) load: Load,
    /// Connections that were made beside the load.
    pub(crate) beside: u64,
    /// The same of such as may have gone before they were accepted.
    pub(crate) perhaps: u64,
    /// When the load began, and when the first fault may come.
    began: Nanos,
    quiet_until: Nanos,
    before: Rest,
}

/// What a server at rest has.
#[derive(Clone, Copy, Debug)]
struct Rest {
    sockets: usize,
    descriptors: usize,
    memory_kib: u64,
}
impl Run {
    pub(crate) fn plan(&self, server: &Server) -> Plan {
        Plan {
            address: server.address(),
            rate: self.rate,
            way: self.variant.way(),
            ask: self.variant.ask(),
            sleeps_one_in: SLEEPS_ONE_IN,
            answer_within: ANSWER_WITHIN,
            seed: self.seed,
        }
    }

    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// How long the load flows undisturbed first.
    pub(crate) fn quiet(&self) -> Duration {
        if self.is_short { Duration::from_millis(300) } else { Duration::from_secs(2) }
    }
}

/// A server, before any load.
pub(crate) fn start_server(run: &Run, workers: usize, more: &[&str]) -> Server {
    let arguments = run.variant.arguments(workers, more);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let server = Server::start(&arguments);
    wait_for_workers(&server, workers);
    server
}

impl Stage {
    /// Starts both, and lets the load flow undisturbed for a while.
    pub(crate) fn begin(run: &Run, workers: usize, more: &[&str]) -> Stage {
        Stage::begin_with(run, workers, more, SLEEPS_ONE_IN)
    }

    /// The same with another share of requests that sleep.
    pub(crate) fn begin_with(
        run: &Run,
        workers: usize,
        more: &[&str],
        sleeps_one_in: usize,
    ) -> Stage {
        let server = start_server(run, workers, more);
        let before = Rest::of(&server);
        let load = Load::start(Plan { sleeps_one_in, ..run.plan(&server) });
        let began = clock::now();
        let enough = (run.rate * run.quiet().as_secs_f64() / 2.0) as u64;
        thread::sleep(run.quiet());
        eventually(DEADLINE, "the load flows", || load.answered() >= enough);
        let memory_kib = memory_kib(server.pid());
        let before = Rest { memory_kib, ..before };
        Stage {
            server,
            workers,
            load,
            beside: 0,
            perhaps: 0,
            began,
            quiet_until: clock::now(),
            before,
        }
    }

    /// Stops the load, and looks whether all is as it was: then ends the server, and holds its
    /// account against the client's.
    pub(crate) fn end(self, price: impl FnOnce(u64) -> Price) -> Found {
        let Stage { mut server, workers, load, beside, perhaps, before, began, quiet_until } = self;
        let mut found = Found { book: load.stop(), ..Found::default() };
        found.quiet_p99 = found.book.latency_at(0.99, began, quiet_until).unwrap_or_default();
        eventually(DEADLINE, "the wanted workers are there, and no zombie", || {
            let pids = server.worker_pids();
            pids.len() == workers && pids.iter().all(|&pid| state(pid) != Some('Z'))
        });
        eventually(DEADLINE, "the master has let go of every connection", || {
            sockets_of(server.pid()) == before.sockets
        });
        let after = Rest::of(&server);
        let most = before.descriptors + LAZY_DESCRIPTORS * (workers + 1);
        found.require(after.descriptors <= most, || {
            format!("{} descriptors, {} before", after.descriptors, before.descriptors)
        });
        found.require(after.memory_kib <= before.memory_kib + MEMORY_SLACK_KIB, || {
            format!("{} KiB, {} before", after.memory_kib, before.memory_kib)
        });
        found.keep_log(&server.stderr());
        let deaths = Deaths::of(&server.stderr());
        found.unfinished = deaths.unfinished;
        found.judge(price(deaths.unfinished));
        let account = account(&mut server);
        let connected = found.book.connected + beside;
        let accepted = account.counters.accepted;
        let agrees = (connected..=connected + perhaps).contains(&accepted);
        found.require(agrees, || format!("{accepted} accepted, {connected} connected"));
        found.require(account.missing() == 0, || format!("the account does not add up: {account}"));
        found
    }
}

/// Ends a server, and reads its account.
pub(crate) fn account(server: &mut Server) -> Account {
    server.signal(Signal::SIGINT);
    server.wait_exit(DEADLINE);
    server.account()
}

/// What the log says of workers that did not leave by themselves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Deaths {
    pub(crate) count: u64,
    /// Requests they had in hand.
    pub(crate) unfinished: u64,
    /// The most of one.
    pub(crate) unfinished_max: u64,
}

impl Deaths {
    pub(crate) fn of(log: &str) -> Deaths {
        let mut deaths = Deaths::default();
        for line in log.lines().filter(|line| line.contains("worker ended")) {
            let unfinished = field(line, "unfinished").unwrap_or(0);
            deaths.count += 1;
            deaths.unfinished += unfinished;
            deaths.unfinished_max = deaths.unfinished_max.max(unfinished);
        }
        deaths
    }
}

/// The number behind `name=` in a line of the log.
pub(crate) fn field(line: &str, name: &str) -> Option<u64> {
    let name = format!("{name}=");
    let word = line.split_whitespace().find_map(|word| word.strip_prefix(&name))?;
    word.parse().ok()
}

/// Waits until so many workers are there and wait for work.
pub(crate) fn wait_for_workers(server: &Server, count: usize) {
    eventually(DEADLINE, "the workers are there", || {
        let pids = server.worker_pids();
        pids.len() == count && pids.into_iter().all(is_asleep)
    });
}

/// Waits until all workers are others than these, and as many as are wanted.
pub(crate) fn wait_for_others(server: &Server, before: &[u32], count: usize) {
    eventually(DEADLINE, "all workers are new", || {
        let pids = server.worker_pids();
        pids.len() == count && pids.iter().all(|pid| !before.contains(pid))
    });
}

/// Resident memory.
pub(crate) fn memory_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Why a variant cannot be run here, if it cannot.
pub(crate) fn missing(variant: Variant) -> Option<Found> {
    let is_missing = variant.kind == Kind::Foreign && !crate::variant::foreign_worker().exists();
    is_missing.then(|| Found::skipped("examples/foreign_worker is not built (scripts/faults does)"))
}

impl Rest {
    fn of(server: &Server) -> Rest {
        Rest {
            sockets: sockets_of(server.pid()),
            descriptors: descriptors_of(server.pid()),
            memory_kib: memory_kib(server.pid()),
        }
    }
}
