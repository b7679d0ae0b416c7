//! Conversations at random: whole, pipelined and chunked requests of every size around the server's
//! buffers, cut anywhere, on kept connections; each answer has the bytes that were asked for.
//!
//! Several clients at once, so that connections become idle, move and are claimed between two
//! requests. `SEEDS=10000` widens it, `SEED=7` repeats one conversation in every mode (how the
//! machine schedules it is decided anew).
//!
//! Not here: Python's workers (`python/tests/test_conversations.py`).

#![cfg(feature = "cli")]

mod common;

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use common::Server;
use common::client::Client;
use fastrand::Rng;

const SEEDS_DEFAULT: u64 = 150;
const CLIENTS: usize = 5;

/// Where something of the server's is full, or ends.
const EDGES: [usize; 9] = [1, 20, 1000, 4096, 16_384, 65_536, 131_072, 262_144, 1_048_576];

/// What a read brings at the most: a request that ends there leaves nobody to say that another
/// one stands behind it.
const READ_SIZE: usize = 65_536;

const BODY_MAX: usize = 1_000_000;

/// What is to come back.
enum Wanted {
    Bytes(Vec<u8>),
    Length(usize),
    Anything,
}

fn size(rng: &mut Rng) -> usize {
    match rng.u8(0..10) {
        0..3 => rng.usize(0..40),
        3..8 => {
            let edge = EDGES[rng.usize(0..EDGES.len())];
            let aside = [-300, -2, -1, 0, 0, 1, 2, 300][rng.usize(0..8)];
            edge.saturating_add_signed(aside)
        }
        _ => rng.usize(0..200_000),
    }
    .min(BODY_MAX)
}

/// Bytes that no shift by less than 251 makes equal.
fn body(rng: &mut Rng, size: usize) -> Vec<u8> {
    let piece: Vec<u8> = (0..251).map(|_| rng.u8(..)).collect();
    piece.into_iter().cycle().take(size).collect()
}

fn chunked(rng: &mut Rng, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        // Few enough that the framing stays small beside a large body.
        let least = rest.len() / 200 + 1;
        let (chunk, behind) = rest.split_at(size(rng).clamp(least, rest.len()));
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
        rest = behind;
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

/// A request that is written behind `stream`; now and then so that it ends where a read does.
fn add_request(rng: &mut Rng, stream: &mut Vec<u8>) -> Wanted {
    let (mut head, body, wanted) = match rng.u8(0..20) {
        0..7 => {
            let length = size(rng) * rng.usize(1..4);
            (format!("GET /bytes/{length} HTTP/1.1\r\n"), Vec::new(), Wanted::Length(length))
        }
        7..9 => {
            let target = format!("GET /sleep/{} HTTP/1.1\r\n", rng.u8(0..4));
            (target, Vec::new(), Wanted::Anything)
        }
        9..16 => {
            let length = size(rng);
            let body = body(rng, length);
            let head = format!("POST /echo HTTP/1.1\r\nContent-Length: {}\r\n", body.len());
            (head, body.clone(), Wanted::Bytes(body))
        }
        _ => {
            let length = size(rng).min(BODY_MAX / 2);
            let whole = body(rng, length);
            let head = String::from("POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n");
            (head, chunked(rng, &whole), Wanted::Bytes(whole))
        }
    };
    head.push_str("Host: test\r\n");
    let end = stream.len() + head.len() + 2 + body.len();
    let missing = end.next_multiple_of(READ_SIZE) - end;
    if rng.bool() && (9..3000).contains(&missing) {
        head.push_str(&format!("X-Pad: {}\r\n", "p".repeat(missing - 9)));
    }
    stream.extend_from_slice(head.as_bytes());
    stream.extend_from_slice(b"\r\n");
    stream.extend_from_slice(&body);
    wanted
}

/// Where a client cuts what it sends.
fn pieces(rng: &mut Rng, length: usize) -> Vec<Range<usize>> {
    let sizes: &[usize] = match rng.u8(0..4) {
        0 => &[usize::MAX],
        1 => &[READ_SIZE],
        2 => &[20, 1460, 5000, READ_SIZE],
        _ => &[1, 3, 100, 16_384, 300_000],
    };
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < length {
        // A hundred and a few, of whatever length.
        let piece = sizes[rng.usize(0..sizes.len())].max(length / 100).min(length - at);
        pieces.push(at..at + piece);
        at += piece;
    }
    pieces
}

fn converse(address: SocketAddr, seed: u64, mode: &str) {
    let mut rng = Rng::with_seed(seed);
    let mut client = Client::connect(address);
    for group in 0..rng.usize(3..12) {
        let mut stream = Vec::new();
        let count = [1, 1, 1, 2, 3, 5][rng.usize(0..6)];
        let wanted: Vec<_> = (0..count).map(|_| add_request(&mut rng, &mut stream)).collect();
        let pieces = pieces(&mut rng, stream.len());
        let pauses: Vec<_> = pieces.iter().map(|_| rng.u8(0..10) == 0).collect();
        let answers = match client.talk(stream, pieces, pauses, count) {
            Ok(answers) => answers,
            Err(failure) => panic!("SEED={seed} ({mode}): group {group}: {failure:?}"),
        };
        for (number, (answer, wanted)) in answers.iter().zip(wanted).enumerate() {
            let place = format!("SEED={seed} ({mode}): group {group}, request {number}");
            assert_eq!(answer.status, 200, "{place}");
            match wanted {
                Wanted::Bytes(bytes) => assert!(answer.body == bytes, "{place}: other bytes"),
                Wanted::Length(length) => assert_eq!(answer.body.len(), length, "{place}"),
                Wanted::Anything => {}
            }
        }
        if rng.u8(0..5) == 0 {
            thread::sleep(Duration::from_micros(rng.u64(0..3000)));
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn converse_with(flags: &[&str]) -> Server {
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS_DEFAULT),
    };
    let mode = flags.join(" ");
    let server = Server::start(&[&["serve"], flags].concat());
    let next = AtomicU64::new(seeds.start);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    converse(server.address(), seed, &mode);
                }
            });
        }
    });
    server
}

#[test]
fn on_the_loop() {
    converse_with(&["-w", "2", "--threads", "0", "--buffer-request", "2M"])
        .assert_conserved_at_rest();
}

#[test]
fn with_a_thread_a_worker() {
    converse_with(&["-w", "2", "--threads", "1"]).assert_conserved_at_rest();
}

#[test]
fn with_threads_that_read_bodies_while_they_arrive() {
    converse_with(&["-w", "1", "--threads", "4", "--buffer-request", "16K"])
        .assert_conserved_at_rest();
}

#[test]
fn with_connections_that_move_after_each_request() {
    converse_with(&["-w", "3", "--threads", "1", "--rebalance", "always"])
        .assert_conserved_at_rest();
}

#[test]
fn where_workers_accept_themselves() {
    // Its account is the workers' own.
    converse_with(&["-w", "2", "--threads", "2", "--accept", "exclusive"]);
}
