//! Fuzz target: any bytes, as the beginning of a connection.
//!
//! Nothing panics, pieces do not matter, and whatever head is accepted stands a second reading, by
//! a checker that is written for plainness and shares no code with the parser. So what the parser
//! lets pass that RFC 9112 forbids is found, which a crash alone would never show.
//!
//! Not here: what follows a chunked head (`chunked_body`).

use maitred::config::HttpLimits;
use maitred::http::BodyKind;

use crate::drive::{Request, Transcript};

/// Runs the target on one input. Panics if what it promises does not hold.
pub(crate) fn run(data: &[u8]) {
    // Small limits: inputs are short, and the limits are to be reached.
    let limits = HttpLimits {
        request_line_max: 120,
        fields_max: 12,
        field_size_max: 120,
        body_max: Some(1000),
        ..HttpLimits::default()
    };
    let transcript = Transcript::in_pieces(data, limits);
    let mut start = 0;
    for request in &transcript.requests {
        check_head(&data[start..request.head_end], request);
        let Some(end) = request.end else { break };
        if let BodyKind::Length(length) = request.kind {
            assert_eq!(request.body, data[request.head_end..end], "the body is what was sent");
            assert_eq!(request.body.len() as u64, length, "and as long as was said");
        }
        start = end;
    }
}

/// Reads an accepted head again.
fn check_head(bytes: &[u8], request: &Request) {
    let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
    let text = text.strip_prefix("\r\n").unwrap_or(&text);
    let text = text.strip_suffix("\r\n\r\n").expect("a head ends in an empty line");
    let lines: Vec<&str> = text.split("\r\n").collect();
    for line in &lines {
        assert!(!line.is_empty() && !line.contains(['\r', '\n', '\0']), "{line:?}");
    }

    let parts: Vec<&str> = lines[0].split(' ').collect();
    let [method, target, version] = parts[..] else { panic!("{:?}", lines[0]) };
    assert!(is_token(method) && method != "CONNECT", "{method:?}");
    assert!(target.chars().all(|char| ('!'..='~').contains(&char) && char != '#'), "{target:?}");
    assert!(["HTTP/1.0", "HTTP/1.1"].contains(&version), "{version:?}");
    assert_eq!(request.head.method.as_str(), method);
    assert_eq!(request.head.target.as_str(), target);
    assert!(target.starts_with('/') || target == "*" || request.head.target.authority().is_some());

    let fields: Vec<(String, &str)> = lines[1..]
        .iter()
        .map(|line| {
            let (name, value) = line.split_once(':').expect("a field has a colon");
            assert!(is_token(name), "{name:?}");
            let is_text = |char: char| char == '\t' || (' '..'\x7f').contains(&char);
            assert!(value.chars().all(|char| is_text(char) || char >= '\u{80}'), "{value:?}");
            (name.to_ascii_lowercase(), value.trim_matches([' ', '\t']))
        })
        .collect();
    let values = |wanted: &str| -> Vec<&str> {
        fields.iter().filter(|(name, _)| name == wanted).map(|(_, value)| *value).collect()
    };

    let hosts = values("host");
    match &hosts[..] {
        [host] => {
            let is_foreign = |char| " \t/?#@\\".contains(char);
            assert!(!host.is_empty() && !host.contains(is_foreign), "{host:?}");
        }
        [] => assert_eq!(version, "HTTP/1.0", "HTTP/1.1 has a Host"),
        [..] => panic!("{hosts:?}"),
    }
    // An absolute target brings its Host along.
    let brought = usize::from(hosts.is_empty() && request.head.target.authority().is_some());
    assert_eq!(request.head.headers.len(), fields.len() + brought, "no field is lost");

    let kind = match (&values("content-length")[..], &values("transfer-encoding")[..]) {
        ([], []) => BodyKind::None,
        ([length], []) => {
            assert!(length.chars().all(|char| char.is_ascii_digit()), "{length:?}");
            match length.parse().expect("digits that fit") {
                0 => BodyKind::None,
                length => BodyKind::Length(length),
            }
        }
        ([], [encoding]) => {
            assert!(encoding.eq_ignore_ascii_case("chunked"), "{encoding:?}");
            assert_eq!(version, "HTTP/1.1");
            BodyKind::Chunked
        }
        both => panic!("{both:?}"),
    };
    assert_eq!(request.kind, kind);
}

fn is_token(text: &str) -> bool {
    let is_mark = |char| "!#$%&'*+-.^_`|~".contains(char);
    !text.is_empty() && text.chars().all(|char| char.is_ascii_alphanumeric() || is_mark(char))
}
