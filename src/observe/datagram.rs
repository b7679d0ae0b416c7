//! Logs for a daemon of this machine: syslog's protocol, and the journal's own; a datagram a line.
//!
//! syslog: `<PRIORITY>TAG[PID]: LINE` to /dev/log, as syslog(3) and Python send it (RFC 3164 section
//! 4.1 without its time: daemons put their own, and would take ours, in UTC, for local time). The
//! journal: fields, to its own socket, so that severity, worker and lines within a line survive
//! (systemd.io, "Native Journal Protocol"). The crates for either bring a formatter, a clock and a
//! host name; what is left of them here is one function each.
//!
//! Every datagram is sent to the path, not over a connection: a daemon that is started again is
//! found again. A daemon that does not read is waited for, by the log's own thread, for a bounded
//! time; then the line is lost, and counted.
//!
//! Not here: what waits meanwhile (`lossy`).

use std::io::{self, ErrorKind, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use crate::config::{Facility, LOG_DATAGRAM_PATIENCE, LogTag};
use crate::observe::sink::{Batch, Lost, Severity, Sink};

/// Where syslog daemons listen (syslog(3)).
pub(super) const SYSLOG: &str = "/dev/log";

/// Where the journal listens.
pub(super) const JOURNAL: &str = "/run/systemd/journal/socket";

/// Whether somebody listens there.
///
/// # Errors
/// Nobody does.
pub(super) fn check(path: &str) -> io::Result<()> {
    let named = |cause: io::Error| io::Error::new(cause.kind(), format!("{path}: {cause}"));
    UnixDatagram::unbound()?.connect(path).map_err(named)
}

/// The socket that datagrams leave by, and where they go.
struct Sender {
    socket: UnixDatagram,
    path: PathBuf,
    /// What is being put together.
    message: Vec<u8>,
}

impl Sender {
    fn open(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(LOG_DATAGRAM_PATIENCE))?;
        Ok(Sender { socket, path: path.to_owned(), message: Vec::new() })
    }

    fn send(&self) -> io::Result<()> {
        loop {
            match self.socket.send_to(&self.message, &self.path) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends each line as `form` puts it into a message.
    fn send_all(
        &mut self,
        batch: &Batch,
        form: impl Fn(&[u8], Severity, &mut Vec<u8>),
    ) -> Result<(), Lost> {
        let mut lost = Ok(());
        for (line, severity) in batch.lines() {
            self.message.clear();
            form(line.strip_suffix(b"\n").unwrap_or(line), severity, &mut self.message);
            if let Err(cause) = self.send() {
                Lost::add(&mut lost, 1, cause);
            }
        }
        lost
    }
}

/// A syslog daemon.
pub struct Syslog {
    sender: Sender,
    facility: Facility,
    /// `TAG[PID]: `
    heading: String,
}

impl Syslog {
    /// The one of this machine.
    ///
    /// # Errors
    /// There is no socket to be had.
    pub fn open(facility: Facility, tag: &LogTag) -> io::Result<Self> {
        Syslog::at(Path::new(SYSLOG), facility, tag)
    }

    fn at(path: &Path, facility: Facility, tag: &LogTag) -> io::Result<Self> {
        let heading = format!("{tag}[{}]: ", std::process::id());
        Ok(Syslog { sender: Sender::open(path)?, facility, heading })
    }
}

impl Sink for Syslog {
    fn write(&mut self, batch: &Batch) -> Result<(), Lost> {
        let Syslog { sender, facility, heading } = self;
        let mut lost = Ok(());
        // A message of syslog is a line: what has several becomes several.
        for (line, severity) in batch.lines() {
            let priority = (facility.code() << 3) | severity as u8;
            for part in line.split(|byte| *byte == b'\n').filter(|part| !part.is_empty()) {
                sender.message.clear();
                // Writing to a Vec cannot fail.
                let _ = write!(sender.message, "<{priority}>{heading}");
                sender.message.extend_from_slice(part);
                if let Err(cause) = sender.send() {
                    Lost::add(&mut lost, 1, cause);
                    break;
                }
            }
        }
        lost
    }
}

/// systemd's journal.
pub struct Journal {
    sender: Sender,
    tag: String,
}

impl Journal {
    /// The one of this machine.
    ///
    /// # Errors
    /// There is no socket to be had.
    pub fn open(tag: &LogTag) -> io::Result<Self> {
        Journal::at(Path::new(JOURNAL), tag)
    }

    fn at(path: &Path, tag: &LogTag) -> io::Result<Self> {
        Ok(Journal { sender: Sender::open(path)?, tag: tag.to_string() })
    }
}

impl Sink for Journal {
    fn write(&mut self, batch: &Batch) -> Result<(), Lost> {
        let tag = &self.tag;
        self.sender.send_all(batch, |line, severity, message| {
            // Writing to a Vec cannot fail.
            let _ = write!(message, "PRIORITY={}\nSYSLOG_IDENTIFIER={tag}\n", severity as u8);
            // With its length in front, so that newlines within are no end.
            message.extend_from_slice(b"MESSAGE\n");
            message.extend_from_slice(&(line.len() as u64).to_le_bytes());
            message.extend_from_slice(line);
            message.push(b'\n');
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Batch {
        let mut batch = Batch::default();
        batch.push(b"one\n", Severity::Info);
        batch.push(b"it failed\n    Traceback\n", Severity::Error);
        batch
    }

    fn heard(listener: &UnixDatagram) -> Vec<u8> {
        let mut message = [0; 256];
        let length = listener.recv(&mut message).unwrap();
        message[..length].to_vec()
    }

    #[test]
    fn syslog_hears_a_line_in_each_datagram() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (local3, tag) = ("local3".parse().unwrap(), "site".parse().unwrap());
        assert!(check(path.to_str().unwrap()).is_err(), "nobody listens");
        let listener = UnixDatagram::bind(&path).unwrap();
        assert!(check(path.to_str().unwrap()).is_ok());
        let mut syslog = Syslog::at(&path, local3, &tag).unwrap();
        syslog.write(&batch()).unwrap();
        let pid = std::process::id();
        assert_eq!(heard(&listener), format!("<158>site[{pid}]: one").into_bytes());
        assert_eq!(heard(&listener), format!("<155>site[{pid}]: it failed").into_bytes());
        assert_eq!(heard(&listener), format!("<155>site[{pid}]:     Traceback").into_bytes());
    }

    #[test]
    fn the_journal_hears_fields_with_their_lengths() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixDatagram::bind(&path).unwrap();
        Journal::at(&path, &LogTag::default()).unwrap().write(&batch()).unwrap();
        let expected = b"PRIORITY=6\nSYSLOG_IDENTIFIER=maitred\nMESSAGE\n\x03\0\0\0\0\0\0\0one\n";
        assert_eq!(heard(&listener), expected);
        let message = heard(&listener);
        let text = "it failed\n    Traceback";
        assert!(message.ends_with(format!("{text}\n").as_bytes()), "{message:?}");
        assert!(message.starts_with(b"PRIORITY=3\n"));
        assert_eq!(message[message.len() - text.len() - 9], text.len() as u8);
    }

    #[test]
    fn a_daemon_that_goes_costs_lines_and_one_that_comes_back_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let listener = UnixDatagram::bind(&path).unwrap();
        let mut journal = Journal::at(&path, &LogTag::default()).unwrap();
        drop(listener);
        assert_eq!(journal.write(&batch()).unwrap_err().count, 2);
        std::fs::remove_file(&path).unwrap();
        let listener = UnixDatagram::bind(&path).unwrap();
        journal.write(&batch()).unwrap();
        assert!(heard(&listener).starts_with(b"PRIORITY=6"));
    }
}
