//! Requests made by hand and responses taken apart, for the unit tests of applications.
//!
//! Not here: tests over a socket (`tests/`).

use std::io::{Cursor, Read};
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

use crate::app::{Body, Origin, Request, RequestBody, Response};
use crate::http::{RequestHead, Target};
use crate::ident::{Generation, Incarnation, ListenerId, PeerAddress, Slot};

/// A request without fields or body, at slot 3, generation 7.
pub(crate) fn request(method: Method, target: &str) -> Request {
    let target = Target::parse(&method, Bytes::copy_from_slice(target.as_bytes()));
    Request {
        head: RequestHead {
            method,
            target: target.expect("a test's target is one that the head parser lets through"),
            version: Version::HTTP_11,
            headers: HeaderMap::new(),
        },
        body: RequestBody::default(),
        origin: Origin::of_peer(
            PeerAddress::Local,
            ListenerId(0),
            Incarnation { slot: Slot(3), generation: Generation(7) },
        ),
    }
}

/// A GET without fields.
pub(crate) fn get(target: &str) -> Request {
    request(Method::GET, target)
}

/// The same request with one field more.
pub(crate) fn with_field(mut request: Request, name: &'static str, value: &str) -> Request {
    let value = HeaderValue::from_str(value).expect("a test's field value is visible ASCII");
    request.head.headers.append(HeaderName::from_static(name), value);
    request
}

/// The same request with a body that has arrived.
pub(crate) fn with_body(mut request: Request, body: &'static [u8]) -> Request {
    request.body = RequestBody::Complete(Bytes::from_static(body));
    request
}

/// The same request with a body that is still arriving.
pub(crate) fn with_stream(mut request: Request, body: Vec<u8>) -> Request {
    request.body = RequestBody::Streaming(Box::new(Cursor::new(body)));
    request
}

/// All bytes that the server would send for a body.
pub(crate) fn body_bytes(response: Response) -> Vec<u8> {
    match response.into_body() {
        Body::Empty => Vec::new(),
        Body::Full(bytes) => bytes.to_vec(),
        Body::File { file, offset, length } => {
            let mut bytes = vec![0; usize::try_from(length).expect("a test's file is small")];
            file.read_exact_at(&mut bytes, offset).expect("the file is as long as was said");
            bytes
        }
        Body::Stream { length, source } => {
            let mut bytes = Vec::new();
            for piece in source {
                let piece = piece.expect("a test's stream does not fail");
                piece.as_ref().read_to_end(&mut bytes).expect("memory can be read");
            }
            assert!(length.is_none_or(|length| length == bytes.len() as u64), "untrue length");
            bytes
        }
    }
}

/// The same as text.
pub(crate) fn body_text(response: Response) -> String {
    String::from_utf8(body_bytes(response)).expect("a test's text is UTF-8")
}
