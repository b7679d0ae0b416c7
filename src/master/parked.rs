//! Parked connections: nobody's turn until their client speaks.
//!
//! Accepted ones that have said nothing yet, and idle ones that came back from a worker. Each costs
//! an epoll registration and one place in an ordered set. Readiness is reported once (ONESHOT): what
//! has been reported is as good as unregistered, and is registered anew by one system call if it
//! comes back. How many may be parked is bounded; the one that would be given up first goes for the
//! next one.
//!
//! Not here: what a readable one is worth (`dispatch`).

use std::collections::BTreeSet;
use std::io;

use mio::Registry;

use crate::ident::ConnectionId;
use crate::master::connections::{Connections, Place};
use crate::master::tokens::Source;
use crate::sys::epoll;
use crate::time::Nanos;

/// The set, in order of deadline.
#[derive(Debug)]
pub(crate) struct Parked {
    by_deadline: BTreeSet<(Nanos, ConnectionId)>,
    parked_max: usize,
}

impl Parked {
    pub(crate) fn new(parked_max: usize) -> Self {
        Parked { by_deadline: BTreeSet::new(), parked_max }
    }

    /// Parks a connection; an event says when it has become readable or gone.
    ///
    /// # Errors
    /// The kernel refuses the registration (ENOMEM, ENOSPC); the connection is not parked.
    pub(crate) fn insert(
        &mut self,
        registry: &Registry,
        connections: &mut Connections,
        id: ConnectionId,
    ) -> io::Result<()> {
        let Some(connection) = connections.get_mut(id) else { return Ok(()) };
        connection.watch_once(registry, Source::Parked(id))?;
        self.by_deadline.insert((connection.idle_deadline, id));
        connections.move_to(id, Place::Parked);
        Ok(())
    }

    /// It has been reported: the registration is spent, and stays for the next time. A spent one
    /// reports nothing, not even an error (epoll_ctl(2)), whoever holds the connection.
    pub(crate) fn remove_reported(&mut self, connections: &mut Connections, id: ConnectionId) {
        let Some(connection) = connections.get(id) else { return };
        if self.by_deadline.remove(&(connection.idle_deadline, id)) {
            connections.move_to(id, Place::Queued);
        }
    }

    /// Takes a connection out that has not been reported; it is the caller's to place.
    pub(crate) fn remove(
        &mut self,
        registry: &Registry,
        connections: &mut Connections,
        id: ConnectionId,
    ) {
        let Some(connection) = connections.get_mut(id) else { return };
        if self.by_deadline.remove(&(connection.idle_deadline, id)) {
            epoll::unwatch(registry, connection.descriptor());
            connection.registered = false;
            connections.move_to(id, Place::Queued);
        }
    }

    /// How many are parked.
    pub(crate) fn len(&self) -> usize {
        self.by_deadline.len()
    }

    /// Whether the next one that is parked must take the place of another.
    pub(crate) fn is_full(&self) -> bool {
        self.by_deadline.len() >= self.parked_max
    }

    /// When the next one has been silent for too long.
    pub(crate) fn next_deadline(&self) -> Option<Nanos> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    /// The one whose deadline is next: the first to go when its time has come, or when
    /// descriptors or places run out.
    pub(crate) fn first(&self) -> Option<(Nanos, ConnectionId)> {
        self.by_deadline.first().copied()
    }

    /// Every parked connection.
    pub(crate) fn ids(&self) -> Vec<ConnectionId> {
        self.by_deadline.iter().map(|(_, id)| *id).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use mio::{Events, Poll};

    use super::*;
    use crate::ident::{ListenerId, PeerAddress};
    use crate::master::connections::{Accepted, Connections};

    fn connection(connections: &mut Connections, deadline: u64) -> (ConnectionId, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let id = connections.insert(Accepted {
            descriptor: ours.into(),
            peer: PeerAddress::Local,
            listener: ListenerId(0),
            accepted_at: Nanos(1),
            waited_before_accept_us: 0,
            idle_deadline: Nanos(deadline),
        });
        (id, theirs)
    }

    fn reported(poll: &mut Poll) -> Vec<Option<Source>> {
        let mut events = Events::with_capacity(8);
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        events.iter().map(|event| Source::of(event.token())).collect()
    }

    #[test]
    fn what_is_readable_is_reported_once_each_time_it_is_parked() {
        let mut poll = Poll::new().unwrap();
        let (mut connections, mut parked) = (Connections::default(), Parked::new(2));
        let (id, mut client) = connection(&mut connections, 9);
        for _ in 0..3 {
            parked.insert(poll.registry(), &mut connections, id).unwrap();
            assert_eq!(connections.here().parked, 1);
            client.write_all(b"a").unwrap();
            assert_eq!(reported(&mut poll), [Some(Source::Parked(id))]);
            parked.remove_reported(&mut connections, id);
            assert_eq!(connections.get(id).unwrap().place(), Place::Queued);
            connections.check_invariants();
            client.write_all(b"b").unwrap();
            assert_eq!(reported(&mut poll), [], "a spent registration is silent");
        }
        client.shutdown(std::net::Shutdown::Both).unwrap();
        assert_eq!(reported(&mut poll), [], "also when the client leaves");
        parked.insert(poll.registry(), &mut connections, id).unwrap();
        parked.remove(poll.registry(), &mut connections, id);
        assert_eq!(reported(&mut poll), [], "what was taken out is not reported");
        parked.insert(poll.registry(), &mut connections, id).unwrap();
        assert_eq!(reported(&mut poll), [Some(Source::Parked(id))]);
    }

    #[test]
    fn at_its_limit_the_one_that_has_been_silent_for_longest_is_first_to_go() {
        let poll = Poll::new().unwrap();
        let (mut connections, mut parked) = (Connections::default(), Parked::new(2));
        let ids: Vec<_> =
            [30, 10, 20].map(|deadline| connection(&mut connections, deadline)).into();
        for (id, _) in &ids[..2] {
            assert!(!parked.is_full());
            parked.insert(poll.registry(), &mut connections, *id).unwrap();
        }
        assert!(parked.is_full());
        assert_eq!(parked.first(), Some((Nanos(10), ids[1].0)));
    }
}
