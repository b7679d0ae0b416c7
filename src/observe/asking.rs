//! Asking a server at its admin address: one GET, one answer, by a deadline.
//!
//! HTTP/1.0, so that no answer comes in chunks and its end is the connection's; that is all the HTTP
//! that an answer of a known server on this machine needs.
//!
//! Not here: what the answer says (`view`), who asks (`cli::top`).

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::config::{ADMIN_ANSWER_HEAD_MAX, ADMIN_ANSWER_SIZE_MAX};

/// Fields of an answer's head; ours have a handful.
const FIELDS_MAX: usize = 64;

/// Where a server is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `unix:PATH`, or a path.
    Unix(PathBuf),
    /// `http://HOST:PORT`, or `HOST:PORT`.
    Tcp(String),
}

/// A text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("must be unix:PATH or http://HOST:PORT")]
pub struct AddressError;

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() {
                Err(AddressError)
            } else {
                Ok(Address::Unix(path.into()))
            };
        }
        if text.starts_with(['/', '.']) {
            return Ok(Address::Unix(text.into()));
        }
        let authority = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let is_plain = !authority.contains(['/', '@', '?', '#', ' ']) && authority.is_ascii();
        let port = authority.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        match port.and_then(|(_, port)| port.parse::<u16>().ok()) {
            Some(1..) if is_plain => Ok(Address::Tcp(authority.to_owned())),
            Some(_) | None => Err(AddressError),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Tcp(authority) => write!(f, "http://{authority}"),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum AskError {
    /// Nobody listens there, or may not be spoken to.
    #[error("connecting: {0}")]
    Connect(#[source] io::Error),
    /// It has stopped in the middle, or has not answered in time.
    #[error("waiting for the answer: {0}")]
    Read(#[source] io::Error),
    /// It is no HTTP server, or one that answers without end.
    #[error("what answers there is no admin address")]
    Garbled,
    /// It answers something else.
    #[error("the server answers {0}")]
    Status(u16),
}

/// The body of a 200 answer to `GET path`, within so long a time in all.
///
/// # Errors
/// No 200 answer has come: [`AskError`] says why.
pub fn fetch(address: &Address, path: &str, patience: Duration) -> Result<String, AskError> {
    let deadline = Instant::now() + patience;
    let (mut stream, host) = match address {
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).map_err(AskError::Connect)?;
            (Stream::Unix(stream), "localhost")
        }
        Address::Tcp(authority) => (
            Stream::Tcp(connect(authority, deadline).map_err(AskError::Connect)?),
            authority.as_str(),
        ),
    };
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.wait_until(deadline).map_err(AskError::Read)?;
    stream.write_all(request.as_bytes()).map_err(AskError::Read)?;
    let mut answer = Vec::new();
    let mut buffer = [0; 16 << 10];
    loop {
        stream.wait_until(deadline).map_err(AskError::Read)?;
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A reset behind a whole answer is none of our business.
            Err(_) if is_whole(&answer) => break,
            Err(error) => return Err(AskError::Read(error)),
        }
        if answer.len() > ADMIN_ANSWER_SIZE_MAX {
            return Err(AskError::Garbled);
        }
        if is_whole(&answer) {
            break;
        }
    }
    match parse(&answer) {
        Some(Answer { status: 200, body, .. }) => {
            String::from_utf8(body.to_vec()).map_err(|_| AskError::Garbled)
        }
        Some(Answer { status, .. }) => Err(AskError::Status(status)),
        None => Err(AskError::Garbled),
    }
}

/// An answer whose head is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// As in `HTTP/1.1 200`.
    pub status: u16,
    /// As far as it has come, and no more than the head announces.
    pub body: &'a [u8],
    /// All that the head announces is there; never, where it announces nothing.
    pub is_whole: bool,
}

/// Reads what has come of an answer; none while its head is not complete, and if it is no HTTP.
pub fn parse(bytes: &[u8]) -> Option<Answer<'_>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut head = httparse::Response::new(&mut fields);
    let shown = &bytes[..bytes.len().min(ADMIN_ANSWER_HEAD_MAX)];
    let Ok(httparse::Status::Complete(length)) = head.parse(shown) else { return None };
    let body = &bytes[length..];
    let is_length =
        |field: &&httparse::Header<'_>| field.name.eq_ignore_ascii_case("content-length");
    let announced = match head.headers.iter().find(is_length) {
        Some(field) => Some(std::str::from_utf8(field.value).ok()?.trim().parse::<usize>().ok()?),
        None => None,
    };
    let is_whole = announced.is_some_and(|length| body.len() >= length);
    let body = &body[..body.len().min(announced.unwrap_or(usize::MAX))];
    Some(Answer { status: head.code?, body, is_whole })
}

fn is_whole(answer: &[u8]) -> bool {
    parse(answer).is_some_and(|answer| answer.is_whole)
}

fn connect(authority: &str, deadline: Instant) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, left(deadline)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Until the deadline; never zero, which sockets take for "for ever".
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    /// Reads and writes give up at the deadline.
    fn wait_until(&self, deadline: Instant) -> io::Result<()> {
        let left = Some(left(deadline)?);
        match self {
            Stream::Unix(stream) => {
                stream.set_read_timeout(left)?;
                stream.set_write_timeout(left)
            }
            Stream::Tcp(stream) => {
                stream.set_read_timeout(left)?;
                stream.set_write_timeout(left)
            }
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => stream.read(buffer),
            Stream::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => stream.write(bytes),
            Stream::Tcp(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn addresses_are_paths_or_hosts_with_a_port() {
        let of = |text: &str| text.parse::<Address>();
        assert_eq!(of("unix:/run/a.sock"), Ok(Address::Unix("/run/a.sock".into())));
        assert_eq!(of("./a.sock"), Ok(Address::Unix("./a.sock".into())));
        for text in ["http://127.0.0.1:9000", "127.0.0.1:9000", "http://127.0.0.1:9000/"] {
            assert_eq!(of(text), Ok(Address::Tcp("127.0.0.1:9000".to_owned())), "{text}");
        }
        assert_eq!(of("[::1]:9000"), Ok(Address::Tcp("[::1]:9000".to_owned())));
        for text in [
            "",
            "unix:",
            "host",
            ":9000",
            "host:0",
            "host:x",
            "https://host:1",
            "http://h:1/x",
            "a b:1",
        ] {
            assert_eq!(of(text), Err(AddressError), "{text}");
        }
    }

    #[test]
    fn an_answer_is_read_whole_byte_by_byte_and_with_more_behind_it() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, and more";
        let whole = bytes.len() - ", and more".len();
        for end in 0..bytes.len() {
            let is_whole = parse(&bytes[..end]).is_some_and(|answer| answer.is_whole);
            assert_eq!(is_whole, end >= whole, "{end}");
        }
        assert_eq!(parse(bytes).map(|answer| answer.body), Some(&b"hello"[..]));
        let endless = parse(b"HTTP/1.0 503 No\r\n\r\nbody").expect("a head");
        assert_eq!((endless.status, endless.body, endless.is_whole), (503, &b"body"[..], false));
        for garbled in [&b"SSH-2.0-x\r\n"[..], b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"] {
            assert_eq!(parse(garbled), None);
        }
    }

    /// Answers one connection with these bytes.
    fn answering(bytes: &'static [u8]) -> Address {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = [0; 1024];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(bytes);
            // Its end comes when the client has gone.
            let _ = stream.read(&mut request);
        });
        Address::Tcp(address)
    }

    #[test]
    fn what_does_not_end_in_time_is_an_error() {
        let short = Duration::from_millis(50);
        let silent = fetch(&answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), "/", short);
        assert!(matches!(silent, Err(AskError::Read(_))), "{silent:?}");
        let long = Duration::from_secs(20);
        let wrong = fetch(&answering(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"), "/", long);
        assert!(matches!(wrong, Err(AskError::Status(404))), "{wrong:?}");
        let good = fetch(&answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), "/", long);
        assert_eq!(good.expect("an answer"), "{}");
        let nobody = Address::Unix("/nowhere/admin".into());
        assert!(matches!(fetch(&nobody, "/", long), Err(AskError::Connect(_))));
    }
}
