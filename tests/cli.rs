//! The command line from outside: help, version, and every way to get it wrong.
//!
//! The cases stand in `tests/cli/*.trycmd`; `TRYCMD=overwrite cargo test --test cli` writes them
//! anew, and the difference is then for a reader to judge. What the flags mean is tested beside
//! `cli::resolve`.

use std::collections::BTreeSet;
use std::io;
use std::process::{Command, Stdio};

use maitred::cli::elsewhere;
use maitred::cli::raw::{Flag, flags};

#[test]
fn command_lines() {
    trycmd::TestCases::new().env("NO_COLOR", "1").case("tests/cli/*.trycmd");
}

/// One row of the tables in docs/command-line.md: flag, variable, default.
fn documented() -> Vec<Flag> {
    let page = include_str!("../docs/command-line.md");
    let page = page.split("## Flags of other servers").next().expect("a split has a first part");
    let rows = page.lines().filter(|line| line.starts_with("| `-"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = cells[1].split('`').find(|part| part.starts_with("--")).expect(row);
        let name = name.split([' ', '[']).next().expect("a split has a first part");
        let variable = cells[2].split('`').nth(1).expect(row);
        let default = cells[3].trim_matches('`');
        Flag {
            id: String::new(),
            name: name.to_owned(),
            variable: variable.to_owned(),
            default: (default != "-").then(|| default.to_owned()),
        }
    })
    .collect()
}

#[test]
fn every_flag_is_documented_with_its_variable_and_default() {
    let documented = documented();
    for flag in flags() {
        // How clap knows it is nobody's business.
        let flag = Flag { id: String::new(), ..flag };
        assert!(documented.contains(&flag), "docs/command-line.md lacks {flag:?}");
    }
    let real: BTreeSet<String> = flags().into_iter().map(|flag| flag.name).collect();
    for flag in documented {
        assert!(real.contains(&flag.name), "docs/command-line.md has {} that is none", flag.name);
    }
}

/// Everything in backquotes that is a long flag: `--host`, `--keep-alive TIME`.
fn long_flags(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.split('`').skip(1).step_by(2).filter(|part| part.starts_with("--"));
    quoted.filter_map(|part| part[2..].split([' ', '=', '/']).next())
}

#[test]
fn what_docs_python_md_promises_is_a_flag() {
    let page = include_str!("../docs/python.md");
    let command = maitred::cli::raw::command("maitred");
    let serve = command.find_subcommand("serve").expect("serve is a command");
    let is_known = |flag: &str| {
        serve.get_arguments().any(|argument| {
            let aliases = argument.get_all_aliases().unwrap_or_default();
            argument.get_long() == Some(flag) || aliases.contains(&flag)
        })
    };
    let mut counted = 0;
    let mut check = |text: &str| {
        for flag in long_flags(text) {
            assert!(is_known(flag), "docs/python.md promises --{flag}: {text}");
            counted += 1;
        }
    };
    let promises = page.split("mean the same").skip(1);
    promises.for_each(|rest| check(rest.split("\n\n|").next().expect("a first part")));
    // The right-hand side of the tables of other servers' flags.
    let switching = page.split("\n## ").filter(|section| section.starts_with("Switching"));
    for row in switching.flat_map(str::lines).filter(|line| line.starts_with("| ")) {
        // `maitred status` has flags of its own.
        check(&row.rsplit('|').nth(1).expect(row).replace("`maitred status --json`", ""));
    }
    assert!(counted > 100, "the page is read otherwise than it is written: {counted} flags");
}

/// What docs/python.md names of other servers, in the left-hand column, is either taken here or
/// answered with what to use.
#[test]
fn what_other_servers_have_is_taken_or_answered() {
    let page = include_str!("../docs/python.md");
    let command = maitred::cli::raw::command("maitred");
    let serve = command.find_subcommand("serve").expect("serve is a command");
    let is_taken = |flag: &str| {
        serve.get_arguments().any(|argument| {
            let long = argument.get_long().into_iter();
            let aliases = argument.get_all_aliases().unwrap_or_default();
            let short = argument.get_short().map(|short| format!("-{short}"));
            let mut long = long.chain(aliases).map(|name| format!("--{name}"));
            long.any(|name| name == flag) || short.as_deref() == Some(flag)
        })
    };
    let mut counted = 0;
    let switching = page.split("\n## ").filter(|section| section.starts_with("Switching"));
    for row in switching.flat_map(str::lines).filter(|line| line.starts_with("| ")) {
        let left = row.split('|').nth(1).expect(row);
        let quoted = left.split('`').skip(1).step_by(2).filter(|part| part.starts_with('-'));
        for flag in quoted.filter_map(|part| part.split([' ', '=', '/']).next()) {
            let is_known = is_taken(flag) || elsewhere::find(flag).is_some();
            assert!(is_known, "nothing is said of {flag}: {row}");
            counted += 1;
        }
    }
    assert!(counted > 50, "the page is read otherwise than it is written: {counted} flags");
}

/// A pipe whose reader has gone.
fn broken_pipe() -> Stdio {
    let (reader, writer) = io::pipe().expect("a pipe opens");
    drop(reader);
    writer.into()
}

#[test]
fn a_reader_that_has_gone_changes_no_exit_code() {
    let maitred = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_maitred"));
        command.stdin(Stdio::null()).stdout(broken_pipe()).stderr(broken_pipe());
        command
    };
    for (arguments, code) in [
        (&["--help"][..], 0),
        (&["serve", "--help"], 0),
        (&["--version"], 0),
        (&["srve"], 2),
        (&["serve", "--workers", "0"], 2),
        (&["worker"], 2),
    ] {
        let status = maitred().args(arguments).status().unwrap();
        assert_eq!(status.code(), Some(code), "{arguments:?}");
    }
}
