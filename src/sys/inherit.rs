//! What a worker was started with: its channel, its page, and who it is.
//!
//! The numbers travel in environment variables, which are removed when they have been read, so that
//! a grandchild does not think that it is a worker.
//!
//! Not here: how the master passes them (`master::roster`).
#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::env;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::libc;
use rustix::fs::{FileType, fstat};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{SocketType, sockopt};
use thiserror::Error;

use crate::config::LISTENERS_MAX;
use crate::ident::{Generation, Incarnation, ListenerId, Slot};
use crate::sys::alarm::Alarm;
use crate::sys::bell::Bell;
use crate::sys::memory_file::MemoryReader;

/// Names of the variables, as docs/architecture.md lists them.
pub const CHANNEL_VARIABLE: &str = "MAITRED_CHANNEL_FD";
/// The page's descriptor.
pub const PAGE_VARIABLE: &str = "MAITRED_PAGE_FD";
/// The alarm's descriptor.
pub const ALARM_VARIABLE: &str = "MAITRED_ALARM_FD";
/// The bell's descriptor.
pub const BELL_VARIABLE: &str = "MAITRED_BELL_FD";
/// The meters' descriptor, where somebody reads them.
pub const METERS_VARIABLE: &str = "MAITRED_METERS_FD";
/// The listeners that this worker accepts from, if it does: `LISTENER:DESCRIPTOR`, between commas.
pub const LISTENERS_VARIABLE: &str = "MAITRED_LISTENER_FDS";
/// The slot.
pub const SLOT_VARIABLE: &str = "MAITRED_SLOT";
/// The generation.
pub const GENERATION_VARIABLE: &str = "MAITRED_GENERATION";

/// The helper's end of its channel.
pub const ADMIN_VARIABLE: &str = "MAITRED_ADMIN_FD";
/// The memory in which the master writes its status for the helper.
pub const STATUS_VARIABLE: &str = "MAITRED_STATUS_FD";

/// Where the configuration file was that the master goes by.
pub const CONFIG_PATH_VARIABLE: &str = "MAITRED_CONFIG_PATH";
/// What it said.
pub const CONFIG_TEXT_VARIABLE: &str = "MAITRED_CONFIG_TEXT";

/// All of them.
pub const VARIABLES: [&str; 12] = [
    CHANNEL_VARIABLE,
    PAGE_VARIABLE,
    ALARM_VARIABLE,
    BELL_VARIABLE,
    METERS_VARIABLE,
    LISTENERS_VARIABLE,
    SLOT_VARIABLE,
    GENERATION_VARIABLE,
    ADMIN_VARIABLE,
    STATUS_VARIABLE,
    CONFIG_PATH_VARIABLE,
    CONFIG_TEXT_VARIABLE,
];

/// What a worker has from its master.
#[derive(Debug)]
pub struct Inheritance {
    /// Its end of the channel.
    pub channel: OwnedFd,
    /// The memfd of its page.
    pub page: Option<OwnedFd>,
    /// The alarm by which it wakes its master.
    pub alarm: Option<Alarm>,
    /// The bell by which it wakes its master.
    pub bell: Option<Bell>,
    /// The memfd of the server's meters; none where nobody reads them.
    pub meters: Option<OwnedFd>,
    /// The listeners that it accepts from; none where the master accepts.
    pub listeners: Vec<(ListenerId, OwnedFd)>,
    /// Who it is.
    pub incarnation: Incarnation,
}

/// What the helper process has from its master.
#[derive(Debug)]
pub struct HelperInheritance {
    /// Its end of the channel.
    pub channel: OwnedFd,
    /// What the master writes of itself.
    pub status: MemoryReader,
    /// The memfd of the server's meters; none where the master could not make it.
    pub meters: Option<OwnedFd>,
    /// Where operators connect to.
    pub listeners: Vec<(ListenerId, OwnedFd)>,
}

/// Why this process is no worker.
#[derive(Debug, Error)]
pub enum InheritError {
    /// Nobody has set the variable: this was not started by a master.
    #[error("{0} is not set: a worker is started by its master, not by hand")]
    Missing(&'static str),
    /// The variable is no number, or the number is not what it should be.
    #[error("{variable}={value} does not name what a master passes")]
    Invalid {
        /// Which.
        variable: &'static str,
        /// What it says.
        value: String,
    },
    /// The system refused.
    #[error("taking over what the master passed: {0}")]
    System(#[from] io::Error),
}

impl Inheritance {
    /// Takes over what the master passed. To be called once, at start, before any other thread.
    ///
    /// # Errors
    /// This process was not started as a worker.
    pub fn take() -> Result<Self, InheritError> {
        let channel = number(CHANNEL_VARIABLE)?;
        let (page, alarm) = (optional(PAGE_VARIABLE)?, optional(ALARM_VARIABLE)?);
        let (bell, meters) = (optional(BELL_VARIABLE)?, optional(METERS_VARIABLE)?);
        let listeners = numbered_listeners()?;
        let slot = u16::try_from(number(SLOT_VARIABLE)?).unwrap_or(u16::MAX);
        let generation = number(GENERATION_VARIABLE)?.cast_unsigned();
        let inheritance = Inheritance {
            channel: own(CHANNEL_VARIABLE, channel)?,
            page: page.map(|page| own(PAGE_VARIABLE, page)).transpose()?,
            alarm: alarm.map(own_alarm).transpose()?,
            bell: bell.map(|bell| own(BELL_VARIABLE, bell).map(Bell::adopt)).transpose()?,
            meters: meters.map(|meters| own(METERS_VARIABLE, meters)).transpose()?,
            listeners: own_listeners(listeners)?,
            incarnation: Incarnation { slot: Slot(slot), generation: Generation(generation) },
        };
        inheritance.check(channel, page)?;
        remove_variables();
        Ok(inheritance)
    }

    fn check(&self, channel: RawFd, page: Option<RawFd>) -> Result<(), InheritError> {
        if sockopt::socket_type(&self.channel) != Ok(SocketType::SEQPACKET) {
            return Err(invalid(CHANNEL_VARIABLE, channel));
        }
        if let (Some(descriptor), Some(number)) = (&self.page, page) {
            let mode = fstat(descriptor).map_err(io::Error::from)?.st_mode;
            if FileType::from_raw_mode(mode) != FileType::RegularFile {
                return Err(invalid(PAGE_VARIABLE, number));
            }
        }
        Ok(())
    }
}

impl HelperInheritance {
    /// Takes over what the master passed. To be called once, at start, before any other thread.
    ///
    /// # Errors
    /// This process was not started as a helper.
    pub fn take() -> Result<Self, InheritError> {
        let (channel, status) = (number(ADMIN_VARIABLE)?, number(STATUS_VARIABLE)?);
        let (meters, listeners) = (optional(METERS_VARIABLE)?, numbered_listeners()?);
        let inheritance = HelperInheritance {
            channel: own(ADMIN_VARIABLE, channel)?,
            status: MemoryReader::adopt(own(STATUS_VARIABLE, status)?),
            meters: meters.map(|meters| own(METERS_VARIABLE, meters)).transpose()?,
            listeners: own_listeners(listeners)?,
        };
        if sockopt::socket_type(&inheritance.channel) != Ok(SocketType::SEQPACKET) {
            return Err(invalid(ADMIN_VARIABLE, channel));
        }
        remove_variables();
        Ok(inheritance)
    }
}

/// To be called at start, before this process has a second thread.
fn remove_variables() {
    for variable in VARIABLES {
        // SAFETY: before this process has a second thread (documented above and at the callers), so
        // nobody reads the environment meanwhile.
        unsafe { env::remove_var(variable) };
    }
}

fn number(variable: &'static str) -> Result<i32, InheritError> {
    let value = env::var(variable).map_err(|_| InheritError::Missing(variable))?;
    value.parse().map_err(|_| InheritError::Invalid { variable, value })
}

fn optional(variable: &'static str) -> Result<Option<RawFd>, InheritError> {
    match number(variable) {
        Ok(number) => Ok(Some(number)),
        Err(InheritError::Missing(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// How the listeners that a worker is to accept from are written down for it.
pub fn listeners_value<'a>(
    listeners: impl Iterator<Item = (ListenerId, BorrowedFd<'a>)>,
) -> String {
    let entries = listeners.map(|(id, descriptor)| format!("{}:{}", id.0, descriptor.as_raw_fd()));
    entries.collect::<Vec<_>>().join(",")
}

fn numbered_listeners() -> Result<Vec<(ListenerId, RawFd)>, InheritError> {
    let Ok(value) = env::var(LISTENERS_VARIABLE) else { return Ok(Vec::new()) };
    read_listeners(&value)
        .ok_or(InheritError::Invalid { variable: LISTENERS_VARIABLE, value: value.clone() })
}

fn read_listeners(value: &str) -> Option<Vec<(ListenerId, RawFd)>> {
    let entries = value.split(',').filter(|entry| !entry.is_empty());
    let read = |entry: &str| {
        let (id, number) = entry.split_once(':')?;
        Some((ListenerId(id.parse().ok()?), number.parse().ok()?))
    };
    let listeners: Vec<_> = entries.map(read).collect::<Option<_>>()?;
    let numbers: BTreeSet<RawFd> = listeners.iter().map(|(_, number)| *number).collect();
    // Each is owned by one alone.
    let fits = listeners.len() <= LISTENERS_MAX && numbers.len() == listeners.len();
    fits.then_some(listeners)
}

fn own_listeners(
    listeners: Vec<(ListenerId, RawFd)>,
) -> Result<Vec<(ListenerId, OwnedFd)>, InheritError> {
    listeners.into_iter().map(|(listener, number)| Ok((listener, own_listener(number)?))).collect()
}

fn own_listener(number: RawFd) -> Result<OwnedFd, InheritError> {
    let listener = own(LISTENERS_VARIABLE, number)?;
    match sockopt::socket_acceptconn(&listener) {
        Ok(true) => Ok(listener),
        Ok(false) | Err(_) => Err(invalid(LISTENERS_VARIABLE, number)),
    }
}

fn own_alarm(number: RawFd) -> Result<Alarm, InheritError> {
    Alarm::adopt(own(ALARM_VARIABLE, number)?).map_err(|_| invalid(ALARM_VARIABLE, number))
}

fn own(variable: &'static str, number: RawFd) -> Result<OwnedFd, InheritError> {
    // SAFETY: F_GETFD reads a flag of whatever the number names, or says EBADF.
    if number < 3 || unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(invalid(variable, number));
    }
    // SAFETY: open (checked above), passed to this process for it to own, and taken once: the
    // variables are removed, and this is called before anything else could have opened it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    // The master cleared it for the exec; no grandchild is to have it.
    if let Err(error) = fcntl_setfd(&descriptor, FdFlags::CLOEXEC) {
        mem::forget(descriptor);
        return Err(io::Error::from(error).into());
    }
    Ok(descriptor)
}

fn invalid(variable: &'static str, number: RawFd) -> InheritError {
    InheritError::Invalid { variable, value: number.to_string() }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn listeners_are_read_as_they_were_written_and_nonsense_is_not() {
        let one = std::fs::File::open("/dev/null").unwrap();
        let two = std::fs::File::open("/dev/null").unwrap();
        let all = [(ListenerId(0), one.as_fd()), (ListenerId(3), two.as_fd())];
        let written = listeners_value(all.into_iter());
        let expected = [(ListenerId(0), one.as_raw_fd()), (ListenerId(3), two.as_raw_fd())];
        assert_eq!(read_listeners(&written).as_deref(), Some(&expected[..]));
        assert_eq!(read_listeners(""), Some(Vec::new()));
        let many: Vec<_> = (0..=LISTENERS_MAX).map(|number| format!("0:{number}")).collect();
        for nonsense in ["7", "0:", ":7", "0:7,1:7", "0:x", "70000:7", &many.join(",")] {
            assert_eq!(read_listeners(nonsense), None, "{nonsense}");
        }
        // Open, and no listener.
        let file = std::fs::File::open("/dev/null").unwrap();
        let number = std::os::fd::IntoRawFd::into_raw_fd(file);
        assert!(own_listener(number).is_err());
    }
}
