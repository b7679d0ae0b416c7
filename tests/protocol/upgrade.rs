//! USR2: between two turns another image of the master takes this one's place, and the workers do
//! not notice.
//!
//! What travels is what `src/master/upgrade/leaving.rs` writes down: a page's own record as JSON,
//! what is unclaimed and owed, who waits; frames that are owed as bytes. All else is made anew, as
//! `resuming.rs` does it.
//!
//! Not here: the rest of what a real state holds, and whether it holds together (`upgrade::state`).

use std::sync::Arc;

use maitred::board::{Call, MasterPage, PageState};
use maitred::handoff::ToWorker;
use maitred::ident::ConnectionId;
use maitred::time::Nanos;

use crate::protocol::World;
use crate::protocol::clients::Place;
use crate::protocol::deciding::Round;
use crate::protocol::master::{self, Member, Stage};

impl World {
    pub(crate) fn upgrade(&mut self) {
        self.check_books();
        let waiting: Vec<_> = self.dispatcher.waiting().collect();
        self.check_state(&waiting);
        let is_serving = |one: &&mut Member| one.stage == Stage::Serving;
        for member in self.members.iter_mut().filter(|one| one.stage != Stage::Gone) {
            member.resume(self.bounds.places);
        }
        let mut serving = Vec::new();
        for (place, member) in self.members.iter_mut().enumerate() {
            if is_serving(&member) {
                member.stage = Stage::Leaving;
                serving.push(place);
            }
        }
        self.round = Round::default();
        self.last_lent = None;
        self.dispatcher = master::dispatcher(&self.bounds);
        for place in serving {
            self.start_lending_to(place);
        }
        for (id, since) in waiting {
            self.dispatcher.handle_accepted(id, 0, since);
        }
        // The watches are new, so everything is reported again; and a turn comes in any case.
        self.turn_open = true;
    }

    /// What `State::check` refuses: a state that contradicts itself.
    fn check_state(&self, waiting: &[(ConnectionId, Nanos)]) {
        for (place, member) in self.members.iter().enumerate() {
            assert!(member.outbox.is_empty(), "between two turns nothing is in an outbox");
            for (index, sequence, id) in member.page.state().on_loan() {
                let loan = maitred::ident::LoanId { index, sequence };
                let at = self.connections[id.0 as usize].place;
                assert_eq!(at, Place::OnLoan(place, loan), "a connection is not at its worker");
            }
        }
        let queued = self.connections.iter().filter(|one| one.place == Place::Queued).count();
        assert_eq!(queued, waiting.len(), "who is queued is not who waits");
    }
}

impl Member {
    fn resume(&mut self, places: u32) {
        let text = serde_json::to_string(&self.page.state()).expect("it can be written");
        let state: PageState = serde_json::from_str(&text).expect("and read");
        self.page = MasterPage::resume(Arc::clone(&self.memory), places, &state).expect("a page");
        self.page.lower_bell();
        self.call = Call::NOTHING;
        self.claimed_at = Nanos(0);
        self.is_watching = false;
        self.heard_end = false;
        for frame in &mut self.frames_owed {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            *frame = ToWorker::decode(&bytes).expect("what was to be sent can be read");
        }
    }
}
