//! Reading a `report.json` from disk: bounded, and of our schema or refused by name.
//!
//! Not here: what it says (`schema`), writing it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use crate::experiment::report::schema::{BenchReport, SCHEMA};

/// A crossover grid with six arms, all curves and timelines takes some megabytes; what is a hundred
/// times as long is another file.
pub const REPORT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Why a report cannot be read. The file is named by whoever prints it: see [`ReadReportError`].
#[derive(Debug, Error)]
pub enum Trouble {
    /// The system does not let us.
    #[error(transparent)]
    System(io::Error),
    /// Longer than [`REPORT_BYTES_MAX`].
    #[error("it is longer than {} MiB, which no report is", REPORT_BYTES_MAX / 1024 / 1024)]
    TooLong,
    /// No JSON object with a schema.
    #[error("it is no report of a bench (expected report.json)")]
    Foreign(#[source] serde_json::Error),
    /// JSON with another schema.
    #[error("its schema is {found:?}, and this version reads {SCHEMA:?}")]
    OtherSchema {
        /// What the file calls itself, shortened.
        found: String,
    },
    /// Our schema, and yet not what it says.
    #[error("it does not keep to its schema, {SCHEMA}")]
    Malformed(#[source] serde_json::Error),
}

/// A report could not be read.
#[derive(Debug, Error)]
#[error("reading {}", path.display())]
pub struct ReadReportError {
    /// The file.
    pub path: PathBuf,
    /// What was wrong with it.
    pub source: Trouble,
}

/// Reads a report.
pub fn read(path: &Path) -> Result<BenchReport, ReadReportError> {
    read_bytes(path)
        .and_then(|bytes| parse(&bytes))
        .map_err(|source| ReadReportError { path: path.to_owned(), source })
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, Trouble> {
    let mut bytes = Vec::new();
    // One more than fits: a file's length may be unknown, or grow meanwhile.
    let limit = REPORT_BYTES_MAX + 1;
    File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(Trouble::System)?;
    if bytes.len() as u64 == limit { Err(Trouble::TooLong) } else { Ok(bytes) }
}

/// What every version of the schema has.
#[derive(Deserialize)]
struct Head {
    schema: String,
}

fn parse(bytes: &[u8]) -> Result<BenchReport, Trouble> {
    // First who it says it is: a later version's report would only be malformed.
    let head: Head = serde_json::from_slice(bytes).map_err(Trouble::Foreign)?;
    if head.schema != SCHEMA {
        let found = head.schema.chars().take(60).collect();
        return Err(Trouble::OtherSchema { found });
    }
    serde_json::from_slice(bytes).map_err(Trouble::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_wrong_file_is_named() {
        let foreign = [&b""[..], b"nothing", b"[1]", b"{\"schema\": 1}", b"{\"title\": \"x\"}"];
        for bytes in foreign {
            assert!(matches!(parse(bytes), Err(Trouble::Foreign(_))), "{bytes:?}");
        }
        let later = parse(b"{\"schema\": \"maitred-bench/2\", \"arms\": 3}");
        assert!(matches!(later, Err(Trouble::OtherSchema { found }) if found.ends_with("/2")));
        let broken = parse(b"{\"schema\": \"maitred-bench/1\", \"arms\": 3}");
        assert!(matches!(broken, Err(Trouble::Malformed(_))));
    }

    #[test]
    fn what_is_written_is_read_and_unknown_fields_are_passed_over() {
        let report =
            BenchReport { schema: SCHEMA.to_owned(), title: "a".to_owned(), ..Default::default() };
        let mut value = serde_json::to_value(&report).expect("a report is JSON");
        value["of_a_later_version"] = 1.into();
        assert_eq!(parse(value.to_string().as_bytes()).expect("a report"), report);
    }
}
