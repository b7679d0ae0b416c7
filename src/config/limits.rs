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

/// Workers started when nobody says how many: more would mostly wait for each other's memory.
/// Gunicorn and Uvicorn start one, nginx's `auto` one a core without a bound.
pub const WORKERS_DEFAULT_MAX: u16 = 8;

/// `--credit` at the most: a frame carries it in 16 bits, and no page has places for more.
pub const CREDIT_MAX: u16 = u16::MAX;

/// `--weights` at the most: a turn of weighted round-robin is as long as the sum of the weights.
pub const WEIGHT_MAX: u32 = 1000;

/// Addresses that one server listens on at the most. Each costs a look per turn of the master.
pub const LISTENERS_MAX: usize = 64;

/// `--backlog` at the most. The kernel cuts it at `net.core.somaxconn` (4096 on most machines),
/// and older ones kept it in 16 bits.
pub const BACKLOG_MAX: u32 = 65_535;

/// `--defer-accept` at the most, in seconds. A client that stays silent fills the SYN queue for as
/// long; one second is all that a first request needs.
pub const DEFER_ACCEPT_MAX_S: u32 = 1;

/// Bytes in the path of a Unix socket: `sun_path` is 108 with its closing NUL (unix(7)).
pub const UNIX_PATH_SIZE_MAX: usize = 107;

/// Every deadline that is a flag, at the most: a week is a typing error, and sums stay far from
/// overflow.
pub const DEADLINE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// Every deadline that is a flag and may not be zero, at the least: the resolution of the timers.
pub const DEADLINE_MIN: Duration = Duration::from_millis(1);

/// `--stall-after` at the least: below, a wake-up alone looks like a stall.
pub const STALL_AFTER_MIN: Duration = Duration::from_micros(100);

/// `--stall-after` at the most: past it nobody would be helped by a recall any more.
pub const STALL_AFTER_MAX: Duration = Duration::from_secs(60);

/// `--limit-request-line` at the most, and what 0 ("unlimited" in Gunicorn) means here: a buffer
/// always has an end. Gunicorn's own bound is 8190, nginx's default buffer 8192.
pub const LIMIT_REQUEST_LINE_MAX: usize = 65_536;

/// `--limit-request-line` at the least: room for a method, a short target and the version.
pub const LIMIT_REQUEST_LINE_MIN: usize = 64;

/// `--limit-request-fields` at the most, and what 0 means. Gunicorn's bound is 32,768, which is
/// more than a `HeaderMap` can hold.
pub const LIMIT_REQUEST_FIELDS_MAX: usize = 1024;

/// `--limit-request-field-size` at the most, and what 0 means.
pub const LIMIT_REQUEST_FIELD_SIZE_MAX: usize = 65_536;

/// `--limit-request-field-size` at the least: room for the fields that every client sends.
pub const LIMIT_REQUEST_FIELD_SIZE_MIN: usize = 64;

/// `--buffer-request` and `--buffer-response` at the most: this much memory a connection.
pub const BUFFER_MAX: usize = 1 << 30;

/// Bytes of log lines that wait for a slow reader of stderr or stdout; what comes beyond is
/// counted and dropped, because serving never waits for a log.
pub const LOG_BUFFER_SIZE_MAX: usize = 1 << 20;

/// Bytes of one value (a message, a field, a request target) in a log line; the rest is cut off.
pub const LOG_VALUE_SIZE_MAX: usize = 4096;

/// How long a process that ends waits for its log lines to be taken.
pub const LOG_FLUSH_MAX: Duration = Duration::from_secs(1);
