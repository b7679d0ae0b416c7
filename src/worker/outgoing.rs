//! What still has to be written to one client: bytes and stretches of files, in order.
//!
//! The usual response never comes here: head and body leave in one system call. Only what the
//! socket did not take, files and streams are kept.
//!
//! Not here: what the bytes say (`http::response`), when to stop waiting (`session`).

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};

use bytes::Bytes;

use crate::config::SLICES_PER_WRITE_MAX;
use crate::sys::stream::{self, Sent};

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    parts: VecDeque<Part>,
    /// Bytes that have gone since somebody asked.
    sent: u64,
}

#[derive(Debug)]
enum Part {
    Bytes(Bytes),
    File { file: File, offset: u64, left: u64 },
}

/// How a write went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// Everything is with the kernel.
    All,
    /// The socket takes no more now; this many bytes went.
    Blocked(u64),
}

impl Outgoing {
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.parts.push_back(Part::Bytes(bytes));
        }
    }

    /// Puts bytes before everything else: what a first write left over.
    pub(crate) fn push_first(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.parts.push_front(Part::Bytes(bytes));
        }
    }

    pub(crate) fn push_file(&mut self, file: File, offset: u64, length: u64) {
        if length > 0 {
            self.parts.push_back(Part::File { file, offset, left: length });
        }
    }

    /// Bytes that are here.
    pub(crate) fn size(&self) -> u64 {
        let sizes = self.parts.iter().map(|part| match part {
            Part::Bytes(bytes) => bytes.len() as u64,
            Part::File { left, .. } => *left,
        });
        sizes.fold(0, u64::saturating_add)
    }

    /// Writes until all is gone or the socket takes no more.
    ///
    /// # Errors
    /// The client has gone; or a file became shorter than was promised (`UnexpectedEof`), and the
    /// response can only be cut off.
    pub(crate) fn flush(&mut self, socket: BorrowedFd<'_>) -> io::Result<Flushed> {
        let mut total = 0;
        loop {
            let sent = match self.parts.front() {
                None => return Ok(Flushed::All),
                Some(Part::Bytes(_)) => self.send_bytes(socket)?,
                Some(Part::File { file, offset, left }) => {
                    let sent = stream::send_file(socket, file.as_fd(), *offset, *left)?;
                    if sent == Sent::Bytes(0) {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    sent
                }
            };
            match sent {
                Sent::Bytes(count) => {
                    total += count as u64;
                    self.sent += count as u64;
                    self.advance(count);
                }
                Sent::Full => return Ok(Flushed::Blocked(total)),
            }
        }
    }

    /// Bytes that have gone since this was last asked, whatever came behind them.
    pub(crate) fn take_sent(&mut self) -> u64 {
        std::mem::take(&mut self.sent)
    }

    fn send_bytes(&self, socket: BorrowedFd<'_>) -> io::Result<Sent> {
        let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE_MAX];
        let mut count = 0;
        for (part, slice) in self.parts.iter().zip(&mut slices) {
            let Part::Bytes(bytes) = part else { break };
            *slice = IoSlice::new(bytes);
            count += 1;
        }
        stream::send_vectored(socket, &slices[..count])
    }

    fn advance(&mut self, mut count: usize) {
        while count > 0 {
            match self.parts.front_mut() {
                Some(Part::Bytes(bytes)) if bytes.len() > count => {
                    let _written = bytes.split_to(count);
                    return;
                }
                Some(Part::Bytes(bytes)) => {
                    count -= bytes.len();
                    self.parts.pop_front();
                }
                Some(Part::File { offset, left, .. }) => {
                    *offset += count as u64;
                    *left -= (count as u64).min(*left);
                    if *left == 0 {
                        self.parts.pop_front();
                    }
                    return;
                }
                None => return,
            }
        }
    }
}
