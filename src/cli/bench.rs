//! `maitred bench`: a plan is found, run, and its result written.
//!
//! Not here: plans, runs, files (`experiment`), what is told meanwhile (`progress`).

mod progress;

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::cli::bench::progress::Progress;
use crate::cli::complain;
use crate::cli::faults::{Given, Reader, variable_of};
use crate::cli::raw::RawBench;
use crate::cli::values::{self, Refusal};
use crate::exit::{BoxedError, Chain, Exit};
use crate::experiment::load::{Due, replay};
use crate::experiment::plan::limits::PLAN_SIZE_MAX;
use crate::experiment::plan::presets::{PRESETS, preset};
use crate::experiment::plan::{BenchPlan, Surroundings, read};
use crate::experiment::report::compare;
use crate::experiment::report::folder::{Folder, FolderError};
use crate::experiment::report::schema::{BenchReport, Outcome};
use crate::experiment::report::table::table;
use crate::experiment::run::{
    self, BenchError, Interrupts, Options, count_of_runs, rfc3339, usable_cores,
};
use crate::sys::launch::LaunchCommand;

/// Seed where nobody says one: the same for everybody, so that figures can be compared.
const SEED: u64 = 1;

/// What was asked for.
struct Asked {
    plan: OsString,
    is_quick: bool,
    is_raw: bool,
    is_strict: bool,
    seed: u64,
    out: Option<PathBuf>,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error("{path:?} is no preset (--list names them), and cannot be read as a plan")]
    Plan {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path:?}")]
    Fault {
        path: PathBuf,
        #[source]
        source: BoxedError,
    },
    #[error("the plan is larger than {PLAN_SIZE_MAX} bytes")]
    TooLarge,
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("{0}")]
    System(&'static str, #[source] io::Error),
    #[error(transparent)]
    Bench(#[from] BenchError),
}

impl Failed {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Failed::Plan { .. } | Failed::Fault { .. } | Failed::TooLarge => Exit::Usage,
            Failed::Folder(FolderError::Occupied { .. }) => Exit::Usage,
            Failed::Folder(FolderError::System { .. }) | Failed::System(..) | Failed::Bench(_) => {
                Exit::Failed
            }
        }
    }
}

pub(super) fn run(program: &str, arguments: &[OsString], raw: &RawBench) -> u8 {
    if raw.list {
        return print(&list());
    }
    if let Some(name) = &raw.show {
        let Some(preset) = preset(name) else {
            complain(program, &format_args!("--show: {name:?} is no preset; see --list"));
            return Exit::Usage as u8;
        };
        return print(preset.text);
    }
    if let [a, b] = raw.compare.as_slice() {
        let compared = compare::run(Path::new(a), Path::new(b), &mut io::stdout());
        return match compared {
            Ok(()) => Exit::Done as u8,
            Err(error) => {
                complain(program, &Chain(&error));
                Exit::Failed as u8
            }
        };
    }
    let variables = |name: &str| std::env::var_os(name);
    let mut reader = Reader::new(&variables);
    let asked = asked(raw, &mut reader);
    let asked = match reader.finish(asked) {
        Ok(Some(asked)) => asked,
        Ok(None) => {
            let missing = "bench needs a PLAN: a preset (--list names them; hello is the one to \
                           begin with), or a file";
            complain(program, &missing);
            return Exit::Usage as u8;
        }
        Err(faults) => {
            faults.iter().for_each(|fault| complain(program, fault));
            return Exit::Usage as u8;
        }
    };
    match measure(&asked, arguments) {
        Ok(report) => {
            let has_failed = report.predictions.iter().any(|one| one.outcome == Outcome::Failed);
            let exit = if asked.is_strict && has_failed { Exit::Failed } else { Exit::Done };
            exit as u8
        }
        Err(failed) => {
            complain(program, &Chain(&failed));
            failed.exit() as u8
        }
    }
}

fn asked(raw: &RawBench, reader: &mut Reader<'_>) -> Option<Asked> {
    let mut switch = |flag, typed: &Option<String>| {
        reader.value_or(flag, typed.as_deref(), false, values::switch)
    };
    let is_quick = switch("--quick", &raw.quick);
    let is_raw = switch("--raw", &raw.raw);
    let is_strict = switch("--strict", &raw.strict);
    let seed = reader.value_or("--seed", raw.seed.as_deref(), SEED, values::seed);
    let out = out(raw.out.as_ref(), reader);
    let plan = raw.plan.clone()?;
    Some(Asked { plan, is_quick, is_raw, is_strict, seed, out })
}

pub(super) fn out(typed: Option<&OsString>, reader: &mut Reader<'_>) -> Option<PathBuf> {
    const FLAG: &str = "--out";
    let given = match typed {
        Some(path) => Given { name: FLAG.to_owned(), value: path.clone(), typed: true },
        None => reader.variable(&variable_of(FLAG))?,
    };
    let path = |text: &std::ffi::OsStr| -> Result<PathBuf, Refusal> { values::path(text) };
    reader.parsed_raw(given, path).map(|given| given.value)
}

/// Runs what was asked for, writes the result, and prints the closing table.
fn measure(asked: &Asked, arguments: &[OsString]) -> Result<BenchReport, Failed> {
    let plan = find_plan(&asked.plan, asked.is_quick)?;
    let launch = LaunchCommand::of_this_process();
    let launch = launch.map_err(|source| Failed::System("finding this program", source))?;
    let out = asked.out.clone().unwrap_or_else(|| default_folder("bench", &plan.title));
    let folder = Folder::open(&out)?;
    let interrupts = Interrupts::catch();
    let interrupts = interrupts.map_err(|source| Failed::System("catching signals", source))?;
    let options = Options {
        maitred: launch.program().to_owned(),
        seed: asked.seed,
        is_quick: asked.is_quick,
        command: command(arguments),
    };
    let mut progress = Progress::new(count_of_runs(&plan), asked.is_raw.then(|| folder.clone()));
    let report = run::run(&plan, &options, &interrupts, &mut progress);
    progress.finish();
    if report.is_err() && asked.out.is_none() {
        // A directory that nobody has named, with nothing in it, is no result. What it cannot be
        // removed for is a reason to leave it.
        let _ = std::fs::remove_dir(folder.path());
    }
    let report = report?;
    folder.write(&report)?;
    let text = format!("{}\n{}\n", table(&report), folder.path().display());
    // A reader that has gone has the files all the same.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(report)
}

/// The arguments that repeat it, with the program's name in place of its path.
pub(super) fn command(arguments: &[OsString]) -> Vec<String> {
    let words = arguments.iter().skip(1).map(|word| word.to_string_lossy().into_owned());
    std::iter::once("maitred".to_owned()).chain(words).collect()
}

/// A preset by its name, or else a file.
pub(super) fn find_plan(plan: &OsStr, is_quick: bool) -> Result<BenchPlan, Failed> {
    let path = PathBuf::from(plan);
    let (text, folder) = match plan.to_str().and_then(preset) {
        Some(preset) => (preset.text.to_owned(), PathBuf::new()),
        None => {
            let text = read_bounded(&path)?;
            (text, path.parent().map(Path::to_owned).unwrap_or_default())
        }
    };
    let read_trace = |name: &Path| -> Result<Arc<[Due]>, Box<dyn Error + Send + Sync>> {
        // Beside the plan's file, wherever the bench is run.
        Ok(replay::parse(File::open(folder.join(name))?)?)
    };
    let surroundings = Surroundings { is_quick, cores: usable_cores(), read_trace: &read_trace };
    read(&text, &surroundings).map_err(|source| Failed::Fault { path, source: Box::new(source) })
}

fn read_bounded(path: &Path) -> Result<String, Failed> {
    let mut text = String::new();
    let read =
        File::open(path).and_then(|file| file.take(PLAN_SIZE_MAX + 1).read_to_string(&mut text));
    match read {
        Err(source) => Err(Failed::Plan { path: path.to_owned(), source }),
        Ok(length) if length as u64 > PLAN_SIZE_MAX => Err(Failed::TooLarge),
        Ok(_) => Ok(text),
    }
}

/// `bench-TITLE-DATE`, where the bench is run.
pub(super) fn default_folder(command: &str, title: &str) -> PathBuf {
    // `20260131T123456Z`: sorts by time, and is a file's name everywhere.
    let now = rfc3339(SystemTime::now()).replace(['-', ':'], "");
    PathBuf::from(format!("{command}-{title}-{now}"))
}

pub(super) fn list() -> String {
    let rows = PRESETS.iter().map(|preset| format!("{:14} {}\n", preset.name, preset.what));
    rows.collect()
}

fn print(text: &str) -> u8 {
    // A reader that has gone (`--list | head -1`) is no failure.
    let _ = io::stdout().write_all(text.as_bytes());
    Exit::Done as u8
}
