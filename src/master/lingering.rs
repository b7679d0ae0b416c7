//! Connections that the master answers itself, and closes gently.
//!
//! When a worker has read a request and dies before it answered a byte, the client gets a 502; a
//! request that was shed gets a 503. The answers are canned bytes: the master parses no HTTP. A
//! plain close would reset a client that is still sending, and the answer would be lost with it: so
//! the sending side is shut down, what still comes is thrown away, a bounded amount for a bounded
//! time, and then the connection is closed (RFC 9112 section 9.6).
//!
//! Not here: who deserves which answer (`settling`, `shedding`).

use std::collections::VecDeque;

use mio::Registry;

use crate::account::Outcome;
use crate::config::{LINGER_BYTES_MAX, LINGER_FOR, LINGERING_MAX};
use crate::ident::ConnectionId;
use crate::master::connections::{Connection, Connections, Place};
use crate::master::tokens::Source;
use crate::sys::epoll;
use crate::sys::stream::{self, Received};
use crate::time::Nanos;

/// Those that are being closed, in order of their deadlines (all have the same allowance).
#[derive(Debug, Default)]
pub(crate) struct Lingering {
    queue: VecDeque<(Nanos, ConnectionId, u64)>,
}

/// A canned answer, and what is counted once its client has had the time to read it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastAnswer {
    pub(crate) bytes: &'static [u8],
    pub(crate) outcome: Outcome,
}

/// Whether a lingering connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Linger {
    Over,
    Waiting,
}

impl Lingering {
    /// Answers with canned bytes and begins to close. `Over` means: close it now.
    pub(crate) fn begin(
        &mut self,
        registry: &Registry,
        connections: &mut Connections,
        id: ConnectionId,
        answer: LastAnswer,
        now: Nanos,
    ) -> Linger {
        let Some(connection) = connections.get_mut(id) else { return Linger::Over };
        let socket = connection.descriptor();
        // A fresh connection's send buffer always has room for a line; if the client has stopped
        // reading altogether there is nobody to tell.
        if stream::send(socket, answer.bytes).is_err() || stream::shutdown_write(socket).is_err() {
            return Linger::Over;
        }
        if discard(connection, &mut 0) == Linger::Over {
            return Linger::Over;
        }
        if connection.watch_once(registry, Source::Lingering(id)).is_err() {
            return Linger::Over;
        }
        connections.move_to(id, Place::Lingering { outcome: answer.outcome });
        self.queue.push_back((now + LINGER_FOR, id, 0));
        Linger::Waiting
    }

    /// Until when one lingers, and how much of it has been thrown away.
    pub(crate) fn allowance(&self, id: ConnectionId) -> Option<(Nanos, u64)> {
        let entry = self.queue.iter().find(|(_, other, _)| *other == id);
        entry.map(|(until, _, discarded)| (*until, *discarded))
    }

    /// Goes on with one that another image of this process has answered. False: close it now.
    pub(crate) fn resume(
        &mut self,
        registry: &Registry,
        id: ConnectionId,
        connection: &mut Connection,
        until: Nanos,
        discarded: u64,
    ) -> bool {
        if connection.watch_once(registry, Source::Lingering(id)).is_err() {
            return false;
        }
        let at = self.queue.partition_point(|(other, ..)| *other <= until);
        self.queue.insert(at, (until, id, discarded));
        true
    }

    /// The client has sent more, or gone.
    pub(crate) fn handle_readable(
        &mut self,
        registry: &Registry,
        id: ConnectionId,
        connection: &Connection,
    ) -> Linger {
        let Some((_, _, discarded)) = self.queue.iter_mut().find(|(_, other, _)| *other == id)
        else {
            return Linger::Over;
        };
        let mut linger = discard(connection, discarded);
        if linger == Linger::Waiting {
            let token = Source::Lingering(id).token();
            if epoll::rewatch_oneshot(registry, connection.descriptor(), token).is_err() {
                linger = Linger::Over;
            }
        }
        if linger == Linger::Over {
            self.queue.retain(|(_, other, _)| *other != id);
        }
        linger
    }

    /// How many linger.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// When the next one has had its time.
    pub(crate) fn next_deadline(&self) -> Option<Nanos> {
        self.queue.front().map(|(deadline, _, _)| *deadline)
    }

    /// One more than there may be, the one that has lingered for longest: the caller closes it.
    pub(crate) fn pop_excess(&mut self) -> Option<ConnectionId> {
        let (_, id, _) = (self.queue.len() > LINGERING_MAX).then(|| self.queue.pop_front())??;
        Some(id)
    }

    /// One that has had its time: the caller closes it.
    pub(crate) fn pop_due(&mut self, now: Nanos) -> Option<ConnectionId> {
        let (deadline, id, _) = *self.queue.front()?;
        (deadline <= now).then(|| {
            self.queue.pop_front();
            id
        })
    }
}

fn discard(connection: &Connection, discarded: &mut u64) -> Linger {
    let mut scratch = [0; 4096];
    loop {
        match stream::receive(connection.descriptor(), &mut scratch) {
            Ok(Received::Bytes(count)) => *discarded += count as u64,
            Ok(Received::Empty) => return Linger::Waiting,
            Ok(Received::End) | Err(_) => return Linger::Over,
        }
        if *discarded > LINGER_BYTES_MAX {
            return Linger::Over;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_limit_the_one_that_has_lingered_for_longest_goes() {
        let mut lingering = Lingering::default();
        let count = LINGERING_MAX as u32;
        lingering.queue.extend((0..count).map(|number| (Nanos(1), ConnectionId(number), 0)));
        assert_eq!(lingering.pop_excess(), None);
        lingering.queue.push_back((Nanos(2), ConnectionId(count), 0));
        assert_eq!(lingering.pop_excess(), Some(ConnectionId(0)));
        assert_eq!(lingering.pop_excess(), None);
    }
}
