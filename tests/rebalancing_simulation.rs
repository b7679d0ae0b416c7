//! Whoever waits is served as soon as somebody can: one master, up to five workers and their clients
//! in virtual time, with all that `--rebalance` promises.
//!
//! The master sleeps, and is woken only by what would wake the real one; so a wake-up that is lost
//! shows as a connection that waits although a worker would serve it (`simulation::checks`). When
//! the clients stop and all workers go on, everything is answered; and then nobody wakes the master
//! any more.
//!
//! `SEEDS=100000` widens, `STEPS=1000` lengthens, `SEED=7` repeats one run and `STORY=1` tells it.

mod simulation;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use maitred::config::{Balance, Rebalance};
use maitred::time::Nanos;

use simulation::clients::Place;
use simulation::{MILLISECOND, Plan, SECOND, World};

const SEEDS_DEFAULT: u64 = 300;
const STEPS_DEFAULT: u64 = 120;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn plan(seed: u64) -> Plan {
    let mut random = fastrand::Rng::with_seed(seed ^ 0x5eed);
    let modes = [Rebalance::Auto, Rebalance::Auto, Rebalance::Always, Rebalance::Never];
    let balances = [Balance::LeastLoaded, Balance::LeastLoaded, Balance::RoundRobin];
    let kinds = [[0, 0, 0], [1, 1, 4], [0, 1, 3], [16, 2, 0]];
    let kinds = kinds[random.usize(..kinds.len())];
    let workers = random.usize(1..=5);
    Plan {
        seed,
        mode: modes[random.usize(..modes.len())],
        balance: balances[random.usize(..balances.len())],
        threads: (0..workers).map(|_| kinds[random.usize(..kinds.len())]).collect(),
        credit: (random.u8(..5) == 0).then(|| random.u16(1..5)),
        channel_max: if random.u8(..6) == 0 { 3 } else { 200 },
        alarms: true,
    }
}

fn run(plan: &Plan, steps: u64) -> World {
    let mut world = World::new(plan);
    for _ in 0..steps {
        world.anything();
        let pause = match world.random.u8(..4) {
            0 => 0,
            1 => world.random.u64(..MILLISECOND / 20),
            2 => world.random.u64(..MILLISECOND),
            _ => world.random.u64(..4 * MILLISECOND),
        };
        let until = world.clock + Duration::from_nanos(pause);
        world.run_until(until);
    }
    world.is_over = true;
    let (limit, mut waits) = (world.clock.0 + 5 * SECOND, true);
    while waits && world.clock.0 < limit {
        let until = Nanos(world.clock.0 + 100 * MILLISECOND);
        world.run_until(until);
        waits = world.connections.iter().any(|one| !one.over && one.sent > one.answered);
    }
    check_end(&mut world);
    world
}

/// Everything is answered, and then all is quiet.
fn check_end(world: &mut World) {
    for (number, one) in world.connections.iter().enumerate() {
        assert!(one.over || one.sent == one.answered, "{number} has no answer: {one:?}");
        let is_somewhere = matches!(one.place, Place::Parked | Place::OnLoan(..) | Place::Gone);
        assert!(is_somewhere, "{number} is nowhere: {one:?}");
    }
    world.is_quiet = true;
    let settled = world.clock.0 + 3 * SECOND;
    world.run_until(Nanos(settled));
    let (woken, timed_out) = (world.master.woken, world.master.timed_out);
    world.run_until(Nanos(settled + 20 * SECOND));
    assert_eq!(world.master.woken, woken, "an idle server wakes its master");
    assert!(world.master.timed_out - timed_out <= 21, "and so does its clock");
}

#[test]
fn whoever_waits_is_served_as_soon_as_somebody_can() {
    let one = number("SEED");
    let seeds = match one {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS_DEFAULT),
    };
    let steps = number("STEPS").unwrap_or(STEPS_DEFAULT);
    let (mut relieved, count) = (0, seeds.end - seeds.start);
    for seed in seeds {
        let plan = plan(seed);
        match catch_unwind(AssertUnwindSafe(|| run(&plan, steps))) {
            Ok(world) => relieved += world.watchman.relieved,
            Err(failure) => {
                eprintln!(
                    "{plan:?}\nreplay: SEED={seed} STEPS={steps} STORY=1 \
                     cargo test --test rebalancing_simulation whoever"
                );
                resume_unwind(failure);
            }
        }
    }
    // Not a bar: a guard against a simulation in which nobody ever waits.
    assert!(one.is_some() || relieved > count, "{relieved} waits in {count} runs");
}

#[test]
fn without_alarms_a_wake_up_is_lost_and_the_simulation_finds_it() {
    let lost = (0..SEEDS_DEFAULT).find(|seed| {
        let plan = Plan { mode: Rebalance::Auto, alarms: false, ..plan(*seed) };
        catch_unwind(AssertUnwindSafe(|| run(&plan, STEPS_DEFAULT))).is_err()
    });
    assert!(lost.is_some(), "nobody would need the alarms");
}
