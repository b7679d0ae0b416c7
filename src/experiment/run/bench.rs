//! All runs of a plan, one after the other, and the report of them.
//!
//! An arm that does not start in a workload is given up there, one that does not start in two
//! altogether: the others go on, and the report says why it is missing. A run whose generator was
//! late is made again once (not in a quick bench); if it is late again, its figures stand with a
//! warning.
//!
//! Not here: one run (`trial`), figures (`measure`).

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use crate::config::ListenOptions;
use crate::experiment::measure;
use crate::experiment::measure::observed::Observed;
use crate::experiment::plan::BenchPlan;
use crate::experiment::plan::model::{Arm, Workload};
use crate::experiment::report::schema::{BenchReport, SCHEMA, Warning};
use crate::experiment::run::interrupts::Interrupts;
use crate::experiment::run::limits::{FAILED_WORKLOADS_MAX, SAMPLES_HELD_MAX};
use crate::experiment::run::order::{self, Turn, turns};
use crate::experiment::run::trial::{self, Setting, TrialError};
use crate::experiment::run::{cores, disturbance, environment, share};
use crate::sys::limits::raise_descriptor_limit;

/// What a bench is told beside its plan.
#[derive(Clone, Debug)]
pub struct Options {
    /// This program's own file, for the arms that are maitred.
    pub maitred: PathBuf,
    /// Decides arrivals, service times, choices and order.
    pub seed: u64,
    /// Whether the plan was read for a quick run.
    pub is_quick: bool,
    /// The arguments that repeat it.
    pub command: Vec<String>,
}

/// Who is told what happens.
pub trait Observer {
    /// A run begins, out of so many.
    fn begins(&mut self, turn: Turn, arm: &Arm, workload: &Workload);
    /// It has ended, with these requests.
    ///
    /// # Errors
    /// What was observed cannot be kept: the bench ends.
    fn ended(&mut self, workload: &Workload, observed: &Observed) -> std::io::Result<()>;
    /// These runs will not be made.
    fn left_out(&mut self, runs: usize);
    /// Something that a reader must know.
    fn warned(&mut self, warning: &Warning);
}

/// Why there is no report at all.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// Not one run has a result.
    #[error("nothing was measured: {reason}")]
    Nothing {
        /// Of the last one.
        reason: String,
    },
    /// What was observed cannot be kept.
    #[error("keeping requests")]
    Keeping(#[from] std::io::Error),
}

/// How many runs a plan has.
pub fn count_of_runs(plan: &BenchPlan) -> usize {
    (0..plan.workloads.len()).map(|workload| turns(plan, workload, 0).len()).sum()
}

/// Runs a plan to its end, or to an interrupt.
///
/// # Errors
/// Nothing was measured.
pub fn run(
    plan: &BenchPlan,
    options: &Options,
    interrupts: &Interrupts,
    observer: &mut dyn Observer,
) -> Result<BenchReport, BenchError> {
    let began = Instant::now();
    let usable = cores::usable();
    let mut warnings = Vec::new();
    // Each connection is one here, and one in a server, which inherits the limit.
    if let Err(error) = raise_descriptor_limit() {
        warnings.push(general(format!("the limit on descriptors could not be raised: {error}")));
    }
    let mut bench = Bench {
        plan,
        options,
        interrupts,
        observer,
        usable,
        report: BenchReport {
            schema: SCHEMA.to_owned(),
            title: plan.title.clone(),
            about: plan.about.clone(),
            arms: plan.arms.iter().map(Arm::info).collect(),
            workloads: plan.workloads.iter().map(Workload::info).collect(),
            measures: measure::catalogue(),
            is_complete: true,
            environment: environment::look(),
            ..BenchReport::default()
        },
        failed_workloads: vec![0; plan.arms.len()],
        last_reason: "it was interrupted".to_owned(),
    };
    bench.warn_in_general(warnings);
    let mut place = 0;
    for workload in 0..plan.workloads.len() {
        let turns = turns(plan, workload, place);
        place += u32::try_from(turns.len()).unwrap_or(u32::MAX);
        bench.workload(workload, &turns)?;
    }
    bench.finish(began)
}

/// What is under way.
struct Bench<'a> {
    plan: &'a BenchPlan,
    options: &'a Options,
    interrupts: &'a Interrupts,
    observer: &'a mut dyn Observer,
    usable: Vec<usize>,
    report: BenchReport,
    /// By arm: in how many workloads it did not start.
    failed_workloads: Vec<usize>,
    last_reason: String,
}

impl Bench<'_> {
    /// All arms and repetitions with one workload, and the cells that come of it.
    fn workload(&mut self, index: usize, turns: &[Turn]) -> Result<(), BenchError> {
        let plan = self.plan;
        let workload = &plan.workloads[index];
        if let Some(text) = workload.event.and_then(disturbance::warning)
            && !turns.is_empty()
        {
            self.warn(None, workload, text.to_owned());
        }
        let mut observed: Vec<Vec<Observed>> = plan.arms.iter().map(|_| Vec::new()).collect();
        let mut is_given_up = vec![false; plan.arms.len()];
        let samples_max = SAMPLES_HELD_MAX / turns.len().max(1);
        for (done, &turn) in turns.iter().enumerate() {
            if self.interrupts.came() {
                self.report.is_complete = false;
                self.observer.left_out(turns.len() - done);
                break;
            }
            let is_out = self.failed_workloads[turn.arm] >= FAILED_WORKLOADS_MAX;
            if is_given_up[turn.arm] || is_out {
                self.observer.left_out(1);
                continue;
            }
            match self.turn(turn, samples_max)? {
                Ok(one) => observed[turn.arm].push(one),
                Err(error) if error.is_interrupt() => {
                    self.report.is_complete = false;
                    self.observer.left_out(turns.len() - done);
                    break;
                }
                Err(error) => {
                    is_given_up[turn.arm] = true;
                    self.give_up(turn, &error);
                    self.observer.left_out(1);
                }
            }
        }
        self.cells(workload, observed);
        Ok(())
    }

    /// One run; again, if the generator was late.
    fn turn(
        &mut self,
        turn: Turn,
        samples_max: usize,
    ) -> Result<Result<Observed, TrialError>, BenchError> {
        let (arm, workload) = (&self.plan.arms[turn.arm], &self.plan.workloads[turn.workload]);
        self.observer.begins(turn, arm, workload);
        let setting = Setting {
            maitred: &self.options.maitred,
            interrupts: self.interrupts,
            usable: &self.usable,
            seed: order::seed(self.options.seed, turn.workload, turn.repetition),
            turn,
        };
        let mut found = trial::run(arm, workload, &setting);
        let is_late = found.as_ref().is_ok_and(|observed| !measure::is_punctual(observed));
        // A rehearsal is to be short.
        if is_late && !self.options.is_quick && !self.interrupts.came() {
            // What it found stands if there is no second one: late is better than nothing.
            let again = trial::run(arm, workload, &setting);
            if again.is_ok() {
                found = again;
            }
        }
        let mut observed = match found {
            Ok(observed) => observed,
            Err(error) => return Ok(Err(error)),
        };
        self.observer.ended(workload, &observed)?;
        if observed.samples.len() > samples_max {
            observed.samples = Vec::new();
            let text = format!(
                "repetition {}: more than {samples_max} requests, too many to hold each of them: \
                 measures that need them are absent or coarse",
                turn.repetition + 1
            );
            self.warn(Some(arm), workload, text);
        }
        Ok(Ok(observed))
    }

    fn give_up(&mut self, turn: Turn, error: &TrialError) {
        let (arm, workload) = (&self.plan.arms[turn.arm], &self.plan.workloads[turn.workload]);
        let reason = chain(error);
        self.last_reason = format!("{}, {}: {reason}", arm.name, workload.name);
        let failed = &mut self.failed_workloads[turn.arm];
        *failed = if error.is_missing_program() { FAILED_WORKLOADS_MAX } else { *failed + 1 };
        let is_out = *failed >= FAILED_WORKLOADS_MAX;
        let text = if is_out { "left out" } else { "left out of this workload" };
        self.warn(Some(arm), workload, format!("{text}: {reason}"));
    }

    /// Figures of what was observed. Repetitions that an interrupt has cut short are left as they
    /// are: an arm may have one more than another.
    fn cells(&mut self, workload: &Workload, observed: Vec<Vec<Observed>>) {
        let classes: Vec<String> =
            workload.classes.iter().map(|class| class.name.clone()).collect();
        for (arm, trials) in self.plan.arms.iter().zip(observed) {
            if trials.is_empty() {
                continue;
            }
            let (name, seed) = (&arm.name, self.options.seed);
            let cell = measure::summarise(name, &workload.name, &classes, &trials, seed);
            self.report.cells.push(cell);
            // Not told while it runs: they are many on a busy machine, and stand in the report.
            self.report.warnings.extend(measure::warnings(name, &workload.name, &trials));
        }
    }

    fn finish(mut self, began: Instant) -> Result<BenchReport, BenchError> {
        if self.report.cells.is_empty() {
            return Err(BenchError::Nothing { reason: self.last_reason });
        }
        let seed = self.options.seed;
        let ratio = |of: &_, to: &_| {
            measure::statistics::ratio_of_figures(of, to, true, seed)
                .and_then(|interval| interval.ends)
        };
        let cells = &self.report.cells;
        let judged = self.plan.claims.iter().map(|claim| claim.judge(cells, &ratio));
        self.report.predictions = judged.collect();
        let mut notes: Vec<String> = Vec::new();
        for workload in &self.plan.workloads {
            let generators = share::generators(workload, self.usable.len());
            let note = cores::split(&self.usable, generators).note();
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
        let environment = &mut self.report.environment;
        environment.cores = u32::try_from(self.usable.len()).unwrap_or(u32::MAX);
        environment.cores_note = notes.join("; ");
        environment.seed = seed;
        environment.is_quick = self.options.is_quick;
        environment.command = self.options.command.clone();
        environment.took_s = began.elapsed().as_secs_f64();
        let listening = ListenOptions::default();
        let given = |flag, default| self.plan.common_number(flag).unwrap_or(default);
        environment.defer_accept_s = given("--defer-accept", listening.defer_accept_s);
        environment.backlog = given("--backlog", listening.backlog);
        Ok(self.report)
    }

    fn warn_in_general(&mut self, mut warnings: Vec<Warning>) {
        if self.options.is_quick {
            warnings.push(general("a quick run: its figures are a rehearsal".to_owned()));
        }
        if cfg!(debug_assertions) {
            warnings.push(general("a debug build: its times mean nothing".to_owned()));
        }
        warnings.into_iter().for_each(|warning| self.add_warning(warning));
    }

    fn warn(&mut self, arm: Option<&Arm>, workload: &Workload, text: String) {
        self.add_warning(Warning {
            arm: arm.map(|arm| arm.name.clone()),
            workload: Some(workload.name.clone()),
            measure: None,
            text,
        });
    }

    fn add_warning(&mut self, warning: Warning) {
        self.observer.warned(&warning);
        self.report.warnings.push(warning);
    }
}

fn general(text: String) -> Warning {
    Warning { text, ..Warning::default() }
}

/// An error with its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
