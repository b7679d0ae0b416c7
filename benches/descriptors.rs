//! What a hand-off costs for each descriptor, by how many travel in one packet: sent, received, and
//! the duplicates closed. This is why the master lends in packets of up to 64.
//!
//! Held equal: one process plays both ends, so that no wake-up is in the figure; the frames are the
//! real ones. A wake-up of the other process comes on top, once a packet.

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use maitred::config::CONTEXT_SIZE;
use maitred::handoff::{FromMaster, LendRecord, MasterEnd, WorkerEnd};
use maitred::ident::{ListenerId, LoanId, PeerAddress};
use maitred::sys::fdpass::socketpair;
use maitred::time::Nanos;

fn records(count: u32) -> Vec<LendRecord> {
    let record = |index| LendRecord {
        loan: LoanId { index, sequence: 0 },
        listener: ListenerId(0),
        peer: PeerAddress::Local,
        accepted_at: Nanos(1),
        idle_deadline: Nanos(2),
        requests_served: 0,
        waited_before_accept_us: 0,
        lent_after_us: 0,
        silent_us: 0,
        context: [0; CONTEXT_SIZE],
    };
    (0..count).map(record).collect()
}

fn hand_off(criterion: &mut Criterion) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let connection =
        TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
    let (master, worker) = socketpair().expect("a socketpair");
    let (mut master, mut worker) = (MasterEnd::new(master), WorkerEnd::new(worker));
    let mut group = criterion.benchmark_group("lend, receive, close");
    for count in [1, 4, 16, 64] {
        group.throughput(Throughput::Elements(u64::from(count)));
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            let records = records(count);
            let descriptors = vec![connection.as_fd(); records.len()];
            bencher.iter(|| {
                assert!(master.lend(&records, &descriptors).expect("the other end is open"));
                match worker.receive().expect("whole") {
                    FromMaster::Frame(_, descriptors) => drop(descriptors),
                    FromMaster::Empty | FromMaster::Closed => unreachable!("a packet was sent"),
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, hand_off);
criterion_main!(benches);
