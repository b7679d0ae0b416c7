//! What answers requests: the [`Handler`] trait, and the applications that are built in.
//!
//! A handler is called with a [`Request`] and returns a [`Response`]. With handler threads it may
//! block; with `--threads 0` it runs on the worker's loop and should not.
//!
//! Not here: how bytes become requests (`http`), who calls the handler (`worker::pool`).

use std::io::{self, Read};

use bytes::Bytes;

use crate::http::RequestHead;
use crate::ident::{Incarnation, ListenerId, PeerAddress};

/// An application: one value per worker, shared by its threads.
///
/// A panic in a handler is answered with 500 and ends the connection; the worker lives.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn handle(&self, request: Request) -> Response;
}

impl<F> Handler for F
where
    F: Fn(Request) -> Response + Send + Sync + 'static,
{
    fn handle(&self, request: Request) -> Response {
        self(request)
    }
}

/// A request as a handler sees it.
#[derive(Debug)]
pub struct Request {
    /// Method, target, version and fields.
    pub head: RequestHead,
    /// The body; empty where there is none.
    pub body: RequestBody,
    /// Where it came from and who serves it.
    pub origin: Origin,
}

/// Where a request came from, and which worker serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The client, as the kernel names it.
    pub peer: PeerAddress,
    /// The listener that accepted the connection.
    pub listener: ListenerId,
    /// The worker process.
    pub worker: Incarnation,
}

/// A request's body: complete up to `--buffer-request`, else read as it arrives.
pub enum RequestBody {
    /// Every byte has arrived.
    Complete(Bytes),
    /// Read blocks until the client has sent more, or its deadline has passed
    /// (`ErrorKind::TimedOut`), or it has gone (`ErrorKind::UnexpectedEof`).
    Streaming(Box<dyn Read + Send>),
}

/// A response: status, fields and a [`Body`]. Framing (`Content-Length`, `Transfer-Encoding`,
/// `Connection`, `Date`) is the server's; what a handler sets of it is checked or replaced.
pub type Response = http::Response<Body>;

/// A response's body.
#[derive(Default)]
pub enum Body {
    /// No bytes.
    #[default]
    Empty,
    /// All bytes at once.
    Full(Bytes),
    /// Part of a file, sent without passing through user space (sendfile(2)).
    File {
        /// Open for reading.
        file: std::fs::File,
        /// The first byte.
        offset: u64,
        /// How many bytes.
        length: u64,
    },
    /// Bytes made while they are sent. Pulled only as fast as the client reads.
    Stream {
        /// Declared as Content-Length where it is known; the connection is reset if it is untrue.
        length: Option<u64>,
        /// The pieces. An error cuts the response off, visibly for the client.
        source: Box<dyn Iterator<Item = io::Result<Bytes>> + Send>,
    },
}

impl std::fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RequestBody::Complete(bytes) => write!(f, "Complete({} bytes)", bytes.len()),
            RequestBody::Streaming(_) => f.write_str("Streaming"),
        }
    }
}
