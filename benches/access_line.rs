//! What a line of the access log costs the loop of a worker: made, and left for the log's thread.
//!
//! Held equal: the request of a browser. The sink takes everything and writes nothing, so that what
//! the disk does is not in the figure; it is the other thread's.

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use criterion::{Criterion, criterion_group, criterion_main};
use http::{StatusCode, Version};
use maitred::config::AccessFormat;
use maitred::ident::{Generation, Incarnation, PeerAddress, Slot};
use maitred::observe::access::{
    AccessLog, AccessRecord, FieldValues, Parts, Renderer, RequestLine,
};
use maitred::observe::sink::Stream;

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
            bencher.iter(|| log.write(black_box(&record())));
        });
    }
    group.finish();
}

criterion_group!(benches, lines);
criterion_main!(benches);
