//! Responses: their framing, what they do to the connection, and all the ways to end one.
//!
//! Not here: what is read (`requests`).

use std::sync::Arc;

use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE as DATE_FIELD};
use http::header::{SERVER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::DATE;
use crate::config::{BODY_DRAIN_MAX, HttpLimits};
use crate::http::{
    Awaits, BodyLength, Connection, Event, Framing, HttpError, Next, ResponseError, error_response,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const HEAD: &str = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
const OLD: &str = "GET / HTTP/1.0\r\n\r\n";
const OLD_KEPT: &str = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
const EXPECTING: &str =
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";

/// A machine that has been handed these bytes, as far as it takes them, and the bytes left over.
fn after(input: &str) -> (Connection, Vec<u8>) {
    let mut connection = Connection::new(Arc::new(HttpLimits::default()));
    let rest = hand(&mut connection, input.as_bytes()).unwrap();
    (connection, rest)
}

fn hand(connection: &mut Connection, input: &[u8]) -> Result<Vec<u8>, HttpError> {
    let mut consumed = 0;
    loop {
        let (used, event) = connection.handle_bytes(&input[consumed..])?;
        connection.check_invariants();
        consumed += used;
        if matches!(event, Event::Partial | Event::Paused) {
            return Ok(input[consumed..].to_vec());
        }
    }
}

fn fields(list: &[(HeaderName, &'static str)]) -> HeaderMap {
    let pairs = list.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(name, value);
    }
    map
}

/// The head of a response to `request`, without its status line and Date, and its framing.
fn head(
    request: &str,
    status: u16,
    headers: &HeaderMap,
    body: BodyLength,
) -> Result<(Framing, String), ResponseError> {
    let (mut connection, _) = after(request);
    let mut out = Vec::new();
    let status = StatusCode::from_u16(status).unwrap();
    let outcome = connection.respond(status, headers, body, DATE, false, &mut out);
    connection.check_invariants();
    let framing = outcome.inspect_err(|_| {
        assert!(out.is_empty() && connection.is_response_owed(), "an error leaves no trace");
    })?;
    let text = String::from_utf8(out).unwrap();
    let (_, rest) = text.split_once("\r\n").unwrap();
    let rest = rest.replace(&format!("Date: {DATE}\r\n"), "");
    Ok((framing, rest.strip_suffix("\r\n").unwrap().to_owned()))
}

/// Sends an empty 200 and returns what becomes of the connection.
fn answer(connection: &mut Connection) -> Next {
    let headers = HeaderMap::new();
    let mut out = Vec::new();
    connection.respond(StatusCode::OK, &headers, BodyLength::None, DATE, false, &mut out).unwrap();
    assert_eq!(connection.next(), Next::Unfinished);
    connection.finish_response(&mut out).unwrap();
    connection.check_invariants();
    connection.next()
}

#[test]
fn framing_follows_request_status_and_length() {
    use BodyLength::{Known, None, Unknown};
    use Framing::{Chunked, Length, NoBody, UntilClose};
    let plain = HeaderMap::new();
    for (request, status, body, framing, text) in [
        (GET, 200, None, Length(0), "Content-Length: 0\r\n"),
        (GET, 200, Known(5), Length(5), "Content-Length: 5\r\n"),
        (GET, 200, Known(u64::MAX), Length(u64::MAX), "Content-Length: 18446744073709551615\r\n"),
        (GET, 404, Unknown, Chunked, "Transfer-Encoding: chunked\r\n"),
        (GET, 204, Known(5), NoBody, ""),
        (GET, 205, Unknown, NoBody, "Content-Length: 0\r\n"),
        (GET, 304, Known(5), NoBody, "Content-Length: 5\r\n"),
        (GET, 304, Known(0), NoBody, ""),
        (GET, 304, None, NoBody, ""),
        (HEAD, 200, None, NoBody, ""),
        (HEAD, 200, Known(5), NoBody, "Content-Length: 5\r\n"),
        (HEAD, 200, Known(0), NoBody, "Content-Length: 0\r\n"),
        (HEAD, 200, Unknown, NoBody, ""),
        (HEAD, 204, Unknown, NoBody, ""),
        (OLD, 200, Known(5), Length(5), "Content-Length: 5\r\nConnection: close\r\n"),
        (OLD, 200, Unknown, UntilClose, "Connection: close\r\n"),
        (OLD_KEPT, 200, Known(5), Length(5), "Content-Length: 5\r\nConnection: keep-alive\r\n"),
        (OLD_KEPT, 200, Unknown, UntilClose, "Connection: close\r\n"),
        (OLD_KEPT, 304, Unknown, NoBody, "Connection: keep-alive\r\n"),
    ] {
        let expected = Ok((framing, text.to_owned()));
        assert_eq!(head(request, status, &plain, body), expected, "{request:?} {status} {body:?}");
    }
}

#[test]
fn an_applications_length_is_checked() {
    let five = fields(&[(CONTENT_LENGTH, "5")]);
    let declared = Ok((Framing::Length(5), "Content-Length: 5\r\n".to_owned()));
    assert_eq!(head(GET, 200, &five, BodyLength::Known(5)), declared);
    assert_eq!(head(GET, 200, &five, BodyLength::Unknown), declared);
    let left_out = Ok((Framing::NoBody, "Content-Length: 5\r\n".to_owned()));
    assert_eq!(head(HEAD, 200, &five, BodyLength::None), left_out);
    assert_eq!(head(HEAD, 200, &five, BodyLength::Known(0)), left_out);
    assert_eq!(head(GET, 304, &five, BodyLength::None), left_out);
    assert_eq!(head(GET, 204, &five, BodyLength::None), Ok((Framing::NoBody, String::new())));

    let contradicts = |actual| Err(ResponseError::ContentLengthContradicts { declared: 5, actual });
    assert_eq!(head(GET, 200, &five, BodyLength::Known(4)), contradicts(4));
    assert_eq!(head(GET, 200, &five, BodyLength::None), contradicts(0));
    for values in [&["x"][..], &["+5"], &[""], &["-5"], &["5, 5"], &["5", "5"]] {
        let list: Vec<_> = values.iter().map(|value| (CONTENT_LENGTH, *value)).collect();
        let outcome = head(GET, 200, &fields(&list), BodyLength::Known(5));
        assert_eq!(outcome, Err(ResponseError::ContentLengthInvalid), "{values:?}");
    }
}

#[test]
fn fields_of_the_connection_are_the_servers() {
    let headers = fields(&[
        (CONTENT_TYPE, "text/plain"),
        (CONNECTION, "upgrade"),
        (TRANSFER_ENCODING, "gzip, chunked"),
        (UPGRADE, "x"),
        (HeaderName::from_static("keep-alive"), "timeout=5"),
        (HeaderName::from_static("proxy-connection"), "x"),
        (HeaderName::from_static("trailer"), "x"),
        (HeaderName::from_static("te"), "x"),
        (SERVER, "mine"),
    ]);
    let text = "Content-Length: 5\r\ncontent-type: text/plain\r\nserver: mine\r\n".to_owned();
    assert_eq!(head(GET, 200, &headers, BodyLength::Known(5)), Ok((Framing::Length(5), text)));

    let close = fields(&[(CONNECTION, "x, Close")]);
    let text = "Content-Length: 0\r\nConnection: close\r\n".to_owned();
    assert_eq!(head(GET, 200, &close, BodyLength::None), Ok((Framing::Length(0), text)));
}

#[test]
fn there_is_one_date() {
    let (mut connection, _) = after(GET);
    let headers = fields(&[(DATE_FIELD, "Mon, 07 Nov 1994 08:49:37 GMT")]);
    let mut out = Vec::new();
    let status = StatusCode::from_u16(299).unwrap();
    connection.respond(status, &headers, BodyLength::None, DATE, true, &mut out).unwrap();
    let text = "HTTP/1.1 299 \r\nContent-Length: 0\r\nConnection: close\r\n\
                date: Mon, 07 Nov 1994 08:49:37 GMT\r\n\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), text);
}

#[test]
fn interim_statuses_are_not_for_applications() {
    for status in [100, 101, 103] {
        let outcome = head(GET, status, &HeaderMap::new(), BodyLength::None);
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(outcome, Err(ResponseError::NotFinal(status)));
    }
}

#[test]
fn pieces_are_framed_around_the_shells_own_bytes() {
    let (mut connection, _) = after(GET);
    let mut out = Vec::new();
    let headers = HeaderMap::new();
    connection
        .respond(StatusCode::OK, &headers, BodyLength::Unknown, DATE, false, &mut out)
        .unwrap();
    out.clear();
    for (length, before, behind) in [
        (5, "5\r\n", "\r\n"),
        (0, "", ""),
        (0x10, "10\r\n", "\r\n"),
        (0xfed_cba9, "fedcba9\r\n", "\r\n"),
    ] {
        assert_eq!(connection.body_piece(length, &mut out), Ok(behind.as_bytes()));
        assert_eq!(String::from_utf8(std::mem::take(&mut out)).unwrap(), before);
    }
    connection.finish_response(&mut out).unwrap();
    assert_eq!(out, b"0\r\n\r\n");
    assert!(connection.is_idle());
}

#[test]
fn a_declared_length_is_held_to() {
    let begin = |body| {
        let (mut connection, _) = after(GET);
        let headers = HeaderMap::new();
        connection.respond(StatusCode::OK, &headers, body, DATE, false, &mut Vec::new()).unwrap();
        connection
    };
    let mut out = Vec::new();
    let mut connection = begin(BodyLength::Known(5));
    assert_eq!(connection.body_piece(3, &mut out), Ok(&b""[..]));
    let short = Err(ResponseError::BodyTooShort { missing: 2 });
    assert_eq!(connection.finish_response(&mut out), short);
    let long = Err(ResponseError::BodyTooLong { excess: 1 });
    assert_eq!(connection.body_piece(3, &mut out), long);
    assert_eq!(connection.body_piece(2, &mut out), Ok(&b""[..]));
    assert_eq!(connection.finish_response(&mut out), Ok(()));
    assert!(out.is_empty(), "a body of known length has nothing around it");
    let mut connection = begin(BodyLength::None);
    assert_eq!(connection.body_piece(1, &mut out), long);
    let (mut connection, _) = after(HEAD);
    let headers = HeaderMap::new();
    let unknown = BodyLength::Unknown;
    connection.respond(StatusCode::OK, &headers, unknown, DATE, false, &mut out).unwrap();
    assert_eq!(connection.body_piece(1, &mut out), long, "HEAD has no body");
}

#[test]
fn calls_out_of_order_are_errors() {
    let mut connection = Connection::new(Arc::new(HttpLimits::default()));
    let mut out = Vec::new();
    let headers = HeaderMap::new();
    let none = BodyLength::None;
    let mut respond = |connection: &mut Connection| {
        connection.respond(StatusCode::OK, &headers, none, DATE, false, &mut out)
    };
    assert_eq!(respond(&mut connection), Err(ResponseError::NotOwed));
    hand(&mut connection, GET.as_bytes()).unwrap();
    assert_eq!(connection.body_piece(0, &mut Vec::new()), Err(ResponseError::NotBegun));
    assert_eq!(connection.finish_response(&mut Vec::new()), Err(ResponseError::NotBegun));
    assert!(respond(&mut connection).is_ok());
    assert_eq!(respond(&mut connection), Err(ResponseError::NotOwed));
    assert!(!connection.refuse(
        StatusCode::INTERNAL_SERVER_ERROR,
        "",
        &headers,
        DATE,
        &mut Vec::new()
    ));
}

#[test]
fn the_connection_goes_on_only_if_both_sides_would() {
    for (request, next) in [
        (GET, Next::KeepAlive),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", Next::Close),
        (OLD, Next::Close),
        (OLD_KEPT, Next::KeepAlive),
    ] {
        assert_eq!(answer(&mut after(request).0), next, "{request:?}");
    }
    let (mut connection, _) = after(GET);
    let headers = HeaderMap::new();
    let (none, mut out) = (BodyLength::None, Vec::new());
    connection.respond(StatusCode::OK, &headers, none, DATE, true, &mut out).unwrap();
    connection.finish_response(&mut out).unwrap();
    assert_eq!(connection.next(), Next::Close);
    // What comes behind it is thrown away, and makes a plain close unsafe.
    assert!(matches!(connection.handle_bytes(GET.as_bytes()), Ok((27, Event::Partial))));
    assert_eq!(connection.next(), Next::CloseAfterDrain);
    let two = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n{GET}");
    assert_eq!(answer(&mut after(&two).0), Next::CloseAfterDrain);
}

#[test]
fn the_rest_of_a_body_is_drained_if_it_is_small() {
    let (mut connection, _) = after(&(POST.to_owned() + "he"));
    assert_eq!(answer(&mut connection), Next::KeepAlive);
    assert_eq!(connection.awaits(), Awaits::Body);
    assert!(!connection.is_idle());
    assert!(matches!(connection.handle_bytes(b"l"), Ok((1, Event::Partial))));
    let (used, event) =
        connection.handle_bytes(b"lo\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(used, 31);
    assert!(matches!(event, Event::Head(_, _)), "the next request, and nothing of the old one");

    for (length, next) in
        [(BODY_DRAIN_MAX, Next::KeepAlive), (BODY_DRAIN_MAX + 1, Next::CloseAfterDrain)]
    {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        assert_eq!(answer(&mut after(&request).0), next);
    }
    let (mut connection, _) = after(CHUNKED);
    assert_eq!(answer(&mut connection), Next::CloseAfterDrain);
    assert!(matches!(connection.handle_bytes(b"anything"), Ok((8, Event::Partial))));
}

#[test]
fn a_response_may_run_ahead_of_its_request() {
    let (mut connection, _) = after(&(CHUNKED.to_owned() + "2\r\nhe"));
    let headers = HeaderMap::new();
    let (length, mut out) = (BodyLength::Known(5), Vec::new());
    connection.respond(StatusCode::OK, &headers, length, DATE, false, &mut out).unwrap();
    connection.body_piece(2, &mut out).unwrap();
    assert_eq!(connection.awaits(), Awaits::Body);
    hand(&mut connection, b"\r\n3\r\nllo\r\n0\r\n\r\n").unwrap();
    connection.body_piece(3, &mut out).unwrap();
    assert_eq!(connection.awaits(), Awaits::Nothing);
    connection.finish_response(&mut out).unwrap();
    assert_eq!(connection.next(), Next::KeepAlive);
    assert!(connection.is_idle());
}

#[test]
fn a_response_before_the_end_was_told_ends_the_request_too() {
    let mut connection = Connection::new(Arc::new(HttpLimits::default()));
    assert!(matches!(connection.handle_bytes(GET.as_bytes()), Ok((27, Event::Head(_, _)))));
    assert_eq!(answer(&mut connection), Next::KeepAlive);
    assert!(connection.is_idle());
    assert!(matches!(connection.handle_bytes(b""), Ok((0, Event::Partial))));
}

#[test]
fn who_waits_for_100_is_told_once() {
    let mut out = Vec::new();
    let (mut connection, _) = after(EXPECTING);
    assert!(connection.respond_continue(&mut out));
    assert!(!connection.respond_continue(&mut out));
    assert_eq!(out, b"HTTP/1.1 100 Continue\r\n\r\n");
    hand(&mut connection, b"hello").unwrap();
    assert_eq!(answer(&mut connection), Next::KeepAlive);
    // It did not wait.
    let (mut connection, _) = after(&(EXPECTING.to_owned() + "h"));
    assert!(!connection.respond_continue(&mut out));
    // It did not ask.
    let (mut connection, _) = after(POST);
    assert!(!connection.respond_continue(&mut out));
    // The response has begun.
    let (mut connection, _) = after(EXPECTING);
    let headers = HeaderMap::new();
    let none = BodyLength::None;
    connection.respond(StatusCode::OK, &headers, none, DATE, false, &mut out).unwrap();
    assert!(!connection.respond_continue(&mut out));
    assert!(String::from_utf8(out).unwrap().contains("Connection: close\r\n"));
    // It was never told: whether it now sends the body, nobody can tell.
    connection.finish_response(&mut Vec::new()).unwrap();
    assert_eq!(connection.next(), Next::CloseAfterDrain);
}

#[test]
fn the_end_of_the_input_is_orderly_between_requests() {
    for (input, outcome, next) in [
        ("", Ok(()), Next::Close),
        ("\r\n", Ok(()), Next::Close),
        ("\r", Err(HttpError::EndInHead), Next::Close),
        ("GET / HT", Err(HttpError::EndInHead), Next::Close),
        (POST, Err(HttpError::EndInBody), Next::Unfinished),
        (CHUNKED, Err(HttpError::EndInBody), Next::Unfinished),
        (GET, Ok(()), Next::Unfinished),
    ] {
        let (mut connection, _) = after(input);
        assert_eq!(connection.handle_eof(), outcome, "{input:?}");
        connection.check_invariants();
        assert_eq!(connection.next(), next, "{input:?}");
        assert!(!connection.is_idle());
        assert_eq!(connection.awaits(), Awaits::Nothing);
        if next == Next::Unfinished {
            assert_eq!(answer(&mut connection), Next::Close, "{input:?}");
        }
    }
    let (mut connection, _) = after(POST);
    answer(&mut connection);
    assert_eq!(connection.handle_eof(), Ok(()), "nobody waits for what is drained");
    assert_eq!(connection.next(), Next::Close);
}

#[test]
fn a_refusal_ends_the_connection() {
    let mut connection = Connection::new(Arc::new(HttpLimits::default()));
    let error = hand(&mut connection, b"\x16\x03\x01").unwrap_err();
    let mut out = Vec::new();
    let headers = fields(&[(HeaderName::from_static("x-request-id"), "7")]);
    assert!(connection.refuse(error.status(), &error.to_string(), &headers, DATE, &mut out));
    assert_eq!(
        String::from_utf8(out).unwrap(),
        format!(
            "HTTP/1.1 400 Bad Request\r\nDate: {DATE}\r\nContent-Length: 63\r\n\
             Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\
             x-request-id: 7\r\n\r\n\
             400 Bad Request: the first byte cannot begin an HTTP/1 request\n"
        )
    );
    assert_eq!(connection.next(), Next::CloseAfterDrain);
    assert!(!connection.refuse(error.status(), "", &headers, DATE, &mut Vec::new()), "once");
}

#[test]
fn a_refusal_fits_where_the_connection_is() {
    let refuse = |input: &str| {
        let (mut connection, _) = after(input);
        let mut out = Vec::new();
        let none = HeaderMap::new();
        assert!(connection.refuse(StatusCode::REQUEST_TIMEOUT, "", &none, DATE, &mut out));
        connection.check_invariants();
        (connection.next(), out.ends_with(b"408 Request Timeout\n"))
    };
    assert_eq!(refuse("GET / HT"), (Next::CloseAfterDrain, true));
    assert_eq!(refuse(POST), (Next::CloseAfterDrain, true));
    assert_eq!(refuse(GET), (Next::Close, true));
    assert_eq!(refuse(HEAD), (Next::Close, false));
}

#[test]
fn a_body_that_is_refused_may_still_be_answered() {
    let (mut connection, _) = after(CHUNKED);
    assert_eq!(hand(&mut connection, b"x").unwrap_err(), HttpError::ChunkSizeInvalid);
    connection.check_invariants();
    assert!(connection.is_response_owed());
    assert_eq!(answer(&mut connection), Next::CloseAfterDrain);
}

#[test]
fn an_error_response_without_a_body_keeps_its_length() {
    let (mut with, mut without, none) = (Vec::new(), Vec::new(), HeaderMap::new());
    error_response(StatusCode::SERVICE_UNAVAILABLE, "busy", &none, DATE, false, &mut with);
    error_response(StatusCode::SERVICE_UNAVAILABLE, "busy", &none, DATE, true, &mut without);
    without.extend_from_slice(b"503 Service Unavailable: busy\n");
    assert_eq!(with, without);
}
