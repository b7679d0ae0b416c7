//! The master's loop: what wakes it, and what it does in which order until it sleeps.
//!
//! Follows `src/master` (`mod`: the turn and the rest after it, `lifecycle`, `parked`, `settling`).
//! There is one listener, descriptors never run out, nothing has a deadline, and the supervisor is
//! the simulation: it replaces what dies at once, and drains what has been replaced.
//!
//! Not here: lending, recalls, rescues, bells (`lending`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use maitred::board::{Call, LetGo, LetGoHow, MasterPage, page_bytes};
use maitred::config::{
    ACCEPTS_PER_TURN_MAX, BELL_ROUNDS_MAX, DEBTS_PAUSE, RING_ENTRIES_PER_TURN_MAX, RING_LOOK_MAX,
    RING_LOOK_MIN, Rebalance,
};
use maitred::dispatch::Shape;
use maitred::ident::{ConnectionId, LoanId, Slot};
use maitred::loan::Settlement;
use maitred::time::Nanos;

use crate::simulation::clients::Place;
use crate::simulation::worker::{Change, Memory, Worker};
use crate::simulation::{Event, MICROSECOND, MILLISECOND, STALL, World};

pub(crate) const LOANS_MAX: u32 = 64;

/// More turns in a row without a sleep than any work needs.
const TURNS_AWAKE_MAX: u32 = 300;

/// What an event of the master's epoll is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Signals,
    Listener,
    Channel(usize),
    Process(usize),
    Parked(usize),
    Watched(usize),
    Alarm(usize),
    Look,
}

#[derive(Clone, Debug)]
pub(crate) enum Frame {
    Lend(Vec<(LoanId, usize)>),
    Recall(Vec<LoanId>),
    Drain,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum ToMaster {
    Ready,
    Bell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Starting,
    Serving,
    Leaving,
    Gone,
}

/// How long the loop may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    NotAtAll,
    Until(Nanos),
    ForEver,
}

pub(crate) struct Listener {
    pub(crate) queue: VecDeque<usize>,
    pub(crate) ready: bool,
    pub(crate) watched: bool,
}

/// The idle loans of one worker, as far as they have been registered.
#[derive(Default)]
pub(crate) struct IdleWatch {
    pub(crate) ready: VecDeque<(LoanId, usize)>,
    pub(crate) unregistered: Vec<LoanId>,
    pub(crate) is_watching: bool,
}

pub(crate) struct Member {
    pub(crate) slot: Slot,
    pub(crate) memory: Memory,
    pub(crate) page: MasterPage<Memory>,
    pub(crate) stage: Stage,
    pub(crate) threads: u16,
    pub(crate) unclaimed: VecDeque<(LoanId, Nanos)>,
    pub(crate) claimed_at: Nanos,
    pub(crate) outbox: Vec<usize>,
    pub(crate) recalls_owed: VecDeque<LoanId>,
    pub(crate) frames_owed: VecDeque<Frame>,
    pub(crate) stopped_at: Option<Nanos>,
    pub(crate) bell: Call,
    pub(crate) idle: IdleWatch,
    /// When the worker's alarm rings.
    pub(crate) alarm: Option<Nanos>,
    pub(crate) changes: VecDeque<Change>,
    /// As it really is; `stopped_at` is what the master has heard.
    pub(crate) is_stopped: bool,
    pub(crate) to_worker: VecDeque<Frame>,
    pub(crate) to_master: VecDeque<ToMaster>,
}

pub(crate) struct Master {
    pub(crate) now: Nanos,
    pub(crate) listener: Listener,
    /// What epoll has to report.
    pub(crate) events: Vec<Source>,
    pub(crate) is_asleep: bool,
    /// It is asleep, and will run on in a moment.
    pub(crate) is_woken: bool,
    sleep: u64,
    ring_look: (Nanos, Duration),
    /// The timer of the next look, as the kernel has it, and as the master remembers it.
    pub(crate) look_wound: Option<Nanos>,
    look_at: Nanos,
    watches_missing: bool,
    /// Another image of it is to go on after this turn.
    pub(crate) is_leaving: bool,
    /// To be drained, as soon as this turn comes to it.
    drains: Vec<usize>,
    /// How often it was woken, by events and by its timeout.
    pub(crate) woken: u64,
    pub(crate) timed_out: u64,
}

impl Master {
    pub(crate) fn new(now: Nanos) -> Self {
        let listener = Listener { queue: VecDeque::new(), ready: false, watched: false };
        Master {
            now,
            listener,
            events: Vec::new(),
            is_asleep: false,
            is_woken: false,
            sleep: 0,
            ring_look: (now, RING_LOOK_MAX),
            look_wound: None,
            look_at: Nanos(0),
            watches_missing: false,
            is_leaving: false,
            drains: Vec::new(),
            woken: 0,
            timed_out: 0,
        }
    }

    /// The timer of the next look is gone, and so is what was remembered of it.
    pub(crate) fn forget_look(&mut self) {
        (self.look_wound, self.look_at, self.watches_missing) = (None, Nanos(0), false);
    }
}

impl World {
    pub(crate) fn begin_master(&mut self) {
        self.work_until_rest();
    }

    pub(crate) fn start_worker(&mut self, slot: u16) {
        let memory: Vec<_> = (0..page_bytes(LOANS_MAX) / 8).map(|_| AtomicU64::new(0)).collect();
        let memory = Arc::new(memory);
        let page = MasterPage::new(Arc::clone(&memory), LOANS_MAX).expect("long enough");
        let threads = self.plan.threads[usize::from(slot)];
        let place = self.members.len();
        self.workers.push(Worker::new(Arc::clone(&memory), threads));
        self.members.push(Member {
            slot: Slot(slot),
            memory,
            page,
            stage: Stage::Starting,
            threads,
            unclaimed: VecDeque::new(),
            claimed_at: Nanos(0),
            outbox: Vec::new(),
            recalls_owed: VecDeque::new(),
            frames_owed: VecDeque::new(),
            stopped_at: None,
            bell: Call::NOTHING,
            idle: IdleWatch::default(),
            alarm: None,
            changes: VecDeque::new(),
            is_stopped: false,
            to_worker: VecDeque::new(),
            to_master: VecDeque::new(),
        });
        let boot = self.random.u64(..2 * MILLISECOND);
        self.after(boot, Event::Starts(place));
    }

    pub(crate) fn send_to_master(&mut self, place: usize, frame: ToMaster) {
        self.members[place].to_master.push_back(frame);
        self.report(Source::Channel(place));
    }

    /// Something is ready: whoever waits in the master's epoll is woken.
    pub(crate) fn report(&mut self, source: Source) {
        if !self.master.events.contains(&source) {
            self.master.events.push(source);
        }
        if self.master.is_asleep && !std::mem::replace(&mut self.master.is_woken, true) {
            let latency = self.random.u64(..15 * MICROSECOND);
            self.after(latency, Event::Master);
        }
    }

    pub(crate) fn master_is_woken(&mut self) {
        if !std::mem::take(&mut self.master.is_woken) || !self.master.is_asleep {
            return;
        }
        let events = self.take_events();
        if !events.is_empty() {
            self.master.woken += 1;
            self.run_master(&events);
        }
    }

    pub(crate) fn master_times_out(&mut self, sleep: u64) {
        if self.master.is_asleep && self.master.sleep == sleep {
            self.master.timed_out += 1;
            let events = self.take_events();
            self.run_master(&events);
        }
    }

    fn run_master(&mut self, events: &[Source]) {
        self.master.is_asleep = false;
        self.master.is_woken = false;
        self.master.now = self.clock;
        self.turn(events);
        self.work_until_rest();
    }

    fn work_until_rest(&mut self) {
        for _ in 0..TURNS_AWAKE_MAX {
            // A drain that a turn has left for the next one is carried out before.
            if self.master.is_leaving && self.master.drains.is_empty() {
                self.master.is_leaving = false;
                self.upgrade();
            }
            match self.rest() {
                Rest::NotAtAll => {
                    self.meanwhile();
                    let events = self.take_events();
                    self.master.now = self.clock;
                    self.turn(&events);
                }
                rest => return self.sleep(rest),
            }
        }
        panic!("the master turns and turns: {:?}", self.dispatcher.next_look());
    }

    fn sleep(&mut self, rest: Rest) {
        self.master.is_asleep = true;
        self.master.sleep += 1;
        if let Rest::Until(at) = rest {
            self.at(at.max(self.clock), Event::Timeout(self.master.sleep));
        }
        if !self.master.events.is_empty() {
            self.master.is_woken = true;
            self.after(0, Event::Master);
        }
    }

    /// What epoll returns. A set of idle loans is only reported while one of them is readable.
    fn take_events(&mut self) -> Vec<Source> {
        let mut events = std::mem::take(&mut self.master.events);
        events.retain(|source| match source {
            Source::Watched(place) => {
                let watch = &self.members[*place].idle;
                watch.is_watching
                    && watch.ready.iter().any(|(_, one)| self.connections[*one].is_readable())
            }
            _ => true,
        });
        self.random.shuffle(&mut events);
        events
    }

    fn turn(&mut self, events: &[Source]) {
        self.tell(|| format!("master: {events:?}"));
        self.dispatcher.handle_time(self.master.now);
        for source in events {
            self.meanwhile();
            match *source {
                Source::Signals => {
                    for place in 0..self.members.len() {
                        self.hear_process(place);
                    }
                }
                Source::Listener => {
                    let wanted = self.dispatcher.accept_budget(false) > 0;
                    let listener = &mut self.master.listener;
                    let in_vain = listener.ready && !wanted;
                    listener.ready = true;
                    if in_vain {
                        listener.watched = false;
                    }
                }
                Source::Channel(place) => self.hear_worker(place),
                Source::Process(place) => self.hear_process(place),
                Source::Parked(number) => self.handle_parked(number),
                Source::Watched(place) => {
                    if self.members[place].stage == Stage::Serving {
                        self.dispatcher.handle_idle_readable(self.members[place].slot);
                    }
                }
                Source::Alarm(_) | Source::Look => {}
            }
        }
        for place in 0..self.members.len() {
            if self.members[place].stage != Stage::Gone && !self.workers[place].is_dead {
                self.pay_debts(place);
            }
        }
        self.harvest();
        for place in std::mem::take(&mut self.master.drains) {
            if self.members[place].stage != Stage::Gone {
                self.stop_lending_to(place);
                self.drain(place);
            }
        }
        self.look_at_board();
        self.accept();
        self.seat();
        self.master.watches_missing = self.watch_more();
        self.check_books();
    }

    fn rest(&mut self) -> Rest {
        if self.master.watches_missing {
            return Rest::NotAtAll;
        }
        let mut rounds = 0;
        while self.raise_bells() {
            if rounds == BELL_ROUNDS_MAX {
                return Rest::NotAtAll;
            }
            rounds += 1;
            self.harvest();
            self.look_at_board();
            self.accept();
            self.seat();
        }
        let accepts = self.master.listener.ready && self.dispatcher.accept_budget(true) > 0;
        let undone = self.dispatcher.is_undecided() || self.dispatcher.has_rescues();
        if accepts || undone || !self.wind_look() {
            return Rest::NotAtAll;
        }
        let owes = |one: &Member| !one.frames_owed.is_empty() || !one.recalls_owed.is_empty();
        if self.members.iter().any(|one| one.stage != Stage::Gone && owes(one)) {
            return Rest::Until(self.master.now + DEBTS_PAUSE);
        }
        let holds = |one: &Member| one.stage != Stage::Gone && one.page.on_loan() > 0;
        if self.members.iter().any(holds) {
            Rest::Until(self.master.ring_look.0)
        } else {
            Rest::ForEver
        }
    }

    fn wind_look(&mut self) -> bool {
        let Some(at) = self.dispatcher.next_look() else { return true };
        if at <= self.clock {
            return false;
        }
        if at < self.master.look_at || self.master.look_at <= self.master.now {
            self.master.look_at = at;
            self.master.look_wound = Some(at);
            self.master.events.retain(|source| *source != Source::Look);
            self.at(at, Event::Look(at));
        }
        true
    }

    fn accept(&mut self) {
        if !self.members.iter().any(|one| one.stage == Stage::Serving) {
            return;
        }
        let budget = self.dispatcher.accept_budget(self.master.listener.ready);
        if budget == 0 {
            return;
        }
        if !std::mem::replace(&mut self.master.listener.watched, true)
            && !self.master.listener.queue.is_empty()
        {
            self.report(Source::Listener);
        }
        let mut silent = Vec::new();
        for _ in 0..budget.min(ACCEPTS_PER_TURN_MAX) {
            self.meanwhile();
            if !self.master.listener.ready {
                break;
            }
            let Some(number) = self.master.listener.queue.pop_front() else {
                self.master.listener.ready = false;
                break;
            };
            self.connections[number].place = Place::Queued;
            if self.connections[number].unread() > 0 {
                let since = self.master.now;
                self.dispatcher.handle_accepted(ConnectionId(number as u32), 0, since);
            } else {
                silent.push(number);
            }
        }
        for number in silent {
            self.park(number);
        }
    }

    pub(crate) fn park(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        connection.place = Place::Parked;
        connection.armed = !connection.is_readable();
        if !connection.armed {
            self.report(Source::Parked(number));
        }
    }

    fn handle_parked(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        if connection.place != Place::Parked {
            return;
        }
        connection.place = Place::Queued;
        if connection.unread() > 0 {
            self.dispatcher.handle_readable(ConnectionId(number as u32), 0);
        } else {
            self.close(number);
        }
    }

    pub(crate) fn close(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        connection.place = Place::Gone;
        connection.over = true;
    }

    fn harvest(&mut self) {
        let mut any = false;
        for place in 0..self.members.len() {
            self.meanwhile();
            if self.members[place].stage != Stage::Gone {
                any |= self.harvest_one(place);
            }
        }
        if any {
            self.look_again_soon();
        } else if self.master.now >= self.master.ring_look.0 {
            let pause = (self.master.ring_look.1 * 2).min(RING_LOOK_MAX);
            self.master.ring_look = (self.master.now + pause, pause);
        }
    }

    fn harvest_one(&mut self, place: usize) -> bool {
        let page = &mut self.members[place].page;
        let mut let_go = Vec::new();
        if page.ring_waits() {
            page.drain_ring(RING_ENTRIES_PER_TURN_MAX, &mut let_go).expect("an honest worker");
        }
        for one in &let_go {
            self.handle_let_go(place, one);
        }
        !let_go.is_empty()
    }

    fn handle_let_go(&mut self, place: usize, let_go: &LetGo) {
        let number = let_go.connection.0 as usize;
        if let_go.how != LetGoHow::Recalled {
            self.forget_watch(place, number);
        }
        match let_go.how {
            LetGoHow::Ended => {
                assert!(self.connections[number].over, "{number} ended, and was not shut down");
                self.connections[number].place = Place::Gone;
            }
            LetGoHow::Given(_) => self.park(number),
            LetGoHow::Recalled => {}
        }
    }

    pub(crate) fn look_again_soon(&mut self) {
        self.master.ring_look = (self.master.now + RING_LOOK_MIN, RING_LOOK_MIN);
    }

    fn hear_worker(&mut self, place: usize) {
        if self.members[place].stage == Stage::Gone {
            // Settled by an event before this one: the real roster does not know it any more.
            return;
        }
        while let Some(frame) = self.members[place].to_master.pop_front() {
            match frame {
                ToMaster::Bell => self.members[place].bell = Call::NOTHING,
                ToMaster::Ready => self.start_lending_to(place),
            }
        }
        if self.workers[place].is_dead {
            self.stop_lending_to(place);
        }
    }

    fn hear_process(&mut self, place: usize) {
        while let Some(change) = self.members[place].changes.pop_front() {
            match change {
                Change::Stopped => self.members[place].stopped_at = Some(self.master.now),
                Change::Continued => self.members[place].stopped_at = None,
                Change::Ended => return self.settle(place),
            }
        }
    }

    pub(crate) fn start_lending_to(&mut self, place: usize) {
        let slot = self.members[place].slot;
        let before = self.serving(slot);
        self.members[place].stage = Stage::Serving;
        if let Some(before) = before {
            self.members[before].stage = Stage::Leaving;
            self.members[before].idle.is_watching = false;
            self.master.drains.push(before);
        }
        let threads = self.members[place].threads;
        let shape = Shape { threads, credit: 0, recallable: true };
        self.dispatcher.handle_worker_ready(slot, shape);
        self.want_alarms();
    }

    fn stop_lending_to(&mut self, place: usize) {
        let served = self.members[place].stage == Stage::Serving;
        self.members[place].stage = Stage::Leaving;
        if served {
            self.members[place].idle.is_watching = false;
            self.dispatcher.handle_worker_gone(self.members[place].slot);
            self.want_alarms();
        }
    }

    fn want_alarms(&mut self) {
        let serving = |one: &&Member| one.stage == Stage::Serving;
        let could_help = self.members.iter().filter(serving).count() > 1;
        let wanted = (self.plan.mode == Rebalance::Auto && could_help).then_some(STALL);
        for member in self.members.iter().filter(serving) {
            member.page.want_alarm(wanted);
        }
    }

    fn drain(&mut self, place: usize) {
        let loans: Vec<LoanId> = self.members[place]
            .page
            .loans()
            .filter(|(loan, ..)| self.members[place].page.connection(*loan).is_some())
            .map(|(loan, ..)| loan)
            .collect();
        for loan in loans {
            self.meanwhile();
            if let Some(number) = self.take_back(place, loan) {
                self.place_returned(number);
            }
        }
        self.members[place].unclaimed.clear();
        self.members[place].frames_owed.push_back(Frame::Drain);
        self.pay_debts(place);
    }

    fn place_returned(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        connection.place = Place::Queued;
        if connection.unread() > 0 {
            self.dispatcher.handle_readable(ConnectionId(number as u32), 0);
        } else {
            self.park(number);
        }
    }

    /// A worker's process has ended.
    fn settle(&mut self, place: usize) {
        self.hear_worker(place);
        self.harvest_one(place);
        self.stop_lending_to(place);
        let slot = self.members[place].slot;
        self.members[place].stage = Stage::Gone;
        for one in self.members[place].page.settle_all() {
            let number = one.connection.0 as usize;
            let connection = &mut self.connections[number];
            match one.settlement {
                Settlement::Elsewhere => {}
                Settlement::SeatAgain | Settlement::Idle => {
                    assert_eq!(connection.taken, connection.answered, "{number}: read twice");
                    assert!(!connection.over, "{number} is over, and is seated again");
                    connection.watched = false;
                    self.place_returned(number);
                }
                Settlement::BadGateway | Settlement::Reset(_) => self.close(number),
                Settlement::Close => {
                    assert!(connection.over, "{number} is closed, and was not shut down");
                    connection.place = Place::Gone;
                }
            }
        }
        for number in std::mem::take(&mut self.members[place].outbox) {
            self.place_returned(number);
        }
        self.members[place].idle = IdleWatch::default();
        let replaced = |one: &&Member| {
            one.slot == slot && matches!(one.stage, Stage::Starting | Stage::Serving)
        };
        if self.members.iter().filter(replaced).count() == 0 {
            self.start_worker(slot.0);
        }
    }

    pub(crate) fn serving(&self, slot: Slot) -> Option<usize> {
        self.members.iter().position(|one| one.slot == slot && one.stage == Stage::Serving)
    }
}
