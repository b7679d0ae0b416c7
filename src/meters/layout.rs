//! Which word stands where.
//!
//! ```text
//!   words 0..128    header      magic, slots, words of a slot, buckets: written once, by the
//! master
//!   128 words each  slot
//!     0..32         counters    in the order of `Counter`
//!     32..56        queue wait  a word a bucket, and the sum in nanoseconds behind them
//!     56..80        service     the same
//!     80..104       hand-off    the same
//!     104..128      nothing yet
//! ```
//!
//! A slot has sixteen cache lines of its own, so that no two slots write to one. Memory is backed
//! as far as slots are used: four of them take a page of 4 KiB, all of them a megabyte.
//!
//! Not here: what is added where (`recorder`).

use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

use crate::account::AcceptError;
use crate::board::{Readable, Words};
use crate::config::WORKERS_MAX;
use crate::ident::Slot;
use crate::meters::buckets::BUCKETS;

/// What is counted of a slot, in the order of its words. New ones come last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Counter {
    /// Interim responses (100) and upgrades (101).
    Responses1xx,
    /// Responses that have left whole, by class of their status.
    Responses2xx,
    /// The same.
    Responses3xx,
    /// The same.
    Responses4xx,
    /// The same.
    Responses5xx,
    /// Bytes read from clients.
    ReceivedBytes,
    /// Bytes written to clients.
    SentBytes,
    /// Requests that ended badly: malformed, refused, panicked, cut off.
    Errors,
    /// Nanoseconds spent in handlers, all threads together.
    BusyNs,
    /// Lines of the access log that its reader was too slow for.
    LogLinesDropped,
    /// Requests that took as long as the slow log asks for.
    SlowRequests,
    /// Refused before a handler: no HTTP.
    RefusedMalformed,
    /// Refused before a handler: its head is too large.
    RefusedHead,
    /// Refused before a handler: its body is too large.
    RefusedBody,
    /// Refused before a handler: it arrived too slowly.
    RefusedSlow,
    /// Refused before a handler: what it asks of HTTP is not here.
    RefusedUnsupported,
    /// PROXY headers refused: the peer may not send any.
    HeadersUntrusted,
    /// PROXY headers refused: the connection begins with something else.
    HeadersAbsent,
    /// PROXY headers refused: one that breaks the rules.
    HeadersMalformed,
    /// PROXY headers refused: a version, command or family that is not here.
    HeadersUnsupported,
    /// PROXY headers refused: another checksum than it says.
    HeadersChecksum,
    /// Failures of accept(2) in a worker that accepts itself: no descriptor left.
    AcceptEmfile,
    /// The same: the system has none.
    AcceptEnfile,
    /// The same: no memory.
    AcceptEnomem,
    /// The same: the client was gone.
    AcceptEconnaborted,
    /// The same: anything else.
    AcceptOther,
}

/// What is measured of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Histogram {
    /// From when a connection could have been served to its first claim.
    QueueWait,
    /// From a request's claim to the end of its response.
    Service,
    /// From the master's hand-off to the claim.
    Handoff,
}

impl Counter {
    /// Every counter, in the order of its number.
    pub const ALL: [Counter; 26] = [
        Counter::Responses1xx,
        Counter::Responses2xx,
        Counter::Responses3xx,
        Counter::Responses4xx,
        Counter::Responses5xx,
        Counter::ReceivedBytes,
        Counter::SentBytes,
        Counter::Errors,
        Counter::BusyNs,
        Counter::LogLinesDropped,
        Counter::SlowRequests,
        Counter::RefusedMalformed,
        Counter::RefusedHead,
        Counter::RefusedBody,
        Counter::RefusedSlow,
        Counter::RefusedUnsupported,
        Counter::HeadersUntrusted,
        Counter::HeadersAbsent,
        Counter::HeadersMalformed,
        Counter::HeadersUnsupported,
        Counter::HeadersChecksum,
        Counter::AcceptEmfile,
        Counter::AcceptEnfile,
        Counter::AcceptEnomem,
        Counter::AcceptEconnaborted,
        Counter::AcceptOther,
    ];

    /// Where a failure of accept(2) is counted.
    pub fn of_accept_error(error: AcceptError) -> Counter {
        match error {
            AcceptError::OutOfDescriptors => Counter::AcceptEmfile,
            AcceptError::OutOfFiles => Counter::AcceptEnfile,
            AcceptError::OutOfMemory => Counter::AcceptEnomem,
            AcceptError::Aborted => Counter::AcceptEconnaborted,
            AcceptError::Other => Counter::AcceptOther,
        }
    }
}

impl Histogram {
    /// Every histogram, in the order of its number.
    pub const ALL: [Histogram; 3] = [Histogram::QueueWait, Histogram::Service, Histogram::Handoff];
}

/// A memory that cannot be taken for meters.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum MetersError {
    /// Shorter than its slots need.
    #[error("meters of {found} bytes: {METERS_BYTES} are needed")]
    TooShort {
        /// Bytes there are.
        found: usize,
    },
    /// Not written by a master of this version.
    #[error("meters of layout {0:#x}; this program knows {MAGIC:#x}")]
    Foreign(u64),
    /// There is no such slot.
    #[error("slot {0} is beyond the meters")]
    NoSlot(u16),
}

/// Says what the memory is, and in which layout: "maitmet" and a version. Counters and histograms
/// that come behind the others need no new one: who does not know them overlooks them, and who
/// looks for them where nobody adds finds zeros.
const MAGIC: u64 = u64::from_le_bytes(*b"maitmet\x01");

const AT_MAGIC: usize = 0;
const AT_SLOTS: usize = 1;
const AT_SLOT_WORDS: usize = 2;
const AT_BUCKETS: usize = 3;

const HEADER_WORDS: usize = 128;
const SLOT_WORDS: usize = 128;
const COUNTER_WORDS: usize = 32;

/// Words of a histogram: its buckets and its sum, in whole cache lines.
const HISTOGRAM_WORDS: usize = 24;

const WORDS: usize = HEADER_WORDS + WORKERS_MAX as usize * SLOT_WORDS;

/// Bytes of the meters of a server.
pub const METERS_BYTES: usize = WORDS * size_of::<AtomicU64>();

const _: () = assert!(HEADER_WORDS.is_multiple_of(8) && SLOT_WORDS.is_multiple_of(8));
const _: () = assert!(Counter::ALL.len() <= COUNTER_WORDS && BUCKETS < HISTOGRAM_WORDS);
const _: () = assert!(COUNTER_WORDS + Histogram::ALL.len() * HISTOGRAM_WORDS <= SLOT_WORDS);

/// Where the words of a slot begin.
pub(super) fn slot_at(slot: Slot) -> usize {
    HEADER_WORDS + usize::from(slot.0) * SLOT_WORDS
}

/// Where a bucket of a histogram stands among the words of a slot.
pub(super) fn bucket_at(histogram: Histogram, bucket: usize) -> usize {
    COUNTER_WORDS + histogram as usize * HISTOGRAM_WORDS + bucket
}

/// Where its sum stands.
pub(super) fn sum_at(histogram: Histogram) -> usize {
    bucket_at(histogram, BUCKETS)
}

/// Writes the header of new memory, which is all zeros.
///
/// # Errors
/// It is too short.
pub fn lay_out(memory: &impl Words) -> Result<(), MetersError> {
    let words = memory.words();
    if words.len() < WORDS {
        return Err(MetersError::TooShort { found: std::mem::size_of_val(words) });
    }
    words[AT_SLOTS].store(WORKERS_MAX.into(), Ordering::Relaxed);
    words[AT_SLOT_WORDS].store(SLOT_WORDS as u64, Ordering::Relaxed);
    words[AT_BUCKETS].store(BUCKETS as u64, Ordering::Relaxed);
    words[AT_MAGIC].store(MAGIC, Ordering::Release);
    Ok(())
}

/// Checks that the memory is what this program would lay out, and has the slot.
pub(super) fn check(memory: &impl Readable, slot: Slot) -> Result<(), MetersError> {
    let words = memory.words_in_all();
    if words < WORDS {
        return Err(MetersError::TooShort { found: words * size_of::<AtomicU64>() });
    }
    let magic = memory.load(AT_MAGIC);
    if magic != MAGIC {
        return Err(MetersError::Foreign(magic));
    }
    if slot.0 >= WORKERS_MAX { Err(MetersError::NoSlot(slot.0)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_slot_lie_behind_each_other_and_touch_no_other_slot() {
        assert_eq!(METERS_BYTES, 1024 + 1024 * 1024);
        let mut taken: Vec<usize> = Counter::ALL.map(|counter| counter as usize).to_vec();
        for histogram in Histogram::ALL {
            taken.extend((0..BUCKETS).map(|bucket| bucket_at(histogram, bucket)));
            taken.push(sum_at(histogram));
        }
        assert!(taken.is_sorted_by(|one, next| one < next), "no word twice: {taken:?}");
        assert!(taken.last().is_some_and(|last| *last < SLOT_WORDS));
        assert_eq!(slot_at(Slot(0)), HEADER_WORDS);
        assert_eq!(slot_at(Slot(WORKERS_MAX - 1)) + SLOT_WORDS, WORDS);
    }
}
