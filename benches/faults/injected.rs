//! System calls that fail: strace(1) attaches to the master or to a worker that runs, and makes the
//! kernel say what it seldom says.
//!
//! An injected error is said in place of the call, which then has not happened: for most of them as
//! the kernel would have it. EAGAIN is a lie, and edge-triggered readers rightly wait for the next
//! event then; under a load there always is one.
//!
//! Not here: shortages that are real (`limits`).

use std::fs;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use maitred::sys::clock;
use nix::sys::signal::Signal;
use tempfile::NamedTempFile;

use crate::common::{DEADLINE, eventually, is_alive, signal_process};
use crate::found::{Found, Price};
use crate::stage::{Run, Stage, missing};
use crate::variant::{Kind, Use};

const WORKERS: usize = 4;

/// A traced process stops at each call, so that the machine could not carry the whole rate.
const RATE_MAX: f64 = 300.0;

/// How soon after the last injected fault everybody must have been answered: what a pause of
/// accepting (a quarter of a second) leaves behind, and a client's first repeated SYN.
const FELT_MAX: Duration = Duration::from_secs(5);

/// Whose calls fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Master,
    Workers,
}

/// The last call that is made to fail, in the full and in the short form. strace must not let go of
/// a process in the middle of an injection: the call would end with ENOSYS, which no kernel says.
const LAST_CALL: (usize, usize) = (200, 20);

/// The first that is.
const FIRST_CALL: usize = 2;

/// A call that fails: which error, and at every how manieth call.
#[derive(Clone, Copy, Debug)]
struct Injection {
    target: Target,
    call: &'static str,
    error: &'static str,
    every: usize,
}

/// Every error that these calls may have without a mistake of the caller's (their manual pages),
/// and EAGAIN.
const INJECTIONS: &[Injection] = &[
    at_master("accept4", "EINTR", 3),
    at_master("accept4", "EAGAIN", 3),
    at_master("accept4", "ECONNABORTED", 3),
    at_master("accept4", "ENFILE", 40),
    at_master("accept4", "EMFILE", 40),
    at_master("accept4", "ENOBUFS", 40),
    at_master("accept4", "ENOMEM", 40),
    at_master("sendmsg", "EINTR", 3),
    at_master("sendmsg", "EAGAIN", 3),
    at_master("sendmsg", "ENOBUFS", 3),
    at_master("sendmsg", "ENOMEM", 3),
    at_master("sendmsg", "ETOOMANYREFS", 3),
    at_master("recvmsg", "EINTR", 2),
    at_master("recvmsg", "EAGAIN", 2),
    at_master("recvmsg", "ENOMEM", 3),
    at_master("epoll_wait", "EINTR", 2),
    at_workers("recvmsg", "EINTR", 2),
    at_workers("recvmsg", "EAGAIN", 3),
    at_workers("recvmsg", "ENOMEM", 3),
    at_workers("epoll_wait", "EINTR", 2),
    // The last one: who is said to have closed its channel is replaced after a while.
    at_master("sendmsg", "EPIPE", 3),
];

const fn at_master(call: &'static str, error: &'static str, every: usize) -> Injection {
    Injection { target: Target::Master, call, error, every }
}

const fn at_workers(call: &'static str, error: &'static str, every: usize) -> Injection {
    Injection { target: Target::Workers, call, error, every }
}

/// Every injection.
pub(crate) fn inject(run: &Run) -> Found {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        return Found::skipped("strace is not installed");
    }
    if let Some(skipped) = missing(run.variant) {
        return skipped;
    }
    let run = Run { rate: run.rate.min(RATE_MAX), ..*run };
    // Our workers say what they have to say in shared memory: only those of another kind have the
    // master receive all the time.
    let is_foreign = run.variant.kind == Kind::Foreign;
    let hears = |one: &Injection| one.target == Target::Master && one.call == "recvmsg";
    let injections: Vec<_> = INJECTIONS
        .iter()
        .filter(|one| one.target == Target::Master || !is_foreign)
        .filter(|one| hears(one) == is_foreign)
        .filter(|one| one.call != "accept4" || run.variant.usage == Use::New)
        .copied()
        .collect();
    // In the short form all on one server; else one each, so that it is known whose fault it was.
    let at_once = if run.is_short { injections.len() } else { 1 };
    let mut found = Found::default();
    for some in injections.chunks(at_once) {
        let one = inject_in_turn(&run, some);
        if one.skipped.is_some() {
            return one;
        }
        let name: Vec<_> = some.iter().map(Injection::name).collect();
        let name = if run.is_short { "all" } else { &name.join(", ") };
        found.broken.extend(one.broken.iter().map(|what| format!("{name}: {what}")));
        found.late.extend(one.late.iter().map(|what| format!("{name}: {what}")));
        found.absorb(one);
    }
    found.remarks.push(format!("{} injections", injections.len()));
    found
}

fn inject_in_turn(run: &Run, injections: &[Injection]) -> Found {
    let stage = Stage::begin(run, WORKERS, &[]);
    let workers = stage.server.worker_pids();
    let last = if run.is_short { LAST_CALL.1 } else { LAST_CALL.0 };
    for injection in injections {
        let pids = match injection.target {
            Target::Master => vec![stage.server.pid()],
            // The others are there to take over.
            Target::Workers => workers[..WORKERS / 2].to_vec(),
        };
        let tracers = pids.iter().map(|&pid| Tracer::attach(pid, injection, last));
        let tracers = match tracers.collect::<Result<Vec<_>, _>>() {
            Ok(tracers) => tracers,
            Err(why) => return Found::skipped(&why),
        };
        // Or a call has another name by now, and nothing is tried any more.
        let name = injection.name();
        eventually(DEADLINE, &format!("calls are made to fail: {name}"), || {
            tracers.iter().all(|tracer| tracer.calls() > last && tracer.injected() > 0)
        });
        tracers.into_iter().for_each(Tracer::detach);
    }
    let ended = clock::now();
    let survivors = stage.server.worker_pids();
    let mut found = stage.end(|unfinished| Price { aborted: unfinished, ..Price::default() });
    let from_before = found.book.answered.iter().filter(|one| one.due < ended);
    let last = from_before.map(|one| one.due + one.took).max().unwrap_or(ended);
    let felt = last.since(ended);
    found.recoveries.push(felt);
    let closed = injections.iter().any(|one| one.error == "EPIPE");
    found.require(closed || workers == survivors, || "a worker was replaced for it".to_owned());
    found.require_time(felt < FELT_MAX, || format!("felt for {felt:?} afterwards"));
    found
}

impl Injection {
    fn name(&self) -> String {
        format!("{:?} {} {}", self.target, self.call, self.error).to_lowercase()
    }
}

/// A strace that is attached to a process.
struct Tracer {
    child: Child,
    log: NamedTempFile,
    pid: u32,
}

impl Tracer {
    /// Attaches to all threads of a process, and waits until they are traced.
    fn attach(pid: u32, injection: &Injection, last: usize) -> Result<Tracer, String> {
        let log = NamedTempFile::new().map_err(|error| format!("a file for strace: {error}"))?;
        let Injection { call, error, every, .. } = injection;
        let when = format!("{FIRST_CALL}..{last}+{every}");
        let mut child = Command::new("strace")
            .args(["-f", "-qq", "-p", &pid.to_string(), "-e", &format!("trace={call}")])
            .args(["-e", &format!("inject={call}:error={error}:when={when}"), "-o"])
            .arg(log.path())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("strace: {error}"))?;
        let mut ended = None;
        eventually(DEADLINE, "strace is attached", || {
            ended = child.try_wait().expect("our child can be waited for");
            ended.is_some() || threads(pid).into_iter().all(|thread| is_traced(pid, thread))
        });
        if ended.is_some() {
            let mut said = String::new();
            if let Some(mut stderr) = child.stderr.take() {
                let _ = stderr.read_to_string(&mut said);
            }
            return Err(format!("strace may not attach here: {}", said.trim()));
        }
        Ok(Tracer { child, log, pid })
    }

    /// How many calls were made so far. (Of all threads together: of ours, only one makes them.)
    fn calls(&self) -> usize {
        let log = fs::read_to_string(self.log.path()).unwrap_or_default();
        // A call that was interrupted by another thread's stands on two lines.
        log.lines().filter(|line| !line.contains("resumed>")).count()
    }

    /// How many of them were made to fail.
    fn injected(&self) -> usize {
        fs::read_to_string(self.log.path()).unwrap_or_default().matches("(INJECTED)").count()
    }

    /// Lets go of the process.
    fn detach(mut self) {
        signal_process(self.child.id(), Signal::SIGINT);
        let mut is_gone = false;
        eventually(DEADLINE, "strace has let go", || {
            is_gone = is_gone || self.child.try_wait().is_ok_and(|status| status.is_some());
            let free = |thread| !is_traced(self.pid, thread);
            is_gone && (!is_alive(self.pid) || threads(self.pid).into_iter().all(free))
        });
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Where it has been waited for already, this does nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn threads(pid: u32) -> Vec<u32> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn is_traced(pid: u32, thread: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/task/{thread}/status"));
    let status = status.unwrap_or_default();
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
    tracer.is_some_and(|tracer| tracer.trim() != "0")
}
