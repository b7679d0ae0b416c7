//! Where the command line ends and the server begins: two calls.
//!
//! The order in each is the point: what must happen while the process has one thread comes first,
//! then the log (which starts a thread), then the rest.
//!
//! Not here: what a master or a worker does (`master`, `worker`).

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use crate::app::{Echo, Handler, StaticFiles};
use crate::cli::python::{PythonHost, check_interpreter, interpreter};
use crate::cli::raw::RawServe;
use crate::cli::resolve::Resolved;
use crate::cli::settling::{Role, settle};
use crate::cli::watching;
use crate::config::{App, LogDestination, PythonApp, Settings};
use crate::exit::{Chain, Exit, RunError};
use crate::master::Hooks;
use crate::observe::logging::{self, Process};
use crate::observe::sink;
use crate::sys::inherit::{InheritError, Inheritance};
use crate::sys::launch::LaunchCommand;
use crate::sys::upgrade::{Errand, SignalsBlocked};
use crate::{master, worker};

/// Set for workers that start beside another one: that one shows why none can.
const QUIET_START: &str = "MAITRED_QUIET_START";

/// Serves as the master, until it is told to stop. An error means that there was no log yet.
///
/// A reload asks for the settings again, with the same arguments: the configuration file may say
/// something else by then.
pub(super) fn serve(
    raw: RawServe,
    mut resolved: Resolved,
    errand: Errand,
    is_python: bool,
) -> Result<Exit, RunError> {
    let launch = LaunchCommand::of_this_process().map_err(system("finding this program"))?;
    let here = std::env::current_dir().map_err(system("finding the working directory"))?;
    let workplace = workplace_of(&resolved.settings, &here)?;
    if let Some(found) = choose_interpreter(&mut resolved.settings, is_python, &here, &workplace)
        // A server that goes on after an upgrade has workers already, and may not end for this.
        && !matches!(errand, Errand::Resume(_))
    {
        check_interpreter(&found, &workplace)
            .map_err(|cause| RunError::Application(cause.into()))?;
    }
    check_application(&resolved.settings, &workplace)?;
    let goes_on = matches!(errand, Errand::Resume(_));
    if !goes_on {
        check_logs(&resolved, &workplace)?;
    }
    let left = match errand {
        Errand::None => None,
        Errand::Resume(state) => Some(state),
        Errand::Preflight { mut state, mut answer } => {
            return master::upgrade::answer(&mut state, &mut answer).map(|()| Exit::Done);
        }
    };
    // The log's thread never gets a signal: the master looks for the last ones itself before it is
    // replaced. It unblocks them for its own thread once it catches them.
    SignalsBlocked::begin().map_err(system("blocking signals"))?.keep();
    let options = in_place(resolved.log, &workplace);
    let log = Rc::new(start_masters_log(&options, goes_on)?);
    if let Some(watch) = &resolved.settings.reload {
        watching::start(watch, &workplace)?;
    }
    let flushed = Rc::clone(&log);
    let flush_log = move || {
        flushed.flush();
    };
    let begun_with = options.clone();
    let settings_again = move || {
        let again = settle(&raw, Role::Master).map_err(|unsettled| unsettled.to_string());
        let again = again?.resolved;
        let place = workplace_of(&again.settings, &here).map_err(|cause| cause.to_string())?;
        check_logs(&again, &place).map_err(|error| Chain(&error).to_string())?;
        if in_place(again.log, &place) != begun_with {
            tracing::warn!("the log has changed: workers take it over, the master by USR2");
        }
        let mut settings = again.settings;
        choose_interpreter(&mut settings, is_python, &here, &place);
        Ok(settings)
    };
    let hooks = Hooks { flush_log: Box::new(flush_log), settings_again: Box::new(settings_again) };
    let served = master::run(resolved.settings, launch, left, hooks);
    Ok(reported(served, &options.to))
}

/// Serves as a worker, until the master has no more use for it. An error means that there was no
/// log yet.
pub(super) fn work(
    resolved: Resolved,
    handler: impl Handler,
    python: Option<&dyn PythonHost>,
) -> Result<Exit, RunError> {
    // First of all: it takes variables out of the environment, and the log starts a thread.
    let inheritance = Inheritance::take().map_err(|error| match error {
        InheritError::Missing(_) => RunError::NotStartedByMaster,
        InheritError::Invalid { .. } | InheritError::System(_) => {
            RunError::System { doing: "starting a worker".into(), source: error.into() }
        }
    })?;
    let incarnation = inheritance.incarnation;
    let process = Process::Worker { incarnation, pid: std::process::id() };
    let to = resolved.log.to.clone();
    let _log = start_log(resolved.log, process)?;
    let quiet = std::env::var_os(QUIET_START).is_some();
    if let App::Python(app) = &resolved.settings.app {
        let Some(python) = python else { return Err(RunError::NotStartedByMaster) };
        let settings = Arc::new(resolved.settings.clone());
        return Ok(work_in_python(python, app, settings, inheritance, quiet, &to));
    }
    let handler = match application(&resolved.settings.app, handler) {
        Ok(handler) => handler,
        Err(error) if quiet => return Ok(error.exit_code()),
        Err(error) => return Ok(reported(Err(error), &to)),
    };
    let served = worker::run(Arc::new(resolved.settings), handler, inheritance);
    let outcome = served.map(|()| Exit::Done).map_err(|error| RunError::System {
        doing: "serving as a worker".into(),
        source: error.into(),
    });
    Ok(reported(outcome, &to))
}

/// Says that the settings hold, and where they come from. An error is what `serve` would say at once.
pub(super) fn check(resolved: &Resolved) -> Result<Exit, RunError> {
    let here = std::env::current_dir().map_err(system("finding the working directory"))?;
    let workplace = workplace_of(&resolved.settings, &here)?;
    check_application(&resolved.settings, &workplace)?;
    check_logs(resolved, &workplace)?;
    let from = match &resolved.settings.config {
        Some(config) => format!("{}: ", config.path.display()),
        None => String::new(),
    };
    // A reader that has gone has its exit code all the same.
    let _ = writeln!(io::stdout(), "{from}these settings hold");
    Ok(Exit::Done)
}

/// A program that is no interpreter needs one for a Python application.
fn choose_interpreter(
    settings: &mut Settings,
    is_python: bool,
    here: &Path,
    workplace: &Path,
) -> Option<PathBuf> {
    let App::Python(app) = &mut settings.app else { return None };
    if is_python && app.interpreter.is_none() {
        return None;
    }
    app.interpreter = Some(interpreter(app.interpreter.as_deref(), here, workplace));
    app.interpreter.clone()
}

fn work_in_python(
    python: &dyn PythonHost,
    app: &PythonApp,
    settings: Arc<Settings>,
    inheritance: Inheritance,
    quiet: bool,
    log: &LogDestination,
) -> Exit {
    let Err(error) = python.serve(app, settings, inheritance) else { return Exit::Done };
    if quiet && error.traceback().is_some() {
        return RunError::from(error).exit_code();
    }
    if let Some(traceback) = error.traceback() {
        // As Python itself would show it; nobody is left to tell if that fails.
        let _ = io::stderr().write_all(traceback.as_bytes());
    }
    reported(Err(error.into()), log)
}

/// The directory in which the workers will run.
fn workplace_of(settings: &Settings, here: &Path) -> Result<PathBuf, RunError> {
    let Some(directory) = &settings.chdir else { return Ok(here.to_owned()) };
    let directory = here.join(directory);
    let refused = match std::fs::metadata(&directory) {
        Ok(found) if found.is_dir() => return Ok(directory),
        Ok(_) => io::Error::from(io::ErrorKind::NotADirectory),
        Err(error) => error,
    };
    Err(RunError::Application(format!("--chdir {}: {refused}", directory.display()).into()))
}

/// Says at once what every worker would find out: one message, and no worker started in vain.
fn check_application(settings: &Settings, workplace: &Path) -> Result<(), RunError> {
    match &settings.app {
        App::Static { root, browse } => StaticFiles::open(&workplace.join(root), *browse)
            .map(|_| ())
            .map_err(|error| RunError::Application(error.into())),
        App::Embedded | App::Echo | App::Python(_) | App::Command(_) => Ok(()),
    }
}

/// Says at once which log could not be opened.
fn check_logs(resolved: &Resolved, workplace: &Path) -> Result<(), RunError> {
    let access = resolved.settings.access_log.as_ref().map(|options| ("access log", &options.to));
    for (what, to) in access.into_iter().chain([("log", &resolved.log.to)]) {
        sink::check(to, workplace).map_err(system(&format!("opening the {what} {to}")))?;
    }
    Ok(())
}

/// A relative path is meant from where the workers run.
fn in_place(mut options: logging::Options, workplace: &Path) -> logging::Options {
    if let LogDestination::File(path) = &options.to {
        options.to = LogDestination::File(workplace.join(path));
    }
    options
}

fn application(app: &App, embedded: impl Handler) -> Result<Arc<dyn Handler>, RunError> {
    Ok(match app {
        App::Embedded => Arc::new(embedded),
        App::Echo => Arc::new(Echo),
        App::Static { root, browse } => Arc::new(
            StaticFiles::open(root, *browse)
                .map_err(|error| RunError::Application(error.into()))?,
        ),
        // Such a worker is that command, or inside an interpreter, not this program.
        App::Python(_) | App::Command(_) => return Err(RunError::NotStartedByMaster),
    })
}

/// The exit code of an outcome; an error is an event of the log like others. Where that goes
/// elsewhere, whoever has started the process hears of it too.
fn reported(outcome: Result<Exit, RunError>, log: &LogDestination) -> Exit {
    outcome.unwrap_or_else(|error| {
        tracing::error!("{}", Chain(&error));
        if *log != LogDestination::Stderr {
            // Nobody is left to tell if that fails.
            let _ = writeln!(io::stderr(), "{}", Chain(&error));
        }
        error.exit_code()
    })
}

/// The log of a master. One that goes on from another image goes on without its file too.
fn start_masters_log(options: &logging::Options, goes_on: bool) -> Result<logging::Log, RunError> {
    let process = Process::Master { pid: std::process::id() };
    match start_log(options.clone(), process) {
        Err(error) if goes_on => {
            let to = LogDestination::Stderr;
            let log = start_log(logging::Options { to, ..options.clone() }, process)?;
            tracing::error!("the log is here from now on: {}", Chain(&error));
            Ok(log)
        }
        log => log,
    }
}

fn start_log(options: logging::Options, process: Process) -> Result<logging::Log, RunError> {
    let doing = format!("starting the log ({})", options.to);
    logging::start(options, process).map_err(system(&doing))
}

fn system(doing: &str) -> impl FnOnce(std::io::Error) -> RunError {
    let doing = doing.to_owned();
    move |source| RunError::System { doing, source: source.into() }
}
