//! The fault matrix: what clients lose when things go wrong, counted by a client that keeps its own
//! ledger, against the built binary and from outside.
//!
//! ```text
//! scripts/faults [--row NAME]… [--only TEXT] [--rounds N] [--seconds N] [--rate N] [--seed N]
//!                [--short] [--markdown] [--soak MINUTES] [--list]
//! ```
//!
//! One line a row and variant: what was sent, what became of it, and the verdict; the exit code is 1
//! if one breaks its promise. A row is a fault (`--row` is a part of its name, `--list` names all), a
//! variant is how connections are used, by what workers, in which `--rebalance` mode (`--only` is a
//! part of its name, as in `loop/kept/auto`). `--short` does every fault once or a few times, for
//! `scripts/test`: its counts are as strict, its times are only printed. `--soak` does faults at
//! random for so many minutes, and asserts that memory and descriptors stay flat.
//!
//! **wrong** is an answer that is not its request's, or is damaged and looks whole: never. **lost**
//! is a request that was not in the hands of a worker that died, and has no full answer: never.
//! **aborted** (502, or an end without a full answer) is the price of a death: no more than the
//! master says the dead had in hand, which is no more than the client had under way.
//!
//! Held equal: the same load in every row, open-loop at a constant rate, from one thread; one request
//! in sixteen sleeps 1 to 5 ms in its handler, so that somebody is being served at any moment;
//! latencies are of the others and count from when a request was due. Unfair: client and server
//! share the cores, and a fault that costs CPU costs the client some, too. So times are compared
//! with the same server before the fault, within one run.
//!
//! Not here: what the client understands by an answer (`tests/ledger`, tested in
//! `tests/client_ledger.rs`), the rows (`faults/rows`).

#[path = "../tests/chaos/answer.rs"]
mod answer;
#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/ledger/mod.rs"]
mod ledger;
#[path = "../tests/chaos/request.rs"]
mod request;
#[path = "rebalance/usage.rs"]
#[allow(dead_code, reason = "only the time on a CPU is of interest here")]
mod usage;

#[path = "faults/crowd.rs"]
mod crowd;
#[path = "faults/deaths.rs"]
mod deaths;
#[path = "faults/endings.rs"]
mod endings;
#[path = "faults/found.rs"]
mod found;
#[path = "faults/hostile.rs"]
mod hostile;
#[path = "faults/injected.rs"]
mod injected;
#[path = "faults/limits.rs"]
mod limits;
#[path = "faults/rows.rs"]
mod rows;
#[path = "faults/soak.rs"]
mod soak;
#[path = "faults/stage.rs"]
mod stage;
#[path = "faults/variant.rs"]
mod variant;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode};

use common::allow_descriptors;
use found::{Found, Table};
use rows::{ROWS, Row};
use stage::Run;

/// Descriptors that the client may need: ten thousand silent connections, and a load beside them.
const DESCRIPTORS_MAX: u64 = 20_000;

/// Requests a second, but for a soak, which finds its own.
const RATE_DEFAULT: f64 = 1500.0;

/// What was asked for.
struct Arguments {
    rows: Vec<String>,
    only: String,
    rounds: Option<u32>,
    seconds: Option<f64>,
    rate: Option<f64>,
    seed: u64,
    is_short: bool,
    is_markdown: bool,
    is_list: bool,
    soak_minutes: Option<f64>,
}

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(wrong) => {
            eprintln!("faults: {wrong}; see the head of benches/faults.rs");
            return ExitCode::from(2);
        }
    };
    if arguments.is_list {
        for row in ROWS {
            println!("{:14} {}", row.name, row.what);
        }
        return ExitCode::SUCCESS;
    }
    allow_descriptors(DESCRIPTORS_MAX);
    if let Some(minutes) = arguments.soak_minutes {
        println!("{}\n", header(&arguments));
        return soak::soak(minutes, arguments.rate, arguments.seed);
    }
    println!("{}\n", header(&arguments));
    let mut table = Table::new(arguments.is_markdown);
    for row in ROWS.iter().filter(|row| arguments.wants(row)) {
        run_row(row, &arguments, &mut table);
    }
    table.finish()
}

fn run_row(row: &Row, arguments: &Arguments, table: &mut Table) {
    let variants = if arguments.is_short { (row.short)() } else { (row.full)() };
    for variant in variants {
        if !variant.to_string().contains(&arguments.only) {
            continue;
        }
        let rounds = if arguments.is_short { row.rounds.1 } else { row.rounds.0 };
        let seconds = if arguments.is_short { row.seconds.1 } else { row.seconds.0 };
        let run = Run {
            variant,
            rounds: arguments.rounds.unwrap_or(rounds),
            seconds: arguments.seconds.unwrap_or(seconds),
            rate: arguments.rate.unwrap_or(RATE_DEFAULT),
            seed: arguments.seed,
            is_short: arguments.is_short,
        };
        // A wait that never ends is a finding like others: the rows behind it still run.
        let found = catch_unwind(AssertUnwindSafe(|| (row.run)(&run))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            Found::of_panic(&text.unwrap_or_default())
        });
        table.add(row.name, &run, &found);
    }
}

/// What figures travel with.
fn header(arguments: &Arguments) -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let described = Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    let revision = described.ok().filter(|output| output.status.success());
    let revision = revision.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let build = if cfg!(debug_assertions) { ", debug build: times mean nothing" } else { "" };
    let short = if arguments.is_short { ", short: times are not judged" } else { "" };
    let rate = match arguments.soak_minutes {
        None => format!("{} requests/s, ", arguments.rate.unwrap_or(RATE_DEFAULT)),
        Some(_) => String::new(),
    };
    format!(
        "Linux {}, {} cores, revision {}, {rate}seed {}{build}{short}",
        kernel.trim(),
        usage::cores(),
        revision.as_deref().unwrap_or("unknown"),
        arguments.seed,
    )
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
        let mut arguments = Arguments {
            rows: Vec::new(),
            only: String::new(),
            rounds: None,
            seconds: None,
            rate: None,
            seed: 1,
            is_short: false,
            is_markdown: false,
            is_list: false,
            soak_minutes: None,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--row" => arguments.rows.push(value()?),
                "--only" => arguments.only = value()?,
                "--rounds" => arguments.rounds = Some(number(&word, &value()?, 1, 10_000)?),
                "--seconds" => arguments.seconds = Some(number(&word, &value()?, 0.1, 3600.0)?),
                "--rate" => {
                    arguments.rate = Some(number(&word, &value()?, 10.0, 50_000.0)?);
                }
                "--seed" => arguments.seed = number(&word, &value()?, 0, 1 << 20)?,
                "--soak" => arguments.soak_minutes = Some(number(&word, &value()?, 0.1, 10_000.0)?),
                "--short" => arguments.is_short = true,
                "--markdown" => arguments.is_markdown = true,
                "--list" => arguments.is_list = true,
                // cargo bench says so to every benchmark.
                "--bench" => {}
                _ => return Err(format!("unknown: {word}")),
            }
        }
        let is_known = |part: &String| ROWS.iter().any(|row| row.name.contains(part.as_str()));
        if let Some(row) = arguments.rows.iter().find(|row| !is_known(row)) {
            let names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
            return Err(format!("no row {row:?} among {}", names.join(" ")));
        }
        Ok(arguments)
    }
}

impl Arguments {
    /// A row by its whole name, or by a part where none has it as its whole one.
    fn wants(&self, row: &Row) -> bool {
        let is_meant = |part: &String| {
            let is_a_name = ROWS.iter().any(|row| row.name == part);
            if is_a_name { row.name == part } else { row.name.contains(part.as_str()) }
        };
        self.rows.is_empty() || self.rows.iter().any(is_meant)
    }
}

fn number<T: std::str::FromStr + PartialOrd + std::fmt::Display>(
    flag: &str,
    text: &str,
    least: T,
    most: T,
) -> Result<T, String> {
    let number: T = text.parse().map_err(|_| format!("{flag}: {text:?} is no number"))?;
    // Written so that NaN is refused.
    if number >= least && number <= most {
        return Ok(number);
    }
    Err(format!("{flag} is from {least} to {most}"))
}
