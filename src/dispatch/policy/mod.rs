//! Policies: which of the workers that have room gets a connection.
//!
//! A policy sees candidates, numbers only, and picks one that is eligible. It knows no socket, no
//! process and no clock; the randomness it uses is seeded by the caller. Who is eligible is not its
//! business (`ledger`), nor is what happens to the pick.
//!
//! Not here: credit and stuck workers (`ledger`), queues (`dispatch`).

mod ip_hash;
mod least_latency;
mod least_loaded;
mod random;
mod round_robin;
mod two_choices;
mod weighted;

use crate::config::Balance;
use crate::dispatch::candidate::Candidate;

/// A way of choosing.
pub trait Policy: Send {
    /// The place, in `candidates`, of the one that gets the connection; `None` only if none is
    /// eligible. `affinity` is the same number for every connection of one client address.
    fn pick(&mut self, candidates: &[Candidate], affinity: u64) -> Option<usize>;
}

/// The policy that goes by a name.
pub fn new(balance: Balance, weights: &[u32], seed: u64) -> Box<dyn Policy> {
    match balance {
        Balance::RoundRobin => Box::<round_robin::RoundRobin>::default(),
        Balance::LeastLoaded => Box::<least_loaded::LeastLoaded>::default(),
        Balance::TwoChoices => Box::new(two_choices::TwoChoices::new(seed)),
        Balance::Random => Box::new(random::Random::new(seed)),
        Balance::Weighted => Box::new(weighted::Weighted::new(weights)),
        Balance::LeastLatency => Box::<least_latency::LeastLatency>::default(),
        Balance::IpHash => Box::new(ip_hash::IpHash),
    }
}

/// The eligible candidate with the smallest key. Among equals the turn rotates: the first one from
/// `next` on wins, so that ties (most decisions of an idle server) are spread and do not all go to
/// the lowest number.
fn least_by_key<K: Ord>(
    candidates: &[Candidate],
    next: &mut usize,
    key: impl Fn(&Candidate) -> K,
) -> Option<usize> {
    let count = candidates.len();
    let begin = if *next < count { *next } else { 0 };
    let mut best: Option<(K, usize)> = None;
    for place in (begin..count).chain(0..begin) {
        let candidate = &candidates[place];
        if !candidate.is_eligible() {
            continue;
        }
        let key = key(candidate);
        if best.as_ref().is_none_or(|(least, _)| key < *least) {
            best = Some((key, place));
        }
    }
    let (_, place) = best?;
    *next = place + 1;
    Some(place)
}
