//! A row for each request, and back: what `--raw` writes, so that others can compute figures of
//! their own, and the same figures again.
//!
//! ```text
//! class,connection,due_us,sent_us,answered_us,service_us,worker
//! short,17,1500.250,1503.125,2100.000,500,3
//! ```
//!
//! Microseconds since the beginning of the measured time, below zero in the warm-up; the worker is
//! empty where nobody said who answered.
//!
//! Not here: where files are (`report`).

use std::io::{self, Read, Write};
use std::time::Duration;

use crate::experiment::load::sample::Sample;
use crate::experiment::measure::observed::Observed;
use crate::time::Nanos;

const COLUMNS: [&str; 7] =
    ["class", "connection", "due_us", "sent_us", "answered_us", "service_us", "worker"];

/// Writes all samples of a repetition.
///
/// # Errors
/// Whatever writing fails with.
pub fn raw_csv(trial: &Observed, classes: &[String], out: impl Write) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(COLUMNS)?;
    let origin = trial.measured.0;
    for sample in &trial.samples {
        let class = classes.get(usize::from(sample.class)).map_or("", String::as_str);
        writer.write_record([
            class,
            &sample.connection.to_string(),
            &microseconds(sample.due, origin),
            &microseconds(sample.sent, origin),
            &microseconds(sample.answered, origin),
            &sample.service.as_micros().to_string(),
            &sample.worker.map(|worker| worker.to_string()).unwrap_or_default(),
        ])?;
    }
    writer.flush()
}

/// Why a text has no rows. Whoever wrote it is at fault.
#[derive(Debug, thiserror::Error)]
pub enum RawError {
    /// The file cannot be read, or is no CSV; the source names the line.
    #[error("reading raw rows")]
    Read(#[from] csv::Error),
    /// Another head.
    #[error("line 1: the columns of raw rows are {}", COLUMNS.join(","))]
    Columns,
    /// A field that is not what its column says.
    #[error("line {line}: {column} is wrong")]
    Field {
        /// From 1, the head included.
        line: u64,
        /// Its name.
        column: &'static str,
    },
}

/// Reads rows back, as samples whose measured time begins at `origin`. As many as there are: who
/// reads a file of somebody else's bounds the input.
///
/// # Errors
/// The first row that is none.
pub fn read_raw(
    input: impl Read,
    classes: &[String],
    origin: Nanos,
) -> Result<Vec<Sample>, RawError> {
    let mut reader = csv::Reader::from_reader(input);
    if !reader.headers()?.iter().eq(COLUMNS) {
        return Err(RawError::Columns);
    }
    let mut samples = Vec::new();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record)? {
        let field = |index: usize| record.get(index).unwrap_or_default();
        let wrong = |column| RawError::Field {
            line: record.position().map_or(0, csv::Position::line),
            column: COLUMNS[column],
        };
        let time = |index| moment(field(index), origin).ok_or_else(|| wrong(index));
        let class = classes.iter().position(|class| class == field(0));
        let class = class.and_then(|class| u16::try_from(class).ok()).ok_or_else(|| wrong(0))?;
        let worker = match field(6) {
            "" => None,
            text => Some(text.parse().map_err(|_| wrong(6))?),
        };
        samples.push(Sample {
            class,
            connection: field(1).parse().map_err(|_| wrong(1))?,
            due: time(2)?,
            sent: time(3)?,
            answered: time(4)?,
            service: Duration::from_micros(field(5).parse().map_err(|_| wrong(5))?),
            worker,
        });
    }
    Ok(samples)
}

/// As `-12.345`: all digits of a nanosecond, so that nothing is lost on the way back.
fn microseconds(at: Nanos, origin: Nanos) -> String {
    let sign = if at < origin { "-" } else { "" };
    let ns = at.0.abs_diff(origin.0);
    format!("{sign}{}.{:03}", ns / 1000, ns % 1000)
}

fn moment(text: &str, origin: Nanos) -> Option<Nanos> {
    let (is_before, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (us, ns) = digits.split_once('.')?;
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|one| one.is_ascii_digit());
    if !is_number(us) || !is_number(ns) || ns.len() != 3 {
        return None;
    }
    let ns = us.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(ns.parse().ok()?)?;
    let at = if is_before { origin.0.checked_sub(ns)? } else { origin.0.checked_add(ns)? };
    Some(Nanos(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::measure::made::trial;
    use crate::experiment::measure::queues::{Queues, simulate};
    use crate::experiment::measure::summarise;

    fn text(trial: &Observed, classes: &[String]) -> Vec<u8> {
        let mut text = Vec::new();
        raw_csv(trial, classes, &mut text).expect("memory takes it");
        text
    }

    #[test]
    fn a_row_is_one_request() {
        let sample = |due, worker| Sample {
            class: 1,
            connection: 17,
            due: Nanos(due),
            sent: Nanos(due + 2875),
            answered: Nanos(due + 600_000),
            service: Duration::from_micros(500),
            worker,
        };
        let trial = trial(
            vec![sample(999_500, None), sample(2_500_250, Some(3))],
            (1_000_000, 9_000_000),
            (4, 1),
        );
        let classes = ["long".to_owned(), "short, \"quoted\"".to_owned()];
        let expected = "class,connection,due_us,sent_us,answered_us,service_us,worker\n\
            \"short, \"\"quoted\"\"\",17,-0.500,2.375,599.500,500,\n\
            \"short, \"\"quoted\"\"\",17,1500.250,1503.125,2100.250,500,3\n";
        assert_eq!(String::from_utf8(text(&trial, &classes)).expect("UTF-8"), expected);
    }

    /// Whoever has the rows has the figures.
    #[test]
    fn rows_that_are_read_back_give_the_same_figures() {
        let classes = ["all".to_owned()];
        let before = simulate(Queues::Hashed, 4, 0.7, 3000, 5);
        let bytes = text(&before, &classes);
        let samples = read_raw(bytes.as_slice(), &classes, before.measured.0).expect("rows");
        assert_eq!(samples, before.samples);
        let after = Observed { samples, ..before.clone() };
        let figures = |trial| summarise("arm", "workload", &classes, &[trial], 1);
        let found = figures(after);
        assert!(found.figures.len() > 20 && found.trials[0].timelines.len() > 8);
        assert_eq!(found, figures(before));
    }

    #[test]
    fn what_is_no_row_is_refused_with_its_line() {
        let head = COLUMNS.join(",");
        for (row, column) in [
            ("b,1,1.000,1.000,1.000,1,1", "class"),
            ("a,-1,1.000,1.000,1.000,1,1", "connection"),
            ("a,1,1,1.000,1.000,1,1", "due_us"),
            ("a,1,1.000,+1.000,1.000,1,1", "sent_us"),
            ("a,1,1.000,1.000,99999999999999999999.000,1,1", "answered_us"),
            ("a,1,1.000,1.000,-18446744073709551.000,1,1", "answered_us"),
            ("a,1,1.000,1.000,1.000,x,1", "service_us"),
            ("a,1,1.000,1.000,1.000,1,70000", "worker"),
        ] {
            let text = format!("{head}\n{row}\n");
            let error = read_raw(text.as_bytes(), &["a".to_owned()], Nanos(5000));
            let error = error.expect_err(row).to_string();
            assert_eq!(error, format!("line 2: {column} is wrong"));
        }
        assert!(matches!(read_raw("a,b\n".as_bytes(), &[], Nanos(0)), Err(RawError::Columns)));
    }
}
