//! What process tests share: a server started from the built binary and seen only from outside
//! (its sockets, signals, exit status, standard error and /proc), clients, and load.
//!
//! Every wait has a deadline and a condition; nothing sleeps and then asserts.
//!
//! Not here: what the server should do (`tests/serve.rs`, `seating.rs`, `lifecycle.rs`,
//! `stuck.rs`).

#![allow(dead_code, reason = "each test binary uses its part of this")]

pub(crate) mod books;
pub(crate) mod client;
pub(crate) mod load;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use maitred::account::{Account, Outcome, Status};
use maitred::observe::status;

/// What a server, or an answer, may take before a test fails. Generous: a loaded machine is no
/// fault, and a green run never waits for it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Between two looks at a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// In the folder that each server has for itself.
const STATUS_FILE: &str = "status";

/// Variables that would change what a server does; a developer may have them set.
const FOREIGN_VARIABLES: [&str; 7] = [
    "PORT",
    "WEB_CONCURRENCY",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
];

/// A running server. When it goes out of scope it is told to quit, and the test fails if it does
/// not, if a worker outlives it, or if anything in it panicked.
pub(crate) struct Server {
    child: Child,
    stderr: Arc<Mutex<String>>,
    /// Where it listens, if it was told and cannot say it.
    told: Option<SocketAddr>,
    exited: Option<ExitStatus>,
    folder: TempDir,
}

/// Where a server's standard output and error go instead of to us.
pub(crate) enum Output {
    To(OwnedFd),
    Closed,
}

impl Server {
    /// Starts `maitred ARGUMENTS…` at a free port of 127.0.0.1, unless they name another address,
    /// and waits until it listens.
    pub(crate) fn start(arguments: &[&str]) -> Server {
        Server::start_program(binary(), arguments)
    }

    /// The same with another program that has our command line.
    pub(crate) fn start_program(program: &Path, arguments: &[&str]) -> Server {
        Server::start_in(&[], program, arguments)
    }

    /// The same in an environment that has these variables too.
    pub(crate) fn start_in(
        environment: &[(&str, &str)],
        program: &Path,
        arguments: &[&str],
    ) -> Server {
        let binds = arguments.iter().filter(|argument| **argument == "-b").count();
        let (command, rest) = arguments.split_first().expect("a subcommand comes first");
        let mut all = vec![*command];
        // In front: what follows `--` is another program's.
        if binds == 0 {
            all.extend(["-b", "127.0.0.1:0"]);
        }
        all.extend(rest);
        let mut server = Server::spawn_program(environment, program, &all);
        eventually(DEADLINE, "the server listens", || {
            if let Some(status) = server.poll_exit() {
                panic!("the server ended with {status}");
            }
            server.listening().len() >= binds.max(1)
        });
        server.listening().iter().for_each(|address| books::begin(address));
        server
    }

    /// Starts `maitred ARGUMENTS…` and waits for nothing.
    pub(crate) fn spawn(arguments: &[&str]) -> Server {
        Server::spawn_program(&[], binary(), arguments)
    }

    fn spawn_program(environment: &[(&str, &str)], program: &Path, arguments: &[&str]) -> Server {
        let mut command = Command::new(program);
        command.args(arguments).env("NO_COLOR", "1").stdin(Stdio::null()).stdout(Stdio::null());
        for (name, _) in std::env::vars_os() {
            let is_ours = name.to_string_lossy().starts_with("MAITRED_");
            if is_ours || FOREIGN_VARIABLES.iter().any(|foreign| name == *foreign) {
                command.env_remove(name);
            }
        }
        let folder = tempfile::tempdir().expect("a directory");
        command.env("MAITRED_STATUS_FILE", folder.path().join(STATUS_FILE));
        command.envs(environment.iter().copied());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the program can be started");
        let pipe = child.stderr.take().expect("standard error was piped");
        let stderr = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&stderr);
        // Ends with the last process that holds the pipe; nobody waits for it.
        thread::spawn(move || {
            let mut reader = BufReader::new(pipe);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                let text = String::from_utf8_lossy(&line);
                written.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
                line.clear();
            }
        });
        Server { child, stderr, told: None, exited: None, folder }
    }

    /// Starts `maitred ARGUMENTS…` at a free port of 127.0.0.1, with all that it says going
    /// elsewhere, and waits until it accepts.
    pub(crate) fn start_silent(arguments: &[String], output: Output) -> Server {
        // Nobody else is given this port before we use it: the kernel takes them in turn.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("there is a port");
        let (command, rest) = arguments.split_first().expect("a subcommand comes first");
        // Rust has no safe way to start a program with a descriptor closed; the shell has.
        let script = match output {
            Output::To(_) => r#"exec "$0" "$@""#,
            Output::Closed => r#"exec "$0" "$@" >&- 2>&-"#,
        };
        let mut all = vec!["-c", script, binary().to_str().expect("a path in UTF-8"), command];
        let bind = address.to_string();
        all.extend(["-b", &bind]);
        all.extend(rest.iter().map(String::as_str));
        let mut shell = Command::new("sh");
        let folder = tempfile::tempdir().expect("a directory");
        shell.args(all).stdin(Stdio::null());
        shell.env("MAITRED_STATUS_FILE", folder.path().join(STATUS_FILE));
        if let Output::To(descriptor) = output {
            let copy = descriptor.try_clone().expect("a descriptor can be duplicated");
            shell.stdout(copy).stderr(descriptor);
        }
        let child = shell.spawn().expect("the shell can be started");
        let stderr = Arc::new(Mutex::new(String::new()));
        let mut server = Server { child, stderr, told: Some(address), exited: None, folder };
        eventually(DEADLINE, "the server accepts", || {
            assert_eq!(server.poll_exit(), None, "the server ended");
            TcpStream::connect(address).is_ok()
        });
        server
    }

    /// Sends a signal to the master.
    pub(crate) fn signal(&self, signal: Signal) {
        signal_process(self.pid(), signal);
    }

    /// Waits until the master has ended.
    pub(crate) fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        eventually(deadline, "the server ends", || self.poll_exit().is_some());
        self.exited.expect("it has just ended")
    }

    /// How the master has ended, if it has.
    pub(crate) fn poll_exit(&mut self) -> Option<ExitStatus> {
        if self.exited.is_none() {
            self.exited = self.child.try_wait().expect("our child can be waited for");
        }
        self.exited
    }

    /// Where it listens: the first TCP address.
    pub(crate) fn address(&self) -> SocketAddr {
        if let Some(address) = self.told {
            return address;
        }
        *self.addresses().first().expect("it listens on TCP")
    }

    /// All TCP addresses, in the order of `-b`.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let listening = self.listening();
        let tcp = listening.iter().filter_map(|address| address.strip_prefix("http://"));
        tcp.map(|address| address.parse().expect("the ready line has an address")).collect()
    }

    /// The master's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The master's children, sorted.
    pub(crate) fn worker_pids(&self) -> Vec<u32> {
        children_of(self.pid())
    }

    /// Waits until no worker has anything to do. An answer reaches its client before its worker has
    /// said that the connection is idle: a worker that is stopped or killed between the two, as
    /// happens on a loaded machine, keeps a connection that nobody else may take.
    #[track_caller]
    pub(crate) fn wait_for_rest(&self) {
        eventually(DEADLINE, "the workers rest", || self.worker_pids().into_iter().all(rests));
    }

    /// Where it keeps its account.
    pub(crate) fn status_path(&self) -> PathBuf {
        self.folder.path().join(STATUS_FILE)
    }

    /// What it last wrote there.
    #[track_caller]
    pub(crate) fn status(&self) -> Status {
        status::read(&self.status_path()).expect("the server has written its status file").status
    }

    /// Where every connection is, or what has become of it, as the server last wrote it.
    #[track_caller]
    pub(crate) fn account(&self) -> Account {
        self.status().account
    }

    /// Waits until no connection is here and every one that had an answer has been counted; then
    /// nothing is missing, and it is as many as the clients made. Theirs must be closed.
    #[track_caller]
    pub(crate) fn assert_conserved_at_rest(&self) {
        let seen = books::seen(&self.listening());
        eventually(DEADLINE, "no connection is left, and all are counted", || {
            let account = self.account();
            assert_eq!(account.missing(), 0, "{account}");
            account.here.total() == 0 && account.counters.accepted >= seen.answered
        });
        let account = self.account();
        assert!(account.counters.accepted <= seen.connected, "{account}, and {seen:?}");
        let of = |outcome| account.counters.of(outcome);
        assert!(of(Outcome::DiedUnanswered) >= seen.bad_gateway, "{account}, and {seen:?}");
        let shed = of(Outcome::ShedTooOld) + of(Outcome::ShedTooMany);
        assert!(shed >= seen.unavailable, "{account}, and {seen:?}");
        assert_eq!(of(Outcome::DiedGarbled) + of(Outcome::SystemRefused), 0, "{account}");
    }

    /// How many descriptors the master has open.
    pub(crate) fn descriptors(&self) -> usize {
        descriptors_of(self.pid())
    }

    /// All that master and workers have written to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether that contains a text. Wait for it with [`eventually`].
    pub(crate) fn stderr_contains(&self, text: &str) -> bool {
        self.stderr().contains(text)
    }

    /// What stands behind `listening on` in each ready line that is complete.
    fn listening(&self) -> Vec<String> {
        let stderr = self.stderr();
        let complete = stderr.rfind('\n').map_or("", |end| &stderr[..end]);
        let ready = complete.lines().filter_map(|line| line.split_once("listening on "));
        ready.filter_map(|(_, rest)| rest.split_whitespace().next().map(str::to_owned)).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            // The test has failed already: end it at once, and show what it had to say.
            let _ = self.child.kill();
            let _ = self.child.wait();
            eprintln!("--- standard error of the server:\n{}---", self.stderr());
            return;
        }
        let workers = self.worker_pids();
        if self.poll_exit().is_none() {
            self.signal(Signal::SIGQUIT);
            let end = Instant::now() + DEADLINE;
            while self.poll_exit().is_none() && Instant::now() < end {
                thread::sleep(POLL_INTERVAL);
            }
            if self.exited.is_none() {
                let _ = self.child.kill();
                let _ = self.child.wait();
                panic!("the server did not quit; its standard error:\n{}", self.stderr());
            }
        }
        eventually(DEADLINE, "the workers end with their master", || {
            workers.iter().all(|&pid| !is_alive(pid))
        });
        let stderr = self.stderr();
        // As the standard library says it, and as our log does.
        let panicked = ["panicked at", "panicked: "].iter().any(|text| stderr.contains(text));
        assert!(!panicked, "something panicked:\n{stderr}");
    }
}

/// Starts `maitred serve` with two workers and a listener as systemd passes one: descriptor 3, and
/// the server's pid in the environment. Returns once it listens, with the rest of what it says.
pub(crate) fn activate(listener: &TcpListener) -> (Child, BufReader<ChildStderr>) {
    let script = "exec 3<&0 0</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" serve";
    let listener = listener.try_clone().expect("a descriptor");
    let mut child = Command::new("/bin/sh")
        .args(["-c", script])
        .arg(binary())
        .env("MAITRED_WORKERS", "2")
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
    read_until(&mut stderr, "listening on");
    (child, stderr)
}

/// Reads lines up to the first one with a text, and returns that.
#[track_caller]
pub(crate) fn read_until(lines: &mut impl BufRead, text: &str) -> String {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert_ne!(lines.read_line(&mut line).expect("text"), 0, "it ended before {text:?}");
    }
    line
}

/// A process that is stopped, and goes on when this goes out of scope, also when a test fails:
/// a stopped worker could not even notice that its master is gone.
pub(crate) struct Stopped {
    pid: u32,
}

impl Stopped {
    /// Stops a process, and waits until the kernel says so.
    #[track_caller]
    pub(crate) fn stop(pid: u32) -> Stopped {
        Stopped::try_stop(pid).expect("the process lives")
    }

    /// The same with a process that may be ending: none if it has ended.
    pub(crate) fn try_stop(pid: u32) -> Option<Stopped> {
        kill(process(pid), Signal::SIGSTOP).ok()?;
        let stopped = Stopped { pid };
        eventually(DEADLINE, "the process is stopped or has ended", || {
            state(pid) == Some('T') || !is_alive(pid)
        });
        is_alive(pid).then_some(stopped)
    }

    /// Which process it is.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // It may have ended meanwhile.
        let _ = kill(process(self.pid), Signal::SIGCONT);
    }
}

/// The built binary.
pub(crate) fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_maitred"))
}

/// Waits until a condition holds; the test fails with `what` if it never does.
#[track_caller]
pub(crate) fn eventually(deadline: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + deadline;
    while !condition() {
        assert!(Instant::now() < end, "not within {deadline:?}: {what}");
        thread::sleep(POLL_INTERVAL);
    }
}

/// Sends a signal to a process that is known to live.
#[track_caller]
pub(crate) fn signal_process(pid: u32, signal: Signal) {
    if let Err(error) = kill(process(pid), signal) {
        panic!("sending {signal} to {pid}: {error}");
    }
}

/// The children of a process, zombies among them, sorted.
pub(crate) fn children_of(parent: u32) -> Vec<u32> {
    let parent = parent.to_string();
    let mut pids = Vec::new();
    // Not /proc/PID/task/TID/children, which may miss some while others end (proc(5)).
    for entry in fs::read_dir("/proc").expect("/proc is mounted").flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        pids.extend(pid.filter(|&pid| stat_field(pid, 4).as_ref() == Some(&parent)));
    }
    pids.sort_unstable();
    pids
}

/// The example worker that speaks in frames alone.
pub(crate) fn foreign_worker() -> String {
    let directory = binary().parent().expect("the binary is in a folder");
    let example = directory.join("examples").join("foreign_worker");
    assert!(example.exists(), "{} is not built", example.display());
    example.to_str().expect("the path is text").to_owned()
}

/// How many descriptors a process has open.
pub(crate) fn descriptors_of(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// How many of them are sockets. Epoll instances, timers and pages may be made when they are first
/// needed, and kept; a socket too many is a connection that was not let go of.
pub(crate) fn sockets_of(pid: u32) -> usize {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

/// Raises this process's limit of descriptors as far as it may, if it is lower than this.
pub(crate) fn allow_descriptors(count: u64) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("limits can be read");
    if soft < count {
        setrlimit(Resource::RLIMIT_NOFILE, hard.min(count), hard).expect("soft can become hard");
    }
}

/// CPU time that a process has used, in clock ticks (10 ms each on every Linux of today).
pub(crate) fn cpu_ticks(pid: u32) -> u64 {
    let ticks = |field| stat_field(pid, field).and_then(|text| text.parse::<u64>().ok());
    // Fields 14 and 15 of proc_pid_stat(5): utime and stime.
    ticks(14).unwrap_or(0) + ticks(15).unwrap_or(0)
}

/// Whether a process runs: a zombie does not.
pub(crate) fn is_alive(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

/// Whether a process waits in the kernel: a worker whose loop does has finished its turn.
pub(crate) fn is_asleep(pid: u32) -> bool {
    state(pid) == Some('S')
}

/// Whether every thread of a process waits in the kernel.
fn rests(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    // The loop, which is the oldest thread, is asked last: handler threads wake it.
    let mut ids: Vec<u32> =
        tasks.filter_map(|task| task.file_name().to_str()?.parse().ok()).collect();
    ids.sort_unstable();
    let asleep = |id: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/task/{id}/stat"));
        stat.is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S')))
    };
    !ids.is_empty() && ids.iter().rev().all(asleep)
}

/// The state letter of proc_pid_stat(5); none of a process that is not there.
pub(crate) fn state(pid: u32) -> Option<char> {
    stat_field(pid, 3)?.chars().next()
}

/// A field of /proc/PID/stat, counted from 1 as in the manual page. The second, the program's
/// name, may hold anything, so that fields are counted from its closing parenthesis.
fn stat_field(pid: u32, number: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_whitespace().nth(number - 3).map(str::to_owned)
}

fn process(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("a process id is positive and fits"))
}
