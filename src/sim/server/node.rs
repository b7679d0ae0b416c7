//! The server as a node of a fleet: the real [`fleet::Node`](crate::fleet::Node) is shown what
//! `master::fleet` shows it.
//!
//! Not here: what follows from it (`fleet`), who is told (`sim::cluster`).

use crate::fleet::{Node, NodeLook, WorkerLook};
use crate::sim::server::Server;
use crate::time::Nanos;

impl Server {
    /// Has the node look at this server. `workers` is kept by the caller for its memory alone.
    pub fn show_node(&self, node: &mut Node, workers: &mut Vec<WorkerLook>, now: Nanos) {
        workers.clear();
        let serving = self.serving.iter().flatten();
        workers.extend(serving.map(|place| self.worker_look(*place as usize, now)));
        let (credit, credit_free) = self.dispatcher.room();
        let queued = self.dispatcher.queued() + self.kernel.waiting();
        let queued = u32::try_from(queued).unwrap_or(u32::MAX);
        node.handle_look(now, &NodeLook { workers, credit, credit_free, queued });
    }

    fn worker_look(&self, place: usize, now: Nanos) -> WorkerLook {
        let member = &self.members[place];
        let running = member.active.iter().map(|connection| {
            let began_at = self.connections.get(*connection).began_at;
            now.since(began_at).as_nanos() as u64
        });
        let candidate = self.dispatcher.candidate(member.who.slot);
        let is_stuck = candidate.is_some_and(|candidate| candidate.stuck);
        let places = u32::from(member.places());
        let places_free = places.saturating_sub(u32::from(member.busy()));
        WorkerLook {
            who: member.who,
            places,
            places_free,
            finished: member.finished,
            errors: 0,
            busy_ns: member.busy_ns + running.sum::<u64>(),
            waiting: member.waiting,
            stuck: member.stopped_since.is_some() || (is_stuck && places_free > 0),
        }
    }
}
