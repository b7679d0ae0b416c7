//! Policies: which of the workers that have room gets a connection.
//!
//! A policy sees the ledger, numbers only, and picks a place of it that is eligible. It knows no
//! socket, no process and no clock; the randomness it uses is seeded by the caller. What it wants to
//! know of a worker it says once, as a rank ([`rank`]), which the ledger keeps up to date.
//!
//! Not here: credit, who is eligible, stuck workers (`ledger`), queues (`dispatch`).

mod by_rank;
mod greatest;
mod ip_hash;
mod random;
mod round_robin;
mod two_choices;
mod weighted;

use crate::config::Balance;
use crate::dispatch::candidate::Candidate;
use crate::dispatch::ledger::Ledger;

/// A way of choosing.
pub trait Policy: Send {
    /// The place in the ledger of the one that gets the connection; `None` only if none is eligible.
    /// `affinity` is the same number for every connection of one client address.
    fn pick(&mut self, ledger: &Ledger, affinity: u64) -> Option<usize>;
}

/// The policy that goes by a name.
pub fn new(balance: Balance, weights: &[u32], seed: u64) -> Box<dyn Policy> {
    match balance {
        Balance::RoundRobin => Box::<round_robin::RoundRobin>::default(),
        Balance::LeastLoaded | Balance::LeastLatency => Box::<by_rank::ByRank>::default(),
        Balance::TwoChoices => Box::new(two_choices::TwoChoices::new(seed)),
        Balance::Random => Box::new(random::Random::new(seed)),
        Balance::Weighted => Box::new(weighted::Weighted::new(weights)),
        Balance::IpHash => Box::<ip_hash::IpHash>::default(),
    }
}

/// What a policy wants to know of an eligible candidate: less is better. Below `u64::MAX`, which is
/// the rank of all others. Policies that do not look at loads rank all alike.
pub fn rank(balance: Balance) -> fn(&Candidate) -> u64 {
    match balance {
        Balance::LeastLoaded | Balance::TwoChoices => by_rank::load,
        Balance::LeastLatency => by_rank::expected_wait,
        Balance::RoundRobin | Balance::Random | Balance::Weighted | Balance::IpHash => |_| 0,
    }
}
