//! The worker's end of the channel: loans come in, recalls and orders, and little goes out.
//!
//! Not here: the frames' bytes (`maitred::handoff`), what becomes of a loan (`stream`).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use maitred::config::{DESCRIPTORS_PER_PACKET_MAX, FRAMES_PER_TURN_MAX, LOANS_MAX};
use maitred::handoff::{
    FromMaster, LendRecord, PROTOCOL_VERSION, ReadyRecord, ToMaster, ToWorker, WorkerEnd,
};
use maitred::ident::LoanId;
use maitred::observe::lossy;
use maitred::sys::epoll;
use maitred::worker::sessions::SessionKey;
use tracing::{debug, info, warn};

use crate::asgi::core::{CHANNEL, Core, Effect};
use crate::asgi::session::{Ending, Session, Stage};

/// See the module.
pub(super) struct Intake {
    channel: WorkerEnd,
    /// By the loan's index; dense, because the master uses the lowest places first.
    by_loan: Vec<Option<SessionKey>>,
    /// Frames that the channel would not take yet.
    owed: Vec<ToMaster>,
}

impl Intake {
    pub(super) fn new(channel: OwnedFd) -> Self {
        Intake { channel: WorkerEnd::new(channel), by_loan: Vec::new(), owed: Vec::new() }
    }

    pub(super) fn channel(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    /// Sends a frame, or keeps it until the channel has room.
    pub(super) fn send(&mut self, frame: ToMaster) {
        self.owed.push(frame);
        self.pay_debts();
    }

    /// Sends what the channel would not take before.
    pub(super) fn pay_debts(&mut self) {
        while let Some(frame) = self.owed.first() {
            match self.channel.send(frame) {
                Ok(true) => {
                    self.owed.remove(0);
                }
                Ok(false) => return,
                Err(error) => {
                    debug!(%error, "telling the master");
                    self.owed.clear();
                    return;
                }
            }
        }
    }

    /// Whether a Bell is already on its way: one is enough.
    pub(super) fn owes_bell(&self) -> bool {
        self.owed.contains(&ToMaster::Bell)
    }

    /// A session has gone.
    pub(super) fn forget(&mut self, loan: LoanId, key: SessionKey) {
        if let Some(entry) = self.by_loan.get_mut(loan.index as usize)
            && *entry == Some(key)
        {
            *entry = None;
        }
    }

    fn remember(&mut self, loan: LoanId, key: SessionKey) {
        let index = loan.index as usize;
        if self.by_loan.len() <= index {
            self.by_loan.resize(index + 1, None);
        }
        self.by_loan[index] = Some(key);
    }
}

impl Core {
    /// Says that this worker can serve; connections come from now on.
    ///
    /// # Errors
    /// No memory for a registration.
    pub(super) fn send_ready(&mut self) -> std::io::Result<()> {
        epoll::watch_level(self.poll.registry(), self.intake.channel(), CHANNEL)?;
        self.intake.send(ToMaster::Ready(ReadyRecord {
            version: PROTOCOL_VERSION,
            threads: 0,
            credit: self.settings.credit.unwrap_or(0),
            has_page: true,
            pid: std::process::id(),
        }));
        Ok(())
    }

    /// Takes what the master has sent: a bounded number of frames, up to a packet with room for more.
    pub(super) fn hear_master(&mut self) {
        for _ in 0..FRAMES_PER_TURN_MAX {
            match self.intake.channel.receive() {
                Ok(FromMaster::Empty) => return,
                Ok(FromMaster::Closed) => {
                    // Its end would be reported for ever.
                    epoll::unwatch(self.poll.registry(), self.intake.channel());
                    info!("the master has gone: finishing what is being answered");
                    self.effects.push_back(Effect::MasterGone);
                    return;
                }
                Ok(FromMaster::Frame(ToWorker::Lend(records), descriptors)) => {
                    self.take_loans(&records, descriptors);
                    if records.len() < DESCRIPTORS_PER_PACKET_MAX {
                        return;
                    }
                }
                Ok(FromMaster::Frame(ToWorker::Recall(loans), _)) => {
                    for loan in loans {
                        self.drop_recalled(loan);
                    }
                }
                Ok(FromMaster::Frame(ToWorker::Drain { mode, graceful }, _)) => {
                    self.effects.push_back(Effect::Drain(mode, graceful));
                    return;
                }
                Ok(FromMaster::Frame(ToWorker::Reopen, _)) => lossy::reopen_all(),
                Err(error) => {
                    // Too few descriptors came for what was announced: this process is at its
                    // limit. All of the packet goes back; another worker has room.
                    warn!(%error, "refusing a hand-off");
                    self.page.count_error();
                    if let Some(loans) = error.refused() {
                        self.intake.send(ToMaster::Refuse(loans.to_vec()));
                    }
                }
            }
        }
    }

    fn take_loans(&mut self, records: &[LendRecord], descriptors: Vec<OwnedFd>) {
        for (record, socket) in records.iter().zip(descriptors) {
            if record.loan.index >= LOANS_MAX {
                // Not a place in any page of this version: nothing can be said of it there.
                warn!(loan = %record.loan, "a loan beyond the page");
                continue;
            }
            let mut session = Session::lent(record, socket);
            session.flags.queued = true;
            if self.settings.proxy_protocol.is_some() {
                session.expect_header();
            }
            let key = self.sessions.insert(session);
            self.intake.remember(record.loan, key);
            self.set_deadline(key, record.idle_deadline);
            self.unread += 1;
            self.unclaimed.push_back(key);
        }
    }

    fn drop_recalled(&mut self, loan: LoanId) {
        let Some(Some(key)) = self.intake.by_loan.get(loan.index as usize).copied() else { return };
        // A loan that this worker has let go of meanwhile is not here, or is another one by now.
        let ours = self.sessions.get(key).is_some_and(|session| {
            session.loan == loan && matches!(session.stage, Stage::Waiting(_))
        });
        if ours {
            self.finish(key, Ending::LetGo, None);
        }
    }
}
