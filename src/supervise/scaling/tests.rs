//! The machine in single looks, and a small fleet under arrivals of every pattern.
//!
//! The fleet is the simplest there is: one queue, one request at a time at each worker, workers that
//! take their time to boot. It turns when something happens and when the machine asks for it, as the
//! master does; so a deadline that is missed shows.

use std::collections::VecDeque;

use super::*;
use crate::ident::{Generation, Slot};

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1000 * MILLISECOND;

fn limits(min: u16, max: u16) -> ScaleLimits {
    let (up_after, down_after) = (ScaleLimits::UP_AFTER, Duration::from_secs(10));
    ScaleLimits { min, max, up_after, down_after }
}

fn efforts(count: u16, busy_ns: u64) -> Vec<Effort> {
    let who = |slot| Incarnation { slot: Slot(slot), generation: Generation(u32::from(slot) + 1) };
    let effort =
        |slot| Effort { who: who(slot), places: 1, busy_ns, processor: None, full_since: None };
    (0..count).map(effort).collect()
}

/// A load of so many workers, each of which has been busy for so long, ever.
fn load(wanted: u16, busy_ns: u64) -> Load {
    let efforts = efforts(wanted, busy_ns);
    Load { wanted, efforts, last_is_idle: true, ..Load::default() }
}

#[test]
fn somebody_who_waits_for_too_long_doubles_the_workers_up_to_the_most() {
    let mut scaling = Scaling::new(limits(1, 5), Nanos(SECOND));
    assert_eq!(scaling.look(&load(2, 0), Nanos(SECOND)), None);
    let mut waits = load(2, 0);
    waits.waits_since = Some(Nanos(SECOND));
    scaling.handle_turn(true, false, Nanos(SECOND));
    let due_at = Nanos(SECOND) + ScaleLimits::UP_AFTER;
    assert_eq!(scaling.next_deadline(), Some(due_at), "it is looked at in time");
    let step = scaling.look(&waits, due_at).unwrap();
    assert_eq!((step.to, step.reason), (4, ScaleReason::Waited(ScaleLimits::UP_AFTER)));
    // Until they serve nothing more is decided, however long somebody waits.
    waits.wanted = 4;
    for second in 2..20 {
        assert_eq!(scaling.look(&waits, Nanos(second * SECOND)), None);
    }
    // And then they have the time in which they were missed.
    waits.efforts = efforts(4, 0);
    assert_eq!(scaling.look(&waits, Nanos(20 * SECOND)), None);
    let step = scaling.look(&waits, Nanos(20 * SECOND) + ScaleLimits::UP_AFTER).unwrap();
    assert_eq!(step.to, 5, "never above the most");
    waits.wanted = 5;
    waits.efforts = efforts(5, 0);
    for second in 30..40 {
        assert_eq!(scaling.look(&waits, Nanos(second * SECOND)), None);
    }
}

#[test]
fn what_waits_in_the_kernel_counts_from_when_it_was_first_seen() {
    let mut scaling = Scaling::new(limits(1, 8), Nanos(1));
    let full = |waits| Load { kernel_waits: waits, ..load(1, 0) };
    assert_eq!(scaling.look(&full(false), Nanos(SECOND)), None);
    assert_eq!(scaling.look(&full(true), Nanos(2 * SECOND)), None);
    // It was empty in between.
    assert_eq!(scaling.look(&full(false), Nanos(2 * SECOND + 1)), None);
    assert_eq!(scaling.look(&full(true), Nanos(3 * SECOND)), None);
    let step = scaling.look(&full(true), Nanos(3 * SECOND) + ScaleLimits::UP_AFTER).unwrap();
    assert_eq!(step.to, 2);
}

#[test]
fn busy_workers_get_as_many_more_as_would_do() {
    let mut scaling = Scaling::new(limits(1, 20), Nanos(SECOND));
    assert_eq!(scaling.look(&load(10, 0), Nanos(SECOND)), None);
    // Nine tenths of a second in a second: 10 × 0.9 / 0.7 is 12.9.
    let step = scaling.look(&load(10, SECOND / 10 * 9), Nanos(2 * SECOND)).unwrap();
    assert_eq!(step.to, 13);
    assert!(matches!(step.reason, ScaleReason::Busy(share) if (0.89..0.91).contains(&share)));
}

#[test]
fn a_worker_that_has_been_full_all_the_time_is_busy_whatever_it_says() {
    let mut scaling = Scaling::new(limits(1, 4), Nanos(SECOND));
    let mut stuck = load(2, 0);
    scaling.look(&stuck, Nanos(SECOND));
    for effort in &mut stuck.efforts {
        effort.full_since = Some(Nanos(SECOND / 2));
    }
    let step = scaling.look(&stuck, Nanos(2 * SECOND)).unwrap();
    assert_eq!((step.to, step.reason), (3, ScaleReason::Busy(1.0)));
    // The processor's time counts where handlers tell little.
    let mut scaling = Scaling::new(limits(1, 4), Nanos(SECOND));
    let mut spins = load(1, 0);
    spins.efforts[0].processor = Some(Nanos(0));
    scaling.look(&spins, Nanos(SECOND));
    spins.efforts[0].processor = Some(Nanos(SECOND));
    assert_eq!(scaling.look(&spins, Nanos(2 * SECOND)).unwrap().to, 2);
}

#[test]
fn a_worker_that_is_out_of_service_says_nothing_about_the_others() {
    let mut scaling = Scaling::new(limits(1, 20), Nanos(SECOND));
    let with_one_out = |busy_ns| {
        let mut load = load(3, busy_ns);
        load.efforts[1] = Effort { places: 0, busy_ns: 0, ..load.efforts[1] };
        load
    };
    assert_eq!(scaling.look(&with_one_out(0), Nanos(SECOND)), None);
    // Two that serve and are full; by the three of them it would be two thirds.
    let step = scaling.look(&with_one_out(SECOND), Nanos(2 * SECOND)).unwrap();
    assert_eq!((step.to, step.reason), (4, ScaleReason::Busy(1.0)));
}

#[test]
fn one_goes_after_its_time_and_only_if_it_has_nothing_to_do() {
    let mut scaling = Scaling::new(limits(1, 4), Nanos(SECOND));
    let mut calm = load(3, 0);
    calm.last_is_idle = false;
    let mut second = 1;
    while second < 30 {
        assert_eq!(scaling.look(&calm, Nanos(second * SECOND)), None, "it is busy");
        second += 1;
    }
    calm.last_is_idle = true;
    let step = scaling.look(&calm, Nanos(second * SECOND)).unwrap();
    assert_eq!(step.to, 2);
    assert!(matches!(step.reason, ScaleReason::Calm(_)));
    // The next one only as long after that.
    calm = load(2, 0);
    let mut went_at = Vec::new();
    for later in second + 1..second + 30 {
        if let Some(step) = scaling.look(&calm, Nanos(later * SECOND)) {
            went_at.push((later - second, step.to));
            calm = load(step.to, 0);
        }
    }
    assert_eq!(went_at, [(10, 1)], "and never the last one");
}

#[test]
fn one_that_is_missed_soon_after_it_has_gone_stays_twice_as_long_the_next_time() {
    let mut scaling = Scaling::new(limits(1, 4), Nanos(0));
    let (mut now, mut wanted, mut stays) = (0, 2, Vec::new());
    for _ in 0..5 {
        let began = now;
        // Calm until one goes.
        while wanted == 2 {
            now += SECOND;
            if let Some(step) = scaling.look(&load(wanted, 0), Nanos(now)) {
                wanted = step.to;
            }
        }
        stays.push((now - began) / SECOND);
        // And at once it is missed.
        let waits = Load { waits_since: Some(Nanos(now)), ..load(wanted, 0) };
        now += SECOND;
        wanted = scaling.look(&waits, Nanos(now)).unwrap().to;
        now += SECOND;
        scaling.look(&load(wanted, 0), Nanos(now));
    }
    let doubled = stays.windows(2).all(|pair| pair[1] >= pair[0] * 3 / 2 || pair[1] >= 79);
    assert!(doubled && stays[4] <= 85, "{stays:?}");
}

#[test]
fn what_an_operator_has_chosen_stays_for_a_while_and_bounds_hold_always() {
    let mut scaling = Scaling::new(limits(1, 8), Nanos(SECOND));
    scaling.hold(Nanos(SECOND));
    let mut waits = load(2, 0);
    waits.waits_since = Some(Nanos(1));
    let end = 1 + SCALE_HOLD.as_secs();
    for second in 2..end {
        assert_eq!(scaling.look(&waits, Nanos(second * SECOND)), None);
        assert_eq!(scaling.next_deadline(), Some(Nanos(SECOND) + SCALE_HOLD), "nobody wakes");
    }
    assert!(scaling.look(&waits, Nanos(end * SECOND)).is_some());
    // Other bounds hold at once, in the middle of such a time too.
    scaling.hold(Nanos(end * SECOND));
    scaling.set_limits(limits(3, 8), Nanos(end * SECOND));
    assert!(scaling.wants_look(Nanos(end * SECOND)));
    let step = scaling.look(&load(2, 0), Nanos(end * SECOND)).unwrap();
    assert_eq!((step.to, step.reason), (3, ScaleReason::Bounds));
    scaling.set_limits(limits(1, 2), Nanos(end * SECOND));
    assert_eq!(scaling.look(&load(3, 0), Nanos(end * SECOND)).unwrap().to, 2);
}

#[test]
fn a_server_at_rest_wakes_for_its_next_step_and_then_never() {
    let mut scaling = Scaling::new(limits(1, 4), Nanos(SECOND));
    let rests = |wanted| Load { rests: true, ..load(wanted, 0) };
    let (mut now, mut wanted, mut wakes) = (Nanos(SECOND), 3, 0);
    loop {
        scaling.handle_turn(false, true, now);
        if let Some(step) = scaling.look(&rests(wanted), now) {
            wanted = step.to;
        }
        match scaling.next_deadline() {
            None => break,
            Some(at) => now = at,
        }
        wakes += 1;
        assert!(wakes < 20, "two steps of ten seconds need few wake-ups");
    }
    assert_eq!(wanted, 1);
    // Somebody comes: it looks again.
    scaling.handle_turn(false, false, now);
    assert_eq!(scaling.next_deadline(), Some(now + SCALE_WINDOW));
}

/// One worker of the fleet.
struct Worker {
    who: Incarnation,
    ready_at: u64,
    busy_ns: u64,
    /// When what it serves began, and when it will be over.
    serves: Option<(u64, u64)>,
}

struct Fleet {
    scaling: Scaling,
    limits: ScaleLimits,
    workers: Vec<Worker>,
    queue: VecDeque<u64>,
    generation: u32,
    boot_ns: u64,
    service_ns: u64,
    rng: fastrand::Rng,
    /// Of each request, when it came and how long it waited.
    waits: Vec<(u64, Duration)>,
    /// Of each step, when, from and to.
    steps: Vec<(u64, u16, u16)>,
    /// Turns that only the machine asked for.
    wakes: Vec<u64>,
}

impl Fleet {
    fn new(limits: ScaleLimits, boot_ns: u64, service_ns: u64, seed: u64) -> Fleet {
        let mut fleet = Fleet {
            scaling: Scaling::new(limits, Nanos(0)),
            limits,
            workers: Vec::new(),
            queue: VecDeque::new(),
            generation: 0,
            boot_ns,
            service_ns,
            rng: fastrand::Rng::with_seed(seed),
            waits: Vec::new(),
            steps: Vec::new(),
            wakes: Vec::new(),
        };
        (0..limits.min).for_each(|_| fleet.start(0));
        fleet
    }

    fn start(&mut self, now: u64) {
        self.generation += 1;
        let slot = Slot(self.workers.len() as u16);
        let who = Incarnation { slot, generation: Generation(self.generation) };
        let ready_at = now + self.boot_ns;
        self.workers.push(Worker { who, ready_at, busy_ns: 0, serves: None });
    }

    /// Runs until `end`, with arrivals at a rate (a second) that changes with time.
    fn run(&mut self, end: u64, rate: impl Fn(u64) -> f64) {
        const TICK: u64 = 5 * MILLISECOND;
        for now in (0..end).step_by(TICK as usize) {
            let mut turns = false;
            for worker in &mut self.workers {
                turns |= worker.ready_at / TICK == now / TICK;
                if let Some((began, over)) = worker.serves
                    && over <= now
                {
                    worker.busy_ns += over - began;
                    worker.serves = None;
                    turns = true;
                }
            }
            let mut expected = rate(now) * TICK as f64 / SECOND as f64;
            while expected > self.rng.f64() {
                self.queue.push_back(now);
                expected -= 1.0;
                turns = true;
            }
            for worker in &mut self.workers {
                if worker.ready_at <= now
                    && worker.serves.is_none()
                    && let Some(came) = self.queue.pop_front()
                {
                    // From half to one and a half of the average.
                    let took = self.service_ns as f64 * (0.5 + self.rng.f64());
                    worker.serves = Some((now, now + took as u64));
                    self.waits.push((came, Duration::from_nanos(now - came)));
                }
            }
            let due = self.scaling.next_deadline().is_some_and(|at| at.0 <= now);
            if turns || due {
                if !turns {
                    self.wakes.push(now);
                }
                self.turn(now);
            }
        }
    }

    fn turn(&mut self, now: u64) {
        let waits = !self.queue.is_empty();
        let rests = !waits && self.workers.iter().all(|worker| worker.serves.is_none());
        self.scaling.handle_turn(waits, rests, Nanos(now));
        if !self.scaling.wants_look(Nanos(now)) {
            return;
        }
        let wanted = self.workers.len() as u16;
        let serving = self.workers.iter().filter(|worker| worker.ready_at <= now);
        let load = Load {
            wanted,
            waits_since: self.queue.front().copied().map(Nanos),
            kernel_waits: false,
            efforts: serving
                .map(|worker| Effort {
                    who: worker.who,
                    places: 1,
                    busy_ns: worker.busy_ns,
                    processor: None,
                    full_since: worker.serves.map(|(began, _)| Nanos(began)),
                })
                .collect(),
            rests,
            last_is_idle: self.workers.last().is_some_and(|worker| worker.serves.is_none()),
        };
        let Some(step) = self.scaling.look(&load, Nanos(now)) else { return };
        let ScaleLimits { min, max, .. } = self.limits;
        assert!((min..=max).contains(&step.to), "{step:?}");
        assert_ne!(step.to, wanted);
        self.steps.push((now, wanted, step.to));
        while self.workers.len() < usize::from(step.to) {
            self.start(now);
        }
        while self.workers.len() > usize::from(step.to) {
            let gone = self.workers.pop().expect("it is more than none");
            assert!(gone.serves.is_none(), "a busy one is never taken out");
        }
    }

    /// How often it has gone up after it has gone down.
    fn swings(&self) -> usize {
        let ups = self.steps.iter().map(|(_, from, to)| to > from).collect::<Vec<_>>();
        ups.windows(2).filter(|pair| !pair[0] && pair[1]).count()
    }

    /// The longest wait of whoever came in a span.
    fn longest_wait(&self, from: u64, to: u64) -> Duration {
        let inside = self.waits.iter().filter(|(came, _)| (from..to).contains(came));
        inside.map(|(_, wait)| *wait).max().unwrap_or_default()
    }
}

/// One seed's fleet, of any size, speed and boot time, and a rate that it can just serve.
fn fleet(seed: u64) -> (Fleet, f64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    // Neighbouring seeds begin alike.
    rng.u64(..);
    let min = rng.u16(1..=3);
    let max = min + rng.u16(1..=24);
    let service_ns = rng.u64(5 * MILLISECOND..400 * MILLISECOND);
    let boot_ns = rng.u64(50 * MILLISECOND..5 * SECOND);
    let limits = ScaleLimits {
        min,
        max,
        up_after: Duration::from_millis(rng.u64(50..1000)),
        down_after: Duration::from_millis(rng.u64(2000..30_000)),
    };
    let most = f64::from(max) * SECOND as f64 / service_ns as f64;
    (Fleet::new(limits, boot_ns, service_ns, seed), most)
}

/// Sixty seeds, or those that SEED and SEEDS ask for.
fn each_seed(run: impl Fn(u64)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let (first, count) = match number("SEED") {
        Some(seed) => (seed, 1),
        None => (0, number("SEEDS").unwrap_or(60)),
    };
    for seed in first..first + count {
        eprintln!("replay: SEED={seed} cargo test --lib supervise::scaling");
        run(seed);
    }
}

/// How long a fleet may take from the first who waits to as many workers as are needed.
fn climb_ns(limits: &ScaleLimits, boot_ns: u64) -> u64 {
    let doublings = f64::from(limits.max) / f64::from(limits.min);
    let steps = doublings.log2().ceil() as u64 + 3;
    steps * (boot_ns + 2 * limits.up_after.as_nanos() as u64 + 50 * MILLISECOND)
}

#[test]
fn a_step_is_followed_and_what_has_been_reached_stays() {
    each_seed(|seed| {
        let (mut fleet, most) = fleet(seed);
        let step_at = 20 * SECOND;
        let settled_at = step_at + climb_ns(&fleet.limits, fleet.boot_ns);
        // What has come meanwhile is worked off by the rest of the capacity.
        let calm_at = settled_at + 4 * (settled_at - step_at) + 10 * SECOND;
        let end = calm_at + 300 * SECOND;
        fleet.run(end, |now| if now < step_at { 0.0 } else { most * 0.6 });
        let late = fleet.longest_wait(calm_at, end);
        let bound = fleet.limits.up_after + Duration::from_nanos(8 * fleet.service_ns);
        assert!(late <= bound * 3, "seed {seed}: {late:?} of {bound:?}, {:?}", fleet.steps);
        assert!(fleet.swings() <= 4, "seed {seed}: {:?}", fleet.steps);
        assert!(fleet.workers.len() > 1, "seed {seed}");
    });
}

#[test]
fn a_burst_is_served_and_afterwards_all_go_down_to_the_least() {
    each_seed(|seed| {
        let (mut fleet, most) = fleet(seed);
        let burst = 10 * SECOND..12 * SECOND;
        let patience = fleet.limits.down_after.as_nanos() as u64 + 2 * SECOND;
        let all_down = u64::from(fleet.limits.max - fleet.limits.min + 2) * patience;
        let end = 60 * SECOND + all_down;
        fleet.run(end, |now| if burst.contains(&now) { most * 2.0 } else { 0.0 });
        assert!(fleet.queue.is_empty(), "seed {seed}");
        assert_eq!(fleet.workers.len(), usize::from(fleet.limits.min), "seed {seed}");
        assert!(fleet.swings() == 0, "seed {seed}: {:?}", fleet.steps);
        // While nothing happens it wakes for the steps alone, and at last not at all.
        let per_second = fleet.wakes.len() as u64 * SECOND / end;
        assert!(per_second <= 1, "seed {seed}: {} wakes", fleet.wakes.len());
        let last = fleet.steps.last().map_or(0, |(at, ..)| *at);
        let later = fleet.wakes.iter().filter(|at| **at > last + SECOND).count();
        assert!(later <= 1, "seed {seed}: {later} wakes after the last step");
    });
}

#[test]
fn waves_are_followed_without_flutter() {
    each_seed(|seed| {
        let (mut fleet, most) = fleet(seed);
        let (period, waves) = (240 * SECOND, 3);
        fleet.run(waves * period, |now| {
            let angle = now as f64 / period as f64 * std::f64::consts::TAU;
            most * 0.35 * (1.0 - angle.cos())
        });
        let limits = fleet.limits;
        // Once a wave is the wave itself; beyond it, each mistake doubles the time to the next.
        let allowed = waves as usize * 4;
        assert!(fleet.swings() <= allowed, "seed {seed}: {} {:?}", fleet.swings(), fleet.steps);
        let downs: Vec<u64> =
            fleet.steps.iter().filter(|step| step.2 < step.1).map(|step| step.0).collect();
        let apart = limits.down_after.as_nanos() as u64;
        assert!(downs.windows(2).all(|pair| pair[1] - pair[0] >= apart), "seed {seed}: {downs:?}");
    });
}

#[test]
fn a_load_that_comes_and_goes_is_learned() {
    each_seed(|seed| {
        let (mut fleet, most) = fleet(seed);
        // The pause is a little longer than one worker's time: without patience one would go and come
        // back in every round.
        let down_after = fleet.limits.down_after.as_nanos() as u64;
        let round = 2 * (down_after + 3 * SECOND);
        let rounds = 20;
        let end = rounds * round;
        fleet.run(end, |now| if now % round < round / 2 { most * 0.6 } else { 0.0 });
        let swings = fleet.swings();
        assert!(swings <= rounds as usize / 2, "seed {seed}: {swings} {:?}", fleet.steps);
    });
}
