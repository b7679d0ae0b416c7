//! What a master says of itself at one moment: the account, how far it has come, and its workers.
//!
//! Not here: the bytes of it ([`page`](super::page)), who reads them (`observe::status`).

use std::time::Duration;

use crate::account::Account;
use crate::config::{Arm, Balance, Rebalance};
use crate::ident::{Incarnation, Slot};
use crate::time::Nanos;

/// One moment of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The master's process.
    pub pid: u32,
    /// When it began, in milliseconds since 1970.
    pub started_at_ms: u64,
    /// Where it is in its life.
    pub phase: Phase,
    /// Who accepts: with any but the master the account stays empty.
    pub accept: Arm,
    /// How the last reload stands.
    pub reload: ReloadStatus,
    /// The generation of the worker that was started last.
    pub generation: u32,
    /// How connections are seated.
    pub policy: Policy,
    /// How many workers there are to be.
    pub scaling: Scaling,
    /// What waits in the kernel; none where nobody can say.
    pub kernel_queue: Option<KernelQueue>,
    /// How the node stands in its fleet; none where nobody is told.
    pub node: Option<NodeStatus>,
    /// Every connection.
    pub account: Account,
    /// How many worker processes there are; `workers` has the first of them.
    pub workers_in_all: u32,
    /// The workers, by slot and generation.
    pub workers: Vec<WorkerStatus>,
}

/// What a node says of itself to the balancers of its fleet. Whole numbers, so that a status can be
/// compared with another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeStatus {
    /// The weight that it asks for, in percent of what a balancer has configured.
    pub weight_percent: u8,
    /// The share of its places that are busy, in millionths.
    pub busy_millionths: u32,
    /// Its load, in millionths of what it can just serve.
    pub load_millionths: u32,
    /// Requests answered in a thousand seconds.
    pub requests_per_1000_s: u64,
    /// Requests that ended badly, in a thousand seconds.
    pub errors_per_1000_s: u64,
    /// How long what comes now will wait.
    pub queue_wait: Duration,
}

/// Where a server is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u64)]
pub enum Phase {
    /// Its first workers are not all ready.
    #[default]
    Starting = 0,
    /// It serves.
    Serving = 1,
    /// It was told to end, and finishes what it has accepted.
    Stopping = 2,
    /// It has ended.
    Stopped = 3,
}

/// How the last reload stands, and how far it has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReloadStatus {
    /// How it stands.
    pub state: ReloadState,
    /// Slots that are served by a worker which was started since it was asked for.
    pub replaced: u16,
    /// Slots there are.
    pub of: u16,
}

/// How a reload stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u64)]
pub enum ReloadState {
    /// None was asked for.
    #[default]
    None = 0,
    /// Workers are being replaced.
    Running = 1,
    /// All are replaced.
    Done = 2,
    /// A new worker did not become ready: the old ones go on.
    Failed = 3,
}

/// How connections are seated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Which worker gets one.
    pub balance: Balance,
    /// When an idle one may move.
    pub rebalance: Rebalance,
    /// How many may wait at a worker; none where its kind decides.
    pub credit: Option<u16>,
    /// When a worker counts as stuck.
    pub stall_after: Duration,
}

/// How many workers there are to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scaling {
    /// Now.
    pub wanted: u16,
    /// At the least; the same as the most where nothing scales by itself.
    pub min: u16,
    /// At the most.
    pub max: u16,
}

/// What waits in the kernel, all listeners together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelQueue {
    /// Connections that nobody has accepted.
    pub length: u32,
    /// How many there may be.
    pub limit: u32,
}

/// One worker process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerStatus {
    /// Its slot and generation.
    pub who: Incarnation,
    /// Its process.
    pub pid: u32,
    /// Where it is in its life.
    pub stage: WorkerStage,
    /// When it was started, by the machine's clock.
    pub started_at: Nanos,
    /// Connections at it.
    pub on_loan: u32,
    /// Of those, how many it had not claimed when it was last looked at.
    pub waiting: u32,
    /// Complete requests that wait for a handler thread.
    pub queued: u32,
    /// Handler threads; 0 for a loop.
    pub threads: u16,
    /// Of those, how many are taken.
    pub threads_busy: u32,
    /// Time spent in handlers, all threads together, in nanoseconds.
    pub busy_ns: u64,
    /// How often it was found stuck.
    pub stalls: u64,
    /// Requests that it has begun, but for those whose clients left before an answer.
    pub requests_started: u64,
    /// Requests that it has answered.
    pub requests_finished: u64,
    /// Requests that ended badly: malformed, refused, panicked, cut off.
    pub errors: u64,
    /// Connections that it has accepted itself.
    pub own_accepted: u64,
    /// Of those, how many are open.
    pub own_open: u64,
    /// It makes no progress: nothing goes to it that anybody else has room for.
    pub is_stuck: bool,
    /// A signal has stopped it.
    pub is_stopped: bool,
    /// An operator has taken its slot out of service.
    pub is_drained: bool,
}

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u64)]
pub enum WorkerStage {
    /// Started, and not ready.
    #[default]
    Starting = 0,
    /// It serves its slot.
    Serving = 1,
    /// It gets nothing more: drained, hung, or about to be killed.
    Leaving = 2,
}

impl Status {
    /// How often a worker of this slot was replaced, for whatever reason.
    pub fn restarts(&self, slot: Slot) -> u64 {
        self.account.counters.slot(slot).starts.saturating_sub(1)
    }
}

impl WorkerStatus {
    /// Requests that it has begun and not finished.
    pub fn active(&self) -> u64 {
        self.requests_started.saturating_sub(self.requests_finished)
    }
}

impl Phase {
    /// Every phase, in the order of its number.
    pub const ALL: [Phase; 4] = [Phase::Starting, Phase::Serving, Phase::Stopping, Phase::Stopped];

    /// Its stable name.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Serving => "serving",
            Phase::Stopping => "stopping",
            Phase::Stopped => "stopped",
        }
    }
}

impl ReloadState {
    /// Every state, in the order of its number.
    pub const ALL: [ReloadState; 4] =
        [ReloadState::None, ReloadState::Running, ReloadState::Done, ReloadState::Failed];

    /// Its stable name.
    pub fn name(self) -> &'static str {
        match self {
            ReloadState::None => "none",
            ReloadState::Running => "running",
            ReloadState::Done => "done",
            ReloadState::Failed => "failed",
        }
    }
}

impl WorkerStage {
    /// Every stage, in the order of its number.
    pub const ALL: [WorkerStage; 3] =
        [WorkerStage::Starting, WorkerStage::Serving, WorkerStage::Leaving];

    /// Its stable name.
    pub fn name(self) -> &'static str {
        match self {
            WorkerStage::Starting => "starting",
            WorkerStage::Serving => "serving",
            WorkerStage::Leaving => "leaving",
        }
    }
}
