//! How far a bench is: a bar on a terminal, lines elsewhere; and the rows of requests.
//!
//! Not here: the closing table (`experiment::report::table`).

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::experiment::measure::observed::Observed;
use crate::experiment::measure::raw_csv;
use crate::experiment::plan::model::{Arm, Workload};
use crate::experiment::report::folder::Folder;
use crate::experiment::report::schema::Warning;
use crate::experiment::run::{Observer, Turn};

/// Between two movements of the bar while a run goes on. Seldom: the bench's own work is noise.
const TICK: Duration = Duration::from_millis(500);

/// Told what happens.
pub(super) struct Progress {
    /// None where standard error is no terminal.
    bar: Option<ProgressBar>,
    runs: usize,
    done: usize,
    /// Where the rows of requests go, if they are wanted.
    requests: Option<Folder>,
}

impl Progress {
    /// Of so many runs.
    pub(super) fn new(runs: usize, requests: Option<Folder>) -> Progress {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(runs as u64);
            // A template that is wrong would show in the first run of anybody.
            if let Ok(style) =
                ProgressStyle::with_template("{bar:24} {pos}/{len} {eta} left  {msg}")
            {
                bar.set_style(style);
            }
            bar.enable_steady_tick(TICK);
            bar
        });
        Progress { bar, runs, done: 0, requests }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }

    fn advance(&mut self, runs: usize) {
        self.done += runs;
        if let Some(bar) = &self.bar {
            bar.inc(runs as u64);
        }
    }
}

impl Observer for Progress {
    fn begins(&mut self, turn: Turn, arm: &Arm, workload: &Workload) {
        let text = format!("{}, {}, repetition {}", workload.name, arm.name, turn.repetition + 1);
        match &self.bar {
            Some(bar) => bar.set_message(text),
            None => eprintln!("{}/{} {text}", self.done + 1, self.runs),
        }
    }

    fn ended(&mut self, workload: &Workload, observed: &Observed) -> io::Result<()> {
        self.advance(1);
        let Some(folder) = &self.requests else { return Ok(()) };
        let classes: Vec<String> =
            workload.classes.iter().map(|class| class.name.clone()).collect();
        let written = folder.put_requests(observed.place, |out| raw_csv(observed, &classes, out));
        written.map_err(io::Error::other)
    }

    fn left_out(&mut self, runs: usize) {
        self.advance(runs);
    }

    fn warned(&mut self, warning: &Warning) {
        let place: Vec<&str> =
            [&warning.workload, &warning.arm].into_iter().flatten().map(String::as_str).collect();
        let separator = if place.is_empty() { "" } else { ": " };
        self.say(&format!("warning: {}{separator}{}", place.join(", "), warning.text));
    }
}
