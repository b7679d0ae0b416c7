//! The command line: from `main` to the master or the worker, and back to an exit code.
//!
//! ```text
//! arguments → raw (clap) → resolve → Settings → shell → master | worker
//!                             ↑ variables, host names, cores
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
pub mod elsewhere;
pub mod faults;
mod python;
pub mod raw;
pub mod resolve;
mod shell;
mod status;
pub mod values;
mod watching;

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::process::ExitCode;
use std::thread;

use clap::FromArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::app::Handler;
use crate::cli::faults::{Fault, variable_of};
use crate::cli::raw::{Raw, RawCommand, RawServe};
use crate::cli::resolve::{Surroundings, resolve};
pub use crate::exit;
use crate::exit::Exit;
use crate::master::env_file::{self, EnvFile};
use crate::sys::listener::passed_by_systemd;
use crate::sys::upgrade::Errand;

pub use python::{PythonError, PythonHost};

const ENV_FILE: &str = "--env-file";

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
    let raw = match parse(&program, arguments) {
        Ok(raw) => raw,
        Err(exit) => return exit as u8,
    };
    let (raw, is_worker) = match raw.command {
        RawCommand::Serve(raw) => (raw, false),
        RawCommand::Worker(raw) => (raw, true),
        RawCommand::Status(raw) => return status::run(&program, &raw),
        #[cfg(feature = "experiments")]
        RawCommand::Bench(raw) => return bench::run(&program, arguments, &raw),
    };
    // A worker has been given them by its master.
    let file = if is_worker { Ok(EnvFile::default()) } else { variables_of_file(&raw) };
    let file = match file {
        Ok(file) => file,
        Err(fault) => {
            complain(&program, &fault);
            return Exit::Usage as u8;
        }
    };
    let in_file = |name: &str| file.variables.iter().find(|(other, _)| other == name);
    let surroundings = Surroundings {
        variables: &|name| {
            let own = std::env::var_os(name);
            own.or_else(|| in_file(name).map(|(_, value)| value.into()))
        },
        // The master has the addresses already; a worker must not fail to start, or wait, because
        // a name server does not answer now.
        lookup: if is_worker { &|_| Ok(vec![Ipv4Addr::UNSPECIFIED.into()]) } else { &look_up },
        cores: thread::available_parallelism().map_or(1, usize::from),
        systemd_sockets: passed_by_systemd(
            std::process::id(),
            std::env::var("LISTEN_PID").ok().as_deref(),
            std::env::var("LISTEN_FDS").ok().as_deref(),
        ),
    };
    let resolved = match resolve(&raw, &surroundings) {
        Ok(resolved) => resolved,
        Err(faults) => {
            for fault in faults.iter() {
                complain(&program, fault);
            }
            return Exit::Usage as u8;
        }
    };
    let outcome = if is_worker {
        shell::work(resolved, handler, python)
    } else {
        shell::serve(resolved, errand, python.is_some())
    };
    let exit = outcome.unwrap_or_else(|error| {
        complain(&program, &exit::Chain(&error));
        error.exit_code()
    });
    exit as u8
}

/// What clap makes of the arguments, or how the process ends: help and version are a success.
fn parse(program: &str, arguments: &[OsString]) -> Result<Raw, Exit> {
    let matches = raw::command(program).try_get_matches_from(arguments);
    matches.and_then(|matches| Raw::from_arg_matches(&matches)).map_err(|error| {
        if let Some(hint) = hint(&error) {
            complain(program, &hint);
            return Exit::Usage;
        }
        // A reader that has gone (`--help | head -1`) is no failure.
        let _ = error.print();
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

/// What `--env-file` says, which counts for the server itself too, as in Uvicorn: WEB_CONCURRENCY.
fn variables_of_file(raw: &RawServe) -> Result<EnvFile, Fault> {
    let path = raw.python.env_file.clone().or_else(|| std::env::var_os(variable_of(ENV_FILE)));
    // An empty variable is none, and an empty flag is refused with all else that is.
    let Some(path) = path.filter(|path| !path.is_empty()) else { return Ok(EnvFile::default()) };
    let read = env_file::read(Path::new(&path), &|name| std::env::var_os(name));
    read.map_err(|cause| Fault {
        name: ENV_FILE.to_owned(),
        value: Some(path),
        refusal: format!("cannot be read: {cause}"),
    })
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

fn look_up(host: &str) -> io::Result<Vec<IpAddr>> {
    Ok((host, 0).to_socket_addrs()?.map(|address: SocketAddr| address.ip()).collect())
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
