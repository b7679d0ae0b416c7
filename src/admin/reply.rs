//! The answer to an operator's client, from bytes: a small HTTP/1.1 answer whose length is said.
//!
//! What answers may be anything that listens at that address. The server of ours always says how
//! long its answers are; whatever does not is none.
//!
//! ```
//! use maitred::admin::reply::{Reply, ReplyError};
//!
//! let read = b"HTTP/1.1 409 Conflict\r\nContent-Length: 3\r\n\r\nwhy";
//! assert_eq!(Reply::parse(&read[..40]), Ok(None), "it goes on");
//! let reply = Reply::parse(read)?.expect("it is whole");
//! assert_eq!((reply.status, reply.body), (409, b"why".to_vec()));
//! assert_eq!(Reply::parse(b"SSH-2.0-x\r\n"), Err(ReplyError::NotHttp));
//! # Ok::<(), ReplyError>(())
//! ```
//!
//! Not here: asking (`cli::ctl::client`), what a body says (`observe::view`).

use thiserror::Error;

use crate::config::{ADMIN_REPLY_FIELDS_MAX, ADMIN_REPLY_SIZE_MAX};

/// What came back, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// So many bytes as it said.
    pub body: Vec<u8>,
}

/// Why bytes are no answer of a server of ours, and become none. Whoever listens there is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// Something else, or a head with more fields than any of ours.
    #[error("no HTTP")]
    NotHttp,
    /// A head that is longer than any answer.
    #[error("a head without end")]
    HeadTooLong,
    /// It does not say how long it is, or says two things, or is longer than any answer.
    #[error("no length, or too long")]
    Length,
}

impl Reply {
    /// The answer at the beginning of these bytes; none while it is not whole. What stands behind it
    /// is nobody's.
    ///
    /// # Errors
    /// There is none, and none will come of it.
    pub fn parse(bytes: &[u8]) -> Result<Option<Reply>, ReplyError> {
        let mut fields = [httparse::EMPTY_HEADER; ADMIN_REPLY_FIELDS_MAX];
        let mut response = httparse::Response::new(&mut fields);
        let head = match response.parse(bytes) {
            Ok(httparse::Status::Complete(head)) => head,
            Ok(httparse::Status::Partial) if bytes.len() < ADMIN_REPLY_SIZE_MAX => return Ok(None),
            Ok(httparse::Status::Partial) => return Err(ReplyError::HeadTooLong),
            Err(_) => return Err(ReplyError::NotHttp),
        };
        let status = response.code.ok_or(ReplyError::NotHttp)?;
        let is_length =
            |field: &&httparse::Header<'_>| field.name.eq_ignore_ascii_case("content-length");
        let mut lengths = response.headers.iter().filter(is_length);
        let length = lengths.next().and_then(|field| decimal(field.value));
        let length = length.filter(|length| *length <= ADMIN_REPLY_SIZE_MAX);
        let length = length.filter(|_| lengths.next().is_none()).ok_or(ReplyError::Length)?;
        Ok(bytes[head..].get(..length).map(|body| Reply { status, body: body.to_vec() }))
    }
}

/// Digits alone: `str::parse` would take a sign.
fn decimal(bytes: &[u8]) -> Option<usize> {
    let digits = std::str::from_utf8(bytes).ok()?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_when_it_is_whole_and_nothing_else_is() {
        let whole = b"HTTP/1.1 409 Conflict\r\nA: b\r\ncontent-length: 3\r\n\r\nwhy";
        for length in 0..whole.len() {
            assert_eq!(Reply::parse(&whole[..length]), Ok(None), "{length}");
        }
        let reply = Reply { status: 409, body: b"why".to_vec() };
        assert_eq!(Reply::parse(whole), Ok(Some(reply.clone())));
        assert_eq!(Reply::parse(&[&whole[..], b"more"].concat()), Ok(Some(reply)));
    }

    #[test]
    fn nonsense_is_told_by_name() {
        for (nonsense, error) in [
            (&b"SSH-2.0-x\r\n"[..], ReplyError::NotHttp),
            (b"HTTP/1.1 200 OK\r\n\r\n", ReplyError::Length),
            (b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", ReplyError::Length),
            (b"HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\nx", ReplyError::Length),
            (b"HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n", ReplyError::Length),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n", ReplyError::Length),
            (
                b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\nContent-Length: 2\r\n\r\nxy",
                ReplyError::Length,
            ),
        ] {
            assert_eq!(Reply::parse(nonsense), Err(error), "{}", nonsense.escape_ascii());
        }
        let fields = "a: b\r\n".repeat(ADMIN_REPLY_FIELDS_MAX + 1);
        let many = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        assert_eq!(Reply::parse(many.as_bytes()), Err(ReplyError::NotHttp));
        let endless = [&b"HTTP/1.1 200 OK\r\na: "[..], &vec![b'x'; ADMIN_REPLY_SIZE_MAX]].concat();
        assert_eq!(Reply::parse(&endless), Err(ReplyError::HeadTooLong));
    }
}
