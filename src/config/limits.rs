//! Every queue, loop, buffer and wait has its maximum here, with the reason and what others chose.
//!
//! These are not flags: a user who needs another value has found a case we want to hear of.

use std::time::Duration;

/// Worker processes a master runs at the most: the dispatcher looks at each on a pick.
pub const WORKERS_MAX: u16 = 1024;

/// Handler threads a worker runs at the most.
pub const THREADS_MAX: u16 = 1024;

/// Descriptors in one packet. Past 64 the cost of a descriptor no longer falls
/// (docs/architecture.md); the kernel's own bound is 253 (SCM_MAX_FD, unix(7)).
pub const DESCRIPTORS_PER_PACKET_MAX: usize = 64;

/// Loans that one page has places for: what one worker can hold. A full table is no credit.
pub const LOANS_MAX: u32 = 65_536;

/// Bytes of context that a worker may leave with a connection for its next worker.
pub const CONTEXT_SIZE: usize = 64;

/// How many loans may wait at a worker whose handlers run on its loop, and how many a worker with
/// threads is lent beyond its threads. Enough to cover the time between two requests; more would
/// only be queued where nobody else can be chosen any more.
pub const PREFETCH_MAX: u16 = 8;

/// Connections accepted in one turn of the master before it looks at anything else. nginx takes
/// all there are with `multi_accept`; a bound keeps load reports and recalls timely in a flood.
pub const ACCEPTS_PER_TURN_MAX: usize = 256;

/// Frames read from one worker in one turn of the master: one worker cannot hold the others up.
pub const FRAMES_PER_TURN_MAX: usize = 64;

/// Ring entries read from one page in one turn of the master.
pub const RING_ENTRIES_PER_TURN_MAX: usize = 1024;

/// How long the demonstration's `/sleep` and `/spin` work at the most. Anybody may ask for them;
/// a minute is longer than any experiment needs.
pub const DEMO_DURATION_MAX: Duration = Duration::from_secs(60);

/// Bytes in one piece of a streamed body: nginx's proxy buffers hold 64 KiB in all, and pieces
/// past that no longer save system calls.
pub const STREAM_PIECE_SIZE: usize = 64 * 1024;

/// Names in one directory listing, so that a huge directory costs milliseconds and a few megabytes.
pub const LISTING_ENTRIES_MAX: usize = 10_000;

/// How often an open is tried again when a concurrent rename kept the kernel from proving that a
/// path stays beneath the root (EAGAIN, openat2(2)).
pub const OPEN_ATTEMPTS_MAX: u32 = 8;
