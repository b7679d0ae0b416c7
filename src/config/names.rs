//! What ways of seating are called: in flags, in the status, and by operators.
//!
//! Not here: what each of them does (`dispatch::policy`, docs/balancing.md).

use std::fmt;

use crate::config::{Balance, Rebalance};

impl Balance {
    /// Every policy, in the order of its number.
    pub const ALL: [Balance; 7] = [
        Balance::RoundRobin,
        Balance::LeastLoaded,
        Balance::TwoChoices,
        Balance::Random,
        Balance::Weighted,
        Balance::LeastLatency,
        Balance::IpHash,
    ];

    /// Its stable name, as `--balance` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Balance::RoundRobin => "round-robin",
            Balance::LeastLoaded => "least-loaded",
            Balance::TwoChoices => "two-choices",
            Balance::Random => "random",
            Balance::Weighted => "weighted",
            Balance::LeastLatency => "least-latency",
            Balance::IpHash => "ip-hash",
        }
    }

    /// The one of this name.
    pub fn of(name: &str) -> Option<Balance> {
        Balance::ALL.into_iter().find(|one| one.name() == name)
    }
}

impl Rebalance {
    /// Every mode, in the order of its number.
    pub const ALL: [Rebalance; 3] = [Rebalance::Never, Rebalance::Auto, Rebalance::Always];

    /// Its stable name, as `--rebalance` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Rebalance::Never => "never",
            Rebalance::Auto => "auto",
            Rebalance::Always => "always",
        }
    }

    /// The one of this name.
    pub fn of(name: &str) -> Option<Rebalance> {
        Rebalance::ALL.into_iter().find(|one| one.name() == name)
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Rebalance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_name_of_its_own_and_stands_where_its_number_says() {
        for (number, one) in Balance::ALL.into_iter().enumerate() {
            assert_eq!((one as usize, Balance::of(one.name())), (number, Some(one)));
        }
        for (number, one) in Rebalance::ALL.into_iter().enumerate() {
            assert_eq!((one as usize, Rebalance::of(one.name())), (number, Some(one)));
        }
        assert_eq!(Balance::of("Random"), None);
    }
}
