//! A bell that two processes share: a worker rings it, the master's loop wakes up.
//!
//! An eventfd (eventfd(2)). Registered edge-triggered it never needs to be read, since every write is
//! a new edge; so a ring costs one system call of the worker and none of the master, where a frame
//! costs two and two. What it was rung for the page says.
//!
//! Not here: when it is rung (`board::bell`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

/// A bell, or this process's share in one.
#[derive(Debug)]
pub struct Bell {
    eventfd: OwnedFd,
}

impl Bell {
    /// A new bell.
    ///
    /// # Errors
    /// No descriptor, or no memory.
    pub fn create() -> io::Result<Self> {
        Ok(Bell { eventfd: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)? })
    }

    /// One that was inherited.
    pub fn adopt(eventfd: OwnedFd) -> Self {
        Bell { eventfd }
    }

    /// Rings.
    ///
    /// # Errors
    /// The descriptor is no eventfd.
    pub fn ring(&self) -> io::Result<()> {
        match rustix::io::write(&self.eventfd, &1_u64.to_ne_bytes()) {
            // Full after 2^64 - 2 rings: it has rung.
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mio::{Events, Poll, Token};

    use super::*;
    use crate::sys::epoll;

    #[test]
    fn every_ring_is_heard_and_nothing_needs_to_be_read() {
        let mut poll = Poll::new().unwrap();
        let ours = Bell::create().unwrap();
        let theirs = Bell::adopt(ours.eventfd.try_clone().unwrap());
        epoll::watch_edge(poll.registry(), ours.as_fd(), Token(4)).unwrap();
        let mut events = Events::with_capacity(8);
        for _ in 0..3 {
            theirs.ring().unwrap();
            poll.poll(&mut events, Some(Duration::from_secs(20))).unwrap();
            assert_eq!(events.iter().map(|event| event.token().0).collect::<Vec<_>>(), [4]);
            poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
            assert!(events.is_empty());
        }
    }
}
