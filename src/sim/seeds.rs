//! Seeds from a seed: one for each purpose and repetition, so that what one stream draws changes
//! nothing in another, and all arms see the same arrivals.
//!
//! Not here: what is drawn.

/// What a seed is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// When requests come.
    Arrivals = 1,
    /// How long they take.
    Services = 2,
    /// Policies, hashes and jitter of a server.
    Server = 3,
    /// A balancer in front of servers.
    Balancer = 4,
    /// What befalls workers.
    Faults = 5,
}

/// The seed of a purpose in a repetition: SplitMix64's output function (Steele, Lea & Flood 2014).
pub fn seed(seed: u64, purpose: Purpose, repetition: u64) -> u64 {
    let index = (purpose as u64) << 48 ^ repetition;
    let mut mixed = seed.wrapping_add((index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_and_repetitions_have_seeds_of_their_own() {
        let mut seeds: Vec<u64> = (0..100)
            .flat_map(|one| [Purpose::Arrivals, Purpose::Server].map(|of| seed(1, of, one)))
            .collect();
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 200);
    }
}
