//! `maitred sim`: what is to be simulated is found, run, and its result written.
//!
//! Not here: the simulator (`crate::sim`), what a plan says (`experiment::plan`).

mod fleet;
mod plan;
mod theory;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::faults::{Faults, Reader};
use crate::cli::raw::RawSim;
use crate::cli::values;
use crate::cli::{bench, complain};
use crate::exit::Exit;

/// Seed where nobody says one: the same for everybody, so that figures can be compared.
const SEED: u64 = 1;

pub(super) fn run(program: &str, arguments: &[OsString], raw: &RawSim) -> u8 {
    if raw.list {
        return print(&list());
    }
    let variables = |name: &str| std::env::var_os(name);
    let mut reader = Reader::new(&variables);
    let seed = reader.value_or("--seed", raw.seed.as_deref(), SEED, values::seed);
    let complain_all = |faults: Faults| {
        faults.iter().for_each(|fault| complain(program, fault));
        Exit::Usage as u8
    };
    let Some(plan) = raw.plan.clone() else {
        complain(
            program,
            &"sim needs a PLAN: mmk, cluster, a preset (--list names them), or a file",
        );
        return Exit::Usage as u8;
    };
    if plan == "mmk" {
        let asked = theory::asked(raw, seed, &mut reader);
        return match reader.finish(asked) {
            Ok(asked) => print(&theory::mmk(&asked, raw.json)),
            Err(faults) => complain_all(faults),
        };
    }
    if plan == "cluster" {
        let asked = fleet::asked(raw, seed, &mut reader);
        return match reader.finish(asked) {
            Ok(asked) => print(&fleet::run(&asked, raw.json)),
            Err(faults) => complain_all(faults),
        };
    }
    let asked = plan::Asked {
        plan,
        seed,
        is_quick: reader.value_or("--quick", raw.quick.as_deref(), false, values::switch),
        json: raw.json,
        out: bench::out(raw.out.as_ref(), &mut reader),
        compare: raw.compare.as_ref().map(PathBuf::from),
        command: bench::command(arguments),
    };
    match reader.finish(asked) {
        Ok(asked) => plan::run(program, &asked),
        Err(faults) => complain_all(faults),
    }
}

fn list() -> String {
    let mmk = format!("{:14} {}\n", "mmk", "k workers against queueing theory");
    let cluster = format!("{:14} {}\n", "cluster", "a balancer in front of many servers");
    mmk + &cluster + &bench::list()
}

fn print(text: &str) -> u8 {
    // A reader that has gone (`| head -1`) is no failure.
    let _ = io::stdout().write_all(text.as_bytes());
    Exit::Done as u8
}

/// A bar on a terminal, of so many runs; nothing elsewhere.
fn bar(runs: usize) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(runs as u64);
    // A template that is wrong would show in the first run of anybody.
    if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} {eta} left  {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}
