//! The clients of a plan in virtual time: the same requests at the same times on the same choices
//! of connections as `experiment::load` sends to real servers, from the same seeds.
//!
//! ```text
//! due ──► a connection of its set is free ──────────────────► sent ──► answered ──► noted
//!   └───► none, or its own is not: waits, first come first served ─┘  └► lost ───► counted
//! ```
//!
//! A connection that is opened has its first request in it, as deferred acceptance makes it look to
//! the server.
//!
//! Not here: the server (`server`), what becomes of samples (`experiment::measure`).

use std::collections::VecDeque;
use std::time::Duration;

use crate::experiment::load::ServiceKind;
use crate::experiment::load::limits::{LOOK_INTERVAL, REOPEN_PAUSE, WAITING_MAX};
use crate::experiment::load::plan::{Ask as Asked, Choice, Pace, Plan};
use crate::experiment::load::report::{Failure, Report, note};
use crate::experiment::load::sample::Sample;
use crate::experiment::load::stream::{Next, Stream};
use crate::ident::ConnectionId;
use crate::sim::agenda::Agenda;
use crate::sim::costs::Costs;
use crate::sim::server::{Answer, AnswerKind, Ask, Happening, Server};
use crate::time::Nanos;

/// Between the last connection and the first request, as in a bench.
const BEFORE_START: Duration = Duration::from_millis(20);

/// What the first number of a driver's event means; the second is a class, a place, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Due = 0,
    Reaches = 1,
    Hears = 2,
    Rested = 3,
    Look = 4,
    Begin = 5,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    class: usize,
    due: Nanos,
    service: Duration,
}

struct Set {
    places: Vec<usize>,
    /// Requests after which a connection is closed; none if it is kept.
    life: Option<u32>,
    /// The class that keeps this set busy.
    closed_loop: Option<usize>,
    is_opened: bool,
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
    /// [`Sample::connection`].
    number: u32,
    carried: u32,
    sent: Nanos,
    is_last: bool,
    /// The server's name for what is open here.
    open: Option<ConnectionId>,
    /// What has been answered and is on its way.
    answer: Option<AnswerKind>,
}

/// The clients of one run.
pub(super) struct Clients {
    plan: Plan,
    streams: Vec<Stream>,
    kinds: Vec<ServiceKind>,
    sets: Vec<Set>,
    places: Vec<Place>,
    /// By the server's numbers: whose they are.
    by_connection: Vec<Option<usize>>,
    rng: fastrand::Rng,
    costs: Costs,
    /// Places whose connection is still to be opened before the run, last first.
    unopened: Vec<usize>,
    opening: usize,
    has_begun: bool,
    start: Nanos,
    end: Nanos,
    keep_from: Nanos,
    in_flight: usize,
    report: Report,
}

impl Clients {
    /// Clients whose sets have so many connections, the opened ones first opened so many at a time.
    pub(super) fn new(plan: Plan, sets: &[(u32, bool)], costs: Costs) -> Clients {
        let mut rng = fastrand::Rng::with_seed(plan.seed);
        let mut next = 0;
        let numbered: Vec<Vec<usize>> = sets
            .iter()
            .map(|(count, _)| {
                let from = next;
                next += *count as usize;
                (from..next).collect()
            })
            .collect();
        let streams: Vec<Stream> = plan
            .classes
            .iter()
            .map(|class| Stream::new(class, &numbered[class.set.index()], &mut rng))
            .collect();
        let mut places: Vec<Place> = (0..next).map(|_| Place::default()).collect();
        let made = numbered.into_iter().zip(sets).enumerate().map(|(index, (own, set))| {
            own.iter().for_each(|place| places[*place].set = index);
            let classes = || plan.classes.iter().filter(|class| class.set.index() == index);
            let is_closed = |class: &_| matches!(class, Pace::Closed);
            Set {
                places: own,
                life: classes().find_map(|class| class.choice.requests_of_life()),
                closed_loop: plan
                    .classes
                    .iter()
                    .position(|class| class.set.index() == index && is_closed(&class.pace)),
                is_opened: set.1,
                free: VecDeque::new(),
                waiting: VecDeque::new(),
                waiting_count: 0,
            }
        });
        let sets: Vec<Set> = made.collect();
        let kind = |ask: &Asked| match ask {
            Asked::Service { kind, .. } => *kind,
            Asked::Path(_) => ServiceKind::Spin,
        };
        let kinds = plan.classes.iter().map(|class| kind(&class.ask)).collect();
        let names = plan.classes.iter().map(|class| class.name.as_str());
        let report = Report::new(names, (Nanos(0), Nanos(0)));
        Clients {
            streams,
            kinds,
            sets,
            places,
            by_connection: Vec::new(),
            rng,
            costs,
            unopened: Vec::new(),
            opening: 0,
            has_begun: false,
            start: Nanos(0),
            end: Nanos::NEVER,
            keep_from: Nanos(0),
            in_flight: 0,
            report,
            plan,
        }
    }

    /// Opens what is opened before the run, so many at a time.
    pub(super) fn open(&mut self, at_once: usize, agenda: &mut Agenda<Happening>) {
        let opened = self.sets.iter().filter(|set| set.is_opened);
        self.unopened = opened.flat_map(|set| set.places.iter().copied()).collect();
        self.unopened.reverse();
        for _ in 0..at_once {
            self.open_next(agenda);
        }
        if self.opening == 0 {
            self.announce(agenda);
        }
    }

    /// The measured time, once the run has begun.
    pub(super) fn measured(&self) -> Option<(Nanos, Nanos)> {
        self.has_begun.then_some((self.keep_from, self.end))
    }

    /// Nothing is due any more, and all that was is answered or given up.
    pub(super) fn is_over(&self, now: Nanos) -> bool {
        let waits = self.sets.iter().any(|set| set.waiting_count > 0);
        self.has_begun && now >= self.end && self.in_flight == 0 && !waits
    }

    /// What was found.
    pub(super) fn finish(mut self, now: Nanos) -> Report {
        self.report.elapsed = now.since(self.start);
        self.report.measured = (self.keep_from, self.end);
        self.report
    }

    /// Something that was made here happens.
    pub(super) fn handle(
        &mut self,
        (deed, which): (u32, u32),
        server: &mut Server,
        agenda: &mut Agenda<Happening>,
    ) {
        let place = which as usize;
        match deed {
            _ if deed == Deed::Due as u32 => self.turn_to(place, agenda),
            _ if deed == Deed::Reaches as u32 => self.reach(place, server, agenda),
            _ if deed == Deed::Hears as u32 => self.hear(place, agenda),
            _ if deed == Deed::Rested as u32 => self.feed(place, agenda),
            _ if deed == Deed::Look as u32 => self.look(server, agenda),
            _ => self.begin_run(agenda),
        }
    }

    /// The server has said something.
    pub(super) fn note_answer(&mut self, answer: Answer, agenda: &mut Agenda<Happening>) {
        let number = answer.connection.0 as usize;
        let Some(place) = self.by_connection.get(number).copied().flatten() else { return };
        let ends = match answer.kind {
            AnswerKind::Good(_) => self.places[place].is_last,
            AnswerKind::Died | AnswerKind::Shed | AnswerKind::Closed => true,
        };
        if ends {
            self.by_connection[number] = None;
            self.places[place].open = None;
        }
        self.places[place].answer = Some(answer.kind);
        let at = Costs::after(agenda.now(), self.costs.back_ns);
        agenda.at(at, Happening::Driver(Deed::Hears as u32, place as u32));
    }

    fn open_next(&mut self, agenda: &mut Agenda<Happening>) {
        let Some(place) = self.unopened.pop() else { return };
        self.opening += 1;
        let service = Duration::ZERO;
        self.places[place].current =
            Some(Request { class: usize::MAX, due: agenda.now(), service });
        self.send(place, agenda);
    }

    fn announce(&mut self, agenda: &mut Agenda<Happening>) {
        let start = agenda.now() + BEFORE_START;
        self.start = start;
        self.end = start + self.plan.duration;
        self.keep_from = start + self.plan.warm_up;
        self.has_begun = true;
        agenda.at(start, Happening::Driver(Deed::Begin as u32, 0));
    }

    fn begin_run(&mut self, agenda: &mut Agenda<Happening>) {
        for set in 0..self.sets.len() {
            for index in 0..self.sets[set].places.len() {
                let place = self.sets[set].places[index];
                if self.places[place].open.is_some() {
                    self.number(place);
                }
                if let Some(life) = self.sets[set].life {
                    self.places[place].carried = self.rng.u32(..life);
                }
                self.feed(place, agenda);
            }
        }
        for class in 0..self.streams.len() {
            self.await_due(class, agenda);
        }
        agenda.at(self.start + LOOK_INTERVAL, Happening::Driver(Deed::Look as u32, 0));
    }

    fn await_due(&mut self, class: usize, agenda: &mut Agenda<Happening>) {
        if let Some(after) = self.streams[class].peek() {
            let due = self.start + after;
            if due < self.end {
                agenda.at(due, Happening::Driver(Deed::Due as u32, class as u32));
            }
        }
    }

    fn turn_to(&mut self, class: usize, agenda: &mut Agenda<Happening>) {
        let Some(next) = self.streams[class].take() else { return };
        note(&mut self.report.lag, Duration::ZERO);
        self.dispatch(class, next, agenda);
        self.await_due(class, agenda);
    }

    fn dispatch(&mut self, class: usize, next: Next, agenda: &mut Agenda<Happening>) {
        let request = Request { class, due: self.start + next.at, service: next.service };
        self.note_due(request);
        let set = &mut self.sets[self.plan.classes[class].set.index()];
        if let Some(own) = next.own {
            self.places[own].waiting.push_back(request);
            set.waiting_count += 1;
            match set.free.iter().position(|free| *free == own) {
                Some(index) => {
                    set.free.swap_remove_back(index);
                    self.feed(own, agenda);
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
            Some(place) => self.begin(place, request, agenda),
            None if set.waiting_count == WAITING_MAX => self.fail(request, Failure::Unqueued),
            None => {
                set.waiting.push_back(request);
                set.waiting_count += 1;
            }
        }
    }

    /// A place can take a request: one that waits, or it is free.
    fn feed(&mut self, place: usize, agenda: &mut Agenda<Happening>) {
        let set = &mut self.sets[self.places[place].set];
        if let Some(class) = set.closed_loop {
            let now = agenda.now();
            if now < self.end {
                let service = self.streams[class].draw_service();
                let request = Request { class, due: now, service };
                self.note_due(request);
                self.begin(place, request, agenda);
            } else {
                set.free.push_back(place);
            }
            return;
        }
        let waiting = self.places[place].waiting.pop_front().or_else(|| set.waiting.pop_front());
        match waiting {
            Some(request) => {
                set.waiting_count -= 1;
                self.begin(place, request, agenda);
            }
            None => set.free.push_back(place),
        }
    }

    fn begin(&mut self, place: usize, request: Request, agenda: &mut Agenda<Happening>) {
        self.places[place].current = Some(request);
        self.in_flight += 1;
        self.send(place, agenda);
    }

    fn send(&mut self, place: usize, agenda: &mut Agenda<Happening>) {
        let now = agenda.now();
        self.places[place].sent = now;
        let at = Costs::after(now, self.costs.there_ns);
        agenda.at(at, Happening::Driver(Deed::Reaches as u32, place as u32));
    }

    fn reach(&mut self, place: usize, server: &mut Server, agenda: &mut Agenda<Happening>) {
        let Some(request) = self.places[place].current else { return };
        let life = self.sets[self.places[place].set].life;
        let opens_only = request.class == usize::MAX;
        if self.places[place].open.is_none() && !opens_only {
            self.number(place);
            if (self.keep_from..self.end).contains(&agenda.now()) {
                self.report.opened_measured += 1;
            }
        }
        let one = &mut self.places[place];
        if !opens_only {
            one.carried = one.carried.saturating_add(1);
        }
        one.is_last = !opens_only && life.is_some_and(|life| one.carried >= life);
        let ask = Ask {
            service_ns: u64::try_from(request.service.as_nanos()).unwrap_or(u64::MAX),
            sleeps: self.kinds.get(request.class) == Some(&ServiceKind::Sleep),
            is_last: one.is_last,
        };
        match one.open {
            Some(connection) => server.send(agenda, connection, ask),
            None => {
                let affinity = self.rng.u64(..);
                let connection = server.connect(agenda, ask, affinity);
                self.places[place].open = Some(connection);
                let number = connection.0 as usize;
                if number >= self.by_connection.len() {
                    self.by_connection.resize(number + 1, None);
                }
                self.by_connection[number] = Some(place);
            }
        }
    }

    fn hear(&mut self, place: usize, agenda: &mut Agenda<Happening>) {
        let Some(kind) = self.places[place].answer.take() else { return };
        if self.places[place].current.is_some_and(|request| request.class == usize::MAX) {
            self.places[place].current = None;
            self.opening -= 1;
            self.open_next(agenda);
            if self.opening == 0 {
                self.announce(agenda);
            }
            return;
        }
        let life = self.sets[self.places[place].set].life;
        match kind {
            AnswerKind::Good(slot) => {
                self.note_good(place, slot.0, agenda.now());
                if life.is_some_and(|life| self.places[place].carried >= life) {
                    self.places[place].carried = 0;
                }
                self.feed(place, agenda);
            }
            AnswerKind::Shed => {
                self.end_failed(place, Failure::Status);
                self.rest(place, agenda);
            }
            AnswerKind::Died => {
                self.end_failed(place, Failure::ClosedBefore);
                self.rest(place, agenda);
            }
            AnswerKind::Closed => {
                // It stays free, and is opened again by the request that comes to it.
                self.places[place].carried = 0;
                self.report.reopened += 1;
                if self.places[place].current.is_some() {
                    // The request has crossed the close.
                    self.end_failed(place, Failure::ClosedBefore);
                    self.rest(place, agenda);
                }
            }
        }
    }

    fn note_good(&mut self, place: usize, worker: u16, at: Nanos) {
        let Some(request) = self.places[place].current.take() else { return };
        self.in_flight -= 1;
        let class = &mut self.report.classes[request.class];
        class.answered += 1;
        *class.by_worker.entry(worker).or_insert(0) += 1;
        if (self.keep_from..self.end).contains(&at) {
            class.answered_measured += 1;
        }
        if request.due >= self.keep_from {
            note(&mut class.latency, at.since(request.due));
        }
        if self.plan.keep_samples {
            self.report.keep(Sample {
                class: u16::try_from(request.class).unwrap_or(u16::MAX),
                connection: self.places[place].number,
                due: request.due,
                sent: self.places[place].sent,
                answered: at,
                service: request.service,
                worker: Some(worker),
            });
        }
    }

    fn end_failed(&mut self, place: usize, failure: Failure) {
        if let Some(request) = self.places[place].current.take() {
            self.in_flight -= 1;
            self.fail(request, failure);
        }
        self.places[place].carried = 0;
        let set = &mut self.sets[self.places[place].set];
        set.free.retain(|free| *free != place);
    }

    fn rest(&mut self, place: usize, agenda: &mut Agenda<Happening>) {
        let at = agenda.now() + REOPEN_PAUSE;
        agenda.at(at, Happening::Driver(Deed::Rested as u32, place as u32));
    }

    /// Another connection stands at this place than before.
    fn number(&mut self, place: usize) {
        self.places[place].number = self.report.connections;
        self.report.connections = self.report.connections.saturating_add(1);
    }

    fn note_due(&mut self, request: Request) {
        let class = &mut self.report.classes[request.class];
        class.due += 1;
        class.due_measured += u64::from(request.due >= self.keep_from);
    }

    fn fail(&mut self, request: Request, failure: Failure) {
        let class = &mut self.report.classes[request.class];
        class.failures.note(failure);
        if request.due >= self.keep_from {
            class.failures_measured.note(failure);
        }
    }

    /// Gives up the requests that have waited for too long, sent or not.
    fn look(&mut self, server: &mut Server, agenda: &mut Agenda<Happening>) {
        let (now, within) = (agenda.now(), self.plan.answer_within);
        let is_late = |request: &Request| now.since(request.due) > within;
        for place in 0..self.places.len() {
            // One whose answer is on its way is not late.
            let current =
                self.places[place].current.filter(|_| self.places[place].answer.is_none());
            if current.as_ref().is_some_and(is_late) {
                if let Some(connection) = self.places[place].open.take() {
                    self.by_connection[connection.0 as usize] = None;
                    server.hang_up(agenda, connection);
                }
                self.end_failed(place, Failure::TimedOut);
                self.rest(place, agenda);
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
        if !self.is_over(now) {
            agenda.at(now + LOOK_INTERVAL, Happening::Driver(Deed::Look as u32, 0));
        }
    }
}
