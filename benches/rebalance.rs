//! What rebalancing buys and costs: `--rebalance never`, `auto` and `always` under the loads that
//! tell them apart, with the bars they are held to.
//!
//! ```text
//! cargo bench --bench rebalance -- [ROW…] [--modes never,auto,always] [--seconds N] [--runs N]
//!                                  [--seed N] [--flags "SERVER FLAGS"] [--smoke]
//! ```
//!
//! One line a run, one line of medians a mode, and one line a bar. Without ROW all rows; a ROW is a
//! part of a name. `--seconds` and `--runs` override each row's own; `--smoke` makes everything
//! short, to see that it still runs.
//!
//! Held equal: the same binary, workers and threads; the same connections, opened in the same order;
//! the same request times and choices, from the same seed, for every mode of a run. Modes alternate
//! from run to run (A B, B A, …). Each run has a server of its own. Loads are open-loop and latency
//! counts from when a request was due, but for `hello`, which asks for throughput and is a closed
//! loop. CPU is what the kernel's scheduler counted for master and workers, warm-up included;
//! wake-ups are the master's voluntary context switches.
//!
//! Unfair: client and server share the cores. What the client takes, the server lacks, and a request
//! may wait for the client's own turn: the lag beside each figure says how late it was in sending,
//! nothing says how late in reading. A worker that spins keeps the client off its core too. So the
//! ratios between modes of one run mean more than any figure. `hello` has one client thread (wrk's,
//! or our own generator's), which is often the bottleneck: its rate says less than its CPU per
//! request. `never` is this server without rebalancing, not another one: its master already takes
//! back what a worker has not claimed.
//!
//! Not here: the loads themselves (`rebalance/rows`), figures and bars (`rebalance/figures`).

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "rebalance/figures.rs"]
mod figures;
#[path = "rebalance/rows.rs"]
mod rows;
#[path = "rebalance/usage.rs"]
mod usage;

use std::fs;
use std::process::{Command, ExitCode};

use figures::{Figures, Table};
use rows::{ROWS, Row, Run};

/// Seconds of a smoke run.
const SMOKE_S: f64 = 0.5;

/// What was asked for.
struct Arguments {
    rows: Vec<String>,
    modes: Vec<String>,
    /// More flags for every server: to see what one of them does.
    flags: Vec<String>,
    seconds: Option<f64>,
    runs: Option<u64>,
    seed: u64,
    is_smoke: bool,
}

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(wrong) => {
            eprintln!("rebalance: {wrong}; see the head of benches/rebalance.rs");
            return ExitCode::from(2);
        }
    };
    println!("{}", header(&arguments));
    for row in ROWS {
        if arguments.rows.is_empty() || arguments.rows.iter().any(|one| row.name.contains(one)) {
            measure(row, &arguments);
        }
    }
    ExitCode::SUCCESS
}

fn measure(row: &Row, arguments: &Arguments) {
    println!("\n{}: {}", row.name, row.what);
    let (seconds, runs) = if arguments.is_smoke { (SMOKE_S, 1) } else { (row.seconds, row.runs) };
    let seconds = arguments.seconds.unwrap_or(seconds);
    let mut table = Table::default();
    for number in 0..arguments.runs.unwrap_or(runs) {
        let mut modes: Vec<_> = arguments.modes.iter().map(String::as_str).collect();
        if number % 2 == 1 {
            modes.reverse();
        }
        for mode in modes {
            let seed = arguments.seed.wrapping_add(number);
            let run =
                Run { mode, flags: &arguments.flags, seconds, seed, is_smoke: arguments.is_smoke };
            let figures: Figures = (row.measure)(&run);
            println!("  {mode:6} run {}: {figures}", number + 1);
            table.add(mode, figures);
        }
    }
    for mode in &arguments.modes {
        println!("  {mode:6} median: {}", table.medians(mode));
    }
    for bar in row.bars {
        if let Some(verdict) = table.judge(bar) {
            println!("  {verdict}");
        }
    }
}

/// What figures travel with.
fn header(arguments: &Arguments) -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown CPU", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let cores = usage::cores();
    let described = Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    let revision = described.ok().filter(|output| output.status.success());
    let revision = revision.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let build = if cfg!(debug_assertions) { ", debug build: figures mean nothing" } else { "" };
    let smoke = if arguments.is_smoke { ", smoke run: figures mean nothing" } else { "" };
    format!(
        "Linux {}, {cores} cores, {model}, revision {}, seed {}{build}{smoke}",
        kernel.trim(),
        revision.as_deref().unwrap_or("unknown"),
        arguments.seed,
    )
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
        let mut arguments = Arguments {
            rows: Vec::new(),
            modes: ["never", "auto", "always"].map(str::to_owned).to_vec(),
            flags: Vec::new(),
            seconds: None,
            runs: None,
            seed: 1,
            is_smoke: false,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--smoke" => arguments.is_smoke = true,
                "--modes" => arguments.modes = value()?.split(',').map(str::to_owned).collect(),
                "--flags" => {
                    arguments.flags = value()?.split_whitespace().map(str::to_owned).collect();
                }
                "--seconds" => arguments.seconds = Some(number(&word, &value()?)?),
                "--runs" => arguments.runs = Some(number(&word, &value()?)?),
                "--seed" => arguments.seed = number(&word, &value()?)?,
                // cargo bench says so to every benchmark.
                "--bench" => {}
                _ if word.starts_with('-') => return Err(format!("unknown: {word}")),
                _ => arguments.rows.push(word),
            }
        }
        let is_known = |row: &String| ROWS.iter().any(|known| known.name.contains(row.as_str()));
        if let Some(row) = arguments.rows.iter().find(|row| !is_known(row)) {
            let names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
            return Err(format!("no row {row:?} among {}", names.join(" ")));
        }
        // Longer is a typing error, and not a number is none.
        if arguments.seconds.is_some_and(|seconds| !(0.1..=3600.0).contains(&seconds)) {
            return Err("--seconds is from 0.1 to 3600".to_owned());
        }
        Ok(arguments)
    }
}

fn number<T: std::str::FromStr>(flag: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{flag}: {text:?} is no number"))
}
