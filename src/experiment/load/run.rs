//! One run of a plan: turns to each request when it is due, finds it a connection, and notes what
//! became of it.
//!
//! ```text
//! due ──► a connection of its set is free ──────────────────► sent ──► answered ──► noted
//!   └───► none, or its own is not: waits, first come first served ─┘  └► failed ──► counted
//! ```
//!
//! A place that has failed rests for a moment before it is used again.
//!
//! Not here: sockets (`connections`), opening the sets (`generator`).

use std::collections::VecDeque;
use std::io;
use std::iter::Peekable;
use std::time::Duration;

use crate::experiment::load::answer::Answer;
use crate::experiment::load::arrivals::Times;
use crate::experiment::load::connections::{Connections, Happening};
use crate::experiment::load::limits::{
    EVENTS_PER_TURN_MAX, LOOK_INTERVAL, REOPEN_PAUSE, WAITING_MAX,
};
use crate::experiment::load::plan::{Choice, Class, Pace, Plan};
use crate::experiment::load::report::{Failure, Report, note};
use crate::sys::clock;
use crate::time::Nanos;

/// Between setting up and the first moment at which a request can be due.
const SET_UP_FOR: Duration = Duration::from_millis(5);

/// A request that is due.
#[derive(Clone, Copy, Debug)]
struct Request {
    class: usize,
    due: Nanos,
}

/// A class on its way.
struct Stream {
    bytes: Vec<u8>,
    times: Option<Peekable<Times>>,
    /// For [`Choice::Bound`]: the set's places, the hot ones first.
    order: Vec<usize>,
    hot: usize,
}

struct Set<'a> {
    places: &'a [usize],
    /// Whether each request has a connection of its own.
    is_new: bool,
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
    report: Report,
}

impl<'a> Run<'a> {
    /// The plan has been checked against these sets.
    pub(super) fn new(
        connections: &'a mut Connections,
        sets: &'a [Vec<usize>],
        plan: &'a Plan,
    ) -> Run<'a> {
        let mut rng = fastrand::Rng::with_seed(plan.seed);
        let streams = plan.classes.iter().map(|class| stream(class, sets, &mut rng)).collect();
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
                is_new: own.any(|class| class.choice == Choice::New),
                closed_loop: closed_loop.map(|(class, _)| class),
                free: VecDeque::new(),
                waiting: VecDeque::new(),
                waiting_count: 0,
            }
        });
        let start = clock::now() + SET_UP_FOR;
        Run {
            sets: sets.collect(),
            connections,
            streams,
            places,
            resting: VecDeque::new(),
            rng,
            start,
            end: start + plan.duration,
            keep_from: start + plan.warm_up,
            in_flight: 0,
            report: Report::new(plan.classes.iter().map(|class| class.name.as_str())),
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
                if self.connections.is_closed(place) && !self.sets[index].is_new {
                    self.reopen(place);
                } else if self.connections.is_idle(place) || self.sets[index].is_new {
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
            if let Some(times) = &mut self.streams[class].times {
                times.next();
            }
            note(&mut self.report.lag, now.since(due));
            self.dispatch(Request { class, due });
        }
        self.next_due().map(|(_, due)| due)
    }

    fn next_due(&mut self) -> Option<(usize, Nanos)> {
        let (start, end) = (self.start, self.end);
        let dues = self.streams.iter_mut().enumerate().filter_map(|(class, stream)| {
            let due = start + *stream.times.as_mut()?.peek()?;
            (due < end).then_some((class, due))
        });
        dues.min_by_key(|&(_, due)| due)
    }

    fn dispatch(&mut self, request: Request) {
        let class = &self.plan.classes[request.class];
        self.report.classes[request.class].due += 1;
        let set = &mut self.sets[class.set.0];
        let place = match class.choice {
            Choice::Random if set.free.is_empty() => None,
            Choice::Random => set.free.swap_remove_back(self.rng.usize(..set.free.len())),
            Choice::InTurn | Choice::New => set.free.pop_front(),
            Choice::Bound { hot_requests, .. } => {
                let own = self.streams[request.class].draw(hot_requests, &mut self.rng);
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
                self.report.classes[class].due += 1;
                self.begin(place, Request { class, due: now });
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
        let is_new = self.sets[self.places[place].set].is_new;
        let begun = if is_new {
            self.connections.open(place)
        } else {
            self.connections.send(place, &self.streams[request.class].bytes)
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

    fn handle(&mut self, place: usize, at: Nanos, happening: Happening) {
        let is_new = self.sets[self.places[place].set].is_new;
        match happening {
            Happening::Opened => match self.places[place].current {
                // Its request has waited for this connection.
                Some(request) => {
                    let bytes = &self.streams[request.class].bytes;
                    if let Err(failure) = self.connections.send(place, bytes) {
                        self.end_failed(place, failure);
                    }
                }
                None => self.feed(place),
            },
            Happening::Answered(answer) => {
                self.end_answered(place, at, answer);
                if is_new {
                    self.connections.close(place);
                    self.feed(place);
                } else if answer.keeps {
                    self.feed(place);
                } else {
                    self.reopen(place);
                }
            }
            Happening::Closed => {
                let set = &mut self.sets[self.places[place].set];
                set.free.retain(|&free| free != place);
                self.reopen(place);
            }
            Happening::Failed(failure) => self.end_failed(place, failure),
        }
    }

    fn end_answered(&mut self, place: usize, at: Nanos, answer: Answer) {
        let Some(request) = self.places[place].current.take() else { return };
        self.in_flight -= 1;
        let class = &mut self.report.classes[request.class];
        if !(200..300).contains(&answer.status) {
            class.failures.note(Failure::Status);
            return;
        }
        class.answered += 1;
        if let Some(worker) = answer.worker {
            *class.by_worker.entry(worker).or_insert(0) += 1;
        }
        if request.due >= self.keep_from {
            note(&mut class.latency, at.since(request.due));
        }
    }

    /// A place has failed, and its request with it, if it had one.
    fn end_failed(&mut self, place: usize, failure: Failure) {
        if let Some(request) = self.places[place].current.take() {
            self.in_flight -= 1;
            self.fail(request, failure);
        }
        let set = &mut self.sets[self.places[place].set];
        set.free.retain(|&free| free != place);
        self.rest(place);
    }

    fn fail(&mut self, request: Request, failure: Failure) {
        self.report.classes[request.class].failures.note(failure);
    }

    fn rest(&mut self, place: usize) {
        self.resting.push_back((clock::now() + REOPEN_PAUSE, place));
    }

    fn wake(&mut self, place: usize) {
        if self.sets[self.places[place].set].is_new {
            self.feed(place);
        } else {
            self.reopen(place);
        }
    }

    fn reopen(&mut self, place: usize) {
        self.report.reopened += 1;
        if self.connections.open(place).is_err() {
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

impl Stream {
    /// The place that a request of [`Choice::Bound`] is bound to.
    fn draw(&self, hot_requests: f64, rng: &mut fastrand::Rng) -> usize {
        let (hot, cold) = self.order.split_at(self.hot);
        let is_hot = !hot.is_empty() && (cold.is_empty() || rng.f64() < hot_requests);
        let among = if is_hot { hot } else { cold };
        among[rng.usize(..among.len())]
    }
}

fn stream(class: &Class, sets: &[Vec<usize>], rng: &mut fastrand::Rng) -> Stream {
    let connection = if class.choice == Choice::New { "Connection: close\r\n" } else { "" };
    let request = format!("GET {} HTTP/1.1\r\nHost: maitred\r\n{connection}\r\n", class.path);
    let mut order = sets[class.set.0].clone();
    rng.shuffle(&mut order);
    let hot = match class.choice {
        Choice::Bound { hot_connections, .. } => (order.len() as f64 * hot_connections).round(),
        Choice::Random | Choice::InTurn | Choice::New => 0.0,
    };
    let seed = rng.u64(..);
    Stream {
        bytes: request.into_bytes(),
        times: match class.pace {
            Pace::Open(arrivals) => Some(arrivals.times(seed).peekable()),
            Pace::Closed => None,
        },
        hot: (hot as usize).min(order.len()),
        order,
    }
}
