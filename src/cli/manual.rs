//! `maitred man`: manual pages, made of the same texts as the help.
//!
//! Not here: the flags (`raw`), completion (`completing`).

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clap::Command;
use clap::builder::{Resettable, StyledStr};
use clap_mangen::Man;
use roff::{Roff, bold, roman};

use crate::cli::complain;
use crate::cli::raw::{self, RawMan};
use crate::exit::Exit;

pub(super) fn run(program: &str, raw: &RawMan) -> Exit {
    let mut command = raw::public_command(program);
    // So that each page knows the whole name of its command.
    command.build();
    if let Some(directory) = &raw.out {
        return match write_all(program, &command, directory) {
            Ok(()) => Exit::Done,
            Err(cause) => {
                let directory = Path::new(directory).display();
                complain(program, &format_args!("writing manual pages into {directory}: {cause}"));
                Exit::Failed
            }
        };
    }
    let wanted = match &raw.command {
        None => Some(&command),
        Some(name) => command.find_subcommand(name),
    };
    let Some(wanted) = wanted else {
        let name = raw.command.as_deref().unwrap_or_default();
        complain(program, &format_args!("there is no command {name:?}, and no page of it"));
        return Exit::Usage;
    };
    match page(program, wanted) {
        // A reader that has gone has its exit code all the same.
        Ok(page) => drop(io::stdout().write_all(&page)),
        Err(cause) => {
            complain(program, &format_args!("making a manual page: {cause}"));
            return Exit::Failed;
        }
    }
    Exit::Done
}

fn write_all(program: &str, command: &Command, directory: &OsStr) -> io::Result<()> {
    let directory = Path::new(directory);
    fs::create_dir_all(directory)?;
    let pages = std::iter::once(command).chain(command.get_subcommands());
    for command in pages.filter(|command| !command.is_hide_set()) {
        let name = format!("{}.1", title(program, command));
        fs::write(directory.join(name), page(program, command)?)?;
    }
    Ok(())
}

/// `maitred`, or `maitred-serve`.
fn title(program: &str, command: &Command) -> String {
    match command.get_name() {
        name if name == program => program.to_owned(),
        name => format!("{program}-{name}"),
    }
}

/// One page. The same program makes the same bytes: no date stands in it.
fn page(program: &str, command: &Command) -> io::Result<Vec<u8>> {
    let serves = matches!(command.get_name(), "serve" | "check");
    let title = title(program, command);
    let version = env!("CARGO_PKG_VERSION");
    // What stands behind the flags of `serve` in its help has sections of its own here.
    let command = if serves {
        command.clone().after_help(Resettable::<StyledStr>::Reset)
    } else {
        command.clone()
    };
    let man = Man::new(command.clone().display_name(title.clone()))
        .title(title)
        .section("1")
        .date("")
        .source(format!("maitred {version}"))
        .manual("maitred");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    // The flags are listed below; a hundred of them in a synopsis say nothing.
    page.extend(synopsis(&command).into_bytes());
    man.render_description_section(&mut page)?;
    if command.get_arguments().next().is_some() {
        man.render_options_section(&mut page)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    if command.get_after_help().is_some() {
        man.render_extra_section(&mut page)?;
    }
    let mut more = Roff::new();
    if serves {
        serve_sections(&mut more);
    }
    exit_status(&mut more, command.get_name());
    see_also(&mut more, program, &command);
    page.extend(more.to_roff().into_bytes());
    Ok(page)
}

fn synopsis(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([roman(usage)]);
    roff.to_roff()
}

const SIGNALS: [(&str, &str); 6] = [
    ("TERM, INT", "stop gracefully; a second one stops at once"),
    ("HUP", "read the configuration file again, and replace the workers one by one"),
    ("USR1", "open log files again"),
    ("USR2", "go on as the program that is in the file now, with all connections"),
    ("TTIN, TTOU", "one worker more, one less"),
    ("QUIT", "stop at once"),
];

fn serve_sections(roff: &mut Roff) {
    roff.control("SH", ["EXAMPLES"]);
    for (typed, what) in [
        ("maitred serve pkg.module:app", "a Python application on http://127.0.0.1:8000"),
        (
            "maitred serve -b 0.0.0.0:8000 -w 2..8 pkg.module:app",
            "the same for everybody, by two to eight workers",
        ),
        ("maitred serve -b unix:/run/site/http.sock static:/srv/www", "files, behind a proxy"),
        ("maitred check -c site.toml", "whether a configuration file holds"),
    ] {
        roff.control("TP", []);
        roff.text([bold(typed)]);
        roff.text([roman(what)]);
    }
    roff.control("SH", ["ENVIRONMENT"]);
    roff.text([
        roman("Every flag has a variable: "),
        bold("--header-timeout"),
        roman(" is "),
        bold("MAITRED_HEADER_TIMEOUT"),
        roman(
            ". A flag beats its variable, that beats the configuration file, that beats the \
             default. PORT, WEB_CONCURRENCY and FORWARDED_ALLOW_IPS count where nothing else says \
             anything. NOTIFY_SOCKET, WATCHDOG_USEC and LISTEN_FDS are a service manager's.",
        ),
    ]);
    roff.control("SH", ["FILES"]);
    roff.control("TP", []);
    roff.text([bold("maitred.toml")]);
    roff.text([roman("flags as KEY = VALUE, where it lies in the working directory")]);
    roff.control("SH", ["SIGNALS"]);
    for (signal, what) in SIGNALS {
        roff.control("TP", []);
        roff.text([bold(signal)]);
        roff.text([roman(what)]);
    }
}

fn exit_status(roff: &mut Roff, command: &str) {
    let codes: &[(&str, &str)] = match command {
        // Their help has codes of their own.
        "status" | "bench" | "ctl" | "sim" | "top" => return,
        "serve" | "check" => &[
            ("0", "done, or stopped"),
            ("1", "the machine did not let it: address in use, out of memory"),
            ("2", "what was typed or configured means nothing"),
            ("3", "the workers do not start"),
            ("4", "the application does not load"),
        ],
        _ => &[("0", "done"), ("1", "the machine did not let it"), ("2", "usage")],
    };
    roff.control("SH", ["EXIT STATUS"]);
    for (code, what) in codes {
        roff.control("TP", []);
        roff.text([bold(*code)]);
        roff.text([roman(*what)]);
    }
}

fn see_also(roff: &mut Roff, program: &str, command: &Command) {
    let pages: Vec<String> = if command.get_name() == program {
        let commands = command.get_subcommands().filter(|found| !found.is_hide_set());
        commands.map(|found| format!("{program}-{}(1)", found.get_name())).collect()
    } else {
        vec![format!("{program}(1)")]
    };
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman(pages.join(", "))]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_that_is_the_same_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = raw::public_command("maitred");
        command.build();
        write_all("maitred", &command, folder.path().as_os_str()).unwrap();
        let mut names: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        for name in ["maitred.1", "maitred-serve.1", "maitred-status.1", "maitred-man.1"] {
            assert!(names.iter().any(|found| found == name), "{names:?}");
        }
        assert!(!names.iter().any(|name| name.contains("worker")), "{names:?}");
        let serve = fs::read_to_string(folder.path().join("maitred-serve.1")).unwrap();
        for part in ["SH NAME", "graceful", "SH SIGNALS", "SH \"EXIT STATUS\"", "maitred(1)"] {
            assert!(serve.contains(part), "{part}: {serve}");
        }
        let again = page("maitred", command.find_subcommand("serve").unwrap()).unwrap();
        assert_eq!(serve.into_bytes(), again);
    }
}
