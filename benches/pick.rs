//! What one decision costs: a connection accepted, a worker picked, an effect taken out.
//!
//! Held equal: workers with credit, loads that differ, from four workers to as many as a large
//! machine has. Unfair to nobody: no policy here reads shared memory, as in the master, where the
//! board is read once a turn (see `look`).

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use maitred::config::{Balance, Rebalance};
use maitred::dispatch::{DispatchSettings, Dispatcher, Sample, Shape};
use maitred::ident::{ConnectionId, Slot};
use maitred::time::Nanos;

const WORKERS: [u16; 5] = [4, 8, 64, 256, 1024];

fn dispatcher(balance: Balance, workers: u16) -> Dispatcher {
    let mut dispatcher = Dispatcher::new(&DispatchSettings {
        balance,
        weights: vec![1; usize::from(workers)],
        rebalance: Rebalance::Auto,
        stall_after: Duration::from_millis(1),
        queue_timeout: None,
        max_queue: None,
        credit: Some(u16::MAX),
        seed: 1,
    });
    for slot in 0..workers {
        let shape = Shape { threads: 0, credit: 0, recallable: true };
        dispatcher.handle_worker_ready(Slot(slot), shape);
        look(&mut dispatcher, slot);
    }
    dispatcher
}

fn look(dispatcher: &mut Dispatcher, slot: u16) {
    let sample = Sample { started: 10 + u64::from(slot % 3), finished: 10, ..Sample::default() };
    dispatcher.handle_sample(Slot(slot), &sample, Nanos(1));
}

fn picks(criterion: &mut Criterion) {
    for balance in [
        Balance::RoundRobin,
        Balance::LeastLoaded,
        Balance::TwoChoices,
        Balance::Random,
        Balance::Weighted,
        Balance::LeastLatency,
        Balance::IpHash,
    ] {
        let mut group = criterion.benchmark_group(format!("pick, {balance:?}"));
        for workers in WORKERS {
            group.bench_function(BenchmarkId::from_parameter(workers), |bencher| {
                let mut dispatcher = dispatcher(balance, workers);
                let mut number = 0_u32;
                bencher.iter(|| {
                    number = number.wrapping_add(1);
                    dispatcher.handle_accepted(ConnectionId(number), u64::from(number), Nanos(1));
                    dispatcher.decide();
                    black_box(dispatcher.poll_effect());
                    // As often as the master looks at a worker that it lends to in full packets.
                    if number.is_multiple_of(64) {
                        look(&mut dispatcher, (number / 64 % u32::from(workers)) as u16);
                    }
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, picks);
criterion_main!(benches);
