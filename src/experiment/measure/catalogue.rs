//! What can be measured: keys, titles, units, who wins, and how it is measured.
//!
//! Keys stay what they are: plans and predictions name them.
//!
//! Not here: computing it (`summary`).

use crate::experiment::report::schema::{Better, MeasureInfo};

use Better::{Higher, Lower, Neither};

type Row = (&'static str, &'static str, &'static str, Better, &'static str);

/// Key, title, unit, better, about.
const MEASURES: &[Row] = &[
    (
        "p50",
        "p50",
        "ms",
        Lower,
        "Latency that half of the requests did not exceed; it counts from \
        when a request was due. Intervals: from five repetitions on by drawing repetitions, of fewer \
        by drawing blocks of time.",
    ),
    ("p90", "p90", "ms", Lower, "Latency that 90 % did not exceed."),
    ("p99", "p99", "ms", Lower, "Latency that 99 % did not exceed."),
    ("p999", "p99.9", "ms", Lower, "Latency that 99.9 % did not exceed."),
    ("max", "max", "ms", Lower, "The longest latency."),
    ("mean", "mean", "ms", Lower, "The mean latency."),
    (
        "throughput",
        "answers",
        "1/s",
        Higher,
        "Good answers a second in the measured time, all \
        classes together. In an open loop no more than what is offered.",
    ),
    (
        "within_bound",
        "within bound",
        "%",
        Higher,
        "Requests with a good answer within the \
        workload's bound; those without one count as beyond it.",
    ),
    (
        "throughput_within_bound",
        "answers within bound",
        "1/s",
        Higher,
        "Good answers a second \
        within the workload's bound.",
    ),
    ("failed", "failed", "%", Lower, "Requests without a good answer."),
    (
        "wait_p50",
        "wait p50",
        "ms",
        Lower,
        "Latency less the service time that was asked for: \
        queues, the way there and back, and what the work took longer than it asked for.",
    ),
    ("wait_p90", "wait p90", "ms", Lower, "See wait p50."),
    ("wait_p99", "wait p99", "ms", Lower, "See wait p50."),
    ("wait_p999", "wait p99.9", "ms", Lower, "See wait p50."),
    ("wait_mean", "wait mean", "ms", Lower, "See wait p50."),
    (
        "service_p50",
        "service p50",
        "ms",
        Neither,
        "The service time that was asked for, the same \
        for all arms.",
    ),
    ("service_p99", "service p99", "ms", Neither, "See service p50."),
    (
        "jain_of_connections",
        "Jain, connections",
        "",
        Higher,
        "Jain's index over workers: 1 is \
        even, 1/k is all with one of k. A connection counts where its first answer came from.",
    ),
    (
        "cv_of_connections",
        "CV, connections",
        "",
        Lower,
        "Standard deviation over mean, over \
        workers.",
    ),
    (
        "max_over_mean_of_connections",
        "max/mean, connections",
        "",
        Lower,
        "What the fullest worker \
        has, over an even share.",
    ),
    ("jain_of_requests", "Jain, requests", "", Higher, "As for connections."),
    ("cv_of_requests", "CV, requests", "", Lower, "As for connections."),
    ("max_over_mean_of_requests", "max/mean, requests", "", Lower, "As for connections."),
    (
        "jain_of_busy",
        "Jain, busy time",
        "",
        Higher,
        "As for connections, of the service times that \
        were asked for.",
    ),
    ("cv_of_busy", "CV, busy time", "", Lower, "See Jain, busy time."),
    ("max_over_mean_of_busy", "max/mean, busy time", "", Lower, "See Jain, busy time."),
    (
        "idle_while_queued",
        "idle while queued",
        "%",
        Lower,
        "Share of the time in which a request \
        had been sent for more than 0.2 ms, and was not begun, while a worker had a free place: work \
        that was not conserved. Exact with sleep as service, or a core for each worker.",
    ),
    (
        "idle_while_queued_s",
        "wasted places",
        "s",
        Lower,
        "Free places while as many requests \
        queued, times seconds.",
    ),
    (
        "wrong_in_hindsight",
        "wrong in hindsight",
        "%",
        Lower,
        "Requests that waited for more than \
        0.2 ms although another worker had a free place throughout.",
    ),
    ("connections_per_s", "connections", "1/s", Neither, "Connections opened a second."),
    (
        "cpu_us_per_request",
        "CPU per request",
        "µs",
        Lower,
        "CPU time of master and workers \
        (schedstat), for each good answer.",
    ),
    ("master_cpu_us_per_request", "master CPU per request", "µs", Lower, "The master's part."),
    ("worker_cpu_us_per_request", "worker CPU per request", "µs", Lower, "The workers' part."),
    (
        "cpu_us_per_connection",
        "CPU per connection",
        "µs",
        Lower,
        "CPU time of master and workers, \
        requests included, for each connection that was opened; only where there is one for a \
        hundred requests at least.",
    ),
    (
        "master_cpu_us_per_connection",
        "master CPU per connection",
        "µs",
        Lower,
        "The master's part.",
    ),
    (
        "worker_cpu_us_per_connection",
        "worker CPU per connection",
        "µs",
        Lower,
        "The workers' part.",
    ),
    (
        "voluntary_switches_per_request",
        "sleeps per request",
        "",
        Lower,
        "Voluntary context \
        switches of master and workers.",
    ),
    (
        "involuntary_switches_per_request",
        "interruptions per request",
        "",
        Lower,
        "Involuntary \
        context switches of master and workers.",
    ),
    (
        "master_switches_per_request",
        "master sleeps per request",
        "",
        Lower,
        "Voluntary context \
        switches of the master.",
    ),
    ("master_utilisation", "master's core", "%", Lower, "Share of one core that the master used."),
    (
        "master_ceiling",
        "master's ceiling",
        "1/s",
        Higher,
        "Connections a second over the master's \
        share of a core: an extrapolation to a full core, from at least 1 %.",
    ),
    (
        "lag_p99",
        "lag p99",
        "ms",
        Neither,
        "How late the generator turned to requests; it is part \
        of their latency.",
    ),
    (
        "late",
        "late",
        "%",
        Neither,
        "Requests that the generator turned to later than a tenth of the \
        median latency, and than 0.1 ms. Above 1 % the run has measured the generator.",
    ),
    (
        "others_share",
        "others",
        "%",
        Neither,
        "CPU time of the machine that neither server nor \
        generator took.",
    ),
];

/// All measures, in the order of their columns.
pub fn catalogue() -> Vec<MeasureInfo> {
    let info = |&(key, title, unit, better, about): &Row| MeasureInfo {
        key: key.to_owned(),
        title: title.to_owned(),
        unit: unit.to_owned(),
        better,
        about: about.to_owned(),
    };
    MEASURES.iter().map(info).collect()
}
