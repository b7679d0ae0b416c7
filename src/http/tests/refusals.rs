//! Every refusal, by the bytes that earn it.
//!
//! Not here: what is accepted (`requests`).

use std::collections::HashSet;

use super::{Told, three_ways};
use crate::config::HttpLimits;
use crate::http::{HttpError, head_size_max};

/// Small enough that a case for each limit stays readable.
fn limits() -> HttpLimits {
    HttpLimits {
        request_line_max: 80,
        fields_max: 4,
        field_size_max: 80,
        body_max: Some(100),
        ..HttpLimits::default()
    }
}

/// A head of these fields that is otherwise in order.
fn with(fields: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n")
}

/// A chunked body.
fn chunked(body: &str) -> String {
    with("Transfer-Encoding: chunked") + body
}

fn refusals() -> Vec<(String, HttpError, u16)> {
    let line = |text: &str| format!("{text}\r\nHost: a\r\n\r\n");
    let mut cases = vec![
        // Not HTTP.
        ("\x16\x03\x01\x02".to_owned(), HttpError::NotHttp, 400),
        ("\0".to_owned(), HttpError::NotHttp, 400),
        (" GET / HTTP/1.1\r\n".to_owned(), HttpError::NotHttp, 400),
        ("\r\n\r\nGET / HTTP/1.1\r\n".to_owned(), HttpError::NotHttp, 400),
        ("\r\rGET / HTTP/1.1\r\n".to_owned(), HttpError::NotHttp, 400),
        // Ends of lines.
        ("\nGET / HTTP/1.1\r\n".to_owned(), HttpError::BareLineFeed, 400),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n".to_owned(), HttpError::BareLineFeed, 400),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n".to_owned(), HttpError::BareLineFeed, 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n".to_owned(), HttpError::BareLineFeed, 400),
        (line("GET / HTTP/1.1\r"), HttpError::BareCarriageReturn, 400),
        (line("GET /\rHTTP/1.1"), HttpError::BareCarriageReturn, 400),
        (with("a: b\rc: d"), HttpError::BareCarriageReturn, 400),
        (with("a\r: b"), HttpError::BareCarriageReturn, 400),
        (with("a: b\r"), HttpError::BareCarriageReturn, 400),
        // The request line.
        (line("GET / HTTP/1.1 "), HttpError::RequestLineInvalid, 400),
        (line("GET / HTTP/1.1 x"), HttpError::RequestLineInvalid, 400),
        (line("GET /"), HttpError::RequestLineInvalid, 400),
        (line("GET"), HttpError::RequestLineInvalid, 400),
        (line("GET / http/1.1"), HttpError::RequestLineInvalid, 400),
        (line("GET / HTTP/1.10"), HttpError::RequestLineInvalid, 400),
        (line("GET / HTTP/1"), HttpError::RequestLineInvalid, 400),
        (line("GET / HTTP/11"), HttpError::RequestLineInvalid, 400),
        (line("GET / HTTP 1.1"), HttpError::RequestLineInvalid, 400),
        (line("GET / "), HttpError::RequestLineInvalid, 400),
        (line("G@T / HTTP/1.1"), HttpError::MethodInvalid, 400),
        (line("G\u{c9}T / HTTP/1.1"), HttpError::MethodInvalid, 400),
        (line("GET\t/\tHTTP/1.1"), HttpError::MethodInvalid, 400),
        (line("G\0T / HTTP/1.1"), HttpError::MethodInvalid, 400),
        (line("GET  / HTTP/1.1"), HttpError::RequestLineInvalid, 400),
        (line("GET  HTTP/1.1"), HttpError::TargetInvalid, 400),
        (line("GET /\u{e9} HTTP/1.1"), HttpError::TargetInvalid, 400),
        (line("GET /\x7f HTTP/1.1"), HttpError::TargetInvalid, 400),
        (line("GET /\0 HTTP/1.1"), HttpError::TargetInvalid, 400),
        (line("GET /\t HTTP/1.1"), HttpError::TargetInvalid, 400),
        (line("GET a HTTP/1.1"), HttpError::TargetInvalid, 400),
        (line("GET * HTTP/1.1"), HttpError::TargetInvalid, 400),
        (line("GET a:80 HTTP/1.1"), HttpError::TargetInvalid, 400),
        (line("GET ftp://a/ HTTP/1.1"), HttpError::TargetInvalid, 400),
        (line("OPTIONS *a HTTP/1.1"), HttpError::TargetInvalid, 400),
        (line("GET /a#b HTTP/1.1"), HttpError::TargetFragment, 400),
        (line("GET http://b@a/ HTTP/1.1"), HttpError::HostInvalid, 400),
        (line("CONNECT a:80 HTTP/1.1"), HttpError::ConnectNotImplemented, 501),
        (line("CONNECT / HTTP/1.1"), HttpError::ConnectNotImplemented, 501),
        (line("GET / HTTP/1.2"), HttpError::VersionUnsupported, 505),
        (line("GET / HTTP/0.9"), HttpError::VersionUnsupported, 505),
        (line("GET / HTTP/2.0"), HttpError::VersionUnsupported, 505),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), HttpError::VersionUnsupported, 505),
        // The syntax of fields.
        (with("a: b\r\n c"), HttpError::ObsoleteFold, 400),
        (with("a: b\r\n\tc: d"), HttpError::ObsoleteFold, 400),
        (with("a:\r\n b"), HttpError::ObsoleteFold, 400),
        (line("GET / HTTP/1.1\r\n a: b"), HttpError::ObsoleteFold, 400),
        (with(": b"), HttpError::FieldNameInvalid, 400),
        (with("a"), HttpError::FieldNameInvalid, 400),
        (with("a b: c"), HttpError::FieldNameInvalid, 400),
        (with("a\0: b"), HttpError::FieldNameInvalid, 400),
        (with("\u{e4}: b"), HttpError::FieldNameInvalid, 400),
        (with("a(: b"), HttpError::FieldNameInvalid, 400),
        (with("a : b"), HttpError::SpaceBeforeColon, 400),
        (with("a\t: b"), HttpError::SpaceBeforeColon, 400),
        (with("Content-Length : 3"), HttpError::SpaceBeforeColon, 400),
        (with("a: b\0"), HttpError::FieldValueInvalid, 400),
        (with("a: \x01"), HttpError::FieldValueInvalid, 400),
        (with("a: b\x7fc"), HttpError::FieldValueInvalid, 400),
        (with("Transfer-Encoding: \x0bchunked"), HttpError::FieldValueInvalid, 400),
        (with("Content-Length: 3\x0c"), HttpError::FieldValueInvalid, 400),
        // Host.
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), HttpError::HostMissing, 400),
        ("GET http://a/ HTTP/1.1\r\n\r\n".to_owned(), HttpError::HostMissing, 400),
        (with("Host: a"), HttpError::HostDuplicate, 400),
        (with("host: b"), HttpError::HostDuplicate, 400),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n".to_owned(), HttpError::HostDuplicate, 400),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n".to_owned(), HttpError::HostInvalid, 400),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n".to_owned(), HttpError::HostInvalid, 400),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".to_owned(), HttpError::HostInvalid, 400),
        ("GET / HTTP/1.1\r\nHost: b@a\r\n\r\n".to_owned(), HttpError::HostInvalid, 400),
        ("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n".to_owned(), HttpError::HostInvalid, 400),
        ("GET / HTTP/1.0\r\nHost: a b\r\n\r\n".to_owned(), HttpError::HostInvalid, 400),
        ("GET http://a/ HTTP/1.1\r\nHost: \\\r\n\r\n".to_owned(), HttpError::HostInvalid, 400),
        // The length of the body.
        (with("Content-Length: +3"), HttpError::ContentLengthInvalid, 400),
        (with("Content-Length: -3"), HttpError::ContentLengthInvalid, 400),
        (with("Content-Length: 3, 3"), HttpError::ContentLengthInvalid, 400),
        (with("Content-Length: 3 3"), HttpError::ContentLengthInvalid, 400),
        (with("Content-Length: 0x3"), HttpError::ContentLengthInvalid, 400),
        (with("Content-Length: 3.0"), HttpError::ContentLengthInvalid, 400),
        (with("Content-Length: 3;"), HttpError::ContentLengthInvalid, 400),
        (with("Content-Length:"), HttpError::ContentLengthInvalid, 400),
        (with("Content-Length: 18446744073709551616"), HttpError::ContentLengthOverflow, 400),
        (with("Content-Length: 3\r\nContent-Length: 3"), HttpError::ContentLengthDuplicate, 400),
        (with("Content-Length: 3\r\ncontent-length: 4"), HttpError::ContentLengthDuplicate, 400),
        (
            with("Content-Length: 3\r\nTransfer-Encoding: chunked"),
            HttpError::LengthAndEncoding,
            400,
        ),
        (with("Transfer-Encoding: x\r\nContent-Length: 0"), HttpError::LengthAndEncoding, 400),
        (
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
            HttpError::EncodingBeforeItsTime,
            400,
        ),
        (with("Content-Length: 101"), HttpError::BodyTooLarge, 413),
        (with("Expect: 100-continue\r\nContent-Length: 101"), HttpError::BodyTooLarge, 413),
        (with("Expect: 200-ok\r\nContent-Length: 1"), HttpError::ExpectationUnknown, 417),
        (with("Expect:"), HttpError::ExpectationUnknown, 417),
        (with("Transfer-Encoding: gzip, chunked"), HttpError::EncodingUnknown, 501),
        // Chunks.
        (chunked("\r\n"), HttpError::ChunkSizeInvalid, 400),
        (chunked(" 1\r\n"), HttpError::ChunkSizeInvalid, 400),
        (chunked("1 \r\n"), HttpError::ChunkSizeInvalid, 400),
        (chunked("0x1\r\n"), HttpError::ChunkSizeInvalid, 400),
        (chunked("+1\r\n"), HttpError::ChunkSizeInvalid, 400),
        (chunked("-1\r\n"), HttpError::ChunkSizeInvalid, 400),
        (chunked("1\n"), HttpError::ChunkSizeInvalid, 400),
        (chunked("1\rx"), HttpError::ChunkSizeInvalid, 400),
        (chunked(";a\r\n"), HttpError::ChunkSizeInvalid, 400),
        (chunked("00000000000000001\r\n"), HttpError::ChunkSizeInvalid, 400),
        (chunked("1;\r\n"), HttpError::ChunkExtensionInvalid, 400),
        (chunked("1; a\r\n"), HttpError::ChunkExtensionInvalid, 400),
        (chunked("1;a\n"), HttpError::ChunkExtensionInvalid, 400),
        (chunked("1;a =b\r\n"), HttpError::ChunkExtensionInvalid, 400),
        (chunked("1;a=\r\n"), HttpError::ChunkExtensionInvalid, 400),
        (chunked("1;a=b\n"), HttpError::ChunkExtensionInvalid, 400),
        (chunked("1;a=\"b\n"), HttpError::ChunkExtensionInvalid, 400),
        (chunked("1;a=\"b\\\r\n"), HttpError::ChunkExtensionInvalid, 400),
        (chunked("1;a=\"b\"c\r\n"), HttpError::ChunkExtensionInvalid, 400),
        (chunked("1;a\r\r"), HttpError::ChunkSizeInvalid, 400),
        (chunked("1\r\nxy"), HttpError::ChunkEndInvalid, 400),
        (chunked("1\r\nx\n"), HttpError::ChunkEndInvalid, 400),
        (chunked("1\r\nx\r\r"), HttpError::ChunkEndInvalid, 400),
        (chunked("65\r\n"), HttpError::BodyTooLarge, 413),
        (chunked("ffffffffffffffff\r\n"), HttpError::BodyTooLarge, 413),
        (chunked("0\r\n a: b\r\n"), HttpError::TrailerInvalid, 400),
        (chunked("0\r\na : b\r\n"), HttpError::TrailerInvalid, 400),
        (chunked("0\r\n: b\r\n"), HttpError::TrailerInvalid, 400),
        (chunked("0\r\na\r\n"), HttpError::TrailerInvalid, 400),
        (chunked("0\r\na: b\n"), HttpError::TrailerInvalid, 400),
        (chunked("0\r\na: b\rc"), HttpError::TrailerInvalid, 400),
        (chunked("0\r\na: \0\r\n"), HttpError::TrailerInvalid, 400),
        (chunked("0\r\n\n"), HttpError::TrailerInvalid, 400),
        (chunked("0\r\n\rx"), HttpError::TrailerInvalid, 400),
        (chunked("0\r\na:b\r\na:b\r\na:b\r\na:b\r\na:b"), HttpError::FieldsTooMany, 431),
        // Limits.
        (format!("GET /{} HTTP/1.1\r\n", "a".repeat(67)), HttpError::RequestLineTooLong, 414),
        ("G".repeat(82), HttpError::RequestLineTooLong, 414),
        (with(&format!("a: {}", "b".repeat(78))), HttpError::FieldTooLarge, 431),
        (chunked(&format!("0\r\na:{}", "b".repeat(79))), HttpError::FieldTooLarge, 431),
        (with("a:b\r\na:b\r\na:b\r\na:b"), HttpError::FieldsTooMany, 431),
    ];
    let extension = format!("1;{}\r\nx\r\n", "a".repeat(1023));
    cases.push((chunked(&(extension.repeat(4) + "1;")), HttpError::ChunkExtensionsTooLarge, 400));
    cases
}

/// Those that need larger limits than the table's.
fn large_refusals() -> Vec<(String, HttpError, u16, HttpLimits)> {
    let limits = HttpLimits { fields_max: 1000, field_size_max: 4000, ..limits() };
    let field = format!("a: {}\r\n", "b".repeat(990));
    let count = head_size_max(&limits) / field.len() + 1;
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{}", field.repeat(count));
    let trailer = format!("a:{}\r\n", "b".repeat(998));
    vec![
        (head, HttpError::HeadTooLarge, 431, limits),
        (
            chunked(&format!("0\r\n{}", trailer.repeat(17))),
            HttpError::TrailersTooLarge,
            431,
            limits,
        ),
        (
            chunked("1\r\nx\r\nffffffffffffffff\r\n"),
            HttpError::BodyTooLarge,
            413,
            HttpLimits { body_max: None, ..limits },
        ),
    ]
}

#[test]
fn every_refusal_has_its_reason_and_its_status() {
    let small =
        refusals().into_iter().map(|(input, error, status)| (input, error, status, limits()));
    let mut refused = HashSet::new();
    for (input, error, status, limits) in small.chain(large_refusals()) {
        let told = three_ways(input.as_bytes(), limits);
        assert_eq!(told.last(), Some(&Told::Refused(error)), "{input:?}");
        assert_eq!(error.status().as_u16(), status, "{input:?}");
        refused.insert(error);
    }
    for error in ALL {
        let elsewhere = matches!(error, HttpError::EndInHead | HttpError::EndInBody);
        assert!(refused.contains(&error) || elsewhere, "no case for {error:?}");
    }
}

#[test]
fn the_head_is_refused_before_its_body_is_seen() {
    let told = three_ways(with("Content-Length: 101").as_bytes(), limits());
    assert_eq!(told, [Told::Refused(HttpError::BodyTooLarge)]);
}

#[test]
fn every_explanation_is_one_line_of_visible_text() {
    for error in ALL {
        let text = error.to_string();
        assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text}");
    }
}

const ALL: [HttpError; 36] = [
    HttpError::NotHttp,
    HttpError::BareLineFeed,
    HttpError::BareCarriageReturn,
    HttpError::RequestLineInvalid,
    HttpError::MethodInvalid,
    HttpError::TargetInvalid,
    HttpError::TargetFragment,
    HttpError::ObsoleteFold,
    HttpError::FieldNameInvalid,
    HttpError::SpaceBeforeColon,
    HttpError::FieldValueInvalid,
    HttpError::HostMissing,
    HttpError::HostDuplicate,
    HttpError::HostInvalid,
    HttpError::ContentLengthInvalid,
    HttpError::ContentLengthOverflow,
    HttpError::ContentLengthDuplicate,
    HttpError::LengthAndEncoding,
    HttpError::EncodingBeforeItsTime,
    HttpError::ChunkSizeInvalid,
    HttpError::ChunkExtensionInvalid,
    HttpError::ChunkExtensionsTooLarge,
    HttpError::ChunkEndInvalid,
    HttpError::TrailerInvalid,
    HttpError::EndInHead,
    HttpError::EndInBody,
    HttpError::BodyTooLarge,
    HttpError::RequestLineTooLong,
    HttpError::ExpectationUnknown,
    HttpError::FieldTooLarge,
    HttpError::FieldsTooMany,
    HttpError::HeadTooLarge,
    HttpError::TrailersTooLarge,
    HttpError::EncodingUnknown,
    HttpError::ConnectNotImplemented,
    HttpError::VersionUnsupported,
];

#[test]
fn only_the_exact_encoding_is_known() {
    for value in [
        "",
        "identity",
        "gzip, chunked",
        "chunked, chunked",
        "chunked;a=b",
        "xchunked",
        "chunked x",
        "\"chunked\"",
        "chunked\r\nTransfer-Encoding: chunked",
        "x\r\nTransfer-Encoding: chunked",
    ] {
        let told = three_ways(with(&format!("Transfer-Encoding: {value}")).as_bytes(), limits());
        assert_eq!(told, [Told::Refused(HttpError::EncodingUnknown)], "{value:?}");
    }
}
