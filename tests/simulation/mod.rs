//! One master, its workers and their clients in virtual time: what happens when.
//!
//! The claim words, the load reports, the rings and the bells are the real ones, on plain memory;
//! so is the dispatcher. What the kernel does (sockets, epoll, timers, signals) is modelled here;
//! the two loops that run on it are modelled step by step beside. The worker is cut into steps as
//! small as one access to its page, and between two deeds of the master (`World::meanwhile`) the
//! others go on: so all orders can happen in which two processes run.
//!
//! Not here: the master's loop (`master`), a worker's (`worker`), what must hold (`checks`).

pub(crate) mod checks;
pub(crate) mod clients;
pub(crate) mod lending;
pub(crate) mod master;
pub(crate) mod upgrade;
pub(crate) mod worker;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use fastrand::Rng;
use maitred::config::{Balance, Rebalance};
use maitred::dispatch::{DispatchSettings, Dispatcher};
use maitred::time::Nanos;

use checks::Watchman;
use clients::{Connection, Deed};
use master::{Master, Member, Source};
use worker::Worker;

pub(crate) const MICROSECOND: u64 = 1_000;
pub(crate) const MILLISECOND: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000_000_000;

/// How long nothing is looked at, at the most, while something goes on.
const TICK: u64 = 200 * MICROSECOND;

pub(crate) const STALL: Duration = Duration::from_millis(1);

/// What a run is like.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) mode: Rebalance,
    pub(crate) balance: Balance,
    /// Handler threads of the worker in each slot; 0 for handlers on the loop.
    pub(crate) threads: Vec<u16>,
    pub(crate) credit: Option<u16>,
    /// Frames that a channel takes before it is full.
    pub(crate) channel_max: usize,
    /// Whether workers have their alarms: without them the simulation must find lost wake-ups.
    pub(crate) alarms: bool,
}

/// Something that happens at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// The master runs on: something has woken it.
    Master,
    /// The timeout of the master's sleep of this number.
    Timeout(u64),
    /// The master's own alarm, or a worker's, wound to this time.
    Look(Nanos),
    Alarm(usize, Nanos),
    /// A worker takes its next step.
    Worker(usize),
    /// A handler thread is done with a session's request.
    Thread(usize, u64),
    Client(usize, Deed),
    /// A worker that was held goes on.
    GoesOn(usize),
    /// A worker process has begun.
    Starts(usize),
    /// Time has passed, and nothing else has happened.
    Tick,
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) random: Rng,
    pub(crate) clock: Nanos,
    queue: BinaryHeap<Reverse<(Nanos, u32, u64, Event)>>,
    events: u64,
    pub(crate) master: Master,
    pub(crate) dispatcher: Dispatcher,
    /// A worker process and the master's record of it have the same place.
    pub(crate) members: Vec<Member>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) connections: Vec<Connection>,
    pub(crate) watchman: Watchman,
    /// No client begins anything any more.
    pub(crate) is_over: bool,
    /// Nothing is expected to happen any more.
    pub(crate) is_quiet: bool,
    /// Whether what happens is told, for whoever reads a failure (`STORY=1`).
    pub(crate) tells: bool,
}

pub(crate) fn dispatcher(plan: &Plan, seed: u64) -> Dispatcher {
    Dispatcher::new(&DispatchSettings {
        balance: plan.balance,
        weights: vec![2, 1, 3],
        rebalance: plan.mode,
        stall_after: STALL,
        credit: plan.credit,
        queue_timeout: None,
        max_queue: None,
        seed,
    })
}

impl World {
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut random = Rng::with_seed(plan.seed);
        let dispatcher = dispatcher(plan, random.u64(..));
        // Zero means "not at all" in a page.
        let clock = Nanos(SECOND);
        let mut world = World {
            plan: plan.clone(),
            random,
            clock,
            queue: BinaryHeap::new(),
            events: 0,
            master: Master::new(clock),
            dispatcher,
            members: Vec::new(),
            workers: Vec::new(),
            connections: Vec::new(),
            watchman: Watchman::default(),
            is_over: false,
            is_quiet: false,
            tells: std::env::var_os("STORY").is_some(),
        };
        for slot in 0..plan.threads.len() {
            world.start_worker(slot as u16);
        }
        world.begin_master();
        world.after(TICK, Event::Tick);
        world
    }

    /// At this time, and in any order with what else happens then.
    pub(crate) fn at(&mut self, when: Nanos, event: Event) {
        self.events += 1;
        self.queue.push(Reverse((when, self.random.u32(..), self.events, event)));
    }

    pub(crate) fn after(&mut self, nanos: u64, event: Event) {
        self.at(self.clock + Duration::from_nanos(nanos), event);
    }

    /// Lets everything happen that happens until then.
    pub(crate) fn run_until(&mut self, when: Nanos) {
        while let Some(event) = self.next_event(when) {
            match event {
                Event::Master => self.master_is_woken(),
                Event::Timeout(sleep) => self.master_times_out(sleep),
                event => self.happen(event),
            }
            self.check();
        }
        self.clock = self.clock.max(when);
    }

    /// The master is at work, and the others go on: perhaps for no time at all.
    pub(crate) fn meanwhile(&mut self) {
        if self.random.u8(..4) == 0 {
            self.clock = self.clock + Duration::from_nanos(self.random.u64(..20 * MICROSECOND));
        }
        while let Some(event) = self.next_event(self.clock) {
            match event {
                // It is awake.
                Event::Master | Event::Timeout(_) => {}
                event => self.happen(event),
            }
        }
    }

    pub(crate) fn tell(&self, what: impl FnOnce() -> String) {
        if self.tells {
            eprintln!("{:>12} {}", self.clock.0 - SECOND, what());
        }
    }

    fn next_event(&mut self, until: Nanos) -> Option<Event> {
        let Reverse((when, ..)) = self.queue.peek()?;
        if *when > until {
            return None;
        }
        let Reverse((when, _, _, event)) = self.queue.pop()?;
        self.clock = self.clock.max(when);
        Some(event)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Master | Event::Timeout(_) => unreachable!("the master's own"),
            Event::Look(at) => {
                if self.master.look_wound == Some(at) {
                    self.master.look_wound = None;
                    self.report(Source::Look);
                }
            }
            Event::Alarm(place, at) => {
                if self.members[place].alarm == Some(at) {
                    self.members[place].alarm = None;
                    self.report(Source::Alarm(place));
                }
            }
            Event::Worker(place) | Event::Thread(place, _) if self.workers[place].held => {
                self.workers[place].held_events.push(event);
            }
            Event::Worker(place) => self.worker_steps(place),
            Event::Thread(place, key) => self.thread_is_done(place, key),
            Event::Client(number, deed) => self.client_does(number, deed),
            Event::GoesOn(place) => self.go_on(place),
            Event::Starts(place) => self.worker_starts(place),
            Event::Tick => {
                if !self.is_quiet {
                    self.after(TICK, Event::Tick);
                }
            }
        }
    }
}
