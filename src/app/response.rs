//! The responses that every application needs, in one line each.
//!
//! Not here: framing and the fields that come with it (`http`); files (`app::static_files`).

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::app::{Body, Response};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What a response's status is called, where that is not its usual name: an extension of a
/// [`Response`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(Bytes);

impl Reason {
    /// `None` for what cannot stand in a status line (RFC 9112 section 4): control characters.
    pub fn new(text: impl Into<Bytes>) -> Option<Reason> {
        let text = text.into();
        let is_control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
        (!text.iter().any(is_control)).then_some(Reason(text))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The server adds no Date: an extension of a [`Response`].
#[derive(Clone, Copy, Debug)]
pub struct WithoutDate;

/// A status and nothing else.
pub fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    response
}

/// Plain UTF-8 text.
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Response {
    with_type(status, TEXT, body)
}

/// An HTML page in UTF-8. Escaping is the caller's.
pub fn html(status: StatusCode, body: impl Into<Bytes>) -> Response {
    with_type(status, HTML, body)
}

/// A JSON text (RFC 8259), already encoded.
pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Response {
    with_type(status, JSON, body)
}

/// 405, with the methods that would have been answered (RFC 9110 section 15.5.6).
pub fn method_not_allowed(allow: &'static str) -> Response {
    let body = format!("Method not allowed here. Allowed: {allow}.\n");
    with(text(StatusCode::METHOD_NOT_ALLOWED, body), ALLOW, HeaderValue::from_static(allow))
}

/// The answer to OPTIONS: 204, with the methods that are answered (RFC 9110 section 9.3.7).
pub fn options(allow: &'static str) -> Response {
    with(empty(StatusCode::NO_CONTENT), ALLOW, HeaderValue::from_static(allow))
}

/// The same response with one field set.
pub(crate) fn with(mut response: Response, name: HeaderName, value: HeaderValue) -> Response {
    response.headers_mut().insert(name, value);
    response
}

fn with_type(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::Full(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::testing::body_text;

    #[test]
    fn constructors_set_status_type_and_body() {
        let response = text(StatusCode::NOT_FOUND, "no\n");
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers()[CONTENT_TYPE], "text/plain; charset=utf-8");
        assert_eq!(body_text(response), "no\n");
        assert_eq!(json(StatusCode::OK, "{}").headers()[CONTENT_TYPE], "application/json");
        assert_eq!(html(StatusCode::OK, "").headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(empty(StatusCode::NO_CONTENT).body().length(), Some(0));
    }

    #[test]
    fn a_reason_cannot_end_its_line() {
        assert_eq!(Reason::new("It's f\u{fc}ne").unwrap().as_bytes(), "It's f\u{fc}ne".as_bytes());
        for text in ["a\r\nb", "a\nb", "\0", "\x7f"] {
            assert_eq!(Reason::new(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_refused_method_is_told_which_are_allowed() {
        let response = method_not_allowed("GET, HEAD");
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()[ALLOW], "GET, HEAD");
        assert_eq!(options("GET, HEAD").headers()[ALLOW], "GET, HEAD");
    }
}
