//! Every queue, buffer and wait of the load generator has its maximum here, with the reason.
//!
//! Not here: the server's own (`config::limits`).

use std::time::Duration;

/// Connections of one generator at the most: what 127.0.0.1 has ephemeral ports for
/// (`ip_local_port_range`), and each is a descriptor here and one in the master.
pub const CONNECTIONS_MAX: usize = 28_000;

/// Connections that are being opened at one time by [`Generator::open`]. More would overflow a
/// small backlog and measure the kernel's retries.
///
/// [`Generator::open`]: crate::experiment::load::Generator::open
pub const OPENING_MAX: usize = 64;

/// How long opening a set may take. Ten thousand take a second or two.
pub const OPEN_FOR_MAX: Duration = Duration::from_secs(60);

/// Requests that are due and wait for a connection, in each set. Past this the server is so far
/// behind that every further wait says the same; what is not queued is counted as an error.
pub const WAITING_MAX: usize = 100_000;

/// How long a run lasts at the most: a day is a typing error, and sums stay far from overflow.
pub const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);

/// Requests a second of one class at the most: a request every microsecond, which one thread
/// cannot send anyway.
pub const RATE_MAX: f64 = 1_000_000.0;

/// Requests of one burst at the most.
pub const BURST_MAX: u32 = 100_000;

/// Bytes of a request's path. Servers refuse longer lines (ours at 65,536).
pub const PATH_SIZE_MAX: usize = 8192;

/// Pause before a connection that could not be opened is tried again, so that a server that is
/// down is not hammered.
pub const REOPEN_PAUSE: Duration = Duration::from_millis(10);

/// Between two looks for requests that have waited too long.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Bytes read in one system call, into the one buffer that all connections share.
pub const READ_BUFFER_SIZE: usize = 64 * 1024;

/// Full reads from one connection before the others are looked at.
pub const READS_PER_TURN_MAX: usize = 16;

/// Events taken from the kernel in one turn. Small, so that what becomes due meanwhile is not sent
/// late because of many answers.
pub const EVENTS_PER_TURN_MAX: usize = 64;

/// Bytes of an answer's head. curl: 300 KiB, browsers: 256 KiB; ours sends some hundred.
pub const HEAD_SIZE_MAX: usize = 64 * 1024;

/// Fields of an answer's head.
pub const FIELDS_MAX: usize = 64;

/// Interim answers (1xx) before the final one.
pub const INTERIM_MAX: u8 = 8;

/// Digits of a chunk's size. Sixteen hold every `u64`, so that the size cannot overflow.
pub const CHUNK_SIZE_DIGITS_MAX: u8 = 16;

/// Bytes of chunk extensions and trailer fields in one body. They are dropped.
pub const CHUNK_EXTRAS_MAX: u32 = 16_384;

/// The longest latency that is told apart from longer ones.
pub const LATENCY_MAX: Duration = Duration::from_secs(3600);

/// The shortest: a loopback request takes ten times as long.
pub const LATENCY_MIN: Duration = Duration::from_micros(1);

/// The longest service time that is asked for: what the demonstration works at the most.
pub const SERVICE_MAX: Duration = Duration::from_secs(60);

/// The shortest interval between bursts: below, it is a rate.
pub const BURST_INTERVAL_MIN: Duration = Duration::from_millis(1);

/// Samples that a report keeps: 56 bytes each. Later ones are counted and not kept.
pub const SAMPLES_MAX: usize = 2_000_000;

/// Bytes of a trace that is replayed; a row has about twenty.
pub const TRACE_SIZE_MAX: u64 = 64 * 1024 * 1024;

/// Requests of a trace: half an hour at a thousand a second.
pub const TRACE_REQUESTS_MAX: usize = 2_000_000;
