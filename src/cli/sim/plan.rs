//! `maitred sim PLAN`: a plan of `bench` in virtual time.
//!
//! Not here: the runs (`crate::sim::run`), reading plans (`cli::bench`).

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Command};

use crate::cli::bench::{self, Failed};
use crate::cli::raw::RawServe;
use crate::cli::resolve::{Accounts, Surroundings, resolve};
use crate::cli::sim::bar;
use crate::config::Settings;
use crate::exit::{BoxedError, Chain, Exit};
use crate::experiment::report::folder::{Folder, FolderError};
use crate::experiment::report::table::table;
use crate::sim::against::{self, Measured};
use crate::sim::costs::Costs;
use crate::sim::run::{self, Options, SimError};
use crate::sim::server::Herd;

/// What was asked for.
pub(super) struct Asked {
    pub(super) plan: OsString,
    pub(super) seed: u64,
    pub(super) is_quick: bool,
    pub(super) json: bool,
    pub(super) out: Option<PathBuf>,
    pub(super) compare: Option<PathBuf>,
    pub(super) command: Vec<String>,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Plan(#[from] Failed),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Sim(#[from] SimError),
    #[error("{path:?} is no result of a bench")]
    Compare {
        path: PathBuf,
        #[source]
        source: BoxedError,
    },
}

impl Fault {
    fn exit(&self) -> Exit {
        match self {
            Fault::Plan(failed) => failed.exit(),
            Fault::Folder(FolderError::Occupied { .. }) => Exit::Usage,
            Fault::Folder(FolderError::System { .. }) | Fault::Sim(_) => Exit::Failed,
            Fault::Compare { .. } => Exit::Usage,
        }
    }
}

pub(super) fn run(program: &str, asked: &Asked) -> u8 {
    match simulate(asked) {
        Ok(text) => {
            // A reader that has gone has the files all the same.
            let _ = io::stdout().write_all(text.as_bytes());
            Exit::Done as u8
        }
        Err(fault) => {
            crate::cli::complain(program, &Chain(&fault));
            fault.exit() as u8
        }
    }
}

fn simulate(asked: &Asked) -> Result<String, Fault> {
    let plan = bench::find_plan(&asked.plan, asked.is_quick)?;
    let measured = asked.compare.as_deref().map(read_measured).transpose()?;
    let wants_files = asked.out.is_some() || (!asked.json && measured.is_none());
    let path = asked.out.clone().unwrap_or_else(|| bench::default_folder("sim", &plan.title));
    let folder = wants_files.then(|| Folder::open(&path)).transpose()?;
    let options = Options {
        seed: asked.seed,
        is_quick: asked.is_quick,
        command: asked.command.clone(),
        costs: Costs::MEASURED,
        herd: Herd::CAPTURED,
    };
    let bar = bar(run::count_of_runs(&plan));
    let report = run::run(&plan, &options, &settings_of, || bar.inc(1));
    bar.finish_and_clear();
    let report = report?;
    if let Some(folder) = &folder {
        folder.write(&report)?;
    }
    if let Some(measured) = measured {
        let compared = against::compare(&report, &measured);
        return Ok(if asked.json { json(&compared) } else { against::text(&compared) });
    }
    if asked.json {
        return Ok(json(&report));
    }
    Ok(format!("{}\n{}\n", table(&report), path.display()))
}

fn json(value: &impl serde::Serialize) -> String {
    // Structs of numbers and names always have a JSON form.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

fn read_measured(path: &Path) -> Result<Vec<Measured>, Fault> {
    let fault = |source: BoxedError| Fault::Compare { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(|source| fault(source.into()))?;
    let read = match path.extension().and_then(OsStr::to_str) {
        Some("csv") => against::of_figures(&text),
        _ => against::of_report(&text),
    };
    read.map_err(|source| fault(source.into()))
}

/// What `maitred serve` makes of these arguments, variables and files aside: a simulation is the
/// same everywhere.
fn settings_of(words: &[String]) -> Result<Settings, String> {
    let command = RawServe::augment_args(Command::new("serve").no_binary_name(false));
    let matches = command.try_get_matches_from(words).map_err(|error| error.to_string())?;
    let raw = <RawServe as clap::FromArgMatches>::from_arg_matches(&matches)
        .map_err(|error| error.to_string())?;
    let surroundings = Surroundings {
        variables: &|_| None,
        config: None,
        lookup: &|_| Ok(Vec::new()),
        accounts: Accounts { user: &|_| Ok(None), group: &|_| Ok(None), own_uid: 0 },
        cores: 1,
        systemd_sockets: Vec::new(),
    };
    let resolved = resolve(&raw, &surroundings).map_err(|faults| faults.to_string())?;
    Ok(resolved.settings)
}
