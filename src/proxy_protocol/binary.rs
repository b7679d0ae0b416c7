//! Version 2: sixteen bytes, addresses, and additional values.
//!
//! Not here: version 1 (`text`).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Announced, Parsed, ProxyHeaderError};
use crate::config::PROXY_HEADER_SIZE_MAX;

/// No other protocol begins like this (section 2.2).
pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family and transport, length of the rest.
const FIXED_SIZE: usize = 16;

/// Two addresses and two ports.
const INET_SIZE: usize = 12;
const INET6_SIZE: usize = 36;
/// Two paths.
const UNIX_SIZE: usize = 216;

/// The additional value that holds a CRC-32c of the whole header (section 2.2.3).
const CHECKSUM: u8 = 0x03;

/// Of an additional value: type and length.
const VALUE_FIXED_SIZE: usize = 3;

/// What a header is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Command {
    /// The proxy speaks for itself.
    Local,
    /// It speaks for a client.
    Proxy,
}

/// Bytes that begin like it.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, ProxyHeaderError> {
    // Refused as soon as it can be: who sends nonsense need not send all of it.
    let command = match bytes.get(SIGNATURE.len()) {
        Some(0x20) => Command::Local,
        Some(0x21) => Command::Proxy,
        Some(_) => return Err(ProxyHeaderError::Kind),
        None => return Ok(Parsed::Partial),
    };
    let Some(fixed) = bytes.first_chunk::<FIXED_SIZE>() else { return Ok(Parsed::Partial) };
    let size = FIXED_SIZE + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if size > PROXY_HEADER_SIZE_MAX {
        return Err(ProxyHeaderError::Length);
    }
    let addresses = match (command, fixed[13]) {
        // Whatever it holds says nothing (section 2.2).
        (Command::Local, _) => 0,
        // Neither family nor transport is known; or only the transport is not.
        (Command::Proxy, 0x00) => 0,
        (Command::Proxy, 0x11) => INET_SIZE,
        (Command::Proxy, 0x21) => INET6_SIZE,
        (Command::Proxy, 0x31) => UNIX_SIZE,
        // Datagrams do not come by a stream.
        (Command::Proxy, _) => return Err(ProxyHeaderError::Kind),
    };
    if size < FIXED_SIZE + addresses {
        return Err(ProxyHeaderError::Length);
    }
    let Some(header) = bytes.get(..size) else { return Ok(Parsed::Partial) };
    if command == Command::Local {
        return Ok(Parsed::Header { size, announced: Announced::Itself });
    }
    let announced = match &header[FIXED_SIZE..FIXED_SIZE + addresses] {
        [] => Announced::Itself,
        [a, b, c, d, _, _, _, _, high, low, _, _] => {
            let address = Ipv4Addr::new(*a, *b, *c, *d);
            Announced::Client(SocketAddr::from((address, u16::from_be_bytes([*high, *low]))))
        }
        addresses => match (addresses.first_chunk::<16>(), addresses.get(32..34)) {
            (Some(address), Some([high, low])) if addresses.len() == INET6_SIZE => {
                let (address, port) = (Ipv6Addr::from(*address), [*high, *low]);
                Announced::Client(SocketAddr::from((address, u16::from_be_bytes(port))))
            }
            _ => Announced::Local,
        },
    };
    check_values(header, FIXED_SIZE + addresses)?;
    Ok(Parsed::Header { size, announced })
}

/// The additional values must end where the header does, and a checksum must be right.
fn check_values(header: &[u8], begin: usize) -> Result<(), ProxyHeaderError> {
    let mut at = begin;
    let mut checksum_at = None;
    while at < header.len() {
        let Some([kind, high, low]) = header.get(at..at + VALUE_FIXED_SIZE) else {
            return Err(ProxyHeaderError::Values);
        };
        let size = usize::from(u16::from_be_bytes([*high, *low]));
        let value = at + VALUE_FIXED_SIZE;
        if value + size > header.len() {
            return Err(ProxyHeaderError::Values);
        }
        if *kind == CHECKSUM && (size != 4 || checksum_at.replace(value).is_some()) {
            return Err(ProxyHeaderError::Values);
        }
        at = value + size;
    }
    let Some(checksum_at) = checksum_at else { return Ok(()) };
    // Of the header with zeros in its own place.
    let (before, rest) = header.split_at(checksum_at);
    let (said, after) = rest.split_at(4);
    let sum = crc32c::crc32c_append(crc32c::crc32c(before), &[0; 4]);
    let sum = crc32c::crc32c_append(sum, after);
    if sum.to_be_bytes() == said { Ok(()) } else { Err(ProxyHeaderError::Checksum) }
}
