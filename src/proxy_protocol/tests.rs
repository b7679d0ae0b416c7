//! Each header whole, byte by byte, and with more behind it; and each way of being none.

use super::*;
use crate::config::PROXY_HEADER_SIZE_MAX;

fn client(text: &str) -> Announced {
    Announced::Client(text.parse().unwrap())
}

/// A header of version 2.
fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [binary::SIGNATURE, &[command, family], &length, rest].concat()
}

const INET: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0, 80];

fn inet6() -> Vec<u8> {
    let source: std::net::Ipv6Addr = "2001:db8::7".parse().unwrap();
    [&source.octets()[..], &[0; 16], &[0x12, 0x67, 0, 80]].concat()
}

/// With a checksum behind what is there already.
fn with_checksum(rest: &[u8]) -> Vec<u8> {
    let zeros = [rest, &[0x03, 0, 4, 0, 0, 0, 0]].concat();
    let whole = header(0x21, 0x11, &zeros);
    let sum = crc32c::crc32c(&whole).to_be_bytes();
    [&whole[..whole.len() - 4], &sum].concat()
}

#[test]
fn each_header_says_the_same_whole_in_pieces_and_with_more_behind() {
    let unix = [0; 216];
    let values = [&INET[..], &[0x04, 0, 2, 9, 9], &[0x02, 0, 1, b'h']].concat();
    let good: Vec<(Vec<u8>, Announced)> = vec![
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n".to_vec(), client("192.0.2.7:4711")),
        (b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n".to_vec(), client("0.0.0.0:0")),
        (b"PROXY TCP6 2001:db8::7 ::1 4711 80\r\n".to_vec(), client("[2001:db8::7]:4711")),
        (b"PROXY UNKNOWN\r\n".to_vec(), Announced::Itself),
        (b"PROXY UNKNOWN anything at all 1 2\r\n".to_vec(), Announced::Itself),
        (
            b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
              ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"
                .to_vec(),
            client("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
        ),
        (header(0x21, 0x11, &INET), client("192.0.2.7:4711")),
        (header(0x21, 0x21, &inet6()), client("[2001:db8::7]:4711")),
        (header(0x21, 0x31, &unix), Announced::Local),
        (header(0x21, 0x00, &[]), Announced::Itself),
        (header(0x20, 0x00, &[]), Announced::Itself),
        // What a health check says of itself is not looked at.
        (header(0x20, 0xff, &[1, 2, 3]), Announced::Itself),
        (header(0x21, 0x11, &values), client("192.0.2.7:4711")),
        (with_checksum(&INET), client("192.0.2.7:4711")),
        (with_checksum(&values), client("192.0.2.7:4711")),
    ];
    for (bytes, announced) in good {
        let whole = Ok(Parsed::Header { size: bytes.len(), announced });
        assert_eq!(parse(&bytes), whole, "{}", bytes.escape_ascii());
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end]), Ok(Parsed::Partial), "{}", bytes.escape_ascii());
        }
        for more in [&b"GET / HTTP/1.1\r\n"[..], b"PROXY ", b"\r", b"\0"] {
            assert_eq!(parse(&[&bytes[..], more].concat()), whole, "{}", bytes.escape_ascii());
        }
        let travelled = Announced::of_context(&announced.context());
        assert_eq!(travelled, Some(announced));
    }
}

#[test]
fn what_is_no_header_of_version_1_is_refused() {
    use ProxyHeaderError::{Absent, Line, Unterminated};
    for (text, error) in [
        ("GET / HTTP/1.1\r\n", Absent),
        ("P\r", Absent),
        ("proxy TCP4", Absent),
        ("PROXY\r\n", Absent),
        (" PROXY TCP4", Absent),
        ("PROXY \r\n", Line),
        ("PROXY TCP4\r\n", Line),
        ("PROXY tcp4 192.0.2.7 198.51.100.1 4711 80\r\n", Line),
        ("PROXY TCP5 192.0.2.7 198.51.100.1 4711 80\r\n", Line),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n", Line),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 4711 80 9\r\n", Line),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 4711 80 \r\n", Line),
        ("PROXY TCP4  192.0.2.7 198.51.100.1 4711 80\r\n", Line),
        ("PROXY TCP4 192.0.2 198.51.100.1 4711 80\r\n", Line),
        ("PROXY TCP4 192.0.2.07 198.51.100.1 4711 80\r\n", Line),
        ("PROXY TCP4 2001:db8::7 ::1 4711 80\r\n", Line),
        ("PROXY TCP6 192.0.2.7 198.51.100.1 4711 80\r\n", Line),
        ("PROXY TCP6 fe80::1%lo ::1 4711 80\r\n", Line),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 65536 80\r\n", Line),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 +1 80\r\n", Line),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 04711 80\r\n", Line),
        ("PROXY TCP4 192.0.2.7 198.51.100.1  80\r\n", Line),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\n", Unterminated),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\r\n", Unterminated),
        ("PROXY UNKNOWN\n\r\n", Unterminated),
    ] {
        assert_eq!(parse(text.as_bytes()), Err(error), "{text:?}");
    }
    let endless = format!("PROXY UNKNOWN {}", "a".repeat(200));
    assert_eq!(parse(&endless.as_bytes()[..106]), Ok(Parsed::Partial));
    assert_eq!(parse(&endless.as_bytes()[..107]), Err(Unterminated));
    assert_eq!(parse(endless.as_bytes()), Err(Unterminated));
    // The 107th byte is the last that may be a line feed.
    let longest = format!("PROXY UNKNOWN {}\r\n", "a".repeat(91));
    assert_eq!(longest.len(), 107);
    assert!(matches!(parse(longest.as_bytes()), Ok(Parsed::Header { size: 107, .. })));
    let longer = format!("PROXY UNKNOWN {}\r\n", "a".repeat(92));
    assert_eq!(parse(longer.as_bytes()), Err(Unterminated));
    assert_eq!(parse(b"PROXY UNKNOWN \xff\r\n"), Err(Line));
}

#[test]
fn what_is_no_header_of_version_2_is_refused_as_early_as_can_be() {
    use ProxyHeaderError::{Absent, Checksum, Kind, Length, Values};
    assert_eq!(parse(b"\r\n\r\n\0\r\nQUIT\r"), Err(Absent));
    for command in [0x00, 0x10, 0x11, 0x22, 0x2f, 0x31] {
        let bytes = [binary::SIGNATURE, &[command]].concat();
        assert_eq!(parse(&bytes), Err(Kind), "{command:#x}");
    }
    for family in [0x01, 0x02, 0x10, 0x12, 0x13, 0x22, 0x32, 0x41, 0xff] {
        assert_eq!(parse(&header(0x21, family, &[0; 216])), Err(Kind), "{family:#x}");
    }
    assert_eq!(parse(&header(0x21, 0x11, &INET[..11])), Err(Length));
    assert_eq!(parse(&header(0x21, 0x21, &INET)), Err(Length));
    assert_eq!(parse(&header(0x21, 0x31, &[0; 215])), Err(Length));
    let largest = header(0x20, 0x00, &vec![0; PROXY_HEADER_SIZE_MAX - 16]);
    assert!(matches!(parse(&largest), Ok(Parsed::Header { .. })));
    let larger = header(0x20, 0x00, &vec![0; PROXY_HEADER_SIZE_MAX - 15]);
    assert_eq!(parse(&larger[..16]), Err(Length), "known before it has come");
    for values in [&[1][..], &[1, 0], &[1, 0, 1], &[1, 0xff, 0xff, 0], &[4, 0, 0, 1]] {
        let bytes = header(0x21, 0x11, &[&INET[..], values].concat());
        assert_eq!(parse(&bytes), Err(Values), "{values:?}");
    }
    let twice = [&INET[..], &[0x03, 0, 4, 0, 0, 0, 0], &[0x03, 0, 4, 0, 0, 0, 0]].concat();
    assert_eq!(parse(&header(0x21, 0x11, &twice)), Err(Values));
    let short = [&INET[..], &[0x03, 0, 3, 0, 0, 0]].concat();
    assert_eq!(parse(&header(0x21, 0x11, &short)), Err(Values));
    let good = with_checksum(&INET);
    // Of another type it would be a value that nobody knows, and no checksum.
    let kind = good.len() - 7;
    for place in (16..good.len()).filter(|place| *place != kind) {
        let mut changed = good.clone();
        changed[place] ^= 1;
        let refused = parse(&changed).unwrap_err();
        assert!([Checksum, Values].contains(&refused), "{place}: {refused}");
    }
}

#[test]
fn a_context_of_something_else_says_nothing() {
    let mut context = [0; crate::config::CONTEXT_SIZE];
    assert_eq!(Announced::of_context(&context), None);
    for (tag, kind) in [(b'P', 0), (b'P', 3), (b'P', 255), (b'Q', 4), (0, 4)] {
        (context[0], context[1]) = (tag, kind);
        assert_eq!(Announced::of_context(&context), None);
    }
}
