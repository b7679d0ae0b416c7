//! From the words of a plan's file to a plan: defaults, bounds, and errors that name the place.
//!
//! ```text
//! text ─toml─► RawPlan ─► arms, workloads (a grid: many), predictions ─► BenchPlan
//! ```
//!
//! Pure: traces are read by whoever calls, and so is the number of cores found out.
//!
//! Not here: the words themselves (`file`), what a class asks for (`classes`), grids (`grid`).

use std::collections::BTreeMap;
use std::error::Error;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::experiment::load::Due;
use crate::experiment::load::limits::{CONNECTIONS_MAX, OPENING_MAX};
use crate::experiment::measure;
use crate::experiment::plan::arms;
use crate::experiment::plan::classes::{self, ClassContext};
use crate::experiment::plan::file::{RawArm, RawEvent, RawPlan, RawWorkload};
use crate::experiment::plan::grid::{self, LOAD_MAX};
use crate::experiment::plan::limits::{
    ARMS_MAX, FILES_MAX, GENERATORS_MAX, NAME_SIZE_MAX, PREDICTIONS_MAX, REPETITIONS_MAX,
    SLOWER_MAX, TEXT_SIZE_MAX, THREADS_MAX, TRIAL_DURATION_MAX, TRIAL_DURATION_MIN, TRIALS_MAX,
    WORDS_MAX, WORKERS_MAX, WORKLOADS_MAX,
};
use crate::experiment::plan::model::{Arm, BenchPlan, Event, MASTER, Program, Workload};
use crate::experiment::plan::prediction::{Claim, Vocabulary};
use crate::experiment::report::schema::GridPlace;

/// Repetitions where the plan does not say: the fewest of which a bootstrap is worth its name.
const REPETITIONS: u64 = 5;
const REPETITIONS_QUICK: u64 = 2;
const DURATION_S: f64 = 10.0;
const DURATION_QUICK_S: f64 = 1.5;
const WARM_UP_S: f64 = 1.0;
const WARM_UP_QUICK_S: f64 = 0.25;
const WORKERS: u16 = 4;
const THREADS: u16 = 1;
const OPENED_AT_ONCE: u32 = 8;
const ANSWER_WITHIN_S: f64 = 10.0;

/// Any error, kept whole.
type AnyError = Box<dyn Error + Send + Sync>;

/// Reads the trace in a file that a plan names.
pub type TraceReader<'a> = &'a dyn Fn(&Path) -> Result<Arc<[Due]>, AnyError>;

/// What a plan's text does not say by itself.
pub struct Surroundings<'a> {
    /// `--quick`.
    pub is_quick: bool,
    /// Cores of this machine: more than all of them nobody can be asked to use.
    pub cores: usize,
    /// Reads a trace that the plan names.
    pub read_trace: TraceReader<'a>,
}

/// Why a text is no plan. Whoever wrote it is at fault.
#[derive(Debug, thiserror::Error)]
pub enum PlanFault {
    /// Not TOML, or a key that there is not. The source names the line.
    #[error("not a plan")]
    Toml(#[from] toml::de::Error),
    /// A value that cannot be.
    #[error("{place}: {wrong}")]
    Value {
        /// As `workload "bimodal", class "long"`.
        place: String,
        /// What it must be.
        wrong: String,
    },
    /// A trace that cannot be read.
    #[error("{place}: the trace {path:?}")]
    Trace {
        /// As above.
        place: String,
        /// As the plan names it.
        path: String,
        /// Why.
        #[source]
        source: AnyError,
    },
}

/// Reads a plan.
///
/// # Errors
/// The first thing that does not fit, with its place.
pub fn read(text: &str, surroundings: &Surroundings<'_>) -> Result<BenchPlan, PlanFault> {
    let raw: RawPlan = toml::from_str(text)?;
    let at = |wrong: String| fault("plan", wrong);
    let title = raw.title.clone().ok_or_else(|| at("title is missing".to_owned()))?;
    let is_title = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if title.is_empty() || title.len() > NAME_SIZE_MAX || !title.bytes().all(is_title) {
        let wrong = "title is lower-case letters, digits and hyphens: files are named after it";
        return Err(at(wrong.to_owned()));
    }
    let about = about(raw.about.as_deref()).map_err(at)?;
    let (given, default) = if surroundings.is_quick {
        (raw.quick.repetitions.or(raw.repetitions.map(|all| all.min(2))), REPETITIONS_QUICK)
    } else {
        (raw.repetitions, REPETITIONS)
    };
    let repetitions = count("repetitions", given, default, 1..=REPETITIONS_MAX).map_err(at)?;
    words("serve", &raw.serve).and_then(|()| flags(&raw.serve)).map_err(at)?;
    let arms = read_arms(&raw)?;
    let workloads = read_workloads(&raw, surroundings)?;
    let families: Vec<&str> = workloads.iter().map(|one| one.family.as_str()).collect();
    for arm in &arms {
        if let Some(wrong) = arm.families.iter().find(|one| !families.contains(&one.as_str())) {
            let place = format!("arm {:?}", arm.name);
            return Err(fault(&place, format!("workloads: there is no {wrong:?}")));
        }
    }
    let trials = arms.len() * workloads.len() * repetitions as usize;
    if trials > TRIALS_MAX {
        return Err(at(format!("{trials} runs altogether: at most {TRIALS_MAX}")));
    }
    // A quick run leaves places of a grid out; claims about them are not measured, and no fault.
    let all_places = Surroundings { is_quick: false, ..*surroundings };
    let claims = read_claims(&raw, &arms, &read_workloads(&raw, &all_places)?)?;
    let repetitions = u32::try_from(repetitions).unwrap_or(u32::MAX);
    Ok(BenchPlan { title, about, repetitions, arms, workloads, claims })
}

fn read_arms(raw: &RawPlan) -> Result<Vec<Arm>, PlanFault> {
    if !(1..=ARMS_MAX).contains(&raw.arm.len()) {
        return Err(fault("plan", format!("there are 1 to {ARMS_MAX} [[arm]]")));
    }
    let mut arms: Vec<Arm> = Vec::new();
    for (index, raw_arm) in raw.arm.iter().enumerate() {
        let place = place_of("arm", raw_arm.name.as_deref(), index);
        let arm = read_arm(raw_arm).map_err(|wrong| fault(&place, wrong))?;
        if arms.iter().any(|other| other.name == arm.name) {
            return Err(fault(&place, "there is another of this name".to_owned()));
        }
        arms.push(arm);
    }
    Ok(arms)
}

fn read_arm(raw: &RawArm) -> Result<Arm, String> {
    let name = name(raw.name.as_deref())?;
    let workers = optional("workers", raw.workers, 1..=WORKERS_MAX)?;
    let threads = optional("threads", raw.threads, 0..=THREADS_MAX)?;
    let told = about(raw.about.as_deref())?;
    let (program, about) = match &raw.command {
        Some(command) => {
            if raw.accept.is_some() || raw.serve.is_some() {
                return Err("accept and serve are of maitred, command is of another server".into());
            }
            words("command", command)?;
            if command.is_empty() {
                return Err("command is a program and its arguments".to_owned());
            }
            let url = raw.url.clone().ok_or("url is missing: http://127.0.0.1:{port}")?;
            if !url.starts_with("http://") || url.len() > TEXT_SIZE_MAX {
                return Err("url is http://ADDRESS:PORT/PATH, with {port} for a free one".into());
            }
            let program =
                Program::Foreign { command: command.clone(), url, files: files(&raw.files)? };
            let told = if told.is_empty() { "another server".to_owned() } else { told };
            (program, told)
        }
        None => {
            if raw.url.is_some() || !raw.files.is_empty() {
                return Err("url and files need a command".to_owned());
            }
            let accept = raw.accept.as_deref().unwrap_or(MASTER);
            let way = arms::about(accept).ok_or_else(|| {
                format!("accept is one of {}", arms::ways().collect::<Vec<_>>().join(", "))
            })?;
            let own = raw.serve.clone().unwrap_or_default();
            words("serve", &own)?;
            flags(&own)?;
            let separator = if told.is_empty() { "" } else { "; " };
            let about = format!("{told}{separator}{way}");
            (Program::Maitred { accept: accept.to_owned(), flags: own }, about)
        }
    };
    Ok(Arm { name, about, program, workers, threads, families: raw.workloads.clone() })
}

/// Files are named, not placed: no path leads out of the directory.
fn files(files: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, String> {
    let is_plain = |name: &String| {
        let is_right = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        !name.is_empty() && !name.starts_with('.') && name.bytes().all(is_right)
    };
    if files.len() > FILES_MAX || !files.keys().all(is_plain) {
        return Err(format!("files are at most {FILES_MAX}, named by letters, digits, . _ -"));
    }
    Ok(files.clone())
}

fn read_workloads(
    raw: &RawPlan,
    surroundings: &Surroundings<'_>,
) -> Result<Vec<Workload>, PlanFault> {
    let mut workloads: Vec<Workload> = Vec::new();
    for (index, raw_workload) in raw.workload.iter().enumerate() {
        let place = place_of("workload", raw_workload.name.as_deref(), index);
        let family = name(raw_workload.name.as_deref()).map_err(|wrong| fault(&place, wrong))?;
        if workloads.iter().any(|other| other.family == family) {
            return Err(fault(&place, "there is another of this name".to_owned()));
        }
        let placed = grid::places(raw_workload, surroundings.is_quick)
            .map_err(|wrong| fault(&format!("{place}, grid"), wrong))?;
        if placed.is_empty() {
            let reading = Reading { raw, surroundings, family: &family, place: &place };
            workloads.push(reading.workload(raw_workload, family.clone(), None)?);
        }
        let load_max = raw_workload.grid.as_ref().and_then(|grid| grid.load_max);
        let load_max = load_max.unwrap_or(LOAD_MAX);
        let count_before = workloads.len();
        for one in placed.iter() {
            let place = format!("{place}, place {}", one.suffix);
            let reading = Reading { raw, surroundings, family: &family, place: &place };
            let name = format!("{family}{}", one.suffix);
            let workload = reading.workload(&one.raw, name, Some(one.place.clone()))?;
            if load(&workload, surroundings.cores) <= load_max {
                workloads.push(workload);
            }
            if workloads.len() > WORKLOADS_MAX {
                break;
            }
        }
        if !placed.is_empty() && workloads.len() == count_before {
            return Err(fault(&place, format!("no place of its grid has a load up to {load_max}")));
        }
    }
    if !(1..=WORKLOADS_MAX).contains(&workloads.len()) {
        return Err(fault("plan", format!("there are 1 to {WORKLOADS_MAX} workloads")));
    }
    Ok(workloads)
}

/// The share of what its servers can do that a workload asks for; 0 where nobody can say.
fn load(workload: &Workload, cores: usize) -> f64 {
    let places = f64::from(workload.workers) * f64::from(workload.threads.max(1));
    workload.classes.iter().map(|class| classes::load(class, places, cores)).sum()
}

/// One workload that is being read.
struct Reading<'a> {
    raw: &'a RawPlan,
    surroundings: &'a Surroundings<'a>,
    family: &'a str,
    place: &'a str,
}

impl Reading<'_> {
    fn workload(
        &self,
        raw: &RawWorkload,
        name: String,
        grid: Option<GridPlace>,
    ) -> Result<Workload, PlanFault> {
        let at = |wrong: String| fault(self.place, wrong);
        let (duration, warm_up) = self.times(raw).map_err(at)?;
        let workers = raw.workers.or(self.raw.workers);
        let workers = optional("workers", workers, 1..=WORKERS_MAX).map_err(at)?;
        let workers = workers.unwrap_or(WORKERS);
        let threads = raw.threads.or(self.raw.threads);
        let threads = optional("threads", threads, 0..=THREADS_MAX).map_err(at)?;
        let threads = threads.unwrap_or(THREADS);
        words("serve", &raw.serve).and_then(|()| flags(&raw.serve)).map_err(at)?;
        let context = ClassContext {
            workers,
            threads,
            duration,
            warm_up,
            read_trace: self.surroundings.read_trace,
            place: self.place,
        };
        let (classes, sets) = classes::read(raw, &context)?;
        let connections = CONNECTIONS_MAX as u64;
        let background = optional("background", raw.background, 0..=connections).map_err(at)?;
        let at_once = optional("opened_at_once", raw.opened_at_once, 1..=OPENING_MAX as u64);
        let generators = optional("generators", raw.generators, 1..=GENERATORS_MAX).map_err(at)?;
        let slo = raw.slo_ms.map(|ms| seconds("slo_ms", ms / 1e3)).transpose().map_err(at)?;
        let within = raw.answer_within_s.unwrap_or(ANSWER_WITHIN_S);
        let answer_within = seconds("answer_within_s", within).map_err(at)?;
        let event = raw.event.as_ref().map(event).transpose().map_err(at)?;
        Ok(Workload {
            name,
            family: self.family.to_owned(),
            about: about(raw.about.as_deref()).map_err(at)?,
            classes,
            sets,
            background: background.unwrap_or(0).into(),
            opened_at_once: at_once.map_err(at)?.map_or(OPENED_AT_ONCE, u32::from),
            generators: generators.map(u32::from),
            duration,
            warm_up,
            answer_within,
            slo,
            event,
            workers,
            threads,
            flags: self.raw.serve.iter().chain(&raw.serve).cloned().collect(),
            grid,
        })
    }

    /// In a quick run nothing lasts longer than the plan's `[quick]` says.
    fn times(&self, raw: &RawWorkload) -> Result<(Duration, Duration), String> {
        let mut duration_s = raw.duration_s.or(self.raw.duration_s).unwrap_or(DURATION_S);
        let mut warm_up_s = raw.warm_up_s.or(self.raw.warm_up_s).unwrap_or(WARM_UP_S);
        if self.surroundings.is_quick {
            let quick = &self.raw.quick;
            duration_s = duration_s.min(quick.duration_s.unwrap_or(DURATION_QUICK_S));
            warm_up_s = warm_up_s.min(quick.warm_up_s.unwrap_or(WARM_UP_QUICK_S));
        }
        let duration = seconds("duration_s", duration_s)?;
        if !(TRIAL_DURATION_MIN..=TRIAL_DURATION_MAX).contains(&duration) {
            return Err(format!("duration_s is from 0.05 to {}", TRIAL_DURATION_MAX.as_secs()));
        }
        let warm_up = match warm_up_s {
            0.0 => Duration::ZERO,
            _ => seconds("warm_up_s", warm_up_s)?,
        };
        if warm_up > duration - TRIAL_DURATION_MIN {
            return Err("warm_up_s is part of duration_s and leaves at least 0.05".to_owned());
        }
        Ok((duration, warm_up))
    }
}

fn event(raw: &RawEvent) -> Result<Event, String> {
    let at = share("event: at_share", raw.at_share.unwrap_or(0.25))?;
    let lasts = share("event: for_share", raw.for_share.unwrap_or(0.5))?;
    if at + lasts > 1.0 && raw.kind.as_deref() != Some("killed") {
        return Err("event: at_share and for_share are at most 1 together".to_owned());
    }
    match raw.kind.as_deref() {
        Some("stalled") => Ok(Event::Stalled { at, lasts }),
        Some("slow") => {
            let times = raw.times_slower.unwrap_or(4.0);
            if !(times > 1.0 && times <= SLOWER_MAX) {
                return Err(format!("event: times_slower is above 1 and at most {SLOWER_MAX}"));
            }
            Ok(Event::Slow { at, lasts, times })
        }
        Some("killed") => {
            let count = optional("event: count", raw.count, 1..=100)?.map_or(1, u32::from);
            Ok(Event::Killed { at, count })
        }
        _ => Err("event: kind is stalled, slow, or killed".to_owned()),
    }
}

fn read_claims(
    raw: &RawPlan,
    arms: &[Arm],
    workloads: &[Workload],
) -> Result<Vec<Claim>, PlanFault> {
    if raw.prediction.len() > PREDICTIONS_MAX {
        return Err(fault("plan", format!("at most {PREDICTIONS_MAX} predictions")));
    }
    let measures = measure::catalogue();
    let vocabulary = Vocabulary {
        measures: &measures,
        arms: &arms.iter().map(|arm| arm.name.as_str()).collect::<Vec<_>>(),
        workloads: &workloads.iter().map(Workload::info).collect::<Vec<_>>(),
    };
    let claims = raw.prediction.iter().enumerate().map(|(index, raw)| {
        let place = place_of("prediction", raw.text.as_deref(), index);
        let text = raw.text.as_deref().unwrap_or_default();
        let because = about(raw.because.as_deref()).map_err(|wrong| fault(&place, wrong))?;
        if because.is_empty() {
            return Err(fault(&place, "because is missing: who says so?".to_owned()));
        }
        Claim::parse(text, &because, &vocabulary).map_err(|wrong| fault(&place, wrong))
    });
    claims.collect()
}

/// `arm "master"`, or `arm 3` of one without a name.
fn place_of(kind: &str, name: Option<&str>, index: usize) -> String {
    match name {
        Some(name) => format!("{kind} {:?}", name.chars().take(80).collect::<String>()),
        None => format!("{kind} {}", index + 1),
    }
}

pub(super) fn fault(place: &str, wrong: String) -> PlanFault {
    PlanFault::Value { place: place.to_owned(), wrong }
}

/// A name, which predictions can name too.
pub(super) fn name(given: Option<&str>) -> Result<String, String> {
    let name = given.ok_or("name is missing")?.trim();
    let is_right = |letter: char| !letter.is_control() && !",()|:*\"".contains(letter);
    if name.is_empty() || name.len() > NAME_SIZE_MAX || !name.chars().all(is_right) {
        return Err(format!("name has 1 to {NAME_SIZE_MAX} bytes, without , ( ) | : * \""));
    }
    Ok(name.to_owned())
}

/// A text in one line.
fn about(given: Option<&str>) -> Result<String, String> {
    let text = given.unwrap_or_default();
    if text.len() > TEXT_SIZE_MAX {
        return Err(format!("a text has at most {TEXT_SIZE_MAX} bytes"));
    }
    Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn words(key: &str, words: &[String]) -> Result<(), String> {
    let fits = |word: &String| word.len() <= TEXT_SIZE_MAX && !word.contains('\0');
    if words.len() > WORDS_MAX || !words.iter().all(fits) {
        return Err(format!("{key} has at most {WORDS_MAX} words, each of {TEXT_SIZE_MAX} bytes"));
    }
    Ok(())
}

fn flags(flags: &[String]) -> Result<(), String> {
    let refused = flags.iter().find_map(|flag| Some((flag, arms::refusal(flag)?)));
    refused.map_or(Ok(()), |(flag, instead)| Err(format!("serve: not {flag}: {instead}")))
}

fn count(
    key: &str,
    given: Option<i64>,
    default: u64,
    bounds: RangeInclusive<u64>,
) -> Result<u64, String> {
    let Some(given) = given else { return Ok(default) };
    let number = u64::try_from(given).ok().filter(|number| bounds.contains(number));
    number.ok_or_else(|| format!("{key} is from {} to {}", bounds.start(), bounds.end()))
}

/// A number that fits 16 bits by its bounds.
pub(super) fn optional(
    key: &str,
    given: Option<i64>,
    bounds: RangeInclusive<u64>,
) -> Result<Option<u16>, String> {
    let Some(given) = given else { return Ok(None) };
    let number = count(key, Some(given), 0, bounds.clone())?;
    let number = u16::try_from(number);
    number.map(Some).map_err(|_| format!("{key} is from {} to {}", bounds.start(), u16::MAX))
}

pub(super) fn share(key: &str, value: f64) -> Result<f64, String> {
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err(format!("{key} is from 0 to 1")) }
}

/// A time above nothing.
pub(super) fn seconds(key: &str, seconds: f64) -> Result<Duration, String> {
    let time = Duration::try_from_secs_f64(seconds).ok();
    let time = time.filter(|time| !time.is_zero() && *time <= TRIAL_DURATION_MAX);
    time.ok_or_else(|| {
        let (unit, most) = match key.ends_with("ms") {
            true => ("milliseconds", TRIAL_DURATION_MAX.as_millis()),
            false => ("seconds", u128::from(TRIAL_DURATION_MAX.as_secs())),
        };
        format!("{key} is above 0 and at most {most} {unit}")
    })
}

#[cfg(test)]
#[path = "read/tests.rs"]
mod tests;
