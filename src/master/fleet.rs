//! Looking at the whole node, for balancers beyond this machine.
//!
//! With `--load-header`, `--agent-check` or `--admin` the master sums up, every [`FLEET_LOOK`]
//! while there is anything to do, what it reads of its workers in each turn anyway, and tells each
//! worker how the node stands: two stores into its page. It wakes up for that, since connections
//! that are lent keep it asleep however busy they are; once the node is at rest it does not wake up
//! any more, and whatever happens next wakes it anyway.
//!
//! Not here: what follows from the sums (`fleet`), who tells clients (`worker::load_field`), and who
//! answers the agent check (`admin`).

use std::time::Duration;

use crate::account::NodeStatus;
use crate::board::NodeWords;
use crate::config::{FLEET_LOOK, Settings};
use crate::fleet::orca::LoadMetrics;
use crate::fleet::{Node, NodeLoad, NodeLook, WeightSettings, WorkerLook};
use crate::master::Master;
use crate::master::roster::{Member, Stage};
use crate::time::Nanos;

/// The node, as it was when it was last looked at.
pub(super) struct NodeWatch {
    node: Node,
    looked_at: Option<Nanos>,
    stamp: u32,
    /// Kept from look to look for its memory alone.
    workers: Vec<WorkerLook>,
}

impl NodeWatch {
    /// One, where anybody may want to know.
    pub(super) fn new(settings: &Settings) -> Option<Self> {
        let is_asked_for = settings.fleet.is_asked_for() || !settings.admin.is_empty();
        let node = is_asked_for.then(|| Node::new(WeightSettings::default()))?;
        Some(NodeWatch { node, looked_at: None, stamp: 0, workers: Vec::new() })
    }

    /// What the node says of itself.
    pub(super) fn load(&self) -> NodeLoad {
        self.node.load()
    }

    /// How long the next look is to wait; none if it is due.
    fn due_in(&self, now: Nanos) -> Option<Duration> {
        let due_at = self.looked_at? + FLEET_LOOK;
        (now < due_at).then(|| now.until(due_at))
    }
}

impl Master {
    /// Looks at the node if it is time, and says how long the loop may rest.
    pub(super) fn watch_node(&mut self, rest: Option<Duration>) -> Option<Duration> {
        // Before all are ready it is no node: a balancer would hear of a load that nobody put on it.
        let Some(mut watch) = self.node.take_if(|_| self.announced) else { return rest };
        let wait = match watch.due_in(self.now) {
            Some(wait) => wait,
            None => {
                self.look_at_node(&mut watch);
                FLEET_LOOK
            }
        };
        let goes_on = !watch.node.is_at_rest();
        self.node = Some(watch);
        if goes_on { Some(rest.map_or(wait, |rest| rest.min(wait))) } else { rest }
    }

    /// What the node says of itself, where anybody is told.
    pub(super) fn node_status(&self) -> Option<NodeStatus> {
        let load = self.node.as_ref()?.load();
        // What was averaged is within its bounds; a cast saturates where it is not.
        let scaled = |number: f64, by: f64| (number * by).round();
        Some(NodeStatus {
            weight_percent: load.weight_percent,
            busy_millionths: scaled(load.busy, 1e6) as u32,
            load_millionths: scaled(load.load, 1e6) as u32,
            requests_per_1000_s: scaled(load.requests_per_second, 1e3) as u64,
            errors_per_1000_s: scaled(load.errors_per_second, 1e3) as u64,
            queue_wait: load.queue_wait,
        })
    }

    fn look_at_node(&mut self, watch: &mut NodeWatch) {
        watch.looked_at = Some(self.now);
        watch.workers.clear();
        let serving = self.roster.iter().filter(|(_, member)| member.stage == Stage::Serving);
        watch.workers.extend(serving.map(|(_, member)| self.worker_look(member)));
        let kernel_waits = self.acceptor.kernel_waits();
        let in_kernel = if kernel_waits { self.acceptor.backlog() } else { None };
        let queued = u32::try_from(self.dispatcher.queued()).unwrap_or(u32::MAX);
        let (credit, credit_free) = if self.acceptor.lends() {
            self.dispatcher.room()
        } else {
            // Workers that accept themselves have room wherever a place is free.
            let sum = |places: fn(&WorkerLook) -> u32| {
                watch.workers.iter().map(places).fold(0, u32::saturating_add)
            };
            (sum(|worker| worker.places), sum(|worker| worker.places_free))
        };
        let look = NodeLook {
            workers: &watch.workers,
            credit,
            credit_free,
            queued: queued.saturating_add(in_kernel.unwrap_or(0)),
        };
        watch.node.handle_look(self.now, &look);
        // Zero is what a page says to which nobody has told anything.
        watch.stamp = watch.stamp.wrapping_add(1).max(1);
        if self.settings.fleet.load_header.is_some() {
            let (first, second) = LoadMetrics::from(&watch.node.load()).to_words();
            let told = NodeWords { stamp: watch.stamp, first, second };
            for (_, member) in self.roster.iter() {
                member.page.tell_of_node(told);
            }
        }
    }

    fn worker_look(&self, member: &Member) -> WorkerLook {
        let candidate = self.dispatcher.candidate(member.who.slot);
        let is_stuck = candidate.is_some_and(|candidate| candidate.stuck);
        let threads = member.shape.map_or(0, |shape| shape.threads);
        let places = u32::from(threads.max(1));
        let unclaimed = u32::try_from(member.unclaimed.len()).unwrap_or(u32::MAX);
        let stopped = member.stopped_at.is_some();
        if let Some(report) = &member.reported {
            let places_free = places.saturating_sub(report.busy);
            return WorkerLook {
                who: member.who,
                places,
                places_free,
                finished: report.finished,
                errors: report.errors,
                busy_ns: report.busy_ns,
                waiting: unclaimed.saturating_add(report.queued),
                stuck: stopped || (is_stuck && places_free > 0),
            };
        }
        let report = member.page.report();
        let busy = match threads {
            0 => u32::from(report.turn_entered != Nanos(0)),
            _ => report.threads_busy,
        };
        let places_free = places.saturating_sub(busy);
        let running = member.page.running_ns(threads, self.now);
        WorkerLook {
            who: member.who,
            places,
            places_free,
            // A claim that no answer followed is no request.
            finished: report.requests_finished.saturating_sub(report.claims_empty),
            errors: report.errors,
            busy_ns: report.busy_ns.saturating_add(running),
            waiting: unclaimed.saturating_add(report.requests_queued),
            // One all of whose places are taken is counted as busy. It may be stuck for a balancer of
            // connections, which looks at milliseconds; a balancer of nodes looks at seconds.
            stuck: stopped || (is_stuck && places_free > 0),
        }
    }
}
