//! The worker's side: one slot's meters, to be added to.
//!
//! Every addition is one locked instruction on a line that nobody else writes but during a reload.
//!
//! Not here: when something is recorded (`worker`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::board::Words;
use crate::ident::Slot;
use crate::meters::buckets::bucket_of;
use crate::meters::layout::{self, Counter, Histogram, MetersError};
use crate::proxy_protocol::{HeaderRefusal, ProxyHeaderError};

/// The meters of one slot.
#[derive(Clone, Debug)]
pub struct SlotMeters<M> {
    memory: M,
    at: usize,
}

impl<M: Words> SlotMeters<M> {
    /// Attaches to memory that a master has laid out.
    ///
    /// # Errors
    /// It is none, one of another layout, or has no such slot.
    pub fn attach(memory: M, slot: Slot) -> Result<Self, MetersError> {
        layout::check(&memory, slot)?;
        Ok(SlotMeters { memory, at: layout::slot_at(slot) })
    }

    /// Adds to a counter.
    pub fn add(&self, counter: Counter, more: u64) {
        self.add_at(counter as usize, more);
    }

    /// A response of this status has left whole, or an interim one has left.
    pub fn count_response(&self, status: u16) {
        let class = match status {
            ..200 => Counter::Responses1xx,
            200..300 => Counter::Responses2xx,
            300..400 => Counter::Responses3xx,
            400..500 => Counter::Responses4xx,
            500.. => Counter::Responses5xx,
        };
        self.add(class, 1);
    }

    /// A request was refused before a handler saw it, with this status.
    pub fn count_refused(&self, status: u16) {
        let reason = match status {
            408 => Counter::RefusedSlow,
            413 => Counter::RefusedBody,
            414 | 431 => Counter::RefusedHead,
            400..500 => Counter::RefusedMalformed,
            _ => Counter::RefusedUnsupported,
        };
        self.add(reason, 1);
    }

    /// A connection ended for the PROXY header that it was to begin with.
    pub fn count_header_refused(&self, refusal: HeaderRefusal) {
        let reason = match refusal {
            HeaderRefusal::UntrustedPeer => Counter::HeadersUntrusted,
            HeaderRefusal::Invalid(ProxyHeaderError::Absent) => Counter::HeadersAbsent,
            HeaderRefusal::Invalid(ProxyHeaderError::Kind) => Counter::HeadersUnsupported,
            HeaderRefusal::Invalid(ProxyHeaderError::Checksum) => Counter::HeadersChecksum,
            HeaderRefusal::Invalid(
                ProxyHeaderError::Unterminated
                | ProxyHeaderError::Line
                | ProxyHeaderError::Length
                | ProxyHeaderError::Values,
            ) => Counter::HeadersMalformed,
        };
        self.add(reason, 1);
    }

    /// Something has taken so long.
    pub fn measure(&self, histogram: Histogram, time: Duration) {
        self.add_at(layout::bucket_at(histogram, bucket_of(time)), 1);
        self.add_at(layout::sum_at(histogram), nanos(time));
    }

    /// A handler was busy for so long.
    pub fn add_busy(&self, time: Duration) {
        self.add(Counter::BusyNs, nanos(time));
    }

    fn add_at(&self, word: usize, more: u64) {
        // Relaxed: each number stands for itself, and a reader that sees one of two that were added
        // together is told so a moment later.
        self.word(word).fetch_add(more, Ordering::Relaxed);
    }

    fn word(&self, word: usize) -> &AtomicU64 {
        &self.memory.words()[self.at + word]
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
