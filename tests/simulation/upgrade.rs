//! USR2: between two turns another image of the master takes this one's place, while workers and
//! clients go on.
//!
//! Follows `src/master/upgrade`: a page's own record travels as JSON, who waits in its order; epoll
//! instances and the dispatcher are new, and what the kernel has is reported again.
//!
//! Not here: the same after every single step (`protocol_exploration`).

use std::sync::Arc;

use maitred::board::{Call, MasterPage, PageState};
use maitred::loan::MasterState;
use maitred::time::Nanos;

use crate::simulation::clients::Place;
use crate::simulation::master::{IdleWatch, LOANS_MAX, Member, Source, Stage};
use crate::simulation::{World, dispatcher};

impl World {
    pub(crate) fn upgrade(&mut self) {
        self.tell(|| "the master is upgraded".into());
        let waiting: Vec<_> = self.dispatcher.waiting().collect();
        let pages: Vec<_> = self.members.iter().map(|one| one.page.state()).collect();
        let texts: Vec<_> =
            pages.iter().map(|page| serde_json::to_string(page).expect("can be written")).collect();
        // An exec takes its time.
        for _ in 0..8 {
            self.meanwhile();
        }
        self.dispatcher = dispatcher(&self.plan, self.random.u64(..));
        self.dispatcher_begins(&texts);
        for (id, since) in waiting {
            self.dispatcher.handle_accepted(id, 0, since);
        }
        self.report_everything();
        self.look_again_soon();
    }

    fn dispatcher_begins(&mut self, texts: &[String]) {
        let mut serving = Vec::new();
        for (place, text) in texts.iter().enumerate() {
            let member = &mut self.members[place];
            if member.stage == Stage::Gone {
                continue;
            }
            member.resume(&serde_json::from_str(text).expect("can be read"));
            if member.stage == Stage::Serving {
                member.stage = Stage::Leaving;
                serving.push(place);
            }
        }
        for connection in &mut self.connections {
            connection.watched = false;
        }
        for place in serving {
            self.start_lending_to(place);
        }
    }

    /// Every watch is new: what is ready is reported, whether it was before or not.
    fn report_everything(&mut self) {
        self.master.forget_look();
        self.master.events.retain(|source| matches!(source, Source::Alarm(_)));
        self.master.listener.ready = true;
        self.master.listener.watched = true;
        for place in 0..self.members.len() {
            let member = &self.members[place];
            let (says, is_dead) = (!member.to_master.is_empty(), self.workers[place].is_dead);
            let has_changed = !member.changes.is_empty();
            if member.stage != Stage::Gone && (says || is_dead) {
                self.report(Source::Channel(place));
            }
            if has_changed {
                self.report(Source::Process(place));
            }
        }
        for number in 0..self.connections.len() {
            if self.connections[number].place == Place::Parked {
                self.park(number);
            }
        }
    }
}

impl Member {
    fn resume(&mut self, state: &PageState) {
        self.page = MasterPage::resume(Arc::clone(&self.memory), LOANS_MAX, state).expect("a page");
        self.page.lower_bell();
        self.page.check_invariants();
        self.bell = Call::NOTHING;
        self.claimed_at = Nanos(0);
        let on_loan = self.page.loans().filter(|(.., state)| *state == MasterState::OnLoan);
        let unregistered = on_loan.map(|(loan, ..)| loan).collect();
        self.idle = IdleWatch { unregistered, ..IdleWatch::default() };
    }
}
