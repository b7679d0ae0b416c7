//! Frames: fixed little-endian layouts, checked to the last byte.
//!
//! ```text
//!   header   version u16 · kind u16 · count u16 · zero u16
//!   then     `count` records of the kind's size, and nothing else
//! ```
//!
//! Every length is exact: a frame that is too short or too long is refused, whoever sent it.
//! docs/architecture.md shows the layouts for authors of workers in other languages.
//!
//! Not here: sending and receiving (`channel`).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config::{CONTEXT_SIZE, DESCRIPTORS_PER_PACKET_MAX};
use crate::ident::{ListenerId, LoanId, PeerAddress};
use crate::time::Nanos;

/// The version of this protocol. Another one is refused by name.
pub const PROTOCOL_VERSION: u16 = 1;

/// Bytes of the largest frame: a full packet of loans.
pub const FRAME_SIZE_MAX: usize = HEADER_SIZE + DESCRIPTORS_PER_PACKET_MAX * LEND_SIZE;

const HEADER_SIZE: usize = 8;
const LEND_SIZE: usize = 128;
const LOAN_SIZE: usize = 8;
const DRAIN_SIZE: usize = 8;
const READY_SIZE: usize = 16;
const REPORT_SIZE: usize = 40;

const _: () = assert!(LEND_SIZE == 64 + CONTEXT_SIZE);

/// A connection that is lent; its descriptor travels in the same packet, in the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LendRecord {
    /// The loan.
    pub loan: LoanId,
    /// Which listener accepted it.
    pub listener: ListenerId,
    /// The client.
    pub peer: PeerAddress,
    /// When the master accepted it.
    pub accepted_at: Nanos,
    /// When it must have begun its next request.
    pub idle_deadline: Nanos,
    /// How many requests it has had.
    pub requests_served: u32,
    /// Microseconds in the kernel's queue before that; `u32::MAX` where that is not known.
    pub waited_before_accept_us: u32,
    /// Microseconds from accept to this hand-off, plus one; 0 where that is not known.
    pub lent_after_us: u32,
    /// Microseconds from accept until its client had said anything at all.
    pub silent_us: u32,
    /// What its last worker left.
    pub context: [u8; CONTEXT_SIZE],
}

impl LendRecord {
    /// Since when it could have been served: its client had spoken then, and from there on it was
    /// the kernel's queue, as far as that is known, and this server that kept it waiting.
    pub fn waiting_since(&self) -> Nanos {
        let waited_us = match self.waited_before_accept_us {
            u32::MAX => 0,
            known => known,
        };
        let spoke_at = self.accepted_at.0.saturating_add(u64::from(self.silent_us) * 1_000);
        Nanos(spoke_at.saturating_sub(u64::from(waited_us) * 1_000))
    }

    /// When the master handed it off, to the microsecond.
    pub fn lent_at(&self) -> Option<Nanos> {
        let after_us = self.lent_after_us.checked_sub(1)?;
        Some(Nanos(self.accepted_at.0.saturating_add(u64::from(after_us) * 1_000)))
    }
}

/// What a draining worker does with its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainMode {
    /// The server goes on: idle connections are given back, others finish, then the worker exits.
    HandOver,
    /// The server ends: every response says that the connection closes.
    Finish,
}

/// What a worker says of itself when it is ready to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadyRecord {
    /// The protocol it speaks.
    pub version: u16,
    /// Handler threads; 0 if handlers run on its loop.
    pub threads: u16,
    /// Connections it wants to have waiting; 0 leaves it to the master.
    pub credit: u16,
    /// It uses the page. If not, it says Taken and Ended in frames.
    pub has_page: bool,
    /// Its process id, for the log.
    pub pid: u32,
}

/// The load of a worker without a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportRecord {
    /// Requests begun, ever.
    pub started: u64,
    /// Of those, how many are over.
    pub finished: u64,
    /// Complete requests that wait for a thread.
    pub queued: u32,
    /// Threads that are taken.
    pub busy: u32,
    /// Time spent in handlers.
    pub busy_ns: u64,
    /// Requests that ended badly.
    pub errors: u64,
}

/// Master to worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToWorker {
    /// These connections are lent.
    Lend(Vec<LendRecord>),
    /// These loans are no longer the worker's: it drops its copies.
    Recall(Vec<LoanId>),
    /// Finish, and leave.
    Drain {
        /// How.
        mode: DrainMode,
        /// How long it may take.
        graceful: Duration,
    },
    /// Log files have been moved.
    Reopen,
}

/// Worker to master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToMaster {
    /// It can serve.
    Ready(ReadyRecord),
    /// It has no descriptors for these loans: all of one packet.
    Refuse(Vec<LoanId>),
    /// It has room, and the master had asked to be told.
    Bell,
    /// It was asked to leave (TERM), or leaves.
    Bye,
    /// Without a page: these are about to be read.
    Taken(Vec<LoanId>),
    /// Without a page: these are over, and shut down.
    Ended(Vec<LoanId>),
    /// Without a page: its load.
    Report(ReportRecord),
}

/// Bytes that are no frame. The peer is at fault.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    /// Not even a header.
    #[error("a frame of {0} bytes has no header")]
    NoHeader(usize),
    /// Another version of the protocol.
    #[error("protocol version {0}; this program speaks {PROTOCOL_VERSION}")]
    Version(u16),
    /// A kind that does not exist in this direction.
    #[error("frame kind {0} is unknown here")]
    Kind(u16),
    /// More or fewer records than the kind has.
    #[error("frame kind {kind} with {count} records")]
    Count {
        /// The kind.
        kind: u16,
        /// How many it announces.
        count: u16,
    },
    /// Not as long as it announces.
    #[error("a frame of {found} bytes announces {announced}")]
    Length {
        /// Bytes there are.
        found: usize,
        /// Bytes there should be.
        announced: usize,
    },
    /// A field has a value that stands for nothing.
    #[error("a frame's {0} field stands for nothing")]
    Field(&'static str),
}

mod kind {
    pub(super) const LEND: u16 = 1;
    pub(super) const RECALL: u16 = 2;
    pub(super) const DRAIN: u16 = 3;
    pub(super) const REOPEN: u16 = 4;
    pub(super) const READY: u16 = 16;
    pub(super) const REFUSE: u16 = 17;
    pub(super) const BELL: u16 = 18;
    pub(super) const BYE: u16 = 19;
    pub(super) const TAKEN: u16 = 20;
    pub(super) const ENDED: u16 = 21;
    pub(super) const REPORT: u16 = 22;
}

impl ToWorker {
    /// Appends the frame's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            ToWorker::Lend(records) => encode_lends(records, out),
            ToWorker::Recall(loans) => encode_loans(kind::RECALL, loans, out),
            ToWorker::Drain { mode, graceful } => {
                header(kind::DRAIN, 1, out);
                let mode: u32 = match mode {
                    DrainMode::HandOver => 0,
                    DrainMode::Finish => 1,
                };
                let millis = u32::try_from(graceful.as_millis()).unwrap_or(u32::MAX);
                out.extend_from_slice(&mode.to_le_bytes());
                out.extend_from_slice(&millis.to_le_bytes());
            }
            ToWorker::Reopen => header(kind::REOPEN, 0, out),
        }
    }

    /// The frame of these bytes.
    ///
    /// # Errors
    /// They are none, to the last byte.
    pub fn decode(bytes: &[u8]) -> Result<ToWorker, FrameError> {
        let (kind, count, mut body) = open(bytes)?;
        match kind {
            kind::LEND => {
                expect(kind, count, LEND_SIZE, body.0, bytes.len())?;
                (0..count).map(|_| body.lend()).collect::<Result<_, _>>().map(ToWorker::Lend)
            }
            kind::RECALL => {
                expect(kind, count, LOAN_SIZE, body.0, bytes.len())?;
                Ok(ToWorker::Recall(body.loans(count)))
            }
            kind::DRAIN => {
                expect_one(kind, count)?;
                expect(kind, count, DRAIN_SIZE, body.0, bytes.len())?;
                let mode = match body.u32() {
                    0 => DrainMode::HandOver,
                    1 => DrainMode::Finish,
                    _ => return Err(FrameError::Field("drain mode")),
                };
                let graceful = Duration::from_millis(u64::from(body.u32()));
                Ok(ToWorker::Drain { mode, graceful })
            }
            kind::REOPEN => {
                expect_empty(kind, count, body.0, bytes.len())?;
                Ok(ToWorker::Reopen)
            }
            other => Err(FrameError::Kind(other)),
        }
    }
}

/// Appends a Lend frame, without building one first: the hot path of the hand-off.
pub fn encode_lends(records: &[LendRecord], out: &mut Vec<u8>) {
    header(kind::LEND, records.len(), out);
    for record in records {
        encode_lend(record, out);
    }
}

impl ToMaster {
    /// Appends the frame's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            ToMaster::Ready(ready) => {
                header(kind::READY, 1, out);
                for field in [ready.version, ready.threads, ready.credit] {
                    out.extend_from_slice(&field.to_le_bytes());
                }
                out.extend_from_slice(&u16::from(ready.has_page).to_le_bytes());
                out.extend_from_slice(&ready.pid.to_le_bytes());
                out.extend_from_slice(&[0; 4]);
            }
            ToMaster::Refuse(loans) => encode_loans(kind::REFUSE, loans, out),
            ToMaster::Bell => header(kind::BELL, 0, out),
            ToMaster::Bye => header(kind::BYE, 0, out),
            ToMaster::Taken(loans) => encode_loans(kind::TAKEN, loans, out),
            ToMaster::Ended(loans) => encode_loans(kind::ENDED, loans, out),
            ToMaster::Report(report) => {
                header(kind::REPORT, 1, out);
                out.extend_from_slice(&report.started.to_le_bytes());
                out.extend_from_slice(&report.finished.to_le_bytes());
                out.extend_from_slice(&report.queued.to_le_bytes());
                out.extend_from_slice(&report.busy.to_le_bytes());
                out.extend_from_slice(&report.busy_ns.to_le_bytes());
                out.extend_from_slice(&report.errors.to_le_bytes());
            }
        }
    }

    /// The frame of these bytes.
    ///
    /// # Errors
    /// They are none, to the last byte.
    pub fn decode(bytes: &[u8]) -> Result<ToMaster, FrameError> {
        let (kind, count, mut body) = open(bytes)?;
        let size = match kind {
            kind::READY => READY_SIZE,
            kind::REFUSE | kind::TAKEN | kind::ENDED => LOAN_SIZE,
            kind::REPORT => REPORT_SIZE,
            kind::BELL | kind::BYE => {
                expect_empty(kind, count, body.0, bytes.len())?;
                return Ok(if kind == kind::BELL { ToMaster::Bell } else { ToMaster::Bye });
            }
            other => return Err(FrameError::Kind(other)),
        };
        if matches!(kind, kind::READY | kind::REPORT) {
            expect_one(kind, count)?;
        }
        expect(kind, count, size, body.0, bytes.len())?;
        Ok(match kind {
            kind::READY => ToMaster::Ready(body.ready()?),
            kind::REFUSE => ToMaster::Refuse(body.loans(count)),
            kind::TAKEN => ToMaster::Taken(body.loans(count)),
            kind::ENDED => ToMaster::Ended(body.loans(count)),
            _ => ToMaster::Report(body.report()),
        })
    }
}

fn header(kind: u16, count: usize, out: &mut Vec<u8>) {
    debug_assert!(count <= DESCRIPTORS_PER_PACKET_MAX, "a packet holds no more");
    for field in [PROTOCOL_VERSION, kind, count as u16, 0] {
        out.extend_from_slice(&field.to_le_bytes());
    }
}

fn encode_loans(kind: u16, loans: &[LoanId], out: &mut Vec<u8>) {
    header(kind, loans.len(), out);
    for loan in loans {
        out.extend_from_slice(&loan.index.to_le_bytes());
        out.extend_from_slice(&loan.sequence.to_le_bytes());
    }
}

fn encode_lend(record: &LendRecord, out: &mut Vec<u8>) {
    let (family, address, port): (u8, [u8; 16], u16) = match record.peer {
        PeerAddress::Local => (0, [0; 16], 0),
        PeerAddress::Inet(SocketAddr::V4(address)) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&address.ip().octets());
            (4, bytes, address.port())
        }
        PeerAddress::Inet(SocketAddr::V6(address)) => (6, address.ip().octets(), address.port()),
    };
    out.extend_from_slice(&record.loan.index.to_le_bytes());
    out.extend_from_slice(&record.loan.sequence.to_le_bytes());
    out.extend_from_slice(&record.listener.0.to_le_bytes());
    out.extend_from_slice(&[family, 0]);
    out.extend_from_slice(&port.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&address);
    out.extend_from_slice(&record.accepted_at.0.to_le_bytes());
    out.extend_from_slice(&record.idle_deadline.0.to_le_bytes());
    out.extend_from_slice(&record.requests_served.to_le_bytes());
    out.extend_from_slice(&record.waited_before_accept_us.to_le_bytes());
    out.extend_from_slice(&record.lent_after_us.to_le_bytes());
    out.extend_from_slice(&record.silent_us.to_le_bytes());
    out.extend_from_slice(&record.context);
}

/// Takes the header off.
fn open(bytes: &[u8]) -> Result<(u16, u16, Reader<'_>), FrameError> {
    let Some((head, body)) = bytes.split_at_checked(HEADER_SIZE) else {
        return Err(FrameError::NoHeader(bytes.len()));
    };
    let mut head = Reader(head);
    let version = head.u16();
    if version != PROTOCOL_VERSION {
        return Err(FrameError::Version(version));
    }
    let (kind, count, zero) = (head.u16(), head.u16(), head.u16());
    if zero != 0 {
        return Err(FrameError::Field("reserved"));
    }
    Ok((kind, count, Reader(body)))
}

fn expect(kind: u16, count: u16, size: usize, body: &[u8], found: usize) -> Result<(), FrameError> {
    if count == 0 || usize::from(count) > DESCRIPTORS_PER_PACKET_MAX {
        return Err(FrameError::Count { kind, count });
    }
    let announced = HEADER_SIZE + usize::from(count) * size;
    if body.len() + HEADER_SIZE == announced {
        Ok(())
    } else {
        Err(FrameError::Length { found, announced })
    }
}

fn expect_one(kind: u16, count: u16) -> Result<(), FrameError> {
    if count == 1 { Ok(()) } else { Err(FrameError::Count { kind, count }) }
}

fn expect_empty(kind: u16, count: u16, body: &[u8], found: usize) -> Result<(), FrameError> {
    match (count, body) {
        (0, []) => Ok(()),
        (0, _) => Err(FrameError::Length { found, announced: HEADER_SIZE }),
        (count, _) => Err(FrameError::Count { kind, count }),
    }
}

/// Takes fields off the front. The length was checked before: missing bytes read as zeros.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        if let Some((front, rest)) = self.0.split_at_checked(N) {
            bytes.copy_from_slice(front);
            self.0 = rest;
        }
        bytes
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    fn loan(&mut self) -> LoanId {
        LoanId { index: self.u32(), sequence: self.u32() }
    }

    fn loans(&mut self, count: u16) -> Vec<LoanId> {
        (0..count).map(|_| self.loan()).collect()
    }

    fn lend(&mut self) -> Result<LendRecord, FrameError> {
        let loan = self.loan();
        let listener = ListenerId(self.u16());
        let [family, _reserved] = self.take();
        let port = self.u16();
        let _reserved: [u8; 2] = self.take();
        let address: [u8; 16] = self.take();
        let peer = match family {
            0 => PeerAddress::Local,
            4 => {
                let [a, b, c, d, ..] = address;
                PeerAddress::Inet((Ipv4Addr::new(a, b, c, d), port).into())
            }
            6 => PeerAddress::Inet((Ipv6Addr::from(address), port).into()),
            _ => return Err(FrameError::Field("address family")),
        };
        let accepted_at = Nanos(self.u64());
        let idle_deadline = Nanos(self.u64());
        let requests_served = self.u32();
        let waited_before_accept_us = self.u32();
        let (lent_after_us, silent_us) = (self.u32(), self.u32());
        let context = self.take();
        Ok(LendRecord {
            loan,
            listener,
            peer,
            accepted_at,
            idle_deadline,
            requests_served,
            waited_before_accept_us,
            lent_after_us,
            silent_us,
            context,
        })
    }

    fn ready(&mut self) -> Result<ReadyRecord, FrameError> {
        let (version, threads, credit) = (self.u16(), self.u16(), self.u16());
        let has_page = match self.u16() {
            0 => false,
            1 => true,
            _ => return Err(FrameError::Field("page")),
        };
        Ok(ReadyRecord { version, threads, credit, has_page, pid: self.u32() })
    }

    fn report(&mut self) -> ReportRecord {
        ReportRecord {
            started: self.u64(),
            finished: self.u64(),
            queued: self.u32(),
            busy: self.u32(),
            busy_ns: self.u64(),
            errors: self.u64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lend(index: u32, peer: PeerAddress) -> LendRecord {
        LendRecord {
            loan: LoanId { index, sequence: 9 },
            listener: ListenerId(2),
            peer,
            accepted_at: Nanos(77),
            idle_deadline: Nanos(u64::MAX),
            requests_served: 3,
            waited_before_accept_us: u32::MAX,
            lent_after_us: 5,
            silent_us: 2,
            context: [index as u8; CONTEXT_SIZE],
        }
    }

    #[test]
    fn a_connection_waits_from_when_it_could_have_been_served() {
        let base = LendRecord { accepted_at: Nanos(10_000), ..lend(0, PeerAddress::Local) };
        let plain = LendRecord { silent_us: 0, ..base };
        assert_eq!(plain.waiting_since(), Nanos(10_000));
        assert_eq!(base.waiting_since(), Nanos(12_000), "its client was silent for 2 µs");
        let queued = LendRecord { waited_before_accept_us: 3, ..plain };
        assert_eq!(queued.waiting_since(), Nanos(7_000));
        let longer = LendRecord { waited_before_accept_us: 30, ..plain };
        assert_eq!(longer.waiting_since(), Nanos(0));
        assert_eq!(base.lent_at(), Some(Nanos(14_000)));
        assert_eq!(LendRecord { lent_after_us: 0, ..base }.lent_at(), None);
    }

    fn to_worker() -> Vec<ToWorker> {
        let v4 = PeerAddress::Inet("192.0.2.7:4711".parse().unwrap());
        let v6 = PeerAddress::Inet("[2001:db8::1]:80".parse().unwrap());
        let graceful = Duration::from_millis(1500);
        vec![
            ToWorker::Lend(vec![lend(1, v4), lend(2, v6), lend(3, PeerAddress::Local)]),
            ToWorker::Lend((0..64).map(|index| lend(index, v4)).collect()),
            ToWorker::Recall(vec![LoanId { index: 1, sequence: u32::MAX }]),
            ToWorker::Drain { mode: DrainMode::HandOver, graceful },
            ToWorker::Drain { mode: DrainMode::Finish, graceful },
            ToWorker::Reopen,
        ]
    }

    fn to_master() -> Vec<ToMaster> {
        let loans = vec![LoanId { index: 4, sequence: 5 }, LoanId { index: 6, sequence: 7 }];
        let ready = ReadyRecord { version: 1, threads: 4, credit: 0, has_page: true, pid: 41 };
        let report =
            ReportRecord { started: 9, finished: 8, queued: 7, busy: 6, busy_ns: 5, errors: 4 };
        vec![
            ToMaster::Ready(ready),
            ToMaster::Refuse(loans.clone()),
            ToMaster::Bell,
            ToMaster::Bye,
            ToMaster::Taken(loans.clone()),
            ToMaster::Ended(loans),
            ToMaster::Report(report),
        ]
    }

    /// Each frame whole; cut short at every place; and with a byte too many.
    #[test]
    fn frames_come_back_whole_and_only_whole() {
        let check = |bytes: &[u8], whole: &dyn Fn(&[u8]) -> bool, any: &dyn Fn(&[u8]) -> bool| {
            assert!(whole(bytes));
            assert!((0..bytes.len()).all(|length| !any(&bytes[..length])));
            assert!(!any(&[bytes, &[0]].concat()));
            assert!(bytes.len() <= FRAME_SIZE_MAX);
        };
        for frame in to_worker() {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            let whole = |bytes: &[u8]| ToWorker::decode(bytes) == Ok(frame.clone());
            check(&bytes, &whole, &|bytes| ToWorker::decode(bytes).is_ok());
            assert!(ToMaster::decode(&bytes).is_err(), "the wrong direction");
        }
        for frame in to_master() {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            let whole = |bytes: &[u8]| ToMaster::decode(bytes) == Ok(frame.clone());
            check(&bytes, &whole, &|bytes| ToMaster::decode(bytes).is_ok());
            assert!(ToWorker::decode(&bytes).is_err(), "the wrong direction");
        }
    }

    #[test]
    fn another_version_is_refused_by_name() {
        let mut bytes = Vec::new();
        ToMaster::Bell.encode(&mut bytes);
        bytes[0] = 2;
        let error = ToMaster::decode(&bytes).unwrap_err();
        assert_eq!(error.to_string(), "protocol version 2; this program speaks 1");
    }

    #[test]
    fn counts_and_fields_that_stand_for_nothing_are_refused() {
        let mut bytes = Vec::new();
        ToWorker::Recall(vec![LoanId { index: 0, sequence: 0 }]).encode(&mut bytes);
        for count in [0_u16, 2, 65, u16::MAX] {
            bytes[4..6].copy_from_slice(&count.to_le_bytes());
            assert!(ToWorker::decode(&bytes).is_err());
        }
        let mut bytes = Vec::new();
        ToWorker::Lend(vec![lend(1, PeerAddress::Local)]).encode(&mut bytes);
        bytes[HEADER_SIZE + 10] = 5;
        assert_eq!(ToWorker::decode(&bytes), Err(FrameError::Field("address family")));
    }
}
