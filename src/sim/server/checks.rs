//! What holds after every event, for tests to ask.
//!
//! Not here: for how long who waits is passed over (`passed_over`); that all is answered in the end
//! is the driver's to see.

use crate::sim::server::Server;
use crate::sim::server::connections::{Place, Word};
use crate::sim::server::members::Stage;

impl Server {
    /// Panics unless:
    /// - the two machines agree with themselves (nothing waits beside credit, each slot has one life)
    /// - every connection that has arrived is somewhere or over, and is in one place only
    /// - every request is in the socket, in service, answered, died with its worker, or shed: once
    /// - what the master has written down of each worker is what that worker has
    /// - no worker has more in service than it has places, nor more waiting than it was lent
    /// - neither those that have come back nor the new ones are passed over for long
    pub fn check_invariants(&self) {
        self.supervisor.check_invariants();
        let counts = &self.counts;
        assert_eq!(counts.arrived, counts.over + self.connections.len() as u64, "connections");
        let mut asked_here = 0;
        let mut at_kernel = 0;
        let mut queued = 0;
        let mut returned = 0;
        let mut held = vec![(0_u32, 0_u32, 0_u32); self.members.len()];
        for (number, one) in self.connections.iter() {
            let in_ring = |place: u32| {
                self.members[place as usize].ring.iter().any(|(other, _)| *other == number)
            };
            let in_service = matches!(one.place, Place::Held(place)
                if one.word == Word::Active && !in_ring(place));
            assert!(!(in_service && one.unread), "{number} has two requests at one time");
            asked_here += u64::from(one.unread || in_service);
            match one.place {
                Place::Kernel => at_kernel += 1,
                Place::Fresh => queued += 1,
                Place::Returned => {
                    queued += 1;
                    returned += 1;
                }
                Place::Parked => {}
                Place::Held(place) => {
                    let member = &self.members[place as usize];
                    assert_ne!(member.stage, Stage::Gone, "{number} is with nobody");
                    let held = &mut held[place as usize];
                    held.0 += 1;
                    held.1 += u32::from(one.word == Word::Lent);
                    held.2 += u32::from(in_service);
                    let is_active = member.active.contains(&number);
                    assert_eq!(in_service, is_active, "{number}: word and worker disagree");
                }
                Place::Over => unreachable!("not iterated"),
            }
        }
        let done = counts.answered + counts.died + counts.shed;
        assert_eq!(counts.asked, done + asked_here, "requests: {counts:?}");
        assert_eq!(at_kernel, self.master.queue.len() + self.kernel.waiting(), "kernel's queue");
        if !self.lends() {
            return;
        }
        self.dispatcher.check_invariants();
        assert_eq!(queued, self.dispatcher.queued(), "the dispatcher's queues");
        assert_eq!(returned, self.master.returned, "of those, what has come back");
        self.master.passed_over.check_invariants();
        let open: u64 = held.iter().map(|one| u64::from(one.0)).sum();
        assert_eq!(open, self.on_loan, "loans");
        for (member, (open, waiting, active)) in self.members.iter().zip(held) {
            let who = member.who;
            assert_eq!(member.open, open, "{who:?}: open");
            assert_eq!(member.waiting, waiting, "{who:?}: waiting");
            assert_eq!(u32::from(member.busy()), active, "{who:?}: in service");
            assert!(member.busy() <= member.places(), "{who:?} has places for more");
            if member.stage == Stage::Serving && self.forging == 0 {
                let candidate = self.dispatcher.candidate(who.slot);
                let credit = self.setup.credit.map(u32::from);
                if let (Some(_), Some(credit)) = (candidate, credit) {
                    assert!(waiting <= credit, "{who:?} was lent more than its credit");
                }
            }
        }
    }
}
