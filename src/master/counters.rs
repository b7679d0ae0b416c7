//! What has become of every connection: counted once each, by reason.
//!
//! Conservation: `accepted = held + finished + aborted(reason) + dropped(reason) +
//! shed(reason)`, at every moment;
//! `held` is the master's table. Every way out of the table goes through [`Counters::count`].
//!
//! Not here: requests (the workers' load reports).

use crate::ident::Slot;
use crate::supervise::Breach;

/// How a connection has left the master's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Outcome {
    /// A worker has ended it in order.
    Finished,
    /// Parked, and its client left, or its time was up.
    LeftIdle,
    /// Its worker died when it had read a request and answered nothing: 502.
    DiedUnanswered,
    /// Its worker died in the middle of an answer, or with state that cannot move: reset.
    DiedAnswering,
    /// Closed to make room: the server was out of descriptors.
    MadeRoom,
    /// Turned away by a 503: it had waited for too long.
    ShedTooOld,
    /// Turned away by a 503: too many were waiting before it.
    ShedTooMany,
    /// The server ended while it was here.
    ServerEnded,
    /// The kernel refused what keeping it would have needed (a registration in epoll).
    SystemRefused,
}

/// Every outcome, in order.
const OUTCOMES: [Outcome; 9] = [
    Outcome::Finished,
    Outcome::LeftIdle,
    Outcome::DiedUnanswered,
    Outcome::DiedAnswering,
    Outcome::MadeRoom,
    Outcome::ShedTooOld,
    Outcome::ShedTooMany,
    Outcome::ServerEnded,
    Outcome::SystemRefused,
];

/// The counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Connections taken from the kernel.
    pub(crate) accepted: u64,
    /// Loans made.
    pub(crate) lent: u64,
    /// Loans taken back because they had not been claimed.
    pub(crate) recalled: u64,
    /// Idle loans of stuck workers taken back because their clients had sent something.
    pub(crate) rescued_idle: u64,
    /// Loans that workers refused.
    pub(crate) refused: u64,
    /// Loans given back.
    pub(crate) given: u64,
    /// Connections of dead workers that were seated again or parked.
    pub(crate) rescued: u64,
    /// Workers that broke the protocol, by how they did.
    breaches: [u64; Breach::ALL.len()],
    outcomes: [u64; OUTCOMES.len()],
    /// By slot: connections whose first worker was there.
    seated: Vec<u64>,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Outcome::Finished => "finished",
            Outcome::LeftIdle => "left_idle",
            Outcome::DiedUnanswered => "died_unanswered",
            Outcome::DiedAnswering => "died_answering",
            Outcome::MadeRoom => "made_room",
            Outcome::ShedTooOld => "shed_too_old",
            Outcome::ShedTooMany => "shed_too_many",
            Outcome::ServerEnded => "server_ended",
            Outcome::SystemRefused => "system_refused",
        }
    }
}

impl Counters {
    /// A connection has left the table.
    pub(crate) fn count(&mut self, outcome: Outcome) {
        self.outcomes[outcome as usize] += 1;
    }

    /// A connection has been lent for the first time.
    pub(crate) fn count_seated(&mut self, slot: Slot) {
        let place = usize::from(slot.0);
        if self.seated.len() <= place {
            self.seated.resize(place + 1, 0);
        }
        self.seated[place] += 1;
    }

    /// A worker has broken the protocol.
    pub(crate) fn count_breach(&mut self, breach: Breach) {
        self.breaches[breach as usize] += 1;
    }

    /// Workers that broke the protocol, in whatever way.
    pub(crate) fn protocol_errors(&self) -> u64 {
        self.breaches.iter().sum()
    }

    /// First seatings by slot, as a list to read.
    pub(crate) fn seated(&self) -> String {
        let numbers: Vec<_> = self.seated.iter().map(u64::to_string).collect();
        numbers.join(" ")
    }

    /// Every counter, by the name under which another image of this process finds it again.
    pub(crate) fn by_name(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let gone = OUTCOMES.iter().map(|outcome| (outcome.name(), self.of(*outcome)));
        let others = [
            ("accepted", self.accepted),
            ("lent", self.lent),
            ("recalled", self.recalled),
            ("rescued_idle", self.rescued_idle),
            ("refused", self.refused),
            ("given", self.given),
            ("rescued", self.rescued),
        ];
        gone.chain(others)
    }

    /// Sets a counter that another image of this process has kept. A name that is not known here is
    /// of a reason that does not exist any more: the rest would not add up without it.
    pub(crate) fn restore(&mut self, name: &str, count: u64) {
        let outcome = OUTCOMES.iter().find(|outcome| outcome.name() == name);
        let counter = match (name, outcome) {
            (_, Some(outcome)) => &mut self.outcomes[*outcome as usize],
            ("accepted", _) => &mut self.accepted,
            ("lent", _) => &mut self.lent,
            ("recalled", _) => &mut self.recalled,
            ("rescued_idle", _) => &mut self.rescued_idle,
            ("refused", _) => &mut self.refused,
            ("given", _) => &mut self.given,
            ("rescued", _) => &mut self.rescued,
            _ => &mut self.outcomes[Outcome::Finished as usize],
        };
        *counter += count;
    }

    pub(crate) fn seated_by_slot(&self) -> &[u64] {
        &self.seated
    }

    pub(crate) fn restore_seated(&mut self, seated: Vec<u64>) {
        self.seated = seated;
    }

    /// How many have left so.
    pub(crate) fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// Panics unless every connection that was accepted is held or has an outcome.
    pub(crate) fn check_invariants(&self, held: usize) {
        let gone: u64 = OUTCOMES.iter().map(|outcome| self.of(*outcome)).sum();
        assert_eq!(self.accepted, held as u64 + gone, "conservation of connections: {self:?}");
    }
}
