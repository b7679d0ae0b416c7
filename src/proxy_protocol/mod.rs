//! PROXY headers: who the client is, as a proxy in front says before anything else.
//!
//! Both versions of HAProxy's specification ("The PROXY protocol, versions 1 & 2"), without I/O:
//! bytes in, an answer out. Strict, since whoever gets this far is believed: what the specification
//! does not allow is refused, at the first byte that shows it. A header comes once for each
//! connection, so what it said travels in the connection's context (`board::Terms`) to whichever
//! worker has it next.
//!
//! ```
//! use maitred::proxy_protocol::{Announced, Parsed, parse};
//!
//! let read = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\nGET / HTTP/1.1\r\n";
//! let Parsed::Header { size, announced } = parse(read)? else { panic!("it is all there") };
//! assert_eq!(announced, Announced::Client("192.0.2.7:4711".parse().unwrap()));
//! assert_eq!(&read[size..], b"GET / HTTP/1.1\r\n");
//! assert_eq!(parse(b"PROXY TCP4 192.0")?, Parsed::Partial);
//! assert!(parse(b"GET / HTTP/1.1\r\n").is_err());
//! # Ok::<(), maitred::proxy_protocol::ProxyHeaderError>(())
//! ```
//!
//! Not here: who may send one (`config::ProxyProtocol`), when it is read (`worker`).

mod binary;
mod context;
mod text;

use std::net::SocketAddr;

use thiserror::Error;

use crate::ident::PeerAddress;

/// What bytes at the beginning of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a header; the rest has yet to come.
    Partial,
    /// A whole header.
    Header {
        /// So many bytes.
        size: usize,
        /// What it says.
        announced: Announced,
    },
}

/// Who the client is, by a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// The proxy itself (its health check, `LOCAL`), or it does not know: whoever has connected.
    Itself,
    /// This one.
    Client(SocketAddr),
    /// A client of a Unix socket.
    Local,
}

/// Why bytes are no header. The peer is at fault; the connection ends without an answer, as the
/// specification has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProxyHeaderError {
    /// It begins like no header: a client that speaks to the server directly.
    #[error("no PROXY header")]
    Absent,
    /// A first line of version 1 that does not end in time, or not with CR LF.
    #[error("a PROXY header of version 1 that does not end")]
    Unterminated,
    /// Something in a first line of version 1.
    #[error("a malformed PROXY header of version 1")]
    Line,
    /// A version, command, family or transport that there is not.
    #[error("a PROXY header of version 2 with an unknown version, command or family")]
    Kind,
    /// Longer than [`PROXY_HEADER_SIZE_MAX`](crate::config::PROXY_HEADER_SIZE_MAX), or too short
    /// for what it holds.
    #[error("a PROXY header of version 2 of an impossible length")]
    Length,
    /// Additional values that go beyond its end.
    #[error("a PROXY header of version 2 with malformed values")]
    Values,
    /// Its checksum is another one.
    #[error("a PROXY header of version 2 with a wrong checksum")]
    Checksum,
}

/// Why a connection that was to begin with a header ends without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeaderRefusal {
    /// Its peer may not say who clients are.
    #[error("its peer is not in --proxy-protocol-from")]
    UntrustedPeer,
    /// What it began with is no header.
    #[error(transparent)]
    Invalid(#[from] ProxyHeaderError),
}

/// Looks at the bytes at the beginning of a connection.
///
/// # Errors
/// They are no PROXY header, and become none.
pub fn parse(bytes: &[u8]) -> Result<Parsed, ProxyHeaderError> {
    if begins_like(bytes, text::SIGNATURE) {
        text::parse(bytes)
    } else if begins_like(bytes, binary::SIGNATURE) {
        binary::parse(bytes)
    } else {
        Err(ProxyHeaderError::Absent)
    }
}

impl Announced {
    /// The client, where the kernel says that this peer has connected.
    pub fn client_of(self, peer: PeerAddress) -> PeerAddress {
        match self {
            Announced::Itself => peer,
            Announced::Client(address) => PeerAddress::Inet(address),
            Announced::Local => PeerAddress::Local,
        }
    }
}

/// As far as there is anything to compare.
fn begins_like(bytes: &[u8], signature: &[u8]) -> bool {
    let common = bytes.len().min(signature.len());
    bytes[..common] == signature[..common]
}

#[cfg(test)]
mod tests;
