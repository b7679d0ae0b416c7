//! Fuzz target: any bytes, as a chunked body.
//!
//! A second decoder, written as the grammar reads (RFC 9112 section 7.1, without bad whitespace)
//! and sharing no code with the first, must come to the same end, body and verdict: whoever finds
//! the end of a chunked body elsewhere can be smuggled through.
//!
//! Not here: heads (`request_head`).

use maitred::config::HttpLimits;
use maitred::http::BodyKind;

use crate::drive::Transcript;

const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Longer inputs could meet limits that the second decoder does not have.
const SIZE_MAX: usize = 4000;

/// Runs the target on one input. Panics if what it promises does not hold.
pub(crate) fn run(data: &[u8]) {
    let data = &data[..data.len().min(SIZE_MAX)];
    let limits = HttpLimits { fields_max: SIZE_MAX, ..HttpLimits::default() };
    let transcript = Transcript::in_pieces(&[HEAD, data].concat(), limits);
    let request = transcript.requests.first().expect("the head is in order");
    assert_eq!(request.head.method.as_str(), "POST");
    assert_eq!((request.kind, request.head_end), (BodyKind::Chunked, HEAD.len()));

    let mut decoder = Decoder { rest: data, body: Vec::new() };
    let verdict = decoder.body();
    assert_eq!(request.body, decoder.body, "the same data");
    let end = request.end.map(|end| end - HEAD.len());
    match verdict {
        Ok(()) => assert_eq!(end, Some(data.len() - decoder.rest.len()), "the same end"),
        Err(Stop::Partial) => assert!(end.is_none() && transcript.refused.is_none(), "{data:?}"),
        Err(Stop::Wrong) => assert!(end.is_none() && transcript.refused.is_some(), "{data:?}"),
    }
}

/// The second decoder.
struct Decoder<'a> {
    rest: &'a [u8],
    body: Vec<u8>,
}

/// Why it stopped before the end.
enum Stop {
    Partial,
    Wrong,
}

impl Decoder<'_> {
    /// `chunked-body = *chunk last-chunk trailer-section CRLF`
    fn body(&mut self) -> Result<(), Stop> {
        let mut total = 0_u64;
        loop {
            let size = self.size()?;
            while self.peek()? == b';' {
                self.extension()?;
            }
            self.exactly(b"\r\n")?;
            if size == 0 {
                break;
            }
            total = total.checked_add(size).ok_or(Stop::Wrong)?;
            for _ in 0..size {
                let byte = self.next()?;
                self.body.push(byte);
            }
            self.exactly(b"\r\n")?;
        }
        while self.peek()? != b'\r' {
            self.token()?;
            self.exactly(b":")?;
            while is_text(self.peek()?) {
                self.next()?;
            }
            self.exactly(b"\r\n")?;
        }
        self.exactly(b"\r\n")
    }

    /// `chunk-size = 1*HEXDIG`, at most sixteen of them.
    fn size(&mut self) -> Result<u64, Stop> {
        let mut digits = String::new();
        while digits.is_empty() || self.peek()?.is_ascii_hexdigit() {
            let byte = self.next()?;
            if !byte.is_ascii_hexdigit() || digits.len() == 16 {
                return Err(Stop::Wrong);
            }
            digits.push(char::from(byte));
        }
        u64::from_str_radix(&digits, 16).map_err(|_| Stop::Wrong)
    }

    /// `";" chunk-ext-name [ "=" ( token / quoted-string ) ]`
    fn extension(&mut self) -> Result<(), Stop> {
        self.exactly(b";")?;
        self.token()?;
        if self.peek()? != b'=' {
            return Ok(());
        }
        self.exactly(b"=")?;
        if self.peek()? != b'"' {
            return self.token();
        }
        self.exactly(b"\"")?;
        loop {
            match self.next()? {
                b'"' => return Ok(()),
                b'\\' if !is_text(self.next()?) => return Err(Stop::Wrong),
                byte if !is_text(byte) => return Err(Stop::Wrong),
                _ => {}
            }
        }
    }

    /// `1*tchar`
    fn token(&mut self) -> Result<(), Stop> {
        if !is_token(self.next()?) {
            return Err(Stop::Wrong);
        }
        while is_token(self.peek()?) {
            self.next()?;
        }
        Ok(())
    }

    fn exactly(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        for &byte in bytes {
            if self.next()? != byte {
                return Err(Stop::Wrong);
            }
        }
        Ok(())
    }

    fn peek(&self) -> Result<u8, Stop> {
        self.rest.first().copied().ok_or(Stop::Partial)
    }

    fn next(&mut self) -> Result<u8, Stop> {
        let byte = self.peek()?;
        self.rest = &self.rest[1..];
        Ok(byte)
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}
