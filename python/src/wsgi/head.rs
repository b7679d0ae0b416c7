//! A response's head as an application gives it: the status line and the fields, checked.
//!
//! Whatever could end the head early, or speak for the connection, stops here; what it says about
//! itself is not believed either. Pure.
//!
//! Not here: the callable that gets it (`start_response`), framing (`maitred::http`).

use maitred::app::{HeaderName, HeaderValue, StatusCode};
use thiserror::Error;

/// What is wrong with a head. The application is at fault, always; it gets this as a ValueError
/// where it stands, so that the traceback names its line.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum HeadError {
    /// Not `DDD reason`.
    #[error("a status must be three digits, a space, and a reason, and is {0:?}")]
    Status(String),
    /// 1xx.
    #[error("a status must be final, and {0} is not: those below 200 are the server's to send")]
    NotFinal(StatusCode),
    /// Control characters, or some that Latin-1 does not have.
    #[error("a reason must be of visible Latin-1 characters, and is {0:?}")]
    Reason(String),
    /// Not a token.
    #[error("a header name must be a token (RFC 9110 section 5.6.2), and is {0:?}")]
    Name(String),
    /// Control characters, or some that Latin-1 does not have.
    #[error("the value of {name:?} must be of visible Latin-1 characters, and is {value:?}")]
    Value {
        /// The field's name.
        name: String,
        /// What it was given.
        value: String,
    },
    /// Content-Length is no number, or not the only one.
    #[error("Content-Length must be one decimal number, and is {0:?}")]
    ContentLength(String),
}

/// A status, and what it is called where that is not its usual name.
pub(super) type Status = (StatusCode, Option<Vec<u8>>);

/// `200 OK`, as strictly as PEP 3333 has it.
pub(super) fn parse_status(text: &str) -> Result<Status, HeadError> {
    let malformed = || HeadError::Status(text.to_owned());
    let (digits, reason) = text.split_once(' ').ok_or_else(malformed)?;
    let is_number = digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let status = match is_number {
        true => StatusCode::from_bytes(digits.as_bytes()).map_err(|_| malformed())?,
        false => return Err(malformed()),
    };
    if status.is_informational() {
        return Err(HeadError::NotFinal(status));
    }
    if status.canonical_reason() == Some(reason) {
        return Ok((status, None));
    }
    match latin1(reason) {
        Some(reason) if !reason.iter().any(u8::is_ascii_control) => Ok((status, Some(reason))),
        Some(_) | None => Err(HeadError::Reason(reason.to_owned())),
    }
}

/// A field, whatever it says.
pub(super) fn parse_field(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), HeadError> {
    let parsed_name =
        HeaderName::from_bytes(name.as_bytes()).map_err(|_| HeadError::Name(name.to_owned()))?;
    let parsed_value = match value.is_ascii() {
        true => HeaderValue::from_str(value).ok(),
        false => latin1(value).and_then(|bytes| HeaderValue::from_maybe_shared(bytes).ok()),
    };
    let invalid = || HeadError::Value { name: name.to_owned(), value: value.to_owned() };
    Ok((parsed_name, parsed_value.ok_or_else(invalid)?))
}

/// Content-Length, as a number.
pub(super) fn parse_length(value: &HeaderValue) -> Result<u64, HeadError> {
    let text = value.to_str().unwrap_or_default();
    let is_decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if is_decimal { text.parse().ok() } else { None };
    number.ok_or_else(|| {
        HeadError::ContentLength(String::from_utf8_lossy(value.as_bytes()).into_owned())
    })
}

/// Whether a field speaks for one connection (RFC 9110 section 7.6.1): applications have no say in
/// that (PEP 3333, "Other HTTP Features").
pub(super) fn is_of_the_connection(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "trailers"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// The bytes of a string, one each: what WSGI's strings stand for.
pub(super) fn latin1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|character| u8::try_from(u32::from(character)).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_number_and_its_name() {
        assert_eq!(parse_status("200 OK"), Ok((StatusCode::OK, None)));
        let coffee = parse_status("418 I'm a caf\u{e9}").unwrap();
        assert_eq!(coffee, (StatusCode::IM_A_TEAPOT, Some(b"I'm a caf\xe9".to_vec())));
        assert_eq!(parse_status("200 ").unwrap(), (StatusCode::OK, Some(Vec::new())));
        assert_eq!(parse_status("599 Odd").unwrap().0.as_u16(), 599);
    }

    #[test]
    fn other_statuses_are_refused() {
        for text in ["", "200", "20 OK", "2000 OK", "+20 OK", "OK", "099 Low", " 200 OK"] {
            assert_eq!(parse_status(text), Err(HeadError::Status(text.to_owned())), "{text:?}");
        }
        assert_eq!(parse_status("103 Early"), Err(HeadError::NotFinal(StatusCode::EARLY_HINTS)));
        for reason in ["a\r\nb", "a\nSet-Cookie: x", "\0", "\u{20ac}", "\x7f"] {
            let refused = Err(HeadError::Reason(reason.to_owned()));
            assert_eq!(parse_status(&format!("200 {reason}")), refused);
        }
    }

    #[test]
    fn a_field_cannot_end_the_head() {
        for value in ["a\r\nX: b", "a\nb", "a\rb", "a\0b", "\x1b", "\x7f", "\u{20ac}"] {
            let refused = parse_field("X-A", value).unwrap_err();
            assert_eq!(refused, HeadError::Value { name: "X-A".into(), value: value.into() });
        }
        for name in ["", "a b", "a:", "a\r\n", "\u{e9}", "a\0"] {
            assert_eq!(parse_field(name, "b"), Err(HeadError::Name(name.into())), "{name:?}");
        }
    }

    #[test]
    fn latin1_passes_as_bytes() {
        let (name, value) = parse_field("X-Caf", "caf\u{e9}\t!").unwrap();
        assert_eq!((name.as_str(), value.as_bytes()), ("x-caf", &b"caf\xe9\t!"[..]));
    }

    #[test]
    fn a_length_is_digits() {
        assert_eq!(parse_length(&HeaderValue::from_static("12")), Ok(12));
        for text in ["", "+1", "-1", "1 ", "1,1", "0x1", "99999999999999999999"] {
            let value = HeaderValue::from_static(text);
            assert_eq!(parse_length(&value), Err(HeadError::ContentLength(text.into())));
        }
    }

    #[test]
    fn fields_of_the_connection() {
        for name in ["connection", "transfer-encoding", "upgrade", "keep-alive", "te"] {
            assert!(is_of_the_connection(&HeaderName::from_static(name)), "{name}");
        }
        assert!(!is_of_the_connection(&HeaderName::from_static("content-length")));
    }
}
