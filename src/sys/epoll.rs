//! Registrations that mio cannot make, on a mio loop's own epoll instance.
//!
//! mio registers edge-triggered. A parked connection wants to be reported once (ONESHOT), a child's
//! pidfd as long as it has ended (level). The events come out of the same loop, with the token that
//! was given here: mio keeps its token in the event's data, and so do we.
//!
//! Not here: what an event means (`master::tokens`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use mio::{Registry, Token};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::Timespec;

/// Reports once that a socket is readable, or that its client is gone; then is silent.
///
/// # Errors
/// No memory, no room among the watches (ENOSPC), or watched already (EEXIST).
pub fn watch_oneshot(registry: &Registry, fd: BorrowedFd<'_>, token: Token) -> io::Result<()> {
    add(registry, fd, token, EventFlags::IN | EventFlags::RDHUP | EventFlags::ONESHOT)
}

/// Reports once more.
///
/// # Errors
/// Not watched.
pub fn rewatch_oneshot(registry: &Registry, fd: BorrowedFd<'_>, token: Token) -> io::Result<()> {
    let flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ONESHOT;
    Ok(epoll::modify(registry.as_fd(), fd, EventData::new_u64(token.0 as u64), flags)?)
}

/// Reports for as long as something is readable.
///
/// # Errors
/// As [`watch_oneshot`].
pub fn watch_level(registry: &Registry, fd: BorrowedFd<'_>, token: Token) -> io::Result<()> {
    add(registry, fd, token, EventFlags::IN)
}

/// As [`watch_level`], for a socket that several processes watch: one of those that sleep is woken
/// (EPOLLEXCLUSIVE, epoll_ctl(2)). It cannot be changed, only taken out and added again.
///
/// # Errors
/// As [`watch_oneshot`].
pub fn watch_exclusive(registry: &Registry, fd: BorrowedFd<'_>, token: Token) -> io::Result<()> {
    add(registry, fd, token, EventFlags::IN | EventFlags::EXCLUSIVE)
}

/// Reports each time something has become readable.
///
/// # Errors
/// As [`watch_oneshot`].
pub fn watch_edge(registry: &Registry, fd: BorrowedFd<'_>, token: Token) -> io::Result<()> {
    add(registry, fd, token, EventFlags::IN | EventFlags::RDHUP | EventFlags::ET)
}

/// Watches no longer. What was not watched stays so.
pub fn unwatch(registry: &Registry, fd: BorrowedFd<'_>) {
    // ENOENT: it was not there. Nothing else can happen to a valid descriptor.
    let _ = epoll::delete(registry.as_fd(), fd);
}

/// An epoll instance that nobody waits in: it is asked now and then what is readable. Other loops
/// can watch the instance itself, which is readable while something in it is (epoll(7)).
#[derive(Debug)]
pub struct ReadySet {
    epoll: OwnedFd,
}

impl ReadySet {
    /// An empty set.
    ///
    /// # Errors
    /// No descriptor, or no memory.
    pub fn create() -> io::Result<Self> {
        Ok(ReadySet { epoll: epoll::create(CreateFlags::CLOEXEC)? })
    }

    /// Adds a socket, by level: it is reported for as long as it is readable, or its client is gone.
    ///
    /// # Errors
    /// As [`watch_oneshot`].
    pub fn add(&self, fd: BorrowedFd<'_>, data: u64) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::RDHUP;
        Ok(epoll::add(&self.epoll, fd, EventData::new_u64(data), flags)?)
    }

    /// Takes a socket out. One that is not in stays out.
    pub fn remove(&self, fd: BorrowedFd<'_>) {
        // ENOENT: it was not there. Nothing else can happen to a valid descriptor.
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Appends the data of up to `most` sockets that are readable now; waits for none. Repeated
    /// looks go round: what was reported stands behind what was not.
    ///
    /// # Errors
    /// None on a valid instance.
    pub fn look(&self, out: &mut Vec<u64>, most: usize) -> io::Result<()> {
        let mut events: Vec<Event> = Vec::with_capacity(most);
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&at_once))?;
        out.extend(events.iter().map(|event| event.data.u64()));
        Ok(())
    }

    /// The instance itself, to be watched by a loop.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

fn add(registry: &Registry, fd: BorrowedFd<'_>, token: Token, flags: EventFlags) -> io::Result<()> {
    Ok(epoll::add(registry.as_fd(), fd, EventData::new_u64(token.0 as u64), flags)?)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use mio::{Events, Poll};

    use super::*;

    fn tokens(poll: &mut Poll) -> Vec<(usize, bool)> {
        let mut events = Events::with_capacity(8);
        poll.poll(&mut events, Some(Duration::from_millis(0))).unwrap();
        events.iter().map(|event| (event.token().0, event.is_read_closed())).collect()
    }

    #[test]
    fn a_ready_set_reports_by_level_and_wakes_the_loop_that_watches_it() {
        let mut poll = Poll::new().unwrap();
        let set = ReadySet::create().unwrap();
        watch_edge(poll.registry(), set.as_fd(), Token(5)).unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        set.add(ours.as_fd(), u64::MAX).unwrap();
        assert_eq!(tokens(&mut poll), []);
        theirs.write_all(b"a").unwrap();
        assert_eq!(tokens(&mut poll), [(5, false)]);
        let mut found = Vec::new();
        set.look(&mut found, 8).unwrap();
        set.look(&mut found, 8).unwrap();
        assert_eq!(found, [u64::MAX, u64::MAX]);
        theirs.write_all(b"b").unwrap();
        assert_eq!(tokens(&mut poll), [(5, false)], "each arrival is a new edge");
        set.remove(ours.as_fd());
        set.remove(ours.as_fd());
        found.clear();
        set.look(&mut found, 8).unwrap();
        assert!(found.is_empty());
    }

    #[test]
    fn one_shot_events_come_out_of_a_mio_loop_once() {
        let mut poll = Poll::new().unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        watch_oneshot(poll.registry(), ours.as_fd(), Token(7)).unwrap();
        assert_eq!(tokens(&mut poll), []);
        theirs.write_all(b"a").unwrap();
        assert_eq!(tokens(&mut poll), [(7, false)]);
        theirs.write_all(b"b").unwrap();
        assert_eq!(tokens(&mut poll), []);
        rewatch_oneshot(poll.registry(), ours.as_fd(), Token(8)).unwrap();
        assert_eq!(tokens(&mut poll), [(8, false)]);
        drop(theirs);
        rewatch_oneshot(poll.registry(), ours.as_fd(), Token(9)).unwrap();
        assert_eq!(tokens(&mut poll), [(9, true)]);
        unwatch(poll.registry(), ours.as_fd());
        unwatch(poll.registry(), ours.as_fd());
        assert_eq!(tokens(&mut poll), []);
    }
}
