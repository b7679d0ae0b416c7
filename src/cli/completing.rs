//! `maitred completions SHELL`: a script for a shell's completion, with the words that flags take.
//!
//! Not here: the flags themselves (`raw`), what each word means (`resolve`).

use std::io::{self, Write};

use clap::builder::PossibleValuesParser;
use clap::{Arg, Command, ValueHint};
use clap_complete::Shell;

use crate::cli::raw;
use crate::exit::Exit;

/// Words that a flag takes. The parser has them too; the test below holds the two together.
const WORDS: [(&str, &[&str]); 13] = [
    ("accept", &["master", "shared", "exclusive", "reuseport", "reuseport-cbpf", "blocking"]),
    (
        "balance",
        &[
            "round-robin",
            "least-loaded",
            "two-choices",
            "random",
            "weighted",
            "least-latency",
            "ip-hash",
        ],
    ),
    ("rebalance", &["never", "auto", "always"]),
    ("cbpf", &["random", "cpu"]),
    ("log_format", &["text", "json"]),
    ("log_level", &["off", "error", "warn", "info", "debug", "trace"]),
    ("interface", &["auto", "asgi", "wsgi"]),
    ("event_loop", &["auto", "asyncio", "uvloop"]),
    ("http", &["auto", "h11", "httptools"]),
    ("ws", &["auto", "none", "websockets", "websockets-sansio", "wsproto"]),
    ("lifespan", &["auto", "on", "off"]),
    ("defer_accept", &["0", "1"]),
    ("ws_per_message_deflate", &["true", "false"]),
];

pub(super) fn run(program: &str, shell: Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(program), program, &mut script);
    // A reader that has gone has its exit code all the same.
    let _ = io::stdout().write_all(&script);
    Exit::Done
}

/// The command line as a shell is told of it.
fn command(program: &str) -> Command {
    let mut command = raw::public_command(program);
    let names: Vec<_> =
        command.get_subcommands().map(|found| found.get_name().to_owned()).collect();
    for name in names {
        command = command.mut_subcommand(name, |found| found.mut_args(with_values));
    }
    command
}

fn with_values(argument: Arg) -> Arg {
    let id = argument.get_id().to_string();
    if let Some((_, words)) = WORDS.iter().find(|(name, _)| *name == id) {
        return argument.value_parser(PossibleValuesParser::new(*words));
    }
    let names = argument.get_value_names().unwrap_or_default();
    match names.first().map(clap::builder::Str::as_str) {
        Some("PATH" | "A.json" | "PLAN") => argument.value_hint(ValueHint::FilePath),
        Some("DIR") => argument.value_hint(ValueHint::DirPath),
        Some("BOOL") => argument.value_parser(PossibleValuesParser::new(["true", "false"])),
        Some("HOST") => argument.value_hint(ValueHint::Hostname),
        Some(_) | None => argument,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(shell: Shell) -> String {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command("maitred"), "maitred", &mut script);
        String::from_utf8(script).unwrap()
    }

    #[test]
    fn every_shell_hears_of_the_flags_and_their_words_and_not_of_the_worker() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let script = script(shell);
            assert!(script.contains("graceful-timeout"), "{shell}");
            assert!(!script.contains("handed over"), "{shell}");
            assert!(!script.contains("maitred__worker"), "{shell}");
        }
        assert!(script(Shell::Bash).contains("least-loaded"));
        assert!(script(Shell::Zsh).contains("least-loaded"));
    }

    #[test]
    fn every_word_that_is_offered_is_taken() {
        use crate::cli::raw::{Raw, RawCommand};
        use crate::cli::resolve::{Accounts, Surroundings, resolve};
        use clap::FromArgMatches;

        for (id, words) in WORDS {
            let flag = raw::flags().into_iter().find(|flag| flag.id == id).expect(id);
            for word in words {
                let mut arguments = vec!["maitred", "serve", &*flag.name, word, "pkg:app"];
                match id {
                    // Those need others.
                    "cbpf" => arguments.extend(["--accept", "reuseport-cbpf"]),
                    "accept" if *word == "blocking" => arguments.extend(["--threads", "0"]),
                    _ => {}
                }
                // Without a Python application, where that is not served in this way.
                if matches!(id, "accept" | "cbpf") {
                    arguments.retain(|argument| *argument != "pkg:app");
                }
                let matches = raw::command("maitred").try_get_matches_from(&arguments).unwrap();
                let RawCommand::Serve(raw) = Raw::from_arg_matches(&matches).unwrap().command
                else {
                    unreachable!("`serve` was typed");
                };
                let surroundings = Surroundings {
                    variables: &|_| None,
                    lookup: &|_| Ok(Vec::new()),
                    config: None,
                    accounts: Accounts { user: &|_| Ok(None), group: &|_| Ok(None), own_uid: 0 },
                    cores: 1,
                    systemd_sockets: Vec::new(),
                };
                let resolved = resolve(&raw, &surroundings);
                assert!(resolved.is_ok(), "{arguments:?}: {}", resolved.unwrap_err());
            }
        }
    }
}
