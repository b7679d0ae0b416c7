//! A record as a line: text and atoms, or an object, into a buffer that is used again.
//!
//! Nothing is allocated for a line, and what changes once a second (the time) is made once a second.
//! Everything that the client or the application chose is cut at [`LOG_VALUE_SIZE_MAX`] and escaped.
//!
//! Not here: what atoms there are (`config::access_format`), where lines go (`access`).

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::ffi::OsStringExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Version;

use crate::config::{
    AccessFormat, Atom, Escaping, Form, LOG_USER_SIZE_MAX, LOG_VALUE_SIZE_MAX, Piece, WantedFields,
};
use crate::ident::PeerAddress;
use crate::observe::access::{AccessRecord, RequestLine};
use crate::observe::calendar::{CommonLog, Rfc3339Seconds, Utc};
use crate::observe::escape;

/// Makes lines of records, in one form.
#[derive(Clone, Debug)]
pub struct Renderer {
    form: Form,
    pid: u32,
    second: Second,
}

/// The texts of one second.
#[derive(Clone, Debug, Default)]
struct Second {
    since_1970: Option<u64>,
    common: String,
    rfc3339: String,
}

impl Renderer {
    /// For this form, this process, and these variables of the environment.
    pub fn new(
        format: &AccessFormat,
        pid: u32,
        variable: &dyn Fn(&str) -> Option<OsString>,
    ) -> Self {
        let form = match format.form() {
            Form::Json => Form::Json,
            Form::Template(pieces, escaping) => {
                let pieces = pieces.iter().map(|piece| match piece {
                    Piece::Atom(Atom::Variable(name)) => {
                        let value = variable(name).map_or(b"-".to_vec(), OsString::into_vec);
                        let mut text = Vec::new();
                        put_value(Some(&value), *escaping, &mut text);
                        Piece::Text(String::from_utf8_lossy(&text).into_owned())
                    }
                    Piece::Atom(_) | Piece::Text(_) => piece.clone(),
                });
                Form::Template(pieces.collect(), *escaping)
            }
        };
        Renderer { form, pid, second: Second::default() }
    }

    /// Appends the line, with its newline.
    pub fn render(&mut self, record: &AccessRecord<'_>, out: &mut Vec<u8>) {
        self.second.is(record.time);
        match &self.form {
            Form::Json => self.object(record, out),
            Form::Template(pieces, escaping) => {
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                        Piece::Atom(atom) => self.atom(atom, *escaping, record, out),
                    }
                }
            }
        }
        out.push(b'\n');
    }

    fn atom(&self, atom: &Atom, escaping: Escaping, record: &AccessRecord<'_>, out: &mut Vec<u8>) {
        let request = record.request.as_ref();
        match atom {
            Atom::Client => put_client(record.peer, out),
            Atom::Port => match record.peer {
                PeerAddress::Inet(address) => put_number(address.port().into(), out),
                PeerAddress::Local => out.push(b'-'),
            },
            Atom::Dash => out.push(b'-'),
            Atom::User => put_user(record, escaping, out),
            Atom::CommonTime => out.extend_from_slice(self.second.common.as_bytes()),
            Atom::Time => self.put_time(record.time, out),
            Atom::RequestLine => put_request_line(request, escaping, out),
            Atom::Method => put_value(request.map(|line| line.method), escaping, out),
            Atom::Path => put_value(request.map(|line| line.path), escaping, out),
            Atom::Query => {
                let query = request.map(|line| line.query.unwrap_or_default());
                put_value(query, escaping, out);
            }
            Atom::Target => put_value(request.map(|line| line.target), escaping, out),
            Atom::Version => put_version(request, out),
            Atom::Status => put_number(record.status.as_u16().into(), out),
            Atom::Bytes => put_number(record.bytes, out),
            Atom::BytesOrDash if record.bytes == 0 => out.push(b'-'),
            Atom::BytesOrDash => put_number(record.bytes, out),
            Atom::Referer => {
                put_value(record.fields.of_request(WantedFields::REFERER), escaping, out);
            }
            Atom::UserAgent => {
                put_value(record.fields.of_request(WantedFields::USER_AGENT), escaping, out);
            }
            Atom::Seconds => put_number(record.duration.as_secs(), out),
            Atom::Milliseconds => put_number(record.duration.as_millis() as u64, out),
            Atom::Microseconds => put_number(record.duration.as_micros() as u64, out),
            Atom::DecimalSeconds => put_seconds(record.duration, out),
            Atom::PidInBrackets => {
                out.push(b'<');
                put_number(self.pid.into(), out);
                out.push(b'>');
            }
            Atom::Pid => put_number(self.pid.into(), out),
            Atom::Worker => put_number(record.worker.slot.0.into(), out),
            Atom::Generation => put_number(record.worker.generation.0.into(), out),
            Atom::Queue => put_seconds_or(record.queue_time, b"-", out),
            Atom::QueueMilliseconds => match record.queue_time {
                Some(time) => put_milliseconds(time, out),
                None => out.push(b'-'),
            },
            Atom::TimeMilliseconds => put_milliseconds(record.duration, out),
            Atom::RequestId => put_value(record.request_id, escaping, out),
            Atom::NamedRequestId => {
                if record.request_id.is_some() {
                    out.extend_from_slice(b" request=\"");
                    put_value(record.request_id, escaping, out);
                    out.push(b'"');
                }
            }
            Atom::CutOff if record.complete => {}
            Atom::CutOff => out.extend_from_slice(b" cut-off"),
            Atom::Receiving => {
                put_seconds_or(record.parts.map(|parts| parts.receiving), b"-", out);
            }
            Atom::Handling => put_seconds_or(record.parts.map(|parts| parts.handling), b"-", out),
            Atom::Sending => put_seconds_or(record.parts.map(|parts| parts.sending), b"-", out),
            Atom::RequestField(place) => put_value(record.fields.of_request(*place), escaping, out),
            Atom::ResponseField(place) => {
                put_value(record.fields.of_response(*place), escaping, out);
            }
            // Variables were put in when the form was taken over.
            Atom::Variable(_) => out.push(b'-'),
        }
    }

    fn object(&self, record: &AccessRecord<'_>, out: &mut Vec<u8>) {
        let json = Escaping::Json;
        out.extend_from_slice(b"{\"time\":\"");
        self.put_time(record.time, out);
        out.extend_from_slice(b"\",\"client\":\"");
        put_client(record.peer, out);
        out.extend_from_slice(b"\",\"port\":");
        match record.peer {
            PeerAddress::Inet(address) => put_number(address.port().into(), out),
            PeerAddress::Local => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"user\":");
        let mut decoded = [0; LOG_USER_SIZE_MAX];
        put_string(user(record, &mut decoded), out);
        let request = record.request.as_ref();
        out.extend_from_slice(b",\"method\":");
        put_string(request.map(|line| line.method), out);
        out.extend_from_slice(b",\"path\":");
        put_string(request.map(|line| line.path), out);
        out.extend_from_slice(b",\"query\":");
        put_string(request.and_then(|line| line.query), out);
        out.extend_from_slice(b",\"version\":");
        match request {
            Some(_) => {
                out.push(b'"');
                put_version(request, out);
                out.push(b'"');
            }
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"status\":");
        put_number(record.status.as_u16().into(), out);
        out.extend_from_slice(b",\"bytes\":");
        put_number(record.bytes, out);
        out.extend_from_slice(match record.complete {
            true => b",\"complete\":true,\"referer\":".as_slice(),
            false => b",\"complete\":false,\"referer\":",
        });
        put_string(record.fields.of_request(WantedFields::REFERER), out);
        out.extend_from_slice(b",\"user_agent\":");
        put_string(record.fields.of_request(WantedFields::USER_AGENT), out);
        out.extend_from_slice(b",\"request_id\":");
        put_string(record.request_id, out);
        out.extend_from_slice(b",\"worker\":");
        self.atom(&Atom::Worker, json, record, out);
        out.extend_from_slice(b",\"generation\":");
        self.atom(&Atom::Generation, json, record, out);
        out.extend_from_slice(b",\"pid\":");
        put_number(self.pid.into(), out);
        out.extend_from_slice(b",\"queue\":");
        put_seconds_or(record.queue_time, b"null", out);
        out.extend_from_slice(b",\"duration\":");
        put_seconds(record.duration, out);
        for (name, part) in [
            (&b",\"receiving\":"[..], record.parts.map(|parts| parts.receiving)),
            (b",\"handler\":", record.parts.map(|parts| parts.handling)),
            (b",\"sending\":", record.parts.map(|parts| parts.sending)),
        ] {
            out.extend_from_slice(name);
            put_seconds_or(part, b"null", out);
        }
        out.push(b'}');
    }

    fn put_time(&self, time: SystemTime, out: &mut Vec<u8>) {
        let millisecond = time.duration_since(UNIX_EPOCH).unwrap_or_default().subsec_millis();
        out.extend_from_slice(self.second.rfc3339.as_bytes());
        out.push(b'.');
        put_padded(millisecond.into(), 3, out);
        out.push(b'Z');
    }
}

impl Second {
    /// Makes it the second of this time.
    fn is(&mut self, time: SystemTime) {
        let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if self.since_1970 == Some(since_1970) {
            return;
        }
        self.since_1970 = Some(since_1970);
        let utc = Utc::from(time);
        self.common.clear();
        self.rfc3339.clear();
        // Writing to a String cannot fail.
        let _ = write!(self.common, "[{}]", CommonLog(utc));
        let _ = write!(self.rfc3339, "{}", Rfc3339Seconds(utc));
    }
}

fn put_value(value: Option<&[u8]>, escaping: Escaping, out: &mut Vec<u8>) {
    let Some(value) = value else { return out.push(b'-') };
    put_cut(
        value,
        out,
        match escaping {
            Escaping::Quoted => escape::quoted_bytes,
            Escaping::Json => escape::json_bytes,
        },
    );
}

fn put_cut(value: &[u8], out: &mut Vec<u8>, escape: fn(&[u8], &mut Vec<u8>)) {
    match value.get(..LOG_VALUE_SIZE_MAX) {
        Some(beginning) if value.len() > LOG_VALUE_SIZE_MAX => {
            escape(beginning, out);
            out.extend_from_slice(b"...");
        }
        Some(_) | None => escape(value, out),
    }
}

/// A JSON string, or null.
fn put_string(value: Option<&[u8]>, out: &mut Vec<u8>) {
    match value {
        Some(value) => {
            out.push(b'"');
            put_cut(value, out, escape::json_bytes);
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
}

fn put_client(peer: PeerAddress, out: &mut Vec<u8>) {
    match peer {
        PeerAddress::Inet(address) => match address.ip() {
            IpAddr::V4(ip) => {
                for (place, octet) in ip.octets().into_iter().enumerate() {
                    if place > 0 {
                        out.push(b'.');
                    }
                    put_number(octet.into(), out);
                }
            }
            // Writing to a Vec cannot fail.
            IpAddr::V6(ip) => drop(write!(out, "{ip}")),
        },
        PeerAddress::Local => drop(write!(out, "{peer}")),
    }
}

fn put_request_line(line: Option<&RequestLine<'_>>, escaping: Escaping, out: &mut Vec<u8>) {
    let Some(request) = line else { return out.push(b'-') };
    put_value(Some(request.method), escaping, out);
    out.push(b' ');
    put_value(Some(request.target), escaping, out);
    out.push(b' ');
    put_version(line, out);
}

fn put_version(line: Option<&RequestLine<'_>>, out: &mut Vec<u8>) {
    out.extend_from_slice(match line.map(|line| line.version) {
        Some(Version::HTTP_11) => b"HTTP/1.1",
        Some(Version::HTTP_10) => b"HTTP/1.0",
        // Nobody else speaks here.
        Some(_) | None => b"-",
    });
}

fn put_user(record: &AccessRecord<'_>, escaping: Escaping, out: &mut Vec<u8>) {
    let mut decoded = [0; LOG_USER_SIZE_MAX];
    match (user(record, &mut decoded), escaping) {
        (None | Some(b""), _) => out.push(b'-'),
        // It stands without quotes in every form that has a name.
        (Some(name), Escaping::Quoted) => put_cut(name, out, escape::bare_bytes),
        (Some(name), Escaping::Json) => put_cut(name, out, escape::json_bytes),
    }
}

/// The name in Basic authorization (RFC 7617). What stands behind the colon is a secret, and so may
/// be all of it where there is none.
fn user<'a>(
    record: &AccessRecord<'_>,
    decoded: &'a mut [u8; LOG_USER_SIZE_MAX],
) -> Option<&'a [u8]> {
    let authorization = record.fields.of_request(WantedFields::AUTHORIZATION)?;
    let (scheme, credentials) = authorization.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let length = STANDARD.decode_slice(credentials.trim_ascii(), decoded).ok()?;
    let colon = decoded[..length].iter().position(|byte| *byte == b':')?;
    Some(&decoded[..colon])
}

fn put_number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn put_padded(number: u64, width: usize, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(number).as_bytes();
    out.extend_from_slice(&b"000000"[..width.saturating_sub(digits.len()).min(6)]);
    out.extend_from_slice(digits);
}

/// `0.012034`
fn put_seconds(time: Duration, out: &mut Vec<u8>) {
    put_number(time.as_secs(), out);
    out.push(b'.');
    put_padded(time.subsec_micros().into(), 6, out);
}

fn put_seconds_or(time: Option<Duration>, other: &[u8], out: &mut Vec<u8>) {
    match time {
        Some(time) => put_seconds(time, out),
        None => out.extend_from_slice(other),
    }
}

/// `12.034ms`
fn put_milliseconds(time: Duration, out: &mut Vec<u8>) {
    let micros = time.as_micros() as u64;
    put_number(micros / 1000, out);
    out.push(b'.');
    put_padded(micros % 1000, 3, out);
    out.extend_from_slice(b"ms");
}
