//! What a line of the access log costs the loop of a worker: made, and left for the log's thread.
//!
//! Held equal: the request of a browser, with its time of day asked for. The sink takes everything
//! and writes nothing, so that what the disk does is not in the figure; it is the other thread's.
//! Unfair: the caches are a line's alone, where a worker's hold a request too.

use std::hint::black_box;
use std::time::{Duration, Instant, SystemTime};

use criterion::{Criterion, criterion_group, criterion_main};
use http::{StatusCode, Version};
use maitred::config::AccessFormat;
use maitred::ident::{Generation, Incarnation, PeerAddress, Slot};
use maitred::observe::access::{
    AccessLog, AccessRecord, FieldValues, Parts, Renderer, RequestLine,
};
use maitred::observe::sink::Stream;

/// Lines that fit into the log's buffer, which a loop that does nothing else would fill in a few
/// milliseconds; a worker leaves a few hundred between two looks of the log's thread.
const BUNDLE: u64 = 1000;

const AGENT: &[u8] = b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

struct Browser;

impl FieldValues for Browser {
    fn of_request(&self, place: usize) -> Option<&[u8]> {
        [None, Some(&b"https://www.example.org/articles"[..]), Some(AGENT)].get(place).copied()?
    }

    fn of_response(&self, _place: usize) -> Option<&[u8]> {
        None
    }
}

fn record() -> AccessRecord<'static> {
    AccessRecord {
        peer: PeerAddress::Inet(([192, 0, 2, 7], 4711).into()),
        time: SystemTime::now(),
        request: Some(RequestLine {
            method: b"GET",
            target: b"/articles/2026/11?page=2",
            path: b"/articles/2026/11",
            query: Some(b"page=2"),
            version: Version::HTTP_11,
        }),
        status: StatusCode::OK,
        bytes: 19,
        complete: true,
        fields: &Browser,
        request_id: None,
        worker: Incarnation { slot: Slot(3), generation: Generation(7) },
        queue_time: None,
        duration: Duration::from_micros(12_034),
        parts: Some(Parts {
            receiving: Duration::from_micros(34),
            handling: Duration::from_millis(10),
            sending: Duration::from_millis(2),
        }),
    }
}

fn lines(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("access line");
    for name in ["common", "maitred", "json"] {
        let format = AccessFormat::parse(name).expect("a form");
        let mut renderer = Renderer::new(&format, 41, &|_| None);
        let mut out = Vec::new();
        group.bench_function(format!("render {name}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                renderer.render(black_box(&record()), &mut out);
                black_box(&out);
            });
        });
        let mut log = AccessLog::to_sink(&format, Box::new(Stream(std::io::sink())))
            .expect("a thread can be started");
        group.bench_function(format!("write {name}"), |bencher| {
            bencher.iter_custom(|lines| write_in_bundles(&mut log, lines));
        });
        assert_eq!(log.dropped(), 0, "lines that are dropped cost less than lines that are kept");
    }
    group.finish();
}

/// The time that so many lines take, without the pauses in which the log's thread empties its buffer.
fn write_in_bundles(log: &mut AccessLog, lines: u64) -> Duration {
    let (mut left, mut took) = (lines, Duration::ZERO);
    while left > 0 {
        let bundle = left.min(BUNDLE);
        let began = Instant::now();
        for _ in 0..bundle {
            log.write(black_box(&record()));
        }
        took += began.elapsed();
        assert!(log.flush(), "the sink takes everything");
        left -= bundle;
    }
    took
}

criterion_group!(benches, lines);
criterion_main!(benches);
