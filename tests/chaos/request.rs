//! Requests that know their answers: whoever holds one can tell an answer to it from an answer to
//! any other.
//!
//! Shared by `tests/rebalancing_chaos.rs` and the ledger (`tests/ledger`).
//!
//! The body of an echo is its id, a checksum, and bytes that follow from the id; so an answer is
//! checked byte by byte, and one that belongs elsewhere still says where. The times of sleeps and
//! spins carry the id in their microseconds.
//!
//! Not here: cutting an answer out of what has been read (`answer`).

#![allow(dead_code, reason = "each user has its kinds of requests")]

/// Digits of the id and of the checksum in front of a body.
const PREFIX: usize = 32;

/// The smallest body of an echo: one that has its prefix.
pub(crate) const SIZE_MIN: usize = PREFIX;

/// The largest.
pub(crate) const SIZE_MAX: usize = 100_000;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// No other request of a run has it.
    pub(crate) id: u64,
    pub(crate) kind: Kind,
}

/// What it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its body back.
    Echo { size: usize, is_chunked: bool },
    /// An answer after so many milliseconds without work.
    Sleep { whole_ms: u64 },
    /// An answer after so many milliseconds of CPU time.
    Spin { whole_ms: u64 },
    /// An answer that names the request's target: what a worker can give that reads no body.
    Named,
}

impl Request {
    /// The request as it is sent.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes_with("")
    }

    /// The same with further field lines, each with its line end.
    pub(crate) fn bytes_with(&self, fields: &str) -> Vec<u8> {
        match self.kind {
            Kind::Echo { size, is_chunked: false } => {
                let head = format!(
                    "POST /echo HTTP/1.1\r\nHost: chaos\r\n{fields}Content-Length: {size}\r\n\r\n"
                );
                [head.as_bytes(), &self.body(size)].concat()
            }
            Kind::Echo { size, is_chunked: true } => self.chunked(size, fields),
            Kind::Sleep { whole_ms } => get(&format!("/sleep/{}", self.time(whole_ms)), fields),
            Kind::Spin { whole_ms } => get(&format!("/spin/{}", self.time(whole_ms)), fields),
            Kind::Named => get(&self.name(), fields),
        }
    }

    /// Whether a body of a 200 is the answer to this request; if not, what it is instead.
    pub(crate) fn check(&self, answer: &[u8]) -> Result<(), String> {
        let expected = match self.kind {
            Kind::Echo { size, .. } => self.body(size),
            Kind::Sleep { whole_ms } => format!("slept {} ms\n", self.time(whole_ms)).into_bytes(),
            Kind::Spin { whole_ms } => format!("spun {} ms\n", self.time(whole_ms)).into_bytes(),
            Kind::Named => {
                let named = format!("\"target\":\"{}\"}}\n", self.name());
                return match answer.ends_with(named.as_bytes()) {
                    true => Ok(()),
                    false => Err(format!("{named:?} is not in {}", describe(answer))),
                };
            }
        };
        if expected == answer {
            return Ok(());
        }
        Err(format!(
            "request {:016x} expects {} bytes and got {}",
            self.id,
            expected.len(),
            describe(answer)
        ))
    }

    /// A target that no other request has, nor any damaged one.
    fn name(&self) -> String {
        format!("/{:016x}{:016x}", self.id, checksum(&self.id.to_le_bytes()))
    }

    /// Milliseconds with the last digits of the id as microseconds.
    fn time(&self, whole_ms: u64) -> String {
        format!("{whole_ms}.{:03}", self.id % 1000)
    }

    fn body(&self, size: usize) -> Vec<u8> {
        let mut payload = vec![0; size - PREFIX];
        fastrand::Rng::with_seed(self.id).fill(&mut payload);
        let mut body = format!("{:016x}{:016x}", self.id, checksum(&payload)).into_bytes();
        body.append(&mut payload);
        body
    }

    /// The request with its body in chunks of many sizes.
    fn chunked(&self, size: usize, fields: &str) -> Vec<u8> {
        let head = format!(
            "POST /echo HTTP/1.1\r\nHost: chaos\r\n{fields}Transfer-Encoding: chunked\r\n\r\n"
        );
        let mut random = fastrand::Rng::with_seed(!self.id);
        let body = self.body(size);
        let mut out = head.into_bytes();
        let mut rest = body.as_slice();
        while !rest.is_empty() {
            let (chunk, behind) = rest.split_at(random.usize(1..=rest.len()));
            out.extend(format!("{:x}\r\n", chunk.len()).bytes());
            out.extend(chunk);
            out.extend(b"\r\n");
            rest = behind;
        }
        out.extend(b"0\r\n\r\n");
        out
    }
}

fn get(target: &str, fields: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: chaos\r\n{fields}\r\n").into_bytes()
}

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Whose answer a body is, as far as it says.
fn describe(body: &[u8]) -> String {
    let number = |place: std::ops::Range<usize>| {
        let digits = std::str::from_utf8(body.get(place)?).ok()?;
        u64::from_str_radix(digits, 16).ok()
    };
    match (number(0..16), number(16..PREFIX)) {
        (Some(id), Some(sum)) if sum == checksum(&body[PREFIX..]) => {
            format!("the whole answer to request {id:016x}")
        }
        (Some(id), Some(_)) => format!("{} damaged bytes of request {id:016x}", body.len()),
        _ => {
            let begin = &body[..body.len().min(60)];
            format!("{} bytes that begin with {:?}", body.len(), String::from_utf8_lossy(begin))
        }
    }
}
