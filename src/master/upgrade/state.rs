//! What one master image leaves the next: the format, its version, and whether it holds together.
//!
//! JSON, so that a version can be told before anything else is understood, a field that is new has
//! a default, and a person can read what went wrong. Numbers of descriptors are those of this
//! process, which stays the same one. `tests/upgrade-states/` has the states of past releases; all
//! of them must be read.
//!
//! Not here: filling it in (`leaving`), building a master from it (`resuming`).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::account::{Happened, Outcome};
use crate::board::{PAGE_LAYOUT, PageState};
use crate::config::{CONTEXT_SIZE, LOANS_MAX};
use crate::dispatch::Shape;
use crate::handoff::{PROTOCOL_VERSION, ReportRecord, ToWorker};
use crate::ident::{ConnectionId, Incarnation, ListenerId, LoanId, PeerAddress, Slot};
use crate::supervise::{Breach, SupervisorState};
use crate::time::Nanos;

/// The version of this format. A field that older programs may overlook, and that has a default
/// where it is missing, needs no new one. 2: with what serves operators, whose descriptors an older
/// program would leave open for ever.
pub(crate) const FORMAT: u32 = 2;

/// The oldest that is read.
pub(crate) const FORMAT_OLDEST: u32 = 1;

/// What a state says of itself: read before the rest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) format: u32,
    /// The version of the program that wrote it.
    pub(crate) made_by: String,
    /// The layout of the pages in use.
    pub(crate) page_layout: u64,
    /// The version of the frames in use.
    pub(crate) protocol: u16,
}

/// A master between two of its turns.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    #[serde(flatten)]
    pub(crate) header: Header,
    /// When the server began, for its status file, if it has one.
    #[serde(default)]
    pub(crate) started_at_ms: Option<u64>,
    pub(crate) listeners: Vec<ListenerState>,
    pub(crate) connections: Vec<ConnectionState>,
    /// Who waits to be seated, in order, and since when.
    pub(crate) waiting: Vec<(ConnectionId, Nanos)>,
    pub(crate) members: Vec<MemberState>,
    pub(crate) supervisor: SupervisorState,
    /// By name; one that the reader does not know is counted nowhere.
    pub(crate) counters: BTreeMap<String, u64>,
    /// The memory of the meters, where they are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) meters: Option<i32>,
    /// By slot: connections whose first worker was there, and worker processes started there.
    pub(crate) slots: Vec<(u64, u64)>,
    /// What operators are served by, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) admin: Option<AdminState>,
}

/// What operators are served by. A helper does not live on: the next image starts its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct AdminState {
    pub(crate) listeners: Vec<ListenerState>,
    /// Processes that are still to be reaped.
    pub(crate) helpers: Vec<u32>,
    /// The last things, oldest first.
    pub(crate) happened: Vec<Happened>,
    /// Out of service.
    pub(crate) drained: Vec<Slot>,
}

/// A listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ListenerState {
    pub(crate) id: ListenerId,
    /// What it was opened for, as it is written in settings.
    pub(crate) bind: String,
    pub(crate) descriptor: i32,
    /// The file of a Unix socket that is to go with the listener: device, inode, and when it was
    /// made.
    #[serde(default)]
    pub(crate) file: Option<(u64, u64, i64, i64)>,
    /// The listeners of the other slots, where each has its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) private: Vec<i32>,
}

/// A connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ConnectionState {
    pub(crate) id: ConnectionId,
    pub(crate) descriptor: i32,
    pub(crate) listener: ListenerId,
    pub(crate) peer: PeerAddress,
    pub(crate) accepted_at: Nanos,
    pub(crate) idle_deadline: Nanos,
    pub(crate) waited_before_accept_us: u32,
    pub(crate) requests_served: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) context: Option<Vec<u8>>,
    pub(crate) seated: bool,
    #[serde(default)]
    pub(crate) silent_us: u32,
    pub(crate) place: PlaceState,
}

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PlaceState {
    Queued,
    Parked,
    OnLoan { member: u32, loan: LoanId },
    Lingering { until: Nanos, discarded: u64, outcome: Outcome },
}

/// A worker process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MemberState {
    /// Its place in the roster.
    pub(crate) place: u32,
    pub(crate) who: Incarnation,
    pub(crate) pid: u32,
    pub(crate) channel: i32,
    pub(crate) memory: i32,
    pub(crate) alarm: i32,
    pub(crate) bell: i32,
    pub(crate) started_at: Nanos,
    pub(crate) ready_at: Nanos,
    pub(crate) stage: StageState,
    pub(crate) shape: Option<Shape>,
    /// It speaks in frames alone.
    pub(crate) proxy: bool,
    pub(crate) page: PageState,
    /// Loans that were LENT when last looked at, oldest first.
    pub(crate) unclaimed: Vec<(LoanId, Nanos)>,
    pub(crate) recalls_owed: Vec<LoanId>,
    /// Other frames that its channel would not take, as bytes.
    pub(crate) frames_owed: Vec<Vec<u8>>,
    pub(crate) stopped_at: Option<Nanos>,
    /// How often it was found stuck.
    #[serde(default)]
    pub(crate) stalls: u64,
    pub(crate) reported: Option<ReportRecord>,
    /// How it has broken the protocol.
    pub(crate) breach: Option<Breach>,
    /// It has asked for leave, which is heard then.
    pub(crate) leave_at: Option<Nanos>,
}

/// Where a worker is in its life, as far as lending goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StageState {
    Starting,
    Serving,
    Leaving,
    /// It has been killed: nothing that it says counts.
    Ending,
}

/// A state that this program cannot go on from.
#[derive(Debug, Error)]
pub(crate) enum StateError {
    /// Not a state at all, or a damaged one.
    #[error("no state that can be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// Another format.
    #[error(
        "state format {} of {}; this program reads {FORMAT_OLDEST} to {FORMAT}",
        .0.format, .0.made_by
    )]
    Format(Header),
    /// The workers that run have pages or frames that this program does not speak.
    #[error("workers of {}, with pages and frames that this program does not know", .0.made_by)]
    Workers(Header),
    /// It contradicts itself.
    #[error("a state that contradicts itself: {0}")]
    Contradiction(String),
}

impl Header {
    /// What this program writes.
    pub(crate) fn ours() -> Header {
        Header {
            format: FORMAT,
            made_by: env!("CARGO_PKG_VERSION").to_owned(),
            page_layout: PAGE_LAYOUT,
            protocol: PROTOCOL_VERSION,
        }
    }
}

impl MemberState {
    /// What taking the worker over would refuse, when it is too late to go back.
    fn check(&self) -> Result<(), String> {
        let (slot, generation) = (self.who.slot, self.who.generation);
        let wrong = |what: &str| Err(format!("worker {slot}, generation {generation}: {what}"));
        if self.page.places() > LOANS_MAX as usize {
            return wrong("more loans than a page has places");
        }
        if self.stage == StageState::Serving && self.shape.is_none() {
            return wrong("it serves, and has not said what it is");
        }
        if self.frames_owed.iter().any(|bytes| ToWorker::decode(bytes).is_err()) {
            return wrong("a frame that is none");
        }
        Ok(())
    }
}

impl State {
    /// The state as bytes.
    ///
    /// # Errors
    /// It contradicts itself: nobody could go on from it.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, StateError> {
        self.check()?;
        Ok(serde_json::to_vec(self)?)
    }

    /// Reads a state, of this program or of another version.
    ///
    /// # Errors
    /// This program cannot go on from it, and why.
    pub(crate) fn decode(bytes: &[u8]) -> Result<State, StateError> {
        let header: Header = serde_json::from_slice(bytes)?;
        if !(FORMAT_OLDEST..=FORMAT).contains(&header.format) {
            return Err(StateError::Format(header));
        }
        if header.page_layout != PAGE_LAYOUT || header.protocol != PROTOCOL_VERSION {
            return Err(StateError::Workers(header));
        }
        let state: State = serde_json::from_slice(bytes)?;
        state.check()?;
        Ok(state)
    }

    /// Every descriptor that the next image owns.
    fn descriptors(&self) -> impl Iterator<Item = i32> {
        let for_operators = self.admin.iter().flat_map(|admin| &admin.listeners);
        let listeners = self.listeners.iter().chain(for_operators);
        let listeners = listeners
            .flat_map(|one| std::iter::once(one.descriptor).chain(one.private.iter().copied()));
        let connections = self.connections.iter().map(|one| one.descriptor);
        let members = self.members.iter();
        let members = members.flat_map(|one| [one.channel, one.memory, one.alarm, one.bell]);
        listeners.chain(connections).chain(members).chain(self.meters)
    }

    fn check(&self) -> Result<(), StateError> {
        let contradiction = |what: String| Err(StateError::Contradiction(what));
        let mut seen = BTreeSet::new();
        if let Some(twice) = self.descriptors().find(|one| !seen.insert(*one)) {
            return contradiction(format!("descriptor {twice} twice"));
        }
        let lives: BTreeSet<_> = self.supervisor.incarnations().collect();
        let members: BTreeMap<_, _> = self.members.iter().map(|one| (one.place, one)).collect();
        let known: BTreeSet<_> = self.members.iter().map(|one| one.who).collect();
        if members.len() != self.members.len() || lives != known {
            return contradiction("the roster and the supervisor know different workers".into());
        }
        for member in &self.members {
            member.check().map_err(StateError::Contradiction)?;
        }
        let sizes = |one: &ConnectionState| one.context.as_ref().map_or(CONTEXT_SIZE, Vec::len);
        if self.connections.iter().any(|one| sizes(one) != CONTEXT_SIZE) {
            return contradiction("a context of another size".into());
        }
        let connections: BTreeMap<_, _> =
            self.connections.iter().map(|one| (one.id, one)).collect();
        if connections.len() != self.connections.len() {
            return contradiction("a connection twice".into());
        }
        let mut on_loan = 0;
        for (place, member) in &members {
            for (index, sequence, id) in member.page.on_loan() {
                on_loan += 1;
                let expected =
                    PlaceState::OnLoan { member: *place, loan: LoanId { index, sequence } };
                if connections.get(&id).is_none_or(|one| one.place != expected) {
                    return contradiction(format!("connection {} is not at its worker", id.0));
                }
            }
        }
        let places = |wanted: fn(&PlaceState) -> bool| {
            self.connections.iter().filter(|one| wanted(&one.place)).count()
        };
        if places(|place| matches!(place, PlaceState::OnLoan { .. })) != on_loan {
            return contradiction("a connection on loan that no page has".into());
        }
        let waiting: BTreeSet<_> = self.waiting.iter().map(|(id, _)| *id).collect();
        let queued = |id| connections.get(id).is_some_and(|one| one.place == PlaceState::Queued);
        if waiting.len() != self.waiting.len()
            || !waiting.iter().all(queued)
            || places(|place| *place == PlaceState::Queued) != waiting.len()
        {
            return contradiction("who is queued is not who waits".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
