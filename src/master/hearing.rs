//! What workers say: their frames, a bounded number in a turn.
//!
//! Not here: the frames' bytes (`handoff`), what a worker says without a frame (`board`,
//! `returning`).

use std::os::fd::AsFd;

use tracing::{error, warn};

use crate::board::Call;
use crate::config::{FRAMES_LEFT_MAX, FRAMES_PER_TURN_MAX};
use crate::dispatch::Shape;
use crate::handoff::{FromWorker, PROTOCOL_VERSION, ReadyRecord, ToMaster};
use crate::ident::{Incarnation, LoanId};
use crate::loan::LoanState;
use crate::master::Master;
use crate::master::roster::Stage;
use crate::sys::epoll;

/// What reading from a channel has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// A frame, or something that was none.
    Frame,
    /// The worker has rung.
    Bell,
    /// There is no frame.
    Nothing,
}

impl Master {
    /// Reads what a worker has sent, a bounded number of frames. Channels are watched by level: what
    /// is left is reported again, so that one frame costs one system call, and not a second one to
    /// learn that there is no other.
    pub(super) fn hear_worker(&mut self, place: u32) {
        for _ in 0..FRAMES_PER_TURN_MAX {
            match self.hear_frame(place) {
                // A worker rings when it has said everything else.
                Heard::Bell | Heard::Nothing => break,
                Heard::Frame => {}
            }
        }
    }

    /// Reads to the end what a worker that has ended had sent.
    pub(super) fn hear_out(&mut self, place: u32) {
        for _ in 0..FRAMES_LEFT_MAX {
            if self.hear_frame(place) == Heard::Nothing {
                return;
            }
        }
    }

    fn hear_frame(&mut self, place: u32) -> Heard {
        let Some(member) = self.roster.get_mut(place) else { return Heard::Nothing };
        let who = member.who;
        match member.channel.receive() {
            Ok(FromWorker::Frame(ToMaster::Bell)) => {
                // Waking up was its purpose. The worker has lowered its own flag.
                member.call = Call::NOTHING;
                Heard::Bell
            }
            Ok(FromWorker::Frame(frame)) => {
                self.handle_frame(place, frame);
                Heard::Frame
            }
            Ok(FromWorker::Empty) => Heard::Nothing,
            Ok(FromWorker::Closed) => {
                // It gets nothing more; that it has ended only its pidfd says. The end would be
                // reported for ever.
                epoll::unwatch(self.poll.registry(), member.channel.as_fd());
                self.stop_lending_to(place);
                Heard::Nothing
            }
            Err(cause) => {
                error!(worker = who.slot.0, gen = who.generation.0, %cause, "protocol error");
                self.counters.protocol_errors += 1;
                self.supervisor.handle_misbehaved(who);
                Heard::Frame
            }
        }
    }

    /// Sends what channels would not take before. A worker that takes and says nothing is no event:
    /// so this is tried in every turn, and while something is owed there is a turn soon
    /// (`Master::rest`).
    pub(super) fn pay_debts(&mut self) {
        for (_, member) in self.roster.iter_mut().filter(|(_, member)| member.owes()) {
            if let Err(cause) = member.pay_debts() {
                let who = member.who;
                warn!(worker = who.slot.0, gen = who.generation.0, %cause, "a channel broke");
                // Nobody will ever read it: its pidfd will say so, and settle what it has.
                member.forget_debts();
            }
        }
    }

    fn handle_frame(&mut self, place: u32, frame: ToMaster) {
        let Some(member) = self.roster.get_mut(place) else { return };
        let who = member.who;
        match frame {
            ToMaster::Ready(ready) => self.handle_ready(place, who, &ready),
            ToMaster::Refuse(loans) => self.handle_refused(place, &loans),
            ToMaster::Bell => {}
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
