//! `echo`: any method and target answers 200 with the decoded request body.
//!
//! Interoperability suites send what they like and look at what a server understood; a body that
//! is still arriving is sent back while it arrives, so that its size is bounded by nothing.
//!
//! Not here: decoding (`http::Connection`), waiting for the client (`worker`).

use std::io::{self, Read};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue};

use crate::app::{Body, Handler, Request, RequestBody, Response};
use crate::config::STREAM_PIECE_SIZE;

const UNKNOWN_TYPE: HeaderValue = HeaderValue::from_static("application/octet-stream");
const NO_SNIFFING: HeaderValue = HeaderValue::from_static("nosniff");

/// Answers every request with its own body.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

impl Handler for Echo {
    /// It waits for nothing but bodies, and so is at hand for trying what waits and what does not.
    fn shares_its_thread(&self) -> bool {
        true
    }

    fn handle(&self, request: Request) -> Response {
        echo(request)
    }
}

/// 200 with the request's body, its content type, and its length where that was declared.
pub fn echo(request: Request) -> Response {
    let declared_length = declared_length(&request.head.headers);
    let body = match request.body {
        RequestBody::Complete(bytes) if bytes.is_empty() => Body::Empty,
        RequestBody::Complete(bytes) => Body::Full(bytes),
        RequestBody::Streaming(reader) => {
            Body::Stream { length: declared_length, source: Box::new(Pieces { reader }) }
        }
    };
    let mut response = Response::new(body);
    let content_type = request.head.headers.get(CONTENT_TYPE).cloned().unwrap_or(UNKNOWN_TYPE);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    // A form on a foreign page can send text here, but no HTML; without sniffing it stays text.
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NO_SNIFFING);
    response
}

/// The length that the head announced. The head parser has refused whatever is not one number.
fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A reader, piece by piece: as much at a time as has arrived.
struct Pieces {
    reader: Box<dyn Read + Send>,
}

impl Iterator for Pieces {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut piece = vec![0; STREAM_PIECE_SIZE];
        loop {
            match self.reader.read(&mut piece) {
                Ok(0) => return None,
                Ok(length) => {
                    piece.truncate(length);
                    return Some(Ok(Bytes::from(piece)));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};

    use super::*;
    use crate::app::testing::{
        body_bytes, body_text, get, request, with_body, with_field, with_stream,
    };

    #[test]
    fn any_method_and_target_answers_with_its_body() {
        for (method, target) in [
            (Method::GET, "/"),
            (Method::POST, "/a/b?c"),
            (Method::OPTIONS, "*"),
            (Method::from_bytes(b"BREW").unwrap(), "http://pot/"),
        ] {
            let response = Echo.handle(with_body(request(method, target), b"coffee"));
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(body_text(response), "coffee");
        }
    }

    #[test]
    fn an_empty_body_stays_empty() {
        let response = echo(get("/"));
        assert!(matches!(response.body(), Body::Empty));
        assert_eq!(response.headers()[CONTENT_TYPE], "application/octet-stream");
    }

    #[test]
    fn the_content_type_comes_back() {
        let response = echo(with_field(get("/"), "content-type", "text/csv"));
        assert_eq!(response.headers()[CONTENT_TYPE], "text/csv");
        assert_eq!(response.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
    }

    #[test]
    fn a_streaming_body_streams_back_with_its_declared_length() {
        let sent: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
        let response =
            echo(with_field(with_stream(get("/"), sent.clone()), "content-length", "200000"));
        assert!(matches!(response.body(), Body::Stream { length: Some(200_000), .. }));
        assert_eq!(body_bytes(response), sent);

        let response = echo(with_stream(get("/"), sent.clone()));
        assert!(matches!(response.body(), Body::Stream { length: None, .. }));
        assert_eq!(body_bytes(response), sent);
    }

    #[test]
    fn a_client_that_goes_away_ends_the_stream_with_its_error() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
        }
        let mut pieces = Pieces { reader: Box::new(Broken) };
        let error = pieces.next().unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
