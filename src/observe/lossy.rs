//! A writer that never makes its user wait: a bounded buffer, and a thread that empties it.
//!
//! A pipe whose reader has stopped blocks write(2) for ever, and a log must not stop a server. So a
//! line is copied into a buffer, and a thread writes it out. When the buffer is full, lines are
//! counted and dropped, and so are those that the sink could not take; how many is told when there
//! is room again ([`Notice`]). A log that nobody can read is not a reason to end.
//!
//! After each write the thread may rest ([`Habits::rest`]): a busy server leaves hundreds of lines
//! meanwhile, and a wake-up and a write for each would cost more than all the rest of a line.
//!
//! Not setting O_NONBLOCK instead: the description of a terminal or pipe is shared with whoever
//! started us, and would change under their hands.
//!
//! Not here: what a line looks like (`logging`, `access`), where it ends (`sink`).

use std::io::{self, Write};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::observe::sink::{Batch, Lost, Severity, Sink, Stream};

/// What a buffer keeps of its memory after a flood.
const KEPT_SIZE_MAX: usize = 64 * 1024;

/// The logs of this process, for [`reopen_all`].
static LOGS: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

/// The entry to the buffer; clones share it. The thread ends when the last one has gone and the
/// buffer is empty.
#[derive(Debug)]
pub struct LossyWriter {
    shared: Arc<Shared>,
}

/// How one log is written.
pub struct Habits {
    /// Of its thread.
    pub name: &'static str,
    /// Bytes that may wait.
    pub size_max: usize,
    /// After a write, how long the thread lets lines gather.
    pub rest: Duration,
    /// How it is told that lines were lost.
    pub notice: Notice,
    /// Between two such tellings at the least.
    pub notice_pause: Duration,
}

/// Tells how many lines were lost, and why if the sink knows: by a line of the log itself, or
/// elsewhere.
pub type Notice = Box<dyn FnMut(u64, Option<io::Error>) -> Option<Vec<u8>> + Send>;

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Lines have come, or the last writer has gone.
    filled: Condvar,
    /// The thread has written all it had taken.
    emptied: Condvar,
    size_max: usize,
    /// Beside the lock: it is asked after each line.
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    waiting: Batch,
    /// The thread is writing what it has taken out of `waiting`.
    writing: bool,
    /// The thread sleeps until somebody calls it.
    asleep: bool,
    /// Somebody waits until everything is written.
    urgent: bool,
    /// The sink is to be opened again, behind the lines so far.
    reopen: bool,
    writers: usize,
    dropped_untold: u64,
}

/// Has every log of this process that goes to a file open it again; each by its own thread, behind
/// the lines so far. One whose file cannot be opened keeps the old one, and says so.
pub fn reopen_all() {
    let mut logs = LOGS.lock().unwrap_or_else(PoisonError::into_inner);
    logs.retain(|log| log.strong_count() > 0);
    for shared in logs.iter().filter_map(Weak::upgrade) {
        shared.lock().reopen = true;
        shared.filled.notify_one();
    }
}

impl LossyWriter {
    /// Starts the thread, named `name`, that writes to a stream, at once. At most `size_max` bytes
    /// wait.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(
        name: &'static str,
        stream: impl Write + Send + 'static,
        size_max: usize,
    ) -> io::Result<LossyWriter> {
        let notice: Notice =
            Box::new(|dropped, _| Some(format!("... {dropped} lines dropped\n").into_bytes()));
        let (rest, notice_pause) = (Duration::ZERO, Duration::ZERO);
        let habits = Habits { name, size_max, rest, notice, notice_pause };
        LossyWriter::start_with(habits, Box::new(Stream(stream)))
    }

    /// Starts the thread that writes to `sink`.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start_with(habits: Habits, sink: Box<dyn Sink>) -> io::Result<LossyWriter> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State { writers: 1, ..State::default() }),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            size_max: habits.size_max,
            dropped: AtomicU64::new(0),
        });
        let theirs = Arc::clone(&shared);
        let named = thread::Builder::new().name(habits.name.to_owned());
        named.spawn(move || Draining { sink, habits, told_at: None }.run(&theirs))?;
        let mut logs = LOGS.lock().unwrap_or_else(PoisonError::into_inner);
        logs.retain(|log| log.strong_count() > 0);
        logs.push(Arc::downgrade(&shared));
        Ok(LossyWriter { shared })
    }

    /// Leaves one line, with its newline, to be written; drops it if there is no room.
    pub fn write_line(&self, line: &[u8], severity: Severity) {
        let mut state = self.shared.lock();
        let size = state.waiting.size();
        if size + line.len() > self.shared.size_max {
            self.shared.dropped.fetch_add(1, Relaxed);
            state.dropped_untold += 1;
            return;
        }
        state.waiting.push(line, severity);
        // A thread that rests is called when the buffer is half full, once.
        let half = self.shared.size_max / 2;
        let filling = size < half && size + line.len() >= half;
        let call = std::mem::take(&mut state.asleep) || filling;
        drop(state);
        if call {
            self.shared.filled.notify_one();
        }
    }

    /// Waits until everything so far is written, at most so long; says whether it is.
    pub fn flush(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.shared.lock();
        while state.writing || !state.waiting.is_empty() || state.reopen {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state.urgent = true;
            self.shared.filled.notify_one();
            (state, _) = self
                .shared
                .emptied
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    /// Lines dropped so far: there was no room, or the sink did not take them.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Relaxed)
    }
}

impl Clone for LossyWriter {
    fn clone(&self) -> Self {
        self.shared.lock().writers += 1;
        LossyWriter { shared: Arc::clone(&self.shared) }
    }
}

impl Drop for LossyWriter {
    fn drop(&mut self) {
        self.shared.lock().writers -= 1;
        self.shared.filled.notify_one();
    }
}

impl Shared {
    /// A panic while the lock is held cannot leave a half-done state behind: every change is one
    /// statement.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps until there is something to do; false if there never will be.
    fn wait<'a>(&self, mut state: MutexGuard<'a, State>) -> (MutexGuard<'a, State>, bool) {
        while state.waiting.is_empty() && !state.reopen {
            state.urgent = false;
            self.emptied.notify_all();
            if state.writers == 0 {
                return (state, false);
            }
            state.asleep = true;
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.asleep = false;
        }
        (state, true)
    }

    /// Lets lines gather.
    fn rest<'a>(&self, mut state: MutexGuard<'a, State>, rest: Duration) -> MutexGuard<'a, State> {
        let deadline = Instant::now() + rest;
        loop {
            if state.waiting.is_empty() {
                self.emptied.notify_all();
            }
            let called = state.urgent || state.reopen || state.writers == 0;
            let left = deadline.saturating_duration_since(Instant::now());
            if called || state.waiting.size() >= self.size_max / 2 || left.is_zero() {
                return state;
            }
            (state, _) =
                self.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The thread's side.
struct Draining {
    sink: Box<dyn Sink>,
    habits: Habits,
    told_at: Option<Instant>,
}

impl Draining {
    /// Takes all that waits, writes it without the lock, until nobody can write.
    fn run(mut self, shared: &Shared) {
        let mut batch = Batch::default();
        let mut state = shared.lock();
        loop {
            let goes_on;
            (state, goes_on) = shared.wait(state);
            if !goes_on {
                return;
            }
            std::mem::swap(&mut state.waiting, &mut batch);
            let reopen = std::mem::take(&mut state.reopen);
            let tells = self.may_tell();
            let dropped = if tells { std::mem::take(&mut state.dropped_untold) } else { 0 };
            state.writing = true;
            drop(state);
            if dropped > 0 {
                // They were dropped after these lines: the buffer was full of them.
                if let Some(line) = self.tell(dropped, None) {
                    batch.push(&line, Severity::Warning);
                }
            }
            let lost = self.sink.write(&batch).err();
            if reopen {
                self.reopen();
            }
            batch.clear(KEPT_SIZE_MAX);
            let (lost, untold) = self.count(lost);
            state = shared.lock();
            shared.dropped.fetch_add(lost, Relaxed);
            state.dropped_untold += untold;
            state.writing = false;
            state = shared.rest(state, self.habits.rest);
        }
    }

    /// How many lines the sink has lost, and how many of them are yet to be told of.
    fn count(&mut self, lost: Option<Lost>) -> (u64, u64) {
        let Some(Lost { count, cause }) = lost else { return (0, 0) };
        if !self.may_tell() {
            return (count, count);
        }
        // A line for this log itself would be lost as well: it comes with the next that is not.
        let here = self.tell(count, Some(cause)).is_some();
        (count, if here { count } else { 0 })
    }

    fn may_tell(&self) -> bool {
        self.told_at.is_none_or(|at| at.elapsed() >= self.habits.notice_pause)
    }

    fn tell(&mut self, dropped: u64, cause: Option<io::Error>) -> Option<Vec<u8>> {
        self.told_at = Some(Instant::now());
        (self.habits.notice)(dropped, cause)
    }

    /// What it says goes into the log, which may be this one: nothing is held meanwhile.
    fn reopen(&mut self) {
        match self.sink.reopen() {
            Ok(true) => info!(log = self.habits.name, "reopened"),
            Ok(false) => {}
            Err(cause) => warn!(log = self.habits.name, "it goes on as it was: {cause}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read};
    use std::sync::mpsc;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    impl LossyWriter {
        fn line(&self, line: &[u8]) {
            self.write_line(line, Severity::Info);
        }
    }

    /// A sink that tells of each write and does it only when it is let.
    struct Gate {
        writes: mpsc::Sender<Vec<u8>>,
        open: mpsc::Receiver<io::Result<()>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.open.recv() {
                Ok(Ok(())) | Err(_) => {}
                Ok(Err(error)) => return Err(error),
            }
            self.writes.send(bytes.to_vec()).unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gate(
        size_max: usize,
    ) -> (LossyWriter, mpsc::Receiver<Vec<u8>>, mpsc::Sender<io::Result<()>>) {
        let (writes, written) = mpsc::channel();
        let (opener, open) = mpsc::channel();
        let writer = LossyWriter::start("test", Gate { writes, open }, size_max).unwrap();
        (writer, written, opener)
    }

    #[test]
    fn a_stuck_reader_costs_lines_and_no_time() {
        let (writer, written, opener) = gate(10);
        writer.line(b"first\n");
        // The thread has taken it, and stands at the gate; the buffer is empty again.
        while !writer.shared.lock().writing {
            thread::yield_now();
        }
        writer.line(b"12345678\n");
        writer.line(b"lost\n");
        writer.line(b"lost\n");
        assert_eq!(writer.dropped(), 2);
        assert!(!writer.flush(Duration::from_millis(1)));
        drop(opener);
        assert!(writer.flush(PATIENCE));
        let all: Vec<u8> = written.try_iter().flatten().collect();
        assert_eq!(all, b"first\n12345678\n... 2 lines dropped\n");
    }

    #[test]
    fn errors_of_the_sink_are_not_ours_and_their_lines_are_counted() {
        let (writer, written, opener) = gate(100);
        for error in [ErrorKind::Interrupted, ErrorKind::WouldBlock, ErrorKind::BrokenPipe] {
            opener.send(Err(error.into())).unwrap();
        }
        writer.line(b"gone with the pipe\n");
        assert!(writer.flush(PATIENCE));
        assert_eq!(writer.dropped(), 1);
        drop(opener);
        writer.line(b"next\n");
        assert!(writer.flush(PATIENCE));
        let all: Vec<u8> = written.try_iter().flatten().collect();
        assert_eq!(all, b"next\n... 1 lines dropped\n");
    }

    #[test]
    fn everything_left_behind_is_written_when_the_last_writer_has_gone() {
        let (mut reader, pipe) = io::pipe().unwrap();
        let writer = LossyWriter::start("test", pipe, 1 << 20).unwrap();
        let clone = writer.clone();
        let line = [b"x".repeat(99), b"\n".to_vec()].concat();
        for _ in 0..200 {
            clone.line(&line);
        }
        drop((writer, clone));
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        assert_eq!(all, line.repeat(200));
    }

    /// A sink that says what was asked of it.
    struct Asked(mpsc::Sender<String>);

    impl Sink for Asked {
        fn write(&mut self, batch: &Batch) -> Result<(), Lost> {
            let lines = batch.lines().map(|(line, _)| String::from_utf8_lossy(line).into_owned());
            self.0.send(lines.collect()).unwrap();
            Ok(())
        }

        fn reopen(&mut self) -> io::Result<bool> {
            self.0.send("(reopened)".to_owned()).unwrap();
            Ok(true)
        }
    }

    fn resting(rest: Duration) -> (LossyWriter, mpsc::Receiver<String>) {
        let (asked, heard) = mpsc::channel();
        let habits = Habits {
            name: "test",
            size_max: 1000,
            rest,
            notice: Box::new(|_, _| None),
            notice_pause: Duration::ZERO,
        };
        (LossyWriter::start_with(habits, Box::new(Asked(asked))).unwrap(), heard)
    }

    #[test]
    fn lines_gather_while_the_thread_rests() {
        // Longer than any test: only a reason to go on ends the rest.
        let (writer, heard) = resting(Duration::from_secs(3600));
        writer.line(b"first\n");
        assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), "first\n", "at once, after a quiet time");
        writer.line(b"a\n");
        writer.line(b"b\n");
        assert!(writer.flush(PATIENCE), "who waits is not kept waiting");
        assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), "a\nb\n");
        writer.line(b"c\n");
        assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), "c\n");
        let half = [b"x".repeat(499), b"\n".to_vec()].concat();
        writer.line(&half);
        let half = heard.recv_timeout(PATIENCE).unwrap();
        assert_eq!(half.len(), 500, "a buffer that is half full is not let wait");
        writer.line(b"last\n");
        drop(writer);
        assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), "last\n", "nor is the end");
    }

    #[test]
    fn a_log_is_reopened_behind_its_lines() {
        let (writer, heard) = resting(Duration::from_secs(3600));
        writer.line(b"first\n");
        assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), "first\n");
        writer.line(b"old\n");
        reopen_all();
        assert!(writer.flush(PATIENCE));
        writer.line(b"new\n");
        assert!(writer.flush(PATIENCE));
        let all: String = heard.try_iter().collect();
        // Other tests of this process may ask for it too.
        let (old, new) = (all.find("old").unwrap(), all.find("new").unwrap());
        assert!(all[old..new].contains("(reopened)"), "{all}");
    }
}
