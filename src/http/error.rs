//! What can be wrong with a request, and with a response: every refusal has a name.
//!
//! A request is refused, never guessed at: the two ends of a chain of proxies that read one
//! request differently are how requests are smuggled. The variants say what was wrong, in words
//! that are sent to the client, and which status answers it. After any of them the connection is
//! of no more use: where the next request begins is no longer known.
//!
//! Not here: the bytes of the refusal (`response::error_response`).

use http::StatusCode;
use thiserror::Error;

/// Why a request is refused. The peer is at fault in every case.
///
/// The text is the explanation for the peer; [`HttpError::status`] is what to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum HttpError {
    /// The first byte is not one of a method: a TLS handshake, or no HTTP at all.
    #[error("the first byte cannot begin an HTTP/1 request")]
    NotHttp,
    /// A line ends in LF alone (RFC 9112 section 2.2 lets a server refuse it).
    #[error("a line of the head ends in LF without CR")]
    BareLineFeed,
    /// A CR that no LF follows.
    #[error("the head has a CR without LF")]
    BareCarriageReturn,
    /// Not `METHOD SP TARGET SP HTTP/d.d`.
    #[error("the request line is not of the form METHOD TARGET HTTP/1.1")]
    RequestLineInvalid,
    /// The method is not a token (RFC 9110 section 9.1).
    #[error("the method is not a token")]
    MethodInvalid,
    /// The target has a byte that is not visible ASCII, or is of no form that this method allows
    /// (RFC 9112 section 3.2).
    #[error("the request target is invalid")]
    TargetInvalid,
    /// The target has a fragment, which is never sent.
    #[error("the request target has a fragment")]
    TargetFragment,
    /// A line begins with whitespace (RFC 9112 section 5.2).
    #[error("a header field is folded over several lines")]
    ObsoleteFold,
    /// A field's name is empty or not a token.
    #[error("the name of a header field is invalid")]
    FieldNameInvalid,
    /// Whitespace between a field's name and the colon (RFC 9112 section 5.1).
    #[error("there is whitespace between the name of a header field and the colon")]
    SpaceBeforeColon,
    /// A field's value has NUL or another control byte.
    #[error("the value of a header field has a control byte")]
    FieldValueInvalid,
    /// HTTP/1.1 without Host (RFC 9112 section 3.2).
    #[error("the Host header field is missing")]
    HostMissing,
    /// More than one Host.
    #[error("there is more than one Host header field")]
    HostDuplicate,
    /// Host, or the authority of an absolute target, is not `host[:port]`.
    #[error("the Host is invalid")]
    HostInvalid,
    /// Content-Length is not one plain decimal number.
    #[error("Content-Length is not a decimal number")]
    ContentLengthInvalid,
    /// Content-Length does not fit 64 bits.
    #[error("Content-Length is too large a number")]
    ContentLengthOverflow,
    /// More than one Content-Length, even if all agree.
    #[error("there is more than one Content-Length header field")]
    ContentLengthDuplicate,
    /// Content-Length and Transfer-Encoding in one head (RFC 9112 section 6.1).
    #[error("both Content-Length and Transfer-Encoding are given")]
    LengthAndEncoding,
    /// Transfer-Encoding on HTTP/1.0 (RFC 9112 section 6.1).
    #[error("HTTP/1.0 has no Transfer-Encoding")]
    EncodingBeforeItsTime,
    /// A chunk's size is missing, not hexadecimal, of too many digits, or badly ended.
    #[error("the size of a chunk is invalid")]
    ChunkSizeInvalid,
    /// A chunk extension is not `;name[=value]`.
    #[error("a chunk extension is invalid")]
    ChunkExtensionInvalid,
    /// The chunk extensions of one body are larger than [`CHUNK_EXTENSIONS_SIZE_MAX`].
    ///
    /// [`CHUNK_EXTENSIONS_SIZE_MAX`]: crate::config::CHUNK_EXTENSIONS_SIZE_MAX
    #[error("the chunk extensions are too large")]
    ChunkExtensionsTooLarge,
    /// No CR LF where a chunk's data should have ended.
    #[error("the data of a chunk does not end where its size says")]
    ChunkEndInvalid,
    /// A trailer field that would not pass as a header field.
    #[error("a trailer field is invalid")]
    TrailerInvalid,
    /// The client closed before the head was complete.
    #[error("the connection ended within the request head")]
    EndInHead,
    /// The client closed before the body was complete.
    #[error("the connection ended within the request body")]
    EndInBody,
    /// The body is, or declares to be, larger than the server takes.
    #[error("the request body is larger than this server takes")]
    BodyTooLarge,
    /// The request line is longer than the server takes.
    #[error("the request line is longer than this server takes")]
    RequestLineTooLong,
    /// The only expectation that HTTP defines is `100-continue` (RFC 9110 section 10.1.1).
    #[error("the expectation is unknown")]
    ExpectationUnknown,
    /// One header field is larger than the server takes.
    #[error("a header field is larger than this server takes")]
    FieldTooLarge,
    /// There are more header fields, or trailer fields, than the server takes.
    #[error("there are more header fields than this server takes")]
    FieldsTooMany,
    /// The head as a whole is larger than the server takes.
    #[error("the request head is larger than this server takes")]
    HeadTooLarge,
    /// The trailer fields together are larger than [`TRAILERS_SIZE_MAX`].
    ///
    /// [`TRAILERS_SIZE_MAX`]: crate::config::TRAILERS_SIZE_MAX
    #[error("the trailer fields are larger than this server takes")]
    TrailersTooLarge,
    /// Anything but exactly `chunked`.
    #[error("only the transfer encoding chunked is implemented")]
    EncodingUnknown,
    /// CONNECT. 501 and not 405: there is no resource here that could allow it, and so no honest
    /// `Allow` field, which a 405 must have (RFC 9110 sections 9.1 and 15.5.6).
    #[error("CONNECT is not implemented")]
    ConnectNotImplemented,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    #[error("only HTTP/1.0 and HTTP/1.1 are supported")]
    VersionUnsupported,
}

impl HttpError {
    /// The status that answers it.
    pub fn status(self) -> StatusCode {
        match self {
            HttpError::NotHttp
            | HttpError::BareLineFeed
            | HttpError::BareCarriageReturn
            | HttpError::RequestLineInvalid
            | HttpError::MethodInvalid
            | HttpError::TargetInvalid
            | HttpError::TargetFragment
            | HttpError::ObsoleteFold
            | HttpError::FieldNameInvalid
            | HttpError::SpaceBeforeColon
            | HttpError::FieldValueInvalid
            | HttpError::HostMissing
            | HttpError::HostDuplicate
            | HttpError::HostInvalid
            | HttpError::ContentLengthInvalid
            | HttpError::ContentLengthOverflow
            | HttpError::ContentLengthDuplicate
            | HttpError::LengthAndEncoding
            | HttpError::EncodingBeforeItsTime
            | HttpError::ChunkSizeInvalid
            | HttpError::ChunkExtensionInvalid
            | HttpError::ChunkExtensionsTooLarge
            | HttpError::ChunkEndInvalid
            | HttpError::TrailerInvalid
            | HttpError::EndInHead
            | HttpError::EndInBody => StatusCode::BAD_REQUEST,
            HttpError::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            HttpError::RequestLineTooLong => StatusCode::URI_TOO_LONG,
            HttpError::ExpectationUnknown => StatusCode::EXPECTATION_FAILED,
            HttpError::FieldTooLarge
            | HttpError::FieldsTooMany
            | HttpError::HeadTooLarge
            | HttpError::TrailersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            HttpError::EncodingUnknown | HttpError::ConnectNotImplemented => {
                StatusCode::NOT_IMPLEMENTED
            }
            HttpError::VersionUnsupported => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        }
    }
}

/// Why a response cannot be sent as it was given.
///
/// The first two are mistakes of the caller (the shell); the others are the application's. Those
/// about the head come before a byte was written, so that 500 can be answered; those about the
/// body come too late for that, and the connection is to be reset, so that the client sees a
/// truncated response for what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ResponseError {
    /// No request awaits a response.
    #[error("no request awaits a response")]
    NotOwed,
    /// A body's bytes, or its end, without a response that has begun.
    #[error("no response has begun")]
    NotBegun,
    /// A 1xx status does not end a request; the server alone sends 100.
    #[error("status {0} is not a final one")]
    NotFinal(StatusCode),
    /// Content-Length is not one decimal number.
    #[error("the response's Content-Length is not a number")]
    ContentLengthInvalid,
    /// Content-Length and the body's length differ.
    #[error("the response declares {declared} bytes, and its body has {actual}")]
    ContentLengthContradicts {
        /// Content-Length.
        declared: u64,
        /// The body's length.
        actual: u64,
    },
    /// The body goes on past its declared length.
    #[error("the response's body is {excess} bytes longer than declared")]
    BodyTooLong {
        /// Bytes too many, so far.
        excess: u64,
    },
    /// The body ended before its declared length.
    #[error("the response's body is {missing} bytes shorter than declared")]
    BodyTooShort {
        /// Bytes that were promised.
        missing: u64,
    },
}
