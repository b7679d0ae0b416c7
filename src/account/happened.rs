//! What has happened that people ask about later: which worker died and why, who reloaded, what was
//! switched.
//!
//! Not here: who keeps it (`master::admin`, `admin`), what is only counted ([`Counters`]).
//!
//! [`Counters`]: super::Counters

use serde::{Deserialize, Serialize};

use crate::ident::Incarnation;

/// One thing that has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happened {
    /// Rises by one with each: who finds a gap has missed something.
    pub sequence: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What.
    pub kind: HappenedKind,
    /// The worker that it is about, and its process.
    pub worker: Option<(Incarnation, u32)>,
    /// One sentence.
    pub text: String,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum HappenedKind {
    /// A worker process was started.
    Started = 0,
    /// A worker can serve.
    Ready = 1,
    /// A worker process has ended in order.
    Ended = 2,
    /// A worker process has ended otherwise.
    Died = 3,
    /// A worker has made no progress for a while.
    Stuck = 4,
    /// It makes progress again.
    Recovered = 5,
    /// Workers are being replaced, or have been, or were not.
    Reload = 6,
    /// Another number of workers is wanted.
    Scale = 7,
    /// A slot was taken out of service.
    Drain = 8,
    /// It is in service again.
    Undrain = 9,
    /// Connections are seated in another way.
    Policy = 10,
    /// Another version of the program has taken over.
    Upgrade = 11,
    /// The server was told to end.
    Stop = 12,
}

impl HappenedKind {
    /// Every kind, in the order of its number.
    pub const ALL: [HappenedKind; 13] = [
        HappenedKind::Started,
        HappenedKind::Ready,
        HappenedKind::Ended,
        HappenedKind::Died,
        HappenedKind::Stuck,
        HappenedKind::Recovered,
        HappenedKind::Reload,
        HappenedKind::Scale,
        HappenedKind::Drain,
        HappenedKind::Undrain,
        HappenedKind::Policy,
        HappenedKind::Upgrade,
        HappenedKind::Stop,
    ];

    /// Its stable name.
    pub fn name(self) -> &'static str {
        match self {
            HappenedKind::Started => "started",
            HappenedKind::Ready => "ready",
            HappenedKind::Ended => "ended",
            HappenedKind::Died => "died",
            HappenedKind::Stuck => "stuck",
            HappenedKind::Recovered => "recovered",
            HappenedKind::Reload => "reload",
            HappenedKind::Scale => "scale",
            HappenedKind::Drain => "drain",
            HappenedKind::Undrain => "undrain",
            HappenedKind::Policy => "policy",
            HappenedKind::Upgrade => "upgrade",
            HappenedKind::Stop => "stop",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_stands_where_its_number_says() {
        for (number, kind) in HappenedKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number, "{}", kind.name());
        }
    }
}
