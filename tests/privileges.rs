//! Workers that are less than their master: another user, another root directory. Most of it can
//! only be seen where the tests run as root; elsewhere each says that it has seen nothing.

#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use tempfile::TempDir;

use common::client::Client;
use common::{DEADLINE, Server, binary, eventually};

/// Nobody's, on any system.
const UID: u32 = 3_912_345;
const GID: u32 = 3_923_456;

/// A folder that everybody may enter, with the program in it: the tests' own may be in somebody's
/// home.
fn installed() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a directory");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
    let program = folder.path().join("maitred");
    fs::copy(binary(), &program).expect("the program can be copied");
    (folder, program)
}

fn is_root(test: &str) -> bool {
    let is_root = geteuid().is_root();
    if !is_root {
        eprintln!("{test}: not root, and nothing is seen of it");
    }
    is_root
}

/// A line of /proc/PID/status, its words joined.
#[track_caller]
fn status(pid: u32, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.expect("the line is there").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// One that is somebody else, and nobody else's.
#[track_caller]
fn assert_dropped(pid: u32) {
    let (uid, gid) = (UID.to_string(), GID.to_string());
    assert_eq!(status(pid, "Uid"), [&uid[..]; 4].join(" "));
    assert_eq!(status(pid, "Gid"), [&gid[..]; 4].join(" "));
    assert_eq!(status(pid, "Groups"), gid);
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status(pid, set), "0000000000000000", "{set}");
    }
    assert_eq!(status(pid, "NoNewPrivs"), "1");
    assert_eq!(status(pid, "Umask"), "0027");
}

#[test]
fn workers_are_somebody_else_and_their_master_starts_the_next_ones_too() {
    if !is_root("workers are somebody else") {
        return;
    }
    let (folder, program) = installed();
    let socket = folder.path().join("app.sock");
    let bind = format!("unix:{}", socket.display());
    let pid_file = folder.path().join("pid");
    let (uid, gid) = (UID.to_string(), GID.to_string());
    let arguments = ["serve", "-w", "2", "-b", &bind, "-u", &uid, "-g", &gid, "-m", "027"];
    let more = ["--pid-file", pid_file.to_str().unwrap()];
    let server = Server::start_program(&program, &[&arguments[..], &more].concat());
    server.worker_pids().into_iter().for_each(assert_dropped);
    assert_eq!(status(server.pid(), "Uid"), "0 0 0 0", "the master has to bind and to start");
    assert_eq!(Client::connect_unix(&socket).get("/").status, 200);

    // Whose the files are: the socket the workers', the account for their group to read, and the
    // pid file root's alone, since root kills what it names.
    let owner = |path: &Path| {
        let found = fs::symlink_metadata(path).expect("the file is there");
        (found.uid(), found.gid(), found.mode() & 0o777)
    };
    assert_eq!(owner(&socket), (UID, GID, 0o660));
    assert_eq!(owner(&server.status_path()), (0, GID, 0o640));
    assert_eq!((owner(&pid_file).0, owner(&pid_file).1), (0, 0));

    for signal in [Signal::SIGHUP, Signal::SIGUSR2] {
        let before = server.worker_pids();
        server.signal(signal);
        eventually(DEADLINE, "all workers are new", || {
            let now = server.worker_pids();
            now.len() == 2 && now.iter().all(|pid| !before.contains(pid))
        });
        server.worker_pids().into_iter().for_each(assert_dropped);
        assert_eq!(Client::connect_unix(&socket).get("/").status, 200);
    }
}

#[test]
fn the_helper_of_the_admin_address_is_no_more_than_a_worker() {
    if !is_root("the helper is no more than a worker") {
        return;
    }
    let (folder, program) = installed();
    let admin = folder.path().join("admin.sock");
    let address = format!("unix:{}", admin.display());
    let (uid, gid) = (UID.to_string(), GID.to_string());
    let arguments = ["serve", "-w", "1", "--admin", &address, "-u", &uid, "-g", &gid, "-m", "027"];
    let server = Server::start_program(&program, &arguments);
    // It commands the master: whoever may connect is root, or of the master's user.
    eventually(DEADLINE, "the admin address is there", || admin.exists());
    assert_eq!(fs::symlink_metadata(&admin).unwrap().uid(), 0);
    let mut client = Client::connect_unix(&admin);
    assert_eq!(client.get("/livez").status, 200);
    assert_eq!(client.get("/status").status, 200);
    let children = server.worker_pids();
    assert_eq!(children.len(), 2, "a worker and a helper: {children:?}");
    children.into_iter().for_each(assert_dropped);
}

#[test]
fn a_socket_may_be_somebody_elses() {
    if !is_root("a socket may be somebody else's") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("app.sock");
    let bind = format!("unix:{}", socket.display());
    let owner = format!("{UID}:{GID}");
    let arguments = ["serve", "-w", "1", "-b", &bind, "--unix-owner", &owner, "--unix-mode", "600"];
    let _server = Server::start(&arguments);
    let found = fs::symlink_metadata(&socket).unwrap();
    assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (UID, GID, 0o600));
}

#[test]
fn a_worker_reads_what_its_user_may_read() {
    if !is_root("a worker reads what its user may read") {
        return;
    }
    let (folder, program) = installed();
    for (name, mode) in [("open", 0o644), ("closed", 0o600)] {
        let file = folder.path().join(name);
        fs::write(&file, name).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    }
    let served = format!("static:{}", folder.path().display());
    let (uid, gid) = (UID.to_string(), GID.to_string());
    let arguments = ["serve", &served, "-w", "1", "-u", &uid, "-g", &gid];
    let server = Server::start_program(&program, &arguments);
    let mut client = Client::connect(server.address());
    assert_eq!(client.get("/open").text(), "open");
    assert_eq!(client.get("/closed").status, 403);
}

#[test]
fn another_root_directory_is_all_that_a_worker_sees() {
    if !is_root("another root directory") {
        return;
    }
    let (folder, program) = installed();
    let root = folder.path().join("root");
    // The program's own path, and its libraries, in there: what an operator would do.
    let inside = |path: &Path| root.join(path.strip_prefix("/").expect("an absolute path"));
    let listed = Command::new("ldd").arg(&program).output().expect("ldd is there");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let libraries = listed.split_whitespace().filter(|word| word.starts_with('/'));
    for file in libraries.map(PathBuf::from).chain([program.clone()]) {
        fs::create_dir_all(inside(&file).parent().unwrap()).unwrap();
        fs::copy(&file, inside(&file)).unwrap();
    }
    fs::create_dir(root.join("www")).unwrap();
    fs::write(root.join("www/page"), "inside").unwrap();
    let (uid, gid) = (UID.to_string(), GID.to_string());
    let arguments = ["serve", "static:/www", "-w", "1", "--chroot", root.to_str().unwrap()];
    let more = ["-u", &uid, "-g", &gid, "-m", "027"];
    let server = Server::start_program(&program, &[&arguments[..], &more].concat());
    let worker = server.worker_pids()[0];
    assert_eq!(fs::read_link(format!("/proc/{worker}/root")).unwrap(), root);
    assert_eq!(fs::read_link(format!("/proc/{worker}/cwd")).unwrap(), root);
    assert_dropped(worker);
    let mut client = Client::connect(server.address());
    assert_eq!(client.get("/page").text(), "inside");
    server.signal(Signal::SIGHUP);
    eventually(DEADLINE, "the worker is new", || {
        let now = server.worker_pids();
        now.len() == 1 && now[0] != worker
    });
    assert_eq!(client.get("/page").text(), "inside");
    // What is not in there is found out before anybody is started.
    let arguments = ["serve", "static:/etc", "--chroot", root.to_str().unwrap()];
    let mut server = Server::spawn(&arguments);
    assert_eq!(server.wait_exit(DEADLINE).code(), Some(4), "{}", server.stderr());
}

#[test]
fn who_is_not_root_is_told_so_at_once() {
    let (_folder, program) = installed();
    for (arguments, text) in [
        (["--user", "0"], "only root can run workers as another user"),
        (["--chroot", "/"], "only root can use --chroot"),
    ] {
        let mut command = Command::new(&program);
        command.args(["serve", "-b", "127.0.0.1:0"]).args(arguments).current_dir("/");
        if geteuid().is_root() {
            command.uid(UID).gid(GID);
        }
        let output = command.output().expect("the program can be started");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(text), "{said}");
        assert!(!said.contains("listening"), "{said}");
    }
}

#[test]
fn a_user_that_is_not_there_is_a_fault_of_what_was_typed() {
    let mut server = Server::spawn(&["serve", "--user", "no-such-user"]);
    assert_eq!(server.wait_exit(DEADLINE).code(), Some(2));
    assert!(server.stderr_contains("there is no such user"), "{}", server.stderr());
}

#[test]
fn a_log_that_the_master_creates_is_its_workers() {
    if !is_root("a log belongs to who writes it") {
        return;
    }
    let (folder, program) = installed();
    let path = |name: &str| folder.path().join(name);
    let access = format!("--access-log={}", path("access.log").display());
    let (uid, gid) = (UID.to_string(), GID.to_string());
    let arguments = ["serve", "-w", "1", "-u", &uid, "-g", &gid, &access];
    let server = Server::start_program(&program, &arguments);
    // The folder is root's: a worker cannot create the file, neither now nor when it was rotated.
    for round in ["first", "second"] {
        assert_eq!(Client::connect(server.address()).get(&format!("/?{round}")).status, 200);
        eventually(DEADLINE, "a line", || {
            fs::read_to_string(path("access.log")).is_ok_and(|text| text.contains(round))
        });
        let found = fs::metadata(path("access.log")).expect("the file is there");
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o777 & !0o640), (UID, GID, 0));
        fs::rename(path("access.log"), path(round)).expect("it can be renamed");
        server.signal(Signal::SIGUSR1);
        eventually(DEADLINE, "the worker has it again", || {
            let reopened = server.stderr().matches("reopened log=access-log").count();
            reopened == if round == "first" { 1 } else { 2 }
        });
    }
}
