//! Sockets that listen: opening, adopting, and the options that every arm of the server shares.
//!
//! Not here: accepting from them (`accept`), when to (`master::acceptor`).
#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::mem::{self, MaybeUninit};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::libc;
use rustix::io::Errno;
use rustix::net::sockopt;
use socket2::{Domain, Protocol, SockAddr, SockFilter, SockRef, Socket, Type};
use thiserror::Error;

use crate::config::ListenOptions;
use crate::sys::privileges;

/// Why an address cannot be listened on.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Somebody else listens there.
    #[error("address in use: {address}")]
    InUse {
        /// As users write it.
        address: String,
    },
    /// The path of a Unix socket is something else.
    #[error("{} exists and is not a socket", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// An inherited descriptor is not a listening stream socket.
    #[error("descriptor {number} is not a listening socket")]
    NotListening {
        /// Its number.
        number: i32,
    },
    /// Anything else the system said.
    #[error("listening on {address}: {source}")]
    System {
        /// As users write it.
        address: String,
        /// What it said.
        source: io::Error,
    },
}

impl ListenError {
    fn of(address: impl Into<String>) -> impl FnOnce(io::Error) -> ListenError {
        let address = address.into();
        move |source| match source.kind() {
            io::ErrorKind::AddrInUse => ListenError::InUse { address },
            _ => ListenError::System { address, source },
        }
    }
}

/// The file of a Unix socket that we made: removed when this is dropped, if it is still ours.
#[derive(Debug)]
pub struct UnixSocketFile {
    path: PathBuf,
    identity: Identity,
}

/// Device, inode, and when it was made: an inode's number is soon used again.
type Identity = (u64, u64, i64, i64);

fn identity(metadata: &fs::Metadata) -> Identity {
    (metadata.dev(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec())
}

impl UnixSocketFile {
    /// One that another image of this process has made, by what [`UnixSocketFile::identity`] said.
    pub fn resume(path: PathBuf, identity: (u64, u64, i64, i64)) -> Self {
        UnixSocketFile { path, identity }
    }

    /// Device, inode, and when it was made, in seconds and nanoseconds.
    pub fn identity(&self) -> (u64, u64, i64, i64) {
        self.identity
    }
}

impl Drop for UnixSocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| identity(&metadata) == self.identity);
        if ours {
            // Gone meanwhile is as good.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens on a TCP address.
///
/// # Errors
/// The address is in use, not ours, or not allowed.
pub fn open_tcp(address: SocketAddr, options: &ListenOptions) -> Result<OwnedFd, ListenError> {
    open_tcp_as(address, options, false)
}

pub(super) fn open_tcp_as(
    address: SocketAddr,
    options: &ListenOptions,
    shares_address: bool,
) -> Result<OwnedFd, ListenError> {
    let name = format!("http://{address}");
    let open = || -> io::Result<OwnedFd> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_address(true)?;
        if shares_address {
            socket.set_reuse_port(true)?;
        }
        if address.is_ipv6() {
            // Both families by one socket would hide which `-b` a client came through.
            socket.set_only_v6(true)?;
        }
        // Inherited by accepted connections on Linux: a call less for each of them.
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into())?;
        set_defer_accept(socket.as_fd(), options.defer_accept_s)?;
        socket.listen(backlog(options))?;
        Ok(socket.into())
    };
    open().map_err(ListenError::of(name))
}

/// Listens on a Unix socket, replacing one that nobody listens on any more.
///
/// # Errors
/// Somebody listens there; the path is something else; or the directory does not let us.
pub fn open_unix(
    path: &Path,
    options: &ListenOptions,
) -> Result<(OwnedFd, UnixSocketFile), ListenError> {
    let name = format!("unix:{}", path.display());
    remove_stale(path, &name)?;
    let open = || -> io::Result<(OwnedFd, UnixSocketFile)> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let identity = identity(&fs::symlink_metadata(path)?);
        let file = UnixSocketFile { path: path.to_owned(), identity };
        // Nobody can connect before listen(2), so there is no moment with the wrong mode.
        fs::set_permissions(path, fs::Permissions::from_mode(options.unix_mode))?;
        if let Some(owner) = options.unix_owner {
            privileges::give(path, owner)?;
        }
        socket.listen(backlog(options))?;
        Ok((socket.into(), file))
    };
    open().map_err(ListenError::of(name))
}

/// Takes over a listening socket that this process was started with.
///
/// # Errors
/// The number is no listening stream socket. It is left as it is then.
pub fn adopt(number: i32, options: &ListenOptions) -> Result<OwnedFd, ListenError> {
    let not_listening = ListenError::NotListening { number };
    // SAFETY: F_GETFD reads a flag of whatever the number names, or says EBADF.
    if number < 3 || unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(not_listening);
    }
    // SAFETY: the descriptor is open (checked above), was inherited for this purpose, and is named
    // once: `--bind fd://N` refuses duplicates, so nobody else in this process owns it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    let listens = sockopt::socket_acceptconn(&descriptor) == Ok(true)
        && sockopt::socket_type(&descriptor) == Ok(rustix::net::SocketType::STREAM);
    if !listens {
        // It is not ours to close.
        mem::forget(descriptor);
        return Err(not_listening);
    }
    let prepare = || -> io::Result<()> {
        let socket = SockRef::from(&descriptor);
        socket.set_nonblocking(true)?;
        socket.set_cloexec(true)?;
        if socket.local_addr()?.is_unix() {
            return Ok(());
        }
        socket.set_tcp_nodelay(true)?;
        set_defer_accept(descriptor.as_fd(), options.defer_accept_s)
    };
    prepare().map_err(ListenError::of(format!("fd://{number}")))?;
    Ok(descriptor)
}

/// From now on accept(2) waits for a connection, for so long at the most. With a timeout it is also
/// interrupted by every signal that has a handler (signal(7), "Interruption of system calls").
///
/// # Errors
/// None on a socket.
pub fn set_blocking(listener: BorrowedFd<'_>, timeout: Duration) -> io::Result<()> {
    let socket = SockRef::from(&listener);
    socket.set_read_timeout(Some(timeout))?;
    socket.set_nonblocking(false)
}

/// A socket that systemd has passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemdSocket {
    /// Its descriptor.
    pub number: i32,
    /// `FileDescriptorName=` of its unit, else that unit's name; "unknown" where nobody says.
    pub name: String,
}

/// The sockets that systemd passes, given its three variables and our pid
/// (sd_listen_fds_with_names(3)).
pub fn passed_by_systemd(
    pid: u32,
    listen_pid: Option<&str>,
    listen_fds: Option<&str>,
    listen_names: Option<&str>,
) -> Vec<SystemdSocket> {
    let for_us = listen_pid.and_then(|text| text.parse().ok()) == Some(pid);
    let count: i32 = listen_fds.and_then(|text| text.parse().ok()).unwrap_or(0);
    if !for_us {
        return Vec::new();
    }
    let names = listen_names.unwrap_or_default().split(':').filter(|name| !name.is_empty());
    let names = names.chain(std::iter::repeat("unknown"));
    let numbers = 3..3 + count.clamp(0, 64);
    numbers.zip(names).map(|(number, name)| SystemdSocket { number, name: name.into() }).collect()
}

/// No program that this process starts gets this descriptor: systemd passes sockets open for all.
pub fn keep_to_this_process(number: i32) {
    // SAFETY: F_SETFD changes a flag of whatever the number names, or says EBADF; every descriptor of
    // this process has that flag anyway.
    unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
}

/// The address as users write it: `http://127.0.0.1:8000`, `unix:/run/app.sock`.
///
/// # Errors
/// Not a socket.
pub fn local_address(listener: BorrowedFd<'_>) -> Result<String, ListenError> {
    let address = SockRef::from(&listener)
        .local_addr()
        .map_err(ListenError::of(format!("descriptor {}", listener.as_raw_fd())))?;
    Ok(match (address.as_socket(), address.as_pathname()) {
        (Some(address), _) => format!("http://{address}"),
        (None, Some(path)) => format!("unix:{}", path.display()),
        (None, None) => "unix:".to_owned(),
    })
}

/// Hands a connection out only once its client has sent something, or after so many seconds
/// (tcp(7), TCP_DEFER_ACCEPT). 0 switches it off. Nothing happens on other sockets.
///
/// # Errors
/// The kernel refuses.
pub fn set_defer_accept(listener: BorrowedFd<'_>, seconds: u32) -> io::Result<()> {
    let value = libc::c_int::try_from(seconds).unwrap_or(libc::c_int::MAX);
    let size = mem::size_of_val(&value) as libc::socklen_t;
    // SAFETY: the pointer and the size name one c_int that lives through the call.
    let result = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const value).cast(),
            size,
        )
    };
    match result {
        0 => Ok(()),
        _ => match Errno::from_io_error(&io::Error::last_os_error()) {
            // Not a TCP socket: a Unix listener knows no deferral.
            Some(Errno::OPNOTSUPP | Errno::NOPROTOOPT) => Ok(()),
            Some(error) => Err(error.into()),
            None => Err(io::Error::last_os_error()),
        },
    }
}

/// Lets no new handshake begin, while those under way are finished: a filter drops segments that
/// say SYN and not ACK. A client whose SYN is dropped tries again after a second, and is refused
/// by then. Without it a connection made between the last accept and the close would be reset.
///
/// # Errors
/// The kernel refuses. On Unix sockets connecting is one step, and nothing is done.
pub fn refuse_handshakes(listener: BorrowedFd<'_>) -> io::Result<()> {
    let socket = SockRef::from(&listener);
    if socket.local_addr()?.is_unix() {
        return Ok(());
    }
    const FLAGS_BYTE: u32 = 13;
    const SYN_AND_ACK: u32 = 0x12;
    const SYN: u32 = 0x02;
    let op = |code: u32, jt, jf, k| SockFilter::new(code as u16, jt, jf, k);
    // A socket's filter sees the TCP header from its first byte (RFC 9293 section 3.1).
    socket.attach_filter(&[
        op(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, FLAGS_BYTE),
        op(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, SYN_AND_ACK),
        op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, SYN),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
    ])
}

/// How many connections wait in a listener's queue. The kernel says it in `tcpi_unacked`, which
/// means something else for a listener (`tcp_get_info`, net/ipv4/tcp.c; `tcpi_sacked` is the
/// backlog). `None` on other sockets.
pub fn queue_length(listener: BorrowedFd<'_>) -> Option<u32> {
    queue(listener).map(|(length, _)| length)
}

/// The same, and how many there may be.
pub fn queue(listener: BorrowedFd<'_>) -> Option<(u32, u32)> {
    tcp_info(listener).map(|info| (info.tcpi_unacked, info.tcpi_sacked))
}

/// What the kernel knows of a TCP socket; `None` on other sockets.
pub(super) fn tcp_info(socket: BorrowedFd<'_>) -> Option<libc::tcp_info> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut size = mem::size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the pointer and the size name memory for one tcp_info; the kernel writes at most
    // that much.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut size,
        )
    };
    // SAFETY: zeroed above, and all-zero is a tcp_info: it holds integers alone.
    (result == 0).then(|| unsafe { info.assume_init() })
}

fn backlog(options: &ListenOptions) -> i32 {
    i32::try_from(options.backlog).unwrap_or(i32::MAX)
}

fn remove_stale(path: &Path, name: &str) -> Result<(), ListenError> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(ListenError::NotASocket { path: path.to_owned() });
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(ListenError::of(name))
        }
        Ok(_) | Err(_) => Err(ListenError::InUse { address: name.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;
    use crate::sys::accept::{Accepted, accept};

    fn local(descriptor: &OwnedFd) -> SocketAddr {
        SockRef::from(descriptor).local_addr().unwrap().as_socket().unwrap()
    }

    fn options() -> ListenOptions {
        ListenOptions { backlog: 16, defer_accept_s: 0, unix_mode: 0o600, unix_owner: None }
    }

    fn any_port() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[test]
    fn accepted_connections_inherit_nodelay() {
        let listener = open_tcp(any_port(), &options()).unwrap();
        let _client = TcpStream::connect(local(&listener)).unwrap();
        let Accepted::Connection(connection, _) = accept(listener.as_fd()) else { panic!() };
        assert!(SockRef::from(&connection).tcp_nodelay().unwrap());
        assert!(SockRef::from(&connection).nonblocking().unwrap());
    }

    #[test]
    fn a_tcp_listener_knows_how_many_wait_and_a_unix_one_does_not() {
        let listener = open_tcp(any_port(), &options()).unwrap();
        assert_eq!(queue_length(listener.as_fd()), Some(0));
        let _clients = [(); 3].map(|()| TcpStream::connect(local(&listener)).unwrap());
        assert_eq!(queue_length(listener.as_fd()), Some(3));
        assert!(matches!(accept(listener.as_fd()), Accepted::Connection(..)));
        assert_eq!(queue_length(listener.as_fd()), Some(2));
        let directory = tempfile::tempdir().unwrap();
        let (listener, _file) = open_unix(&directory.path().join("app.sock"), &options()).unwrap();
        assert_eq!(queue_length(listener.as_fd()), None);
    }

    #[test]
    fn an_address_in_use_is_named() {
        let first = open_tcp(any_port(), &options()).unwrap();
        let error = open_tcp(local(&first), &options()).unwrap_err();
        assert_eq!(error.to_string(), format!("address in use: http://{}", local(&first)));
    }

    #[test]
    fn no_handshake_begins_after_the_filter_and_the_queue_is_kept() {
        let listener = open_tcp(any_port(), &options()).unwrap();
        let address = local(&listener);
        let _before = TcpStream::connect(address).unwrap();
        refuse_handshakes(listener.as_fd()).unwrap();
        let refused = TcpStream::connect_timeout(&address, Duration::from_millis(200));
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(matches!(accept(listener.as_fd()), Accepted::Connection(..)));
        assert!(matches!(accept(listener.as_fd()), Accepted::Empty));
    }

    #[test]
    fn a_stale_socket_is_replaced_a_live_one_and_a_file_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.sock");
        let (first, file) = open_unix(&path, &options()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(open_unix(&path, &options()), Err(ListenError::InUse { .. })));
        drop(first);
        let (_second, second_file) = open_unix(&path, &options()).unwrap();
        drop(file);
        assert!(path.exists(), "the second server's socket is not the first one's to remove");
        drop(second_file);
        assert!(!path.exists());
        fs::write(&path, "data").unwrap();
        assert!(matches!(open_unix(&path, &options()), Err(ListenError::NotASocket { .. })));
    }

    #[test]
    fn only_a_listening_socket_is_adopted() {
        assert!(matches!(adopt(0, &options()), Err(ListenError::NotListening { .. })));
        assert!(matches!(adopt(9999, &options()), Err(ListenError::NotListening { .. })));
        let (stream, _other) = UnixStream::pair().unwrap();
        let number = stream.as_raw_fd();
        assert!(matches!(adopt(number, &options()), Err(ListenError::NotListening { .. })));
        let listener = open_tcp(any_port(), &options()).unwrap();
        let number = std::os::fd::IntoRawFd::into_raw_fd(listener);
        assert!(adopt(number, &options()).is_ok());
    }

    #[test]
    fn systemd_passes_from_three_on_and_only_to_the_process_it_names() {
        let passed = |pid, fds, names| passed_by_systemd(pid, Some("7"), Some(fds), names);
        let socket = |number, name: &str| SystemdSocket { number, name: name.to_owned() };
        assert_eq!(passed(7, "2", None), [socket(3, "unknown"), socket(4, "unknown")]);
        assert_eq!(passed(7, "2", Some("http:admin")), [socket(3, "http"), socket(4, "admin")]);
        assert_eq!(passed(7, "2", Some("http")), [socket(3, "http"), socket(4, "unknown")]);
        assert!(passed(8, "2", Some("http:admin")).is_empty());
        assert!(passed(7, "-1", None).is_empty());
        assert!(passed_by_systemd(7, None, None, None).is_empty());
    }
}
