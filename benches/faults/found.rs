//! What a row found, what it breaks, and the table.
//!
//! Not here: how it is found (`stage`, and the rows' own files).

use std::process::ExitCode;
use std::time::Duration;

use maitred::time::Nanos;

use crate::ledger::book::{Book, Outcome};
use crate::stage::Run;

/// Failures of a row that are told one by one when it breaks its promise.
const STORIES_SHOWN: usize = 5;

/// Lines of a server's log that are shown then.
const LOG_SHOWN: usize = 12;

/// What a row found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) book: Book,
    /// p99 before the first fault.
    pub(crate) quiet_p99: Duration,
    /// How long each fault was felt.
    pub(crate) recoveries: Vec<Duration>,
    /// Requests that a worker had in hand when it died, as the master says.
    pub(crate) unfinished: u64,
    pub(crate) lost: u64,
    /// Promises that are broken, whatever the machine is doing.
    pub(crate) broken: Vec<String>,
    /// Times that are too long: on a machine that does other things, too, they mean nothing.
    pub(crate) late: Vec<String>,
    pub(crate) remarks: Vec<String>,
    /// Lines of the server's log that are shown when a promise is broken.
    pub(crate) log: Vec<String>,
    /// Why it could not be run.
    pub(crate) skipped: Option<String>,
}

/// What a row's fault may cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Price {
    /// Requests that ended with a worker.
    pub(crate) aborted: u64,
    /// The server went away: new connections may be refused.
    pub(crate) refusals: bool,
    /// The server went away, or had to make room: an idle connection may be closed just when its
    /// client sends (RFC 9112 section 9.3.1).
    pub(crate) idle_closes: bool,
}

impl Found {
    pub(crate) fn skipped(why: &str) -> Found {
        Found { skipped: Some(why.to_owned()), ..Found::default() }
    }

    pub(crate) fn of_panic(what: &str) -> Found {
        Found { broken: vec![what.to_owned()], ..Found::default() }
    }

    pub(crate) fn require(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.broken.push(what());
        }
    }

    pub(crate) fn require_time(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.late.push(what());
        }
    }

    /// Holds the book against what the fault may cost.
    pub(crate) fn judge(&mut self, price: Price) {
        let book = &self.book;
        let mut aborted = book.aborted();
        if price.idle_closes {
            aborted -= book.of(Outcome::ClosedReused);
        }
        let idle_ended = if price.idle_closes { 0 } else { book.idle_closed } + book.idle_reset;
        let beyond = aborted.saturating_sub(price.aborted);
        self.lost = beyond + book.of(Outcome::TimedOut);
        let (lost, wrong) = (self.lost, book.of(Outcome::Wrong));
        let (shed, unopened) = (book.of(Outcome::Shed), book.of(Outcome::Unopened));
        let refused = if price.refusals { 0 } else { book.of(Outcome::Refused) };
        self.require(wrong == 0, || format!("{wrong} wrong answers"));
        self.require(lost == 0, || format!("{lost} lost"));
        self.require(refused == 0, || format!("{refused} refused"));
        self.require(shed == 0, || format!("{shed} turned away"));
        self.require(unopened == 0, || format!("{unopened} connections not made"));
        // A worker that dies between its last byte and its word loses a connection that its client
        // holds for idle.
        self.require(idle_ended <= price.aborted, || {
            format!("{idle_ended} idle connections ended, of {} that may", price.aborted)
        });
    }

    /// Keeps the last lines that tell of something unusual.
    pub(crate) fn keep_log(&mut self, log: &str) {
        let is_unusual = |line: &&str| {
            ["WARN", "ERROR", "panicked", "worker ended", "worker killed"]
                .iter()
                .any(|mark| line.contains(mark))
        };
        let lines = log.lines().rev().filter(is_unusual).take(LOG_SHOWN);
        self.log.extend(lines.map(str::to_owned));
    }

    /// Adds another's counts and times; what it breaks is the caller's to name.
    pub(crate) fn absorb(&mut self, other: Found) {
        self.recoveries.extend(other.recoveries);
        self.unfinished += other.unfinished;
        self.lost += other.lost;
        self.log.extend(other.log);
        self.book.add(other.book);
    }

    /// Adds a book's counts and failures, and forgets its latencies.
    pub(crate) fn add_counts(&mut self, book: Book) {
        self.book.add(Book { answered: Vec::new(), ..book });
    }

    /// Says what is broken, outside of a table.
    pub(crate) fn finish(&self) -> ExitCode {
        if self.broken.is_empty() {
            println!("every promise was kept");
            return ExitCode::SUCCESS;
        }
        println!("BROKEN: {}", self.broken.join("; "));
        self.stories().for_each(|story| println!("    {story}"));
        self.log.iter().rev().for_each(|line| println!("    {line}"));
        ExitCode::FAILURE
    }

    pub(crate) fn recovery_max(&self) -> Option<Duration> {
        self.recoveries.iter().max().copied()
    }

    fn stories(&self) -> impl Iterator<Item = String> {
        let failures = self.book.failures.iter().filter(|one| one.outcome != Outcome::Refused);
        failures.take(STORIES_SHOWN).map(|one| {
            format!(
                "request {:x} {}, {} ms after it was due, sent {}: {}",
                one.id,
                one.outcome.explanation(),
                one.ended.since(one.due).as_millis(),
                if one.sent_whole { "whole" } else { "in part" },
                one.story,
            )
        })
    }
}

/// The table as it grows.
pub(crate) struct Table {
    is_markdown: bool,
    broken: Vec<String>,
}

const COLUMNS: [(&str, usize); 13] = [
    ("row", 14),
    ("variant", 20),
    ("sent", 7),
    ("full", 7),
    ("503", 4),
    ("502", 4),
    ("resets", 6),
    ("closed", 6),
    ("refused", 7),
    ("wrong", 5),
    ("lost", 4),
    ("recovery ms", 11),
    ("p99 ms", 7),
];

impl Table {
    pub(crate) fn new(is_markdown: bool) -> Table {
        let table = Table { is_markdown, broken: Vec::new() };
        table.print(COLUMNS.map(|(name, _)| name.to_owned()), "verdict");
        if is_markdown {
            println!("|{}", "---|".repeat(COLUMNS.len() + 1));
        }
        table
    }

    pub(crate) fn add(&mut self, row: &str, run: &Run, found: &Found) {
        let book = &found.book;
        let milliseconds = |time: Option<Duration>| {
            time.map_or("-".to_owned(), |time| format!("{:.1}", time.as_secs_f64() * 1e3))
        };
        let cells = [
            row.to_owned(),
            run.variant.to_string(),
            book.ended().to_string(),
            book.of(Outcome::Full).to_string(),
            book.of(Outcome::Shed).to_string(),
            book.of(Outcome::BadGateway).to_string(),
            book.resets().to_string(),
            book.closed().to_string(),
            book.of(Outcome::Refused).to_string(),
            book.of(Outcome::Wrong).to_string(),
            found.lost.to_string(),
            milliseconds(found.recovery_max()),
            milliseconds(book.latency_at(0.99, Nanos(0), Nanos::NEVER)),
        ];
        let mut broken = found.broken.clone();
        if !run.is_short {
            broken.extend(found.late.iter().cloned());
        }
        let mut verdict = match (&found.skipped, broken.is_empty()) {
            (Some(why), _) => format!("skipped: {why}"),
            (None, true) => "ok".to_owned(),
            (None, false) => format!("BROKEN: {}", broken.join("; ")),
        };
        let late = found.late.iter().filter(|_| run.is_short).map(|one| format!("late: {one}"));
        for remark in late.chain(found.remarks.iter().cloned()) {
            verdict = format!("{verdict}; {remark}");
        }
        self.print(cells, &verdict);
        if !broken.is_empty() {
            found.stories().for_each(|story| println!("    {story}"));
            found.log.iter().rev().for_each(|line| println!("    {line}"));
            self.broken.push(format!("{row} {}: {}", run.variant, broken.join("; ")));
        }
    }

    /// Says what is broken, and whether anything is.
    pub(crate) fn finish(&self) -> ExitCode {
        if self.broken.is_empty() {
            println!("\nevery promise was kept");
            return ExitCode::SUCCESS;
        }
        println!("\n{} broken:", self.broken.len());
        self.broken.iter().for_each(|line| println!("  {line}"));
        ExitCode::FAILURE
    }

    fn print(&self, cells: [String; COLUMNS.len()], verdict: &str) {
        if self.is_markdown {
            return println!("| {} | {verdict} |", cells.join(" | "));
        }
        let padded = cells.iter().zip(COLUMNS).enumerate().map(|(place, (cell, (_, width)))| {
            // Names to the left, numbers to the right.
            if place < 2 { format!("{cell:width$}") } else { format!("{cell:>width$}") }
        });
        println!("{}  {verdict}", padded.collect::<Vec<_>>().join(" "));
    }
}
