//! `--sandbox`: a handler that tries to get out stays in, and what is served is served.
//!
//! Each way out is tried without the sandbox first: one that were closed anyway would prove
//! nothing.

#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use nix::unistd::geteuid;

use common::client::Client;
use common::{DEADLINE, Server, binary, eventually};

fn captive() -> PathBuf {
    let example = binary().parent().expect("a folder").join("examples").join("captive");
    assert!(example.exists(), "not built: cargo build --examples");
    example
}

/// Whether this kernel can do what is tested; `--sandbox` itself says it if it cannot.
fn kernel_can(test: &str) -> bool {
    let active = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    let mut server = Server::spawn(&["check", "--sandbox"]);
    let can = server.wait_exit(DEADLINE).success();
    if !can {
        assert!(!active.contains("landlock"), "{}", server.stderr());
        eprintln!("{test}: this kernel has no Landlock");
    }
    can
}

#[test]
fn a_handler_finds_no_way_out() {
    if !kernel_can("a handler finds no way out") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("file"), "").unwrap();
    let _unix = UnixListener::bind(path("socket")).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port();
    let sleeper = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let sleeping = sleeper.id();
    let guard = Sleeper(sleeper);
    let ways = [
        ("/read/etc/passwd".to_owned(), "EACCES"),
        ("/list/etc".to_owned(), "EACCES"),
        (format!("/write{}", path("new")), "EACCES"),
        (format!("/mode{}", path("file")), "EPERM"),
        (format!("/link{}", path("link")), "EPERM"),
        (format!("/connect/{port}"), "EPERM"),
        (format!("/connect-unix{}", path("socket")), "EPERM"),
        ("/listen".to_owned(), "EPERM"),
        ("/datagram".to_owned(), "EPERM"),
        ("/execute/bin/true".to_owned(), "EPERM"),
        (format!("/signal/{sleeping}"), "EPERM"),
        ("/fork".to_owned(), "EPERM"),
        ("/code".to_owned(), "EPERM"),
        ("/remove".to_owned() + &path("file"), "EPERM"),
    ];
    let free = Server::start_program(&captive(), &["serve", "-w", "1", "--no-new-privs=false"]);
    let mut client = Client::connect(free.address());
    for (way, _) in &ways {
        assert_eq!(client.get(way).text(), "out\n", "{way} is closed anyway");
    }
    fs::write(path("file"), "").unwrap();
    let inside = Server::start_program(&captive(), &["serve", "-w", "1", "--sandbox"]);
    let mut client = Client::connect(inside.address());
    for (way, expected) in &ways {
        assert_eq!(client.get(way).text(), format!("{expected}\n"), "{way}");
    }
    // These need root, or a process that lets itself be traced, without a sandbox too.
    for way in [format!("/trace/{sleeping}"), format!("/memory/{sleeping}"), "/unshare".to_owned()]
    {
        assert_eq!(client.get(&way).text(), "EPERM\n", "{way}");
    }
    assert_eq!(client.get("/type").text(), "EPERM\n");
    assert_eq!(client.get("/root").text(), "EPERM\n", "root: {}", geteuid().is_root());
    // Threads are what a handler may have.
    assert_eq!(client.get("/thread").text(), "out\n");
    assert_confined(&inside);
    drop(guard);
}

/// Ends with the test.
struct Sleeper(std::process::Child);

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Every thread of every worker is behind both filters: one that is not would do for all.
#[track_caller]
fn assert_confined(server: &Server) {
    server.worker_pids().into_iter().for_each(assert_threads_confined);
    let master = fs::read_to_string(format!("/proc/{}/status", server.pid()));
    let master = master.expect("the master lives");
    assert!(master.contains("Seccomp_filters:\t0"), "the master has to start workers");
}

#[track_caller]
fn assert_threads_confined(pid: u32) {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the worker lives");
    for task in tasks.flatten() {
        // One that has ended meanwhile is no way out.
        let Ok(status) = fs::read_to_string(task.path().join("status")) else { continue };
        for line in ["NoNewPrivs:\t1", "Seccomp:\t2", "Seccomp_filters:\t2"] {
            assert!(status.contains(line), "{line}: {status}");
        }
    }
}

#[test]
fn files_are_served_from_inside_of_it() {
    if !kernel_can("files are served from inside of it") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let large: Vec<u8> = (0..3_000_000_u32).map(|number| number as u8).collect();
    fs::write(folder.path().join("large.bin"), &large).unwrap();
    fs::create_dir(folder.path().join("below")).unwrap();
    fs::write(folder.path().join("below/page.html"), "page").unwrap();
    std::os::unix::fs::symlink("below/page.html", folder.path().join("link.html")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("out.html")).unwrap();
    let served = format!("static:{}", folder.path().display());
    for more in [&["--threads", "4"][..], &["--threads", "0"], &["--accept", "shared"]] {
        let arguments = ["serve", &served, "-w", "2", "--browse", "--sandbox", "--access-log"];
        let server = Server::start(&[&arguments[..], more].concat());
        assert_confined(&server);
        let look = || {
            let mut client = Client::connect(server.address());
            assert_eq!(client.get("/large.bin").body, large);
            assert_eq!(client.get("/below/page.html").text(), "page");
            assert_eq!(client.get("/link.html").text(), "page");
            assert_eq!(client.get("/out.html").status, 404);
            assert_eq!(client.get("/no").status, 404);
            assert!(client.get("/below/").text().contains("page.html"));
        };
        look();
        let before = server.worker_pids();
        server.signal(Signal::SIGHUP);
        eventually(DEADLINE, "all workers are new", || {
            let now = server.worker_pids();
            now.len() == 2 && now.iter().all(|pid| !before.contains(pid))
        });
        look();
        assert_confined(&server);
        let mut server = server;
        server.signal(Signal::SIGTERM);
        assert!(server.wait_exit(DEADLINE).success());
        for trouble in ["panicked", "WARN", "ERROR", "not permitted", "ermission denied"] {
            assert!(!server.stderr_contains(trouble), "{}", server.stderr());
        }
    }
}

#[test]
fn what_is_built_in_works_in_it() {
    if !kernel_can("what is built in works in it") {
        return;
    }
    for (application, threads) in [("", "1"), ("", "0"), ("", "8"), ("echo", "1")] {
        let mut arguments = vec!["serve", "-w", "1", "--sandbox", "--threads", threads];
        if !application.is_empty() {
            arguments.insert(1, application);
        }
        let server = Server::start(&arguments);
        let mut client = Client::connect(server.address());
        let paths = ["/", "/sleep/1", "/spin/1", "/bytes/300000", "/whoami", "/client"];
        for path in paths {
            assert_eq!(client.get(path).status, 200, "{application} {path}");
        }
        let body = vec![b'x'; 100_000];
        let answer = client.request("POST", "/echo", &[], &body);
        assert_eq!(answer.body, body, "{application}");
        assert_confined(&server);
    }
}

#[test]
fn a_worker_in_it_is_metered_like_others() {
    if !kernel_can("a worker in it is metered like others") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let admin = folder.path().join("admin.sock");
    let address = format!("unix:{}", admin.display());
    let arguments = ["serve", "-w", "1", "--sandbox", "--admin", &address, "--request-id"];
    let server = Server::start(&arguments);
    let mut client = Client::connect(server.address());
    let pid = client.get("/whoami").number("pid");
    assert_threads_confined(pid);
    eventually(DEADLINE, "the admin address is there", || admin.exists());
    let mut operator = Client::connect_unix(&admin);
    eventually(DEADLINE, "its responses are counted", || {
        let metrics = operator.get("/metrics").text();
        let mut lines = metrics.lines().filter(|line| line.starts_with("maitred_responses_total"));
        lines.any(|line| !line.ends_with(" 0"))
    });
    assert!(!server.stderr_contains("WARN"), "{}", server.stderr());
}

#[test]
fn a_worker_in_a_sandbox_writes_its_logs_and_opens_them_again() {
    if !kernel_can("a sandboxed worker writes its logs") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (path, rotated) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let access = format!("--access-log={}", path.display());
    let server = Server::start(&["serve", "-w", "1", "--sandbox", &access]);
    assert_eq!(Client::connect(server.address()).get("/?first").status, 200);
    eventually(DEADLINE, "a line", || {
        fs::read_to_string(&path).is_ok_and(|text| text.contains("/?first"))
    });
    fs::rename(&path, &rotated).unwrap();
    server.signal(Signal::SIGUSR1);
    eventually(DEADLINE, "it is open again", || server.stderr_contains("reopened log=access-log"));
    assert_eq!(Client::connect(server.address()).get("/?second").status, 200);
    eventually(DEADLINE, "a line more", || {
        fs::read_to_string(&path).is_ok_and(|text| text.contains("/?second"))
    });
}
