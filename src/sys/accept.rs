//! Taking a connection from a listener: accept4(2), and what its errors mean.
//!
//! Not here: what is done about running out (`master::acceptor`).

use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{SocketAddrAny, SocketFlags, acceptfrom_with};

use crate::ident::PeerAddress;

/// What accept(2) had to say.
#[derive(Debug)]
pub enum Accepted {
    /// A connection: non-blocking, close-on-exec.
    Connection(OwnedFd, PeerAddress),
    /// The queue is empty.
    Empty,
    /// That connection is gone before it was accepted; there may be others. Linux passes a new
    /// socket's pending network errors on here, to be treated like EAGAIN (accept(2)).
    Retry(io::Error),
    /// This process has no descriptor left (EMFILE).
    OutOfDescriptors,
    /// The system has none, or no memory (ENFILE, ENOBUFS, ENOMEM).
    OutOfMemory(io::Error),
    /// The listener is unusable.
    Fatal(io::Error),
}

/// Accepts one connection.
pub fn accept(listener: BorrowedFd<'_>) -> Accepted {
    match acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
        Ok((descriptor, address)) => Accepted::Connection(descriptor, peer(address)),
        Err(error) => classify(error),
    }
}

fn peer(address: Option<SocketAddrAny>) -> PeerAddress {
    address
        .and_then(|address| SocketAddr::try_from(address).ok())
        .map_or(PeerAddress::Local, PeerAddress::Inet)
}

fn classify(error: Errno) -> Accepted {
    match error {
        Errno::AGAIN => Accepted::Empty,
        Errno::MFILE => Accepted::OutOfDescriptors,
        Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => Accepted::OutOfMemory(error.into()),
        Errno::BADF | Errno::INVAL | Errno::NOTSOCK | Errno::OPNOTSUPP | Errno::FAULT => {
            Accepted::Fatal(error.into())
        }
        // ECONNABORTED, EINTR, EPROTO, EPERM (a firewall), and the network errors of accept(2).
        _ => Accepted::Retry(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_broken_listener_is_fatal() {
        assert!(matches!(classify(Errno::AGAIN), Accepted::Empty));
        assert!(matches!(classify(Errno::MFILE), Accepted::OutOfDescriptors));
        for error in [Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            assert!(matches!(classify(error), Accepted::OutOfMemory(_)));
        }
        for error in [Errno::CONNABORTED, Errno::INTR, Errno::PROTO, Errno::PERM, Errno::NETDOWN] {
            assert!(matches!(classify(error), Accepted::Retry(_)));
        }
        assert!(matches!(classify(Errno::INVAL), Accepted::Fatal(_)));
    }
}
