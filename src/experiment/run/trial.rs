//! One run of one arm with one workload, from the start of its server to its end.
//!
//! ```text
//! server ready ─► background, sets opened ─► start ── warm-up ── look ══ measured ══ look ─► answers
//!                 (a thread a generator)      all at one moment     └ signals of an event
//! ```
//!
//! Generators are threads that report over a channel and are never waited for longer than their
//! plan allows; on an interrupt they are left behind, and end with the process.
//!
//! Not here: in which order runs stand (`order`), what is made of them (`measure`).

use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select, unbounded};
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::experiment::load::limits::OPEN_FOR_MAX;
use crate::experiment::load::{Generator, GeneratorError, Opening, Plan, Report};
use crate::experiment::measure::observed::{Observed, Usage};
use crate::experiment::plan::model::{Arm, Workload};
use crate::experiment::run::cores::Cores;
use crate::experiment::run::disturbance::{self, Step};
use crate::experiment::run::interrupts::Interrupts;
use crate::experiment::run::limits::{BEFORE_START, OPEN_MARGIN, REPORT_MARGIN};
use crate::experiment::run::order::Turn;
use crate::experiment::run::server::{Server, ServerError};
use crate::experiment::run::usage::{self, Look};
use crate::experiment::run::{cores, share};
use crate::sys::clock;
use crate::time::Nanos;

/// What a run needs beside arm and workload.
pub(super) struct Setting<'a> {
    /// This program's own file.
    pub(super) maitred: &'a Path,
    pub(super) interrupts: &'a Interrupts,
    /// All that this process may use.
    pub(super) usable: &'a [usize],
    /// Of this run: the same for all arms.
    pub(super) seed: u64,
    pub(super) turn: Turn,
}

/// Why a run has no result.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// There is no server.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// Connections or requests could not be made at all.
    #[error("the load generator{said}")]
    Generator {
        /// What the server said last.
        said: String,
        /// Why.
        #[source]
        source: GeneratorError,
    },
    /// A generator has not reported: it, or the machine, is at fault.
    #[error("the load generator did not come to its end{said}")]
    Stuck {
        /// What the server said last.
        said: String,
    },
    /// The system has no thread, no descriptors, or refuses to pin.
    #[error("the system: {0}")]
    System(#[from] io::Error),
    /// Somebody wants the bench to end.
    #[error("interrupted")]
    Interrupted,
}

impl TrialError {
    /// Whether trying again cannot help.
    pub(super) fn is_interrupt(&self) -> bool {
        matches!(self, TrialError::Interrupted | TrialError::Server(ServerError::Interrupted))
    }

    /// Whether the arm's program is not there at all.
    pub(super) fn is_missing_program(&self) -> bool {
        matches!(self, TrialError::Server(ServerError::Missing { .. }))
    }
}

/// What a generator thread says.
enum Word {
    Opened,
    Done(Box<Result<Report, GeneratorError>>),
    Failed(io::Error),
}

/// What is to be done at its time within a run.
enum Item {
    LookBegin,
    Signal(Step),
    LookEnd,
}

/// Runs it.
pub(super) fn run(
    arm: &Arm,
    workload: &Workload,
    setting: &Setting<'_>,
) -> Result<Observed, TrialError> {
    let generators = share::generators(workload, setting.usable.len());
    let cores = cores::split(setting.usable, generators);
    // The server inherits the cores of the thread that starts it.
    cores.take_servers()?;
    let started = Server::start(setting.maitred, arm, workload, setting.seed, setting.interrupts);
    cores::pin(setting.usable)?;
    let server = started?;
    let _background = background(&server, workload)?;
    let mut crew = Crew::spawn(&server, workload, generators, &cores, setting)?;
    crew.wait_opened()?;
    let start = clock::now() + BEFORE_START;
    crew.begin(start);
    let measured = (start + workload.warm_up, start + workload.duration);
    let (before, after) = crew.watch(measured, workload)?;
    let report = crew.reports(start + share::longest(workload) + REPORT_MARGIN)?;
    let usage = after.since(&before, setting.usable.len());
    let observed = observed(setting.turn, arm, workload, report, usage);
    Ok(Observed { began_at_rest: server.is_at_rest(), ..observed })
}

fn observed(
    turn: Turn,
    arm: &Arm,
    workload: &Workload,
    mut report: Report,
    usage: Usage,
) -> Observed {
    let samples = std::mem::take(&mut report.samples);
    Observed {
        repetition: turn.repetition,
        place: turn.place,
        measured: report.measured,
        report,
        samples,
        capacity: arm.capacity(workload),
        bound: workload.slo,
        usage: Some(usage),
        began_at_rest: true,
    }
}

/// Connections that are there and silent: as many for each arm.
fn background(server: &Server, workload: &Workload) -> Result<Option<Generator>, TrialError> {
    if workload.background == 0 {
        return Ok(None);
    }
    let mut generator = Generator::new(server.address())?;
    let opening = Opening {
        count: workload.background as usize,
        at_once: workload.opened_at_once as usize,
        path: server.path().to_owned(),
    };
    let opened = generator.open(&opening);
    opened.map_err(|source| TrialError::Generator { said: server.said(), source })?;
    Ok(Some(generator))
}

/// The generator threads of a run, and what is watched meanwhile.
struct Crew<'a> {
    server: &'a Server,
    interrupts: &'a Interrupts,
    seed: u64,
    words: Receiver<Word>,
    starts: Vec<Sender<Nanos>>,
    reports: Vec<Report>,
}

impl<'a> Crew<'a> {
    fn spawn(
        server: &'a Server,
        workload: &Workload,
        count: usize,
        cores: &Cores,
        setting: &Setting<'a>,
    ) -> Result<Crew<'a>, TrialError> {
        let (say, words) = unbounded();
        let mut starts = Vec::new();
        for index in 0..count {
            let (begin, started) = bounded(1);
            starts.push(begin);
            let hand = Hand {
                address: server.address(),
                path: server.path().to_owned(),
                workload: workload.clone(),
                cores: cores.clone(),
                index,
                of: count,
                seed: share::seed(setting.seed, index),
                started,
            };
            let say = say.clone();
            thread::Builder::new().name(format!("generator-{index}")).spawn(move || {
                // Nobody listens any more if the bench has given this run up.
                if let Err(error) = hand.work(&say) {
                    let _ = say.send(error);
                }
            })?;
        }
        let (interrupts, seed) = (setting.interrupts, setting.seed);
        Ok(Crew { server, interrupts, seed, words, starts, reports: Vec::new() })
    }

    fn wait_opened(&mut self) -> Result<(), TrialError> {
        let deadline = clock::now() + OPEN_FOR_MAX + OPEN_MARGIN;
        let mut opened = 0;
        while opened < self.starts.len() {
            match self.next(deadline)? {
                Some(Word::Opened) => opened += 1,
                Some(word) => self.take(word)?,
                None => return Err(self.stuck()),
            }
        }
        Ok(())
    }

    fn begin(&self, start: Nanos) {
        for begin in &self.starts {
            // One that has ended has said why.
            let _ = begin.send(start);
        }
    }

    /// Looks at the beginning and at the end of the measured time, and sends an event's signals.
    fn watch(
        &mut self,
        measured: (Nanos, Nanos),
        workload: &Workload,
    ) -> Result<(Look, Look), TrialError> {
        let mut agenda = vec![(measured.0, Item::LookBegin)];
        if let Some(event) = workload.event {
            let steps = disturbance::steps(event, measured, self.seed);
            agenda.extend(steps.into_iter().map(|step| (step.at, Item::Signal(step))));
        }
        agenda.push((measured.1, Item::LookEnd));
        // A stable sort: the first look stays in front of what comes at the same moment.
        agenda.sort_by_key(|(at, _)| *at);
        let pid = self.server.pid();
        let mut before = Look::at(pid);
        let mut after = before.clone();
        let mut stopped = None;
        for (at, item) in agenda {
            while let Some(word) = self.next(at)? {
                self.take(word)?;
            }
            match item {
                Item::LookBegin => before = Look::at(pid),
                Item::Signal(step) => send(pid, step, &mut stopped),
                Item::LookEnd => after = Look::at(pid),
            }
        }
        Ok((before, after))
    }

    fn reports(mut self, deadline: Nanos) -> Result<Report, TrialError> {
        while self.reports.len() < self.starts.len() {
            match self.next(deadline)? {
                Some(word) => self.take(word)?,
                None => return Err(self.stuck()),
            }
        }
        let mut reports = self.reports.into_iter();
        // There is at least one generator.
        let mut all = reports.next().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        reports.for_each(|report| all.add(&report));
        Ok(all)
    }

    /// The next word, or none until the deadline.
    fn next(&self, deadline: Nanos) -> Result<Option<Word>, TrialError> {
        let within = clock::now().until(deadline);
        if within.is_zero() {
            return match self.words.try_recv() {
                Ok(word) => Ok(Some(word)),
                Err(_) => Ok(None),
            };
        }
        select! {
            recv(self.words) -> word => match word {
                Ok(word) => Ok(Some(word)),
                // All have said what they had to say.
                Err(_) => self.sleep(within),
            },
            recv(self.interrupts.channel()) -> _ => Err(TrialError::Interrupted),
            default(within) => Ok(None),
        }
    }

    fn sleep(&self, within: Duration) -> Result<Option<Word>, TrialError> {
        match self.interrupts.channel().recv_timeout(within) {
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Err(TrialError::Interrupted),
        }
    }

    fn take(&mut self, word: Word) -> Result<(), TrialError> {
        match word {
            Word::Opened => {}
            Word::Done(done) => match *done {
                Ok(report) => self.reports.push(report),
                Err(source) => {
                    return Err(TrialError::Generator { said: self.server.said(), source });
                }
            },
            Word::Failed(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn stuck(&self) -> TrialError {
        TrialError::Stuck { said: self.server.said() }
    }
}

/// One generator thread.
struct Hand {
    address: std::net::SocketAddr,
    path: String,
    workload: Workload,
    cores: Cores,
    index: usize,
    of: usize,
    seed: u64,
    started: Receiver<Nanos>,
}

impl Hand {
    fn work(&self, say: &Sender<Word>) -> Result<(), Word> {
        let done = |error: GeneratorError| Word::Done(Box::new(Err(error)));
        self.cores.take_generators(self.index).map_err(Word::Failed)?;
        let mut generator = Generator::new(self.address).map_err(Word::Failed)?;
        let mut sets = Vec::new();
        for set in &self.workload.sets {
            let count = share::count(set.count, self.index, self.of) as usize;
            let at_once = self.workload.opened_at_once as usize;
            let opened = if set.is_opened {
                generator.open(&Opening { count, at_once, path: self.path.clone() })
            } else {
                generator.reserve(count)
            };
            sets.push(opened.map_err(done)?);
        }
        let class = |class| share::class(class, &sets, self.index, self.of, &self.path);
        let plan = Plan {
            classes: self.workload.classes.iter().map(class).collect(),
            duration: self.workload.duration,
            warm_up: self.workload.warm_up,
            answer_within: self.workload.answer_within,
            seed: self.seed,
            keep_samples: true,
        };
        let _ = say.send(Word::Opened);
        // The bench has given this run up if nobody says when.
        let Ok(start) = self.started.recv() else { return Ok(()) };
        let report = generator.run_at(&plan, start);
        let _ = say.send(Word::Done(Box::new(report)));
        Ok(())
    }
}

/// Sends a signal to one of the workers that there are now.
fn send(master: u32, step: Step, stopped: &mut Option<u32>) {
    let workers: Vec<_> = usage::workers(master).into_iter().map(|(_, pid)| pid).collect();
    if let Some(pid) = disturbance::victim(step, &workers, stopped) {
        // One that has ended by itself gets none.
        let _ = kill(Pid::from_raw(pid.cast_signed()), step.signal);
    }
}
