//! Every queue, loop, buffer and wait has its maximum here, with the reason and what others chose.
//!
//! These are not flags: a user who needs another value has found a case we want to hear of.

use std::time::Duration;

/// Worker processes a master runs at the most: the dispatcher looks at each on a pick.
pub const WORKERS_MAX: u16 = 1024;

/// Handler threads a worker runs at the most.
pub const THREADS_MAX: u16 = 1024;

/// Entries of the table of running calls in a page: one for the loop, one for each thread.
#[cfg(not(loom))]
pub const DOING_ENTRIES_MAX: usize = THREADS_MAX as usize + 1;
/// Loom follows every word of a page, and these are none of its business.
#[cfg(loom)]
pub const DOING_ENTRIES_MAX: usize = 0;

/// Bytes of such an entry that say what is being done: with its two other words two cache lines.
pub const DOING_TEXT_SIZE: usize = 112;

/// Calls of a hung or dead worker that a log line names.
pub const NAMED_CALLS_MAX: usize = 4;

/// Descriptors in one packet. Past 64 the cost of a descriptor no longer falls
/// (docs/architecture.md); the kernel's own bound is 253 (SCM_MAX_FD, unix(7)).
pub const DESCRIPTORS_PER_PACKET_MAX: usize = 64;

/// Loans that one page has places for: what one worker can hold. A full table is no credit.
pub const LOANS_MAX: u32 = 65_536;

/// Bytes of context that a worker may leave with a connection for its next worker.
pub const CONTEXT_SIZE: usize = 64;

/// Bytes of a PROXY header: what nginx takes. (Version 1 has 107 at the most; version 2 could have
/// 64 KiB, of which its addresses need 216 and the rest are TLVs.)
pub const PROXY_HEADER_SIZE_MAX: usize = 4096;

/// Bytes of a request id that is passed on; a longer one is replaced. Room for a UUID with a
/// prefix, and for what the clouds' load balancers write.
pub const REQUEST_ID_SIZE_MAX: usize = 128;

/// How many loans may wait at a worker whose handlers run on its loop, and how many a worker with
/// threads is lent beyond its threads. Enough to cover the time between two requests; more would
/// only be queued where nobody else can be chosen any more.
pub const PREFETCH_MAX: u16 = 8;

/// The same at a worker whose handlers on its loop are so fast that these are no wait to speak of.
pub const PREFETCH_FAST_MAX: u16 = 32;

/// In this share of `--stall-after` a fast worker is through with what may wait at it.
pub const PREFETCH_STALL_SHARE: u32 = 2;

/// What a request costs a worker beside its handler: receiving, parsing, sending.
pub const AROUND_REQUEST: Duration = Duration::from_micros(15);

/// A loan that has waited behind others for this share of `--stall-after` is recalled for a worker
/// that is idle. At once would move what its worker is about to take anyway: in bursts of requests
/// of 0.1 ms every connection was moved once, which cost CPU and unlevelled what had been dealt out
/// evenly.
pub const RECALL_PATIENCE_SHARE: u32 = 2;

/// A worker that has been lent something and sleeps on is woken already: it is the system that has
/// not run it yet. What waits there is left to it for so many times `--stall-after`. On cores that
/// are all taken another worker would only be run in its place; moving costs CPU where there is
/// none, and unlevels what had been dealt out evenly.
pub const UNRUN_STALLS: u32 = 10;

/// How long a worker has been stuck when its loans, unread ones and readable idle ones, go to any
/// worker that has credit, instead of waiting for one that serves them at once. Behind a handler that
/// is busy for a moment a request waits as well as where it is; behind one that may be busy for ever
/// it does not, and a server whose workers are never idle would leave it there.
pub const RESCUE_PATIENCE: Duration = Duration::from_millis(50);

/// Idle loans of a stuck worker that are registered in one turn of the master: about 0.2 ms
/// (docs/measurements.md). The rest follows in the next turns.
pub const WATCHES_PER_TURN_MAX: usize = 128;

/// Readable loans that one look among a stuck worker's idle ones returns.
pub const READABLE_PER_LOOK_MAX: usize = 64;

/// Such looks in a row, where what is readable cannot be taken back (requests that are arriving at
/// the stuck worker itself).
pub const LOOKS_PER_RESCUE_MAX: usize = 16;

/// How often the master decides anew before it sleeps, because raising a bell showed it something.
pub const BELL_ROUNDS_MAX: usize = 3;

/// Connections accepted in one turn of the master before it looks at anything else. nginx takes
/// all there are with `multi_accept`; a bound keeps load reports and recalls timely in a flood.
pub const ACCEPTS_PER_TURN_MAX: usize = 256;

/// How much of its descriptors the master keeps for parked connections at the most, as a fraction:
/// clients that say nothing leave a quarter to those that do. The one that has been silent for
/// longest makes room.
pub const PARKED_SHARE: (u64, u64) = (3, 4);

/// Places in the waiting room of `--queue-timeout` without `--max-queue`. Each holds a descriptor of
/// the master, which also bounds all idle connections; 1024 is half of the default `--backlog`, and
/// what finds no place waits in the kernel's queue as before.
pub const WAITING_ROOM_MAX: usize = 1024;

/// How often the master asks how long the kernel's queue is, while a limit to waiting is set, nobody
/// has room and somebody waits there. The question costs 0.6 µs and a wake-up; nobody's client
/// notices a hundredth of a second.
pub const SHED_LOOK: Duration = Duration::from_millis(10);

/// Connections that linger after an answer of the master at the same time; beyond, the one that has
/// lingered for longest is closed. Each holds a descriptor, and a flood that is being turned away
/// must not use up those of the others.
pub const LINGERING_MAX: usize = 1024;

/// Frames read from one worker in one turn of the master: one worker cannot hold the others up.
pub const FRAMES_PER_TURN_MAX: usize = 64;

/// How soon master and worker try again to tell each other what a full channel did not take.
pub const DEBTS_PAUSE: Duration = Duration::from_millis(20);

/// Frames read from a worker that has ended. A channel holds a few hundred: `wmem_default` is
/// 208 KiB, and the kernel counts some hundred bytes more for each packet.
pub const FRAMES_LEFT_MAX: usize = 4096;

/// Frames that a loan gives a worker reason for: Taken and Ended, or one Refuse, and as much again.
pub const FRAMES_PER_LOAN: u64 = 4;

/// Frames that loans may have earned and nobody has sent: those of a full page. They cost the master
/// less than a second.
pub const FRAMES_EARNED_MAX: u64 = LOANS_MAX as u64 * FRAMES_PER_LOAN;

/// Frames in a second that need no reason: reports. docs/handoff.md asks for ten.
pub const FRAMES_PER_SECOND: u32 = 1000;

/// Such frames at once.
pub const FRAMES_BURST: u64 = 4096;

/// Calls (`master_waiting`) that a loan gives reason for: it may be given back, and free its place.
pub const CALLS_PER_LOAN: u64 = 2;

/// Calls that loans may have earned and were not needed.
pub const CALLS_EARNED_MAX: u64 = 8192;

/// Calls in a second that no loan explains: requests of connections that a worker has had for long
/// free places too. A worker that lowers the flag for nothing is called no more often.
pub const CALLS_PER_SECOND: u32 = 500;

/// Such calls at once.
pub const CALLS_BURST: u64 = 2000;

/// Rings that calls may have earned: a ring follows its call soon, or the next call replaces it.
pub const BELLS_EARNED_MAX: u64 = 1024;

/// Rings in a second that no call explains. Honest workers have none.
pub const BELLS_PER_SECOND: u32 = 10;

/// Such rings at once.
pub const BELLS_BURST: u64 = 256;

/// How often an alarm may ring in each `--stall-after`: an honest worker's rings once.
pub const ALARMS_PER_STALL: u32 = 2;

/// Rings of an alarm beyond that at once: a machine that was paused catches up.
pub const ALARMS_BURST: u64 = 512;

/// Stops and continuations of a worker in a second. Who slows a process by signals (cpulimit, the
/// slow worker of an experiment) makes 20 to 200; one that is hostile makes thousands.
pub const STOPS_PER_SECOND: u32 = 400;

/// Such changes at once.
pub const STOPS_BURST: u64 = 512;

/// Stops of a worker that are said one after the other; then one in each `LOG_REPEAT_AFTER`.
pub const STOPS_SAID_BURST: u64 = 8;

/// How long a worker that serves may live on with its channel closed: one that is leaving has still
/// to write its log (`LOG_FLUSH_MAX`).
pub const CHANNEL_CLOSED_MAX: Duration = Duration::from_secs(5);

/// How soon after its Ready a worker's wish to leave (`Bye`) is heard: one that always wants to
/// leave costs a process in this time, and no more.
pub const LEAVE_NOT_BEFORE: Duration = Duration::from_secs(1);

/// How long a worker that refuses a packet is lent nothing. It has no descriptors, and what it
/// refuses would go back and forth.
pub const REFUSED_PAUSE: Duration = Duration::from_millis(20);

/// Connections that are over and wait to be closed while new ones are being seated: few against the
/// descriptors that a server has, and more than end in the time in which a full backlog is seated.
pub const ENDED_MAX: usize = 512;

/// Ring entries read from one page in one turn of the master.
pub const RING_ENTRIES_PER_TURN_MAX: usize = 1024;

/// Descriptors that the master keeps back for replacing a worker at its limit: a channel (2), a
/// page, an alarm, a bell, a pidfd, the watch of its idle loans, and the pipe by which exec reports
/// its failure (2), with a little room.
pub const DESCRIPTORS_RESERVED: usize = 11;

/// Bytes of a state on its way to the next program image: some 300 for a connection, and a server
/// has a million of them at the most (`fs.nr_open`).
pub const STATE_SIZE_MAX: u64 = 1 << 30;

/// Pieces of a response that one vectored write gathers.
pub const SLICES_PER_WRITE_MAX: usize = 16;

/// How long accepting rests after the system has said that it is out of descriptors or memory.
/// nginx waits 500 ms (`accept_mutex_delay`); half of it keeps the pause below what users notice.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(250);

/// `--accept-batch` at the most: what one worker takes of a queue in one turn is what no other gets.
pub const ACCEPT_BATCH_MAX: u16 = 64;

/// Connections that a worker which leaves takes from its queue in one turn, before it looks at what
/// it has already.
pub const EMPTIED_PER_TURN_MAX: usize = 256;

/// How long accept(2) blocks at the most with `--accept blocking`: so much later a worker hears that
/// it is to leave. Ten wake-ups a second cost an idle worker a few hundred-thousandths of a core.
pub const BLOCKING_ACCEPT_MAX: Duration = Duration::from_millis(100);

/// How often the master looks at the pages of workers that accept themselves, where somebody counts
/// on it (`--status-file`, recycling): nothing else wakes it there.
pub const OWN_LOOK: Duration = Duration::from_millis(250);

/// Aborted connections skipped in one go before the master, or a worker, looks at anything else.
pub const ACCEPT_RETRIES_MAX: usize = 64;

/// A complaint that would repeat with every connection is logged once in this time.
pub const LOG_REPEAT_AFTER: Duration = Duration::from_secs(5);

/// How long a connection is read and thrown away after its last answer, so that a client that is
/// still sending can read it. nginx: `lingering_timeout` 5 s, `lingering_time` 30 s.
pub const LINGER_FOR: Duration = Duration::from_secs(2);

/// How much is thrown away before a client that does not stop sending is closed on.
pub const LINGER_BYTES_MAX: u64 = 1 << 20;

/// Bytes read in one system call, into the one buffer that all sessions of a worker share.
/// nginx reads heads in 1 KiB and bodies in 16 KiB; large reads make fewer calls for uploads.
pub const READ_BUFFER_SIZE: usize = 64 * 1024;

/// Full reads from one connection before the worker looks at the others.
pub const READS_PER_TURN_MAX: usize = 16;

/// Bytes a second below which a request's body is given up, beside the deadline between two reads.
/// Apache's mod_reqtimeout: 500.
pub const BODY_RATE_MIN: u64 = 500;

/// Bodies up to this size are copied behind their head and leave with it in one write.
pub const BODY_COPIED_MAX: usize = 16 * 1024;

/// How long a handler that shares the loop's thread may keep it, until a stand-in runs the loop: as
/// long as a worker may be silent before it counts as stuck. Each look costs a wake-up.
pub const STAND_IN_AFTER: Duration = Duration::from_millis(1);

/// So many calls in a row, each shorter than that, and the stand-in's part is over.
pub const QUICK_CALLS_MIN: u32 = 8;

/// Turns without a look at the kernel's events, while the handler that shares the loop's thread has
/// answers to send: each look costs a system call, and a connection that has something to say has to
/// wait for the thread anyway.
pub const TURNS_PER_WAIT_MAX: u32 = 4;

/// Events taken from the kernel in one turn of a loop. nginx: 512 (`worker_aio_requests` aside).
pub const EVENTS_PER_TURN_MAX: usize = 512;

/// How many fields of the largest size a request's head has room for, whatever their number: the
/// whole head is bounded by this and the request line (`http::head_size_max`), 68 KiB by default.
/// nginx holds 32 KiB (`large_client_header_buffers`), Node.js 16 KiB; Gunicorn and Apache let
/// every allowed field be as large as the largest, 800 KiB a silent client can make a server hold.
pub const HEAD_LARGEST_FIELDS_MAX: usize = 8;

/// Fields of a request's head that are parsed without an allocation for their list; browsers send
/// up to about thirty.
pub const FIELDS_ON_STACK_MAX: usize = 64;

/// Digits of a chunk's size. Sixteen hold every `u64`, so that the size cannot overflow.
pub const CHUNK_SIZE_DIGITS_MAX: u8 = 16;

/// Bytes of chunk extensions in one body. They are legal, unused in practice, and were a way to
/// make a server read for ever (CVE-2023-39326).
pub const CHUNK_EXTENSIONS_SIZE_MAX: u16 = 4096;

/// Bytes of the trailer fields behind a chunked body. They are checked and dropped.
pub const TRAILERS_SIZE_MAX: u32 = 16_384;

/// Bytes of a request's body that are read and thrown away to keep the connection, when the
/// response is finished before they have come. Go reads up to 256 KiB, hyper only what it already
/// holds; past this a new connection is the cheaper one.
pub const BODY_DRAIN_MAX: u64 = 65_536;

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

/// Workers started when nobody says how many: more would mostly wait for each other's memory.
/// Gunicorn and Uvicorn start one, nginx's `auto` one a core without a bound.
pub const WORKERS_DEFAULT_MAX: u16 = 8;

/// `--credit` at the most: a frame carries it in 16 bits, and no page has places for more.
pub const CREDIT_MAX: u16 = u16::MAX;

/// `--max-queue` at the most: what the kernel's queue can hold.
pub const MAX_QUEUE_MAX: u32 = BACKLOG_MAX;

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

/// `--max-requests` and its jitter at the most. Gunicorn and Uvicorn have no bound; past this a
/// number is a typing error.
pub const MAX_REQUESTS_MAX: u64 = u32::MAX as u64;

/// `--max-rss` at the least: below, a worker is over it as soon as it has started.
pub const MAX_RSS_MIN: u64 = 1 << 20;

/// `--max-rss` at the most.
pub const MAX_RSS_MAX: u64 = 1 << 40;

/// `--report-age` at the least: the master's own turns are hardly apart by more.
pub const REPORT_AGE_MIN: Duration = Duration::from_millis(1);

/// `--report-age` at the most: what is lent within it is lent blindly.
pub const REPORT_AGE_MAX: Duration = Duration::from_secs(10);

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

/// Bytes of the name and the secret in Basic authorization; who sends more has no name in the access
/// log.
pub const LOG_USER_SIZE_MAX: usize = 512;

/// Bytes of an application's traceback in the log. Its end says what happened and stays; what is cut
/// off is the beginning, where servers and frameworks call each other.
pub const LOG_TRACEBACK_SIZE_MAX: usize = 16 << 10;

/// What the service manager is asked for beyond a deadline of ours: killing what is left, the log.
pub const SERVICE_MARGIN: Duration = Duration::from_secs(5);

/// Bytes of a template for the access log: far more than anybody has written.
pub const TEMPLATE_SIZE_MAX: usize = 4096;

/// Atoms in such a template; with [`LOG_VALUE_SIZE_MAX`] they bound a line.
pub const TEMPLATE_ATOMS_MAX: usize = 64;

/// Bytes of the name under which a server speaks to syslog: RFC 3164 section 4.1.3 has no more.
pub const LOG_TAG_SIZE_MAX: usize = 32;

/// What one write(2) takes of a log's lines: up to here a pipe takes it whole or not at all
/// (PIPE_BUF, pipe(7)), so that lines of several processes do not tear each other.
pub const PIPE_WRITE_SIZE_MAX: usize = 4096;

/// The same for files, where the kernel holds the file's lock for a whole write(2) with O_APPEND.
pub const LOG_FILE_WRITE_SIZE_MAX: usize = 64 << 10;

/// Permission bits of a log file that is created: others are not to read who has asked for what.
pub const LOG_FILE_MODE: u32 = 0o640;

/// How long lines of the access log gather behind a write. Long enough for hundreds of a busy worker,
/// short enough for people who watch.
pub const ACCESS_LOG_REST: Duration = Duration::from_millis(20);

/// How long syslog, or the journal, may take for one line before it is lost.
pub const LOG_DATAGRAM_PATIENCE: Duration = Duration::from_secs(1);

/// Between two lines that say how much of the access log was lost.
pub const LOST_LINES_PAUSE: Duration = Duration::from_secs(5);

/// Lines of `--slow-log` a second and worker: where everything is slow, ten say so.
pub const SLOW_LINES_MAX: u32 = 10;

/// Records of requests that a worker keeps for the next ones: as many as one packet can bring.
pub const SPARE_NOTES_MAX: usize = DESCRIPTORS_PER_PACKET_MAX;

/// How long a process that ends waits for its log lines to be taken.
pub const LOG_FLUSH_MAX: Duration = Duration::from_secs(1);

/// Pieces of a streamed body that one connection sends before the worker looks at the others.
pub const PIECES_PER_TURN_MAX: usize = 16;

/// Pause before a slot is started again after a first failed start; doubles with each further one.
/// systemd: 100 ms (`RestartSec`).
pub const RESTART_PAUSE_MIN: Duration = Duration::from_millis(100);

/// The longest such pause. uWSGI and supervisord stay below a minute too.
pub const RESTART_PAUSE_MAX: Duration = Duration::from_secs(30);

/// A worker that served for so long is replaced at once when it ends, however it ends.
pub const STABLE_AFTER: Duration = Duration::from_secs(5);

/// Failed starts of one slot, before any worker was ever Ready, after which the server gives up.
pub const START_FAILURES_MAX: u32 = 3;

/// How long handshakes that are under way have to finish once no new one begins, before the
/// listeners close. A handshake takes one round trip; most of the world is within 100 ms.
pub const HANDSHAKES_SETTLE_FOR: Duration = Duration::from_millis(100);

/// How long the master sleeps at the most while workers hold connections: what they let go of is
/// closed by then, if nothing else wakes it.
pub const RING_LOOK_MAX: Duration = Duration::from_secs(1);

/// How soon the master looks again after a turn in which workers let go of connections.
pub const RING_LOOK_MIN: Duration = Duration::from_millis(20);

/// A deadline of a worker that the master finds overdue by more than this is the master's own fault:
/// it was stopped (SIGSTOP, a debugger, a paused machine), and the worker may have been too. A loop
/// that is only busy is late by milliseconds.
pub const DEADLINE_LATE_MAX: Duration = Duration::from_secs(1);

/// How often the resident sets of workers are read with `--max-rss`, and how soon a worker that is
/// due, and could not be replaced, is looked at again. Reading one takes some 20 µs.
pub const RECYCLE_LOOK: Duration = Duration::from_secs(1);

/// How often requests are counted with `--max-requests` at the most, in turns that there are anyway.
pub const RECYCLE_COUNT: Duration = Duration::from_millis(100);

/// How often the master writes its status file at the most. People look once a second, and scrapers
/// less often; twenty times a second make a test's wait short and cost a few hundred-thousandths of a
/// core with eight workers (docs/measurements.md).
pub const STATUS_INTERVAL: Duration = Duration::from_millis(50);

/// How often the master writes its status for those who ask at the most: what happened before the
/// question is in the answer, and whoever asks all the time waits so long.
pub const STATUS_ASKED_INTERVAL: Duration = Duration::from_millis(5);

/// Addresses for operators that one server listens on at the most.
pub const ADMIN_LISTENERS_MAX: usize = 8;

/// The helper's accept queue: more than that many operators and scrapers do not come at once.
pub const ADMIN_BACKLOG: u32 = 64;

/// Connections that the helper has open at the most. What comes beyond waits in its queue: whoever
/// holds so many shuts other operators out, and no client of the server.
pub const ADMIN_CONNECTIONS_MAX: u32 = 64;

/// What an operator's client has for a request's head and body, and for taking its answer: short, so
/// that a connection which says nothing gives its place up soon.
pub const ADMIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection to the helper may be idle: longer than the usual 15 s between two scrapes
/// would hold a place for nothing the rest of the time.
pub const ADMIN_KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Bytes of a command's JSON, and of a request line and a field there.
pub const ADMIN_BODY_SIZE_MAX: usize = 4096;

/// Bytes of a text between master and helper: a sentence, or a few faults of a configuration file.
pub const ADMIN_TEXT_SIZE_MAX: usize = 1024;

/// How long the helper waits for the master's answer before it says that there is none. A probe of
/// Kubernetes waits one second by default.
pub const ADMIN_ANSWER_MAX: Duration = Duration::from_millis(800);

/// How long it waits where a command may have to read files (`reload`).
pub const ADMIN_COMMAND_MAX: Duration = Duration::from_secs(10);

/// Bytes of an answer that an operator's client takes: a status of 2048 workers has less than two
/// million.
pub const ADMIN_REPLY_SIZE_MAX: usize = 16 << 20;

/// Fields of its head: ours have fewer than ten.
pub const ADMIN_REPLY_FIELDS_MAX: usize = 64;

/// Frames that the master reads from the helper in one turn, and so commands that it carries out.
pub const ADMIN_FRAMES_PER_TURN_MAX: usize = 8;

/// Answers that wait for room in the helper's channel. It has one thread that asks, and a probe that
/// has given up leaves its answer behind; beyond, an answer is dropped.
pub const ADMIN_ANSWERS_OWED_MAX: usize = 64;

/// Of what has happened the master keeps so much, for a helper that is started anew.
pub const HAPPENED_KEPT_MAX: usize = 64;

/// And the helper.
pub const HAPPENED_SHOWN_MAX: usize = 256;

/// A worker that makes no progress for so long is worth a word; shorter stalls are what the master is
/// there for, and are counted.
pub const STUCK_TOLD_AFTER: Duration = Duration::from_secs(1);

/// How often the idle connections of a slot that was taken out of service are taken back, while it
/// has any: a worker says nothing when one becomes idle.
pub const DRAINED_LOOK: Duration = Duration::from_millis(20);

/// How long a helper that is to leave has for what it is answering, before it is killed.
pub const HELPER_LEAVES_WITHIN: Duration = Duration::from_secs(2);

/// How old what the helper knows of processes may be (/proc is read, some 50 µs a worker).
pub const PROCESSES_LOOK: Duration = Duration::from_millis(500);

/// Workers that a status file lists: each slot has one, and during a reload two.
pub const STATUS_WORKERS_MAX: usize = 2 * WORKERS_MAX as usize;

/// How often a reader looks again at a status file that is just being written, before it says that
/// the file is damaged. One write takes microseconds, and there are twenty in a second.
pub const STATUS_READS_MAX: u32 = 20;

/// How long it waits between two such looks.
pub const STATUS_READ_PAUSE: Duration = Duration::from_millis(2);

/// Bytes of a configuration file: it travels to the workers in their environment, where the kernel
/// allows 128 KiB a string (MAX_ARG_STRLEN, execve(2)).
pub const CONFIG_SIZE_MAX: usize = 64 << 10;

/// Bytes in the path of a status file: the kernel's own bound with its closing NUL (PATH_MAX).
pub const STATUS_PATH_SIZE_MAX: usize = 4095;

/// How long a burst of changed files is waited for with `--reload` at the least: editors write a file
/// in several steps.
pub const RELOAD_DELAY_MIN: Duration = Duration::from_millis(10);

/// And at the most: somebody waits for it.
pub const RELOAD_DELAY_MAX: Duration = Duration::from_secs(60);

/// Bytes of a WebSocket message that may be asked for: each connection may hold one in memory.
pub const WS_MAX_SIZE_MAX: u64 = 1 << 30;

/// WebSocket messages that may wait for the application, each as large as that.
pub const WS_MAX_QUEUE_MAX: u32 = 65_536;

/// How long changes may go on before a reload with `--reload` waits no longer for their end: a tool
/// that writes all the time must not hold it off for ever.
pub const RELOAD_BURST_MAX: Duration = Duration::from_secs(5);

/// Bytes of an `--env-file`: far more than an environment may have (execve(2), MAX_ARG_STRLEN).
pub const ENV_FILE_SIZE_MAX: u64 = 1 << 20;

/// What an interpreter has for the question whether it has the package: imports from a cold disk.
pub const INTERPRETER_CHECK_MAX: Duration = Duration::from_secs(30);

/// How often `maitred top` asks: what people can follow, and what the page in a browser does.
pub const TOP_INTERVAL: Duration = Duration::from_secs(1);

/// How long it waits for an answer before it says that the picture is old.
pub const TOP_PATIENCE: Duration = Duration::from_secs(4);

/// How long it waits for a key before it looks for an answer: less than people notice.
pub const TOP_KEY_WAIT: Duration = Duration::from_millis(50);

/// `--scale-up-after` at the least: below, every burst would start workers that come too late for it.
pub const SCALE_UP_AFTER_MIN: Duration = Duration::from_millis(10);

/// `--scale-up-after` at the most: a client that has waited for a minute has gone.
pub const SCALE_UP_AFTER_MAX: Duration = Duration::from_secs(60);

/// `--scale-down-after` at the least: a worker that is started costs more than a second of idleness.
pub const SCALE_DOWN_AFTER_MIN: Duration = Duration::from_secs(1);

/// `--scale-down-after` at the most.
pub const SCALE_DOWN_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);

/// Over how long the busy share of workers is taken, and how often the master wakes for it at the
/// most while it has nothing else to do. One request of a second must not look like a full server.
pub const SCALE_WINDOW: Duration = Duration::from_secs(1);

/// How soon after a look at what waits the next one may follow.
pub const SCALE_LOOK_MIN: Duration = Duration::from_millis(10);

/// Workers that are busy for this share of their time are too few: behind one that is, a request
/// waits for several others on the average, and the master does not see what waits on kept
/// connections. HAProxy's and Kubernetes' advice is 70 to 80 for a target; this is where it hurts.
pub const SCALE_BUSY: f64 = 0.85;

/// The busy share that new workers are to bring about, where nobody waits.
pub const SCALE_TARGET: f64 = 0.7;

/// One worker fewer will do where the others would then be busy for this share of their time: far
/// enough below [`SCALE_BUSY`] that it is not started again.
pub const SCALE_CALM: f64 = 0.6;

/// Workers that are added at a time: their starts compete with those that serve for processors.
pub const SCALE_UP_MAX: u16 = 16;

/// How long a number of workers stays that an operator has chosen (TTIN, TTOU, `ctl scale`): longer
/// than looking at what it does, and shorter than forgetting it.
pub const SCALE_HOLD: Duration = Duration::from_secs(300);

/// How many times `--scale-down-after` a worker stays at the most, where taking one out has had to be
/// undone again and again.
pub const SCALE_PATIENCE_MAX: u32 = 8;

/// How often a node of a fleet looks at itself while it has anything to do. Envoy recomputes weights
/// no more often than every 100 ms (1 s by default), HAProxy asks every 2 s: a look costs a few
/// microseconds for each worker, and nobody could use more of them.
pub const FLEET_LOOK: Duration = Duration::from_millis(250);

/// How long the load of a node is averaged before its weight follows (`fleet::weight` has the
/// argument for this and the next four).
pub const FLEET_SMOOTHING: Duration = Duration::from_secs(20);

/// How much of the weight's logarithm one unit of load costs: from a load of 0.7 to one of 0.8 it is
/// 45 % less weight.
pub const FLEET_DROOP: f64 = 6.0;

/// Up to this load a node asks for its whole weight: nobody waits there, and every weight that moves
/// for nothing is noise.
pub const FLEET_LOAD_FREE: f64 = 0.6;

/// A load that counts no further: beyond it the weight is 1 % anyway, and an average that had to come
/// down from more would keep a node out for long after it has room again.
pub const FLEET_LOAD_MAX: f64 = 1.4;

/// How fast the weight's logarithm moves at the most: by a factor of 1.22 in a second.
pub const FLEET_SLEW_PER_SECOND: f64 = 0.2;

/// The weight that a node begins with: it joins gently, whether its caches are cold or it replaces
/// one that was overrun.
pub const FLEET_START_PERCENT: u8 = 25;

/// Of a longer time than this between two looks, no more is believed to have been as it is now.
pub const FLEET_STEP_MAX: Duration = Duration::from_secs(2);

/// What each second of waiting adds to the load of a node. Little, because a queue is as long as the
/// past has made it (`fleet::load`).
pub const FLEET_WAIT_WEIGHT: f64 = 0.2;

/// A wait that adds no more to the load: beyond it all nodes of an overrun fleet would say the same,
/// the least weight, and their shares would be told apart no more.
pub const FLEET_WAIT_COUNTED: Duration = Duration::from_secs(1);

/// How long what a node reports of itself is averaged. Envoy takes the last report that it has got
/// when it recomputes weights, every second by default, and averages nothing itself.
pub const FLEET_REPORT_SMOOTHING: Duration = Duration::from_secs(2);

/// A wait that counts no further: whoever waits that long has left.
pub const FLEET_WAIT_MAX: Duration = Duration::from_secs(60);

/// Connections of the agent check that are held open after their answer; the oldest makes room. A
/// balancer has one at a time, and a hundred balancers ask every two seconds.
pub const AGENT_CHECKS_HELD_MAX: usize = 64;

/// For how long: until what a balancer has sent beside its question has arrived.
pub const AGENT_CHECK_HELD_FOR: Duration = Duration::from_secs(1);

/// Bytes that are taken of a connection of the agent check before it is closed, unread.
pub const AGENT_CHECK_READ_MAX: usize = 4096;
