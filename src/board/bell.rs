//! The bell: how a worker that frees up wakes a master that has work for it.
//!
//! Usually nobody rings: the master looks at the board whenever it is awake. Only when it is about
//! to sleep with work that nobody has room for does it raise `master_waiting`, with the load at
//! which a worker should ring; that worker rings once and lowers the flag.
//!
//! Raising the flag and publishing a load are a Dekker pair: each side stores, fences, and looks at
//! what the other stores. With both fences sequentially consistent at least one of them sees the
//! other; without them both may miss, and a request would hang once in a million. So after raising
//! it the master must look at the load again before it sleeps.
//!
//! Not here: the Bell frame that wakes the master (`handoff`).

use crate::board::layout::{AT_MASTER_WAITING, Words};
use crate::board::sync::{Ordering, fence};

/// Nobody waits. Other values are the threshold plus one.
const LOWERED: u64 = 0;

/// The master's side: ring when the load is at or below this.
pub(super) fn raise(memory: &impl Words, threshold: u32) {
    let flag = &memory.words()[AT_MASTER_WAITING];
    flag.store(u64::from(threshold) + 1, Ordering::Relaxed);
    // Orders the store before the loads of the load report that the caller makes next.
    fence(Ordering::SeqCst);
}

pub(super) fn lower(memory: &impl Words) {
    memory.words()[AT_MASTER_WAITING].store(LOWERED, Ordering::Relaxed);
}

pub(super) fn is_raised(memory: &impl Words) -> bool {
    memory.words()[AT_MASTER_WAITING].load(Ordering::Relaxed) != LOWERED
}

/// The worker's side, after it has published its load.
pub(super) fn due(memory: &impl Words, load: u32) -> bool {
    // Orders the published load before the look at the flag.
    fence(Ordering::SeqCst);
    let flag = &memory.words()[AT_MASTER_WAITING];
    let raised = flag.load(Ordering::Relaxed);
    if raised == LOWERED || u64::from(load) >= raised {
        return false;
    }
    // An exchange, since the master may be lowering or raising it again: one ring a raise.
    flag.compare_exchange(raised, LOWERED, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}
