//! Frames between the master and the helper process: little-endian, checked to the last byte.
//!
//! ```text
//!   header      version u8 · kind u8 · number u64
//!   to master   1 ping · 2 scale (u16) · 3 reload · 4 drain (u16) · 5 undrain (u16) · 6 stop (u8)
//!               7 balance (u8) · 8 rebalance (u8) · 9 log level (text) · 10 reopen
//!   to helper   64 answer: done u8, text
//!               65 happened: at u64 · kind u8 · has worker u8 · slot u16 · generation u32 · pid u32,
//!               text
//!   a text      length u16, UTF-8
//! ```
//!
//! A command's number is the helper's to choose, and comes back in the one answer that each command
//! gets. The number of something that has happened is its place in their order.
//!
//! Both ends are this program, in general of one version; not where its file was replaced since the
//! master began. So the version is looked at before anything else.
//!
//! Not here: the socket (`sys::fdpass`), what commands do (`master::admin`), who may give them
//! (`admin::routes`).

use thiserror::Error;

use crate::account::{Happened, HappenedKind};
use crate::config::{ADMIN_TEXT_SIZE_MAX, Balance, Rebalance};
use crate::ident::{Generation, Incarnation, ListenerId, Slot};

/// By this the helper knows the listener of HAProxy's agent check among those that it is given.
pub const AGENT_LISTENER: ListenerId = ListenerId(u16::MAX);

/// The version of these frames.
pub const VERSION: u8 = 1;

/// Bytes of the largest frame.
pub const FRAME_SIZE_MAX: usize = HEADER_SIZE + HAPPENED_SIZE + 2 + ADMIN_TEXT_SIZE_MAX;

const HEADER_SIZE: usize = 10;
const HAPPENED_SIZE: usize = 20;

/// What the master is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// To answer, and to have its status written.
    Ping,
    /// So many workers.
    Scale(u16),
    /// As by HUP.
    Reload,
    /// Nothing more goes to this slot; its worker lives on.
    Drain(Slot),
    /// It is in service again.
    Undrain(Slot),
    /// To end.
    Stop(StopHow),
    /// Another policy.
    Balance(Balance),
    /// Another way of rebalancing.
    Rebalance(Rebalance),
    /// As `--log-level` takes it.
    LogLevel(String),
    /// As by USR1.
    Reopen,
}

/// How to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopHow {
    /// As by TERM.
    Graceful,
    /// As by QUIT.
    Now,
}

/// Helper to master: a command under a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToMaster {
    /// Comes back in the answer.
    pub number: u64,
    /// What is to be done.
    pub command: Command,
}

/// Master to helper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToHelper {
    /// A command was carried out, or refused.
    Answer(Answer),
    /// Something has happened.
    Happened(Happened),
}

/// What has become of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The command's.
    pub number: u64,
    /// It was carried out.
    pub is_done: bool,
    /// What was done, or why nothing was.
    pub text: String,
}

/// Bytes that are no frame.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AdminFrameError {
    /// Another version of the program has written it.
    #[error("frames of version {0}; this program speaks {VERSION}")]
    Version(u8),
    /// A kind that does not exist in this direction.
    #[error("frame kind {0} is unknown here")]
    Kind(u8),
    /// Too short, or too long.
    #[error("a frame of {0} bytes is not as long as its kind")]
    Length(usize),
    /// A field has a value that stands for nothing.
    #[error("a frame's {0} field stands for nothing")]
    Field(&'static str),
}

mod kind {
    pub(super) const PING: u8 = 1;
    pub(super) const SCALE: u8 = 2;
    pub(super) const RELOAD: u8 = 3;
    pub(super) const DRAIN: u8 = 4;
    pub(super) const UNDRAIN: u8 = 5;
    pub(super) const STOP: u8 = 6;
    pub(super) const BALANCE: u8 = 7;
    pub(super) const REBALANCE: u8 = 8;
    pub(super) const LOG_LEVEL: u8 = 9;
    pub(super) const REOPEN: u8 = 10;
    pub(super) const ANSWER: u8 = 64;
    pub(super) const HAPPENED: u8 = 65;
}

impl ToMaster {
    /// The frame's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_SIZE + 2);
        let header = |kind, out: &mut Vec<u8>| header(kind, self.number, out);
        match &self.command {
            Command::Ping => header(kind::PING, &mut out),
            Command::Scale(workers) => {
                header(kind::SCALE, &mut out);
                out.extend_from_slice(&workers.to_le_bytes());
            }
            Command::Reload => header(kind::RELOAD, &mut out),
            Command::Drain(slot) => {
                header(kind::DRAIN, &mut out);
                out.extend_from_slice(&slot.0.to_le_bytes());
            }
            Command::Undrain(slot) => {
                header(kind::UNDRAIN, &mut out);
                out.extend_from_slice(&slot.0.to_le_bytes());
            }
            Command::Stop(how) => {
                header(kind::STOP, &mut out);
                out.push(*how as u8);
            }
            Command::Balance(balance) => {
                header(kind::BALANCE, &mut out);
                out.push(*balance as u8);
            }
            Command::Rebalance(rebalance) => {
                header(kind::REBALANCE, &mut out);
                out.push(*rebalance as u8);
            }
            Command::LogLevel(level) => {
                header(kind::LOG_LEVEL, &mut out);
                put_text(level, &mut out);
            }
            Command::Reopen => header(kind::REOPEN, &mut out),
        }
        out
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// The bytes are none.
    pub fn decode(bytes: &[u8]) -> Result<ToMaster, AdminFrameError> {
        let (kind, number, mut reader) = Reader::open(bytes)?;
        let command = match kind {
            kind::PING => Command::Ping,
            kind::SCALE => Command::Scale(u16::from_le_bytes(reader.take()?)),
            kind::RELOAD => Command::Reload,
            kind::DRAIN => Command::Drain(Slot(u16::from_le_bytes(reader.take()?))),
            kind::UNDRAIN => Command::Undrain(Slot(u16::from_le_bytes(reader.take()?))),
            kind::STOP => Command::Stop(reader.one_of("how", &[StopHow::Graceful, StopHow::Now])?),
            kind::BALANCE => Command::Balance(reader.one_of("balance", &Balance::ALL)?),
            kind::REBALANCE => Command::Rebalance(reader.one_of("rebalance", &Rebalance::ALL)?),
            kind::LOG_LEVEL => Command::LogLevel(reader.text()?),
            kind::REOPEN => Command::Reopen,
            other => return Err(AdminFrameError::Kind(other)),
        };
        reader.end(ToMaster { number, command })
    }
}

impl ToHelper {
    /// The frame's bytes. A text beyond its limit is cut.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_SIZE + HAPPENED_SIZE);
        match self {
            ToHelper::Answer(Answer { number, is_done, text }) => {
                header(kind::ANSWER, *number, &mut out);
                out.push(u8::from(*is_done));
                put_text(text, &mut out);
            }
            ToHelper::Happened(happened) => {
                let Happened { sequence, at_ms, kind, worker, text } = happened;
                header(kind::HAPPENED, *sequence, &mut out);
                out.extend_from_slice(&at_ms.to_le_bytes());
                out.extend_from_slice(&[*kind as u8, u8::from(worker.is_some())]);
                let (who, pid) = worker.unwrap_or_default();
                out.extend_from_slice(&who.slot.0.to_le_bytes());
                out.extend_from_slice(&who.generation.0.to_le_bytes());
                out.extend_from_slice(&pid.to_le_bytes());
                put_text(text, &mut out);
            }
        }
        out
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// The bytes are none.
    pub fn decode(bytes: &[u8]) -> Result<ToHelper, AdminFrameError> {
        let (kind, number, mut reader) = Reader::open(bytes)?;
        match kind {
            kind::ANSWER => {
                let is_done = reader.one_of("done", &[false, true])?;
                let text = reader.text()?;
                reader.end(ToHelper::Answer(Answer { number, is_done, text }))
            }
            kind::HAPPENED => {
                let at_ms = u64::from_le_bytes(reader.take()?);
                let kind = reader.one_of("kind", &HappenedKind::ALL)?;
                let has_worker = reader.one_of("worker", &[false, true])?;
                let slot = Slot(u16::from_le_bytes(reader.take()?));
                let generation = Generation(u32::from_le_bytes(reader.take()?));
                let worker = (Incarnation { slot, generation }, u32::from_le_bytes(reader.take()?));
                if !has_worker && worker != Default::default() {
                    return Err(AdminFrameError::Field("worker"));
                }
                let worker = has_worker.then_some(worker);
                let text = reader.text()?;
                let happened = Happened { sequence: number, at_ms, kind, worker, text };
                reader.end(ToHelper::Happened(happened))
            }
            other => Err(AdminFrameError::Kind(other)),
        }
    }
}

/// The beginning of a text, as much as a frame has room for.
pub fn bounded(text: &str) -> &str {
    let most = ADMIN_TEXT_SIZE_MAX.min(text.len());
    // Its beginning is a boundary.
    let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

fn header(kind: u8, number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&[VERSION, kind]);
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    let text = bounded(text);
    out.extend_from_slice(&(text.len() as u16).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

const _: () = assert!(ADMIN_TEXT_SIZE_MAX <= u16::MAX as usize);

/// Bytes that have not been read yet.
struct Reader<'a> {
    rest: &'a [u8],
    length: usize,
}

impl<'a> Reader<'a> {
    fn open(bytes: &'a [u8]) -> Result<(u8, u64, Self), AdminFrameError> {
        let mut reader = Reader { rest: bytes, length: bytes.len() };
        let [version, kind] = reader.take()?;
        if version != VERSION {
            return Err(AdminFrameError::Version(version));
        }
        Ok((kind, u64::from_le_bytes(reader.take()?), reader))
    }

    fn take<const SIZE: usize>(&mut self) -> Result<[u8; SIZE], AdminFrameError> {
        let (taken, rest) =
            self.rest.split_first_chunk().ok_or(AdminFrameError::Length(self.length))?;
        self.rest = rest;
        Ok(*taken)
    }

    fn one_of<T: Copy>(&mut self, field: &'static str, all: &[T]) -> Result<T, AdminFrameError> {
        let [number] = self.take()?;
        all.get(usize::from(number)).copied().ok_or(AdminFrameError::Field(field))
    }

    fn text(&mut self) -> Result<String, AdminFrameError> {
        let length = usize::from(u16::from_le_bytes(self.take()?));
        let (text, rest) =
            self.rest.split_at_checked(length).ok_or(AdminFrameError::Length(self.length))?;
        self.rest = rest;
        if length > ADMIN_TEXT_SIZE_MAX {
            return Err(AdminFrameError::Field("text"));
        }
        let text = std::str::from_utf8(text).map_err(|_| AdminFrameError::Field("text"))?;
        Ok(text.to_owned())
    }

    fn end<T>(self, frame: T) -> Result<T, AdminFrameError> {
        if self.rest.is_empty() { Ok(frame) } else { Err(AdminFrameError::Length(self.length)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands() -> Vec<Command> {
        let mut all = vec![
            Command::Ping,
            Command::Scale(u16::MAX),
            Command::Reload,
            Command::Drain(Slot(7)),
            Command::Undrain(Slot(u16::MAX)),
            Command::Stop(StopHow::Graceful),
            Command::Stop(StopHow::Now),
            Command::LogLevel("warn,maitred=debug".into()),
            Command::LogLevel(String::new()),
            Command::Reopen,
        ];
        all.extend(Balance::ALL.map(Command::Balance));
        all.extend(Rebalance::ALL.map(Command::Rebalance));
        all
    }

    fn to_helper() -> Vec<ToHelper> {
        let answer = |is_done, text: &str| Answer { number: 9, is_done, text: text.into() };
        let who = Incarnation { slot: Slot(3), generation: Generation(u32::MAX) };
        let happened = |kind, worker| {
            let text = "ü — 7".into();
            ToHelper::Happened(Happened { sequence: u64::MAX, at_ms: 5, kind, worker, text })
        };
        let mut all =
            vec![ToHelper::Answer(answer(true, "")), ToHelper::Answer(answer(false, "why"))];
        all.extend(HappenedKind::ALL.map(|kind| happened(kind, None)));
        all.push(happened(HappenedKind::Died, Some((who, u32::MAX))));
        all
    }

    #[test]
    fn a_frame_comes_back_and_a_byte_more_or_less_is_none() {
        for command in commands() {
            let frame = ToMaster { number: 1 << 40, command };
            let bytes = frame.encode();
            assert!(bytes.len() <= FRAME_SIZE_MAX);
            assert_eq!(ToMaster::decode(&bytes).as_ref(), Ok(&frame));
            assert!(ToHelper::decode(&bytes).is_err());
            for length in 0..bytes.len() {
                let error = ToMaster::decode(&bytes[..length]).unwrap_err();
                assert_eq!(error, AdminFrameError::Length(length), "{frame:?}");
            }
            assert!(ToMaster::decode(&[&bytes[..], &[0]].concat()).is_err());
        }
        for frame in to_helper() {
            let bytes = frame.encode();
            assert!(bytes.len() <= FRAME_SIZE_MAX);
            assert_eq!(ToHelper::decode(&bytes).as_ref(), Ok(&frame));
            assert!(ToMaster::decode(&bytes).is_err());
            for length in 0..bytes.len() {
                assert!(ToHelper::decode(&bytes[..length]).is_err(), "{frame:?}");
            }
        }
    }

    #[test]
    fn another_version_is_told_by_name_and_nonsense_by_its_field() {
        let mut bytes = ToMaster { number: 1, command: Command::Stop(StopHow::Now) }.encode();
        bytes[10] = 2;
        assert_eq!(ToMaster::decode(&bytes), Err(AdminFrameError::Field("how")));
        bytes[0] = 2;
        assert_eq!(ToMaster::decode(&bytes), Err(AdminFrameError::Version(2)));
        let level = Command::LogLevel("info".into());
        let mut bytes = ToMaster { number: 1, command: level }.encode();
        *bytes.last_mut().unwrap() = 0xff;
        assert_eq!(ToMaster::decode(&bytes), Err(AdminFrameError::Field("text")));
    }

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        let text = "ü".repeat(ADMIN_TEXT_SIZE_MAX);
        assert_eq!(bounded(&format!("x{text}")).len(), ADMIN_TEXT_SIZE_MAX - 1);
        let answer = Answer { number: 0, is_done: false, text };
        let bytes = ToHelper::Answer(answer).encode();
        assert!(ToHelper::decode(&bytes).is_ok());
    }
}
