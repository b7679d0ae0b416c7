//! Lines as their readers see them, and hostile ones.

use std::ffi::OsString;
use std::time::UNIX_EPOCH;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderName;
use proptest::prelude::*;

use super::*;
use crate::config::{ATOMS, LOG_VALUE_SIZE_MAX, WantedFields};
use crate::ident::{Generation, Slot};
use crate::observe::sink::Stream;

/// Fields by their places.
#[derive(Default)]
struct Given {
    request: Vec<Option<Vec<u8>>>,
    response: Vec<Option<Vec<u8>>>,
}

impl FieldValues for Given {
    fn of_request(&self, place: usize) -> Option<&[u8]> {
        self.request.get(place)?.as_deref()
    }

    fn of_response(&self, place: usize) -> Option<&[u8]> {
        self.response.get(place)?.as_deref()
    }
}

impl Given {
    fn of(format: &AccessFormat, fields: &[(&str, &[u8])]) -> Self {
        let find = |name: &HeaderName| {
            let found = fields.iter().find(|(other, _)| *other == name.as_str());
            found.map(|(_, value)| value.to_vec())
        };
        let WantedFields { request, response } = format.fields();
        Given {
            request: request.iter().map(find).collect(),
            response: response.iter().map(find).collect(),
        }
    }
}

fn record(fields: &dyn FieldValues) -> AccessRecord<'_> {
    AccessRecord {
        peer: PeerAddress::Inet("192.0.2.7:4711".parse().unwrap()),
        time: UNIX_EPOCH + Duration::from_millis(1_795_510_330_045),
        request: Some(RequestLine {
            method: b"GET",
            target: b"/a?b=1",
            path: b"/a",
            query: Some(b"b=1"),
            version: Version::HTTP_11,
        }),
        status: StatusCode::OK,
        bytes: 19,
        complete: true,
        fields,
        request_id: None,
        worker: Incarnation { slot: Slot(3), generation: Generation(7) },
        queue_time: Some(Duration::from_micros(120)),
        duration: Duration::from_micros(12_034),
        parts: Some(Parts {
            receiving: Duration::from_micros(34),
            handling: Duration::from_millis(10),
            sending: Duration::from_millis(2),
        }),
    }
}

fn variable(name: &str) -> Option<OsString> {
    (name == "SITE").then(|| "one \"two\"".into())
}

/// The line of a form, about a record that `change` has changed.
fn line_with(
    format: &str,
    fields: &[(&str, &[u8])],
    change: impl FnOnce(&mut AccessRecord<'_>),
) -> String {
    let format = AccessFormat::parse(format).unwrap();
    let given = Given::of(&format, fields);
    let mut record = record(&given);
    change(&mut record);
    let mut out = Vec::new();
    Renderer::new(&format, 41, &variable).render(&record, &mut out);
    String::from_utf8(out).unwrap()
}

fn line(format: &str, fields: &[(&str, &[u8])]) -> String {
    line_with(format, fields, |_| ())
}

#[test]
fn a_line_is_the_combined_format_and_more() {
    let fields: [(&str, &[u8]); 1] = [("user-agent", b"curl/8.5")];
    let combined = "192.0.2.7 - - [24/Nov/2026:08:52:10 +0000] \"GET /a?b=1 HTTP/1.1\" 200 19 \
                    \"-\" \"curl/8.5\"";
    assert_eq!(line("combined", &fields), format!("{combined}\n"));
    assert_eq!(
        line("maitred", &fields),
        format!("{combined} worker=3 gen=7 queue=0.120ms time=12.034ms\n")
    );
    assert_eq!(
        line("common", &fields),
        "192.0.2.7 - - [24/Nov/2026:08:52:10 +0000] \"GET /a?b=1 HTTP/1.1\" 200 19\n"
    );
    let cut = line_with("maitred", &fields, |record| record.complete = false);
    assert!(cut.ends_with(" time=12.034ms cut-off\n"), "{cut}");
    let named = line_with("maitred", &fields, |record| record.request_id = Some(b"a\"b"));
    assert!(named.ends_with(" time=12.034ms request=\"a\\\"b\"\n"), "{named}");
    let named = line_with("%(request)s", &fields, |record| record.request_id = Some(b"7"));
    assert_eq!(named, "7\n");
}

#[test]
fn what_is_unknown_is_a_dash() {
    let bare = |record: &mut AccessRecord<'_>| {
        record.peer = PeerAddress::Local;
        record.request = None;
        record.status = StatusCode::BAD_REQUEST;
        record.bytes = 0;
        record.queue_time = None;
        record.parts = None;
    };
    assert_eq!(
        line_with("maitred", &[], bare),
        "unix: - - [24/Nov/2026:08:52:10 +0000] \"-\" 400 0 \"-\" \"-\" worker=3 gen=7 queue=- \
         time=12.034ms\n"
    );
    let unknown = "%(m)s%(U)s%(q)s%(H)s%(b)s%(port)s%(queue)s%(receiving)s%(handler)s%(sending)s\
                   %({x}i)s%({x}o)s%({NOT_SET}e)s";
    assert_eq!(line_with(unknown, &[], bare), "-------------\n");
}

#[test]
fn every_atom_of_gunicorns_says_what_it_says_there() {
    let fields: [(&str, &[u8]); 4] = [
        ("referer", b"http://b/"),
        ("user-agent", b"curl"),
        ("x-id", b"7"),
        ("content-type", b"text/plain"),
    ];
    for (template, expected) in [
        ("%(h)s %(l)s %(u)s", "192.0.2.7 - -"),
        ("%(t)s", "[24/Nov/2026:08:52:10 +0000]"),
        ("%(r)s", "GET /a?b=1 HTTP/1.1"),
        ("%(m)s %(U)s %(q)s %(H)s", "GET /a b=1 HTTP/1.1"),
        ("%(s)s %(B)s %(b)s", "200 19 19"),
        ("%(f)s %(a)s", "http://b/ curl"),
        ("%(T)s %(M)s %(D)s %(L)s", "0 12 12034 0.012034"),
        ("%(p)s", "<41>"),
        ("%({X-Id}i)s %({content-type}o)s", "7 text/plain"),
        ("%({REMOTE_ADDR}e)s %({HTTP_X_ID}e)s %({RAW_URI}e)s", "192.0.2.7 7 /a?b=1"),
        ("%({SITE}e)s", r#"one \"two\""#),
        ("%(worker)s %(generation)s %(pid)s %(port)s", "3 7 41 4711"),
        ("%(queue)s %(receiving)s", "0.000120 0.000034"),
        ("%(handler)s %(sending)s", "0.010000 0.002000"),
        ("%(time)s", "2026-11-24T08:52:10.045Z"),
        ("%%(s)s %%%(s)s", "%(s)s %200"),
    ] {
        assert_eq!(line(template, &fields), format!("{expected}\n"), "{template}");
    }
}

#[test]
fn an_object_has_the_same() {
    let fields: [(&str, &[u8]); 1] = [("user-agent", b"curl")];
    assert_eq!(
        line("json", &fields),
        "{\"time\":\"2026-11-24T08:52:10.045Z\",\"client\":\"192.0.2.7\",\"port\":4711,\
         \"user\":null,\"method\":\"GET\",\"path\":\"/a\",\"query\":\"b=1\",\
         \"version\":\"HTTP/1.1\",\"status\":200,\"bytes\":19,\"complete\":true,\"referer\":null,\
         \"user_agent\":\"curl\",\"request_id\":null,\"worker\":3,\"generation\":7,\"pid\":41,\
         \"queue\":0.000120,\
         \"duration\":0.012034,\"receiving\":0.000034,\"handler\":0.010000,\"sending\":0.002000}\n"
    );
}

#[test]
fn of_basic_authorization_the_name_alone_is_logged() {
    let basic = |pair: &[u8]| format!("Basic {}", STANDARD.encode(pair)).into_bytes();
    for (authorization, name) in [
        (basic(b"ann:secret"), "ann"),
        (basic(b"ann lee:secret:more"), r"ann\x20lee"),
        (basic("jürgen:secret".as_bytes()), r"j\xC3\xBCrgen"),
        ([b"bAsIc  ", &STANDARD.encode("ann:secret").into_bytes()[..]].concat(), "ann"),
        (basic(b":secret"), "-"),
        // Nobody knows what it is; it may be the secret.
        (basic(b"secret"), "-"),
        (basic(&[b'a'; 4000]), "-"),
        (b"Basic !".to_vec(), "-"),
        (b"Basic".to_vec(), "-"),
        (b"Bearer secret".to_vec(), "-"),
        (Vec::new(), "-"),
    ] {
        let line = line("%(u)s", &[("authorization", &authorization)]);
        assert_eq!(line, format!("{name}\n"), "{}", authorization.escape_ascii());
    }
}

#[test]
fn a_long_value_is_cut() {
    let agent = b"a".repeat(LOG_VALUE_SIZE_MAX + 1);
    for format in ["maitred", "json"] {
        let line = line(format, &[("user-agent", &agent)]);
        assert!(line.contains("aaa...\""), "{line}");
        assert!(line.len() < LOG_VALUE_SIZE_MAX + 400);
    }
    let whole = line("%(a)s", &[("user-agent", &agent[1..])]);
    assert_eq!(whole.len(), LOG_VALUE_SIZE_MAX + 1);
}

#[test]
fn hostile_bytes_stay_in_their_quotes() {
    let fields: [(&str, &[u8]); 2] =
        [("referer", b"\" 200 0 \"\\"), ("user-agent", b"\xff\x00\r\n127.0.0.1 - -")];
    let line = line_with("maitred", &fields, |record| {
        record.request = Some(RequestLine {
            method: b"G'ET",
            target: b"/\"x\x1b]0;owned\x07\n",
            path: b"/",
            query: None,
            version: Version::HTTP_10,
        });
    });
    assert_eq!(line.matches('\n').count(), 1);
    assert!(line.contains(r#""G'ET /\"x\x1B]0;owned\x07\x0A HTTP/1.0""#), "{line}");
    assert!(line.contains(r#""\" 200 0 \"\\" "\xFF\x00\x0D\x0A127.0.0.1 - -""#), "{line}");
}

#[test]
fn the_time_follows_the_clock() {
    let format = AccessFormat::parse("%(t)s %(time)s").unwrap();
    let given = Given::default();
    let mut renderer = Renderer::new(&format, 41, &variable);
    let mut out = Vec::new();
    for millisecond in [0, 7, 999, 1000, 61_000] {
        let time = UNIX_EPOCH + Duration::from_millis(millisecond);
        renderer.render(&AccessRecord { time, ..record(&given) }, &mut out);
    }
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "[01/Jan/1970:00:00:00 +0000] 1970-01-01T00:00:00.000Z\n\
         [01/Jan/1970:00:00:00 +0000] 1970-01-01T00:00:00.007Z\n\
         [01/Jan/1970:00:00:00 +0000] 1970-01-01T00:00:00.999Z\n\
         [01/Jan/1970:00:00:01 +0000] 1970-01-01T00:00:01.000Z\n\
         [01/Jan/1970:00:01:01 +0000] 1970-01-01T00:01:01.000Z\n"
    );
}

#[test]
fn lines_reach_their_sink() {
    let (mut reader, sink) = io::pipe().unwrap();
    let format = AccessFormat::default();
    let mut log = AccessLog::to_sink(&format, Box::new(Stream(sink))).unwrap();
    let given = Given::default();
    log.write(&record(&given));
    log.write(&record(&given));
    assert!(log.flush());
    assert_eq!(log.dropped(), 0);
    drop(log);
    let text = io::read_to_string(&mut reader).unwrap();
    assert_eq!(text, line("maitred", &[]).repeat(2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_bytes_come_a_line_is_a_line(bytes in any::<Vec<u8>>(), number in any::<u64>()) {
        let everything: String = ATOMS.iter().map(|(name, _)| format!("%({name})s ")).collect();
        for format in ["maitred", "common", "combined", "json", &everything] {
            let form = AccessFormat::parse(format).unwrap();
            let given = Given::of(&form, &[("referer", &bytes), ("user-agent", &bytes)]);
            let request = RequestLine {
                method: &bytes,
                target: &bytes,
                path: &bytes,
                query: Some(&bytes),
                version: Version::HTTP_11,
            };
            let record = AccessRecord {
                request: Some(request),
                bytes: number,
                duration: Duration::from_micros(number),
                ..record(&given)
            };
            let mut out = Vec::new();
            Renderer::new(&form, 41, &variable).render(&record, &mut out);
            let line = String::from_utf8(out).unwrap();
            prop_assert!(line.ends_with('\n') && !line.trim_end_matches('\n').contains('\n'));
            prop_assert!(!line.trim_end().chars().any(char::is_control), "{line:?}");
            if format == "json" {
                let read: serde_json::Value = serde_json::from_str(&line).unwrap();
                prop_assert_eq!(read["path"].as_str(), Some(&*String::from_utf8_lossy(&bytes)));
                prop_assert_eq!(read["bytes"].as_u64(), Some(number));
            }
        }
    }
}
