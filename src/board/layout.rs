//! Which word of a page stands where.
//!
//! ```text
//!   words 0..8       header        written by the master, once
//!   words 8..16      bell, alarm, node   written by both, and by the master, rarely
//!   words 16..32     load report   written by the worker, every turn and request
//!   words 32..40     ring head     written by the worker, at every let-go
//!   …                claim words   one each, dense: eight to a cache line
//!   …                ring          one each
//!   …                records       sixteen each: terms that travel with a connection
//!   …                doing         sixteen each: the calls that the loop and its threads run
//! ```
//!
//! A cache line is eight words. What one side writes often shares no line with what the other
//! writes; the dense parts are touched only as far as places are in use, lowest first, so a page
//! costs the memory of its busiest moment and not of its limits.
//!
//! Not here: what the words mean (`loan`, `report`, `terms`).

use std::sync::Arc;

use thiserror::Error;

use crate::board::sync::{AtomicU64, Ordering};
use crate::config::DOING_ENTRIES_MAX;

/// Memory that is an array of atomic words, at one place for as long as it lives.
pub trait Words {
    /// The words; always the same ones.
    fn words(&self) -> &[AtomicU64];
}

impl<T: Words + ?Sized> Words for Arc<T> {
    fn words(&self) -> &[AtomicU64] {
        (**self).words()
    }
}

impl Words for Vec<AtomicU64> {
    fn words(&self) -> &[AtomicU64] {
        self
    }
}

/// Words that can be looked at one by one. Memory that is mapped to be read gives out no atomics:
/// whoever has one may write.
pub trait Readable {
    /// How many there are.
    fn words_in_all(&self) -> usize;

    /// The word there; zero beyond the end.
    fn load(&self, at: usize) -> u64;
}

impl<M: Words> Readable for M {
    fn words_in_all(&self) -> usize {
        self.words().len()
    }

    fn load(&self, at: usize) -> u64 {
        self.words().get(at).map_or(0, |word| word.load(Ordering::Relaxed))
    }
}

/// A memory that cannot serve as a page.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PageError {
    /// Shorter than its loans need.
    #[error("a page of {found} bytes is too short: {needed} are needed")]
    TooShort {
        /// Bytes there are.
        found: usize,
        /// Bytes there should be.
        needed: usize,
    },
    /// For no loan at all: it would have no ring either.
    #[error("a page without places")]
    NoPlaces,
    /// Not written by a master of this version.
    #[error("a page of layout {found:#x}; this program knows {known:#x}")]
    Foreign {
        /// What the page says.
        found: u64,
        /// What it should say.
        known: u64,
    },
}

/// Says what a page is, and in which layout: "maitred" and a version.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"maitre\0\x03");

pub(super) const AT_MAGIC: usize = 0;
pub(super) const AT_LOANS_MAX: usize = 1;

/// Raised by the master when it waits to hear that this worker has room.
pub(super) const AT_MASTER_WAITING: usize = 8;

/// After how many nanoseconds of one and the same thing the worker's alarm is to wake the master;
/// zero while nobody could help it.
pub(super) const AT_STALL_AFTER: usize = 9;

/// What the worker is told of the whole node.
pub(super) const AT_NODE: usize = 10;

/// The load report: two lines, in the order of `report`.
pub(super) const AT_REPORT: usize = 16;

/// How many ids have gone into the ring, ever.
pub(super) const AT_RING_HEAD: usize = 32;

const AT_CLAIMS: usize = 40;

/// Words of one record: the terms, padded to two cache lines.
pub(super) const RECORD_WORDS: usize = 16;

/// Words of the entry of a call: two cache lines.
pub(super) const DOING_WORDS: usize = 16;

const WORD_BYTES: usize = 8;

const _: () = assert!(AT_MASTER_WAITING.is_multiple_of(8) && AT_REPORT.is_multiple_of(8));
const _: () = assert!(AT_RING_HEAD.is_multiple_of(8) && AT_CLAIMS.is_multiple_of(8));
const _: () = assert!(AT_REPORT + crate::board::report::REPORT_WORDS <= AT_RING_HEAD);
const _: () = assert!(crate::board::terms::TERMS_WORDS <= RECORD_WORDS);

/// Where things are in a page for so many loans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) loans_max: u32,
}

impl Layout {
    pub(super) fn claim(self, index: u32) -> usize {
        AT_CLAIMS + index as usize
    }

    pub(super) fn ring(self, position: u64) -> usize {
        // Each loan stands in the ring at most once: as many places as loans cannot overflow.
        let place = (position % u64::from(self.loans_max)) as usize;
        AT_CLAIMS + self.loans_max as usize + place
    }

    pub(super) fn record(self, index: u32) -> usize {
        AT_CLAIMS + 2 * self.loans_max as usize + index as usize * RECORD_WORDS
    }

    /// The entry of a call, below `DOING_ENTRIES_MAX`.
    pub(super) fn doing(self, entry: u16) -> usize {
        self.record(self.loans_max) + usize::from(entry) * DOING_WORDS
    }

    fn words(self) -> usize {
        self.record(self.loans_max) + DOING_ENTRIES_MAX * DOING_WORDS
    }

    pub(super) fn check(self, words: &[AtomicU64]) -> Result<(), PageError> {
        let (found, needed) = (words.len() * WORD_BYTES, self.words() * WORD_BYTES);
        if found < needed { Err(PageError::TooShort { found, needed }) } else { Ok(()) }
    }
}

/// Bytes of a page for so many loans. Most of them are never touched.
pub fn page_bytes(loans_max: u32) -> usize {
    Layout { loans_max }.words() * WORD_BYTES
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_page_lie_behind_each_other() {
        let layout = Layout { loans_max: 64 };
        assert_eq!(layout.claim(63) + 1, layout.ring(0));
        assert_eq!(layout.ring(63) + 1, layout.record(0));
        assert_eq!(layout.ring(64), layout.ring(0));
        assert_eq!(layout.doing(0), layout.record(64));
        let last = u16::try_from(DOING_ENTRIES_MAX - 1).unwrap();
        assert_eq!(page_bytes(64), (layout.doing(last) + DOING_WORDS) * 8);
    }
}
