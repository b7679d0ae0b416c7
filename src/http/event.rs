//! What the machine tells its shell: what bytes were, what is awaited, what comes next.
//!
//! Not here: when it tells it (`connection`).

use std::ops::Range;

use crate::http::body::BodyKind;
use crate::http::head::RequestHead;

/// What the client's bytes turned out to be.
#[derive(Clone, Debug)]
pub enum Event {
    /// Nothing to tell until more bytes come.
    Partial,
    /// A request. `RequestEnd` follows it, after its body if it has one.
    Head(RequestHead, BodyKind),
    /// Bytes of the body: this range of the input, which lies within what was consumed. Never
    /// empty.
    Data(Range<usize>),
    /// The request is complete.
    RequestEnd,
    /// The request is complete and its response is not: what has come behind it waits, and need
    /// not be read yet.
    Paused,
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A response is owed, or not finished.
    Unfinished,
    /// Go on reading, and hand over what is already there: pipelined requests may be.
    KeepAlive,
    /// Shut down and close: the client has nothing more to say that could disturb it.
    Close,
    /// Shut down for writing, read and throw away a bounded amount, then close. A plain close
    /// while the client sends would reset the connection, and take the response with it that the
    /// client has not read yet (RFC 9112 section 9.6).
    CloseAfterDrain,
}

/// What is awaited from the client, and so which deadline runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaits {
    /// The first byte of a request (`keep_alive`, or `header_timeout` if it is the first one).
    Request,
    /// The rest of a head that has begun (`header_timeout`).
    RestOfHead,
    /// Bytes of a body (`body_timeout`).
    Body,
    /// Nothing: a request is complete, or no more is read.
    Nothing,
}
