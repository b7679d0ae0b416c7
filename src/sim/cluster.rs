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
//! | least-connections | fewest requests of its own under way, ties in turn | its own count, of this moment |
//! | reported-connections | fewest requests under way, ties in turn | what each node said every T, and what it has sent there since |
//! | agent-check | in turn, by weight (smooth weighted round-robin) | the weight that each node's agent says every T (HAProxy: `agent-check`, `agent-inter`) |
//! | orca | in turn, by weight | requests a second over utilisation, as each node said in its last load report (Envoy: client-side weighted round-robin; gRFC A58) |
//!
//! Weights and load reports are those of the real node, `fleet::Node`, which looks at each server as
//! the master does, every [`FLEET_LOOK`].
//!
//! Requests come each on a connection of its own. Some nodes may be slower than the others, and one
//! balancer sees all requests: several that know nothing of each other are not modelled, and
//! `reported-connections` is as near as this comes to them.
//!
//! Not here: what a node does (`server`), what it says of itself (`fleet`).

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::config::{Balance, FLEET_LOOK, FLEET_SMOOTHING, Rebalance};
use crate::fleet::{self, WeightSettings, WorkerLook};
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
    /// Fewest requests under way, as nodes have said.
    ReportedConnections,
    /// By the weights that agents have said.
    AgentCheck,
    /// By load reports.
    Orca,
}

impl Balancer {
    /// All, as they are typed.
    pub const ALL: [(&'static str, Balancer); 5] = [
        ("round-robin", Balancer::RoundRobin),
        ("least-connections", Balancer::LeastConnections),
        ("reported-connections", Balancer::ReportedConnections),
        ("agent-check", Balancer::AgentCheck),
        ("orca", Balancer::Orca),
    ];

    /// It goes by weights.
    fn weighs(self) -> bool {
        matches!(self, Balancer::AgentCheck | Balancer::Orca)
    }

    /// Nodes have to tell it how they are.
    fn listens(self) -> bool {
        self.weighs() || self == Balancer::ReportedConnections
    }

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
    /// So many nodes are slow.
    pub slow_nodes: u16,
    /// How fast they are; all others have 1.
    pub slow_speed: f64,
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
    /// The standard deviation of a node's weight over time, as a share of its mean, averaged over
    /// the nodes; none where there are no weights.
    pub weight_deviation: Option<f64>,
    /// As asked.
    pub slow_nodes: u16,
    /// As asked.
    pub slow_speed: f64,
    /// Events that happened.
    pub events: u64,
}

struct Found {
    responses: Histogram<u64>,
    sum_ns: u128,
    by_node: Vec<u64>,
    weights: Vec<Spread>,
    events: u64,
}

/// Mean and variance of what comes one by one (Welford 1962).
#[derive(Clone, Copy, Debug, Default)]
struct Spread {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Spread {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let off = value - self.mean;
        self.mean += off / self.count;
        self.squares += off * (value - self.mean);
    }

    /// The standard deviation as a share of the mean.
    fn relative(&self) -> Option<f64> {
        (self.count >= 2.0 && self.mean > 0.0)
            .then(|| (self.squares / self.count).sqrt() / self.mean)
    }
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
    /// What it knows of itself.
    known: fleet::Node,
    /// What the balancer heard of it last.
    weight: f64,
    earned: f64,
    /// Requests under way, as it said last, and those sent there since.
    reported: u64,
}

const ARRIVAL: u32 = 0;
const REPORT: u32 = 1;
const LOOK: u32 = 2;

/// So many time constants of the weight law pass before anything counts: a node begins with a
/// weight that it has not earned.
const SETTLING: u32 = 4;

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
            slow_nodes: 0,
            slow_speed: 1.0,
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
        let spreads = all.iter().flat_map(|one| one.weights.iter().filter_map(Spread::relative));
        let spreads: Vec<f64> = spreads.collect();
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
            weight_deviation: (!spreads.is_empty())
                .then(|| spreads.iter().sum::<f64>() / spreads.len() as f64),
            slow_nodes: self.slow_nodes,
            slow_speed: self.slow_speed,
            events: all.iter().map(|one| one.events).sum(),
        }
    }

    fn setup(&self, node: u16, seed: u64) -> Setup {
        let speed = if node < self.slow_nodes { self.slow_speed } else { 1.0 };
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
        let slow = f64::from(self.slow_nodes.min(self.nodes));
        let places =
            f64::from(self.workers) * (f64::from(self.nodes) - slow + slow * self.slow_speed);
        let gap_ns = MEAN.as_nanos() as f64 / (places * self.rho);
        let requests = (self.requests / self.repetitions as u64).max(1);
        // Some mean service times on every worker, some reports, and what the weight law takes: also
        // for whom it is to be compared with.
        let settling = match self.balancer {
            Balancer::AgentCheck | Balancer::ReportedConnections => FLEET_SMOOTHING * SETTLING,
            _ => Duration::ZERO,
        };
        let reports = (self.every * 3 + settling).as_nanos() as f64 / gap_ns;
        let warm_up = (places * 20.0).max(reports) as u64;
        let mut found = Found {
            responses: flow::histogram(),
            sum_ns: 0,
            by_node: vec![0; usize::from(self.nodes)],
            weights: Vec::new(),
            events: 0,
        };
        if self.balancer.weighs() {
            found.weights = vec![Spread::default(); usize::from(self.nodes)];
        }
        let (mut arrived, all) = (0, warm_up + requests);
        let mut due_ns = BEGIN.0 as f64 + 1.0;
        agenda.at(Nanos(due_ns as u64), Happening::Driver(ARRIVAL, 0));
        if self.balancer.listens() {
            agenda.at(BEGIN + self.every, Happening::Driver(REPORT, 0));
        }
        if self.balancer.weighs() {
            agenda.at(BEGIN + FLEET_LOOK, Happening::Driver(LOOK, 0));
        }
        while let Some(happening) = agenda.next_until(Nanos::NEVER) {
            let node = match happening {
                Happening::Server(node, event) => {
                    fleet.nodes[usize::from(node)].server.handle(event, &mut agenda);
                    node
                }
                Happening::Driver(REPORT, _) => {
                    fleet.hear_reports();
                    // Once nothing more arrives, loads fall, and weights rise.
                    if (warm_up..all).contains(&arrived) {
                        let weights = fleet.nodes.iter().map(|node| node.weight);
                        found.weights.iter_mut().zip(weights).for_each(|(one, at)| one.add(at));
                    }
                    agenda.at(agenda.now() + self.every, Happening::Driver(REPORT, 0));
                    continue;
                }
                Happening::Driver(LOOK, _) => {
                    fleet.look(agenda.now());
                    agenda.at(agenda.now() + FLEET_LOOK, Happening::Driver(LOOK, 0));
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
    nodes: Vec<Node>,
    next: usize,
    open: u64,
    /// Kept from look to look for its memory alone.
    looks: Vec<WorkerLook>,
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
                known: fleet::Node::new(WeightSettings::default()),
                weight: 1.0,
                earned: 0.0,
                reported: 0,
            }
        });
        Fleet {
            balancer: cluster.balancer,
            nodes: nodes.collect(),
            next: 0,
            open: 0,
            looks: Vec::new(),
        }
    }

    fn choose(&mut self) -> u16 {
        let count = self.nodes.len();
        let place = match self.balancer {
            Balancer::RoundRobin => self.next % count,
            Balancer::LeastConnections => self.fewest(|node| node.open),
            Balancer::ReportedConnections => self.fewest(|node| node.reported),
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
        self.nodes[place].reported += 1;
        place as u16
    }

    /// Who has the fewest; of several the next in turn.
    fn fewest(&self, of: impl Fn(&Node) -> u64) -> usize {
        let count = self.nodes.len();
        let from = self.next % count;
        let order = (0..count).map(|step| (from + step) % count);
        order.min_by_key(|place| of(&self.nodes[*place])).unwrap_or(0)
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

    /// Every node looks at itself.
    fn look(&mut self, now: Nanos) {
        for node in &mut self.nodes {
            node.server.show_node(&mut node.known, &mut self.looks, now);
        }
    }

    /// What nodes say of themselves, all at one moment.
    fn hear_reports(&mut self) {
        for node in &mut self.nodes {
            let load = node.known.load();
            node.reported = node.open;
            node.weight = match self.balancer {
                Balancer::AgentCheck => f64::from(load.weight_percent),
                // Nothing fails here, so that the penalty for errors is zero.
                _ if load.load > 0.0 => load.requests_per_second / load.load,
                _ => 0.0,
            };
        }
        // A node without answers yet is tried as much as the others are.
        let known = || self.nodes.iter().map(|node| node.weight).filter(|weight| *weight > 0.0);
        let mean = known().sum::<f64>() / (known().count() as f64).max(1.0);
        for node in self.nodes.iter_mut().filter(|node| node.weight <= 0.0) {
            node.weight = if mean > 0.0 { mean } else { 1.0 };
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

    /// A tenth of all requests goes to each of ten nodes in turn, and the slow one can serve a third
    /// of that.
    fn one_is_slow(balancer: Balancer) -> ClusterReport {
        let cluster = Cluster::new(10, 2, 0.7);
        let slow = Cluster { slow_nodes: 1, slow_speed: 0.33, requests: 60_000, ..cluster };
        Cluster { balancer, repetitions: 1, ..slow }.run(|| ())
    }

    #[test]
    fn weights_keep_a_slow_node_from_drowning() {
        let in_turn = one_is_slow(Balancer::RoundRobin).p99;
        for balancer in [Balancer::AgentCheck, Balancer::Orca] {
            let found = one_is_slow(balancer);
            assert!(found.p99 < in_turn / 3.0, "{found:?}, in turn {in_turn}");
            let deviation = found.weight_deviation.expect("there are weights");
            assert!(deviation < 0.1, "a fleet that swings: {found:?}");
        }
    }

    #[test]
    fn who_has_no_weights_has_no_deviation() {
        assert_eq!(report(Balancer::LeastConnections).weight_deviation, None);
    }
}
