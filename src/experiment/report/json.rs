//! `report.json`, written down.
//!
//! Not here: what it says (`schema`).

use std::io::{self, Write};

use crate::experiment::report::schema::BenchReport;

/// Writes a report, indented: people look into it.
///
/// # Errors
/// The output refuses.
pub fn write(report: &BenchReport, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::report::schema::{Cell, Figure, SCHEMA};

    #[test]
    fn what_is_written_is_what_was_there() {
        let figure = Figure { value: 0.1 + 0.2, low: None, high: Some(1e300), of_trials: vec![] };
        let cell = Cell {
            arm: "a \"quoted\" name".to_owned(),
            figures: [("p99".to_owned(), figure)].into(),
            ..Cell::default()
        };
        let report =
            BenchReport { schema: SCHEMA.to_owned(), cells: vec![cell], ..BenchReport::default() };
        let mut bytes = Vec::new();
        write(&report, &mut bytes).expect("memory takes everything");
        let read: BenchReport = serde_json::from_slice(&bytes).expect("it is JSON");
        assert_eq!(read, report);
    }
}
