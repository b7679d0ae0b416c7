//! The CSV files of a report: figures, repetitions, workers, for whoever plots by himself.
//!
//! Not here: rows of requests (`measure`), the whole (`json`).

use std::io::Write;

use crate::experiment::report::schema::{BenchReport, Cell, Trial};

/// One row a figure: what was measured of which arm under which workload.
///
/// # Errors
/// The output refuses.
pub fn figures(report: &BenchReport, out: impl Write) -> csv::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record([
        "workload",
        "arm",
        "measure",
        "class",
        "unit",
        "value",
        "low",
        "high",
        "of_trials",
    ])?;
    for cell in &report.cells {
        for (key, figure) in &cell.figures {
            let (measure, class) = key.split_once(':').unwrap_or((key, first_class(report, cell)));
            let info = report.measures.iter().find(|info| info.key == measure);
            let of_trials: Vec<String> =
                figure.of_trials.iter().map(|value| number(Some(*value))).collect();
            writer.write_record([
                cell.workload.as_str(),
                &cell.arm,
                measure,
                class,
                info.map_or("", |info| info.unit.as_str()),
                &number(Some(figure.value)),
                &number(figure.low),
                &number(figure.high),
                &of_trials.join(" "),
            ])?;
        }
    }
    Ok(writer.flush()?)
}

/// One row a repetition.
///
/// # Errors
/// The output refuses.
pub fn trials(report: &BenchReport, out: impl Write) -> csv::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record([
        "workload",
        "arm",
        "repetition",
        "place",
        "due",
        "answered",
        "failed",
        "lag_p99_ms",
    ])?;
    for (cell, trial) in all_trials(report) {
        let failed: u64 = trial.failures.values().sum();
        writer.write_record([
            &cell.workload,
            &cell.arm,
            &trial.repetition.to_string(),
            &trial.place.to_string(),
            &trial.due.to_string(),
            &trial.answered.to_string(),
            &failed.to_string(),
            &number(Some(trial.lag_p99_ms)),
        ])?;
    }
    Ok(writer.flush()?)
}

/// One row a worker in each repetition.
///
/// # Errors
/// The output refuses.
pub fn workers(report: &BenchReport, out: impl Write) -> csv::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record([
        "workload",
        "arm",
        "repetition",
        "worker",
        "connections",
        "requests",
        "busy_s",
        "cpu_s",
    ])?;
    for (cell, trial) in all_trials(report) {
        for share in &trial.workers {
            writer.write_record([
                &cell.workload,
                &cell.arm,
                &trial.repetition.to_string(),
                &share.worker.to_string(),
                &share.connections.to_string(),
                &share.requests.to_string(),
                &number(Some(share.busy_s)),
                &number(share.cpu_s),
            ])?;
        }
    }
    Ok(writer.flush()?)
}

fn all_trials(report: &BenchReport) -> impl Iterator<Item = (&Cell, &Trial)> {
    report.cells.iter().flat_map(|cell| cell.trials.iter().map(move |trial| (cell, trial)))
}

fn first_class<'a>(report: &'a BenchReport, cell: &Cell) -> &'a str {
    let workload = report.workloads.iter().find(|workload| workload.name == cell.workload);
    workload.and_then(|workload| workload.classes.first()).map_or("", String::as_str)
}

/// As exact as it is; nothing where there is none.
fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::report::schema::{Figure, MeasureInfo, WorkerShare, WorkloadInfo};

    fn report() -> BenchReport {
        let figure = |value, low| Figure { value, low, high: None, of_trials: vec![1.5, 2.5] };
        let worker = WorkerShare { worker: 3, requests: 7, busy_s: 0.5, ..WorkerShare::default() };
        let trial = Trial {
            due: 10,
            answered: 8,
            failures: [("refused".to_owned(), 2)].into(),
            workers: vec![worker],
            ..Trial::default()
        };
        BenchReport {
            workloads: vec![WorkloadInfo {
                name: "w".to_owned(),
                classes: vec!["short".to_owned(), "long".to_owned()],
                ..WorkloadInfo::default()
            }],
            measures: vec![MeasureInfo {
                key: "p99".to_owned(),
                unit: "ms".to_owned(),
                ..MeasureInfo::default()
            }],
            cells: vec![Cell {
                arm: "=cmd, \"x\"".to_owned(),
                workload: "w".to_owned(),
                figures: [
                    ("p99".to_owned(), figure(2.0, Some(1.0))),
                    ("p99:long".to_owned(), figure(9.0, None)),
                ]
                .into(),
                trials: vec![trial],
                ..Cell::default()
            }],
            ..BenchReport::default()
        }
    }

    fn rows(write: impl Fn(&BenchReport, &mut Vec<u8>) -> csv::Result<()>) -> Vec<Vec<String>> {
        let mut bytes = Vec::new();
        write(&report(), &mut bytes).expect("memory takes everything");
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        let records = reader.records().map(|record| record.expect("it is CSV"));
        records.map(|record| record.iter().map(str::to_owned).collect()).collect()
    }

    #[test]
    fn a_figure_is_a_row_with_its_class_and_unit() {
        let rows = rows(|report, out| figures(report, out));
        let name = "=cmd, \"x\"";
        assert_eq!(rows[0], ["w", name, "p99", "short", "ms", "2", "1", "", "1.5 2.5"]);
        assert_eq!(rows[1], ["w", name, "p99", "long", "ms", "9", "", "", "1.5 2.5"]);
    }

    #[test]
    fn a_repetition_and_each_of_its_workers_is_a_row() {
        let of_trials = rows(|report, out| trials(report, out));
        assert_eq!(of_trials[0][2..], ["0", "0", "10", "8", "2", "0"]);
        let of_workers = rows(|report, out| workers(report, out));
        assert_eq!(of_workers[0][2..], ["0", "3", "0", "7", "0.5", ""]);
    }
}
