//! Which idle loans of a stuck worker have become readable.
//!
//! Each worker has an epoll instance of its own in the master. Nothing is registered there as long
//! as the worker makes progress; when it is first found stuck its loans are, the latest first and a
//! bounded number in a turn, and they stay: the next time only those are missing that have come
//! since. The instance is in the master's own epoll only while its worker is stuck, and asking it
//! costs as much as there is to report, however many loans are idle (`benches/watching.rs`).
//!
//! Readiness is reported by level: what nobody has room for is reported again when it is asked for
//! again, so nothing has to be remembered here. Who gets it, the worker or another, one exchange of
//! its claim word decides.
//!
//! Not here: when to ask, and how much may be taken back (`dispatch`).

use std::io;

use tracing::{debug, warn};

use crate::config::{LOOKS_PER_RESCUE_MAX, READABLE_PER_LOOK_MAX, Rebalance, WATCHES_PER_TURN_MAX};
use crate::ident::{LoanId, Slot};
use crate::loan::LoanState;
use crate::master::Master;
use crate::master::connections::{Connection, Connections};
use crate::master::roster::{SharedPage, Stage};
use crate::master::tokens::Source;
use crate::sys::epoll::{self, ReadySet};
use crate::sys::stream;

/// The loans of one worker, as far as they have been registered.
#[derive(Debug)]
pub(crate) struct IdleWatch {
    ready: ReadySet,
    /// Lent and not registered; the last one is the latest. May hold loans that are over.
    unregistered: Vec<LoanId>,
    /// In the master's own epoll: the worker is stuck.
    is_watching: bool,
}

/// Below this it is not worth looking for loans that are over.
const COMPACT_MIN: usize = 64;

impl IdleWatch {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(IdleWatch { ready: ReadySet::create()?, unregistered: Vec::new(), is_watching: false })
    }

    /// A connection has been lent to this worker.
    pub(crate) fn note_lent(&mut self, loan: LoanId, page: &SharedPage) {
        self.unregistered.push(loan);
        // Amortised: at the most half of the list is over.
        if self.unregistered.len() >= COMPACT_MIN.max(2 * page.on_loan() as usize) {
            self.unregistered.retain(|loan| page.connection(*loan).is_some());
        }
    }

    /// A connection is not this worker's any more.
    pub(crate) fn forget(&self, connection: &mut Connection) {
        if std::mem::take(&mut connection.watched) {
            self.ready.remove(connection.descriptor());
        }
    }

    /// Registers some of the loans that are missing. True if others are still missing.
    fn register_some(&mut self, page: &SharedPage, connections: &mut Connections) -> bool {
        for _ in 0..WATCHES_PER_TURN_MAX {
            let Some(loan) = self.unregistered.pop() else { return false };
            let connection = page.connection(loan).and_then(|id| connections.get_mut(id));
            let Some(connection) = connection else { continue };
            match self.ready.add(connection.descriptor(), encode(loan)) {
                Ok(()) => connection.watched = true,
                // No memory, or no watches left: this one waits for its own worker, as it would
                // anywhere else.
                Err(cause) => warn!(%cause, "watching an idle connection"),
            }
        }
        !self.unregistered.is_empty()
    }
}

/// A loan as the data of its registration.
fn encode(loan: LoanId) -> u64 {
    u64::from(loan.sequence) << 32 | u64::from(loan.index)
}

fn decode(data: u64) -> LoanId {
    LoanId { index: data as u32, sequence: (data >> 32) as u32 }
}

impl Master {
    /// A worker is stuck: from now on what its idle clients send wakes the master.
    pub(super) fn watch(&mut self, slot: Slot) {
        let rescues = self.settings.rebalance == Rebalance::Auto;
        let Some(place) = self.roster.serving(slot).filter(|_| rescues) else { return };
        let Some(member) = self.roster.get_mut(place) else { return };
        if member.proxy.is_some() || member.idle.is_watching {
            return;
        }
        let token = Source::Watched(place).token();
        match epoll::watch_edge(self.poll.registry(), member.idle.ready.as_fd(), token) {
            Ok(()) => member.idle.is_watching = true,
            Err(cause) => warn!(%cause, "watching a stuck worker's idle connections"),
        }
        member.idle.register_some(&member.page, &mut self.connections);
    }

    /// A worker makes progress again, or is not lent to any more.
    pub(super) fn unwatch(&mut self, place: u32) {
        let Some(member) = self.roster.get_mut(place) else { return };
        if std::mem::take(&mut member.idle.is_watching) {
            epoll::unwatch(self.poll.registry(), member.idle.ready.as_fd());
        }
    }

    /// Registers more loans of stuck workers. True if some are still missing.
    pub(super) fn watch_more(&mut self) -> bool {
        let mut missing = false;
        for (_, member) in self.roster.iter_mut() {
            let idle = &mut member.idle;
            if idle.is_watching && !idle.unregistered.is_empty() {
                missing |= idle.register_some(&member.page, &mut self.connections);
                self.dispatcher.handle_idle_readable(member.who.slot);
            }
        }
        missing
    }

    /// Something of a stuck worker's idle connections has become readable.
    pub(super) fn handle_watched(&mut self, place: u32) {
        if let Some(member) = self.roster.get(place)
            && member.stage == Stage::Serving
        {
            self.dispatcher.handle_idle_readable(member.who.slot);
        }
    }

    /// Takes back up to `count` readable idle loans of a stuck worker.
    pub(super) fn rescue(&mut self, slot: Slot, count: u32) {
        let Some(place) = self.roster.serving(slot) else { return };
        let mut found = Vec::with_capacity(READABLE_PER_LOOK_MAX);
        let (mut taken, mut more) = (0, false);
        for _ in 0..LOOKS_PER_RESCUE_MAX {
            let Some(member) = self.roster.get_mut(place) else { break };
            found.clear();
            if let Err(cause) = member.idle.ready.look(&mut found, READABLE_PER_LOOK_MAX) {
                debug!(%cause, "asking for readable connections");
            }
            more = false;
            for loan in found.iter().copied().map(decode) {
                if taken == count {
                    more = true;
                    break;
                }
                taken += u32::from(self.rescue_one(place, slot, loan));
            }
            if taken == count || found.len() < READABLE_PER_LOOK_MAX {
                break;
            }
        }
        self.dispatcher.handle_rescue_over(slot, more);
        self.tell_recalls(place);
    }

    /// Takes one loan back, if it is idle and its client has sent something.
    fn rescue_one(&mut self, place: u32, slot: Slot, loan: LoanId) -> bool {
        let Some(member) = self.roster.get(place) else { return false };
        if member.page.look(loan) != LoanState::Idle {
            // Its worker has claimed it. (LENT ones are recalled by number, not by readiness.)
            return false;
        }
        let Some(id) = self.take_back(place, loan) else { return false };
        let Some(connection) = self.connections.get(id) else { return false };
        if stream::bytes_readable(connection.descriptor()).unwrap_or(0) > 0 {
            let affinity = connection.affinity();
            self.counters.rescued += 1;
            self.dispatcher.handle_rescued(slot, id, affinity);
        } else {
            // Its client is gone; or its worker was quicker to read, and slower to be stuck again.
            self.park(id);
        }
        true
    }
}
