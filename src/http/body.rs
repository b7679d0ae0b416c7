//! How bodies are delimited, in requests and in responses (RFC 9112 section 6).
//!
//! Not here: the bytes of a chunked body (`chunked`), who chooses a framing (`response`).

/// How a request's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// There is none, or `Content-Length: 0`.
    None,
    /// Content-Length, never 0.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// What is known about the length of a response's body when its head is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is no body. Where none could be sent anyway (HEAD, 304), Content-Length is what the
    /// application set, or absent.
    None,
    /// Exactly so many bytes.
    Known(u64),
    /// It will show. A Content-Length that the application set is taken at its word.
    Unknown,
}

/// How the body of the response that has begun is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Not at all, whatever the application gave: HEAD, 204, 205, 304.
    NoBody,
    /// Exactly so many bytes, as they are.
    Length(u64),
    /// In chunks: each piece between what `Connection::body_piece` gives.
    Chunked,
    /// As they are, until the connection is closed: HTTP/1.0 has no chunks.
    UntilClose,
}
