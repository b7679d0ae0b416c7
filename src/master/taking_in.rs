//! Connections come in: accepted as far as there is room, parked while they are silent.
//!
//! Not here: the listeners (`acceptor`), the set of parked ones (`parked`).

use std::io;
use std::os::fd::AsFd;

use tracing::debug;

use crate::account::Outcome;
use crate::config::App;
use crate::ident::ConnectionId;
use crate::master::Master;
use crate::master::acceptor::Stopped;
use crate::master::connections::{Accepted, Place};
use crate::sys::stream;

impl Master {
    /// Takes from the kernel as much as there is room for.
    pub(super) fn accept(&mut self) {
        // Without workers nobody has room, but a waiting room.
        let wanted = self.supervisor.serving() > 0 || self.dispatcher.is_room_open();
        if self.acceptor.is_closed() || !self.acceptor.lends() || !wanted {
            return;
        }
        let budget = self.dispatcher.accept_budget(self.acceptor.kernel_waits());
        if budget == 0 {
            return;
        }
        self.acceptor.watch_all();
        if self.accept_up_to(budget.min(crate::config::ACCEPTS_PER_TURN_MAX))
            == Stopped::OutOfDescriptors
        {
            // Idle connections make room for what can be served, not for a longer queue.
            let had_ended = !self.ended.is_empty();
            self.ended.clear();
            let made_room = had_ended || !self.dispatcher.is_room_open() && self.make_room();
            if !made_room {
                let cause = io::Error::from_raw_os_error(nix::libc::EMFILE);
                self.acceptor.pause(self.now, &cause);
            }
        }
    }

    pub(super) fn accept_up_to(&mut self, budget: usize) -> Stopped {
        let mut waited_us = None;
        let deadline = self.now + self.settings.http.header_timeout;
        let mut silent = Vec::new();
        let stopped = self.acceptor.accept(budget, self.now, |listener, descriptor, peer| {
            // It costs 0.6 µs. Asked of each one if each is logged, or may be turned away for it; for
            // another program, which may want to know, and for the meters of the first of a batch,
            // which has waited longest.
            let somebody_asks =
                self.meters.is_some() || matches!(self.settings.app, App::Command(_));
            let of_first = waited_us.is_none() && somebody_asks;
            if of_first || self.settings.logs_requests() || self.dispatcher.sheds() {
                let waited = stream::waited_before_accept(descriptor.as_fd());
                waited_us = Some(waited.map_or(u32::MAX, |waited| waited.as_micros() as u32));
            }
            let speaks = stream::bytes_readable(descriptor.as_fd()).unwrap_or(0) > 0;
            let id = self.connections.insert(Accepted {
                descriptor,
                peer,
                listener,
                accepted_at: self.now,
                waited_before_accept_us: waited_us.unwrap_or(u32::MAX),
                idle_deadline: deadline,
            });
            self.counters.accepted += 1;
            if speaks {
                if let Some(connection) = self.connections.get(id) {
                    let since = connection.arrived_at();
                    self.dispatcher.handle_accepted(id, connection.affinity(), since);
                }
            } else {
                // It has said nothing yet: it waits here, and occupies nobody.
                silent.push(id);
            }
        });
        for failure in self.acceptor.take_failures() {
            self.counters.count_accept_error(failure);
        }
        for id in silent {
            self.park(id);
        }
        stopped
    }

    /// Parks a connection until its client speaks.
    pub(super) fn park(&mut self, id: ConnectionId) {
        if self.parked.is_full()
            && let Some((_, longest_silent)) = self.parked.first()
        {
            self.unpark_and_close(longest_silent, Outcome::MadeRoomParked);
        }
        let inserted = self.parked.insert(self.poll.registry(), &mut self.connections, id);
        if let Err(cause) = inserted {
            debug!(%cause, "parking a connection");
            self.close(id, Outcome::SystemRefused);
        }
    }

    /// A parked connection has become readable, or its client is gone.
    pub(super) fn handle_parked_event(&mut self, id: ConnectionId, may_be_over: bool) {
        let Some(connection) = self.connections.get(id) else { return };
        if connection.place() != Place::Parked {
            return;
        }
        self.parked.remove_reported(&mut self.connections, id);
        let Some(connection) = self.connections.get_mut(id) else { return };
        // A client may send and then end its side: only an end with nothing before it is one.
        if !may_be_over || stream::bytes_readable(connection.descriptor()).unwrap_or(0) > 0 {
            connection.note_spoken(self.now);
            let affinity = connection.affinity();
            self.dispatcher.handle_readable(id, affinity);
        } else {
            self.close(id, Outcome::ClientLeft);
        }
    }

    /// Out of descriptors: the connection that has been silent for longest goes. True if one did.
    pub(super) fn make_room(&mut self) -> bool {
        let parked = self.parked.first().map(|(_, id)| id);
        match parked.or_else(|| self.recall_longest_idle()) {
            Some(id) => {
                self.unpark_and_close(id, Outcome::MadeRoom);
                true
            }
            None => false,
        }
    }

    pub(super) fn unpark_and_close(&mut self, id: ConnectionId, outcome: Outcome) {
        self.parked.remove(self.poll.registry(), &mut self.connections, id);
        self.close(id, outcome);
    }
}
