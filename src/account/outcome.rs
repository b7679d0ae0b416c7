//! How a connection leaves: every outcome, its stable name, and an explanation.
//!
//! Not here: who decides it (`master::settling`, `shedding`, `taking_in`, `returning`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a connection has left the master's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(usize)]
pub enum Outcome {
    /// A worker has ended it in order.
    Finished,
    /// Parked, and its client left.
    ClientLeft,
    /// Parked, and its client said nothing for too long.
    SilentTooLong,
    /// Idle when the server stopped listening.
    IdleAtStop,
    /// Turned away by a 503: it had waited for too long.
    ShedTooOld,
    /// Turned away by a 503: too many were waiting before it.
    ShedTooMany,
    /// Its worker died when it had read a request and answered nothing: 502.
    DiedUnanswered,
    /// Its worker died in the middle of an answer: reset.
    DiedAnswering,
    /// Its worker died with state of the connection that cannot move (TLS, an upgrade, a worker
    /// without a page): reset.
    DiedPinned,
    /// Its worker died and left a claim word that no honest worker writes: reset.
    DiedGarbled,
    /// Idle, and closed because the server was out of descriptors.
    MadeRoom,
    /// Idle, and closed because as many were parked as may be.
    MadeRoomParked,
    /// The server ended while it was here.
    ServerEnded,
    /// The kernel refused what keeping it would have needed (a registration in epoll).
    SystemRefused,
}

/// What kind of an end an outcome is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// In order, by the worker that had it.
    Finished,
    /// Between two requests, or before the first: nobody waited for an answer.
    EndedIdle,
    /// Turned away with a 503.
    Shed,
    /// Cut off.
    Aborted,
}

impl Group {
    /// Every group, in order.
    pub const ALL: [Group; 4] = [Group::Finished, Group::EndedIdle, Group::Shed, Group::Aborted];

    /// Its stable name.
    pub fn name(self) -> &'static str {
        match self {
            Group::Finished => "finished",
            Group::EndedIdle => "ended_idle",
            Group::Shed => "shed",
            Group::Aborted => "aborted",
        }
    }
}

impl Outcome {
    /// Every outcome, in the order of its number.
    pub const ALL: [Outcome; 14] = [
        Outcome::Finished,
        Outcome::ClientLeft,
        Outcome::SilentTooLong,
        Outcome::IdleAtStop,
        Outcome::ShedTooOld,
        Outcome::ShedTooMany,
        Outcome::DiedUnanswered,
        Outcome::DiedAnswering,
        Outcome::DiedPinned,
        Outcome::DiedGarbled,
        Outcome::MadeRoom,
        Outcome::MadeRoomParked,
        Outcome::ServerEnded,
        Outcome::SystemRefused,
    ];

    /// What kind of an end it is.
    pub fn group(self) -> Group {
        match self {
            Outcome::Finished => Group::Finished,
            Outcome::ClientLeft | Outcome::SilentTooLong | Outcome::IdleAtStop => Group::EndedIdle,
            Outcome::ShedTooOld | Outcome::ShedTooMany => Group::Shed,
            Outcome::DiedUnanswered
            | Outcome::DiedAnswering
            | Outcome::DiedPinned
            | Outcome::DiedGarbled
            | Outcome::MadeRoom
            | Outcome::MadeRoomParked
            | Outcome::ServerEnded
            | Outcome::SystemRefused => Group::Aborted,
        }
    }

    /// Its stable name: the group's, and the reason where there are several.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Finished => "finished",
            Outcome::ClientLeft => "ended_idle_client_left",
            Outcome::SilentTooLong => "ended_idle_silent_too_long",
            Outcome::IdleAtStop => "ended_idle_at_stop",
            Outcome::ShedTooOld => "shed_too_old",
            Outcome::ShedTooMany => "shed_too_many",
            Outcome::DiedUnanswered => "aborted_died_unanswered",
            Outcome::DiedAnswering => "aborted_died_answering",
            Outcome::DiedPinned => "aborted_died_pinned",
            Outcome::DiedGarbled => "aborted_died_garbled",
            Outcome::MadeRoom => "aborted_made_room",
            Outcome::MadeRoomParked => "aborted_made_room_parked",
            Outcome::ServerEnded => "aborted_server_ended",
            Outcome::SystemRefused => "aborted_system_refused",
        }
    }

    /// The part of its name behind the group's; the whole where a group has one outcome only.
    pub fn reason(self) -> &'static str {
        let (name, group) = (self.name(), self.group().name());
        name.strip_prefix(group).and_then(|rest| rest.strip_prefix('_')).unwrap_or(name)
    }

    /// A sentence for people.
    pub fn explanation(self) -> &'static str {
        match self {
            Outcome::Finished => "its worker ended it in order",
            Outcome::ClientLeft => "its client left while it was idle",
            Outcome::SilentTooLong => {
                "its client said nothing within --header-timeout or --keep-alive"
            }
            Outcome::IdleAtStop => "it was idle when the server stopped listening",
            Outcome::ShedTooOld => "503: it had waited for --queue-timeout",
            Outcome::ShedTooMany => "503: --max-queue others were waiting before it",
            Outcome::DiedUnanswered => "502: its worker died before it had answered anything",
            Outcome::DiedAnswering => "reset: its worker died in the middle of an answer",
            Outcome::DiedPinned => "reset: its worker died with state that cannot move",
            Outcome::DiedGarbled => "reset: its worker died and left nonsense in its page",
            Outcome::MadeRoom => "idle for longest when descriptors ran out",
            Outcome::MadeRoomParked => "idle for longest when as many were parked as may be",
            Outcome::ServerEnded => "the server ended while it was here",
            Outcome::SystemRefused => "the kernel refused to watch it",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.explanation())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_outcome_has_its_number_and_a_name_that_begins_with_its_group() {
        let mut names = BTreeSet::new();
        for (number, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, number);
            assert!(names.insert(outcome.name()), "{outcome:?}");
            assert!(outcome.name().starts_with(outcome.group().name()), "{outcome:?}");
            assert!(!outcome.to_string().is_empty());
        }
        assert_eq!(Outcome::ShedTooOld.reason(), "too_old");
        assert_eq!(Outcome::IdleAtStop.reason(), "at_stop");
        assert_eq!(Outcome::Finished.reason(), "finished");
    }
}
