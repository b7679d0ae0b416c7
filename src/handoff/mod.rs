//! The channel between the master and one worker: frames, and the descriptors that go with them.
//!
//! | file | what |
//! |---|---|
//! | `frame` | bytes ↔ frames, pure |
//! | `channel` | the two ends of a socketpair |
//!
//! Connections go down (`Lend`), with up to 64 descriptors in one packet: that is where the speed
//! is. What a worker has done with them the master reads in the page; only the exceptional goes up.
//!
//! Not here: the page (`board`), the kernel's interface (`sys::fdpass`).

pub mod channel;
pub mod frame;

pub use channel::{ChannelError, FromMaster, FromWorker, MasterEnd, WorkerEnd};
pub use frame::{
    DrainMode, FrameError, LendRecord, PROTOCOL_VERSION, ReadyRecord, ReportRecord, ToMaster,
    ToWorker,
};
