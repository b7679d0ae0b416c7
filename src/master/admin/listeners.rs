//! The listeners of the admin address: opened by the master, served by the helper.
//!
//! The one of HAProxy's agent check is among them, under a name and a number of its own.
//!
//! A Unix socket's file is its owner's alone (0600): whoever may connect may command.
//!
//! Not here: those of the server (`acceptor`), sockets and their options (`sys::listener`).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use tracing::{info, warn};

use crate::admin::frame::AGENT_LISTENER;
use crate::config::{ADMIN_BACKLOG, Bind, ListenOptions};
use crate::ident::ListenerId;
use crate::master::upgrade::state::ListenerState;
use crate::sys::listener::{self, ListenError, UnixSocketFile};
use crate::sys::upgrade::Adopter;

/// What every one of them is opened with.
const OPTIONS: ListenOptions =
    ListenOptions { backlog: ADMIN_BACKLOG, defer_accept_s: 0, unix_mode: 0o600, unix_owner: None };

/// What the name of the agent check's listener begins with.
const AGENT: &str = "agent-check ";

/// All that are open.
#[derive(Debug, Default)]
pub(super) struct AdminListeners(Vec<AdminListener>);

#[derive(Debug)]
struct AdminListener {
    /// What it was opened for, as it is written in settings.
    bind: String,
    descriptor: OwnedFd,
    /// As users write it, with the real port.
    address: String,
    /// Removes the socket's file when the listener is closed, if it is still ours.
    file: Option<UnixSocketFile>,
}

impl AdminListeners {
    /// Takes over what another image of this process has opened.
    pub(super) fn adopt(
        &mut self,
        states: &[ListenerState],
        adopter: &mut Adopter,
    ) -> io::Result<()> {
        for state in states {
            let descriptor = adopter.adopt(state.descriptor)?;
            let address = listener::local_address(descriptor.as_fd()).map_err(io::Error::other)?;
            let plain = state.bind.strip_prefix(AGENT).unwrap_or(&state.bind);
            let path = plain.strip_prefix("unix:");
            let file = path.zip(state.file);
            let file = file.map(|(path, identity)| UnixSocketFile::resume(path.into(), identity));
            self.0.push(AdminListener { bind: state.bind.clone(), descriptor, address, file });
        }
        Ok(())
    }

    /// Closes those that are not wanted any more, and opens those that are missing. One that does not
    /// open is named in the log. True if anything is different now.
    pub(super) fn settle(&mut self, admin: &[Bind], agent: Option<&Bind>) -> bool {
        let wanted: Vec<(String, &Bind)> = admin
            .iter()
            .map(|bind| (bind.to_string(), bind))
            .chain(agent.map(|bind| (format!("{AGENT}{bind}"), bind)))
            .collect();
        let before = self.0.len();
        self.0.retain(|one| {
            let stays = wanted.iter().any(|(name, _)| *name == one.bind);
            if !stays {
                info!(address = one.address, "no longer an admin address");
            }
            stays
        });
        let mut has_changed = self.0.len() != before;
        for (name, bind) in wanted {
            if self.0.iter().any(|one| one.bind == name) {
                continue;
            }
            match open(bind, name) {
                Ok(one) => {
                    self.0.push(one);
                    has_changed = true;
                }
                Err(cause) => warn!(
                    %cause, "an admin address is not served; a reload (HUP) tries it again"
                ),
            }
        }
        has_changed
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The addresses, as users write them.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|one| one.address.as_str())
    }

    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(|one| one.descriptor.as_fd())
    }

    /// As the helper gets them.
    pub(super) fn inherited(&self) -> impl Iterator<Item = (ListenerId, BorrowedFd<'_>)> {
        (0..).zip(&self.0).map(|(number, one)| {
            let is_agents = one.bind.starts_with(AGENT);
            let id = if is_agents { AGENT_LISTENER } else { ListenerId(number) };
            (id, one.descriptor.as_fd())
        })
    }

    /// What another image of this process must know of them.
    pub(super) fn state(&self) -> Vec<ListenerState> {
        let state = |(id, one): (u16, &AdminListener)| ListenerState {
            id: ListenerId(id),
            bind: one.bind.clone(),
            descriptor: one.descriptor.as_raw_fd(),
            file: one.file.as_ref().map(UnixSocketFile::identity),
            private: Vec::new(),
        };
        (0..).zip(&self.0).map(state).collect()
    }
}

fn open(bind: &Bind, name: String) -> Result<AdminListener, ListenError> {
    let (descriptor, file) = match bind {
        Bind::Tcp(address) => (listener::open_tcp(*address, &OPTIONS)?, None),
        Bind::Unix(path) => {
            let (descriptor, file) = listener::open_unix(path, &OPTIONS)?;
            (descriptor, Some(file))
        }
        // Settings have none.
        Bind::Inherited(number) => {
            return Err(ListenError::NotListening { number: *number });
        }
    };
    let address = listener::local_address(descriptor.as_fd())?;
    Ok(AdminListener { bind: name, descriptor, address, file })
}
