//! The lending protocol as a whole, explored: a master, its channels, two workers and their
//! clients, with a death, a refusal, a reload, an upgrade or a stall after every step.
//!
//! The real `Dispatcher`, `MasterPage`, `WorkerPage` and frames run here, and what an upgrade
//! leaves of a page goes through its real JSON; the two shells around them are modelled
//! (`protocol::master`, `protocol::worker`). After each step:
//!
//! - has each connection at most one reader, at the place where the master has it?
//! - do places, loans, queues and counters add up, and is each connection counted once?
//! - does an entry of a ring, a refusal or a settlement ever meet a loan that it does not mean?
//! - goes nothing that was read to a second reader, and tells the word of a dead worker the truth?
//!
//! From each state everything goes on once to its rest, without a further fault: then every request
//! that was sent has its answer, unless its worker died with it; no copy and no place is left over.
//! And in each state the master dies once: every worker ends what it has and leaves.
//!
//! Bounded: one or two connections where every order is tried, three at random; two slots; one
//! or two faults of a kind; channels of one packet. The pieces of a master's turn come in
//! any order, which is more than the real one does. Time passes in jumps that outlast every
//! patience. The supervisor, deadlines, TERM, and workers without a page are not here.
//!
//! It has been seen to find: LENT settled as a reset, a refused loan that stays taken, a recall of
//! what is claimed, a sequence that stays the same, the ring's position or a drain that is owed not
//! carried over an upgrade, a bell that nobody rings, a worker that ignores recalls; and it found a
//! refusal that a full channel held up for ever (`worker::intake`). It has been seen to miss: a
//! recall frame that names only the first of its loans, or that an upgrade forgets. A claim that is
//! lost drops the copy as well, and hardly any walk has two idle loans recalled in one frame.
//!
//! `DEPTH=40` goes further, `SEEDS=100000` widens the walks, `SEED=7` repeats one. A failure tells
//! its steps; of an exploration these are as few as lead there.

mod protocol;

use maitred::config::Rebalance;

use protocol::master::Piece;
use protocol::search::{Found, explore, walk};
use protocol::worker::Deed;
use protocol::{Bounds, End, Faults, Step, World};

const SEEDS_DEFAULT: u64 = 3000;

const NO_FAULTS: Faults = Faults { crashes: 0, truncations: 0, reloads: 0, upgrades: 0, jumps: 0 };

/// One connection with one request; more steps than it takes.
const ONE: Bounds = Bounds {
    requests: &[1],
    pieces: 1,
    places: 2,
    channel_max: 1,
    threads: 0,
    credit: None,
    rebalance: Rebalance::Auto,
    end: End::Client,
    faults: NO_FAULTS,
    depth: 100,
};

const DECIDE: Step = Step::Master(Piece::Decide);

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Explores, and says how much. `least` is not a bar: a guard against an exploration that explores
/// nothing.
fn check(what: &str, bounds: Bounds, least: usize) {
    let depth = number("DEPTH").map_or(bounds.depth, |depth| depth as usize);
    let found = explore(Bounds { depth, ..bounds });
    let cut = if found.is_cut { ", and more behind" } else { ", all there are" };
    eprintln!(
        "{what}: {} states by {} steps, {} deep{cut}; {} rests by a timer",
        found.states, found.steps, found.depth, found.by_timer
    );
    assert!(found.states >= least || number("DEPTH").is_some(), "{found:?}");
    assert_eq!(found.by_timer, 0, "somebody waits for a timer");
}

#[test]
fn a_death_at_every_step() {
    let faults = Faults { crashes: 1, ..NO_FAULTS };
    check("a death", Bounds { faults, ..ONE }, 3000);
    let always = Bounds { faults, rebalance: Rebalance::Always, ..ONE };
    check("a death, always", Bounds { depth: 15, ..always }, 1000);
    let two = Bounds { requests: &[1, 1], end: End::Never, faults, depth: 9, ..ONE };
    check("a death, two connections", two, 1000);
}

#[test]
fn an_upgrade_at_every_step() {
    let faults = Faults { upgrades: 1, ..NO_FAULTS };
    check("an upgrade", Bounds { requests: &[2], faults, ..ONE }, 1000);
    let crashes = Faults { crashes: 1, ..faults };
    check("an upgrade and a death", Bounds { faults: crashes, depth: 14, ..ONE }, 1000);
    let two = Bounds { requests: &[1, 1], end: End::Request, faults, depth: 13, ..ONE };
    check("an upgrade, two connections", two, 1000);
}

#[test]
fn a_refusal_at_every_step() {
    let faults = Faults { truncations: 2, ..NO_FAULTS };
    check("refusals", Bounds { faults, ..ONE }, 1000);
    let jumps = Faults { truncations: 1, jumps: 1, ..NO_FAULTS };
    let stuck = Bounds { faults: jumps, depth: 15, ..ONE };
    check("a refusal and a stall", stuck, 1000);
}

#[test]
fn a_reload_at_every_step() {
    let faults = Faults { reloads: 1, ..NO_FAULTS };
    check("a reload", Bounds { faults, end: End::Never, depth: 19, ..ONE }, 1000);
    let upgrades = Faults { upgrades: 1, ..faults };
    check("a reload and an upgrade", Bounds { faults: upgrades, depth: 12, ..ONE }, 1000);
}

#[test]
fn a_stall_at_every_step() {
    let faults = Faults { jumps: 1, ..NO_FAULTS };
    check("a stall", Bounds { faults, end: End::Never, depth: 22, ..ONE }, 1000);
    let threads = Bounds { requests: &[2], threads: 1, faults, end: End::Never, ..ONE };
    check("a stall, threads", Bounds { depth: 17, ..threads }, 1000);
}

#[test]
fn random_walks_of_three_connections_with_every_fault() {
    walks(SEEDS_DEFAULT, &[], some_bounds);
}

/// The worker has refused a loan and has not been told of its recall: the place is free again, and
/// what is lent there next arrives before the old recall does. Nothing but the sequence tells the
/// two apart.
#[test]
fn random_walks_after_a_recall_that_came_too_late() {
    let faults = Faults { truncations: 1, jumps: 1, upgrades: 1, ..NO_FAULTS };
    let requests = &[1, 1, 1, 1];
    let bounds = Bounds { requests, places: 4, end: End::Never, depth: 60, faults, ..ONE };
    let refuses = Step::Worker(0, Deed::ReceiveTruncated);
    let parked = |number| Step::Master(Piece::Parked(number));
    let lends = [Step::Send(0), DECIDE, refuses, Step::Send(1), parked(1), DECIDE];
    let lends = lends.into_iter().chain([Step::Send(2), parked(2), DECIDE]);
    let serves = [Deed::Receive, Deed::Claim(0), Deed::Read(0), Deed::Handled(0), Deed::Leave(0)];
    let serves = serves.into_iter().chain([Deed::GoOn(0), Deed::LeaveTurn]);
    let serves = serves.map(|deed| Step::Worker(1, deed));
    // Then worker 0 is stuck with two, and its channel is full: it cannot be told of their recall.
    let stalls = [Step::Jump, DECIDE, Step::Master(Piece::Hear(0))];
    let (world, beginning) = begin(bounds, lends.chain(serves).chain(stalls));
    let member = &world.members[0];
    assert!(member.recalls_owed.len() == 2 && !member.to_worker.is_empty(), "{member:?}");
    assert_eq!(member.page.owed(), 1, "the place of the refused one is free: {member:?}");
    walks(SEEDS_DEFAULT / 2, &beginning, |_| bounds);
}

/// The worker is to leave, and cannot be told so: whatever happens then, it leaves.
#[test]
fn random_walks_after_a_drain_that_has_to_wait() {
    let faults = Faults { reloads: 1, upgrades: 1, crashes: 1, ..NO_FAULTS };
    let bounds = Bounds { requests: &[1, 1], end: End::Never, depth: 60, faults, ..ONE };
    let replaces = [Step::Reload(0), Step::Worker(2, Deed::Start), Step::Master(Piece::Hear(2))];
    let drains = replaces.into_iter().chain([Step::Master(Piece::Drain(0)), DECIDE]);
    let (world, beginning) = begin(bounds, [Step::Send(0), DECIDE].into_iter().chain(drains));
    assert!(!world.members[0].frames_owed.is_empty(), "{:?}", world.members[0]);
    walks(SEEDS_DEFAULT / 2, &beginning, |_| bounds);
}

/// Takes these steps, and carries out what is decided before the next.
fn begin(bounds: Bounds, steps: impl Iterator<Item = Step>) -> (World, Vec<Step>) {
    let (mut world, mut taken) = (World::new(bounds), Vec::new());
    for step in steps {
        let mut next = step;
        loop {
            world.take(next);
            taken.push(next);
            if world.items.is_empty() {
                break;
            }
            next = Step::Master(Piece::Next);
        }
    }
    (world, taken)
}

fn walks(seeds: u64, beginning: &[Step], bounds: impl Fn(u64) -> Bounds) {
    let one = number("SEED");
    let seeds = match one {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(seeds),
    };
    let mut found = Found::default();
    let count = seeds.end - seeds.start;
    for seed in seeds {
        walk(bounds(seed), beginning, seed, &mut found);
    }
    eprintln!("{count} walks: {} steps; {} rests by a timer", found.steps, found.by_timer);
    assert!(one.is_some() || found.steps as u64 > 20 * count, "{found:?}");
    assert_eq!(found.by_timer, 0, "somebody waits for a timer");
}

fn some_bounds(seed: u64) -> Bounds {
    let mut random = fastrand::Rng::with_seed(seed ^ 0x5eed);
    let mut some = || random.u8(..3);
    let requests = [&[2, 2, 1][..], &[3, 1], &[1, 1, 1]][usize::from(some())];
    Bounds {
        requests,
        pieces: 1 + some() / 2,
        // With fewer a page could be full of idle loans, and who comes last would wait for an end.
        places: requests.len() as u32 + u32::from(some()) / 2,
        channel_max: 1 + usize::from(some() / 2),
        threads: [0, 0, 1][usize::from(some())],
        credit: [None, None, Some(1)][usize::from(some())],
        rebalance: [Rebalance::Auto, Rebalance::Always, Rebalance::Never][usize::from(some())],
        end: [End::Never, End::Client, End::Request][usize::from(some())],
        // Often none of a kind: the more there are, the less goes on between two of them.
        faults: Faults {
            crashes: some() / 2,
            truncations: some(),
            reloads: some() / 2,
            upgrades: some() / 2,
            jumps: some(),
        },
        depth: 160,
    }
}
