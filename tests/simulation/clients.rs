//! Clients, their connections, and what the kernel knows of these; and the faults that workers have.
//!
//! Not here: who serves them (`master`, `worker`).

use maitred::ident::LoanId;
use maitred::time::Nanos;

use crate::simulation::master::{Source, Stage};
use crate::simulation::worker::Change;
use crate::simulation::{Event, MICROSECOND, MILLISECOND, World};

/// What a client does with its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deed {
    /// So many requests in one go; more than one are pipelined.
    Send(u8),
    Close,
}

/// Where the master has a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the kernel's queue.
    Kernel,
    Queued,
    Parked,
    OnLoan(usize, LoanId),
    Gone,
}

/// One connection, as it really is.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) sent: u32,
    /// Of those: read by a worker, and answered.
    pub(crate) taken: u32,
    pub(crate) answered: u32,
    /// The client has closed its end.
    pub(crate) closed: bool,
    /// The server has ended it. It may have lost requests then, if a worker died with them.
    pub(crate) over: bool,
    /// Who reads from it.
    pub(crate) reader: Option<usize>,
    pub(crate) place: Place,
    /// Registered with the watch of the worker that has it.
    pub(crate) watched: bool,
    /// Parked: the master's epoll reports it once more.
    pub(crate) armed: bool,
    /// Registrations with the epoll instances of workers: place and session.
    pub(crate) registrations: Vec<(usize, u64)>,
}

impl Connection {
    /// Requests in the socket.
    pub(crate) fn unread(&self) -> u32 {
        self.sent - self.taken
    }

    /// What epoll calls readable: bytes, or the end.
    pub(crate) fn is_readable(&self) -> bool {
        self.unread() > 0 || self.closed
    }
}

impl World {
    /// Something happens that nobody could know before.
    pub(crate) fn anything(&mut self) {
        match self.random.u8(..100) {
            0..=14 => self.connect(),
            15..=69 => self.send_somewhere(),
            70..=75 => self.close_somewhere(),
            76..=81 => self.hold_a_worker(),
            82..=83 => self.kill_a_worker(),
            84..=85 => self.replace_a_worker(),
            86 => {
                self.master.is_leaving = true;
                self.report(Source::Signals);
            }
            _ => {}
        }
    }

    pub(crate) fn client_does(&mut self, number: usize, deed: Deed) {
        let connection = &mut self.connections[number];
        if connection.over || connection.closed || self.is_over {
            return;
        }
        match deed {
            Deed::Send(count) => connection.sent += u32::from(count),
            Deed::Close if connection.sent == connection.answered => connection.closed = true,
            // It waits for an answer first.
            Deed::Close => return,
        }
        self.tell(|| format!("client {number}: {deed:?}"));
        self.becomes_readable(number);
    }

    /// An answer arrives.
    pub(crate) fn client_hears(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        connection.answered += 1;
        assert!(connection.answered <= connection.taken, "{number}: answered and never read");
        // Some clients ask for the next thing at once, perhaps before their worker has gone on.
        if connection.sent == connection.answered && self.random.u8(..2) == 0 {
            let pause = match self.random.u8(..3) {
                0 => 0,
                1 => self.random.u64(..10 * MICROSECOND),
                _ => self.random.u64(..3 * MILLISECOND),
            };
            let requests = self.some_requests();
            self.after(pause, Event::Client(number, Deed::Send(requests)));
        }
    }

    /// The kernel tells whoever waits for it.
    pub(crate) fn becomes_readable(&mut self, number: usize) {
        for (place, key) in self.connections[number].registrations.clone() {
            self.workers[place].edges.insert(key);
            self.wake_worker(place);
        }
        let connection = &mut self.connections[number];
        match connection.place {
            Place::Parked if std::mem::take(&mut connection.armed) => {
                self.report(Source::Parked(number));
            }
            Place::OnLoan(place, _) if connection.watched => {
                if self.members[place].idle.is_watching {
                    self.report(Source::Watched(place));
                }
            }
            Place::Kernel | Place::Queued | Place::Parked | Place::OnLoan(..) | Place::Gone => {}
        }
    }

    fn some_requests(&mut self) -> u8 {
        if self.random.u8(..8) == 0 { 2 } else { 1 }
    }

    fn connect(&mut self) {
        let number = self.connections.len();
        let speaks = self.random.u8(..10) > 0;
        self.connections.push(Connection {
            sent: u32::from(speaks),
            taken: 0,
            answered: 0,
            closed: false,
            over: false,
            reader: None,
            place: Place::Kernel,
            watched: false,
            armed: false,
            registrations: Vec::new(),
        });
        self.tell(|| format!("client {number} connects"));
        self.master.listener.queue.push_back(number);
        if self.master.listener.watched {
            self.report(Source::Listener);
        }
    }

    /// Half of the time on a connection whose worker is busy.
    fn send_somewhere(&mut self) {
        let busy = |world: &World, number: &usize| match world.connections[*number].place {
            Place::OnLoan(place, _) => world.is_busy(place),
            Place::Kernel | Place::Queued | Place::Parked | Place::Gone => false,
        };
        // A few do not wait for the answer before.
        let open = if self.random.u8(..8) == 0 { self.open_clients() } else { self.idle_clients() };
        let at_busy: Vec<usize> = open.iter().copied().filter(|one| busy(self, one)).collect();
        let among = if self.random.bool() && !at_busy.is_empty() { at_busy } else { open };
        if !among.is_empty() {
            let number = among[self.random.usize(..among.len())];
            let requests = self.some_requests();
            self.client_does(number, Deed::Send(requests));
        }
    }

    fn close_somewhere(&mut self) {
        let among = self.idle_clients();
        if !among.is_empty() {
            let number = among[self.random.usize(..among.len())];
            self.client_does(number, Deed::Close);
        }
    }

    fn open_clients(&self) -> Vec<usize> {
        let is_closed = |one: &Connection| one.over || one.closed;
        (0..self.connections.len()).filter(|one| !is_closed(&self.connections[*one])).collect()
    }

    fn idle_clients(&self) -> Vec<usize> {
        let waits = |one: &Connection| one.over || one.closed || one.sent > one.answered;
        (0..self.connections.len()).filter(|one| !waits(&self.connections[*one])).collect()
    }

    /// It is stopped by a signal, of which the master hears; or it does not run for a while, of which
    /// nobody hears (a neighbour has the processor).
    fn hold_a_worker(&mut self) {
        let Some(place) = self.some_worker() else { return };
        if self.workers[place].held {
            return;
        }
        let is_stopped = self.random.u8(..3) == 0;
        let (shorter, longer) = (self.random.u64(..3 * MILLISECOND), 40 * MILLISECOND);
        let pause = if self.random.u8(..4) == 0 { self.random.u64(..longer) } else { shorter };
        self.tell(|| format!("worker {place} is held for {pause} ns, by a signal: {is_stopped}"));
        self.workers[place].held = true;
        self.after(pause, Event::GoesOn(place));
        if is_stopped {
            self.change(place, Change::Stopped);
        }
    }

    pub(crate) fn go_on(&mut self, place: usize) {
        let worker = &mut self.workers[place];
        if !std::mem::take(&mut worker.held) || worker.is_dead {
            return;
        }
        for event in std::mem::take(&mut worker.held_events) {
            self.after(0, event);
        }
        self.tell(|| format!("worker {place} goes on"));
        if self.members[place].is_stopped {
            self.change(place, Change::Continued);
        }
    }

    fn change(&mut self, place: usize, change: Change) {
        self.members[place].is_stopped = change == Change::Stopped;
        self.members[place].changes.push_back(change);
        self.report(Source::Signals);
    }

    fn kill_a_worker(&mut self) {
        if let Some(place) = self.some_worker() {
            self.tell(|| format!("worker {place} is killed"));
            self.worker_dies(place);
        }
    }

    /// Another one is started in its slot; this one is drained when that is ready.
    fn replace_a_worker(&mut self) {
        let Some(place) = self.some_worker() else { return };
        let slot = self.members[place].slot;
        let starts = |one: &&crate::simulation::master::Member| {
            one.slot == slot && one.stage == Stage::Starting
        };
        if self.members[place].stage == Stage::Serving
            && self.members.iter().filter(starts).count() == 0
        {
            self.tell(|| format!("worker {place} is replaced"));
            self.start_worker(slot.0);
        }
    }

    fn some_worker(&mut self) -> Option<usize> {
        let alive = |place: &usize| {
            !self.workers[*place].is_dead && self.members[*place].stage != Stage::Starting
        };
        let alive: Vec<usize> = (0..self.workers.len()).filter(alive).collect();
        (!alive.is_empty()).then(|| alive[self.random.usize(..alive.len())])
    }

    fn is_busy(&self, place: usize) -> bool {
        let report = self.members[place].page.report();
        report.turn_entered != Nanos(0) || report.all_busy_since != Nanos(0)
    }
}
