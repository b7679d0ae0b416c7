//! How a Python application is not served by a binary that is no Python program: each way of lacking
//! an interpreter says once what is missing, and ends with 4, before a worker is started in vain.
//!
//! Not here: what the interpreter then finds out (python/tests/test_start.py, which has the package).

#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::binary;

/// Runs `maitred serve pkg.module:app` in a directory until it ends.
fn serve(directory: &Path, flags: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(["serve", "pkg.module:app", "-b", "127.0.0.1:0"]).args(flags);
    command.current_dir(directory).stdin(Stdio::null()).env_remove("MAITRED_PYTHON");
    command.output().expect("it can be started")
}

#[track_caller]
fn ends_with(output: &Output, reason: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{stderr}");
    assert!(stderr.contains(reason), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "it is said once, and nothing else:\n{stderr}");
}

/// An interpreter of the machine's in an environment that has no package at all.
fn bare_environment(path: &Path) {
    let made = Command::new("python3").args(["-m", "venv", "--without-pip"]).arg(path).status();
    assert!(made.expect("python3 runs").success());
}

#[test]
fn an_interpreter_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let output = serve(folder.path(), &["--python", "no-such-python"]);
    ends_with(&output, "no-such-python does not start (--python names another interpreter)");
}

#[test]
fn an_interpreter_without_the_package_in_the_environment_that_is_found() {
    let folder = tempfile::tempdir().unwrap();
    bare_environment(&folder.path().join(".venv"));
    let python = folder.path().join(".venv/bin/python");
    let output = serve(folder.path(), &[]);
    ends_with(&output, &format!("{} has no package maitred", python.display()));
    // Also in the directory that workers run in.
    let elsewhere = tempfile::tempdir().unwrap();
    let output = serve(elsewhere.path(), &["--chdir", folder.path().to_str().unwrap()]);
    ends_with(&output, &format!("{} -m pip install maitred", python.display()));
}

#[test]
fn what_is_asked_for_beats_the_environment_that_is_found() {
    let folder = tempfile::tempdir().unwrap();
    for name in [".venv", "other"] {
        bare_environment(&folder.path().join(name));
    }
    let output = serve(folder.path(), &["--python", "other/bin/python"]);
    ends_with(&output, "other/bin/python has no package maitred");
}

#[test]
fn a_package_that_does_not_import_says_why() {
    let folder = tempfile::tempdir().unwrap();
    bare_environment(&folder.path().join(".venv"));
    fs::create_dir(folder.path().join("maitred")).unwrap();
    fs::write(folder.path().join("maitred/__init__.py"), "raise OSError('built for another')")
        .unwrap();
    let output = serve(folder.path(), &[]);
    ends_with(&output, "the package maitred does not import: OSError: built for another");
}

#[test]
fn a_program_that_is_no_interpreter_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let python = folder.path().join("bin/python");
    fs::create_dir(folder.path().join("bin")).unwrap();
    fs::write(&python, "#!/bin/sh\necho I am no snake >&2\nexit 9\n").unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    let output = serve(folder.path(), &["--python", "bin/python"]);
    ends_with(&output, "does not import: I am no snake");
}
