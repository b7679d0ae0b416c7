//! The bell: how a worker wakes a master that sleeps.
//!
//! Usually nobody rings: the master looks at the board whenever it is awake. Only when it is about
//! to sleep with work that nobody has room for, or while loans may be given back, does it raise
//! `master_waiting`, with what the worker is to ring for; that worker rings once and lowers the flag.
//!
//! Raising the flag and publishing a load are a Dekker pair: each side stores, fences, and looks at
//! what the other stores. With both fences sequentially consistent at least one of them sees the
//! other; without them both may miss, and a request would hang once in a million. So after raising
//! it the master must look at the load, and into the ring, again before it sleeps.
//!
//! Not here: the Bell frame that wakes the master (`handoff`), a worker that is stuck (the alarm).

use crate::board::layout::{AT_MASTER_WAITING, Words};
use crate::board::sync::{Ordering, fence};

/// What a sleeping master wants to hear of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The worker's load is at or below this.
    pub at_load: Option<u32>,
    /// The worker has given a loan back.
    pub when_given: bool,
}

/// Nobody waits.
const LOWERED: u64 = 0;

const WHEN_GIVEN: u64 = 1 << 63;

impl Call {
    /// Nothing: the flag stays down.
    pub const NOTHING: Call = Call { at_load: None, when_given: false };

    fn encode(self) -> u64 {
        let load = self.at_load.map_or(0, |load| u64::from(load) + 1);
        load | if self.when_given { WHEN_GIVEN } else { 0 }
    }
}

/// The master's side: ring for this.
pub(super) fn raise(memory: &impl Words, call: Call) {
    let flag = &memory.words()[AT_MASTER_WAITING];
    flag.store(call.encode(), Ordering::Relaxed);
    // Orders the store before the loads of the load report and the ring that the caller makes next.
    fence(Ordering::SeqCst);
}

pub(super) fn lower(memory: &impl Words) {
    memory.words()[AT_MASTER_WAITING].store(LOWERED, Ordering::Relaxed);
}

pub(super) fn is_raised(memory: &impl Words) -> bool {
    memory.words()[AT_MASTER_WAITING].load(Ordering::Relaxed) != LOWERED
}

/// The worker's side, after it has published its load and what it let go of.
pub(super) fn due(memory: &impl Words, load: u32, gave: bool) -> bool {
    // Orders what was published before the look at the flag.
    fence(Ordering::SeqCst);
    let flag = &memory.words()[AT_MASTER_WAITING];
    let raised = flag.load(Ordering::Relaxed);
    let has_room = u64::from(load) < raised & !WHEN_GIVEN;
    let wants_given = raised & WHEN_GIVEN != 0;
    // An exchange, since the master may be lowering or raising it again: one ring a raise.
    (has_room || (gave && wants_given))
        && flag.compare_exchange(raised, LOWERED, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}
