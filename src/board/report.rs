//! The load report: what a worker says of itself, in plain stores on its own cache lines.
//!
//! One writer, so every counter is a load and a store, never a locked instruction. The master reads
//! all of it in one pass, once a turn, and computes with saturation: any number may stand here.
//!
//! Not here: what the numbers mean for a decision (`dispatch::ledger`).

use std::time::Duration;

use crate::board::layout::{AT_REPORT, Words};
use crate::board::sync::Ordering;
use crate::time::Nanos;

/// One look at a worker's load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Claims, ever: requests that began, and claims that came to nothing.
    pub requests_started: u64,
    /// Of those, how many are over.
    pub requests_finished: u64,
    /// Claims that no answer followed: lost, nothing to read, or the end of the connection. In both
    /// counts above.
    pub claims_empty: u64,
    /// Connections that ended at this worker.
    pub connections_ended: u64,
    /// When the loop's present turn began; zero while it waits in epoll.
    pub turn_entered: Nanos,
    /// Complete requests that wait for a handler thread.
    pub requests_queued: u32,
    /// Handler threads that are taken.
    pub threads_busy: u32,
    /// Since when no handler thread is free; zero while one is.
    pub all_busy_since: Nanos,
    /// When the oldest handler call that is not over began; zero if there is none.
    pub oldest_call: Nanos,
    /// Time spent in handlers, all threads together.
    pub busy_ns: u64,
    /// Handler calls that `busy_ns` is the sum of.
    pub services: u64,
    /// Sum of the squares of their times, in microseconds.
    pub service_us_squared: u64,
    /// Requests that ended badly: malformed, refused, panicked, cut off.
    pub errors: u64,
    /// Connections that this worker has accepted itself; none where the master accepts.
    pub own_accepted: u64,
}

#[derive(Clone, Copy)]
#[repr(usize)]
pub(super) enum Field {
    Started,
    Finished,
    ClaimsEmpty,
    ConnectionsEnded,
    TurnEntered,
    Queued,
    ThreadsBusy,
    AllBusySince,
    OldestCall,
    BusyNs,
    Services,
    ServiceUsSquared,
    Errors,
    OwnAccepted,
}

/// Words of a report.
pub(super) const REPORT_WORDS: usize = Field::OwnAccepted as usize + 1;

impl LoadReport {
    /// Connections that this worker has accepted itself, and that have not ended.
    pub fn own_open(&self) -> u64 {
        match self.own_accepted {
            // What has ended was lent.
            0 => 0,
            accepted => accepted.saturating_sub(self.connections_ended),
        }
    }

    /// Reads all fields. `requests_started` is read last but published first, so that a request
    /// that begins meanwhile may be counted twice but is never missed.
    pub(super) fn load(memory: &impl Words) -> LoadReport {
        let field = |field: Field| word(memory, field).load(Ordering::Acquire);
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        LoadReport {
            requests_finished: field(Field::Finished),
            claims_empty: field(Field::ClaimsEmpty),
            connections_ended: field(Field::ConnectionsEnded),
            turn_entered: Nanos(field(Field::TurnEntered)),
            requests_queued: small(field(Field::Queued)),
            threads_busy: small(field(Field::ThreadsBusy)),
            all_busy_since: Nanos(field(Field::AllBusySince)),
            oldest_call: Nanos(field(Field::OldestCall)),
            busy_ns: field(Field::BusyNs),
            services: field(Field::Services),
            service_us_squared: field(Field::ServiceUsSquared),
            errors: field(Field::Errors),
            own_accepted: field(Field::OwnAccepted),
            requests_started: field(Field::Started),
        }
    }
}

/// Stores a field; the reader's acquire sees everything that came before it.
pub(super) fn set(memory: &impl Words, field: Field, value: u64) {
    word(memory, field).store(value, Ordering::Release);
}

/// Adds to a counter that only this side writes.
pub(super) fn add(memory: &impl Words, field: Field, more: u64) {
    let counter = word(memory, field);
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Release);
}

/// Adds one handler call to the moments of service.
pub(super) fn add_service(memory: &impl Words, service: Duration) {
    let nanos = u64::try_from(service.as_nanos()).unwrap_or(u64::MAX);
    let micros = nanos / 1_000;
    add(memory, Field::BusyNs, nanos);
    add(memory, Field::Services, 1);
    add(memory, Field::ServiceUsSquared, micros.saturating_mul(micros));
}

fn word<M: Words>(memory: &M, field: Field) -> &crate::board::sync::AtomicU64 {
    &memory.words()[AT_REPORT + field as usize]
}
