//! A server under test: started, waited for, ended, with everything that it has started.
//!
//! Each runs in a process group of its own, which is killed as a whole when it has ended or has to:
//! whatever the server left behind goes with it. It is also killed when the thread that started it
//! ends, so that a bench that is killed leaves nobody.
//!
//! Not here: what is sent to it (`trial`).

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::experiment::plan::model::{Arm, Program, Workload};
use crate::experiment::run::interrupts::{Interrupts, kill_group};
use crate::experiment::run::limits::{
    POLL_INTERVAL, REST_INTERVAL, REST_MAX, SAID_LINES, SAID_MAX, START_MAX, STOP_MAX,
};
use crate::experiment::run::rest::Rest;
use crate::experiment::run::usage;
use crate::sys::clock;
use crate::sys::process::end_with_this_thread;

/// Variables that would change what a server does, beside all of `MAITRED_`.
const FOREIGN_VARIABLES: [&str; 7] = [
    "PORT",
    "WEB_CONCURRENCY",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
];

/// How long one try of a first request may take.
const TRY_FOR: Duration = Duration::from_secs(2);

/// What stands in front of the address in maitred's ready line.
const READY: &str = "listening on http://";

/// A running server.
pub(super) struct Server {
    child: Child,
    group: i32,
    is_foreign: bool,
    address: SocketAddr,
    path: String,
    said: Said,
    _folder: Option<Folder>,
    interrupts: Interrupts,
    is_at_rest: bool,
    has_ended: bool,
}

/// Why there is no server. The arm is at fault, as a rule; what it said is in the text.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// There is no such program.
    #[error("{program} is not installed here")]
    Missing {
        /// As the plan names it.
        program: String,
    },
    /// The system has no room for it.
    #[error("starting {program}")]
    System {
        /// As above.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ended by itself.
    #[error("the server ended ({status}) before it served{said}")]
    Ended {
        /// How.
        status: ExitStatus,
        /// Its last words.
        said: String,
    },
    /// It does not answer.
    #[error("the server did not serve within {} s{said}", START_MAX.as_secs())]
    Silent {
        /// Its last words.
        said: String,
    },
    /// Somebody wants the bench to end.
    #[error("interrupted")]
    Interrupted,
}

impl Server {
    /// Starts an arm's server for a workload, and returns when it has answered a request and all of
    /// its workers are there, as far as that can be told.
    pub(super) fn start(
        maitred: &Path,
        arm: &Arm,
        workload: &Workload,
        seed: u64,
        interrupts: &Interrupts,
    ) -> Result<Server, ServerError> {
        let program = match &arm.program {
            Program::Maitred { .. } => maitred.display().to_string(),
            Program::Foreign { command, .. } => command.first().cloned().unwrap_or_default(),
        };
        let system = |source| ServerError::System { program: program.clone(), source };
        let (mut command, told, folder) = match &arm.program {
            Program::Maitred { .. } => {
                let mut command = Command::new(maitred);
                command.args(arm.arguments(workload, seed).unwrap_or_default());
                (command, None, None)
            }
            Program::Foreign { command, url, files } => {
                let port = free_port().map_err(system)?;
                let folder = Folder::with(files).map_err(system)?;
                let put = |text: &String| text.replace("{port}", &port.to_string());
                let mut words = command.iter().map(put);
                let mut command = Command::new(words.next().unwrap_or_default());
                command.args(words).current_dir(&folder.path);
                let told = address_of(&put(url)).map_err(system)?;
                (command, Some(told), Some(folder))
            }
        };
        clean(&mut command);
        let (reader, writer) = io::pipe().map_err(system)?;
        command.stdin(Stdio::null()).stdout(writer.try_clone().map_err(system)?).stderr(writer);
        command.process_group(0);
        end_with_this_thread(&mut command);
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ServerError::Missing { program });
            }
            Err(error) => return Err(system(error)),
        };
        // The command holds the pipe's other end: with it open, the reader would never see an end.
        drop(command);
        let group = child.id().cast_signed();
        interrupts.watch_group(group);
        let mut server = Server {
            child,
            group,
            is_foreign: told.is_some(),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            path: "/".to_owned(),
            said: Said::from(reader),
            _folder: folder,
            interrupts: interrupts.clone(),
            is_at_rest: true,
            has_ended: false,
        };
        server.wait(told)?;
        Ok(server)
    }

    /// Its first process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is asked for where nothing else is.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Whether it had come to rest before anything was asked of it.
    pub(super) fn is_at_rest(&self) -> bool {
        self.is_at_rest
    }

    /// Its last words, as a part of a sentence; nothing if it said nothing.
    pub(super) fn said(&self) -> String {
        self.said.last()
    }

    fn wait(&mut self, told: Option<(SocketAddr, String)>) -> Result<(), ServerError> {
        let deadline = clock::now() + START_MAX;
        loop {
            self.check()?;
            let found = told.clone().or_else(|| Some((self.said.address()?, "/".to_owned())));
            if let Some((address, path)) = found
                && answers(address, &path)
            {
                (self.address, self.path) = (address, path);
                break;
            }
            if clock::now() >= deadline {
                return Err(ServerError::Silent { said: self.said() });
            }
            thread::sleep(POLL_INTERVAL);
        }
        // maitred has said that all of its workers are ready.
        if self.is_foreign { self.wait_for_rest() } else { Ok(()) }
    }

    /// Until its processes have nothing to do, or for as long as that may take.
    fn wait_for_rest(&mut self) -> Result<(), ServerError> {
        let deadline = clock::now() + REST_MAX;
        let mut rest = Rest::new(clock::now(), usage::sight(self.pid()));
        loop {
            thread::sleep(REST_INTERVAL);
            self.check()?;
            self.is_at_rest = rest.take(clock::now(), usage::sight(self.pid()));
            if self.is_at_rest || clock::now() >= deadline {
                return Ok(());
            }
        }
    }

    /// Whether waiting for it makes sense.
    fn check(&mut self) -> Result<(), ServerError> {
        if self.has_exited() {
            let status = self.end();
            return Err(ServerError::Ended { status, said: self.said() });
        }
        if self.interrupts.came() { Err(ServerError::Interrupted) } else { Ok(()) }
    }

    /// Whether the first process has ended; it is not reaped, so that its number, which is its
    /// group's, stays its own.
    fn has_exited(&self) -> bool {
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        !matches!(waitid(Id::Pid(Pid::from_raw(self.group)), look), Ok(WaitStatus::StillAlive))
    }

    /// Ends it: asked first, then killed, and then all that it has left.
    fn end(&mut self) -> ExitStatus {
        self.has_ended = true;
        // What is fast: maitred calls it QUIT; to others that is a request for a core dump.
        let asked = if self.is_foreign { Signal::SIGTERM } else { Signal::SIGQUIT };
        if !self.has_exited() {
            let _ = kill(Pid::from_raw(self.group), asked);
        }
        let deadline = clock::now() + STOP_MAX;
        while !self.has_exited() && clock::now() < deadline {
            thread::sleep(POLL_INTERVAL);
        }
        kill_group(self.group);
        self.interrupts.watch_group(0);
        self.child.wait().unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.has_ended {
            self.end();
        }
    }
}

/// What a server has written, the last of it.
#[derive(Clone, Debug, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    fn from(mut pipe: io::PipeReader) -> Said {
        let said = Said::default();
        let written = Arc::clone(&said.0);
        // Ends with the last process that holds the pipe; nobody waits for it.
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length) = pipe.read(&mut buffer)
                && length > 0
            {
                let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
                written.extend_from_slice(&buffer[..length]);
                let excess = written.len().saturating_sub(SAID_MAX);
                written.drain(..excess);
            }
        });
        said
    }

    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The address in maitred's ready line, once that is complete.
    fn address(&self) -> Option<SocketAddr> {
        let text = self.text();
        let complete = &text[..text.rfind('\n')?];
        let rest = complete.split_once(READY)?.1;
        rest.split_whitespace().next()?.parse().ok()
    }

    fn last(&self) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = &lines[lines.len().saturating_sub(SAID_LINES)..];
        if last.is_empty() { String::new() } else { format!("; it said: {}", last.join(" / ")) }
    }
}

/// A directory for one server, removed behind it.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn with(files: &BTreeMap<String, String>) -> io::Result<Folder> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("maitred-bench-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // Fails where something of this name is: nobody else's files are used.
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        let folder = Folder { path };
        for (name, text) in files {
            fs::write(folder.path.join(name), text)?;
        }
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Takes out of a server's environment what would make it another one than the plan says.
fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let is_ours = name.to_string_lossy().starts_with("MAITRED_");
        if is_ours || FOREIGN_VARIABLES.iter().any(|foreign| name == *foreign) {
            command.env_remove(name);
        }
    }
}

/// A port that nobody else is given before the server takes it: the kernel goes through them.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Address and path of `http://ADDRESS:PORT/PATH`.
fn address_of(url: &str) -> io::Result<(SocketAddr, String)> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "a URL of another form");
    let rest = url.strip_prefix("http://").ok_or_else(invalid)?;
    let (address, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/"),
    };
    Ok((address.parse().map_err(|_| invalid())?, path.to_owned()))
}

/// Whether a server answers a request, in any way: one that listens may not serve yet.
fn answers(address: SocketAddr, path: &str) -> bool {
    let answer = || -> io::Result<usize> {
        let mut stream = TcpStream::connect_timeout(&address, TRY_FOR)?;
        stream.set_read_timeout(Some(TRY_FOR))?;
        let head = format!("GET {path} HTTP/1.1\r\nHost: maitred\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        stream.read(&mut [0; 64])
    };
    answer().is_ok_and(|length| length > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_an_address_and_a_path() {
        let parsed = |url| address_of(url).map(|(address, path)| (address.to_string(), path));
        let expected = |address: &str, path: &str| (address.to_owned(), path.to_owned());
        assert_eq!(parsed("http://127.0.0.1:80").unwrap(), expected("127.0.0.1:80", "/"));
        assert_eq!(parsed("http://[::1]:8/a/b").unwrap(), expected("[::1]:8", "/a/b"));
        for url in ["https://127.0.0.1:80/", "http://localhost/", "127.0.0.1:80", "http:///"] {
            assert!(parsed(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_ready_line_counts_when_it_is_complete() {
        let said = Said::default();
        let say =
            |text: &str| said.0.lock().expect("one thread").extend_from_slice(text.as_bytes());
        say("INFO listening on http://127.0.0.1:80");
        assert_eq!(said.address(), None, "the port may go on");
        say("80 workers=2\n");
        assert_eq!(said.address(), Some(SocketAddr::from(([127, 0, 0, 1], 8080))));
    }

    #[test]
    fn last_words_are_few() {
        let said = Said::default();
        assert_eq!(said.last(), "");
        said.0.lock().expect("one thread").extend_from_slice(b"1\n2\n\n3\n4\n5\n6\n");
        assert_eq!(said.last(), "; it said: 2 / 3 / 4 / 5 / 6");
    }
}
