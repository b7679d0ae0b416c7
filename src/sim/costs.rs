//! What everything beside the work itself takes: wake-ups, hand-offs, the master's own turns.
//!
//! A simulation without costs ([`Costs::NONE`]) is queueing theory; one with them
//! ([`Costs::MEASURED`]) is what two cores and loopback make of it. They are set by four figures of
//! benches, and everything else follows: p50 of `bars`' workload `unloaded` in two arms (wake-ups,
//! ways), the master's profile at saturation (accepting, packets), and p50 of `cloudflare` in the
//! arm `shared` (how late a sleep ends).
//!
//! Not here: what they are added to (`server`).

use crate::time::Nanos;

/// Nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Costs {
    /// From when a client sends until the server's kernel wakes somebody.
    pub there_ns: u64,
    /// From when an answer is sent until the client has it.
    pub back_ns: u64,
    /// From an event until a sleeping master runs.
    pub wake_master_ns: u64,
    /// A turn of the master, whatever it finds.
    pub turn_ns: u64,
    /// Beside it, for each worker: a look at its page.
    pub look_ns: u64,
    /// Accepting a connection, in the master or in a worker.
    pub accept_ns: u64,
    /// A packet to a worker, and the call that sends it.
    pub packet_ns: u64,
    /// Each descriptor in it.
    pub descriptor_ns: u64,
    /// From a packet, a request or an answer until a sleeping worker runs.
    pub wake_worker_ns: u64,
    /// A request beside its handler: receiving, parsing, sending.
    pub around_ns: u64,
    /// How late a sleep of a given time ends.
    pub oversleep_ns: u64,
    /// From the start of a process until it is Ready.
    pub boot_ns: u64,
}

impl Costs {
    /// Nothing takes time but the work: what theory assumes.
    pub const NONE: Costs = Costs {
        there_ns: 0,
        back_ns: 0,
        wake_master_ns: 0,
        turn_ns: 0,
        look_ns: 0,
        accept_ns: 0,
        packet_ns: 0,
        descriptor_ns: 0,
        wake_worker_ns: 0,
        around_ns: 0,
        oversleep_ns: 0,
        boot_ns: 0,
    };

    /// As it is here: Linux 6.18, two cores, loopback.
    pub const MEASURED: Costs = Costs {
        there_ns: 20_000,
        back_ns: 50_000,
        wake_master_ns: 50_000,
        turn_ns: 4_000,
        look_ns: 60,
        accept_ns: 6_000,
        packet_ns: 2_500,
        descriptor_ns: 500,
        wake_worker_ns: 50_000,
        around_ns: 25_000,
        oversleep_ns: 110_000,
        boot_ns: 30_000_000,
    };

    /// So much later.
    pub(crate) fn after(now: Nanos, nanos: u64) -> Nanos {
        Nanos(now.0.saturating_add(nanos))
    }
}
