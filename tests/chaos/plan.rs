//! What will be done, decided by a seed alone before anything is: which client asks what and in
//! which order, when it goes away, and when workers are stopped, killed, reloaded, added.
//!
//! How the steps interleave with what the server does is up to the machine, so a seed repeats the
//! decisions, not the race; the same seed a few times is what replays a failure.
//!
//! Not here: taking the steps (`driver`).

use std::time::Duration;

use super::request::{Kind, Request, SIZE_MAX, SIZE_MIN};

/// Rounds of random steps; one in which everybody comes is before, one in which everybody asks
/// once more behind them.
const RANDOM_ROUNDS: usize = 3;

/// Everything that one run does.
pub(crate) struct Plan {
    /// `--threads` of the workers.
    pub(crate) threads: &'static str,
    pub(crate) rounds: Vec<Round>,
}

/// Steps, after which everybody must have what was asked for.
pub(crate) type Round = Vec<Step>;

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// This client does something as soon as it has done what it was told before.
    Client(usize, Action),
    /// A worker, the `draw`-th of those that there are then, is stopped for a time.
    Stop { draw: usize, duration: Duration },
    /// A worker is killed.
    Kill { draw: usize },
    /// All workers are replaced.
    Reload,
    /// A worker is added.
    Grow,
    /// One is taken away.
    Shrink,
    /// Nothing is done but what has come is read.
    Pause(Duration),
}

/// What a client does. One that has no connection opens one first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Waits until it is idle, sends these requests at once (perhaps none), and then does this.
    Ask { requests: Vec<Request>, afterwards: Afterwards },
    /// Waits until it is idle, and sends so many thousandths of a request.
    Begin { request: Request, cut: usize },
    /// Sends the rest.
    Finish,
    /// Closes within the request.
    Tear,
}

/// What a client does when it has sent its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Afterwards {
    /// Stays, and reads.
    Stay,
    /// Says that it sends no more, and reads.
    EndSending,
    /// Closes at once, whatever is to come.
    Close,
    /// Resets the connection.
    Abort,
}

impl Plan {
    /// The plan of a seed: with so many clients and so many steps in each random round.
    pub(crate) fn new(seed: u64, clients: usize, steps: usize) -> Plan {
        let mut planner = Planner {
            random: fastrand::Rng::with_seed(seed),
            has_begun: vec![false; clients],
            next_id: seed << 32,
        };
        let mut rounds = vec![planner.everybody_comes()];
        for _ in 0..RANDOM_ROUNDS {
            rounds.push(planner.random_round(steps));
        }
        rounds.push(planner.everybody_asks());
        // Both kinds of workers in any two seeds that follow each other.
        Plan { threads: if seed.is_multiple_of(2) { "0" } else { "2" }, rounds }
    }
}

/// A seed on its way to a plan.
struct Planner {
    random: fastrand::Rng,
    /// Which clients have sent a part of a request.
    has_begun: Vec<bool>,
    next_id: u64,
}

impl Planner {
    fn everybody_comes(&mut self) -> Round {
        let mut order: Vec<usize> = (0..self.has_begun.len()).collect();
        self.random.shuffle(&mut order);
        let mut round = Vec::new();
        for client in order {
            let is_silent = self.random.u32(..20) == 0;
            let requests = if is_silent { Vec::new() } else { vec![self.echo()] };
            round
                .push(Step::Client(client, Action::Ask { requests, afterwards: Afterwards::Stay }));
            self.season(&mut round);
        }
        round
    }

    fn everybody_asks(&mut self) -> Round {
        let mut round = Vec::new();
        for client in 0..self.has_begun.len() {
            let requests = vec![self.echo()];
            round
                .push(Step::Client(client, Action::Ask { requests, afterwards: Afterwards::Stay }));
        }
        round
    }

    fn random_round(&mut self, steps: usize) -> Round {
        let upheavals: &[Step] = match self.random.u32(..10) {
            0 | 1 => &[],
            2..=4 => &[Step::Kill { draw: 0 }],
            5 | 6 => &[Step::Reload],
            7 | 8 => &[Step::Reload, Step::Kill { draw: 1 }],
            // In this order whenever they come: what is added can be taken away.
            _ => &[Step::Grow, Step::Shrink],
        };
        let mut times: Vec<usize> =
            upheavals.iter().map(|_| self.random.usize(..steps.max(1))).collect();
        times.sort_unstable();
        let mut due = times.into_iter().zip(upheavals).peekable();

        let mut round = Vec::new();
        for number in 0..steps {
            while let Some((_, upheaval)) = due.next_if(|(time, _)| *time <= number) {
                round.push(match upheaval {
                    Step::Kill { .. } => Step::Kill { draw: self.random.usize(..64) },
                    other => other.clone(),
                });
            }
            let client = self.random.usize(..self.has_begun.len());
            let action = self.action(client);
            round.push(Step::Client(client, action));
            self.season(&mut round);
        }
        for client in 0..self.has_begun.len() {
            if std::mem::take(&mut self.has_begun[client]) {
                round.push(Step::Client(client, Action::Finish));
            }
        }
        round
    }

    /// Pauses, so that most clients are idle most of the time, and stops.
    fn season(&mut self, round: &mut Round) {
        match self.random.u32(..100) {
            0 => {
                // Long against `--stall-after`, short against everybody's patience.
                let duration = Duration::from_millis(self.random.u64(5..80));
                round.push(Step::Stop { draw: self.random.usize(..64), duration });
            }
            1..=6 => round.push(Step::Pause(Duration::from_millis(self.random.u64(1..5)))),
            _ => {}
        }
    }

    fn action(&mut self, client: usize) -> Action {
        if std::mem::take(&mut self.has_begun[client]) {
            return if self.random.u32(..8) == 0 { Action::Tear } else { Action::Finish };
        }
        let (requests, afterwards) = match self.random.u32(..100) {
            0..50 => (vec![self.echo()], Afterwards::Stay),
            50..62 => {
                ((0..self.random.usize(2..4)).map(|_| self.echo()).collect(), Afterwards::Stay)
            }
            62..75 => {
                self.has_begun[client] = true;
                return Action::Begin { request: self.echo(), cut: self.random.usize(1..1000) };
            }
            75..80 => (vec![self.wait()], Afterwards::Stay),
            80..83 => (vec![self.work()], Afterwards::Stay),
            83..88 => (vec![self.echo()], Afterwards::EndSending),
            88 => (Vec::new(), Afterwards::EndSending),
            89..93 => (vec![self.echo()], Afterwards::Close),
            93 => (vec![self.echo()], Afterwards::Abort),
            94..97 => (Vec::new(), Afterwards::Close),
            97 => (Vec::new(), Afterwards::Abort),
            _ => (Vec::new(), Afterwards::Stay),
        };
        Action::Ask { requests, afterwards }
    }

    fn echo(&mut self) -> Request {
        let size = match self.random.u32(..100) {
            0..60 => self.random.usize(SIZE_MIN..512),
            60..90 => self.random.usize(512..8 << 10),
            90..98 => self.random.usize(8 << 10..32 << 10),
            _ => self.random.usize(32 << 10..=SIZE_MAX),
        };
        let is_chunked = self.random.u32(..5) == 0;
        self.request(Kind::Echo { size, is_chunked })
    }

    fn wait(&mut self) -> Request {
        let whole_ms = self.random.u64(1..20);
        self.request(Kind::Sleep { whole_ms })
    }

    fn work(&mut self) -> Request {
        let whole_ms = self.random.u64(1..8);
        self.request(Kind::Spin { whole_ms })
    }

    fn request(&mut self, kind: Kind) -> Request {
        self.next_id += 1;
        Request { id: self.next_id, kind }
    }
}
