//! What an addition to the meters costs a worker, and what all that one request adds comes to.
//!
//! `alone` is one process, as it is but for reloads: the line is in its cache. `two` has another
//! thread that adds to the same slot all the time, which is worse than any reload: two processes
//! that do nothing else. `off` is what a worker pays where nobody reads meters. Unfair to nobody:
//! what a request costs besides is a thousand times as much.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use maitred::ident::Slot;
use maitred::meters::{Counter, Histogram, METERS_BYTES, SlotMeters, bucket_of, lay_out};

type Memory = Arc<Vec<AtomicU64>>;

fn memory() -> Memory {
    let memory: Vec<_> = (0..METERS_BYTES / 8).map(|_| AtomicU64::new(0)).collect();
    lay_out(&memory).expect("it is long enough");
    Arc::new(memory)
}

/// A request on a connection that is kept: read, answered, sent, measured.
fn one_request(meters: Option<&SlotMeters<Memory>>, service: Duration) {
    let Some(meters) = meters else { return };
    meters.add(Counter::ReceivedBytes, 120);
    meters.add_busy(service);
    meters.add(Counter::SentBytes, 150);
    meters.count_response(200);
    meters.measure(Histogram::Service, service);
}

fn cost(criterion: &mut Criterion) {
    let memory = memory();
    let meters = SlotMeters::attach(Arc::clone(&memory), Slot(3)).expect("it is laid out");
    let service = Duration::from_micros(730);
    let mut group = criterion.benchmark_group("meters");
    group.bench_function("bucket", |bench| bench.iter(|| bucket_of(black_box(service))));
    group
        .bench_function("add", |bench| bench.iter(|| meters.add(Counter::SentBytes, black_box(9))));
    group.bench_function("request/off", |bench| {
        bench.iter(|| one_request(black_box(None), black_box(service)));
    });
    group.bench_function("request/alone", |bench| {
        bench.iter(|| one_request(black_box(Some(&meters)), black_box(service)));
    });
    let is_over = Arc::new(AtomicBool::new(false));
    let other = SlotMeters::attach(memory, Slot(3)).expect("it is laid out");
    let seen = Arc::clone(&is_over);
    let busy = thread::spawn(move || {
        while !seen.load(Ordering::Relaxed) {
            one_request(Some(&other), service);
        }
    });
    group.bench_function("request/two", |bench| {
        bench.iter(|| one_request(black_box(Some(&meters)), black_box(service)));
    });
    is_over.store(true, Ordering::Relaxed);
    busy.join().expect("it does nothing that could fail");
    group.finish();
}

criterion_group!(benches, cost);
criterion_main!(benches);
