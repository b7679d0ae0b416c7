//! A handler that tries to get out of `--sandbox`, each way at a path of its own, and answers with
//! what the kernel said: `cargo run --example captive -- serve --sandbox`, then `curl
//! http://127.0.0.1:8000/read/etc/passwd`. Tests use it (`tests/sandbox.rs`).
#![allow(unsafe_code)]

use std::fs::{self, File};
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode};
use std::thread;

use maitred::app::{self, Handler, Request, Response, StatusCode};
use nix::libc;

struct Captive;

impl Handler for Captive {
    fn handle(&self, request: Request) -> Response {
        let path = request.path().to_owned();
        let (way, rest) = path.trim_start_matches('/').split_once('/').unwrap_or((&path[1..], ""));
        let target = format!("/{rest}");
        let outcome = match way {
            "thread" => thread::Builder::new().spawn(|| ()).map(|thread| drop(thread.join())),
            "read" => File::open(target).map(|_| ()),
            "list" => fs::read_dir(target).map(|_| ()),
            "write" => fs::write(target, "out"),
            "remove" => fs::remove_file(target),
            "link" => std::os::unix::fs::symlink("/etc/passwd", target),
            "mode" => {
                use std::os::unix::fs::PermissionsExt;
                fs::set_permissions(target, fs::Permissions::from_mode(0o777))
            }
            "connect" => TcpStream::connect(format!("127.0.0.1:{rest}")).map(|_| ()),
            "connect-unix" => UnixStream::connect(target).map(|_| ()),
            "listen" => TcpListener::bind("127.0.0.1:0").map(|_| ()),
            "datagram" => UdpSocket::bind("127.0.0.1:0").map(|_| ()),
            "execute" => Command::new(target).status().map(|_| ()),
            "signal" => call(libc::SYS_kill, [number(rest), 0, 0, 0]),
            "trace" => call(libc::SYS_ptrace, [16, number(rest), 0, 0]),
            "memory" => call(libc::SYS_process_vm_readv, [number(rest), 0, 0, 0]),
            "unshare" => call(libc::SYS_unshare, [libc::CLONE_NEWUSER.into(), 0, 0, 0]),
            // A copy of this process, which tells its parent when it ends.
            "fork" => call(libc::SYS_clone, [libc::SIGCHLD.into(), 0, 0, 0]),
            "code" => {
                let protection = libc::PROT_READ | libc::PROT_EXEC;
                // An address, a length, a protection, and flags in this order; the rest is zero.
                let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
                call(libc::SYS_mmap, [0, 4096, protection.into(), flags.into()])
            }
            "type" => call(libc::SYS_ioctl, [0, 0x5412, 0, 0]),
            "root" => call(libc::SYS_setuid, [0; 4]),
            _ => return app::text(StatusCode::NOT_FOUND, "no such way\n".to_owned()),
        };
        app::text(StatusCode::OK, said(outcome))
    }
}

fn said(outcome: io::Result<()>) -> String {
    match outcome {
        Ok(()) => "out\n".to_owned(),
        Err(error) => match error.raw_os_error() {
            Some(libc::EPERM) => "EPERM\n".to_owned(),
            Some(libc::EACCES) => "EACCES\n".to_owned(),
            Some(other) => format!("{other}\n"),
            None => format!("{error}\n"),
        },
    }
}

fn number(text: &str) -> i64 {
    text.parse().unwrap_or(0)
}

fn call(number: i64, [a, b, c, d]: [i64; 4]) -> io::Result<()> {
    // SAFETY: none of the calls that are made here writes to this process's memory: they are given
    // null in the place of every pointer. A child ends below, without running anything else.
    let result = unsafe { libc::syscall(number, a, b, c, d, 0, 0) };
    match result {
        -1 => Err(io::Error::last_os_error()),
        0 if number == libc::SYS_clone => std::process::abort(),
        _ => Ok(()),
    }
}

fn main() -> ExitCode {
    maitred::run(Captive)
}
