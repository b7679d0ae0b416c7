//! A bounded pipe of bytes between the worker's loop and one handler thread.
//!
//! It carries a request's body to a handler that reads it while it arrives, and a streamed response
//! back. A full pipe makes the loop stop reading from the socket (request), or sends the thread to
//! other work until there is room (response); only a thread that reads a body ever waits here.
//!
//! Not here: waking the loop (`pool::Wake`), what the bytes mean (`session`).

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// One direction of bytes, shared by the loop and a thread.
#[derive(Clone, Debug)]
pub(crate) struct Pipe {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    bytes_max: usize,
}

#[derive(Debug)]
struct State {
    pieces: VecDeque<Bytes>,
    bytes: usize,
    end: End,
}

/// How the stream of bytes stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    /// The writer has written everything.
    Complete,
    /// Nothing more will come, and it is not complete.
    Broken(io::ErrorKind),
}

/// How an offer went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// Taken, and there is room for more.
    Room,
    /// Taken; no more now.
    Full,
    /// Nobody reads any more.
    Gone,
}

/// What the loop finds when it looks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Bytes.
    Piece(Bytes),
    /// Nothing yet.
    Empty,
    /// Everything has been taken.
    Complete,
    /// The writer gave up.
    Broken,
}

impl Pipe {
    /// A pipe that holds about `bytes_max` bytes: the piece that passes the limit is still taken. One
    /// that held none would never have room.
    pub(crate) fn new(bytes_max: usize) -> Self {
        let state = State { pieces: VecDeque::new(), bytes: 0, end: End::Open };
        Pipe {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                changed: Condvar::new(),
                bytes_max: bytes_max.max(1),
            }),
        }
    }

    /// Whether both are ends of one pipe.
    pub(crate) fn is(&self, other: &Pipe) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Puts a piece in; never waits. The piece that passes the limit is still taken, and the writer
    /// is to stop there.
    pub(crate) fn offer(&self, piece: Bytes) -> Offered {
        let mut state = self.lock();
        if state.end != End::Open {
            return Offered::Gone;
        }
        state.put(piece);
        self.shared.changed.notify_one();
        if state.bytes < self.shared.bytes_max { Offered::Room } else { Offered::Full }
    }

    /// Takes a piece, for the loop: never waits.
    pub(crate) fn take(&self) -> Taken {
        let mut state = self.lock();
        if let Some(piece) = state.pop() {
            return Taken::Piece(piece);
        }
        match state.end {
            End::Open => Taken::Empty,
            End::Complete => Taken::Complete,
            End::Broken(_) => Taken::Broken,
        }
    }

    /// Takes a piece, for a thread: waits for one. `None` at the end.
    ///
    /// # Errors
    /// What [`Pipe::fail`] said: the client has gone, or was too slow.
    pub(crate) fn read(&self) -> io::Result<Option<Bytes>> {
        let mut state = self.lock();
        loop {
            if let Some(piece) = state.pop() {
                return Ok(Some(piece));
            }
            match state.end {
                End::Complete => return Ok(None),
                End::Broken(kind) => return Err(kind.into()),
                End::Open => {
                    state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// The writer has written everything.
    pub(crate) fn finish(&self) {
        self.close(End::Complete);
    }

    /// Either side gives up; the other learns why.
    pub(crate) fn fail(&self, kind: io::ErrorKind) {
        self.close(End::Broken(kind));
    }

    /// Whether another piece may be offered.
    pub(crate) fn has_room(&self) -> bool {
        self.lock().bytes < self.shared.bytes_max
    }

    /// Whether so little is left that a writer who was sent away should come back: at half, so that
    /// it makes the next pieces while the last ones leave.
    pub(crate) fn runs_low(&self) -> bool {
        self.lock().bytes <= self.shared.bytes_max / 2
    }

    /// Whether nobody reads, or waits for, what is written.
    pub(crate) fn is_abandoned(&self) -> bool {
        matches!(self.lock().end, End::Broken(_))
    }

    fn close(&self, end: End) {
        let mut state = self.lock();
        if state.end == End::Open {
            state.end = end;
            self.shared.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked while it held the lock had finished its one change.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn put(&mut self, piece: Bytes) {
        if self.end == End::Open && !piece.is_empty() {
            self.bytes += piece.len();
            self.pieces.push_back(piece);
        }
    }

    fn pop(&mut self) -> Option<Bytes> {
        let piece = self.pieces.pop_front()?;
        self.bytes -= piece.len();
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reader_waits_for_bytes() {
        let pipe = Pipe::new(4);
        let writer = pipe.clone();
        let thread = std::thread::spawn(move || {
            for piece in [&b"abcd"[..], b"efgh", b"ij"] {
                writer.offer(Bytes::from_static(piece));
            }
            writer.finish();
        });
        let mut all = Vec::new();
        while let Some(piece) = pipe.read().unwrap() {
            all.extend_from_slice(&piece);
        }
        thread.join().unwrap();
        assert_eq!(all, b"abcdefghij");
        assert_eq!(pipe.take(), Taken::Complete);
    }

    #[test]
    fn a_writer_learns_of_fullness_and_of_the_readers_leave() {
        let pipe = Pipe::new(2);
        assert_eq!(pipe.offer(Bytes::from_static(b"a")), Offered::Room);
        assert_eq!(pipe.offer(Bytes::from_static(b"bc")), Offered::Full);
        assert!(!pipe.runs_low());
        assert_eq!(pipe.take(), Taken::Piece(Bytes::from_static(b"a")));
        assert_eq!(pipe.take(), Taken::Piece(Bytes::from_static(b"bc")));
        assert!(pipe.runs_low());
        pipe.fail(io::ErrorKind::BrokenPipe);
        assert_eq!(pipe.offer(Bytes::from_static(b"d")), Offered::Gone);
        assert!(pipe.is_abandoned());
    }

    #[test]
    fn what_was_written_before_a_failure_is_still_read() {
        let pipe = Pipe::new(8);
        assert_eq!(pipe.offer(Bytes::from_static(b"ab")), Offered::Room);
        assert_eq!(pipe.offer(Bytes::from_static(b"cdefgh")), Offered::Full);
        pipe.fail(io::ErrorKind::TimedOut);
        assert_eq!(pipe.read().unwrap().unwrap(), "ab");
        assert_eq!(pipe.read().unwrap().unwrap(), "cdefgh");
        assert_eq!(pipe.read().unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(pipe.has_room());
    }
}
