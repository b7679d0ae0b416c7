//! Where a log's lines end: a stream that was inherited, or a file that may be rotated.
//!
//! A [`Sink`] is written to by the thread of a [`LossyWriter`](crate::observe::lossy::LossyWriter)
//! alone, so it may block. What it cannot write it counts; a full disk is no reason to end.
//!
//! Not here: syslog and the journal (`datagram`), what happens while nobody reads (`lossy`).

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::libc::{O_NOCTTY, O_NONBLOCK};
use nix::unistd::{AccessFlags, access};

use crate::config::{
    LOG_FILE_MODE, LOG_FILE_WRITE_SIZE_MAX, LogDestination, Owner, PIPE_WRITE_SIZE_MAX,
};
use crate::observe::datagram::{self, Journal, Syslog};

/// How much it matters: syslog's numbers (RFC 5424 section 6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// An error.
    Error = 3,
    /// A warning.
    Warning = 4,
    /// Worth knowing.
    Info = 6,
    /// For those who look for something.
    Debug = 7,
}

/// Lines that go out together: each is whole, and ends with a newline.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    lines: Vec<Line>,
}

/// Where a line ends in the bytes, and how much it matters. It may have newlines within.
#[derive(Clone, Copy, Debug)]
struct Line {
    end: usize,
    severity: Severity,
}

impl Batch {
    /// One line more.
    pub fn push(&mut self, line: &[u8], severity: Severity) {
        self.bytes.extend_from_slice(line);
        self.lines.push(Line { end: self.bytes.len(), severity });
    }

    /// Bytes of all lines.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.lines.len() as u64
    }

    /// Each line, with its newline.
    pub fn lines(&self) -> impl Iterator<Item = (&[u8], Severity)> {
        let mut start = 0;
        self.lines.iter().map(move |line| {
            let whole = &self.bytes[start..line.end];
            start = line.end;
            (whole, line.severity)
        })
    }

    /// Empties it, and keeps no more memory than this.
    pub fn clear(&mut self, kept_max: usize) {
        self.bytes.clear();
        self.bytes.shrink_to(kept_max);
        self.lines.clear();
        self.lines.shrink_to(kept_max / 64);
    }

    /// Pieces of whole lines, each as large as it may be; a line that is larger stands alone. With
    /// each, how many lines it has.
    fn pieces(&self, size_max: usize) -> impl Iterator<Item = (&[u8], u64)> {
        let (mut start, mut next) = (0, 0);
        std::iter::from_fn(move || {
            let first = self.lines.get(next)?;
            let fits = |line: &&Line| line.end - start <= size_max;
            let more = self.lines[next + 1..].iter().take_while(fits).count();
            let end = self.lines[next + more].end.max(first.end);
            let piece = (&self.bytes[start..end], more as u64 + 1);
            next += more + 1;
            start = end;
            Some(piece)
        })
    }
}

/// What takes lines.
pub trait Sink: Send {
    /// Writes all of them, and says how many it could not, and why the last one.
    fn write(&mut self, batch: &Batch) -> Result<(), Lost>;

    /// Opens its file again: it may have been renamed. False if it has none.
    ///
    /// # Errors
    /// It stays with the one that it has.
    fn reopen(&mut self) -> io::Result<bool> {
        Ok(false)
    }
}

/// Lines that a sink could not write.
#[derive(Debug)]
pub struct Lost {
    /// How many.
    pub count: u64,
    /// Why the last one.
    pub cause: io::Error,
}

impl Lost {
    /// Counts one more, or some.
    pub(super) fn add(lost: &mut Result<(), Lost>, count: u64, cause: io::Error) {
        match lost {
            Ok(()) => *lost = Err(Lost { count, cause }),
            Err(lost) => {
                lost.count += count;
                lost.cause = cause;
            }
        }
    }
}

/// Opens a destination. A file that is created is this one's.
///
/// # Errors
/// The file cannot be opened.
pub fn open(to: &LogDestination, owner: Owner) -> io::Result<Box<dyn Sink>> {
    // Copies of descriptors: std's own handles would look for newlines again.
    Ok(match to {
        LogDestination::Stdout => {
            Box::new(Stream(File::from(io::stdout().as_fd().try_clone_to_owned()?)))
        }
        LogDestination::Stderr => {
            Box::new(Stream(File::from(io::stderr().as_fd().try_clone_to_owned()?)))
        }
        LogDestination::File(path) => Box::new(LogFile::open(path, owner)?),
        LogDestination::Syslog { facility, tag } => Box::new(Syslog::open(*facility, tag)?),
        LogDestination::Journald { tag } => Box::new(Journal::open(tag)?),
    })
}

/// Whether a destination could be opened, without creating anything.
///
/// # Errors
/// The file could not; nobody listens where syslog or the journal should.
pub fn check(to: &LogDestination) -> io::Result<()> {
    let path = match to {
        LogDestination::Stdout | LogDestination::Stderr => return Ok(()),
        LogDestination::Syslog { .. } => return datagram::check(datagram::SYSLOG),
        LogDestination::Journald { .. } => return datagram::check(datagram::JOURNAL),
        LogDestination::File(path) => path,
    };
    match appending().open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            Ok(access(folder, AccessFlags::W_OK | AccessFlags::X_OK)?)
        }
        Err(error) => Err(error),
    }
}

/// A descriptor that is written to and never opened again: a pipe, a terminal, a file of somebody
/// else's.
pub struct Stream<W>(pub W);

impl<W: Write + Send> Sink for Stream<W> {
    fn write(&mut self, batch: &Batch) -> Result<(), Lost> {
        write_pieces(&mut self.0, batch, PIPE_WRITE_SIZE_MAX)
    }
}

/// A file of ours.
pub struct LogFile {
    path: PathBuf,
    owner: Owner,
    file: File,
}

impl LogFile {
    /// Opens it for appending, and creates it for this owner if it is not there.
    ///
    /// # Errors
    /// The system refuses.
    pub fn open(path: &Path, owner: Owner) -> io::Result<Self> {
        let file = match appending().open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let file = appending().create(true).mode(LOG_FILE_MODE).open(path)?;
                if owner != Owner::default() {
                    fchown(&file, owner.uid, owner.gid)?;
                }
                file
            }
            opened => opened?,
        };
        Ok(LogFile { path: path.to_owned(), owner, file })
    }
}

impl Sink for LogFile {
    fn write(&mut self, batch: &Batch) -> Result<(), Lost> {
        write_pieces(&mut self.file, batch, LOG_FILE_WRITE_SIZE_MAX)
    }

    fn reopen(&mut self) -> io::Result<bool> {
        let opened = LogFile::open(&self.path, self.owner).map_err(|cause| {
            let what = format!("opening {} again: {cause}", self.path.display());
            io::Error::new(cause.kind(), what)
        })?;
        *self = opened;
        Ok(true)
    }
}

/// O_NONBLOCK for a FIFO that nobody reads: it is an error, and not a wait without end.
fn appending() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.append(true).custom_flags(O_NONBLOCK | O_NOCTTY);
    options
}

fn write_pieces(sink: &mut impl Write, batch: &Batch, size_max: usize) -> Result<(), Lost> {
    let mut lost = Ok(());
    for (piece, count) in batch.pieces(size_max) {
        if let Err(cause) = write_patiently(sink, piece) {
            Lost::add(&mut lost, count, cause);
        }
    }
    lost
}

fn write_patiently(sink: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match sink.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // Somebody else has made the shared description non-blocking, or it is a FIFO that
                // is full. This thread has nothing else to do, and polling would need the
                // descriptor of a generic sink.
                thread::sleep(Duration::from_millis(10));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Pieces(Vec<usize>);

    impl Write for Pieces {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(bytes.len());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn batch(lines: &[&[u8]]) -> Batch {
        let mut batch = Batch::default();
        lines.iter().for_each(|line| batch.push(line, Severity::Info));
        batch
    }

    #[test]
    fn writes_end_with_lines_and_fit_into_a_pipe() {
        let line = [b"x".repeat(99), b"\n".to_vec()].concat();
        let long = [b"y".repeat(5000), b"\n".to_vec()].concat();
        let mut lines: Vec<&[u8]> = vec![&line; 41];
        lines.extend([&long[..], b"z\n"]);
        let mut stream = Stream(Pieces(Vec::new()));
        assert!(stream.write(&batch(&lines)).is_ok());
        assert_eq!(stream.0.0, [4000, 100, 5001, 2]);
        // The first line may be the long one; what has newlines within is one line.
        let mut stream = Stream(Pieces(Vec::new()));
        assert!(stream.write(&batch(&[&long, b"a\nb\n"])).is_ok());
        assert_eq!(stream.0.0, [5001, 4]);
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let lost = Stream(writer).write(&batch(&[b"a\n", b"b\n"])).unwrap_err();
        assert_eq!((lost.count, lost.cause.kind()), (2, ErrorKind::BrokenPipe));
        let mut full = Stream(OpenOptions::new().write(true).open("/dev/full").unwrap());
        let lost = full.write(&batch(&[b"a\n"])).unwrap_err();
        assert_eq!(lost.cause.kind(), ErrorKind::StorageFull);
    }

    #[test]
    fn a_rotated_file_is_opened_again_and_a_broken_path_keeps_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let (path, rotated) = (folder.path().join("log"), folder.path().join("log.1"));
        let mut file = LogFile::open(&path, Owner::default()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777 & !0o640, 0);
        file.write(&batch(&[b"one\n"])).unwrap();
        fs::rename(&path, &rotated).unwrap();
        file.write(&batch(&[b"two\n"])).unwrap();
        assert!(file.reopen().unwrap());
        file.write(&batch(&[b"three\n"])).unwrap();
        assert_eq!(fs::read_to_string(&rotated).unwrap(), "one\ntwo\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let error = file.reopen().unwrap_err().to_string();
        assert!(error.starts_with(&format!("opening {} again: ", path.display())), "{error}");
        file.write(&batch(&[b"four\n"])).unwrap();
    }

    #[test]
    fn a_check_creates_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let to = |name: &str| LogDestination::File(folder.path().join(name));
        assert!(check(&to("new")).is_ok());
        assert!(!folder.path().join("new").exists());
        fs::write(folder.path().join("old"), "kept\n").unwrap();
        assert!(check(&to("old")).is_ok());
        assert_eq!(fs::read_to_string(folder.path().join("old")).unwrap(), "kept\n");
        assert_eq!(check(&to("a/b")).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(check(&to(".")).is_err());
    }

    #[test]
    fn a_fifo_that_nobody_reads_is_an_error_and_no_wait() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(LogFile::open(&path, Owner::default()).is_err());
    }
}
