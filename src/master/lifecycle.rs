//! Workers come and go, signals arrive, the server ends: what the supervisor asks for, carried out.
//!
//! Not here: the decisions (`supervise`, `stopping`).

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use signal_hook::consts::signal::{
    SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2,
};
use tracing::{debug, error, info, warn};

use crate::account::{HappenedKind, Outcome, Phase};
use crate::config::{App, Rebalance};
use crate::dispatch::Shape;
use crate::exit::{self, RunError};
use crate::handoff::{DrainMode, ToWorker};
use crate::ident::Incarnation;
use crate::master::Master;
use crate::master::env_file;
use crate::master::looking::busy_since;
use crate::master::naming;
use crate::master::roster::{Member, Stage};
use crate::observe::lossy;
use crate::observe::sink::LogFile;
use crate::supervise::flood::{FloodJudge, Noise};
use crate::supervise::{Breach, Effect, Exit, Reload, ReloadReport, StartFailure};
use crate::sys::inherit::{CONFIG_PATH_VARIABLE, CONFIG_TEXT_VARIABLE};
use crate::sys::notify;
use crate::sys::privileges;
use crate::sys::process::{self, Change, ChildSignal};

/// The signals that the master answers.
pub(super) const SIGNALS: [i32; 9] =
    [SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2];

impl Master {
    /// True if there were some.
    pub(super) fn handle_signals(&mut self) -> bool {
        let pending: Vec<_> = self.signals.pending().collect();
        for signal in &pending {
            let signal = *signal;
            match signal {
                SIGCHLD => self.hear_children(),
                // It has said why, if it was not.
                SIGHUP => drop(self.reload()),
                SIGTTIN => drop(self.scale(1)),
                SIGTTOU => drop(self.scale(-1)),
                SIGTERM => self.stop(self.settings.lifecycle.drain_delay),
                SIGINT => self.stop(Duration::ZERO),
                SIGQUIT => self.stop_fast(),
                SIGUSR1 => self.reopen_logs(),
                SIGUSR2 => self.begin_upgrade(),
                _ => {}
            }
        }
        !pending.is_empty()
    }

    /// Something has happened to a process that a pidfd reports.
    pub(super) fn hear_process(&mut self, place: u32) {
        while let Some(member) = self.roster.get_mut(place) {
            let floods = member.breach == Some(Breach::StopFlood);
            match member.child.poll_change() {
                Ok(Some(Change::Exited(code))) => return self.settle(place, Exit::Code(code)),
                Ok(Some(Change::Killed(signal))) => {
                    return self.settle(place, Exit::Signal(signal));
                }
                // One that is stopped and continued faster than this loop turns would hold it.
                Ok(Some(Change::Stopped | Change::Continued)) if floods => return,
                Ok(Some(Change::Stopped)) => {
                    member.stop_said = member.flood.says_stop(self.now);
                    if member.stop_said {
                        warn!(
                            worker = member.who.slot.0, gen = member.who.generation.0,
                            "worker stopped"
                        );
                    }
                    member.stopped_at = Some(self.now);
                    self.hear_noise(place, Noise::Stop);
                }
                Ok(Some(Change::Continued)) => {
                    if std::mem::take(&mut member.stop_said) {
                        info!(
                            worker = member.who.slot.0, gen = member.who.generation.0,
                            "worker goes on"
                        );
                    }
                    member.stopped_at = None;
                    self.hear_noise(place, Noise::Stop);
                }
                Ok(None) => return,
                Err(cause) => {
                    // Somebody else has reaped it: how it ended will never be known.
                    error!(%cause, "waiting for a worker");
                    return self.settle(place, Exit::NeverStarted);
                }
            }
        }
    }

    /// SIGCHLD also tells of stops, which a pidfd does not.
    fn hear_children(&mut self) {
        for place in self.roster.places() {
            self.hear_process(place);
        }
        self.hear_helpers();
        if self.adopts_orphans {
            let ours = |pid| {
                self.roster.iter().any(|(_, member)| member.child.pid() == pid)
                    || self.upgrade.is_asking(pid)
                    || self.admin.is_child(pid)
            };
            let reaped = process::reap_strangers(ours);
            if reaped > 0 {
                debug!(reaped, "orphans reaped");
            }
        }
    }

    /// Carries out what the supervisor asks for.
    pub(super) fn supervise(&mut self) {
        while let Some(effect) = self.supervisor.poll_effect() {
            match effect {
                Effect::Spawn(who) => self.spawn(who),
                Effect::Drain(who) => {
                    if let Some(place) = self.roster.place_of(who) {
                        info!(worker = who.slot.0, gen = who.generation.0, "worker drains");
                        self.stop_lending_to(place);
                        self.drain(place, DrainMode::HandOver);
                    }
                }
                Effect::Withdraw(who, cause) => {
                    if let Some(place) = self.roster.place_of(who) {
                        warn!(
                            worker = who.slot.0, gen = who.generation.0,
                            %cause, "worker withdrawn"
                        );
                        self.stop_lending_to(place);
                        self.drain(place, DrainMode::HandOver);
                    }
                }
                Effect::Kill(who, cause) => {
                    let Some(place) = self.roster.place_of(who) else { continue };
                    info!(worker = who.slot.0, gen = who.generation.0, %cause, "worker killed");
                    self.isolate(place);
                    if let Some(member) = self.roster.get_mut(place) {
                        member.killed_for = Some(cause);
                        if let Err(cause) = member.child.signal(ChildSignal::KILL) {
                            error!(%cause, "killing a worker");
                        }
                    }
                }
                Effect::GivenAgain(who) => warn!(
                    worker = who.slot.0, gen = who.generation.0,
                    "a deadline was found late, and is given again: this master was stopped"
                ),
                Effect::ReloadEnded(report) => {
                    self.counters.reloads_failed += u64::from(report.state == Reload::Failed);
                    log_reload(&report);
                    let ReloadReport { replaced, of, .. } = report;
                    let how = if report.failure.is_some() { "failed" } else { "done" };
                    let text = format!("{how}: {replaced} of {of} workers replaced");
                    self.happened(HappenedKind::Reload, None, &text);
                    self.log_account();
                    self.service.reloaded();
                }
                Effect::Failed(failure) => {
                    self.outcome.get_or_insert(Err(start_failure(failure)));
                    self.supervisor.kill_all();
                }
                Effect::Finished => {
                    self.outcome.get_or_insert(Ok(exit::Exit::Done));
                }
            }
        }
        self.acceptor.settle_slots(self.supervisor.workers(), self.roster.slots_used());
        self.announce();
        let (serving, wanted) = (self.supervisor.serving(), self.supervisor.workers());
        self.service.workers(serving, wanted, &self.supervisor.reload_report());
    }

    /// This member has said that it can serve.
    pub(super) fn note_ready(&mut self, place: u32, shape: Shape) {
        let Some(member) = self.roster.get_mut(place) else { return };
        member.shape = Some(shape);
        member.ready_at = self.now;
        info!(
            worker = member.who.slot.0, gen = member.who.generation.0, pid = member.child.pid(),
            boot_ms = self.now.since(member.started_at).as_millis() as u64, "worker is ready"
        );
        let worker = (member.who, member.child.pid());
        let text = format!("after {:.3} s", self.now.since(member.started_at).as_secs_f64());
        self.happened(HappenedKind::Ready, Some(worker), &text);
    }

    /// This member serves its slot from now on.
    pub(super) fn start_lending_to(&mut self, place: u32, shape: Shape) {
        let Some(member) = self.roster.get(place) else { return };
        let slot = member.who.slot;
        if let Some(recycling) = &mut self.recycling {
            recycling.handle_ready(member.who, member.ready_at);
        }
        if let Some(before) = self.roster.serve_with(place) {
            self.unwatch(before);
        }
        if self.acceptor.lends() {
            if !self.admin.is_drained(slot) {
                self.dispatcher.handle_worker_ready(slot, shape);
            }
            self.want_alarms();
        }
        if self.stopping.is_stopping() {
            self.tell(place, self.finish_frame());
        }
    }

    /// This member gets nothing more.
    pub(super) fn stop_lending_to(&mut self, place: u32) {
        let Some(slot) = self.roster.get(place).map(|member| member.who.slot) else { return };
        if self.roster.stop_serving(place) {
            self.unwatch(place);
            self.dispatcher.handle_worker_gone(slot);
            self.want_alarms();
        }
    }

    /// Workers wind their alarms while idle loans of one could be served by another.
    pub(super) fn want_alarms(&mut self) {
        let serving = |member: &Member| member.stage == Stage::Serving;
        let could_help = self.roster.iter().filter(|(_, member)| serving(member)).count() > 1;
        let rescues = self.settings.rebalance == Rebalance::Auto;
        let wanted = (rescues && could_help).then_some(self.settings.stall_after);
        for (_, member) in self.roster.iter().filter(|(_, member)| serving(member)) {
            member.page.want_alarm(wanted);
        }
    }

    /// Judges those that have produced nothing for `--timeout`.
    pub(super) fn judge_hangs(&mut self) {
        let Some((judge, next)) = &mut self.hang else { return };
        if self.now < *next {
            return;
        }
        *next = self.now + judge.period();
        let spares_calls = self.settings.lifecycle.timeout_spares_calls;
        let workers: Vec<(Incarnation, _)> = self
            .roster
            .iter()
            .filter(|(_, member)| member.stage == Stage::Serving)
            .map(|(_, member)| (member.who, busy_since(member, spares_calls)))
            .collect();
        let hung = judge.look(&workers, self.now);
        for who in hung {
            let member = self.roster.place_of(who).and_then(|place| self.roster.get(place));
            if let Some(member) = member {
                let running = naming::running_calls(member, self.now);
                let running = running.as_deref().unwrap_or("no handler");
                warn!(worker = who.slot.0, gen = who.generation.0, running, "worker hung");
            }
            self.supervisor.handle_hung(who, self.now);
        }
    }

    /// Nothing listens any more: what the kernel still holds is taken, what is idle ends.
    pub(super) fn close_listeners(&mut self) {
        // Bounded by the backlog: no handshake begins any more.
        while self.acceptor.kernel_waits()
            && self.accept_up_to(usize::MAX) == super::Stopped::Budget
        {}
        self.acceptor.close();
        for id in self.parked.ids() {
            self.unpark_and_close(id, Outcome::IdleAtStop);
        }
        for place in self.roster.places() {
            self.take_back_unclaimed(place, true);
            self.tell_recalls(place);
        }
    }

    /// Everything is answered, or time is up.
    pub(super) fn drain_workers(&mut self) {
        if !self.connections.is_empty() {
            warn!(connections = self.connections.len(), "time is up for what is unfinished");
            return self.supervisor.kill_all();
        }
        self.supervisor.drain_all(self.now);
    }

    fn spawn(&mut self, who: Incarnation) {
        self.counters.worker_starts += 1;
        self.counters.slot_mut(who.slot).starts += 1;
        self.reserve.release();
        let command = self.worker_command(who);
        let flood = FloodJudge::new(self.settings.stall_after, self.now);
        let registry = self.poll.registry();
        let listeners = self.acceptor.inherited_by(who.slot).map_err(io::Error::other);
        let started = listeners.and_then(|listeners| {
            let meters = self.meters.as_ref().map(|meters| meters.as_fd());
            self.roster.start(registry, command?, who, &listeners, meters, flood)
        });
        self.reserve.refill();
        match started {
            Ok(pid) => {
                info!(worker = who.slot.0, gen = who.generation.0, pid, "worker started");
                self.happened(HappenedKind::Started, Some((who, pid)), "started");
            }
            Err(cause) => {
                error!(worker = who.slot.0, gen = who.generation.0, %cause, "starting a worker");
                let restart = self.supervisor.handle_spawn_failed(who, self.now);
                self.counters.count_restart(restart);
            }
        }
    }

    fn worker_command(&self, who: Incarnation) -> io::Result<Command> {
        let mut command = match &self.settings.app {
            App::Command(words) => {
                let mut words = words.iter();
                let mut command = Command::new(words.next().cloned().unwrap_or_default());
                command.args(words);
                command
            }
            App::Python(app) => match &app.interpreter {
                Some(interpreter) => self.launch.python_worker_command(interpreter),
                None => self.launch.worker_command(),
            },
            App::Embedded | App::Echo | App::Static { .. } => self.launch.worker_command(),
        };
        // Read for each worker, so that a reload takes up what has changed.
        if let Some(path) = &self.settings.env_file {
            let own = |name: &str| std::env::var_os(name);
            let file = env_file::read(path, &own).map_err(|cause| {
                io::Error::new(cause.kind(), format!("reading {}: {cause}", path.display()))
            })?;
            if !file.unreadable.is_empty() && who.slot.0 == 0 {
                let lines = &file.unreadable;
                warn!(file = %path.display(), ?lines, "lines of the --env-file say nothing");
            }
            command.envs(file.variables.into_iter().filter(|(name, _)| own(name).is_none()));
        }
        if self.supervisor.is_spoken_for(who) {
            command.env("MAITRED_QUIET_START", "1");
        }
        self.set_surroundings(&mut command);
        if let Some(rebalance) = self.admin.rebalance()
            && !matches!(self.settings.app, App::Command(_))
        {
            // Of a flag that is typed twice the last one counts.
            command.args(["--rebalance", rebalance.name()]);
        }
        command.stdin(Stdio::null());
        let privileges = &self.settings.privileges;
        privileges::confine(&mut command, privileges, self.settings.chdir.as_deref())?;
        Ok(command)
    }

    /// What every child is told of its surroundings, and what none is.
    pub(super) fn set_surroundings(&self, command: &mut Command) {
        // The sockets that systemd passed are this process's alone (sd_listen_fds(3)).
        let systemd = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];
        for variable in systemd.into_iter().chain(notify::VARIABLES) {
            command.env_remove(variable);
        }
        if let Some(config) = &self.settings.config {
            command.env(CONFIG_PATH_VARIABLE, &config.path).env(CONFIG_TEXT_VARIABLE, &config.text);
        }
    }

    /// USR1: whoever writes a log file opens it again.
    pub(super) fn reopen_logs(&mut self) {
        lossy::reopen_all();
        // Workers may not be allowed to create theirs: it is there when they look.
        let access = self.settings.access_log.as_ref();
        if let Some(path) = access.and_then(|options| options.to.file())
            && let Err(cause) = LogFile::open(path, self.settings.privileges.files_owner())
        {
            warn!(path = %path.display(), %cause, "opening the access log again");
        }
        self.tell_all(&ToWorker::Reopen);
    }

    /// A graceful end; a second request is a fast one.
    pub(super) fn stop(&mut self, delay: Duration) {
        let graceful = self.settings.lifecycle.graceful_timeout;
        if !self.stopping.begin(self.now, delay, graceful) {
            return self.stop_fast();
        }
        info!("stopping: what has been accepted is answered");
        self.service.stopping(delay.saturating_add(graceful));
        self.supervisor.stop();
        self.acceptor.stop_deferring();
        let frame = self.finish_frame();
        self.tell_all(&frame);
        self.happened(HappenedKind::Stop, None, "the server was told to end");
        // Whoever asks whether it is ready hears of it from now on.
        self.publish_now(self.phase());
    }

    pub(super) fn stop_fast(&mut self) {
        info!("stopping at once");
        self.happened(HappenedKind::Stop, None, "the server was told to end at once");
        self.service.stopping(Duration::ZERO);
        self.stopping = super::Stopping::Leaving;
        self.acceptor.close();
        self.supervisor.kill_all();
    }

    fn finish_frame(&self) -> ToWorker {
        let graceful = self.settings.lifecycle.graceful_timeout;
        ToWorker::Drain { mode: DrainMode::Finish, graceful }
    }

    fn tell_all(&mut self, frame: &ToWorker) {
        for place in self.roster.places() {
            self.tell(place, frame.clone());
        }
    }

    fn tell(&mut self, place: u32, frame: ToWorker) {
        if let Some(member) = self.roster.get_mut(place) {
            member.frames_owed.push_back(frame);
            // A broken channel is its pidfd's to report.
            let _ = member.pay_debts();
        }
    }

    /// Says where the server listens, once the workers that are to begin with are ready.
    fn announce(&mut self) {
        let ready = self.supervisor.serving() >= usize::from(self.supervisor.workers());
        if self.announced || !ready || self.acceptor.is_closed() {
            return;
        }
        self.announced = true;
        // Whoever reads the ready line and then the file finds that it serves.
        self.publish_now(Phase::Serving);
        let workers = self.supervisor.serving();
        info!(
            workers, threads = self.settings.threads, accept = %self.settings.accept.arm,
            balance = ?self.settings.balance,
            version = env!("CARGO_PKG_VERSION"), "maitred is ready"
        );
        // Not an event of the log: whoever starts the server reads this line whatever the log's
        // level and format are. One write, so that no other process's line stands inside it; nobody
        // may be there to read it.
        let lines: String =
            self.acceptor.addresses().map(|address| format!("listening on {address}\n")).collect();
        let _ = std::io::stderr().lock().write_all(lines.as_bytes());
        self.service.ready();
    }
}

fn log_reload(report: &ReloadReport) {
    let ReloadReport { replaced, of, .. } = *report;
    let Some(failure) = report.failure else { return info!(replaced, of, "reload done") };
    let killed = failure.cause.map(tracing::field::display);
    error!(
        worker = failure.who.slot.0, gen = failure.who.generation.0,
        how = %failure.how, killed, replaced, of,
        "reload failed: a new worker did not become ready, the old ones go on"
    );
}

fn start_failure(failure: StartFailure) -> RunError {
    match failure {
        StartFailure::Application => RunError::Application("its worker has said why, above".into()),
        StartFailure::CrashLoop(how, count) => RunError::WorkersDoNotStart {
            reason: format!("{count} starts of one in a row ended, the last with {how}"),
        },
    }
}
