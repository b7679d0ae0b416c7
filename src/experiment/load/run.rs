//! One run of a plan: turns to each request when it is due, finds it a connection, and notes what
//! became of it.
//!
//! ```text
//! due ──► a connection of its set is free ──────────────────► sent ──► answered ──► noted
//!   └───► none, or its own is not: waits, first come first served ─┘  └► failed ──► counted
//! ```
//!
//! A place that has failed rests for a moment before it is used again. Connections of a set that are
//! closed after some requests ([`Choice::New`], [`Choice::Renewed`]) count as free while they are
//! closed: they are opened for the request that comes to them.
//!
//! Not here: sockets (`connections`), opening the sets (`generator`), what is due (`stream`).

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use crate::experiment::load::answer::Answer;
use crate::experiment::load::connections::{Connections, Happening};
use crate::experiment::load::limits::{
    EVENTS_PER_TURN_MAX, LOOK_INTERVAL, REOPEN_PAUSE, WAITING_MAX,
};
use crate::experiment::load::plan::{Choice, Pace, Plan};
use crate::experiment::load::report::{Failure, Report, note};
use crate::experiment::load::sample::Sample;
use crate::experiment::load::stream::{Next, Stream};
use crate::sys::clock;
use crate::time::Nanos;

/// A request that is due.
#[derive(Clone, Copy, Debug)]
struct Request {
    class: usize,
    due: Nanos,
    service: Duration,
}

struct Set<'a> {
    places: &'a [usize],
    /// Requests after which a connection is closed; none if it is kept.
    life: Option<u32>,
    /// The class that keeps this set busy.
    closed_loop: Option<usize>,
    free: VecDeque<usize>,
    waiting: VecDeque<Request>,
    /// With those that wait for their own connection.
    waiting_count: usize,
}

#[derive(Default)]
struct Place {
    set: usize,
    current: Option<Request>,
    waiting: VecDeque<Request>,
    /// The number of what is open here: [`Sample::connection`].
    connection: u32,
    /// Requests that it has carried.
    carried: u32,
    /// When the current request's bytes were given to the kernel.
    sent: Nanos,
}

/// A run.
pub(super) struct Run<'a> {
    connections: &'a mut Connections,
    plan: &'a Plan,
    streams: Vec<Stream>,
    sets: Vec<Set<'a>>,
    /// By the numbers that `connections` gave them.
    places: Vec<Place>,
    /// Places that rest, and until when; the pause is always the same, so they are in order.
    resting: VecDeque<(Nanos, usize)>,
    rng: fastrand::Rng,
    start: Nanos,
    end: Nanos,
    keep_from: Nanos,
    in_flight: usize,
    /// The bytes of one request, written anew for each.
    bytes: Vec<u8>,
    report: Report,
}

impl<'a> Run<'a> {
    /// The plan has been checked against these sets.
    pub(super) fn new(
        connections: &'a mut Connections,
        sets: &'a [Vec<usize>],
        plan: &'a Plan,
        start: Nanos,
    ) -> Run<'a> {
        let mut rng = fastrand::Rng::with_seed(plan.seed);
        let streams = plan.classes.iter();
        let streams = streams.map(|class| Stream::new(class, &sets[class.set.0], &mut rng));
        let streams = streams.collect();
        let places_count = sets.iter().flatten().max().map_or(0, |last| last + 1);
        let mut places: Vec<_> = (0..places_count).map(|_| Place::default()).collect();
        for (index, set) in sets.iter().enumerate() {
            set.iter().for_each(|&place| places[place].set = index);
        }
        let sets = sets.iter().enumerate().map(|(index, places)| {
            let mut classes = plan.classes.iter().enumerate();
            let closed_loop =
                classes.find(|(_, class)| class.set.0 == index && class.pace == Pace::Closed);
            let mut own = plan.classes.iter().filter(|class| class.set.0 == index);
            Set {
                places,
                life: own.find_map(|class| class.choice.requests_of_life()),
                closed_loop: closed_loop.map(|(class, _)| class),
                free: VecDeque::new(),
                waiting: VecDeque::new(),
                waiting_count: 0,
            }
        });
        let (keep_from, end) = (start + plan.warm_up, start + plan.duration);
        let names = plan.classes.iter().map(|class| class.name.as_str());
        Run {
            sets: sets.collect(),
            connections,
            streams,
            places,
            resting: VecDeque::new(),
            rng,
            start,
            end,
            keep_from,
            in_flight: 0,
            bytes: Vec::new(),
            report: Report::new(names, (keep_from, end)),
            plan,
        }
    }

    /// Runs to the end: until nothing more becomes due, and what was due is answered or given up.
    pub(super) fn run(mut self) -> io::Result<Report> {
        self.take_up_places();
        let mut happenings = Vec::new();
        let mut next_look = self.start + LOOK_INTERVAL;
        loop {
            let next_due = self.send_due();
            let now = clock::now();
            let waiting: usize = self.sets.iter().map(|set| set.waiting_count).sum();
            if now >= self.end && next_due.is_none() && self.in_flight == 0 && waiting == 0 {
                self.report.elapsed = now.since(self.start);
                return Ok(self.report);
            }
            if now >= next_look {
                self.give_up_late(now);
                next_look = now + LOOK_INTERVAL;
            }
            while self.resting.front().is_some_and(|&(until, _)| until <= now) {
                if let Some((_, place)) = self.resting.pop_front() {
                    self.wake(place);
                }
            }
            let until = next_due.unwrap_or(Nanos::NEVER).min(next_look);
            let rested = self.resting.front().map_or(Nanos::NEVER, |&(until, _)| until);
            self.connections.wait(until.min(rested), &mut happenings)?;
            for (place, at, happening) in happenings.drain(..) {
                self.handle(place, at, happening);
            }
        }
    }

    /// What the server closed since the last run is opened again, all else is free.
    fn take_up_places(&mut self) {
        for index in 0..self.sets.len() {
            for &place in self.sets[index].places {
                let life = self.sets[index].life;
                if self.connections.is_idle(place) {
                    self.number(place);
                }
                if let Some(life) = life {
                    self.places[place].carried = self.rng.u32(..life);
                }
                if self.connections.is_closed(place) && life.is_none() {
                    self.reopen(place);
                } else if self.connections.is_idle(place) || life.is_some() {
                    self.feed(place);
                }
            }
        }
    }

    /// Turns to what is due, a bounded number, and says when the next is.
    fn send_due(&mut self) -> Option<Nanos> {
        for _ in 0..EVENTS_PER_TURN_MAX {
            let (class, due) = self.next_due()?;
            let now = clock::now();
            if due > now {
                return Some(due);
            }
            let next = self.streams[class].take()?;
            note(&mut self.report.lag, now.since(due));
            self.dispatch(class, next);
        }
        self.next_due().map(|(_, due)| due)
    }

    fn next_due(&mut self) -> Option<(usize, Nanos)> {
        let (start, end) = (self.start, self.end);
        let dues = self.streams.iter_mut().enumerate().filter_map(|(class, stream)| {
            let due = start + stream.peek()?;
            (due < end).then_some((class, due))
        });
        dues.min_by_key(|&(_, due)| due)
    }

    fn dispatch(&mut self, class: usize, next: Next) {
        let request = Request { class, due: self.start + next.at, service: next.service };
        self.note_due(request);
        let set = &mut self.sets[self.plan.classes[class].set.0];
        if let Some(own) = next.own {
            self.places[own].waiting.push_back(request);
            set.waiting_count += 1;
            match set.free.iter().position(|&free| free == own) {
                Some(index) => {
                    set.free.swap_remove_back(index);
                    self.feed(own);
                }
                None if set.waiting_count > WAITING_MAX => {
                    self.places[own].waiting.pop_back();
                    set.waiting_count -= 1;
                    self.fail(request, Failure::Unqueued);
                }
                None => {}
            }
            return;
        }
        let place = match self.plan.classes[class].choice {
            Choice::Random if set.free.is_empty() => None,
            Choice::Random => set.free.swap_remove_back(self.rng.usize(..set.free.len())),
            Choice::InTurn | Choice::New | Choice::Renewed { .. } | Choice::Bound { .. } => {
                set.free.pop_front()
            }
        };
        match place {
            Some(place) => self.begin(place, request),
            None if set.waiting_count == WAITING_MAX => self.fail(request, Failure::Unqueued),
            None => {
                set.waiting.push_back(request);
                set.waiting_count += 1;
            }
        }
    }

    /// A place can take a request: one that waits, or it is free.
    fn feed(&mut self, place: usize) {
        let set = &mut self.sets[self.places[place].set];
        if let Some(class) = set.closed_loop {
            let now = clock::now();
            if now < self.end {
                let service = self.streams[class].draw_service();
                let request = Request { class, due: now, service };
                self.note_due(request);
                self.begin(place, request);
            } else {
                set.free.push_back(place);
            }
            return;
        }
        let waiting = self.places[place].waiting.pop_front().or_else(|| set.waiting.pop_front());
        match waiting {
            Some(request) => {
                set.waiting_count -= 1;
                self.begin(place, request);
            }
            None => set.free.push_back(place),
        }
    }

    fn begin(&mut self, place: usize, request: Request) {
        let begun = if self.connections.is_closed(place) {
            self.open(place)
        } else {
            self.send(place, request)
        };
        match begun {
            Ok(()) => {
                self.places[place].current = Some(request);
                self.in_flight += 1;
            }
            Err(failure) => {
                self.fail(request, failure);
                self.rest(place);
            }
        }
    }

    fn send(&mut self, place: usize, request: Request) -> Result<(), Failure> {
        let place_now = &mut self.places[place];
        place_now.carried = place_now.carried.saturating_add(1);
        let is_last = self.sets[place_now.set].life.is_some_and(|life| place_now.carried >= life);
        let stream = &self.streams[request.class];
        stream.write_request(request.service, is_last, &mut self.bytes);
        // Before the call: it may run the receiving side of loopback before it returns.
        place_now.sent = clock::now();
        self.connections.send(place, &self.bytes)
    }

    fn open(&mut self, place: usize) -> Result<(), Failure> {
        self.connections.open(place)?;
        self.number(place);
        if (self.keep_from..self.end).contains(&clock::now()) {
            self.report.opened_measured += 1;
        }
        Ok(())
    }

    /// Another connection stands at this place than before.
    fn number(&mut self, place: usize) {
        self.places[place].connection = self.report.connections;
        self.report.connections = self.report.connections.saturating_add(1);
    }

    fn handle(&mut self, place: usize, at: Nanos, happening: Happening) {
        let life = self.sets[self.places[place].set].life;
        match happening {
            Happening::Opened => match self.places[place].current {
                // Its request has waited for this connection.
                Some(request) => {
                    if let Err(failure) = self.send(place, request) {
                        self.end_failed(place, failure);
                    }
                }
                None => self.feed(place),
            },
            Happening::Answered(answer) => {
                self.end_answered(place, at, answer);
                match life {
                    Some(life) if self.places[place].carried >= life => {
                        self.connections.close(place);
                        self.places[place].carried = 0;
                        self.feed(place);
                    }
                    None | Some(_) if answer.keeps => self.feed(place),
                    Some(_) => {
                        self.note_lost(place);
                        self.feed(place);
                    }
                    None => self.reopen(place),
                }
            }
            // It stays free, and is opened for the request that comes to it.
            Happening::Closed if life.is_some() => self.note_lost(place),
            Happening::Closed => {
                let set = &mut self.sets[self.places[place].set];
                set.free.retain(|&free| free != place);
                self.reopen(place);
            }
            Happening::Failed(failure) => self.end_failed(place, failure),
        }
    }

    /// The server has closed a connection before its life was over.
    fn note_lost(&mut self, place: usize) {
        self.places[place].carried = 0;
        self.report.reopened += 1;
    }

    fn end_answered(&mut self, place: usize, at: Nanos, answer: Answer) {
        let Some(request) = self.places[place].current.take() else { return };
        self.in_flight -= 1;
        if !(200..300).contains(&answer.status) {
            self.fail(request, Failure::Status);
            return;
        }
        let class = &mut self.report.classes[request.class];
        class.answered += 1;
        if let Some(worker) = answer.worker {
            *class.by_worker.entry(worker).or_insert(0) += 1;
        }
        if (self.keep_from..self.end).contains(&at) {
            class.answered_measured += 1;
        }
        if request.due >= self.keep_from {
            note(&mut class.latency, at.since(request.due));
        }
        if self.plan.keep_samples {
            self.report.keep(Sample {
                // A plan with more classes than that has no use for samples of them.
                class: u16::try_from(request.class).unwrap_or(u16::MAX),
                connection: self.places[place].connection,
                due: request.due,
                sent: self.places[place].sent,
                answered: at,
                service: request.service,
                worker: answer.worker,
            });
        }
    }

    /// A place has failed, and its request with it, if it had one.
    fn end_failed(&mut self, place: usize, failure: Failure) {
        if let Some(request) = self.places[place].current.take() {
            self.in_flight -= 1;
            self.fail(request, failure);
        }
        self.places[place].carried = 0;
        let set = &mut self.sets[self.places[place].set];
        set.free.retain(|&free| free != place);
        self.rest(place);
    }

    fn note_due(&mut self, request: Request) {
        let class = &mut self.report.classes[request.class];
        class.due += 1;
        if request.due >= self.keep_from {
            class.due_measured += 1;
        }
    }

    fn fail(&mut self, request: Request, failure: Failure) {
        let class = &mut self.report.classes[request.class];
        class.failures.note(failure);
        if request.due >= self.keep_from {
            class.failures_measured.note(failure);
        }
    }

    fn rest(&mut self, place: usize) {
        self.resting.push_back((clock::now() + REOPEN_PAUSE, place));
    }

    fn wake(&mut self, place: usize) {
        if self.sets[self.places[place].set].life.is_some() {
            self.feed(place);
        } else {
            self.reopen(place);
        }
    }

    fn reopen(&mut self, place: usize) {
        self.report.reopened += 1;
        if self.open(place).is_err() {
            self.rest(place);
        }
    }

    /// Gives up the requests that have waited for too long, sent or not.
    fn give_up_late(&mut self, now: Nanos) {
        let within = self.plan.answer_within;
        let is_late = |request: &Request| now.since(request.due) > within;
        for place in 0..self.places.len() {
            if self.places[place].current.as_ref().is_some_and(is_late) {
                self.connections.close(place);
                self.end_failed(place, Failure::TimedOut);
            }
            while self.places[place].waiting.front().is_some_and(is_late) {
                if let Some(request) = self.places[place].waiting.pop_front() {
                    self.sets[self.places[place].set].waiting_count -= 1;
                    self.fail(request, Failure::TimedOut);
                }
            }
        }
        for set in 0..self.sets.len() {
            while self.sets[set].waiting.front().is_some_and(is_late) {
                if let Some(request) = self.sets[set].waiting.pop_front() {
                    self.sets[set].waiting_count -= 1;
                    self.fail(request, Failure::TimedOut);
                }
            }
        }
    }
}
