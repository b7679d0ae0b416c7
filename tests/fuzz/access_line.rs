//! Lines of the access log from any bytes, read back by strict readers.
//!
//! The input is cut into method, target, fields and numbers; each form's line is then read by a
//! reader of its own, written a second time here: what it finds must be what was put in, escaped as
//! docs/logging.md says. The form itself is fuzzed too: the input as a template.

use std::net::SocketAddr;
use std::time::{Duration, UNIX_EPOCH};

use http::{StatusCode, Version};
use maitred::config::AccessFormat;
use maitred::ident::{Generation, Incarnation, PeerAddress, Slot};
use maitred::observe::access::{AccessRecord, FieldValues, Parts, Renderer, RequestLine};

/// Request fields that every form keeps: authorization, referer, user-agent.
struct Fields<'a>([Option<&'a [u8]>; 3]);

impl FieldValues for Fields<'_> {
    fn of_request(&self, place: usize) -> Option<&[u8]> {
        self.0.get(place).copied().flatten()
    }

    fn of_response(&self, place: usize) -> Option<&[u8]> {
        self.0.get(place).copied().flatten()
    }
}

pub(crate) fn run(input: &[u8]) {
    let mut parts = input.split(|byte| *byte == b'\n');
    let mut part = || parts.next().unwrap_or_default();
    let (method, path, query) = (part(), part(), part());
    let fields = Fields([Some(part()), Some(part()), Some(part())]);
    let rest: Vec<u8> = parts.clone().flatten().copied().collect();
    let number = rest.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(257) + u64::from(*byte));
    let target = [path, b"?", query].concat();
    let is_odd = number % 2 == 1;
    let inet = PeerAddress::Inet(SocketAddr::from(([192, 0, 2, 7], number as u16)));
    let record = AccessRecord {
        peer: if is_odd { PeerAddress::Local } else { inet },
        time: UNIX_EPOCH + Duration::from_millis(number % 4_102_444_800_000),
        request: (number % 3 > 0).then_some(RequestLine {
            method,
            target: &target,
            path,
            query: Some(query),
            version: Version::HTTP_11,
        }),
        status: StatusCode::from_u16(100 + (number % 900) as u16).unwrap_or(StatusCode::OK),
        bytes: number,
        complete: !is_odd,
        fields: &fields,
        request_id: None,
        worker: Incarnation { slot: Slot(number as u16), generation: Generation(number as u32) },
        queue_time: is_odd.then_some(Duration::from_nanos(number)),
        duration: Duration::from_nanos(number),
        parts: is_odd.then_some(Parts {
            receiving: Duration::from_nanos(number),
            handling: Duration::ZERO,
            sending: Duration::MAX,
        }),
    };
    check_quoted("common", &record, 2);
    check_quoted("combined", &record, 6);
    check_quoted("maitred", &record, 6);
    check_object(&record);
    if let Ok(template) = std::str::from_utf8(input)
        && let Ok(format) = AccessFormat::parse(template)
    {
        check_one_line(&render(&format, &record));
    }
}

fn render(format: &AccessFormat, record: &AccessRecord<'_>) -> Vec<u8> {
    let mut line = Vec::new();
    Renderer::new(format, 41, &|_| None).render(record, &mut line);
    line
}

fn check_one_line(line: &[u8]) {
    assert!(line.ends_with(b"\n"), "no end");
    let text = std::str::from_utf8(&line[..line.len() - 1]).expect("a line is text");
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

/// A line of the common log format: host, ident, user, `[time]`, `"request"`, status, bytes; then
/// quoted fields, then what is this server's own.
fn check_quoted(name: &str, record: &AccessRecord<'_>, quotes: usize) {
    let line = render(&AccessFormat::parse(name).expect("a name"), record);
    check_one_line(&line);
    let line = std::str::from_utf8(&line[..line.len() - 1]).expect("a line is text");
    let unescaped_quotes = without_escapes(line).matches('"').count();
    assert_eq!(unescaped_quotes, quotes, "{line}");
    let (front, rest) = line.split_once(" [").expect("a time");
    assert_eq!(front.split(' ').count(), 3, "{front}");
    let (time, rest) = rest.split_once("] \"").expect("the end of the time");
    assert_eq!(time.len(), "24/Nov/2026:08:52:10 +0000".len(), "{time}");
    let (request, rest) = quoted(rest);
    let expected = record.request.map(|request| {
        let target = &request.target[..request.target.len().min(4096)];
        let method = &request.method[..request.method.len().min(4096)];
        [method, b" ", target, b" HTTP/1.1"].concat()
    });
    assert_eq!(request, expected.unwrap_or(b"-".to_vec()), "{line}");
    let rest = rest.strip_prefix(' ').expect("a blank behind the request");
    let mut numbers = rest.splitn(3, ' ');
    let mut number = || numbers.next().and_then(|number| number.parse::<u64>().ok());
    assert_eq!(number(), Some(record.status.as_u16().into()), "{line}");
    assert_eq!(number(), Some(record.bytes), "{line}");
    if quotes == 6 {
        let rest = numbers.next().and_then(|rest| rest.strip_prefix('"')).expect("a referer");
        let (referer, rest) = quoted(rest);
        let (agent, _) = quoted(rest.strip_prefix(" \"").expect("a user agent"));
        for (found, place) in [(referer, 1), (agent, 2)] {
            let value = record.fields.of_request(place).unwrap_or(b"-");
            assert_eq!(found, value[..value.len().min(4096)], "{line}");
        }
    }
}

fn without_escapes(line: &str) -> String {
    line.replace("\\\\", "").replace("\\\"", "")
}

/// Undoes the escapes up to the closing quote; and what follows that.
fn quoted(text: &str) -> (Vec<u8>, &str) {
    let bytes = text.as_bytes();
    let (mut value, mut at) = (Vec::new(), 0);
    loop {
        match bytes[at] {
            b'"' => return (value, &text[at + 1..]),
            b'\\' if bytes[at + 1] == b'x' => {
                let digits = &text[at + 2..at + 4];
                assert!(digits.bytes().all(|digit| b"0123456789ABCDEF".contains(&digit)), "{text}");
                value.push(u8::from_str_radix(digits, 16).expect("two digits"));
                at += 4;
            }
            b'\\' => {
                assert!(b"\"\\".contains(&bytes[at + 1]), "{text}");
                value.push(bytes[at + 1]);
                at += 2;
            }
            plain => {
                assert!((b' '..=b'~').contains(&plain), "{text}");
                value.push(plain);
                at += 1;
            }
        }
    }
}

fn check_object(record: &AccessRecord<'_>) {
    let line = render(&AccessFormat::parse("json").expect("a name"), record);
    check_one_line(&line);
    let read: serde_json::Value = serde_json::from_slice(&line).expect("a JSON object");
    let text = |key: &str| read[key].as_str().map(str::to_owned);
    let lossy = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    assert_eq!(text("path"), record.request.map(|request| lossy(request.path)));
    assert_eq!(text("query"), record.request.and_then(|request| request.query).map(lossy));
    assert_eq!(text("referer"), record.fields.of_request(1).map(lossy));
    assert_eq!(text("user_agent"), record.fields.of_request(2).map(lossy));
    assert_eq!(read["status"].as_u64(), Some(record.status.as_u16().into()));
    assert_eq!(read["bytes"].as_u64(), Some(record.bytes));
    assert_eq!(read["complete"].as_bool(), Some(record.complete));
    assert_eq!(read["queue"].is_null(), record.queue_time.is_none());
    assert_eq!(read["handler"].is_null(), record.parts.is_none());
    let keys = read.as_object().map_or(0, serde_json::Map::len);
    assert_eq!(keys, 22, "{read}");
}
