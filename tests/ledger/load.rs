//! A load in a thread of its own: requests are due at a constant rate, whatever became of the
//! earlier ones, and each ends in the book.
//!
//! Not here: one connection (`connection`), what the outcomes mean (`book`).

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::iter::Peekable;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use maitred::experiment::load::Arrivals;
use maitred::experiment::load::arrivals::Times;
use maitred::experiment::load::timer::Timer;
use maitred::sys::clock;
use maitred::time::Nanos;
use mio::{Events, Poll, Token};

use super::book::{Book, Failed, Outcome};
use super::connection::{Asked, Connection, Happening};
use crate::request::{Kind, Request, SIZE_MIN};

/// New connections at one time. Past this what is due waits here, and its wait counts.
const CONNECTIONS_MAX: usize = 12_000;

/// Events taken in one system call: few, so that nothing is sent late because of many answers.
const EVENTS_MAX: usize = 64;

/// Between two looks for requests that have waited too long, and for the end.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Pause of a place whose connection could not be made, so that nobody is hammered.
const REOPEN_PAUSE: Duration = Duration::from_millis(5);

/// The longest of the requests that sleep.
const SLEEP_MAX_MS: u64 = 5;

/// One body in so many is large enough to come and go in several pieces.
const LARGE_ONE_IN: usize = 16;

const SMALL_MAX: usize = 1024;
const LARGE_MAX: usize = 32 * 1024;

const TIMER: Token = Token(usize::MAX);

/// How requests are spread over connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// So many connections, used in turn, and opened again when the server has closed one.
    Kept(usize),
    /// A connection each, which says nothing for so long after it is made.
    New { pause: Duration },
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Echoes of many sizes: the answer is checked byte by byte.
    Echo,
    /// Targets that are named in their answers.
    Named,
}

/// A load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    /// Requests a second.
    pub(crate) rate: f64,
    pub(crate) way: Way,
    pub(crate) ask: Ask,
    /// One request in so many sleeps for some milliseconds in its handler, so that somebody is
    /// always being served; none with 0. Latencies are of the others.
    pub(crate) sleeps_one_in: usize,
    /// From when a request is due.
    pub(crate) answer_within: Duration,
    pub(crate) seed: u64,
}

/// A load that runs until it is stopped.
pub(crate) struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    book: Mutex<Book>,
    is_over: AtomicBool,
}

impl Load {
    /// Begins at once.
    pub(crate) fn start(plan: Plan) -> Load {
        let shared =
            Arc::new(Shared { book: Mutex::new(Book::default()), is_over: AtomicBool::new(false) });
        let ours = Arc::clone(&shared);
        let thread = thread::spawn(move || Client::new(plan, ours).run());
        Load { shared, thread: Some(thread) }
    }

    /// Requests that were answered in full since the book was last taken.
    pub(crate) fn answered(&self) -> u64 {
        self.shared.book().of(Outcome::Full)
    }

    /// The same of any outcome.
    pub(crate) fn count(&self, outcome: Outcome) -> u64 {
        self.shared.book().of(outcome)
    }

    /// Requests that are due and have no outcome yet.
    pub(crate) fn in_flight(&self) -> u64 {
        self.shared.book().in_flight
    }

    /// What has ended so far, and begins a new book.
    pub(crate) fn take_book(&self) -> Book {
        self.shared.book().take()
    }

    /// Nothing more becomes due; what is in flight ends, one way or the other.
    pub(crate) fn stop(mut self) -> Book {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("a load is stopped once");
        thread.join().expect("a load's thread does not panic");
        self.take_book()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The load's thread.
struct Client {
    plan: Plan,
    shared: Arc<Shared>,
    poll: Poll,
    timer: Timer,
    times: Peekable<Times>,
    start: Nanos,
    random: fastrand::Rng,
    next_id: u64,
    places: Vec<Option<Connection>>,
    /// Places that can take a request, the longest free first.
    free: VecDeque<usize>,
    /// Requests that are due, and that no place was free for.
    waiting: VecDeque<Asked>,
    /// Connected places that say nothing until then; the pause is always the same.
    pausing: VecDeque<(Nanos, usize, u64)>,
    /// Places that rest until then.
    resting: VecDeque<(Nanos, usize)>,
}

impl Client {
    fn new(plan: Plan, shared: Arc<Shared>) -> Client {
        let poll = Poll::new().expect("there is an epoll instance to have");
        let timer = Timer::new(poll.registry(), TIMER).expect("there is a timer to have");
        let count = match plan.way {
            Way::Kept(count) => count,
            Way::New { .. } => CONNECTIONS_MAX,
        };
        Client {
            plan,
            shared,
            poll,
            timer,
            times: Arrivals::Constant { rate: plan.rate }.times(plan.seed).peekable(),
            start: clock::now(),
            random: fastrand::Rng::with_seed(plan.seed),
            next_id: plan.seed << 40,
            places: (0..count).map(|_| None).collect(),
            free: (0..count).collect(),
            waiting: VecDeque::new(),
            pausing: VecDeque::new(),
            resting: VecDeque::new(),
        }
    }

    fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut next_look = self.start;
        loop {
            let is_over = self.shared.is_over.load(Ordering::Relaxed);
            let next_due = if is_over { Nanos::NEVER } else { self.send_due() };
            let now = clock::now();
            if now >= next_look {
                self.give_up_late(now);
                next_look = now + LOOK_INTERVAL;
            }
            self.end_pauses(now);
            if is_over && self.shared.book().in_flight == 0 {
                return;
            }
            let pause = self.pausing.front().map_or(Nanos::NEVER, |&(until, ..)| until);
            let rest = self.resting.front().map_or(Nanos::NEVER, |&(until, _)| until);
            let until = next_due.min(next_look).min(pause).min(rest);
            self.timer.set(until).expect("a timer can be set");
            match self.poll.poll(&mut events, None) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("waiting for events: {error}"),
            }
            for event in &events {
                if event.token() == TIMER {
                    self.timer.handle_fired();
                } else {
                    let place = event.token().0;
                    if let Some(connection) = &mut self.places[place] {
                        let happening = connection.handle_ready();
                        self.handle(place, happening);
                    }
                }
            }
        }
    }

    /// Turns to what is due, a bounded number, and says when the next is.
    fn send_due(&mut self) -> Nanos {
        for _ in 0..EVENTS_MAX {
            let due = self.next_due();
            if due > clock::now() {
                return due;
            }
            self.times.next();
            self.shared.book().in_flight += 1;
            let asked = Asked { request: self.draw(), due };
            match self.free.pop_front() {
                Some(place) => self.begin(place, asked),
                None => self.waiting.push_back(asked),
            }
        }
        self.next_due()
    }

    fn next_due(&mut self) -> Nanos {
        self.times.peek().map_or(Nanos::NEVER, |&after| self.start + after)
    }

    fn draw(&mut self) -> Request {
        self.next_id += 1;
        let sleeps = self.sleeps();
        let kind = match self.plan.ask {
            Ask::Named => Kind::Named,
            Ask::Echo if sleeps => Kind::Sleep { whole_ms: self.random.u64(1..=SLEEP_MAX_MS) },
            Ask::Echo => {
                let is_large = self.random.usize(..LARGE_ONE_IN) == 0;
                let max = if is_large { LARGE_MAX } else { SMALL_MAX };
                Kind::Echo { size: self.random.usize(SIZE_MIN..=max), is_chunked: false }
            }
        };
        Request { id: self.next_id, kind }
    }

    fn sleeps(&mut self) -> bool {
        let one_in = self.plan.sleeps_one_in;
        one_in > 0 && self.random.usize(..one_in) == 0
    }

    /// A free place takes a request.
    fn begin(&mut self, place: usize, asked: Asked) {
        if let Some(connection) = &mut self.places[place] {
            let happening = connection.ask_next(asked, self.plan.way.fields());
            return self.handle(place, happening);
        }
        let registry = self.poll.registry();
        match Connection::open(self.plan.address, registry, Token(place), asked.clone()) {
            Ok(connection) => self.places[place] = Some(connection),
            Err(error) => {
                let outcome = match error.kind() {
                    ErrorKind::ConnectionRefused => Outcome::Refused,
                    _ => Outcome::Unopened,
                };
                self.note_failed(&asked, outcome, None, false, format!("connecting: {error}"));
                self.resting.push_back((clock::now() + REOPEN_PAUSE, place));
            }
        }
    }

    fn handle(&mut self, place: usize, happening: Happening) {
        match happening {
            Happening::Nothing => {}
            Happening::Opened => {
                self.shared.book().connected += 1;
                let pause = self.plan.way.pause();
                let asked = self.places[place].as_ref().and_then(|one| one.asked.as_ref());
                let id = asked.map_or(0, |asked| asked.request.id);
                if pause.is_zero() {
                    self.speak(place, id);
                } else {
                    self.pausing.push_back((clock::now() + pause, place, id));
                }
            }
            Happening::Answered { asked, keeps } => {
                let mut book = self.shared.book();
                book.in_flight -= 1;
                let is_quick = !matches!(asked.request.kind, Kind::Sleep { .. });
                book.note_full(is_quick.then_some(asked.due), clock::now());
                drop(book);
                let keeps = keeps && matches!(self.plan.way, Way::Kept(_));
                if !keeps {
                    self.places[place] = None;
                }
                self.feed(place);
            }
            Happening::Failed(outcome, story) => {
                let Some(connection) = self.places[place].take() else { return };
                let (silent_for, sent_whole) = (connection.silent_for(), connection.sent_whole());
                let story = format!("port {}: {story}", connection.local_port());
                match connection.asked {
                    Some(asked) => {
                        self.note_failed(&asked, outcome, silent_for, sent_whole, story);
                        // A place that was free is in the list of free ones.
                        self.resting.push_back((clock::now() + REOPEN_PAUSE, place));
                    }
                    // Bytes came that nobody had asked for: they are somebody's, and wrong here.
                    None => self.note_unasked(outcome, story),
                }
            }
            Happening::IdleEnded { by_reset } => {
                // It stays in the list of free places, and is opened again when its turn comes.
                self.places[place] = None;
                let mut book = self.shared.book();
                if by_reset {
                    book.idle_reset += 1;
                } else {
                    book.idle_closed += 1;
                }
            }
        }
    }

    /// A connection that was made for a request sends it.
    fn speak(&mut self, place: usize, id: u64) {
        let Some(connection) = &mut self.places[place] else { return };
        if connection.asked.as_ref().is_some_and(|asked| asked.request.id == id) {
            let happening = connection.ask(self.plan.way.fields());
            self.handle(place, happening);
        }
    }

    fn feed(&mut self, place: usize) {
        match self.waiting.pop_front() {
            Some(asked) => self.begin(place, asked),
            None => self.free.push_back(place),
        }
    }

    fn end_pauses(&mut self, now: Nanos) {
        while self.pausing.front().is_some_and(|&(until, ..)| until <= now) {
            if let Some((_, place, id)) = self.pausing.pop_front() {
                self.speak(place, id);
            }
        }
        while self.resting.front().is_some_and(|&(until, _)| until <= now) {
            if let Some((_, place)) = self.resting.pop_front() {
                self.feed(place);
            }
        }
    }

    /// Gives up the requests that have waited for too long, sent or not.
    fn give_up_late(&mut self, now: Nanos) {
        let within = self.plan.answer_within;
        let is_late = |asked: &Asked| now.since(asked.due) > within;
        for place in 0..self.places.len() {
            let asked = self.places[place].as_ref().and_then(|one| one.asked.as_ref());
            if asked.is_some_and(is_late) {
                self.handle(place, Happening::Failed(Outcome::TimedOut, String::new()));
            }
        }
        while self.waiting.front().is_some_and(is_late) {
            if let Some(asked) = self.waiting.pop_front() {
                let story = "no place was free".to_owned();
                self.note_failed(&asked, Outcome::TimedOut, None, false, story);
            }
        }
    }

    fn note_failed(
        &self,
        asked: &Asked,
        outcome: Outcome,
        silent_for: Option<Duration>,
        sent_whole: bool,
        story: String,
    ) {
        let mut book = self.shared.book();
        book.in_flight -= 1;
        book.note_failed(Failed {
            outcome,
            id: asked.request.id,
            due: asked.due,
            ended: clock::now(),
            silent_for,
            sent_whole,
            story,
        });
    }

    fn note_unasked(&self, outcome: Outcome, story: String) {
        let now = clock::now();
        let failed = Failed {
            outcome,
            id: 0,
            due: now,
            ended: now,
            silent_for: None,
            sent_whole: false,
            story,
        };
        self.shared.book().note_failed(failed);
    }
}

impl Way {
    /// Field lines of each request.
    fn fields(self) -> &'static str {
        match self {
            Way::Kept(_) => "",
            Way::New { .. } => "Connection: close\r\n",
        }
    }

    fn pause(self) -> Duration {
        match self {
            Way::Kept(_) => Duration::ZERO,
            Way::New { pause } => pause,
        }
    }
}
