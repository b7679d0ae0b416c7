//! Finding the end of a request's head, without looking at any byte twice.
//!
//! A head may come in as many pieces as it has bytes. The scan remembers how far it has looked, so
//! that the whole costs one pass, and it applies every limit as it goes: a line that will be
//! refused for its length is refused before it is stored to its end. It also sees to it that each
//! line ends in CR LF, which httparse does not, so that both find the same lines.
//!
//! Not here: what stands in the lines (`head`).

use crate::config::{HEAD_LARGEST_FIELDS_MAX, HttpLimits};
use crate::http::error::HttpError;

/// Bytes of the largest head that passes: what a shell must be able to hold.
///
/// The request line, [`HEAD_LARGEST_FIELDS_MAX`] fields of the largest size, and the empty line.
pub fn head_size_max(limits: &HttpLimits) -> usize {
    let line = limits.request_line_max.saturating_add(2);
    let field = limits.field_size_max.saturating_add(2);
    line.saturating_add(field.saturating_mul(HEAD_LARGEST_FIELDS_MAX)).saturating_add(2)
}

/// How far the head of the next request has been looked through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HeadScan {
    /// Bytes looked at, counted from the head's first.
    searched: usize,
    /// Where the line begins that is being looked through.
    line_start: usize,
    /// Lines that have ended before it.
    lines: usize,
    /// The one empty line that may precede a request was there (RFC 9112 section 2.2).
    blank_line_skipped: bool,
}

/// A complete head, found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeadFound {
    /// Its bytes, with the empty line.
    pub(super) size: usize,
    /// Its header fields.
    pub(super) fields: usize,
}

impl HeadScan {
    /// Looks through what has not been looked at. `input` begins where the last call's left off
    /// consuming. Returns how many bytes precede the head and are done with (an empty line), and
    /// the head behind them if it is complete.
    ///
    /// # Errors
    /// The limits, a bare LF, and a first byte that cannot begin a request. The same error for the
    /// same bytes, however they are cut into pieces.
    pub(super) fn advance(
        &mut self,
        input: &[u8],
        limits: &HttpLimits,
    ) -> Result<(usize, Option<HeadFound>), HttpError> {
        let skipped = if self.lines == 0 { self.begin(input)? } else { Some(0) };
        let Some(skipped) = skipped else {
            return Ok((0, None));
        };
        let head = &input[skipped..];
        Ok((skipped, self.find_end(head, limits)?))
    }

    /// Nothing of a head has been seen.
    pub(super) fn is_untouched(&self) -> bool {
        self.searched == 0
    }

    /// `searched >= line_start`, and neither passes the largest head.
    pub(super) fn check_invariants(&self, limits: &HttpLimits) {
        assert!(self.line_start <= self.searched, "a line begins in what has been searched");
        assert!(self.searched <= head_size_max(limits), "the search stops at the limit");
        assert!(self.lines <= limits.fields_max.saturating_add(1), "fields are counted");
    }

    /// Judges the first bytes: `None` until they can be judged, else how many to skip.
    fn begin(&mut self, input: &[u8]) -> Result<Option<usize>, HttpError> {
        let skipped = match input {
            [] => return Ok(None),
            [b'\r'] if !self.blank_line_skipped => {
                self.searched = 1;
                return Ok(None);
            }
            [b'\r', b'\n', ..] if !self.blank_line_skipped => {
                self.blank_line_skipped = true;
                self.searched = 0;
                2
            }
            _ => 0,
        };
        match input.get(skipped) {
            None => Ok(Some(skipped)),
            Some(b'\n') => Err(HttpError::BareLineFeed),
            Some(&byte) if !is_token_byte(byte) => Err(HttpError::NotHttp),
            Some(_) => Ok(Some(skipped)),
        }
    }

    fn find_end(
        &mut self,
        head: &[u8],
        limits: &HttpLimits,
    ) -> Result<Option<HeadFound>, HttpError> {
        let head_max = head_size_max(limits);
        loop {
            let (line_max, too_long) = match self.lines {
                0 => (limits.request_line_max, HttpError::RequestLineTooLong),
                _ => (limits.field_size_max, HttpError::FieldTooLarge),
            };
            // The search ends at the limit even where more bytes are at hand, so that what stands
            // behind it has no influence on the answer.
            let line_end_max = self.line_start.saturating_add(line_max).saturating_add(2);
            let window_end = line_end_max.min(head_max);
            let window = head.get(self.searched..head.len().min(window_end)).unwrap_or_default();
            let Some(distance) = find_line_feed(window) else {
                self.searched += window.len();
                return match self.searched < window_end {
                    true => Ok(None),
                    false if line_end_max <= head_max => Err(too_long),
                    false => Err(HttpError::HeadTooLarge),
                };
            };
            let line_feed = self.searched + distance;
            if line_feed == self.line_start || head[line_feed - 1] != b'\r' {
                return Err(HttpError::BareLineFeed);
            }
            let is_empty = line_feed - 1 == self.line_start;
            self.searched = line_feed + 1;
            self.line_start = self.searched;
            if is_empty {
                return Ok(Some(HeadFound { size: self.searched, fields: self.lines - 1 }));
            }
            if self.lines > limits.fields_max {
                return Err(HttpError::FieldsTooMany);
            }
            self.lines += 1;
        }
    }
}

/// A byte of a token (RFC 9110 section 5.6.2): methods, field names, chunk extensions.
pub(super) const fn is_token_byte(byte: u8) -> bool {
    matches!(byte,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9'
        | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+'
        | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// Where the first LF stands. Eight bytes at a time: a byte-by-byte search is the larger half of
/// the time that a browser's head of 500 bytes takes.
fn find_line_feed(haystack: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    const LINE_FEEDS: u64 = ONES * b'\n' as u64;
    let (words, rest) = haystack.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        // A byte of `zeros` is 0 where the word has LF; the lowest high bit that the next line
        // leaves marks the first of them (Hacker's Delight, section 6-1).
        let zeros = u64::from_le_bytes(*word) ^ LINE_FEEDS;
        let marks = zeros.wrapping_sub(ONES) & !zeros & HIGHS;
        if marks != 0 {
            return Some(index * 8 + marks.trailing_zeros() as usize / 8);
        }
    }
    let found = rest.iter().position(|&byte| byte == b'\n')?;
    Some(words.len() * 8 + found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> HttpLimits {
        HttpLimits {
            request_line_max: 20,
            fields_max: 2,
            field_size_max: 10,
            ..HttpLimits::default()
        }
    }

    /// The same bytes whole, byte by byte, and with others behind them.
    fn scan(input: &[u8]) -> Result<(usize, Option<HeadFound>), HttpError> {
        let whole = HeadScan::default().advance(input, &limits());
        let mut scan = HeadScan::default();
        let mut skipped_sum = 0;
        let mut outcome = Ok((0, None));
        for end in 1..=input.len() {
            outcome = scan.advance(&input[skipped_sum..end], &limits()).map(|(skipped, found)| {
                skipped_sum += skipped;
                (skipped_sum, found)
            });
            match outcome {
                Ok((_, None)) => scan.check_invariants(&limits()),
                Ok((_, Some(_))) | Err(_) => break,
            }
        }
        assert_eq!(whole, outcome, "byte by byte: {input:?}");
        if !matches!(whole, Ok((_, None))) {
            let trailing = [input, b"\n\x00 trailing"].concat();
            assert_eq!(whole, HeadScan::default().advance(&trailing, &limits()), "{input:?}");
        }
        whole
    }

    fn found(skipped: usize, size: usize, fields: usize) -> (usize, Option<HeadFound>) {
        (skipped, Some(HeadFound { size, fields }))
    }

    #[test]
    fn a_head_ends_at_its_empty_line() {
        assert_eq!(scan(b"GET / HTTP/1.1\r\n\r\n"), Ok(found(0, 18, 0)));
        assert_eq!(scan(b"GET / HTTP/1.1\r\na:b\r\nc:d\r\n\r\n"), Ok(found(0, 28, 2)));
        assert_eq!(scan(b"GET / HTTP/1.1\r\na:b\r\n"), Ok((0, None)));
        assert_eq!(scan(b""), Ok((0, None)));
    }

    #[test]
    fn one_empty_line_may_precede_it() {
        assert_eq!(scan(b"\r\nGET / HTTP/1.1\r\n\r\n"), Ok(found(2, 18, 0)));
        assert_eq!(scan(b"\r\n"), Ok((2, None)));
        assert_eq!(scan(b"\r"), Ok((0, None)));
        assert_eq!(scan(b"\r\n\r"), Err(HttpError::NotHttp));
        assert_eq!(scan(b"\rG"), Err(HttpError::NotHttp));
        assert_eq!(scan(b"\n"), Err(HttpError::BareLineFeed));
        assert_eq!(scan(b"\r\n\n"), Err(HttpError::BareLineFeed));
    }

    #[test]
    fn every_line_ends_in_both_bytes() {
        assert_eq!(scan(b"GET / HTTP/1.1\n"), Err(HttpError::BareLineFeed));
        assert_eq!(scan(b"GET / HTTP/1.1\r\na:b\n"), Err(HttpError::BareLineFeed));
        assert_eq!(scan(b"GET / HTTP/1.1\r\n\n"), Err(HttpError::BareLineFeed));
    }

    #[test]
    fn every_limit_is_met_exactly() {
        assert_eq!(scan(b"GET /234567890 HTTP/\r\n\r\n"), Ok(found(0, 24, 0)));
        assert_eq!(scan(b"GET /2345678901 HTTP/\r"), Err(HttpError::RequestLineTooLong));
        assert_eq!(scan(b"G /\r\na:34567890\r\n\r\n"), Ok(found(0, 19, 1)));
        assert_eq!(scan(b"G /\r\na:345678901\r"), Err(HttpError::FieldTooLarge));
        assert_eq!(scan(b"G /\r\na:b\r\nc:d\r\ne:f\r\n"), Err(HttpError::FieldsTooMany));
    }

    #[test]
    fn the_head_as_a_whole_has_a_limit() {
        let limits = HttpLimits { fields_max: 1000, ..limits() };
        let mut head = b"GET / HTTP/1.1\r\n".to_vec();
        while head.len() < head_size_max(&limits) {
            head.extend_from_slice(b"a:b\r\n");
        }
        let outcome = HeadScan::default().advance(&head, &limits);
        assert_eq!(outcome, Err(HttpError::HeadTooLarge));
    }

    #[test]
    fn the_search_by_words_agrees_with_the_plain_one() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..2000 {
            let length = random.usize(0..40);
            // Mostly bytes near LF, where a borrow between the bytes of a word would show.
            let bytes: Vec<u8> = (0..length).map(|_| random.u8(8..14)).collect();
            let plain = bytes.iter().position(|&byte| byte == b'\n');
            assert_eq!(find_line_feed(&bytes), plain, "{bytes:?}");
        }
    }
}
