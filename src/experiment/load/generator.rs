//! The front door: opens sets of connections to one server, and runs plans on them.
//!
//! Sets outlive runs, so that a measurement can say where connections are held before it begins:
//! open many, look at who answered, close some, run.
//!
//! Not here: what is due when (`run`).

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::experiment::load::connections::{Connections, Happening};
use crate::experiment::load::limits::{CONNECTIONS_MAX, OPEN_FOR_MAX, OPENING_MAX};
use crate::experiment::load::plan::{Plan, PlanError, SetId};
use crate::experiment::load::report::{Failure, Report};
use crate::experiment::load::run::Run;
use crate::sys::clock;
use crate::time::Nanos;

/// Between setting up and the first moment at which a request can be due.
const SET_UP_FOR: Duration = Duration::from_millis(5);

/// One thread's load on one server.
#[derive(Debug)]
pub struct Generator {
    connections: Connections,
    sets: Vec<Vec<usize>>,
    /// By place: the slot that answered the first request.
    workers: Vec<Option<u16>>,
}

/// A set to be opened.
#[derive(Clone, Debug)]
pub struct Opening {
    /// How many connections.
    pub count: usize,
    /// How many of them at one time, at most [`OPENING_MAX`]. One by one they are seated one by
    /// one.
    pub at_once: usize,
    /// What each asks for first.
    pub path: String,
}

/// Why there is no measurement.
#[derive(Debug, thiserror::Error)]
pub enum GeneratorError {
    /// The caller's plan.
    #[error("the plan cannot be run")]
    Plan(#[from] PlanError),
    /// The caller wants more than [`CONNECTIONS_MAX`].
    #[error("more than {CONNECTIONS_MAX} connections")]
    TooMany,
    /// The server did not take a connection, or did not answer its first request.
    #[error("opening a connection: {}", .0.explanation())]
    Opening(Failure),
    /// The system: no memory, no descriptors.
    #[error("waiting for connections")]
    System(#[from] io::Error),
}

impl Generator {
    /// Load on the server at this address. Nothing is sent yet.
    ///
    /// # Errors
    /// The system has no descriptors for an event loop.
    pub fn new(address: SocketAddr) -> io::Result<Generator> {
        let connections = Connections::new(address)?;
        Ok(Generator { connections, sets: Vec::new(), workers: Vec::new() })
    }

    /// Opens connections, each of which makes one request, and returns when all are answered.
    ///
    /// # Errors
    /// One of them failed; the others stay open until the generator goes out of scope.
    pub fn open(&mut self, opening: &Opening) -> Result<SetId, GeneratorError> {
        let first = self.workers.len();
        let set = self.reserve(opening.count)?;
        let request = format!("GET {} HTTP/1.1\r\nHost: maitred\r\n\r\n", opening.path);
        let mut closed: VecDeque<usize> = self.sets[set.0].iter().copied().collect();
        let mut unanswered = closed.len();
        let at_once = opening.at_once.clamp(1, OPENING_MAX);
        let mut under_way = 0;
        let deadline = clock::now() + OPEN_FOR_MAX;
        let mut happenings = Vec::new();
        while unanswered > 0 {
            while under_way < at_once
                && let Some(place) = closed.pop_front()
            {
                self.connections.open(place).map_err(GeneratorError::Opening)?;
                under_way += 1;
            }
            if clock::now() >= deadline {
                return Err(GeneratorError::Opening(Failure::TimedOut));
            }
            self.connections.wait(deadline, &mut happenings)?;
            for (place, _, happening) in happenings.drain(..) {
                if place < first {
                    // Of another set: the next run finds it as it is, and opens it if it is closed.
                    continue;
                }
                match happening {
                    Happening::Opened => {
                        let sent = self.connections.send(place, request.as_bytes());
                        sent.map_err(GeneratorError::Opening)?;
                    }
                    Happening::Answered(answer) if !(200..300).contains(&answer.status) => {
                        return Err(GeneratorError::Opening(Failure::Status));
                    }
                    Happening::Answered(answer) => {
                        self.workers[place] = answer.worker;
                        under_way -= 1;
                        unanswered -= 1;
                    }
                    // After its answer: the next run opens it again.
                    Happening::Closed => {}
                    Happening::Failed(failure) => return Err(GeneratorError::Opening(failure)),
                }
            }
        }
        Ok(set)
    }

    /// A set of places for [`Choice::New`]: nothing is opened.
    ///
    /// # Errors
    /// Too many.
    ///
    /// [`Choice::New`]: crate::experiment::load::plan::Choice::New
    pub fn reserve(&mut self, count: usize) -> Result<SetId, GeneratorError> {
        if self.workers.len() + count > CONNECTIONS_MAX {
            return Err(GeneratorError::TooMany);
        }
        self.sets.push((0..count).map(|_| self.connections.add()).collect());
        self.workers.resize(self.workers.len() + count, None);
        Ok(SetId(self.sets.len() - 1))
    }

    /// Closes the connections of a set that are not to be kept, by the slot that answered their
    /// first request; returns how many are left.
    pub fn retain(&mut self, set: SetId, mut keep: impl FnMut(Option<u16>) -> bool) -> usize {
        let (connections, workers) = (&mut self.connections, &self.workers);
        let Some(places) = self.sets.get_mut(set.0) else { return 0 };
        places.retain(|&place| {
            let is_kept = keep(workers[place]);
            if !is_kept {
                connections.close(place);
            }
            is_kept
        });
        places.len()
    }

    /// Which slot answered the first request of each connection of a set, where the server says it.
    pub fn workers(&self, set: SetId) -> Vec<Option<u16>> {
        let places = self.sets.get(set.0).map_or(&[][..], Vec::as_slice);
        places.iter().map(|&place| self.workers[place]).collect()
    }

    /// Runs a plan to its end, in this thread.
    ///
    /// # Errors
    /// The plan does not fit, or the system failed. What the server does wrong is in the report.
    pub fn run(&mut self, plan: &Plan) -> Result<Report, GeneratorError> {
        self.run_at(plan, clock::now() + SET_UP_FOR)
    }

    /// The same, from a moment at which several generators begin: their bursts are one, and their
    /// measured times are the same.
    ///
    /// # Errors
    /// As [`Generator::run`].
    pub fn run_at(&mut self, plan: &Plan, start: Nanos) -> Result<Report, GeneratorError> {
        let sizes: Vec<_> = self.sets.iter().map(Vec::len).collect();
        plan.check(&sizes)?;
        Ok(Run::new(&mut self.connections, &self.sets, plan, start).run()?)
    }
}
