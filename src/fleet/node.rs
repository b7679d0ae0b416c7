//! One node as it is seen from outside: what its workers' counters say, as rates.
//!
//! Counters are of processes, which come and go; a balancer wants to know how it goes here. Each
//! look takes what has been added since the last one, worker by worker, averages it over
//! [`FLEET_REPORT_SMOOTHING`], and hands the moment on to the weight law, which averages for itself.
//! Rate and load go through the same average, so that their quotient, which is what ORCA's readers
//! weigh by, is that of one and the same time.
//!
//! Not here: where the counters come from (`master`), the law (`weight`), how it is said (`orca`,
//! `agent`).

use std::collections::HashMap;
use std::time::Duration;

use crate::config::{FLEET_REPORT_SMOOTHING, FLEET_STEP_MAX, FLEET_WAIT_MAX};
use crate::fleet::load::NodeFacts;
use crate::fleet::weight::{WeightLaw, WeightSettings};
use crate::ident::Incarnation;
use crate::time::Nanos;

/// One worker at one look. Counters are of its process; any number may stand there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerLook {
    /// Which process.
    pub who: Incarnation,
    /// How many requests it serves at once: its handler threads, or 1 for a loop.
    pub places: u32,
    /// Of those, how many are free.
    pub places_free: u32,
    /// Requests answered.
    pub finished: u64,
    /// Requests that ended badly.
    pub errors: u64,
    /// Time spent in handlers, in nanoseconds, calls that run included.
    pub busy_ns: u64,
    /// What waits at it.
    pub waiting: u32,
    /// It makes no progress.
    pub stuck: bool,
}

/// The whole node at one look.
#[derive(Clone, Copy, Debug)]
pub struct NodeLook<'a> {
    /// Those that serve.
    pub workers: &'a [WorkerLook],
    /// Connections that may wait or be served here, all together.
    pub credit: u32,
    /// Of that, how many more could come now.
    pub credit_free: u32,
    /// Connections that wait for a worker: in the kernel, or at the master.
    pub queued: u32,
}

/// What a node says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NodeLoad {
    /// The share of its places that are busy: 0 to 1.
    pub busy: f64,
    /// Its load: 1 is what it can just serve (`load`).
    pub load: f64,
    /// Requests answered in a second.
    pub requests_per_second: f64,
    /// Requests that ended badly, in a second.
    pub errors_per_second: f64,
    /// How long what comes now will wait.
    pub queue_wait: Duration,
    /// The weight it asks for: 1 to 100 % of what is configured.
    pub weight_percent: u8,
}

/// A node that is looked at every now and then: [`Node::handle_look`], then [`Node::load`].
#[derive(Debug)]
pub struct Node {
    law: WeightLaw,
    seen: HashMap<Incarnation, Counters>,
    looked_at: Option<Nanos>,
    wait_before: Duration,
    /// Busy time that was told of later than it was spent, in nanoseconds.
    busy_owed: f64,
    average: Average,
    load: NodeLoad,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    finished: u64,
    errors: u64,
    busy_ns: u64,
}

/// What is averaged: all of it in the same way.
#[derive(Clone, Copy, Debug, Default)]
struct Average {
    busy: f64,
    load: f64,
    requests: f64,
    errors: f64,
    busy_seconds: f64,
}

impl Node {
    /// A node that has just begun.
    pub fn new(settings: WeightSettings) -> Self {
        let law = WeightLaw::new(settings);
        let load = NodeLoad { weight_percent: law.percent(), ..NodeLoad::default() };
        Node {
            law,
            seen: HashMap::new(),
            looked_at: None,
            wait_before: Duration::ZERO,
            busy_owed: 0.0,
            average: Average::default(),
            load,
        }
    }

    /// The node has been looked at.
    pub fn handle_look(&mut self, now: Nanos, look: &NodeLook<'_>) {
        let added = self.take_counters(look.workers);
        let Some(before) = self.looked_at.replace(now) else {
            // What was before the first look is no rate.
            let facts = self.facts(look, 0.0);
            self.law.handle_look(now, &facts);
            return;
        };
        let passed = now.since(before);
        if passed.is_zero() {
            self.busy_owed += added.busy_ns as f64;
            return;
        }
        let busy = self.busy_share(added.busy_ns, look.workers, passed);
        let facts = self.facts(look, busy);
        self.law.handle_look(now, &facts);
        let load = facts.load(self.wait_before, passed);
        self.wait_before = facts.queue_wait;
        let seconds = passed.as_secs_f64();
        let share = 1.0 - (-seconds / FLEET_REPORT_SMOOTHING.as_secs_f64()).exp();
        let average = |before: &mut f64, now: f64| *before += (now - *before) * share;
        average(&mut self.average.busy, busy);
        average(&mut self.average.load, load);
        average(&mut self.average.requests, added.finished as f64 / seconds);
        average(&mut self.average.errors, added.errors as f64 / seconds);
        average(&mut self.average.busy_seconds, busy * f64::from(places(look.workers)));
        self.load = NodeLoad {
            busy: self.average.busy.clamp(0.0, 1.0),
            load: self.average.load,
            requests_per_second: self.average.requests,
            errors_per_second: self.average.errors,
            queue_wait: facts.queue_wait,
            weight_percent: self.law.percent(),
        };
    }

    /// What it says of itself.
    pub fn load(&self) -> NodeLoad {
        self.load
    }

    /// Nothing moves any more: nobody need look until something happens.
    pub fn is_at_rest(&self) -> bool {
        self.law.is_at_rest() && self.average.requests < REST && self.average.load < REST
    }

    fn facts(&self, look: &NodeLook<'_>, busy: f64) -> NodeFacts {
        let workers = look.workers;
        NodeFacts {
            credit: look.credit,
            credit_free: look.credit_free,
            places: places(workers),
            busy,
            queue_wait: self.queue_wait(look),
            workers: small(workers.len()),
            workers_stuck: small(workers.iter().filter(|worker| worker.stuck).count()),
        }
    }

    /// How long the last one in the queue waits: what is in front of it, at the speed at which such
    /// requests have lately been served by all places together.
    fn queue_wait(&self, look: &NodeLook<'_>) -> Duration {
        let waiting = look.workers.iter().map(|worker| worker.waiting);
        let waiting = waiting.fold(look.queued, u32::saturating_add);
        // What a free place takes next does not wait to speak of.
        let free = look.workers.iter().map(|worker| worker.places_free);
        let behind = waiting.saturating_sub(free.fold(0, u32::saturating_add));
        let (busy, finished) = (self.average.busy_seconds, self.average.requests);
        if behind == 0 || finished <= 0.0 {
            return Duration::ZERO;
        }
        let each = busy / finished;
        let seconds = f64::from(behind) * each / f64::from(places(look.workers).max(1));
        Duration::try_from_secs_f64(seconds).unwrap_or(FLEET_WAIT_MAX).min(FLEET_WAIT_MAX)
    }

    /// Busy time by what could have been busy. A request on a loop is counted when it ends, whatever
    /// it took before: what does not fit into the time since the last look was spent earlier, and
    /// counts in the looks that follow, so that nothing is lost.
    fn busy_share(&mut self, busy_ns: u64, workers: &[WorkerLook], passed: Duration) -> f64 {
        let most = passed.as_nanos() as f64 * f64::from(places(workers));
        if most <= 0.0 {
            return 1.0;
        }
        let owed = self.busy_owed + busy_ns as f64;
        let counted = owed.min(most);
        let step = FLEET_STEP_MAX.as_nanos() as f64 * f64::from(places(workers));
        self.busy_owed = (owed - counted).min(step * BUSY_OWED_STEPS);
        counted / most
    }

    /// What the workers have added to their counters since the last look. A process that is new
    /// begins at zero; one that is gone is forgotten.
    fn take_counters(&mut self, workers: &[WorkerLook]) -> Counters {
        let mut added = Counters::default();
        let mut seen = HashMap::with_capacity(workers.len());
        for worker in workers {
            let now = Counters {
                finished: worker.finished,
                errors: worker.errors,
                busy_ns: worker.busy_ns,
            };
            let before = self.seen.get(&worker.who).copied().unwrap_or_default();
            let more = |now: u64, before: u64| now.saturating_sub(before);
            // Between two words of a page a call may be in neither: what was seen once is not
            // counted again when it is back.
            let busy_ns = now.busy_ns.max(before.busy_ns);
            added.finished = added.finished.saturating_add(more(now.finished, before.finished));
            added.errors = added.errors.saturating_add(more(now.errors, before.errors));
            added.busy_ns = added.busy_ns.saturating_add(more(now.busy_ns, before.busy_ns));
            seen.insert(worker.who, Counters { busy_ns, ..now });
        }
        self.seen = seen;
        added
    }
}

/// Below this nobody could read a rate, or a load, out of a report.
const REST: f64 = 0.001;

/// Busy time that is told of late counts for so many of the longest steps, and is forgotten then: a
/// request of a day ago says nothing of today.
const BUSY_OWED_STEPS: f64 = 5.0;

fn places(workers: &[WorkerLook]) -> u32 {
    workers.iter().map(|worker| worker.places).fold(0, u32::saturating_add)
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ident::{Generation, Slot};

    const STEP: Duration = Duration::from_millis(250);

    /// A node of two workers with two threads each, which are busy for this share of the time.
    struct Story {
        node: Node,
        now: Nanos,
        workers: [WorkerLook; 2],
        queued: u32,
    }

    impl Story {
        fn new() -> Self {
            let worker = |slot| WorkerLook {
                who: Incarnation { slot: Slot(slot), generation: Generation(1) },
                places: 2,
                places_free: 2,
                ..WorkerLook::default()
            };
            let node = Node::new(WeightSettings::default());
            Story { node, now: Nanos(1), workers: [worker(0), worker(1)], queued: 0 }
        }

        fn look(&mut self) -> NodeLoad {
            let look = NodeLook {
                workers: &self.workers,
                credit: 20,
                credit_free: 20,
                queued: self.queued,
            };
            self.node.handle_look(self.now, &look);
            self.node.load()
        }

        /// Each worker answers so many requests of 10 ms in each step.
        fn run(&mut self, steps: u32, requests: u64) -> NodeLoad {
            for _ in 0..steps {
                self.now = self.now + STEP;
                for worker in &mut self.workers {
                    worker.finished += requests;
                    worker.busy_ns += requests * 10_000_000;
                }
                self.look();
            }
            self.node.load()
        }
    }

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 0.01 * expected.max(1.0), "{found}, not {expected}");
    }

    #[test]
    fn rates_and_load_are_what_the_counters_have_risen_by() {
        let mut story = Story::new();
        story.look();
        // 20 requests of 10 ms a step: 200 ms of the 500 that two threads have.
        let load = story.run(80, 20);
        near(load.busy, 0.4);
        near(load.load, 0.4);
        near(load.requests_per_second, 160.0);
        assert_eq!((load.errors_per_second, load.queue_wait), (0.0, Duration::ZERO));
        assert!(!story.node.is_at_rest());
        story.run(800, 0);
        assert!(story.node.is_at_rest());
        assert_eq!(story.node.load().weight_percent, 100);
    }

    #[test]
    fn rate_by_load_is_the_capacity_at_any_load() {
        // What readers of ORCA weigh by: 400 requests of 10 ms fit into a second of four threads.
        for requests in [1, 5, 20, 40] {
            let mut story = Story::new();
            story.look();
            let load = story.run(40, requests);
            near(load.requests_per_second / load.load / 400.0, 1.0);
        }
    }

    #[test]
    fn a_queue_is_as_long_as_it_takes_to_serve_it() {
        let mut story = Story::new();
        story.look();
        story.run(40, 50);
        for worker in &mut story.workers {
            worker.places_free = 0;
        }
        story.queued = 40;
        // 40 requests of 10 ms for four threads.
        let wait = story.run(1, 50).queue_wait.as_secs_f64();
        assert!((wait - 0.1).abs() < 0.01, "{wait}");
        story.queued = u32::MAX;
        assert_eq!(story.run(1, 50).queue_wait, FLEET_WAIT_MAX);
    }

    #[test]
    fn what_a_free_place_takes_next_does_not_wait() {
        let mut story = Story::new();
        story.look();
        story.run(8, 20);
        story.workers[0].waiting = 2;
        assert_eq!(story.run(1, 20).queue_wait, Duration::ZERO);
    }

    #[test]
    fn time_that_is_told_of_late_is_not_lost() {
        let mut story = Story::new();
        story.look();
        // Two seconds at once, for which the last step alone has no room.
        story.workers[0].busy_ns += 2_000_000_000;
        let mut sum = 0.0;
        for _ in 0..8 {
            story.now = story.now + STEP;
            let before = story.node.average.busy_seconds;
            story.look();
            let share = 1.0 - (-STEP.as_secs_f64() / FLEET_REPORT_SMOOTHING.as_secs_f64()).exp();
            sum += (story.node.average.busy_seconds - before * (1.0 - share)) / share
                * STEP.as_secs_f64();
        }
        near(sum, 2.0);
    }

    #[test]
    fn a_new_process_in_a_slot_begins_at_zero() {
        let mut story = Story::new();
        story.look();
        story.run(80, 20);
        story.workers[0].who.generation = Generation(7);
        story.workers[0].finished = 0;
        story.workers[0].busy_ns = 0;
        let load = story.run(1, 20);
        near(load.requests_per_second, 160.0);
    }

    #[test]
    fn any_number_may_stand_in_a_page() {
        let mut story = Story::new();
        story.look();
        for number in [u64::MAX, 0, u64::MAX / 2] {
            for worker in &mut story.workers {
                worker.finished = number;
                worker.errors = number;
                worker.busy_ns = number;
                worker.places = number as u32;
                worker.places_free = number as u32;
                worker.waiting = number as u32;
            }
            story.now = story.now + STEP;
            let load = story.look();
            assert!((0.0..=1.0).contains(&load.busy), "{load:?}");
            assert!(load.load.is_finite() && load.requests_per_second.is_finite(), "{load:?}");
            assert!((1..=100).contains(&load.weight_percent));
        }
    }
}
