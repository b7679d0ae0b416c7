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
use crate::config::{App, LogDestination, Owner, PythonApp, Sandbox, Settings};
use crate::exit::{Chain, Exit, RunError};
use crate::master::Hooks;
use crate::observe::logging::{self, FilterHandle, Process};
use crate::observe::sink::{self, LogFile};
use crate::sys::inherit::{HelperInheritance, InheritError, Inheritance};
use crate::sys::launch::LaunchCommand;
use crate::sys::sandbox::{Permitted, SandboxError};
use crate::sys::upgrade::{Errand, SignalsBlocked};
use crate::sys::{privileges, sandbox};
use crate::{admin, master, worker};

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
    check_guard(&resolved.settings)?;
    if let Some(found) = choose_interpreter(&mut resolved.settings, is_python, &here, &workplace)
        // A server that goes on after an upgrade has workers already, and may not end for this.
        && !matches!(errand, Errand::Resume(_))
        // In another root directory there is another interpreter; its workers say what is wrong.
        && resolved.settings.privileges.chroot.is_none()
    {
        check_interpreter(&found, &workplace)
            .map_err(|cause| RunError::Application(cause.into()))?;
    }
    check_application(&resolved.settings, &workplace)?;
    put_in_place(&mut resolved, &here, &workplace);
    let goes_on = matches!(errand, Errand::Resume(_));
    if !goes_on {
        check_logs(&resolved)?;
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
    let (options, owner) = (resolved.log, resolved.settings.privileges.files_owner());
    let log = Rc::new(start_masters_log(&options, owner, goes_on)?);
    if let Some(LogDestination::File(path)) =
        resolved.settings.access_log.as_ref().map(|options| &options.to)
        && let Err(cause) = LogFile::open(path, owner)
    {
        // Its workers say so too, if they cannot do without.
        tracing::warn!(path = %path.display(), %cause, "opening the access log");
    }
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
        let mut again = again?.resolved;
        let place = workplace_of(&again.settings, &here);
        let place = place.map_err(|cause| Chain(&cause).to_string())?;
        check_guard(&again.settings).map_err(|cause| Chain(&cause).to_string())?;
        put_in_place(&mut again, &here, &place);
        check_logs(&again).map_err(|error| Chain(&error).to_string())?;
        if again.log != begun_with {
            tracing::warn!("the log has changed: workers take it over, the master by USR2");
        }
        let mut settings = again.settings;
        choose_interpreter(&mut settings, is_python, &here, &place);
        Ok(settings)
    };
    let filter = log.filter();
    let hooks = Hooks {
        flush_log: Box::new(flush_log),
        settings_again: Box::new(settings_again),
        set_log_level: Box::new(move |level| set_log_level(filter.as_ref(), level)),
    };
    let served = master::run(resolved.settings, launch, left, hooks);
    Ok(reported(served, &options.to))
}

/// Serves as a worker, until the master has no more use for it. An error means that there was no
/// log yet.
pub(super) fn work(
    mut resolved: Resolved,
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
    absolute_logs(&mut resolved);
    let to = resolved.log.to.clone();
    let incarnation = inheritance.incarnation;
    let process = Process::Worker { incarnation, pid: std::process::id() };
    let quiet = std::env::var_os(QUIET_START).is_some();
    // What an application opens at its start it opens before the sandbox, and a sandbox comes
    // before every other thread, the log's too.
    let is_python = matches!(resolved.settings.app, App::Python(_));
    let handler = (!is_python).then(|| application(&resolved.settings.app, handler));
    let sandboxed = enter_sandbox(&resolved);
    let _log = start_log(resolved.log, Owner::default(), process)?;
    if let Err(error) = sandboxed {
        if resolved.settings.sandbox == Sandbox::Required {
            let doing = "entering the sandbox".to_owned();
            return Ok(reported(Err(RunError::System { doing, source: error.into() }), &to));
        }
        tracing::warn!("--sandbox=try: not all of it holds: {}", Chain(&error));
    }
    if let App::Python(app) = &resolved.settings.app {
        let Some(python) = python else { return Err(RunError::NotStartedByMaster) };
        let settings = Arc::new(resolved.settings.clone());
        return Ok(work_in_python(python, app, settings, inheritance, quiet, &to));
    }
    let handler = match handler.unwrap_or(Err(RunError::NotStartedByMaster)) {
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

/// Answers operators, until the master goes. An error means that there was no log yet.
pub(super) fn answer(resolved: Resolved) -> Result<Exit, RunError> {
    // First of all, as in a worker.
    let inheritance = HelperInheritance::take().map_err(|error| match error {
        InheritError::Missing(_) => RunError::NotStartedByMaster,
        InheritError::Invalid { .. } | InheritError::System(_) => {
            RunError::System { doing: "starting the admin helper".into(), source: error.into() }
        }
    })?;
    let to = resolved.log.to.clone();
    let process = Process::Helper { pid: std::process::id() };
    let log = start_log(resolved.log, Owner::default(), process)?;
    let filter = log.filter();
    let set = Box::new(move |level: &str| set_log_level(filter.as_ref(), level));
    let served = admin::helper::run(inheritance, set);
    let outcome = served.map(|()| Exit::Done).map_err(|error| RunError::System {
        doing: "serving the admin address".into(),
        source: error.into(),
    });
    Ok(reported(outcome, &to))
}

/// Sets what is worth a line of this process's log.
fn set_log_level(filter: Option<&FilterHandle>, level: &str) -> Result<(), String> {
    let parsed = logging::Filter::parse(level).map_err(|refusal| format!("level {refusal}"))?;
    let filter = filter.ok_or("this program has a log of its own".to_owned())?;
    filter.set(parsed)
}

/// Says that the settings hold, and where they come from. An error is what `serve` would say at once.
pub(super) fn check(resolved: &Resolved) -> Result<Exit, RunError> {
    let here = std::env::current_dir().map_err(system("finding the working directory"))?;
    let workplace = workplace_of(&resolved.settings, &here)?;
    check_application(&resolved.settings, &workplace)?;
    check_guard(&resolved.settings)?;
    let mut seen = resolved.clone();
    put_in_place(&mut seen, &here, &workplace);
    check_logs(&seen)?;
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

/// Says at once what no worker could be given.
fn check_guard(settings: &Settings) -> Result<(), RunError> {
    privileges::check(&settings.privileges).map_err(|error| RunError::System {
        doing: "starting workers as they are to be".into(),
        source: error.into(),
    })?;
    if settings.sandbox == Sandbox::Required {
        sandbox::check().map_err(|error| RunError::System {
            doing: "--sandbox (--sandbox=try does without)".into(),
            source: error.into(),
        })?;
    }
    Ok(())
}

/// Gives up what the application does not need: all files but those that are served.
fn enter_sandbox(resolved: &Resolved) -> Result<(), SandboxError> {
    let settings = &resolved.settings;
    if settings.sandbox == Sandbox::Off {
        return Ok(());
    }
    let readable = match &settings.app {
        App::Static { root, .. } => vec![root.clone()],
        App::Embedded | App::Echo | App::Python(_) | App::Command(_) => Vec::new(),
    };
    // Logs are opened behind it, and again when they have been rotated: it may write beside them.
    let access = settings.access_log.as_ref().map(|options| &options.to);
    let files = access.into_iter().chain([&resolved.log.to]).filter_map(LogDestination::file);
    let writable = files.filter_map(|path| path.parent()).map(Path::to_owned).collect();
    sandbox::enforce(&Permitted { readable, writable })
}

/// The directory in which the workers will run, as the master sees it.
fn workplace_of(settings: &Settings, here: &Path) -> Result<PathBuf, RunError> {
    let directory = match (&settings.privileges.chroot, &settings.chdir) {
        (None, None) => return Ok(here.to_owned()),
        (None, Some(directory)) => here.join(directory),
        (Some(root), directory) => {
            let directory = directory.as_deref().unwrap_or(Path::new("/"));
            here.join(root).join(directory.strip_prefix("/").unwrap_or(directory))
        }
    };
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
        App::Static { root, browse } => {
            // In another root directory an absolute path begins there.
            let root = match &settings.privileges.chroot {
                Some(new_root) if root.is_absolute() => {
                    new_root.join(root.strip_prefix("/").unwrap_or(root))
                }
                Some(_) | None => workplace.join(root),
            };
            StaticFiles::open(&root, *browse)
                .map(|_| ())
                .map_err(|error| RunError::Application(error.into()))
        }
        App::Embedded | App::Echo | App::Python(_) | App::Command(_) => Ok(()),
    }
}

/// Says at once which log could not be opened.
fn check_logs(resolved: &Resolved) -> Result<(), RunError> {
    let access = resolved.settings.access_log.as_ref().map(|options| ("access log", &options.to));
    for (what, to) in access.into_iter().chain([("log", &resolved.log.to)]) {
        sink::check(to).map_err(system(&format!("opening the {what} {to}")))?;
    }
    Ok(())
}

/// Where logs are, as the master sees them. A relative path is meant from where the workers run; the
/// access log is theirs alone, and is beneath their root.
fn put_in_place(resolved: &mut Resolved, here: &Path, workplace: &Path) {
    if let LogDestination::File(path) = &mut resolved.log.to {
        *path = workplace.join(&*path);
    }
    let root = resolved.settings.privileges.chroot.as_deref();
    if let Some(options) = &mut resolved.settings.access_log
        && let LogDestination::File(path) = &mut options.to
    {
        *path = match (root, path.strip_prefix("/")) {
            (Some(root), Ok(inside)) => here.join(root).join(inside),
            (Some(_) | None, _) => workplace.join(&*path),
        };
    }
}

/// The same for a worker: its application may change the directory.
fn absolute_logs(resolved: &mut Resolved) {
    let access = resolved.settings.access_log.as_mut().map(|options| &mut options.to);
    for to in access.into_iter().chain([&mut resolved.log.to]) {
        if let LogDestination::File(path) = to
            && let Ok(absolute) = std::path::absolute(&*path)
        {
            *path = absolute;
        }
    }
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
fn start_masters_log(
    options: &logging::Options,
    owner: Owner,
    goes_on: bool,
) -> Result<logging::Log, RunError> {
    let process = Process::Master { pid: std::process::id() };
    match start_log(options.clone(), owner, process) {
        Err(error) if goes_on => {
            let to = LogDestination::Stderr;
            let options = logging::Options { to, ..options.clone() };
            let log = start_log(options, owner, process)?;
            tracing::error!("the log is here from now on: {}", Chain(&error));
            Ok(log)
        }
        log => log,
    }
}

fn start_log(
    options: logging::Options,
    owner: Owner,
    process: Process,
) -> Result<logging::Log, RunError> {
    let doing = format!("starting the log ({})", options.to);
    logging::start(options, owner, process).map_err(system(&doing))
}

fn system(doing: &str) -> impl FnOnce(std::io::Error) -> RunError {
    let doing = doing.to_owned();
    move |source| RunError::System { doing, source: source.into() }
}
