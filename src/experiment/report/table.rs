//! The closing table of a bench: arms as rows, the main measures as columns, winners marked. Pure.
//!
//! Not here: the page (`html`), everything that there is (`csv`).

use std::fmt::Write;

use crate::experiment::report::format::{Significant, printable};
use crate::experiment::report::schema::{
    BenchReport, Better, Cell, MeasureInfo, Outcome, WorkloadInfo,
};

/// The columns, where they were measured.
const COLUMNS: [&str; 9] = [
    "p50",
    "p99",
    "p999",
    "max",
    "throughput",
    "cpu_us_per_request",
    "master_utilisation",
    "jain_of_requests",
    "idle_while_queued",
];

/// The column by which the places of a grid are compared.
const GRID_COLUMN: &str = "p99";

/// Stands behind the best value of a column.
const WINNER: char = '*';

/// The whole, with its own line ends.
pub fn table(report: &BenchReport) -> String {
    let mut out = String::new();
    for workload in report.workloads.iter().filter(|workload| workload.grid.is_none()) {
        out.push_str(&of_workload(report, workload));
    }
    out.push_str(&of_grids(report));
    out.push_str(&predictions(report));
    out.push_str(&warnings(report));
    if !report.is_complete {
        out.push_str("\nIt was stopped before its end; what is here is whole.\n");
    }
    // Names and last words may be anything, and a terminal obeys what is no letter.
    out.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

fn of_workload(report: &BenchReport, workload: &WorkloadInfo) -> String {
    let cells: Vec<&Cell> =
        report.cells.iter().filter(|cell| cell.workload == workload.name).collect();
    if cells.is_empty() {
        return String::new();
    }
    let measured = |key: &str| cells.iter().any(|cell| cell.figures.contains_key(key));
    let infos = COLUMNS
        .iter()
        .filter(|key| measured(key))
        .filter_map(|key| report.measures.iter().find(|info| info.key == **key));
    let infos: Vec<&MeasureInfo> = infos.collect();
    let mut rows = vec![vec![String::new()]];
    for info in &infos {
        let unit = if info.unit.is_empty() { String::new() } else { format!(" {}", info.unit) };
        rows[0].push(format!("{}{unit}", info.title));
    }
    for cell in &cells {
        let mut row = vec![cell.arm.clone()];
        row.extend(infos.iter().map(|info| shown(cell, info, &cells)));
        rows.push(row);
    }
    let kind = if workload.is_open_loop { "open loop" } else { "closed loop: stalls are hidden" };
    let class = match workload.classes.as_slice() {
        [first, _, ..] => format!(", {first}"),
        _ => String::new(),
    };
    format!("\n{}{class} ({kind})\n{}", workload.name, aligned(&rows))
}

/// One row a place: the column's value by arm.
fn of_grids(report: &BenchReport) -> String {
    let Some(info) = report.measures.iter().find(|info| info.key == GRID_COLUMN) else {
        return String::new();
    };
    let grids = report.workloads.iter().filter(|workload| workload.grid.is_some());
    let mut rows = Vec::new();
    for workload in grids {
        let cells: Vec<&Cell> =
            report.cells.iter().filter(|cell| cell.workload == workload.name).collect();
        let mut row = vec![workload.name.clone()];
        for arm in &report.arms {
            let cell = cells.iter().find(|cell| cell.arm == arm.name);
            row.push(cell.map_or_else(String::new, |cell| shown(cell, info, &cells)));
        }
        if !cells.is_empty() {
            rows.push(row);
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    let mut head = vec![format!("{} {}", info.title, info.unit)];
    head.extend(report.arms.iter().map(|arm| arm.name.clone()));
    rows.insert(0, head);
    format!("\n{}", aligned(&rows))
}

/// A value, marked if it is the best of its column.
fn shown(cell: &Cell, info: &MeasureInfo, cells: &[&Cell]) -> String {
    let Some(figure) = cell.figures.get(&info.key) else { return "-".to_owned() };
    let others = cells.iter().filter_map(|cell| cell.figures.get(&info.key));
    let is_best = cells.len() > 1
        && match info.better {
            Better::Lower => others.into_iter().all(|other| figure.value <= other.value),
            Better::Higher => others.into_iter().all(|other| figure.value >= other.value),
            Better::Neither => false,
        };
    format!("{}{}", Significant(figure.value), if is_best { WINNER } else { ' ' })
}

fn predictions(report: &BenchReport) -> String {
    let mut out = String::new();
    if !report.predictions.is_empty() {
        out.push_str("\npredictions\n");
    }
    for prediction in &report.predictions {
        let outcome = match prediction.outcome {
            Outcome::Held => "held",
            Outcome::Failed => "FAILED",
            Outcome::Open => "open",
            Outcome::NotMeasured => "not measured",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "  {outcome:12}  {}", prediction.text);
        let _ = writeln!(out, "  {:12}  {}", "", prediction.found);
    }
    out
}

fn warnings(report: &BenchReport) -> String {
    let mut out = String::new();
    if !report.warnings.is_empty() {
        out.push_str("\nwarnings\n");
    }
    for warning in &report.warnings {
        let parts = [&warning.workload, &warning.arm, &warning.measure];
        let place: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
        let separator = if place.is_empty() { "" } else { ": " };
        let _ = writeln!(out, "  {}{separator}{}", place.join(", "), warning.text);
    }
    out
}

/// Columns as wide as their widest, the first one to the left, all others to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::from("  ");
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let padding = " ".repeat(width - cell.chars().count());
            match column {
                0 => line = format!("{line}{cell}{padding}"),
                _ => line = format!("{line}  {padding}{cell}"),
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::report::schema::{ArmInfo, Figure, GridPlace, Prediction, Warning};

    fn report(grid: Option<GridPlace>) -> BenchReport {
        let measure = |key: &str, unit: &str, better| MeasureInfo {
            key: key.to_owned(),
            title: key.to_owned(),
            unit: unit.to_owned(),
            better,
            ..MeasureInfo::default()
        };
        let cell = |arm: &str, p99, throughput| {
            let figure = |value| Figure { value, ..Figure::default() };
            Cell {
                arm: arm.to_owned(),
                workload: "w".to_owned(),
                figures: [
                    ("p99".to_owned(), figure(p99)),
                    ("throughput".to_owned(), figure(throughput)),
                ]
                .into(),
                ..Cell::default()
            }
        };
        let arm = |name: &str| ArmInfo { name: name.to_owned(), ..ArmInfo::default() };
        BenchReport {
            arms: vec![arm("master"), arm("shared")],
            workloads: vec![WorkloadInfo {
                name: "w".to_owned(),
                is_open_loop: true,
                grid,
                ..WorkloadInfo::default()
            }],
            measures: vec![
                measure("p99", "ms", Better::Lower),
                measure("throughput", "1/s", Better::Higher),
            ],
            cells: vec![cell("master", 0.5, 99_000.0), cell("shared", 12.34, 101_000.0)],
            predictions: vec![Prediction {
                text: "p99(master, w) < 1".to_owned(),
                outcome: Outcome::Held,
                found: "p99 of master: 0.500".to_owned(),
                ..Prediction::default()
            }],
            warnings: vec![Warning {
                arm: Some("master".to_owned()),
                workload: Some("w".to_owned()),
                text: "late".to_owned(),
                ..Warning::default()
            }],
            is_complete: false,
            ..BenchReport::default()
        }
    }

    #[test]
    fn a_table_marks_who_wins_each_column() {
        let expected = "
w (open loop)
          p99 ms  throughput 1/s
  master  0.500*         99 000
  shared   12.3         101 000*

predictions
  held          p99(master, w) < 1
                p99 of master: 0.500

warnings
  w, master: late

It was stopped before its end; what is here is whole.
";
        assert_eq!(table(&report(None)).replace('\u{202f}', " "), expected);
    }

    #[test]
    fn a_grid_has_a_row_for_each_place() {
        let text = table(&report(Some(GridPlace::default())));
        assert!(
            text.starts_with("\n  p99 ms  master  shared\n  w       0.500*   12.3\n"),
            "{text}"
        );
    }

    #[test]
    fn nothing_measured_is_an_empty_table() {
        let report = BenchReport { is_complete: true, ..BenchReport::default() };
        assert_eq!(table(&report), "");
    }
}
