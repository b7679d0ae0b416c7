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
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(folder);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MAITRED_") {
            command.env_remove(name);
        }
    }
    command.env_remove("WEB_CONCURRENCY").env_remove("PORT").output().expect("it runs")
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
    assert_eq!(printed.status.code(), Some(0));
    let printed = text(&printed.stdout);
    for (key, value, origin) in [
        ("app", "app = \"echo\"", "typed"),
        ("workers", "workers = 5", "typed"),
        ("keep-alive", "keep-alive = \"20s\"", "maitred.toml:2"),
        ("bind", "bind = [\":80\", \"unix:s\"]", "maitred.toml:3"),
        ("backlog", "# backlog = 2048", "default"),
        ("status-file", "# status-file =", "default"),
    ] {
        let line = line_about(&printed, key);
        let (shown, from) = line.rsplit_once(" # ").unwrap();
        assert_eq!((shown.trim_end(), from), (value, origin));
    }
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
