//! The words of a page under loom: every interleaving, and every value that the C11 memory model
//! lets a load return.
//!
//! `scripts/test loom`, or: `RUSTFLAGS="--cfg loom" cargo test --lib --release loom_`.
//!
//! Not here: the protocol above single words (tests/loan_exploration.rs).

use std::sync::Arc;
use std::time::Duration;

use loom::thread;

use crate::board::sync::AtomicU64;
use crate::board::{Call, LetGoHow, MasterPage, Recall, Terms, WorkerPage, page_bytes};
use crate::ident::{ConnectionId, LoanId};
use crate::loan::LoanState;
use crate::time::Nanos;

type Memory = Arc<Vec<AtomicU64>>;

const CONNECTION: ConnectionId = ConnectionId(7);
const BEFORE: Nanos = Nanos(1);
const AFTER: Nanos = Nanos(2);

/// A page with room for one loan: loom follows every word.
fn page() -> (MasterPage<Memory>, WorkerPage<Memory>) {
    let words = page_bytes(1) / 8;
    let memory: Memory = Arc::new((0..words).map(|_| AtomicU64::new(0)).collect());
    let master = MasterPage::new(Arc::clone(&memory), 1).expect("long enough");
    (master, WorkerPage::attach(memory).expect("a page"))
}

fn lent() -> (MasterPage<Memory>, WorkerPage<Memory>, LoanId) {
    let (mut master, worker) = page();
    let loan = master.lend(CONNECTION, &Terms::new(BEFORE)).expect("there is a place");
    (master, worker, loan)
}

/// One of them has it, never both, never neither.
#[test]
fn loom_a_claim_and_a_recall_have_one_winner() {
    loom::model(|| {
        let (mut master, worker, loan) = lent();
        let claims = thread::spawn(move || worker.claim(loan, LoanState::Lent));
        let recalled = matches!(master.recall(loan), Recall::Taken { .. });
        let claimed = claims.join().expect("no panic");
        assert!(claimed != recalled, "claimed: {claimed}, recalled: {recalled}");
    });
}

/// What the worker left with the connection is what the master takes over.
#[test]
fn loom_a_recall_of_an_idle_loan_sees_its_terms() {
    loom::model(|| {
        let (mut master, worker, loan) = lent();
        let serves = thread::spawn(move || {
            if worker.claim(loan, LoanState::Lent) {
                worker.answering(loan);
                worker.idle(loan, &Terms::new(AFTER));
            }
        });
        if let Recall::Taken { was, terms, .. } = master.recall(loan) {
            let expected = if was == LoanState::Idle { AFTER } else { BEFORE };
            assert_eq!(terms.idle_deadline, expected, "taken from {was:?}");
        }
        serves.join().expect("no panic");
    });
}

/// A loan that is no longer LENT is already counted as a request: the load has no gap in which a
/// busy worker looks idle.
#[test]
fn loom_a_claim_is_counted_before_it_shows() {
    loom::model(|| {
        let (master, worker, loan) = lent();
        let claims = thread::spawn(move || worker.claim(loan, LoanState::Lent));
        let waits = master.look(loan) == LoanState::Lent;
        let started = master.report().requests_started;
        assert!(waits || started == 1, "neither waiting nor started");
        claims.join().expect("no panic");
    });
}

/// Nor has the count of threads a gap: from its loan to its thread a request always takes a place.
#[test]
fn loom_a_claim_for_a_thread_takes_its_place_all_the_way() {
    loom::model(|| {
        let (master, worker, loan) = lent();
        let begins = thread::spawn(move || {
            worker.about_to_queue(0, 0);
            assert!(worker.claim(loan, LoanState::Lent), "nobody else is after it");
            worker.publish_threads(0, 1, Nanos(0), Nanos(0));
        });
        let waits = master.look(loan) == LoanState::Lent;
        let report = master.report();
        let in_threads = report.requests_queued + report.threads_busy;
        assert!(waits || in_threads >= 1, "the thread looks idle");
        begins.join().expect("no panic");
    });
}

/// What is in the ring has its word, and its terms, in place.
#[test]
fn loom_a_ring_entry_shows_what_was_written_before_it() {
    loom::model(|| {
        let (mut master, mut worker, loan) = lent();
        let gives = thread::spawn(move || {
            assert!(worker.give(loan, LoanState::Lent), "nobody else is after it");
            worker.let_go(loan);
        });
        let mut out = Vec::new();
        master.drain_ring(1, &mut out).expect("an honest entry");
        gives.join().expect("no panic");
        master.drain_ring(1, &mut out).expect("an honest entry");
        let given = LetGoHow::Given(Terms::new(BEFORE));
        assert_eq!(out.iter().map(|one| one.how).collect::<Vec<_>>(), [given]);
    });
}

/// The master raises its flag and looks once more; the worker publishes and looks at the flag. If
/// both could miss the other, a connection would wait for ever.
#[test]
fn loom_a_worker_that_frees_up_rings_or_is_seen() {
    loom::model(|| {
        let (master, worker, loan) = lent();
        assert!(worker.claim(loan, LoanState::Lent), "nobody else is after it");
        let finishes = thread::spawn(move || {
            worker.publish_threads(0, 0, Nanos(0), Nanos(0));
            worker.end(loan, LoanState::Active);
            worker.bell_due(0, false)
        });
        master.raise_bell(Call { at_load: Some(0), when_given: false });
        let report = master.report();
        let seen = report.requests_started == report.requests_finished;
        let rang = finishes.join().expect("no panic");
        assert!(seen || rang, "the last wake-up is lost");
    });
}

/// The same for what is given back: it is in the ring when the master looks once more, or it rings.
#[test]
fn loom_a_worker_that_gives_back_rings_or_is_seen() {
    loom::model(|| {
        let (master, mut worker, loan) = lent();
        let gives = thread::spawn(move || {
            assert!(worker.give(loan, LoanState::Lent), "nobody else is after it");
            worker.let_go(loan);
            worker.bell_due(9, true)
        });
        master.raise_bell(Call { at_load: None, when_given: true });
        let seen = master.ring_waits();
        let rang = gives.join().expect("no panic");
        assert!(seen || rang, "the last wake-up is lost");
    });
}

/// A busy worker with a service time is never told apart into halves that lie.
#[test]
fn loom_service_time_and_count_only_grow() {
    loom::model(|| {
        let (master, worker, _) = lent();
        let serves = thread::spawn(move || {
            worker.add_service(Duration::from_nanos(5));
            worker.add_service(Duration::from_nanos(5));
        });
        let first = master.report();
        let second = master.report();
        assert!(second.busy_ns >= first.busy_ns && second.services >= first.services);
        serves.join().expect("no panic");
    });
}
