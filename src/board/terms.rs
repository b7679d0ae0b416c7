//! What travels with a connection from worker to worker.
//!
//! Not here: the rest of what a worker is told with a loan, which does not change (`handoff`).

use crate::board::layout::{Layout, Words};
use crate::board::sync::{AtomicU64, Ordering};
use crate::config::CONTEXT_SIZE;
use crate::time::Nanos;

/// The terms of a loan. The master writes them before LENT; the worker may change them while it has
/// the claim; the master copies them only once it has the loan back. So plain (relaxed) accesses
/// do: the claim word's release and acquire order them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Bytes that the last worker left for the next; zeros if none did.
    pub context: [u8; CONTEXT_SIZE],
    /// When the connection must have begun its next request, wherever it is by then.
    pub idle_deadline: Nanos,
    /// How many requests it has had.
    pub requests_served: u32,
}

const CONTEXT_WORDS: usize = CONTEXT_SIZE / 8;

/// Words that terms take.
pub(super) const TERMS_WORDS: usize = CONTEXT_WORDS + 2;

/// A context of nothing but zeros is not copied: most connections have none.
const HAS_CONTEXT: u64 = 1 << 63;

impl Terms {
    /// Terms of a connection that no worker has had yet.
    pub fn new(idle_deadline: Nanos) -> Self {
        Terms { context: [0; CONTEXT_SIZE], idle_deadline, requests_served: 0 }
    }

    pub(super) fn store(&self, memory: &impl Words, layout: Layout, index: u32) {
        let record = record(memory, layout, index);
        let has_context = self.context.iter().any(|byte| *byte != 0);
        let served = u64::from(self.requests_served) | if has_context { HAS_CONTEXT } else { 0 };
        record[0].store(self.idle_deadline.0, Ordering::Relaxed);
        record[1].store(served, Ordering::Relaxed);
        if has_context {
            for (word, bytes) in record[2..].iter().zip(self.context.chunks_exact(8)) {
                let mut eight = [0; 8];
                eight.copy_from_slice(bytes);
                word.store(u64::from_le_bytes(eight), Ordering::Relaxed);
            }
        }
    }

    pub(super) fn load(memory: &impl Words, layout: Layout, index: u32) -> Terms {
        let record = record(memory, layout, index);
        let served = record[1].load(Ordering::Relaxed);
        let mut context = [0; CONTEXT_SIZE];
        if served & HAS_CONTEXT != 0 {
            for (word, bytes) in record[2..].iter().zip(context.chunks_exact_mut(8)) {
                bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
            }
        }
        Terms {
            context,
            idle_deadline: Nanos(record[0].load(Ordering::Relaxed)),
            requests_served: (served & u64::from(u32::MAX)) as u32,
        }
    }
}

fn record<M: Words>(memory: &M, layout: Layout, index: u32) -> &[AtomicU64] {
    let begin = layout.record(index);
    &memory.words()[begin..begin + TERMS_WORDS]
}
