//! A worker that shares no code with maitred: the hand-off protocol (docs/handoff.md) in about a
//! hundred lines on the sendfd crate, without a page:
//! `maitred serve -- target/debug/examples/foreign_worker`
//!
//! It serves one connection at a time and closes it after one answer; what matters is the order:
//! Ready, then for each loan Taken before the first read and Ended after the shutdown.

#![allow(unsafe_code, reason = "descriptors arrive as numbers; a library would wrap this")]

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{FromRawFd, RawFd};
use std::os::unix::net::UnixDatagram;

use sendfd::RecvWithFd;

const VERSION: u16 = 1;
const LEND: u16 = 1;
const DRAIN: u16 = 3;
const READY: u16 = 16;
const TAKEN: u16 = 20;
const ENDED: u16 = 21;

const HEADER_SIZE: usize = 8;
const LEND_SIZE: usize = 128;
const PACKET_LOANS_MAX: usize = 64;

fn main() -> io::Result<()> {
    let number: RawFd = std::env::var("MAITRED_CHANNEL_FD")
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| io::Error::other("start me as `maitred serve -- …`"))?;
    // SAFETY: the master opened this descriptor for us alone, and nothing else here uses it.
    let channel = unsafe { UnixDatagram::from_raw_fd(number) };
    channel.set_nonblocking(false)?;

    let mut ready = header(READY, 1);
    // Version, threads (0: a loop), credit (0: as the master likes), page (0: none), pid, zeros.
    for field in [VERSION, 0, 0, 0] {
        ready.extend(field.to_le_bytes());
    }
    ready.extend(std::process::id().to_le_bytes());
    ready.extend([0; 4]);
    channel.send(&ready)?;

    let mut packet = [0; HEADER_SIZE + PACKET_LOANS_MAX * LEND_SIZE];
    let mut descriptors = [-1; PACKET_LOANS_MAX];
    loop {
        let (length, count) = channel.recv_with_fd(&mut packet, &mut descriptors)?;
        if length == 0 {
            // The master is gone.
            return Ok(());
        }
        match u16::from_le_bytes([packet[2], packet[3]]) {
            LEND => {
                let records = packet[HEADER_SIZE..length].chunks_exact(LEND_SIZE);
                for (record, descriptor) in records.zip(&descriptors[..count]) {
                    // SAFETY: the kernel has just made this descriptor for us.
                    let connection = unsafe { TcpStream::from_raw_fd(*descriptor) };
                    serve(&channel, &record[..8], connection)?;
                }
            }
            // Mode 1: the server ends, and until it stops listening there are more loans.
            DRAIN if packet[HEADER_SIZE] == 1 => {}
            // One that serves one after the other has nothing left to finish here.
            DRAIN => return Ok(()),
            _ => {}
        }
    }
}

/// One loan: `id` is its first eight bytes, index and sequence.
fn serve(channel: &UnixDatagram, id: &[u8], mut connection: TcpStream) -> io::Result<()> {
    channel.send(&[&header(TAKEN, 1)[..], id].concat())?;
    // What goes wrong with one client is no reason to leave.
    let _ = answer(&mut connection);
    let _ = connection.shutdown(Shutdown::Both);
    drop(connection);
    channel.send(&[&header(ENDED, 1)[..], id].concat())?;
    Ok(())
}

fn answer(connection: &mut TcpStream) -> io::Result<()> {
    // The master keeps its copy, and O_NONBLOCK belongs to the description that both share.
    connection.set_nonblocking(false)?;
    connection.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 8192 && connection.read(&mut byte)? == 1 {
        head.push(byte[0]);
    }
    let slot = std::env::var("MAITRED_SLOT").unwrap_or_default();
    // The target is named, so that a client can tell its own answer from another's.
    let mut words = head.split(|&byte| byte == b' ');
    let target =
        String::from_utf8_lossy(words.nth(1).unwrap_or_default()).replace(['"', '\\'], "?");
    let pid = std::process::id();
    let body = format!("{{\"slot\":{slot},\"pid\":{pid},\"target\":\"{target}\"}}\n");
    let length = body.len();
    write!(
        connection,
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

fn header(kind: u16, count: u16) -> Vec<u8> {
    [VERSION, kind, count, 0].iter().flat_map(|field| field.to_le_bytes()).collect()
}
