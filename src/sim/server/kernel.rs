//! The kernel's arms: workers accept, and what the kernel does decides who.
//!
//! | arm | who is woken by an arrival | from which queue |
//! |---|---|---|
//! | `shared` | all that sleep; the first to call accept has it: with handlers on the loop drawn by [`Herd`], with threads as `exclusive` | everybody's |
//! | `exclusive` | of those that sleep the one that has watched for longest | everybody's |
//! | `blocking` | the one that has been in accept(2) for longest, if it has no connection | everybody's |
//! | `reuseport` | the one whose queue a hash of the client names, asleep or not | its own |
//! | `reuseport-cbpf` | the same at random | its own |
//!
//! A worker with handlers on its loop watches all the time, and so stands where it stood when it
//! began; one whose threads are all busy stops watching, and stands last when it begins again. That
//! is all there is to the unevenness of `exclusive` (docs/accept.md has the counts).
//!
//! Not here: what a worker does with what it has accepted (`worker`).

use std::collections::VecDeque;

use crate::config::Arm;
use crate::sim::agenda::Agenda;
use crate::sim::costs::Costs;
use crate::sim::server::connections::{Place, Word};
use crate::sim::server::members::Stage;
use crate::sim::server::{Event, Happening, Server};

/// Who of a herd that wakes is the first to call accept: the k-th in an order of their own, with a
/// probability that falls by this factor from one to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Herd {
    /// 1: all alike; 0: always the same one.
    pub evenness: f64,
}

impl Herd {
    /// Everybody is as likely to be the first.
    pub const EVEN: Herd = Herd { evenness: 1.0 };

    /// As it is here: Jain's index 0.45 of 400 connections over 8 workers, opened one after the
    /// other (docs/simulation/captures.csv, made by capture.py beside it).
    pub const CAPTURED: Herd = Herd { evenness: 0.57 };
}

/// What the kernel has for workers that accept.
#[derive(Clone, Debug)]
pub(super) struct Kernel {
    /// Everybody's.
    shared: VecDeque<u32>,
    /// By slot; a replacement inherits it.
    private: Vec<VecDeque<u32>>,
    /// Rises with everybody who begins to watch.
    watchers: u64,
    /// The order in which a herd tends to arrive.
    order: Vec<u16>,
}

impl Kernel {
    pub(super) fn new(workers: u16) -> Self {
        Kernel {
            shared: VecDeque::new(),
            private: vec![VecDeque::new(); usize::from(workers)],
            watchers: 0,
            order: (0..workers).collect(),
        }
    }

    /// How many wait for a worker.
    pub(super) fn waiting(&self) -> usize {
        self.shared.len() + self.private.iter().map(VecDeque::len).sum::<usize>()
    }

    fn watch(&mut self) -> u64 {
        self.watchers += 1;
        self.watchers
    }
}

impl Server {
    /// A connection has arrived where workers accept.
    pub(super) fn arrive_at_workers(&mut self, agenda: &mut Agenda<Happening>, number: u32) {
        match self.setup.arm {
            Arm::Master => unreachable!("the master accepts"),
            Arm::Shared | Arm::Exclusive | Arm::Blocking => {
                self.kernel.shared.push_back(number);
                if let Some(place) = self.woken() {
                    self.wake_to_accept(place, agenda);
                }
            }
            Arm::Reuseport | Arm::ReuseportCbpf => {
                let slots = self.kernel.private.len();
                let slot = match self.setup.arm {
                    Arm::Reuseport => {
                        let mut hash = fastrand::Rng::with_seed(
                            self.connections.get(number).affinity ^ self.setup.seed,
                        );
                        hash.usize(..slots)
                    }
                    _ => self.rng.usize(..slots),
                };
                self.kernel.private[slot].push_back(number);
                if let Some(place) = self.serving[slot]
                    && self.may_accept(place)
                {
                    self.wake_to_accept(place, agenda);
                }
            }
        }
    }

    /// Of those that sleep and watch, the one that gets what has arrived.
    fn woken(&mut self) -> Option<u32> {
        let sleeping = |place: &u32| {
            let member = &self.members[*place as usize];
            member.sleeps() && self.may_accept(*place)
        };
        let serving = self.serving.iter().flatten().copied();
        match self.setup.arm {
            // With threads a worker leaves and comes back, and who has watched for longest is woken
            // first: the captures show a perfect turn.
            Arm::Shared if self.setup.threads == 0 => {
                let order = self.kernel.order.iter();
                let ordered = order.filter_map(|slot| self.serving[usize::from(*slot)]);
                let sleeping: Vec<u32> = ordered.filter(sleeping).collect();
                let evenness = self.setup.herd.evenness;
                let mut index = 0;
                if evenness >= 1.0 {
                    return (!sleeping.is_empty())
                        .then(|| sleeping[self.rng.usize(..sleeping.len())]);
                }
                while index + 1 < sleeping.len() && self.rng.f64() < evenness {
                    index += 1;
                }
                sleeping.get(index).copied()
            }
            _ => serving
                .filter(sleeping)
                .min_by_key(|place| self.members[*place as usize].watches_since),
        }
    }

    /// Whether it takes what arrives.
    fn may_accept(&self, place: u32) -> bool {
        let member = &self.members[place as usize];
        let has_room = match self.setup.arm {
            Arm::Blocking => member.own == 0,
            _ => member.has_place() || (self.setup.eager && member.threads > 0),
        };
        member.stage == Stage::Serving && has_room
    }

    fn wake_to_accept(&mut self, place: u32, agenda: &mut Agenda<Happening>) {
        let wake_ns = self.setup.costs.wake_worker_ns;
        let member = &mut self.members[place as usize];
        if member.sleeps() {
            member.runs_at = Costs::after(agenda.now(), wake_ns);
            let at = member.runs_at;
            self.later(agenda, at, Event::Worker(place));
        }
    }

    /// Accepts one connection and begins with it. False if there is none.
    pub(super) fn accept_own(&mut self, place: u32, agenda: &mut Agenda<Happening>) -> bool {
        if !self.may_accept(place) {
            return false;
        }
        let slot = usize::from(self.members[place as usize].who.slot.0);
        let private = &mut self.kernel.private[slot];
        let Some(number) = private.pop_front().or_else(|| self.kernel.shared.pop_front()) else {
            return false;
        };
        let now = agenda.now();
        let accept_ns = self.setup.costs.accept_ns;
        let connection = self.connections.get_mut(number);
        connection.place = Place::Held(place);
        connection.word = Word::Idle;
        connection.stay = connection.stay.wrapping_add(1);
        connection.lent_at = now;
        connection.heard_at = now;
        self.members[place as usize].own += 1;
        if self.members[place as usize].has_place() {
            // Accepting stands in front of the request.
            self.claim(place, number, accept_ns, agenda);
        } else {
            let stay = self.connections.get(number).stay;
            self.members[place as usize].inbox.push_back((number, stay));
        }
        true
    }

    /// One of its threads has become free, or its only connection is over: unless something else
    /// has come, it watches from now on.
    pub(super) fn watch_again(&mut self, place: u32) {
        let leaves = self.setup.arm == Arm::Blocking || self.members[place as usize].threads > 0;
        if leaves && self.may_accept(place) {
            self.members[place as usize].watches_since = self.kernel.watch();
        }
    }

    /// A worker begins to accept; what waits wakes it at once.
    pub(super) fn begin_to_accept(&mut self, place: u32, agenda: &mut Agenda<Happening>) {
        self.members[place as usize].watches_since = self.kernel.watch();
        let slot = usize::from(self.members[place as usize].who.slot.0);
        if !self.kernel.shared.is_empty() || !self.kernel.private[slot].is_empty() {
            self.wake_to_accept(place, agenda);
        }
    }

    /// Which slots a herd tends to wake first is drawn anew for each server.
    pub(super) fn shuffle_herd(&mut self) {
        let mut order = std::mem::take(&mut self.kernel.order);
        self.rng.shuffle(&mut order);
        self.kernel.order = order;
    }
}
