//! What answers requests: the [`Handler`] trait, and the applications that are built in.
//!
//! A handler is called with a [`Request`] and returns a [`Response`]. With handler threads it may
//! block; with `--threads 0` it runs on the worker's loop and should not.
//!
//! Not here: how bytes become requests (`http`), who calls the handler (`worker::pool`).

pub mod demo;
pub mod echo;
pub mod response;
pub mod static_files;
#[cfg(test)]
pub(crate) mod testing;

use std::io::{self, Read};

use bytes::{Buf, Bytes};

use crate::http::RequestHead;
use crate::ident::{Incarnation, ListenerId, PeerAddress};

// What applications need of the http crate, so that theirs is always the same version.
pub use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};

pub use demo::Demo;
pub use echo::Echo;
pub use response::{Reason, WithoutDate, empty, html, json, method_not_allowed, options, text};
pub use static_files::StaticFiles;

/// An application: one value per worker, shared by its threads.
///
/// A panic in a handler is answered with 500 and ends the connection; the worker lives.
///
/// A handler may answer HEAD as it answers GET: the server (`http::Connection`) announces the
/// body's length and drops the body unread.
///
/// A closure is a handler too:
///
/// ```
/// use maitred::app::{self, Handler, Request, StatusCode};
///
/// let greet = |request: Request| app::text(StatusCode::OK, format!("{}\n", request.path()));
/// fn takes_a_handler(_: impl Handler) {}
/// takes_a_handler(greet);
/// ```
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn handle(&self, request: Request) -> Response;

    /// The whole life of a handler thread: calls `run` once, which calls [`Handler::handle`] for
    /// one request after the other, and makes and drops the bodies that were answered with. For
    /// what a thread needs before its first request and after its last.
    fn around_thread(&self, run: &mut (dyn FnMut() + Send)) {
        run();
    }

    /// Whether, with one handler thread, that is the thread in which the worker was begun, and runs
    /// the worker's loop between its calls. A quick call then costs no switch of threads; while one
    /// takes long, another thread runs the loop. [`Handler::around_thread`] is not called for it.
    fn shares_its_thread(&self) -> bool {
        false
    }
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
    /// The other end of the connection: as the kernel names it, or as its PROXY header does
    /// (`--proxy-protocol`).
    pub peer: PeerAddress,
    /// Who asks: the peer, or whom the fields of a believed proxy name (`--forwarded-allow-ips`);
    /// then without a port.
    pub client: PeerAddress,
    /// A believed proxy says that the client has spoken TLS with it.
    pub is_secure: bool,
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
/// `Connection`, `Date`) is the server's; what a handler sets of it is checked or replaced. Among
/// the extensions the server knows [`Reason`] and [`WithoutDate`].
pub type Response = http::Response<Body>;

/// The pieces of a body that is made while it is sent. An error cuts the response off, visibly for
/// the client.
pub type Pieces = Box<dyn Iterator<Item = io::Result<Bytes>> + Send>;

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
        source: Pieces,
    },
}

impl Origin {
    /// Of a request that nobody speaks for but the peer itself.
    pub fn of_peer(peer: PeerAddress, listener: ListenerId, worker: Incarnation) -> Origin {
        Origin { peer, client: peer, is_secure: false, listener, worker }
    }
}

impl Request {
    /// The target's path, as it was sent: not percent-decoded.
    pub fn path(&self) -> &str {
        self.head.target.path()
    }

    /// What follows the target's first `?`, as it was sent.
    pub fn query(&self) -> Option<&str> {
        self.head.target.query()
    }
}

impl RequestBody {
    /// The whole body, in memory.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::FileTooLarge`] where it is longer than `size_max` bytes, of which no more
    /// than that were read; else what reading answers ([`RequestBody::Streaming`]).
    pub fn read_all(self, size_max: usize) -> io::Result<Bytes> {
        match self {
            RequestBody::Complete(bytes) if bytes.len() <= size_max => Ok(bytes),
            RequestBody::Complete(_) => Err(body_too_large(size_max)),
            RequestBody::Streaming(reader) => {
                let mut body = Vec::new();
                // One byte more than allowed tells "exactly as much" from "too much".
                let read_max = u64::try_from(size_max).unwrap_or(u64::MAX).saturating_add(1);
                reader.take(read_max).read_to_end(&mut body)?;
                if body.len() > size_max {
                    return Err(body_too_large(size_max));
                }
                Ok(Bytes::from(body))
            }
        }
    }
}

fn body_too_large(size_max: usize) -> io::Error {
    io::Error::new(
        io::ErrorKind::FileTooLarge,
        format!("reading the request's body: longer than {size_max} bytes"),
    )
}

impl Read for RequestBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            RequestBody::Complete(bytes) => {
                let length = bytes.len().min(buffer.len());
                bytes.copy_to_slice(&mut buffer[..length]);
                Ok(length)
            }
            RequestBody::Streaming(reader) => reader.read(buffer),
        }
    }
}

impl Default for RequestBody {
    fn default() -> Self {
        RequestBody::Complete(Bytes::new())
    }
}

impl Body {
    /// How many bytes it has; `None` where only sending it will tell.
    pub fn length(&self) -> Option<u64> {
        match self {
            Body::Empty => Some(0),
            Body::Full(bytes) => Some(bytes.len() as u64),
            Body::File { length, .. } => Some(*length),
            Body::Stream { length, .. } => *length,
        }
    }
}

impl<B: Into<Bytes>> From<B> for Body {
    fn from(bytes: B) -> Self {
        Body::Full(bytes.into())
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Body::Empty => f.write_str("Empty"),
            Body::Full(bytes) => write!(f, "Full({} bytes)", bytes.len()),
            Body::File { offset, length, .. } => write!(f, "File({length} bytes from {offset})"),
            Body::Stream { length: Some(length), .. } => write!(f, "Stream({length} bytes)"),
            Body::Stream { length: None, .. } => f.write_str("Stream"),
        }
    }
}

impl std::fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RequestBody::Complete(bytes) => write!(f, "Complete({} bytes)", bytes.len()),
            RequestBody::Streaming(_) => f.write_str("Streaming"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn streaming(bytes: &'static [u8]) -> RequestBody {
        RequestBody::Streaming(Box::new(Cursor::new(bytes)))
    }

    #[test]
    fn a_body_is_read_whole_up_to_its_limit() {
        for body in [RequestBody::Complete(Bytes::from_static(b"12345")), streaming(b"12345")] {
            assert_eq!(body.read_all(5).unwrap(), "12345");
        }
        for body in [RequestBody::Complete(Bytes::from_static(b"12345")), streaming(b"12345")] {
            assert_eq!(body.read_all(4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        }
        assert_eq!(RequestBody::default().read_all(0).unwrap(), "");
        assert_eq!(streaming(b"12345").read_all(usize::MAX).unwrap(), "12345");
    }

    #[test]
    fn a_body_reads_the_same_complete_and_streaming() {
        for mut body in [RequestBody::Complete(Bytes::from_static(b"12345")), streaming(b"12345")] {
            let mut three = [0; 3];
            assert_eq!(body.read(&mut three).unwrap(), 3);
            assert_eq!(&three, b"123");
            assert_eq!(body.read(&mut three).unwrap(), 2);
            assert_eq!(&three[..2], b"45");
            assert_eq!(body.read(&mut three).unwrap(), 0);
        }
    }
}
