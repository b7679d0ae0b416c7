//! `--queue-timeout` and `--max-queue`: who waits too long, or behind too many, gets a 503 that can
//! be read; everybody else is served; without the flags everybody waits.

#![cfg(feature = "cli")]

mod common;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use common::client::{Answer, Client, Failure};
use common::{DEADLINE, Server, Stopped, eventually};
use nix::sys::signal::Signal;

/// One thread, and nobody is let in while it serves somebody: who comes then waits.
const ONE_AT_A_TIME: [&str; 7] = ["serve", "-w", "1", "--threads", "1", "--credit", "1"];

/// The stamps of the kernel are as coarse as its clock tick, which is up to 10 ms.
const TICK: Duration = Duration::from_millis(10);

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";

fn server(limits: &[&str]) -> Server {
    Server::start(&[&ONE_AT_A_TIME, limits].concat())
}

/// Nobody has room while this lives: the only worker is stopped, and the master knows.
struct Holder {
    _stopped: Stopped,
}

impl Holder {
    fn hold(server: &Server) -> Holder {
        let workers = server.worker_pids();
        assert_eq!(workers.len(), 1);
        let stopped = Stopped::stop(workers[0]);
        eventually(DEADLINE, "the master knows", || server.stderr_contains("worker stopped"));
        Holder { _stopped: stopped }
    }

    fn let_go(self) {}
}

#[track_caller]
fn assert_shed(answer: &Answer) {
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(answer.header("content-length"), Some("40"));
}

/// Sends a GET on each of so many connections.
fn ask(count: usize, mut connect: impl FnMut() -> Client) -> Vec<Client> {
    let mut clients: Vec<_> = (0..count).map(|_| connect()).collect();
    for client in &mut clients {
        client.send(GET);
    }
    clients
}

/// Reads the answers of all of them at the same time; `with_refused` is called when so many have
/// got a 503, and all must have an answer in the end.
fn read_all(
    clients: Vec<Client>,
    refused: usize,
    with_refused: impl FnOnce(),
) -> Vec<Result<Answer, Failure>> {
    let readers: Vec<_> = clients
        .into_iter()
        .map(|mut client| thread::spawn(move || client.try_answer(false)))
        .collect();
    eventually(DEADLINE, "so many have got an answer", || {
        readers.iter().filter(|reader| reader.is_finished()).count() == refused
    });
    with_refused();
    readers.into_iter().map(|reader| reader.join().expect("a reader does not panic")).collect()
}

fn count(answers: &[Result<Answer, Failure>], status: u16) -> usize {
    answers.iter().filter(|one| one.as_ref().is_ok_and(|answer| answer.status == status)).count()
}

#[test]
fn who_has_waited_for_the_timeout_gets_a_503_and_who_fits_is_served() {
    let server = server(&["--queue-timeout", "200ms"]);
    let before = server.descriptors();
    let holder = Holder::hold(&server);
    let start = Instant::now();
    let mut clients = ask(4, || Client::connect(server.address()));
    for client in &mut clients {
        assert_shed(&client.answer(false));
        let waited = start.elapsed();
        assert!(waited + TICK >= Duration::from_millis(200), "turned away after {waited:?}");
        client.expect_eof();
    }
    holder.let_go();
    // On a machine that is slow enough even this one may wait for too long.
    eventually(DEADLINE, "who fits is served", || {
        Client::connect(server.address()).get("/").status == 200
    });
    drop(clients);
    eventually(DEADLINE, "all descriptors come back", || server.descriptors() == before);
    server.assert_conserved_at_rest();
}

#[test]
fn a_thread_that_is_busy_for_longer_than_the_timeout_turns_the_others_away() {
    let server = server(&["--queue-timeout", "200ms"]);
    let mut busy = Client::connect(server.address());
    busy.send(b"GET /sleep/3000 HTTP/1.1\r\nHost: test\r\n\r\n");
    for mut client in ask(4, || Client::connect(server.address())) {
        assert_shed(&client.answer(false));
    }
    assert_eq!(busy.answer(false).status, 200);
    drop(busy);
    server.assert_conserved_at_rest();
}

#[test]
fn who_waits_behind_a_steady_trickle_is_turned_away_too() {
    // Somebody is served every 20 ms, so that there is credit again and again; the tail of the
    // queue is two seconds away all the same.
    let server = server(&["--queue-timeout", "100ms"]);
    let mut clients: Vec<_> = (0..100).map(|_| Client::connect(server.address())).collect();
    for client in &mut clients {
        client.send(b"GET /sleep/20 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    }
    let answers: Vec<_> = clients.iter_mut().map(|client| client.answer(false)).collect();
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    let shed = answers.iter().filter(|answer| answer.status == 503).count();
    assert_eq!(served + shed, 100);
    assert!(served >= 1, "nobody was served");
    // In 100 ms there is time for five of them, and the room is looked at every ten.
    assert!(shed >= 80, "only {shed} were turned away");
    drop(clients);
    server.assert_conserved_at_rest();
}

#[test]
fn exactly_those_beyond_the_limit_are_turned_away() {
    let server = server(&["--max-queue", "5"]);
    let before = server.descriptors();
    let holder = Holder::hold(&server);
    let clients = ask(20, || Client::connect(server.address()));
    let answers = read_all(clients, 15, || holder.let_go());
    assert_eq!((count(&answers, 503), count(&answers, 200)), (15, 5), "{answers:?}");
    for answer in answers.iter().flatten().filter(|answer| answer.status == 503) {
        assert_shed(answer);
    }
    eventually(DEADLINE, "all descriptors come back", || server.descriptors() == before);
    server.assert_conserved_at_rest();
}

#[test]
fn a_unix_socket_has_the_same_limits() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("app.sock");
    let bind = format!("unix:{}", path.display());
    let connect = |path: &Path| Client::connect_unix(path);

    let many = server(&["--max-queue", "5", "-b", &bind]);
    let holder = Holder::hold(&many);
    let answers = read_all(ask(20, || connect(&path)), 15, || holder.let_go());
    assert_eq!((count(&answers, 503), count(&answers, 200)), (15, 5), "{answers:?}");
    many.assert_conserved_at_rest();
    drop(many);

    let old = server(&["--queue-timeout", "200ms", "-b", &bind]);
    let holder = Holder::hold(&old);
    let start = Instant::now();
    for client in &mut ask(3, || connect(&path)) {
        assert_shed(&client.answer(false));
        assert!(start.elapsed() >= Duration::from_millis(200));
    }
    holder.let_go();
    old.assert_conserved_at_rest();
}

#[test]
fn without_limits_everybody_waits() {
    let server = server(&[]);
    let holder = Holder::hold(&server);
    let start = Instant::now();
    let clients = ask(30, || Client::connect(server.address()));
    let answers = read_all(clients, 0, || {
        eventually(DEADLINE, "they wait", || start.elapsed() >= Duration::from_millis(500));
        holder.let_go();
    });
    assert_eq!(count(&answers, 200), 30, "{answers:?}");
    assert!(!server.stderr_contains("turned away"));
    server.assert_conserved_at_rest();
}

#[test]
fn a_client_that_is_still_sending_can_read_its_503() {
    let server = server(&["--queue-timeout", "100ms"]);
    let holder = Holder::hold(&server);
    // Less than what is thrown away at the most. It is read only when all of it has been sent:
    // a reset would destroy the answer before that.
    let body = vec![b'x'; 900_000];
    let mut client = Client::connect(server.address());
    assert_shed(&client.request("POST", "/echo", &[], &body));
    client.expect_eof();
    // This one goes on sending when it has its answer, which a reset would tell it.
    let mut client = Client::connect(server.address());
    client.send(b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n");
    assert_shed(&client.answer(false));
    for _ in 0..10 {
        client.send(&body[..10_000]);
    }
    client.expect_eof();
    drop(client);
    holder.let_go();
    server.assert_conserved_at_rest();
}

#[test]
fn an_idle_connection_that_speaks_again_waits_no_longer_than_others() {
    // Not deferred: accepted in silence, and parked with the master.
    let server = server(&["--queue-timeout", "100ms", "--defer-accept", "0"]);
    let idle = server.descriptors();
    let mut silent = Client::connect(server.address());
    eventually(DEADLINE, "the silent one is accepted", || server.descriptors() == idle + 1);
    let holder = Holder::hold(&server);
    // Silence is not waiting: it is still there when others have been turned away.
    assert_shed(&Client::connect(server.address()).get("/"));
    let start = Instant::now();
    assert_shed(&silent.get("/"));
    assert!(start.elapsed() >= Duration::from_millis(100));
    drop(silent);
    holder.let_go();
    server.assert_conserved_at_rest();
}

#[test]
fn a_stop_counts_who_was_turned_away_once() {
    let mut server = server(&["--queue-timeout", "50ms"]);
    let holder = Holder::hold(&server);
    let mut clients = ask(3, || Client::connect(server.address()));
    for client in &mut clients {
        assert_shed(&client.answer(false));
    }
    // They do not close: the server lingers on them when it is ended. Its conservation is asserted.
    server.signal(Signal::SIGQUIT);
    server.wait_exit(DEADLINE);
    eventually(DEADLINE, "the counters are logged", || {
        server.stderr_contains("shed_too_old=3 shed_too_many=0")
    });
    drop(holder);
    server.assert_conserved_at_rest();
}

#[test]
fn a_stop_in_an_overload_answers_everybody() {
    let mut server = server(&["--max-queue", "5", "--drain-delay", "0"]);
    let holder = Holder::hold(&server);
    let clients = ask(20, || Client::connect(server.address()));
    let answers = read_all(clients, 15, || {
        server.signal(Signal::SIGTERM);
        eventually(DEADLINE, "the server closes its listeners", || {
            server.stderr_contains("no longer listening")
        });
        holder.let_go();
    });
    assert_eq!((count(&answers, 503), count(&answers, 200)), (15, 5), "{answers:?}");
    assert!(server.wait_exit(DEADLINE).success());
    server.assert_conserved_at_rest();
}
