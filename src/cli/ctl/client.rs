//! A small blocking HTTP/1.1 client for the admin address: one request, one answer, one connection.
//!
//! Everything is bounded: the time for all of it, and the bytes of the answer.
//!
//! Not here: what is asked (`ctl`), what an answer looks like (`admin::reply`), the server's side
//! (`admin`).

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};
use thiserror::Error;

use crate::admin::reply::{Reply, ReplyError};
use crate::config::ADMIN_COMMAND_MAX;

/// For a whole request: longer than the helper waits for its master.
const DEADLINE: Duration = ADMIN_COMMAND_MAX.saturating_add(Duration::from_secs(2));

/// Where a server is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Address {
    /// unix:PATH
    Unix(PathBuf),
    /// HOST:PORT, with or without http:// in front
    Tcp(String),
}

/// Why nothing came back.
#[derive(Debug, Error)]
pub(in crate::cli) enum ClientError {
    /// Nobody answers there.
    #[error("nobody answers: {0}")]
    Unreachable(io::Error),
    /// Somebody does, and not as a server of ours does.
    #[error("no answer of a maitred: {0}")]
    Nonsense(#[from] ReplyError),
    /// The connection ended, or time was up, within an answer.
    #[error("the answer broke off: {0}")]
    Broken(io::Error),
}

impl Address {
    /// As it is typed.
    ///
    /// # Errors
    /// What it must be, as a sentence without its subject.
    pub(in crate::cli) fn parse(text: &OsStr) -> Result<Address, String> {
        const FORMS: &str = "must be unix:PATH or HOST:PORT";
        if let Some(path) = text.as_bytes().strip_prefix(b"unix:") {
            let path = path.strip_prefix(b"//").unwrap_or(path);
            return match path {
                b"" => Err(FORMS.to_owned()),
                path => Ok(Address::Unix(OsStr::from_bytes(path).into())),
            };
        }
        let text = text.to_str().ok_or(FORMS)?;
        let text = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Address::Tcp(format!("127.0.0.1:{text}")));
        }
        let port = text.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        match port {
            Some(_) => Ok(Address::Tcp(text.to_owned())),
            None => Err(FORMS.to_owned()),
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// There is none.
    pub(in crate::cli) fn request(
        &self,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> Result<Reply, ClientError> {
        let until = Instant::now() + DEADLINE;
        let mut stream = self.connect().map_err(ClientError::Unreachable)?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: maitred\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let sent = stream.write_all(&[head.as_bytes(), body].concat());
        sent.map_err(ClientError::Unreachable)?;
        let mut bytes = Vec::new();
        loop {
            if let Some(reply) = Reply::parse(&bytes)? {
                return Ok(reply);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ClientError::Broken(io::ErrorKind::TimedOut.into()));
            }
            let read = stream.read_more(&mut bytes, left);
            if read.map_err(ClientError::Broken)? == 0 {
                return Err(ClientError::Broken(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    fn connect(&self) -> io::Result<Stream> {
        match self {
            Address::Unix(path) => {
                let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
                // It bounds connect(2) too, where the other side's queue is full (unix(7)).
                socket.set_write_timeout(Some(DEADLINE))?;
                socket.connect(&SockAddr::unix(path)?)?;
                Ok(Stream::Unix(socket.into()))
            }
            Address::Tcp(address) => {
                let mut refused = io::Error::from(io::ErrorKind::AddrNotAvailable);
                for address in address.to_socket_addrs()? {
                    match TcpStream::connect_timeout(&address, DEADLINE) {
                        Ok(stream) => {
                            stream.set_write_timeout(Some(DEADLINE))?;
                            return Ok(Stream::Tcp(stream));
                        }
                        Err(error) => refused = error,
                    }
                }
                Err(refused)
            }
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Tcp(address) => write!(f, "http://{address}"),
        }
    }
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Stream::Unix(stream) => stream.write_all(bytes),
            Stream::Tcp(stream) => stream.write_all(bytes),
        }
    }

    fn read_more(&mut self, out: &mut Vec<u8>, within: Duration) -> io::Result<usize> {
        let mut buffer = [0; 16 << 10];
        let read = match self {
            Stream::Unix(stream) => {
                stream.set_read_timeout(Some(within))?;
                stream.read(&mut buffer)
            }
            Stream::Tcp(stream) => {
                stream.set_read_timeout(Some(within))?;
                stream.read(&mut buffer)
            }
        };
        match read {
            Ok(length) => {
                out.extend_from_slice(&buffer[..length]);
                Ok(length)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(io::ErrorKind::TimedOut.into())
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_they_are_shown() {
        let parse = |text: &str| Address::parse(OsStr::new(text));
        assert_eq!(parse("unix:/run/a"), Ok(Address::Unix("/run/a".into())));
        assert_eq!(parse("unix:///run/a"), Ok(Address::Unix("/run/a".into())));
        for text in ["http://127.0.0.1:9000/", "127.0.0.1:9000", "9000"] {
            assert_eq!(parse(text).unwrap().to_string(), "http://127.0.0.1:9000", "{text}");
        }
        assert_eq!(parse("[::1]:9").unwrap(), Address::Tcp("[::1]:9".into()));
        for text in ["", "unix:", "/run/a", "localhost", "a:", "a:70000", "https://a"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
