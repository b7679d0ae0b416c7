//! A fleet: a balancer in front of nodes, each of which is a maitred with workers of its own.
//!
//! ```text
//! Poisson arrivals ─► balancer ─► node 0: master ─► workers
//!                        ▲    └─► node 1 …            │
//!                        └── what nodes say, every so often
//! ```
//!
//! | balancer | chooses | goes by |
//! |---|---|---|
//! | round-robin | in turn | nothing |
//! | least-connections | fewest requests of its own under way, ties in turn | its own count |
//! | agent-check | in turn, by weight (smooth weighted round-robin) | the share of free places that each node's agent says every T (HAProxy: `agent-check`, `agent-inter`) |
//! | orca | in turn, by weight | requests a second over utilisation, as each node said in its last load report (Envoy: client-side weighted round-robin; gRFC A58) |
//!
//! Requests come each on a connection of its own. One node may be slower than the others, and one
//! balancer sees all requests: several that know nothing of each other are not modelled.
//!
//! Not here: what a node does (`server`).

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::config::{Balance, Rebalance};
use crate::sim::agenda::Agenda;
use crate::sim::flow::{self, BEGIN};
use crate::sim::mmk::{Estimate, Law, MEAN};
use crate::sim::seeds::{Purpose, seed};
use crate::sim::server::{AnswerKind, Ask, Happening, Server, Setup};
use crate::sim::{costs::Costs, crew};
use crate::time::Nanos;

/// How a node is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balancer {
    /// In turn.
    RoundRobin,
    /// Fewest requests under way.
    LeastConnections,
    /// By the free places that agents have said.
    AgentCheck,
    /// By load reports.
    Orca,
}

impl Balancer {
    /// All, as they are typed.
    pub const ALL: [(&'static str, Balancer); 4] = [
        ("round-robin", Balancer::RoundRobin),
        ("least-connections", Balancer::LeastConnections),
        ("agent-check", Balancer::AgentCheck),
        ("orca", Balancer::Orca),
    ];

    /// As it is typed.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|one| one.1 == self).map_or("", |one| one.0)
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Nodes.
    pub nodes: u16,
    /// Worker processes of each, of one thread.
    pub workers: u16,
    /// The load on each worker, above 0 and below 1.
    pub rho: f64,
    /// Of service times.
    pub law: Law,
    /// How a node is chosen.
    pub balancer: Balancer,
    /// How old what nodes say of themselves becomes.
    pub every: Duration,
    /// How fast the first node is; all others have 1.
    pub first_speed: f64,
    /// Requests that are counted, all repetitions together.
    pub requests: u64,
    /// Independent runs of the whole fleet.
    pub repetitions: usize,
    /// Decides everything.
    pub seed: u64,
}

/// The result, times in mean service times.
#[derive(Clone, Debug, Serialize)]
pub struct ClusterReport {
    /// `cluster`.
    pub preset: &'static str,
    /// As asked.
    pub nodes: u16,
    /// As asked.
    pub workers: u16,
    /// As asked.
    pub rho: f64,
    /// As asked.
    pub law: &'static str,
    /// As asked.
    pub balancer: &'static str,
    /// As asked.
    pub every_s: f64,
    /// As asked.
    pub seed: u64,
    /// That were counted.
    pub requests: u64,
    /// Independent runs.
    pub repetitions: usize,
    /// Half of the responses did not exceed this.
    pub p50: f64,
    /// 99 % did not exceed this.
    pub p99: f64,
    /// 99.9 % did not exceed this.
    pub p999: f64,
    /// The mean response.
    pub mean: f64,
    /// Its 99 % interval.
    pub mean_interval: Estimate,
    /// What the busiest node got, over an even share.
    pub max_over_mean: f64,
    /// Events that happened.
    pub events: u64,
}

struct Found {
    responses: Histogram<u64>,
    sum_ns: u128,
    by_node: Vec<u64>,
    events: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Pending {
    due: Nanos,
    counts: bool,
}

struct Node {
    server: Server,
    /// By connection.
    pending: Vec<Pending>,
    open: u64,
    chosen: u64,
    weight: f64,
    earned: f64,
    /// Answers at the last report.
    answered: u64,
    /// Time that its workers had been busy by the last report.
    busy_before: f64,
}

const ARRIVAL: u32 = 0;
const REPORT: u32 = 1;

impl Cluster {
    /// With the defaults of the command line.
    pub fn new(nodes: u16, workers: u16, rho: f64) -> Cluster {
        Cluster {
            nodes,
            workers,
            rho,
            law: Law::Exponential,
            balancer: Balancer::LeastConnections,
            every: Duration::from_secs(1),
            first_speed: 1.0,
            requests: 4_000_000,
            repetitions: 4,
            seed: 1,
        }
    }

    /// All repetitions, on all cores.
    pub fn run(&self, is_done: impl Fn() + Sync) -> ClusterReport {
        let all = crew::run_all(self.repetitions, |number| self.one(number as u64), is_done);
        let unit = MEAN.as_nanos() as f64;
        let mut together = flow::histogram();
        let mut by_node = vec![0; usize::from(self.nodes)];
        for one in &all {
            together.add(&one.responses).expect("both have the same bounds");
            by_node.iter_mut().zip(&one.by_node).for_each(|(sum, count)| *sum += count);
        }
        let quantile = |share| together.value_at_quantile(share) as f64 / unit;
        let means =
            all.iter().map(|one| one.sum_ns as f64 / (one.responses.len() as f64).max(1.0) / unit);
        let mean = Estimate::of(&means.collect::<Vec<_>>());
        let most = by_node.iter().copied().max().unwrap_or(0) as f64;
        let even = by_node.iter().sum::<u64>() as f64 / by_node.len() as f64;
        ClusterReport {
            preset: "cluster",
            nodes: self.nodes,
            workers: self.workers,
            rho: self.rho,
            law: self.law.name(),
            balancer: self.balancer.name(),
            every_s: self.every.as_secs_f64(),
            seed: self.seed,
            requests: together.len(),
            repetitions: self.repetitions,
            p50: quantile(0.5),
            p99: quantile(0.99),
            p999: quantile(0.999),
            mean: mean.value,
            mean_interval: mean,
            max_over_mean: most / even.max(1.0),
            events: all.iter().map(|one| one.events).sum(),
        }
    }

    fn setup(&self, node: u16, seed: u64) -> Setup {
        let speed = if node == 0 { self.first_speed } else { 1.0 };
        Setup {
            workers: self.workers,
            threads: 1,
            speeds: vec![speed; usize::from(self.workers)],
            balance: Balance::LeastLoaded,
            credit: Some(1),
            rebalance: Rebalance::Never,
            stall_after: crate::config::STALL_AFTER_MAX,
            costs: Costs::NONE,
            seed,
            ..Setup::default()
        }
    }

    fn one(&self, repetition: u64) -> Found {
        let of = |purpose| seed(self.seed, purpose, repetition);
        let mut arrivals = fastrand::Rng::with_seed(of(Purpose::Arrivals));
        let mut services = fastrand::Rng::with_seed(of(Purpose::Services));
        let mut agenda: Agenda<Happening> = Agenda::new(BEGIN);
        let mut fleet = Fleet::new(self, of(Purpose::Server), &mut agenda);
        let law = self.law.times();
        let workers = f64::from(self.workers);
        let places = workers * (f64::from(self.nodes) - 1.0 + self.first_speed);
        let gap_ns = MEAN.as_nanos() as f64 / (places * self.rho);
        let requests = (self.requests / self.repetitions as u64).max(1);
        // Some mean service times on every worker, and some reports.
        let reports = self.every.as_nanos() as f64 * 3.0 / gap_ns;
        let warm_up = (places * 20.0).max(reports.min(requests as f64 / 2.0)) as u64;
        let mut found = Found {
            responses: flow::histogram(),
            sum_ns: 0,
            by_node: vec![0; usize::from(self.nodes)],
            events: 0,
        };
        let (mut arrived, all) = (0, warm_up + requests);
        let mut due_ns = BEGIN.0 as f64 + 1.0;
        agenda.at(Nanos(due_ns as u64), Happening::Driver(ARRIVAL, 0));
        let reports = matches!(self.balancer, Balancer::AgentCheck | Balancer::Orca);
        if reports {
            agenda.at(BEGIN + self.every, Happening::Driver(REPORT, 0));
        }
        while let Some(happening) = agenda.next_until(Nanos::NEVER) {
            let node = match happening {
                Happening::Server(node, event) => {
                    fleet.nodes[usize::from(node)].server.handle(event, &mut agenda);
                    node
                }
                Happening::Driver(REPORT, _) => {
                    fleet.hear_reports();
                    agenda.at(agenda.now() + self.every, Happening::Driver(REPORT, 0));
                    continue;
                }
                Happening::Driver(..) => {
                    let node = fleet.choose();
                    let service_ns = law.draw(&mut services).as_nanos() as u64;
                    let counts = arrived >= warm_up;
                    found.by_node[usize::from(node)] += u64::from(counts);
                    fleet.connect(node, service_ns, counts, arrived, &mut agenda);
                    arrived += 1;
                    if arrived < all {
                        due_ns += -(1.0 - arrivals.f64()).ln() * gap_ns;
                        agenda.at(Nanos(due_ns as u64), Happening::Driver(ARRIVAL, 0));
                    }
                    node
                }
            };
            fleet.hear(node, agenda.now(), &mut found);
            if arrived == all && fleet.open == 0 {
                break;
            }
        }
        found.events = agenda.handled();
        found
    }
}

struct Fleet {
    balancer: Balancer,
    every: Duration,
    places: u32,
    nodes: Vec<Node>,
    next: usize,
    open: u64,
}

impl Fleet {
    fn new(cluster: &Cluster, seed: u64, agenda: &mut Agenda<Happening>) -> Fleet {
        let mut rng = fastrand::Rng::with_seed(seed);
        let nodes = (0..cluster.nodes).map(|node| {
            let mut server = Server::new(cluster.setup(node, rng.u64(..)), node, BEGIN);
            server.start(agenda);
            Node {
                server,
                pending: Vec::new(),
                open: 0,
                chosen: 0,
                weight: 1.0,
                earned: 0.0,
                answered: 0,
                busy_before: 0.0,
            }
        });
        Fleet {
            balancer: cluster.balancer,
            every: cluster.every,
            places: u32::from(cluster.workers),
            nodes: nodes.collect(),
            next: 0,
            open: 0,
        }
    }

    fn choose(&mut self) -> u16 {
        let count = self.nodes.len();
        let place = match self.balancer {
            Balancer::RoundRobin => self.next % count,
            Balancer::LeastConnections => {
                let from = self.next % count;
                let order = (0..count).map(|step| (from + step) % count);
                order.min_by_key(|place| self.nodes[*place].open).unwrap_or(0)
            }
            Balancer::AgentCheck | Balancer::Orca => {
                // Each earns its weight, the richest is chosen and pays what all have earned.
                let sum: f64 = self.nodes.iter().map(|node| node.weight).sum();
                self.nodes.iter_mut().for_each(|node| node.earned += node.weight);
                let richest = |one: &usize, other: &usize| {
                    self.nodes[*one].earned.total_cmp(&self.nodes[*other].earned)
                };
                let place = (0..count).max_by(richest).unwrap_or(0);
                self.nodes[place].earned -= sum;
                place
            }
        };
        self.next = place + 1;
        self.nodes[place].chosen += 1;
        place as u16
    }

    fn connect(
        &mut self,
        node: u16,
        service_ns: u64,
        counts: bool,
        affinity: u64,
        agenda: &mut Agenda<Happening>,
    ) {
        let node = &mut self.nodes[usize::from(node)];
        let ask = Ask { service_ns, sleeps: false, is_last: true };
        let connection = node.server.connect(agenda, ask, affinity).0 as usize;
        if connection >= node.pending.len() {
            node.pending.resize(connection + 1, Pending::default());
        }
        node.pending[connection] = Pending { due: agenda.now(), counts };
        node.open += 1;
        self.open += 1;
    }

    fn hear(&mut self, node: u16, now: Nanos, found: &mut Found) {
        let node = &mut self.nodes[usize::from(node)];
        while let Some(answer) = node.server.poll_answer() {
            node.open -= 1;
            self.open -= 1;
            let one = node.pending[answer.connection.0 as usize];
            if one.counts && matches!(answer.kind, AnswerKind::Good(_)) {
                let response_ns = now.since(one.due).as_nanos() as u64;
                found.responses.saturating_record(response_ns);
                found.sum_ns += u128::from(response_ns);
            }
        }
    }

    /// What nodes say of themselves, all at one moment.
    fn hear_reports(&mut self) {
        let (every_s, places) = (self.every.as_secs_f64(), f64::from(self.places));
        for node in &mut self.nodes {
            let answered = node.server.counts().answered;
            let busy_s = node.server.busy_ns() as f64 / 1e9;
            let utilisation = ((busy_s - node.busy_before) / every_s / places).clamp(0.01, 1.0);
            let rate = (answered - node.answered) as f64 / every_s;
            node.weight = match self.balancer {
                // One per cent at the least, as an agent that says 0 % takes its node out.
                Balancer::AgentCheck => {
                    let free = places - f64::from(node.server.busy());
                    (free / places * 100.0).round().max(1.0)
                }
                _ => (rate / utilisation).max(f64::MIN_POSITIVE),
            };
            (node.answered, node.busy_before) = (answered, busy_s);
        }
        // A node without answers yet is tried as much as the others are.
        let known: Vec<f64> =
            self.nodes.iter().map(|node| node.weight).filter(|weight| *weight > 1e-300).collect();
        let mean = known.iter().sum::<f64>() / (known.len() as f64).max(1.0);
        for node in &mut self.nodes {
            if node.weight <= 1e-300 {
                node.weight = if mean > 0.0 { mean } else { 1.0 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(balancer: Balancer) -> ClusterReport {
        let cluster = Cluster::new(4, 4, 0.7);
        Cluster { balancer, requests: 20_000, every: MEAN, ..cluster }.run(|| ())
    }

    #[test]
    fn one_node_is_what_its_server_is() {
        use crate::sim::theory::ErlangC;
        let cluster = Cluster { requests: 100_000, repetitions: 10, ..Cluster::new(1, 4, 0.7) };
        let found = cluster.run(|| ());
        assert!(found.mean_interval.holds(ErlangC::new(4, 0.7).mean()), "{found:?}");
    }

    #[test]
    fn who_counts_is_better_than_who_deals_out_in_turn() {
        let (turn, count) = (report(Balancer::RoundRobin), report(Balancer::LeastConnections));
        assert!(count.p99 < turn.p99, "{count:?}, {turn:?}");
        assert!(turn.max_over_mean < 1.001);
    }

    #[test]
    fn weights_keep_a_slow_node_from_drowning() {
        let of = |balancer| {
            let cluster = Cluster::new(4, 4, 0.7);
            let every = MEAN * 10;
            let slow = Cluster { balancer, every, first_speed: 0.4, requests: 20_000, ..cluster };
            slow.run(|| ()).p99
        };
        let in_turn = of(Balancer::RoundRobin);
        assert!(of(Balancer::Orca) < in_turn / 2.0);
        assert!(of(Balancer::AgentCheck) < in_turn / 2.0);
    }
}
