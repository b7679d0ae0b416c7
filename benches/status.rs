//! What a look of the master at its own state costs where there is a `--status-file`, by workers:
//! reading their load reports, laying out a page, and writing it to a file in memory. The master
//! takes such a look twenty times a second at the most; in all other turns the file costs one
//! comparison.
//!
//! The last line adds up what that is in a second, as a share of one core, and of a turn of the
//! master if it has a thousand a second of 10 µs.
//!
//! Held equal: reports are read from pages that no worker writes to, so that no cache line travels;
//! with busy workers each report costs one or two misses more. The file is in /dev/shm. Means of the
//! quickest batch.

use std::hint::black_box;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use maitred::account::page::{Stamp, encode};
use maitred::account::{Status, WorkerStatus};
use maitred::board::{MasterPage, page_bytes};
use maitred::config::STATUS_INTERVAL;
use maitred::ident::{Generation, Incarnation, Slot};
use maitred::sys::locked_file::LockedFile;

const WORKERS: [u16; 4] = [1, 8, 64, 1024];
const LOANS: u32 = 64;
const TURNS_A_SECOND: f64 = 1000.0;
const TURN: Duration = Duration::from_micros(10);

fn main() {
    let smoke = std::env::args().any(|one| one == "--test");
    let folder = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
    let file = LockedFile::open(&folder.path().join("status"), 0o600).expect("a file");
    println!(
        "{:>7} {:>9} {:>12} {:>12} {:>12} {:>10} {:>10}",
        "workers", "bytes", "look", "…, page", "…, written", "of a core", "of turns"
    );
    for workers in WORKERS {
        let rounds = if smoke { 3 } else { (20_000 / u32::from(workers)).max(50) };
        let pages = pages(workers);
        let mut page = Vec::new();
        let look = quickest(rounds, || drop(black_box(status(&pages))));
        let laid_out = quickest(rounds, || {
            encode(&black_box(status(&pages)), Stamp::default(), &mut page);
        });
        let written = quickest(rounds, || {
            encode(&black_box(status(&pages)), Stamp::default(), &mut page);
            file.write(&page).expect("there is room");
        });
        let in_a_second = written.as_secs_f64() / STATUS_INTERVAL.as_secs_f64();
        let of_turns = in_a_second / (TURNS_A_SECOND * TURN.as_secs_f64());
        println!(
            "{workers:>7} {:>9} {look:>12.2?} {laid_out:>12.2?} {written:>12.2?} {:>9.4}% {:>9.2}%",
            page.len(),
            100.0 * in_a_second,
            100.0 * of_turns
        );
    }
}

fn pages(workers: u16) -> Vec<MasterPage<Vec<AtomicU64>>> {
    let memory = || (0..page_bytes(LOANS) / 8).map(|_| AtomicU64::new(0)).collect();
    (0..workers).map(|_| MasterPage::new(memory(), LOANS).expect("it is long enough")).collect()
}

/// As the master does it (`master::publishing`).
fn status(pages: &[MasterPage<Vec<AtomicU64>>]) -> Status {
    let mut status = Status { workers_in_all: pages.len() as u32, ..Status::default() };
    for (slot, page) in (0_u16..).zip(pages) {
        let report = page.report();
        status.account.counters.slot_mut(Slot(slot)).seated += 1;
        status.workers.push(WorkerStatus {
            who: Incarnation { slot: Slot(slot), generation: Generation(u32::from(slot)) },
            on_loan: page.on_loan(),
            requests_started: report.requests_started,
            requests_finished: report.requests_finished,
            errors: report.errors,
            ..WorkerStatus::default()
        });
    }
    status
}

/// The mean of the quickest of so many batches: others use this machine too.
const BATCHES: u32 = 20;

fn quickest(rounds: u32, mut run: impl FnMut()) -> Duration {
    let batch = |_| {
        let start = Instant::now();
        (0..rounds).for_each(|_| run());
        start.elapsed() / rounds
    };
    (0..BATCHES).map(batch).min().unwrap_or_default()
}
