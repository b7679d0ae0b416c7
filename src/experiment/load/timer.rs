//! A timer that wakes the loop when the next request is due.
//!
//! epoll's own timeout is in milliseconds and rounds up: requests would leave up to one too late,
//! where latencies of half a millisecond are to be told apart. A timerfd has the clock's own
//! resolution, and unlike spinning leaves the core to the server.
//!
//! Not here: when that is (`generator`).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::time::Nanos;

/// A timer on the clock of [`clock::now`](crate::sys::clock::now).
#[derive(Debug)]
pub struct Timer {
    fd: OwnedFd,
    /// What it is set to, so that it is not set again for the same.
    set_to: Nanos,
}

impl Timer {
    /// A timer that is not set, and is an event of this loop when it fires.
    ///
    /// # Errors
    /// The system has no descriptor, or no memory.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Timer> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        registry.register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Timer { fd, set_to: Nanos::NEVER })
    }

    /// It has fired.
    pub fn handle_fired(&mut self) {
        self.set_to = Nanos::NEVER;
    }

    /// Fires at this time; at once where that has passed.
    ///
    /// The timer is never read: setting it clears what has expired (timerfd_create(2)), and the
    /// registration is edge-triggered.
    ///
    /// # Errors
    /// None that the system documents for this use.
    pub fn set(&mut self, at: Nanos) -> io::Result<()> {
        if at == self.set_to {
            return Ok(());
        }
        // Zero would switch it off.
        let at_ns = at.0.clamp(1, i64::MAX as u64);
        let value = Timespec {
            tv_sec: (at_ns / 1_000_000_000).cast_signed(),
            tv_nsec: (at_ns % 1_000_000_000).cast_signed(),
        };
        let once = Itimerspec { it_interval: Timespec::default(), it_value: value };
        timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &once)?;
        self.set_to = at;
        Ok(())
    }
}
