//! The configuration file, seen from outside: found, named, printed, checked, and read again.

#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use common::client::Client;
use common::{DEADLINE, Server, binary, eventually};

fn folder_with(text: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a directory");
    fs::write(folder.path().join("maitred.toml"), text).expect("a file is written");
    folder
}

fn maitred_in(folder: &Path, arguments: &[&str]) -> Output {
    maitred_with(folder, arguments, &[])
}

/// The same with these variables, and no others that mean anything.
fn maitred_with(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(folder);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MAITRED_") {
            command.env_remove(name);
        }
    }
    for name in ["WEB_CONCURRENCY", "PORT", "FORWARDED_ALLOW_IPS"] {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied()).output().expect("it runs")
}

/// The lines of `--print-config` about these keys are these, each with its origin.
#[track_caller]
fn assert_printed(output: &Output, expected: &[(&str, &str, &str)]) {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    for (key, value, origin) in expected {
        let line = line_about(&printed, key);
        let (shown, from) = line.rsplit_once(" # ").expect("an origin");
        assert_eq!((shown.trim_end(), from), (*value, *origin));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The line of `--print-config` that is about this key.
fn line_about(printed: &str, key: &str) -> String {
    let begins = format!("{key} =");
    let line = printed.lines().find(|line| line.trim_start_matches("# ").starts_with(&begins));
    line.unwrap_or_else(|| panic!("{key} is missing in\n{printed}")).to_owned()
}

#[test]
fn a_file_in_the_working_directory_is_found_and_its_values_are_printed_with_their_origin() {
    let folder = folder_with("workers = 3\nkeep-alive = \"20s\"\nbind = [\":80\", \"unix:s\"]\n");
    let printed = maitred_in(folder.path(), &["serve", "echo", "-w", "5", "--print-config"]);
    let expected = [
        ("app", "app = \"echo\"", "typed"),
        ("command", "# command =", "default"),
        ("workers", "workers = 5", "typed"),
        ("keep-alive", "keep-alive = \"20s\"", "maitred.toml:2"),
        ("bind", "bind = [\":80\", \"unix:s\"]", "maitred.toml:3"),
        ("backlog", "# backlog = 2048", "default"),
        ("status-file", "# status-file =", "default"),
    ];
    assert_printed(&printed, &expected);
}

/// Values that were read under a platform's names were printed as defaults.
#[test]
fn what_a_platform_says_is_printed_under_the_platforms_name() {
    let folder = tempfile::tempdir().unwrap();
    let platform = [
        ("PORT", "5000"),
        ("WEB_CONCURRENCY", "3"),
        ("FORWARDED_ALLOW_IPS", "10.0.0.0/8"),
        ("MAITRED_LOG", "debug"),
    ];
    let print = ["serve", "--print-config"];
    let printed = maitred_with(folder.path(), &print, &platform);
    let by_platform = [
        ("bind", "bind = \"0.0.0.0:5000\"", "PORT"),
        ("workers", "workers = 3", "WEB_CONCURRENCY"),
        ("forwarded-allow-ips", "forwarded-allow-ips = \"10.0.0.0/8\"", "FORWARDED_ALLOW_IPS"),
        ("log-level", "log-level = \"debug\"", "MAITRED_LOG"),
    ];
    assert_printed(&printed, &by_platform);
    // It counts where nothing else says anything, and an empty one is none.
    let own = [
        ("MAITRED_UDS", "/run/a"),
        ("MAITRED_WORKERS", "2"),
        ("MAITRED_FORWARDED_ALLOW_IPS", "unix"),
        ("MAITRED_LOG_LEVEL", "warn"),
    ];
    let printed = maitred_with(folder.path(), &print, &[&platform[..], &own].concat());
    let by_own_name = [
        ("bind", "# bind = \"127.0.0.1:8000\"", "default"),
        ("uds", "uds = \"/run/a\"", "MAITRED_UDS"),
        ("workers", "workers = 2", "MAITRED_WORKERS"),
        ("forwarded-allow-ips", "forwarded-allow-ips = \"unix\"", "MAITRED_FORWARDED_ALLOW_IPS"),
        ("log-level", "log-level = \"warn\"", "MAITRED_LOG_LEVEL"),
    ];
    assert_printed(&printed, &by_own_name);
    let nothing = platform.map(|(name, _)| (name, ""));
    let printed = maitred_with(folder.path(), &print, &nothing);
    let defaults = [
        ("bind", "# bind = \"127.0.0.1:8000\"", "default"),
        ("log-level", "# log-level = \"info\"", "default"),
    ];
    assert_printed(&printed, &defaults);
    fs::write(folder.path().join("maitred.toml"), "host = \"::1\"\nworkers = 4\n").unwrap();
    let printed = maitred_with(folder.path(), &print, &platform);
    let by_file = [
        ("bind", "# bind = \"127.0.0.1:8000\"", "default"),
        ("host", "host = \"::1\"", "maitred.toml:1"),
        ("workers", "workers = 4", "maitred.toml:2"),
    ];
    assert_printed(&printed, &by_file);
}

#[test]
fn what_is_served_is_printed_with_its_origin_too() {
    let folder = tempfile::tempdir().unwrap();
    let print = |arguments: &[&str], variables: &[(&str, &str)]| {
        let arguments = [&["serve", "--print-config"][..], arguments].concat();
        maitred_with(folder.path(), &arguments, variables)
    };
    let nothing = [("app", "# app =", "default"), ("command", "# command =", "default")];
    assert_printed(&print(&[], &[]), &nothing);
    let named = [("MAITRED_APP", "echo"), ("MAITRED_COMMAND", "worker")];
    let app = [("app", "app = \"echo\"", "MAITRED_APP"), nothing[1]];
    assert_printed(&print(&[], &named), &app);
    let command = [nothing[0], ("command", "command = \"worker\"", "MAITRED_COMMAND")];
    assert_printed(&print(&[], &named[1..]), &command);
    // What is typed behind -- is served whatever else says something.
    let typed = [nothing[0], ("command", "command = [\"./worker\", \"-v\"]", "typed")];
    assert_printed(&print(&["--", "./worker", "-v"], &named), &typed);
    let file = "\ncommand = [\"./worker\", \"one word\"]\n";
    fs::write(folder.path().join("maitred.toml"), file).unwrap();
    let value = "command = [\"./worker\", \"one word\"]";
    let by_file = [nothing[0], ("command", value, "maitred.toml:2")];
    assert_printed(&print(&[], &[]), &by_file);
    let app = [("app", "app = \"static:.\"", "typed"), nothing[1]];
    assert_printed(&print(&["static:."], &[]), &app);
}

#[test]
fn a_spelling_of_another_server_is_printed_as_what_it_means() {
    let folder = folder_with("proxy-headers = true\nbind = \":80\"\nport = 81\n");
    let typed = ["--no-proxy-headers", "--no-server-header", "--access-logfile", "-"];
    let arguments = [&["serve", "--print-config", "--uds", "s"][..], &typed].concat();
    let expected = [
        ("proxy-headers", "proxy-headers = false", "typed"),
        ("server-header", "server-header = false", "typed"),
        ("date-header", "# date-header = true", "default"),
        ("access-log", "access-log = \"-\"", "typed"),
        // Addresses that were typed are all there is.
        ("uds", "uds = \"s\"", "typed"),
        ("bind", "# bind = \"127.0.0.1:8000\"", "default"),
        ("port", "# port =", "default"),
    ];
    assert_printed(&maitred_in(folder.path(), &arguments), &expected);
    // Who develops has an access log, unless something is said of it.
    let reload = ["serve", "--print-config", "--reload"];
    let expected =
        [("reload", "reload = true", "typed"), ("access-log", "access-log = true", "reload")];
    assert_printed(&maitred_in(folder.path(), &reload), &expected);
    let expected = [("access-log", "access-log = false", "typed")];
    assert_printed(
        &maitred_in(folder.path(), &[&reload[..], &["--no-access-log"]].concat()),
        &expected,
    );
    // Half of an address is completed by the other half, wherever that stands.
    let half = ["serve", "--print-config", "--host", "::1"];
    let expected = [
        ("host", "host = \"::1\"", "typed"),
        ("port", "port = 81", "maitred.toml:3"),
        ("bind", "# bind = \"127.0.0.1:8000\"", "default"),
    ];
    assert_printed(&maitred_in(folder.path(), &half), &expected);
}

#[test]
fn what_is_printed_is_a_file_that_says_the_same() {
    let folder = folder_with("workers = 3\nkeep-alive = \"20s\"\nbind = [\":80\", \"unix:s\"]\n");
    let first = maitred_in(folder.path(), &["serve", "--print-config", "--backlog=77"]);
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("other.toml"), &first.stdout).unwrap();
    let again = maitred_in(other.path(), &["serve", "-c", "other.toml", "--print-config"]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again.stderr));
    let again = text(&again.stdout);
    for key in ["workers", "keep-alive", "bind", "backlog"] {
        let value =
            |printed: &str| line_about(printed, key).rsplit_once(" # ").unwrap().0.to_owned();
        assert_eq!(value(&again), value(&text(&first.stdout)), "{key}");
    }
}

#[test]
fn a_check_tells_everything_at_once_and_serves_nothing() {
    let folder = folder_with("workers = 3\n");
    let sound = maitred_in(folder.path(), &["check", "echo"]);
    assert_eq!(sound.status.code(), Some(0));
    assert_eq!(text(&sound.stdout), "maitred.toml: these settings hold\n");

    fs::write(folder.path().join("maitred.toml"), "wrokers = 3\nbacklog = 0\n").unwrap();
    let broken = maitred_in(folder.path(), &["check", "--keep-alive=0"]);
    assert_eq!(broken.status.code(), Some(2));
    let told = text(&broken.stderr);
    assert_eq!(told.lines().count(), 3, "{told}");
    assert!(
        told.contains("maitred.toml:1: wrokers: there is no such key; workers is one"),
        "{told}"
    );

    fs::write(folder.path().join("maitred.toml"), "workers = [\n").unwrap();
    let broken = maitred_in(folder.path(), &["check"]);
    assert_eq!(broken.status.code(), Some(2));
    assert!(text(&broken.stderr).contains("is no TOML"), "{}", text(&broken.stderr));

    let missing = maitred_in(folder.path(), &["check", "-c", "absent.toml"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(text(&missing.stderr).contains("absent.toml"), "{}", text(&missing.stderr));
}

#[test]
fn a_file_that_is_too_large_is_refused() {
    let folder = folder_with(&"# a long story\n".repeat(5000));
    let refused = maitred_in(folder.path(), &["check"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("larger than 65536 bytes"), "{}", text(&refused.stderr));
}

#[test]
fn a_reload_reads_the_file_again_and_a_broken_one_changes_nothing() {
    let folder = folder_with("workers = 1\nworker-header = false\n");
    let path = folder.path().join("maitred.toml");
    let named = path.to_str().unwrap();
    let mut server = Server::start(&["serve", "-c", named]);
    let answer = |server: &Server| Client::connect(server.address()).get("/whoami");
    let header = |server: &Server| answer(server).header("x-maitred-worker").map(str::to_owned);
    assert_eq!(header(&server), None);
    let before = server.worker_pids();

    fs::write(&path, "wrokers = 2\n").unwrap();
    server.signal(Signal::SIGHUP);
    eventually(DEADLINE, "the fault is told", || {
        server.stderr().contains("there is no such key; workers is one")
    });
    assert_eq!(server.worker_pids(), before, "nothing was replaced");
    assert_eq!(header(&server), None);

    // Workers that start meanwhile go by what their master has read.
    server.signal(Signal::SIGTTIN);
    eventually(DEADLINE, "a second worker is ready", || server.worker_pids().len() == 2);

    // Who accepts cannot change beneath a master that runs; nothing else is taken over either.
    fs::write(&path, "workers = 3\naccept = \"shared\"\n").unwrap();
    server.signal(Signal::SIGHUP);
    eventually(DEADLINE, "it is refused", || server.stderr().contains("accept has changed"));
    assert_eq!(server.worker_pids().len(), 2);

    let sound = "workers = 3\nworker-header = true\nbalance = \"round-robin\"\nbacklog = 9\n";
    fs::write(&path, sound).unwrap();
    server.signal(Signal::SIGHUP);
    eventually(DEADLINE, "all workers are new, and two more than the file said before", || {
        let workers = server.worker_pids();
        workers.len() == 4 && workers.iter().all(|worker| !before.contains(worker))
    });
    eventually(DEADLINE, "the new settings hold", || header(&server).is_some());
    let log = server.stderr();
    assert!(log.contains("another policy"), "{log}");
    assert!(log.contains("backlog") && log.contains("USR2 or a restart does"), "{log}");
    server.signal(Signal::SIGTERM);
    assert!(server.wait_exit(DEADLINE).success());
}
