//! `--reload`, `--env-file` and `--chdir` from outside: files are changed, and what the workers then
//! are is looked at. The workers are other programs, or ours: nothing here needs Python.
//!
//! Not here: which names count (`cli::watching`), how an env file is read (`master::env_file`).

#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;

use common::client::Client;
use common::{DEADLINE, Server, binary, eventually, foreign_worker, is_alive};

/// What every server here has: changes count after a moment, and a stop takes none.
const QUICK: [&str; 4] = ["--reload-delay", "50ms", "--drain-delay", "0"];

fn text(path: &Path) -> &str {
    path.to_str().expect("the path is text")
}

/// A server of our own workers that watches a directory.
fn watching(directory: &Path, more: &[&str]) -> Server {
    let first = ["serve", "-w", "2", "--reload", "--reload-dir", text(directory)];
    let server = Server::start(&[&first[..], &QUICK, more].concat());
    eventually(DEADLINE, "it watches", || server.stderr_contains("watching files"));
    server
}

/// Waits until each of these workers has been replaced.
fn wait_until_replaced(server: &Server, before: &[u32]) {
    eventually(DEADLINE, "the workers are replaced", || {
        server.worker_pids().len() == before.len() && before.iter().all(|pid| !is_alive(*pid))
    });
    assert_eq!(Client::connect(server.address()).get("/").status, 200);
}

#[test]
fn a_file_that_changes_replaces_all_workers() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.py");
    fs::write(&file, "1").unwrap();
    let server = watching(folder.path(), &[]);
    for step in 2..5 {
        let before = server.worker_pids();
        fs::write(&file, step.to_string()).unwrap();
        wait_until_replaced(&server, &before);
    }
    assert!(server.stderr_contains("a file has changed"), "{}", server.stderr());
    assert!(server.stderr_contains("app.py"), "{}", server.stderr());
}

#[test]
fn names_that_do_not_count_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let server =
        watching(folder.path(), &["--reload-include", "*.html", "--reload-exclude", "test_*"]);
    let before = server.worker_pids();
    for name in ["notes.txt", "test_app.py", ".app.py.swp", "app.pyc"] {
        fs::write(folder.path().join(name), "x").unwrap();
    }
    fs::write(folder.path().join("page.html"), "x").unwrap();
    wait_until_replaced(&server, &before);
    let stderr = server.stderr();
    let first =
        stderr.lines().find(|line| line.contains("a file has changed")).expect("it is said");
    assert!(first.contains("page.html"), "{first}");
}

#[test]
fn a_directory_that_comes_later_is_watched_too() {
    let folder = tempfile::tempdir().unwrap();
    let server = watching(folder.path(), &[]);
    let package = folder.path().join("package");
    fs::create_dir(&package).unwrap();
    let before = server.worker_pids();
    let mut number = 0;
    // The directory's watch may come after a write: whoever develops writes again.
    eventually(DEADLINE, "a change in it is seen", || {
        number += 1;
        fs::write(package.join("module.py"), number.to_string()).unwrap();
        server.stderr_contains("a file has changed")
    });
    wait_until_replaced(&server, &before);
}

/// What does not start any more says so, the old workers go on, and the next change mends it.
#[test]
fn a_broken_application_leaves_the_old_workers_until_it_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.py");
    let script = format!(
        "[ -e {} ] && echo broken on line 7 >&2 && exit 4; exec {}",
        broken.display(),
        foreign_worker()
    );
    let server = watching(folder.path(), &["--", "sh", "-c", &script]);
    let before = server.worker_pids();
    fs::write(&broken, "").unwrap();
    eventually(DEADLINE, "the reload fails", || server.stderr_contains("reload failed"));
    assert!(server.stderr_contains("broken on line 7"), "{}", server.stderr());
    assert_eq!(server.worker_pids(), before, "the old ones go on");
    assert_eq!(Client::connect(server.address()).get("/").status, 200);
    fs::remove_file(&broken).unwrap();
    wait_until_replaced(&server, &before);
}

#[test]
fn an_upgraded_server_goes_on_watching() {
    let folder = tempfile::tempdir().unwrap();
    let server = watching(folder.path(), &[]);
    let before = server.worker_pids();
    server.signal(Signal::SIGUSR2);
    eventually(DEADLINE, "it is upgraded", || server.stderr_contains("upgraded: "));
    wait_until_replaced(&server, &before);
    let before = server.worker_pids();
    fs::write(folder.path().join("app.py"), "x").unwrap();
    wait_until_replaced(&server, &before);
}

#[test]
fn a_directory_that_is_not_there_is_told_at_start() {
    let mut server = Server::spawn(&["serve", "--reload", "--reload-dir", "/nowhere/at/all"]);
    assert_eq!(server.wait_exit(DEADLINE).code(), Some(1));
    assert!(server.stderr_contains("watching /nowhere/at/all"), "{}", server.stderr());
}

/// A worker that first writes what it finds into a file of its working directory.
fn telling(what: &str) -> [String; 3] {
    let script = format!("echo \"{what}\" > told.new; mv told.new told; exec {}", foreign_worker());
    ["sh".to_owned(), "-c".to_owned(), script]
}

fn serve_in(
    folder: &Path,
    environment: &[(&str, &str)],
    flags: &[&str],
    command: &[String],
) -> Server {
    let first = ["serve", "--chdir", text(folder), "--drain-delay", "0"];
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    Server::start_in(environment, binary(), &[&first[..], flags, &["--"], &command].concat())
}

#[test]
fn workers_run_in_another_directory() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve_in(folder.path(), &[], &["-w", "1"], &telling("$PWD"));
    let told = fs::read_to_string(folder.path().join("told")).unwrap();
    assert_eq!(Path::new(told.trim()), folder.path().canonicalize().unwrap());
    drop(server);
    fs::create_dir(folder.path().join("site")).unwrap();
    fs::write(folder.path().join("site/page.txt"), "here").unwrap();
    let flags = ["serve", "-w", "1", "--chdir", text(folder.path()), "static:site"];
    let server = Server::start(&flags);
    assert_eq!(Client::connect(server.address()).get("/page.txt").text(), "here");
}

#[test]
fn workers_get_the_variables_of_the_file_and_a_reload_reads_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let (file, told) = (folder.path().join(".env"), folder.path().join("told"));
    fs::write(&file, "GREETING='hello there'\nHELD=file\nWEB_CONCURRENCY=3\nno sense\n").unwrap();
    let flags = ["--env-file", text(&file)];
    let command = telling("$GREETING, $HELD");
    let server = serve_in(folder.path(), &[("HELD", "process")], &flags, &command);
    assert_eq!(fs::read_to_string(&told).unwrap().trim(), "hello there, process");
    // It counts for the server itself too, as in Uvicorn.
    eventually(DEADLINE, "the workers are there", || server.worker_pids().len() == 3);
    assert!(server.stderr_contains("lines=[4]"), "{}", server.stderr());
    fs::write(&file, "GREETING=bye\nWEB_CONCURRENCY=3\n").unwrap();
    server.signal(Signal::SIGHUP);
    eventually(DEADLINE, "it is reloaded", || server.stderr_contains("reload done"));
    assert_eq!(fs::read_to_string(&told).unwrap().trim(), "bye, process");
    // Without it no worker is what it should be: the old ones go on.
    let before = server.worker_pids();
    fs::remove_file(&file).unwrap();
    server.signal(Signal::SIGHUP);
    eventually(DEADLINE, "the reload is refused", || server.stderr_contains("not reloaded"));
    assert_eq!(server.worker_pids(), before);
}
