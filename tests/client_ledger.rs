//! The ledger of the fault matrix, against servers that lie, cut off and go away: each outcome is
//! told from every other, or the matrix could not fail.
//!
//! Not here: our own server (`benches/faults`).

#[path = "chaos/answer.rs"]
mod answer;
mod common;
mod ledger;
#[path = "chaos/request.rs"]
mod request;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use common::{DEADLINE, eventually};
use ledger::book::{Book, Outcome};
use ledger::load::{Ask, Load, Plan, Way};
use maitred::time::Nanos;
use socket2::SockRef;

const NEW: Way = Way::New { pause: Duration::ZERO };

/// Long enough for a few requests at the rate below.
const ENOUGH: u64 = 5;

/// What a load finds, of which each connection is served by a function.
fn book_against(way: Way, ask: Ask, serve: fn(&mut TcpStream, usize)) -> Book {
    book_until(way, ask, serve, |book| book.ended() >= ENOUGH)
}

/// The same, until something has been found. The function is told the connection's number, too.
fn book_until(
    way: Way,
    ask: Ask,
    serve: fn(&mut TcpStream, usize),
    mut is_enough: impl FnMut(&Book) -> bool,
) -> Book {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let address = listener.local_addr().expect("it has an address");
    thread::spawn(move || {
        for (number, connection) in listener.incoming().enumerate() {
            let mut connection = connection.expect("a connection");
            thread::spawn(move || serve(&mut connection, number));
        }
    });
    let load = Load::start(plan(address, way, ask, Duration::from_millis(500)));
    let mut book = Book::default();
    eventually(DEADLINE, "enough requests have ended", || {
        book.add(load.take_book());
        is_enough(&book)
    });
    book.add(load.stop());
    book
}

fn plan(address: SocketAddr, way: Way, ask: Ask, answer_within: Duration) -> Plan {
    Plan { address, rate: 200.0, way, ask, sleeps_one_in: 0, answer_within, seed: 7 }
}

/// Reads one request whole; none if the client has gone.
fn read_request(connection: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some(head_end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let length = text
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: ")?.trim().parse().ok())
                .unwrap_or(0);
            let mut body = bytes.split_off(head_end + 4);
            while body.len() < length {
                let read = connection.read(&mut piece).ok().filter(|&read| read > 0)?;
                body.extend(&piece[..read]);
            }
            return Some(body);
        }
        let read = connection.read(&mut piece).ok().filter(|&read| read > 0)?;
        bytes.extend(&piece[..read]);
    }
}

fn echo(connection: &mut TcpStream, body: &[u8]) {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let _ = connection.write_all(&[head.as_bytes(), body].concat());
}

/// Closing with a linger time of zero sends a reset (socket(7), SO_LINGER).
fn reset(connection: &TcpStream) {
    let _ = SockRef::from(connection).set_linger(Some(Duration::ZERO));
}

/// All requests ended so, and so many of them at the least.
#[track_caller]
fn assert_all(book: &Book, expected: Outcome) {
    assert_eq!(book.of(expected), book.ended(), "{book} {:?}", book.failures.first());
    assert!(book.ended() >= ENOUGH, "{book}");
}

#[test]
fn honest_answers_are_full() {
    fn serve(connection: &mut TcpStream, _: usize) {
        while let Some(body) = read_request(connection) {
            echo(connection, &body);
        }
    }
    let kept = book_against(Way::Kept(2), Ask::Echo, serve);
    assert_all(&kept, Outcome::Full);
    assert_eq!(kept.connected, 2);
    assert_eq!(kept.answered.len() as u64, kept.ended());
    let median = kept.latency_at(0.5, Nanos(0), Nanos::NEVER).expect("there are some");
    assert!(median > Duration::ZERO && median < DEADLINE);
    let new = book_against(NEW, Ask::Echo, serve);
    assert_all(&new, Outcome::Full);
    assert_eq!(new.connected, new.ended());
}

#[test]
fn an_answer_that_is_not_its_own_is_wrong() {
    // Another's, a damaged one, one that is too short by its own length, and one too many.
    fn another(connection: &mut TcpStream, _: usize) {
        let theirs =
            request::Request { id: 1, kind: request::Kind::Echo { size: 64, is_chunked: false } };
        let bytes = theirs.bytes();
        read_request(connection);
        echo(connection, &bytes[bytes.len() - 64..]);
    }
    fn damaged(connection: &mut TcpStream, _: usize) {
        let mut body = read_request(connection).expect("a request");
        body[20] ^= 1;
        echo(connection, &body);
    }
    fn short(connection: &mut TcpStream, _: usize) {
        let body = read_request(connection).expect("a request");
        echo(connection, &body[..body.len() - 1]);
    }
    fn two(connection: &mut TcpStream, _: usize) {
        let body = read_request(connection).expect("a request");
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = connection.write_all(&[head.as_bytes(), &body].concat().repeat(2));
    }
    fn no_http(connection: &mut TcpStream, _: usize) {
        read_request(connection);
        let _ = connection.write_all(b"SSH-2.0-x\r\n\r\n");
    }
    fn not_found(connection: &mut TcpStream, _: usize) {
        read_request(connection);
        let _ = connection.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    }
    fn other_name(connection: &mut TcpStream, _: usize) {
        read_request(connection);
        echo(connection, b"{\"target\":\"/0000000000000001\"}\n");
    }
    for serve in [another, damaged, short, two, no_http, not_found] {
        assert_all(&book_against(NEW, Ask::Echo, serve), Outcome::Wrong);
    }
    assert_all(&book_against(NEW, Ask::Named, other_name), Outcome::Wrong);
}

#[test]
fn what_nobody_asked_for_is_wrong() {
    fn talk(connection: &mut TcpStream, number: usize) {
        let body = read_request(connection).expect("a request");
        echo(connection, &body);
        if number == 0 {
            thread::sleep(Duration::from_millis(20));
            let _ = connection.write_all(b"HTTP/1.1 408 Request Timeout\r\n");
        }
        while let Some(body) = read_request(connection) {
            echo(connection, &body);
        }
    }
    // Forty connections at 200 a second: each is idle for a while when its turn is over.
    let book = book_until(Way::Kept(40), Ask::Echo, talk, |book| book.of(Outcome::Wrong) > 0);
    assert_eq!((book.of(Outcome::Wrong), book.failed()), (1, 1), "{book}");
}

#[test]
fn ends_are_told_apart() {
    fn reset_new(connection: &mut TcpStream, _: usize) {
        read_request(connection);
        reset(connection);
    }
    fn close_new(connection: &mut TcpStream, _: usize) {
        read_request(connection);
    }
    fn reset_within(connection: &mut TcpStream, _: usize) {
        let body = read_request(connection).expect("a request");
        let _ = connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n");
        let _ = connection.write_all(&body);
        // So that the client reads the part before the reset throws it away.
        thread::sleep(Duration::from_millis(30));
        reset(connection);
    }
    fn close_within(connection: &mut TcpStream, _: usize) {
        read_request(connection);
        let _ = connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Le");
    }
    fn bad_gateway(connection: &mut TcpStream, _: usize) {
        read_request(connection);
        let _ = connection.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
    }
    fn shed(connection: &mut TcpStream, _: usize) {
        read_request(connection);
        let _ =
            connection.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    }
    fn silence(connection: &mut TcpStream, _: usize) {
        while read_request(connection).is_some() {}
    }
    for (serve, expected) in [
        (reset_new as fn(&mut TcpStream, usize), Outcome::ResetNew),
        (close_new, Outcome::ClosedNew),
        (reset_within, Outcome::ResetWithin),
        (close_within, Outcome::ClosedWithin),
        (bad_gateway, Outcome::BadGateway),
        (shed, Outcome::Shed),
        (silence, Outcome::TimedOut),
    ] {
        let book = book_against(NEW, Ask::Echo, serve);
        assert_all(&book, expected);
        assert!(book.failures.iter().all(|failed| failed.sent_whole), "{book}");
    }
}

#[test]
fn a_reused_connection_is_told_from_a_new_one() {
    fn answer_once(connection: &mut TcpStream) {
        let body = read_request(connection).expect("a request");
        echo(connection, &body);
        read_request(connection);
    }
    fn close_second(connection: &mut TcpStream, _: usize) {
        answer_once(connection);
    }
    fn reset_second(connection: &mut TcpStream, _: usize) {
        answer_once(connection);
        reset(connection);
    }
    for (serve, expected) in [
        (close_second as fn(&mut TcpStream, usize), Outcome::ClosedReused),
        (reset_second, Outcome::ResetReused),
    ] {
        let book = book_against(Way::Kept(1), Ask::Echo, serve);
        assert_eq!(book.of(Outcome::Full) + book.of(expected), book.ended(), "{book}");
        assert!(book.of(expected) > 0, "{book}");
    }
}

#[test]
fn an_idle_connection_that_ends_costs_nobody_an_answer() {
    fn answer_and_close(connection: &mut TcpStream, _: usize) {
        let body = read_request(connection).expect("a request");
        echo(connection, &body);
    }
    let book = book_against(Way::Kept(8), Ask::Echo, answer_and_close);
    assert_all(&book, Outcome::Full);
    assert!(book.connected > 8 || book.ended() <= 8, "closed ones are opened again: {book}");
}

#[test]
fn nobody_there_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let address = listener.local_addr().expect("it has an address");
    drop(listener);
    let load = Load::start(plan(address, NEW, Ask::Echo, DEADLINE));
    let mut book = Book::default();
    eventually(DEADLINE, "some requests have ended", || {
        book.add(load.take_book());
        book.ended() >= ENOUGH
    });
    book.add(load.stop());
    assert_all(&book, Outcome::Refused);
    assert_eq!(book.connected, 0);
}
