//! The search: every state that can be reached in so many steps, each once, the nearest first; and
//! walks at random where there are too many.
//!
//! The machines that run here cannot be copied, so a state is known by the steps that lead to it,
//! and is made again by taking them. A state is remembered by 64 bits: of a million states two would
//! be taken for one another with a probability of one in thirty million.
//!
//! Not here: the steps (`World`), what must hold (`checks`).

use std::collections::{HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::protocol::{Bounds, Step, World};

/// What a search has seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    pub(crate) states: usize,
    pub(crate) steps: usize,
    /// The longest way to a state.
    pub(crate) depth: usize,
    /// There were states beyond the bound.
    pub(crate) is_cut: bool,
    /// Rests at which a client waited until one of the master's timers rang.
    pub(crate) by_timer: usize,
}

fn replay(bounds: Bounds, steps: &[Step]) -> World {
    let mut world = World::new(bounds);
    for step in steps {
        world.take(*step);
    }
    world
}

/// Visits every state within the bounds; in each everything goes on to its rest once, and once the
/// master dies.
pub(crate) fn explore(bounds: Bounds) -> Found {
    let mut found = Found::default();
    let mut seen = HashSet::new();
    let mut open = VecDeque::from([Vec::new()]);
    seen.insert(World::new(bounds).key());
    while let Some(path) = open.pop_front() {
        let steps = telling(&path, || {
            let world = replay(bounds, &path);
            let steps = world.steps();
            world.check_rest(&mut found);
            steps
        });
        found.depth = path.len();
        if path.len() == bounds.depth {
            found.is_cut = true;
            continue;
        }
        for step in steps {
            found.steps += 1;
            let mut longer = path.clone();
            longer.push(step);
            let is_new = telling(&longer, || {
                let world = replay(bounds, &longer);
                world.check();
                let is_new = seen.insert(world.key());
                if is_new {
                    world.check_masters_death();
                }
                is_new
            });
            if is_new {
                open.push_back(longer);
            }
        }
    }
    found.states = seen.len();
    found
}

/// One run at random from a beginning, to its rest.
pub(crate) fn walk(bounds: Bounds, beginning: &[Step], seed: u64, found: &mut Found) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut world = replay(bounds, beginning);
    let mut path = beginning.to_vec();
    let walked = catch_unwind(AssertUnwindSafe(|| {
        for _ in 0..random.usize(..bounds.depth) {
            let steps = world.steps();
            let mut step = steps[random.usize(..steps.len())];
            // Looks change little, and faults most: fewer of both.
            for _ in 0..3 {
                if step.is_look() || step.is_fault() {
                    step = steps[random.usize(..steps.len())];
                }
            }
            path.push(step);
            world.take(step);
            world.check();
        }
        found.steps += path.len();
        if random.u8(..4) == 0 {
            world.check_masters_death();
        } else {
            world.check_rest(found);
        }
    }));
    if let Err(failure) = walked {
        eprintln!("replay: SEED={seed} cargo test --test protocol_exploration random\n{path:?}");
        resume_unwind(failure);
    }
}

/// Says which steps led to a failure.
fn telling<T>(path: &[Step], does: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(does)).unwrap_or_else(|failure| {
        eprintln!("after {} steps, and no fewer:", path.len());
        for step in path {
            eprintln!("  {step:?}");
        }
        resume_unwind(failure)
    })
}

impl Step {
    fn is_fault(self) -> bool {
        matches!(self, Step::Crash(_) | Step::Reload(_) | Step::Upgrade | Step::Jump)
    }
}
