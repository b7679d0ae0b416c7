//! What a scrape of `/metrics` costs the helper process, by workers: the status page read, what the
//! meters say put to it, and the OpenMetrics text of both. The master is asked to write its page now
//! (`benches/status.rs` has what that costs it), and the workers for nothing.
//!
//! Held equal: every worker has answered something, and every series is there. Unfair: the meters'
//! words are written by nobody meanwhile, where those of busy workers are each a cache miss; and what
//! /proc says of each process (CPU time, memory) is left out, since it is the kernel's work. Means of
//! the quickest batch.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use maitred::account::page::{Stamp, decode, encode};
use maitred::account::{Status, WorkerStage, WorkerStatus};
use maitred::admin::metrics::{fill, render};
use maitred::ident::{Generation, Incarnation, Slot};
use maitred::meters::{Counter, Histogram, METERS_BYTES, Reader, SlotMeters, lay_out};
use maitred::observe::status::{Reading, view};
use maitred::time::Nanos;

const WORKERS: [u16; 4] = [1, 8, 64, 1024];

/// The mean of the quickest of so many batches: others use this machine too.
const BATCHES: u32 = 10;

fn main() {
    let smoke = std::env::args().any(|one| one == "--test");
    println!("{:>7} {:>9} {:>12} {:>12}", "workers", "bytes", "look", "…, text");
    for workers in WORKERS {
        let rounds = if smoke { 2 } else { (4_000 / u32::from(workers)).max(10) };
        let (page, meters) = (page(workers), meters(workers));
        let look = || {
            let (status, stamp) = decode(&page).expect("a page");
            let reading = Reading { status, stamp, is_running: true, read_at: Nanos(0) };
            let mut view = view(&reading);
            fill(&meters, &mut view);
            view
        };
        let text = render(&look());
        assert!(text.contains("maitred_responses_total{worker=\"0\",class=\"2xx\"} 1\n"));
        let looked = quickest(rounds, || drop(black_box(look())));
        let rendered = quickest(rounds, || drop(black_box(render(&look()))));
        println!("{workers:>7} {:>9} {looked:>12.2?} {rendered:>12.2?}", text.len());
    }
}

/// What a master with so many workers writes.
fn page(workers: u16) -> Vec<u8> {
    let mut status = Status { workers_in_all: workers.into(), ..Status::default() };
    for slot in 0..workers {
        status.account.counters.slot_mut(Slot(slot)).seated += 1;
        status.workers.push(WorkerStatus {
            who: Incarnation { slot: Slot(slot), generation: Generation(u32::from(slot)) },
            stage: WorkerStage::Serving,
            requests_finished: 1,
            ..WorkerStatus::default()
        });
    }
    let mut page = Vec::new();
    encode(&status, Stamp::default(), &mut page);
    page
}

/// What so many workers have added up, each for one request.
fn meters(workers: u16) -> Reader<Arc<Vec<AtomicU64>>> {
    let memory: Vec<_> = (0..METERS_BYTES / 8).map(|_| AtomicU64::new(0)).collect();
    lay_out(&memory).expect("it is long enough");
    let memory = Arc::new(memory);
    for slot in 0..workers {
        let meters = SlotMeters::attach(Arc::clone(&memory), Slot(slot)).expect("it is laid out");
        meters.add(Counter::SentBytes, 150);
        meters.count_response(200);
        meters.measure(Histogram::Service, Duration::from_micros(730));
    }
    Reader::attach(memory).expect("it is laid out")
}

fn quickest(rounds: u32, mut run: impl FnMut()) -> Duration {
    let batch = |_| {
        let start = Instant::now();
        (0..rounds).for_each(|_| run());
        start.elapsed() / rounds
    };
    (0..BATCHES).map(batch).min().unwrap_or_default()
}
