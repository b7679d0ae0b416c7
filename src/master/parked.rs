//! Parked connections: nobody's turn until their client speaks.
//!
//! Accepted ones that have said nothing yet, and idle ones that came back from a worker. Each costs
//! an epoll registration and one place in an ordered set; readiness is reported once (ONESHOT), and
//! whoever unparks a connection takes it out of epoll first, because a registration belongs to the
//! description and would outlive the hand-off.
//!
//! Not here: what a readable one is worth (`dispatch`).

use std::collections::BTreeSet;
use std::io;

use mio::Registry;

use crate::ident::ConnectionId;
use crate::master::connections::{Connection, Place};
use crate::master::tokens::Source;
use crate::sys::epoll;
use crate::time::Nanos;

/// The set, in order of deadline.
#[derive(Debug, Default)]
pub(crate) struct Parked {
    by_deadline: BTreeSet<(Nanos, ConnectionId)>,
}

impl Parked {
    /// Parks a connection; an event says when it has become readable or gone.
    ///
    /// # Errors
    /// The kernel refuses the registration (ENOMEM, ENOSPC); the connection is not parked.
    pub(crate) fn insert(
        &mut self,
        registry: &Registry,
        id: ConnectionId,
        connection: &mut Connection,
    ) -> io::Result<()> {
        epoll::watch_oneshot(registry, connection.descriptor(), Source::Parked(id).token())?;
        connection.place = Place::Parked;
        self.by_deadline.insert((connection.idle_deadline, id));
        Ok(())
    }

    /// Takes a connection out again; it is the caller's to place.
    pub(crate) fn remove(
        &mut self,
        registry: &Registry,
        id: ConnectionId,
        connection: &mut Connection,
    ) {
        if self.by_deadline.remove(&(connection.idle_deadline, id)) {
            epoll::unwatch(registry, connection.descriptor());
            connection.place = Place::Queued;
        }
    }

    /// When the next one has been silent for too long.
    pub(crate) fn next_deadline(&self) -> Option<Nanos> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    /// The one whose deadline is next: the first to go when its time has come, or when
    /// descriptors run out.
    pub(crate) fn first(&self) -> Option<(Nanos, ConnectionId)> {
        self.by_deadline.first().copied()
    }

    /// Every parked connection.
    pub(crate) fn ids(&self) -> Vec<ConnectionId> {
        self.by_deadline.iter().map(|(_, id)| *id).collect()
    }
}
