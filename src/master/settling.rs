//! When a worker has ended, or is to leave: what becomes of the connections that it was lent.
//!
//! A worker has ended when its pidfd says so. Then, in this order: it is reaped; its channel is read
//! to the end; its ring, and its page a last time; and each loan is settled by the master's record
//! and the claim word. What nobody has read is seated again, bytes intact. Nothing that was read is
//! replayed.
//!
//! Not here: the rules (`loan::settle`), when a worker is to leave (`supervise`).

use std::fmt;

use tracing::{info, warn};

use crate::account::{HappenedKind, Outcome};
use crate::board::Settled;
use crate::handoff::{DrainMode, ToWorker};
use crate::loan::{ResetReason, Settlement};
use crate::master::Master;
use crate::master::lingering::LastAnswer;
use crate::master::naming;
use crate::supervise::{Cause, Exit};
use crate::sys::stream;

/// The answer to a request whose worker died with it. No Date: an origin server without a clock may
/// leave it out, and the master makes no HTTP but this.
const BAD_GATEWAY: LastAnswer = LastAnswer {
    bytes: b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\n\
        Content-Length: 49\r\nConnection: close\r\n\r\n\
        The worker that had this request ended meanwhile\n",
    outcome: Outcome::DiedUnanswered,
};

/// How a worker has ended, in a sentence.
struct Died {
    how: Exit,
    /// Why the master killed it.
    cause: Option<Cause>,
    /// Requests without an answer.
    lost: u32,
    running: Option<String>,
}

impl fmt::Display for Died {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.how.fmt(f)?;
        if let Some(cause) = self.cause {
            write!(f, ", killed: {cause}")?;
        }
        if self.lost > 0 {
            write!(f, ", {} requests lost", self.lost)?;
        }
        match &self.running {
            Some(running) => write!(f, ", in {running}"),
            None => Ok(()),
        }
    }
}

impl Master {
    /// A worker's process has ended, and is reaped.
    pub(super) fn settle(&mut self, place: u32, how: Exit) {
        self.hear_out(place);
        let mut let_go = Vec::new();
        while self.roster.get(place).is_some_and(|member| member.page.ring_waits()) {
            let before = let_go.len();
            self.harvest_one(place, &mut let_go);
            if let_go.len() == before {
                // It lies; its words are still good.
                break;
            }
        }
        for one in &let_go {
            self.handle_let_go(place, one);
        }
        self.stop_lending_to(place);
        let Some(mut member) = self.roster.remove(self.poll.registry(), place) else { return };
        let who = member.who;
        // What ends in order leaves nothing behind.
        let running = naming::running_calls(&member, self.now).filter(|_| how != Exit::Code(0));
        let settled = member.page.settle_all();
        let mut lost_to_it = 0_u32;
        for one in &settled {
            lost_to_it += u32::from(self.settle_one(one));
        }
        for id in member.outbox.drain(..) {
            self.place_returned(id);
        }
        info!(
            worker = who.slot.0, gen = who.generation.0, pid = member.child.pid(),
            %how, loans = settled.len(), unfinished = lost_to_it, running = running.as_deref(),
            "worker ended"
        );
        if member.breach.is_some() {
            // It was not read to its end.
            member.channel.dispose();
        }
        let died = Died { how, cause: member.killed_for, lost: lost_to_it, running };
        let kind = if how == Exit::Code(0) { HappenedKind::Ended } else { HappenedKind::Died };
        self.happened(kind, Some((who, member.child.pid())), &died.to_string());
        self.log_account();
        let restart = self.supervisor.handle_exited(who, how, self.now);
        self.counters.count_restart(restart);
    }

    /// Settles one loan; true if its client loses an answer by it.
    fn settle_one(&mut self, settled: &Settled) -> bool {
        let id = settled.connection;
        let latest = self.latest_deadline();
        let Some(connection) = self.connections.get_mut(id) else { return false };
        match settled.settlement {
            Settlement::Elsewhere => return false,
            Settlement::SeatAgain | Settlement::Idle => {
                self.counters.outlived += 1;
                // Its terms are as the worker left them, if it has ever had the connection; its watch
                // has gone with it.
                if settled.settlement != Settlement::SeatAgain {
                    connection.take_terms(&settled.terms, latest);
                }
                connection.watched = false;
                self.place_returned(id);
                return false;
            }
            Settlement::BadGateway => {
                self.answer_last(id, BAD_GATEWAY);
            }
            Settlement::Reset(why) => {
                if let Err(cause) = stream::reset(connection.descriptor()) {
                    warn!(%cause, "resetting a connection");
                }
                self.leave(
                    id,
                    match why {
                        ResetReason::Answering => Outcome::DiedAnswering,
                        ResetReason::Pinned => Outcome::DiedPinned,
                        ResetReason::Garbled => Outcome::DiedGarbled,
                    },
                );
            }
            Settlement::Close => {
                self.leave(id, Outcome::Finished);
                return false;
            }
        }
        true
    }

    /// A worker is to leave: what it has not claimed comes back at once, what it has it finishes.
    pub(super) fn drain(&mut self, place: u32, mode: DrainMode) {
        self.take_back_unclaimed(place, false);
        let graceful = self.settings.lifecycle.graceful_timeout;
        if let Some(member) = self.roster.get_mut(place) {
            member.frames_owed.push_back(ToWorker::Drain { mode, graceful });
        }
        self.tell_recalls(place);
    }
}
