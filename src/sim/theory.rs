//! What queueing theory says, to check the simulator against it. Pure formulas.
//!
//! | | source |
//! |---|---|
//! | M/M/k: who waits, and for how long | Erlang 1917; Kleinrock, "Queueing Systems" I, 3.5 |
//! | M/G/1: the mean wait | Pollaczek 1930, Khinchine 1932 |
//! | many queues, the best of d drawn | Mitzenmacher, IEEE TPDS 2001; Vvedenskaya et al. 1996 |
//!
//! Times are in mean service times.
//!
//! Not here: running anything (`flow`).

/// M/M/k with a load of `rho`, from 0 to 1, on each of `servers`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ErlangC {
    servers: f64,
    rho: f64,
    /// The probability that a request has to wait.
    waits: f64,
}

impl ErlangC {
    /// By the recursion for Erlang's B, which stays in range for any number of servers.
    pub fn new(servers: u32, rho: f64) -> Self {
        let offered = f64::from(servers) * rho;
        let blocked = (1..=servers).fold(1.0, |blocked, count| {
            let share = offered * blocked;
            share / (f64::from(count) + share)
        });
        let waits = blocked / (1.0 - rho * (1.0 - blocked));
        ErlangC { servers: f64::from(servers), rho, waits }
    }

    /// The probability that a request has to wait.
    pub fn waits(&self) -> f64 {
        self.waits
    }

    /// The mean time of a request, its service included.
    pub fn mean(&self) -> f64 {
        1.0 + self.waits / (self.servers * (1.0 - self.rho))
    }

    /// The probability that a request takes longer than this, its service included: first come,
    /// first served.
    pub fn exceeds(&self, time: f64) -> f64 {
        // A wait is 0, or exponential with this rate.
        let rate = self.servers * (1.0 - self.rho);
        let difference = rate - 1.0;
        let both = if difference.abs() < 1e-9 {
            (1.0 + time) * (-time).exp()
        } else {
            (rate * (-time).exp() - (-rate * time).exp()) / difference
        };
        (1.0 - self.waits) * (-time).exp() + self.waits * both
    }

    /// The time that this share of the requests does not exceed.
    pub fn quantile(&self, share: f64) -> f64 {
        let (mut low, mut high) = (0.0, 1.0);
        while self.exceeds(high) > 1.0 - share {
            high *= 2.0;
        }
        for _ in 0..200 {
            let middle = (low + high) / 2.0;
            if self.exceeds(middle) > 1.0 - share { low = middle } else { high = middle }
        }
        high
    }
}

/// The mean wait in M/G/1: `variation` is the service time's variance over its squared mean.
pub fn pollaczek_khinchine(rho: f64, variation: f64) -> f64 {
    rho * (1.0 + variation) / (2.0 * (1.0 - rho))
}

/// The share of queues with at least so many requests, where each of very many requests goes to the
/// shortest of `choices` queues drawn at random.
pub fn at_least(rho: f64, choices: u32, length: u32) -> f64 {
    let exponent = if choices == 1 {
        f64::from(length)
    } else {
        let choices = f64::from(choices);
        (choices.powi(length as i32) - 1.0) / (choices - 1.0)
    };
    rho.powf(exponent)
}

/// Half the width of an interval around the mean of some values, as a share of their standard
/// error: Student's t for 99 % and so many values (the series of Cornish and Fisher; to a
/// thousandth from five values on).
pub fn student_99(count: usize) -> f64 {
    let (z, freedom) = (2.575_829_3_f64, count.saturating_sub(1).max(1) as f64);
    let powers = |power| z.powi(power);
    z + (powers(3) + z) / (4.0 * freedom)
        + (5.0 * powers(5) + 16.0 * powers(3) + 3.0 * z) / (96.0 * freedom * freedom)
        + (3.0 * powers(7) + 19.0 * powers(5) + 17.0 * powers(3) - 15.0 * z)
            / (384.0 * freedom.powi(3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_near(found: f64, expected: f64, off: f64) {
        assert!((found - expected).abs() <= off, "{found} is not {expected}");
    }

    #[test]
    fn one_server_is_the_exponential_law() {
        let queue = ErlangC::new(1, 0.8);
        is_near(queue.waits(), 0.8, 1e-12);
        is_near(queue.mean(), 5.0, 1e-12);
        is_near(queue.quantile(0.99), 100_f64.ln() / 0.2, 1e-9);
    }

    /// Published: the anchors of this project, and Kleinrock's tables.
    #[test]
    fn many_servers_have_their_known_tails() {
        is_near(ErlangC::new(2, 0.8).quantile(0.99), 11.9, 0.05);
        is_near(ErlangC::new(4, 0.8).quantile(0.99), 6.9, 0.05);
        is_near(ErlangC::new(8, 0.8).quantile(0.99), 5.2, 0.05);
        is_near(ErlangC::new(8, 0.9).quantile(0.99), 7.1, 0.05);
        // Where the two rates of the tail meet.
        let meet = ErlangC::new(2, 0.5);
        is_near(meet.exceeds(1.0), ErlangC::new(2, 0.5 + 1e-7).exceeds(1.0), 1e-5);
        assert!(ErlangC::new(1024, 0.95).waits() < 0.1);
    }

    #[test]
    fn a_fixed_service_time_waits_half_as_long_as_an_exponential_one() {
        is_near(pollaczek_khinchine(0.8, 1.0), 4.0, 1e-12);
        is_near(pollaczek_khinchine(0.8, 0.0), 2.0, 1e-12);
    }

    #[test]
    fn two_choices_are_doubly_exponential() {
        let two: Vec<f64> = (0..4).map(|length| at_least(0.9, 2, length)).collect();
        is_near(two[1], 0.9, 1e-12);
        is_near(two[2], 0.9_f64.powi(3), 1e-12);
        is_near(two[3], 0.9_f64.powi(7), 1e-12);
        is_near(at_least(0.9, 1, 3), 0.729, 1e-12);
    }

    /// Against tables of Student's law.
    #[test]
    fn intervals_of_few_values_are_wider() {
        is_near(student_99(10), 3.250, 0.005);
        is_near(student_99(20), 2.861, 0.002);
        is_near(student_99(1000), 2.581, 0.001);
    }
}
