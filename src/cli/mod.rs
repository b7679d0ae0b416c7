//! The command line: from `main` to the master or the worker, and back to an exit code.
//!
//! ```text
//! arguments → raw (clap) → settling → resolve → Settings → shell → master | worker
//!                             ↑ variables, configuration file, host names, cores
//! ```
//!
//! [`run`] is the whole of a program: the binary of this package calls it with its demonstration
//! application, an embedding program with its own. Both are master and worker, because the master
//! starts its own program again as `worker`.
//!
//! Not here: what is served and how (`master`, `worker`, `app`).

pub mod addresses;
#[cfg(feature = "experiments")]
mod bench;
pub mod binds;
mod completing;
pub mod config_file;
mod ctl;
pub mod elsewhere;
pub mod faults;
pub mod help;
mod manual;
mod print_config;
mod python;
pub mod raw;
pub mod resolve;
mod settling;
mod shell;
#[cfg(feature = "experiments")]
mod sim;
mod status;
#[cfg(feature = "top")]
mod top;
pub mod values;
mod watching;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, FromArgMatches};

use crate::app::Handler;
use crate::cli::raw::{Raw, RawCommand};
use crate::cli::settling::{Role, Settled, settle};
pub use crate::exit;
use crate::exit::Exit;
use crate::sys::upgrade::Errand;

pub use python::{PythonError, PythonHost};

/// What is done with settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Serve,
    Work,
    Answer,
    Check,
    Print,
}

/// Runs a whole program around one application: reads the command line of this process, serves as
/// it says, and ends with the exit code that [`Exit`] documents.
///
/// The program gets every flag of `maitred serve` under its own name, and the handler answers
/// where `APP` is left out. Call it first in `main`, before any thread is started: a worker takes
/// its descriptors out of the environment.
pub fn run(handler: impl Handler) -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    ExitCode::from(run_as(&arguments, handler, None))
}

/// The same inside a Python interpreter, which runs the workers of Python applications. The
/// arguments begin with the program's name, as in `sys.argv`.
///
/// The answer is the exit code. The calling thread must be the process's first, and should not hold
/// the interpreter's lock.
pub fn run_in_python(arguments: &[OsString], handler: impl Handler, python: &dyn PythonHost) -> u8 {
    run_as(arguments, handler, Some(python))
}

fn run_as(arguments: &[OsString], handler: impl Handler, python: Option<&dyn PythonHost>) -> u8 {
    let program = program_name(arguments);
    let errand = match Errand::take() {
        Ok(errand) => errand,
        Err(error) => {
            complain(&program, &error);
            return Exit::Failed as u8;
        }
    };
    let (raw, matches) = match parse(&program, arguments) {
        Ok(parsed) => parsed,
        Err(exit) => return exit as u8,
    };
    let (raw, task) = match raw.command {
        RawCommand::Serve(raw) if raw.print_config => (raw, Task::Print),
        RawCommand::Serve(raw) => (raw, Task::Serve),
        RawCommand::Worker(raw) => (raw, Task::Work),
        RawCommand::Admin(raw) => (raw, Task::Answer),
        RawCommand::Check(raw) => (raw, Task::Check),
        RawCommand::Status(raw) => return status::run(&program, &raw),
        #[cfg(feature = "top")]
        RawCommand::Top(raw) => return top::run(&program, &raw),
        RawCommand::Ctl(raw) => return ctl::run(&program, &raw),
        RawCommand::Completions(raw) => return completing::run(&program, raw.shell) as u8,
        RawCommand::Man(raw) => return manual::run(&program, &raw) as u8,
        #[cfg(feature = "experiments")]
        RawCommand::Bench(raw) => return bench::run(&program, arguments, &raw),
        #[cfg(feature = "experiments")]
        RawCommand::Sim(raw) => return sim::run(&program, arguments, &raw),
    };
    let role = match task {
        Task::Serve => Role::Master,
        // The helper has no less been told by its master than a worker has.
        Task::Work | Task::Answer => Role::Worker,
        Task::Check | Task::Print => Role::Checker,
    };
    let Settled { resolved, variables } = match settle(&raw, role) {
        Ok(settled) => settled,
        Err(unsettled) => {
            for line in unsettled.to_string().lines() {
                complain(&program, &line);
            }
            return Exit::Usage as u8;
        }
    };
    let outcome = match task {
        Task::Serve => shell::serve(*raw, resolved, errand, python.is_some()),
        Task::Work => shell::work(resolved, handler, python),
        Task::Answer => shell::answer(resolved),
        Task::Check => shell::check(&resolved),
        Task::Print => {
            let variables = |name: &str| variables.get(name);
            let serve = matches.subcommand().map(|(_, serve)| serve);
            let config = resolved.settings.config.as_ref();
            let text = serve.map(|serve| print_config::print(serve, &variables, config));
            // A reader that has gone (`--print-config | head`) has its exit code all the same.
            let _ = io::stdout().write_all(text.unwrap_or_default().as_bytes());
            Ok(Exit::Done)
        }
    };
    let exit = outcome.unwrap_or_else(|error| {
        complain(&program, &exit::Chain(&error));
        error.exit_code()
    });
    exit as u8
}

/// What clap makes of the arguments, or how the process ends: help and version are a success.
fn parse(program: &str, arguments: &[OsString]) -> Result<(Raw, ArgMatches), Exit> {
    let matches = raw::command(program).try_get_matches_from(arguments);
    let read = |matches: ArgMatches| Ok((Raw::from_arg_matches(&matches)?, matches));
    matches.and_then(read).map_err(|error| {
        if let Some(hint) = hint(&error) {
            complain(program, &hint);
            return Exit::Usage;
        }
        // A reader that has gone (`--help | head -1`) is no failure.
        let _ = match help::asked_for(&error, arguments) {
            Some(command) => help::print(program, command),
            None => error.print(),
        };
        if error.exit_code() == 0 { Exit::Done } else { Exit::Usage }
    })
}

/// What there is to say to somebody who comes from another server; clap knows only this one.
fn hint(error: &clap::Error) -> Option<String> {
    let typed = |kind| match error.get(kind) {
        Some(ContextValue::String(typed)) => Some(typed.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let flag = typed(ContextKind::InvalidArg)?;
            let row = elsewhere::find(flag)?;
            Some(format!("{flag} ({}) is not here: {}", row.server, row.instead))
        }
        ErrorKind::InvalidSubcommand => {
            let word = typed(ContextKind::InvalidSubcommand)?;
            let is_application = word.contains(':') && !word.starts_with('-');
            is_application.then(|| format!("{word} is no command: `serve {word}` serves it"))
        }
        _ => None,
    }
}

/// Says on stderr why the program ends; nobody is left to tell if that fails.
fn complain(program: &str, reason: &dyn std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{program}: {reason}");
}

/// The name under which the program was called; whoever calls it without one is called maitred.
fn program_name(arguments: &[OsString]) -> String {
    let path = arguments.first().map(Path::new);
    let name = path.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "maitred".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_the_name_it_was_called_by() {
        let name = |arguments: &[&str]| {
            program_name(&arguments.iter().map(OsString::from).collect::<Vec<_>>())
        };
        assert_eq!(name(&["/usr/bin/hello", "serve"]), "hello");
        assert_eq!(name(&["maitred"]), "maitred");
        assert_eq!(name(&[]), "maitred");
        assert_eq!(name(&["/"]), "maitred");
    }
}
