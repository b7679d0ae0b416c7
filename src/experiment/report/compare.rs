//! Two reports side by side: how many times the figures of one are those of the other.
//!
//! Pure but for [`run`], which is what `maitred bench --compare A B` does.
//!
//! Not here: the interval of a ratio (`ratio`), reading files (`reading`).

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Write};
use std::path::Path;

use thiserror::Error;

use crate::experiment::report::format::{Significant, printable};
use crate::experiment::report::ratio::Ratio;
use crate::experiment::report::reading::{self, ReadReportError};
use crate::experiment::report::schema::{BenchReport, Cell, Environment, Figure, Warning};

/// One measure of one arm with one workload, in both reports.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The measure's key.
    pub key: String,
    /// The measure's title.
    pub measure: String,
    /// The workload's name.
    pub workload: String,
    /// The arm's name; none if each report has but one arm, which then are compared whatever they
    /// are called.
    pub arm: Option<String>,
    /// Measured in a closed loop, in one report or the other.
    pub is_closed_loop: bool,
    /// In A.
    pub a: Figure,
    /// In B.
    pub b: Figure,
    /// A over B; none where one of them is not above zero.
    pub ratio: Option<Ratio>,
}

/// Prints `p99, bimodal: A is 1.32 × B (95 % 1.28–1.37)`.
impl fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, {}", self.measure, self.workload)?;
        if let Some(arm) = &self.arm {
            write!(formatter, ", {arm}")?;
        }
        if self.is_closed_loop {
            formatter.write_str(" (closed loop)")?;
        }
        let Some(ratio) = &self.ratio else {
            let (a, b) = (Significant(self.a.value), Significant(self.b.value));
            return write!(formatter, ": A is {a}, B is {b} (no ratio)");
        };
        write!(formatter, ": A is {} × B", Significant(ratio.value))?;
        match ratio.interval {
            Some((low, high)) => {
                write!(formatter, " (95 % {}–{})", Significant(low), Significant(high))
            }
            None => formatter.write_str(" (no interval)"),
        }
    }
}

/// Why two reports were not compared.
#[derive(Debug, Error)]
pub enum CompareError {
    /// One of the files is none of our reports.
    #[error(transparent)]
    Read(#[from] ReadReportError),
    /// They have nothing in common.
    #[error("the two reports have no arm, workload and measure in common")]
    NothingInCommon,
    /// The output does not take it.
    #[error("writing the comparison")]
    Write(#[source] io::Error),
}

/// Everything that both have: in the order of B's cells, then of B's measures.
pub fn compare(a: &BenchReport, b: &BenchReport) -> Vec<Comparison> {
    let has_one_arm = arms(a).len() == 1 && arms(b).len() == 1;
    let mut comparisons = Vec::new();
    for cell in &b.cells {
        let is_same = |other: &&Cell| {
            other.workload == cell.workload && (has_one_arm || other.arm == cell.arm)
        };
        let Some(other) = a.cells.iter().find(is_same) else { continue };
        let is_closed_loop = is_closed_loop(a, &cell.workload) || is_closed_loop(b, &cell.workload);
        for measure in &b.measures {
            let figures = other.figures.get(&measure.key).zip(cell.figures.get(&measure.key));
            let Some((a_figure, b_figure)) = figures else { continue };
            comparisons.push(Comparison {
                key: measure.key.clone(),
                measure: measure.title.clone(),
                workload: cell.workload.clone(),
                arm: (!has_one_arm).then(|| cell.arm.clone()),
                is_closed_loop,
                a: a_figure.clone(),
                b: b_figure.clone(),
                ratio: Ratio::of(a_figure, b_figure),
            });
        }
    }
    comparisons
}

/// Reads two reports and prints what they have in common, with what a reader must know beside it.
/// A reader who has seen enough and closes the pipe is no error.
pub fn run(a: &Path, b: &Path, out: &mut dyn Write) -> Result<(), CompareError> {
    let (of_a, of_b) = (reading::read(a)?, reading::read(b)?);
    let comparisons = compare(&of_a, &of_b);
    if comparisons.is_empty() {
        return Err(CompareError::NothingInCommon);
    }
    let mut text = String::new();
    for (letter, path, report) in [('A', a, &of_a), ('B', b, &of_b)] {
        text.push_str(&head(letter, path, report));
    }
    for difference in differences(&of_a.environment, &of_b.environment) {
        text.push_str(&format!("  differs: {difference}\n"));
    }
    text.push('\n');
    for comparison in &comparisons {
        let marks = marks('A', &of_a, comparison) + &marks('B', &of_b, comparison);
        text.push_str(&format!("{}{marks}\n", printable(&comparison.to_string())));
    }
    text.push_str(&missing(&of_a, &of_b));
    for (letter, report) in [('A', &of_a), ('B', &of_b)] {
        for (number, warning) in (1..).zip(&report.warnings) {
            let names = [&warning.workload, &warning.arm, &warning.measure];
            let names: Vec<&str> = names.into_iter().flatten().map(String::as_str).collect();
            let about = if names.is_empty() { String::new() } else { names.join(", ") + ": " };
            let line = printable(&format!("⚠{letter}{number} {about}{}", warning.text));
            text.push_str(&format!("{line}\n"));
        }
    }
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CompareError::Write(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn head(letter: char, path: &Path, report: &BenchReport) -> String {
    let here = &report.environment;
    let mut remarks = String::new();
    for (is_so, remark) in [
        (!report.is_complete, "incomplete"),
        (here.is_quick, "quick"),
        (here.is_debug_build, "debug build"),
    ] {
        remarks.push_str(&if is_so { format!(", {remark}") } else { String::new() });
    }
    let revision = here.revision.as_deref().unwrap_or("unknown");
    let line = format!(
        "{letter}: {}: {}, maitred {} ({revision}), {}{remarks}",
        path.display(),
        report.title,
        here.version,
        here.began_at,
    );
    printable(&line) + "\n"
}

/// What must be alike for a ratio to be about the server alone, and is not.
fn differences(a: &Environment, b: &Environment) -> Vec<String> {
    let of = |here: &Environment| {
        [
            ("kernel", here.kernel.clone()),
            ("processor", here.cpu.clone()),
            ("cores", here.cores.to_string()),
            ("memory in bytes", here.memory_bytes.to_string()),
            ("who has which core", here.cores_note.clone()),
            ("seed", here.seed.to_string()),
            ("quick", here.is_quick.to_string()),
            ("debug build", here.is_debug_build.to_string()),
            ("deferred accept in seconds", here.defer_accept_s.to_string()),
            ("backlog", here.backlog.to_string()),
        ]
    };
    let pairs = of(a).into_iter().zip(of(b)).filter(|(of_a, of_b)| of_a.1 != of_b.1);
    pairs.map(|((name, a), (_, b))| printable(&format!("{name}: A {a}, B {b}"))).collect()
}

/// The warnings of one report that name something of this comparison.
fn marks(letter: char, report: &BenchReport, comparison: &Comparison) -> String {
    let fits =
        |wanted: &Option<String>, here: &str| wanted.as_deref().is_none_or(|one| one == here);
    let touches = |warning: &Warning| {
        let names = [&warning.workload, &warning.arm, &warning.measure];
        names.into_iter().any(Option::is_some)
            && fits(&warning.workload, &comparison.workload)
            && fits(&warning.measure, &comparison.key)
            && comparison.arm.as_deref().is_none_or(|arm| fits(&warning.arm, arm))
    };
    let touching = (1..).zip(&report.warnings).filter(|(_, warning)| touches(warning));
    touching.map(|(number, _): (usize, _)| format!(" ⚠{letter}{number}")).collect()
}

/// What only one of them has measured, in a line each.
fn missing(a: &BenchReport, b: &BenchReport) -> String {
    let has_one_arm = arms(a).len() == 1 && arms(b).len() == 1;
    let mut text = String::new();
    for (letter, report, other) in [('A', a, b), ('B', b, a)] {
        let is_missing = |cell: &&Cell| {
            !other
                .cells
                .iter()
                .any(|one| one.workload == cell.workload && (has_one_arm || one.arm == cell.arm))
        };
        for cell in report.cells.iter().filter(is_missing) {
            let line = format!("only in {letter}: {}, {}", cell.workload, cell.arm);
            text.push_str(&(printable(&line) + "\n"));
        }
    }
    text
}

fn arms(report: &BenchReport) -> BTreeSet<&str> {
    report.cells.iter().map(|cell| cell.arm.as_str()).collect()
}

fn is_closed_loop(report: &BenchReport, workload: &str) -> bool {
    let named = report.workloads.iter().find(|one| one.name == workload);
    named.is_some_and(|workload| !workload.is_open_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::report::schema::{MeasureInfo, SCHEMA, WorkloadInfo};

    fn report(cells: &[(&str, &str, f64)]) -> BenchReport {
        let cell = |(arm, workload, value): &(&str, &str, f64)| Cell {
            arm: (*arm).to_owned(),
            workload: (*workload).to_owned(),
            figures: [(
                "p99".to_owned(),
                Figure {
                    value: *value,
                    low: Some(value * 0.97),
                    high: Some(value * 1.03),
                    of_trials: Vec::new(),
                },
            )]
            .into(),
            ..Cell::default()
        };
        BenchReport {
            schema: SCHEMA.to_owned(),
            cells: cells.iter().map(cell).collect(),
            measures: vec![MeasureInfo {
                key: "p99".to_owned(),
                title: "p99".to_owned(),
                unit: "ms".to_owned(),
                ..MeasureInfo::default()
            }],
            is_complete: true,
            ..BenchReport::default()
        }
    }

    fn written(report: &BenchReport) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        serde_json::to_writer(&file, report).expect("written");
        file
    }

    fn ran(a: &BenchReport, b: &BenchReport) -> Result<String, CompareError> {
        let (a, b) = (written(a), written(b));
        let mut out = Vec::new();
        run(a.path(), b.path(), &mut out)?;
        Ok(String::from_utf8(out).expect("text"))
    }

    #[test]
    fn a_ratio_with_its_interval_in_one_line() {
        let (a, b) =
            (report(&[("before", "bimodal", 13.2)]), report(&[("after", "bimodal", 10.0)]));
        let lines: Vec<String> = compare(&a, &b).iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["p99, bimodal: A is 1.32 × B (95 % 1.27–1.38)"]);
    }

    #[test]
    fn arms_are_compared_by_name_when_there_are_several() {
        let a = report(&[("master", "w", 1.0), ("shared", "w", 4.0), ("shared", "v", 1.0)]);
        let b = report(&[("shared", "w", 2.0), ("master", "w", 1.0), ("reuseport", "w", 1.0)]);
        let compared = compare(&a, &b);
        let lines: Vec<String> = compared.iter().map(ToString::to_string).collect();
        assert!(lines[0].starts_with("p99, w, shared: A is 2.00 × B"), "{lines:?}");
        assert_eq!(lines.len(), 2);
        let text = ran(&a, &b).expect("compared");
        assert!(text.contains("only in A: v, shared") && text.contains("only in B: w, reuseport"));
    }

    #[test]
    fn zeros_have_no_ratio_and_bare_figures_no_interval() {
        let mut a = report(&[("m", "w", 0.0), ("m", "v", 2.0)]);
        a.cells[1].figures.values_mut().for_each(|figure| figure.low = None);
        let b = report(&[("m", "w", 1.0), ("m", "v", 1.0)]);
        let lines: Vec<String> = compare(&a, &b).iter().map(ToString::to_string).collect();
        let expected =
            ["p99, w: A is 0, B is 1.00 (no ratio)", "p99, v: A is 2.00 × B (no interval)"];
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_a_reader_must_know_stands_beside() {
        let mut a = report(&[("m", "w", 2.0)]);
        a.environment.kernel = "6.1".to_owned();
        a.environment.is_quick = true;
        a.workloads.push(WorkloadInfo { name: "w".to_owned(), ..WorkloadInfo::default() });
        a.warnings.push(Warning {
            measure: Some("p99".to_owned()),
            text: "the generator\u{1b}[2J lagged".to_owned(),
            ..Warning::default()
        });
        let text = ran(&a, &report(&[("m", "w", 1.0)])).expect("compared");
        assert!(text.contains("differs: kernel: A 6.1, B \n"), "{text}");
        assert!(
            text.contains("p99, w (closed loop): A is 2.00 × B (95 % 1.92–2.09) ⚠A1\n"),
            "{text}"
        );
        assert!(text.contains("⚠A1 p99: the generator\u{fffd}[2J lagged\n"), "{text}");
        assert!(text.contains(", quick\n"), "{text}");
    }

    #[test]
    fn nothing_in_common_is_an_error_and_so_is_another_file() {
        let one = report(&[("m", "w", 1.0)]);
        let other = report(&[("m", "v", 1.0)]);
        assert!(matches!(ran(&one, &other), Err(CompareError::NothingInCommon)));
        let later = BenchReport { schema: "maitred-bench/9".to_owned(), ..one.clone() };
        let error = ran(&later, &one).expect_err("another schema");
        let CompareError::Read(error) = error else { panic!("{error}") };
        assert!(error.source.to_string().contains("maitred-bench/9"));
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let file = written(&report(&[("m", "w", 1.0)]));
        run(file.path(), file.path(), &mut Closed).expect("a closed pipe is success");
    }
}
