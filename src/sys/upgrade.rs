//! One process image after another: what the old one leaves, and how the new one takes it over.
//!
//! An upgrade executes another program in this process (execve(2)): the pid, the children and every
//! descriptor without close-on-exec stay. Their numbers, and all else the new image must know, stand
//! in a file in memory; its number, and for whom it is meant, in environment variables, which are
//! removed when they have been read.
//!
//! Signals are blocked from before the old image looks for the last time until the new one has its
//! handlers: blocked ones stay pending across an exec, others would meet the default action
//! (signal(7), "Execution of signal handlers").
//!
//! Not here: what the file says (`master::upgrade`), when it is done (`master`).
#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::env;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::config::STATE_SIZE_MAX;
use crate::sys::launch::LaunchCommand;

/// The number of the file with the state.
pub const STATE_VARIABLE: &str = "MAITRED_STATE_FD";
/// The process that is to go on with it.
pub const SUCCESSOR_VARIABLE: &str = "MAITRED_STATE_PID";
/// Where an answer is expected, by who is only asked whether it could.
pub const ANSWER_VARIABLE: &str = "MAITRED_ANSWER_FD";

/// What a process was started for, beside its command line.
#[derive(Debug)]
pub enum Errand {
    /// Nothing: it begins anew.
    None,
    /// To say whether it could go on with this state.
    Preflight {
        /// The state, as it was when the question was asked.
        state: StateFile,
        /// Where the answer goes.
        answer: File,
    },
    /// To go on with this state: it is the same process as before.
    Resume(StateFile),
}

/// The state, as a file in memory.
#[derive(Debug)]
pub struct StateFile(File);

impl Errand {
    /// Takes the errand out of the environment. To be called once, at start, before any other
    /// thread.
    ///
    /// # Errors
    /// The variables name what no server passes.
    pub fn take() -> io::Result<Errand> {
        let number = |variable: &str| -> Option<i32> { env::var(variable).ok()?.parse().ok() };
        let state = number(STATE_VARIABLE);
        let (successor, answer) = (number(SUCCESSOR_VARIABLE), number(ANSWER_VARIABLE));
        for variable in [STATE_VARIABLE, SUCCESSOR_VARIABLE, ANSWER_VARIABLE] {
            // SAFETY: called at start, before this process has a second thread (documented above),
            // so nobody reads the environment meanwhile.
            unsafe { env::remove_var(variable) };
        }
        let Some(state) = state else { return Ok(Errand::None) };
        let mut adopter = Adopter::default();
        if let Some(answer) = answer {
            let state = StateFile(adopter.adopt(state)?.into());
            return Ok(Errand::Preflight { state, answer: adopter.adopt(answer)?.into() });
        }
        // A grandchild that finds the variables is somebody else.
        if successor == i32::try_from(std::process::id()).ok() {
            return Ok(Errand::Resume(StateFile(adopter.adopt(state)?.into())));
        }
        Ok(Errand::None)
    }
}

impl StateFile {
    /// Writes a state down.
    ///
    /// # Errors
    /// No descriptor, or no memory.
    pub fn create(bytes: &[u8]) -> io::Result<StateFile> {
        let mut file = File::from(memfd_create("maitred-state", MemfdFlags::CLOEXEC)?);
        file.write_all(bytes)?;
        Ok(StateFile(file))
    }

    /// All of it.
    ///
    /// # Errors
    /// It is larger than any state.
    pub fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.0.seek(SeekFrom::Start(0))?;
        let length = (&self.0).take(STATE_SIZE_MAX + 1).read_to_end(&mut bytes)?;
        if length as u64 > STATE_SIZE_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "a state beyond its limit"));
        }
        Ok(bytes)
    }
}

impl AsFd for StateFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A pipe for an answer that nobody waits for: the end that reads does not block.
///
/// # Errors
/// No descriptor.
pub fn answer_pipe() -> io::Result<(File, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    Ok((read.into(), write))
}

/// Takes over descriptors by their numbers, each once.
#[derive(Debug, Default)]
pub struct Adopter {
    taken: BTreeSet<RawFd>,
}

impl Adopter {
    /// Owns a descriptor that the image before has left open.
    ///
    /// # Errors
    /// It is not open, is one of stdio, or has been taken already.
    pub fn adopt(&mut self, number: RawFd) -> io::Result<OwnedFd> {
        let refused = || io::Error::other(format!("descriptor {number} was not left here"));
        // SAFETY: F_GETFD reads a flag of whatever the number names, or says EBADF.
        if number < 3 || unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
            return Err(refused());
        }
        if !self.taken.insert(number) {
            return Err(refused());
        }
        // SAFETY: open (checked above), left by the image before for this one to own, and taken once
        // (checked above); to be called before this image opens descriptors of its own by numbers
        // that it was not left.
        let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
        // It was cleared for the exec. No worker is to have it.
        fcntl_setfd(&descriptor, FdFlags::CLOEXEC)?;
        Ok(descriptor)
    }
}

/// While it lives, signals stay pending. Threads that are started meanwhile never get any.
#[derive(Debug)]
pub struct SignalsBlocked {
    before: SigSet,
}

impl SignalsBlocked {
    /// Blocks all signals that can be, for this thread.
    ///
    /// # Errors
    /// None on Linux.
    pub fn begin() -> io::Result<SignalsBlocked> {
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        Ok(SignalsBlocked { before })
    }

    /// Keeps them blocked: for an exec, or because [`unblock_signals`] follows.
    pub fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // The mask was this thread's before: it is a valid one.
        let _ = self.before.thread_set_mask();
    }
}

/// Lets all signals in, those included that the image before had blocked.
///
/// # Errors
/// None on Linux.
pub fn unblock_signals() -> io::Result<()> {
    Ok(SigSet::empty().thread_set_mask()?)
}

/// Executes the program that this process was started from, in this process, with these descriptors
/// beside stdio and the state. Returns only if that failed; everything is as before then.
pub fn execute(launch: &LaunchCommand, state: &StateFile, kept: &[BorrowedFd<'_>]) -> io::Error {
    let pid = std::process::id().to_string();
    let variables =
        [(STATE_VARIABLE, state.as_fd().as_raw_fd().to_string()), (SUCCESSOR_VARIABLE, pid)];
    match prepare(launch, &variables) {
        Ok((program, arguments, environment)) => {
            let all = kept.iter().copied().chain([state.as_fd()]);
            let failure = all.clone().try_for_each(|one| fcntl_setfd(one, FdFlags::empty())).err();
            let failure = failure.map_or_else(
                || match nix::unistd::execve(&program, &arguments, &environment) {
                    Ok(never) => match never {},
                    Err(error) => io::Error::from(error),
                },
                io::Error::from,
            );
            for one in all {
                // They are open, as the type says; so this cannot fail.
                let _ = fcntl_setfd(one, FdFlags::CLOEXEC);
            }
            failure
        }
        Err(error) => error,
    }
}

type Image = (CString, Vec<CString>, Vec<CString>);

fn prepare(launch: &LaunchCommand, variables: &[(&str, String)]) -> io::Result<Image> {
    let text = |text: OsString| CString::new(text.into_vec()).map_err(io::Error::other);
    let program = text(launch.program().into())?;
    let arguments = [Ok(program.clone())]
        .into_iter()
        .chain(launch.arguments().iter().cloned().map(text))
        .collect::<io::Result<_>>()?;
    let ours = variables.iter().map(|(name, value)| (OsString::from(*name), value.into()));
    let environment = env::vars_os()
        .filter(|(name, _)| variables.iter().all(|(other, _)| name != other))
        .chain(ours)
        .map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            text(name)
        })
        .collect::<io::Result<_>>()?;
    Ok((program, arguments, environment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_back_as_it_was_written() {
        let mut state = StateFile::create(b"as it was").unwrap();
        assert_eq!(state.read().unwrap(), b"as it was");
        assert_eq!(state.read().unwrap(), b"as it was");
    }

    #[test]
    fn a_descriptor_is_adopted_once_and_is_close_on_exec_again() {
        let file = File::open("/dev/null").unwrap();
        fcntl_setfd(&file, FdFlags::empty()).unwrap();
        let number = file.as_raw_fd();
        std::mem::forget(file);
        let mut adopter = Adopter::default();
        let adopted = adopter.adopt(number).unwrap();
        assert_eq!(rustix::io::fcntl_getfd(&adopted).unwrap(), FdFlags::CLOEXEC);
        assert!(adopter.adopt(number).is_err());
        assert!(adopter.adopt(2).is_err(), "stdio is nobody's");
        assert!(Adopter::default().adopt(RawFd::MAX).is_err());
    }

    #[test]
    fn signals_wait_while_they_are_blocked() {
        let before = SigSet::thread_get_mask().unwrap();
        let blocked = SignalsBlocked::begin().unwrap();
        let during = SigSet::thread_get_mask().unwrap();
        assert!(during.contains(nix::sys::signal::SIGTERM));
        drop(blocked);
        assert_eq!(SigSet::thread_get_mask().unwrap(), before);
    }

    #[test]
    fn an_exec_that_fails_leaves_everything_as_it_was() {
        let launch = LaunchCommand::of("/nonexistent/program".into(), vec!["serve".into()]);
        let state = StateFile::create(b"").unwrap();
        let kept = File::open("/dev/null").unwrap();
        let error = execute(&launch, &state, &[kept.as_fd()]);
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        for one in [kept.as_fd(), state.as_fd()] {
            assert_eq!(rustix::io::fcntl_getfd(one).unwrap(), FdFlags::CLOEXEC);
        }
    }
}
