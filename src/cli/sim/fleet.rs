//! `maitred sim cluster`: a balancer in front of many servers.
//!
//! Not here: the simulation (`crate::sim::cluster`).

use std::time::Duration;

use crate::cli::faults::Reader;
use crate::cli::raw::RawSim;
use crate::cli::sim::{bar, theory};
use crate::cli::values;
use crate::sim::cluster::{Balancer, Cluster, ClusterReport};

/// A node has a number of 16 bits on the agenda; more than this is a typing error.
const NODES_MAX: u64 = 10_000;

const NODES: u64 = 10;

/// How often nodes report: HAProxy's agent checks every 2 s by default, Envoy's weights are
/// computed anew every second.
const EVERY: Duration = Duration::from_secs(1);
const EVERY_LEAST: Duration = Duration::from_millis(1);
const EVERY_MOST: Duration = Duration::from_secs(600);

pub(super) fn asked(raw: &RawSim, seed: u64, reader: &mut Reader<'_>) -> Cluster {
    let one = theory::asked(raw, seed, reader);
    let nodes = reader.value_or("--nodes", raw.nodes.as_deref(), NODES, |text| {
        values::whole(text, 1..=NODES_MAX)
    });
    let default = Balancer::LeastConnections;
    let balancer = reader.value_or("--balancer", raw.balancer.as_deref(), default, |text| {
        values::one_of(text, &Balancer::ALL)
    });
    let every = reader.value_or("--every", raw.every.as_deref(), EVERY, |text| {
        values::duration(text, EVERY_LEAST..=EVERY_MOST)
    });
    let slow_nodes = reader.value_or("--slow-nodes", raw.slow_nodes.as_deref(), 0, |text| {
        values::whole(text, 0..=NODES_MAX)
    });
    let slow_speed = reader.value_or("--slow-speed", raw.slow_speed.as_deref(), 1.0, |text| {
        let speed = text.parse::<f64>().ok().filter(|speed| (0.01..=100.0).contains(speed));
        speed.ok_or_else(|| "must be a number from 0.01 to 100".to_owned())
    });
    let cluster = Cluster::new(nodes as u16, one.workers, one.rho);
    let requests = if raw.requests.is_some() { one.requests } else { cluster.requests };
    let slow_nodes = slow_nodes.min(nodes) as u16;
    let law = one.law;
    Cluster { law, balancer, every, slow_nodes, slow_speed, requests, seed, ..cluster }
}

pub(super) fn run(asked: &Cluster, json: bool) -> String {
    let bar = bar(asked.repetitions);
    let report = asked.run(|| bar.inc(1));
    bar.finish_and_clear();
    if json {
        // A struct of numbers and names always has a JSON form.
        return serde_json::to_string_pretty(&report).unwrap_or_default() + "\n";
    }
    text(&report)
}

fn text(report: &ClusterReport) -> String {
    let ClusterReport { nodes, workers, rho, balancer, requests, repetitions, seed, .. } = report;
    let ClusterReport { p50, p99, p999, mean, max_over_mean, .. } = report;
    let weights = match report.weight_deviation {
        Some(share) => format!("standard deviation of a node's weight over time {share:.3}\n"),
        None => String::new(),
    };
    format!(
        "{nodes} nodes of {workers} workers, load {rho}, {balancer}: response time in mean service \
         times\n{requests} requests in {repetitions} runs, seed {seed}\n\n\
         p50    {p50:9.4}\np99    {p99:9.4}\np99.9  {p999:9.4}\nmean   {mean:9.4}\n\
         requests of the busiest node over an even share {max_over_mean:.3}\n{weights}"
    )
}
