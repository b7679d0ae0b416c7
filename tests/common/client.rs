//! A small blocking HTTP/1.1 client that believes nothing: it reads exactly one answer, says what
//! it could not understand, and never waits without a deadline.
//!
//! Not here: many requests at a rate (`load`).

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::DEADLINE;
use super::books::Entry;

/// Bytes asked of the socket at a time.
const READ_SIZE: usize = 64 * 1024;

/// Between two pieces of what a client sends: long enough for the other side to have read the first.
const PAUSE: Duration = Duration::from_micros(500);

/// One connection.
pub(crate) struct Client {
    stream: Box<dyn Stream>,
    /// What has been read and belongs to no answer yet.
    buffer: Vec<u8>,
    entry: Entry,
}

/// One answer, whole.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In the order in which they came.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nobody listens.
    Refused,
    /// The connection ended, and not a byte of the answer had come.
    BeforeBytes(io::Error),
    /// The connection ended within the answer.
    AfterBytes(io::Error),
    /// Nothing came for so long as this client waits.
    TimedOut,
    /// Bytes came that are no answer.
    Wrong(String),
}

/// What a client needs of a socket.
trait Stream: Read + Write + Send {
    fn shutdown_write(&self) -> io::Result<()>;
    fn duplicate(&self) -> io::Result<Box<dyn Stream>>;
}

impl Client {
    /// Connects, or fails the test.
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr) -> Client {
        match Client::try_connect(address, DEADLINE) {
            Ok(client) => client,
            Err(failure) => panic!("connecting to {address}: {failure:?}"),
        }
    }

    /// Connects from another address of this machine, and says as whom.
    #[track_caller]
    pub(crate) fn connect_from(source: IpAddr, address: SocketAddr) -> (Client, SocketAddr) {
        let connect = || -> io::Result<(TcpStream, SocketAddr)> {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            socket.bind(&SocketAddr::new(source, 0).into())?;
            socket.connect_timeout(&address.into(), DEADLINE)?;
            let stream = TcpStream::from(socket);
            stream.set_read_timeout(Some(DEADLINE))?;
            stream.set_write_timeout(Some(DEADLINE))?;
            let own = stream.local_addr()?;
            Ok((stream, own))
        };
        let (stream, own) = match connect() {
            Ok(connected) => connected,
            Err(error) => panic!("connecting to {address} from {source}: {error}"),
        };
        let entry = Entry::connected(format!("http://{address}"));
        (Client { stream: Box::new(stream), buffer: Vec::new(), entry }, own)
    }

    /// Connects to a Unix socket, or fails the test.
    #[track_caller]
    pub(crate) fn connect_unix(path: &Path) -> Client {
        Client::try_connect_unix(path).expect("the Unix socket accepts")
    }

    /// Connects to a Unix socket, if somebody listens there.
    pub(crate) fn try_connect_unix(path: &Path) -> Result<Client, Failure> {
        let stream = UnixStream::connect(path).map_err(|error| Failure::of(error, false))?;
        stream.set_read_timeout(Some(DEADLINE)).expect("a deadline can be set");
        stream.set_write_timeout(Some(DEADLINE)).expect("a deadline can be set");
        let entry = Entry::connected(format!("unix:{}", path.display()));
        Ok(Client { stream: Box::new(stream), buffer: Vec::new(), entry })
    }

    /// Connects; every read and write then has this deadline.
    pub(crate) fn try_connect(address: SocketAddr, deadline: Duration) -> Result<Client, Failure> {
        let prepare = || -> io::Result<TcpStream> {
            let stream = TcpStream::connect_timeout(&address, deadline)?;
            stream.set_read_timeout(Some(deadline))?;
            stream.set_write_timeout(Some(deadline))?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        match prepare() {
            Ok(stream) => {
                let entry = Entry::connected(format!("http://{address}"));
                Ok(Client { stream: Box::new(stream), buffer: Vec::new(), entry })
            }
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Err(Failure::Refused),
            Err(error) => Err(Failure::of(error, false)),
        }
    }

    /// Sends these bytes, whatever they are.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads what it is sent");
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish_sending(&self) {
        self.stream.shutdown_write().expect("the connection is open");
    }

    /// Sends a GET and reads its answer, or fails the test. The connection stays open.
    #[track_caller]
    pub(crate) fn get(&mut self, path: &str) -> Answer {
        match self.try_get(path, "") {
            Ok(answer) => answer,
            Err(failure) => panic!("GET {path}: {failure:?}"),
        }
    }

    /// Sends a GET with further field lines (each with its line end), and reads its answer.
    pub(crate) fn try_get(&mut self, path: &str, fields: &str) -> Result<Answer, Failure> {
        let head = format!("GET {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n");
        self.stream.write_all(head.as_bytes()).map_err(|error| Failure::of(error, false))?;
        self.try_answer(false)
    }

    /// Sends a request with fields and a body of known length, and reads its answer.
    #[track_caller]
    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n");
        for (name, value) in fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        self.send(&[head.as_bytes(), body].concat());
        self.answer(method == "HEAD")
    }

    /// Sends a request with a chunked body while its answer is read, so that neither side fills up.
    #[track_caller]
    pub(crate) fn request_chunked(&mut self, path: &str, chunks: Vec<Vec<u8>>) -> Answer {
        let mut writer = self.stream.duplicate().expect("a socket can be duplicated");
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
        let sender = std::thread::spawn(move || -> io::Result<()> {
            writer.write_all(head.as_bytes())?;
            for chunk in chunks {
                writer.write_all(format!("{:x}\r\n", chunk.len()).as_bytes())?;
                writer.write_all(&chunk)?;
                writer.write_all(b"\r\n")?;
            }
            writer.write_all(b"0\r\n\r\n")
        });
        let answer = self.answer(false);
        sender.join().expect("the sender does not panic").expect("the server reads the body");
        answer
    }

    /// Sends these bytes in these pieces, a moment after those of `pauses`, while `count` answers are
    /// read.
    #[track_caller]
    pub(crate) fn talk(
        &mut self,
        bytes: Vec<u8>,
        pieces: Vec<Range<usize>>,
        pauses: Vec<bool>,
        count: usize,
    ) -> Result<Vec<Answer>, Failure> {
        let mut writer = self.stream.duplicate().expect("a socket can be duplicated");
        let sender = std::thread::spawn(move || -> io::Result<()> {
            for (piece, pause) in pieces.into_iter().zip(pauses) {
                writer.write_all(&bytes[piece])?;
                if pause {
                    std::thread::sleep(PAUSE);
                }
            }
            Ok(())
        });
        let answers = (0..count).map(|_| self.try_answer(false)).collect::<Result<_, _>>()?;
        sender.join().expect("the sender does not panic").expect("the server reads all of it");
        Ok(answers)
    }

    /// Reads one answer, or fails the test. An answer to HEAD has no body.
    #[track_caller]
    pub(crate) fn answer(&mut self, is_to_head: bool) -> Answer {
        match self.try_answer(is_to_head) {
            Ok(answer) => answer,
            Err(failure) => panic!("reading an answer: {failure:?}"),
        }
    }

    /// Waits until an answer has begun.
    pub(crate) fn first_bytes(&mut self) -> Result<(), Failure> {
        self.read_more(false)
    }

    /// Reads one answer; an interim one (100) counts as one, without a body.
    pub(crate) fn try_answer(&mut self, is_to_head: bool) -> Result<Answer, Failure> {
        let head_end = self.read_until(b"\r\n\r\n", false)?;
        let head: Vec<u8> = self.buffer.drain(..head_end).collect();
        let mut answer = parse_head(&head)?;
        self.entry.answered(answer.status);
        let has_body = !is_to_head && answer.status >= 200 && ![204, 304].contains(&answer.status);
        if has_body {
            answer.body = self.read_body(&answer)?;
        }
        Ok(answer)
    }

    /// Waits until something has come, and keeps it for the next answer.
    #[track_caller]
    pub(crate) fn wait_for_bytes(&mut self) {
        if let Err(failure) = self.read_more(false) {
            panic!("waiting for an answer: {failure:?}");
        }
    }

    /// Reads to the end of the connection: nothing may come but its orderly end.
    #[track_caller]
    pub(crate) fn expect_eof(&mut self) {
        assert!(self.buffer.is_empty(), "unread: {:?}", String::from_utf8_lossy(&self.buffer));
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => assert!(rest.is_empty(), "more: {:?}", String::from_utf8_lossy(&rest)),
            Err(error) => panic!("waiting for the end of the connection: {error}"),
        }
    }

    fn read_body(&mut self, answer: &Answer) -> Result<Vec<u8>, Failure> {
        let coding = answer.header("transfer-encoding");
        match (coding, answer.header("content-length")) {
            (Some(_), Some(_)) => Err(Failure::Wrong("two framings".to_owned())),
            (Some("chunked"), None) => self.read_chunks(),
            (Some(other), None) => Err(Failure::Wrong(format!("transfer coding {other:?}"))),
            (None, Some(length)) => {
                let length = length.parse().map_err(|_| Failure::wrong("length", length))?;
                self.read_exactly(length)
            }
            (None, None) => {
                let mut body = std::mem::take(&mut self.buffer);
                self.stream
                    .read_to_end(&mut body)
                    .map_err(|error| Failure::of(error, true))
                    .map(|_| body)
            }
        }
    }

    fn read_chunks(&mut self) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        loop {
            let line_end = self.read_until(b"\r\n", true)?;
            let line: Vec<u8> = self.buffer.drain(..line_end).collect();
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            let size = usize::from_str_radix(&text, 16)
                .map_err(|_| Failure::wrong("chunk size", &text))?;
            // Each chunk, the last one too, has a line end behind it: no trailers are expected.
            let chunk = self.read_exactly(size + 2)?;
            let data = chunk.strip_suffix(b"\r\n").ok_or_else(|| {
                Failure::wrong("end of a chunk", &String::from_utf8_lossy(&chunk))
            })?;
            if size == 0 {
                return Ok(body);
            }
            body.extend_from_slice(data);
        }
    }

    fn read_exactly(&mut self, length: usize) -> Result<Vec<u8>, Failure> {
        while self.buffer.len() < length {
            self.read_more(true)?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    /// Reads until the buffer holds this text, and says where that ends.
    fn read_until(&mut self, text: &[u8], has_begun: bool) -> Result<usize, Failure> {
        loop {
            let place = self.buffer.windows(text.len()).position(|window| window == text);
            if let Some(place) = place {
                return Ok(place + text.len());
            }
            self.read_more(has_begun || !self.buffer.is_empty())?;
        }
    }

    fn read_more(&mut self, has_begun: bool) -> Result<(), Failure> {
        let length = self.buffer.len();
        self.buffer.resize(length + READ_SIZE, 0);
        let read = self.stream.read(&mut self.buffer[length..]);
        self.buffer.truncate(length + read.as_ref().copied().unwrap_or(0));
        match read {
            Ok(0) => Err(Failure::of(ErrorKind::UnexpectedEof.into(), has_begun)),
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::of(error, has_begun)),
        }
    }
}

impl Answer {
    /// The first field of this name, in whatever case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.headers.iter();
        let found = fields.find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A number in the JSON of /whoami: `slot`, `generation` or `pid`.
    #[track_caller]
    pub(crate) fn number(&self, name: &str) -> u32 {
        let text = self.text();
        let found = text.split_once(&format!("\"{name}\":")).map(|(_, rest)| rest);
        let digits = found.and_then(|rest| rest.split([',', '}']).next());
        match digits.and_then(|digits| digits.parse().ok()) {
            Some(number) => number,
            None => panic!("no {name} in {text:?}"),
        }
    }
}

impl Failure {
    fn of(error: io::Error, has_begun: bool) -> Failure {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Failure::TimedOut,
            _ if has_begun => Failure::AfterBytes(error),
            _ => Failure::BeforeBytes(error),
        }
    }

    fn wrong(what: &str, text: &str) -> Failure {
        Failure::Wrong(format!("{what}: {text:?}"))
    }
}

impl Stream for TcpStream {
    fn shutdown_write(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn duplicate(&self) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(self.try_clone()?))
    }
}

impl Stream for UnixStream {
    fn shutdown_write(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn duplicate(&self) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(self.try_clone()?))
    }
}

/// Opens so many connections in bursts, asks on each who serves it, and holds all of them until the
/// last has answered.
pub(crate) fn seat_in_bursts(
    address: SocketAddr,
    count: usize,
    burst: usize,
) -> BTreeMap<u32, usize> {
    let mut held: Vec<Client> = Vec::with_capacity(count);
    let mut answers: Vec<Answer> = Vec::with_capacity(count);
    while held.len() < count {
        let mut clients: Vec<_> = (0..burst).map(|_| Client::connect(address)).collect();
        for client in &mut clients {
            client.send(b"GET /whoami HTTP/1.1\r\nHost: test\r\n\r\n");
        }
        answers.extend(clients.iter_mut().map(|client| client.answer(false)));
        held.append(&mut clients);
    }
    count_by_slot(&answers)
}

/// How many of these answers to /whoami each slot gave.
pub(crate) fn count_by_slot(answers: &[Answer]) -> BTreeMap<u32, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer.number("slot")).or_insert(0) += 1;
    }
    counts
}

/// Reads a head, its empty line included; the answer's body stays empty.
pub(crate) fn parse_head(head: &[u8]) -> Result<Answer, Failure> {
    let text = std::str::from_utf8(head).map_err(|_| Failure::wrong("head", "not UTF-8"))?;
    let mut lines = text.trim_end_matches("\r\n").split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| Failure::wrong("status line", first))?;
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| Failure::wrong("field", line))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    Ok(Answer { status, headers, body: Vec::new() })
}
