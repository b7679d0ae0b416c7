//! What `sim --compare` reads, from any bytes: as report.json, and as figures.csv.
//!
//! Whatever is taken is numbers that can be compared: laid beside itself every figure holds, and has
//! its row in the table and in the JSON form. Whatever is not is refused with a reason.

use std::collections::BTreeMap;

use maitred::experiment::report::schema::{BenchReport, Cell, Figure};
use maitred::sim::against::{self, Measured};

pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for read in [against::of_report(text), against::of_figures(text)] {
        match read {
            Ok(measured) => check_beside_itself(&measured),
            Err(error) => assert!(!error.to_string().is_empty(), "no reason"),
        }
    }
}

fn check_beside_itself(measured: &[Measured]) {
    // Of figures that are there twice the first counts.
    let mut cells: BTreeMap<(&str, &str), BTreeMap<String, Figure>> = BTreeMap::new();
    for one in measured {
        let numbers = [Some(one.value), one.low, one.high];
        assert!(numbers.into_iter().flatten().all(f64::is_finite), "{one:?}");
        let cell = cells.entry((&one.workload, &one.arm)).or_default();
        let figure = Figure { value: one.value, ..Figure::default() };
        cell.entry(one.key.clone()).or_insert(figure);
    }
    let is_compared = |key: &&String| {
        let measure = key.split(':').next();
        measure == Some("p50") || measure == Some("p99")
    };
    let expected: usize =
        cells.values().map(|figures| figures.keys().filter(is_compared).count()).sum();
    let cell = |((workload, arm), figures): ((&str, &str), _)| Cell {
        workload: workload.to_owned(),
        arm: arm.to_owned(),
        figures,
        ..Cell::default()
    };
    let report =
        BenchReport { cells: cells.into_iter().map(cell).collect(), ..BenchReport::default() };
    let pairs = against::compare(&report, measured);
    assert_eq!(pairs.len(), expected, "every figure that is compared has a row");
    for pair in &pairs {
        assert!(pair.holds && pair.ratio == 1.0, "beside itself: {pair:?}");
    }
    let told = against::text(&pairs);
    let last = format!("{expected} of {expected} within 15 % or in the measured 95 % interval\n");
    assert!(told.ends_with(&last), "{told}");
    let json = serde_json::to_string(&pairs).expect("numbers and names have a JSON form");
    let read: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(read.as_array().map(Vec::len), Some(expected));
}
