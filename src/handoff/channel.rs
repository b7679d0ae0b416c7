//! The two ends of a channel: frames in, frames out, never waiting.
//!
//! A channel that is full is a value, not an error: the frame is not sent, and the caller keeps what
//! it wanted to say. A packet that this program does not understand costs what came with it and
//! nothing else: its descriptors are closed, and the next packet is read as if it had not been.
//!
//! Not here: layouts (`frame`), the kernel (`sys::fdpass`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use thiserror::Error;

use crate::handoff::frame::{
    FRAME_SIZE_MAX, FrameError, LendRecord, ToMaster, ToWorker, encode_lends,
};
use crate::ident::LoanId;
use crate::sys::fdpass::{PacketSocket, Posted, Receipt, dispose};

/// A packet that could not be used, or a channel that broke.
#[derive(Debug, Error)]
pub enum ChannelError {
    /// The bytes are no frame: the peer is at fault.
    #[error("a packet that is no frame: {0}")]
    Frame(#[from] FrameError),
    /// Fewer descriptors arrived than loans were announced: this process is at its limit. All of
    /// them were closed, and the loans are to be refused.
    #[error("{arrived} descriptors arrived for {} loans", loans.len())]
    Truncated {
        /// What was announced.
        loans: Vec<LoanId>,
        /// How many came.
        arrived: usize,
    },
    /// Descriptors came with a frame that carries none. They were closed.
    #[error("{0} descriptors came with a frame that carries none")]
    Unexpected(usize),
    /// The socket is unusable.
    #[error("the channel: {0}")]
    System(#[from] io::Error),
}

impl ChannelError {
    /// Whether the system was short of memory: nobody is at fault, and the packet is still there.
    pub fn is_shortage(&self) -> bool {
        let ChannelError::System(cause) = self else { return false };
        matches!(Errno::from_io_error(cause), Some(Errno::NOMEM | Errno::NOBUFS))
    }

    /// The loans that the master must be told of, so that it seats them elsewhere.
    pub fn refused(&self) -> Option<&[LoanId]> {
        match self {
            ChannelError::Truncated { loans, .. } => Some(loans),
            ChannelError::Frame(_) | ChannelError::Unexpected(_) | ChannelError::System(_) => None,
        }
    }
}

/// What the worker has sent.
#[derive(Debug, PartialEq, Eq)]
pub enum FromWorker {
    /// A frame.
    Frame(ToMaster),
    /// Nothing now.
    Empty,
    /// It has closed its end. That proves nothing of its life (its pidfd does), but nothing more
    /// will come.
    Closed,
}

/// What the master has sent.
#[derive(Debug)]
pub enum FromMaster {
    /// A frame, with the descriptors of its loans in their order.
    Frame(ToWorker, Vec<OwnedFd>),
    /// Nothing now.
    Empty,
    /// The master is gone.
    Closed,
}

/// The master's end.
#[derive(Debug)]
pub struct MasterEnd {
    socket: PacketSocket,
    out: Vec<u8>,
    buffer: Vec<u8>,
}

/// The worker's end.
#[derive(Debug)]
pub struct WorkerEnd {
    socket: PacketSocket,
    out: Vec<u8>,
    buffer: Vec<u8>,
}

impl MasterEnd {
    /// Takes over one end of a socketpair.
    pub fn new(end: OwnedFd) -> Self {
        let (out, buffer) = buffers();
        MasterEnd { socket: PacketSocket::new(end), out, buffer }
    }

    /// Lends up to 64 connections in one packet. False if the channel has no room: nothing of it
    /// was sent then.
    ///
    /// # Errors
    /// The worker's end is closed.
    pub fn lend(
        &mut self,
        records: &[LendRecord],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<bool> {
        debug_assert_eq!(records.len(), descriptors.len(), "a descriptor for each loan");
        self.out.clear();
        encode_lends(records, &mut self.out);
        Ok(self.socket.post_with(&self.out, descriptors)? == Posted::Sent)
    }

    /// Sends a frame that carries no descriptors. False if the channel has no room.
    ///
    /// # Errors
    /// The worker's end is closed.
    pub fn send(&mut self, frame: &ToWorker) -> io::Result<bool> {
        debug_assert!(!matches!(frame, ToWorker::Lend(_)), "loans carry descriptors");
        self.out.clear();
        frame.encode(&mut self.out);
        Ok(self.socket.post(&self.out)? == Posted::Sent)
    }

    /// Closes this end although packets with descriptors may be unread.
    pub fn dispose(self) {
        self.socket.dispose();
    }

    /// The next frame.
    ///
    /// # Errors
    /// A packet that is no frame, or carries descriptors. The next call goes on with the next one.
    pub fn receive(&mut self) -> Result<FromWorker, ChannelError> {
        let mut descriptors = Vec::new();
        match self.socket.receive(&mut self.buffer, &mut descriptors)? {
            Receipt::Empty => Ok(FromWorker::Empty),
            Receipt::Closed => Ok(FromWorker::Closed),
            Receipt::Packet(packet) => {
                let count = descriptors.len();
                dispose(descriptors);
                let frame = ToMaster::decode(&self.buffer[..packet.length])?;
                if count > 0 || packet.truncated {
                    return Err(ChannelError::Unexpected(count));
                }
                Ok(FromWorker::Frame(frame))
            }
        }
    }
}

impl WorkerEnd {
    /// Takes over one end of a socketpair.
    pub fn new(end: OwnedFd) -> Self {
        let (out, buffer) = buffers();
        WorkerEnd { socket: PacketSocket::new(end), out, buffer }
    }

    /// Sends a frame. False if the channel has no room.
    ///
    /// # Errors
    /// The master is gone.
    pub fn send(&mut self, frame: &ToMaster) -> io::Result<bool> {
        self.out.clear();
        frame.encode(&mut self.out);
        Ok(self.socket.post(&self.out)? == Posted::Sent)
    }

    /// The next frame, with its descriptors.
    ///
    /// # Errors
    /// A packet that cannot be used. Its descriptors are closed; [`ChannelError::refused`] names
    /// the loans that are to be refused. The next call goes on with the next packet.
    pub fn receive(&mut self) -> Result<FromMaster, ChannelError> {
        let mut descriptors = Vec::new();
        let packet = match self.socket.receive(&mut self.buffer, &mut descriptors)? {
            Receipt::Empty => return Ok(FromMaster::Empty),
            Receipt::Closed => return Ok(FromMaster::Closed),
            Receipt::Packet(packet) => packet,
        };
        let frame = ToWorker::decode(&self.buffer[..packet.length])?;
        match &frame {
            ToWorker::Lend(records) if packet.truncated || records.len() != descriptors.len() => {
                let loans = records.iter().map(|record| record.loan).collect();
                Err(ChannelError::Truncated { loans, arrived: descriptors.len() })
            }
            ToWorker::Lend(_) => Ok(FromMaster::Frame(frame, descriptors)),
            ToWorker::Recall(_) | ToWorker::Drain { .. } | ToWorker::Reopen => {
                if descriptors.is_empty() {
                    Ok(FromMaster::Frame(frame, descriptors))
                } else {
                    Err(ChannelError::Unexpected(descriptors.len()))
                }
            }
        }
    }
}

impl AsFd for MasterEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsFd for WorkerEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Sized for the most, so that no honest packet is cut; one byte more, so that a longer one shows.
fn buffers() -> (Vec<u8>, Vec<u8>) {
    (Vec::with_capacity(FRAME_SIZE_MAX), vec![0; FRAME_SIZE_MAX + 1])
}
