//! What workers say: their frames, a bounded number in a turn.
//!
//! Not here: the frames' bytes (`handoff`), what a worker says without a frame (`board`,
//! `returning`).

use tracing::{debug, error, warn};

use crate::board::Call;
use crate::config::{FRAMES_LEFT_MAX, FRAMES_PER_TURN_MAX, LEAVE_NOT_BEFORE, REFUSED_PAUSE};
use crate::dispatch::Shape;
use crate::handoff::{FromWorker, PROTOCOL_VERSION, ReadyRecord, ToMaster};
use crate::ident::{Incarnation, LoanId};
use crate::loan::LoanState;
use crate::master::Master;
use crate::master::roster::Stage;
use crate::supervise::Breach;
use crate::supervise::flood::Noise;

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
            // An event of this turn may still name who has been isolated in it.
            if self.roster.get(place).is_none_or(|member| member.stage == Stage::Ending) {
                return;
            }
            let heard = self.hear_frame(place);
            if heard != Heard::Nothing {
                self.hear_noise(place, Noise::Frame);
            }
            // A worker rings when it has said everything else.
            if heard != Heard::Frame {
                return;
            }
        }
    }

    /// Reads to the end what a worker that has ended had sent, unless it broke the protocol.
    pub(super) fn hear_out(&mut self, place: u32) {
        for _ in 0..FRAMES_LEFT_MAX {
            if self.hear_frame(place) == Heard::Nothing {
                return;
            }
        }
    }

    fn hear_frame(&mut self, place: u32) -> Heard {
        let Some(member) = self.roster.get_mut(place) else { return Heard::Nothing };
        if member.breach.is_some() {
            return Heard::Nothing;
        }
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
                self.handle_channel_closed(place);
                Heard::Nothing
            }
            Err(cause) if cause.is_shortage() => {
                // Not the worker's doing, and what it said is still there: the next call is the next
                // try, as often as frames are read in one go.
                debug!(worker = member.who.slot.0, %cause, "hearing a worker");
                Heard::Frame
            }
            Err(cause) => {
                self.handle_breach(place, Breach::Packet, &cause.to_string());
                Heard::Frame
            }
        }
    }

    /// Sends what channels would not take before. A worker that takes and says nothing is no event:
    /// so this is tried in every turn, and while something is owed there is a turn soon
    /// (`Master::rest`).
    pub(super) fn pay_debts(&mut self) {
        let owing = self.roster.iter().filter(|(_, member)| member.owes());
        let owing: Vec<_> = owing.map(|(place, _)| place).collect();
        for place in owing {
            let Some(member) = self.roster.get_mut(place) else { continue };
            if let Err(cause) = member.pay_debts() {
                let who = member.who;
                warn!(worker = who.slot.0, gen = who.generation.0, %cause, "a channel broke");
                self.handle_channel_closed(place);
            }
        }
    }

    fn handle_frame(&mut self, place: u32, frame: ToMaster) {
        let Some(member) = self.roster.get_mut(place) else { return };
        let who = member.who;
        let speaks_early =
            member.stage == Stage::Starting && !matches!(frame, ToMaster::Ready(_) | ToMaster::Bye);
        if speaks_early {
            return self.handle_breach(place, Breach::TooEarly, "before any Ready");
        }
        let needs_proxy =
            matches!(frame, ToMaster::Taken(_) | ToMaster::Ended(_) | ToMaster::Report(_));
        if needs_proxy && member.proxy.is_none() {
            return self.handle_breach(place, Breach::WrongKind, "Taken, Ended or Report");
        }
        match frame {
            ToMaster::Ready(ready) => self.handle_ready(place, who, &ready),
            ToMaster::Refuse(loans) => self.handle_refused(place, &loans),
            ToMaster::Bell => {}
            ToMaster::Bye => {
                member.leave_at.get_or_insert(self.now.max(member.ready_at + LEAVE_NOT_BEFORE));
            }
            ToMaster::Taken(loans) => {
                for loan in loans {
                    let Some(member) = self.roster.get_mut(place) else { return };
                    let Some(proxy) = &member.proxy else { return };
                    let is_lent = member.page.look(loan) == LoanState::Lent;
                    if is_lent && proxy.claim(loan, LoanState::Lent) {
                        proxy.pin(loan, LoanState::Active);
                    } else {
                        return self.handle_wrong_loan(place, "Taken", loan);
                    }
                }
            }
            ToMaster::Ended(loans) => {
                for loan in loans {
                    let Some(member) = self.roster.get_mut(place) else { return };
                    let Some(proxy) = &mut member.proxy else { return };
                    if member.page.look(loan) != LoanState::Pinned {
                        return self.handle_wrong_loan(place, "Ended", loan);
                    }
                    proxy.end(loan, LoanState::Pinned);
                    proxy.let_go(loan);
                }
            }
            ToMaster::Report(report) => member.reported = Some(report),
        }
    }

    fn handle_ready(&mut self, place: u32, who: Incarnation, ready: &ReadyRecord) {
        let Some(member) = self.roster.get_mut(place) else { return };
        if member.stage == Stage::Ending {
            // It was ready too late, and has been killed.
            return;
        }
        if ready.version != PROTOCOL_VERSION || member.stage != Stage::Starting {
            let detail = format!("of version {}, at stage {:?}", ready.version, member.stage);
            return self.handle_breach(place, Breach::Ready, &detail);
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
        self.note_ready(place, shape);
        self.start_lending_to(place, shape);
        self.supervisor.handle_ready(who, self.now);
    }

    /// All loans of a packet that a worker had no descriptors for.
    fn handle_refused(&mut self, place: u32, loans: &[LoanId]) {
        for loan in loans {
            let Some(member) = self.roster.get_mut(place) else { return };
            if !member.page.may_refuse(*loan) {
                return self.handle_wrong_loan(place, "Refuse", *loan);
            }
            member.refused_until = self.now + REFUSED_PAUSE;
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

    fn handle_wrong_loan(&mut self, place: u32, frame: &str, loan: LoanId) {
        self.handle_breach(place, Breach::WrongLoan, &format!("{frame} names {loan}"));
    }
}
