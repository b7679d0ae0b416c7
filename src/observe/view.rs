//! One moment of a server, as its readers get it: the JSON of `maitred status --json` and of the
//! admin address, and what the dashboard and `maitred top` draw.
//!
//! ```text
//! status page, meters, /proc ──▶ View ──▶ JSON ──▶ dashboard, top, ctl, scripts
//! ```
//!
//! Names are only added within a version of the schema; one that goes or means something else makes
//! another version. A reader takes absent fields for unknown, and ignores those that it does not
//! know. docs/status.md says what each means.
//!
//! Not here: who fills it in (`status`, `admin`), the form for people (`status::text`).

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// The version of the schema.
pub const SCHEMA: u32 = 1;

/// How the names of the master's failures of accept(2) begin among [`View::events`].
pub const ACCEPT_ERROR: &str = "accept_error_";

/// One moment of a server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct View {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The server's program, "0.1.0".
    pub version: String,
    /// It answers new connections.
    pub serving: bool,
    /// Its master lives.
    pub running: bool,
    /// starting, serving, stopping or stopped.
    pub phase: String,
    /// Who accepts: master, or a kernel's arm.
    pub accept: String,
    /// The master's process.
    pub pid: u32,
    /// When the server began: RFC 3339, UTC.
    pub started_at: String,
    /// When the master last wrote something new.
    pub written_at: String,
    /// Rises with each page that the master writes.
    pub sequence: u64,
    /// Of the worker that was started last.
    pub generation: u32,
    /// How the last reload stands.
    pub reload: ReloadView,
    /// How connections are seated.
    pub policy: PolicyView,
    /// How many workers there are to be.
    pub scaling: ScalingView,
    /// What waits in the kernel; absent where nobody can say.
    pub kernel_queue: Option<KernelQueueView>,
    /// How the node stands in its fleet; absent where nobody is told.
    pub node: Option<NodeView>,
    /// Every connection.
    pub account: AccountView,
    /// What has happened, counted.
    pub events: Numbers,
    /// How many workers there are, where the list is cut.
    pub workers_in_all: u32,
    /// One a process.
    pub workers: Vec<WorkerView>,
    /// One a slot, whoever served it.
    pub slots: Vec<SlotView>,
    /// Upper bounds of the buckets of every histogram, in seconds; one more bucket has none.
    pub histogram_bounds: Vec<f64>,
    /// Jain's fairness index of the requests that each slot has answered: 1 is even, 1/n is one for
    /// all.
    pub jain: Option<f64>,
    /// The last things that people ask about, oldest first.
    pub happened: Vec<HappenedView>,
}

/// How a reload stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReloadView {
    /// none, running, done or failed.
    pub state: String,
    /// Slots that a new worker serves.
    pub replaced: u16,
    /// All of them.
    pub of: u16,
}

/// How connections are seated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyView {
    /// As in `--balance`.
    pub balance: String,
    /// As in `--rebalance`.
    pub rebalance: String,
    /// As in `--credit`; absent if each worker's own threads or speed decide.
    pub credit: Option<u32>,
    /// As in `--stall-after`, in seconds.
    pub stall_after: f64,
}

/// How many workers there are to be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScalingView {
    /// Now.
    pub workers_wanted: u16,
    /// As in `-w MIN..MAX`: equal where the number is fixed.
    pub workers_min: u16,
    /// The same.
    pub workers_max: u16,
}

/// What the node says of itself to the balancers of its fleet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeView {
    /// The weight that it asks for, in percent of what a balancer has configured.
    pub weight_percent: u8,
    /// The share of its places (handler threads, or loops) that are busy: 0 to 1.
    pub busy: f64,
    /// Its load: 1 is what it can just serve.
    pub load: f64,
    /// Requests answered in a second.
    pub requests_per_second: f64,
    /// Requests that ended badly, in a second.
    pub errors_per_second: f64,
    /// Seconds that what comes now will wait.
    pub queue_wait: f64,
}

/// What waits in the kernel, all listeners together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct KernelQueueView {
    /// Connections that nobody has accepted.
    pub length: u64,
    /// How many there may be.
    pub limit: u64,
    /// How many were dropped because it was full: of the whole network namespace, which is all that
    /// the kernel counts.
    pub overflows: u64,
}

/// Every connection that was accepted: `account` in docs/status.md.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AccountView {
    /// Taken from the kernel.
    pub accepted: u64,
    /// Those that are here: queued, parked, `on_loan`, lingering.
    pub here: Numbers,
    /// Ended in order by their worker.
    pub finished: u64,
    /// Ended between two requests, by reason.
    pub ended_idle: Numbers,
    /// Turned away with a 503, by reason.
    pub shed: Numbers,
    /// Cut off, by reason.
    pub aborted: Numbers,
    /// The difference, always 0.
    pub missing: i64,
}

/// One worker process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerView {
    /// Its place.
    pub slot: u16,
    /// Which process of this server it is.
    pub generation: u32,
    /// Its process.
    pub pid: u32,
    /// starting, serving or leaving.
    pub stage: String,
    /// Seconds since it was started.
    pub age: Option<f64>,
    /// Connections at it.
    pub on_loan: u32,
    /// Of those, how many it had not claimed when last looked at.
    pub waiting: u32,
    /// Requests that it has begun and not finished.
    pub active: u64,
    /// Of those, complete requests that wait for a handler thread.
    pub queued: u32,
    /// Handler threads; 0 for a loop.
    pub threads: u32,
    /// Of those, how many are taken.
    pub threads_busy: u32,
    /// Requests begun.
    pub requests_started: u64,
    /// Requests answered.
    pub requests_finished: u64,
    /// Requests that ended badly.
    pub errors: u64,
    /// Connections that it has accepted itself.
    pub own_accepted: u64,
    /// Of those, how many are open.
    pub own_open: u64,
    /// Processes started in its slot after the first.
    pub restarts: u64,
    /// It makes no progress, and others are preferred.
    pub stuck: bool,
    /// A signal has stopped it.
    pub stopped: bool,
    /// An operator has taken it out of service (`ctl drain`).
    pub drained: bool,
    /// How often it was found stuck.
    pub stalls: u64,
    /// Seconds spent in handlers, all threads together.
    pub busy_seconds: f64,
    /// Seconds of CPU time of the process.
    pub cpu_seconds: Option<f64>,
    /// Resident memory, in bytes.
    pub rss_bytes: Option<u64>,
}

/// One slot, whoever served it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SlotView {
    /// Its number.
    pub slot: usize,
    /// Connections whose first worker was here.
    pub seated: u64,
    /// Processes started.
    pub starts: u64,
    /// Responses by class: `1xx` to `5xx`.
    pub responses: Numbers,
    /// Bytes read from clients, and written to them.
    pub received_bytes: u64,
    /// The same.
    pub sent_bytes: u64,
    /// Requests refused before a handler, by why.
    pub refused: Numbers,
    /// Connections ended for the PROXY header that they were to begin with, by why.
    pub proxy_headers_refused: Numbers,
    /// Requests that ended badly.
    pub errors: u64,
    /// Seconds spent in handlers, all threads together.
    pub busy_seconds: f64,
    /// Requests that took as long as the slow log asks for.
    pub slow_requests: u64,
    /// Lines of the access log that its reader was too slow for.
    pub log_lines_dropped: u64,
    /// What accept(2) has failed with where the worker accepts itself: emfile, enfile, enomem,
    /// econnaborted, other. The master's failures are among `View::events`.
    pub accept_errors: Numbers,
    /// From when a connection could have been served to its first claim.
    pub queue_wait: HistogramView,
    /// From a request's claim to the end of its response.
    pub service: HistogramView,
    /// From the master's hand-off to the claim.
    pub handoff: HistogramView,
}

/// How often something took how long: `View::histogram_bounds` has the buckets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HistogramView {
    /// In each bucket, not summed up; empty where nothing is known.
    pub counts: Vec<u64>,
    /// Of all, in seconds.
    pub sum: f64,
}

/// Something that people ask about later.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HappenedView {
    /// Rises by one with each, so that a reader knows what it has missed.
    pub sequence: u64,
    /// RFC 3339, UTC.
    pub at: String,
    /// started, ready, ended, died, stuck, recovered, reload, scale, drain, undrain, policy, upgrade,
    /// stop.
    pub kind: String,
    /// Of the worker that it is about.
    pub slot: Option<u16>,
    /// Of the worker that it is about.
    pub generation: Option<u32>,
    /// Of the worker that it is about.
    pub pid: Option<u32>,
    /// One sentence.
    pub text: String,
}

impl View {
    /// What accept(2) has failed with, by name, in the master and in workers that accept themselves.
    pub fn accept_errors(&self) -> Numbers {
        let in_master = self.events.0.iter();
        let in_master = in_master.filter_map(|(name, count)| {
            Some((name.strip_prefix(ACCEPT_ERROR)?.to_owned(), *count))
        });
        let mut sums = Numbers(in_master.collect());
        for (name, count) in self.slots.iter().flat_map(|slot| &slot.accept_errors.0) {
            match sums.0.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum = sum.saturating_add(*count),
                None => sums.0.push((name.clone(), *count)),
            }
        }
        sums
    }
}

/// Numbers under names, in the order in which they stand here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers(pub Vec<(String, u64)>);

impl Numbers {
    /// The number under a name; none if there is no such name.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, number)| *number)
    }
}

impl<'a> FromIterator<(&'a str, u64)> for Numbers {
    fn from_iter<I: IntoIterator<Item = (&'a str, u64)>>(numbers: I) -> Self {
        Numbers(numbers.into_iter().map(|(name, number)| (name.to_owned(), number)).collect())
    }
}

impl Serialize for Numbers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, number)| (name, number)))
    }
}

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Numbers;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("numbers under names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Numbers, A::Error> {
                let mut numbers = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    numbers.push(pair);
                }
                Ok(Numbers(numbers))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_accept_are_added_up_wherever_they_were() {
        let slot = |count| SlotView {
            accept_errors: [("emfile", count), ("other", 0), ("new", 1)].into_iter().collect(),
            ..SlotView::default()
        };
        let view = View {
            events: [("lent", 9), ("accept_error_emfile", 2), ("accept_error_other", 5)]
                .into_iter()
                .collect(),
            slots: vec![slot(3), SlotView::default(), slot(u64::MAX)],
            ..View::default()
        };
        let sums = [("emfile", u64::MAX), ("other", 5), ("new", 2)];
        assert_eq!(view.accept_errors(), Numbers::from_iter(sums));
    }
}
