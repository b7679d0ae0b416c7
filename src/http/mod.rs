//! HTTP/1.1 without I/O: bytes in, requests out; responses in, bytes out.
//!
//! [`Connection`] is one connection's machine. It never sees a socket or a clock: the shell reads
//! and writes, watches the deadlines, and asks it what the bytes mean. Parsing stands on httparse,
//! with a strict layer around it; what that refuses, and why, says [`HttpError`].
//!
//! One whole life: a request, its response, and a second one on the same connection.
//!
//! ```
//! use std::sync::Arc;
//!
//! use http::{HeaderMap, StatusCode};
//! use maitred::config::HttpLimits;
//! use maitred::http::{BodyKind, BodyLength, Connection, Event, Framing, Next};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut connection = Connection::new(Arc::new(HttpLimits::default()));
//! assert!(connection.is_idle());
//!
//! // What has been read so far: a head, and the beginning of its body.
//! let mut read = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel".to_vec();
//! let (used, event) = connection.handle_bytes(&read)?;
//! let Event::Head(head, body) = event else { panic!("a whole head is there") };
//! assert_eq!((head.method.as_str(), head.target.path()), ("POST", "/echo"));
//! assert_eq!(body, BodyKind::Length(5));
//! read.drain(..used);
//!
//! let (used, event) = connection.handle_bytes(&read)?;
//! assert!(matches!(event, Event::Data(range) if read[range.clone()] == *b"hel"));
//! read.drain(..used);
//! assert!(matches!(connection.handle_bytes(&read)?, (0, Event::Partial)));
//!
//! // More comes: the rest of the body, and a second request behind it, which has to wait.
//! read.extend_from_slice(b"loGET / HTTP/1.1\r\nHost: a\r\n\r\n");
//! let (used, event) = connection.handle_bytes(&read)?;
//! assert!(matches!(event, Event::Data(range) if read[range.clone()] == *b"lo"));
//! read.drain(..used);
//! assert!(matches!(connection.handle_bytes(&read)?, (0, Event::RequestEnd)));
//! assert!(matches!(connection.handle_bytes(&read)?, (0, Event::Paused)));
//!
//! // The response. The shell sends `out`, then the body's own bytes, then what follows them.
//! let date = "Sun, 06 Nov 1994 08:49:37 GMT";
//! let mut out = Vec::new();
//! let headers = HeaderMap::new();
//! let length = BodyLength::Known(5);
//! let framing =
//!     connection.respond(StatusCode::OK, &headers, length, date, false, &mut out)?;
//! assert_eq!(framing, Framing::Length(5));
//! let after = connection.body_piece(5, &mut out)?;
//! out.extend_from_slice(b"hello");
//! out.extend_from_slice(after);
//! connection.finish_response(&mut out)?;
//! assert_eq!(
//!     out,
//!     b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
//!       Content-Length: 5\r\n\r\nhello",
//! );
//!
//! // The connection goes on, with what has already been read.
//! assert_eq!(connection.next(), Next::KeepAlive);
//! let (used, event) = connection.handle_bytes(&read)?;
//! assert!(matches!(event, Event::Head(_, BodyKind::None)));
//! assert_eq!(used, read.len());
//! # Ok(())
//! # }
//! ```
//!
//! Not here: reading and writing (`worker::session`), what answers a request ([`app`]).
//!
//! [`app`]: crate::app

mod authority;
pub mod body;
mod chunked;
pub mod connection;
pub mod error;
pub mod event;
mod fields;
pub mod forwarded;
pub mod head;
pub mod response;
mod scan;
pub mod target;

pub use body::{BodyKind, BodyLength, Framing};
pub use connection::Connection;
pub use error::{HttpError, ResponseError};
pub use event::{Awaits, Event, Next};
pub use head::RequestHead;
pub use response::{ResponseHead, error_response};
pub use scan::head_size_max;
pub use target::Target;

#[cfg(test)]
mod tests;
