//! `maitred ctl`: each command, by what it does as seen from outside, and by its exit code.
//!
//! Not here: the admin address itself (`tests/admin.rs`).

#![cfg(feature = "cli")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use common::client::Client;
use common::{DEADLINE, Server, binary, eventually, is_alive};

struct Operated {
    server: Server,
    address: String,
    _folder: TempDir,
}

impl Operated {
    fn start(arguments: &[&str]) -> Operated {
        let folder = tempfile::tempdir().expect("a directory");
        let address = format!("unix:{}", folder.path().join("admin").display());
        let server = Server::start(&[arguments, &["--admin", &address]].concat());
        let operated = Operated { server, address, _folder: folder };
        eventually(DEADLINE, "the admin address is served", || operated.code(&["ping"]) == 0);
        operated
    }

    fn run(&self, arguments: &[&str]) -> Output {
        ctl(&[&["--admin", &self.address], arguments].concat())
    }

    fn code(&self, arguments: &[&str]) -> i32 {
        self.run(arguments).status.code().expect("it ends by itself")
    }

    /// Runs a command that is to succeed, and returns what it says.
    #[track_caller]
    fn say(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs a command that is to be refused, and returns why.
    #[track_caller]
    fn refused(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        String::from_utf8(output.stderr).expect("text")
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.say(&["status", "--json"])).expect("one JSON document")
    }

    fn slots(&self) -> BTreeSet<u64> {
        let document = self.json();
        let workers = document["workers"].as_array().expect("a list");
        workers.iter().filter_map(|worker| worker["slot"].as_u64()).collect()
    }

    /// Slots that answer, of many connections.
    fn answering(&self) -> BTreeSet<u32> {
        let address = self.server.address();
        (0..12).map(|_| Client::connect(address).get("/whoami").number("slot")).collect()
    }
}

fn ctl(arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.arg("ctl").args(arguments).env_remove("MAITRED_ADMIN");
    command.output().expect("the program can be started")
}

#[test]
fn workers_are_scaled_seen_and_reloaded() {
    let operated = Operated::start(&["serve", "-w", "2"]);
    assert!(operated.say(&["scale", "4"]).contains("4 workers are wanted"));
    eventually(DEADLINE, "there are four", || operated.slots().len() == 4);
    let workers = operated.say(&["workers"]);
    assert_eq!(workers.lines().count(), 5, "{workers}");
    let listed: Value = serde_json::from_str(&operated.say(&["workers", "--json"])).expect("JSON");
    assert_eq!(listed.as_array().map(Vec::len), Some(4));
    operated.say(&["scale", "1"]);
    eventually(DEADLINE, "there is one", || operated.slots().len() == 1);
    assert!(operated.refused(2, &["scale", "0"]).contains("from 1 to 1024"));
    assert!(operated.refused(2, &["scale", "many"]).contains("invalid value"));
    let before = operated.json()["workers"][0]["pid"].as_u64().expect("a number") as u32;
    assert_eq!(operated.say(&["reload", "--wait"]), "reload done: 1 of 1 workers replaced\n");
    eventually(DEADLINE, "the old worker has gone", || !is_alive(before));
    let text = operated.say(&["status"]);
    assert!(text.starts_with("serving: master ") && text.contains(" scale "), "{text}");
}

#[test]
fn a_reload_that_is_refused_or_fails_is_told() {
    let folder = tempfile::tempdir().expect("a directory");
    let (files, away) = (folder.path().join("files"), folder.path().join("away"));
    fs::create_dir(&files).expect("a directory");
    let config = folder.path().join("maitred.toml");
    fs::write(&config, "workers = 1\n").expect("a file");
    let app = format!("static:{}", files.display());
    let operated = Operated::start(&["serve", &app, "--config", config.to_str().expect("UTF-8")]);
    fs::write(&config, "wrokers = 1\n").expect("a file");
    let refusal = operated.refused(1, &["reload"]);
    assert!(refusal.contains("wrokers") && refusal.contains("workers is one"), "{refusal}");
    fs::write(&config, "workers = 1\n").expect("a file");
    fs::rename(&files, &away).expect("it can be renamed");
    let output = operated.run(&["reload", "--wait"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"reload failed: 0 of 1 workers replaced\n");
    assert_eq!(operated.code(&["status"]), 1, "as `maitred status` has it");
    fs::rename(&away, &files).expect("it can be renamed");
    operated.say(&["reload", "--wait"]);
    assert_eq!(operated.code(&["status"]), 0);
}

#[test]
fn a_drained_slot_gets_nothing_and_lives_on() {
    let operated = Operated::start(&["serve", "-w", "2", "--stall-after", "1s"]);
    eventually(DEADLINE, "both answer", || operated.answering().len() == 2);
    // An idle connection at each, and a request that is being answered.
    let address = operated.server.address();
    let mut kept: Vec<Client> = (0..8).map(|_| Client::connect(address)).collect();
    let slots: BTreeSet<u32> =
        kept.iter_mut().map(|client| client.get("/whoami").number("slot")).collect();
    assert_eq!(slots.len(), 2);
    let pid = |slot: u64| {
        let document = operated.json();
        let workers = document["workers"].as_array().expect("a list").clone();
        let worker = workers.into_iter().find(|worker| worker["slot"] == slot);
        worker.and_then(|worker| worker["pid"].as_u64()).expect("it has one") as u32
    };
    let drained = pid(1);
    assert!(operated.say(&["drain", "1"]).contains("out of service"));
    assert!(operated.say(&["workers"]).contains("drained"));
    assert_eq!(operated.answering(), BTreeSet::from([0]));
    for client in &mut kept {
        assert_eq!(client.get("/whoami").number("slot"), 0, "idle connections have moved");
    }
    assert_eq!(pid(1), drained, "it lives on");
    assert!(operated.say(&["drain", "1"]).contains("already"));
    assert!(operated.refused(1, &["drain", "0"]).contains("the last one in service"));
    assert!(operated.refused(1, &["drain", "2"]).contains("there is no slot 2"));
    assert_eq!(operated.server.account().missing(), 0);

    // The slot stays out of service when its worker dies.
    common::signal_process(drained, nix::sys::signal::Signal::SIGKILL);
    eventually(DEADLINE, "another one has its slot", || {
        let document = operated.json();
        let workers = document["workers"].as_array().expect("a list").clone();
        workers
            .iter()
            .any(|one| one["slot"] == 1 && one["pid"] != drained && one["stage"] == "serving")
    });
    assert_eq!(operated.answering(), BTreeSet::from([0]));
    assert!(operated.say(&["undrain", "1"]).contains("in service again"));
    eventually(DEADLINE, "both answer again", || operated.answering().len() == 2);
    // What is out of service when all others are taken away is in service.
    operated.say(&["drain", "0"]);
    operated.say(&["scale", "1"]);
    eventually(DEADLINE, "slot 0 serves", || operated.answering() == BTreeSet::from([0]));
    drop(kept);
    operated.server.assert_conserved_at_rest();
}

#[test]
fn what_a_drained_worker_is_answering_is_answered_and_its_connection_moves_then() {
    let operated = Operated::start(&["serve", "-w", "2", "--stall-after", "60s"]);
    let mut client = Client::connect(operated.server.address());
    let slot = client.get("/whoami").number("slot");
    client.send(b"GET /sleep/1000 HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually(DEADLINE, "it is being answered", || {
        let document = operated.json();
        let workers = document["workers"].as_array().expect("a list").clone();
        workers.iter().any(|one| one["slot"] == slot && one["threads_busy"] == 1)
    });
    operated.say(&["drain", &slot.to_string()]);
    assert_eq!(client.answer(false).status, 200);
    eventually(DEADLINE, "it has left that worker", || {
        let document = operated.json();
        let workers = document["workers"].as_array().expect("a list").clone();
        workers.iter().any(|one| one["slot"] == slot && one["on_loan"] == 0)
    });
    assert_ne!(client.get("/whoami").number("slot"), slot);
}

#[test]
fn policies_are_switched_while_it_serves_and_a_reload_goes_back() {
    // Nobody is taken for stuck: who serves is the policy's choice alone.
    let arguments = ["serve", "-w", "2", "--balance", "ip-hash", "--stall-after", "60s"];
    let operated = Operated::start(&arguments);
    let of_one_client = operated.answering();
    assert_eq!(of_one_client.len(), 1);
    assert!(operated.say(&["balance", "round-robin"]).contains("round-robin"));
    assert_eq!(operated.json()["policy"]["balance"], "round-robin");
    assert_eq!(operated.answering().len(), 2);
    assert!(operated.refused(2, &["balance", "fair"]).contains("least-loaded"));
    operated.say(&["rebalance", "never"]);
    assert_eq!(operated.json()["policy"]["rebalance"], "never");
    // Workers must go by it, and new ones do: a connection moves after each answer.
    assert!(operated.say(&["rebalance", "always"]).contains("being replaced"));
    eventually(DEADLINE, "the workers are replaced", || {
        operated.json()["reload"]["state"] == "done"
    });
    let mut client = Client::connect(operated.server.address());
    let slots: BTreeSet<u32> = (0..12).map(|_| client.get("/whoami").number("slot")).collect();
    assert_eq!(slots.len(), 2, "each request is seated afresh");
    operated.say(&["reload", "--wait"]);
    let policy = operated.json()["policy"].clone();
    assert_eq!((&policy["balance"], &policy["rebalance"]), (&"ip-hash".into(), &"auto".into()));
    let mut client = Client::connect(operated.server.address());
    let slots: BTreeSet<u32> = (0..12).map(|_| client.get("/whoami").number("slot")).collect();
    assert_eq!(slots.len(), 1);
}

#[test]
fn the_log_level_changes_and_log_files_are_opened_again() {
    let operated = Operated::start(&["serve", "-w", "1", "--log-level", "warn"]);
    operated.say(&["scale", "2"]);
    assert!(!operated.server.stderr_contains("operator's command"));
    operated.say(&["log-level", "info"]);
    operated.say(&["reopen"]);
    eventually(DEADLINE, "the log says more", || operated.server.stderr_contains("command=Reopen"));
    assert!(operated.refused(1, &["log-level", "loud"]).contains("must be off, error"));
}

#[test]
fn stopping_is_told_and_ends_the_server() {
    let mut operated =
        Operated::start(&["serve", "-w", "1", "--drain-delay", "168h", "--graceful-timeout", "0"]);
    assert!(operated.say(&["drain"]).contains("the server ends"));
    assert_eq!(operated.code(&["status"]), 3, "it does not serve");
    assert!(operated.say(&["stop"]).contains("already"), "and is not hurried");
    assert!(operated.refused(1, &["scale", "2"]).contains("the server ends"));
    assert_eq!(Client::connect(operated.server.address()).get("/").status, 200);
    assert!(operated.say(&["stop", "--now"]).contains("at once"));
    assert!(operated.server.wait_exit(DEADLINE).success());
    eventually(DEADLINE, "nobody answers", || operated.code(&["ping"]) == 3);
}

#[test]
fn status_takes_an_address_and_ctl_a_variable() {
    let operated = Operated::start(&["serve", "-w", "1"]);
    let status = |arguments: &[&str]| {
        let mut command = Command::new(binary());
        command.arg("status").args(arguments).output().expect("the program can be started")
    };
    let text = status(&[&operated.address]);
    assert_eq!(text.status.code(), Some(0));
    assert!(text.stdout.starts_with(b"serving: master "));
    let json = status(&[&operated.address, "--json"]);
    let document: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(document["pid"], operated.server.pid());
    assert_eq!(status(&["http://nonsense"]).status.code(), Some(2));
    let mut command = Command::new(binary());
    // Of several a socket that takes commands is preferred.
    let addresses = format!("127.0.0.1:1,{}", operated.address);
    command.args(["ctl", "scale", "2"]).env("MAITRED_ADMIN", addresses);
    assert_eq!(command.output().expect("it runs").status.code(), Some(0));
}

#[test]
fn whatever_listens_there_is_believed_nothing() {
    let folder = tempfile::tempdir().expect("a directory");
    let path: PathBuf = folder.path().join("other");
    let address = format!("unix:{}", path.display());
    assert_eq!(ctl(&["--admin", &address, "status"]).status.code(), Some(3), "nobody is there");
    let listener = UnixListener::bind(&path).expect("a socket");
    let answers: [(&[u8], i32); 5] = [
        (b"SSH-2.0-other\r\n", 4),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", 4),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", 4),
        (b"HTTP/1.1 503 No\r\nContent-Length: 5\r\n\r\n\x1b[2J\n", 3),
        (b"", 4),
    ];
    let said: Vec<&[u8]> = answers.iter().map(|(bytes, _)| *bytes).collect();
    let answering = thread::spawn({
        let said: Vec<Vec<u8>> = said.into_iter().map(<[u8]>::to_vec).collect();
        move || {
            for bytes in said {
                let (mut stream, _) = listener.accept().expect("a client");
                let mut request = [0; 4096];
                let _ = stream.read(&mut request);
                let _ = stream.write_all(&bytes);
            }
        }
    });
    for (bytes, code) in answers {
        let output = ctl(&["--admin", &address, "status"]);
        assert_eq!(output.status.code(), Some(code), "{:?}", String::from_utf8_lossy(bytes));
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!stderr.contains('\u{1b}'), "{stderr:?}");
    }
    answering.join().expect("it does not panic");
    assert_eq!(ctl(&["status"]).status.code(), Some(2), "no address");
    assert_eq!(ctl(&["--admin", "nonsense", "status"]).status.code(), Some(2));
    assert_eq!(ctl(&["--admin", &address]).status.code(), Some(2), "no command");
}
