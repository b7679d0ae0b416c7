//! An alarm clock that two processes share: a worker winds it, the master's loop wakes up.
//!
//! A timerfd on the monotonic clock, with absolute times (timerfd_create(2)). The descriptor is
//! inherited, so both hold one timer. Registered edge-triggered it never needs to be read: every
//! expiry is a new edge, and winding it anew forgets an expiry that nobody has seen.
//!
//! Not here: when it is wound (`worker::alarm`), what is looked at when it rings (`master`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_gettime, timerfd_settime,
};

use crate::time::Nanos;

/// A timer, or this process's share in one.
#[derive(Debug)]
pub struct Alarm {
    timer: OwnedFd,
}

impl Alarm {
    /// A new timer, not wound.
    ///
    /// # Errors
    /// No descriptor, or no memory.
    pub fn create() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Alarm { timer: timerfd_create(TimerfdClockId::Monotonic, flags)? })
    }

    /// One that was inherited.
    ///
    /// # Errors
    /// The descriptor is no timer.
    pub fn adopt(timer: OwnedFd) -> io::Result<Self> {
        timerfd_gettime(&timer)?;
        Ok(Alarm { timer })
    }

    /// Does not ring.
    ///
    /// # Errors
    /// None for a timer.
    pub fn unwind(&self) -> io::Result<()> {
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let unwound = Itimerspec { it_interval: never, it_value: never };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &unwound)?;
        Ok(())
    }

    /// Rings at this time, and no longer at any other; at once if it has passed.
    ///
    /// # Errors
    /// None for a timer and a time that a clock can show.
    pub fn wind(&self, at: Nanos) -> io::Result<()> {
        // Zero would unwind it (timerfd_settime(2)).
        let nanos = at.0.max(1);
        let time = Timespec {
            tv_sec: (nanos / 1_000_000_000).cast_signed(),
            tv_nsec: (nanos % 1_000_000_000).cast_signed(),
        };
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let once = Itimerspec { it_interval: never, it_value: time };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once)?;
        Ok(())
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mio::{Events, Poll, Token};

    use super::*;
    use crate::sys::{clock, epoll};

    #[test]
    fn each_winding_rings_once_and_nothing_needs_to_be_read() {
        let mut poll = Poll::new().unwrap();
        let ours = Alarm::create().unwrap();
        let theirs = Alarm::adopt(ours.timer.try_clone().unwrap()).unwrap();
        epoll::watch_edge(poll.registry(), ours.as_fd(), Token(3)).unwrap();
        let mut events = Events::with_capacity(8);
        for _ in 0..3 {
            let at = clock::now() + Duration::from_micros(200);
            theirs.wind(at).unwrap();
            poll.poll(&mut events, Some(Duration::from_secs(20))).unwrap();
            assert_eq!(events.iter().map(|event| event.token().0).collect::<Vec<_>>(), [3]);
            assert!(clock::now() >= at);
            poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
            assert!(events.is_empty(), "it rings once");
        }
    }

    #[test]
    fn what_is_unwound_does_not_ring() {
        let mut poll = Poll::new().unwrap();
        let alarm = Alarm::create().unwrap();
        epoll::watch_edge(poll.registry(), alarm.as_fd(), Token(3)).unwrap();
        alarm.wind(clock::now() + Duration::from_secs(3600)).unwrap();
        alarm.unwind().unwrap();
        // One that has rung is as good as one that has not, for who has not looked yet.
        alarm.wind(Nanos(0)).unwrap();
        alarm.unwind().unwrap();
        let mut events = Events::with_capacity(8);
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.is_empty());
        assert_eq!(timerfd_gettime(&alarm.timer).unwrap().it_value.tv_sec, 0);
    }

    #[test]
    fn what_is_no_timer_is_refused() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(Alarm::adopt(file.into()).is_err());
    }
}
