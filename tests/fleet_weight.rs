//! What holds of the weight law whatever a node is like, and that a fleet which goes by it settles.
//!
//! The fleet is a fluid: each node has a rate that it can serve and a queue for what does not fit;
//! a balancer divides the traffic by the weights that it heard at its last check. That leaves out
//! the noise of single requests, which the last story puts back, and nothing of delay and feedback,
//! which are what makes fleets oscillate.

use std::time::Duration;

use maitred::config::{FLEET_LOOK, FLEET_SLEW_PER_SECOND, FLEET_STEP_MAX};
use maitred::fleet::{NodeFacts, WeightLaw, WeightSettings};
use maitred::time::Nanos;
use proptest::prelude::*;

fn facts() -> impl Strategy<Value = NodeFacts> {
    let busy = prop_oneof![8 => 0.0..=1.0_f64, 1 => Just(f64::NAN), 1 => -2.0..9.0_f64];
    let credit = (0..2000_u32, 0..2000_u32, 0..100_u32);
    (credit, busy, 0..20_000_u64, 0..9_u32, 0..9_u32).prop_map(
        |((credit, credit_free, places), busy, wait_ms, workers, workers_stuck)| NodeFacts {
            credit,
            credit_free,
            places,
            busy,
            queue_wait: Duration::from_millis(wait_ms),
            workers,
            workers_stuck,
        },
    )
}

fn law_after(history: &[(u64, NodeFacts)]) -> (WeightLaw, Nanos) {
    let mut law = WeightLaw::new(WeightSettings::default());
    let mut now = Nanos(1);
    for (pause_ms, facts) in history {
        now = now + Duration::from_millis(*pause_ms);
        law.handle_look(now, facts);
    }
    (law, now)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever a node says, its weight is 1 to 100 % and moves no faster than it may.
    #[test]
    fn the_slew_is_bounded(looks in prop::collection::vec((0..5_000_u64, facts()), 1..60)) {
        let mut law = WeightLaw::new(WeightSettings::default());
        let mut now = Nanos(1);
        for (pause_ms, facts) in looks {
            let before = law.exact_percent();
            let pause = Duration::from_millis(pause_ms);
            now = now + pause;
            law.handle_look(now, &facts);
            let most = FLEET_SLEW_PER_SECOND * pause.min(FLEET_STEP_MAX).as_secs_f64();
            let moved = (law.exact_percent() / before).ln().abs();
            prop_assert!(moved <= most + 1e-9, "{moved} in {pause:?}");
            prop_assert!((1..=100).contains(&law.percent()));
        }
    }

    /// Of two nodes with the same past, the one with less room does not ask for more.
    #[test]
    fn less_room_never_asks_for_more(
        history in prop::collection::vec((1..3_000_u64, facts()), 0..20),
        pause_ms in 1..3_000_u64,
        mut more in facts(),
        less_free in 0..2000_u32,
        less_busy in 0.0..=1.0_f64,
        less_stuck in 0..9_u32,
        longer_ms in 0..9_000_u64,
    ) {
        let (mut one, now) = law_after(&history);
        more.busy = less_busy / 2.0;
        let less = NodeFacts {
            credit_free: more.credit_free.saturating_sub(less_free),
            busy: less_busy,
            queue_wait: more.queue_wait + Duration::from_millis(longer_ms),
            workers_stuck: more.workers_stuck.saturating_add(less_stuck),
            ..more
        };
        let mut other = one.clone();
        one.handle_look(now + Duration::from_millis(pause_ms), &more);
        other.handle_look(now + Duration::from_millis(pause_ms), &less);
        prop_assert!(other.exact_percent() <= one.exact_percent() + 1e-9);
    }
}

/// One node of the fluid.
struct Node {
    /// What it serves in a second.
    capacity: f64,
    /// What waits there.
    backlog: f64,
    law: WeightLaw,
    /// What the balancer heard last.
    weight: f64,
}

impl Node {
    fn new(capacity: f64) -> Self {
        let law = WeightLaw::new(WeightSettings::default());
        Node { capacity, backlog: 0.0, law, weight: 25.0 }
    }

    fn handle_traffic(&mut self, arrived: f64, now: Nanos) {
        let step = FLEET_LOOK.as_secs_f64();
        let wanted = self.backlog + arrived;
        let served = wanted.min(self.capacity * step);
        // A listener's queue is finite: what finds no place in it is lost.
        self.backlog = (wanted - served).min(30.0 * self.capacity);
        let facts = NodeFacts {
            credit: 100,
            credit_free: if self.backlog > 0.0 { 0 } else { 50 },
            places: 50,
            busy: (served / (self.capacity * step)).min(1.0),
            queue_wait: Duration::from_secs_f64(self.backlog / self.capacity),
            workers: 4,
            workers_stuck: 0,
        };
        self.law.handle_look(now, &facts);
    }

    fn wait(&self) -> f64 {
        self.backlog / self.capacity
    }
}

/// A fleet under `load` times what it can serve, whose balancer asks each node every `check`.
struct Fleet {
    nodes: Vec<Node>,
    load: f64,
    check: Duration,
    noise: Option<Random>,
    steps: u32,
}

impl Fleet {
    fn new(capacities: &[f64], load: f64, check: Duration) -> Self {
        let nodes = capacities.iter().copied().map(Node::new).collect();
        Fleet { nodes, load, check, noise: None, steps: 0 }
    }

    fn step(&mut self) {
        self.steps += 1;
        let now = Nanos(1) + FLEET_LOOK * self.steps;
        let every = (self.check.as_nanos() / FLEET_LOOK.as_nanos()) as usize;
        let count = self.nodes.len();
        for (place, node) in self.nodes.iter_mut().enumerate() {
            // Spread, as balancers spread their checks.
            if (self.steps as usize + place * every / count).is_multiple_of(every) {
                node.weight = f64::from(node.law.percent());
            }
        }
        let weights: f64 = self.nodes.iter().map(|node| node.weight).sum();
        let capacity: f64 = self.nodes.iter().map(|node| node.capacity).sum();
        for node in &mut self.nodes {
            let share = node.weight / weights;
            let mean = self.load * capacity * share * FLEET_LOOK.as_secs_f64();
            let arrived = match &mut self.noise {
                None => mean,
                // As uneven as single requests are: a deviation of the root of their number.
                Some(random) => (mean + random.normal() * mean.sqrt()).max(0.0),
            };
            node.handle_traffic(arrived, now);
        }
    }

    fn run(&mut self, time: Duration) {
        for _ in 0..time.as_nanos() / FLEET_LOOK.as_nanos() {
            self.step();
        }
    }

    /// Watches the share of each node: how far it strays from its mean (deviation by mean).
    fn watch(&mut self, time: Duration) -> Vec<f64> {
        let steps = (time.as_nanos() / FLEET_LOOK.as_nanos()) as usize;
        let mut seen = vec![Vec::with_capacity(steps); self.nodes.len()];
        for _ in 0..steps {
            self.step();
            let weights: f64 = self.nodes.iter().map(|node| node.weight).sum();
            for (node, seen) in self.nodes.iter().zip(&mut seen) {
                seen.push(node.weight / weights);
            }
        }
        seen.iter().map(|shares| deviation(shares)).collect()
    }

    fn longest_wait(&self) -> f64 {
        self.nodes.iter().map(Node::wait).fold(0.0, f64::max)
    }
}

fn deviation(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / count).sqrt() / mean
}

/// Numbers without a dependency: a linear congruence, and twelve of them for a normal one.
struct Random(u64);

impl Random {
    fn normal(&mut self) -> f64 {
        let uniform = |state: &mut u64| {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_041);
            (*state >> 11) as f64 / (1_u64 << 53) as f64
        };
        (0..12).map(|_| uniform(&mut self.0)).sum::<f64>() - 6.0
    }
}

const SETTLED: Duration = Duration::from_secs(240);
const WATCHED: Duration = Duration::from_secs(120);

#[test]
fn a_node_of_a_third_of_the_capacity_is_not_overrun() {
    for check in [1, 2, 3, 5].map(Duration::from_secs) {
        for load in [0.3, 0.5, 0.7, 0.8, 0.9, 0.95] {
            let mut fleet = Fleet::new(&[300.0, 300.0, 100.0], load, check);
            fleet.run(SETTLED);
            let strays = fleet.watch(WATCHED);
            let worst = strays.iter().copied().fold(0.0, f64::max);
            // Weights are whole percents: at a load of 0.95 a step of one is a fifth of the smallest.
            let most = if load <= 0.8 { 0.05 } else { 0.15 };
            assert!(worst <= most, "check {check:?}, load {load}: shares stray by {strays:?}");
            // With all of them near their end the droop's remainder is a short queue at the smallest,
            // where with equal shares it would grow without end.
            let most = if load <= 0.8 { 0.01 } else { 1.0 };
            let wait = fleet.longest_wait();
            assert!(wait < most, "check {check:?}, load {load}: {wait} s");
        }
    }
}

#[test]
fn equal_nodes_have_equal_shares() {
    for load in [0.2, 0.7, 0.9, 1.1] {
        let mut fleet = Fleet::new(&[100.0; 5], load, Duration::from_secs(2));
        fleet.run(SETTLED);
        let weights: Vec<f64> = fleet.nodes.iter().map(|node| node.weight).collect();
        let (least, most) =
            weights.iter().fold((f64::MAX, 0.0_f64), |(a, b), one| (a.min(*one), b.max(*one)));
        assert!(most - least <= 2.0, "load {load}: {weights:?}");
    }
}

#[test]
fn a_fleet_beyond_its_capacity_does_not_swing() {
    let mut fleet = Fleet::new(&[300.0, 300.0, 100.0], 1.2, Duration::from_secs(2));
    fleet.run(SETTLED);
    let strays = fleet.watch(WATCHED);
    assert!(strays.iter().all(|stray| *stray <= 0.15), "{strays:?}");
}

#[test]
fn a_node_that_loses_half_of_its_capacity_is_relieved_and_comes_back() {
    let mut fleet = Fleet::new(&[100.0; 3], 0.7, Duration::from_secs(2));
    fleet.run(SETTLED);
    fleet.nodes[0].capacity = 50.0;
    fleet.run(Duration::from_secs(60));
    assert!(fleet.longest_wait() < 0.01, "{} s after a minute", fleet.longest_wait());
    fleet.nodes[0].capacity = 100.0;
    fleet.run(SETTLED);
    let [one, other] = [0, 1].map(|place| fleet.nodes[place].weight);
    assert!((one - other).abs() <= 2.0, "{one} and {other}");
}

#[test]
fn a_large_fleet_settles_as_a_small_one_does() {
    let capacities: Vec<f64> =
        (0..200).map(|place| if place % 3 == 0 { 100.0 } else { 300.0 }).collect();
    let mut fleet = Fleet::new(&capacities, 0.7, Duration::from_secs(2));
    fleet.run(SETTLED);
    let strays = fleet.watch(WATCHED);
    assert!(strays.iter().all(|stray| *stray <= 0.1), "{:?}", strays[0]);
    assert!(fleet.longest_wait() < 0.01);
}

#[test]
fn the_noise_of_single_requests_is_not_followed() {
    for seed in 0..8 {
        let mut fleet = Fleet::new(&[300.0, 300.0, 100.0], 0.7, Duration::from_secs(2));
        fleet.noise = Some(Random(seed));
        fleet.run(SETTLED);
        let strays = fleet.watch(WATCHED);
        assert!(strays.iter().all(|stray| *stray <= 0.1), "seed {seed}: {strays:?}");
    }
}
