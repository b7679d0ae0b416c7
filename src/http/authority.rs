//! The syntax of `host[:port]`: the Host field, and the authority of an absolute target.
//!
//! Servers behind one another that disagree on what a Host means send a request to the wrong one
//! of them, or a cache to the wrong entry. So only what RFC 3986 section 3.2.2 calls a host passes,
//! without user information, and an empty one does not.
//!
//! Not here: which of the two counts (`fields`).

use std::net::Ipv6Addr;

/// Whether `authority` is a host with an optional port: an IPv6 address in brackets, or a name or
/// IPv4 address of unreserved bytes, sub-delimiters and percent-encoded ones; a port is empty or a
/// decimal number up to 65535.
pub(super) fn is_host_and_port(authority: &[u8]) -> bool {
    match authority {
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|&byte| byte == b']') else {
                return false;
            };
            is_ipv6(&rest[..end])
                && match &rest[end + 1..] {
                    [] => true,
                    [b':', port @ ..] => is_port(port),
                    [..] => false,
                }
        }
        [..] => {
            let end = authority.iter().position(|&byte| byte == b':').unwrap_or(authority.len());
            let (host, port) = authority.split_at(end);
            is_name(host)
                && match port {
                    [] => true,
                    [_, port @ ..] => is_port(port),
                }
        }
    }
}

/// IPvFuture and zone identifiers (RFC 6874) are left out: no client sends them.
fn is_ipv6(literal: &[u8]) -> bool {
    std::str::from_utf8(literal).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

fn is_port(port: &[u8]) -> bool {
    let number = port.iter().try_fold(0_u32, |number, &byte| {
        let sum = number * 10 + u32::from(byte.wrapping_sub(b'0'));
        (byte.is_ascii_digit() && sum <= u32::from(u16::MAX)).then_some(sum)
    });
    number.is_some()
}

fn is_name(name: &[u8]) -> bool {
    let mut rest = name;
    while let [first, behind @ ..] = rest {
        rest = match (first, behind) {
            (b'%', [high, low, behind @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                behind
            }
            (first, behind) if is_name_byte(*first) => behind,
            (_, _) => return false,
        };
    }
    !name.is_empty()
}

/// `unreserved` and `sub-delims` of RFC 3986.
const fn is_name_byte(byte: u8) -> bool {
    matches!(byte,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9'
        | b'-' | b'.' | b'_' | b'~'
        | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_every_kind_pass() {
        for authority in [
            "example.org",
            "example.org:80",
            "example.org:",
            "127.0.0.1:65535",
            "[::1]",
            "[2001:db8::7]:8000",
            "a_b-c.example",
            "b%C3%BCcher.example",
            "localhost:00080",
        ] {
            assert!(is_host_and_port(authority.as_bytes()), "{authority}");
        }
    }

    #[test]
    fn all_else_is_refused() {
        for authority in [
            "",
            ":80",
            "a:b",
            "a:80:80",
            "a:65536",
            "a:99999999999999999999",
            "a:+1",
            "user@a",
            "a b",
            "a/b",
            "a?b",
            "a#b",
            "a%2",
            "a%zz",
            "a\\b",
            "<a>",
            "[::1",
            "[::1]x",
            "[::1]:x",
            "[v1.a]",
            "[fe80::1%25eth0]",
            "[127.0.0.1]",
            "::1",
            "b\u{fc}cher",
        ] {
            assert!(!is_host_and_port(authority.as_bytes()), "{authority}");
        }
    }
}
