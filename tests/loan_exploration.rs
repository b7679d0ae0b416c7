//! Both sides of the claim words, explored: every order of their steps, with a death of the worker
//! after each one.
//!
//! It is the real `MasterPage` and `WorkerPage` that run here, on plain memory; the model around
//! them knows what really happened to every connection, and asks after each step:
//!
//! - may at most one side read a connection, and never the worker what the master has in hand?
//! - does the master believe every entry that an honest worker puts into the ring?
//! - after a drain: does the worker hold what it has claimed, and has every connection one owner?
//! - if the worker died now: is whatever nobody has read served by somebody, is whatever was read
//!   never given to a second reader, and is each connection accounted for exactly once?
//!
//! Besides any order that the claim words allow, those of `--rebalance always`, of a rescue and of a
//! drain are explored, in which each side keeps to what it does there.
//!
//! One step is one call, so this explores the protocol; the orderings of memory inside the calls
//! are loom's (`src/board/loom.rs`). `SEEDS=100000` widens the random walks, `SEED=7` repeats one.

mod exploration;

use std::collections::HashSet;

use exploration::{Bounds, Rules, Step, World};

const SEEDS_DEFAULT: u64 = 4000;
const STEPS: usize = 60;

/// Takes these steps from the beginning.
fn replay(bounds: Bounds, steps: &[Step]) -> World {
    let mut world = World::new(bounds);
    for step in steps {
        world.take(*step);
    }
    world
}

/// Every reachable state within the bounds, each once; in each the worker dies once.
fn explore(bounds: Bounds) -> usize {
    let mut seen = HashSet::new();
    let mut open = vec![Vec::new()];
    seen.insert(World::new(bounds).key());
    while let Some(path) = open.pop() {
        let world = replay(bounds, &path);
        let steps = world.steps();
        world.check_places_freed();
        world.die();
        for step in steps {
            let mut longer = path.clone();
            longer.push(step);
            if seen.insert(replay(bounds, &longer).key()) {
                open.push(longer);
            }
        }
    }
    seen.len()
}

fn bounds(rules: Rules, connections: usize, requests: u8) -> Bounds {
    Bounds { places: 2, connections, requests, lends: 2, rules }
}

#[test]
fn every_order_of_one_connection_with_a_death_at_every_step() {
    let states = explore(bounds(Rules::Any, 1, 2));
    // Not a bar: a guard against an exploration that explores nothing.
    assert!(states > 500, "{states} states");
}

#[test]
fn every_order_of_two_connections_in_two_places() {
    let states = explore(bounds(Rules::Any, 2, 1));
    assert!(states > 2000, "{states} states");
}

#[test]
fn every_order_in_which_each_answer_ends_the_stay() {
    let states = explore(bounds(Rules::Always, 1, 2));
    assert!(states > 300, "{states} states");
    let states = explore(bounds(Rules::Always, 2, 1));
    assert!(states > 1000, "{states} states");
}

#[test]
fn every_order_of_a_rescue_and_what_its_worker_does_meanwhile() {
    let states = explore(bounds(Rules::Rescue, 1, 3));
    assert!(states > 300, "{states} states");
    let states = explore(bounds(Rules::Rescue, 2, 1));
    assert!(states > 1000, "{states} states");
}

#[test]
fn every_order_of_a_drain() {
    let states = explore(bounds(Rules::Drain, 1, 2));
    assert!(states > 300, "{states} states");
    let states = explore(bounds(Rules::Drain, 2, 1));
    assert!(states > 1000, "{states} states");
}

#[test]
fn random_walks_of_four_connections_in_three_places() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS_DEFAULT),
    };
    for seed in seeds {
        let rules = Rules::ALL[seed as usize % Rules::ALL.len()];
        let bounds = Bounds { places: 3, connections: 4, requests: 9, lends: 40, rules };
        walk(bounds, seed);
    }
}

fn walk(bounds: Bounds, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut world = World::new(bounds);
    let mut path = Vec::new();
    let walk = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for _ in 0..random.usize(1..=STEPS) {
            let steps = world.steps();
            if steps.is_empty() {
                break;
            }
            // A drain ends most of what may happen: not too soon.
            let mut step = steps[random.usize(..steps.len())];
            if step == Step::Drain && random.u8(..8) > 0 {
                step = steps[random.usize(..steps.len())];
            }
            path.push(step);
            world.take(step);
        }
        world.die();
    }));
    if let Err(failure) = walk {
        eprintln!("replay: SEED={seed} cargo test --test loan_exploration random\n{path:?}");
        std::panic::resume_unwind(failure);
    }
}
