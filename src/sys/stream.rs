//! A connected socket: reading, writing, and the three ways to end it.
//!
//! Every call is non-blocking by its own flag (MSG_DONTWAIT): O_NONBLOCK belongs to the shared
//! description, and another worker that holds a copy could clear it. sendfile(2) has no such flag;
//! it is the one exception, named in docs/architecture.md.
//!
//! Not here: what the bytes mean (`http`).

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::io::{Errno, ioctl_fionread};
use rustix::net::{
    RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, recv, send as send_bytes, sendmsg,
    shutdown, sockopt,
};

use crate::sys::clock;
use crate::sys::listener::tcp_info;

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many bytes, at least one.
    Bytes(usize),
    /// Nothing now.
    Empty,
    /// The client sends no more.
    End,
}

/// What a write took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// So many bytes.
    Bytes(usize),
    /// The socket takes no more now.
    Full,
}

/// Bytes that a read would bring now, up to what an `int` counts; 0 also at the end of input.
///
/// # Errors
/// Not a socket.
pub fn bytes_readable(socket: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(ioctl_fionread(socket)?)
}

/// How long the last bytes have waited in an accepted TCP connection, at the least: directly after
/// accept this is how long it stood in the kernel's queue (`tcpi_last_data_recv`, tcp(7)). `None` on
/// other sockets.
///
/// The kernel counts in ticks: where one has passed, the wait was anything from nothing to two. One
/// is taken off, else each hundredth of the connections that nobody kept waiting would have waited
/// 4 ms.
pub fn waited_before_accept(socket: BorrowedFd<'_>) -> Option<Duration> {
    let counted =
        tcp_info(socket).map(|info| Duration::from_millis(u64::from(info.tcpi_last_data_recv)));
    counted.map(|counted| counted.saturating_sub(clock::tick()))
}

/// Reads what is there.
///
/// # Errors
/// The connection was reset, or broke.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    loop {
        match recv(socket, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return Ok(Received::End),
            Ok((count, _)) => return Ok(Received::Bytes(count)),
            Err(Errno::AGAIN) => return Ok(Received::Empty),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Writes what the socket takes.
///
/// # Errors
/// The client has gone.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<Sent> {
    sent(|| send_bytes(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL))
}

/// Writes what the socket takes, and leaves the last segment to what follows at once (`MSG_MORE`,
/// send(2)): a shutdown's FIN travels with it then, and the client is woken once.
///
/// # Errors
/// The client has gone.
pub fn send_before_end(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<Sent> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL | SendFlags::MORE;
    sent(|| send_bytes(socket, bytes, flags))
}

/// Writes several pieces in one call, as far as the socket takes them.
///
/// # Errors
/// The client has gone.
pub fn send_vectored(socket: BorrowedFd<'_>, pieces: &[IoSlice<'_>]) -> io::Result<Sent> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    sent(|| sendmsg(socket, pieces, &mut SendAncillaryBuffer::default(), flags))
}

/// Sends part of a file without copying it through user space (sendfile(2)). `Bytes(0)` means that
/// the file is shorter than that.
///
/// # Errors
/// The client has gone, or the file cannot be read.
pub fn send_file(
    socket: BorrowedFd<'_>,
    file: BorrowedFd<'_>,
    offset: u64,
    length: u64,
) -> io::Result<Sent> {
    let count = usize::try_from(length).unwrap_or(usize::MAX);
    sent(|| rustix::fs::sendfile(socket, file, Some(&mut offset.clone()), count))
}

/// Ends the connection in order: FIN, whoever else holds a copy.
///
/// # Errors
/// It was over already.
pub fn shutdown_both(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(shutdown(socket, Shutdown::Both)?)
}

/// Says that nothing more will be sent; the client may still send.
///
/// # Errors
/// It was over already.
pub fn shutdown_write(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(shutdown(socket, Shutdown::Write)?)
}

/// Closing this socket will not wait, whatever a worker that had a copy has asked for: with SO_LINGER
/// set close(2) waits for the client to take what was sent, also on a non-blocking socket
/// (`inet_release`), and would hold whoever closes the last copy.
pub fn never_linger(socket: BorrowedFd<'_>) {
    // ENOTSOCK and the like: then it does not linger.
    let _ = sockopt::set_socket_linger(socket, None);
}

/// Resets the connection at once, whoever else holds a copy: connect(2) to AF_UNSPEC dissolves the
/// association, and Linux sends RST for TCP. A Unix socket has no reset; it is shut down.
///
/// # Errors
/// It was over already.
pub fn reset(socket: BorrowedFd<'_>) -> io::Result<()> {
    match rustix::net::connect_unspec(socket) {
        Ok(()) => Ok(()),
        Err(_) => shutdown_both(socket),
    }
}

fn sent(mut write: impl FnMut() -> rustix::io::Result<usize>) -> io::Result<Sent> {
    loop {
        match write() {
            Ok(count) => return Ok(Sent::Bytes(count)),
            Err(Errno::AGAIN) => return Ok(Sent::Full),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn what_is_left_to_the_end_arrives_with_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        assert_eq!(send_before_end(server.as_fd(), b"answer").unwrap(), Sent::Bytes(6));
        shutdown_both(server.as_fd()).unwrap();
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"answer");
    }
}
