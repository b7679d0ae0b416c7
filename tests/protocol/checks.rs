//! What must hold: after every step, when a dead worker is settled, at rest, and when the master is
//! gone.
//!
//! Not here: what is done (`master`, `worker`).

use maitred::board::Settled;
use maitred::loan::{LoanState, MasterState, Settlement};

use crate::protocol::clients::{Outcome, Place};
use crate::protocol::master::{Piece, Stage};
use crate::protocol::search::Found;
use crate::protocol::worker::{Deed, Session, Stage as SessionStage};
use crate::protocol::{End, Step, World};

/// More steps than any world of this size needs until nothing is left to do.
const STEPS_TO_REST_MAX: usize = 2000;

impl World {
    /// After every step.
    pub(crate) fn check(&self) {
        self.check_books();
        for (number, connection) in self.connections.iter().enumerate() {
            let readers = self
                .live_sessions()
                .filter(|(_, session)| session.connection == number && session.stage.is_claimed());
            let readers: Vec<_> = readers.collect();
            assert!(readers.len() <= 1, "{number} has two readers");
            for (place, session) in readers {
                let at = connection.place;
                let is_there = at == Place::OnLoan(place, session.loan) || self.master_gone;
                assert!(is_there, "{number} is read at {place}, and is at {at:?}");
            }
        }
    }

    /// Places, and where connections are.
    pub(crate) fn check_books(&self) {
        let mut on_loan = 0;
        for (place, member) in self.members.iter().enumerate() {
            member.page.check_invariants();
            for (loan, id, state) in member.page.loans() {
                if state == MasterState::OnLoan {
                    on_loan += 1;
                    let at = self.connections[id.0 as usize].place;
                    assert_eq!(at, Place::OnLoan(place, loan), "{} is elsewhere", id.0);
                }
            }
        }
        let count = |wanted: fn(&Place) -> bool| {
            self.connections.iter().filter(|one| wanted(&one.place)).count()
        };
        let lent = count(|place| matches!(place, Place::OnLoan(..)));
        assert_eq!(lent, on_loan, "what is on loan");
        let outboxes: usize = self.members.iter().map(|one| one.outbox.len()).sum();
        let queued = count(|place| *place == Place::Queued);
        assert_eq!(queued, self.dispatcher.queued() + outboxes, "what is queued");
        for connection in &self.connections {
            let is_gone = connection.place == Place::Gone;
            assert_eq!(is_gone, connection.outcome.is_some(), "gone and counted: {connection:?}");
        }
    }

    /// A worker has won a claim.
    pub(crate) fn check_reader(&self, place: usize, number: usize) {
        let session = &self.workers[place].sessions[number];
        let connection = &self.connections[session.connection];
        assert!(!connection.over, "{} is claimed, and over", session.connection);
    }

    /// The fate of a dead worker's loan, against what that worker really did.
    pub(crate) fn check_settled(&self, place: usize, one: &Settled) {
        let number = one.connection.0 as usize;
        let connection = &self.connections[number];
        if one.settlement == Settlement::Elsewhere {
            assert_ne!(connection.place, Place::OnLoan(place, one.loan), "{number} is lost");
            return;
        }
        assert_eq!(connection.place, Place::OnLoan(place, one.loan), "{number} is elsewhere");
        let session = self.workers[place].sessions.iter().find(|session| session.loan == one.loan);
        let stage = session.map(|session| session.stage);
        let is_unread = session.is_none_or(|session| session.carried == 0);
        match one.settlement {
            Settlement::SeatAgain | Settlement::Idle => {
                assert!(is_unread, "{number} was read, and goes to a second reader: {stage:?}");
                assert!(!connection.over, "{number} is over, and is seated again");
            }
            Settlement::BadGateway => {
                let nothing_left = matches!(
                    stage,
                    Some(SessionStage::Claimed | SessionStage::Reading | SessionStage::Handling)
                );
                assert!(nothing_left, "{number} gets a 502 in the middle of an answer: {stage:?}");
            }
            Settlement::Reset(_) => {
                let answers = matches!(stage, Some(SessionStage::Answering | SessionStage::Left));
                assert!(answers, "{number} is reset, and could have had a 502: {stage:?}");
            }
            Settlement::Close => assert!(connection.over, "{number} was not shut down"),
            Settlement::Elsewhere => {}
        }
    }

    /// Goes on without any further fault until nothing is left to do, first with silent clients,
    /// then with everything sent: nobody is stranded, no copy is left over.
    pub(crate) fn check_rest(mut self, found: &mut Found) {
        self.run_to_rest(found);
        self.check_at_rest();
        loop {
            let steps = self.clients_steps();
            if steps.is_empty() {
                break;
            }
            for step in steps {
                self.take(step);
            }
            self.run_to_rest(found);
            self.check_at_rest();
        }
        for (number, connection) in self.connections.iter().enumerate() {
            if self.bounds.end != End::Never {
                assert!(connection.outcome.is_some(), "{number} has not ended: {connection:?}");
            }
        }
    }

    /// Workers and events first; the master's timers only when nothing else happens any more.
    fn run_to_rest(&mut self, found: &mut Found) {
        let mut counted = false;
        for _ in 0..STEPS_TO_REST_MAX {
            if let Some(step) = self.next_of_a_worker() {
                self.take(step);
                continue;
            }
            let piece = self.masters_steps().into_iter().next().expect("it can always decide");
            if self.has_event() {
                self.take(Step::Master(piece));
                continue;
            }
            let waits = (0..self.connections.len()).any(|number| self.is_stranded(number));
            if !counted && (waits || self.is_given()) {
                counted = true;
                found.by_timer += 1;
            }
            // Whatever the timer is for, it makes one whole turn.
            let before = self.key();
            self.take(Step::Master(piece));
            while self.next_of_a_worker().is_none() && self.has_event() {
                let piece = self.masters_steps().into_iter().next().expect("it has an event");
                self.take(Step::Master(piece));
            }
            if self.key() == before {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn next_of_a_worker(&self) -> Option<Step> {
        (0..self.workers.len()).find_map(|place| {
            let deeds = self.workers_steps(place);
            deeds.into_iter().next().map(|deed| Step::Worker(place, deed))
        })
    }

    /// Its client waits for an answer that nobody is about to give.
    fn is_stranded(&self, number: usize) -> bool {
        let connection = &self.connections[number];
        let complete = connection.sent / self.bounds.pieces;
        !connection.over && connection.answered < complete
    }

    /// Something that was given back is nobody's.
    fn is_given(&self) -> bool {
        self.members.iter().any(|member| {
            let is_given = |loan| member.page.look(loan) == LoanState::Given;
            member.page.loans().any(|(loan, ..)| is_given(loan))
        })
    }

    fn check_at_rest(&self) {
        self.check();
        assert_eq!(self.dispatcher.queued(), 0, "somebody waits for a seat");
        for (number, connection) in self.connections.iter().enumerate() {
            assert!(!self.is_stranded(number), "{number} has no answer: {connection:?}");
            let lost = connection.answered < self.bounds.requests[number];
            let died = [Some(Outcome::DiedUnanswered), Some(Outcome::DiedAnswering)];
            if lost && connection.over && !connection.closed {
                assert!(died.contains(&connection.outcome), "{number} is lost: {connection:?}");
            }
            let held = |place: &usize| {
                self.workers[*place].sessions.iter().filter(|one| one.connection == number).count()
            };
            let live = |place: &usize| !self.workers[*place].is_dead;
            let copies: usize = (0..self.workers.len()).filter(live).map(|one| held(&one)).sum();
            let expected = usize::from(matches!(connection.place, Place::OnLoan(..)));
            assert_eq!(copies, expected, "copies of {number}: {connection:?}");
        }
        for (place, member) in self.members.iter().enumerate() {
            let in_channel = member.to_worker.len() + member.to_master.len();
            let heard = member.stage == Stage::Gone || in_channel == 0;
            assert!(heard, "what was said to or by {place} is never heard");
            if member.stage == Stage::Gone {
                continue;
            }
            assert_eq!(member.page.owed(), 0, "a place of {place} is never freed");
            assert!(self.workers[place].owed.is_empty(), "{place} never says what it owes");
            let reads = |one: &Session| one.stage == SessionStage::Reading;
            let finishes = self.workers[place].sessions.iter().any(reads);
            assert!(member.stage != Stage::Leaving || finishes, "{place} never leaves");
        }
        self.check_conservation();
    }

    /// accepted = finished + left idle + died + on loan + parked + queued
    fn check_conservation(&self) {
        let accepted = self.connections.len() - self.backlog.len();
        let gone = self.connections.iter().filter(|one| one.outcome.is_some()).count();
        let lent: u32 = self.members.iter().map(|one| one.page.on_loan()).sum();
        let parked = self.connections.iter().filter(|one| one.place == Place::Parked).count();
        let held = lent as usize + parked + self.dispatcher.queued();
        assert_eq!(accepted, gone + held, "conservation");
    }

    /// The master dies here: what workers have read they answer, nobody reads anything twice, and
    /// every worker leaves and closes what it has.
    pub(crate) fn check_masters_death(mut self) {
        self.master_gone = true;
        for place in 0..self.members.len() {
            // What it had sent can still be received; nothing can be said any more.
            self.members[place].to_master.clear();
        }
        for _ in 0..STEPS_TO_REST_MAX {
            let Some(step) = self.next_of_a_worker() else { break };
            self.take(step);
            for worker in &mut self.workers {
                worker.owed.clear();
            }
        }
        for (place, worker) in self.workers.iter().enumerate() {
            // Those have a deadline: half of a request, and what came with nothing to read.
            let waits = worker.sessions.iter().all(|one| {
                let is_idle = one.stage == SessionStage::Waiting(LoanState::Idle);
                one.stage == SessionStage::Reading || is_idle
            });
            let leaves = worker.is_dead || waits;
            assert!(leaves, "{place} outlives its master with {:?}", worker.sessions);
        }
    }

    fn live_sessions(&self) -> impl Iterator<Item = (usize, &Session)> {
        let live = self.workers.iter().enumerate().filter(|(_, worker)| !worker.is_dead);
        live.flat_map(|(place, worker)| worker.sessions.iter().map(move |one| (place, one)))
    }
}

impl Step {
    /// Whether the step does nothing but look once more.
    pub(crate) fn is_look(self) -> bool {
        matches!(self, Step::Master(Piece::Decide) | Step::Worker(_, Deed::LeaveTurn))
    }
}
