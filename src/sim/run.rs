//! All runs of a plan in virtual time, on all cores, and the report of them: the form, the measures
//! and the seeds of a bench, so that both can be laid side by side.
//!
//! Not here: one run (`trial`), figures and files (`experiment`).

use crate::config::Settings;
use crate::experiment::measure;
use crate::experiment::measure::observed::Observed;
use crate::experiment::plan::BenchPlan;
use crate::experiment::plan::model::{Arm, Workload};
use crate::experiment::report::schema::{BenchReport, SCHEMA, Warning};
use crate::experiment::run::{Turn, environment, order};
use crate::sim::costs::Costs;
use crate::sim::crew;
use crate::sim::server::Herd;
use crate::sim::trial::{self, Setting};

/// Samples that are held for one workload, all arms and repetitions together: 56 bytes each.
const SAMPLES_HELD_MAX: usize = 12_000_000;

/// What a simulation is told beside its plan.
#[derive(Clone, Debug)]
pub struct Options {
    /// Decides arrivals, service times, choices and faults.
    pub seed: u64,
    /// Whether the plan was read for a quick run.
    pub is_quick: bool,
    /// The arguments that repeat it.
    pub command: Vec<String>,
    /// What everything beside the work takes.
    pub costs: Costs,
    /// Who of a herd accepts.
    pub herd: Herd,
}

/// The settings that `maitred serve` makes of an arm's arguments; or why it would not start.
pub type SettingsOf<'a> = &'a (dyn Fn(&[String]) -> Result<Settings, String> + Sync);

/// Why there is no report at all.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// Not one arm can be simulated.
    #[error("nothing was simulated: {reason}")]
    Nothing {
        /// Of the last one.
        reason: String,
    },
}

/// How many runs a plan has; those of other programs are left out.
pub fn count_of_runs(plan: &BenchPlan) -> usize {
    (0..plan.workloads.len()).map(|workload| turns(plan, workload, 0).len()).sum()
}

fn turns(plan: &BenchPlan, workload: usize, first_place: u32) -> Vec<Turn> {
    let turns = order::turns(plan, workload, first_place).into_iter();
    turns.filter(|turn| !plan.arms[turn.arm].is_foreign()).collect()
}

/// Runs a plan to its end; `is_done` is called behind each run.
///
/// # Errors
/// Nothing was simulated.
pub fn run(
    plan: &BenchPlan,
    options: &Options,
    settings_of: SettingsOf<'_>,
    is_done: impl Fn() + Sync,
) -> Result<BenchReport, SimError> {
    let mut report = BenchReport {
        schema: SCHEMA.to_owned(),
        title: plan.title.clone(),
        about: format!("Simulated, not measured. {}", plan.about),
        arms: plan.arms.iter().filter(|arm| !arm.is_foreign()).map(Arm::info).collect(),
        workloads: plan.workloads.iter().map(Workload::info).collect(),
        measures: measure::catalogue(),
        is_complete: true,
        environment: environment::look(),
        ..BenchReport::default()
    };
    let environment = &mut report.environment;
    environment.seed = options.seed;
    environment.is_quick = options.is_quick;
    environment.command = options.command.clone();
    environment.cores_note = "virtual time: every worker has a core".to_owned();
    environment.cores = crew::cores() as u32;
    environment.is_debug_build = false;
    for arm in plan.arms.iter().filter(|arm| arm.is_foreign()) {
        warn(&mut report, Some(arm), None, "another program: it is not simulated");
    }
    let mut reason = "every arm is another program".to_owned();
    let mut place = 0;
    for (index, workload) in plan.workloads.iter().enumerate() {
        let turns = turns(plan, index, place);
        place += turns.len() as u32;
        let settings: Vec<_> = plan
            .arms
            .iter()
            .map(|arm| {
                let words = arm.arguments(workload, options.seed);
                words.map_or_else(|| Err(String::new()), |words| settings_of(&words))
            })
            .collect();
        for turn in turns.iter().filter(|turn| turn.repetition == 0) {
            if let Err(fault) = &settings[turn.arm] {
                reason = format!("{}, {}: {fault}", plan.arms[turn.arm].name, workload.name);
                warn(&mut report, Some(&plan.arms[turn.arm]), Some(workload), fault);
            }
        }
        let samples_max = SAMPLES_HELD_MAX / turns.len().max(1);
        let run = |number: usize| {
            let turn: Turn = turns[number];
            let Ok(settings) = &settings[turn.arm] else { return None };
            let setting = Setting {
                turn,
                seed: order::seed(options.seed, turn.workload, turn.repetition),
                settings,
                costs: options.costs,
                herd: options.herd,
            };
            let mut observed = trial::run(&plan.arms[turn.arm], workload, &setting);
            if observed.samples.len() > samples_max {
                observed.samples = Vec::new();
            }
            Some(observed)
        };
        let all = crew::run_all(turns.len(), run, &is_done);
        cells(plan, workload, (&turns, all), options.seed, &mut report);
    }
    if report.cells.is_empty() {
        return Err(SimError::Nothing { reason });
    }
    let ratio = |of: &_, to: &_| {
        measure::statistics::ratio_of_figures(of, to, true, options.seed)
            .and_then(|interval| interval.ends)
    };
    let judged = plan.claims.iter().map(|claim| claim.judge(&report.cells, &ratio));
    report.predictions = judged.collect();
    Ok(report)
}

fn cells(
    plan: &BenchPlan,
    workload: &Workload,
    (turns, all): (&[Turn], Vec<Option<Observed>>),
    seed: u64,
    report: &mut BenchReport,
) {
    let classes: Vec<String> = workload.classes.iter().map(|class| class.name.clone()).collect();
    let mut by_arm: Vec<Vec<Observed>> = plan.arms.iter().map(|_| Vec::new()).collect();
    for (turn, observed) in turns.iter().zip(all) {
        by_arm[turn.arm].extend(observed);
    }
    for (arm, mut trials) in plan.arms.iter().zip(by_arm) {
        if trials.is_empty() {
            continue;
        }
        trials.sort_by_key(|trial| trial.repetition);
        report.cells.push(measure::summarise(&arm.name, &workload.name, &classes, &trials, seed));
        let warnings = measure::warnings(&arm.name, &workload.name, &trials);
        report.warnings.extend(warnings);
    }
}

fn warn(report: &mut BenchReport, arm: Option<&Arm>, workload: Option<&Workload>, text: &str) {
    report.warnings.push(Warning {
        arm: arm.map(|arm| arm.name.clone()),
        workload: workload.map(|workload| workload.name.clone()),
        measure: None,
        text: text.to_owned(),
    });
}
