//! A simulation beside what was measured: p50 and p99 of every cell that both have.
//!
//! Not here: simulating (`run`), a bench beside a bench (`experiment::report::compare`).

use std::collections::BTreeMap;

use serde::Serialize;

use crate::experiment::report::format::Significant;
use crate::experiment::report::schema::{BenchReport, SCHEMA};

/// The measures that are compared.
const KEYS: [&str; 2] = ["p50", "p99"];

/// How far apart a simulation and a measurement may be.
pub const WITHIN: f64 = 0.15;

/// A figure of a bench.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The workload's name.
    pub workload: String,
    /// The arm's name.
    pub arm: String,
    /// The measure's key.
    pub key: String,
    /// In the measure's unit; a number, not an infinity.
    pub value: f64,
    /// The lower end of its 95 % interval, if it has one.
    pub low: Option<f64>,
    /// The upper end.
    pub high: Option<f64>,
}

/// Why a text holds no figures.
#[derive(Debug, thiserror::Error)]
pub enum MeasuredError {
    /// It is no report.json.
    #[error("a report")]
    Json(#[from] serde_json::Error),
    /// It is one of another form.
    #[error("its form is {found:?}, and this program reads {SCHEMA:?}")]
    Schema {
        /// As it says.
        found: String,
    },
    /// It is no figures.csv.
    #[error("a row of figures")]
    Csv(#[from] csv::Error),
    /// A column is missing, or no number.
    #[error("line {line}: {column} is missing, or no number")]
    Row {
        /// From 1.
        line: u64,
        /// As the head names it.
        column: &'static str,
    },
}

/// A figure, simulated and measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// The workload's name.
    pub workload: String,
    /// The arm's name.
    pub arm: String,
    /// The measure's key.
    pub key: String,
    /// In the measure's unit.
    pub simulated: f64,
    /// The same.
    pub measured: f64,
    /// Its 95 % interval, if it has one.
    pub interval: Option<(f64, f64)>,
    /// Simulated over measured; infinite (in JSON null) over a measured 0.
    pub ratio: f64,
    /// Within [`WITHIN`] of the measured value, or in its interval.
    pub holds: bool,
}

/// The figures of a report.json.
///
/// # Errors
/// It is none.
pub fn of_report(text: &str) -> Result<Vec<Measured>, MeasuredError> {
    let report: BenchReport = serde_json::from_str(text)?;
    if report.schema != SCHEMA {
        return Err(MeasuredError::Schema { found: report.schema });
    }
    let figures = report.cells.into_iter().flat_map(|cell| {
        let (workload, arm) = (cell.workload, cell.arm);
        cell.figures.into_iter().map(move |(key, figure)| Measured {
            workload: workload.clone(),
            arm: arm.clone(),
            key,
            value: figure.value,
            low: figure.low,
            high: figure.high,
        })
    });
    Ok(figures.collect())
}

/// The figures of a figures.csv; of each workload the first class has the plain key.
///
/// # Errors
/// It is none.
pub fn of_figures(text: &str) -> Result<Vec<Measured>, MeasuredError> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let head = reader.headers()?.clone();
    let mut figures: Vec<Measured> = Vec::new();
    // By workload, arm and measure: whose class comes first.
    let mut firsts: BTreeMap<(String, String, String), String> = BTreeMap::new();
    for record in reader.records() {
        let record = record?;
        let line = record.position().map_or(0, csv::Position::line);
        let field = |column: &'static str| {
            let place = head.iter().position(|name| name == column);
            let field = place.and_then(|place| record.get(place));
            field.ok_or(MeasuredError::Row { line, column })
        };
        let number = |column: &'static str| match field(column)? {
            "" => Ok(None),
            text => {
                let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
                number.map(Some).ok_or(MeasuredError::Row { line, column })
            }
        };
        let (workload, arm) = (field("workload")?.to_owned(), field("arm")?.to_owned());
        let (measure, class) = (field("measure")?.to_owned(), field("class")?.to_owned());
        let of = (workload.clone(), arm.clone(), measure.clone());
        let first = firsts.entry(of).or_insert_with(|| class.clone());
        let key = if *first == class { measure } else { format!("{measure}:{class}") };
        let value = number("value")?.ok_or(MeasuredError::Row { line, column: "value" })?;
        let (low, high) = (number("low")?, number("high")?);
        figures.push(Measured { workload, arm, key, value, low, high });
    }
    Ok(figures)
}

/// Everything that both have, in the order of the simulation.
pub fn compare(simulated: &BenchReport, measured: &[Measured]) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for cell in &simulated.cells {
        for (key, figure) in &cell.figures {
            let is_compared = KEYS.contains(&key.split(':').next().unwrap_or(key));
            let is_same = |one: &&Measured| {
                (&one.workload, &one.arm, &one.key) == (&cell.workload, &cell.arm, key)
            };
            let Some(found) = measured.iter().find(is_same).filter(|_| is_compared) else {
                continue;
            };
            let is_equal = figure.value == found.value;
            let ratio = if is_equal { 1.0 } else { figure.value / found.value };
            let interval = found.low.zip(found.high);
            let is_inside =
                interval.is_some_and(|(low, high)| (low..=high).contains(&figure.value));
            pairs.push(Pair {
                workload: cell.workload.clone(),
                arm: cell.arm.clone(),
                key: key.clone(),
                simulated: figure.value,
                measured: found.value,
                interval,
                ratio,
                holds: is_inside || (ratio - 1.0).abs() <= WITHIN,
            });
        }
    }
    pairs
}

/// The same as a table, and how many hold.
pub fn text(pairs: &[Pair]) -> String {
    let mut text = format!(
        "{:24} {:16} {:12} {:>10} {:>10} {:>7}\n",
        "workload", "arm", "measure", "simulated", "measured", "ratio"
    );
    for pair in pairs {
        let (simulated, measured) = (Significant(pair.simulated), Significant(pair.measured));
        let mark = if pair.holds { "" } else { "  off" };
        text += &format!(
            "{:24} {:16} {:12} {:>10} {:>10} {:>7.2}{mark}\n",
            pair.workload,
            pair.arm,
            pair.key,
            simulated.to_string(),
            measured.to_string(),
            pair.ratio
        );
    }
    let held = pairs.iter().filter(|pair| pair.holds).count();
    text += &format!(
        "{held} of {} within {:.0} % or in the measured 95 % interval\n",
        pairs.len(),
        WITHIN * 100.0
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIGURES: &str = "workload,arm,measure,class,unit,value,low,high,of_trials\n\
        w,master,p99,short,ms,2,1,4,2 2\n\
        w,master,p99,long,ms,30,,,30\n\
        w,master,mean,short,ms,1,,,1\n";

    fn simulated(short: f64, long: f64) -> BenchReport {
        use crate::experiment::report::schema::{Cell, Figure};
        let figure = |value| Figure { value, ..Figure::default() };
        let figures = [("p99", short), ("p99:long", long), ("mean", 9.0)];
        let figures = figures.map(|(key, value)| (key.to_owned(), figure(value)));
        let cell = Cell {
            arm: "master".to_owned(),
            workload: "w".to_owned(),
            figures: figures.into_iter().collect(),
            ..Cell::default()
        };
        BenchReport { cells: vec![cell], ..BenchReport::default() }
    }

    #[test]
    fn a_figure_holds_near_the_measured_one_or_in_its_interval() {
        let measured = of_figures(FIGURES).expect("figures");
        let holds = |short, long| {
            let pairs = compare(&simulated(short, long), &measured);
            pairs.iter().map(|pair| pair.holds).collect::<Vec<_>>()
        };
        assert_eq!(holds(3.9, 30.0), [true, true], "means are not compared");
        assert_eq!(holds(4.1, 34.6), [false, false]);
        assert_eq!(holds(2.2, 34.4), [true, true]);
        let told = text(&compare(&simulated(4.1, 30.0), &measured));
        assert!(told.contains("2.05  off") && told.contains("1 of 2"), "{told}");
    }

    #[test]
    fn what_is_no_result_is_refused_with_its_line() {
        assert!(of_report("{}x").is_err());
        let other = BenchReport { schema: "maitred-bench/2".to_owned(), ..simulated(1.0, 1.0) };
        let error = of_report(&serde_json::to_string(&other).expect("numbers and names"));
        assert!(error.unwrap_err().to_string().contains("maitred-bench/2"));
        let error = of_figures("workload,arm\nw,a\n").unwrap_err().to_string();
        assert_eq!(error, "line 2: measure is missing, or no number");
        let row = "workload,arm,measure,class,value,low,high\nw,a,p99,c,many,,\n";
        assert!(of_figures(row).unwrap_err().to_string().contains("value"));
        for number in ["NaN", "inf", "1e999", "-"] {
            let row = format!("workload,arm,measure,class,value,low,high\nw,a,p99,c,1,{number},\n");
            let error = of_figures(&row).unwrap_err().to_string();
            assert_eq!(error, "line 2: low is missing, or no number", "{number}");
        }
    }
}
