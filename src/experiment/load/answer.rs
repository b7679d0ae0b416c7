//! One answer, read without I/O: bytes in, and at its end what a load test wants to know of it.
//! Bodies are counted and dropped.
//!
//! Calling order: [`AnswerReader::handle_bytes`] with whatever has been read, until it returns
//! [`Progress::Done`]; [`AnswerReader::handle_end`] when the connection ends before that. Then the
//! reader is ready for the next answer.
//!
//! The server under test may be broken or hostile: heads, fields and interim answers are bounded
//! (`limits`), two framings at a time are refused, and nothing panics.
//!
//! Not here: chunks (`chunks`), sockets (`connections`).

use crate::experiment::load::chunks::Chunks;
use crate::experiment::load::limits::{FIELDS_MAX, HEAD_SIZE_MAX, INTERIM_MAX};

/// The field in which our server says who answered (`--worker-header`).
const WORKER_FIELD: &str = "x-maitred-worker";

/// What is kept of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The final status.
    pub status: u16,
    /// Bytes of the body.
    pub body_size: u64,
    /// The slot that answered, where the server says it.
    pub worker: Option<u16>,
    /// Whether the connection may carry another request.
    pub keeps: bool,
}

/// How far an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All bytes are used up; more are needed.
    Partial,
    /// The answer is over, with this many bytes used up.
    Done(usize, Answer),
}

/// Why bytes are no answer. The server is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Not HTTP/1.
    #[error("no HTTP/1 answer: {0}")]
    Head(#[from] httparse::Error),
    /// Larger than [`HEAD_SIZE_MAX`].
    #[error("a head of more than {HEAD_SIZE_MAX} bytes")]
    HeadTooLarge,
    /// More interim answers than [`INTERIM_MAX`], or a change of protocol that nobody asked for.
    #[error("an interim answer too many")]
    Interim,
    /// A length that is no number, two that differ, a coding that is not chunked, or both.
    #[error("no telling where the body ends")]
    Framing,
    /// A chunk that is none.
    #[error("a chunk that is none")]
    Chunk,
    /// The connection ended within the answer.
    #[error("the connection ended within the answer")]
    Cut,
}

/// Reads answers to GET requests, one after the other.
#[derive(Clone, Debug, Default)]
pub struct AnswerReader {
    /// The part of a head that has come; empty in the usual case of a head that comes whole.
    head: Vec<u8>,
    interims: u8,
    body: Option<(Answer, Body)>,
}

#[derive(Clone, Copy, Debug)]
enum Body {
    Length(u64),
    Chunked(Chunks),
    /// To the connection's end.
    Rest,
}

impl AnswerReader {
    /// Reads on.
    ///
    /// # Errors
    /// The bytes are no answer; the connection is of no further use.
    pub fn handle_bytes(&mut self, input: &[u8]) -> Result<Progress, AnswerError> {
        let mut used = 0;
        while self.body.is_none() {
            match self.read_head(&input[used..])? {
                Some(length) => used += length,
                None => return Ok(Progress::Partial),
            }
        }
        self.read_body(&input[used..]).map(|progress| match progress {
            Progress::Partial => Progress::Partial,
            Progress::Done(length, answer) => Progress::Done(used + length, answer),
        })
    }

    /// The connection has ended: the answer, if this is how its body ends.
    ///
    /// # Errors
    /// The answer is cut off.
    pub fn handle_end(&mut self) -> Result<Answer, AnswerError> {
        match self.body.take() {
            Some((answer, Body::Rest)) => Ok(answer),
            _ => Err(AnswerError::Cut),
        }
    }

    /// Whether anything of an answer has come.
    pub fn has_begun(&self) -> bool {
        !self.head.is_empty() || self.interims > 0 || self.body.is_some()
    }

    /// Reads a head, and returns how many bytes of the input belonged to it; nothing if more are
    /// needed, which then keeps all of them.
    fn read_head(&mut self, input: &[u8]) -> Result<Option<usize>, AnswerError> {
        let kept = self.head.len();
        // Heads come whole as a rule, and are then read where they are.
        let bytes = if kept == 0 {
            input
        } else {
            let room = HEAD_SIZE_MAX.saturating_sub(kept) + 1;
            self.head.extend_from_slice(&input[..input.len().min(room)]);
            &self.head
        };
        let Some(Head { length, answer, body }) = parse_head(bytes)? else {
            if bytes.len() > HEAD_SIZE_MAX {
                return Err(AnswerError::HeadTooLarge);
            }
            if kept == 0 {
                self.head.extend_from_slice(input);
            }
            return Ok(None);
        };
        self.head.clear();
        if (100..200).contains(&answer.status) {
            self.interims += 1;
            if self.interims > INTERIM_MAX || answer.status == 101 {
                return Err(AnswerError::Interim);
            }
        } else {
            self.interims = 0;
            self.body = Some((answer, body));
        }
        // What was kept had no end of a head in it.
        Ok(Some(length.saturating_sub(kept)))
    }

    fn read_body(&mut self, input: &[u8]) -> Result<Progress, AnswerError> {
        let Some((answer, body)) = &mut self.body else { return Ok(Progress::Partial) };
        let (used, is_over) = match body {
            Body::Length(left) => {
                let taken = (*left).min(input.len() as u64);
                *left -= taken;
                answer.body_size += taken;
                (taken as usize, *left == 0)
            }
            Body::Chunked(chunks) => {
                let (used, is_over) = chunks.handle_bytes(input)?;
                answer.body_size = chunks.data;
                (used, is_over)
            }
            Body::Rest => {
                answer.body_size = answer.body_size.saturating_add(input.len() as u64);
                (input.len(), false)
            }
        };
        if !is_over {
            return Ok(Progress::Partial);
        }
        let answer = *answer;
        self.body = None;
        Ok(Progress::Done(used, answer))
    }
}

/// A head that is whole.
struct Head {
    length: usize,
    answer: Answer,
    body: Body,
}

/// Reads a head; nothing while it is not whole.
fn parse_head(bytes: &[u8]) -> Result<Option<Head>, AnswerError> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(bytes)? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    let status = response.code.unwrap_or(0);
    let mut keeps = response.version == Some(1);
    let (mut content_length, mut is_chunked, mut worker) = (None, false, None);
    for field in response.headers.iter() {
        let name = field.name;
        let value = field.value.trim_ascii();
        if name.eq_ignore_ascii_case("content-length") {
            let number = digits(value).ok_or(AnswerError::Framing)?;
            if content_length.replace(number).is_some_and(|other| other != number) {
                return Err(AnswerError::Framing);
            }
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            if is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(AnswerError::Framing);
            }
            is_chunked = true;
        } else if name.eq_ignore_ascii_case("connection") {
            let mut options = value.split(|&byte| byte == b',');
            if options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close")) {
                keeps = false;
            }
        } else if name.eq_ignore_ascii_case(WORKER_FIELD) {
            worker = digits(value).and_then(|number| u16::try_from(number).ok());
        }
    }
    let body = match (content_length, is_chunked) {
        _ if status < 200 || status == 204 || status == 304 => Body::Length(0),
        (Some(_), true) => return Err(AnswerError::Framing),
        (Some(length), false) => Body::Length(length),
        (None, true) => Body::Chunked(Chunks::default()),
        (None, false) => {
            keeps = false;
            Body::Rest
        }
    };
    let answer = Answer { status, body_size: 0, worker, keeps };
    Ok(Some(Head { length, answer, body }))
}

/// A decimal number and nothing else: `parse` alone takes a sign.
fn digits(value: &[u8]) -> Option<u64> {
    if !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: &[u8] =
        b"HTTP/1.1 200 OK\r\nX-Maitred-Worker: 3\r\nContent-Length: 5\r\n\r\nhello";
    const CHUNKED: &[u8] =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\
        \r\n5;a=b\r\nhello\r\n00a\r\n0123456789\r\n0\r\nX: y\r\n\r\n";
    const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";

    fn answer(status: u16, body_size: u64, worker: Option<u16>, keeps: bool) -> Answer {
        Answer { status, body_size, worker, keeps }
    }

    /// Whole, byte by byte, and with another answer behind it.
    #[test]
    fn answers_end_where_they_end() {
        for (bytes, expected) in [
            (LENGTH, answer(200, 5, Some(3), true)),
            (CHUNKED, answer(200, 15, None, false)),
            (INTERIM, answer(204, 0, None, true)),
        ] {
            let done = Ok(Progress::Done(bytes.len(), expected));
            let mut reader = AnswerReader::default();
            assert_eq!(reader.handle_bytes(bytes), done);
            assert!(!reader.has_begun());
            for (index, byte) in bytes.iter().enumerate() {
                let progress = reader.handle_bytes(std::slice::from_ref(byte));
                let is_last = index + 1 == bytes.len();
                let wanted = if is_last { Progress::Done(1, expected) } else { Progress::Partial };
                assert_eq!(progress, Ok(wanted), "byte {index}");
            }
            assert!(!reader.has_begun());
            assert_eq!(reader.handle_bytes(&[bytes, LENGTH].concat()), done);
        }
    }

    #[test]
    fn a_body_without_a_length_ends_with_the_connection() {
        let mut reader = AnswerReader::default();
        let bytes = b"HTTP/1.0 200 OK\r\n\r\nhello";
        assert_eq!(reader.handle_bytes(bytes), Ok(Progress::Partial));
        assert_eq!(reader.handle_end(), Ok(answer(200, 5, None, false)));
        assert_eq!(reader.handle_end(), Err(AnswerError::Cut));
        assert_eq!(reader.handle_bytes(&LENGTH[..LENGTH.len() - 1]), Ok(Progress::Partial));
        assert_eq!(reader.handle_end(), Err(AnswerError::Cut));
    }

    #[test]
    fn what_is_no_answer_is_refused_in_one_piece_and_in_many() {
        let head = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n").into_bytes();
        let chunked = |body: &str| {
            [head("Transfer-Encoding: chunked\r\n"), body.as_bytes().to_vec()].concat()
        };
        let many = INTERIM[..25].repeat(usize::from(INTERIM_MAX) + 1);
        for (bytes, expected) in [
            (head("Content-Length: +1\r\n"), AnswerError::Framing),
            (head("Content-Length: \r\n"), AnswerError::Framing),
            (head("Content-Length: 1\r\nContent-Length: 2\r\n"), AnswerError::Framing),
            (head("Content-Length: 99999999999999999999\r\n"), AnswerError::Framing),
            (head("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), AnswerError::Framing),
            (head("Transfer-Encoding: gzip\r\n"), AnswerError::Framing),
            (chunked("\r\n"), AnswerError::Chunk),
            (chunked("g\r\n"), AnswerError::Chunk),
            (chunked("1\n"), AnswerError::Chunk),
            (chunked("1;a\nb\r\n"), AnswerError::Chunk),
            (chunked("1\r\nab"), AnswerError::Chunk),
            (chunked("11111111111111111"), AnswerError::Chunk),
            (chunked(&format!("1;{}", "a".repeat(20_000))), AnswerError::Chunk),
            (chunked(&format!("0\r\n{}", "a: b\r\n".repeat(5000))), AnswerError::Chunk),
            (b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec(), AnswerError::Interim),
            (many, AnswerError::Interim),
            (b"SSH-2.0-x\r\n".to_vec(), AnswerError::Head(httparse::Error::Version)),
            (head(&"a: b\r\n".repeat(65)), AnswerError::Head(httparse::Error::TooManyHeaders)),
            (head(&format!("a: {}\r\n", "b".repeat(70_000))), AnswerError::HeadTooLarge),
        ] {
            let text = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
            // httparse takes a head of any size that is there as a whole, so this one is cut.
            let size = if expected == AnswerError::HeadTooLarge { 66_000 } else { bytes.len() };
            let whole = AnswerReader::default().handle_bytes(&bytes[..size]);
            assert_eq!(whole, Err(expected), "{text}");
            let mut reader = AnswerReader::default();
            let step = if bytes.len() > 10_000 { 1000 } else { 1 };
            let mut pieces = bytes.chunks(step).map(|piece| reader.handle_bytes(piece));
            let found = pieces.find(|progress| *progress != Ok(Progress::Partial));
            assert_eq!(found, Some(Err(expected)), "{text}");
        }
    }

    #[test]
    fn no_bytes_panic() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..5000 {
            let mut bytes = [LENGTH, CHUNKED, INTERIM][rng.usize(..3)].to_vec();
            for _ in 0..rng.usize(1..4) {
                let place = rng.usize(..bytes.len());
                bytes[place] = rng.u8(..);
            }
            let mut reader = AnswerReader::default();
            let (first, second) = bytes.split_at(rng.usize(..bytes.len()));
            if let Ok(Progress::Partial) = reader.handle_bytes(first) {
                let _ = reader.handle_bytes(second);
                let _ = reader.handle_end();
            }
        }
    }
}
