//! What the master tells a worker of the whole node: two words, written now and then.
//!
//! A worker knows its own load, and its clients' balancers want to know the node's. The master has
//! that anyway, and a store into each page costs less than any message: the worker looks when it
//! answers, on a cache line that hardly ever changes.
//!
//! ```text
//!   word 0   what belongs together, in one word so that it is always of one time
//!   word 1   a stamp, which rises with each telling (0: nothing has been told) · 32 bits more
//! ```
//!
//! Not here: what the bits mean (`fleet::orca`), when they are written (`master::fleet`).

use crate::board::layout::{AT_NODE, Words};
use crate::board::sync::Ordering;

/// What was told of the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeWords {
    /// Another one says something new; 0 is that nothing has been told yet.
    pub stamp: u32,
    /// What belongs together.
    pub first: u64,
    /// The rest.
    pub second: u32,
}

/// The master's side.
pub(super) fn store(memory: &impl Words, told: NodeWords) {
    let words = &memory.words()[AT_NODE..AT_NODE + 2];
    words[0].store(told.first, Ordering::Relaxed);
    // Whoever sees the stamp sees the word before it; it may see a newer one, which is as good.
    words[1].store(u64::from(told.stamp) << 32 | u64::from(told.second), Ordering::Release);
}

/// The worker's side. Its own writes may stand there: they harm what it says itself.
pub(super) fn load(memory: &impl Words) -> NodeWords {
    let words = &memory.words()[AT_NODE..AT_NODE + 2];
    let second = words[1].load(Ordering::Acquire);
    NodeWords {
        stamp: (second >> 32) as u32,
        first: words[0].load(Ordering::Relaxed),
        second: second as u32,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::board::sync::AtomicU64;
    use crate::board::{MasterPage, WorkerPage, page_bytes};

    #[test]
    fn a_worker_hears_what_was_told_last() {
        let words = page_bytes(2) / 8;
        let memory = Arc::new((0..words).map(|_| AtomicU64::new(0)).collect::<Vec<_>>());
        let master = MasterPage::new(Arc::clone(&memory), 2).unwrap();
        let worker = WorkerPage::attach(memory).unwrap();
        assert_eq!(worker.node(), NodeWords::default());
        for stamp in [1, u32::MAX] {
            let told = NodeWords { stamp, first: u64::MAX - 1, second: 7 };
            master.tell_of_node(told);
            assert_eq!(worker.node(), told);
        }
    }
}
