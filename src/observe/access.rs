//! The access log: a line a request, in the combined format with what only this server knows.
//!
//! ```text
//! 192.0.2.7 - - [23/Nov/2026:08:52:10 +0000] "GET / HTTP/1.1" 200 19 "-" "curl/8"
//!     worker=3 gen=7 queue=0.120ms time=1.034ms
//! ```
//! (on one line).
//!
//! `queue` is how long the connection had waited until a worker took it (`-` where nobody knows,
//! as on a Unix socket, or where the connection was already the worker's); `time` is from the
//! request's first byte to the response's last. Existing readers of the combined format take the
//! line as it is and ignore the rest.
//!
//! It goes to stdout, as in Gunicorn with `--access-logfile -`, so that it can be told apart from
//! the log on stderr; each worker writes its own lines, whole, through a [`LossyWriter`].
//!
//! Not here: what a request is (`http`), how queue time is measured (`worker`).

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode, Version};

use crate::config::{LOG_BUFFER_SIZE_MAX, LOG_FLUSH_MAX, LOG_VALUE_SIZE_MAX};
use crate::ident::{Incarnation, PeerAddress};
use crate::observe::calendar::{CommonLog, Utc};
use crate::observe::escape;
use crate::observe::lossy::LossyWriter;

/// What one line tells.
#[derive(Clone, Debug)]
pub struct AccessRecord<'a> {
    /// The client, as a believed proxy names it where there is one.
    pub peer: PeerAddress,
    /// When the request's first byte was read.
    pub time: SystemTime,
    /// The request line; none where the request was refused before it was understood.
    pub request: Option<RequestLine<'a>>,
    /// The status that was sent.
    pub status: StatusCode,
    /// Bytes of the response's body that were sent, without chunk framing.
    pub bytes: u64,
    /// The Referer field.
    pub referer: Option<&'a [u8]>,
    /// The User-Agent field.
    pub user_agent: Option<&'a [u8]>,
    /// The request's id, with `--request-id`.
    pub request_id: Option<&'a [u8]>,
    /// Who served it.
    pub worker: Incarnation,
    /// How long the connection had waited for a worker, where that is known.
    pub queue_time: Option<Duration>,
    /// From the request's first byte to the response's last.
    pub duration: Duration,
}

/// A request line, as it was understood.
#[derive(Clone, Debug)]
pub struct RequestLine<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target as it was sent.
    pub target: &'a str,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
}

impl AccessRecord<'_> {
    /// Appends the line, with its newline. Everything that the client chose is escaped and cut at
    /// [`LOG_VALUE_SIZE_MAX`].
    pub fn write_line(&self, out: &mut Vec<u8>) {
        // Writing to a Vec cannot fail.
        let _ = match self.peer {
            PeerAddress::Inet(address) => write!(out, "{}", address.ip()),
            PeerAddress::Local => write!(out, "{}", self.peer),
        };
        let _ = write!(out, " - - [{}] \"", CommonLog(Utc::from(self.time)));
        match &self.request {
            Some(RequestLine { method, target, version }) => {
                escape_value(method.as_str().as_bytes(), out);
                out.push(b' ');
                escape_value(target.as_bytes(), out);
                let _ = write!(out, " {version:?}");
            }
            None => out.push(b'-'),
        }
        let _ = write!(out, "\" {} {} \"", self.status.as_u16(), self.bytes);
        escape_value(self.referer.unwrap_or(b"-"), out);
        out.extend_from_slice(b"\" \"");
        escape_value(self.user_agent.unwrap_or(b"-"), out);
        let _ = write!(out, "\" worker={} gen={} ", self.worker.slot, self.worker.generation);
        let _ = match self.queue_time {
            Some(time) => write!(out, "queue={}", Milliseconds(time)),
            None => write!(out, "queue=-"),
        };
        let _ = write!(out, " time={}", Milliseconds(self.duration));
        if let Some(id) = self.request_id {
            out.extend_from_slice(b" request=\"");
            escape_value(id, out);
            out.push(b'"');
        }
        out.push(b'\n');
    }
}

/// The access log of one process.
#[derive(Clone, Debug)]
pub struct AccessLog {
    writer: LossyWriter,
    line: Vec<u8>,
}

impl AccessLog {
    /// Opens the log on stdout; starts its thread.
    pub fn to_stdout() -> io::Result<AccessLog> {
        // A copy of the descriptor: std's own handle would look for newlines again.
        let sink = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        AccessLog::to_sink(sink)
    }

    /// Opens the log on any sink; starts its thread.
    pub fn to_sink(sink: impl Write + Send + 'static) -> io::Result<AccessLog> {
        let writer = LossyWriter::start("access-log", sink, LOG_BUFFER_SIZE_MAX)?;
        Ok(AccessLog { writer, line: Vec::new() })
    }

    /// Leaves a line to be written; never waits.
    pub fn write(&mut self, record: &AccessRecord<'_>) {
        self.line.clear();
        record.write_line(&mut self.line);
        self.writer.write_line(&self.line);
    }

    /// Lines dropped because the reader of stdout was too slow.
    pub fn dropped(&self) -> u64 {
        self.writer.dropped()
    }

    /// Waits for the last lines, for a bounded time; says whether they are written.
    pub fn flush(&self) -> bool {
        self.writer.flush(LOG_FLUSH_MAX)
    }
}

fn escape_value(bytes: &[u8], out: &mut Vec<u8>) {
    let cut = bytes.len() > LOG_VALUE_SIZE_MAX;
    escape::quoted_bytes(&bytes[..bytes.len().min(LOG_VALUE_SIZE_MAX)], out);
    if cut {
        out.extend_from_slice(b"...");
    }
}

/// Prints a duration as `1.034ms`.
struct Milliseconds(Duration);

impl std::fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let micros = self.0.as_micros();
        write!(f, "{}.{:03}ms", micros / 1000, micros % 1000)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::ident::{Generation, Slot};

    fn record<'a>() -> AccessRecord<'a> {
        AccessRecord {
            peer: PeerAddress::Inet("192.0.2.7:4711".parse().unwrap()),
            time: UNIX_EPOCH + Duration::from_secs(1_795_510_330),
            request: Some(RequestLine {
                method: &Method::GET,
                target: "/a?b=1",
                version: Version::HTTP_11,
            }),
            status: StatusCode::OK,
            bytes: 19,
            referer: None,
            user_agent: Some(b"curl/8.5"),
            request_id: None,
            worker: Incarnation { slot: Slot(3), generation: Generation(7) },
            queue_time: Some(Duration::from_micros(120)),
            duration: Duration::from_micros(12_034),
        }
    }

    fn line(record: &AccessRecord<'_>) -> String {
        let mut out = Vec::new();
        record.write_line(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_is_the_combined_format_and_more() {
        assert_eq!(
            line(&record()),
            "192.0.2.7 - - [24/Nov/2026:08:52:10 +0000] \"GET /a?b=1 HTTP/1.1\" 200 19 \"-\" \
             \"curl/8.5\" worker=3 gen=7 queue=0.120ms time=12.034ms\n"
        );
    }

    #[test]
    fn what_is_unknown_is_a_dash() {
        let record = AccessRecord {
            peer: PeerAddress::Local,
            request: None,
            status: StatusCode::BAD_REQUEST,
            bytes: 0,
            user_agent: None,
            queue_time: None,
            ..record()
        };
        assert_eq!(
            line(&record),
            "unix: - - [24/Nov/2026:08:52:10 +0000] \"-\" 400 0 \"-\" \"-\" worker=3 gen=7 \
             queue=- time=12.034ms\n"
        );
    }

    #[test]
    fn hostile_bytes_stay_in_their_quotes() {
        let method = Method::from_bytes(b"G'ET").unwrap();
        let record = AccessRecord {
            request: Some(RequestLine {
                method: &method,
                target: "/\"x\u{1b}]0;owned\u{7}\n",
                version: Version::HTTP_10,
            }),
            referer: Some(b"\" 200 0 \"\\"),
            user_agent: Some(b"\xff\x00\r\n127.0.0.1 - -"),
            ..record()
        };
        let line = line(&record);
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.contains(r#""G'ET /\"x\x1B]0;owned\x07\x0A HTTP/1.0""#), "{line}");
        assert!(line.contains(r#""\" 200 0 \"\\" "\xFF\x00\x0D\x0A127.0.0.1 - -""#), "{line}");
    }

    #[test]
    fn an_id_stands_at_the_end() {
        let record = AccessRecord { request_id: Some(b"a\"b"), ..record() };
        assert!(line(&record).ends_with(" time=12.034ms request=\"a\\\"b\"\n"));
    }

    #[test]
    fn a_long_value_is_cut() {
        let agent = b"a".repeat(LOG_VALUE_SIZE_MAX + 1);
        let record = AccessRecord { user_agent: Some(&agent), ..record() };
        assert!(line(&record).contains("aaa...\" worker=3"));
        assert!(line(&record).len() < LOG_VALUE_SIZE_MAX + 200);
    }

    #[test]
    fn lines_reach_their_sink() {
        let (mut reader, sink) = io::pipe().unwrap();
        let mut log = AccessLog::to_sink(sink).unwrap();
        log.write(&record());
        log.write(&record());
        assert!(log.flush());
        assert_eq!(log.dropped(), 0);
        drop(log);
        let text = io::read_to_string(&mut reader).unwrap();
        assert_eq!(text, line(&record()).repeat(2));
    }
}
