//! What the user typed: flags as text, before anything is believed.
//!
//! Values stay text here, so that flags and variables go through the same parser (`resolve`) and
//! every fault is told at once; clap would stop at the first. Defaults come from
//! [`Settings::default`] and are put behind each help text, so that they cannot drift.
//!
//! Not here: what the values mean and how far they may go (`resolve`).

mod admin;
mod fleet;
mod guard;
mod logs;
mod python;
mod scale;
#[cfg(feature = "experiments")]
mod sim;
#[cfg(feature = "top")]
mod top;

use std::ffi::OsString;

use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand};

use crate::cli::faults::variable_of;
use crate::cli::values::{show_duration, show_size};
use crate::config::{Arm, Bind, Settings, WORKERS_DEFAULT_MAX};

pub use admin::{RawAdmin, RawCtl, RawCtlCommand};
pub use fleet::RawFleet;
pub use guard::RawGuard;
pub use logs::RawLogs;
pub use python::RawPython;
pub use scale::RawScale;
#[cfg(feature = "experiments")]
pub use sim::RawSim;
#[cfg(feature = "top")]
pub use top::RawTop;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    about = "A pre-fork HTTP server in which only the master accepts, and every connection is \
             handed to a worker that has room",
    term_width = 100,
    arg_required_else_help = true,
    args_override_self = true,
    disable_help_subcommand = true
)]
pub struct Raw {
    /// What to do.
    #[command(subcommand)]
    pub command: RawCommand,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum RawCommand {
    /// Serve an application
    Serve(Box<RawServe>),
    /// Say whether the flags, variables and configuration file of `serve` hold, and serve nothing
    Check(Box<RawServe>),
    /// Say what a server does and has done, from its --status-file or --admin address
    Status(RawStatus),
    /// Show a server in this terminal, once a second, from its admin address
    #[cfg(feature = "top")]
    Top(RawTop),
    /// Talk to a server at its --admin address: see it, scale it, reload it, drain a worker
    Ctl(RawCtl),
    /// Measure ways of distributing connections side by side
    #[cfg(feature = "experiments")]
    Bench(RawBench),
    /// Simulate them: the same dispatcher in virtual time, at any scale
    #[cfg(feature = "experiments")]
    Sim(RawSim),
    /// Print a completion script for a shell
    Completions(RawCompletions),
    /// Print a manual page, or write all of them
    Man(RawMan),
    /// Serve what the master hands over (started by the master only)
    #[command(hide = true)]
    Worker(Box<RawServe>),
    /// Answer operators for a master (started by the master only)
    #[command(hide = true)]
    Admin(Box<RawServe>),
}

/// The flags of `serve`, and of the workers that it starts.
#[derive(Args, Clone, Debug, Default)]
#[command(
    args_override_self = true,
    after_help = "\
Every --flag has a variable, --header-timeout is MAITRED_HEADER_TIMEOUT; the flag wins. PORT and
WEB_CONCURRENCY are honoured. Durations: 500ms, 1.5, 2s, 1m (plain numbers are seconds). Sizes:
8190, 64K, 10M, 1GiB.

Signals: TERM and INT stop gracefully, a second one or QUIT at once; HUP reloads; TTIN and TTOU
add and remove a worker.

Exit codes: 0 done, 1 failed at run time, 2 usage, 3 workers do not start, 4 the application does
not load."
)]
pub struct RawServe {
    /// Nothing for the built-in application, echo, static:DIR, or pkg.module:app (Python)
    #[arg(value_name = "APP")]
    pub app: Option<OsString>,

    /// A program that speaks the hand-off protocol, as the worker
    #[arg(last = true, value_name = "CMD", conflicts_with = "app")]
    pub command: Vec<OsString>,

    /// File of these flags: KEY = VALUE in TOML [default: maitred.toml, if it is here]
    #[arg(long, short = 'c', value_name = "PATH")]
    pub config: Option<OsString>,

    /// Prints every value and where it comes from, and serves nothing
    #[arg(long)]
    pub print_config: bool,

    /// Lists directories that have no index.html (static:DIR)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    pub browse: Option<String>,

    /// Where to listen.
    #[arg(long, short, value_name = "ADDR", action = ArgAction::Append,
          help = "HOST:PORT, [v6]:PORT, PORT, unix:PATH, fd://N or systemd:NAME; repeatable",
          help_heading = "Addresses")]
    pub bind: Vec<OsString>,

    /// Host of one more address, as in Uvicorn
    #[arg(long, value_name = "HOST", help_heading = "Addresses")]
    pub host: Option<String>,

    /// Port of one more address, as in Uvicorn; 0 takes a free one
    #[arg(long, value_name = "PORT", help_heading = "Addresses")]
    pub port: Option<String>,

    /// Path of one more Unix socket, as in Uvicorn
    #[arg(long, value_name = "PATH", help_heading = "Addresses")]
    pub uds: Option<OsString>,

    /// Number of one more inherited socket, as in Uvicorn
    #[arg(long, value_name = "N", help_heading = "Addresses")]
    pub fd: Option<String>,

    /// Connections that the kernel keeps while no worker has room
    #[arg(long, value_name = "N", help_heading = "Addresses")]
    pub backlog: Option<String>,

    /// Seconds that a connection may be silent before it is accepted
    #[arg(long, value_name = "S", help_heading = "Addresses")]
    pub defer_accept: Option<String>,

    /// Permission bits of Unix sockets, in octal
    #[arg(long, value_name = "MODE", help_heading = "Addresses")]
    pub unix_mode: Option<String>,

    /// Worker processes; MIN..MAX of them as the load is
    #[arg(long, short, value_name = "N", help_heading = "Workers")]
    pub workers: Option<String>,

    /// How their number follows the load.
    #[command(flatten)]
    pub scale: RawScale,

    /// Handler threads in each worker; 0 runs handlers on its loop
    #[arg(long, value_name = "N", help_heading = "Workers")]
    pub threads: Option<String>,

    /// Who accepts: master, or the workers in one of the kernel's ways: shared, exclusive,
    /// reuseport, reuseport-cbpf or blocking
    #[arg(long, value_name = "ARM", help_heading = "Workers")]
    pub accept: Option<String>,

    /// With handler threads: workers accept also while none of theirs is free (shared, exclusive)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", help_heading = "Workers")]
    pub accept_eager: Option<String>,

    /// Connections that a worker takes from the kernel in one turn
    #[arg(long, value_name = "N", help_heading = "Workers")]
    pub accept_batch: Option<String>,

    /// Whose queue a connection goes to with reuseport-cbpf: random or cpu
    #[arg(long, value_name = "HOW", help_heading = "Workers")]
    pub cbpf: Option<String>,

    /// Who gets a connection: round-robin, least-loaded, two-choices, random, weighted,
    /// least-latency or ip-hash
    #[arg(long, value_name = "POLICY", help_heading = "Workers")]
    pub balance: Option<String>,

    /// One weight a worker, as in 3,1,1 (weighted)
    #[arg(long, value_name = "N,N,…", help_heading = "Workers")]
    pub weights: Option<String>,

    /// When an idle connection may move to another worker: never, auto (when its own is stuck) or
    /// always (after each response)
    #[arg(long, value_name = "MODE", help_heading = "Workers")]
    pub rebalance: Option<String>,

    /// Connections that may wait at one worker
    #[arg(long, value_name = "N", help_heading = "Workers")]
    pub credit: Option<String>,

    /// What has waited for so long, and has no room yet, gets a 503; 0 never
    #[arg(long, value_name = "TIME", help_heading = "Workers")]
    pub queue_timeout: Option<String>,

    /// When so many wait already, a connection gets a 503; 0 never
    #[arg(long, value_name = "N", help_heading = "Workers")]
    pub max_queue: Option<String>,

    /// A worker that does not move for so long is passed over
    #[arg(long, value_name = "TIME", help_heading = "Workers")]
    pub stall_after: Option<String>,

    /// For experiments: workers' load is looked at no more often than this; 0 in every turn
    #[arg(long, value_name = "TIME", help_heading = "Workers")]
    pub report_age: Option<String>,

    /// Workers that a reload, or recycling, replaces at the same time
    #[arg(long, value_name = "N", help_heading = "Workers")]
    pub reload_parallel: Option<String>,

    /// A worker is replaced after so many requests; 0 never
    #[arg(long, value_name = "N", alias = "limit-max-requests", help_heading = "Workers")]
    pub max_requests: Option<String>,

    /// Up to so many more, drawn for each worker
    #[arg(long, value_name = "N", alias = "limit-max-requests-jitter", help_heading = "Workers")]
    pub max_requests_jitter: Option<String>,

    /// A worker is replaced after so long a service; 0 never
    #[arg(long, value_name = "TIME", help_heading = "Workers")]
    pub max_lifetime: Option<String>,

    /// Up to so much longer, drawn for each worker
    #[arg(long, value_name = "TIME", help_heading = "Workers")]
    pub max_lifetime_jitter: Option<String>,

    /// A worker is replaced once it has more than this in memory; 0 never
    #[arg(long, value_name = "SIZE", help_heading = "Workers")]
    pub max_rss: Option<String>,

    /// File that holds the master's process id while it serves
    #[arg(long, value_name = "PATH", aliases = ["pid", "pidfile"], help_heading = "Workers")]
    pub pid_file: Option<OsString>,

    /// Seed of every random choice
    #[arg(long, value_name = "N", help_heading = "Workers")]
    pub seed: Option<String>,

    /// A loop turn or handler call without a result is ended; 0 never
    #[arg(long, short = 't', value_name = "TIME", help_heading = "Deadlines")]
    pub timeout: Option<String>,

    /// From a worker's start until it is ready
    #[arg(long, value_name = "TIME", help_heading = "Deadlines")]
    pub boot_timeout: Option<String>,

    /// What a stop leaves for the requests in progress
    #[arg(
        long,
        value_name = "TIME",
        alias = "timeout-graceful-shutdown",
        help_heading = "Deadlines"
    )]
    pub graceful_timeout: Option<String>,

    /// How long the server still accepts after TERM
    #[arg(long, value_name = "TIME", help_heading = "Deadlines")]
    pub drain_delay: Option<String>,

    /// For a CMD to take a connection, before it is replaced
    #[arg(long, value_name = "TIME", help_heading = "Deadlines")]
    pub handoff_timeout: Option<String>,

    /// For a request's head
    #[arg(long, value_name = "TIME", help_heading = "Deadlines")]
    pub header_timeout: Option<String>,

    /// Between two pieces of a request's body
    #[arg(long, value_name = "TIME", help_heading = "Deadlines")]
    pub body_timeout: Option<String>,

    /// Between a response and the next request
    #[arg(long, value_name = "TIME", alias = "timeout-keep-alive", help_heading = "Deadlines")]
    pub keep_alive: Option<String>,

    /// Between two pieces of a response that the client takes
    #[arg(long, value_name = "TIME", help_heading = "Deadlines")]
    pub write_timeout: Option<String>,

    /// Size of the request line; 0 is the most
    #[arg(long, value_name = "SIZE", help_heading = "Requests")]
    pub limit_request_line: Option<String>,

    /// Number of header fields; 0 is the most
    #[arg(long, value_name = "N", help_heading = "Requests")]
    pub limit_request_fields: Option<String>,

    /// Size of one header field; 0 is the most
    #[arg(
        long,
        value_name = "SIZE",
        alias = "limit-request-field_size",
        help_heading = "Requests"
    )]
    pub limit_request_field_size: Option<String>,

    /// Size of a request's body; 0 has no limit
    #[arg(long, value_name = "SIZE", help_heading = "Requests")]
    pub limit_request_body: Option<String>,

    /// A body up to this size is complete before it takes a thread
    #[arg(long, value_name = "SIZE", help_heading = "Requests")]
    pub buffer_request: Option<String>,

    /// A response up to this size leaves its thread at once
    #[arg(long, value_name = "SIZE", help_heading = "Requests")]
    pub buffer_response: Option<String>,

    /// Adds x-maitred-worker: SLOT to every response
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", help_heading = "Observing")]
    pub worker_header: Option<String>,

    /// Where the master keeps its account, for `status` and other readers
    #[arg(long, value_name = "PATH", help_heading = "Observing")]
    pub status_file: Option<OsString>,

    /// What is said of logs.
    #[command(flatten)]
    pub logs: RawLogs,

    /// What balancers are told.
    #[command(flatten)]
    pub fleet: RawFleet,

    /// What is said of the admin address.
    #[command(flatten)]
    pub admin: RawAdmin,

    /// Who the workers are, and whom they believe.
    #[command(flatten)]
    pub guard: RawGuard,

    /// What is said of a Python application.
    #[command(flatten)]
    pub python: RawPython,
}

/// The flags of `status`.
#[derive(Args, Clone, Debug, Default)]
#[command(
    args_override_self = true,
    after_help = "\
Exit codes: 0 it serves, and its last reload did not fail; 1 it serves, and its last reload has
failed; 2 usage; 3 it does not serve; 4 the file cannot be read, or is no status file."
)]
pub struct RawStatus {
    /// The server's --status-file, or its --admin address: unix:PATH or http://HOST:PORT;
    /// MAITRED_STATUS_FILE if it is left out
    #[arg(value_name = "PATH")]
    pub path: Option<OsString>,

    /// JSON in place of text
    #[arg(long)]
    pub json: bool,
}

/// The flags of `completions`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
bash: maitred completions bash > /etc/bash_completion.d/maitred
zsh:  maitred completions zsh > \"${fpath[1]}/_maitred\"
fish: maitred completions fish > ~/.config/fish/completions/maitred.fish")]
pub struct RawCompletions {
    /// Which shell
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: clap_complete::Shell,
}

/// The flags of `man`.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = "\
maitred man serve | man -l -                reads one
maitred man --out /usr/share/man/man1       writes all of them, maitred-serve.1 and its like")]
pub struct RawMan {
    /// Of this command; without it the page of the program itself
    #[arg(value_name = "COMMAND", conflicts_with = "out")]
    pub command: Option<String>,

    /// Writes the page of each command into this directory
    #[arg(long, value_name = "DIR")]
    pub out: Option<OsString>,
}

/// The flags of `bench`.
#[cfg(feature = "experiments")]
#[derive(Args, Clone, Debug, Default)]
#[command(
    args_override_self = true,
    after_help = "\
Writes report.html, report.json, figures.csv, trials.csv and workers.csv. The first Ctrl-C ends the
run that goes on and writes what is done, the second ends at once. See docs/experiments.md for
plans.

Exit codes: 0 done; 1 nothing was measured or compared, or with --strict a prediction has failed; 2
usage, or a plan that is none."
)]
pub struct RawBench {
    /// A preset (see --list), or the file of a plan: PLAN.toml
    #[arg(value_name = "PLAN")]
    pub plan: Option<OsString>,

    /// Short runs and few of them: a rehearsal of about a minute
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    pub quick: Option<String>,

    /// Directory of the result; it is new, empty, or a former result [default: bench-PLAN-DATE]
    #[arg(long, value_name = "DIR")]
    pub out: Option<OsString>,

    /// Decides arrivals, service times, choices and order [default: 1]
    #[arg(long, value_name = "N")]
    pub seed: Option<String>,

    /// Writes requests/*.csv too: a file a run, a row a request
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    pub raw: Option<String>,

    /// Ends with 1 if a prediction has failed
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    pub strict: Option<String>,

    /// Says how many times the one report's figures are the other's
    #[arg(long, value_names = ["A.json", "B.json"], num_args = 2, exclusive = true)]
    pub compare: Vec<OsString>,

    /// Lists the presets
    #[arg(long, exclusive = true)]
    pub list: bool,

    /// Prints a preset's plan, to be changed and run as a file
    #[arg(long, value_name = "PRESET", exclusive = true)]
    pub show: Option<String>,
}

/// The command line under a program's own name, with its defaults.
pub fn command(program: &str) -> clap::Command {
    let version = env!("CARGO_PKG_VERSION");
    // An embedding program has a version that only its author knows.
    let version =
        if program == "maitred" { version.to_owned() } else { format!("on maitred {version}") };
    Raw::command()
        .name(program.to_owned())
        .bin_name(program.to_owned())
        .version(version)
        .mut_subcommand("serve", |serve| with_help_all(with_defaults(serve)))
        .mut_subcommand("check", |check| with_help_all(with_defaults(check)))
        .mut_subcommand("worker", with_defaults)
        .mut_subcommand("admin", with_defaults)
}

/// The same without what only the master types.
pub fn public_command(program: &str) -> clap::Command {
    let all = command(program);
    let public = all.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    let public: Vec<_> = public.collect();
    let mut command = clap::Command::new(program.to_owned()).subcommands(public);
    if let Some(about) = all.get_about() {
        command = command.about(about.clone());
    }
    if let Some(version) = all.get_version() {
        command = command.version(version.to_owned());
    }
    command.subcommand_required(true).disable_help_subcommand(true)
}

/// Help in two sizes: `--help` is one screen (`cli::help`), this is all.
fn with_help_all(command: clap::Command) -> clap::Command {
    let help = clap::Arg::new("help")
        .short('h')
        .long("help")
        .action(ArgAction::HelpShort)
        .help("Print what most people need");
    let help_all = clap::Arg::new("help_all")
        .long("help-all")
        .action(ArgAction::HelpShort)
        .help("Print all flags");
    command.disable_help_flag(true).arg(help).arg(help_all)
}

/// One flag of `serve`, as help and documentation name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// `header_timeout`, by which clap knows it.
    pub id: String,
    /// `--header-timeout`
    pub name: String,
    /// `MAITRED_HEADER_TIMEOUT`
    pub variable: String,
    /// As it can be typed, or as it is found out; none where absence says it all.
    pub default: Option<String>,
}

/// Every flag of `serve`, in the order of the help text.
pub fn flags() -> Vec<Flag> {
    let command = command("maitred");
    let serve = command.find_subcommand("serve");
    let arguments = serve.into_iter().flat_map(clap::Command::get_arguments);
    arguments
        .filter(|argument| !argument.is_hide_set())
        .filter(|argument| !matches!(argument.get_action(), ArgAction::HelpShort))
        .filter_map(|argument| {
            let name = format!("--{}", argument.get_long()?);
            let id = argument.get_id().to_string();
            let (variable, default) = (variable_of(&name), default_of(&id));
            Some(Flag { id, name, variable, default })
        })
        .collect()
}

fn with_defaults(command: clap::Command) -> clap::Command {
    command.mut_args(|argument| {
        let Some(default) = default_of(argument.get_id().as_str()) else { return argument };
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        argument.help(format!("{help} [default: {default}]"))
    })
}

/// The default of a flag as the help text shows it; none where absence says it all.
pub(super) fn default_of(id: &str) -> Option<String> {
    let settings = Settings::default();
    let text = match id {
        "bind" => match settings.binds.first() {
            Some(Bind::Tcp(address)) => address.to_string(),
            Some(Bind::Unix(_) | Bind::Inherited(_)) | None => return None,
        },
        "backlog" => settings.listen.backlog.to_string(),
        "defer_accept" => settings.listen.defer_accept_s.to_string(),
        "unix_mode" => format!("{:o}", settings.listen.unix_mode),
        "workers" => format!("usable cores, at most {WORKERS_DEFAULT_MAX}"),
        "threads" => settings.threads.to_string(),
        "accept" => settings.accept.arm.to_string(),
        "accept_batch" => {
            let (shared, private) = (Arm::Shared.batch_default(), Arm::Reuseport.batch_default());
            format!("{shared}; {private} with reuseport")
        }
        "cbpf" => "random".to_owned(),
        "balance" => "least-loaded".to_owned(),
        "rebalance" => "auto".to_owned(),
        "credit" => "by threads".to_owned(),
        "queue_timeout" | "max_queue" => "off".to_owned(),
        "reload_parallel" => settings.lifecycle.reload_parallel.to_string(),
        "max_requests" | "max_lifetime" | "max_rss" => "off".to_owned(),
        "max_requests_jitter" => settings.recycle.requests_jitter.to_string(),
        "max_lifetime_jitter" => show_duration(settings.recycle.lifetime_jitter),
        "stall_after" => show_duration(settings.stall_after),
        "report_age" => "off".to_owned(),
        "timeout" => {
            format!("off; {} on a loop", show_duration(crate::cli::resolve::TIMEOUT_ON_LOOP))
        }
        "boot_timeout" => show_duration(settings.lifecycle.boot_timeout),
        "graceful_timeout" => show_duration(settings.lifecycle.graceful_timeout),
        "drain_delay" => show_duration(settings.lifecycle.drain_delay),
        "handoff_timeout" => show_duration(settings.lifecycle.handoff_timeout),
        "header_timeout" => show_duration(settings.http.header_timeout),
        "body_timeout" => show_duration(settings.http.body_timeout),
        "keep_alive" => show_duration(settings.http.keep_alive),
        "write_timeout" => show_duration(settings.http.write_timeout),
        "limit_request_line" => settings.http.request_line_max.to_string(),
        "limit_request_fields" => settings.http.fields_max.to_string(),
        "limit_request_field_size" => settings.http.field_size_max.to_string(),
        "limit_request_body" => settings.http.body_max.unwrap_or(0).to_string(),
        "buffer_request" => show_size(settings.http.buffer_request as u64),
        "buffer_response" => show_size(settings.http.buffer_response as u64),
        _ => {
            let parts = [scale::default_of, guard::default_of, fleet::default_of, logs::default_of];
            let of_parts = parts.iter().find_map(|default_of| default_of(id));
            return of_parts.or_else(|| python::default_of(id));
        }
    };
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command("maitred").debug_assert();
    }

    #[test]
    fn every_flag_says_what_it_is_for() {
        let command = command("maitred");
        for argument in command.find_subcommand("serve").unwrap().get_arguments() {
            let id = argument.get_id();
            assert!(argument.get_help().is_some(), "{id}");
            let switch =
                ["browse", "accept_eager", "worker_header", "access_log"].contains(&id.as_str());
            assert!(!switch || argument.get_value_names().is_some(), "{id}");
        }
    }
}
