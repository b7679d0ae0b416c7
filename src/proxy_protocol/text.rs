//! Version 1: one line of text.
//!
//! Not here: version 2 (`binary`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Announced, Parsed, ProxyHeaderError};

pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// Its longest line, line end included (section 2.1).
const SIZE_MAX: usize = 107;

/// Bytes that begin like it.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, ProxyHeaderError> {
    let looked_at = &bytes[..bytes.len().min(SIZE_MAX)];
    let Some(end) = looked_at.iter().position(|byte| *byte == b'\r' || *byte == b'\n') else {
        let ends = looked_at.len() == SIZE_MAX;
        return if ends { Err(ProxyHeaderError::Unterminated) } else { Ok(Parsed::Partial) };
    };
    match looked_at.get(end..end + 2) {
        Some(b"\r\n") => {}
        None if looked_at[end] == b'\r' && looked_at.len() < SIZE_MAX => {
            return Ok(Parsed::Partial);
        }
        Some(_) | None => return Err(ProxyHeaderError::Unterminated),
    }
    let line = std::str::from_utf8(&looked_at[..end]).map_err(|_| ProxyHeaderError::Line)?;
    let announced = announced(line).ok_or(ProxyHeaderError::Line)?;
    Ok(Parsed::Header { size: end + 2, announced })
}

fn announced(line: &str) -> Option<Announced> {
    let mut words = line.split(' ').skip(1);
    match words.next()? {
        // Whatever follows says nothing (section 2.1).
        "UNKNOWN" => Some(Announced::Itself),
        "TCP4" => client(words, |word| word.parse::<Ipv4Addr>().ok().map(IpAddr::V4)),
        "TCP6" => client(words, |word| word.parse::<Ipv6Addr>().ok().map(IpAddr::V6)),
        _ => None,
    }
}

fn client<'a>(
    mut words: impl Iterator<Item = &'a str>,
    address: impl Fn(&str) -> Option<IpAddr>,
) -> Option<Announced> {
    let source = address(words.next()?)?;
    let _destination = address(words.next()?)?;
    let port = port(words.next()?)?;
    let _destination = self::port(words.next()?)?;
    words.next().is_none().then(|| Announced::Client(SocketAddr::new(source, port)))
}

/// Decimal, without sign or leading zeros.
fn port(word: &str) -> Option<u16> {
    let is_decimal = word.bytes().all(|byte| byte.is_ascii_digit());
    let has_zeros = word.len() > 1 && word.starts_with('0');
    if is_decimal && !has_zeros { word.parse().ok() } else { None }
}
