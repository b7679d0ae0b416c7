//! Filling in the state: everything that the next image must know, and what it must find open.
//!
//! Not here: the format (`state`), the way back (`resuming`).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use crate::master::Master;
use crate::master::connections::{Connection, Place};
use crate::master::roster::{Member, Stage};
use crate::master::upgrade::state::{
    AdminState, Header, MemberState, PlaceState, StageState, State,
};

impl Master {
    /// This master, between two turns: what has been decided is done, and no outbox is filled.
    pub(super) fn state(&self) -> State {
        let connections = self.connections.iter();
        let slots = self.counters.slots().iter();
        State {
            header: Header::ours(),
            started_at_ms: Some(self.publisher.started_at_ms()),
            listeners: self.acceptor.state(),
            connections: connections
                .map(|(id, connection)| {
                    let place = self.place_state(id, connection);
                    connection.state(id, place)
                })
                .collect(),
            waiting: self.dispatcher.waiting().collect(),
            members: self
                .roster
                .iter()
                .map(|(place, member)| member_state(place, member))
                .collect(),
            supervisor: self.supervisor.state(),
            counters: self.counters.list().map(|(name, count)| (name.into(), count)).collect(),
            meters: self.meters.as_ref().map(|meters| meters.as_fd().as_raw_fd()),
            slots: slots.map(|slot| (slot.seated, slot.starts)).collect(),
            admin: Some(self.admin.state()).filter(|admin| *admin != AdminState::default()),
        }
    }

    /// The descriptors that the state names.
    pub(super) fn kept(&self) -> Vec<BorrowedFd<'_>> {
        let connections = self.connections.iter().map(|(_, connection)| connection.descriptor());
        let members = self.roster.iter().flat_map(|(_, member)| member.kept());
        let meters = self.meters.as_ref().map(|meters| meters.as_fd());
        self.acceptor
            .descriptors()
            .chain(connections)
            .chain(members)
            .chain(self.admin.kept())
            .chain(meters)
            .collect()
    }

    fn place_state(&self, id: crate::ident::ConnectionId, connection: &Connection) -> PlaceState {
        match connection.place() {
            Place::Queued => PlaceState::Queued,
            Place::Parked => PlaceState::Parked,
            Place::OnLoan { member, loan } => PlaceState::OnLoan { member, loan },
            Place::Lingering { outcome } => {
                let (until, discarded) = self.lingering.allowance(id).unwrap_or_default();
                PlaceState::Lingering { until, discarded, outcome }
            }
        }
    }
}

fn member_state(place: u32, member: &Member) -> MemberState {
    let [channel, memory, alarm, bell] = member.kept().map(|kept| kept.as_raw_fd());
    let frames = member.frames_owed.iter().map(|frame| {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        bytes
    });
    MemberState {
        place,
        who: member.who,
        pid: member.child.pid(),
        channel,
        memory,
        alarm,
        bell,
        started_at: member.started_at,
        ready_at: member.ready_at,
        stage: match member.stage {
            Stage::Starting => StageState::Starting,
            Stage::Serving => StageState::Serving,
            Stage::Leaving => StageState::Leaving,
            Stage::Ending => StageState::Ending,
        },
        shape: member.shape,
        proxy: member.proxy.is_some(),
        page: member.page.state(),
        unclaimed: member.unclaimed.iter().copied().collect(),
        recalls_owed: member.recalls_owed.iter().copied().collect(),
        frames_owed: frames.collect(),
        stopped_at: member.stopped_at,
        stalls: member.stalls,
        reported: member.reported,
        breach: member.breach,
        leave_at: member.leave_at,
    }
}
