//! Every connection that the master holds: its descriptor, from accept to end.
//!
//! A worker only ever has a copy. Whatever happens to a worker, the connection is here, together
//! with what its next worker must know of it.
//!
//! Not here: who may read from it (`loan`), where it goes next (`dispatch`).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use mio::Registry;
use slab::Slab;

use crate::account::{Here, Outcome};
use crate::board::Terms;
use crate::config::CONTEXT_SIZE;
use crate::handoff::LendRecord;
use crate::ident::{ConnectionId, ListenerId, LoanId, PeerAddress};
use crate::master::tokens::Source;
use crate::master::upgrade::state::{ConnectionState, PlaceState};
use crate::sys::upgrade::Adopter;
use crate::sys::{epoll, stream};
use crate::time::Nanos;

/// One connection. An idle server holds thousands: kept below 128 bytes (asserted below).
#[derive(Debug)]
pub(crate) struct Connection {
    descriptor: OwnedFd,
    listener: ListenerId,
    requests_served: u32,
    peer: PeerAddress,
    accepted_at: Nanos,
    /// When it must have begun its next request; counts on wherever the connection is.
    pub(crate) idle_deadline: Nanos,
    /// Microseconds in the kernel's queue; `u32::MAX` where nobody asked or the kernel cannot say.
    waited_before_accept_us: u32,
    /// Microseconds after accept in which its client had said nothing.
    silent_us: u32,
    /// What its last worker left for the next; most leave nothing.
    context: Option<Box<[u8; CONTEXT_SIZE]>>,
    place: Place,
    /// It has been lent before.
    pub(crate) seated: bool,
    /// In the master's own epoll: parked, or it was once.
    pub(crate) registered: bool,
    /// Registered with the watch of the worker that has it.
    pub(crate) watched: bool,
}

const _: () = assert!(size_of::<Connection>() <= 128);

/// Where a connection is. Exactly one of these, always: conservation is counted from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// With the dispatcher, which has not seated it yet.
    Queued,
    /// Waiting in the master's own epoll to become readable.
    Parked,
    /// At a worker.
    OnLoan {
        /// The worker's place in the roster.
        member: u32,
        /// The loan there.
        loan: LoanId,
    },
    /// Answered by the master itself, and waiting for the client to notice.
    Lingering {
        /// What is counted when it has.
        outcome: Outcome,
    },
}

/// What is known of a connection when it is accepted.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) descriptor: OwnedFd,
    pub(crate) peer: PeerAddress,
    pub(crate) listener: ListenerId,
    pub(crate) accepted_at: Nanos,
    pub(crate) waited_before_accept_us: u32,
    pub(crate) idle_deadline: Nanos,
}

/// All of them, and how many are where.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    slab: Slab<Connection>,
    here: Here,
    /// Copies have been with programs that are not this one.
    strangers: bool,
}

impl Connections {
    /// None yet. `strangers`: workers are other programs, and may have asked close(2) to wait. This
    /// program's own never do, and a call for each connection is saved.
    pub(crate) fn new(strangers: bool) -> Self {
        Connections { strangers, ..Connections::default() }
    }

    /// Takes a new connection in, queued.
    pub(crate) fn insert(&mut self, accepted: Accepted) -> ConnectionId {
        let connection = Connection {
            descriptor: accepted.descriptor,
            listener: accepted.listener,
            requests_served: 0,
            peer: accepted.peer,
            accepted_at: accepted.accepted_at,
            idle_deadline: accepted.idle_deadline,
            waited_before_accept_us: accepted.waited_before_accept_us,
            context: None,
            place: Place::Queued,
            seated: false,
            registered: false,
            watched: false,
            silent_us: 0,
        };
        self.here.queued += 1;
        // Each holds a descriptor, and RLIMIT_NOFILE cannot pass 2^31.
        ConnectionId(self.slab.insert(connection) as u32)
    }

    /// Takes over those that another image of this process has accepted, under their names.
    pub(crate) fn resume(&mut self, connections: Vec<(ConnectionId, Connection)>) {
        // Its workers may have been others.
        self.strangers = true;
        for (_, connection) in &connections {
            *count_mut(&mut self.here, connection.place) += 1;
        }
        self.slab = connections.into_iter().map(|(id, one)| (id.0 as usize, one)).collect();
    }

    /// Ends a connection: the master's copy is closed with it.
    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        let connection = self.slab.try_remove(id.0 as usize)?;
        if connection.seated && self.strangers {
            stream::never_linger(connection.descriptor());
        }
        *count_mut(&mut self.here, connection.place) -= 1;
        Some(connection)
    }

    /// It is there from now on. The only way in which a connection changes its place.
    pub(crate) fn move_to(&mut self, id: ConnectionId, place: Place) {
        if let Some(connection) = self.slab.get_mut(id.0 as usize) {
            let before = std::mem::replace(&mut connection.place, place);
            *count_mut(&mut self.here, before) -= 1;
            *count_mut(&mut self.here, place) += 1;
        }
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.slab.get(id.0 as usize)
    }

    pub(crate) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.slab.get_mut(id.0 as usize)
    }

    /// How many are where.
    pub(crate) fn here(&self) -> Here {
        self.here
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// Every connection, for the rare questions that need to see all.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnectionId, &Connection)> {
        self.slab.iter().map(|(id, connection)| (ConnectionId(id as u32), connection))
    }

    /// Panics unless what is counted of each place is what a look at all of them finds there.
    pub(crate) fn check_invariants(&self) {
        let mut found = Here::default();
        for (_, connection) in &self.slab {
            *count_mut(&mut found, connection.place) += 1;
        }
        assert_eq!(self.here, found, "connections by place");
    }
}

fn count_mut(here: &mut Here, place: Place) -> &mut u64 {
    match place {
        Place::Queued => &mut here.queued,
        Place::Parked => &mut here.parked,
        Place::OnLoan { .. } => &mut here.on_loan,
        Place::Lingering { .. } => &mut here.lingering,
    }
}

impl Connection {
    /// One that another image of this process has accepted.
    pub(crate) fn resume(state: &ConnectionState, adopter: &mut Adopter) -> io::Result<Connection> {
        let context = state.context.as_deref().map(<[u8; CONTEXT_SIZE]>::try_from).transpose();
        Ok(Connection {
            descriptor: adopter.adopt(state.descriptor)?,
            listener: state.listener,
            requests_served: state.requests_served,
            peer: state.peer,
            accepted_at: state.accepted_at,
            idle_deadline: state.idle_deadline,
            waited_before_accept_us: state.waited_before_accept_us,
            context: context.map_err(io::Error::other)?.map(Box::new),
            place: state.place.into(),
            seated: state.seated,
            registered: false,
            watched: false,
            silent_us: state.silent_us,
        })
    }

    /// What another image of this process must know of it.
    pub(crate) fn state(&self, id: ConnectionId, place: PlaceState) -> ConnectionState {
        ConnectionState {
            id,
            descriptor: self.descriptor.as_raw_fd(),
            listener: self.listener,
            peer: self.peer,
            accepted_at: self.accepted_at,
            idle_deadline: self.idle_deadline,
            waited_before_accept_us: self.waited_before_accept_us,
            requests_served: self.requests_served,
            context: self.context.as_deref().map(|context| context.to_vec()),
            seated: self.seated,
            silent_us: self.silent_us,
            place,
        }
    }

    /// What its next worker is told with the descriptor.
    pub(crate) fn record(&self, loan: LoanId, lent_at: Nanos) -> LendRecord {
        // Seventy minutes fit; whoever is lent again after more has a hand-off that nobody
        // measures.
        let lent_after_us = u32::try_from(lent_at.since(self.accepted_at).as_micros());
        LendRecord {
            loan,
            listener: self.listener,
            peer: self.peer,
            accepted_at: self.accepted_at,
            idle_deadline: self.idle_deadline,
            requests_served: self.requests_served,
            waited_before_accept_us: self.waited_before_accept_us,
            lent_after_us: lent_after_us.ok().and_then(|us| us.checked_add(1)).unwrap_or(0),
            silent_us: self.silent_us,
            context: self.context.as_deref().copied().unwrap_or([0; CONTEXT_SIZE]),
        }
    }

    /// Its client has spoken, after a while in which there was nothing to serve it for. What is
    /// before the first request is not the server's delay, and neither is the time for which the
    /// kernel had kept it back for saying nothing (`TCP_DEFER_ACCEPT`).
    pub(crate) fn note_spoken(&mut self, now: Nanos) {
        if self.requests_served == 0 && !self.seated {
            let silent = now.since(self.accepted_at).as_micros();
            self.silent_us = u32::try_from(silent).unwrap_or(u32::MAX);
            if self.waited_before_accept_us != u32::MAX {
                self.waited_before_accept_us = 0;
            }
        }
    }

    /// What travels with it through the pages.
    pub(crate) fn terms(&self) -> Terms {
        Terms {
            context: self.context.as_deref().copied().unwrap_or([0; CONTEXT_SIZE]),
            idle_deadline: self.idle_deadline,
            requests_served: self.requests_served,
        }
    }

    /// Takes over what a worker left in its page. No worker can keep a connection for longer than
    /// until `latest` without a request.
    pub(crate) fn take_terms(&mut self, terms: &Terms, latest: Nanos) {
        self.idle_deadline = terms.idle_deadline.min(latest);
        self.requests_served = terms.requests_served;
        self.context = terms.context.iter().any(|byte| *byte != 0).then(|| Box::new(terms.context));
    }

    /// A number that is the same for every connection of one client address.
    pub(crate) fn affinity(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        match self.peer {
            PeerAddress::Inet(address) => address.ip().hash(&mut hasher),
            // All clients of a Unix socket look alike; each connection stands for itself.
            PeerAddress::Local => self.accepted_at.0.hash(&mut hasher),
        }
        hasher.finish()
    }

    /// When it came, its time in the kernel's queue included as far as that is known.
    pub(crate) fn arrived_at(&self) -> Nanos {
        let waited_ns = match self.waited_before_accept_us {
            u32::MAX => 0,
            known => u64::from(known) * 1000,
        };
        Nanos(self.accepted_at.0.saturating_sub(waited_ns))
    }

    /// Has the master's loop told once when it is readable, or its client gone.
    ///
    /// # Errors
    /// No memory, or no room among the watches.
    pub(crate) fn watch_once(&mut self, registry: &Registry, source: Source) -> io::Result<()> {
        if self.registered {
            return epoll::rewatch_oneshot(registry, self.descriptor(), source.token());
        }
        epoll::watch_oneshot(registry, self.descriptor(), source.token())?;
        self.registered = true;
        Ok(())
    }

    /// Where it is.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client that connects early and speaks late has had to wait was taken for the server's
    /// delay, its silence included.
    #[test]
    fn silence_before_the_first_request_is_not_a_wait() {
        let accepted = |waited_before_accept_us| Accepted {
            descriptor: std::fs::File::open("/dev/null").unwrap().into(),
            peer: PeerAddress::Local,
            listener: ListenerId(0),
            accepted_at: Nanos(1_000_000),
            waited_before_accept_us,
            idle_deadline: Nanos::NEVER,
        };
        let loan = LoanId { index: 0, sequence: 0 };
        let mut connections = Connections::new(false);
        let id = connections.insert(accepted(900));
        let connection = connections.get_mut(id).unwrap();
        assert_eq!(connection.record(loan, Nanos(1_000_000)).waiting_since(), Nanos(100_000));
        connection.note_spoken(Nanos(7_000_000));
        let record = connection.record(loan, Nanos(7_005_000));
        assert_eq!(record.waiting_since(), Nanos(7_000_000));
        assert_eq!(record.lent_at(), Some(Nanos(7_005_000)));
        // Between two requests there is nobody who waits either, and nothing is told anew.
        connection.requests_served = 1;
        connection.note_spoken(Nanos(9_000_000));
        assert_eq!(connection.record(loan, Nanos(9_000_000)).silent_us, 6_000);
        // A kernel that cannot say does not become one that can.
        let id = connections.insert(accepted(u32::MAX));
        let connection = connections.get_mut(id).unwrap();
        connection.note_spoken(Nanos(2_000_000));
        let record = connection.record(loan, Nanos(2_000_000));
        assert_eq!(record.waited_before_accept_us, u32::MAX);
        assert_eq!(record.waiting_since(), Nanos(2_000_000));
    }
}
