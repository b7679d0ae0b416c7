//! Children: started by exec, watched and signalled through pidfds.
//!
//! A pid can be given to another process once its owner is reaped; a pidfd cannot. So a signal
//! never hits a stranger, and an end is an event of the loop.
//!
//! Not here: when to start, signal or replace one (`supervise`).
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid as wait_for, waitpid};
use nix::unistd::{Pid as NixPid, getppid};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_open, pidfd_send_signal,
    waitid,
};

pub use rustix::process::Signal as ChildSignal;

/// A child process. Dropping it neither ends nor reaps it: that is the supervisor's decision.
#[derive(Debug)]
pub struct Child {
    pid: u32,
    pidfd: OwnedFd,
}

/// What has happened to a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has returned this code. It is reaped.
    Exited(i32),
    /// This signal has killed it. It is reaped.
    Killed(i32),
    /// A signal has stopped it.
    Stopped,
    /// It goes on.
    Continued,
}

impl Child {
    /// Executes a command, with exactly the descriptors of `inherited` beside its stdio.
    ///
    /// # Errors
    /// The command cannot be executed, or there is no room for a process.
    pub fn spawn(mut command: Command, inherited: &[BorrowedFd<'_>]) -> io::Result<Self> {
        let numbers: Vec<RawFd> = inherited.iter().map(AsRawFd::as_raw_fd).collect();
        // SAFETY: the closure runs between fork and exec and makes only fcntl calls, which are
        // async-signal-safe; it allocates nothing (the vector is moved in, and only read).
        unsafe {
            command.pre_exec(move || numbers.iter().try_for_each(|number| keep_open(*number)));
        }
        let child = command.spawn()?;
        let pid = child.id();
        // The child is ours and not reaped, so the pid is still its own.
        let number = Pid::from_raw(pid.cast_signed()).ok_or(io::ErrorKind::InvalidData)?;
        let pidfd = pidfd_open(number, PidfdFlags::empty())?;
        Ok(Child { pid, pidfd })
    }

    /// As [`Child::spawn`], with a variable for each descriptor that says its number, and with
    /// others that have none.
    ///
    /// # Errors
    /// As [`Child::spawn`].
    pub fn spawn_with(
        mut command: Command,
        inherited: &[(&str, BorrowedFd<'_>)],
        unnamed: &[BorrowedFd<'_>],
    ) -> io::Result<Self> {
        for (variable, descriptor) in inherited {
            command.env(variable, descriptor.as_raw_fd().to_string());
        }
        let named = inherited.iter().map(|(_, descriptor)| *descriptor);
        let descriptors: Vec<_> = named.chain(unnamed.iter().copied()).collect();
        Child::spawn(command, &descriptors)
    }

    /// A child that another image of this process has started, and that nobody has reaped.
    ///
    /// # Errors
    /// There is no such child.
    pub fn adopt(pid: u32) -> io::Result<Self> {
        let number = Pid::from_raw(pid.cast_signed()).ok_or(io::ErrorKind::InvalidData)?;
        let child = Child { pid, pidfd: pidfd_open(number, PidfdFlags::empty())? };
        // Asked, and not taken: fails where it is no child of ours (ECHILD).
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        waitid(WaitId::PidFd(child.pidfd.as_fd()), options)?;
        Ok(child)
    }

    /// The number that logs and users know it by.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal. A child that has ended gets none, and that is no error.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The next thing that has happened to it, if something has.
    ///
    /// # Errors
    /// It has been reaped already (ECHILD).
    pub fn poll_change(&self) -> io::Result<Option<Change>> {
        let options = WaitIdOptions::EXITED
            | WaitIdOptions::STOPPED
            | WaitIdOptions::CONTINUED
            | WaitIdOptions::NOHANG;
        Ok(waitid(WaitId::PidFd(self.pidfd.as_fd()), options)?.as_ref().and_then(change))
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// Lets a command's process be killed when the thread that starts it ends, however that ends
/// (PR_SET_PDEATHSIG(2const)): a bench that is killed leaves no server behind.
///
/// A thread, not the process: so the caller is one that lives as long as the child should.
pub fn end_with_this_thread(command: &mut Command) {
    let parent = std::process::id();
    // SAFETY: the closure runs between fork and exec and makes two system calls, prctl and getppid,
    // which are async-signal-safe; it allocates nothing (an error is a number).
    unsafe {
        command.pre_exec(move || {
            set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
            // Whoever ended before the call has sent nothing.
            if getppid().as_raw().cast_unsigned() == parent {
                Ok(())
            } else {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        });
    }
}

/// The process that has started this one, or that it was left to.
pub fn parent() -> u32 {
    getppid().as_raw().cast_unsigned()
}

/// Whether orphans become children of this process: it is the first of its PID namespace (a
/// container's only program), or was made a subreaper (PR_SET_CHILD_SUBREAPER(2const)).
pub fn adopts_orphans() -> bool {
    std::process::id() == 1 || nix::sys::prctl::get_child_subreaper().unwrap_or(false)
}

/// Reaps children that have ended and are nobody's here: orphans that this process has inherited.
/// Returns how many. One of ours that has just ended stands in front of what came after it: it is
/// left to its pidfd, and its own SIGCHLD is a reason to call again.
pub fn reap_strangers(is_ours: impl Fn(u32) -> bool) -> u32 {
    // WNOWAIT: it is looked at, and reaped only when it is known whose it is.
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    let mut reaped = 0;
    while let Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _)) =
        wait_for(Id::All, look)
    {
        if is_ours(pid.as_raw().cast_unsigned())
            || waitpid(pid, Some(WaitPidFlag::WNOHANG)).is_err()
        {
            break;
        }
        reaped += 1;
    }
    reaped
}

/// Whether a process of this number exists, anybody's.
pub fn exists(pid: u32) -> bool {
    let number = NixPid::from_raw(pid.cast_signed());
    // Zero and negative numbers are groups (kill(2)).
    number.as_raw() > 0 && nix::sys::signal::kill(number, None) != Err(nix::errno::Errno::ESRCH)
}

fn change(status: &WaitIdStatus) -> Option<Change> {
    if let Some(code) = status.exit_status() {
        Some(Change::Exited(code))
    } else if let Some(signal) = status.terminating_signal() {
        Some(Change::Killed(signal))
    } else if status.stopped() {
        Some(Change::Stopped)
    } else if status.continued() {
        Some(Change::Continued)
    } else {
        None
    }
}

fn keep_open(number: RawFd) -> io::Result<()> {
    // SAFETY: F_SETFD changes a flag of a descriptor of this (forked) process alone.
    match unsafe { libc::fcntl(number, libc::F_SETFD, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits on the pidfd itself, as the master's loop does.
    fn next_change(child: &Child) -> Change {
        loop {
            if let Some(change) = child.poll_change().unwrap() {
                return change;
            }
            std::thread::yield_now();
        }
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_child_is_stopped_continued_and_killed_through_its_pidfd() {
        let child = Child::spawn(shell("exec sleep 100"), &[]).unwrap();
        assert_eq!(child.poll_change().unwrap(), None);
        child.signal(Signal::STOP).unwrap();
        assert_eq!(next_change(&child), Change::Stopped);
        child.signal(Signal::CONT).unwrap();
        assert_eq!(next_change(&child), Change::Continued);
        child.signal(Signal::KILL).unwrap();
        assert_eq!(next_change(&child), Change::Killed(9));
        child.signal(Signal::KILL).unwrap();
    }

    #[test]
    fn an_orphan_is_reaped_and_a_child_of_ours_is_not() {
        nix::sys::prctl::set_child_subreaper(true).unwrap();
        assert!(adopts_orphans());
        // The shell ends, and what it has started in the background is ours then.
        let shell = shell("sleep 0.01 & echo $!").stdout(std::process::Stdio::piped()).spawn();
        let output = shell.unwrap().wait_with_output().unwrap();
        let orphan: u32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        let ours = Child::spawn(self::shell("exit 3"), &[]).unwrap();
        // Other tests of this process have children too: all but the orphan are spared. One of
        // theirs may stand in front of it for a moment.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while reap_strangers(|pid| pid != orphan) == 0 {
            assert!(std::time::Instant::now() < deadline, "the orphan is not reaped");
            if let Some(change) = ours.poll_change().unwrap_or(Some(Change::Exited(3))) {
                assert_eq!(change, Change::Exited(3), "ours is still here to be heard");
            }
            std::thread::yield_now();
        }
        assert!(!exists(orphan));
        assert!(exists(std::process::id()));
        assert!(!exists(0) && !exists(u32::MAX));
        nix::sys::prctl::set_child_subreaper(false).unwrap();
    }

    #[test]
    fn only_what_is_named_is_inherited() {
        let kept = std::fs::File::open("/dev/null").unwrap();
        let other = std::fs::File::open("/dev/null").unwrap();
        let script = format!(
            "[ -e /proc/self/fd/{} ] && [ ! -e /proc/self/fd/{} ] && exit 5",
            kept.as_raw_fd(),
            other.as_raw_fd()
        );
        let child = Child::spawn(shell(&script), &[kept.as_fd()]).unwrap();
        assert_eq!(next_change(&child), Change::Exited(5));
    }
}
