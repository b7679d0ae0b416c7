//! How a worker can break the hand-off protocol: each way with an explanation, and counted.
//!
//! Nothing that such a worker says can be relied on any more, so each of these has one consequence:
//! it is killed and replaced. What an honest worker may do by accident of timing is none of them.
//!
//! Not here: finding out (`master::hearing`, `flood`), what happens to its loans (`loan::settle`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// A way to break the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(usize)]
pub enum Breach {
    /// A packet that is no frame, or that carries descriptors.
    Packet,
    /// A Ready of another version, or a second one.
    Ready,
    /// It spoke of loans before its Ready.
    TooEarly,
    /// A worker with a page sent what only one without a page sends.
    WrongKind,
    /// It refused, took or ended a loan that is not there to be refused, taken or ended.
    WrongLoan,
    /// Its ring names what it has not let go of.
    Ring,
    /// Without a page, it did not take what it was lent within `--handoff-timeout`.
    NotTaken,
    /// It closed its channel and lives on.
    ChannelClosed,
    /// More frames than its loans give it reason for.
    FrameFlood,
    /// It rang its bell without having been asked to.
    BellFlood,
    /// Its alarm rang far more often than `--stall-after` gives it reason for.
    AlarmFlood,
    /// It was stopped and continued again and again.
    StopFlood,
}

impl Breach {
    /// Every way, in order of its number.
    pub const ALL: [Breach; 12] = [
        Breach::Packet,
        Breach::Ready,
        Breach::TooEarly,
        Breach::WrongKind,
        Breach::WrongLoan,
        Breach::Ring,
        Breach::NotTaken,
        Breach::ChannelClosed,
        Breach::FrameFlood,
        Breach::BellFlood,
        Breach::AlarmFlood,
        Breach::StopFlood,
    ];

    /// Its stable name.
    pub fn name(self) -> &'static str {
        match self {
            Breach::Packet => "breach_packet",
            Breach::Ready => "breach_ready",
            Breach::TooEarly => "breach_too_early",
            Breach::WrongKind => "breach_wrong_kind",
            Breach::WrongLoan => "breach_wrong_loan",
            Breach::Ring => "breach_ring",
            Breach::NotTaken => "breach_not_taken",
            Breach::ChannelClosed => "breach_channel_closed",
            Breach::FrameFlood => "breach_frame_flood",
            Breach::BellFlood => "breach_bell_flood",
            Breach::AlarmFlood => "breach_alarm_flood",
            Breach::StopFlood => "breach_stop_flood",
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Breach::Packet => "it sent a packet that cannot be",
            Breach::Ready => "it sent a Ready that cannot be",
            Breach::TooEarly => "it spoke of loans before it was ready",
            Breach::WrongKind => "it has a page, and sent what only a worker without one sends",
            Breach::WrongLoan => "it named a loan that it cannot mean",
            Breach::Ring => "its ring names what it has not let go of",
            Breach::NotTaken => "it did not take a hand-off within --handoff-timeout",
            Breach::ChannelClosed => "it closed its channel and lives on",
            Breach::FrameFlood => "it floods its channel",
            Breach::BellFlood => "it rings its bell without end",
            Breach::AlarmFlood => "its alarm rings without end",
            Breach::StopFlood => "it is stopped and continued without end",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_has_its_number_and_its_own_words() {
        for (number, breach) in Breach::ALL.into_iter().enumerate() {
            assert_eq!(breach as usize, number);
            let same = Breach::ALL.iter().filter(|other| other.to_string() == breach.to_string());
            assert_eq!(same.count(), 1, "{breach}");
        }
    }
}
