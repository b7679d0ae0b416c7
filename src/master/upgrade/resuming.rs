//! A master that goes on from the state that another image of this process has left.
//!
//! Nothing is opened that was left open: listeners, connections, channels, pages. What is made anew
//! are the watches (an epoll instance closes on exec, and its registrations go with it) and whatever
//! can be computed from the rest.
//!
//! Not here: the format (`state`), filling it in (`leaving`).

use std::io;

use tracing::warn;

use crate::account::SlotCounters;
use crate::exit::RunError;
use crate::ident::Slot;
use crate::master::connections::{Connection, Place};
use crate::master::roster::Stage;
use crate::master::upgrade::state::{PlaceState, StageState, State};
use crate::master::{Master, system};
use crate::supervise::flood::FloodJudge;
use crate::sys::upgrade::Adopter;

impl Master {
    /// Takes everything over but the listeners and the supervisor, which the master was made with.
    pub(in crate::master) fn resume(
        &mut self,
        state: State,
        adopter: &mut Adopter,
    ) -> Result<(), RunError> {
        // First all descriptors, and only then whatever opens new ones.
        let connections: Vec<_> = state
            .connections
            .iter()
            .map(|one| Ok((one.id, Connection::resume(one, adopter)?)))
            .collect::<io::Result<_>>()
            .map_err(system("taking connections over"))?;
        self.connections.resume(connections);
        let registry = self.poll.registry();
        let members = state.members.iter();
        let serving: Vec<_> = members
            .filter(|member| member.stage == StageState::Serving)
            .map(|member| (member.place, member.shape))
            .collect();
        let (stall_after, now) = (self.settings.stall_after, self.now);
        let flood = || FloodJudge::new(stall_after, now);
        self.roster
            .resume(registry, state.members, adopter, flood)
            .map_err(system("taking workers over"))?;
        self.resume_loans();
        for one in &state.connections {
            match one.place {
                PlaceState::Parked => self.park(one.id),
                PlaceState::Lingering { until, discarded, outcome } => {
                    let registry = self.poll.registry();
                    if let Some(connection) = self.connections.get_mut(one.id)
                        && !self.lingering.resume(registry, one.id, connection, until, discarded)
                    {
                        self.close(one.id, outcome);
                    }
                }
                PlaceState::Queued | PlaceState::OnLoan { .. } => {}
            }
        }
        for (place, shape) in serving {
            if let Some(shape) = shape {
                self.start_lending_to(place, shape);
            }
        }
        for (id, since) in state.waiting {
            if let Some(connection) = self.connections.get(id) {
                self.dispatcher.handle_accepted(id, connection.affinity(), since);
            }
        }
        for (name, count) in &state.counters {
            if !self.counters.set(name, *count) {
                warn!(name, count, "the other version counted what this one does not know");
            }
        }
        for (slot, (seated, starts)) in (0..).map(Slot).zip(state.slots) {
            *self.counters.slot_mut(slot) = SlotCounters { seated, starts };
        }
        self.counters.upgrades += 1;
        // Who has left for a reason that only the other version knows is left out altogether: what
        // remains adds up.
        let unknown = u64::try_from(self.account().missing()).unwrap_or(0);
        self.counters.accepted -= unknown;
        if let Some(at) = state.started_at_ms {
            self.publisher.resume(at);
        }
        self.announced = true;
        self.service.resume();
        self.look_again_soon();
        Ok(())
    }

    /// Every loan may have become readable while its worker is stuck: none is watched yet.
    fn resume_loans(&mut self) {
        for (_, member) in self.roster.iter_mut() {
            let loans: Vec<_> = member.page.loans().map(|(loan, ..)| loan).collect();
            for loan in loans {
                member.idle.note_lent(loan, &member.page);
            }
        }
    }
}

impl From<StageState> for Stage {
    fn from(stage: StageState) -> Stage {
        match stage {
            StageState::Starting => Stage::Starting,
            // It serves once the dispatcher knows it.
            StageState::Serving | StageState::Leaving => Stage::Leaving,
            StageState::Ending => Stage::Ending,
        }
    }
}

impl From<PlaceState> for Place {
    fn from(place: PlaceState) -> Place {
        match place {
            // It is parked once its watch is set.
            PlaceState::Queued | PlaceState::Parked => Place::Queued,
            PlaceState::OnLoan { member, loan } => Place::OnLoan { member, loan },
            PlaceState::Lingering { outcome, .. } => Place::Lingering { outcome },
        }
    }
}
