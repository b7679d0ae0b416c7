//! Every metric there is: its name, type, labels and meaning, and where a view has it.
//!
//! The rules of names (prometheus.io/docs/practices/naming): one prefix, base units at the end of
//! the name, counters in `_total`, which the writer adds. A worker is its slot: what one process
//! after the other adds up belongs there, so that no series ends with a process. What only a
//! process has (CPU time) is labelled with its generation as well, since its sum over a slot would
//! fall when one ends.
//!
//! Not here: the text (`metrics`), the page (`page`).

use std::collections::BTreeMap;

use crate::observe::view::{HistogramView, Numbers, SlotView, View, WorkerView};

/// A metric family.
pub(super) struct Family {
    /// Without the suffixes that unit and type bring.
    pub(super) name: &'static str,
    pub(super) unit: Option<Unit>,
    pub(super) kind: Kind,
    pub(super) labels: &'static [&'static str],
    /// One or more sentences.
    pub(super) help: &'static str,
    pub(super) read: fn(&View) -> Vec<Sample>,
}

/// What a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Info,
}

/// What its numbers are, where they are not just a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Bytes,
    Ratio,
}

/// One number, or one histogram, of a family.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    /// In the order of the family's.
    pub(super) labels: Vec<String>,
    pub(super) value: Value,
}

/// What a sample says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Count(u64),
    Number(f64),
    Histogram(HistogramView),
}

impl Family {
    /// As scrapers know it.
    pub(super) fn full_name(&self) -> String {
        let unit = self.unit.map_or(String::new(), |unit| format!("_{}", unit.word()));
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        format!("{}{unit}{suffix}", self.name)
    }
}

impl Unit {
    pub(super) fn word(self) -> &'static str {
        match self {
            Unit::Seconds => "seconds",
            Unit::Bytes => "bytes",
            Unit::Ratio => "ratio",
        }
    }
}

impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Info => "info",
        }
    }
}

const NONE: &[&str] = &[];
const WORKER: &[&str] = &["worker"];
const REASON: &[&str] = &["reason"];

/// All of them, in the order of the text and of the page.
pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "maitred_build",
        unit: None,
        kind: Kind::Info,
        labels: &["version", "accept"],
        help: "The server's program, and who accepts: master, or one of the kernel's ways.",
        read: |view| vec![sample([&view.version, &view.accept], Value::Count(1))],
    },
    Family {
        name: "maitred_start_time",
        unit: Some(Unit::Seconds),
        kind: Kind::Gauge,
        labels: NONE,
        help: "When the server began, in seconds since 1970; an upgrade in place is no beginning.",
        read: |view| unix_seconds(&view.started_at).map(number).into_iter().collect(),
    },
    Family {
        name: "maitred_serving",
        unit: None,
        kind: Kind::Gauge,
        labels: NONE,
        help: "1 while new connections are answered, 0 while the server starts or stops.",
        read: |view| vec![count(view.serving.into())],
    },
    Family {
        name: "maitred_node_busy",
        unit: Some(Unit::Ratio),
        kind: Kind::Gauge,
        labels: NONE,
        help: "The share of all handler threads, or loops, that are busy, averaged over seconds: \
               what to scale nodes by.",
        read: |view| view.node.iter().map(|node| number(node.busy)).collect(),
    },
    Family {
        name: "maitred_node_load",
        unit: Some(Unit::Ratio),
        kind: Kind::Gauge,
        labels: NONE,
        help: "What is offered by what can just be served: more than 1 where a queue grows.",
        read: |view| view.node.iter().map(|node| number(node.load)).collect(),
    },
    Family {
        name: "maitred_node_weight",
        unit: Some(Unit::Ratio),
        kind: Kind::Gauge,
        labels: NONE,
        help: "The weight that the node asks its balancer for, by what is configured there.",
        read: |view| {
            let weight = |percent: u8| number(f64::from(percent) / 100.0);
            view.node.iter().map(|node| weight(node.weight_percent)).collect()
        },
    },
    Family {
        name: "maitred_connections_accepted",
        unit: None,
        kind: Kind::Counter,
        labels: NONE,
        help: "Connections taken from the kernel, by the master or by the workers themselves.",
        read: |view| {
            let own = view.workers.iter().map(|worker| worker.own_accepted);
            vec![count(own.fold(view.account.accepted, u64::saturating_add))]
        },
    },
    Family {
        name: "maitred_connections_open",
        unit: None,
        kind: Kind::Gauge,
        labels: NONE,
        help: "Connections that are here, wherever they are.",
        read: |view| {
            let own = view.workers.iter().map(|worker| worker.own_open);
            let here = view.account.here.0.iter().map(|(_, here)| *here);
            vec![count(own.chain(here).fold(0, u64::saturating_add))]
        },
    },
    Family {
        name: "maitred_connections_queued",
        unit: None,
        kind: Kind::Gauge,
        labels: NONE,
        help: "Accepted connections that wait for a worker with room.",
        read: |view| here(view, "queued"),
    },
    Family {
        name: "maitred_connections_parked",
        unit: None,
        kind: Kind::Gauge,
        labels: NONE,
        help: "Idle connections that no worker holds.",
        read: |view| here(view, "parked"),
    },
    Family {
        name: "maitred_connections_lingering",
        unit: None,
        kind: Kind::Gauge,
        labels: NONE,
        help: "Connections that have had their last answer, until the client has read it.",
        read: |view| here(view, "lingering"),
    },
    Family {
        name: "maitred_connections_on_loan",
        unit: None,
        kind: Kind::Gauge,
        labels: &["worker", "state"],
        help: "Connections at a worker: waiting (not claimed yet), active (in a request), idle.",
        read: on_loan,
    },
    Family {
        name: "maitred_connections_own_open",
        unit: None,
        kind: Kind::Gauge,
        labels: WORKER,
        help: "Open connections that the worker has accepted itself (--accept).",
        read: |view| sum_of_workers(view, |worker| worker.own_open as f64),
    },
    Family {
        name: "maitred_connections_assigned",
        unit: None,
        kind: Kind::Counter,
        labels: WORKER,
        help: "Connections whose first worker was this one.",
        read: |view| of_slots(view, |slot| Value::Count(slot.seated)),
    },
    Family {
        name: "maitred_connections_lent",
        unit: None,
        kind: Kind::Counter,
        labels: NONE,
        help: "Hand-offs: first seatings, and those of connections that came back.",
        read: |view| event(view, "lent"),
    },
    Family {
        name: "maitred_connections_recalled",
        unit: None,
        kind: Kind::Counter,
        labels: REASON,
        help: "Connections taken back from a worker: unclaimed (it had not claimed them, and others \
               had room), rescued (idle at a stuck worker, and their clients had spoken).",
        read: |view| events(view, &[("unclaimed", "recalled"), ("rescued", "rescued")]),
    },
    Family {
        name: "maitred_connections_seated_again",
        unit: None,
        kind: Kind::Counter,
        labels: REASON,
        help: "Connections that came back to be seated again, or parked: refused (the worker had no \
               descriptor), given (the worker gave them back), worker_died.",
        read: |view| {
            let names = [("refused", "refused"), ("given", "given"), ("worker_died", "outlived")];
            events(view, &names)
        },
    },
    Family {
        name: "maitred_connections_finished",
        unit: None,
        kind: Kind::Counter,
        labels: NONE,
        help: "Connections ended in order by their worker.",
        read: |view| vec![count(view.account.finished)],
    },
    Family {
        name: "maitred_connections_ended_idle",
        unit: None,
        kind: Kind::Counter,
        labels: REASON,
        help: "Connections that ended between two requests, while the master kept them.",
        read: |view| labelled(&view.account.ended_idle),
    },
    Family {
        name: "maitred_connections_shed",
        unit: None,
        kind: Kind::Counter,
        labels: REASON,
        help: "Connections turned away with a 503: too_old (--queue-timeout), too_many \
               (--max-queue).",
        read: |view| labelled(&view.account.shed),
    },
    Family {
        name: "maitred_connections_aborted",
        unit: None,
        kind: Kind::Counter,
        labels: REASON,
        help: "Connections cut off, by why: docs/status.md has the reasons.",
        read: |view| labelled(&view.account.aborted),
    },
    Family {
        name: "maitred_accept_errors",
        unit: None,
        kind: Kind::Counter,
        labels: &["errno"],
        help: "Failures of accept(2), in the master or in workers that accept themselves \
               (--accept). EMFILE: raise the limit on open files.",
        read: |view| {
            let label = |name: &str| match name {
                "other" => name.to_owned(),
                errno => errno.to_uppercase(),
            };
            let errors = view.accept_errors().0;
            errors.iter().map(|(name, count)| of(label(name), Value::Count(*count))).collect()
        },
    },
    Family {
        name: "maitred_kernel_queue_length",
        unit: None,
        kind: Kind::Gauge,
        labels: NONE,
        help: "Connections that wait in the kernel to be accepted, all listeners together. Absent \
               where nobody can say.",
        read: |view| view.kernel_queue.iter().map(|queue| count(queue.length)).collect(),
    },
    Family {
        name: "maitred_kernel_queue_limit",
        unit: None,
        kind: Kind::Gauge,
        labels: NONE,
        help: "How many may wait there (--backlog, and net.core.somaxconn).",
        read: |view| view.kernel_queue.iter().map(|queue| count(queue.limit)).collect(),
    },
    Family {
        name: "maitred_kernel_queue_overflows",
        unit: None,
        kind: Kind::Counter,
        labels: NONE,
        help: "Connections dropped because a queue was full: of the whole network namespace, which \
               is all that the kernel counts.",
        read: |view| view.kernel_queue.iter().map(|queue| count(queue.overflows)).collect(),
    },
    Family {
        name: "maitred_responses",
        unit: None,
        kind: Kind::Counter,
        labels: &["worker", "class"],
        help: "Responses that have left whole, by class of their status (1xx to 5xx). One that was \
               cut off is in errors.",
        read: |view| of_slots_by(view, |slot| &slot.responses),
    },
    Family {
        name: "maitred_requests_refused",
        unit: None,
        kind: Kind::Counter,
        labels: &["worker", "reason"],
        help: "Requests answered before an application saw them; ASGI workers count them by class of \
               the response alone.",
        read: |view| of_slots_by(view, |slot| &slot.refused),
    },
    Family {
        name: "maitred_proxy_headers_refused",
        unit: None,
        kind: Kind::Counter,
        labels: &["worker", "reason"],
        help: "Connections closed for the PROXY header that they were to begin with: untrusted_peer \
               (not in --proxy-protocol-from), absent (a client that speaks directly, or a balancer \
               that is not set up for it), malformed, unsupported (an unknown version, command or \
               family), wrong_checksum.",
        read: |view| of_slots_by(view, |slot| &slot.proxy_headers_refused),
    },
    Family {
        name: "maitred_request_errors",
        unit: None,
        kind: Kind::Counter,
        labels: WORKER,
        help: "Requests that ended badly: malformed, refused, panicked, cut off.",
        read: |view| of_slots(view, |slot| Value::Count(slot.errors)),
    },
    Family {
        name: "maitred_slow_requests",
        unit: None,
        kind: Kind::Counter,
        labels: WORKER,
        help: "Requests that took as long as --slow-log asks for.",
        read: |view| of_slots(view, |slot| Value::Count(slot.slow_requests)),
    },
    Family {
        name: "maitred_received",
        unit: Some(Unit::Bytes),
        kind: Kind::Counter,
        labels: WORKER,
        help: "Bytes read from clients, heads included.",
        read: |view| of_slots(view, |slot| Value::Count(slot.received_bytes)),
    },
    Family {
        name: "maitred_sent",
        unit: Some(Unit::Bytes),
        kind: Kind::Counter,
        labels: WORKER,
        help: "Bytes written to clients, heads included.",
        read: |view| of_slots(view, |slot| Value::Count(slot.sent_bytes)),
    },
    Family {
        name: "maitred_queue_wait",
        unit: Some(Unit::Seconds),
        kind: Kind::Histogram,
        labels: WORKER,
        help: "From when a connection could have been served to its first claim: its time in the \
               kernel's queue, which the kernel counts in its ticks, and in the server.",
        read: |view| of_slots_known(view, |slot| &slot.queue_wait),
    },
    Family {
        name: "maitred_service",
        unit: Some(Unit::Seconds),
        kind: Kind::Histogram,
        labels: WORKER,
        help: "From the claim of a request to the end of its response, the client's own slowness \
               included.",
        read: |view| of_slots_known(view, |slot| &slot.service),
    },
    Family {
        name: "maitred_handoff",
        unit: Some(Unit::Seconds),
        kind: Kind::Histogram,
        labels: WORKER,
        help: "From the master's hand-off of a connection to the worker's claim.",
        read: |view| of_slots_known(view, |slot| &slot.handoff),
    },
    Family {
        name: "maitred_requests_in_flight",
        unit: None,
        kind: Kind::Gauge,
        labels: WORKER,
        help: "Requests that the worker has begun and not finished.",
        read: |view| sum_of_workers(view, |worker| worker.active as f64),
    },
    Family {
        name: "maitred_requests_queued",
        unit: None,
        kind: Kind::Gauge,
        labels: WORKER,
        help: "Of those, complete requests that wait for a handler thread.",
        read: |view| sum_of_workers(view, |worker| worker.queued.into()),
    },
    Family {
        name: "maitred_fairness",
        unit: Some(Unit::Ratio),
        kind: Kind::Gauge,
        labels: NONE,
        help: "Jain's index of what the workers have answered since the server began: 1 is even, 1/n \
               is one for all.",
        read: |view| view.jain.map(number).into_iter().collect(),
    },
    Family {
        name: "maitred_workers",
        unit: None,
        kind: Kind::Gauge,
        labels: &["stage"],
        help: "Worker processes: starting, serving, leaving.",
        read: |view| {
            let of = |stage| view.workers.iter().filter(|worker| worker.stage == stage).count();
            let stages = ["starting", "serving", "leaving"];
            stages.map(|stage| sample([stage], Value::Count(of(stage) as u64))).into()
        },
    },
    Family {
        name: "maitred_workers_wanted",
        unit: None,
        kind: Kind::Gauge,
        labels: NONE,
        help: "How many workers there are to be.",
        read: |view| vec![count(view.scaling.workers_wanted.into())],
    },
    Family {
        name: "maitred_workers_min",
        unit: None,
        kind: Kind::Gauge,
        labels: NONE,
        help: "How many there are to be at the least.",
        read: |view| vec![count(view.scaling.workers_min.into())],
    },
    Family {
        name: "maitred_workers_max",
        unit: None,
        kind: Kind::Gauge,
        labels: NONE,
        help: "How many there are to be at the most.",
        read: |view| vec![count(view.scaling.workers_max.into())],
    },
    Family {
        name: "maitred_worker_starts",
        unit: None,
        kind: Kind::Counter,
        labels: WORKER,
        help: "Processes started in this worker's place.",
        read: |view| of_slots(view, |slot| Value::Count(slot.starts)),
    },
    Family {
        name: "maitred_worker_restarts",
        unit: None,
        kind: Kind::Counter,
        labels: &["cause"],
        help: "Processes that ended and were followed by another, by why: exited, killed (by a \
               signal that was not the master's), start_failed, boot_timeout, hung, misbehaved, \
               graceful_timeout, reloaded, recycled.",
        read: |view| with_prefix(&view.events, "restart_"),
    },
    Family {
        name: "maitred_worker_protocol_breaches",
        unit: None,
        kind: Kind::Counter,
        labels: &["breach"],
        help: "Workers killed because they broke the hand-off protocol, by how they did.",
        read: |view| with_prefix(&view.events, "breach_"),
    },
    Family {
        name: "maitred_worker_stuck",
        unit: None,
        kind: Kind::Gauge,
        labels: WORKER,
        help: "1 while the worker makes no progress and others are preferred.",
        read: |view| any_of_workers(view, |worker| worker.stuck),
    },
    Family {
        name: "maitred_worker_stalls",
        unit: None,
        kind: Kind::Counter,
        labels: &["worker", "generation"],
        help: "How often this process was found stuck: in one turn of its loop, or without a free \
               thread, for longer than --stall-after while others could have helped.",
        read: |view| of_processes(view, |worker| Some(Value::Count(worker.stalls))),
    },
    Family {
        name: "maitred_worker_stopped",
        unit: None,
        kind: Kind::Gauge,
        labels: WORKER,
        help: "1 while a signal has stopped the worker.",
        read: |view| any_of_workers(view, |worker| worker.stopped),
    },
    Family {
        name: "maitred_worker_drained",
        unit: None,
        kind: Kind::Gauge,
        labels: WORKER,
        help: "1 while an operator has taken the worker out of service.",
        read: |view| any_of_workers(view, |worker| worker.drained),
    },
    Family {
        name: "maitred_worker_busy",
        unit: Some(Unit::Seconds),
        kind: Kind::Counter,
        labels: WORKER,
        help: "Time spent in handlers, all threads together.",
        read: |view| of_slots(view, |slot| Value::Number(slot.busy_seconds)),
    },
    Family {
        name: "maitred_worker_threads",
        unit: None,
        kind: Kind::Gauge,
        labels: WORKER,
        help: "Handlers that can run at a time: threads, or 1 for a loop. Of the process that \
               serves.",
        read: |view| {
            let serves = |worker: &&WorkerView| worker.stage == "serving";
            let workers = view.workers.iter().filter(serves);
            workers.map(|one| of(one.slot, Value::Count(one.threads.max(1).into()))).collect()
        },
    },
    Family {
        name: "maitred_worker_threads_busy",
        unit: None,
        kind: Kind::Gauge,
        labels: WORKER,
        help: "Handler threads that are taken.",
        read: |view| sum_of_workers(view, |worker| worker.threads_busy.into()),
    },
    Family {
        name: "maitred_worker_cpu",
        unit: Some(Unit::Seconds),
        kind: Kind::Counter,
        labels: &["worker", "generation"],
        help: "CPU time of this process.",
        read: |view| of_processes(view, |worker| worker.cpu_seconds.map(Value::Number)),
    },
    Family {
        name: "maitred_worker_resident_memory",
        unit: Some(Unit::Bytes),
        kind: Kind::Gauge,
        labels: WORKER,
        help: "Resident memory, of all processes in this worker's place.",
        read: |view| {
            let known = view.workers.iter().all(|worker| worker.rss_bytes.is_some());
            let rss = |worker: &WorkerView| worker.rss_bytes.unwrap_or(0) as f64;
            if known { sum_of_workers(view, rss) } else { Vec::new() }
        },
    },
    Family {
        name: "maitred_access_log_lines_dropped",
        unit: None,
        kind: Kind::Counter,
        labels: WORKER,
        help: "Lines of the access log that were not written, because its reader was too slow.",
        read: |view| of_slots(view, |slot| Value::Count(slot.log_lines_dropped)),
    },
    Family {
        name: "maitred_reloads",
        unit: None,
        kind: Kind::Counter,
        labels: NONE,
        help: "Reloads asked for, upgrades included.",
        read: |view| event(view, "reloads"),
    },
    Family {
        name: "maitred_reloads_failed",
        unit: None,
        kind: Kind::Counter,
        labels: NONE,
        help: "Reloads given up: the old workers went on.",
        read: |view| event(view, "reloads_failed"),
    },
    Family {
        name: "maitred_upgrades",
        unit: None,
        kind: Kind::Counter,
        labels: NONE,
        help: "Upgrades in place that this server has behind it.",
        read: |view| event(view, "upgrades"),
    },
    Family {
        name: "maitred_helper_starts",
        unit: None,
        kind: Kind::Counter,
        labels: NONE,
        help: "Processes started to serve the admin address; one, and one more for each upgrade or \
               other address, as long as none dies.",
        read: |view| event(view, "helper_starts"),
    },
];

fn sample<const N: usize>(labels: [&str; N], value: Value) -> Sample {
    Sample { labels: labels.map(str::to_owned).into(), value }
}

fn count(count: u64) -> Sample {
    sample([], Value::Count(count))
}

fn number(number: f64) -> Sample {
    sample([], Value::Number(number))
}

fn of(label: impl ToString, value: Value) -> Sample {
    Sample { labels: vec![label.to_string()], value }
}

fn here(view: &View, place: &str) -> Vec<Sample> {
    view.account.here.get(place).map(count).into_iter().collect()
}

fn event(view: &View, name: &str) -> Vec<Sample> {
    view.events.get(name).map(count).into_iter().collect()
}

/// Events under the label of each.
fn events(view: &View, names: &[(&str, &str)]) -> Vec<Sample> {
    let known = names.iter().filter_map(|(label, name)| Some((label, view.events.get(name)?)));
    known.map(|(label, number)| sample([label], Value::Count(number))).collect()
}

/// Events whose names begin so, by the rest of it.
fn with_prefix(numbers: &Numbers, prefix: &str) -> Vec<Sample> {
    let named =
        numbers.0.iter().filter_map(|(name, number)| Some((name.strip_prefix(prefix)?, number)));
    named.map(|(name, number)| of(name, Value::Count(*number))).collect()
}

fn labelled(numbers: &Numbers) -> Vec<Sample> {
    numbers.0.iter().map(|(name, number)| sample([name], Value::Count(*number))).collect()
}

fn of_slots(view: &View, value: impl Fn(&SlotView) -> Value) -> Vec<Sample> {
    view.slots.iter().map(|slot| of(slot.slot, value(slot))).collect()
}

fn of_slots_known(view: &View, histogram: impl Fn(&SlotView) -> &HistogramView) -> Vec<Sample> {
    let slots = view.slots.iter().map(|slot| (slot.slot, histogram(slot)));
    // One whose buckets are not those of the view would be drawn as something else.
    let known = slots.filter(|(_, one)| one.counts.len() == view.histogram_bounds.len() + 1);
    known.map(|(slot, one)| of(slot, Value::Histogram(one.clone()))).collect()
}

fn of_slots_by(view: &View, numbers: impl Fn(&SlotView) -> &Numbers) -> Vec<Sample> {
    let mut samples = Vec::new();
    for slot in &view.slots {
        for (name, number) in &numbers(slot).0 {
            samples.push(sample([&slot.slot.to_string(), name], Value::Count(*number)));
        }
    }
    samples
}

/// While one process replaces another, both count.
fn sum_of_workers(view: &View, value: impl Fn(&WorkerView) -> f64) -> Vec<Sample> {
    let mut sums: BTreeMap<u16, f64> = BTreeMap::new();
    for worker in &view.workers {
        *sums.entry(worker.slot).or_default() += value(worker);
    }
    sums.into_iter().map(|(slot, sum)| of(slot, Value::Number(sum))).collect()
}

fn any_of_workers(view: &View, is: impl Fn(&WorkerView) -> bool) -> Vec<Sample> {
    let mut any: BTreeMap<u16, bool> = BTreeMap::new();
    for worker in &view.workers {
        *any.entry(worker.slot).or_default() |= is(worker);
    }
    any.into_iter().map(|(slot, any)| of(slot, Value::Count(any.into()))).collect()
}

fn of_processes(view: &View, value: impl Fn(&WorkerView) -> Option<Value>) -> Vec<Sample> {
    let of = |worker: &WorkerView| {
        let labels = vec![worker.slot.to_string(), worker.generation.to_string()];
        Some(Sample { labels, value: value(worker)? })
    };
    view.workers.iter().filter_map(of).collect()
}

fn on_loan(view: &View) -> Vec<Sample> {
    let waiting = sum_of_workers(view, |worker| worker.waiting.min(worker.on_loan).into());
    let claimed = |worker: &WorkerView| u64::from(worker.on_loan.saturating_sub(worker.waiting));
    let active = sum_of_workers(view, |one| one.active.min(claimed(one)) as f64);
    let idle = sum_of_workers(view, |one| claimed(one).saturating_sub(one.active) as f64);
    let mut samples = Vec::new();
    for (state, of_state) in [("waiting", waiting), ("active", active), ("idle", idle)] {
        samples.extend(of_state.into_iter().map(|mut sample| {
            sample.labels.push(state.to_owned());
            sample
        }));
    }
    samples
}

/// The seconds since 1970 of what a view says as `2026-11-24T08:52:10.5Z`; none of anything else.
fn unix_seconds(moment: &str) -> Option<f64> {
    let (date, time) = moment.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.splitn(3, ':').map(|part| part.parse::<f64>().ok());
    let (hours, minutes, seconds) = (time.next()??, time.next()??, time.next()??);
    let fits =
        (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !fits {
        return None;
    }
    // Days of the Gregorian calendar, its years taken to begin in March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    Some(days as f64 * 86_400.0 + hours * 3_600.0 + minutes * 60.0 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_number_of_seconds() {
        assert_eq!(unix_seconds("1970-01-01T00:00:00Z"), Some(0.0));
        assert_eq!(unix_seconds("2000-02-29T23:59:59Z"), Some(951_868_799.0));
        assert_eq!(unix_seconds("2026-11-24T08:52:10.500Z"), Some(1_795_510_330.5));
        for other in ["", "Z", "T", "1969-12-31T23:59:59Z", "2026-13-01T00:00:00Z", "now"] {
            assert_eq!(unix_seconds(other), None, "{other}");
        }
    }
}
