//! Pages: what a worker and the master know of each other without a system call.
//!
//! One page per incarnation, in memory that both map: claim words, the records that travel with
//! connections, a ring of loans that the worker has let go of, and the load report. The worker can
//! lie only about itself, and the master believes nothing that its own record contradicts.
//!
//! Everything in a page is a 64-bit atomic word at a named place (`layout`), so the code on both
//! sides is safe, and runs on plain memory in tests and under loom's model of memory.
//!
//! | file | what |
//! |---|---|
//! | `layout` | which word stands where |
//! | `master` | the master's side: lend, recall, look, drain the ring, settle |
//! | `worker` | the worker's side: claim, answer, idle, give, end, let go |
//! | `own` | the counters of what a worker has accepted itself |
//! | `report` | the load report, written by one side and read by the other |
//! | `state` | what one master image leaves the next of it |
//! | `node` | what the master tells a worker of the whole node |
//! | `doing` | which calls a worker runs, for the moment in which it cannot be asked |
//! | `bell` | how a worker that frees up, or gives back, wakes a master that waits for it |
//!
//! Not here: which transitions there are (`loan`), the mapping itself (`sys::shm`).

mod bell;
mod doing;
mod layout;
#[cfg(test)]
#[cfg(loom)]
mod loom;
mod master;
mod node;
mod own;
mod report;
mod state;
mod terms;
mod worker;

pub use bell::Call;
pub use doing::{Doing, DoingEntry, DoingTable};
pub use layout::{PageError, Readable, Words, page_bytes};
pub use master::{LetGo, LetGoHow, MasterPage, Recall, RingError, Settled};
pub use node::NodeWords;
pub use report::LoadReport;
pub use state::{PAGE_LAYOUT, PageState};
pub use terms::Terms;
pub use worker::WorkerPage;

/// Atomics, or loom's model of them.
pub(crate) mod sync {
    #[cfg(loom)]
    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};
    #[cfg(not(loom))]
    pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};
}
