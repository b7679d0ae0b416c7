//! Tests of the machine as a whole: bytes in, a transcript of what it told out.
//!
//! Every case runs three ways, since a parser that is right about a whole request is easily wrong
//! about its pieces: whole, byte by byte, and with other bytes behind it.
//!
//! Not here: tests of one file's own business, which stand at its end.

mod exchanges;
mod properties;
mod refusals;
mod requests;

use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use crate::config::HttpLimits;
use crate::http::{BodyKind, BodyLength, Connection, Event, HttpError, Next};

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// What a machine told of, with the pieces of bodies joined.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    /// Request line and fields as they were understood, one a line.
    Head(String, BodyKind),
    Body(Vec<u8>),
    End,
    Refused(HttpError),
}

/// Hands `input` over in pieces that end at `cuts` (ascending), answers every request with an empty
/// 200, and stops at a refusal or when the connection ends.
fn converse(input: &[u8], cuts: &[usize], limits: HttpLimits) -> Vec<Told> {
    let mut connection = Connection::new(Arc::new(limits));
    let mut told = Vec::new();
    let mut consumed = 0;
    for &cut in cuts.iter().chain([&input.len()]) {
        loop {
            let offered = &input[consumed..cut];
            let outcome = connection.handle_bytes(offered);
            connection.check_invariants();
            let (used, event) = match outcome {
                Ok(outcome) => outcome,
                Err(error) => {
                    assert_eq!(connection.handle_bytes(offered).unwrap_err(), error, "it stays");
                    told.push(Told::Refused(error));
                    return told;
                }
            };
            assert!(used <= offered.len(), "no more is consumed than was offered");
            consumed += used;
            match event {
                Event::Partial => break,
                Event::Head(head, kind) => told.push(Told::Head(show(&head), kind)),
                Event::Data(range) => {
                    assert!(range.end <= used && !range.is_empty(), "data is what was consumed");
                    match told.last_mut() {
                        Some(Told::Body(body)) => body.extend_from_slice(&offered[range]),
                        Some(_) | None => told.push(Told::Body(offered[range].to_vec())),
                    }
                }
                Event::RequestEnd => told.push(Told::End),
                Event::Paused => {
                    answer(&mut connection);
                    if connection.next() != Next::KeepAlive {
                        return told;
                    }
                }
            }
        }
    }
    told
}

/// An empty 200.
fn answer(connection: &mut Connection) {
    let mut out = Vec::new();
    let headers = HeaderMap::new();
    connection.respond(StatusCode::OK, &headers, BodyLength::None, DATE, false, &mut out).unwrap();
    connection.finish_response(&mut out).unwrap();
    connection.check_invariants();
}

/// Whole, byte by byte, and with a byte behind it that cannot belong to anything.
fn three_ways(input: &[u8], limits: HttpLimits) -> Vec<Told> {
    let whole = converse(input, &[], limits);
    let bytes: Vec<usize> = (0..input.len()).collect();
    let name = String::from_utf8_lossy(input);
    assert_eq!(converse(input, &bytes, limits), whole, "byte by byte: {name:?}");
    if matches!(whole.last(), Some(Told::End | Told::Refused(_))) {
        let trailing = converse(&[input, b"\x00"].concat(), &[], limits);
        assert_eq!(trailing[..whole.len()], whole, "with a byte behind it: {name:?}");
    }
    whole
}

fn show(head: &crate::http::RequestHead) -> String {
    let mut text = format!("{} {} {:?}\n", head.method, head.target, head.version);
    for (name, value) in &head.headers {
        text += &format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()));
    }
    text
}
