//! A server in virtual time, through whatever may befall it: crashes, stops, reloads, full channels,
//! clients that go, and reports that are forged, old, or the same twice. After every event all
//! invariants hold, nothing waits beside credit, neither what is new nor what has come back is
//! passed over for long, and when the blows end everything is answered, or lost for a reason that is
//! told.
//!
//! A failing seed prints its replay, with the fewest of its deeds that still fail: `SEED=7
//! DEEDS=3,17 cargo test --test sim_server`. `SEEDS=100000` is the soak.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use fastrand::Rng;
use maitred::config::{Arm, Balance, Rebalance};
use maitred::ident::{ConnectionId, Slot};
use maitred::sim::agenda::Agenda;
use maitred::sim::costs::Costs;
use maitred::sim::server::{AnswerKind, Ask, Happening, Server, Setup};
use maitred::time::Nanos;

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

const SEEDS_DEFAULT: u64 = 2_000;
const DEEDS: usize = 60;

/// Something that nobody could know before.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Connect {
        service_ns: u64,
        is_last: bool,
    },
    /// On some idle connection.
    Send {
        which: u64,
        service_ns: u64,
        is_last: bool,
    },
    HangUp {
        which: u64,
    },
    Stop {
        slot: u16,
        for_ns: u64,
        is_told: bool,
    },
    Kill {
        slot: u16,
    },
    Reload,
    Forge {
        per_mille: u16,
    },
}

/// A connection that a client has, by what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    Waits,
    Idle,
}

struct World {
    agenda: Agenda<Happening>,
    server: Server,
    clients: Vec<(ConnectionId, Client)>,
    workers: u16,
    /// The most turns in a row for which new ones, and those that had come back, were passed over.
    passed_over: (u32, u32),
}

fn setup(seed: u64) -> Setup {
    let mut random = Rng::with_seed(seed ^ 0x5eed);
    let arms = [Arm::Master; 5].into_iter().chain([Arm::Shared, Arm::Exclusive, Arm::Reuseport]);
    let arms: Vec<_> = arms.collect();
    let modes = [Rebalance::Auto, Rebalance::Auto, Rebalance::Always, Rebalance::Never];
    let balances = [
        Balance::LeastLoaded,
        Balance::LeastLatency,
        Balance::RoundRobin,
        Balance::TwoChoices,
        Balance::IpHash,
    ];
    let costs = if random.bool() { Costs::MEASURED } else { Costs::NONE };
    Setup {
        arm: arms[random.usize(..arms.len())],
        workers: random.u16(1..=12),
        threads: [0, 0, 1, 1, 3][random.usize(..5)],
        balance: balances[random.usize(..balances.len())],
        rebalance: modes[random.usize(..modes.len())],
        credit: (random.u8(..3) == 0).then(|| random.u16(1..5)),
        channel_max: if random.u8(..3) == 0 { 2 } else { 200 },
        costs: Costs { boot_ns: 2 * MILLISECOND, ..costs },
        seed,
        ..Setup::default()
    }
}

fn deeds(seed: u64, workers: u16) -> Vec<(u64, Deed)> {
    let mut random = Rng::with_seed(seed);
    let mut at = 10 * MILLISECOND;
    let deed = |random: &mut Rng| {
        let service_ns = match random.u8(..4) {
            0 => 0,
            1 => random.u64(..20 * MICROSECOND),
            2 => random.u64(..MILLISECOND),
            _ => random.u64(..10 * MILLISECOND),
        };
        match random.u8(..100) {
            0..=39 => Deed::Connect { service_ns, is_last: random.u8(..4) == 0 },
            40..=79 => {
                Deed::Send { which: random.u64(..), service_ns, is_last: random.u8(..6) == 0 }
            }
            80..=83 => Deed::HangUp { which: random.u64(..) },
            84..=91 => Deed::Stop {
                slot: random.u16(..workers),
                for_ns: random.u64(..60 * MILLISECOND),
                is_told: random.bool(),
            },
            92..=95 => Deed::Kill { slot: random.u16(..workers) },
            96..=97 => Deed::Reload,
            _ => Deed::Forge { per_mille: random.u16(..500) },
        }
    };
    let all = (0..DEEDS).map(|_| {
        at += match random.u8(..3) {
            0 => 0,
            1 => random.u64(..50 * MICROSECOND),
            _ => random.u64(..3 * MILLISECOND),
        };
        (SECOND + at, deed(&mut random))
    });
    all.collect()
}

impl World {
    fn new(seed: u64) -> World {
        let setup = setup(seed);
        let workers = setup.workers;
        let mut agenda = Agenda::new(Nanos(SECOND));
        let mut server = Server::new(setup, 0, Nanos(SECOND));
        server.start(&mut agenda);
        World { agenda, server, clients: Vec::new(), workers, passed_over: (0, 0) }
    }

    /// Lets everything happen until then; a driver's event is the end of a stop.
    fn run_until(&mut self, until: Nanos) {
        while let Some(happening) = self.agenda.next_until(until) {
            match happening {
                Happening::Server(_, event) => self.server.handle(event, &mut self.agenda),
                Happening::Driver(slot, _) => {
                    self.server.continue_worker(Slot(slot as u16), &mut self.agenda);
                }
            }
            self.hear();
            self.server.check_invariants();
            let (new, returned) = self.server.passed_over();
            let most = self.passed_over;
            self.passed_over = (most.0.max(new), most.1.max(returned));
        }
        self.agenda.pass_until(until);
    }

    fn hear(&mut self) {
        while let Some(answer) = self.server.poll_answer() {
            let place = self.clients.iter().position(|one| one.0 == answer.connection);
            let Some(place) = place else { continue };
            match answer.kind {
                AnswerKind::Good(slot) => {
                    assert!(slot.0 < self.workers, "nobody serves {slot:?}");
                    assert_eq!(self.clients[place].1, Client::Waits, "answered twice");
                    self.clients[place].1 = Client::Idle;
                }
                AnswerKind::Died | AnswerKind::Shed | AnswerKind::Closed => {
                    self.clients.swap_remove(place);
                }
            }
        }
    }

    fn do_deed(&mut self, deed: Deed, lasts: &mut Vec<ConnectionId>) {
        // A connection that was answered for the last time is nobody's, and its number may be used
        // again.
        let is_over = |one: &(ConnectionId, Client), lasts: &[ConnectionId]| {
            one.1 == Client::Idle && lasts.contains(&one.0)
        };
        self.clients.retain(|one| !is_over(one, lasts));
        lasts.retain(|one| self.clients.iter().any(|client| client.0 == *one));
        let idle: Vec<usize> = (0..self.clients.len())
            .filter(|place| self.clients[*place].1 == Client::Idle)
            .collect();
        let agenda = &mut self.agenda;
        match deed {
            Deed::Connect { service_ns, is_last } => {
                let ask = Ask { service_ns, sleeps: service_ns % 2 == 0, is_last };
                let connection = self.server.connect(agenda, ask, service_ns);
                lasts.retain(|one| *one != connection);
                self.clients.retain(|one| one.0 != connection);
                self.clients.push((connection, Client::Waits));
                if is_last {
                    lasts.push(connection);
                }
            }
            Deed::Send { which, service_ns, is_last } if !idle.is_empty() => {
                let place = idle[(which % idle.len() as u64) as usize];
                let connection = self.clients[place].0;
                self.clients[place].1 = Client::Waits;
                let ask = Ask { service_ns, sleeps: service_ns % 2 == 0, is_last };
                self.server.send(agenda, connection, ask);
                if is_last {
                    lasts.push(connection);
                }
            }
            Deed::HangUp { which } if !idle.is_empty() => {
                let place = idle[(which % idle.len() as u64) as usize];
                let (connection, _) = self.clients.swap_remove(place);
                self.server.hang_up(agenda, connection);
            }
            Deed::Send { .. } | Deed::HangUp { .. } => {}
            Deed::Stop { slot, for_ns, is_told } => {
                if self.server.stop_worker(Slot(slot), is_told, agenda) {
                    let until = Nanos(agenda.now().0 + for_ns);
                    agenda.at(until, Happening::Driver(u32::from(slot), 0));
                }
            }
            Deed::Kill { slot } => {
                self.server.kill_worker(Slot(slot), agenda);
            }
            Deed::Reload => self.server.reload(agenda),
            Deed::Forge { per_mille } => self.server.forge(per_mille),
        }
        self.hear();
        self.server.check_invariants();
    }
}

/// What a schedule has shown.
#[derive(Clone, Copy, Debug, Default)]
struct Shown {
    /// Loans that were taken or given back.
    moved: u64,
    /// See [`World`].
    passed_over: (u32, u32),
}

/// A whole schedule, of which only these deeds are done.
fn run(seed: u64, chosen: &[usize]) -> Shown {
    let mut world = World::new(seed);
    let mut lasts = Vec::new();
    for (index, (at, deed)) in deeds(seed, world.workers).into_iter().enumerate() {
        if chosen.contains(&index) {
            world.run_until(Nanos(at));
            world.do_deed(deed, &mut lasts);
        }
    }
    world.server.forge(0);
    let end = world.agenda.now() + Duration::from_secs(90);
    world.run_until(end);
    let counts = world.server.counts();
    let told = counts.answered + counts.died + counts.shed;
    assert_eq!(counts.asked, told, "everything is answered, or lost for a reason: {counts:?}");
    assert_eq!(world.server.load(), 0);
    let moved = counts.recalled + counts.rescued + counts.given;
    Shown { moved, passed_over: world.passed_over }
}

/// Whether a schedule fails, without a word.
fn fails(seed: u64, chosen: &[usize]) -> bool {
    catch_unwind(AssertUnwindSafe(|| run(seed, chosen))).is_err()
}

/// Leaves out whatever may be left out, in halves and then one by one.
fn shrink(seed: u64) -> Vec<usize> {
    let mut chosen: Vec<usize> = (0..DEEDS).collect();
    let mut size = DEEDS / 2;
    while size > 0 {
        let mut from = 0;
        while from < chosen.len() {
            let mut fewer = chosen.clone();
            fewer.drain(from..(from + size).min(chosen.len()));
            if fails(seed, &fewer) { chosen = fewer } else { from += size }
        }
        size /= 2;
    }
    chosen
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn whatever_happens_nothing_is_lost_and_nobody_waits_beside_room() {
    let one = number("SEED");
    let seeds = match one {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS_DEFAULT),
    };
    let chosen: Vec<usize> = match std::env::var("DEEDS") {
        Ok(text) => text.split(',').filter_map(|one| one.parse().ok()).collect(),
        Err(_) => (0..DEEDS).collect(),
    };
    let mut all = Shown::default();
    for seed in seeds.clone() {
        match catch_unwind(AssertUnwindSafe(|| run(seed, &chosen))) {
            Ok(shown) => {
                all.moved += shown.moved;
                all.passed_over.0 = all.passed_over.0.max(shown.passed_over.0);
                all.passed_over.1 = all.passed_over.1.max(shown.passed_over.1);
            }
            Err(_) => {
                let fewest = shrink(seed);
                let all = deeds(seed, setup(seed).workers);
                for index in &fewest {
                    eprintln!("{:>3} {:?}", index, all[*index]);
                }
                let fewest: Vec<String> = fewest.iter().map(usize::to_string).collect();
                panic!(
                    "{:?}\nreplay: SEED={seed} DEEDS={} cargo test --test sim_server whatever",
                    setup(seed),
                    fewest.join(",")
                );
            }
        }
    }
    // Not bars: guards against schedules in which nothing is ever taken back, and in which nobody
    // waits for long enough to be passed over.
    let is_sweep = one.is_none() && seeds.end >= SEEDS_DEFAULT;
    let (new, returned) = all.passed_over;
    assert!(!is_sweep || (all.moved > seeds.end && new > 0 && returned > 0), "{all:?}");
}

/// Who is answered when, and by whom.
fn answers(setup: Setup, seed: u64) -> Vec<(u64, u32, u16)> {
    let mut random = Rng::with_seed(seed);
    let mut agenda = Agenda::new(Nanos(SECOND));
    let mut server = Server::new(setup, 0, Nanos(SECOND));
    server.start(&mut agenda);
    let mut answers = Vec::new();
    for _ in 0..3_000 {
        let until = Nanos(agenda.now().0 + random.u64(..400 * MICROSECOND));
        while let Some(happening) = agenda.next_until(until) {
            let Happening::Server(_, event) = happening else { continue };
            server.handle(event, &mut agenda);
            while let Some(answer) = server.poll_answer() {
                if let AnswerKind::Good(slot) = answer.kind {
                    answers.push((agenda.now().0, answer.connection.0, slot.0));
                }
            }
        }
        agenda.pass_until(until);
        let service_ns = random.u64(..6 * MILLISECOND);
        server.connect(&mut agenda, Ask { service_ns, sleeps: true, is_last: true }, service_ns);
    }
    answers
}

#[test]
fn looks_that_are_left_out_change_nothing() {
    for (seed, balance) in (0..8).zip([Balance::LeastLoaded, Balance::TwoChoices].repeat(4)) {
        let setup = Setup {
            workers: 20,
            threads: (seed % 3) as u16,
            balance,
            rebalance: Rebalance::Never,
            stall_after: Duration::from_secs(60),
            costs: if seed < 4 { Costs::NONE } else { Costs::MEASURED },
            seed,
            ..Setup::default()
        };
        let spared = answers(setup.clone(), seed);
        let looked = answers(Setup { looks_at_all: true, ..setup }, seed);
        assert!(spared.len() > 2_000, "{} answers", spared.len());
        assert_eq!(spared, looked, "seed {seed}");
    }
}
