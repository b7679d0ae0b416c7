//! The server ends: told to, or by force.
//!
//! Not here: its workers' ends (`deaths`).

use std::net::TcpListener;
use std::time::{Duration, Instant};

use maitred::config::HANDSHAKES_SETTLE_FOR;
use maitred::sys::clock;
use nix::sys::signal::Signal;

use crate::common::client::Client;
use crate::common::{DEADLINE, eventually, is_alive};
use crate::found::{Found, Price};
use crate::ledger::book::{Failed, Outcome};
use crate::ledger::load::{Load, Way};
use crate::stage::{Deaths, Run, missing, start_server};
use crate::variant::Use;

const WORKERS: usize = 4;

/// Between a client's connect and its first byte.
const PAUSE: Duration = Duration::from_millis(20);

/// `--drain-delay` of the row.
const DRAIN_DELAY: Duration = Duration::from_millis(100);

/// `--graceful-timeout` of the row that kills the master.
const GRACEFUL: Duration = Duration::from_secs(5);

/// An answer that no socket buffer holds: its worker is in the middle of it for as long as its
/// client does not read.
const LARGE: usize = 40_000_000;

/// TERM.
pub(crate) fn terminate(run: &Run) -> Found {
    if let Some(skipped) = missing(run.variant) {
        return skipped;
    }
    let mut found = Found::default();
    let (mut unfinished, mut silent) = (0, 0);
    for round in 0..run.rounds {
        let delay = format!("{}ms", DRAIN_DELAY.as_millis());
        let mut server = start_server(run, WORKERS, &["--drain-delay", &delay]);
        let mut plan = run.plan(&server);
        plan.seed = run.seed.wrapping_add(u64::from(round));
        if run.variant.usage == Use::New {
            plan.way = Way::New { pause: PAUSE };
        }
        let load = Load::start(plan);
        let enough = (run.rate * run.quiet().as_secs_f64() / 4.0) as u64;
        eventually(DEADLINE, "the load flows", || load.answered() >= enough);
        let terminated_at = clock::now();
        server.signal(Signal::SIGTERM);
        let status = server.wait_exit(DEADLINE);
        // Clients go on connecting for a moment: nobody listens any more, and they are told.
        eventually(DEADLINE, "somebody is refused", || load.count(Outcome::Refused) > 0);
        // Who was dropped in the last moment learns it when his SYN is repeated, after a second.
        let book = load.stop();
        found.require(status.success(), || format!("round {round}: ended with {status}"));
        let closed_at = terminated_at + DRAIN_DELAY;
        let mut refused = book.failures.iter().filter(|one| one.outcome == Outcome::Refused);
        let is_early = refused.any(|one| one.ended < closed_at);
        found.require(!is_early, || format!("round {round}: refused before the close"));
        // On a starved machine a client may take longer to speak than any server waits: between the
        // end of handshakes and the close.
        let is_end = |one: &&Failed| one.outcome != Outcome::Refused;
        let was_silent =
            |one: &&Failed| one.silent_for.is_some_and(|time| time >= HANDSHAKES_SETTLE_FOR);
        silent += book.failures.iter().filter(is_end).filter(was_silent).count() as u64;
        unfinished += Deaths::of(&server.stderr()).unfinished;
        found.book.add(book);
    }
    found.require(unfinished == 0, || format!("{unfinished} unfinished in the end"));
    // Every response of the last moments says that it closes: even the race of an idle connection
    // needs a client that was silent for all of the drain delay.
    found.judge(Price { refusals: true, idle_closes: true, aborted: silent });
    found.require_time(silent == 0, || {
        format!("{silent} clients did not speak within {HANDSHAKES_SETTLE_FOR:?} and were cut off")
    });
    found
}

/// kill -9 of the master.
pub(crate) fn kill_master(run: &Run) -> Found {
    let mut found = Found::default();
    for round in 0..run.rounds {
        let graceful = format!("{}s", GRACEFUL.as_secs());
        let mut server = start_server(run, WORKERS, &["--graceful-timeout", &graceful]);
        let address = server.address();
        let mut plan = run.plan(&server);
        plan.seed = run.seed.wrapping_add(u64::from(round));
        let load = Load::start(plan);
        // One that is being answered: its first bytes have come, and the rest has no room yet.
        let mut reader = Client::connect(address);
        reader.send(format!("GET /bytes/{LARGE} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        let first = reader.first_bytes();
        found.require(first.is_ok(), || format!("round {round}: no first bytes: {first:?}"));
        let enough = (run.rate * run.quiet().as_secs_f64() / 4.0) as u64;
        eventually(DEADLINE, "the load flows", || load.answered() >= enough);
        let workers = server.worker_pids();
        let killed_at = Instant::now();
        server.signal(Signal::SIGKILL);
        server.wait_exit(DEADLINE);
        let listener = TcpListener::bind(address);
        found
            .require(listener.is_ok(), || format!("round {round}: the port is kept: {listener:?}"));
        drop(listener);
        let answer = reader.try_answer(false);
        found.require(answer.as_ref().is_ok_and(|answer| answer.body.len() == LARGE), || {
            format!("round {round}: what was being answered was not finished: {:?}", answer.err())
        });
        drop(reader);
        let book = load.stop();
        eventually(GRACEFUL + DEADLINE, "the workers have gone", || {
            workers.iter().all(|&pid| !is_alive(pid))
        });
        let gone_after = killed_at.elapsed();
        found.recoveries.push(gone_after);
        found.require_time(gone_after < GRACEFUL + Duration::from_secs(1), || {
            format!("round {round}: workers were there for {gone_after:?}")
        });
        found.book.add(book);
    }
    let wrong = found.book.of(Outcome::Wrong);
    found.require(wrong == 0, || format!("{wrong} wrong answers"));
    let late = found.book.of(Outcome::TimedOut);
    found.require(late == 0, || format!("{late} hung"));
    found.remarks.push("what nobody had begun goes with the master".to_owned());
    found
}
