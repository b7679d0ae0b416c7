//! Requests that were recorded elsewhere: when, on which connection, and how long each took.
//!
//! A trace is a CSV file with a head:
//!
//! ```text
//! time_s,connection,service_ms
//! 0.0015,7,0.5
//! 0.0020,12,31.25
//! ```
//!
//! Times are seconds since the trace's beginning and do not decrease. Traces come from anywhere:
//! size and numbers are bounded, and errors name their line.
//!
//! Not here: sending them (`run`), times that are drawn (`arrivals`, `service`).

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use crate::experiment::load::limits::{
    DURATION_MAX, SERVICE_MAX, TRACE_REQUESTS_MAX, TRACE_SIZE_MAX,
};

/// The columns, in order.
const COLUMNS: [&str; 3] = ["time_s", "connection", "service_ms"];

/// One request of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// When, after the start.
    pub at: Duration,
    /// Which connection of the trace carries it.
    pub connection: u32,
    /// How long it asks to be worked on, in whole microseconds.
    pub service: Duration,
}

/// Why a file is no trace. Whoever wrote it is at fault.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file cannot be read, or is no CSV; the source names the line.
    #[error("reading a trace")]
    Read(#[from] csv::Error),
    /// Another head.
    #[error("line 1: the columns of a trace are {}", COLUMNS.join(","))]
    Columns,
    /// A field that is not what its column says.
    #[error("line {line}: {column} is a number from 0 to {most}")]
    Field {
        /// From 1, the head included.
        line: u64,
        /// Its name.
        column: &'static str,
        /// The highest that is taken.
        most: u64,
    },
    /// A time before the one above it.
    #[error("line {line}: times do not decrease")]
    Order {
        /// From 1, the head included.
        line: u64,
    },
    /// Past [`TRACE_SIZE_MAX`] or [`TRACE_REQUESTS_MAX`].
    #[error("a trace has at most {TRACE_REQUESTS_MAX} requests and {TRACE_SIZE_MAX} bytes")]
    TooLarge,
}

/// Reads a trace to its end.
///
/// # Errors
/// The first thing that does not fit.
pub fn parse(input: impl Read) -> Result<Arc<[Due]>, TraceError> {
    parse_within(input, TRACE_SIZE_MAX)
}

fn parse_within(input: impl Read, size_max: u64) -> Result<Arc<[Due]>, TraceError> {
    // One byte more than is taken, so that a file that is cut off here is told from one that ends.
    let bounded = input.take(size_max + 1);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bounded);
    if !reader.headers()?.iter().eq(COLUMNS) {
        return Err(TraceError::Columns);
    }
    let mut trace: Vec<Due> = Vec::new();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record)? {
        if trace.len() == TRACE_REQUESTS_MAX {
            return Err(TraceError::TooLarge);
        }
        let due = due(&record)?;
        if trace.last().is_some_and(|last| last.at > due.at) {
            return Err(TraceError::Order { line: line(&record) });
        }
        trace.push(due);
    }
    if reader.position().byte() > size_max {
        return Err(TraceError::TooLarge);
    }
    Ok(trace.into())
}

/// The part of a trace that one of several generators replays: whole connections, so that each
/// keeps its order.
pub fn share(trace: &[Due], index: u32, of: u32) -> Arc<[Due]> {
    let of = of.max(1);
    let own = trace.iter().filter(|due| due.connection % of == index);
    own.map(|&due| Due { connection: due.connection / of, ..due }).collect()
}

fn due(record: &csv::StringRecord) -> Result<Due, TraceError> {
    let wrong = |column, most| TraceError::Field { line: line(record), column, most };
    // The reader has seen to it that each record has as many fields as the head.
    let field = |index| record.get(index).unwrap_or_default();
    let seconds = |index: usize, unit_s: f64, most: Duration| {
        let number: f64 = field(index).parse().ok()?;
        let time = Duration::try_from_secs_f64(number * unit_s).ok()?;
        (time <= most).then_some(time)
    };
    let at = seconds(0, 1.0, DURATION_MAX);
    let at = at.ok_or_else(|| wrong(COLUMNS[0], DURATION_MAX.as_secs()))?;
    let connection = field(1).parse().map_err(|_| wrong(COLUMNS[1], u64::from(u32::MAX)))?;
    let service = seconds(2, 1e-3, SERVICE_MAX);
    let service = service.ok_or_else(|| wrong(COLUMNS[2], SERVICE_MAX.as_secs() * 1000))?;
    let service = Duration::from_micros((service.as_secs_f64() * 1e6).round() as u64);
    Ok(Due { at, connection, service })
}

fn line(record: &csv::StringRecord) -> u64 {
    record.position().map_or(0, csv::Position::line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let error = parse(text.as_bytes()).expect_err(text);
        match error {
            TraceError::Read(source) => source.to_string(),
            error => error.to_string(),
        }
    }

    #[test]
    fn a_trace_is_read() {
        let text = "time_s,connection,service_ms\n0.0015, 7, 0.5\n0.0015,12,31.2504\r\n2,0,0\n";
        let due = |us, connection, service_us| Due {
            at: Duration::from_micros(us),
            connection,
            service: Duration::from_micros(service_us),
        };
        let expected = [due(1500, 7, 500), due(1500, 12, 31_250), due(2_000_000, 0, 0)];
        assert_eq!(*parse(text.as_bytes()).expect("a trace"), expected);
        assert!(parse("time_s,connection,service_ms\n".as_bytes()).expect("empty").is_empty());
    }

    #[test]
    fn errors_name_their_line() {
        let with = |rows: &str| format!("time_s,connection,service_ms\n0,1,2\n{rows}");
        for (text, expected) in [
            (String::new(), "line 1: the columns"),
            ("0,1,2\n".to_owned(), "line 1: the columns"),
            (with("x,1,2\n"), "line 3: time_s"),
            (with("NaN,1,2\n"), "line 3: time_s"),
            (with("inf,1,2\n"), "line 3: time_s"),
            (with("86401,1,2\n"), "line 3: time_s"),
            (with("1,-1,2\n"), "line 3: connection"),
            (with("1,4294967296,2\n"), "line 3: connection"),
            (with("1,1,-2\n"), "line 3: service_ms"),
            (with("1,1,60001\n"), "line 3: service_ms"),
            (with("1,1,2\n0.5,1,2\n"), "line 4: times"),
            (with("1,1\n"), "line: 3"),
            (with("1,1,2,3\n"), "line: 3"),
        ] {
            assert!(error(&text).contains(expected), "{text:?}: {}", error(&text));
        }
    }

    /// A file without an end is read no further than the limit, even within one endless field.
    #[test]
    fn no_file_is_read_without_end() {
        let head = "time_s,connection,service_ms\n".as_bytes();
        let rows = std::io::repeat(b'\n');
        assert!(matches!(parse_within(head.chain(rows), 4096), Err(TraceError::TooLarge)));
        let quoted = std::io::repeat(b'"');
        assert!(parse_within(head.chain(quoted), 4096).is_err());
    }

    #[test]
    fn no_bytes_panic() {
        let mut rng = fastrand::Rng::with_seed(1);
        let text = b"time_s,connection,service_ms\n0.0015,7,0.5\n0.0020,12,31.25\n";
        for _ in 0..2000 {
            let mut bytes = text.to_vec();
            for _ in 0..rng.usize(1..4) {
                let place = rng.usize(..bytes.len());
                bytes[place] = rng.u8(..);
            }
            let _ = parse(bytes.as_slice());
        }
    }

    #[test]
    fn several_generators_share_a_trace_by_connections() {
        let due = |connection| Due { at: Duration::ZERO, connection, service: Duration::ZERO };
        let trace: Vec<_> = [0, 1, 2, 3, 4, 2].map(due).to_vec();
        assert_eq!(*share(&trace, 0, 2), [due(0), due(1), due(2), due(1)]);
        assert_eq!(*share(&trace, 1, 2), [due(0), due(1)]);
    }
}
