//! Open-loop load: requests are due at a fixed rate, whether the earlier ones are answered or not,
//! and latency counts from when a request was due. A closed loop would slow down with a stalled
//! server and so hide the stall ("coordinated omission").
//!
//! Not here: figures to publish (`benches`); this tells what failed, and how slow the slowest was.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::client::{Client, Failure};

/// Requests in flight at the most with [`Mode::NewConnection`]. Past this the due ones wait here,
/// and their wait counts.
const IN_FLIGHT_MAX: usize = 64;

/// What one request of the load may take before it counts as lost.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// How requests are spread over connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A connection each.
    NewConnection,
    /// A connection each; the client speaks only so long after it has connected.
    NewConnectionPausing(Duration),
    /// So many connections, each used again for as long as the server keeps it.
    KeepAlive(usize),
}

/// What became of the requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// Answered with 200.
    pub(crate) ok: u64,
    /// Nobody listened.
    pub(crate) refused: u64,
    /// The connection ended before the first byte of an answer.
    pub(crate) reset_before_bytes: u64,
    /// The connection ended within an answer.
    pub(crate) reset_after_bytes: u64,
    /// No answer in time.
    pub(crate) timed_out: u64,
    /// Another status, or no HTTP.
    pub(crate) wrong: u64,
    /// The first few failures, to be read by people.
    pub(crate) stories: Vec<String>,
    /// Of those that were answered, from due to answered, sorted.
    pub(crate) latencies: Vec<Duration>,
}

/// Load that runs until it is stopped.
pub(crate) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Ledger>>,
}

struct Shared {
    address: SocketAddr,
    path: String,
    mode: Mode,
    interval: Duration,
    start: Instant,
    next: AtomicU64,
    answered: AtomicU64,
    is_over: AtomicBool,
}

impl Load {
    /// Starts `rate` requests a second for `path`.
    pub(crate) fn start(address: SocketAddr, rate: u32, path: &str, mode: Mode) -> Load {
        let shared = Arc::new(Shared {
            address,
            path: path.to_owned(),
            mode,
            interval: Duration::from_secs(1) / rate,
            start: Instant::now(),
            next: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        });
        let threads_count = match mode {
            Mode::NewConnection | Mode::NewConnectionPausing(_) => IN_FLIGHT_MAX,
            Mode::KeepAlive(connections) => connections,
        };
        let spawn = |_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.work())
        };
        let threads = (0..threads_count).map(spawn).collect();
        Load { shared, threads }
    }

    /// How many requests have been answered so far: to wait until the load flows.
    pub(crate) fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Lets what is in flight finish, and adds up.
    pub(crate) fn stop(mut self) -> Ledger {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let mut sum = Ledger::default();
        for thread in self.threads.drain(..) {
            sum.add(thread.join().expect("a load thread does not panic"));
        }
        sum.latencies.sort_unstable();
        sum
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
    }
}

impl Ledger {
    /// How many requests were not answered with 200.
    pub(crate) fn failed(&self) -> u64 {
        self.refused
            + self.reset_before_bytes
            + self.reset_after_bytes
            + self.timed_out
            + self.wrong
    }

    /// The longest time to an answer.
    pub(crate) fn slowest(&self) -> Duration {
        self.latencies.last().copied().unwrap_or_default()
    }

    /// How many answers took longer than this.
    pub(crate) fn slower_than(&self, bound: Duration) -> usize {
        self.latencies.iter().filter(|&&latency| latency > bound).count()
    }

    fn note(&mut self, failure: &Failure) {
        const STORIES_MAX: usize = 5;
        match failure {
            Failure::Refused => self.refused += 1,
            Failure::BeforeBytes(_) => self.reset_before_bytes += 1,
            Failure::AfterBytes(_) => self.reset_after_bytes += 1,
            Failure::TimedOut => self.timed_out += 1,
            Failure::Wrong(_) => self.wrong += 1,
        }
        if self.stories.len() < STORIES_MAX {
            self.stories.push(format!("{failure:?}"));
        }
    }

    fn add(&mut self, other: Ledger) {
        self.ok += other.ok;
        self.refused += other.refused;
        self.reset_before_bytes += other.reset_before_bytes;
        self.reset_after_bytes += other.reset_after_bytes;
        self.timed_out += other.timed_out;
        self.wrong += other.wrong;
        self.stories.extend(other.stories);
        self.latencies.extend(other.latencies);
    }
}

impl Shared {
    /// One thread: takes the next request that is due, waits for its time, sends it.
    fn work(&self) -> Ledger {
        let mut ledger = Ledger::default();
        let mut kept = None;
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let due = self.start + self.interval * u32::try_from(number).unwrap_or(u32::MAX);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if self.is_over.load(Ordering::Relaxed) {
                return ledger;
            }
            match self.ask(&mut kept) {
                Ok(()) => {
                    ledger.ok += 1;
                    ledger.latencies.push(due.elapsed());
                    self.answered.fetch_add(1, Ordering::Relaxed);
                }
                Err(failure) => {
                    kept = None;
                    ledger.note(&failure);
                }
            }
        }
    }

    fn ask(&self, kept: &mut Option<Client>) -> Result<(), Failure> {
        let mut client = match kept.take() {
            Some(client) => client,
            None => Client::try_connect(self.address, ANSWER_DEADLINE)?,
        };
        let fields = match self.mode {
            Mode::NewConnection => "Connection: close\r\n",
            Mode::NewConnectionPausing(pause) => {
                thread::sleep(pause);
                "Connection: close\r\n"
            }
            Mode::KeepAlive(_) => "",
        };
        let answer = client.try_get(&self.path, fields)?;
        if answer.status != 200 {
            return Err(Failure::Wrong(format!("{} {}", answer.status, answer.text())));
        }
        let is_closing =
            answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if matches!(self.mode, Mode::KeepAlive(_)) && !is_closing {
            *kept = Some(client);
        }
        Ok(())
    }
}
