//! What HTTP costs for each request, without a socket: a head parsed and a response head written.
//!
//! Held equal: a request as wrk sends it, and one as a browser sends it (12 fields). The strict
//! layer over httparse is in the figure.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, StatusCode};
use maitred::config::HttpLimits;
use maitred::http::{BodyLength, Connection, Event};

const SHORT: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n";

const BROWSER: &[u8] = b"GET /articles/2026/11?page=2 HTTP/1.1\r\n\
    Host: www.example.org\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://www.example.org/articles\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n\r\n";

fn exchange(connection: &mut Connection, mut input: &[u8], out: &mut Vec<u8>) {
    loop {
        let (used, event) = connection.handle_bytes(input).expect("a good request");
        input = &input[used..];
        match event {
            Event::Head(head, _) => {
                black_box(head);
            }
            Event::RequestEnd => break,
            Event::Data(_) | Event::Partial | Event::Paused => unreachable!("no body, all here"),
        }
    }
    out.clear();
    connection
        .respond(
            StatusCode::OK,
            &HeaderMap::new(),
            BodyLength::Known(19),
            "Mon, 23 Nov 2026 23:55:48 GMT",
            false,
            out,
        )
        .expect("nothing was answered before");
    out.extend_from_slice(connection.body_piece(19, &mut Vec::new()).expect("as long as said"));
    connection.finish_response(out).expect("complete");
    black_box(&out);
}

fn heads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("request and response");
    for (name, input) in [("wrk", SHORT), ("browser", BROWSER)] {
        group.bench_function(name, |bencher| {
            let mut connection = Connection::new(Arc::new(HttpLimits::default()));
            let mut out = Vec::with_capacity(4096);
            bencher.iter(|| exchange(&mut connection, input, &mut out));
        });
    }
    group.finish();
}

criterion_group!(benches, heads);
criterion_main!(benches);
