//! A writer that never makes its user wait: a bounded buffer, and a thread that empties it.
//!
//! A pipe whose reader has stopped blocks write(2) for ever, and a log must not stop a server. So a
//! line is copied into a buffer, and a thread writes it out. When the buffer is full, lines are
//! counted and dropped; when there is room again, the reader is told how many. Errors of the sink
//! are ignored: a log that nobody can read is not a reason to end.
//!
//! Not setting O_NONBLOCK instead: the description of a terminal or pipe is shared with whoever
//! started us, and would change under their hands.
//!
//! Not here: what a line looks like (`logging`, `access`).

use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What one write(2) takes of lines: up to here a pipe takes it whole or not at all (PIPE_BUF,
/// pipe(7)), so that lines of several processes do not tear each other.
const WRITE_SIZE_MAX: usize = 4096;

/// What a buffer keeps of its memory after a flood.
const KEPT_SIZE_MAX: usize = 64 * 1024;

/// The entry to the buffer; clones share it. The thread ends when the last one has gone and the
/// buffer is empty.
#[derive(Debug)]
pub struct LossyWriter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Lines have come, or the last writer has gone.
    filled: Condvar,
    /// The thread has written all it had taken.
    emptied: Condvar,
    size_max: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// The thread is writing what it has taken out of `waiting`.
    writing: bool,
    writers: usize,
    dropped: u64,
    dropped_untold: u64,
}

impl LossyWriter {
    /// Starts the thread, named `name`, that writes to `sink`. At most `size_max` bytes wait.
    pub fn start(
        name: &str,
        sink: impl Write + Send + 'static,
        size_max: usize,
    ) -> io::Result<LossyWriter> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State { writers: 1, ..State::default() }),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            size_max,
        });
        let theirs = Arc::clone(&shared);
        thread::Builder::new().name(name.to_owned()).spawn(move || theirs.drain(sink))?;
        Ok(LossyWriter { shared })
    }

    /// Leaves one line, with its newline, to be written; drops it if there is no room.
    pub fn write_line(&self, line: &[u8]) {
        let mut state = self.shared.lock();
        if state.waiting.len() + line.len() > self.shared.size_max {
            state.dropped += 1;
            state.dropped_untold += 1;
            return;
        }
        let was_empty = state.waiting.is_empty();
        state.waiting.extend_from_slice(line);
        let busy = state.writing;
        drop(state);
        if was_empty && !busy {
            self.shared.filled.notify_one();
        }
    }

    /// Waits until everything so far is written, at most so long; says whether it is.
    pub fn flush(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.shared.lock();
        while state.writing || !state.waiting.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            (state, _) = self
                .shared
                .emptied
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    /// Lines dropped so far.
    pub fn dropped(&self) -> u64 {
        self.shared.lock().dropped
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

    /// The thread: takes all that waits, writes it without the lock, until nobody can write.
    fn drain(&self, mut sink: impl Write) {
        let mut lines = Vec::new();
        let mut state = self.lock();
        loop {
            while state.waiting.is_empty() {
                self.emptied.notify_all();
                if state.writers == 0 {
                    return;
                }
                state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            std::mem::swap(&mut state.waiting, &mut lines);
            let dropped = std::mem::take(&mut state.dropped_untold);
            state.writing = true;
            drop(state);
            if dropped > 0 {
                // They were dropped after these lines: the buffer was full of them.
                lines.extend_from_slice(format!("... {dropped} lines dropped\n").as_bytes());
            }
            write_lines(&mut sink, &lines);
            lines.clear();
            lines.shrink_to(KEPT_SIZE_MAX);
            state = self.lock();
            state.writing = false;
        }
    }
}

/// Writes whole lines, as many at a time as a pipe takes in one piece.
fn write_lines(sink: &mut impl Write, mut lines: &[u8]) {
    while !lines.is_empty() {
        let window = &lines[..lines.len().min(WRITE_SIZE_MAX)];
        let end = match window.iter().rposition(|byte| *byte == b'\n') {
            Some(newline) => newline + 1,
            // A line that is longer than a pipe takes may tear; it goes out at once all the same.
            None => lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |at| at + 1),
        };
        let (now, later) = lines.split_at(end);
        write_patiently(sink, now);
        lines = later;
    }
}

fn write_patiently(sink: &mut impl Write, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match sink.write(bytes) {
            Ok(0) => return,
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // Somebody else has made the shared description non-blocking. This thread has
                // nothing else to do, and polling would need the descriptor of a generic sink.
                thread::sleep(Duration::from_millis(10));
            }
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::mpsc;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

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
        writer.write_line(b"first\n");
        // The thread has taken it, and stands at the gate; the buffer is empty again.
        while !writer.shared.lock().writing {
            thread::yield_now();
        }
        writer.write_line(b"12345678\n");
        writer.write_line(b"lost\n");
        writer.write_line(b"lost\n");
        assert_eq!(writer.dropped(), 2);
        assert!(!writer.flush(Duration::from_millis(1)));
        drop(opener);
        assert!(writer.flush(PATIENCE));
        let all: Vec<u8> = written.try_iter().flatten().collect();
        assert_eq!(all, b"first\n12345678\n... 2 lines dropped\n");
    }

    #[test]
    fn errors_of_the_sink_are_not_ours() {
        let (writer, written, opener) = gate(100);
        for error in [ErrorKind::Interrupted, ErrorKind::WouldBlock, ErrorKind::BrokenPipe] {
            opener.send(Err(error.into())).unwrap();
        }
        writer.write_line(b"gone with the pipe\n");
        assert!(writer.flush(PATIENCE));
        drop(opener);
        writer.write_line(b"next\n");
        assert!(writer.flush(PATIENCE));
        assert_eq!(written.try_iter().collect::<Vec<_>>(), [b"next\n".to_vec()]);
    }

    #[test]
    fn writes_end_with_lines_and_fit_into_a_pipe() {
        let (mut reader, pipe) = io::pipe().unwrap();
        let writer = LossyWriter::start("test", pipe, 1 << 20).unwrap();
        let clone = writer.clone();
        let line = [b"x".repeat(99), b"\n".to_vec()].concat();
        for _ in 0..200 {
            clone.write_line(&line);
        }
        drop((writer, clone));
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        assert_eq!(all, line.repeat(200));

        let mut pieces = Pieces(Vec::new());
        write_lines(&mut pieces, &[line.repeat(41), b"y".repeat(5000), b"\nz\n".to_vec()].concat());
        assert_eq!(pieces.0, [4000, 100, 5001, 2]);
    }

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
}
