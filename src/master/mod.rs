//! The master: the one process that accepts, lends, takes back and supervises.
//!
//! One thread, one loop, no byte of HTTP. A turn takes facts (events, frames, rings, load reports,
//! the clock), hands them to the two machines that decide ([`Dispatcher`], [`Supervisor`]), and
//! carries out what they ask for. A connection's way through the files: `acceptor` → `taking_in` →
//! `connections` → (`parked`) → `lending` → the worker; back by `returning` (ended, given, recalled),
//! `watching` (readable while its worker is stuck) or `settling` (its worker died).
//!
//! Not here: decisions (`dispatch`, `supervise`, `stopping`), HTTP (`worker`).

mod acceptor;
mod admin;
mod connections;
pub(crate) mod env_file;
mod fleet;
mod hearing;
mod isolating;
mod lending;
mod lifecycle;
mod lingering;
mod looking;
mod metering;
mod naming;
mod parked;
mod pid_file;
mod private_queues;
mod publishing;
mod recycling;
mod rereading;
mod reserve;
mod returning;
mod roster;
mod scaling;
mod service;
mod settling;
mod shedding;
mod starting;
mod stopping;
mod taking_in;
mod tokens;
pub mod upgrade;
mod watching;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Poll};
use signal_hook_mio::v1_0::Signals;
use tracing::{debug, info};

use crate::account::{Account, Counters, Here, Outcome, Phase};
use crate::board::LetGo;
use crate::config::{
    BELL_ROUNDS_MAX, DEBTS_PAUSE, ENDED_MAX, EVENTS_PER_TURN_MAX, OWN_LOOK, Settings,
};
use crate::dispatch::Dispatcher;
use crate::exit::{Exit, RunError};
use crate::ident::ConnectionId;
use crate::master::acceptor::{Acceptor, Stopped};
use crate::master::admin::Admin;
use crate::master::connections::{Connection, Connections, Place};
use crate::master::fleet::NodeWatch;
use crate::master::lingering::{LastAnswer, Linger, Lingering};
use crate::master::parked::Parked;
use crate::master::pid_file::PidFile;
use crate::master::publishing::Publisher;
use crate::master::reserve::Reserve;
use crate::master::roster::Roster;
use crate::master::service::Service;
use crate::master::shedding::ShedLog;
use crate::master::stopping::{Step, Stopping};
use crate::master::tokens::Source;
use crate::master::upgrade::Upgrade;
use crate::supervise::Supervisor;
use crate::supervise::flood::Noise;
use crate::supervise::hang::HangJudge;
use crate::supervise::recycling::Recycling;
use crate::supervise::scaling::Scaling;
use crate::sys::alarm::Alarm;
use crate::sys::launch::LaunchCommand;
use crate::sys::shm::SharedMemory;
use crate::sys::upgrade::StateFile;
use crate::sys::{clock, limits, stream};
use crate::time::Nanos;

/// Serves until it is told to end.
///
/// # Errors
/// An address cannot be listened on, the kernel is too old, or no worker starts.
///
/// `left` is what another image of this process has left; signals may be blocked, and are not any
/// more once they are caught.
pub fn run(
    settings: Settings,
    launch: LaunchCommand,
    left: Option<StateFile>,
    hooks: Hooks,
) -> Result<Exit, RunError> {
    starting::check_kernel()?;
    let descriptors = limits::raise_descriptor_limit().map_err(system("raising RLIMIT_NOFILE"))?;
    debug!(descriptors, "limit on open descriptors");
    let left = left.map(|mut file| upgrade::read(&mut file)).transpose()?;
    Master::new(settings, launch, descriptors, left, hooks)?.run()
}

/// What a master asks of whoever has started it.
pub struct Hooks {
    /// Called before this image is replaced.
    pub flush_log: Box<dyn Fn()>,
    /// The settings as they would be now, or everything that is wrong with them, a line each.
    pub settings_again: Box<dyn Fn() -> Result<Settings, String>>,
    /// Sets what is worth a line of the log; or says why it stays as it is.
    pub set_log_level: SetLogLevel,
}

/// Takes a level as `--log-level` does.
pub type SetLogLevel = Box<dyn Fn(&str) -> Result<(), String>>;

struct Master {
    settings: Settings,
    hooks: Hooks,
    upgrade: Upgrade,
    launch: LaunchCommand,
    poll: Poll,
    signals: Signals,
    acceptor: Acceptor,
    connections: Connections,
    parked: Parked,
    lingering: Lingering,
    roster: Roster,
    dispatcher: Dispatcher,
    supervisor: Supervisor,
    hang: Option<(HangJudge, Nanos)>,
    recycling: Option<Recycling>,
    /// The number of workers follows the load.
    scaling: Option<Scaling>,
    /// When the next worker without a page must have taken what it was lent.
    handoff_due: Option<Nanos>,
    service: Service,
    /// Removed at the end.
    _pid_file: Option<PidFile>,
    /// Other processes' orphans become this one's children.
    adopts_orphans: bool,
    stopping: Stopping,
    counters: Counters,
    /// How the whole node stands, if anybody wants to know.
    node: Option<NodeWatch>,
    /// What the workers add up, where somebody reads it.
    meters: Option<Arc<SharedMemory>>,
    /// Where the status is written, if anywhere.
    publisher: Publisher,
    admin: Admin,
    shed_log: ShedLog,
    reserve: Reserve,
    /// When this turn began.
    now: Nanos,
    /// When rings are looked at next although nothing has happened, and after how long then.
    ring_look: (Nanos, Duration),
    /// With `--report-age`: until then the last look at the workers has to do.
    reports_until: Nanos,
    /// The alarm of the dispatcher's next look, and when it rings.
    look: Alarm,
    look_at: Nanos,
    /// Idle loans of stuck workers are still to be registered.
    watches_missing: bool,
    /// A worker was not called that might have been: it had been called too often for nothing.
    uncalled: bool,
    announced: bool,
    /// Kept from turn to turn for its memory alone.
    let_go: Vec<LetGo>,
    /// Over, and not closed yet: whoever can be seated comes first. Empty while the master sleeps.
    ended: Vec<Connection>,
    /// Set once the loop is to end.
    outcome: Option<Result<Exit, RunError>>,
}

impl Master {
    fn run(mut self) -> Result<Exit, RunError> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN_MAX);
        self.supervise();
        loop {
            if let Some(outcome) = self.outcome.take() {
                return self.end(outcome);
            }
            let timeout = self.rest();
            let timeout = self.watch_node(timeout);
            let timeout = self.publish(timeout);
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(system("waiting for events")(cause)),
            }
            self.now = clock::now();
            self.turn(&events);
            if self.upgrade.is_leaving() {
                self.replace_image();
            }
        }
    }

    /// One turn: facts, decisions, deeds.
    fn turn(&mut self, events: &Events) {
        self.dispatcher.handle_time(self.now);
        for event in events {
            match Source::of(event.token()) {
                Some(Source::Signals) => {
                    self.handle_signals();
                }
                Some(Source::Preflight) => self.hear_preflight(),
                Some(Source::Listener(id)) => {
                    let wanted = self.dispatcher.accept_budget(false) > 0;
                    self.acceptor.handle_ready(id, wanted);
                }
                Some(Source::Channel(place)) => self.hear_worker(place),
                Some(Source::Process(place)) => self.hear_process(place),
                Some(Source::Parked(id)) => {
                    let may_be_over = event.is_read_closed() || event.is_error();
                    self.handle_parked_event(id, may_be_over);
                }
                Some(Source::Lingering(id)) => self.handle_lingering_event(id),
                Some(Source::Watched(place)) => self.handle_watched(place),
                // Waking up was their purpose: every turn looks at the board.
                Some(Source::Alarm(place)) => self.hear_noise(place, Noise::Alarm),
                Some(Source::Bell(place)) => self.hear_noise(place, Noise::Bell),
                Some(Source::Look) => {}
                Some(Source::Admin) => self.hear_helper(),
                None => {}
            }
        }
        self.pay_debts();
        self.harvest();
        self.hear_clock();
        self.recycle();
        self.follow_load();
        self.supervise();
        self.look_at_board();
        self.look_at_backlog();
        self.accept();
        self.seat();
        if self.ended.len() >= ENDED_MAX {
            self.ended.clear();
        }
        self.watches_missing = self.watch_more();
        self.tend_admin();
        if cfg!(debug_assertions) {
            self.check_invariants();
        }
    }

    /// How long the loop may wait, now that everything has been decided.
    fn rest(&mut self) -> Option<Duration> {
        if self.outcome.is_some() || self.watches_missing || self.upgrade.is_leaving() {
            return Some(Duration::ZERO);
        }
        let mut rounds = 0;
        while self.raise_bells() {
            if rounds == BELL_ROUNDS_MAX {
                return Some(Duration::ZERO);
            }
            rounds += 1;
            // A worker may have freed up, or given back, just before it could see that it is waited
            // for: look once more before sleeping (the other half of the bell's Dekker pair).
            self.harvest();
            self.look_at_board();
            self.accept();
            self.seat();
        }
        let accepts = self.acceptor.kernel_waits() && self.dispatcher.accept_budget(true) > 0;
        let undone = self.dispatcher.is_undecided() || self.dispatcher.has_rescues();
        if accepts || undone || !self.wind_look() {
            return Some(Duration::ZERO);
        }
        // Nobody can be seated now. Closing the last copy costs as much as half an accept.
        self.ended.clear();
        let shed = self.next_shed();
        let owes = self.roster.iter().any(|(_, member)| member.owes());
        let ring_look = self.roster.iter().any(|(_, member)| member.page.on_loan() > 0);
        let next = [
            self.supervisor.next_deadline(),
            self.parked.next_deadline(),
            self.lingering.next_deadline(),
            self.acceptor.next_deadline(),
            self.stopping.next_deadline(),
            self.upgrade.next_deadline(),
            self.hang.as_ref().map(|(_, at)| *at),
            self.recycling.as_ref().and_then(Recycling::next_deadline),
            self.scaling.as_ref().and_then(Scaling::next_deadline),
            self.service.next_deadline(),
            self.handoff_due,
            shed,
            ring_look.then_some(self.ring_look.0),
            self.next_report(),
            (owes || self.uncalled).then(|| self.now + DEBTS_PAUSE),
            self.next_leaver(),
            self.admin.next_deadline(self.now, self.publisher.may_be_asked_at()),
            self.next_stuck(),
            self.next_refused(),
            self.looks_at_own().then(|| self.now + OWN_LOOK),
        ];
        next.into_iter().flatten().min().map(|at| clock::now().until(at))
    }

    /// Whether somebody counts on what workers say of the connections that they accept themselves:
    /// those wake nobody here.
    fn looks_at_own(&self) -> bool {
        !self.acceptor.lends() && (self.publisher.is_on() || self.recycling.is_some())
    }

    /// A connection without a request may be kept until then at the most, whatever its worker says.
    fn latest_deadline(&self) -> Nanos {
        self.now + self.settings.http.keep_alive.max(self.settings.http.header_timeout)
    }

    fn handle_lingering_event(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(id) else { return };
        if matches!(connection.place(), Place::Lingering { .. })
            && self.lingering.handle_readable(self.poll.registry(), id, connection) == Linger::Over
        {
            self.close_lingered(id);
        }
    }

    /// What is due by now.
    fn hear_clock(&mut self) {
        let now = self.now;
        self.supervisor.handle_time(now);
        self.acceptor.handle_time(now);
        while let Some((deadline, id)) = self.parked.first() {
            if deadline > now {
                break;
            }
            self.unpark_and_close(id, Outcome::SilentTooLong);
        }
        while let Some(id) = self.lingering.pop_due(now) {
            self.close_lingered(id);
        }
        self.hear_leavers();
        self.judge_hangs();
        self.hear_preflight();
        self.service.handle_time(now);
        while let Some(step) = self.stopping.poll(now, self.connections.is_empty()) {
            match step {
                Step::StopHandshakes => self.acceptor.stop_handshakes(),
                Step::CloseListeners => self.close_listeners(),
                Step::DrainWorkers => self.drain_workers(),
            }
        }
    }

    /// Ends a connection in order. Shut down first: a stuck worker may still hold a copy of what
    /// was recalled from it, and a close alone would send no FIN then.
    fn close(&mut self, id: ConnectionId, outcome: Outcome) {
        if let Some(connection) = self.leave(id, outcome) {
            // Its client may have gone already.
            let _ = stream::shutdown_both(connection.descriptor());
        }
    }

    /// As [`Master::close`], for one that has had its last answer.
    fn close_lingered(&mut self, id: ConnectionId) {
        if let Some(Place::Lingering { outcome }) = self.connections.get(id).map(Connection::place)
        {
            self.close(id, outcome);
        }
    }

    /// Answers for a worker, and closes gently.
    fn answer_last(&mut self, id: ConnectionId, answer: LastAnswer) {
        let registry = self.poll.registry();
        let connections = &mut self.connections;
        if self.lingering.begin(registry, connections, id, answer, self.now) == Linger::Over {
            self.close(id, answer.outcome);
        }
    }

    /// The only way out of the table: whoever leaves is counted.
    fn leave(&mut self, id: ConnectionId, outcome: Outcome) -> Option<Connection> {
        let connection = self.connections.remove(id)?;
        self.counters.count(outcome);
        Some(connection)
    }

    /// Where every connection is, or what has become of it.
    fn account(&self) -> Account {
        Account { counters: self.counters.clone(), here: self.connections.here() }
    }

    fn end(mut self, outcome: Result<Exit, RunError>) -> Result<Exit, RunError> {
        self.abandon_upgrade();
        let places: Vec<_> = self.connections.iter().map(|(id, held)| (id, held.place())).collect();
        for (id, place) in places {
            let outcome = match place {
                Place::Lingering { outcome } => outcome,
                Place::Queued | Place::Parked | Place::OnLoan { .. } => Outcome::ServerEnded,
            };
            self.close(id, outcome);
        }
        let account = self.account();
        account.check_invariants();
        self.publish_now(Phase::Stopped);
        let counters = &account.counters;
        info!(
            %account,
            lent = counters.lent,
            recalled = counters.recalled,
            rescued = counters.rescued,
            given = counters.given,
            protocol_errors = counters.protocol_errors,
            outlived = counters.outlived,
            seated = counters.seated(),
            "stopped"
        );
        outcome
    }

    /// The two machines, the books of every page, and the conservation of connections: as many are
    /// at each place as whoever keeps them there says.
    fn check_invariants(&self) {
        self.dispatcher.check_invariants();
        self.supervisor.check_invariants();
        let (mut on_loan, mut in_outboxes) = (0, 0);
        for (_, member) in self.roster.iter() {
            member.page.check_invariants();
            on_loan += u64::from(member.page.on_loan());
            in_outboxes += member.outbox.len();
        }
        self.connections.check_invariants();
        let kept = Here {
            queued: (self.dispatcher.queued() + in_outboxes) as u64,
            parked: self.parked.len() as u64,
            on_loan,
            lingering: self.lingering.len() as u64,
        };
        assert_eq!(self.connections.here(), kept, "connections are where they are kept");
        self.account().check_invariants();
    }
}

fn system(doing: &str) -> impl FnOnce(io::Error) -> RunError {
    let doing = doing.to_owned();
    move |source| RunError::System { doing, source: source.into() }
}
