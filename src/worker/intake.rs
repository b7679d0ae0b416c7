//! Where this worker's connections come from: loans, over the channel from the master.
//!
//! Everything that the master says arrives here and becomes sessions, recalls, or a change of what
//! the worker is to do with its connections.
//!
//! Not here: the frames' bytes (`handoff`), what a session does with its turn (`session`).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, warn};

use crate::app::Origin;
use crate::config::{DESCRIPTORS_PER_PACKET_MAX, FRAMES_PER_TURN_MAX, LOANS_MAX};
use crate::handoff::{DrainMode, FromMaster, LendRecord, ToMaster, ToWorker, WorkerEnd};
use crate::http::Connection;
use crate::ident::LoanId;
use crate::worker::session::{Arrival, Session, Stage, Tenure, Verdict};
use crate::worker::sessions::{SessionKey, Sessions};
use crate::worker::shell::Shell;

/// The worker's end of the channel, and which session holds which loan.
pub(crate) struct Intake {
    channel: WorkerEnd,
    /// By the loan's index; dense, because the master reuses the lowest places first.
    by_loan: Vec<Option<SessionKey>>,
    /// Frames that the channel would not take yet.
    owed: Vec<ToMaster>,
}

/// What the loop must know of what the master said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nothing beyond connections.
    Nothing,
    /// Drain, and how long it may take.
    Drain(DrainMode, Duration),
    /// Log files have been moved.
    Reopen,
    /// The master has gone.
    MasterGone,
}

impl Intake {
    pub(crate) fn new(channel: WorkerEnd) -> Self {
        Intake { channel, by_loan: Vec::new(), owed: Vec::new() }
    }

    /// The channel, to be watched by level: what is not received is reported again.
    pub(crate) fn channel(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    /// Takes what the master has sent, a bounded number of frames; up to a packet with room for more,
    /// which is the last thing that the master says in its turn.
    pub(crate) fn receive(&mut self, sessions: &mut Sessions<Session>, shell: &mut Shell) -> Told {
        for _ in 0..FRAMES_PER_TURN_MAX {
            match self.channel.receive() {
                Ok(FromMaster::Empty) => return Told::Nothing,
                Ok(FromMaster::Closed) => {
                    return Told::MasterGone;
                }
                Ok(FromMaster::Frame(ToWorker::Lend(records), descriptors)) => {
                    self.take_loans(&records, descriptors, sessions, shell);
                    if records.len() < DESCRIPTORS_PER_PACKET_MAX {
                        return Told::Nothing;
                    }
                }
                Ok(FromMaster::Frame(ToWorker::Recall(loans), _)) => {
                    for loan in loans {
                        self.drop_recalled(loan, sessions, shell);
                    }
                }
                Ok(FromMaster::Frame(ToWorker::Drain { mode, graceful }, _)) => {
                    return Told::Drain(mode, graceful);
                }
                Ok(FromMaster::Frame(ToWorker::Reopen, _)) => return Told::Reopen,
                Err(error) => {
                    // Too few descriptors came for what was announced: this process is at its
                    // limit. All of the packet goes back; another worker has room.
                    warn!(%error, "refusing a hand-off");
                    shell.count_error();
                    if let Some(loans) = error.refused() {
                        self.send(ToMaster::Refuse(loans.to_vec()));
                    }
                }
            }
        }
        Told::Nothing
    }

    /// Sends a frame, or keeps it until the channel has room.
    pub(crate) fn send(&mut self, frame: ToMaster) {
        self.owed.push(frame);
        self.pay_debts();
    }

    /// Sends what the channel would not take before.
    pub(crate) fn pay_debts(&mut self) {
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

    /// Whether the master has yet to be told something: the channel was full.
    pub(crate) fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Whether a Bell is already on its way: one is enough.
    pub(crate) fn owes_bell(&self) -> bool {
        self.owed.contains(&ToMaster::Bell)
    }

    /// A session has gone.
    pub(crate) fn forget(&mut self, loan: LoanId, key: SessionKey) {
        if let Some(entry) = self.by_loan.get_mut(loan.index as usize)
            && *entry == Some(key)
        {
            *entry = None;
        }
    }

    fn take_loans(
        &mut self,
        records: &[LendRecord],
        descriptors: Vec<OwnedFd>,
        sessions: &mut Sessions<Session>,
        shell: &mut Shell,
    ) {
        for (record, socket) in records.iter().zip(descriptors) {
            if record.loan.index >= LOANS_MAX {
                // Not a place in any page of this version: nothing can be said of it there.
                warn!(loan = %record.loan, "a loan beyond the page");
                continue;
            }
            let origin = Origin::of_peer(record.peer, record.listener, shell.who);
            let http = Connection::new(Arc::clone(&shell.limits));
            let session = Session::new(Arrival::lent(record), socket, http, origin);
            let key = sessions.insert(session);
            let index = record.loan.index as usize;
            if self.by_loan.len() <= index {
                self.by_loan.resize(index + 1, None);
            }
            self.by_loan[index] = Some(key);
            if let Some(session) = sessions.get_mut(key) {
                session.begin(key, shell, record.idle_deadline);
            }
        }
    }

    fn drop_recalled(&mut self, loan: LoanId, sessions: &mut Sessions<Session>, shell: &mut Shell) {
        let Some(Some(key)) = self.by_loan.get(loan.index as usize).copied() else { return };
        // A loan that this worker has let go of meanwhile is not here, or is another one by now.
        let ours = sessions.get(key).is_some_and(|session| {
            session.tenure() == Tenure::Lent(loan) && matches!(session.stage(), Stage::Waiting(_))
        });
        if ours && let Some(session) = sessions.remove(key) {
            self.by_loan[loan.index as usize] = None;
            session.finish(Verdict::LetGo, key, shell);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handoff::{FromWorker, MasterEnd};
    use crate::sys::fdpass;

    /// A refusal that a full channel did not take was only tried again when the master said something
    /// more: its connections waited for that.
    #[test]
    fn what_a_full_channel_did_not_take_is_owed_until_it_is_sent() {
        let (ours, theirs) = fdpass::socketpair().unwrap();
        let (mut master, mut intake) = (MasterEnd::new(ours), Intake::new(WorkerEnd::new(theirs)));
        let refusal = |index| ToMaster::Refuse(vec![LoanId { index, sequence: 0 }]);
        let mut said = 0;
        while !intake.owes() {
            intake.send(refusal(said));
            said += 1;
        }
        intake.pay_debts();
        assert!(intake.owes(), "nobody has made room");
        let mut heard = 0;
        while let FromWorker::Frame(frame) = master.receive().unwrap() {
            assert_eq!(frame, refusal(heard));
            heard += 1;
            intake.pay_debts();
        }
        assert_eq!(heard, said);
        assert!(!intake.owes());
    }
}
