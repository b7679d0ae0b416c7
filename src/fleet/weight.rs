//! The weight law: from the load of one node to the share of the fleet's traffic that it asks for.
//!
//! ```text
//!   load ──▶ [ low pass, τ ] ──▶ ln weight = −G · (load − L₀), 0 below L₀ ──▶ [ slew ] ──▶ %
//!     ▲                                                                                    │
//!     └──────────── traffic of this node = all traffic · weight / sum of weights ◀─────────┘
//! ```
//!
//! # Why this is stable
//!
//! No node knows the others. Each lowers its weight as its own load rises, as generators on one grid
//! share what is drawn from it by letting their speed droop; wherever loads differ, the ratio of the
//! weights differs until traffic has moved. The balancer makes shares of weights, so only *ratios*
//! matter, and the law is linear in the logarithm: a load that is higher by so much costs the same
//! factor of weight everywhere.
//!
//! The loop, linearised at load u with share s of all traffic: a weight that is higher by 1 % gives
//! (1−s) % more traffic, hence a load higher by u·(1−s) %, hence a weight lower by G·u·(1−s) %. Its
//! gain is K = G·u·(1−s) < G. Behind a low pass of time constant τ that is a loop of the first
//! order, with the closed time constant τ/(1+K), and no gain makes it oscillate but for the delay in
//! it: the balancer asks every T seconds and holds what it heard (T/2 on average), and looks come
//! every [`FLEET_LOOK`]. The loop crosses unity gain at K/τ; the phase that a delay d takes there is
//! K·d/τ radians, and 60° of margin remain while K·d/τ ≤ 0.5. With G = 6 and τ = 20 s, K/τ is at
//! most 0.3 per second, so d may be 1.7 s: a check period of **3 s** in the worst case, and 5 s at
//! the usual loads. Beyond some 10 s (1.57 rad) a fleet would swing; docs/cluster.md says so.
//!
//! The queue is a second integrator in that loop, and two integrators with a low pass do oscillate.
//! That is why the load counts how fast a wait grows, which a queue is in phase with (`load`), and
//! only little of the wait itself, c per second: the loop is then τ·s² + (1+G)·s + G·c = 0, damped
//! by (1+G) / 2√(τ·G·c), which is 0.7 for c = 0.2: it settles with hardly an overshoot, also where
//! all of a fleet is driven beyond its capacity.
//!
//! Noise: the low pass in a loop of gain K leaves of white noise of the measured load what an average
//! over 2τ·(1+K) seconds would; and the bounded slew keeps any single surprise (a pause of the
//! machine, a burst) from moving traffic at once. A wave of traffic that follows a weight which
//! follows the wave is what lets fleets swing; here no factor of weight goes faster than
//! [`WeightSettings::slew_per_second`].
//!
//! The droop is soft: a node of a third of the capacity settles at some tenths more load than the
//! others, not at the same. A gain that closes that gap would cost the margin above. Balancers that
//! divide rate by load (ORCA) close it, since they know all nodes.
//!
//! Not here: whether the node serves at all (`agent`), the load (`load`), the balancers.
//!
//! [`FLEET_LOOK`]: crate::config::FLEET_LOOK

use std::time::Duration;

use crate::config::{
    FLEET_DROOP, FLEET_LOAD_FREE, FLEET_LOAD_MAX, FLEET_SLEW_PER_SECOND, FLEET_SMOOTHING,
    FLEET_START_PERCENT, FLEET_STEP_MAX,
};
use crate::fleet::load::NodeFacts;
use crate::time::Nanos;

/// What the law goes by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WeightSettings {
    /// τ: how long the load is averaged.
    pub smoothing: Duration,
    /// G: how much of the weight's logarithm one unit of load costs.
    pub droop: f64,
    /// L₀: below this load a node asks for everything that it is configured for.
    pub load_free: f64,
    /// How fast the logarithm of the weight may move: 0.2 is a factor of 1.22 in a second.
    pub slew_per_second: f64,
    /// The weight of a node that has just begun.
    pub start_percent: u8,
}

impl Default for WeightSettings {
    fn default() -> Self {
        WeightSettings {
            smoothing: FLEET_SMOOTHING,
            droop: FLEET_DROOP,
            load_free: FLEET_LOAD_FREE,
            slew_per_second: FLEET_SLEW_PER_SECOND,
            start_percent: FLEET_START_PERCENT,
        }
    }
}

/// The weight of one node. [`WeightLaw::handle_look`] whenever the node has been looked at, in
/// steps of less than [`FLEET_STEP_MAX`] or it falls behind; [`WeightLaw::percent`] at any time.
///
/// ```
/// use std::time::Duration;
/// use maitred::fleet::{NodeFacts, WeightLaw, WeightSettings};
/// use maitred::time::Nanos;
///
/// let mut law = WeightLaw::new(WeightSettings::default());
/// assert_eq!(law.percent(), 25, "who has just begun joins gently");
/// let idle =
///     NodeFacts { credit: 36, credit_free: 36, workers: 4, ..NodeFacts::default() };
/// let mut now = Nanos(0);
/// for _ in 0..100 {
///     now = now + Duration::from_secs(1);
///     law.handle_look(now, &idle);
/// }
/// assert_eq!(law.percent(), 100);
/// ```
#[derive(Clone, Debug)]
pub struct WeightLaw {
    settings: WeightSettings,
    /// The load, averaged.
    load: f64,
    /// The logarithm of the weight: 0 is 100 %.
    level: f64,
    /// When the node was looked at last, and how long one waited there then.
    looked_at: Option<(Nanos, Duration)>,
}

impl WeightLaw {
    /// A node that has just begun: as loaded as its first weight says.
    pub fn new(settings: WeightSettings) -> Self {
        let level = (f64::from(settings.start_percent.clamp(1, 100)) / 100.0).ln();
        let load = settings.load_free - level / settings.droop;
        WeightLaw { settings, load, level, looked_at: None }
    }

    /// The node has been looked at.
    pub fn handle_look(&mut self, now: Nanos, facts: &NodeFacts) {
        let Some((before, wait_before)) = self.looked_at.replace((now, facts.queue_wait)) else {
            return;
        };
        // Whoever was not looked at for long is not known to have been like this all the time.
        let passed = now.since(before).min(FLEET_STEP_MAX);
        let load = facts.load(wait_before, passed);
        let share = 1.0 - (-passed.as_secs_f64() / self.settings.smoothing.as_secs_f64()).exp();
        self.load += (load - self.load) * share;
        let target = -self.settings.droop * (self.load - self.settings.load_free).max(0.0);
        let most = self.settings.slew_per_second * passed.as_secs_f64();
        self.level += (target.max(LEVEL_MIN) - self.level).clamp(-most, most);
        debug_assert!((LEVEL_MIN..=0.0).contains(&self.level), "a weight of 1 to 100 %");
    }

    /// The weight in percent of what the balancer has configured: 1 to 100. Zero would mean that
    /// the node is not to be used, which is not a matter of load.
    pub fn percent(&self) -> u8 {
        (self.exact_percent().round() as u8).clamp(1, 100)
    }

    /// The same before it is rounded.
    pub fn exact_percent(&self) -> f64 {
        100.0 * self.level.exp()
    }

    /// The load as it was averaged, 0 to [`FLEET_LOAD_MAX`].
    pub fn load(&self) -> f64 {
        self.load.min(FLEET_LOAD_MAX)
    }

    /// An idle node's weight moves no more: nobody need look until something happens.
    pub fn is_at_rest(&self) -> bool {
        self.level == 0.0 && self.load < self.settings.load_free
    }
}

/// The logarithm of 1 %.
const LEVEL_MIN: f64 = -4.605_170_185_988_091;

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(250);
    const FREE: NodeFacts = NodeFacts {
        credit: 40,
        credit_free: 40,
        places: 4,
        busy: 0.0,
        queue_wait: Duration::ZERO,
        workers: 4,
        workers_stuck: 0,
    };

    fn after(law: &mut WeightLaw, from: Nanos, steps: u32, facts: &NodeFacts) -> Nanos {
        let mut now = from;
        for _ in 0..steps {
            now = now + STEP;
            law.handle_look(now, facts);
        }
        now
    }

    #[test]
    fn an_idle_node_asks_for_all_and_comes_to_rest() {
        let mut law = WeightLaw::new(WeightSettings::default());
        assert!(!law.is_at_rest());
        after(&mut law, Nanos(1), 400, &FREE);
        assert_eq!(law.percent(), 100);
        assert!(law.is_at_rest());
    }

    #[test]
    fn a_node_without_room_keeps_a_little() {
        let mut law = WeightLaw::new(WeightSettings::default());
        let worst = NodeFacts {
            credit_free: 0,
            busy: 1.0,
            queue_wait: Duration::from_secs(3600),
            workers_stuck: 4,
            ..FREE
        };
        after(&mut law, Nanos(1), 4000, &worst);
        assert!((1..=3).contains(&law.percent()), "a little, and not nothing: {}", law.percent());
    }

    #[test]
    fn what_was_not_seen_for_long_moves_the_weight_no_further_than_a_step() {
        let mut law = WeightLaw::new(WeightSettings::default());
        let now = after(&mut law, Nanos(1), 400, &FREE);
        law.handle_look(now + Duration::from_secs(3600), &NodeFacts { busy: 1.0, ..FREE });
        let most = FLEET_SLEW_PER_SECOND * FLEET_STEP_MAX.as_secs_f64();
        assert!(law.exact_percent() >= 100.0 * (-most).exp() - 1e-9, "{}", law.exact_percent());
    }

    #[test]
    fn a_clock_that_stands_still_changes_nothing() {
        let mut law = WeightLaw::new(WeightSettings::default());
        let now = after(&mut law, Nanos(1), 3, &FREE);
        let before = law.exact_percent();
        law.handle_look(now, &NodeFacts { busy: 1.0, ..FREE });
        assert_eq!(law.exact_percent(), before);
    }
}
