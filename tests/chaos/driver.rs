//! Takes the steps of a plan, in one thread: after each it lets all clients go on with what has
//! come, and after each round it waits until everybody has what was asked for.
//!
//! Not here: what the steps are (`plan`), what a client makes of an answer (`client`).

use std::time::{Duration, Instant};

use mio::{Events, Poll};
use nix::sys::signal::Signal;

use super::client::{Client, Tally};
use super::plan::{Plan, Round, Step};
use crate::common::client::Client as PlainClient;
use crate::common::{DEADLINE, Server, Stopped, eventually, is_alive, signal_process};

/// Events taken in one system call.
const EVENTS_MAX: usize = 1024;

/// Between two looks at the clock.
const TICK: Duration = Duration::from_millis(2);

/// A worker says that it has answered only after the last byte has left. When it is killed between
/// the two, the client has its whole answer and loses the connection, rightly. A worker that runs
/// is past that within microseconds, on a loaded machine within some scheduling rounds.
const STILL_ANSWERING_MAX: Duration = Duration::from_millis(500);

/// How many idle connections one death may cost in that way: a worker ends one answer at a time,
/// and beside it a streamed one for each of its (two) threads.
const IDLE_DEATHS_MAX: usize = 3;

/// How many of those that wait are shown when a round does not end.
const SHOWN_MAX: usize = 5;

/// A run.
pub(crate) struct Driver<'server> {
    server: &'server Server,
    poll: Poll,
    events: Events,
    clients: Vec<Client>,
    stops: Vec<Stop>,
    /// The last stop of every worker that was stopped.
    past_stops: Vec<(u32, Instant, Instant)>,
    /// Workers that were killed in this round.
    killed: Vec<u32>,
    /// Workers that a reload replaces in this round.
    replaced: Vec<u32>,
    workers: usize,
    pub(crate) tally: Tally,
    pub(crate) stopped: usize,
    /// Requests of this round that were not answered when a worker was killed: so many may fail.
    exposed: usize,
}

/// A worker that is stopped.
struct Stop {
    worker: Stopped,
    began_at: Instant,
    until: Instant,
}

impl<'server> Driver<'server> {
    pub(crate) fn new(server: &'server Server, clients: usize) -> Driver<'server> {
        let address = server.address();
        Driver {
            server,
            poll: Poll::new().expect("there is an epoll instance to have"),
            events: Events::with_capacity(EVENTS_MAX),
            clients: (0..clients).map(|number| Client::new(number, address)).collect(),
            stops: Vec::new(),
            past_stops: Vec::new(),
            killed: Vec::new(),
            replaced: Vec::new(),
            workers: server.worker_pids().len(),
            tally: Tally::default(),
            stopped: 0,
            exposed: 0,
        }
    }

    /// Takes all steps. Clients then still hold their idle connections.
    pub(crate) fn run(&mut self, plan: Plan) {
        for (number, round) in plan.rounds.into_iter().enumerate() {
            let before = self.tally;
            self.exposed = 0;
            self.take(round);
            self.settle(number);
            let (died, died_idle) =
                (self.tally.died - before.died, self.tally.died_idle - before.died_idle);
            assert!(died <= self.exposed, "round {number}: {died} died of {}", self.exposed);
            let idle_max = self.killed.len() * IDLE_DEATHS_MAX;
            assert!(died_idle <= idle_max, "round {number}: {died_idle} idle ones of {idle_max}");
            self.killed.clear();
            self.replaced.clear();
        }
    }

    /// Closes all connections.
    pub(crate) fn close(&mut self) {
        self.clients.clear();
    }

    fn take(&mut self, round: Round) {
        for step in round {
            match step {
                Step::Client(number, action) => {
                    let registry = self.poll.registry();
                    self.clients[number].tell(action, registry, &mut self.tally);
                }
                Step::Stop { draw, duration } => self.stop(draw, duration),
                Step::Kill { draw } => self.kill(draw),
                Step::Reload => {
                    self.replaced = self.server.worker_pids();
                    self.server.signal(Signal::SIGHUP);
                }
                Step::Grow => self.server.signal(Signal::SIGTTIN),
                Step::Shrink => self.server.signal(Signal::SIGTTOU),
                Step::Pause(duration) => {
                    let end = Instant::now() + duration;
                    while Instant::now() < end {
                        self.turn(TICK.min(end.saturating_duration_since(Instant::now())));
                    }
                }
            }
            self.turn(Duration::ZERO);
        }
    }

    /// One look at all sockets, and at the clock; false if there was nothing.
    fn turn(&mut self, patience: Duration) -> bool {
        match self.poll.poll(&mut self.events, Some(patience)) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => panic!("waiting for events: {error}"),
        }
        let registry = self.poll.registry();
        for event in &self.events {
            self.clients[event.token().0].handle_ready(registry, &mut self.tally);
        }
        let now = Instant::now();
        for stop in self.stops.extract_if(.., |stop| stop.until <= now) {
            let pid = stop.worker.pid();
            drop(stop.worker);
            self.past_stops.retain(|(past, _, _)| *past != pid);
            self.past_stops.push((pid, stop.began_at, now));
        }
        !self.events.is_empty()
    }

    fn stop(&mut self, draw: usize, duration: Duration) {
        let Some(pid) = self.draw_worker(draw) else { return };
        if self.stops.iter().any(|stop| stop.worker.pid() == pid) {
            return;
        }
        let began_at = Instant::now();
        if let Some(worker) = Stopped::try_stop(pid) {
            self.stops.push(Stop { worker, began_at, until: Instant::now() + duration });
            self.stopped += 1;
        }
    }

    fn kill(&mut self, draw: usize) {
        let Some(pid) = self.draw_worker(draw) else { return };
        let now = Instant::now();
        let stopped_at = self.stops.iter().find(|stop| stop.worker.pid() == pid);
        let past = self
            .past_stops
            .iter()
            .find(|(past, _, ended_at)| *past == pid && *ended_at + STILL_ANSWERING_MAX >= now);
        let ran_until = stopped_at
            .map(|stop| stop.began_at)
            .or(past.map(|(_, began_at, _)| *began_at))
            .unwrap_or(now);
        signal_process(pid, Signal::SIGKILL);
        // So that what is asked from now on cannot have been in its hands.
        eventually(DEADLINE, "the killed worker is dead", || !is_alive(pid));
        let recently = ran_until.checked_sub(STILL_ANSWERING_MAX).unwrap_or(ran_until);
        let exposed = self.clients.iter_mut().map(|client| client.expose(recently));
        self.exposed += exposed.sum::<usize>();
        self.killed.push(pid);
    }

    fn draw_worker(&self, draw: usize) -> Option<u32> {
        let pids = self.server.worker_pids();
        let living: Vec<u32> = pids.into_iter().filter(|&pid| is_alive(pid)).collect();
        (!living.is_empty()).then(|| living[draw % living.len()])
    }

    /// Waits until nobody waits for anything.
    fn settle(&mut self, round: usize) {
        let end = Instant::now() + DEADLINE;
        while !self.stops.is_empty() || !self.clients.iter().all(Client::is_at_rest) {
            if Instant::now() >= end {
                let waiting = self.clients.iter().filter(|client| !client.is_at_rest());
                let stories: Vec<_> =
                    waiting.clone().take(SHOWN_MAX).map(Client::describe).collect();
                panic!("lost in round {round}: {}\n{}", waiting.count(), stories.join("\n"));
            }
            self.turn(TICK);
        }
        // A reload is given up when a replacement dies, as one does that cannot start.
        let gone = if self.killed.is_empty() { &self.replaced } else { &self.killed };
        eventually(DEADLINE, "the workers are as many as they were, and those are gone", || {
            let pids = self.server.worker_pids();
            pids.len() == self.workers && pids.iter().all(|pid| !gone.contains(pid))
        });
        if !self.killed.is_empty() {
            // The master settles what a dead worker held in the turn that buries it. The first
            // answer may have been seated before that, the second was not.
            for _ in 0..2 {
                assert_eq!(PlainClient::connect(self.server.address()).get("/").status, 200);
            }
        }
        while self.turn(Duration::ZERO) {}
        self.clients.iter_mut().for_each(Client::cover);
    }
}
