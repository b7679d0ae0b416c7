//! Descriptors over a Unix socketpair (unix(7), SCM_RIGHTS).
//!
//! SEQPACKET keeps packet borders *and* reports a dead peer; DGRAM never reports one, STREAM has no
//! borders. The sendfd crate sends. rustix receives: it asks for close-on-exec, tells of truncation,
//! and owns every descriptor from the moment it arrives, also those of a truncated message (nix
//! returns an error instead of the message then, and what had arrived would leak).
//!
//! Not here: what the bytes say (`handoff`).

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::thread;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags,
    SocketFlags, SocketType, recvmsg, send, socketpair as pair,
};
use sendfd::SendWithFd;

use crate::config::DESCRIPTORS_PER_PACKET_MAX;
use crate::sys::upgrade::SignalsBlocked;

/// One end of a channel. It is a SEQPACKET socket, in the type whose send sendfd extends; nothing
/// that is used of the type depends on the difference.
#[derive(Debug)]
pub struct PacketSocket(UnixDatagram);

/// How a send went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posted {
    /// The packet is with the other side.
    Sent,
    /// Not now: the other side's buffer is full, too many descriptors are under way, the system is
    /// short of memory, or a signal came between (EAGAIN, ETOOMANYREFS, ENOBUFS, ENOMEM, EINTR). None
    /// of them says anything of the other side.
    Full,
}

/// A packet.
#[derive(Debug, Default)]
pub struct Packet {
    /// Bytes written to the caller's buffer.
    pub length: usize,
    /// The bytes or the descriptors did not all fit: this process has no descriptor left, or the
    /// sender sent more than it may.
    pub truncated: bool,
}

/// What a receive brought.
#[derive(Debug)]
pub enum Receipt {
    /// A packet; its descriptors are in the caller's vector.
    Packet(Packet),
    /// Nothing now.
    Empty,
    /// The other side has closed its end.
    Closed,
}

/// A channel: two ends, non-blocking, close-on-exec.
///
/// # Errors
/// No descriptor or no memory.
pub fn socketpair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(pair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Closes descriptors that a stranger has sent, on a thread of its own: closing the last copy may
/// wait for as long as the stranger likes (a socket with SO_LINGER, a file of a FUSE server).
pub fn dispose(descriptors: Vec<OwnedFd>) {
    if !descriptors.is_empty() {
        // The thread takes no signal: the last ones before an upgrade are looked for by one thread.
        let _blocked = SignalsBlocked::begin();
        // Without a thread they are closed here, with the closure.
        let closer = thread::Builder::new().name("closer".to_owned());
        let _ = closer.spawn(move || drop(descriptors));
    }
}

impl PacketSocket {
    /// Takes over one end.
    pub fn new(end: OwnedFd) -> Self {
        PacketSocket(end.into())
    }

    /// Closes this end, with whatever descriptors are in packets that nobody has read.
    pub fn dispose(self) {
        dispose(vec![self.0.into()]);
    }

    /// Sends a packet without descriptors.
    ///
    /// # Errors
    /// The other side is gone.
    pub fn post(&self, bytes: &[u8]) -> io::Result<Posted> {
        posted(send(&self.0, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).map(|_| ()))
    }

    /// Sends a packet with descriptors. They stay open here.
    ///
    /// # Errors
    /// The other side is gone, or there are more than 64.
    pub fn post_with(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<Posted> {
        if descriptors.len() > DESCRIPTORS_PER_PACKET_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut numbers: [RawFd; DESCRIPTORS_PER_PACKET_MAX] = [-1; DESCRIPTORS_PER_PACKET_MAX];
        for (number, descriptor) in numbers.iter_mut().zip(descriptors) {
            *number = descriptor.as_raw_fd();
        }
        // sendfd sends with flags 0: the socket is non-blocking by itself, and SIGPIPE is ignored
        // in every process of ours (Rust's runtime does that, and nothing resets it).
        let sent = self.0.send_with_fd(bytes, &numbers[..descriptors.len()]);
        posted(sent.map(|_| ()).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO)))
    }

    /// Receives a packet: its bytes into `buffer`, its descriptors, close-on-exec, behind those in
    /// `descriptors`.
    ///
    /// # Errors
    /// The socket broke. ECONNRESET (the other side died with packets unread) is not an error of
    /// what it had sent: the next call goes on with that.
    pub fn receive(
        &self,
        buffer: &mut [u8],
        descriptors: &mut Vec<OwnedFd>,
    ) -> io::Result<Receipt> {
        let mut space =
            [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_PER_PACKET_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let message = loop {
            match recvmsg(&self.0, &mut [IoSliceMut::new(buffer)], &mut control, flags) {
                Ok(message) => break message,
                Err(Errno::INTR | Errno::CONNRESET) => {}
                Err(Errno::AGAIN) => return Ok(Receipt::Empty),
                Err(error) => return Err(error.into()),
            }
        };
        let had = descriptors.len();
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = part {
                descriptors.extend(received);
            }
        }
        if message.bytes == 0 && descriptors.len() == had {
            // An empty packet looks the same; we send none.
            return Ok(Receipt::Closed);
        }
        let truncated = message.flags.intersects(ReturnFlags::CTRUNC | ReturnFlags::TRUNC);
        Ok(Receipt::Packet(Packet { length: message.bytes, truncated }))
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn posted(result: rustix::io::Result<()>) -> io::Result<Posted> {
    match result {
        Ok(()) => Ok(Posted::Sent),
        Err(Errno::AGAIN | Errno::TOOMANYREFS | Errno::NOBUFS | Errno::NOMEM | Errno::INTR) => {
            Ok(Posted::Full)
        }
        Err(error) => Err(error.into()),
    }
}
