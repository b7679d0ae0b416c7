//! `maitred sim mmk`: one server against queueing theory.
//!
//! Not here: the simulation (`crate::sim::mmk`).

use std::fmt::Write;

use crate::cli::faults::Reader;
use crate::cli::raw::RawSim;
use crate::cli::sim::bar;
use crate::cli::values::{self, Refusal};
use crate::config::{Balance, CREDIT_MAX, WORKERS_MAX};
use crate::sim::mmk::{Estimate, Law, Mmk, MmkReport, default_requests};

/// More than this takes hours.
const REQUESTS_MAX: u64 = 10_000_000_000;

const WORKERS: u64 = 8;
const RHO: f64 = 0.8;

pub(super) fn asked(raw: &RawSim, seed: u64, reader: &mut Reader<'_>) -> Mmk {
    let bounds = 1..=u64::from(WORKERS_MAX);
    let whole = |bounds| move |text: &str| values::whole(text, bounds);
    let workers = reader.value_or("--workers", raw.workers.as_deref(), WORKERS, whole(bounds));
    let rho = reader.value_or("--rho", raw.rho.as_deref(), RHO, share);
    let laws = Law::ALL.map(|law| (law.name(), law));
    let law = reader.value_or("--law", raw.law.as_deref(), Law::Exponential, |text| {
        values::one_of(text, &laws)
    });
    let policies = [
        ("least-loaded", Balance::LeastLoaded),
        ("two-choices", Balance::TwoChoices),
        ("random", Balance::Random),
        ("round-robin", Balance::RoundRobin),
    ];
    let balance =
        reader.value_or("--balance", raw.balance.as_deref(), Balance::LeastLoaded, |text| {
            values::one_of(text, &policies)
        });
    let bounds = 1..=u64::from(CREDIT_MAX);
    let credit = reader.value_or("--credit", raw.credit.as_deref(), 1, whole(bounds));
    let default = default_requests(workers as u16, rho);
    let bounds = 20..=REQUESTS_MAX;
    let requests = reader.value_or("--requests", raw.requests.as_deref(), default, whole(bounds));
    Mmk { law, balance, credit: credit as u16, requests, seed, ..Mmk::new(workers as u16, rho) }
}

/// Above 0 and below 1: at 1 a queue grows for ever.
fn share(text: &str) -> Result<f64, Refusal> {
    let share = text.parse::<f64>().ok().filter(|share| *share > 0.0 && *share < 1.0);
    share.ok_or_else(|| "must be a number above 0 and below 1".to_owned())
}

pub(super) fn mmk(asked: &Mmk, json: bool) -> String {
    let bar = bar(asked.repetitions);
    let report = asked.run(|| bar.inc(1));
    bar.finish_and_clear();
    if json {
        // A struct of numbers and names always has a JSON form.
        return serde_json::to_string_pretty(&report).unwrap_or_default() + "\n";
    }
    text(&report)
}

fn text(report: &MmkReport) -> String {
    let MmkReport { workers, rho, law, credit, requests, repetitions, seed, .. } = report;
    let mut text = format!(
        "{workers} workers, load {rho}, {law} service, credit {credit}: response time in \
         mean service times\n{requests} requests in {repetitions} runs, seed {seed}\n\n\
         {:6} {:>9}  {:^20} {:>9}\n",
        "", "", "99 % interval", "theory"
    );
    let intervals = &report.intervals;
    let rows = [
        ("p50", report.p50, intervals.p50, report.theory.p50),
        ("p99", report.p99, intervals.p99, report.theory.p99),
        ("p99.9", report.p999, intervals.p999, report.theory.p999),
        ("mean", report.mean, intervals.mean, report.theory.mean),
    ];
    for (name, value, Estimate { low, high, .. }, theory) in rows {
        let theory = theory.map_or_else(String::new, |theory| format!("{theory:9.4}"));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:6} {value:9.4}  {low:9.4} – {high:<9.4} {theory:>9}");
    }
    text
}
