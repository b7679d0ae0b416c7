//! The response head: which framing a body gets, and the bytes in front of it.
//!
//! Framing is the server's. What an application sets of it is checked (Content-Length) or replaced
//! (the fields of the connection), so that no application can end a response where the client
//! believes it goes on. That a value holds no CR or LF, and so cannot end the head, is
//! `HeaderValue`'s promise; it cannot be built with one.
//!
//! Not here: when a response may be sent, and what follows it (`connection`).

use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::http::body::{BodyLength, Framing};
use crate::http::error::ResponseError;

/// What of the request decides about its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// The method was HEAD.
    pub(super) is_head: bool,
    /// The version was HTTP/1.0.
    pub(super) is_old: bool,
    /// The connection could go on afterwards.
    pub(super) persist: bool,
}

/// How a response will be framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) framing: Framing,
    content_length: Option<u64>,
    /// The connection goes on afterwards; if not, the head says so.
    pub(super) persist: bool,
}

/// A response's head, as it is to be written.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// The status.
    pub status: StatusCode,
    /// What the status is called, if not by its usual name: bytes of visible Latin-1 (RFC 9112
    /// section 4). Whoever gives it has made sure that it cannot end the line.
    pub reason: Option<&'a [u8]>,
    /// The fields; those of framing and connection are replaced.
    pub headers: &'a HeaderMap,
    /// An IMF-fixdate, for a response without one; `None` for one that is to have none.
    pub date: Option<&'a str>,
}

impl Plan {
    /// Chooses the framing (RFC 9112 section 6.3, RFC 9110 sections 8.6 and 15).
    ///
    /// # Errors
    /// A status that is not final; a Content-Length that is no number or contradicts the body.
    pub(super) fn new(
        status: StatusCode,
        headers: &HeaderMap,
        body: BodyLength,
        asked: Asked,
    ) -> Result<Plan, ResponseError> {
        if status.is_informational() {
            return Err(ResponseError::NotFinal(status));
        }
        let given = given_content_length(headers)?;
        let (framing, content_length) = match status {
            StatusCode::NO_CONTENT => (Framing::NoBody, None),
            StatusCode::RESET_CONTENT => (Framing::NoBody, Some(0)),
            // What GET would have had, or 200: the application's word, else the body that it gave
            // for us to leave out. An empty one may only mean that it left it out itself.
            _ if asked.is_head || status == StatusCode::NOT_MODIFIED => {
                let left_out = match body {
                    BodyLength::Known(0) if status == StatusCode::NOT_MODIFIED => None,
                    BodyLength::Known(length) => Some(length),
                    BodyLength::None | BodyLength::Unknown => None,
                };
                (Framing::NoBody, given.or(left_out))
            }
            _ => match declared_length(given, body)? {
                Some(length) => (Framing::Length(length), Some(length)),
                None if asked.is_old => (Framing::UntilClose, None),
                None => (Framing::Chunked, None),
            },
        };
        let persist = asked.persist && framing != Framing::UntilClose && !asks_to_close(headers);
        Ok(Plan { framing, content_length, persist })
    }

    /// Appends the head, in HTTP/1.1 whatever was asked (RFC 9110 section 6.2).
    pub(super) fn write(self, head: ResponseHead<'_>, asked: Asked, out: &mut Vec<u8>) {
        let headers = head.headers;
        // One growth for most heads: the lines that are ours, and 48 bytes for each other field.
        out.reserve(160 + headers.len() * 48);
        match head.reason {
            None => write_status_line(head.status, out),
            Some(reason) => write_named_status(head.status, reason, out),
        }
        if let Some(date) = head.date
            && !headers.contains_key(DATE)
        {
            write_field(b"Date", date.as_bytes(), out);
        }
        if let Some(length) = self.content_length {
            out.extend_from_slice(b"Content-Length: ");
            write_decimal(length, out);
            out.extend_from_slice(b"\r\n");
        }
        if self.framing == Framing::Chunked {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        match (self.persist, asked.is_old) {
            (false, _) => out.extend_from_slice(b"Connection: close\r\n"),
            (true, true) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
            (true, false) => {}
        }
        for (name, value) in headers {
            if !is_ours(name) {
                write_field(name.as_str().as_bytes(), value.as_bytes(), out);
            }
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends a whole response that says in plain text what went wrong, and that the connection ends:
/// for refused requests (400, 413, …), deadlines (408), handlers that failed (500), workers that
/// died (502) and shedding (503).
///
/// `explanation` is one line of visible text; empty says no more than the status. `headers` come
/// behind the fields that every such response has, and are none of them. `date` is an IMF-fixdate
/// (RFC 9110 section 5.6.7). `without_body` leaves the text out, for HEAD.
pub fn error_response(
    status: StatusCode,
    explanation: &str,
    headers: &HeaderMap,
    date: &str,
    without_body: bool,
    out: &mut Vec<u8>,
) {
    let reason = status.canonical_reason().unwrap_or("Error");
    let separator = if explanation.is_empty() { "" } else { ": " };
    let text = format!("{} {reason}{separator}{explanation}\n", status.as_str());
    write_status_line(status, out);
    write_field(b"Date", date.as_bytes(), out);
    out.extend_from_slice(b"Content-Length: ");
    write_decimal(text.len() as u64, out);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(b"Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n");
    for (name, value) in headers {
        write_field(name.as_str().as_bytes(), value.as_bytes(), out);
    }
    out.extend_from_slice(b"\r\n");
    if !without_body {
        out.extend_from_slice(text.as_bytes());
    }
}

/// Appends the size line of a chunk.
pub(super) fn write_chunk_size(size: u64, out: &mut Vec<u8>) {
    let digits = (u64::BITS - size.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        let digit = (size >> (place * 4)) & 0xf;
        out.push(b"0123456789abcdef"[digit as usize]);
    }
    out.extend_from_slice(b"\r\n");
}

/// The length that a body with bytes will be held to.
fn declared_length(given: Option<u64>, body: BodyLength) -> Result<Option<u64>, ResponseError> {
    let actual = match body {
        BodyLength::Unknown => return Ok(given),
        BodyLength::None => 0,
        BodyLength::Known(length) => length,
    };
    match given {
        Some(declared) if declared != actual => {
            Err(ResponseError::ContentLengthContradicts { declared, actual })
        }
        Some(_) | None => Ok(Some(actual)),
    }
}

fn given_content_length(headers: &HeaderMap) -> Result<Option<u64>, ResponseError> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => parse_decimal(value).map(Some),
        (Some(_), Some(_)) => Err(ResponseError::ContentLengthInvalid),
    }
}

fn parse_decimal(value: &HeaderValue) -> Result<u64, ResponseError> {
    let text = value.to_str().map_err(|_| ResponseError::ContentLengthInvalid)?;
    // `u64::from_str` takes a sign, which Content-Length does not.
    match text.starts_with('+') {
        true => Err(ResponseError::ContentLengthInvalid),
        false => text.parse().map_err(|_| ResponseError::ContentLengthInvalid),
    }
}

/// The one thing that an application may say about the connection.
fn asks_to_close(headers: &HeaderMap) -> bool {
    headers.get_all(CONNECTION).iter().any(|value| {
        let mut tokens = value.as_bytes().split(|&byte| byte == b',');
        tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"))
    })
}

/// Fields of the connection (RFC 9110 section 7.6.1) and of the framing: whatever the application
/// says in them, the server has said what is true. Trailers are announced by nobody, since none
/// are sent.
fn is_ours(name: &HeaderName) -> bool {
    name == CONTENT_LENGTH
        || name == CONNECTION
        || name == TRANSFER_ENCODING
        || name == UPGRADE
        || name == TRAILER
        || name == TE
        || name.as_str() == "keep-alive"
        || name.as_str() == "proxy-connection"
}

fn write_status_line(status: StatusCode, out: &mut Vec<u8>) {
    if status == StatusCode::OK {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    write_named_status(status, status.canonical_reason().unwrap_or_default().as_bytes(), out);
}

fn write_named_status(status: StatusCode, reason: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    // The space stays where there is no reason (RFC 9112 section 4).
    out.push(b' ');
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

fn write_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// A number without the machinery of `fmt`, which costs as much as the rest of a small head.
fn write_decimal(number: u64, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut start = digits.len();
    let mut rest = number;
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}
