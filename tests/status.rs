//! The status file and `maitred status`, from outside: what is said of a server that starts, serves,
//! reloads, loses workers and ends; by which exit code; and what a bad file does to nobody.

#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output};

use nix::sys::signal::Signal;
use serde_json::Value;

use common::client::Client;
use common::{DEADLINE, Server, Stopped, binary, eventually, is_asleep, signal_process};
use maitred::account::{Outcome, ReloadState, WorkerStage};

/// Runs `maitred status`.
fn status(arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.arg("status").args(arguments).env_remove("MAITRED_STATUS_FILE");
    command.output().expect("the program can be started")
}

fn code(path: &Path) -> Option<i32> {
    status(&[path.to_str().expect("a path in UTF-8")]).status.code()
}

fn text(path: &Path) -> String {
    String::from_utf8(status(&[path.to_str().expect("a path in UTF-8")]).stdout).expect("text")
}

fn json(path: &Path) -> Value {
    let output = status(&["--json", path.to_str().expect("a path in UTF-8")]);
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

#[test]
fn it_says_what_a_server_has_done_and_its_life_ends_with_its_process() {
    let mut server = Server::start(&["serve", "-w", "2"]);
    let path = server.status_path();
    let mode = fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o7137, 0, "not for everybody: {mode:o}");
    for _ in 0..5 {
        assert_eq!(Client::connect(server.address()).get("/").status, 200);
    }
    server.assert_conserved_at_rest();
    let document = json(&path);
    assert_eq!(document["schema"], 1);
    assert_eq!((&document["serving"], &document["running"]), (&true.into(), &true.into()));
    assert_eq!(document["pid"], server.pid());
    assert_eq!(document["account"]["accepted"], 5);
    assert_eq!(document["account"]["finished"], 5);
    assert_eq!(document["account"]["missing"], 0);
    assert_eq!(document["reload"]["state"], "none");
    let workers = document["workers"].as_array().expect("a list");
    let pids: Vec<_> = workers.iter().map(|one| one["pid"].as_u64().expect("a number")).collect();
    assert_eq!(pids.len(), 2);
    assert!(pids.iter().all(|pid| server.worker_pids().contains(&(*pid as u32))));
    let requests = |name: &str| -> u64 {
        workers.iter().map(|worker| worker[name].as_u64().expect("a number")).sum()
    };
    assert_eq!(requests("requests_finished"), 5);
    assert_eq!(requests("active") + requests("restarts"), 0);
    assert!(text(&path).starts_with("serving: master "), "{}", text(&path));
    assert_eq!(code(&path), Some(0));

    server.signal(Signal::SIGTERM);
    eventually(DEADLINE, "it says that it stops", || json(&path)["phase"] != "serving");
    assert_eq!(code(&path), Some(3));
    server.wait_exit(DEADLINE);
    let last = json(&path);
    assert_eq!((&last["phase"], &last["running"]), (&"stopped".into(), &false.into()));
    assert_eq!(last["account"]["finished"], 5, "the last account is kept");
    assert_eq!(code(&path), Some(3));
}

#[test]
fn a_reload_that_fails_is_told_until_one_succeeds() {
    let folder = tempfile::tempdir().expect("a directory");
    let (files, away) = (folder.path().join("files"), folder.path().join("away"));
    fs::create_dir(&files).expect("a directory");
    fs::write(files.join("index.html"), "hello").expect("a file");
    let app = format!("static:{}", files.display());
    let server = Server::start(&["serve", &app, "-w", "2"]);
    let path = server.status_path();
    let before = server.worker_pids();
    assert_eq!(code(&path), Some(0));

    fs::rename(&files, &away).expect("it can be renamed");
    server.signal(Signal::SIGHUP);
    eventually(DEADLINE, "the reload has failed", || {
        server.status().reload.state == ReloadState::Failed
    });
    assert_eq!(code(&path), Some(1));
    let failed = json(&path);
    assert_eq!((&failed["serving"], &failed["reload"]["replaced"]), (&true.into(), &0.into()));
    assert_eq!(failed["events"]["reloads_failed"], 1);
    assert!(text(&path).contains("reload: FAILED, 0 of 2 workers replaced"), "{}", text(&path));
    eventually(DEADLINE, "the log says so", || server.stderr_contains("reload failed"));
    assert_eq!(server.worker_pids(), before, "the old ones go on");

    fs::rename(&away, &files).expect("it can be renamed");
    server.signal(Signal::SIGHUP);
    eventually(DEADLINE, "the next one succeeds", || {
        server.status().reload.state == ReloadState::Done
    });
    assert_eq!(code(&path), Some(0));
    let done = json(&path);
    assert_eq!((&done["reload"]["replaced"], &done["reload"]["of"]), (&2.into(), &2.into()));
    assert_eq!((&done["events"]["reloads"], &done["generation"]), (&2.into(), &5.into()));
    assert_eq!(Client::connect(server.address()).get("/").text(), "hello");
}

#[test]
fn a_master_that_was_killed_is_not_taken_for_one_that_serves() {
    let mut server = Server::start(&["serve", "-w", "1"]);
    let path = server.status_path();
    eventually(DEADLINE, "it serves", || code(&path) == Some(0));
    server.signal(Signal::SIGKILL);
    server.wait_exit(DEADLINE);
    assert_eq!(code(&path), Some(3));
    assert!(text(&path).starts_with("not running: master "), "{}", text(&path));
    assert_eq!(json(&path)["running"], false);
    // Its file is there for the next one.
    let bind = ["-b", "127.0.0.1:0"];
    let file = path.to_str().expect("a path in UTF-8");
    let next = Server::start(&[&["serve", "-w", "1", "--status-file", file], &bind[..]].concat());
    assert_eq!(json(&path)["pid"], next.pid());
}

#[test]
fn a_second_server_is_refused_the_file_and_the_first_goes_on() {
    let first = Server::start(&["serve", "-w", "1"]);
    let path = first.status_path();
    let file = path.to_str().expect("a path in UTF-8");
    let arguments = ["serve", "-w", "1", "-b", "127.0.0.1:0", "--status-file", file];
    let mut second = Server::spawn(&arguments);
    assert_eq!(second.wait_exit(DEADLINE).code(), Some(1));
    eventually(DEADLINE, "it says why", || {
        second.stderr_contains(file) && second.stderr_contains("another process holds it")
    });
    assert_eq!(Client::connect(first.address()).get("/").status, 200);
    first.assert_conserved_at_rest();
    assert_eq!(json(&path)["pid"], first.pid());
}

#[test]
fn what_is_done_to_the_file_harms_only_its_readers() {
    let server = Server::start(&["serve", "-w", "1"]);
    let path = server.status_path();
    let serve_one = || assert_eq!(Client::connect(server.address()).get("/").status, 200);
    serve_one();
    server.assert_conserved_at_rest();
    let inode = fs::metadata(&path).expect("it is there").ino();

    // Cut short: the next change restores it.
    fs::OpenOptions::new().write(true).truncate(true).open(&path).expect("it may be written");
    serve_one();
    eventually(DEADLINE, "it is whole again", || code(&path) == Some(0));
    // Written over.
    fs::OpenOptions::new().write(true).open(&path).expect("it may be written");
    fs::write(&path, b"maitstat and then nonsense").expect("it may be written");
    assert_eq!(code(&path), Some(4));
    serve_one();
    eventually(DEADLINE, "it is whole again", || code(&path) == Some(0));
    assert_eq!(fs::metadata(&path).expect("it is there").ino(), inode, "in place");
    server.assert_conserved_at_rest();
    // Taken away: nobody finds it any more.
    fs::remove_file(&path).expect("it may be removed");
    assert_eq!(code(&path), Some(3));
    serve_one();
}

#[test]
fn what_is_no_status_file_is_neither_read_nor_written_over() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("thesis");
    fs::write(&path, "chapter one").expect("a file");
    let file = path.to_str().expect("a path in UTF-8");
    let output = status(&[file]);
    assert_eq!(output.status.code(), Some(4));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(file) && said.contains("no status file"), "{said}");
    let mut server =
        Server::spawn(&["serve", "-w", "1", "-b", "127.0.0.1:0", "--status-file", file]);
    assert_eq!(server.wait_exit(DEADLINE).code(), Some(1));
    assert_eq!(fs::read(&path).expect("it is there"), b"chapter one");

    assert_eq!(code(&folder.path().join("nothing")), Some(3));
    assert_eq!(status(&[]).status.code(), Some(2), "no path, and no variable");
    let by_variable = Command::new(binary())
        .arg("status")
        .env("MAITRED_STATUS_FILE", &path)
        .output()
        .expect("the program can be started");
    assert_eq!(by_variable.status.code(), Some(4));
}

#[test]
fn a_worker_that_stands_still_is_marked_and_one_that_died_is_counted() {
    let server = Server::start(&["serve", "-w", "1"]);
    let mut idle = Client::connect(server.address());
    assert_eq!(idle.get("/").status, 200);
    let worker = || server.status().workers.into_iter().next().unwrap_or_default();
    eventually(DEADLINE, "one connection is at the worker", || worker().on_loan == 1);
    let pid = worker().pid;
    let stopped = Stopped::stop(pid);
    eventually(DEADLINE, "it is marked", || worker().is_stopped);
    // What is sent to it now waits, and nothing else is to be had from it.
    let mut waiting = Client::connect(server.address());
    waiting.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually(DEADLINE, "it is stuck", || worker().is_stuck);
    assert!(text(&server.status_path()).contains("  stuck  stopped\n"));
    drop(stopped);
    assert_eq!(waiting.answer(false).status, 200);
    eventually(DEADLINE, "it goes on", || !worker().is_stopped && !worker().is_stuck);

    signal_process(pid, Signal::SIGKILL);
    eventually(DEADLINE, "another serves", || {
        worker().stage == WorkerStage::Serving && worker().pid != pid
    });
    assert_eq!(json(&server.status_path())["workers"][0]["restarts"], 1);
    drop((idle, waiting));
    server.assert_conserved_at_rest();
}

#[test]
fn a_death_is_counted_by_what_its_clients_got() {
    let server = Server::start(&["serve", "-w", "1", "--threads", "4"]);
    let connect = || Client::connect(server.address());
    let (mut unanswered, mut answering, mut idle) = (connect(), connect(), connect());
    assert_eq!(idle.get("/").status, 200);
    unanswered.send(b"GET /sleep/60000 HTTP/1.1\r\nHost: test\r\n\r\n");
    // Much more than the buffers of both ends: it has begun, and cannot be finished.
    answering.send(b"GET /bytes/100000000 HTTP/1.1\r\nHost: test\r\n\r\n");
    answering.wait_for_bytes();
    let worker = || server.status().workers.into_iter().next().unwrap_or_default();
    eventually(DEADLINE, "both are at work", || {
        // The account is as new as the master's last turn: this is one.
        assert_eq!(connect().get("/").status, 200);
        worker().active() == 2
    });
    // What it has answered it has also said to have answered, once it sleeps.
    eventually(DEADLINE, "its loop sleeps", || is_asleep(worker().pid));
    signal_process(worker().pid, Signal::SIGKILL);
    assert_eq!(unanswered.answer(false).status, 502);
    assert!(answering.try_answer(false).is_err(), "it is cut off");
    assert_eq!(idle.get("/").status, 200, "nobody was reading from it");
    drop((unanswered, answering, idle));
    server.assert_conserved_at_rest();
    let account = server.account();
    for (outcome, count) in [
        (Outcome::DiedUnanswered, 1),
        (Outcome::DiedAnswering, 1),
        (Outcome::DiedPinned, 0),
        (Outcome::DiedGarbled, 0),
    ] {
        assert_eq!(account.counters.of(outcome), count, "{outcome:?}: {account}");
    }
    assert!(account.counters.outlived >= 1, "{account}");
}

#[test]
fn who_leaves_between_two_requests_is_told_from_who_is_silent() {
    let arguments = ["serve", "-w", "1", "--rebalance", "always", "--keep-alive", "300ms"];
    let server = Server::start(&arguments);
    // With `always` every idle connection is parked.
    let parked = || server.account().here.parked;
    let mut leaving = Client::connect(server.address());
    assert_eq!(leaving.get("/").status, 200);
    let mut silent = Client::connect(server.address());
    assert_eq!(silent.get("/").status, 200);
    drop(leaving);
    silent.expect_eof();
    eventually(DEADLINE, "nobody is parked", || parked() == 0);
    server.assert_conserved_at_rest();
    let account = server.account();
    let of = |outcome| account.counters.of(outcome);
    assert_eq!(of(Outcome::ClientLeft) + of(Outcome::SilentTooLong), 2, "{account}");
    assert!(of(Outcome::SilentTooLong) >= 1, "{account}");
}
