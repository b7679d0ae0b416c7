//! The life of slots: which worker process is started, replaced, drained or ended, and when.
//!
//! Pure: no process, no clock. The master says what has happened and carries out what is asked; the
//! simulator does the same.
//!
//! ```text
//!              spawned                 Ready                    replaced, scaled down, recycled
//!   (wanted) ─────────→ Starting ─────────────→ Serving ───────────────────────────→ Draining
//!      ▲                   │ boot timeout           │ hung, misbehaved                   │ too long
//!      │                   ▼                        ▼                                    ▼
//!      │                 Ending ←───────────────────┴──────────────────────────────── Ending
//!      │                   │
//!      └── after a pause ──┴── exited: gone
//! ```
//!
//! A slot that is wanted always has exactly one of: an incarnation that is Starting or Serving, or
//! a time at which the next one is started. While it is replaced it has both kinds: the one that
//! serves, and the one that starts; the old one drains only once the new one is Ready.
//!
//! The order of calls: facts (`handle_*`) and commands, then [`Supervisor::poll_effect`] until it is
//! empty; [`Supervisor::next_deadline`] says when [`Supervisor::handle_time`] is due.
//!
//! Not here: pids, pidfds and signals (`sys::process`), connections (`master`).

mod backoff;
mod breach;
pub mod flood;
pub mod hang;
mod helper;
mod life;
mod reason;
pub mod recycling;
mod reload;
pub mod scaling;
mod state;

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::{Lifecycle, START_FAILURES_MAX, WORKERS_MAX};
use crate::ident::{Generation, Incarnation, Slot};
use crate::supervise::backoff::Backoff;
use crate::supervise::life::{Leave, Life, Place, Stage, Was, due, kill_at, restart};
use crate::supervise::reload::Round;
use crate::time::Nanos;

pub use breach::Breach;
pub use helper::HelperLife;
pub use life::is_late;
pub use reason::{Cause, Exit, Restart, StartFailure};
pub use reload::{Reload, ReloadFailure, ReloadReport};
pub use state::SupervisorState;

/// The exit code by which a worker says that its application does not load (`exit::Exit`): another
/// try would end the same way.
const APPLICATION_DOES_NOT_LOAD: i32 = 4;

/// What a supervisor is told to be.
#[derive(Clone, Copy, Debug)]
pub struct SuperviseSettings {
    /// Slots that are wanted.
    pub workers: u16,
    /// Deadlines.
    pub lifecycle: Lifecycle,
    /// Seed of the jitter between restarts.
    pub seed: u64,
}

/// What the master is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Start a process for this incarnation, and say how that went.
    Spawn(Incarnation),
    /// Lend it nothing more, take back what it has not claimed, tell it to finish and leave.
    Drain(Incarnation),
    /// Lend it nothing more; what it holds has a little time before it is killed.
    Withdraw(Incarnation, Cause),
    /// End it at once.
    Kill(Incarnation, Cause),
    /// Nothing to do but to say so: the master was late for a deadline of this worker, which has
    /// been given the time again.
    GivenAgain(Incarnation),
    /// Nothing to do but to say so: a reload is complete, or has been given up.
    ReloadEnded(ReloadReport),
    /// The server cannot begin.
    Failed(StartFailure),
    /// No child is left, and none is wanted.
    Finished,
}

/// Whether workers are still wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// Those that are here serve on; none that ends is replaced.
    Stopping,
    Finished,
}

/// The machine.
#[derive(Debug)]
pub struct Supervisor {
    settings: SuperviseSettings,
    places: Vec<Place>,
    lives: Vec<Life>,
    generation: u32,
    /// Between which the number of slots stays.
    bounds: (u16, u16),
    phase: Phase,
    round: Round,
    /// Some worker has been Ready since the server began.
    ever_ready: bool,
    rng: fastrand::Rng,
    effects: VecDeque<Effect>,
}

impl Supervisor {
    /// A supervisor that has started nothing.
    pub fn new(settings: SuperviseSettings) -> Self {
        Supervisor {
            settings,
            places: Vec::new(),
            lives: Vec::new(),
            generation: 0,
            bounds: (1, WORKERS_MAX),
            phase: Phase::Running,
            round: Round::default(),
            ever_ready: false,
            rng: fastrand::Rng::with_seed(settings.seed),
            effects: VecDeque::new(),
        }
    }

    /// Starts every slot.
    pub fn start(&mut self, now: Nanos) {
        for number in 0..self.settings.workers {
            self.add_place(Slot(number), now);
        }
    }

    /// Replaces every worker, `reload_parallel` slots at a time. Asked for during a reload, the round
    /// begins anew. False where the server ends.
    pub fn reload(&mut self, now: Nanos) -> bool {
        if self.phase != Phase::Running {
            return false;
        }
        for place in &mut self.places {
            place.reload = true;
        }
        self.round = Round::begin(Generation(self.generation), self.workers());
        self.go_on_reloading(now);
        true
    }

    /// Adds slots, or takes the highest ones out, within the bounds. Returns how many slots are
    /// wanted now.
    pub fn scale(&mut self, by: i32, now: Nanos) -> u16 {
        let (least, most) = self.bounds;
        let wanted = (self.places.len() as i32).saturating_add(by);
        let wanted = wanted.clamp(i32::from(least), i32::from(most)) as usize;
        while self.phase == Phase::Running && self.places.len() < wanted {
            self.add_place(Slot(self.places.len() as u16), now);
        }
        while self.phase == Phase::Running && self.places.len() > wanted {
            let Some(place) = self.places.pop() else { break };
            self.round.report.of -= u16::from(place.reload);
            self.leave_slot(place.slot, now);
        }
        self.places.len() as u16
    }

    /// Between which the number of slots stays from now on, whoever changes it: at least 1, and at
    /// most [`WORKERS_MAX`]. A number that is outside stays until it is changed.
    pub fn set_bounds(&mut self, least: u16, most: u16) {
        let least = least.clamp(1, WORKERS_MAX);
        self.bounds = (least, most.clamp(least, WORKERS_MAX));
    }

    /// Deadlines of whatever begins from now on.
    pub fn set_lifecycle(&mut self, lifecycle: Lifecycle) {
        self.settings.lifecycle = lifecycle;
    }

    /// A worker asks for leave: its replacement is started first.
    pub fn recycle(&mut self, who: Incarnation, now: Nanos) {
        if self.phase == Phase::Running && self.is_serving(who) && !self.is_being_replaced(who.slot)
        {
            self.spawn(who.slot, true, now);
        }
    }

    /// A worker has served for long enough. True if its replacement is started now: not while as many
    /// are being replaced as may be at a time, nor during a reload, which replaces it anyway, nor
    /// soon after a replacement that did not start.
    pub fn recycle_in_turn(&mut self, who: Incarnation, now: Nanos) -> bool {
        let waits =
            self.places.iter().any(|place| place.slot == who.slot && place.recycle_at > now);
        let admitted = self.phase == Phase::Running
            && !self.round.is_running()
            && !waits
            && self.is_serving(who)
            && !self.is_being_replaced(who.slot)
            && self.replacements() < usize::from(self.settings.lifecycle.reload_parallel);
        if admitted {
            self.spawn(who.slot, true, now);
        }
        admitted
    }

    /// The server is going to end: those that serve go on until they are told to drain, and none
    /// that ends is replaced.
    pub fn stop(&mut self) {
        if self.phase == Phase::Running {
            self.phase = Phase::Stopping;
            for place in &mut self.places {
                place.start_at = None;
            }
        }
    }

    /// Drains whatever is left.
    pub fn drain_all(&mut self, now: Nanos) {
        self.stop();
        for who in self.incarnations() {
            self.drain(who, Leave::NotWanted, now);
        }
        self.check_finished();
    }

    /// Ends whatever is left, at once.
    pub fn kill_all(&mut self) {
        self.stop();
        for who in self.incarnations() {
            self.kill(who, Cause::Stop);
        }
        self.check_finished();
    }

    /// The process could not be started.
    pub fn handle_spawn_failed(&mut self, who: Incarnation, now: Nanos) -> Option<Restart> {
        self.handle_exited(who, Exit::NeverStarted, now)
    }

    /// The worker can serve. What served its slot before drains now.
    pub fn handle_ready(&mut self, who: Incarnation, now: Nanos) {
        let Some(life) = self.life_mut(who) else { return };
        if !matches!(life.stage, Stage::Starting { .. }) {
            return;
        }
        life.stage = Stage::Serving { since: now };
        life.given_again = false;
        life.replaces = false;
        self.ever_ready = true;
        let older: Vec<_> = self
            .lives
            .iter()
            .filter(|life| life.who.slot == who.slot && life.who != who)
            .filter(|life| matches!(life.stage, Stage::Serving { .. }))
            .map(|life| life.who)
            .collect();
        let is_new = self.round.includes(who);
        let reloads = self.places.iter().any(|place| place.slot == who.slot && place.reload);
        let why = if is_new && reloads { Leave::Reloaded } else { Leave::Recycled };
        for old in older {
            self.drain(old, why, now);
        }
        let mut replaced = false;
        if let Some(place) = self.place_mut(who.slot) {
            replaced = place.reload && is_new;
            place.reload &= !is_new;
            place.failures = 0;
            place.replacing = Backoff::default();
        } else {
            // Its slot was scaled away while it started.
            self.drain(who, Leave::NotWanted, now);
        }
        self.round.report.replaced += u16::from(replaced);
        self.go_on_reloading(now);
    }

    /// The process has ended and is reaped. Says why another is started in its place, or has been.
    pub fn handle_exited(&mut self, who: Incarnation, how: Exit, now: Nanos) -> Option<Restart> {
        let at = self.lives.iter().position(|life| life.who == who)?;
        let life = self.lives.remove(at);
        let restart = restart(life.stage, how).filter(|_| self.phase == Phase::Running);
        match life.stage {
            Stage::Starting { .. } => self.start_failed(life, how, None, now),
            Stage::Ending { was: Was::Starting, cause } => {
                self.start_failed(life, how, Some(cause), now);
            }
            Stage::Serving { since } => self.restart(who.slot, Some(since), now),
            Stage::Ending { was: Was::Serving, .. } => self.restart(who.slot, None, now),
            Stage::Draining { .. }
            | Stage::Withdrawn { .. }
            | Stage::Ending { was: Was::Leaving, .. } => {}
        }
        self.go_on_reloading(now);
        self.check_finished();
        restart
    }

    /// The worker has produced nothing for `--timeout`: it gets nothing more, what else it holds
    /// has the graceful time, then it is killed.
    pub fn handle_hung(&mut self, who: Incarnation, now: Nanos) {
        let kill_at = now + self.settings.lifecycle.graceful_timeout;
        if let Some(life) = self.life_mut(who)
            && matches!(life.stage, Stage::Serving { .. })
        {
            life.stage = Stage::Withdrawn { kill_at, cause: Cause::Hung };
            life.given_again = false;
            self.effects.push_back(Effect::Withdraw(who, Cause::Hung));
            self.restart(who.slot, None, now);
        }
    }

    /// The worker has broken the protocol: nothing it says can be relied on any more.
    pub fn handle_misbehaved(&mut self, who: Incarnation) {
        self.kill(who, Cause::Misbehaved);
    }

    /// What is due by now. A deadline that is found long overdue says more of this master than of the
    /// worker: it is given again, once.
    pub fn handle_time(&mut self, now: Nanos) {
        let due: Vec<_> = self.lives.iter().filter_map(|life| due(life, now)).collect();
        for (who, at, cause) in due {
            if !is_late(at, now) || !self.give_again(who, now) {
                self.kill(who, cause);
            }
        }
        let starts: Vec<_> = self
            .places
            .iter()
            .filter(|place| place.start_at.is_some_and(|at| at <= now))
            .map(|place| place.slot)
            .collect();
        for slot in starts {
            if let Some(place) = self.place_mut(slot) {
                place.start_at = None;
            }
            self.spawn(slot, false, now);
        }
    }

    /// When [`handle_time`](Supervisor::handle_time) is due.
    pub fn next_deadline(&self) -> Option<Nanos> {
        let lives = self.lives.iter().filter_map(|life| kill_at(life.stage));
        lives.chain(self.places.iter().filter_map(|place| place.start_at)).min()
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Slots that are wanted.
    pub fn workers(&self) -> u16 {
        self.places.len() as u16
    }

    /// The least and the most slots that there may be.
    pub fn bounds(&self) -> (u16, u16) {
        self.bounds
    }

    /// Workers that serve.
    pub fn serving(&self) -> usize {
        self.lives.iter().filter(|life| matches!(life.stage, Stage::Serving { .. })).count()
    }

    /// Whether this incarnation serves: only then is it judged by the serving deadlines.
    pub fn is_serving(&self, who: Incarnation) -> bool {
        let serves = |life: &&Life| life.who == who && matches!(life.stage, Stage::Serving { .. });
        self.lives.iter().any(|life| serves(&life))
    }

    /// How the last reload stands.
    pub fn reload_state(&self) -> Reload {
        self.round.report.state
    }

    /// The same in numbers.
    pub fn reload_report(&self) -> ReloadReport {
        self.round.report
    }

    /// The generation of the worker that was started last.
    pub fn generation(&self) -> Generation {
        Generation(self.generation)
    }

    /// Panics unless every slot that is wanted has exactly one of: an incarnation on its way to
    /// serve or serving, or a time at which one is started; and at most one that replaces it.
    pub fn check_invariants(&self) {
        if self.phase != Phase::Running {
            return;
        }
        for place in &self.places {
            let here = |replaces: bool| {
                self.lives
                    .iter()
                    .filter(|life| life.who.slot == place.slot && life.replaces == replaces)
                    .filter(|life| {
                        matches!(life.stage, Stage::Starting { .. } | Stage::Serving { .. })
                    })
                    .count()
            };
            let ending = self.lives.iter().any(|life| {
                let comes_back =
                    matches!(life.stage, Stage::Ending { was: Was::Starting | Was::Serving, .. });
                life.who.slot == place.slot && comes_back && !life.replaces
            });
            let count = here(false) + usize::from(place.start_at.is_some());
            assert!(count == 1 || (count == 0 && ending), "slot {} has {count}", place.slot);
            assert!(here(true) <= 1, "slot {} is replaced twice", place.slot);
        }
        assert!(self.places.is_sorted_by_key(|place| place.slot), "slots rise");
        let report = self.round.report;
        let owed = self.places.iter().filter(|place| place.reload).count();
        assert_eq!(owed > 0, report.state == Reload::Running, "{report:?}");
        let sum = usize::from(report.replaced) + owed;
        assert!(sum <= usize::from(report.of), "{report:?}, and {owed} are owed");
    }

    fn add_place(&mut self, slot: Slot, now: Nanos) {
        self.places.push(Place {
            slot,
            backoff: Backoff::default(),
            start_at: None,
            failures: 0,
            reload: false,
            replacing: Backoff::default(),
            recycle_at: Nanos(0),
        });
        self.spawn(slot, false, now);
    }

    fn spawn(&mut self, slot: Slot, replaces: bool, now: Nanos) {
        self.generation += 1;
        let who = Incarnation { slot, generation: Generation(self.generation) };
        let kill_at = now + self.settings.lifecycle.boot_timeout;
        let stage = Stage::Starting { kill_at };
        self.lives.push(Life { who, stage, replaces, given_again: false });
        self.effects.push_back(Effect::Spawn(who));
    }

    fn leave_slot(&mut self, slot: Slot, now: Nanos) {
        let here: Vec<_> =
            self.lives.iter().filter(|life| life.who.slot == slot).map(|life| life.who).collect();
        for who in here {
            self.drain(who, Leave::NotWanted, now);
        }
        self.go_on_reloading(now);
    }

    fn drain(&mut self, who: Incarnation, why: Leave, now: Nanos) {
        let kill_at = now + self.settings.lifecycle.graceful_timeout;
        let Some(life) = self.life_mut(who) else { return };
        match life.stage {
            Stage::Serving { .. } => {
                life.stage = Stage::Draining { kill_at, why };
                life.given_again = false;
                self.effects.push_back(Effect::Drain(who));
            }
            // It has nothing to finish.
            Stage::Starting { .. } => self.kill(who, Cause::Stop),
            Stage::Draining { .. } | Stage::Withdrawn { .. } | Stage::Ending { .. } => {}
        }
    }

    fn kill(&mut self, who: Incarnation, cause: Cause) {
        let Some(life) = self.life_mut(who) else { return };
        let was = match life.stage {
            Stage::Starting { .. } => Was::Starting,
            Stage::Serving { .. } => Was::Serving,
            Stage::Draining { .. } | Stage::Withdrawn { .. } => Was::Leaving,
            Stage::Ending { .. } => return,
        };
        life.stage = Stage::Ending { was, cause };
        self.effects.push_back(Effect::Kill(who, cause));
    }

    /// A worker that served is gone.
    fn restart(&mut self, slot: Slot, served_since: Option<Nanos>, now: Nanos) {
        if self.phase != Phase::Running {
            return;
        }
        if self.is_taken(slot) {
            if !self.serves(slot) {
                // The one that was to replace it is the only one now.
                for life in self.lives.iter_mut().filter(|life| life.who.slot == slot) {
                    if matches!(life.stage, Stage::Starting { .. }) {
                        life.replaces = false;
                    }
                }
            }
            return;
        }
        let served = served_since.map_or(Duration::ZERO, |since| now.since(since));
        let jitter = self.rng.f64();
        let Some(place) = self.place_mut(slot) else { return };
        if place.start_at.is_none() {
            let pause = place.backoff.after_service(served, jitter);
            place.start_at = Some(now + pause);
        }
        self.handle_time(now);
    }

    /// Whether another worker, the first of all, is about to show why none can start: this one
    /// would only repeat it.
    pub fn is_spoken_for(&self, who: Incarnation) -> bool {
        let speaks = |life: &Life| {
            life.who.generation == Generation(1) && matches!(life.stage, Stage::Starting { .. })
        };
        !self.ever_ready && who.generation != Generation(1) && self.lives.iter().any(speaks)
    }

    /// Whether an incarnation serves this slot, or is on its way to.
    fn is_taken(&self, slot: Slot) -> bool {
        self.serves(slot) || self.is_starting(slot)
    }

    /// Gives the deadline of a worker's stage again, unless that has been done before.
    fn give_again(&mut self, who: Incarnation, now: Nanos) -> bool {
        let lifecycle = self.settings.lifecycle;
        let Some(life) = self.life_mut(who) else { return false };
        if life.given_again {
            return false;
        }
        match &mut life.stage {
            Stage::Starting { kill_at } => *kill_at = now + lifecycle.boot_timeout,
            Stage::Draining { kill_at, .. } | Stage::Withdrawn { kill_at, .. } => {
                *kill_at = now + lifecycle.graceful_timeout;
            }
            Stage::Serving { .. } | Stage::Ending { .. } => return false,
        }
        life.given_again = true;
        self.effects.push_back(Effect::GivenAgain(who));
        true
    }

    /// A worker has ended before it was Ready.
    fn start_failed(&mut self, life: Life, how: Exit, cause: Option<Cause>, now: Nanos) {
        if self.phase != Phase::Running {
            return;
        }
        let slot = life.who.slot;
        let owed = self.places.iter().any(|place| place.slot == slot && place.reload);
        if owed && self.round.includes(life.who) {
            self.give_reload_up(ReloadFailure { who: life.who, how, cause });
        }
        if life.replaces && self.serves(slot) {
            // A new worker that does not start must not cost the old one.
            let jitter = self.rng.f64();
            if let Some(place) = self.place_mut(slot) {
                place.recycle_at = now + place.replacing.after_failure(jitter);
            }
            return;
        }
        if self.is_taken(life.who.slot) {
            // What it was to replace has ended while it was being killed, and another has been
            // started for both.
            return;
        }
        let loads = how != Exit::Code(APPLICATION_DOES_NOT_LOAD);
        // The server ends with the worker that says why, and not before it has.
        let is_told = !self.is_spoken_for(life.who);
        let jitter = self.rng.f64();
        let Some(place) = self.place_mut(life.who.slot) else { return };
        place.failures += 1;
        let failures = place.failures;
        if place.start_at.is_none() {
            place.start_at = Some(now + place.backoff.after_failure(jitter));
        }
        if !self.ever_ready {
            if !loads && is_told {
                self.effects.push_back(Effect::Failed(StartFailure::Application));
            } else if loads && failures >= START_FAILURES_MAX {
                self.effects.push_back(Effect::Failed(StartFailure::CrashLoop(how, failures)));
            }
        }
    }

    /// Starts the replacement of the next slots, as far as may be at a time.
    fn go_on_reloading(&mut self, now: Nanos) {
        if !self.round.is_running() || self.phase != Phase::Running {
            return;
        }
        let owed = self.places.iter().filter(|place| place.reload).map(|place| place.slot);
        let owed: Vec<_> = owed.collect();
        if owed.is_empty() {
            self.round.report.state = Reload::Done;
            self.effects.push_back(Effect::ReloadEnded(self.round.report));
        }
        for slot in owed {
            if self.replacements() >= usize::from(self.settings.lifecycle.reload_parallel) {
                return;
            }
            // Where nothing serves, what is started next is new anyway; what is starting already is
            // replaced when it is Ready, if it is older than the round.
            if self.serves(slot) && !self.is_starting(slot) {
                self.spawn(slot, true, now);
            }
        }
    }

    /// A new worker did not become Ready: no further slot is begun, what is under way is ended, and
    /// the old ones stay.
    fn give_reload_up(&mut self, failure: ReloadFailure) {
        self.round.report.state = Reload::Failed;
        self.round.report.failure = Some(failure);
        for place in &mut self.places {
            place.reload = false;
        }
        let of_it: Vec<_> = self
            .lives
            .iter()
            .filter(|life| life.replaces && self.round.includes(life.who))
            .filter(|life| matches!(life.stage, Stage::Starting { .. }))
            .map(|life| life.who)
            .collect();
        for who in of_it {
            self.kill(who, Cause::ReloadFailed);
        }
        self.effects.push_back(Effect::ReloadEnded(self.round.report));
    }

    fn check_finished(&mut self) {
        if self.phase == Phase::Stopping && self.lives.is_empty() {
            self.phase = Phase::Finished;
            self.effects.push_back(Effect::Finished);
        }
    }

    /// How many workers are being started in the places of others that serve.
    fn replacements(&self) -> usize {
        let starts = |life: &&Life| life.replaces && matches!(life.stage, Stage::Starting { .. });
        self.lives.iter().filter(starts).count()
    }

    fn serves(&self, slot: Slot) -> bool {
        let serves = |life: &Life| matches!(life.stage, Stage::Serving { .. });
        self.lives.iter().any(|life| life.who.slot == slot && serves(life))
    }

    fn is_starting(&self, slot: Slot) -> bool {
        let starts = |life: &Life| matches!(life.stage, Stage::Starting { .. });
        self.lives.iter().any(|life| life.who.slot == slot && starts(life))
    }

    fn is_being_replaced(&self, slot: Slot) -> bool {
        self.lives.iter().any(|life| life.who.slot == slot && life.replaces)
    }

    fn incarnations(&self) -> Vec<Incarnation> {
        self.lives.iter().map(|life| life.who).collect()
    }

    fn life_mut(&mut self, who: Incarnation) -> Option<&mut Life> {
        self.lives.iter_mut().find(|life| life.who == who)
    }

    fn place_mut(&mut self, slot: Slot) -> Option<&mut Place> {
        self.places.iter_mut().find(|place| place.slot == slot)
    }
}
