//! What is accepted, and how it is understood.
//!
//! Not here: what is refused (`refusals`).

use super::{Told, three_ways};
use crate::config::HttpLimits;
use crate::http::BodyKind;

/// One request that must pass: its head, how its body is delimited, and the body.
fn understood(input: &str) -> (String, BodyKind, Vec<u8>) {
    let told = three_ways(input.as_bytes(), HttpLimits::default());
    match &told[..] {
        [Told::Head(head, kind), Told::End] => (head.clone(), *kind, Vec::new()),
        [Told::Head(head, kind), Told::Body(body), Told::End] => {
            (head.clone(), *kind, body.clone())
        }
        other => panic!("{input:?}: {other:?}"),
    }
}

#[test]
fn heads_are_understood() {
    for (input, text) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\nhost: a\n"),
        ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\nhost: a\n"),
        ("GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\n"),
        ("br-ew! /?a HTTP/1.1\r\nHost:a\r\n\r\n", "br-ew! /?a HTTP/1.1\nhost: a\n"),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\nhost: a\n"),
        ("GET /{|}\"<>^`\\ HTTP/1.1\r\nHost: a\r\n\r\n", "GET /{|}\"<>^`\\ HTTP/1.1\nhost: a\n"),
        // Whitespace around a value is not part of it; some within is, and so is obs-text.
        (
            "GET / HTTP/1.1\r\nHost: \t a \t \r\nb:\r\nc: \r\nd:e \t f\r\n\r\n",
            "GET / HTTP/1.1\nhost: a\nb: \nc: \nd: e \t f\n",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nb: \u{e4}\r\nB: c\r\n\r\n",
            "GET / HTTP/1.1\nhost: a\nb: \u{e4}\nb: c\n",
        ),
        // An absolute target's authority is the Host (RFC 9112 section 3.2.2).
        ("GET http://b:8/c HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://b:8/c HTTP/1.1\nhost: b:8\n"),
        ("GET http://b HTTP/1.0\r\n\r\n", "GET http://b HTTP/1.0\nhost: b\n"),
    ] {
        assert_eq!(understood(input), (text.to_owned(), BodyKind::None, Vec::new()));
    }
}

#[test]
fn a_head_may_have_more_fields_than_the_stack_has_places() {
    let fields: String = (0..99).map(|number| format!("a{number}: b\r\n")).collect();
    let (head, _, _) = understood(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    assert_eq!(head.lines().count(), 101);
    assert!(head.ends_with("a98: b\n"));
}

#[test]
fn bodies_are_delimited() {
    const LENGTH: &str = "Content-Length: 5";
    const CHUNKED: &str = "Transfer-Encoding: Chunked";
    for (fields, sent, kind, body) in [
        (LENGTH, "hello", BodyKind::Length(5), "hello"),
        ("Content-Length: 005", "hello", BodyKind::Length(5), "hello"),
        ("Content-Length: 0", "", BodyKind::None, ""),
        ("a: b", "", BodyKind::None, ""),
        (CHUNKED, "0\r\n\r\n", BodyKind::Chunked, ""),
        (CHUNKED, "5\r\nhello\r\n0\r\n\r\n", BodyKind::Chunked, "hello"),
        (CHUNKED, "2\r\nhe\r\n003\r\nllo\r\n000\r\n\r\n", BodyKind::Chunked, "hello"),
        (CHUNKED, "A\r\n0123456789\r\n0\r\n\r\n", BodyKind::Chunked, "0123456789"),
        (CHUNKED, "4\r\n\r\n\r\n\r\n0\r\n\r\n", BodyKind::Chunked, "\r\n\r\n"),
        // Extensions and trailers are checked and dropped.
        (CHUNKED, "1;a;b=c;d=\"\t\\\";\u{e4}\"\r\nx\r\n0;e\r\n\r\n", BodyKind::Chunked, "x"),
        (CHUNKED, "1\r\nx\r\n0\r\na: b\r\nHost: c\r\nd:\r\n\r\n", BodyKind::Chunked, "x"),
    ] {
        let input = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{sent}");
        let (_, found_kind, found_body) = understood(&input);
        assert_eq!((found_kind, &found_body[..]), (kind, body.as_bytes()), "{input:?}");
    }
}

#[test]
fn pipelined_requests_come_in_order_and_whole() {
    let told = three_ways(
        b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\
          \r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi\
          POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n!\r\n0\r\n\r\n\
          GET /4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n\
          GET /5 HTTP/1.1\r\nHost: a\r\n\r\n",
        HttpLimits::default(),
    );
    let head = |text: &str, kind| Told::Head(text.to_owned(), kind);
    assert_eq!(
        told,
        [
            head("GET /1 HTTP/1.1\nhost: a\n", BodyKind::None),
            Told::End,
            head("POST /2 HTTP/1.1\nhost: a\ncontent-length: 2\n", BodyKind::Length(2)),
            Told::Body(b"hi".to_vec()),
            Told::End,
            head("POST /3 HTTP/1.1\nhost: a\ntransfer-encoding: chunked\n", BodyKind::Chunked),
            Told::Body(b"!".to_vec()),
            Told::End,
            head("GET /4 HTTP/1.1\nhost: a\nconnection: close\n", BodyKind::None),
            Told::End,
        ],
        "and nothing of what comes behind `Connection: close`",
    );
}
