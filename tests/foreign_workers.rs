//! Workers in other languages, which share nothing with maitred but docs/handoff.md: Python with its
//! standard library, and Node.js with an FFI package. Each lives through the same stories as a real
//! process behind `maitred serve -- CMD`.
//!
//! Node's stories are skipped, and say so, where there is no node. Its one package comes from the
//! registry, as its lock file has it, once.
//!
//! Not here: workers that break the protocol (`hostile_worker`).

#![cfg(feature = "cli")]

mod common;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;

use maitred::account::Outcome;
use maitred::ident::Slot;

use common::client::{Client, Failure};
use common::load::{Load, Mode};
use common::{DEADLINE, Server, eventually, is_alive, signal_process};

/// A command for `maitred serve --`.
type Cmd = Vec<String>;

fn python() -> Option<Cmd> {
    Some(vec!["python3".to_owned(), example("worker.py")])
}

fn node() -> Option<Cmd> {
    if Command::new("node").arg("--version").output().is_err() {
        eprintln!("skipped: there is no node");
        return None;
    }
    Some(vec!["node".to_owned(), installed("node").join("worker.js").display().to_string()])
}

fn example(path: &str) -> String {
    format!("{}/examples/workers/{path}", env!("CARGO_MANIFEST_DIR"))
}

/// A copy of a folder of the examples, with the packages that its lock file names. Tests are
/// processes of their own, and only one of them installs.
fn installed(folder: &str) -> PathBuf {
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("foreign-{folder}"));
    fs::create_dir_all(&copy).expect("a directory");
    let lock = File::create(copy.join("lock")).expect("a file");
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).expect("it can be waited for");
    let (wanted, has) = (example(&format!("{folder}/package-lock.json")), copy.join("installed"));
    let wanted = fs::read(wanted).expect("the lock file of the packages");
    for file in ["worker.js", "package.json", "package-lock.json"] {
        fs::copy(example(&format!("{folder}/{file}")), copy.join(file)).expect("it can be copied");
    }
    if fs::read(&has).ok().as_ref() != Some(&wanted) {
        let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
        let npm = Command::new("npm").args(install).current_dir(&copy).output().expect("npm runs");
        assert!(npm.status.success(), "{}", String::from_utf8_lossy(&npm.stderr));
        fs::write(&has, &wanted).expect("it can be remembered");
    }
    copy
}

fn serve(cmd: &Cmd, flags: &[&str]) -> Server {
    let mut all = vec!["serve", "--drain-delay", "0"];
    all.extend(flags);
    all.push("--");
    all.extend(cmd.iter().map(String::as_str));
    Server::start(&all)
}

/// Waits until so many loans have been made, and whoever got one has done what it does at once: a
/// worker that has been woken and sleeps again has sent `Taken`.
fn wait_until_taken(server: &Server, lent: u64) {
    eventually(DEADLINE, "they are lent", || server.account().counters.lent >= lent);
    server.wait_for_rest();
}

fn ends_in_order(mut server: Server) {
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(DEADLINE).code(), Some(0), "{}", server.stderr());
    assert!(!server.stderr_contains("protocol error"), "{}", server.stderr());
}

fn serves_over_connections_that_live_on(cmd: &Cmd) {
    let server = serve(cmd, &["-w", "2"]);
    let mut clients: Vec<_> = (0..10).map(|_| Client::connect(server.address())).collect();
    for target in ["/first", "/second", "/sleep/10"] {
        for client in &mut clients {
            let answer = client.get(target);
            assert!(answer.text().contains(target), "{}", answer.text());
        }
    }
    drop(clients);
    server.assert_conserved_at_rest();
    let [first, second] =
        [Slot(0), Slot(1)].map(|slot| server.account().counters.slot(slot).seated);
    // How many each gets depends on how soon it says what it does; nobody is left out.
    assert!(first > 0 && second > 0, "{first} and {second}");
    ends_in_order(server);
}

/// The death of a worker that has not said `Taken` is nobody's loss: here it is held up by what it
/// took before.
fn killed_before_it_took_a_loan(cmd: &Cmd) {
    let server = serve(cmd, &["-w", "1"]);
    let worker = server.worker_pids()[0];
    let _blocking = blocking(&server);
    let mut client = Client::connect(server.address());
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually(DEADLINE, "it is lent", || server.account().counters.lent == 2);
    signal_process(worker, Signal::SIGKILL);
    let answer = client.answer(false);
    assert_eq!(answer.status, 200);
    assert_ne!(answer.number("pid"), worker);
    ends_in_order(server);
}

/// A client whose request holds the worker up, so that it takes nothing more.
fn blocking(server: &Server) -> Client {
    let mut client = Client::connect(server.address());
    client.send(b"GET /block/60000 HTTP/1.1\r\nHost: x\r\n\r\n");
    client.wait_for_bytes();
    // Its head has left, and it may have a turn of its loop to go before it waits.
    server.wait_for_rest();
    client
}

/// What it has taken it may have read: its client is reset, also where nothing was answered yet.
fn killed_with_loans_that_it_took(cmd: &Cmd) {
    let server = serve(cmd, &["-w", "1"]);
    let worker = server.worker_pids()[0];
    let mut answered = Client::connect(server.address());
    answered.send(b"GET /sleep/30000 HTTP/1.1\r\nHost: x\r\n\r\n");
    answered.wait_for_bytes();
    let mut unanswered = Client::connect(server.address());
    unanswered.send(b"GET / HTTP/1.1\r\n");
    wait_until_taken(&server, 2);
    signal_process(worker, Signal::SIGKILL);
    let ends = answered.try_answer(false).expect_err("its worker is dead");
    assert!(matches!(ends, Failure::AfterBytes(_)), "{ends:?}");
    let ends = unanswered.try_answer(false).expect_err("its worker is dead");
    assert!(matches!(ends, Failure::BeforeBytes(_)), "{ends:?}");
    let next = Client::connect(server.address()).get("/");
    assert_ne!(next.number("pid"), worker);
    eventually(DEADLINE, "both are counted", || {
        server.account().counters.of(Outcome::DiedPinned) == 2
    });
    ends_in_order(server);
}

/// A reload: who is being answered gets all of it, who is idle is let go, nobody is refused.
fn drains_at_a_reload(cmd: &Cmd) {
    let server = serve(cmd, &["-w", "2"]);
    let before = server.worker_pids();
    let mut idle = Client::connect(server.address());
    assert_eq!(idle.get("/").status, 200);
    let mut busy = Client::connect(server.address());
    busy.send(b"GET /sleep/1500 HTTP/1.1\r\nHost: x\r\n\r\n");
    busy.wait_for_bytes();
    let load = Load::start(server.address(), 100, "/", Mode::NewConnection);
    server.signal(Signal::SIGHUP);
    idle.expect_eof();
    assert_eq!(busy.answer(false).status, 200);
    busy.expect_eof();
    eventually(DEADLINE, "the reload ends", || server.stderr_contains("reload done"));
    eventually(DEADLINE, "the old ones leave", || before.iter().all(|pid| !is_alive(*pid)));
    let target = load.answered() + 20;
    eventually(DEADLINE, "the load flows on", || load.answered() >= target);
    let ledger = load.stop();
    assert_eq!(ledger.failed(), 0, "{ledger:?}");
    assert_eq!(server.stderr().matches("exit code 0").count(), 2, "{}", server.stderr());
    ends_in_order(server);
}

/// TERM to a worker asks for its leave, and a replacement comes first.
fn leaves_when_it_is_told_to(cmd: &Cmd) {
    let server = serve(cmd, &["-w", "1"]);
    let worker = server.worker_pids()[0];
    let load = Load::start(server.address(), 100, "/", Mode::NewConnection);
    eventually(DEADLINE, "the load flows", || load.answered() >= 20);
    signal_process(worker, Signal::SIGTERM);
    eventually(DEADLINE, "it has left", || !is_alive(worker));
    let target = load.answered() + 20;
    eventually(DEADLINE, "the load flows on", || load.answered() >= target);
    let ledger = load.stop();
    assert_eq!(ledger.failed(), 0, "{ledger:?}");
    ends_in_order(server);
}

/// TERM to the server: what is being answered is, with `Connection: close`; INT to the whole
/// terminal is the master's affair.
fn ends_with_its_server(cmd: &Cmd) {
    let mut server = serve(cmd, &["-w", "2"]);
    let workers = server.worker_pids();
    let mut idle = Client::connect(server.address());
    assert_eq!(idle.get("/").status, 200);
    let mut busy = Client::connect(server.address());
    busy.send(b"GET /sleep/1000 HTTP/1.1\r\nHost: x\r\n\r\n");
    busy.wait_for_bytes();
    for pid in &workers {
        signal_process(*pid, Signal::SIGINT);
        signal_process(*pid, Signal::SIGHUP);
    }
    server.signal(Signal::SIGTERM);
    assert_eq!(busy.answer(false).status, 200);
    busy.expect_eof();
    idle.expect_eof();
    assert_eq!(server.wait_exit(DEADLINE).code(), Some(0), "{}", server.stderr());
    assert!(!server.stderr_contains("signal "), "{}", server.stderr());
}

/// Without a master they finish, and go.
fn finishes_when_the_master_dies(cmd: &Cmd) {
    let server = serve(cmd, &["-w", "2"]);
    let workers = server.worker_pids();
    let mut busy = Client::connect(server.address());
    busy.send(b"GET /sleep/1000 HTTP/1.1\r\nHost: x\r\n\r\n");
    busy.wait_for_bytes();
    signal_process(server.pid(), Signal::SIGKILL);
    assert_eq!(busy.answer(false).status, 200);
    busy.expect_eof();
    eventually(DEADLINE, "they have gone", || workers.iter().all(|pid| !is_alive(*pid)));
}

/// The first worker can open few descriptors: what it refuses is seated at the other, and every
/// client is answered.
fn refuses_what_it_has_no_descriptors_for(cmd: &Cmd, descriptors: u32) {
    let words: Vec<_> = cmd.iter().map(|word| format!("'{word}'")).collect();
    let limit = format!("[ $MAITRED_SLOT = 0 ] && ulimit -n {descriptors}");
    let script =
        vec!["sh".to_owned(), "-c".to_owned(), format!("{limit}; exec {}", words.join(" "))];
    let server = serve(&script, &["-w", "2", "--balance", "round-robin"]);
    let mut clients: Vec<_> = (0..100).map(|_| Client::connect(server.address())).collect();
    for client in &mut clients {
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    let answers: Vec<_> = clients.iter_mut().map(|client| client.answer(false)).collect();
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    let counts = common::client::count_by_slot(&answers);
    assert!(counts[&0] > 0 && counts[&0] < descriptors as usize, "{counts:?}");
    eventually(DEADLINE, "refusals are counted", || server.account().counters.refused > 0);
    drop(clients);
    server.assert_conserved_at_rest();
    ends_in_order(server);
}

fn replaced_if_it_does_not_take_a_loan(cmd: &Cmd) {
    let server = serve(cmd, &["-w", "1", "--handoff-timeout", "300ms"]);
    let worker = server.worker_pids()[0];
    let _blocking = blocking(&server);
    let answer = Client::connect(server.address()).get("/");
    assert_ne!(answer.number("pid"), worker);
    let reason = "it did not take a hand-off within --handoff-timeout";
    assert!(server.stderr_contains(reason), "{}", server.stderr());
}

/// What it reports is what the master knows of its work.
fn recycled_after_the_requests_that_it_reports(cmd: &Cmd) {
    let server = serve(cmd, &["-w", "1", "--max-requests", "20"]);
    let worker = server.worker_pids()[0];
    let load = Load::start(server.address(), 100, "/", Mode::KeepAlive(4));
    eventually(DEADLINE, "it is recycled", || server.stderr_contains("worker is recycled"));
    eventually(DEADLINE, "it has left", || !is_alive(worker));
    let ledger = load.stop();
    // A request that meets the end of an idle connection is its client's to repeat.
    assert!(ledger.ok >= 20 && ledger.failed() <= 4, "{ledger:?}");
    ends_in_order(server);
}

/// The same stories for each of them, as tests of their own.
macro_rules! stories {
    ($language:ident, $descriptors:expr, $($story:ident),+ $(,)?) => {
        mod $language {
            $(#[test]
            fn $story() {
                if let Some(cmd) = super::$language() {
                    super::$story(&cmd);
                }
            })+

            #[test]
            fn refuses_what_it_has_no_descriptors_for() {
                if let Some(cmd) = super::$language() {
                    super::refuses_what_it_has_no_descriptors_for(&cmd, $descriptors);
                }
            }
        }
    };
    ($($language:ident: $descriptors:expr),+) => {
        $(stories!(
            $language,
            $descriptors,
            serves_over_connections_that_live_on,
            killed_before_it_took_a_loan,
            killed_with_loans_that_it_took,
            drains_at_a_reload,
            leaves_when_it_is_told_to,
            ends_with_its_server,
            finishes_when_the_master_dies,
            replaced_if_it_does_not_take_a_loan,
            recycled_after_the_requests_that_it_reports,
        );)+
    };
}

// The limits leave room for a few connections beside what each runtime has open.
stories!(python: 24, node: 48);
