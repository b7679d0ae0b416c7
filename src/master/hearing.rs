//! What workers say: their frames, a bounded number in a turn.
//!
//! Not here: the frames' bytes (`handoff`), what a worker says without a frame (`board`,
//! `returning`).

use tracing::{error, warn};

use crate::board::Call;
use crate::config::FRAMES_PER_TURN_MAX;
use crate::dispatch::Shape;
use crate::handoff::{FromWorker, PROTOCOL_VERSION, ReadyRecord, ToMaster};
use crate::ident::{Incarnation, LoanId};
use crate::loan::LoanState;
use crate::master::Master;
use crate::master::roster::Stage;

impl Master {
    /// Reads a worker's frames, a bounded number of them.
    pub(super) fn hear_worker(&mut self, place: u32) {
        for _ in 0..FRAMES_PER_TURN_MAX {
            let Some(member) = self.roster.get_mut(place) else { return };
            let who = member.who;
            match member.channel.receive() {
                Ok(FromWorker::Frame(frame)) => self.handle_frame(place, frame),
                Ok(FromWorker::Empty) => {
                    if let Err(cause) = member.pay_debts() {
                        warn!(
                            worker = who.slot.0, gen = who.generation.0,
                            %cause, "a channel broke"
                        );
                    }
                    return;
                }
                Ok(FromWorker::Closed) => {
                    // It gets nothing more; that it has ended only its pidfd says.
                    self.stop_lending_to(place);
                    return;
                }
                Err(cause) => {
                    error!(worker = who.slot.0, gen = who.generation.0, %cause, "protocol error");
                    self.counters.protocol_errors += 1;
                    self.supervisor.handle_misbehaved(who);
                }
            }
        }
        // There may be more: the edge does not come again.
        self.channels_unread.push(place);
    }

    fn handle_frame(&mut self, place: u32, frame: ToMaster) {
        let Some(member) = self.roster.get_mut(place) else { return };
        let who = member.who;
        match frame {
            ToMaster::Ready(ready) => self.handle_ready(place, who, &ready),
            ToMaster::Refuse(loans) => self.handle_refused(place, &loans),
            // Waking up was its purpose. It has lowered its own flag.
            ToMaster::Bell => member.bell = Call::NOTHING,
            ToMaster::Bye => self.supervisor.recycle(who, self.now),
            ToMaster::Taken(loans) => {
                if let Some(proxy) = &member.proxy {
                    for loan in loans {
                        if member.page.look(loan) == LoanState::Lent
                            && proxy.claim(loan, LoanState::Lent)
                        {
                            proxy.pin(loan, LoanState::Active);
                        }
                    }
                }
            }
            ToMaster::Ended(loans) => {
                if let Some(proxy) = &mut member.proxy {
                    for loan in loans {
                        if member.page.look(loan) == LoanState::Pinned {
                            proxy.end(loan, LoanState::Pinned);
                            proxy.let_go(loan);
                        }
                    }
                }
            }
            ToMaster::Report(report) => member.reported = Some(report),
        }
    }

    fn handle_ready(&mut self, place: u32, who: Incarnation, ready: &ReadyRecord) {
        let Some(member) = self.roster.get_mut(place) else { return };
        if ready.version != PROTOCOL_VERSION || member.stage != Stage::Starting {
            error!(
                worker = who.slot.0, gen = who.generation.0,
                version = ready.version, "a Ready that cannot be"
            );
            self.counters.protocol_errors += 1;
            return self.supervisor.handle_misbehaved(who);
        }
        if !ready.has_page
            && let Err(cause) = member.play_worker_side()
        {
            error!(
                worker = who.slot.0, gen = who.generation.0,
                %cause, "keeping a page for a worker"
            );
            return self.supervisor.handle_misbehaved(who);
        }
        let shape =
            Shape { threads: ready.threads, credit: ready.credit, recallable: ready.has_page };
        self.start_lending_to(place, shape);
        self.supervisor.handle_ready(who, self.now);
    }

    /// All loans of a packet that a worker had no descriptors for.
    fn handle_refused(&mut self, place: u32, loans: &[LoanId]) {
        for loan in loans {
            let Some(member) = self.roster.get_mut(place) else { return };
            let Some(id) = member.page.undo_lend(*loan) else { continue };
            if let Some(connection) = self.connections.get_mut(id) {
                member.idle.forget(connection);
            }
            self.counters.refused += 1;
            self.place_returned(id);
        }
        if let Some(member) = self.roster.get(place) {
            // Nothing more for it in this turn: it has just said that it is full.
            self.dispatcher.handle_back_pressure(member.who.slot, &[]);
        }
    }
}
