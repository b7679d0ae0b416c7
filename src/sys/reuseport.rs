//! Several listeners at one address, each with a queue of its own (SO_REUSEPORT, socket(7)), and the
//! program that says which of them a connection goes to.
//!
//! The kernel keeps the listeners of an address in an array, in the order in which they began to
//! listen; one that is closed leaves its place to the last (`reuseport_detach_sock`,
//! net/core/sock_reuseport.c). So whoever closes the last first, and opens at the end, has an order
//! that stays. Without a program a hash of both addresses and ports decides; a program returns a
//! place, and what is none falls back to the hash.
//!
//! Not here: which listener belongs to whom (`master::private_queues`), other options (`listener`).
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::libc;

use crate::config::{ListenOptions, Selector};
use crate::sys::listener::{self, ListenError};

/// Listens on a TCP address, beside others of this user that do so too.
///
/// # Errors
/// The address is in use by somebody who does not share it, not ours, or not allowed.
pub fn open_tcp(address: SocketAddr, options: &ListenOptions) -> Result<OwnedFd, ListenError> {
    listener::open_tcp_as(address, options, true)
}

/// Has a program choose among the first `count` listeners of this one's address.
///
/// # Errors
/// The listener shares its address with nobody (it was opened without SO_REUSEPORT).
pub fn select_among(listener: BorrowedFd<'_>, selector: Selector, count: u32) -> io::Result<()> {
    let source = match selector {
        Selector::Random => libc::SKF_AD_RANDOM,
        // The CPU that runs the program, which is the one that has received the segment (packet(7)
        // and Documentation/networking/filter.rst, "extensions").
        Selector::Cpu => libc::SKF_AD_CPU,
    };
    let op = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let mut program = [
        op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, (libc::SKF_AD_OFF + source).cast_unsigned()),
        // A division by zero is refused by the kernel's check.
        op(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, count.max(1)),
        op(libc::BPF_RET | libc::BPF_A, 0),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the pointer and the size name one sock_fprog, which points to three instructions; both
    // live through the call, and the kernel copies them.
    let result = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            mem::size_of_val(&program) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Has the hash choose again. Where no program chose, it does already.
///
/// # Errors
/// The listener shares its address with nobody.
pub fn select_by_hash(listener: BorrowedFd<'_>) -> io::Result<()> {
    let nothing: libc::c_int = 0;
    // SAFETY: the pointer and the size name one c_int that lives through the call.
    let result = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_DETACH_REUSEPORT_BPF,
            (&raw const nothing).cast(),
            mem::size_of_val(&nothing) as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => match io::Error::last_os_error() {
            // There was none (`reuseport_detach_prog`).
            error if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            error => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::os::fd::AsFd;

    use socket2::SockRef;

    use super::*;

    fn group(count: usize) -> (Vec<OwnedFd>, SocketAddr) {
        let options =
            ListenOptions { backlog: 256, defer_accept_s: 0, unix_mode: 0o600, unix_owner: None };
        let mut address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut listeners = Vec::new();
        for _ in 0..count {
            let listener = open_tcp(address, &options).unwrap();
            address = SockRef::from(&listener).local_addr().unwrap().as_socket().unwrap();
            listeners.push(listener);
        }
        (listeners, address)
    }

    /// How many of so many new connections wait in each queue.
    fn shares(listeners: &[OwnedFd], address: SocketAddr, clients: usize) -> Vec<u32> {
        let length = |one: &OwnedFd| listener::queue_length(one.as_fd()).unwrap();
        let before: Vec<_> = listeners.iter().map(length).collect();
        let _clients: Vec<_> = (0..clients).map(|_| TcpStream::connect(address).unwrap()).collect();
        let shares = listeners.iter().zip(before).map(|(one, before)| length(one) - before);
        shares.collect()
    }

    #[test]
    fn a_program_chooses_among_the_first_and_the_hash_among_all() {
        let (listeners, address) = group(3);
        let one = listeners[0].as_fd();
        select_among(one, Selector::Random, 1).unwrap();
        assert_eq!(shares(&listeners, address, 20), [20, 0, 0]);
        select_among(one, Selector::Random, 2).unwrap();
        let random = shares(&listeners, address, 60);
        assert!(random[0] > 0 && random[1] > 0 && random[2] == 0, "{random:?}");
        select_by_hash(one).unwrap();
        select_by_hash(one).unwrap();
        let hashed = shares(&listeners, address, 60);
        assert!(hashed.iter().all(|share| *share > 0), "{hashed:?}");
    }

    #[test]
    fn the_last_leaves_without_changing_the_places_of_the_others() {
        let (mut listeners, address) = group(3);
        drop(listeners.pop());
        select_among(listeners[0].as_fd(), Selector::Cpu, 1).unwrap();
        assert_eq!(shares(&listeners, address, 10), [10, 0]);
    }

    #[test]
    fn a_listener_that_shares_its_address_with_nobody_has_no_program() {
        let options =
            ListenOptions { backlog: 1, defer_accept_s: 0, unix_mode: 0o600, unix_owner: None };
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let alone = listener::open_tcp(any, &options).unwrap();
        assert!(select_among(alone.as_fd(), Selector::Random, 1).is_err());
    }
}
