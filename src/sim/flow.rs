//! A stream of requests, each on a connection of its own, into one server: what theory speaks of.
//!
//! Nothing is kept of a request that is over but its place in a histogram, so that memory grows
//! with what is in flight.
//!
//! Not here: clients that keep connections (`clients`), several servers (`cluster`).

use hdrhistogram::Histogram;

use crate::experiment::load::ServiceTimes;
use crate::sim::agenda::Agenda;
use crate::sim::seeds::{Purpose, seed};
use crate::sim::server::{AnswerKind, Ask, Counts, Happening, Server, Setup};
use crate::time::Nanos;

/// When virtual time begins: zero means "not at all" in a page.
pub const BEGIN: Nanos = Nanos(1_000_000_000);

/// Digits of a response time that are kept: quantiles are to be told apart to a thousandth.
const DIGITS: u8 = 4;

/// One run.
#[derive(Clone, Debug)]
pub struct Flow {
    /// The server. Its seed is replaced.
    pub setup: Setup,
    /// The law of service times.
    pub law: ServiceTimes,
    /// The load on each place (workers × threads).
    pub rho: f64,
    /// Requests that are counted.
    pub requests: u64,
    /// Requests before them that are not.
    pub warm_up: u64,
    /// How often, in requests, all queue lengths are noted; 0 for never.
    pub lengths_every: u64,
    /// Decides everything.
    pub seed: u64,
    /// Which repetition.
    pub repetition: u64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Found {
    /// Nanoseconds from arrival to answer.
    pub responses: Histogram<u64>,
    /// Their sum, exactly.
    pub sum_ns: u128,
    /// Of the service times of the same requests.
    pub service_sum_ns: u128,
    /// How many workers had so many requests, by number of requests, over all notes.
    pub lengths: Vec<u64>,
    /// Of the server.
    pub counts: Counts,
    /// Events that happened.
    pub events: u64,
    /// Virtual nanoseconds that passed.
    pub elapsed_ns: u64,
    /// The most that was on the agenda.
    pub agenda_max: usize,
}

impl Found {
    /// The mean response, in nanoseconds.
    pub fn mean_ns(&self) -> f64 {
        self.sum_ns as f64 / (self.responses.len() as f64).max(1.0)
    }

    /// What a share of the responses did not exceed, in nanoseconds.
    pub fn quantile_ns(&self, share: f64) -> f64 {
        let value = self.responses.value_at_quantile(share);
        // The middle of what the histogram cannot tell apart.
        self.responses.median_equivalent(value) as f64
    }

    /// The mean time that was not service.
    pub fn mean_wait_ns(&self) -> f64 {
        let wait = self.sum_ns as f64 - self.service_sum_ns as f64;
        wait / (self.responses.len() as f64).max(1.0)
    }

    /// The share of the workers that had at least so many requests.
    pub fn at_least(&self, length: usize) -> f64 {
        let all: u64 = self.lengths.iter().sum();
        let those: u64 = self.lengths.iter().skip(length).sum();
        those as f64 / (all as f64).max(1.0)
    }
}

/// A request that is here.
#[derive(Clone, Copy, Debug, Default)]
struct Pending {
    due: Nanos,
    service_ns: u64,
    counts: bool,
}

/// Runs it to its end.
pub fn run(flow: &Flow) -> Found {
    let of = |purpose| seed(flow.seed, purpose, flow.repetition);
    let mut arrivals = fastrand::Rng::with_seed(of(Purpose::Arrivals));
    let mut services = fastrand::Rng::with_seed(of(Purpose::Services));
    let setup = Setup { seed: of(Purpose::Server), ..flow.setup.clone() };
    let places = f64::from(setup.workers) * f64::from(setup.threads.max(1));
    let mean_ns = flow.law.mean().as_nanos() as f64;
    let gap_ns = mean_ns / (places * flow.rho);
    let begin_ns = BEGIN.0 + setup.costs.boot_ns + 1;
    let mut agenda: Agenda<Happening> = Agenda::new(BEGIN);
    let mut server = Server::new(setup, 0, BEGIN);
    server.start(&mut agenda);
    let mut pending: Vec<Pending> = Vec::new();
    let mut found = Found {
        responses: histogram(),
        sum_ns: 0,
        service_sum_ns: 0,
        lengths: Vec::new(),
        counts: Counts::default(),
        events: 0,
        elapsed_ns: 0,
        agenda_max: 0,
    };
    // In floating point, so that rounding gaps does not change the rate.
    let mut due_ns = begin_ns as f64;
    let mut arrived = 0;
    let all = flow.warm_up + flow.requests;
    let mut open = 0_u64;
    agenda.at(Nanos(begin_ns), Happening::Driver(0, 0));
    while let Some(happening) = agenda.next_until(Nanos::NEVER) {
        match happening {
            Happening::Server(_, event) => server.handle(event, &mut agenda),
            Happening::Driver(..) => {
                let service_ns = flow.law.draw(&mut services).as_nanos() as u64;
                let ask = Ask { service_ns, sleeps: false, is_last: true };
                let connection = server.connect(&mut agenda, ask, arrived);
                let place = connection.0 as usize;
                if place >= pending.len() {
                    pending.resize(place + 1, Pending::default());
                }
                let counts = arrived >= flow.warm_up;
                pending[place] = Pending { due: agenda.now(), service_ns, counts };
                open += 1;
                arrived += 1;
                if flow.lengths_every > 0 && counts && arrived % flow.lengths_every == 0 {
                    note_lengths(&server, &mut found.lengths);
                    found.agenda_max = found.agenda_max.max(agenda.len());
                }
                if arrived < all {
                    due_ns += -(1.0 - arrivals.f64()).ln() * gap_ns;
                    agenda.at(Nanos(due_ns as u64), Happening::Driver(0, 0));
                }
            }
        }
        while let Some(answer) = server.poll_answer() {
            let one = pending[answer.connection.0 as usize];
            open -= u64::from(answer.kind != AnswerKind::Closed);
            if one.counts && matches!(answer.kind, AnswerKind::Good(_)) {
                let response_ns = agenda.now().since(one.due).as_nanos() as u64;
                found.responses.saturating_record(response_ns);
                found.sum_ns += u128::from(response_ns);
                found.service_sum_ns += u128::from(one.service_ns);
            }
        }
        if arrived == all && open == 0 {
            break;
        }
    }
    found.counts = server.counts();
    found.events = agenda.handled();
    found.elapsed_ns = agenda.now().since(BEGIN).as_nanos() as u64;
    found
}

fn note_lengths(server: &Server, lengths: &mut Vec<u64>) {
    for length in server.queue_lengths() {
        let length = length as usize;
        if length >= lengths.len() {
            lengths.resize(length + 1, 0);
        }
        lengths[length] += 1;
    }
}

pub(super) fn histogram() -> Histogram<u64> {
    // From a microsecond to an hour: what lies below is one value.
    Histogram::new_with_bounds(1_000, 3_600_000_000_000, DIGITS)
        .expect("the lowest is above zero, the highest twice that, the digits at most five")
}
