//! `serve --help` in one screen: the flags that most people need, and how they are typed. All of them
//! are behind `--help-all`.
//!
//! Not here: the flags (`raw`), the manual pages (`manual`).

use std::ffi::OsString;
use std::io::{self, Write};

use clap::builder::{Resettable, Str};
use clap::error::ErrorKind;
use clap::{ArgAction, Command};

use crate::cli::raw;

/// The flags of the one screen, in its order, and what is said of each in the rest of a line. Those
/// that a build has not are not shown.
const SHOWN: [(&str, &str); 18] = [
    ("config", "File of flags, KEY = VALUE [maitred.toml]"),
    ("bind", "HOST:PORT, PORT, unix:PATH"),
    ("workers", "Processes, or MIN..MAX as the load is"),
    ("threads", "Handler threads in each; 0: its loop"),
    ("balance", "Who gets a connection"),
    ("timeout", "A handler that takes longer is ended"),
    ("keep_alive", "From a response to the next request"),
    ("graceful_timeout", "What a stop leaves to what is running"),
    ("max_requests", "A worker is replaced after so many"),
    ("access_log", "Writes a line a request"),
    ("log_level", "error, warn, info, debug"),
    ("admin", "Status, metrics, dashboard: HOST:PORT"),
    ("status_file", "Account for `maitred status`"),
    ("pid_file", "The master's process id"),
    ("user", "Who the workers are"),
    ("reload", "Restarts workers when a file changes"),
    ("env_file", "KEY=VALUE lines for the workers"),
    ("forwarded_allow_ips", "Whose X-Forwarded-For counts"),
];

/// Defaults that are longer stand in the long help alone.
const DEFAULT_SIZE_MAX: usize = 14;

/// Columns of the one screen.
pub const COLUMNS_MAX: usize = 80;

/// The command whose short help was asked for, if that is how parsing ended.
pub(super) fn asked_for(error: &clap::Error, arguments: &[OsString]) -> Option<&'static str> {
    if error.kind() != ErrorKind::DisplayHelp {
        return None;
    }
    let mut ours = arguments.iter().skip(1).take_while(|argument| *argument != "--");
    if ours.clone().any(|argument| argument == "--help-all") {
        return None;
    }
    let typed = ours.find(|argument| !argument.to_string_lossy().starts_with('-'))?;
    ["serve", "check"].into_iter().find(|command| typed == command)
}

/// Prints it.
///
/// # Errors
/// Nobody reads any more.
pub(super) fn print(program: &str, command: &str) -> io::Result<()> {
    let text = short(program, command);
    io::stdout().write_all(text.as_bytes())
}

/// The text of it, for a terminal of [`COLUMNS_MAX`] columns.
pub fn short(program: &str, command: &str) -> String {
    let mut all = raw::command(program);
    all.build();
    let Some(found) = all.find_subcommand_mut(command) else { return String::new() };
    let mut found = shortened(found.clone(), program, command);
    found.render_help().to_string()
}

fn shortened(command: Command, program: &str, name: &str) -> Command {
    let place = |id: &str| SHOWN.iter().position(|(shown, _)| *shown == id);
    let command = command.mut_args(|argument| {
        let id = argument.get_id().to_string();
        if argument.is_positional() || matches!(argument.get_action(), ArgAction::HelpShort) {
            return argument;
        }
        let Some(at) = place(&id) else { return argument.hide(true) };
        let default = raw::default_of(&id).filter(|default| default.len() <= DEFAULT_SIZE_MAX);
        let default = default.map(|default| format!(" [{default}]")).unwrap_or_default();
        let text = format!("{}{default}", SHOWN[at].1);
        argument.help(text).help_heading(Resettable::<Str>::Reset).display_order(at)
    });
    let examples = format!(
        "\
{program} {name} pkg.module:app             a Python application, ASGI or WSGI
{program} {name} -b 0.0.0.0:8000 -w 2..8 pkg.module:app
{program} {name} static:DIR                 files"
    );
    let about = match name {
        "check" => "Say whether what `serve` would go by holds, and serve nothing",
        _ => "Serve an application",
    };
    command
        .about(about)
        .term_width(COLUMNS_MAX)
        .help_template("{about}\n\n{usage-heading} {usage}\n\n{before-help}{options}{after-help}")
        .before_help(examples)
        .after_help("[…]: default. HUP reloads, TERM stops, USR2 upgrades; more by --help-all.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_one_screen_and_says_only_what_there_is() {
        for command in ["serve", "check"] {
            let text = short("maitred", command);
            assert!(text.lines().count() <= 30, "{}\n{text}", text.lines().count());
            for line in text.lines() {
                assert!(line.chars().count() <= COLUMNS_MAX, "{line}");
                assert_eq!(line.trim_end(), line);
            }
            for flag in ["--bind", "--workers", "--help-all"] {
                assert!(text.contains(flag), "{flag}: {text}");
            }
        }
    }

    #[test]
    fn the_long_one_is_asked_for_by_name() {
        let asked = |words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            let matches = raw::command("maitred").try_get_matches_from(&words);
            asked_for(&matches.unwrap_err(), &words)
        };
        assert_eq!(asked(&["maitred", "serve", "--help"]), Some("serve"));
        assert_eq!(asked(&["maitred", "serve", "-w", "2", "-h"]), Some("serve"));
        assert_eq!(asked(&["maitred", "check", "-h"]), Some("check"));
        assert_eq!(asked(&["maitred", "serve", "--help-all"]), None);
        assert_eq!(asked(&["maitred", "status", "--help"]), None);
        assert_eq!(asked(&["maitred", "--help"]), None);
        assert_eq!(asked(&["maitred", "serve", "--workes"]), None);
    }
}
