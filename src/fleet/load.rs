//! How loaded a node is, as one number: 0 is idle, 1 is what it can just serve, more is too much.
//!
//! A share of busy places alone cannot say how far beyond its capacity a node is driven: at 1 it
//! ends. A queue can, but it is an integral: it goes on growing for as long as too much comes and
//! stays long after that has stopped, and whoever steers by its length alone steers by the past and
//! oscillates. So the load is what is *offered* in multiples of what can be served:
//!
//! ```text
//!   offered = busy share + how fast the waiting time grows (seconds in a second)
//! ```
//!
//! which is exact for a queue in front of one place (what comes in a second and does not fit makes
//! the wait that much longer), and falls below 1 as soon as less comes, while the queue still
//! drains. A small share of the waiting time itself is added, so that of two nodes that are both
//! just served the one whose clients wait gets less.
//!
//! Not here: what becomes of it (`weight`, `orca`).

use std::time::Duration;

use crate::config::{FLEET_LOAD_MAX, FLEET_WAIT_COUNTED, FLEET_WAIT_WEIGHT};

/// One look at one node.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NodeFacts {
    /// Connections that may wait or be served here at once, all workers together: their credit.
    pub credit: u32,
    /// Of that, how many more could come now.
    pub credit_free: u32,
    /// How many can be served at once, all workers together; the rest of the credit is for waiting.
    pub places: u32,
    /// The share of the time since the last look in which handlers (threads or loops) were busy: 0
    /// to 1, and 1 for anything else.
    pub busy: f64,
    /// How long what comes now will wait.
    pub queue_wait: Duration,
    /// Workers that serve.
    pub workers: u32,
    /// Of those, how many make no progress.
    pub workers_stuck: u32,
}

impl NodeFacts {
    /// The share of the node that is taken, 0 to 1: by busy handlers, by stuck workers, or of the
    /// room for waiting behind them. Who has no worker has no room.
    ///
    /// Of the credit only what exceeds the places counts. Places that are taken at the moment of a
    /// look are a noisy picture of how busy they are, and the larger of the two would be above both
    /// on average: where credit is hardly more than places (`--credit 1`, the kernel's arms) a node
    /// at 0.7 looked as one at 0.9, and one that drowned stood out no more.
    pub fn taken(&self) -> f64 {
        if self.workers == 0 || self.credit == 0 {
            return 1.0;
        }
        let busy = if (0.0..=1.0).contains(&self.busy) { self.busy } else { 1.0 };
        let stuck = share(self.workers_stuck, self.workers);
        // What is stuck has no time to offer, and may not have been counted as busy: a stopped
        // process says nothing at all.
        let busy_or_stuck = busy + stuck * (1.0 - busy);
        let used = self.credit.saturating_sub(self.credit_free);
        let waiting = used.saturating_sub(self.places);
        busy_or_stuck.max(share(waiting, self.credit.saturating_sub(self.places)))
    }

    /// The load, 0 to [`FLEET_LOAD_MAX`], given the wait at the last look and the time since then.
    pub fn load(&self, wait_before: Duration, passed: Duration) -> f64 {
        let (wait, before) = (self.queue_wait.as_secs_f64(), wait_before.as_secs_f64());
        let growth = match passed.as_secs_f64() {
            0.0 => 0.0,
            // No wait becomes shorter by more than the time that passes; the other side has the
            // same bound, or noise alone would look like load.
            passed => ((wait - before) / passed).clamp(-1.0, 1.0),
        };
        let waits = self.queue_wait.min(FLEET_WAIT_COUNTED).as_secs_f64() * FLEET_WAIT_WEIGHT;
        (self.taken() + growth + waits).clamp(0.0, FLEET_LOAD_MAX)
    }
}

fn share(part: u32, all: u32) -> f64 {
    (f64::from(part) / f64::from(all.max(1))).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: NodeFacts = NodeFacts {
        credit: 36,
        credit_free: 36,
        places: 4,
        busy: 0.0,
        queue_wait: Duration::ZERO,
        workers: 4,
        workers_stuck: 0,
    };
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn who_has_nobody_to_serve_has_no_room() {
        assert_eq!(NodeFacts::default().taken(), 1.0);
        assert_eq!(NodeFacts { credit: 0, ..IDLE }.taken(), 1.0);
        assert_eq!(IDLE.taken(), 0.0);
    }

    #[test]
    fn a_stuck_worker_takes_its_share_of_what_the_others_left() {
        let one_of_four = NodeFacts { workers_stuck: 1, ..IDLE };
        assert_eq!(one_of_four.taken(), 0.25);
        assert_eq!(NodeFacts { busy: 0.5, ..one_of_four }.taken(), 0.625);
        assert_eq!(NodeFacts { workers_stuck: 9, ..IDLE }.taken(), 1.0);
    }

    #[test]
    fn room_for_waiting_that_is_used_counts_and_places_that_are_taken_do_not() {
        let served = NodeFacts { credit_free: 32, busy: 0.7, ..IDLE };
        assert_eq!(served.taken(), 0.7, "all places are taken at this moment");
        assert_eq!(NodeFacts { credit_free: 0, ..served }.taken(), 1.0, "nobody could wait");
        assert_eq!(NodeFacts { credit_free: 4, ..served }.taken(), 0.875);
        let without = NodeFacts { credit: 4, credit_free: 0, ..served };
        assert_eq!(without.taken(), 0.7, "there is no room for waiting that could be used");
    }

    #[test]
    fn a_measure_that_cannot_be_counts_as_busy() {
        for busy in [f64::NAN, f64::INFINITY, -0.1, 1.1] {
            assert_eq!(NodeFacts { busy, ..IDLE }.taken(), 1.0);
        }
    }

    #[test]
    fn what_is_offered_beyond_what_is_served_is_how_fast_the_wait_grows() {
        let busy = NodeFacts { busy: 1.0, credit_free: 0, ..IDLE };
        let growing = NodeFacts { queue_wait: Duration::from_millis(200), ..busy };
        let offered = growing.load(Duration::ZERO, SECOND);
        assert!((offered - (1.2 + 0.2 * FLEET_WAIT_WEIGHT)).abs() < 1e-9, "{offered}");
        // The same wait, and it has been twice as long: less comes than is served.
        let draining = growing.load(Duration::from_millis(400), SECOND);
        assert!((draining - (0.8 + 0.2 * FLEET_WAIT_WEIGHT)).abs() < 1e-9, "{draining}");
        assert_eq!(growing.load(Duration::ZERO, Duration::ZERO), 1.0 + 0.2 * FLEET_WAIT_WEIGHT);
    }
}
